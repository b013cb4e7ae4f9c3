"""Rules of recoveries and a second person's word on them: who may do what alone, and who may not decide."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from functions.domain.authority import APPROVAL_S, EXPIRY_SHOWN_AFTER_S, PERIOD_S, SPENT_FOR_S, Share
from functions.domain.recovery import Recovery
from functions.recover import judging
from functions.store.aws import FENCE_S
from infra.local.gateway import Answer
from tests.integration.conftest import Clock
from tests.integration.kami import Caller, Json, Kami, granted, refused, replayed, unique

ALONE = 2
STRICT: Json = {
    "allow": [
        {"roles": ["operator"], "actions": ["void"], "reasons": ["stolen"], "vouchers_alone": ALONE},
        {"roles": ["operator", "approver"], "actions": ["void"], "value_minor_alone": 9_999},
        {"roles": ["approver"], "actions": ["reclaim"], "serials_only": True},
    ]
}


@pytest.fixture(scope="module")
def approver(kami: Kami) -> Caller:
    return kami.client("approver")


@pytest.fixture
def batch(kami: Kami, clock: Clock) -> str:
    """Three vouchers of CNY 50.00 that nobody may void alone for being stolen."""
    made: str = kami.batch(kami.campaign(recovery_rules=STRICT)["id"], ALONE + 1)["id"]
    kami.activate(batch=made)
    return made


def ordered(kami: Kami, batch: str, by: Caller | None = None) -> Json:
    order = {**kami.recovery(batch=batch), "reason": "stolen"}
    made = granted((by or kami.operator).post("/v1/recoveries", order, unique()), 202)
    assert (made["status"], made["phase"]) == ("awaiting_approval", "approval")
    return made


def decide(by: Caller, recovery: Json, decision: str = "approve", key: str | None = None, **changes: str) -> Answer:
    body = {"digest": recovery["approval"]["digest"], "decision": decision, **changes}
    return by.post(f"/v1/recoveries/{recovery['id']}/approvals", body, key or unique())


def read(kami: Kami, recovery: Json) -> Json:
    return granted(kami.operator.get(f"/v1/recoveries/{recovery['id']}"))


def settle(kami: Kami, clock: Clock) -> None:
    """Has all recoveries done, fences and all."""
    for _ in range(20):
        kami.cloud.drain(delayed=False)
        if not kami.cloud.hasten():
            return
        clock.advance(FENCE_S)
    raise AssertionError("it does not end")


@pytest.fixture
def untouched(kami: Kami, clock: Clock, batch: str) -> Iterator[None]:
    """Lots and vouchers are left as they are."""
    settle(kami, clock)
    before = lots_and_vouchers(kami)
    yield
    kami.cloud.drain(delayed=False)
    assert lots_and_vouchers(kami) == before


def lots_and_vouchers(kami: Kami) -> dict[tuple[str, str], Json]:
    return {key: item for key, item in kami.items().items() if key[0].startswith(("LOT#", "VOUCHER#"))}


# Rules


@pytest.mark.parametrize(("action", "reason", "role", "way", "status"), [
    ("void", "stolen", "operator", "serials", "in_progress"),
    ("void", "stolen", "operator", "batch", "awaiting_approval"),
    ("void", "lost", "operator", "serial", "in_progress"),
    ("void", "lost", "operator", "serials", "awaiting_approval"),
    ("void", "stolen", "approver", "serial", "in_progress"),
    ("reclaim", "unsold", "approver", "serials", "in_progress"),
    ("reclaim", "unsold", "approver", "batch", "refused"),
    ("reclaim", "unsold", "operator", "serials", "refused"),
])  # fmt: skip
def test_the_first_rule_that_fits_decides(
    kami: Kami, approver: Caller, batch: str, action: str, reason: str, role: str, way: str, status: str
) -> None:
    caller = {"operator": kami.operator, "approver": approver}[role]
    serials = kami.serials(batch)
    selection: Json = {
        "batch": {"batch": batch},
        "serials": {"serials": serials[:2]},
        "serial": {"serials": serials[:1]},
    }
    order = {**kami.recovery(action, **selection[way]), "reason": reason}
    answer = caller.post("/v1/recoveries", order)
    if status == "refused":
        refused(answer, 403, "recovery_not_allowed")
    else:
        assert granted(answer, 202)["status"] == status


def test_each_campaigns_rules_must_allow_its_share(kami: Kami, clock: Clock, batch: str) -> None:
    nobody: Json = {"allow": []}
    free, closed = (kami.batch(kami.campaign(recovery_rules=rules)["id"], 1)["id"] for rules in (None, nobody))
    serials = [kami.serials(each)[0] for each in (free, closed)]
    order = {**kami.recovery(serials=[*kami.serials(batch), serials[0]]), "reason": "stolen"}
    made = granted(kami.operator.post("/v1/recoveries", order), 202)
    assert (made["status"], made["approval"]["vouchers"]) == ("awaiting_approval", ALONE + 2)
    assert made["approval"]["value"] == [{"amount_minor": 5_000 * (ALONE + 2), "currency": "CNY"}]
    order = {**kami.recovery(serials=serials), "reason": "stolen"}
    document = refused(kami.operator.post("/v1/recoveries", order), 403, "recovery_not_allowed")
    assert document["campaign"] == granted(kami.operator.get(f"/v1/batches/{closed}"))["campaign"]


def test_a_campaign_shows_its_rules(kami: Kami) -> None:
    strict = kami.campaign(recovery_rules=STRICT)
    assert strict["recovery_rules"] == {"allow": [{"serials_only": False, **rule} for rule in STRICT["allow"]]}
    default = kami.campaign()["recovery_rules"]["allow"]
    assert [(rule["roles"], rule["actions"]) for rule in default][1] == (
        ["operator", "approver"], ["reclaim", "void", "reissue"],
    )  # fmt: skip


def test_what_is_spared_does_not_count(kami: Kami, clock: Clock, batch: str) -> None:
    """Three are active: nothing is left of them for a recovery that spares those."""
    order = {**kami.recovery(batch=batch), "reason": "stolen", "only": "not_activated"}
    assert granted(kami.operator.post("/v1/recoveries", order), 202)["status"] == "in_progress"


# A day's worth


def void(
    kami: Kami, serials: list[str], key: str | None = None, by: Caller | None = None, reason: str = "stolen"
) -> str:
    """The status of an order; a dry run has said beforehand whether it would need a second person."""
    order = {**kami.recovery(serials=serials), "reason": reason}
    caller = by or kami.operator
    foreseen = granted(caller.post("/v1/recoveries?dry_run=true", order))
    answer = caller.post("/v1/recoveries", order, key or unique())
    made = granted(answer, 202)
    waits: bool = made["status"] == "awaiting_approval"
    assert replayed(answer) or foreseen["needs_approval"] == waits
    return str(made["status"])


def test_what_one_may_do_alone_one_may_do_in_a_day_in_however_many_orders(
    kami: Kami, clock: Clock, approver: Caller
) -> None:
    serials = kami.serials(kami.batch(kami.campaign(recovery_rules=STRICT)["id"], 9)["id"])
    key = unique()
    for _ in range(3):
        assert void(kami, serials[:1], key) == "in_progress"
    assert void(kami, serials[1:2]) == "in_progress"
    assert void(kami, serials[2:3]) == "awaiting_approval"
    assert void(kami, serials[2:3], by=kami.client("operator")) == "in_progress"
    clock.advance(SPENT_FOR_S - 1)
    assert void(kami, serials[3:4]) == "awaiting_approval"
    clock.advance(PERIOD_S + 1)
    assert void(kami, serials[3:5]) == "in_progress"


def test_what_a_second_person_approves_is_not_ones_own(kami: Kami, clock: Clock, approver: Caller) -> None:
    batch = kami.batch(kami.campaign(recovery_rules=STRICT)["id"], ALONE + 1)["id"]
    granted(decide(approver, ordered(kami, batch)), 201)
    more = kami.batch(granted(kami.operator.get(f"/v1/batches/{batch}"))["campaign"], ALONE)["id"]
    assert void(kami, kami.serials(more)) == "in_progress"


def test_the_value_of_a_day_is_limited_over_all_reasons(kami: Kami, clock: Clock) -> None:
    """CNY 50.00 each: one for being lost, by a rule that limits the value to less than that of two."""
    serials = kami.serials(kami.batch(kami.campaign(recovery_rules=STRICT)["id"], 3)["id"])
    assert void(kami, serials[:1], reason="stolen") == "in_progress"
    assert void(kami, serials[1:2], reason="lost") == "awaiting_approval"
    assert void(kami, serials[1:2], reason="stolen") == "in_progress"


def test_campaigns_and_actions_are_counted_apart_and_all_of_an_order_or_nothing(kami: Kami, clock: Clock) -> None:
    rules = {"allow": [{"roles": ["operator"], "actions": ["void", "suspend"], "vouchers_alone": ALONE}]}
    first, second = (
        kami.serials(kami.batch(kami.campaign(recovery_rules=rules)["id"], ALONE + 2)["id"]) for _ in range(2)
    )
    assert void(kami, [*first[:ALONE], second[0]]) == "in_progress"
    assert void(kami, [second[1], first[ALONE]]) == "awaiting_approval"  # nothing of this counts
    assert void(kami, second[1:ALONE]) == "in_progress"
    suspended = {**kami.recovery("suspend", serials=first[ALONE:]), "reason": "stolen"}
    assert granted(kami.operator.post("/v1/recoveries", suspended), 202)["status"] == "in_progress"


def test_more_campaigns_than_are_counted_at_once_take_a_second_person(
    kami: Kami, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "COUNTED_MAX", 1)
    serials = [kami.serials(kami.batch(kami.campaign()["id"], 2)["id"]) for _ in range(2)]
    assert void(kami, [each[0] for each in serials]) == "awaiting_approval"
    for each in serials:
        assert void(kami, each[1:]) == "in_progress"


# Decisions


def test_what_awaits_approval_touches_nothing_until_a_second_person_approves_it(
    kami: Kami, clock: Clock, approver: Caller, batch: str
) -> None:
    (code,) = kami.codes(kami.serials(batch)[:1])
    recovery = ordered(kami, batch)
    asked = recovery["approval"]
    assert (asked["vouchers"], asked["value"]) == (3, [{"amount_minor": 15_000, "currency": "CNY"}])
    kami.cloud.drain(delayed=False)
    granted(kami.merchant.verify(code))
    made = granted(decide(approver, recovery), 201)
    assert (made["decision"], made["decided_by"], made["recovery"]) == ("approve", approver.client_id, recovery["id"])
    refused(kami.merchant.verify(code), 404, "voucher_not_redeemable")  # within the call
    kami.cloud.drain(delayed=False)
    settle(kami, clock)
    done = read(kami, recovery)
    assert (done["status"], done["recovered"]) == ("completed", 3)
    assert done["approval"] == {name: value for name, value in made.items() if name not in ("id", "recovery")}


@pytest.mark.usefixtures("untouched")
def test_a_rejected_recovery_does_nothing(kami: Kami, approver: Caller, batch: str) -> None:
    recovery = ordered(kami, batch)
    assert granted(decide(approver, recovery, "reject"), 201)["decision"] == "reject"
    kami.cloud.drain(delayed=False)
    assert read(kami, recovery)["status"] == "rejected"
    refused(decide(approver, recovery), 409, "already_decided")


def test_what_was_rejected_has_suspended_nothing_that_could_be_resumed(
    kami: Kami, clock: Clock, approver: Caller
) -> None:
    """Nor will it: to wait for it would be in vain."""
    stop = kami.awaiting_approval(action="suspend")
    resume = {"action": "resume", "reason": "other", "recovery": stop["id"]}
    refused(kami.operator.post("/v1/recoveries", resume), 409, "recovery_in_progress")
    granted(decide(approver, stop, "reject"), 201)
    refused(kami.operator.post("/v1/recoveries", resume), 400, "invalid_request")


def test_nobody_decides_on_an_own_request(kami: Kami, clock: Clock, approver: Caller, batch: str) -> None:
    """Whatever role or tenant the same client has by then."""
    for decision in ("approve", "reject"):
        rule = {"roles": ["approver"], "actions": ["void"], "vouchers_alone": 0}
        own = kami.batch(kami.campaign(recovery_rules={"allow": [rule]})["id"], 1)["id"]
        recovery = ordered(kami, own, by=approver)
        refused(decide(approver, recovery, decision), 403, "own_request")
        assert read(kami, recovery)["status"] == "awaiting_approval"
    refused(decide(kami.operator, ordered(kami, batch)), 403, "insufficient_scope")


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_repeated_decision_is_answered_as_the_first_time_and_another_is_refused(
    kami: Kami, clock: Clock, approver: Caller, batch: str, decision: str
) -> None:
    recovery, key = ordered(kami, batch), unique()
    first = decide(approver, recovery, decision, key)
    clock.advance(APPROVAL_S)
    repeat = decide(approver, recovery, decision, key)
    assert replayed(repeat)
    assert repeat.body == first.body
    other = {"approve": "reject", "reject": "approve"}[decision]
    refused(decide(approver, recovery, other, key), 422, "idempotency_key_reused")
    for again in ("approve", "reject"):
        refused(decide(approver, recovery, again), 409, "already_decided")
        refused(decide(kami.client("approver"), recovery, again), 409, "already_decided")


@pytest.mark.usefixtures("untouched")
def test_a_digest_of_something_else_decides_nothing(kami: Kami, approver: Caller, batch: str) -> None:
    recovery = ordered(kami, batch)
    other = ordered(kami, batch)["approval"]["digest"]
    assert other == recovery["approval"]["digest"]  # the very same request
    order = {**kami.recovery("void", batch=batch), "reason": "stolen", "note": "another"}
    other = granted(kami.operator.post("/v1/recoveries", order), 202)["approval"]["digest"]
    for decision in ("approve", "reject"):
        refused(decide(approver, recovery, decision, digest=other), 409, "request_changed")


def test_what_has_grown_since_is_asked_for_again(kami: Kami, clock: Clock, approver: Caller, batch: str) -> None:
    """Those that are active are spared; then a reclaim puts them back to stock, and the request would take them too."""
    serials = kami.serials(batch)
    more = kami.batch(granted(kami.operator.get(f"/v1/batches/{batch}"))["campaign"], ALONE + 1)["id"]
    span = {"first_serial": serials[0], "last_serial": kami.serials(more)[-1]}
    order = {**kami.recovery(**span), "reason": "stolen", "only": "not_activated"}
    recovery = granted(kami.operator.post("/v1/recoveries", order), 202)
    assert recovery["approval"]["vouchers"] == ALONE + 1
    granted(approver.post("/v1/recoveries", kami.recovery("reclaim", serials=serials)), 202)
    settle(kami, clock)
    refused(decide(approver, recovery), 409, "request_changed")
    refused(decide(approver, recovery), 409, "request_changed")
    again = read(kami, recovery)
    assert (again["status"], again["approval"]["vouchers"]) == ("awaiting_approval", 2 * (ALONE + 1))
    assert again["approval"]["expires_at"] == recovery["approval"]["expires_at"]
    assert again["approval"]["digest"] != recovery["approval"]["digest"]
    granted(decide(approver, again), 201)


def test_what_has_shrunk_since_is_approved_as_it_was_seen(
    kami: Kami, clock: Clock, approver: Caller, batch: str
) -> None:
    recovery = ordered(kami, batch)
    granted(kami.operator.post("/v1/recoveries", {**kami.recovery(serials=kami.serials(batch)[:1])}), 202)
    assert granted(decide(approver, recovery), 201)["vouchers"] == 3


@pytest.mark.usefixtures("untouched")
def test_an_approval_expires_without_a_write(kami: Kami, clock: Clock, approver: Caller, batch: str) -> None:
    key, order = unique(), {**kami.recovery(batch=batch), "reason": "stolen"}
    recovery = granted(kami.operator.post("/v1/recoveries", order, key), 202)
    clock.advance(APPROVAL_S)
    for decision in ("approve", "reject"):
        refused(decide(approver, recovery, decision), 409, "approval_expired")
    assert read(kami, recovery)["status"] == "awaiting_approval"
    clock.advance(EXPIRY_SHOWN_AFTER_S)
    assert read(kami, recovery)["status"] == "expired"
    listed = granted(kami.operator.get("/v1/recoveries?limit=100"))["data"]
    assert [each["status"] for each in listed if each["id"] == recovery["id"]] == ["expired"]
    repeat = kami.operator.post("/v1/recoveries", order, key)
    assert replayed(repeat)
    assert repeat.json()["status"] == "expired"


def test_the_last_second_counts(kami: Kami, clock: Clock, approver: Caller, batch: str) -> None:
    recovery = ordered(kami, batch)
    clock.advance(APPROVAL_S - 1)
    granted(decide(approver, recovery), 201)
    kami.cloud.drain(delayed=False)
    assert read(kami, recovery)["status"] == "in_progress"


def test_what_needs_no_approval_cannot_be_decided(kami: Kami, clock: Clock, approver: Caller) -> None:
    batch = kami.batch(kami.campaign()["id"], 1)["id"]
    recovery = granted(kami.operator.post("/v1/recoveries", kami.recovery(batch=batch)), 202)
    refused(decide(approver, {**recovery, "approval": {"digest": ""}}), 409, "already_decided")
    refused(decide(approver, {"id": "rec_none", "approval": {"digest": ""}}), 404, "not_found")


def test_a_batch_of_many_lots_is_judged_without_reading_them_where_all_of_it_is_allowed(
    kami: Kami, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each lot of a hundred million would be read otherwise, while thieves redeem."""
    monkeypatch.setattr(judging, "LOTS_LOOKED_AT_MAX", 0)
    counted: list[str] = []
    shares = judging.shares

    def counting(recovery: Recovery) -> list[Share]:
        counted.append(recovery.id)
        return shares(recovery)

    monkeypatch.setattr(judging, "shares", counting)
    rules = {"allow": [{"roles": ["operator"], "actions": ["void"], "vouchers_alone": ALONE}]}
    campaign = kami.campaign(recovery_rules=rules)["id"]
    small, large = kami.batch(campaign, ALONE), kami.batch(campaign, ALONE + 1)
    for body in (kami.recovery(batch=small["id"]), kami.recovery(batch=large["id"])):
        granted(kami.operator.post("/v1/recoveries", body, unique()), 202)
    assert len(counted) == 1
    first = {"first_serial": small["first_serial"], "last_serial": small["first_serial"]}
    granted(kami.operator.post("/v1/recoveries", kami.recovery(**first), unique()), 202)
    assert len(counted) == 2
