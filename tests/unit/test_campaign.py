"""Where batches go: no two share a voucher, and every lot keeps its limits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.actor import By
from functions.domain.campaign import (
    EXPECTED_HITS_A_DAY_MAX,
    QUANTITY_MAX_DEFAULT,
    WRONG_CODES_PER_LOT_AND_HOUR_MIN,
    Batch,
    Campaign,
    allocate,
    expected_hits_a_day,
    lots_of,
    quantity_max_of,
    refuse_unsafe,
    with_batch,
)
from functions.domain.errors import Refusal
from functions.domain.formats import FORMATS
from functions.domain.lot import PARTS_PER_LOT_MAX, WRONG_CODES_PER_LOT_AND_HOUR_MAX, Lot, Rules
from functions.domain.selection import Span
from functions.domain.serials import LOT_SIZE
from functions.store.guards import LIMITS

BY = By("client", "operator", "operator", "192.0.2.1", "request")
quantities = st.integers(1, 30) | st.integers(2_000, LOT_SIZE) | st.integers(LOT_SIZE - 1, 3 * LOT_SIZE)


def rules_of(name: str, id: str = "cmp_1", **changes: Any) -> Rules:
    return Rules(id, "recharge", 5_000, "CNY", "single", name, **changes)


def campaign_of(name: str, id: str = "cmp_1", quantity_max: int | None = None) -> Campaign:
    return Campaign(id, "n", rules_of(name, id), 2_000_000_000, "en", 1, "f", BY, quantity_max=quantity_max)


@given(st.lists(st.tuples(st.sampled_from("ab"), quantities), min_size=1, max_size=12), st.sampled_from(list(FORMATS)))
def test_batches_of_any_sizes_never_overlap_and_fill_lots_within_their_limits(
    orders: list[tuple[str, int]], name: str
) -> None:
    """Two campaigns of one format draw from the same numbers."""
    campaigns = {id: campaign_of(name, id) for id in "ab"}
    next_lot = FORMATS[name].lots.start
    spans: list[Span] = []
    lots: dict[int, Lot] = {}
    for number, (id, quantity) in enumerate(orders):
        campaign = campaigns[id]
        place = allocate(campaign, quantity, next_lot)
        next_lot += place.fresh_lots
        campaigns[id] = place.campaign
        batch = Batch(f"bat_{number}", id, quantity, place.first, bytes([number]), "in_progress", 0, 1, "f", BY)
        spans.append(batch.span)
        for lot_number in batch.span.lots:
            lots[lot_number] = with_batch(lots.get(lot_number), lot_number, batch, campaign)
    assert all(one.last < other.first for one, other in pairwise(sorted(spans)))
    assert [span.size for span in spans] == [quantity for _, quantity in orders]
    assert set(lots) == set(range(FORMATS[name].lots.start, next_lot))
    assert sum(campaign.lots for campaign in campaigns.values()) == len(lots)
    for id, campaign in campaigns.items():
        assert campaign.quantity == sum(quantity for of, quantity in orders if of == id)
        assert campaign.version == sum(of == id for of, _ in orders)
    for lot in lots.values():
        assert len({lot.rules.campaign, *(orders[int(p.batch[4:])][0] for p in lot.parts)}) == 1
        assert len(lot.parts) <= PARTS_PER_LOT_MAX
        assert sum(len(s) for s in lot.segments) == sum(p.last - p.first + 1 for p in lot.parts)
        assert {s.valid_until for s in lot.segments} == {2_000_000_000}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_gives_its_last_voucher_and_not_one_more(name: str) -> None:
    lots = FORMATS[name].lots
    assert allocate(campaign_of(name), LOT_SIZE, lots.stop - 1).fresh_lots == 1
    with pytest.raises(Refusal) as refused:
        allocate(campaign_of(name), LOT_SIZE + 1, lots.stop - 1)
    assert (refused.value.key, refused.value.extra) == ("quantity_exceeded", {"available": LOT_SIZE})
    with pytest.raises(Refusal) as refused:
        allocate(campaign_of(name), 1, lots.stop)
    assert refused.value.extra == {"available": 0}


def test_the_last_open_lot_still_takes_a_small_batch_when_the_format_is_used_up() -> None:
    campaign = campaign_of("digits20")
    stop = FORMATS["digits20"].lots.stop
    opened = allocate(campaign, 10, stop - 1).campaign
    place = allocate(opened, 9_990, stop)
    assert (place.first, place.fresh_lots) == ((stop - 1) * LOT_SIZE + 10, 0)


def test_a_campaign_gives_its_last_voucher_and_not_one_more() -> None:
    campaign = allocate(campaign_of("crockford16", quantity_max=12_000), 5_000, 100_000).campaign
    with pytest.raises(Refusal) as refused:
        allocate(campaign, 7_001, 100_001)
    assert (refused.value.key, refused.value.extra) == ("quantity_exceeded", {"available": 7_000})
    full = allocate(campaign, 7_000, 100_001).campaign
    assert (full.quantity, full.lots) == (12_000, 2)
    with pytest.raises(Refusal) as refused:
        allocate(full, 1, 100_002)
    assert refused.value.extra == {"available": 0}


# Expected hits


def test_the_expected_hits_a_day_are_odds_by_lots_by_what_breakers_let_through() -> None:
    limit = LIMITS["lot"]
    guesses = 416 * limit.wrong_max * 24 * 3_600 / limit.window_s
    assert expected_hits_a_day(rules_of("mobile18"), 416) == pytest.approx(1e-9 * guesses)


def test_a_campaign_that_states_no_size_is_as_large_as_its_format_allows_below_the_floor() -> None:
    assert {name: quantity_max_of(rules_of(name)) for name in FORMATS} == {
        "crockford16": QUANTITY_MAX_DEFAULT,
        "digits20": 416_660_000,
        "imported": QUANTITY_MAX_DEFAULT,
        "unicom19": 41_660_000,
        "mobile18": 4_160_000,
        "telecom18": 4_160_000,
    }
    strict = rules_of("mobile18", wrong_codes_per_lot_and_hour=WRONG_CODES_PER_LOT_AND_HOUR_MIN)
    assert quantity_max_of(strict) == 416_660_000


@given(
    st.sampled_from(list(FORMATS)),
    st.integers(WRONG_CODES_PER_LOT_AND_HOUR_MIN, WRONG_CODES_PER_LOT_AND_HOUR_MAX),
    st.integers(1, 10**11),
)
def test_a_campaign_is_refused_above_the_floor_and_only_there(name: str, wrong: int, quantity: int) -> None:
    rules = rules_of(name, wrong_codes_per_lot_and_hour=wrong)
    refuse_unsafe(rules, quantity_max_of(rules))
    hits = expected_hits_a_day(rules, lots_of(quantity))
    too_many = quantity > FORMATS[name].capacity
    if not too_many and hits <= EXPECTED_HITS_A_DAY_MAX:
        refuse_unsafe(rules, quantity)
    else:
        with pytest.raises(Refusal, match="quantity_exceeded" if too_many else "guessing_too_likely"):
            refuse_unsafe(rules, quantity)


def test_the_refusal_gives_the_arithmetic_and_what_would_do() -> None:
    with pytest.raises(Refusal) as refused:
        refuse_unsafe(rules_of("mobile18"), 100_000_000)
    assert refused.value.detail == (
        "mobile18: 1e-09 a guess × 10,000 lots × 1,000 wrong codes a lot and hour × 24 hours = "
        "0.24 expected hits a day; at most 0.01 are allowed. To pass, choose a format with better odds, "
        "or plan for at most 4,160,000 vouchers, or let at most 41 wrong codes a lot and hour through."
    )
    assert refused.value.extra == {"expected_hits_a_day": pytest.approx(0.24)}
    refuse_unsafe(rules_of("mobile18", wrong_codes_per_lot_and_hour=41), 100_000_000)


def test_many_small_batches_do_not_spread_a_campaign_over_more_lots_than_the_floor_allows() -> None:
    campaign, next_lot, lots = campaign_of("mobile18"), FORMATS["mobile18"].lots.start, 416
    for _ in range(lots * PARTS_PER_LOT_MAX):
        place = allocate(campaign, 1, next_lot)
        campaign, next_lot = place.campaign, next_lot + place.fresh_lots
    assert campaign.lots == lots
    with pytest.raises(Refusal, match="guessing_too_likely"):
        allocate(campaign, 1, next_lot)
