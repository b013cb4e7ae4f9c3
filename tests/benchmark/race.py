"""Many at once for the same code: double redemptions, and acknowledged ones that the table does not have."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from threading import Barrier

from infra.local.gateway import Answer
from tests.benchmark.harness import Result, at_most, figure
from tests.benchmark.stage import Stage, staged

CODES = 60
TILLS = 8
BATCH = 1_000
TIMEOUT_S = 60


def measure() -> Iterator[Result]:
    """For each code all tills ask at the same moment, two and two of them with the same key."""
    double = lost = 0
    together = Barrier(TILLS)
    with staged() as stage, ThreadPoolExecutor(TILLS) as tills:
        for code in stage.active(BATCH, CODES):
            answers = list(tills.map(_redeem, repeat(stage), repeat(code), range(TILLS), repeat(together)))
            if unexpected := {answer.status for answer in answers} - {201, 409}:
                raise RuntimeError(f"answers with status {unexpected}")
            acknowledged = {answer.json()["id"] for answer in answers if answer.status == 201}
            double += max(0, len(acknowledged) - 1)
            lost += sum(not _is_kept(stage, id) for id in acknowledged) + (not acknowledged)
    yield figure("redemptions asked for in the race", CODES * TILLS, "")
    yield at_most("double redemptions", double, 0, "")
    yield at_most("lost acknowledged redemptions", lost, 0, "")


def _redeem(stage: Stage, code: str, till: int, together: Barrier) -> Answer:
    together.wait(TIMEOUT_S)
    return stage.ask("POST", "/v1/redemptions", stage.order(code), role="merchant", key=f"{code}-{till // 2}")


def _is_kept(stage: Stage, id: str) -> bool:
    return stage.ask("GET", f"/v1/redemptions/{id}", role="merchant").status == 200
