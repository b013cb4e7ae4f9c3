"""Every operation, asked as the API's own description allows and forbids, answers as it says and never with 5xx.

Stricter than a client may be: members of an answer that the description does not name are faults here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import schemathesis
from schemathesis import Case
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks as openapi_checks

from functions.edge.routes import ROUTES
from infra.local.cloud import Cloud
from infra.local.gateway import Request
from infra.local.samples import BOUGHT, RECIPIENT, inbox
from infra.local.template import synthesized
from infra.openapi import CONSOLE

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

EXAMPLES_MAX = 15
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
    openapi_checks.missing_required_header,
    openapi_checks.unsupported_method,
    openapi_checks.ignored_auth,
]
SHORT = 32
"""A generated text so short stands for one that means something; else nothing but refusals would be seen."""


def _strict(path: Path) -> dict[str, Any]:
    """The description with the members of its answers closed to any others."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    shared = document["components"]["responses"].values()
    own = (r for methods in document["paths"].values() for o in methods.values() for r in o["responses"].values())
    for response in (*shared, *own):
        for content in response.get("content", {}).values():
            _close(content["schema"], document["components"]["schemas"])
    return document


def _close(schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    if "allOf" in schema:
        schema["unevaluatedProperties"] = False
    elif "$ref" in schema:
        _close(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    elif "properties" in schema:
        schema["additionalProperties"] = False
        for member in schema["properties"].values():
            _close(member, schemas)
    elif "items" in schema:
        _close(schema["items"], schemas)


@schemathesis.serializer("text/csv")
def as_csv(ctx: Any, value: Any) -> bytes:
    """A generated text is a file as it stands."""
    return str(value).encode(errors="replace")


class Application:
    """The local cloud as a WSGI application: no socket, and each request comes from another address."""

    cloud: Cloud

    def __init__(self) -> None:
        self._answered = count()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        headers = [(n[5:].replace("_", "-").lower(), v) for n, v in environ.items() if n.startswith("HTTP_")]
        headers += [
            (n.replace("_", "-").lower(), environ[n]) for n in ("CONTENT_TYPE", "CONTENT_LENGTH") if n in environ
        ]
        answer = self.cloud.gateway.answer(
            Request(
                method=environ["REQUEST_METHOD"],
                target=environ["RAW_URI"] + ("?" + environ["QUERY_STRING"] if environ["QUERY_STRING"] else ""),
                headers=headers,
                body=environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)),
                address=f"2001:db8::{next(self._answered):x}",
            )
        )
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", answer.headers)
        return [answer.body]


class Existing:
    """One of everything, for requests to be about."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._token, self._keys = cloud, cloud.token("operator"), count()
        campaign = self._post("/v1/campaigns", self._campaign())
        batch = self._post(f"/v1/campaigns/{campaign['id']}/batches", {"quantity": 100})
        activation = self._post("/v1/activations", {"selection": {"batch": batch["id"]}})
        page = cloud.request("GET", f"/v1/batches/{batch['id']}/vouchers", token=self._token).json()
        serials = [line["serial"] for line in page["data"]]
        codes = [line["code"] for line in self._post("/v1/reveals", {"serials": serials, "reason": "fuzz"})["data"]]
        account = {"type": "mobile", "number": "+8613812345678"}
        redemption = self._post("/v1/redemptions", {"code": codes[0], "account": account, "amount_minor": 1})
        hold = self._post("/v1/holds", {"code": codes[0], "amount_minor": 10**6, "minutes": 30})
        channel, other = (self._post("/v1/channels", {"kind": kind, "name": kind}) for kind in ("offline", "online"))
        held = self._post(f"/v1/campaigns/{campaign['id']}/batches", {"quantity": 100})
        distribution = self._post("/v1/distributions", {"selection": {"batch": held["id"]}, "to": channel["id"]})
        extension = self._post("/v1/extensions", {"selection": {"batch": held["id"]}, "days": 1})
        bought = self._post("/v1/campaigns", {**self._campaign(), "code_format": "imported"})
        import_ = self._post("/v1/imports", {"campaign": bought["id"], "size": len(BOUGHT)})
        dispense = self._post("/v1/dispenses", {"campaign": campaign["id"], "quantity": 1})
        recovered = self._post(f"/v1/campaigns/{campaign['id']}/batches", {"quantity": 100})
        order = {"selection": {"batch": recovered["id"]}, "action": "reclaim", "reason": "unsold"}
        recovery = self._post("/v1/recoveries", order)
        reconciliation = self._post("/v1/reconciliations", {"selection": {"batch": held["id"]}})
        rules = {"allow": [{"roles": ["operator"], "actions": ["void"], "vouchers_alone": 0}]}
        guarded = self._post("/v1/campaigns", {**self._campaign(), "recovery_rules": rules})
        stolen = self._post(f"/v1/campaigns/{guarded['id']}/batches", {"quantity": 1})
        awaiting = self._post("/v1/recoveries", {**order, "selection": {"batch": stolen["id"]}, "action": "void"})
        export = self._post(f"/v1/batches/{batch['id']}/exports", {"recipient": RECIPIENT})
        record = self._post("/v1/audit/exports", {})
        for code in codes[1:4]:
            self._post("/v1/claims", {"code": code, "customer": "customer-1001"})
        offer = self._post("/v1/transfers", {"serial": serials[1], "customer": "customer-1001"})
        cloud.drain()
        recipient = account["number"].replace("+", "%2B")
        messages = cloud.request("GET", f"/v1/messages?recipient={recipient}", token=self._token).json()["data"]
        path = f"/v1/messages/{messages[0]['id']}/complaints"
        complaint = self._post(path, {"customer": account["number"]})
        person = {"number": "+8613812345600", "reason": "request_of_the_person"}
        erasure = self._post("/v1/erasures", person)
        address = inbox(cloud, "fuzz")
        webhook = self._post("/v1/webhooks", {"url": address, "events": ["voucher.redeemed"]})
        delivery = self._post(f"/v1/webhooks/{webhook['id']}/tests", None)
        client_id, client_secret = cloud.demo_client("operator")
        self.ids = {
            "campaigns": campaign["id"],
            "batches": batch["id"],
            "activations": activation["id"],
            "channels": channel["id"],
            "customers": "customer-1001",
            "transfers": offer["id"],
            "distributions": distribution["id"],
            "dispenses": dispense["id"],
            "extensions": extension["id"],
            "vouchers": serials[1],
            "redemptions": redemption["id"],
            "holds": hold["id"],
            "recoveries": recovery["id"],
            "reconciliations": reconciliation["id"],
            "/v1/recoveries/{id}/approvals": awaiting["id"],
            "messages": messages[0]["id"],
            "receipts": "north",
            "complaints": complaint["id"],
            "erasures": erasure["id"],
            "exports": export["id"],
            "audit": record["id"],
            "imports": import_["id"],
            "file": "1",
            "webhooks": webhook["id"],
            "delivery": delivery["id"],
        }
        self.values = {
            "code": codes,
            "serials": serials,
            "first_serial": serials[:20],
            "last_serial": serials[20:],
            "batch": [batch["id"], held["id"]],
            "from": [channel["id"], other["id"]],
            "to": [other["id"], channel["id"]],
            "grant_type": ["client_credentials"],
            "client_id": [client_id],
            "client_secret": [client_secret],
            "recipient": [RECIPIENT],
            "campaign": [campaign["id"], bought["id"]],
            "customer": ["customer-1001", "customer-1002"],
            "serial": serials[2:4],
            "token": [offer["token"]],
            "digest": [awaiting["approval"]["digest"]],
            "url": [address],
            "scope": ["campaigns", "vouchers:verify vouchers:redeem"],
        }

    def _campaign(self) -> dict[str, Any]:
        return {
            "name": "Fuzz",
            "kind": "recharge",
            "face_value": {"amount_minor": 10**12, "currency": "CNY"},
            "redemption": "balance",
            "valid_days_after_activation": 30,
        }

    def _post(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Idempotency-Key": f"existing-{next(self._keys)}"}
        answer = self._cloud.request("POST", path, headers=headers, body=body, token=self._token)
        assert answer.status in (200, 201, 202), answer.body
        return cast("dict[str, Any]", answer.json())

    def put_into(self, case: Case[Any]) -> None:
        """Let the request be about what exists, where it was not made to be wrong."""
        assert case.meta is not None
        if not case.meta.is_negative_at(ParameterLocation.PATH) and case.path_parameters:
            kind = case.operation.path.split("/")[2]
            case.path_parameters = {
                n: self.ids.get(n, self.ids.get(case.operation.path, self.ids[kind])) if len(v) < SHORT else v
                for n, v in case.path_parameters.items()
            }
        if not case.meta.is_negative_at(ParameterLocation.BODY) and isinstance(case.body, Mapping):
            case.body = {name: self._known(name, member) for name, member in case.body.items()}

    def _known(self, name: str, value: Any) -> Any:
        if name == "account":  # always another one, or wrong codes would soon have used up its attempts
            return {"type": "mobile", "number": f"+86138{next(self._keys):08d}"}
        if name == "customer" and isinstance(value, str) and value.startswith("+"):
            return "+8613812345678"
        if name == "selection" and isinstance(value, Mapping):
            return {name: self._known(name, member) for name, member in value.items()}
        if isinstance(value, list):
            return [self._known(name, member) for member in value]
        if name not in self.values or not isinstance(value, str) or len(value) >= SHORT:
            return value
        return self.values[name][len(value) % len(self.values[name])]


application = Application()
api = schemathesis.openapi.from_dict(_strict(CONSOLE / "openapi.json"))
api.app = application
api.config.seed = 20261121
_required = api.config.checks.missing_required_header
_required.expected_statuses = [*_required.expected_statuses, "428"]  # RFC 6585 §3: without an If-Match
api.config.generation.update(deterministic=True, max_examples=EXAMPLES_MAX, database="none")


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud.in_process(synthesized()) as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr("functions.ledger.reconciling.LOOKS_AFTER_S", (0, 0, 0))
        application.cloud = made
        yield made


@pytest.fixture(scope="module")
def existing(cloud: Cloud) -> Existing:
    return Existing(cloud)


def _test_of(operation: str) -> Any:
    @api.include(operation_id=operation).parametrize()
    def test(case: Case[Any], existing: Existing, cloud: Cloud) -> None:
        existing.put_into(case)
        protected = {"token"} in (set(way) for way in case.operation.definition.raw["security"])
        role = "approver" if operation == "create_approval" else "operator"
        headers = {"Authorization": f"Bearer {cloud.token(role)}"} if protected else {}
        case.call_and_validate(headers=headers, checks=CHECKS)

    return test


# One function an operation: those that `parametrize` makes of one function share a name, which parallel runs mistake
# for one and the same test.
globals().update({f"test_{route.operation}_answers_as_described": _test_of(route.operation) for route in ROUTES})
