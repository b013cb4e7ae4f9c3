"""Bodies of the token route and of the key set."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from functions.edge.models import Answer, Request


class TokenRequest(Request):
    """RFC 6749 §4.4.2. The client's id and secret come here or, better, as HTTP Basic."""

    is_form: ClassVar[bool] = True

    grant_type: str = Field(max_length=64, examples=["client_credentials"])
    scope: str | None = Field(default=None, max_length=1_024)
    client_id: str | None = Field(default=None, max_length=128)
    client_secret: str | None = Field(default=None, max_length=256)


class Token(Answer):
    """RFC 6749 §5.1."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int = Field(description="Seconds.")
    scope: str


class JsonWebKey(Answer):
    """RFC 7517; one P-256 key."""

    kty: str
    crv: str
    use: str
    alg: str
    kid: str
    x: str
    y: str


class JsonWebKeySet(Answer):
    """The keys that verify access tokens; pick by `kid`."""

    keys: list[JsonWebKey]
