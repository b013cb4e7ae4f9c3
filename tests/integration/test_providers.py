"""The way to providers: what may have arrived is told from what cannot have; accounts are read now and then."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import urllib3

from functions.domain.message import Outcome
from functions.notify import providers
from functions.notify.providers import base, simulated
from functions.store import accounts, aws

NUMBER = "+8613812345678"


def test_the_sdk_never_sends_an_sms_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "local")
    services = "pinpoint-sms-voice-v2", "sqs"
    attempts = [aws._client.__wrapped__(service).meta.config.retries["total_max_attempts"] for service in services]
    assert attempts == [1, aws.ATTEMPTS_MAX]


class _Carrier(BaseHTTPRequestHandler):
    """Answers with the status and body that the path asks for: `/400-blocked/messages`."""

    asked = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked += 1
        assert self.headers["Connection"] == "close"
        status, _, word = self.path.split("/")[1].partition("-")
        if word == "hangup":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        raw = (
            b"<html>" if word == "html" else json.dumps({"id": "c-1"} if status == "200" else {"error": word}).encode()
        )
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(raw) + (5 if word == "short" else 0)))
        if status == "307":
            self.send_header("Location", "/200-ok/messages")
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
        ("400-number_invalid", Outcome("number_invalid", code="number_invalid")),
        ("403-blocked", Outcome("blocked", code="blocked")),
        ("400-never_heard_of", Outcome("refused", code="never_heard_of")),
        ("429-busy", Outcome("carrier_congested", code="429")),
        ("500-oops", Outcome("provider_down", code="500")),
        ("503-html", Outcome("provider_down", code="503")),
        ("200-html", Outcome("no_reply")),
        ("200-short", Outcome("no_reply")),
        ("200-hangup", Outcome("no_reply")),
        ("307-elsewhere", Outcome("refused", code="elsewhere")),
    ],
)
def test_what_a_carrier_answers_has_a_reason(
    url: str, monkeypatch: pytest.MonkeyPatch, answer: str, outcome: Outcome
) -> None:
    monkeypatch.setenv(simulated.SIMULATED_CARRIER_URL, url)
    before = _Carrier.asked
    assert providers.named(f"simulated:{answer}").send("r", NUMBER, "text", None) == outcome
    assert _Carrier.asked == before + 1


def test_a_carrier_that_is_not_there_is_down_and_one_that_is_slow_leaves_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CALL_TIMEOUT", urllib3.Timeout(connect=0.2, read=0.2))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv(simulated.SIMULATED_CARRIER_URL, f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert providers.named("simulated:north").send("r", NUMBER, "text", None) == Outcome("no_reply")
    assert providers.named("simulated:north").send("r", NUMBER, "text", None) == Outcome("provider_down")


def test_one_that_is_no_name_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert base.ask("GET", "http://provider.example/", {}) == Outcome("provider_down")


def test_an_account_is_read_again_after_five_minutes_and_nonsense_is_no_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets, asked, now = {"arn:a": '{"key": 1}', "arn:b": "not JSON"}, [], [time.monotonic()]

    class Secrets:
        def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803
            asked.append(SecretId)
            return {"SecretString": secrets[SecretId]}

    monkeypatch.setattr(accounts, "client", lambda _: Secrets())
    monkeypatch.setattr(accounts, "_known", {})
    monkeypatch.setattr("functions.store.accounts.time.monotonic", lambda: now[0])
    monkeypatch.setenv(f"{accounts.SMS_ACCOUNT}ALIBABA", "arn:a")
    monkeypatch.setenv(f"{accounts.SMS_ACCOUNT}TENCENT", "arn:b")
    assert accounts.names() == ("alibaba", "tencent")
    assert [accounts.account(name) for name in ("alibaba", "alibaba", "tencent", "twilio")] == [
        {"key": 1}, {"key": 1}, {}, {},
    ]  # fmt: skip
    secrets["arn:a"] = '{"key": 2}'
    now[0] += 299
    assert accounts.account("alibaba") == {"key": 1}
    now[0] += 2
    assert (accounts.account("alibaba"), asked) == ({"key": 2}, ["arn:a", "arn:b", "arn:a"])
    monkeypatch.delenv(f"{accounts.SMS_ACCOUNT}ALIBABA")
    assert (accounts.names(), accounts.account("alibaba")) == (("tencent",), {})
