"""Recoveries to their end, on both engines: whom they spare, whom they tell, what they report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from functions.distribute import service as distribute
from functions.domain.errors import Refusal
from functions.domain.lot import Scope, Status
from functions.domain.recovery import STEPS, Action, Phase
from functions.domain.selection import Selection
from functions.domain.serials import serial_of
from functions.recover import service as recover
from functions.redeem import service as redeem
from functions.store import keys, ranges, table
from functions.store.aws import FENCE_S
from functions.store.records import RECOVERED
from tests.engine.recovering import adds_up, finished, ordered
from tests.engine.world import NOW, OPERATOR, World, later, order, outcome, till


def test_holders_of_cards_in_use_are_to_be_told_once(world: World) -> None:
    batch = world.batch(world.campaign(redemption="balance"), 10)
    world.activate(Selection(batch=batch.id))
    codes = world.codes(batch.span)
    redeem.create(order(codes[0], 1_000), "key", till(1), NOW)
    redeem.create(order(codes[1]), "key", till(1), NOW)
    recovery = finished(ordered("rec_told", Selection(batch=batch.id), Action.VOID))
    told = table.read(RECOVERED, keys.recovered(recovery.id, batch.span.first))
    assert told is not None
    assert table.read(RECOVERED, keys.recovered(recovery.id, batch.span.first + 1)) is None
    assert (recovery.recovered, recovery.skipped) == (9, {"redeemed": 1})
    assert recover.proceed(recovery.id, NOW, later()) is None


@pytest.mark.parametrize("scope", list(Scope))
def test_a_scope_spares_what_has_gone_further(world: World, scope: Scope) -> None:
    batch = world.batch(world.campaign(redemption="balance"), 10)
    first, last = serial_of(batch.span.first), serial_of(batch.span.first + 4)
    world.activate(Selection(first_serial=first, last_serial=last))
    codes = world.codes(batch.span)
    redeem.create(order(codes[0], 1_000), "key", till(1), NOW)
    redeem.create(order(codes[1]), "key", till(1), NOW)
    recovery = finished(ordered("rec_scope", Selection(batch=batch.id), Action.RECLAIM, scope))
    adds_up(recovery)
    expected = {
        Scope.ALL: {"redeemed": 1},
        Scope.NOT_REDEEMED: {"redeemed": 1, "partly_redeemed": 1},
        Scope.NOT_CLAIMED: {"redeemed": 1, "partly_redeemed": 1},
        Scope.NOT_ACTIVATED: {"redeemed": 1, "partly_redeemed": 1, "activated": 3},
    }
    assert recovery.skipped == expected[scope]


def test_an_order_that_others_hold_up_stands_and_a_worker_goes_on_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was refused would give it again, and have two of it."""
    batch = world.batch(world.campaign(), 10)

    def busy(*_: Any) -> Any:
        raise Refusal("lot_busy")

    with monkeypatch.context() as patch:
        patch.setattr(ranges, "_with_room", busy)
        recovery = ordered("rec_late", Selection(batch=batch.id), Action.SUSPEND)
    assert (recovery.phase, recovery.effective_at) == (Phase.VETO, None)
    assert finished(recovery).recovered == 10


def test_it_is_effective_when_its_last_lot_was_done_and_not_when_the_call_began(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = world.batch(world.campaign(), 10)
    passed, run, report = [0], ranges.run, recover._report

    def slow(work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        passed[0] += 7
        return work(*arguments, **options)

    monkeypatch.setattr(recover, "monotonic", lambda: passed[0])
    monkeypatch.setattr(ranges, "run", partial(slow, run))
    monkeypatch.setattr(recover, "_report", partial(slow, report))
    recovery = ordered("rec_slow", Selection(batch=batch.id), Action.VOID)
    assert recovery.effective_at == NOW + 7
    assert finished(recovery).completed_at == NOW + FENCE_S + 7


def test_a_recovery_of_what_is_recovered_skips_it_all(world: World) -> None:
    batch = world.batch(world.campaign(), 10)
    finished(ordered("rec_1", Selection(batch=batch.id), Action.VOID))
    again = finished(ordered("rec_2", Selection(batch=batch.id), Action.VOID))
    assert (again.recovered, again.skipped) == (0, {"already_recovered": 10})


def test_a_wider_void_takes_what_a_narrower_one_spared(world: World) -> None:
    batch = world.batch(world.campaign(redemption="balance"), 10)
    world.activate(Selection(batch=batch.id))
    codes = world.codes(batch.span)
    for code, amount_minor in zip(codes, (1_000, 2_000, 5_000), strict=False):
        redeem.create(order(code, amount_minor), "key", till(1), NOW)
    first = finished(ordered("rec_1", Selection(batch=batch.id), Action.VOID, Scope.NOT_CLAIMED))
    assert (first.recovered, first.skipped) == (7, {"partly_redeemed": 2, "redeemed": 1})
    reclaim = finished(ordered("rec_2", Selection(batch=batch.id), Action.RECLAIM))
    assert (reclaim.recovered, reclaim.skipped) == (0, {"already_recovered": 7, "partly_redeemed": 2, "redeemed": 1})
    single = Selection(serials=(serial_of(batch.first), serial_of(batch.first + 5)))
    one = finished(ordered("rec_3", single, Action.VOID))
    assert (one.recovered, one.skipped) == (1, {"already_recovered": 1})
    whole = ordered("rec_4", Selection(batch=batch.id), Action.VOID)
    assert outcome(lambda: redeem.create(order(codes[1], 1), "key-2", till(1), NOW)) == "voucher_not_redeemable"
    whole = finished(whole)
    adds_up(whole)
    assert (whole.recovered, whole.skipped) == (1, {"already_recovered": 7, "redeemed": 1, "void": 1})


def test_what_began_anew_is_voided_and_activated_by_itself_as_if_it_had_never_been_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = world.batch(world.campaign(redemption="balance"), 10)
    world.activate(Selection(batch=batch.id))
    for code in world.codes(batch.span)[:2]:
        redeem.create(order(code, 1_000), "key", till(1), NOW)
    finished(ordered("rec_1", Selection(batch=batch.id), Action.RECLAIM))
    monkeypatch.setattr(ranges, "SEGMENTS_PER_LOT_MAX", 1)
    assert world.activate(Selection(serials=(serial_of(batch.first),))).changed == 1
    code, unused = world.codes(batch.span)[:2]
    assert outcome(lambda: redeem.create(order(unused), "key", till(2), NOW)) == "voucher_not_redeemable"
    assert isinstance(redeem.create(order(code, 5_000), "fresh", till(1), NOW), redeem.Redeemed)
    voided = finished(
        ordered("rec_2", Selection(serials=(serial_of(batch.first + 1),)), Action.VOID, Scope.NOT_REDEEMED)
    )
    assert (voided.recovered, voided.skipped) == (1, {})
    assert table.read(RECOVERED, keys.recovered(voided.id, batch.first + 1)) is None
    voucher = world.voucher(batch.first + 1)
    assert voucher is not None
    assert (voucher.status, voucher.generation, voucher.balance_minor) == (Status.VOID, 2, 5_000)


def test_the_key_of_a_redemption_with_an_old_code_is_not_good_for_the_new_one(world: World) -> None:
    """Both would have the same id, and the record of the first must not be lost."""
    batch = world.batch(world.campaign(redemption="balance"), 1)
    world.activate(Selection(batch=batch.id))
    (old,) = world.codes(batch.span)
    first = redeem.create(order(old, 1_000), "key", till(1), NOW)
    finished(ordered("rec_1", Selection(batch=batch.id), Action.RECLAIM))
    world.activate(Selection(batch=batch.id))
    (new,) = world.codes(batch.span)
    assert outcome(lambda: redeem.create(order(new, 1_000), "key", till(1), NOW)) == "idempotency_key_reused"
    assert redeem.create(order(old, 1_000), "key", till(1, "again"), NOW) == replace(first, replayed=True)


def test_an_activation_is_answered_again_while_its_range_is_reclaimed(world: World) -> None:
    batch = world.batch(world.campaign(), 10)
    selection = Selection(batch=batch.id)
    first = distribute.activate("act_once", selection, OPERATOR, NOW, later())
    ordered("rec_1", selection, Action.RECLAIM)
    assert outcome(lambda: world.activate(selection)) == "recovery_in_progress"
    assert distribute.activate("act_once", selection, OPERATOR, NOW, later()) == first


@pytest.mark.parametrize("action", list(Action))
def test_a_runner_that_slept_sets_nothing_back(world: World, monkeypatch: pytest.MonkeyPatch, action: Action) -> None:
    """It wakes up with the recovery as it was before any of the steps, when all is done and the range is sold again."""
    batch = world.batch(world.campaign(redemption="balance"), 10)
    world.activate(Selection(batch=batch.id))
    redeem.create(order(world.codes(batch.span)[0], 1_000), "key", till(1), NOW)
    recovery = ordered("rec_slept", Selection(batch=batch.id), action)
    seen, now = [recovery], NOW
    while (wait_s := recover.proceed(recovery.id, now, later())) is not None:
        seen.append(recover.find(recovery.id))
        now += wait_s
    world.activate(Selection(batch=batch.id))
    done, items = recover.find(recovery.id), world.items()
    assert {known.phase for known in [*seen, done]} == set(STEPS[action]) - {Phase.VETO}
    for known in seen:
        with monkeypatch.context() as asleep:
            asleep.setattr(recover, "find", lambda id, known=known: known)
            recover.proceed(recovery.id, now, later())
        assert recover.find(recovery.id) == done
        assert world.items() == items
