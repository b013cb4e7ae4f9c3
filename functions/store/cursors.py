"""Cursors: a place in a list that only the caller it was given to can come back with, and that tells nobody anything.

A place may be that of an item which its caller must not know of. So it is hidden by a key stream made of its own MAC (a
synthetic initialization vector, as in RFC 5297): what is sealed twice looks the same, and nothing else can be learnt.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import time
from base64 import b64decode, urlsafe_b64encode
from operator import xor

from functions.domain.errors import Refusal
from functions.store.aws import client

CURSOR_SECRET_ARN = "CURSOR_SECRET_ARN"
CURSOR_LENGTH_MAX = 512
_MAC_BYTES = 16
_CACHED_FOR_S = 300.0

_secret: tuple[float, bytes] | None = None


def _key() -> bytes:
    global _secret
    if _secret is None or time.monotonic() > _secret[0]:
        reply = client("secretsmanager").get_secret_value(SecretId=os.environ[CURSOR_SECRET_ARN])
        _secret = (time.monotonic() + _CACHED_FOR_S, reply["SecretString"].encode())
    return _secret[1]


def _mac(place: bytes, bound_to: tuple[str, ...]) -> bytes:
    context = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (part.encode() for part in bound_to))
    return hmac.digest(_key(), b"kami/cursor/v1" + context + place, hashlib.sha256)[:_MAC_BYTES]


def _hidden(raw: bytes, mac: bytes) -> bytes:
    """The place, hidden; or again the place, of what was hidden."""
    stream = hashlib.shake_256(b"kami/cursor/v1/place" + hmac.digest(_key(), mac, hashlib.sha512)).digest(len(raw))
    return bytes(map(xor, raw, stream))


def seal(place: str, *bound_to: str) -> str:
    """A cursor for a place in a list; `bound_to` are the caller, the list and its filter."""
    raw = place.encode()
    mac = _mac(raw, bound_to)
    return urlsafe_b64encode(mac + _hidden(raw, mac)).decode().rstrip("=")


def unseal(cursor: str, *bound_to: str) -> str:
    """The place. Raises Refusal `invalid_cursor` where it was made up, or given to another caller or list."""
    try:
        sealed = b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        mac, hidden = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        if len(cursor) <= CURSOR_LENGTH_MAX:
            raw = _hidden(hidden, mac)
            if hmac.compare_digest(mac, _mac(raw, bound_to)):
                return raw.decode()
    except (binascii.Error, UnicodeError):
        pass
    raise Refusal("invalid_cursor", "Use next_cursor as it was given to you, with the same list and filter.")
