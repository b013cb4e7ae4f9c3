"""Instances of functions: started on demand, kept warm, one invocation at a time, killed at their time-out."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from infra.local.gateway import FunctionError, IntegrationTimeoutError, ThrottledError
from infra.local.policy import Names, Request
from infra.local.resources import Function, Stack
from infra.local.runtime import PAYLOAD_MAX_BYTES, environment
from infra.local.template import ROOT, STATE

INSTANCES_MAX: Final = 4
"""Of one function; Lambda would start up to 1,000."""
WAIT_FOR_INSTANCE_S: Final = 5.0
"""A burst waits so long for a busy instance before it is throttled, because there are so few of them here."""
YIELDS_S: Final = 0.5
"""What nobody waits for lets what somebody waits for go first for so long: here all share one machine and one table,
which in AWS are not in each other's way."""
INIT_TIMEOUT_S: Final = 30.0
"""Lambda allows 10 s, on a machine of its own."""
STOP_TIMEOUT_S: Final = 3.0
LOG_MAX_BYTES: Final = 32 * 1024 * 1024
"""A longer log is begun anew by the next instance."""
PASSED_ON: Final = ("PATH", "HOME", "PYTHONPATH", "VIRTUAL_ENV")


class Instance:
    """One OS process that runs one function; its output goes to `.kami/logs/<function>.log`."""

    def __init__(self, function: Function, names: Names, endpoints: dict[str, str], base: dict[str, str]) -> None:
        self.function = function
        self._pipe, child = multiprocessing.Pipe()
        logs = STATE / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        path = logs / f"{function.name}.log"
        over = path.exists() and path.stat().st_size > LOG_MAX_BYTES
        with path.open("wb" if over else "ab") as log, child:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infra.local.runtime", str(child.fileno())],
                env={**base, **environment(function, endpoints)},
                cwd=ROOT,
                pass_fds=[child.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the pool, which then stops its instances
            )
        self._pipe.send((function, names))
        kind, detail, *_ = self._receive(INIT_TIMEOUT_S)
        if kind != "ready":
            self.stop()
            raise FunctionError(detail["errorMessage"])

    def invoke(self, event: str, ahead_s: int) -> tuple[str, tuple[Request, ...]]:
        """The result as JSON and the calls that were checked. Raises `FunctionError`; `alive` tells what is left."""
        self._pipe.send((str(uuid.uuid4()), event, ahead_s))
        kind, detail, calls = self._receive(self.function.timeout_s)
        if kind == "error":
            raise FunctionError(f"{detail['errorType']}: {detail['errorMessage']}")
        return detail, calls

    def _receive(self, timeout_s: float) -> Any:
        try:
            if self._pipe.poll(timeout_s):
                return self._pipe.recv()
        except (EOFError, OSError):
            self.stop()
            raise FunctionError(f"Runtime exited with {self._process.returncode}") from None
        self.kill()
        self.stop()
        raise FunctionError(f"Task timed out after {timeout_s:.2f} seconds")

    @property
    def alive(self) -> bool:
        """Whether it can take another invocation."""
        return not self._pipe.closed and self._process.poll() is None

    def kill(self) -> None:
        """Ends it from another thread; the invocation in it fails."""
        self._process.kill()

    def stop(self) -> None:
        """Ends it: an idle instance goes by itself when its pipe is closed."""
        self._pipe.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Pool:
    """All instances of all functions of a stack."""

    def __init__(
        self, stack: Stack, endpoints: dict[str, str], base: dict[str, str], record: Callable[[str, Request], None]
    ) -> None:
        self._stack, self._endpoints, self._record = stack, endpoints, record
        self.ahead_s = 0
        """How far the functions' clocks are ahead of this machine's."""
        self._base: dict[str, str] = {name: base[name] for name in PASSED_ON if name in base}
        self._idle: dict[str, deque[Instance]] = {name: deque() for name in stack.functions}
        self._busy: set[Instance] = set()
        self._count = dict.fromkeys(stack.functions, 0)
        self._changed = threading.Condition()
        self._closed = False
        self._waited_for, self._unattended = 0, threading.Condition()
        self._threads = ThreadPoolExecutor(INSTANCES_MAX * len(stack.functions), thread_name_prefix="invoke")

    def invoke(self, name: str, event: dict[str, Any], wait_s: float) -> Any:
        """Runs a function for a client. Raises `FunctionError`, `ThrottledError`, or `IntegrationTimeoutError` after
        `wait_s`."""
        with self._unattended:
            self._waited_for += 1
        try:
            return self._invoke(name, event, wait_s)
        finally:
            with self._unattended:
                self._waited_for -= 1
                self._unattended.notify_all()

    def follow(self, name: str, event: dict[str, Any], wait_s: float) -> Any:
        """Runs a function on what a queue or a stream brings, after those that clients wait for. Raises as `invoke`."""
        with self._unattended:
            self._unattended.wait_for(lambda: not self._waited_for, YIELDS_S)
        return self._invoke(name, event, wait_s)

    def _invoke(self, name: str, event: dict[str, Any], wait_s: float) -> Any:
        payload = json.dumps(event)
        if len(payload) > PAYLOAD_MAX_BYTES:
            raise FunctionError(f"Request must be smaller than {PAYLOAD_MAX_BYTES} bytes")
        future = self._threads.submit(self._run, name, payload)
        try:
            return json.loads(future.result(wait_s))
        except TimeoutError:
            raise IntegrationTimeoutError(name) from None

    def _run(self, name: str, payload: str) -> str:
        instance = self._acquire(name)
        try:
            result, calls = instance.invoke(payload, self.ahead_s)
        finally:
            self._release(name, instance)
        for call in calls:
            self._record(name, call)
        return result

    def _acquire(self, name: str) -> Instance:
        function = self._stack.functions[name]
        most = min(INSTANCES_MAX, function.reserved_concurrency or INSTANCES_MAX)

        def free() -> bool:
            return bool(self._idle[name]) or self._count[name] < most or self._closed

        with self._changed:
            if not self._changed.wait_for(free, WAIT_FOR_INSTANCE_S) or self._closed:
                raise ThrottledError(name)
            if self._idle[name]:
                self._busy.add(self._idle[name][-1])
                return self._idle[name].pop()
            self._count[name] += 1
        try:
            instance = Instance(function, self._stack.names, self._endpoints, self._base)
        except BaseException:
            self._release(name, None)
            raise
        with self._changed:
            self._busy.add(instance)
        return instance

    def _release(self, name: str, instance: Instance | None) -> None:
        with self._changed:
            if instance is not None:
                self._busy.discard(instance)
            if instance is not None and instance.alive and not self._closed:
                self._idle[name].append(instance)
                instance = None
            else:
                self._count[name] -= 1
            self._changed.notify()
        if instance is not None:
            instance.stop()

    def close(self) -> None:
        """Ends all instances; what is under way fails, as when a machine goes."""
        with self._changed:
            self._closed = True
            idle = [instance for instances in self._idle.values() for instance in instances]
            for instance in [*idle, *self._busy]:
                instance.kill()
            self._changed.notify_all()
        for instance in idle:
            instance.stop()
        self._threads.shutdown(wait=True)
