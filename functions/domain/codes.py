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
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from functions.domain import lanes
from functions.domain.formats import FORMATS, LOT_SIZE, CodeFormat

CODE_LENGTH_MAX = 64
"""Longer input is no code; it is not even looked at."""
_BLOCK, _TAG_BYTES = 16, 8


_FORGIVEN = str.maketrans("OILoil", "011011", " -\u2010\u2011\u2012\u2013\u2014_")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a text may mean under one format."""

    format: CodeFormat
    position: int
    tag: int
    prefix: str = ""


def parse(text: str) -> Candidate | None:
    """The locator and the tag of a code as a person typed it, or None where it is no code of any format."""
    if len(text) > CODE_LENGTH_MAX:
        return None
    plain = unicodedata.normalize("NFKC", text).translate(_FORGIVEN)  # full-width digits and letters count as plain
    if not plain.isascii():
        return None
    plain = plain.upper()
    for code_format in FORMATS.values():
        if not code_format.derived:
            continue
        prefix, symbols = plain[: -code_format.length], plain[-code_format.length :]
        if len(symbols) < code_format.length or not _may_be_prefix(prefix, code_format):
            continue
        if not set(plain) <= set(code_format.alphabet):
            continue
        locator, tag = divmod(_number(symbols, code_format.alphabet), code_format.tag_space)
        position = code_format.base * LOT_SIZE + locator
        if position // LOT_SIZE in code_format.lots:
            return Candidate(code_format, position, tag, prefix)
    return None


def _may_be_prefix(text: str, code_format: CodeFormat) -> bool:
    """A prefix begins with a letter, so that no code of digits only is taken for one with a prefix."""
    return not text or (len(text) <= code_format.prefix_max and not text[0].isdigit())


def _number(symbols: str, alphabet: str) -> int:
    value = 0
    for symbol in symbols:
        value = value * len(alphabet) + alphabet.index(symbol)
    return value


def is_right(candidate: Candidate, batch_key: bytes, generation: int) -> bool:
    """Whether the tag is the one of this voucher and generation; takes the same time for every wrong tag."""
    lot, index = divmod(candidate.position, LOT_SIZE)
    block = _key_stream(batch_key, candidate.format, lot, generation, index, 1)
    right = int.from_bytes(block[:_TAG_BYTES], "big") % candidate.format.tag_space
    return hmac.compare_digest(right.to_bytes(_TAG_BYTES, "big"), candidate.tag.to_bytes(_TAG_BYTES, "big"))


def codes(batch_key: bytes, code_format: CodeFormat, lot: int, generation: int, first: int, last: int) -> Iterator[str]:
    """The codes of the indexes `first..last` of a lot, in order, grouped as people read them.

    All are written at once, by arithmetic on lanes and then column by column, for a loop over single symbols is slow.
    What does not fit a lane's digits are symbols of the lot number, which all of them share.
    """
    count, space, radix = last - first + 1, code_format.tag_space, len(code_format.alphabet)
    blocks = int.from_bytes(_key_stream(batch_key, code_format, lot, generation, first, count), "big")
    heads = blocks >> 8 * (_BLOCK - _TAG_BYTES) & lanes.repeated(256**_TAG_BYTES - 1, lanes.WIDTH, count)
    tags = heads - lanes.quotients(heads, space, 256**_TAG_BYTES, lanes.WIDTH, count) * space
    start = ((lot - code_format.base) * LOT_SIZE + first) * space
    locators = start % radix**lanes.DIGITS * lanes.repeated(1, lanes.WIDTH, count) + lanes.ascending(space, count)
    digits = lanes.digits(locators + tags, radix, count)
    return iter(_page(_spelled(start, code_format), digits.translate(_symbols(code_format.alphabet)), count))


def _key_stream(batch_key: bytes, code_format: CodeFormat, lot: int, generation: int, first: int, count: int) -> bytes:
    """`count` blocks from the index `first` on."""
    context = f"kami/code/v1|{code_format.name}|{lot}|{generation}".encode()
    lot_key = hmac.digest(batch_key, context, hashlib.sha256)
    stream = Cipher(algorithms.AES256(lot_key), modes.CTR(first.to_bytes(_BLOCK, "big"))).encryptor()
    return stream.update(bytes(_BLOCK * count))


@cache
def _symbols(alphabet: str) -> bytes:
    return bytes.maketrans(bytes(range(len(alphabet))), alphabet.encode())


def _spelled(number: int, code_format: CodeFormat) -> str:
    alphabet, length, group = code_format.alphabet, code_format.length, code_format.group or code_format.length
    symbols = "".join(alphabet[number // len(alphabet) ** place % len(alphabet)] for place in reversed(range(length)))
    groups = [symbols[start : start + group] for start in range(0, length, group)]
    if code_format.prefix:
        groups.insert(0, code_format.prefix)
    return ("-" if code_format.group else "").join(groups)


def _page(model: str, symbols: bytes, count: int) -> list[str]:
    """`count` lines like the model, their last symbols taken from `symbols`, which holds `DIGITS` for each line."""
    columns = [at for at, symbol in enumerate(model) if symbol != "-"][-lanes.DIGITS :]
    page = bytearray(f"{model} ".encode() * count)
    for back, column in enumerate(reversed(columns), 1):
        page[column :: len(model) + 1] = symbols[-back % lanes.DIGITS :: lanes.DIGITS]
    return page.decode().split()
