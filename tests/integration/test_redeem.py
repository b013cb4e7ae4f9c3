"""Redemptions and reversals: value moves once, for whom it should, and comes back exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from functions.domain.formats import DERIVED
from functions.domain.lot import Scope, Veto
from functions.domain.voucher import DAY_S, REDEMPTIONS_PER_VOUCHER_MAX
from functions.redeem import service as redeem
from tests.integration.conftest import Clock
from tests.integration.kami import Json, Kami, Voucher, granted, mobile, refused, replayed, unique, vetoed

BALANCE: Json = {"redemption": "balance", "kind": "gift"}


def test_a_code_is_redeemed_in_full_for_an_account_whose_number_is_shown_in_part(kami: Kami) -> None:
    voucher = kami.voucher()
    answer = kami.merchant.redeem(voucher.code, account="+8613812345678", store="shop-12", terminal="t1")
    redemption = granted(answer, 201)
    assert redemption["account"] == {"type": "mobile", "number": "+86138****5678"}
    assert redemption["serial"] == voucher.serial
    assert (redemption["amount_minor"], redemption["balance_minor"], redemption["currency"]) == (5000, 0, "CNY")
    assert (redemption["status"], redemption["voucher_status"]) == ("completed", "redeemed")
    assert (redemption["store"], redemption["terminal"]) == ("shop-12", "t1")
    assert not replayed(answer)
    location = answer.header("location")
    assert location == f"/v1/redemptions/{redemption['id']}"
    assert granted(kami.merchant.get(location)) == redemption


def test_a_broadband_account_is_served_as_well(kami: Kami) -> None:
    body = {"code": kami.voucher().code, "account": {"type": "broadband", "number": "gz.home-0042@isp"}}
    redemption = granted(kami.merchant.post("/v1/redemptions", body, unique()), 201)
    assert redemption["account"] == {"type": "broadband", "number": "gz.home-****@isp"}


@pytest.mark.parametrize("code_format", [f.name for f in DERIVED])
def test_a_code_is_recognised_as_people_type_it(kami: Kami, code_format: str) -> None:
    def typed(code: str) -> list[str]:
        plain = code.replace("-", "")
        return [
            plain,
            plain.lower(),
            code.replace("-", " "),
            f"  {code}  ",
            code.replace("-", "\u2013"),
            code.replace("0", "o").replace("1", "l") if code_format == "crockford16" else code.replace("-", "_"),
            code.replace("0", "O").replace("1", "I") if code_format == "crockford16" else code.replace("-", "\u2014"),
        ]

    for variant in range(len(typed(""))):
        voucher = kami.voucher(code_format=code_format)
        redemption = granted(kami.merchant.redeem(typed(voucher.code)[variant]), 201)
        assert redemption["serial"] == voucher.serial


def test_a_prefix_is_part_of_the_code_and_forgiven_like_the_rest(kami: Kami) -> None:
    for typed in (str, str.lower, lambda code: code.replace("-", ""), lambda code: f" {code.replace('1', 'i')} "):
        voucher = kami.voucher(code_prefix="GZ1")
        assert granted(kami.merchant.redeem(typed(voucher.code)), 201)["serial"] == voucher.serial


@pytest.mark.parametrize("code_format", [f.name for f in DERIVED])
def test_a_redemption_is_found_and_reversed_in_every_format(kami: Kami, code_format: str) -> None:
    voucher = kami.voucher(code_format=code_format)
    redemption = granted(kami.merchant.redeem(voucher.code), 201)
    assert redemption["id"].startswith(f"{voucher.serial}-")
    assert granted(kami.merchant.get(f"/v1/redemptions/{redemption['id']}")) == redemption
    assert granted(kami.merchant.reverse(redemption["id"]), 201)["redemption"] == redemption["id"]


# Idempotency


def test_a_repeat_under_the_same_key_is_the_same_redemption_and_says_so(kami: Kami) -> None:
    voucher, key, account = kami.voucher(), unique(), mobile()
    first = kami.merchant.redeem(voucher.code, key, account)
    second = kami.merchant.redeem(voucher.code, key, account)
    assert (first.status, replayed(first)) == (201, False)
    assert (second.status, replayed(second)) == (201, True)
    assert second.body == first.body
    assert second.header("location") == first.header("location")


def test_a_repeat_is_recognised_however_the_code_is_typed(kami: Kami) -> None:
    voucher, key, account = kami.voucher(), unique(), mobile()
    first = kami.merchant.redeem(voucher.code, key, account)
    assert kami.merchant.redeem(voucher.code.lower().replace("-", " "), key, account).body == first.body


@pytest.mark.parametrize("change", [{"amount_minor": 5000}, {"store": "elsewhere"}, {"account": "+8613900000000"}])
def test_the_same_key_with_another_body_is_refused_and_moves_nothing(kami: Kami, change: Json) -> None:
    voucher, key = kami.voucher(), unique()
    granted(kami.merchant.redeem(voucher.code, key, "+8613812345678"), 201)
    before = kami.items()
    answer = kami.merchant.redeem(voucher.code, key, **{"account": "+8613812345678", **change})
    refused(answer, 422, "idempotency_key_reused")
    assert kami.items() == before


def test_another_key_is_another_order_and_finds_the_voucher_used(kami: Kami) -> None:
    voucher, account = kami.voucher(), mobile()
    granted(kami.merchant.redeem(voucher.code, unique(), account), 201)
    before = kami.items()
    refused(kami.merchant.redeem(voucher.code, unique(), account), 409, "already_redeemed")
    assert kami.items() == before


def test_the_same_key_with_another_code_is_another_redemption(kami: Kami) -> None:
    key, account = unique(), mobile()
    first = granted(kami.merchant.redeem(kami.voucher().code, key, account), 201)
    second = granted(kami.merchant.redeem(kami.voucher().code, key, account), 201)
    assert first["id"] != second["id"]


def test_the_same_key_of_another_client_is_another_order(kami: Kami) -> None:
    voucher, key, account = kami.voucher(), unique(), mobile()
    granted(kami.merchant.redeem(voucher.code, key, account), 201)
    refused(kami.client("merchant").redeem(voucher.code, key, account), 409, "already_redeemed")


def test_a_repeat_is_answered_as_the_first_time_after_reversal_and_expiry(kami: Kami, clock: Clock) -> None:
    voucher = kami.voucher(valid_until=None, valid_days_after_activation=7)
    key, account = unique(), mobile()
    first = kami.merchant.redeem(voucher.code, key, account)
    granted(kami.merchant.reverse(granted(first, 201)["id"]), 201)
    clock.advance(400 * DAY_S)
    repeat = kami.merchant.redeem(voucher.code, key, account)
    assert replayed(repeat)
    assert repeat.body == first.body


def test_a_repeat_without_its_code_right_is_no_repeat(kami: Kami) -> None:
    voucher, key, account = kami.voucher(), unique(), mobile()
    granted(kami.merchant.redeem(voucher.code, key, account), 201)
    wrong = voucher.code[:-1] + ("0" if voucher.code[-1] != "0" else "1")
    refused(kami.merchant.redeem(wrong, key, account), 404, "voucher_not_redeemable")


# Value


def test_a_balance_is_used_bit_by_bit_and_never_beyond(kami: Kami) -> None:
    voucher = kami.voucher(**BALANCE)
    first = granted(kami.merchant.redeem(voucher.code, amount_minor=2000), 201)
    assert (first["balance_minor"], first["voucher_status"]) == (3000, "partly_redeemed")
    before = kami.items()
    document = refused(kami.merchant.redeem(voucher.code, amount_minor=3001), 409, "amount_exceeds_balance")
    assert document["balance_minor"] == 3000
    assert kami.items() == before
    rest = granted(kami.merchant.redeem(voucher.code), 201)
    assert (rest["amount_minor"], rest["balance_minor"], rest["voucher_status"]) == (3000, 0, "redeemed")
    refused(kami.merchant.redeem(voucher.code, amount_minor=1), 409, "already_redeemed")


@pytest.mark.parametrize(("amount_minor", "status", "key"), [
    (4999, 409, "partial_not_allowed"), (5001, 409, "amount_exceeds_balance"),
])  # fmt: skip
def test_a_single_use_voucher_is_used_whole_or_not_at_all(kami: Kami, amount_minor: int, status: int, key: str) -> None:
    voucher = kami.voucher()
    refused(kami.merchant.redeem(voucher.code, amount_minor=amount_minor), status, key)
    redemption = granted(kami.merchant.redeem(voucher.code, amount_minor=5000), 201)
    assert redemption["balance_minor"] == 0


def test_a_voucher_bears_so_many_redemptions_and_reversing_one_makes_no_room(
    kami: Kami, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert REDEMPTIONS_PER_VOUCHER_MAX == 100
    monkeypatch.setattr(redeem, "REDEMPTIONS_PER_VOUCHER_MAX", 3)
    voucher = kami.voucher(**BALANCE)
    *_, last = [granted(kami.merchant.redeem(voucher.code, amount_minor=1), 201) for _ in range(3)]
    refused(kami.merchant.redeem(voucher.code, amount_minor=1), 409, "redemption_limit_reached")
    granted(kami.merchant.reverse(last["id"]), 201)
    refused(kami.merchant.redeem(voucher.code), 409, "redemption_limit_reached")


def test_an_expired_voucher_is_refused_from_the_second_it_ends(kami: Kami, clock: Clock) -> None:
    batch = kami.batch(kami.campaign(valid_until=None, valid_days_after_activation=7)["id"], 1)
    kami.activate(batch=batch["id"])
    (code,) = kami.codes([batch["first_serial"]])
    clock.advance(7 * DAY_S)
    before = kami.items("GUARD#")
    refused(kami.merchant.redeem(code), 410, "voucher_expired")
    assert kami.items("GUARD#") == before
    clock.advance(-1)
    granted(kami.merchant.redeem(code), 201)


def test_a_used_voucher_stays_used_rather_than_expired(kami: Kami, clock: Clock) -> None:
    voucher = kami.voucher(valid_until=None, valid_days_after_activation=7)
    granted(kami.merchant.redeem(voucher.code), 201)
    clock.advance(30 * DAY_S)
    refused(kami.merchant.redeem(voucher.code), 409, "already_redeemed")


# Reversals


def test_a_reversal_gives_back_exactly_what_its_redemption_took_and_only_once(kami: Kami) -> None:
    voucher = kami.voucher(**BALANCE)
    first = granted(kami.merchant.redeem(voucher.code, amount_minor=2000), 201)
    granted(kami.merchant.redeem(voucher.code, amount_minor=500), 201)
    reversal = granted(kami.merchant.reverse(first["id"]), 201)
    assert (reversal["redemption"], reversal["amount_minor"], reversal["currency"]) == (first["id"], 2000, "CNY")
    assert (reversal["balance_minor"], reversal["voucher_status"]) == (4500, "partly_redeemed")
    before = kami.items()
    refused(kami.merchant.reverse(first["id"]), 409, "already_reversed")
    assert kami.items() == before
    assert granted(kami.merchant.verify(voucher.code))["balance_minor"] == 4500
    assert granted(kami.merchant.get(f"/v1/redemptions/{first['id']}"))["status"] == "reversed"


def test_a_reversed_voucher_can_be_used_again(kami: Kami) -> None:
    voucher = kami.voucher()
    first = granted(kami.merchant.redeem(voucher.code), 201)
    assert granted(kami.merchant.reverse(first["id"]), 201)["voucher_status"] == "active"
    second = granted(kami.merchant.redeem(voucher.code), 201)
    assert second["id"] != first["id"]
    assert second["balance_minor"] == 0


def test_a_repeated_reversal_is_the_same_reversal_and_says_so(kami: Kami) -> None:
    voucher, key = kami.voucher(), unique()
    redemption = granted(kami.merchant.redeem(voucher.code), 201)
    first = kami.merchant.reverse(redemption["id"], key)
    granted(kami.merchant.redeem(voucher.code), 201)
    second = kami.merchant.reverse(redemption["id"], key)
    assert (first.status, replayed(first)) == (201, False)
    assert (second.status, replayed(second)) == (201, True)
    assert second.body == first.body


def test_the_same_key_with_another_reason_is_refused(kami: Kami) -> None:
    redemption, key = granted(kami.merchant.redeem(kami.voucher().code), 201), unique()
    granted(kami.merchant.reverse(redemption["id"], key), 201)
    refused(kami.merchant.reverse(redemption["id"], key, "another reason"), 422, "idempotency_key_reused")


def test_value_comes_back_to_an_expired_voucher_which_stays_unusable(kami: Kami, clock: Clock) -> None:
    voucher = kami.voucher(valid_until=None, valid_days_after_activation=7)
    redemption = granted(kami.merchant.redeem(voucher.code), 201)
    clock.advance(8 * DAY_S)
    reversal = granted(kami.merchant.reverse(redemption["id"]), 201)
    assert (reversal["balance_minor"], reversal["voucher_status"]) == (5000, "expired")
    refused(kami.merchant.redeem(voucher.code), 410, "voucher_expired")


def test_the_reversal_window_ends_on_the_second(kami: Kami, clock: Clock) -> None:
    vouchers = [kami.voucher(reversal_days=3) for _ in range(2)]
    redemptions = [granted(kami.merchant.redeem(voucher.code), 201)["id"] for voucher in vouchers]
    clock.advance(3 * DAY_S - 1)
    granted(kami.merchant.reverse(redemptions[0]), 201)
    clock.advance(1)
    before = kami.items()
    refused(kami.merchant.reverse(redemptions[1]), 409, "reversal_window_over")
    refused(kami.operator.reverse(redemptions[1]), 409, "reversal_window_over")
    assert kami.items() == before


def test_a_campaign_may_forbid_reversals(kami: Kami) -> None:
    redemption = granted(kami.merchant.redeem(kami.voucher(reversal_days=0).code), 201)
    refused(kami.merchant.reverse(redemption["id"]), 409, "reversal_window_over")


# A range that is recalled


def single(kami: Kami, **changes: Any) -> Voucher:
    """An active voucher in a lot of its own."""
    batch = kami.batch(kami.campaign(**changes)["id"], 1)
    kami.activate(batch=batch["id"])
    return Voucher(batch["first_serial"], *kami.codes([batch["first_serial"]]))


@pytest.mark.parametrize(("action", "status"), [
    ("void", "void"), ("suspend", "suspended"), ("reclaim", "reclaimed"),
])  # fmt: skip
def test_value_comes_back_to_a_recalled_voucher_which_stays_unusable(kami: Kami, action: str, status: str) -> None:
    voucher = single(kami)
    redemption = granted(kami.merchant.redeem(voucher.code), 201)
    kami.rewrite(voucher.serial, vetoed(action))
    reversal = granted(kami.merchant.reverse(redemption["id"]), 201)
    assert (reversal["balance_minor"], reversal["voucher_status"]) == (5000, status)
    refused(kami.merchant.redeem(voucher.code), 404, "voucher_not_redeemable")


def test_a_used_voucher_is_already_redeemed_even_if_recalled_later(kami: Kami) -> None:
    voucher, key, account = single(kami), unique(), mobile()
    first = kami.merchant.redeem(voucher.code, key, account)
    kami.rewrite(voucher.serial, vetoed("reclaim"))
    refused(kami.merchant.redeem(voucher.code), 409, "already_redeemed")
    assert kami.merchant.redeem(voucher.code, key, account).body == first.body


def test_what_is_left_of_a_recalled_voucher_cannot_be_used(kami: Kami) -> None:
    voucher = single(kami, **BALANCE)
    granted(kami.merchant.redeem(voucher.code, amount_minor=1), 201)
    kami.rewrite(voucher.serial, vetoed("suspend"))
    refused(kami.merchant.redeem(voucher.code, amount_minor=1), 404, "voucher_not_redeemable")
    kami.rewrite(voucher.serial, lambda segment: replace(segment, vetoes=()))
    granted(kami.merchant.redeem(voucher.code, amount_minor=1), 201)


def test_a_reclaimed_index_starts_anew_and_its_old_redemption_is_not_reversed_into_it(kami: Kami) -> None:
    voucher, key, account = single(kami, **BALANCE), unique(), mobile()
    first = kami.merchant.redeem(voucher.code, key, account, amount_minor=1)
    kami.rewrite(voucher.serial, vetoed("reclaim"))
    kami.rewrite(voucher.serial, lambda segment: replace(segment, generation=segment.generation + 1))
    (code,) = kami.codes([voucher.serial])
    assert code != voucher.code
    granted(kami.merchant.redeem(code), 201)
    refused(kami.merchant.redeem(voucher.code), 404, "voucher_not_redeemable")
    refused(kami.merchant.reverse(granted(first, 201)["id"]), 409, "reversal_not_possible")
    repeat = kami.merchant.redeem(voucher.code, key, account, amount_minor=1)
    assert (replayed(repeat), repeat.body) == (True, first.body)


@pytest.mark.parametrize("amounts", [(5_000,), (2_000, 3_000)], ids=["at once", "in parts"])
def test_a_used_card_that_a_reclaim_spared_is_not_given_back_into_stock(kami: Kami, amounts: tuple[int, ...]) -> None:
    voucher = single(kami, **BALANCE)
    used = [granted(kami.merchant.redeem(voucher.code, amount_minor=n), 201)["id"] for n in amounts]
    kami.rewrite(voucher.serial, vetoed("reclaim"))
    kami.rewrite(voucher.serial, lambda segment: replace(segment, generation=segment.generation + 1))
    before = kami.items()
    refused(kami.merchant.reverse(used[0]), 409, "reversal_not_possible")
    assert kami.items() == before
    assert granted(kami.operator.get(f"/v1/vouchers/{voucher.serial}"))["status"] == "redeemed"


def test_a_used_card_that_a_reclaim_spared_for_more_than_its_use_is_given_back_to_its_holder(kami: Kami) -> None:
    voucher = single(kami, **BALANCE)
    used = granted(kami.merchant.redeem(voucher.code), 201)["id"]
    veto = Veto("rec_1", "reclaim", Scope.NOT_ACTIVATED, 1)
    kami.rewrite(voucher.serial, lambda segment: replace(segment, vetoes=(veto,), generation=2))
    assert granted(kami.merchant.reverse(used), 201)["voucher_status"] == "active"
    granted(kami.merchant.redeem(voucher.code), 201)


# Tenants


def test_another_merchant_neither_sees_nor_reverses_a_redemption(kami: Kami) -> None:
    redemption = granted(kami.merchant.redeem(kami.voucher().code), 201)
    stranger = kami.client("merchant")
    before = kami.items()
    refused(stranger.get(f"/v1/redemptions/{redemption['id']}"), 404, "not_found")
    refused(stranger.reverse(redemption["id"]), 404, "not_found")
    assert kami.items() == before


def test_what_is_not_yours_looks_like_what_is_not_there(kami: Kami) -> None:
    redemption = granted(kami.merchant.redeem(kami.voucher().code), 201)
    stranger = kami.client("merchant")
    unknown = redemption["id"][:-1] + ("a" if redemption["id"][-1] != "a" else "b")
    hidden, absent = (stranger.get(f"/v1/redemptions/{id}") for id in (redemption["id"], unknown))
    assert hidden.body == absent.body


def test_the_operator_sees_and_reverses_any_redemption(kami: Kami) -> None:
    voucher = kami.voucher()
    redemption = granted(kami.merchant.redeem(voucher.code), 201)
    assert granted(kami.operator.get(f"/v1/redemptions/{redemption['id']}")) == redemption
    granted(kami.operator.reverse(redemption["id"]), 201)
    refused(kami.merchant.reverse(redemption["id"]), 409, "already_reversed")
    granted(kami.merchant.redeem(voucher.code), 201)
