"""Channels (渠道): who sells or hands out vouchers, and what a range command makes of a segment on its way to them.

What a channel holds says its segments, and nothing else does: a voucher that was touched belongs to who holds its
segment. Stock moves before it is sold. An active card has been sold; what brings it back is a recovery, which ends
its code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from functions.domain.actor import By, in_sandbox
from functions.domain.command import Command
from functions.domain.lot import SEGMENTS_HELD_MAX, Lot, Segment, Status, rewritten
from functions.domain.selection import Span
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import DAY_S, binding

KINDS = ("offline", "online", "partner")
"""A shop or chain of them, the operator's own online shop, somebody else's platform."""


@dataclass(frozen=True, slots=True)
class Channel:
    """`tenant` is the partner or merchant whose clients act on what the channel holds, if any; it never changes."""

    id: str
    kind: str
    name: str
    region: str | None
    tenant: str | None
    fingerprint: str
    by: By
    created_at: int
    version: int = 0

    @property
    def is_sandbox(self) -> bool:
        """Whether it takes vouchers of the sandbox, and no others."""
        return in_sandbox(self.tenant)


def activated(command: Command, lot: Lot, segment: Segment) -> Segment | str:
    """The segment in use, with whoever holds it, or why it stays as it is.

    The operator's staff may put vouchers of the sandbox in use, but sell them only for trying it out.
    """
    if command.sale is not None and lot.rules.sandbox != command.by.is_sandbox:
        return "sandbox"
    if binding(segment.vetoes, segment.status, segment.generation):
        return "recalled"
    if segment.status is Status.ACTIVE:
        return "already_active"
    if _is_over(segment, command.created_at):
        return "expired"
    days = lot.rules.valid_days_after_activation
    valid_until = segment.valid_until if days is None else command.created_at + days * DAY_S
    return replace(segment, status=Status.ACTIVE, valid_until=valid_until, sold=command.sale is not None)


def distributed(command: Command, lot: Lot, segment: Segment) -> Segment | str:
    """The segment with its new holder, or why it stays where it is.

    Without `source` only what nobody holds is handed out; with it, only what that channel holds moves or, where there
    is no `to`, comes back to stock.
    """
    if binding(segment.vetoes, segment.status, segment.generation):
        return "recalled"
    if segment.status is Status.ACTIVE:
        return "active"
    if segment.channel != command.source:
        return "not_held" if segment.channel is None else "already_held" if segment.channel == command.to else "held"
    if command.to is None:
        return replace(segment, status=Status.GENERATED, channel=None)
    if _is_over(segment, command.created_at):
        return "expired"
    return replace(segment, status=Status.DISTRIBUTED, channel=command.to)


def _is_over(segment: Segment, now: int) -> bool:
    return segment.valid_until is not None and segment.valid_until <= now


def held_by(channel: str, lot: Lot) -> list[tuple[int, int]]:
    """The index ranges that a channel holds in a lot, active ones too; neighbours as one."""
    ranges: list[tuple[int, int]] = []
    for segment in lot.segments:
        if segment.channel != channel:
            continue
        if ranges and ranges[-1][1] + 1 == segment.first:
            ranges[-1] = ranges[-1][0], segment.last
        else:
            ranges.append((segment.first, segment.last))
    return ranges


def picked(command: Command, lot: Lot, first: int, last: int, quantity: int) -> Iterator[Span]:
    """The next vouchers of `first..last` in a lot that the distribution would move, at most `quantity`.

    Of a lot that cannot be cut once more only whole segments are taken.
    """
    whole: list[tuple[int, int]] = []
    left = quantity
    for segment in lot.segments:
        low, high = max(first, segment.first), min(last, segment.last)
        if low > high or left == 0 or isinstance(distributed(command, lot, segment), str):
            continue
        high = min(high, low + left - 1)
        wanted = [*whole, (low, high)]
        outcome = rewritten(lot.segments, wanted, lambda s: _moved(command, lot, s))
        if len(outcome) <= max(SEGMENTS_HELD_MAX, len(lot.segments)):
            whole, left = wanted, left - (high - low + 1)
    start = lot.number * LOT_SIZE
    for low, high in whole:
        yield Span(start + low, start + high)


def _moved(command: Command, lot: Lot, segment: Segment) -> Segment:
    outcome = distributed(command, lot, segment)
    return segment if isinstance(outcome, str) else outcome
