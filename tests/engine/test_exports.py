"""Exports that are killed, doubled and raced: the recipient reads the same bytes, and each ticket opens one file."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import count
from typing import Any, Final

import pytest
from botocore.awsrequest import AWSResponse
from moto.core.botocore_stubber import MockRawResponse
from moto.s3.models import s3_backends
from pyrage import decrypt, x25519

from functions.domain.actor import By
from functions.domain.campaign import Batch
from functions.domain.export import MANIFEST, Layout, Manifest
from functions.domain.serials import LOT_SIZE, serial_of
from functions.generate import exports, files
from functions.store import vault
from functions.store.exports import CONFLICTS_MAX
from infra.local.template import ACCOUNT
from tests.engine.engines import on_moto, on_referee
from tests.engine.wire import Call, Crash, Send, Wire, crash_after, crash_before, failed_after, reply_lost
from tests.engine.world import NOW, OPERATOR, World, later, outcome, race

PRINTER: Final = x25519.Identity.generate()
RECIPIENT: Final = str(PRINTER.to_public())
FILES: Final = 3
KILLS: Final = 20
_ids: Final = count()


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file a lot."""
    monkeypatch.setattr("functions.domain.export.LOTS_PER_FILE", 1)


@dataclass(frozen=True)
class Outcome:
    """What an export comes to: all that encryption does not make differ each time, as checksums and sizes do."""

    plaintexts: dict[str, bytes]
    manifest: Any
    items: dict[str, Any]


def batch_of(world: World) -> Batch:
    return world.batch(world.campaign(), (FILES - 1) * LOT_SIZE + 7)


def ordered(batch: Batch) -> str:
    """A new export's id; the bucket is not emptied between tests, so each has one of its own."""
    return exports.create(f"exp_{next(_ids)}", batch.id, RECIPIENT, Layout.CSV, False, OPERATOR, NOW).id


def finish(id: str) -> None:
    """In a process that has just begun."""
    vault._cache.clear()
    assert exports.proceed(id, NOW, later()) is None


def objects(id: str) -> dict[str, bytes]:
    """The files of an export as they lie in the bucket, behind everybody's back."""
    stored = s3_backends[ACCOUNT]["aws"].buckets.values()
    return {
        name.partition("/")[2]: bytes(key.value)
        for one in stored
        for name, key in one.keys.items()
        if name.startswith(f"{id}/")
    }


def came_to(world: World, id: str) -> Outcome:
    """Table and manifest must both tell what lies in the bucket."""
    ciphers, export = objects(id), exports.find(id)
    assert set(ciphers) == {*map(str, range(1, len(export.files) + 1)), MANIFEST}
    plain = {name: decrypt(cipher, [PRINTER]) for name, cipher in ciphers.items()}
    manifest = json.loads(plain.pop(MANIFEST))
    assert export.manifest == Manifest(len(ciphers[MANIFEST]), sha256(ciphers[MANIFEST]).hexdigest())
    for file, listed in zip(export.files, manifest["files"], strict=True):
        cipher = ciphers[listed["file"]]
        there = (len(cipher), sha256(cipher).hexdigest())
        assert (file.size, file.sha256) == (listed.pop("size"), listed.pop("sha256")) == there
        assert listed["plaintext_sha256"] == sha256(plain[listed["file"]]).hexdigest()
    del manifest["export"]
    stable = tuple(file._replace(size=0, sha256="", seal=b"") for file in export.files)
    rest = {pk: item for pk, item in world.items().items() if not pk.startswith("EXPORT#")}
    return Outcome(plain, manifest, {"export": replace(export, id="", files=stable, manifest=None), **rest})


def any_call(call: Call) -> bool:
    return True


@on_moto
def test_killed_at_any_of_twenty_points_and_gone_on_with_it_is_the_same(world: World, wire: Wire) -> None:
    batch = batch_of(world)
    calm = ordered(batch)
    wire.calls.clear()
    finish(calm)
    calls = len(wire.calls)
    expected = came_to(world, calm)
    lines = [line for n in range(1, FILES + 1) for line in expected.plaintexts[str(n)].splitlines()[1:]]
    assert [line.split(b",")[0].decode() for line in lines] == [
        serial_of(position) for position in range(batch.span.first, batch.span.last + 1)
    ]
    chance = random.Random(20261121)
    points = [(at, fault) for at in range(1, calls + 1) for fault in (crash_before, crash_after)]
    for at, fault in chance.sample(points, KILLS):
        id = ordered(batch)
        with wire.planted(fault, any_call, at=at), pytest.raises(Crash):
            finish(id)
        finish(id)
        assert came_to(world, id) == expected


@on_moto
def test_killed_in_the_middle_of_a_file_it_leaves_nothing_of_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(world)
    id = ordered(batch)
    whole = files.pieces

    def cut(*arguments: Any) -> Any:
        yield next(iter(whole(*arguments)))
        raise MemoryError

    monkeypatch.setattr(files, "pieces", cut)
    with pytest.raises(Exception, match="MemoryError"):
        finish(id)
    assert objects(id) == {}
    monkeypatch.setattr(files, "pieces", whole)
    finish(id)
    came_to(world, id)


@on_moto
@pytest.mark.parametrize("fault", [reply_lost, failed_after])
def test_a_put_whose_reply_is_lost_is_not_done_again(
    world: World, wire: Wire, fault: Callable[[Call, Send], Any]
) -> None:
    batch = batch_of(world)
    id = ordered(batch)
    with wire.planted(fault, lambda call: call.operation == "PutObject", at=2):
        finish(id)
    came_to(world, id)


@on_referee
def test_two_workers_at_once_write_one_export(world: World) -> None:
    batch = batch_of(world)
    alone = ordered(batch)
    finish(alone)
    expected = came_to(world, alone)
    for _ in range(3):
        both = ordered(batch)
        assert race([partial(finish, both)] * 2) == [None, None]
        assert came_to(world, both) == expected


@on_referee
def test_a_ticket_used_by_sixteen_at_once_gives_one_link(world: World) -> None:
    batch = world.batch(world.campaign(), 1)
    id = ordered(batch)
    finish(id)
    for n in range(10):
        _, text = exports.issue(id, OPERATOR, NOW)
        callers = [By("", "", "", f"192.0.2.{at}", f"request-{n}-{at}") for at in range(16)]
        outcomes = race(partial(exports.fetch, id, "1", text, by, NOW) for by in callers)
        assert sorted(outcomes)[1:] == ["ticket_not_valid"] * 15
        assert sorted(outcomes)[0].startswith("https://")


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("fault", [reply_lost, failed_after])
def test_a_ticket_whose_use_was_written_and_the_reply_lost_gives_its_link(
    world: World, wire: Wire, fault: Callable[[Call, Send], Any]
) -> None:
    id = ordered(world.batch(world.campaign(), 1))
    finish(id)
    by = By("", "", "", "192.0.2.1", "request-1")
    _, text = exports.issue(id, OPERATOR, NOW)
    with wire.planted(fault, lambda call: call.operation == "PutItem"):
        assert exports.fetch(id, "1", text, by, NOW).startswith("https://")
    assert outcome(partial(exports.fetch, id, "1", text, by._replace(request="request-2"), NOW)) == ("ticket_not_valid")


@on_moto
def test_an_object_that_s3_is_busy_with_is_put_again(world: World, wire: Wire) -> None:
    """409: another put of the key ends at that moment. After some tries the job fails, to be received again."""
    body = "<Error><Code>ConditionalRequestConflict</Code><Message>planted</Message></Error>"

    def busy(call: Call, send: Send) -> AWSResponse:
        raw: Any = MockRawResponse(body)
        headers: Any = {"content-type": "application/xml"}
        return AWSResponse(call.url, 409, headers, raw)

    id = ordered(world.batch(world.campaign(), 1))
    puts: Callable[[Call], bool] = lambda call: call.operation == "PutObject"  # noqa: E731
    with (
        wire.planted(busy, puts, times=CONFLICTS_MAX),
        pytest.raises(Exception, match="ConditionalRequestConflict"),
    ):
        finish(id)
    with wire.planted(busy, puts, times=CONFLICTS_MAX - 1):
        finish(id)
    assert set(objects(id)) == {"1", MANIFEST}
