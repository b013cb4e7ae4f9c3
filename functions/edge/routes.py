"""The one table of routes: gateway, authorization, OpenAPI and documentation are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Key(StrEnum):
    """Whether a route takes an `Idempotency-Key`."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Scope(StrEnum):
    """What a token may be good for (OAuth 2.0 scope values)."""

    CAMPAIGNS = "campaigns"
    GENERATE = "vouchers:generate"
    SECRETS = "secrets:read"
    DISTRIBUTE = "vouchers:distribute"
    CLAIM = "vouchers:claim"
    VERIFY = "vouchers:verify"
    INSPECT = "vouchers:inspect"
    REDEEM = "vouchers:redeem"
    RECOVERIES = "recoveries"
    APPROVE = "recoveries:approve"
    MESSAGES = "messages"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: `scope` None means open to everyone."""

    method: str
    path: str
    function: str
    operation: str
    scope: Scope | None
    summary: str
    idempotency_key: Key = Key.NONE

    @property
    def key(self) -> str:
        """The gateway's route key, e.g. `POST /v1/redemptions`."""
        return f"{self.method} {self.path}"


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/tokens", "authorize", "create_token", None, "Get an access token (OAuth 2.0 client credentials)"),
    Route("GET", "/.well-known/jwks.json", "authorize", "get_jwks", None, "Public keys that verify access tokens"),
    Route("POST", "/v1/campaigns", "generate", "create_campaign", Scope.CAMPAIGNS, "Create a campaign", Key.OPTIONAL),
    Route("GET", "/v1/campaigns", "generate", "list_campaigns", Scope.CAMPAIGNS, "List campaigns, newest first"),
    Route("GET", "/v1/campaigns/{id}", "generate", "get_campaign", Scope.CAMPAIGNS, "Get a campaign"),
    Route("POST", "/v1/campaigns/{id}/batches", "generate", "create_batch", Scope.GENERATE, "Generate a batch of vouchers", Key.OPTIONAL),
    Route("GET", "/v1/batches/{id}", "generate", "get_batch", Scope.GENERATE, "Get a batch with its counts by status"),
    Route("GET", "/v1/batches/{id}/vouchers", "generate", "list_batch_vouchers", Scope.GENERATE, "List a batch's serials with their effective status"),
    Route("POST", "/v1/reveals", "generate", "create_reveal", Scope.SECRETS, "Reveal the codes of up to 100 serials"),
    Route("POST", "/v1/activations", "distribute", "create_activation", Scope.DISTRIBUTE, "Activate a selection of vouchers", Key.OPTIONAL),
    Route("GET", "/v1/activations/{id}", "distribute", "get_activation", Scope.DISTRIBUTE, "Get an activation and its progress"),
    Route("POST", "/v1/verifications", "verify", "create_verification", Scope.VERIFY, "Check a code"),
    Route("GET", "/v1/vouchers/{serial}", "verify", "get_voucher", Scope.INSPECT, "Look a voucher up by serial"),
    Route("POST", "/v1/redemptions", "redeem", "create_redemption", Scope.REDEEM, "Redeem a code for an account", Key.REQUIRED),
    Route("GET", "/v1/redemptions/{id}", "redeem", "get_redemption", Scope.REDEEM, "Get a redemption"),
    Route("POST", "/v1/redemptions/{id}/reversals", "redeem", "create_reversal", Scope.REDEEM, "Reverse a redemption", Key.REQUIRED),
    Route("GET", "/v1/openapi.json", "console", "get_openapi", None, "This API as OpenAPI 3.1"),
    Route("GET", "/docs", "console", "get_docs", None, "The API's documentation for people"),
    Route("GET", "/", "console", "get_home", None, "What this is and where to go"),
)  # fmt: skip


def of(function: str) -> dict[str, Route]:
    """The routes of one function by gateway route key."""
    return {route.key: route for route in ROUTES if route.function == function}
