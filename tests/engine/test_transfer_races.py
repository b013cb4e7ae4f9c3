"""A gift goes over once, whoever comes at the same moment, and whatever reply is lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from functions.distribute import transfers, wallet
from functions.distribute.transfers import Ended
from functions.domain.actor import By
from functions.domain.codes import parse
from functions.domain.lot import Status
from functions.domain.serials import LOT_SIZE, serial_of
from functions.domain.voucher import Voucher, standing
from functions.domain.wallet import held
from functions.redeem import service as redeem
from functions.store import table
from functions.store.entities import VOUCHER
from tests.engine.engines import on_referee
from tests.engine.wire import Wire, put_of, reply_lost
from tests.engine.world import NOW, OPERATOR, World, order, outcome, race, till

pytestmark = on_referee

GIFTS = 20
CLIENTS = 8


@dataclass(frozen=True)
class Gift:
    """An open offer, with the code that the giver has."""

    position: int
    code: str
    id: str
    token: str


def app(number: int) -> By:
    """A request of the operator's app."""
    return OPERATOR._replace(request=f"app-{number}")


def claim(world: World, code: str, holder: str) -> int:
    """The position of a voucher that a customer of the operator's holds now."""
    candidate = parse(code)
    assert candidate is not None
    position = candidate.position
    at = standing(world.lot(position // LOT_SIZE), position % LOT_SIZE, None, NOW)
    assert at is not None
    claimed = replace(held(at, holder, "operator"), status=Status.CLAIMED)
    table.change(VOUCHER, None, lambda _: claimed, "claim", OPERATOR)
    return position


def gifts(world: World, count: int) -> list[Gift]:
    made = []
    for code in world.active(count):
        position = claim(world, code, "giver")
        offered = transfers.offer(serial_of(position), "giver", f"offer-{position}", OPERATOR, NOW)
        made.append(Gift(position, code, offered.transfer.id, offered.token))
    return made


def item(world: World, gift: Gift) -> Voucher:
    voucher = world.voucher(gift.position)
    assert voucher is not None
    return voucher


def kinds(outcomes: Sequence[object]) -> Counter[object]:
    return Counter(o if isinstance(o, str) else "done" for o in outcomes)


def held_by(customer: str) -> list[str]:
    found, _ = wallet.page(customer, None, 100, None, OPERATOR, NOW)
    return [each.standing.voucher.serial for each in found]


def test_of_many_who_accept_at_once_one_gets_it(world: World) -> None:
    for gift in gifts(world, GIFTS):
        outcomes = race(
            partial(transfers.accept, gift.id, gift.token, f"receiver-{n}", f"key-{n}", app(n), NOW)
            for n in range(CLIENTS)
        )
        assert kinds(outcomes) == {"done": 1, "transfer_over": CLIENTS - 1}
        (winner,) = (n for n, o in enumerate(outcomes) if isinstance(o, Ended))
        voucher = item(world, gift)
        assert (voucher.holder, voucher.handovers, voucher.version) == (f"receiver-{winner}", 1, 3)
        serial = serial_of(gift.position)
        losers = ("giver", f"receiver-{(winner + 1) % CLIENTS}")
        assert [serial in held_by(customer) for customer in (f"receiver-{winner}", *losers)] == [True, False, False]


def test_an_acceptance_and_a_return_exclude_each_other(world: World) -> None:
    for number, gift in enumerate(gifts(world, GIFTS)):
        asked: list[Callable[[], object]] = [
            partial(transfers.accept, gift.id, gift.token, "receiver", "key", app(1), NOW),
            partial(transfers.give_back, gift.id, "giver", None, "key", app(2), NOW),
        ]
        random.Random(number).shuffle(asked)
        outcomes = race(asked)
        assert kinds(outcomes) == {"done": 1, "transfer_over": 1}
        (done,) = (o for o in outcomes if isinstance(o, Ended))
        assert item(world, gift).holder == ("receiver" if done.end.accepted else "giver")


def test_an_offer_and_a_redemption_exclude_each_other(world: World) -> None:
    """Whoever of the two comes second finds it spent, or offered."""
    for number, code in enumerate(world.active(GIFTS)):
        position = claim(world, code, "giver")
        asked: list[Callable[[], object]] = [
            partial(transfers.offer, serial_of(position), "giver", f"key-{number}", app(1), NOW),
            partial(redeem.create, order(code), "key", till(number), NOW),
        ]
        outcomes = race(asked)
        assert kinds(outcomes) in ({"done": 1, "already_redeemed": 1}, {"done": 1, "voucher_offered": 1})
        voucher = world.voucher(position)
        assert voucher is not None
        assert bool(voucher.redemptions) != bool(voucher.transfers)


def test_after_the_offers_end_an_acceptance_and_the_givers_code_exclude_each_other(world: World) -> None:
    """The two machines' clocks differ: to one the offer is still open, to the other its time is over."""
    for gift in gifts(world, GIFTS):
        later = item(world, gift).transfers[gift.id].expires_at
        asked: list[Callable[[], object]] = [
            partial(transfers.accept, gift.id, gift.token, "receiver", "key", app(1), NOW),
            partial(redeem.create, order(gift.code), "key", till(1), later),
        ]
        outcomes = race(asked)
        done = [o for o in outcomes if not isinstance(o, str)]
        assert len(done) == 1
        voucher = item(world, gift)
        if isinstance(done[0], Ended):
            assert (voucher.holder, voucher.balance_minor) == ("receiver", 5_000)
        else:
            assert (voucher.holder, voucher.balance_minor) == ("giver", 0)


def test_a_reply_lost_is_the_same_success(world: World, wire: Wire) -> None:
    """The SDK sends the write again, which meets what it wrote itself."""
    (code,) = world.active(1)
    position = claim(world, code, "giver")
    with wire.planted(reply_lost, put_of("VOUCHER#")):
        offered = transfers.offer(serial_of(position), "giver", "key", app(1), NOW)
    assert not offered.replayed
    with wire.planted(reply_lost, put_of("VOUCHER#")):
        accepted = transfers.accept(offered.transfer.id, offered.token, "receiver", "key", app(2), NOW)
    assert not accepted.replayed
    again = transfers.accept(offered.transfer.id, offered.token, "receiver", "key", app(3), NOW)
    assert (again.replayed, again.code) == (True, accepted.code)
    assert item(world, Gift(position, code, "", "")).version == 3
    assert outcome(partial(redeem.create, order(code), "key", till(1), NOW)) == "voucher_not_redeemable"
    assert accepted.code is not None
    assert redeem.create(order(accepted.code), "key", till(2), NOW).voucher.balance_minor == 0
