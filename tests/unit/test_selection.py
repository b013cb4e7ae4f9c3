"""Selections: spans held against plain sets of positions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.errors import Refusal
from functions.domain.lot import Lot, Part, Rules
from functions.domain.selection import (
    SERIALS_MAX,
    Span,
    by_lot,
    lot_count,
    of_lot,
    of_range,
    of_serials,
    refuse_unknown,
)
from functions.domain.serials import LOT_SIZE, serial_of

RULES = Rules("cmp_1", "recharge", 5_000, "CNY", "single", "crockford16")
near = st.integers(0, 40) | st.integers(2 * LOT_SIZE - 5, 2 * LOT_SIZE + 5) | st.integers(0, 9 * LOT_SIZE)


def positions_of(spans: list[Span]) -> list[int]:
    return [position for span in spans for position in range(span.first, span.last + 1)]


@st.composite
def span_lists(draw: st.DrawFn) -> list[Span]:
    """Sorted and disjoint, often in one lot, often over its edge."""
    cuts = sorted(draw(st.sets(near, min_size=2, max_size=12)))
    return [Span(low, high - 1) for low, high in pairwise(cuts) if draw(st.booleans())]


@given(st.lists(near, min_size=1, max_size=40))
def test_serials_in_any_order_become_as_few_spans_as_possible(named: list[int]) -> None:
    spans = of_serials(serial_of(position) for position in named)
    assert positions_of(spans) == sorted(set(named))
    assert all(one.last + 1 < other.first for one, other in pairwise(spans))
    assert sum(span.size for span in spans) == len(set(named))


@given(span_lists())
def test_lot_by_lot_nothing_is_lost_and_no_lot_comes_twice(spans: list[Span]) -> None:
    parts = list(by_lot(spans))
    numbers = [number for number, _ in parts]
    assert numbers == sorted(set(numbers))
    assert lot_count(spans) == len(numbers)
    walked = [
        number * LOT_SIZE + index for number, ranges in parts for low, high in ranges for index in range(low, high + 1)
    ]
    assert walked == positions_of(spans)
    assert all(0 <= low <= high < LOT_SIZE for _, ranges in parts for low, high in ranges)


def test_lots_are_counted_without_walking_them() -> None:
    assert lot_count([Span(0, 10**11 - 1)]) == 10**7


@given(near, near)
def test_a_range_has_both_its_ends_and_does_not_run_backwards(first: int, last: int) -> None:
    if first <= last:
        assert of_range(serial_of(first), serial_of(last)) == [Span(first, last)]
    else:
        with pytest.raises(Refusal, match="empty_selection"):
            of_range(serial_of(first), serial_of(last))


def test_a_lot_is_selected_as_far_as_it_was_generated() -> None:
    lot = Lot(3, RULES, (Part("bat_1", 0, 9, b"k"), Part("bat_2", 50, 59, b"k")), ())
    assert of_lot(lot) == [Span(30_000, 30_009), Span(30_050, 30_059)]


def test_mistyped_serials_are_refused_by_name() -> None:
    good = serial_of(5)
    wrong = [good[:-1] + "1", "card", ""]
    with pytest.raises(Refusal) as refused:
        of_serials([good, *wrong])
    assert refused.value.key == "unknown_serials"
    assert [error["value"] for error in refused.value.errors or []] == wrong
    for ends in ((good, wrong[0]), (wrong[0], good)):
        with pytest.raises(Refusal) as refused:
            of_range(*ends)
        assert [error["value"] for error in refused.value.errors or []] == [wrong[0]]


def test_a_refusal_names_no_more_than_a_limit_and_no_long_text_in_full() -> None:
    with pytest.raises(Refusal) as refused:
        refuse_unknown(["9" * 1_000] * (SERIALS_MAX + 1))
    errors = refused.value.errors or []
    assert len(errors) == SERIALS_MAX
    assert {len(error["value"]) for error in errors} == {40}
    assert str(SERIALS_MAX + 1) in refused.value.detail
