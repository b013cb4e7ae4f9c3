"""POST /v1/claims: by code and out of stock, limits, tiers, receipts."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from functions.domain.wallet import SHOWN
from functions.store.guards import LIMITS
from tests.integration.conftest import Clock
from tests.integration.kami import Caller, Json, Kami, granted, mistyped, refused, replayed, unique

DAY_S = 86_400


def stocked(kami: Kami, quantity: int, **campaign: object) -> Json:
    """A campaign with a batch of so many."""
    made = kami.campaign(**campaign)
    kami.batch(made["id"], quantity)
    return made


def claim(caller: Caller, customer: str | None = None, key: str | None = None, **order: object) -> Any:
    return caller.post("/v1/claims", {"customer": customer or unique("customer"), **order}, key or unique())


def held(kami: Kami, customer: str) -> list[str]:
    page = granted(kami.operator.get(f"/v1/customers/{customer}/vouchers"))
    return [line["serial"] for line in page["data"]]


def test_a_customer_claims_one_of_a_campaign(kami: Kami) -> None:
    campaign, customer, key = stocked(kami, 2), unique("customer"), unique()
    answer = claim(kami.operator, customer, key, campaign=campaign["id"])
    made = granted(answer, 201)
    assert (made["status"], made["customer"], made["valid_until"]) == ("claimed", customer, campaign["valid_until"])
    assert not replayed(answer)
    assert kami.codes([made["serial"]]) == [made["code"]]
    assert held(kami, customer) == [made["serial"]]
    again = claim(kami.operator, customer, key, campaign=campaign["id"])
    assert replayed(again)
    assert granted(again, 201) == {**made, "receipt": again.json()["receipt"]}
    refused(claim(kami.operator, unique("customer"), key, campaign=campaign["id"]), 422, "idempotency_key_reused")
    granted(kami.merchant.redeem(made["code"]), 201)
    assert granted(claim(kami.operator, campaign=campaign["id"]), 201)["serial"] != made["serial"]
    refused(claim(kami.operator, campaign=campaign["id"]), 409, "quantity_exceeded")
    refused(claim(kami.operator, campaign="cmp_none"), 404, "not_found")


def test_a_customer_claims_the_voucher_of_a_code(kami: Kami) -> None:
    voucher, customer, key = kami.voucher(), unique("customer"), unique()
    answer = claim(kami.operator, customer, key, code=voucher.code)
    made = granted(answer, 201)
    assert (made["serial"], made["status"]) == (voucher.serial, "claimed")
    assert "code" not in made
    assert held(kami, customer) == [voucher.serial]
    assert granted(kami.merchant.verify(voucher.code))["status"] == "claimed"
    refused(claim(kami.operator, customer, code=voucher.code), 409, "already_claimed")
    refused(claim(kami.operator, code=voucher.code), 409, "already_claimed")
    refused(claim(kami.operator, unique("customer"), key, code=voucher.code), 422, "idempotency_key_reused")
    granted(kami.merchant.redeem(voucher.code), 201)
    again = claim(kami.operator, customer, key, code=voucher.code)
    assert replayed(again)
    assert granted(again, 201) == {**made, "receipt": again.json()["receipt"]}
    refused(claim(kami.operator, code=voucher.code), 409, "already_redeemed")


def test_a_dispensed_voucher_may_be_claimed_by_its_buyer(kami: Kami) -> None:
    order = {"campaign": stocked(kami, 1)["id"], "quantity": 1}
    (line,) = granted(kami.operator.post("/v1/dispenses", order, unique()), 201)["data"]
    assert granted(claim(kami.operator, code=line["code"]), 201)["serial"] == line["serial"]


def test_a_card_in_use_keeps_what_is_left_and_its_status(kami: Kami) -> None:
    voucher, customer = kami.voucher(redemption="balance"), unique("customer")
    redemption = granted(kami.merchant.redeem(voucher.code, amount_minor=2_000), 201)
    assert granted(claim(kami.operator, customer, code=voucher.code), 201)["status"] == "partly_redeemed"
    granted(kami.merchant.reverse(redemption["id"]), 201)
    assert granted(kami.merchant.verify(voucher.code))["status"] in SHOWN


def test_what_cannot_be_redeemed_cannot_be_claimed_and_wrong_codes_are_counted(kami: Kami, clock: Clock) -> None:
    idle, good, customer = kami.voucher(active=False), kami.voucher(), unique("customer")
    codes = [idle.code, mistyped(good.code), "no code"]
    attempts = [claim(kami.operator, customer, code=code) for code in codes]
    assert len({json.dumps(refused(answer, 404, "voucher_not_redeemable")) for answer in attempts}) == 1
    for _ in range(LIMITS["account"].wrong_max - len(codes)):
        refused(claim(kami.operator, customer, code="no code"), 404, "voucher_not_redeemable")
    refused(claim(kami.operator, customer, code=good.code), 429, "too_many_attempts")
    granted(claim(kami.operator, code=good.code), 201)
    ended = kami.voucher(valid_until=None, valid_days_after_activation=1)
    clock.advance(DAY_S)
    refused(claim(kami.operator, code=ended.code), 410, "voucher_expired")


def test_a_customer_claims_no_more_than_the_campaign_allows(kami: Kami) -> None:
    campaign, customer = stocked(kami, 5, claims_per_customer=2), unique("customer")
    partner = kami.client("partner")
    first, _ = (granted(claim(kami.operator, customer, campaign=campaign["id"]), 201) for _ in range(2))
    problem = refused(claim(kami.operator, customer, campaign=campaign["id"]), 409, "claim_limit_reached")
    assert problem["limit"] == "claims_per_customer"
    other = granted(claim(kami.operator, campaign=campaign["id"]), 201)
    dispensed = {"campaign": campaign["id"], "quantity": 1}
    (line,) = granted(kami.operator.post("/v1/dispenses", dispensed, unique()), 201)["data"]
    refused(claim(kami.operator, customer, code=line["code"]), 409, "claim_limit_reached")
    granted(claim(partner, customer, code=line["code"]), 201)  # another's customer of the same name
    assert len({first["serial"], other["serial"], line["serial"]}) == 3


@pytest.mark.parametrize("claims_max", [3, 20])
def test_no_more_are_claimed_than_the_campaign_allows_in_all_and_no_less(kami: Kami, claims_max: int) -> None:
    campaign = stocked(kami, claims_max + 2, claims_max=claims_max)
    for _ in range(claims_max):
        granted(claim(kami.operator, campaign=campaign["id"]), 201)
    problem = refused(claim(kami.operator, campaign=campaign["id"]), 409, "claim_limit_reached")
    assert problem["limit"] == "claims_max"
    order = {"campaign": campaign["id"], "quantity": 2}
    lines = granted(kami.operator.post("/v1/dispenses", order, unique()), 201)["data"]
    refused(claim(kami.operator, code=lines[0]["code"]), 409, "claim_limit_reached")


def test_a_campaign_may_be_for_some_tiers_only(kami: Kami) -> None:
    campaign = stocked(kami, 3, tiers=["gold", "platinum"])
    refused(claim(kami.operator, campaign=campaign["id"]), 403, "tier_not_allowed")
    refused(claim(kami.operator, campaign=campaign["id"], tier="silver"), 403, "tier_not_allowed")
    granted(claim(kami.operator, campaign=campaign["id"], tier="gold"), 201)
    order = {"campaign": campaign["id"], "quantity": 1}
    (line,) = granted(kami.operator.post("/v1/dispenses", order, unique()), 201)["data"]
    refused(claim(kami.operator, code=line["code"]), 403, "tier_not_allowed")
    granted(claim(kami.operator, code=line["code"], tier="platinum"), 201)


def test_validity_counts_from_the_claim_out_of_stock_and_goes_on_by_code(kami: Kami, clock: Clock) -> None:
    campaign = stocked(kami, 2, valid_until=None, valid_days_after_activation=30)
    order = {"campaign": campaign["id"], "quantity": 1}
    (line,) = granted(kami.operator.post("/v1/dispenses", order, unique()), 201)["data"]
    clock.advance(10 * DAY_S)
    by_code = granted(claim(kami.operator, code=line["code"]), 201)
    fresh = granted(claim(kami.operator, campaign=campaign["id"]), 201)
    clock.advance(20 * DAY_S)
    refused(kami.merchant.verify(line["code"]), 410, "voucher_expired")
    assert granted(kami.merchant.verify(fresh["code"]))["redeemable"]
    assert by_code["valid_until"] < fresh["valid_until"]


def test_a_partner_claims_out_of_its_own_channel(kami: Kami) -> None:
    partner = kami.client("partner")
    channel = kami.channel(kind="partner", tenant=partner.client_id)["id"]
    campaign = kami.campaign()
    every = kami.serials(kami.batch(campaign["id"], 2)["id"])
    kami.distribute(to=channel, serials=every[:1])
    refused(claim(partner, campaign=campaign["id"]), 400, "invalid_request")
    assert granted(claim(partner, campaign=campaign["id"], channel=channel), 201)["serial"] == every[0]
    refused(claim(partner, campaign=campaign["id"], channel=channel), 409, "quantity_exceeded")


def test_a_customers_own_client_claims(kami: Kami) -> None:
    assert granted(claim(kami.client("customer"), campaign=stocked(kami, 1)["id"]), 201)["code"]


def test_a_receipt_is_signed_by_a_published_key_and_is_no_access_token(kami: Kami) -> None:
    customer = unique("customer")
    made = granted(claim(kami.operator, customer, campaign=stocked(kami, 1)["id"]), 201)
    published = kami.cloud.request("GET", "/.well-known/jwks.json").json()
    verified = jws.deserialize_compact(made["receipt"], KeySet.import_key_set(published), algorithms=["ES256"])
    assert verified.headers()["typ"] == "kami-claim+jws"
    said = json.loads(verified.payload or b"")
    assert said == {"claim": made["id"], "serial": made["serial"], "customer": customer, "at": said["at"]}
    token_key = json.loads(decoded(kami.operator.token.partition(".")[0]))["kid"]
    assert verified.headers()["kid"] != token_key
    forged = ".".join([encoded({**verified.headers(), "kid": token_key}), *made["receipt"].split(".")[1:]])
    retyped = ".".join([encoded({**verified.headers(), "typ": "at+jwt"}), *made["receipt"].split(".")[1:]])
    for token in (made["receipt"], forged, retyped):
        refused(kami.cloud.request("GET", "/v1/campaigns", token=token), 401, "unauthorized")


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(said: Any) -> str:
    return urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")


def test_a_claim_is_in_the_history_without_its_customer(kami: Kami) -> None:
    campaign, customer = kami.campaign(), "+8613987654321"
    batch = kami.batch(campaign["id"], 2)["id"]
    made = granted(claim(kami.operator, customer, campaign=campaign["id"]), 201)
    kami.cloud.drain()
    answer = kami.operator.get(f"/v1/vouchers/{made['serial']}/history")
    *_, line = granted(answer)["data"]
    assert (line["event"], line["claim"]) == ("claimed", made["id"])
    assert customer.encode() not in answer.body
    assert granted(kami.operator.get(f"/v1/batches/{batch}"))["counts"] == {"generated": 1, "claimed": 1}
