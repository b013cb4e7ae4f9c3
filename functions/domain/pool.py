"""What of a campaign can be drawn (发卡、领取), and where to look for it.

Only a voucher's own item says that it was taken; everything here is where to look. A campaign's supplies are a log to
which every span is added in which something may have become free: a batch, an import, a reclaimed, returned or extended
range. The front says how far the log has been opened, and which lots are open: those that draws look into. A lot in
which nothing can be drawn leaves the front; what makes it drawable again is one more supply.

A shelf remembers, for a quarter of a lot, which vouchers consistent reads have shown to be taken. What is taken stays
so until a reclaim, which changes the shelf's age; what is suspended by itself may come free, and is on no shelf. A
write of a shelf that is lost costs reads, never exactness.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from functions.domain.lot import Lot, Segment, Status
from functions.domain.selection import Span
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import (
    DRAWS_PER_VOUCHER_MAX,
    REDEMPTIONS_PER_VOUCHER_MAX,
    UNSOLD,
    Voucher,
    binding,
    reclaimed,
)

OPEN_LOTS = 16
"""So many lots are open at a time: a flash claim of 1,667 a second meets each about a hundred times a second."""
SHELF_SIZE = 2_500
SHELVES = LOT_SIZE // SHELF_SIZE
"""Each shelf is an item of its own: of a campaign of one lot a flash claim writes each about 400 times a second."""
CAUSES_KEPT = 8


@dataclass(frozen=True, slots=True)
class Supply:
    """Spans in which something may be free: number `number` of its campaign's log."""

    campaign: str
    number: int
    spans: tuple[Span, ...]
    version: int = 1

    @property
    def lots(self) -> list[int]:
        """The lots that it lies in, in order."""
        return list(dict.fromkeys(number for span in self.spans for number in span.lots))

    def size_in(self, lot: int) -> int:
        """How many of its vouchers lie in a lot."""
        return sum(last - first + 1 for span in self.spans if lot in span.lots for first, last in (span.within(lot),))


@dataclass(frozen=True, slots=True)
class Front:
    """The open lots of a campaign, and how far the log of supplies has been opened: `lots_opened` lots of number
    `supply`. `unopened` vouchers lie behind that.

    `causes` are the last of what was supplied, so that a repeat is not added again. `low` is how many vouchers were
    left when they fell below what the campaign calls low, until the next supply.
    """

    campaign: str
    lots: tuple[int, ...] = ()
    supply: int = 0
    lots_opened: int = 0
    supplies: int = 0
    unopened: int = 0
    causes: tuple[str, ...] = ()
    low: int | None = None
    version: int = 0

    @property
    def is_open(self) -> bool:
        """Whether no lots are left to open."""
        return self.supply == self.supplies

    def supplied(self, spans: Sequence[Span], cause: str) -> tuple[Front, Supply]:
        """The front with one more supply."""
        supply = Supply(self.campaign, self.supplies, tuple(spans))
        causes = (*self.causes, cause)[-CAUSES_KEPT:]
        size = sum(span.size for span in spans)
        grown = replace(self, supplies=self.supplies + 1, unopened=self.unopened + size, causes=causes, low=None)
        return replace(grown, version=self.version + 1), supply

    def opened(self, supply: Supply, count: int) -> Front:
        """The front with up to `count` more lots, of the supply that is next."""
        every = supply.lots
        fresh = every[self.lots_opened : self.lots_opened + count]
        lots_opened = self.lots_opened + len(fresh)
        whole = lots_opened == len(every)
        return replace(
            self,
            lots=tuple(dict.fromkeys((*self.lots, *fresh))),
            supply=self.supply + whole,
            lots_opened=0 if whole else lots_opened,
            unopened=max(0, self.unopened - sum(supply.size_in(number) for number in fresh)),
        )

    def without(self, dry: Iterable[int]) -> Front:
        """The front without lots in which nothing can be drawn."""
        gone = set(dry)
        return replace(self, lots=tuple(number for number in self.lots if number not in gone))


@dataclass(frozen=True, slots=True)
class Shelf:
    """The vouchers of a quarter of a lot that are known to be taken, a bit each, from its first index on."""

    lot: int
    quarter: int
    age: int
    taken: bytes
    version: int = 0


def bits(shelf: Shelf | None, lot: Lot, quarter: int) -> int:
    """What a shelf knows of its lot as it is now, at the lot's indexes."""
    if shelf is None or shelf.age != age(lot, quarter):
        return 0
    return int.from_bytes(shelf.taken, "little") << quarter * SHELF_SIZE


def with_taken(shelf: Shelf | None, lot: Lot, quarter: int, taken: int) -> Shelf | None:
    """The shelf with more of its lot's vouchers known to be taken; None where it has nothing to learn from this lot."""
    own_age = age(lot, quarter)
    if shelf is not None and shelf.age > own_age:
        return None
    known = bits(shelf, lot, quarter)
    every = (known | taken) & span_bits(quarter * SHELF_SIZE, quarter * SHELF_SIZE + SHELF_SIZE - 1)
    if every == known:
        return None
    packed = (every >> quarter * SHELF_SIZE).to_bytes(SHELF_SIZE // 8 + 1, "little").rstrip(b"\0")
    return Shelf(lot.number, quarter, own_age, packed, shelf.version if shelf is not None else 0)


def age(lot: Lot, quarter: int) -> int:
    """A number that grows with each reclaim of any voucher of a quarter."""
    start, end = quarter * SHELF_SIZE, quarter * SHELF_SIZE + SHELF_SIZE - 1
    return sum(max(0, min(end, s.last) - max(start, s.first) + 1) * (s.generation - 1) for s in lot.segments)


def span_bits(first: int, last: int) -> int:
    """A bit for each index of `first..last`."""
    return ((1 << last - first + 1) - 1) << first


def drawable(lot: Lot, channel: str | None, now: int) -> int:
    """A bit for each index that may be drawn if it is free."""
    return sum(span_bits(s.first, s.last) for s in lot.segments if may_be_drawn(s, channel, now))


def may_be_drawn(segment: Segment, channel: str | None, now: int) -> bool:
    """Whether vouchers of a segment that have no life of their own may be handed out, out of stock or of a channel.

    Out of stock goes what nobody holds and what was not sold; out of a channel, what it holds and has not put in use,
    which is how a shop sells.
    """
    if binding(segment.vetoes, segment.status, segment.generation) is not None or segment.channel != channel:
        return False
    if segment.valid_until is not None and segment.valid_until <= now:
        return False
    return segment.status is not Status.ACTIVE or (channel is None and not segment.sold)


def indexes(mask: int) -> list[int]:
    """The indexes whose bits are set, ascending."""
    return [index for index, bit in enumerate(bin(mask)[:1:-1]) if bit == "1"]


def is_free(lot: Lot, segment: Segment, item: Voucher | None) -> bool:
    """Whether nobody has a voucher: it has no item, one that a suspension in stock has left, or one that a reclaim has
    ended and that can still be used.

    An imported code stays the same through a reclaim: where somebody may have seen it, nobody gets it any more.
    """
    if item is None or (item.status in UNSOLD and item.generation == segment.generation):
        return True
    again = len(item.draws) < DRAWS_PER_VOUCHER_MAX and len(item.redemptions) < REDEMPTIONS_PER_VOUCHER_MAX
    return lot.rules.format.derived and again and reclaimed(segment, item)
