"""The ledger: a line for each movement, once; a used card set back to unused in the table moves no value again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from functions.domain.serials import position_of
from functions.store import keys
from tests.integration.conftest import Log
from tests.integration.kami import Json, Kami, Voucher, granted, refused, unique
from tests.integration.test_jobs import invoke, queued


@pytest.fixture(autouse=True)
def settled(kami: Kami) -> Iterator[None]:
    """What is under way when a test begins or ends has been followed."""
    kami.cloud.drain()
    yield
    kami.cloud.drain()


def book(kami: Kami, serial: str) -> list[Json]:
    """The accounts of a voucher, by generation."""
    accounts: list[Json] = granted(kami.operator.get(f"/v1/vouchers/{serial}/ledger"))["accounts"]
    return accounts


def entered(account: Json) -> list[tuple[str, int, int]]:
    return [(line["kind"], line["amount_minor"], line["balance_minor"]) for line in account["lines"]]


def on_bus(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> list[Json]:
    """The ledger's events from now on."""
    told: list[Json] = []
    publish = kami.cloud.client("events").put_events
    seen: set[str] = set()

    def kept(**call: Any) -> Any:
        for entry in call["Entries"]:
            event = json.loads(entry["Detail"])
            if event["type"].startswith("ledger.") and event["id"] not in seen:
                seen.add(event["id"])
                told.append(event)
        return publish(**call)

    bus = SimpleNamespace(put_events=kept)
    monkeypatch.setattr("functions.store.bus.client", lambda service: bus)
    return told


def put_back(kami: Kami, item: Json) -> None:
    """Write an item as it was, past all of Kami, as somebody with the rights to the table could."""
    kami.cloud.client("dynamodb").put_item(TableName=kami.cloud.stack.tables[0], Item=item)


def item(kami: Kami, voucher: Voucher) -> Json:
    position = position_of(voucher.serial)
    assert position is not None
    return kami.items()[keys.voucher(position)]


def test_each_movement_has_one_line_with_the_balance_after_it(kami: Kami) -> None:
    voucher = kami.voucher(redemption="balance")
    assert book(kami, voucher.serial) == []
    granted(kami.merchant.redeem(voucher.code, amount_minor=3_000), 201)
    back = granted(kami.merchant.redeem(voucher.code, amount_minor=1_500), 201)
    granted(kami.merchant.reverse(back["id"]), 201)
    hold = granted(kami.merchant.post("/v1/holds", {"code": voucher.code, "amount_minor": 2_000}, unique()), 201)
    account = {"account": {"type": "mobile", "number": "+8613812345678"}}
    granted(kami.merchant.post(f"/v1/holds/{hold['id']}/captures", account, unique()), 201)
    kami.cloud.drain(twice=True, shuffle=3)
    kami.cloud.replay()
    kami.cloud.drain(shuffle=4)
    (found,) = book(kami, voucher.serial)
    assert (found["generation"], found["currency"], found["opened_minor"]) == (1, "CNY", 5_000)
    assert (found["balance_minor"], found["waiting"], found["disputes"]) == (0, [], [])
    assert sorted((kind, amount) for kind, amount, _ in entered(found)) == [
        ("redeemed", 1_500), ("redeemed", 2_000), ("redeemed", 3_000), ("reversed", 1_500),
    ]  # fmt: skip
    assert found["lines"][-1]["balance_minor"] == 0


def test_a_reclaimed_card_has_a_new_account_in_its_new_generation(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.recover.service.FENCE_S", 0)
    voucher = kami.voucher(redemption="balance")
    granted(kami.merchant.redeem(voucher.code, amount_minor=3_000), 201)
    kami.cloud.drain()
    granted(kami.operator.post("/v1/recoveries", kami.recovery("reclaim", serials=[voucher.serial])), 202)
    kami.cloud.drain()
    kami.activate(serials=[voucher.serial])
    granted(kami.merchant.redeem(kami.codes([voucher.serial])[0]), 201)
    kami.cloud.drain()
    first, second = book(kami, voucher.serial)
    assert (first["generation"], first["balance_minor"]) == (1, 2_000)
    assert (second["generation"], second["balance_minor"]) == (2, 0)


def test_a_used_card_set_back_to_unused_moves_no_value_a_second_time(
    kami: Kami, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """Its code is accepted, for its item says so; but nothing is posted, and people are called."""
    told = on_bus(kami, monkeypatch)
    voucher = kami.voucher(redemption="balance")
    granted(kami.merchant.redeem(voucher.code, amount_minor=1), 201)
    kami.cloud.drain()
    unused = item(kami, voucher)
    first = granted(kami.merchant.redeem(voucher.code), 201)
    kami.cloud.drain()
    assert [event["data"]["redemption"] for event in told[1:]] == [first["id"]]
    put_back(kami, unused)
    second = granted(kami.merchant.redeem(voucher.code), 201)
    assert second["amount_minor"] == 4_999
    kami.cloud.drain()
    *_, last = told
    assert (last["type"], last["data"]["redemption"], last["data"]["reason"]) == (
        "ledger.disputed", second["id"], "overdrawn",
    )  # fmt: skip
    posted = [event["data"] for event in told if event["type"] == "ledger.posted"]
    assert second["id"] not in [data["redemption"] for data in posted]
    assert sum(data["amount_minor"] for data in posted) == 5_000
    assert "ledger_disputed" in [line.get("alarm") for line in log.lines]
    (account,) = book(kami, voucher.serial)
    assert [(w["redemption"], w["disputed"]) for w in account["waiting"]] == [(second["id"], True)]
    assert [d["reason"] for d in account["disputes"]] == ["overdrawn"]


def test_the_same_redemption_made_again_after_it_was_taken_out_of_the_table_is_not_posted_again(
    kami: Kami, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the same key it even has the same id, and its event has the same id as the first one's."""
    voucher = kami.voucher()
    granted(kami.merchant.reverse(granted(kami.merchant.redeem(voucher.code), 201)["id"]), 201)
    kami.cloud.drain()
    unused = item(kami, voucher)
    granted(kami.merchant.redeem(voucher.code, key="again", account="+8613812345678"), 201)
    kami.cloud.drain()
    put_back(kami, unused)
    told = on_bus(kami, monkeypatch)
    answer = kami.merchant.redeem(voucher.code, key="again", account="+8613812345678")
    assert granted(answer, 201)["status"] == "completed"
    kami.cloud.drain()
    assert {event["type"] for event in told} <= {"ledger.disputed"}
    assert len(book(kami, voucher.serial)[0]["lines"]) == 3


def test_what_waits_is_entered_when_what_it_waited_for_comes(kami: Kami) -> None:
    """The reversal's event is held up, as if its record had been set aside; then it comes after all."""
    voucher = kami.voucher()
    first = granted(kami.merchant.redeem(voucher.code), 201)
    kami.cloud.drain()
    granted(kami.merchant.reverse(first["id"]), 201)
    for pump in kami.cloud.stream_pumps:
        pump.step()
    held_up = [record for record in queued(kami, "ledger") if "voucher.reversed" in record["body"]]
    assert len(held_up) == 1
    second = granted(kami.merchant.redeem(voucher.code), 201)
    kami.cloud.drain()
    (account,) = book(kami, voucher.serial)
    assert [w["redemption"] for w in account["waiting"]] == [second["id"]]
    assert invoke(kami, "ledger", *held_up, *held_up) == []
    (account,) = book(kami, voucher.serial)
    assert entered(account) == [("redeemed", 5_000, 0), ("reversed", 5_000, 5_000), ("redeemed", 5_000, 0)]
    assert account["waiting"] == []


def test_a_generation_that_was_never_given_out_has_no_value(kami: Kami) -> None:
    voucher = kami.voucher()
    body = {
        "id": "1.VOUCHER#x.1", "type": "voucher.redeemed", "schema": 1, "at": "2026-11-21T08:00:00Z",
        "by": {"client": "c", "role": "merchant", "tenant": "t", "address": "192.0.2.1", "request": "r"},
        "data": {"serial": voucher.serial, "redemption": {
            "id": "red", "amount_minor": 5_000, "currency": "CNY", "generation": 2}},
    }  # fmt: skip
    assert invoke(kami, "ledger", {"messageId": "m", "body": json.dumps(body)}) == []
    (account,) = book(kami, voucher.serial)
    assert (account["generation"], account["opened_minor"], len(account["waiting"])) == (2, 0, 1)
    queued(kami, "ledger")


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"id": "rcn_none"}', '{"late": {}}'])
def test_a_message_that_makes_no_sense_comes_back(kami: Kami, body: str) -> None:
    assert invoke(kami, "ledger", {"messageId": "bad", "body": body}) == ["bad"]


def test_the_ledger_is_for_those_who_may_inspect_and_of_what_exists(kami: Kami) -> None:
    path = f"/v1/vouchers/{kami.voucher().serial}/ledger"
    refused(kami.merchant.get(path), 403, "insufficient_scope")
    refused(kami.operator.get("/v1/vouchers/123/ledger"), 404, "not_found")
    granted(kami.client("auditor").get(path))


def test_what_is_used_in_the_sandbox_is_in_no_ledger(kami: Kami) -> None:
    voucher = kami.voucher(sandbox=True)
    granted(kami.client("merchant", sandbox=True).redeem(voucher.code), 201)
    kami.cloud.drain()
    assert book(kami, voucher.serial) == []
