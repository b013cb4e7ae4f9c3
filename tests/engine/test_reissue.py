"""Reissues: the value is on one card at any time, whoever comes between and wherever a worker dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from functions.distribute import service as distribute
from functions.distribute import transfers, wallet
from functions.distribute.transfers import Ended
from functions.domain.campaign import Batch
from functions.domain.lot import Scope, Status
from functions.domain.recovery import Action
from functions.domain.sale import Sale
from functions.domain.selection import Selection, Span
from functions.domain.serials import LOT_SIZE, serial_of
from functions.domain.voucher import Redemption, Voucher, standing
from functions.domain.wallet import held
from functions.recover import reissues
from functions.recover import service as recover
from functions.redeem import service as redeem
from functions.store import keys, selected, table
from functions.store.entities import VOUCHER
from functions.store.records import RECOVERED
from tests.engine.engines import on_referee
from tests.engine.recovering import adds_up, finished, ordered
from tests.engine.wire import Crash, Wire, crash_after, is_write
from tests.engine.world import NOW, OPERATOR, World, later, order, outcome, race, till

ROUNDS = 200


def one(position: int) -> Selection:
    return Selection(serials=(serial_of(position),))


def whole(batch: Any) -> Selection:
    return Selection(batch=batch.id)


def sell(batch: Any) -> None:
    """Activates a batch so that nothing of it is drawn."""
    distribute.activate(f"act_{batch.id}", whole(batch), OPERATOR, NOW, later(), Sale(5_000, "CNY", "shop"))


def claim(world: World, position: int, holder: str = "holder") -> None:
    """Makes a voucher a customer's of the operator's, whatever was used of it."""
    item = world.voucher(position)
    at = standing(world.lot(position // LOT_SIZE), position % LOT_SIZE, item, NOW)
    assert at is not None
    status = at.voucher.status if item is not None else Status.CLAIMED
    claimed = replace(held(at, holder, "operator"), status=status)
    table.change(VOUCHER, item, lambda current: claimed if current == item else None, "claim", OPERATOR)


def item(world: World, position: int) -> Voucher:
    voucher = world.voucher(position)
    assert voucher is not None
    return voucher


def successor(world: World, position: int) -> Voucher:
    old = item(world, position)
    assert old.reissue is not None
    new = item(world, old.reissue.successor)
    assert new.origin is not None
    assert (new.origin.predecessor, new.campaign, new.tenant) == (position, old.campaign, old.tenant)
    return new


def code_of(world: World, voucher: Voucher) -> str:
    (code,) = world.codes(Span(voucher.position, voucher.position))
    return code


def in_wallet(customer: str) -> list[str]:
    found, _ = wallet.page(customer, None, 100, None, OPERATOR, NOW)
    return [each.standing.voucher.serial for each in found]


def test_a_holder_gets_another_card_with_what_was_left_and_the_old_one_is_dead(world: World) -> None:
    campaign = world.campaign(redemption="balance")
    batch, _ = world.batch(campaign, 5), world.batch(campaign, 5)
    sell(batch)
    codes = world.codes(batch.span)
    redeem.create(order(codes[0], 2_000), "key", till(1), NOW)
    redeem.create(order(codes[1]), "key", till(1), NOW)
    for place in (0, 1, 2):
        claim(world, batch.first + place)
    redeem.create(order(codes[3], 1_000), "key", till(1), NOW)
    done = finished(ordered("rec_new", whole(batch), Action.REISSUE))
    adds_up(done)
    assert (done.recovered, done.skipped) == (2, {"redeemed": 1, "not_held": 2})
    (value,) = done.values.values()
    assert value == (3_000 + 5_000, 4_000 + 5_000, 2_000 + 5_000 + 1_000, 3)
    for place, left in ((0, 3_000), (2, 5_000)):
        old, new = item(world, batch.first + place), successor(world, batch.first + place)
        assert (old.status, old.balance_minor) == (Status.REISSUED, 0)
        assert (new.status, new.balance_minor, new.holder) == (Status.CLAIMED, left, "holder")
        assert (
            outcome(partial(redeem.create, order(codes[place], 1), "again", till(2), NOW)) == "voucher_not_redeemable"
        )
        assert redeem.create(order(code_of(world, new)), "new", till(2), NOW).redemption.amount_minor == left
        assert table.read(RECOVERED, keys.recovered("rec_new", batch.first + place)) is not None
    assert serial_of(batch.first) not in in_wallet("holder")
    again = finished(ordered("rec_again", one(batch.first), Action.REISSUE))
    assert (again.recovered, again.skipped) == (0, {"reissued": 1})


def test_whom_a_reissue_leaves_alone_and_what_it_takes(world: World) -> None:
    campaign = world.campaign(redemption="balance")
    batch, _ = world.batch(campaign, 6), world.batch(campaign, 1)
    sell(batch)
    for place in range(6):
        claim(world, batch.first + place)
    finished(ordered("rec_void", one(batch.first), Action.VOID))
    finished(ordered("rec_stop", one(batch.first + 1), Action.SUSPEND))
    stopped = finished(ordered("rec_1", one(batch.first + 1), Action.REISSUE))
    assert (stopped.recovered, item(world, batch.first + 1).suspension) == (1, None)
    left = finished(ordered("rec_2", whole(batch), Action.REISSUE))
    adds_up(left)
    assert (left.recovered, left.skipped) == (0, {"void": 1, "reissued": 1, "out_of_stock": 4})
    spared = finished(ordered("rec_3", one(batch.first + 2), Action.REISSUE, Scope.NOT_CLAIMED))
    assert spared.skipped == {"claimed": 1}


def reissued_after_use(world: World, stock: int = 1) -> tuple[Batch, Redemption, Voucher]:
    """A batch of one claimed card of balance that was reissued, its use of CNY 20.00 before, and its successor."""
    campaign = world.campaign(redemption="balance")
    batch, _ = world.batch(campaign, 1), world.batch(campaign, stock)
    sell(batch)
    used = redeem.create(order(world.codes(batch.span)[0], 2_000), "key", till(1), NOW).redemption
    claim(world, batch.first)
    finished(ordered("rec_1", one(batch.first), Action.REISSUE))
    return batch, used, successor(world, batch.first)


def test_a_reversal_credits_the_last_of_its_successors(world: World) -> None:
    batch, used, first = reissued_after_use(world, stock=4)
    finished(ordered("rec_2", one(first.position), Action.REISSUE))
    last = successor(world, first.position)
    redeem.create(order(code_of(world, last)), "key", till(2), NOW)
    back = redeem.reverse(used.id, "wrong", "back", till(1), NOW)
    assert (back.reversal.credited, back.reversal.balance_minor) == (last.position, 2_000)
    assert (back.reversal.status, item(world, batch.first).balance_minor) == ("partly_redeemed", 0)
    again = redeem.reverse(used.id, "wrong", "back", till(1, "again"), NOW)
    assert (again.replayed, again.reversal) == (True, back.reversal)
    assert outcome(partial(redeem.reverse, used.id, "wrong", "other", till(1), NOW)) == "already_reversed"
    assert redeem.create(order(code_of(world, last)), "rest", till(2), NOW).redemption.amount_minor == 2_000
    finished(ordered("rec_3", one(last.position), Action.RECLAIM))


def test_what_a_reclaimed_successor_had_is_not_given_back(world: World) -> None:
    _, used, new = reissued_after_use(world)
    finished(ordered("rec_2", one(new.position), Action.RECLAIM))
    assert outcome(partial(redeem.reverse, used.id, "wrong", "back", till(1), NOW)) == "reversal_not_possible"


def test_what_a_successor_was_credited_too_late_is_not_put_into_stock(world: World) -> None:
    """A reclaim has spared it for being used up; with the value it would be in stock, as new, and not its holder's."""
    _, used, new = reissued_after_use(world)
    redeem.create(order(code_of(world, new)), "key", till(2), NOW)
    spared = finished(ordered("rec_2", one(new.position), Action.RECLAIM))
    assert spared.skipped == {"redeemed": 1}
    assert outcome(partial(redeem.reverse, used.id, "wrong", "back", till(1), NOW)) == "reversal_not_possible"
    assert item(world, new.position).balance_minor == 0


@pytest.mark.parametrize("by", ["a claim", "a reissue"])
def test_what_comes_back_late_is_not_given_to_who_has_the_successor_by_now(world: World, by: str) -> None:
    """It was reclaimed, and handed out again: to a customer, or in the place of another card."""
    campaign = world.campaign(redemption="balance")
    batch, _ = world.batch(campaign, 2), world.batch(campaign, 1)
    sell(batch)
    used = redeem.create(order(world.codes(batch.span)[0], 2_000), "key", till(1), NOW).redemption
    claim(world, batch.first)
    claim(world, batch.first + 1, "another")
    finished(ordered("rec_1", one(batch.first), Action.REISSUE))
    position = successor(world, batch.first).position
    finished(ordered("rec_2", one(position), Action.RECLAIM))
    if by == "a reissue":
        finished(ordered("rec_3", one(batch.first + 1), Action.REISSUE))
    else:
        world.activate(one(position))
        claim(world, position, "another")
    assert (item(world, position).holder, item(world, position).balance_minor) == ("another", 5_000)
    assert outcome(partial(redeem.reverse, used.id, "wrong", "back", till(1), NOW)) == "reversal_not_possible"
    assert item(world, position).balance_minor == 5_000


def test_no_card_is_replaced_by_one_that_the_recovery_is_about_itself(world: World) -> None:
    """Whoever knows its codes knows that one's too; and it would be replaced in its turn."""
    campaign = world.campaign(redemption="balance")
    batch = world.batch(campaign, 6)
    for place in (0, 5):
        claim(world, batch.first + place)
    alone = finished(ordered("rec_1", whole(batch), Action.REISSUE))
    assert (alone.recovered, alone.skipped) == (0, {"out_of_stock": 2, "not_held": 4})
    more = world.batch(campaign, 2)
    done = finished(ordered("rec_2", whole(batch), Action.REISSUE))
    adds_up(done)
    assert (done.recovered, done.skipped, done.values["CNY"].recovered_minor) == (2, {"not_held": 4}, 10_000)
    places = {successor(world, batch.first + place).position for place in (0, 5)}
    assert places == {more.first, more.first + 1}
    last = finished(ordered("rec_3", one(more.first), Action.REISSUE))
    assert last.recovered == 1, "what was barred to one reissue is free for another"
    assert batch.first < successor(world, more.first).position < batch.first + 5


def test_another_runner_replaced_it_just_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It went on with the first one's plan, between its look at the old card and its write."""
    campaign = world.campaign(redemption="balance")
    batch, _ = world.batch(campaign, 1), world.batch(campaign, 3)
    sell(batch)
    claim(world, batch.first)
    recovery = ordered("rec_1", whole(batch), Action.REISSUE)
    seen, look = {batch.first % LOT_SIZE: item(world, batch.first)}, reissues.kept_now
    barred, at_work = selected.bits_of(recovery), list[str]()

    def replace_all() -> dict[int, str] | None:
        return reissues.replace_all(recovery, dict(seen), lambda _: True, barred, NOW, later())

    def overtaken(*arguments: Any) -> Any:
        if not at_work:
            at_work.append("another")
            assert replace_all() == {}
        return look(*arguments)

    monkeypatch.setattr(reissues, "kept_now", overtaken)
    assert replace_all() == {}
    done = finished(recovery)
    assert (done.recovered, done.skipped, done.values["CNY"].recovered_minor) == (1, {}, 5_000)
    issued = [v for v in world.items().values() if v["entity"] == "voucher" and "origin" in v]
    assert [each["position"] for each in issued] == [successor(world, batch.first).position]


def test_what_another_runner_replaced_after_this_one_gave_it_up_is_recovered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was no stock when this one looked, and some a moment later."""
    campaign = world.campaign(redemption="balance")
    batch = world.batch(campaign, 1)
    sell(batch)
    claim(world, batch.first)
    replace_all = reissues.replace_all

    def overtaken(*arguments: Any) -> Any:
        given_up = replace_all(*arguments)
        world.batch(campaign, 1)
        assert (given_up, replace_all(*arguments)) == ({batch.first % LOT_SIZE: "out_of_stock"}, {})
        return given_up

    monkeypatch.setattr(reissues, "replace_all", overtaken)
    done = finished(ordered("rec_1", whole(batch), Action.REISSUE))
    assert (done.recovered, done.skipped, done.values["CNY"].recovered_minor) == (1, {}, 5_000)
    assert table.read(RECOVERED, keys.recovered("rec_1", batch.first)) is not None


def test_a_reissue_that_breaks_off_at_any_write_is_gone_on_with(world: World, wire: Wire) -> None:
    campaign = world.campaign(redemption="balance")

    def prepared() -> Any:
        batch = world.batch(campaign, 2)
        sell(batch)
        for place in range(2):
            claim(world, batch.first + place)
        return batch

    world.batch(campaign, 100)
    batch = prepared()
    recovery = ordered("rec_0", whole(batch), Action.REISSUE)
    wire.calls.clear()
    finished(recovery)
    writes = len(wire.writes())
    assert writes >= 8
    for at in range(1, writes + 1):
        batch = prepared()
        recovery = ordered(f"rec_{at}", whole(batch), Action.REISSUE)
        with wire.planted(crash_after, is_write, at=at), pytest.raises(Crash):
            finished(recovery)
        done = finished(recover.find(recovery.id))
        adds_up(done)
        assert (done.recovered, done.values["CNY"].recovered_minor) == (2, 10_000), at
        both = [successor(world, batch.first + place) for place in range(2)]
        assert len({new.position for new in both}) == 2
        assert [new.balance_minor for new in both] == [5_000, 5_000]
    issued = [v for v in world.items().values() if v["entity"] == "voucher" and "origin" in v]
    assert len(issued) == 2 * (writes + 1)


Check = Callable[[int, int, Any], str]
Rival = Callable[[int, int, str, Any], Callable[[], Any]]


def race_each(world: World, rounds: int, rival: Rival, check: Check) -> None:
    """One recovery replaces each card while a rival comes; its report adds up in the end."""
    campaign = world.campaign(redemption="balance")
    batch, _ = world.batch(campaign, rounds), world.batch(campaign, 2 * rounds)
    sell(batch)
    recovery = ordered("rec_all", whole(batch), Action.REISSUE)
    outcomes = Counter[str]()
    for number, code in enumerate(world.codes(batch.span)):
        position = batch.first + number
        used = redeem.create(order(code, 1_000), "first", till(number), NOW).redemption
        claim(world, position)
        other = rival(number, position, code, used)
        seen = {position % LOT_SIZE: item(world, position)}
        mine = partial(reissues.replace_all, recovery, seen, lambda _: True, selected.bits_of(recovery), NOW, later())
        kept, theirs = race((mine, other))
        assert kept in ({}, {position % LOT_SIZE: "redeemed"})
        outcomes[check(number, position, theirs)] += 1
    assert sum(outcomes.values()) == rounds
    done = finished(recovery)
    adds_up(done)
    assert done.recovered + done.skipped.get("redeemed", 0) == rounds


def worth(world: World, position: int) -> int:
    """What is left on a card and on what replaces it."""
    old = item(world, position)
    return old.balance_minor + (successor(world, position).balance_minor if old.reissue is not None else 0)


@on_referee
def test_a_reissue_and_an_acceptance_have_one_outcome(world: World) -> None:
    """The receiver has the new card, or the giver has it and the offer is over."""

    def rival(number: int, position: int, code: str, used: Any) -> Callable[[], Any]:
        by = OPERATOR._replace(request=f"offer-{number}")
        offered = transfers.offer(serial_of(position), "holder", f"offer-{number}", by, NOW)
        return partial(transfers.accept, offered.transfer.id, offered.token, "receiver", f"key-{number}", by, NOW)

    def check(number: int, position: int, accepted: Any) -> str:
        new = successor(world, position)
        assert worth(world, position) == 4_000
        assert new.holder == ("receiver" if isinstance(accepted, Ended) else "holder")
        assert isinstance(accepted, Ended) or accepted == "voucher_not_redeemable"
        return new.holder

    race_each(world, ROUNDS, rival, check)


@on_referee
def test_a_reissue_and_a_redemption_have_one_outcome(world: World) -> None:
    """The old card is used and what is left of it replaced, or the old one is dead."""

    def rival(number: int, position: int, code: str, used: Any) -> Callable[[], Any]:
        return partial(redeem.create, order(code, 4_000 if number % 2 else 500), "rival", till(number), NOW)

    def check(number: int, position: int, redeemed: Any) -> str:
        taken = 0 if isinstance(redeemed, str) else redeemed.redemption.amount_minor
        assert not isinstance(redeemed, str) or redeemed == "voucher_not_redeemable"
        assert worth(world, position) == 4_000 - taken
        return "redeemed" if taken else "dead"

    race_each(world, ROUNDS // 2, rival, check)


@on_referee
def test_a_reissue_and_a_reversal_lose_and_make_no_value(world: World) -> None:
    def rival(number: int, position: int, code: str, used: Any) -> Callable[[], Any]:
        return partial(redeem.reverse, used.id, "wrong", "back", till(number), NOW)

    def check(number: int, position: int, back: Any) -> str:
        assert not isinstance(back, str)
        assert worth(world, position) == 5_000
        assert item(world, position).balance_minor == 0
        return "credited" if back.reversal.credited is not None else "before"

    race_each(world, ROUNDS // 2, rival, check)
