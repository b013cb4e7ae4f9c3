"""A redemption's time with a thousand vouchers issued and with ten million, on two tables of one engine."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from tests.benchmark import served
from tests.benchmark.driver import TABLE
from tests.benchmark.harness import Result, at_most, figure
from tests.benchmark.stage import Stage, staged

FEW, MANY = 1_000, 10_000_000
BATCH = 1_000_000
REDEMPTIONS = 900
WARM_UP = 150
RATIO_MAX = 1.1


def measure() -> Iterator[Result]:
    """The two tables take turns at every redemption, in one process; medians."""
    with staged() as stage:
        few, many = stage.on_table("few"), stage.on_table("many")
        campaign = many.campaign()
        batches = [many.batch(campaign, BATCH) for _ in range(MANY // BATCH)]
        for batch in batches:
            many.activate(batch)
        of_many = [code for batch in batches for code in many.codes(batch, REDEMPTIONS // len(batches))]
        turns = zip(_events(few, few.active(FEW, REDEMPTIONS)), _events(many, of_many), strict=True)
        with served.kami(stage.environment("redeem")) as redeem:
            timings = [[redeem(event).wall_ms for event in turn] for turn in turns][WARM_UP:]
    for_few, for_many = (median(each) for each in zip(*timings, strict=True))
    yield figure(f"a redemption's time with {FEW:,} issued", for_few, "ms")
    yield figure(f"a redemption's time with {MANY:,} issued", for_many, "ms")
    yield at_most(f"a redemption's time, {MANY:,} to {FEW:,} issued", for_many / for_few, RATIO_MAX, "×")


def _events(stage: Stage, codes: list[str]) -> list[dict[str, object]]:
    return [event | {TABLE: stage.table} for event in stage.redemptions(codes)]
