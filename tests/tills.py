"""Tills that redeem card after card over HTTP while something happens to the cards, and keep what they were told."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Event, Thread
from time import monotonic, sleep
from typing import Final, NamedTuple

import httpx

from tests.running import Running, mobile

ROLES: Final = ("merchant", "partner", "operator")
"""Each till is a client of its own."""
BREATH_S: Final = 0.5
WAIT_MAX_S: Final = 120
POLL_S: Final = 0.05

_numbers = count()


class Try(NamedTuple):
    """What a till sent and was answered."""

    serial: str
    sent_at: float
    answered_at: float
    status: int
    key: str

    @property
    def done(self) -> bool:
        """Whether the card was redeemed."""
        return self.status == httpx.codes.CREATED


@dataclass
class Till:
    """A client that redeems one code after the other, each for another phone."""

    kami: Running
    role: str
    cards: Iterator[tuple[str, str]]
    breath_s: float
    tries: list[Try] = field(default_factory=list)

    def run(self, stop: Event) -> None:
        """Until `stop`, or until there are no more cards."""
        for serial, code in self.cards:
            if stop.is_set():
                return
            order = {"code": code, "account": {"type": "mobile", "number": fresh_mobile()}}
            sent_at = monotonic()
            reply = self.kami.ask("POST", "/v1/redemptions", order, role=self.role)
            self.tries.append(Try(serial, sent_at, monotonic(), reply.status_code, reply.json().get("key", "")))
            stop.wait(self.breath_s)


def fresh_mobile() -> str:
    """A number that nobody had before."""
    return mobile(next(_numbers))


@contextmanager
def selling(kami: Running, cards: Sequence[tuple[str, str]], breath_s: float = BREATH_S) -> Iterator[list[Till]]:
    """All tills at work; they share the cards (serial, code) out among them, in no order, as thieves would use them."""
    stop = Event()
    cards = random.Random(1).sample(cards, len(cards))
    tills = [Till(kami, role, iter(cards[number :: len(ROLES)]), breath_s) for number, role in enumerate(ROLES)]
    threads = [Thread(target=till.run, args=[stop]) for till in tills]
    for thread in threads:
        thread.start()
    try:
        yield tills
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def until(each: list[Till], more: int) -> None:
    """Wait until each till was answered so many times more."""
    wanted = [len(till.tries) + more for till in each]
    deadline = monotonic() + WAIT_MAX_S
    while any(len(till.tries) < goal for till, goal in zip(each, wanted, strict=True)):
        assert monotonic() < deadline, [len(till.tries) for till in each]
        sleep(POLL_S)


def redeemed(tills: list[Till]) -> set[str]:
    """The serials that were redeemed, by what the tills were told."""
    return {each.serial for till in tills for each in till.tries if each.done}


def last_served_at(tills: list[Till]) -> float:
    """When a till was told for the last time that a card is redeemed."""
    return max(each.answered_at for till in tills for each in till.tries if each.done)
