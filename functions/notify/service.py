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
from dataclasses import dataclass
from typing import NamedTuple

from functions.domain.account import E164
from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.lot import Lot
from functions.domain.message import ATTEMPT_S, IN_DOUBT, Attempt, Message, Outcome, Status, message_id, wait_s
from functions.domain.reminder import is_held
from functions.domain.serials import LOT_SIZE, position_of
from functions.domain.voucher import Redemption, Voucher, standing
from functions.notify import providers
from functions.notify.texts import EXPIRING, expiring, recovered, text
from functions.store import jobs, keys, lists, table
from functions.store.entities import LOT, VOUCHER
from functions.store.records import MESSAGE

SMS_RETRY_BASE_S = "SMS_RETRY_BASE_S"
BY = By("notify", "system", "operator", "queue", "")
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
    became of the card by one."""

    event_id: str
    event: str
    serial: str
    redemption: str | None
    recovery: Recall | None = None
    at: int = 0


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
    message, voucher, lot = map(table.get_many(places).get, places)
    if message is not None:
        return proceed(MESSAGE.load(message), 1, now)
    if voucher is None or lot is None:
        raise LookupError("no such voucher")
    if _goes_on_suspended(occasion, VOUCHER.load(voucher), LOT.load(lot), now):
        if now < occasion.at + TOO_EARLY_MAX_S:
            raise TooEarly
        return None
    composed = _composed(occasion, VOUCHER.load(voucher), LOT.load(lot), now)
    return composed and proceed(composed, 1, now)


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
        said = text(occasion.event, lot.rules.locale, occasion.serial, redemption, voucher.currency)
    else:
        assert occasion.recovery is not None
        said = recovered(lot.rules.locale, occasion.recovery.action, occasion.recovery.reason, voucher)
    return _message(occasion, lot, recipient, said, now)


def _reminder(occasion: Occasion, voucher: Voucher, lot: Lot, now: int) -> Message | None:
    """To who holds the card now, unless it was used up, recalled or has ended since."""
    at = standing(lot, voucher.position % LOT_SIZE, voucher, now)
    if at is None or not is_held(at) or at.reason == "expired" or (recipient := _holder(at.voucher)) is None:
        return None
    return _message(occasion, lot, recipient, expiring(lot.rules.locale, at), now)


def _message(occasion: Occasion, lot: Lot, recipient: str, said: str, now: int) -> Message:
    id, sandbox = message_id(occasion.event_id), lot.rules.sandbox
    status = Status.SUPPRESSED if sandbox else Status.QUEUED
    return Message(id, occasion.event, occasion.serial, recipient, said, now, status, due_at=now, sandbox=sandbox)


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


def proceed(message: Message, number: int, now: int) -> Message:
    """Carry out order `number` of a message: make its attempt if that is still to be made, and see to what follows."""
    if message.is_over:
        return message if message.version else _change(message, lambda current: None if current.version else current)
    turn, began = secrets.token_hex(8), time.monotonic()
    message = _change(message, lambda current: _begun(current, number, turn, now))
    attempt = message.attempts[-1]
    if attempt.turn == turn and attempt.outcome == "sending":
        outcome = _asked(message, attempt, began)
        message = _change(message, lambda current: _closed(current, turn, outcome, now))
    _see_to_what_follows(message, number, turn, now)
    return message


def _change(message: Message, decide: Callable[[Message], Message | None]) -> Message:
    """The message after a decision on it as it stands, whether it is new or was read."""
    known = message if message.version else None
    return table.change(MESSAGE, known, lambda current: decide(current or message), "message", BY)


def _begun(message: Message, number: int, turn: str, now: int) -> Message | None:
    """The message with attempt `number` open, or with one closed that has been open for too long; None if neither."""
    made = len(message.attempts)
    if message.is_over or number < made:
        return None
    if number == made:
        attempt = message.attempts[-1]
        left = attempt.outcome == "sending" and attempt.turn != turn and now >= attempt.at + ATTEMPT_S
        return _ended(message, turn, Outcome(IN_DOUBT), now) if left else None
    if number > made + 1:
        raise LookupError("the attempt before was never made")
    if not E164.fullmatch(message.recipient):  # erased since
        return message.abandoned()
    provider = message.provider(providers.names())
    return message.begun(provider, turn, now, traceable=providers.named(provider).traceable)


def _closed(message: Message, turn: str, outcome: Outcome, now: int) -> Message | None:
    """The message with the open attempt of this turn closed; None where another has closed it."""
    attempt = message.attempts[-1]
    return _ended(message, turn, outcome, now) if (attempt.turn, attempt.outcome) == (turn, "sending") else None


def _ended(message: Message, turn: str, outcome: Outcome, now: int) -> Message:
    wait = wait_s(len(message.attempts), float(os.environ[SMS_RETRY_BASE_S]), random.random())
    return message.ended(turn, outcome, now + round(wait))


def _asked(message: Message, attempt: Attempt, began: float) -> Outcome:
    """What the provider made of it; a reference in doubt is looked up before it is sent once more.

    Raises TimeoutError where the calls could outlast the attempt, for then another worker may take it over.
    """
    if time.monotonic() > began + ATTEMPT_S - providers.CALLS_S:
        raise TimeoutError
    provider = providers.named(attempt.provider)
    known = provider.look_up(attempt.reference) if message.doubt else None
    return known or provider.send(attempt.reference, message.recipient, message.text)


def _see_to_what_follows(message: Message, number: int, turn: str, now: int) -> None:
    """Put the next order on the queue; or this one again, to see later whether the worker that has it in hand did so.

    If every repeat put the next order on the queue, and each came twice, there would be 2ⁿ of them.
    """
    if message.is_over or number < len(message.attempts):
        return
    last = message.attempts[-1]
    if last.outcome == "sending":
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
        raise Refusal("not_found", "There is no such message.")
    return message


def page(recipient: str, limit: int, cursor: str | None, by: By) -> tuple[list[Message], str | None]:
    """The messages to a number, newest first. Raises Refusal `invalid_cursor`."""
    return lists.page(MESSAGE, limit, cursor, by, keys.received_by(recipient))
