"""Where batches go: no two share a voucher, and every lot keeps its limits."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.actor import By
from functions.domain.campaign import Batch, Campaign, allocate, with_batch
from functions.domain.codes import FORMATS
from functions.domain.errors import Refusal
from functions.domain.lot import PARTS_PER_LOT_MAX, Lot, Rules
from functions.domain.selection import Span
from functions.domain.serials import LOT_SIZE

BY = By("client", "operator", "operator", "192.0.2.1", "request")
quantities = st.integers(1, 30) | st.integers(2_000, LOT_SIZE) | st.integers(LOT_SIZE - 1, 3 * LOT_SIZE)


def campaign_of(name: str, id: str = "cmp_1") -> Campaign:
    rules = Rules(id, "recharge", 5_000, "CNY", "single", name)
    return Campaign(id, "n", rules, 2_000_000_000, "en", 1, "f", BY)


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
        campaigns[id] = replace(campaign, open_lot=place.open_lot)
        batch = Batch(f"bat_{number}", id, quantity, place.first, bytes([number]), "in_progress", 0, 1, "f", BY)
        spans.append(batch.span)
        for lot_number in batch.span.lots:
            lots[lot_number] = with_batch(lots.get(lot_number), lot_number, batch, campaign)
    assert all(one.last < other.first for one, other in pairwise(sorted(spans)))
    assert [span.size for span in spans] == [quantity for _, quantity in orders]
    assert set(lots) == set(range(FORMATS[name].lots.start, next_lot))
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
    opened = replace(campaign, open_lot=allocate(campaign, 10, stop - 1).open_lot)
    place = allocate(opened, 9_990, stop)
    assert (place.first, place.fresh_lots) == ((stop - 1) * LOT_SIZE + 10, 0)
