"""The record's copy in the table: chains of entries that are appended to, and found again by card, client and time.

An append is one transaction on one chain: its head, if it still is what was read; each entry, if no entry of its event
is there; and the page that tells the chain's order. So an event that comes again is found to be there already, two
appends never get the same number, and an append whose answer was lost is either there as a whole or not at all.
"""

from __future__ import annotations

import heapq
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from functions.domain.errors import Refusal
from functions.domain.record import DAY_S, Entry, Head, Json, chains, entry_of, following, linked
from functions.domain.serials import LOT_SIZE
from functions.store import cursors, keys, table
from functions.store.keys import RECORD_LANES, Key
from functions.store.table import Item

RECORD_KEPT_DAYS = "RECORD_KEPT_DAYS"
TABLE_INCARNATION = "TABLE_INCARNATION"
ENTRIES_PER_WRITE = 90
"""With head and page below the 100 items of a transaction."""
BYTES_PER_WRITE = 2_000_000
"""A transaction takes 4 MB; an entry's line is about its event's size."""
TRIES_MAX = 64
"""An append that meets another one on its chain goes to another chain; so many times."""
LOOKED_AT_MAX = 500
"""A page looks at so many entries and may be short: a lot's entries also tell of other cards."""
INDEX_READ = 60
END_OF_TIME = 10**11

T = TypeVar("T")


def append(events: Iterable[Json], now: int) -> int:
    """Put the events that are not there yet on record; says how many were new. Raises Refusal `try_again`."""
    unique = {event["id"]: event for event in events}
    return sum(_append(part, now) for part in _parts(unique.values(), lambda event: len(str(event))))


def _parts(things: Iterable[T], length: Callable[[T], int]) -> Iterator[list[T]]:
    part: list[T] = []
    size = 0
    for thing in things:
        own = length(thing) * 2
        if part and (len(part) == ENTRIES_PER_WRITE or size + own > BYTES_PER_WRITE):
            yield part
            part, size = [], 0
        part.append(thing)
        size += own
    if part:
        yield part


def _append(events: Sequence[Json], now: int) -> int:
    left = list(events)
    chain = _any_chain()
    for _ in range(TRIES_MAX):
        if not left:
            return 0
        head, version = _head(chain)
        entries = linked(chain, head, left)
        failed = table.put_together([*_heading(chain, entries, version, now), *((_item(e, now), 0) for e in entries)])
        if not failed:
            return len(left)
        left = [event for n, event in enumerate(left, 2) if n not in failed]
        if failed & {0, 1}:
            chain = _any_chain()
    raise Refusal("try_again", "All chains of the record are being written.", retry_after_s=1)


def put_back(chain: str, entries: Iterable[Entry]) -> int:
    """Bring a chain up to entries that were sealed of it and that the table has lost; says how many these were.

    Raises ValueError where they do not follow from what the table has, Refusal `try_again`.
    """
    head, version = _head(chain)
    lost = following(head, entries)
    for seen, part in enumerate(_parts(lost, lambda entry: len(entry.line)), version):
        heading, left = _heading(chain, part, seen, part[-1].at), part
        while failed := table.put_together([*heading, *((_item(entry, entry.at), 0) for entry in left)]):
            if failed & {0, 1}:
                raise Refusal("try_again", "Others are writing the same chain.", retry_after_s=1)
            left = [entry for n, entry in enumerate(left, 2) if n not in failed]
    return len(lost)


def incarnation() -> int:
    """Of the table; each has chains of its own."""
    return int(os.environ[TABLE_INCARNATION])


def _any_chain() -> str:
    return random.choice(chains(incarnation()))


def _head(chain: str) -> tuple[Head, int]:
    item = table.get(keys.chain(chain))
    return (Head(item["count"], item["hash"]), item["version"]) if item is not None else (Head(), 0)


def _heading(chain: str, entries: Sequence[Entry], version: int, now: int) -> list[tuple[Item, int]]:
    last = entries[-1]
    head = {"entity": "chain", "count": last.number, "hash": last.hash, "version": version + 1}
    ids = [entry.event["id"] for entry in entries]
    page = {"entity": "page", "ids": ids, "version": 1, "ttl_epoch_s": now + kept_s()}
    return [
        ({**keys.chain(chain)._asdict(), **head}, version),
        ({**keys.page(chain, last.number)._asdict(), **page}, 0),
    ]


def kept_s() -> int:
    """So long an entry is kept, in the table as in the bucket."""
    return int(os.environ[RECORD_KEPT_DAYS]) * DAY_S


def _item(entry: Entry, now: int) -> Item:
    place = keys.in_record(entry.at, entry.chain, entry.number)
    lane = entry.number % RECORD_LANES
    item = {
        **keys.entry(entry.event["id"])._asdict(),
        "entity": "entry",
        "version": 1,
        "line": entry.line,
        "gsi1pk": keys.recorded_in(lane),
        "gsi1sk": place,
        "ttl_epoch_s": now + kept_s(),
    }
    if entry.subject is not None:
        item |= {"gsi2pk": keys.recorded_about(*entry.subject), "gsi2sk": place}
    if client := entry.event["by"]["client"]:
        item |= {"gsi3pk": keys.recorded_by(client, lane), "gsi3sk": place}
    return item


class Wanted(NamedTuple):
    """What is looked for: entries about a card (by position), or by a client, or all; within a time, `to` excluded."""

    position: int | None = None
    actor: str | None = None
    since: int = 0
    to: int = END_OF_TIME


def page(wanted: Wanted, limit: int, cursor: str | None, caller: str) -> tuple[list[Entry], str | None]:
    """The next entries, newest first, and the cursor of what follows. Raises Refusal `invalid_cursor`."""
    bound_to = (caller, "audit", str(wanted.position), str(wanted.actor), str(wanted.since), str(wanted.to))
    before = cursors.unseal(cursor, *bound_to) if cursor is not None else f"{wanted.to:012d}"
    shown: list[Entry] = []
    looked_at = 0
    for part in _read(_places(wanted, before)):
        for place, entry in part:
            if len(shown) == limit:
                return shown, cursors.seal(before, *bound_to)
            before, looked_at = place, looked_at + 1
            if wanted.position is None or entry.is_about(wanted.position % LOT_SIZE):
                shown.append(entry)
        if looked_at >= LOOKED_AT_MAX:
            return shown, cursors.seal(before, *bound_to)
    return shown, None


Place = tuple[str, Key]
"""Where an entry stands in time, and its key."""


def _places(wanted: Wanted, before: str) -> Iterator[Place]:
    """The places before one, newest first."""
    if wanted.position is not None:
        subjects = (("voucher", wanted.position), ("lot", wanted.position // LOT_SIZE))
        return _merged("gsi2", [keys.recorded_about(*subject) for subject in subjects], before, wanted.since)
    if wanted.actor is not None:
        partitions = [keys.recorded_by(wanted.actor, lane) for lane in range(RECORD_LANES)]
        return _merged("gsi3", partitions, before, wanted.since)
    return _merged("gsi1", [keys.recorded_in(lane) for lane in range(RECORD_LANES)], before, wanted.since)


def _merged(index: str, partitions: Sequence[str], before: str, since: int) -> Iterator[Place]:
    lanes = [_lane(index, partition, before, f"{since:012d}") for partition in partitions]
    return heapq.merge(*lanes, key=lambda place: place[0], reverse=True)


def _lane(index: str, partition: str, before: str, since: str) -> Iterator[Place]:
    while True:
        found = table.query(partition, limit=INDEX_READ, after=before, newest_first=True, index=index)
        for item in found:
            before = item[f"{index}sk"]
            if before < since:
                return
            yield before, Key(item["pk"], item["sk"])
        if len(found) < INDEX_READ:
            return


def _read(places: Iterator[Place]) -> Iterator[list[tuple[str, Entry]]]:
    """Places with their entries, so many as one read takes at a time."""
    while part := list(islice(places, INDEX_READ)):
        items = table.get_many(key for _, key in part)
        yield [(place, entry_of(items[key]["line"])) for place, key in part if key in items]
