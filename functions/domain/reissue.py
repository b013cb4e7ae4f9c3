"""Reissues (换发): a voucher ends, and its holder has another of its campaign with what was left on it.

Both are written in one transaction, so that the value is on one of them at any time. What is reversed later of the old
one's redemptions goes to the new one (`domain.voucher.with_credit`).
"""

from __future__ import annotations

from dataclasses import replace

from functions.domain.lot import Lot, Status
from functions.domain.recovery import Recovery, already_bound, spared
from functions.domain.voucher import OVER, Origin, Reissue, Voucher, standing

REISSUES_MAX = 10
"""So often may a voucher be replaced: a reversal goes through all of its successors."""


def kept(recovery: Recovery, lot: Lot, index: int, item: Voucher, now: int) -> str | None:
    """Why a voucher is not replaced, None where it is. One that is suspended may be: it is often why it is replaced."""
    at = standing(lot, index, item, now)
    assert at is not None, "only what was generated is touched"
    voucher = at.voucher
    if voucher.unsuspended in OVER:
        return voucher.unsuspended.value
    if voucher.holder is None or voucher.tenant is None:
        return "not_held"
    if not lot.rules.format.derived:
        return "imported"
    reason = already_bound(at.segment, voucher) or spared(recovery.scope, voucher)
    if reason is None and at.valid_until is not None and now >= at.valid_until:
        reason = "expired"
    if reason is None and voucher.origin is not None and voucher.origin.number >= REISSUES_MAX:
        reason = "reissue_limit_reached"
    return reason


def replaced(recovery: Recovery, old: Voucher, valid_until: int | None, fresh: Voucher) -> tuple[Voucher, Voucher]:
    """The old voucher and its successor, `fresh` being one that was drawn; it ends when the old one would have."""
    amount = old.balance_minor
    ended = replace(
        old,
        status=Status.REISSUED,
        suspension=None,
        balance_minor=0,
        reissue=Reissue(recovery.id, fresh.position, amount),
        version=old.version + 1,
    )
    number = old.origin.number + 1 if old.origin is not None else 1
    successor = replace(
        fresh,
        status=Status.CLAIMED,
        balance_minor=amount,
        holder=old.holder,
        tenant=old.tenant,
        valid_until=valid_until if valid_until is not None else fresh.valid_until,
        ends=valid_until if valid_until is not None else fresh.draws[-1].valid_until,
        origin=Origin(recovery.id, old.position, amount, number),
    )
    return ended, successor
