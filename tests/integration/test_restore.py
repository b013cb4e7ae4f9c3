"""After a point-in-time restore the record's knowledge is re-applied: no used card comes back to life."""

from __future__ import annotations

import copy
import random
from collections import Counter
from typing import Any

import pytest
from moto.dynamodb.models import dynamodb_backends

from functions.domain.serials import LOT_SIZE
from functions.store import table
from functions.store.aws import FENCE_S
from infra import restore, restoring
from infra.local.template import ACCOUNT, REGION
from tests.integration.conftest import Clock
from tests.integration.kami import (
    NOBODY,
    Json,
    Kami,
    Voucher,
    claim,
    erased,
    granted,
    mobile,
    refused,
    replayed,
    settle,
    unique,
)

INCARNATION = 2
SEEN = ("status", "redeemable", "reason", "balance_minor", "valid_until", "channel", "generation")


def state(kami: Kami, serial: str) -> Json:
    shown = granted(kami.operator.get(f"/v1/vouchers/{serial}"))
    return {name: shown.get(name) for name in SEEN}


def snapshot(kami: Kami) -> Any:
    (name,) = kami.cloud.stack.tables
    return copy.deepcopy(dynamodb_backends[ACCOUNT][REGION].tables[name].items)


def put_back(kami: Kami, items: Any) -> None:
    (name,) = kami.cloud.stack.tables
    dynamodb_backends[ACCOUNT][REGION].tables[name].items = copy.deepcopy(items)


def lines(kami: Kami) -> list[str]:
    """What is on record."""
    kami.cloud.drain(delayed=False)
    return [item["line"]["S"] for (pk, _), item in kami.items().items() if pk.startswith("ENTRY#")]


def recover(kami: Kami, clock: Clock, action: str, **selection: Any) -> str:
    order = {"selection": selection, "action": action, "reason": "stolen"}
    id = granted(kami.operator.post("/v1/recoveries", order, unique()), 202)["id"]
    follow(kami, clock)
    return str(id)


def resume(kami: Kami, clock: Clock, lifts: str) -> None:
    order = {"action": "resume", "recovery": lifts, "reason": "other"}
    granted(kami.operator.post("/v1/recoveries", order, unique()), 202)
    follow(kami, clock)


def follow(kami: Kami, clock: Clock) -> None:
    for _ in range(6):
        kami.cloud.drain(delayed=False)
        clock.advance(FENCE_S)
        kami.cloud.hasten()


def stock(kami: Kami, **changes: Any) -> tuple[str, list[Voucher]]:
    """A batch of four, active, with its codes."""
    batch = kami.batch(kami.campaign(**changes)["id"], 4)["id"]
    kami.activate(batch=batch)
    serials = kami.serials(batch)
    return batch, list(map(Voucher, serials, kami.codes(serials)))


def apply(kami: Kami, found: list[str]) -> Counter[str]:
    with kami.cloud.environment("erase"):
        return restoring.apply(restore.events(found), INCARNATION, NOBODY)


@pytest.fixture
def before(kami: Kami) -> dict[str, tuple[str, list[Voucher]]]:
    """Stock as it was at the moment that is restored to."""
    names = ("voided", "reclaimed", "suspended", "resumed", "single", "sold")
    made = {name: stock(kami, redemption="balance") for name in names}
    idle = kami.batch(kami.campaign()["id"], 4)["id"]
    made["idle"] = idle, list(map(Voucher, kami.serials(idle), kami.codes(kami.serials(idle))))
    return made


def test_what_the_record_knows_is_re_applied(kami: Kami, clock: Clock, before: dict[str, Any]) -> None:
    used, partly, undone, given, held, quiet = (kami.voucher(redemption="balance") for _ in range(6))
    early = granted(kami.merchant.redeem(undone.code, account=mobile(), amount_minor=700), 201)
    granted(kami.merchant.redeem(partly.code, account=mobile(), amount_minor=100), 201)
    claim(kami, given, "giver")
    drawn = kami.campaign(claims_per_customer=1)["id"]
    kami.batch(drawn, 3)
    suspended = recover(kami, clock, "suspend", batch=before["resumed"][0])
    kami.cloud.drain(delayed=False)
    then = snapshot(kami)

    key, number = unique(), mobile()
    done = granted(kami.merchant.redeem(used.code, key, number), 201)
    last = granted(kami.merchant.redeem(partly.code, account=mobile(), amount_minor=200), 201)
    taken = granted(kami.merchant.redeem(partly.code, account=mobile(), amount_minor=300), 201)
    granted(kami.merchant.reverse(taken["id"]), 201)
    granted(kami.merchant.reverse(early["id"]), 201)
    offer = granted(kami.operator.post("/v1/transfers", {"serial": given.serial, "customer": "giver"}, unique()), 201)
    order = {"token": offer["token"], "customer": "receiver"}
    accepted = granted(kami.operator.post(f"/v1/transfers/{offer['id']}/acceptances", order, unique()), 201)
    claim(kami, held, "holder")
    claimed = granted(kami.operator.post("/v1/claims", {"customer": "one", "campaign": drawn}, unique()), 201)
    recover(kami, clock, "void", batch=before["voided"][0])
    recover(kami, clock, "reclaim", batch=before["reclaimed"][0])
    recover(kami, clock, "suspend", batch=before["suspended"][0])
    resume(kami, clock, suspended)
    recover(kami, clock, "void", serials=[before["single"][1][0].serial])
    recover(kami, clock, "suspend", serials=[before["single"][1][1].serial])
    kami.activate(batch=before["idle"][0])
    later = kami.batch(kami.campaign()["id"], LOT_SIZE)
    found = lines(kami)

    cards = [used, partly, undone, given, held, quiet, *(card for _, batch in before.values() for card in batch),
             Voucher(claimed["serial"], "")]  # fmt: skip
    truth = {card.serial: state(kami, card.serial) for card in cards}
    put_back(kami, then)
    assert {serial: state(kami, serial) for serial in truth} != truth
    random.Random(1).shuffle(found)
    lost = apply(kami, found)
    assert lost["voucher.redeemed"] == 3
    assert lost["lots that are lost"] == 1
    assert {serial: state(kami, serial) for serial in truth} == truth

    refused(kami.merchant.redeem(used.code), 409, "already_redeemed")
    again = kami.merchant.redeem(used.code, key, number)
    assert replayed(again)
    assert granted(again, 201)["id"] == done["id"]
    refused(kami.merchant.reverse(taken["id"]), 409, "already_reversed")
    for card in (given, *before["voided"][1], *before["reclaimed"][1], *before["suspended"][1]):
        refused(kami.merchant.redeem(card.code), 404, "voucher_not_redeemable")
    for code in (accepted["code"], before["resumed"][1][0].code, before["idle"][1][0].code):
        granted(kami.merchant.redeem(code), 201)
    granted(kami.merchant.reverse(last["id"]), 201)
    assert state(kami, partly.serial)["balance_minor"] == 4_900
    fresh = kami.batch(kami.campaign()["id"], LOT_SIZE)
    assert fresh["first_serial"] > later["last_serial"]
    assert apply(kami, found) == Counter({"lots that are lost": 1})


def test_a_second_run_and_one_over_a_table_that_lost_nothing_change_nothing(kami: Kami, clock: Clock) -> None:
    card = kami.voucher(redemption="balance")
    then = snapshot(kami)
    granted(kami.merchant.redeem(card.code, amount_minor=1), 201)
    found = lines(kami)
    untouched = kami.items()
    assert apply(kami, found) == Counter()
    assert kami.items() == untouched
    put_back(kami, then)
    assert apply(kami, found)["voucher.redeemed"] == 1
    once = kami.items()
    assert apply(kami, found) == Counter()
    assert kami.items() == once


def test_a_crash_between_two_writes_is_gone_on_from(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [kami.voucher() for _ in range(4)]
    then = snapshot(kami)
    for card in cards:
        granted(kami.merchant.redeem(card.code), 201)
    found = lines(kami)
    put_back(kami, then)
    put, left = table.put, [2]

    def dying(item: Any, seen_version: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise ConnectionError
        put(item, seen_version)

    monkeypatch.setattr(table, "put", dying)
    with pytest.raises(ConnectionError):
        apply(kami, found)
    apply(kami, found)
    for card in cards:
        refused(kami.merchant.redeem(card.code), 409, "already_redeemed")


def test_events_of_the_restored_table_itself_are_not_taken_for_lost_ones(kami: Kami) -> None:
    card = kami.voucher()
    then = snapshot(kami)
    granted(kami.merchant.redeem(card.code), 201)
    found = lines(kami)
    put_back(kami, then)
    assert apply(kami, [line.replace('"id":"1.', f'"id":"{INCARNATION}.') for line in found]) == Counter()
    granted(kami.merchant.redeem(card.code), 201)


def test_who_was_erased_after_that_moment_is_erased_again(kami: Kami) -> None:
    number, card = mobile(), kami.voucher()
    granted(kami.merchant.redeem(card.code, account=number), 201)
    kami.cloud.drain(delayed=False)
    then = snapshot(kami)
    done = erased(kami, number=number)
    found = lines(kami)
    put_back(kami, then)
    assert number in str(kami.items())
    assert apply(kami, found)["persons to be erased again"] == 1
    assert number in str(kami.items())
    settle(kami)
    assert number not in str(kami.items())
    assert done["account"] in str(kami.items())
    assert apply(kami, found) == Counter()
