"""Serial numbers (卡号): lot (7 digits) + index (4 digits) + a check digit by Damm's algorithm.

H. M. Damm, "Total anti-symmetrische Quasigruppen" (2004): the table is a totally anti-symmetric quasigroup of
order 10, so every single wrong digit and every swap of two neighbours is found.
"""

from __future__ import annotations

LOT_SIZE = 10_000
LOT_NUMBER_MAX = 9_999_999
SERIAL_DIGITS = 12

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
    """The serial of a position: lot number × 10,000 + index."""
    digits = f"{position:011d}"
    return digits + _check(digits)


def position_of(serial: str) -> int | None:
    """The position a serial names, or None where it is no serial (length, digits, check digit)."""
    if len(serial) != SERIAL_DIGITS or not (serial.isascii() and serial.isdigit()) or _check(serial) != "0":
        return None
    return int(serial[:-1])
