"""distribute: channels and what they hold, orders about ranges; the queue takes up what is too much for a call."""

from __future__ import annotations

from typing import Any, TypeVar

from functions.distribute import (
    channels,
    claims,
    dispenses,
    distributions,
    extensions,
    files,
    service,
    transfers,
    wallet,
)
from functions.distribute.models import (
    CUSTOMER,
    AcceptanceAnswer,
    AcceptanceRequest,
    ActivationAnswer,
    ActivationRequest,
    ChannelAnswer,
    ChannelList,
    ChannelRequest,
    ClaimAnswer,
    ClaimRequest,
    DispenseAnswer,
    Dispensed,
    DispenseRequest,
    DistributionAnswer,
    DistributionRequest,
    ExtensionAnswer,
    ExtensionRequest,
    HeldRange,
    HeldVoucher,
    LineAnswer,
    OfferAnswer,
    ReturnAnswer,
    ReturnRequest,
    SaleRequest,
    StockAnswer,
    TransferAnswer,
    TransferRequest,
    WalletAnswer,
    channels_of_file,
    sale_of_file,
)
from functions.domain.channel import Channel
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint
from functions.domain.sale import Sale
from functions.domain.serials import serial_of
from functions.domain.times import rfc3339
from functions.domain.wallet import STATUSES
from functions.edge import batch, receipts
from functions.edge.http import App, Call, Event, File, Reply, Response, accepted, created, ok, refuse_fields
from functions.edge.log import logger
from functions.edge.models import Answer, Progress, Skipped, end_of_validity
from functions.store.draws import STOCK_LOW, Taken
from functions.store.reach import Reach

app = App("distribute")
A = TypeVar("A", bound=Answer)


@app.route("POST /v1/channels")
def create_channel(request: ChannelRequest, call: Call) -> Reply[ChannelAnswer]:
    wanted = Channel(
        call.derived_id("chn"),
        request.kind,
        request.name,
        request.region,
        request.tenant,
        fingerprint(request.model_dump()),
        call.by,
        call.now,
    )
    channel = channels.create(wanted)
    replayed = channel.by.request != call.by.request
    return created(_channel(channel), replayed=replayed, location=f"/v1/channels/{channel.id}")


@app.route("GET /v1/channels")
def list_channels(call: Call) -> Reply[ChannelList]:
    found, next_cursor = channels.page(call.limit(), call.query.get("cursor"), call.by)
    return ok(ChannelList(data=[_channel(channel) for channel in found], next_cursor=next_cursor))


@app.route("GET /v1/channels/{id}")
def get_channel(call: Call) -> Reply[ChannelAnswer]:
    return ok(_channel(Reach(call.by).channel(call.path["id"])))


@app.route("GET /v1/channels/{id}/stock")
def get_stock(call: Call) -> Reply[StockAnswer]:
    channel = Reach(call.by).channel(call.path["id"])
    held, counts, next_cursor = channels.holdings(channel, call.limit(), call.query.get("cursor"), call.by, call.now)
    data = [
        HeldRange(
            first_serial=serial_of(each.first),
            last_serial=serial_of(each.last),
            quantity=each.last - each.first + 1,
            status=each.status,
            valid_until=rfc3339(each.valid_until) if each.valid_until is not None else None,
        )
        for each in held
    ]
    as_of = rfc3339(call.now)
    return ok(StockAnswer(channel=channel.id, counts=counts, as_of=as_of, data=data, next_cursor=next_cursor))


@app.route("POST /v1/distributions")
def create_distribution(request: DistributionRequest | File, call: Call) -> Reply[DistributionAnswer]:
    ends = channels_of_file(call.query) if isinstance(request, File) else request
    command = distributions.distribute(
        call.derived_id("dst"),
        request.content if isinstance(request, File) else request.chosen(),
        None if isinstance(request, File) else request.quantity,
        ends.to,
        ends.source,
        call.by,
        call.now,
        batch.call_deadline(call.remaining_s),
    )
    return _ordered(command, _distribution(command, _lines(request, command)), call, "distributions")


@app.route("GET /v1/distributions/{id}")
def get_distribution(call: Call) -> Reply[DistributionAnswer]:
    return ok(_distribution(service.find(call.path["id"], distributions.KIND, call.by)))


@app.route("POST /v1/activations")
def create_activation(request: ActivationRequest | File, call: Call) -> Reply[ActivationAnswer]:
    command = service.activate(
        call.derived_id("act"),
        request.content if isinstance(request, File) else request.selection.selection(),
        call.by,
        call.now,
        batch.call_deadline(call.remaining_s),
        _sale(sale_of_file(call.query) if isinstance(request, File) else request.sale),
    )
    return _ordered(command, _activation(command, _lines(request, command)), call, "activations")


@app.route("GET /v1/activations/{id}")
def get_activation(call: Call) -> Reply[ActivationAnswer]:
    return ok(_activation(service.find(call.path["id"], "activate", call.by)))


@app.route("POST /v1/extensions")
def create_extension(request: ExtensionRequest, call: Call) -> Reply[ExtensionAnswer]:
    command = extensions.extend(
        call.derived_id("ext"),
        request.selection.selection(),
        end_of_validity(request.valid_until) if request.valid_until is not None else None,
        request.days,
        call.by,
        call.now,
        batch.call_deadline(call.remaining_s),
    )
    return _ordered(command, _extension(command), call, "extensions")


@app.route("GET /v1/extensions/{id}")
def get_extension(call: Call) -> Reply[ExtensionAnswer]:
    return ok(_extension(service.find(call.path["id"], extensions.KIND, call.by)))


@app.route("POST /v1/dispenses")
def create_dispense(request: DispenseRequest, call: Call) -> Reply[DispenseAnswer]:
    done = dispenses.dispense(
        call.derived_id("dsp"), request.campaign, request.quantity, request.channel, request.buyer, call.by, call.now
    )
    _alarm(done)
    answer = _dispense(done, [Dispensed(serial=serial, code=code) for serial, code in dispenses.shown(done)])
    return created(answer, replayed=done.replayed, location=f"/v1/dispenses/{answer.id}")


@app.route("GET /v1/dispenses/{id}")
def get_dispense(call: Call) -> Reply[DispenseAnswer]:
    done = dispenses.find(call.path["id"], call.by)
    return ok(_dispense(done, [Dispensed(serial=voucher.serial) for voucher in done.vouchers]))


@app.route("POST /v1/claims")
def create_claim(request: ClaimRequest, call: Call) -> Reply[ClaimAnswer]:
    order = claims.Order(
        customer=request.customer,
        code=request.code,
        campaign=request.campaign,
        channel=request.channel,
        tier=request.tier,
        device=request.device,
        customer_address=call.customer_address(request.customer_address),
    )
    done = claims.claim(order, call.key, call.by, call.now)
    if done.drawn is not None:
        _alarm(done.drawn)
    mark, serial = done.mark, done.voucher.serial
    answer = ClaimAnswer(
        id=mark.id,
        serial=serial,
        code=done.code,
        customer=done.customer,
        status=mark.status,
        valid_until=rfc3339(mark.valid_until) if mark.valid_until is not None else None,
        receipt=receipts.receipt(mark.id, serial, done.customer, mark.at),
        created_at=rfc3339(mark.at),
    )
    return created(answer, replayed=done.replayed)


def _alarm(done: Taken) -> None:
    """Says once that few are left; a metric filter counts it."""
    if done.left is not None:
        logger.warning("few are left to be drawn", alarm=STOCK_LOW, campaign=done.draw.campaign, left=done.left)


def _dispense(done: Taken, data: list[Dispensed]) -> DispenseAnswer:
    draw = done.draw
    return DispenseAnswer(
        id=draw.id,
        campaign=draw.campaign,
        quantity=draw.quantity,
        buyer=draw.buyer,
        channel=draw.channel,
        data=data,
        created_at=rfc3339(done.at),
    )


@app.route("GET /v1/customers/{id}/vouchers")
def list_customer_vouchers(call: Call) -> Reply[WalletAnswer]:
    customer, status = call.path["id"], call.query.get("status")
    if not CUSTOMER.fullmatch(customer):
        raise Refusal("not_found")
    if status not in (None, *STATUSES):
        refuse_fields([("query.status", f"one of {', '.join(STATUSES)}")])
    cursor = call.query.get("cursor")
    found, next_cursor = wallet.page(customer, status, call.limit(), cursor, call.by, call.now)
    return ok(WalletAnswer(data=[_held(each, call.now) for each in found], next_cursor=next_cursor))


@app.route("POST /v1/transfers")
def create_transfer(request: TransferRequest, call: Call) -> Reply[TransferAnswer]:
    done = transfers.offer(request.serial, request.customer, call.key, call.by, call.now)
    answer = TransferAnswer(
        id=done.transfer.id,
        serial=done.serial,
        token=done.token,
        created_at=rfc3339(done.transfer.at),
        expires_at=rfc3339(done.transfer.expires_at),
    )
    return created(answer, replayed=done.replayed)


@app.route("POST /v1/transfers/{id}/acceptances")
def create_acceptance(request: AcceptanceRequest, call: Call) -> Reply[AcceptanceAnswer]:
    done = transfers.accept(call.path["id"], request.token, request.customer, call.key, call.by, call.now)
    assert done.code is not None, "it was accepted"
    answer = AcceptanceAnswer(
        transfer=done.transfer.id,
        serial=done.voucher.serial,
        code=done.code,
        balance_minor=done.end.balance_minor,
        currency=done.voucher.currency,
        valid_until=rfc3339(done.end.valid_until) if done.end.valid_until is not None else None,
        created_at=rfc3339(done.end.at),
    )
    return created(answer, replayed=done.replayed)


@app.route("POST /v1/transfers/{id}/returns")
def create_return(request: ReturnRequest, call: Call) -> Reply[ReturnAnswer]:
    done = transfers.give_back(call.path["id"], request.customer, request.token, call.key, call.by, call.now)
    answer = ReturnAnswer(transfer=done.transfer.id, serial=done.voucher.serial, created_at=rfc3339(done.end.at))
    return created(answer, replayed=done.replayed)


def _held(each: wallet.Held, now: int) -> HeldVoucher:
    at, rules = each.standing, each.lot.rules
    offer = at.voucher.offer(now)
    return HeldVoucher.model_validate(
        {
            "serial": at.voucher.serial,
            "campaign": rules.campaign,
            "status": at.status,
            "redeemable": at.redeemable,
            "face_value": {"amount_minor": rules.amount_minor, "currency": rules.currency},
            "balance_minor": at.voucher.balance_minor,
            "currency": at.voucher.currency,
            "valid_until": rfc3339(at.valid_until) if at.valid_until is not None else None,
            "transfer": OfferAnswer(id=offer.id, expires_at=rfc3339(offer.expires_at)) if offer is not None else None,
        }
    )


def _ordered(command: Command, answer: A, call: Call, path: str) -> Reply[A]:
    """201 where the order is done, 202 where it goes on as a job."""
    reply = created if command.status == "completed" else accepted
    return reply(answer, replayed=command.by.request != call.by.request, location=f"/v1/{path}/{command.id}")


def _channel(channel: Channel) -> ChannelAnswer:
    return ChannelAnswer.model_validate(
        {
            "id": channel.id,
            "kind": channel.kind,
            "name": channel.name,
            "region": channel.region,
            "tenant": channel.tenant,
            "created_at": rfc3339(channel.created_at),
        }
    )


def _order(command: Command) -> dict[str, Any]:
    """What the answers of all orders share."""
    return {
        "id": command.id,
        "status": command.status,
        "skipped": Skipped(count=sum(command.skipped.values()), by_reason=command.skipped),
        "progress": Progress(lots_done=command.lots_done, lots=command.lots),
        "created_at": rfc3339(command.created_at),
        "completed_at": rfc3339(command.completed_at) if command.completed_at is not None else None,
    }


def _sale(sale: SaleRequest | None) -> Sale | None:
    return Sale(sale.price.amount_minor, sale.price.currency, sale.shop) if sale is not None else None


def _lines(request: Any, command: Command) -> list[LineAnswer] | None:
    """What came of each line, where the order is a file."""
    if not isinstance(request, File):
        return None
    found = files.outcomes(request.content, command)
    return [LineAnswer.model_validate({"line": o.line, "status": o.status, "detail": o.detail}) for o in found]


def _activation(command: Command, lines: list[LineAnswer] | None = None) -> ActivationAnswer:
    sale = command.sale
    sold = (
        {"price": {"amount_minor": sale.amount_minor, "currency": sale.currency}, "shop": sale.shop} if sale else None
    )
    return ActivationAnswer.model_validate(
        {**_order(command), "sale": sold, "activated": command.changed, "lines": lines}
    )


def _distribution(command: Command, lines: list[LineAnswer] | None = None) -> DistributionAnswer:
    own = {"to": command.to, "source": command.source, "quantity": command.quantity}
    return DistributionAnswer.model_validate({**_order(command), **own, "distributed": command.changed, "lines": lines})


def _extension(command: Command) -> ExtensionAnswer:
    valid_until = rfc3339(command.valid_until) if command.valid_until is not None else None
    own = {"valid_until": valid_until, "days": command.days}
    return ExtensionAnswer.model_validate({**_order(command), **own, "extended": command.changed})


def handle(event: Event, context: Any) -> Response:
    return batch.take(event, context, service.proceed) if "Records" in event else app(event, context)
