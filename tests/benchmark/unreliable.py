"""Redemptions while both SMS providers fail by a seeded plan: each one's SMS arrives, once, and all counts are right.

tests/e2e/test_unreliable_providers.py does the same with fewer of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep
from typing import NamedTuple

from functions.domain.message import ATTEMPTS_MAX
from functions.domain.serials import LOT_SIZE
from functions.store import keys
from infra.local.carriers import NAMES, RETRY_BASE_S
from tests.benchmark.harness import Result, at_most, figure
from tests.running import Json, Running, mobile, up

REDEMPTIONS = 10_000
UNTOUCHED = 5_000
"""More vouchers of the batch, so that it has lots of several counts."""
SEED = 3
FAILURES_MAX = 2
"""Each carrier fails a message so often at most, and both together less often than it may be attempted."""
TILLS = 4
STALLED_AFTER_S = 120
"""Longer than a message waits for its last attempt: RETRY_BASE_S · 2⁴ = 4 s."""
POLL_S = 1.0


class Account(NamedTuple):
    """What it came to; `lost`, `doubled`, `unsent`, `set_aside` and `miscounted` must be 0."""

    lost: int
    """Phones without the SMS of their redemption."""
    doubled: int
    """SMS that were not the first to their phone."""
    unsent: int
    """Redemptions whose message does not stand as sent."""
    set_aside: int
    """Messages in dead-letter queues, and records in the bucket of failures."""
    miscounted: int
    """Vouchers by which a batch's counts, or a lot's, differ from a recount of the vouchers' items."""
    attempts: list[int]
    """Of each message."""
    took_s: float


def measure() -> Iterator[Result]:
    """All over HTTP, on DynamoDB Local: moto would keep every image of the stream in memory, gigabytes of them."""
    with TemporaryDirectory() as folder, up(Path(folder), "dynamodb-local") as kami:
        account = told_of_all(kami, REDEMPTIONS, UNTOUCHED)
    of = f"{REDEMPTIONS:,} redemptions while both providers fail"
    yield at_most(f"SMS lost, {of}", account.lost, 0, "")
    yield at_most(f"SMS sent twice, {of}", account.doubled, 0, "")
    yield at_most("messages not sent in the end", account.unsent, 0, "")
    yield at_most("messages and records set aside", account.set_aside, 0, "")
    yield at_most("vouchers by which counts differ from a recount", account.miscounted, 0, "")
    yield figure("attempts at an SMS, mean", mean(account.attempts), "")
    yield at_most("attempts at an SMS, the most", max(account.attempts), ATTEMPTS_MAX, "")
    yield figure("base of the local back-off (SMS_RETRY_BASE_S)", float(RETRY_BASE_S), "s")
    yield figure("from the first redemption to the last SMS", account.took_s, "s")


def told_of_all(kami: Running, redemptions: int, untouched: int) -> Account:
    """Redeem so many vouchers, each to a phone of its own, and account for all that follows once all is quiet."""
    assert FAILURES_MAX * len(NAMES) < ATTEMPTS_MAX
    batch = kami.active(redemptions + untouched)
    codes = kami.codes(batch, redemptions)
    for name in NAMES:
        kami.done("PUT", f"/local/carriers/{name}", {"fault": "plan", "seed": SEED, "failures_max": FAILURES_MAX})
    since = perf_counter()
    with ThreadPoolExecutor(TILLS) as tills:
        replies = tills.map(kami.redeem, (code for _, code in codes), map(mobile, range(redemptions)))
        refused = [reply.text for reply in replies if reply.status_code != HTTPStatus.CREATED]
    if refused:
        raise RuntimeError(f"{len(refused)} not redeemed, the first: {refused[0]}")
    _quiet(kami, redemptions)
    took_s = perf_counter() - since

    received = [kami.phone(mobile(number)) for number in range(redemptions)]
    own = [serial in sms[0]["text"] if sms else False for (serial, _), sms in zip(codes, received, strict=True)]
    messages = kami.items(keys.MESSAGE)
    sent = {message["serial"]["S"] for message in messages if message["status"]["S"] in ("sent", "delivered")}
    return Account(
        lost=own.count(False),
        doubled=sum(len(sms) - 1 for sms in received if sms),
        unsent=sum(serial not in sent for serial, _ in codes),
        set_aside=sum(kami.set_aside().values()),
        miscounted=_miscounted(kami, batch),
        attempts=[len(message["attempts"]["L"]) for message in messages],
        took_s=took_s,
    )


def _quiet(kami: Running, expected: int) -> None:
    """Wait until all SMS are there and nothing lies in any queue, or nothing has moved for long.

    The queues are asked only in the end: moto looks at every message to say how many there are.
    """
    state, moved = (0, 0), monotonic()
    while state != (expected, 0) and monotonic() < moved + STALLED_AFTER_S:
        sleep(POLL_S)
        sms = kami.sms()
        now = sms, kami.waiting() if sms >= expected else 0
        state, moved = now, monotonic() if now != state else moved


def _miscounted(kami: Running, batch: Json) -> int:
    """How far off the counts are, of the batch and of its lots, from what the vouchers' items say."""
    lots: dict[int, Counter[str]] = {}
    for item in kami.items(keys.VOUCHER):
        lots.setdefault(int(item["position"]["N"]) // LOT_SIZE, Counter())[item["status"]["S"]] += 1
    kept = {int(item["pk"]["S"].removeprefix(keys.COUNTS)): _kept(item) for item in kami.items(keys.COUNTS)}
    total = sum(lots.values(), Counter[str]())
    total["active"] += batch["quantity"] - total.total()
    told = kami.done("GET", f"/v1/batches/{batch['id']}")["counts"]
    off = [_apart(lots.get(lot, Counter()), kept.get(lot, Counter())) for lot in {*lots, *kept}]
    return sum(off) + _apart(total, Counter(told))


def _kept(item: Json) -> Counter[str]:
    return Counter({name.removeprefix("n_"): int(n["N"]) for name, n in item.items() if name.startswith("n_")})


def _apart(one: Counter[str], other: Counter[str]) -> int:
    return sum(abs(one[status] - other[status]) for status in {*one, *other})
