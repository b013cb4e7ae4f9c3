"""What range commands do to single vouchers: where a lot cannot be split any further, and where a voucher has terms of
its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from functions.domain.command import Command
from functions.domain.lot import Done, Lot, Segment
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import Voucher, begun_anew, own_end, reclaimed, untouched
from functions.store import keys, table
from functions.store.entities import VOUCHER
from functions.store.table import BATCH_GET_MAX
from functions.store.tally import touched_in

Change = Callable[[Lot, Segment], Segment | str]
"""What a command does to vouchers alike: the segment as it shall be, or the reason why they are skipped."""
Touch = Callable[[Segment, Voucher | None, Voucher], Voucher | str]
"""The same for one voucher where its lot cannot be split any further: given its segment, its item, if any, and what it
would be as part of its changed segment, the item as it shall be, or the reason why it is skipped. An item that a
reclaim has ended is not given: its index has begun anew."""
Own = Callable[[Segment, Voucher], Voucher | str | None]
"""The same for one voucher that has terms of its own; None where it has none, and the segment decides. A voucher that
the command has changed already comes back as it is."""
Apart = Callable[[Segment, Voucher], bool]
"""Whether a voucher may have terms of its own, by what the index knows of it."""
TOUCHED_PER_WINDOW_MAX = 400
"""So many vouchers are written one by one on the strength of one read of their lot."""
Outcomes = dict[int, str | None]
"""Index → why a voucher was skipped, None where it was changed."""


def touch_some(
    command: Command,
    lot: Lot,
    ranges: list[tuple[int, int]],
    change: Change,
    touch: Touch,
    touched: Outcomes,
) -> bool:
    """The same change on items of single vouchers; says whether all are done."""
    wanted: list[tuple[Segment, Voucher]] = []
    for index in (i for first, last in ranges for i in range(first, last + 1) if i not in touched):
        segment = lot.segment(index)
        outcome = change(lot, segment) if segment is not None else "unknown"
        if segment is not None and not isinstance(outcome, str):
            wanted.append((segment, replace(untouched(lot, outcome, index), valid_until=outcome.valid_until)))
    for at in range(0, min(len(wanted), TOUCHED_PER_WINDOW_MAX), BATCH_GET_MAX):
        some = wanted[at : at + BATCH_GET_MAX]
        items = table.get_many(keys.voucher(fresh.position) for _, fresh in some)
        for segment, fresh in some:
            stored = items.get(keys.voucher(fresh.position))
            decide = partial(_touched, command.id, touch, segment, fresh)
            item = VOUCHER.load(stored) if stored is not None else None
            touched[fresh.position % LOT_SIZE] = _touch_one(command, decide, fresh.position, item)
    return len(wanted) <= TOUCHED_PER_WINDOW_MAX


def _touch_one(
    command: Command, decide: Callable[[Voucher | None], Voucher | None], position: int, item: Voucher | None = None
) -> str | None:
    """None once it is written, or why it is skipped; what had no item is read again before it is."""
    try:
        table.change(VOUCHER, item, decide, command.kind, command.by)
    except _Skipped as skipped:
        key = keys.voucher(position)
        stored = table.get_many([key]).get(key) if skipped.item is None else None
        return skipped.reason if stored is None else _touch_one(command, decide, position, VOUCHER.load(stored))
    return None


class _Skipped(Exception):  # noqa: N818 - it is an outcome
    def __init__(self, reason: str, item: Voucher | None) -> None:
        super().__init__(reason)
        self.reason, self.item = reason, item


def _touched(command: str, touch: Touch, segment: Segment, fresh: Voucher, item: Voucher | None) -> Voucher | None:
    if item is not None and item.command == command:
        return None
    if item is not None and reclaimed(segment, item):
        outcome = touch(segment, None, begun_anew(fresh, item))
    else:
        outcome = touch(segment, item, fresh)
    if isinstance(outcome, str):
        raise _Skipped(outcome, item)
    return None if outcome is item else replace(outcome, command=command)


def counted(done: Done, touched: Outcomes) -> Done:
    skipped = dict(done.skipped)
    for reason in (reason for reason in touched.values() if reason is not None):
        skipped[reason] = skipped.get(reason, 0) + 1
    return Done(done.command, sum(reason is None for reason in touched.values()), skipped)


def change_own(
    command: Command, lot: Lot, ranges: list[tuple[int, int]], own: Own, apart: Apart, outcomes: Outcomes
) -> bool:
    """Change the vouchers of the ranges that have terms of their own; says whether all are done.

    The index knows them; what got its item within the last second may be missing there, and is left to its segment.
    """
    left = TOUCHED_PER_WINDOW_MAX
    known = [v for v in touched_in(lot).values() if apart(_segment(lot, v), v)]
    indexes = [voucher.position % LOT_SIZE for voucher in known]
    wanted = [i for i in indexes if i not in outcomes and any(first <= i <= last for first, last in ranges)]
    for at in range(0, len(wanted), BATCH_GET_MAX):
        items = table.get_many(keys.voucher(lot.number * LOT_SIZE + index) for index in wanted[at : at + BATCH_GET_MAX])
        for voucher in (VOUCHER.load(item) for item in items.values()):
            if left == 0:
                return False
            index, segment = voucher.position % LOT_SIZE, _segment(lot, voucher)
            if own(segment, voucher) is None:
                continue
            try:
                table.change(VOUCHER, voucher, partial(_changed, own, segment), command.kind, command.by)
                outcomes[index] = None
            except _Skipped as skipped:
                outcomes[index] = skipped.reason
            left -= 1
    return True


def ends_by_itself(segment: Segment, voucher: Voucher) -> bool:
    """Whether a voucher does not end with its segment."""
    return own_end(segment, voucher) is not None


def is_suspended(segment: Segment, voucher: Voucher) -> bool:
    """Whether a voucher is suspended by itself."""
    return voucher.suspension is not None


def _segment(lot: Lot, voucher: Voucher) -> Segment:
    segment = lot.segment(voucher.position % LOT_SIZE)
    assert segment is not None, "only what was generated is touched"
    return segment


def _changed(own: Own, segment: Segment, item: Voucher | None) -> Voucher | None:
    assert item is not None
    outcome = own(segment, item)
    if isinstance(outcome, str):
        raise _Skipped(outcome, item)
    return None if outcome == item else outcome


def recounted(done: Done, lot: Lot, base: Change, outcomes: Outcomes) -> Done:
    """What was done, with each of these vouchers counted by what became of itself and not of its segment."""
    changed, skipped = done.changed, Counter(done.skipped)
    for index, reason in outcomes.items():
        segment = lot.segment(index)
        assert segment is not None, "only what was generated is touched"
        outcome = base(lot, segment)
        if isinstance(outcome, str):
            skipped[outcome] -= 1
        else:
            changed -= 1
        if reason is None:
            changed += 1
        else:
            skipped[reason] += 1
    return Done(done.command, changed, {why: n for why, n in skipped.items() if n})
