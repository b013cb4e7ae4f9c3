"""Bodies of recoveries."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from functions.edge.models import Answer, Progress, Request, SelectionRequest, Serial, Text, Time

Action = Literal["reclaim", "void", "suspend", "resume"]
Only = Literal["not_activated", "not_claimed", "not_redeemed"]
Reason = Literal["stolen", "lost", "unsold", "campaign_over", "printing_error", "customer_request", "other"]
Via = Literal["operator", "partner", "shop_file", "support", "schedule"]


class RecoveryRequest(Request):
    """Which vouchers are called back, how and why; `only` spares what has gone further.

    A `resume` lifts the suspension that it names, and no other: of all that was selected then, or of a `selection`.
    """

    selection: SelectionRequest | None = None
    action: Action
    recovery: str | None = Field(
        default=None, max_length=64, description="The suspension that a `resume` lifts; for it only."
    )
    reason: Reason
    only: Only | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        resumes = self.action == "resume"
        if resumes != (self.recovery is not None):
            raise ValueError("name the recovery that a resume lifts, and for a resume only")
        if resumes and self.only is not None:
            raise ValueError("a resume lifts what its suspension binds; leave only out")
        if not resumes and self.selection is None:
            raise ValueError("name a selection")
        return self


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


class RecoverySummary(Answer):
    """A recovery. Its codes are refused from the first answer on; it is `completed` once all is accounted for.

    `selected` = `recovered` + `skipped`, of the lots done so far.
    """

    id: str = Field(examples=["rec_k3q7x2m5c4wz6n7pjh2d4r6t"])
    status: Literal["in_progress", "completed"] = Field(examples=["in_progress"])
    phase: Literal["veto", "fence", "survey", "release", "done"] = Field(examples=["fence"])
    action: Action
    reason: Reason
    recovery: str | None = Field(default=None, description="The suspension that a resume lifts.")
    only: Only | None = None
    note: Text | None = None
    via: Via = Field(description="By which way it was ordered.", examples=["operator"])
    selected: int = Field(examples=[0])
    recovered: int = Field(examples=[0])
    progress: Progress
    created_at: Time
    effective_at: Time | None = Field(
        default=None, description="When all its codes were refused; of a resume: when they were good again."
    )
    completed_at: Time | None = None


class RecoveryAnswer(RecoverySummary):
    """A recovery with what was skipped; page through it with `cursor`."""

    skipped: SkippedSerials


class RecoveryList(Answer):
    """A page of recoveries."""

    data: list[RecoverySummary]
    next_cursor: str | None = None
