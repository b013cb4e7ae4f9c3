"""What a recovery would come to, told before: the same as its report when nothing happens in between."""

from __future__ import annotations

from typing import Any

import pytest

from functions.domain.lot import SEGMENTS_PER_LOT_MAX
from functions.store.aws import FENCE_S
from tests.integration.conftest import Clock
from tests.integration.kami import Json, Kami, claim, granted, mobile, refused

SAME = ("action", "reason", "only", "selected", "recovered", "value")
CASES: list[tuple[str, str, str | None]] = [
    (kind, action, only)
    for kind in ("batch", "serials")
    for action in ("void", "reclaim", "suspend")
    for only in (None, "not_redeemed", "not_claimed", "not_activated")
    if kind == "batch" or only is None
]


@pytest.fixture
def batch(kami: Kami, clock: Clock) -> str:
    """Of each kind one, among others; two holders."""
    made: str = kami.batch(kami.campaign(redemption="balance")["id"], 8)["id"]
    serials = kami.serials(made)
    kami.activate(first_serial=serials[1], last_serial=serials[6])
    codes = kami.codes(serials)
    granted(kami.merchant.redeem(codes[1], amount_minor=2_000), 201)
    granted(kami.merchant.redeem(codes[2]), 201)
    granted(kami.merchant.reverse(granted(kami.merchant.redeem(codes[3], amount_minor=1), 201)["id"]), 201)
    granted(kami.operator.post("/v1/claims", {"code": codes[4], "customer": mobile()}, "claim" + made), 201)
    settle(kami, clock)
    return made


def settle(kami: Kami, clock: Clock) -> None:
    for _ in range(20):
        kami.cloud.drain(delayed=False)
        if not kami.cloud.hasten():
            return
        clock.advance(FENCE_S)
    raise AssertionError("it does not end")


def order(kami: Kami, batch: str, kind: str, action: str, only: str | None) -> Json:
    selection: Json = {"batch": batch} if kind == "batch" else {"serials": kami.serials(batch)}
    return {**kami.recovery(action, **selection), **({"only": only} if only else {})}


def forecast(kami: Kami, body: Any) -> Json:
    return granted(kami.operator.post("/v1/recoveries?dry_run=true", body))


def told(kami: Kami, recovery: str) -> int:
    return sum(key[0].startswith(f"RECOVERED#{recovery}#") for key in kami.items())


@pytest.mark.parametrize(("kind", "action", "only"), CASES)
def test_a_forecast_writes_nothing_and_says_what_the_report_will(
    kami: Kami, clock: Clock, batch: str, kind: str, action: str, only: str | None
) -> None:
    body, before = order(kami, batch, kind, action, only), kami.items()
    foreseen = forecast(kami, body)
    assert kami.items() == before
    assert (foreseen["exact"], foreseen["needs_approval"], foreseen["needs_one_time_code"]) == (True, False, False)
    id = granted(kami.operator.post("/v1/recoveries", body), 202)["id"]
    settle(kami, clock)
    done = granted(kami.operator.get(f"/v1/recoveries/{id}"))
    assert done["status"] == "completed"
    assert {name: foreseen.get(name) for name in SAME} == {name: done.get(name) for name in SAME}
    assert foreseen["skipped"] == {name: done["skipped"][name] for name in ("count", "by_reason")}
    assert foreseen["told"] == told(kami, id)


@pytest.mark.parametrize("kind", ["batch", "serials"])
def test_of_a_resume_too(kami: Kami, clock: Clock, batch: str, kind: str) -> None:
    id = granted(kami.operator.post("/v1/recoveries", order(kami, batch, kind, "suspend", None)), 202)["id"]
    settle(kami, clock)
    body = {"action": "resume", "reason": "other", "recovery": id}
    foreseen, resumed = forecast(kami, body), granted(kami.operator.post("/v1/recoveries", body), 202)["id"]
    settle(kami, clock)
    done = granted(kami.operator.get(f"/v1/recoveries/{resumed}"))
    assert {name: foreseen.get(name) for name in SAME} == {name: done.get(name) for name in SAME}
    assert foreseen["skipped"]["by_reason"] == done["skipped"]["by_reason"]
    assert foreseen["told"] == told(kami, resumed)


def test_a_lot_that_cannot_be_cut_is_foreseen(kami: Kami, clock: Clock) -> None:
    batch = kami.batch(kami.campaign()["id"], 4 * SEGMENTS_PER_LOT_MAX)["id"]
    body = kami.recovery("reclaim", serials=kami.serials(batch)[::2])
    foreseen = forecast(kami, body)
    assert foreseen["skipped"]["by_reason"] == {"lot_fragmented": foreseen["selected"]}
    id = granted(kami.operator.post("/v1/recoveries", body), 202)["id"]
    settle(kami, clock)
    assert (
        granted(kami.operator.get(f"/v1/recoveries/{id}"))["skipped"]["by_reason"] == foreseen["skipped"]["by_reason"]
    )


def test_scattered_cards_of_a_suspension_are_foreseen_to_be_resumed_where_they_will_be(
    kami: Kami, clock: Clock
) -> None:
    batch = kami.batch(kami.campaign()["id"], 2 * SEGMENTS_PER_LOT_MAX)["id"]
    stop = granted(kami.operator.post("/v1/recoveries", kami.recovery("suspend", batch=batch)), 202)["id"]
    settle(kami, clock)
    body = {**kami.recovery("resume", serials=kami.serials(batch)[::2]), "recovery": stop}
    foreseen, id = forecast(kami, body), granted(kami.operator.post("/v1/recoveries", body), 202)["id"]
    settle(kami, clock)
    done = granted(kami.operator.get(f"/v1/recoveries/{id}"))
    assert foreseen["recovered"] == done["recovered"] == SEGMENTS_PER_LOT_MAX


def test_it_says_what_the_requester_needs(kami: Kami, clock: Clock) -> None:
    rules = {"allow": [{"roles": ["operator"], "actions": ["void"], "vouchers_alone": 1}],
             "one_time_code": {"void_above": 1}}  # fmt: skip
    batch = kami.batch(kami.campaign(recovery_rules=rules)["id"], 2)["id"]
    foreseen = forecast(kami, kami.recovery(batch=batch))
    assert (foreseen["needs_approval"], foreseen["needs_one_time_code"]) == (True, True)
    refused(kami.operator.post("/v1/recoveries?dry_run=true", kami.recovery("reclaim", batch=batch)), 403,
            "recovery_not_allowed")  # fmt: skip


def test_without_time_to_look_at_all_of_it_it_says_so(kami: Kami, batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.edge.batch.CALL_BUDGET_S", -1.0)
    foreseen = forecast(kami, kami.recovery(batch=batch))
    assert (foreseen["exact"], foreseen["recovered"], foreseen["told"]) == (False, 8, 0)


def test_what_is_no_yes_or_no_is_bad_input(kami: Kami, batch: str) -> None:
    for text in ("", "1", "yes", "True"):
        refused(
            kami.operator.post(f"/v1/recoveries?dry_run={text}", kami.recovery(batch=batch)), 400, "invalid_request"
        )
    assert granted(kami.operator.post("/v1/recoveries?dry_run=false", kami.recovery(batch=batch)), 202)["id"]


def test_what_is_held_counts_among_who_would_be_told(kami: Kami, clock: Clock) -> None:
    card = claim(kami, kami.voucher(), mobile())
    kami.cloud.drain(delayed=False)
    assert forecast(kami, kami.recovery(serials=[card.serial]))["told"] == 1
