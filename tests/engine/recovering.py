"""Recoveries step by step, as the queue would bring them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from functions.domain.lot import Scope
from functions.domain.recovery import Action, Order, Phase, Recovery
from functions.domain.selection import Selection
from functions.recover import reports
from functions.recover import service as recover
from tests.engine.world import NOW, OPERATOR, later

STEPS_MAX = 20


def ordered(
    id: str, selection: Selection | None, action: Action, scope: Scope = Scope.ALL, lifts: str | None = None
) -> Recovery:
    return recover.create(id, Order(selection, action, scope, "stolen", lifts=lifts), OPERATOR, NOW, later())


def resumed(id: str, lifts: str, selection: Selection | None = None) -> Recovery:
    """A resume, done."""
    return finished(ordered(id, selection, Action.RESUME, lifts=lifts))


def finished(recovery: Recovery, fence: Callable[[], None] = lambda: None) -> Recovery:
    """All steps to the end; `fence` is waited for where the recovery waits."""
    now = NOW
    for _ in range(STEPS_MAX):
        wait_s = recover.proceed(recovery.id, now, later())
        if wait_s is None:
            break
        if recover.find(recovery.id).phase is Phase.FENCE and wait_s:
            fence()
        now += wait_s
    recovery = recover.find(recovery.id)
    assert recovery.phase is Phase.DONE
    return recovery


def adds_up(recovery: Recovery) -> None:
    """What was selected is recovered or skipped, and each skipped serial is named."""
    lines, cursor = reports.skipped(recovery, 1_000, None, OPERATOR)
    assert cursor is None
    assert Counter(reason for _, reason in lines) == recovery.skipped
    assert recovery.recovered + len(lines) == recovery.selected == sum(span.size for span in recovery.spans)
