"""Statistics of 20,000 messages whose writes come shuffled and repeated, against a recount of all of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from random import Random
from time import perf_counter, time
from typing import Any

from functions.domain.deliveries import DIMENSIONS
from functions.domain.times import rfc3339
from tests.benchmark.harness import Result, at_least, at_most, figure
from tests.benchmark.stage import Stage, staged
from tests.fared import HOUR_S, batches, life, recount, relayed, written

MESSAGES = 20_000
HOURS = 24
SPAN_H = HOURS + 1
"""What was made in the last minutes has attempts afterwards."""
WORKERS = 4
SEED = 6
BY: tuple[tuple[str, ...], ...] = ((), *((name,) for name in DIMENSIONS), ("provider", "reason"))


def measure() -> Iterator[Result]:
    """On DynamoDB Local; four workers take batches of relay's, each of them twice, in any order."""
    random, began = Random(SEED), int(time()) // HOUR_S * HOUR_S - SPAN_H * HOUR_S
    lives = [life(random, number, began, HOURS) for number in range(MESSAGES)]
    messages, writes = [life[-1] for life in lives], written(lives)
    steps = batches(random, writes)
    with staged() as stage, ThreadPoolExecutor(WORKERS) as workers:
        os.environ.update(stage.environment("relay"))
        since = perf_counter()
        list(workers.map(relayed, steps))
        took_s = perf_counter() - since
        since = perf_counter()
        told = {by: _asked(stage, began, SPAN_H, by) for by in BY}
        asked_s = (perf_counter() - since) / len(told)
        hourly = [row for hour in range(SPAN_H) for row in _asked(stage, began + hour * HOUR_S, 1, DIMENSIONS)]
    of = f"{MESSAGES:,} messages"
    different = sum(_different(rows, recount(messages, by)) for by, rows in {**told, DIMENSIONS: hourly}.items())
    yield at_most(f"rows of statistics of {of} that differ from a recount", different, 0, "")
    yield at_least(f"rows compared, of {of}", len(hourly), 1, "")
    yield figure("writes of messages that relay counts, repeats among them", sum(map(len, steps)) / took_s, "1/s")
    yield figure(f"a day's statistics of {of}", asked_s, "s")


def _asked(stage: Stage, since: int, hours: int, by: tuple[str, ...]) -> list[dict[str, Any]]:
    span = f"since={rfc3339(since)}&until={rfc3339(since + hours * HOUR_S)}"
    answer = stage.ask("GET", f"/v1/messages/statistics?{span}" + (f"&by={','.join(by)}" if by else ""))
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"by {by}: {answer.status} {answer.body.decode()}")
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


def _different(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> int:
    return len({json.dumps(row, sort_keys=True) for row in one} ^ {json.dumps(row, sort_keys=True) for row in other})
