"""The reclaim after a campaign's end (到期回收): what is not activated goes back to stock, once, if nobody stops it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from functions.domain.errors import Refusal
from functions.domain.ids import derived
from functions.domain.voucher import DAY_S

DAYS_MAX = 365
NOTICE_S = 7 * DAY_S
"""So long before it is due it is announced."""
NOTICE_MIN_S = DAY_S
"""So long must it have been announced in any case, also where the clock has stood still."""


@dataclass(frozen=True, slots=True)
class Reclaim:
    """What a campaign has in store: so many `days` after its end. `ordered_at` is when the last batch's was ordered."""

    days: int
    due_at: int
    announced_at: int | None = None
    started_at: int | None = None
    ordered_at: int | None = None
    stopped_at: int | None = None

    @property
    def begins_at(self) -> int:
        """When it begins, as far as is known."""
        return self.due_at if self.announced_at is None else max(self.due_at, self.announced_at + NOTICE_MIN_S)

    @property
    def next_at(self) -> int | None:
        """When there is something to do for it, None where there never is again."""
        if self.stopped_at is not None or self.ordered_at is not None:
            return None
        if self.announced_at is None:
            return self.due_at - NOTICE_S
        return self.begins_at if self.started_at is None else self.started_at

    @property
    def status(self) -> str:
        """`scheduled`, `announced`, `started` or `stopped`."""
        if self.stopped_at is not None:
            return "stopped"
        if self.started_at is not None:
            return "started"
        return "scheduled" if self.announced_at is None else "announced"

    def announced(self, now: int) -> Reclaim | None:
        """Announced, None where that is not to be done."""
        due = self.announced_at is None and self.stopped_at is None and now >= self.due_at - NOTICE_S
        return replace(self, announced_at=now) if due else None

    def started(self, now: int) -> Reclaim | None:
        """Begun, None where that is not to be done."""
        waits = self.started_at is None and self.stopped_at is None and self.announced_at is not None
        return replace(self, started_at=now) if waits and now >= self.begins_at else None

    def ordered(self, now: int) -> Reclaim | None:
        """Done with, None where it was before."""
        return replace(self, ordered_at=now) if self.ordered_at is None else None

    def stopped(self, now: int) -> Reclaim | None:
        """Stopped, None where it was before. Raises Refusal `reclaim_started`."""
        if self.started_at is not None:
            raise Refusal("reclaim_started", "What it takes back can be handed out again, but not left where it was.")
        return replace(self, stopped_at=now) if self.stopped_at is None else None


def scheduled(ends: int, days: int) -> Reclaim:
    """What a campaign that ends then has in store."""
    return Reclaim(days, ends + days * DAY_S)


def recovery_id(campaign: str, batch: str) -> str:
    """The recovery of a batch; there is one, however often it is ordered."""
    return f"rec_{derived('reclaim', campaign, batch)}"
