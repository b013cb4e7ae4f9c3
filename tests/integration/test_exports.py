"""Exports: a batch's codes, each once, for the recipient's eyes only; files fetched once a ticket; on record."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from base64 import b64decode
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import segno
from pyrage import decrypt, x25519

from functions.domain.export import KEPT_S, MANIFEST, TICKET_S
from functions.domain.serials import LOT_SIZE
from functions.generate import files
from functions.store.aws import FENCE_S
from functions.store.exports import LINK_S
from infra.local.gateway import Answer
from tests.integration.conftest import Clock
from tests.integration.kami import TOLD, Json, Kami, granted, refused, replayed, unique, visible
from tests.integration.test_jobs import invoke, message

PRINTER = x25519.Identity.generate()
RECIPIENT = str(PRINTER.to_public())
NOT_VALID = (404, "ticket_not_valid")


def ordered(kami: Kami, batch: str, key: str | None = None, **body: Any) -> Answer:
    """An order of an export, to the printer unless another recipient is given."""
    return kami.operator.post(f"/v1/batches/{batch}/exports", {"recipient": RECIPIENT, **body}, key)


def exported(kami: Kami, batch: str, **body: Any) -> Json:
    """An export, done."""
    export = granted(ordered(kami, batch, **body), 202)
    kami.cloud.drain()
    return read(kami, export["id"])


def read(kami: Kami, id: str) -> Json:
    return granted(kami.operator.get(f"/v1/exports/{id}"))


def ticket(kami: Kami, export: str) -> str:
    return str(granted(kami.operator.post(f"/v1/exports/{export}/tickets", None), 201)["ticket"])


def fetched(kami: Kami, export: str, file: str, text: str) -> Answer:
    """What somebody without credentials is answered."""
    return kami.cloud.request("GET", f"/v1/exports/{export}/files/{file}?ticket={text}", address="198.51.100.7")


def downloaded(kami: Kami, export: str, file: str) -> bytes:
    """A file as it comes over the link that a ticket was given for."""
    answer = fetched(kami, export, file, ticket(kami, export))
    assert (answer.status, answer.body, answer.header("cache-control")) == (303, b"", "no-store")
    got = requests.get(str(answer.header("location")), timeout=5)
    assert got.status_code == 200
    assert got.headers["content-disposition"].startswith(f'attachment; filename="{export}.{file}.')
    return got.content


def plaintext(kami: Kami, export: Json) -> list[bytes]:
    """What the recipient reads, file by file, held to the manifest and to what the API says of it."""
    manifest = json.loads(decrypt(downloaded(kami, export["id"], MANIFEST), [PRINTER]))
    assert manifest["quantity"] == export["quantity"] == sum(file["lines"] for file in manifest["files"])
    *listed, last = export["files"]
    assert last["file"] == MANIFEST
    assert [{k: v for k, v in f.items() if k not in ("name", "plaintext_sha256")} for f in manifest["files"]] == listed
    found = []
    for file in manifest["files"]:
        cipher = downloaded(kami, export["id"], file["file"])
        assert (len(cipher), hashlib.sha256(cipher).hexdigest()) == (file["size"], file["sha256"])
        plain = decrypt(cipher, [PRINTER])
        assert hashlib.sha256(plain).hexdigest() == file["plaintext_sha256"]
        found.append(plain)
    return found


def rows(plain: bytes) -> list[Json]:
    return list(csv.DictReader(io.StringIO(plain.decode("ascii"), newline="")))


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file a lot."""
    monkeypatch.setattr("functions.domain.export.LOTS_PER_FILE", 1)


# What is in it


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("rules", [
    {"code_format": "crockford16"},
    {"code_format": "crockford16", "code_prefix": "GZ26", "code_group": 8},
    {"code_format": "telecom18", "code_group": 0, "wrong_codes_per_lot_and_hour": 100, "quantity_max": 30_000},
], ids=["crockford16", "prefix", "telecom18"])  # fmt: skip
def test_every_voucher_is_exported_once_with_its_code(kami: Kami, rules: Json) -> None:
    batch = kami.batch(kami.campaign(**rules)["id"], 2 * LOT_SIZE + 5)
    export = exported(kami, batch["id"])
    assert (export["status"], export["progress"]) == ("completed", {"files_done": 3, "files": 3})
    found = plaintext(kami, export)
    assert [plain.count(b"\r\n") for plain in found] == [LOT_SIZE + 1, LOT_SIZE + 1, 6]
    lines = [line for plain in found for line in rows(plain)]
    first = int(batch["first_serial"][:-1])
    assert [int(line["serial"][:-1]) for line in lines] == list(range(first, first + 2 * LOT_SIZE + 5))
    assert len({line["code"] for line in lines}) == len(lines)
    sample = [*lines[:20], *lines[LOT_SIZE - 10 : LOT_SIZE + 10], *lines[-20:]]
    assert [line["code"] for line in sample] == kami.codes(line["serial"] for line in sample)
    for file, plain in zip(export["files"], found, strict=False):
        assert [file["first_serial"], file["last_serial"]] == [rows(plain)[0]["serial"], rows(plain)[-1]["serial"]]


def test_a_small_batch_is_exported_without_its_neighbours_in_the_lot(kami: Kami) -> None:
    campaign = kami.campaign()["id"]
    _, batch, _ = (kami.batch(campaign, 3) for _ in range(3))
    (plain,) = plaintext(kami, exported(kami, batch["id"], format="jsonl"))
    lines = [json.loads(line) for line in plain.splitlines()]
    serials = kami.serials(batch["id"])
    assert lines == [{"serial": s, "code": c} for s, c in zip(serials, kami.codes(serials), strict=True)]


@pytest.mark.parametrize("layout", ["csv", "jsonl"])
def test_lines_may_come_with_qr_images(kami: Kami, layout: str) -> None:
    batch = kami.batch(kami.campaign()["id"], 3)
    (plain,) = plaintext(kami, exported(kami, batch["id"], format=layout, qr=True))
    lines = rows(plain) if layout == "csv" else [json.loads(line) for line in plain.splitlines()]
    assert len(lines) == 3
    for line in lines:
        kind, _, encoded = line["qr"].partition(",")
        assert kind == "data:image/png;base64"
        expected = io.BytesIO()
        made = segno.make_qr(line["code"], error="m", boost_error=False, mask=files.QR_MASK)
        made.save(expected, kind="png", border=files.QR_BORDER)
        assert b64decode(encoded) == expected.getvalue()


def test_whoever_outlived_a_reclaim_is_exported_with_the_code_that_works(kami: Kami, clock: Clock) -> None:
    batch = kami.batch(kami.campaign(redemption="balance")["id"], 8)
    serials = kami.serials(batch["id"])
    kami.activate(batch=batch["id"])
    old = kami.codes(serials)
    for used in (old[2], old[5], old[6]):
        granted(kami.merchant.redeem(used, amount_minor=100), 201)
    order = {**kami.recovery("reclaim", batch=batch["id"]), "only": "not_redeemed"}
    granted(kami.operator.post("/v1/recoveries", order), 202)
    kami.cloud.drain(delayed=False)
    clock.advance(FENCE_S)
    kami.cloud.drain()
    (plain,) = plaintext(kami, exported(kami, batch["id"]))
    shown = [line["code"] for line in rows(plain)]
    assert shown == kami.codes(serials)
    assert [new == before for new, before in zip(shown, old, strict=True)] == [n in (2, 5, 6) for n in range(8)]


def test_only_the_recipient_can_read_it(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 1)
    export = exported(kami, batch["id"])
    cipher = downloaded(kami, export["id"], "1")
    assert cipher.startswith(b"age-encryption.org/v1\n-> X25519 ")
    with pytest.raises(Exception, match="No matching keys"):
        decrypt(cipher, [x25519.Identity.generate()])


def test_nothing_is_written_to_disk_on_the_way(kami: Kami) -> None:
    """An audit hook sees every file that this process opens."""
    opened: list[Any] = []
    watching = True
    sys.addaudithook(lambda event, found: opened.append(found) if watching and event == "open" else None)
    files.encrypted((b"line\n" * 10_000 for _ in range(200)), RECIPIENT)
    assert [found for found in opened if found[1] not in ("r", "rb")] == []
    watching = False


# The job


def untold(kami: Kami) -> dict[tuple[str, str], Json]:
    """All items but what relay writes, and the tickets."""
    return {key: item for key, item in kami.items(*TOLD).items() if not key[1].startswith("TICKET#")}


@pytest.mark.usefixtures("small_files")
def test_a_job_delivered_again_writes_nothing_again(kami: Kami) -> None:
    batch = kami.batch(kami.campaign()["id"], 2 * LOT_SIZE)
    export = granted(ordered(kami, batch["id"]), 202)
    assert (export["status"], export["files"]) == ("in_progress", [])
    order = message(export["id"])
    assert invoke(kami, "generate", order, order) == []
    once, files_once = untold(kami), [downloaded(kami, export["id"], file) for file in ("1", "2", MANIFEST)]
    assert invoke(kami, "generate", order) == []
    kami.cloud.drain()
    assert [downloaded(kami, export["id"], file) for file in ("1", "2", MANIFEST)] == files_once
    assert untold(kami) == once


@pytest.mark.usefixtures("small_files")
def test_a_job_goes_on_file_by_file_where_its_time_was_over(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = kami.batch(kami.campaign()["id"], 2 * LOT_SIZE)
    export = granted(ordered(kami, batch["id"]), 202)
    monkeypatch.setattr("functions.generate.exports.STEP_S", 10_000)
    order = message(export["id"])
    assert invoke(kami, "generate", order) == []
    assert read(kami, export["id"])["files"] == []
    monkeypatch.undo()
    monkeypatch.setattr("functions.domain.export.LOTS_PER_FILE", 1)
    kami.cloud.drain()
    assert read(kami, export["id"])["status"] == "completed"


def test_each_lots_history_tells_of_the_export(kami: Kami) -> None:
    campaign = kami.campaign()["id"]
    batch, neighbour = (kami.batch(campaign, 2)["id"] for _ in range(2))
    export = exported(kami, batch)
    for serial in kami.serials(batch):
        told = granted(kami.operator.get(f"/v1/vouchers/{serial}/history"))["data"]
        assert [line["event"] for line in told] == ["generated", "exported"]
        assert (told[1]["export"], told[1]["actor"]) == (export["id"], kami.operator.client_id)
    told = granted(kami.operator.get(f"/v1/vouchers/{kami.serials(neighbour)[0]}/history"))["data"]
    assert [line["event"] for line in told] == ["generated"]


# Orders


def test_a_repeat_gives_the_same_export_and_another_body_is_refused(kami: Kami) -> None:
    batch, key = kami.batch(kami.campaign()["id"], 1)["id"], unique()
    first, second = (ordered(kami, batch, key) for _ in range(2))
    assert (first.status, replayed(first), replayed(second)) == (202, False, True)
    assert first.body == second.body
    assert first.header("location") == f"/v1/exports/{first.json()['id']}"
    for other in ({"recipient": str(x25519.Identity.generate().to_public())}, {"format": "jsonl"}, {"qr": True}):
        refused(ordered(kami, batch, key, **other), 422, "idempotency_key_reused")


def test_a_batch_that_is_being_generated_is_not_exported(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.generate.batches.LOTS_PER_CALL_MAX", 0)
    path = f"/v1/campaigns/{kami.campaign()['id']}/batches"
    batch = granted(kami.operator.post(path, {"quantity": 1}), 202)["id"]
    answer = ordered(kami, batch)
    refused(answer, 409, "still_generating")
    assert answer.header("retry-after")
    kami.cloud.drain()
    granted(ordered(kami, batch), 202)
    kami.cloud.drain()


def test_qr_images_are_not_made_for_more_than_their_limit(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.generate.exports.QR_QUANTITY_MAX", 1)
    batch = kami.batch(kami.campaign()["id"], 2)["id"]
    assert refused(ordered(kami, batch, qr=True), 409, "quantity_exceeded")["available"] == 1


@pytest.mark.parametrize("recipient", [
    RECIPIENT.upper(), RECIPIENT[:-1] + ("q" if RECIPIENT[-1] != "q" else "p"), RECIPIENT[:-1], RECIPIENT + "q",
    f" {RECIPIENT}", f"{RECIPIENT}\n", f"{RECIPIENT},{RECIPIENT}", str(PRINTER), "age1", "", "age1" + "q" * 58,
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN",
    "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
], ids=map(str, count()))  # fmt: skip
def test_what_is_no_public_key_of_age_is_refused(kami: Kami, recipient: str) -> None:
    batch = kami.batch(kami.campaign()["id"], 1)["id"]
    before = kami.items()
    document = refused(ordered(kami, batch, recipient=recipient), 400, "invalid_request")
    assert [error["field"] for error in document["errors"]] == ["recipient"]
    assert str(PRINTER) not in json.dumps(document)
    assert kami.items() == before


@pytest.mark.parametrize("role", ["merchant", "partner", "support", "auditor"])
def test_only_who_may_see_codes_may_export(kami: Kami, role: str) -> None:
    export = exported(kami, kami.batch(kami.campaign()["id"], 1)["id"])
    stranger = kami.client(role)
    body = {"recipient": RECIPIENT}
    refused(stranger.post(f"/v1/batches/{export['batch']}/exports", body), 403, "insufficient_scope")
    refused(stranger.get(f"/v1/exports/{export['id']}"), 403, "insufficient_scope")
    refused(stranger.post(f"/v1/exports/{export['id']}/tickets", None), 403, "insufficient_scope")


# Tickets


@pytest.fixture(scope="module")
def done(kami: Kami) -> Json:
    """An export of one voucher."""
    return exported(kami, kami.batch(kami.campaign()["id"], 1)["id"])


def test_a_ticket_gives_one_link_to_one_file_for_a_minute(kami: Kami, done: Json) -> None:
    text = ticket(kami, done["id"])
    address = urlsplit(str(fetched(kami, done["id"], "1", text).header("location")))
    query = parse_qs(address.query)
    assert address.path == f"/{done['id']}/1"
    assert query["X-Amz-Expires"] == [str(LINK_S)]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    before = kami.items()
    for file in ("1", MANIFEST):
        refused(fetched(kami, done["id"], file, text), *NOT_VALID)
    assert kami.items() == before


def test_a_ticket_is_kept_only_as_a_hash_with_who_used_it(kami: Kami, done: Json) -> None:
    text = ticket(kami, done["id"])
    id, _, secret = text.partition(".")
    granted_at = kami.items()[(f"EXPORT#{done['id']}", f"TICKET#{id}")]
    assert secret not in json.dumps(granted_at, default=repr)
    assert granted_at["sha256"]["B"] == hashlib.sha256(secret.encode()).digest()
    answer = fetched(kami, done["id"], MANIFEST, text)
    item = kami.items()[(f"EXPORT#{done['id']}", f"TICKET#{id}")]
    assert item["file"]["S"] == MANIFEST
    assert item["used_by"]["S"] == answer.header("x-request-id")
    assert item["last"]["M"]["address"]["S"] == "198.51.100.7"
    assert kami.operator.client_id in str(item["by"])


def test_every_ticket_that_is_not_valid_is_refused_alike(kami: Kami, done: Json, clock: Clock) -> None:
    other = exported(kami, done["batch"])["id"]
    good, used, foreign = ticket(kami, done["id"]), ticket(kami, done["id"]), ticket(kami, other)
    assert fetched(kami, done["id"], "1", used).status == 303
    id, _, secret = good.partition(".")
    wrong = [
        used, foreign, "", ".", id, f"{id}.", f"{id}.{secret[:-1]}", f"{id}.{secret}x", secret, "%E5%8D%A1",
        f"{used.partition('.')[0]}.{secret}", f"tkt_{'0' * 24}.{secret}", "x" * 4_000,
        f"{id}.{hashlib.sha256(secret.encode()).hexdigest()}",
        "%00", f"{good}%20", f"{good}.", f"{id.upper()}.{secret}",
    ]  # fmt: skip
    answers = [fetched(kami, done["id"], "1", text) for text in wrong]
    answers += [fetched(kami, "exp_none", "1", good), fetched(kami, done["id"], "1", good + "&ticket=" + good)]
    answers.append(kami.cloud.request("GET", f"/v1/exports/{done['id']}/files/1"))
    for answer in answers:
        refused(answer, *NOT_VALID)
    assert all(visible(answer) == visible(answers[0]) for answer in answers)
    clock.advance(TICKET_S)
    refused(fetched(kami, done["id"], "1", good), *NOT_VALID)


@pytest.mark.parametrize(
    "file", ["0", "2", "01", "-1", "1 ", "１", "MANIFEST", "manifest.json", "..", "%2e%2e%2fexp", "1%00"]
)
def test_a_file_that_there_is_not_leaves_the_ticket_unused(kami: Kami, done: Json, file: str) -> None:
    text = ticket(kami, done["id"])
    before = kami.items()
    refused(fetched(kami, done["id"], file, text), 404, "not_found")
    assert kami.items() == before
    assert fetched(kami, done["id"], "1", text).status == 303


def test_there_is_no_ticket_for_what_is_not_completed_not_there_or_expired(kami: Kami, clock: Clock) -> None:
    export = granted(ordered(kami, kami.batch(kami.campaign()["id"], 1)["id"]), 202)["id"]
    path = f"/v1/exports/{export}/tickets"
    answer = kami.operator.post(path, None)
    refused(answer, 409, "export_in_progress")
    assert answer.header("retry-after")
    kami.cloud.drain()
    clock.advance(KEPT_S - 60)
    late = granted(kami.operator.post(path, None), 201)
    assert late["expires_at"] == read(kami, export)["expires_at"]
    clock.advance(60)
    refused(kami.operator.post(path, None), 410, "export_expired")
    refused(fetched(kami, export, "1", late["ticket"]), *NOT_VALID)
    refused(kami.operator.post("/v1/exports/exp_none/tickets", None), 404, "not_found")
    refused(kami.operator.get("/v1/exports/exp_none"), 404, "not_found")
