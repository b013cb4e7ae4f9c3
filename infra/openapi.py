"""The API's description (OpenAPI 3.1), made from the table of routes and the handlers' type hints.

`python -m infra.openapi` writes it, with the pages for people, to `functions/console/`, whose handler serves them;
`--check` says what is stale there. The examples of bodies are made up of those that the models' fields give.
"""

from __future__ import annotations

import inspect
import json
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from importlib import import_module
from typing import Any, Final, get_args, get_type_hints

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from functions.audit.models import ACTOR_LENGTH_MAX
from functions.domain.deliveries import DIMENSIONS
from functions.domain.errors import PROBLEMS
from functions.domain.formats import SERIAL_LENGTHS
from functions.domain.money import AMOUNT_MINOR_MAX
from functions.domain.recovery import Action
from functions.domain.voucher import EFFECTIVE
from functions.domain.wallet import STATUSES
from functions.edge.http import CSV, FORM, ID_LENGTH_MAX, IDEMPOTENCY_KEY_LENGTH_MAX, JSON, LIMIT_DEFAULT, LIMIT_MAX
from functions.edge.models import RFC_3339
from functions.edge.problems import PROBLEM
from functions.edge.routes import ROUTES, Key, Route, Scope
from functions.recover.models import Only, Reason
from functions.store.cursors import CURSOR_LENGTH_MAX
from infra.lock import ROOT
from infra.pages import pages

CONSOLE: Final = ROOT / "functions" / "console"
COMPONENT: Final = "#/components/schemas/"
Json = dict[str, Any]

TAGS: Final = {
    "authorize": "Access · 访问",
    "generate": "Campaigns and stock · 活动与库存",
    "distribute": "Distribution and activation · 分发与激活",
    "verify": "Verification · 验证",
    "redeem": "Redemption · 核销",
    "recover": "Recovery · 回收",
    "erase": "Persons · 个人信息",
    "ledger": "Ledger · 账本",
    "notify": "Messages · 短信",
    "webhooks": "Webhooks · 事件推送",
    "audit": "Record · 审计",
    "console": "About · 关于",
}

SCOPES: Final = {
    Scope.CAMPAIGNS: "Create and read campaigns · 管理活动",
    Scope.GENERATE: "Generate batches and list their serials · 生成卡密",
    Scope.SECRETS: "See codes · 查看卡密",
    Scope.CHANNELS: "Create channels · 管理渠道",
    Scope.DISTRIBUTE: "Hand vouchers out to channels, activate them · 分发与激活卡密",
    Scope.EXTEND: "Extend validity · 延长有效期",
    Scope.CLAIM: "Give vouchers to customers, see and pass on what they hold · 领取、卡包与转赠",
    Scope.VERIFY: "Check codes · 验证卡密",
    Scope.INSPECT: "Look vouchers up, and see why a code is refused · 查询卡密",
    Scope.REDEEM: "Redeem codes, read and reverse redemptions · 核销与撤销",
    Scope.RECONCILIATIONS: "Compare vouchers, ledger, history and counts · 对账",
    Scope.RECOVERIES: "Recover vouchers and see what came of it · 回收卡密",
    Scope.APPROVE: "Approve or reject what another asked to recover · 审批回收申请",
    Scope.MESSAGES: "Read what SMS were sent, and how; have one resent, complain of one · 查询、重发与投诉短信",
    Scope.MESSAGES_SUPPORT: "See how SMS fare, and settle complaints · 短信统计与投诉处理",
    Scope.MANAGE_MESSAGES: "Set the rules for SMS: of recipients, and of routes · 管理短信规则",
    Scope.WEBHOOKS: "Have events told to an address of yours · 事件推送",
    Scope.ERASURES: "Erase persons · 删除个人信息",
    Scope.AUDIT: "Read the record · 查询审计记录",
}

SERIAL_LENGTHS_SAID: Final = " or ".join(map(str, SERIAL_LENGTHS))

_NUMBER: Final[Json] = {"type": "string", "pattern": r"^\+[1-9][0-9]{6,14}$"}
_RECIPIENT: Final[Json] = {
    "description": "Whose message it is, by the phone number (its plus sign escaped as `%2B`). A customer's client "
    "must say it, or `recipient`.",
    "schema": _NUMBER,
}
PARAMETERS: Final[dict[str, Json]] = {
    "limit": {
        "description": "So many at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    },
    "cursor": {
        "description": "`next_cursor` of the page before; with the same caller, list and filter.",
        "schema": {"type": "string", "minLength": 1, "maxLength": CURSOR_LENGTH_MAX},
    },
    "status": {
        "description": "Only vouchers of this effective status.",
        "schema": {"type": "string", "enum": list(EFFECTIVE)},
    },
    "recipient": {
        "description": "The phone number (E.164), its plus sign escaped as `%2B`. One of `recipient`, `voucher` and "
        "`redemption` is given.",
        "schema": _NUMBER,
        "example": "+8613812345678",
    },
    "voucher": {
        "description": "The serial of the voucher that they are about.",
        "schema": {"type": "string", "minLength": 1, "maxLength": ID_LENGTH_MAX},
    },
    "redemption": {
        "description": "The redemption that they are about, or its reversal.",
        "schema": {"type": "string", "minLength": 1, "maxLength": ID_LENGTH_MAX},
    },
    "action": {
        "description": "With `text/csv` only, where it must be said: what is done to the vouchers.",
        "schema": {"type": "string", "enum": list(Action)},
    },
    "reason": {
        "description": "With `text/csv` only, where it must be said: why.",
        "schema": {"type": "string", "enum": list(get_args(Reason))},
    },
    "only": {
        "description": "With `text/csv` only: what has gone further is spared.",
        "schema": {"type": "string", "enum": list(get_args(Only))},
    },
    "note": {
        "description": "With `text/csv` only: a word for people.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    },
    "recovery": {
        "description": "With `text/csv` and a `resume` only: the suspension that it lifts.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    },
    "channel": {
        "description": "With `text/csv` only: the channel (shop, partner) that it concerns.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    },
    "by": {
        "description": "What is compared: the ways that recoveries were ordered by, or the channels that they concern.",
        "schema": {"type": "string", "enum": ["via", "channel"], "default": "via"},
    },
    "dry_run": {
        "description": "Only say what it would come to.",
        "schema": {"type": "boolean", "default": False},
    },
    "since": {
        "description": "The first day (UTC); 30 days before the last unless it is said.",
        "schema": {"type": "string", "format": "date"},
    },
    "until": {
        "description": "The last day (UTC), today unless it is said.",
        "schema": {"type": "string", "format": "date"},
    },
    "from": {
        "description": "With `text/csv` only: the channel that holds the vouchers now.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    },
    "to": {
        "description": "With `text/csv` only: the channel that they go to.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    },
    "price_minor": {
        "description": "With `text/csv` only: what one voucher was sold for, in minor units of `currency`.",
        "schema": {"type": "integer", "minimum": 1, "maximum": AMOUNT_MINOR_MAX},
    },
    "currency": {
        "description": "With `text/csv` only: ISO 4217.",
        "schema": {"type": "string", "pattern": "^[A-Z]{3}$"},
    },
    "shop": {
        "description": "With `text/csv` only: where they were sold.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[\x21-\x7e]+$"},
    },
    "id": {"description": "As it was answered on creation.", "schema": {"type": "string", "minLength": 1}},
    "serial": {
        "description": f"{SERIAL_LENGTHS_SAID} digits.",
        "schema": {"type": "string", "minLength": 1},
        "example": "010000000003",
    },
    "delivery": {
        "description": "A delivery to that webhook.",
        "schema": {"type": "string", "minLength": 1},
        "example": "whd_n5xw2y4k3q7x2m5c4wz6n7pj",
    },
    "provider": {
        "description": "The provider that it is from, as the deployment names it.",
        "schema": {"type": "string", "minLength": 1},
        "example": "twilio",
    },
    "reference": {
        "description": "Of the SMS, for providers that are told an address for each one.",
        "schema": {"type": "string", "minLength": 1, "maxLength": ID_LENGTH_MAX},
    },
    "token": {
        "description": "For providers that sign nothing: the secret that their address carries.",
        "schema": {"type": "string", "minLength": 1, "maxLength": ID_LENGTH_MAX},
    },
    "file": {
        "description": "`1`, `2`, … or `manifest`.",
        "schema": {"type": "string", "minLength": 1},
        "example": "manifest",
    },
    "ticket": {
        "description": "The text of a ticket for a file of this export.",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "example": "tkt_0c55ad015a3bf4f1b2b0b822.Jx6QmR3l0c0Z9d2sV5bq8wT1uYk7nE4hA-fG_oLpKiM",
    },
    "Idempotency-Key": {
        "description": "Names this order: send a fresh one with each new order, and the same again on a retry.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX,
            "pattern": r"^[\x20-\x7e]+$",
        },
        "example": "order-2026-11-21-0001",
    },
    "customer": {
        "description": "Who holds it: a customer of yours, as your claims name them.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 64},
        "example": "member-1024",
    },
    "If-Match": {
        "description": "The `ETag` of what is to be replaced.",
        "schema": {"type": "string", "pattern": '^"[0-9]{1,9}"$'},
        "example": '"3"',
    },
    "One-Time-Code": {
        "description": "With `text/csv` only: of the client's authenticator (RFC 6238); where a campaign asks for it.",
        "schema": {"type": "string", "pattern": "^[0-9]{6}$"},
        "example": "492039",
    },
    "If-None-Match": {"description": "The `ETag` of the copy at hand.", "schema": {"type": "string"}},
}

OWN_PARAMETERS: Final[dict[tuple[str, str], Json]] = {
    ("list_customer_vouchers", "id"): {
        "description": "The customer, as your own clients name it.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[\x21-\x7e]+$"},
        "example": "customer-1001",
    },
    ("list_customer_vouchers", "status"): {
        "description": "Only vouchers of this effective status; without it, those that can be or may yet be used.",
        "schema": {"type": "string", "enum": list(STATUSES)},
    },
    **{(operation, "customer"): _RECIPIENT for operation in ("list_messages", "get_message", "get_complaint")},
    ("get_message_statistics", "since"): {
        "description": "From the hour of this time on; 24 hours before the end unless it is said.",
        "schema": {"type": "string", "format": "date-time", "pattern": RFC_3339},
    },
    ("get_message_statistics", "until"): {
        "description": "Up to the hour of this time, which is left out; the end of this hour unless it is said.",
        "schema": {"type": "string", "format": "date-time", "pattern": RFC_3339},
    },
    ("get_message_statistics", "by"): {
        "description": f"What is told apart: some of {', '.join(DIMENSIONS)}, with commas between; one sum without it.",
        "schema": {"type": "string", "pattern": f"^({'|'.join(DIMENSIONS)})(,({'|'.join(DIMENSIONS)}))*$"},
        "example": "provider,reason",
    },
    ("list_entries", "serial"): {
        "description": "Only what concerns this card, by itself or with its lot.",
        "schema": {"type": "string", "pattern": "^[0-9]{12,19}$"},
        "example": "010000000003",
    },
    ("list_entries", "actor"): {
        "description": "Only what this API client did; not together with `serial`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": ACTOR_LENGTH_MAX},
        "example": "operator-9f86d081884c7d65",
    },
    ("list_entries", "from"): {
        "description": "Only what happened then or later.",
        "schema": {"type": "string", "format": "date-time", "pattern": RFC_3339},
        "example": "2026-11-21T08:00:00Z",
    },
    ("list_entries", "to"): {
        "description": "Only what happened before then.",
        "schema": {"type": "string", "format": "date-time", "pattern": RFC_3339},
        "example": "2026-11-22T08:00:00Z",
    },
}
"""Of one operation, where a name means something of its own."""


def _parameter(route: Route, name: str) -> Json:
    own = OWN_PARAMETERS.get((route.operation, name))
    return own if own is not None else PARAMETERS[name]


FILE: Final[Json] = {
    "schema": {
        "type": "string",
        "description": "A line for each range, `first,last`, or serial. UTF-8, UTF-16 or GB 18030; a byte order mark, "
        "a header, blank lines, quotes, spaces, full-width digits, tabs or semicolons are taken as they come, and so "
        "are serials whose leading zeros a spreadsheet has dropped. The answer says line by line what came of it.",
    },
    "example": "first,last\n010000000003,010000099999\n010000100005\n",
}
BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED, HTTPStatus.SEE_OTHER)
RAW: Final[Json] = {
    JSON: {
        "schema": {},
        "example": [{"reference": "msg_n5xw2y4k3q7x2m5c4wz6n7pj-1", "id": "north-1", "at": 1795334384}],
    },
    FORM: {"schema": {}, "example": "MessageSid=SM00000000000000000000000000000002&MessageStatus=delivered"},
}
"""As a simulated carrier of the local cloud has it, and as Twilio does."""
OPTIONAL: Final = ("Idempotency-Replayed", "Retry-After")
HEADERS: Final[dict[str, Json]] = {
    name: {"description": description, "required": name not in OPTIONAL, "schema": schema}
    for name, description, schema in (
        ("X-Request-Id", "Names this request; quote it to ask for help.", {"type": "string"}),
        ("Content-Language", "Of the title.", {"enum": ["en", "zh"]}),
        ("Retry-After", "Seconds to wait.", {"type": "integer", "minimum": 1}),
        ("WWW-Authenticate", "RFC 9110 §11.6.1.", {"enum": ["Basic", "Bearer", "Signature"]}),
        ("Location", "Where to read it.", {"type": "string"}),
        ("Idempotency-Replayed", "There where nothing was done again: the key is known.", {"enum": ["true"]}),
        ("ETag", "RFC 9110 §8.8.3.", {"type": "string"}),
    )
}

GATEWAY_STATUSES: Final = (413, 429, 431, 500, 503)
"""What the gateway answers itself where a request does not reach a function or its answer does not come back."""
RETRIED: Final = {
    "try_again", "too_many_attempts", "still_generating", "lot_busy", "recovery_in_progress", "export_in_progress",
    "qr_used",
}  # fmt: skip
"""Keys that come with `Retry-After`."""

PROBLEM_SCHEMA: Final[Json] = {
    "description": "RFC 9457. `key` is stable; `title` and `detail` are for people and may change.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "key"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Where the key is documented."},
        "title": {"type": "string", "description": "English, or Chinese where `Accept-Language` begins with `zh`."},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "key": {"enum": list(PROBLEMS)},
        "errors": {
            "type": "array",
            "description": "What is wrong, field by field.",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {
                    "field": {"type": "string"},
                    "detail": {"type": "string"},
                    "value": {"type": "string", "description": "The serial that does not exist."},
                },
            },
        },
        "available": {"type": "integer", "description": "With `quantity_exceeded`: so many are left."},
        "balance_minor": {"type": "integer", "description": "With `amount_exceeds_balance`: so much is left."},
        "available_minor": {"type": "integer", "description": "With `amount_held`: so much no hold keeps."},
        "limit": {"type": "string", "description": "With `…_limit_reached`: which limit, where there are several."},
        "reason": {"type": "string", "description": "With `resend_not_possible`: the message's."},
        "next_step": {
            "type": "object",
            "description": "With `resend_not_possible`: what is to be done first.",
            "required": ["zh", "en"],
            "properties": {"zh": {"type": "string"}, "en": {"type": "string"}},
        },
        "held_minor": {"type": "integer", "description": "With `amount_exceeds_hold`: so much is held."},
        "error": {"type": "string", "description": "From `POST /v1/tokens`: RFC 6749 §5.2."},
        "error_description": {"type": "string", "description": "From `POST /v1/tokens`: RFC 6749 §5.2."},
    },
}

GATEWAY_SCHEMA: Final[Json] = {
    "description": "What the gateway answers itself.",
    "type": "object",
    "required": ["message"],
    "properties": {"message": {"type": "string"}},
}


@dataclass(frozen=True, slots=True)
class Operation:
    """A route with the models of its body and its answer; console's routes have neither, nor are they an `App`'s.

    `preview` is what a route that takes `dry_run` answers then, with 200.
    """

    route: Route
    description: str | None = None
    request: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    by_app: bool = False
    preview: type[BaseModel] | None = None

    @property
    def is_form(self) -> bool:
        """Whether the body is a form; JSON otherwise."""
        return getattr(self.request, "is_form", False)

    @property
    def errors(self) -> Iterator[str]:
        """The keys of all problems it can answer."""
        route = self.route
        yield from route.errors
        if route.scope:
            yield from ("unauthorized", "insufficient_scope")
        if route.raw_bytes_max:
            yield "body_too_large"
        if self.request:
            yield from ("invalid_request", "body_too_large", "unsupported_media_type")
        if self.request and not self.is_form:
            yield "malformed_json"
        if route.idempotency_key is not Key.NONE:
            yield from ("idempotency_key_invalid", "idempotency_key_reused")
        if route.idempotency_key is Key.REQUIRED:
            yield "idempotency_key_required"
        if "cursor" in route.query:
            yield "invalid_cursor"
        if "{" in route.path:
            yield "not_found"
        if self.by_app:
            yield from ("invalid_request", "internal_error", "try_again")


def operations() -> list[Operation]:
    """All operations, in the order of the table."""
    return [_operation(route) for route in ROUTES]


def _operation(route: Route) -> Operation:
    app = getattr(import_module(f"functions.{route.function}.handler"), "app", None)
    if app is None:
        return Operation(route)
    function, request = app.operations[route.key]
    (hint,) = get_args(get_type_hints(function)["return"])
    models = [each for each in get_args(hint) or [hint] if issubclass(each, BaseModel)]
    preview = models.pop(0) if "dry_run" in route.query else None
    answer = models[0] if models else None
    return Operation(route, inspect.getdoc(function), request, answer, by_app=True, preview=preview)


def document() -> Json:
    """The whole description."""
    every = operations()
    schemas = _schemas(every)
    paths: dict[str, Json] = {}
    for operation in every:
        paths.setdefault(operation.route.path, {})[operation.route.method.lower()] = _described(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kami",
            "summary": "The life of a card secret: generate, activate, verify, redeem · 卡密：生成、激活、验证、核销",
            "description": "The conventions, and every error with its meaning, are described at `/docs`.",
            "version": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in TAGS.values()],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": PROBLEM_SCHEMA, "GatewayError": GATEWAY_SCHEMA},
            "responses": {_failure_name(*answer): _failure(*answer) for o in every for answer in _failures(o)},
            "headers": HEADERS,
            "securitySchemes": _security_schemes(),
        },
    }


def _schemas(every: Iterable[Operation]) -> Json:
    """The models by name. Answers leave absent members out, and so do forms: nothing in them is null."""
    requests = _generated("validation", [o.request for o in every if o.request])
    answers = _generated("serialization", [a for o in every for a in (o.answer, o.preview) if a])
    forms = {o.request.__name__ for o in every if o.request and o.is_form}
    if clash := [name for name in requests.keys() & answers.keys() if requests[name] != answers[name]]:
        raise ValueError(f"two models of one name: {clash}")
    for name, schema in requests.items():
        answers[name] = _without_null(schema) if name in forms else schema
    return dict(sorted(answers.items()))


def _generated(mode: JsonSchemaMode, models: Iterable[type[BaseModel]]) -> Json:
    wanted = [(model, mode) for model in dict.fromkeys(models)]
    _, schema = models_json_schema(wanted, ref_template=COMPONENT + "{model}")
    definitions: Json = schema.get("$defs", {})
    if ambiguous := [name for name in definitions if "__" in name]:
        raise ValueError(f"two models of one name: {ambiguous}")
    for definition in definitions.values():
        definition.pop("title", None)
        for member in definition.get("properties", {}).values():
            member.pop("title", None)
    return {n: _without_null(d) for n, d in definitions.items()} if mode == "serialization" else definitions


def _without_null(schema: Json) -> Json:
    """The schema of an object that leaves a member out where it would be null."""
    if "properties" not in schema:
        return schema
    members, required = {}, []
    for name, member in schema["properties"].items():
        kinds = [kind for kind in member.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == len(member.get("anyOf", ())):
            required.append(name)
            members[name] = member
        else:
            rest = {key: value for key, value in member.items() if key not in ("anyOf", "default")}
            members[name] = {**kinds[0], **rest} if len(kinds) == 1 else {"anyOf": kinds, **rest}
    return {**schema, "properties": members, "required": required}


def _described(operation: Operation, schemas: Json) -> Json:
    route = operation.route
    references = {
        str(status): {"$ref": f"#/components/responses/{_failure_name(status, keys)}"}
        for status, keys in _failures(operation)
    }
    described: Json = {
        "operationId": route.operation,
        "tags": [TAGS[route.function]],
        "summary": f"{route.summary} · {route.zh}",
        "security": _security(route, operation),
        "parameters": list(_parameters(route)),
        "responses": {**dict(_successes(operation, schemas)), **references},
    }
    if operation.description:
        described["description"] = operation.description
    if operation.request:
        media_type = FORM if operation.is_form else JSON
        content = _content(media_type, operation.request, schemas)
        if route.csv is not None:
            content[CSV] = FILE
        described["requestBody"] = {"required": True, "content": content}
    elif route.raw_bytes_max:
        described["requestBody"] = {"required": True, "content": RAW}
    return described


def _security(route: Route, operation: Operation) -> list[Json]:
    if route.scope:
        return [{"client_credentials": [route.scope]}, {"token": [route.scope]}]
    return [{"client": []}, {}] if operation.is_form else []


def _security_schemes() -> Json:
    scopes = {route.scope: SCOPES[route.scope] for route in ROUTES if route.scope}
    return {
        "client_credentials": {
            "type": "oauth2",
            "description": "RFC 6749 §4.4. A token lives for 15 minutes.",
            "flows": {"clientCredentials": {"tokenUrl": "/v1/tokens", "scopes": scopes}},
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The same token, for tools that do not get one themselves.",
        },
        "client": {
            "type": "http",
            "scheme": "basic",
            "description": "Client id and secret (RFC 6749 §2.3.1); they may come in the body instead.",
        },
    }


def _parameters(route: Route) -> Iterator[Json]:
    for part in route.path.split("/"):
        if part.startswith("{"):
            yield {"name": part[1:-1], "in": "path", "required": True, **_parameter(route, part[1:-1])}
    for name in (*route.query, *(route.csv or ())):
        yield {"name": name, "in": "query", **_parameter(route, name)}
    if route.idempotency_key is not Key.NONE:
        required = route.idempotency_key is Key.REQUIRED
        yield {"name": "Idempotency-Key", "in": "header", "required": required, **PARAMETERS["Idempotency-Key"]}
    if route.takes_a_version:
        yield {"name": "If-Match", "in": "header", "required": True, **PARAMETERS["If-Match"]}
    for name in route.csv_headers:
        yield {"name": name, "in": "header", **PARAMETERS[name]}
    if HTTPStatus.NOT_MODIFIED in route.success:
        yield {"name": "If-None-Match", "in": "header", **PARAMETERS["If-None-Match"]}


def _successes(operation: Operation, schemas: Json) -> Iterator[tuple[str, Json]]:
    route = operation.route
    for status in route.success:
        headers = _headers("X-Request-Id")
        if status in (HTTPStatus.ACCEPTED, HTTPStatus.SEE_OTHER):
            headers |= _headers("Location")
        if status == HTTPStatus.CREATED:
            headers |= _headers("Location", required=False)
        if route.idempotency_key is not Key.NONE:
            headers |= _headers("Idempotency-Replayed", required=False)
        if HTTPStatus.NOT_MODIFIED in route.success or route.versioned:
            headers |= _headers("ETag")
        response: Json = {"description": HTTPStatus(status).phrase, "headers": headers}
        answer = operation.preview if operation.preview and status == HTTPStatus.OK else operation.answer
        if answer and status not in BODILESS:
            response["content"] = _content(JSON, answer, schemas)
            if route.media_type != JSON:
                response["content"][route.media_type] = {"schema": {"type": "string"}}
        elif status not in BODILESS:
            response["content"] = {route.media_type: {"schema": {}}}
        yield str(status), response


def _failures(operation: Operation) -> Iterator[tuple[int, list[str]]]:
    """Each bad status with the keys it may come with."""
    by_status: dict[int, list[str]] = {status: [] for status in GATEWAY_STATUSES}
    for key in dict.fromkeys(operation.errors):
        by_status.setdefault(PROBLEMS[key].status, []).append(key)
    yield from sorted(by_status.items())


def _failure_name(status: int, keys: list[str]) -> str:
    return ".".join([str(status), *sorted(keys)])


def _failure(status: int, keys: list[str]) -> Json:
    """A bad status: a problem with one of the keys, or what the gateway says without any."""
    by_gateway = status in GATEWAY_STATUSES
    headers, content = Json(), Json()
    if keys:
        of_this_status = {"properties": {"status": {"const": status}, "key": {"enum": keys}}}
        content[PROBLEM] = {"schema": {"allOf": [{"$ref": COMPONENT + "Problem"}, of_this_status]}}
        names = ["X-Request-Id", "Content-Language"] + (
            ["WWW-Authenticate"] if status == HTTPStatus.UNAUTHORIZED else []
        )
        headers = _headers(*names, required=not by_gateway)
    if to_be_retried := RETRIED & set(keys):
        headers |= _headers("Retry-After", required=not by_gateway and to_be_retried == set(keys))
    if by_gateway:
        content[JSON] = {"schema": {"$ref": COMPONENT + "GatewayError"}}
    described = [f"`{key}`: {PROBLEMS[key].en} · {PROBLEMS[key].zh}" for key in keys]
    return {
        "description": "\n".join(described) or f"{HTTPStatus(status).phrase} (from the gateway)",
        "headers": headers,
        "content": content,
    }


def _headers(*names: str, required: bool = True) -> Json:
    """The shared headers; those that the same status also comes without are written out as optional."""
    return {
        name: {"$ref": f"#/components/headers/{name}"}
        if HEADERS[name]["required"] == required
        else {**HEADERS[name], "required": required}
        for name in names
    }


def _content(media_type: str, model: type[BaseModel], schemas: Json) -> Json:
    reference = {"$ref": f"{COMPONENT}{model.__name__}"}
    return {media_type: {"schema": reference, "example": example(reference, schemas)}}


def example(schema: Json, schemas: Json) -> Any:
    """What a schema gives as an example, or what its parts give; of optional members only those that give one."""
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return example(schemas[schema["$ref"].removeprefix(COMPONENT)], schemas)
    if "properties" in schema:
        required = schema.get("required", ())
        shown = {n: m for n, m in schema["properties"].items() if n in required or "examples" in m or "const" in m}
        return {name: example(member, schemas) for name, member in shown.items()}
    if "items" in schema:
        return [example(schema["items"], schemas)]
    return schema["const"] if "const" in schema else schema["enum"][0]


def files() -> dict[str, str]:
    """What console serves, by file name."""
    described = document()
    return {"openapi.json": json.dumps(described, ensure_ascii=False, indent=1) + "\n", **pages(described)}


def main(*arguments: str) -> None:
    """Write the files, or with `--check` exit with 1 where one is stale."""
    made = files()
    if arguments == ("--check",):
        stale = [
            n for n, text in made.items() if not (CONSOLE / n).exists() or (CONSOLE / n).read_text("utf-8") != text
        ]
        if stale:
            sys.exit("\n".join(f"functions/console/{name} is stale: run `make openapi`" for name in stale))
        return
    for name, text in made.items():
        (CONSOLE / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
