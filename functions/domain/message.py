"""Messages (短信): what an attempt may come to, what follows from it, and when the next one is due.

An attempt is written down before a provider is asked, so that whoever finds it open knows that an SMS may be on its
way. Nothing here sends twice what may have been taken once: an attempt that ended in doubt is repeated under its own
reference at its own provider, or, where that provider cannot tell one reference from another, never.

What became of an attempt is told by the provider's reply, and afterwards by its receipts, which come late, repeatedly,
in any order, and before the reply too. Each such word has a rank, and an attempt keeps the one that ranks highest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from functions.domain.delivery import WAIT_MAX_S, wait_s
from functions.domain.ids import derived
from functions.domain.reasons import ERASED, EXPIRED, IN_DOUBT, MERGED, NO_RECEIPT, REASONS, SANDBOX, Remedy

ATTEMPTS_MAX = 16
"""With a base of 2 s the last one is made about an hour after the first: most outages of a provider are shorter."""
ATTEMPT_S = 20
"""An attempt belongs to the worker that opened it for so long; the calls it makes have ended by then."""
POINTED_S = 30 * 86_400
"""So long after it was sent an SMS is still known by its provider's id."""
CODE_MAX = 64
"""So much is kept of a provider's own code."""
REFERENCE_LENGTH_MAX = 64
"""No reference of ours is longer."""
HOLDS_MAX = 16
"""So many times of being held are remembered, the latest."""


class Status(StrEnum):
    """Where a message stands, and what an attempt came to (`sending` while nobody knows yet).

    `sent`: a provider has taken it. `failed`: none has. `undelivered`: one had, and could not deliver it. `unknown`:
    nobody can find out any more. `held`: a rule keeps it back for a while. `suppressed`: one does so for good.
    """

    QUEUED = "queued"
    HELD = "held"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"


_TOLD = frozenset({Status.SENT, Status.DELIVERED, Status.UNDELIVERED})
"""What a receipt may bring to light at any time, for an earlier attempt too: then no further one is made."""

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: _TOLD | {Status.SENDING, Status.HELD, Status.SUPPRESSED, Status.FAILED, Status.UNKNOWN},
    Status.HELD: _TOLD | {Status.QUEUED, Status.SUPPRESSED, Status.FAILED, Status.UNKNOWN},
    Status.SENDING: _TOLD | {Status.QUEUED, Status.FAILED, Status.UNKNOWN},
    Status.SENT: frozenset({Status.DELIVERED, Status.UNDELIVERED, Status.UNKNOWN, Status.QUEUED}),
    Status.UNKNOWN: _TOLD | {Status.QUEUED},
    Status.FAILED: _TOLD,
    Status.UNDELIVERED: frozenset({Status.DELIVERED, Status.SENT}),
    Status.DELIVERED: frozenset(),
    Status.SUPPRESSED: frozenset(),
}
"""Where a message may go from each status. What is over (`OVER`) goes on by a receipt alone, also by one that shows an
earlier attempt of it to be under way."""
_BY_ITSELF = {
    Status.SENDING: None,
    Status.SENT: None,
    Status.DELIVERED: None,
    Status.UNKNOWN: IN_DOUBT,
    Status.SUPPRESSED: SANDBOX,
}
"""What a status has for its reason where none is kept, and the last attempt does not tell it."""
OVER = frozenset({Status.SENT, Status.DELIVERED, Status.UNDELIVERED, Status.FAILED, Status.UNKNOWN, Status.SUPPRESSED})
"""Nothing more is tried."""
RANKS = {
    status: rank
    for rank, status in enumerate(
        (Status.SENDING, Status.UNKNOWN, Status.FAILED, Status.SENT, Status.UNDELIVERED, Status.DELIVERED)
    )
}
"""What an attempt may come to; a word of lower rank never replaces one of higher rank. Who says `sent` outranks who
says `failed`: a provider that was thought not to have taken an SMS had."""


class TemplateCall(NamedTuple):
    """The template a text was made from, and with what: for providers that are handed these instead of the text.

    `params` are as they stand in the text, in the order in which the template names them.
    """

    name: str
    locale: str
    version: int
    params: tuple[tuple[str, str], ...] = ()


class Outcome(NamedTuple):
    """What a provider made of a reference: taken (no reason) under an id of its own, or not.

    `code` is its own word for it. `status` is for a look-up that tells already what a receipt would: `delivered`, or
    `undelivered` with a reason.
    """

    reason: str | None = None
    provider_id: str | None = None
    code: str | None = None
    status: Status | None = None

    @property
    def result(self) -> Status:
        """What the attempt came to."""
        if self.status is not None:
            return self.status
        return {None: Status.SENT, IN_DOUBT: Status.UNKNOWN}.get(self.reason, Status.FAILED)


class Receipt(NamedTuple):
    """What a provider tells, later, of an SMS that it took: `sent`, `delivered`, or `undelivered` with a reason.

    It names the SMS by our `reference` where the provider `echoes` it, else by the provider's own id. `at` is the
    provider's time (epoch seconds), `code` its own word.
    """

    provider: str
    status: Status
    at: int
    reference: str | None = None
    provider_id: str | None = None
    reason: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which reference of ours a provider knows by an id of its own: one whose receipts do not echo it."""

    provider: str
    provider_id: str
    reference: str
    ttl_epoch_s: int
    version: int = 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one provider; `turn` marks the worker's run that holds it: that opened it, or closed it.

    `traceable`: the provider can be asked about the reference, or takes it only once. `reason` is Kami's, `code` the
    provider's own. `sent_at` is the earliest time at which the provider is known to have had it, `receipt_at` that of
    the receipt which tells the outcome, if one does.
    """

    provider: str
    reference: str
    at: int
    turn: str
    traceable: bool = True
    outcome: Status = Status.SENDING
    reason: str | None = None
    provider_id: str | None = None
    code: str | None = None
    sent_at: int | None = None
    receipt_at: int | None = None

    @property
    def is_barred(self) -> bool:
        """Whether a rule, ours or the provider's, kept it from being sent: then nobody has taken its reference."""
        return self.reason is not None and REASONS[self.reason].ends in ("held", "suppressed")

    def replied(self, outcome: Outcome, now: int) -> Attempt:
        """The attempt with its provider's reply, which a receipt may have overtaken."""
        return self._heard(outcome.result, outcome.reason, outcome.code, outcome.provider_id, now, is_receipt=False)

    def received(self, receipt: Receipt) -> Attempt:
        """The attempt with a receipt; receipts come to the same in any order."""
        told = receipt.status, receipt.reason, receipt.code, receipt.provider_id, receipt.at
        return self._heard(*told, is_receipt=True)

    def _heard(
        self, outcome: Status, reason: str | None, code: str | None, id: str | None, at: int, *, is_receipt: bool
    ) -> Attempt:
        was_taken = outcome in _TOLD
        heard = replace(
            self,
            outcome=outcome,
            reason=reason,
            code=_printable(code),
            provider_id=self.provider_id or id,
            sent_at=min(at, self.sent_at if self.sent_at is not None else at) if was_taken else self.sent_at,
            receipt_at=at if is_receipt else None,
        )
        if heard._weight > self._weight:
            return heard
        return replace(self, provider_id=heard.provider_id, sent_at=heard.sent_at)

    @property
    def _weight(self) -> tuple[int, bool, bool, int, str, str]:
        """Of two words the heavier one stands: of equal rank a receipt's, what stops, the earlier."""
        stops = self.reason is not None and REASONS[self.reason].remedy is Remedy.STOP
        is_receipt = self.receipt_at is not None
        return RANKS[self.outcome], is_receipt, stops, -(self.receipt_at or 0), self.code or "", self.reason or ""


class Hold(NamedTuple):
    """That a rule kept a message back for a reason: since when, and until when at the latest."""

    reason: str
    at: int
    until: int


@dataclass(frozen=True, slots=True)
class Message:
    """One SMS to one recipient (E.164) about one event.

    `due_at` is when the next attempt may be made, while it is queued or held; from `use_by` on the message is worth
    nothing any more. `reason` is why Kami itself, at `ruled_at`, held, suppressed or gave it up; an attempt's own is
    with the attempt. `segments` is how many SMS its text takes. `country`, `carrier` and `region` are what its number
    tells.
    What was `merged` into it, when, does not go out itself: that message names this one (`merged_into`).

    `redemption` is what it is about, if about one, made by `client`; its recipient is a customer of `tenant`, if one's.
    It is a resend of one message, or has resends itself.
    """

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
    use_by: int | None = None
    reason: str | None = None
    ruled_at: int = 0
    template: TemplateCall | None = None
    segments: int = 1
    country: str | None = None
    carrier: str | None = None
    region: str | None = None
    holds: tuple[Hold, ...] = ()
    merged: tuple[tuple[str, int], ...] = ()
    merged_into: str | None = None
    redemption: str | None = None
    client: str | None = None
    tenant: str | None = None
    resend_of: str | None = None
    resends: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What kind of message it is: that of its template."""
        return self.template.name if self.template is not None else self.event

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be tried."""
        return self.status in OVER

    @property
    def doubt(self) -> Attempt | None:
        """The first attempt that nobody knows the outcome of; those after it ask about the same reference."""
        cleared = {a.reference for a in self.attempts if a.outcome in _TOLD or a.is_barred}
        return next((a for a in self.attempts if a.reason == IN_DOUBT and a.reference not in cleared), None)

    @property
    def why(self) -> str | None:
        """The reason that its status has, if any."""
        if self.reason is not None:
            return self.reason
        if self.status in _BY_ITSELF:
            return _BY_ITSELF[self.status]
        return self.attempts[-1].reason if self.attempts else ERASED if self.status is Status.FAILED else None

    @property
    def awaits_since(self) -> int | None:
        """Since when a receipt is awaited, if one is."""
        sent = [a.sent_at or a.at for a in self.attempts if a.outcome is Status.SENT]
        return max(sent, default=None) if self.status is Status.SENT else None

    def begun(self, provider: str, turn: str, now: int, *, traceable: bool) -> Message:
        """The message with one more attempt open."""
        doubt = self.doubt
        reference = doubt.reference if doubt else f"{self.id}-{len(self.attempts) + 1}"
        attempt = Attempt(provider, reference, now, turn, traceable)
        return replace(self._to(Status.SENDING), attempts=(*self.attempts, attempt), reason=None, ruled_at=0)

    def taken_over(self, turn: str) -> Message:
        """The message with its open attempt in other hands: whoever opened it must have ended."""
        *before, last = self.attempts
        return replace(self, attempts=(*before, replace(last, turn=turn)))

    def ended(self, turn: str, outcome: Outcome, now: int, wait_s: float = 0) -> Message:
        """The message with the reply to the attempt of this turn; where another one may help, it is queued for then.

        Itself, where no attempt is of this turn.
        """
        attempts = tuple(a.replied(outcome, now) if a.turn == turn else a for a in self.attempts)
        return self._with(attempts, now, wait_s)

    def ruled(self, reason: str, now: int) -> Message:
        """The message as Kami itself decides for a reason: given up, kept back, or suppressed.

        What is given up in doubt is unknown: an SMS may be on its way.
        """
        ends = Status(REASONS[reason].ends)
        status = Status.UNKNOWN if ends is Status.FAILED and self.doubt else ends
        return replace(self._to(status), reason=reason, ruled_at=now, due_at=0)

    def held(self, reason: str, now: int, until: int) -> Message:
        """The message, kept back by a rule until a time; what is held for the same reason again is held for longer."""
        if self.status is Status.HELD and self.holds and self.reason == reason:
            return replace(self, due_at=until, holds=(*self.holds[:-1], self.holds[-1]._replace(until=until)))
        held = self if self.status is Status.HELD else self._to(Status.HELD)
        holds = (*self.holds, Hold(reason, now, until))[-HOLDS_MAX:]
        return replace(held, reason=reason, ruled_at=now, due_at=until, holds=holds)

    def released(self) -> Message:
        """The message as no rule keeps it back any more; itself, where none did."""
        if self.status is not Status.HELD:
            return self
        return replace(self._to(Status.QUEUED), reason=None, ruled_at=0)

    def merged_in(self, into: str, now: int) -> Message:
        """The message as another one tells what it would have told."""
        return replace(self.ruled(MERGED, now), merged_into=into)

    def is_early(self, now: int) -> bool:
        """Whether its first attempt is still to wait: for a rule, or for others to go into it."""
        return now < self.due_at and (self.status is Status.HELD or not self.attempts)

    def is_of_use(self, now: int) -> bool:
        """Whether it is not too late to send it."""
        return self.use_by is None or now < self.use_by

    def _with(self, attempts: tuple[Attempt, ...], now: int, wait_s: float) -> Message:
        """The message, its attempts having come to this; what Kami has decided only the truth overrules."""
        if attempts == self.attempts:
            return self
        after = replace(self, attempts=attempts)
        status, reason = after._judged(now)
        if status is Status.QUEUED and self.is_over and (self.reason or status not in TRANSITIONS[self.status]):
            status = Status.UNDELIVERED if attempts[-1].outcome is Status.UNDELIVERED else self.status
        stands = self.reason is not None and (status not in _TOLD or (status, self.reason) == (Status.SENT, NO_RECEIPT))
        if stands or status not in TRANSITIONS[self.status]:
            return after
        due_at = after._due_at(now + round(wait_s)) if status is Status.QUEUED else 0
        return replace(after, status=status, reason=reason, ruled_at=now if reason else 0, due_at=due_at)

    def _judged(self, now: int) -> tuple[Status, str | None]:
        """What its attempts come to, and Kami's own reason if that is what decides."""
        outcomes, last = {a.outcome for a in self.attempts}, self.attempts[-1]
        if Status.DELIVERED in outcomes:
            return Status.DELIVERED, None
        if last.outcome is Status.SENDING:
            return Status.SENDING, None
        if Status.SENT in outcomes:
            return Status.SENT, None
        ends = Status.UNDELIVERED if last.outcome is Status.UNDELIVERED else Status.FAILED
        if REASONS[last.reason or IN_DOUBT].remedy is Remedy.STOP:
            return ends, None
        if self.doubt:
            return Status.QUEUED if last.traceable and len(self.attempts) < ATTEMPTS_MAX else Status.UNKNOWN, None
        if len(self.attempts) == ATTEMPTS_MAX:
            return ends, None
        if not self.is_of_use(now + ATTEMPT_S):
            return ends, EXPIRED if ends is Status.FAILED else None
        return Status.QUEUED, None

    def _due_at(self, wanted: int) -> int:
        """When the next attempt may be made: while it is of use. Doubt may be cleared at any time."""
        return wanted if self.use_by is None or self.doubt else min(wanted, self.use_by - ATTEMPT_S)

    def _to(self, status: Status) -> Message:
        """Raises ValueError where the table of transitions has no such step."""
        if status not in TRANSITIONS[self.status]:
            raise ValueError(f"a message that is {self.status} cannot become {status}")
        return replace(self, status=status)


def attempt_of(message: Message, receipt: Receipt) -> int | None:
    """The place of the attempt that a receipt is about, the last under its reference; None where there is none."""
    wanted = receipt.reference or receipt.provider_id
    for place in reversed(range(len(message.attempts))):
        attempt = message.attempts[place]
        own = attempt.reference if receipt.reference else attempt.provider_id
        if wanted and (attempt.provider, own) == (receipt.provider, wanted):
            return place
    return None


def with_receipt(message: Message, receipt: Receipt, now: int, wait_s: float = 0) -> Message:
    """The message with a receipt of one of its attempts; itself, where that tells nothing new.

    Any order of receipts, with any repeats, ends the same. Raises LookupError where it is about none of its attempts.
    """
    place = attempt_of(message, receipt)
    if place is None:
        raise LookupError("no attempt has this receipt")
    told = message.attempts[place].received(receipt)
    return message._with((*message.attempts[:place], told, *message.attempts[place + 1 :]), now, wait_s)


def message_id(event: str) -> str:
    """One event, one message: the id of the message that an event causes."""
    return f"msg_{derived(event)}"


def pause_s(reason: str | None, attempt: int, base_s: float, jitter: float) -> float:
    """How long to wait before attempt n after one that ended like this: the longest where only time helps."""
    waits = reason is not None and REASONS[reason].remedy is Remedy.WAIT
    return WAIT_MAX_S if waits else wait_s(attempt, base_s, jitter)


def _printable(code: str | None) -> str | None:
    kept = "".join(char for char in code or "" if " " <= char <= "~")[:CODE_MAX]
    return kept or None
