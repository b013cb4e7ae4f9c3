"""Which vouchers a command is about: sorted, disjoint spans of positions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from functions.domain.errors import Refusal
from functions.domain.lot import Lot
from functions.domain.serials import LOT_SIZE, position_of, serial_of

SERIALS_MAX = 1_000
"""So many serials one by one."""
RANGE_MAX = 100_000_000
"""So many serials in a range, as many as in the largest batch: a slip of the finger shall not walk the number space."""
Part = tuple[int, list[tuple[int, int]]]
"""A lot's number, and the index ranges that are selected of it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a client names: serials, or both ends of a range, or a lot, or a batch; exactly one of them."""

    serials: tuple[str, ...] | None = None
    first_serial: str | None = None
    last_serial: str | None = None
    lot: int | None = None
    batch: str | None = None


class Span(NamedTuple):
    """Positions `first..last`, both included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many vouchers."""
        return self.last - self.first + 1

    @property
    def lots(self) -> range:
        """The numbers of the lots it touches."""
        return range(self.first // LOT_SIZE, self.last // LOT_SIZE + 1)

    def within(self, lot: int) -> tuple[int, int]:
        """The indexes `first, last` of its share in one of its lots."""
        start = lot * LOT_SIZE
        return max(self.first - start, 0), min(self.last - start, LOT_SIZE - 1)


def of_serials(serials: Iterable[str]) -> list[Span]:
    """Neighbouring serials as one span; a serial named twice counts once. Raises Refusal `unknown_serials`."""
    positions = {serial: position_of(serial) for serial in serials}
    refuse_unknown([serial for serial, position in positions.items() if position is None])
    spans: list[Span] = []
    for position in sorted(p for p in positions.values() if p is not None):
        if spans and spans[-1].last + 1 == position:
            spans[-1] = Span(spans[-1].first, position)
        else:
            spans.append(Span(position, position))
    return spans


def of_range(first_serial: str, last_serial: str) -> list[Span]:
    """Both ends included.

    Raises Refusal `unknown_serials`, `empty_selection` where it runs backwards, `invalid_request` above `RANGE_MAX`.
    """
    first, last = position_of(first_serial), position_of(last_serial)
    if first is None or last is None:
        refuse_unknown([s for s, p in ((first_serial, first), (last_serial, last)) if p is None])
        raise AssertionError("unreachable")
    if first > last:
        raise Refusal("empty_selection", "first_serial comes after last_serial.")
    if last - first >= RANGE_MAX:
        detail = f"a range holds at most {RANGE_MAX} serials"
        raise Refusal("invalid_request", errors=[{"field": "selection", "detail": detail}])
    return [Span(first, last)]


def of_lot(lot: Lot) -> list[Span]:
    """All that was generated of a lot."""
    start = lot.number * LOT_SIZE
    return [Span(start + part.first, start + part.last) for part in lot.parts]


def of_segments(lot: Lot) -> list[Span]:
    """What the lot's segments hold."""
    start = lot.number * LOT_SIZE
    return [Span(start + segment.first, start + segment.last) for segment in lot.segments]


def by_lot(spans: list[Span]) -> Iterator[Part]:
    """The spans lot by lot, in order."""
    number, ranges = -1, list[tuple[int, int]]()
    for span in spans:
        for lot in span.lots:
            if lot != number:
                if ranges:
                    yield number, ranges
                number, ranges = lot, []
            ranges.append(span.within(lot))
    if ranges:
        yield number, ranges


def lot_count(spans: list[Span]) -> int:
    """How many lots the spans touch, without walking them."""
    count, last = 0, -1
    for span in spans:
        lots = span.lots
        count += len(lots) - (lots.start == last)
        last = lots.stop - 1
    return count


def refuse_unknown(serials: list[str]) -> None:
    """Raise Refusal `unknown_serials` that names each of them (at most `SERIALS_MAX`)."""
    if serials:
        errors = [{"field": "selection", "value": s[:40], "detail": "no such serial"} for s in serials[:SERIALS_MAX]]
        raise Refusal("unknown_serials", f"{len(serials)} of the serials do not exist.", errors=errors)


def refuse_unknown_positions(positions: Iterable[int]) -> None:
    """The same for positions that are well-formed but were never generated."""
    refuse_unknown([serial_of(position) for position in positions])
