"""The pages for people, made from the API's description and the tables of the domain: no script, nothing loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from functions.domain.actor import ROLES
from functions.domain.campaign import EXPECTED_HITS_A_DAY_MAX
from functions.domain.errors import PROBLEMS
from functions.domain.formats import DERIVED
from functions.domain.rules import REASONS
from functions.domain.voucher import REFUSALS, STATUSES
from functions.edge.http import BODY_BYTES_MAX, CSV, JSON
from functions.edge.problems import PROBLEM
from functions.store.guards import LIMITS

TEMPLATES: Final = Path(__file__).parent / "templates"
Json = dict[str, Any]

STATUSES_ZH: Final = {
    "generated": "已生成",
    "distributed": "已分发",
    "active": "已激活",
    "claimed": "已领取",
    "partly_redeemed": "部分核销",
    "redeemed": "已核销",
    "suspended": "已冻结",
    "void": "已作废",
    "reissued": "已换发",
}
REASONS_ZH: Final = {
    "vetoed": "卡密本身已作废、冻结或换发",
    "redeemed": "余额已用完",
    "recalled": "所在号段已回收或冻结",
    "inactive": "卡密及其号段均未激活",
    "expired": "已过有效期",
    "offered": "持有人正在转赠，对方尚未接受",
}
SUBJECTS: Final = {
    "account": ("an account, by one client", "同一客户端的同一账号"),
    "device": ("a device, by one client", "同一客户端的同一设备"),
    "address": ("a customer's address", "同一客户 IP 地址"),
    "till": ("a client's address, where a request names none of these", "未指明以上各项时，客户端自身的 IP 地址"),
    "one_time_code": ("a client, by its authenticator's one-time codes", "同一客户端的动态验证码"),
    "lot": (
        "a lot, by forged codes; then one wrong code there is the limit",
        "同一号段的伪造卡密；此后该号段错一次即受限",
    ),
}


@dataclass(frozen=True, slots=True)
class Field:
    """A row of the table of a body: `name` is dotted where it lies deeper."""

    name: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer; statuses that answer alike come together."""

    statuses: str
    about: str
    example: Json | None
    fields: list[Field]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as it is shown."""

    method: str
    path: str
    described: Json
    about: str
    fields: list[Field]
    curl: str
    answers: list[Answer]
    refusals: list[str]

    @property
    def scope(self) -> str | None:
        """The scope it takes; `security` gives two ways to bring it."""
        return next((scope for way in self.described["security"] for scope in way.get("token", [])), None)


def pages(document: Json) -> dict[str, str]:
    """File name → page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["marked"] = _marked
    environment.filters["json"] = partial(json.dumps, ensure_ascii=False, indent=2)
    shown = {
        "document": document,
        "groups": [
            (tag, list(found)) for tag, found in groupby(_operations(document), lambda o: o.described["tags"][0])
        ],
        "scopes": document["components"]["securitySchemes"]["client_credentials"]["flows"]["clientCredentials"][
            "scopes"
        ],
        "roles": ROLES,
        "problems": sorted(PROBLEMS.items(), key=lambda row: row[1].status),
        "formats": DERIVED,
        "expected_hits_max": EXPECTED_HITS_A_DAY_MAX,
        "limits": [(*SUBJECTS[kind], limit) for kind, limit in LIMITS.items()],
        "refusals": [
            (REASONS[reason], REASONS_ZH[reason], PROBLEMS[key].status, key) for reason, key in REFUSALS.items()
        ],
        "statuses": [(status.value, STATUSES_ZH[status], meaning) for status, meaning in STATUSES.items()],
        "body_bytes_max": BODY_BYTES_MAX,
    }
    return {name: environment.get_template(name).render(shown) for name in ("docs.html", "home.html")}


def _marked(text: str) -> Markup:
    """Text with its `names` set as code and its **warnings** as strong."""
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped))


def _operations(document: Json) -> Iterator[Operation]:
    schemas: Json = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            content = described.get("requestBody", {"content": {"": {}}})["content"]
            schema = _resolved(next(iter(content.values())).get("schema", {}), schemas)
            as_file = content.get(CSV, {"schema": {"description": ""}})["schema"]["description"]
            yield Operation(
                method=method.upper(),
                path=path,
                described=described,
                about=schema.get("description", "") + (f" As `{CSV}`: {as_file}" if as_file else ""),
                fields=list(_fields(schema, schemas)),
                curl=_curl(method.upper(), path, described),
                answers=list(_answers(described, schemas)),
                refusals=list(_refusals(described, document["components"]["responses"])),
            )


def _answers(described: Json, schemas: Json) -> Iterator[Answer]:
    alike: dict[str, list[str]] = {}
    for status, response in described["responses"].items():
        if status < "400":
            content = response.get("content", {}).get(JSON, {})
            alike.setdefault(json.dumps(content), []).append(f"{status} {response['description']}")
    for dumped, statuses in alike.items():
        content = json.loads(dumped)
        schema = _resolved(content.get("schema", {}), schemas)
        fields = list(_fields(schema, schemas))
        yield Answer(", ".join(statuses), schema.get("description", ""), content.get("example"), fields)


def _refusals(described: Json, shared: Json) -> Iterator[str]:
    for status, response in described["responses"].items():
        problem = status >= "400" and shared[response["$ref"].rpartition("/")[2]]["content"].get(PROBLEM)
        if problem:
            yield from problem["schema"]["allOf"][1]["properties"]["key"]["enum"]


def _fields(schema: Json, schemas: Json, prefix: str = "") -> Iterator[Field]:
    schema = _resolved(schema, schemas)
    for name, member in schema.get("properties", {}).items():
        inner = _resolved(member, schemas)
        yield Field(prefix + name, _type(inner), name in schema.get("required", ()), inner.get("description", ""))
        items = _resolved(inner.get("items", {}), schemas)
        yield from _fields(items if items else inner, schemas, f"{prefix}{name}{'[]' if items else ''}.")


def _resolved(schema: Json, schemas: Json) -> Json:
    """The schema without indirection and without null, which says no more than that the member is optional."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        schema = {**schema, **kinds[0]}
    if "$ref" not in schema:
        return schema
    return {**schemas[schema["$ref"].rpartition("/")[2]], **{k: v for k, v in schema.items() if k != "$ref"}}


def _type(schema: Json) -> str:
    if "const" in schema or "enum" in schema:
        return " | ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "properties" in schema:
        return "object"
    if "type" not in schema:
        return "any value"
    kind = str(schema["type"])
    if kind == "array":
        inner = "" if "properties" in schema["items"] or "$ref" in schema["items"] else f" of {_type(schema['items'])}"
        return f"list{inner}{_bounds(schema, 'minItems', 'maxItems')}"
    if kind == "object":
        values = schema["additionalProperties"]
        return "object" if values is True or "$ref" in values else f"object of {_type(values)}"
    kind += f", {schema['format']}" if "format" in schema else ""
    if kind.startswith("string"):
        return kind + _bounds(schema, "minLength", "maxLength")
    return kind + _bounds(schema, "minimum", "maximum")


def _bounds(schema: Json, low: str, high: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    return (
        f", at most {most:,}" if least is None else f", {least} to {most:,}" if most is not None else f", from {least}"
    )


def _curl(method: str, path: str, described: Json) -> str:
    implied = "POST" if "requestBody" in described else "GET"
    verb = "" if method == implied else f"-X {method} "
    parts = [f'curl {verb}"$KAMI{re.sub(r"{(.+?)}", lambda name: f"${name[1].upper()}", path)}"']
    if any("token" in way for way in described["security"]):
        parts.append('-H "Authorization: Bearer $TOKEN"')
    for parameter in described["parameters"]:
        if parameter["name"] == "Idempotency-Key":
            parts.append(f'-H "Idempotency-Key: {parameter["example"]}"')
    for media_type, body in [*described.get("requestBody", {}).get("content", {}).items()][:1]:
        if media_type == JSON:
            parts.append(f'-H "Content-Type: {JSON}"')
            parts.append(f"-d '{json.dumps(body['example'], ensure_ascii=False)}'")
        else:
            parts.append('-u "$CLIENT_ID:$CLIENT_SECRET"')
            parts += [f"-d {name}={value}" for name, value in body["example"].items()]
    return " \\\n  ".join(parts)
