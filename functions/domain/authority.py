"""Who may recover what (回收权限): rules as data, what a second person is shown, and what that person decides.

A campaign's rules say which roles may take which actions for which reasons, and up to how much alone; beyond that a
second person approves. A campaign that states none has `DEFAULTS`. Where a recovery concerns several campaigns, each
one's rules must allow its share. How much a client may do alone it may do in a day, in one order or in many: `Spent`
counts what it has ordered so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint
from functions.domain.voucher import DAY_S

APPROVAL_S = DAY_S
"""So long may a recovery be approved after it was asked for."""
EXPIRY_SHOWN_AFTER_S = 90
"""An approval is refused from its end on, and shown as expired this much later: longer than a function may run (60 s)
and clocks may be apart. So nothing is approved that was seen to have expired."""


SPENT_FOR_S = DAY_S
"""For so long, and up to `PERIOD_S` longer, counts what a client has ordered alone."""
PERIOD_S = 3_600
"""What was ordered within a period is one sum, which counts until the last of it is over: so there are 25 at most."""


class Amount(NamedTuple):
    """Vouchers, and their value in the minor units of their campaign's currency."""

    vouchers: int = 0
    value_minor: int = 0

    def plus(self, other: Amount) -> Amount:
        """Both together."""
        return Amount(self.vouchers + other.vouchers, self.value_minor + other.value_minor)


class Allowance(NamedTuple):
    """One rule: these roles may take these actions for these reasons (for any, where none is named).

    Up to so many vouchers and so much of their value alone, without limit where None; `serials_only`: of single serials
    and never of ranges, lots or batches.
    """

    roles: tuple[str, ...]
    actions: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    vouchers_alone: int | None = None
    value_minor_alone: int | None = None
    serials_only: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether what is ordered alone by it counts."""
        return self.vouchers_alone is not None or self.value_minor_alone is not None

    def lets(self, much: Amount) -> bool:
        """Whether so much may be ordered alone, with all that was before."""
        limits = ((self.vouchers_alone, much.vouchers), (self.value_minor_alone, much.value_minor))
        return all(limit is None or wanted <= limit for limit, wanted in limits)


DEFAULTS: tuple[Allowance, ...] = (
    Allowance(("operator", "approver"), ("suspend", "resume")),
    Allowance(("operator", "approver"), ("reclaim", "void", "reissue"), vouchers_alone=1_000_000),
    Allowance(("support",), ("suspend", "resume"), vouchers_alone=10, serials_only=True),
    Allowance(("partner",), ("suspend", "void"), ("stolen", "lost"), vouchers_alone=10_000),
)
"""Stopping thieves must not wait for anybody; what ends vouchers waits for a second person above a million."""


@dataclass(frozen=True, slots=True)
class RecoveryRules:
    """What a campaign says of its recoveries.

    Above so many vouchers to be voided, or codes to be revealed or exported at a time, the caller gives a one-time code
    too.
    """

    allowances: tuple[Allowance, ...] = DEFAULTS
    void_code_above: int | None = None
    reveal_code_above: int | None = None


class Asked(NamedTuple):
    """What is asked for, as far as rules look at it."""

    role: str
    action: str
    reason: str
    serials: bool


class Share(NamedTuple):
    """How much of a recovery concerns one campaign, at most: what is touched counts as if it were untouched."""

    campaign: str
    currency: str
    vouchers: int
    value_minor: int

    @property
    def amount(self) -> Amount:
        """The same without its campaign."""
        return Amount(self.vouchers, self.value_minor)


class Period(NamedTuple):
    """What was ordered within `PERIOD_S` seconds; `number` counts such periods since the epoch."""

    number: int
    much: Amount


@dataclass(frozen=True, slots=True)
class Spent:
    """What a client has ordered alone of one action in one campaign, where the rules limit that; oldest first.

    An order that a second person has approved is not counted.
    """

    client: str
    campaign: str
    action: str
    periods: tuple[Period, ...] = ()
    ttl_epoch_s: int = 0
    version: int = 0

    def counting(self, now: int) -> Amount:
        """All that counts by now."""
        total = Amount()
        for period in self._counting(now):
            total = total.plus(period.much)
        return total

    def _counting(self, now: int) -> list[Period]:
        return [period for period in self.periods if now < _over_at(period.number)]

    def plus(self, much: Amount, now: int) -> Spent:
        """With one more order; what counts no more is left out."""
        sums = dict(self._counting(now))
        number = now // PERIOD_S
        sums[number] = sums.get(number, Amount()).plus(much)
        periods = tuple(Period(*each) for each in sorted(sums.items()))
        return replace(self, periods=periods, ttl_epoch_s=_over_at(periods[-1].number))


def _over_at(period: int) -> int:
    return (period + 1) * PERIOD_S + SPENT_FOR_S


def allowance(rules: RecoveryRules, asked: Asked, campaign: str) -> Allowance:
    """The rule of a campaign that decides. Raises Refusal `recovery_not_allowed`."""
    found = next((each for each in rules.allowances if _fits(each, asked)), None)
    if found is None:
        detail = f"The campaign's rules do not let the role {asked.role} {asked.action} this for {asked.reason}."
        raise Refusal("recovery_not_allowed", detail, extra={"campaign": campaign})
    return found


def takes_code(rules: RecoveryRules, action: str, vouchers: int) -> bool:
    """Whether so much of an action (`void`, `reveal`) takes a one-time code."""
    above = {"void": rules.void_code_above, "reveal": rules.reveal_code_above}.get(action)
    return above is not None and vouchers > above


def _fits(allowance: Allowance, asked: Asked) -> bool:
    return (
        asked.role in allowance.roles
        and asked.action in allowance.actions
        and (not allowance.reasons or asked.reason in allowance.reasons)
        and (asked.serials or not allowance.serials_only)
    )


class Decision(NamedTuple):
    """What the second person said; there is at most one. `id` follows from the request, so that a repeat finds it."""

    id: str
    approved: bool
    by: By
    at: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Approval:
    """What a second person is asked to approve until `expires_at`, excluded: how many vouchers, of which value.

    `digest` stands for the request and these figures: it tells what an approver has seen.
    """

    vouchers: int
    value: dict[str, int]
    digest: str
    expires_at: int
    decision: Decision | None = None

    def status(self, now: int) -> str:
        """`awaiting_approval`, `approved`, `rejected` or `expired`; for the last, nothing is written."""
        if self.decision is not None:
            return "approved" if self.decision.approved else "rejected"
        return "awaiting_approval" if now < self.expires_at + EXPIRY_SHOWN_AFTER_S else "expired"


def approval(asked: str, shares: Iterable[Share], expires_at: int) -> Approval:
    """What is to be approved of a request (by its fingerprint) that comes to these shares."""
    vouchers, value = 0, dict[str, int]()
    for share in shares:
        vouchers += share.vouchers
        value[share.currency] = value.get(share.currency, 0) + share.value_minor
    digest = fingerprint({"request": asked, "vouchers": vouchers, "value": value})
    return Approval(vouchers, value, digest, expires_at)


def has_grown(before: Approval, now: Approval) -> bool:
    """Whether more would be recovered than the approver saw."""
    more = any(amount > before.value.get(currency, 0) for currency, amount in now.value.items())
    return more or now.vouchers > before.vouchers


def decided(current: Approval, requester: By, wanted: Decision, digest: str) -> Approval | None:
    """The approval with a decision, None where it is this very decision that stands.

    Raises Refusal `already_decided`, `idempotency_key_reused`, `own_request`, `approval_expired`, `request_changed`.
    """
    stands = current.decision
    if stands is not None:
        if stands.id != wanted.id:
            raise Refusal("already_decided", f"It was {current.status(wanted.at)} before.")
        if stands.fingerprint != wanted.fingerprint:
            raise Refusal("idempotency_key_reused", "Use a new key for a new decision.")
        return None
    if wanted.by.client == requester.client:
        raise Refusal("own_request", "A second person decides; this client has asked for it.")
    if wanted.at >= current.expires_at:
        raise Refusal("approval_expired", "Have the recovery asked for anew.")
    if digest != current.digest:
        raise Refusal("request_changed", "Look at the recovery again: the digest is not that of what is asked by now.")
    return replace(current, decision=wanted)
