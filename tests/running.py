"""`make up` as a process of its own, and Kami's API over HTTP as its clients see it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import monotonic, sleep, time
from typing import Any, Final

import botocore.session
import httpx
from botocore.config import Config

from functions.domain.serials import position_of, serial_of
from functions.domain.times import rfc3339
from infra.local.template import REGION, ROOT, synthesized

UP_AFTER_S: Final = 120
DOWN_AFTER_S: Final = 30
LAST_LINE: Final = "grant_type=client_credentials"
POLL_S: Final = 0.05
DEAD_LETTERS: Final = ("DeadLettersArn", "UndeliveredArn")
"""How the outputs end that name queues for what was set aside."""
DUE: Final = ("", "NotVisible")
"""The ends of the names by which SQS counts messages that are due."""
TOKEN_KEPT_S: Final = 300
REPLY_TIMEOUT_S: Final = 60
CONNECTIONS_MAX: Final = 32
IDLE_MAX_S: Final = 2
"""The server closes a connection that was idle for 5 s: one that it is about to close must not be used again."""
REVEALED_MAX: Final = 100
BUSY_MAX: Final = 20
"""Refusals with 503 that one request bears: the machine is smaller than what it imitates."""
BUSY_WAIT_S: Final = 0.5
RECOVERED_AFTER_S: Final = 120
REPORT_POLL_S: Final = 0.2
YEAR_S: Final = 365 * 86_400

Json = dict[str, Any]


class Running:
    """A running `make up`: `known` is what it wrote about where things are, `log` what it prints."""

    def __init__(self, process: subprocess.Popen[bytes], known: Json, log: Path) -> None:
        self.process, self.known, self.log = process, known, log
        limits = httpx.Limits(
            max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX, keepalive_expiry=IDLE_MAX_S
        )
        self.http = httpx.Client(base_url=known["api_url"], timeout=REPLY_TIMEOUT_S, limits=limits, trust_env=False)
        self._tokens: dict[str, tuple[str, float]] = {}
        self._aws: dict[str, Any] = {}
        self._one = Lock()

    def aws(self, service: str) -> Any:
        """A client with all rights on what this Kami runs on."""
        if service in self._aws:
            return self._aws[service]
        endpoint = self.known["aws_endpoint_url"]
        self._aws[service] = botocore.session.get_session().create_client(
            service,
            endpoint_url=self.known.get("dynamodb_endpoint_url", endpoint) if service == "dynamodb" else endpoint,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(account_id_endpoint_mode="disabled", s3={"addressing_style": "path"}),
        )
        return self._aws[service]

    def items(self, *prefixes: str) -> list[Json]:
        """The table's items, as DynamoDB writes them, whose partition keys begin with one of these."""
        names = {f":prefix{number}": {"S": prefix} for number, prefix in enumerate(prefixes)}
        pages = self.aws("dynamodb").get_paginator("scan").paginate(
            TableName=self.known["outputs"]["TableName"],
            FilterExpression=" OR ".join(f"begins_with(pk, {name})" for name in names),
            ExpressionAttributeValues=names,
            ConsistentRead=True,
        )  # fmt: skip
        return [item for page in pages for item in page["Items"]]

    def token(self, role: str) -> str:
        """A token of the demo client for a role, renewed long before it expires."""
        with self._one:
            token, until = self._tokens.get(role, ("", 0.0))
            if monotonic() > until:
                client = self.known["clients"][role]
                reply = self.http.post("/v1/tokens", data={"grant_type": "client_credentials", **client})
                token = reply.raise_for_status().json()["access_token"]
                self._tokens[role] = token, monotonic() + TOKEN_KEPT_S
            return token

    def ask(self, method: str, target: str, body: Any = None, *, role: str = "operator") -> httpx.Response:
        """A request with a key of its own, asked again as a client would while Kami is too busy."""
        key = str(uuid.uuid4())
        for _ in range(BUSY_MAX):
            headers = {"authorization": f"Bearer {self.token(role)}", "idempotency-key": key}
            reply = self.http.request(method, target, json=body, headers=headers)
            if reply.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            sleep(BUSY_WAIT_S)
        return reply

    def done(self, method: str, target: str, body: Any = None, *, role: str = "operator") -> Json:
        """What a request that must succeed is answered with. Raises RuntimeError."""
        reply = self.ask(method, target, body, role=role)
        if reply.is_error:
            raise RuntimeError(f"{method} {target}: {reply.status_code} {reply.text}")
        document: Json = reply.json()
        return document

    def active(self, quantity: int) -> Json:
        """A batch of a fresh campaign of CNY 50.00, all of it active."""
        campaign = self.done(
            "POST",
            "/v1/campaigns",
            {
                "name": "Recharge 50",
                "kind": "recharge",
                "face_value": {"amount_minor": 5000, "currency": "CNY"},
                "redemption": "single",
                "valid_until": rfc3339(int(time()) + YEAR_S),
            },
        )
        batch = self.done("POST", f"/v1/campaigns/{campaign['id']}/batches", {"quantity": quantity})
        self.done("POST", "/v1/activations", {"selection": {"batch": batch["id"]}})
        return batch

    def codes(self, batch: Json, count: int) -> list[tuple[str, str]]:
        """(serial, code) of so many vouchers, spread evenly over a batch."""
        first, step = position_of(batch["first_serial"]), batch["quantity"] // count
        assert first is not None
        serials = [serial_of(first + step * number) for number in range(count)]
        found: list[tuple[str, str]] = []
        for at in range(0, count, REVEALED_MAX):
            body = {"serials": serials[at : at + REVEALED_MAX], "reason": "measurement"}
            found += ((line["serial"], line["code"]) for line in self.done("POST", "/v1/reveals", body)["data"])
        return found

    def redeem(self, code: str, number: str) -> httpx.Response:
        """A merchant's redemption to a mobile number."""
        order = {"code": code, "account": {"type": "mobile", "number": number}, "store": "store-1"}
        return self.ask("POST", "/v1/redemptions", order, role="merchant")

    def recovered(self, id: str) -> Json:
        """A recovery's report once all is accounted for, with the first of what was skipped."""
        until = monotonic() + RECOVERED_AFTER_S
        while (report := self.done("GET", f"/v1/recoveries/{id}?limit=100"))["status"] != "completed":
            if monotonic() > until:
                raise RuntimeError(f"the recovery is not completed: {report}")
            sleep(REPORT_POLL_S)
        return report

    def phone(self, number: str) -> list[Json]:
        """What a phone received."""
        received: list[Json] = self.done("GET", f"/local/phones/{number.replace('+', '%2B')}")["data"]
        return received

    def sms(self) -> int:
        """How many SMS the carriers have taken."""
        return sum(carrier["messages"] for carrier in self.done("GET", "/local/carriers")["data"])

    def at_work(self) -> int:
        """How many messages of all queues are visible or in somebody's hands; others are delayed."""
        sqs = self.aws("sqs")
        return sum(_depth(sqs, url, DUE) for url in sqs.list_queues()["QueueUrls"])

    def set_aside(self) -> dict[str, int]:
        """How many messages lie in each dead-letter queue, and objects in the bucket for what relay failed on."""
        outputs, sqs, s3 = self.known["outputs"], self.aws("sqs"), self.aws("s3")
        names = {name: arn.rpartition(":")[2] for name, arn in outputs.items() if name.endswith(DEAD_LETTERS)}
        found = {name: _depth(sqs, sqs.get_queue_url(QueueName=queue)["QueueUrl"]) for name, queue in names.items()}
        return found | {"FailuresBucket": s3.list_objects_v2(Bucket=outputs["FailuresBucket"])["KeyCount"]}


def mobile(number: int) -> str:
    """A mobile number for each number below 10⁸."""
    return f"+86138{number:08d}"


def _depth(sqs: Any, url: str, states: tuple[str, ...] = (*DUE, "Delayed")) -> int:
    names = [f"ApproximateNumberOfMessages{state}" for state in states]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


@contextmanager
def up(folder: Path, engine: str = "moto") -> Iterator[Running]:
    """What `make up ENGINE=…` runs, on a free port, telling its whereabouts to a folder of its own."""
    synthesized()  # else the first run on a machine would spend its time here
    whereabouts, log = folder / ".kami" / "local.json", folder / "up.log"
    whereabouts.parent.mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "infra.local.up"],
            cwd=ROOT,
            env={**os.environ, "KAMI_PORT": "0", "KAMI_WHEREABOUTS": str(whereabouts), "ENGINE": engine},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        until = monotonic() + UP_AFTER_S
        while LAST_LINE not in log.read_text():
            if process.poll() is not None or monotonic() > until:
                raise RuntimeError(f"it is not up: {log.read_text()}")
            sleep(POLL_S)
        running = Running(process, json.loads(whereabouts.read_text()), log)
        with running.http:
            yield running
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(DOWN_AFTER_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
