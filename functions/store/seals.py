"""What is kept of sealing: checkpoints and exports in the table, and the bucket whose objects nobody can alter.

An object's name says what it holds and its writer never overwrites one, so whoever comes second finds what the first
one left.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from functions.domain.actor import By
from functions.domain.audit import AuditExport
from functions.domain.record import Entry, Head, chains, entry_of
from functions.domain.seal import Checkpoint, Sealed, Span, reopened
from functions.store import keys, table
from functions.store.aws import client
from functions.store.exports import put_once
from functions.store.record import incarnation
from functions.store.table import BATCH_GET_MAX, Entity

CHECKPOINT: Entity[Checkpoint] = Entity("checkpoint", Checkpoint, key=lambda c: keys.checkpoint(c.number))
EXPORT: Entity[AuditExport] = Entity("audit_export", AuditExport, key=lambda e: keys.record_export(e.id))

RECORD_BUCKET = "RECORD_BUCKET"
JSON_LINES = "application/jsonl"
JOSE = "application/jose"
ENTRIES, CHECKPOINTS = "entries/", "checkpoints/"
PAGES_PER_READ = 100
READERS = 8


class Broken(Exception):  # noqa: N818 - it is the record that is in error
    """What lies in the bucket under a name is not what the chain says; people must look."""


def heads() -> dict[str, Head]:
    """How far each chain has come: of this incarnation, and of those before, of which something may be unsealed yet."""
    found: dict[str, Head] = {}
    for each in range(1, incarnation() + 1):
        names = {keys.chain(name): name for name in chains(each)}
        items = table.get_many(names)
        found |= {names[key]: Head(item["count"], item["hash"]) for key, item in items.items()}
    return found


def entries(span: Span) -> list[Entry]:
    """The entries of a span, in order, as far as they are there."""
    ids: dict[int, str] = {}
    after = f"{span.first - 1:012d}"
    while after < f"{span.last:012d}":
        found = table.query(keys.chain_of(span.chain), limit=PAGES_PER_READ, after=after, index="")
        pages = [item for item in found if item["entity"] == "page"]
        if not pages:
            break
        for page in pages:
            after = page["sk"]
            numbers = range(int(after) - len(page["ids"]) + 1, int(after) + 1)
            ids |= {n: id for n, id in zip(numbers, page["ids"], strict=True) if span.first <= n <= span.last}
    wanted = [keys.entry(id) for _, id in sorted(ids.items())]
    parts = [wanted[at : at + BATCH_GET_MAX] for at in range(0, len(wanted), BATCH_GET_MAX)]
    with ThreadPoolExecutor(READERS) as pool:
        items = {key: item for part in pool.map(table.get_many, parts) for key, item in part.items()}
    return [entry_of(items[key]["line"]) for key in wanted if key in items]


def last_checkpoint() -> Checkpoint | None:
    """The newest, sealed or only planned."""
    items = table.query(keys.CHECKPOINTS, limit=1, newest_first=True, index="")
    return CHECKPOINT.load(items[0]) if items else None


def checkpoints(limit: int, *, after: int | None = None, newest_first: bool = False) -> list[Checkpoint]:
    """Up to so many in the order of their numbers, from one on (excluded)."""
    place = keys.checkpoint(after).sk if after is not None else None
    items = table.query(keys.CHECKPOINTS, limit=limit, after=place, newest_first=newest_first, index="")
    return [CHECKPOINT.load(item) for item in items]


def checkpoint_at(number: int) -> Checkpoint:
    """A checkpoint that is known to be there."""
    found = table.read(CHECKPOINT, keys.checkpoint(number))
    assert found is not None
    return found


def keep_run(run: Sealed, content: bytes) -> None:
    """Put a run into the bucket. Raises Broken where another one lies under its name."""
    about = {"sha256": run.sha256}
    name = run.span.name
    there = put_once(name, io.BytesIO(content), len(content), about, bucket=RECORD_BUCKET, media_type=JSON_LINES)
    if there.about.get("sha256") != run.sha256:
        raise Broken(f"{name} is not what the chain holds")


def keep_checkpoint(checkpoint: Checkpoint, jws: str) -> str:
    """Put a signed checkpoint into the bucket; gives the one that lies there, for a second signature is another one."""
    body = io.BytesIO(jws.encode())
    put_once(checkpoint.name, body, len(jws), {}, bucket=RECORD_BUCKET, media_type=JOSE)
    return _object(checkpoint.name).decode()


def run(sealed: Sealed) -> bytes:
    """A run as it lies in the bucket. Raises Broken where it is not what was sealed."""
    content = _object(sealed.span.name)
    if hashlib.sha256(content).hexdigest() != sealed.sha256:
        raise Broken(f"{sealed.span.name} is not what was sealed")
    return content


def runs(sealed: list[Sealed]) -> Iterator[bytes]:
    """Runs as they lie in the bucket, in order, several on their way at a time."""
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(run, sealed)


def in_bucket(folder: str, after: str = "") -> Iterator[tuple[str, int]]:
    """The names of what lies in a folder of the bucket, after one of them, and when each was put there."""
    pages = client("s3").get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=os.environ[RECORD_BUCKET], Prefix=folder, StartAfter=after):
        for found in page.get("Contents", []):
            yield found["Key"], int(found["LastModified"].timestamp())


def content(name: str) -> str:
    """What lies in the bucket under a name."""
    return _object(name).decode()


def put_back(by: By) -> int:
    """Take the checkpoints that the table has lost over from the bucket; says how many. Raises Broken."""
    last = last_checkpoint()
    if last is not None and last.jws is None:
        last = checkpoint_at(last.number - 1) if last.number > 1 else None
    count = 0
    for name, _ in in_bucket(CHECKPOINTS, last.name if last is not None else ""):
        try:
            lost = reopened(content(name), last, _digest)
        except ValueError as error:
            raise Broken(f"{name}: {error}") from error

        def decide(current: Checkpoint | None, lost: Checkpoint = lost) -> Checkpoint | None:
            return lost if current is None or current.jws is None else None

        last = table.change(CHECKPOINT, table.read(CHECKPOINT, keys.checkpoint(lost.number)), decide, "restore", by)
        count += 1
    return count


def _digest(name: str) -> str:
    return client("s3").head_object(Bucket=os.environ[RECORD_BUCKET], Key=name)["Metadata"]["sha256"]


def _object(name: str) -> bytes:
    return client("s3").get_object(Bucket=os.environ[RECORD_BUCKET], Key=name)["Body"].read()
