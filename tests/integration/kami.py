"""What the tests here share: callers with credentials of their own, stock to work with, and looks at the table."""

from __future__ import annotations

import itertools
import json
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import requests
from moto.dynamodb.models import dynamodb_backends

from functions.authorize import clients
from functions.domain.actor import By
from functions.domain.erasure import SETTLE_S
from functions.domain.formats import CROCKFORD, FORMATS
from functions.domain.lot import Lot, Scope, Segment, Veto
from functions.domain.reminder import due_days
from functions.domain.serials import LOT_SIZE, position_of
from functions.domain.times import rfc3339
from functions.domain.voucher import DAY_S
from functions.edge import clock
from functions.edge.tokens import LIFETIME_S
from functions.store import keys, table
from functions.store.entities import LOT
from infra.local.cloud import Cloud
from infra.local.gateway import Answer
from infra.local.template import ACCOUNT, REGION

Json = dict[str, Any]

CAMPAIGN: Json = {
    "name": "Recharge 50 充值卡",
    "kind": "recharge",
    "face_value": {"amount_minor": 5000, "currency": "CNY"},
    "redemption": "single",
    "valid_until": "2035-12-31T23:59:59+08:00",
}
FORM = "application/x-www-form-urlencoded"
TOLD = ("HISTORY#", "CHAIN#", "ENTRY#")
"""What follows from events: history and the record."""
PROBLEM = "application/problem+json"
NOBODY = By("setup", "engineer", "operator", "command-line", "request")
POOL = 100
"""So many vouchers are made at a time: as many as one reveal shows."""

_numbers = itertools.count()


def unique(prefix: str = "key") -> str:
    """A name that no other test uses."""
    return f"{prefix}-{next(_numbers)}"


def mobile() -> str:
    """A phone number that no other test uses."""
    return f"+86139{next(_numbers):08d}"


def refused(answer: Answer, status: int, key: str) -> Json:
    """Assert that this is the problem document of a refusal, complete and with its request's id; returns it."""
    assert (answer.status, answer.header("content-type")) == (status, PROBLEM), answer.body
    document: Json = answer.json()
    assert (document["status"], document["key"], document["type"]) == (status, key, f"/docs#{key}")
    assert document["title"]
    assert document["detail"]
    assert answer.header("x-request-id")
    assert answer.header("cache-control") == "no-store"
    return document


def granted(answer: Answer, status: int = 200) -> Json:
    """Assert that this is a good answer in JSON; returns its body."""
    assert (answer.status, answer.header("content-type")) == (status, "application/json"), answer.body
    assert answer.header("x-request-id")
    document: Json = answer.json()
    return document


def replayed(answer: Answer) -> bool:
    """Whether the answer says that it was given before."""
    value = answer.header("idempotency-replayed")
    assert value in (None, "true")
    return value is not None


def pages(kami: Kami, target: str) -> list[list[str]]:
    """The serials or ids of a list, page by page, following its cursors as the operator."""
    found: list[list[str]] = []
    cursor = ""
    while len(found) < 100:
        page = granted(kami.operator.get(target + (f"&cursor={cursor}" if cursor else "")))
        found.append([line.get("serial") or line["id"] for line in page["data"]])
        if "next_cursor" not in page:
            return found
        cursor = page["next_cursor"]
    raise AssertionError("the list does not end")


def listed(kami: Kami, target: str) -> list[str]:
    """The same, all pages in one."""
    return list(itertools.chain.from_iterable(pages(kami, target)))


def visible(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """All that a stranger could tell two answers apart by: not the ids that differ with every request."""
    own = ("x-request-id", "apigw-requestid", "date")
    return answer.status, [(name, value) for name, value in answer.headers if name not in own], answer.body


@dataclass
class Caller:
    """An API client; its token is renewed when the clock has moved on."""

    cloud: Cloud
    client_id: str
    client_secret: str
    tenant: str = "operator"
    address: str = "192.0.2.1"
    _token: str = ""
    _issued_at: int = -LIFETIME_S

    def sign_in(self, **form: str) -> Answer:
        """The token route's answer, authenticated by HTTP Basic."""
        basic = b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        fields = {"grant_type": "client_credentials", **form}
        return self.cloud.request(
            "POST",
            "/v1/tokens",
            headers={"content-type": FORM, "authorization": f"Basic {basic}"},
            body="&".join(f"{name}={value}" for name, value in fields.items()),
            address=self.address,
        )

    @property
    def token(self) -> str:
        """A token that is good now."""
        now = clock.now()
        if not self._issued_at <= now < self._issued_at + LIFETIME_S:
            self._token, self._issued_at = granted(self.sign_in())["access_token"], now
        return self._token

    def get(self, target: str, **headers: str) -> Answer:
        """GET with the caller's token."""
        return self.cloud.request("GET", target, headers=headers, token=self.token, address=self.address)

    def post(self, target: str, body: Any, key: str | None = None, **headers: str) -> Answer:
        """POST a body (as JSON unless it is text or bytes), with an Idempotency-Key if one is given."""
        sent = {"content-type": "application/json", **headers}
        if key is not None:
            sent["idempotency-key"] = key
        return self.cloud.request("POST", target, headers=sent, body=body, token=self.token, address=self.address)

    def delete(self, target: str) -> Answer:
        """DELETE with the caller's token."""
        return self.cloud.request("DELETE", target, token=self.token, address=self.address)

    def put(self, target: str, body: Any, tag: str | None = '"0"') -> Answer:
        """PUT a body as JSON over what had this ETag."""
        sent = {"content-type": "application/json"} | ({"if-match": tag} if tag is not None else {})
        return self.cloud.request("PUT", target, headers=sent, body=body, token=self.token, address=self.address)

    def redeem(self, code: str, key: str | None = None, account: str | None = None, **order: Any) -> Answer:
        """Redeem a code for a mobile number, under a fresh key and for a fresh number unless they are given."""
        body = {"code": code, "account": {"type": "mobile", "number": account or mobile()}, **order}
        return self.post("/v1/redemptions", body, key or unique())

    def verify(self, code: str, **body: Any) -> Answer:
        """Verify a code, from a device that no other test uses unless one is given."""
        return self.post("/v1/verifications", {"code": code, "device": unique("device"), **body})

    def reverse(self, redemption: str, key: str | None = None, reason: str = "wrong number") -> Answer:
        """Reverse a redemption, under a fresh key unless one is given."""
        return self.post(f"/v1/redemptions/{redemption}/reversals", {"reason": reason}, key or unique())


@dataclass(frozen=True)
class Voucher:
    """One of the stock: its public and its secret number."""

    serial: str
    code: str


def claim(kami: Kami, voucher: Voucher, customer: str, by: Caller | None = None) -> Voucher:
    """The voucher, claimed by a customer of a client's (by default the operator's)."""
    code = voucher.code or kami.codes([voucher.serial])[0]
    granted((by or kami.operator).post("/v1/claims", {"code": code, "customer": customer}, unique()), 201)
    return voucher


def reminded(kami: Kami, number: str) -> Voucher:
    """A voucher of whose end its holder has been reminded, as if it had been claimed a month ago.

    The reminder is due since ten o'clock in China, today or yesterday.
    """
    days = 9
    ends = (due_days(clock.now())[0] + days + 1) * DAY_S - 8 * 3_600
    voucher = claim(kami, kami.voucher(valid_until=rfc3339(ends), reminder_days=[days]), number)
    kami.cloud.drain()
    (source,) = (source for source in kami.cloud.stack.sources if source.function == "notify")
    told = {"id": "e", "type": "voucher.claimed", "schema": 1, "at": rfc3339(clock.now() - 30 * DAY_S)}
    body = json.dumps({**told, "data": {"serial": voucher.serial}})
    kami.cloud.client("sqs").send_message(QueueUrl=source.queue_url, MessageBody=body)
    kami.cloud.drain()
    kami.cloud.fire("kami-dev-reminders")
    kami.cloud.drain()
    return voucher


def erased(kami: Kami, **person: str) -> Json:
    """An erasure, done, the clock being moved on where there is nothing to do but wait."""
    order = {"reason": "request_of_the_person", **person}
    id = granted(kami.operator.post("/v1/erasures", order, unique()), 202)["id"]
    settle(kami)
    done = granted(kami.operator.get(f"/v1/erasures/{id}"))
    assert done["status"] == "completed"
    return done


def settle(kami: Kami) -> None:
    """Has all jobs done, the clock being moved on where there is nothing to do but wait."""
    began = clock.now()
    with pytest.MonkeyPatch.context() as patch:
        for passes in range(10):
            later = began + passes * SETTLE_S
            patch.setattr(clock, "now", lambda later=later: later)
            kami.cloud.drain(delayed=False)
            if not kami.cloud.hasten():
                return
    raise AssertionError("it does not end")


def position(voucher: Voucher) -> int:
    """Where it lies."""
    found = position_of(voucher.serial)
    assert found is not None
    return found


def code_of(place: int, tag: int) -> str:
    """A code as it would look for a place and a tag."""
    value = place * FORMATS["crockford16"].tag_space + tag
    return "".join(CROCKFORD[value >> shift & 31] for shift in range(75, -1, -5))


def mistyped(code: str) -> str:
    """The same code but for its last symbol."""
    return code[:-1] + ("0" if code[-1] != "0" else "1")


def vetoed(action: str) -> Callable[[Segment], Segment]:
    """A recovery's word on everything in a segment."""
    return lambda segment: replace(segment, vetoes=(Veto("rec_1", action, Scope.ALL, segment.generation),))


@dataclass
class Kami:
    """A cloud with an operator and a merchant, and stock made through the API as it is needed."""

    cloud: Cloud
    operator: Caller = field(init=False)
    merchant: Caller = field(init=False)
    _stock: dict[str, list[Voucher]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.operator = self.client("operator")
        self.merchant = self.client("merchant")

    def client(self, role: str, *, trusted: bool = False, tenant: str | None = None, sandbox: bool = False) -> Caller:
        """A new API client."""
        with self.cloud.environment("authorize"):
            made = clients.create(f"Test {role}", role, clock.now(), tenant, trusted=trusted, sandbox=sandbox)
            client, secret = made
        return Caller(self.cloud, client.client_id, secret, client.tenant)

    def campaign(self, **changes: Any) -> Json:
        """A new campaign; a change to None leaves a member out."""
        body = {name: value for name, value in {**CAMPAIGN, **changes}.items() if value is not None}
        return granted(self.operator.post("/v1/campaigns", body), 201)

    def batch(self, campaign: str, quantity: int) -> Json:
        """A new batch, generated within the call."""
        return granted(self.operator.post(f"/v1/campaigns/{campaign}/batches", {"quantity": quantity}), 201)

    def activate(self, **selection: Any) -> Json:
        """An activation, done within the call."""
        return granted(self.operator.post("/v1/activations", {"selection": selection}), 201)

    def channel(self, **changes: Any) -> Json:
        """A new channel."""
        body = {"kind": "offline", "name": unique("Shop"), "region": "Shanghai", **changes}
        return granted(self.operator.post("/v1/channels", body), 201)

    def distribute(self, to: str | None = None, source: str | None = None, **selection: Any) -> Json:
        """A distribution, done within the call, with the stream followed."""
        body: Json = {"selection": selection, "to": to, "from": source}
        made = granted(self.operator.post("/v1/distributions", body), 201)
        self.cloud.drain()
        return made

    def stock(self, channel: str, query: str = "") -> Json:
        """What a channel holds."""
        return granted(self.operator.get(f"/v1/channels/{channel}/stock{query}"))

    def ordered_import(self, campaign: str, content: bytes) -> Json:
        """The order of an import, its file uploaded over the link."""
        order = {"campaign": campaign, "size": len(content)}
        ordered = granted(self.operator.post("/v1/imports", order, unique()), 202)
        upload = ordered["upload"]
        assert requests.put(upload["url"], data=content, headers=upload["headers"], timeout=5).status_code == 200
        return ordered

    def imported(self, campaign: str, content: bytes) -> Json:
        """An import, done."""
        id = self.ordered_import(campaign, content)["id"]
        granted(self.operator.post(f"/v1/imports/{id}/starts", None), 202)
        self.cloud.drain()
        return granted(self.operator.get(f"/v1/imports/{id}"))

    def recovery(self, action: str = "void", **selection: Any) -> Json:
        """The order of a recovery."""
        return {"selection": selection, "action": action, "reason": "unsold"}

    def awaiting_approval(self, quantity: int = 1, action: str = "void", **selection: Any) -> Json:
        """A recovery that needs a second person: by default of a batch of a campaign that lets nobody do it alone."""
        if not selection:
            rule = {"roles": ["operator", "approver"], "actions": [action], "vouchers_alone": 0}
            campaign = self.campaign(recovery_rules={"allow": [rule]})["id"]
            selection = {"batch": self.batch(campaign, quantity)["id"]}
        made = granted(self.operator.post("/v1/recoveries", self.recovery(action, **selection)), 202)
        assert made["status"] == "awaiting_approval"
        return made

    def serials(self, batch: str, query: str = "limit=100") -> list[str]:
        """The serials on the first page of a batch."""
        page = granted(self.operator.get(f"/v1/batches/{batch}/vouchers?{query}"))
        return [line["serial"] for line in page["data"]]

    def statuses(self, batch: str) -> dict[str, str]:
        """Serial → status of a batch's first page."""
        page = granted(self.operator.get(f"/v1/batches/{batch}/vouchers?limit=100"))
        return {line["serial"]: line["status"] for line in page["data"]}

    def codes(self, serials: Iterable[str]) -> list[str]:
        """The codes of serials."""
        body = {"serials": list(serials), "reason": "test"}
        return [line["code"] for line in granted(self.operator.post("/v1/reveals", body))["data"]]

    def voucher(self, *, active: bool = True, **changes: Any) -> Voucher:
        """A voucher that no other test uses, of a campaign with these changes."""
        pool = self._stock.setdefault(json.dumps([active, changes], sort_keys=True), [])
        if not pool:
            batch = self.batch(self.campaign(**changes)["id"], POOL)
            if active:
                self.activate(batch=batch["id"])
            serials = self.serials(batch["id"])
            pool += map(Voucher, serials, self.codes(serials))
        return pool.pop()

    def rewrite(self, serial: str, change: Callable[[Segment], Segment]) -> None:
        """What a recovery will do one day: a change to all segments of the lot that a serial lies in."""

        def rewritten(lot: Lot | None) -> Lot:
            assert lot is not None
            return replace(lot, segments=tuple(change(segment) for segment in lot.segments))

        with self.cloud.environment("redeem"):
            place = position_of(serial)
            assert place is not None
            lot = table.read(LOT, keys.lot(place // LOT_SIZE))
            table.change(LOT, lot, rewritten, "recover", NOBODY)

    def writes(self) -> int:
        """How often an item of the table was written or deleted since it was made: so long is its stream."""
        (name,) = self.cloud.stack.tables
        shard = dynamodb_backends[ACCOUNT][REGION].tables[name].stream_shard
        assert shard is not None
        return len(shard.items)

    def items(self, *without: str) -> dict[tuple[str, str], Json]:
        """Every item of the table as DynamoDB has it, but for those whose key begins with one of the prefixes.

        From moto's own store: its Scan is a hundred times slower.
        """
        (name,) = self.cloud.stack.tables
        stored = dynamodb_backends[ACCOUNT][REGION].tables[name].all_items()
        attributes = [item.to_json()["Attributes"] for item in stored]
        found = {(item["pk"]["S"], item["sk"]["S"]): item for item in attributes}
        return {key: item for key, item in found.items() if not key[0].startswith(without)}
