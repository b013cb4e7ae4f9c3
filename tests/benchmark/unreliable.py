"""Redemptions while both SMS carriers fail in every way: one SMS each, every message's end is the truth, counts hold.

What is true of a message is asked of the carriers themselves: what they took, and what they told of it.
tests/e2e/test_unreliable_providers.py does the same with fewer of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep
from typing import NamedTuple

from functions.domain.message import ATTEMPTS_MAX, OVER, RANKS, Status
from functions.domain.serials import LOT_SIZE
from functions.notify.receipts import WAITS_S, message_of
from functions.store import keys
from infra.local.carriers import NAMES, RECEIPT_AFTER_S, RETRY_BASE_S, SLOW_S
from tests.benchmark.harness import Result, at_most, figure
from tests.running import Json, Running, mobile, up

REDEMPTIONS = 10_000
UNTOUCHED = 5_000
"""More vouchers of the batch, so that it has lots of several counts."""
ROUNDS = 10
"""So often the carriers go through all that may be wrong with them."""
TILLS = 4
STALLED_AFTER_S = 120
"""Longer than a message waits for its last attempt: RETRY_BASE_S · 2⁴ = 4 s."""
POLL_S = 0.5
QUIET_S = WAITS_S[0] + 1

WELL = {"fault": "none", "receipts": "prompt", "receipt_after_s": RECEIPT_AFTER_S, "receipt_code": ""}
PLANNED = {"fault": "plan", "seed": 3, "failures_max": 2, "receipts": "plan"}
"""Each message has its own faults and receipts, at each carrier."""
FAULTS: tuple[dict[str, Json], ...] = (
    {"north": {"receipt_code": "technical_fault"}, "south": {"receipts": "out_of_order"}},
    {"north": {"fault": "refuse", "error": "account_refused"}, "south": {"receipts": "repeated"}},
    {"north": {"fault": "down"}},
    {"north": {"fault": "slow", "after_s": SLOW_S, "receipts": "early"}},
    {"north": {"fault": "answer_twice", "receipts": "out_of_order"}},
    {"north": {"fault": "lose_reply", "receipts": "none"}, "south": {"fault": "lose_reply", "receipts": "none"}},
    {"north": {"fault": "lose_reply", "receipts": "early"}},
    {"north": {"receipt_after_s": 4 * RECEIPT_AFTER_S}, "south": {"fault": "down"}},
    {"north": PLANNED, "south": PLANNED},
    {"north": {"fault": "down"}, "south": {"fault": "down"}},
)
"""What is wrong at a time; one path works, in the end. A carrier that tells of a fault of its own has not delivered.

First what is met only by calls that a breaker lets through: the others open it, or are met by its probes too."""
End = tuple[str, str | None]
"""A message's status and reason."""
STOPS: tuple[tuple[Json, End], ...] = (
    ({"fault": "refuse", "error": "number_invalid"}, ("failed", "number_invalid")),
    ({"receipt_code": "blocked"}, ("undelivered", "blocked")),
)
"""What is wrong with a phone, both carriers say so, and what becomes of its message: it gets no SMS."""
STOPPED_SHARE = 20
"""For each of these one redemption of so many."""


class Account(NamedTuple):
    """What it came to; all but the last three must be 0."""

    lost: int
    """Phones without the SMS of their redemption, though there was a way to them."""
    doubled: int
    """SMS that were not the first to their phone, or came to one that no carrier reaches."""
    untrue: int
    """Redemptions without just one message, or whose message has a status or reason that is not the truth."""
    set_aside: int
    """Messages in dead-letter queues, and records in the bucket of failures."""
    miscounted: int
    """Vouchers by which a batch's counts, or a lot's, differ from a recount of the vouchers' items."""
    attempts: list[int]
    """Of each message."""
    reasons: Counter[str]
    """Of attempts."""
    took_s: float


class Followed(NamedTuple):
    """What followed from a redemption: its message as its story has it, and what its phone received."""

    serial: str
    messages: list[Json]
    sms: list[str]


def measure() -> Iterator[Result]:
    """All over HTTP, on DynamoDB Local: moto would keep every image of the stream in memory, gigabytes of them."""
    with TemporaryDirectory() as folder, up(Path(folder), "dynamodb-local") as kami:
        account = told_of_all(kami, REDEMPTIONS, UNTOUCHED, ROUNDS)
    of = f"{REDEMPTIONS:,} redemptions while both providers fail"
    yield at_most(f"SMS lost, {of}", account.lost, 0, "")
    yield at_most(f"SMS sent twice, {of}", account.doubled, 0, "")
    yield at_most("messages that end with an untrue status or reason", account.untrue, 0, "")
    yield at_most("messages and records set aside", account.set_aside, 0, "")
    yield at_most("vouchers by which counts differ from a recount", account.miscounted, 0, "")
    yield figure("attempts at an SMS, mean", mean(account.attempts), "")
    yield at_most("attempts at an SMS, the most", max(account.attempts), ATTEMPTS_MAX, "")
    yield figure("base of the local back-off (SMS_RETRY_BASE_S)", float(RETRY_BASE_S), "s")
    yield figure("from the first redemption to the last SMS", account.took_s, "s")


def told_of_all(kami: Running, redemptions: int, untouched: int, rounds: int = 1) -> Account:
    """Redeem so many vouchers, each to a phone of its own, and account for all that follows once all is quiet."""
    batch = kami.active(redemptions + untouched)
    codes = kami.codes(batch, redemptions)
    stopped = redemptions // STOPPED_SHARE
    reached = redemptions - stopped * len(STOPS)
    slice_size = -(-reached // (len(FAULTS) * rounds))
    since = perf_counter()
    with ThreadPoolExecutor(TILLS) as tills:

        def redeem(first: int, end: int) -> None:
            chosen = range(first, end)
            replies = tills.map(kami.redeem, (codes[number][1] for number in chosen), map(mobile, chosen))
            refused = [reply.text for reply in replies if reply.status_code != HTTPStatus.CREATED]
            if refused:
                raise RuntimeError(f"{len(refused)} not redeemed, the first: {refused[0]}")

        for first, faults in zip(range(0, reached, slice_size), cycle(FAULTS), strict=False):
            _switch(kami, faults)
            redeem(first, min(first + slice_size, reached))
            _begun(kami, min(first + slice_size, reached))
        _switch(kami, {})
        _quiet(kami, reached)
        took_s = perf_counter() - since
        for place, (fault, _) in enumerate(STOPS):
            first = reached + place * stopped
            _switch(kami, dict.fromkeys(NAMES, fault))
            redeem(first, first + stopped)
            _quiet(kami, first + stopped)
        serials = [serial for serial, _ in codes]
        followed = list(tills.map(partial(_followed, kami), range(redemptions), serials))

    truth = _truth(kami)
    attempts = [attempt for each in followed for message in each.messages for attempt in message["attempts"]]
    ends = [None] * reached + [end for _, end in STOPS for _ in range(stopped)]
    return Account(
        lost=sum(not any(each.serial in text for text in each.sms) for each in followed[:reached]),
        doubled=sum(max(len(each.sms) - (end is None), 0) for each, end in zip(followed, ends, strict=True)),
        untrue=sum(not _is_true(each, end, truth) for each, end in zip(followed, ends, strict=True)),
        set_aside=sum(kami.set_aside().values()),
        miscounted=_miscounted(kami, batch),
        attempts=[len(message["attempts"]) for each in followed for message in each.messages],
        reasons=Counter(attempt["reason"] for attempt in attempts if "reason" in attempt),
        took_s=took_s,
    )


def _switch(kami: Running, faults: dict[str, Json]) -> None:
    for name in NAMES:
        kami.done("PUT", f"/local/carriers/{name}", WELL | faults.get(name, {}))


def _begun(kami: Running, messages: int) -> None:
    """Wait until so many messages are there, however they fare, so that what is wrong is met by some."""
    until = monotonic() + STALLED_AFTER_S
    while _statuses(kami).total() < messages and monotonic() < until:
        sleep(POLL_S)


def _quiet(kami: Running, messages: int) -> None:
    """Wait until so many messages are over, all receipts given and no queue has work, or nothing has moved for long.

    Work that is delayed may be left: a message that a receipt has ended meanwhile finds its next attempt needless. What
    a receipt waits for that came too early is waited for too. Queues are asked only in the end: moto looks at every
    message to say how many there are.
    """
    state, moved, quiet_since = None, monotonic(), monotonic()
    while monotonic() < moved + STALLED_AFTER_S:
        sleep(POLL_S)
        carriers = kami.done("GET", "/local/carriers")["data"]
        now = [(carrier["messages"], carrier["receipts_due"]) for carrier in carriers]
        has_moved = now != state
        if has_moved:
            state, moved = now, monotonic()
        if has_moved or any(due for _, due in now) or kami.at_work() or _over(kami) < messages:
            quiet_since = monotonic()
        elif monotonic() > quiet_since + QUIET_S:
            return


def _over(kami: Running) -> int:
    return sum(number for status, number in _statuses(kami).items() if status in OVER)


def _statuses(kami: Running) -> Counter[str]:
    """How many messages have which status, as the statistics tell it: to look at each would keep the table busy."""
    counted = kami.done("GET", "/v1/messages/statistics")["data"]
    return Counter(counted[0]["messages"] if counted else {})


def _followed(kami: Running, number: int, serial: str) -> Followed:
    messages = kami.done("GET", f"/v1/messages?recipient=%2B{mobile(number)[1:]}")["data"]
    return Followed(serial, messages, [sms["text"] for sms in kami.phone(mobile(number))])


def _truth(kami: Running) -> dict[str, End]:
    """By message: how it ends by what the carriers that took it tell of it, whatever they failed in otherwise."""
    ends: dict[str, End] = {}
    for name in NAMES:
        for taken in kami.done("GET", f"/local/carriers/{name}/taken")["data"]:
            id, told = message_of(taken["reference"]), taken["told"]
            end: End = ("delivered", None) if "" in told else ("undelivered", told[0]) if told else ("sent", None)
            ends[id] = max(end, ends.get(id, end), key=lambda each: RANKS[Status(each[0])])
    return ends


def _is_true(followed: Followed, end: End | None, truth: dict[str, End]) -> bool:
    if len(followed.messages) != 1:
        return False
    (message,) = followed.messages
    return (message["status"], message.get("reason")) == (end or truth.get(message["id"]))


def _miscounted(kami: Running, batch: Json) -> int:
    """How far off the counts are, of the batch and of its lots, from what the vouchers' items say."""
    lots: dict[int, Counter[str]] = {}
    kept: dict[int, Counter[str]] = {}
    for item in kami.items(keys.VOUCHER, keys.COUNTS):
        if item["pk"]["S"].startswith(keys.COUNTS):
            kept[int(item["pk"]["S"].removeprefix(keys.COUNTS))] = _kept(item)
        else:
            lots.setdefault(int(item["position"]["N"]) // LOT_SIZE, Counter())[item["status"]["S"]] += 1
    total = sum(lots.values(), Counter[str]())
    total["active"] += batch["quantity"] - total.total()
    told = kami.done("GET", f"/v1/batches/{batch['id']}")["counts"]
    off = [_apart(lots.get(lot, Counter()), kept.get(lot, Counter())) for lot in {*lots, *kept}]
    return sum(off) + _apart(total, Counter(told))


def _kept(item: Json) -> Counter[str]:
    return Counter({name.removeprefix("n_"): int(n["N"]) for name, n in item.items() if name.startswith("n_")})


def _apart(one: Counter[str], other: Counter[str]) -> int:
    return sum(abs(one[status] - other[status]) for status in {*one, *other})
