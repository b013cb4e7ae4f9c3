"""How recoveries went, by the way they were ordered and the channel they concern: a sum for each day, way and channel,
in one partition a month.

A recovery is counted once: the mark that says so is written in one transaction with what it adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import NamedTuple

from functions.domain.errors import Refusal
from functions.domain.recovery import Recovery
from functions.store import keys, table

ENTITY, MARK = "statistic", "counted"
DAYS_MAX = 366
SUMS_MAX = 20_000
"""So many are looked at in a call; there are not more than recoveries."""


class Sum(NamedTuple):
    """Of recoveries that have completed: how many, what of, and how long they took all together."""

    recoveries: int = 0
    selected: int = 0
    recovered: int = 0
    seconds: int = 0
    seconds_until_effective: int = 0

    def plus(self, other: Sum) -> Sum:
        """Both together."""
        return Sum(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def count(recovery: Recovery) -> None:
    """Count a recovery that has completed; again does no harm."""
    assert recovery.completed_at is not None
    effective_at = recovery.effective_at if recovery.effective_at is not None else recovery.completed_at
    day = datetime.fromtimestamp(recovery.completed_at, UTC).date()
    added = Sum(
        1,
        recovery.selected,
        recovery.recovered,
        recovery.completed_at - recovery.created_at,
        effective_at - recovery.created_at,
    )
    mark = {**keys.counted(recovery.id)._asdict(), "entity": MARK, "version": 1}
    sums = {keys.statistic(day, recovery.via, recovery.channel): {name: n for name, n in added._asdict().items() if n}}
    table.put_new([mark], sums, ENTITY)


def between(since: date, until: date, *, by_channel: bool) -> dict[str | None, Sum]:
    """What completed on these days (UTC), both included, by way or by channel (None: what names none).

    Raises Refusal `invalid_request` where that are too many sums.
    """
    found: dict[str | None, Sum] = {}
    left = SUMS_MAX
    for month in _months(since, until):
        items = table.query(keys.statistics_of(month), limit=left + 1, index="")
        left -= len(items)
        if left < 0:
            raise Refusal("invalid_request", errors=[{"field": "query.since", "detail": "too many days at once"}])
        for item in items:
            day, via, channel = keys.in_statistics(item["sk"])
            if since <= month.replace(day=day) <= until:
                named = channel if by_channel else via
                of_day = Sum(*(item.get(name, 0) for name in Sum._fields))
                found[named] = found.get(named, Sum()).plus(of_day)
    return found


def _months(since: date, until: date) -> Iterator[date]:
    for number in range(since.year * 12 + since.month - 1, until.year * 12 + until.month):
        yield date(number // 12, number % 12 + 1, 1)
