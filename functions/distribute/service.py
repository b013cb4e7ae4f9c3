"""Orders about ranges of vouchers: one write a lot, whatever their size.

An order's command, once written, brings a worker by way of the stream: what the call leaves undone is done there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from functions.distribute import files
from functions.domain.actor import By
from functions.domain.campaign import LOTS_PER_CALL_MAX
from functions.domain.channel import activated, distributed
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.extension import extended, extended_voucher
from functions.domain.ids import fingerprint
from functions.domain.lot import Lot, Segment
from functions.domain.recovery import Action
from functions.domain.sale import Sale
from functions.domain.selection import Selection, Span, by_lot, lot_count
from functions.domain.voucher import Voucher, binding
from functions.store import jobs, keys, ranges, table
from functions.store.reach import Reach
from functions.store.records import COMMAND
from functions.store.singles import Touch


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of order does to a segment, to a single voucher where a lot cannot be split, and to one with terms of
    its own; and whether what it is about may be drawn again then."""

    change: Callable[[Command, Lot, Segment], Segment | str]
    touch: Touch | None = None
    own: Callable[[Command, Segment, Voucher], Voucher | str | None] | None = None
    frees: Callable[[Command], bool] = lambda _: False


def _in_use(segment: Segment, item: Voucher | None, fresh: Voucher) -> Voucher | str:
    return fresh if item is None else item.status.value


KINDS = {
    "activate": Kind(activated, touch=_in_use),
    "distribute": Kind(distributed, frees=lambda command: command.to is None),
    "extend": Kind(extended, own=extended_voucher, frees=lambda _: True),
}


def activate(
    id: str,
    selection: Selection | bytes,
    by: By,
    now: int,
    until: float,
    sale: Sale | None = None,
) -> Command:
    """Have a selection of vouchers in use, or what the lines of a file name; as sold where a sale is given.

    Raises Refusal as `order` and `named`.
    """
    asked = fingerprint({**identity(selection), "sale": sale})
    by_line = isinstance(selection, bytes)
    wanted = Command(id, "activate", asked, (), 0, by, now, sale=sale, by_line=by_line)
    return order(wanted, lambda reach: named(selection, reach), until)


def identity(selection: Selection | bytes) -> dict[str, Any]:
    """What tells two selections apart in a fingerprint."""
    return {"file": files.digest(selection)} if isinstance(selection, bytes) else asdict(selection)


def named(selection: Selection | bytes, reach: Reach) -> list[Span]:
    """What a selection or a file names. Raises Refusal as `selected` and `files.spans`."""
    return files.spans(selection, reach) if isinstance(selection, bytes) else selected(selection, reach)


def order(wanted: Command, spans: Callable[[Reach], list[Span]], until: float) -> Command:
    """Do an order within the call where it touches at most `LOTS_PER_CALL_MAX` lots, else as a job.

    A repeat is answered from what stands, before anything else is looked at; `spans` is asked what a new order is
    about. Raises Refusal as `spans` and `ranges.again`.
    """
    command = ranges.again(wanted.id, wanted.fingerprint)
    if command is None:
        found = spans(Reach(wanted.by))
        command = ranges.begin(replace(wanted, spans=tuple(found), lots=lot_count(found)))
    if command.status != "completed" and command.lots <= LOTS_PER_CALL_MAX:
        command = _run(command, wanted.created_at, until, checkpoint=False)
    return command


def selected(selection: Selection, reach: Reach) -> list[Span]:
    """What a selection names, of what is within reach; a tenant's clients do not select by batch.

    Raises Refusal as `ranges.resolve` and `ranges.known`, `recovery_in_progress`.
    """
    if selection.batch is not None and reach.by.is_tenant:
        raise Refusal("not_found", f"There is no batch {selection.batch}.")
    spans = ranges.resolve(selection, reach.view)
    _refuse_while_reclaimed(ranges.known(spans, reach.view), spans)
    return spans


def _refuse_while_reclaimed(found: dict[int, Lot], spans: list[Span]) -> None:
    """Raise Refusal `recovery_in_progress` where a reclaim has not yet set its range free."""
    for number, within in by_lot(spans):
        for segment in found[number].segments if number in found else ():
            selected = any(first <= segment.last and segment.first <= last for first, last in within)
            veto = binding(segment.vetoes, segment.status, segment.generation)
            if selected and veto is not None and veto.action == Action.RECLAIM:
                detail = f"Recovery {veto.recovery} is reclaiming these vouchers; repeat when it has completed."
                raise Refusal("recovery_in_progress", detail, retry_after_s=5)


def proceed(id: str, now: int, until: float) -> int | None:
    """Go on with an order; says after how many seconds there is more to do, None when it is done."""
    command = table.read(COMMAND, keys.command(id))
    if command is None or command.kind not in KINDS:
        raise Refusal("not_found")
    if command.status == "completed":
        return None
    if command.lots <= LOTS_PER_CALL_MAX and (wait_s := command.created_at + jobs.IN_CALL_S - now) > 0:
        return wait_s
    return None if _run(command, now, until, checkpoint=True).status == "completed" else 0


def _run(command: Command, now: int, until: float, *, checkpoint: bool) -> Command:
    """Whose the vouchers are is decided with each lot's write, on the lot as it is then."""
    kind, reach = KINDS[command.kind], Reach(command.by)

    def change(lot: Lot, segment: Segment) -> Segment | str:
        if not reach.holds(segment.channel):
            return "unknown"
        return kind.change(command, lot, segment) if reach.may_go(lot, command.to) else "sandbox"

    own = partial(kind.own, command) if kind.own is not None else None
    return ranges.run(
        command, change, kind.touch, now, until, checkpoint=checkpoint, own=own, frees=kind.frees(command)
    )


def find(id: str, kind: str, by: By) -> Command:
    """An order of a kind. Raises Refusal `not_found`, the same for another tenant's and for none."""
    command = table.read(COMMAND, keys.command(id))
    if command is None or command.kind != kind or (by.is_tenant and command.by.tenant != by.tenant):
        raise Refusal("not_found")
    return command
