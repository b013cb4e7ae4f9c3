"""Messages (短信): what an attempt may come to, what follows from it, and when the next one is due.

An attempt is written down before a provider is asked, so that whoever finds it open knows that an SMS may be on its
way. Nothing here sends twice what may have been taken once: an attempt that ended in doubt is repeated under its own
reference at its own provider, or, where that provider cannot tell one reference from another, never.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from functions.domain.ids import derived

ATTEMPTS_MAX = 16
"""With a base of 2 s the last one is made about an hour after the first: most outages of a provider are shorter."""
WAIT_MAX_S = 900
"""SQS delays a message by no more."""
ATTEMPT_S = 20
"""An attempt belongs to the worker that opened it for so long; the calls it makes have ended by then."""


class Status(StrEnum):
    """Where a message stands, and what an attempt came to (`sending` while nobody knows yet).

    What concerns the sandbox is `suppressed`: it was written, and is given to no provider.
    """

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.SENDING, Status.FAILED}),
    Status.SENDING: frozenset({Status.QUEUED, Status.SENT, Status.FAILED, Status.UNKNOWN}),
    Status.SENT: frozenset(),
    Status.FAILED: frozenset(),
    Status.UNKNOWN: frozenset(),
    Status.SUPPRESSED: frozenset(),
}
"""Where a message may go from each status."""


class Remedy(StrEnum):
    """What may help after an attempt that failed."""

    RETRY = "retry"
    OTHER_PROVIDER = "other_provider"
    STOP = "stop"


REASONS: dict[str, Remedy] = {
    "carrier_congested": Remedy.RETRY,  # the provider is well and has too much to do
    "no_reply": Remedy.RETRY,  # it may have been taken: see IN_DOUBT
    "provider_down": Remedy.OTHER_PROVIDER,  # it could not be reached, or said so itself
    "technical_fault": Remedy.OTHER_PROVIDER,
    "account_refused": Remedy.OTHER_PROVIDER,  # the operator's account there: rights, spending limit, sender
    "destination_not_served": Remedy.OTHER_PROVIDER,
    "number_invalid": Remedy.STOP,
    "opted_out": Remedy.STOP,
    "blocked": Remedy.STOP,
    "content_refused": Remedy.STOP,
    "refused": Remedy.STOP,  # for a reason that has no row here
}
"""Why an attempt was not a success → what may help."""

IN_DOUBT = "no_reply"
"""The one reason that leaves open whether an SMS is on its way."""


class Outcome(NamedTuple):
    """What a provider made of a reference: taken (no reason) under an id of its own, or not."""

    reason: str | None = None
    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one provider; `turn` marks the worker's run that holds it: that opened it, or closed it.

    `traceable`: the provider can be asked about the reference, or takes it only once.
    """

    provider: str
    reference: str
    at: int
    turn: str
    traceable: bool = True
    outcome: Status = Status.SENDING
    reason: str | None = None
    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One SMS to one recipient (E.164) about one event. `due_at`: when the next attempt may be made."""

    id: str
    event: str
    serial: str
    recipient: str
    text: str
    created_at: int
    status: Status = Status.QUEUED
    attempts: tuple[Attempt, ...] = ()
    due_at: int = 0
    sandbox: bool = False
    version: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return not TRANSITIONS[self.status]

    @property
    def doubt(self) -> Attempt | None:
        """The first attempt that nobody knows the outcome of; those after it ask about the same reference."""
        return next((a for a in self.attempts if a.reason == IN_DOUBT), None)

    def provider(self, providers: tuple[str, ...]) -> str:
        """Whom to ask next: the first of the list, and after a provider's fault the one that follows it."""
        if not self.attempts:
            return providers[0]
        last = self.attempts[-1]
        if self.doubt or REASONS[last.reason or IN_DOUBT] is not Remedy.OTHER_PROVIDER:
            return last.provider
        place = providers.index(last.provider) + 1 if last.provider in providers else 0
        return providers[place % len(providers)]

    def begun(self, provider: str, turn: str, now: int, *, traceable: bool) -> Message:
        """The message with one more attempt open."""
        doubt = self.doubt
        reference = doubt.reference if doubt else f"{self.id}-{len(self.attempts) + 1}"
        attempt = Attempt(provider, reference, now, turn, traceable)
        return replace(self._to(Status.SENDING), attempts=(*self.attempts, attempt))

    def ended(self, turn: str, outcome: Outcome, due_at: int) -> Message:
        """The message with its open attempt closed; where another one may help, it is queued until `due_at`."""
        *before, last = self.attempts
        result = {None: Status.SENT, IN_DOUBT: Status.UNKNOWN}.get(outcome.reason, Status.FAILED)
        closed = replace(last, turn=turn, outcome=result, reason=outcome.reason, provider_id=outcome.provider_id)
        after = replace(self, attempts=(*before, closed))
        status = after._follows(closed)
        return replace(after._to(status), due_at=due_at if status is Status.QUEUED else self.due_at)

    def abandoned(self) -> Message:
        """The message, given up while it is queued: there is nobody to send it to any more."""
        return self._to(Status.FAILED)

    def _follows(self, closed: Attempt) -> Status:
        if closed.reason is None:
            return Status.SENT
        if REASONS[closed.reason] is Remedy.STOP:
            return Status.FAILED
        if len(self.attempts) < ATTEMPTS_MAX and (closed.traceable or not self.doubt):
            return Status.QUEUED
        return Status.UNKNOWN if self.doubt else Status.FAILED

    def _to(self, status: Status) -> Message:
        """Raises ValueError where the table of transitions has no such step."""
        if status not in TRANSITIONS[self.status]:
            raise ValueError(f"a message that is {self.status} cannot become {status}")
        return replace(self, status=status)


def message_id(event: str) -> str:
    """One event, one message: the id of the message that an event causes."""
    return f"msg_{derived(event)}"


def wait_s(attempt: int, base_s: float, jitter: float) -> float:
    """How long to wait before attempt n, the first being 0: min(900, base · 2ⁿ) s with full jitter (0 ≤ jitter < 1).

    The exponential back-off of M. Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).
    """
    return min(WAIT_MAX_S, base_s * 2.0 ** min(attempt, 64)) * jitter
