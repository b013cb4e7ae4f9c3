"""Imported codes (外购卡密): bought elsewhere, so they are kept, each encrypted for its place.

A code is found by its blind index, HMAC-SHA-256 under a key of the deployment: whoever has the table but not that key
cannot try codes out on it. It is encrypted with AES-256-GCM under a key that is derived from its batch's data key for
this purpose alone; the scheme's version and the serial are associated data, so that a ciphertext opens nowhere but in
its own place.

The nonce is the deterministic construction of NIST SP 800-38D (§8.2.1), not a random number: the line of the file
(4 bytes) and the position (8 bytes). A batch comes from one import, an import from one file whose bytes cannot change,
and a line of it reads the same however often the work is begun again. So a nonce never meets two texts under one key,
not even where a line is tried for another position because the one before it turned out to be a duplicate.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass
from typing import Final

from functions.domain.serials import serial_of

SCHEME: Final = "kami/import/v1"
_LINE_BYTES, _POSITION_BYTES = 4, 8
_SEPARATORS = {ord(symbol): None for symbol in " -\u2010\u2011\u2012\u2013\u2014\u2015\u2212_"}


@dataclass(frozen=True, slots=True)
class Imported:
    """A code under its blind index: where it lies and which line of which batch's file it was. It never changes.

    `reference` is what the seller calls it.
    """

    blind_index: str
    position: int
    batch: str
    line: int
    ciphertext: bytes
    reference: str | None = None
    version: int = 0


def blind_index(index_key: bytes, code: str) -> str:
    """What a code is found by, however it is grouped and whatever its case.

    Two codes of a seller that differ in nothing else would be taken for one; among random codes there are none.
    """
    text = unicodedata.normalize("NFKC", code).translate(_SEPARATORS).casefold()
    return hmac.digest(index_key, f"kami/index/v1|{text}".encode(), hashlib.sha256).hex()


class Safe:
    """Encrypts and decrypts the codes of one batch."""

    def __init__(self, batch_key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(hmac.digest(batch_key, SCHEME.encode(), hashlib.sha256))

    def seal(self, code: str, position: int, line: int) -> bytes:
        """The code of a line, encrypted for a position."""
        return self._cipher.encrypt(_nonce(position, line), code.encode(), _about(position))

    def unseal(self, imported: Imported) -> str:
        """The code. Raises InvalidTag where the ciphertext was made for another place, or under another key."""
        nonce = _nonce(imported.position, imported.line)
        return self._cipher.decrypt(nonce, imported.ciphertext, _about(imported.position)).decode()


def _nonce(position: int, line: int) -> bytes:
    return line.to_bytes(_LINE_BYTES, "big") + position.to_bytes(_POSITION_BYTES, "big")


def _about(position: int) -> bytes:
    return f"{SCHEME}|{serial_of(position)}".encode()
