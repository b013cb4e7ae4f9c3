"""notify: an SMS for what happened to a card; and what became of it."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from functions.domain.account import E164, masked
from functions.domain.message import Message, Receipt, Status, message_id
from functions.domain.reasons import told
from functions.domain.reminder import day_named
from functions.domain.routing import Routes
from functions.domain.story import story
from functions.domain.times import rfc3339
from functions.edge import batch as queue
from functions.edge import clock
from functions.edge.http import App, Call, Event, Raw, Reply, Response, ok, refuse_fields, versioned
from functions.edge.log import logger
from functions.notify import receipts, reminders, routing, service
from functions.notify.models import (
    ORDER,
    Awaiting,
    Due,
    End,
    MessageAnswer,
    MessageList,
    MessageStory,
    Page,
    ReceiptsTaken,
    Received,
    RoutesAnswer,
    RoutesRequest,
    Sweep,
    Told,
)
from functions.notify.providers import aws

app = App("notify")


@app.route("GET /v1/messages")
def list_messages(call: Call) -> Reply[MessageList]:
    recipient = call.query.get("recipient", "")
    if recipient.startswith(" "):  # a plus sign that was not escaped
        recipient = "+" + recipient[1:]
    if not E164.fullmatch(recipient):
        refuse_fields([("query.recipient", "a phone number like %2B8613812345678 (its plus sign escaped)")])
    found, next_cursor = service.page(recipient, call.limit(), call.query.get("cursor"), call.by)
    data = [MessageAnswer.model_validate(_shown(message)) for message in found]
    return ok(MessageList(data=data, next_cursor=next_cursor))


@app.route("GET /v1/messages/{id}")
def get_message(call: Call) -> Reply[MessageStory]:
    message = service.find(call.path["id"])
    lines = [
        {
            "at": rfc3339(line.at),
            "by": line.by,
            "what": line.what._asdict(),
            "next_step": line.next_step and line.next_step._asdict(),
        }
        for line in story(message)
    ]
    return ok(MessageStory.model_validate(_shown(message) | {"story": lines}))


@app.route("POST /v1/receipts/{provider}")
def create_receipts(request: Raw, call: Call) -> Reply[ReceiptsTaken | None]:
    """For the providers alone: a request is theirs by its signature, or by the secret in the address they were given.

    Each receipt is brought to its message in a moment. What comes again, late or in another order changes nothing.
    """
    wanted = receipts.take(call.path["provider"], call.headers, call.query, request.content)
    return Reply(ReceiptsTaken.model_validate(wanted)) if wanted else Reply(None, HTTPStatus.NO_CONTENT)


@app.route("GET /v1/routes")
def get_routes(call: Call) -> Reply[RoutesAnswer]:
    return _routes(routing.find())


@app.route("PUT /v1/routes")
def put_routes(request: RoutesRequest, call: Call) -> Reply[RoutesAnswer]:
    """They hold for every attempt from now on. A message that no row fits fails as `destination_not_served`.

    Whoever sends the same once more is answered the same.
    """
    rows = tuple(row.row() for row in request.rows)
    return _routes(routing.change(rows, call.seen_version(), call.by, call.now))


def _routes(routes: Routes) -> Reply[RoutesAnswer]:
    return versioned(RoutesAnswer.of(routes), routes.version)


def _shown(message: Message) -> dict[str, Any]:
    said = told(message.status, message.why)
    template = message.template
    return {
        "id": message.id,
        "status": message.status.value,
        "reason": message.why,
        "for_customer": said.customer._asdict(),
        "for_support": said.support._asdict(),
        "next_step": said.next_step._asdict(),
        "event": message.event,
        "serial": message.serial,
        "recipient": masked(message.recipient),
        "text": message.text,
        "template": template and {"name": template.name, "locale": template.locale, "version": template.version},
        "segments": message.segments,
        "attempts": [
            {
                "provider": a.provider,
                "provider_id": a.provider_id,
                "at": rfc3339(a.at),
                "sent_at": _time(a.sent_at),
                "receipt_at": _time(a.receipt_at),
                "outcome": a.outcome.value,
                "reason": a.reason,
                "code": a.code,
            }
            for a in message.attempts
        ],
        "sandbox": message.sandbox,
        "created_at": rfc3339(message.created_at),
        "use_by": _time(message.use_by),
    }


def _time(at: int | None) -> str | None:
    return rfc3339(at) if at is not None else None


def _lane(body: str) -> str:
    """What is about one message is not done side by side: it would only meet itself."""
    try:
        order = ORDER.validate_json(body)
    except ValidationError:
        return body
    match order:
        case Due():
            return order.message
        case Told():
            return message_id(order.id)
        case Received(receipt=receipt) if receipt.reference is not None:
            return receipts.message_of(receipt.reference)
    return body


def take(body: str) -> None:
    """Carry out one order of the queue. Raises where it makes no sense; SQS then sets it aside."""
    order, now = ORDER.validate_json(body), clock.now()
    match order:
        case End():
            reminders.expect(order.data.serial, int(datetime.fromisoformat(order.at).timestamp()), now)
        case Sweep(sweep="reminders"):
            logger.info("reminders", ordered=reminders.sweep(now))
        case Sweep():
            logger.info("receipts", ordered=receipts.sweep())
        case Page():
            done = reminders.remind(day_named(order.date), order.shard, order.after, now)
            logger.info("reminders", date=order.date, shard=order.shard, outcome=done)
        case Awaiting():
            logger.info("receipts", given_up=receipts.give_up(order.awaiting, order.after, now))
        case Received():
            heard = order.receipt.model_dump()
            _receive(Receipt(**heard | {"status": Status(heard["status"])}), order.tries, now)
        case aws.Event():
            for receipt in aws.receipts(order):
                _receive(receipt, 0, now)
        case Due():
            _log(order.attempt, service.go_on(order.message, order.attempt, now, order.waits))
        case Told():
            _tell(order, now)


def _tell(order: Told, now: int) -> None:
    data = order.data
    recovery = (data.action, data.reason) if data.action is not None and data.reason is not None else None
    redemption = data.redemption.id if data.redemption else None
    message = service.tell(service.Occasion(order.id, order.type, data.serial, redemption, recovery), now)
    if message is None:
        logger.info("message", event=order.type, serial=data.serial, status="nobody to tell")
    else:
        _log(1, message)


def _receive(receipt: Receipt, tries: int, now: int) -> None:
    message = receipts.receive(receipt, tries, now)
    unmatched = message is None and receipts.is_last(tries)
    logger.info(
        "receipt",
        provider=receipt.provider,
        told=receipt.status.value,
        reference=receipt.reference,
        provider_id=receipt.provider_id,
        reason=receipt.reason,
        code=receipt.code,
        tries=tries,
        status=message.status.value if message else None,
        alarm=receipts.UNMATCHED if unmatched else None,
    )


def _log(number: int, message: Message) -> None:
    last = message.attempts[-1] if message.attempts else None
    logger.info(
        "message",
        id=message.id,
        event=message.event,
        order=number,
        status=message.status.value,
        attempts=len(message.attempts),
        provider=last.provider if last else None,
        reason=message.why,
    )


def handle(event: Event, context: Any) -> Response:
    return queue.together(event, take, _lane) if "Records" in event else app(event, context)
