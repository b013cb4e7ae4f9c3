"""A range command: one order about many vouchers, done lot by lot."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from functions.domain.actor import By
from functions.domain.lot import Done
from functions.domain.sale import Sale
from functions.domain.selection import Span


class Piece(NamedTuple):
    """Positions `first..last` that were skipped, and why."""

    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class Command:
    """Written before the first lot is touched; `lots_done` lots from the start are known to be done.

    A distribution goes `to` a channel, or back to stock without it, from who holds the vouchers by now (`source`), or
    out of stock without it. `quantity` is what was asked for where the vouchers were picked. An extension has a new end
    (`valid_until`), or a number of `days` to be added.
    What came as a file is answered line by line (`by_line`), and so keeps what was skipped piece by piece (`skips`).
    """

    id: str
    kind: str
    fingerprint: str
    spans: tuple[Span, ...]
    lots: int
    by: By
    created_at: int
    status: str = "in_progress"
    lots_done: int = 0
    changed: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    completed_at: int | None = None
    to: str | None = None
    source: str | None = None
    quantity: int | None = None
    valid_until: int | None = None
    days: int | None = None
    sale: Sale | None = None
    by_line: bool = False
    skips: tuple[Piece, ...] = ()
    version: int = 0

    def after(self, done: list[Done], now: int, skips: tuple[Piece, ...] = ()) -> Command:
        """The command once the next lots are done."""
        skipped = dict(self.skipped)
        for reason, count in ((r, c) for d in done for r, c in d.skipped.items()):
            skipped[reason] = skipped.get(reason, 0) + count
        lots_done = self.lots_done + len(done)
        completed = lots_done == self.lots
        return replace(
            self,
            lots_done=lots_done,
            changed=self.changed + sum(d.changed for d in done),
            skipped=skipped,
            skips=(*self.skips, *skips),
            status="completed" if completed else "in_progress",
            completed_at=now if completed else None,
        )


@dataclass(frozen=True, slots=True)
class Reveal:
    """Who was shown which codes, and why; written before they are shown. `sandbox` where all of them are of it."""

    id: str
    serials: tuple[str, ...]
    reason: str
    by: By
    created_at: int
    sandbox: bool = False
    version: int = 0
