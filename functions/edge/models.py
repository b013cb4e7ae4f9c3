"""What all request and reply models share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

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
