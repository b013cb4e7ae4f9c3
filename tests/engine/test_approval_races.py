"""Decisions on a recovery at the same time: one stands, and what follows is what it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from functions.domain.actor import By
from functions.domain.authority import APPROVAL_S, approval
from functions.domain.lot import Scope
from functions.domain.recovery import Action, Phase, Recovery
from functions.domain.selection import Span
from functions.recover import approvals, judging
from functions.recover import service as recover
from functions.store import table
from functions.store.records import RECOVERY
from tests.engine.engines import on_referee
from tests.engine.world import NOW, OPERATOR, World, later, race

ROUNDS = 200


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
