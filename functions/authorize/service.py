"""Tokens for clients that prove who they are."""

from __future__ import annotations

from functions.authorize import clients
from functions.domain.actor import Client
from functions.domain.errors import Refusal

GRANT = "client_credentials"


def authenticate(client_id: str, secret: str, now: int) -> Client:
    """The client. Raises Refusal `invalid_client`, the same for an unknown client as for a wrong secret."""
    client = clients.find(client_id)
    if client is None or not client.accepts(secret, now):
        raise _oauth("invalid_client", "Check client_id and client_secret.", client)
    return client


def known(client: Client | None) -> dict[str, str]:
    """What the record says of who asked: nothing of one who is unknown, for what was given may be anything."""
    return {"client": client.client_id, "role": client.role, "tenant": client.tenant} if client is not None else {}


def granted_scopes(client: Client, grant_type: str, asked: str | None) -> str:
    """The scopes of the token: those asked for, or all of the client's. Raises Refusal after RFC 6749 §5.2."""
    if grant_type != GRANT:
        raise _oauth("unsupported_grant_type", f"Use grant_type={GRANT}.", client)
    if asked is None:
        return " ".join(client.scopes)
    wanted = list(dict.fromkeys(asked.split()))
    if not wanted or not set(wanted) <= set(client.scopes):
        raise _oauth("invalid_scope", f"This client may ask for: {' '.join(client.scopes)}.", client)
    return " ".join(wanted)


def _oauth(key: str, detail: str, client: Client | None) -> Refusal:
    """A refusal that OAuth 2.0 libraries understand as well: `error` and `error_description` are RFC 6749's."""
    return Refusal(key, detail, extra={"error": key, "error_description": detail}, about=known(client))
