"""authorize: tokens and the keys that verify them."""

from __future__ import annotations

from base64 import b64decode
from typing import Any
from urllib.parse import unquote_plus

from functions.authorize import service
from functions.authorize.models import JsonWebKeySet, Token, TokenRequest
from functions.domain.errors import Refusal
from functions.edge import record, tokens
from functions.edge.http import App, Call, Event, Reply, Response, ok

app = App("authorize")


@app.route("POST /v1/tokens")
def create_token(request: TokenRequest, call: Call) -> Reply[Token]:
    client_id, secret = _credentials(request, call)
    try:
        client = service.authenticate(client_id, secret, call.now)
        scope = service.granted_scopes(client, request.grant_type, request.scope)
    except Refusal as refusal:
        by = call.by._replace(**refusal.about)
        record.note("token.refused", by, {"key": refusal.key}, call.now)
        raise
    claims = {
        "sub": client.client_id,
        "client_id": client.client_id,
        "role": client.role,
        "tenant": client.tenant,
        "trusted": client.trusted,
        "scope": scope,
        "jti": call.by.request,
    }
    token = tokens.issue(claims, call.now)
    by = call.by._replace(**service.known(client))
    record.note("token.issued", by, {"scope": scope}, call.now)
    return ok(Token(access_token=token, expires_in=tokens.LIFETIME_S, scope=scope))


@app.route("GET /.well-known/jwks.json")
def get_jwks(call: Call) -> Reply[JsonWebKeySet]:
    return ok(JsonWebKeySet.model_validate(tokens.jwks()), **{"Cache-Control": "public, max-age=300"})


def _credentials(request: TokenRequest, call: Call) -> tuple[str, str]:
    """RFC 6749 §2.3.1: HTTP Basic, or in the body; not both."""
    authorization = call.headers.get("authorization")
    if authorization is None:
        return request.client_id or "", request.client_secret or ""
    scheme, _, encoded = authorization.partition(" ")
    try:
        name, colon, secret = b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:  # not base64, not ASCII, not UTF-8
        name, colon, secret = "", "", ""
    if scheme.lower() != "basic" or not colon or request.client_secret is not None:
        raise Refusal("invalid_request", "Authenticate once: HTTP Basic, or client_id and client_secret in the body.")
    return unquote_plus(name), unquote_plus(secret)


def handle(event: Event, context: Any) -> Response:
    return app(event, context)
