"""What comes from the queue, and bodies of messages."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from functions.domain.message import ATTEMPTS_MAX, REASONS
from functions.domain.reminder import SHARDS
from functions.edge.models import RFC_3339, Answer, Serial, Time

Id = Annotated[str, Field(min_length=1, max_length=200)]
EventType = Literal["voucher.redeemed", "voucher.reversed", "voucher.recovered", "voucher.expiring"]


class Taken(BaseModel):
    """What another part of Kami wrote: members that are not needed here may come and go."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class RedemptionOf(Taken):
    """Which redemption an event is about."""

    id: Id


class Data(Taken):
    """What is needed of an event's data; all else is read from the table."""

    serial: Id
    redemption: RedemptionOf | None = None
    action: Literal["reclaim", "void", "suspend", "resume", "reissue"] | None = None
    reason: str | None = Field(default=None, max_length=40)
    generation: int | None = None


class Told(Taken):
    """A domain event, as its rule hands it on (`events/schemas/`)."""

    id: Id
    type: EventType
    version: Literal[1] = Field(alias="schema")
    at: Annotated[str, StringConstraints(pattern=RFC_3339)]
    data: Data

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.data.redemption is None) != (self.type in ("voucher.recovered", "voucher.expiring")):
            raise ValueError("the redemption is missing, or too much")
        if (self.data.action is not None and self.data.reason is not None) != (self.type == "voucher.recovered"):
            raise ValueError("a recovery's action and reason are missing, or too much")
        return self


class Due(Taken):
    """The next attempt at a message."""

    message: Id
    attempt: int = Field(ge=1, le=ATTEMPTS_MAX)


class End(Taken):
    """A domain event of a voucher whose end became known."""

    type: Literal["voucher.claimed", "voucher.extended", "voucher.issued"]
    version: Literal[1] = Field(alias="schema")
    at: Annotated[str, StringConstraints(pattern=RFC_3339)]
    data: Data


class Sweep(Taken):
    """What comes by the clock."""

    sweep: Literal["reminders"]


class Page(Taken):
    """The next page of a day's reminders."""

    date: Annotated[str, StringConstraints(pattern="^[0-9]{8}$")]
    shard: int = Field(ge=0, lt=SHARDS)
    after: str | None = Field(default=None, max_length=100)


ORDER: TypeAdapter[Told | End | Due | Sweep | Page] = TypeAdapter(Told | End | Due | Sweep | Page)
"""The body of a message on notify's queue."""


class AttemptAnswer(Answer):
    """One try at one provider; `unknown`: the provider gave no answer."""

    provider: str = Field(examples=["aws"])
    at: Time
    outcome: Literal["sending", "sent", "failed", "unknown"] = Field(examples=["sent"])
    reason: str | None = Field(default=None, json_schema_extra={"enum": list(REASONS)})


class MessageAnswer(Answer):
    """An SMS. It is `sent` when a provider has taken it, and `unknown` where that cannot be found out any more.

    Those of the sandbox are `suppressed`: no provider gets them.
    """

    id: str = Field(examples=["msg_n5xw2y4k3q7x2m5c4wz6n7pj"])
    status: Literal["queued", "sending", "sent", "failed", "unknown", "suppressed"] = Field(examples=["sent"])
    event: EventType
    serial: Serial
    recipient: str = Field(examples=["+86138****5678"])
    text: str = Field(examples=["【Kami】卡号 010000000003 已为 +86138****5678 核销 50.00元，卡内余额 0.00元。"])
    attempts: list[AttemptAnswer]
    sandbox: bool = Field(examples=[False])
    created_at: Time


class MessageList(Answer):
    """A page of messages."""

    data: list[MessageAnswer]
    next_cursor: str | None = None
