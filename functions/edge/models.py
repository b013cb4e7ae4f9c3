"""What all request and reply models share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic.config import JsonDict, JsonValue
from pydantic.functional_validators import AfterValidator

from functions.domain.formats import LOT_NUMBER_MAX, SERIAL_LENGTHS
from functions.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS
from functions.domain.remarks import without_secrets
from functions.domain.selection import SERIALS_MAX, Selection
from functions.domain.voucher import EFFECTIVE, VALID_UNTIL_MAX

NO_CONTROLS = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]*$"
"""Nor U+FFFD, which stands where the gateway or a client has lost what was there."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_CONTROLS)]
"""A short text for people, in any language, without control characters."""
Remark = Annotated[
    Text, AfterValidator(without_secrets), Field(description="Phone numbers and codes in it are not kept.")
]
"""A short text that goes on record."""
Reference = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$"),
    Field(description="An identifier of your own."),
]
"""An identifier of the caller's own: a store, a terminal, a device."""
Address = Annotated[
    str,
    StringConstraints(min_length=2, max_length=45, pattern=r"^[0-9A-Fa-f.:]+$"),
    Field(description="The customer's IP address; only trusted clients may state it."),
]
OneTimeCode = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{6}$"),
    Field(description="Of the client's authenticator (RFC 6238); where a campaign asks for it.", examples=["492039"]),
]
SerialText = Annotated[str, StringConstraints(max_length=40), Field(examples=["010000000003"])]
"""A serial as it comes in: whether it is one is the domain's to say."""

RFC_3339 = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
TimeText = Annotated[str, StringConstraints(pattern=RFC_3339), Field(json_schema_extra={"format": "date-time"})]
"""A time as it comes in."""

# What answers are made of; the shapes are for the API's description.
_LENGTHS = "|".join(f"[0-9]{{{length}}}" for length in SERIAL_LENGTHS)
Serial = Annotated[str, Field(json_schema_extra={"pattern": f"^({_LENGTHS})$"}, examples=["010000000003"])]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-21T08:00:00Z"])]
Minor = Annotated[int, Field(description="Minor units (fen, cents) of `currency`.", examples=[5000])]
Currency = Annotated[str, Field(description="ISO 4217.", examples=["CNY"])]
VoucherStatus = Annotated[str, Field(json_schema_extra={"enum": list(EFFECTIVE)}, examples=["active"])]


class Request(BaseModel):
    """A body: nothing beyond the fields named, and no type bent into another.

    Its validator is built when the first one comes, so that a start does not pay for all those of its function.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Answer(BaseModel):
    """A reply's body; absent values are left out. Built when it is first given, too."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Money(Request):
    """Minor units (fen, cents) of an ISO 4217 currency."""

    amount_minor: int = Field(ge=1, le=AMOUNT_MINOR_MAX, examples=[5000])
    currency: str = Field(json_schema_extra={"enum": [*sorted(MINOR_DIGITS)]}, examples=["CNY"])

    @field_validator("currency")
    @classmethod
    def _known(cls, currency: str) -> str:
        if currency not in MINOR_DIGITS:
            raise ValueError("no ISO 4217 currency code")
        return currency


class MoneyAnswer(Answer):
    """Minor units (fen, cents) of an ISO 4217 currency."""

    amount_minor: Minor
    currency: Currency


def end_of_validity(text: str) -> int:
    """A `TimeText` in epoch seconds. Raises ValueError where it is no time, or not one that vouchers may end at."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("valid_until is no date and time") from None
    seconds = int(when.timestamp())
    if not 0 < seconds <= VALID_UNTIL_MAX:
        raise ValueError("valid_until lies before 1970 or after 2100")
    return seconds


def exactly_one(*ways: tuple[str, ...]) -> ConfigDict:
    """Says in the API's description that the members of exactly one way are given; a validator says it to callers."""
    given: JsonDict = {"not": {"type": "null"}}
    schemas: list[JsonValue] = [{"required": [*way], "properties": dict.fromkeys(way, given)} for way in ways]
    return ConfigDict(json_schema_extra={"oneOf": schemas})


class SelectionRequest(Request):
    """Which vouchers: `serials`, or `first_serial` with `last_serial`, or `lot`, or `batch`; exactly one of them."""

    model_config = exactly_one(("serials",), ("first_serial", "last_serial"), ("lot",), ("batch",))

    serials: Annotated[list[SerialText], Field(min_length=1, max_length=SERIALS_MAX)] | None = None
    first_serial: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        default=None, examples=["010000000003"]
    )
    last_serial: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        default=None, description="Included.", examples=["010000099999"]
    )
    lot: int | None = Field(default=None, ge=0, le=LOT_NUMBER_MAX)
    batch: str | None = Field(default=None, max_length=64)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
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

    count: int = Field(examples=[2])
    by_reason: dict[str, int] = Field(examples=[{"active": 2}])


class Progress(Answer):
    """How far a job is, in lots of up to 10,000 vouchers."""

    lots_done: int = Field(examples=[1])
    lots: int = Field(examples=[1])
