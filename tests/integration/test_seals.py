"""Sealing, checkpoints and exports: whatever crashes in between, the record in the bucket is whole and signed."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from functions.audit import exports as service
from functions.audit import sealing
from functions.audit.handler import _sign
from functions.audit.verify import Altered, Verified, keys_of, verify
from functions.domain import seal
from functions.domain.record import DAY_S
from functions.domain.times import rfc3339
from functions.edge import clock as edge_clock
from functions.store import record as entries
from functions.store import seals, table
from tests.integration.conftest import Clock
from tests.integration.kami import Caller, Json, Kami, granted, refused, unique


@pytest.fixture(scope="module")
def auditor(kami: Kami) -> Caller:
    return kami.client("auditor")


numbers = itertools.count()


def put_on_record(kami: Kami, count: int) -> list[str]:
    """So many events, in a few writes; their ids."""
    by = dict.fromkeys(("client", "role", "tenant", "address", "request"), "x")
    events = [
        {"id": f"7.X#{next(numbers)}.1", "type": "batch.requested", "schema": 1, "at": "2026-11-22T06:00:00Z", "by": by,
         "data": {"id": "x"}}
        for _ in range(count)
    ]  # fmt: skip
    with kami.cloud.environment("audit"):
        for at in range(0, count, 7):
            entries.append(events[at : at + 7], edge_clock.now())
    return [str(event["id"]) for event in events]


def sealed_now(kami: Kami) -> None:
    kami.cloud.fire("kami-dev-seals")
    kami.cloud.drain()


def objects(kami: Kami) -> dict[str, bytes]:
    """What lies in the bucket, each name once."""
    s3, bucket = kami.cloud.client("s3"), kami.cloud.stack.functions["audit"].environment["RECORD_BUCKET"]
    found = s3.list_object_versions(Bucket=bucket)
    names = [version["Key"] for version in found.get("Versions", [])]
    assert len(names) == len(set(names)), "nothing is ever written a second time"
    assert "DeleteMarkers" not in found
    return {name: s3.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}


def checkpoints(auditor: Caller) -> list[Json]:
    found: list[Json] = []
    cursor = ""
    for _ in range(50):
        page = granted(auditor.get(f"/v1/audit/checkpoints?limit=2{cursor}"))
        found += page["data"]
        if "next_cursor" not in page:
            return found[::-1]
        cursor = f"&cursor={page['next_cursor']}"
    raise AssertionError("the list does not end")


def assert_whole(kami: Kami, auditor: Caller) -> None:
    """Every entry lies in one object, in the order of its chain, as far as the newest checkpoint says."""
    sealed_now(kami)
    found = objects(kami)
    lines: dict[str, list[bytes]] = {}
    for name in sorted(name for name in found if name.startswith("entries/")):
        lines.setdefault(name.split("/")[1], []).extend(found[name].splitlines())
    told = checkpoints(auditor)
    assert [checkpoint["number"] for checkpoint in told] == list(range(1, len(told) + 1))
    kept = [found[name].decode() for name in sorted(found) if name.startswith("checkpoints/")]
    assert kept == [checkpoint["jws"] for checkpoint in told]
    for chain, own in lines.items():
        assert [json.loads(line)["number"] for line in own] == list(range(1, len(own) + 1))
        hashes = [hashlib.sha256(line).hexdigest() for line in own]
        assert [json.loads(line)["prev"] for line in own] == ["0" * 64, *hashes[:-1]]
        head = {"number": len(own), "hash": hashes[-1]}
        assert told[-1]["chains"][chain] == head
    with kami.cloud.environment("audit"):
        assert {c: h.number for c, h in seals.heads().items()} == {c: len(own) for c, own in lines.items()}


def exported(kami: Kami, auditor: Caller, folder: Path, **body: Any) -> tuple[Json, Verified]:
    """An export, fetched and verified with nothing but the published keys."""
    ordered = granted(auditor.post("/v1/audit/exports", body, unique()), 202)
    kami.cloud.drain()
    done = granted(auditor.get(f"/v1/audit/exports/{ordered['id']}"))
    assert done["status"] == "completed"
    file, jwks = folder / "export.jsonl", folder / "jwks.json"
    link = auditor.get(f"/v1/audit/exports/{ordered['id']}/file")
    assert link.status == 303
    file.write_bytes(requests.get(str(link.header("location")), timeout=10).content)
    assert file.stat().st_size == done["size"]
    jwks.write_bytes(kami.cloud.request("GET", "/.well-known/jwks.json").body)
    return done, verify(file, keys_of(jwks))


def test_what_is_on_record_is_sealed_once_and_signed(kami: Kami, auditor: Caller) -> None:
    put_on_record(kami, 30)
    sealed_now(kami)
    before = objects(kami)
    assert_whole(kami, auditor)
    kami.cloud.fire("kami-dev-seals")
    kami.cloud.drain(twice=True, shuffle=1)
    assert {name: before[name] for name in before} == {name: objects(kami)[name] for name in before}


def test_what_is_sealed_can_be_neither_deleted_nor_overwritten_for_half_a_year(kami: Kami) -> None:
    put_on_record(kami, 1)
    sealed_now(kami)
    s3, bucket = kami.cloud.client("s3"), kami.cloud.stack.functions["audit"].environment["RECORD_BUCKET"]
    for version in s3.list_object_versions(Bucket=bucket)["Versions"]:
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        kept = s3.head_object(Bucket=bucket, Key=version["Key"])
        assert kept["ObjectLockMode"] == "GOVERNANCE"
        assert kept["ObjectLockRetainUntilDate"].timestamp() > edge_clock.now() + 179 * DAY_S


class Gone(BaseException):
    """The process is no more."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "name"), [(table, "put"), (seals, "keep_run"), (seals, "keep_checkpoint")],
                         ids=lambda value: str(getattr(value, "__name__", value)))  # fmt: skip
def test_a_crash_at_any_write_of_sealing_leaves_neither_gap_nor_double(
    kami: Kami, auditor: Caller, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, *, after: bool
) -> None:
    put_on_record(kami, 20)
    done: Callable[..., Any] = getattr(module, name)

    def crash_at(nth: int) -> None:
        seen = itertools.count(1)

        def crashing(*args: Any, **kwargs: Any) -> Any:
            last = next(seen) == nth
            result = done(*args, **kwargs) if after or not last else None
            if last:
                raise Gone
            return result

        with monkeypatch.context() as patch, kami.cloud.environment("audit"):
            patch.setattr(module, name, crashing)
            with pytest.raises(Gone):
                sealing.proceed(_sign, edge_clock.now(), float("inf"))

    crash_at(1)
    put_on_record(kami, 9)
    if name != "keep_checkpoint" and not (name == "put" and after):
        crash_at(2)
    assert_whole(kami, auditor)


def test_two_sealers_at_once_come_to_the_same(kami: Kami, auditor: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_record(kami, 20)
    done = seals.keep_run
    inner = itertools.count()

    def meanwhile(run: Any, content: bytes) -> None:
        if next(inner) == 0:
            put_on_record(kami, 5)
            assert sealing.proceed(_sign, edge_clock.now(), float("inf"))
        done(run, content)

    with monkeypatch.context() as patch, kami.cloud.environment("audit"):
        patch.setattr(seals, "keep_run", meanwhile)
        assert sealing.proceed(_sign, edge_clock.now(), float("inf"))
    assert_whole(kami, auditor)


def test_a_long_chain_is_sealed_in_parts(kami: Kami, auditor: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "ENTRIES_PER_OBJECT_MAX", 4)
    monkeypatch.setattr(seals, "PAGES_PER_READ", 1)
    monkeypatch.setattr(entries, "_any_chain", lambda: "1.05")
    put_on_record(kami, 30)
    assert_whole(kami, auditor)
    assert len([name for name in objects(kami) if name.startswith("entries/1.05/")]) >= 7


def test_without_time_sealing_is_left_to_the_next_message(
    kami: Kami, auditor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_record(kami, 3)
    before = len(checkpoints(auditor))
    with monkeypatch.context() as patch:
        patch.setattr(sealing, "STEP_S", 10_000.0)
        batch = {"Records": [{"messageId": "a", "body": '{"seal":"record"}'}]}
        assert kami.cloud.invoke("audit", batch) == {"batchItemFailures": []}
        assert len(checkpoints(auditor)) == before
    kami.cloud.drain()
    assert len(checkpoints(auditor)) == before + 1


def test_a_chain_that_was_altered_in_the_table_is_not_sealed(
    kami: Kami, auditor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = table.get_many

    def altered(wanted: Any) -> Any:
        found = real(wanted)
        return {key: {**item, "line": item["line"].replace('"x"', '"y"')} if "line" in item else item
                for key, item in found.items()}  # fmt: skip

    put_on_record(kami, 9)
    with monkeypatch.context() as patch, kami.cloud.environment("audit"):
        patch.setattr(table, "get_many", altered)
        with pytest.raises(ValueError, match="is broken at entry"):
            sealing.proceed(_sign, edge_clock.now(), float("inf"))
    assert_whole(kami, auditor)


def test_an_export_holds_what_was_on_record_and_verifies_off_line(kami: Kami, auditor: Caller, tmp_path: Path) -> None:
    ids = put_on_record(kami, 12)
    done, found = exported(kami, auditor, tmp_path)
    assert found.entries == done["entries"]
    assert found.signed["export"] == done["id"]
    text = (tmp_path / "export.jsonl").read_text()
    assert all(id in text for id in ids)
    lines = text.split("\n")
    (tmp_path / "export.jsonl").write_text("\n".join([*lines[:4], lines[4].replace('"x"', '"y"'), *lines[5:]]))
    with pytest.raises(Altered) as altered:
        verify(tmp_path / "export.jsonl", keys_of(tmp_path / "jwks.json"))
    place = json.loads(lines[4])
    assert (altered.value.chain, altered.value.number) == (place["chain"], place["number"])


def test_an_export_of_a_time_holds_the_checkpoints_of_it(
    kami: Kami, auditor: Caller, clock: Clock, tmp_path: Path
) -> None:
    sealed_now(kami)
    clock.advance(10_000)
    start = clock.now
    ids = []
    for _ in range(3):
        ids.append(put_on_record(kami, 2))
        sealed_now(kami)
        clock.advance(100)
    since, to = rfc3339(start + 100), rfc3339(start + 200)
    done, found = exported(kami, auditor, tmp_path, **{"from": since, "to": to})
    assert (done["from"], done["to"]) == (since, to)
    assert done["checkpoints"]["first"] == done["checkpoints"]["last"]
    text = (tmp_path / "export.jsonl").read_text()
    assert [all(id in text for id in part) for part in ids] == [False, True, False]
    assert found.entries == done["entries"]


def test_what_does_not_fit_goes_into_the_next_export(
    kami: Kami, auditor: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for _ in range(2):
        put_on_record(kami, 3)
        sealed_now(kami)
    monkeypatch.setattr(service, "EXPORT_ENTRIES_MAX", 4)
    done, _ = exported(kami, auditor, tmp_path)
    assert done["more"] is True
    assert done["checkpoints"] == {"first": 1, "last": 1}


def test_an_export_that_crashed_after_its_file_is_completed_with_that_file(
    kami: Kami, auditor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_record(kami, 3)
    ordered = granted(auditor.post("/v1/audit/exports", {}, unique()), 202)["id"]

    def crashing(*_: Any) -> None:
        raise Gone

    with kami.cloud.environment("audit"):
        assert sealing.proceed(_sign, edge_clock.now(), float("inf"))
        with monkeypatch.context() as patch:
            patch.setattr(table, "put", crashing)
            with pytest.raises(Gone):
                service.write(ordered, _sign, edge_clock.now())
    refused(auditor.get(f"/v1/audit/exports/{ordered}/file"), 409, "export_in_progress")
    put_on_record(kami, 5)
    kami.cloud.drain()
    done = granted(auditor.get(f"/v1/audit/exports/{ordered}"))
    link = auditor.get(f"/v1/audit/exports/{ordered}/file").header("location")
    content = requests.get(str(link), timeout=10).content
    assert len(content) == done["size"]
    assert content.count(b'{"chain":') == done["entries"]


def test_an_export_is_ordered_once_by_its_key_and_fetching_it_is_on_record(
    kami: Kami, auditor: Caller, clock: Clock, tmp_path: Path
) -> None:
    key = unique()
    one = granted(auditor.post("/v1/audit/exports", {}, key), 202)
    again = auditor.post("/v1/audit/exports", {}, key)
    assert (granted(again, 202)["id"], again.header("idempotency-replayed")) == (one["id"], "true")
    refused(auditor.post("/v1/audit/exports", {"to": "2026-01-01T00:00:00Z"}, key), 422, "idempotency_key_reused")
    kami.cloud.drain()
    assert auditor.get(f"/v1/audit/exports/{one['id']}/file").status == 303
    kami.cloud.drain()
    found = granted(auditor.get(f"/v1/audit?actor={auditor.client_id}&limit=100"))["data"]
    told = {(entry["type"], entry["data"].get("export") or entry["data"].get("id")) for entry in found}
    assert {("record.fetched", one["id"]), ("record.exported", one["id"])} <= told
    clock.advance(8 * DAY_S)
    refused(auditor.get(f"/v1/audit/exports/{one['id']}/file"), 410, "export_expired")
    refused(auditor.get("/v1/audit/exports/none"), 404, "not_found")


class Scissors:
    """Sets the record's items back to what they were, as a restore or a person with rights to the table does."""

    def __init__(self, kami: Kami) -> None:
        self.kami = kami
        self.before = self.items()

    def items(self) -> dict[Any, Json]:
        return {key: item for key, item in self.kami.items().items() if key[0].startswith(("CHECKPOINT#", "CHAIN#"))}

    def set_back(self, prefix: str) -> None:
        dynamodb, table_name = self.kami.cloud.client("dynamodb"), self.kami.cloud.stack.tables[0]
        for key in self.items():
            if key[0].startswith(prefix):
                place = {name: {"S": value} for name, value in zip(("pk", "sk"), key, strict=True)}
                if key in self.before:
                    dynamodb.put_item(TableName=table_name, Item=self.before[key])
                else:
                    dynamodb.delete_item(TableName=table_name, Key=place)


def test_checkpoints_that_somebody_took_out_of_the_table_are_not_signed_anew(
    kami: Kami, auditor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_record(kami, 5)
    sealed_now(kami)
    past, before = Scissors(kami), len(checkpoints(auditor))
    for _ in range(2):
        put_on_record(kami, 5)
        sealed_now(kami)
    past.set_back("CHECKPOINT#")
    assert len(checkpoints(auditor)) == before
    with monkeypatch.context() as patch, kami.cloud.environment("audit"):
        patch.setattr(seals, "keep_run", lambda *_: None)
        put_on_record(kami, 5)
        with pytest.raises(seals.Broken, match="says something else"):
            sealing.proceed(_sign, edge_clock.now(), float("inf"))
        assert seals.put_back(sealing.BY) == 2
    assert_whole(kami, auditor)


def test_a_chain_that_was_set_back_is_not_sealed_a_second_time(
    kami: Kami, auditor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_any_chain", lambda: "1.07")
    past = Scissors(kami)
    put_on_record(kami, 5)
    sealed_now(kami)
    whole = Scissors(kami)
    past.set_back("CHAIN#1.07")
    with kami.cloud.environment("audit"), pytest.raises(ValueError, match="has gone back behind entry"):
        sealing.proceed(_sign, edge_clock.now(), float("inf"))
    for key, item in whole.before.items():
        if key[0] == "CHAIN#1.07":
            kami.cloud.client("dynamodb").put_item(TableName=kami.cloud.stack.tables[0], Item=item)
    assert_whole(kami, auditor)


def test_what_is_older_than_the_record_is_kept_is_in_no_export(
    kami: Kami, auditor: Caller, clock: Clock, tmp_path: Path
) -> None:
    """Its objects are gone by then, though the checkpoints still tell of it."""
    old = put_on_record(kami, 3)
    sealed_now(kami)
    clock.advance(180 * DAY_S)
    new = put_on_record(kami, 3)
    sealed_now(kami)
    exported(kami, auditor, tmp_path)
    text = (tmp_path / "export.jsonl").read_text()
    assert [any(id in text for id in ids) for ids in (old, new)] == [False, True]


def test_what_lies_under_a_run_s_name_and_is_another_is_not_signed(kami: Kami) -> None:
    run = seal.Sealed("1.00", 900_001, 900_002, "0" * 64, "1" * 64, "2" * 64)
    with kami.cloud.environment("audit"):
        seals.keep_run(run, b"one\n")
        seals.keep_run(run, b"one\n")
        with pytest.raises(seals.Broken, match="is not what the chain holds"):
            seals.keep_run(run._replace(sha256="3" * 64), b"another\n")
        with pytest.raises(seals.Broken, match="is not what was sealed"):
            seals.run(run)
