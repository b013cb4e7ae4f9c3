"""What follows from the table's writes: history, counts and stock, and then the events on the bus.

History first: whatever reads the bus finds what it is told about already counted. A crash in between is healed by the
stream, which brings the same writes again: the lines are there and stay as they are, and the events, which have the
same ids, are published once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from functions.domain import deliveries as of_deliveries
from functions.domain.erasure import Named, named
from functions.domain.events import WRITES, Event, Holding, Subject, counts, events, holdings
from functions.domain.serials import LOT_SIZE
from functions.store import bus, deliveries, history, persons, stock, wire
from functions.store.deliveries import Moved
from functions.store.history import Line
from functions.store.records import MESSAGE
from functions.store.table import Item

Told = Line | Event | Holding | Named | Moved
"""A line of history, which is an event too; an event that belongs to nobody's history; a channel new to a lot; a person
new to a voucher; or what moves the counts of how SMS fare."""


class Written(NamedTuple):
    """One write of the table as its stream tells it; `new` is None where an item was deleted."""

    at: int
    old: Item | None
    new: Item | None


def read(change: Mapping[str, Any]) -> Written:
    """The `dynamodb` member of a stream record."""

    def image(name: str) -> Item | None:
        typed = change.get(name)
        return {key: wire.read(value) for key, value in typed.items()} if typed is not None else None

    return Written(int(change["ApproximateCreationDateTime"]), image("OldImage"), image("NewImage"))


def told(written: Written, incarnation: int) -> list[Told]:
    """What a write means; what it adds to the counts goes with its first line. Raises UnknownCommand, ValueError."""
    old, new = written.old, written.new
    if new is None:
        raise ValueError("an item was deleted, which no function may do")
    moved = {**counts(old, new), WRITES: 1} if new.get("entity") == "voucher" else {}
    found = events(old, new, written.at, incarnation)
    lines: list[Told] = [
        Line(event, _lot(event.subject), {} if n else moved) if event.subject else event
        for n, event in enumerate(found)
    ]
    match new.get("entity"):
        case "lot":
            return [*lines, *holdings(old, new)]
        case "voucher":
            return [*lines, *named(old, new)]
        case "message":
            before, after = MESSAGE.load(old) if old is not None else None, MESSAGE.load(new)
            return [*lines, Moved(after.id, after.version, of_deliveries.moved(before, after))]
    return lines


def _lot(subject: Subject) -> int:
    return subject.number if subject.kind == "lot" else subject.number // LOT_SIZE


def follow(found: Iterable[Told]) -> None:
    """Record the lines that are new, where channels hold stock, who is named where and how SMS fare; then publish."""
    every = list(found)
    history.record(each for each in every if isinstance(each, Line))
    stock.note(each for each in every if isinstance(each, Holding))
    persons.note(each for each in every if isinstance(each, Named))
    deliveries.record(each for each in every if isinstance(each, Moved))
    told = (each.event if isinstance(each, Line) else each for each in every)
    bus.publish(each for each in told if isinstance(each, Event))
