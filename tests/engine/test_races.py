"""Many at once for the same value, on the engine that is trusted with races."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from functions.domain.codes import parse
from functions.domain.lot import Status
from functions.domain.voucher import Voucher
from functions.generate import batches
from functions.redeem import service as redeem
from tests.engine.engines import on_referee
from tests.engine.world import NOW, OPERATOR, World, later, order, race, till

pytestmark = on_referee

CLIENTS = 16
CODES = 200
FACE_MINOR = 5_000


def voucher_of(world: World, code: str) -> Voucher:
    candidate = parse(code)
    assert candidate is not None
    voucher = world.voucher(candidate.position)
    assert voucher is not None
    return voucher


def kinds(outcomes: Sequence[object]) -> Counter[object]:
    return Counter(o if isinstance(o, str) else "done" for o in outcomes)


def test_sixteen_clients_race_for_a_code_and_one_gets_it(world: World) -> None:
    for number, code in enumerate(world.active(CODES)):
        outcomes = race(
            partial(redeem.create, order(code), f"key-{number}", till(client), NOW) for client in range(CLIENTS)
        )
        assert kinds(outcomes) == {"done": 1, "already_redeemed": CLIENTS - 1}
        (won,) = (o for o in outcomes if isinstance(o, redeem.Redeemed))
        voucher = voucher_of(world, code)
        assert (voucher.version, voucher.balance_minor, voucher.status) == (1, 0, Status.REDEEMED)
        assert list(voucher.redemptions) == [won.redemption.id]


def test_one_order_sent_sixteen_times_at_once_is_one_redemption(world: World) -> None:
    for number, code in enumerate(world.active(CODES // 10)):
        repeats = [till(1, f"request-{number}-{repeat}") for repeat in range(CLIENTS)]
        outcomes = race(partial(redeem.create, order(code), "one-key", by, NOW) for by in repeats)
        done = [o for o in outcomes if isinstance(o, redeem.Redeemed)]
        assert len(done) == CLIENTS
        assert sum(not o.replayed for o in done) == 1
        assert len({o.redemption for o in done}) == 1
        assert voucher_of(world, code).version == 1


def test_two_reversals_race_and_value_comes_back_once(world: World) -> None:
    """Each of the two is sent twice as well: the repeats of the one that won succeed, as repeats."""
    for number, code in enumerate(world.active(CODES)):
        redemption = redeem.create(order(code), "key", till(1), NOW).redemption
        asked = [("a", till(1, "a1")), ("a", till(1, "a2")), ("b", till(1, "b1")), ("b", till(1, "b2"))]
        random.Random(number).shuffle(asked)
        outcomes = race(partial(redeem.reverse, redemption.id, "wrong number", key, by, NOW) for key, by in asked)
        assert kinds(outcomes) == {"done": 2, "already_reversed": 2}
        done = [o for o in outcomes if isinstance(o, redeem.Reversed)]
        assert sorted(o.replayed for o in done) == [False, True]
        assert len({o.reversal for o in done}) == 1
        voucher = voucher_of(world, code)
        assert (voucher.version, voucher.balance_minor, voucher.status) == (2, FACE_MINOR, Status.ACTIVE)


def test_a_balance_cannot_be_overdrawn_by_sixteen_at_once(world: World) -> None:
    amount = 700
    fit, rest = divmod(FACE_MINOR, amount)
    for code in world.active(CODES // 10, redemption="balance", amount_minor=FACE_MINOR):
        outcomes = race(
            partial(redeem.create, order(code, amount), "key", till(client), NOW) for client in range(CLIENTS)
        )
        assert kinds(outcomes) == {"done": fit, "amount_exceeds_balance": CLIENTS - fit}
        voucher = voucher_of(world, code)
        assert (voucher.balance_minor, voucher.version, len(voucher.redemptions)) == (rest, fit, fit)


def test_what_many_take_and_what_is_left_is_the_face_value(world: World) -> None:
    chance = random.Random(2)
    for code in world.active(CODES // 10, redemption="balance", amount_minor=FACE_MINOR):
        amounts = [chance.choice([1, 13, 400, 999, 2_500]) for _ in range(CLIENTS)]
        outcomes = race(
            partial(redeem.create, order(code, amount), "key", till(client), NOW)
            for client, amount in enumerate(amounts)
        )
        done = [o.redemption for o in outcomes if isinstance(o, redeem.Redeemed)]
        voucher = voucher_of(world, code)
        assert sum(r.amount_minor for r in done) + voucher.balance_minor == FACE_MINOR
        assert {r.id: r for r in done} == voucher.redemptions
        balances = sorted((r.balance_minor, r.amount_minor) for r in done)
        assert all(lower + taken == higher for (lower, taken), (higher, _) in pairwise(balances))
        refused = [amount for amount, o in zip(amounts, outcomes, strict=True) if isinstance(o, str)]
        assert all(amount > voucher.balance_minor for amount in refused)


def test_batches_allocated_at_once_never_share_a_voucher(world: World) -> None:
    campaign = world.campaign()
    quantities = [1, 10, 9_000, 2_500, 10_000, 25_000, 3_000, 10_001]
    made = race(
        partial(batches.create, f"bat_race_{number}", campaign.id, quantity, OPERATOR, NOW, later())
        for number, quantity in enumerate(quantities)
    )
    spans = sorted(batch.span for batch in made if not isinstance(batch, str))
    assert len(spans) == len(quantities)
    assert all(one.last < other.first for one, other in pairwise(spans))
    for span in spans:
        for number in span.lots:
            first, last = span.within(number)
            lot = world.lot(number)
            assert lot.part(first) == lot.part(last) is not None
