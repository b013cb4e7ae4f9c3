"""The ledger: lines that a worker posts in a second, and what each of them writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from time import perf_counter, process_time

from functions.domain.serials import position_of, serial_of
from functions.domain.times import rfc3339
from tests.benchmark.harness import Result, at_most, figure
from tests.benchmark.meter import metered
from tests.benchmark.stage import FACE_MINOR, Stage, staged

LINES = 1_000
AT_A_TIME = 5
"""As many messages as the queue hands to a worker."""
NOW = 1_800_000_000
WRITES_MAX = 2
"""The account and the line."""


def measure() -> Iterator[Result]:
    """One worker on DynamoDB Local; first a line of its own, for a worker notes once a day that a lot has moved."""
    with staged() as stage:
        batch = stage.batch(stage.campaign(), LINES + 1)
        first = position_of(batch["first_serial"])
        assert first is not None
        redeemed = [_redeemed(serial_of(first + number)) for number in range(LINES + 1)]
        _taken(stage, redeemed[:1])
        began, cpu_began = perf_counter(), process_time()
        with metered() as meter:
            for start in range(1, LINES + 1, AT_A_TIME):
                _taken(stage, redeemed[start : start + AT_A_TIME])
        took_s, cpu_s = perf_counter() - began, process_time() - cpu_began
        posted = sum(_is_posted(stage, serial_of(first + number)) for number in range(LINES + 1))
    yield figure("ledger lines posted a second by one worker", LINES / took_s, "1/s")
    yield figure("CPU of a ledger line", cpu_s / LINES * 1_000, "ms")
    yield at_most("items written for a ledger line", meter.items_written / LINES, WRITES_MAX, "items")
    yield at_most("write calls for a ledger line", meter.calls["TransactWriteItems"] / LINES, 1, "calls")
    yield at_most("redemptions that are not posted once", LINES + 1 - posted, 0, "")


def _redeemed(serial: str) -> str:
    """A message of the queue: a whole redemption, as the bus tells it."""
    by = {"client": "merchant-1", "role": "merchant", "tenant": "merchant-1", "address": "192.0.2.1", "request": "r"}
    redemption = {"id": f"red_{serial}", "amount_minor": FACE_MINOR, "currency": "CNY", "generation": 1}
    data = {"serial": serial, "redemption": redemption}
    told = {"id": f"1.VOUCHER#{serial}.1", "type": "voucher.redeemed", "schema": 1, "at": rfc3339(NOW), "by": by}
    return json.dumps({**told, "data": data})


def _taken(stage: Stage, bodies: list[str]) -> None:
    records = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
    failed = stage.invoke("ledger", {"Records": records})["batchItemFailures"]
    if failed:
        raise RuntimeError(f"{len(failed)} movements were not taken")


def _is_posted(stage: Stage, serial: str) -> bool:
    (account,) = stage.ask("GET", f"/v1/vouchers/{serial}/ledger").json()["accounts"]
    (line,) = account["lines"]
    return bool(line["posted"]) and account["balance_minor"] == 0
