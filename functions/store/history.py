"""What happened to vouchers, line by line, and how many of a lot's vouchers were touched.

A line and what its write adds to the counts go into one transaction, on the condition that the line is not there yet:
a write that the stream brings again, in whatever order, is told once and counted once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from functions.domain.events import TYPES, WRITES, Event
from functions.domain.serials import LOT_SIZE
from functions.store import keys, table
from functions.store.keys import Key
from functions.store.table import Entity, Item

COUNTS = "counts"
LINES_PER_WRITE = 50
"""Together with the counts of as many lots: what DynamoDB takes in one transaction (100 items)."""
LINES_PER_READ = 100
READS_PER_PAGE_MAX = 20
"""A lot's history also tells of ranges that a voucher is not in; a page looks at so much of it and may be short."""


def _line(event: Event) -> Key:
    assert event.subject is not None
    return keys.history(*event.subject, event.at, event.version, event.id)


HISTORY: Entity[Event] = Entity("history", Event, key=_line)
_PREFIX = "n_"
_ORDER = {type: n for n, type in enumerate(TYPES)}


class Line(NamedTuple):
    """An event that belongs to somebody's history, and what its write adds to the counts of a lot."""

    event: Event
    lot: int
    counts: dict[str, int]


def record(lines: Iterable[Line]) -> None:
    """Write the lines that are not there yet, with their counts."""
    every = list({HISTORY.key(line.event): line for line in lines}.values())
    for at in range(0, len(every), LINES_PER_WRITE):
        left = every[at : at + LINES_PER_WRITE]
        while left:
            items = [HISTORY.item(_kept(line.event), line.event.type, line.event.by) for line in left]
            existing = table.put_new(items, _summed(left), COUNTS)
            if not existing:
                break
            left = [line for n, line in enumerate(left) if n not in existing]


def _kept(event: Event) -> Event:
    """What a line keeps: what the write changed by key is for the record."""
    return replace(event, changes={})


def _summed(lines: list[Line]) -> dict[Key, dict[str, int]]:
    sums: dict[Key, dict[str, int]] = {}
    for line in lines:
        of_lot = sums.setdefault(keys.counts(line.lot), {})
        for name, by in line.counts.items():
            attribute = name if name == WRITES else _PREFIX + name
            of_lot[attribute] = of_lot.get(attribute, 0) + by
    moved = {key: {name: by for name, by in of_lot.items() if by} for key, of_lot in sums.items()}
    return {key: of_lot for key, of_lot in moved.items() if of_lot}


def counted(items: Mapping[Key, Item], lot: int) -> dict[str, int]:
    """A lot's counts, out of what was read: stored status (and `domain.events.DATED`) → touched vouchers."""
    item = items.get(keys.counts(lot), {})
    return {name.removeprefix(_PREFIX): n for name, n in item.items() if name.startswith(_PREFIX) and n}


def writes(items: Mapping[Key, Item], lot: int) -> int:
    """How many writes of a lot's vouchers are in its counts, out of what was read."""
    return int(items.get(keys.counts(lot), {}).get(WRITES, 0))


class Place(NamedTuple):
    """How far a reader has come in both histories: sort keys, empty at the start."""

    voucher: str = ""
    lot: str = ""


class _Lane:
    """One of the two histories that are merged: what of it concerns the voucher, from a place on."""

    def __init__(self, partition: str, place: str, limit: int, index: int | None) -> None:
        self.place, self.more = place, True
        self.found: list[tuple[str, Event]] = []
        self._seen = place
        for _ in range(READS_PER_PAGE_MAX):
            items = table.query(partition, limit=LINES_PER_READ, after=self._seen or None, index="")
            for item in items:
                event = HISTORY.load(item)
                if index is None or any(first <= index <= last for first, last in event.data["ranges"]):
                    self.found.append((item["sk"], event))
            self._seen = items[-1]["sk"] if items else self._seen
            self.more = len(items) == LINES_PER_READ
            if not self.more or len(self.found) > limit:
                break

    @property
    def head(self) -> tuple[int, int] | None:
        """What the next line is ordered by."""
        return (self.found[0][1].at, _ORDER[self.found[0][1].type]) if self.found else None

    def take(self) -> Event:
        self.place, event = self.found.pop(0)
        return event

    def settle(self) -> str:
        """Where to go on from: what was looked at in vain need not be looked at again."""
        return self.place if self.found else self._seen


def page(position: int, limit: int, place: Place) -> tuple[list[Event], Place | None]:
    """The next lines of a voucher and of its lot where they concern it, oldest first, and the place after them.

    Within a second, which is what the stream's clock tells apart, each history keeps the order of its writes, and
    between the two the usual course of a card's life decides.
    """
    lot, index = divmod(position, LOT_SIZE)
    lanes = (
        _Lane(keys.history_of("voucher", position), place.voucher, limit, None),
        _Lane(keys.history_of("lot", lot), place.lot, limit, index),
    )
    shown: list[Event] = []
    while len(shown) < limit and all(lane.found or not lane.more for lane in lanes):
        heads = [(lane.head, n) for n, lane in enumerate(lanes) if lane.head is not None]
        if not heads:
            break
        shown.append(lanes[min(heads)[1]].take())
    if any(lane.found or lane.more for lane in lanes):
        return shown, Place(*(lane.settle() for lane in lanes))
    return shown, None
