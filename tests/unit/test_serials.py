"""Serials: what a person mistypes is found."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.formats import FORMATS, format_of
from functions.domain.serials import LOT_NUMBER_MAX, LOT_SIZE, parts_of, position_of, serial_of

POSITION_MAX = LOT_NUMBER_MAX * LOT_SIZE + LOT_SIZE - 1
positions = st.integers(0, POSITION_MAX) | st.sampled_from(list(FORMATS.values())).flatmap(
    lambda f: st.integers(f.lots.start * LOT_SIZE, f.lots.stop * LOT_SIZE - 1)
)


@given(positions)
def test_a_serial_names_its_position(position: int) -> None:
    serial = serial_of(position)
    code_format = format_of(position // LOT_SIZE)
    assert code_format is not None
    assert len(serial) == code_format.serial_digits
    assert position_of(serial) == position


def test_the_first_and_the_last_serial_fit() -> None:
    assert (serial_of(0)[:-1], serial_of(POSITION_MAX)[:-1]) == ("0" * 11, "000" + "9" * 11)


@pytest.mark.parametrize(
    ("position", "serial"),
    [
        (0, "000000000000"),
        (1_000_000_000, "010000000003"),
        (572, "000000005724"),
        (97_999_999_999, "979999999998"),
        (98_000_000_000, "00000980000000005"),
        (98_499_999_999, "00000984999999990"),
        (98_500_000_000, "0000000985000000000"),
        (98_999_999_999, "0000000989999999996"),
        (99_000_000_000, "000990000000009"),
        (POSITION_MAX, "000999999999999"),
    ],
)
def test_serials_that_were_printed_stay_what_they_are(position: int, serial: str) -> None:
    """572 with check digit 4 is the example of the Damm algorithm's own description."""
    assert serial_of(position) == serial


@given(positions)
def test_any_one_wrong_digit_is_found(position: int) -> None:
    serial = serial_of(position)
    for place, digit in product(range(len(serial)), "0123456789"):
        if serial[place] != digit:
            assert position_of(serial[:place] + digit + serial[place + 1 :]) is None


@given(positions)
def test_any_two_neighbours_swapped_are_found(position: int) -> None:
    serial = serial_of(position)
    for place in range(len(serial) - 1):
        one, other = serial[place], serial[place + 1]
        if one != other:
            assert position_of(serial[:place] + other + one + serial[place + 2 :]) is None


@given(positions, st.integers(1, 8))
def test_a_serial_with_zeros_too_many_or_too_few_names_nothing(position: int, zeros: int) -> None:
    serial = serial_of(position)
    assert position_of("0" * zeros + serial) is None
    assert position_of(serial.removeprefix("0")) in (None, position if serial[0] != "0" else None)


def test_what_no_format_has_a_lot_for_has_no_serial() -> None:
    with pytest.raises(ValueError, match="no code format"):
        serial_of(POSITION_MAX + 1)


@given(st.text(max_size=22) | st.text("0123456789", max_size=22))
def test_what_is_no_serial_names_nothing(text: str) -> None:
    position = position_of(text)
    assert position is None or serial_of(position) == text


@pytest.mark.parametrize(
    "text", ["", "01000000000", "0100000000030", "01000000000٣", "+10000000003", "01000000000 ", "0", "00", "0" * 41]
)
def test_other_lengths_and_digits_of_other_scripts_are_no_serials(text: str) -> None:
    assert position_of(text) is None


@pytest.mark.parametrize(
    "lot", [0, 1, 7, 42, 99_999, 100_000, *range(100_001, 100_021), 9_799_999, 9_800_000, 9_850_001, 9_999_999]
)
def test_the_parts_of_a_lots_serials_make_up_each_of_them(lot: int) -> None:
    stem, endings = parts_of(lot)
    assert [stem + ending for ending in endings] == [serial_of(lot * LOT_SIZE + index) for index in range(LOT_SIZE)]
