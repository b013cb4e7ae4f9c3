"""Where a voucher stands in its holder's wallet, and when it leaves it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from functions.domain.lot import Status
from functions.domain.voucher import Voucher
from functions.domain.wallet import place
from functions.store import keys
from functions.store.entities import VOUCHER
from tests.engine.world import NOW, OPERATOR

POSITION = 1_000_000_003


HELD = Voucher(POSITION, "cmp_1", "bat_1", Status.CLAIMED, 1, 1, "CNY", holder="h", tenant="t", version=1)


def test_the_nearest_end_stands_first_and_what_has_none_last() -> None:
    ends = [9, NOW, NOW + 1, 4_102_444_800, None]
    places = [keys.held("t", "h", used_up=False, ends=end, position=POSITION).sk for end in ends]
    assert places == sorted(places)


def test_an_end_of_its_own_goes_before_that_which_it_had() -> None:
    assert place(replace(HELD, ends=7)) == ("t", "h", False, 7)
    assert place(replace(HELD, ends=7, valid_until=9)) == ("t", "h", False, 9)


@pytest.mark.parametrize("status", Status)
def test_a_status_says_which_half_of_the_wallet_it_is_in(status: Status) -> None:
    gone = status in (Status.VOID, Status.REISSUED)
    expected = None if gone else ("t", "h", status is Status.REDEEMED, None)
    assert place(replace(HELD, status=status)) == expected
    item = VOUCHER.item(replace(HELD, status=status), "test", OPERATOR)
    assert ("gsi2pk" in item, "gsi2sk" in item) == (not gone, not gone)


def test_without_a_holder_it_is_in_no_wallet() -> None:
    assert place(replace(HELD, holder=None)) is None
    assert place(replace(HELD, tenant=None)) is None
    assert "gsi2pk" not in VOUCHER.item(replace(HELD, holder=None), "test", OPERATOR)


def test_the_same_name_at_two_tenants_is_two_customers() -> None:
    partitions = {
        keys.held_by(tenant, holder, used_up=used_up)
        for tenant, holder in (("a", "bc"), ("ab", "c"), ("b", "bc"))
        for used_up in (False, True)
    }
    assert len(partitions) == 6
