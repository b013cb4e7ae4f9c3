"""What comes from the queue, and bodies of the ledger."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from functions.domain import ledger as domain
from functions.domain.actor import By
from functions.domain.ledger import Kind
from functions.domain.reconciliation import KINDS
from functions.domain.times import epoch
from functions.edge.models import (
    RFC_3339,
    Answer,
    Currency,
    Minor,
    Progress,
    Request,
    SelectionRequest,
    Serial,
    Time,
    exactly_one,
)

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

    @property
    def terms(self) -> RedemptionOf:
        """Whose generation and currency count."""
        return self.data.redemption

    @property
    def movements(self) -> list[domain.Movement]:
        """What it says about its card's value; a reversal of what was replaced since comes in and goes on."""
        used, reversal = self.data.redemption, self.data.reversal
        kind = Kind.REDEEMED if reversal is None else Kind.REVERSED
        movement = domain.Movement(kind, used.id, used.amount_minor, self.id, epoch(self.at), reversal)
        return [movement] if self.data.credited is None else [movement, movement._replace(kind=Kind.PASSED_ON)]

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


_MOVES = {"voucher.reissued": Kind.REISSUED, "voucher.issued": Kind.ISSUED, "voucher.credited": Kind.CREDITED}


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

    @property
    def terms(self) -> Passed:
        """Whose generation and currency count."""
        return self.data

    @property
    def movements(self) -> list[domain.Movement]:
        """What it says about its card's value."""
        return [domain.Movement(_MOVES[self.type], self.cause, self.data.amount_minor, self.id, epoch(self.at))]

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


class Job(Taken):
    """A reconciliation to go on with."""

    id: Annotated[str, StringConstraints(pattern="^rcn_[a-z0-9]+$", max_length=64)]


class Sweep(Taken):
    """What comes by the clock."""

    sweep: Literal["moved", "everything"]


ORDER: TypeAdapter[Told | Replaced | Late | Sweep | Job] = TypeAdapter(Told | Replaced | Late | Sweep | Job)
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


class ReconciliationRequest(Request):
    """What is reconciled: a selection of vouchers, or `all` there are; exactly one of them."""

    model_config = exactly_one(("selection",), ("all",))

    selection: SelectionRequest | None = Field(default=None, examples=[{"batch": "bat_k3q7x2m5c4wz6n7pjh2d4r6t"}])
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.selection is None) == (self.all is None):
            raise ValueError("name exactly one of selection, all")
        return self


class DifferenceAnswer(Answer):
    """That two places disagree, about a voucher or about a lot's counts.

    `about` is the redemption, generation or count in question; `expected` is what the others say; `title` is in the
    language that is asked for.
    """

    serial: Serial | None = None
    lot: int = Field(examples=[100_000])
    kind: Annotated[str, Field(json_schema_extra={"enum": list(KINDS)}, examples=["redemption_missing"])]
    title: str = Field(examples=[KINDS["redemption_missing"].en])
    about: str | None = Field(default=None, examples=["010000000003-k3q7x2m5c4wz6n7pjh2d4r6t"])
    expected: str = Field(examples=["redeemed 5000"])
    found: str = Field(examples=["none"])
    hint: str = Field(examples=[KINDS["redemption_missing"].hint])


class Differences(Answer):
    """What was found, counted by kind and one by one; `more` were found than are named."""

    count: int = Field(examples=[1])
    by_kind: dict[str, int] = Field(examples=[{"redemption_missing": 1}])
    more: int = Field(examples=[0])
    data: list[DifferenceAnswer]
    next_cursor: str | None = None


class ReconciliationSummary(Answer):
    """A reconciliation. What differs is looked at again, some minutes apart, before it is named.

    `checked` vouchers that something had happened to were looked at; the counts of `unsettled` lots never came to rest.
    """

    id: str = Field(examples=["rcn_k3q7x2m5c4wz6n7pjh2d4r6t"])
    status: Literal["in_progress", "completed"] = Field(examples=["completed"])
    progress: Progress
    looks: int = Field(description="How often it has looked.", examples=[1])
    checked: int = Field(examples=[10_000])
    unsettled: int = Field(examples=[0])
    found: int = Field(description="How many differences there are, once it is completed.", examples=[1])
    created_at: Time
    completed_at: Time | None = None


class ReconciliationAnswer(ReconciliationSummary):
    """A reconciliation with what was found; page through it with `cursor`."""

    differences: Differences


class ReconciliationList(Answer):
    """A page of reconciliations."""

    data: list[ReconciliationSummary]
    next_cursor: str | None = None
