"""Activate a selection of vouchers: one write a lot, whatever its size."""

from __future__ import annotations

from dataclasses import asdict, replace

from functions.domain.actor import By
from functions.domain.campaign import LOTS_PER_CALL_MAX
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint
from functions.domain.lot import Lot, Segment, Status
from functions.domain.selection import Selection, lot_count
from functions.domain.voucher import DAY_S, binding
from functions.store import jobs, keys, ranges, table
from functions.store.entities import COMMAND

KIND = "activate"


def activate(id: str, selection: Selection, by: By, now: int, until: float) -> Command:
    """Activate within the call where the selection touches at most `LOTS_PER_CALL_MAX` lots, else as a job.

    What the time does not allow goes on as a job as well. Raises Refusal as `ranges.resolve` and `ranges.known`.
    """
    spans = ranges.resolve(selection)
    count = lot_count(spans)
    command = Command(id, KIND, fingerprint(asdict(selection)), tuple(spans), count, by, now)
    as_job = count > LOTS_PER_CALL_MAX
    ranges.known(spans)
    command = ranges.begin(command)
    if command.status != "completed" and not as_job:
        command = ranges.run(command, _active(command), now, until, checkpoint=False)
    if command.status != "completed":
        jobs.send(command.id)
    return command


def proceed(id: str, now: int, until: float) -> bool:
    """Go on with an activation that runs as a job; says whether it is done."""
    command = find(id)
    if command.status != "completed":
        command = ranges.run(command, _active(command), now, until, checkpoint=True)
    return command.status == "completed"


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
