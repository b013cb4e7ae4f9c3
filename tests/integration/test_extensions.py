"""Extensions: a range is valid for longer, by one write a lot, and so is every voucher with an end of its own."""

from __future__ import annotations

from typing import Any

import pytest

from functions.domain.times import rfc3339
from functions.domain.voucher import DAY_S, VALID_UNTIL_MAX
from functions.store.aws import FENCE_S
from tests.integration.conftest import Clock
from tests.integration.kami import Json, Kami, granted, refused, replayed, unique

END = 1_893_456_000  # 2030-01-01T00:00:00Z
LATER = "2031-01-01T00:00:00Z"


@pytest.fixture
def batch(kami: Kami) -> Json:
    """Ten vouchers in a lot of their own, valid until `END`."""
    return kami.batch(kami.campaign(valid_until=rfc3339(END))["id"], 10)


@pytest.fixture
def few_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lots are full soon, and activations write single vouchers."""
    monkeypatch.setattr("functions.store.ranges.SEGMENTS_PER_LOT_MAX", 2)


def extend(kami: Kami, key: str | None = None, *, days: int | None = None, until: str | None = None,
           **selection: Any) -> Any:  # fmt: skip
    end = {"days": days} if days is not None else {"valid_until": until}
    answer = kami.operator.post("/v1/extensions", {"selection": selection, **end}, key)
    kami.cloud.drain()
    return answer


def ends(kami: Kami, serials: list[str]) -> list[str]:
    return [granted(kami.operator.get(f"/v1/vouchers/{serial}"))["valid_until"] for serial in serials]


def test_a_range_ends_later(kami: Kami, batch: Json) -> None:
    serials = kami.serials(batch["id"])
    answer = extend(kami, until=LATER, first_serial=serials[2], last_serial=serials[4])
    made = granted(answer, 201)
    assert (made["extended"], made["skipped"]["count"], made["valid_until"]) == (3, 0, LATER)
    assert "days" not in made
    assert ends(kami, serials[1:6]) == [rfc3339(END), LATER, LATER, LATER, rfc3339(END)]
    assert granted(kami.operator.get(f"/v1/extensions/{made['id']}")) == made
    assert answer.header("location") == f"/v1/extensions/{made['id']}"


def test_days_are_added_to_each_end(kami: Kami, batch: Json) -> None:
    serials = kami.serials(batch["id"])
    extend(kami, days=10, serials=serials[:1])
    made = granted(extend(kami, days=30, batch=batch["id"]), 201)
    assert (made["extended"], made["days"]) == (10, 30)
    assert ends(kami, serials[:2]) == [rfc3339(END + 40 * DAY_S), rfc3339(END + 30 * DAY_S)]


def test_nothing_is_valid_for_less(kami: Kami, batch: Json) -> None:
    serials = kami.serials(batch["id"])
    extend(kami, until=LATER, serials=serials[:4])
    for until in (LATER, "2030-06-01T00:00:00Z"):
        made = granted(extend(kami, until=until, serials=serials[:4]), 201)
        assert (made["extended"], made["skipped"]["by_reason"]) == (0, {"not_longer": 4})
    made = granted(extend(kami, until="2030-06-01T00:00:00Z", batch=batch["id"]), 201)
    assert (made["extended"], made["skipped"]["by_reason"]) == (6, {"not_longer": 4})
    assert ends(kami, serials[3:5]) == [LATER, "2030-06-01T00:00:00Z"]


def test_an_expired_card_is_good_again(kami: Kami, batch: Json, clock: Clock) -> None:
    kami.activate(batch=batch["id"])
    (code,) = kami.codes(kami.serials(batch["id"])[:1])
    clock.now = END
    refused(kami.merchant.redeem(code), 410, "voucher_expired")
    extend(kami, until=LATER, batch=batch["id"])
    granted(kami.merchant.redeem(code), 201)


def test_what_is_valid_from_its_activation_is_extended_after_it_only(kami: Kami, clock: Clock) -> None:
    batch = kami.batch(kami.campaign(valid_until=None, valid_days_after_activation=7)["id"], 4)
    serials = kami.serials(batch["id"])
    kami.activate(serials=serials[:1])
    made = granted(extend(kami, days=7, batch=batch["id"]), 201)
    assert (made["extended"], made["skipped"]["by_reason"]) == (1, {"no_end": 3})
    assert ends(kami, serials[:1]) == [rfc3339(clock.now + 14 * DAY_S)]


def test_what_is_recalled_is_not_extended(kami: Kami, batch: Json) -> None:
    granted(kami.operator.post("/v1/recoveries", kami.recovery(batch=batch["id"])), 202)
    order = {"selection": {"batch": batch["id"]}, "days": 1}
    made = granted(kami.operator.post("/v1/extensions", order), 201)
    assert made["skipped"]["by_reason"] == {"recalled": 10}


def test_no_end_lies_beyond_what_there_is(kami: Kami, batch: Json) -> None:
    for _ in range(10):
        extend(kami, days=3_650, batch=batch["id"])
    assert ends(kami, [batch["first_serial"]]) == [rfc3339(VALID_UNTIL_MAX)]


def test_an_end_in_the_past_is_refused_but_a_repeat_of_its_order_is_not(kami: Kami, batch: Json, clock: Clock) -> None:
    refused(extend(kami, until="2020-01-01T00:00:00Z", batch=batch["id"]), 400, "invalid_request")
    key = unique()
    first = extend(kami, key, until=LATER, batch=batch["id"])
    clock.now = END + 400 * DAY_S
    again = extend(kami, key, until=LATER, batch=batch["id"])
    assert (again.status, replayed(again), again.body) == (201, True, first.body)
    refused(extend(kami, key, days=1, batch=batch["id"]), 422, "idempotency_key_reused")


@pytest.mark.usefixtures("few_segments")
def test_vouchers_with_an_end_of_their_own_are_extended_one_by_one(kami: Kami, batch: Json) -> None:
    """Where their segment is extended, where it is not, and where they are used up."""
    serials = kami.serials(batch["id"])
    kami.activate(serials=[serials[1], serials[3], serials[5], serials[7]])  # too scattered: written singly
    kami.cloud.drain()
    codes = kami.codes(serials)
    granted(kami.merchant.redeem(codes[7]), 201)
    kami.cloud.drain()
    made = granted(extend(kami, days=5, serials=serials[:8]), 201)
    assert (made["extended"], made["skipped"]["by_reason"]) == (7, {"redeemed": 1})
    assert set(ends(kami, serials[:7])) == {rfc3339(END + 5 * DAY_S)}
    assert set(ends(kami, serials[7:])) == {rfc3339(END)}
    made = granted(extend(kami, until=rfc3339(END + 5 * DAY_S), batch=batch["id"]), 201)
    assert (made["extended"], made["skipped"]["by_reason"]) == (2, {"not_longer": 7, "redeemed": 1})


@pytest.mark.usefixtures("few_segments")
def test_vouchers_that_are_valid_from_their_own_activation_are_extended_in_a_range_that_is_not(kami: Kami) -> None:
    batch = kami.batch(kami.campaign(valid_until=None, valid_days_after_activation=7)["id"], 6)
    serials = kami.serials(batch["id"])
    kami.activate(serials=serials[1::2])
    kami.cloud.drain()
    before = ends(kami, serials[1::2])
    made = granted(extend(kami, days=7, batch=batch["id"]), 201)
    assert (made["extended"], made["skipped"]["by_reason"]) == (3, {"no_end": 3})
    assert all(one < other for one, other in zip(before, ends(kami, serials[1::2]), strict=True))


def test_a_card_that_a_reclaim_spared_is_extended_from_the_end_that_it_kept(kami: Kami, clock: Clock) -> None:
    rules = {"valid_until": None, "valid_days_after_activation": 30, "redemption": "balance"}
    batch = kami.batch(kami.campaign(**rules)["id"], 10)
    kami.activate(batch=batch["id"])
    serials, kept = kami.serials(batch["id"]), rfc3339(clock.now + 30 * DAY_S)
    (code,) = kami.codes(serials[:1])
    granted(kami.merchant.redeem(code, amount_minor=1), 201)
    order = {**kami.recovery("reclaim", batch=batch["id"]), "only": "not_redeemed"}
    granted(kami.operator.post("/v1/recoveries", order), 202)
    kami.cloud.drain(delayed=False)
    clock.advance(FENCE_S)
    kami.cloud.drain()
    assert ends(kami, serials[:1]) == [kept]
    made = granted(extend(kami, days=10, batch=batch["id"]), 201)
    assert (made["extended"], made["skipped"]["by_reason"]) == (1, {"no_end": 9})
    assert ends(kami, serials[:1]) == [rfc3339(clock.now - FENCE_S + 40 * DAY_S)]


@pytest.mark.usefixtures("few_segments")
def test_history_tells_of_extensions_of_ranges_and_of_single_vouchers(kami: Kami, batch: Json) -> None:
    serials = kami.serials(batch["id"])
    kami.activate(serials=serials[1:6:2])
    kami.cloud.drain()
    made = granted(extend(kami, until=LATER, batch=batch["id"]), 201)
    lines = [granted(kami.operator.get(f"/v1/vouchers/{serial}/history"))["data"] for serial in serials[:2]]
    assert [(line["event"], line["command"]) for line in lines[0][1:]] == [("extended", made["id"])]
    own = [line for line in lines[1] if line["event"] == "extended" and "valid_until" in line]
    assert [(line["command"], line["valid_until"]) for line in own] == [(made["id"], LATER)]


def test_a_lot_that_cannot_be_cut_further_is_left_as_it_is(
    kami: Kami, batch: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.store.ranges.SEGMENTS_HELD_MAX", 2)
    serials = kami.serials(batch["id"])
    made = granted(extend(kami, days=1, serials=serials[4:5]), 201)
    assert (made["extended"], made["skipped"]["by_reason"]) == (0, {"lot_fragmented": 1})
    assert granted(extend(kami, days=1, serials=serials[:5]), 201)["extended"] == 5


def test_what_is_unknown_is_not_found(kami: Kami) -> None:
    refused(extend(kami, days=1, batch="bat_none"), 404, "not_found")
    refused(kami.operator.get("/v1/extensions/ext_none"), 404, "not_found")
