"""Draws on the engine that is trusted with races: each voucher to one only, whatever goes wrong at any call."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from functions.distribute import claims, dispenses
from functions.distribute.claims import Claimed
from functions.domain.actor import By
from functions.domain.campaign import Campaign
from functions.domain.errors import Refusal
from functions.domain.lot import Scope, Segment, Veto
from functions.domain.serials import LOT_SIZE
from functions.generate import campaigns
from functions.store import aws, draws, keys, pool, table
from functions.store.aws import ATTEMPTS_MAX, FENCE_S
from functions.store.draws import Taken
from functions.store.entities import LOT
from functions.store.pool import FRONT
from functions.store.records import CAMPAIGN
from tests.engine.engines import on_referee
from tests.engine.wire import (
    Call,
    Crash,
    Fault,
    Match,
    Send,
    Wire,
    crash_after,
    is_write,
    reply_lost,
    throttled,
)
from tests.engine.world import NOW, OPERATOR, World, outcome, race

pytestmark = on_referee

CLIENTS = 16
STOCK, CLAIMS, CUSTOMERS = 2_000, 200, 60
R = TypeVar("R")
numbers = count()


def client(number: int) -> By:
    """One of several clients of the operator's."""
    return OPERATOR._replace(client=f"shop-{number}", request=f"request-{next(numbers)}")


def stocked(world: World, quantity: int, **rules: Any) -> Campaign:
    """A campaign with a batch of so many."""
    campaign = world.campaign()
    if rules:
        stored = campaigns.find(campaign.id)
        campaign = table.change(CAMPAIGN, stored, lambda c: replace(stored, **rules) if c == stored else None,
                                "test", OPERATOR)  # fmt: skip
    world.batch(campaign, quantity)
    return campaign


def draw(campaign: Campaign, quantity: int, id: str, by: By | None = None, now: int = NOW) -> Taken:
    return dispenses.dispense(id, campaign.id, quantity, None, None, by or client(0), now)


def claim(
    campaign: Campaign | None, customer: str, code: str | None = None, by: By | None = None, key: str | None = None
) -> Claimed:
    order = claims.Order(customer, code, campaign.id if campaign is not None else None)
    return claims.claim(order, key or fresh(), by or client(0), NOW)


def fresh() -> str:
    return f"dsp_{next(numbers)}"


def positions(taken: Taken) -> list[int]:
    return [voucher.position for voucher in taken.vouchers]


def test_sixteen_clients_dispense_and_claim_until_it_is_dry_and_each_code_goes_to_one(world: World) -> None:
    campaign = stocked(world, STOCK, claims_per_customer=5, claims_max=CLAIMS)
    got: list[list[tuple[str, str]]] = [[] for _ in range(CLIENTS)]
    holders: list[Counter[str]] = [Counter() for _ in range(CLIENTS)]

    def buy(number: int) -> str:
        chance = random.Random(number)
        quantity = chance.choice((1, 3, 20))
        while True:
            done = tried(partial(draw, campaign, quantity, fresh(), client(number)))
            if isinstance(done, Taken):
                got[number] += dispenses.shown(done)
                quantity = chance.choice((1, 3, 20))
            elif quantity == 1:
                return done
            else:
                quantity = 1

    def gain(number: int) -> str:
        chance = random.Random(number)
        while True:
            customer = f"customer-{chance.randrange(CUSTOMERS)}"
            done = tried(partial(claim, campaign, customer, by=client(number)))
            if isinstance(done, Claimed):
                got[number].append((done.voucher.serial, done.code or ""))
                holders[number][customer] += 1
            elif done != "claims_per_customer":
                return done

    outcomes = race(partial(buy if number % 2 else gain, number) for number in range(CLIENTS))
    assert set(outcomes[1::2]) == {"quantity_exceeded"}
    assert set(outcomes[::2]) <= {"claims_max", "quantity_exceeded"}
    every = [line for lines in got for line in lines]
    assert len({serial for serial, _ in every}) == len({code for _, code in every}) == len(every) == STOCK
    total = sum(holders, Counter[str]())
    claimed = total.total()
    assert claimed == CLAIMS or (claimed < CLAIMS and "claims_max" not in outcomes)
    assert max(total.values()) <= 5
    kept = Counter(i["status"] for pk, i in world.items().items() if pk.startswith("VOUCHER#"))
    assert kept == {"active": STOCK - claimed, "claimed": claimed}


def tried(attempt: Callable[[], R]) -> R | str:
    """What came of it in the end: the result, or the key of the refusal, or which limit was reached."""
    while True:
        try:
            return attempt()
        except Refusal as refusal:
            if refusal.key != "try_again":
                return str(refusal.extra.get("limit", refusal.key))


def test_sixteen_clients_claim_exactly_what_may_be_claimed_in_all(world: World) -> None:
    campaign = stocked(world, 100, claims_max=40)

    def gain(number: int) -> int:
        for found in count():
            done = tried(partial(claim, campaign, fresh(), by=client(number)))
            if isinstance(done, str):
                assert done == "claims_max"
                return found
        raise AssertionError

    found = race(partial(gain, number) for number in range(CLIENTS))
    assert sum(each for each in found if isinstance(each, int)) == 40


def test_of_sixteen_claims_of_one_code_one_succeeds(world: World) -> None:
    campaign = stocked(world, 5)
    for serial, code in dispenses.shown(draw(campaign, 5, fresh())):
        outcomes = race(partial(claim, None, f"customer-{n}", code=code, by=client(n)) for n in range(CLIENTS))
        (won,) = (each for each in outcomes if isinstance(each, Claimed))
        assert won.voucher.serial == serial
        assert Counter(each for each in outcomes if isinstance(each, str)) == {"already_claimed": CLIENTS - 1}


def test_sixteen_claims_of_one_customer_at_once_keep_the_limit(world: World) -> None:
    campaign = stocked(world, 100, claims_per_customer=3)
    codes = [code for _, code in dispenses.shown(draw(campaign, 8, fresh()))]
    outcomes = race([
        *(partial(claim, None, "customer", code=code) for code in codes),
        *(partial(claim, campaign, "customer") for _ in codes),
    ])  # fmt: skip
    assert sum(isinstance(each, Claimed) for each in outcomes) == 3
    assert {each for each in outcomes if isinstance(each, str)} <= {"claim_limit_reached", "try_again"}


@pytest.mark.parametrize("by_code", [False, True])
@pytest.mark.parametrize("plan", ["crash", "no-reply"])
def test_a_claim_counts_once_whatever_goes_wrong_at_any_call(
    world: World, wire: Wire, plan: str, by_code: bool
) -> None:
    fault, on, times = PLANS[plan]
    campaign = stocked(world, 60, claims_per_customer=50, claims_max=50)
    codes = iter([code for _, code in dispenses.shown(draw(campaign, 30, fresh()))])

    def order(key: str, code: str | None) -> Claimed:
        return claim(None if by_code else campaign, "customer", code=code, key=key)

    wire.calls.clear()
    order("first", next(codes) if by_code else None)
    places = sum(on(call) for call in wire.calls)
    assert places >= (1 if by_code else 2)
    found = 1
    for place in range(1, places + 1):
        key, code = f"key-{place}", next(codes) if by_code else None
        answers = []
        try:
            with wire.planted(fault, on, at=place, times=times, surely=False):
                answers.append(order(key, code))
        except (Crash, Refusal, HTTPClientError, ClientError):
            answers = []
        answers += [order(key, code), order(key, code)]
        assert len({(each.voucher.serial, each.mark.id, each.code) for each in answers}) == 1
        found += 1
    counts = [i["used"] for pk, i in world.items().items() if pk.startswith("LIMIT#")]
    held = [i for pk, i in world.items().items() if pk.startswith("VOUCHER#") and i.get("holder") == "customer"]
    assert sum(counts) == 2 * len(held) == 2 * found


def test_one_order_sent_sixteen_times_at_once_is_one_draw(world: World) -> None:
    campaign = stocked(world, 100)
    for _ in range(5):
        id = fresh()
        outcomes = race(partial(draw, campaign, 3, id) for _ in range(CLIENTS))
        found = {tuple(positions(each)) for each in outcomes if isinstance(each, Taken)}
        assert len(found) == 1
        assert {each for each in outcomes if isinstance(each, str)} <= {"try_again"}
    assert draw(campaign, 85, fresh()).draw.quantity == 85
    assert outcome(lambda: draw(campaign, 1, fresh())) == "quantity_exceeded"


def test_two_orders_for_the_last_ones_do_not_share_them(world: World) -> None:
    for _ in range(5):
        campaign = stocked(world, 5)
        outcomes = race(partial(draw, campaign, 3, fresh(), client(n)) for n in range(4))
        assert Counter("done" if isinstance(each, Taken) else each for each in outcomes)["done"] == 1
        assert len(positions(draw(campaign, 2, fresh()))) == 2


def any_call(call: Call) -> bool:
    return True


PLANS: dict[str, tuple[Fault, Match, int]] = {
    "crash": (crash_after, any_call, 1),
    "reply-lost": (reply_lost, is_write, 1),
    "no-reply": (reply_lost, is_write, ATTEMPTS_MAX),
    "throttled": (throttled, is_write, ATTEMPTS_MAX),
}
TRIED = [("crash", 1), ("crash", 3), ("reply-lost", 3), ("no-reply", 1), ("throttled", 3)]


@pytest.mark.parametrize(("plan", "quantity"), TRIED)
def test_a_repeat_gets_the_same_whatever_goes_wrong_at_any_call(
    world: World, wire: Wire, plan: str, quantity: int
) -> None:
    """What is left is exactly what was not handed out: nothing is lost and nothing is double."""
    fault, on, times = PLANS[plan]
    campaign = stocked(world, 200, low_stock=500)
    wire.calls.clear()
    given = positions(draw(campaign, quantity, fresh()))
    places = sum(on(call) for call in wire.calls)
    assert places >= 3
    for place in range(1, places + 1):
        id, answers = fresh(), []
        try:
            with wire.planted(fault, on, at=place, times=times, surely=False):
                answers.append(draw(campaign, quantity, id))
        except (Crash, Refusal, HTTPClientError, ClientError):
            answers = []
        answers += [draw(campaign, quantity, id), draw(campaign, quantity, id)]
        assert len({tuple(dispenses.shown(each)) for each in answers}) == 1
        given += positions(answers[0])
    rest = 0
    while outcome(lambda: given.extend(positions(draw(campaign, 1, fresh())))) != "quantity_exceeded":
        rest += 1
    assert rest == 200 - quantity * (places + 1)
    assert len(given) == len(set(given)) == 200


def test_a_plan_of_which_another_took_a_voucher_is_replaced(world: World, wire: Wire) -> None:
    campaign, id = stocked(world, 4), fresh()
    with wire.planted(crash_after, lambda call: call.key == f"DRAW#{id}"), pytest.raises(Crash):
        draw(campaign, 3, id)
    others = positions(draw(campaign, 2, fresh()))
    assert outcome(lambda: draw(campaign, 3, id)) == "quantity_exceeded"
    mine = positions(draw(stocked(world, 3), 3, fresh()))
    assert len({*others, *mine}) == 5
    world.batch(campaign, 10)
    done = positions(draw(campaign, 3, id))
    assert not set(done) & set(others)
    assert positions(draw(campaign, 3, id)) == done


def recalled(number: int, first: int, last: int, scope: Scope = Scope.ALL) -> None:
    """A recovery's veto, as it is written into a lot."""

    def veto(segment: Segment) -> Segment:
        return replace(segment, vetoes=(Veto("rec_1", "void", scope, segment.generation),))

    lot = table.read(LOT, keys.lot(number))
    assert lot is not None
    segments = tuple(veto(s) if first <= s.first and s.last <= last else s for s in lot.segments)
    table.put(LOT.item(replace(lot, segments=segments, version=lot.version + 1), "recall", OPERATOR), lot.version)


def test_a_plan_that_a_recall_came_between_waits_for_its_window(world: World, wire: Wire) -> None:
    """Whoever wrote it may still be about to carry it out; both at once would be one order and two draws."""
    campaign, id = stocked(world, 3), fresh()
    with wire.planted(crash_after, lambda call: call.key == f"DRAW#{id}"), pytest.raises(Crash):
        draw(campaign, 2, id)
    front = table.read(FRONT, keys.front(campaign.id))
    assert front is not None
    (number,) = front.lots
    recalled(number, 0, LOT_SIZE)
    world.batch(campaign, LOT_SIZE)
    with pytest.raises(Refusal) as refused:
        draw(campaign, 2, id, now=NOW + FENCE_S - 1)
    assert (refused.value.key, refused.value.retry_after_s) == ("try_again", 1)
    done = draw(campaign, 2, id, now=NOW + FENCE_S)
    assert {position // LOT_SIZE for position in positions(done)} != {number}


def test_a_draw_that_read_its_lot_before_a_recall_writes_in_its_window_or_not_at_all(
    world: World, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same fence as between a redemption and a recall."""
    campaign = stocked(world, 3)
    elapsed = [0.0]
    real = time.monotonic
    monkeypatch.setattr(aws, "WRITE_WINDOW_S", 8.0)
    monkeypatch.setattr(time, "monotonic", lambda: real() + elapsed[0])

    def slept(call: Call, send: Send) -> Any:
        answer = send()
        elapsed[0] += 8.0
        return answer

    with wire.planted(slept, lambda call: call.key.startswith("DRAW#")), pytest.raises(aws.WriteWindowOver):
        draw(campaign, 2, fresh())
    assert not any(pk.startswith("VOUCHER#") for pk in world.items())


def test_what_a_recall_hits_is_drawn_no_more_and_what_was_drawn_before_is_kept(world: World) -> None:
    campaign = stocked(world, 50)
    front_before = positions(draw(campaign, 5, fresh()))
    number = front_before[0] // LOT_SIZE
    buys: list[Callable[[], Any]] = [partial(draw, campaign, 1, fresh(), client(n)) for n in range(8)]
    outcomes: list[Any] = race([*buys, partial(recalled, number, 0, LOT_SIZE)])
    drawn = {position for each in outcomes if isinstance(each, Taken) for position in positions(each)}
    assert outcome(lambda: draw(campaign, 1, fresh())) == "quantity_exceeded"
    items = {pk for pk in world.items() if pk.startswith("VOUCHER#")}
    assert len(items) == 5 + len(drawn)


def test_what_was_supplied_again_is_found_again(world: World) -> None:
    """A lot that was used up has left the front; its release brings it back, and its shelves are not believed."""
    campaign = stocked(world, 30)
    first = positions(draw(campaign, 30, fresh()))
    assert outcome(lambda: draw(campaign, 1, fresh())) == "quantity_exceeded"
    number = first[0] // LOT_SIZE
    lot = world.lot(number)
    whole = lot.segments[0]
    veto = Veto("rec_1", "reclaim", Scope.ALL, whole.generation)
    freed = replace(lot, segments=(replace(whole, generation=2, vetoes=(veto,)),), version=lot.version + 1)
    table.put(LOT.item(freed, "release", OPERATOR), lot.version)
    pool.resupply([(number, [(whole.first, whole.last)])], "rec_1.release.0", OPERATOR)
    pool.resupply([(number, [(whole.first, whole.last)])], "rec_1.release.0", OPERATOR)
    again = draw(campaign, 30, fresh())
    assert sorted(positions(again)) == sorted(first)
    assert {voucher.version for voucher in again.vouchers} == {2}
    assert outcome(lambda: draw(campaign, 1, fresh())) == "quantity_exceeded"


def test_a_supply_that_comes_while_a_lot_is_left_is_not_lost(world: World, wire: Wire) -> None:
    """Who finds a lot dry takes it off the front only as that was before the look."""
    campaign = stocked(world, 3)
    first = positions(draw(campaign, 3, fresh()))
    number = first[0] // LOT_SIZE
    real = pool.open_more

    def late(front: Any, dry: Any, by: By) -> Any:
        monkey.undo()
        lot = world.lot(number)
        (whole,) = lot.segments
        veto = Veto("rec_1", "reclaim", Scope.ALL, 1)
        freed = replace(lot, segments=(replace(whole, generation=2, vetoes=(veto,)),), version=lot.version + 1)
        table.put(LOT.item(freed, "release", OPERATOR), lot.version)
        pool.resupply([(number, [(0, 2)])], "rec_1.release.0", OPERATOR)
        draw(campaign, 1, fresh())
        return real(front, dry, by)

    monkey = pytest.MonkeyPatch()
    monkey.setattr(draws, "open_more", late)
    outcome(lambda: draw(campaign, 1, fresh()))
    assert len(positions(draw(campaign, 2, fresh()))) == 2


def test_a_draw_looks_into_few_items_however_much_there_is(world: World, wire: Wire) -> None:
    """Not a scan, and no query: two reads of keys, one of candidates, the plan, the taking, the shelf."""
    campaign = stocked(world, 40 * LOT_SIZE)
    draw(campaign, 1, fresh())
    wire.calls.clear()
    draw(campaign, 1, fresh())
    operations = Counter(call.operation for call in wire.calls if call.service == "DynamoDB")
    assert operations == {"GetItem": 1, "BatchGetItem": 3, "PutItem": 3}
    front = table.read(FRONT, keys.front(campaign.id))
    assert front is not None
    assert len(front.lots) == 16
