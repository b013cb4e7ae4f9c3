"""The only clock: handlers read it, everything inside is told the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> int:
    """Seconds since the epoch, UTC."""
    return int(time.time())


def rfc3339(epoch_s: int) -> str:
    """A time as the API shows it, e.g. `2026-11-21T08:00:00Z`."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
