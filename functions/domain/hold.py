"""Holds (预留): an amount of a voucher is kept for one order, which then takes all or part of it, or gives it back.

A hold lies in its voucher's own item, so the one conditional write of that item excludes it and a redemption from
each other. It ends at its time by computation. What it promises is the amount, not that the voucher stays usable: a
veto refuses its capture as it refuses a redemption. The end of validity does not, for who held in time was there in
time, as with a card payment that is authorised on one day and settled on the next; it is 30 minutes at most.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from functions.domain.errors import Refusal
from functions.domain.lot import Status
from functions.domain.voucher import (
    DAY_S,
    REFUSALS,
    Hold,
    Redemption,
    Release,
    Standing,
    Voucher,
    status_with,
    with_redemption,
)

MINUTES_MAX = 30
MINUTES_DEFAULT = 15
HOLDS_PER_VOUCHER_MAX = 40
"""Open ones, and those whose time was over within the last day."""
KEPT_S = DAY_S
"""So long after its time a hold is known at least, for those who ask about it or repeat what they asked."""
UNHINDERED = ("expired", "redeemed")
"""Reasons that do not refuse a capture by themselves; a voucher without value fails on the amount."""


class State(StrEnum):
    """What has become of a hold."""

    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
    EXPIRED = "expired"


def state(hold: Hold, now: int) -> State:
    """What has become of a hold by now."""
    if hold.redemption is not None:
        return State.CAPTURED
    if hold.release is not None:
        return State.RELEASED
    return State.OPEN if now < hold.until else State.EXPIRED


ENDED: dict[State, tuple[str, str]] = {
    State.CAPTURED: ("hold_captured", "Its redemption has taken what it was to take; the rest is free."),
    State.RELEASED: ("hold_released", "What it held is free."),
    State.EXPIRED: ("hold_expired", "Its time is over, and what it held is free."),
}
"""State → key and detail of the refusal of what takes an open hold."""


def refuse_unless_open(hold: Hold, now: int) -> None:
    """Raise Refusal `hold_captured`, `hold_released` or `hold_expired`."""
    ended = ENDED.get(state(hold, now))
    if ended is not None:
        raise Refusal(*ended)


def with_hold(at: Standing, hold: Hold) -> Voucher:
    """The voucher with one more hold; those that ended long ago make room. Raises Refusal `hold_limit_reached`."""
    kept = {id: before for id, before in at.voucher.holds.items() if hold.at < before.until + KEPT_S}
    if len(kept) >= HOLDS_PER_VOUCHER_MAX:
        raise Refusal("hold_limit_reached", f"At most {HOLDS_PER_VOUCHER_MAX} within a day.")
    return replace(at.voucher, holds={**kept, hold.id: hold})


def capture(
    at: Standing, hold: Hold, redemption_limit: int, amount_minor: int | None, single: bool, now: int
) -> tuple[int, int, Status]:
    """What a capture would take and leave: (amount, balance after, status after); None takes all that is held.

    Raises Refusal where the hold has ended, a veto binds the voucher, or the amount exceeds the hold.
    """
    refuse_unless_open(hold, now)
    if at.voucher.code_version != hold.code_version:  # reclaimed since
        raise Refusal("voucher_not_redeemable")
    if at.reason is not None and at.reason not in UNHINDERED:
        raise Refusal(REFUSALS[at.reason])
    amount = hold.amount_minor if amount_minor is None else amount_minor
    if amount > hold.amount_minor:
        said = f"{hold.amount_minor} minor units are held."
        raise Refusal("amount_exceeds_hold", said, extra={"held_minor": hold.amount_minor})
    if single and amount != hold.amount_minor:
        raise Refusal("partial_not_allowed", f"Capture {hold.amount_minor} minor units, or leave amount_minor out.")
    balance = at.voucher.balance_minor
    if amount > balance - sum(other.amount_minor for other in at.holds if other.id != hold.id):
        # a machine whose clock is ahead took it for expired and gave its value to somebody else
        raise Refusal(*ENDED[State.EXPIRED])
    if len(at.voucher.redemptions) >= redemption_limit:
        raise Refusal("redemption_limit_reached", f"It may be redeemed {redemption_limit} times.")
    return amount, balance - amount, status_with(balance - amount)


def with_capture(voucher: Voucher, hold: Hold, redemption: Redemption) -> Voucher:
    """The voucher after the redemption of what a hold kept."""
    captured = replace(hold, redemption=redemption.id)
    return replace(with_redemption(voucher, redemption), holds={**voucher.holds, hold.id: captured})


def with_release(voucher: Voucher, hold: Hold, release: Release) -> Voucher:
    """The voucher with what a hold kept free again, in whatever state it is."""
    return replace(voucher, holds={**voucher.holds, hold.id: replace(hold, release=release)})
