"""What a recovery came to: serial by serial for what was skipped, as a file (CSV) for all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from functions.domain.actor import By
from functions.domain.lines import merged, overlapping
from functions.domain.pieces import LINES_PER_ITEM
from functions.domain.recovery import Named, Recovery, Report
from functions.domain.selection import Part, Span, by_lot
from functions.domain.serials import LOT_SIZE, serial_of
from functions.store import cursors, keys, table
from functions.store.records import REPORT
from functions.store.selected import lines_of, lots_of
from functions.store.table import BATCH_GET_MAX

LINES_PER_PAGE = 10_000
LOTS_PER_PAGE_MAX = 2_000
"""So many lots a page of a file looks at; it may be short."""
HEADER = "first_serial,last_serial,quantity,outcome,reason,channel"
HEADER_OF_FILE = "line,first_serial,last_serial,quantity,outcome,detail,channel"
RECOVERED, PARTLY, SKIPPED, IN_PROGRESS = "recovered", "partly_recovered", "skipped", "in_progress"

Line = tuple[str, str]


class Piece(NamedTuple):
    """What became of positions `first..last`."""

    first: int
    last: int
    outcome: str
    reason: str = ""

    def text(self) -> str:
        """As a line of a file."""
        quantity = self.last - self.first + 1
        return f"{serial_of(self.first)},{serial_of(self.last)},{quantity},{self.outcome},{self.reason}"


def skipped(recovery: Recovery, limit: int, cursor: str | None, by: By) -> tuple[list[Line], str | None]:
    """(serial, reason) of what was left as it is, from the cursor on; a page may be short.

    Nothing is looked for beyond the last of all that was counted. Raises Refusal `invalid_cursor`.
    """
    bound_to = (by.client, "skipped", recovery.id)
    start = int(cursors.unseal(cursor, *bound_to)) if cursor is not None else 0
    lines: list[Line] = []
    left = sum(recovery.skipped.values()) if cursor is None else None
    done = [part for part in islice(lots_of(recovery), recovery.lots_done) if part[0] >= start // LOT_SIZE]
    for piece in _pieces(recovery, done[:LOTS_PER_PAGE_MAX] if left != 0 else ()):
        if piece.outcome != SKIPPED:
            continue
        for position in range(max(piece.first, start), piece.last + 1):
            if len(lines) == limit:
                return lines, cursors.seal(str(position), *bound_to)
            lines.append((serial_of(position), piece.reason))
        if len(lines) == left:
            return lines, None
    more = done[LOTS_PER_PAGE_MAX:] if left != 0 else []
    return lines, cursors.seal(str(more[0][0] * LOT_SIZE), *bound_to) if more else None


def page(recovery: Recovery, cursor: str | None, by: By) -> tuple[str, str | None]:
    """The next lines of all that was selected, neighbours alike as one, and where to go on.

    The first page has a header. What is not accounted for yet is `in_progress`. What came as a file is answered line by
    line. Raises Refusal `invalid_cursor`.
    """
    if recovery.lines:
        return _page_of_file(recovery, cursor, by)
    bound_to = (by.client, "report", recovery.id)
    start = int(cursors.unseal(cursor, *bound_to)) if cursor is not None else 0
    todo = [part for part in lots_of(recovery) if part[0] >= start // LOT_SIZE]
    lines: list[Piece] = []
    for piece in _pieces(recovery, todo[:LOTS_PER_PAGE_MAX]):
        if piece.last < start:
            continue
        piece = piece._replace(first=max(piece.first, start))
        if lines and lines[-1].last + 1 == piece.first and lines[-1][2:] == piece[2:]:
            piece = piece._replace(first=lines.pop().first)
        elif len(lines) == LINES_PER_PAGE:
            return _text(recovery, lines, cursor), cursors.seal(str(piece.first), *bound_to)
        lines.append(piece)
    more = todo[LOTS_PER_PAGE_MAX:]
    following = cursors.seal(str(more[0][0] * LOT_SIZE), *bound_to) if more else None
    return _text(recovery, lines, cursor), following


def _text(recovery: Recovery, lines: list[Piece], cursor: str | None) -> str:
    return _file(recovery, HEADER, (piece.text() for piece in lines), cursor)


def _file(recovery: Recovery, header: str, lines: Iterable[str], cursor: str | None) -> str:
    head = [header] if cursor is None else []
    return "".join(f"{line}\r\n" for line in (*head, *(f"{line},{recovery.channel or ''}" for line in lines)))


def _page_of_file(recovery: Recovery, cursor: str | None, by: By) -> tuple[str, str | None]:
    """The same for the lines of a file, as many as an item holds."""
    bound_to = (by.client, "lines", recovery.id)
    number = int(cursors.unseal(cursor, *bound_to)) if cursor is not None else 0
    lines = lines_of(recovery, number)
    spans = merged(Span(line.first, line.last) for line in lines if not line.problem)
    pieces = [piece for piece in _pieces(recovery, by_lot(spans)) if piece.outcome != RECOVERED]
    text = _file(recovery, HEADER_OF_FILE, (_answer(line, pieces) for line in lines), cursor)
    more = (number + 1) * LINES_PER_ITEM < recovery.lines
    return text, cursors.seal(str(number + 1), *bound_to) if more else None


def _answer(line: Named, pieces: list[Piece]) -> str:
    """What became of a line; `pieces` are those of the file's vouchers that were not recovered."""
    if line.problem:
        return f"{line.number},,,,refused,{line.problem}"
    reasons = Counter[str]()
    for first, last, outcome, reason in overlapping(Span(line.first, line.last), pieces):
        reasons[reason or outcome] += min(last, line.last) - max(first, line.first) + 1
    quantity, left = line.last - line.first + 1, sum(reasons.values())
    outcome = RECOVERED if not left else SKIPPED if left == quantity else PARTLY
    if IN_PROGRESS in reasons:
        outcome = IN_PROGRESS
    detail = "; ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items()) if reason != IN_PROGRESS)
    return f"{line.number},{serial_of(line.first)},{serial_of(line.last)},{quantity},{outcome},{detail}"


def _pieces(recovery: Recovery, todo: Iterable[Part]) -> Iterator[Piece]:
    """What became of what was selected, in order."""
    left = iter(todo)
    while some := list(islice(left, BATCH_GET_MAX)):
        items = table.get_many(keys.report(recovery.id, number) for number, _ in some)
        for number, ranges in some:
            item = items.get(keys.report(recovery.id, number))
            yield from _of_lot(number, ranges, REPORT.load(item) if item is not None else None)


def _of_lot(number: int, ranges: list[tuple[int, int]], report: Report | None) -> Iterator[Piece]:
    start = number * LOT_SIZE
    for first, last in ranges:
        if report is None:
            yield Piece(start + first, start + last, IN_PROGRESS)
            continue
        at = first
        for skip in report.skipped:
            low, high = max(skip.first, first), min(skip.last, last)
            if low > high:
                continue
            if at < low:
                yield Piece(start + at, start + low - 1, RECOVERED)
            yield Piece(start + low, start + high, SKIPPED, skip.reason)
            at = high + 1
        if at <= last:
            yield Piece(start + at, start + last, RECOVERED)
