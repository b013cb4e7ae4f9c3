"""The counts of how SMS fare: moved once for each version of a message, and summed up when somebody asks.

What a write moves goes into one transaction with a mark of that message's version, on the condition that there is none
yet: a write that the stream brings again, in whatever order, counts once. A cell has up to `SHARDS` items, which are
read by day and shard. A worker adds to those of the first shard until it meets another there, and from then on to any
one's: so few workers leave few items to be read, and many do not wait for each other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, product
from typing import NamedTuple

from functions.domain.deliveries import Cell
from functions.domain.errors import Refusal
from functions.store import keys, table
from functions.store.keys import Key
from functions.store.table import Item

ENTITY, MARK = "delivery_counts", "delivery_counted"
SHARDS = 16
"""A message has about ten counts moved; at 2,000 a second no item is written more often than 1,000 times a second by
far, as each transaction moves those of many messages at once."""
ITEMS_MAX = 100
"""What DynamoDB takes in one transaction."""
MARKED_S = 100 * 86_400
"""Longer than a record of the stream can come back: failed ones are kept for 90 days."""
WORKERS_MAX = 16
CELLS_PER_READ = 1_000
HOURS_MAX = 7 * 24
CELLS_MAX = 50_000
"""A caller is told to ask for less where there are more."""


class Moved(NamedTuple):
    """What the write of one version of a message moved."""

    message: str
    version: int
    counts: dict[tuple[Cell, str], int]

    @property
    def key(self) -> Key:
        """Of its mark."""
        return keys.delivery_counted(self.message, self.version)


@dataclass
class Worker:
    """What one worker knows for itself: the shard that it adds to."""

    shard: int = 0


WORKER = Worker()


class TooMany(Exception):  # noqa: N818 - it is an answer
    """More cells than one call can sum up."""


def record(moves: Iterable[Moved]) -> None:
    """Move the counts of all that were not counted yet. Raises Refusal `try_again`."""
    for some in _parts({moved.key: moved for moved in moves if moved.counts}.values()):
        left = some
        while left:
            existing = _put(left)
            if not existing:
                break
            left = [moved for n, moved in enumerate(left) if n not in existing]


def _put(moves: list[Moved]) -> dict[int, Item]:
    """Those of which there is a mark, by place; if there is none, all are counted. Raises Refusal `try_again`."""
    marks = [_mark(moved) for moved in moves]
    try:
        return table.put_new(marks, _summed(moves, WORKER.shard), ENTITY, tries=1)
    except Refusal:
        WORKER.shard = random.randrange(SHARDS)
        return table.put_new(marks, _summed(moves, WORKER.shard), ENTITY)


def _parts(moves: Iterable[Moved]) -> Iterator[list[Moved]]:
    """As many at a time as a transaction takes with their cells."""
    part: list[Moved] = []
    cells: set[Cell] = set()
    for moved in moves:
        own = {cell for cell, _ in moved.counts}
        if part and len(part) + 1 + len(cells | own) > ITEMS_MAX:
            yield part
            part, cells = [], set()
        part, cells = [*part, moved], cells | own
    if part:
        yield part


def _mark(moved: Moved) -> Item:
    ttl_epoch_s = int(time.time()) + MARKED_S
    return {**moved.key._asdict(), "entity": MARK, "version": 1, "ttl_epoch_s": ttl_epoch_s}


def _summed(moves: list[Moved], shard: int) -> dict[Key, dict[str, int]]:
    sums: dict[Key, dict[str, int]] = {}
    for moved in moves:
        for (cell, name), by in moved.counts.items():
            of_cell = sums.setdefault(keys.deliveries(cell.hour, cell[1:], shard), {})
            of_cell[name] = of_cell.get(name, 0) + by
    left = {key: {name: by for name, by in of_cell.items() if by} for key, of_cell in sums.items()}
    return {key: of_cell for key, of_cell in left.items() if of_cell}


def between(since: int, until: int) -> list[tuple[Cell, dict[str, int]]]:
    """All counts of the hours (since the epoch) from `since` up to `until`, which is left out; of a cell in parts.

    Raises TooMany.
    """
    partitions, room = product(range(since // 24, (until - 1) // 24 + 1), range(SHARDS)), Room(CELLS_MAX)
    with ThreadPoolExecutor(WORKERS_MAX) as pool:
        return list(chain.from_iterable(pool.map(partial(_read, since, until, room), partitions)))


@dataclass
class Room:
    """How many more cells may be read by one call, all its threads together (about so, as they do not wait)."""

    left: int


def _read(since: int, until: int, room: Room, partition: tuple[int, int]) -> list[tuple[Cell, dict[str, int]]]:
    day, shard = partition
    found: list[tuple[Cell, dict[str, int]]] = []
    after = keys.deliveries_since(max(since, day * 24))
    while True:
        before = len(found)
        items = table.query(keys.deliveries_on(day, shard), limit=CELLS_PER_READ, after=after, index="")
        for item in items:
            hour, said = keys.in_deliveries(item["sk"])
            cell = Cell(hour, *said)
            if cell.hour < until:
                found.append((cell, {name: int(n) for name, n in item.items() if name[1:2] == "_"}))
        room.left -= len(found) - before
        if room.left < 0:
            raise TooMany
        if len(items) < CELLS_PER_READ or keys.in_deliveries(items[-1]["sk"])[0] >= until:
            return found
        after = items[-1]["sk"]
