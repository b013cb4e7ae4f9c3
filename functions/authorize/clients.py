"""API clients: created, rotated and revoked by who holds AWS credentials; used by the token route.

A secret is shown once, when it is made. Two may be valid at a time, so that a client can change over.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from functions.domain.actor import (
    ROLES,
    SANDBOX,
    SANDBOX_ROLES,
    SECRETS_PER_CLIENT_MAX,
    By,
    Client,
    Secret,
    hashed,
    in_sandbox,
)
from functions.domain.errors import Refusal
from functions.store import keys, stepup, table
from functions.store.records import CLIENT

__all__ = ["ROLES", "by_engineer", "create", "enrol", "every", "find", "revoke", "rotate", "withdraw"]

LISTED_MAX = 1_000
ID_LENGTH_MAX = 128
_SHARD_PAGE = LISTED_MAX // keys.LIST_SHARDS


def by_engineer(name: str) -> By:
    """Who acts at a command line; `name` is the AWS identity."""
    return By(client=name, role="engineer", tenant="operator", address="command-line", request=secrets.token_hex(8))


def create(
    name: str,
    role: str,
    now: int,
    tenant: str | None = None,
    *,
    trusted: bool = False,
    sandbox: bool = False,
    by: By | None = None,
) -> tuple[Client, str]:
    """A new client and its secret. Staff of the operator share its tenant; others get one of their own by default.

    A client of the sandbox has the tenant's namesake there. Raises Refusal `invalid_request` where its role has no
    business there, or another client would get a tenant of the sandbox.
    """
    client_id, secret = f"{role}-{secrets.token_hex(8)}", _new_secret()
    own = tenant or (client_id if role in ("partner", "merchant", "customer") else "operator")
    if sandbox and role not in SANDBOX_ROLES:
        raise Refusal("invalid_request", f"In the sandbox there are {', '.join(SANDBOX_ROLES)}.")
    if sandbox != in_sandbox(own):
        if not sandbox:
            raise Refusal("invalid_request", f"Tenants that begin with {SANDBOX} are those of the sandbox.")
        own = SANDBOX + own
    client = Client(client_id, name, role, own, (Secret(hashed(secret), None),), now, trusted)

    def once(current: Client | None) -> Client | None:
        return client if current is None else None

    return table.change(CLIENT, None, once, "create_client", by or by_engineer("setup")), secret


def rotate(client_id: str, now: int, old_valid_for_s: int, by: By) -> tuple[Client, str]:
    """One more secret; the one before it is accepted for `old_valid_for_s` more seconds, older ones no more.

    Raises Refusal `not_found`, or `invalid_client` where it is revoked.
    """
    secret = _new_secret()

    def rotated(client: Client | None) -> Client | None:
        client = _existing(client, client_id)
        if client.revoked_at is not None:
            raise Refusal("invalid_client", f"{client_id} is revoked; create another one.")
        if client.accepts(secret, now):
            return None
        until = now + old_valid_for_s
        ending = [Secret(s.sha256, min(until, s.expires_at or until)) for s in client.secrets]
        live = [s for s in ending if s.expires_at is not None and s.expires_at > now]
        kept = live[-(SECRETS_PER_CLIENT_MAX - 1) :]
        return replace(client, secrets=(*kept, Secret(hashed(secret), None)))

    return table.change(CLIENT, find(client_id), rotated, "rotate_client", by), secret


def revoke(client_id: str, now: int, by: By) -> Client:
    """No more tokens for this client; those it has die within their 15 minutes."""

    def revoked(client: Client | None) -> Client | None:
        client = _existing(client, client_id)
        return None if client.revoked_at is not None else replace(client, revoked_at=now)

    return table.change(CLIENT, find(client_id), revoked, "revoke_client", by)


def enrol(client_id: str, by: By) -> tuple[Client, bytes]:
    """The client and the secret of a new authenticator of it. Raises Refusal `not_found`, `invalid_client`."""
    client = _existing(find(client_id), client_id)
    if client.revoked_at is not None:
        raise Refusal("invalid_client", f"{client_id} is revoked; create another one.")
    return client, stepup.enrol(client_id, by)


def withdraw(client_id: str, by: By) -> None:
    """The client has no authenticator any more. Raises Refusal `not_found`."""
    _existing(find(client_id), client_id)
    stepup.withdraw(client_id, by)


def find(client_id: str) -> Client | None:
    """A client by id; what is longer than any id is not even looked for."""
    return table.read(CLIENT, keys.client(client_id)) if len(client_id) <= ID_LENGTH_MAX else None


def every() -> list[Client]:
    """All clients, newest first (at most `LISTED_MAX`)."""
    entries = [
        entry
        for partition in keys.list_of("client")
        for entry in table.query(partition, limit=_SHARD_PAGE, newest_first=True)
    ]
    found = (table.read(CLIENT, keys.Key(entry["pk"], entry["sk"])) for entry in entries)
    return sorted((c for c in found if c is not None), key=lambda c: c.created_at, reverse=True)


def _new_secret() -> str:
    return secrets.token_urlsafe(32)


def _existing(client: Client | None, client_id: str) -> Client:
    if client is None:
        raise Refusal("not_found", f"There is no client {client_id}.")
    return client
