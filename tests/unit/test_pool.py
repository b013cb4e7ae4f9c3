"""What is free to be drawn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from functions.domain.lot import Lot, Part, Rules, Scope, Segment, Status, Veto
from functions.domain.pool import is_free
from functions.domain.voucher import (
    DRAWS_PER_VOUCHER_MAX,
    REDEMPTIONS_PER_VOUCHER_MAX,
    Drawn,
    Redemption,
    Standing,
    Voucher,
    redeem,
    standing,
    untouched,
)

RULES = Rules("cmp_1", "gift", 5_000, "CNY", "balance", "crockford16")
BEFORE = Segment(0, 9, Status.ACTIVE)
ANEW = replace(BEFORE, generation=2, vetoes=(Veto("rec_1", "reclaim", Scope.ALL, 1),))
LOT = Lot(100_000, RULES, (Part("bat_1", 0, 9, b"k"),), (ANEW,))
USE = Redemption("", 0, "m", "mobile", "+8613800000000", 1, 1, Status.PARTLY_REDEEMED, "f", 1, 1, "r")
DRAW = Drawn("dsp_1", 1, 0, None, "f", "r", "active")


def reclaimed(uses: int = 1, draws: int = 1) -> Voucher:
    """A voucher that a reclaim has ended after so many uses and draws."""
    fresh = untouched(replace(LOT, segments=(BEFORE,)), BEFORE, 4)
    redemptions = {str(n): replace(USE, id=str(n)) for n in range(uses)}
    return replace(fresh, status=Status.PARTLY_REDEEMED, redemptions=redemptions, draws=(DRAW,) * draws, version=uses)


def stands(item: Voucher) -> Standing:
    at = standing(LOT, 4, item, 0)
    assert at is not None
    return at


def test_what_was_reclaimed_is_free_and_can_be_used_by_who_gets_it() -> None:
    item = reclaimed(uses=REDEMPTIONS_PER_VOUCHER_MAX - 1, draws=DRAWS_PER_VOUCHER_MAX - 1)
    assert is_free(LOT, ANEW, item)
    assert redeem(stands(item), REDEMPTIONS_PER_VOUCHER_MAX, None, single=False) == (5_000, 0, Status.REDEEMED)
    assert is_free(LOT, ANEW, None)
    assert not is_free(LOT, ANEW, replace(item, generation=2))


@pytest.mark.parametrize(("uses", "draws"), [(REDEMPTIONS_PER_VOUCHER_MAX, 1), (1, DRAWS_PER_VOUCHER_MAX)])
def test_what_has_no_use_or_no_draw_left_stays_in_stock(uses: int, draws: int) -> None:
    assert not is_free(LOT, ANEW, reclaimed(uses, draws))
