"""Who may what: every route × role × own or foreign tenant, in one table that is run whole.

A cell is what a good request is answered: about what is the caller's own (the operator's for roles without a tenant),
and in the columns marked ' about what is another tenant's. `none` is a list that does not show it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from functions.domain.actor import ROLES
from functions.domain.export import MANIFEST
from functions.edge.routes import ROUTES, Route
from infra.local.carriers import NAMES
from infra.local.gateway import Answer
from infra.local.samples import BOUGHT, RECIPIENT, inbox
from tests.integration.kami import Caller, Json, Kami, Voucher, claim, granted, mobile, unique

TABLE: Final = """
                                          operator approver partner partner' merchant merchant' support auditor customer
POST /v1/campaigns                        201      403      403     403      403      403       403     403     403
GET  /v1/campaigns                        200      403      403     403      403      403       403     403     403
GET  /v1/campaigns/{id}                   200      403      403     403      403      403       403     403     403
POST /v1/campaigns/{id}/reclaim-stops     200      403      403     403      403      403       403     403     403
POST /v1/campaigns/{id}/batches           201      403      403     403      403      403       403     403     403
GET  /v1/batches/{id}                     200      403      403     403      403      403       403     403     403
GET  /v1/batches/{id}/vouchers            200      403      403     403      403      403       403     403     403
POST /v1/reveals                          200      403      403     403      403      403       403     403     403
POST /v1/batches/{id}/exports             202      403      403     403      403      403       403     403     403
GET  /v1/exports/{id}                     200      403      403     403      403      403       403     403     403
POST /v1/exports/{id}/tickets             201      403      403     403      403      403       403     403     403
GET  /v1/exports/{id}/files/{file}        303      303      303     303      303      303       303     303     303
POST /v1/imports                          202      403      403     403      403      403       403     403     403
POST /v1/imports/{id}/starts              202      403      403     403      403      403       403     403     403
GET  /v1/imports/{id}                     200      403      403     403      403      403       403     403     403

POST /v1/channels                         201      403      403     403      403      403       403     403     403
GET  /v1/channels                         200      403      200     none     403      403       403     403     403
GET  /v1/channels/{id}                    200      403      200     404      403      403       403     403     403
GET  /v1/channels/{id}/stock              200      403      200     404      403      403       403     403     403
POST /v1/distributions                    201      403      201     404      403      403       403     403     403
GET  /v1/distributions/{id}               200      403      200     404      403      403       403     403     403
POST /v1/activations                      201      403      201     422      403      403       403     403     403
GET  /v1/activations/{id}                 200      403      200     404      403      403       403     403     403
POST /v1/extensions                       201      403      403     403      403      403       403     403     403
GET  /v1/extensions/{id}                  200      403      403     403      403      403       403     403     403
POST /v1/dispenses                        201      403      201     404      403      403       403     403     403
GET  /v1/dispenses/{id}                   200      403      200     404      403      403       403     403     403

POST /v1/claims                           201      403      201     201      403      403       403     403     201
GET  /v1/customers/{id}/vouchers          200      403      200     none     403      403       403     403     200
POST /v1/transfers                        201      403      201     404      403      403       403     403     201
POST /v1/transfers/{id}/acceptances       201      403      201     404      403      403       403     403     201
POST /v1/transfers/{id}/returns           201      403      201     404      403      403       403     403     201
GET  /v1/vouchers/{serial}/qr             200      403      200     404      403      403       403     403     200

POST /v1/verifications                    200      403      200     200      200      200       200     403     200
GET  /v1/vouchers/{serial}                200      200      403     403      403      403       200     200     403
GET  /v1/vouchers/{serial}/history        200      200      403     403      403      403       200     200     403
GET  /v1/vouchers/{serial}/ledger         200      200      403     403      403      403       200     200     403
POST /v1/redemptions                      201      403      201     201      201      201       403     403     403
GET  /v1/redemptions/{id}                 200      403      200     404      200      404       403     403     403
POST /v1/redemptions/{id}/reversals       201      403      201     404      201      404       403     403     403
POST /v1/holds                            201      403      201     201      201      201       403     403     403
GET  /v1/holds/{id}                       200      403      200     404      200      404       403     403     403
POST /v1/holds/{id}/captures              201      403      201     404      201      404       403     403     403
POST /v1/holds/{id}/releases              201      403      201     404      201      404       403     403     403

POST /v1/recoveries                       202      202      202     422      403      403       403     403     403
GET  /v1/recoveries                       200      200      200     none     403      403       200     403     403
GET  /v1/recoveries/{id}                  200      200      200     404      403      403       200     403     403
GET  /v1/recoveries/{id}/report           200      200      200     404      403      403       200     403     403
GET  /v1/recoveries/statistics            200      200      403     403      403      403       200     403     403
POST /v1/recoveries/{id}/approvals        403      201      403     403      403      403       403     403     403

POST /v1/reconciliations                  202      403      403     403      403      403       403     202     403
GET  /v1/reconciliations                  200      403      403     403      403      403       403     200     403
GET  /v1/reconciliations/{id}             200      403      403     403      403      403       403     200     403

GET  /v1/messages                         200      403      200     none     200      none      200     403     200
GET  /v1/messages/{id}                    200      403      200     404      200      404       200     403     200
POST /v1/messages/{id}/resends            201      403      201     404      201      404       201     403     201
POST /v1/messages/{id}/complaints         201      403      201     404      201      404       201     403     201
GET  /v1/messages/statistics              200      403      403     403      403      403       200     403     403
GET  /v1/complaints                       200      403      403     403      403      403       200     403     403
GET  /v1/complaints/{id}                  200      403      200     404      200      404       200     403     200
POST /v1/complaints/{id}/outcomes         201      403      403     403      403      403       201     403     403
POST /v1/recipients/lookups               200      403      403     403      403      403       200     403     403
PUT  /v1/recipients                       200      403      403     403      403      403       403     403     403
GET  /v1/routes                           200      403      403     403      403      403       403     403     403
PUT  /v1/routes                           200      403      403     403      403      403       403     403     403

POST /v1/webhooks                         201      403      201     201      201      201       403     403     403
GET  /v1/webhooks                         200      403      200     none     200      none      403     403     403
GET  /v1/webhooks/{id}                    200      403      200     404      200      404       403     403     403
DELETE /v1/webhooks/{id}                  204      403      204     404      204      404       403     403     403
POST /v1/webhooks/{id}/rotations          201      403      201     404      201      404       403     403     403
POST /v1/webhooks/{id}/tests              201      403      201     404      201      404       403     403     403
GET  /v1/webhooks/{id}/deliveries         200      403      200     404      200      404       403     403     403
POST /v1/webhooks/{id}/deliveries/{delivery}/replays 202 403    202     404      202      404       403     403     403

POST /v1/erasures                         202      403      403     403      403      403       403     403     403
GET  /v1/erasures/{id}                    200      403      403     403      403      403       403     403     403

GET  /v1/audit                            200      403      403     403      403      403       403     200     403
GET  /v1/audit/checkpoints                200      403      403     403      403      403       403     200     403
POST /v1/audit/exports                    202      403      403     403      403      403       403     202     403
GET  /v1/audit/exports/{id}               200      403      403     403      403      403       403     200     403
GET  /v1/audit/exports/{id}/file          303      403      403     403      403      403       403     303     403
"""
OPEN: Final = {"create_token", "create_receipts", "get_jwks", "get_openapi", "get_docs", "get_home"}
"""To everybody, without a token."""


@dataclass
class Case:
    """A cell on its way: what a request is about belongs to `owner`."""

    kami: Kami
    owner: Caller
    _made: Json = field(default_factory=dict)

    @property
    def operator(self) -> Caller:
        return self.kami.operator

    def campaign(self) -> str:
        return str(self.kami.campaign()["id"])

    def batch(self, quantity: int = 1) -> str:
        return str(self.kami.batch(self.campaign(), quantity)["id"])

    def channel(self) -> str:
        """Of the owner, with a stock of one campaign."""
        made = self.kami.channel(kind="partner", tenant=self.owner.tenant)["id"]
        campaign = self.campaign()
        batch = self.kami.batch(campaign, 2)["id"]
        self.kami.distribute(to=made, batch=batch)
        self._made = {"serials": self.kami.serials(batch), "campaign": campaign}
        return str(made)

    def card(self) -> Voucher:
        return self.kami.voucher()

    def held(self) -> Voucher:
        """By the owner's customer."""
        return claim(self.kami, self.card(), self.customer, self.owner)

    @property
    def customer(self) -> str:
        return f"customer-of-{self.owner.client_id}"

    def redemption(self) -> str:
        return str(granted(self.owner.redeem(self.card().code), 201)["id"])

    def hold(self) -> str:
        order = {"code": self.card().code, "minutes": 5}
        return str(granted(self.owner.post("/v1/holds", order, unique()), 201)["id"])

    def offer(self) -> Json:
        order = {"serial": self.held().serial, "customer": self.customer}
        return granted(self.owner.post("/v1/transfers", order, unique()), 201)

    def ordered(self, path: str, body: Json) -> str:
        """What the owner orders; its id."""
        answer = self.owner.post(path, body, unique())
        assert answer.status in (201, 202), answer.body
        return str(answer.json()["id"])

    def record(self) -> str:
        """An export of the record, written."""
        id = str(granted(self.operator.post("/v1/audit/exports", {}), 202)["id"])
        self.kami.cloud.drain()
        return id

    def export(self) -> str:
        return str(
            granted(self.operator.post(f"/v1/batches/{self.batch()}/exports", {"recipient": RECIPIENT}), 202)["id"]
        )

    def done_export(self) -> str:
        id = self.export()
        self.kami.cloud.drain()
        return id

    def file(self) -> str:
        id = self.done_export()
        ticket = granted(self.operator.post(f"/v1/exports/{id}/tickets", None), 201)["ticket"]
        return f"/v1/exports/{id}/files/{MANIFEST}?ticket={ticket}"

    def import_(self) -> str:
        return str(self.kami.ordered_import(self.kami.campaign(code_format="imported")["id"], BOUGHT)["id"])

    def distribution(self) -> Json:
        channel = self.channel()
        return {"selection": {"serials": self._made["serials"][:1]}, "from": channel}

    def activation(self) -> Json:
        self.channel()
        return {"selection": {"serials": self._made["serials"][:1]}}

    def recovery(self) -> Json:
        """Of a card that the owner's channel holds."""
        self.channel()
        return {**self.kami.recovery(serials=self._made["serials"][:1]), "reason": "stolen"}

    def dispense(self) -> Json:
        channel = self.channel()
        return {"campaign": self._made["campaign"], "quantity": 1, "channel": channel}

    def message(self) -> tuple[str, str]:
        """To the owner's customer, or about the owner's redemption: its id, and the number. No carrier took it."""
        number, card = mobile(), self.card()
        redeemed = self.owner.redeem(card.code, account=number)
        if redeemed.status == 403:
            claim(self.kami, card, number, self.owner)
            granted(self.operator.redeem(card.code, account=number), 201)
        for name in NAMES:
            self.kami.cloud.carriers.set(name, "refuse", error="blocked")
        self.kami.cloud.drain()
        self.kami.cloud.carriers.reset()
        escaped = number.replace("+", "%2B")
        return str(granted(self.operator.get(f"/v1/messages?recipient={escaped}"))["data"][0]["id"]), number

    def messages(self) -> str:
        """The list of them."""
        id, number = self.message()
        return f"/v1/messages?recipient={number.replace('+', '%2B')}#{id}"

    def about_message(self, path: str) -> tuple[str, Any]:
        """A request that names its recipient."""
        id, number = self.message()
        named = {"customer": number}
        return path.replace("{id}", id), named

    def complaint(self, *, ask: bool = False) -> str:
        """About such a message."""
        path, body = self.about_message("/v1/messages/{id}/complaints")
        id = str(granted(self.operator.post(path, body), 201)["id"])
        return f"{id}?customer={body['customer'].replace('+', '%2B')}" if ask else id

    def webhook(self) -> str:
        """The owner's, the only one."""
        for known in granted(self.owner.get("/v1/webhooks"))["data"]:
            self.owner.delete(f"/v1/webhooks/{known['id']}")
        return str(granted(self.owner.post("/v1/webhooks", self.endpoint(), unique()), 201)["id"])

    def endpoint(self) -> Json:
        return {"url": inbox(self.kami.cloud, "matrix"), "events": ["voucher.redeemed"]}

    def delivery(self) -> str:
        id = self.webhook()
        made = granted(self.owner.post(f"/v1/webhooks/{id}/tests", None, unique()), 201)
        return f"/v1/webhooks/{id}/deliveries/{made['id']}/replays"


Request = tuple[str, Any]
MAKERS: Final[dict[str, Callable[[Case], Request]]] = {
    "create_campaign": lambda c: ("/v1/campaigns", CAMPAIGN),
    "list_campaigns": lambda c: ("/v1/campaigns", None),
    "get_campaign": lambda c: (f"/v1/campaigns/{c.campaign()}", None),
    "stop_reclaim": lambda c: (
        f"/v1/campaigns/{c.kami.campaign(reclaim_unactivated_after_days=1)['id']}/reclaim-stops", None,
    ),
    "create_batch": lambda c: (f"/v1/campaigns/{c.campaign()}/batches", {"quantity": 1}),
    "get_batch": lambda c: (f"/v1/batches/{c.batch()}", None),
    "list_batch_vouchers": lambda c: (f"/v1/batches/{c.batch()}/vouchers", None),
    "create_reveal": lambda c: ("/v1/reveals", {"serials": [c.card().serial], "reason": "test"}),
    "create_export": lambda c: (f"/v1/batches/{c.batch()}/exports", {"recipient": RECIPIENT}),
    "get_export": lambda c: (f"/v1/exports/{c.export()}", None),
    "create_ticket": lambda c: (f"/v1/exports/{c.done_export()}/tickets", None),
    "get_file": lambda c: (c.file(), None),
    "create_import": lambda c: (
        "/v1/imports", {"campaign": c.kami.campaign(code_format="imported")["id"], "size": 9},
    ),
    "start_import": lambda c: (f"/v1/imports/{c.import_()}/starts", None),
    "get_import": lambda c: (f"/v1/imports/{c.import_()}", None),
    "create_channel": lambda c: ("/v1/channels", {"kind": "offline", "name": "Shop"}),
    "list_channels": lambda c: (f"/v1/channels?limit=100#{c.channel()}", None),
    "get_channel": lambda c: (f"/v1/channels/{c.channel()}", None),
    "get_stock": lambda c: (f"/v1/channels/{c.channel()}/stock", None),
    "create_distribution": lambda c: ("/v1/distributions", c.distribution()),
    "get_distribution": lambda c: (f"/v1/distributions/{c.ordered('/v1/distributions', c.distribution())}", None),
    "create_activation": lambda c: ("/v1/activations", c.activation()),
    "get_activation": lambda c: (f"/v1/activations/{c.ordered('/v1/activations', c.activation())}", None),
    "create_extension": lambda c: ("/v1/extensions", {"selection": {"batch": c.batch()}, "days": 1}),
    "get_extension": lambda c: (
        f"/v1/extensions/{c.ordered('/v1/extensions', {'selection': {'batch': c.batch()}, 'days': 1})}", None,
    ),
    "create_dispense": lambda c: ("/v1/dispenses", c.dispense()),
    "get_dispense": lambda c: (f"/v1/dispenses/{c.ordered('/v1/dispenses', c.dispense())}", None),
    "create_claim": lambda c: ("/v1/claims", {"code": c.card().code, "customer": c.customer}),
    "list_customer_vouchers": lambda c: (f"/v1/customers/{c.customer}/vouchers?limit=100#{c.held().serial}", None),
    "create_transfer": lambda c: ("/v1/transfers", {"serial": c.held().serial, "customer": c.customer}),
    "create_acceptance": lambda c: _about(c.offer(), "acceptances", customer="receiver"),
    "create_return": lambda c: _about(c.offer(), "returns"),
    "get_qr": lambda c: (f"/v1/vouchers/{c.held().serial}/qr?customer={c.customer}", None),
    "create_verification": lambda c: ("/v1/verifications", {"code": c.card().code}),
    "get_voucher": lambda c: (f"/v1/vouchers/{c.card().serial}", None),
    "get_history": lambda c: (f"/v1/vouchers/{c.card().serial}/history", None),
    "get_ledger": lambda c: (f"/v1/vouchers/{c.card().serial}/ledger", None),
    "create_redemption": lambda c: ("/v1/redemptions", {"code": c.card().code, "account": account()}),
    "get_redemption": lambda c: (f"/v1/redemptions/{c.redemption()}", None),
    "create_reversal": lambda c: (f"/v1/redemptions/{c.redemption()}/reversals", {"reason": "test"}),
    "create_hold": lambda c: ("/v1/holds", {"code": c.card().code, "minutes": 5}),
    "get_hold": lambda c: (f"/v1/holds/{c.hold()}", None),
    "create_capture": lambda c: (f"/v1/holds/{c.hold()}/captures", {"account": account()}),
    "create_release": lambda c: (f"/v1/holds/{c.hold()}/releases", None),
    "create_recovery": lambda c: ("/v1/recoveries", c.recovery()),
    "list_entries": lambda c: ("/v1/audit?limit=1", None),
    "list_checkpoints": lambda c: ("/v1/audit/checkpoints", None),
    "create_audit_export": lambda c: ("/v1/audit/exports", {}),
    "get_audit_export": lambda c: (f"/v1/audit/exports/{c.record()}", None),
    "get_audit_export_file": lambda c: (f"/v1/audit/exports/{c.record()}/file", None),
    "list_recoveries": lambda c: (f"/v1/recoveries?limit=100#{c.ordered('/v1/recoveries', c.recovery())}", None),
    "get_recovery": lambda c: (f"/v1/recoveries/{c.ordered('/v1/recoveries', c.recovery())}", None),
    "get_recovery_report": lambda c: (f"/v1/recoveries/{c.ordered('/v1/recoveries', c.recovery())}/report", None),
    "get_recovery_statistics": lambda c: ("/v1/recoveries/statistics", None),
    "create_approval": lambda c: _decision(c.kami.awaiting_approval()),
    "create_reconciliation": lambda c: ("/v1/reconciliations", {"selection": {"serials": [c.card().serial]}}),
    "list_reconciliations": lambda c: ("/v1/reconciliations", None),
    "get_reconciliation": lambda c: (f"/v1/reconciliations/{_reconciliation(c)}", None),
    "create_webhook": lambda c: ("/v1/webhooks", c.endpoint()),
    "list_webhooks": lambda c: (f"/v1/webhooks#{c.webhook()}", None),
    "get_webhook": lambda c: (f"/v1/webhooks/{c.webhook()}", None),
    "delete_webhook": lambda c: (f"/v1/webhooks/{c.webhook()}", None),
    "create_rotation": lambda c: (f"/v1/webhooks/{c.webhook()}/rotations", {}),
    "create_test": lambda c: (f"/v1/webhooks/{c.webhook()}/tests", None),
    "list_deliveries": lambda c: (f"/v1/webhooks/{c.webhook()}/deliveries", None),
    "create_replay": lambda c: (c.delivery(), None),
    "create_erasure": lambda c: ("/v1/erasures", ERASURE),
    "get_erasure": lambda c: (f"/v1/erasures/{c.ordered('/v1/erasures', ERASURE)}", None),
    "list_messages": lambda c: (c.messages(), None),
    "get_message": lambda c: ("/v1/messages/{}?customer=%2B{}".format(*_escaped(c.message())), None),
    "create_resend": lambda c: c.about_message("/v1/messages/{id}/resends"),
    "create_complaint": lambda c: c.about_message("/v1/messages/{id}/complaints"),
    "get_message_statistics": lambda c: ("/v1/messages/statistics", None),
    "list_complaints": lambda c: ("/v1/complaints", None),
    "get_complaint": lambda c: (f"/v1/complaints/{c.complaint(ask=True)}", None),
    "create_outcome": lambda c: (f"/v1/complaints/{c.complaint()}/outcomes", {"outcome": "arrived"}),
    "look_recipient_up": lambda c: ("/v1/recipients/lookups", {"number": mobile()}),
    "put_recipient": lambda c: ("/v1/recipients", {"number": mobile()}),
    "get_routes": lambda c: ("/v1/routes", None),
    "put_routes": lambda c: ("/v1/routes", {"rows": [{"offers": [{"provider": "simulated:north"}]}]}),
}  # fmt: skip
"""Operation → a good request for it, about what is the owner's. What follows # is looked for in a list."""
CAMPAIGN: Final[Json] = {
    "name": "Matrix", "kind": "gift", "face_value": {"amount_minor": 1, "currency": "CNY"}, "redemption": "single",
    "valid_days_after_activation": 1,
}  # fmt: skip
ERASURE: Final[Json] = {"customer": "nobody", "reason": "other"}


def _escaped(message: tuple[str, str]) -> tuple[str, str]:
    id, number = message
    return id, number.removeprefix("+")


def account() -> Json:
    return {"type": "mobile", "number": mobile()}


def _reconciliation(case: Case) -> str:
    order = {"selection": {"serials": [case.card().serial]}}
    return str(granted(case.operator.post("/v1/reconciliations", order), 202)["id"])


def _about(offer: Json, what: str, **more: str) -> Request:
    return f"/v1/transfers/{offer['id']}/{what}", {"token": offer["token"], **more}


def _decision(awaiting: Json) -> Request:
    path = f"/v1/recoveries/{awaiting['id']}/approvals"
    return path, {"digest": awaiting["approval"]["digest"], "decision": "approve"}


def read(table: str) -> tuple[list[str], dict[str, list[str]]]:
    """The columns, and the cells of each route."""
    head, *lines = [line for line in table.splitlines() if line]
    rows = {}
    for line in lines:
        method, path, *cells = line.split()
        rows[f"{method} {path}"] = cells
    return head.split(), rows


COLUMNS, ROWS = read(TABLE)


@pytest.fixture(scope="module")
def callers(kami: Kami) -> dict[str, Caller]:
    return {column: kami.operator if column == "operator" else kami.client(column.rstrip("'")) for column in COLUMNS}


def test_the_table_has_every_route_and_every_role() -> None:
    assert {column.rstrip("'") for column in COLUMNS} == set(ROLES)
    assert set(ROWS) == {route.key for route in ROUTES if route.operation not in OPEN}
    assert all(len(cells) == len(COLUMNS) for cells in ROWS.values())


@pytest.mark.parametrize("route", [route for route in ROUTES if route.key in ROWS], ids=lambda route: route.key)
def test_a_route_answers_each_role_as_the_table_says(kami: Kami, callers: dict[str, Caller], route: Route) -> None:
    answered = [cell(kami, callers, route, column) for column in COLUMNS]
    assert dict(zip(COLUMNS, answered, strict=True)) == dict(zip(COLUMNS, ROWS[route.key], strict=True))


def cell(kami: Kami, callers: dict[str, Caller], route: Route, column: str) -> str:
    """What the caller of a column is answered, in the words of the table."""
    caller, role = callers[column], column.rstrip("'")
    if route.scope is not None and route.scope not in ROLES[role]:
        return status(send(caller, route, route.path, None), "")
    owner = callers[role] if role in ("operator", "partner", "merchant", "customer") else kami.operator
    path, body = MAKERS[route.operation](Case(kami, owner))
    target, _, wanted = path.partition("#")
    return status(send(caller, route, target, body), wanted)


def send(caller: Caller, route: Route, path: str, body: Any) -> Answer:
    if route.method == "DELETE":
        return caller.delete(path)
    if route.method == "PUT":
        return caller.put(path, body)
    return caller.get(path) if route.method == "GET" else caller.post(path, body, unique())


def status(answer: Answer, wanted: str) -> str:
    if answer.status == 403:
        assert answer.json()["key"] in ("insufficient_scope", "recovery_not_allowed")
    if answer.status == 404:
        assert answer.json()["key"] in ("not_found", "transfer_not_valid")
    if answer.status < 300 and wanted and wanted not in answer.body.decode():
        return "none"
    return str(answer.status)
