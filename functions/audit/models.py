"""What the record's routes answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic.functional_validators import AfterValidator

from functions.edge.models import RFC_3339, Answer, Request, Time


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


ACTOR_LENGTH_MAX = 512
"""An engineer is on record by the ARN of an AWS identity."""
Moment = Annotated[str, StringConstraints(pattern=RFC_3339), AfterValidator(_moment)]
"""A time as it comes in."""


class EntriesRequest(Request):
    """Which entries: those about a card, or of a client, or all; of a time (`to` excluded)."""

    model_config = ConfigDict(extra="ignore")

    serial: str | None = Field(default=None, pattern="^[0-9]{12,19}$")
    actor: str | None = Field(default=None, min_length=1, max_length=ACTOR_LENGTH_MAX)
    since: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None


class Actor(Answer):
    """Who did it, and from where."""

    client: str = Field(description="Empty where it is not known.", examples=["operator-9f86d081884c7d65"])
    role: str = Field(examples=["operator"])
    tenant: str = Field(examples=["operator"])
    address: str = Field(examples=["192.0.2.1"])
    request: str = Field(description="Its `X-Request-Id`.", examples=["JKJaXmPLvHcESHA="])


class EntryAnswer(Answer):
    """An entry of the record in its place in a chain. No code, phone number or name is on record."""

    id: str = Field(examples=["1.VOUCHER#01000000000.1"])
    type: str = Field(examples=["voucher.redeemed"])
    at: Time
    by: Actor
    data: dict[str, Any] = Field(examples=[{"serial": "010000000003", "lot": 100000}])
    changes: dict[str, list[Any]] = Field(
        description="What it changed: key → before, after. Null where there was none.",
        examples=[{"status": ["active", "redeemed"]}],
    )
    chain: str = Field(examples=["1.03"])
    number: int = Field(description="In its chain, from 1 on.", examples=[17])
    prev: str = Field(description="SHA-256 of the entry before it, in hexadecimal.", examples=["0" * 64])
    hash: str = Field(description="Its own.", examples=["5f" * 32])


class EntryList(Answer):
    """A page of entries, newest first; it may be short while `next_cursor` is there."""

    data: list[EntryAnswer]
    next_cursor: str | None = None


class HeadAnswer(Answer):
    """How far a chain has come."""

    number: int = Field(description="Of its last entry.", examples=[17])
    hash: str = Field(description="SHA-256 of its last entry, in hexadecimal.", examples=["5f" * 32])


class CheckpointAnswer(Answer):
    """What the record had come to at a time, signed. Keep the newest one: no later export can contradict it unseen."""

    number: int = Field(examples=[12])
    at: Time
    entries: int = Field(description="In all chains together.", examples=[1024])
    chains: dict[str, HeadAnswer] = Field(examples=[{"1.03": {"number": 17, "hash": "5f" * 32}}])
    jws: str = Field(
        description="The same as JWS (RFC 7515, ES256), with the SHA-256 of the checkpoint before it (its JWS). Its "
        "key is in `/.well-known/jwks.json`, for the `purpose` of the record.",
        examples=["eyJhbGciOiJFUzI1NiJ9.…"],
    )


class CheckpointList(Answer):
    """A page of checkpoints, newest first."""

    data: list[CheckpointAnswer]
    next_cursor: str | None = None


class AuditExportRequest(Request):
    """What was put on record from a time on, or before one; all of it where neither is given."""

    since: Moment | None = Field(default=None, alias="from", examples=["2026-11-21T08:00:00Z"])
    to: Moment | None = Field(default=None, examples=["2026-11-22T08:00:00Z"])


class Numbers(Answer):
    """Checkpoints, both included."""

    first: int = Field(examples=[1])
    last: int = Field(examples=[12])


class AuditExportAnswer(Answer):
    """An export of the record; its file can be verified off-line with `functions/audit/verify.py`."""

    id: str = Field(examples=["aex_n5xw2y4k3q7x2m5c4wz6n7pj"])
    status: Literal["in_progress", "completed"]
    since: Time | None = Field(default=None, alias="from")
    to: Time | None = None
    checkpoints: Numbers | None = Field(default=None, description="What it holds; absent where that is nothing.")
    entries: int | None = Field(default=None, examples=[1024])
    size: int | None = Field(default=None, description="Of the file, in bytes.", examples=[901_120])
    more: bool | None = Field(
        default=None, description="Not all fitted: order what comes after its last checkpoint.", examples=[False]
    )
    created_at: Time
    completed_at: Time | None = None
    expires_at: Time


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
    at: Moment
    by: ToldBy
    data: dict[str, Any]
    sandbox: bool = False
    changes: dict[str, tuple[Any, Any]] = Field(default={}, strict=False)


class Seal(Request):
    """The order to seal what is on record, by the clock."""

    seal: Literal["record"]


class Export(Request):
    """The order to seal what is on record and to write an export of it."""

    export: str


TAKEN: TypeAdapter[Told | Seal | Export] = TypeAdapter(Told | Seal | Export)
"""What lies in the record's queue."""
