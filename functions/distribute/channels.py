"""Channels: created once, looked up, and what each holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from functions.domain.actor import By
from functions.domain.channel import Channel, held_by
from functions.domain.ids import refuse_reuse
from functions.domain.lot import Lot
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import standing
from functions.store import cursors, lists, stock, table, tally
from functions.store.records import CHANNEL

COUNTED_LOTS_MAX = 10_000
"""Stock in more lots than this (100,000,000 vouchers) is listed, but not counted."""


@dataclass(frozen=True, slots=True)
class Held:
    """Positions `first..last` that a channel holds, alike in status and end of validity."""

    first: int
    last: int
    status: str
    valid_until: int | None


def create(channel: Channel) -> Channel:
    """Write the channel, or give back what an earlier request made. Raises Refusal `idempotency_key_reused`."""

    def once(current: Channel | None) -> Channel | None:
        if current is None:
            return channel
        refuse_reuse(current.fingerprint, channel.fingerprint, "channel")
        return None

    return table.change(CHANNEL, None, once, "create_channel", channel.by)


def page(limit: int, cursor: str | None, by: By) -> tuple[list[Channel], str | None]:
    """The next channels that the caller may see, newest first; a tenant's page may be short.

    Raises Refusal `invalid_cursor`.
    """
    found, next_cursor = lists.page(CHANNEL, limit, cursor, by)
    return [channel for channel in found if not by.is_tenant or channel.tenant == by.tenant], next_cursor


def holdings(
    channel: Channel, limit: int, cursor: str | None, by: By, now: int
) -> tuple[list[Held], dict[str, int] | None, str | None]:
    """What a channel holds in its next `limit` lots, and on the first page the counts of all by effective status.

    Counts are None on later pages, above `COUNTED_LOTS_MAX` and where `tally.counts` has none.
    Raises Refusal `invalid_cursor`.
    """
    bound_to = (by.client, "stock", channel.id)
    after = int(cursors.unseal(cursor, *bound_to)) if cursor is not None else None
    numbers = stock.lots_of(channel.id, limit + 1, after)
    more = len(numbers) > limit
    shown = list(_shown(channel.id, stock.held(channel.id, numbers[:limit]), now))
    counts = _counts(channel.id, now) if cursor is None else None
    return shown, counts, cursors.seal(str(numbers[limit - 1]), *bound_to) if more else None


def _counts(channel: str, now: int) -> dict[str, int] | None:
    numbers = stock.lots_of(channel, COUNTED_LOTS_MAX + 1)
    if len(numbers) > COUNTED_LOTS_MAX:
        return None
    return tally.counts(numbers, lambda lot: held_by(channel, lot), now)


def _shown(channel: str, lots: list[Lot], now: int) -> Iterator[Held]:
    """Neighbours that are alike as one, across lots too. What was touched singly shows in the counts only."""
    last: Held | None = None
    for lot in lots:
        start = lot.number * LOT_SIZE
        for segment, low, high in tally.pieces(lot, held_by(channel, lot)):
            at = standing(lot, low, None, now)
            assert at is not None
            held = Held(start + low, start + high, at.status, segment.valid_until)
            if last is None:
                last = held
            elif last == replace(held, first=last.first, last=last.last) and last.last + 1 == held.first:
                last = replace(last, last=held.last)
            else:
                yield last
                last = held
    if last is not None:
        yield last
