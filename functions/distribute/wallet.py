"""What a customer holds, nearest end of validity first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from functions.domain.actor import By
from functions.domain.lot import Lot, Status
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import Standing, standing
from functions.domain.wallet import SHOWN, is_in
from functions.store import cursors, keys, lots, table
from functions.store.entities import VOUCHER
from functions.store.table import Item

INDEX = "gsi2"
READS_PER_PAGE_MAX = 5
"""A page looks at so many hundred places of the index at most, and may then be short: many may have expired."""


@dataclass(frozen=True, slots=True)
class Held:
    """A voucher in a wallet, as it stands, with its lot."""

    lot: Lot
    standing: Standing


def page(
    customer: str, status: str | None, limit: int, cursor: str | None, by: By, now: int
) -> tuple[list[Held], str | None]:
    """The next vouchers of a customer of the caller's tenant, and the cursor of what follows.

    The index orders them by the end that each had when it was written last; a page is put in order by the ends that
    its vouchers have now, which an extension of their range may have moved since. Raises Refusal `invalid_cursor`.
    """
    place = keys.held_by(by.tenant, customer, used_up=status == Status.REDEEMED)
    bound_to = (by.client, "wallet", place, status or "")
    after = cursors.unseal(cursor, *bound_to) if cursor is not None else None
    wanted = SHOWN if status is None else (status,)
    shown: list[Held] = []
    for _ in range(READS_PER_PAGE_MAX):
        room = limit - len(shown)
        entries = table.query(place, limit=room + 1, after=after, index=INDEX)
        shown += (
            held
            for held in _as_they_stand(entries[:room], now)
            if held.standing.status in wanted and is_in(held.standing, customer, by.tenant)
        )
        if len(entries) <= room:
            return _ordered(shown), None
        after = entries[room - 1][f"{INDEX}sk"]
        if len(shown) == limit:
            break
    assert after is not None
    return _ordered(shown), cursors.seal(after, *bound_to)


def _as_they_stand(entries: list[Item], now: int) -> list[Held]:
    """What the places of the index stand for, read consistently: what has left the wallet since shows as it is."""
    items = table.get_many(keys.Key(entry["pk"], entry["sk"]) for entry in entries)
    vouchers = [VOUCHER.load(item) for item in items.values()]
    found = lots.read_many(voucher.position // LOT_SIZE for voucher in vouchers)
    stand = [
        (lot, standing(lot, voucher.position % LOT_SIZE, voucher, now))
        for voucher in vouchers
        if (lot := found.get(voucher.position // LOT_SIZE)) is not None
    ]
    return [Held(lot, at) for lot, at in stand if at is not None]


def _ordered(held: Iterable[Held]) -> list[Held]:
    def by_end(each: Held) -> tuple[bool, int, int]:
        at = each.standing
        return at.valid_until is None, at.valid_until or 0, at.voucher.position

    return sorted(held, key=by_end)
