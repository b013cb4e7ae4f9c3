"""Codes (密码): derived from a batch's key when they are needed, stored nowhere.

A code is `format(locator ‖ tag)`. The locator (lot, index) is public. The tag is a pseudo-random function of
(batch key, format, lot, generation, index), truncated to the format's `tag_space`:

    lot key = HMAC-SHA-256(batch key, "kami/code/v1" ‖ format ‖ lot ‖ generation)      one per lot and generation
    tag     = first 8 bytes of AES-256(lot key, index as a 16-byte counter) mod tag_space

which is the AES-256-CTR key stream of the lot key, one block an index. HMAC separates domains (format, lot,
generation, version) and gives each lot a key of its own; AES under a secret key is a pseudo-random permutation, and
with at most 10^4 blocks a key it differs from a random function with odds below 10^8 / 2^129. Taking 64 bits modulo
10^11 favours some tags by less than 2^-27 of their share; modulo 2^43 by nothing. A key stream was chosen over one
HMAC a voucher (many times slower) and over SHAKE-256 (as fast for a whole lot, but one code's tag would cost up to
10^4 tags' worth of output): here both a lot and a single index are cheap. `make benchmark` prints the figures.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from functions.domain.serials import LOT_SIZE

CODE_LENGTH_MAX = 64
"""Longer input is no code; it is not even looked at."""
_BLOCK = 16


@dataclass(frozen=True, slots=True)
class CodeFormat:
    """A format as data: `length` symbols of `alphabet`, shown in groups of `group`.

    `lots` are the lot numbers that its locators can name; `tag_space` is the number of tags, so that one guess hits
    an existing voucher with odds 1 / tag_space.
    """

    name: str
    alphabet: str
    length: int
    group: int
    lots: range
    tag_space: int

    @property
    def capacity(self) -> int:
        """How many vouchers the format can ever address."""
        return len(self.lots) * LOT_SIZE

    @property
    def odds(self) -> float:
        """The odds that one guess at an existing locator is right."""
        return 1 / self.tag_space


CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Base 32 after Douglas Crockford: no I, L, O, U."""
_FORGIVEN = str.maketrans("OIL", "011", " -\u2010\u2011\u2012\u2013\u2014_")

FORMATS: dict[str, CodeFormat] = {
    f.name: f
    for f in (
        CodeFormat("crockford16", CROCKFORD, 16, 4, range(100_000, 10_000_000), 2**43),
        CodeFormat("digits20", "0123456789", 20, 4, range(100_000), 10**11),
    )
}
"""Lot numbers of different formats do not meet, so that a lot's number tells its format."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a text may mean under one format."""

    format: CodeFormat
    position: int
    tag: int


def parse(text: str) -> Candidate | None:
    """The locator and the tag of a code as a person typed it, or None where it is no code of any format."""
    if len(text) > CODE_LENGTH_MAX:
        return None
    plain = text.upper().translate(_FORGIVEN)
    if not plain.isascii():
        return None
    for code_format in FORMATS.values():
        if len(plain) != code_format.length or not set(plain) <= set(code_format.alphabet):
            continue
        position, tag = divmod(_number(plain, code_format.alphabet), code_format.tag_space)
        if position // LOT_SIZE in code_format.lots:
            return Candidate(code_format, position, tag)
    return None


def _number(symbols: str, alphabet: str) -> int:
    value = 0
    for symbol in symbols:
        value = value * len(alphabet) + alphabet.index(symbol)
    return value


def is_right(candidate: Candidate, batch_key: bytes, generation: int) -> bool:
    """Whether the tag is the one of this voucher and generation; takes the same time for every wrong tag."""
    lot, index = divmod(candidate.position, LOT_SIZE)
    block = _key_stream(batch_key, candidate.format, lot, generation, index, index)
    (right,) = _tags(block, candidate.format)
    return hmac.compare_digest(right.to_bytes(8, "big"), candidate.tag.to_bytes(8, "big"))


def codes(batch_key: bytes, code_format: CodeFormat, lot: int, generation: int, first: int, last: int) -> Iterator[str]:
    """The codes of the indexes `first..last` of a lot, in order, grouped as people read them."""
    blocks = _key_stream(batch_key, code_format, lot, generation, first, last)
    symbols = _WRITE[code_format.name](lot * LOT_SIZE + first, blocks)
    return iter(_grouped(symbols, code_format))


def _key_stream(batch_key: bytes, code_format: CodeFormat, lot: int, generation: int, first: int, last: int) -> bytes:
    """One block an index."""
    context = f"kami/code/v1|{code_format.name}|{lot}|{generation}".encode()
    lot_key = hmac.digest(batch_key, context, hashlib.sha256)
    stream = Cipher(algorithms.AES256(lot_key), modes.CTR(first.to_bytes(_BLOCK, "big"))).encryptor()
    return stream.update(bytes(_BLOCK * (last - first + 1)))


def _tags(blocks: bytes, code_format: CodeFormat) -> list[int]:
    space = code_format.tag_space
    return [head % space for (head,) in struct.iter_unpack(">Q8x", blocks)]


# Codes are written all at once: no loop in Python goes over single symbols, which is what made writing them slow.


def _grouped(symbols: bytes, code_format: CodeFormat) -> list[str]:
    """The codes that `symbols` holds end to end, column by column put between the hyphens of an empty page."""
    length, group = code_format.length, code_format.group
    width = length + -(-length // group)
    page = bytearray((b"-" * (width - 1) + b" ") * (len(symbols) // length))
    for column in range(length):
        page[column + column // group :: width] = symbols[column::length]
    return page.decode("ascii").split()


def _digits20(base: int, blocks: bytes) -> bytes:
    tags = _tags(blocks, FORMATS["digits20"])
    numbers = chain.from_iterable(enumerate(tags, base))
    return ("%09d%011d" * len(tags) % tuple(numbers)).encode("ascii")


def _crockford16(base: int, blocks: bytes) -> bytes:
    """One integer with a lane of 128 bits a code: as wide as a block, and as 16 symbols of a byte each.

    Each lane holds `position ‖ tag` (80 bits). Four times the lanes are halved and the upper half of what a lane holds
    is shifted into the upper half of the lane, until every byte holds the 5 bits of one symbol.
    """
    count = len(blocks) // _BLOCK
    tags = int.from_bytes(blocks, "big") >> 64 & _lanes(FORMATS["crockford16"].tag_space - 1, 128, count)
    numbers = (base * _lanes(1, 128, count) + _indexes(count)) << 43 | tags
    for lane in (128, 64, 32, 16):
        held = lane * 5 // 16
        lower = numbers & _lanes((1 << held) - 1, lane, count * 128 // lane)
        numbers = lower | (numbers ^ lower) << (lane // 2 - held)
    return numbers.to_bytes(len(blocks), "big").translate(_SYMBOLS)


_SYMBOLS = bytes.maketrans(bytes(range(32)), CROCKFORD.encode("ascii"))


@lru_cache(maxsize=8)
def _lanes(value: int, lane: int, count: int) -> int:
    """The same value in `count` lanes of `lane` bits."""
    return int.from_bytes(value.to_bytes(lane // 8, "big") * count, "big")


@lru_cache(maxsize=2)
def _indexes(count: int) -> int:
    """0, 1, 2, … in lanes of 128 bits, the first in the uppermost."""
    return int.from_bytes(b"".join(index.to_bytes(_BLOCK, "big") for index in range(count)), "big")


_WRITE = {"crockford16": _crockford16, "digits20": _digits20}
"""Format → how the symbols of consecutive codes are written, end to end, from the first position and the key stream."""
