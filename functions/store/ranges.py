"""Range commands: one change to many lots, written share by share, that a crash and a retry neither repeat nor undo.

The command's item is written first. Each lot remembers the commands done on it, with what they did; one that finds
its own id counts that lot as done. A lot forgets a command only once that command is known to have completed, and a
runner reads its command's item after its lots: completed means hands off, and not completed means that the lots it read
had forgotten nothing. So not even a runner that slept through the completion and eight later commands can touch a lot
again: its write is conditional on the lot's version. Of a share, which is one transaction, the others are written
without the lot whose version has moved, and that one alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile

from functions.domain.campaign import LOTS_PER_CALL_MAX, Batch
from functions.domain.command import Command, Piece
from functions.domain.errors import Refusal
from functions.domain.ids import refuse_reuse
from functions.domain.lot import (
    COMMANDS_PER_LOT_MAX,
    SEGMENTS_HELD_MAX,
    SEGMENTS_PER_LOT_MAX,
    Done,
    Lot,
    Segment,
    rewritten,
)
from functions.domain.selection import (
    Part,
    Selection,
    Span,
    by_lot,
    lot_count,
    of_lot,
    of_range,
    of_segments,
    of_serials,
)
from functions.domain.serials import LOT_SIZE
from functions.store import keys, lots, pool, table
from functions.store.aws import WriteWindowOver, write_window
from functions.store.entities import LOT
from functions.store.lots import read_many, refuse_unknown
from functions.store.records import BATCH, COMMAND
from functions.store.singles import (
    Apart,
    Change,
    Outcomes,
    Own,
    Touch,
    change_own,
    counted,
    ends_by_itself,
    recounted,
    touch_some,
)
from functions.store.table import CONFLICTS_MAX

Trace = list[tuple[int, int, str]]
"""Index ranges of a lot that were skipped, and why."""
Made = tuple[tuple[Segment, ...], Done, Trace]
"""A lot's segments as they shall be, what that is for the command, and what was skipped."""
UNCLEAR = "unclear"
"""Why something was skipped, where only the counts of its lot are known."""
PIECES_MAX = 7_000
"""A command whose order came as a file keeps so many pieces of what was skipped, or as many as the ranges of its lots:
with the spans of the longest file, as much as an item can hold."""
View = Callable[[Lot], Lot]
"""What of a lot a caller may know of and act on: the lot itself, or the segments of it that are the caller's own."""


def _whole(lot: Lot) -> Lot:
    return lot


def resolve(selection: Selection, view: View = _whole) -> list[Span]:
    """The spans that a selection names. Raises Refusal `not_found`, `still_generating`, or as `domain.selection`."""
    if selection.serials is not None:
        return of_serials(selection.serials)
    if selection.lot is not None:
        lot = table.read(LOT, keys.lot(selection.lot))
        seen = view(lot) if lot is not None else None
        if seen is None or not seen.segments:
            raise Refusal("not_found", f"There is no lot {selection.lot}.")
        return of_lot(seen) if seen is lot else of_segments(seen)
    if selection.batch is not None:
        return [generated(selection.batch).span]
    assert selection.first_serial is not None
    assert selection.last_serial is not None
    return of_range(selection.first_serial, selection.last_serial)


def generated(id: str) -> Batch:
    """A batch whose lots are all there. Raises Refusal `not_found`, `still_generating`."""
    batch = table.read(BATCH, keys.batch(id))
    if batch is None:
        raise Refusal("not_found", f"There is no batch {id}.")
    if batch.status != "completed":
        raise Refusal("still_generating", "Wait until the batch's status is completed.", retry_after_s=5)
    return batch


def known(spans: list[Span], view: View = _whole) -> dict[int, Lot]:
    """The lots that the spans touch, as the caller sees them; of one span over more than
    `LOTS_PER_CALL_MAX` only the outermost two.

    Raises Refusal `unknown_serials` where one of them lacks what is selected: a job finds out about those between, and
    counts them as skipped.
    """
    if len(spans) > 1 or lot_count(spans) <= LOTS_PER_CALL_MAX:  # single serials are so few that each is looked up
        parts = list(by_lot(spans))
    else:
        ends = (spans[0].first, spans[-1].last)
        parts = [(position // LOT_SIZE, [(position % LOT_SIZE, position % LOT_SIZE)]) for position in ends]
    found = {number: view(lot) for number, lot in read_many(number for number, _ in parts).items()}
    refuse_unknown(found, parts)
    return found


def again(id: str, fingerprint: str) -> Command | None:
    """The command that an earlier request made under this id, whatever has become of its vouchers since.

    Raises Refusal `idempotency_key_reused` where that was for another body.
    """
    return _same(table.read(COMMAND, keys.command(id)), fingerprint)


def _same(command: Command | None, fingerprint: str) -> Command | None:
    if command is not None:
        refuse_reuse(command.fingerprint, fingerprint)
    return command


def begin(command: Command) -> Command:
    """Write the command's item, or give back what an earlier request made of the same command, as `again`."""

    def once(current: Command | None) -> Command | None:
        return command if _same(current, command.fingerprint) is None else None

    return table.change(COMMAND, None, once, command.kind, command.by)


def run(
    command: Command,
    change: Change,
    touch: Touch | None,
    now: int,
    until: float,
    *,
    checkpoint: bool,
    one_by_one: bool = False,
    own: Own | None = None,
    apart: Apart = ends_by_itself,
    frees: bool = False,
) -> Command:
    """Do the lots that are left; stops early past `until` (monotonic), to be called again.

    What a command `frees` can be drawn again: it is supplied to its campaigns' pools before its lots count as done.

    With `one_by_one` vouchers are written singly from the start, so that scattered serials do not split their lots.
    Without `touch` none is: lots may be cut up to `SEGMENTS_HELD_MAX`, and what would cut them further is skipped.

    With `own` vouchers that have terms of their own (`apart` tells which may) are changed too, before their lot says
    that it is done.
    With `checkpoint` progress is written after each chunk, so that it shows and a resumption need not look back.
    """
    lots_before = command.lots_done
    todo = list(by_lot(list(command.spans)))[lots_before:]
    work = _Work(command, change, touch, one_by_one, own, apart, until)
    mine = stored = command  # another runner may be further than this one; what it did does not count for these lots
    skips: tuple[Piece, ...] = ()
    share = -(-min(len(todo), lots.CHUNK) // lots.WORKERS_MAX)
    shares = [todo[at : at + share] for at in range(0, len(todo), max(share, 1))]
    for groups in lots.in_chunks(shares, work.on, until, lots.WORKERS_MAX):
        each_done = [done for group in groups for done in group]
        at = mine.lots_done - lots_before
        done = [each for each in takewhile(bool, each_done) if each is not None]
        if frees and any(each.changed for each in done):
            pool.resupply(todo[at : at + len(done)], f"{command.id}.{mine.lots_done}", command.by)
        if command.by_line:
            later = sum(len(within) for _, within in todo[at + len(done) :])
            room = PIECES_MAX - len(mine.skips) - later
            skips = skipped_pieces(work.traces, todo[at : at + len(done)], done, room)
        mine = mine.after(done, now, skips)
        command = mine
        if checkpoint or mine.status == "completed":
            command = stored = _saved(stored, mine)
        if len(done) < len(each_done):
            break
    return command


def _saved(before: Command, command: Command) -> Command:
    def further(current: Command | None) -> Command | None:
        assert current is not None
        if current.lots_done >= command.lots_done:
            return None
        return command

    return table.change(COMMAND, before, further, command.kind, command.by)


@dataclass(frozen=True, slots=True)
class _Work:
    """A command as one runner does it. A worker takes its share of a chunk of lots at a time."""

    command: Command
    change: Change
    touch: Touch | None
    one_by_one: bool
    own: Own | None
    apart: Apart
    until: float
    finished: set[str] = field(default_factory=set)
    traces: dict[int, Trace] = field(default_factory=dict)

    def on(self, parts: list[Part]) -> list[Done | None]:
        """What was done to each lot; None where its single vouchers take longer than until then."""
        done = self._together(parts) if self.own is None and not self.one_by_one else {}
        return [done[number] if number in done else self._alone(number, ranges) for number, ranges in parts]

    def _together(self, parts: list[Part]) -> dict[int, Done]:
        """What was done to those lots that nobody else was at meanwhile; all of them take one read, one of the command
        and one write.
        """
        done: dict[int, Done] = {}
        with write_window(), suppress(WriteWindowOver):
            found = read_many(number for number, _ in parts)
            is_over = self._is_over()
            marked: list[tuple[Lot, Made]] = []
            for number, ranges in parts:
                lot = found.get(number)
                before = self._before(lot, ranges, is_over)
                if before is not None:
                    done[number] = before
                    continue
                assert lot is not None
                plain = self._plainly(lot, ranges, Outcomes())
                if plain is not None:
                    marked.append((lot, plain))
            while marked:
                moved = self._marked(marked)
                if not moved:
                    return done | {lot.number: made for lot, (_, made, _) in marked}
                marked = [each for place, each in enumerate(marked) if place not in moved]
        return done

    def _alone(self, number: int, ranges: list[tuple[int, int]]) -> Done | None:
        touched, outcomes = Outcomes(), Outcomes()
        conflicts = 0
        while conflicts < CONFLICTS_MAX:  # windows that only touch vouchers are as many as it takes
            with write_window():
                lot = table.read(LOT, keys.lot(number))
                before = self._before(lot, ranges, lot is not None and self._is_over())
                if before is not None:
                    return before
                assert lot is not None
                if self.own is not None and not change_own(self.command, lot, ranges, self.own, self.apart, outcomes):
                    if time.monotonic() > self.until:
                        return None
                    continue
                plain = self._plainly(lot, ranges, outcomes) if not self.one_by_one else None
                if plain is None:
                    assert self.touch is not None
                    if not touch_some(self.command, lot, ranges, self.change, self.touch, touched):
                        if time.monotonic() > self.until:
                            return None
                        continue
                    plain = self._singly(lot, ranges, touched)
                if not self._marked([(lot, plain)]):
                    return plain[1]
                conflicts += 1
        raise Refusal("try_again", "Others are changing the same lot.", retry_after_s=1)

    def _is_over(self) -> bool:
        """Whether the command has completed; it is read after the lots, which have forgotten nothing if it has not."""
        stored = table.read(COMMAND, keys.command(self.command.id))
        return stored is None or stored.status == "completed"

    def _before(self, lot: Lot | None, ranges: list[tuple[int, int]], is_over: bool) -> Done | None:
        """What was done to a lot before, where nothing is left to do."""
        if lot is None:
            return Done(self.command.id, 0, {"unknown": sum(last - first + 1 for first, last in ranges)})
        return Done(self.command.id, 0, {}) if is_over else lot.done(self.command.id)

    def _plainly(self, lot: Lot, ranges: list[tuple[int, int]], outcomes: Outcomes) -> Made | None:
        """The change by segments; None where it would cut the lot too small, and vouchers are to be written singly."""
        trace: Trace = []
        segments, done = applied(self.command.id, lot, ranges, self.change, trace)
        if self.touch is not None:
            return (segments, done, trace) if fits(lot, segments, SEGMENTS_PER_LOT_MAX) else None
        base = self.change
        if not fits(lot, segments, SEGMENTS_HELD_MAX):
            base, trace = partial(_refused, self.change), []
            segments, done = applied(self.command.id, lot, ranges, base, trace)
        return segments, recounted(done, lot, base, outcomes), trace

    def _singly(self, lot: Lot, ranges: list[tuple[int, int]], touched: Outcomes) -> Made:
        """The lot as it is, with what was done to its vouchers."""
        trace: Trace = []
        _, done = applied(self.command.id, lot, ranges, self.change, trace)
        trace += ((index, index, why) for index, why in touched.items() if why is not None)
        return lot.segments, counted(done, touched), trace

    def _marked(self, each: list[tuple[Lot, Made]]) -> set[int]:
        """Write lots with what was done to them, all or none; says which of them were changed meanwhile, by place."""
        writes = [
            (LOT, replace(lot, segments=segments, commands=(*_with_room(lot.commands, self.finished), done),
                          version=lot.version + 1), lot.version)
            for lot, (segments, done, _) in each
        ]  # fmt: skip
        moved = table.commit(writes, (), "", self.command.kind, self.command.by)
        if not moved:
            self.traces.update((lot.number, trace) for lot, (_, _, trace) in each)
        return moved


def skipped_pieces(traces: dict[int, Trace], parts: list[Part], done: list[Done], room: int) -> tuple[Piece, ...]:
    """What was skipped of these lots, neighbours of one reason together, in `room` pieces or one for each range.

    Where that is too few for a lot, or a run that crashed had done it, only its counts are left to tell.
    """
    pieces: list[Piece] = []
    left = room - sum(len(ranges) for _, ranges in parts)
    for (number, ranges), each in zip(parts, done, strict=True):
        trace = _joined(traces[number]) if number in traces else None
        if trace is None or len(trace) > len(ranges) + max(left, 0):
            why = next(iter(each.skipped)) if each.changed == 0 and len(each.skipped) == 1 else UNCLEAR
            trace = [(first, last, why) for first, last in ranges] if each.skipped else []
        left -= len(trace) - len(ranges)
        pieces += (Piece(number * LOT_SIZE + first, number * LOT_SIZE + last, why) for first, last, why in trace)
    return tuple(pieces)


def _joined(trace: Trace) -> Trace:
    joined: Trace = []
    for first, last, why in sorted(trace):
        if joined and (joined[-1][1] + 1, joined[-1][2]) == (first, why):
            first = joined.pop()[0]
        joined.append((first, last, why))
    return joined


def fits(lot: Lot, segments: tuple[Segment, ...], segments_max: int) -> bool:
    """Whether a lot may be cut like this; one that is cut further already may stay so."""
    return len(segments) <= max(segments_max, len(lot.segments))


def _refused(change: Change, lot: Lot, segment: Segment) -> Segment | str:
    outcome = change(lot, segment)
    return outcome if isinstance(outcome, str) else "lot_fragmented"


def applied(
    command: str, lot: Lot, ranges: list[tuple[int, int]], change: Change, trace: Trace | None = None
) -> tuple[tuple[Segment, ...], Done]:
    """What the lot's segments become, how many vouchers change, and how many are skipped for which reason.

    `trace` is told what is skipped.
    """
    changed, skipped = 0, dict[str, int]()

    def counted(segment: Segment) -> Segment:
        nonlocal changed
        outcome = change(lot, segment)
        if isinstance(outcome, str):
            skipped[outcome] = skipped.get(outcome, 0) + len(segment)
            if trace is not None:
                trace.append((segment.first, segment.last, outcome))
            return segment
        changed += len(segment)
        return outcome

    segments = rewritten(lot.segments, ranges, counted)
    missing = sum(last - first + 1 for first, last in ranges) - changed - sum(skipped.values())
    return segments, Done(command, changed, skipped | ({"unknown": missing} if missing else {}))


def _with_room(commands: tuple[Done, ...], finished: set[str]) -> tuple[Done, ...]:
    """The commands that a lot goes on remembering: no completed one, and none that a restored table has lost.

    Raises Refusal `lot_busy` where none may be forgotten.
    """
    if len(commands) < COMMANDS_PER_LOT_MAX:
        return commands
    unsure = [d.command for d in commands if d.command not in finished]
    stored = ((id, table.read(COMMAND, keys.command(id))) for id in unsure)
    finished.update(id for id, command in stored if command is None or command.status == "completed")
    kept = tuple(d for d in commands if d.command not in finished)
    if len(kept) == COMMANDS_PER_LOT_MAX:
        raise Refusal("lot_busy", "Repeat or wait for the commands that have not finished.", retry_after_s=5)
    return kept
