"""What a recovery selects: in its item, or, where it came as a long file, in items beside it, with the file's lines.

They are written before the order is, under its fingerprint: of an order that was never written they mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from functions.domain.pieces import LINES_PER_ITEM, in_parts
from functions.domain.pool import span_bits
from functions.domain.recovery import Lines, Named, Recovery, Spans
from functions.domain.selection import Part, Span, by_lot, lot_count
from functions.store import keys, table
from functions.store.records import LINES, SPANS
from functions.store.table import Conflict

SPANS_IN_ITEM_MAX = 1_000
"""What is selected in more pieces lies in items of its own."""


def kept(recovery: Recovery, lines: Sequence[Named] = ()) -> Recovery:
    """The recovery as its item holds it; what does not fit in there, and its file's lines, are written beside it."""
    parts = list(in_parts(recovery.spans)) if len(recovery.spans) > SPANS_IN_ITEM_MAX else []
    if parts:
        recovery = replace(recovery, spans=(), parts=tuple(lot_count(part) for part in parts))
    for number, spans in enumerate(parts):
        piece = Spans(recovery.id, recovery.fingerprint, number, tuple(spans), version=1)
        with suppress(Conflict):
            table.put(SPANS.item(piece, "recover", recovery.by), 0)
    for number, start in enumerate(range(0, len(lines), LINES_PER_ITEM)):
        some = Lines(recovery.id, recovery.fingerprint, number, tuple(lines[start : start + LINES_PER_ITEM]), version=1)
        with suppress(Conflict):
            table.put(LINES.item(some, "recover", recovery.by), 0)
    return recovery


def spans_of(recovery: Recovery, part: int) -> tuple[Span, ...]:
    """The spans of a part; of all, where there are no parts."""
    if not recovery.parts:
        return recovery.spans
    found = table.read(SPANS, keys.selected(recovery.id, recovery.fingerprint, part))
    assert found is not None, "parts are written before the order is"
    return found.spans


def lots_of(recovery: Recovery, first: int = 0) -> Iterator[Part]:
    """The lots of a recovery with what is selected of each, from the `first`-th on."""
    at = 0
    for part, count in enumerate(recovery.parts or (recovery.lots,)):
        if at + count > first:
            yield from islice(by_lot(list(spans_of(recovery, part))), max(0, first - at), None)
        at += count


def bits_of(recovery: Recovery) -> Callable[[int], int]:
    """Lot number → a bit for each index that is selected of it."""
    within = dict(lots_of(recovery))
    return lambda number: sum(span_bits(first, last) for first, last in within.get(number, ()))


def lines_of(recovery: Recovery, number: int) -> tuple[Named, ...]:
    """The `number`-th some of its file's lines; none after the last."""
    found = table.read(LINES, keys.file_lines(recovery.id, recovery.fingerprint, number))
    return found.lines if found is not None else ()
