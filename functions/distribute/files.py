"""Orders that come as a file: the lines that name vouchers are one order, and each line is told what came of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

from functions.domain.campaign import LOTS_PER_CALL_MAX
from functions.domain.command import Command, Piece
from functions.domain.errors import Refusal
from functions.domain.lines import Line, lines, merged, overlapping
from functions.domain.lot import Lot
from functions.domain.selection import Span, lot_count
from functions.store.lots import gaps, read_many
from functions.store.reach import Reach

UNKNOWN = "names serials that do not exist"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a line; `detail` says why it was not, or not wholly, done."""

    line: int
    status: str
    detail: str | None = None


def digest(content: bytes) -> str:
    """What tells two files apart."""
    return hashlib.sha256(content).hexdigest()


def spans(content: bytes, reach: Reach) -> list[Span]:
    """What the good lines of a file name, of what is within reach.

    Raises Refusal `empty_selection` that says of each line what is wrong with it where none is good, `invalid_request`
    where they are about more than `LOTS_PER_CALL_MAX` lots.
    """
    found = lines(content)
    named = [line.span for line in found if line.span is not None]
    count = lot_count(merged(named))
    if count > LOTS_PER_CALL_MAX:
        detail = f"is about {count} lots; send files about at most {LOTS_PER_CALL_MAX}, or one range"
        raise Refusal("invalid_request", errors=[{"field": "body", "detail": detail}])
    lots = {n: reach.view(lot) for n, lot in read_many(number for span in named for number in span.lots).items()}
    good = [span for span in named if _exists(span, lots)]
    if not good:
        errors = [{"field": f"line {line.number}", "detail": line.problem or UNKNOWN} for line in found]
        raise Refusal("empty_selection", "No line names a voucher.", errors=errors)
    return merged(good)


def _exists(span: Span, lots: dict[int, Lot]) -> bool:
    return all(number in lots and not gaps(lots[number], *span.within(number)) for number in span.lots)


def outcomes(content: bytes, command: Command) -> list[Outcome]:
    """What came of each line of the file that a command was given as."""
    skips = sorted(command.skips)
    return [_outcome(line, command, skips) for line in lines(content)]


def _outcome(line: Line, command: Command, skips: list[Piece]) -> Outcome:
    if line.span is None or not overlapping(line.span, command.spans):
        return Outcome(line.number, "refused", line.problem or UNKNOWN)
    if command.status != "completed":
        return Outcome(line.number, "in_progress")
    reasons = Counter[str]()
    for first, last, reason in overlapping(line.span, skips):
        reasons[reason] += min(last, line.span.last) - max(first, line.span.first) + 1
    if not reasons:
        return Outcome(line.number, "done")
    detail = ", ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items()))
    return Outcome(line.number, "skipped" if sum(reasons.values()) == line.span.size else "partly_done", detail)
