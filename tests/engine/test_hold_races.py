"""Holds against everything else for the same value, on the engine that is trusted with races."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from functions.domain.hold import MINUTES_DEFAULT
from functions.domain.lot import Status
from functions.domain.recovery import Action
from functions.domain.selection import Selection
from functions.domain.serials import serial_of
from functions.redeem import holds
from functions.redeem import service as redeem
from tests.engine.engines import on_referee
from tests.engine.recovering import ordered
from tests.engine.test_races import voucher_of
from tests.engine.wire import Wire
from tests.engine.world import NOW, World, order, race, till

pytestmark = on_referee

ROUNDS = 60
FACE_MINOR = 5_000
OVER = NOW + MINUTES_DEFAULT * 60
HOLDER = till(1)


def wanted(code: str, amount_minor: int | None = None) -> holds.Order:
    return holds.Order(code, amount_minor, MINUTES_DEFAULT, None, None, None)


def use(amount_minor: int | None = None) -> holds.Capture:
    return holds.Capture("mobile", "+8613812345678", amount_minor, None, None)


def held(code: str, amount_minor: int | None = None, key: str = "hold") -> str:
    return holds.create(wanted(code, amount_minor), key, HOLDER, NOW).hold.id


def shuffled(number: int, *attempts: Callable[[], Any]) -> list[Any]:
    """All at once, none always the first to start; their outcomes in the order given."""
    places = random.Random(number).sample(range(len(attempts)), len(attempts))
    outcomes = race(attempts[place] for place in places)
    return [outcomes[places.index(place)] for place in range(len(attempts))]


def test_a_hold_and_a_redemption_exclude_each_other(world: World) -> None:
    tally: Counter[str] = Counter()
    for number, code in enumerate(world.active(ROUNDS, redemption="balance", amount_minor=FACE_MINOR)):
        hold, redemption = shuffled(
            number,
            partial(holds.create, wanted(code, 3_000), "hold", HOLDER, NOW),
            partial(redeem.create, order(code, 3_000), "key", till(2), NOW),
        )
        voucher = voucher_of(world, code)
        free = voucher.balance_minor - sum(open_.amount_minor for open_ in voucher.open_holds(NOW))
        assert free == FACE_MINOR - 3_000
        if isinstance(hold, str):
            assert (hold, voucher.balance_minor) == ("amount_exceeds_balance", 2_000)
        else:
            assert (redemption, voucher.balance_minor) == ("amount_held", FACE_MINOR)
        tally["redeemed" if isinstance(hold, str) else "held"] += 1
    assert tally.total() == ROUNDS


def test_sixteen_holds_keep_no_more_than_there_is(world: World) -> None:
    for code in world.active(ROUNDS // 20, redemption="balance", amount_minor=FACE_MINOR):
        outcomes = race(partial(holds.create, wanted(code, 700), "hold", till(n), NOW) for n in range(16))
        assert Counter(o if isinstance(o, str) else "held" for o in outcomes) == {"held": 7, "amount_held": 9}
        assert len(voucher_of(world, code).open_holds(NOW)) == 7


def test_a_hold_is_captured_or_released_never_both(world: World) -> None:
    for number, code in enumerate(world.active(ROUNDS)):
        id = held(code)
        capture, release = shuffled(
            number,
            partial(holds.capture, id, use(), "capture", HOLDER, NOW),
            partial(holds.release, id, "release", HOLDER, NOW),
        )
        voucher = voucher_of(world, code)
        if isinstance(capture, str):
            assert (capture, voucher.status, voucher.balance_minor) == ("hold_released", Status.ACTIVE, FACE_MINOR)
            assert not isinstance(release, str)
        else:
            assert (release, voucher.status, voucher.balance_minor) == ("hold_captured", Status.REDEEMED, 0)
        assert (voucher.version, voucher.open_holds(NOW)) == (2, ())


def test_two_captures_race_and_one_takes_its_amount(world: World) -> None:
    for number, code in enumerate(world.active(ROUNDS, redemption="balance", amount_minor=FACE_MINOR)):
        id = held(code, 3_000)
        outcomes = shuffled(
            number,
            *(partial(holds.capture, id, use(amount), f"key-{amount}", HOLDER, NOW) for amount in (1_000, 2_000)),
        )
        (won,) = (o for o in outcomes if isinstance(o, redeem.Redeemed))
        assert outcomes.count("hold_captured") == 1
        voucher = voucher_of(world, code)
        assert voucher.balance_minor == FACE_MINOR - won.redemption.amount_minor
        assert (list(voucher.redemptions), voucher.open_holds(NOW)) == ([won.redemption.id], ())


def test_a_capture_at_the_last_moment_races_whom_the_end_of_the_hold_lets_in(world: World) -> None:
    """Two machines: to one of them the hold has a second left, to the other it is over."""
    for number, code in enumerate(world.active(ROUNDS)):
        id = held(code)
        capture, redemption = shuffled(
            number,
            partial(holds.capture, id, use(), "capture", HOLDER, OVER - 1),
            partial(redeem.create, order(code), "key", till(2), OVER),
        )
        voucher = voucher_of(world, code)
        assert (voucher.status, voucher.balance_minor, len(voucher.redemptions)) == (Status.REDEEMED, 0, 1)
        if isinstance(capture, str):
            assert capture == "hold_expired"
            assert isinstance(redemption, redeem.Redeemed)
        else:
            assert redemption == "already_redeemed"


def test_a_hold_is_captured_or_its_card_voided_never_both(world: World) -> None:
    batch = world.batch(world.campaign(), ROUNDS // 4)
    world.activate(Selection(batch=batch.id))
    for number, code in enumerate(world.codes(batch.span)):
        position, id = batch.span.first + number, held(code)
        selection = Selection(serials=(serial_of(position),))
        capture, _ = shuffled(
            number,
            partial(holds.capture, id, use(), "capture", HOLDER, NOW),
            partial(ordered, f"rec_{number}", selection, Action.VOID),
        )
        voucher = voucher_of(world, code)
        if isinstance(capture, str):
            assert (capture, voucher.status) == ("voucher_not_redeemable", Status.VOID)
        else:
            assert voucher.status is Status.REDEEMED


def test_one_order_sent_sixteen_times_at_once_is_one_hold_one_capture_one_release(world: World) -> None:
    for code in world.active(ROUNDS // 20, redemption="balance", amount_minor=FACE_MINOR):
        callers = [till(1, f"request-{n}") for n in range(16)]
        made = race(partial(holds.create, wanted(code, 2_000), "hold", by, NOW) for by in callers)
        (id,) = {o.hold.id for o in made if isinstance(o, holds.Held)}
        other = held(code, 1_000, "other")
        taken = race(partial(holds.capture, id, use(500), "capture", by, NOW) for by in callers)
        freed = race(partial(holds.release, other, "release", by, NOW) for by in callers)
        for outcomes in (made, taken, freed):
            assert [o for o in outcomes if isinstance(o, str)] == []
            assert sum(not getattr(o, "replayed", True) for o in outcomes) == 1
        voucher = voucher_of(world, code)
        assert (voucher.version, voucher.balance_minor, voucher.open_holds(NOW)) == (4, 4_500, ())


def test_each_is_one_read_and_one_conditional_write(world: World, wire: Wire) -> None:
    (code,) = world.active(1, redemption="balance", amount_minor=FACE_MINOR)
    other = held(code, 1_000, "other")
    id = held(code, 1_000)
    for command in (
        partial(holds.create, wanted(code, 1_000), "key", HOLDER, NOW),
        partial(holds.capture, id, use(), "key", HOLDER, NOW),
        partial(holds.release, other, "key", HOLDER, NOW),
    ):
        wire.calls.clear()
        command()
        read, write = wire.calls
        assert (read.operation, write.operation) in {("BatchGetItem", "PutItem"), ("GetItem", "PutItem")}
        assert "#version = :seen" in write.body["ConditionExpression"]
        wire.calls.clear()
        command()
        assert len(wire.calls) == 1, "a repeat only reads"
