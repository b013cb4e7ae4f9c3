"""A customer's wallet (卡包): the vouchers that somebody holds, and in which order.

A customer belongs to the tenant whose client names it: the same id at two tenants means two customers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from functions.domain.lot import Status
from functions.domain.voucher import OVER, Standing, Voucher

SHOWN = (Status.CLAIMED.value, Status.PARTLY_REDEEMED.value, Status.SUSPENDED.value)
"""What a wallet shows to whoever does not ask for a status. What was voided, reclaimed or reissued is in no wallet."""
STATUSES = (*SHOWN, "expired", Status.REDEEMED.value)
"""What it may be asked for."""


class Place(NamedTuple):
    """Whose wallet, in which half of it (open, or used up), and by which end of validity it is ordered there."""

    tenant: str
    holder: str
    used_up: bool
    ends: int | None


def held(at: Standing, holder: str, tenant: str) -> Voucher:
    """The voucher as a customer's of a tenant, as it stands now; its status is not touched."""
    return replace(at.voucher, holder=holder, tenant=tenant, ends=at.valid_until)


def place(voucher: Voucher) -> Place | None:
    """Where a voucher stands in a wallet, None where in none; an end of its own goes before that which it had."""
    if voucher.holder is None or voucher.tenant is None:
        return None
    used_up = voucher.status is Status.REDEEMED
    if voucher.status in OVER and not used_up:
        return None
    ends = voucher.valid_until if voucher.valid_until is not None else voucher.ends
    return Place(voucher.tenant, voucher.holder, used_up, ends)


def is_in(at: Standing, holder: str, tenant: str) -> bool:
    """Whether it is this customer's, as it stands now."""
    return (at.voucher.tenant, at.voucher.holder) == (tenant, holder)
