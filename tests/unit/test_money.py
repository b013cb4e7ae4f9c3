"""Money: the currencies that amounts may be in."""

from __future__ import annotations

import re

import pytest

from functions.domain.money import _MINOR_DIGITS, AMOUNT_MINOR_MAX, MINOR_DIGITS


def test_currencies_are_iso_codes_and_each_has_one_minor_unit() -> None:
    listed = [code for codes in _MINOR_DIGITS.values() for code in codes.split()]
    assert len(listed) == len(set(listed)) == len(MINOR_DIGITS)
    assert all(re.fullmatch("[A-Z]{3}", code) for code in listed)


@pytest.mark.parametrize(
    ("code", "digits"), [("CNY", 2), ("USD", 2), ("EUR", 2), ("HKD", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3)]
)
def test_the_minor_unit_is_that_of_iso_4217(code: str, digits: int) -> None:
    assert MINOR_DIGITS[code] == digits


@pytest.mark.parametrize("code", ["XXX", "XTS", "XAU", "DEM", "RMB", "cny", ""])
def test_what_nobody_pays_with_is_no_currency(code: str) -> None:
    assert code not in MINOR_DIGITS


def test_a_hundred_redemptions_of_the_largest_amount_stay_exact_in_any_json_reader() -> None:
    assert 100 * AMOUNT_MINOR_MAX < 2**53
