"""Bodies of recoveries."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from functions.edge.models import (
    Answer,
    Currency,
    Minor,
    OneTimeCode,
    Progress,
    Request,
    SelectionRequest,
    Serial,
    Text,
    Time,
)

Action = Literal["reclaim", "void"]
Only = Literal["not_activated", "not_claimed", "not_redeemed"]
Reason = Literal["stolen", "lost", "unsold", "campaign_over", "printing_error", "customer_request", "other"]


class RecoveryRequest(Request):
    """Which vouchers are called back, how and why; `only` spares what has gone further."""

    selection: SelectionRequest
    action: Action
    reason: Reason
    only: Only | None = None
    note: Text | None = None
    one_time_code: OneTimeCode | None = None


class SkippedSerial(Answer):
    """A serial that was left as it is."""

    serial: Serial
    reason: str = Field(examples=["redeemed"])


class SkippedSerials(Answer):
    """What was left as it is, counted by reason and serial by serial."""

    count: int = Field(examples=[1])
    by_reason: dict[str, int] = Field(examples=[{"redeemed": 1}])
    data: list[SkippedSerial]
    next_cursor: str | None = None


class MoneyAtMost(Answer):
    """Minor units (fen, cents) of a currency, at most."""

    amount_minor: Minor
    currency: Currency


class ApprovalAnswer(Answer):
    """What a second person is asked, or has said: so many vouchers of such a value would be recovered, at most.

    What is touched counts as if it were untouched. Give the `digest` back with the decision: it tells what was seen.
    """

    vouchers: int = Field(examples=[2_000_000])
    value: list[MoneyAtMost]
    digest: str = Field(examples=["b7k3q7x2m5c4wz6n7pjh2d4r"])
    expires_at: Time
    decision: Literal["approve", "reject"] | None = None
    decided_by: str | None = Field(default=None, examples=["approver-5f1c2a9be0d34c77"])
    decided_at: Time | None = None


class ApprovalRequest(Request):
    """A decision on what was seen."""

    digest: str = Field(
        max_length=64,
        description="Of the recovery's `approval`, as it was looked at.",
        examples=["b7k3q7x2m5c4wz6n7pjh2d4r"],
    )
    decision: Literal["approve", "reject"]


class RecoverySummary(Answer):
    """A recovery. Its codes are refused from the first answer on, unless that says `awaiting_approval`: then nothing is
    done until a second person approves it. It is `completed` once all is accounted for.

    `selected` = `recovered` + `skipped`, of the lots done so far.
    """

    id: str = Field(examples=["rec_k3q7x2m5c4wz6n7pjh2d4r6t"])
    status: Literal["awaiting_approval", "rejected", "expired", "in_progress", "completed"] = Field(
        examples=["in_progress"]
    )
    phase: Literal["approval", "veto", "fence", "survey", "release", "done", "rejected"] = Field(examples=["fence"])
    action: Action
    reason: Reason
    only: Only | None = None
    note: Text | None = None
    selected: int = Field(examples=[0])
    recovered: int = Field(examples=[0])
    progress: Progress
    approval: ApprovalAnswer | None = None
    created_at: Time
    completed_at: Time | None = None


class ApprovalMade(ApprovalAnswer):
    """The decision that stands."""

    id: str = Field(examples=["apv_k3q7x2m5c4wz6n7pjh2d4r6t"])
    recovery: str = Field(examples=["rec_k3q7x2m5c4wz6n7pjh2d4r6t"])


class RecoveryAnswer(RecoverySummary):
    """A recovery with what was skipped; page through it with `cursor`."""

    skipped: SkippedSerials


class RecoveryList(Answer):
    """A page of recoveries."""

    data: list[RecoverySummary]
    next_cursor: str | None = None
