"""SMS that one worker hands over in a second, against a plain loop of the same client to the same provider.

The provider is a process of its own: a simulated carrier, that answers at once or as soon as one over the internet may.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import pairwise
from time import perf_counter, time

import httpx

from functions.domain.message import Status
from functions.domain.times import rfc3339
from functions.edge.batch import THREADS_MAX
from functions.notify.providers.simulated import SimulatedCarrier
from functions.store import keys
from infra.local.carriers import NAMES, overlay
from tests.benchmark.harness import ROOT, Result, at_least, at_most, figure
from tests.benchmark.stage import Stage, staged
from tests.running import mobile

MESSAGES = 300
WARM_UP = 10
LATENCY_S = 0.05
SPEEDS = {"at once": 0.0, f"after {LATENCY_S * 1_000:.0f} ms": LATENCY_S}
FASTER_MIN = 1
"""Where a provider takes its time, a worker that sends for several at once makes up for all that it writes down."""
SECRET = "not needed: no receipts"
TEXT = "【Kami】Card 010000000003 was redeemed for CNY 50.00."
CARRIER = """
import sys
from infra.local.carriers import Carriers, serving
with serving(Carriers()) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def measure() -> Iterator[Result]:
    """On DynamoDB Local; batches of the queue's size, each order an event of a redemption that was made before."""
    with staged() as stage, _carrier() as url:
        warm_up, *orders = _cut(_orders(stage, WARM_UP + MESSAGES * len(SPEEDS)))
        _lead_to(stage, url)
        _handed_over(stage, warm_up)
        for number, (name, after_s) in enumerate(SPEEDS.items()):
            _answers_after(url, after_s)
            worker = _rate(partial(_handed_over, stage, orders[number]))
            loop = _rate(partial(_loop, number))
            yield figure(f"SMS that a worker hands over a second, a provider answering {name}", worker, "1/s")
            yield figure(f"a plain loop of the same client, a provider answering {name}", loop, "1/s")
            what, times = f"the worker against the loop, a provider answering {name}", worker / loop
            yield at_least(what, times, FASTER_MIN, "times") if after_s else figure(what, times, "times")
        ordered, looped = WARM_UP + MESSAGES * len(SPEEDS), MESSAGES * len(SPEEDS)
        unsent, beside = ordered - _sent(stage), abs(_taken(url) - ordered - looped)
    yield at_most("messages that were not handed over", unsent, 0, "")
    yield at_most("SMS that the provider has taken too many, or too few", beside, 0, "")


@contextmanager
def _carrier() -> Iterator[str]:
    """The carriers' address; they end with their standard input."""
    process = subprocess.Popen(
        [sys.executable, "-c", CARRIER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()


def _lead_to(stage: Stage, url: str) -> None:
    """Have notify send through these carriers."""
    functions = stage.cloud.stack.functions
    told = functions["notify"].environment | overlay(url, SECRET)["notify"]
    functions["notify"] = replace(functions["notify"], environment=told)


def _answers_after(url: str, after_s: float) -> None:
    fault = {"fault": "slow", "after_s": after_s} if after_s else {"fault": "none"}
    httpx.put(f"{url}/{NAMES[0]}", json=fault).raise_for_status()


def _orders(stage: Stage, count: int) -> list[str]:
    """Bodies of the queue: whole redemptions, as the bus tells them, each for a phone of its own."""
    orders, at = [], rfc3339(int(time()))
    for number, code in enumerate(stage.active(count, count)):
        body = stage.order(code) | {"account": {"type": "mobile", "number": mobile(number)}}
        answer = stage.ask("POST", "/v1/redemptions", body, role="merchant")
        if answer.status != HTTPStatus.CREATED:
            raise RuntimeError(f"not redeemed: {answer.body.decode()}")
        made = answer.json()
        told = {"id": f"1.VOUCHER#{made['serial']}.1", "type": "voucher.redeemed", "schema": 1, "at": at}
        orders.append(json.dumps(told | {"data": {"serial": made["serial"], "redemption": {"id": made["id"]}}}))
    return orders


def _cut(orders: list[str]) -> list[list[str]]:
    """Those to warm up with, then those for each speed."""
    bounds = [0, *range(WARM_UP, len(orders) + 1, MESSAGES)]
    return [orders[since:until] for since, until in pairwise(bounds)]


def _handed_over(stage: Stage, orders: list[str]) -> None:
    for start in range(0, len(orders), THREADS_MAX):
        bodies = orders[start : start + THREADS_MAX]
        records = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
        failed = stage.invoke("notify", {"Records": records})["batchItemFailures"]
        if failed:
            raise RuntimeError(f"{len(failed)} messages failed")


def _loop(number: int) -> None:
    carrier = SimulatedCarrier(NAMES[0])
    for each in range(MESSAGES):
        outcome = carrier.send(f"loop-{number}-{each}", mobile(each), TEXT, None)
        if outcome.provider_id is None:
            raise RuntimeError(f"not taken: {outcome.reason}")


def _rate(work: Callable[[], None]) -> float:
    since = perf_counter()
    work()
    return MESSAGES / (perf_counter() - since)


def _sent(stage: Stage) -> int:
    pages = stage.cloud.client("dynamodb").get_paginator("scan").paginate(
        TableName=stage.table,
        FilterExpression="begins_with(pk, :prefix) AND #status = :sent",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":prefix": {"S": keys.MESSAGE}, ":sent": {"S": Status.SENT.value}},
    )  # fmt: skip
    return sum(page["Count"] for page in pages)


def _taken(url: str) -> int:
    """How many SMS the carriers have taken, the loop's with them."""
    found = httpx.get(url).raise_for_status().json()["data"]
    return sum(int(carrier["messages"]) for carrier in found)
