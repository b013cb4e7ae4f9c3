"""API Gateway's HTTP API, imitated: routes, payload format 2.0, and the answers that the gateway itself gives.

Needs no socket: `Gateway.answer` is what the tests call; server.py puts it behind one.
Source: AWS's "Create AWS Lambda proxy integrations for HTTP APIs" and "Quotas for HTTP APIs".
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from infra.local.resources import Route
from infra.local.template import ACCOUNT

PAYLOAD_MAX_BYTES: Final = 10 * 1024 * 1024
HEADERS_MAX_BYTES: Final = 10_240
"""Request line and header values together."""
API_ID: Final = "local"
DOMAIN: Final = f"{API_ID}.execute-api.localhost"


class FunctionError(Exception):
    """A function raised, timed out, died or answered too much; the message is what Lambda would report."""


class ThrottledError(Exception):
    """All instances that a function may have are busy."""


class IntegrationTimeoutError(Exception):
    """The function took longer than the integration waits; the function itself may still be running."""


Invoke = Callable[[str, dict[str, Any], float], Any]
"""Runs a function (name, event, longest wait in seconds) and returns its result."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request as it came in: `target` is path and query, still percent-encoded."""

    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    address: str = "127.0.0.1"
    protocol: str = "HTTP/1.1"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def _own(status: int, message: str) -> Answer:
    return Answer(status, [("content-type", "application/json")], json.dumps({"message": message}).encode())


OWN_ANSWERS: Final = {
    "not found": _own(404, "Not Found"),
    "too large": _own(413, "Request Entity Too Large"),
    "headers": _own(431, "Request Header Fields Too Large"),
    "function error": _own(500, "Internal Server Error"),
    "unavailable": _own(503, "Service Unavailable"),
}
"""What the gateway itself answers: never a problem document, in the cloud neither."""


class Router:
    """Matches a path to a route: full match (fixed before variable segments), then `{greedy+}`, then `$default`."""

    def __init__(self, routes: list[Route]) -> None:
        self._default = next((route for route in routes if route.key == "$default"), None)
        self._routes = sorted((route for route in routes if route.key != "$default"), key=self._rank)

    @staticmethod
    def _rank(route: Route) -> tuple[bool, list[bool], bool]:
        method, path = route.key.split(" ", 1)
        return path.endswith("+}"), [part.startswith("{") for part in path.split("/")], method == "ANY"

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a percent-encoded path, and its path parameters decoded."""
        for route in self._routes:
            wanted_method, pattern = route.key.split(" ", 1)
            if wanted_method in (method, "ANY") and (parameters := _parameters(pattern, path)) is not None:
                return route, parameters
        return (self._default, {}) if self._default else None


def _parameters(pattern: str, path: str) -> dict[str, str] | None:
    wanted, given = pattern.split("/"), path.split("/")
    greedy = wanted[-1].endswith("+}")
    if greedy:
        given = [*given[: len(wanted) - 1], "/".join(given[len(wanted) - 1 :])]
    if len(wanted) != len(given):
        return None
    found = {}
    for expected, actual in zip(wanted, given, strict=True):
        if expected.startswith("{"):
            if not actual:
                return None
            found[expected.strip("{+}")] = unquote(actual)
        elif expected != unquote(actual):
            return None
    return found


def _is_text(content_type: str) -> bool:
    """Which bodies arrive as text; all others, forms and absent types too, arrive as base64.

    Not documented by AWS; measured against an HTTP API by others (ministackorg/ministack pull request 766).
    """
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type.startswith("text/") or media_type in (
        "application/json", "application/xml", "application/javascript",
    )  # fmt: skip


def to_event(request: Request, route: Route, parameters: dict[str, str]) -> dict[str, Any]:
    """The payload of format 2.0 that the function receives."""
    raw_path, _, query = request.target.partition("?")
    path = unquote(raw_path)  # HTTP APIs decode `rawPath`, in spite of its name; `rawQueryString` stays encoded
    now = time.time()
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name.lower(), []).append(value)
    cookies = [cookie for line in headers.pop("cookie", []) for cookie in line.split("; ")]
    headers |= {
        "x-forwarded-for": [*headers.get("x-forwarded-for", []), request.address],
        "x-forwarded-port": ["443"],
        "x-forwarded-proto": ["https"],
        "x-amzn-trace-id": [f"Root=1-{int(now):08x}-{uuid.uuid4().hex[:24]}"],
    }
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": {name: ",".join(values) for name, values in headers.items()},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": API_ID,
            "domainName": DOMAIN,
            "domainPrefix": API_ID,
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.protocol,
                "sourceIp": request.address,
                "userAgent": ",".join(headers.get("user-agent", [])),
            },
            "requestId": base64.b64encode(uuid.uuid4().bytes[:11]).decode(),
            "routeKey": route.key,
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        joined: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            joined.setdefault(name, []).append(value)
        event["queryStringParameters"] = {name: ",".join(values) for name, values in joined.items()}
    if parameters:
        event["pathParameters"] = parameters
    if request.body:
        event |= _body(request.body, ",".join(headers.get("content-type", [])))
    return event


def _body(body: bytes, content_type: str) -> dict[str, Any]:
    if _is_text(content_type):
        return {"body": body.decode("utf-8", errors="replace")}
    return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def to_answer(result: Any) -> Answer:
    """The HTTP response that a function's result means; without `statusCode`, the result itself is the JSON body.

    Raises `ValueError`, `TypeError` or `AttributeError` for a result of another shape.
    """
    if not isinstance(result, dict) or "statusCode" not in result:
        return Answer(200, [("content-type", "application/json")], json.dumps(result).encode())
    body = result.get("body") or ""
    if not isinstance(body, str):
        raise TypeError("body must be a string")
    content = base64.b64decode(body, validate=True) if result.get("isBase64Encoded") else body.encode()
    headers = [(str(name).lower(), _text(value)) for name, value in (result.get("headers") or {}).items()]
    if not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain;charset=UTF-8"))
    headers += [("set-cookie", str(cookie)) for cookie in result.get("cookies") or []]
    status = int(result["statusCode"])
    if not 100 <= status <= 599:
        raise ValueError(f"statusCode {status}")
    return Answer(status, headers, content)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Gateway:
    """Answers requests by invoking the functions behind the template's routes."""

    def __init__(self, routes: list[Route], invoke: Invoke) -> None:
        self._router = Router(routes)
        self._invoke = invoke

    def answer(self, request: Request) -> Answer:
        """The whole way of one request; every answer carries `apigw-requestid`."""
        head = len(f"{request.method} {request.target} {request.protocol}")
        head += sum(len(value) for _, value in request.headers)
        matched = self._router.match(request.method, request.target.partition("?")[0])
        if head > HEADERS_MAX_BYTES:
            answer, request_id = OWN_ANSWERS["headers"], None
        elif len(request.body) > PAYLOAD_MAX_BYTES:
            answer, request_id = OWN_ANSWERS["too large"], None
        elif matched is None:
            answer, request_id = OWN_ANSWERS["not found"], None
        elif not matched[0].permitted:
            answer, request_id = OWN_ANSWERS["function error"], None
        else:
            event = to_event(request, *matched)
            answer, request_id = self._integrate(matched[0], event), event["requestContext"]["requestId"]
        return Answer(
            answer.status, [*answer.headers, ("apigw-requestid", request_id or uuid.uuid4().hex)], answer.body
        )

    def _integrate(self, route: Route, event: dict[str, Any]) -> Answer:
        try:
            return to_answer(self._invoke(route.function, event, route.timeout_s))
        except (ThrottledError, IntegrationTimeoutError):
            return OWN_ANSWERS["unavailable"]
        except (FunctionError, ValueError, TypeError, AttributeError):
            return OWN_ANSWERS["function error"]
