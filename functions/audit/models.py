"""What the record's routes answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.functional_validators import AfterValidator

from functions.edge.http import ID_LENGTH_MAX
from functions.edge.models import RFC_3339, Answer, Request, Time


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Moment = Annotated[str, StringConstraints(pattern=RFC_3339), AfterValidator(_moment)]
"""A time as it comes in."""


class EntriesRequest(Request):
    """Which entries: those about a card, or of a client, or all; of a time (`to` excluded)."""

    model_config = ConfigDict(extra="ignore")

    serial: str | None = Field(default=None, pattern="^[0-9]{12,19}$")
    actor: str | None = Field(default=None, min_length=1, max_length=ID_LENGTH_MAX)
    since: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None


class Actor(Answer):
    """Who did it, and from where."""

    client: str = Field(description="Empty where it is not known.", examples=["operator-9f86d081884c7d65"])
    role: str = Field(examples=["operator"])
    tenant: str = Field(examples=["operator"])
    address: str = Field(examples=["192.0.2.1"])
    request: str = Field(description="Its `X-Request-Id`.", examples=["JKJaXmPLvHcESHA="])


class Changes(Answer):
    """A key's value before and after."""

    before: Any = Field(default=None, examples=["active"])
    after: Any = Field(default=None, examples=["redeemed"])


class EntryAnswer(Answer):
    """An entry of the record in its place in a chain. No code, phone number or name is on record."""

    id: str = Field(examples=["1.VOUCHER#01000000000.1"])
    type: str = Field(examples=["voucher.redeemed"])
    at: Time
    by: Actor
    data: dict[str, Any] = Field(examples=[{"serial": "010000000003", "lot": 100000}])
    changes: dict[str, Changes] = Field(
        description="What it changed, by key.", examples=[{"status": {"before": "active", "after": "redeemed"}}]
    )
    chain: str = Field(examples=["1.03"])
    number: int = Field(description="In its chain, from 1 on.", examples=[17])
    prev: str = Field(description="SHA-256 of the entry before it, in hexadecimal.", examples=["0" * 64])
    hash: str = Field(description="Its own.", examples=["5f" * 32])


class EntryList(Answer):
    """A page of entries, newest first; it may be short while `next_cursor` is there."""

    data: list[EntryAnswer]
    next_cursor: str | None = None


class ToldBy(Request):
    """Who did what an event tells of."""

    client: str
    role: str
    tenant: str
    address: str
    request: str


class Told(Request):
    """An event as the bus and the edge tell it: what cannot be put on record is no such thing."""

    id: str = Field(min_length=1, max_length=512)
    type: str
    version: int = Field(alias="schema")
    at: datetime = Field(strict=False)
    by: ToldBy
    data: dict[str, Any]
    sandbox: bool = False
    changes: dict[str, tuple[Any, Any]] = Field(default={}, strict=False)
