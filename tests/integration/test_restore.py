"""After a point-in-time restore the record's knowledge is re-applied: no used card comes back to life."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
from moto.dynamodb.models import dynamodb_backends

from functions.domain.serials import LOT_SIZE
from functions.store import table
from infra import restore, restoring
from infra.local.template import ACCOUNT, REGION
from tests.integration.conftest import Clock
from tests.integration.kami import (
    NOBODY,
    Json,
    Kami,
    erased,
    granted,
    mobile,
    refused,
    settle,
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


def apply(kami: Kami, found: list[str]) -> Counter[str]:
    with kami.cloud.environment("erase"):
        return restoring.apply(restore.events(found), INCARNATION, NOBODY)


def test_a_lot_that_was_made_since_is_lost_and_its_number_not_given_again(kami: Kami) -> None:
    kami.batch(kami.campaign()["id"], 1)
    then = snapshot(kami)
    later = kami.batch(kami.campaign()["id"], LOT_SIZE)
    found = lines(kami)
    put_back(kami, then)
    for _ in range(2):
        assert apply(kami, found) == Counter({"lots that are lost": 1})
    fresh = kami.batch(kami.campaign()["id"], LOT_SIZE)
    assert fresh["first_serial"] > later["last_serial"]


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
