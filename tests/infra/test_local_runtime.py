"""Instances of functions, as processes and in the test's own: what a handler sees, and what it may not do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.local import pool
from infra.local.cloud import Cloud
from infra.local.gateway import FunctionError, IntegrationTimeoutError, ThrottledError
from infra.local.runtime import PAYLOAD_MAX_BYTES
from infra.local.template import STATE
from tests.infra.local_small import small


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud.in_processes(small()) as running:
        yield running


@pytest.fixture(params=["in_process", "in_processes"])
def either(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    with getattr(Cloud, request.param)(small()) as running:
        yield running


def test_the_context_is_lambdas(either: Cloud) -> None:
    context = either.invoke("echo", {"do": "context"})
    assert 1000 < context["remaining_ms"] <= 2000
    assert context["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:Echo"
    assert (context["name"], context["memory"], len(context["request"])) == ("Echo", 128, 36)


def test_the_environment_is_the_templates_and_lambdas_and_no_other(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = cloud.invoke("echo", {"do": "environment"})
    assert seen["TABLE_NAME"] == "Table"
    assert (seen["AWS_REGION"], seen["AWS_LAMBDA_FUNCTION_NAME"]) == ("us-east-1", "Echo")
    assert seen["AWS_ENDPOINT_URL"] == cloud.endpoints["AWS_ENDPOINT_URL"]
    assert "PYTEST_CURRENT_TEST" in os.environ
    assert "PYTEST_CURRENT_TEST" not in seen


def test_events_and_results_are_json(either: Cloud) -> None:
    assert either.invoke("echo", {"do": "return", "value": {"a": [1, None, "é"]}}) == {"a": [1, None, "é"]}
    with pytest.raises(FunctionError, match="not JSON serializable"):
        either.invoke("echo", {"do": "object"})


def test_an_exception_is_reported_and_the_instance_lives_on(either: Cloud) -> None:
    with pytest.raises(FunctionError, match="LookupError: lost"):
        either.invoke("echo", {"do": "fail", "message": "lost"})
    assert either.invoke("echo", {"do": "return", "value": 1}) == 1


def test_results_above_the_limit_are_refused(either: Cloud) -> None:
    assert len(either.invoke("echo", {"do": "large", "bytes": PAYLOAD_MAX_BYTES - 2})) == PAYLOAD_MAX_BYTES - 2
    with pytest.raises(FunctionError, match="payload size exceeded"):
        either.invoke("echo", {"do": "large", "bytes": PAYLOAD_MAX_BYTES})


def test_an_instance_stays_warm(cloud: Cloud) -> None:
    pids = {cloud.invoke("echo", {"do": "sleep", "seconds": 0}) for _ in range(3)}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_a_function_that_takes_too_long_is_killed_and_replaced(cloud: Cloud) -> None:
    before = cloud.invoke("echo", {"do": "sleep", "seconds": 0})
    with pytest.raises(FunctionError, match=r"Task timed out after 2\.00 seconds"):
        cloud.invoke("echo", {"do": "sleep", "seconds": 30})
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert cloud.invoke("echo", {"do": "sleep", "seconds": 0}) != before


def test_a_function_that_dies_is_an_error_and_replaced(cloud: Cloud) -> None:
    with pytest.raises(FunctionError, match="Runtime exited"):
        cloud.invoke("echo", {"do": "exit", "code": 3})
    assert cloud.invoke("echo", {"do": "return", "value": 1}) == 1


def test_the_gateway_waits_no_longer_than_its_integration(cloud: Cloud) -> None:
    with pytest.raises(IntegrationTimeoutError):
        cloud._invoke("echo", {"do": "sleep", "seconds": 1}, 0.2)
    started = time.monotonic()
    answer = cloud.gateway._integrate(cloud.stack.routes[0], {"do": "sleep", "seconds": 1.8})
    assert (answer.status, answer.json()) == (503, {"message": "Service Unavailable"})
    assert time.monotonic() - started < 1.6


def test_concurrent_invocations_get_instances_of_their_own_up_to_the_limit(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WAIT_FOR_INSTANCE_S", 0.1)
    with ThreadPoolExecutor(pool.INSTANCES_MAX) as threads:  # all cold starts first
        list(threads.map(lambda _: cloud.invoke("echo", {"do": "sleep", "seconds": 0.5}), range(pool.INSTANCES_MAX)))
    with ThreadPoolExecutor(pool.INSTANCES_MAX) as threads:
        busy = [threads.submit(cloud.invoke, "echo", {"do": "sleep", "seconds": 1}) for _ in range(pool.INSTANCES_MAX)]
        time.sleep(0.3)
        with pytest.raises(ThrottledError):
            cloud.invoke("echo", {"do": "return", "value": 1})
        assert len({future.result() for future in busy}) == pool.INSTANCES_MAX


def test_what_nobody_waits_for_lets_a_client_go_first_but_not_for_long(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cloud._pool is not None
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: cloud.invoke("echo", {"do": "sleep", "seconds": 0.5}), range(2)))  # cold starts
        for yields_s, goes_first in ((30.0, True), (0.0, False)):
            monkeypatch.setattr(pool, "YIELDS_S", yields_s)
            asked = threads.submit(cloud.invoke, "echo", {"do": "sleep", "seconds": 1.5})
            while not cloud._pool._waited_for:
                time.sleep(0.01)
            began = time.monotonic()
            cloud._follow("echo", {"do": "sleep", "seconds": 0}, 10)
            assert (time.monotonic() - began > 1) is goes_first
            asked.result()


def test_what_a_function_prints_is_in_its_log(cloud: Cloud) -> None:
    cloud.invoke("echo", {"do": "context"})
    log = (STATE / "logs" / "echo.log").read_text()
    assert "doing context" in log
    assert "REPORT RequestId:" in log


def test_there_is_one_cloud_at_a_time(cloud: Cloud) -> None:
    with pytest.raises(RuntimeError, match="one local cloud at a time"), Cloud.in_process(small()):
        pass


def test_nothing_is_left_when_the_cloud_is_gone() -> None:
    with Cloud.in_processes(small()) as cloud:
        pid = cloud.invoke("echo", {"do": "sleep", "seconds": 0})
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_handler_that_cannot_be_imported_is_reported() -> None:
    broken = small(Echo__Handler="tests.infra.local_functions.echo.nothing.handle")
    with Cloud.in_processes(broken) as cloud, pytest.raises(FunctionError, match="No module named"):
        cloud.invoke("echo", {})


def test_in_process_two_functions_never_share_an_environment() -> None:
    changed = small(Worker__Environment={"Variables": {"ONLY_WORKER": "1"}})
    with Cloud.in_process(changed) as cloud, ThreadPoolExecutor(8) as threads:
        with cloud.environment("worker"):
            waiting = threads.submit(cloud.invoke, "echo", {"do": "environment"})
            time.sleep(0.2)
            assert not waiting.done()
        assert "ONLY_WORKER" not in waiting.result()
        seen = list(threads.map(lambda _: cloud.invoke("echo", {"do": "environment"}), range(16)))
        assert all(one["TABLE_NAME"] == "Table" for one in seen)
    assert "TABLE_NAME" not in os.environ


def test_a_busy_instance_does_not_outlive_the_cloud() -> None:
    with ThreadPoolExecutor(1) as threads:
        with Cloud.in_processes(small(Echo__Timeout=60)) as cloud:
            pid = cloud.invoke("echo", {"do": "sleep", "seconds": 0})
            busy = threads.submit(cloud.invoke, "echo", {"do": "sleep", "seconds": 50})
            time.sleep(0.3)
            assert not busy.done()
        with pytest.raises(FunctionError, match="Runtime exited"):
            busy.result(5)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
