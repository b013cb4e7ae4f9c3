"""A file of bought codes (CSV) as a seller or a spreadsheet wrote it: line by line, and never whole in memory.

UTF-8, with a byte order mark or without; lines end as they like; blank ones do not count. The first may be a header,
which says which column is the code and which the seller's reference; without one they are the first and the second.
What cannot be a code is said line by line, and what is no such file at all is said before anything is made of it.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

LINES_MAX: Final = 1_000_000
"""Lines with something in them, the header not counted."""
BLANK_LINES_MAX: Final = LINES_MAX
FILE_BYTES_MAX: Final = 128 * 2**20
LINE_BYTES_MAX: Final = 1_024
CODE_LENGTH_MAX: Final = 128
REFERENCE_LENGTH_MAX: Final = 64
SEPARATORS: Final = ",;\t"

CODE_NAMES: Final = frozenset(
    {"code", "codes", "voucher code", "card code", "gift code", "pin", "password", "secret", "key",
     "卡密", "密码", "券码", "兑换码", "激活码", "卡密码"}
)  # fmt: skip
REFERENCE_NAMES: Final = frozenset(
    {"reference", "ref", "serial", "serial number", "serial no", "card number", "card no", "id",
     "卡号", "序列号", "参考号", "编号"}
)  # fmt: skip
"""Names of columns, as they are in lower case and with spaces for underlines."""

FAULTS: Final = {
    "not_utf_8": "The file is not UTF-8 text from this line on.",
    "too_many_lines": f"The file has more than {LINES_MAX:,} lines.",
    "no_lines": "The file has no lines with codes.",
    "no_code_column": "The header names no column for the code.",
}
"""Why a file is not read at all."""
PROBLEMS: Final = {
    "too_long": f"The line is longer than {LINE_BYTES_MAX} bytes, or its code than {CODE_LENGTH_MAX} characters.",
    "no_code": "There is no code in its column: no letter and no digit.",
    "columns": "There are more columns than code and reference, and no header that says which is which.",
    "quotes": "A quotation mark is not closed.",
    "characters": "The code has characters that cannot be printed.",
    "separators": "The code has commas, semicolons or tabs in it.",
    "rounded": "A spreadsheet has rounded the number; its last digits are lost.",
    "reference": f"The reference is longer than {REFERENCE_LENGTH_MAX} characters, or cannot be printed.",
    "header": "It looks like a header, but names no column `code`.",
}
"""Why a line is not taken."""

_BOM = b"\xef\xbb\xbf"
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad"))
_AS_TEXT = re.compile(r'="(.*)"')
_ROUNDED = re.compile(r"[0-9]([.,][0-9]+)?[Ee]\+[0-9]+")


class Raw(NamedTuple):
    """A line as it lies in the file, without its end; None if it is too long. `end` is where the next one begins."""

    number: int
    content: bytes | None
    end: int


class Layout(NamedTuple):
    """How a file is to be read: its first line with something in it, and which columns are what."""

    first: int
    header: bool
    separator: str
    code: int = 0
    reference: int | None = 1


class Line(NamedTuple):
    """A line that is not blank: a code with what the seller calls it, or why there is none."""

    number: int
    code: str
    reference: str | None = None
    problem: str | None = None


class Survey(NamedTuple):
    """What a whole file comes to: lines with something in them, and how many of them are codes."""

    layout: Layout
    lines: int
    codes: int


class Unreadable(Exception):  # noqa: N818 - the file is at fault, not the program
    """A file that is not read at all: `fault` is a key of `FAULTS`, `line` where it was found."""

    def __init__(self, fault: str, line: int | None = None) -> None:
        super().__init__(fault)
        self.fault, self.line = fault, line


def split(pieces: Iterable[bytes], number: int = 0, start: int = 0) -> Iterator[Raw]:
    """The lines of a file from `start` (bytes) on, after line `number`; at most one piece and one line are held."""
    rest, is_long, at = b"", False, start
    for piece in pieces:
        ended = (rest + piece).splitlines(keepends=True)
        # what ends with a carriage return may have its line feed in the next piece
        rest = ended.pop() if ended and not ended[-1].endswith(b"\n") else b""
        for line in ended:
            number, at = number + 1, at + len(line)
            yield Raw(number, None if is_long else _content(line), at)
            is_long = False
        if len(rest) > LINE_BYTES_MAX + 2:
            is_long, at, rest = True, at + len(rest) - 1, rest[-1:]
    if rest:
        yield Raw(number + 1, None if is_long else _content(rest), at + len(rest))


def _content(line: bytes) -> bytes | None:
    content = line.rstrip(b"\r\n")
    return content if len(content) <= LINE_BYTES_MAX else None


def survey(raws: Iterable[Raw]) -> Survey:
    """Read a whole file through. Raises Unreadable."""
    layout: Layout | None = None
    lines = codes = 0
    for raw in raws:
        if raw.number > lines + BLANK_LINES_MAX:
            raise Unreadable("too_many_lines", raw.number)
        if layout is None and not _is_blank(raw):
            layout = _layout(raw)
        line = read(raw, layout) if layout is not None else None
        if line is None:
            continue
        lines, codes = lines + 1, codes + (line.problem is None)
        if lines > LINES_MAX:
            raise Unreadable("too_many_lines", raw.number)
    if layout is None or lines == 0:
        raise Unreadable("no_lines")
    return Survey(layout, lines, codes)


def read(raw: Raw, layout: Layout) -> Line | None:
    """What a line says; None for a blank one and for the header. Raises Unreadable where it is not UTF-8."""
    if _is_blank(raw) or (layout.header and raw.number == layout.first):
        return None
    if raw.content is None:
        return Line(raw.number, "", problem="too_long")
    cells = _cells(_text(raw), layout.separator)
    if cells is None:
        return Line(raw.number, "", problem="quotes")
    if not layout.header and len(cells) > 2 and any(cells[2:]):
        return Line(raw.number, "", problem="columns")
    code = _plain(cells[layout.code]) if layout.code < len(cells) else ""
    if not layout.header and raw.number == layout.first and not any(symbol.isdigit() for symbol in code):
        return Line(raw.number, "", problem="header")
    has_reference = layout.reference is not None and layout.reference < len(cells)
    reference = _plain(cells[layout.reference or 0]) if has_reference else ""
    problem = _problem(code, reference)
    return Line(raw.number, "" if problem else code, None if problem else reference or None, problem)


def _is_blank(raw: Raw) -> bool:
    return raw.content is not None and not raw.content.removeprefix(_BOM).strip(b" \t,;")


def _text(raw: Raw) -> str:
    assert raw.content is not None
    content = raw.content.removeprefix(_BOM) if raw.number == 1 else raw.content
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("not_utf_8", raw.number) from None
    if "\0" in text:
        raise Unreadable("not_utf_8", raw.number)
    return text


def _layout(raw: Raw) -> Layout:
    if raw.content is None:
        return Layout(raw.number, header=False, separator=",")
    text = _text(raw)
    separator = next((symbol for symbol in SEPARATORS if symbol in text), ",")
    names = [_plain(cell).casefold().replace("_", " ") for cell in _cells(text, separator) or []]
    code = next((n for n, name in enumerate(names) if name in CODE_NAMES), None)
    reference = next((n for n, name in enumerate(names) if name in REFERENCE_NAMES), None)
    if code is not None:
        return Layout(raw.number, True, separator, code, reference)
    if reference is not None:
        raise Unreadable("no_code_column", raw.number)
    return Layout(raw.number, False, separator)


def _cells(text: str, separator: str) -> list[str] | None:
    if '"' not in text:
        return text.split(separator)
    try:
        (cells,) = csv.reader([text], delimiter=separator, strict=True)
    except csv.Error:
        return None
    return cells


def _plain(cell: str) -> str:
    """What is meant: full-width symbols as plain ones, nothing that is not seen, nothing around it."""
    if not cell.isascii():
        cell = unicodedata.normalize("NFKC", cell).translate(_INVISIBLE)
    cell = cell.strip()
    as_text = _AS_TEXT.fullmatch(cell)
    return as_text[1].strip() if as_text else cell


def _problem(code: str, reference: str) -> str | None:
    if not any(map(str.isalnum, code)):
        return "no_code"
    if len(code) > CODE_LENGTH_MAX:
        return "too_long"
    if not code.isprintable() or "\ufffd" in code:
        return "characters"
    if not set(SEPARATORS).isdisjoint(code):
        return "separators"
    if _ROUNDED.fullmatch(code):
        return "rounded"
    if len(reference) > REFERENCE_LENGTH_MAX or not reference.isprintable():
        return "reference"
    return None
