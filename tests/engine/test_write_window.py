"""The write window: no attempt of a write, first or repeated, is sent once its window is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from functions.domain.campaign import LotCounter
from functions.redeem import service as redeem
from functions.store import aws, keys, table
from functions.store.aws import WriteWindowOver, write_window
from functions.store.entities import VOUCHER
from functions.store.records import COUNTER
from tests.engine.engines import on_moto
from tests.engine.wire import Call, Fault, Send, Wire, is_write, throttled, unreachable
from tests.engine.world import NOW, OPERATOR, World, order, till

WINDOW_S = 8.0
LATEST_START_S = WINDOW_S - aws.CONNECT_TIMEOUT_S - aws.READ_TIMEOUT_S


class Clock:
    """The monotonic clock of the store, which moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    planted = Clock()
    monkeypatch.setattr(aws, "WRITE_WINDOW_S", WINDOW_S)
    monkeypatch.setattr(aws, "time", SimpleNamespace(monotonic=planted.monotonic))
    return planted


def write_put() -> None:
    table.put(COUNTER.item(LotCounter("a", 1, 1), "test", OPERATOR), 0)


def write_transaction() -> None:
    table.put_all([(COUNTER, LotCounter("a", 1, 1), 0)], "test", OPERATOR)


def write_counter() -> None:
    assert table.add_below(keys.guard("account", "somebody", 1), 5, ttl_epoch_s=NOW)


WRITES = {"put": write_put, "transaction": write_transaction, "counter": write_counter}


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_starts_in_its_window_is_sent(clock: Clock, wire: Wire, name: str) -> None:
    with write_window():
        clock.now += LATEST_START_S
        WRITES[name]()
    assert len(wire.writes()) == 1


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_starts_after_its_window_is_not_sent(clock: Clock, wire: Wire, name: str) -> None:
    with write_window():
        clock.now += LATEST_START_S + 0.001
        with pytest.raises(WriteWindowOver):
            WRITES[name]()
    assert wire.writes() == []


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("fault", [throttled, unreachable])
def test_no_write_is_repeated_after_its_window(clock: Clock, wire: Wire, name: str, fault: Fault) -> None:
    def slowly(call: Call, send: Send) -> AWSResponse:
        clock.now += LATEST_START_S + 0.001
        return fault(call, send)

    with write_window(), wire.planted(slowly, is_write), pytest.raises(WriteWindowOver):
        WRITES[name]()
    assert len(wire.writes()) == 1
    assert table.read(COUNTER, keys.lot_counter("a")) is None


@pytest.mark.usefixtures("world")
def test_a_write_is_repeated_as_long_as_its_window_is_open(clock: Clock, wire: Wire) -> None:
    def slowly(call: Call, send: Send) -> AWSResponse:
        clock.now += LATEST_START_S / 2
        return throttled(call, send)

    with write_window(), wire.planted(slowly, is_write, times=2):
        write_put()
    assert len(wire.writes()) == 3


@pytest.mark.usefixtures("world")
def test_reads_need_no_window(clock: Clock) -> None:
    with write_window():
        clock.now += 100
        assert table.get_many([keys.lot(1)]) == {}
        assert table.get(keys.lot(1)) is None


@pytest.mark.usefixtures("world")
def test_a_write_on_the_strength_of_no_read_needs_no_window(clock: Clock) -> None:
    with write_window():
        clock.now += 100
    write_put()


@pytest.mark.usefixtures("world")
def test_a_window_within_a_window_leaves_the_outer_one_as_it_was(clock: Clock) -> None:
    with write_window():
        clock.now += LATEST_START_S - 1
        with write_window():
            clock.now += 2
            write_put()
        with pytest.raises(WriteWindowOver):
            write_counter()


@on_moto
@pytest.mark.usefixtures("world")
def test_an_attempt_that_starts_at_the_last_moment_times_out_within_the_window() -> None:
    config: Any = aws.client("dynamodb").meta.config
    assert LATEST_START_S + config.connect_timeout + config.read_timeout <= WINDOW_S == 8.0
    assert LATEST_START_S > 0


def is_read(call: Call) -> bool:
    return call.operation == "BatchGetItem"


def test_a_redemption_that_dawdles_between_its_read_and_its_write_moves_nothing(
    world: World, clock: Clock, wire: Wire
) -> None:
    """Its veto might have come meanwhile. The client's repeat reads anew."""
    (code,) = world.active(1)
    before = world.items()

    def slowly(call: Call, send: Send) -> AWSResponse:
        reply = send()
        clock.now += LATEST_START_S + 0.001
        return reply

    with wire.planted(slowly, is_read), pytest.raises(WriteWindowOver):
        redeem.create(order(code), "key", till(1), NOW)
    assert world.items() == before
    done = redeem.create(order(code), "key", till(1), NOW)
    assert not done.replayed
    with wire.planted(slowly, is_read), pytest.raises(WriteWindowOver):
        redeem.reverse(done.redemption.id, "wrong", "key", till(1), NOW)
    assert table.read(VOUCHER, keys.voucher(done.voucher.position)) == done.voucher
    assert redeem.reverse(done.redemption.id, "wrong", "key", till(1), NOW).reversal.balance_minor == 5_000
