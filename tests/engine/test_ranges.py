"""Range commands: whatever dies, sleeps or runs twice, no lot is done twice and nothing that came between is undone."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from functions.distribute import service as distribute
from functions.domain.campaign import Batch
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.lot import COMMANDS_PER_LOT_MAX, Lot, Scope, Segment, Status, Veto, rewritten
from functions.domain.selection import Selection
from functions.domain.serials import LOT_SIZE, serial_of
from functions.generate import batches
from functions.redeem import service as redeem
from functions.store import jobs, keys, lots, ranges, singles, table
from functions.store.entities import LOT
from functions.store.keys import Key
from functions.store.records import COMMAND
from tests.engine.engines import on_referee
from tests.engine.wire import (
    Call,
    Crash,
    Fault,
    Match,
    Send,
    Wire,
    crash_after,
    crash_before,
    is_write,
    put_of,
    reply_lost,
)
from tests.engine.world import NOW, OPERATOR, World, later, order, race, till

TAKEN_OVER = NOW + jobs.IN_CALL_S
"""When a worker no longer leaves the work to the call that began it."""

LOTS = 100
FEW = 3
VETO = Veto("rcv_1", "suspend", Scope.ALL, generation=1)


def activate(id: str, selection: Selection) -> Command:
    return distribute.activate(id, selection, OPERATOR, NOW, later())


def begin_job(monkeypatch: pytest.MonkeyPatch, id: str, selection: Selection) -> None:
    """The activation as it is when its job is about to start."""
    with monkeypatch.context() as patch:
        patch.setattr(distribute, "LOTS_PER_CALL_MAX", 0)
        assert activate(id, selection).lots_done == 0


def nth_of_each(batch: Batch, index: int) -> Selection:
    """One voucher of each of a batch's lots."""
    return Selection(serials=tuple(serial_of(number * LOT_SIZE + index) for number in batch.span.lots))


def segment(number: int, index: int) -> Segment:
    """The segment of a voucher as it lies in the table."""
    found = table.read(LOT, keys.lot(number))
    assert found is not None
    held = found.segment(index)
    assert held is not None
    return held


def change_segments(number: int, first: int, last: int, change: Callable[[Segment], Segment]) -> Lot:
    """Another command's write on a lot."""

    def changed(lot: Lot | None) -> Lot:
        assert lot is not None
        return replace(lot, segments=rewritten(lot.segments, [(first, last)], change))

    return table.change(LOT, table.read(LOT, keys.lot(number)), changed, "other", OPERATOR)


def recall(number: int, index: int) -> Lot:
    """Takes one voucher back into stock, under a new generation."""
    return change_segments(
        number, index, index, lambda s: replace(s, status=Status.GENERATED, generation=s.generation + 1)
    )


def suspend(number: int) -> Lot:
    """Puts a veto on a whole lot."""
    return change_segments(number, 0, LOT_SIZE - 1, lambda s: replace(s, vetoes=(VETO,)))


def reads_of(key: Key) -> Match:
    def names(call: Call) -> bool:
        many = [each for part in call.body.get("RequestItems", {}).values() for each in part["Keys"]]
        return call.operation in ("GetItem", "BatchGetItem") and key.pk in (call.key, *(k["pk"]["S"] for k in many))

    return names


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lots are done in order, so that a crash is at exactly one of them; a job saves its progress after each."""
    monkeypatch.setattr(lots, "WORKERS_MAX", 1)
    monkeypatch.setattr(lots, "CHUNK", 1)


@on_referee
@pytest.mark.usefixtures("one_by_one")
def test_a_crash_at_each_lot_of_a_hundred_loses_nothing_and_undoes_nothing(
    world: World, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run dies at the next lot, just before or just after its write, and another command changes some lot."""
    batch = world.batch(world.campaign(), LOTS * LOT_SIZE)
    begin_job(monkeypatch, "act_1", Selection(batch=batch.id))
    numbers = list(batch.span.lots)
    chance = random.Random(1)
    others = chance.sample(numbers, LOTS)
    recalled: dict[int, Lot] = {}
    suspended: dict[int, Lot] = {}
    for done, other in enumerate(others[:-1], 1):
        crash, at = chance.choice([(crash_after, 1), (crash_before, 2)])
        with pytest.raises(Crash), wire.planted(crash, put_of(keys.LOT), at=at):
            distribute.proceed("act_1", TAKEN_OVER, later())
        if other < numbers[done]:
            recalled[other] = recall(other, 5)
        else:
            suspended[other] = suspend(other)
    assert distribute.proceed("act_1", TAKEN_OVER, later()) is None
    command = distribute.find("act_1", "activate", OPERATOR)
    assert (command.status, command.lots_done) == ("completed", LOTS)
    assert command.changed == (LOTS - len(suspended)) * LOT_SIZE
    assert command.skipped == {"recalled": len(suspended) * LOT_SIZE}
    assert min(len(recalled), len(suspended)) > LOTS // 3
    for number in numbers:
        lot = world.lot(number)
        if number in recalled:
            assert lot == recalled[number]
        elif number in suspended:
            assert lot.segments == suspended[number].segments
        else:
            assert ([s.status for s in lot.segments], lot.version) == ([Status.ACTIVE], 2)


@on_referee
@pytest.mark.parametrize("crash", [crash_before, crash_after])
@pytest.mark.parametrize(("lot_count", "at"), [*((6, at) for at in range(1, 7)), *((100, at) for at in (1, 4, 8))])
def test_a_crash_while_many_lots_are_on_their_way_loses_none(
    world: World, wire: Wire, crash: Fault, lot_count: int, at: int
) -> None:
    batch = world.batch(world.campaign(), lot_count * LOT_SIZE)
    with pytest.raises(Crash), wire.planted(crash, put_of(keys.LOT), at=at):
        activate("act_1", Selection(batch=batch.id))
    command = activate("act_1", Selection(batch=batch.id))
    assert (command.status, command.changed, command.skipped) == ("completed", batch.quantity, {})
    assert {world.lot(number).version for number in batch.span.lots} == {2}


@pytest.mark.parametrize("fault", [reply_lost, crash_after])
def test_lots_are_written_together_and_the_one_that_changed_meanwhile_alone(
    world: World, wire: Wire, fault: Fault
) -> None:
    """The other lots of its transaction are tried again without it; then that one's reply is lost."""
    batch = world.batch(world.campaign(), 3 * lots.WORKERS_MAX * LOT_SIZE)
    suspended: list[int] = []

    def meanwhile(call: Call, send: Send) -> AWSResponse:
        middle = call.body["TransactItems"][1]["Put"]["Item"]
        suspended.append(int(middle["number"]["N"]))
        suspend(*suspended)
        return send()

    def again(call: Call) -> bool:
        return bool(suspended) and len(call.body.get("TransactItems", [])) == 2

    with suppress(Crash), wire.planted(meanwhile, put_of(keys.LOT)), wire.planted(fault, again):
        activate("act_1", Selection(batch=batch.id))
    command = activate("act_1", Selection(batch=batch.id))
    assert command.status == "completed"
    assert (command.changed, command.skipped) == (batch.quantity - LOT_SIZE, {"recalled": LOT_SIZE})
    versions = {number: world.lot(number).version for number in batch.span.lots}
    assert versions == dict.fromkeys(batch.span.lots, 2) | dict.fromkeys(suspended, 3)


@pytest.mark.usefixtures("one_by_one")
def test_a_second_activation_of_a_part_between_crash_and_retry_keeps_what_it_did(world: World, wire: Wire) -> None:
    batch = world.batch(world.campaign(valid_days_after_activation=10), 3 * LOT_SIZE)
    with pytest.raises(Crash), wire.planted(crash_after, put_of(keys.LOT), at=1):
        activate("act_1", Selection(batch=batch.id))
    (done,) = (number for number in batch.span.lots if world.lot(number).done("act_1"))
    left = [number for number in batch.span.lots if number != done]
    second = distribute.activate("act_2", nth_of_each(batch, 7), OPERATOR, NOW + 60, later())
    assert (second.changed, second.skipped) == (2, {"already_active": 1})
    first = activate("act_1", Selection(batch=batch.id))
    assert (first.changed, first.skipped) == (batch.quantity - 2, {"already_active": 2})
    ends = {number: segment(number, 7).valid_until for number in batch.span.lots}
    assert ends == {done: NOW + 10 * 86_400} | dict.fromkeys(left, NOW + 60 + 10 * 86_400)


@pytest.mark.usefixtures("one_by_one")
def test_a_lot_remembers_an_unfinished_command_however_many_complete_after_it(world: World, wire: Wire) -> None:
    batch = world.batch(world.campaign(), 2 * LOT_SIZE)
    with pytest.raises(Crash), wire.planted(crash_after, put_of(keys.LOT), at=1):
        activate("act_1", nth_of_each(batch, 0))
    (done,) = (number for number in batch.span.lots if world.lot(number).done("act_1"))
    for index in range(1, 2 * COMMANDS_PER_LOT_MAX):
        activate(f"other_{index}", nth_of_each(batch, index))
    assert len(world.lot(done).commands) <= COMMANDS_PER_LOT_MAX
    after_recall = recall(done, 0)
    command = activate("act_1", nth_of_each(batch, 0))
    assert (command.status, command.changed) == ("completed", 2)
    assert world.lot(done) == after_recall


@pytest.mark.usefixtures("one_by_one")
def test_a_lot_full_of_unfinished_commands_takes_no_more_until_one_completes(world: World, wire: Wire) -> None:
    batch = world.batch(world.campaign(), 2 * LOT_SIZE)
    for number in range(COMMANDS_PER_LOT_MAX):
        with pytest.raises(Crash), wire.planted(crash_before, put_of(keys.COMMAND), at=2):
            activate(f"act_{number}", nth_of_each(batch, number))
    before = [world.lot(number) for number in batch.span.lots]
    with pytest.raises(Refusal, match="lot_busy"):
        activate("one_more", nth_of_each(batch, 50))
    assert [world.lot(number) for number in batch.span.lots] == before
    assert activate("act_3", nth_of_each(batch, 3)).status == "completed"
    assert activate("one_more", nth_of_each(batch, 50)).changed == 2


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("at", [1, 2])
def test_a_runner_that_slept_through_the_completion_does_no_lot_again(world: World, wire: Wire, at: int) -> None:
    """It has read its lot; then all is done by another, forgotten after many more commands, and recalled."""
    batch = world.batch(world.campaign(), 2 * LOT_SIZE)
    selection = nth_of_each(batch, 0)
    after: dict[int, Lot] = {}

    def meanwhile(call: Call, send: Send) -> AWSResponse:
        assert activate("act_1", selection).status == "completed"
        for index in range(1, COMMANDS_PER_LOT_MAX + 2):
            activate(f"other_{index}", nth_of_each(batch, index))
        for number in batch.span.lots:
            assert world.lot(number).done("act_1") is None
            after[number] = recall(number, 0)
        return send()

    with wire.planted(meanwhile, put_of(keys.LOT), at=at):
        command = activate("act_1", selection)
    assert (command.status, command.changed, command.skipped) == ("completed", 2, {})
    assert {number: world.lot(number) for number in batch.span.lots} == after


def test_a_runner_that_slept_between_its_reads_does_no_lot_again(world: World, wire: Wire) -> None:
    """All is done, forgotten and recalled between the reading of the lot and of the command, or just before both."""
    batch = world.batch(world.campaign(), LOT_SIZE)
    (number,) = batch.span.lots
    for round, read in enumerate((keys.lot(number), keys.command("act_1"))):
        id, index = f"act_{round}", round * 20
        key = read if round == 0 else keys.command(id)

        def meanwhile(call: Call, send: Send, id: str = id, index: int = index) -> AWSResponse:
            assert activate(id, nth_of_each(batch, index)).status == "completed"
            for other in range(1, COMMANDS_PER_LOT_MAX + 2):
                activate(f"{id}_{other}", nth_of_each(batch, index + other))
            recall(number, index)
            return send()

        with wire.planted(meanwhile, reads_of(key), at=2):  # the first looks whether the order is right, or there
            command = activate(id, nth_of_each(batch, index))
        assert (command.status, command.changed) == ("completed", 1)
        assert segment(number, index).status is Status.GENERATED


@on_referee
def test_an_activation_sent_many_times_at_once_is_done_once(world: World) -> None:
    batch = world.batch(world.campaign(), 20 * LOT_SIZE)
    outcomes = race(partial(activate, "act_1", Selection(batch=batch.id)) for _ in range(6))
    assert {o if isinstance(o, str) else (o.status, o.changed) for o in outcomes} == {("completed", batch.quantity)}
    lots_now = [world.lot(number) for number in batch.span.lots]
    assert {(lot.version, len(lot.commands)) for lot in lots_now} == {(2, 1)}


# Jobs: two runners of one piece of work, of which one overtakes the other and either may die.


def _activation(world: World, numbers: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Callable[[], object]]:
    batch = world.batch(world.campaign(), FEW * LOT_SIZE)
    id = f"act_{next(numbers)}"
    begin_job(monkeypatch, id, Selection(batch=batch.id))
    return id, lambda: distribute.proceed(id, TAKEN_OVER, later())


def _generation(world: World, numbers: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Callable[[], object]]:
    with monkeypatch.context() as patch:
        patch.setattr(batches, "LOTS_PER_CALL_MAX", 0)
        batch = batches.create(f"bat_job_{next(numbers)}", world.campaign().id, FEW * LOT_SIZE, OPERATOR, NOW, later())
    return batch.id, lambda: batches.proceed(batch.id, TAKEN_OVER, later())


def _assert_activated(world: World, id: str) -> None:
    command = distribute.find(id, "activate", OPERATOR)
    assert (command.status, command.lots_done, command.changed) == ("completed", FEW, FEW * LOT_SIZE)
    (span,) = command.spans
    for number in span.lots:
        lot = world.lot(number)
        assert ([s.status for s in lot.segments], lot.version) == ([Status.ACTIVE], 2)


def _assert_generated(world: World, id: str) -> None:
    batch = batches.find(id)
    assert (batch.status, batch.lots_done) == ("completed", FEW)
    for number in batch.span.lots:
        lot = world.lot(number)
        assert ([(s.first, s.last) for s in lot.segments], lot.version) == ([(0, LOT_SIZE - 1)], 1)


JOB_WRITES = 2 * FEW
"""Each lot, and the progress after it."""


@on_referee
@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize(
    ("begun", "assert_done"),
    [(_activation, _assert_activated), (_generation, _assert_generated)],
    ids=["activation", "generation"],
)
def test_two_runners_of_a_job_leave_no_lot_out_and_do_none_twice(
    world: World,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    begun: Callable[..., tuple[str, Callable[[], object]]],
    assert_done: Callable[[World, str], None],
    dies: bool,
) -> None:
    """At each write of the first, the second runs until it dies at each of its own; the first may die soon after."""
    numbers = count()
    for at in range(1, JOB_WRITES + 1):
        for stop in range(2, JOB_WRITES + 2):
            id, proceed = begun(world, numbers, monkeypatch)
            overtook: list[Call] = []

            def overtaken(
                call: Call, send: Send, proceed: Any = proceed, stop: int = stop, overtook: list[Call] = overtook
            ) -> AWSResponse:
                with suppress(Crash), wire.planted(crash_before, is_write, at=stop, surely=False):
                    proceed()
                overtook.append(call)
                return send()

            def soon_after(call: Call, overtook: list[Call] = overtook) -> bool:
                return dies and bool(overtook) and is_write(call)

            with (
                suppress(Crash),
                wire.planted(overtaken, is_write, at=at),
                wire.planted(crash_after, soon_after, at=1 + stop % 2, surely=False),
            ):
                proceed()
            proceed()
            assert_done(world, id)


@pytest.mark.parametrize("crash", [crash_before, crash_after])
def test_a_batch_whose_making_crashes_at_any_write_is_completed_by_the_retry(
    world: World, wire: Wire, crash: Fault
) -> None:
    campaign = world.campaign()
    place: set[int] = set()
    for at in range(1, 6):
        id = f"bat_{at}"

        def create(id: str = id) -> Batch:
            return batches.create(id, campaign.id, 2 * LOT_SIZE + 1, OPERATOR, NOW, later())

        with pytest.raises(Crash), wire.planted(crash, is_write, at=at):
            create()
        batch = create()
        assert (batch.status, batch.lots_done) == ("completed", 3)
        assert place.isdisjoint(batch.span.lots)
        place |= set(batch.span.lots)
        shares = [world.lot(number).parts[-1] for number in batch.span.lots]
        assert [(p.batch, p.first, p.last) for p in shares] == [(id, 0, 9_999), (id, 0, 9_999), (id, 0, 0)]
        assert {p.wrapped_key for p in shares} == {batch.wrapped_key}
        assert {world.lot(number).version for number in batch.span.lots} == {1}
    assert max(place) - min(place) == len(place) - 1


# Selections that would split a lot too often are written voucher by voucher.


@pytest.fixture
def small_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lot has room for three segments."""
    monkeypatch.setattr(ranges, "SEGMENTS_PER_LOT_MAX", 3)


def scattered(batch: Batch, indexes: range) -> Selection:
    return Selection(serials=tuple(serial_of(batch.first + index) for index in indexes))


def items_of(world: World, batch: Batch) -> dict[int, tuple[Status, int]]:
    """Index → status and version of the vouchers that have items."""
    found = {}
    for pk, item in world.items().items():
        if pk.startswith(keys.VOUCHER):
            found[int(pk.removeprefix(keys.VOUCHER)) - batch.first] = (Status(item["status"]), item["version"])
    return found


def test_a_lot_is_never_split_beyond_its_limit_and_its_vouchers_work_all_the_same(world: World) -> None:
    batch = world.batch(world.campaign(), 100)
    indexes = range(0, 100, 2)
    command = activate("act_1", scattered(batch, indexes))
    assert (command.changed, command.skipped) == (len(indexes), {})
    (number,) = batch.span.lots
    assert len(world.lot(number).segments) == 1
    assert items_of(world, batch) == dict.fromkeys(indexes, (Status.ACTIVE, 1))
    codes = world.codes(batch.span)
    assert redeem.create(order(codes[2]), "key", till(1), NOW).redemption.amount_minor == 5_000
    with pytest.raises(Refusal, match="voucher_not_redeemable"):
        redeem.create(order(codes[3]), "key", till(1), NOW)
    rest = activate("act_2", Selection(batch=batch.id))
    assert (rest.changed, sum(rest.skipped.values())) == (100, 0)


@pytest.mark.usefixtures("small_lots")
@pytest.mark.parametrize("crash", [crash_before, crash_after])
def test_a_crash_at_each_voucher_of_a_split_lot_is_resumed_and_what_was_redeemed_stays(
    world: World, wire: Wire, crash: Fault
) -> None:
    indexes = range(1, 12, 2)
    for at in range(1, len(indexes) + 1):
        batch = world.batch(world.campaign(), 20)
        selection = scattered(batch, indexes)
        id = f"act_{at}"
        with pytest.raises(Crash), wire.planted(crash, put_of(keys.VOUCHER), at=at):
            activate(id, selection)
        written = items_of(world, batch)
        redeemed = sorted(written)[-1:]
        for index in redeemed:
            code = world.codes(batch.span)[index]
            redeem.create(order(code), "key", till(1), NOW)
        command = activate(id, selection)
        assert (command.status, command.changed, command.skipped) == ("completed", len(indexes), {})
        expected = dict.fromkeys(indexes, (Status.ACTIVE, 1)) | dict.fromkeys(redeemed, (Status.REDEEMED, 2))
        assert {i: item for i, item in items_of(world, batch).items() if i >= 0 and i < 20} == expected
        assert [s.status for s in world.lot(batch.span.lots[0]).segments][:1] == [Status.GENERATED]


@on_referee
@pytest.mark.usefixtures("small_lots")
def test_more_vouchers_than_a_window_takes_are_written_in_as_many_windows_as_it_takes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(singles, "TOUCHED_PER_WINDOW_MAX", 2)
    batch = world.batch(world.campaign(), 200)
    indexes = range(0, 200, 2)
    command = activate("act_1", scattered(batch, indexes))
    assert (command.status, command.changed) == ("completed", len(indexes))
    assert items_of(world, batch) == dict.fromkeys(indexes, (Status.ACTIVE, 1))


@pytest.mark.usefixtures("small_lots")
def test_a_voucher_touched_by_another_is_skipped_where_it_would_be_written_alone(world: World) -> None:
    batch = world.batch(world.campaign(), 20)
    activate("act_1", scattered(batch, range(0, 10, 2)))
    command = activate("act_2", scattered(batch, range(0, 20, 2)))
    assert (command.changed, sum(command.skipped.values())) == (5, 5)
    assert items_of(world, batch) == dict.fromkeys(range(0, 20, 2), (Status.ACTIVE, 1))


def test_progress_counts_only_what_is_saved(world: World) -> None:
    batch = world.batch(world.campaign(), LOT_SIZE)
    activate("act_1", Selection(batch=batch.id))
    stored = table.read(COMMAND, keys.command("act_1"))
    assert stored is not None
    assert (stored.status, stored.changed, stored.completed_at) == ("completed", LOT_SIZE, NOW)
