"""How many vouchers are in which standing, however many: from lots and their counts, seldom from the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from functions.domain.events import DATED
from functions.domain.lot import Lot, Segment, Status
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import Voucher, standing, untouched
from functions.store import history, keys, table
from functions.store.entities import LOT, VOUCHER
from functions.store.lots import WORKERS_MAX
from functions.store.table import BATCH_GET_MAX

CLOSE_LOOKS_MAX = 1_000
"""So many lots are counted voucher by voucher at most: each costs a query of up to 10,000 entries."""
_LOTS_PER_READ = BATCH_GET_MAX // 2

Within = Callable[[Lot], Sequence[tuple[int, int]]]
"""The index ranges of a lot that are to be counted, sorted and disjoint."""


def counts(numbers: Sequence[int], within: Within, now: int) -> dict[str, int] | None:
    """Vouchers by effective status.

    Lots and their counts of touched vouchers are read together. The index is asked only about lots that are of several
    kinds and touched; None where more than `CLOSE_LOOKS_MAX` lots are, for no call has the time for them.
    """
    with ThreadPoolExecutor(WORKERS_MAX) as pool:
        parts = pool.map(partial(_counts_in, within, now), (numbers[at : at + _LOTS_PER_READ]
                         for at in range(0, len(numbers), _LOTS_PER_READ)))  # fmt: skip
        total, mixed = Counter[str](), list[Lot]()
        for counted, left in parts:
            total += counted
            mixed += left
        if len(mixed) > CLOSE_LOOKS_MAX:
            return None
        for counted in pool.map(lambda lot: _counts_by(within, lot, touched_in(lot), now), mixed):
            total += counted
    return dict(total)


def _counts_in(within: Within, now: int, numbers: Sequence[int]) -> tuple[Counter[str], list[Lot]]:
    """The counts of as many lots as one read takes, and the lots among them that need a closer look."""
    items = table.get_many(key for number in numbers for key in (keys.lot(number), keys.counts(number)))
    total, mixed = Counter[str](), list[Lot]()
    for number in numbers:
        lot, touched = LOT.load(items[keys.lot(number)]), history.counted(items, number)
        if not touched:
            total += _counts_by(within, lot, {}, now)
        elif _is_uniform(lot, within(lot)) and not touched.keys() & {DATED, Status.SUSPENDED}:
            total += _uniform(lot, touched, now)
        else:
            mixed.append(lot)
    return total, mixed


def _is_uniform(lot: Lot, ranges: Sequence[tuple[int, int]]) -> bool:
    """Whether all touched vouchers of one stored status are in one standing, wherever they lie in the lot."""
    if not len(lot.parts) == len(lot.segments) == len(ranges) == 1:
        return False
    (segment,) = lot.segments
    return segment.generation == 1 and ranges[0] == (segment.first, segment.last)


def _uniform(lot: Lot, touched: dict[str, int], now: int) -> Counter[str]:
    (segment,) = lot.segments
    voucher = untouched(lot, segment, segment.first)
    result = Counter({_status(lot, voucher, now): len(segment) - sum(touched.values())})
    for status, n in touched.items():
        result[_status(lot, replace(voucher, status=Status(status)), now)] += n
    return result


def _counts_by(within: Within, lot: Lot, touched: dict[int, Voucher], now: int) -> Counter[str]:
    result = Counter[str]()
    for segment, low, high in pieces(lot, within(lot)):
        own = [voucher for index, voucher in touched.items() if low <= index <= high]
        result[_status(lot, untouched(lot, segment, low), now)] += high - low + 1 - len(own)
        result.update(_status(lot, voucher, now) for voucher in own)
    return +result


def pieces(lot: Lot, ranges: Sequence[tuple[int, int]]) -> list[tuple[Segment, int, int]]:
    """Each segment with the first and last index of its share in each range."""
    shares = [
        (segment, max(first, segment.first), min(last, segment.last))
        for first, last in ranges
        for segment in lot.segments
    ]
    return [(segment, low, high) for segment, low, high in shares if low <= high]


def _status(lot: Lot, voucher: Voucher, now: int) -> str:
    at = standing(lot, voucher.position % LOT_SIZE, voucher, now)
    assert at is not None
    return at.status


def touched_in(lot: Lot) -> dict[int, Voucher]:
    """Index → what the index knows of a voucher that has an item: all that its effective status depends on.

    What is suspended by itself is read, for what it was before only its item knows.
    """
    found: dict[int, Voucher] = {}
    for entry in table.query(keys.touched_in(lot.number), limit=LOT_SIZE):
        index = int(entry["gsi1sk"])
        segment = lot.segment(index)
        assert segment is not None, "only what was generated is touched"
        found[index] = replace(
            untouched(lot, segment, index),
            status=Status(entry["status"]),
            generation=entry["generation"],
            valid_until=entry.get("valid_until"),
        )
    start = lot.number * LOT_SIZE
    suspended = [start + index for index, voucher in found.items() if voucher.status is Status.SUSPENDED]
    items = table.get_all(map(keys.voucher, suspended))
    return found | {voucher.position - start: voucher for voucher in map(VOUCHER.load, items.values())}
