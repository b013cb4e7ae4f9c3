"""webhooks: what happens to a tenant's vouchers, told to its own systems."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from functions.domain.times import rfc3339
from functions.domain.webhook import Delivery, Pulse, Webhook
from functions.edge import batch as queue
from functions.edge import clock
from functions.edge.http import App, Call, Event, Reply, Response, accepted, created, ok
from functions.edge.log import logger
from functions.webhooks import service
from functions.webhooks.models import (
    ORDER,
    DeliveryAnswer,
    DeliveryList,
    Due,
    RotationRequest,
    Told,
    WebhookAnswer,
    WebhookList,
    WebhookRequest,
    WebhookSecret,
)

app = App("webhooks")
DISABLED = "webhook_disabled"
"""The alarm of an endpoint that is told nothing any more."""


@app.route("POST /v1/webhooks")
def create_webhook(request: WebhookRequest, call: Call) -> Reply[WebhookSecret]:
    """The secret (`whsec_…`) is in this answer, and never told again: a repeat of the order does not have it either.

    Events are those that concern vouchers of the caller's tenant: its channels hold them, its customers have them, its
    clients redeemed them, or did it; of SMS, those about its clients' redemptions and to its customers. The operator's
    webhooks are told all that is live, those of the sandbox what is of the sandbox.
    """
    id = call.derived_id("whk")
    webhook, secret, replayed = service.create(id, request.url, list(request.events), call.by, call.now)
    answer = WebhookSecret.model_validate(_shown(webhook, call.now) | {"secret": secret})
    return created(answer, replayed=replayed, location=f"/v1/webhooks/{id}")


@app.route("GET /v1/webhooks")
def list_webhooks(call: Call) -> Reply[WebhookList]:
    data = [WebhookAnswer.model_validate(_shown(webhook, call.now)) for webhook in service.all_of(call.by)]
    return ok(WebhookList(data=data))


@app.route("GET /v1/webhooks/{id}")
def get_webhook(call: Call) -> Reply[WebhookAnswer]:
    webhook = service.find(call.path["id"], call.by)
    return ok(WebhookAnswer.model_validate(_shown(webhook, call.now, service.pulse_of(webhook))))


@app.route("DELETE /v1/webhooks/{id}")
def delete_webhook(call: Call) -> Reply[None]:
    service.delete(call.path["id"], call.by, call.now)
    return Reply(None, HTTPStatus.NO_CONTENT)


@app.route("POST /v1/webhooks/{id}/rotations")
def create_rotation(request: RotationRequest, call: Call) -> Reply[WebhookSecret]:
    """Until the old secret ends, each request has a signature by either; `overlap_s` 0 ends it at once."""
    id, command = call.path["id"], call.derived_id("rot")
    webhook, secret, replayed = service.rotate(id, command, request.overlap_s, call.by, call.now)
    answer = WebhookSecret.model_validate(_shown(webhook, call.now) | {"secret": secret})
    return created(answer, replayed=replayed, location=f"/v1/webhooks/{id}")


@app.route("POST /v1/webhooks/{id}/tests")
def create_test(call: Call) -> Reply[DeliveryAnswer]:
    """One request, made within the call, of type `webhook.test`; what came of it is the attempt in the answer."""
    id = call.path["id"]
    delivery, replayed = service.test(id, call.derived_id("whd"), rfc3339(call.now), call.by, call.now)
    return created(_delivery(delivery), replayed=replayed)


@app.route("GET /v1/webhooks/{id}/deliveries")
def list_deliveries(call: Call) -> Reply[DeliveryList]:
    found, next_cursor = service.deliveries(call.path["id"], call.limit(), call.query.get("cursor"), call.by)
    return ok(DeliveryList(data=[_delivery(delivery) for delivery in found], next_cursor=next_cursor))


@app.route("POST /v1/webhooks/{id}/deliveries/{delivery}/replays")
def create_replay(call: Call) -> Reply[DeliveryAnswer]:
    id, delivery, command = call.path["id"], call.path["delivery"], call.derived_id("rep")
    again, replayed = service.replay(id, delivery, command, call.by, call.now)
    return accepted(_delivery(again), replayed=replayed, location=f"/v1/webhooks/{id}/deliveries")


def _shown(webhook: Webhook, now: int, pulse: Pulse | None = None) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": list(webhook.types),
        "status": "disabled" if webhook.disabled_at is not None else "enabled",
        "disabled_at": _time(webhook.disabled_at),
        "disabled_for": webhook.disabled_for,
        "failing_since": _time(pulse.failing_since) if pulse is not None else None,
        "secrets": len(webhook.good(now)),
        "created_at": rfc3339(webhook.created_at),
    }


def _delivery(delivery: Delivery) -> DeliveryAnswer:
    return DeliveryAnswer.model_validate(
        {
            "id": delivery.id,
            "webhook": delivery.webhook,
            "type": delivery.type,
            "status": delivery.status.value,
            "reason": delivery.reason,
            "attempts": [{**attempt._asdict(), "at": rfc3339(attempt.at)} for attempt in delivery.attempts],
            "attempts_made": delivery.made,
            "replays": len(delivery.replays),
            "next_attempt_at": _time(None if delivery.is_over else delivery.due_at),
            "created_at": rfc3339(delivery.created_at),
        }
    )


def _time(at: int | None) -> str | None:
    return rfc3339(at) if at is not None else None


def take(body: str) -> None:
    """Carry out one order of the queue. Raises where it makes no sense; SQS then sets it aside."""
    order, now = ORDER.validate_json(body), clock.now()
    match order:
        case Told():
            told = order.data, order.sandbox
            occasion = service.Occasion(order.id, order.type, order.at, order.by.by(), *told)
            logger.info("event", event=order.type, webhooks=service.tell(occasion, now))
        case Due():
            done = service.proceed(order.delivery, order.attempt, now)
            if done is not None:
                _log(order.attempt, done)


def _log(number: int, done: service.Done) -> None:
    delivery = done.delivery
    last = delivery.attempts[-1] if delivery.attempts else None
    logger.info(
        "delivery",
        id=delivery.id,
        webhook=delivery.webhook,
        event=delivery.type,
        order=number,
        status=delivery.status.value,
        attempts=delivery.made,
        status_code=last.status_code if last else None,
        reason=delivery.reason or (last.reason if last else None),
        alarm=DISABLED if done.disabled else None,
    )


def handle(event: Event, context: Any) -> Response:
    return queue.each(event, take) if "Records" in event else app(event, context)
