"""notify: an SMS for what happened to a card; and what became of it."""

from __future__ import annotations

from typing import Any

from functions.domain.account import E164, masked
from functions.domain.message import Message
from functions.domain.reminder import day_named
from functions.domain.times import epoch, rfc3339
from functions.edge import batch as queue
from functions.edge import clock
from functions.edge.http import App, Call, Event, Reply, Response, ok, refuse_fields
from functions.edge.log import logger
from functions.notify import reminders, service
from functions.notify.models import ORDER, Due, End, MessageAnswer, MessageList, Page, Sweep
from functions.store import jobs

app = App("notify")


@app.route("GET /v1/messages")
def list_messages(call: Call) -> Reply[MessageList]:
    recipient = call.query.get("recipient", "")
    if recipient.startswith(" "):  # a plus sign that was not escaped
        recipient = "+" + recipient[1:]
    if not E164.fullmatch(recipient):
        refuse_fields([("query.recipient", "a phone number like %2B8613812345678 (its plus sign escaped)")])
    found, next_cursor = service.page(recipient, call.limit(), call.query.get("cursor"), call.by)
    return ok(MessageList(data=[_answer(message) for message in found], next_cursor=next_cursor))


@app.route("GET /v1/messages/{id}")
def get_message(call: Call) -> Reply[MessageAnswer]:
    return ok(_answer(service.find(call.path["id"])))


def _answer(message: Message) -> MessageAnswer:
    return MessageAnswer.model_validate(
        {
            "id": message.id,
            "status": message.status.value,
            "event": message.event,
            "serial": message.serial,
            "recipient": masked(message.recipient),
            "text": message.text,
            "attempts": [
                {"provider": a.provider, "at": rfc3339(a.at), "outcome": a.outcome.value, "reason": a.reason}
                for a in message.attempts
            ],
            "sandbox": message.sandbox,
            "created_at": rfc3339(message.created_at),
        }
    )


def take(body: str) -> None:
    """Carry out one order of the queue. Raises where it makes no sense; SQS then sets it aside."""
    order, now = ORDER.validate_json(body), clock.now()
    if isinstance(order, End):
        reminders.expect(order.data.serial, epoch(order.at), now)
        return
    if isinstance(order, Sweep):
        logger.info("reminders", ordered=reminders.sweep(now))
        return
    if isinstance(order, Page):
        logger.info(
            "reminders",
            date=order.date,
            shard=order.shard,
            outcome=reminders.remind(day_named(order.date), order.shard, order.after, now),
        )
        return
    if isinstance(order, Due):
        number, message = order.attempt, service.proceed(service.find(order.message), order.attempt, now)
    else:
        data = order.data
        recovery = None
        if data.action is not None and data.reason is not None:
            recovery = service.Recall(data.action, data.reason, data.generation)
        redemption = data.redemption.id if data.redemption else None
        at = epoch(order.at)
        occasion = service.Occasion(order.id, order.type, data.serial, redemption, recovery, at)
        try:
            number, told = 1, service.tell(occasion, now)
        except service.TooEarly:
            jobs.send_again(body, service.TOO_EARLY_S)
            logger.info("message", event=order.type, serial=data.serial, status="too early")
            return
        if told is None:
            logger.info("message", event=order.type, serial=order.data.serial, status="nobody to tell")
            return
        message = told
    last = message.attempts[-1] if message.attempts else None
    logger.info(
        "message",
        id=message.id,
        event=message.event,
        order=number,
        status=message.status.value,
        attempts=len(message.attempts),
        provider=last.provider if last else None,
        reason=last.reason if last else None,
    )


def handle(event: Event, context: Any) -> Response:
    return queue.each(event, take) if "Records" in event else app(event, context)
