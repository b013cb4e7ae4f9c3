"""Lots: an interval map held against a plain dictionary of index → what its segment says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.lot import (
    PARTS_PER_LOT_MAX,
    Done,
    Lot,
    Part,
    Rules,
    Scope,
    Segment,
    Status,
    Veto,
    merged,
    rewritten,
)
from functions.domain.serials import LOT_SIZE

INDEX_MAX = 40
RULES = Rules("cmp_1", "recharge", 5_000, "CNY", "single", "crockford16")
VETO = Veto("rcv_1", "suspend", Scope.ALL, 1)

State = tuple[Status, int, int | None, tuple[Veto, ...]]

states = st.tuples(
    st.sampled_from([Status.GENERATED, Status.ACTIVE]),
    st.integers(1, 2),
    st.sampled_from([None, 9]),
    st.sampled_from([(), (VETO,)]),
)


def state_of(segment: Segment) -> State:
    return segment.status, segment.generation, segment.valid_until, segment.vetoes


def of_state(first: int, last: int, state: State) -> Segment:
    status, generation, valid_until, vetoes = state
    return Segment(first, last, status, generation, valid_until=valid_until, vetoes=vetoes)


def spelled_out(segments: tuple[Segment, ...]) -> dict[int, State]:
    return {index: state_of(s) for s in segments for index in range(s.first, s.last + 1)}


@st.composite
def maps(draw: st.DrawFn) -> tuple[Segment, ...]:
    """Segments with gaps between some, alike neighbours among them."""
    cuts = sorted(draw(st.sets(st.integers(0, INDEX_MAX), min_size=2, max_size=12)))
    drawn = [(low, high - 1, draw(st.none() | states)) for low, high in pairwise(cuts)]
    return tuple(of_state(low, high, state) for low, high, state in drawn if state is not None)


@st.composite
def range_lists(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Sorted, disjoint index ranges, some of them neighbours."""
    cuts = sorted(draw(st.sets(st.integers(0, INDEX_MAX + 5), max_size=12)))
    return [(low, high - 1) for low, high in pairwise(cuts) if draw(st.booleans())]


CHANGES: dict[str, Callable[[Segment], Segment]] = {
    "activates": lambda s: replace(s, status=Status.ACTIVE),
    "raises": lambda s: replace(s, generation=s.generation + 1),
    "leaves": lambda s: s,
    "extends-some": lambda s: replace(s, valid_until=99) if s.generation == 1 else s,
}


def assert_in_order(segments: tuple[Segment, ...]) -> None:
    """Sorted, disjoint, none empty, and no two neighbours alike."""
    assert all(s.first <= s.last for s in segments)
    for one, other in pairwise(segments):
        assert one.last < other.first
        assert not (one.last + 1 == other.first and state_of(one) == state_of(other))


@given(maps(), range_lists(), st.sampled_from(sorted(CHANGES)))
def test_rewriting_changes_exactly_the_indexes_asked_for(
    segments: tuple[Segment, ...], ranges: list[tuple[int, int]], name: str
) -> None:
    change = CHANGES[name]
    expected = spelled_out(segments)
    for first, last in ranges:
        for index in range(first, last + 1):
            if index in expected:
                expected[index] = state_of(change(of_state(index, index, expected[index])))
    result = rewritten(segments, ranges, change)
    assert spelled_out(result) == expected
    assert_in_order(result)


@given(maps(), range_lists())
def test_a_change_sees_each_voucher_once(segments: tuple[Segment, ...], ranges: list[tuple[int, int]]) -> None:
    seen: list[int] = []

    def look(segment: Segment) -> Segment:
        seen.extend(range(segment.first, segment.last + 1))
        return segment

    rewritten(segments, ranges, look)
    wanted = [index for first, last in ranges for index in range(first, last + 1)]
    assert seen == [index for index in wanted if index in spelled_out(segments)]


@given(maps())
def test_merging_keeps_every_voucher_and_leaves_no_two_neighbours_alike(segments: tuple[Segment, ...]) -> None:
    result = merged(segments)
    assert spelled_out(result) == spelled_out(segments)
    assert_in_order(result)
    assert merged(result) == result


@st.composite
def shares(draw: st.DrawFn) -> list[tuple[Part, Segment]]:
    """Disjoint shares of up to four batches, in any order."""
    cuts = sorted(draw(st.sets(st.integers(0, LOT_SIZE), min_size=2, max_size=PARTS_PER_LOT_MAX + 1)))
    spans = [(low, high - 1) for low, high in pairwise(cuts)]
    valid = draw(st.lists(st.sampled_from([None, 9]), min_size=len(spans), max_size=len(spans)))
    made = [
        (Part(f"bat_{number}", first, last, bytes([number])), Segment(first, last, valid_until=until))
        for number, ((first, last), until) in enumerate(zip(spans, valid, strict=True))
    ]
    return draw(st.permutations(made))


@given(shares())
def test_shares_may_arrive_in_any_order(arriving: list[tuple[Part, Segment]]) -> None:
    in_order, as_they_come = (Lot(1, RULES, (), ()) for _ in range(2))
    for part, segment in arriving:
        as_they_come = as_they_come.with_part(part, segment)
    for part, segment in sorted(arriving, key=lambda share: share[0].first):
        in_order = in_order.with_part(part, segment)
    assert as_they_come == in_order
    assert_in_order(in_order.segments)
    for part, segment in arriving:
        for index in (part.first, part.last):
            assert in_order.part(index) == part
            held = in_order.segment(index)
            assert held is not None and state_of(held) == state_of(segment)


@given(shares(), st.integers(-1, LOT_SIZE), st.integers(-1, LOT_SIZE))
def test_a_share_that_overlaps_or_does_not_fit_is_an_error(
    there: list[tuple[Part, Segment]], first: int, last: int
) -> None:
    lot = Lot(1, RULES, (), ())
    for part, segment in there:
        lot = lot.with_part(part, segment)
    taken = {index for part, _ in there for index in range(part.first, part.last + 1)}
    fits = 0 <= first <= last < LOT_SIZE and taken.isdisjoint(range(first, last + 1)) and len(there) < PARTS_PER_LOT_MAX
    share = Part("bat_new", first, last, b"k"), Segment(first, last)
    if fits:
        assert len(lot.with_part(*share).parts) == len(there) + 1
    else:
        with pytest.raises(ValueError, match="does not fit"):
            lot.with_part(*share)


def test_a_lot_finds_a_command_that_it_remembers_and_no_other() -> None:
    done = Done("act_1", 5, {"recalled": 1})
    lot = Lot(1, RULES, (), (), commands=(Done("act_0", 1, {}), done))
    assert lot.done("act_1") == done
    assert lot.done("act_2") is None


def test_where_nothing_was_generated_there_is_no_segment_and_no_part() -> None:
    lot = Lot(1, RULES, (), ()).with_part(Part("bat_1", 10, 19, b"k"), Segment(10, 19))
    assert [lot.segment(index) is None for index in (9, 10, 19, 20)] == [True, False, False, True]
    assert [lot.part(index) is None for index in (9, 10, 19, 20)] == [True, False, False, True]
