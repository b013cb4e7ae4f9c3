"""Complaints ("I did not get it"): a ticket of one message, with what that told then, and what people found.

There is one ticket a message: who complains again is shown the same one; a resend is another message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from functions.domain.errors import Refusal
from functions.domain.reasons import Words


class Diagnosis(NamedTuple):
    """What a message told when somebody complained: where it stood and why, and what the last attempt came to."""

    status: str
    reason: str | None
    attempts: int
    provider: str | None
    provider_id: str | None
    code: str | None
    told_at: int
    may_resend: bool


OUTCOMES: dict[str, Words] = {
    "arrived": Words("客户已收到短信。", "It has arrived after all."),
    "resent": Words("已重新发送。", "It was resent."),
    "number_corrected": Words("手机号有误，已更正。", "The number was wrong and has been corrected."),
    "recipient_side": Words(
        "原因在收件人一侧（拦截、关机、停机或存储已满）。", "The cause lies with the recipient's phone or contract."
    ),
    "carrier_side": Words(
        "原因在服务商或运营商，已上报。", "The cause lies with provider or carrier, and was reported."
    ),
    "our_side": Words("原因在平台一侧，已修复。", "The cause lay with this platform, and was mended."),
    "by_rule": Words("按规则不发送。", "A rule keeps such messages from being sent."),
    "not_found_out": Words("未能查明原因。", "The cause could not be found out."),
}
"""What a complaint may come to. No free text: it would hold numbers and names."""


class Outcome(NamedTuple):
    """What people found, once; `id` names the call that said so."""

    id: str
    outcome: str
    at: int
    client: str


@dataclass(frozen=True, slots=True)
class Complaint:
    """A ticket: "I did not get it", about one message. It holds no number."""

    id: str
    message: str
    serial: str
    created_at: int
    diagnosis: Diagnosis
    outcome: Outcome | None = None
    version: int = 0

    def closed(self, outcome: Outcome) -> Complaint | None:
        """The ticket with its outcome; None where this very call has given it.

        Raises Refusal `complaint_closed`, `idempotency_key_reused`.
        """
        before = self.outcome
        if before is None:
            return replace(self, outcome=outcome)
        if before.id != outcome.id:
            raise Refusal("complaint_closed", f"Its outcome is {before.outcome}.")
        if before.outcome != outcome.outcome:
            raise Refusal("idempotency_key_reused", "Use a new key for a new outcome.")
        return None
