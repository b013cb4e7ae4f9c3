"""Work on many lots: in order, chunk by chunk, within its time; and what a selection lacks."""

from __future__ import annotations

import threading
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.errors import Refusal
from functions.domain.lot import Lot, Part, Rules, Segment
from functions.domain.serials import LOT_SIZE, serial_of
from functions.store import lots

RULES = Rules("cmp_1", "recharge", 5_000, "CNY", "single", "crockford16")
FOREVER = float("inf")


@given(st.integers(0, 3 * lots.CHUNK))
def test_results_come_in_order_and_in_chunks(number: int) -> None:
    chunks = list(lots.in_chunks(range(number), lambda n: n * n, FOREVER))
    assert [result for chunk in chunks for result in chunk] == [n * n for n in range(number)]
    assert all(len(chunk) == lots.CHUNK for chunk in chunks[:-1])


def test_after_its_time_no_chunk_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(lots, "time", SimpleNamespace(monotonic=lambda: clock.now))
    begun: list[int] = []

    def work(n: int) -> None:
        begun.append(n)
        clock.now += 1

    chunks = list(lots.in_chunks(range(5 * lots.CHUNK), work, until=1.5 * lots.CHUNK))
    assert [len(chunk) for chunk in chunks] == [lots.CHUNK] * 2
    assert len(begun) == 2 * lots.CHUNK


def test_an_error_comes_out_when_nothing_is_at_work_any_more() -> None:
    """Else a retry could begin while lots of the first try are still being written."""
    failed = threading.Event()
    begun: list[int] = []
    ended: list[int] = []

    def work(n: int) -> None:
        if n == 0:
            failed.set()
            raise ValueError("planted")
        begun.append(n)
        assert failed.wait(10)
        ended.append(n)

    with pytest.raises(ValueError, match="planted"):
        list(lots.in_chunks(range(lots.WORKERS_MAX), work, FOREVER))
    assert sorted(ended) == sorted(begun)


@st.composite
def partly_generated(draw: st.DrawFn) -> Lot:
    cuts = sorted(draw(st.sets(st.integers(0, 40), min_size=2, max_size=10)))
    held = [(low, high - 1) for low, high in pairwise(cuts) if draw(st.booleans())][:4]
    lot = Lot(7, RULES, (), ())
    for number, (first, last) in enumerate(held):
        lot = lot.with_part(Part(f"bat_{number}", first, last, b"k"), Segment(first, last, valid_until=number))
    return lot


@given(partly_generated(), st.integers(0, 45), st.integers(0, 45))
def test_a_range_with_a_gap_is_refused_by_the_first_serial_of_each_gap(lot: Lot, one: int, other: int) -> None:
    first, last = sorted((one, other))
    missing = [index for index in range(first, last + 1) if lot.segment(index) is None]
    gaps = [index for index in missing if index - 1 not in missing]
    if gaps:
        with pytest.raises(Refusal) as refused:
            lots.refuse_unknown({7: lot}, [(7, [(first, last)])])
        named = [error["value"] for error in refused.value.errors or []]
        assert named == [serial_of(7 * LOT_SIZE + index) for index in gaps]
    else:
        lots.refuse_unknown({7: lot}, [(7, [(first, last)])])


def test_a_lot_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Refusal, match="unknown_serials"):
        lots.refuse_unknown({}, [(7, [(0, 3)])])
