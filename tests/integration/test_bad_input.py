"""Bad input at every endpoint: always a problem document that names what is wrong, never a 500, nothing written."""

from __future__ import annotations

import copy
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

import pytest

from functions.distribute.models import CUSTOMER
from functions.domain.actor import ROLES
from functions.domain.export import MANIFEST
from functions.domain.serials import LOT_SIZE
from functions.edge.http import BODY_BYTES_MAX, ID_LENGTH_MAX, IDEMPOTENCY_KEY_LENGTH_MAX
from functions.edge.routes import ROUTES, Key, Route
from functions.notify.providers import simulated
from infra.local.carriers import NAMES
from infra.local.gateway import PAYLOAD_MAX_BYTES, Answer
from infra.local.samples import RECIPIENT, inbox
from tests.integration.kami import CAMPAIGN, FORM, PROBLEM, Caller, Json, Kami, claim, granted, mobile, refused, unique

JSON: Final = "application/json"
KEY_BYTES_MAX: Final = 2_048
"""DynamoDB's limit for a partition key; moto does not keep it."""

BODIES: Final[dict[str, Json]] = {
    "POST /v1/campaigns": {
        **CAMPAIGN,
        "code_format": "crockford16",
        "code_prefix": "GZ26",
        "code_group": 8,
        "wrong_codes_per_lot_and_hour": 100,
        "quantity_max": 1_000_000,
        "locale": "en",
        "reversal_days": 1,
        "claims_per_customer": 1,
        "claims_max": 1_000,
        "tiers": ["gold"],
        "low_stock": 10,
        "recovery_rules": {
            "one_time_code": {"void_above": 1_000, "reveal_above": 10},
            "allow": [
                {
                    "roles": ["operator"],
                    "actions": ["void"],
                    "reasons": ["stolen"],
                    "vouchers_alone": 10,
                    "value_minor_alone": 50_000,
                    "serials_only": True,
                }
            ],
        },
        "sandbox": False,
        "reclaim_unactivated_after_days": 30,
    },
    "POST /v1/campaigns/{id}/batches": {"quantity": 2},
    "POST /v1/reveals": {"serials": ["${serial}"], "reason": "test", "one_time_code": "123456"},
    "POST /v1/batches/{id}/exports": {"recipient": RECIPIENT, "format": "jsonl", "qr": True},
    "POST /v1/imports": {"campaign": "${import_campaign}", "size": 23},
    "POST /v1/channels": {"kind": "offline", "name": "Shop", "region": "Shanghai", "tenant": "partner-1"},
    "POST /v1/distributions": {
        "selection": {"batch": "${idle_batch}"},
        "from": "${channel}",
        "to": "${other_channel}",
    },
    "POST /v1/activations": {
        "selection": {"batch": "${batch}"},
        "sale": {"price": {"amount_minor": 4_800, "currency": "CNY"}, "shop": "shop-12"},
    },
    "POST /v1/extensions": {"selection": {"batch": "${batch}"}, "days": 1},
    "POST /v1/dispenses": {"campaign": "${campaign}", "quantity": 1, "buyer": "order-1", "channel": "${channel}"},
    "POST /v1/transfers": {"serial": "${held}", "customer": "${customer}"},
    "POST /v1/transfers/{id}/acceptances": {"token": "${token}", "customer": "${other_customer}"},
    "POST /v1/transfers/{id}/returns": {"customer": "${customer}"},
    "POST /v1/claims": {
        "campaign": "${campaign}",
        "customer": "customer-1001",
        "tier": "gold",
        "channel": "${channel}",
        "device": "device",
    },
    "POST /v1/verifications": {"code": "${code}", "device": "device"},
    "POST /v1/redemptions": {
        "code": "${code}",
        "account": {"type": "mobile", "number": "+8613812345678"},
        "amount_minor": 5000,
        "store": "store",
        "terminal": "terminal",
        "device": "device",
    },
    "POST /v1/redemptions/{id}/reversals": {"reason": "test"},
    "POST /v1/holds": {
        "code": "${free_code}",
        "amount_minor": 5000,
        "minutes": 5,
        "account": {"type": "mobile", "number": "+8613812345678"},
        "device": "device",
    },
    "POST /v1/holds/{id}/captures": {
        "account": {"type": "mobile", "number": "+8613812345678"},
        "amount_minor": 5000,
        "store": "store",
        "terminal": "terminal",
    },
    "POST /v1/reconciliations": {"selection": {"batch": "${batch}"}},
    "POST /v1/recoveries": {
        "selection": {"batch": "${idle_batch}"},
        "action": "reclaim",
        "reason": "unsold",
        "only": "not_claimed",
        "note": "note",
        "one_time_code": "123456",
        "channel": "${channel}",
    },
    "POST /v1/webhooks": {"url": "${inbox}", "events": ["voucher.redeemed"]},
    "POST /v1/webhooks/{id}/rotations": {"overlap_s": 60},
    "PUT /v1/routes": {"rows": [{"offers": [{"provider": "simulated:north"}]}]},
    "POST /v1/erasures": {"customer": "nobody-1001", "tenant": "operator", "reason": "consent_withdrawn"},
    "POST /v1/recipients/lookups": {"number": "+8613812345678"},
    "PUT /v1/recipients": {
        "number": "+8613812345678",
        "opted_out": ["reminders"],
        "quiet_hours": {"begins": "22:00", "ends": "08:00"},
        "zone": "Asia/Shanghai",
        "frozen": False,
        "security_hold": False,
    },
    "POST /v1/recoveries/{id}/approvals": {"digest": "${digest}", "decision": "reject"},
    "POST /v1/messages/{id}/resends": {"customer": "${phone}"},
    "POST /v1/messages/{id}/complaints": {"customer": "${phone}"},
    "POST /v1/complaints/{id}/outcomes": {"outcome": "carrier_side"},
    "POST /v1/audit/exports": {"from": "2026-11-21T08:00:00Z", "to": "2036-11-21T08:00:00Z"},
}
"""A good body of each route that takes JSON."""
OPTIONAL: Final = {
    "code_format", "code_prefix", "code_group", "wrong_codes_per_lot_and_hour", "quantity_max",
    "locale", "reversal_days", "valid_until", "device", "amount_minor", "store", "terminal", "batch",
    "only", "note", "format", "qr", "region", "tenant", "from", "to", "sale", "days", "minutes",
    "recovery_rules", "reasons", "vouchers_alone", "value_minor_alone", "serials_only",
    "reclaim_unactivated_after_days", "one_time_code", "void_above", "reveal_above", "allow",
    "opted_out", "quiet_hours", "zone", "frozen", "security_hold",
    "claims_per_customer", "claims_max", "tiers", "low_stock", "sandbox", "buyer", "channel", "tier",
    "overlap_s",
}  # fmt: skip
"""Members that may be left out, so that null or nothing is good in their place (or refused for another reason)."""
ONE_OF: Final = {("POST /v1/claims", "campaign"), ("POST /v1/recoveries", "selection"),
    ("POST /v1/distributions", "selection"), ("POST /v1/reconciliations", "selection"), ("POST /v1/holds", "account"),
    ("POST /v1/transfers/{id}/returns", "customer"), ("POST /v1/erasures", "customer"),
    ("POST /v1/messages/{id}/resends", "customer"), ("POST /v1/messages/{id}/complaints", "customer"),
}  # fmt: skip
"""The same, of these routes only: another member may stand for them."""

APP: Final = [route for route in ROUTES if route.function != "console"]
IDS: Final = {
    "POST /v1/campaigns/{id}/batches": "${campaign}",
    "GET /v1/campaigns/{id}": "${campaign}",
    "POST /v1/campaigns/{id}/reclaim-stops": "${ending_campaign}",
    "GET /v1/batches/{id}": "${batch}",
    "GET /v1/batches/{id}/vouchers": "${batch}",
    "POST /v1/batches/{id}/exports": "${batch}",
    "GET /v1/exports/{id}": "${export}",
    "POST /v1/imports/{id}/starts": "${import}",
    "GET /v1/imports/{id}": "${import}",
    "POST /v1/exports/{id}/tickets": "${export}",
    "GET /v1/exports/{id}/files/{file}": "${export}",
    "GET /v1/activations/{id}": "${activation}",
    "GET /v1/channels/{id}": "${channel}",
    "GET /v1/channels/{id}/stock": "${channel}",
    "GET /v1/customers/{id}/vouchers": "${customer}",
    "POST /v1/transfers/{id}/acceptances": "${transfer}",
    "POST /v1/transfers/{id}/returns": "${other_transfer}",
    "GET /v1/distributions/{id}": "${distribution}",
    "GET /v1/dispenses/{id}": "${dispense}",
    "GET /v1/extensions/{id}": "${extension}",
    "GET /v1/vouchers/{serial}": "${serial}",
    "GET /v1/redemptions/{id}": "${redemption}",
    "POST /v1/redemptions/{id}/reversals": "${redemption}",
    "GET /v1/holds/{id}": "${hold}",
    "POST /v1/holds/{id}/captures": "${hold}",
    "POST /v1/holds/{id}/releases": "${other_hold}",
    "GET /v1/vouchers/{serial}/history": "${serial}",
    "GET /v1/vouchers/{serial}/qr": "${kept}",
    "GET /v1/vouchers/{serial}/ledger": "${serial}",
    "GET /v1/recoveries/{id}": "${recovery}",
    "GET /v1/reconciliations/{id}": "${reconciliation}",
    "GET /v1/recoveries/{id}/report": "${recovery}",
    "POST /v1/recoveries/{id}/approvals": "${awaiting_recovery}",
    "GET /v1/messages/{id}": "${message}",
    "POST /v1/messages/{id}/resends": "${message}",
    "POST /v1/messages/{id}/complaints": "${message}",
    "GET /v1/complaints/{id}": "${complaint}",
    "POST /v1/complaints/{id}/outcomes": "${complaint}",
    "POST /v1/receipts/{provider}": "simulated:north",
    "GET /v1/audit/exports/{id}": "${record}",
    "GET /v1/audit/exports/{id}/file": "${record}",
    "GET /v1/erasures/{id}": "${erasure}",
    "GET /v1/webhooks/{id}": "${webhook}",
    "DELETE /v1/webhooks/{id}": "${webhook}",
    "POST /v1/webhooks/{id}/rotations": "${webhook}",
    "POST /v1/webhooks/{id}/tests": "${webhook}",
    "GET /v1/webhooks/{id}/deliveries": "${webhook}",
    "POST /v1/webhooks/{id}/deliveries/{delivery}/replays": "${webhook}",
}
"""What stands for the parameter of each path that has one."""
QUERIES: Final = {
    "GET /v1/vouchers/{serial}/qr": "?customer=${customer}",
    "GET /v1/messages": "?recipient=${recipient}",
    "GET /v1/exports/{id}/files/{file}": "?ticket=${ticket}",
}
"""What cannot be left out of a route's query."""


def by_key(route: Route) -> str:
    return route.key


TAKES_A_BODY: Final = [route for route in APP if route.key in BODIES or route.operation == "create_token"]
every_route = pytest.mark.parametrize("route", APP, ids=by_key)
every_scoped_route = pytest.mark.parametrize("route", [route for route in APP if route.scope], ids=by_key)
every_body = pytest.mark.parametrize("route", [route for route in APP if route.key in BODIES], ids=by_key)
every_path_id = pytest.mark.parametrize("route", [route for route in APP if "{" in route.path], ids=by_key)
untouched = pytest.mark.usefixtures("nothing_is_written")


@dataclass(frozen=True)
class Literal:
    """A number that JSON can write and Python cannot."""

    text: str


def dumped(body: Any) -> str:
    """JSON, literals as they are."""
    text = json.dumps(body, default=lambda literal: f"@{literal.text}@")
    return re.sub(r'"@(.*?)@"', r"\1", text)


@dataclass(frozen=True)
class Shop:
    """A cloud in which everything that a good request names is there."""

    kami: Kami
    names: dict[str, str]
    lists: dict[str, str]
    cursors: dict[str, str]
    """By the list that each is good for."""
    approver: Caller

    def filled(self, text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda match: self.names[match[1]], text)

    def target(self, route: Route, id: str | None = None) -> str:
        """The route's path, with what is there or with another id, and what its query must hold."""
        path = re.sub(
            r"\{(id|serial|provider)\}", lambda _: self.filled(IDS[route.key]) if id is None else id, route.path
        )
        path = path.replace("{file}", MANIFEST).replace("{delivery}", self.names["delivery"])
        return path + self.filled(QUERIES.get(route.key, ""))

    def body(self, route: Route) -> str | None:
        """The route's good body."""
        if route.operation == "create_token":
            return "grant_type=client_credentials"
        return self.filled(json.dumps(BODIES[route.key])) if route.key in BODIES else None

    def headers(self, route: Route) -> dict[str, str]:
        """The headers of a good request."""
        caller = self.kami.operator if route.scope in ROLES["operator"] else self.approver
        headers = {"authorization": f"Bearer {caller.token}"} if route.scope else {}
        if route.key in BODIES:
            headers["content-type"] = JSON
        elif route.operation == "create_token":
            headers["content-type"] = FORM
        if route.idempotency_key is not Key.NONE:
            headers["idempotency-key"] = unique()
        if route.takes_a_version:
            headers["if-match"] = '"0"'
        return headers

    def send(
        self, route: Route, *, target: str | None = None, body: Any = ..., drop: tuple[str, ...] = (), **headers: str
    ) -> Answer:
        """A request that is good but for what is given."""
        sent = {**self.headers(route), **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.kami.cloud.request(
            route.method,
            self.target(route) if target is None else target,
            headers={name: value for name, value in sent.items() if name not in drop},
            body=self.body(route) if body is ... else body,
        )

    def change(self, route: Route, path: str, value: Any) -> Answer:
        """A request with one member of its body replaced, or dropped (`...`)."""
        body = json.loads(self.body(route) or "")
        *way, last = path.split(".")
        inner = body
        for name in way:
            inner = inner[name]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
        return self.send(route, body=dumped(body))


@pytest.fixture(scope="module")
def shop(kami: Kami) -> Shop:
    for name in NAMES:
        kami.cloud.carriers.set(name, "refuse", error="blocked")  # so that each message can be resent
    campaign = kami.campaign()["id"]
    batch = kami.batch(campaign, 4)["id"]
    activation = kami.activate(batch=batch)["id"]
    serials = kami.serials(batch)
    codes = kami.codes(serials)
    recipient = mobile()
    redemption = granted(kami.operator.redeem(codes[3], account=recipient), 201)["id"]
    granted(kami.operator.redeem(kami.voucher().code, account=recipient), 201)
    hold, other_hold = (
        granted(kami.operator.post("/v1/holds", {"code": code, "minutes": 30}, unique()), 201)["id"]
        for code in (codes[2], kami.voucher().code)
    )
    kami.campaign()
    channel, other_channel = (kami.channel()["id"] for _ in range(2))
    two_lots = kami.batch(campaign, LOT_SIZE + 1)["id"]
    extended = {"selection": {"batch": batch}, "days": 1}
    extension = granted(kami.operator.post("/v1/extensions", extended), 201)["id"]
    stocked = kami.campaign()["id"]
    kami.batch(stocked, 10)
    order = {"campaign": stocked, "quantity": 1}
    dispense = granted(kami.operator.post("/v1/dispenses", order, unique()), 201)["id"]
    distribution = kami.distribute(to=channel, batch=two_lots)["id"]
    idle_batch, *others = (kami.batch(campaign, 1)["id"] for _ in range(3))
    recovery, _ = (
        granted(kami.operator.post("/v1/recoveries", kami.recovery(batch=other)), 202)["id"] for other in others
    )
    reconciliation, _ = (
        granted(kami.operator.post("/v1/reconciliations", {"selection": {"batch": other}}), 202)["id"]
        for other in others
    )
    approver, awaiting = kami.client("approver"), kami.awaiting_approval()
    export = granted(kami.operator.post(f"/v1/batches/{batch}/exports", {"recipient": RECIPIENT}), 202)["id"]
    record = granted(kami.operator.post("/v1/audit/exports", {}), 202)["id"]
    kami.cloud.drain()
    kami.cloud.carriers.reset()
    kami.cloud.fire("kami-dev-seals")
    import_campaign = kami.campaign(code_format="imported")["id"]
    import_ = kami.imported(import_campaign, b"code\nA-1\nA-1\nA-1\n")["id"]
    kami.cloud.drain()
    customer, other_customer = unique("customer"), unique("customer")
    held, kept, *offered = (claim(kami, kami.voucher(), customer).serial for _ in range(4))
    for _ in range(2):
        claim(kami, kami.voucher(), other_customer)
    transfer, other_transfer = (
        granted(kami.operator.post("/v1/transfers", {"serial": serial, "customer": customer}, unique()), 201)
        for serial in offered
    )
    person = {"customer": "nobody", "reason": "other"}
    erasure = granted(kami.operator.post("/v1/erasures", person, unique()), 202)["id"]
    endpoint = {"url": inbox(kami.cloud, "shop"), "events": ["voucher.redeemed"]}
    webhook = granted(kami.operator.post("/v1/webhooks", endpoint, unique()), 201)["id"]
    delivery, _ = (
        granted(kami.operator.post(f"/v1/webhooks/{webhook}/tests", None, unique()), 201)["id"] for _ in range(2)
    )
    lists = {
        "campaigns": "/v1/campaigns?limit=1",
        "vouchers": f"/v1/batches/{batch}/vouchers?limit=1",
        "history": f"/v1/vouchers/{serials[0]}/history?limit=1",
        "recoveries": "/v1/recoveries?limit=1",
        "reconciliations": "/v1/reconciliations?limit=1",
        "channels": "/v1/channels?limit=1",
        "refused lines": f"/v1/imports/{import_}?limit=1",
        "stock": f"/v1/channels/{channel}/stock?limit=1",
        "wallet": f"/v1/customers/{customer}/vouchers?limit=1",
        "messages": f"/v1/messages?recipient={quote(recipient)}&limit=1",
        "audit": "/v1/audit?limit=1",
        "checkpoints": "/v1/audit/checkpoints?limit=1",
        "audit of a card": f"/v1/audit?serial={serials[0]}&limit=1",
    }
    message, *_ = (each["id"] for each in granted(kami.operator.get(lists["messages"]))["data"])
    complaint = granted(kami.operator.post(f"/v1/messages/{message}/complaints", {}), 201)["id"]
    names = {
        "campaign": campaign, "batch": batch, "activation": activation, "serial": serials[0], "code": codes[0],
        "redemption": redemption, "hold": hold, "other_hold": other_hold, "free_code": kami.voucher().code,
        "idle_batch": idle_batch, "recovery": recovery, "recipient": quote(recipient), "export": export,
        "reconciliation": reconciliation,
        "customer": customer, "other_customer": other_customer, "held": held, "kept": kept, "transfer": transfer["id"],
        "token": transfer["token"], "other_transfer": other_transfer["id"],
        "import_campaign": import_campaign, "import": import_,
        "ticket": granted(kami.operator.post(f"/v1/exports/{export}/tickets", None), 201)["ticket"],
        "channel": channel, "other_channel": other_channel, "distribution": distribution, "extension": extension,
        "ending_campaign": kami.campaign(reclaim_unactivated_after_days=1)["id"],
        "inbox": endpoint["url"], "webhook": webhook, "delivery": delivery,
        "dispense": dispense, "record": record, "erasure": erasure,
        "awaiting_recovery": awaiting["id"], "digest": awaiting["approval"]["digest"],
        "message": message, "complaint": complaint, "phone": recipient,
    }  # fmt: skip

    def cursor(caller: Caller, target: str) -> str:
        page = granted(caller.get(target))
        return str(page.get("refused", page)["next_cursor"])

    stranger = kami.client("operator")
    cursors = {
        **{name: cursor(kami.operator, target) for name, target in lists.items()},
        **{f"another caller's {name}": cursor(stranger, target) for name, target in lists.items()},
        "vouchers of another batch": cursor(
            kami.operator, f"/v1/batches/{kami.batch(campaign, 4)['id']}/vouchers?limit=1"
        ),
        "vouchers of a status": cursor(kami.operator, f"{lists['vouchers']}&status=active"),
        "wallet of a status": cursor(kami.operator, f"{lists['wallet']}&status=claimed"),
        "wallet of another customer": cursor(kami.operator, f"/v1/customers/{other_customer}/vouchers?limit=1"),
    }
    return Shop(kami, names, lists, cursors, approver)


@pytest.fixture
def nothing_is_written(shop: Shop) -> Iterator[None]:
    before = shop.kami.writes()
    yield
    assert shop.kami.writes() == before


def named(answer: Answer) -> list[str]:
    """The fields that a refusal of a body names."""
    document = refused(answer, 400, "invalid_request")
    assert 1 <= len(document["errors"]) <= 20
    assert all(error["detail"] for error in document["errors"])
    return [error["field"] for error in document["errors"]]


# Members


def members(body: Json, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every member of a body with its path, those within others too."""
    for name, value in body.items():
        yield prefix + name, value
        if isinstance(value, dict):
            yield from members(value, f"{prefix}{name}.")


def may_be_left_out(route: Route, path: str) -> bool:
    return path.rpartition(".")[2] in OPTIONAL or (route.key, path) in ONE_OF


def within(field: str, path: str) -> bool:
    return field == path or field.startswith(f"{path}.")


MEMBERS: Final = [(route, path, value) for route in APP for path, value in members(BODIES.get(route.key, {}))]
each_member = pytest.mark.parametrize(
    ("route", "path", "value"), MEMBERS, ids=[f"{route.key} {path}" for route, path, _ in MEMBERS]
)
WRONG_TYPES: Final[dict[type, list[Any]]] = {
    str: [0, 1.5, True, [], {}, ["x"]],
    int: ["5", 5.5, Literal("5.0"), True, [], {}, "five", ""],
    bool: [0, 1, "true", "", [], {}],
    list: ["x", {}, 5, True, [5], [None], [[]], [{}]],
    dict: ["x", [], 5, True, [{}]],
}


@untouched
@each_member
def test_a_member_of_a_wrong_type_is_named(shop: Shop, route: Route, path: str, value: Any) -> None:
    nothing = [] if may_be_left_out(route, path) else [None]
    for wrong in [*WRONG_TYPES[type(value)], *nothing]:
        fields = named(shop.change(route, path, wrong))
        assert any(within(field, path) for field in fields), (wrong, fields)


@untouched
@each_member
def test_a_required_member_that_is_missing_is_named(shop: Shop, route: Route, path: str, value: Any) -> None:
    if not may_be_left_out(route, path):
        assert named(shop.change(route, path, ...)) == [path]


@untouched
@every_body
def test_members_that_a_body_does_not_have_are_named(shop: Shop, route: Route) -> None:
    assert named(shop.change(route, "surprise", 1)) == ["surprise"]
    assert named(shop.change(route, "Reason", "x")) == ["Reason"]
    for path, value in members(BODIES[route.key]):
        if isinstance(value, dict):
            assert f"{path}.surprise" in named(shop.change(route, f"{path}.surprise", None))


@untouched
@each_member
def test_a_member_given_twice_is_named(shop: Shop, route: Route, path: str, value: Any) -> None:
    name = path.rpartition(".")[2]
    once = f'"{name}": '
    answer = shop.send(route, body=(shop.body(route) or "").replace(once, f'"{name}": null, {once}', 1))
    fields = named(answer)
    assert any(field.endswith(name) for field in fields) or path.startswith("selection.")


# Values

HUGE: Final = [2**63, 2**64, -(2**63) - 1, 10**400, Literal("1e400"), Literal("-1e400"), Literal("9" * 5_000)]
FRACTIONS: Final = [0.5, 1.5, Literal("1e0"), Literal("5000.0"), Literal("NaN"), Literal("Infinity"), Literal("1e-400")]
TEXTS: Final = ["", "a" * 201, "a\x00b", "line\nbreak", "tab\t", "\x7f", "\x85", "\u2028", "\u2029", "lost \ufffd"]
REFERENCES: Final = ["", "r" * 65, "a b", "é", "店", "a\x00", "a\n", "💳"]
PHONES: Final = [
    "13812345678", "+8613812345", "+861381234567", "+86138123456789", "+8612812345678", "+86 138 1234 5678",
    "+86-138-1234-5678", "008613812345678", "+08613812345678", "++8613812345678", "tel:+8613812345678",
    "+86138１２３４5678",
    "+8613812345678\n", " +8613812345678", "+٨٦١٣٨١٢٣٤٥٦٧٨", "＋8613812345678", "+861381234567a", "+", "+123456",
    "+1234567890123456", "call me", "+8613812345678\x00", "\u202e8765432183168+", "1" * 64,
]  # fmt: skip

VALUES: Final[list[tuple[str, str, list[Any]]]] = [
    ("POST /v1/campaigns", "face_value.amount_minor", [0, -1, 10**12 + 1, *HUGE, *FRACTIONS]),
    ("POST /v1/campaigns", "face_value.currency", ["XXX", "cny", "RMB", "", "CN", "CNYY", "¥", "CN\x00", "ＣＮＹ"]),
    ("POST /v1/campaigns", "kind", ["money", "", "Recharge", "recharge\n"]),
    ("POST /v1/campaigns", "redemption", ["twice", "", "Single"]),
    ("POST /v1/campaigns", "code_format", ["none", "", "unicom20", "x" * 1_000]),
    ("POST /v1/campaigns", "code_prefix", ["", "gz", "9Z", "GZ-", "I", "U", "ABCDEFGHJ", "ＧＺ", "GZ\n", "广"]),
    ("POST /v1/campaigns", "code_group", [-1, 11, *HUGE, *FRACTIONS]),
    ("POST /v1/campaigns", "wrong_codes_per_lot_and_hour", [0, -1, 9, 1_001, *HUGE, *FRACTIONS]),
    ("POST /v1/campaigns", "quantity_max", [0, -1, 10**11 + 1, *HUGE, *FRACTIONS]),
    ("POST /v1/campaigns", "locale", ["fr", "", "zh_CN"]),
    ("POST /v1/campaigns", "name", TEXTS),
    ("POST /v1/campaigns", "reversal_days", [-1, 3_651, *HUGE, *FRACTIONS]),
    ("POST /v1/campaigns/{id}/batches", "quantity", [0, -1, 100_000_001, *HUGE, *FRACTIONS]),
    ("POST /v1/reveals", "serials", [[], ["010000000003"] * 101, ["0" * 41], ["${serial}", 5]]),
    ("POST /v1/reveals", "reason", TEXTS),
    ("POST /v1/batches/{id}/exports", "recipient", ["", "age1", RECIPIENT[:-1], RECIPIENT.upper(), f"{RECIPIENT} "]),
    ("POST /v1/batches/{id}/exports", "format", ["", "CSV", "xlsx", "csv\n"]),
    ("POST /v1/verifications", "code", ["c" * 65, "💳" * 65]),
    ("POST /v1/verifications", "device", REFERENCES),
    ("POST /v1/redemptions", "code", ["c" * 65, "1" * 60_000]),
    ("POST /v1/redemptions", "account.type", ["email", "", "Mobile"]),
    ("POST /v1/redemptions", "amount_minor", [0, -1, 10**12 + 1, *HUGE, *FRACTIONS]),
    ("POST /v1/redemptions", "store", REFERENCES),
    ("POST /v1/redemptions", "terminal", REFERENCES),
    ("POST /v1/redemptions", "device", REFERENCES),
    ("POST /v1/redemptions/{id}/reversals", "reason", TEXTS),
    ("POST /v1/channels", "kind", ["", "Offline", "shop", "partner\n"]),
    ("POST /v1/channels", "name", TEXTS),
    ("POST /v1/channels", "region", TEXTS),
    ("POST /v1/channels", "tenant", REFERENCES),
    ("POST /v1/campaigns", "claims_per_customer", [0, -1, 10**9 + 1, *HUGE, *FRACTIONS]),
    ("POST /v1/campaigns", "claims_max", [0, -1, 10**9 + 1, *HUGE, *FRACTIONS]),
    ("POST /v1/campaigns", "sandbox", [None, 1, "true", "", []]),
    ("POST /v1/campaigns", "low_stock", [0, -1, 10**9 + 1, *HUGE, *FRACTIONS]),
    ("POST /v1/campaigns", "tiers", [[], [""], ["two words"], ["t" * 65], ["t"] * 21]),
    ("POST /v1/dispenses", "campaign", ["c" * 65]),
    ("POST /v1/claims", "campaign", ["c" * 65]),
    ("POST /v1/claims", "customer", ["", "c" * 65, "two words"]),
    ("POST /v1/claims", "tier", REFERENCES),
    ("POST /v1/claims", "device", REFERENCES),
    ("POST /v1/claims", "channel", ["", "c" * 65]),
    ("POST /v1/dispenses", "quantity", [0, -1, 101, *HUGE, *FRACTIONS]),
    ("POST /v1/dispenses", "buyer", REFERENCES),
    ("POST /v1/dispenses", "channel", ["", "c" * 65]),
    ("POST /v1/recoveries", "channel", ["", "c" * 65]),
    ("POST /v1/distributions", "to", ["", "c" * 65]),
    ("POST /v1/distributions", "from", ["", "c" * 65]),
    ("POST /v1/activations", "sale.price.amount_minor", [0, -1, 10**12 + 1, *HUGE, *FRACTIONS]),
    ("POST /v1/activations", "sale.price.currency", ["XXX", "cny", ""]),
    ("POST /v1/activations", "sale.shop", REFERENCES),
    ("POST /v1/extensions", "days", [0, -1, 3_651, *HUGE, *FRACTIONS]),
    ("POST /v1/transfers", "serial", ["0" * 41]),
    ("POST /v1/transfers", "customer", REFERENCES),
    ("POST /v1/transfers/{id}/acceptances", "token", ["", "t" * 65]),
    ("POST /v1/transfers/{id}/acceptances", "customer", REFERENCES),
    ("POST /v1/webhooks", "url", ["", "https://", "ftp://a.example/", "https://a@b.example/", "https://a/#b"]),
    ("POST /v1/webhooks", "events", [[], ["voucher.created"], ["voucher.redeemed"] * 100]),
    ("POST /v1/webhooks/{id}/rotations", "overlap_s", [-1, 604_801, *HUGE, *FRACTIONS]),
    ("POST /v1/recoveries", "action", ["", "Void", "delete", "void\n"]),
    ("POST /v1/erasures", "reason", ["", "because", None, 1]),
    ("POST /v1/erasures", "customer", ["", "a b", "客户", "c" * 65]),
    *(
        (f"POST /v1/messages/{{id}}/{what}", "customer", ["", "13812345678", "+", "+86 138 1234 5678", "customer-1001"])
        for what in ("resends", "complaints")
    ),
    ("POST /v1/complaints/{id}/outcomes", "outcome", ["", "Arrived", "lost", "arrived\n"]),
    ("POST /v1/recoveries", "reason", ["", "Stolen", "no reason", "stolen\x00"]),
    ("POST /v1/recoveries", "only", ["", "all", "redeemed", "not_Claimed"]),
    ("POST /v1/recoveries", "note", TEXTS),
]


@untouched
@pytest.mark.parametrize(("key", "path", "values"), VALUES, ids=[f"{key} {path}" for key, path, _ in VALUES])
def test_a_value_out_of_bounds_is_named(shop: Shop, key: str, path: str, values: list[Any]) -> None:
    (route,) = (route for route in APP if route.key == key)
    for value in values:
        answer = shop.change(route, path, value)
        if isinstance(value, Literal) and answer.json()["key"] == "malformed_json":
            refused(answer, 400, "malformed_json")  # more digits than the parser takes
        else:
            assert all(within(field, path) for field in named(answer)), value


SELECTIONS: Final[list[Json]] = [
    {}, {"serials": []}, {"serials": ["010000000003"] * 1_001}, {"serials": ["0" * 41]}, {"serials": [None]},
    {"lot": -1}, {"lot": 10_000_000}, {"lot": 2**63}, {"lot": 1.5}, {"lot": "1"}, {"lot": True},
    {"batch": "b" * 65}, {"batch": "${batch}", "lot": 1}, {"serials": ["${serial}"], "batch": "${batch}"},
    {"first_serial": "${serial}"}, {"last_serial": "${serial}"}, {"first_serial": "0" * 41, "last_serial": "0"},
    {"batch": "${batch}", "last_serial": "${serial}"}, {"batch": None}, {"only": "not_claimed"},
]  # fmt: skip
WHOLE: Final[list[tuple[str, Any]]] = [
    *(("POST /v1/claims", contradiction) for contradiction in (
        {"code": "${code}"}, {"campaign": None, "channel": None}, {"campaign": None, "code": "${code}"},
        {"campaign": None, "channel": None, "code": "c" * 65},
    )),
    *(("POST /v1/campaigns", {"valid_until": until}) for until in (
        "2027-12-31", "2027-12-31T23:59:59", "tomorrow", "", "1969-12-31T23:59:59Z", "2100-01-01T00:00:01Z",
        "2027-13-01T00:00:00Z", "2027-02-30T00:00:00Z", "99999-01-01T00:00:00Z", "2027-W01-1T00:00:00Z",
        "20271231T235959Z", "2027-12-31T23:59:59+99:00", "2027-12-31T25:00:00Z", "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00", "٢٠٢٧-12-31T23:59:59Z", "2027-12-31T23:59:59Z\n", "1" * 5_000,
    )),
    ("POST /v1/campaigns", {"valid_until": None}),
    *(("POST /v1/campaigns", {"reminder_days": days}) for days in (
        [], [0], [-1], [366], [7, 7], [4, 3, 2, 1], ["7"], [True], [1.5], [None], [[7]], 7, "7", {}, *HUGE,
    )),
    ("POST /v1/campaigns", {"valid_days_after_activation": 7}),
    *(("POST /v1/campaigns", {"valid_until": None, "valid_days_after_activation": days})
      for days in (0, -1, 3_651, *HUGE, *FRACTIONS)),
    *((f"POST /v1/{kind}", {"selection": selection})
      for kind in ("activations", "recoveries", "distributions", "extensions") for selection in SELECTIONS),
    *(("POST /v1/extensions", {"days": None, "valid_until": until}) for until in (
        None, "2027-12-31", "tomorrow", "", "1969-12-31T23:59:59Z", "2020-01-01T00:00:00Z", "2100-01-01T00:00:01Z",
    )),
    ("POST /v1/extensions", {"valid_until": "2030-01-01T00:00:00Z"}),
    *(("POST /v1/distributions", {"selection": None, "batch": "${batch}", "quantity": quantity})
      for quantity in (0, -1, 100_000_001, *HUGE, *FRACTIONS)),
    *(("POST /v1/distributions", contradiction) for contradiction in (
        {"selection": None}, {"selection": None, "batch": "${batch}"}, {"selection": None, "quantity": 1},
        {"quantity": 1}, {"batch": "${batch}"}, {"batch": "${batch}", "quantity": 1}, {"to": None, "from": None},
        {"from": "${other_channel}"}, {"source": "${channel}"}, {"selection": None, "batch": "b" * 65, "quantity": 1},
    )),
    *(("POST /v1/erasures", contradiction) for contradiction in (
        {"number": "+8613812345678"}, {"customer": None}, {"customer": None, "number": "+8613812345678"},
    )),
    *(("POST /v1/erasures", {"customer": None, "tenant": None, "number": number}) for number in (
        "", "+86", "+0138", "a b c", "-abcd", "ab/cd", "宽带账号", "abcd\n", "a" * 65,
    )),
    ("POST /v1/transfers/{id}/returns", {"customer": None}),
    ("POST /v1/transfers/{id}/returns", {"token": "${token}"}),
    *(("POST /v1/redemptions", {"account": {"type": "mobile", "number": number}}) for number in PHONES),
    *(("POST /v1/redemptions", {"account": {"type": "broadband", "number": number}})
      for number in ("abc", "a" * 65, "-abcd", "ab cd", "ab/cd", "宽带账号", "abcd\n", "")),
    *((f"POST /v1/{kind}", {"customer_address": address}) for kind in ("verifications", "redemptions", "holds")
      for address in ("198.51.100.7", "2001:db8::1", "x", "", "1" * 46, "198.51.100.7\n")),
]  # fmt: skip


@untouched
@pytest.mark.parametrize(("key", "changes"), WHOLE, ids=[f"{key} {str(changes)[:60]}" for key, changes in WHOLE])
def test_a_body_that_contradicts_itself_or_means_nothing_is_refused(shop: Shop, key: str, changes: Json) -> None:
    (route,) = (route for route in APP if route.key == key)
    body = dumped({**copy.deepcopy(BODIES[key]), **changes})
    answer = shop.send(route, body=shop.filled(body))
    if answer.json()["key"] != "malformed_json":
        named(answer)


# Bodies

DEEP: Final = 20_000
NOT_JSON: Final[list[tuple[str, str | bytes]]] = [
    ("empty", ""), ("blank", "  \n"), ("cut", '{"code"'), ("word", "nonsense"), ("single quotes", "{'a': 1}"),
    ("comment", "{} // x"), ("comma", '{"a": 1,}'), ("two", "{}{}"), ("brace", "}"), ("number", "01"),
    ("byte order mark", "\ufeff{}"), ("utf-16", "{}".encode("utf-16")), ("form", "a=1&b=2"), ("xml", "<a/>"),
    ("lists", "[" * DEEP), ("objects", '{"a":' * (DEEP // 2)), ("closed lists", "[" * DEEP + "]" * DEEP),
    ("lone surrogate", '{"reason": "\\ud800"}'), ("reversed surrogates", '{"reason": "\\udc00\\ud800"}'),
    ("surrogate as a name", '{"\\ud800": 1}'), ("raw control", '{"reason": "a\nb"}'), ("NUL", '{"reason": "\x00"}'),
    ("escape", '{"reason": "\\x41"}'), ("only NUL", "\x00"), ("true", "TRUE"),
]  # fmt: skip
ASKS_FOR_NOTHING: Final = {
    "POST /v1/audit/exports", "POST /v1/messages/{id}/resends", "POST /v1/messages/{id}/complaints",
    "POST /v1/webhooks/{id}/rotations",
}  # fmt: skip
"""Routes whose bodies may be empty objects."""
NOT_AN_OBJECT: Final = ["[]", "null", "5", '"x"', "true", "[{}]", "NaN", "{}"]


@untouched
@every_body
def test_a_body_that_is_no_json_is_refused(shop: Shop, route: Route) -> None:
    for name, body in NOT_JSON:
        answer = shop.send(route, body=body)
        assert answer.json()["key"] == "malformed_json", name
        refused(answer, 400, "malformed_json")
    for body in NOT_AN_OBJECT:
        if body != "{}" or route.key not in ASKS_FOR_NOTHING:
            named(shop.send(route, body=body))


@untouched
@every_body
def test_nesting_within_a_member_is_refused(shop: Shop, route: Route) -> None:
    for path, _ in members(BODIES[route.key]):
        body = json.loads(shop.body(route) or "")
        body[path.partition(".")[0]] = "@"
        for inner in ("[" * DEEP + "]" * DEEP, '{"a":' * 5_000 + "1" + "}" * 5_000):
            answer = shop.send(route, body=json.dumps(body).replace('"@"', inner))
            assert (answer.status, answer.header("content-type")) == (400, PROBLEM)
            assert answer.json()["key"] in ("malformed_json", "invalid_request")


@untouched
@every_body
def test_bytes_that_are_no_text_are_refused_where_text_is_kept(shop: Shop, route: Route) -> None:
    for path, value in members(BODIES[route.key]):
        if path in ("name", "reason", "store", "terminal", "device"):
            good = f'"{path}": {json.dumps(value)}'
            body = (shop.body(route) or "").replace(good, f'"{path}": "@"').encode().replace(b"@", b"\xff\xc0\xaf")
            assert named(shop.send(route, body=body)) == [path]


@untouched
@every_body
def test_a_body_of_another_content_type_is_refused(shop: Shop, route: Route) -> None:
    for content_type in (
        "", "text/plain", "text/json", "application/xml", FORM, "multipart/form-data; boundary=x", "json",
        "application/json5", "application/problem+json", "application/octet-stream", "x" * 1_000, "é",
    ):  # fmt: skip
        refused(shop.send(route, content_type=content_type), 415, "unsupported_media_type")
    refused(shop.send(route, drop=("content-type",)), 415, "unsupported_media_type")


@untouched
def test_credentials_in_another_content_type_are_refused(shop: Shop) -> None:
    (route,) = (route for route in APP if route.operation == "create_token")
    for content_type in ("", JSON, "text/plain", "multipart/form-data; boundary=x"):
        refused(shop.send(route, content_type=content_type), 415, "unsupported_media_type")


@untouched
@pytest.mark.parametrize(
    "content_type", ["application/json;charset=utf-8", "Application/JSON", " application/json ;x=y"]
)
def test_json_by_another_spelling_is_json(shop: Shop, content_type: str) -> None:
    (route,) = (route for route in APP if route.operation == "create_verification")
    granted(shop.send(route, content_type=content_type))


@untouched
@pytest.mark.parametrize("route", TAKES_A_BODY, ids=by_key)
def test_a_body_over_the_limit_is_refused_whatever_it_holds(shop: Shop, route: Route) -> None:
    for body in ((shop.body(route) or "").ljust(BODY_BYTES_MAX + 1), "é" * (BODY_BYTES_MAX // 2 + 1), b"\x00" * 10**6):
        refused(shop.send(route, body=body), 413, "body_too_large")


@untouched
def test_a_body_over_the_gateways_limit_does_not_reach_a_function(shop: Shop) -> None:
    answer = shop.send(APP[0], body=b"x" * (PAYLOAD_MAX_BYTES + 1))
    assert (answer.status, answer.json()) == (413, {"message": "Request Entity Too Large"})


# Idempotency keys


@untouched
@pytest.mark.parametrize("route", [route for route in APP if route.idempotency_key is not Key.NONE], ids=by_key)
def test_an_idempotency_key_that_is_none_is_refused(shop: Shop, route: Route) -> None:
    for key in ("", "k" * (IDEMPOTENCY_KEY_LENGTH_MAX + 1), "clé", "键", "a\x00b", "a\x7fb", "a\tb", "💳", "k" * 4_000):
        refused(shop.send(route, idempotency_key=key), 400, "idempotency_key_invalid")


@untouched
@pytest.mark.parametrize("route", [route for route in APP if route.idempotency_key is Key.REQUIRED], ids=by_key)
def test_where_value_moves_an_idempotency_key_is_required(shop: Shop, route: Route) -> None:
    refused(shop.send(route, drop=("idempotency-key",)), 400, "idempotency_key_required")


# Lists

LISTS: Final = ("campaigns", "vouchers", "history", "recoveries", "messages", "channels", "stock", "wallet")


@untouched
@pytest.mark.parametrize("kind", LISTS)
def test_a_cursor_that_was_not_given_for_this_list_is_refused(shop: Shop, kind: str) -> None:
    kami, target, good = shop.kami, shop.lists[kind], shop.cursors[kind]
    granted(kami.operator.get(f"{target}&cursor={good}"))
    made_up = [
        "", "x", "0", "null", "%00", "%20", "AAAA", "A" * 22, "A" * 600, "!" * 22, "é", "%F0%9F%92%B3", "../..",
        "MDAwMDAwMDAwMDAwMDAwMDE", good[:-1], good[:-2], good[1:], good + "A", good + good, good.swapcase(),
        good[:-1] + ("A" if good[-1] != "A" else "Q"),
        *(cursor for name, cursor in shop.cursors.items() if name != kind),
    ]  # fmt: skip
    for cursor in made_up:
        answer = kami.operator.get(f"{target}&cursor={cursor}")
        assert answer.status == 400, cursor
        refused(answer, 400, "invalid_cursor")


@untouched
@pytest.mark.parametrize("kind", LISTS)
def test_a_page_size_that_is_none_is_refused(shop: Shop, kind: str) -> None:
    kami, target = shop.kami, shop.lists[kind].removesuffix("limit=1")
    for limit in ("", "0", "-1", "101", "1000000", "1.0", "1e1", "0x1", "abc", "%EF%BC%91", "%D9%A1", "+5", "1%00"):
        assert named(kami.operator.get(f"{target}limit={limit}")) == ["query.limit"], limit
    assert named(kami.operator.get(f"{target}limit=1&limit=2")) == ["query.limit"]


@untouched
def test_a_status_that_is_none_is_refused(shop: Shop) -> None:
    for status in ("", "nonsense", "Active", "active,redeemed", "%00"):
        for kind in ("vouchers", "wallet"):
            assert named(shop.kami.operator.get(f"{shop.lists[kind]}&status={status}")) == ["query.status"]


@untouched
@pytest.mark.parametrize(
    ("query", "field"),
    [
        *((f"{name}=2026-11-2", name) for name in ("since", "until")),
        ("since=2026-11-22T08:00:00Z&until=2026-11-22T08:59:59Z", "since"),
        ("since=2026-11-01T08:00:00Z&until=2026-11-22T08:59:59Z", "since"),
        ("since=0001-01-01T00:00:00%2B14:00", "since"), ("until=9999-12-31T23:59:59-14:00", "since"),
        ("since=1969-12-31T23:00:00Z&until=1970-01-01T01:00:00Z", "since"),
        ("by=", "by"), ("by=day", "by"), ("by=hour,hour", "by"), ("by=hour,", "by"), ("by=provider;reason", "by"),
    ],
)  # fmt: skip
def test_statistics_of_no_time_or_by_nothing_are_refused(shop: Shop, query: str, field: str) -> None:
    assert named(shop.kami.operator.get(f"/v1/messages/statistics?{query}")) == [f"query.{field}"]


@untouched
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("voucher=", "voucher"), ("redemption=", "redemption"), (f"voucher={'0' * 129}", "voucher"),
        ("recipient=%2B8613812345678&voucher=010000000003", "voucher"), ("customer=%2B8613812345678", "recipient"),
        ("voucher=010000000003&customer=x", "customer"), ("voucher=0&redemption=0", "redemption"),
    ],
)  # fmt: skip
def test_messages_are_asked_for_in_one_way(shop: Shop, query: str, field: str) -> None:
    assert named(shop.kami.operator.get(f"/v1/messages?{query}")) == [f"query.{field}"]


@untouched
@every_route
def test_unknown_query_parameters_are_named(shop: Shop, route: Route) -> None:
    target = shop.target(route)
    for query, name in (
        ("x=1", "x"), ("x", "x"), ("Limit=1", "Limit"), ("access_token=secret", "access_token"), ("%00=1", "\x00"),
        ("=1", ""), ("a[]=1", "a[]"), ("y" * 5_000 + "=1", "y" * 40),
    ):  # fmt: skip
        answer = shop.send(route, target=f"{target}{'&' if '?' in target else '?'}{query}")
        assert named(answer) == [f"query.{name}"]
        assert b"secret" not in answer.body


# Paths

BY_SECRET: Final = {
    "get_file": "ticket_not_valid", "create_acceptance": "transfer_not_valid", "create_return": "transfer_not_valid",
}  # fmt: skip
"""Where a secret is asked for, a wrong one and an id that is none are answered the same."""


@untouched
@every_path_id
def test_an_id_that_is_none_is_not_found(shop: Shop, route: Route) -> None:
    for id in (
        "none", "x" * 129, "x" * 5_000, "%F0%9F%92%B3" * 128, "a%2Fb", "%2F", "..", "%2e%2e%2f", "%00", "a%00b",
        "%0d%0aX-A:1", "%20", "%", "%zz", "%ff%fe", "%D9%A0" * 12, "CLIENT%23x", "'%20OR%201=1--", "*", "{id}",
        "$default", "null", "0",
        shop.filled(IDS[route.key]) + "%20", shop.filled(IDS[route.key]) + "%00", shop.filled(IDS[route.key])[:-1],
        shop.filled(IDS[route.key]).swapcase() + "x",
    ):  # fmt: skip
        answer = shop.send(route, target=shop.target(route, id))
        if route.operation == "list_customer_vouchers" and CUSTOMER.fullmatch(unquote(id)) and answer.status == 200:
            assert granted(answer)["data"] == []  # whoever holds nothing
            continue
        assert answer.status == 404, id
        own = BY_SECRET.get(route.operation) if len(unquote(id)) <= ID_LENGTH_MAX else None
        refused(answer, 404, own or "not_found")
        assert answer.header("x-a") is None


def test_no_key_that_dynamodb_would_refuse_was_asked_for(shop: Shop) -> None:
    for route in APP:
        if "{" in route.path:
            shop.send(route, target=shop.target(route, "%F0%9F%92%B3" * 700))
    leading = [
        value
        for requests in shop.kami.cloud.calls.values()
        for request in requests
        for name, values in request.context
        if name == "dynamodb:LeadingKeys"
        for value in values
    ]
    assert leading
    assert max(len(value.encode()) for value in leading) <= KEY_BYTES_MAX


def test_what_the_bounds_allow_is_taken(shop: Shop) -> None:
    """The tables above refuse nothing that is good: every route answers its good request, at its bounds too."""
    client = shop.kami.operator
    basic = b64encode(f"{client.client_id}:{client.client_secret}".encode()).decode()
    proof = simulated.signature(shop.kami.cloud.carriers.secret, b"[]")
    apart: dict[str, dict[str, Any]] = {
        "create_token": {"authorization": f"Basic {basic}"},
        "create_receipts": {"body": b"[]", "x_carrier_signature": proof},
    }
    for route in sorted(APP, key=lambda route: route.method == "DELETE"):  # last, for it ends what others take
        answer = shop.send(route, **apart.get(route.operation, {}))
        assert answer.status in route.success, route.key
    campaigns, batches, *_ = (route for route in APP if route.key in BODIES)
    for path, value in (
        ("face_value.amount_minor", 10**12), ("face_value.amount_minor", 1), ("name", "n" * 200),
        ("reversal_days", 3_650), ("valid_until", "2099-12-31T23:59:59.999999999+23:59"), ("code_format", ...),
    ):  # fmt: skip
        granted(shop.change(campaigns, path, value), 201)
    granted(shop.send(batches, idempotency_key="k" * IDEMPOTENCY_KEY_LENGTH_MAX), 201)
    padded = (shop.body(batches) or "").ljust(BODY_BYTES_MAX)
    granted(shop.send(batches, body=padded), 201)
