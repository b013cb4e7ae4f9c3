"""Bodies of activations."""

from __future__ import annotations

from typing import Literal

from functions.edge.models import Answer, Progress, Request, SelectionRequest, Skipped


class ActivationRequest(Request):
    """Which vouchers become usable."""

    selection: SelectionRequest


class ActivationAnswer(Answer):
    """An activation; `activated` and `skipped` grow while it is `in_progress`."""

    id: str
    status: Literal["in_progress", "completed"]
    activated: int
    skipped: Skipped
    progress: Progress
    created_at: str
    completed_at: str | None = None
