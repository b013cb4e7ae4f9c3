"""Many at once for the same code: double redemptions, and acknowledged ones that the table does not have."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from itertools import repeat
from threading import Barrier

from infra.local.gateway import Answer
from tests.benchmark.harness import Result, at_most, figure
from tests.benchmark.stage import Stage, staged

CODES = 60
TILLS = 8
BATCH = 1_000
TIMEOUT_S = 60
ASKED_MAX = 5


def measure() -> Iterator[Result]:
    """For each code all tills ask at the same moment, two and two of them with the same key."""
    double = lost = 0
    together = Barrier(TILLS)
    with staged() as stage, ThreadPoolExecutor(TILLS) as tills:
        stage.cloud.token("merchant")  # before the race: all tills are the same client's
        stage.cloud.token("merchant")  # one client for all, made before any two threads could make two
        for code in stage.active(BATCH, CODES):
            answers = list(tills.map(_redeem, repeat(stage), repeat(code), range(TILLS), repeat(together)))
            if unexpected := {answer.status for answer in answers} - {201, 409}:
                raise RuntimeError(f"answers with status {unexpected}")
            acknowledged = {answer.json()["id"] for answer in answers if answer.status == 201}
            double += max(0, len(acknowledged) - 1)
            if not acknowledged:
                raise RuntimeError(f"nobody got a code that was good: {[answer.json()['key'] for answer in answers]}")
            lost += sum(not _is_kept(stage, id) for id in acknowledged)
    yield figure("redemptions asked for in the race", CODES * TILLS, "")
    yield at_most("double redemptions", double, 0, "")
    yield at_most("lost acknowledged redemptions", lost, 0, "")


def _redeem(stage: Stage, code: str, till: int, together: Barrier) -> Answer:
    together.wait(TIMEOUT_S)
    return stage.ask("POST", "/v1/redemptions", stage.order(code), role="merchant", key=f"{code}-{till // 2}")


def _is_kept(stage: Stage, id: str) -> bool:
    """Whether the table has it; an engine too busy to say is no answer, so it is asked again."""
    for _ in range(ASKED_MAX):
        status = stage.ask("GET", f"/v1/redemptions/{id}", role="merchant").status
        if status != HTTPStatus.SERVICE_UNAVAILABLE:
            return status == HTTPStatus.OK
    raise RuntimeError(f"the engine does not say whether it has {id}")
