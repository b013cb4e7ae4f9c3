"""Serial numbers (卡号): lot + index (4 digits) + a check digit by Damm's algorithm.

A lot's number tells its code format, which says how many digits its serials have; zeros come first.

H. M. Damm, "Total anti-symmetrische Quasigruppen" (2004): the table is a totally anti-symmetric quasigroup of
order 10, so every single wrong digit and every swap of two neighbours is found.
"""

from __future__ import annotations

from functools import lru_cache

from functions.domain.formats import LOT_NUMBER_MAX, LOT_SIZE, format_of

__all__ = ["LOT_NUMBER_MAX", "LOT_SIZE", "parts_of", "position_of", "serial_of"]

_DIGITS_MAX = 40
"""Longer input is no serial; it is not even looked at."""

_INDEX_DIGITS = 4

_DAMM = (
    "0317598642",
    "7092154863",
    "4206871359",
    "1750983426",
    "6123045978",
    "3674209581",
    "5869720134",
    "8945362017",
    "9438617205",
    "2581436790",
)


def _check(digits: str) -> str:
    state = "0"
    for digit in digits:
        state = _DAMM[int(state)][int(digit)]
    return state


def serial_of(position: int) -> str:
    """The serial of a position: lot number × 10,000 + index. Raises ValueError where no format has the lot."""
    code_format = format_of(position // LOT_SIZE)
    if code_format is None:
        raise ValueError(f"no code format has lot {position // LOT_SIZE}")
    digits = f"{position:0{code_format.serial_digits - 1}d}"
    return digits + _check(digits)


def position_of(serial: str) -> int | None:
    """The position a serial names, or None where it is no serial (digits, check digit, length)."""
    if not (1 < len(serial) <= _DIGITS_MAX and serial.isascii() and serial.isdigit()) or _check(serial) != "0":
        return None
    position = int(serial[:-1])
    code_format = format_of(position // LOT_SIZE)
    return position if code_format is not None and code_format.serial_digits == len(serial) else None


def parts_of(lot: int) -> tuple[str, tuple[str, ...]]:
    """What all serials of a lot begin with, and by index how each ends: with the index and the check digit.

    The endings depend only on the state that the lot's digits leave the algorithm in, one of ten.
    """
    stem = serial_of(lot * LOT_SIZE)[: -_INDEX_DIGITS - 1]
    return stem, _endings(_check(stem))


@lru_cache(maxsize=10)
def _endings(state: str) -> tuple[str, ...]:
    found = [("", state)]
    for _ in range(_INDEX_DIGITS):
        found = [
            (digits + digit, after)
            for digits, before in found
            for digit, after in zip("0123456789", _DAMM[int(before)], strict=True)
        ]
    return tuple(digits + check for digits, check in found)
