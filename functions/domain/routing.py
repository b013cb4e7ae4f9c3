"""Which provider a message goes to: a table of rows, of which the first that fits a message says who may carry it.

Nothing here looks at a clock or throws dice: where shares decide, a message's own id does, so that all its attempts see
the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from functions.domain.health import Health, State
from functions.domain.message import Message
from functions.domain.reasons import IN_DOUBT, REASONS, Remedy

IN_FLIGHT_MAX = 5
"""So many calls to one provider are under way in one worker, unless its routes say otherwise."""


class Destination(NamedTuple):
    """What is known of where a message goes; a row that asks for what is not known does not fit."""

    country: str | None = None
    carrier: str | None = None
    region: str | None = None
    kind: str | None = None


class Offer(NamedTuple):
    """A provider of a row: its share among the others, its price for one SMS (millionths of the currency), how many
    it takes a second from all workers (None: no limit), and how many calls one worker may have under way there."""

    provider: str
    weight: int = 1
    price_micros: int = 0
    rate_per_s: int | None = None
    in_flight_max: int = IN_FLIGHT_MAX


class When(NamedTuple):
    """What a row is for; what it leaves empty fits all."""

    countries: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def fits(self, destination: Destination) -> bool:
        """Whether a message that goes there is meant."""
        return all(not wanted or known in wanted for wanted, known in zip(self, destination, strict=True))


class Row(NamedTuple):
    """Who may carry the messages meant, and in which order they are asked: as listed, the cheapest first, or by their
    weights (a weight of 0 comes last)."""

    offers: tuple[Offer, ...]
    by: Literal["list", "price", "weight"] = "list"
    when: When = When()


@dataclass(frozen=True, slots=True)
class Routes:
    """The table; version 0 is what the settings say."""

    rows: tuple[Row, ...]
    changed_at: int = 0
    version: int = 0


def by_default(providers: Iterable[str], rate_per_s: int | None) -> Routes:
    """Every message to the first of these; the others stand in for it."""
    return Routes((Row(tuple(Offer(provider, rate_per_s=rate_per_s) for provider in providers)),))


def offers(routes: Routes, message: Message, destination: Destination) -> tuple[Offer, ...]:
    """Who may carry a message, in the order in which they are asked; nobody where no row fits."""
    row = next((row for row in routes.rows if row.when.fits(destination)), None)
    if row is None:
        return ()
    if row.by == "price":  # of equal price the one that is listed first
        return tuple(sorted(row.offers, key=lambda offer: offer.price_micros))
    if row.by == "weight":
        return tuple(sorted(row.offers, key=lambda offer: _drawn(offer, message.id), reverse=True))
    return row.offers


def _drawn(offer: Offer, id: str) -> float:
    """The largest of these comes first with a probability of weight / sum of weights, and so on down.

    P. Efraimidis and P. Spirakis, "Weighted random sampling with a reservoir" (2006).
    """
    digest = hashlib.sha256(f"{id} {offer.provider}".encode()).digest()
    chance = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 1)
    return chance ** (1 / offer.weight) if offer.weight else 0.0


def asked(found: Sequence[Offer], message: Message) -> tuple[Offer, ...]:
    """Who may be asked next, in order: whom the last attempt speaks for, and after a provider's fault those after it.

    An attempt in doubt only its own provider can clear, even where no row names it any more.
    """
    if not message.attempts:
        return tuple(found)
    doubt, last = message.doubt, message.attempts[-1]
    provider = doubt.provider if doubt else last.provider
    place = next((n for n, offer in enumerate(found) if offer.provider == provider), None)
    if doubt:
        return (found[place] if place is not None else Offer(provider),)
    if place is None:
        return tuple(found)
    elsewhere = REASONS[last.reason or IN_DOUBT].remedy is Remedy.OTHER_PROVIDER
    first = place + 1 if elsewhere else place
    return (*found[first:], *found[:first])


class Choice(NamedTuple):
    """Whom to ask; `probe` where its breaker must lend its lease first."""

    offer: Offer
    probe: bool


def choices(wanted: Sequence[Offer], health: Mapping[str, Health], now: int, open_s: int) -> list[Choice]:
    """Those of whom a breaker lets a call through, in order."""
    found = []
    for offer in wanted:
        known = health.get(offer.provider)
        if known is None or known.free_at(now, open_s) <= now:
            found.append(Choice(offer, known is not None and known.state is not State.CLOSED))
    return found


def free_at(wanted: Sequence[Offer], health: Mapping[str, Health], now: int, open_s: int) -> int:
    """When the first of them may be asked, as far as is known."""
    known = (health.get(offer.provider) for offer in wanted)
    return min((each.free_at(now, open_s) if each is not None else now for each in known), default=now)
