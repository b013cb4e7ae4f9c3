"""A claimed voucher's QR code: its holder's app shows it, a till takes it for a minute at most, and once."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from functions.domain.qr import STEP_S
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import DAY_S
from functions.store import keys
from functions.store.guards import LIMITS
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
    position,
    refused,
    replayed,
    unique,
    vetoed,
    visible,
)

BALANCE: Json = {"redemption": "balance", "kind": "gift"}
CUSTOMER = "member-1024"


@pytest.fixture
def clock(clock: Clock) -> Clock:
    """It begins a step."""
    assert clock.now % STEP_S == 0
    return clock


def claimed(kami: Kami, customer: str = CUSTOMER, **changes: Any) -> Voucher:
    return claim(kami, kami.voucher(**{**BALANCE, **changes}), customer)


def ask(caller: Caller, serial: str, customer: str = CUSTOMER, accept: str = "application/json") -> Answer:
    return caller.get(f"/v1/vouchers/{serial}/qr?customer={customer}", accept=accept)


def shown(kami: Kami, voucher: Voucher, customer: str = CUSTOMER) -> str:
    """What the QR code says now."""
    return str(granted(ask(kami.operator, voucher.serial, customer))["payload"])


def hold(caller: Caller, code: str, key: str | None = None, **order: Any) -> Answer:
    return caller.post("/v1/holds", {"code": code, "device": unique("device"), **order}, key or unique())


def hand_over(kami: Kami, voucher: Voucher, customer: str, giver: str = CUSTOMER) -> None:
    """Its holder gives it to another customer."""
    offer = granted(kami.operator.post("/v1/transfers", {"serial": voucher.serial, "customer": giver}, unique()), 201)
    body = {"token": offer["token"], "customer": customer}
    granted(kami.operator.post(f"/v1/transfers/{offer['id']}/acceptances", body, unique()), 201)


# What the app gets


def test_the_holder_s_app_gets_an_image_and_what_it_says(kami: Kami, clock: Clock) -> None:
    voucher = claimed(kami)
    clock.advance(7)
    answer = ask(kami.operator, voucher.serial, accept="image/svg+xml,*/*")
    assert (answer.status, answer.header("content-type")) == (200, "image/svg+xml")
    assert answer.header("cache-control") == "no-store"
    image = ET.fromstring(answer.body)
    assert image.tag == "{http://www.w3.org/2000/svg}svg"
    assert image.attrib["viewBox"]
    assert answer.body == ask(kami.operator, voucher.serial, accept="*/*").body
    said = granted(ask(kami.operator, voucher.serial))
    assert said["payload"].startswith(f"KQ1.{voucher.serial}.{clock.now // STEP_S}.")
    assert said["seconds_left"] == STEP_S - 7
    clock.advance(STEP_S - 7)
    assert granted(ask(kami.operator, voucher.serial))["seconds_left"] == STEP_S
    assert ask(kami.operator, voucher.serial, accept="*/*").body != answer.body


def test_the_image_says_what_the_json_says(kami: Kami, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    import segno

    drawn: list[str] = []
    make = segno.make_qr

    def noted(text: str, **how: Any) -> segno.QRCode:
        drawn.append(text)
        return make(text, **how)

    monkeypatch.setattr(segno, "make_qr", noted)
    voucher = claimed(kami)
    assert ask(kami.operator, voucher.serial, accept="*/*").status == 200
    assert drawn == [shown(kami, voucher)]


def test_nobody_else_gets_it(kami: Kami) -> None:
    voucher, partner = claimed(kami), kami.client("partner")
    refused(ask(kami.operator, voucher.serial, "member-1025"), 404, "not_found")
    refused(ask(partner, voucher.serial), 404, "not_found")
    refused(ask(kami.operator, kami.voucher().serial), 404, "not_found")
    refused(ask(kami.operator, kami.voucher(active=False).serial), 404, "not_found")
    refused(ask(kami.merchant, voucher.serial), 403, "insufficient_scope")
    refused(kami.operator.get(f"/v1/vouchers/{voucher.serial}/qr"), 400, "invalid_request")
    refused(kami.operator.get(f"/v1/vouchers/{voucher.serial}/qr?customer="), 400, "invalid_request")


def test_what_a_till_would_refuse_has_none(kami: Kami, clock: Clock) -> None:
    used, expired = claimed(kami), claimed(kami, valid_until=None, valid_days_after_activation=7)
    granted(kami.merchant.redeem(used.code), 201)
    refused(ask(kami.operator, used.serial), 409, "already_redeemed")
    batch = kami.batch(kami.campaign()["id"], 1)
    kami.activate(batch=batch["id"])
    recalled = claim(kami, Voucher(batch["first_serial"], ""), CUSTOMER)
    kami.rewrite(recalled.serial, vetoed("suspend"))
    refused(ask(kami.operator, recalled.serial), 404, "voucher_not_redeemable")
    clock.advance(8 * DAY_S)
    refused(ask(kami.operator, expired.serial), 410, "voucher_expired")


def test_no_call_that_draws_nothing_pays_for_drawing() -> None:
    code = "import sys, functions.verify.handler, functions.redeem.handler; print('segno' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# At the till


def test_a_till_redeems_holds_and_verifies_with_it(kami: Kami, clock: Clock) -> None:
    voucher = claimed(kami)
    payload = shown(kami, voucher)
    assert granted(kami.merchant.verify(payload))["serial"] == voucher.serial
    redemption = granted(kami.merchant.redeem(payload, amount_minor=2000), 201)
    assert (redemption["serial"], redemption["balance_minor"]) == (voucher.serial, 3000)
    clock.advance(STEP_S)
    id = granted(hold(kami.merchant, shown(kami, voucher), amount_minor=1000), 201)["id"]
    to = {"account": {"type": "mobile", "number": mobile()}}
    granted(kami.merchant.post(f"/v1/holds/{id}/captures", to, unique()), 201)
    granted(kami.merchant.reverse(redemption["id"]), 201)
    assert granted(kami.merchant.redeem(voucher.code), 201)["amount_minor"] == 4000


def test_it_is_taken_for_its_step_and_the_next(kami: Kami, clock: Clock) -> None:
    voucher = claimed(kami)
    first = shown(kami, voucher)
    for _ in range(2):
        clock.advance(STEP_S - 1)
        granted(kami.merchant.verify(first))
        clock.advance(1)
    refused(kami.merchant.verify(first), 404, "voucher_not_redeemable")
    refused(kami.merchant.redeem(first), 404, "voucher_not_redeemable")
    refused(hold(kami.merchant, first), 404, "voucher_not_redeemable")
    clock.advance(-STEP_S)
    granted(kami.merchant.redeem(first), 201)


def test_one_of_a_time_to_come_is_not_taken(kami: Kami, clock: Clock) -> None:
    voucher = claimed(kami)
    clock.advance(STEP_S)
    early = shown(kami, voucher)
    clock.advance(-1)
    refused(kami.merchant.verify(early), 404, "voucher_not_redeemable")
    refused(kami.merchant.redeem(early), 404, "voucher_not_redeemable")


@pytest.mark.parametrize("first", ["redemption", "hold"])
def test_each_step_is_good_once_and_so_are_those_before_it(kami: Kami, clock: Clock, first: str) -> None:
    voucher = claimed(kami)
    earlier = shown(kami, voucher)
    clock.advance(STEP_S)
    payload = shown(kami, voucher)
    take = kami.merchant.redeem if first == "redemption" else lambda code, **order: hold(kami.merchant, code, **order)
    granted(take(payload, amount_minor=100), 201)
    before = kami.items("GUARD#")
    for text in (payload, earlier):
        refused(kami.merchant.redeem(text, amount_minor=100), 404, "voucher_not_redeemable")
        refused(hold(kami.merchant, text, amount_minor=100), 404, "voucher_not_redeemable")
        refused(kami.merchant.verify(text), 404, "voucher_not_redeemable")
    assert kami.items("GUARD#") == before
    answer = ask(kami.operator, voucher.serial)
    refused(answer, 409, "qr_used")
    assert answer.header("retry-after") == str(STEP_S)
    clock.advance(STEP_S)
    granted(kami.merchant.redeem(shown(kami, voucher), amount_minor=100), 201)


def test_the_printed_code_is_good_as_ever(kami: Kami, clock: Clock) -> None:
    voucher = claimed(kami)
    granted(kami.merchant.redeem(shown(kami, voucher), amount_minor=100), 201)
    granted(kami.merchant.redeem(voucher.code, amount_minor=100), 201)
    granted(hold(kami.merchant, voucher.code, amount_minor=100), 201)


@pytest.mark.parametrize("what", ["redemption", "hold"])
def test_a_repeat_is_answered_long_after_its_code_has_passed_and_its_holder_too(
    kami: Kami, clock: Clock, what: str
) -> None:
    voucher, key = claimed(kami), unique()
    payload = shown(kami, voucher)
    account, device = mobile(), unique("device")

    def take(code: str) -> Answer:
        if what == "redemption":
            return kami.merchant.redeem(code, key, account, amount_minor=100)
        return hold(kami.merchant, code, key, device=device, amount_minor=100)

    first = take(payload)
    granted(first, 201)
    clock.advance(DAY_S)
    hand_over(kami, voucher, "member-1025")
    before = kami.items()
    for repeat in (take(payload), take(voucher.code)):
        assert (repeat.status, replayed(repeat), repeat.body) == (201, True, first.body)
    forged = payload[:-1] + ("A" if payload[-1] != "A" else "B")
    assert kami.items() == before
    refused(take(forged), 404, "voucher_not_redeemable")
    refused(take(shown(kami, voucher, "member-1025")), 422, "idempotency_key_reused")


def test_what_an_earlier_holder_can_show_is_dead_even_if_it_comes_back(kami: Kami, clock: Clock) -> None:
    voucher = claimed(kami)
    old = shown(kami, voucher)
    hand_over(kami, voucher, "member-1025")
    refused(kami.merchant.redeem(old), 404, "voucher_not_redeemable")
    refused(ask(kami.operator, voucher.serial), 404, "not_found")
    given = shown(kami, voucher, "member-1025")
    granted(kami.merchant.verify(given))
    hand_over(kami, voucher, CUSTOMER, "member-1025")
    for dead in (old, given):
        refused(kami.merchant.redeem(dead), 404, "voucher_not_redeemable")
    granted(kami.merchant.redeem(shown(kami, voucher)), 201)


def test_while_it_is_offered_it_is_not_to_be_had(kami: Kami, clock: Clock) -> None:
    voucher = claimed(kami)
    payload = shown(kami, voucher)
    offered = {"serial": voucher.serial, "customer": CUSTOMER}
    granted(kami.operator.post("/v1/transfers", offered, unique()), 201)
    refused(ask(kami.operator, voucher.serial), 409, "voucher_offered")
    refused(kami.merchant.redeem(payload), 409, "voucher_offered")


# What a stranger learns


def wrong(kami: Kami, clock: Clock) -> dict[str, str]:
    """QR codes that are not good, by what is the matter with them; each of a voucher of its own."""
    vouchers = [claimed(kami) for _ in range(8)]
    texts = [shown(kami, voucher) for voucher in vouchers]
    used, forged, swapped, handed, unclaimed, late, voided, cut = texts
    granted(kami.merchant.redeem(used, amount_minor=1), 201)
    hand_over(kami, vouchers[3], "member-1025")
    order = {"selection": {"serials": [vouchers[6].serial]}, "action": "void", "reason": "stolen"}
    assert kami.operator.post("/v1/recoveries", order).status == 202
    head, _, step, mac = late.split(".")
    return {
        "used": used,
        "forged": forged[:-1] + ("A" if forged[-1] != "A" else "B"),
        "another's mac": f"{swapped.rpartition('.')[0]}.{mac}",
        "an earlier holder's": handed,
        "of a voucher that nobody holds": unclaimed.replace(vouchers[4].serial, kami.voucher().serial),
        "of another step": f"{head}.{vouchers[5].serial}.{int(step) - 1}.{mac}",
        "void": voided,
        "cut off": cut[:-1],
        "of a lot that is not there": f"KQ1.018999999995.{step}.{mac}",
        "of no serial": f"KQ1.{vouchers[0].serial[:-1]}.{step}.{mac}",
    }


def test_every_qr_code_that_is_not_good_is_refused_with_the_same_bytes(kami: Kami, clock: Clock) -> None:
    texts = wrong(kami, clock)
    before = kami.items("GUARD#")
    for take in (kami.merchant.redeem, kami.merchant.verify, lambda code: hold(kami.merchant, code)):
        plain = visible(take("0000-0000-0000-0000"))
        for matter, text in texts.items():
            assert visible(take(text)) == plain, matter
    assert kami.items("GUARD#") == before


def test_wrong_ones_count_for_who_asks_and_forged_ones_for_the_lot(kami: Kami, clock: Clock) -> None:
    voucher, account = claimed(kami), mobile()
    payload = shown(kami, voucher)
    forged = payload[:-1] + ("A" if payload[-1] != "A" else "B")
    breaker = keys.guard("lot", str(position(voucher) // LOT_SIZE), clock.now // LIMITS["lot"].window_s)

    def against_the_lot() -> int:
        return int(kami.items().get(breaker, {}).get("count", {}).get("N", 0))

    granted(kami.merchant.redeem(payload, amount_minor=1), 201)
    before = against_the_lot()
    for _ in range(LIMITS["account"].wrong_max):
        refused(kami.merchant.redeem(payload, account=account), 404, "voucher_not_redeemable")
    refused(kami.merchant.redeem(payload, account=account), 429, "too_many_attempts")
    assert against_the_lot() == before, "it was right once: nobody forged it"
    refused(kami.merchant.redeem(forged), 404, "voucher_not_redeemable")
    assert against_the_lot() == before + 1
