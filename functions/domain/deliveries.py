"""How SMS fare, in numbers: cells of an hour, which each write of a message moves by what it changed.

A message counts once by its status, in the hour in which it was made, and each of its attempts once by its outcome, in
the hour in which that was made. A write moves these counts by the difference between its two images. So the sums over
all writes, each taken once and in whatever order, are what a recount of all messages comes to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from functions.domain.message import Attempt, Message, Status

HOUR_S = 3_600
EXACT_S, DAY_S, REMEMBERED_S = 600, 86_400, 2_592_000
"""Times to deliver are counted to the second up to ten minutes, up to a day by the minute, and above by the hour that
they do not exceed: an hour's cell stays small though a provider gives its receipts a day late. Nobody remembers an SMS
for more than thirty days, and what takes longer counts as that."""
DIMENSIONS = ("hour", "provider", "carrier", "region", "reason", "template")
MESSAGES, ATTEMPTS, TIMES = "m_", "a_", "t_"
"""What a count is of: messages by status, attempts by outcome, deliveries by their time."""
_TAKEN = (Status.SENT, Status.DELIVERED, Status.UNDELIVERED)


class Cell(NamedTuple):
    """What is counted together: an hour since the epoch, and what each dimension says (empty: nothing)."""

    hour: int
    provider: str
    carrier: str
    region: str
    reason: str
    template: str


Counts = Counter[tuple[Cell, str]]


def counts(message: Message) -> Counts:
    """What a message and its attempts count for."""
    template = message.template.name if message.template is not None else message.event
    last = message.attempts[-1].provider if message.attempts else ""
    carrier, region = message.carrier or "", message.region or ""

    def cell(at: int, provider: str, reason: str | None) -> Cell:
        return Cell(at // HOUR_S, provider, carrier, region, reason or "", template)

    found = Counts({(cell(message.created_at, last, message.why), MESSAGES + message.status): 1})
    for attempt in message.attempts:
        of = cell(attempt.at, attempt.provider, attempt.reason)
        found[of, ATTEMPTS + attempt.outcome] += 1
        if attempt.outcome is Status.DELIVERED:
            found[of, f"{TIMES}{counted_s(_time_to_deliver_s(attempt))}"] += 1
    return found


def moved(old: Message | None, new: Message) -> dict[tuple[Cell, str], int]:
    """By how much a write moves which count."""
    after = counts(new)
    after.subtract(counts(old) if old is not None else {})
    return {key: by for key, by in after.items() if by}


def _time_to_deliver_s(attempt: Attempt) -> int:
    """From the attempt to what tells its delivery; a provider's clock may be behind ours."""
    return max((attempt.receipt_at or attempt.sent_at or attempt.at) - attempt.at, 0)


def counted_s(seconds: int) -> int:
    """The time that one is counted as: itself, or the end of its minute or hour."""
    step_s = 1 if seconds <= EXACT_S else 60 if seconds <= DAY_S else HOUR_S
    return min(-(-seconds // step_s) * step_s, REMEMBERED_S)


@dataclass(slots=True)
class Sum:
    """What cells come to together."""

    messages: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    times: Counter[int] = field(default_factory=Counter)

    def add(self, counted: Mapping[str, int]) -> None:
        """Add the counts of a cell, or of a part of one: parts may be below zero, their sum never is."""
        for name, n in counted.items():
            kind, of = name[:2], name[2:]
            if kind == MESSAGES:
                self.messages[of] += n
            elif kind == ATTEMPTS:
                self.attempts[of] += n
            elif kind == TIMES:
                self.times[int(of)] += n

    @property
    def is_empty(self) -> bool:
        """Whether all that was in it has moved elsewhere."""
        return not (any(self.messages.values()) or any(self.attempts.values()))

    @property
    def delivery_rate(self) -> float | None:
        """Of what providers took, the share that was delivered as far as is known; None where they took nothing."""
        taken = sum(self.attempts[status] for status in _TAKEN)
        return round(self.attempts[Status.DELIVERED] / taken, 4) if taken else None

    def percentile_s(self, percent: int) -> int | None:
        """The time (as counted) that so many per cent of the deliveries did not exceed (nearest rank)."""
        left = -(-sum(self.times.values()) * percent // 100)
        for seconds in sorted(self.times):
            left -= self.times[seconds]
            if left <= 0 and self.times[seconds]:
                return seconds
        return None


def grouped(cells: Iterable[tuple[Cell, Mapping[str, int]]], by: tuple[str, ...]) -> dict[tuple[str | int, ...], Sum]:
    """The sums by these dimensions, in their order."""
    sums: dict[tuple[str | int, ...], Sum] = {}
    for cell, counted in cells:
        group = tuple(getattr(cell, name) for name in by)
        sums.setdefault(group, Sum()).add(counted)
    return {group: sums[group] for group in sorted(sums) if not sums[group].is_empty}
