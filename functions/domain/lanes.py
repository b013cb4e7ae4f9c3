"""Arithmetic on thousands of small numbers at once, which Python is slow at one by one.

The numbers lie side by side in one big integer, each in a lane of `width` bits, the first one uppermost. Adding to
that integer, multiplying or masking it does the same to every number, as long as none outgrows its lane (L. Lamport,
"Multiple Byte Processing with Full-Word Instructions", CACM 18/8, 1975).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count as counting

WIDTH = 128
"""Of a lane as it comes in: a block of AES, or the digits of one number, a byte each."""
DIGITS = WIDTH // 8
_CACHED_MAX = 32


@lru_cache(maxsize=_CACHED_MAX)
def repeated(value: int, width: int, count: int) -> int:
    """The same value in `count` lanes."""
    return int.from_bytes(value.to_bytes(width // 8, "big") * count, "big")


@lru_cache(maxsize=4)
def ascending(step: int, count: int) -> int:
    """0, step, 2 * step, … in lanes of `WIDTH`."""
    return int.from_bytes(b"".join((index * step).to_bytes(DIGITS, "big") for index in range(count)), "big")


def quotients(numbers: int, divisor: int, bound: int, width: int, count: int) -> int:
    """Every number // divisor, where all of them are below `bound`."""
    twos = (divisor & -divisor).bit_length() - 1
    divisor, largest = divisor >> twos, bound - 1 >> twos
    numbers = numbers >> twos & repeated((1 << largest.bit_length()) - 1, width, count)
    if divisor == 1:
        return numbers
    factor, shift = _reciprocal(divisor, largest)
    assert largest * factor < 1 << width, "the product outgrows its lane"
    return numbers * factor >> shift & repeated((1 << (largest // divisor).bit_length()) - 1, width, count)


@lru_cache(maxsize=_CACHED_MAX)
def _reciprocal(divisor: int, largest: int) -> tuple[int, int]:
    """(f, s) such that n // divisor == n * f >> s for all n <= largest.

    With f = ⌈2^s / divisor⌉ and e = f * divisor - 2^s, n * f / 2^s exceeds n / divisor by n * e / 2^s of 1 / divisor;
    that carries it past no integer where n * e < 2^s.
    """
    shift = next(s for s in counting() if -(1 << s) % divisor * largest < 1 << s)
    return -(-(1 << shift) // divisor), shift


def digits(numbers: int, radix: int, count: int) -> bytes:
    """The `DIGITS` digits of every number below radix^DIGITS, end to end, a byte each.

    Each lane is halved: what it holds is divided, and the quotient goes to its upper half. So are the halves in turn,
    until a lane is a byte and holds a digit. That goes for radices up to 16 and for those with powers of two in them,
    as 20 and 32 (`quotients` refuses others).
    """
    width = WIDTH
    while width > 8:
        divisor = radix ** (width // 16)
        upper = quotients(numbers, divisor, divisor**2, width, count * WIDTH // width)
        numbers += upper * ((1 << width // 2) - divisor)
        width //= 2
    return numbers.to_bytes(count * DIGITS, "big")
