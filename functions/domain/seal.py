"""Sealing (封存): what the chains of the record have come to is put where nobody can alter it, and signed.

A checkpoint is planned first: which entries of which chain it seals. Everything that follows, an object for each of
these runs and then the signed checkpoint, derives from the plan and has a name that says what it is, so that whoever
goes on with it after a crash, or at the same time, comes to the same.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from functions.domain.record import GENESIS, Entry, Head, canonical, incarnation_of
from functions.domain.times import epoch, rfc3339

CHECKPOINT_TYPE = "kami-checkpoint+jws"
EXPORT_TYPE = "kami-record+jws"
MARK = 16
"""Bytes of each entry's hash that an export's trail holds."""
ENTRIES_PER_OBJECT_MAX = 10_000
EXPORT_ENTRIES_MAX = 250_000
"""In one file: a quarter of a gigabyte, which a function can hold. What is more goes into the next export."""

Json = dict[str, Any]


class Span(NamedTuple):
    """The entries `first..last` of a chain."""

    chain: str
    first: int
    last: int

    @property
    def name(self) -> str:
        """Of the object that holds them."""
        return f"entries/{self.chain}/{self.first:012d}-{self.last:012d}.jsonl"


class Sealed(NamedTuple):
    """A run as it lies in the bucket: the hashes before and of its last entry, and the SHA-256 of the object."""

    chain: str
    first: int
    last: int
    prev: str
    head: str
    sha256: str

    @property
    def span(self) -> Span:
        """Which entries it holds."""
        return Span(self.chain, self.first, self.last)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`chains` are all chains as they are with it. It is sealed once it has its `jws`, which names that before it."""

    number: int
    at: int
    prev: str
    plan: tuple[Span, ...]
    before: dict[str, Head]
    sealed: tuple[Sealed, ...] = ()
    jws: str | None = None
    version: int = 0

    @property
    def name(self) -> str:
        """Of the object that holds it."""
        return f"checkpoints/{self.number:010d}.jws"

    @property
    def chains(self) -> dict[str, Head]:
        """How far each chain is sealed with it."""
        return {**self.before, **{run.chain: Head(run.last, run.head) for run in self.sealed}}

    def said(self, sealed: Sequence[Sealed]) -> Json:
        """What is signed: the head of a chain stands for all that is in it."""
        chains = replace(self, sealed=tuple(sealed)).chains
        heads = {chain: list(head) for chain, head in sorted(chains.items())}
        return {"number": self.number, "at": rfc3339(self.at), "prev": self.prev, "chains": heads}

    def with_seal(self, sealed: Sequence[Sealed], jws: str) -> Checkpoint | None:
        """The checkpoint once it is signed, or None where it is already."""
        return replace(self, sealed=tuple(sealed), jws=jws) if self.jws is None else None


def planned(last: Checkpoint | None, heads: dict[str, Head], now: int) -> Checkpoint | None:
    """The checkpoint after the last one, or None where nothing is new.

    It tells of the chains of one incarnation, the oldest that has something new: those before it are over, and what is
    signed may be 4,096 bytes long. Raises ValueError where a chain does not go on from what is sealed of it.
    """
    known = last.chains if last is not None else {}
    for chain, head in known.items():
        there = heads.get(chain, Head())
        if there.number < head.number or (there.number == head.number and there != head):
            raise ValueError(f"chain {chain} has gone back behind entry {head.number}, which is sealed")
    reached = max(map(incarnation_of, known), default=0)
    for incarnation in sorted({each for each in map(incarnation_of, heads) if each >= reached}):
        before = known if incarnation == reached else {}
        plan = tuple(
            Span(chain, start + 1, min(head.number, start + ENTRIES_PER_OBJECT_MAX))
            for chain, head in sorted(heads.items())
            if incarnation_of(chain) == incarnation and head.number > (start := before.get(chain, Head()).number)
        )
        if plan:
            number, prev = (last.number + 1, _named(last)) if last is not None else (1, GENESIS)
            return Checkpoint(number, max(now, last.at if last is not None else 0), prev, plan, before)
    return None


def _named(last: Checkpoint) -> str:
    """What the checkpoint after a sealed one names it by."""
    assert last.jws is not None
    return hashlib.sha256(last.jws.encode()).hexdigest()


def said_in(jws: str) -> Json:
    """What a checkpoint says, from its JWS."""
    payload = jws.split(".")[1]
    said: Json = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return said


def reopened(jws: str, last: Checkpoint | None, digest: Callable[[str], str]) -> Checkpoint:
    """The checkpoint of a JWS, from the one before it and the SHA-256 of each object, by name.

    Raises ValueError where it does not follow from that one.
    """
    said = said_in(jws)
    number, prev = (last.number + 1, _named(last)) if last is not None else (1, GENESIS)
    if (said["number"], said["prev"]) != (number, prev):
        raise ValueError(f"it is not checkpoint {number} after {prev}")
    chains = {chain: Head(*head) for chain, head in said["chains"].items()}
    before = {chain: head for chain, head in last.chains.items() if chain in chains} if last is not None else {}
    runs: list[Sealed] = []
    for chain, head in sorted(chains.items()):
        start = before.get(chain, Head())
        if head.number > start.number:
            span = Span(chain, start.number + 1, head.number)
            runs.append(Sealed(*span, start.hash, head.hash, digest(span.name)))
    at = epoch(said["at"])
    return Checkpoint(number, at, prev, tuple(run.span for run in runs), before, tuple(runs), jws)


def sealed(span: Span, before: Head, entries: Sequence[Entry]) -> tuple[Sealed, bytes]:
    """A run as it goes to the bucket. Raises ValueError where the entries are not those that follow in the chain."""
    prev, numbers = before.hash, [entry.number for entry in entries]
    if numbers != list(range(span.first, span.last + 1)) or before.number != span.first - 1:
        raise ValueError(f"chain {span.chain} lacks entries of {span.first} to {span.last}")
    for entry in entries:
        if (entry.chain, entry.prev) != (span.chain, prev):
            raise ValueError(f"chain {span.chain} is broken at entry {entry.number}")
        prev = entry.hash
    content = b"".join(entry.line.encode() + b"\n" for entry in entries)
    return Sealed(*span, before.hash, prev, hashlib.sha256(content).hexdigest()), content


def in_order(checkpoints: Iterable[Checkpoint]) -> list[Sealed]:
    """The runs of checkpoints as an export has them: chain by chain."""
    return sorted(run for checkpoint in checkpoints for run in checkpoint.sealed)


def manifest(runs: Sequence[Sealed], checkpoints: Sequence[Checkpoint], trail: bytes) -> bytes:
    """The line that tells what an export holds: neighbouring runs of a chain as one. Its SHA-256 is what is signed."""
    whole: dict[str, list[Any]] = {}
    for run in runs:
        if run.chain in whole:
            whole[run.chain][2], whole[run.chain][4] = run.last, run.head
        else:
            whole[run.chain] = [run.chain, run.first, run.last, run.prev, run.head]
    told = {
        "checkpoints": [checkpoint.number for checkpoint in checkpoints],
        "runs": list(whole.values()),
        "trail": hashlib.sha256(trail).hexdigest(),
    }
    return canonical({"manifest": told}).encode()


def said_of(export: str, at: int, manifest: bytes) -> Json:
    """What is signed of an export."""
    return {"export": export, "at": rfc3339(at), "manifest": hashlib.sha256(manifest).hexdigest()}


def trail_of(content: bytes) -> bytes:
    """The marks of the lines of an object."""
    lines = content.split(b"\n")[:-1]
    return b"".join(hashlib.sha256(line).digest()[:MARK] for line in lines)


def closing(checkpoints: Iterable[Checkpoint], trail: bytes, manifest: bytes, jws: str) -> bytes:
    """The lines that end an export."""
    told = [b'{"checkpoint":"%b"}\n' % (checkpoint.jws or "").encode() for checkpoint in checkpoints]
    end = [b'{"trail":"%b"}\n' % b64encode(trail), manifest + b"\n", b'{"signature":"%b"}\n' % jws.encode()]
    return b"".join([*told, *end])
