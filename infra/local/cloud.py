"""A local cloud in this process: moto, the template's resources, and the functions behind gateway and queues.

Tests use `Cloud.in_process`: no sockets, handlers imported into the test's own process, the role's policy in force.
up.py and end-to-end tests use `Cloud.in_processes`: every instance is a process, which sees AWS only over HTTP.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cache, cached_property
from math import ceil
from pathlib import Path
from random import Random
from time import sleep, time
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import urlencode

import botocore.session
from botocore.config import Config
from moto import mock_aws
from moto.sqs.models import sqs_backends

from infra.local import carriers, moto_fixes, policy, runtime
from infra.local.carriers import Carriers, ReceiptPump
from infra.local.gateway import Answer, FunctionError, Gateway, Invoke, Request
from infra.local.material import Material
from infra.local.pool import Pool
from infra.local.pumps import INVOKE_MAX_S, Pump, SchedulePump
from infra.local.resources import Builder, Clients, Stack
from infra.local.samples import Samples
from infra.local.streams import StreamPump
from infra.local.template import ACCOUNT, REGION, Template

DRAIN_ROUNDS_MAX: Final = 10_000
ENVIRONMENT_WAIT_S: Final = 120.0
VISIBLE_AFTER_S: Final = 0.002
"""moto counts in milliseconds, and shows a message in the one after that in which it was let go."""
MOTO_PORT_ANY: Final = 0
INVOCATIONS: Final = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
"""Lambda's path for a synchronous invocation."""
SCHEDULES: Final = carriers.PREFIX + "schedules/"
_one: Final = threading.Lock()
_material: Final = Material()
"""One for all clouds of a process: what a handler cached in one test (a public key, a data key) holds in the next."""


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()  # first asked for when moto's and the policy's hooks are in place


@cache
def _client(service: str, endpoint: str | None) -> Any:
    """A client with all rights."""
    return _session().create_client(
        service,
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(
            account_id_endpoint_mode="disabled",
            s3={"addressing_style": "path"},
            user_agent="kami-local",  # botocore would put its own together anew for each call
        ),
    )


class Cloud:
    """What was built from a template, and ways to use it."""

    def __init__(self, stack: Stack, client: Clients, endpoints: dict[str, str], network: Carriers) -> None:
        self.stack, self.client, self.endpoints = stack, client, endpoints
        self.carriers = network
        """The simulated carriers that notify sends through, and the phones behind them."""
        self.calls: dict[str, set[policy.Request]] = defaultdict(set)
        """The permission checks that were passed, by function."""
        self._invoke: Invoke = self._in_this_process
        self._follow: Invoke = self._in_this_process
        """For what queues and streams bring."""
        self._pool: Pool | None = None
        self._clients_by_role: dict[str, tuple[str, str]] = {}
        self._tokens: dict[str, str] = {}
        self._environment = _EnvironmentSwitch()

    @classmethod
    @contextmanager
    def in_process(cls, template: Template, *, dynamodb: str | None = None) -> Iterator[Cloud]:
        """A fresh cloud whose handlers run here. `dynamodb`: an endpoint of DynamoDB Local instead of moto's table."""
        with cls._backends(template, dynamodb, _material) as cloud:
            _forget_clients(dynamodb)
            yield cloud

    @classmethod
    @contextmanager
    def in_processes(
        cls, template: Template, *, dynamodb: str | None = None, material: Material | None = None
    ) -> Iterator[Cloud]:
        """A fresh cloud whose functions are processes. `endpoints` says where moto's server listens for them."""
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it would print each call
        with cls._backends(template, dynamodb, material or _material) as cloud, ExitStack() as stack:
            server = ThreadedMotoServer("127.0.0.1", MOTO_PORT_ANY, verbose=False)
            server.start()
            stack.callback(server.stop)
            host, port = server.get_host_and_port()
            cloud.endpoints = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", **cloud.endpoints}
            _forget_clients(f"{host}:{port}")
            pool = Pool(cloud.stack, cloud.endpoints, dict(os.environ), cloud._record)
            stack.callback(pool.close)
            cloud._invoke, cloud._follow, cloud._pool = pool.invoke, pool.follow, pool
            yield cloud

    @classmethod
    @contextmanager
    def _backends(cls, template: Template, dynamodb: str | None, material: Material) -> Iterator[Cloud]:
        moto_fixes.apply()
        policy.install()
        elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with (
            _alone(),
            patch.dict(os.environ, elsewhere, clear=True),
            mock_aws(),
        ):  # no call may find credentials of this machine

            def client(service: str) -> Any:
                return _client(service, dynamodb if service in ("dynamodb", "dynamodbstreams") else None)

            stack, network = Builder(template, client, material).build(), carriers.Carriers()
            with carriers.serving(network) as url:
                for name, variables in carriers.overlay(url, network.secret).items():
                    if name in stack.functions:
                        told = {**stack.functions[name].environment, **variables}
                        stack.functions[name] = replace(stack.functions[name], environment=told)
                cloud = cls(stack, client, _endpoints(dynamodb), network)
                network.receiver = cloud._take_receipt
                yield cloud

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        """Runs a function by its folder's name. Raises `FunctionError` if it raised, timed out or answered too much."""
        return self._invoke(function, event, INVOKE_MAX_S)

    @cached_property
    def gateway(self) -> Gateway:
        """The HTTP API."""
        return Gateway(self.stack.routes, self._invoke)

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        token: str | None = None,
        address: str = "192.0.2.1",
    ) -> Answer:
        """One HTTP request without a socket. `body`: bytes and str as they are, anything else as JSON."""
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if not isinstance(body, bytes | str | None):
            body = json.dumps(body, ensure_ascii=False)
            sent.setdefault("content-type", "application/json")
        if token:
            sent["authorization"] = f"Bearer {token}"
        content = body.encode() if isinstance(body, str) else body or b""
        sent |= {"host": "localhost"} | ({"content-length": str(len(content))} if content else {})
        return self.gateway.answer(Request(method, target, list(sent.items()), content, address))

    def own(self, method: str, path: str, body: bytes) -> Answer | None:
        """What the local gateway serves besides the API: phones, schedules ahead of time, Lambda's way to invoke."""
        if method == "POST" and path.startswith(SCHEDULES):
            fired = self.fire(path.removeprefix(SCHEDULES))
            return _json(200, {"data": fired}) if fired else _json(404, {"error": "not_found"})
        if path.startswith(carriers.PREFIX):
            reply = self.carriers.answer(method, path, body)
            return _json(reply.status, reply.body)
        if method == "POST" and (called := INVOCATIONS.fullmatch(path)):
            by_arn = {function.arn.rpartition(":")[2]: name for name, function in self.stack.functions.items()}
            try:
                return _json(200, self.invoke(by_arn[called[1]], json.loads(body)))
            except KeyError:
                return _json(404, {"Message": f"Function not found: {called[1]}"})
            except FunctionError as error:
                return _json(200, {"errorMessage": str(error)}, ("x-amz-function-error", "Unhandled"))
        return None

    def _take_receipt(self, provider: str, headers: dict[str, str], body: bytes) -> int:
        return self.request("POST", f"/v1/receipts/{provider}", headers=headers, body=body).status

    def pumps(self) -> list[Pump | StreamPump | SchedulePump | ReceiptPump]:
        """One for each event source and schedule of the template, and the carriers' own."""
        schedules = map(SchedulePump, self.stack.schedules)
        receipts = [ReceiptPump(self.carriers)] if "notify" in self.stack.functions else []
        return [*self.stream_pumps, *self.queue_pumps, *schedules, *receipts]

    def fire(self, name: str | None = None) -> list[str]:
        """Lets the time of a schedule come, or of all of them; says which they were."""
        due = [schedule for schedule in self.stack.schedules if name in (None, schedule.name)]
        for schedule in due:
            SchedulePump(schedule).step()
        return [schedule.name for schedule in due]

    @cached_property
    def queue_pumps(self) -> list[Pump]:
        """One for each queue that feeds a function."""
        return [Pump(source, self.client("sqs"), self._acting(source.function), self._follow)
                for source in self.stack.sources]  # fmt: skip

    @cached_property
    def stream_pumps(self) -> list[StreamPump]:
        """One for each stream that feeds a function; they remember how far they have read."""
        streams, s3 = self.client("dynamodbstreams"), self.client("s3")
        return [
            StreamPump(
                source,
                streams,
                s3,
                self._acting(source.function),
                self._follow,
                self.stack.functions[source.function].arn,
            )
            for source in self.stack.streams
        ]

    def drain(self, *, twice: bool = False, shuffle: int | None = None, delayed: bool = True) -> None:
        """Pumps stream and queues until all is quiet; a message that fails is received again at once, up to its limit.

        `delayed`: messages sent with a delay come as soon as nothing else is left, and the functions' clock is moved on
        by it, until all is quiet, and carriers give the receipts that they have to give; else all that stays as it is.
        `twice` and `shuffle` (a seed): everything is delivered twice, in any order that AWS might choose.
        """
        random = Random(shuffle) if shuffle is not None else None
        passed_s = 0
        for _ in range(DRAIN_ROUNDS_MAX):
            with self._ahead(passed_s):
                moved = [pump.step(twice=twice, shuffle=random) for pump in self.stream_pumps]
                moved += [self._done_with(pump, twice, random) for pump in self.queue_pumps]
            if any(moved) or (delayed and self.carriers.deliver()):
                continue
            if not delayed or not (late_s := self.hasten()):
                return
            passed_s += late_s
        raise RuntimeError(f"the queues are not empty after {DRAIN_ROUNDS_MAX} rounds")

    @contextmanager
    def _ahead(self, seconds: int) -> Iterator[None]:
        """The functions' clock so many seconds ahead, wherever they run."""
        if self._pool is None:
            with runtime.ahead(seconds):
                yield
        else:
            self._pool.ahead_s = seconds
            try:
                yield
            finally:
                self._pool.ahead_s = 0

    def _done_with(self, pump: Pump, twice: bool, shuffle: Random | None) -> bool:
        """Whether a queue had something; what failed may be received again at once."""
        failed = pump.step(twice=twice, shuffle=shuffle)
        for message in failed or []:
            self.client("sqs").change_message_visibility(
                QueueUrl=pump.source.queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        if failed:
            sleep(VISIBLE_AFTER_S)
        return failed is not None

    def hasten(self) -> int:
        """Lets the delay of every delayed message be over; says how many seconds the longest had left, rounded up."""
        with moto_fixes.LOCK:
            queues = sqs_backends[ACCOUNT][REGION].queues.values()
            late = [message for queue in queues for message in queue._messages if message.delayed]
            left_s = [max(1, ceil(message.delayed_until / 1_000 - time())) for message in late]
            for message in late:
                message.delayed_until = 0
        return max(left_s, default=0)

    def replay(self) -> None:
        """Has the stream read from its beginning again by the next `drain`."""
        for pump in self.stream_pumps:
            pump.rewind()

    def demo_client(self, role: str) -> tuple[str, str]:
        """Id and secret of this cloud's API client for a role, made when first asked for."""
        from functions.authorize import clients

        if role not in self._clients_by_role:
            with self.environment("authorize"):
                client, secret = clients.create(f"Demo {role}", role, int(time()))
            self._clients_by_role[role] = (client.client_id, secret)
        return self._clients_by_role[role]

    def token(self, role: str) -> str:
        """An access token of the demo client for a role, from the token route itself."""
        if role not in self._tokens:
            client_id, secret = self.demo_client(role)
            form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
            answer = self.request(
                "POST",
                "/v1/tokens",
                headers={"content-type": "application/x-www-form-urlencoded"},
                body=urlencode(form),
            )
            if answer.status != 200:
                raise RuntimeError(f"no token for {role}: {answer.status} {answer.body.decode()}")
            self._tokens[role] = answer.json()["access_token"]
        return self._tokens[role]

    def event(self, path: Path) -> dict[str, Any]:
        """A payload from a file, with what it names in `${…}` made and filled in; samples.py knows the names."""
        samples = Samples(self)
        text = re.sub(r"\$\{([\w:]+)\}", lambda match: samples(match[1]), path.read_text())
        event: dict[str, Any] = json.loads(text)
        return event

    def function_of(self, event: dict[str, Any]) -> str:
        """Which function a payload is for: by its `routeKey`, or by the queue that its records come from.

        A queue's ARN may be cut short before the part of its name that CloudFormation makes up.
        """
        if "routeKey" in event:
            known = {route.key: route.function for route in self.stack.routes}
            return known[event["routeKey"]]
        queue = event["Records"][0]["eventSourceARN"]
        return next(source.function for source in self.stack.sources if source.queue_arn.startswith(queue))

    def unneeded_grants(self) -> dict[str, list[str]]:
        """By function, the grants that no call so far has needed: removing one would have denied nothing."""
        found = {
            name: policy.unneeded_grants(function.role, self.calls[name])
            for name, function in self.stack.functions.items()
        }
        return {name: grants for name, grants in found.items() if grants}

    def environment(self, function: str) -> AbstractContextManager[None]:
        """A function's environment variables in this process, without its role: for set-up through its own code."""
        return self._environment(function, runtime.environment(self.stack.functions[function], self.endpoints))

    def _acting(self, function: str) -> Any:
        role = self.stack.functions[function].role
        guard = policy.Guard(role, self.stack.names, lambda request: self._record(function, request))
        return lambda: policy.acting_as(guard)

    def _record(self, function: str, request: policy.Request) -> None:
        self.calls[function].add(request)

    def _in_this_process(self, name: str, event: dict[str, Any], wait_s: float) -> Any:
        function = self.stack.functions[name]
        with self.environment(name), self._acting(name)():
            try:
                handler = runtime.handler_of(function)
                result = runtime.run(handler, json.dumps(event), runtime.context(function, str(uuid.uuid4())))
            except Exception as error:
                raise FunctionError(f"{type(error).__name__}: {error}") from error
        return json.loads(result)


def _json(status: int, body: Any, *headers: tuple[str, str]) -> Answer:
    content = json.dumps(body, ensure_ascii=False).encode()
    return Answer(status, [("content-type", "application/json; charset=utf-8"), *headers], content)


def _endpoints(dynamodb: str | None) -> dict[str, str]:
    names = ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_DYNAMODB_STREAMS")
    return dict.fromkeys(names, dynamodb) if dynamodb else {}


@contextmanager
def _alone() -> Iterator[None]:
    if not _one.acquire(blocking=False):
        raise RuntimeError("one local cloud at a time in a process: moto's backends belong to the whole process")
    try:
        yield
    finally:
        _one.release()


class _EnvironmentSwitch:
    """`os.environ` belongs to the whole process: any number of threads may be in one function's, not in two."""

    def __init__(self) -> None:
        self._inside = 0
        self._function: str | None = None
        self._free = threading.Condition()
        self._outside: dict[str, str | None] = {}

    @contextmanager
    def __call__(self, function: str, variables: dict[str, str]) -> Iterator[None]:
        with self._free:
            if not self._free.wait_for(lambda: self._function in (None, function), ENVIRONMENT_WAIT_S):
                raise RuntimeError(f"the environment of {self._function} is in force; {function} needs its own")
            if self._inside == 0:
                self._function = function
                self._outside = {name: os.environ.get(name) for name in variables}
                _put(variables)
            self._inside += 1
        try:
            yield
        finally:
            with self._free:
                self._inside -= 1
                if self._inside == 0:
                    _put(self._outside)
                    self._function = None
                    self._free.notify_all()


def _put(variables: Mapping[str, str | None]) -> None:
    """Sets what has a value, removes what has none; `patch.dict` would take three times as long, on every request."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@cache
def _forget_unhooked_clients() -> None:
    from functions.store import aws

    aws._session.cache_clear()
    aws._client.cache_clear()


_last_endpoint: str | None = None


def _forget_clients(endpoint: str | None) -> None:
    """The clients that handlers keep in this process may be older than the hooks, or go to another cloud's endpoint."""
    from functions.store import aws

    global _last_endpoint
    _forget_unhooked_clients()
    if endpoint != _last_endpoint:
        aws._client.cache_clear()
        _last_endpoint = endpoint
