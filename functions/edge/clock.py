"""The only clock: handlers read it, everything inside is told the time."""

from __future__ import annotations

import time


def now() -> int:
    """Seconds since the epoch, UTC."""
    return int(time.time())
