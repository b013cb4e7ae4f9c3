"""Items written to generate, to activate and to recall a million vouchers."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmark.harness import Result, at_most
from tests.benchmark.meter import metered
from tests.benchmark.stage import staged

QUANTITY = 1_000_000
WRITES_MAX = 110


def measure() -> Iterator[Result]:
    """Each item of a transaction counts as a write."""
    with staged() as stage:
        campaign = stage.campaign()
        stage.batch(campaign, 1)  # makes the clients
        with metered() as generating:
            batch = stage.batch(campaign, QUANTITY)
        with metered() as activating:
            stage.activate(batch)
        with metered() as recalling:
            stage.recall(batch)
    yield at_most("writes to generate 1,000,000", generating.items_written, WRITES_MAX, "items")
    yield at_most("writes to activate 1,000,000", activating.items_written, WRITES_MAX, "items")
    yield at_most("writes to recall 1,000,000", recalling.items_written, WRITES_MAX, "items")
