"""Rotating QR codes (动态二维码): what a customer shows at a till in the place of a code; good for a minute, and once.

    payload = KQ1.<serial>.<step>.<mac>
    key     = HMAC-SHA-256(batch key, "kami/qr/v1" ‖ serial ‖ version ‖ bearer)      one per voucher and holder
    mac     = first 10 bytes of HMAC-SHA-256(key, step as 8 bytes), in Base32

in the manner of RFC 6238: the step is the time in units of 30 seconds, the moving factor of RFC 4226. Its six digits
are for people to type; here a scanner reads, so the mac keeps 80 bits. The key depends on who holds the voucher and on
the version of its code (`Voucher.code_version`), so that what an earlier holder could show is a wrong code. HMAC's
context separates this use of the batch key from that for codes (`domain.codes`). All symbols are of the alphanumeric
mode of QR codes (ISO/IEC 18004), which is compact.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32encode
from typing import NamedTuple

from functions.domain.serials import position_of, serial_of

SCHEME = "KQ1"
STEP_S = 30
STEPS_ACCEPTED = 2
"""The current step and the previous one, for whoever needs a moment to be scanned."""
_MAC_BYTES, _MAC_SYMBOLS = 10, 16
_SHAPE = re.compile(rf"{SCHEME}\.([0-9]{{12,19}})\.(0|[1-9][0-9]{{0,10}})\.([A-Z2-7]{{{_MAC_SYMBOLS}}})")


class Payload(NamedTuple):
    """What a QR code says."""

    position: int
    step: int
    mac: str


def parse(text: str) -> Payload | None:
    """What a scanned text says, or None where it is no such QR code; there is one way to write each."""
    found = _SHAPE.fullmatch(text.strip()) if SCHEME in text[:8] else None
    position = position_of(found[1]) if found else None
    return Payload(position, int(found[2]), found[3]) if found and position is not None else None


def step_of(now: int) -> int:
    """The step that a time lies in."""
    return now // STEP_S


def seconds_left(now: int) -> int:
    """So long until the next step."""
    return STEP_S - now % STEP_S


def written(batch_key: bytes, position: int, version: int, bearer: str, step: int) -> str:
    """The text of a voucher's QR code for its bearer (`Voucher.bearer`) and a step."""
    return f"{SCHEME}.{serial_of(position)}.{step}.{_mac(batch_key, position, version, bearer, step)}"


def _mac(batch_key: bytes, position: int, version: int, bearer: str, step: int) -> str:
    context = f"kami/qr/v1|{serial_of(position)}|{version}|{bearer}".encode()
    key = hmac.digest(batch_key, context, hashlib.sha256)
    return b32encode(hmac.digest(key, step.to_bytes(8, "big"), hashlib.sha256)[:_MAC_BYTES]).decode()


def is_right(payload: Payload, batch_key: bytes, version: int, bearer: str) -> bool:
    """Whether it was made for this bearer of this voucher, whenever; takes the same time for every wrong mac."""
    right = _mac(batch_key, payload.position, version, bearer, payload.step)
    return hmac.compare_digest(right, payload.mac)


def is_timely(payload: Payload, now: int, used: int) -> bool:
    """Whether its step is the current one or the previous one, and later than the last one `used`."""
    return 0 <= step_of(now) - payload.step < STEPS_ACCEPTED and payload.step > used
