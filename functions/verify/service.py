"""Is this code valid, for what, until when; and a voucher by its serial."""

from __future__ import annotations

from dataclasses import dataclass

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.events import Event
from functions.domain.lot import Lot
from functions.domain.qr import seconds_left, step_of, written
from functions.domain.serials import LOT_SIZE, position_of
from functions.domain.voucher import REFUSALS, Standing, standing
from functions.domain.wallet import is_in
from functions.store import cursors, guards, history, keys, table, vault
from functions.store.entities import LOT, VOUCHER
from functions.store.history import Place
from functions.store.lookup import look


@dataclass(frozen=True, slots=True)
class Found:
    """A voucher where it stands, with its lot."""

    lot: Lot
    standing: Standing


def verify(code: str, device: str | None, customer_address: str | None, by: By, now: int, *, entitled: bool) -> Found:
    """Check a code. Strangers get the refusals of `domain.voucher.REFUSALS`; the entitled see why it is refused.

    Raises Refusal `too_many_attempts` after too many wrong codes, right or wrong the next one.
    """
    sight = look(code, by, guards.subjects(by.client, None, device, customer_address, by.address), now)
    with sight.counting():
        sight.refuse_over_limit()
        at = sight.standing(sight.item)
        if at is None or sight.lot is None:
            raise Refusal("voucher_not_redeemable")
        if not entitled and at.reason is not None:
            raise Refusal(REFUSALS[at.reason])
    return Found(sight.lot, at)


def find(serial: str, now: int) -> Found:
    """A voucher by its serial. Raises Refusal `not_found`."""
    position = position_of(serial)
    if position is None:
        raise Refusal("not_found", "The serial is mistyped: its check digit does not fit.")
    lot_key, voucher_key = keys.lot(position // LOT_SIZE), keys.voucher(position)
    items = table.get_many([lot_key, voucher_key])
    lot = LOT.load(items[lot_key]) if lot_key in items else None
    item = VOUCHER.load(items[voucher_key]) if voucher_key in items else None
    at = standing(lot, position % LOT_SIZE, item, now) if lot is not None else None
    if lot is None or at is None:
        raise Refusal("not_found")
    return Found(lot, at)


def qr(serial: str, customer: str, by: By, now: int) -> str:
    """The text of the QR code that a customer of the caller's tenant may show at a till now.

    Raises Refusal `not_found` where the voucher is not theirs, `qr_used` until the next step where this one's was
    used, and what a till would answer.
    """
    found = find(serial, now)
    at = found.standing
    voucher, step = at.voucher, step_of(now)
    if voucher.bearer is None or not is_in(at, customer, by.tenant):
        raise Refusal("not_found")
    at.refuse_unless_redeemable()
    if voucher.qr_step >= step:
        raise Refusal("qr_used", "Wait for the next one.", retry_after_s=seconds_left(now))
    key = vault.key_of(found.lot, voucher.position % LOT_SIZE)
    return written(key, voucher.position, voucher.code_version, voucher.bearer, step)


def life(serial: str, limit: int, cursor: str | None, by: By, now: int) -> tuple[list[Event], str | None]:
    """What happened to a voucher, by itself or with its lot, oldest first; and the cursor of what follows.

    Raises Refusal `not_found`, `invalid_cursor`.
    """
    position = find(serial, now).standing.voucher.position
    bound_to = (by.client, "history", serial)
    place = Place(*cursors.unseal(cursor, *bound_to).split("\n")) if cursor is not None else Place()
    shown, after = history.page(position, limit, place)
    return shown, cursors.seal("\n".join(after), *bound_to) if after is not None else None
