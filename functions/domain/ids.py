"""Identifiers that follow from the request, so that a repeat names the same thing."""

from __future__ import annotations

import hashlib
import json
from base64 import b32encode
from typing import Any

from functions.domain.errors import Refusal

_BYTES = 15  # 120 bits: two different requests share an id with odds of 2^-60 after 2^30 of them


def derived(*parts: str) -> str:
    """24 lower-case letters and digits that depend on every part and on where the parts end."""
    packed = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (part.encode() for part in parts))
    return b32encode(hashlib.sha256(packed).digest()[:_BYTES]).decode().lower()


def fingerprint(body: dict[str, Any]) -> str:
    """What tells two bodies under one idempotency key apart; give it the body without any secret."""
    return derived(json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str))


def fingerprint_but_code(order: Any) -> str:
    """The fingerprint of an order (a dataclass with slots) without its code, a secret that no item may hold."""
    return fingerprint({name: getattr(order, name) for name in order.__slots__ if name != "code"})


def refuse_reuse(before: str, now: str, thing: str = "order") -> None:
    """Raise Refusal `idempotency_key_reused` where two bodies' fingerprints differ; one that was erased fits all."""
    if before and before != now:
        raise reused(thing)


def reused(thing: str = "order") -> Refusal:
    """The refusal of a key that was used for something else."""
    return Refusal("idempotency_key_reused", f"Use a new key for a new {thing}.")
