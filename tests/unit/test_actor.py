"""API clients: whose secret opens what."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.actor import ROLES, Client, Secret, hashed
from functions.edge.routes import ROUTES, Scope

NOW = 1_800_000_000


def client(*secrets: Secret) -> Client:
    return Client("merchant-1", "Till", "merchant", "merchant-1", secrets, NOW)


def test_what_is_kept_of_a_secret_is_its_hash() -> None:
    assert hashed("卡密") == hashlib.sha256("卡密".encode()).digest()
    kept = repr(client(Secret(hashed("the secret"), None)))
    assert "the secret" not in kept


@given(st.text(), st.text())
def test_a_client_accepts_its_own_secret_and_no_other(own: str, other: str) -> None:
    assert client(Secret(hashed(own), None)).accepts(other, NOW) == (own == other)


def test_while_a_client_changes_over_both_secrets_open_and_then_the_new_one_only() -> None:
    changing = client(Secret(hashed("old"), NOW + 60), Secret(hashed("new"), None))
    opens = [[changing.accepts(secret, now) for secret in ("old", "new")] for now in (NOW, NOW + 59, NOW + 60)]
    assert opens == [[True, True], [True, True], [False, True]]


def test_a_revoked_client_and_one_without_secrets_accept_nothing() -> None:
    made = client(Secret(hashed("secret"), None))
    assert not replace(made, revoked_at=NOW).accepts("secret", NOW)
    assert not client().accepts("", NOW)


def test_roles_hold_scopes_that_exist_and_every_route_is_open_to_some_role() -> None:
    held = {scope for scopes in ROLES.values() for scope in scopes}
    assert held == {str(scope) for scope in Scope}
    assert {route.scope for route in ROUTES if route.scope} <= held


@pytest.mark.parametrize("role", ["partner", "merchant", "support", "auditor", "customer", "approver"])
def test_only_the_operator_makes_vouchers_and_sees_secrets(role: str) -> None:
    assert not {"vouchers:generate", "secrets:read", "campaigns", "channels"} & set(ROLES[role])
    assert ("vouchers:distribute" in ROLES[role]) == (role == "partner")  # of its own
    assert client().scopes == ROLES["merchant"]
