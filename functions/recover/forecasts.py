"""What a recovery would come to (试算): its report before anything is written, by the rules that make the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from functions.domain.actor import By
from functions.domain.lot import SEGMENTS_HELD_MAX, SEGMENTS_PER_LOT_MAX, Lot, Segment, rewritten
from functions.domain.recovery import Action, Order, Recovery, Report, all_unknown, surveyed
from functions.domain.reissue import kept
from functions.domain.selection import Part
from functions.domain.voucher import Reissue, Voucher
from functions.recover import judging, service
from functions.recover.judging import Judgement
from functions.store import history, keys, ranges, table
from functions.store.entities import LOT
from functions.store.lots import WORKERS_MAX, in_chunks
from functions.store.reach import Reach
from functions.store.selected import lots_of
from functions.store.table import BATCH_GET_MAX

LOTS_PER_READ = BATCH_GET_MAX // 2


@dataclass(frozen=True, slots=True)
class Forecast:
    """The recovery as it would be once surveyed, how many would be told, and what its requester needs.

    Where the call's time did not suffice to look at every touched voucher it is not `exact`: those count as untouched.
    """

    recovery: Recovery
    told: int
    exact: bool
    judgement: Judgement


def foresee(order: Order, by: By, now: int, until: float, file: bytes | None = None) -> Forecast:
    """What an order would come to now; the last second's uses may be missing. Raises Refusal as `service.create`."""
    recovery, serials, _ = service.prepared("", "", order, by, now, file)
    judgement = judging.judged(recovery, serials)
    plain, touched = _read(recovery, list(lots_of(recovery)))
    done = [pair for chunk in in_chunks(touched, lambda each: _looked_into(recovery, *each), until) for pair in chunk]
    left = [_foreseen(recovery, lot, within, {})[0] for lot, within in touched[len(done) :]]
    made = recovery.after([*plain, *left, *(report for report, _ in done)])
    return Forecast(made, sum(told for _, told in done), not left, judgement)


def _read(recovery: Recovery, todo: Sequence[Part]) -> tuple[list[Report], list[tuple[Lot, list[tuple[int, int]]]]]:
    """The reports of lots of which nothing is touched, and the others."""
    chunks = [todo[at : at + LOTS_PER_READ] for at in range(0, len(todo), LOTS_PER_READ)]
    plain: list[Report] = []
    touched = []
    with ThreadPoolExecutor(WORKERS_MAX) as pool:
        for each in pool.map(lambda chunk: list(_sorted_out(recovery, chunk)), chunks):
            for found in each:
                if isinstance(found, Report):
                    plain.append(found)
                else:
                    touched.append(found)
    return plain, touched


def _sorted_out(recovery: Recovery, chunk: Sequence[Part]) -> Iterator[Report | tuple[Lot, list[tuple[int, int]]]]:
    items = table.get_many(key for number, _ in chunk for key in (keys.lot(number), keys.counts(number)))
    for number, within in chunk:
        if keys.lot(number) not in items:
            yield all_unknown(recovery, number, within)
            continue
        lot = LOT.load(items[keys.lot(number)])
        yield (lot, within) if history.counted(items, number) else _foreseen(recovery, lot, within, {})[0]


def _looked_into(recovery: Recovery, lot: Lot, within: list[tuple[int, int]]) -> tuple[Report, int]:
    return _foreseen(recovery, lot, within, service.touched_in(lot, within))


def _foreseen(
    recovery: Recovery, lot: Lot, within: list[tuple[int, int]], items: dict[int, Voucher]
) -> tuple[Report, int]:
    """What the survey would say of a lot, and how many it would have told, had the recovery laid its veto on it now."""
    reach = Reach(recovery.by)
    if recovery.action is Action.REISSUE:
        report = _replaced(recovery, lot, within, items, reach)
        return report, len(service.to_be_told(recovery, lot, items, report))
    work = service.VETOES[recovery.action]

    def laid(segment: Segment) -> Segment:
        outcome = work.change(recovery, lot, segment) if reach.holds(segment.channel) else "unknown"
        return segment if isinstance(outcome, str) else outcome

    segments = rewritten(lot.segments, within, laid)
    if work.own is not None:
        items = {index: _own(recovery, work, lot, index, voucher) for index, voucher in items.items()}
    singly = recovery.action in service.SINGLY
    if singly or ranges.fits(lot, segments, SEGMENTS_HELD_MAX if work.touch is None else SEGMENTS_PER_LOT_MAX):
        lot = replace(lot, segments=segments)
    report = surveyed(recovery, lot, within, items, reach.holds)
    return report, len(service.to_be_told(recovery, lot, items, report))


def _replaced(
    recovery: Recovery, lot: Lot, within: list[tuple[int, int]], items: dict[int, Voucher], reach: Reach
) -> Report:
    """The same of a reissue, for which there is stock enough."""
    reasons, found = dict[int, str](), dict[int, Voucher]()
    for index, voucher in items.items():
        segment = lot.segment(index)
        within_reach = segment is not None and reach.holds(segment.channel)
        reason = kept(recovery, lot, index, voucher, recovery.created_at) if within_reach else "unknown"
        reissue = Reissue(recovery.id, voucher.position, voucher.balance_minor)
        found[index] = voucher if reason is not None else replace(voucher, reissue=reissue)
        if reason is not None:
            reasons[index] = reason
    return surveyed(recovery, lot, within, found, reach.holds, reasons)


def _own(recovery: Recovery, work: service.Work, lot: Lot, index: int, voucher: Voucher) -> Voucher:
    segment = lot.segment(index)
    assert segment is not None, "only what was generated is touched"
    assert work.own is not None
    return work.own(recovery, segment, voucher) or voucher
