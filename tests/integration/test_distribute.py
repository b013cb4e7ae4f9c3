"""Activations: a selection of vouchers becomes usable, once, whatever its size."""

from __future__ import annotations

import pytest

from functions.domain.lot import SEGMENTS_PER_LOT_MAX
from functions.domain.selection import RANGE_MAX
from functions.domain.serials import position_of, serial_of
from functions.domain.voucher import DAY_S
from tests.integration.conftest import Clock
from tests.integration.kami import Json, Kami, granted, refused, replayed, unique


@pytest.fixture
def batch(kami: Kami) -> Json:
    """Ten vouchers in a lot of their own."""
    return kami.batch(kami.campaign()["id"], 10)


def beyond(serial: str, by: int = 1) -> str:
    position = position_of(serial)
    assert position is not None
    return serial_of(position + by)


def active(kami: Kami, batch: Json) -> list[int]:
    """The places in the batch that are active."""
    return [place for place, status in enumerate(kami.statuses(batch["id"]).values()) if status == "active"]


def test_single_serials_become_active(kami: Kami, batch: Json) -> None:
    serials = kami.serials(batch["id"])
    activation = kami.activate(serials=[serials[7], serials[1], serials[2], serials[7]])
    assert (activation["activated"], activation["skipped"]) == (3, {"count": 0, "by_reason": {}})
    assert active(kami, batch) == [1, 2, 7]


def test_a_range_becomes_active_with_both_its_ends(kami: Kami, batch: Json) -> None:
    serials = kami.serials(batch["id"])
    assert kami.activate(first_serial=serials[2], last_serial=serials[5])["activated"] == 4
    assert active(kami, batch) == [2, 3, 4, 5]


def test_a_lot_becomes_active_as_far_as_it_is_generated(kami: Kami, batch: Json) -> None:
    activation = kami.activate(lot=int(batch["first_serial"][:7]))
    assert (activation["activated"], activation["skipped"]["count"]) == (10, 0)
    assert active(kami, batch) == list(range(10))


def test_a_batch_becomes_active_and_its_neighbours_in_the_lot_do_not(kami: Kami) -> None:
    campaign = kami.campaign()["id"]
    left, middle, right = (kami.batch(campaign, 4) for _ in range(3))
    assert kami.activate(batch=middle["id"])["activated"] == 4
    assert [active(kami, batch) for batch in (left, middle, right)] == [[], [0, 1, 2, 3], []]


def test_a_range_may_span_lots(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 20_001)
    activation = kami.activate(first_serial=beyond(batch["first_serial"], 9_999), last_serial=batch["last_serial"])
    assert (activation["activated"], activation["progress"]) == (10_002, {"lots_done": 3, "lots": 3})
    counts = granted(kami.operator.get(f"/v1/batches/{batch['id']}"))["counts"]
    assert counts == {"active": 10_002, "generated": 9_999}


def test_an_activation_is_read_back(kami: Kami, batch: Json) -> None:
    answer = kami.operator.post("/v1/activations", {"selection": {"batch": batch["id"]}})
    activation = granted(answer, 201)
    assert activation["status"] == "completed"
    assert activation["completed_at"] >= activation["created_at"]
    assert answer.header("location") == f"/v1/activations/{activation['id']}"
    assert granted(kami.operator.get(f"/v1/activations/{activation['id']}")) == activation


def test_what_is_active_already_is_skipped_and_counted(kami: Kami, batch: Json, clock: Clock) -> None:
    serials = kami.serials(batch["id"])
    kami.activate(serials=serials[:3])
    before = granted(kami.operator.get(f"/v1/vouchers/{serials[0]}"))
    clock.advance(DAY_S)
    activation = kami.activate(batch=batch["id"])
    assert activation["activated"] == 7
    assert activation["skipped"] == {"count": 3, "by_reason": {"already_active": 3}}
    assert granted(kami.operator.get(f"/v1/vouchers/{serials[0]}")) == before


def test_what_has_expired_is_not_activated(kami: Kami, clock: Clock) -> None:
    batch = kami.batch(kami.campaign(valid_until="2030-01-01T00:00:00Z")["id"], 3)
    clock.now = 1_893_456_000  # 2030-01-01T00:00:00Z
    activation = kami.activate(batch=batch["id"])
    assert (activation["activated"], activation["skipped"]["by_reason"]) == (0, {"expired": 3})


def test_a_repeat_under_the_same_key_is_the_same_activation_and_does_nothing(kami: Kami, batch: Json) -> None:
    key, body = unique(), {"selection": {"batch": batch["id"]}}
    first = kami.operator.post("/v1/activations", body, key)
    before = kami.items()
    second = kami.operator.post("/v1/activations", body, key)
    assert (first.status, replayed(first)) == (201, False)
    assert (second.status, replayed(second)) == (201, True)
    assert second.body == first.body
    other = {"selection": {"serials": [batch["first_serial"]]}}
    refused(kami.operator.post("/v1/activations", other, key), 422, "idempotency_key_reused")
    assert kami.items() == before


def test_another_key_is_another_activation(kami: Kami, batch: Json) -> None:
    body = {"selection": {"batch": batch["id"]}}
    first, second = (granted(kami.operator.post("/v1/activations", body, unique()), 201) for _ in range(2))
    assert first["id"] != second["id"]
    assert (first["activated"], second["activated"]) == (10, 0)


def test_a_lot_cut_into_too_many_pieces_is_activated_voucher_by_voucher(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 100)
    serials = kami.serials(batch["id"])
    every_other = serials[: 2 * SEGMENTS_PER_LOT_MAX : 2]
    activation = kami.activate(serials=every_other)
    assert activation["activated"] == SEGMENTS_PER_LOT_MAX
    shown = kami.statuses(batch["id"])
    assert [serial for serial, status in shown.items() if status == "active"] == every_other
    kami.cloud.drain()
    counts = granted(kami.operator.get(f"/v1/batches/{batch['id']}"))["counts"]
    assert counts == {"active": SEGMENTS_PER_LOT_MAX, "generated": 100 - SEGMENTS_PER_LOT_MAX}
    (code,) = kami.codes(every_other[:1])
    granted(kami.merchant.redeem(code), 201)


def test_what_was_never_generated_is_named_and_nothing_is_activated(kami: Kami, batch: Json) -> None:
    last = batch["last_serial"]
    before = kami.items()
    for selection, named in [
        ({"serials": [batch["first_serial"], "nonsense", last[:-1]]}, ["nonsense", last[:-1]]),
        ({"serials": [last, beyond(last)]}, [beyond(last)]),
        ({"first_serial": batch["first_serial"], "last_serial": beyond(last, 5)}, [beyond(last)]),
        ({"first_serial": batch["first_serial"], "last_serial": "x"}, ["x"]),
    ]:
        answer = kami.operator.post("/v1/activations", {"selection": selection})
        document = refused(answer, 422, "unknown_serials")
        assert [error["value"] for error in document["errors"]] == named
    assert kami.items() == before


@pytest.mark.parametrize("selection", [{"lot": 9_999_999}, {"lot": 0}, {"batch": "bat_none"}])
def test_a_selection_of_what_is_not_there_is_refused(kami: Kami, selection: Json) -> None:
    refused(kami.operator.post("/v1/activations", {"selection": selection}), 404, "not_found")


def test_a_range_that_runs_backwards_is_empty(kami: Kami, batch: Json) -> None:
    selection = {"first_serial": batch["last_serial"], "last_serial": batch["first_serial"]}
    refused(kami.operator.post("/v1/activations", {"selection": selection}), 422, "empty_selection")


def test_a_range_longer_than_any_batch_is_refused(kami: Kami, batch: Json) -> None:
    selection = {"first_serial": batch["first_serial"], "last_serial": beyond(batch["first_serial"], RANGE_MAX)}
    before = kami.items()
    document = refused(kami.operator.post("/v1/activations", {"selection": selection}), 400, "invalid_request")
    assert [error["field"] for error in document["errors"]] == ["selection"]
    assert kami.items() == before


def test_an_unknown_activation_is_not_found(kami: Kami) -> None:
    refused(kami.operator.get("/v1/activations/act_none"), 404, "not_found")
