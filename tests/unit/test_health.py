"""The breaker: what opens it, who may try, what closes it."""

from __future__ import annotations

import pytest

from functions.domain.health import (
    FAILURES_MIN,
    PROBE_S,
    PROBES,
    SHARE_MIN,
    SLOW_S,
    WINDOW_S,
    Health,
    State,
    is_failure,
)
from functions.domain.reasons import REASONS

OPEN_S = 30
NOW = 1_000


def after(failures: int, successes: int = 0, at: int = NOW, health: Health | None = None) -> Health:
    health = health or Health("north")
    for number in range(failures):
        health = health.failed("turn", at, successes if number == 1 else 0)
    return health


def opened() -> Health:
    return after(FAILURES_MIN)


def test_failures_within_a_window_open_it() -> None:
    assert after(FAILURES_MIN - 1).state is State.CLOSED
    assert opened() == Health("north", State.OPEN, NOW)


def test_failures_that_are_spread_out_leave_it_closed() -> None:
    health = after(FAILURES_MIN - 1)
    assert after(1, at=NOW + WINDOW_S - 1, health=health).state is State.OPEN
    assert after(1, at=NOW + WINDOW_S, health=health) == Health("north", since=NOW + WINDOW_S, failures=1)
    assert after(1, at=NOW - 1, health=health).failures == 1  # a clock that stands behind


def test_a_small_share_of_many_calls_leaves_it_closed() -> None:
    enough = round(FAILURES_MIN / SHARE_MIN) - FAILURES_MIN
    assert after(FAILURES_MIN, enough + 1).state is State.CLOSED
    assert after(FAILURES_MIN, enough).state is State.OPEN


def test_what_went_well_before_the_first_failure_does_not_count() -> None:
    first = Health("north").failed("turn", NOW, 1_000)
    assert (first.failures, first.successes) == (1, 0)
    later = first.failed("turn", NOW + WINDOW_S, 1_000)
    assert (later.failures, later.successes, later.since) == (1, 0, NOW + WINDOW_S)


def test_an_open_one_lets_nobody_through_until_its_time_is_over_and_then_one() -> None:
    health = opened()
    assert health.free_at(NOW, OPEN_S) == NOW + OPEN_S
    assert health.probing("a", NOW + OPEN_S - 1, OPEN_S) is None
    half = health.probing("a", NOW + OPEN_S, OPEN_S)
    assert half is not None
    assert (half.state, half.probe, half.free_at(NOW + OPEN_S, OPEN_S)) == ("half_open", "a", NOW + OPEN_S + PROBE_S)
    assert half.probing("b", NOW + OPEN_S + PROBE_S - 1, OPEN_S) is None
    lost = half.probing("b", NOW + OPEN_S + PROBE_S, OPEN_S)
    assert lost is not None and lost.probe == "b"
    assert lost.succeeded("a", NOW) == lost == lost.failed("a", NOW, 5)


def test_so_many_probes_in_a_row_close_it() -> None:
    health, now = opened(), NOW + OPEN_S
    for number in range(PROBES):
        lent = health.probing(str(number), now, OPEN_S)
        assert lent is not None
        health = lent.succeeded(str(number), now)
        assert health.state is (State.CLOSED if number == PROBES - 1 else State.HALF_OPEN)
    assert health == Health("north", since=now)


def test_a_probe_that_fails_opens_it_again_and_counts_start_anew() -> None:
    first = opened().probing("a", NOW + OPEN_S, OPEN_S)
    assert first is not None
    second = first.succeeded("a", NOW + OPEN_S).probing("b", NOW + OPEN_S, OPEN_S)
    assert second is not None
    again = second.failed("b", NOW + OPEN_S + 1, 0)
    assert again == Health("north", State.OPEN, NOW + OPEN_S + 1)
    third = again.probing("c", NOW + 2 * OPEN_S + 1, OPEN_S)
    assert third is not None and third.successes == 0


def test_what_comes_late_changes_nothing() -> None:
    health = opened()
    assert health.failed("late", NOW + 1, 3) == health == health.succeeded("late", NOW + 1)
    closed = Health("north")
    assert closed.succeeded("any", NOW) == closed
    assert closed.probing("any", NOW, OPEN_S) is None


@pytest.mark.parametrize("reason", [None, *REASONS])
def test_what_speaks_against_a_provider(reason: str | None) -> None:
    expected = reason in {"technical_fault", "provider_down", "no_reply", "account_refused"}
    assert is_failure(reason, SLOW_S) is expected
    assert is_failure(reason, SLOW_S + 0.1)
