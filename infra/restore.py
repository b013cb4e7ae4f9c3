"""Re-apply to a restored table what the record knows and the table does not, before the API opens.

Reads the sealed entries from the record's bucket, and what happened after the last seal from files (JSON lines:
entries, events, or events as the bus archived them). Everything is a conditional write; a second run finds nothing.

Credentials, region and endpoint are AWS's own: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and so on.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import botocore.session
import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from functions.domain.actor import By
from functions.domain.campaign import LotCounter
from functions.domain.erasure import Eraser, Erasure
from functions.domain.formats import FORMATS
from functions.domain.ids import derived
from functions.domain.restore import Told, erased, lot_after, told, voucher_after
from functions.domain.serials import LOT_SIZE
from functions.edge import clock
from functions.store import keys, persons, table
from functions.store.entities import LOT, VOUCHER
from functions.store.records import COUNTER
from functions.store.table import Conflict
from infra import clients

BUCKET: Final = "RecordBucket"
PERSON_SECRET: Final = "PersonSecretArn"
"""The stack's outputs that name the record's bucket and the key of accounts' ids."""
ENTRIES: Final = "entries/"
COMMAND: Final = "restore"
Json = dict[str, Any]
app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)


def events(lines: Iterable[str]) -> Iterator[Json]:
    """The events of JSON lines: entries of the record, events as the bus carries them, or their details."""
    for line in filter(str.strip, lines):
        read: Json = json.loads(line)
        yield read.get("event") or read.get("detail") or read


def sealed(bucket: str, since: int) -> Iterator[str]:
    """The lines of the entries that were sealed since then."""
    s3: Any = botocore.session.get_session().create_client("s3", config=Config(s3={"addressing_style": "path"}))
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=ENTRIES):
        for found in page.get("Contents", []):
            if found["LastModified"].timestamp() >= since:
                body: bytes = s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
                yield from body.decode().splitlines()


def apply(found: Iterable[Json], incarnation: int, by: By) -> Counter[str]:
    """Re-apply events, lots before their vouchers; says how many of which type were lost."""
    of: dict[str, dict[int, dict[str, Told]]] = {"lot": defaultdict(dict), "voucher": defaultdict(dict)}
    accounts: set[str] = set()
    for event in found:
        one, account = told(event, incarnation), erased(event, incarnation)
        if one is not None:
            of[one.kind][one.number][event["id"]] = one
        if account is not None:
            accounts.add(account)
    done: Counter[str] = Counter()
    for number, lost in sorted(of["lot"].items()):
        done += _lot(number, lost.values(), by)
    for position, lost in sorted(of["voucher"].items()):
        done += _voucher(position, lost.values(), by)
    for account in sorted(accounts):
        done += _erase_again(account, incarnation, by)
    return done


def _lot(number: int, lost: Iterable[Told], by: By) -> Counter[str]:
    lot = table.read(LOT, keys.lot(number))
    if lot is None:
        return _passed_over(number, by)
    after, types = lot_after(lot, lost)
    if after.version > lot.version:
        table.put(LOT.item(after, COMMAND, by), lot.version)
    return Counter(types)


def _passed_over(number: int, by: By) -> Counter[str]:
    """A lot that was generated later is not there any more; its number is not given a second time."""
    name = next(name for name, code_format in FORMATS.items() if number in code_format.lots)

    def beyond(counter: LotCounter | None) -> LotCounter | None:
        known = counter or LotCounter(name, FORMATS[name].lots.start)
        return replace(known, next_lot=number + 1) if known.next_lot <= number else None

    table.change(COUNTER, table.read(COUNTER, keys.lot_counter(name)), beyond, COMMAND, by)
    return Counter({"lots that are lost": 1})


def _voucher(position: int, lost: Iterable[Told], by: By) -> Counter[str]:
    items = table.get_many([keys.lot(position // LOT_SIZE), keys.voucher(position)])
    if keys.lot(position // LOT_SIZE) not in items:
        return Counter({"vouchers of lots that are lost": 1})
    stored = items.get(keys.voucher(position))
    item = VOUCHER.load(stored) if stored is not None else None
    try:
        after, types = voucher_after(LOT.load(items[keys.lot(position // LOT_SIZE)]), position, item, lost)
    except LookupError:
        return Counter({"vouchers of lots that are lost": 1})
    seen = item.version if item is not None else 0
    if after.version > seen:
        table.put(VOUCHER.item(after, COMMAND, by), seen)
    return Counter(types)


def _erase_again(account: str, incarnation: int, by: By) -> Counter[str]:
    """Order the erasure of a person whom the restored table names again; a worker does it, as any other."""
    after: str | None = ""
    while after is not None:
        positions, after = persons.positions(account, after)
        for item in table.get_many(keys.voucher(position) for position in positions).values():
            voucher = VOUCHER.load(item)
            name = Eraser(persons.secret(), account, voucher.tenant).name_in(voucher)
            if name is not None:
                now, id = clock.now(), f"ers_{derived(account, str(incarnation))}"
                order = Erasure(
                    id, account, voucher.tenant, derived(name), "other", "", by, now, began_at=now, version=1
                )
                table.put_new([persons.ERASURE.item(order, "erase", by)], {}, persons.ERASURE.name)
                return Counter({"persons to be erased again": 1})
    return Counter()


@app.command()
def restore(
    since: Annotated[str, typer.Option(help="Some time before the moment that was restored to; RFC 3339.")],
    incarnation: Annotated[int, typer.Option(help="The one that is raised to (settings.py).", min=2)],
    env: Annotated[str | None, typer.Option(help="Its stack is kami-ENV.")] = None,
    table_name: Annotated[str | None, typer.Option("--table", help="The restored table.")] = None,
    local: Annotated[bool, typer.Option("--local", help="The local cloud that `make up` started.")] = False,
    bucket: Annotated[str | None, typer.Option(help="The record's; by default the stack's.")] = None,
    files: Annotated[
        list[Path] | None, typer.Option("--events", help="What happened after the last seal; may be given repeatedly.")
    ] = None,
) -> None:
    """Re-apply what was lost and print what it was."""
    deployment = clients.Deployment(env, table_name, local)
    deployment.enter()
    outputs = {} if bucket and persons.PERSON_SECRET_ARN in os.environ else _outputs(env, local)
    name = bucket or outputs[BUCKET]
    os.environ.setdefault(persons.PERSON_SECRET_ARN, outputs.get(PERSON_SECRET, ""))
    found = [*events(sealed(name, int(datetime.fromisoformat(since).timestamp())))]
    for path in files or []:
        found += events(path.read_text().splitlines())
    done = apply(found, incarnation, deployment.engineer())
    print(f"{len(found)} events read; lost and re-applied to {os.environ[table.TABLE_NAME]}:")
    for what, count in sorted(done.items()):
        print(f"  {count:>9,}  {what}")
    if not done:
        print("          nothing")


def _outputs(env: str | None, local: bool) -> dict[str, str]:
    return clients.enter_local_cloud()["outputs"] if local else clients.outputs_of(f"kami-{env or clients.ENV_DEFAULT}")


def main() -> None:
    """Run; what fails is a sentence and exit code 1, and the next run goes on from there."""
    try:
        app(prog_name="infra.restore")
    except Conflict:
        raise SystemExit("Somebody else writes to the table: close the API, then run this again.") from None
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"AWS: {error}") from None


if __name__ == "__main__":
    main()
