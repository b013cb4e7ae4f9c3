"""What a file of serials orders, in pieces that fit items: its spans, by lots, and its lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from functions.domain.lines import Line
from functions.domain.recovery import Named
from functions.domain.selection import Span
from functions.domain.serials import LOT_SIZE

LINES_MAX = 100_000
LINES_PER_ITEM = 5_000
"""About 150 KB."""
SPANS_PER_ITEM = 4_000
"""A part holds so many and those of one lot more, which are 5,000 at most: about 200 KB."""


def in_parts(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Sorted, disjoint spans in parts, no lot being in two of them; a span may be cut where a part ends."""
    part: list[Span] = []
    for span in spans:
        rest: Span | None = span
        if len(part) >= SPANS_PER_ITEM:
            end = (part[-1].last // LOT_SIZE + 1) * LOT_SIZE
            if span.first < end:
                part.append(Span(span.first, min(span.last, end - 1)))
                rest = Span(end, span.last) if span.last >= end else None
            if rest is not None:
                yield part
                part = []
        if rest is not None:
            part.append(rest)
    if part:
        yield part


def named(lines: Iterable[Line]) -> list[Named]:
    """The lines as they are kept: of one that names nothing the reason, and never what it says, which may be a code."""
    return [
        Named(line.number, line.span.first, line.span.last)
        if line.span is not None
        else Named(line.number, problem=(line.problem or "").partition(":")[0])
        for line in lines
    ]
