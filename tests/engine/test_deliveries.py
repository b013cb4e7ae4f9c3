"""Counts of SMS, with several workers at the same ones and each write told four times: what a recount finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from functions.domain.deliveries import DIMENSIONS, Cell, grouped
from functions.domain.errors import Refusal
from functions.domain.message import Message
from functions.notify.answers import fared
from functions.store import deliveries, table
from functions.store.deliveries import WORKER
from functions.store.keys import Key
from functions.store.table import Item
from tests.engine.engines import on_referee
from tests.engine.world import NOW
from tests.fared import HOUR_S, batches, life, recount, relayed, written

pytestmark = [on_referee, pytest.mark.usefixtures("world")]

MESSAGES = 40
HOURS = 3
WORKERS = 4
BEGAN = NOW // HOUR_S * HOUR_S


@pytest.fixture(autouse=True)
def new_worker() -> Iterator[None]:
    WORKER.shard = 0
    yield
    WORKER.shard = 0


def lives(count: int) -> list[list[Message]]:
    random = Random(6)
    return [life(random, number, BEGAN, HOURS) for number in range(count)]


def counted() -> list[tuple[Cell, dict[str, int]]]:
    return deliveries.between(BEGAN // HOUR_S, BEGAN // HOUR_S + HOURS + 1)


def test_they_equal_a_recount_whatever_comes_twice_in_any_order_at_once() -> None:
    every = lives(MESSAGES)
    with ThreadPoolExecutor(WORKERS) as workers:
        list(workers.map(relayed, batches(Random(7), written(every))))
    for by in ((), *((name,) for name in DIMENSIONS), DIMENSIONS):
        shown = [fared(dict(zip(by, group, strict=True)), sum) for group, sum in grouped(counted(), by).items()]
        known = [{name: value for name, value in row.items() if value is not None} for row in shown]
        assert known == recount((life[-1] for life in every), by)


def test_who_is_alone_leaves_one_item_a_cell() -> None:
    writes = written(lives(10))
    relayed(writes[:20])
    relayed(writes[20:])
    cells = [cell for cell, _ in counted()]
    assert len(cells) == len(set(cells)) > 0


def test_who_meets_another_adds_elsewhere_and_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    writes = written(lives(4))[:5]
    put_new, asked = table.put_new, []

    def met(items: list[Item], sums: Mapping[Key, Mapping[str, int]], *more: Any, **how: Any) -> dict[int, Item]:
        asked.append({key.pk.rpartition("#")[2] for key in sums})
        if len(asked) == 1:
            raise Refusal("try_again", "Others are writing the same.", retry_after_s=1)
        return put_new(items, sums, *more, **how)

    monkeypatch.setattr(table, "put_new", met)
    monkeypatch.setattr("random.randrange", lambda *_: 7)
    relayed(writes[:1])
    relayed(writes[1:])
    assert asked == [{"00"}, {"07"}, {"07"}]
