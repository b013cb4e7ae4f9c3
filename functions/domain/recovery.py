"""Recoveries (回收): a selection of vouchers is called back, and the last card of it is accounted for.

A recovery vetoes its range at once, waits for the fence (every redemption that had read a lot before the veto has
ended by then), surveys what was recovered and what was not, and, to reclaim, gives the range a new generation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from functions.domain.actor import By
from functions.domain.authority import Approval
from functions.domain.lot import Lot, Scope, Segment, Status, Veto
from functions.domain.selection import Span
from functions.domain.voucher import SPARED, Voucher, binding, reclaimed


class Action(StrEnum):
    """`reclaim` puts vouchers back to stock under a new generation of codes; `void` ends them."""

    RECLAIM = "reclaim"
    VOID = "void"


class Phase(StrEnum):
    """What a recovery does next; a rejected one does nothing more."""

    APPROVAL = "approval"
    VETO = "veto"
    FENCE = "fence"
    SURVEY = "survey"
    RELEASE = "release"
    DONE = "done"
    REJECTED = "rejected"


class Skip(NamedTuple):
    """Indexes `first..last` of a lot that were left as they are, and why."""

    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a recovery came to in one lot; written once."""

    recovery: str
    lot: int
    selected: int
    recovered: int
    skipped: tuple[Skip, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class Recovered:
    """A voucher that somebody held or had begun to use when a recovery ended it; its holder is to be told."""

    recovery: str
    position: int
    action: Action
    reason: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class Recovery:
    """The order and its progress; `lots_done`, `recovered` and `skipped` grow during the survey.

    `approval` is what a second person is asked, where the requester may not do as much alone.
    `one_by_one`: single serials are voided on their own items, which exclude redemptions by condition.
    """

    id: str
    fingerprint: str
    spans: tuple[Span, ...]
    action: Action
    scope: Scope
    reason: str
    note: str | None
    lots: int
    by: By
    created_at: int
    one_by_one: bool = False
    phase: Phase = Phase.VETO
    fence_until: int | None = None
    lots_done: int = 0
    selected: int = 0
    recovered: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    completed_at: int | None = None
    approval: Approval | None = None
    version: int = 0

    @property
    def started_at(self) -> int:
        """Since when it may go on: since it was asked for, or approved."""
        decision = self.approval.decision if self.approval is not None else None
        return decision.at if decision is not None else self.created_at

    def status(self, now: int) -> str:
        """`awaiting_approval`, `expired`, `rejected`, `in_progress` or `completed`."""
        if self.approval is not None and self.phase in (Phase.APPROVAL, Phase.REJECTED):
            return self.approval.status(now)
        return "completed" if self.phase is Phase.DONE else "in_progress"

    @property
    def veto_command(self) -> str:
        """The range command that lays the veto on each lot."""
        return f"{self.id}.veto"

    @property
    def release_command(self) -> str:
        """The range command that frees each lot again."""
        return f"{self.id}.release"

    def after(self, reports: Iterable[Report]) -> Recovery:
        """The recovery once the next lots are surveyed."""
        grown = self
        for report in reports:
            skipped = dict(grown.skipped)
            for skip in report.skipped:
                skipped[skip.reason] = skipped.get(skip.reason, 0) + skip.last - skip.first + 1
            grown = replace(
                grown,
                lots_done=grown.lots_done + 1,
                selected=grown.selected + report.selected,
                recovered=grown.recovered + report.recovered,
                skipped=skipped,
            )
        return grown


def vetoed(recovery: Recovery, lot: Lot, segment: Segment) -> Segment | str:
    """The segment under the recovery's veto, or why it stays as it is.

    Imported codes cannot be renewed: what was shown once would be handed out a second time.
    """
    if recovery.action is Action.RECLAIM and not lot.rules.format.derived:
        return "imported"
    if any(_leaves_nothing_to(recovery, veto) for veto in _standing(segment)):
        return "already_recovered"
    if recovery.scope is Scope.NOT_ACTIVATED and segment.status is Status.ACTIVE:
        return "activated"
    veto = Veto(recovery.id, recovery.action.value, recovery.scope, segment.generation)
    return replace(segment, vetoes=(*segment.vetoes, veto))


def _standing(segment: Segment) -> tuple[Veto, ...]:
    """The vetoes that no reclaim has ended."""
    return tuple(veto for veto in segment.vetoes if veto.generation >= segment.generation)


def _leaves_nothing_to(recovery: Recovery, veto: Veto) -> bool:
    """Whether a recovery has nothing to add to a veto: only a void may void what a narrower one has spared."""
    narrower = SPARED[veto.scope] > SPARED[recovery.scope]
    return not (narrower and recovery.action is Action.VOID and veto.action == Action.VOID)


def voided(recovery: Recovery, segment: Segment, item: Voucher | None, fresh: Voucher) -> Voucher | str:
    """The same for a single voucher where its lot cannot be split any further; only a void can be said there."""
    if recovery.action is not Action.VOID:
        return "lot_fragmented"
    voucher = item or fresh
    reason = _bound(_standing(segment), voucher) or spared(recovery.scope, voucher)
    return replace(voucher, status=Status.VOID) if reason is None else reason


def _bound(vetoes: tuple[Veto, ...], voucher: Voucher) -> str | None:
    return "already_recovered" if binding(vetoes, voucher.status, voucher.generation) is not None else None


def spared(scope: Scope, voucher: Voucher) -> str | None:
    """Why a touched voucher is left alone by a veto of this scope, or None where it is not."""
    return voucher.status.value if voucher.status in SPARED[scope] else None


def released(recovery: Recovery, lot: Lot, segment: Segment) -> Segment | str:
    """The segment free again: a new generation, back to `generated`. Its veto goes on binding what is older."""
    own = [v for v in segment.vetoes if v.recovery == recovery.id and v.generation == segment.generation]
    if not own:
        return "not_vetoed"
    relative = lot.rules.valid_days_after_activation is not None
    return replace(
        segment,
        status=Status.GENERATED,
        generation=segment.generation + 1,
        channel=None,
        valid_until=None if relative else segment.valid_until,
        vetoes=_pruned(_dated(segment) if relative else segment.vetoes),
        sold=False,
    )


def _dated(segment: Segment) -> tuple[Veto, ...]:
    """The segment's vetoes, those of its generation with the end that its spared vouchers keep."""
    ends, generation = segment.valid_until, segment.generation
    return tuple(v._replace(ends=ends) if v.generation == generation else v for v in segment.vetoes)


def _pruned(vetoes: tuple[Veto, ...]) -> tuple[Veto, ...]:
    """The newest veto of each scope, which binds all that an older one binds, and each that alone knows of an end."""
    kept = {(v.scope, v.ends and v.generation): v for v in sorted(vetoes, key=lambda v: v.generation)}
    return tuple(kept.values())


def surveyed(recovery: Recovery, lot: Lot, ranges: list[tuple[int, int]], touched: dict[int, Voucher]) -> Report:
    """What the recovery came to in a lot after the fence: every index is either recovered or skipped for a reason."""
    skips: list[Skip] = []
    selected = 0
    for first, last in ranges:
        selected += last - first + 1
        for segment in lot.segments:
            low, high = max(first, segment.first), min(last, segment.last)
            if low <= high:
                skips += _skips(recovery, lot, segment, low, high, touched)
    skipped = sum(skip.last - skip.first + 1 for skip in skips)
    missing = selected - sum(_overlap(segment, ranges) for segment in lot.segments)
    return Report(recovery.id, lot.number, selected - missing, selected - missing - skipped, tuple(skips))


def _overlap(segment: Segment, ranges: list[tuple[int, int]]) -> int:
    return sum(max(0, min(last, segment.last) - max(first, segment.first) + 1) for first, last in ranges)


def _skips(
    recovery: Recovery, lot: Lot, segment: Segment, low: int, high: int, touched: dict[int, Voucher]
) -> list[Skip]:
    """The skips of one segment's share, neighbours of one reason together."""
    own = next((n for n, veto in enumerate(segment.vetoes) if veto.recovery == recovery.id), None)
    earlier = tuple(veto for veto in segment.vetoes[:own] if veto.generation >= segment.generation)
    why = "already_recovered" if earlier else None if own is not None else _without(vetoed(recovery, lot, segment))
    reasons: dict[int, str | None] = {}
    for index, voucher in touched.items():
        if not low <= index <= high or reclaimed(segment, voucher):
            continue
        reason = spared(recovery.scope, voucher) or _bound(earlier, voucher)
        if reason is None and own is None:
            reason = voucher.status.value if why == "already_recovered" else why
        reasons[index] = None if voucher.command == recovery.veto_command else reason
    result: list[Skip] = []

    def skip(first: int, last: int, reason: str | None) -> None:
        if reason is None or first > last:
            return
        if result and result[-1].last + 1 == first and result[-1].reason == reason:
            result[-1] = Skip(result[-1].first, last, reason)
        else:
            result.append(Skip(first, last, reason))

    at = low
    for index in sorted(reasons):
        skip(at, index - 1, why)
        skip(index, index, reasons[index])
        at = index + 1
    skip(at, high, why)
    return result


def _without(outcome: Segment | str) -> str:
    """Why a segment does not bear this recovery's veto."""
    return outcome if isinstance(outcome, str) else "lot_fragmented"
