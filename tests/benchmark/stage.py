"""Where redemptions are measured: DynamoDB Local as its own process, the rest of the local cloud in this one."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from time import time
from typing import Any
from unittest.mock import patch

from functions.domain.serials import position_of, serial_of
from functions.domain.times import rfc3339
from infra.local.cloud import Cloud
from infra.local.engines import dynamodb_local
from infra.local.gateway import Answer, Gateway, Request
from infra.local.runtime import context, environment, handler_of
from infra.local.template import synthesized

REVEALED_MAX = 100
YEAR_S = 365 * 86_400
FACE_MINOR = 5_000

Event = dict[str, Any]


class Stage:
    """Kami on one table of a cloud; its handlers run in this process, for stock is made here and measured elsewhere."""

    def __init__(self, cloud: Cloud, table: str) -> None:
        self.cloud, self.table = cloud, table

    def ask(self, method: str, target: str, body: Any = None, *, role: str = "operator", key: str = "") -> Answer:
        """A request with a role's token and, by default, a key of its own."""
        return Gateway(self.cloud.stack.routes, self.invoke).answer(self._request(method, target, body, role, key))

    def invoke(self, name: str, event: Event, wait_s: float = 0.0) -> Any:
        """What a function answers to an event."""
        function = self.cloud.stack.functions[name]
        os.environ.update(self.environment(name))  # `staged` puts back what was; threads may be in here together
        return handler_of(function)(event, context(function, str(uuid.uuid4())))

    def environment(self, name: str) -> dict[str, str]:
        """What a function's process sees."""
        return environment(self.cloud.stack.functions[name], self.cloud.endpoints) | {"TABLE_NAME": self.table}

    def _request(self, method: str, target: str, body: Any, role: str, key: str) -> Request:
        content = b"" if body is None else json.dumps(body).encode()
        headers = {
            "authorization": f"Bearer {self.cloud.token(role)}",
            "content-length": str(len(content)),
            "content-type": "application/json",
            "host": "localhost",
            "idempotency-key": key or str(uuid.uuid4()),
        }
        return Request(method, target, [*headers.items()], content, "192.0.2.1")

    def _done(self, method: str, target: str, body: Any = None) -> Event:
        answer = self.ask(method, target, body)
        if answer.status >= 300:
            raise RuntimeError(f"{method} {target}: {answer.status} {answer.body.decode()}")
        document: Event = answer.json()
        return document

    def campaign(self, **rules: Any) -> str:
        """A campaign of CNY 50.00, single use, that is valid for a year."""
        body = {
            "name": "Benchmark",
            "kind": "recharge",
            "face_value": {"amount_minor": FACE_MINOR, "currency": "CNY"},
            "redemption": "single",
            "valid_until": rfc3339(int(time()) + YEAR_S),
            **rules,
        }
        return str(self._done("POST", "/v1/campaigns", body)["id"])

    def batch(self, campaign: str, quantity: int) -> Event:
        """A batch, generated within the call."""
        return self._done("POST", f"/v1/campaigns/{campaign}/batches", {"quantity": quantity})

    def activate(self, batch: Event) -> None:
        """All of a batch."""
        self._done("POST", "/v1/activations", {"selection": {"batch": batch["id"]}})

    def channel(self) -> str:
        """A channel."""
        return str(self._done("POST", "/v1/channels", {"kind": "offline", "name": "Benchmark"})["id"])

    def distribute(self, batch: Event, to: str) -> None:
        """All of a batch to a channel."""
        self._done("POST", "/v1/distributions", {"selection": {"batch": batch["id"]}, "to": to})

    def extend(self, batch: Event) -> None:
        """All of a batch by a day."""
        self._done("POST", "/v1/extensions", {"selection": {"batch": batch["id"]}, "days": 1})

    def recall(self, batch: Event) -> None:
        """The veto on all of a batch."""
        self._done("POST", "/v1/recoveries", {"selection": {"batch": batch["id"]}, "action": "void", "reason": "lost"})

    def codes(self, batch: Event, count: int) -> list[str]:
        """The codes of so many vouchers, spread evenly over a batch."""
        first = position_of(batch["first_serial"])
        assert first is not None
        step = batch["quantity"] // count
        serials = [serial_of(first + step * number) for number in range(count)]
        revealed: list[str] = []
        for start in range(0, count, REVEALED_MAX):
            body = {"serials": serials[start : start + REVEALED_MAX], "reason": "benchmark"}
            revealed += (line["code"] for line in self._done("POST", "/v1/reveals", body)["data"])
        return revealed

    def active(self, quantity: int, count: int) -> list[str]:
        """Codes of a fresh batch whose vouchers can be redeemed."""
        batch = self.batch(self.campaign(), quantity)
        self.activate(batch)
        return self.codes(batch, count)

    @staticmethod
    def order(code: str, number: int = 0) -> Event:
        """The body of a redemption."""
        account = {"type": "mobile", "number": f"+86138{number:08d}"}
        return {"code": code, "account": account, "store": "store-1", "terminal": "till-1"}

    def redemptions(self, codes: list[str]) -> list[Event]:
        """What the gateway hands to the function for a merchant's redemption of each code."""
        events: list[Event] = []

        def keep(name: str, event: Event, wait_s: float) -> Event:
            events.append(event)
            return {"statusCode": 204}

        gateway = Gateway(self.cloud.stack.routes, keep)
        for number, code in enumerate(codes):
            gateway.answer(self._request("POST", "/v1/redemptions", self.order(code, number), "merchant", ""))
        return events

    def on_table(self, name: str) -> Stage:
        """The same on a new table like this one."""
        dynamodb = self.cloud.client("dynamodb")
        like = dynamodb.describe_table(TableName=self.table)["Table"]
        parts = ("IndexName", "KeySchema", "Projection")
        dynamodb.create_table(
            TableName=name,
            KeySchema=like["KeySchema"],
            AttributeDefinitions=like["AttributeDefinitions"],
            GlobalSecondaryIndexes=[{part: i[part] for part in parts} for i in like["GlobalSecondaryIndexes"]],
            BillingMode="PAY_PER_REQUEST",
        )
        return Stage(self.cloud, name)


@contextmanager
def staged() -> Iterator[Stage]:
    """A fresh cloud on DynamoDB Local."""
    with (
        patch.dict(os.environ),
        dynamodb_local() as endpoint,
        Cloud.in_processes(synthesized(), dynamodb=endpoint) as cloud,
    ):
        yield Stage(cloud, cloud.stack.functions["redeem"].environment["TABLE_NAME"])
