"""Bodies of the token route and of the key set."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from functions.edge.models import Answer, Request


class TokenRequest(Request):
    """RFC 6749 §4.4.2; unknown parameters are ignored, as §3.2 demands.

    The client's id and secret come here or, better, as HTTP Basic.
    """

    model_config = ConfigDict(extra="ignore")
    is_form: ClassVar[bool] = True

    grant_type: str = Field(max_length=64, examples=["client_credentials"])
    scope: str | None = Field(
        default=None, max_length=1_024, description="Divided by spaces; all of the client's where it is absent."
    )
    client_id: str | None = Field(default=None, max_length=128)
    client_secret: str | None = Field(default=None, max_length=256)


class Token(Answer):
    """RFC 6749 §5.1."""

    access_token: str = Field(examples=["eyJhbGciOiJFUzI1NiJ9.…"])
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int = Field(description="Seconds.", examples=[900])
    scope: str = Field(examples=["vouchers:verify vouchers:redeem"])


class JsonWebKey(Answer):
    """RFC 7517; one P-256 key, and what is signed with it: nothing else that it signs is to be believed."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    use: Literal["sig"]
    alg: Literal["ES256"]
    kid: str = Field(examples=["0f5c1c8e-7d0b-4a0e-9a53-1f2a6d1f7c11"])
    purpose: Literal["tokens", "receipts", "record"]
    x: str = Field(examples=["f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"])
    y: str = Field(examples=["x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"])


class JsonWebKeySet(Answer):
    """The keys that verify access tokens, the receipts of claims and exports of the record; pick by `kid`."""

    keys: list[JsonWebKey]
