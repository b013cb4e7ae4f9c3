"""Tell holders that their vouchers are about to end, each once for each of the days that the campaign wants.

What is to come is noted when a voucher gets a holder or another end. By the clock, every hour, the days that are due
are gone through a page at a time, each page an order of its own on the queue. Nothing depends on one run: what it
leaves, because it broke off or never came, the next one finds still there, and two at once come to the same, as events
and messages have ids that follow from the reminder's key.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from functions.domain.actor import By
from functions.domain.events import Event
from functions.domain.reminder import SHARDS, Expiry, Outcome, ahead, due_at, due_days, named, outcome
from functions.domain.serials import LOT_SIZE, position_of
from functions.domain.times import rfc3339
from functions.domain.voucher import Standing, standing
from functions.store import bus, expiries, jobs, keys, lots, table
from functions.store.entities import LOT, VOUCHER
from functions.store.expiries import EXPIRY
from functions.store.records import CAMPAIGN

EXPIRING = "voucher.expiring"
CAMPAIGNS_CACHED_MAX = 1_000
TABLE_INCARNATION = "TABLE_INCARNATION"
BY = By("notify", "system", "operator", "schedule", "")


@dataclass(frozen=True, slots=True)
class Due:
    """A reminder on its day, with what its voucher comes to now."""

    expiry: Expiry
    at: Standing | None
    outcome: Outcome


def expect(serial: str, since: int, now: int) -> None:
    """Note the reminders of a voucher as it stands, those due later than `since`.

    Raises LookupError where the table knows nothing of it.
    """
    position = position_of(serial)
    if position is None:
        raise LookupError("no serial")
    lot_key, voucher_key = keys.lot(position // LOT_SIZE), keys.voucher(position)
    items = table.get_many([lot_key, voucher_key])
    if lot_key not in items or voucher_key not in items:
        raise LookupError("no such voucher")
    at = standing(LOT.load(items[lot_key]), position % LOT_SIZE, VOUCHER.load(items[voucher_key]), now)
    if at is not None and at.voucher.holder is not None:
        _note([at], since)


def sweep(now: int) -> int:
    """Order the first page of each part of the days that are due; says how many."""
    parts = [(day, shard) for day in due_days(now) for shard in range(SHARDS)]
    for day, shard in parts:
        jobs.send_reminders(named(day), shard, None)
    return len(parts)


def remind(day: int, shard: int, after: str | None, now: int) -> dict[str, int]:
    """Do one page of a day and order the next one, if there may be more; says what became of how many."""
    found, place = expiries.page(day, shard, after)
    due = _looked_at(found, now)
    bus.publish(_event(each) for each in due if each.outcome is Outcome.TOLD)
    _note([each.at for each in due if each.outcome is Outcome.MOVED and each.at is not None], now)
    expiries.close([(each.expiry, each.outcome) for each in due], BY)
    if place is not None:
        jobs.send_reminders(named(day), shard, place)
    return {kind.value: n for kind in Outcome if (n := sum(each.outcome is kind for each in due))}


def _looked_at(found: list[Expiry], now: int) -> list[Due]:
    vouchers = table.get_many(keys.voucher(each.position) for each in found)
    of = lots.read_many(each.position // LOT_SIZE for each in found)
    due = []
    for each in found:
        lot, item = of.get(each.position // LOT_SIZE), vouchers.get(keys.voucher(each.position))
        at = None
        if lot is not None and item is not None:
            at = standing(lot, each.position % LOT_SIZE, VOUCHER.load(item), now)
        due.append(Due(each, at, outcome(each, at)))
    return due


def _note(vouchers: list[Standing], since: int) -> None:
    """Note what is to come for these vouchers, as their campaigns want it."""
    expiries.note(_coming(vouchers, since), BY)


def _coming(vouchers: Iterable[Standing], since: int) -> Iterable[Expiry]:
    for at in vouchers:
        yield from ahead(at.voucher.position, at.valid_until, _reminder_days(at.voucher.campaign), since)


@lru_cache(CAMPAIGNS_CACHED_MAX)
def _reminder_days(campaign: str) -> tuple[int, ...]:
    """What a campaign wants; it never changes. A flash claim's every claim would read the campaign here once more."""
    key = keys.campaign(campaign)
    items = table.get_many([key])
    if key not in items:
        raise LookupError("no such campaign")
    return CAMPAIGN.load(items[key]).reminder_days


def _event(due: Due) -> Event:
    at, key = due.at, EXPIRY.key(due.expiry)
    assert at is not None and at.valid_until is not None, "it ends on that day"
    data = {
        "serial": at.voucher.serial,
        "lot": due.expiry.position // LOT_SIZE,
        "valid_until": rfc3339(at.valid_until),
        "days": due.expiry.days,
    }
    id = f"{os.environ[TABLE_INCARNATION]}.{key.pk}#{key.sk}.1"
    return Event(id, EXPIRING, due_at(due.expiry.day), BY, None, data, version=1, sandbox=at.voucher.sandbox)
