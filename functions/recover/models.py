"""Bodies of recoveries."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from functions.edge.models import (
    Answer,
    Currency,
    Minor,
    OneTimeCode,
    Progress,
    Remark,
    Request,
    SelectionRequest,
    Serial,
    Skipped,
    Text,
    Time,
)

Action = Literal["reclaim", "void", "suspend", "resume", "reissue"]
Only = Literal["not_activated", "not_claimed", "not_redeemed"]
Reason = Literal["stolen", "lost", "unsold", "campaign_over", "printing_error", "customer_request", "other"]
ChannelId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Day = Annotated[str, StringConstraints(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Via = Literal["operator", "partner", "shop_file", "support", "schedule"]


class Terms(Request):
    """What is done, and why; of a file, what its parameters say."""

    action: Action
    recovery: str | None = Field(
        default=None, max_length=64, description="The suspension that a `resume` lifts; for it only."
    )
    reason: Reason
    only: Only | None = None
    note: Remark | None = None
    channel: ChannelId | None = Field(
        default=None,
        description="The shop or partner that it concerns; a partner's only channel, unless another is named.",
    )

    @model_validator(mode="after")
    def _resumes(self) -> Self:
        resumes = self.action == "resume"
        if resumes != (self.recovery is not None):
            raise ValueError("name the recovery that a resume lifts, and for a resume only")
        if resumes and self.only is not None:
            raise ValueError("a resume lifts what its suspension binds; leave only out")
        return self


class RecoveryRequest(Terms):
    """Which vouchers are called back, how and why; `only` spares what has gone further.

    A `resume` lifts the suspension that it names, and no other: of all that was selected then, or of a `selection`.
    """

    selection: SelectionRequest | None = None
    one_time_code: OneTimeCode | None = None

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if self.action != "resume" and self.selection is None:
            raise ValueError("name a selection")
        return self


class FileHeaders(Request):
    """What goes with a file in headers."""

    one_time_code: OneTimeCode | None = Field(default=None, alias="One-Time-Code")


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


class ValueAnswer(Answer):
    """What the selected vouchers were worth after the fence, in one currency: `selected` is the sum of the others."""

    currency: Currency
    selected_minor: Minor = Field(examples=[5_000])
    recovered_minor: int = Field(description="Left on what was recovered.", examples=[3_000])
    skipped_minor: int = Field(description="Left on what was skipped.", examples=[0])
    redeemed_minor: int = Field(description="Redeemed before the fence.", examples=[2_000])
    redeemed: int = Field(description="Of so many vouchers.", examples=[1])


class MoneyAtMost(Answer):
    """Minor units (fen, cents) of a currency, at most."""

    amount_minor: Minor
    currency: Currency


class ApprovalAnswer(Answer):
    """What a second person is asked, or has said: so many vouchers of such a value would be recovered, at most.

    What is touched counts as if it were untouched; the recovery's report names each voucher. Give the `digest` back
    with the decision: it tells what was seen.
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


class ForecastAnswer(Answer):
    """What a recovery would come to if it were ordered now; nothing was written. Of a reissue, if stock suffices.

    Not `exact` where so much is touched that a call has not the time to look at it all: that counts as untouched then.
    """

    action: Action
    reason: Reason
    recovery: str | None = Field(default=None, description="The suspension that a resume would lift.")
    only: Only | None = None
    channel: str | None = None
    selected: int = Field(examples=[10_000])
    recovered: int = Field(examples=[9_998])
    skipped: Skipped
    value: list[ValueAnswer]
    told: int = Field(description="So many holders would be told.", examples=[3])
    exact: bool = Field(examples=[True])
    needs_approval: bool = Field(examples=[False])
    needs_one_time_code: bool = Field(examples=[False])
    as_of: Time


class RecoverySummary(Answer):
    """A recovery. Its codes are refused once its `phase` is past `veto`: of up to 200 lots, from the first answer on. A
    reissue replaces card by card in the `survey`. What says `awaiting_approval` does nothing until a second person
    approves it. It is `completed` once all is accounted for.

    `selected` = `recovered` + `skipped`, of the lots done so far.
    """

    id: str = Field(examples=["rec_k3q7x2m5c4wz6n7pjh2d4r6t"])
    status: Literal["awaiting_approval", "rejected", "expired", "in_progress", "completed"] = Field(
        examples=["in_progress"]
    )
    phase: Literal["approval", "veto", "fence", "survey", "release", "done", "rejected"] = Field(examples=["fence"])
    action: Action
    reason: Reason
    recovery: str | None = Field(default=None, description="The suspension that a resume lifts.")
    only: Only | None = None
    note: Text | None = None
    via: Via = Field(description="By which way it was ordered.", examples=["operator"])
    channel: str | None = Field(
        default=None, description="The shop or partner that it concerns.", examples=["chn_x2m5c4wz6n7pjh2d4r6tk3q7"]
    )
    requested_by: str = Field(description="The client that ordered it.", examples=["operator-9f86d081884c7d65"])
    selected: int = Field(examples=[0])
    recovered: int = Field(examples=[0])
    value: list[ValueAnswer] = Field(description="By currency, of the lots done so far.")
    progress: Progress
    approval: ApprovalAnswer | None = None
    created_at: Time
    effective_at: Time | None = Field(
        default=None, description="When all its codes were refused; of a resume: when they were good again."
    )
    completed_at: Time | None = None


class ApprovalMade(ApprovalAnswer):
    """The decision that stands."""

    id: str = Field(examples=["apv_k3q7x2m5c4wz6n7pjh2d4r6t"])
    recovery: str = Field(examples=["rec_k3q7x2m5c4wz6n7pjh2d4r6t"])


class RecoveryAnswer(RecoverySummary):
    """A recovery with what was skipped; page through it with `cursor`."""

    skipped: SkippedSerials


class WayAnswer(Answer):
    """Recoveries that were ordered by one way, or concern one channel: how many completed, and how they went."""

    via: Via | None = Field(default=None, examples=["operator"])
    channel: str | None = Field(default=None, description="With `by=channel`; absent of those that name none.")
    recoveries: int = Field(examples=[12])
    selected: int = Field(examples=[1_000])
    recovered: int = Field(examples=[990])
    success: float = Field(description="The share of what was selected that was recovered.", examples=[0.99])
    mean_seconds: float = Field(description="From the order to the report.", examples=[14.5])
    mean_seconds_until_effective: float = Field(description="From the order until all of it worked.", examples=[0.5])


class StatisticsAnswer(Answer):
    """How recoveries went that completed on these days (UTC), both included."""

    since: str = Field(examples=["2026-11-01"])
    until: str = Field(examples=["2026-11-30"])
    data: list[WayAnswer]


class StatisticsQuery(Request):
    """The parameters of statistics: by way, of the last 30 days, unless said otherwise."""

    since: Day | None = None
    until: Day | None = None
    by: Literal["via", "channel"] = "via"


class RecoveryList(Answer):
    """A page of recoveries."""

    data: list[RecoverySummary]
    next_cursor: str | None = None
