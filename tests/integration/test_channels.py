"""Channels, and what they hold: handed out, moved, returned, and shown as it is."""

from __future__ import annotations

from typing import Any

import pytest

from functions.domain.serials import LOT_SIZE, position_of, serial_of
from functions.domain.voucher import DAY_S
from tests.integration.conftest import Clock
from tests.integration.kami import Json, Kami, granted, listed, refused, replayed, unique


@pytest.fixture
def batch(kami: Kami) -> Json:
    """Ten vouchers in a lot of their own."""
    return kami.batch(kami.campaign()["id"], 10)


@pytest.fixture
def shop(kami: Kami) -> str:
    return str(kami.channel()["id"])


@pytest.fixture
def other(kami: Kami) -> str:
    return str(kami.channel(kind="online")["id"])


def nth(serial: str, by: int) -> str:
    position = position_of(serial)
    assert position is not None
    return serial_of(position + by)


def part(batch: Json, first: int, last: int) -> Json:
    """Places `first..last` of a batch as a selection."""
    return {"first_serial": nth(batch["first_serial"], first), "last_serial": nth(batch["first_serial"], last)}


def held(kami: Kami, channel: str) -> list[tuple[str, str, str]]:
    """What a channel's stock shows: first serial, last serial, status."""
    return [(r["first_serial"], r["last_serial"], r["status"]) for r in kami.stock(channel)["data"]]


def distribute(kami: Kami, **body: Any) -> Any:
    return kami.operator.post("/v1/distributions", body)


# Channels


def test_a_channel_is_created_once_and_read_back(kami: Kami) -> None:
    body = {"kind": "partner", "name": "平台 A", "region": "Guangdong", "tenant": "partner-a"}
    key = unique()
    first, again = (kami.operator.post("/v1/channels", body, key) for _ in range(2))
    channel = granted(first, 201)
    assert {name: channel[name] for name in body} == body
    assert (replayed(first), replayed(again)) == (False, True)
    assert again.body == first.body
    assert granted(kami.operator.get(f"/v1/channels/{channel['id']}")) == channel
    assert first.header("location") == f"/v1/channels/{channel['id']}"
    refused(kami.operator.post("/v1/channels", {**body, "region": "Hunan"}, key), 422, "idempotency_key_reused")


def test_channels_are_listed_newest_first(kami: Kami, clock: Clock) -> None:
    made = []
    for _ in range(5):
        clock.advance(DAY_S)
        made.append(kami.channel()["id"])
    assert listed(kami, "/v1/channels?limit=2")[:5] == made[::-1]


def test_an_unknown_channel_is_not_found_and_nothing_goes_to_it(kami: Kami, batch: Json, shop: str) -> None:
    refused(kami.operator.get("/v1/channels/chn_none"), 404, "not_found")
    refused(kami.operator.get("/v1/channels/chn_none/stock"), 404, "not_found")
    refused(kami.operator.get("/v1/distributions/dst_none"), 404, "not_found")
    before = kami.items()
    for ends in ({"to": "chn_none"}, {"from": "chn_none"}, {"from": shop, "to": "chn_none"}, {"from": "chn_none",
                                                                                              "to": shop}):  # fmt: skip
        refused(distribute(kami, selection={"batch": batch["id"]}, **ends), 404, "not_found")
        refused(distribute(kami, batch=batch["id"], quantity=1, **ends), 404, "not_found")
    assert kami.items() == before


def test_an_activation_is_no_distribution(kami: Kami, batch: Json, shop: str) -> None:
    distribution = kami.distribute(to=shop, batch=batch["id"])["id"]
    activation = kami.activate(batch=batch["id"])["id"]
    refused(kami.operator.get(f"/v1/activations/{distribution}"), 404, "not_found")
    refused(kami.operator.get(f"/v1/distributions/{activation}"), 404, "not_found")


# Out, on and back


def test_an_exact_range_goes_to_a_channel_on_to_another_and_back_to_stock(
    kami: Kami, batch: Json, shop: str, other: str
) -> None:
    first = batch["first_serial"]
    out = kami.distribute(to=shop, **part(batch, 2, 7))
    assert (out["status"], out["distributed"], out["skipped"]["count"], out["to"]) == ("completed", 6, 0, shop)
    assert "from" not in out
    assert held(kami, shop) == [(nth(first, 2), nth(first, 7), "distributed")]
    moved = kami.distribute(source=shop, to=other, **part(batch, 4, 5))
    assert (moved["distributed"], moved["from"], moved["to"]) == (2, shop, other)
    assert held(kami, shop) == [(nth(first, 2), nth(first, 3), "distributed"),
                                (nth(first, 6), nth(first, 7), "distributed")]  # fmt: skip
    assert held(kami, other) == [(nth(first, 4), nth(first, 5), "distributed")]
    back = kami.distribute(source=shop, **part(batch, 6, 7))
    assert (back["distributed"], back["from"]) == (2, shop)
    assert "to" not in back
    assert held(kami, shop) == [(nth(first, 2), nth(first, 3), "distributed")]
    statuses = list(kami.statuses(batch["id"]).values())
    assert statuses == ["generated"] * 2 + ["distributed"] * 4 + ["generated"] * 4
    assert granted(kami.operator.get(f"/v1/distributions/{back['id']}")) == back


def test_what_stands_elsewhere_is_skipped_with_its_reason(
    kami: Kami, batch: Json, shop: str, other: str, clock: Clock
) -> None:
    kami.distribute(to=shop, **part(batch, 0, 3))
    kami.distribute(to=other, **part(batch, 4, 5))
    kami.activate(**part(batch, 3, 3))
    kami.activate(**part(batch, 9, 9))
    out = kami.distribute(to=shop, batch=batch["id"])
    assert (out["distributed"], out["skipped"]["by_reason"]) == (3, {"already_held": 3, "active": 2, "held": 2})
    moved = kami.distribute(source=other, to=shop, batch=batch["id"])
    assert (moved["distributed"], moved["skipped"]["by_reason"]) == (2, {"already_held": 6, "active": 2})
    back = kami.distribute(source=other, batch=batch["id"])
    assert (back["distributed"], back["skipped"]["by_reason"]) == (0, {"held": 8, "active": 2})
    kami.distribute(source=shop, **part(batch, 0, 0))
    back = kami.distribute(source=shop, batch=batch["id"])
    assert (back["distributed"], back["skipped"]["by_reason"]) == (7, {"not_held": 1, "active": 2})


def test_what_has_expired_is_taken_back_but_not_handed_out(kami: Kami, shop: str, other: str, clock: Clock) -> None:
    batch = kami.batch(kami.campaign(valid_until="2030-01-01T00:00:00Z")["id"], 4)
    kami.distribute(to=shop, **part(batch, 0, 1))
    clock.now = 1_893_456_000  # 2030-01-01T00:00:00Z
    assert kami.distribute(to=shop, **part(batch, 2, 3))["skipped"]["by_reason"] == {"expired": 2}
    assert kami.distribute(source=shop, to=other, **part(batch, 0, 1))["skipped"]["by_reason"] == {"expired": 2}
    assert kami.distribute(source=shop, **part(batch, 0, 1))["distributed"] == 2


def test_what_is_recalled_goes_nowhere(kami: Kami, batch: Json, shop: str) -> None:
    kami.distribute(to=shop, **part(batch, 0, 4))
    granted(kami.operator.post("/v1/recoveries", kami.recovery(batch=batch["id"])), 202)
    for ends in ({"to": shop}, {"source": shop}):
        assert kami.distribute(**ends, batch=batch["id"])["skipped"]["by_reason"] == {"recalled": 10}
    kami.cloud.drain()
    assert kami.stock(shop)["counts"] == {"void": 5}


def test_what_is_being_reclaimed_waits_and_then_is_stock_again(kami: Kami, batch: Json, shop: str) -> None:
    kami.distribute(to=shop, batch=batch["id"])
    granted(kami.operator.post("/v1/recoveries", kami.recovery("reclaim", **part(batch, 0, 4))), 202)
    refused(distribute(kami, selection={"batch": batch["id"]}, to=shop), 409, "recovery_in_progress")
    kami.cloud.drain()
    assert kami.stock(shop)["counts"] == {"distributed": 5}
    assert kami.distribute(to=shop, batch=batch["id"])["distributed"] == 5


def test_a_repeat_is_the_same_distribution_whatever_has_become_of_its_vouchers(
    kami: Kami, batch: Json, shop: str, other: str
) -> None:
    key, body = unique(), {"batch": batch["id"], "quantity": 10, "to": shop}
    first = kami.operator.post("/v1/distributions", body, key)
    kami.distribute(source=shop, to=other, batch=batch["id"])
    refused(distribute(kami, **body), 409, "quantity_exceeded")
    before = kami.items()
    again = kami.operator.post("/v1/distributions", body, key)
    assert (again.status, replayed(again), again.body) == (201, True, first.body)
    refused(kami.operator.post("/v1/distributions", {**body, "to": other}, key), 422, "idempotency_key_reused")
    assert kami.items() == before


def test_a_range_over_several_lots_is_handed_out(kami: Kami, shop: str) -> None:
    batch = kami.batch(kami.campaign()["id"], 2 * LOT_SIZE + 1)
    out = kami.distribute(to=shop, **part(batch, LOT_SIZE - 1, 2 * LOT_SIZE))
    assert (out["distributed"], out["progress"]) == (LOT_SIZE + 2, {"lots_done": 3, "lots": 3})
    assert held(kami, shop) == [(nth(batch["first_serial"], LOT_SIZE - 1), batch["last_serial"], "distributed")]
    counts = granted(kami.operator.get(f"/v1/batches/{batch['id']}"))["counts"]
    assert counts == {"generated": LOT_SIZE - 1, "distributed": LOT_SIZE + 2}


def test_history_says_where_a_card_went_and_the_card_where_it_is(
    kami: Kami, batch: Json, shop: str, other: str
) -> None:
    out = kami.distribute(to=shop, batch=batch["id"])
    moved = kami.distribute(source=shop, to=other, batch=batch["id"])
    back = kami.distribute(source=other, **part(batch, 0, 0))
    serial = batch["first_serial"]
    lines = granted(kami.operator.get(f"/v1/vouchers/{serial}/history"))["data"]
    told = [(line["event"], line.get("command"), line.get("from"), line.get("to")) for line in lines[1:]]
    assert told == [
        ("distributed", out["id"], None, shop), ("distributed", moved["id"], shop, other),
        ("returned", back["id"], other, None),
    ]  # fmt: skip
    assert "channel" not in granted(kami.operator.get(f"/v1/vouchers/{serial}"))
    assert granted(kami.operator.get(f"/v1/vouchers/{nth(serial, 1)}"))["channel"] == other


# n of a batch


def test_the_first_that_can_be_had_are_picked(kami: Kami, batch: Json, shop: str, other: str) -> None:
    kami.distribute(to=other, **part(batch, 0, 1))
    kami.activate(**part(batch, 4, 4))
    made = granted(distribute(kami, batch=batch["id"], quantity=4, to=shop), 201)
    assert (made["distributed"], made["quantity"], made["skipped"]["count"]) == (4, 4, 0)
    kami.cloud.drain()
    first = batch["first_serial"]
    assert held(kami, shop) == [(nth(first, 2), nth(first, 3), "distributed"),
                                (nth(first, 5), nth(first, 6), "distributed")]  # fmt: skip
    document = refused(distribute(kami, batch=batch["id"], quantity=4, to=shop), 409, "quantity_exceeded")
    assert document["available"] == 3
    granted(distribute(kami, batch=batch["id"], quantity=3, to=shop), 201)
    picked = granted(distribute(kami, batch=batch["id"], quantity=2, **{"from": shop, "to": other}), 201)
    assert picked["distributed"] == 2
    kami.cloud.drain()
    assert held(kami, other) == [(first, nth(first, 3), "distributed")]


def test_picking_goes_on_over_lots(kami: Kami, shop: str, other: str) -> None:
    batch = kami.batch(kami.campaign()["id"], 3 * LOT_SIZE)
    kami.distribute(to=other, **part(batch, 5, LOT_SIZE + 4))
    made = granted(distribute(kami, batch=batch["id"], quantity=LOT_SIZE + 5, to=shop), 201)
    assert made["distributed"] == LOT_SIZE + 5
    kami.cloud.drain()
    first = batch["first_serial"]
    assert held(kami, shop) == [(first, nth(first, 4), "distributed"),
                                (nth(first, LOT_SIZE + 5), nth(first, 2 * LOT_SIZE + 4), "distributed")]  # fmt: skip


def test_a_batch_that_shares_its_lot_is_picked_from_alone(kami: Kami, shop: str) -> None:
    campaign = kami.campaign()["id"]
    left, middle, right = (kami.batch(campaign, 4) for _ in range(3))
    document = refused(distribute(kami, batch=middle["id"], quantity=5, to=shop), 409, "quantity_exceeded")
    assert document["available"] == 4
    granted(distribute(kami, batch=middle["id"], quantity=4, to=shop), 201)
    assert {*kami.statuses(left["id"]).values(), *kami.statuses(right["id"]).values()} == {"generated"}


def test_an_unknown_batch_is_not_found(kami: Kami, shop: str) -> None:
    refused(distribute(kami, batch="bat_none", quantity=1, to=shop), 404, "not_found")


# The cap


def test_a_lot_that_cannot_be_cut_further_is_left_as_it_is(
    kami: Kami, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole segments still go; nothing is written for what does not."""
    for module in ("functions.store.ranges", "functions.domain.channel"):
        monkeypatch.setattr(f"{module}.SEGMENTS_HELD_MAX", 4)
    batch = kami.batch(kami.campaign()["id"], 10)
    for place in (0, 2):
        assert kami.distribute(to=shop, **part(batch, place, place))["distributed"] == 1
    out = kami.distribute(to=shop, **part(batch, 5, 6))
    assert (out["distributed"], out["skipped"]["by_reason"]) == (0, {"lot_fragmented": 2})
    (line,) = granted(kami.operator.get(f"/v1/vouchers/{nth(batch['first_serial'], 5)}/history"))["data"]
    assert line["event"] == "generated"
    document = refused(distribute(kami, batch=batch["id"], quantity=9, to=shop), 409, "quantity_exceeded")
    assert document["available"] == 8
    picked = granted(distribute(kami, batch=batch["id"], quantity=8, to=shop), 201)
    assert (picked["distributed"], picked["skipped"]["count"]) == (8, 0)


def test_small_packs_go_to_many_shops(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a lot takes; then its rest goes only as a whole, and picking goes on in the next lot."""
    packs = 6
    for module in ("functions.store.ranges", "functions.domain.channel"):
        monkeypatch.setattr(f"{module}.SEGMENTS_HELD_MAX", packs)
    batch = kami.batch(kami.campaign()["id"], LOT_SIZE + 100)
    shops = [kami.channel()["id"] for _ in range(2)]
    for n in range(packs):
        granted(distribute(kami, batch=batch["id"], quantity=100, to=shops[n % 2]), 201)
    kami.cloud.drain()
    counts = [kami.stock(shop)["counts"] for shop in shops]
    assert [count["distributed"] for count in counts] == [packs * 50] * 2
    assert held(kami, shops[1])[-1] == (nth(batch["first_serial"], LOT_SIZE), batch["last_serial"], "distributed")
    item = next(item for (pk, _), item in kami.items().items() if pk == f"LOT#{batch['first_serial'][:7]}")
    assert len(item["segments"]["L"]) == packs


# Stock


def test_stock_counts_what_became_of_what_a_channel_holds(kami: Kami, shop: str, other: str) -> None:
    batch = kami.batch(kami.campaign()["id"], 20)
    kami.distribute(to=shop, **part(batch, 0, 9))
    kami.distribute(to=other, **part(batch, 10, 14))
    kami.activate(**part(batch, 5, 12))
    codes = kami.codes(kami.serials(batch["id"])[5:14])
    for code in (codes[0], codes[1], codes[6]):
        granted(kami.merchant.redeem(code), 201)
    kami.cloud.drain()
    assert kami.stock(shop)["counts"] == {"distributed": 5, "active": 3, "redeemed": 2}
    assert kami.stock(other)["counts"] == {"distributed": 2, "active": 2, "redeemed": 1}
    first = batch["first_serial"]
    assert held(kami, shop) == [(first, nth(first, 4), "distributed"), (nth(first, 5), nth(first, 9), "active")]


def test_an_empty_channel_holds_nothing(kami: Kami, batch: Json, shop: str) -> None:
    empty = kami.stock(shop)
    assert (empty["data"], empty["counts"], empty["channel"]) == ([], {}, shop)
    kami.distribute(to=shop, batch=batch["id"])
    kami.distribute(source=shop, batch=batch["id"])
    assert (kami.stock(shop)["data"], kami.stock(shop)["counts"]) == ([], {})


def test_stock_is_paged_by_lots_and_alike_neighbours_are_one_range(kami: Kami, shop: str) -> None:
    batch = kami.batch(kami.campaign()["id"], 4 * LOT_SIZE)
    kami.distribute(to=shop, batch=batch["id"])
    kami.distribute(source=shop, **part(batch, LOT_SIZE, 2 * LOT_SIZE - 1))
    first = batch["first_serial"]
    whole = kami.stock(shop)["data"]
    assert [(r["first_serial"], r["last_serial"], r["quantity"]) for r in whole] == [
        (first, nth(first, LOT_SIZE - 1), LOT_SIZE), (nth(first, 2 * LOT_SIZE), batch["last_serial"], 2 * LOT_SIZE)
    ]  # fmt: skip
    page, seen = kami.stock(shop, "?limit=1"), 0
    assert page["counts"] == {"distributed": 3 * LOT_SIZE}
    for _ in range(4):
        seen += sum(r["quantity"] for r in page["data"])
        if "next_cursor" not in page:
            break
        page = kami.stock(shop, f"?limit=1&cursor={page['next_cursor']}")
        assert "counts" not in page
    assert seen == 3 * LOT_SIZE


def test_stock_shows_when_it_ends(kami: Kami, shop: str, clock: Clock) -> None:
    batch = kami.batch(kami.campaign(valid_until="2030-01-01T00:00:00Z")["id"], 4)
    kami.distribute(to=shop, batch=batch["id"])
    assert [r["valid_until"] for r in kami.stock(shop)["data"]] == ["2030-01-01T00:00:00Z"]
    clock.now = 1_893_456_000  # 2030-01-01T00:00:00Z
    kami.activate(batch=batch["id"])
    assert (held(kami, shop)[0][2], kami.stock(shop)["counts"]) == ("distributed", {"distributed": 4})
