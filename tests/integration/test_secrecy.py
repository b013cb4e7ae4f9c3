"""Secrets are planted, everything is done with them, and then they are looked for wherever they must not be."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError
from moto.events.models import EventsBackend
from moto.s3.models import s3_backends
from moto.sqs.models import SQSBackend

from functions.authorize import clients
from functions.domain.codes import parse
from functions.domain.events import TYPES
from functions.domain.times import rfc3339
from functions.edge import clock
from functions.edge.log import logger
from functions.store import keys, table, vault
from functions.store.aws import FENCE_S
from functions.store.entities import LOT
from infra.local.gateway import Answer
from infra.local.samples import RECIPIENT, inbox
from infra.local.template import ACCOUNT
from tests.integration.conftest import Log
from tests.integration.kami import (
    FORM,
    Json,
    Kami,
    claim,
    erased,
    granted,
    mistyped,
    position,
    refused,
    reminded,
    settle,
    unique,
)

PHONES: Final = ["+8613987654321", "+8615123456789", "+14155552671"]
BROADBAND: Final = "gz.home-00420042@isp"
SHOWN: Final = re.compile(
    r"POST /v1/(reveals|tokens|dispenses|claims|exports/[^/]+/tickets|transfers|transfers/[^/]+/acceptances"
    r"|webhooks|webhooks/[^/]+/rotations)"
    r"|GET /v1/vouchers/[^/]+/qr.*"
)
"""Routes whose answers are there to show a secret."""

ELSEWHERE: Final = {
    "lot.restored", "voucher.restored", "routes.changed", "webhook.deleted", "webhook.disabled", "webhook.enabled",
}  # fmt: skip
"""Types of events that this run does not cause: those of a table that was restored, of routes that were changed, and of
endpoints that were given up."""


def in_base64(raw: bytes) -> Iterator[str]:
    """How bytes look within anything that is written in base64, wherever in it they begin."""
    for shift in range(3):
        padded = bytes(shift) + raw
        for encode in (b64encode, urlsafe_b64encode):
            text = encode(padded).decode().rstrip("=")
            yield text[(0, 2, 3)[shift] : len(text) - (len(padded) % 3 > 0)]


def forms(secret: str | bytes) -> set[str]:
    """A secret as it may have been written down."""
    if isinstance(secret, bytes):
        return {secret.hex(), secret.hex().upper(), repr(secret)[2:-1], *in_base64(secret)}
    plain = secret.replace("-", "").replace(" ", "")
    spelled = {secret, secret.lower(), plain, plain.lower()}
    candidate = parse(secret)
    tag = {str(candidate.tag)} if candidate else set()
    encoded = {form for text in spelled for form in (*in_base64(text.encode()), text.encode().hex())}
    return spelled | tag | encoded


@dataclass
class Run:
    """What a run left behind."""

    log: str = ""
    items: str = ""
    objects: str = ""
    messages: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    client_secrets: list[str] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)
    macs: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    kept_secrets: list[str] = field(default_factory=list)

    @property
    def secrets(self) -> list[str | bytes]:
        basic = [b64encode(f":{secret}".encode()).decode()[2:] for secret in self.client_secrets]
        signatures = [token.rpartition(".")[2] for token in self.tokens]
        own = [*self.tokens, *signatures, *self.tickets, *self.macs, *self.kept_secrets]
        return [*self.codes, *self.keys, *self.client_secrets, *basic, *own]


@contextlib.contextmanager
def captured() -> Iterator[io.StringIO]:
    """All that is printed and logged, by whom ever; only the debugging lines of libraries are left out."""
    text = io.StringIO()
    root, everything = logging.getLogger(), logging.StreamHandler(text)
    everything.setLevel(logging.INFO)
    own: Any = logger.registered_handler
    before, own.stream = own.stream, text
    root.addHandler(everything)
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            yield text
    finally:
        root.removeHandler(everything)
        own.stream = before


def written(value: Any) -> Any:
    """An item for the search: bytes as they are, and as text where they are text."""
    if isinstance(value, dict):
        return {name: written(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [written(inner) for inner in value]
    if isinstance(value, bytes):
        return [value.hex(), b64encode(value).decode(), value.decode("latin-1")]
    return value


def everything(kami: Kami, run: Run) -> None:
    """Each function's work, good and bad, with secrets where they belong and where they do not."""
    webhooks(kami, run)
    single = kami.voucher()
    gift, another_gift = (kami.voucher(redemption="balance") for _ in range(2))
    digits = kami.voucher(code_format="digits20")
    inactive = kami.voucher(active=False)
    run.codes += [voucher.code for voucher in (single, another_gift, digits, inactive)]
    run.codes += [mistyped(single.code), "77ZZ-GUES-SED0-C0DE", "99998888777766665555"]
    for code in run.codes:
        for device in ("device-1", unique("device")):
            kami.merchant.verify(code, device=device)
            kami.operator.verify(code.lower(), device=device)
    for number, code in enumerate(run.codes):
        kami.merchant.redeem(code, f"order-{number}", PHONES[number % 3], amount_minor=1000, device="device-2")
        kami.merchant.redeem(code, code, PHONES[number % 3], device="device-2")  # a code for a key
    run.codes.append(gift.code)
    once = granted(kami.merchant.redeem(gift.code, amount_minor=500, account=PHONES[0], store="shop-1"), 201)
    body = {"code": gift.code, "account": {"type": "broadband", "number": BROADBAND}, "amount_minor": 100}
    granted(kami.merchant.post("/v1/redemptions", body, unique()), 201)
    granted(kami.merchant.get(f"/v1/redemptions/{once['id']}"))
    granted(kami.merchant.reverse(once["id"]), 201)
    holds(kami, gift.code)
    qr_codes(kami, run)
    for _ in range(7):
        kami.merchant.redeem(mistyped(gift.code), account=PHONES[1])
    refused(kami.merchant.redeem(gift.code, account=PHONES[1]), 429, "too_many_attempts")
    granted(kami.operator.get(f"/v1/vouchers/{gift.serial}"))
    misplace(kami, gift.code)
    gifts(kami, run)
    reminded(kami, PHONES[1])
    draws(kami, run)
    recoveries(kami, run)
    books(kami, run)
    asking(kami)
    jobs(kami, run)
    the_record(kami, run)
    told = kami.cloud.carriers.inbox("secrecy")
    assert {"voucher.redeemed", "message.ended"} <= {each["type"] for each in told}
    run.messages.append(json.dumps(told))
    stored = s3_backends[ACCOUNT]["aws"].buckets.values()
    found = [(name, key.metadata, key.value) for one in stored for name, key in one.keys.items()]
    run.objects = "".join(f"{name} {dict(about)} {written(value)}" for name, about, value in found)


def webhooks(kami: Kami, run: Run) -> None:
    """An endpoint that is told all that happens, signed with a secret and then with another."""
    events = ["voucher.redeemed", "voucher.reversed", "voucher.recovered", "recovery.completed", "message.ended"]
    body = {"url": inbox(kami.cloud, "secrecy"), "events": events}
    made = granted(kami.operator.post("/v1/webhooks", body, unique()), 201)
    path = f"/v1/webhooks/{made['id']}"
    rotated = granted(kami.operator.post(f"{path}/rotations", {}, unique()), 201)
    run.tickets += [each["secret"].removeprefix("whsec_") for each in (made, rotated)]
    granted(kami.operator.post(f"{path}/tests", None, unique()), 201)
    kami.cloud.carriers.set("north", "none", receipts="prompt")
    for read in (path, f"{path}/deliveries", "/v1/webhooks", f"/v1/webhooks/{made['secret'][6:]}"):
        kami.operator.get(read)


def asking(kami: Kami) -> None:
    """An SMS that arrived, complained of all the same, and sent once more; and what its recipient wants."""
    kami.cloud.drain()
    found = granted(kami.operator.get(f"/v1/messages?recipient={quote(PHONES[0])}"))["data"]
    path = f"/v1/messages/{next(sms['id'] for sms in found if sms['status'] == 'delivered')}"
    granted(kami.operator.post(f"{path}/resends", {"customer": PHONES[0]}, unique()), 201)
    ticket = granted(kami.operator.post(f"{path}/complaints", {"customer": PHONES[0]}, unique()), 201)["id"]
    granted(kami.operator.post(f"/v1/complaints/{ticket}/outcomes", {"outcome": "carrier_side"}, unique()), 201)
    for read in (path, f"/v1/complaints/{ticket}", "/v1/complaints", "/v1/messages/statistics"):
        granted(kami.operator.get(read))
    granted(kami.operator.post("/v1/recipients/lookups", {"number": PHONES[0]}))
    granted(kami.operator.put("/v1/recipients", {"number": PHONES[0], "opted_out": ["reminders"]}))


def holds(kami: Kami, code: str) -> None:
    """One captured and one released, and some that are refused."""
    for end in ("captures", "releases"):
        order = {"code": code, "amount_minor": 10, "account": {"type": "broadband", "number": BROADBAND}}
        hold = granted(kami.merchant.post("/v1/holds", order, unique()), 201)["id"]
        granted(kami.merchant.get(f"/v1/holds/{hold}"))
        body = {"account": {"type": "mobile", "number": PHONES[0]}} if end == "captures" else None
        for _ in range(2):
            kami.merchant.post(f"/v1/holds/{hold}/{end}", body, unique())
        kami.merchant.post("/v1/holds", {**order, "code": mistyped(code)}, unique())


def qr_codes(kami: Kami, run: Run) -> None:
    """Shown in both forms, used, used again, and put where it does not belong."""
    voucher = claim(kami, kami.voucher(redemption="balance"), "member-1024")
    path = f"/v1/vouchers/{voucher.serial}/qr?customer=member-1024"
    payload = granted(kami.operator.get(path, accept="application/json"))["payload"]
    run.macs.append(payload.rpartition(".")[2])
    kami.operator.get(path)
    for take in (kami.merchant.verify, lambda code: kami.merchant.redeem(code, amount_minor=1, account=PHONES[2])):
        for text in (payload, payload, payload[:-1]):
            take(text)
    kami.merchant.get(f"/v1/redemptions/{payload}")
    kami.operator.get(f"/v1/vouchers/{payload}/qr?customer={payload}")


def misplace(kami: Kami, code: str) -> None:
    """Secrets in the path, the query, the headers, the names of members, and in text that does not parse."""
    client, phone = kami.merchant, PHONES[2]
    kami.operator.get(f"/v1/vouchers/{code}")
    client.get(f"/v1/redemptions/{code}")
    client.get(f"/{code}/{phone}")
    client.get(f"/v1/redemptions/x?access_token={client.token}&code={code}&phone={phone}")
    for headers in ({"user-agent": code}, {"referer": phone}, {"accept-language": code}, {"cookie": client.token}):
        client.get("/v1/redemptions/x", **headers)
        client.get("/nope", **headers)
    for text in (f'{{"{code}": 1}}', f'{{"code": "{code}', code, phone, f'["{code}"]', client.token):
        client.post("/v1/redemptions", text, unique())
        client.post("/v1/verifications", text)
    client.redeem(code, account=f"{phone} ")
    client.redeem(code, account=code)
    client.redeem(code * 4, account=phone)
    kami.operator.post("/v1/reveals", {"serials": [code], "reason": "x"})
    kami.operator.post("/v1/activations", {"selection": {"serials": [code, phone]}})
    secret = client.client_secret
    for form in (f"client_secret={secret}", f"grant_type={secret[:60]}", f"grant_type=client_credentials&{secret}"):
        kami.cloud.request("POST", f"/v1/tokens?client_secret={secret}", headers={"content-type": FORM}, body=form)
        kami.cloud.request("POST", "/v1/tokens", headers={"content-type": FORM}, body=form)
    for authorization in (f"Bearer {secret}", f"Basic {secret}", f"Bearer {client.token[:-1]}", client.token):
        kami.cloud.request("GET", "/v1/campaigns", headers={"authorization": authorization})


def gifts(kami: Kami, run: Run) -> None:
    """One returned, one accepted after wrong guesses, by customers who are known by their phone numbers."""
    voucher = claim(kami, kami.voucher(), PHONES[1])
    for end in ("returns", "acceptances"):
        order = {"serial": voucher.serial, "customer": PHONES[1]}
        offered = granted(kami.operator.post("/v1/transfers", order, unique()), 201)
        run.tickets.append(offered["token"])
        path, customer = f"/v1/transfers/{offered['id']}/{end}", PHONES[1] if end == "returns" else PHONES[2]
        if end == "acceptances":
            kami.operator.post(path, {"token": mistyped(offered["token"]), "customer": customer}, unique())
            kami.operator.post(path, {"token": voucher.code, "customer": customer}, unique())
            kami.operator.post(
                f"/v1/transfers/{offered['token']}/{end}", {"token": "x", "customer": customer}, unique()
            )
        body = {"customer": customer} | ({"token": offered["token"]} if end == "acceptances" else {})
        done = granted(kami.operator.post(path, body, unique()), 201)
    run.codes += [voucher.code, done["code"]]
    assert len(granted(kami.operator.get(f"/v1/customers/{quote(PHONES[2])}/vouchers"))["data"]) == 1


def recoveries(kami: Kami, run: Run) -> None:
    """What a second person decides; what is suspended, resumed, voided and replaced; what a clock announces."""
    approver, remark = kami.client("approver"), f"{PHONES[0]} lost {run.codes[0]}"
    for decision in ("approve", "reject"):
        made = kami.awaiting_approval()
        body = {"digest": made["approval"]["digest"], "decision": decision}
        refused(kami.operator.post(f"/v1/recoveries/{made['id']}/approvals", body, unique()), 403, "insufficient_scope")
        granted(approver.post(f"/v1/recoveries/{made['id']}/approvals", body, unique()), 201)
    cards = [kami.voucher(redemption="balance") for _ in range(2)]
    batch = kami.batch(kami.campaign()["id"], 4)["id"]
    for selection in ({"batch": batch}, {"serials": [cards[0].serial]}):
        order = {**kami.recovery("suspend", **selection), "note": remark}
        suspension = granted(kami.operator.post("/v1/recoveries", order), 202)["id"]
        settle(kami)
        order = {"action": "resume", "recovery": suspension, "reason": "other"}
        granted(kami.operator.post("/v1/recoveries", order), 202)
        settle(kami)
    granted(kami.operator.post("/v1/recoveries", kami.recovery("void", serials=[cards[0].serial])), 202)
    claim(kami, cards[1], PHONES[1])
    till = kami.client("merchant")  # one that has given no wrong codes
    used = granted(till.redeem(cards[1].code, amount_minor=7, account=PHONES[1]), 201)["id"]
    granted(kami.operator.post("/v1/recoveries", kami.recovery("reissue", serials=[cards[1].serial])), 202)
    settle(kami)
    granted(till.reverse(used, reason=remark), 201)
    granted(kami.operator.post("/v1/reveals", {"serials": [cards[1].serial], "reason": remark}))
    ending = kami.campaign(valid_until=rfc3339(clock.now() + 3_600), reclaim_unactivated_after_days=1)["id"]
    kami.cloud.fire("kami-dev-reclaims")
    kami.cloud.drain()
    granted(kami.operator.post(f"/v1/campaigns/{ending}/reclaim-stops", None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("functions.store.ranges.SEGMENTS_PER_LOT_MAX", 1)
        serials = kami.serials(batch)
        kami.activate(serials=serials[1:2])
        body = {"selection": {"serials": serials[1:2]}, "days": 30}
        assert granted(kami.operator.post("/v1/extensions", body), 201)["extended"] == 1
    run.codes += [card.code for card in cards]


def books(kami: Kami, run: Run) -> None:
    """A used card set back to unused, and used again; then the books are compared."""
    card, till = claim(kami, kami.voucher(), PHONES[2]), kami.client("merchant")
    before = kami.items()[keys.voucher(position(card))]
    for _ in range(2):
        granted(till.redeem(card.code, account=PHONES[2]), 201)
        kami.cloud.drain()
        kami.cloud.client("dynamodb").put_item(TableName=kami.cloud.stack.tables[0], Item=before)
    granted(kami.operator.post("/v1/reconciliations", {"selection": {"serials": [card.serial]}}, unique()), 202)
    settle(kami)
    run.codes.append(card.code)


def the_record(kami: Kami, run: Run) -> None:
    """Rights that change, and then all that is on record, sealed and exported."""
    engineer = clients.by_engineer("setup")
    with kami.cloud.environment("recover"):
        _, authenticator = clients.enrol(kami.operator.client_id, engineer)
        clients.withdraw(kami.operator.client_id, engineer)
    run.keys.append(authenticator)
    with kami.cloud.environment("authorize"):
        client, secret = clients.create("Wang Fang", "support", clock.now())
        clients.rotate(client.client_id, clock.now(), 0, clients.by_engineer("setup"))
        clients.revoke(client.client_id, clock.now(), clients.by_engineer("setup"))
    assert secret
    kami.cloud.drain()
    granted(kami.operator.post("/v1/audit/exports", {}), 202)
    kami.cloud.drain()
    granted(kami.operator.get("/v1/audit?limit=100"))


def draws(kami: Kami, run: Run) -> None:
    """Codes to a buyer and to customers who are known by their phone numbers, until few are left and none."""
    campaign = kami.campaign(low_stock=2, claims_per_customer=2)["id"]
    kami.batch(campaign, 3)
    order = {"campaign": campaign, "quantity": 2, "buyer": "order-1"}
    made = granted(kami.operator.post("/v1/dispenses", order, unique()), 201)
    granted(kami.operator.get(f"/v1/dispenses/{made['id']}"))
    codes = [line["code"] for line in made["data"]]
    for customer, of in ((PHONES[1], {"code": codes[0]}), (PHONES[1], {"campaign": campaign})):
        done = granted(kami.operator.post("/v1/claims", {"customer": customer, **of}, unique()), 201)
    for body in (
        {"customer": PHONES[2], "campaign": campaign},
        {"customer": PHONES[2], "code": codes[0]},
        {"customer": PHONES[2], "code": mistyped(codes[1])},
        {"customer": PHONES[1], "code": codes[1]},
        {"customer": codes[1], "campaign": codes[1], "tier": PHONES[1]},
    ):
        assert kami.operator.post("/v1/claims", body, unique()).status >= 400
    kami.operator.get(f"/v1/dispenses/{codes[1]}")
    run.codes += [*codes, done["code"]]


def jobs(kami: Kami, run: Run) -> None:
    """Work of the queues, and all that follows from the stream: history, events, messages, recoveries."""
    path = f"/v1/campaigns/{kami.campaign(redemption='balance')['id']}/batches"
    batch = granted(kami.operator.post(path, {"quantity": 30_000}), 202)
    kami.cloud.drain()
    channels(kami, batch)
    granted(kami.operator.post("/v1/activations", {"selection": {"batch": batch["id"]}}), 202)
    kami.cloud.drain()
    codes = kami.codes([batch["first_serial"], batch["last_serial"]])
    run.codes += codes
    imports(kami, run)
    exports(kami, run, batch["id"])
    kami.cloud.carriers.set("north", "down")
    granted(kami.merchant.redeem(codes[0], amount_minor=1, account=PHONES[0]), 201)
    recovery = granted(kami.operator.post("/v1/recoveries", kami.recovery("reclaim", batch=batch["id"])), 202)
    kami.cloud.drain(delayed=False)
    with pytest.MonkeyPatch.context() as patch:
        later = clock.now() + FENCE_S
        patch.setattr(clock, "now", lambda: later)
        kami.cloud.drain()
    assert granted(kami.operator.get(f"/v1/recoveries/{recovery['id']}"))["status"] == "completed"
    granted(kami.operator.get(f"/v1/vouchers/{batch['first_serial']}/history"))
    granted(kami.operator.get(f"/v1/messages?recipient={quote(PHONES[0])}"))
    erased(kami, number=PHONES[1])


def channels(kami: Kami, batch: Json) -> None:
    """Out to a shop, one card back, and all of them valid for longer."""
    shop = kami.channel()["id"]
    for body in (
        {"selection": {"batch": batch["id"]}, "to": shop},
        {"selection": {"serials": [batch["last_serial"]]}, "from": shop, "to": None},
    ):
        kami.operator.post("/v1/distributions", body)
        kami.cloud.drain()
    kami.operator.post("/v1/extensions", {"selection": {"batch": batch["id"]}, "days": 30})
    kami.cloud.drain()
    assert sum(kami.stock(shop)["counts"].values()) == 29_999


def imports(kami: Kami, run: Run) -> None:
    """Codes that are taken, repeated, refused for their line, and in a file that is refused."""
    campaign = kami.campaign(code_format="imported")["id"]
    codes = ["BOUGHT-7QX2-0001", "BOUGHT-7QX2-0002", "BOUGHT-7QX2-0003"]
    kami.imported(campaign, "\n".join(["code,reference", codes[0], codes[1], codes[0], f'"{codes[2]}']).encode())
    done = kami.imported(campaign, "\n".join(codes).encode())
    kami.imported(campaign, "\n".join(codes).encode("utf-16"))
    assert kami.codes(kami.serials(done["batch"])) == codes[2:]
    kami.operator.post("/v1/imports", {"campaign": codes[0], "size": 1}, unique())
    kami.operator.get(f"/v1/imports/{codes[0]}")
    run.codes += codes


def exports(kami: Kami, run: Run, batch: str) -> None:
    """In both layouts, with tickets used rightly and wrongly."""
    for body in ({"format": "csv"}, {"format": "jsonl"}):
        path = f"/v1/batches/{batch}/exports"
        export = granted(kami.operator.post(path, {"recipient": RECIPIENT, **body}), 202)["id"]
        kami.cloud.drain()
        granted(kami.operator.get(f"/v1/exports/{export}"))
        text = granted(kami.operator.post(f"/v1/exports/{export}/tickets", None), 201)["ticket"]
        run.tickets.append(text.partition(".")[2])
        for name, asked in (("9", text), ("1", text), ("1", text), ("1", text[:-1]), (text, "x"), (run.codes[0], text)):
            kami.cloud.request("GET", f"/v1/exports/{export}/files/{name}?ticket={asked}")
    batch = kami.batch(kami.campaign()["id"], 2)["id"]
    granted(kami.operator.post(f"/v1/batches/{batch}/exports", {"recipient": RECIPIENT, "qr": True}), 202)
    kami.cloud.drain()
    run.codes += kami.codes(kami.serials(batch))


@contextlib.contextmanager
def tapped(run: Run) -> Iterator[None]:
    """All that is put on the bus and on any queue."""
    send_message, put_events = SQSBackend.send_message, EventsBackend.put_events

    def sent(self: SQSBackend, *args: Any, **named: Any) -> Any:
        run.messages.append(json.dumps([args, named], default=str))
        return send_message(self, *args, **named)

    def put(self: EventsBackend, events: list[Json]) -> Any:
        run.events += [json.dumps(event, default=str) for event in events]
        return put_events(self, events)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SQSBackend, "send_message", sent)
        patch.setattr(EventsBackend, "put_events", put)
        yield


@pytest.fixture(scope="module")
def run(kami: Kami) -> Run:
    run = Run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("functions.generate.batches.LOTS_PER_CALL_MAX", 2)
        patch.setattr("functions.distribute.service.LOTS_PER_CALL_MAX", 2)
        request = kami.cloud.request

        def recorded(method: str, target: str, **rest: Any) -> Answer:
            answer = request(method, target, **rest)
            run.answers.append((f"{method} {target}", answer))
            return answer

        patch.setattr(kami.cloud, "request", recorded)
        with captured() as text, tapped(run):
            with kami.cloud.environment("authorize"):
                _, rotated = clients.rotate(kami.merchant.client_id, clock.now(), 3_600, clients.by_engineer("test"))
            everything(kami, run)
            run.log = text.getvalue()
    run.client_secrets = [kami.merchant.client_secret, kami.operator.client_secret, rotated]
    run.tokens = [kami.merchant.token, kami.operator.token]
    items = [table._plain(item) for item in kami.items().values()]
    with kami.cloud.environment("redeem"):
        parts = [part for item in items if item.get("entity") == "lot" for part in LOT.load(item).parts]
        run.keys += [vault.unwrap(part.wrapped_key, part.batch) for part in parts]
    keeper = kami.cloud.client("secretsmanager")
    arns = [secret["ARN"] for secret in keeper.list_secrets()["SecretList"]]
    run.kept_secrets = [keeper.get_secret_value(SecretId=arn)["SecretString"] for arn in arns]
    run.items = json.dumps(written(items), ensure_ascii=False, default=str)
    return run


def found(secrets: list[Any], *texts: str) -> list[str]:
    """The secrets that are in a text in any form, regardless of case."""
    lower = [text.lower() for text in texts]
    return [
        f"{secret!r} as {form}"
        for secret in secrets
        for form in forms(secret)
        if any(form.lower() in text for text in lower)
    ]


def test_the_run_was_seen(run: Run, kami: Kami) -> None:
    """Everything that the other tests search is there and full, and the search does find what is in it."""
    assert len(run.macs) == 1
    assert len(run.codes) == 23
    assert run.objects.count("age-encryption.org/v1") == 6
    assert len(run.keys) >= 5
    assert all(name in run.objects for name in ("entries/1.", "checkpoints/0000000001.jws", "audit/aex_"))
    assert "Wang Fang" not in run.objects

    types = [json.loads(event)["DetailType"] for event in run.events]
    assert set(types) == set(TYPES) - ELSEWHERE
    assert len(run.messages) > types.count("voucher.redeemed") > 5
    assert len(kami.cloud.carriers.phone(PHONES[0])) > 1
    assert len(run.answers) > 100
    assert all("POST /v1/redemptions" in text for text in (run.log, json.dumps([target for target, _ in run.answers])))
    assert run.log.count('"service"') > 100
    assert kami.merchant.client_id in run.log
    assert kami.merchant.client_id in run.items
    assert PHONES[0] in run.items
    for secret in run.secrets:
        hidden = secret if isinstance(secret, bytes) else secret.encode()
        for text in (hidden.hex(), *(b64encode(b"x" * n + hidden + b"y" * n).decode() for n in range(3))):
            assert found([secret], f"--{text}--")


def test_no_log_line_holds_a_secret(run: Run) -> None:
    assert found(run.secrets, run.log) == []


def test_no_log_line_holds_a_whole_account_number(run: Run) -> None:
    numbers = [*PHONES, *(phone[1:] for phone in PHONES), PHONES[0][3:], PHONES[1][3:], PHONES[2][2:], BROADBAND]
    assert found(numbers, run.log) == []


def test_no_item_holds_a_secret(run: Run) -> None:
    assert found(run.secrets, run.items) == []


def test_no_object_of_a_bucket_holds_a_secret(run: Run) -> None:
    assert found(run.secrets, run.objects) == []


def test_no_message_of_a_queue_or_event_of_the_bus_holds_a_secret_or_an_account_number(run: Run) -> None:
    assert found([*run.secrets, *PHONES, BROADBAND], *run.messages, *run.events) == []


def test_no_answer_holds_a_secret_but_those_that_are_asked_for_it(run: Run) -> None:
    shown = [(t, a) for t, a in run.answers if a.status < 300 and SHOWN.fullmatch(t)]
    others = [each for each in run.answers if each not in shown]
    secrets = [*run.keys, *run.client_secrets, *run.tokens, *run.tickets, *run.kept_secrets]
    for target, answer in others:
        text = answer.body.decode() + str(answer.headers)
        assert found(secrets, text) == [], target
        if answer.status < 400:
            assert found([*run.codes, *run.macs, *PHONES, BROADBAND], text) == [], target


# What nobody foresaw


@pytest.mark.parametrize("error", [
    lambda secret: ValueError(f"cannot use {secret}"),
    lambda secret: KeyError(secret),
    lambda secret: RecursionError(secret),
    lambda secret: ExceptionGroup(secret, [ValueError(secret)]),
    lambda secret: ClientError({"Error": {"Code": "ValidationException", "Message": secret}}, "PutItem"),
])  # fmt: skip
def test_the_message_of_a_bug_reaches_neither_the_log_nor_the_answer(
    kami: Kami, log: Log, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    voucher, phone = kami.voucher(), PHONES[0]

    def broken(*_: Any) -> None:
        try:
            raise LookupError(phone)
        except LookupError as cause:
            raise error(f"{voucher.code} {phone}") from cause

    monkeypatch.setattr("functions.redeem.service.with_redemption", broken)
    before = kami.items()
    answer = kami.merchant.redeem(voucher.code, account=phone)
    refused(answer, 500, "internal_error")
    assert found([voucher.code, phone], log.text, answer.body.decode() + str(answer.headers)) == []
    (line,) = [line for line in log.lines if line["level"] == "ERROR"]
    assert line["caused_by"] == "LookupError"
    assert any("with_redemption" in place or "broken" in place for place in line["where"])
    assert kami.items() == before


def test_an_item_that_does_not_load_is_not_quoted(kami: Kami, log: Log) -> None:
    voucher, phone = kami.voucher(redemption="balance"), "+8618612345678"
    granted(kami.merchant.redeem(voucher.code, amount_minor=1, account=phone), 201)
    (key,) = [key for key, item in kami.items().items() if phone in str(item) and voucher.serial in str(item)]
    (name,) = kami.cloud.stack.tables
    kami.cloud.client("dynamodb").update_item(
        TableName=name,
        Key={"pk": {"S": key[0]}, "sk": {"S": key[1]}},
        UpdateExpression="SET #status = :status",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":status": {"S": phone}},
    )
    refused(kami.merchant.redeem(voucher.code, account=phone), 500, "internal_error")
    refused(kami.operator.get(f"/v1/vouchers/{voucher.serial}"), 500, "internal_error")
    assert len([line for line in log.lines if line["level"] == "ERROR"]) == 2
    assert found([phone, voucher.code], log.text) == []


def test_the_message_of_a_bug_in_a_job_does_not_reach_the_log(
    kami: Kami, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> bool:
        raise ValueError(PHONES[0])

    monkeypatch.setattr("functions.generate.batches.find", broken)
    records = [{"messageId": "1", "body": '{"id": "bat_1"}', "eventSourceARN": "arn"}]
    result = kami.cloud.invoke("generate", {"Records": records})
    assert result == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert [line["error_type"] for line in log.lines] == ["ValueError"]
    assert found(PHONES[:1], log.text) == []
