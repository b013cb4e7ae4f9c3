"""Code formats (卡密格式) as data: what a code and its serial look like, and which lots they name.

A new format is a row of `FORMATS` and lots that no other row holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

LOT_SIZE = 10_000
LOT_NUMBER_MAX = 9_999_999


@dataclass(frozen=True, slots=True)
class CodeFormat:
    """`length` symbols of `alphabet`, shown in groups of `group` (0: in one piece), after a `prefix` if it has one.

    `lots` are the lot numbers that its locators can name, counted from the lot `base`; `tag_space` is the number of
    tags, so that one guess hits an existing voucher with odds 1 / tag_space; 0 where codes are not computed but kept
    (`domain/imported.py`). Formats of one length that share an alphabet share their base too, so that no locator is in
    both. `serial_digits` counts the check digit; `prefix_max` is how long a prefix may be.
    """

    name: str
    alphabet: str
    length: int
    group: int
    lots: range
    tag_space: int
    base: int = 0
    serial_digits: int = 12
    prefix_max: int = 0
    prefix: str = ""

    @property
    def capacity(self) -> int:
        """How many vouchers the format can ever address."""
        return len(self.lots) * LOT_SIZE

    @property
    def derived(self) -> bool:
        """Whether its codes are computed from their place, and can be read back from them."""
        return self.tag_space > 0

    @property
    def odds(self) -> float:
        """The odds that one guess at an existing locator is right; 0 where a code has none."""
        return 1 / self.tag_space if self.derived else 0.0

    def styled(self, prefix: str, group: int | None) -> CodeFormat:
        """The format as a campaign wants it printed; `group` None leaves the groups as they are."""
        return replace(self, prefix=prefix, group=self.group if group is None else group)


IMPORTED = "imported"
"""The format of stock that was bought elsewhere, whose codes look as they may."""
DIGITS = "0123456789"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Base 32 after Douglas Crockford: no I, L, O, U."""

FORMATS: dict[str, CodeFormat] = {
    f.name: f
    for f in (
        CodeFormat("crockford16", CROCKFORD, 16, 4, range(100_000, 9_000_000), 2**43, prefix_max=8),
        CodeFormat("digits20", DIGITS, 20, 4, range(100_000), 10**11),
        CodeFormat(IMPORTED, "", 0, 0, range(9_000_000, 9_800_000), 0),
        CodeFormat("unicom19", DIGITS, 19, 4, range(9_900_000, 10_000_000), 10**10, 9_900_000, 15),
        CodeFormat("mobile18", DIGITS, 18, 3, range(9_800_000, 9_850_000), 10**9, 9_800_000, 17),
        CodeFormat("telecom18", DIGITS, 18, 3, range(9_850_000, 9_900_000), 10**9, 9_800_000, 19),
    )
}
"""Lot numbers of different formats do not meet, so that a lot's number tells its format."""
DERIVED = [f for f in FORMATS.values() if f.derived]
SERIAL_LENGTHS = sorted({f.serial_digits for f in FORMATS.values()})


def format_of(lot: int) -> CodeFormat | None:
    """The format that a lot's number tells, or None where no format has it."""
    for code_format in FORMATS.values():
        if lot in code_format.lots:
            return code_format
    return None
