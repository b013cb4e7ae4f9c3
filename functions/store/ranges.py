"""Range commands: one change to many lots, written lot by lot, that a crash and a retry neither repeat nor undo.

The command's item is written first. Each lot remembers the commands done on it, with what they did; one that finds
its own id counts that lot as done. A lot forgets a command only once that command is known to have completed, and a
runner reads its command's item after each lot: completed means hands off, and not completed means that the lot it read
had forgotten nothing. So not even a runner that slept through the completion and eight later commands can touch a lot
again: its write is conditional on the lot's version.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from functions.domain.campaign import LOTS_PER_CALL_MAX
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.lot import COMMANDS_PER_LOT_MAX, SEGMENTS_PER_LOT_MAX, Done, Lot, Segment, rewritten
from functions.domain.selection import Selection, Span, by_lot, lot_count, of_lot, of_range, of_serials
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import Voucher, reclaimed, untouched
from functions.store import keys, table
from functions.store.aws import write_window
from functions.store.entities import BATCH, COMMAND, LOT, VOUCHER
from functions.store.lots import in_chunks, read_many, refuse_unknown
from functions.store.table import CONFLICTS_MAX, Conflict

Change = Callable[[Lot, Segment], Segment | str]
"""What a command does to vouchers alike: the segment as it shall be, or the reason why they are skipped."""
Touch = Callable[[Segment, Voucher | None, Voucher], Voucher | str]
"""The same for one voucher where its lot cannot be split any further: given its segment, its item, if any, and what it
would be as part of its changed segment, the item as it shall be, or the reason why it is skipped. An item that a
reclaim has ended is not given: its index has begun anew."""
TOUCHED_PER_WINDOW_MAX = 400
"""So many vouchers are written one by one on the strength of one read of their lot."""


def resolve(selection: Selection) -> list[Span]:
    """The spans that a selection names. Raises Refusal `not_found`, `still_generating`, or as `domain.selection`."""
    if selection.serials is not None:
        return of_serials(selection.serials)
    if selection.lot is not None:
        lot = table.read(LOT, keys.lot(selection.lot))
        if lot is None:
            raise Refusal("not_found", f"There is no lot {selection.lot}.")
        return of_lot(lot)
    if selection.batch is not None:
        batch = table.read(BATCH, keys.batch(selection.batch))
        if batch is None:
            raise Refusal("not_found", f"There is no batch {selection.batch}.")
        if batch.status != "completed":
            raise Refusal("still_generating", "Wait until the batch's status is completed.", retry_after_s=5)
        return [batch.span]
    assert selection.first_serial is not None
    assert selection.last_serial is not None
    return of_range(selection.first_serial, selection.last_serial)


def known(spans: list[Span]) -> dict[int, Lot]:
    """The lots that the spans touch, of one span over more than `LOTS_PER_CALL_MAX` only the outermost two.

    Raises Refusal `unknown_serials` where one of them lacks what is selected: a job finds out about those between, and
    counts them as skipped.
    """
    if len(spans) > 1 or lot_count(spans) <= LOTS_PER_CALL_MAX:  # single serials are so few that each is looked up
        parts = list(by_lot(spans))
    else:
        ends = (spans[0].first, spans[-1].last)
        parts = [(position // LOT_SIZE, [(position % LOT_SIZE, position % LOT_SIZE)]) for position in ends]
    found = read_many(number for number, _ in parts)
    refuse_unknown(found, parts)
    return found


def begin(command: Command) -> Command:
    """Write the command's item, or give back what an earlier request made of the same command.

    Raises Refusal `idempotency_key_reused` where that was for another body.
    """

    def once(current: Command | None) -> Command | None:
        if current is None:
            return command
        if current.fingerprint != command.fingerprint:
            raise Refusal("idempotency_key_reused", "Use a new key for a new order.")
        return None

    return table.change(COMMAND, None, once, command.kind, command.by)


def run(
    command: Command,
    change: Change,
    touch: Touch,
    now: int,
    until: float,
    *,
    checkpoint: bool,
    one_by_one: bool = False,
) -> Command:
    """Do the lots that are left; stops early past `until` (monotonic), to be called again.

    With `one_by_one` vouchers are written singly from the start, so that scattered serials do not split their lots.

    With `checkpoint` progress is written after each chunk, so that it shows and a resumption need not look back.
    """
    todo = list(by_lot(list(command.spans)))[command.lots_done :]
    finished: set[str] = set()
    work = partial(_do_lot, command, change, touch, one_by_one, finished)
    mine = command  # another runner may be further than this one; what it did does not count for these lots
    for done in in_chunks(todo, lambda each: work(*each), until):
        mine = mine.after(done, now)
        command = _saved(mine) if checkpoint or mine.status == "completed" else mine
    return command


def _saved(command: Command) -> Command:
    def further(current: Command | None) -> Command | None:
        assert current is not None
        if current.lots_done >= command.lots_done:
            return None
        return command

    stored = table.read(COMMAND, keys.command(command.id))
    return table.change(COMMAND, stored, further, command.kind, command.by)


def _do_lot(
    command: Command,
    change: Change,
    touch: Touch,
    one_by_one: bool,
    finished: set[str],
    number: int,
    ranges: list[tuple[int, int]],
) -> Done:
    touched: dict[int, str | None] = {}
    conflicts = 0
    while conflicts < CONFLICTS_MAX:  # windows that only touch vouchers are as many as it takes
        with write_window():
            lot = table.read(LOT, keys.lot(number))
            if lot is None:
                return Done(command.id, 0, {"unknown": sum(last - first + 1 for first, last in ranges)})
            stored = table.read(COMMAND, keys.command(command.id))
            if stored is None or stored.status == "completed":
                return Done(command.id, 0, {})
            known = lot.done(command.id)
            if known is not None:
                return known
            segments, done = applied(command.id, lot, ranges, change)
            if one_by_one or len(segments) > SEGMENTS_PER_LOT_MAX:
                if not _touch_some(command, lot, ranges, change, touch, touched):
                    continue
                segments, done = lot.segments, _counted(done, touched)
            commands = (*_with_room(lot.commands, finished), done)
            marked = replace(lot, segments=segments, commands=commands, version=lot.version + 1)
            try:
                table.put(LOT.item(marked, command.kind, command.by), lot.version)
            except Conflict:
                conflicts += 1
                continue
            return done
    raise Refusal("try_again", "Others are changing the same lot.", retry_after_s=1)


def applied(command: str, lot: Lot, ranges: list[tuple[int, int]], change: Change) -> tuple[tuple[Segment, ...], Done]:
    """What the lot's segments become, how many vouchers change, and how many are skipped for which reason."""
    changed, skipped = 0, dict[str, int]()

    def counted(segment: Segment) -> Segment:
        nonlocal changed
        outcome = change(lot, segment)
        if isinstance(outcome, str):
            skipped[outcome] = skipped.get(outcome, 0) + len(segment)
            return segment
        changed += len(segment)
        return outcome

    segments = rewritten(lot.segments, ranges, counted)
    missing = sum(last - first + 1 for first, last in ranges) - changed - sum(skipped.values())
    return segments, Done(command, changed, skipped | ({"unknown": missing} if missing else {}))


def _touch_some(
    command: Command,
    lot: Lot,
    ranges: list[tuple[int, int]],
    change: Change,
    touch: Touch,
    touched: dict[int, str | None],
) -> bool:
    """The same change on items of single vouchers; says whether all are done."""
    left = TOUCHED_PER_WINDOW_MAX
    for index in (i for first, last in ranges for i in range(first, last + 1) if i not in touched):
        segment = lot.segment(index)
        outcome = change(lot, segment) if segment is not None else "unknown"
        if segment is None or isinstance(outcome, str):
            continue
        if left == 0:
            return False
        fresh = replace(untouched(lot, outcome, index), valid_until=outcome.valid_until)
        touched[index] = _touch_one(command, partial(_touched, command.id, touch, segment, fresh), fresh.position)
        left -= 1
    return True


def _touch_one(
    command: Command, decide: Callable[[Voucher | None], Voucher | None], position: int, item: Voucher | None = None
) -> str | None:
    """None once it is written, or why it is skipped; most have no item, so one is read only before such a one is."""
    try:
        table.change(VOUCHER, item, decide, command.kind, command.by)
    except _Skipped as skipped:
        key = keys.voucher(position)
        stored = table.get_many([key]).get(key) if skipped.item is None else None
        return skipped.reason if stored is None else _touch_one(command, decide, position, VOUCHER.load(stored))
    return None


class _Skipped(Exception):  # noqa: N818 - it is an outcome
    def __init__(self, reason: str, item: Voucher | None) -> None:
        super().__init__(reason)
        self.reason, self.item = reason, item


def _touched(command: str, touch: Touch, segment: Segment, fresh: Voucher, item: Voucher | None) -> Voucher | None:
    if item is not None and item.command == command:
        return None
    if item is not None and reclaimed(segment, item):
        outcome = touch(segment, None, replace(fresh, redemptions=item.redemptions))
    else:
        outcome = touch(segment, item, fresh)
    if isinstance(outcome, str):
        raise _Skipped(outcome, item)
    return replace(outcome, command=command)


def _counted(done: Done, touched: dict[int, str | None]) -> Done:
    skipped = dict(done.skipped)
    for reason in (reason for reason in touched.values() if reason is not None):
        skipped[reason] = skipped.get(reason, 0) + 1
    return Done(done.command, sum(reason is None for reason in touched.values()), skipped)


def _with_room(commands: tuple[Done, ...], finished: set[str]) -> tuple[Done, ...]:
    """The commands that a lot goes on remembering. Raises Refusal `lot_busy` where none may be forgotten."""
    if len(commands) < COMMANDS_PER_LOT_MAX:
        return commands
    unsure = [d.command for d in commands if d.command not in finished]
    stored = (table.read(COMMAND, keys.command(id)) for id in unsure)
    finished.update(c.id for c in stored if c is not None and c.status == "completed")
    kept = tuple(d for d in commands if d.command not in finished)
    if len(kept) == COMMANDS_PER_LOT_MAX:
        raise Refusal("lot_busy", "Repeat or wait for the commands that have not finished.", retry_after_s=5)
    return kept
