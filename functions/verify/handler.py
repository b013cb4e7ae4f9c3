"""verify: check a code; look a voucher up."""

from __future__ import annotations

import io
from typing import Any

from functions.domain import qr
from functions.domain.events import Event as Happening
from functions.domain.times import rfc3339
from functions.edge.http import JSON, App, Call, Event, Reply, Response, ok, refuse_fields
from functions.edge.routes import Scope
from functions.verify import service
from functions.verify.models import (
    FaceValue,
    History,
    HistoryLine,
    QrAnswer,
    VerificationRequest,
    VoucherAnswer,
    VoucherDetails,
)

SVG = "image/svg+xml"
app = App("verify")


@app.route("POST /v1/verifications")
def create_verification(request: VerificationRequest, call: Call) -> Reply[VoucherAnswer]:
    address = call.customer_address(request.customer_address)
    entitled = Scope.INSPECT in call.scopes
    return ok(_answer(service.verify(request.code, request.device, address, call.by, call.now, entitled=entitled)))


@app.route("GET /v1/vouchers/{serial}")
def get_voucher(call: Call) -> Reply[VoucherDetails]:
    found = service.find(call.path["serial"], call.now)
    voucher = found.standing.voucher
    return ok(
        VoucherDetails(
            **_answer(found).model_dump(),
            batch=voucher.batch,
            generation=voucher.generation,
            channel=voucher.channel or found.standing.segment.channel,
            redemptions=list(voucher.redemptions),
            holds=[hold.id for hold in found.standing.holds],
        )
    )


@app.route("GET /v1/vouchers/{serial}/history")
def get_history(call: Call) -> Reply[History]:
    found, next_cursor = service.life(call.path["serial"], call.limit(), call.query.get("cursor"), call.by, call.now)
    return ok(History(data=[_line(happening) for happening in found], next_cursor=next_cursor))


@app.route("GET /v1/vouchers/{serial}/qr")
def get_qr(call: Call) -> Reply[QrAnswer | str]:
    """An image (SVG), or what it says as JSON where `Accept` names that. Only its holder's own app can get it."""
    customer = call.query.get("customer")
    if not customer:
        refuse_fields([("query.customer", "say who holds it")])
    payload = service.qr(call.path["serial"], customer, call.by, call.now)
    if JSON not in call.headers.get("accept", ""):
        return ok(_drawn(payload), **{"Content-Type": SVG})
    expires_at = (qr.step_of(call.now) + qr.STEPS_ACCEPTED) * qr.STEP_S
    return ok(QrAnswer(payload=payload, seconds_left=qr.seconds_left(call.now), expires_at=rfc3339(expires_at)))


def _drawn(payload: str) -> str:
    import segno  # here alone: no other route of this function pays for it

    image = io.BytesIO()
    segno.make_qr(payload, error="m").save(image, kind="svg", xmldecl=False, omitsize=True, light="#fff", nl=False)
    return image.getvalue().decode()


def _line(happening: Happening) -> HistoryLine:
    by, data = happening.by, dict(happening.data)
    if isinstance(redemption := data.get("redemption"), dict):
        data |= {**redemption, "redemption": redemption["id"]}
    return HistoryLine.model_validate(
        {
            "event": happening.type.partition(".")[2],
            "at": rfc3339(happening.at),
            "actor": by.client,
            "role": by.role,
            "tenant": by.tenant,
            "address": by.address,
            "request": by.request,
            **data,
        }
    )


def _answer(found: service.Found) -> VoucherAnswer:
    at, rules = found.standing, found.lot.rules
    return VoucherAnswer(
        serial=at.voucher.serial,
        status=at.status,
        redeemable=at.redeemable,
        reason=at.reason,
        kind=rules.kind,
        campaign=rules.campaign,
        face_value=FaceValue(amount_minor=rules.amount_minor, currency=rules.currency),
        balance_minor=at.voucher.balance_minor,
        available_minor=at.available_minor,
        valid_until=rfc3339(at.valid_until) if at.valid_until is not None else None,
        sandbox=rules.sandbox,
    )


def handle(event: Event, context: Any) -> Response:
    return app(event, context)
