"""Distributions (分发): vouchers go to a channel, from one channel to another, or back to stock."""

from __future__ import annotations

from functions.distribute.service import identity, named, order
from functions.domain.actor import By
from functions.domain.channel import picked
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint
from functions.domain.selection import Selection, Span
from functions.store import lots, ranges
from functions.store.reach import Reach
from functions.store.table import BATCH_GET_MAX

KIND = "distribute"
SPANS_MAX = 5_000
"""So many pieces a picked distribution may be made of; its item holds them."""


def distribute(
    id: str,
    selection: Selection | bytes,
    quantity: int | None,
    to: str | None,
    source: str | None,
    by: By,
    now: int,
    until: float,
) -> Command:
    """Hand a selection out, or what the lines of a file name, or the first `quantity` of a batch that can be had.

    Raises Refusal `not_found` for a channel out of reach, `insufficient_scope` where a tenant's client does anything
    but return, or as `service.named` and `picking`.
    """
    asked = fingerprinted(selection, quantity, to, source)
    wanted = Command(id, KIND, asked, (), 0, by, now, to=to, source=source, quantity=quantity,
                     by_line=isinstance(selection, bytes))  # fmt: skip
    if by.is_tenant and (to is not None or quantity is not None):
        raise Refusal("insufficient_scope", "You may return what your channels hold, not hand it out.")

    def spans(reach: Reach) -> list[Span]:
        for channel in (source, to):
            if channel is not None:
                reach.channel(channel)
        if quantity is not None and isinstance(selection, Selection):
            return picking(wanted, selection, reach)
        return named(selection, reach)

    return order(wanted, spans, until)


def fingerprinted(selection: Selection | bytes, quantity: int | None, to: str | None, source: str | None) -> str:
    """What tells two distributions under one key apart."""
    return fingerprint({**identity(selection), "quantity": quantity, "to": to, "source": source})


def picking(wanted: Command, selection: Selection, reach: Reach) -> list[Span]:
    """The first `quantity` vouchers of a batch that the distribution would move, as exact ranges.

    They are picked before the command is written and stay what they are, so that a repeat does not pick others. What
    another order takes meanwhile is skipped. Raises Refusal `quantity_exceeded`, or as `ranges.generated`.
    """
    assert selection.batch is not None
    assert wanted.quantity is not None
    span = ranges.generated(selection.batch).span
    found: list[Span] = []
    left = wanted.quantity
    for start in range(span.lots.start, span.lots.stop, BATCH_GET_MAX):
        numbers = range(start, min(start + BATCH_GET_MAX, span.lots.stop))
        for _, lot in sorted(lots.read_many(numbers).items()):
            if not reach.may_go(lot, wanted.to):
                continue
            for piece in picked(wanted, lot, *span.within(lot.number), left):
                left -= piece.size
                if found and found[-1].last + 1 == piece.first:
                    piece = Span(found.pop().first, piece.last)
                found.append(piece)
        if left == 0 or len(found) > SPANS_MAX:
            break
    if left or len(found) > SPANS_MAX:
        available = sum(piece.size for piece in found[:SPANS_MAX])
        raise Refusal(
            "quantity_exceeded", f"{available} vouchers of the batch can be had.", extra={"available": available}
        )
    return found
