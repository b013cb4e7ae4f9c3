"""How fast a restored table gets back what it has lost: redemptions, and what the ledger told of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

from functions.domain.actor import By
from functions.domain.formats import LOT_SIZE
from functions.domain.record import CHAINS, Entry, Head, chains, linked
from functions.domain.serials import position_of, serial_of
from functions.store import keys
from infra import restoring
from tests.benchmark.harness import Result, figure
from tests.benchmark.stage import staged

REDEMPTIONS = 2_000
BUS = Path(__file__).parents[2] / "events" / "bus"
BY = By("benchmark", "engineer", "operator", "192.0.2.1", "benchmark")
Json = dict[str, Any]


def measure() -> Iterator[Result]:
    """From entries in memory to the last write, on DynamoDB Local."""
    with staged() as stage:
        batch = stage.batch(stage.campaign(), LOT_SIZE)
        stage.activate(batch)
        start = position_of(batch["first_serial"])
        assert start is not None
        events = [event for position in range(start, start + REDEMPTIONS) for event in _told(position)]
        with patch.dict(os.environ, stage.environment("audit") | stage.environment("relay")):
            began = perf_counter()
            restoring.put_record_back(_entries(events), BY)
            done = restoring.apply(events, 2, BY)
            took_s = perf_counter() - began
    assert done["voucher.redeemed"] == done["lines of the ledger"] == REDEMPTIONS, done
    yield figure("events re-applied to a table that was restored", len(events) / took_s, "/s")


def _told(position: int) -> Iterator[Json]:
    """A redemption, and that the ledger entered it, as the bus has them."""
    card = {"serial": serial_of(position), "lot": position // LOT_SIZE}
    for type, key in (
        ("voucher.redeemed", keys.voucher(position).pk),
        ("ledger.posted", f"{keys.ledger_of(position)}/LINE"),
    ):
        event: Json = json.loads((BUS / f"{type}.json").read_text())["detail"]
        yield {**event, "id": f"1.{key}.1", "data": {**event["data"], **card}}


def _entries(events: list[Json]) -> list[Entry]:
    parts = [events[n::CHAINS] for n in range(CHAINS)]
    return [e for chain, part in zip(chains(1), parts, strict=True) for e in linked(chain, Head(), part)]
