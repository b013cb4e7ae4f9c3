"""What is reclaimed after a campaign's end: once, announced before, of what is not activated, unless it is stopped."""

from __future__ import annotations

import json
import time

import pytest

from functions.domain.errors import Refusal
from functions.domain.reclaim import NOTICE_MIN_S, NOTICE_S, recovery_id
from functions.domain.times import rfc3339
from functions.domain.voucher import DAY_S
from functions.recover import reclaims, service
from functions.store import keys, table
from functions.store.aws import FENCE_S
from tests.integration.conftest import Clock
from tests.integration.kami import Json, Kami, granted, refused, unique

DAYS = 30


class Ending:
    """A campaign that ends in a month, with two batches: half of the first is activated."""

    def __init__(self, kami: Kami, clock: Clock) -> None:
        self.kami, self.clock = kami, clock
        self.ends = clock.now + 30 * DAY_S
        made = kami.campaign(valid_until=rfc3339(self.ends), reclaim_unactivated_after_days=DAYS)
        self.id: str = made["id"]
        self.due = self.ends + DAYS * DAY_S
        self.batches = [kami.batch(self.id, 4)["id"] for _ in range(2)]
        self.serials = kami.serials(self.batches[0])
        kami.activate(serials=self.serials[:2])
        self.settle()

    @property
    def reclaim(self) -> Json:
        shown: Json = granted(self.kami.operator.get(f"/v1/campaigns/{self.id}"))["reclaim"]
        return shown

    def at(self, now: int) -> Json:
        """The clock comes to a time, and to its schedule, and all is done that follows."""
        self.clock.now = now
        self.kami.cloud.fire()
        self.settle()
        return self.reclaim

    def settle(self) -> None:
        for _ in range(20):
            self.kami.cloud.drain(delayed=False)
            if not self.kami.cloud.hasten():
                return
            self.clock.advance(FENCE_S)
        raise AssertionError("it does not end")

    def recoveries(self) -> list[Json]:
        mine = [recovery_id(self.id, batch) for batch in self.batches]
        answers = [self.kami.operator.get(f"/v1/recoveries/{id}") for id in mine]
        return [answer.json() for answer in answers if answer.status == 200]

    def stop(self) -> Json:
        return granted(self.kami.operator.post(f"/v1/campaigns/{self.id}/reclaim-stops", None))


@pytest.fixture
def ending(kami: Kami, clock: Clock) -> Ending:
    return Ending(kami, clock)


def test_a_run_that_broke_off_goes_on_with_the_batches_that_are_left(
    ending: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one that cannot be reclaimed yet hold the others up."""
    ending.at(ending.due - NOTICE_S)
    order, tried = reclaims._order, list[str]()

    def refusing(campaign: str, batch: str, now: int) -> None:
        tried.append(batch)
        if len(tried) == 1:
            raise Refusal("still_generating")
        order(campaign, batch, now)

    monkeypatch.setattr(reclaims, "_order", refusing)
    with ending.kami.cloud.environment("recover"):
        with pytest.raises(Refusal):
            reclaims.proceed(ending.id, ending.due, time.monotonic() + 60)
        assert reclaims.proceed(ending.id, ending.due, time.monotonic() + 60) is None
    assert tried == [*ending.batches, ending.batches[0]]
    ending.clock.now = ending.due
    ending.settle()
    assert [each["status"] for each in ending.recoveries()] == ["completed"] * 2


def test_what_is_not_activated_is_reclaimed_once_and_announced_before(ending: Ending) -> None:
    kami = ending.kami
    assert ending.reclaim == {"after_days": DAYS, "status": "scheduled", "due_at": rfc3339(ending.due)}
    assert ending.at(ending.due - NOTICE_S - 3_600)["status"] == "scheduled"
    announced = ending.at(ending.due - NOTICE_S)
    assert announced == {
        "after_days": DAYS, "status": "announced", "due_at": rfc3339(ending.due),
        "announced_at": rfc3339(ending.due - NOTICE_S),
    }  # fmt: skip
    assert ending.at(ending.due - 1)["status"] == "announced"
    assert ending.recoveries() == []
    assert ending.at(ending.due)["status"] == "started"
    first, second = ending.recoveries()
    terms = ("action", "only", "reason", "via", "status")
    assert [first[name] for name in terms] == ["reclaim", "not_activated", "campaign_over", "schedule", "completed"]
    assert (first["recovered"], first["skipped"]["by_reason"], second["recovered"]) == (2, {"activated": 2}, 4)
    assert list(kami.statuses(ending.batches[0]).values()) == ["expired"] * 2 + ["generated"] * 2
    assert granted(kami.operator.get(f"/v1/vouchers/{ending.serials[3]}"))["generation"] == 2
    before = [recovery["completed_at"] for recovery in ending.recoveries()]
    for later in (3_600, DAY_S):
        ending.at(ending.due + later)
    assert [recovery["completed_at"] for recovery in ending.recoveries()] == before
    assert granted(kami.operator.get(f"/v1/vouchers/{ending.serials[3]}"))["generation"] == 2


def test_what_was_reclaimed_is_handed_out_again(ending: Ending) -> None:
    kami = ending.kami
    (old,) = kami.codes(ending.serials[3:])
    ending.at(ending.due - NOTICE_S)
    ending.at(ending.due)
    extended = {"selection": {"batch": ending.batches[0]}, "valid_until": rfc3339(ending.clock.now + 90 * DAY_S)}
    granted(kami.operator.post("/v1/extensions", extended), 201)
    kami.activate(serials=ending.serials[3:])
    (new,) = kami.codes(ending.serials[3:])
    refused(kami.merchant.redeem(old), 404, "voucher_not_redeemable")
    granted(kami.merchant.redeem(new), 201)


@pytest.mark.parametrize("announced", [False, True])
def test_a_reclaim_can_be_stopped_until_it_begins(ending: Ending, announced: bool) -> None:
    if announced:
        ending.at(ending.due - NOTICE_S)
    stopped = ending.stop()["reclaim"]
    assert (stopped["status"], "announced_at" in stopped) == ("stopped", announced)
    ending.clock.advance(60)
    assert ending.stop()["reclaim"] == stopped
    for now in (ending.due - NOTICE_S, ending.due, ending.due + DAY_S):
        assert ending.at(now) == stopped
    assert ending.recoveries() == []


def test_what_has_begun_is_not_stopped(ending: Ending) -> None:
    ending.at(ending.due - NOTICE_S)
    ending.at(ending.due)
    answer = ending.kami.operator.post(f"/v1/campaigns/{ending.id}/reclaim-stops", None)
    refused(answer, 409, "reclaim_started")


def test_a_clock_that_stood_still_announces_first_and_leaves_a_day(ending: Ending) -> None:
    late = ending.due + 10 * DAY_S
    announced = ending.at(late)
    assert (announced["status"], announced["due_at"]) == ("announced", rfc3339(late + NOTICE_MIN_S))
    assert ending.at(late + NOTICE_MIN_S - 1)["status"] == "announced"
    assert ending.at(late + NOTICE_MIN_S)["status"] == "started"
    assert len(ending.recoveries()) == 2


def test_a_run_that_broke_off_is_taken_up_by_the_next(ending: Ending, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first of two batches; what it ordered is not ordered again."""
    ending.at(ending.due - NOTICE_S)
    prepared, calls = service.prepared, []

    def broken(id: str, *rest: object) -> object:
        calls.append(id)
        if len(calls) == 2:
            raise RuntimeError("planted")
        return prepared(id, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(service, "prepared", broken)
        with ending.kami.cloud.environment("recover"), pytest.raises(RuntimeError, match="planted"):
            reclaims.proceed(ending.id, ending.due, time.monotonic() + 60)
    ending.at(ending.due + 3_600)
    assert [recovery["status"] for recovery in ending.recoveries()] == ["completed"] * 2
    assert ending.reclaim["status"] == "started"


def test_only_what_is_due_is_looked_at_and_what_is_done_with_has_left_the_index(ending: Ending) -> None:
    kami = ending.kami

    def places() -> list[str]:
        item = kami.items()[f"CAMPAIGN#{ending.id}", "CAMPAIGN"]
        return [item[name]["S"] for name in ("gsi2pk", "gsi2sk") if name in item]

    assert places()[1] == f"{ending.due - NOTICE_S:012d}#{ending.id}"
    with kami.cloud.environment("recover"):
        for partition in keys.reclaiming_of():
            due = table.query(partition, limit=10, after=keys.reclaiming_until(ending.clock.now), newest_first=True,
                              index="gsi2")  # fmt: skip
            assert ending.id not in json.dumps(due)
    ending.at(ending.due - NOTICE_S)
    assert places()[1] == f"{ending.due:012d}#{ending.id}"
    ending.at(ending.due)
    assert places() == []


def test_a_campaign_that_never_ends_has_none(kami: Kami) -> None:
    terms: Json = {"valid_until": None, "valid_days_after_activation": 30}
    assert "reclaim" not in kami.campaign(**terms)
    body = {"name": "x", "kind": "data", "face_value": {"amount_minor": 1, "currency": "CNY"}, "redemption": "single",
            "valid_days_after_activation": 30, "reclaim_unactivated_after_days": 1}  # fmt: skip
    refused(kami.operator.post("/v1/campaigns", body, unique()), 400, "invalid_request")
    refused(kami.operator.post(f"/v1/campaigns/{kami.campaign()['id']}/reclaim-stops", None), 404, "not_found")
    refused(kami.operator.post("/v1/campaigns/cmp_none/reclaim-stops", None), 404, "not_found")
