"""What all request and reply models share."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from functions.domain.selection import SERIALS_MAX, Selection
from functions.domain.serials import LOT_NUMBER_MAX

NO_CONTROLS = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"

Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_CONTROLS)]
"""A short text for people, in any language, without control characters."""
Reference = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]
"""An identifier of the caller's own: a store, a terminal, a device."""
Address = Annotated[
    str,
    StringConstraints(min_length=2, max_length=45, pattern=r"^[0-9A-Fa-f.:]+$"),
    Field(description="The customer's IP address; only trusted clients may state it."),
]


class Request(BaseModel):
    """A body: nothing beyond the fields named, and no type bent into another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Answer(BaseModel):
    """A reply's body; absent values are left out."""

    model_config = ConfigDict(frozen=True)


class SelectionRequest(Request):
    """Which vouchers: `serials`, or `first_serial` with `last_serial`, or `lot`, or `batch`; exactly one of them."""

    serials: Annotated[list[Annotated[str, StringConstraints(max_length=40)]], Field(max_length=SERIALS_MAX)] | None = (
        None
    )
    first_serial: str | None = Field(default=None, max_length=40)
    last_serial: str | None = Field(default=None, max_length=40)
    lot: int | None = Field(default=None, ge=0, le=LOT_NUMBER_MAX)
    batch: str | None = Field(default=None, max_length=64)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.serials == []:
            raise ValueError("serials is empty")
        ways = [self.serials, self.first_serial, self.lot, self.batch]
        if sum(way is not None for way in ways) != 1 or (self.first_serial is None) != (self.last_serial is None):
            raise ValueError("name exactly one of serials, first_serial with last_serial, lot, batch")
        return self

    def selection(self) -> Selection:
        """The same, for the domain."""
        serials = tuple(self.serials) if self.serials is not None else None
        return Selection(serials, self.first_serial, self.last_serial, self.lot, self.batch)


class Skipped(Answer):
    """How many of a selection were left as they are, and why."""

    count: int
    by_reason: dict[str, int]


class Progress(Answer):
    """How far a job is, in lots of up to 10,000 vouchers."""

    lots_done: int
    lots: int
