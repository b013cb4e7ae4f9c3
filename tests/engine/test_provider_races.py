"""What workers share about providers of SMS: limits hold, and a breaker opens, is probed and closes, under races."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from functions.domain.health import FAILURES_MIN, PROBE_S, PROBES, Health, State
from functions.domain.message import Message, Outcome
from functions.domain.routing import Destination, by_default
from functions.notify import admission
from functions.notify.admission import Seen, Worker
from functions.store import keys, table
from functions.store.routing import HEALTH, Tokens
from tests.engine.engines import on_referee
from tests.engine.wire import Crash
from tests.engine.world import NOW, OPERATOR, race

pytestmark = [on_referee, pytest.mark.usefixtures("world")]

WORKERS = 8
ROUNDS = 40
NORTH = "simulated:north"
ROUTES = by_default((NORTH,), None)
MESSAGE = Message("msg_1", "voucher.redeemed", "010000000003", "+8613812345678", "text", NOW)
DOWN, TAKEN = Outcome("provider_down"), Outcome()


def stored() -> Health | None:
    return table.read(HEALTH, keys.provider(NORTH))


def put(health: Health) -> Health:
    """Over what is there."""
    before = stored()
    seen = before.version if before is not None else 0
    health = replace(health, version=seen + 1)
    table.put(HEALTH.item(health, "test", OPERATOR), seen)
    return health


def seen() -> Seen:
    health = stored()
    return Seen(ROUTES, {NORTH: health} if health is not None else {})


def asks(worker: Worker, turn: str, now: int, known: Seen, outcome: Outcome | None = None) -> str:
    """Whether a worker is given leave; with an outcome, its breaker is told that."""
    with worker.admitted(MESSAGE, Destination(), known, turn, now, 0) as leave:
        if leave.provider is None:
            assert leave.wait_s is not None and leave.wait_s >= 1
            return "waits"
        if outcome is not None:
            worker.note(leave.provider, outcome, 0.1, known, turn, now)
        return "asks"


def tells(known: Seen, turn: str, now: int) -> str:
    """A worker's attempt has failed."""
    Worker().note(NORTH, DOWN, 0.1, known, turn, now)
    return "told"


def copied(known: Seen) -> Seen:
    """As another worker has read it."""
    return Seen(ROUTES, dict(known.health))


def takes(tokens: Tokens, times: int, rate_per_s: int, second: int) -> int:
    return sum(tokens.take(NORTH, rate_per_s, second) for _ in range(times))


@pytest.mark.parametrize("rate_per_s", [3, 50, 200])
def test_eight_workers_together_take_no_more_than_a_provider_takes_a_second_and_no_less(rate_per_s: int) -> None:
    workers = [Tokens() for _ in range(WORKERS)]
    for second in range(NOW, NOW + 3):
        taken = race(partial(takes, tokens, rate_per_s, rate_per_s, second) for tokens in workers)
        assert sum(int(count) for count in taken) == rate_per_s
        item = table.get(keys.rate(NORTH, second))
        assert item is not None and item["count"] == rate_per_s


def test_threads_of_one_worker_share_its_block() -> None:
    tokens = Tokens()
    assert sum(int(count) for count in race(partial(takes, tokens, 5, 20, NOW) for _ in range(WORKERS))) == 20


def test_failures_of_eight_workers_open_it_and_one_fewer_does_not() -> None:
    workers = [Worker() for _ in range(WORKERS)]
    known = Seen(ROUTES, {})

    def fails(number: int) -> str:
        return asks(workers[number % WORKERS], f"turn-{number}", NOW, copied(known), DOWN)

    assert set(race(partial(fails, number) for number in range(FAILURES_MIN - 1))) == {"asks"}
    health = stored()
    assert health is not None and (health.state, health.failures) == (State.CLOSED, FAILURES_MIN - 1)
    race(partial(fails, number) for number in range(WORKERS))
    health = stored()
    assert health is not None and (health.state, health.since) == (State.OPEN, NOW)
    assert set().union(*(worker.opened() for worker in workers)) == {NORTH}
    assert asks(workers[0], "turn", NOW, seen()) == "waits"


def test_of_eight_workers_one_probes_at_a_time_and_three_that_succeed_close_it() -> None:
    open_s = admission.open_for_s()
    for round in range(ROUNDS):
        now = NOW + round * 1_000
        put(Health(NORTH, State.OPEN, now - open_s))
        for probe in range(PROBES):
            known = seen()
            asked = race(
                partial(asks, Worker(), f"{round} {probe} {number}", now, copied(known)) for number in range(WORKERS)
            )
            assert Counter(asked) == {"asks": 1, "waits": WORKERS - 1}
            health = stored()
            assert health is not None and health.state is State.HALF_OPEN
            known = seen()
            Worker().note(NORTH, DOWN, 0.1, known, "another's", now)
            Worker().note(NORTH, TAKEN, 0.1, known, health.probe, now)
        health = stored()
        assert health is not None and (health.state, health.since) == (State.CLOSED, now)
        assert asks(Worker(), "turn", now, seen(), TAKEN) == "asks"
        assert stored() == health  # a success is not worth a write


@pytest.mark.parametrize("where", ["before its lease is written", "after that", "while it asks"])
def test_a_prober_that_dies_keeps_the_others_away_no_longer_than_its_lease(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    open_s, write = admission.open_for_s(), table.put

    def dies(*args: Any) -> None:
        if where == "after that":
            write(*args)
        raise Crash

    put(Health(NORTH, State.OPEN, NOW - open_s))
    with monkeypatch.context() as planted, pytest.raises(Crash):  # noqa: PT012 - the crash is anywhere in it
        if where != "while it asks":
            planted.setattr(table, "put", dies)
        with Worker().admitted(MESSAGE, Destination(), seen(), "dead", NOW, 0) as leave:
            assert leave.provider == NORTH
            raise Crash
    health = stored()
    assert health is not None
    free_at = health.free_at(NOW, open_s)
    assert free_at == (NOW if where == "before its lease is written" else NOW + PROBE_S)
    for probe in range(PROBES):
        known = seen()
        if probe == 0 and free_at > NOW:
            assert asks(Worker(), "early", free_at - 1, copied(known)) == "waits"
        asked = race(
            partial(asks, Worker(), f"{probe} {number}", free_at, copied(known), TAKEN) for number in range(WORKERS)
        )
        assert "asks" in asked
    late = stored()
    assert late is not None and late.state is State.CLOSED
    Worker().note(NORTH, DOWN, 0.1, seen(), "dead", free_at)  # the dead one speaks up
    late = stored()
    assert late is not None and (late.state, late.failures) == (State.CLOSED, 1)


def test_a_probe_that_fails_while_others_want_one_leaves_it_open_or_probed_again() -> None:
    open_s = admission.open_for_s()
    for round in range(ROUNDS):
        now = NOW + round * 1_000
        leased = Health(NORTH, State.HALF_OPEN, now, probe="first", probe_until=now + PROBE_S)
        known = Seen(ROUTES, {NORTH: put(leased)})
        late = now + PROBE_S  # the lease is over just as its holder speaks
        others = [partial(asks, Worker(), f"{round} {number}", late, copied(known)) for number in range(3)]
        outcomes = race([partial(tells, known, "first", late), *others])
        health = stored()
        assert health is not None
        if health.state is State.OPEN:
            assert (health.since, outcomes.count("asks")) == (late, 0)
        else:
            assert (health.state, outcomes.count("asks")) == (State.HALF_OPEN, 1)
            assert health.free_at(late, open_s) == late + PROBE_S
