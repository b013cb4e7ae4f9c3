"""Queue batches: each message is taken by itself, and only those that fail come back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from functions.edge import clock
from functions.edge.log import failed, logger
from functions.store import jobs

RESERVE_S = 10.0
"""A worker stops so long before its function's time is over."""
CALL_BUDGET_S = 20.0
"""Within a call, work stops after this and goes on as a job; the gateway waits for 30 s."""

THREADS_MAX = 10
"""Of one worker that does its batch in threads."""

Work = Callable[[str, int, float], int | None]
"""Go on with the work of this id, at this time, until this moment of the monotonic clock.

Says after how many seconds there is more to do, None when all is done."""


def call_deadline(remaining_s: float) -> float:
    """When work within a call must stop, on the monotonic clock."""
    return time.monotonic() + min(CALL_BUDGET_S, max(remaining_s - RESERVE_S, 0))


def deadline(context: Any) -> float:
    """When a worker must stop, on the monotonic clock."""
    return float(time.monotonic() + context.get_remaining_time_in_millis() / 1000 - RESERVE_S)


def each(event: dict[str, Any], work: Callable[[str], None]) -> dict[str, Any]:
    """Do the work of each message's body; those that raise come back alone, for one must not take others with it."""
    failures = []
    for record in event["Records"]:
        try:
            work(record["body"])
        except Exception as error:
            failed("message failed", error)
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def together(event: dict[str, Any], work: Callable[[str], None], lane: Callable[[str], str]) -> dict[str, Any]:
    """The same in threads, so that what is slow holds up nothing but itself; what shares a lane goes one by one."""
    lanes: dict[str, list[dict[str, Any]]] = {}
    for record in event["Records"]:
        lanes.setdefault(lane(record["body"]), []).append(record)
    with ThreadPoolExecutor(min(len(lanes), THREADS_MAX)) as threads:
        done = [
            threads.submit(copy_context().run, each, {"Records": records}, work) for records in lanes.values()
        ]  # fmt: skip
    return {"batchItemFailures": [failure for one in done for failure in one.result()["batchItemFailures"]]}


def take(event: dict[str, Any], context: Any, work: Work) -> dict[str, Any]:
    """Go on with the job of each message; work left over is sent as a new message, so that no try is used up."""
    until = deadline(context)

    def go_on(body: str) -> None:
        id = json.loads(body)["id"]
        more_in_s = work(id, clock.now(), until)
        if more_in_s is not None:
            jobs.send(id, more_in_s)
        logger.info("job", id=id, done=more_in_s is None)

    return each(event, go_on)
