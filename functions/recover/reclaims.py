"""What campaigns have reclaimed after their end: by the clock, what is due is announced, and a week later ordered.

The index knows by time which campaigns there is something to do for; each is a job of its own. It may run twice or
break off: the campaign's item decides what is still to be done, and the recovery of a batch has an id that follows from
the two of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

from functions.domain.actor import By
from functions.domain.campaign import Campaign
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint
from functions.domain.lot import Scope
from functions.domain.reclaim import Reclaim, recovery_id
from functions.domain.recovery import Action, Order, Recovery, Via
from functions.domain.selection import Selection
from functions.recover import service
from functions.store import jobs, keys, table
from functions.store.records import CAMPAIGN, RECOVERY

SWEEP = "reclaims"
"""The job that the clock sends."""
DUE_MAX = 1_000
"""So many of a shard are taken up in a sweep; an hour later the next."""
BATCHES_PER_READ = 100
BY = By("recover", "system", "operator", "schedule", "")


def sweep(id: str, now: int, until: float) -> None:
    """Have each campaign looked after for which there is something to do by now."""
    for partition in keys.reclaiming_of():
        due = table.query(partition, limit=DUE_MAX, after=keys.reclaiming_until(now), newest_first=True, index="gsi2")
        for entry in due:
            jobs.send(keys.in_reclaiming(entry["gsi2sk"]))


def proceed(id: str, now: int, until: float) -> int | None:
    """Do for a campaign what is to be done by now; says 0 where its time did not suffice.

    Raises Refusal `not_found`, `still_generating`.
    """
    campaign = table.read(CAMPAIGN, keys.campaign(id))
    if campaign is None or campaign.reclaim is None:
        raise Refusal("not_found")
    campaign = _changed(campaign, "announce_reclaim", lambda reclaim: reclaim.announced(now))
    campaign = _changed(campaign, "start_reclaim", lambda reclaim: reclaim.started(now))
    assert campaign.reclaim is not None
    if campaign.reclaim.started_at is None or campaign.reclaim.next_at is None:
        return None
    late: Refusal | None = None
    for batch in _batches(id):
        if time.monotonic() > until:
            return 0
        try:
            _order(id, batch, now)
        except Refusal as refusal:  # the others do not wait for it
            late = refusal
    if late is not None:
        raise late
    _changed(campaign, "order_reclaim", lambda reclaim: reclaim.ordered(now))
    return None


def _changed(campaign: Campaign, command: str, decide: Callable[[Reclaim], Reclaim | None]) -> Campaign:
    def decided(current: Campaign | None) -> Campaign | None:
        assert current is not None
        assert current.reclaim is not None
        reclaim = decide(current.reclaim)
        return None if reclaim is None else replace(current, reclaim=reclaim)

    return table.change(CAMPAIGN, campaign, decided, command, BY)


def _batches(campaign: str) -> Iterator[str]:
    """Those whose recovery is still to be ordered: of many, a run that broke off is gone on with."""
    after: str | None = None
    while True:
        entries = table.query(keys.batches_of(campaign), limit=BATCHES_PER_READ, after=after)
        places = {keys.recovery(recovery_id(campaign, id)): id for id in (keys.batch_id(e["pk"]) for e in entries)}
        known = table.get_many(places)
        yield from (id for key, id in places.items() if key not in known)
        if len(entries) < BATCHES_PER_READ:
            return
        after = entries[-1]["gsi1sk"]


def _order(campaign: str, batch: str, now: int) -> None:
    """The recovery of a batch, which the stream brings a worker for. Raises Refusal `still_generating`."""
    order = Order(
        Selection(batch=batch), Action.RECLAIM, Scope.NOT_ACTIVATED, "campaign_over", None, None, Via.SCHEDULE
    )
    recovery, *_ = service.prepared(recovery_id(campaign, batch), fingerprint(asdict(order)), order, BY, now)

    def once(current: Recovery | None) -> Recovery | None:
        return recovery if current is None else None

    table.change(RECOVERY, None, once, "request_recovery", BY)
