"""Imports: each bought code once in stock, whoever is killed when, and read back by those who hand it out."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final

import pytest
from moto.s3.models import s3_backends

from functions.domain.campaign import Campaign
from functions.domain.errors import Refusal
from functions.domain.imported import Imported, Safe, blind_index
from functions.domain.imports import Import, Reason, Refused
from functions.domain.lot import Lot, Part, Rules, Segment
from functions.domain.serials import LOT_SIZE
from functions.generate import campaigns, importing, imports
from functions.store import imports as store
from functions.store import keys, table, vault
from functions.store.codes import codes_of
from functions.store.entities import LOT
from functions.store.imports import IMPORTED
from functions.store.records import BATCH, COUNTER
from infra.local.template import ACCOUNT
from tests.engine.engines import on_moto, on_referee
from tests.engine.wire import Call, Crash, Send, Wire, crash_after, crash_before, failed_after, reply_lost
from tests.engine.world import NOW, OPERATOR, World, later, race

INDEX_KEY: Final = bytes(32)
FIRST: Final = 9_000_000
KILLS: Final = 20
_ids: Final = count()


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many steps for few lines."""
    monkeypatch.setattr(importing, "CODES_PER_WRITE", 10)
    monkeypatch.setattr(importing, "LINES_PER_CHECKPOINT", 30)
    monkeypatch.setattr(store, "PIECE_BYTES", 600)


def campaign_of(world: World, **rules: Any) -> Campaign:
    return world.campaign(code_format="imported", **rules)


def uploads() -> dict[str, Any]:
    """The bucket of uploads, behind everybody's back."""
    (bucket,) = [one for name, one in s3_backends[ACCOUNT]["aws"].buckets.items() if "uploads" in name]
    found: dict[str, Any] = bucket.keys
    return found


def ordered(world: World, campaign: Campaign, content: bytes) -> str:
    """An import that is started; the bucket is not emptied between tests, so each has an id of its own."""
    id = imports.create(f"imp_{next(_ids):024d}", campaign.id, len(content), OPERATOR, NOW).id
    bucket = world.cloud.stack.functions["generate"].environment[store.UPLOADS_BUCKET]
    world.cloud.client("s3").put_object(Bucket=bucket, Key=id, Body=content)
    return imports.start(id, OPERATOR, NOW).id


def finish(id: str) -> None:
    """In a process that has just begun."""
    vault._cache.clear()
    assert importing.proceed(id, NOW, later()) is None


def imported(world: World, campaign: Campaign, *lines: str) -> Import:
    id = ordered(world, campaign, "\n".join(lines).encode())
    finish(id)
    return imports.find(id)


def refused(import_: Import) -> list[Refused]:
    found, cursor = imports.refused(import_, 100, None, OPERATOR)
    while cursor is not None:
        more, cursor = imports.refused(import_, 100, cursor, OPERATOR)
        found += more
    return found


def stock(import_: Import) -> dict[int, tuple[str, int, str | None]]:
    """By place in the batch: the code, its line and its reference, as those read them who hand codes out."""
    assert import_.place is not None
    batch = table.read(BATCH, keys.batch(import_.batch_id))
    if batch is None:
        return {}
    assert (batch.first, batch.quantity, batch.status) == (import_.place.first, import_.accepted, "completed")
    index_key, found = store.index_key(), {}
    for number in batch.span.lots:
        lot = table.read(LOT, keys.lot(number))
        assert lot is not None
        first, last = batch.span.within(number)
        assert [(p.batch, p.first, p.last) for p in lot.parts] == [(batch.id, first, last)]
        assert [(s.first, s.last, s.status.value) for s in lot.segments] == [(first, last, "generated")]
        for at in range(first, last + 1, 100):
            codes = codes_of(lot, dict.fromkeys(range(at, min(at + 100, last + 1)), 1))
            items = table.get_many(keys.code(blind_index(index_key, code)) for code in codes.values())
            for index, code in codes.items():
                one = IMPORTED.load(items[keys.code(blind_index(index_key, code))])
                assert (one.position, one.batch) == (number * LOT_SIZE + index, batch.id)
                found[one.position - batch.first] = (code, one.line, one.reference)
    return found


# Lines


@pytest.mark.usefixtures("small_steps")
def test_each_code_is_in_stock_once_and_every_other_line_is_named(world: World) -> None:
    campaign = campaign_of(world)
    known = imported(world, campaign, "KNOWN-1", "KNOWN-2", "KNOWN-3")
    assert known.place is not None
    lines = ["code,reference", "A-1,r1", "", "A-2,r2", "a-1,r3", "KNOWN-2", ",r4", *(f"B-{n}" for n in range(200))]
    lines += ["known2", "A-2", "B-7", "A-3"]
    done = imported(world, campaign, *lines)
    codes = ["A-1", "A-2", *(f"B-{n}" for n in range(200)), "A-3"]
    assert {at: (code, ref) for at, (code, _, ref) in stock(done).items()} == {
        at: (code, {"A-1": "r1", "A-2": "r2"}.get(code)) for at, code in enumerate(codes)
    }
    assert all(lines[line - 1].startswith(code) for code, line, _ in stock(done).values())
    second = known.place.first + 1
    assert refused(done) == [
        Refused(5, Reason.IN_FILE, first_line=2),
        Refused(6, Reason.IN_STOCK, position=second),
        Refused(7, Reason.INVALID, "no_code"),
        Refused(208, Reason.IN_STOCK, position=second),
        Refused(209, Reason.IN_FILE, first_line=4),
        Refused(210, Reason.IN_FILE, first_line=15),
    ]
    assert (done.status, done.accepted, done.lines, done.read) == ("completed", 203, 209, 209)
    assert done.refused == {"duplicate_in_file": 3, "duplicate_in_stock": 2, "invalid": 1}
    assert done.id not in uploads()


@pytest.mark.usefixtures("small_steps")
def test_the_same_file_again_adds_nothing(world: World) -> None:
    campaign = campaign_of(world)
    lines = [f"C-{n}" for n in range(120)]
    first = imported(world, campaign, *lines)
    before = {pk: item for pk, item in world.items().items() if not pk.startswith(("IMPORT#", "REFUSED#"))}
    again = imported(world, campaign, *lines)
    assert (again.status, again.accepted, again.refused) == ("completed", 0, {"duplicate_in_stock": 120})
    assert first.place is not None
    assert [(r.line, r.position) for r in refused(again)] == [(n + 1, first.place.first + n) for n in range(120)]
    after = {pk: item for pk, item in world.items().items() if not pk.startswith(("IMPORT#", "REFUSED#"))}
    touched = {pk for pk in before.keys() | after.keys() if before.get(pk) != after.get(pk)}
    assert touched == {f"CAMPAIGN#{campaign.id}", "COUNTER#imported"}  # taken and given back
    for pk in touched:
        assert {**before[pk], "version": 0, "last": 0} == {**after[pk], "version": 0, "last": 0}


def test_imported_vouchers_count_against_the_campaign_and_a_file_too_many_changes_nothing(world: World) -> None:
    campaign = campaign_of(world, quantity_max=5)
    imported(world, campaign, "D-1", "D-2", "D-2", "D-1")
    now = campaigns.find(campaign.id)
    assert (now.quantity, now.lots) == (2, 1)
    before = {pk: item for pk, item in world.items().items() if not pk.startswith("IMPORT#")}
    failed = imported(world, campaign, "D-3", "D-4", "D-5", "D-6")
    assert failed.fault is not None
    assert (failed.status, failed.fault.key) == ("failed", "quantity_exceeded")
    assert {pk: item for pk, item in world.items().items() if not pk.startswith("IMPORT#")} == before
    assert failed.id not in uploads()
    assert imported(world, campaign, "D-3", "D-4", "D-5").accepted == 3


@on_moto
@pytest.mark.parametrize(
    ("content", "fault", "line"),
    [
        (b"", "no_lines", None),
        (b"\r\n\n  \n", "no_lines", None),
        (b"code\n", "no_lines", None),
        (b"E-1\n\xb5\xe7\xbb\xb0-1\n", "not_utf_8", 2),
        ("code\nE-1\n".encode("utf-16"), "not_utf_8", 1),
        ("E-1\nE-2\n".encode("utf-16-le"), "not_utf_8", 1),
        (b"serial,cost\n1,2\n", "no_code_column", 1),
        (b"".join(b"E-%d\n" % n for n in range(12)), "too_many_lines", 11),
    ],
)
def test_what_is_no_file_of_codes_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, content: bytes, fault: str, line: int | None
) -> None:
    monkeypatch.setattr("functions.domain.codefile.LINES_MAX", 10)
    campaign = campaign_of(world)
    id = ordered(world, campaign, content or b"\n")
    before = {pk: item for pk, item in world.items().items() if not pk.startswith("IMPORT#")}
    finish(id)
    failed = imports.find(id)
    assert failed.fault is not None
    assert (failed.status, failed.fault.key, failed.fault.line) == ("failed", fault, line)
    assert {pk: item for pk, item in world.items().items() if not pk.startswith("IMPORT#")} == before
    assert id not in uploads()


def test_a_file_of_nothing_but_wrong_lines_is_told_line_by_line_and_takes_no_place(world: World) -> None:
    done = imported(world, campaign_of(world), "code,reference", ",1", '"x', "1.5E+15")
    assert (done.status, done.accepted, done.place) == ("completed", 0, None)
    assert [(r.line, r.problem) for r in refused(done)] == [(2, "no_code"), (3, "quotes"), (4, "rounded")]


# Killed, doubled, raced


def lines_of(run: int) -> tuple[list[str], list[str]]:
    """What is in stock before, and a file with every kind of line."""
    known = [f"K{run}-{n}" for n in range(4)]
    lines = ["code,reference", *(f"N{run}-{n},r{n}" for n in range(44))]
    for n in range(4):
        lines.insert(n * 13 + 3, known[n])
        lines.insert(n * 17 + 9, f"n{run}{n:d}" if n > 1 else f"N{run}-{n * 3}")
        lines.insert(n * 11 + 5, ("", ",no code", "x" * 200)[n % 3])
    return known, lines


@dataclass(frozen=True)
class Outcome:
    """What an import comes to, without what differs from run to run: places, and the run's number in its codes."""

    stock: dict[int, tuple[str, int, str | None]]
    refused: list[Refused]
    import_: tuple[Any, ...]
    campaign: tuple[int, int]
    given_back: bool
    unlisted: int


def came_to(world: World, id: str, run: int, known_first: int) -> Outcome:
    import_ = imports.find(id)
    assert import_.place is not None
    place = import_.place
    campaign = campaigns.find(import_.campaign)
    counter = table.read(COUNTER, keys.lot_counter("imported"))
    assert counter is not None
    listed = stock(import_)
    items = [item for item in world.items().values() if item.get("batch") == import_.batch_id]
    return Outcome(
        {at: (code.replace(str(run), "", 1), line, reference) for at, (code, line, reference) in listed.items()},
        [r._replace(position=r.position - known_first) if r.position is not None else r for r in refused(import_)],
        (import_.status, import_.accepted, import_.refused, import_.line, import_.offset - import_.size, import_.read),
        (campaign.quantity, campaign.lots),
        counter.next_lot == place.first // LOT_SIZE + 1,
        len(items) - len(listed),
    )


def prepared(world: World, run: int) -> tuple[str, int]:
    known, lines = lines_of(run)
    before = imported(world, campaign_of(world), *known)
    assert before.place is not None
    return ordered(world, campaign_of(world), "\r\n".join(lines).encode()), before.place.first


def any_call(call: Call) -> bool:
    return True


@on_moto
@pytest.mark.usefixtures("small_steps")
def test_killed_at_any_of_twenty_points_and_gone_on_with_it_is_the_same(world: World, wire: Wire) -> None:
    id, known = prepared(world, 100)
    wire.calls.clear()
    finish(id)
    calls = len(wire.calls)
    expected = came_to(world, id, 100, known)
    assert expected.import_[0] == "completed"
    assert {r.reason for r in expected.refused} == set(Reason)
    assert (expected.campaign[1], expected.given_back, expected.unlisted) == (1, True, 0)
    chance = random.Random(20261122)
    points = [(at, fault) for at in range(1, calls + 1) for fault in (crash_before, crash_after)]
    for run, (at, fault) in enumerate(chance.sample(points, KILLS), 101):
        world.wipe()
        id, known = prepared(world, run)
        with wire.planted(fault, any_call, at=at), pytest.raises(Crash):
            finish(id)
        finish(id)
        assert came_to(world, id, run, known) == expected, (at, fault)


@on_moto
@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("fault", [reply_lost, failed_after])
def test_writes_whose_replies_are_lost_are_counted_once(
    world: World, wire: Wire, fault: Callable[[Call, Send], Any]
) -> None:
    id, known = prepared(world, 200)
    finish(id)
    expected = came_to(world, id, 200, known)
    for run, at in enumerate((1, 2, 6, 12), 201):
        id, known = prepared(world, run)
        with wire.planted(fault, lambda call: call.operation == "TransactWriteItems", at=at):
            finish(id)
        assert came_to(world, id, run, known) == expected


@on_referee
@pytest.mark.usefixtures("small_steps")
def test_two_workers_at_once_make_one_import(world: World) -> None:
    id, known = prepared(world, 300)
    finish(id)
    expected = came_to(world, id, 300, known)
    for run in range(301, 303):
        id, known = prepared(world, run)
        assert race([partial(finish, id)] * 2) == [None, None]
        assert came_to(world, id, run, known) == expected


@on_referee
@pytest.mark.usefixtures("small_steps")
def test_two_files_with_the_same_codes_at_once_bring_each_code_into_stock_once(world: World) -> None:
    codes = [f"P-{n}" for n in range(300)]
    orders = [ordered(world, campaign_of(world), "\n".join(lines).encode()) for lines in (codes, codes[::-1])]
    assert race(partial(finish, id) for id in orders) == [None, None]
    done = [imports.find(id) for id in orders]
    held = [code for one in done for code, _, _ in stock(one).values()]
    assert sorted(held) == sorted(codes)
    assert [sum(one.refused.values()) + one.accepted for one in done] == [300, 300]


@on_moto
@pytest.mark.usefixtures("small_steps")
def test_where_its_time_is_over_it_goes_on_at_the_right_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    id, known = prepared(world, 400)
    finish(id)
    expected = came_to(world, id, 400, known)
    id, known = prepared(world, 401)
    assert importing.proceed(id, NOW, later(importing.SURVEY_S - 1)) == 0
    assert imports.find(id).layout is None
    write, begun = importing._write, list[int]()

    def one_transaction(import_: Import, now: int, until: float) -> None:
        begun.append(import_.line)
        write(import_, now, -1.0)

    monkeypatch.setattr(importing, "_write", one_transaction)
    finish(id)
    assert begun == sorted(set(begun))
    assert len(begun) > 4
    assert came_to(world, id, 401, known) == expected


@on_moto
@pytest.mark.usefixtures("small_steps")
def test_where_the_upload_is_deleted_on_the_way_what_was_taken_is_a_batch_and_the_next_import_adds_the_rest(
    world: World, wire: Wire
) -> None:
    """Also what was written after the last checkpoint, which nobody has counted."""
    codes = [f"G-{n}" for n in range(150)]
    campaign = campaign_of(world)
    id = ordered(world, campaign, "\n".join(codes).encode())
    with (
        wire.planted(crash_before, lambda call: call.operation == "TransactWriteItems", at=12),
        pytest.raises(Crash),
    ):
        finish(id)
    taken = sum(item.get("entity") == "imported" for item in world.items().values())
    assert imports.find(id).accepted < taken < 150
    del uploads()[id]
    finish(id)
    failed = imports.find(id)
    assert failed.fault is not None
    assert (failed.status, failed.fault.key, failed.accepted) == ("failed", "upload_gone", taken)
    assert [code for code, _, _ in stock(failed).values()] == codes[:taken]
    rest = imported(world, campaign, *codes)
    assert [code for code, _, _ in stock(rest).values()] == codes[taken:]
    assert campaigns.find(campaign.id).quantity == 150


# Codes of stock


def kept_lot(*parts: tuple[str, int, int], without: int = -1) -> Lot:
    """A lot of imported codes, `CODE-<index>`; of one the item is missing."""
    keys = {batch: vault.new_key(batch) for batch, _, _ in parts}
    rules = Rules("cmp_1", "stock", 1, "CNY", "single", "imported")
    shares = tuple(Part(batch, first, last, keys[batch]) for batch, first, last in parts)
    segments = tuple(Segment(first, last) for _, first, last in parts)
    lot = Lot(FIRST, rules, shares, segments, version=1)
    table.put(LOT.item(lot, "import", OPERATOR), 0)
    for batch, first, last in parts:
        safe = Safe(vault.unwrap(keys[batch], batch))
        for index in range(first, last + 1):
            if index != without:
                position, code = FIRST * LOT_SIZE + index, f"CODE-{index}"
                ciphertext = safe.seal(code, position, index + 1)
                one = Imported(blind_index(INDEX_KEY, code), position, batch, index + 1, ciphertext, version=1)
                table.put(IMPORTED.item(one, "import", OPERATOR), 0)
    return lot


@pytest.mark.usefixtures("world")
def test_imported_codes_are_read_back_by_place_whatever_the_generation() -> None:
    lot = kept_lot(("bat_1", 0, 120), ("bat_2", 121, 130))
    for wanted in ([0], [5, 99, 100, 120, 121, 130], [], [*range(100)], [*range(130, 30, -1)]):
        assert codes_of(lot, dict.fromkeys(wanted, 7)) == {index: f"CODE-{index}" for index in wanted}


def test_derived_codes_are_those_of_their_generations(world: World) -> None:
    batch = world.batch(world.campaign(), 5)
    lot = world.lot(batch.span.lots[0])
    first = codes_of(lot, {0: 1, 3: 1, 4: 2})
    assert [first[0], first[3]] == [code for n, code in enumerate(world.codes(batch.span)) if n in (0, 3)]
    assert first[4] != codes_of(lot, {4: 1})[4]


@pytest.mark.usefixtures("world")
def test_a_code_that_the_index_does_not_know_of_yet_is_not_taken_for_another() -> None:
    lot = kept_lot(("bat_1", 0, 3), without=2)
    assert codes_of(lot, {1: 1}) == {1: "CODE-1"}
    with pytest.raises(Refusal, match="try_again"):
        codes_of(lot, {1: 1, 2: 1})
