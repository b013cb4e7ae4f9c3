"""Verifications, and a voucher by its serial: what strangers learn, and what staff sees."""

from __future__ import annotations

import pytest

from functions.domain.serials import position_of, serial_of
from functions.domain.voucher import DAY_S
from tests.integration.conftest import Clock
from tests.integration.kami import Kami, granted, refused

NEVER_GENERATED = serial_of(9_999_999 * 10_000)


def test_a_right_code_tells_what_it_is_worth_and_until_when(kami: Kami) -> None:
    voucher = kami.voucher()
    seen = granted(kami.merchant.verify(voucher.code))
    assert (seen["serial"], seen["status"], seen["redeemable"]) == (voucher.serial, "active", True)
    assert (seen["kind"], seen["balance_minor"]) == ("recharge", 5000)
    assert seen["face_value"] == {"amount_minor": 5000, "currency": "CNY"}
    assert seen["valid_until"] == "2035-12-31T15:59:59Z"
    assert "reason" not in seen


def test_verifying_changes_nothing(kami: Kami) -> None:
    voucher = kami.voucher()
    before = kami.items()
    assert granted(kami.merchant.verify(voucher.code)) == granted(kami.merchant.verify(voucher.code))
    assert kami.items() == before


@pytest.mark.parametrize("variant", [str.lower, lambda code: code.replace("-", " "), lambda code: f" {code} "])
def test_a_code_is_forgiven_how_it_is_typed(kami: Kami, variant: type[str]) -> None:
    voucher = kami.voucher()
    assert granted(kami.merchant.verify(variant(voucher.code)))["serial"] == voucher.serial


def test_a_part_used_voucher_shows_what_is_left(kami: Kami) -> None:
    voucher = kami.voucher(redemption="balance")
    granted(kami.merchant.redeem(voucher.code, amount_minor=1234), 201)
    seen = granted(kami.merchant.verify(voucher.code))
    assert (seen["status"], seen["redeemable"], seen["balance_minor"]) == ("partly_redeemed", True, 3766)


def test_a_used_voucher_is_refused_to_strangers_and_explained_to_staff(kami: Kami) -> None:
    voucher = kami.voucher()
    granted(kami.merchant.redeem(voucher.code), 201)
    refused(kami.merchant.verify(voucher.code), 409, "already_redeemed")
    seen = granted(kami.client("support").verify(voucher.code))
    assert (seen["status"], seen["redeemable"], seen["reason"]) == ("redeemed", False, "redeemed")


def test_an_expired_voucher_is_refused_to_strangers_and_explained_to_staff(kami: Kami, clock: Clock) -> None:
    voucher = kami.voucher(valid_until=None, valid_days_after_activation=7)
    clock.advance(7 * DAY_S - 1)
    assert granted(kami.merchant.verify(voucher.code))["redeemable"]
    clock.advance(1)
    refused(kami.merchant.verify(voucher.code), 410, "voucher_expired")
    seen = granted(kami.operator.verify(voucher.code))
    assert (seen["status"], seen["redeemable"], seen["reason"]) == ("expired", False, "expired")


def test_an_inactive_voucher_is_unknown_to_strangers_and_explained_to_staff(kami: Kami) -> None:
    voucher = kami.voucher(active=False)
    refused(kami.merchant.verify(voucher.code), 404, "voucher_not_redeemable")
    seen = granted(kami.operator.verify(voucher.code))
    assert (seen["status"], seen["redeemable"], seen["reason"]) == ("generated", False, "inactive")


def test_even_staff_learns_nothing_of_a_wrong_code(kami: Kami) -> None:
    refused(kami.operator.verify("0000-0000-0000-0000"), 404, "voucher_not_redeemable")


def test_days_of_validity_begin_with_activation(kami: Kami, clock: Clock) -> None:
    batch = kami.batch(kami.campaign(valid_until=None, valid_days_after_activation=1)["id"], 1)
    path = f"/v1/vouchers/{batch['first_serial']}"
    assert "valid_until" not in granted(kami.operator.get(path))
    clock.advance(100 * DAY_S)
    activation = kami.activate(batch=batch["id"])
    assert granted(kami.operator.get(path))["valid_until"] > activation["created_at"]
    clock.advance(DAY_S - 1)
    assert granted(kami.operator.get(path))["status"] == "active"
    clock.advance(1)
    assert granted(kami.operator.get(path))["status"] == "expired"


def test_staff_looks_a_voucher_up_by_its_serial(kami: Kami) -> None:
    voucher = kami.voucher(redemption="balance")
    ids = [granted(kami.merchant.redeem(voucher.code, amount_minor=100), 201)["id"] for _ in range(2)]
    seen = granted(kami.client("auditor").get(f"/v1/vouchers/{voucher.serial}"))
    assert (seen["serial"], seen["status"], seen["balance_minor"]) == (voucher.serial, "partly_redeemed", 4800)
    assert seen["redemptions"] == ids
    assert voucher.code not in str(seen)
    assert granted(kami.operator.get(f"/v1/batches/{seen['batch']}"))["id"] == seen["batch"]


def test_a_serial_shows_no_code(kami: Kami) -> None:
    voucher = kami.voucher()
    assert voucher.code.encode() not in kami.operator.get(f"/v1/vouchers/{voucher.serial}").body


@pytest.mark.parametrize("serial", [
    NEVER_GENERATED, NEVER_GENERATED[:-1], NEVER_GENERATED + "0", NEVER_GENERATED[:-1] + "x", "0", "x" * 5_000,
    "%D9%A0" * 12, "%00", "%2F", "01000000000%33%20",
])  # fmt: skip
def test_a_serial_that_is_none_is_not_found(kami: Kami, serial: str) -> None:
    refused(kami.operator.get(f"/v1/vouchers/{serial}"), 404, "not_found")


def test_a_mistyped_serial_is_told_from_one_that_is_not_there(kami: Kami) -> None:
    serial = kami.voucher().serial
    mistyped = serial[:-2] + str((int(serial[-2]) + 1) % 10) + serial[-1]
    assert position_of(mistyped) is None
    document = refused(kami.operator.get(f"/v1/vouchers/{mistyped}"), 404, "not_found")
    assert "mistyped" in document["detail"]
