"""Items written to generate, distribute, activate, extend and recall a million vouchers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

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
        yield at_most("writes to generate 1,000,000", generating.items_written, WRITES_MAX, "items")
        orders: dict[str, Callable[[], None]] = {
            "distribute": partial(stage.distribute, batch, stage.channel()),
            "activate": partial(stage.activate, batch),
            "extend": partial(stage.extend, batch),
            "recall": partial(stage.recall, batch),
        }
        for name, order in orders.items():
            with metered() as meter:
                order()
            yield at_most(f"writes to {name} 1,000,000", meter.items_written, WRITES_MAX, "items")
