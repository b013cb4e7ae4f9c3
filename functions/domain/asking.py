"""What may be asked of a message: who sees it, whether sending it once more can help, and what it says to a complaint.

A resend is a new message with the same text to the same number, which goes through all rules like any other. It is of
its original for good: a resend of a resend counts as one more of the original.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from functions.domain.account import E164
from functions.domain.actor import By
from functions.domain.complaint import Diagnosis
from functions.domain.errors import Refusal
from functions.domain.kinds import rules_of
from functions.domain.message import Message, Status
from functions.domain.reasons import ERASED, Words, told
from functions.domain.templates import may_be_sent, text_of

RESENDS_MAX = 3
"""Of one message."""
RESENDS_PER_RECIPIENT_MAX = 10
"""Within a day (UTC), whatever the messages."""
RESEND_AFTER_S = 60
"""What was just taken may still arrive by itself."""
UNDER_WAY = frozenset({Status.QUEUED, Status.HELD, Status.SENDING})
USELESS = frozenset({
    "number_invalid", "landline", "content_refused", "destination_not_served", "opted_out", "merged", "policy_changed",
    "erased", "sandbox",
})  # fmt: skip
"""Reasons for which the same text to the same number comes to the same again."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks: for all, for what is its own, or for the one `customer` (a number) that it names."""

    by: By
    customer: str | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there are messages that are none of this caller's business."""
        return self.by.is_tenant or self.by.role == "customer"

    def sees(self, message: Message) -> bool:
        """Whether a message is this caller's business.

        A partner's or a merchant's are those of its own redemptions and to its own customers; a customer's are those
        to its own number about what it holds of that tenant.
        """
        if self.customer is not None and message.recipient != self.customer:
            return False
        of_customer = message.tenant is not None and message.tenant == self.by.tenant
        if self.by.role == "customer":
            return self.customer is not None and of_customer
        return not self.is_limited or of_customer or message.client == self.by.client


def resent(original: Message, id: str, now: int) -> Message:
    """The same once more, as a new message at its first version.

    Raises Refusal `resend_not_possible` where that cannot help, or not yet, and `resend_limit_reached`.
    """
    said, why = told(original.status, original.why), original.why
    if original.status in UNDER_WAY:
        raise _useless("It is still under way.", why, said.next_step)
    if not E164.fullmatch(original.recipient):
        raise _useless("Its recipient was erased.", ERASED, told(original.status, ERASED).next_step)
    if why in USELESS or original.template is None:
        raise _useless(said.support.en, why, said.next_step)
    if not may_be_sent(original.template):
        withdrawn = told(original.status, "policy_changed")
        raise _useless(withdrawn.support.en, "policy_changed", withdrawn.next_step)
    taken_at = max((a.sent_at or a.at for a in original.attempts), default=original.created_at)
    if original.status is Status.SENT and now < taken_at + RESEND_AFTER_S:
        raise _useless(
            f"It was sent a moment ago; it can be resent {RESEND_AFTER_S} s after that.", why, said.next_step
        )
    if len(original.resends) >= RESENDS_MAX:
        raise Refusal("resend_limit_reached", f"A message is resent {RESENDS_MAX} times.", extra={"limit": "message"})
    lasts_s = rules_of(original.template.name).use_by_s
    use_by = now + lasts_s if lasts_s is not None else original.use_by
    if use_by is not None and now >= use_by:
        raise _useless("What it tells is over.", why, said.next_step)
    return Message(
        id,
        original.event,
        original.serial,
        original.recipient,
        text_of(original.template),
        now,
        due_at=now,
        version=1,
        use_by=use_by,
        template=original.template,
        segments=original.segments,
        country=original.country,
        carrier=original.carrier,
        region=original.region,
        redemption=original.redemption,
        client=original.client,
        tenant=original.tenant,
        resend_of=original.id,
    )


def linked(original: Message, id: str) -> Message:
    """The original, which knows its resend, at its next version."""
    return replace(original, resends=(*original.resends, id), version=original.version + 1)


def _useless(detail: str, reason: str | None, next_step: Words) -> Refusal:
    extra = {"next_step": next_step._asdict()} | ({"reason": reason} if reason is not None else {})
    return Refusal("resend_not_possible", f"{detail} {next_step.en}", extra=extra)


def diagnosed(message: Message, now: int) -> Diagnosis:
    """By the message's own story; nobody is asked."""
    last = message.attempts[-1] if message.attempts else None
    heard_at = (last.receipt_at or last.sent_at or last.at) if last is not None else message.created_at
    try:
        resent(message, message.id, now)
    except Refusal:
        may_resend = False
    else:
        may_resend = True
    return Diagnosis(
        message.status.value,
        message.why,
        len(message.attempts),
        last.provider if last is not None else None,
        last.provider_id if last is not None else None,
        last.code if last is not None else None,
        max(heard_at, message.ruled_at),
        may_resend,
    )
