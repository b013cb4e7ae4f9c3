"""One SMS for one event, whatever is delivered twice, comes late, or breaks off in between.

A message's attempts are numbered. Attempt n is opened only by order n (the event itself is order 1), in one
conditional write before the provider is asked; order n is done with only when the message has come to its end or
order n + 1 is on the queue. So an order that comes again finds its attempt still open, or closed while the next one
is nowhere yet: then it comes back when whoever has it in hand must have ended, and only then does that one's work,
taking an outcome that was not written down for unknown.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from functions.domain.account import E164
from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.kinds import CREDITED, EXPIRING, kind_of, rules_of, use_by
from functions.domain.lot import Lot
from functions.domain.message import (
    ATTEMPT_S,
    POINTED_S,
    Attempt,
    Message,
    Outcome,
    Pointer,
    Status,
    message_id,
    pause_s,
)
from functions.domain.reasons import ERASED, EXPIRED, IN_DOUBT, NO_ROUTE, SANDBOX
from functions.domain.recipient import Ruling
from functions.domain.reminder import is_held
from functions.domain.routing import Destination
from functions.domain.serials import LOT_SIZE, position_of
from functions.domain.templates import of_end, of_recovery, of_redemption, rendered
from functions.domain.voucher import Redemption, Voucher, standing
from functions.notify import admission, numbers, providers, recipients
from functions.notify.admission import Seen, Worker
from functions.store import jobs, keys, table
from functions.store.entities import LOT, VOUCHER
from functions.store.records import MESSAGE, POINTER

SMS_RETRY_BASE_S = "SMS_RETRY_BASE_S"
BY = By("notify", "system", "operator", "queue", "")
WORKER = Worker()
"""This one; its threads share it."""
RESUME, SUSPENDED = "resume", "suspended"
TOO_EARLY_S = 10
"""So much later it is looked again whether a card is not suspended any more."""
TOO_EARLY_MAX_S = 3_600
"""A card that is suspended for so long after its resume is so by another suspension, whose resume tells its holder."""


class Recall(NamedTuple):
    """What a recovery did to a card of a generation, and why."""

    action: str
    reason: str
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Occasion:
    """An event of a time that somebody is told of; `redemption` is what it is about, if about one, and `recovery` what
    became of the card by one. How long its SMS is of use counts from `at`, however late it comes."""

    event_id: str
    event: str
    serial: str
    redemption: str | None
    recovery: Recall | None
    at: int


class TooEarly(Exception):  # noqa: N818 - nothing is wrong
    """A resume that has found a card has not lifted its suspension yet."""


def tell(occasion: Occasion, now: int) -> Message | None:
    """Have the SMS of an event sent, once. None where nobody with a mobile number is concerned.

    Raises LookupError where the table knows nothing of what the event tells, TooEarly where it is not so yet.
    """
    position = position_of(occasion.serial)
    if position is None:
        raise LookupError("no serial")
    places = keys.message(message_id(occasion.event_id)), keys.voucher(position), keys.lot(position // LOT_SIZE)
    items = table.get_many([*places, *admission.places()])
    seen = admission.seen(items)
    message, voucher, lot = map(items.get, places)
    if message is not None:
        return proceed(MESSAGE.load(message), 1, now, seen)
    if voucher is None or lot is None:
        raise LookupError("no such voucher")
    of, in_lot = VOUCHER.load(voucher), LOT.load(lot)
    if _goes_on_suspended(occasion, of, in_lot, now):
        if now < occasion.at + TOO_EARLY_MAX_S:
            raise TooEarly
        return None
    composed = _composed(occasion, of, in_lot, now)
    if composed is None:
        return None
    composed = _owned(composed, occasion, of)
    if rules_of(composed.kind).merges and not composed.is_over:
        composed = recipients.gathered(composed, now) or composed
    return proceed(composed, 1, now, seen)


def _owned(message: Message, occasion: Occasion, voucher: Voucher) -> Message:
    """The message with whose business it is, beside the operator's."""
    redemption = voucher.redemptions.get(occasion.redemption or "")
    return replace(
        message,
        redemption=occasion.redemption,
        client=redemption.client if redemption is not None else None,
        tenant=voucher.tenant if voucher.holder == message.recipient else None,
    )


def _goes_on_suspended(occasion: Occasion, voucher: Voucher, lot: Lot, now: int) -> bool:
    """Whether a card that a resume has come to does not work again."""
    if occasion.recovery is None or occasion.recovery.action != RESUME:
        return False
    at = standing(lot, voucher.position % LOT_SIZE, voucher, now)
    return at is not None and at.status == SUSPENDED


def _composed(occasion: Occasion, voucher: Voucher, lot: Lot, now: int) -> Message | None:
    if occasion.event == EXPIRING:
        return _reminder(occasion, voucher, lot, now)
    redemption = voucher.redemptions[occasion.redemption] if occasion.redemption is not None else None
    of_generation = occasion.recovery.generation if occasion.recovery is not None else None
    recipient = _mobile(redemption) if redemption is not None else _holder(voucher, of_generation)
    if recipient is None:
        return None
    if redemption is not None:
        values = of_redemption(occasion.event, occasion.serial, redemption, voucher.currency)
        kind = CREDITED if "credited" in values else kind_of(occasion.event)
        return _message(occasion, kind, values, recipient, lot, now)
    assert occasion.recovery is not None
    action, reason, _ = occasion.recovery
    return _message(occasion, kind_of(occasion.event, action), of_recovery(reason, voucher), recipient, lot, now)


def _reminder(occasion: Occasion, voucher: Voucher, lot: Lot, now: int) -> Message | None:
    """To who holds the card now, unless it was used up, recalled or has ended since."""
    at = standing(lot, voucher.position % LOT_SIZE, voucher, now)
    if at is None or not is_held(at) or at.reason == "expired" or (recipient := _holder(at.voucher)) is None:
        return None
    return _message(occasion, EXPIRING, of_end(at), recipient, lot, now, at.valid_until)


def _message(
    occasion: Occasion,
    kind: str,
    values: dict[str, Any],
    recipient: str,
    lot: Lot,
    now: int,
    ends: int | None = None,
) -> Message:
    text, call, segments = rendered(kind, lot.rules.locale, values, recipient)
    known = numbers.known(recipient)
    message = Message(
        message_id(occasion.event_id),
        occasion.event,
        occasion.serial,
        recipient,
        text,
        now,
        due_at=now,
        country=known.country,
        carrier=known.carrier,
        region=known.region,
        sandbox=lot.rules.sandbox,
        use_by=use_by(kind, occasion.at, ends),
        template=call,
        segments=segments,
    )
    return message.ruled(SANDBOX, now) if message.sandbox else message


def _mobile(redemption: Redemption) -> str | None:
    """Whom a redemption was for, where that is a phone and they have not been erased since."""
    return redemption.account_number if E164.fullmatch(redemption.account_number) else None


def _holder(voucher: Voucher, generation: int | None = None) -> str | None:
    """Who has the card, or had it in an earlier generation: who claimed it, else whom it was last used for and not
    given back. Who had claimed what has begun anew since is not known any more; it is not who has it now."""
    wanted = voucher.generation if generation is None else generation
    if voucher.holder is not None and wanted == voucher.generation:
        return voucher.holder if E164.fullmatch(voucher.holder) else None
    uses = [use for use in voucher.redemptions.values() if use.reversal is None and use.generation == wanted]
    return _mobile(max(uses, key=lambda redemption: redemption.at)) if uses else None


def go_on(id: str, number: int, now: int, waits: int) -> Message:
    """Carry out order `number` of a message, which has waited so often for leave to make its attempt.

    Raises Refusal `not_found`.
    """
    place = keys.message(id)
    items = table.get_many([place, *admission.places()])
    if place not in items:
        raise _no_message()
    return proceed(MESSAGE.load(items[place]), number, now, admission.seen(items), waits)


def proceed(message: Message, number: int, now: int, seen: Seen, waits: int = 0) -> Message:
    """Carry out order `number` of a message: make its attempt if that is still to be made, and see to what follows.

    Where no provider may be asked at present the order comes back later, and no attempt is used up.
    """
    if message.is_over:
        return _kept(message)
    if message.is_early(now):
        return _put_off(message, number, now)
    turn = secrets.token_hex(8)
    if not _may_be_sent(message, number, now):
        message = _change(message, lambda current: _begun(current, number, turn, now, None))
        _see_to_what_follows(message, number, turn, now)
        return message
    found = None if message.doubt else recipients.judged(message, now, counts=waits == 0)
    if found is not None:
        return _change(message, lambda current: _ruled(current, number, found, now))
    with WORKER.admitted(message, _destination(message), seen, turn, now, waits) as leave:
        if leave.wait_s is not None:
            message = _kept(message)
            jobs.send_message(message.id, number, _within_use(message, leave.wait_s, now), waits + 1)
            return message
        if leave.provider is None:
            return _change(message, lambda current: _ruled(current, number, Ruling(NO_ROUTE), now))
        return _attempted(message, number, turn, leave.provider, seen, now)


def _attempted(message: Message, number: int, turn: str, provider: str, seen: Seen, now: int) -> Message:
    began = time.monotonic()
    message = _change(message, lambda current: _begun(current, number, turn, now, provider))
    attempt = next((each for each in message.attempts if each.turn == turn), None)
    if attempt is None or attempt.outcome is not Status.SENDING:
        _see_to_what_follows(message, number, turn, now)
        return message
    asked_at = time.monotonic()
    outcome = _asked(message, attempt, began, now)
    took_s = time.monotonic() - asked_at
    _point(attempt, outcome, now)
    message = _change(message, lambda current: _ended(current, turn, outcome, now))
    _see_to_what_follows(message, number, turn, now)
    WORKER.note(provider, outcome, took_s, seen, turn, now)
    return message


def _kept(message: Message) -> Message:
    """The message, which is in the table if it was new."""
    return message if message.version else _change(message, lambda current: None if current.version else current)


def _may_be_sent(message: Message, number: int, now: int) -> bool:
    """Whether order `number` is to make an attempt, as far as was read."""
    is_next = number == len(message.attempts) + 1 and E164.fullmatch(message.recipient) is not None
    return is_next and (message.doubt is not None or message.is_of_use(now))


def _within_use(message: Message, wait_s: int, now: int) -> int:
    """A wait, cut to how long the message is of use; doubt may be cleared at any time."""
    if message.use_by is None or message.doubt:
        return wait_s
    return max(min(wait_s, message.use_by - now), 1)


def _destination(message: Message) -> Destination:
    return Destination(message.country, message.carrier, message.region, message.kind)


def _change(message: Message, decide: Callable[[Message], Message | None]) -> Message:
    """The message after a decision on it as it stands, whether it is new or was read."""
    known = message if message.version else None
    return table.change(MESSAGE, known, lambda current: decide(current or message), "message", BY)


def _put_off(message: Message, number: int, now: int) -> Message:
    """The message, written down, with its order for later; what is held gets one by the clock."""
    message = _kept(message)
    if message.status is Status.QUEUED:
        jobs.send_message(message.id, number, delay_s=max(message.due_at - now, 0))
    return message


def _ruled(message: Message, number: int, found: Ruling, now: int) -> Message | None:
    """The message as a rule leaves it; None where it has gone on, or been ruled the same, meanwhile."""
    if message.is_over or number != len(message.attempts) + 1 or message.is_early(now):
        return None
    return recipients.applied(message, found, now)


def _begun(message: Message, number: int, turn: str, now: int, provider: str | None) -> Message | None:
    """The message with attempt `number` open, or with one closed that has been open for too long; None if neither.

    Raises LookupError where the attempt before was never made, or this one has no leave.
    """
    made = len(message.attempts)
    if message.is_over or number < made:
        return None
    if number == made:
        attempt = message.attempts[-1]
        left = attempt.outcome is Status.SENDING and attempt.turn != turn and now >= attempt.at + ATTEMPT_S
        return _ended(message.taken_over(turn), turn, Outcome(IN_DOUBT), now) if left else None
    if number > made + 1:
        raise LookupError("the attempt before was never made")
    if not E164.fullmatch(message.recipient):
        return message.ruled(ERASED, now)
    if not (message.doubt or message.is_of_use(now)):
        return message.ruled(EXPIRED, now)
    if provider is None:
        raise LookupError("it became due meanwhile")
    return message.released().begun(provider, turn, now, traceable=providers.named(provider).traceable)


def _ended(message: Message, turn: str, outcome: Outcome, now: int) -> Message | None:
    """The message with the reply to the attempt of this turn; None where another has closed it in its stead."""
    after = message.ended(turn, outcome, now, pause(outcome.reason, len(message.attempts)))
    return None if after == message else after


def pause(reason: str | None, attempt: int) -> float:
    """How many seconds to wait before attempt n."""
    return pause_s(reason, attempt, float(os.environ[SMS_RETRY_BASE_S]), random.random())


def _asked(message: Message, attempt: Attempt, began: float, now: int) -> Outcome:
    """What the provider made of it; a reference in doubt is looked up before it is sent once more, if still of use and
    if the rules of recipients let it.

    Raises TimeoutError where the calls could outlast the attempt, for then another worker may take it over.
    """
    provider, doubt = providers.named(attempt.provider), message.doubt
    barred = recipients.judged(message, now, counts=False) if doubt else None
    if time.monotonic() > began + ATTEMPT_S - providers.CALLS_S:
        raise TimeoutError
    to, text = message.recipient, message.text
    known = provider.look_up(attempt.reference, to, text, doubt.at, now) if doubt else None
    if known is None and not message.is_of_use(now):
        return Outcome(EXPIRED)
    if known is None and barred is not None:
        return Outcome(barred.reason)
    return known or provider.send(attempt.reference, to, text, message.template)


def _point(attempt: Attempt, outcome: Outcome, now: int) -> None:
    """Note the id under which a provider took an SMS whose receipts will name no other.

    Before the outcome is: if this breaks off in between, the receipt still finds its attempt.
    """
    if outcome.provider_id is not None and not providers.named(attempt.provider).echoes:
        pointer = Pointer(attempt.provider, outcome.provider_id, attempt.reference, now + POINTED_S)
        with suppress(table.Conflict):  # it is there
            table.put(POINTER.item(pointer, "message", BY), 0)


def _see_to_what_follows(message: Message, number: int, turn: str, now: int) -> None:
    """Put the next order on the queue; or this one again, to see later whether the worker that has it in hand did so.

    If every repeat put the next order on the queue, and each came twice, there would be 2ⁿ of them.
    """
    if message.is_over or number < len(message.attempts):
        return
    last = message.attempts[-1]
    if last.outcome is Status.SENDING:
        due_at = last.at + ATTEMPT_S
    elif last.turn == turn or now >= message.due_at + ATTEMPT_S:
        number, due_at = number + 1, message.due_at
    else:
        due_at = message.due_at + ATTEMPT_S
    jobs.send_message(message.id, number, delay_s=max(due_at - now, 0))


def find(id: str) -> Message:
    """A message. Raises Refusal `not_found`."""
    message = table.read(MESSAGE, keys.message(id))
    if message is None:
        raise _no_message()
    return message


def _no_message() -> Refusal:
    return Refusal("not_found", "There is no such message.")
