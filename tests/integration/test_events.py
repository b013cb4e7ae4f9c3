"""The payloads in events/: each is answered as its README says, and the local cloud's own payloads look like them."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, Final

import pytest

from functions.domain.serials import LOT_SIZE
from functions.edge.routes import ROUTES
from infra.local.gateway import Request, Router, to_answer, to_event
from infra.local.pumps import to_event as to_batch
from infra.local.template import ROOT
from tests.integration.kami import Json, Kami, granted, refused

EVENTS: Final = ROOT / "events"
ELSEWHERE: Final = ("bus", "schemas", "relay", "providers")
"""Not of gateway or queue: tests/unit/test_domain_events.py, tests/integration/test_relay.py and
tests/unit/test_providers.py have these."""
FILES: Final = sorted(path for path in EVENTS.glob("*/*.json") if path.parent.name not in ELSEWHERE)

EXPECTED: Final[dict[str, int | tuple[int, str]]] = {
    "audit/checkpoints": 200,
    "audit/entries": 200,
    "audit/export": 202,
    "audit/export-read": 200,
    "audit/file": 303,
    "authorize/key-set": 200,
    "authorize/token": 200,
    "authorize/token-of-a-stranger": (401, "invalid_client"),
    "console/docs": 200,
    "console/home": 200,
    "console/no-route": (404, "not_found"),
    "console/openapi": 200,
    "distribute/activation": 201,
    "distribute/activation-of-a-file": 201,
    "distribute/activation-on-sale": 201,
    "distribute/activation-read": 200,
    "distribute/channel": 201,
    "distribute/channel-read": 200,
    "distribute/channels": 200,
    "distribute/claim": 201,
    "distribute/claim-by-code": 201,
    "distribute/dispense": 201,
    "distribute/dispense-read": 200,
    "distribute/distribution": 201,
    "distribute/distribution-read": 200,
    "distribute/extension": 201,
    "distribute/extension-read": 200,
    "distribute/stock": 200,
    "distribute/acceptance": 201,
    "distribute/acceptance-with-a-wrong-token": (404, "transfer_not_valid"),
    "distribute/return": 201,
    "distribute/transfer": 201,
    "distribute/wallet": 200,
    "generate/batch": 201,
    "generate/batch-as-a-job": 202,
    "generate/batch-read": 200,
    "generate/campaign": 201,
    "generate/campaign-read": 200,
    "generate/campaign-without-end": (400, "invalid_request"),
    "generate/campaigns": 200,
    "generate/reclaim-stop": 200,
    "generate/reveal": 200,
    "generate/export": 202,
    "generate/export-read": 200,
    "generate/ticket": 201,
    "generate/file": 303,
    "generate/file-without-ticket": (404, "ticket_not_valid"),
    "generate/import": 202,
    "generate/import-read": 200,
    "generate/import-start": 202,
    "generate/import-start-without-file": (409, "upload_missing"),
    "generate/vouchers": 200,
    "redeem/capture": 201,
    "redeem/hold": 201,
    "redeem/hold-read": 200,
    "redeem/redemption": 201,
    "redeem/redemption-of-a-wrong-code": (404, "voucher_not_redeemable"),
    "redeem/redemption-read": 200,
    "redeem/redemption-without-key": (400, "idempotency_key_required"),
    "redeem/redemption-without-token": (401, "unauthorized"),
    "redeem/release": 201,
    "redeem/reversal": 201,
    "ledger/ledger": 200,
    "ledger/reconciliation": 202,
    "ledger/reconciliation-read": 200,
    "ledger/reconciliations": 200,
    "notify/message-read": 200,
    "notify/recipient": 200,
    "notify/recipient-lookup": 200,
    "notify/messages": 200,
    "notify/resend": 201,
    "notify/resend-too-soon": (409, "resend_not_possible"),
    "notify/complaint": 201,
    "notify/complaint-read": 200,
    "notify/complaints": 200,
    "notify/outcome": 201,
    "notify/statistics": 200,
    "notify/receipts": 200,
    "notify/receipts-without-proof": (401, "invalid_signature"),
    "webhooks/deliveries": 200,
    "webhooks/replay": 202,
    "webhooks/rotation": 201,
    "webhooks/test": 201,
    "webhooks/webhook": 201,
    "webhooks/webhook-deletion": 204,
    "webhooks/webhook-read": 200,
    "webhooks/webhook-without-tls": (400, "invalid_request"),
    "webhooks/webhooks": 200,
    "notify/routes": 200,
    "notify/routes-not-seen": (412, "precondition_failed"),
    "notify/routes-read": 200,
    "erase/erasure": 202,
    "erase/erasure-read": 200,
    "recover/recoveries": 200,
    "recover/approval": 201,
    "recover/approval-of-something-else": (409, "request_changed"),
    "recover/recovery": 202,
    "recover/recovery-of-a-file": 202,
    "recover/recovery-read": 200,
    "recover/report": 200,
    "recover/statistics": 200,
    "verify/history": 200,
    "verify/qr": 200,
    "verify/qr-of-a-stranger": (404, "not_found"),
    "verify/verification": 200,
    "verify/verification-before-activation": (404, "voucher_not_redeemable"),
    "verify/voucher": 200,
}
GATEWAYS_OWN: Final = ("x-forwarded-", "x-amzn-")
JOBS: Final = ["distribute/job", "generate/job"]
ORDERS: Final = [
    "audit/event", "audit/export-job", "audit/seal", "erase/job",
    "generate/export-job", "generate/import-job", "ledger/event", "ledger/job", "ledger/late", "ledger/sweep",
    "notify/account-frozen", "notify/event", "notify/held", "notify/job", "notify/overdue",
    "notify/receipt", "notify/receipt-of-aws", "notify/reminders", "notify/reminders-page", "notify/reply",
    "notify/reply-of-aws", "recover/job", "webhooks/delivery", "webhooks/event",
]  # fmt: skip
"""One message each, too, but what it begins is not over with it."""


def case(path: Path) -> str:
    return str(path.relative_to(EVENTS).with_suffix(""))


def shape(value: Any) -> Any:
    """Names and types, without values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in sorted(value.items())}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


def test_every_payload_is_expected_and_every_route_and_queue_has_one(kami: Kami) -> None:
    assert {case(path) for path in FILES} == {*EXPECTED, *JOBS, *ORDERS}
    events = [json.loads(path.read_text()) for path in FILES]
    assert {event["routeKey"] for event in events if "routeKey" in event} == {"$default", *(r.key for r in ROUTES)}
    fed = {event["Records"][0]["eventSourceARN"] for event in events if "Records" in event}
    assert len(fed) == len(kami.cloud.stack.sources)
    readme = (EVENTS / "README.md").read_text()
    for path in FILES:
        assert path.stem in readme


@pytest.mark.parametrize("path", [path for path in FILES if case(path) in EXPECTED], ids=case)
def test_a_request_is_answered_by_its_function(kami: Kami, path: Path) -> None:
    event = kami.cloud.event(path)
    function = kami.cloud.function_of(event)
    assert function == path.parent.name
    answer = to_answer(kami.cloud.invoke(function, event))
    expected = EXPECTED[case(path)]
    if isinstance(expected, tuple):
        refused(answer, *expected)
    else:
        assert answer.status == expected
    assert answer.header("x-request-id") == event["requestContext"]["requestId"]


@pytest.mark.parametrize("path", [path for path in FILES if case(path) in EXPECTED], ids=case)
def test_the_local_gateway_sends_the_same_payload(kami: Kami, path: Path) -> None:
    event = kami.cloud.event(path)
    text = event.get("body", "")
    request = Request(
        method=event["requestContext"]["http"]["method"],
        target=event["rawPath"] + (f"?{event['rawQueryString']}" if event["rawQueryString"] else ""),
        headers=[
            (name, value) for name, value in event["headers"].items() if name[:9] not in ("x-forward", "x-amzn-tr")
        ],
        body=b64decode(text) if event["isBase64Encoded"] else text.encode(),
        address=event["requestContext"]["http"]["sourceIp"],
    )
    matched = Router(kami.cloud.stack.routes).match(request.method, event["rawPath"])
    assert matched
    imitated = to_event(request, *matched)
    assert shape(imitated) == shape(event)
    own = {"accountId", "apiId", "domainName", "domainPrefix", "requestId", "time", "timeEpoch"}
    for name in set(event) - {"headers", "requestContext"}:
        assert imitated[name] == event[name], name
    for name in set(event["requestContext"]) - own:
        assert imitated["requestContext"][name] == event["requestContext"][name], name


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_done_and_done_again_without_effect(kami: Kami, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in ("functions.generate.batches", "functions.distribute.service"):
        monkeypatch.setattr(f"{module}.LOTS_PER_CALL_MAX", 2)
    monkeypatch.setattr("infra.local.samples.LARGE", 3 * LOT_SIZE)
    event = kami.cloud.event(EVENTS / f"{name}.json")
    function = kami.cloud.function_of(event)
    assert name == f"{function}/job"
    (record,) = event["Records"]
    kind, id = {"generate": "batches", "distribute": "activations"}[function], json.loads(record["body"])["id"]
    assert granted(kami.operator.get(f"/v1/{kind}/{id}"))["status"] == "in_progress"
    assert kami.cloud.invoke(function, event) == {"batchItemFailures": []}
    done = granted(kami.operator.get(f"/v1/{kind}/{id}"))
    assert (done["status"], done["progress"]) == ("completed", {"lots_done": 3, "lots": 3})
    before = kami.items()
    assert kami.cloud.invoke(function, event) == {"batchItemFailures": []}
    assert kami.items() == before


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_of_a_queue_is_taken(kami: Kami, name: str) -> None:
    event = kami.cloud.event(EVENTS / f"{name}.json")
    assert kami.cloud.invoke(kami.cloud.function_of(event), event) == {"batchItemFailures": []}
    kami.cloud.drain()


@pytest.mark.parametrize("name", [*JOBS, *ORDERS])
def test_the_local_pump_sends_the_same_payload(kami: Kami, name: str) -> None:
    (record,) = json.loads((EVENTS / f"{name}.json").read_text())["Records"]
    source = next(
        source for source in kami.cloud.stack.sources if source.queue_arn.startswith(record["eventSourceARN"])
    )
    sqs = kami.cloud.client("sqs")
    sqs.send_message(QueueUrl=source.queue_url, MessageBody=record["body"])
    reply = sqs.receive_message(QueueUrl=source.queue_url, MessageSystemAttributeNames=["All"])
    (imitated,) = to_batch(source, reply["Messages"])["Records"]
    del record["attributes"]["AWSTraceHeader"]  # X-Ray's, and there is none here
    assert shape(imitated) == shape(record)


# Bodies that arrive as base64


def payload(kami: Kami) -> Json:
    return kami.cloud.event(EVENTS / "redeem" / "redemption.json")


def as_base64(event: Json, body: bytes) -> Json:
    return {**event, "body": b64encode(body).decode(), "isBase64Encoded": True}


def test_a_body_that_arrives_as_base64_is_read_the_same(kami: Kami) -> None:
    event = payload(kami)
    plain = kami.cloud.invoke("redeem", event)
    event["requestContext"]["requestId"] = "another"
    again = kami.cloud.invoke("redeem", as_base64(event, event["body"].encode()))
    assert again["body"] == plain["body"]
    assert again["headers"]["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(("body", "status", "key"), [
    (b"\xff\xfe", 400, "malformed_json"), (b'{"code": "\xc0\xaf"}', 400, "malformed_json"),
    ('{"code": "\ud800"}'.encode(errors="surrogatepass"), 400, "malformed_json"),
    (b"\xef\xbb\xbf{}", 400, "malformed_json"),
    (b"\x00", 400, "malformed_json"), (b" " * 65_537, 413, "body_too_large"), (b"", 400, "malformed_json"),
])  # fmt: skip
def test_bytes_that_are_no_json_are_refused(kami: Kami, body: bytes, status: int, key: str) -> None:
    event = payload(kami)
    before = kami.items()
    refused(to_answer(kami.cloud.invoke("redeem", as_base64(event, body))), status, key)
    assert kami.items() == before


def test_a_payload_with_next_to_nothing_in_it_is_answered(kami: Kami) -> None:
    event = payload(kami)
    for name in ("headers", "body"):
        event.pop(name)
    refused(to_answer(kami.cloud.invoke("redeem", event)), 401, "unauthorized")


def test_make_invoke_prints_what_the_function_returned() -> None:
    """In a process of its own, as the Makefile starts it."""
    command = [sys.executable, "-m", "infra.local.invoke", str(EVENTS / "redeem" / "redemption.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["statusCode"] == 201
    assert json.loads(result["body"])["amount_minor"] == 2000
