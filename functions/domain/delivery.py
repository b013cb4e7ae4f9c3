"""What messages and webhooks have in common on their way out: how long to wait before the next attempt."""

from __future__ import annotations

WAIT_MAX_S = 900
"""SQS delays a message by no more."""


def wait_s(attempt: int, base_s: float, jitter: float, longest_s: float = WAIT_MAX_S) -> float:
    """How long to wait before attempt n, the first being 0: min(longest, base · 2ⁿ) s with full jitter.

    `jitter` is at least 0 and less than 1. The exponential back-off of M. Brooker, "Exponential
    Backoff and Jitter" (AWS Architecture Blog, 2015).
    """
    return min(longest_s, base_s * 2.0 ** min(attempt, 64)) * jitter
