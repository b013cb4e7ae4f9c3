"""notify: an SMS for what happened to a card; and what became of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from functions.domain import deliveries
from functions.domain.account import E164, masked
from functions.domain.asking import Viewer
from functions.domain.complaint import Outcome
from functions.domain.message import Message, Receipt, Status, message_id
from functions.domain.reasons import told
from functions.domain.recipient import Quiet, Recipient
from functions.domain.reminder import day_named
from functions.domain.routing import Routes
from functions.domain.story import story
from functions.domain.times import epoch, rfc3339
from functions.edge import batch as queue
from functions.edge import clock
from functions.edge.http import (
    ID_LENGTH_MAX,
    App,
    Call,
    Event,
    Raw,
    Reply,
    Response,
    created,
    ok,
    refuse_fields,
    versioned,
)
from functions.edge.log import logger
from functions.notify import answers, asking, numbers, receipts, recipients, reminders, routing, service
from functions.notify.admission import PROVIDER_DOWN
from functions.notify.models import (
    ORDER,
    AccountTold,
    Awaiting,
    ComplaintAnswer,
    ComplaintList,
    DeliveriesAnswer,
    Due,
    End,
    Fared,
    HeldBack,
    LookupRequest,
    MessageAnswer,
    MessageList,
    MessageStory,
    OfRecipient,
    Order,
    OutcomeRequest,
    Page,
    ReceiptsTaken,
    Received,
    RecipientAnswer,
    RecipientRequest,
    Replied,
    Requested,
    RoutesAnswer,
    RoutesRequest,
    Sweep,
    Told,
)
from functions.notify.providers import aws
from functions.store import deliveries as counted
from functions.store import jobs, lists
from functions.store.records import COMPLAINT

app = App("notify")
ROWS_MAX = 2_000
"""Of statistics in one answer."""


@app.route("GET /v1/messages")
def list_messages(call: Call) -> Reply[MessageList]:
    wanted, viewer = _wanted(call), _viewer(call, call.query.get("customer", call.query.get("recipient")))
    limit, cursor = call.limit(), call.query.get("cursor")
    found, next_cursor = asking.page(wanted, limit, cursor, viewer) if wanted is not None else ([], None)
    data = [MessageAnswer.model_validate(answers.for_(call.by, _shown(message))) for message in found]
    return ok(MessageList(data=data, next_cursor=next_cursor))


def _wanted(call: Call) -> asking.Wanted | None:
    """Which list: by exactly one of three. None where that is no serial. Raises Refusal `invalid_request`."""
    asked = [name for name in ("recipient", "voucher", "redemption") if name in call.query]
    if len(asked) != 1:
        name = asked[-1] if asked else "recipient"
        refuse_fields([(f"query.{name}", "exactly one of recipient, voucher and redemption")])
    if asked == ["recipient"]:
        return asking.to_recipient(_number("recipient", call.query["recipient"]))
    (name,), about = asked, asking.about_voucher if asked == ["voucher"] else asking.about_redemption
    if not 1 <= len(call.query[name]) <= ID_LENGTH_MAX:
        refuse_fields([(f"query.{name}", f"1 to {ID_LENGTH_MAX} characters")])
    return about(call.query[name])


def _viewer(call: Call, customer: str | None) -> Viewer:
    """Who asks, for which number if for one; a customer's client must say. Raises Refusal `invalid_request`."""
    if customer is None and call.by.role == "customer":
        refuse_fields([("customer", "say whose message it is, by the phone number")])
    return Viewer(call.by, _number("customer", customer) if customer is not None else None)


def _number(name: str, value: str) -> str:
    number = "+" + value[1:] if value.startswith(" ") else value  # a plus sign that was not escaped
    if not E164.fullmatch(number):
        refuse_fields([(f"query.{name}", "a phone number like %2B8613812345678 (its plus sign escaped)")])
    return number


@app.route("GET /v1/messages/statistics")
def get_message_statistics(call: Call) -> Reply[DeliveriesAnswer]:
    since, until, by = answers.hours(call)
    try:
        sums = deliveries.grouped(counted.between(since, until), by)
    except counted.TooMany:
        refuse_fields([("query.since", "more than can be summed up at once: ask for fewer hours")])
    if len(sums) > ROWS_MAX:
        refuse_fields([("query.by", f"{len(sums)} rows, more than {ROWS_MAX}: ask for fewer dimensions or hours")])
    data = [Fared.model_validate(answers.fared(dict(zip(by, group, strict=True)), sum)) for group, sum in sums.items()]
    return ok(DeliveriesAnswer(since=answers.of_hour(since), until=answers.of_hour(until), data=data))


@app.route("GET /v1/messages/{id}")
def get_message(call: Call) -> Reply[MessageStory]:
    message = asking.find(call.path["id"], _viewer(call, call.query.get("customer")))
    return ok(MessageStory.model_validate(answers.for_(call.by, _told(message))))


@app.route("POST /v1/messages/{id}/resends")
def create_resend(request: OfRecipient, call: Call) -> Reply[MessageStory]:
    """The text is made again from what it was made from; it has no code in it. The new message names the old one, and
    the old one the new; of one message there are three resends at most, and of those to a number ten a day.

    Where the reason shows that it would come to the same again, it is refused with what is to be done first.
    """
    viewer = _viewer(call, request.customer)
    made, replayed = asking.resend(call.derived_id("msg"), call.path["id"], viewer, call.now)
    body = MessageStory.model_validate(answers.for_(call.by, _told(made)))
    return created(body, replayed=replayed, location=f"/v1/messages/{made.id}")


@app.route("POST /v1/messages/{id}/complaints")
def create_complaint(request: OfRecipient, call: Call) -> Reply[ComplaintAnswer]:
    """There is one ticket a message; who complains again is shown the same one."""
    made, replayed = asking.complain(call.path["id"], _viewer(call, request.customer), call.now)
    body = ComplaintAnswer.model_validate(answers.ticket(made, call.by))
    return created(body, replayed=replayed, location=f"/v1/complaints/{made.id}")


@app.route("GET /v1/complaints")
def list_complaints(call: Call) -> Reply[ComplaintList]:
    found, next_cursor = lists.page(COMPLAINT, call.limit(), call.query.get("cursor"), call.by)
    data = [ComplaintAnswer.model_validate(answers.ticket(complaint, call.by)) for complaint in found]
    return ok(ComplaintList(data=data, next_cursor=next_cursor))


@app.route("GET /v1/complaints/{id}")
def get_complaint(call: Call) -> Reply[ComplaintAnswer]:
    found = asking.complaint(call.path["id"], _viewer(call, call.query.get("customer")))
    return ok(ComplaintAnswer.model_validate(answers.ticket(found, call.by)))


@app.route("POST /v1/complaints/{id}/outcomes")
def create_outcome(request: OutcomeRequest, call: Call) -> Reply[ComplaintAnswer]:
    outcome = Outcome(call.derived_id("out"), request.outcome, call.now, call.by.client)
    closed, replayed = asking.close(call.path["id"], outcome, call.by)
    body = ComplaintAnswer.model_validate(answers.ticket(closed, call.by))
    return created(body, replayed=replayed, location=f"/v1/complaints/{closed.id}")


@app.route("POST /v1/recipients/lookups")
def look_recipient_up(request: LookupRequest, call: Call) -> Reply[RecipientAnswer]:
    number = _as_given(request.number)
    return ok(_recipient(number, recipients.find(number)))


@app.route("PUT /v1/recipients")
def put_recipient(request: RecipientRequest, call: Call) -> Reply[RecipientAnswer]:
    """What they do not want is `suppressed`; what comes in quiet hours, and is not urgent, is `held` until they end."""
    if request.zone is not None and numbers.zone(request.zone) is None:
        refuse_fields([("zone", "no time zone of the IANA database, like Asia/Shanghai")])
    number, hours, at_ms = _as_given(request.number), request.quiet_hours, call.now * 1000
    quiet = Quiet(recipients.minutes(hours.begins), recipients.minutes(hours.ends)) if hours is not None else None

    def changed(current: Recipient) -> Recipient:
        return replace(
            current.asked(set(request.opted_out), max(at_ms, current.opted_at_ms)),
            quiet=quiet,
            zone=request.zone,
            frozen=current.frozen.turned(request.frozen, at_ms),
            held=current.held.turned(request.security_hold, at_ms),
        )

    return ok(_recipient(number, recipients.change(number, changed, call.by)))


def _as_given(text: str) -> str:
    number = numbers.normalised(text)
    if number is None:
        refuse_fields([("number", "a phone number like +8613812345678")])
    return number


def _recipient(number: str, found: Recipient) -> RecipientAnswer:
    known = numbers.known(number)
    quiet = found.quiet if found.quiet is not None else recipients.default_quiet()
    hours = {"begins": _minute(quiet.from_min), "ends": _minute(quiet.until_min)} if quiet is not None else None
    said = {
        "account": found.account,
        "number": masked(number),
        "opted_out": list(found.opted_out),
        "quiet_hours": hours,
        "zone": found.zone or known.zone,
        "frozen": found.frozen.on,
        "security_hold": found.held.on,
        "number_fault": known.fault,
        "country": known.country,
        "carrier": known.carrier,
        "region": known.region,
    }
    return RecipientAnswer.model_validate(said)


def _minute(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


@app.route("POST /v1/receipts/{provider}")
def create_receipts(request: Raw, call: Call) -> Reply[ReceiptsTaken | None]:
    """For the providers alone: a request is theirs by its signature, or by the secret in the address they were given.

    Each receipt is brought to its message in a moment. What comes again, late or in another order changes nothing. A
    reply by SMS that says STOP, TD or 退订 opts its sender out of all SMS, and START in again.
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


def _told(message: Message) -> dict[str, Any]:
    lines = [
        {
            "at": rfc3339(line.at),
            "by": line.by,
            "what": line.what._asdict(),
            "next_step": line.next_step and line.next_step._asdict(),
        }
        for line in story(message)
    ]
    return _shown(message) | {"story": lines}


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
        "redemption": message.redemption,
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
        "held_until": _time(message.due_at) if message.status is Status.HELD else None,
        "merged_into": message.merged_into,
        "country": message.country,
        "carrier": message.carrier,
        "region": message.region,
        "resend_of": message.resend_of,
        "resends": list(message.resends),
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
        case Requested():
            return order.id
        case Told():
            return message_id(order.id)
        case Received(receipt=receipt) if receipt.reference is not None:
            return receipts.message_of(receipt.reference)
    return body


def take(body: str) -> None:
    """Carry out one order of the queue. Raises where it makes no sense; SQS then sets it aside."""
    _take(ORDER.validate_json(body), body, clock.now())
    for provider in sorted(service.WORKER.opened()):
        logger.warning("breaker open", provider=provider, alarm=PROVIDER_DOWN)


def _take(order: Order, body: str, now: int) -> None:
    match order:
        case End():
            reminders.expect(order.data.serial, epoch(order.at), now)
        case Sweep(sweep="reminders"):
            logger.info("reminders", ordered=reminders.sweep(now))
        case Sweep(sweep="held"):
            logger.info("held", ordered=recipients.sweep())
        case Sweep():
            logger.info("receipts", ordered=receipts.sweep())
        case HeldBack():
            logger.info("held", due=recipients.release(order.held, order.after, now))
        case AccountTold():
            at_ms = round(datetime.fromisoformat(order.at).timestamp() * 1000)
            recipients.account_told(order.data.account, order.type, at_ms)
            logger.info("recipient", told=order.type, account=order.data.account)
        case Replied():
            recipients.opted(order.account, order.opted_out, order.at_ms)
            logger.info("recipient", told="opted out" if order.opted_out else "opted in", account=order.account)
        case aws.Answered():
            jobs.send_replies(recipients.replies(order.told()))
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
        case Requested():
            _log(1, service.go_on(order.id, 1, now, 0))
        case Due():
            _log(order.attempt, service.go_on(order.message, order.attempt, now, order.waits))
        case Told():
            _tell(order, body, now)


def _tell(order: Told, body: str, now: int) -> None:
    data = order.data
    recovery = None
    if data.action is not None and data.reason is not None:
        recovery = service.Recall(data.action, data.reason, data.generation)
    redemption = data.redemption.id if data.redemption else None
    at = epoch(order.at)
    try:
        message = service.tell(service.Occasion(order.id, order.type, data.serial, redemption, recovery, at), now)
    except service.TooEarly:
        jobs.send_again(body, service.TOO_EARLY_S)
        logger.info("message", event=order.type, serial=data.serial, status="too early")
        return
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
