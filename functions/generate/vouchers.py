"""A batch's vouchers one by one: their effective status, and their codes for those who may see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from functions.domain.actor import By
from functions.domain.authority import takes_code
from functions.domain.campaign import Batch
from functions.domain.command import Reveal
from functions.domain.lot import Lot
from functions.domain.selection import refuse_unknown
from functions.domain.serials import LOT_SIZE, position_of, serial_of
from functions.domain.voucher import standing
from functions.store import authority, cursors, keys, lots, stepup, table
from functions.store.codes import codes_of
from functions.store.entities import LOT, VOUCHER
from functions.store.records import REVEAL
from functions.store.table import BATCH_GET_MAX
from functions.store.tally import touched_in

LOTS_PER_PAGE_MAX = 50
READS_PER_PAGE_MAX = 20
"""A page looks at so much and no more, so that a rare status cannot make it slow; it may then be short."""

Line = tuple[str, str]


def page(
    batch: Batch, status: str | None, limit: int, cursor: str | None, by: By, now: int
) -> tuple[list[Line], str | None]:
    """(serial, effective status) from the cursor on, and the cursor of what follows.

    Raises Refusal `invalid_cursor`.
    """
    bound_to = (by.client, batch.id, status or "")
    position = int(cursors.unseal(cursor, *bound_to)) if cursor is not None else batch.span.first
    lines: list[Line] = []
    for _ in range(LOTS_PER_PAGE_MAX):
        if position > batch.span.last:
            return lines, None
        lot = table.read(LOT, keys.lot(position // LOT_SIZE))
        if lot is None:
            return lines, None
        last = min(batch.span.last, lot.number * LOT_SIZE + LOT_SIZE - 1)
        for reads, (next_position, shown) in enumerate(_scanned(lot, status, position, last, now), 1):
            room = limit - len(lines)
            lines += shown[:room]
            if len(shown) > room:
                return lines, cursors.seal(str(position_of(shown[room][0])), *bound_to)
            position = next_position
            if reads == READS_PER_PAGE_MAX:
                break
        if position <= last:
            break
    return lines, cursors.seal(str(position), *bound_to) if position <= batch.span.last else None


def _scanned(lot: Lot, status: str | None, first: int, last: int, now: int) -> Iterator[tuple[int, list[Line]]]:
    """The lines of `first..last` in pieces of one read each, with the position from which the next piece goes on.

    What the index knows to be touched, and what its segment says to have the status, is read and judged for itself.
    """
    start = lot.number * LOT_SIZE
    candidates = range(first, last + 1) if status is None else _candidates(lot, status, first, last, now)
    for at in range(0, len(candidates), BATCH_GET_MAX):
        piece = candidates[at : at + BATCH_GET_MAX]
        items = table.get_many(keys.voucher(position) for position in piece)
        shown = []
        for position in piece:
            item = items.get(keys.voucher(position))
            stands = standing(lot, position - start, VOUCHER.load(item) if item else None, now)
            if stands is not None and status in (None, stands.status):
                shown.append((serial_of(position), stands.status))
        yield piece[-1] + 1 if at + BATCH_GET_MAX < len(candidates) else last + 1, shown
    if not candidates:
        yield last + 1, []


def _candidates(lot: Lot, status: str, first: int, last: int, now: int) -> list[int]:
    start = lot.number * LOT_SIZE
    found = {start + index for index in touched_in(lot)}
    for segment in lot.segments:
        stands = standing(lot, segment.first, None, now)
        if stands is not None and stands.status == status:
            found.update(range(start + segment.first, start + segment.last + 1))
    return sorted(position for position in found if first <= position <= last)


def reveal(
    id: str, serials: list[str], reason: str, by: By, now: int, one_time_code: str | None = None
) -> tuple[str, list[Line]]:
    """(serial, code) in the order asked for, once the reveal is on record.

    Raises Refusal `unknown_serials`, or as `codes_of` and `stepup.require`.
    """
    positions = {serial: position_of(serial) for serial in serials}
    known = [position for position in positions.values() if position is not None]
    found = lots.read_many(position // LOT_SIZE for position in known)
    items = table.get_many(keys.voucher(position) for position in known) if known else {}
    generations: dict[int, dict[int, int]] = {}
    for position in known:
        lot, item = found.get(position // LOT_SIZE), items.get(keys.voucher(position))
        if lot is None:
            continue
        stands = standing(lot, position % LOT_SIZE, VOUCHER.load(item) if item else None, now)
        if stands is not None:
            generations.setdefault(lot.number, {})[position % LOT_SIZE] = stands.voucher.code_version
    shown = {
        serial_of(number * LOT_SIZE + index): code
        for number, of_lot in generations.items()
        for index, code in codes_of(found[number], of_lot).items()
    }
    refuse_unknown([serial for serial in serials if serial not in shown])
    shares = Counter(lot.rules.campaign for number, lot in found.items() for _ in generations.get(number, ()))
    rules = authority.rules(shares)
    if any(takes_code(rules[campaign], "reveal", much) for campaign, much in shares.items()):
        stepup.require(one_time_code, id, by, now)
    record = Reveal(id, tuple(serials), reason, by, now, sandbox=all(found[n].rules.sandbox for n in generations))
    table.change(REVEAL, None, lambda current: record if current is None else None, "reveal", by)
    return id, [(serial, shown[serial]) for serial in serials]
