"""Decisions on a recovery at the same time: one stands, and what follows is what it says. And orders at the same time,
which a client may not all give alone."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import pytest

from functions.domain.actor import By
from functions.domain.authority import APPROVAL_S, Allowance, Amount, RecoveryRules, approval
from functions.domain.lot import Scope
from functions.domain.recovery import Action, Order, Phase, Recovery
from functions.domain.selection import Selection, Span
from functions.domain.serials import serial_of
from functions.recover import approvals, judging
from functions.recover import service as recover
from functions.store import authority, keys, table
from functions.store.records import CAMPAIGN, RECOVERY
from tests.engine.engines import on_referee
from tests.engine.wire import Crash, Fault, Wire, crash_after, crash_before, is_write, reply_lost
from tests.engine.world import NOW, OPERATOR, World, later, race

ROUNDS = 200
ORDER_ROUNDS = 50
FACE_MINOR = 5_000


def approver(number: int) -> By:
    return By(f"approver-{number}", "approver", "operator", "192.0.2.8", f"request-{number}")


@pytest.fixture(autouse=True)
def only_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is approved waits for a worker."""
    monkeypatch.setattr(recover, "LOTS_PER_CALL_MAX", 0)


def awaiting(number: int, span: Span) -> Recovery:
    """A recovery that needs a second person."""
    order = Recovery(f"rec_{number}", "f", (span,), Action.VOID, Scope.ALL, "stolen", None, 1, OPERATOR, NOW)
    asked = approval(order.fingerprint, judging.shares(order), NOW + APPROVAL_S)
    made = replace(order, phase=Phase.APPROVAL, approval=asked)
    return table.change(RECOVERY, None, lambda _: made, "request_recovery", OPERATOR)


def decide(recovery: Recovery, number: int, approved: bool = True, now: int = NOW) -> str:
    assert recovery.approval is not None
    by = approver(number)
    made = approvals.decide(f"apv_{number}", recovery.id, recovery.approval.digest, approved, by, now, later())
    return made.phase.value


def stock(world: World) -> Span:
    return world.batch(world.campaign(), 1).span


@on_referee
def test_of_two_decisions_one_stands(world: World) -> None:
    """Two approvals, or an approval and a rejection, of two people."""
    span, tally = stock(world), Counter[str]()
    for number in range(ROUNDS):
        recovery, second = awaiting(number, span), number % 2 == 0
        outcomes = race((partial(decide, recovery, 1), partial(decide, recovery, 2, second)))
        assert sorted(outcomes).count("already_decided") == 1
        (won,) = (n for n, outcome in enumerate(outcomes) if outcome != "already_decided")
        stands = recover.find(recovery.id)
        assert stands.approval is not None
        decision = stands.approval.decision
        assert decision is not None
        assert (decision.id, decision.by.client) == (f"apv_{won + 1}", f"approver-{won + 1}")
        assert decision.approved == (won == 0 or second)
        assert (stands.phase is Phase.REJECTED) != decision.approved
        tally[outcomes[won]] += 1
    assert sum(tally.values()) == ROUNDS


@on_referee
def test_an_approval_at_its_end_stands_or_has_expired(world: World) -> None:
    """One approver's clock says that it is the last second, another's that it is over."""
    span = stock(world)
    ends = NOW + APPROVAL_S
    for number in range(ROUNDS):
        recovery = awaiting(number, span)
        outcomes = race((partial(decide, recovery, 1, now=ends - 1), partial(decide, recovery, 2, now=ends)))
        assert outcomes[0] == "veto"
        assert outcomes[1] in ("approval_expired", "already_decided")
        stands = recover.find(recovery.id)
        assert stands.approval is not None
        assert stands.approval.decision is not None
        assert stands.approval.decision.id == "apv_1"
        assert stands.status(ends + APPROVAL_S) == "in_progress"


# What a client may order alone


class Limited(NamedTuple):
    """A campaign of which a client may void three cards a day alone."""

    campaign: str
    serials: list[str]


@pytest.fixture
def limited(world: World) -> Limited:
    rules = RecoveryRules((Allowance(("operator",), ("void",), vouchers_alone=3),))
    campaign = world.campaign(amount_minor=FACE_MINOR)
    table.change(CAMPAIGN, campaign, lambda c: replace(c or campaign, recovery_rules=rules), "test", OPERATOR)
    span = world.batch(campaign, 4).span
    return Limited(campaign.id, [serial_of(position) for position in range(span.first, span.last + 1)])


def asked(id: str, serials: list[str], client: str, request: str) -> str:
    """Which phase an order is in after its first call."""
    by = By(client, "operator", "operator", "192.0.2.9", request)
    order = Order(Selection(serials=tuple(serials)), Action.VOID, Scope.ALL, "stolen")
    return recover.create(id, order, by, NOW, later()).phase.value


def spent_by(client: str, campaign: str) -> Amount:
    return authority.spent(client, "void", [campaign])[campaign].counting(NOW)


@on_referee
def test_of_two_orders_that_together_are_too_much_one_goes_alone(limited: Limited) -> None:
    """One of them is sent twice at the same time, and counts once."""
    serials, tally = limited.serials, Counter[str]()
    for number in range(ORDER_ROUNDS):
        client = f"operator-{number}"
        first, second = f"rec_{number}_1", f"rec_{number}_2"
        attempts = (
            partial(asked, first, serials[:2], client, "1"),
            partial(asked, second, serials[2:], client, "2"),
            partial(asked, first, serials[:2], client, "1 again"),
        )
        one, other, again = race(attempts)
        assert one == again
        assert sorted((one, other)) == ["approval", "veto"]
        assert spent_by(client, limited.campaign) == Amount(2, 2 * FACE_MINOR)
        assert [recover.find(id).phase.value for id in (first, second)] == [one, other]
        tally[other] += 1
    assert sum(tally.values()) == ORDER_ROUNDS


@on_referee
@pytest.mark.parametrize("fault", [crash_before, crash_after, reply_lost])
def test_an_order_and_its_count_are_written_together(limited: Limited, wire: Wire, fault: Fault) -> None:
    client, serials = "operator-1", limited.serials
    with wire.planted(fault, is_write), suppress(Crash):
        asked("rec_1", serials[:2], client, "1")
    assert (table.get(keys.recovery("rec_1")) is not None) == (fault is not crash_before)
    assert spent_by(client, limited.campaign).vouchers == (0 if fault is crash_before else 2)
    for _ in range(2):
        assert asked("rec_1", serials[:2], client, "1 again") == "veto"
        assert spent_by(client, limited.campaign).vouchers == 2
    assert asked("rec_2", serials[2:], client, "2") == "approval"
    assert asked("rec_3", serials[3:], client, "3") == "veto"
    assert asked("rec_4", serials[2:], "operator-2", "4") == "veto"
