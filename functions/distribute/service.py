"""Activate a selection of vouchers: one write a lot, whatever its size."""

from __future__ import annotations

from dataclasses import asdict, replace

from functions.domain.actor import By
from functions.domain.campaign import LOTS_PER_CALL_MAX
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint
from functions.domain.lot import Lot, Segment, Status
from functions.domain.recovery import Action
from functions.domain.selection import Selection, Span, by_lot, lot_count
from functions.domain.voucher import DAY_S, Voucher, binding
from functions.store import jobs, keys, ranges, table
from functions.store.entities import COMMAND

KIND = "activate"


def activate(id: str, selection: Selection, by: By, now: int, until: float) -> Command:
    """Activate within the call where the selection touches at most `LOTS_PER_CALL_MAX` lots, else as a job.

    The command's item, once written, brings a worker by way of the stream: what the call leaves undone is done there.
    Raises Refusal as `ranges.resolve` and `ranges.known`, `recovery_in_progress`.
    """
    spans = ranges.resolve(selection)
    count = lot_count(spans)
    command = Command(id, KIND, fingerprint(asdict(selection)), tuple(spans), count, by, now)
    as_job = count > LOTS_PER_CALL_MAX
    reclaim = _reclaim(ranges.known(spans), spans)
    if reclaim is not None and table.read(COMMAND, keys.command(id)) is None:
        detail = f"Recovery {reclaim} is reclaiming these vouchers; repeat when it has completed."
        raise Refusal("recovery_in_progress", detail, retry_after_s=5)
    command = ranges.begin(command)
    if command.status != "completed" and not as_job:
        command = ranges.run(command, _active(command), _touch, now, until, checkpoint=False)
    return command


def _reclaim(found: dict[int, Lot], spans: list[Span]) -> str | None:
    """The recovery that is reclaiming some of what is selected and has not yet set it free."""
    for number, within in by_lot(spans):
        for segment in found[number].segments if number in found else ():
            selected = any(first <= segment.last and segment.first <= last for first, last in within)
            veto = binding(segment.vetoes, segment.status, segment.generation)
            if selected and veto is not None and veto.action == Action.RECLAIM:
                return veto.recovery
    return None


def proceed(id: str, now: int, until: float) -> int | None:
    """Go on with an activation; says after how many seconds there is more to do, None when it is done."""
    command = find(id)
    if command.status == "completed":
        return None
    if command.lots <= LOTS_PER_CALL_MAX and (wait_s := command.created_at + jobs.IN_CALL_S - now) > 0:
        return wait_s
    command = ranges.run(command, _active(command), _touch, now, until, checkpoint=True)
    return None if command.status == "completed" else 0


def find(id: str) -> Command:
    """An activation. Raises Refusal `not_found`."""
    command = table.read(COMMAND, keys.command(id))
    if command is None or command.kind != KIND:
        raise Refusal("not_found")
    return command


def _active(command: Command) -> ranges.Change:
    def active(lot: Lot, segment: Segment) -> Segment | str:
        if binding(segment.vetoes, segment.status, segment.generation):
            return "recalled"
        if segment.status is Status.ACTIVE:
            return "already_active"
        if segment.valid_until is not None and segment.valid_until <= command.created_at:
            return "expired"
        days = lot.rules.valid_days_after_activation
        valid_until = segment.valid_until if days is None else command.created_at + days * DAY_S
        return replace(segment, status=Status.ACTIVE, valid_until=valid_until)

    return active


def _touch(segment: Segment, item: Voucher | None, fresh: Voucher) -> Voucher | str:
    return fresh if item is None else item.status.value
