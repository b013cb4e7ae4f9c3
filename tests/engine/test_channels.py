"""Orders about what channels hold: whose it is is decided with the write, and neither crash nor race moves it twice."""

from __future__ import annotations

from functools import partial

import pytest
from botocore.awsrequest import AWSResponse

from functions.distribute import channels, distributions, extensions
from functions.distribute import service as distribute
from functions.domain.actor import By
from functions.domain.campaign import Batch
from functions.domain.channel import Channel
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.lot import Status
from functions.domain.selection import Selection
from functions.domain.serials import LOT_SIZE, serial_of
from functions.store import keys, ranges
from tests.engine.engines import on_referee
from tests.engine.wire import Call, Crash, Fault, Send, Wire, crash_after, crash_before, is_write, put_of
from tests.engine.world import DAY_S, NOW, OPERATOR, World, later, race

PARTNER = By("partner-1", "partner", "partner-1", "192.0.2.7", "request-1")


def channel(id: str, tenant: str | None = None) -> str:
    """A channel."""
    return channels.create(Channel(id, "partner", id, None, tenant, "f", OPERATOR, NOW)).id


def move(id: str, selection: Selection, to: str | None, source: str | None = None, by: By = OPERATOR) -> Command:
    return distributions.distribute(id, selection, None, to, source, by, NOW, later())


def pick(id: str, batch: Batch, quantity: int, to: str) -> Command:
    return distributions.distribute(id, Selection(batch=batch.id), quantity, to, None, OPERATOR, NOW, later())


def serials(batch: Batch, *places: int) -> Selection:
    return Selection(serials=tuple(serial_of(batch.span.first + place) for place in places))


def holders(world: World, batch: Batch) -> list[str | None]:
    """Who holds each voucher of a batch."""
    found: list[str | None] = []
    for number in batch.span.lots:
        low, high = batch.span.within(number)
        for segment in world.lot(number).segments:
            found += [segment.channel] * max(0, min(high, segment.last) - max(low, segment.first) + 1)
    return found


def test_what_was_moved_away_meanwhile_is_unknown_to_a_partner(world: World, wire: Wire) -> None:
    """Its order was checked, and its lot read, before."""
    batch = world.batch(world.campaign(), 10)
    own, other = channel("chn_1", "partner-1"), channel("chn_2", "partner-2")
    move("dst_1", serials(batch, 0, 1, 2, 3), own)

    def meanwhile(call: Call, send: Send) -> AWSResponse:
        move("dst_2", serials(batch, 1), other, own)
        move("dst_3", serials(batch, 2), None, own)
        return send()

    with wire.planted(meanwhile, put_of(keys.LOT)):
        made = distribute.activate("act_1", serials(batch, 0, 1, 2, 3), PARTNER, NOW, later())
    assert (made.changed, made.skipped) == (2, {"unknown": 2})
    (number,) = batch.span.lots
    active = [s for s in world.lot(number).segments if s.status is Status.ACTIVE]
    assert [(s.first, s.last, s.channel) for s in active] == [(0, 0, own), (3, 3, own)]


@on_referee
def test_many_who_pick_from_one_batch_at_once_share_it_and_no_voucher_goes_twice(world: World) -> None:
    """Who meets another's pick gets less than asked for, and says so; asking again gets the rest."""
    batch = world.batch(world.campaign(), 2 * LOT_SIZE)
    shops = [channel(f"chn_{n}") for n in range(8)]
    got = dict.fromkeys(shops, 0)
    for turn in range(40):
        left = {shop: 2_500 - got[shop] for shop in shops if got[shop] < 2_500}
        outcomes = race(partial(pick, f"dst_{turn}_{shop}", batch, left[shop], shop) for shop in left)
        for shop, made in zip(left, outcomes, strict=True):
            if isinstance(made, Command):
                assert made.changed + sum(made.skipped.values()) == left[shop]
                got[shop] += made.changed
        if sum(got.values()) == batch.quantity:
            break
    held = holders(world, batch)
    assert {shop: held.count(shop) for shop in shops} == got == dict.fromkeys(shops, 2_500)
    with pytest.raises(Refusal, match="quantity_exceeded"):
        pick("dst_more", batch, 1, shops[0])


@on_referee
@pytest.mark.parametrize("crash", [crash_before, crash_after])
def test_a_pick_that_crashes_at_any_write_is_completed_by_the_retry_with_the_same_vouchers(
    world: World, wire: Wire, crash: Fault
) -> None:
    """What another picks in between does not shift it."""
    shop, other = channel("chn_1"), channel("chn_2")
    for at in range(1, 5):
        batch = world.batch(world.campaign(), 2 * LOT_SIZE)
        with pytest.raises(Crash), wire.planted(crash, is_write, at=at):
            pick(f"dst_{at}", batch, LOT_SIZE + 10, shop)
        begun = ranges.again(f"dst_{at}", pick_print(batch, LOT_SIZE + 10, shop))
        elsewhere = pick(f"dst_{at}_other", batch, 100, other)
        made = pick(f"dst_{at}", batch, LOT_SIZE + 10, shop)
        assert made.status == "completed"
        assert begun is None or begun.spans == made.spans
        assert made.changed + sum(made.skipped.values()) == LOT_SIZE + 10
        held = holders(world, batch)
        assert (held.count(shop), held.count(other)) == (made.changed, elsewhere.changed)
        again = pick(f"dst_{at}", batch, LOT_SIZE + 10, shop)
        assert (again, holders(world, batch)) == (made, held)


def pick_print(batch: Batch, quantity: int, to: str) -> str:
    """The fingerprint of a pick."""
    return distributions.fingerprinted(Selection(batch=batch.id), quantity, to, None)


@pytest.mark.parametrize("crash", [crash_before, crash_after])
def test_days_are_added_once_however_often_an_extension_crashes(
    world: World, wire: Wire, crash: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its writes: of the command, of vouchers with an end of their own, of the lot, of the command."""
    monkeypatch.setattr(ranges, "SEGMENTS_PER_LOT_MAX", 1)
    for at in range(1, 6):
        batch = world.batch(world.campaign(), 4)
        distribute.activate(f"act_{at}", serials(batch, 1, 2), OPERATOR, NOW, later())

        def extend(id: str, batch: Batch = batch) -> Command:
            return extensions.extend(id, Selection(batch=batch.id), None, 10, OPERATOR, NOW, later())

        with pytest.raises(Crash), wire.planted(crash, is_write, at=at):
            extend(f"ext_{at}")
        extend(f"ext_{at}_other")
        made = extend(f"ext_{at}")
        assert (made.status, made.changed, made.skipped) == ("completed", 4, {})
        end = NOW + 385 * DAY_S
        (number,) = batch.span.lots
        own = [world.voucher(batch.span.first + place) for place in (1, 2)]
        assert [voucher.valid_until for voucher in own if voucher] == [end, end]
        assert {segment.valid_until for segment in world.lot(number).segments} == {end}
