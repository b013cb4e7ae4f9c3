"""Who acts, and the API clients that may."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import NamedTuple

ROLES: dict[str, tuple[str, ...]] = {
    "operator": (
        "campaigns",
        "channels",
        "vouchers:generate",
        "secrets:read",
        "vouchers:distribute",
        "vouchers:extend",
        "vouchers:claim",
        "vouchers:verify",
        "vouchers:inspect",
        "vouchers:redeem",
        "recoveries",
        "reconciliations",
        "messages",
        "messages:support",
        "messages:manage",
        "webhooks",
        "erasures",
        "audit",
    ),
    "approver": ("recoveries", "recoveries:approve", "vouchers:inspect"),
    "partner": (
        "vouchers:distribute",
        "vouchers:claim",
        "vouchers:verify",
        "vouchers:redeem",
        "recoveries",
        "messages",
        "webhooks",
    ),
    "merchant": ("vouchers:verify", "vouchers:redeem", "messages", "webhooks"),
    "support": ("vouchers:verify", "vouchers:inspect", "recoveries", "messages", "messages:support"),
    "auditor": ("vouchers:inspect", "reconciliations", "audit"),
    "customer": ("vouchers:claim", "vouchers:verify", "messages"),
}
"""Role → the scopes that its clients may ask for."""

TENANTS = ("partner", "merchant")
"""Roles whose clients see and act on what is their tenant's own."""
SANDBOX = "sandbox-"
"""How the tenants of the sandbox (沙箱) begin, and no others. Its clients have tenants of their own, so that channels,
wallets and offers, which are a tenant's, are of one world without being asked. `Rules.sandbox` says it of vouchers."""
SANDBOX_ROLES = ("partner", "merchant", "customer")
"""Who tries things out there. The operator's staff have one set of clients for both worlds."""
SECRETS_PER_CLIENT_MAX = 2


class By(NamedTuple):
    """Who acts: recorded in the `last` of every item that is written."""

    client: str
    role: str
    tenant: str
    address: str
    request: str

    @property
    def is_tenant(self) -> bool:
        """Whether only its tenant's own is its business."""
        return self.role in TENANTS

    @property
    def is_sandbox(self) -> bool:
        """Whether it may use vouchers of the sandbox, and no others."""
        return in_sandbox(self.tenant)


def in_sandbox(tenant: str | None) -> bool:
    """Whether a tenant is one of the sandbox; what belongs to none is not."""
    return tenant is not None and tenant.startswith(SANDBOX)


class Secret(NamedTuple):
    """A client secret as it is kept: SHA-256 of 256 random bits, which needs no salt and no stretching."""

    sha256: bytes
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Client:
    """An API client. `tenant` is whose data it sees: the operator's own, or one partner's or merchant's.

    `trusted` clients may state the address of the customer they act for.
    """

    client_id: str
    name: str
    role: str
    tenant: str
    secrets: tuple[Secret, ...]
    created_at: int
    trusted: bool = False
    revoked_at: int | None = None
    version: int = 0

    @property
    def scopes(self) -> tuple[str, ...]:
        """All that it may ask for."""
        return ROLES[self.role]

    @property
    def is_sandbox(self) -> bool:
        """Whether it may use vouchers of the sandbox, and no others."""
        return in_sandbox(self.tenant)

    def accepts(self, secret: str, now: int) -> bool:
        """Whether the client is live and the secret is one of its own, compared in constant time."""
        digest = hashed(secret)
        live = [s for s in self.secrets if s.expires_at is None or now < s.expires_at]
        right = [hmac.compare_digest(digest, s.sha256) for s in live]
        return any(right) and self.revoked_at is None


def hashed(secret: str) -> bytes:
    """What is kept of a client secret."""
    return hashlib.sha256(secret.encode()).digest()
