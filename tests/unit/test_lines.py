"""Files of serial ranges as shops send them."""

from __future__ import annotations

import codecs
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.formats import FORMATS, LOT_SIZE
from functions.domain.lines import Line, lines, merged, overlapping
from functions.domain.selection import RANGE_MAX, Span
from functions.domain.serials import serial_of

FIRST = 1_000_000_000
A, B, C, D = (serial_of(FIRST + n) for n in (0, 4, 5, 9))
WIDE = str.maketrans("0123456789,", "０１２３４５６７８９，")


def spans(text: str, encoding: str = "utf-8") -> list[Span | None]:
    return [line.span for line in lines(text.encode(encoding))]


@pytest.mark.parametrize(
    "text",
    [
        f"{A},{B}", f"{A},{B}\n", f"{A},{B}\r\n", f"\ufeff{A},{B}", f"\n\n{A},{B}\n\n  \n,,\n", f"{A};{B}", f"{A}\t{B}",
        f"first,last\n{A},{B}", f"起始卡号,结束卡号\r\n{A},{B}", f'"{A}","{B}"', f"'{A},'{B}", f'="{A}",="{B}"',
        f" {A} , {B} ", f"{A[:4]} {A[4:8]} {A[8:]},{B}", f"{A},{B},", f",{A},,{B}", f"{A},{B}".translate(WIDE),
        f"\u3000{A}\u00a0,{B}", f"{A.lstrip('0')},{B.lstrip('0')}", f"serial\r{A},{B}\r",
    ],
)  # fmt: skip
def test_a_range_is_read_however_a_spreadsheet_wrote_it(text: str) -> None:
    assert spans(text) == [Span(FIRST, FIRST + 4)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030", "gbk"])
def test_what_a_spreadsheet_saves_as_is_read(encoding: str) -> None:
    text = f"卡号,到\n{A},{B}\n{C.translate(WIDE)}\n"
    assert spans(text, encoding) == [Span(FIRST, FIRST + 4), Span(FIRST + 5, FIRST + 5)]
    if encoding == "utf-16":
        assert lines(codecs.BOM_UTF16_BE + text.encode("utf-16-be")) == lines(text.encode("utf-16"))


@pytest.mark.parametrize("name", FORMATS)
def test_zeros_that_a_spreadsheet_dropped_are_put_back_whatever_the_format(name: str) -> None:
    for lot in (max(FORMATS[name].lots.start, 1_000), FORMATS[name].lots.stop - 1):
        position = lot * LOT_SIZE + 77
        assert spans(serial_of(position).lstrip("0")) == [Span(position, position)]


@pytest.mark.parametrize("number", range(1, 200))
def test_a_small_number_is_no_serial_that_lost_its_zeros(number: int) -> None:
    assert spans(f"{A}\n{number}")[1:] == [None]


def test_bytes_that_were_lost_on_the_way_take_no_line_with_them() -> None:
    assert [line.span for line in lines("卡号\n".encode("gbk") + f"{A}\n".encode())] == [Span(FIRST, FIRST)]
    assert [line.span for line in lines(f"\ufffd\ufffd\n{A}\n".encode())] == [Span(FIRST, FIRST)]


def test_each_line_that_names_nothing_says_why_and_has_its_number() -> None:
    text = (
        f"header\n\n{A}\n{A[:-1]}0\nword\n{B},{A}\n{A},{B},{C}\n{B},{D}\n{A},{C}\n{D},x\n0,{serial_of(RANGE_MAX * 20)}"
    )
    found = lines(text.encode())
    assert [(line.number, line.problem) for line in found] == [
        (3, None), (4, f"no such serial: {A[:-1]}0"), (5, "no such serial: word"), (6, "runs backwards"),
        (7, "holds more than a first and a last serial"), (8, None), (9, "repeats serials of line 3"),
        (10, "no such serial: x"), (11, "no such serial: 0"),
    ]  # fmt: skip
    assert all((line.span is None) == (line.problem is not None) for line in found)


def test_of_lines_that_are_longer_together_than_any_batch_those_that_fit_count() -> None:
    """Each lot of them is read within the call."""
    most = f"{A},{serial_of(FIRST + RANGE_MAX - 2)}"
    after, one_more, last = (serial_of(FIRST + RANGE_MAX + n) for n in range(3))
    problems = [line.problem for line in lines(f"{most}\n{after},{one_more}\n{last}\n{after}".encode())]
    assert problems == [None, *[f"with those before it holds more than {RANGE_MAX} serials"], None,
                        f"with those before it holds more than {RANGE_MAX} serials"]  # fmt: skip


def test_a_range_longer_than_any_batch_is_refused() -> None:
    (line,) = lines(f"{A},{serial_of(FIRST + RANGE_MAX)}".encode())
    assert line.problem == f"holds more than {RANGE_MAX} serials"


@pytest.mark.parametrize("cell", [A[:-1], A[1:-1], "8" * 12, "1.0E+10", "٠١٠٠٠٠٠٠٠٠٠٣", "-" + A, "0" * 500, "²"])
def test_what_is_no_serial_is_none_whatever_is_put_before_it(cell: str) -> None:
    (line,) = lines(f"{B}\n{cell}".encode())[1:]
    assert (line.span, line.number) == (None, 2)
    assert line.problem is not None
    assert len(line.problem) < 80


@given(st.binary(max_size=300))
def test_no_bytes_are_too_bad_to_be_read(content: bytes) -> None:
    for line in lines(content):
        assert isinstance(line, Line)


ranges = st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda at: (at[0], at[0] + at[1]))


@given(st.lists(ranges, max_size=12))
def test_of_lines_that_overlap_the_first_counts_and_what_counts_is_disjoint(wanted: list[tuple[int, int]]) -> None:
    text = "\n".join(f"{serial_of(FIRST + low)},{serial_of(FIRST + high)}" for low, high in wanted)
    seen: set[int] = set()
    kept: list[Span] = []
    for (low, high), line in zip(wanted, lines(text.encode()), strict=True):
        new = not seen & set(range(low, high + 1))
        assert (line.span == Span(FIRST + low, FIRST + high)) == new
        if new:
            seen |= set(range(low, high + 1))
            kept.append(Span(low, high))
    whole = merged(kept)
    assert {n for span in whole for n in range(span.first, span.last + 1)} == seen
    assert all(one.last + 1 < other.first for one, other in pairwise(whole))
    for low, high in wanted:
        expected = [span for span in whole if span.first <= high and low <= span.last]
        assert list(overlapping(Span(low, high), whole)) == expected
