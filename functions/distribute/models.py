"""Bodies of activations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from functions.edge.models import Answer, Progress, Request, SelectionRequest, Skipped, Time


class ActivationRequest(Request):
    """Which vouchers become usable."""

    selection: SelectionRequest


class ActivationAnswer(Answer):
    """An activation; `activated` and `skipped` grow while it is `in_progress`."""

    id: str = Field(examples=["act_k3q7x2m5c4wz6n7pjh2d4r6t"])
    status: Literal["in_progress", "completed"] = Field(examples=["completed"])
    activated: int = Field(examples=[9998])
    skipped: Skipped
    progress: Progress
    created_at: Time
    completed_at: Time | None = None
