"""Suspensions: they stop cards at once, each is lifted by itself, and what was lifted is as if it had never been."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from functions.distribute import dispenses
from functions.domain.lot import Scope, Status
from functions.domain.recovery import VETOES_MAX, Action, Phase
from functions.domain.selection import Selection
from functions.domain.serials import serial_of
from functions.domain.voucher import standing
from functions.recover import service as recover
from functions.redeem import service as redeem
from functions.store import keys, ranges, table
from functions.store.records import RECOVERED
from tests.engine.engines import on_referee
from tests.engine.recovering import adds_up, finished, ordered, resumed
from tests.engine.wire import Crash, Wire, crash_after, is_write
from tests.engine.world import NOW, OPERATOR, World, order, outcome, race, till

ROUNDS = 200


def one(position: int) -> Selection:
    return Selection(serials=(serial_of(position),))


def status(world: World, position: int) -> str:
    """As everybody sees it."""
    number, index = divmod(position, 10_000)
    at = standing(world.lot(number), index, world.voucher(position), NOW)
    assert at is not None
    return at.status


def whole(batch: Any) -> Selection:
    return Selection(batch=batch.id)


@pytest.mark.parametrize("single", [False, True])
def test_what_is_suspended_is_refused_and_what_is_resumed_is_what_it_was(world: World, single: bool) -> None:
    batch = world.batch(world.campaign(redemption="balance"), 6)
    world.activate(Selection(first_serial=serial_of(batch.first), last_serial=serial_of(batch.first + 3)))
    codes = world.codes(batch.span)
    redeem.create(order(codes[0], 1_000), "key", till(1), NOW)
    redeem.create(order(codes[1]), "key", till(1), NOW)
    before = [status(world, position) for position in range(batch.first, batch.first + 6)]
    serials = tuple(serial_of(position) for position in range(batch.first, batch.first + 6))
    stop = finished(ordered("rec_stop", Selection(serials=serials) if single else whole(batch), Action.SUSPEND))
    adds_up(stop)
    assert (stop.recovered, stop.skipped) == (5, {"redeemed": 1})
    shown = [status(world, position) for position in range(batch.first, batch.first + 6)]
    assert shown == ["suspended", "redeemed", *["suspended"] * 4]
    assert outcome(lambda: redeem.create(order(codes[2]), "key", till(1), NOW)) == "voucher_not_redeemable"
    again = resumed("rec_go", "rec_stop")
    adds_up(again)
    assert (again.recovered, again.skipped) == (5, {"redeemed": 1})
    assert [status(world, position) for position in range(batch.first, batch.first + 6)] == before
    assert redeem.create(order(codes[0]), "key-2", till(1), NOW).redemption.amount_minor == 4_000
    assert redeem.create(order(codes[2]), "key-2", till(1), NOW).redemption.amount_minor == 5_000
    assert outcome(lambda: redeem.create(order(codes[5]), "key-2", till(1), NOW)) == "voucher_not_redeemable"
    world.activate(whole(batch))
    assert redeem.create(order(codes[5]), "key-3", till(1), NOW).redemption.amount_minor == 5_000
    for recovery in ("rec_stop", "rec_go"):
        told = [table.read(RECOVERED, keys.recovered(recovery, batch.first + n)) is not None for n in range(6)]
        assert told == [True, *[False] * 5]


@pytest.mark.parametrize("single", [False, True])
def test_a_resume_lifts_the_suspension_that_it_names_and_no_other(world: World, single: bool) -> None:
    batch = world.batch(world.campaign(), 2)
    world.activate(whole(batch))
    chosen = one(batch.first) if single else whole(batch)
    for n in range(VETOES_MAX):
        finished(ordered(f"rec_{n}", chosen, Action.SUSPEND))
    over = finished(ordered("rec_over", chosen, Action.SUSPEND))
    assert over.skipped == {"suspension_limit_reached": over.selected}
    for n in range(VETOES_MAX):
        assert status(world, batch.first) == "suspended"
        assert resumed(f"go_{n}", f"rec_{n}").recovered == over.selected
    assert status(world, batch.first) == "active"
    assert resumed("go_again", "rec_0").skipped == {"not_suspended": over.selected}


def test_a_part_of_a_suspension_is_lifted(world: World) -> None:
    batch = world.batch(world.campaign(), 6)
    world.activate(whole(batch))
    finished(ordered("rec_stop", whole(batch), Action.SUSPEND))
    part = resumed("go_1", "rec_stop", one(batch.first + 2))
    assert (part.selected, part.recovered) == (1, 1)
    rest = resumed("go_2", "rec_stop")
    adds_up(rest)
    assert (rest.recovered, rest.skipped) == (5, {"not_suspended": 1})


def test_the_same_part_is_lifted_by_one_of_two_resumes_at_once(world: World) -> None:
    batch = world.batch(world.campaign(redemption="balance"), 4)
    world.activate(whole(batch))
    redeem.create(order(world.codes(batch.span)[0], 1_000), "key", till(1), NOW)
    finished(ordered("rec_stop", whole(batch), Action.SUSPEND))
    first = ordered("go_1", None, Action.RESUME, lifts="rec_stop")
    second = ordered("go_2", None, Action.RESUME, lifts="rec_stop")
    assert status(world, batch.first) == "suspended"
    two = [finished(second), finished(first)]
    assert [(r.recovered, r.skipped) for r in two] == [(0, {"not_suspended": 4}), (4, {})]
    told = [table.read(RECOVERED, keys.recovered(r.id, batch.first)) is not None for r in two]
    assert told == [False, True]


@on_referee
@pytest.mark.parametrize("single", [False, True])
def test_a_resume_that_breaks_off_at_any_write_is_gone_on_with(world: World, wire: Wire, single: bool) -> None:
    campaign = world.campaign(redemption="balance")

    def run(at: int | None) -> tuple[Any, int]:
        batch = world.batch(campaign, 3)
        world.activate(whole(batch))
        redeem.create(order(world.codes(batch.span)[0], 1_000), "key", till(1), NOW)
        positions = range(batch.first, batch.first + 3)
        serials = Selection(serials=tuple(serial_of(position) for position in positions))
        finished(ordered(f"stop_{at}", serials if single else whole(batch), Action.SUSPEND))
        before = len(wire.writes())
        if at is not None:
            with wire.planted(crash_after, is_write, at=at), pytest.raises(Crash):
                resumed(f"go_{at}", f"stop_{at}")
        done = resumed(f"go_{at}", f"stop_{at}")
        adds_up(done)
        cards = [world.voucher(position) for position in positions]
        told = [table.read(RECOVERED, keys.recovered(done.id, position)) is not None for position in positions]
        left = [(card.version, card.suspension) if card is not None else None for card in cards]
        ended = done.recovered, done.values, [status(world, position) for position in positions], left, told
        return ended, len(wire.writes()) - before

    expected, writes = run(None)
    assert (expected[0], expected[2]) == (3, ["partly_redeemed", "active", "active"])
    assert writes > 8
    for at in range(1 + single, writes + 1, 2):
        assert run(at)[0] == expected, f"the write {at}"


def test_a_suspension_is_resumed_once_it_is_accounted_for(world: World) -> None:
    batch = world.batch(world.campaign(), 1)
    world.activate(whole(batch))
    stop = ordered("rec_stop", whole(batch), Action.SUSPEND)
    assert outcome(partial(ordered, "go", None, Action.RESUME, lifts="rec_stop")) == "recovery_in_progress"
    finished(stop)
    void = finished(ordered("rec_void", one(batch.first), Action.VOID))
    assert void.recovered == 1
    assert outcome(partial(ordered, "go", None, Action.RESUME, lifts="rec_void")) == "invalid_request"
    assert outcome(partial(ordered, "go", None, Action.RESUME, lifts="rec_none")) == "not_found"
    go = resumed("go", "rec_stop")
    assert (go.recovered, go.skipped) == (0, {"void": 1})
    assert status(world, batch.first) == "void"


@pytest.mark.parametrize("single", [False, True])
def test_what_is_suspended_may_still_be_voided_and_stays_so(world: World, single: bool) -> None:
    batch = world.batch(world.campaign(), 3)
    world.activate(whole(batch))
    chosen = one(batch.first) if single else whole(batch)
    finished(ordered("rec_stop", chosen, Action.SUSPEND))
    void = finished(ordered("rec_void", chosen, Action.VOID))
    adds_up(void)
    assert void.recovered == void.selected
    assert status(world, batch.first) == "void"
    go = resumed("go", "rec_stop")
    adds_up(go)
    assert (go.recovered, status(world, batch.first)) == (0, "void")
    late = finished(ordered("rec_late", chosen, Action.SUSPEND))
    assert late.recovered == 0


def test_a_narrower_void_leaves_something_to_suspend(world: World) -> None:
    batch = world.batch(world.campaign(redemption="balance"), 4)
    world.activate(whole(batch))
    redeem.create(order(world.codes(batch.span)[0], 1_000), "key", till(1), NOW)
    finished(ordered("rec_void", whole(batch), Action.VOID, Scope.NOT_REDEEMED))
    stop = finished(ordered("rec_stop", whole(batch), Action.SUSPEND))
    adds_up(stop)
    assert (stop.recovered, stop.skipped) == (1, {"already_recovered": 3})
    assert [status(world, batch.first + n) for n in range(2)] == ["suspended", "void"]
    go = resumed("go", "rec_stop")
    assert (go.recovered, go.skipped) == (1, {"already_recovered": 3})


def test_a_reclaim_ends_a_suspension_but_for_what_it_spares(world: World) -> None:
    batch = world.batch(world.campaign(redemption="balance"), 4)
    world.activate(whole(batch))
    old = world.codes(batch.span)
    redeem.create(order(old[0], 1_000), "key", till(1), NOW)
    finished(ordered("rec_stop", whole(batch), Action.SUSPEND))
    back = finished(ordered("rec_back", whole(batch), Action.RECLAIM, Scope.NOT_REDEEMED))
    adds_up(back)
    assert (back.recovered, back.skipped) == (3, {"partly_redeemed": 1})
    world.activate(whole(batch))
    assert [status(world, batch.first + n) for n in range(2)] == ["suspended", "active"]
    go = resumed("go", "rec_stop")
    adds_up(go)
    assert (go.recovered, go.skipped) == (1, {"not_suspended": 3})
    assert redeem.create(order(old[0]), "key-2", till(1), NOW).redemption.amount_minor == 4_000


def test_a_reclaim_waits_until_the_suspension_before_it_is_accounted_for(world: World) -> None:
    """Otherwise what it frees could be sold and used anew before the suspension's report is written."""
    batch = world.batch(world.campaign(), 3)
    world.activate(whole(batch))
    stop = ordered("rec_stop", whole(batch), Action.SUSPEND)
    back = ordered("rec_back", whole(batch), Action.RECLAIM)
    now = NOW
    for _ in range(8):
        now += recover.proceed(back.id, now, 1e12) or 0
    assert recover.find(back.id).phase is Phase.RELEASE
    stop = finished(stop)
    assert (stop.recovered, stop.skipped) == (3, {})
    assert finished(back).recovered == 3


def test_stock_that_was_suspended_card_by_card_is_drawn_once_it_is_resumed(world: World) -> None:
    campaign = world.campaign()
    batch = world.batch(campaign, 3)
    serials = Selection(serials=(serial_of(batch.first), serial_of(batch.first + 1)))
    finished(ordered("rec_stop", serials, Action.SUSPEND))

    def drawn(id: str, quantity: int) -> list[int]:
        done = dispenses.dispense(id, campaign.id, quantity, None, None, OPERATOR, NOW)
        return sorted(voucher.position - batch.first for voucher in done.vouchers)

    assert outcome(partial(drawn, "dsp_0", 2)) == "quantity_exceeded"
    assert drawn("dsp_1", 1) == [2]
    resumed("rec_go", "rec_stop")
    assert drawn("dsp_2", 2) == [0, 1]
    for code in world.codes(batch.span):
        assert redeem.create(order(code), "key", till(1), NOW).redemption.amount_minor == 5_000


def test_single_vouchers_in_a_lot_that_is_full_are_suspended_and_resumed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "SEGMENTS_PER_LOT_MAX", 1)
    batch = world.batch(world.campaign(), 5)
    world.activate(whole(batch))
    chosen = Selection(first_serial=serial_of(batch.first + 1), last_serial=serial_of(batch.first + 3))
    stop = finished(ordered("rec_stop", chosen, Action.SUSPEND))
    adds_up(stop)
    assert stop.recovered == 3
    assert len(world.lot(batch.first // 10_000).segments) == 1
    assert [status(world, batch.first + n) for n in range(5)] == ["active", *["suspended"] * 3, "active"]
    go = resumed("go", "rec_stop", one(batch.first + 2))
    assert (go.recovered, go.skipped) == (1, {})
    assert resumed("go_2", "rec_stop").recovered == 2
    assert [status(world, batch.first + n) for n in range(5)] == ["active"] * 5


def reversal(id: str, number: int) -> Callable[[], Any]:
    return partial(redeem.reverse, id, "wrong", f"back-{number}", till(number), NOW)


@on_referee
def test_a_suspension_and_a_reversal_both_stand_whoever_comes_first(world: World) -> None:
    """The value is back on the card, which is suspended; once it is resumed all of it can be used.

    Half of them are single serials, the others ranges, of which a lot bears so many only.
    """
    batch = world.batch(world.campaign(redemption="balance"), ROUNDS)
    world.activate(whole(batch))
    for number, code in enumerate(world.codes(batch.span)):
        position = batch.first + number
        serial = serial_of(position)
        used = redeem.create(order(code, 2_000), "key", till(number), NOW).redemption
        chosen = one(position) if number % 2 else Selection(first_serial=serial, last_serial=serial)
        outcomes = race((partial(ordered, f"rec_{number}", chosen, Action.SUSPEND), reversal(used.id, number)))
        assert not [each for each in outcomes if isinstance(each, str)]
        voucher = world.voucher(position)
        assert voucher is not None
        back = voucher.redemptions[used.id].reversal
        assert (voucher.balance_minor, back is not None) == (5_000, True)
        assert status(world, position) == "suspended"
        if number % 20 < 2:
            assert finished(recover.find(f"rec_{number}")).recovered == 1
            assert resumed(f"go_{number}", f"rec_{number}").recovered == 1
            assert redeem.create(order(code), "all", till(number), NOW).redemption.amount_minor == 5_000


@on_referee
def test_a_card_is_redeemed_before_it_is_suspended_or_not_at_all(world: World) -> None:
    batch = world.batch(world.campaign(), ROUNDS)
    world.activate(whole(batch))
    for number, code in enumerate(world.codes(batch.span)):
        outcomes = race(
            (
                partial(redeem.create, order(code), "key", till(number), NOW),
                partial(ordered, f"rec_{number}", one(batch.first + number), Action.SUSPEND),
            )
        )
        won = not isinstance(outcomes[0], str)
        voucher = world.voucher(batch.first + number)
        assert voucher is not None
        assert voucher.status is (Status.REDEEMED if won else Status.SUSPENDED)
        if number % 20 == 0:
            recovery = finished(recover.find(f"rec_{number}"))
            adds_up(recovery)
            assert (recovery.recovered, recovery.skipped) == ((0, {"redeemed": 1}) if won else (1, {}))
