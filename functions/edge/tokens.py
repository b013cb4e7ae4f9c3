"""Access tokens: JWTs (RFC 7519) signed with ES256 by KMS, verified here by every handler.

Only this one profile is spoken (ES256, our issuer, our keys), so verification is these few lines on `cryptography`'s
ECDSA; a general JWT library would bring 60 to 90 ms of imports to every cold start. The tests hold it against one.
"""

from __future__ import annotations

import binascii
import json
import os
import time
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from functions.domain.errors import Refusal
from functions.store.aws import client

ISSUER = "ISSUER"
SIGNING_KEY_ARNS = "SIGNING_KEY_ARNS"
RECEIPT_KEY_ARN = "RECEIPT_KEY_ARN"
RECORD_KEY_ARN = "RECORD_KEY_ARN"
TYPE = "at+jwt"
AUDIENCE = "kami"
LIFETIME_S = 900
LEEWAY_S = 30
"""So far may the clocks of two instances be apart."""
TOKEN_LENGTH_MAX = 4_096
_KEYS_CACHED_FOR_S = 300.0
_HALF = 32
_SPKI_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""The DER of a P-256 SubjectPublicKeyInfo (RFC 5480) up to its point."""

_points: dict[str, tuple[float, bytes]] = {}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a token speaks for."""

    client: str
    role: str
    tenant: str
    scopes: frozenset[str]
    trusted: bool


def key_arns() -> dict[str, str]:
    """Key id (`kid`) → KMS key, the signing one first; the others are published for tokens that still live."""
    return {_kid(arn): arn for arn in os.environ[SIGNING_KEY_ARNS].split(",")}


def point(arn: str) -> bytes:
    """The public point of a signing key (0x04 ‖ x ‖ y), from KMS, cached for five minutes."""
    cached = _points.get(arn)
    if cached is None or time.monotonic() > cached[0]:
        der = client("kms").get_public_key(KeyId=arn)["PublicKey"]
        if not der.startswith(_SPKI_P256):
            raise ValueError(f"{arn} is no P-256 key")
        cached = _points[arn] = (time.monotonic() + _KEYS_CACHED_FOR_S, der[len(_SPKI_P256) :])
    return cached[1]


def issue(claims: dict[str, Any], now: int) -> str:
    """A signed token with the standard claims added."""
    arn = next(iter(key_arns().values()))
    standard = {"iss": os.environ[ISSUER], "aud": AUDIENCE, "iat": now, "exp": now + LIFETIME_S}
    return signed(arn, TYPE, standard | claims)


def signed(arn: str, type: str, said: dict[str, Any]) -> str:
    """A JWS of a type, signed by a KMS key, which takes at most 4,096 bytes."""
    head = {"alg": "ES256", "typ": type, "kid": _kid(arn)}
    text = f"{_encode(json.dumps(head).encode())}.{_encode(json.dumps(said).encode())}"
    der = client("kms").sign(KeyId=arn, Message=text.encode(), MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256")[
        "Signature"
    ]
    r, s = decode_dss_signature(der)
    return f"{text}.{_encode(r.to_bytes(_HALF, 'big') + s.to_bytes(_HALF, 'big'))}"


def _kid(arn: str) -> str:
    return arn.rpartition("/")[2]


def verify(authorization: str | None, now: int) -> Caller:
    """Whom an `Authorization` header speaks for. Raises Refusal `unauthorized`, always with the same words."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or len(token) > TOKEN_LENGTH_MAX:
        raise _refusal()
    try:
        signed, _, signature = token.rpartition(".")
        head, claims = (json.loads(_decode(part)) for part in signed.split("."))
        arn = key_arns()[head["kid"]]
        if (head["alg"], head["typ"]) != ("ES256", TYPE):
            raise _refusal()
        raw = _decode(signature)
        if len(raw) != 2 * _HALF:
            raise _refusal()
        der = encode_dss_signature(int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big"))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point(arn))
        key.verify(der, signed.encode(), ec.ECDSA(SHA256()))
        if (
            claims["iss"] != os.environ[ISSUER]
            or claims["aud"] != AUDIENCE
            or not claims["iat"] - LEEWAY_S <= now < claims["exp"]
        ):
            raise _refusal()
        return Caller(
            claims["sub"], claims["role"], claims["tenant"], frozenset(claims["scope"].split()), claims["trusted"]
        )
    except (InvalidSignature, binascii.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _refusal() from None


def jwks() -> dict[str, Any]:
    """The published keys (RFC 7517): those of tokens, that of receipts, and that of the record."""
    tokens = [(arn, "tokens") for arn in key_arns().values()]
    others = [(os.environ[RECEIPT_KEY_ARN], "receipts"), (os.environ[RECORD_KEY_ARN], "record")]
    return {"keys": [_jwk(arn, purpose) for arn, purpose in (*tokens, *others)]}


def _jwk(arn: str, purpose: str) -> dict[str, str]:
    encoded = point(arn)
    x, y = _encode(encoded[1 : 1 + _HALF]), _encode(encoded[1 + _HALF :])
    of = {"use": "sig", "alg": "ES256", "kid": _kid(arn), "purpose": purpose}
    return {"kty": "EC", "crv": "P-256", **of, "x": x, "y": y}


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _refusal() -> Refusal:
    return Refusal("unauthorized", "Get a token from POST /v1/tokens and send it as: Authorization: Bearer <token>.")
