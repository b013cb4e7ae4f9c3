"""Guards against guessing: wrong codes are counted per subject and window, and past a limit nothing is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from functions.domain.errors import Refusal
from functions.domain.lot import WRONG_CODES_PER_LOT_AND_HOUR_MAX
from functions.store import keys
from functions.store.keys import Key
from functions.store.table import Item, add_below, take_back


class Limit(NamedTuple):
    """So many wrong codes in a window of so many seconds (windows start at multiples of their length)."""

    wrong_max: int
    window_s: int


LIMITS: dict[str, Limit] = {
    "account": Limit(5, 900),
    "device": Limit(10, 900),
    "address": Limit(50, 900),
    "till": Limit(100, 900),
    "one_time_code": Limit(5, 3_600),
    "lot": Limit(WRONG_CODES_PER_LOT_AND_HOUR_MAX, 3_600),
}
"""Who is limited. `till` is a caller's address where a request names neither account, device nor customer's address.
`one_time_code`: a client's; three of a million being good at a time, 5 an hour are one right guess in eight years."""

LIMIT_WHILE_BREAKER_IS_OPEN = 1
"""While forged codes pour in on a lot, a subject has so many wrong guesses at it instead of its usual number."""


class Subject(NamedTuple):
    """Somebody whose wrong codes are counted together; `own_max` where it has a lower limit than its kind."""

    kind: str
    value: str
    own_max: int | None = None

    @property
    def wrong_max(self) -> int:
        """So many wrong codes in a window."""
        limit = LIMITS[self.kind].wrong_max
        return limit if self.own_max is None else min(limit, self.own_max)

    def key(self, now: int) -> Key:
        """The counter of the window that `now` lies in."""
        return keys.guard(self.kind, self.value, now // LIMITS[self.kind].window_s)


def subjects(
    client: str, account: str | None, device: str | None, customer_address: str | None, caller_address: str
) -> list[Subject]:
    """Who a request's wrong code counts for.

    Never the client as a whole: a spray through a partner must not lock that partner's honest customers out.
    """
    named = [
        Subject("account", f"{client} {account}") if account else None,
        Subject("device", f"{client} {device}") if device else None,
        Subject("address", customer_address) if customer_address else None,
    ]
    return [s for s in named if s is not None] or [Subject("till", f"{client} {caller_address}")]


def lot_subject(lot: int, own_max: int | None = None) -> Subject:
    """A lot as the target of forged codes."""
    return Subject("lot", str(lot), own_max)


def is_open(breaker: Subject | None, counters: Mapping[Key, Item], now: int) -> bool:
    """Whether so many forged codes hit the lot that its breaker is open."""
    return breaker is not None and _count(breaker, counters, now) >= breaker.wrong_max


def refuse_over_limit(guarded: list[Subject], breaker: Subject | None, counters: Mapping[Key, Item], now: int) -> None:
    """Raise Refusal `too_many_attempts` where a subject is past its limit, whatever its next code is."""
    tight = is_open(breaker, counters, now)
    for subject in guarded:
        wrong_max = LIMIT_WHILE_BREAKER_IS_OPEN if tight else subject.wrong_max
        if _count(subject, counters, now) >= wrong_max:
            raise _refusal(subject, now)


def count_wrong(guarded: list[Subject], now: int) -> None:
    """Count one wrong code for each subject. Raises Refusal `too_many_attempts` where one is at its limit already."""
    for subject in guarded:
        if not _add(subject, now):
            raise _refusal(subject, now)


def forgive(subject: Subject, now: int) -> None:
    """Take back one that was counted and is right."""
    take_back(subject.key(now))


def count_forged(breaker: Subject, now: int) -> bool:
    """Count one forged code on a lot; says whether the breaker is open now."""
    return not _add(breaker, now)


def _add(subject: Subject, now: int) -> bool:
    return add_below(subject.key(now), subject.wrong_max, ttl_epoch_s=now + 2 * LIMITS[subject.kind].window_s)


def _count(subject: Subject, counters: Mapping[Key, Item], now: int) -> int:
    return int(counters.get(subject.key(now), {}).get("count", 0))


def _refusal(subject: Subject, now: int) -> Refusal:
    window_s = LIMITS[subject.kind].window_s
    return Refusal("too_many_attempts", "Wait before you try again.", retry_after_s=window_s - now % window_s)
