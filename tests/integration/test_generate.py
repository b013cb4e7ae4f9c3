"""Campaigns, batches, their vouchers and codes."""

from __future__ import annotations

import pytest

from functions.domain.codes import FORMATS
from functions.domain.lot import PARTS_PER_LOT_MAX
from functions.domain.serials import LOT_SIZE, position_of, serial_of
from functions.domain.voucher import DAY_S
from tests.integration.conftest import Clock
from tests.integration.kami import CAMPAIGN, Kami, granted, listed, pages, refused, replayed, unique

# Campaigns


def test_a_campaign_is_created_and_read_back(kami: Kami) -> None:
    answer = kami.operator.post("/v1/campaigns", CAMPAIGN)
    campaign = granted(answer, 201)
    assert {name: campaign[name] for name in CAMPAIGN} == {**CAMPAIGN, "valid_until": "2035-12-31T15:59:59Z"}
    assert (campaign["code_format"], campaign["locale"], campaign["reversal_days"]) == ("crockford16", "zh-CN", 30)
    assert campaign["guess_odds"] == 2**-43
    assert answer.header("location") == f"/v1/campaigns/{campaign['id']}"
    assert granted(kami.operator.get(f"/v1/campaigns/{campaign['id']}")) == campaign


@pytest.mark.parametrize("name", [
    "充值卡 50 元", "بطاقة شحن", "e\u0301toile", "👨‍👩‍👧‍👦 family", "𠜎𠜱", '"<b>&amp;\\', "a" * 200,
])  # fmt: skip
def test_a_name_in_any_script_comes_back_as_it_was_given(kami: Kami, name: str) -> None:
    campaign = kami.campaign(name=name)
    assert granted(kami.operator.get(f"/v1/campaigns/{campaign['id']}"))["name"] == name


def test_a_repeat_under_the_same_key_is_the_same_campaign_and_says_so(kami: Kami, clock: Clock) -> None:
    key = unique()
    first = kami.operator.post("/v1/campaigns", CAMPAIGN, key)
    clock.advance(DAY_S)
    second = kami.operator.post("/v1/campaigns", CAMPAIGN, key)
    assert (first.status, replayed(first)) == (201, False)
    assert (second.status, replayed(second)) == (201, True)
    assert second.body == first.body


def test_the_same_key_with_another_body_is_refused(kami: Kami) -> None:
    key = unique()
    granted(kami.operator.post("/v1/campaigns", CAMPAIGN, key), 201)
    before = kami.items()
    refused(kami.operator.post("/v1/campaigns", {**CAMPAIGN, "name": "x"}, key), 422, "idempotency_key_reused")
    assert kami.items() == before


def test_other_keys_other_clients_and_no_key_make_other_campaigns(kami: Kami) -> None:
    key = unique()
    answers = [
        kami.operator.post("/v1/campaigns", CAMPAIGN, key),
        kami.operator.post("/v1/campaigns", CAMPAIGN, unique()),
        kami.client("operator").post("/v1/campaigns", CAMPAIGN, key),
        kami.operator.post("/v1/campaigns", CAMPAIGN),
        kami.operator.post("/v1/campaigns", CAMPAIGN),
    ]
    assert len({granted(answer, 201)["id"] for answer in answers}) == len(answers)


# Batches


def test_a_batch_has_consecutive_serials_and_counts_them(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 25)
    assert (batch["status"], batch["quantity"], batch["counts"]) == ("completed", 25, {"generated": 25})
    first = position_of(batch["first_serial"])
    assert first is not None
    expected = [serial_of(first + index) for index in range(25)]
    assert expected[-1] == batch["last_serial"]
    assert kami.serials(batch["id"]) == expected
    read = granted(kami.operator.get(f"/v1/batches/{batch['id']}"))
    assert {**read, "as_of": ""} == {**batch, "as_of": ""}


def test_a_repeat_under_the_same_key_is_the_same_batch_and_takes_no_serials(kami: Kami, clock: Clock) -> None:
    campaign, key = kami.campaign()["id"], unique()
    path = f"/v1/campaigns/{campaign}/batches"
    first = kami.operator.post(path, {"quantity": 5}, key)
    batch = granted(first, 201)
    kami.activate(batch=batch["id"])
    before = kami.items()
    clock.advance(DAY_S)
    second = kami.operator.post(path, {"quantity": 5}, key)
    assert (replayed(first), replayed(second)) == (False, True)
    assert second.body == first.body
    refused(kami.operator.post(path, {"quantity": 6}, key), 422, "idempotency_key_reused")
    assert kami.items() == before


def test_one_key_names_a_batch_in_each_campaign(kami: Kami) -> None:
    key = unique()
    ids = {
        granted(kami.operator.post(f"/v1/campaigns/{kami.campaign()['id']}/batches", {"quantity": 1}, key), 201)["id"]
        for _ in range(2)
    }
    assert len(ids) == 2


def test_a_batch_of_a_campaign_that_is_not_there_is_refused(kami: Kami) -> None:
    refused(kami.operator.post("/v1/campaigns/cmp_none/batches", {"quantity": 1}), 404, "not_found")


def test_small_batches_share_a_lot_and_keep_apart_in_it(kami: Kami) -> None:
    campaign = kami.campaign()["id"]
    batches = [kami.batch(campaign, 3) for _ in range(PARTS_PER_LOT_MAX + 1)]
    positions = [position_of(batch["first_serial"]) for batch in batches]
    lots = [position // LOT_SIZE for position in positions if position is not None]
    assert lots == [*[lots[0]] * PARTS_PER_LOT_MAX, lots[0] + 1]
    granted(kami.operator.post("/v1/activations", {"selection": {"batch": batches[1]["id"]}}), 201)
    shown = [granted(kami.operator.get(f"/v1/batches/{batch['id']}"))["counts"] for batch in batches[:3]]
    assert shown == [{"generated": 3}, {"active": 3}, {"generated": 3}]
    for batch in batches:
        assert len(kami.serials(batch["id"])) == 3
        code = kami.codes([batch["last_serial"]])[0]
        assert granted(kami.operator.verify(code))["serial"] == batch["last_serial"]


def test_a_lot_shared_with_a_batch_that_fills_it_takes_no_more(kami: Kami) -> None:
    campaign = kami.campaign()["id"]
    first, last = kami.batch(campaign, 9_999), kami.batch(campaign, 2)
    lots = [int(batch["first_serial"][:7]) for batch in (first, last)]
    assert lots[0] != lots[1]


def test_batches_of_different_formats_never_meet(kami: Kami) -> None:
    for name, code_format in FORMATS.items():
        batch = kami.batch(kami.campaign(code_format=name)["id"], 1)
        assert int(batch["first_serial"][:7]) in code_format.lots


# Vouchers of a batch


def test_a_batch_is_listed_in_pages_without_gap_or_repeat(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 25)
    target = f"/v1/batches/{batch['id']}/vouchers?limit=10"
    assert [len(page) for page in pages(kami, target)] == [10, 10, 5]
    assert listed(kami, target) == kami.serials(batch["id"])


def test_vouchers_are_listed_and_counted_by_their_effective_status(kami: Kami, clock: Clock) -> None:
    campaign = kami.campaign(redemption="balance", valid_until=None, valid_days_after_activation=7)["id"]
    batch = kami.batch(campaign, 12)["id"]
    serials = kami.serials(batch)
    kami.activate(first_serial=serials[2], last_serial=serials[7])
    codes = kami.codes(serials[3:6])
    granted(kami.merchant.redeem(codes[0]), 201)
    granted(kami.merchant.redeem(codes[1], amount_minor=1), 201)
    back = granted(kami.merchant.redeem(codes[2]), 201)
    granted(kami.merchant.reverse(back["id"]), 201)

    def by_status() -> dict[str, list[str]]:
        found = {}
        for status in ("generated", "active", "partly_redeemed", "redeemed", "expired", "claimed", "void"):
            if some := listed(kami, f"/v1/batches/{batch}/vouchers?limit=2&status={status}"):
                found[status] = some
        return found

    expected = {
        "generated": serials[:2] + serials[8:],
        "active": [serials[2], *serials[5:8]],
        "partly_redeemed": [serials[4]],
        "redeemed": [serials[3]],
    }
    assert by_status() == expected
    kami.cloud.drain()
    counts = granted(kami.operator.get(f"/v1/batches/{batch}"))["counts"]
    assert counts == {status: len(found) for status, found in expected.items()}
    shown = kami.statuses(batch)
    assert all(shown[serial] == status for status, found in expected.items() for serial in found)

    clock.advance(7 * DAY_S)
    expected["expired"] = sorted([*expected.pop("active"), *expected.pop("partly_redeemed")])
    assert by_status() == expected
    counts = granted(kami.operator.get(f"/v1/batches/{batch}"))["counts"]
    assert counts == {status: len(found) for status, found in expected.items()}


def test_a_rare_status_is_found_at_the_end_of_a_batch_of_many_lots(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 30_000)
    kami.activate(serials=[batch["last_serial"]])
    assert listed(kami, f"/v1/batches/{batch['id']}/vouchers?status=active") == [batch["last_serial"]]


# Reveals


def test_codes_are_revealed_in_the_order_asked_for_and_look_as_their_format(kami: Kami) -> None:
    for code_format, pattern in (("crockford16", 4), ("digits20", 5)):
        batch = kami.batch(kami.campaign(code_format=code_format)["id"], 5)["id"]
        serials = kami.serials(batch)[::-1]
        answer = granted(kami.operator.post("/v1/reveals", {"serials": serials, "reason": "test"}))
        assert [line["serial"] for line in answer["data"]] == serials
        for line in answer["data"]:
            groups = line["code"].split("-")
            assert [len(group) for group in groups] == [4] * pattern
            assert set("".join(groups)) <= set(FORMATS[code_format].alphabet)


def test_a_reveal_shows_the_same_codes_each_time(kami: Kami) -> None:
    serials = kami.serials(kami.batch(kami.campaign()["id"], 100)["id"])
    codes = kami.codes(serials)
    assert codes == kami.codes(serials)
    assert len(set(codes)) == len(codes)


def test_a_reveal_is_on_record_with_who_and_why_before_it_is_shown(kami: Kami) -> None:
    serial = kami.batch(kami.campaign()["id"], 1)["first_serial"]
    before = kami.items()
    body = {"serials": [serial], "reason": "complaint 4711"}
    answer = granted(kami.operator.post("/v1/reveals", body))
    (record,) = [item for key, item in kami.items().items() if key not in before]
    assert record["id"] == {"S": answer["id"]}
    assert record["serials"] == {"L": [{"S": serial}]}
    assert record["reason"] == {"S": "complaint 4711"}
    assert kami.operator.client_id in str(record["by"])
    assert answer["data"][0]["code"] not in str(record)


def test_of_serials_that_do_not_exist_each_is_named_and_no_code_is_shown(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 2)
    position = position_of(batch["last_serial"])
    assert position is not None
    unknown = ["123", serial_of(position + 1), serial_of(9_999_999 * LOT_SIZE)]
    before = kami.items()
    body = {"serials": [batch["first_serial"], *unknown], "reason": "test"}
    document = refused(kami.operator.post("/v1/reveals", body), 422, "unknown_serials")
    assert [error["value"] for error in document["errors"]] == unknown
    assert kami.items() == before
