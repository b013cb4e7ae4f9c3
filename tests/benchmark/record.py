"""The record: how fast an export of a million entries is verified, and how far the record is behind under load."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, sleep
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from functions.audit.verify import verify
from functions.domain.record import CHAINS, GENESIS, Head, Json, chains, linked
from functions.domain.seal import CHECKPOINT_TYPE, EXPORT_TYPE, Checkpoint, Sealed, closing, manifest, said_of, trail_of
from functions.domain.serials import position_of
from functions.store import keys
from tests.benchmark.harness import Result, at_least, at_most, figure
from tests.running import Running, mobile, up

ENTRIES = 1_000_000
AT_A_TIME = 10_000
ENTRIES_A_SECOND_MIN = 200_000
NOW = 1_800_000_000
TILLS = 4
"""As many as the local cloud has instances of a function."""
REDEMPTIONS = 400
POLL_S = 0.05
LAG_MAX_S = 60.0


def measure() -> Iterator[Result]:
    """CPU time of one core; then the time from a redemption's answer until its entry is there."""
    with TemporaryDirectory() as folder:
        path, key = Path(folder) / "export.jsonl", ec.generate_private_key(ec.SECP256R1())
        with path.open("wb") as file:
            _export(file, key)
        began = process_time()
        found = verify(path, {"k": key.public_key()})
        took_s = process_time() - began
        size = path.stat().st_size
    yield at_least("entries of a record of 1,000,000 verified", found.entries / took_s, ENTRIES_A_SECOND_MIN, "/s·core")
    yield figure("bytes of such an export an entry", size / ENTRIES, "B")
    with TemporaryDirectory() as folder, up(Path(folder)) as kami:
        lags, took_s = _lags(kami)
    yield figure("redemptions while the record's lag was measured", len(lags) / took_s, "/s")
    yield figure("from a redemption's answer until it is on record, median", median(lags), "s")
    yield at_most("from a redemption's answer until it is on record, slowest", max(lags), LAG_MAX_S, "s")


def _export(file: BinaryIO, key: ec.EllipticCurvePrivateKey) -> None:
    runs: list[Sealed] = []
    marks: list[bytes] = []
    for number, chain in enumerate(chains(1)):
        head, of_chain = Head(), ENTRIES // CHAINS
        for start in range(0, of_chain, AT_A_TIME):
            events = map(_event, range(number * of_chain + start, number * of_chain + min(start + AT_A_TIME, of_chain)))
            entries = linked(chain, head, events)
            content = b"".join(entry.line.encode() + b"\n" for entry in entries)
            file.write(content)
            marks.append(trail_of(content))
            head = Head(entries[-1].number, entries[-1].hash)
        runs.append(Sealed(chain, 1, head.number, GENESIS, head.hash, ""))
    plan = Checkpoint(1, NOW, GENESIS, (), {})
    sealed = plan.with_seal(runs, _signed(key, CHECKPOINT_TYPE, plan.said(runs)))
    assert sealed is not None
    told = manifest(runs, [sealed], trail := b"".join(marks))
    file.write(closing([sealed], trail, told, _signed(key, EXPORT_TYPE, said_of("aex_1", NOW, told))))


def _event(number: int) -> Json:
    """A redemption as the bus tells it."""
    tenant = "merchant-9f86d081884c7d65"
    by = {
        "client": tenant,
        "role": "merchant",
        "tenant": tenant,
        "address": "192.0.2.1",
        "request": f"JKJa{number:012}",
    }
    redemption = {"id": f"{number:012}-2y4kc4wz6n7pjh2d4r6tn5xw", "amount_minor": 5000, "currency": "CNY",
                  "balance_minor": 0, "status": "redeemed", "account_type": "mobile"}  # fmt: skip
    data = {"serial": f"{number:012}", "lot": 100_000 + number // 10_000, "redemption": redemption}
    changes = {"status": ["active", "redeemed"], "balance_minor": [5000, 0]}
    return {"id": f"1.VOUCHER#{number:011}.1", "type": "voucher.redeemed", "schema": 1, "at": "2026-11-22T08:00:00Z",
            "by": by, "data": data, "changes": changes}  # fmt: skip


def _signed(key: ec.EllipticCurvePrivateKey, type: str, said: Json) -> str:
    def encoded(raw: bytes) -> str:
        return urlsafe_b64encode(raw).decode().rstrip("=")

    text = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": type, "kid": "k"}, said))
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(SHA256())))
    return f"{text}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _lags(kami: Running) -> tuple[list[float], float]:
    """Seconds from each redemption's answer until its entry is in the table, and how long the tills were at it."""
    sold = kami.codes(kami.active(REDEMPTIONS), REDEMPTIONS)
    answered: dict[str, float] = {}

    def redeemed(number: int) -> None:
        serial, code = sold[number]
        assert kami.redeem(code, mobile(number)).status_code == HTTPStatus.CREATED
        position = position_of(serial)
        assert position is not None
        answered[keys.entry(f"1.VOUCHER#{position:011d}.1").pk] = perf_counter()

    lags: list[float] = []
    began = perf_counter()
    with ThreadPoolExecutor(TILLS) as tills:
        work = [tills.submit(redeemed, number) for number in range(REDEMPTIONS)]
        while not all(one.done() for one in work):
            lags += _arrived(kami, answered)
            sleep(POLL_S)
        took_s = perf_counter() - began
        for one in work:
            one.result()
    until = perf_counter() + LAG_MAX_S
    while answered and perf_counter() < until:
        lags += _arrived(kami, answered)
        sleep(POLL_S)
    return [*lags, *(LAG_MAX_S for _ in answered)], took_s


def _arrived(kami: Running, answered: dict[str, float]) -> list[float]:
    """The lags of those that are there by now, which are waited for no longer."""
    wanted = [{"pk": {"S": pk}, "sk": {"S": "ENTRY"}} for pk in list(answered)[:100]]
    if not wanted:
        return []
    table = kami.known["outputs"]["TableName"]
    request = {table: {"Keys": wanted, "ConsistentRead": True, "ProjectionExpression": "pk"}}
    reply = kami.aws("dynamodb").batch_get_item(RequestItems=request)
    there = [item["pk"]["S"] for item in reply["Responses"][table]]
    now = perf_counter()
    return [now - answered.pop(pk) for pk in there]
