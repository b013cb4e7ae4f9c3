"""Receipts: each provider's own proof over HTTP, AWS's by its topic; each reaches the message that it is about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from functions.domain.message import Attempt, Message, Pointer, Status
from functions.edge.routes import ROUTES
from functions.notify import receipts, service
from functions.notify.providers import simulated, twilio
from functions.store import accounts, jobs, keys, table
from functions.store.records import MESSAGE, POINTER
from functions.store.wire import write
from infra.local.cloud import Cloud
from infra.local.gateway import Answer
from infra.local.template import ROOT
from tests.integration.conftest import Log
from tests.integration.kami import Json, Kami, granted, mobile, refused, unique

JSON: Final = {"content-type": "application/json"}
RECEIPTS_URL: Final = "https://api.example.com/v1/receipts"
TOKEN: Final = "not-a-secret"
NORTH: Final = "simulated:north"
ACCOUNTS: Final = {
    "alibaba": {"receipts_token": TOKEN},
    "tencent": {"receipts_token": TOKEN},
    "twilio": {"account_sid": "AC1", "auth_token": "12345"},
}


@pytest.fixture
def cloud(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """With accounts at all providers, and carriers that are well."""
    cloud = kami.cloud
    environment = cloud.stack.functions["notify"].environment
    monkeypatch.setattr(accounts, "_known", {})
    monkeypatch.setitem(environment, twilio.SMS_RECEIPTS_URL, RECEIPTS_URL)
    for name, account in ACCOUNTS.items():
        arn = environment[accounts.SMS_ACCOUNT + name.upper()]
        cloud.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=json.dumps(account))
    cloud.carriers.reset()
    yield cloud
    cloud.drain()
    cloud.carriers.reset()


def redeemed(kami: Kami) -> str:
    """Somebody whom a redemption is told."""
    number = mobile()
    granted(kami.merchant.redeem(kami.voucher().code, account=number), 201)
    return number


def message_to(kami: Kami, number: str) -> Json:
    found = granted(kami.operator.get(f"/v1/messages?recipient=%2B{number[1:]}"))["data"]
    (only,) = found
    message: Json = only
    return message


def told(kami: Kami, number: str) -> tuple[str, list[tuple[str, str | None]]]:
    """Where the message to a number stands, and what its attempts came to."""
    message = message_to(kami, number)
    return message["status"], [(a["outcome"], a.get("reason")) for a in message["attempts"]]


def given(cloud: Cloud, provider: str, body: Any, query: str = "", **headers: str) -> Answer:
    """A request with receipts, as a provider makes it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return cloud.request("POST", f"/v1/receipts/{provider}{query}", headers=sent, body=content)


def by_carrier(cloud: Cloud, *entries: Json, secret: str | None = None) -> Answer:
    """Receipts of a simulated carrier, signed."""
    body = json.dumps(entries).encode()
    return given(cloud, NORTH, body, x_carrier_signature=simulated.signature(secret or cloud.carriers.secret, body))


def sent_by(kami: Kami, provider: str, **attempt: Any) -> Message:
    """A message that a provider has taken: as if it had been sent through it."""
    id = unique("msg").replace("-", "")
    made = Attempt(provider, f"{id}-1", 0, "t", outcome=Status.SENT, sent_at=0, **attempt)
    message = Message(id, "voucher.redeemed", kami.voucher().serial, mobile(), "text", 0, Status.SENT, (made,))
    with kami.cloud.environment("notify"):
        table.put(MESSAGE.item(replace(message, version=1), "test", service.BY), 0)
    return message


def now(kami: Kami, message: Message) -> Message:
    with kami.cloud.environment("notify"):
        found = table.read(MESSAGE, keys.message(message.id))
    assert found is not None
    return found


# what carriers of the local cloud tell


@pytest.mark.parametrize("how", ["prompt", "repeated", "out_of_order", "early"])
def test_what_was_delivered_is_so_however_its_receipts_come(kami: Kami, cloud: Cloud, how: str) -> None:
    cloud.carriers.set("north", "none", receipts=how)
    number = redeemed(kami)
    cloud.drain(twice=True, shuffle=1)
    assert told(kami, number) == ("delivered", [("delivered", None)])
    assert len(cloud.carriers.phone(number)) == 1


def test_without_receipts_it_is_but_sent(kami: Kami, cloud: Cloud) -> None:
    number = redeemed(kami)
    cloud.drain()
    assert told(kami, number) == ("sent", [("sent", None)])


def test_a_lost_reply_is_made_up_for_by_the_receipt(kami: Kami, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "pause", lambda *_: 60)
    cloud.carriers.set("north", "lose_reply", receipts="prompt")
    number = redeemed(kami)
    cloud.drain(delayed=False)
    assert told(kami, number) == ("queued", [("unknown", "no_reply")])
    cloud.carriers.deliver()
    cloud.drain()
    assert message_to(kami, number)["status"] == "delivered"
    assert len(cloud.carriers.phone(number)) == cloud.carriers.carrier("north").asked.total() == 1


def test_what_was_not_delivered_is_tried_again_where_that_may_help(kami: Kami, cloud: Cloud) -> None:
    cloud.carriers.set("north", "none", receipts="prompt", receipt_code="technical_fault")
    cloud.carriers.set("south", "none", receipts="prompt")
    number = redeemed(kami)
    cloud.drain(twice=True)
    assert told(kami, number) == ("delivered", [("undelivered", "technical_fault"), ("delivered", None)])
    assert len(cloud.carriers.phone(number)) == 1


# whose it is


@pytest.mark.parametrize(
    "answer",
    [
        lambda cloud, message: by_carrier(cloud, entry(message), secret="another"),
        lambda cloud, message: given(cloud, NORTH, [entry(message)]),
        lambda cloud, message: given(cloud, "alibaba", [report(message)]),
        lambda cloud, message: given(cloud, "alibaba", [report(message)], f"?token=x{TOKEN}"),
        lambda cloud, message: given(cloud, "alibaba", [report(message)], "?token="),
        lambda cloud, message: given(cloud, "tencent", [status(message)], "?token=%20"),
        lambda cloud, message: given(cloud, "twilio", b"MessageSid=1&MessageStatus=delivered"),
        lambda cloud, message: given(cloud, "twilio", b"MessageSid=1&MessageStatus=delivered", x_twilio_signature="x"),
        lambda cloud, message: given(cloud, "twilio", b"", f"?reference={message.attempts[0].reference}"),
    ],
)
def test_without_proof_it_is_refused_and_changes_nothing(kami: Kami, cloud: Cloud, answer: Any) -> None:
    message = sent_by(kami, NORTH)
    cloud.drain()
    before = kami.writes()
    refusal = answer(cloud, message)
    refused(refusal, 401, "invalid_signature")
    assert refusal.header("www-authenticate") == "Signature"
    cloud.drain()
    assert now(kami, message).status is Status.SENT
    assert kami.writes() == before


def test_a_refusal_is_in_the_senders_language(cloud: Cloud) -> None:
    document = refused(given(cloud, NORTH, [], accept_language="zh-CN"), 401, "invalid_signature")
    assert document["title"] == "签名或凭证无效"


@pytest.mark.parametrize("provider", ["aws", "simulated", "simulated:east", "nobody", "x" * 129, "%20"])
def test_of_an_unknown_provider_nothing_is_taken(cloud: Cloud, provider: str) -> None:
    refused(given(cloud, provider, []), 404, "not_found")


def test_a_body_has_a_limit_of_bytes_and_of_receipts(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    (route,) = [route for route in ROUTES if route.operation == "create_receipts"]
    most = route.raw_bytes_max or 0
    refused(given(cloud, "alibaba", b" " * (most + 1), f"?token={TOKEN}"), 413, "body_too_large")
    refused(given(cloud, "alibaba", b" " * most, f"?token={TOKEN}"), 400, "invalid_request")
    monkeypatch.setattr(receipts, "RECEIPTS_MAX", 1)
    refused(by_carrier(cloud, *[{"reference": "msg_1-1", "id": "1", "at": 0}] * 2), 400, "invalid_request")


def test_many_receipts_of_one_request_are_one_order_each(kami: Kami, cloud: Cloud) -> None:
    messages = [sent_by(kami, NORTH) for _ in range(jobs.BATCH_MAX + 1)]
    assert by_carrier(cloud, *map(entry, messages)).status == 204
    cloud.drain()
    assert {now(kami, message).status for message in messages} == {Status.DELIVERED}


# the other providers


def entry(message: Message) -> Json:
    return {"reference": message.attempts[0].reference, "id": "north-1", "at": 1}


def report(message: Message, **changes: Any) -> Json:
    of = {"phone_number": "1", "report_time": "2026-11-22 16:00:00", "success": True, "err_code": "DELIVERED"}
    return {**of, "biz_id": "b^0", "out_id": message.attempts[0].reference, **changes}


def status(message: Message, **changes: Any) -> Json:
    of = {"user_receive_time": "2026-11-22 16:00:00", "report_status": "SUCCESS", "errmsg": "DELIVRD"}
    return {**of, "sid": message.attempts[0].provider_id or f"s-{message.id}", **changes}


def test_alibaba_is_answered_as_it_wants_and_its_receipt_told_by_our_reference(kami: Kami, cloud: Cloud) -> None:
    message, other = sent_by(kami, "alibaba"), sent_by(kami, "alibaba")
    body = [report(message), report(other, success=False, err_code="MOBILE_IN_BLACK")]
    answer = given(cloud, "alibaba", body, f"?token={TOKEN}")
    assert (answer.status, answer.json()) == (200, {"code": 0, "msg": "OK"})
    cloud.drain(twice=True)
    assert now(kami, message).status is Status.DELIVERED
    (attempt,) = now(kami, other).attempts
    assert (attempt.outcome, attempt.reason, attempt.code) == (Status.UNDELIVERED, "blocked", "MOBILE_IN_BLACK")


def test_twilio_is_answered_with_nothing_and_its_receipt_told_by_the_address(kami: Kami, cloud: Cloud) -> None:
    message = sent_by(kami, "twilio")
    reference = message.attempts[0].reference
    fields = {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30006", "To": "+1"}
    signature = twilio.signature(
        "12345", f"{RECEIPTS_URL}/twilio?reference={reference}", {name: [value] for name, value in fields.items()}
    )
    form = {"content_type": "application/x-www-form-urlencoded", "x_twilio_signature": signature}
    answer = given(cloud, "twilio", urlencode(fields).encode(), f"?reference={reference}", **form)
    assert (answer.status, answer.body) == (204, b"")
    cloud.drain()
    (attempt,) = now(kami, message).attempts
    assert (attempt.outcome, attempt.reason, attempt.provider_id) == (Status.UNDELIVERED, "landline", "SM1")


def test_tencent_means_its_own_id_which_was_noted_when_it_took_the_message(kami: Kami, cloud: Cloud) -> None:
    message = sent_by(kami, "tencent", provider_id="s-1")
    with cloud.environment("notify"):
        table.put(POINTER.item(Pointer("tencent", "s-1", message.attempts[0].reference, 9), "test", service.BY), 0)
    answer = given(cloud, "tencent", [status(message)], f"?token={TOKEN}")
    assert (answer.status, answer.json()) == (200, {"result": 0, "errmsg": "OK"})
    cloud.drain()
    assert now(kami, message).status is Status.DELIVERED


def test_a_receipt_that_is_earlier_than_the_note_comes_back(kami: Kami, cloud: Cloud) -> None:
    message = sent_by(kami, "tencent")  # the worker has not written down yet what Tencent calls it
    assert given(cloud, "tencent", [status(message)], f"?token={TOKEN}").status == 200
    cloud.drain(delayed=False)
    assert now(kami, message).status is Status.SENT
    with cloud.environment("notify"):
        pointer = Pointer("tencent", f"s-{message.id}", message.attempts[0].reference, 9)
        table.put(POINTER.item(pointer, "test", service.BY), 0)
    cloud.drain()
    assert now(kami, message).status is Status.DELIVERED


def test_a_receipt_that_is_about_nothing_is_given_up_in_the_end_and_logged(cloud: Cloud, log: Log) -> None:
    assert given(cloud, "tencent", [{"report_status": "SUCCESS", "sid": "none"}], f"?token={TOKEN}").status == 200
    assert by_carrier(cloud, {"reference": "msg_none-1", "id": "1", "at": 0}).status == 204
    cloud.drain()
    lines = [line for line in log.lines if line["message"] == "receipt"]
    for provider in ("tencent", NORTH):
        alarms = [line.get("alarm") for line in lines if line["provider"] == provider]
        assert alarms == [*[None] * len(receipts.WAITS_S), receipts.UNMATCHED]


def test_what_aws_tells_comes_by_its_topic(kami: Kami, cloud: Cloud, log: Log) -> None:
    exchange = json.loads((ROOT / "events" / "providers" / "aws" / "event-unreachable.json").read_text())
    message = sent_by(kami, "aws")
    (topic,) = (t for t in cloud.client("sns").list_topics()["Topics"] if "SmsEvents" in t["TopicArn"])
    event = {**exchange["event"], "context": {"reference": message.attempts[0].reference}}
    for told in (event, {**event, "context": {}}, {**event, "eventType": "TEXT_QUEUED", "isFinal": False}):
        cloud.client("sns").publish(TopicArn=topic["TopicArn"], Message=json.dumps(told))
    cloud.drain()
    (attempt, *_) = now(kami, message).attempts
    assert (attempt.outcome, attempt.reason, attempt.code) == (
        Status.UNDELIVERED,
        "not_reachable",
        "TEXT_UNREACHABLE",
    )
    assert [line["told"] for line in log.lines if line["message"] == "receipt"] == ["undelivered"]


def test_a_message_that_tencent_takes_is_noted_by_its_id(
    kami: Kami, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the whole of notify, with an answer in place of Tencent's."""
    from functions.notify.providers import tencent
    from functions.notify.providers.base import Reply

    account = {"secret_id": "i", "secret_key": "k", "templates": {"voucher.redeemed.zh-CN@1": "1110"}}
    answer = {"Response": {"SendStatusSet": [{"SerialNo": "s-42", "Code": "Ok"}]}}
    monkeypatch.setattr(tencent, "account", lambda _: {**account, **ACCOUNTS["tencent"]})
    monkeypatch.setattr(tencent, "ask", lambda *_: Reply(200, answer))
    monkeypatch.setitem(cloud.stack.functions["notify"].environment, "SMS_PROVIDERS", "tencent")
    number = redeemed(kami)
    cloud.drain()
    assert told(kami, number) == ("sent", [("sent", None)])
    body = [{"report_status": "FAIL", "errmsg": "MK:0001", "sid": "s-42"}]
    assert given(cloud, "tencent", body, f"?token={TOKEN}").status == 200
    cloud.drain()
    assert told(kami, number) == ("undelivered", [("undelivered", "number_invalid")])
    item = kami.items()[keys.pointer("tencent", "s-42")]
    assert {"ttl_epoch_s", "reference"} <= set(item) and item["reference"] == write(
        f"{message_to(kami, number)['id']}-1"
    )
