"""Extensions (延期): vouchers are valid for longer, never for less."""

from __future__ import annotations

from dataclasses import replace

from functions.domain.command import Command
from functions.domain.lot import Lot, Segment
from functions.domain.voucher import DAY_S, STATUSES, VALID_UNTIL_MAX, Voucher, binding, own_end, reclaimed

EXTENSIONS_REMEMBERED = 8
"""So many last extensions a voucher with an end of its own remembers, so that none is done to it twice."""


def extended(command: Command, lot: Lot, segment: Segment) -> Segment | str:
    """The segment with its later end, also where it has expired; or why it stays as it is.

    What is valid for days from its activation has no end before it (`no_end`).
    """
    if binding(segment.vetoes, segment.status, segment.generation):
        return "recalled"
    until = _later(command, segment.valid_until)
    return until if isinstance(until, str) else replace(segment, valid_until=until)


def extended_voucher(command: Command, segment: Segment, voucher: Voucher) -> Voucher | str | None:
    """The same for a voucher with an end of its own; None where it has none, and its segment's counts."""
    end = None if reclaimed(segment, voucher) else own_end(segment, voucher)
    if end is None:
        return None
    if command.id in voucher.extensions:
        return voucher
    meaning = STATUSES[voucher.status]
    if meaning.vetoes or meaning.spent:
        return voucher.status.value
    if binding(segment.vetoes, voucher.unsuspended, voucher.generation):
        return "recalled"
    until = _later(command, end)
    if isinstance(until, str):
        return until
    remembered = (*voucher.extensions, command.id)[-EXTENSIONS_REMEMBERED:]
    return replace(voucher, valid_until=until, extensions=remembered)


def _later(command: Command, valid_until: int | None) -> int | str:
    if valid_until is None:
        return "no_end"
    if command.valid_until is not None:
        until = command.valid_until
    else:
        assert command.days is not None
        until = min(valid_until + command.days * DAY_S, VALID_UNTIL_MAX)
    return until if until > valid_until else "not_longer"
