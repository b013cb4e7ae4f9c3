"""Recoveries against redemptions: each card ends redeemed or recovered, never both, and the report adds up."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from functions.domain.lot import Status
from functions.domain.recovery import Action
from functions.domain.selection import Selection
from functions.domain.serials import serial_of
from functions.recover import reports
from functions.recover import service as recover
from functions.redeem import service as redeem
from functions.store import aws
from functions.store.lookup import look
from tests.engine.engines import on_referee
from tests.engine.recovering import adds_up, finished, ordered
from tests.engine.world import NOW, OPERATOR, World, order, outcome, race, till

ROUNDS = 200
REPORTED = 4
"""Every so manyth recovery of a single card is followed to its report, which is made from the card as it is then."""
AT_ONCE = 50
WINDOW_S = 2.5
"""The write window of these tests; so long an attempt may take at most, and a pause may be longer than both."""
ATTEMPT_S = 1.5


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "WRITE_WINDOW_S", WINDOW_S)
    monkeypatch.setattr(aws, "CONNECT_TIMEOUT_S", 0.0)
    monkeypatch.setattr(aws, "READ_TIMEOUT_S", ATTEMPT_S)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> threading.local:
    """A pause between a redemption's read and its write, as long as its thread says."""
    planted = threading.local()

    def slow_look(*arguments: Any) -> Any:
        sight = look(*arguments)
        time.sleep(getattr(planted, "seconds", 0.0))
        return sight

    monkeypatch.setattr(redeem, "look", slow_look)
    return planted


def attempt(pauses: threading.local, seconds: float, code: str, till_number: int) -> str:
    """What a redemption with a pause comes to."""
    pauses.seconds = seconds
    try:
        result = outcome(lambda: redeem.create(order(code), f"key-{till_number}", till(till_number), NOW))
    except aws.WriteWindowOver:
        return "too late"
    return result if isinstance(result, str) else "redeemed"


@on_referee
def test_a_card_is_redeemed_or_voided_never_both(world: World) -> None:
    """Single serials: no fence is needed, the two writes exclude each other by condition."""
    batch = world.batch(world.campaign(), ROUNDS)
    world.activate(Selection(batch=batch.id))
    tally: Counter[str] = Counter()
    for number, code in enumerate(world.codes(batch.span)):
        position = batch.span.first + number
        chosen = Selection(serials=(serial_of(position),))
        outcomes = race(
            (
                partial(redeem.create, order(code), "key", till(number), NOW),
                partial(ordered, f"rec_{number}", chosen, Action.VOID),
            )
        )
        voucher = world.voucher(position)
        assert voucher is not None
        won = not isinstance(outcomes[0], str)
        assert voucher.status is (Status.REDEEMED if won else Status.VOID)
        assert won or outcomes[0] == "voucher_not_redeemable"
        if number % REPORTED == 0:
            recovery = finished(recover.find(f"rec_{number}"))
            adds_up(recovery)
            assert (recovery.recovered, recovery.skipped) == ((0, {"redeemed": 1}) if won else (1, {}))
        tally[voucher.status] += 1
    assert sum(tally.values()) == ROUNDS


@on_referee
@pytest.mark.usefixtures("short_window")
def test_a_redemption_under_way_beats_the_fence_or_is_not_written(world: World, pauses: threading.local) -> None:
    """With pauses up to twice the window between a redemption's read and its write."""
    chance = random.Random(7)
    for group in range(ROUNDS // AT_ONCE):
        batch = world.batch(world.campaign(), AT_ONCE)
        world.activate(Selection(batch=batch.id))
        codes = world.codes(batch.span)
        waits = [chance.uniform(0, 2 * WINDOW_S) for _ in codes]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            under_way = [
                pool.submit(attempt, pauses, w, c, n) for n, (w, c) in enumerate(zip(waits, codes, strict=True))
            ]
            time.sleep(chance.uniform(0, 0.1))
            recovery = ordered(f"rec_{group}", Selection(batch=batch.id), Action.VOID)
            recovery = finished(recovery, fence=lambda: time.sleep(WINDOW_S))
            counted = recover.find(recovery.id)
        outcomes = [future.result() for future in under_way]
        assert recover.find(recovery.id) == counted
        adds_up(recovery)
        redeemed = {batch.span.first + n for n, o in enumerate(outcomes) if o == "redeemed"}
        lines, _ = reports.skipped(recovery, AT_ONCE, None, OPERATOR)
        assert {serial for serial, _ in lines} == {serial_of(position) for position in redeemed}
        assert set(outcomes) <= {"redeemed", "too late", "voucher_not_redeemable"}


@on_referee
@pytest.mark.usefixtures("short_window")
def test_no_old_code_spends_the_value_of_a_new_generation(world: World, pauses: threading.local) -> None:
    """Reclaimed and activated again at once, while redemptions with the old codes are still under way."""
    chance = random.Random(8)
    for group in range(ROUNDS // AT_ONCE):
        batch = world.batch(world.campaign(), AT_ONCE)
        world.activate(Selection(batch=batch.id))
        old = world.codes(batch.span)
        waits = [chance.uniform(0, 2 * WINDOW_S) for _ in old]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            under_way = [pool.submit(attempt, pauses, w, c, n) for n, (w, c) in enumerate(zip(waits, old, strict=True))]
            recovery = ordered(f"rec_{group}", Selection(batch=batch.id), Action.RECLAIM)
            assert outcome(partial(world.activate, Selection(batch=batch.id))) == "recovery_in_progress"
            recovery = finished(recovery, fence=lambda: time.sleep(WINDOW_S))
            again = world.activate(Selection(batch=batch.id))
        outcomes = [future.result() for future in under_way]
        adds_up(recovery)
        spent = sum(o == "redeemed" for o in outcomes)
        assert recovery.skipped.get("redeemed", 0) == spent
        pauses.seconds = 0.0
        new = world.codes(batch.span)
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            by = till(group * AT_ONCE + number + 1_000)
            late = outcome(partial(redeem.create, order(before), "again", by, NOW))
            fresh = outcome(partial(redeem.create, order(after), "fresh", by, NOW))
            if outcomes[number] == "redeemed":
                assert (before, late, fresh) == (after, "already_redeemed", "already_redeemed")
            else:
                assert before != after
                assert late == "voucher_not_redeemable"
                assert isinstance(fresh, redeem.Redeemed)
        assert again.changed == AT_ONCE
