"""How a provider of SMS is doing: a circuit breaker that all workers share (M. Nygard, "Release It!", 2007).

Failures and slow calls are counted in a window. Successes are not worth a write each: a worker keeps count of its own
and tells them together with its next failure, so that a share can be told from a few failures among many calls. An
open breaker lets nobody through; after a while one call at a time may try, under a lease, and so many of them that
succeed one after the other close it. Only these are written down for their success.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from functions.domain.message import ATTEMPT_S
from functions.domain.reasons import IN_DOUBT, TECHNICAL_FAULT

FAILURES_MIN = 10
WINDOW_S = 30
SHARE_MIN = 0.75
"""So many failures within a window, and such a share of all calls that are known of, open the breaker."""
PROBES = 3
"""So many successes in a row close it."""
PROBE_S = ATTEMPT_S
"""A probe whose outcome nobody has told by then has been lost with its worker."""
SLOW_S = 2.0
"""A call that takes longer counts as a failure, whatever came of it."""
UNHEALTHY = frozenset({TECHNICAL_FAULT, "provider_down", IN_DOUBT, "account_refused"})
"""Reasons that speak against the provider; the others speak of one message."""


class State(StrEnum):
    """Whether calls are let through: all, none, or one at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Health:
    """A provider's breaker. `since` is when its state, or while it is closed its window, began.

    `failures` and `successes` are those of the window; of a half-open one `successes` are those of its probes, and
    `probe` (the turn that holds the lease) may be out until `probe_until`.
    """

    provider: str
    state: State = State.CLOSED
    since: int = 0
    failures: int = 0
    successes: int = 0
    probe: str = ""
    probe_until: int = 0
    version: int = 0

    def free_at(self, now: int, open_s: int) -> int:
        """When the next call may be made, as far as is known."""
        match self.state:
            case State.CLOSED:
                return now
            case State.OPEN:
                return max(now, self.since + open_s)
            case State.HALF_OPEN:
                return max(now, self.probe_until)

    def probing(self, turn: str, now: int, open_s: int) -> Health | None:
        """The breaker with its lease taken for one call; None where it has none to give."""
        if self.state is State.CLOSED or self.free_at(now, open_s) > now:
            return None
        began = self if self.state is State.HALF_OPEN else replace(self, since=now, successes=0)
        return replace(began, state=State.HALF_OPEN, probe=turn, probe_until=now + PROBE_S)

    def failed(self, turn: str, now: int, successes: int) -> Health:
        """The breaker after a failure; its worker saw so many successes since the window began, and told of none.

        A window begins with its first failure: what went well before does not count. Itself, where it is no news.
        Only its probe speaks for a breaker that is not closed: others were on their way before.
        """
        if self.state is not State.CLOSED:
            return self._opened(now) if self.probe == turn else self
        if self.since <= now < self.since + WINDOW_S:
            counted = replace(self, failures=self.failures + 1, successes=self.successes + successes)
        else:
            counted = replace(self, since=now, failures=1, successes=0)
        share = counted.failures / (counted.failures + counted.successes)
        return counted._opened(now) if counted.failures >= FAILURES_MIN and share >= SHARE_MIN else counted

    def succeeded(self, turn: str, now: int) -> Health:
        """The breaker after a success; itself unless its probe it was."""
        if self.state is not State.HALF_OPEN or self.probe != turn:
            return self
        if self.successes + 1 >= PROBES:
            return Health(self.provider, since=now, version=self.version)
        return replace(self, successes=self.successes + 1, probe="", probe_until=now)

    def _opened(self, now: int) -> Health:
        return Health(self.provider, State.OPEN, now, version=self.version)


def is_failure(reason: str | None, took_s: float) -> bool:
    """Whether a call that ended for a reason (None: it succeeded) after so long speaks against its provider."""
    return reason in UNHEALTHY or took_s > SLOW_S
