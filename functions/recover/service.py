"""Recover: veto the range at once, wait for the fence, account for every card, and set a reclaimed range free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from itertools import takewhile
from time import monotonic
from typing import NamedTuple, TypeVar

from functions.domain.actor import By
from functions.domain.campaign import LOTS_PER_CALL_MAX
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint, refuse_reuse
from functions.domain.lines import Line, merged
from functions.domain.lines import lines as read_lines
from functions.domain.lot import Lot, Segment
from functions.domain.pieces import LINES_MAX, named
from functions.domain.recovery import (
    NONE_KEPT,
    STEPS,
    Action,
    Order,
    Phase,
    Recovered,
    Recovery,
    Report,
    all_unknown,
    goes_on_stopped,
    lifted,
    lifted_by_itself,
    released,
    surveyed,
    taken_over,
    taken_over_by_itself,
    touched,
    vetoed,
)
from functions.domain.selection import Part, Span, lot_count
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import Voucher, reclaimed
from functions.recover import judging, reissues
from functions.store import keys, lots, ranges, selected, statistics, table
from functions.store.aws import FENCE_S
from functions.store.entities import LOT, VOUCHER
from functions.store.pool import Barred
from functions.store.reach import Reach
from functions.store.records import RECOVERED, RECOVERY, REPORT
from functions.store.singles import is_suspended
from functions.store.table import CONFLICTS_MAX

IN_CALL_S = 3
"""A worker leaves a small recovery to its call for so long; after that it lays the veto itself."""
HELD_UP = ("lot_busy", "try_again")
"""Refusals of a lot that others are at."""
ERRORS_SHOWN_MAX = 100
UNSURVEYED_S = 1
"""A reclaim looks again after so long whether another recovery has accounted for what they have in common."""

T = TypeVar("T")


class Work(NamedTuple):
    """What the range command of a phase does: under which name, to a segment, to a voucher where its lot cannot be
    split, and to one that is suspended by itself; and whether what it is about may be drawn again then."""

    kind: str
    change: Callable[[Recovery, Lot, Segment], Segment | str]
    touch: Callable[[Recovery, Segment, Voucher | None, Voucher], Voucher | str] | None = None
    own: Callable[[Recovery, Segment, Voucher], Voucher | None] | None = None
    frees: bool = False


def _untouched(recovery: Recovery, segment: Segment, item: Voucher | None, fresh: Voucher) -> str:
    return "lot_fragmented"


_RECALL = Work("recall", vetoed, touched)
VETOES: dict[Action, Work] = {
    Action.RECLAIM: _RECALL,
    Action.VOID: _RECALL,
    Action.SUSPEND: _RECALL,
    Action.RESUME: Work("take_over", taken_over, own=taken_over_by_itself),
}
RELEASES: dict[Action, Work] = {
    Action.RECLAIM: Work("release", released, _untouched, frees=True),
    Action.RESUME: Work("resume", lifted, own=lifted_by_itself, frees=True),
}
SINGLY = (Action.VOID, Action.SUSPEND)
"""What single serials suffer on their own items, whatever their lots are like."""


def create(
    id: str,
    order: Order,
    by: By,
    now: int,
    until: float,
    file: bytes | None = None,
    one_time_code: str | None = None,
) -> Recovery:
    """Write the order; where its requester may not do as much alone it waits for a second person, else it begins.

    A repeat is answered from what stands, before anything else is looked at.
    Raises Refusal as `prepared`, `_ordered`, `idempotency_key_reused`.
    """
    asked = fingerprint(asdict(order))
    known = table.read(RECOVERY, keys.recovery(id))
    recovery = known or _ordered(*prepared(id, asked, order, by, now, file), one_time_code)
    refuse_reuse(recovery.fingerprint, asked, "recovery")
    return start(recovery, now, until)


def start(recovery: Recovery, now: int, until: float) -> Recovery:
    """Lay the veto of a recovery that may begin within the call, where it is about at most `LOTS_PER_CALL_MAX` lots.

    The rest, what others hold up, and a call that died, is taken up by a worker, which the order's item brings by way
    of the stream: the order stands, and whoever gives it is not to give it again.
    """
    if recovery.phase is not Phase.VETO or not _is_small(recovery):
        return recovery
    try:
        return _lay_veto(recovery, now, until, checkpoint=False)
    except Refusal as refusal:
        if refusal.key not in HELD_UP:
            raise
        return find(recovery.id)


def _ordered(recovery: Recovery, serials: bool, lines: list[Line], one_time_code: str | None) -> Recovery:
    """The order as it stands: as it was before, or written in one transaction with what its requester orders alone.

    Where another order was counted meanwhile it is judged anew. Raises Refusal as `judging.judge`, `try_again`.
    """
    for _ in range(CONFLICTS_MAX):
        needed = judging.judge(recovery, serials, one_time_code)
        phase = recovery.phase if needed.approval is None else Phase.APPROVAL
        wanted = replace(selected.kept(recovery, named(lines)), phase=phase, approval=needed.approval, version=1)
        moved = table.commit([(RECOVERY, wanted, 0), *needed.spent], (), "", "request_recovery", recovery.by)
        if not moved:
            return wanted
        if 0 in moved:
            return find(recovery.id)
    raise Refusal("try_again", "Others of this client's orders come in between.", retry_after_s=1)


def prepared(
    id: str, asked: str, order: Order, by: By, now: int, file: bytes | None = None
) -> tuple[Recovery, bool, list[Line]]:
    """A new recovery of what exists and is within reach, whether that was named by single serials, a file's lines.

    What a partner's client recovers concerns the partner's channel, where it has but one and names none.
    Raises Refusal as `Reach.channel`, `ranges.resolve`, `ranges.known`, `_to_lift`, `_of_file`.
    """
    reach, serials, lines = Reach(by), False, list[Line]()
    channel = reach.channel(order.channel).id if order.channel is not None else reach.only_channel()
    lifted = _to_lift(order.lifts, by) if order.lifts is not None else None
    if file is not None:
        spans, lines = _of_file(file)
    elif order.selection is not None:
        if order.selection.batch is not None and by.is_tenant:
            raise Refusal("not_found", f"There is no batch {order.selection.batch}.")
        spans = ranges.resolve(order.selection, reach.view)
        ranges.known(spans, reach.view)
        serials = order.selection.serials is not None
    else:
        assert lifted is not None
        spans = [span for part in range(max(len(lifted.parts), 1)) for span in selected.spans_of(lifted, part)]
        serials = lifted.one_by_one
    recovery = Recovery(
        id,
        asked,
        tuple(spans),
        order.action,
        order.scope,
        order.reason,
        order.note,
        lot_count(spans),
        by,
        now,
        one_by_one=serials and order.action in SINGLY,
        phase=STEPS[order.action][0],
        lifts=order.lifts,
        via=order.via,
        lines=len(lines),
        channel=channel,
    )
    return recovery, serials, lines


def _of_file(content: bytes) -> tuple[list[Span], list[Line]]:
    """What the lines of a file name; whether that exists, each lot will tell.

    Raises Refusal `invalid_request` where it has too many lines, `empty_selection` where none names anything.
    """
    found = read_lines(content)
    if len(found) > LINES_MAX:
        raise Refusal("invalid_request", errors=[{"field": "body", "detail": f"holds more than {LINES_MAX} lines"}])
    spans = merged(line.span for line in found if line.span is not None)
    if not spans:
        errors = [{"field": f"line {line.number}", "detail": line.problem} for line in found[:ERRORS_SHOWN_MAX]]
        raise Refusal("empty_selection", "No line names a voucher.", errors=errors)
    return spans, found


def _to_lift(id: str, by: By) -> Recovery:
    """The suspension that a resume names.

    Raises Refusal `not_found`, `invalid_request` where it is none, `recovery_in_progress` until it has completed.
    """
    recovery = find(id, by)
    if recovery.action is not Action.SUSPEND or recovery.phase is Phase.REJECTED:
        raise Refusal("invalid_request", errors=[{"field": "recovery", "detail": "is no suspension"}])
    if recovery.phase is not Phase.DONE:
        raise Refusal("recovery_in_progress", "Repeat when the suspension has completed.", retry_after_s=5)
    return recovery


def proceed(id: str, now: int, until: float) -> int | None:
    """Take the next step of a recovery; says after how many seconds there is more to do, None when it is completed.

    One phase a step, so that the fence is counted from a time that is surely after the last veto.
    """
    recovery = find(id)
    match recovery.phase:
        case Phase.VETO:
            wait_s = recovery.started_at + IN_CALL_S - now
            if _is_small(recovery) and wait_s > 0:
                return wait_s
            _lay_veto(recovery, now, until, checkpoint=True)
            return 0
        case Phase.FENCE:
            if recovery.fence_until is None:
                recovery = _saved(recovery, replace(recovery, fence_until=now + FENCE_S))
            if recovery.phase is not Phase.FENCE:  # another runner is further
                return 0
            assert recovery.fence_until is not None
            if now < recovery.fence_until:
                return recovery.fence_until - now
            _saved(recovery, recovery.next(now))
            return 0
        case Phase.SURVEY:
            recovery = _survey(recovery, now, until)
        case Phase.RELEASE:
            try:
                recovery = _release(recovery, now, until)
            except _Unsurveyed:
                return UNSURVEYED_S
        case Phase.APPROVAL | Phase.REJECTED | Phase.DONE:
            return None
    return None if recovery.phase is Phase.DONE else 0


def _is_small(recovery: Recovery) -> bool:
    """Whether its call lays its veto."""
    return recovery.lots <= LOTS_PER_CALL_MAX and not recovery.parts


def find(id: str, by: By | None = None) -> Recovery:
    """A recovery. Raises Refusal `not_found`, the same for another tenant's and for none."""
    recovery = table.read(RECOVERY, keys.recovery(id))
    if recovery is None or (by is not None and by.is_tenant and recovery.by.tenant != by.tenant):
        raise Refusal("not_found", "There is no such recovery.")
    return recovery


def _saved(before: Recovery, after: Recovery) -> Recovery:
    """Write progress; where another runner is further already, what it wrote stands."""
    if after.phase is Phase.DONE:
        statistics.count(after)
    order = list(Phase)

    def further(current: Recovery | None) -> Recovery | None:
        assert current is not None
        mine, theirs = ((order.index(r.phase), r.part, r.lots_done) for r in (after, current))
        if mine == theirs and current.fence_until is None and after.fence_until is not None:
            return after
        return after if mine > theirs else None

    return table.change(RECOVERY, before, further, "recover", before.by)


def _lay_veto(recovery: Recovery, now: int, until: float, *, checkpoint: bool) -> Recovery:
    """What is not within reach of who recovers is decided with each lot's write, on the lot as it is then."""
    work, reach = VETOES[recovery.action], Reach(recovery.by)

    def change(mine: Recovery, lot: Lot, segment: Segment) -> Segment | str:
        return work.change(mine, lot, segment) if reach.holds(segment.channel) else "unknown"

    return _run(recovery, "veto", work._replace(change=change), now, until, checkpoint=checkpoint)


def _release(recovery: Recovery, now: int, until: float) -> Recovery:
    """Raises _Unsurveyed where a reclaim may end vetoes of another recovery, which has not accounted for them yet."""
    work, over = RELEASES[recovery.action], set[str]()

    def change(mine: Recovery, lot: Lot, segment: Segment) -> Segment | str:
        others = {veto.recovery for veto in segment.vetoes} - over - {mine.id}
        for other in others if mine.action is Action.RECLAIM else ():
            if not _is_surveyed(other):
                raise _Unsurveyed
            over.add(other)
        return work.change(mine, lot, segment)

    return _run(recovery, "release", work._replace(change=change), now, until, checkpoint=True)


class _Unsurveyed(Exception):  # noqa: N818 - it is a reason to wait
    pass


def _is_surveyed(id: str) -> bool:
    recovery = table.read(RECOVERY, keys.recovery(id))
    return recovery is None or recovery.phase in (Phase.RELEASE, Phase.DONE)


def _run(recovery: Recovery, name: str, work: Work, now: int, until: float, *, checkpoint: bool) -> Recovery:
    """The recovery after a phase's range commands, one for each part; in its next phase where all have completed."""
    own, phase, begun = work.own, recovery.phase, monotonic()
    for part in range(recovery.part, max(len(recovery.parts), 1)):
        spans = selected.spans_of(recovery, part)
        command = ranges.begin(
            Command(
                recovery.command(name, part),
                work.kind,
                recovery.fingerprint,
                spans,
                recovery.parts[part] if recovery.parts else recovery.lots,
                recovery.by,
                recovery.created_at,
            )
        )
        if command.status != "completed":
            command = ranges.run(
                command,
                partial(work.change, recovery),
                partial(work.touch, recovery) if work.touch is not None else None,
                now,
                until,
                checkpoint=checkpoint,
                one_by_one=recovery.one_by_one and work.touch is touched,
                own=partial(own, recovery) if own is not None else None,
                apart=is_suspended,
                frees=work.frees,
            )
        if command.status != "completed":
            return recovery
        if recovery.parts:
            recovery = _saved(recovery, replace(recovery, part=part + 1))
        if recovery.phase is not phase:  # another runner is further
            return recovery
    return _saved(recovery, recovery.next(now + int(monotonic() - begun)))


def _survey(recovery: Recovery, now: int, until: float) -> Recovery:
    todo, reach, begun = list(selected.lots_of(recovery, recovery.lots_done)), Reach(recovery.by), monotonic()
    mine = recovery  # another runner may be further than this one; what it did does not count for these lots
    barred = selected.bits_of(recovery) if recovery.action is Action.REISSUE else None
    for found in lots.in_chunks(todo, partial(_report, recovery, reach, barred, now, until), until):
        reports = [report for report in takewhile(bool, found) if report is not None]
        mine = mine.after(reports)
        if mine.lots_done == mine.lots:
            mine = mine.next(now + int(monotonic() - begun))
        recovery = _saved(recovery, mine)
        if len(reports) < len(found):
            break
    return recovery


def _report(
    recovery: Recovery, reach: Reach, barred: Barred | None, now: int, until: float, part: Part
) -> Report | None:
    """What the recovery came to in a lot: as reported before, or found out and written, holders' vouchers first.

    None where a reissue takes longer than until then.
    """
    number, within = part
    known = table.read(REPORT, keys.report(recovery.id, number))
    if known is not None:
        return known
    lot = table.read(LOT, keys.lot(number))
    if lot is None:
        return table.change(REPORT, None, partial(_once, all_unknown(recovery, number, within)), "recover", recovery.by)
    items, kept = touched_in(lot, within), NONE_KEPT
    if barred is not None:
        outcome = reissues.replace_all(recovery, items, reach.holds, barred, now, until)
        if outcome is None:
            return None
        items, kept = _read(lot, list(items)), outcome
    report = surveyed(recovery, lot, within, items, reach.holds, kept)
    for voucher in to_be_told(recovery, lot, items, report):
        what = recovery.action, recovery.reason, voucher.generation
        told = Recovered(recovery.id, voucher.position, *what, sandbox=voucher.sandbox)
        table.change(RECOVERED, None, partial(_once, told), "recover", recovery.by)
    return table.change(REPORT, None, partial(_once, report), "recover", recovery.by)


def to_be_told(recovery: Recovery, lot: Lot, items: dict[int, Voucher], report: Report) -> list[Voucher]:
    """The vouchers that were recovered from somebody who held them or had begun to use them.

    Of a resume, those that work again by it; the others' holders are told when theirs is lifted.
    """
    skipped = {index for skip in report.skipped for index in range(skip.first, skip.last + 1)}
    found = []
    for index, voucher in items.items():
        segment = lot.segment(index)
        uses = [r for r in voucher.redemptions.values() if r.generation == voucher.generation]
        held = voucher.holder is not None or any(r.reversal is None for r in uses)
        if index in skipped or not held or segment is None or reclaimed(segment, voucher):
            continue
        if recovery.action is not Action.RESUME or not goes_on_stopped(recovery, lot, segment, voucher):
            found.append(voucher)
    return found


def _once(wanted: T, current: T | None) -> T | None:
    return wanted if current is None else None


def touched_in(lot: Lot, within: list[tuple[int, int]]) -> dict[int, Voucher]:
    """Index → voucher, of those in the ranges that have items of their own."""
    entries = table.query(keys.touched_in(lot.number), limit=LOT_SIZE)
    indexes = [int(entry["gsi1sk"]) for entry in entries]
    return _read(lot, [i for i in indexes if any(first <= i <= last for first, last in within)])


def _read(lot: Lot, wanted: list[int]) -> dict[int, Voucher]:
    start = lot.number * LOT_SIZE
    items = table.get_all(keys.voucher(start + index) for index in wanted)
    return {voucher.position - start: voucher for voucher in map(VOUCHER.load, items.values())}
