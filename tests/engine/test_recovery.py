"""Recoveries to their end, on both engines: whom they spare, whom they tell, what they report."""

from __future__ import annotations

import pytest

from functions.domain.lot import Scope
from functions.domain.recovery import Action
from functions.domain.selection import Selection
from functions.domain.serials import serial_of
from functions.recover import service as recover
from functions.redeem import service as redeem
from functions.store import keys, table
from functions.store.entities import RECOVERED
from tests.engine.recovering import adds_up, finished, ordered
from tests.engine.world import NOW, World, later, order, till


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


def test_a_recovery_of_what_is_recovered_skips_it_all(world: World) -> None:
    batch = world.batch(world.campaign(), 10)
    finished(ordered("rec_1", Selection(batch=batch.id), Action.VOID))
    again = finished(ordered("rec_2", Selection(batch=batch.id), Action.VOID))
    assert (again.recovered, again.skipped) == (0, {"already_recovered": 10})
