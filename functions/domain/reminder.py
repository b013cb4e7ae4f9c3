"""Reminders (到期提醒): which day a holder is told that a voucher is about to end, and whether that still holds.

A day is one of the calendar of those who are told (`ZONE_S`), and on it they are told from `FROM_S` on, not at night. A
voucher that ends at midnight ends with the day before. What is kept of a reminder to come is an `Expiry`; when its day
comes, the voucher is looked at as it stands then. One more `Expiry`, for the day after the end, sees whether the end
has been put off once all reminders were sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from functions.domain.lot import Status
from functions.domain.voucher import DAY_S, Standing

REMINDERS_MAX = 3
REMINDER_DAYS_MAX = 365
ZONE_S = 8 * 3_600
"""China's time, UTC+8."""
FROM_S = 10 * 3_600
"""Ten in the morning."""
LATE_DAYS_MAX = 3
"""What could not be sent on its day is sent so much later at most."""
KEPT_S = 30 * DAY_S
"""So long after its day it is known what became of a reminder."""
AFTERWARDS = -1
"""So many days before its end: the day after it."""
SHARDS = 16
"""A day is spread over so many index partitions."""


class Outcome(StrEnum):
    """What became of a reminder on its day."""

    TOLD = "told"
    MOVED = "moved"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Expiry:
    """That on a `day` (counted from 1970 in `ZONE_S`) the holder of a voucher is told that it ends in `days` days."""

    position: int
    day: int
    days: int
    ttl_epoch_s: int
    outcome: Outcome | None = None
    version: int = 0

    @property
    def shard(self) -> int:
        """Which of its day's."""
        return self.position % SHARDS


def expiry(position: int, day: int, days: int) -> Expiry:
    """A reminder to come, as it is written first."""
    return Expiry(position, day, days, due_at(day) + KEPT_S, version=1)


def due_at(day: int) -> int:
    """From when on (epoch seconds) a day's reminders are sent."""
    return day * DAY_S - ZONE_S + FROM_S


def due_day(ends: int, days: int) -> int:
    """The day that lies so many days before that on which something ends."""
    return (ends - 1 + ZONE_S) // DAY_S - days


def due_days(now: int) -> list[int]:
    """The days whose reminders are to be sent by now, the latest first."""
    today = (now + ZONE_S - FROM_S) // DAY_S
    return [today - late for late in range(LATE_DAYS_MAX + 1)]


def named(day: int) -> str:
    """A day as its date: `20261231`."""
    return datetime.fromtimestamp(day * DAY_S, UTC).strftime("%Y%m%d")


def day_named(date: str) -> int:
    """The day of a date. Raises ValueError."""
    return int(datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC).timestamp()) // DAY_S


def shown(ends: int) -> str:
    """A time for people: `2026-12-31 23:59`, in `ZONE_S`."""
    return datetime.fromtimestamp(ends + ZONE_S, UTC).strftime("%Y-%m-%d %H:%M")


def ahead(position: int, ends: int | None, reminder_days: Iterable[int], since: int) -> list[Expiry]:
    """The reminders of a voucher that are due later than `since`; none where none are wanted, or it never ends."""
    wanted = tuple(reminder_days)
    if ends is None or not wanted:
        return []
    days_by_day = [(due_day(ends, days), days) for days in (*wanted, AFTERWARDS)]
    return [expiry(position, day, days) for day, days in days_by_day if due_at(day) > since]


def is_held(at: Standing) -> bool:
    """Whether somebody holds it who can use it, or could until it expired."""
    held = at.voucher.holder is not None and at.voucher.status in (Status.CLAIMED, Status.PARTLY_REDEEMED)
    return held and at.reason in (None, "offered", "expired")


def outcome(due: Expiry, at: Standing | None) -> Outcome:
    """What is to become of a reminder, the voucher being as it is."""
    if at is None or not is_held(at) or at.valid_until is None:
        return Outcome.DROPPED
    if due_day(at.valid_until, due.days) > due.day:
        return Outcome.MOVED
    return Outcome.DROPPED if at.reason == "expired" or due.days == AFTERWARDS else Outcome.TOLD
