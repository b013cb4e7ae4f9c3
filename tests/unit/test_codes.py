"""Codes: the fast writing of whole lots against the plain definition, and reading back what people type."""

from __future__ import annotations

import hashlib
import hmac
from textwrap import wrap

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import example, given
from hypothesis import strategies as st

from functions.domain.codes import CODE_LENGTH_MAX, codes, is_right, parse
from functions.domain.formats import DERIVED, FORMATS, LOT_SIZE, CodeFormat
from functions.generate.models import GROUP_MAX, PREFIX

KNOWN_KEY = bytes(range(32))
SIZE_MAX = 300

keys = st.binary(min_size=32, max_size=32)
formats = st.sampled_from(DERIVED)
generations = st.integers(1, 1_000)
indexes = st.integers(0, LOT_SIZE - 1)


@st.composite
def places(draw: st.DrawFn) -> tuple[CodeFormat, int]:
    """A format, in a style that a campaign may choose, and one of its lots, often the first or the last."""
    code_format = draw(formats)
    if draw(st.booleans()):
        prefixes = st.from_regex(PREFIX, fullmatch=True) if code_format.prefix_max else st.just("")
        code_format = code_format.styled(draw(prefixes), draw(st.none() | st.integers(0, GROUP_MAX)))
    ends = st.sampled_from([code_format.lots[0], code_format.lots[-1]])
    return code_format, draw(ends | st.sampled_from(code_format.lots))


def plainly(key: bytes, code_format: CodeFormat, lot: int, generation: int, index: int) -> str:
    """One code by the definition, symbol by symbol."""
    context = f"kami/code/v1|{code_format.name}|{lot}|{generation}".encode()
    lot_key = hmac.new(key, context, hashlib.sha256).digest()
    block = Cipher(algorithms.AES256(lot_key), modes.ECB()).encryptor().update(index.to_bytes(16, "big"))
    tag = int.from_bytes(block[:8], "big") % code_format.tag_space
    number = ((lot - code_format.base) * LOT_SIZE + index) * code_format.tag_space + tag
    symbols = ""
    for _ in range(code_format.length):
        number, digit = divmod(number, len(code_format.alphabet))
        symbols = code_format.alphabet[digit] + symbols
    assert number == 0, "the code is too short for its number"
    if not code_format.group:
        return code_format.prefix + symbols
    return "-".join(filter(None, [code_format.prefix, *wrap(symbols, code_format.group)]))


def one(key: bytes, code_format: CodeFormat, lot: int, generation: int, index: int) -> str:
    (code,) = codes(key, code_format, lot, generation, index, index)
    return code


@given(keys, places(), generations, indexes, st.integers(1, SIZE_MAX))
@example(KNOWN_KEY, (FORMATS["crockford16"], 8_999_999), 1, LOT_SIZE - 1, 1)
@example(bytes(32), (FORMATS["digits20"], 0), 1, 0, 1)
@example(bytes(32), (FORMATS["mobile18"], 9_849_999), 1, LOT_SIZE - 1, 1)
@example(bytes(32), (FORMATS["telecom18"], 9_850_000), 1, 0, 1)
def test_a_range_of_codes_is_what_the_definition_gives_one_by_one(
    key: bytes, place: tuple[CodeFormat, int], generation: int, first: int, size: int
) -> None:
    last = min(first + size, LOT_SIZE) - 1
    expected = [plainly(key, *place, generation, index) for index in range(first, last + 1)]
    assert list(codes(key, *place, generation, first, last)) == expected


@pytest.mark.parametrize("code_format", DERIVED, ids=lambda f: f.name)
def test_a_whole_lot_has_a_code_of_its_own_for_every_index(code_format: CodeFormat) -> None:
    lot = code_format.lots[-1]
    whole = list(codes(KNOWN_KEY, code_format, lot, 1, 0, LOT_SIZE - 1))
    assert [whole[index] for index in (0, 1, 4_321, LOT_SIZE - 1)] == [
        plainly(KNOWN_KEY, code_format, lot, 1, index) for index in (0, 1, 4_321, LOT_SIZE - 1)
    ]
    assert len(set(whole)) == LOT_SIZE
    read = [parse(code) for code in whole]
    assert [c.position for c in read if c is not None] == list(range(lot * LOT_SIZE, (lot + 1) * LOT_SIZE))


@pytest.mark.parametrize(
    ("name", "lot", "generation", "index", "code"),
    [
        ("crockford16", 100_000, 1, 0, "07ED-CM01-DAX5-VJPB"),
        ("crockford16", 8_999_999, 1, 9_999, "MYHN-G7ZV-M483-1WB3"),
        ("crockford16", 112_345, 7, 4_321, "08BV-8TWA-DCPQ-RXAV"),
        ("digits20", 0, 1, 0, "0000-0000-0017-4272-6799"),
        ("digits20", 99_999, 1, 9_999, "9999-9999-9390-7781-9769"),
        ("digits20", 12_345, 7, 4_321, "1234-5432-1744-5184-6841"),
        ("unicom19", 9_900_000, 1, 0, "0000-0000-0393-0230-607"),
        ("unicom19", 9_999_999, 1, 9_999, "9999-9999-9734-7949-054"),
        ("mobile18", 9_800_000, 1, 0, "000-000-000-508-697-287"),
        ("mobile18", 9_849_999, 1, 9_999, "499-999-999-245-249-552"),
        ("telecom18", 9_850_000, 1, 0, "500-000-000-742-537-314"),
        ("telecom18", 9_899_999, 1, 9_999, "999-999-999-546-623-900"),
    ],
)
def test_codes_that_were_printed_stay_what_they_are(
    name: str, lot: int, generation: int, index: int, code: str
) -> None:
    assert one(KNOWN_KEY, FORMATS[name], lot, generation, index) == code


@given(keys, places(), generations, indexes)
def test_a_code_is_read_back_and_is_right_for_its_own_key_and_generation_only(
    key: bytes, place: tuple[CodeFormat, int], generation: int, index: int
) -> None:
    code_format, lot = place
    candidate = parse(one(key, code_format, lot, generation, index))
    assert candidate is not None
    assert (candidate.format.name, candidate.prefix) == (code_format.name, code_format.prefix)
    assert candidate.position == lot * LOT_SIZE + index
    assert is_right(candidate, key, generation)
    assert not is_right(candidate, key, generation + 1)
    assert not is_right(candidate, bytes(byte ^ 1 for byte in key), generation)


@given(keys, places(), generations, indexes, st.data())
def test_one_wrong_symbol_is_another_code_or_none(
    key: bytes, place: tuple[CodeFormat, int], generation: int, index: int, data: st.DataObject
) -> None:
    code_format, lot = place
    plain = one(key, code_format, lot, generation, index).replace("-", "")
    at = data.draw(st.integers(0, len(plain) - 1))
    symbol = data.draw(st.sampled_from(code_format.alphabet).filter(lambda s: s != plain[at]))
    assert parse(plain[:at] + symbol + plain[at + 1 :]) != parse(plain)


@given(keys, st.sampled_from(FORMATS["crockford16"].lots), st.sampled_from(["", "GZ10", "X"]), indexes, st.data())
def test_what_people_mistype_is_forgiven(key: bytes, lot: int, prefix: str, index: int, data: st.DataObject) -> None:
    code = one(key, FORMATS["crockford16"].styled(prefix, None), lot, 1, index)
    looks_like = {"0": "0Oo", "1": "1IiLl", "-": ["-", "", " ", "\u2013", "\u2014", "_"]}
    typed = "".join(data.draw(st.sampled_from(looks_like.get(s, [s, s.lower()]))) for s in code)
    assert parse(typed) == parse(code)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "07ED-CM01-DAX5-VJP",  # a symbol short
        "07ED-CM01-DAX5-VJPBB",  # a symbol long
        "07ED-CM01-DAX5-VJPU",  # U is no symbol
        "07ED-CM01-DAX5-VJP\u0661",  # a digit, but not an ASCII one
        "0000-0000-0000-0000",  # lot 0 has no codes of this format
        "-" * (CODE_LENGTH_MAX - 15) + "07EDCM01DAX5VJPB",  # longer than anything worth reading
        "0000-0000-0017-4272-679A",  # a letter on a keypad
        "9GZ-07ED-CM01-DAX5-VJPB",  # a prefix begins with a letter
        "GZ1234567-07ED-CM01-DAX5-VJPB",  # and has eight symbols at most
        "UZ-07ED-CM01-DAX5-VJPB",
        "GZ-0000-0000-0017-4272-6799",  # digits take none
    ],
)
def test_what_is_no_code_is_nothing(text: str) -> None:
    assert parse(text) is None


@given(st.text(max_size=2 * CODE_LENGTH_MAX))
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse(text)
