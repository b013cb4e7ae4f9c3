"""What comes from the queue, and bodies of the ledger."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from functions.domain.actor import By
from functions.domain.ledger import Kind
from functions.edge.models import RFC_3339, Answer, Currency, Minor, Serial, Time

Id = Annotated[str, Field(min_length=1, max_length=200)]


class Taken(BaseModel):
    """What another part of Kami wrote: members that are not needed here may come and go."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class RedemptionOf(Taken):
    """The redemption that an event is about."""

    id: Id
    amount_minor: int = Field(ge=1)
    currency: str
    generation: int = Field(ge=1)


class Data(Taken):
    """What is needed of an event's data about a redemption; `credited` is the card that has a reversal's value."""

    serial: Id
    redemption: RedemptionOf
    reversal: Id | None = None
    credited: Id | None = None


class Told(Taken):
    """A domain event about value, as its rule hands it on (`events/schemas/`)."""

    id: Id
    type: Literal["voucher.redeemed", "voucher.reversed"]
    version: Literal[1] = Field(alias="schema")
    at: Annotated[str, StringConstraints(pattern=RFC_3339)]
    by: dict[str, str]
    data: Data

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.data.reversal is None) != (self.type == "voucher.redeemed") or not {*By._fields} <= {*self.by}:
            raise ValueError("the reversal is missing, or too much; or it does not say by whom")
        return self


class Passed(Taken):
    """What is needed of an event's data about a card that is replaced, or replaces another one."""

    serial: Id
    recovery: Id | None = None
    redemption: Id | None = None
    amount_minor: int = Field(ge=1)
    currency: str
    generation: int = Field(ge=1)


class Replaced(Taken):
    """A domain event about value that goes from a card to the one that replaces it."""

    id: Id
    type: Literal["voucher.reissued", "voucher.issued", "voucher.credited"]
    version: Literal[1] = Field(alias="schema")
    at: Annotated[str, StringConstraints(pattern=RFC_3339)]
    by: dict[str, str]
    data: Passed

    @property
    def cause(self) -> str:
        """The recovery, or the redemption whose reversal it is, by which the movement is named."""
        return self.data.recovery or self.data.redemption or ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.cause or not {*By._fields} <= {*self.by}:
            raise ValueError("it does not say why, or by whom")
        return self


class Movement(Taken):
    """A movement that waits."""

    serial: Id
    generation: int
    kind: Literal["redeemed", "reversed", "reissued", "issued", "passed_on", "credited"]
    redemption: Id


class Late(Taken):
    """Look whether a movement still waits."""

    late: Movement


ORDER: TypeAdapter[Told | Replaced | Late] = TypeAdapter(Told | Replaced | Late)
"""The body of a message on ledger's queue."""

_Kind = Annotated[str, Field(json_schema_extra={"enum": [kind.value for kind in Kind]}, examples=["redeemed"])]
_Redemption = Annotated[str, Field(examples=["010000000003-k3q7x2m5c4wz6n7pjh2d4r6t"])]


class LedgerLine(Answer):
    """A movement that was entered, and the balance after it.

    Where it is not `posted`, it was cancelled together with its counterpart before it was entered, and moved nothing.
    """

    number: int = Field(examples=[1])
    kind: _Kind
    redemption: _Redemption
    reversal: str | None = None
    amount_minor: Minor
    balance_minor: Minor
    posted: bool = Field(examples=[True])
    at: Time


class LedgerWaiting(Answer):
    """A movement whose turn has not come; value does not move before."""

    kind: _Kind
    redemption: _Redemption
    amount_minor: Minor
    disputed: bool = Field(examples=[False])
    at: Time


class LedgerDispute(Answer):
    """A movement that was not entered when it came, and why; `balance_minor` is what was there then."""

    kind: _Kind
    redemption: _Redemption
    amount_minor: Minor
    balance_minor: Minor
    reason: Literal["overdrawn", "unknown_redemption", "told_differently"] = Field(examples=["overdrawn"])
    at: Time


class LedgerAccount(Answer):
    """The value of a voucher in one generation, which each reclaim begins anew."""

    generation: int = Field(examples=[1])
    currency: Currency
    opened_minor: Minor
    balance_minor: Minor
    lines: list[LedgerLine]
    waiting: list[LedgerWaiting]
    disputes: list[LedgerDispute]


class LedgerAnswer(Answer):
    """What the ledger knows of a voucher; nothing, before it is used for the first time."""

    serial: Serial
    accounts: list[LedgerAccount]
