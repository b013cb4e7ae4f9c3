"""redeem: use a code for an account; take a redemption back."""

from __future__ import annotations

from typing import Any

from functions.domain.account import masked
from functions.domain.hold import State, state
from functions.domain.serials import serial_of
from functions.domain.times import rfc3339
from functions.domain.voucher import Hold, Redemption, Voucher
from functions.edge.http import App, Call, Event, Reply, Response, created, ok
from functions.redeem import holds, service
from functions.redeem.models import (
    CaptureRequest,
    HoldAnswer,
    HoldRequest,
    MaskedAccount,
    RedemptionAnswer,
    RedemptionRequest,
    ReleaseAnswer,
    ReversalAnswer,
    ReversalRequest,
)

app = App("redeem")


@app.route("POST /v1/redemptions")
def create_redemption(request: RedemptionRequest, call: Call) -> Reply[RedemptionAnswer]:
    order = service.Order(
        code=request.code,
        account_type=request.account.type,
        account_number=request.account.number,
        amount_minor=request.amount_minor,
        store=request.store,
        terminal=request.terminal,
        device=request.device,
        customer_address=call.customer_address(request.customer_address),
    )
    done = service.create(order, call.key, call.by, call.now)
    answer = _answer(done.redemption, done.voucher)
    return created(answer, replayed=done.replayed, location=f"/v1/redemptions/{answer.id}")


@app.route("GET /v1/redemptions/{id}")
def get_redemption(call: Call) -> Reply[RedemptionAnswer]:
    found = service.find(call.path["id"], call.by)
    return ok(_answer(found.redemption, found.voucher, reversed_=found.redemption.reversal is not None))


@app.route("POST /v1/redemptions/{id}/reversals")
def create_reversal(request: ReversalRequest, call: Call) -> Reply[ReversalAnswer]:
    done = service.reverse(call.path["id"], request.reason, call.key, call.by, call.now)
    answer = ReversalAnswer(
        id=done.reversal.id,
        redemption=done.redemption.id,
        amount_minor=done.redemption.amount_minor,
        currency=done.voucher.currency,
        balance_minor=done.reversal.balance_minor,
        voucher_status=done.reversal.status,
        credited=serial_of(done.reversal.credited) if done.reversal.credited is not None else None,
        created_at=rfc3339(done.reversal.at),
    )
    return created(answer, replayed=done.replayed)


@app.route("POST /v1/holds")
def create_hold(request: HoldRequest, call: Call) -> Reply[HoldAnswer]:
    order = holds.Order(
        code=request.code,
        amount_minor=request.amount_minor,
        minutes=request.minutes,
        account_number=request.account.number if request.account is not None else None,
        device=request.device,
        customer_address=call.customer_address(request.customer_address),
    )
    done = holds.create(order, call.key, call.by, call.now)
    answer = _hold(done.hold, done.voucher, State.OPEN)
    return created(answer, replayed=done.replayed, location=f"/v1/holds/{answer.id}")


@app.route("GET /v1/holds/{id}")
def get_hold(call: Call) -> Reply[HoldAnswer]:
    found = holds.find(call.path["id"], call.by)
    return ok(_hold(found.hold, found.voucher, state(found.hold, call.now), redemption=found.hold.redemption))


@app.route("POST /v1/holds/{id}/captures")
def create_capture(request: CaptureRequest, call: Call) -> Reply[RedemptionAnswer]:
    """The redemption is one like any other: it can be read, reversed, and its holder is told."""
    order = holds.Capture(
        account_type=request.account.type,
        account_number=request.account.number,
        amount_minor=request.amount_minor,
        store=request.store,
        terminal=request.terminal,
    )
    done = holds.capture(call.path["id"], order, call.key, call.by, call.now)
    answer = _answer(done.redemption, done.voucher)
    return created(answer, replayed=done.replayed, location=f"/v1/redemptions/{answer.id}")


@app.route("POST /v1/holds/{id}/releases")
def create_release(call: Call) -> Reply[ReleaseAnswer]:
    done = holds.release(call.path["id"], call.key, call.by, call.now)
    answer = ReleaseAnswer(
        id=done.release.id,
        hold=done.hold.id,
        amount_minor=done.hold.amount_minor,
        currency=done.voucher.currency,
        created_at=rfc3339(done.release.at),
    )
    return created(answer, replayed=done.replayed)


def _hold(hold: Hold, voucher: Voucher, status: State, *, redemption: str | None = None) -> HoldAnswer:
    return HoldAnswer(
        id=hold.id,
        serial=voucher.serial,
        status=status,
        amount_minor=hold.amount_minor,
        currency=voucher.currency,
        available_minor=hold.available_minor,
        created_at=rfc3339(hold.at),
        expires_at=rfc3339(hold.until),
        redemption=redemption,
    )


def _answer(redemption: Redemption, voucher: Voucher, *, reversed_: bool = False) -> RedemptionAnswer:
    return RedemptionAnswer(
        id=redemption.id,
        serial=voucher.serial,
        account=MaskedAccount.model_validate(
            {"type": redemption.account_type, "number": masked(redemption.account_number)}
        ),
        amount_minor=redemption.amount_minor,
        currency=voucher.currency,
        balance_minor=redemption.balance_minor,
        status="reversed" if reversed_ else "completed",
        voucher_status=redemption.status.value,
        created_at=rfc3339(redemption.at),
        store=redemption.store,
        terminal=redemption.terminal,
        hold=redemption.hold,
    )


def handle(event: Event, context: Any) -> Response:
    return app(event, context)
