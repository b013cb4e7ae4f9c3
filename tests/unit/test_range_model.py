"""Any sequence of range commands on a lot against a plain model that holds each of its 10,000 vouchers by itself.

The model knows no segments: it says of one voucher at a time what a command makes of it. What the lot's segments say
must be the same, voucher by voucher, after each command, and so must what it counts; the segments stay sorted, disjoint
and merged, and what would cut the lot too far is refused or goes to single vouchers before anything is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, pairwise
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from functions.domain.actor import By
from functions.domain.channel import activated, distributed, held_by, picked
from functions.domain.command import Command
from functions.domain.extension import extended
from functions.domain.lot import Lot, Part, Rules, Scope, Segment
from functions.domain.recovery import Action, Recovery, released, vetoed
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import DAY_S
from functions.store import ranges

NOW = 1_800_000_000
BY = By("c", "operator", "operator", "192.0.2.1", "r")
NUMBER = 100_000
CHANNELS = (None, "chn_1", "chn_2")
SEGMENTS_MAX = 8
"""Few, so that lots are full soon."""


class Veto(NamedTuple):
    """A recovery's word on a voucher and what is older."""

    recovery: str
    void: bool
    spares_active: bool
    generation: int


@dataclass(frozen=True, slots=True)
class Card:
    """One voucher that nothing happened to by itself."""

    status: str = "generated"
    channel: str | None = None
    until: int | None = None
    generation: int = 1
    vetoes: tuple[Veto, ...] = ()

    @property
    def recalled(self) -> bool:
        return any(not (veto.spares_active and self.status == "active") for veto in self.standing)

    @property
    def standing(self) -> list[Veto]:
        """Those that no reclaim has ended."""
        return [veto for veto in self.vetoes if veto.generation >= self.generation]


Outcome = Card | str


def activate(now: int, days: int | None, card: Card) -> Outcome:
    if card.recalled:
        return "recalled"
    if card.status == "active":
        return "already_active"
    if card.until is not None and card.until <= now:
        return "expired"
    return replace(card, status="active", until=card.until if days is None else now + days * DAY_S)


def distribute(now: int, source: str | None, to: str | None, card: Card) -> Outcome:
    if card.recalled:
        return "recalled"
    if card.status == "active":
        return "active"
    if card.channel != source:
        return "not_held" if card.channel is None else "already_held" if card.channel == to else "held"
    if to is None:
        return replace(card, status="generated", channel=None)
    if card.until is not None and card.until <= now:
        return "expired"
    return replace(card, status="distributed", channel=to)


def extend(until: int | None, days: int, card: Card) -> Outcome:
    if card.recalled:
        return "recalled"
    if card.until is None:
        return "no_end"
    later = until if until is not None else card.until + days * DAY_S
    return replace(card, until=later) if later > card.until else "not_longer"


def recall(id: str, void: bool, spares_active: bool, card: Card) -> Outcome:
    """Only a void of all may follow a void that spared what was active."""
    if any(not (veto.void and void and veto.spares_active and not spares_active) for veto in card.standing):
        return "already_recovered"
    if spares_active and card.status == "active":
        return "activated"
    return replace(card, vetoes=(*card.vetoes, Veto(id, void, spares_active, card.generation)))


def release(id: str, days: int | None, card: Card) -> Outcome:
    if not any(veto.recovery == id and veto.generation == card.generation for veto in card.vetoes):
        return "not_vetoed"
    newest = {veto.spares_active: veto for veto in sorted(card.vetoes, key=lambda veto: veto.generation)}
    return Card("generated", None, None if days else card.until, card.generation + 1, tuple(newest.values()))


def card_of(segment: Segment) -> Card:
    vetoes = tuple(
        Veto(v.recovery, v.action == "void", v.scope is Scope.NOT_ACTIVATED, v.generation) for v in segment.vetoes
    )
    return Card(segment.status.value, segment.channel, segment.valid_until, segment.generation, vetoes)


indexes = st.one_of(st.integers(0, LOT_SIZE - 1), st.integers(0, 30).map(lambda n: n * 333))
spans = st.tuples(indexes, indexes).map(lambda ends: (min(ends), max(ends)))


@st.composite
def range_lists(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Sorted, disjoint index ranges with gaps; mostly one."""
    taken: list[tuple[int, int]] = []
    for first, last in sorted(draw(st.lists(spans, min_size=1, max_size=3))):
        if not taken or taken[-1][1] + 1 < first:
            taken.append((first, last))
    return taken


class Machine(RuleBasedStateMachine):
    """A lot of one campaign, filled by up to four batches, as the store would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.orders = NOW, 0
        self.recoveries: list[tuple[Recovery, list[tuple[int, int]]]] = []
        """With what each is about."""

    @initialize(
        days=st.sampled_from([None, 3]),
        until=st.sampled_from([None, NOW + 2 * DAY_S, NOW + 40 * DAY_S]),
        cuts=st.lists(st.integers(1, LOT_SIZE - 1), max_size=3, unique=True),
    )
    def begin(self, days: int | None, until: int | None, cuts: list[int]) -> None:
        self.days, self.until = days, until if days is None else None
        rules = Rules("cmp_1", "recharge", 5_000, "CNY", "single", "crockford16", days)
        self.lot = Lot(NUMBER, rules, (), ())
        self.cards: list[Card | None] = [None] * LOT_SIZE
        ends = [*sorted(cuts), LOT_SIZE]
        self.parts = [(first, last - 1) for first, last in pairwise([0, *ends])]
        self.generate()

    @rule()
    def generate(self) -> None:
        """The next batch takes its share."""
        if self.parts:
            first, last = self.parts.pop(0)
            part = Part(f"bat_{first}", first, last, b"k")
            self.lot = self.lot.with_part(part, Segment(first, last, valid_until=self.until))
            self.cards[first : last + 1] = [Card(until=self.until)] * (last - first + 1)

    @rule(hours=st.sampled_from([1, 30]))
    def wait(self, hours: int) -> None:
        self.now += hours * 3_600

    def command(self, kind: str, **terms: object) -> Command:
        self.orders += 1
        return Command(f"{kind}_{self.orders}", kind, "f", (), 1, BY, self.now, **terms)  # type: ignore[arg-type]

    def order(
        self,
        wanted: list[tuple[int, int]],
        change: Callable[[Lot, Segment], Segment | str],
        model: Callable[[Card], Outcome],
    ) -> None:
        """The command on the lot as the store does it, and on every card."""
        counted = Counter[str]()
        before, changed = self.cards, 0
        outcomes: dict[Card | None, Outcome] = {card: model(card) if card else "unknown" for card in set(before)}
        after = list(before)
        for first, last in wanted:
            for index in range(first, last + 1):
                outcome = outcomes[before[index]]
                if isinstance(outcome, str):
                    counted[outcome] += 1
                else:
                    after[index] = outcome
                    changed += 1
        segments, done = ranges.applied("c", self.lot, wanted, change)
        assert (done.changed, done.skipped) == (changed, dict(counted))
        if not ranges.fits(self.lot, segments, SEGMENTS_MAX):
            assert runs(after) > max(SEGMENTS_MAX, runs(before))
            return  # refused, before anything was written
        assert runs(after) <= max(SEGMENTS_MAX, runs(before))
        self.lot, self.cards = replace(self.lot, segments=segments, version=self.lot.version + 1), after

    @rule(wanted=range_lists())
    def activate(self, wanted: list[tuple[int, int]]) -> None:
        command = self.command("activate")
        self.order(wanted, partial(activated, command), partial(activate, self.now, self.days))

    @rule(wanted=range_lists(), ends=st.sampled_from([(a, b) for a in CHANNELS for b in CHANNELS if a != b]))
    def distribute(self, wanted: list[tuple[int, int]], ends: tuple[str | None, str | None]) -> None:
        """Out of stock, from one channel to another, or back."""
        source, to = ends
        command = self.command("distribute", source=source, to=to)
        self.order(wanted, partial(distributed, command), partial(distribute, self.now, source, to))

    @rule(quantity=st.integers(1, LOT_SIZE), within=spans, to=st.sampled_from(CHANNELS[1:]))
    def pick(self, quantity: int, within: tuple[int, int], to: str) -> None:
        """n of a batch: the first that can be had; all of them where the lot may be cut so."""
        command = self.command("distribute", to=to)
        found = list(picked(command, self.lot, *within, quantity))
        start = NUMBER * LOT_SIZE
        wanted = [(span.first - start, span.last - start) for span in found]
        free = [
            index
            for index in range(within[0], within[1] + 1)
            if (card := self.cards[index]) and not isinstance(distribute(self.now, None, to, card), str)
        ]
        taken = [index for first, last in wanted for index in range(first, last + 1)]
        if runs(self.cards) + 2 * len(self.lot.segments) <= SEGMENTS_MAX:
            assert taken == free[:quantity]
        assert set(taken) <= set(free)
        assert taken == sorted(taken)
        assert len(taken) <= quantity
        segments, done = ranges.applied("c", self.lot, wanted, partial(distributed, command))
        assert (done.changed, done.skipped) == (len(taken), {})
        assert ranges.fits(self.lot, segments, SEGMENTS_MAX)
        self.order(wanted, partial(distributed, command), partial(distribute, self.now, None, to))

    @rule(wanted=range_lists(), days=st.integers(1, 5), until=st.sampled_from([None, NOW + 10 * DAY_S, NOW + DAY_S]))
    def extend(self, wanted: list[tuple[int, int]], days: int, until: int | None) -> None:
        command = self.command("extend", valid_until=until, days=None if until else days)
        self.order(wanted, partial(extended, command), partial(extend, until, days))

    @rule(
        wanted=range_lists(),
        scope=st.sampled_from([Scope.ALL, Scope.NOT_ACTIVATED]),
        reclaim=st.booleans(),
        at_once=st.booleans(),
    )
    def recall(self, wanted: list[tuple[int, int]], scope: Scope, reclaim: bool, at_once: bool) -> None:
        id = f"rec_{len(self.recoveries)}"
        action = Action.RECLAIM if reclaim else Action.VOID
        recovery = Recovery(id, "f", (), action, scope, "stolen", None, 1, BY, self.now)
        self.recoveries.append((recovery, wanted))
        spares_active = scope is Scope.NOT_ACTIVATED
        self.order(wanted, partial(vetoed, recovery), partial(recall, id, not reclaim, spares_active))
        if reclaim and at_once:
            self.order(wanted, partial(released, recovery), partial(release, recovery.id, self.days))

    @precondition(lambda self: any(recovery.action is Action.RECLAIM for recovery, _ in self.recoveries))
    @rule(which=st.integers(0, 20), elsewhere=st.none() | range_lists())
    def release(self, which: int, elsewhere: list[tuple[int, int]] | None) -> None:
        """The end of a reclaim: its range is stock again, under a new generation."""
        reclaims = [each for each in self.recoveries if each[0].action is Action.RECLAIM]
        recovery, wanted = reclaims[which % len(reclaims)]
        self.order(elsewhere or wanted, partial(released, recovery), partial(release, recovery.id, self.days))

    @invariant()
    def every_card_is_as_it_should_be(self) -> None:
        said: list[Card | None] = [None] * LOT_SIZE
        for segment in self.lot.segments:
            assert 0 <= segment.first <= segment.last < LOT_SIZE
            assert said[segment.first : segment.last + 1] == [None] * len(segment), "disjoint"
            said[segment.first : segment.last + 1] = [card_of(segment)] * len(segment)
        assert said == self.cards

    @invariant()
    def segments_are_in_order_and_as_few_as_can_be(self) -> None:
        for one, other in pairwise(self.lot.segments):
            assert one.last < other.first
            assert one.last + 1 < other.first or card_of(one) != card_of(other)
        assert len(self.lot.segments) == runs(self.cards)

    @invariant()
    def what_a_channel_holds_is_what_its_cards_say(self) -> None:
        for channel in CHANNELS[1:]:
            held = [index for first, last in held_by(channel, self.lot) for index in range(first, last + 1)]
            assert held == [index for index, card in enumerate(self.cards) if card and card.channel == channel]


def runs(cards: list[Card | None]) -> int:
    """How many stretches of alike neighbours, gaps not counted."""
    return sum(card is not None for card, _ in groupby(cards))


def test_any_sequence_of_range_commands_equals_a_model_of_each_voucher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.domain.channel.SEGMENTS_HELD_MAX", SEGMENTS_MAX)
    steady = settings(
        derandomize=True, deadline=None, database=None, max_examples=30, stateful_step_count=30,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(Machine, settings=steady)
