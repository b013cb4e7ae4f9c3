"""POST and GET /v1/dispenses: the next codes of a campaign, each to one buyer only."""

from __future__ import annotations

import pytest

from functions.domain.serials import LOT_SIZE
from tests.integration.conftest import Clock, Log
from tests.integration.kami import Json, Kami, granted, refused, replayed, unique, vetoed

DAY_S = 86_400


@pytest.fixture
def no_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recoveries do not wait here: their fence is proved elsewhere."""
    monkeypatch.setattr("functions.recover.service.FENCE_S", 0)


def stocked(kami: Kami, quantity: int, **campaign: object) -> Json:
    """A campaign with a batch of so many."""
    made = kami.campaign(**campaign)
    kami.batch(made["id"], quantity)
    return made


def order(campaign: Json, quantity: int = 1, **more: object) -> Json:
    return {"campaign": campaign["id"], "quantity": quantity, **more}


def serials(dispense: Json) -> set[str]:
    return {line["serial"] for line in dispense["data"]}


def test_a_buyer_gets_codes_that_work_at_once(kami: Kami) -> None:
    campaign = stocked(kami, 10)
    answer = kami.operator.post("/v1/dispenses", order(campaign, 3, buyer="order-1"), unique())
    made = granted(answer, 201)
    assert (made["campaign"], made["quantity"], made["buyer"], len(made["data"])) == (campaign["id"], 3, "order-1", 3)
    assert not replayed(answer)
    assert len(serials(made)) == 3
    assert [line["code"] for line in made["data"]] == kami.codes([line["serial"] for line in made["data"]])
    for line in made["data"]:
        redeemed = granted(kami.merchant.redeem(line["code"]), 201)
        assert redeemed["serial"] == line["serial"]


def test_a_dispense_is_read_without_its_codes(kami: Kami) -> None:
    answer = kami.operator.post("/v1/dispenses", order(stocked(kami, 3), 2), unique())
    made = granted(answer, 201)
    assert answer.header("location") == f"/v1/dispenses/{made['id']}"
    read = granted(kami.operator.get(f"/v1/dispenses/{made['id']}"))
    assert read == {**made, "data": [{"serial": line["serial"]} for line in made["data"]]}
    refused(kami.operator.get("/v1/dispenses/dsp_none"), 404, "not_found")


@pytest.mark.usefixtures("no_fence")
def test_a_repeat_gets_the_same_codes_whatever_has_become_of_them(kami: Kami, clock: Clock) -> None:
    campaign, key = stocked(kami, 3), unique()
    first = granted(kami.operator.post("/v1/dispenses", order(campaign, 2), key), 201)
    granted(kami.merchant.redeem(first["data"][0]["code"]), 201)
    clock.advance(400 * DAY_S)
    kami.operator.post("/v1/recoveries", kami.recovery("reclaim", serials=sorted(serials(first))))
    kami.cloud.drain()
    again = kami.operator.post("/v1/dispenses", order(campaign, 2), key)
    assert replayed(again)
    assert granted(again, 201) == first


def test_a_key_is_good_for_one_order(kami: Kami) -> None:
    campaign, key = stocked(kami, 5), unique()
    granted(kami.operator.post("/v1/dispenses", order(campaign, 1), key), 201)
    for other in (order(campaign, 2), order(campaign, 1, buyer="other"), order(stocked(kami, 1))):
        refused(kami.operator.post("/v1/dispenses", other, key), 422, "idempotency_key_reused")


def test_when_stock_ends_nothing_is_taken(kami: Kami) -> None:
    campaign = stocked(kami, 5)
    granted(kami.operator.post("/v1/dispenses", order(campaign, 3), unique()), 201)
    key = unique()
    problem = refused(kami.operator.post("/v1/dispenses", order(campaign, 3), key), 409, "quantity_exceeded")
    assert problem["available"] == 2
    assert len(serials(granted(kami.operator.post("/v1/dispenses", order(campaign, 2), unique()), 201))) == 2
    refused(kami.operator.post("/v1/dispenses", order(campaign, 3), key), 409, "quantity_exceeded")
    kami.batch(campaign["id"], 3)
    granted(kami.operator.post("/v1/dispenses", order(campaign, 3), key), 201)


def test_a_campaign_without_stock_has_nothing_to_give(kami: Kami) -> None:
    problem = refused(kami.operator.post("/v1/dispenses", order(kami.campaign()), unique()), 409, "quantity_exceeded")
    assert problem["available"] == 0
    refused(kami.operator.post("/v1/dispenses", {"campaign": "cmp_none", "quantity": 1}, unique()), 404, "not_found")


def test_many_small_batches_and_several_lots_are_one_stock(kami: Kami) -> None:
    campaign = kami.campaign()
    for quantity in (3, 2, LOT_SIZE + 2, 1):
        kami.batch(campaign["id"], quantity)
    seen: set[str] = set()
    for _ in range(3):
        seen |= serials(granted(kami.operator.post("/v1/dispenses", order(campaign, 100), unique()), 201))
    assert len(seen) == 300


@pytest.mark.usefixtures("no_fence")
def test_bought_codes_are_handed_out_alike_and_never_twice(kami: Kami) -> None:
    """An imported code is the same after a reclaim: who has seen it might use it, so nobody gets it again."""
    campaign = kami.campaign(code_format="imported")
    bought = [f"BOUGHT-{unique()}" for _ in range(3)]
    kami.imported(campaign["id"], "\n".join(bought).encode())
    key = unique()
    first = granted(kami.operator.post("/v1/dispenses", order(campaign, 2), key), 201)
    assert {line["code"] for line in first["data"]} < set(bought)
    assert granted(kami.operator.post("/v1/dispenses", order(campaign, 2), key), 201) == first
    kami.operator.post("/v1/recoveries", kami.recovery("reclaim", serials=[first["data"][1]["serial"]]))
    kami.cloud.drain()
    refused(kami.operator.post("/v1/dispenses", order(campaign, 2), unique()), 409, "quantity_exceeded")
    (last,) = granted(kami.operator.post("/v1/dispenses", order(campaign, 1), unique()), 201)["data"]
    assert last["code"] in set(bought) - {line["code"] for line in first["data"]}


def test_what_was_sold_held_recalled_or_is_over_is_not_handed_out(kami: Kami) -> None:
    campaign = kami.campaign()
    batch = kami.batch(campaign["id"], 10)
    every = kami.serials(batch["id"])
    sale = {"price": {"amount_minor": 5_000, "currency": "CNY"}, "shop": "shop-1"}
    granted(kami.operator.post("/v1/activations", {"selection": {"serials": every[:2]}, "sale": sale}), 201)
    kami.activate(serials=every[2:4])
    kami.distribute(to=kami.channel()["id"], serials=every[4:6])
    granted(kami.operator.post("/v1/recoveries", kami.recovery("reclaim", serials=every[6:8])), 202)
    problem = refused(kami.operator.post("/v1/dispenses", order(campaign, 5), unique()), 409, "quantity_exceeded")
    assert problem["available"] == 4
    made = granted(kami.operator.post("/v1/dispenses", order(campaign, 4), unique()), 201)
    assert serials(made) == {*every[2:4], *every[8:]}
    suspended = kami.campaign()
    serial = kami.serials(kami.batch(suspended["id"], 1)["id"])[0]
    kami.rewrite(serial, vetoed("suspend"))
    refused(kami.operator.post("/v1/dispenses", order(suspended, 1), unique()), 409, "quantity_exceeded")


@pytest.mark.usefixtures("no_fence")
def test_what_was_returned_or_reclaimed_is_handed_out_again(kami: Kami) -> None:
    campaign, shop = kami.campaign(), kami.channel()["id"]
    batch = kami.batch(campaign["id"], 4)
    every = kami.serials(batch["id"])
    kami.distribute(to=shop, serials=every[:1])
    first = granted(kami.operator.post("/v1/dispenses", order(campaign, 3), unique()), 201)
    refused(kami.operator.post("/v1/dispenses", order(campaign), unique()), 409, "quantity_exceeded")
    kami.distribute(source=shop, serials=every[:1])
    granted(kami.operator.post("/v1/dispenses", order(campaign), unique()), 201)
    refused(kami.operator.post("/v1/dispenses", order(campaign), unique()), 409, "quantity_exceeded")
    code = first["data"][0]["code"]
    granted(kami.operator.post("/v1/recoveries", kami.recovery("reclaim", serials=[first["data"][0]["serial"]])), 202)
    refused(kami.operator.post("/v1/dispenses", order(campaign), unique()), 409, "quantity_exceeded")
    kami.cloud.drain()
    (line,) = granted(kami.operator.post("/v1/dispenses", order(campaign), unique()), 201)["data"]
    assert line["serial"] == first["data"][0]["serial"]
    assert line["code"] != code
    refused(kami.merchant.redeem(code), 404, "voucher_not_redeemable")
    granted(kami.merchant.redeem(line["code"]), 201)


@pytest.mark.usefixtures("no_fence")
def test_a_reclaim_of_what_was_not_sold_leaves_alone_what_was_dispensed(kami: Kami) -> None:
    campaign = stocked(kami, 4)
    made = granted(kami.operator.post("/v1/dispenses", order(campaign, 2), unique()), 201)
    ends = {"first_serial": min(serials(made)), "last_serial": max(serials(made))}
    body = kami.recovery("reclaim", **ends) | {"only": "not_activated"}
    id = granted(kami.operator.post("/v1/recoveries", body), 202)["id"]
    kami.cloud.drain()
    report = granted(kami.operator.get(f"/v1/recoveries/{id}"))
    assert report["skipped"]["by_reason"] == {"active": 2}
    assert granted(kami.operator.post("/v1/dispenses", order(campaign, 2), unique()), 201)["quantity"] == 2
    granted(kami.merchant.redeem(made["data"][0]["code"]), 201)


def test_validity_counts_from_the_sale(kami: Kami, clock: Clock) -> None:
    campaign = stocked(kami, 1, valid_until=None, valid_days_after_activation=30)
    clock.advance(100 * DAY_S)
    made = granted(kami.operator.post("/v1/dispenses", order(campaign), unique()), 201)
    clock.advance(30 * DAY_S - 1)
    assert granted(kami.merchant.verify(made["data"][0]["code"]))["redeemable"]
    clock.advance(1)
    refused(kami.merchant.redeem(made["data"][0]["code"]), 410, "voucher_expired")


def test_a_partner_dispenses_what_its_own_channel_holds(kami: Kami) -> None:
    partner, other = kami.client("partner"), kami.client("partner")
    channel = kami.channel(kind="partner", tenant=partner.client_id)["id"]
    campaign = kami.campaign()
    every = kami.serials(kami.batch(campaign["id"], 6)["id"])
    kami.distribute(to=channel, serials=every[:4])
    kami.activate(serials=every[:1])
    problem = refused(partner.post("/v1/dispenses", order(campaign), unique()), 400, "invalid_request")
    assert problem["errors"] == [{"field": "channel", "detail": "name one of your channels"}]
    refused(other.post("/v1/dispenses", order(campaign, channel=channel), unique()), 404, "not_found")
    key = unique()
    made = granted(partner.post("/v1/dispenses", order(campaign, 3, channel=channel), key), 201)
    assert serials(made) == set(every[1:4])
    refused(partner.post("/v1/dispenses", order(campaign, channel=channel), unique()), 409, "quantity_exceeded")
    assert granted(partner.post("/v1/dispenses", order(campaign, 3, channel=channel), key), 201) == made
    granted(partner.get(f"/v1/dispenses/{made['id']}"))
    refused(other.get(f"/v1/dispenses/{made['id']}"), 404, "not_found")
    assert serials(granted(kami.operator.post("/v1/dispenses", order(campaign, 2), unique()), 201)) == set(every[4:])


def test_low_stock_is_told_once_until_there_is_more(kami: Kami, log: Log) -> None:
    campaign = stocked(kami, 10, low_stock=5)

    def alarms() -> list[Json]:
        return [line for line in log.lines if line.get("alarm") == "stock_low"]

    granted(kami.operator.post("/v1/dispenses", order(campaign, 5), unique()), 201)
    assert alarms() == []
    granted(kami.operator.post("/v1/dispenses", order(campaign, 1), unique()), 201)
    (alarm,) = alarms()
    assert (alarm["campaign"], alarm["left"]) == (campaign["id"], 4)
    granted(kami.operator.post("/v1/dispenses", order(campaign, 4), unique()), 201)
    refused(kami.operator.post("/v1/dispenses", order(campaign, 1), unique()), 409, "quantity_exceeded")
    assert len(alarms()) == 1
    kami.batch(campaign["id"], 8)
    kami.batch(campaign["id"], 3)
    granted(kami.operator.post("/v1/dispenses", order(campaign, 6), unique()), 201)
    assert len(alarms()) == 1
    granted(kami.operator.post("/v1/dispenses", order(campaign, 1), unique()), 201)
    assert [line["left"] for line in alarms()] == [4, 4]


def test_it_is_in_the_history_and_in_the_counts(kami: Kami) -> None:
    campaign = kami.campaign()
    batch = kami.batch(campaign["id"], 3)["id"]
    made = granted(kami.operator.post("/v1/dispenses", order(campaign), unique()), 201)
    kami.cloud.drain()
    (line,) = made["data"]
    history = granted(kami.operator.get(f"/v1/vouchers/{line['serial']}/history"))["data"]
    assert [each["event"] for each in history] == ["generated", "dispensed"]
    assert granted(kami.operator.get(f"/v1/batches/{batch}"))["counts"] == {"generated": 2, "active": 1}
