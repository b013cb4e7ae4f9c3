"""The handler's own CPU per redemption, beside FastAPI + SQLAlchemy + PostgreSQL; engines are other processes."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean, median

from tests.benchmark import served
from tests.benchmark.harness import Result, at_most, figure
from tests.benchmark.postgres import postgresql
from tests.benchmark.stage import staged

TURNS = 80
REDEMPTIONS_PER_TURN = 30
WARM_UP_TURNS = 10
BATCH = 10_000
RATIO_MAX = 1


def measure() -> Iterator[Result]:
    """Both are served by warm processes and take short turns, each with the same orders; medians of the turns."""
    with postgresql() as url, staged() as stage:
        codes = stage.active(BATCH, TURNS * REDEMPTIONS_PER_TURN)
        events = stage.redemptions(codes)
        environment = stage.environment("redeem")
        turns = []
        with served.kami(environment) as ours, served.peer(environment | {"DATABASE_URL": url}, codes) as theirs:
            for start in range(0, len(events), REDEMPTIONS_PER_TURN):
                turn = events[start : start + REDEMPTIONS_PER_TURN]
                turns.append([mean(redeem(event).cpu_ms for event in turn) for redeem in (ours, theirs)])
    turns = turns[WARM_UP_TURNS:]
    yield figure("CPU of a redemption, Kami", median(kami for kami, _ in turns), "ms")
    yield figure("CPU of a redemption, FastAPI + SQLAlchemy", median(peer for _, peer in turns), "ms")
    ratio = median(kami / peer for kami, peer in turns)
    yield at_most("CPU of a redemption, Kami to FastAPI + SQLAlchemy", ratio, RATIO_MAX, "×")
