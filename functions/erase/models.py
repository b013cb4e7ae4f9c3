"""Bodies of erasures."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from functions.domain.account import BROADBAND, E164
from functions.edge.models import Answer, Reference, Request, Time, exactly_one

Reason = Literal["request_of_the_person", "consent_withdrawn", "no_longer_needed", "retention_over", "other"]
"""The cases of article 47."""

Number = Annotated[
    str,
    StringConstraints(min_length=4, max_length=64),
    Field(json_schema_extra={"pattern": f"^({E164.pattern}|{BROADBAND.pattern})$"}, examples=["+8613812345678"]),
]


class ErasureRequest(Request):
    """Who is to be erased: whoever has a `number`, or a `customer` of a `tenant` (the operator's own by default)."""

    model_config = exactly_one(("number",), ("customer",))

    number: Number | None = Field(default=None, description="A mobile number (E.164) or a broadband account.")
    customer: Reference | None = Field(default=None, examples=["member-1024"])
    tenant: Reference | None = Field(default=None, description="Whose customer it is.", examples=["operator"])
    reason: Reason

    @model_validator(mode="after")
    def _one_person(self) -> Self:
        if (self.number is None) == (self.customer is None) or (self.tenant is not None and self.customer is None):
            raise ValueError("give a number, or a customer with their tenant")
        if self.number is not None and not (E164.fullmatch(self.number) or BROADBAND.fullmatch(self.number)):
            raise ValueError("no mobile number, which is written like +8613812345678, and no broadband account")
        return self


class Erased(Answer):
    """How many items named the person until now."""

    vouchers: int = Field(examples=[3])
    messages: int = Field(examples=[4])


class ErasureAnswer(Answer):
    """An erasure. `account` stands in the person's place from now on; the same person always gets the same.

    It is completed with a pass over all items that found nothing left, some seconds after it began at the earliest.
    """

    id: str = Field(examples=["ers_k3q7x2m5c4wz6n7pjh2d4r6t"])
    account: str = Field(examples=["acc_n5xw2y4k3q7x2m5c4wz6n7pj"])
    status: Literal["in_progress", "completed"] = Field(examples=["in_progress"])
    reason: Reason
    erased: Erased
    created_at: Time
    completed_at: Time | None = None
