"""Who may carry a message, and in which order they are asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from functions.domain.health import Health, State
from functions.domain.message import Message, Outcome
from functions.domain.routing import Destination, Offer, Routes, Row, When, asked, by_default, choices, free_at, offers

NORTH, SOUTH, WEST = Offer("north"), Offer("south"), Offer("west")
NOW, OPEN_S = 1_000, 30
NEW = Message("msg_1", "voucher.redeemed", "010000000003", "+8613812345678", "text", NOW)


def names(found: tuple[Offer, ...]) -> list[str]:
    return [offer.provider for offer in found]


def tried(*attempts: tuple[str, str | None]) -> Message:
    """A message whose attempts at these providers ended like this."""
    message = NEW
    for provider, reason in attempts:
        message = message.begun(provider, "turn", NOW, traceable=True)
        *before, last = message.attempts
        message = replace(message, attempts=(*before, replace(last, turn=str(len(before)))))
        message = message.ended(str(len(before)), Outcome(reason), NOW)
    return message


def test_by_default_all_go_to_the_first_and_the_others_stand_in() -> None:
    routes = by_default(("north", "south"), 20)
    assert names(offers(routes, NEW, Destination("CN"))) == ["north", "south"]
    assert {offer.rate_per_s for offer in offers(routes, NEW, Destination())} == {20}


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        (When(), True),
        (When(countries=("CN", "HK")), True),
        (When(countries=("US",)), False),
        (When(carriers=("mobile",), kinds=("voucher.redeemed",)), True),
        (When(carriers=("mobile",), kinds=("voucher.expiring",)), False),
        (When(regions=("Guangdong",)), False),  # not known
    ],
)
def test_the_first_row_that_fits_decides(when: When, fits: bool) -> None:
    routes = Routes((Row((SOUTH,), when=when), Row((NORTH,))))
    where = Destination(country="CN", carrier="mobile", kind="voucher.redeemed")
    assert names(offers(routes, NEW, where)) == (["south"] if fits else ["north"])


def test_where_no_row_fits_there_is_nobody() -> None:
    assert offers(Routes((Row((SOUTH,), when=When(countries=("US",))),)), NEW, Destination("CN")) == ()


def test_the_cheapest_is_asked_first_and_of_equal_ones_the_first() -> None:
    row = Row((NORTH._replace(price_micros=2), SOUTH._replace(price_micros=1), WEST._replace(price_micros=1)), "price")
    assert names(offers(Routes((row,)), NEW, Destination())) == ["south", "west", "north"]


def test_shares_follow_the_weights_and_a_message_keeps_its_order() -> None:
    row = Row((NORTH._replace(weight=3), SOUTH._replace(weight=1), WEST._replace(weight=0)), "weight")
    routes, first = Routes((row,)), Counter[str]()
    for number in range(2_000):
        message = replace(NEW, id=f"msg_{number}")
        found = names(offers(routes, message, Destination()))
        assert found == names(offers(routes, message, Destination())) and found[-1] == "west"
        first[found[0]] += 1
    assert 1_400 < first["north"] < 1_600 and first["north"] + first["south"] == 2_000


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([], ["north", "south", "west"]),
        ([("north", "provider_down")], ["south", "west", "north"]),
        ([("north", "provider_down"), ("south", "account_refused")], ["west", "north", "south"]),
        ([("west", "technical_fault")], ["north", "south", "west"]),
        ([("south", "carrier_congested")], ["south", "west", "north"]),
        ([("gone", "provider_down")], ["north", "south", "west"]),
        ([("south", "no_reply")], ["south"]),
        ([("south", "no_reply"), ("south", "provider_down")], ["south"]),
        ([("gone", "no_reply")], ["gone"]),
    ],
)  # fmt: skip
def test_the_last_attempt_says_whom_to_ask_next(attempts: list[tuple[str, str]], expected: list[str]) -> None:
    assert names(asked((NORTH, SOUTH, WEST), tried(*attempts))) == expected


def test_a_doubt_keeps_what_its_provider_offers() -> None:
    limited = SOUTH._replace(rate_per_s=5)
    assert asked((NORTH, limited), tried(("south", "no_reply"))) == (limited,)


def test_a_breaker_that_is_open_is_passed_over_and_one_that_may_be_tried_is_probed() -> None:
    health = {
        "north": Health("north", State.OPEN, NOW),
        "south": Health("south", State.OPEN, NOW - OPEN_S),
        "west": Health("west", since=NOW, failures=3),
    }
    wanted = (NORTH, SOUTH, WEST, Offer("east"))
    assert [(c.offer.provider, c.probe) for c in choices(wanted, health, NOW, OPEN_S)] == [
        ("south", True), ("west", False), ("east", False),
    ]  # fmt: skip
    assert free_at(wanted, health, NOW, OPEN_S) == NOW
    assert free_at((NORTH,), health, NOW + 1, OPEN_S) == NOW + OPEN_S
    assert free_at((), health, NOW, OPEN_S) == NOW
