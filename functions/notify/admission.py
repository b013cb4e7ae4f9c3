"""Whether a message may be handed over now, and to whom: routes, breakers, rates, and how many calls are under way.

A slow provider is kept from taking all threads of a worker by the number of calls that may be under way at it, and
from taking all workers by its breaker, which counts slow calls as failures.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from functions.domain.actor import By
from functions.domain.delivery import WAIT_MAX_S
from functions.domain.errors import Refusal
from functions.domain.health import WINDOW_S, Health, State, is_failure
from functions.domain.message import Message, Outcome
from functions.domain.routing import Choice, Destination, Offer, Routes, asked, by_default, choices, free_at, offers
from functions.notify import providers
from functions.notify.providers.base import NO_TEMPLATE
from functions.store import keys, table
from functions.store.keys import Key
from functions.store.routing import HEALTH, ROUTES, Tokens
from functions.store.table import Item

SMS_RATE_PER_S, SMS_BREAKER_OPEN_S = "SMS_RATE_PER_S", "SMS_BREAKER_OPEN_S"
ROOM_WAIT_S = 1.0
"""So long an order waits for a call to its provider to end; then it goes back to the queue."""
ROUNDS_MAX = 6
"""An order that found no room or token waits at most about 2⁶ s before it looks again."""
PROVIDER_DOWN = "provider_down"
"""The alarm of a breaker that has opened."""
BY = By("notify", "system", "operator", "health", "")


@dataclass(frozen=True, slots=True)
class Seen:
    """The routes, and the breakers of the providers that have one, as they were read with a message."""

    routes: Routes
    health: dict[str, Health]


class Admission(NamedTuple):
    """Leave to ask a provider, or none for so many seconds; neither where no row of the routes fits."""

    provider: str | None = None
    wait_s: int | None = None


class InFlight:
    """How many calls to each provider are under way in this worker."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: Counter[str] = Counter()

    def enter(self, offer: Offer, wait_s: float) -> bool:
        """Count one more as soon as there is room; says whether there was in time."""
        with self._changed:
            room = self._changed.wait_for(lambda: self._calls[offer.provider] < offer.in_flight_max, wait_s)
            self._calls[offer.provider] += room
            return room

    def leave(self, offer: Offer) -> None:
        """Count one less."""
        with self._changed:
            self._calls[offer.provider] -= 1
            self._changed.notify_all()


class Worker:
    """What one worker knows for itself, and its threads share."""

    def __init__(self) -> None:
        self.tokens, self.in_flight = Tokens(), InFlight()
        self._lock = threading.Lock()
        self._successes: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._opened: set[str] = set()

    @contextmanager
    def admitted(
        self, message: Message, destination: Destination, seen: Seen, turn: str, now: int, waits: int
    ) -> Iterator[Admission]:
        """Leave for one attempt, for as long as it takes. `waits` is how often the order had none before."""
        began, open_s = time.monotonic(), open_for_s()
        wanted = asked(offers(seen.routes, message, destination), message)
        for choice in choices(wanted, seen.health, now, open_s):
            offer = choice.offer
            if not self.in_flight.enter(offer, ROOM_WAIT_S):
                yield Admission(wait_s=_back_off(waits))
                return
            try:
                second = now + int(time.monotonic() - began)
                if not self.tokens.take(offer.provider, offer.rate_per_s, second):
                    yield Admission(wait_s=_back_off(waits))
                    return
                if _lent(choice, seen, turn, now, open_s):
                    yield Admission(offer.provider)
                    return
            finally:
                self.in_flight.leave(offer)
        if not wanted:
            yield Admission()
            return
        pause_s = max(free_at(wanted, seen.health, now, open_s) - now, 1)
        yield Admission(wait_s=min(pause_s + int(random.uniform(0, pause_s / 4)), WAIT_MAX_S))

    def note(self, provider: str, outcome: Outcome, took_s: float, seen: Seen, turn: str, now: int) -> None:
        """Have a provider's breaker know what came of a call: of each failure, and of the success of a probe.

        Of very many failures at once some may go uncounted. Who has no copy of a template was not asked.
        """
        if outcome == NO_TEMPLATE:
            return
        known = seen.health.get(provider)
        if not is_failure(outcome.reason, took_s):
            self._succeeded(provider, now)
            if known is not None:
                _change(provider, known, lambda health: health.succeeded(turn, now))
            return
        successes = self._successes_since(provider, known.since if known is not None else now)
        with suppress(Refusal):
            after = _change(provider, known, lambda health: health.failed(turn, now, successes))
            if after.state is State.OPEN:
                with self._lock:
                    self._opened.add(provider)

    def opened(self) -> set[str]:
        """The providers whose breakers were found open after a failure, since this was last asked."""
        with self._lock:
            found, self._opened = self._opened, set()
        return found

    def _succeeded(self, provider: str, now: int) -> None:
        with self._lock:
            by_second = self._successes[provider]
            by_second[now] += 1
            for second in [each for each in by_second if each <= now - WINDOW_S]:
                del by_second[second]

    def _successes_since(self, provider: str, since: int) -> int:
        """How many there were, and were not told of; they are told then."""
        with self._lock:
            return sum(count for second, count in self._successes.pop(provider, {}).items() if second >= since)


def _lent(choice: Choice, seen: Seen, turn: str, now: int, open_s: int) -> bool:
    """Whether a call may be made: at once, or by the breaker's lease, which only one gets."""
    if not choice.probe:
        return True
    provider = choice.offer.provider
    health = _change(provider, seen.health[provider], lambda health: health.probing(turn, now, open_s) or health)
    seen.health[provider] = health
    return health.probe == turn


def _change(provider: str, known: Health | None, decide: Callable[[Health], Health]) -> Health:
    """The breaker after a decision on it as it stands; nothing is written where that leaves all as it is."""

    def changed(current: Health | None) -> Health | None:
        after = decide(current or Health(provider))
        return None if after == current else after

    return table.change(HEALTH, known, changed, "health", BY)


def _back_off(waits: int) -> int:
    return 1 + int(random.uniform(0, 2 ** min(waits, ROUNDS_MAX)))


def open_for_s() -> int:
    """How long a breaker stays open before a call may try."""
    return int(os.environ[SMS_BREAKER_OPEN_S])


def places() -> list[Key]:
    """What is to be read with a message."""
    return [keys.routing(), *(keys.provider(name) for name in sorted(providers.known()))]


def seen(items: Mapping[Key, Item]) -> Seen:
    """The routes and breakers among what was read; by default the settings say who carries all messages."""
    routes = items.get(keys.routing())
    known = [HEALTH.load(items[place]) for place in places()[1:] if place in items]
    return Seen(ROUTES.load(routes) if routes is not None else default(), {each.provider: each for each in known})


def default() -> Routes:
    """The routes while nobody has set any."""
    limit = os.environ.get(SMS_RATE_PER_S)
    return by_default(providers.names(), int(limit) if limit else None)
