"""Extensions (延期) of validity: one write a lot, and one for each voucher that has an end of its own."""

from __future__ import annotations

from dataclasses import asdict

from functions.distribute.service import order, selected
from functions.domain.actor import By
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint
from functions.domain.selection import Selection, Span
from functions.store.reach import Reach

KIND = "extend"


def extend(
    id: str, selection: Selection, valid_until: int | None, days: int | None, by: By, now: int, until: float
) -> Command:
    """Have a selection end at `valid_until`, or each voucher of it so many days later than it would.

    Raises Refusal `invalid_request` where a new order's end is over already, or as `service.order` and `selected`.
    """
    asked = {**asdict(selection), "valid_until": valid_until, "days": days}
    wanted = Command(id, KIND, fingerprint(asked), (), 0, by, now, valid_until=valid_until, days=days)

    def spans_of(reach: Reach) -> list[Span]:
        if valid_until is not None and valid_until <= now:
            raise Refusal("invalid_request", errors=[{"field": "valid_until", "detail": "lies in the past"}])
        return selected(selection, reach)

    return order(wanted, spans_of, until)
