"""What a file orders, cut into pieces that fit items."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain import pieces
from functions.domain.lines import lines, merged
from functions.domain.pieces import in_parts, named
from functions.domain.selection import Span, by_lot, lot_count
from functions.domain.serials import LOT_SIZE, serial_of

MAX = 5
POSITIONS = st.integers(0, 12 * LOT_SIZE) | st.integers(0, 40)


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    """Sorted and disjoint: scattered, close together, and long ones over lots."""
    ends = sorted(draw(st.sets(POSITIONS, min_size=2, max_size=60)))
    return merged(Span(first, last - 1) for first, last in pairwise(ends) if draw(st.booleans()))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "SPANS_PER_ITEM", MAX)


@given(spans())
def test_parts_hold_all_that_is_selected_and_share_no_lot(selected: list[Span]) -> None:
    parts = list(in_parts(selected))
    assert merged(span for part in parts for span in part) == selected
    lots = [number for part in parts for number, _ in by_lot(part)]
    assert lots == sorted(set(lots)) == [number for number, _ in by_lot(selected)]
    assert sum(lot_count(part) for part in parts) == lot_count(selected)
    in_a_lot = max((len(ranges) for _, ranges in by_lot(selected)), default=0)
    assert all(0 < len(part) <= MAX + in_a_lot for part in parts)


def test_spans_that_each_reach_into_the_next_lot_are_cut() -> None:
    """A line of such would never come to an end of a lot by itself."""
    selected = [Span(n * LOT_SIZE + 5, (n + 1) * LOT_SIZE + 2) for n in range(4 * MAX)]
    parts = list(in_parts(selected))
    assert len(parts) >= 3
    assert all(len(part) <= MAX + 2 for part in parts)


def test_nothing_of_a_line_that_names_nothing_is_kept() -> None:
    """It may hold a code."""
    serial = serial_of(1_000_000_000)
    content = f"serial\n{serial}\nABCD-EFGH-JKMN-PQRS\n{serial}\n{serial},1,2\n".encode()
    kept = named(lines(content))
    assert [line.number for line in kept] == [2, 3, 4, 5]
    assert kept[0][1:] == (1_000_000_000, 1_000_000_000, "")
    assert [line.problem for line in kept[1:]] == [
        "no such serial", "repeats serials of line 2", "holds more than a first and a last serial",
    ]  # fmt: skip
