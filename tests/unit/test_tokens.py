"""Access tokens, held against a JWT library: each accepts what the other signs, and both refuse alike."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from functions.domain.errors import Refusal
from functions.edge import receipts, tokens

NOW = 1_800_000_000
ISSUER = "kami-test"
ARNS = {"one": "arn:aws:kms:us-east-1:123456789012:key/one", "two": "arn:aws:kms:us-east-1:123456789012:key/two"}
CLAIMS: dict[str, Any] = {
    "sub": "merchant-1",
    "role": "merchant",
    "tenant": "merchant-1",
    "trusted": False,
    "scope": "vouchers:verify vouchers:redeem",
}
CALLER = tokens.Caller(
    "merchant-1", "merchant", "merchant-1", frozenset({"vouchers:verify", "vouchers:redeem"}), trusted=False
)
RECEIPTS = "arn:aws:kms:us-east-1:123456789012:key/receipts"
RECORD = "arn:aws:kms:us-east-1:123456789012:key/record"
KEYS = {arn: ec.generate_private_key(ec.SECP256R1()) for arn in (*ARNS.values(), RECEIPTS, RECORD)}


class Kms:
    """As much of KMS as tokens use."""

    def sign(self, KeyId: str, Message: bytes, MessageType: str, SigningAlgorithm: str) -> dict[str, bytes]:  # noqa: N803
        assert (MessageType, SigningAlgorithm) == ("RAW", "ECDSA_SHA_256")
        return {"Signature": KEYS[KeyId].sign(Message, ec.ECDSA(SHA256()))}

    def get_public_key(self, KeyId: str) -> dict[str, bytes]:  # noqa: N803
        return {"PublicKey": KEYS[KeyId].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)}


@pytest.fixture(autouse=True)
def kms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tokens.ISSUER, ISSUER)
    monkeypatch.setenv(tokens.SIGNING_KEY_ARNS, ",".join(ARNS.values()))
    monkeypatch.setenv(tokens.RECEIPT_KEY_ARN, RECEIPTS)
    monkeypatch.setenv(tokens.RECORD_KEY_ARN, RECORD)
    monkeypatch.setattr(tokens, "client", lambda service: Kms())
    monkeypatch.setattr(tokens, "_points", {})


def verify(token: str, now: int = NOW) -> tokens.Caller:
    return tokens.verify(f"Bearer {token}", now)


def assert_refused(authorization: str | None, now: int = NOW) -> None:
    """Always with the same words, so that nobody learns why."""
    with pytest.raises(Refusal) as refused:
        tokens.verify(authorization, now)
    told = refused.value
    assert (told.key, told.errors, told.extra, told.retry_after_s, told.alarm) == ("unauthorized", None, {}, None, None)
    assert told.detail == "Get a token from POST /v1/tokens and send it as: Authorization: Bearer <token>."


def signed_by_library(head: dict[str, Any], claims: dict[str, Any], arn: str = ARNS["one"]) -> str:
    standard = {"iss": ISSUER, "aud": tokens.AUDIENCE, "iat": NOW, "exp": NOW + 60}
    key = ECKey.import_key(
        {**tokens._jwk(arn, "tokens"), "d": _text(KEYS[arn].private_numbers().private_value.to_bytes(32))}
    )
    merged = {name: value for name, value in (standard | CLAIMS | claims).items() if value is not ...}
    return jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": "one"} | head, merged, key)


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_library_accepts_what_we_sign_with_the_keys_that_we_publish() -> None:
    token = tokens.issue(CLAIMS, NOW)
    published = KeySet.import_key_set(tokens.jwks())  # type: ignore[arg-type]
    read = jwt.decode(token, published, algorithms=["ES256"])
    assert read.header == {"alg": "ES256", "typ": "at+jwt", "kid": "one"}
    assert read.claims == {"iss": ISSUER, "aud": "kami", "iat": NOW, "exp": NOW + tokens.LIFETIME_S, **CLAIMS}


@pytest.mark.parametrize("kid", ARNS)
def test_we_accept_what_the_library_signs_with_any_published_key(kid: str) -> None:
    """While keys rotate, tokens of the key before still live."""
    assert verify(signed_by_library({"kid": kid}, {}, ARNS[kid])) == CALLER


def test_the_first_key_signs_and_all_are_published() -> None:
    keys = {jwk["kid"]: jwk for jwk in tokens.jwks()["keys"]}
    assert list(keys) == ["one", "two", "receipts", "record"]
    assert {(k["kty"], k["crv"], k["use"], k["alg"]) for k in keys.values()} == {("EC", "P-256", "sig", "ES256")}
    assert json.loads(_bytes(tokens.issue(CLAIMS, NOW).split(".")[0]))["kid"] == "one"


def test_what_was_signed_as_a_receipt_is_no_token_whatever_it_says_and_whichever_key_signed_it() -> None:
    said = {"iss": ISSUER, "aud": tokens.AUDIENCE, "iat": NOW, "exp": NOW + 60, **CLAIMS}
    assert verify(tokens.signed(ARNS["one"], tokens.TYPE, said)) == CALLER
    foreign = (RECEIPTS, receipts.TYPE), (RECEIPTS, tokens.TYPE), (RECORD, tokens.TYPE), (ARNS["one"], receipts.TYPE)
    for arn, type in foreign:
        assert_refused(f"Bearer {tokens.signed(arn, type, said)}")
    for typ in ("JWT", "AT+JWT", None, 7):
        assert_refused(f"Bearer {resigned({'alg': 'ES256', 'kid': 'one', 'typ': typ})}")


def test_a_receipt_says_who_claimed_what_and_when() -> None:
    published = KeySet.import_key_set(tokens.jwks())  # type: ignore[arg-type]
    text = receipts.receipt("clm_1", "010000000003", "customer-1", NOW)
    read = jwt.decode(text, published, algorithms=["ES256"])
    assert read.header == {"alg": "ES256", "typ": "kami-claim+jws", "kid": "receipts"}
    assert read.claims == {"claim": "clm_1", "serial": "010000000003", "customer": "customer-1", "at": NOW}


def test_a_token_lives_from_its_issue_to_its_end() -> None:
    token = tokens.issue(CLAIMS, NOW)
    assert verify(token, NOW - tokens.LEEWAY_S) == verify(token, NOW + tokens.LIFETIME_S - 1) == CALLER
    assert_refused(f"Bearer {token}", NOW + tokens.LIFETIME_S)
    assert_refused(f"Bearer {token}", NOW - tokens.LEEWAY_S - 1)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"aud": ["kami"]},
        {"iss": "kami-prod"},
        {"exp": NOW},
        {"iat": NOW + 3_600},
        {"exp": "never"},
        *({name: ...} for name in ("iss", "aud", "iat", "exp", "sub", "role", "tenant", "trusted", "scope")),
        {"scope": ["vouchers:redeem"]},
    ],
    ids=str,
)
def test_a_token_with_other_claims_is_refused_though_its_signature_is_right(claims: dict[str, Any]) -> None:
    assert_refused(f"Bearer {signed_by_library({}, claims)}")


@pytest.mark.parametrize("head", [{"kid": "two"}, {"kid": "three"}, {"kid": ""}], ids=str)
def test_a_token_that_names_another_key_is_refused(head: dict[str, Any]) -> None:
    assert_refused(f"Bearer {signed_by_library(head, {})}")


def resigned(head: dict[str, Any], signature: bytes | None = None) -> str:
    """A token whose header says something else; signed rightly over that header unless a signature is given."""
    claims = {"iss": ISSUER, "aud": "kami", "iat": NOW, "exp": NOW + 60, **CLAIMS}
    text = f"{_text(json.dumps(head).encode())}.{_text(json.dumps(claims).encode())}"
    if signature is None:
        der = KEYS[ARNS["one"]].sign(text.encode(), ec.ECDSA(SHA256()))
        r, s = decode_dss_signature(der)
        signature = r.to_bytes(32) + s.to_bytes(32)
    return f"{text}.{_text(signature)}"


def test_a_token_made_by_hand_is_accepted_when_it_is_right() -> None:
    """So that the refusals below are for the one thing that is wrong with each."""
    assert verify(resigned({"alg": "ES256", "kid": "one", "typ": "at+jwt"})) == CALLER


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "ES384", "RS256", "es256", None, 5, ["ES256"]])
def test_no_other_algorithm_is_spoken(alg: object) -> None:
    assert_refused(f"Bearer {resigned({'alg': alg, 'kid': 'one', 'typ': 'at+jwt'})}")
    assert_refused(f"Bearer {resigned({'alg': alg, 'kid': 'one', 'typ': 'at+jwt'}, b'')}")


@pytest.mark.parametrize(
    "head",
    [
        {"alg": "ES256", "typ": "at+jwt"},
        {"kid": "one", "typ": "at+jwt"},
        {"alg": "ES256", "kid": "one"},
        {"alg": "ES256", "kid": ["one"], "typ": "at+jwt"},
        [],
        "ES256",
        7,
    ],
)
def test_a_broken_header_is_refused(head: Any) -> None:
    assert_refused(f"Bearer {resigned(head)}")


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(63), bytes(65), b"\xff" * 64, bytes(31) + b"\x01" * 33])
def test_a_forged_signature_is_refused(signature: bytes) -> None:
    assert_refused(f"Bearer {resigned({'alg': 'ES256', 'kid': 'one', 'typ': 'at+jwt'}, signature)}")


def test_a_public_key_used_as_a_shared_secret_opens_nothing() -> None:
    claims = {"iss": ISSUER, "aud": "kami", "iat": NOW, "exp": NOW + 60, **CLAIMS}
    head = {"alg": "HS256", "kid": "one", "typ": "at+jwt"}
    text = f"{_text(json.dumps(head).encode())}.{_text(json.dumps(claims).encode())}"
    mac = hmac.digest(tokens.point(ARNS["one"]), text.encode(), "sha256")
    assert_refused(f"Bearer {text}.{_text(mac)}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_token_changed_in_any_byte_is_refused_by_us_and_by_the_library(data: st.DataObject) -> None:
    parts = [_bytes(part) for part in tokens.issue(CLAIMS, NOW).split(".")]
    which = data.draw(st.integers(0, 2))
    place = data.draw(st.integers(0, len(parts[which]) - 1))
    flipped = parts[which][place] ^ data.draw(st.integers(1, 255))
    parts[which] = parts[which][:place] + bytes([flipped]) + parts[which][place + 1 :]
    changed = ".".join(_text(part) for part in parts)
    assert_refused(f"Bearer {changed}")
    with pytest.raises((JoseError, ValueError)):
        jwt.decode(changed, KeySet.import_key_set(tokens.jwks()), algorithms=["ES256"])  # type: ignore[arg-type]


GARBAGE = [
    None, "", "Bearer", "Bearer ", "Bearer .", "Bearer ..", "Bearer ...", "Bearer a.b.c", "Basic dXNlcjpwYXNz",
    "bearer", "Token abc", "Bearer " + "." * 100, "Bearer " + "a" * 5_000, "Bearer é.é.é", "Bearer W10.W10.W10",
    f"Bearer {_text(b'[' * 3_000)}.e30.e30", f"Bearer {_text(b'9' * 3_000)}.e30.e30", "Bearer \ud800.e30.e30",
]  # fmt: skip


@pytest.mark.parametrize("authorization", GARBAGE)
def test_garbage_is_refused_with_the_same_words(authorization: str | None) -> None:
    assert_refused(authorization)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text() | st.text("eyJ.=-_0123Aa", max_size=60))
def test_no_text_at_all_is_taken_for_a_token(text: str) -> None:
    assert_refused(text)
    assert_refused(f"Bearer {text}")


def test_the_scheme_may_be_written_in_any_case_and_nothing_may_follow_the_token() -> None:
    token = tokens.issue(CLAIMS, NOW)
    assert tokens.verify(f"bEARER {token}", NOW) == CALLER
    for changed in (
        f"Bearer {token} x",
        f"Bearer  {token}",
        f"Bearer {token}.",
        f"Bearer {token}.e30",
        f"Bearer\t{token}",
    ):
        assert_refused(changed)


def test_public_keys_are_asked_for_once_and_again_when_they_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Counting(Kms):
        def get_public_key(self, KeyId: str) -> dict[str, bytes]:  # noqa: N803
            asked.append(KeyId)
            return super().get_public_key(KeyId)

    clock = SimpleNamespace(monotonic=lambda: 1_000.0)
    monkeypatch.setattr(tokens, "client", lambda service: Counting())
    monkeypatch.setattr(tokens, "time", clock)
    token = tokens.issue(CLAIMS, NOW)
    for _ in range(3):
        verify(token)
    assert asked == [ARNS["one"]]
    clock.monotonic = lambda: 1_000.0 + tokens._KEYS_CACHED_FOR_S + 1
    verify(token)
    assert asked == [ARNS["one"]] * 2
