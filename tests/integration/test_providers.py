"""What providers answer, brought down to Kami's reasons: AWS by botocore's own stub and errors, carriers over HTTP."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import botocore.session
import pytest
import urllib3
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
from botocore.stub import Stubber

from functions.domain.message import Outcome
from functions.domain.reasons import REASONS
from functions.notify import providers
from functions.store import aws

NUMBER = "+8613812345678"


@pytest.fixture
def sms(monkeypatch: pytest.MonkeyPatch) -> Any:
    session = botocore.session.Session()
    session.set_credentials("key", "secret")
    made = session.create_client("pinpoint-sms-voice-v2", region_name="eu-west-1")
    monkeypatch.setattr(providers, "client", lambda _: made)
    monkeypatch.delenv(providers.SMS_ORIGINATION_IDENTITY, raising=False)
    return made


def test_aws_is_handed_recipient_text_and_reference(sms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(providers.SMS_ORIGINATION_IDENTITY, "pool-1")
    with Stubber(sms) as stub:
        expected = {
            "DestinationPhoneNumber": NUMBER,
            "MessageBody": "text",
            "MessageType": "TRANSACTIONAL",
            "Context": {"reference": "msg_1-1"},
            "OriginationIdentity": "pool-1",
        }
        stub.add_response("send_text_message", {"MessageId": "aws-1"}, expected)
        assert providers.named("aws").send("msg_1-1", NUMBER, "text", None) == Outcome(None, "aws-1")
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "status", "members", "reason"),
    [
        ("ThrottlingException", 400, {}, "carrier_congested"),
        ("InternalServerException", 500, {}, "technical_fault"),
        ("AccessDeniedException", 400, {"Reason": "ACCOUNT_DISABLED"}, "account_refused"),
        ("ServiceQuotaExceededException", 400, {"Reason": "MONTHLY_SPEND_LIMIT_REACHED_FOR_TEXT"}, "account_refused"),
        ("ResourceNotFoundException", 400, {"ResourceType": "pool"}, "account_refused"),
        ("ConflictException", 400, {"Reason": "DESTINATION_PHONE_NUMBER_OPTED_OUT"}, "opted_out"),
        ("ConflictException", 400, {"Reason": "NO_ORIGINATION_IDENTITIES_FOUND"}, "account_refused"),
        ("ValidationException", 400, {"Reason": "DESTINATION_COUNTRY_BLOCKED"}, "destination_not_served"),
        (
            "ValidationException",
            400,
            {"Reason": "FIELD_VALIDATION_FAILED", "Fields": [{"Name": "DestinationPhoneNumber", "Message": "bad"}]},
            "number_invalid",
        ),
        ("ValidationException", 400, {"Reason": "OTHER"}, "refused"),
        ("SomethingNewException", 400, {}, "refused"),
    ],
)
def test_what_aws_refuses_has_a_reason(sms: Any, code: str, status: int, members: Any, reason: str) -> None:
    with Stubber(sms) as stub:
        stub.add_client_error("send_text_message", code, http_status_code=status, modeled_fields=members)
        assert providers.named("aws").send("r", NUMBER, "text", None) == Outcome(reason)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectTimeoutError(endpoint_url="https://aws"), "provider_down"),
        (EndpointConnectionError(endpoint_url="https://aws"), "provider_down"),
        (ReadTimeoutError(endpoint_url="https://aws"), "no_reply"),
        (ConnectionClosedError(endpoint_url="https://aws"), "no_reply"),
    ],
)
def test_only_what_cannot_have_reached_aws_is_called_down(sms: Any, error: Exception, reason: str) -> None:
    def fail(**_: Any) -> None:
        raise error

    sms.meta.events.register("before-send.pinpoint-sms-voice-v2.SendTextMessage", fail)
    provider = providers.named("aws")
    assert provider.send("r", NUMBER, "text", None) == Outcome(reason)
    assert (provider.look_up("r", NUMBER, 0), provider.traceable) == (None, False)


def test_the_sdk_never_sends_an_sms_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "local")
    services = "pinpoint-sms-voice-v2", "sqs"
    attempts = [aws._client.__wrapped__(service).meta.config.retries["total_max_attempts"] for service in services]
    assert attempts == [1, aws.ATTEMPTS_MAX]


def test_every_reason_that_aws_is_given_is_one_of_ours() -> None:
    assert set(providers.AWS_REASONS.values()) <= set(REASONS)


class _Carrier(BaseHTTPRequestHandler):
    """Answers with the status and body that the path asks for: `/400-blocked/messages`."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, _, word = self.path.split("/")[1].partition("-")
        if word == "hangup":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        raw = (
            b"<html>" if word == "html" else json.dumps({"id": "c-1"} if status == "200" else {"error": word}).encode()
        )
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Carrier) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("200-ok", Outcome(None, "c-1")),
        ("400-number_invalid", Outcome("number_invalid")),
        ("403-blocked", Outcome("blocked")),
        ("400-never_heard_of", Outcome("refused")),
        ("429-busy", Outcome("carrier_congested")),
        ("500-oops", Outcome("provider_down")),
        ("503-html", Outcome("provider_down")),
        ("200-html", Outcome("no_reply")),
        ("200-hangup", Outcome("no_reply")),
    ],
)
def test_what_a_carrier_answers_has_a_reason(
    url: str, monkeypatch: pytest.MonkeyPatch, answer: str, outcome: Outcome
) -> None:
    monkeypatch.setenv(providers.SIMULATED_CARRIER_URL, url)
    assert providers.named(f"simulated:{answer}").send("r", NUMBER, "text", None) == outcome


def test_a_carrier_that_is_not_there_is_down_and_one_that_is_slow_leaves_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "CALL_TIMEOUT", urllib3.Timeout(connect=0.2, read=0.2))
    providers._pool.cache_clear()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv(providers.SIMULATED_CARRIER_URL, f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert providers.named("simulated:north").send("r", NUMBER, "text", None) == Outcome("no_reply")
    assert providers.named("simulated:north").send("r", NUMBER, "text", None) == Outcome("provider_down")
    providers._pool.cache_clear()
