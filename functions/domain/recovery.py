"""Recoveries (回收): a selection of vouchers is called back, and the last card of it is accounted for.

A recovery vetoes its range at once, waits for the fence (every redemption that had read a lot before the veto has
ended by then), surveys what was recovered and what was not, and, to reclaim, gives the range a new generation. `STEPS`
says which of these phases each action goes through.

A suspension can be lifted, by a `resume` that names it: the resume takes its vetoes over, which go on binding while it
is found out what they bind, and lifts them then. So two resumes of one suspension never lift, or tell, the same card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from functions.domain.actor import By
from functions.domain.authority import Approval
from functions.domain.lot import Lot, Scope, Segment, Status, Veto
from functions.domain.selection import Selection, Span
from functions.domain.voucher import SPARED, SUSPEND, Suspension, Voucher, binding, reclaimed

VETOES_MAX = 4
"""So many suspensions may stand on a segment or a voucher; each is read with every redemption."""


class Action(StrEnum):
    """`reclaim` puts vouchers back to stock under a new generation of codes; `void` ends them; `suspend` stops them
    until a `resume` lifts that suspension; `reissue` replaces those that somebody holds."""

    RECLAIM = "reclaim"
    VOID = "void"
    SUSPEND = "suspend"
    RESUME = "resume"
    REISSUE = "reissue"


class Phase(StrEnum):
    """What a recovery does next; a rejected one does nothing more."""

    APPROVAL = "approval"
    VETO = "veto"
    FENCE = "fence"
    SURVEY = "survey"
    RELEASE = "release"
    DONE = "done"
    REJECTED = "rejected"


STEPS: dict[Action, tuple[Phase, ...]] = {
    Action.RECLAIM: (Phase.VETO, Phase.FENCE, Phase.SURVEY, Phase.RELEASE, Phase.DONE),
    Action.VOID: (Phase.VETO, Phase.FENCE, Phase.SURVEY, Phase.DONE),
    Action.SUSPEND: (Phase.VETO, Phase.FENCE, Phase.SURVEY, Phase.DONE),
    Action.RESUME: (Phase.VETO, Phase.SURVEY, Phase.RELEASE, Phase.DONE),
    Action.REISSUE: (Phase.SURVEY, Phase.DONE),
}
"""The phases of each action, in order. What a resume lifts is bound already: it needs no fence. A reissue replaces
vouchers one by one as it comes to them, each in a transaction that excludes redemptions by condition."""
EFFECTIVE: dict[Action, Phase] = {
    Action.RECLAIM: Phase.VETO,
    Action.VOID: Phase.VETO,
    Action.SUSPEND: Phase.VETO,
    Action.RESUME: Phase.RELEASE,
    Action.REISSUE: Phase.SURVEY,
}
"""The phase after which all of it works."""


class Via(StrEnum):
    """By which way a recovery was ordered."""

    OPERATOR = "operator"
    PARTNER = "partner"
    SHOP_FILE = "shop_file"
    SUPPORT = "support"
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for: of which vouchers, what, and why. A resume names the recovery that it `lifts`, and may leave
    the selection to it. Of a `file` it is the digest; `channel` is the one that is said to be concerned."""

    selection: Selection | None
    action: Action
    scope: Scope
    reason: str
    note: str | None = None
    lifts: str | None = None
    via: Via = Via.OPERATOR
    file: str | None = None
    channel: str | None = None


class Skip(NamedTuple):
    """Indexes `first..last` of a lot that were left as they are, and why."""

    first: int
    last: int
    reason: str


class Named(NamedTuple):
    """A line of a file: the positions that it names, or why it names none."""

    number: int
    first: int = 0
    last: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Spans:
    """A part of what a recovery selects, of the request of this fingerprint. Written once."""

    recovery: str
    fingerprint: str
    number: int
    spans: tuple[Span, ...]
    version: int = 0


@dataclass(frozen=True, slots=True)
class Lines:
    """Some of the lines of a recovery's file, in order. Written once."""

    recovery: str
    fingerprint: str
    number: int
    lines: tuple[Named, ...]
    version: int = 0


class Value(NamedTuple):
    """What the selected vouchers were worth after the fence: what was left on those recovered and on those skipped,
    and what had been redeemed of them all by then, of how many vouchers."""

    recovered_minor: int = 0
    skipped_minor: int = 0
    redeemed_minor: int = 0
    redeemed: int = 0

    def plus(self, other: Value) -> Value:
        """Both together."""
        return Value(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


NOTHING = Value()


@dataclass(frozen=True, slots=True)
class Report:
    """What a recovery came to in one lot; written once."""

    recovery: str
    lot: int
    selected: int
    recovered: int
    skipped: tuple[Skip, ...] = ()
    currency: str = ""
    value: Value = NOTHING
    version: int = 0


@dataclass(frozen=True, slots=True)
class Recovered:
    """A voucher that somebody held or had begun to use when a recovery came to it; its holder of that generation is to
    be told."""

    recovery: str
    position: int
    action: Action
    reason: str
    generation: int = 1
    sandbox: bool = False
    version: int = 0


@dataclass(frozen=True, slots=True)
class Recovery:
    """The order and its progress; `lots_done`, `recovered`, `skipped` and `values` (by currency) grow in the survey.

    `approval` is what a second person is asked, where the requester may not do as much alone.
    `one_by_one`: single serials are voided or suspended on their own items, which exclude redemptions by condition.
    What came as a file of so many `lines` may name more than an item holds: then its spans lie in items of their own,
    and `parts` says of how many lots each is; `part` of them have gone through the present phase.
    `effective_at` is when all its codes were refused, or those of a resume good again. `channel` is the shop's or
    partner's that it concerns, where that is known.
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
    lifts: str | None = None
    via: Via = Via.OPERATOR
    values: dict[str, Value] = field(default_factory=dict)
    effective_at: int | None = None
    lines: int = 0
    parts: tuple[int, ...] = ()
    part: int = 0
    approval: Approval | None = None
    channel: str | None = None
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

    def command(self, name: str, part: int) -> str:
        """The range command that does a phase's work on the lots of a part."""
        return f"{self.id}.{name}.{part}" if self.parts else f"{self.id}.{name}"

    def gave(self, command: str | None) -> bool:
        """Whether a range command is one of its own that lay its veto."""
        return command is not None and f"{command}.".startswith(f"{self.id}.veto.")

    def next(self, now: int) -> Recovery:
        """The recovery in its next phase."""
        steps = STEPS[self.action]
        phase = steps[steps.index(self.phase) + 1]
        effective_at = now if self.phase is EFFECTIVE[self.action] else self.effective_at
        completed_at = now if phase is Phase.DONE else None
        return replace(self, phase=phase, part=0, effective_at=effective_at, completed_at=completed_at)

    def after(self, reports: Iterable[Report]) -> Recovery:
        """The recovery once the next lots are surveyed."""
        grown = self
        for report in reports:
            skipped, values = dict(grown.skipped), dict(grown.values)
            for skip in report.skipped:
                skipped[skip.reason] = skipped.get(skip.reason, 0) + skip.last - skip.first + 1
            if report.currency:
                values[report.currency] = values.get(report.currency, NOTHING).plus(report.value)
            grown = replace(
                grown,
                lots_done=grown.lots_done + 1,
                selected=grown.selected + report.selected,
                recovered=grown.recovered + report.recovered,
                skipped=skipped,
                values=values,
            )
        return grown


# What is done to a segment, or to a single voucher.


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
    if recovery.action is Action.SUSPEND and sum(v.action == SUSPEND for v in segment.vetoes) >= VETOES_MAX:
        return "suspension_limit_reached"
    veto = Veto(recovery.id, recovery.action.value, recovery.scope, segment.generation)
    return replace(segment, vetoes=(*segment.vetoes, veto))


def _standing(segment: Segment) -> tuple[Veto, ...]:
    """The vetoes that no reclaim has ended."""
    return tuple(veto for veto in segment.vetoes if veto.generation >= segment.generation)


def _final(vetoes: Iterable[Veto]) -> tuple[Veto, ...]:
    return tuple(veto for veto in vetoes if veto.action != SUSPEND)


def _leaves_nothing_to(recovery: Recovery, veto: Veto) -> bool:
    """Whether a recovery has nothing to add to a veto.

    Only a void may void what a narrower one has spared; a suspension adds to one that binds less than it would, and to
    another suspension, for each is lifted by itself.
    """
    if veto.action == SUSPEND:
        return False
    if recovery.action is Action.SUSPEND:
        return SPARED[veto.scope] <= SPARED[recovery.scope]
    narrower = SPARED[veto.scope] > SPARED[recovery.scope]
    return not (narrower and recovery.action is Action.VOID and veto.action == Action.VOID)


def touched(recovery: Recovery, segment: Segment, item: Voucher | None, fresh: Voucher) -> Voucher | str:
    """The same for a single voucher; what is reclaimed needs a generation, which only segments have."""
    if recovery.action is Action.RECLAIM:
        return "lot_fragmented"
    voucher = item or fresh
    reason = _bound(_final(_standing(segment)), voucher) or spared(recovery.scope, voucher)
    if reason is not None:
        return reason
    if recovery.action is Action.VOID:
        return replace(voucher, status=Status.VOID, suspension=None)
    return _suspended(recovery.id, voucher if item is not None else replace(fresh, valid_until=None))


def _suspended(recovery: str, voucher: Voucher) -> Voucher | str:
    known = voucher.suspension or Suspension(voucher.status, ())
    if recovery in known.recoveries:
        return voucher
    if len(known.recoveries) >= VETOES_MAX:
        return "suspension_limit_reached"
    return replace(voucher, status=Status.SUSPENDED, suspension=Suspension(known.was, (*known.recoveries, recovery)))


def _bound(vetoes: tuple[Veto, ...], voucher: Voucher) -> str | None:
    bound = binding(vetoes, voucher.unsuspended, voucher.generation)
    return "already_recovered" if bound is not None else None


def spared(scope: Scope, voucher: Voucher) -> str | None:
    """Why a touched voucher is left alone by a veto of this scope, or None where it is not."""
    return voucher.unsuspended.value if voucher.unsuspended in SPARED[scope] else None


def taken_over(recovery: Recovery, lot: Lot, segment: Segment) -> Segment | str:
    """The segment with the suspension that a resume is to lift as the resume's own, by which it goes on binding."""
    if not any(_is_lifted(recovery, veto) for veto in segment.vetoes):
        return "not_suspended"
    vetoes = (v._replace(recovery=recovery.id) if _is_lifted(recovery, v) else v for v in segment.vetoes)
    return replace(segment, vetoes=tuple(vetoes))


def _is_lifted(recovery: Recovery, veto: Veto) -> bool:
    return veto.action == SUSPEND and veto.recovery == recovery.lifts


def taken_over_by_itself(recovery: Recovery, segment: Segment, voucher: Voucher) -> Voucher | None:
    """The same for a voucher that is suspended by itself; None where that suspension does not say so."""
    known = voucher.suspension
    if known is None or recovery.id in known.recoveries:
        return voucher if known else None
    if recovery.lifts not in known.recoveries:
        return None
    recoveries = tuple(recovery.id if each == recovery.lifts else each for each in known.recoveries)
    return replace(voucher, suspension=known._replace(recoveries=recoveries))


def released(recovery: Recovery, lot: Lot, segment: Segment) -> Segment | str:
    """The segment free again: a new generation, back to `generated`. Its veto goes on binding what is older."""
    own = [v for v in segment.vetoes if v.recovery == recovery.id and v.generation == segment.generation]
    return freed(lot, segment) if own else "not_vetoed"


def freed(lot: Lot, segment: Segment) -> Segment:
    """The segment in the next generation, in stock and held by nobody."""
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
    """The newest veto of each scope, which binds all that an older one binds, and each that alone knows of an end.

    A suspension stays as long as it may bind something that no final veto binds.
    """
    final = sorted(_final(vetoes), key=lambda v: v.generation)
    kept = {(v.scope, v.ends and v.generation): v for v in final}
    over = {(v.recovery, v.generation) for v in vetoes if v.action == SUSPEND and _is_outdone(v, final)}
    return (*kept.values(), *(v for v in vetoes if v.action == SUSPEND and (v.recovery, v.generation) not in over))


def _is_outdone(suspension: Veto, final: Iterable[Veto]) -> bool:
    return any(v.generation >= suspension.generation and SPARED[v.scope] <= SPARED[suspension.scope] for v in final)


def lifted(recovery: Recovery, lot: Lot, segment: Segment) -> Segment | str:
    """The segment without what a resume has taken over."""
    left = tuple(veto for veto in segment.vetoes if veto.recovery != recovery.id)
    return "not_suspended" if left == segment.vetoes else replace(segment, vetoes=left)


def lifted_by_itself(recovery: Recovery, segment: Segment, voucher: Voucher) -> Voucher | None:
    """The same for a voucher that is suspended by itself: what it was before, once no other suspension is left."""
    known = voucher.suspension
    if known is None or recovery.id not in known.recoveries:
        return None
    left = tuple(each for each in known.recoveries if each != recovery.id)
    if left:
        return replace(voucher, suspension=known._replace(recoveries=left))
    return replace(voucher, status=known.was, suspension=None)


def goes_on_stopped(recovery: Recovery, lot: Lot, segment: Segment, voucher: Voucher) -> bool:
    """Whether a voucher cannot be used after a resume either, for something else that binds it."""
    left = lifted_by_itself(recovery, segment, voucher) or voucher
    freed = lifted(recovery, lot, segment)
    vetoes = segment.vetoes if isinstance(freed, str) else freed.vetoes
    return left.suspension is not None or binding(vetoes, left.unsuspended, left.generation) is not None


def may_be_recovered(recovery: Recovery, lot: Lot, segment: Segment) -> bool:
    """Whether a recovery comes to anything in a segment, as far as it tells: not what each voucher has of its own."""
    by_item = recovery.action in (Action.RESUME, Action.REISSUE)
    return by_item or not isinstance(vetoed(recovery, lot, segment), str)


def already_bound(segment: Segment, voucher: Voucher) -> str | None:
    """Why a voucher is left to the recovery that was there before, or None."""
    return _bound(_final(_standing(segment)), voucher)


# What came of it.


class _Fate(NamedTuple):
    """What became of indexes `first..last`, that were alike; `reason` is None where they were recovered."""

    first: int
    last: int
    reason: str | None
    voucher: Voucher | None = None

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    @property
    def is_kept(self) -> bool:
        return self.voucher is not None and self.reason is not None


NONE_KEPT: Mapping[int, str] = MappingProxyType({})
Holds = Callable[[str | None], bool]
"""Whether what a channel holds is within reach of who recovers."""


def surveyed(
    recovery: Recovery,
    lot: Lot,
    ranges: list[tuple[int, int]],
    items: dict[int, Voucher],
    holds: Holds = lambda _: True,
    kept: Mapping[int, str] = NONE_KEPT,
) -> Report:
    """What the recovery came to in a lot after the fence: every index is either recovered or skipped for a reason.

    `kept` are the vouchers that a reissue has left, with the reason that it found; another runner may have replaced
    them since.
    """
    fates = [fate for first, last in ranges for fate in _fates(recovery, lot, first, last, items, holds)]
    fates = [fate._replace(reason=kept.get(fate.first, fate.reason)) if fate.is_kept else fate for fate in fates]
    recovered = sum(fate.size for fate in fates if fate.reason is None)
    value = NOTHING
    for fate in fates:
        value = value.plus(_value(fate, lot.rules.amount_minor))
    selected = sum(fate.size for fate in fates)
    currency = lot.rules.currency if any(fate.reason != "unknown" for fate in fates) else ""
    return Report(recovery.id, lot.number, selected, recovered, _skips(fates), currency, value)


def all_unknown(recovery: Recovery, lot: int, ranges: list[tuple[int, int]]) -> Report:
    """The report of a lot that was never generated."""
    skips = tuple(Skip(first, last, "unknown") for first, last in ranges)
    return Report(recovery.id, lot, sum(skip.last - skip.first + 1 for skip in skips), 0, skips)


def _value(fate: _Fate, face_minor: int) -> Value:
    if fate.reason == "unknown":
        return NOTHING
    left = face_minor * fate.size if fate.voucher is None else fate.voucher.balance_minor
    if fate.reason is None and fate.voucher is not None and fate.voucher.reissue is not None:
        left = fate.voucher.reissue.amount_minor
    used = _used(fate.voucher) if fate.voucher is not None else 0
    recovered = fate.reason is None
    return Value(left if recovered else 0, 0 if recovered else left, used, int(used > 0))


def _used(voucher: Voucher) -> int:
    ours = (r for r in voucher.redemptions.values() if r.generation == voucher.generation and r.reversal is None)
    return sum(redemption.amount_minor for redemption in ours)


def _skips(fates: Iterable[_Fate]) -> tuple[Skip, ...]:
    """What was skipped, neighbours of one reason together."""
    skips: list[Skip] = []
    for first, last, reason, _ in fates:
        if reason is None:
            continue
        if skips and skips[-1].last + 1 == first and skips[-1].reason == reason:
            first = skips.pop().first
        skips.append(Skip(first, last, reason))
    return tuple(skips)


def _fates(
    recovery: Recovery, lot: Lot, first: int, last: int, items: dict[int, Voucher], holds: Holds
) -> Iterator[_Fate]:
    at = first
    for segment in lot.segments:
        low, high = max(first, segment.first), min(last, segment.last)
        if low > high:
            continue
        if at < low:
            yield _Fate(at, low - 1, "unknown")
        yield from _fates_in(recovery, lot, segment, low, high, items, within_reach=holds(segment.channel))
        at = high + 1
    if at <= last:
        yield _Fate(at, last, "unknown")


def _fates_in(
    recovery: Recovery,
    lot: Lot,
    segment: Segment,
    low: int,
    high: int,
    items: dict[int, Voucher],
    *,
    within_reach: bool,
) -> Iterator[_Fate]:
    """Those of one segment's share."""
    own = next((n for n, veto in enumerate(segment.vetoes) if veto.recovery == recovery.id), None)
    why = _without_item(recovery, lot, segment, own) if within_reach or own is not None else "unknown"
    at = low
    for index, voucher in sorted(items.items()):
        if not low <= index <= high or reclaimed(segment, voucher):
            continue
        if at < index:
            yield _Fate(at, index - 1, why)
        yield _Fate(index, index, _with_item(recovery, segment, own, voucher, why), voucher)
        at = index + 1
    if at <= high:
        yield _Fate(at, high, why)


def _others(recovery: Recovery, segment: Segment, own: int | None) -> tuple[Veto, ...]:
    """The final vetoes that leave nothing to this recovery: those before its own, or all where it is to resume."""
    end = None if recovery.action is Action.RESUME else own
    return _final(veto for veto in segment.vetoes[:end] if veto.generation >= segment.generation)


def _without_item(recovery: Recovery, lot: Lot, segment: Segment, own: int | None) -> str | None:
    """Why vouchers of a segment that have no items are skipped, None where they are recovered."""
    if recovery.action is Action.REISSUE:
        return "not_held"
    if own is None:
        change = taken_over if recovery.action is Action.RESUME else vetoed
        outcome = change(recovery, lot, segment)
        return outcome if isinstance(outcome, str) else _as_done(recovery, lot)
    if binding(_others(recovery, segment, own), segment.status, segment.generation) is not None:
        return "already_recovered"
    return "not_suspended" if segment.vetoes[own].generation < segment.generation else None


def _as_done(recovery: Recovery, lot: Lot) -> str:
    """Why a segment does not bear this recovery's veto, as its command has left word, for it could bear it by now."""
    reasons = {reason for done in lot.commands if recovery.gave(done.command) for reason in done.skipped}
    return reasons.pop() if len(reasons) == 1 else "lot_fragmented"


def _with_item(recovery: Recovery, segment: Segment, own: int | None, voucher: Voucher, why: str | None) -> str | None:
    """The same for a voucher that has an item; `why` is what holds for its neighbours without."""
    if _is_own(recovery, voucher):
        return _bound(_others(recovery, segment, own), voucher) if recovery.action is Action.RESUME else None
    if why == "unknown":
        return why
    veto = segment.vetoes[own] if own is not None else None
    reason = spared(veto.scope if veto is not None else recovery.scope, voucher)
    reason = reason or _bound(_others(recovery, segment, own), voucher)
    if reason is not None:
        return reason
    if veto is None:
        return voucher.unsuspended.value if why == "already_recovered" else why
    return "not_suspended" if voucher.generation > veto.generation else None


def _is_own(recovery: Recovery, voucher: Voucher) -> bool:
    """Whether the recovery came to the voucher by its own item."""
    if recovery.action is Action.REISSUE:
        return voucher.reissue is not None and voucher.reissue.recovery == recovery.id
    if recovery.action is Action.VOID:
        return voucher.status is Status.VOID and recovery.gave(voucher.command)
    return voucher.suspension is not None and recovery.id in voucher.suspension.recoveries
