"""Recoveries that come as a file, and those of a partner: what fits no item, line by line, and nobody else's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from functions.distribute import channels, distributions
from functions.domain import pieces
from functions.domain.actor import By
from functions.domain.channel import Channel
from functions.domain.lot import Scope
from functions.domain.recovery import Action, Order, Recovery, Via
from functions.domain.selection import Selection, Span
from functions.domain.serials import LOT_SIZE, serial_of
from functions.recover import reports
from functions.recover import service as recover
from functions.redeem import service as redeem
from functions.store import selected
from tests.engine.engines import on_referee
from tests.engine.recovering import adds_up, finished, resumed
from tests.engine.wire import Crash, Wire, crash_after, is_write
from tests.engine.world import NOW, OPERATOR, World, later, order, outcome, till

PARTNER = By("partner-1", "partner", "tenant-1", "192.0.2.5", "request-1")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a few lines is a long one."""
    monkeypatch.setattr(selected, "SPANS_IN_ITEM_MAX", 2)
    monkeypatch.setattr(pieces, "SPANS_PER_ITEM", 3)
    for module in (pieces, selected, reports):
        monkeypatch.setattr(module, "LINES_PER_ITEM", 4)


def sent(id: str, lines: list[str], action: Action, by: By = OPERATOR, lifts: str | None = None) -> Recovery:
    content = "\r\n".join(lines).encode()
    asked = Order(None, action, Scope.ALL, "stolen", lifts=lifts, via=Via.SHOP_FILE, file=f"digest of {content!r}")
    return recover.create(id, asked, by, NOW, later(), content)


def answered(recovery: Recovery) -> Iterator[list[str]]:
    """The lines of the report."""
    cursor, header = None, True
    while header or cursor is not None:
        text, cursor = reports.page(recovery, cursor, OPERATOR)
        lines = text.split("\r\n")[:-1]
        if header:
            assert lines.pop(0) == "line,first_serial,last_serial,quantity,outcome,detail,channel"
        header = False
        yield from (line.split(",") for line in lines)


def scattered(world: World, count: int, apart: int = 3) -> tuple[Any, list[int]]:
    """An active batch over two lots, and positions of it around the border of the lots."""
    batch = world.batch(world.campaign(redemption="balance"), LOT_SIZE + 1_000)
    world.activate(Selection(batch=batch.id))
    border = (batch.first // LOT_SIZE + 1) * LOT_SIZE
    return batch, [border + apart * (n - count // 2) for n in range(count)]


def test_each_line_is_told_what_came_of_it(world: World) -> None:
    batch, positions = scattered(world, 8)
    first = batch.first
    codes = world.codes(batch.span._replace(last=first + 9))
    for code in codes[:2]:
        redeem.create(order(code), "key", till(1), NOW)
    lines = [
        "serial", serial_of(positions[0]), f"{serial_of(first)},{serial_of(first + 9)}", serial_of(positions[0]),
        "ABCD-EFGH-JKMN-PQRS", "", serial_of(batch.span.last + 1), f"{serial_of(first + 20)};{serial_of(first + 29)}",
    ]  # fmt: skip
    recovery = sent("rec_file", lines, Action.VOID)
    assert {line[4] for line in answered(recovery)} == {"in_progress", "refused"}
    recovery = finished(recovery)
    adds_up(recovery)
    assert (recovery.recovered, recovery.skipped) == (19, {"redeemed": 2, "unknown": 1})
    assert [(line[0], line[3], line[4], line[5]) for line in answered(recovery)] == [
        ("2", "1", "recovered", ""),
        ("3", "10", "partly_recovered", "redeemed: 2"),
        ("4", "", "refused", "repeats serials of line 2"),
        ("5", "", "refused", "no such serial"),
        ("7", "1", "skipped", "unknown: 1"),
        ("8", "10", "recovered", ""),
    ]
    again = sent("rec_file", lines, Action.VOID)
    assert again == recovery
    assert outcome(lambda: sent("rec_file", lines[:-1], Action.VOID)) == "idempotency_key_reused"
    assert outcome(lambda: sent("rec_none", ["serial", "x"], Action.VOID)) == "empty_selection"


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("action", [Action.VOID, Action.RECLAIM, Action.SUSPEND])
def test_a_file_that_fits_no_item_is_done_part_by_part(world: World, action: Action) -> None:
    _, positions = scattered(world, 15)
    codes = {p: world.codes(Span(p, p))[0] for p in positions[::7]}
    redeem.create(order(codes[positions[7]]), "key", till(1), NOW)
    recovery = sent("rec_file", [serial_of(position) for position in positions], action)
    assert (recovery.spans, len(recovery.parts), sum(recovery.parts)) == ((), 2, 2)
    recovery = finished(recovery)
    assert (recovery.selected, recovery.recovered, recovery.skipped) == (15, 14, {"redeemed": 1})
    assert Counter(line[4] for line in answered(recovery)) == {"recovered": 14, "skipped": 1}
    assert [int(line[0]) for line in answered(recovery)] == list(range(1, 16))
    lines, _ = reports.skipped(recovery, 100, None, OPERATOR)
    assert lines == [(serial_of(positions[7]), "redeemed")]
    for position in (positions[0], positions[14]):
        late = outcome(partial(redeem.create, order(codes[position]), "late", till(2), NOW))
        assert late == "voucher_not_redeemable"
    if action is Action.SUSPEND:
        go = resumed("go", "rec_file")
        assert (go.selected, go.recovered, go.skipped) == (15, 14, {"redeemed": 1})
        assert redeem.create(order(codes[positions[0]]), "late", till(2), NOW).redemption.amount_minor == 5_000


@pytest.mark.usefixtures("short")
@on_referee
def test_a_long_file_breaks_off_at_a_write_and_ends_with_the_same_report(world: World, wire: Wire) -> None:
    def run(id: str, at: int | None) -> Any:
        _, positions = scattered(world, 9)
        lines = [*(serial_of(position) for position in positions), "nothing"]
        if at is None:
            recovery = sent(id, lines, Action.RECLAIM)
            recovery = finished(recovery)
        else:
            with wire.planted(crash_after, is_write, at=at), pytest.raises(Crash):
                finished(sent(id, lines, Action.RECLAIM))
            recovery = finished(sent(id, lines, Action.RECLAIM))
        adds_up_but_spans(recovery, 9)
        codes = [world.lot(p // LOT_SIZE).segment(p % LOT_SIZE) for p in positions]
        assert [segment.generation if segment else None for segment in codes] == [2] * 9
        return [line[3:] for line in answered(recovery)], recovery.recovered, recovery.values

    wire.calls.clear()
    _, _ = scattered(world, 1)
    before = len(wire.writes())
    wire.calls.clear()
    expected = run("rec_0", None)
    writes = len(wire.writes()) - before
    assert writes > 15
    for at in range(1, writes + 1, 3):
        assert run(f"rec_{at}", at) == expected, at


def adds_up_but_spans(recovery: Recovery, selected_count: int) -> None:
    assert recovery.recovered + sum(recovery.skipped.values()) == recovery.selected == selected_count


def test_a_partner_recovers_what_its_own_channels_hold_and_nothing_else(world: World) -> None:
    batch = world.batch(world.campaign(), 30)
    channels.create(Channel("chn_own", "partner", "Shop", None, "tenant-1", "f", OPERATOR, NOW))
    channels.create(Channel("chn_other", "partner", "Shop", None, "tenant-2", "f", OPERATOR, NOW))
    for n, channel in enumerate(("chn_own", "chn_other")):
        first, last = serial_of(batch.first + 10 * n), serial_of(batch.first + 10 * n + 9)
        tens = Selection(first_serial=first, last_serial=last)
        distributions.distribute(f"dst_{n}", tens, None, channel, None, OPERATOR, NOW, later())

    def asked(selection: Selection) -> Any:
        wanted = Order(selection, Action.VOID, Scope.ALL, "stolen", via=Via.PARTNER)
        return outcome(lambda: recover.create(f"rec_{selection}", wanted, PARTNER, NOW, later()))

    theirs = Selection(serials=(serial_of(batch.first), serial_of(batch.first + 10)))
    assert asked(theirs) == "unknown_serials"
    assert asked(Selection(batch=batch.id)) == "not_found"
    own = Selection(first_serial=serial_of(batch.first), last_serial=serial_of(batch.first + 9))
    recovery = asked(own)
    assert isinstance(recovery, Recovery)
    assert finished(recovery).recovered == 10
    file = sent("rec_file", [serial_of(batch.first + n) for n in (5, 15, 25)], Action.VOID, PARTNER)
    done = finished(file)
    assert (done.recovered, done.skipped) == (0, {"already_recovered": 1, "unknown": 2})
    assert done.values["CNY"].skipped_minor == 5_000
    assert outcome(lambda: recover.find("rec_file", PARTNER._replace(tenant="tenant-2"))) == "not_found"
    assert recover.find("rec_file", PARTNER) == done


def test_a_file_of_a_partner_says_nothing_about_what_is_not_its_own(world: World) -> None:
    """Not even that it is there, which campaign it is of, or in which currency."""
    batch = world.batch(world.campaign(), 1)
    for number, position in enumerate((batch.first, batch.first + 300 * LOT_SIZE)):
        for action in (Action.RECLAIM, Action.VOID):
            done = finished(sent(f"rec_{number}_{action}", [serial_of(position)], action, PARTNER))
            assert (done.selected, done.skipped, done.values) == (1, {"unknown": 1}, {})
