"""Campaigns, batches, their vouchers and codes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from functions.domain.campaign import EXPECTED_HITS_A_DAY_MAX
from functions.domain.formats import DERIVED, FORMATS, CodeFormat
from functions.domain.lot import PARTS_PER_LOT_MAX
from functions.domain.serials import LOT_SIZE, position_of, serial_of
from functions.domain.voucher import DAY_S
from tests.integration.conftest import Clock
from tests.integration.kami import CAMPAIGN, Json, Kami, granted, listed, mistyped, pages, refused, replayed, unique

# Campaigns


def test_a_campaign_is_created_and_read_back(kami: Kami) -> None:
    answer = kami.operator.post("/v1/campaigns", CAMPAIGN)
    campaign = granted(answer, 201)
    assert {name: campaign[name] for name in CAMPAIGN} == {**CAMPAIGN, "valid_until": "2035-12-31T15:59:59Z"}
    assert (campaign["code_format"], campaign["locale"], campaign["reversal_days"]) == ("crockford16", "zh-CN", 30)
    assert (campaign["guess_odds"], campaign["capacity"]) == (2**-43, 89 * 10**9)
    assert (campaign["quantity_max"], campaign["wrong_codes_per_lot_and_hour"]) == (10**9, 1_000)
    assert campaign["expected_hits_a_day"] == pytest.approx(2**-43 * 100_000 * 24_000)
    assert (campaign["code_group"], campaign.get("code_prefix")) == (4, None)
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


def test_a_campaign_that_would_be_guessed_too_easily_is_refused_with_the_arithmetic(kami: Kami) -> None:
    plan = {**CAMPAIGN, "code_format": "telecom18", "quantity_max": 10_000_000}
    before = kami.items()
    document = refused(kami.operator.post("/v1/campaigns", plan), 422, "guessing_too_likely")
    assert document["expected_hits_a_day"] == pytest.approx(0.024)
    for part in (
        "1e-09",
        "1,000 lots",
        "1,000 wrong codes",
        "= 0.024",
        "at most 0.01",
        "4,160,000",
        "at most 416 wrong",
    ):
        assert part in document["detail"]
    assert kami.items() == before
    for cure in ({"quantity_max": 4_160_000}, {"wrong_codes_per_lot_and_hour": 416}, {"code_format": "digits20"}):
        campaign = granted(kami.operator.post("/v1/campaigns", {**plan, **cure}), 201)
        assert campaign["expected_hits_a_day"] <= EXPECTED_HITS_A_DAY_MAX
        assert {name: campaign[name] for name in cure} == cure


def test_a_campaign_beyond_what_its_format_can_address_is_refused(kami: Kami) -> None:
    plan = {**CAMPAIGN, "code_format": "mobile18", "quantity_max": 500_000_001}
    document = refused(kami.operator.post("/v1/campaigns", plan), 409, "quantity_exceeded")
    assert document["available"] == 500_000_000


def test_a_new_format_is_a_row(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    """And lots that no other row holds any more: it is generated, revealed, looked up, redeemed and refused by it."""
    crockford16 = FORMATS["crockford16"]
    kept, carved, last = (
        range(crockford16.lots.start, 8_999_000),
        range(8_999_000, 8_999_999),
        range(8_999_999, 9_000_000),
    )
    for row in (
        replace(crockford16, lots=kept),
        CodeFormat("gas17", "0123456789", 17, 6, carved, 10**10, carved.start, 14),
        CodeFormat("tiny8", "0123456789", 8, 4, last, 10**4, last.start),
    ):
        monkeypatch.setitem(FORMATS, row.name, row)
    voucher = kami.voucher(code_format="gas17")
    assert [len(group) for group in voucher.code.split("-")] == [6, 6, 5]
    assert len(voucher.serial) == 14
    assert granted(kami.operator.get(f"/v1/vouchers/{voucher.serial}"))["status"] == "active"
    assert granted(kami.merchant.redeem(voucher.code), 201)["serial"] == voucher.serial
    kami.merchant.redeem(mistyped(kami.voucher(code_format="gas17").code))
    answer = kami.operator.post("/v1/campaigns", {**CAMPAIGN, "code_format": "tiny8"})
    assert "plan for" not in refused(answer, 422, "guessing_too_likely")["detail"]


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
    for code_format in DERIVED:
        batch = kami.batch(kami.campaign(code_format=code_format.name)["id"], 1)
        position = position_of(batch["first_serial"])
        assert position is not None
        assert position // LOT_SIZE in code_format.lots
        assert len(batch["first_serial"]) == len(batch["last_serial"]) == code_format.serial_digits


def test_a_campaign_has_no_more_vouchers_than_planned_in_however_many_batches(kami: Kami) -> None:
    campaign = kami.campaign(quantity_max=30)["id"]
    path, key = f"/v1/campaigns/{campaign}/batches", unique()
    first = kami.operator.post(path, {"quantity": 20}, key)
    granted(first, 201)
    before = kami.items()
    assert refused(kami.operator.post(path, {"quantity": 11}), 409, "quantity_exceeded")["available"] == 10
    assert kami.items() == before
    assert kami.operator.post(path, {"quantity": 20}, key).body == first.body
    kami.batch(campaign, 10)
    assert refused(kami.operator.post(path, {"quantity": 1}), 409, "quantity_exceeded")["available"] == 0


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
    for code_format, pattern in {
        "crockford16": [4] * 4, "digits20": [4] * 5, "unicom19": [4] * 4 + [3], "mobile18": [3] * 6,
        "telecom18": [3] * 6,
    }.items():  # fmt: skip
        batch = kami.batch(kami.campaign(code_format=code_format)["id"], 5)["id"]
        serials = kami.serials(batch)[::-1]
        answer = granted(kami.operator.post("/v1/reveals", {"serials": serials, "reason": "test"}))
        assert [line["serial"] for line in answer["data"]] == serials
        for line in answer["data"]:
            groups = line["code"].split("-")
            assert [len(group) for group in groups] == pattern
            assert set("".join(groups)) <= set(FORMATS[code_format].alphabet)


@pytest.mark.parametrize(
    ("style", "shape"),
    [
        ({"code_prefix": "GZ26"}, "GZ26-XXXX-XXXX-XXXX-XXXX"),
        ({"code_prefix": "Z", "code_group": 8}, "Z-XXXXXXXX-XXXXXXXX"),
        ({"code_prefix": "ABCDEFGH", "code_group": 0}, "ABCDEFGHXXXXXXXXXXXXXXXX"),
        ({"code_format": "unicom19", "code_group": 5}, "XXXXX-XXXXX-XXXXX-XXXX"),
        ({"code_format": "digits20", "code_group": 0}, "X" * 20),
    ],
)
def test_a_campaign_says_how_its_codes_are_printed(kami: Kami, style: Json, shape: str) -> None:
    campaign = kami.campaign(**style)
    assert {name: campaign[name] for name in style} == style
    for code in kami.codes(kami.serials(kami.batch(campaign["id"], 3)["id"])):
        prefix = style.get("code_prefix", "")
        assert code.startswith(prefix)
        assert prefix + "".join("-" if s == "-" else "X" for s in code[len(prefix) :]) == shape


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
