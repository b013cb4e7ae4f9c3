"""The stock that draws take from: what is supplied to a campaign's pool, and the search for what is free in it.

`supply` is how stock becomes drawable: batches and imports call it when their lots are there, `resupply` after what
makes vouchers of existing lots free again or lets them be drawn again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.lot import Lot
from functions.domain.pool import (
    OPEN_LOTS,
    SHELF_SIZE,
    SHELVES,
    Front,
    Shelf,
    Supply,
    bits,
    drawable,
    indexes,
    is_free,
    span_bits,
    with_taken,
)
from functions.domain.selection import Span
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import Voucher
from functions.store import keys, table
from functions.store.entities import LOT, VOUCHER
from functions.store.lots import read_many
from functions.store.table import BATCH_GET_MAX, CONFLICTS_MAX, Conflict, Entity

FRONT: Entity[Front] = Entity("front", Front, key=lambda f: keys.front(f.campaign))
SUPPLY: Entity[Supply] = Entity("supply", Supply, key=lambda s: keys.supply(s.campaign, s.number))
SHELF: Entity[Shelf] = Entity("shelf", Shelf, key=lambda s: keys.shelf(s.lot, s.quarter))

LOTS_PER_READ = BATCH_GET_MAX // (1 + SHELVES)
PROBES = 8
"""So many more vouchers are read than are wanted, for some of them may just have been taken."""
SHELF_TRIES_MAX = 3


def supply(campaign: str, spans: Sequence[Span], cause: str, by: By) -> None:
    """Have vouchers drawn from a campaign's pool from now on; twice for one cause does no harm.

    Raises Refusal `try_again` where others are at the same pool for too long.
    """
    for _ in range(CONFLICTS_MAX):
        front = table.read(FRONT, keys.front(campaign)) or Front(campaign)
        if cause in front.causes:
            return
        grown, new = front.supplied(spans, cause)
        try:
            table.put_all([(FRONT, grown, front.version), (SUPPLY, new, 0)], "supply", by)
        except Conflict:
            continue
        return
    raise Refusal("try_again", "Others are adding to the same stock.", retry_after_s=1)


def resupply(parts: Iterable[tuple[int, list[tuple[int, int]]]], cause: str, by: By) -> None:
    """The same for index ranges of lots that exist, whichever campaigns they are of."""
    ranges = dict(parts)
    found = read_many(ranges)
    spans: dict[str, list[Span]] = {}
    for number, lot in sorted(found.items()):
        own = spans.setdefault(lot.rules.campaign, [])
        for first, last in ranges[number]:
            span = Span(number * LOT_SIZE + first, number * LOT_SIZE + last)
            if own and own[-1].last + 1 == span.first:
                span = Span(own.pop().first, span.last)
            own.append(span)
    for campaign, every in spans.items():
        supply(campaign, every, cause, by)


def open_more(front: Front, dry: Iterable[int], by: By, more: int = 1) -> Front | None:
    """The front without its dry lots and with so many `more` of the log, written; None where another is about it.

    A supply may show on the front a moment before its own item does. `front` was read before its lots were: what was
    added since moves it too.
    """
    moved = front.without(dry)
    goal = max(len(moved.lots) + more, OPEN_LOTS)
    while len(moved.lots) < goal and not moved.is_open:
        stored = table.read(SUPPLY, keys.supply(front.campaign, moved.supply))
        if stored is None:
            return None
        moved = moved.opened(stored, goal - len(moved.lots))
    moved = replace(moved, version=front.version + 1)
    try:
        table.put(FRONT.item(moved, "open", by), front.version)
    except Conflict:
        return None
    return moved


def note_low(front: Front, left: int, by: By) -> bool:
    """Note that few are left, once until the next supply; says whether this call did."""
    try:
        table.put(FRONT.item(replace(front, low=left, version=front.version + 1), "open", by), front.version)
    except Conflict:
        return False
    return True


class Found(NamedTuple):
    """A free voucher, at an index of its lot, with its item where a reclaim has ended one."""

    lot: Lot
    at: int
    item: Voucher | None


Barred = Callable[[int], int]
"""Of a lot, a bit for each index that a draw must leave alone, however free it is."""


@dataclass(slots=True)
class Search:
    """One look for free vouchers of a campaign; what it read was read after it began.

    `dry` are lots in which nothing can be drawn. `learned` is what was seen to be taken, to be put on the shelves.
    What is `barred` to this draw is free for others.
    """

    campaign: str
    channel: str | None
    now: int
    quantity: int
    barred: Barred | None = None
    found: list[Found] = field(default_factory=list)
    dry: set[int] = field(default_factory=set)
    lots: dict[int, Lot] = field(default_factory=dict)
    learned: dict[int, int] = field(default_factory=dict)
    _shelves: dict[tuple[int, int], Shelf] = field(default_factory=dict)

    @property
    def lacking(self) -> int:
        """How many are still to be found."""
        return self.quantity - len(self.found)

    def look(self, numbers: Iterable[int]) -> None:
        """Look into lots, in any order but what is barred last, until there are enough."""
        left, barred = list(numbers), self.barred
        random.shuffle(left)
        if barred is not None:
            left.sort(key=lambda number: barred(number).bit_count())
        size = 1
        while left and self.lacking:
            some, left = left[:size], left[size:]
            size = LOTS_PER_READ
            self.read(some)
            for number in some:
                if self.lacking:
                    self._look_into(number)

    def read(self, numbers: list[int]) -> None:
        """Read lots with their shelves."""
        for at in range(0, len(numbers), LOTS_PER_READ):
            self._read(numbers[at : at + LOTS_PER_READ])

    def _read(self, numbers: list[int]) -> None:
        wanted = [key for number in numbers for key in (keys.lot(number), *_shelves_of(number))]
        items = table.get_many(wanted)
        for number in numbers:
            if (item := items.get(keys.lot(number))) is not None:
                self.lots[number] = LOT.load(item)
            for quarter, key in enumerate(_shelves_of(number)):
                if (item := items.get(key)) is not None:
                    self._shelves[number, quarter] = SHELF.load(item)

    def _known(self, lot: Lot) -> int:
        shelves = (bits(self._shelves.get((lot.number, quarter)), lot, quarter) for quarter in range(SHELVES))
        return sum(shelves) | self.learned.get(lot.number, 0)

    def _hopeful(self, lot: Lot) -> list[int]:
        return indexes(drawable(lot, self.channel, self.now) & ~self._known(lot))

    def _look_into(self, number: int) -> None:
        lot = self.lots.get(number)
        if lot is None or lot.rules.campaign != self.campaign:
            self.dry.add(number)
            return
        barred = self.barred(number) if self.barred is not None else 0
        hopeful = [index for index in self._hopeful(lot) if not barred >> index & 1]
        if hopeful:
            start = random.randrange(len(hopeful))
            hopeful = hopeful[start:] + hopeful[:start]
        before, at = len(self.found), 0
        while at < len(hopeful) and self.lacking:
            piece = hopeful[at : at + min(BATCH_GET_MAX, self.lacking + PROBES + at)]
            at += len(piece)
            self._pick(lot, piece)
        if len(self.found) == before and not barred:
            self.dry.add(number)

    def _pick(self, lot: Lot, piece: list[int]) -> None:
        items = table.get_many(keys.voucher(lot.number * LOT_SIZE + index) for index in piece)
        for index in piece:
            stored = items.get(keys.voucher(lot.number * LOT_SIZE + index))
            item = VOUCHER.load(stored) if stored is not None else None
            segment = lot.segment(index)
            assert segment is not None, "only what was generated can be drawn"
            if item is not None and item.suspension is not None:
                continue
            if not is_free(lot, segment, item):
                self.learned[lot.number] = self.learned.get(lot.number, 0) | 1 << index
            elif self.lacking:
                self.found.append(Found(lot, index, item))

    def left(self, numbers: Iterable[int]) -> int:
        """How many seem to be free in lots: by the shelves and by what was learned."""
        every = list(dict.fromkeys(numbers))
        self.read([number for number in every if number not in self.lots])
        return sum(len(self._hopeful(self.lots[number])) for number in every if number in self.lots)

    def remember(self, by: By) -> None:
        """Put what was learned on the shelves; where others are at the same ones for too long, it is forgotten."""
        for number, learned in self.learned.items():
            for quarter in range(SHELVES):
                start = quarter * SHELF_SIZE
                if learned & span_bits(start, start + SHELF_SIZE - 1):
                    _put_on(self._shelves.get((number, quarter)), self.lots[number], quarter, learned, by)


def _shelves_of(number: int) -> list[keys.Key]:
    return [keys.shelf(number, quarter) for quarter in range(SHELVES)]


def _put_on(shelf: Shelf | None, lot: Lot, quarter: int, taken: int, by: By) -> None:
    for _ in range(SHELF_TRIES_MAX):
        wanted = with_taken(shelf, lot, quarter, taken)
        if wanted is None:
            return
        try:
            table.put(SHELF.item(replace(wanted, version=wanted.version + 1), "draw", by), wanted.version)
        except Conflict as conflict:
            shelf = SHELF.load(conflict.old) if conflict.old is not None else None
        else:
            return
