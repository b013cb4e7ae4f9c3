"""Formats: rows that do not meet, codes that are all distinct, odds that are what a count says."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import pytest

from functions.domain.codes import Candidate, codes, is_right, parse
from functions.domain.formats import (
    CROCKFORD,
    DERIVED,
    DIGITS,
    FORMATS,
    LOT_NUMBER_MAX,
    LOT_SIZE,
    CodeFormat,
    format_of,
)
from functions.domain.serials import position_of, serial_of

KEY = bytes(range(32))
DISTINCT = 10_000_000
README = (Path(__file__).parents[2] / "functions" / "README.md").read_text(encoding="utf-8")
SMALL = CodeFormat("small8", DIGITS, 8, 4, range(8_999_990, 9_000_000), 10**3, 8_999_990, 13)
"""The reduced size: 100,000 locators and 1,000 tags fill its eight digits, so that its codes can be counted out."""

rows = pytest.mark.parametrize("code_format", DERIVED, ids=lambda f: f.name)
styles = pytest.mark.parametrize(
    "code_format", [*DERIVED, FORMATS["crockford16"].styled("GZ26", None)], ids=lambda f: f.name + f.prefix
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> CodeFormat:
    """A new format: a row, and lots that no other row holds any more."""
    crockford16 = FORMATS["crockford16"]
    kept = range(crockford16.lots.start, SMALL.lots.start)
    monkeypatch.setitem(FORMATS, "crockford16", replace(crockford16, lots=kept))
    monkeypatch.setitem(FORMATS, SMALL.name, SMALL)
    return SMALL


def tried(text: str, generation: int = 1) -> bool:
    """Whether a text is taken for a right code, if every lot there can be exists and has the same key."""
    candidate = parse(text)
    return candidate is not None and is_right(candidate, KEY, generation)


# The rows


def test_formats_state_what_they_can_address_and_at_what_odds() -> None:
    assert {name: (f.capacity, f.odds, f.serial_digits) for name, f in FORMATS.items()} == {
        "crockford16": (89 * 10**9, 2**-43, 12),
        "digits20": (10**9, 1e-11, 12),
        "imported": (8 * 10**9, 0.0, 12),
        "unicom19": (10**9, 1e-10, 15),
        "mobile18": (5 * 10**8, 1e-9, 17),
        "telecom18": (5 * 10**8, 1e-9, 19),
    }
    assert len(set(CROCKFORD)) == 32


def test_every_lot_has_one_format() -> None:
    lots = sorted((f.lots for f in FORMATS.values()), key=lambda lots: lots.start)
    assert all(before.stop == after.start for before, after in pairwise(lots))
    assert (lots[0].start, lots[-1].stop) == (0, LOT_NUMBER_MAX + 1)
    for name, row in FORMATS.items():
        assert {format_of(lot) for lot in (row.lots[0], row.lots[-1])} == {FORMATS[name]}
    assert format_of(LOT_NUMBER_MAX + 1) is None


@rows
def test_a_format_uses_its_symbols_up_and_its_serials_have_room(code_format: CodeFormat) -> None:
    family = [f for f in FORMATS.values() if (f.length, f.alphabet) == (code_format.length, code_format.alphabet)]
    assert {f.base for f in family} == {code_format.base}, "locators of one family are counted from one lot"
    locators = max(f.lots.stop - f.base for f in family) * LOT_SIZE
    symbols = len(code_format.alphabet) ** code_format.length
    assert locators * code_format.tag_space <= symbols < 2 * locators * code_format.tag_space
    assert len(str(code_format.lots.stop * LOT_SIZE - 1)) < code_format.serial_digits
    assert code_format.lots.start >= code_format.base


@rows
def test_the_readme_says_what_a_format_is(code_format: CodeFormat) -> None:
    (line,) = (line for line in README.splitlines() if line.startswith(f"| `{code_format.name}` |"))
    _, _, shape, serial, lots, capacity, _, _ = (cell.strip() for cell in line.split("|"))
    assert shape.startswith(f"{code_format.length} ")
    assert shape.endswith(f" {code_format.group} a group")
    assert serial == f"{code_format.serial_digits} digits"
    assert lots == f"{code_format.lots[0]:,} to {code_format.lots[-1]:,}"
    assert capacity == f"{code_format.capacity:,}"


# Codes across all formats


def all_codes(count: int) -> Iterator[list[str]]:
    """So many codes, lot by lot in the order of their locators: the first and the last lots of each format."""
    ordered = sorted(DERIVED, key=lambda f: (f.length, f.lots.start))
    lots_each = count // len(ordered) // LOT_SIZE
    for code_format in ordered:
        half = lots_each // 2
        for lot in (*code_format.lots[:half], *code_format.lots[half - lots_each :]):
            yield " ".join(codes(KEY, code_format, lot, 1, 0, LOT_SIZE - 1)).replace("-", "").split()


def test_ten_million_codes_of_all_formats_are_distinct() -> None:
    """Those of one length ascend without a break, so that none is there twice."""
    found, last = 0, ""
    for page in all_codes(DISTINCT):
        assert (len(last), last) < (len(page[0]), page[0])
        assert all(map(operator.lt, page, islice(page, 1, None)))
        assert set(map(len, page)) == {len(page[0])}
        found, last = found + len(page), page[-1]
    assert found == DISTINCT


@styles
def test_every_wrong_symbol_and_every_swap_of_neighbours_is_refused(code_format: CodeFormat) -> None:
    lots = code_format.lots
    for lot, index in ((lots[0], 0), (lots[-1], LOT_SIZE - 1), (lots[len(lots) // 3], 4_321), (lots[5], 17)):
        (code,) = codes(KEY, code_format, lot, 1, index, index)
        plain = code.replace("-", "")
        assert plain.startswith(code_format.prefix)
        assert tried(plain)
        for at, right in enumerate(plain):
            for symbol in set(code_format.alphabet) - {right}:
                assert not taken(plain[:at] + symbol + plain[at + 1 :], code_format)
        for at, (one, other) in enumerate(pairwise(plain)):
            if one != other:
                assert not taken(plain[:at] + other + one + plain[at + 2 :], code_format)


def taken(text: str, code_format: CodeFormat) -> bool:
    """As `tried`, in a campaign with this format's prefix."""
    candidate = parse(text)
    return candidate is not None and candidate.prefix == code_format.prefix and is_right(candidate, KEY, 1)


# A new format is a row


def test_a_new_row_has_serials_of_its_own_length(small: CodeFormat) -> None:
    first, last = small.lots.start * LOT_SIZE, small.lots.stop * LOT_SIZE - 1
    for position in (first, first + 4_321, last):
        serial = serial_of(position)
        assert len(serial) == small.serial_digits
        assert position_of(serial) == position
        assert position_of(serial[1:]) is None
    assert len(serial_of(first - 1)) == FORMATS["crockford16"].serial_digits


def test_a_new_row_has_codes_that_are_read_back(small: CodeFormat) -> None:
    for lot in small.lots:
        candidates = [parse(code) for code in codes(KEY, small, lot, 1, 0, 999)]
        assert [c.position - lot * LOT_SIZE for c in candidates if c is not None] == list(range(1_000))
        assert all(is_right(c, KEY, 1) for c in candidates if c is not None)


def test_of_all_guesses_at_a_voucher_exactly_one_is_right(small: CodeFormat) -> None:
    """Counted out: the odds stated are those of a guess."""
    locators = [*range(0, small.capacity, small.capacity // 30), small.capacity - 1]
    right = 0
    for locator in locators:
        right += sum(tried(f"{locator:05d}{tag:03d}") for tag in range(small.tag_space))
    assert right == len(locators)
    assert right / (len(locators) * small.tag_space) == small.odds


def test_a_fixed_guess_is_right_as_often_as_the_odds_say(small: CodeFormat) -> None:
    """No tag is a better guess than another: over 100,000 vouchers each is right 100 times, give or take.

    100 is the mean and 10 the deviation of a tag's count; of a thousand tags none is 6 deviations off, but once in
    200,000 keys.
    """
    counts = [0] * small.tag_space
    for lot in small.lots:
        for code in codes(KEY, small, lot, 1, 0, LOT_SIZE - 1):
            counts[int(code[-3:])] += 1
    assert sum(counts) == small.capacity
    assert 40 <= min(counts) <= max(counts) <= 160


def test_a_guess_past_the_last_lot_is_no_code(small: CodeFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, small.name, replace(small, lots=small.lots[:1]))
    assert parse("0999-9000") == Candidate(FORMATS[small.name], small.lots.start * LOT_SIZE + 9_999, 0)
    assert parse("1000-0000") is None
