"""Files of bought codes: what a line means however it was written, and which lines are which wherever one begins."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.domain import codefile
from functions.domain.codefile import (
    CODE_LENGTH_MAX,
    LINE_BYTES_MAX,
    PROBLEMS,
    Layout,
    Line,
    Raw,
    Unreadable,
    split,
    survey,
)

PLAIN = Layout(1, header=False, separator=",")
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
contents = st.lists(
    st.tuples(st.binary(max_size=6) | st.just(b"x" * (LINE_BYTES_MAX + 3)) | st.just(b"y" * LINE_BYTES_MAX), ends)
).map(lambda lines: b"".join(line + end for line, end in lines))


def pieces(content: bytes, size: int, start: int = 0) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(start, len(content), size))


def lines(content: bytes | str) -> list[Line]:
    """All that a file says."""
    raw = content.encode() if isinstance(content, str) else content
    layout = survey(split([raw])).layout
    return [line for one in split([raw]) if (line := codefile.read(one, layout)) is not None]


def pairs(content: bytes | str) -> list[tuple[int, str, str | None]]:
    found = lines(content)
    assert all(line.problem is None for line in found)
    return [(line.number, line.code, line.reference) for line in found]


@given(contents, st.integers(1, 2_000))
@example(b"ab\r\ncd\r", 3)
@example(b"x" * 3_000 + b"\r\nab", 1_027)
def test_lines_are_those_of_an_editor_in_whatever_pieces_they_come(content: bytes, size: int) -> None:
    whole = content.splitlines(keepends=True)
    found = list(split(pieces(content, size)))
    assert [raw.number for raw in found] == list(range(1, len(whole) + 1))
    assert [raw.end for raw in found] == [sum(map(len, whole[: n + 1])) for n in range(len(whole))]
    plain = [line.rstrip(b"\r\n") for line in whole]
    assert [raw.content for raw in found] == [line if len(line) <= LINE_BYTES_MAX else None for line in plain]


@given(contents, st.integers(1, 2_000), st.integers(1, 2_000), st.data())
def test_from_any_line_on_they_are_the_same(content: bytes, size: int, other: int, data: st.DataObject) -> None:
    found = list(split(pieces(content, size)))
    if found:
        at = data.draw(st.integers(0, len(found) - 1))
        after = found[at]
        assert list(split(pieces(content, other, after.end), after.number, after.end)) == found[at + 1 :]


def test_a_line_without_end_is_not_held_in_memory() -> None:
    tracemalloc.start()
    found = list(split(bytes([120]) * 2**16 for _ in range(400)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [Raw(1, None, 400 * 2**16)]
    assert peak < 2**20


cells = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20).filter(
    lambda text: codefile._plain(text) == text and not set(",;\t") & set(text) and codefile._problem(text, "") is None
)


@given(
    st.lists(st.tuples(cells, st.none() | cells), min_size=1), st.sampled_from(",;\t"), st.sampled_from(["\n", "\r\n"])
)
def test_what_a_spreadsheet_writes_is_read_back(rows: list[tuple[str, str | None]], separator: str, end: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    writer.writerows([("code", "reference"), *rows])
    content = b"\xef\xbb\xbf" + text.getvalue().encode()
    assert pairs(content) == [(n, code, reference) for n, (code, reference) in enumerate(rows, 2)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("A1\nB2\n", [(1, "A1", None), (2, "B2", None)]),
        ("A1,r\nB2", [(1, "A1", "r"), (2, "B2", None)]),
        ("\n \r\n,,\nA1\n\n", [(4, "A1", None)]),
        ("Code\nALPHA\n", [(2, "ALPHA", None)]),
        ("serial,Voucher_Code,cost\nr,A1,4.5\n", [(2, "A1", "r")]),
        ("卡号;卡密\nr;A1\n", [(2, "A1", "r")]),
        ("卡密\n\u3000Ａ１－Ｂ２\u200b\n", [(2, "A1-B2", None)]),
        ('="0012",="007"\n', [(1, "0012", "007")]),
        ('"A1 B2","r"\n', [(1, "A1 B2", "r")]),
        ("A1\rB2\r", [(1, "A1", None), (2, "B2", None)]),
        ("\ufeffA1\n", [(1, "A1", None)]),
        ("A1,r,\n", [(1, "A1", "r")]),
    ],
)
def test_a_file_is_read_as_it_comes(content: str, found: list[tuple[int, str, str | None]]) -> None:
    assert pairs(content) == found


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("x" * (LINE_BYTES_MAX + 1), "too_long"),
        ("x" * (CODE_LENGTH_MAX + 1), "too_long"),
        (",r", "no_code"),
        ("----,r", "no_code"),
        ("A1,r,x", "columns"),
        ('"A1', "quotes"),
        ("A\x071", "characters"),
        ("A\ufffd1", "characters"),
        ("A\ue0001", "characters"),
        ('"A1,B2"', "separators"),
        ("1.23457E+15", "rounded"),
        ("1e+15", "rounded"),
        ("A1," + "r" * 65, "reference"),
    ],
)
def test_a_line_that_holds_no_code_says_why_and_keeps_nothing(line: str, problem: str) -> None:
    first, second, third = lines(f"OK1\n{line}\nOK2\n")
    assert (first.code, third.code) == ("OK1", "OK2")
    assert second == Line(2, "", None, problem)
    assert problem in PROBLEMS


def test_what_looks_like_a_header_is_never_sold() -> None:
    first, second = lines("Kartennummer\nA1\n")
    assert (first.problem, second.code) == ("header", "A1")


@pytest.mark.parametrize(
    ("content", "fault", "line"),
    [
        (b"", "no_lines", None),
        (b"\n \n", "no_lines", None),
        (b"code,reference\n", "no_lines", None),
        (b"A1\n\xff\n", "not_utf_8", 2),
        (b"A1\nA\x002\n", "not_utf_8", 2),
        ("A1\n".encode("utf-16"), "not_utf_8", 1),
        ("卡密\nA1\n".encode("gb18030"), "not_utf_8", 1),
        (b"serial,cost\n1,2\n", "no_code_column", 1),
        (b"code\n" + b"A1\n" * 11, "too_many_lines", 12),
        (b"A1\n" + b"\n" * 20, "too_many_lines", 8),
    ],
)
def test_what_is_no_such_file_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, content: bytes, fault: str, line: int | None
) -> None:
    monkeypatch.setattr(codefile, "LINES_MAX", 10)
    monkeypatch.setattr(codefile, "BLANK_LINES_MAX", 6)
    with pytest.raises(Unreadable) as unreadable:
        survey(split([content]))
    assert (unreadable.value.fault, unreadable.value.line) == (fault, line)
    assert fault in codefile.FAULTS


def test_a_survey_counts_lines_and_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codefile, "LINES_MAX", 4)
    assert survey(split([b"code;reference\n\nA1\n;r\nA1\nB2\n"])) == (Layout(1, True, ";", 0, 1), 4, 3)


@given(st.binary(max_size=300))
def test_no_bytes_break_it(content: bytes) -> None:
    layout = PLAIN
    with suppress(Unreadable):
        layout = survey(split([content])).layout
    with suppress(Unreadable):
        for raw in split([content]):
            line = codefile.read(raw, layout)
            assert line is None or (bool(line.code) == (line.problem is None) and line.code.isprintable())
