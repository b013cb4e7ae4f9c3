"""What a customer holds: nearest end first, as it stands now, and nobody else's."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from functions.distribute import wallet
from functions.domain.times import rfc3339
from tests.integration.conftest import Clock
from tests.integration.kami import Caller, Json, Kami, Voucher, claim, granted, mobile, refused, unique, vetoed

END = 1_893_456_000  # 2030-01-01T00:00:00Z
DAY_S = 86_400


def ending(kami: Kami, days: int, **changes: Any) -> Voucher:
    """A voucher of a campaign that ends so many days after `END`."""
    return kami.voucher(valid_until=rfc3339(END + days * DAY_S), **changes)


def page(kami: Kami, customer: str, query: str = "", by: Caller | None = None) -> Json:
    return granted((by or kami.operator).get(f"/v1/customers/{customer}/vouchers{query}"))


def serials(kami: Kami, customer: str, query: str = "", by: Caller | None = None) -> list[str]:
    return [line["serial"] for line in page(kami, customer, query, by)["data"]]


def extend(kami: Kami, serial: str, days: int) -> None:
    body = {"selection": {"serials": [serial]}, "days": days}
    assert granted(kami.operator.post("/v1/extensions", body), 201)["extended"] == 1


def test_the_nearest_end_comes_first(kami: Kami) -> None:
    customer = unique("customer")
    late, soon, later = ending(kami, 20), ending(kami, 1, redemption="balance"), ending(kami, 20)
    for voucher in (late, soon, later):
        claim(kami, voucher, customer)
    granted(kami.merchant.redeem(soon.code, amount_minor=2_000), 201)
    first, *rest = page(kami, customer)["data"]
    assert first == {
        "serial": soon.serial,
        "campaign": first["campaign"],
        "status": "partly_redeemed",
        "redeemable": True,
        "face_value": {"amount_minor": 5_000, "currency": "CNY"},
        "balance_minor": 3_000,
        "currency": "CNY",
        "valid_until": rfc3339(END + DAY_S),
    }
    assert [line["serial"] for line in rest] == sorted((late.serial, later.serial))


def test_pages_follow_each_other_without_a_gap_or_a_repeat(kami: Kami) -> None:
    customer = unique("customer")
    vouchers = [claim(kami, ending(kami, days), customer) for days in (5, 3, 9, 3, 1)]
    whole = serials(kami, customer)
    assert sorted(whole) == sorted(voucher.serial for voucher in vouchers)
    found, query = list[str](), "?limit=2"
    sizes = []
    for _ in range(3):
        part = page(kami, customer, query)
        found += [line["serial"] for line in part["data"]]
        sizes.append(len(part["data"]))
        query = f"?limit=2&cursor={part.get('next_cursor')}"
    assert (found, sizes) == (whole, [2, 2, 1])
    assert "next_cursor" not in part


def test_a_cursor_is_good_for_its_caller_and_its_customer_only(kami: Kami) -> None:
    customer, other = unique("customer"), unique("customer")
    for name in (customer, customer, other, other):
        claim(kami, ending(kami, 1), name)
    cursor = page(kami, customer, "?limit=1")["next_cursor"]
    refused(kami.operator.get(f"/v1/customers/{other}/vouchers?limit=1&cursor={cursor}"), 400, "invalid_cursor")
    stranger = kami.client("operator")
    refused(stranger.get(f"/v1/customers/{customer}/vouchers?limit=1&cursor={cursor}"), 400, "invalid_cursor")


def test_a_customer_is_its_tenants_own(kami: Kami) -> None:
    """The same name at two partners means two people; not even the operator sees them through its own customers."""
    one, other = kami.client("partner"), kami.client("partner")
    customer = mobile()
    of_one, of_other, of_operator = (ending(kami, 1) for _ in range(3))
    claim(kami, of_one, customer, one)
    claim(kami, of_other, customer, other)
    claim(kami, of_operator, customer)
    asked = customer.replace("+", "%2B")
    assert serials(kami, asked, by=one) == [of_one.serial]
    assert serials(kami, asked, by=other) == [of_other.serial]
    assert serials(kami, asked) == [of_operator.serial]
    colleague = kami.client("partner", tenant=one.tenant)
    assert serials(kami, asked, by=colleague) == [of_one.serial]
    refused(kami.merchant.get(f"/v1/customers/{asked}/vouchers"), 403, "insufficient_scope")


def test_no_index_names_the_customer(kami: Kami) -> None:
    number = mobile()
    voucher = claim(kami, ending(kami, 1), number)
    (item,) = (item for item in kami.items().values() if number in str(item) and voucher.serial[:-1] in str(item["pk"]))
    assert item["holder"] == {"S": number}
    assert number[1:] not in str(item["gsi2pk"])


def test_what_is_used_up_is_shown_where_it_is_asked_for_and_comes_back_with_its_value(kami: Kami) -> None:
    customer = unique("customer")
    used, kept = (claim(kami, ending(kami, days), customer) for days in (1, 2))
    redemption = granted(kami.merchant.redeem(used.code), 201)
    assert serials(kami, customer) == [kept.serial]
    (line,) = page(kami, customer, "?status=redeemed")["data"]
    assert (line["serial"], line["status"], line["redeemable"], line["balance_minor"]) == (
        used.serial, "redeemed", False, 0,
    )  # fmt: skip
    granted(kami.merchant.reverse(redemption["id"]), 201)
    assert serials(kami, customer) == [used.serial, kept.serial]
    assert serials(kami, customer, "?status=redeemed") == []


def test_what_has_expired_is_shown_only_where_it_is_asked_for(kami: Kami, clock: Clock) -> None:
    customer = unique("customer")
    over = claim(kami, kami.voucher(valid_until=rfc3339(clock.now + DAY_S)), customer)
    good = claim(kami, ending(kami, 1), customer)
    clock.advance(DAY_S)
    assert serials(kami, customer) == [good.serial]
    assert serials(kami, customer, "?status=expired") == [over.serial]
    assert serials(kami, customer, "?status=claimed") == [good.serial]


def test_an_extension_of_the_range_shows_at_once_and_orders_its_page(kami: Kami) -> None:
    customer = unique("customer")
    one, other = (claim(kami, ending(kami, days), customer) for days in (1, 2))
    extend(kami, one.serial, 10)
    assert [(line["serial"], line["valid_until"]) for line in page(kami, customer)["data"]] == [
        (other.serial, rfc3339(END + 2 * DAY_S)),
        (one.serial, rfc3339(END + 11 * DAY_S)),
    ]


def test_an_extension_of_a_voucher_with_an_end_of_its_own_moves_its_place(
    kami: Kami, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, so that nothing but the index orders them."""
    monkeypatch.setattr("functions.store.ranges.SEGMENTS_PER_LOT_MAX", 2)
    customer = unique("customer")
    batch = kami.batch(kami.campaign(valid_until=rfc3339(END))["id"], 20)
    own = kami.serials(batch["id"])[::2][:6]
    kami.activate(serials=own)
    one, other = (claim(kami, Voucher(serial, code), customer) for serial, code in
                  itertools.islice(zip(own, kami.codes(own), strict=True), 2))  # fmt: skip
    assert serials(kami, customer, "?limit=1") == [one.serial]
    extend(kami, one.serial, 10)
    assert serials(kami, customer, "?limit=1") == [other.serial]


@pytest.mark.parametrize(("action", "status"), [("suspend", "suspended"), ("void", None), ("reclaim", None)])
def test_what_a_recall_takes_is_gone_and_what_it_suspends_stays_in_sight(
    kami: Kami, action: str, status: str | None
) -> None:
    customer = unique("customer")
    batch = kami.batch(kami.campaign()["id"], 1)
    kami.activate(batch=batch["id"])
    (serial,) = kami.serials(batch["id"])
    claim(kami, Voucher(serial, kami.codes([serial])[0]), customer)
    assert serials(kami, customer) == [serial]
    kami.rewrite(serial, vetoed(action))
    assert [line["status"] for line in page(kami, customer)["data"]] == ([status] if status else [])


def test_a_page_that_finds_nothing_to_show_goes_on_where_it_stopped(
    kami: Kami, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wallet, "READS_PER_PAGE_MAX", 2)
    customer = unique("customer")
    for _ in range(3):
        claim(kami, kami.voucher(valid_until=rfc3339(clock.now + DAY_S)), customer)
    good = claim(kami, ending(kami, 1), customer)
    clock.advance(DAY_S)
    first = page(kami, customer, "?limit=1")
    assert first["data"] == []
    assert serials(kami, customer, f"?limit=1&cursor={first['next_cursor']}") == [good.serial]
