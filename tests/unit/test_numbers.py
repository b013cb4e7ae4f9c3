"""Phone numbers: which take SMS, where they belong, and how people write them."""

from __future__ import annotations

import pytest

from functions.notify import numbers
from functions.notify.numbers import Number


def test_what_a_number_tells() -> None:
    told = numbers.known("+8613812345678")
    assert told == Number(None, "CN", "China Mobile", "Jiangsu", "Asia/Shanghai")
    assert numbers.known("+14155552671")[:4] == (None, "US", None, "CA")
    assert numbers.known("+447400123456")[:4] == (None, "GB", "Three", None)


@pytest.mark.parametrize("number", ["+862161234567", "+18005551212", "+4930123456"])
def test_numbers_that_take_no_sms(number: str) -> None:
    assert numbers.known(number).fault == "landline"


@pytest.mark.parametrize(
    "number",
    ["+8612812345678", "+10000000003", "+15550001111", "+999123456789", "+4407400123456", "acc_" + "a" * 24, "", "+"],
)
def test_numbers_that_are_none(number: str) -> None:
    assert numbers.known(number).fault == "number_invalid"


@pytest.mark.parametrize(
    "text",
    ["+8613812345678", "13812345678", "138 1234 5678", "+86 138-1234-5678", "(+86) 138.1234.5678", "0086 13812345678"],
)
def test_a_number_as_people_write_it(text: str) -> None:
    assert numbers.normalised(text) == "+8613812345678"


@pytest.mark.parametrize("text", ["", "call me", "1", "+", "+" + "1" * 40, "138" + " " * 40 + "12345678", "110"])
def test_what_is_no_number(text: str) -> None:
    assert numbers.normalised(text) is None


def test_zones_by_name() -> None:
    assert str(numbers.zone("Europe/Berlin")) == "Europe/Berlin"
    assert [numbers.zone(name) for name in ("Mars/Olympus", "../etc/passwd", "", "Europe")] == [None] * 4
