"""Lambda's runtime, imitated: the environment, the context, and the loop of one instance, which is one OS process.

`python -m infra.local.runtime FD` is what pool.py starts; the in-process cloud of the tests uses the same parts.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final
from unittest.mock import patch

from functions.edge import clock
from infra.local import policy
from infra.local.resources import Function
from infra.local.template import REGION, ROOT

PAYLOAD_MAX_BYTES: Final = 6 * 1024 * 1024
"""Lambda's limit for events and results of synchronous invocations."""
KILL_GRACE_S: Final = 2
"""An instance whose pool is gone ends itself so long after its time-out."""

Handler = Callable[[dict[str, Any], Any], Any]


@dataclass(frozen=True, slots=True)
class Context:
    """The second argument of a handler."""

    function_name: str
    invoked_function_arn: str
    memory_limit_in_mb: int
    aws_request_id: str
    deadline_s: float
    function_version: str = "$LATEST"
    log_group_name: str = ""
    log_stream_name: str = "local"
    identity: None = None
    client_context: None = None

    def get_remaining_time_in_millis(self) -> int:
        """Time until Lambda would kill the instance."""
        return max(0, int((self.deadline_s - time.monotonic()) * 1000))


def context(function: Function, request_id: str) -> Context:
    """The context of an invocation that begins now."""
    name = function.arn.rpartition(":")[2]
    deadline_s = time.monotonic() + function.timeout_s
    return Context(name, function.arn, function.memory_mb, request_id, deadline_s, log_group_name=f"/aws/lambda/{name}")


def environment(function: Function, endpoints: dict[str, str]) -> dict[str, str]:
    """What a function sees: the template's variables, and those that Lambda sets. `endpoints`: AWS_ENDPOINT_URL…."""
    name = function.arn.rpartition(":")[2]
    return {
        **function.environment,
        **endpoints,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": "local",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "LAMBDA_TASK_ROOT": str(ROOT),
        "_HANDLER": function.handler,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
    }


def handler_of(function: Function) -> Handler:
    """Imports what the template's `Handler` names."""
    module, _, name = function.handler.rpartition(".")
    handler: Handler = getattr(importlib.import_module(module), name)
    return handler


def error_of(error: BaseException) -> dict[str, Any]:
    """An exception as Lambda reports it."""
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "stackTrace": traceback.format_tb(error.__traceback__),
    }


def run(handler: Handler, event: str, invocation: Context) -> str:
    """One invocation, JSON in and out. Raises what the handler raises, and `ValueError` above the payload limit."""
    result = json.dumps(handler(json.loads(event), invocation))
    if len(result) > PAYLOAD_MAX_BYTES:
        raise ValueError(f"Response payload size exceeded maximum allowed payload size ({PAYLOAD_MAX_BYTES} bytes).")
    return result


@contextmanager
def ahead(seconds: int) -> Iterator[None]:
    """The functions' clock in this process, so many seconds ahead."""
    now = clock.now
    with patch.object(clock, "now", lambda: now() + seconds):
        yield


def _serve(parent: Connection) -> None:
    function, names = parent.recv()
    calls: list[policy.Request] = []
    policy.become(policy.Guard(function.role, names, calls.append))
    try:
        handler = handler_of(function)
    except Exception as error:
        traceback.print_exc()
        parent.send(("error", error_of(error)))
        return
    parent.send(("ready", None))
    while True:
        request_id, event, ahead_s = parent.recv()
        started = time.monotonic()
        signal.alarm(function.timeout_s + KILL_GRACE_S)
        try:
            with ahead(ahead_s):
                answer: tuple[str, Any] = ("result", run(handler, event, context(function, request_id)))
        except Exception as error:
            traceback.print_exc()
            answer = ("error", error_of(error))
        signal.alarm(0)
        print(f"REPORT RequestId: {request_id} Duration: {(time.monotonic() - started) * 1000:.2f} ms", flush=True)
        parent.send((*answer, tuple(calls)))
        calls.clear()


def main() -> None:
    """Serves invocations until the pool closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(ROOT)
    try:
        _serve(Connection(int(sys.argv[1])))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        sys.exit(0)


if __name__ == "__main__":
    main()
