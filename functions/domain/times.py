"""Times as Kami tells them."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(epoch_s: int) -> str:
    """A time as the API and the events show it, e.g. `2026-11-21T08:00:00Z`."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(time: str) -> int:
    """The whole seconds of a time as RFC 3339 has it. Raises ValueError."""
    return int(datetime.fromisoformat(time).timestamp())
