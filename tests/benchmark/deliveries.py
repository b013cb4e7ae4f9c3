"""Statistics of 20,000 messages whose writes come shuffled and repeated, against a recount of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from random import Random
from time import perf_counter

from functions.domain.deliveries import Cell, Counts, counts, moved
from functions.domain.message import ATTEMPT_S, Message, Outcome, Receipt, Status, TemplateCall, with_receipt
from functions.domain.reasons import IN_DOUBT, REASONS
from functions.relay.handler import RECORDS_PER_STEP
from functions.store import deliveries
from functions.store.deliveries import Moved
from infra.local.cloud import Cloud
from infra.local.template import synthesized
from tests.benchmark.harness import Result, at_most, figure

MESSAGES = 20_000
HOURS = 24
BEGAN = 1_800_000_000
WRITES_MAX = 6
REPEATS_MAX = 3
WORKERS = 4
SEED = 6
TEMPLATES = ("voucher.redeemed", "voucher.reversed", "voucher.expiring")
OUTCOMES = (
    Outcome(provider_id="1"),
    Outcome(IN_DOUBT),
    *map(Outcome, ("provider_down", "carrier_congested", "blocked")),
)
RECEIPTS = ((Status.DELIVERED, None), (Status.DELIVERED, None), (Status.UNDELIVERED, "phone_full"))


def measure() -> Iterator[Result]:
    """Each write is given to one of four workers up to three times, among 24 others, in any order."""
    random = Random(SEED)
    lives = [_life(random, number) for number in range(MESSAGES)]
    recount = Counts()
    for life in lives:
        recount.update(counts(life[-1]))
    moves = [
        Moved(new.id, new.version, moved(old, new))
        for life in lives
        for old, new in pairwise((None, *life))
        if new is not None
    ]
    told = [move for move in moves for _ in range(random.randint(1, REPEATS_MAX))]
    random.shuffle(told)
    steps = [told[at : at + RECORDS_PER_STEP] for at in range(0, len(told), RECORDS_PER_STEP)]
    with Cloud.in_process(synthesized()) as cloud, cloud.environment("relay"), ThreadPoolExecutor(WORKERS) as workers:
        began = perf_counter()
        list(workers.map(deliveries.record, steps))
        took_s = perf_counter() - began
        since = BEGAN // 3_600
        found = _sum(deliveries.between(since, since + HOURS + 2))
    different = sum(found[key] != recount[key] for key in found.keys() | recount.keys())
    yield at_most("counts of 20,000 messages that differ from a recount", different, 0, "")
    yield figure("writes of messages counted, with their repeats", len(told) / took_s, "/s")


def _sum(cells: list[tuple[Cell, dict[str, int]]]) -> Counter[tuple[Cell, str]]:
    found: Counter[tuple[Cell, str]] = Counter()
    for cell, counted in cells:
        found.update({(cell, name): n for name, n in counted.items()})
    return found


def _life(random: Random, number: int) -> list[Message]:
    """The versions of a message, as attempts and receipts make them."""
    template, at = random.choice(TEMPLATES), BEGAN + random.randrange(HOURS * 3_600)
    call = TemplateCall(template, "en", 1)
    message = Message(f"msg_{number}", template, "010000000003", "+8613812345678", "", at, template=call, version=1)
    versions = [message]
    for _ in range(random.randrange(WRITES_MAX)):
        at += random.randrange(ATTEMPT_S)
        last = message.attempts[-1] if message.attempts else None
        if message.status is Status.QUEUED:
            after = message.begun(random.choice(("aws", "alibaba")), str(at), at, traceable=True)
        elif last is not None and message.status is Status.SENDING:
            after = message.ended(last.turn, random.choice(OUTCOMES), at)
        elif last is not None and last.reason not in REASONS:
            status, reason = random.choice(RECEIPTS)
            after = with_receipt(message, Receipt(last.provider, status, at, last.reference, None, reason), at)
        else:
            break
        message = replace(after, version=message.version + 1)
        versions.append(message)
    return versions
