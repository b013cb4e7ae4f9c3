"""Exports of the record: an order, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from functions.domain.actor import By

KEPT_S = 7 * 86_400
"""The bucket of exports deletes what is older."""


@dataclass(frozen=True, slots=True)
class AuditExport:
    """What was put on record from `since` on and before `to`, by whole checkpoints, in one file.

    `checkpoints` are the first and the last one in it; `more` where the file has no room for all that was asked for.
    """

    id: str
    since: int | None
    to: int | None
    fingerprint: str
    by: By
    created_at: int
    checkpoints: tuple[int, int] | None = None
    entries: int = 0
    size: int = 0
    more: bool = False
    completed_at: int | None = None
    version: int = 0
