"""The ledger when several workers are at the same events, and when any of their writes goes wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from functions.domain.ledger import Account, Kind, Line, Movement
from functions.domain.lot import Lot, Part, Rules, Segment, Status
from functions.domain.serials import LOT_SIZE
from functions.store import ledger, table
from functions.store.aws import ATTEMPTS_MAX
from functions.store.entities import LOT
from tests.engine.engines import on_referee
from tests.engine.wire import Crash, Fault, Wire, crash_after, crash_before, is_write, reply_lost
from tests.engine.world import NOW, OPERATOR, World, race

pytestmark = on_referee

FACE = 5_000
WORKERS = 4
ROUNDS = 25
FIRST = 1_000_000_000


def taken(id: str, amount_minor: int, at: int) -> Movement:
    return Movement(Kind.REDEEMED, id, amount_minor, f"1.V.{at}", at)


def given_back(id: str, amount_minor: int, at: int) -> Movement:
    return Movement(Kind.REVERSED, id, amount_minor, f"1.V.{at}", at, f"rev-{id}")


HISTORY = [
    taken("a", 3_000, 1), taken("b", 2_000, 2), given_back("a", 3_000, 3), taken("c", 3_000, 4),
    given_back("c", 3_000, 5), taken("d", 1_000, 6), given_back("b", 2_000, 7),
]  # fmt: skip
"""Used up twice on the way; 4,000 are left in the end."""
LEFT = 4_000


def open_lot(world: World) -> None:
    """A lot as it is, put there directly."""
    rules = Rules("cmp_1", "recharge", FACE, "CNY", "balance", "crockford16")
    segments = (Segment(0, LOT_SIZE - 1, Status.ACTIVE),)
    lot = Lot(FIRST // LOT_SIZE, rules, (Part("bat_1", 0, LOT_SIZE - 1, b"key"),), segments, version=1)
    table.put(LOT.item(lot, "generate", OPERATOR), 0)


def post(position: int, movement: Movement) -> None:
    ledger.post(position, 1, "CNY", movement, OPERATOR, NOW)


def book(position: int) -> tuple[Account, list[Line]]:
    (account,), lines, disputes = ledger.of_voucher(position, 1_000)
    assert disputes == ()
    return account, sorted(lines, key=lambda line: line.number)


def adds_up(position: int) -> None:
    """Each movement has one line, and the lines lead from the face value to the balance, one by one."""
    account, lines = book(position)
    assert account.waiting == ()
    assert sorted(line.movement.name for line in lines) == sorted(movement.name for movement in HISTORY)
    balance = FACE
    for number, line in enumerate(lines, 1):
        sign = -1 if line.movement.kind is Kind.REDEEMED else 1
        balance += sign * line.movement.amount_minor if line.posted else 0
        assert (line.number, line.balance_minor) == (number, balance)
        assert balance >= 0
    assert (account.balance_minor, account.lines) == (balance, len(lines))
    assert balance == LEFT


def test_workers_at_the_same_events_in_any_order_enter_each_once(world: World) -> None:
    open_lot(world)

    def worker(position: int, seed: int) -> Callable[[], None]:
        mine = random.Random(seed).sample(HISTORY, len(HISTORY))

        def run() -> None:
            for movement in mine:
                post(position, movement)

        return run

    for position in range(FIRST, FIRST + ROUNDS):
        assert race(worker(position, position * WORKERS + n) for n in range(WORKERS)) == [None] * WORKERS
        adds_up(position)


def test_of_two_uses_of_the_same_value_one_is_entered(world: World) -> None:
    """A used card that was set back: whichever of the two events comes first."""
    open_lot(world)
    for position in range(FIRST, FIRST + 200):
        one, two = taken("one", FACE, 1), taken("two", FACE, 2)
        assert race(partial(post, position, movement) for movement in (one, two)) == [None, None]
        account, lines = book(position)
        assert ([line.posted for line in lines], account.balance_minor) == ([True], 0)
        assert {lines[0].movement.redemption, account.waiting[0].redemption} == {"one", "two"}


FAULTS: dict[str, tuple[Fault, int]] = {
    "crash before": (crash_before, 1), "crash after": (crash_after, 1),
    "reply lost": (reply_lost, 1), "no reply": (reply_lost, ATTEMPTS_MAX),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong_at_any_write_the_redelivery_enters_it_once(world: World, wire: Wire, fault: str) -> None:
    open_lot(world)
    planted, times = FAULTS[fault]
    mixed = random.Random(11).sample(HISTORY, len(HISTORY))
    for movement in mixed:
        post(FIRST, movement)
    writes = len(wire.writes()) - 1
    for n in range(1, writes + 1):
        position = FIRST + n
        ledger._noted.clear()
        with wire.planted(planted, is_write, at=n, times=times, surely=False):
            for at, movement in enumerate(mixed):
                try:
                    post(position, movement)
                except (Crash, Exception):
                    left = mixed[at:]
                    break
            else:
                left = []
        for movement in [*left, *left[:1]]:
            post(position, movement)
        adds_up(position)


def test_a_dispute_and_the_reversal_that_settles_it_exclude_each_other(world: World) -> None:
    """Whichever comes first, the second use is entered in the end, and is disputed at most once."""
    open_lot(world)
    for position in range(FIRST, FIRST + 50):
        one, back, two = taken("one", FACE, 1), given_back("one", FACE, 2), taken("two", FACE, 3)
        post(position, one)
        post(position, two)
        attempts: list[Callable[[], object]] = [
            partial(ledger.dispute, position, 1, two.name, OPERATOR), partial(post, position, back),
        ]  # fmt: skip
        race(attempts)
        (account,), lines, disputes = ledger.of_voucher(position, 100)
        assert (account.balance_minor, account.waiting, len(lines)) == (0, (), 3)
        assert len(disputes) <= 1
