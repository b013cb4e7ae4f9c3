"""Tokens: for clients that prove who they are, good for what they may ask for, verifiable by anybody."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import pytest
from joserfc import jwk, jwt

from functions.authorize import clients
from functions.domain.actor import ROLES
from functions.edge import tokens
from infra.local.gateway import Answer
from tests.integration.conftest import Clock
from tests.integration.kami import FORM, PROBLEM, Caller, Json, Kami, granted, refused, visible


def ask(kami: Kami, form: str, **headers: str) -> Answer:
    return kami.cloud.request("POST", "/v1/tokens", headers={"content-type": FORM, **headers}, body=form)


def key_set(published: Any) -> jwk.KeySet:
    return jwk.KeySet.import_key_set(published)


def basic(name: str, secret: str) -> str:
    return "Basic " + b64encode(f"{name}:{secret}".encode()).decode()


def test_a_token_is_given_for_basic_credentials_and_for_the_same_in_the_body(kami: Kami) -> None:
    client = kami.merchant
    by_header = granted(client.sign_in())
    fields = f"grant_type=client_credentials&client_id={client.client_id}&client_secret={quote(client.client_secret)}"
    by_body = granted(ask(kami, fields))
    for token in (by_header, by_body):
        assert (token["token_type"], token["expires_in"]) == ("Bearer", tokens.LIFETIME_S)
        assert token["scope"] == "vouchers:verify vouchers:redeem messages webhooks"


def test_a_token_holds_before_an_independent_library_and_the_published_keys(kami: Kami) -> None:
    published = granted(kami.cloud.request("GET", "/.well-known/jwks.json"))
    decoded = jwt.decode(kami.merchant.token, key_set(published), algorithms=["ES256"])
    assert decoded.header["kid"] in {key["kid"] for key in published["keys"]}
    assert (decoded.claims["iss"], decoded.claims["aud"]) == ("kami-dev", "kami")
    assert (decoded.claims["sub"], decoded.claims["role"]) == (kami.merchant.client_id, "merchant")
    assert decoded.claims["tenant"] == kami.merchant.client_id
    assert decoded.claims["exp"] - decoded.claims["iat"] == tokens.LIFETIME_S


def test_published_keys_hold_nothing_private_and_may_be_cached(kami: Kami) -> None:
    answer = kami.cloud.request("GET", "/.well-known/jwks.json")
    assert answer.header("cache-control") == "public, max-age=300"
    for key in granted(answer)["keys"]:
        assert set(key) == {"kty", "crv", "use", "alg", "kid", "purpose", "x", "y"}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_given_its_scopes_or_fewer_and_no_others(kami: Kami, role: str) -> None:
    client = kami.client(role)
    assert granted(client.sign_in())["scope"] == " ".join(ROLES[role])
    assert granted(client.sign_in(scope=ROLES[role][0]))["scope"] == ROLES[role][0]
    foreign = next(scope for scope in ("campaigns", "recoveries:approve") if scope not in ROLES[role])
    document = refused(client.sign_in(scope=f"{ROLES[role][0]}+{foreign}"), 400, "invalid_scope")
    assert document["error"] == "invalid_scope"


def test_a_token_with_fewer_scopes_opens_no_more_than_those(kami: Kami) -> None:
    narrow = granted(kami.merchant.sign_in(scope="vouchers:verify"))["access_token"]
    answer = kami.cloud.request("GET", "/v1/redemptions/010000000003-a", token=narrow)
    refused(answer, 403, "insufficient_scope")


def test_unknown_clients_and_wrong_secrets_look_the_same(kami: Kami) -> None:
    known, secret = kami.merchant.client_id, kami.merchant.client_secret
    attempts = [
        basic(known, "wrong"),
        basic(known, secret[:-1]),
        basic(known, ""),
        basic("merchant-0000000000000000", secret),
        basic("", ""),
        basic("m" * 5_000, secret),
        basic("\x00", secret),
        basic("%FF", "%FF"),
    ]
    answers = [ask(kami, "grant_type=client_credentials", authorization=attempt) for attempt in attempts]
    answers.append(ask(kami, "grant_type=client_credentials"))
    document = refused(answers[0], 401, "invalid_client")
    assert document["error"] == "invalid_client"
    assert answers[0].header("www-authenticate") == "Basic"
    assert {str(visible(answer)) for answer in answers} == {str(visible(answers[0]))}


def test_credentials_may_be_form_encoded_within_basic(kami: Kami) -> None:
    client = kami.merchant
    encoded = basic("".join(f"%{byte:02X}" for byte in client.client_id.encode()), client.client_secret)
    granted(ask(kami, "grant_type=client_credentials", authorization=encoded))


MALFORMED_BASIC = ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Basic /w==", "Basic é", "Bearer x", "Digest bm86bm8="]


@pytest.mark.parametrize("authorization", MALFORMED_BASIC)
def test_credentials_that_are_no_basic_credentials_are_refused(kami: Kami, authorization: str) -> None:
    refused(ask(kami, "grant_type=client_credentials", authorization=authorization), 400, "invalid_request")


def test_credentials_given_twice_are_refused(kami: Kami) -> None:
    client = kami.merchant
    form = f"grant_type=client_credentials&client_id={client.client_id}&client_secret={client.client_secret}"
    answer = ask(kami, form, authorization=basic(client.client_id, client.client_secret))
    refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("form", [
    "", "grant_type", "grant_type=", "grant_type=client_credentials&grant_type=client_credentials", "scope=a",
    f"grant_type={'x' * 65}", "=", "&".join(f"a{n}=1" for n in range(20)),
    "grant_type=client_credentials&scope=" + "s" * 1_025, "grant_type=client_credentials&client_id=" + "c" * 129,
    "grant_type=é", '{"grant_type": "client_credentials"}',
])  # fmt: skip
def test_forms_that_are_none_are_refused(kami: Kami, form: str) -> None:
    client = kami.merchant
    answer = ask(kami, form, authorization=basic(client.client_id, client.client_secret))
    assert answer.status == 400
    assert answer.header("content-type") == PROBLEM
    assert answer.json()["key"] in ("invalid_request", "unsupported_grant_type")


def test_parameters_that_oauth_does_not_know_are_ignored(kami: Kami) -> None:
    granted(kami.merchant.sign_in(audience="kami", resource="x"))


@pytest.mark.parametrize("grant", ["password", "authorization_code", "CLIENT_CREDENTIALS"])
def test_other_grants_are_refused_in_the_words_of_oauth(kami: Kami, grant: str) -> None:
    document = refused(kami.merchant.sign_in(grant_type=grant), 400, "unsupported_grant_type")
    assert document["error"] == "unsupported_grant_type"


@pytest.mark.parametrize("scope", ["", "+", "vouchers:verify+nonsense", "*"])
def test_scopes_that_are_not_the_clients_are_refused(kami: Kami, scope: str) -> None:
    refused(kami.merchant.sign_in(scope=scope), 400, "invalid_scope")


# The life of a client


def test_a_rotated_secret_is_good_until_its_time_is_over(kami: Kami, clock: Clock) -> None:
    old = kami.client("merchant")
    with kami.cloud.environment("authorize"):
        _, secret = clients.rotate(old.client_id, clock.now, 3_600, clients.by_engineer("test"))
    new = Caller(kami.cloud, old.client_id, secret)
    granted(new.sign_in())
    granted(old.sign_in())
    clock.advance(3_600)
    granted(new.sign_in())
    refused(old.sign_in(), 401, "invalid_client")


def test_a_revoked_client_gets_no_token(kami: Kami, clock: Clock) -> None:
    client = kami.client("merchant")
    with kami.cloud.environment("authorize"):
        clients.revoke(client.client_id, clock.now, clients.by_engineer("test"))
    refused(client.sign_in(), 401, "invalid_client")


# The keys


def test_after_a_rotation_the_new_key_signs_and_tokens_of_the_old_one_still_hold(kami: Kami, clock: Clock) -> None:
    """Both keys are published: the deployment lists the new one first."""
    kms = kami.cloud.client("kms")
    fresh = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    claims: Json = {"sub": "c", "role": "merchant", "tenant": "c", "scope": "vouchers:verify", "trusted": False}
    with kami.cloud.environment("authorize"):
        old_arn = os.environ[tokens.SIGNING_KEY_ARNS]
        before = tokens.issue(claims, clock.now)
        with patch.dict(os.environ, {tokens.SIGNING_KEY_ARNS: f"{fresh},{old_arn}"}):
            after = tokens.issue(claims, clock.now)
            published = tokens.jwks()
            for token in (before, after):
                assert tokens.verify(f"Bearer {token}", clock.now).client == "c"
    *kids_of_tokens, _, _ = [key["kid"] for key in published["keys"]]
    assert kids_of_tokens == [arn.rpartition("/")[2] for arn in (fresh, old_arn)]
    kids = [jwt.decode(token, key_set(published), algorithms=["ES256"]).header["kid"] for token in (before, after)]
    assert kids == kids_of_tokens[::-1]
