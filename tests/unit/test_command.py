"""Range commands: the sum of what was done lot by lot."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from functions.domain.actor import By
from functions.domain.campaign import LOTS_PER_CALL_MAX
from functions.domain.command import Command
from functions.domain.lot import SEGMENTS_HELD_MAX, Done
from functions.domain.selection import Span, by_lot
from functions.domain.serials import LOT_SIZE
from functions.store import wire
from functions.store.ranges import PIECES_MAX, UNCLEAR, skipped_pieces
from functions.store.records import COMMAND

BY = By("client", "operator", "operator", "192.0.2.1", "request")
reasons = st.dictionaries(st.sampled_from(["recalled", "expired", "unknown"]), st.integers(1, 10_000))
dones = st.builds(Done, st.just("act_1"), st.integers(0, 10_000), reasons)


@given(st.lists(dones, min_size=1, max_size=12), st.integers(1, 12))
def test_a_command_adds_up_whatever_the_chunks(done: list[Done], chunk: int) -> None:
    command = Command("act_1", "activate", "f", (Span(0, 9),), len(done), BY, 1)
    for start in range(0, len(done), chunk):
        assert (command.status, command.completed_at) == ("in_progress", None)
        command = command.after(done[start : start + chunk], now=7)
    assert (command.status, command.completed_at, command.lots_done) == ("completed", 7, len(done))
    assert command.changed == sum(d.changed for d in done)
    assert sum(command.skipped.values()) == sum(sum(d.skipped.values()) for d in done)
    assert set(command.skipped) == {reason for d in done for reason in d.skipped}


ITEM_BYTES_MAX = 409_600
"""What DynamoDB takes: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html."""


def stored_bytes(typed: dict[str, Any]) -> int:
    """The size of a value as DynamoDB counts it, rounded up."""
    ((kind, value),) = typed.items()
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + stored_bytes(each) for name, each in value.items())
    if kind == "L":
        return 3 + sum(1 + stored_bytes(each) for each in value)
    return len(value) // 2 + 3 if kind == "N" else len(str(value).encode())


def kept(spans: tuple[Span, ...], reasons: tuple[str, ...], cuts: int) -> Command:
    """A command of a file in whose lots each of `cuts` pieces was skipped, for one reason after the other."""
    command = Command("act_" + 24 * "x", "activate", 24 * "f", spans, 0, BY, 1_790_000_000, by_line=True)
    parts = list(by_lot(list(spans)))
    traces = {}
    for number, ranges in parts:
        pieces = []
        for first, last in ranges:
            step = max(1, (last - first + 1) // cuts)
            starts = list(range(first, last + 1, step))[:cuts]
            ends = [*(start - 1 for start in starts[1:]), last]
            pieces += [
                (*ends_of, reasons[n % len(reasons)]) for n, ends_of in enumerate(zip(starts, ends, strict=True))
            ]
        traces[number] = pieces
    done = [Done(command.id, 0, dict.fromkeys(reasons, LOT_SIZE // 2)) for _ in parts]
    return command.after(done, 1_790_000_000, skipped_pieces(traces, parts, done, PIECES_MAX))


def size(command: Command) -> int:
    return stored_bytes({"M": {name: wire.write(value) for name, value in COMMAND.item(command, "x", BY).items()}})


PACKS = (Span(123_456 * LOT_SIZE, (123_456 + LOTS_PER_CALL_MAX) * LOT_SIZE - 1),)


def test_neighbours_that_were_skipped_alike_are_one_piece() -> None:
    command = kept(PACKS, ("already_active",), SEGMENTS_HELD_MAX)
    assert [(first, last) for first, last, _ in command.skips] == [
        (number * LOT_SIZE, number * LOT_SIZE + LOT_SIZE - 1) for number in PACKS[0].lots
    ]


def test_a_command_never_outgrows_its_item_and_says_so_where_it_would() -> None:
    scattered = tuple(Span(at, at) for at in range(8_234_567 * LOT_SIZE, 8_234_567 * LOT_SIZE + 10_082, 2))
    for spans, cuts in ((PACKS, SEGMENTS_HELD_MAX), (scattered, 1)):
        command = kept(spans, ("partly_redeemed", "already_active"), cuts)
        assert size(command) < ITEM_BYTES_MAX
        told = sum(last - first + 1 for first, last, _ in command.skips)
        assert told == sum(span.size for span in spans)
        whys = {why for _, _, why in command.skips}
        assert (UNCLEAR in whys) == (cuts > 1)
