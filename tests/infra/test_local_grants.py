"""Every grant in the stack is needed: without it, one of the calls made here would have been denied.

The functions run as processes, because in one process they share caches, and one function's key serves another.
"""

from __future__ import annotations

import pytest

from functions.domain.lot import COMMANDS_PER_LOT_MAX, SEGMENTS_PER_LOT_MAX
from infra.local.cloud import Cloud
from infra.local.template import synthesized
from tests.integration.kami import Kami, granted, refused

pytestmark = pytest.mark.xdist_group("grants")
MILLION = 1_000_000


def forged(code: str) -> str:
    """The same voucher's place, but not its secret."""
    return code[:-1] + ("0" if code[-1] != "0" else "1")


def use_everything(kami: Kami) -> None:
    """Each function's whole repertoire, once."""
    granted(kami.cloud.request("GET", "/.well-known/jwks.json"))
    single, balance = kami.voucher(), kami.voucher(redemption="balance")
    granted(kami.merchant.verify(single.code))
    refused(kami.merchant.verify(forged(single.code)), 404, "voucher_not_redeemable")  # and counted
    redemption = granted(kami.merchant.redeem(balance.code, amount_minor=2000), 201)
    granted(kami.merchant.get(f"/v1/redemptions/{redemption['id']}"))
    granted(kami.merchant.reverse(redemption["id"]), 201)
    refused(kami.merchant.redeem(forged(single.code)), 404, "voucher_not_redeemable")
    granted(kami.operator.get(f"/v1/vouchers/{single.serial}"))
    campaign = kami.campaign()
    granted(kami.operator.get(f"/v1/campaigns/{campaign['id']}"))
    granted(kami.operator.get("/v1/campaigns?limit=1"))
    large = kami.operator.post(f"/v1/campaigns/{campaign['id']}/batches", {"quantity": 3 * MILLION}).json()
    kami.cloud.drain()
    granted(kami.operator.get(f"/v1/batches/{large['id']}"))
    kami.serials(large["id"])
    activation = kami.operator.post("/v1/activations", {"selection": {"batch": large["id"]}}).json()
    kami.cloud.drain()
    assert granted(kami.operator.get(f"/v1/activations/{activation['id']}"))["status"] == "completed"
    split_a_lot(kami, campaign["id"])


def split_a_lot(kami: Kami, campaign: str) -> None:
    """More commands than a lot remembers, then more segments than it may have: vouchers get items of their own."""
    batch = kami.batch(campaign, 100)["id"]
    serials = kami.serials(batch)
    for serial in serials[: COMMANDS_PER_LOT_MAX + 1]:
        kami.activate(serials=[serial])
    kami.activate(serials=serials[-2 * SEGMENTS_PER_LOT_MAX :: 2])
    counts = granted(kami.operator.get(f"/v1/batches/{batch}"))["counts"]
    assert counts["active"] == COMMANDS_PER_LOT_MAX + 1 + SEGMENTS_PER_LOT_MAX


def test_no_function_has_a_grant_that_it_does_not_need() -> None:
    with Cloud.in_processes(synthesized()) as cloud:
        use_everything(Kami(cloud))
        assert cloud.unneeded_grants() == {}
