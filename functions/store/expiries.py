"""Reminders to come, by their day; those that are done with have left the index, and the table some weeks later."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from functions.domain.actor import By
from functions.domain.reminder import Expiry, Outcome, expiry, named
from functions.store import keys, table
from functions.store.lots import WORKERS_MAX
from functions.store.table import BATCH_GET_MAX, Conflict, Entity


def _place(due: Expiry) -> keys.Key | None:
    if due.outcome is not None:
        return None
    return keys.expiring(named(due.day), due.shard, due.position, due.days)


EXPIRY: Entity[Expiry] = Entity(
    "expiry", Expiry, key=lambda e: keys.expiry(e.position, named(e.day), e.days), index=_place
)


def note(coming: Iterable[Expiry], by: By) -> None:
    """Write the reminders that are not there yet; one that was sent stays so."""
    for each in coming:
        _put(each, 0, "expect", by)


def page(day: int, shard: int, after: str | None) -> tuple[list[Expiry], str | None]:
    """The next reminders of a day, and the place after them where there may be more."""
    entries = table.query(keys.expiring_on(named(day), shard), limit=BATCH_GET_MAX, after=after)
    found = [expiry(position, day, days) for position, days in (keys.in_expiring(entry["gsi1sk"]) for entry in entries)]
    return found, entries[-1]["gsi1sk"] if len(entries) == BATCH_GET_MAX else None


def close(done: Iterable[tuple[Expiry, Outcome]], by: By) -> None:
    """Note what became of reminders; what another has noted first stays."""

    def closed(each: tuple[Expiry, Outcome]) -> None:
        due, outcome = each
        _put(replace(due, outcome=outcome, version=due.version + 1), due.version, "remind", by)

    with ThreadPoolExecutor(WORKERS_MAX) as pool:
        list(pool.map(closed, done))


def _put(each: Expiry, seen_version: int, command: str, by: By) -> None:
    try:
        table.put(EXPIRY.item(each, command, by), seen_version)
    except Conflict:
        return
