"""Arithmetic on lanes against the same done one by one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.domain import lanes

NUMBERS_MAX = 40


def packed(numbers: list[int], width: int) -> int:
    return int.from_bytes(b"".join(number.to_bytes(width // 8, "big") for number in numbers), "big")


@given(st.integers(1, 2**37), st.integers(1, 2**53), st.data())
@example(10**11, 2**64, None)
@example(2**43, 2**64, None)
def test_quotients_are_those_of_each_number(divisor: int, bound: int, data: st.DataObject | None) -> None:
    edges = [0, bound - 1, *(n for n in (divisor - 1, divisor, bound // divisor * divisor - 1) if 0 <= n < bound)]
    drawn = data.draw(st.lists(st.integers(0, bound - 1), max_size=NUMBERS_MAX)) if data else []
    numbers = edges + drawn
    found = lanes.quotients(packed(numbers, lanes.WIDTH), divisor, bound, lanes.WIDTH, len(numbers))
    assert found == packed([number // divisor for number in numbers], lanes.WIDTH)


@given(st.sampled_from([2, 10, 16, 20, 32]), st.data())
def test_digits_are_those_of_each_number(radix: int, data: st.DataObject) -> None:
    biggest = radix**lanes.DIGITS - 1
    numbers = [0, biggest, *data.draw(st.lists(st.integers(0, biggest), max_size=NUMBERS_MAX))]
    expected = [number // radix**power % radix for number in numbers for power in reversed(range(lanes.DIGITS))]
    assert list(lanes.digits(packed(numbers, lanes.WIDTH), radix, len(numbers))) == expected


def test_a_product_that_would_spill_into_the_next_lane_is_refused() -> None:
    with pytest.raises(AssertionError, match="outgrows"):
        lanes.quotients(packed([2**60], 64), 10**9 + 7, 2**61, 64, 1)


@given(st.integers(1, NUMBERS_MAX), st.integers(0, 2**64 - 1))
def test_lanes_are_filled_from_the_uppermost_on(count: int, value: int) -> None:
    assert lanes.repeated(value, lanes.WIDTH, count) == packed([value] * count, lanes.WIDTH)
    assert lanes.ascending(value, count) == packed([index * value for index in range(count)], lanes.WIDTH)
