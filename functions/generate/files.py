"""What the files of an export hold, and its encryption: piece by piece, so that no file is ever whole in the clear.

The files are in the age format (age-encryption.org/v1), encrypted by pyrage, the bindings of the Rust implementation.
pyrage and segno are imported where they are used: no other call of this function pays for them.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from functions.domain.export import SHAPES, Export, codes_of, lines
from functions.domain.lot import Lot
from functions.domain.selection import Span
from functions.domain.serials import serial_of
from functions.domain.voucher import Voucher

QR_MASK = 2
"""Readers take any of the eight masks (ISO/IEC 18004); trying out which looks best takes five times as long."""
QR_BORDER = 4
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Source:
    """A lot as a file needs it: `touched` are its vouchers that have items, where that may make a difference."""

    lot: Lot
    batch_key: bytes
    touched: Mapping[int, Voucher]


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A file as it goes to the bucket, the SHA-256 of it, and that of what was encrypted."""

    body: io.BytesIO
    sha256: str
    of_plaintext: bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return self.body.getbuffer().nbytes


def is_recipient(text: str) -> bool:
    """Whether this is an age X25519 public key (`age1…`), in lower case and with its right checksum."""
    from pyrage import RecipientError, x25519

    try:
        return str(x25519.Recipient.from_str(text)) == text
    except RecipientError:
        return False


def encrypted(pieces: Iterable[bytes], recipient: str) -> Encrypted:
    """The pieces as one age file."""
    from pyrage import encrypt_io, x25519

    plain, cipher = _Plain(iter(pieces)), _Cipher()
    encrypt_io(plain, cipher, [x25519.Recipient.from_str(recipient)])
    cipher.seek(0)
    return Encrypted(cipher, cipher.sha256.hexdigest(), plain.sha256.digest())


class _Plain(io.BufferedIOBase):
    """What is read to be encrypted, and hashed on the way."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.sha256 = hashlib.sha256()
        self._pieces, self._left = pieces, memoryview(b"")

    def read(self, size: int | None = -1, /) -> bytes:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self.sha256.update(piece)
            self._left = memoryview(piece)
        taken = self._left if size is None or size < 0 else self._left[:size]
        self._left = self._left[len(taken) :]
        return bytes(taken)


class _Cipher(io.BytesIO):
    """What has been encrypted, hashed as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()

    def write(self, piece: bytes, /) -> int:  # type: ignore[override]
        self.sha256.update(piece)
        return super().write(piece)


def pieces(export: Export, span: Span, sources: Iterable[Source], now: int) -> Iterator[bytes]:
    """The contents of the file of a span, a lot at a time."""
    shape = SHAPES[export.layout, export.qr]
    yield shape.heading.encode()
    for source in sources:
        first, last = span.within(source.lot.number)
        shown = codes_of(source.lot, first, last, source.touched, source.batch_key, now)
        yield lines(shape, source.lot.number, first, shown, _images(shown) if export.qr else None).encode()


def _images(shown: Iterable[str]) -> Iterator[str]:
    """Each code's QR image: a PNG of one pixel a module, as a data URI (RFC 2397)."""
    import segno

    for code in shown:
        png = io.BytesIO()
        segno.make_qr(code, error="m", boost_error=False, mask=QR_MASK).save(png, kind="png", border=QR_BORDER)
        yield f"data:image/png;base64,{b64encode(png.getvalue()).decode()}"


def manifest(export: Export, batch_key: bytes) -> bytes:
    """What there is to be fetched, with counts and checksums of the files, encrypted and in the clear."""
    listed = [
        {
            "file": str(n),
            "name": export.name(str(n)),
            "first_serial": serial_of(file.first),
            "last_serial": serial_of(file.last),
            "lines": file.last - file.first + 1,
            "size": file.size,
            "sha256": file.sha256,
            "plaintext_sha256": unsealed(file.seal, export.id, n, batch_key).hex(),
        }
        for n, file in enumerate(export.files, 1)
    ]
    about = {"export": export.id, "batch": export.batch, "format": export.layout.value, "qr": export.qr}
    return json.dumps({**about, "quantity": export.quantity, "files": listed}, indent=1).encode()


def sealed(digest: bytes, export: str, n: int, batch_key: bytes) -> bytes:
    """The SHA-256 of a file's contents, readable with the batch's key only (AES-256-GCM under a key of its own)."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(_seal_key(export, n, batch_key)).encrypt(nonce, digest, None)


def unsealed(seal: bytes, export: str, n: int, batch_key: bytes) -> bytes:
    """The digest again. Raises InvalidTag where it was not sealed for this file under this key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(_seal_key(export, n, batch_key)).decrypt(seal[:_NONCE_BYTES], seal[_NONCE_BYTES:], None)


def _seal_key(export: str, n: int, batch_key: bytes) -> bytes:
    return hmac.digest(batch_key, f"kami/export/v1|{export}|{n}".encode(), hashlib.sha256)
