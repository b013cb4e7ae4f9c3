"""Work on many lots: spread over threads, resumable, and no lot done twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from functions.domain.lot import Lot
from functions.domain.selection import refuse_unknown_positions
from functions.domain.serials import LOT_SIZE
from functions.store import keys, table
from functions.store.entities import LOT

WORKERS_MAX = 8
CHUNK = 13 * WORKERS_MAX
"""So many lots are handed out at a time: those of a million vouchers at once. Between chunks the clock is looked at."""

T = TypeVar("T")
R = TypeVar("R")


def in_chunks(todo: Sequence[T], work: Callable[[T], R], until: float, size: int | None = None) -> Iterator[list[R]]:
    """The results chunk by chunk (of `CHUNK` or another size), in order; stops early once the monotonic clock is past
    `until`.

    An error in one lot is raised after its chunk has come to rest, so that nothing is still being written.
    """
    with ThreadPoolExecutor(WORKERS_MAX) as pool:
        size = size or CHUNK
        for start in range(0, len(todo), size):
            if time.monotonic() > until:
                return
            futures = [pool.submit(work, each) for each in todo[start : start + size]]
            yield [future.result() for future in futures]


def read_many(numbers: Iterable[int]) -> dict[int, Lot]:
    """Lots by number, consistently; absent ones are absent."""
    found = map(LOT.load, table.get_all(map(keys.lot, numbers)).values())
    return {lot.number: lot for lot in found}


def refuse_unknown(lots: dict[int, Lot], ranges: Iterable[tuple[int, list[tuple[int, int]]]]) -> None:
    """Raise Refusal `unknown_serials` where a range holds positions that were never generated."""
    unknown: list[int] = []
    for number, within in ranges:
        lot = lots.get(number)
        for first, last in within:
            missing = [first] if lot is None else gaps(lot, first, last)
            unknown += (number * LOT_SIZE + index for index in missing)
    refuse_unknown_positions(unknown)


def gaps(lot: Lot, first: int, last: int) -> list[int]:
    """The first index of each stretch of `first..last` that no segment holds."""
    gaps, index = [], first
    for segment in lot.segments:
        if segment.last < index:
            continue
        if segment.first > last:
            break
        if segment.first > index:
            gaps.append(index)
        index = segment.last + 1
    if index <= last:
        gaps.append(index)
    return gaps
