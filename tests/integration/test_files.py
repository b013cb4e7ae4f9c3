"""Orders as files: what a shop's spreadsheet makes of serial ranges is taken as it comes, and answered line by line."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from functions.domain.lot import SEGMENTS_PER_LOT_MAX
from functions.domain.serials import LOT_SIZE
from functions.edge.http import BODY_BYTES_MAX
from tests.integration.kami import Caller, Json, Kami, granted, refused, replayed, unique

CSV = {"content-type": "text/csv"}
SALE = {"price_minor": "4800", "currency": "CNY", "shop": "shop-12"}
WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


@pytest.fixture
def batch(kami: Kami) -> Json:
    return kami.batch(kami.campaign()["id"], 20)


@pytest.fixture
def serials(kami: Kami, batch: Json) -> list[str]:
    return kami.serials(batch["id"])


def send(caller: Caller, kind: str, content: str | bytes, key: str | None = None, **query: str) -> Any:
    return caller.post(f"/v1/{kind}" + (f"?{urlencode(query)}" if query else ""), content, key, **CSV)


def told(document: Json) -> list[tuple[int, str, str | None]]:
    return [(line["line"], line["status"], line.get("detail")) for line in document["lines"]]


def test_a_file_of_a_shop_is_activated_as_it_comes_with_a_result_for_each_line(kami: Kami, serials: list[str]) -> None:
    kami.activate(serials=[serials[7], serials[9]])
    content = (
        f"\ufeff卡号起,卡号止\r\n{serials[0]},{serials[2]}\r\n\r\n  {serials[4].translate(WIDE)}  \r\n"
        f"{serials[6]},{serials[8]}\r\n{serials[9]}\r\n{serials[4]}\r\nnonsense\r\n{serials[12]},{serials[11]}\r\n"
        f'="{serials[13].lstrip("0")}"\r\n'
    )
    made = granted(send(kami.operator, "activations", content, **SALE), 201)
    assert told(made) == [
        (2, "done", None),
        (4, "done", None),
        (5, "partly_done", "already_active: 1"),
        (6, "skipped", "already_active: 1"),
        (7, "refused", "repeats serials of line 4"),
        (8, "refused", "no such serial: nonsense"),
        (9, "refused", "runs backwards"),
        (10, "done", None),
    ]
    assert (made["activated"], made["skipped"]["by_reason"]) == (7, {"already_active": 2})
    assert made["sale"] == {"price": {"amount_minor": 4_800, "currency": "CNY"}, "shop": "shop-12"}
    assert "lines" not in granted(kami.operator.get(f"/v1/activations/{made['id']}"))


def test_a_repeat_of_a_file_is_answered_the_same_and_does_nothing(kami: Kami, serials: list[str]) -> None:
    key, content = unique(), f"{serials[0]}\n{serials[0]}\nx\n{serials[3]},{serials[5]}"
    kami.activate(serials=serials[4:5])
    first = send(kami.operator, "activations", content, key)
    kami.activate(serials=serials[:10])
    before = kami.items()
    again = send(kami.operator, "activations", content, key)
    assert (first.status, again.status, replayed(again), again.body) == (201, 201, True, first.body)
    assert told(first.json())[-1] == (4, "partly_done", "already_active: 1")
    refused(send(kami.operator, "activations", content + "\n", key), 422, "idempotency_key_reused")
    refused(send(kami.operator, "activations", content, key, **SALE), 422, "idempotency_key_reused")
    assert kami.items() == before


def test_a_file_is_handed_out_moved_and_returned(kami: Kami, serials: list[str]) -> None:
    shop, other = (kami.channel()["id"] for _ in range(2))
    out = granted(send(kami.operator, "distributions", f"{serials[0]},{serials[5]}\n{serials[8]}", to=shop), 201)
    assert (out["distributed"], out["to"], told(out)) == (7, shop, [(1, "done", None), (2, "done", None)])
    moved = send(kami.operator, "distributions", f"{serials[4]},{serials[8]}", **{"from": shop, "to": other})
    assert told(granted(moved, 201)) == [(1, "partly_done", "not_held: 2")]
    back = granted(send(kami.operator, "distributions", f"{serials[0]}\n{serials[4]}", **{"from": shop}), 201)
    assert told(back) == [(1, "done", None), (2, "skipped", "held: 1")]
    kami.cloud.drain()
    assert [kami.stock(channel)["counts"] for channel in (shop, other)] == [{"distributed": 3}, {"distributed": 3}]


def test_a_partner_returns_and_sells_by_file_what_is_its_own_and_the_rest_does_not_exist(
    kami: Kami, serials: list[str]
) -> None:
    partner = kami.client("partner")
    shop = kami.channel(kind="partner", tenant=partner.client_id)["id"]
    kami.distribute(to=shop, serials=serials[:6])
    unknown = (2, "refused", "names serials that do not exist")
    sold = granted(send(partner, "activations", f"{serials[0]},{serials[2]}\n{serials[6]}", **SALE), 201)
    assert told(sold) == [(1, "done", None), unknown]
    back = granted(send(partner, "distributions", f"{serials[3]}\n{serials[5]},{serials[6]}", **{"from": shop}), 201)
    assert told(back) == [(1, "done", None), unknown]
    refused(send(partner, "distributions", serials[4], to=shop), 403, "insufficient_scope")


def test_scattered_serials_are_written_singly_and_told_line_by_line(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 100)
    serials = kami.serials(batch["id"])[:: 100 // SEGMENTS_PER_LOT_MAX]
    kami.activate(serials=serials[3:4])
    made = granted(send(kami.operator, "activations", "\n".join(serials)), 201)
    expected = [(n, "skipped" if n == 4 else "done", "already_active: 1" if n == 4 else None)
                for n in range(1, len(serials) + 1)]  # fmt: skip
    assert told(made) == expected


@pytest.mark.parametrize("content", ["", "\n \n", "first,last\n", "x\n", "123", b"\xff\xfe", b"\x00\x01\x02", "{}"])
def test_a_file_that_names_no_voucher_is_refused_with_what_is_wrong(kami: Kami, content: str | bytes) -> None:
    before = kami.items()
    document = refused(send(kami.operator, "activations", content), 422, "empty_selection")
    assert all(error["field"].startswith("line ") and error["detail"] for error in document["errors"])
    assert kami.items() == before


def test_a_file_about_too_many_lots_is_refused(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.distribute.files.LOTS_PER_CALL_MAX", 2)
    batch = kami.batch(kami.campaign()["id"], 3 * LOT_SIZE)
    before = kami.items()
    content = f"{batch['first_serial']},{batch['last_serial']}"
    document = refused(send(kami.operator, "activations", content), 400, "invalid_request")
    assert [error["field"] for error in document["errors"]] == ["body"]
    assert kami.items() == before


@pytest.mark.parametrize(
    ("kind", "query", "named"),
    [
        ("activations", {"shop": "s"}, {"query.price_minor", "query.currency"}),
        ("activations", {**SALE, "price_minor": "0"}, {"query.price_minor"}),
        ("activations", {**SALE, "price_minor": "1.5"}, {"query.price_minor"}),
        ("activations", {**SALE, "price_minor": "１"}, {"query.price_minor"}),
        ("activations", {**SALE, "price_minor": " 1"}, {"query.price_minor"}),
        ("activations", {**SALE, "price_minor": "1_0"}, {"query.price_minor"}),
        ("activations", {**SALE, "price_minor": "9" * 5_000}, {"query.price_minor"}),
        ("activations", {**SALE, "currency": "XXX"}, {"query.currency"}),
        ("activations", {**SALE, "shop": "a b"}, {"query.shop"}),
        ("activations", {"to": "chn_1"}, {"query.to"}),
        ("distributions", {}, {"query"}),
        ("distributions", {"to": "x", "from": "x"}, {"query"}),
        ("distributions", {"to": "c" * 65}, {"query.to"}),
        ("distributions", {"to": "x", "shop": "s"}, {"query.shop"}),
    ],
)
def test_parameters_that_are_wrong_are_named(
    kami: Kami, serials: list[str], kind: str, query: dict[str, str], named: set[str]
) -> None:
    document = refused(send(kami.operator, kind, serials[0], **query), 400, "invalid_request")
    assert {error["field"] for error in document["errors"]} == named


def test_parameters_of_files_do_not_go_with_json_nor_files_with_other_routes(kami: Kami, batch: Json) -> None:
    body = {"selection": {"batch": batch["id"]}}
    refused(kami.operator.post("/v1/activations?shop=s", body), 400, "invalid_request")
    refused(send(kami.operator, "extensions", batch["first_serial"]), 415, "unsupported_media_type")
    refused(send(kami.operator, "reveals", batch["first_serial"]), 415, "unsupported_media_type")


def test_a_file_over_the_limit_is_refused(kami: Kami, serials: list[str]) -> None:
    padded = serials[0].ljust(BODY_BYTES_MAX)
    refused(send(kami.operator, "activations", padded + " "), 413, "body_too_large")
    assert granted(send(kami.operator, "activations", padded), 201)["activated"] == 1
