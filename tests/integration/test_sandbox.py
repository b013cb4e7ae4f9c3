"""The sandbox: all works there as elsewhere, nothing of it leaves, and neither world can use the other's cards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.events.models import EventsBackend

from functions.authorize import clients
from functions.domain.actor import SANDBOX
from functions.domain.errors import Refusal
from functions.domain.serials import LOT_SIZE
from functions.edge import clock
from functions.store import keys, table, vault
from functions.store.entities import LOT
from infra.local.gateway import Answer
from tests.integration.kami import (
    Caller,
    Json,
    Kami,
    Voucher,
    claim,
    granted,
    mobile,
    position,
    refused,
    unique,
    visible,
)

Use = Callable[[Caller, str], Answer]


def account(number: str) -> Json:
    return {"type": "mobile", "number": number}


USES: dict[str, Use] = {
    "verify": lambda caller, code: caller.verify(code),
    "redeem": lambda caller, code: caller.redeem(code),
    "hold": lambda caller, code: caller.post("/v1/holds", {"code": code, "account": account(mobile())}, unique()),
    "claim": lambda caller, code: caller.post("/v1/claims", {"code": code, "customer": unique("customer")}, unique()),
}
"""All that takes a code."""


@dataclass(frozen=True)
class Sandbox:
    """A till and a partner in each world; a live and a sandbox campaign with a batch each, active."""

    kami: Kami
    till: Caller
    partner: Caller
    live_partner: Caller

    def voucher(self, **changes: Any) -> Voucher:
        return self.kami.voucher(sandbox=True, **changes)


@pytest.fixture(scope="module")
def sandbox(kami: Kami) -> Sandbox:
    till, partner = kami.client("merchant", sandbox=True), kami.client("partner", tenant="acme", sandbox=True)
    return Sandbox(kami, till, partner, kami.client("partner", tenant="acme"))


@contextmanager
def on_the_bus() -> Iterator[list[Json]]:
    """The details of the events that are published within the block."""
    told: list[Json] = []
    put_events = EventsBackend.put_events

    def put(self: EventsBackend, events: list[Json]) -> Any:
        told.extend(json.loads(event["Detail"]) for event in events)
        return put_events(self, events)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventsBackend, "put_events", put)
        yield told


# Neither world's codes are worth anything in the other


@pytest.mark.parametrize("use", USES)
def test_a_live_client_is_told_of_a_sandbox_code_what_it_is_told_of_none(sandbox: Sandbox, use: str) -> None:
    kami, card = sandbox.kami, sandbox.voucher()
    before = kami.items("GUARD#")
    callers = [kami.merchant, kami.operator, sandbox.live_partner]
    for caller in callers if use != "claim" else callers[1:]:
        answer = USES[use](caller, card.code)
        refused(answer, 404, "voucher_not_redeemable")
        assert visible(answer) == visible(USES[use](caller, "77ZZ-GUES-SED0-C0DE"))
    assert kami.items("GUARD#") == before


@pytest.mark.parametrize("use", USES)
def test_a_sandbox_client_is_told_of_a_live_code_what_it_is_told_of_none(sandbox: Sandbox, use: str) -> None:
    kami, card = sandbox.kami, sandbox.kami.voucher()
    before = kami.items("GUARD#")
    callers = [sandbox.till, sandbox.partner]
    for caller in callers if use != "claim" else callers[1:]:
        answer = USES[use](caller, card.code)
        refused(answer, 404, "voucher_not_redeemable")
        assert visible(answer) == visible(USES[use](caller, "77ZZ-GUES-SED0-C0DE"))
    assert kami.items("GUARD#") == before


def test_guesses_from_the_sandbox_open_no_breaker_of_a_live_lot(sandbox: Sandbox) -> None:
    card = sandbox.kami.voucher()
    for _ in range(3):
        sandbox.till.verify(card.code[:-1] + "0")
    breaker = f"GUARD#lot#{keys.guard('lot', str(position(card) // LOT_SIZE), 0).pk.split('#')[2]}#"
    assert not [pk for pk, _ in sandbox.kami.items() if pk.startswith(breaker)]
    sandbox.kami.merchant.verify(card.code[:-1] + ("0" if card.code[-1] != "0" else "1"))
    assert [pk for pk, _ in sandbox.kami.items() if pk.startswith(breaker)]


def test_a_qr_code_of_the_sandbox_is_worth_nothing_at_a_live_till(sandbox: Sandbox) -> None:
    card = claim(sandbox.kami, sandbox.voucher(redemption="balance"), "member-1", sandbox.partner)
    shown = sandbox.partner.get(f"/v1/vouchers/{card.serial}/qr?customer=member-1", accept="application/json")
    payload = granted(shown)["payload"]
    refused(sandbox.kami.merchant.redeem(payload, amount_minor=1), 404, "voucher_not_redeemable")
    granted(sandbox.till.redeem(payload, amount_minor=1), 201)


def test_a_campaign_is_drawn_from_in_its_own_world_only(sandbox: Sandbox) -> None:
    kami = sandbox.kami
    campaigns = {of: kami.campaign(sandbox=of)["id"] for of in (False, True)}
    for campaign in campaigns.values():
        kami.batch(campaign, 2)
    app = kami.client("customer", sandbox=True)
    for caller, other in ((kami.operator, campaigns[True]), (app, campaigns[False])):
        body = {"customer": "member-1"}
        answer = caller.post("/v1/claims", {**body, "campaign": other}, unique())
        none = caller.post("/v1/claims", {**body, "campaign": "cmp_none"}, unique())
        assert refused(answer, 404, "not_found")["detail"].replace(other, "cmp_none") == none.json()["detail"]
    order = {"campaign": campaigns[True], "quantity": 1, "buyer": "order-1"}
    refused(kami.operator.post("/v1/dispenses", order, unique()), 404, "not_found")
    granted(app.post("/v1/claims", {"customer": "member-1", "campaign": campaigns[True]}, unique()), 201)


def test_a_partner_has_other_customers_channels_and_stock_in_each_world(sandbox: Sandbox) -> None:
    kami, customer = sandbox.kami, unique("member")
    own = {caller.tenant: kami.channel(kind="partner", tenant=caller.tenant)["id"]
           for caller in (sandbox.partner, sandbox.live_partner)}  # fmt: skip
    assert list(own) == ["sandbox-acme", "acme"]
    tried = claim(kami, sandbox.voucher(), customer, sandbox.partner)
    real = claim(kami, kami.voucher(), customer, sandbox.live_partner)
    for caller, card in ((sandbox.partner, tried), (sandbox.live_partner, real)):
        held = granted(caller.get(f"/v1/customers/{customer}/vouchers"))["data"]
        assert [line["serial"] for line in held] == [card.serial]
        seen = granted(caller.get("/v1/channels"))["data"]
        assert own[caller.tenant] in [line["id"] for line in seen]
        assert {line["tenant"] for line in seen} == {caller.tenant}
    for caller, card in ((sandbox.partner, real), (sandbox.live_partner, tried)):
        order = {"serial": card.serial, "customer": customer}
        refused(caller.post("/v1/transfers", order, unique()), 404, "not_found")


# Stock


def test_stock_of_the_sandbox_goes_to_its_channels_and_other_stock_to_others(sandbox: Sandbox) -> None:
    kami = sandbox.kami
    channels = {True: kami.channel(kind="partner", tenant=sandbox.partner.tenant)["id"], False: kami.channel()["id"]}
    for of in (True, False):
        batch = kami.batch(kami.campaign(sandbox=of)["id"], 4)
        wrong, right = channels[not of], channels[of]
        made = kami.distribute(to=wrong, batch=batch["id"])
        assert (made["distributed"], made["skipped"]) == (0, {"count": 4, "by_reason": {"sandbox": 4}})
        order = {"batch": batch["id"], "quantity": 1, "to": wrong}
        refused(kami.operator.post("/v1/distributions", order), 409, "quantity_exceeded")
        assert granted(kami.operator.post("/v1/distributions", {**order, "to": right}), 201)["distributed"] == 1
        assert kami.distribute(to=right, batch=batch["id"])["distributed"] == 3


def test_what_is_sold_in_one_world_is_not_of_the_other(sandbox: Sandbox) -> None:
    kami, sale = sandbox.kami, {"price": {"amount_minor": 4_800, "currency": "CNY"}, "shop": "shop-12"}
    channel = kami.channel(kind="partner", tenant=sandbox.partner.tenant)["id"]
    batch = kami.batch(kami.campaign(sandbox=True)["id"], 4)
    kami.distribute(to=channel, batch=batch["id"])
    ends = {"first_serial": batch["first_serial"], "last_serial": batch["last_serial"]}
    made = granted(kami.operator.post("/v1/activations", {"selection": ends, "sale": sale}), 201)
    assert (made["activated"], made["skipped"]["by_reason"]) == (0, {"sandbox": 4})
    kami.cloud.drain()
    with on_the_bus() as told:
        made = granted(sandbox.partner.post("/v1/activations", {"selection": ends, "sale": sale}), 201)
        kami.cloud.drain()
    assert made["activated"] == 4
    (completed,) = [event for event in told if event["type"] == "activation.completed"]
    assert completed["sandbox"] is True
    assert completed["data"]["sale"]


def test_bought_codes_are_never_of_the_sandbox(kami: Kami) -> None:
    body = {"name": "n", "kind": "coupon", "face_value": {"amount_minor": 1, "currency": "CNY"},
            "redemption": "single", "valid_until": "2035-12-31T23:59:59Z", "code_format": "imported",
            "sandbox": True}  # fmt: skip
    errors = refused(kami.operator.post("/v1/campaigns", body), 400, "invalid_request")["errors"]
    assert [error["field"] for error in errors] == ["sandbox"]


# What is told of it


def test_all_that_is_told_of_the_sandbox_says_so_and_no_sms_leaves(sandbox: Sandbox) -> None:
    kami, number = sandbox.kami, mobile()
    kami.cloud.drain()
    with on_the_bus() as told:
        card = kami.batch(kami.campaign(sandbox=True, redemption="balance")["id"], 2)
        kami.activate(batch=card["id"])
        (code,) = kami.codes([card["first_serial"]])
        claim(kami, Voucher(card["first_serial"], code), number, sandbox.partner)
        used = granted(sandbox.till.redeem(code, amount_minor=100, account=number), 201)
        granted(kami.operator.reverse(used["id"]), 201)  # who is of neither world
        kami.cloud.drain()
    types = {"batch.completed", "lot.generated", "lot.activated", "voucher.revealed", "voucher.claimed"}
    assert types | {"voucher.redeemed", "voucher.reversed"} <= {event["type"] for event in told}
    orders = ("activation.", "recovery.")  # of the operator's staff, and about what they name
    assert {event["type"] for event in told if not event.get("sandbox")} <= {
        "activation.requested", "activation.completed"}  # fmt: skip
    assert all(event["sandbox"] is True for event in told if not event["type"].startswith(orders))
    messages = granted(kami.operator.get(f"/v1/messages?recipient=%2B{number[1:]}"))["data"]
    assert [(m["event"], m["status"], m["sandbox"], m["attempts"]) for m in messages] == [
        (event, "suppressed", True, []) for event in ("voucher.reversed", "voucher.redeemed")]  # fmt: skip
    assert kami.cloud.carriers.phone(number) == []
    assert granted(kami.operator.get(f"/v1/vouchers/{card['first_serial']}"))["sandbox"] is True
    assert granted(sandbox.till.verify(code))["sandbox"] is True


def test_an_event_of_the_sandbox_that_comes_twice_is_one_message(sandbox: Sandbox) -> None:
    kami, number = sandbox.kami, mobile()
    with on_the_bus() as told:
        granted(sandbox.till.redeem(sandbox.voucher().code, account=number), 201)
        kami.cloud.drain()
    (event,) = [event for event in told if event["type"] == "voucher.redeemed"]
    records = [{"messageId": str(n), "body": json.dumps(event), "eventSourceARN": "arn"} for n in range(2)]
    assert kami.cloud.invoke("notify", {"Records": records}) == {"batchItemFailures": []}
    (message,) = granted(kami.operator.get(f"/v1/messages?recipient=%2B{number[1:]}"))["data"]
    assert (message["status"], message["reason"]) == ("suppressed", "sandbox")
    assert kami.cloud.carriers.phone(number) == []


def test_live_vouchers_are_told_of_as_ever(kami: Kami) -> None:
    number, card = mobile(), kami.voucher()
    with on_the_bus() as told:
        granted(kami.merchant.redeem(card.code, account=number), 201)
        kami.cloud.drain()
    assert told
    assert not any("sandbox" in event for event in told)
    assert len(kami.cloud.carriers.phone(number)) == 1
    assert granted(kami.operator.get(f"/v1/vouchers/{card.serial}"))["sandbox"] is False


# Keys and clients


def test_the_sandbox_has_a_key_of_its_own(sandbox: Sandbox) -> None:
    kami = sandbox.kami
    with kami.cloud.environment("redeem"):
        for of, card in ((True, sandbox.voucher()), (False, kami.voucher())):
            lot = table.read(LOT, keys.lot(position(card) // LOT_SIZE))
            assert lot is not None
            part = lot.part(position(card) % LOT_SIZE)
            assert part is not None
            assert len(vault.unwrap(part.wrapped_key, part.batch, sandbox=of)) == 32
            with pytest.raises(ClientError, match=r"IncorrectKey|AccessDenied"):  # though the cache has it
                vault.unwrap(part.wrapped_key, part.batch, sandbox=not of)


def test_no_live_client_gets_a_tenant_of_the_sandbox_and_no_client_there_another(kami: Kami) -> None:
    own = f"{SANDBOX}acme"
    with kami.cloud.environment("authorize"):
        for role, tenant, of in (("partner", own, False), ("operator", None, True), ("support", "acme", True)):
            with pytest.raises(Refusal, match="invalid_request"):
                clients.create("x", role, clock.now(), tenant, sandbox=of)
        made = [clients.create("x", "merchant", clock.now(), tenant, sandbox=True)[0] for tenant in ("acme", own)]
        alone, _ = clients.create("x", "customer", clock.now(), sandbox=True)
    assert [client.tenant for client in made] == [own] * 2
    assert alone.tenant == SANDBOX + alone.client_id
    assert alone.is_sandbox
