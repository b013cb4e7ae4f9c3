"""Imports: a file uploaded over a link, its codes in stock once each, line by line what was not taken and why."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from functions.domain.codefile import PROBLEMS
from functions.domain.imports import LINK_S
from functions.store.aws import FENCE_S
from tests.integration.conftest import Clock
from tests.integration.kami import TOLD, Json, Kami, granted, refused, replayed, unique
from tests.integration.test_jobs import invoke, message


@pytest.fixture(scope="module")
def campaign(kami: Kami) -> str:
    """For bought codes."""
    return str(kami.campaign(code_format="imported", kind="stock")["id"])


def read(kami: Kami, id: str, query: str = "") -> Json:
    return granted(kami.operator.get(f"/v1/imports/{id}{query}"))


def ordered(kami: Kami, campaign: str, size: int, key: str | None = None) -> Json:
    return granted(kami.operator.post("/v1/imports", {"campaign": campaign, "size": size}, key or unique()), 202)


def test_bought_codes_become_a_batch_that_is_activated_and_shown_like_any_other(kami: Kami, campaign: str) -> None:
    content = "code,reference\r\nT-1,a\r\n\r\nt1,b\r\nT-2,c\r\n,d\r\nＴ－３\r\n".encode()
    done = kami.imported(campaign, content)
    assert (done["status"], done["accepted"]) == ("completed", 3)
    assert done["progress"] == {"lines_done": 5, "lines": 5}
    assert done["refused"] == {
        "count": 2,
        "by_reason": {"duplicate_in_file": 1, "invalid": 1},
        "data": [
            {"line": 4, "reason": "duplicate_in_file", "first_line": 2},
            {"line": 6, "reason": "invalid", "detail": PROBLEMS["no_code"]},
        ],
    }
    batch = granted(kami.operator.get(f"/v1/batches/{done['batch']}"))
    assert (batch["quantity"], batch["status"], batch["counts"]) == (3, "completed", {"generated": 3})
    serials = kami.serials(done["batch"])
    assert kami.codes(serials) == ["T-1", "T-2", "T-3"]
    assert kami.codes(serials[::-1]) == ["T-3", "T-2", "T-1"]
    assert kami.activate(batch=done["batch"])["activated"] == 3
    looked_up = granted(kami.operator.get(f"/v1/vouchers/{serials[1]}"))
    assert (looked_up["status"], looked_up["redeemable"]) == ("active", True)
    kami.cloud.drain()
    told = granted(kami.operator.get(f"/v1/vouchers/{serials[1]}/history"))["data"]
    assert [line["event"] for line in told] == ["imported", "activated", "revealed", "revealed"]
    assert told[0]["actor"] == kami.operator.client_id


def test_what_is_in_stock_is_named_with_its_serial_and_the_same_file_again_adds_nothing(
    kami: Kami, campaign: str
) -> None:
    content = b"U-1\nU-2\nU-3\n"
    serials = kami.serials(kami.imported(campaign, content)["batch"])
    again = kami.imported(campaign, content)
    assert (again["status"], again["accepted"], "batch" in again) == ("completed", 0, False)
    assert again["refused"]["data"] == [
        {"line": n, "reason": "duplicate_in_stock", "serial": serial} for n, serial in enumerate(serials, 1)
    ]
    other = kami.imported(str(kami.campaign(code_format="imported")["id"]), b"U-9\nu2\n")
    assert (other["accepted"], other["refused"]["data"][0]["serial"]) == (1, serials[1])


def test_the_refused_lines_are_paged(kami: Kami, campaign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.generate.importing.REFUSALS_PER_PAGE_MAX", 3)
    done = kami.imported(campaign, b"V-1\n" * 12)
    lines, cursor = [], ""
    while True:
        page = read(kami, done["id"], f"?limit=5{cursor}")["refused"]
        assert page["count"] == 11
        lines += [line["line"] for line in page["data"]]
        if "next_cursor" not in page:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert lines == list(range(2, 13))
    refused(kami.client("operator").get(f"/v1/imports/{done['id']}?limit=5{cursor}"), 400, "invalid_cursor")


# The upload


def test_the_link_is_for_one_file_of_one_size_and_for_a_quarter_of_an_hour(kami: Kami, campaign: str) -> None:
    order = ordered(kami, campaign, 4)
    upload = order["upload"]
    query = parse_qs(urlsplit(upload["url"]).query)
    assert query["X-Amz-Expires"] == [str(LINK_S)]
    signed = query["X-Amz-SignedHeaders"][0].split(";")
    assert {"content-length", "content-type", "if-none-match"} <= set(signed)
    assert upload["headers"] == {"Content-Type": "text/csv", "Content-Length": "4", "If-None-Match": "*"}
    first, second = (
        requests.put(upload["url"], data=data, headers=upload["headers"], timeout=5) for data in (b"W-1\n", b"W-2\n")
    )
    assert (first.status_code, second.status_code) == (200, 412)
    granted(kami.operator.post(f"/v1/imports/{order['id']}/starts", None), 202)
    kami.cloud.drain()
    assert kami.codes(kami.serials(read(kami, order["id"])["batch"])) == ["W-1"]


def test_it_is_not_started_before_its_file_is_there_as_announced(kami: Kami, campaign: str) -> None:
    order = ordered(kami, campaign, 9)
    path = f"/v1/imports/{order['id']}/starts"
    before = kami.items()
    refused(kami.operator.post(path, None), 409, "upload_missing")
    bucket = kami.cloud.stack.functions["generate"].environment["UPLOADS_BUCKET"]
    kami.cloud.client("s3").put_object(Bucket=bucket, Key=order["id"], Body=b"X-1\n")
    assert "4 bytes" in refused(kami.operator.post(path, None), 409, "upload_missing")["detail"]
    assert kami.items() == before
    assert read(kami, order["id"])["status"] == "awaiting_upload"


def test_a_repeat_of_the_order_gives_a_link_until_it_is_started_and_another_body_is_refused(
    kami: Kami, campaign: str
) -> None:
    key, content = unique(), b"Y-1\n"
    body = {"campaign": campaign, "size": len(content)}
    first, second = (kami.operator.post("/v1/imports", body, key) for _ in range(2))
    assert (replayed(first), replayed(second)) == (False, True)
    assert first.json()["id"] == second.json()["id"]
    assert first.header("location") == f"/v1/imports/{first.json()['id']}"
    refused(kami.operator.post("/v1/imports", {**body, "size": 5}, key), 422, "idempotency_key_reused")
    upload = second.json()["upload"]
    assert requests.put(upload["url"], data=content, headers=upload["headers"], timeout=5).status_code == 200
    path = f"/v1/imports/{first.json()['id']}/starts"
    started, again = (granted(kami.operator.post(path, None), 202) for _ in range(2))
    assert started == again
    assert started["status"] == "in_progress"
    kami.cloud.drain()
    done = granted(kami.operator.post("/v1/imports", body, key), 202)
    assert (done["status"], "upload" in done) == ("completed", False)
    assert granted(kami.operator.post(path, None), 202)["status"] == "completed"
    assert kami.cloud.client("s3").list_objects_v2(
        Bucket=kami.cloud.stack.functions["generate"].environment["UPLOADS_BUCKET"], Prefix=done["id"]
    )["KeyCount"] == 0  # fmt: skip


# The job


def test_a_job_delivered_again_writes_nothing_again(kami: Kami, campaign: str) -> None:
    content = b"Z-1\nZ-2\nZ-1\n"
    order = kami.ordered_import(campaign, content)
    granted(kami.operator.post(f"/v1/imports/{order['id']}/starts", None), 202)
    job = message(order["id"])
    assert invoke(kami, "generate", job, job) == []
    once = kami.items(*TOLD)
    assert invoke(kami, "generate", job) == []
    kami.cloud.drain()
    assert kami.items(*TOLD) == once


def test_a_file_that_cannot_be_read_fails_with_the_line_and_leaves_nothing(kami: Kami, campaign: str) -> None:
    stock = len(kami.items("IMPORT#", *TOLD))
    failed = kami.imported(campaign, b"AA-1\n\xff\xfe\n")
    assert (failed["status"], failed["accepted"], "batch" in failed) == ("failed", 0, False)
    assert (failed["fault"]["key"], failed["fault"]["line"]) == ("not_utf_8", 2)
    assert len(kami.items("IMPORT#", *TOLD)) == stock


def test_more_than_the_campaign_may_have_is_refused_whole(kami: Kami) -> None:
    campaign = kami.campaign(code_format="imported", quantity_max=2)["id"]
    failed = kami.imported(campaign, b"BB-1\nBB-2\nBB-3\n")
    assert (failed["status"], failed["fault"]["key"]) == ("failed", "quantity_exceeded")
    assert kami.imported(campaign, b"BB-1\nBB-2\n")["accepted"] == 2


# What it does not go with


def test_bought_codes_are_neither_generated_nor_exported_and_computed_ones_not_imported(
    kami: Kami, campaign: str
) -> None:
    refused(kami.operator.post(f"/v1/campaigns/{campaign}/batches", {"quantity": 1}), 409, "wrong_code_format")
    batch = kami.imported(campaign, b"CC-1\n")["batch"]
    recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    refused(kami.operator.post(f"/v1/batches/{batch}/exports", {"recipient": recipient}), 409, "wrong_code_format")
    computed = kami.campaign()["id"]
    answer = kami.operator.post("/v1/imports", {"campaign": computed, "size": 1}, unique())
    refused(answer, 409, "wrong_code_format")
    refused(kami.operator.post("/v1/imports", {"campaign": "cmp_x", "size": 1}, unique()), 404, "not_found")


def test_a_reclaim_skips_bought_codes_and_a_void_does_not(kami: Kami, campaign: str, clock: Clock) -> None:
    """Somebody may have seen them, and they would be the same again."""
    batch = kami.imported(campaign, b"DD-1\nDD-2\n")["batch"]
    for action, expected in (("reclaim", ({"imported": 2}, {"generated": 2})), ("void", ({}, {"void": 2}))):
        order = granted(kami.operator.post("/v1/recoveries", kami.recovery(action, batch=batch)), 202)
        kami.cloud.drain(delayed=False)
        clock.advance(FENCE_S)
        kami.cloud.drain()
        done = granted(kami.operator.get(f"/v1/recoveries/{order['id']}"))
        counts = granted(kami.operator.get(f"/v1/batches/{batch}"))["counts"]
        assert (done["status"], (done["skipped"]["by_reason"], counts)) == ("completed", expected)
    assert kami.codes(kami.serials(batch)) == ["DD-1", "DD-2"]


@pytest.mark.parametrize("role", ["merchant", "partner", "support", "auditor"])
def test_only_who_may_generate_may_import(kami: Kami, campaign: str, role: str) -> None:
    order, stranger = ordered(kami, campaign, 4), kami.client(role)
    body = {"campaign": campaign, "size": 4}
    refused(stranger.post("/v1/imports", body, unique()), 403, "insufficient_scope")
    refused(stranger.post(f"/v1/imports/{order['id']}/starts", None), 403, "insufficient_scope")
    refused(stranger.get(f"/v1/imports/{order['id']}"), 403, "insufficient_scope")


def test_no_code_is_in_the_clear_in_the_table_or_an_answer(kami: Kami, campaign: str) -> None:
    codes = [f"SECRET{n}CODE{n}" for n in range(3)]
    done = kami.imported(campaign, "\n".join([*codes, codes[0]]).encode())
    items = json.dumps(list(kami.items().values()), default=lambda raw: raw.decode("latin-1"))
    for code in codes:
        assert code.lower() not in items.lower()
        assert code not in json.dumps(done)


def test_bought_codes_are_dispensed_each_to_one_buyer_until_they_end(kami: Kami) -> None:
    campaign = kami.campaign(code_format="imported")["id"]
    codes = [f"EE-{n}" for n in range(7)]
    done = kami.imported(campaign, "\n".join(codes).encode())
    path, key = "/v1/dispenses", unique()
    first = granted(kami.operator.post(path, {"campaign": campaign, "quantity": 4}, key), 201)
    assert granted(kami.operator.post(path, {"campaign": campaign, "quantity": 4}, key), 201) == first
    refused(kami.operator.post(path, {"campaign": campaign, "quantity": 4}, unique()), 409, "quantity_exceeded")
    rest = granted(kami.operator.post(path, {"campaign": campaign, "quantity": 3}, unique()), 201)
    assert sorted(line["code"] for one in (first, rest) for line in one["data"]) == codes
    serials = kami.serials(done["batch"])
    assert {line["serial"]: line["code"] for one in (first, rest) for line in one["data"]} == dict(
        zip(serials, codes, strict=True)
    )
