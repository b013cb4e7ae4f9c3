"""Messages as chance makes them, their writes as the stream tells them, and a recount of how they fared.

The recount shares nothing with functions/domain/deliveries.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil
from random import Random
from typing import Any

from functions.domain.message import ATTEMPT_S, Message, Outcome, Receipt, Status, TemplateCall, with_receipt
from functions.domain.reasons import IN_DOUBT
from functions.domain.times import rfc3339
from functions.notify.service import BY
from functions.relay.handler import RECORDS_PER_STEP
from functions.relay.service import Written, told
from functions.store import deliveries
from functions.store.deliveries import Moved
from functions.store.records import MESSAGE

HOUR_S = 3_600
RETRIES_MAX = 8
"""Of a batch, as infra/workers.py has it."""
STEPS_MAX = 6
EARLY, LATE_S = 0.3, 4 * HOUR_S
"""The chance that a receipt comes before its reply, and how late others come at most."""
TEMPLATES = ("voucher.redeemed", "voucher.reversed", "voucher.expiring")
PROVIDERS = ("aws", "alibaba", "tencent")
PLACES = (
    ("China Mobile", "Guangdong"), ("China Mobile", "Beijing"), ("China Unicom", "Guangdong"),
    ("China Telecom", "Sichuan"), ("China Telecom", None), (None, "California"), (None, None),
)  # fmt: skip
OUTCOMES = (Outcome(provider_id="1"), Outcome(provider_id="1"), Outcome(IN_DOUBT),
            *map(Outcome, ("provider_down", "carrier_congested", "number_invalid")))  # fmt: skip
RECEIPTS = ((Status.DELIVERED, None), (Status.DELIVERED, None), (Status.SENT, None),
            (Status.UNDELIVERED, "phone_full"), (Status.UNDELIVERED, "blocked"))  # fmt: skip
RULED = ("opted_out", "expired")

Json = dict[str, Any]


def life(random: Random, number: int, began: int, hours: int) -> list[Message]:
    """The versions of a message made within these hours, as attempts, rules and receipts make them."""
    template, (carrier, region) = random.choice(TEMPLATES), random.choice(PLACES)
    at = began + random.randrange(hours * HOUR_S)
    call = TemplateCall(template, "en", 1, (("serial", "010000000003"),))
    versions = [
        Message(
            f"msg_{number}", template, "010000000003", "+8613812345678", "text", at,
            template=call, carrier=carrier, region=region, version=1,
        )
    ]  # fmt: skip
    for _ in range(random.randrange(STEPS_MAX)):
        at += random.randrange(ATTEMPT_S)
        before = versions[-1]
        after = _step(random, before, at)
        if after != before:
            versions.append(replace(after, version=before.version + 1))
    return versions


def _step(random: Random, message: Message, at: int) -> Message:
    """What happens next; a receipt may be for any attempt, say again what one has said, or what nobody believes."""
    last = message.attempts[-1] if message.attempts else None
    if message.status is Status.QUEUED and random.random() < 0.1:
        return message.ruled(random.choice(RULED), at)
    if message.status is Status.QUEUED:
        return message.begun(last.provider if last and message.doubt else random.choice(PROVIDERS), str(at), at,
                             traceable=True)  # fmt: skip
    if message.status is Status.SENDING and last is not None and random.random() > EARLY:
        return message.ended(last.turn, random.choice(OUTCOMES), at)
    if last is None:
        return message
    of, (status, reason) = random.choice(message.attempts), random.choice(RECEIPTS)
    told_at = of.at + random.choice((-2, 0, 1, 3, random.randrange(LATE_S)))
    return with_receipt(message, Receipt(of.provider, status, told_at, of.reference, None, reason), at)


def written(lives: Iterable[list[Message]]) -> list[Written]:
    """Every write of these messages."""
    items = ([None, *(MESSAGE.item(message, "message", BY) for message in life)] for life in lives)
    return [Written(0, old, new) for life in items for old, new in pairwise(life)]


def batches(random: Random, writes: list[Written]) -> list[list[Written]]:
    """Batches of these writes, of which an eighth is in several, each batch twice, and all in any order."""
    told = [*writes, *random.sample(writes, len(writes) // 8)]
    random.shuffle(told)
    steps = [told[at : at + RECORDS_PER_STEP] for at in range(0, len(told), RECORDS_PER_STEP)] * 2
    random.shuffle(steps)
    return steps


def relayed(batch: list[Written]) -> None:
    """What relay does with a batch, as far as it is about how SMS fare; as Lambda does, what fails comes again."""
    for _ in range(RETRIES_MAX):
        with suppress(Exception):
            return _relayed(batch)
    return _relayed(batch)


def _relayed(batch: list[Written]) -> None:
    found = (each for one in batch for each in told(one, 0))
    deliveries.record(each for each in found if isinstance(each, Moved))


@dataclass
class _Row:
    messages: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    times: list[int] = field(default_factory=list)


def recount(messages: Iterable[Message], by: tuple[str, ...]) -> list[Json]:
    """The rows that statistics must be, in their order: each message by its own hour, each attempt by the attempt's."""
    rows: defaultdict[tuple[int | str, ...], _Row] = defaultdict(_Row)
    for message in messages:
        of = {"carrier": message.carrier or "", "region": message.region or "", "template": message.kind}

        def row(at: int, provider: str, reason: str | None, of: Json = of) -> _Row:
            said = {**of, "hour": at // HOUR_S * HOUR_S, "provider": provider, "reason": reason or ""}
            return rows[tuple(said[name] for name in by)]

        last = message.attempts[-1].provider if message.attempts else ""
        row(message.created_at, last, message.why).messages[message.status.value] += 1
        for attempt in message.attempts:
            own = row(attempt.at, attempt.provider, attempt.reason)
            own.attempts[attempt.outcome.value] += 1
            if attempt.outcome is Status.DELIVERED:
                told_at = next(at for at in (attempt.receipt_at, attempt.sent_at, attempt.at) if at is not None)
                own.times.append(max(told_at - attempt.at, 0))
    return [_shown(dict(zip(by, group, strict=True)), rows[group]) for group in sorted(rows)]


def _shown(group: Json, row: _Row) -> Json:
    if "hour" in group:
        group["hour"] = rfc3339(group["hour"])
    taken = sum(row.attempts[status] for status in ("sent", "delivered", "undelivered"))
    rate = {"delivery_rate": round(row.attempts["delivered"] / taken, 4)} if taken else {}
    times = {"p50_s": _percentile_s(row.times, 50), "p95_s": _percentile_s(row.times, 95)} if row.times else {}
    return {**group, "messages": dict(row.messages), "attempts": dict(row.attempts), **rate, **times}


def _percentile_s(times: list[int], percent: int) -> int:
    """The time of the nearest rank; what took more than ten minutes by the minute, or more than a day by the hour."""
    time_s = sorted(times)[-(-len(times) * percent // 100) - 1]
    for longest_s, step_s in ((600, 1), (86_400, 60)):
        if time_s <= longest_s:
            return ceil(time_s / step_s) * step_s
    return min(ceil(time_s / 3_600) * 3_600, 30 * 86_400)
