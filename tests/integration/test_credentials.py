"""Who may call: every route with a scope, every kind of token that is not good for it."""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

import pytest
from joserfc import jwk, jws

from functions.domain.actor import ROLES
from functions.edge import clock as edge_clock
from functions.edge import tokens
from functions.edge.routes import ROUTES, Route
from infra.local.gateway import Answer
from tests.integration.conftest import Clock
from tests.integration.kami import Caller, Json, Kami, granted, refused, unique, visible

SCOPED: Final = [route for route in ROUTES if route.scope]
every_route = pytest.mark.parametrize("route", SCOPED, ids=lambda route: route.key)


ALL_TENANTS_TOGETHER = {("partner", "GET /v1/recoveries/statistics")}
"""What a scope does not open to whom only its tenant's own concerns."""


def call(kami: Kami, route: Route, authorization: str | None) -> Answer:
    """A request that would get no further than its body, or would find nothing."""
    headers = {"content-type": "application/json", "idempotency-key": unique()}
    if authorization is not None:
        headers["authorization"] = authorization
    target = route.path.replace("{id}", "none").replace("{serial}", "none")
    return kami.cloud.request(route.method, target, headers=headers, body="{" if route.method == "POST" else None)


@dataclass(frozen=True)
class Forger:
    """Somebody who knows all that is public, and has a good token of their own."""

    kami: Kami

    def claims(self, **changes: Any) -> Json:
        now = edge_clock.now()
        client = self.kami.operator.client_id
        standard = {
            "iss": "kami-dev", "aud": "kami", "iat": now, "exp": now + 900, "sub": client, "client_id": client,
            "role": "operator", "tenant": "operator", "trusted": True, "scope": " ".join(ROLES["operator"]),
        }  # fmt: skip
        return {**standard, **changes}

    def by_us(self, **changes: Any) -> str:
        """A token with our own signature, as a deployment could have made it."""
        with self.kami.cloud.environment("authorize"), patch.object(tokens, "LIFETIME_S", 900):
            issuer = changes.pop("iss", os.environ["ISSUER"])
            now = changes.pop("iat", edge_clock.now())
            with patch.dict(os.environ, ISSUER=issuer), patch.object(tokens, "AUDIENCE", changes.pop("aud", "kami")):
                claims = {name: value for name, value in self.claims(**changes).items() if value is not None}
                for name in ("iss", "aud", "iat", "exp"):
                    claims.pop(name, None)
                return tokens.issue(claims, now)

    def by_key(self, key: Any, algorithm: str, head: Json | None = None) -> str:
        """A token signed with a key of the forger's."""
        protected = {"alg": algorithm, "kid": self.kid, **(head or {})}
        return jws.serialize_compact(protected, json.dumps(self.claims()), key, algorithms=[algorithm])

    @property
    def published(self) -> Json:
        keys: list[Json] = granted(self.kami.cloud.request("GET", "/.well-known/jwks.json"))["keys"]
        return keys[0]

    @property
    def kid(self) -> str:
        return str(self.published["kid"])


def encoded(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(raw).decode().rstrip("=")


def decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def forged(kami: Kami) -> dict[str, str | None]:
    """Authorization headers that must open nothing, by what is wrong with them."""
    forger, good = Forger(kami), kami.operator.token
    head, claims, signature = good.split(".")
    own = jwk.ECKey.generate_key("P-256")
    public = json.dumps({**forger.published}).encode()
    r, s = decoded(signature)[:32], decoded(signature)[32:]
    tokens_by_fault = {
        "empty": "",
        "a word": "x",
        "dots": "..",
        "two parts": f"{head}.{claims}",
        "four parts": f"{good}.{signature}",
        "no signature": f"{head}.{claims}.",
        "cut signature": good[:-2],
        "longer signature": f"{head}.{claims}.{encoded(decoded(signature) + b'0')}",
        "zero signature": f"{head}.{claims}.{encoded(bytes(64))}",
        "swapped signature": f"{head}.{claims}.{encoded(s + r)}",
        "another's claims": f"{head}.{encoded(forger.claims(sub='other'))}.{signature}",
        "another's head": f"{encoded({'alg': 'ES256', 'kid': forger.kid, 'x': 1})}.{claims}.{signature}",
        "own key": forger.by_key(own, "ES256"),
        "own key, named as its own": forger.by_key(own, "ES256", {"kid": "mine"}),
        "own key in the head": forger.by_key(own, "ES256", {"jwk": own.as_dict(private=False)}),
        "public key as a secret": forger.by_key(jwk.OctKey.import_key(public), "HS256"),
        "none": f"{encoded({'alg': 'none', 'kid': forger.kid})}.{encoded(forger.claims())}.",
        "no kid": f"{encoded({'alg': 'ES256'})}.{claims}.{signature}",
        "kid is a list": f"{encoded({'alg': 'ES256', 'kid': [forger.kid]})}.{claims}.{signature}",
        "head is a list": f"{encoded([])}.{claims}.{signature}",
        "head is text": f"{encoded(b'x')}.{claims}.{signature}",
        "deep head": f"{encoded(b'[' * 2_000)}.{claims}.{signature}",
        "invalid UTF-8": f"{encoded(bytes([0xFF, 0xFE]))}.{claims}.{signature}",
        "not ASCII": "é" + good,
        "long": good + "A" * 4_096,
        "another issuer": forger.by_us(iss="kami-prod"),
        "another audience": forger.by_us(aud="other"),
        "expired": forger.by_us(iat=edge_clock.now() - tokens.LIFETIME_S),
        "not yet": forger.by_us(iat=edge_clock.now() + tokens.LEEWAY_S + 60),
        "no subject": forger.by_us(sub=None),
        "no scope": forger.by_us(scope=None),
        "scope is a list": forger.by_us(scope=list(ROLES["operator"])),
    }
    headers: dict[str, str | None] = {fault: f"Bearer {token}" for fault, token in tokens_by_fault.items()}
    return headers | {
        "nothing": None,
        "blank": "",
        "scheme only": "Bearer",
        "token only": good,
        "basic": f"Basic {good}",
        "another scheme": f"Token {good}",
        "two of them": f"Bearer {good},Bearer {good}",
        "a space more": f"Bearer  {good}",
        "a space behind": f"Bearer {good} ",
        "a tab": f"Bearer\t{good}",
    }


@pytest.fixture(scope="module")
def callers(kami: Kami) -> dict[str, Caller]:
    return {role: kami.client(role) for role in ROLES}


@every_route
def test_a_token_that_is_not_good_opens_nothing_and_all_are_refused_alike(kami: Kami, route: Route) -> None:
    before = kami.items()
    answers = {fault: call(kami, route, authorization) for fault, authorization in forged(kami).items()}
    for fault, answer in answers.items():
        assert answer.status == 401, fault
        refused(answer, 401, "unauthorized")
        assert answer.header("www-authenticate") == "Bearer"
    assert len({str(visible(answer)) for answer in answers.values()}) == 1
    assert kami.items() == before


@every_route
def test_a_role_without_the_scope_is_refused_and_one_with_it_gets_further(
    kami: Kami, callers: dict[str, Caller], route: Route
) -> None:
    further = 0
    for role, scopes in ROLES.items():
        answer = call(kami, route, f"Bearer {callers[role].token}")
        if route.scope in scopes and (role, route.key) not in ALL_TENANTS_TOGETHER:
            assert answer.status not in (401, 403), role
            further += 1
        else:
            refused(answer, 403, "insufficient_scope")
    assert further


@every_route
def test_the_scheme_is_known_by_any_case(kami: Kami, callers: dict[str, Caller], route: Route) -> None:
    role = next(role for role, scopes in ROLES.items() if route.scope in scopes)
    for scheme in ("bearer", "BEARER"):
        assert call(kami, route, f"{scheme} {callers[role].token}").status in (200, 400, 404)


def test_a_token_dies_with_its_time(kami: Kami, clock: Clock) -> None:
    route = next(route for route in SCOPED if route.operation == "list_campaigns")
    authorization = f"Bearer {kami.operator.token}"
    clock.advance(tokens.LIFETIME_S - 1)
    granted(call(kami, route, authorization))
    clock.advance(1)
    refused(call(kami, route, authorization), 401, "unauthorized")


def test_a_clock_a_little_behind_takes_a_fresh_token(kami: Kami, clock: Clock) -> None:
    route = next(route for route in SCOPED if route.operation == "list_campaigns")
    authorization = f"Bearer {kami.operator.token}"
    clock.advance(-tokens.LEEWAY_S)
    granted(call(kami, route, authorization))
    clock.advance(-1)
    refused(call(kami, route, authorization), 401, "unauthorized")
