"""Gifts: a voucher goes over once, by its token, or stays; and what its giver knows of it is worth nothing then."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from functions.domain.formats import CodeFormat
from functions.domain.times import rfc3339
from functions.domain.transfer import OPEN_S, TRANSFERS_PER_VOUCHER_MAX, hashed
from functions.domain.voucher import DAY_S
from infra.local.gateway import Answer
from tests.integration.conftest import Clock
from tests.integration.kami import (
    Caller,
    Json,
    Kami,
    Voucher,
    claim,
    granted,
    mobile,
    refused,
    replayed,
    unique,
    vetoed,
    visible,
)


@dataclass(frozen=True)
class Gift:
    """An open offer of a voucher by a customer of the operator's."""

    kami: Kami
    voucher: Voucher
    giver: str
    id: str
    token: str
    expires_at: str

    def accept(
        self, customer: str, token: str | None = None, key: str | None = None, by: Caller | None = None
    ) -> Answer:
        body = {"token": token or self.token, "customer": customer}
        return (by or self.kami.operator).post(f"/v1/transfers/{self.id}/acceptances", body, key or unique())

    def give_back(self, key: str | None = None, **who: str) -> Answer:
        return self.kami.operator.post(f"/v1/transfers/{self.id}/returns", who, key or unique())


def offer(kami: Kami, voucher: Voucher, customer: str, key: str | None = None, by: Caller | None = None) -> Answer:
    return (by or kami.operator).post(
        "/v1/transfers", {"serial": voucher.serial, "customer": customer}, key or unique()
    )


def gift(kami: Kami, voucher: Voucher | None = None, giver: str | None = None) -> Gift:
    giver = giver or unique("giver")
    voucher = claim(kami, kami.voucher(redemption="balance"), giver) if voucher is None else voucher
    made = granted(offer(kami, voucher, giver), 201)
    return Gift(kami, voucher, giver, made["id"], made["token"], made["expires_at"])


def wallet(kami: Kami, customer: str) -> list[Json]:
    found: list[Json] = granted(kami.operator.get(f"/v1/customers/{customer}/vouchers"))["data"]
    return found


def item(kami: Kami, voucher: Voucher) -> Json:
    (found,) = (item for (pk, _), item in kami.items().items() if pk == f"VOUCHER#{voucher.serial[:-1]}")
    return found


def wrong(token: str) -> str:
    return ("A" if token[0] != "A" else "B") + token[1:]


# The way of a gift


def test_a_voucher_goes_to_who_accepts_it(kami: Kami) -> None:
    given = gift(kami)
    receiver = unique("receiver")
    accepted = granted(given.accept(receiver), 201)
    assert accepted == {
        "transfer": given.id,
        "serial": given.voucher.serial,
        "code": accepted["code"],
        "balance_minor": 5_000,
        "currency": "CNY",
        "valid_until": "2035-12-31T15:59:59Z",
        "created_at": accepted["created_at"],
    }
    assert wallet(kami, given.giver) == []
    (line,) = wallet(kami, receiver)
    assert (line["serial"], line["status"], line["redeemable"]) == (given.voucher.serial, "claimed", True)
    assert "transfer" not in line


def test_the_givers_code_is_a_wrong_code_and_the_receivers_is_right(kami: Kami) -> None:
    given = gift(kami)
    code = granted(given.accept(unique("receiver")), 201)["code"]
    assert code != given.voucher.code
    forged = given.voucher.code[:-1] + ("0" if given.voucher.code[-1] != "0" else "1")
    by_giver, by_guesser = kami.merchant.redeem(given.voucher.code), kami.merchant.redeem(forged)
    refused(by_giver, 404, "voucher_not_redeemable")
    assert visible(by_giver) == visible(by_guesser)
    refused(kami.merchant.verify(given.voucher.code), 404, "voucher_not_redeemable")
    assert granted(kami.merchant.verify(code))["redeemable"]
    assert kami.codes([given.voucher.serial]) == [code]
    granted(kami.merchant.redeem(code), 201)


def test_a_gift_may_be_given_on_and_each_holder_has_a_code_of_their_own(kami: Kami) -> None:
    first = gift(kami)
    one, other = unique("receiver"), unique("receiver")
    accepted = first.accept(one, key="accepted-first")
    second = gift(kami, first.voucher, one)
    last = granted(second.accept(other), 201)["code"]
    known = granted(accepted, 201)["code"]
    assert len({first.voucher.code, known, last}) == 3
    for code in (first.voucher.code, known):
        refused(kami.merchant.redeem(code), 404, "voucher_not_redeemable")
    assert granted(first.accept(one, key="accepted-first"), 201) == granted(accepted, 201)
    assert [len(wallet(kami, customer)) for customer in (first.giver, one, other)] == [0, 0, 1]
    granted(kami.merchant.redeem(last), 201)


def test_what_was_used_before_stays_used_and_is_answered_again(kami: Kami) -> None:
    """Also to who repeats an order with the code that was right when it was made."""
    giver, receiver = unique("giver"), unique("receiver")
    voucher = claim(kami, kami.voucher(redemption="balance"), giver)
    account = mobile()
    before = kami.merchant.redeem(voucher.code, "before", account, amount_minor=2_000)
    given = gift(kami, voucher, giver)
    accepted = granted(given.accept(receiver), 201)
    assert accepted["balance_minor"] == 3_000
    again = kami.merchant.redeem(voucher.code, "before", account, amount_minor=2_000)
    assert (granted(again, 201), replayed(again)) == (granted(before, 201), True)
    (line,) = wallet(kami, receiver)
    assert (line["status"], line["balance_minor"]) == ("partly_redeemed", 3_000)


# While it is open


def test_an_offered_voucher_waits_for_its_receiver(kami: Kami) -> None:
    given = gift(kami)
    refused(kami.merchant.redeem(given.voucher.code), 409, "voucher_offered")
    refused(kami.merchant.verify(given.voucher.code), 409, "voucher_offered")
    assert granted(kami.operator.verify(given.voucher.code))["reason"] == "offered"
    refused(offer(kami, given.voucher, given.giver), 409, "voucher_offered")
    (line,) = wallet(kami, given.giver)
    assert (line["redeemable"], line["transfer"]) == (False, {"id": given.id, "expires_at": given.expires_at})


@pytest.mark.parametrize("by", ["giver", "receiver"])
def test_what_is_returned_stays_with_its_giver_and_can_be_used(kami: Kami, by: str) -> None:
    given = gift(kami)
    who = {"customer": given.giver} if by == "giver" else {"token": given.token}
    back = given.give_back(key="back", **who)
    assert granted(back, 201) == {
        "transfer": given.id,
        "serial": given.voucher.serial,
        "created_at": granted(back, 201)["created_at"],
    }
    again = given.give_back(key="back", **who)
    assert (granted(again, 201), replayed(again)) == (granted(back, 201), True)
    refused(given.give_back(**who), 409, "transfer_over")
    refused(given.accept(unique("receiver")), 409, "transfer_over")
    (line,) = wallet(kami, given.giver)
    assert line["redeemable"]
    granted(kami.merchant.redeem(given.voucher.code), 201)


def test_an_offer_ends_by_itself_and_nothing_is_written(kami: Kami, clock: Clock) -> None:
    given = gift(kami)
    assert given.expires_at == rfc3339(clock.now + OPEN_S)
    clock.advance(OPEN_S - 1)
    refused(kami.merchant.redeem(given.voucher.code), 409, "voucher_offered")
    clock.advance(1)
    refused(given.accept(unique("receiver")), 409, "transfer_over")
    refused(given.give_back(customer=given.giver), 409, "transfer_over")
    (line,) = wallet(kami, given.giver)
    assert "transfer" not in line
    granted(kami.merchant.redeem(given.voucher.code), 201)


def test_an_offer_ends_with_its_voucher(kami: Kami, clock: Clock) -> None:
    giver = unique("giver")
    end = rfc3339(clock.now + DAY_S)
    given = gift(kami, claim(kami, kami.voucher(valid_until=end), giver), giver)
    assert given.expires_at == end


def test_what_ended_may_be_offered_anew_under_another_token(kami: Kami) -> None:
    first = gift(kami)
    granted(first.give_back(customer=first.giver), 201)
    second = gift(kami, first.voucher, first.giver)
    assert (first.id, first.token) != (second.id, second.token)
    refused(first.accept(unique("receiver")), 409, "transfer_over")
    refused(second.accept(unique("receiver"), token=first.token), 404, "transfer_not_valid")
    granted(second.accept(unique("receiver")), 201)


def test_a_voucher_is_offered_so_often_and_no_more(kami: Kami) -> None:
    given = gift(kami)
    for _ in range(TRANSFERS_PER_VOUCHER_MAX - 1):
        granted(given.give_back(customer=given.giver), 201)
        given = gift(kami, given.voucher, given.giver)
    granted(given.give_back(customer=given.giver), 201)
    refused(offer(kami, given.voucher, given.giver), 409, "transfer_limit_reached")


# Who may


def test_only_its_holder_gives_a_voucher(kami: Kami) -> None:
    holder = unique("customer")
    voucher, nobodys = claim(kami, kami.voucher(), holder), kami.voucher()
    partner = kami.client("partner")
    answers = [
        offer(kami, voucher, unique("customer")),
        offer(kami, nobodys, holder),
        offer(kami, voucher, holder, by=partner),
    ]
    for answer in answers:
        refused(answer, 404, "not_found")
    assert len({visible(answer)[2] for answer in answers}) == 1
    refused(offer(kami, Voucher("010000000004", ""), holder), 404, "not_found")
    refused(offer(kami, voucher, holder, by=kami.merchant), 403, "insufficient_scope")


def test_another_tenant_cannot_take_or_return_a_gift(kami: Kami) -> None:
    given = gift(kami)
    partner = kami.client("partner")
    refused(given.accept(unique("receiver"), by=partner), 404, "transfer_not_valid")
    body = {"token": given.token}
    refused(partner.post(f"/v1/transfers/{given.id}/returns", body, unique()), 404, "transfer_not_valid")
    granted(given.accept(unique("receiver")), 201)


def test_a_partners_customers_give_to_each_other(kami: Kami) -> None:
    partner = kami.client("partner")
    colleague = kami.client("partner", tenant=partner.tenant)
    giver, receiver = unique("giver"), unique("receiver")
    voucher = claim(kami, kami.voucher(), giver, partner)
    made = granted(offer(kami, voucher, giver, by=partner), 201)
    body = {"token": made["token"], "customer": receiver}
    granted(colleague.post(f"/v1/transfers/{made['id']}/acceptances", body, unique()), 201)
    assert len(granted(partner.get(f"/v1/customers/{receiver}/vouchers"))["data"]) == 1


def test_the_giver_does_not_accept(kami: Kami) -> None:
    given = gift(kami)
    answer = refused(given.accept(given.giver), 400, "invalid_request")
    assert [error["field"] for error in answer["errors"]] == ["customer"]


def test_all_that_is_wrong_is_refused_alike(kami: Kami) -> None:
    given, other = gift(kami), gift(kami)
    missing = Gift(kami, given.voucher, given.giver, f"trf_{given.voucher.serial}-{'a' * 24}", given.token, "")
    answers = [
        given.accept(unique("receiver"), token=wrong(given.token)),
        given.accept(unique("receiver"), token=other.token),
        given.give_back(token=other.token),
        given.give_back(customer=unique("somebody")),
        missing.accept(unique("receiver")),
        missing.give_back(token=given.token),
    ]
    assert len({str(visible(answer)) for answer in answers}) == 1
    refused(answers[0], 404, "transfer_not_valid")
    granted(given.accept(unique("receiver")), 201)


def test_who_guesses_is_shut_out_whatever_comes_next(kami: Kami, clock: Clock) -> None:
    given = gift(kami)
    guesser = unique("guesser")
    for _ in range(5):
        refused(given.accept(guesser, token=wrong(given.token)), 404, "transfer_not_valid")
    answer = given.accept(guesser)
    refused(answer, 429, "too_many_attempts")
    assert 0 < int(answer.header("retry-after") or 0) <= 900
    granted(given.accept(unique("receiver")), 201)


def test_a_voucher_that_cannot_be_used_is_neither_offered_nor_accepted(kami: Kami, clock: Clock) -> None:
    giver = unique("giver")
    spent = claim(kami, kami.voucher(), giver)
    granted(kami.merchant.redeem(spent.code), 201)
    refused(offer(kami, spent, giver), 409, "already_redeemed")
    expired = claim(kami, kami.voucher(valid_until=rfc3339(clock.now + DAY_S)), giver)
    clock.advance(DAY_S)
    refused(offer(kami, expired, giver), 410, "voucher_expired")


@pytest.mark.parametrize("action", ["void", "suspend", "reclaim"])
def test_a_recall_of_the_range_reaches_an_offered_voucher(kami: Kami, action: str) -> None:
    batch = kami.batch(kami.campaign()["id"], 1)
    kami.activate(batch=batch["id"])
    (serial,) = kami.serials(batch["id"])
    giver = unique("giver")
    given = gift(kami, claim(kami, Voucher(serial, ""), giver), giver)
    kami.rewrite(serial, vetoed(action))
    refused(given.accept(unique("receiver")), 404, "voucher_not_redeemable")
    granted(given.give_back(customer=giver), 201)


# Repeats


def test_a_repeat_gets_the_same_token_though_it_is_kept_nowhere(kami: Kami) -> None:
    giver, key = unique("giver"), unique()
    voucher = claim(kami, kami.voucher(), giver)
    first, again = (offer(kami, voucher, giver, key) for _ in range(2))
    assert granted(first, 201) == granted(again, 201)
    assert (replayed(first), replayed(again)) == (False, True)
    made = granted(first, 201)
    assert made["token"] not in str(list(kami.items().values()))
    (kept,) = item(kami, voucher)["transfers"]["M"].values()
    assert kept["M"]["sha256"]["B"] is not None
    assert len(hashed(made["token"])) == 32
    refused(offer(kami, voucher, unique("customer"), key), 422, "idempotency_key_reused")


def test_a_repeat_is_answered_whatever_has_come_since(kami: Kami, clock: Clock) -> None:
    given = gift(kami)
    receiver = unique("receiver")
    accepted = given.accept(receiver, key="accepted")
    granted(kami.merchant.redeem(granted(accepted, 201)["code"]), 201)
    clock.advance(OPEN_S)
    again = given.accept(receiver, key="accepted")
    assert (granted(again, 201), replayed(again)) == (granted(accepted, 201), True)
    refused(given.accept(unique("other"), key="accepted"), 422, "idempotency_key_reused")
    refused(given.accept(receiver), 409, "transfer_over")
    refused(given.accept(receiver, token=wrong(given.token), key="accepted"), 404, "transfer_not_valid")


def test_a_repeat_is_answered_after_a_reclaim_and_opens_nothing_of_what_came_after(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 1)
    kami.activate(batch=batch["id"])
    (serial,) = kami.serials(batch["id"])
    giver, receiver = unique("giver"), unique("receiver")
    voucher = claim(kami, Voucher(serial, ""), giver)
    first = offer(kami, voucher, giver, "offered")
    given = Gift(kami, voucher, giver, first.json()["id"], first.json()["token"], "")
    accepted = given.accept(receiver, key="accepted")
    kami.rewrite(serial, vetoed("reclaim"))
    kami.rewrite(serial, lambda segment: replace(segment, generation=segment.generation + 1))
    claim(kami, voucher, giver)
    before = kami.items()
    for known, again in (
        (first, offer(kami, voucher, giver, "offered")),
        (accepted, given.accept(receiver, key="accepted")),
    ):
        assert (granted(again, 201), replayed(again)) == (granted(known, 201), True)
    refused(given.accept(receiver), 409, "transfer_over")
    assert kami.items() == before
    (code,) = kami.codes([serial])
    granted(kami.merchant.redeem(code), 201)


def test_an_offer_ends_with_a_reclaim(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 1)
    kami.activate(batch=batch["id"])
    (serial,) = kami.serials(batch["id"])
    giver = unique("giver")
    given = gift(kami, claim(kami, Voucher(serial, ""), giver), giver)
    kami.rewrite(serial, vetoed("reclaim"))
    kami.rewrite(serial, lambda segment: replace(segment, generation=segment.generation + 1))
    claim(kami, given.voucher, giver)
    refused(given.accept(unique("receiver")), 404, "voucher_not_redeemable")
    granted(kami.merchant.redeem(*kami.codes([serial])), 201)


def test_history_tells_it_without_naming_customers(kami: Kami) -> None:
    number = mobile()
    batch = kami.batch(kami.campaign()["id"], 1)
    kami.activate(batch=batch["id"])
    (serial,) = kami.serials(batch["id"])
    voucher = claim(kami, Voucher(serial, ""), number)
    first = gift(kami, voucher, number)
    granted(first.give_back(customer=number), 201)
    second = gift(kami, voucher, number)
    granted(second.accept(mobile()), 201)
    kami.cloud.drain()
    told: list[Any] = granted(kami.operator.get(f"/v1/vouchers/{serial}/history"))["data"]
    assert [(line["event"], line["transfer"]) for line in told if "transfer" in line] == [
        ("offered", first.id), ("offer_returned", first.id), ("offered", second.id), ("transferred", second.id),
    ]  # fmt: skip
    assert number[1:] not in str(told)


# Holds and codes from elsewhere


def test_a_held_voucher_is_not_offered_and_an_offered_one_not_held(kami: Kami) -> None:
    giver = unique("giver")
    voucher = claim(kami, kami.voucher(redemption="balance"), giver)
    hold = granted(kami.merchant.post("/v1/holds", {"code": voucher.code, "amount_minor": 100}, unique()), 201)
    assert refused(offer(kami, voucher, giver), 409, "amount_held")["available_minor"] == 4_900
    granted(kami.merchant.post(f"/v1/holds/{hold['id']}/releases", None, unique()), 201)
    given = gift(kami, voucher, giver)
    refused(kami.merchant.post("/v1/holds", {"code": voucher.code}, unique()), 409, "voucher_offered")
    code = granted(given.accept(unique("receiver")), 201)["code"]
    held, again = (kami.merchant.post("/v1/holds", {"code": code, "amount_minor": 100}, "held") for _ in range(2))
    assert (granted(again, 201), replayed(again)) == (granted(held, 201), True)
    redemption = granted(kami.merchant.redeem(code, "paid", amount_minor=4_900, account=(number := mobile())), 201)
    repeat = kami.merchant.redeem(code, "paid", amount_minor=4_900, account=number)
    assert (granted(repeat, 201), replayed(repeat)) == (redemption, True)


def test_a_code_that_cannot_be_replaced_is_not_given_away(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    giver = unique("giver")
    voucher = claim(kami, kami.voucher(), giver)
    monkeypatch.setattr(CodeFormat, "derived", False)
    refused(offer(kami, voucher, giver), 409, "transfer_not_possible")
