"""HTTP at the edge: an `App` takes an event of API Gateway (HTTP API, payload 2.0) to a function and its reply back.

The gateway has done the routing: `routeKey` is looked up in a dict. In this order: token and scope, Idempotency-Key,
content type and body, the function; what is refused on the way is answered as a problem document (RFC 9457).
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar, get_args, get_type_hints
from urllib.parse import parse_qs

from botocore.exceptions import ClientError, HTTPClientError
from pydantic import BaseModel, ValidationError

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.ids import derived
from functions.edge import clock, record, routes, tokens
from functions.edge.log import failed, logger
from functions.edge.problems import problem
from functions.edge.routes import Key, Route
from functions.store.aws import WriteWindowOver

Event = dict[str, Any]
Response = dict[str, Any]
B = TypeVar("B")
M = TypeVar("M", bound=BaseModel)

BODY_BYTES_MAX = 65_536
LIMIT_MAX = 100
LIMIT_DEFAULT = 50
IDEMPOTENCY_KEY_LENGTH_MAX = 255
ID_LENGTH_MAX = 128
"""Nothing has a longer id; as part of a key it would make DynamoDB refuse the read (2,048 bytes)."""
ERRORS_SHOWN_MAX = 20
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
CSV = "text/csv"
BUSY = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "ThrottledException",
        "TransactionConflictException",
        "TransactionInProgressException",
        "InternalServerError",
        "ServiceUnavailable",
        "KMSInternalException",
        "DependencyTimeoutException",
    }
)
"""What AWS says when the same call may succeed a moment later."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request as a function sees it, beside its body."""

    route: str
    by: By
    scopes: frozenset[str]
    trusted: bool
    idempotency_key: str | None
    path: dict[str, str]
    query: dict[str, str]
    headers: dict[str, str]
    now: int
    remaining_s: float

    @property
    def key(self) -> str:
        """The idempotency key of a route that requires one."""
        assert self.idempotency_key is not None
        return self.idempotency_key

    def derived_id(self, prefix: str) -> str:
        """The id of what this call creates: from client, route and key, so that a repeat names the same thing.

        Without a key every call creates something of its own.
        """
        unique = self.idempotency_key if self.idempotency_key is not None else f"\n{secrets.token_hex(16)}"
        return f"{prefix}_{derived(self.by.client, self.route, *self.path.values(), unique)}"

    def seen_version(self) -> int:
        """The version that `If-Match` names (RFC 9110 §13.1.1). Raises Refusal `precondition_required`.

        Raises `invalid_request` where it is no tag that Kami gives.
        """
        given = self.headers.get("if-match")
        if given is None:
            raise Refusal("precondition_required")
        if not re.fullmatch(r'"[0-9]{1,9}"', given, re.ASCII):
            refuse_fields([("header.If-Match", "an ETag as it was given, in quotation marks")])
        return int(given[1:-1])

    def customer_address(self, stated: str | None) -> str | None:
        """The customer's address for the guards: as a trusted client states it, or a customer's own.

        Raises Refusal `invalid_request` where another client states one.
        """
        if stated is not None and not self.trusted:
            refuse_fields([("customer_address", "only trusted clients may state it")])
        return self.by.address if self.by.role == "customer" else stated

    def limit(self) -> int:
        """The page size asked for. Raises Refusal `invalid_request`."""
        text = self.query.get("limit", str(LIMIT_DEFAULT))
        limit = int(text) if len(text) <= 3 and text.isascii() and text.isdigit() else 0
        if not 1 <= limit <= LIMIT_MAX:
            refuse_fields([("query.limit", f"a whole number from 1 to {LIMIT_MAX}")])
        return limit


@dataclass(frozen=True, slots=True)
class File:
    """A body of lines (CSV), as it came."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Raw:
    """A body as it came, of whatever type: who wrote it signed it like this."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Reply(Generic[B]):
    """What a function answers."""

    body: B
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def ok(body: B, **headers: str) -> Reply[B]:
    """200."""
    return Reply(body, 200, headers)


def versioned(body: B, version: int) -> Reply[B]:
    """200, with the version as the ETag."""
    return ok(body, ETag=f'"{version}"')


def created(body: B, *, replayed: bool, location: str | None = None) -> Reply[B]:
    """201, the same for a repeat but marked as such."""
    headers = {"Idempotency-Replayed": "true"} if replayed else {}
    return Reply(body, 201, headers | ({"Location": location} if location else {}))


def accepted(body: B, *, replayed: bool, location: str) -> Reply[B]:
    """202: the work goes on; `location` tells its progress."""
    return Reply(body, 202, created(body, replayed=replayed, location=location).headers)


def see_other(location: str) -> Reply[None]:
    """303: what is asked for is to be had elsewhere."""
    return Reply(None, 303, {"Location": location})


def refuse_fields(errors: Any) -> NoReturn:
    """Raise Refusal `invalid_request` for (field, detail) pairs."""
    listed = [{"field": name, "detail": detail} for name, detail in errors]
    raise Refusal("invalid_request", errors=listed[:ERRORS_SHOWN_MAX])


Operation = Callable[..., Reply[Any]]


class App:
    """The routes of one function."""

    def __init__(self, function: str) -> None:
        self.routes = routes.of(function)
        self.operations: dict[str, tuple[Operation, type[BaseModel] | None]] = {}

    def route(self, key: str) -> Callable[[Operation], Operation]:
        """Bind a function to a route of the table; with a parameter `request` it takes a body of that model.

        Where the route takes CSV, that may be a `File` as well; where it takes anything, it is a `Raw`.
        """
        if key not in self.routes:
            raise KeyError(key)

        def bind(operation: Operation) -> Operation:
            hint = get_type_hints(operation).get("request")
            models = [model for model in get_args(hint) or [hint] if model not in (File, Raw)]
            self.operations[key] = operation, next(iter(models), None)
            return operation

        return bind

    def __call__(self, event: Event, context: Any) -> Response:
        """Answer one request; only what is a bug is logged as an error, and answered 500 without a word of it."""
        request_id = event["requestContext"]["requestId"]
        language = _headers(event).get("accept-language", "")
        route = self.routes.get(event["routeKey"])
        key, alarm = None, None
        caller: tokens.Caller | None = None
        try:
            if route is None:
                raise Refusal("not_found", "See /docs for the routes.")
            caller = _verified(route, event)
            with _recorded(route, caller, event):
                if route.scope is not None and route.scope not in caller.scopes:
                    raise Refusal("insufficient_scope", f"This takes the scope {route.scope}.")
                response = _response(self._perform(route, caller, event, context))
        except Refusal as refusal:
            key, alarm, response = refusal.key, refusal.alarm, problem(refusal, language)
        except (WriteWindowOver, HTTPClientError):
            key, response = "try_again", problem(_busy(), language)
        except ClientError as error:
            busy = error.response["Error"]["Code"] in BUSY
            if not busy:
                failed(f"aws refused {error.operation_name}: {error.response['Error']['Code']}", error)
            answer = _busy() if busy else Refusal("internal_error")
            key, response = answer.key, problem(answer, language)
        except Exception as error:  # the one place where a bug becomes an answer
            failed("bug", error)
            key, response = "internal_error", problem(Refusal("internal_error"), language)
        response["headers"]["X-Request-Id"] = request_id
        logger.info(
            event["routeKey"],
            status=response["statusCode"],
            key=key,
            alarm=alarm,
            client=caller.client if caller else None,
            request_id=request_id,
        )
        return response

    def _perform(self, route: Route, caller: tokens.Caller, event: Event, context: Any) -> Reply[Any]:
        operation, model = self.operations[route.key]
        path = event.get("pathParameters") or {}
        query = event.get("queryStringParameters") or {}
        if any(len(value) > ID_LENGTH_MAX for value in path.values()):
            raise Refusal("not_found")
        of_file = (route.csv or ()) if _content_type(event) == CSV else ()
        if unknown := [name for name in query if name not in (*route.query, *of_file)]:
            refuse_fields(("query." + name[:40], "unknown parameter") for name in unknown)
        call = Call(
            route=route.key,
            by=_by(caller, event),
            scopes=caller.scopes,
            trusted=caller.trusted,
            idempotency_key=_idempotency_key(route, event),
            path=path,
            query=query,
            headers=_headers(event),
            now=clock.now(),
            remaining_s=context.get_remaining_time_in_millis() / 1000,
        )
        if route.raw_bytes_max is not None:
            return operation(Raw(_body(event, route.raw_bytes_max)), call)
        if model is None:
            return operation(call)
        if route.csv is not None and _content_type(event) == CSV:
            return operation(File(_body(event, route.csv_bytes_max or BODY_BYTES_MAX)), call)
        return operation(parse(model, event), call)


def _verified(route: Route, event: Event) -> tokens.Caller:
    if route.scope is None:
        return tokens.Caller("", "", "", frozenset(), trusted=False)
    return tokens.verify(_headers(event).get("authorization"), clock.now())


def _by(caller: tokens.Caller, event: Event) -> By:
    context = event["requestContext"]
    return By(caller.client, caller.role, caller.tenant, context["http"]["sourceIp"], context["requestId"])


@contextmanager
def _recorded(route: Route, caller: tokens.Caller, event: Event) -> Iterator[None]:
    """A refusal that belongs on record is answered once it is on its way there."""
    try:
        yield
    except Refusal as refusal:
        if refusal.key == "insufficient_scope" or (route.takes_a_code and refusal.key in route.errors):
            data = {"route": route.key, "key": refusal.key, **refusal.about}
            record.note("request.refused", _by(caller, event), data, clock.now())
        raise


def _headers(event: Event) -> dict[str, str]:
    return event.get("headers") or {}


def _idempotency_key(route: Route, event: Event) -> str | None:
    key = _headers(event).get("idempotency-key")
    if key is None or route.idempotency_key is Key.NONE:
        if route.idempotency_key is Key.REQUIRED:
            raise Refusal("idempotency_key_required", "Send a fresh key with each new order, and the same on a retry.")
        return None
    if not 1 <= len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX or not (key.isascii() and key.isprintable()):
        raise Refusal("idempotency_key_invalid", f"1 to {IDEMPOTENCY_KEY_LENGTH_MAX} printable ASCII characters.")
    return key


def parse(model: type[BaseModel], event: Event) -> BaseModel:
    """The body as the model. Raises Refusal that names every field that is wrong, never its value."""
    expected = FORM if getattr(model, "is_form", False) else JSON
    if _content_type(event) != expected:
        raise Refusal("unsupported_media_type", f"Send {expected}.")
    body = _body(event)
    try:
        if expected == FORM:
            return model.model_validate(_form(body))
        parsed = model.model_validate_json(body)
        json.loads(body, object_pairs_hook=_refuse_repeated)  # pydantic would take the last of them
        return parsed
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        raise Refusal("malformed_json", errors[0]["msg"])
    refuse_fields((".".join(str(part)[:40] for part in e["loc"]), e["msg"]) for e in errors)


def of_query(model: type[M], query: dict[str, Any]) -> M:
    """A model of query parameters. Raises Refusal that names every parameter that is wrong."""
    try:
        return model.model_validate(query)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False, include_input=False)
    refuse_fields((".".join(["query", *(str(part)[:40] for part in e["loc"])]), e["msg"]) for e in errors)


def _content_type(event: Event) -> str:
    return _headers(event).get("content-type", "").partition(";")[0].strip().lower()


def _body(event: Event, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    raw = event.get("body") or ""
    body = b64decode(raw) if event.get("isBase64Encoded") else raw.encode(errors="surrogatepass")
    if len(body) > bytes_max:
        raise Refusal("body_too_large", f"At most {bytes_max} bytes.")
    return body


def _refuse_repeated(members: list[tuple[str, Any]]) -> None:
    """A member given twice means one thing to one reader and another to the next (RFC 8259 §4): it is refused."""
    times = Counter(name for name, _ in members)
    if repeated := [name for name, count in times.items() if count > 1]:
        refuse_fields((name[:40], "given more than once") for name in repeated)


def _form(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=16)
    except ValueError:
        raise Refusal("invalid_request", f"The body is not {FORM}.") from None
    if repeated := [name for name, values in fields.items() if len(values) > 1]:
        refuse_fields((name[:40], "given more than once") for name in repeated)
    return {name: values[0] for name, values in fields.items()}


def _busy() -> Refusal:
    return Refusal("try_again", "Send the same request with the same Idempotency-Key again.", retry_after_s=1)


def _response(reply: Reply[Any]) -> Response:
    body = reply.body
    text = body.model_dump_json(exclude_none=True, by_alias=True) if isinstance(body, BaseModel) else body
    headers = {"Cache-Control": "no-store"} | reply.headers
    if text is None:
        return {"statusCode": reply.status, "headers": headers}
    return {"statusCode": reply.status, "headers": {"Content-Type": JSON} | headers, "body": text}
