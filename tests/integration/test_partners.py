"""Sales, and what a partner's clients may do: act on what their own channels hold, and see nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from functions.domain.serials import serial_of
from tests.integration.kami import Caller, Json, Kami, granted, listed, refused, unique, visible

SALE: Json = {"price": {"amount_minor": 4_800, "currency": "CNY"}, "shop": "shop-12"}


@dataclass(frozen=True)
class Partners:
    """Two partners with a channel each: one holds places 0 to 3 of a batch, the other 4 to 7, nobody the rest."""

    kami: Kami
    one: Caller
    other: Caller
    channel: str
    others_channel: str
    batch: Json
    serials: list[str]


@pytest.fixture
def partners(kami: Kami) -> Partners:
    one, other = kami.client("partner"), kami.client("partner")
    channel, others = (str(kami.channel(kind="partner", tenant=caller.client_id)["id"]) for caller in (one, other))
    batch = kami.batch(kami.campaign()["id"], 10)
    serials = kami.serials(batch["id"])
    kami.distribute(to=channel, serials=serials[:4])
    kami.distribute(to=others, serials=serials[4:8])
    return Partners(kami, one, other, channel, others, batch, serials)


def activate(caller: Caller, sale: Json | None = None, key: str | None = None, **selection: Any) -> Any:
    return caller.post("/v1/activations", {"selection": selection, **({"sale": sale} if sale else {})}, key)


def unknown() -> str:
    """A serial that was never generated."""
    return serial_of(9_999_999 * 10_000)


# Sales


def test_an_activation_keeps_what_it_was_sold_for(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 4)
    made = granted(activate(kami.operator, SALE, batch=batch["id"]), 201)
    assert (made["activated"], made["sale"]) == (4, SALE)
    assert granted(kami.operator.get(f"/v1/activations/{made['id']}"))["sale"] == SALE
    line = granted(kami.operator.get(f"/v1/vouchers/{batch['first_serial']}/history"))["data"]
    kami.cloud.drain()
    line = granted(kami.operator.get(f"/v1/vouchers/{batch['first_serial']}/history"))["data"][-1]
    assert (line["event"], line["command"]) == ("activated", made["id"])


def test_the_same_key_with_another_price_is_refused(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 4)
    key = unique()
    granted(activate(kami.operator, SALE, key, batch=batch["id"]), 201)
    for sale in ({**SALE, "shop": "shop-13"}, {**SALE, "price": {"amount_minor": 1, "currency": "CNY"}}, None):
        refused(activate(kami.operator, sale, key, batch=batch["id"]), 422, "idempotency_key_reused")


def test_what_a_channel_holds_is_sold_and_stays_with_it(partners: Partners) -> None:
    kami, serials = partners.kami, partners.serials
    granted(activate(kami.operator, SALE, first_serial=serials[2], last_serial=serials[5]), 201)
    assert kami.stock(partners.channel)["counts"] == {"distributed": 2, "active": 2}
    assert kami.stock(partners.others_channel)["counts"] == {"distributed": 2, "active": 2}
    (code,) = kami.codes(serials[2:3])
    granted(kami.merchant.redeem(code), 201)
    assert granted(kami.operator.get(f"/v1/vouchers/{serials[2]}"))["channel"] == partners.channel


# What a partner sees


def test_a_partner_sees_its_own_channels_only(partners: Partners) -> None:
    shown = granted(partners.one.get("/v1/channels?limit=100"))["data"]
    assert [channel["id"] for channel in shown] == [partners.channel]
    assert partners.others_channel in listed(partners.kami, "/v1/channels?limit=100")
    assert granted(partners.one.get(f"/v1/channels/{partners.channel}"))["id"] == partners.channel
    assert granted(partners.one.get(f"/v1/channels/{partners.channel}/stock"))["counts"] == {"distributed": 4}
    for path in ("", "/stock"):
        others = partners.one.get(f"/v1/channels/{partners.others_channel}{path}")
        none = partners.one.get(f"/v1/channels/chn_none{path}")
        assert others.body.replace(partners.others_channel.encode(), b"chn_none") == none.body
        refused(others, 404, "not_found")


def test_a_partner_sees_its_own_orders_only(partners: Partners) -> None:
    mine = granted(activate(partners.one, SALE, serials=partners.serials[:1]), 201)["id"]
    assert granted(partners.one.get(f"/v1/activations/{mine}"))["activated"] == 1
    granted(partners.kami.operator.get(f"/v1/activations/{mine}"))
    assert visible(partners.other.get(f"/v1/activations/{mine}")) == visible(partners.other.get("/v1/activations/x"))
    returned = partners.one.post("/v1/distributions", {"selection": {"serials": partners.serials[1:2]},
                                                       "from": partners.channel})  # fmt: skip
    id = granted(returned, 201)["id"]
    refused(partners.other.get(f"/v1/distributions/{id}"), 404, "not_found")


# What a partner does


def test_a_partner_sells_and_returns_what_it_holds(partners: Partners) -> None:
    kami, serials = partners.kami, partners.serials
    sold = granted(activate(partners.one, SALE, serials=serials[:2]), 201)
    assert (sold["activated"], sold["sale"]) == (2, SALE)
    back = {"selection": {"first_serial": serials[0], "last_serial": serials[3]}, "from": partners.channel}
    returned = granted(partners.one.post("/v1/distributions", back), 201)
    assert (returned["distributed"], returned["skipped"]["by_reason"]) == (2, {"active": 2})
    assert list(kami.statuses(partners.batch["id"]).values())[:4] == ["active", "active", "generated", "generated"]


@pytest.mark.parametrize("how", ["sell", "return"])
def test_what_is_not_its_own_is_to_a_partner_as_if_it_did_not_exist(partners: Partners, how: str) -> None:
    kami, serials = partners.kami, partners.serials
    before = kami.items()
    (batch_id, lot) = partners.batch["id"], int(serials[0][:7])

    def order(selection: Json) -> Any:
        if how == "sell":
            return activate(partners.one, SALE, **selection)
        return partners.one.post("/v1/distributions", {"selection": selection, "from": partners.channel})

    none = order({"serials": [serials[0], unknown()]})
    for foreign in (serials[4], serials[8]):
        others = order({"serials": [serials[0], foreign]})
        assert json.loads(others.body.replace(foreign.encode(), unknown().encode())) == none.json()
        refused(others, 422, "unknown_serials")
    document = refused(order({"first_serial": serials[3], "last_serial": serials[9]}), 422, "unknown_serials")
    assert [error["value"] for error in document["errors"]] == [serials[4]]
    others_lot = int(kami.batch(kami.campaign()["id"], 1)["first_serial"][:7])
    before = kami.items()
    for selection, missing in (
        ({"batch": batch_id}, {"batch": "bat_none"}),
        ({"lot": others_lot}, {"lot": lot + 5_000}),
    ):
        texts = [order(each).body.decode() for each in (selection, missing)]
        (name,) = selection
        assert texts[0].replace(str(selection[name]), "X") == texts[1].replace(str(missing[name]), "X")
        refused(order(selection), 404, "not_found")
    assert kami.items() == before


def test_a_lot_is_to_a_partner_what_it_holds_of_it(partners: Partners) -> None:
    made = granted(activate(partners.one, SALE, lot=int(partners.serials[0][:7])), 201)
    assert (made["activated"], made["skipped"]["count"]) == (4, 0)
    assert list(partners.kami.statuses(partners.batch["id"]).values())[4:] == ["distributed"] * 4 + ["generated"] * 2


def test_a_partner_hands_nothing_out(partners: Partners) -> None:
    kami, own = partners.kami, {"serials": partners.serials[:1]}
    before = kami.items()
    for body in (
        {"selection": own, "to": partners.others_channel, "from": partners.channel},
        {"selection": own, "to": partners.channel},
        {"batch": partners.batch["id"], "quantity": 1, "from": partners.channel},
    ):
        refused(partners.one.post("/v1/distributions", body), 403, "insufficient_scope")
    refused(partners.one.post("/v1/channels", {"kind": "partner", "name": "mine"}), 403, "insufficient_scope")
    refused(partners.one.post("/v1/extensions", {"selection": own, "days": 1}), 403, "insufficient_scope")
    others = partners.one.post("/v1/distributions", {"selection": own, "from": partners.others_channel})
    none = partners.one.post("/v1/distributions", {"selection": own, "from": "chn_none"})
    refused(others, 404, "not_found")
    assert others.body.replace(partners.others_channel.encode(), b"chn_none") == none.body
    assert kami.items() == before


def test_clients_of_one_tenant_share_its_channels(kami: Kami) -> None:
    channel = kami.channel(kind="partner", tenant="platform-a")["id"]
    batch = kami.batch(kami.campaign()["id"], 2)
    kami.distribute(to=channel, batch=batch["id"])
    for serial in kami.serials(batch["id"]):
        caller = kami.client("partner", tenant="platform-a")
        assert granted(activate(caller, serials=[serial]), 201)["activated"] == 1
