"""The record (审计记录): what happened, in chains of entries in which none can be altered unseen.

An entry is one line of JSON in one spelling (keys sorted, no spaces, UTF-8): the event as it was told, in its place in
a chain. It names the SHA-256 of the line before it, so that a line that is changed, removed, added or moved leaves the
next one pointing nowhere. There are many chains, any of which takes any event, so that none is a bottleneck; which one
took an event means nothing.

A chain belongs to an incarnation of the table: after a restore its numbers would be given a second time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from functions.domain.serials import position_of
from functions.domain.times import epoch

CHAINS = 16
GENESIS = "0" * 64
"""What the first entry of a chain names as the one before it."""
DAY_S = 86_400

Json = dict[str, Any]


class Head(NamedTuple):
    """The number of a chain's last entry, which is how many it has, and that entry's SHA-256."""

    number: int = 0
    hash: str = GENESIS


class Entry(NamedTuple):
    """An entry in its place. `line` is what is hashed, without a line feed."""

    chain: str
    number: int
    event: Json
    line: str
    hash: str

    @property
    def at(self) -> int:
        """When what it tells of happened."""
        return epoch(self.event["at"])

    @property
    def prev(self) -> str:
        """The hash of the entry before it."""
        return str(json.loads(self.line)["prev"])

    @property
    def subject(self) -> tuple[str, int] | None:
        """The voucher (by position) or the lot that it is about."""
        data = self.event["data"]
        if "serial" in data:
            position = position_of(data["serial"])
            return ("voucher", position) if position is not None else None
        return ("lot", data["lot"]) if "ranges" in data else None

    def is_about(self, index: int) -> bool:
        """Whether it concerns an index of the lot that it is about; an entry about one voucher does."""
        ranges = self.event["data"].get("ranges")
        return ranges is None or any(first <= index <= last for first, last in ranges)


def chains(incarnation: int) -> list[str]:
    """The chains of an incarnation of the table."""
    return [f"{incarnation}.{n:02d}" for n in range(CHAINS)]


def incarnation_of(chain: str) -> int:
    """The incarnation of the table that a chain is of."""
    return int(chain.partition(".")[0])


def linked(chain: str, head: Head, events: Iterable[Json]) -> list[Entry]:
    """The entries of events that come next in a chain."""
    entries: list[Entry] = []
    prev = head.hash
    for number, event in enumerate(events, head.number + 1):
        line = canonical({"chain": chain, "event": event, "number": number, "prev": prev})
        prev = hashed(line.encode())
        entries.append(Entry(chain, number, event, line, prev))
    return entries


def following(head: Head, entries: Iterable[Entry]) -> list[Entry]:
    """Those of a chain's entries that come after its head, in order. Raises ValueError where they do not follow."""
    found: list[Entry] = []
    last = head
    for number, entry in sorted({entry.number: entry for entry in entries}.items()):
        if number > head.number and (number, entry.prev) == (last.number + 1, last.hash):
            found.append(entry)
            last = Head(number, entry.hash)
        elif number > head.number or (number == head.number and entry.hash != head.hash):
            raise ValueError(f"chain {entry.chain} is broken at entry {number}")
    return found


def entry_of(line: str) -> Entry:
    """An entry, from its line."""
    told = json.loads(line)
    return Entry(told["chain"], told["number"], told["event"], line, hashed(line.encode()))


def canonical(value: Json) -> str:
    """The one spelling."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def hashed(line: bytes) -> str:
    """The hash of a line."""
    return hashlib.sha256(line).hexdigest()
