"""A million recalled over HTTP: what it writes to lots, when its codes are refused, and when it is completed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from functions.store import keys
from tests.benchmark.harness import Result, at_least, at_most, figure
from tests.running import Running, mobile, up

QUANTITY = 1_000_000
LOTS = 100
WRITES_MAX = 110
REFUSED_MAX_S = 1
TILLS = 4
"""As many as the local cloud has instances of a function."""
SPENT = 8


def measure() -> Iterator[Result]:
    """One code of each lot is tried: some are redeemed before the recall, the others after its answer.

    The time counts from the answer to the slowest of the refusals that the tills get first, all asking at once.
    """
    with TemporaryDirectory() as folder, up(Path(folder)) as kami, ThreadPoolExecutor(TILLS) as tills:
        batch = kami.active(QUANTITY)
        codes = [code for _, code in kami.codes(batch, LOTS)]
        before = [reply.status_code for reply in tills.map(kami.redeem, codes[:SPENT], map(mobile, range(SPENT)))]
        writes = _writes(kami)
        order = {"selection": {"batch": batch["id"]}, "action": "void", "reason": "stolen"}
        recovery = kami.done("POST", "/v1/recoveries", order)
        answered = perf_counter()
        after = list(tills.map(_tried, [kami] * LOTS, codes[SPENT:], range(SPENT, LOTS)))
        report = kami.recovered(recovery["id"])
        took_s = perf_counter() - answered
        writes = _writes(kami) - writes
        kept = _item(kami, keys.recovery(recovery["id"]))
    refused = [at - answered for at, status in after if status == HTTPStatus.NOT_FOUND]
    yield at_most("writes to lots, recalling 1,000,000", writes, WRITES_MAX, "items")
    yield at_most("from a recall's answer until its codes are refused", max(refused[:TILLS]), REFUSED_MAX_S, "s")
    yield at_most("recalled codes redeemed after the answer, one tried of each lot", len(after) - len(refused), 0, "")
    late_s = int(kept["completed_at"]["N"]) - int(kept["fence_until"]["N"])
    yield at_least("from the end of a recall's fence until it is completed", late_s, 0, "s")
    yield figure("from a recall's answer until it is completed", took_s, "s")
    spent = before.count(HTTPStatus.CREATED)
    off = abs(report["recovered"] - (QUANTITY - spent)) + abs(report["skipped"]["count"] - spent)
    yield at_most("vouchers that the recall's report does not tell of rightly", off, 0, "")


def _tried(kami: Running, code: str, number: int) -> tuple[float, int]:
    status = kami.redeem(code, mobile(number)).status_code
    return perf_counter(), status


def _writes(kami: Running) -> int:
    """How many writes all lots have seen: each raises the version of its lot by one."""
    return sum(int(item["version"]["N"]) for item in kami.items(keys.LOT))


def _item(kami: Running, key: keys.Key) -> dict[str, Any]:
    (item,) = [item for item in kami.items(key.pk) if item["sk"]["S"] == key.sk]
    return item
