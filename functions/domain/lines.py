"""A file of serial ranges (CSV) as a shop sends it, line by line: `first,last`, or one serial.

Spreadsheets mean well: a byte order mark, UTF-16 or GB 18030, tabs or semicolons, blank lines, a header, quotes,
full-width digits, spaces within numbers, and leading zeros that are gone. What a line means in spite of it is read;
what is no serial in the end is said line by line.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from functions.domain.formats import SERIAL_LENGTHS
from functions.domain.selection import RANGE_MAX, Span
from functions.domain.serials import position_of

DIGITS_LEFT_MIN = 8
"""A number with so many digits, that does not begin with a zero, may have lost zeros at its front. Which serial it was
is beyond doubt, for a serial's value is its position and its length that of its lot's format; a number in another
column, which has fewer digits, is none."""
_SEPARATORS = re.compile(r"[,;\t]")
_BETWEEN = re.compile(r"[\s\"'=\u200b\ufeff]")


P = TypeVar("P", bound=tuple[Any, ...])


class Line(NamedTuple):
    """A line that is not blank: what it names, or why it names nothing."""

    number: int
    span: Span | None
    problem: str | None = None


def lines(content: bytes) -> list[Line]:
    """The lines of a file, numbered as an editor does.

    One that is about what an earlier one names is refused, and one by which all come to more than `RANGE_MAX` serials.
    """
    taken: list[tuple[Span, int]] = []
    found: list[Line] = []
    size = 0
    for line in _read(content):
        if line.span is not None and (earlier := _overlapped(taken, line.span)) is not None:
            line = Line(line.number, None, f"repeats serials of line {earlier}")
        if line.span is not None and size + line.span.size > RANGE_MAX:
            line = Line(line.number, None, f"with those before it holds more than {RANGE_MAX} serials")
        if line.span is not None:
            insort(taken, (line.span, line.number))
            size += line.span.size
        found.append(line)
    return found


def _read(content: bytes) -> Iterator[Line]:
    first = True
    for number, text in enumerate(_decoded(content).splitlines(), 1):
        cells = [_BETWEEN.sub("", cell) for cell in _SEPARATORS.split(unicodedata.normalize("NFKC", text))]
        cells = [cell for cell in cells if cell]
        if not cells:
            continue
        if first and not any(cell.isdigit() for cell in cells):
            first = False  # a header
            continue
        first = False
        yield _line(number, cells)


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("gb18030", errors="replace")


def _line(number: int, cells: list[str]) -> Line:
    if len(cells) > 2:
        return Line(number, None, "holds more than a first and a last serial")
    positions = [_position(cell) for cell in cells]
    first, last = positions[0], positions[-1]
    if first is None or last is None:
        wrong = next(cell for cell, position in zip(cells, positions, strict=True) if position is None)
        return Line(number, None, f"no such serial: {wrong[:40]}")
    if first > last:
        return Line(number, None, "runs backwards")
    if last - first >= RANGE_MAX:
        return Line(number, None, f"holds more than {RANGE_MAX} serials")
    return Line(number, Span(first, last))


def _position(cell: str) -> int | None:
    whole = cell.startswith("0") or len(cell) < DIGITS_LEFT_MIN
    lengths = (len(cell),) if whole else SERIAL_LENGTHS
    found = (position_of(cell.zfill(length)) for length in lengths)
    return next((position for position in found if position is not None), None)


def _overlapped(taken: list[tuple[Span, int]], span: Span) -> int | None:
    """The number of an earlier line that has some of the span; `taken` is sorted and disjoint."""
    at = bisect_left(taken, (span, 0))
    near = [*taken[max(at - 1, 0) : at], *taken[at : at + 1]]
    return next((number for other, number in near if other.first <= span.last and span.first <= other.last), None)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Disjoint spans in order, neighbours as one."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and result[-1].last + 1 == span.first:
            result[-1] = Span(result[-1].first, span.last)
        else:
            result.append(span)
    return result


def overlapping(span: Span, pieces: Sequence[P]) -> Sequence[P]:
    """Those of sorted, disjoint pieces (`first, last, …`) that share a position with a span."""
    start = bisect_left(pieces, span.first, key=lambda piece: piece[1])
    return pieces[start : bisect_right(pieces, span.last, key=lambda piece: piece[0])]
