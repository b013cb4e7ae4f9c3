"""Recover: veto the range at once, wait for the fence, account for every card, and set a reclaimed range free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import TypeVar

from functions.domain.actor import By
from functions.domain.campaign import LOTS_PER_CALL_MAX
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint, refuse_reuse
from functions.domain.lot import Lot, Scope
from functions.domain.recovery import (
    Action,
    Phase,
    Recovered,
    Recovery,
    Report,
    released,
    surveyed,
    vetoed,
    voided,
)
from functions.domain.selection import Selection, by_lot, lot_count
from functions.domain.serials import LOT_SIZE, serial_of
from functions.domain.voucher import Voucher, reclaimed
from functions.recover import judging
from functions.store import cursors, keys, lots, ranges, table
from functions.store.aws import FENCE_S
from functions.store.entities import LOT, VOUCHER
from functions.store.records import RECOVERED, RECOVERY, REPORT
from functions.store.table import BATCH_GET_MAX

IN_CALL_S = 3
"""A worker leaves a small recovery to its call for so long; after that it lays the veto itself."""

T = TypeVar("T")
Part = tuple[int, list[tuple[int, int]]]
Line = tuple[str, str]


def create(
    id: str,
    selection: Selection,
    action: Action,
    scope: Scope,
    reason: str,
    note: str | None,
    by: By,
    now: int,
    until: float,
    one_time_code: str | None = None,
) -> Recovery:
    """Write the order; where its requester may not do as much alone it waits for a second person, else it begins.

    A repeat is answered from what stands, before anything else is looked at.
    Raises Refusal as `ranges.resolve`, `ranges.known` and `judging.judge`, `idempotency_key_reused`.
    """
    asked = fingerprint({**asdict(selection), "action": action, "scope": scope, "reason": reason, "note": note})
    known = table.read(RECOVERY, keys.recovery(id))
    if known is None:
        spans = ranges.resolve(selection)
        ranges.known(spans)
        single = selection.serials is not None
        one_by_one = single and action is Action.VOID
        count = lot_count(spans)
        wanted = Recovery(id, asked, tuple(spans), action, scope, reason, note, count, by, now, one_by_one)
        approval = judging.judge(wanted, single, one_time_code)
        if approval is not None:
            wanted = replace(wanted, phase=Phase.APPROVAL, approval=approval)

    def once(current: Recovery | None) -> Recovery | None:
        if current is None:
            return wanted
        refuse_reuse(current.fingerprint, asked, "recovery")
        return None

    return start(table.change(RECOVERY, known, once, "request_recovery", by), now, until)


def start(recovery: Recovery, now: int, until: float) -> Recovery:
    """Lay the veto of a recovery that may begin within the call, where it is about at most `LOTS_PER_CALL_MAX` lots.

    The rest, and a call that died, is taken up by a worker, which the order's item brings by way of the stream.
    """
    if recovery.phase is Phase.VETO and recovery.lots <= LOTS_PER_CALL_MAX:
        recovery = _lay_veto(recovery, now, until, checkpoint=False)
    return recovery


def proceed(id: str, now: int, until: float) -> int | None:
    """Take the next step of a recovery; says after how many seconds there is more to do, None when it is completed.

    One phase a step, so that the fence is counted from a time that is surely after the last veto.
    """
    recovery = find(id)
    match recovery.phase:
        case Phase.VETO:
            wait_s = recovery.started_at + IN_CALL_S - now
            if recovery.lots <= LOTS_PER_CALL_MAX and wait_s > 0:
                return wait_s
            _lay_veto(recovery, now, until, checkpoint=True)
            return 0
        case Phase.FENCE:
            if recovery.fence_until is None:
                recovery = _saved(recovery, replace(recovery, fence_until=now + FENCE_S))
            assert recovery.fence_until is not None
            if now < recovery.fence_until:
                return recovery.fence_until - now
            _saved(recovery, replace(recovery, phase=Phase.SURVEY))
            return 0
        case Phase.SURVEY:
            recovery = _survey(recovery, now, until)
        case Phase.RELEASE:
            recovery = _release(recovery, now, until)
        case Phase.APPROVAL | Phase.REJECTED | Phase.DONE:
            return None
    return None if recovery.phase is Phase.DONE else 0


def find(id: str) -> Recovery:
    """A recovery. Raises Refusal `not_found`."""
    recovery = table.read(RECOVERY, keys.recovery(id))
    if recovery is None:
        raise Refusal("not_found", "There is no such recovery.")
    return recovery


def _saved(before: Recovery, after: Recovery) -> Recovery:
    """Write progress; where another runner is further already, what it wrote stands."""
    order = list(Phase)

    def further(current: Recovery | None) -> Recovery | None:
        assert current is not None
        mine, theirs = (order.index(after.phase), after.lots_done), (order.index(current.phase), current.lots_done)
        if mine == theirs and current.fence_until is None and after.fence_until is not None:
            return after
        return after if mine > theirs else None

    return table.change(RECOVERY, before, further, "recover", before.by)


def _lay_veto(recovery: Recovery, now: int, until: float, *, checkpoint: bool) -> Recovery:
    command = ranges.begin(_command(recovery, recovery.veto_command, "recall"))
    if command.status != "completed":
        command = ranges.run(
            command,
            partial(vetoed, recovery),
            partial(voided, recovery),
            now,
            until,
            checkpoint=checkpoint,
            one_by_one=recovery.one_by_one,
        )
    return _saved(recovery, replace(recovery, phase=Phase.FENCE)) if command.status == "completed" else recovery


def _release(recovery: Recovery, now: int, until: float) -> Recovery:
    command = ranges.begin(_command(recovery, recovery.release_command, "release"))
    if command.status != "completed":
        command = ranges.run(
            command, partial(released, recovery), lambda *_: "lot_fragmented", now, until, checkpoint=True, frees=True
        )
    if command.status != "completed":
        return recovery
    return _saved(recovery, replace(recovery, phase=Phase.DONE, completed_at=now))


def _command(recovery: Recovery, id: str, kind: str) -> Command:
    return Command(id, kind, recovery.fingerprint, recovery.spans, recovery.lots, recovery.by, recovery.created_at)


def _survey(recovery: Recovery, now: int, until: float) -> Recovery:
    todo = list(by_lot(list(recovery.spans)))[recovery.lots_done :]
    mine = recovery  # another runner may be further than this one; what it did does not count for these lots
    for reports in lots.in_chunks(todo, partial(_report, recovery), until):
        mine = mine.after(reports)
        if mine.lots_done == mine.lots:
            over = recovery.action is Action.VOID
            mine = replace(mine, phase=Phase.DONE if over else Phase.RELEASE, completed_at=now if over else None)
        recovery = _saved(recovery, mine)
    return recovery


def _report(recovery: Recovery, part: Part) -> Report:
    """What the recovery came to in a lot: as reported before, or found out and written, holders' vouchers first."""
    number, within = part
    known = table.read(REPORT, keys.report(recovery.id, number))
    if known is not None:
        return known
    lot = table.read(LOT, keys.lot(number))
    if lot is None:
        return Report(recovery.id, number, 0, 0)
    touched = _touched(lot, within)
    report = surveyed(recovery, lot, within, touched)
    skipped = {index for skip in report.skipped for index in range(skip.first, skip.last + 1)}
    for index, voucher in touched.items():
        segment = lot.segment(index)
        uses = [r for r in voucher.redemptions.values() if r.generation == voucher.generation]
        held = voucher.holder is not None or any(r.reversal is None for r in uses)
        if index not in skipped and held and segment is not None and not reclaimed(segment, voucher):
            told = Recovered(recovery.id, voucher.position, recovery.action, recovery.reason)
            table.change(RECOVERED, None, partial(_once, told), "recover", recovery.by)
    return table.change(REPORT, None, partial(_once, report), "recover", recovery.by)


def _once(wanted: T, current: T | None) -> T | None:
    return wanted if current is None else None


def _touched(lot: Lot, within: list[tuple[int, int]]) -> dict[int, Voucher]:
    start = lot.number * LOT_SIZE
    entries = table.query(keys.touched_in(lot.number), limit=LOT_SIZE)
    indexes = [int(entry["gsi1sk"]) for entry in entries]
    wanted = [i for i in indexes if any(first <= i <= last for first, last in within)]
    found: dict[int, Voucher] = {}
    for at in range(0, len(wanted), BATCH_GET_MAX):
        items = table.get_many(keys.voucher(start + index) for index in wanted[at : at + BATCH_GET_MAX])
        for item in items.values():
            voucher = VOUCHER.load(item)
            found[voucher.position - start] = voucher
    return found


def skipped(recovery: Recovery, limit: int, cursor: str | None, by: By) -> tuple[list[Line], str | None]:
    """(serial, reason) of what was left as it is, from the cursor on. Raises Refusal `invalid_cursor`."""
    bound_to = (by.client, "skipped", recovery.id)
    start = int(cursors.unseal(cursor, *bound_to)) if cursor is not None else 0
    lines: list[Line] = []
    for position, reason in _skips(recovery, start):
        if len(lines) == limit:
            return lines, cursors.seal(str(position), *bound_to)
        lines.append((serial_of(position), reason))
    return lines, None


def _skips(recovery: Recovery, start: int) -> Iterator[tuple[int, str]]:
    """(position, reason) from a position on, lot by lot as they were reported."""
    numbers = [number for span in recovery.spans for number in span.lots]
    todo = list(dict.fromkeys(numbers))[: recovery.lots_done]
    todo = [number for number in todo if number >= start // LOT_SIZE]
    for at in range(0, len(todo), BATCH_GET_MAX):
        items = table.get_many(keys.report(recovery.id, number) for number in todo[at : at + BATCH_GET_MAX])
        for report in sorted((REPORT.load(item) for item in items.values()), key=lambda r: r.lot):
            for skip in report.skipped:
                for index in range(skip.first, skip.last + 1):
                    position = report.lot * LOT_SIZE + index
                    if position >= start:
                        yield position, skip.reason
