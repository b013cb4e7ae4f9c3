"""Bodies of recoveries."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from functions.edge.models import Answer, Progress, Request, SelectionRequest, Serial, Text, Time

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
    only: Only | None = None
    note: Text | None = None
    selected: int = Field(examples=[0])
    recovered: int = Field(examples=[0])
    progress: Progress
    created_at: Time
    completed_at: Time | None = None


class RecoveryAnswer(RecoverySummary):
    """A recovery with what was skipped; page through it with `cursor`."""

    skipped: SkippedSerials


class RecoveryList(Answer):
    """A page of recoveries."""

    data: list[RecoverySummary]
    next_cursor: str | None = None
