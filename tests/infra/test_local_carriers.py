"""The simulated carriers, over HTTP: what each fault does, and that a phone gets a reference once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from infra.local.carriers import Carriers, overlay, serving
from infra.local.cloud import Cloud
from infra.local.template import synthesized

PHONE = "+8613812345678"


@pytest.fixture
def network() -> Carriers:
    return Carriers()


@pytest.fixture
def http(network: Carriers) -> Iterator[httpx.Client]:
    with serving(network) as url, httpx.Client(base_url=url.removesuffix("/carriers"), timeout=10) as client:
        yield client


def send(http: httpx.Client, reference: str = "r1", carrier: str = "north", text: str = "你好") -> httpx.Response:
    body = {"reference": reference, "to": PHONE, "from": "Kami", "text": text}
    return http.post(f"/carriers/{carrier}/messages", json=body)


def look_up(http: httpx.Client, reference: str = "r1") -> httpx.Response:
    return http.get(f"/carriers/north/messages/{reference}")


def switch(http: httpx.Client, fault: str, carrier: str = "north", **more: Any) -> None:
    assert http.put(f"/carriers/{carrier}", json={"fault": fault, **more}).status_code == 200


def test_an_sms_reaches_the_phone_once_by_its_reference(http: httpx.Client) -> None:
    first, again = send(http), send(http)
    assert first.status_code == 200
    assert first.json() == again.json() == look_up(http).json()
    (message,) = http.get(f"/phones/{PHONE}").json()["data"]
    assert (message["from"], message["text"]) == ("Kami", "你好")
    assert message["at"].endswith("Z")
    send(http, "r2")
    assert len(http.get("/phones/%2B8613812345678").json()["data"]) == 2


def test_a_carrier_that_is_down_takes_nothing(http: httpx.Client, network: Carriers) -> None:
    switch(http, "down")
    assert send(http).status_code == 503
    assert look_up(http).status_code == 503
    assert send(http, carrier="south").status_code == 200
    switch(http, "none")
    assert look_up(http).status_code == 404
    assert network.received == {PHONE: 1}


def test_a_carrier_that_refuses_says_why(http: httpx.Client, network: Carriers) -> None:
    switch(http, "refuse", error="number_invalid")
    assert (send(http).status_code, send(http).json()) == (400, {"error": "number_invalid"})
    assert network.received == {}


def test_a_lost_reply_is_found_by_looking_it_up(http: httpx.Client, network: Carriers) -> None:
    switch(http, "lose_reply")
    with pytest.raises(httpx.RemoteProtocolError):
        send(http)
    assert look_up(http).status_code == 200
    assert network.received == {PHONE: 1}


def test_a_slow_carrier_has_taken_it_all_the_same(http: httpx.Client, network: Carriers) -> None:
    switch(http, "slow", after_s=0.5)
    with pytest.raises(httpx.ReadTimeout):
        http.post(
            "/carriers/north/messages",
            json={"reference": "r", "to": PHONE, "from": "", "text": ""},
            timeout=0.2,
        )
    assert network.received == {PHONE: 1}


def test_an_answer_given_twice_is_twice_on_the_wire(http: httpx.Client, network: Carriers) -> None:
    switch(http, "answer_twice")
    place = urlsplit(str(http.base_url))
    body = b'{"reference": "r", "to": "+1", "from": "k", "text": "t"}'
    head = f"POST /local/carriers/north/messages HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((place.hostname, place.port), timeout=5) as connection:
        connection.sendall(head + body)
        answered = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answered.count(b'{"id": "north-1"}') == 2
    assert network.received == {"+1": 1}


def test_a_plan_fails_each_message_its_own_number_of_times_whatever_the_references_and_the_same_again() -> None:
    def tries(seed: int) -> list[int]:
        fresh = Carriers()
        fresh.set("north", "plan", seed=seed, failures_max=3)
        counts = []
        for text in map(str, range(40)):
            for turn in range(1, 5):
                reply = fresh._send("north", f"{text}-{turn}", PHONE, "k", text)
                if (reply.status, reply.times) == (200, 1):
                    break
            counts.append(turn - 1)
        return counts

    assert tries(1) == tries(1) != tries(2)
    assert set(tries(1)) == {0, 1, 2, 3}


def test_a_plan_is_about_look_ups_too_and_leaves_what_it_never_heard_of_alone() -> None:
    fresh = Carriers()
    fresh.set("north", "plan", seed=1, failures_max=3)
    failed = 0
    for text in map(str, range(40)):
        fresh._send("north", text, PHONE, "k", text)
        looked_up = [fresh._look_up("north", text) for _ in range(4)]
        failed += sum((reply.status, reply.times) in {(503, 1), (200, 0), (404, 0)} for reply in looked_up)
        assert (looked_up[-1].status, looked_up[-1].times) in {(200, 1), (404, 1)}
        assert fresh._look_up("north", f"never {text}").status == 404
    assert failed


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/carriers/north", {"fault": "on fire"}),
        ("PUT", "/carriers/east", {"fault": "down"}),
        ("PUT", "/carriers/north", {"fault": "down", "name": "x"}),
        ("PUT", "/carriers/north", {}),
        ("POST", "/carriers/north/messages", {"to": PHONE}),
        ("POST", "/carriers/east/messages", {"to": PHONE}),
        ("GET", "/nothing", None),
    ],
)
def test_bad_requests_are_told(http: httpx.Client, method: str, path: str, body: Any) -> None:
    assert http.request(method, path, json=body).status_code in (400, 404)


def test_notify_and_webhooks_alone_have_another_environment_than_the_template_says() -> None:
    with Cloud.in_process(synthesized()) as cloud:
        told = cloud.stack.functions["notify"].environment
        assert told["SMS_PROVIDERS"] == "simulated:north,simulated:south"
        assert httpx.get(f"{told['SIMULATED_CARRIER_URL']}/north/messages/r").status_code == 404
        assert overlay("", "").keys() == {"notify", "webhooks"}
        assert overlay("", "")["webhooks"] == {"WEBHOOK_LOOPBACK": "allowed"}
        assert not any(
            "SIMULATED_CARRIER_URL" in f.environment for n, f in cloud.stack.functions.items() if n != "notify"
        )
