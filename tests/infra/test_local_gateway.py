"""The gateway: which route, which event, which answer."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from infra.local.gateway import (
    HEADERS_MAX_BYTES,
    PAYLOAD_MAX_BYTES,
    FunctionError,
    Gateway,
    IntegrationTimeoutError,
    Request,
    Router,
    ThrottledError,
    to_answer,
    to_event,
)
from infra.local.resources import Route

ROUTES = [
    Route(key, "f", 1.0)
    for key in (
        "GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /pets/{id}", "POST /pets/{id}",
        "ANY /{proxy+}", "$default", "GET /", "GET /{any}/toys",
    )
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", "/pets/dog/1", "GET /pets/dog/1", {}),
        ("GET", "/pets/dog/2", "GET /pets/dog/{id}", {"id": "2"}),
        ("GET", "/pets/cat/1", "GET /pets/{proxy+}", {"proxy": "cat/1"}),
        ("GET", "/pets/cat", "ANY /pets/{id}", {"id": "cat"}),
        ("POST", "/pets/cat", "POST /pets/{id}", {"id": "cat"}),
        ("POST", "/x/y/z", "ANY /{proxy+}", {"proxy": "x/y/z"}),
        ("GET", "/pets/dog/a%2Fb", "GET /pets/dog/{id}", {"id": "a/b"}),
        ("GET", "/pets/toys", "ANY /pets/{id}", {"id": "toys"}),
        ("GET", "/cars/toys", "GET /{any}/toys", {"any": "cars"}),
        ("GET", "/", "GET /", {}),
        ("POST", "/", "$default", {}),
    ],
)
def test_the_most_specific_route_is_chosen(method: str, path: str, key: str, parameters: dict[str, str]) -> None:
    for routes in (ROUTES, ROUTES[::-1]):
        matched = Router(routes).match(method, path)
        assert matched is not None
        assert (matched[0].key, matched[1]) == (key, parameters)


def test_without_default_route_the_gateway_says_not_found() -> None:
    answer = Gateway(ROUTES[:1], lambda *_: {}).answer(Request("GET", "/nothing"))
    assert (answer.status, answer.json()) == (404, {"message": "Not Found"})


def test_the_event_has_payload_format_2() -> None:
    request = Request(
        "POST",
        "/v1/caf%C3%A9/x?a=1&b=%20&a=2&empty=",
        [("Content-Type", "application/json"), ("X-A", "1"), ("x-a", "2"), ("Cookie", "k=v; l=w"), ("User-Agent", "u")],
        b'{"x": 1}',
        "192.0.2.7",
    )
    event = to_event(request, Route("POST /v1/{name}/x", "f", 1.0), {"name": "café"})
    context = event["requestContext"]
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", context.pop("time"))
    assert context.pop("timeEpoch") > 1_700_000_000_000
    assert context.pop("requestId")
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", event["headers"].pop("x-amzn-trace-id"))
    assert event == {
        "version": "2.0",
        "routeKey": "POST /v1/{name}/x",
        "rawPath": "/v1/café/x",
        "rawQueryString": "a=1&b=%20&a=2&empty=",
        "cookies": ["k=v", "l=w"],
        "headers": {
            "content-type": "application/json",
            "x-a": "1,2",
            "user-agent": "u",
            "x-forwarded-for": "192.0.2.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "queryStringParameters": {"a": "1,2", "b": " ", "empty": ""},
        "pathParameters": {"name": "café"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": "local.execute-api.localhost",
            "domainPrefix": "local",
            "http": {
                "method": "POST",
                "path": "/v1/café/x",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "u",
            },
            "routeKey": "POST /v1/{name}/x",
            "stage": "$default",
        },
        "body": '{"x": 1}',
        "isBase64Encoded": False,
    }


def test_what_a_request_does_not_have_is_absent_from_the_event() -> None:
    event = to_event(Request("GET", "/"), ROUTES[-1], {})
    assert not {"body", "cookies", "queryStringParameters", "pathParameters"} & set(event)


@pytest.mark.parametrize(
    ("content_type", "encoded"),
    [
        ("application/json; charset=utf-8", False),
        ("text/csv", False),
        ("application/xml", False),
        ("application/x-www-form-urlencoded", True),
        ("application/problem+json", True),
        ("application/octet-stream", True),
        (None, True),
    ],
)
def test_bodies_that_are_not_text_arrive_as_base64(content_type: str | None, encoded: bool) -> None:
    headers = [("content-type", content_type)] if content_type else []
    event = to_event(Request("POST", "/", headers, b"a=1"), ROUTES[-1], {})
    assert event["isBase64Encoded"] is encoded
    assert (base64.b64decode(event["body"]) if encoded else event["body"].encode()) == b"a=1"


@pytest.mark.parametrize(
    ("result", "status", "headers", "body"),
    [
        ({"statusCode": 201, "headers": {"X-A": 1, "X-B": True}, "body": "é"}, 201,
         [("x-a", "1"), ("x-b", "true"), ("content-type", "text/plain;charset=UTF-8")], "é".encode()),
        ({"statusCode": "204"}, 204, [("content-type", "text/plain;charset=UTF-8")], b""),
        ({"statusCode": 200, "headers": {"Content-Type": "image/png"}, "body": "AAE=", "isBase64Encoded": True}, 200,
         [("content-type", "image/png")], b"\x00\x01"),
        ({"statusCode": 200, "headers": {"content-type": "a/b"}, "cookies": ["k=v", "l=w"]}, 200,
         [("content-type", "a/b"), ("set-cookie", "k=v"), ("set-cookie", "l=w")], b""),
        ({"hello": "world"}, 200, [("content-type", "application/json")], b'{"hello": "world"}'),
        ("text", 200, [("content-type", "application/json")], b'"text"'),
    ],
)  # fmt: skip
def test_results_become_answers(result: Any, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    answer = to_answer(result)
    assert (answer.status, answer.headers, answer.body) == (status, headers, body)


def raising(error: Exception) -> Gateway:
    def invoke(*_: Any) -> Any:
        raise error

    return Gateway(ROUTES, invoke)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (FunctionError("boom"), 500, "Internal Server Error"),
        (ThrottledError(), 503, "Service Unavailable"),
        (IntegrationTimeoutError(), 503, "Service Unavailable"),
    ],
)
def test_what_goes_wrong_behind_the_gateway(error: Exception, status: int, message: str) -> None:
    answer = raising(error).answer(Request("GET", "/"))
    assert (answer.status, answer.json()) == (status, {"message": message})
    assert answer.header("Apigw-Requestid")


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "abc"},
        {"statusCode": 42},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "headers": ["x"]},
        {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
    ],
)
def test_a_malformed_result_is_an_internal_server_error(result: Any) -> None:
    assert Gateway(ROUTES, lambda *_: result).answer(Request("GET", "/")).status == 500


def test_bodies_and_headers_have_their_limits() -> None:
    gateway = Gateway(ROUTES, lambda name, event, wait_s: {"statusCode": 200, "body": str(len(event["body"]))})
    text = [("content-type", "text/plain")]
    assert gateway.answer(Request("POST", "/x", text, b"x" * PAYLOAD_MAX_BYTES)).status == 200
    assert gateway.answer(Request("POST", "/x", text, b"x" * (PAYLOAD_MAX_BYTES + 1))).status == 413
    long = [("x", "y" * (HEADERS_MAX_BYTES - len("GET / HTTP/1.1")))]
    assert raising(FunctionError()).answer(Request("GET", "/", long)).status == 500
    assert raising(FunctionError()).answer(Request("GET", "/", [*long, ("a", "b")])).status == 431


def test_the_answer_tells_the_request_id_of_the_event() -> None:
    answer = Gateway(ROUTES, lambda name, event, wait_s: event["requestContext"]["requestId"]).answer(
        Request("GET", "/")
    )
    assert json.loads(answer.body) == answer.header("apigw-requestid")
