"""Holds: value kept for one order, captured or released once, free again when its time is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from functions.domain.hold import HOLDS_PER_VOUCHER_MAX, KEPT_S, MINUTES_DEFAULT, MINUTES_MAX
from functions.domain.voucher import DAY_S
from functions.redeem import holds
from functions.store.guards import LIMITS
from infra.local.gateway import Answer
from tests.integration.conftest import Clock
from tests.integration.kami import (
    Caller,
    Json,
    Kami,
    Voucher,
    granted,
    mistyped,
    mobile,
    refused,
    replayed,
    unique,
    vetoed,
)

BALANCE: Json = {"redemption": "balance", "kind": "gift"}
SHORT: Json = {"valid_until": None, "valid_days_after_activation": 7}


def hold(caller: Caller, code: str, key: str | None = None, **order: Any) -> Answer:
    """Hold a code, for an account of its own, so that no test shares wrong codes with another."""
    account = {"type": "mobile", "number": mobile()}
    return caller.post("/v1/holds", {"code": code, "account": account, **order}, key or unique())


def capture(caller: Caller, id: str, key: str | None = None, account: str | None = None, **order: Any) -> Answer:
    to = {"type": "mobile", "number": account or mobile()}
    return caller.post(f"/v1/holds/{id}/captures", {"account": to, **order}, key or unique())


def release(caller: Caller, id: str, key: str | None = None) -> Answer:
    return caller.post(f"/v1/holds/{id}/releases", None, key or unique())


def held(kami: Kami, code: str, **order: Any) -> str:
    """The id of a hold by the merchant."""
    return str(granted(hold(kami.merchant, code, **order), 201)["id"])


def left(kami: Kami, code: str) -> tuple[int, int]:
    """Balance, and what of it is available."""
    found = granted(kami.merchant.verify(code))
    return found["balance_minor"], found["available_minor"]


# From hold to end


def test_a_hold_keeps_an_amount_and_a_capture_makes_an_ordinary_redemption_of_it(kami: Kami) -> None:
    voucher = kami.voucher(**BALANCE)
    answer = hold(kami.merchant, voucher.code, amount_minor=2000, minutes=30)
    made = granted(answer, 201)
    assert made["id"].startswith(f"hld_{voucher.serial}-")
    assert (made["serial"], made["status"], made["currency"]) == (voucher.serial, "open", "CNY")
    assert (made["amount_minor"], made["available_minor"]) == (2000, 3000)
    assert answer.header("location") == f"/v1/holds/{made['id']}"
    assert granted(kami.merchant.get(f"/v1/holds/{made['id']}")) == made
    assert left(kami, voucher.code) == (5000, 3000)

    answer = capture(kami.merchant, made["id"], account="+8613812345678", amount_minor=1500, store="s", terminal="t")
    redemption = granted(answer, 201)
    assert redemption["id"].startswith(f"{voucher.serial}-")
    assert redemption["account"] == {"type": "mobile", "number": "+86138****5678"}
    assert (redemption["amount_minor"], redemption["balance_minor"]) == (1500, 3500)
    assert (redemption["status"], redemption["voucher_status"]) == ("completed", "partly_redeemed")
    assert (redemption["store"], redemption["terminal"], redemption["hold"]) == ("s", "t", made["id"])
    assert answer.header("location") == f"/v1/redemptions/{redemption['id']}"
    assert granted(kami.merchant.get(f"/v1/redemptions/{redemption['id']}")) == redemption
    assert left(kami, voucher.code) == (3500, 3500)
    ended = {"status": "captured", "redemption": redemption["id"]}
    assert granted(kami.merchant.get(f"/v1/holds/{made['id']}")) == {**made, **ended}

    reversal = granted(kami.merchant.reverse(redemption["id"]), 201)
    assert (reversal["amount_minor"], reversal["balance_minor"]) == (1500, 5000)
    assert left(kami, voucher.code) == (5000, 5000)


def test_a_release_frees_what_was_held(kami: Kami) -> None:
    voucher = kami.voucher(**BALANCE)
    id = held(kami, voucher.code, amount_minor=2000)
    ended = granted(release(kami.merchant, id), 201)
    assert (ended["hold"], ended["amount_minor"], ended["currency"]) == (id, 2000, "CNY")
    assert left(kami, voucher.code) == (5000, 5000)
    assert granted(kami.merchant.get(f"/v1/holds/{id}"))["status"] == "released"
    granted(kami.merchant.redeem(voucher.code), 201)


def test_a_hold_frees_itself_on_the_second_and_nothing_is_written(kami: Kami, clock: Clock) -> None:
    voucher = kami.voucher(**BALANCE)
    id = held(kami, voucher.code, amount_minor=2000, minutes=1)
    before = kami.items()
    clock.advance(59)
    assert left(kami, voucher.code) == (5000, 3000)
    clock.advance(1)
    assert left(kami, voucher.code) == (5000, 5000)
    assert granted(kami.merchant.get(f"/v1/holds/{id}"))["status"] == "expired"
    refused(capture(kami.merchant, id), 410, "hold_expired")
    refused(release(kami.merchant, id), 410, "hold_expired")
    assert kami.items() == before
    granted(kami.merchant.redeem(voucher.code), 201)


def test_a_hold_lasts_as_long_as_it_says(kami: Kami, clock: Clock) -> None:
    for minutes in (None, 1, MINUTES_MAX):
        order: Json = {} if minutes is None else {"minutes": minutes}
        made = granted(hold(kami.merchant, kami.voucher().code, **order), 201)
        clock.advance((minutes or MINUTES_DEFAULT) * 60 - 1)
        assert granted(kami.merchant.get(f"/v1/holds/{made['id']}"))["status"] == "open"
        clock.advance(1)
        assert granted(kami.merchant.get(f"/v1/holds/{made['id']}"))["status"] == "expired"
    refused(hold(kami.merchant, kami.voucher().code, minutes=MINUTES_MAX + 1), 400, "invalid_request")


# Others meanwhile


def test_neither_a_redemption_nor_a_hold_takes_what_is_held(kami: Kami) -> None:
    voucher, stranger = kami.voucher(**BALANCE), kami.client("merchant")
    id = held(kami, voucher.code, amount_minor=2000)
    before = kami.items()
    for attempt in (
        kami.merchant.redeem(voucher.code),
        stranger.redeem(voucher.code, amount_minor=3001),
        hold(kami.merchant, voucher.code),
        hold(kami.merchant, voucher.code, amount_minor=3001),
    ):
        assert refused(attempt, 409, "amount_held")["available_minor"] == 3000
    assert kami.items() == before
    granted(kami.merchant.redeem(voucher.code, amount_minor=1000), 201)
    other = held(kami, voucher.code, amount_minor=2000)
    assert left(kami, voucher.code) == (4000, 0)
    refused(kami.merchant.redeem(voucher.code, amount_minor=1), 409, "amount_held")
    granted(capture(kami.merchant, id), 201)
    assert granted(capture(kami.merchant, other), 201)["voucher_status"] == "redeemed"


def test_a_single_use_voucher_is_held_whole(kami: Kami) -> None:
    voucher = kami.voucher()
    refused(hold(kami.merchant, voucher.code, amount_minor=4999), 409, "partial_not_allowed")
    refused(hold(kami.merchant, voucher.code, amount_minor=5001), 409, "amount_exceeds_balance")
    id = held(kami, voucher.code)
    refused(kami.merchant.redeem(voucher.code), 409, "amount_held")
    refused(capture(kami.merchant, id, amount_minor=4999), 409, "partial_not_allowed")
    redemption = granted(capture(kami.merchant, id), 201)
    assert (redemption["amount_minor"], redemption["balance_minor"]) == (5000, 0)
    refused(hold(kami.merchant, voucher.code), 409, "already_redeemed")


def test_no_more_is_captured_than_is_held(kami: Kami) -> None:
    voucher = kami.voucher(**BALANCE)
    id = held(kami, voucher.code, amount_minor=2000)
    before = kami.items()
    assert refused(capture(kami.merchant, id, amount_minor=2001), 409, "amount_exceeds_hold")["held_minor"] == 2000
    assert kami.items() == before


@pytest.mark.parametrize(("end", "key"), [("capture", "hold_captured"), ("release", "hold_released")])
def test_a_hold_ends_once(kami: Kami, end: str, key: str) -> None:
    id = held(kami, kami.voucher(**BALANCE).code, amount_minor=2000)
    granted({"capture": capture, "release": release}[end](kami.merchant, id), 201)
    before = kami.items()
    refused(capture(kami.merchant, id), 409, key)
    refused(release(kami.merchant, id), 409, key)
    assert kami.items() == before


def test_only_who_holds_and_the_operator_see_and_end_a_hold(kami: Kami) -> None:
    voucher, stranger = kami.voucher(**BALANCE), kami.client("merchant")
    ids = [held(kami, voucher.code, amount_minor=100) for _ in range(2)]
    for id in (*ids, ids[0][:-1], ids[0].removeprefix("hld_"), f"hld_{voucher.serial}", "hld_", "x"):
        refused(stranger.get(f"/v1/holds/{id}"), 404, "not_found")
        refused(capture(stranger, id), 404, "not_found")
        refused(release(stranger, id), 404, "not_found")
    details = granted(kami.operator.get(f"/v1/vouchers/{voucher.serial}"))
    assert (details["holds"], details["balance_minor"], details["available_minor"]) == (ids, 5000, 4800)
    granted(kami.operator.get(f"/v1/holds/{ids[0]}"))
    granted(capture(kami.operator, ids[0]), 201)
    granted(release(kami.operator, ids[1]), 201)
    assert granted(kami.operator.get(f"/v1/vouchers/{voucher.serial}"))["holds"] == []


def test_a_redemption_is_no_hold_and_a_hold_no_redemption(kami: Kami) -> None:
    voucher = kami.voucher(**BALANCE)
    id = held(kami, voucher.code, amount_minor=100)
    redemption = granted(kami.merchant.redeem(voucher.code, amount_minor=100), 201)["id"]
    refused(kami.merchant.get(f"/v1/redemptions/{id}"), 404, "not_found")
    refused(kami.merchant.reverse(id), 404, "not_found")
    refused(kami.merchant.get(f"/v1/holds/{redemption}"), 404, "not_found")
    refused(kami.merchant.get(f"/v1/holds/hld_{redemption}"), 404, "not_found")


# Repeats


def test_every_repeat_gives_the_same_answer_and_moves_nothing(kami: Kami, clock: Clock) -> None:
    voucher, account = kami.voucher(**BALANCE), mobile()
    keys = [unique() for _ in range(4)]
    order: Json = {"amount_minor": 2000, "account": {"type": "mobile", "number": account}}
    firsts = [hold(kami.merchant, voucher.code, key, **order) for key in keys[:2]]
    one, other = (granted(first, 201)["id"] for first in firsts)
    ends = [capture(kami.merchant, one, keys[2], account), release(kami.merchant, other, keys[3])]
    for end in ends:
        granted(end, 201)
    granted(kami.merchant.redeem(voucher.code), 201)
    clock.advance(DAY_S)
    before = kami.items()
    again = [hold(kami.merchant, voucher.code.lower(), key, **order) for key in keys[:2]]
    again += [capture(kami.merchant, one, keys[2], account), release(kami.merchant, other, keys[3])]
    for first, repeat in zip([*firsts, *ends], again, strict=True):
        assert (first.status, replayed(first), repeat.status, replayed(repeat)) == (201, False, 201, True)
        assert (repeat.body, repeat.header("location")) == (first.body, first.header("location"))
    assert kami.items() == before


@pytest.mark.parametrize("change", [{"amount_minor": 1999}, {"minutes": 14}, {"device": "d"}])
def test_the_same_key_with_another_order_is_refused(kami: Kami, change: Json) -> None:
    voucher, key = kami.voucher(**BALANCE), unique()
    order = {"amount_minor": 2000, "account": {"type": "mobile", "number": mobile()}}
    granted(hold(kami.merchant, voucher.code, key, **order), 201)
    refused(hold(kami.merchant, voucher.code, key, **{**order, **change}), 422, "idempotency_key_reused")


@pytest.mark.parametrize("change", [{"amount_minor": 1999}, {"store": "s"}, {"account": "+8613900000000"}])
def test_the_same_key_with_another_capture_is_refused(kami: Kami, change: Json) -> None:
    id, key = held(kami, kami.voucher(**BALANCE).code, amount_minor=2000), unique()
    granted(capture(kami.merchant, id, key, "+8613812345678"), 201)
    answer = capture(kami.merchant, id, key, **{"account": "+8613812345678", **change})
    refused(answer, 422, "idempotency_key_reused")


def test_one_key_serves_a_hold_each_of_two_vouchers_and_its_ends(kami: Kami) -> None:
    key, vouchers = unique(), [kami.voucher(**BALANCE) for _ in range(2)]
    ids = [granted(hold(kami.merchant, voucher.code, key), 201)["id"] for voucher in vouchers]
    assert len(set(ids)) == 2
    for id in ids:
        granted(capture(kami.merchant, id, key), 201)


# What is recalled, and what is over


def single(kami: Kami, **changes: Any) -> Voucher:
    """An active voucher in a lot of its own."""
    batch = kami.batch(kami.campaign(**changes)["id"], 1)
    kami.activate(batch=batch["id"])
    return Voucher(batch["first_serial"], *kami.codes([batch["first_serial"]]))


@pytest.mark.parametrize("action", ["void", "suspend", "reclaim"])
def test_what_was_recalled_since_is_not_captured_but_can_be_released(kami: Kami, action: str) -> None:
    voucher = single(kami, **BALANCE)
    id = held(kami, voucher.code, amount_minor=2000)
    kami.rewrite(voucher.serial, vetoed(action))
    before = kami.items()
    refused(capture(kami.merchant, id), 404, "voucher_not_redeemable")
    assert kami.items() == before
    kami.rewrite(voucher.serial, lambda segment: replace(segment, vetoes=()))
    granted(capture(kami.merchant, id, amount_minor=1), 201)
    other = held(kami, voucher.code, amount_minor=2000)
    kami.rewrite(voucher.serial, vetoed(action))
    granted(release(kami.merchant, other), 201)


def test_what_was_held_before_a_reclaim_ends_with_it(kami: Kami) -> None:
    voucher = single(kami, **BALANCE)
    key = unique()
    id = granted(hold(kami.merchant, voucher.code, key, amount_minor=2000), 201)["id"]
    kami.rewrite(voucher.serial, vetoed("reclaim"))
    kami.rewrite(voucher.serial, lambda segment: replace(segment, generation=segment.generation + 1))
    refused(capture(kami.merchant, id), 404, "voucher_not_redeemable")
    fresh = kami.codes([voucher.serial])[0]
    assert left(kami, fresh) == (5000, 5000)
    refused(hold(kami.merchant, fresh, key, amount_minor=2000), 422, "idempotency_key_reused")
    granted(kami.merchant.redeem(fresh), 201)


def test_what_was_held_in_time_is_captured_after_the_voucher_has_expired(kami: Kami, clock: Clock) -> None:
    batch = kami.batch(kami.campaign(**BALANCE, **SHORT)["id"], 1)
    kami.activate(batch=batch["id"])
    (code,) = kami.codes([batch["first_serial"]])
    clock.advance(7 * DAY_S - 1)
    id = held(kami, code, amount_minor=2000)
    clock.advance(60)
    refused(kami.merchant.redeem(code), 410, "voucher_expired")
    refused(hold(kami.merchant, code, amount_minor=1), 410, "voucher_expired")
    redemption = granted(capture(kami.merchant, id), 201)
    assert (redemption["amount_minor"], redemption["balance_minor"]) == (2000, 3000)


# How many


def test_a_voucher_bears_so_many_holds_a_day(kami: Kami, clock: Clock) -> None:
    voucher = kami.voucher(**BALANCE)
    *_, last = [held(kami, voucher.code, amount_minor=1) for _ in range(HOLDS_PER_VOUCHER_MAX)]
    refused(hold(kami.merchant, voucher.code, amount_minor=1), 409, "hold_limit_reached")
    granted(kami.merchant.redeem(voucher.code, amount_minor=1), 201)
    redemption = granted(capture(kami.merchant, last), 201)
    clock.advance(MINUTES_DEFAULT * 60 + KEPT_S)
    held(kami, voucher.code, amount_minor=1)
    refused(kami.merchant.get(f"/v1/holds/{last}"), 404, "not_found")
    assert granted(kami.merchant.get(f"/v1/redemptions/{redemption['id']}")) == redemption


def test_a_key_that_once_took_value_holds_none_again_however_late_it_comes(kami: Kami, clock: Clock) -> None:
    voucher, account, keys = kami.voucher(**BALANCE), mobile(), [unique(), unique()]
    order: Json = {"amount_minor": 1000, "account": {"type": "mobile", "number": account}}
    id = granted(hold(kami.merchant, voucher.code, keys[0], **order), 201)["id"]
    taken = capture(kami.merchant, id, keys[1], account)
    clock.advance(MINUTES_DEFAULT * 60 + KEPT_S)
    held(kami, voucher.code, amount_minor=1)
    refused(hold(kami.merchant, voucher.code, keys[0], **order), 422, "idempotency_key_reused")
    assert capture(kami.merchant, id, keys[1], account).body == taken.body


def test_an_open_hold_keeps_its_place_among_the_redemptions(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.redeem.service.REDEMPTIONS_PER_VOUCHER_MAX", 2)
    monkeypatch.setattr(holds, "REDEMPTIONS_PER_VOUCHER_MAX", 2)
    voucher = kami.voucher(**BALANCE)
    id = held(kami, voucher.code, amount_minor=1)
    granted(kami.merchant.redeem(voucher.code, amount_minor=1), 201)
    refused(kami.merchant.redeem(voucher.code, amount_minor=1), 409, "redemption_limit_reached")
    refused(hold(kami.merchant, voucher.code, amount_minor=1), 409, "redemption_limit_reached")
    granted(capture(kami.merchant, id), 201)


# Guesses


def test_wrong_codes_for_a_hold_count_as_everywhere_and_captures_ask_for_none(kami: Kami, clock: Clock) -> None:
    voucher = kami.voucher(**BALANCE)
    id = held(kami, voucher.code, amount_minor=1)
    account = {"type": "mobile", "number": mobile()}
    for number in range(LIMITS["account"].wrong_max):
        if number % 2:
            refused(kami.merchant.redeem(mistyped(voucher.code), account=account["number"]), 404,
                    "voucher_not_redeemable")  # fmt: skip
        else:
            refused(hold(kami.merchant, mistyped(voucher.code), account=account), 404, "voucher_not_redeemable")
    refused(hold(kami.merchant, voucher.code, account=account), 429, "too_many_attempts")
    refused(kami.merchant.redeem(voucher.code, account=account["number"]), 429, "too_many_attempts")
    granted(capture(kami.merchant, id, account=account["number"]), 201)


def test_the_customer_s_address_is_for_trusted_clients(kami: Kami) -> None:
    voucher = kami.voucher(**BALANCE)
    refused(hold(kami.merchant, voucher.code, customer_address="198.51.100.7"), 400, "invalid_request")
    trusted = kami.client("partner", trusted=True)
    granted(hold(trusted, voucher.code, customer_address="198.51.100.7"), 201)


# What follows


def test_a_hold_and_its_end_are_in_the_history_and_a_capture_is_told_by_sms(kami: Kami) -> None:
    voucher, account = kami.voucher(**BALANCE), mobile()
    captured, released = (held(kami, voucher.code, amount_minor=2000, minutes=30) for _ in range(2))
    redemption = granted(capture(kami.merchant, captured, account=account, amount_minor=500), 201)["id"]
    granted(release(kami.merchant, released), 201)
    kami.cloud.drain()
    data = granted(kami.operator.get(f"/v1/vouchers/{voucher.serial}/history"))["data"]
    shown = [(line["event"], line.get("hold"), line.get("amount_minor"), line.get("redemption")) for line in data]
    assert shown[-4:] == [
        ("held", captured, 2000, None),
        ("held", released, 2000, None),
        ("redeemed", captured, 500, redemption),
        ("released", released, 2000, None),
    ]
    assert [("expires_at" in line) for line in data[-4:]] == [True, True, False, False]
    (told,) = kami.cloud.carriers.phone(account)
    assert "5.00" in told["text"]
