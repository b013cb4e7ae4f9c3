"""Step-up by a time-based one-time code (二次验证): RFC 6238 as every authenticator app speaks it.

HMAC-SHA-1, steps of 30 seconds, six digits. A code is good in its step and, for clocks that differ and people who type,
in the one before and the one after; each step is good once.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

STEP_S = 30
DIGITS = 6
SECRET_BYTES = 20
"""As long as the hash, as RFC 4226 §4 recommends."""
_STEPS = (0, -1, 1)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """That a client has an authenticator: its secret as KMS wrapped it, none once it is withdrawn.

    `step` is the last one that was used, and `used_for` the id of what it was used for.
    """

    client: str
    wrapped_secret: bytes | None
    step: int = 0
    used_for: str = ""
    version: int = 0

    def used(self, step: int, id: str) -> Enrolment | None:
        """With this step used for what has this id; None where it was before. Raises ValueError where it is over."""
        if (step, id) == (self.step, self.used_for):
            return None
        if step <= self.step:
            raise ValueError("a step is good once")
        return replace(self, step=step, used_for=id)


def code_at(secret: bytes, step: int) -> str:
    """The code of a step (RFC 4226 §5.3)."""
    digest = hmac.new(secret, step.to_bytes(8, "big"), hashlib.sha1).digest()
    at = digest[-1] & 0xF
    return f"{(int.from_bytes(digest[at : at + 4], 'big') & 0x7FFFFFFF) % 10**DIGITS:0{DIGITS}d}"


def step_of(secret: bytes, code: str, now: int) -> int | None:
    """The step whose code this is, near a time; all are compared, each in constant time."""
    steps = [now // STEP_S + apart for apart in _STEPS]
    found = [step for step in steps if hmac.compare_digest(code_at(secret, step).encode(), code.encode())]
    return found[0] if found else None


def uri(secret: bytes, client: str, issuer: str) -> str:
    """What an authenticator app takes, as text or QR code (Key URI format)."""
    label = quote(f"{issuer}:{client}")
    return f"otpauth://totp/{label}?{urlencode({'secret': b32encode(secret).decode().rstrip('='), 'issuer': issuer})}"
