"""Webhooks, from the write of a voucher to a partner's own server, which does as it is told here."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import threading
import time
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, NamedTuple

import pytest

from functions.domain.times import rfc3339
from functions.domain.webhook import RETRY_AFTER_MAX_S, STRIKES_MAX, TOLD
from functions.store import table
from functions.webhooks import sending, service
from infra.local.template import ROOT
from tests.integration.conftest import Clock, Log
from tests.integration.kami import POOL, Caller, Json, Kami, claim, granted, mobile, refused, replayed, settle, unique

ALL = list(TOLD)
REDEEMED: Json = json.loads((ROOT / "events/bus/voucher.redeemed.json").read_text())["detail"]


@dataclass(frozen=True)
class Got:
    """A request that came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def told(self) -> Json:
        told: Json = json.loads(self.body)
        return told

    def is_signed_by(self, *secrets: str) -> bool:
        """By these and no others, as whoever follows Standard Webhooks would check it."""
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        keys = [b64decode(secret.removeprefix("whsec_")) for secret in secrets]
        wanted = ["v1," + b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
        return self.headers["webhook-signature"].split(" ") == wanted


@dataclass
class Partner:
    """Servers by path: what came, and what each answers: the next of a list of statuses, whose last one stays."""

    port: int = 0
    got: dict[str, list[Got]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[str, list[int]] = field(default_factory=dict)
    after_s: dict[str, float] = field(default_factory=dict)
    retry_after: dict[str, str] = field(default_factory=dict)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def answer(self, name: str) -> int:
        plan = self.answers.get(name, [204])
        return plan.pop(0) if len(plan) > 1 else plan[0]


class Handler(BaseHTTPRequestHandler):
    partner: ClassVar[Partner]

    def do_POST(self) -> None:
        name = self.path.removeprefix("/")
        body = self.rfile.read(int(self.headers["content-length"]))
        self.partner.got[name].append(Got({k.lower(): v for k, v in self.headers.items()}, body))
        time.sleep(self.partner.after_s.get(name, 0))
        status = self.partner.answer(name)
        content = b"x" * 1_000_000 if name.startswith("huge") else b""
        try:
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", self.partner.url("elsewhere"))
            if status >= 400 and name in self.partner.retry_after:
                self.send_header("retry-after", self.partner.retry_after[name])
            if status != 204:
                self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            return  # the other side has heard enough

    def log_message(self, format: str, *values: Any) -> None:
        pass


@pytest.fixture(scope="module")
def servers() -> Iterator[Partner]:
    partner = Partner()
    handler = type("Bound", (Handler,), {"partner": partner})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        partner.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield partner
        server.shutdown()
    thread.join()


class Stock(NamedTuple):
    """Cards of a partner's: one by its serial, and the codes of others."""

    serial: str
    codes: list[str]


NOTHING = Stock("", [])


@dataclass
class Desk:
    """A partner with an endpoint of its own, and vouchers that its channel holds."""

    kami: Kami
    servers: Partner
    owner: Caller
    name: str
    endpoint: Json
    stock: Stock

    @property
    def path(self) -> str:
        return f"/v1/webhooks/{self.endpoint['id']}"

    @property
    def secret(self) -> str:
        return str(self.endpoint["secret"])

    @property
    def got(self) -> list[Got]:
        return self.servers.got[self.name]

    @property
    def deliveries(self) -> list[Json]:
        data: list[Json] = granted(self.owner.get(f"{self.path}/deliveries"))["data"]
        return data

    @property
    def delivery(self) -> Json:
        (only,) = self.deliveries
        return only

    def redeem(self, times: int = 1) -> list[Json]:
        """Redemptions of cards of the partner's, told to nobody yet."""
        till = self.owner if self.owner.tenant.startswith("sandbox-") else self.kami.merchant
        return [granted(till.redeem(self.stock.codes.pop(), account=mobile()), 201) for _ in range(times)]

    def happen(self, times: int = 1) -> None:
        """Redemptions of a card of the partner's, as the bus hands them to webhooks: what comes before costs time."""
        by = {**REDEEMED["by"], "role": "merchant", "tenant": self.kami.merchant.tenant}
        for _ in range(times):
            event = {**REDEEMED, "id": unique(), "by": by, "data": {**REDEEMED["data"], "serial": self.stock.serial}}
            self.kami.cloud.client("sqs").send_message(QueueUrl=self.queue_url, MessageBody=json.dumps(event))

    @property
    def queue_url(self) -> str:
        """Of webhooks."""
        return next(source.queue_url for source in self.kami.cloud.stack.sources if source.function == "webhooks")


def held(kami: Kami, tenant: str, quantity: int) -> Stock:
    """Cards that a partner's channel holds."""
    batch = kami.batch(kami.campaign(sandbox=tenant.startswith("sandbox-"))["id"], quantity)["id"]
    channel = kami.channel(kind="partner", tenant=tenant)["id"]
    granted(kami.operator.post("/v1/distributions", {"selection": {"batch": batch}, "to": channel}), 201)
    kami.activate(batch=batch)
    serials = kami.serials(batch)
    return Stock(serials[0], kami.codes(serials)[1:])


def desk(kami: Kami, servers: Partner, owner: Caller, stock: Stock = NOTHING, events: list[str] | None = None) -> Desk:
    name = unique("partner")
    body = {"url": servers.url(name), "events": events or ["voucher.redeemed"]}
    return Desk(kami, servers, owner, name, granted(owner.post("/v1/webhooks", body, unique()), 201), stock)


@pytest.fixture(scope="module")
def stocked(kami: Kami) -> tuple[Caller, Stock]:
    """A partner with stock, made once; each test gives it an endpoint of its own."""
    owner = kami.client("partner")
    return owner, held(kami, owner.tenant, POOL)


@pytest.fixture
def partner(kami: Kami, servers: Partner, stocked: tuple[Caller, Stock]) -> Iterator[Desk]:
    made = desk(kami, servers, *stocked)
    yield made
    made.owner.delete(made.path)
    kami.cloud.drain(delayed=False)


# Endpoints


def test_a_secret_is_told_once_and_kept_wrapped(partner: Desk) -> None:
    owner, body = partner.owner, {"url": partner.servers.url("x"), "events": ["voucher.redeemed", "message.ended"]}
    key = unique()
    first, again = (owner.post("/v1/webhooks", body, key) for _ in range(2))
    made = granted(first, 201)
    assert len(b64decode(made["secret"].removeprefix("whsec_"))) == 32
    assert (made["status"], made["events"], made["secrets"]) == ("enabled", ["message.ended", "voucher.redeemed"], 1)
    assert replayed(again) and "secret" not in granted(again, 201)
    refused(owner.post("/v1/webhooks", {**body, "url": partner.servers.url("y")}, key), 422, "idempotency_key_reused")
    read = granted(owner.get(f"/v1/webhooks/{made['id']}"))
    assert read == {name: value for name, value in made.items() if name != "secret"}
    listed = [line["id"] for line in granted(owner.get("/v1/webhooks"))["data"]]
    assert set(listed) == {made["id"], partner.endpoint["id"]}
    kept = json.dumps(list(partner.kami.items().values()), default=repr)
    raw = b64decode(made["secret"].removeprefix("whsec_"))
    assert made["secret"][6:] not in kept and repr(raw)[2:-1] not in kept
    owner.delete(f"/v1/webhooks/{made['id']}")


def test_an_endpoint_is_its_tenants_alone(kami: Kami, partner: Desk) -> None:
    colleague = kami.client("partner", tenant=partner.owner.tenant)
    granted(colleague.get(partner.path))
    for stranger in (kami.client("partner"), kami.merchant, kami.operator):
        for path in ("", "/deliveries"):
            refused(stranger.get(partner.path + path), 404, "not_found")
        for path, body in (("/rotations", {}), ("/tests", None), ("/deliveries/whd_x/replays", None)):
            refused(stranger.post(partner.path + path, body, unique()), 404, "not_found")
        refused(stranger.delete(partner.path), 404, "not_found")
        assert partner.endpoint["id"] not in str(granted(stranger.get("/v1/webhooks")))


def test_a_tenant_has_so_many_endpoints_and_no_more(
    kami: Kami, servers: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "WEBHOOKS_MAX", 3)
    owner = kami.client("merchant")
    body = {"url": servers.url("many"), "events": ["voucher.redeemed"]}
    made = [granted(owner.post("/v1/webhooks", body, unique()), 201)["id"] for _ in range(3)]
    refused(owner.post("/v1/webhooks", body, unique()), 409, "webhook_limit_reached")
    assert owner.delete(f"/v1/webhooks/{made[0]}").status == 204
    refused(owner.get(f"/v1/webhooks/{made[0]}"), 404, "not_found")
    granted(owner.post("/v1/webhooks", body, unique()), 201)


def test_in_the_cloud_an_endpoint_is_of_https_and_nothing_is_sent_to_where_it_came_from(
    kami: Kami, partner: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(kami.cloud.stack.functions["webhooks"].environment, service.WEBHOOK_LOOPBACK)
    for url in ("http://acme.example/", "https://acme.example:22/", partner.endpoint["url"]):
        body = {"url": url, "events": ["voucher.redeemed"]}
        document = refused(partner.owner.post("/v1/webhooks", body, unique()), 400, "invalid_request")
        assert document["errors"][0]["field"] == "url"
    body = {"url": "https://127.0.0.1/", "events": ["voucher.redeemed"]}
    id = granted(partner.owner.post("/v1/webhooks", body, unique()), 201)["id"]
    for path in (f"/v1/webhooks/{id}", partner.path):  # the other was made under other rules
        tested = granted(partner.owner.post(f"{path}/tests", None, unique()), 201)
        assert [attempt["reason"] for attempt in tested["attempts"]] == ["address_refused"]
    assert partner.got == []
    partner.owner.delete(f"/v1/webhooks/{id}")


# What is told, and to whom


def test_a_redemption_is_told_signed_to_the_partner_whose_channel_held_the_card(kami: Kami, partner: Desk) -> None:
    (redemption,) = partner.redeem()
    kami.cloud.drain(delayed=False)
    (got,) = partner.got
    assert got.is_signed_by(partner.secret)
    assert got.headers["content-type"] == "application/json"
    told = got.told
    assert (told["type"], told["data"]["redemption"]["id"]) == ("voucher.redeemed", redemption["id"])
    assert told["data"].keys() == {"serial", "redemption"}
    assert kami.merchant.client_id not in got.body.decode(), "who did it is another tenant's business"
    delivery = partner.delivery
    assert (delivery["id"], delivery["status"], delivery["attempts_made"]) == (got.id, "delivered", 1)
    (attempt,) = delivery["attempts"]
    assert attempt["status_code"] == 204 and attempt["duration_ms"] >= 0 and "reason" not in attempt


def test_who_redeemed_and_the_operator_are_told_and_nobody_else(kami: Kami, servers: Partner, partner: Desk) -> None:
    desks = [desk(kami, servers, owner) for owner in (kami.merchant, kami.operator, kami.client("partner"))]
    partner.redeem()
    kami.cloud.drain(delayed=False)
    assert [len(each.got) for each in (partner, *desks)] == [1, 1, 1, 0]
    assert len({each.got[0].id for each in (partner, *desks[:2])}) == 3
    for each in desks:
        each.owner.delete(each.path)


def test_what_is_of_the_sandbox_is_told_to_endpoints_of_the_sandbox_alone(
    kami: Kami, servers: Partner, partner: Desk
) -> None:
    owner = kami.client("partner", sandbox=True)
    sandbox, operator = desk(kami, servers, owner, held(kami, owner.tenant, 2)), desk(kami, servers, kami.operator)
    sandbox.redeem()
    kami.cloud.drain(delayed=False)
    assert [len(each.got) for each in (sandbox, operator, partner)] == [1, 0, 0]
    partner.redeem()
    kami.cloud.drain(delayed=False)
    assert [len(each.got) for each in (sandbox, operator, partner)] == [1, 1, 1]
    for each in (sandbox, operator):
        each.owner.delete(each.path)


def test_recoveries_and_reversals_are_told_where_they_are_wanted_and_the_ends_of_messages_to_who_may_see_them(
    kami: Kami, servers: Partner, stocked: tuple[Caller, Stock]
) -> None:
    partner, till, stranger = (
        desk(kami, servers, owner, stock, ALL)
        for owner, stock in (stocked, (kami.merchant, NOTHING), (kami.client("merchant"), NOTHING))
    )
    kami.cloud.carriers.set("north", "none", receipts="prompt")
    (redemption,) = partner.redeem()
    granted(kami.operator.reverse(redemption["id"]), 201)
    order = {**kami.recovery("void", serials=[redemption["serial"]]), "reason": "stolen"}
    granted(partner.owner.post("/v1/recoveries", order), 202)
    kami.cloud.drain()
    kami.cloud.carriers.reset()

    def types(each: Desk) -> set[str]:
        return {got.told["type"] for got in each.got}

    used = {"voucher.redeemed", "voucher.reversed"}
    assert types(partner) == used | {"voucher.voided", "recovery.completed"}
    assert types(till) == used | {"message.ended"}, "who redeemed, though the operator reversed"
    ended = [got.told["data"] for got in till.got if got.told["type"] == "message.ended"]
    assert {(end["event"], end["status"]) for end in ended} == {(event, "delivered") for event in used}
    for end in ended:
        assert end.keys() == {"id", "serial", "event", "redemption", "status"}
        assert (end["serial"], end["redemption"]) == (redemption["serial"], redemption["id"])
        granted(till.owner.get(f"/v1/messages/{end['id']}"))
    assert stranger.got == []
    for each in (partner, till, stranger):
        each.owner.delete(each.path)


def test_the_end_of_a_customers_message_is_told_to_the_tenant_whose_customer_it_is(
    kami: Kami, servers: Partner, stocked: tuple[Caller, Stock]
) -> None:
    shop, seller = (
        desk(kami, servers, stocked[0], events=["message.ended"]),
        kami.client("customer", tenant=stocked[0].tenant),
    )
    number = mobile()
    card = claim(kami, kami.voucher(), number, seller)
    granted(kami.operator.redeem(card.code, account=number), 201)
    kami.cloud.carriers.set("north", "none", receipts="prompt")
    kami.cloud.drain()
    kami.cloud.carriers.reset()
    (got,) = shop.got
    assert got.told["data"]["serial"] == card.serial and "redemption" in got.told["data"]
    assert number not in got.body.decode() and seller.client_id not in got.body.decode()
    shop.owner.delete(shop.path)


def test_each_partner_is_told_what_of_a_recalled_range_its_channels_hold(kami: Kami, servers: Partner) -> None:
    wanted = ["lot.recalled", "lot.resumed", "lot.reclaimed"]
    one, other, operator = (
        desk(kami, servers, owner, events=wanted)
        for owner in (kami.client("partner"), kami.client("partner"), kami.operator)
    )
    batch = kami.batch(kami.campaign()["id"], 10)["id"]
    serials = kami.serials(batch)
    for each, ends in ((one, (0, 3)), (other, (4, 6)), (one, (7, 7))):
        channel = kami.channel(kind="partner", tenant=each.owner.tenant)["id"]
        part = {"first_serial": serials[ends[0]], "last_serial": serials[ends[1]]}
        granted(kami.operator.post("/v1/distributions", {"selection": part, "to": channel}), 201)
    stop = granted(kami.operator.post("/v1/recoveries", kami.recovery("suspend", batch=batch)), 202)["id"]
    settle(kami)
    resume = {"action": "resume", "reason": "other", "recovery": stop}
    granted(kami.operator.post("/v1/recoveries", resume), 202)
    settle(kami)
    granted(kami.operator.post("/v1/recoveries", kami.recovery("reclaim", batch=batch)), 202)
    settle(kami)
    wanted.insert(2, "lot.recalled")

    def told(each: Desk) -> list[tuple[str, list[list[str]]]]:
        return [(got.told["type"], got.told["data"]["serials"]) for got in each.got]

    parts = [[serials[0], serials[3]], [serials[7], serials[7]]]
    assert told(one) == [(type, parts) for type in wanted]
    assert told(other) == [(type, [[serials[4], serials[6]]]) for type in wanted]
    assert told(operator) == [(type, [[serials[0], serials[9]]]) for type in wanted]
    assert one.got[0].told["data"].keys() == {"recovery", "action", "scope", "serials"}
    for each in (one, other, operator):
        each.owner.delete(each.path)


# Again


def test_the_same_event_again_is_sent_under_the_same_id_once(kami: Kami, partner: Desk) -> None:
    partner.redeem()
    kami.cloud.drain(twice=True, shuffle=1, delayed=False)
    assert len(partner.got) == 1
    assert len(partner.deliveries) == 1


def test_what_fails_is_sent_again_under_the_same_id_until_it_is_taken(kami: Kami, partner: Desk) -> None:
    partner.servers.answers[partner.name] = [500, 503, 404, 200]
    partner.happen()
    kami.cloud.drain()
    assert len(partner.got) == 4 and len({got.id for got in partner.got}) == 1
    assert all(got.is_signed_by(partner.secret) for got in partner.got)
    delivery = partner.delivery
    assert [attempt["status_code"] for attempt in delivery["attempts"]] == [500, 503, 404, 200]
    assert [attempt.get("reason") for attempt in delivery["attempts"]] == [*["bad_status"] * 3, None]
    assert (delivery["status"], delivery["attempts_made"]) == ("delivered", 4)
    assert "failing_since" not in granted(partner.owner.get(partner.path))


@pytest.mark.parametrize(("asked", "waits_s"), [("120", 120), ("86400", RETRY_AFTER_MAX_S)])
def test_an_endpoint_that_asks_for_a_pause_gets_it_within_bounds(
    kami: Kami, partner: Desk, clock: Clock, asked: str, waits_s: int
) -> None:
    partner.servers.answers[partner.name] = [429, 204]
    partner.servers.retry_after[partner.name] = asked
    partner.happen()
    kami.cloud.drain(delayed=False)
    delivery = partner.delivery
    assert [attempt["retry_after_s"] for attempt in delivery["attempts"]] == [waits_s]
    assert delivery["next_attempt_at"] == rfc3339(clock.now + waits_s)
    partner.happen()
    kami.cloud.drain(delayed=False)
    clock.advance(waits_s - 1)
    for each in partner.deliveries:
        order = {"delivery": each["id"], "attempt": each["attempts_made"] + 1}
        records = [{"messageId": "1", "body": json.dumps(order)}]
        assert kami.cloud.invoke("webhooks", {"Records": records}) == {"batchItemFailures": []}
    assert len(partner.got) == 1, "what comes meanwhile waits too"
    clock.advance(1)
    kami.cloud.drain()
    assert [each["status"] for each in partner.deliveries] == ["delivered"] * 2


def test_a_worker_that_dies_before_it_has_noted_the_answer_sends_the_same_id_again(
    kami: Kami, partner: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = service._noted
    died: list[int] = []

    def dies_once(*given: Any) -> Any:
        if not died:
            died.append(1)
            raise RuntimeError("killed")
        return noted(*given)

    monkeypatch.setattr(service, "_noted", dies_once)
    partner.happen()
    kami.cloud.drain(delayed=False)
    assert len(partner.got) == 2 and len({got.id for got in partner.got}) == 1
    assert partner.delivery["status"] == "delivered"


def test_an_order_that_comes_again_makes_no_attempt_and_none_is_lost(kami: Kami, partner: Desk) -> None:
    partner.servers.answers[partner.name] = [500, 500, 200]
    partner.happen()
    kami.cloud.drain(twice=True)
    assert len(partner.got) == 3
    assert partner.delivery["status"] == "delivered"


@pytest.mark.parametrize(("name", "status", "reason"), [
    ("redirect", 302, "redirected"), ("huge", 200, None), ("slow", 204, "timed_out"), ("teapot", 418, "bad_status"),
])  # fmt: skip
def test_what_a_test_comes_to(
    kami: Kami, servers: Partner, monkeypatch: pytest.MonkeyPatch, name: str, status: int, reason: str | None
) -> None:
    monkeypatch.setattr(sending, "CALL_S", 0.3)
    owner, path = kami.client("merchant"), unique(name)
    servers.answers[path] = [status]
    servers.after_s[path] = 0.6 if name == "slow" else 0
    body = {"url": servers.url(path), "events": ["voucher.redeemed"]}
    id = granted(owner.post("/v1/webhooks", body, unique()), 201)["id"]
    key = unique()
    first, again = (owner.post(f"/v1/webhooks/{id}/tests", None, key) for _ in range(2))
    tested = granted(first, 201)
    (attempt,) = tested["attempts"]
    assert attempt.get("reason") == reason
    assert attempt.get("status_code") == (None if name == "slow" else status)
    assert (tested["type"], tested["status"]) == ("webhook.test", "failed" if reason else "delivered")
    assert replayed(again) and granted(again, 201) == tested
    assert len(servers.got[path]) == 1, "a test is one request"
    assert servers.got["elsewhere"] == [], "no redirect is followed"
    assert servers.got[path][0].told == {
        "type": "webhook.test", "timestamp": servers.got[path][0].told["timestamp"], "data": {"webhook": id},
    }  # fmt: skip


# Secrets


def test_while_a_secret_is_rotated_both_sign(kami: Kami, partner: Desk, clock: Clock) -> None:
    order, key = {"overlap_s": 3_600}, unique()
    first, again = (partner.owner.post(f"{partner.path}/rotations", order, key) for _ in range(2))
    rotated = granted(first, 201)
    assert rotated["secret"] != partner.secret and rotated["secrets"] == 2
    assert replayed(again) and "secret" not in granted(again, 201)
    refused(partner.owner.post(f"{partner.path}/rotations", {}, key), 422, "idempotency_key_reused")
    granted(partner.owner.post(f"{partner.path}/tests", None, unique()), 201)
    assert partner.got[-1].is_signed_by(rotated["secret"], partner.secret)
    clock.advance(3_600)
    granted(partner.owner.post(f"{partner.path}/tests", None, unique()), 201)
    assert partner.got[-1].is_signed_by(rotated["secret"])
    assert granted(partner.owner.get(partner.path))["secrets"] == 1
    last = granted(partner.owner.post(f"{partner.path}/rotations", {"overlap_s": 0}, unique()), 201)
    assert replayed(partner.owner.post(f"{partner.path}/rotations", order, key)), "though its secret is gone"
    granted(partner.owner.post(f"{partner.path}/tests", None, unique()), 201)
    assert partner.got[-1].is_signed_by(last["secret"])


# Replays


def test_a_replay_sends_the_same_under_the_same_id(kami: Kami, partner: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    partner.happen()
    kami.cloud.drain(delayed=False)
    path, key = f"{partner.path}/deliveries/{partner.delivery['id']}/replays", unique()
    first, again = (partner.owner.post(path, None, key) for _ in range(2))
    assert granted(first, 202)["status"] == "queued"
    assert replayed(again)
    kami.cloud.drain(delayed=False)
    assert len(partner.got) == 2
    assert partner.got[0].body == partner.got[1].body and partner.got[0].id == partner.got[1].id
    assert (partner.delivery["replays"], partner.delivery["attempts_made"]) == (1, 2)
    monkeypatch.setattr(service, "REPLAYS_MAX", 2)
    granted(partner.owner.post(path, None, unique()), 202)
    refused(partner.owner.post(path, None, unique()), 409, "replay_limit_reached")
    refused(partner.owner.post(f"{partner.path}/deliveries/whd_none/replays", None, unique()), 404, "not_found")


def test_a_delivery_that_expires_while_it_is_listed_is_left_out(partner: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        granted(partner.owner.post(f"{partner.path}/tests", None, unique()), 201)
    (kept, _), read = partner.deliveries, table.get_many
    monkeypatch.setattr(table, "get_many", lambda wanted: read(key for key in wanted if kept["id"] in key.pk))
    assert partner.deliveries == [kept]


# Endpoints in trouble


def test_an_endpoint_that_fails_keeps_nobody_waiting(kami: Kami, servers: Partner, partner: Desk) -> None:
    other = desk(kami, servers, kami.merchant)
    servers.answers[partner.name] = [500]
    partner.happen(times=STRIKES_MAX + 2)
    kami.cloud.drain(delayed=False)
    assert len(other.got) == STRIKES_MAX + 2
    assert len(partner.got) == STRIKES_MAX, "the others wait, without an attempt"
    servers.answers[partner.name] = [204]
    kami.cloud.drain()
    assert [delivery["status"] for delivery in partner.deliveries] == ["delivered"] * (STRIKES_MAX + 2)
    assert len(partner.got) == 2 * STRIKES_MAX + 2
    other.owner.delete(other.path)


def test_a_slow_endpoint_is_asked_once_in_a_while_only(
    kami: Kami, partner: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SLOW_MS", -1)
    partner.happen(times=STRIKES_MAX + 1)
    kami.cloud.drain(delayed=False)
    assert len(partner.got) == STRIKES_MAX
    monkeypatch.undo()
    kami.cloud.drain()
    assert len(partner.got) == STRIKES_MAX + 1


def test_an_endpoint_that_fails_for_days_is_disabled_until_a_test_succeeds(
    kami: Kami, partner: Desk, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setattr("functions.domain.webhook.DISABLED_AFTER_S", 100)
    partner.servers.answers[partner.name] = [500]
    partner.happen()
    kami.cloud.drain()
    endpoint = granted(partner.owner.get(partner.path))
    assert (endpoint["status"], endpoint["disabled_for"]) == ("disabled", "failing")
    assert [line["webhook"] for line in log.lines if line.get("alarm") == "webhook_disabled"] == [endpoint["id"]]
    assert (partner.delivery["status"], partner.delivery["reason"]) == ("failed", "endpoint_disabled")
    told = len(partner.got)
    partner.happen()
    kami.cloud.drain(delayed=False)
    assert len(partner.got) == told
    replay = f"{partner.path}/deliveries/{partner.delivery['id']}/replays"
    refused(partner.owner.post(replay, None, unique()), 409, "webhook_disabled")
    granted(partner.owner.post(f"{partner.path}/tests", None, unique()), 201)
    assert granted(partner.owner.get(partner.path))["status"] == "disabled"
    partner.servers.answers[partner.name] = [204]
    granted(partner.owner.post(f"{partner.path}/tests", None, unique()), 201)
    assert granted(partner.owner.get(partner.path))["status"] == "enabled"
    granted(partner.owner.post(replay, None, unique()), 202)
    kami.cloud.drain(delayed=False)
    assert len({got.id for got in partner.got if got.told["type"] == "voucher.redeemed"}) == 1


def test_an_endpoint_that_says_it_is_gone_is_disabled_at_once(kami: Kami, partner: Desk) -> None:
    partner.servers.answers[partner.name] = [410]
    for _ in range(2):
        partner.happen()
        kami.cloud.drain(delayed=False)
    assert len(partner.got) == 1
    assert granted(partner.owner.get(partner.path))["disabled_for"] == "gone"
    assert partner.delivery["reason"] == "gone", "of what happened since it is told nothing"


def test_what_is_never_taken_is_given_up_in_the_end(kami: Kami, partner: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.domain.webhook.LASTS_S", 900)  # not three days, which would be hundreds of rounds
    partner.servers.answers[partner.name] = [500]
    partner.happen()
    kami.cloud.drain()
    delivery = partner.delivery
    assert delivery["status"] == "failed" and delivery["reason"] in ("bad_status", "expired")
    assert 4 <= delivery["attempts_made"] == len(partner.got) <= 40


def test_of_a_deleted_endpoint_nothing_is_sent_any_more(
    kami: Kami, partner: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)  # its second attempt is not due before it is deleted
    partner.servers.answers[partner.name] = [500]
    partner.happen()
    kami.cloud.drain(delayed=False)
    assert len(partner.got) == 1
    assert partner.owner.delete(partner.path).status == 204
    kami.cloud.drain()
    partner.happen()
    kami.cloud.drain()
    assert len(partner.got) == 1
    refused(partner.owner.get(partner.path), 404, "not_found")


def test_an_order_of_the_queue_that_makes_no_sense_is_set_aside(kami: Kami) -> None:
    bodies = ["{}", '{"delivery": "whd_none", "attempt": 1}', '{"delivery": "x", "attempt": 0}', "null"]
    records = [{"messageId": str(place), "body": body} for place, body in enumerate(bodies)]
    failures = kami.cloud.invoke("webhooks", {"Records": records})["batchItemFailures"]
    assert len(failures) == len(bodies)
