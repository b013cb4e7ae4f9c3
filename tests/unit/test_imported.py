"""Imported codes: found again however they are written, encrypted so that they open in their own place only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import example, given
from hypothesis import strategies as st

from functions.domain.formats import FORMATS, LOT_SIZE
from functions.domain.imported import Imported, Safe, _nonce, blind_index

KEY = bytes(range(32))
LOTS = FORMATS["imported"].lots
codes = st.text(st.characters(codec="utf-8"), min_size=1, max_size=80)
positions = st.integers(LOTS.start * LOT_SIZE, LOTS.stop * LOT_SIZE - 1)
lines = st.integers(1, 2**32 - 1)


def kept(code: str, position: int, line: int, key: bytes = KEY) -> Imported:
    return Imported("", position, "bat_1", line, Safe(key).seal(code, position, line))


@given(codes, positions, lines)
def test_what_was_sealed_is_unsealed(code: str, position: int, line: int) -> None:
    assert Safe(KEY).unseal(kept(code, position, line)) == code


@given(codes, positions, lines, st.data())
def test_it_opens_in_its_own_place_under_its_own_key_and_unchanged_only(
    code: str, position: int, line: int, data: st.DataObject
) -> None:
    one = kept(code, position, line)
    at = data.draw(st.integers(0, len(one.ciphertext) - 1))
    changed = bytes(byte ^ (n == at) for n, byte in enumerate(one.ciphertext))
    others = [
        replace(one, position=data.draw(positions.filter(lambda other: other != position))),
        replace(one, line=data.draw(lines.filter(lambda other: other != line))),
        replace(one, ciphertext=changed),
    ]
    for other in others:
        with pytest.raises(InvalidTag):
            Safe(KEY).unseal(other)
    with pytest.raises(InvalidTag):
        Safe(KEY[::-1]).unseal(one)


@given(positions, lines, positions, lines)
@example(LOTS.start * LOT_SIZE, 256, LOTS.start * LOT_SIZE, 1)
def test_no_two_places_share_a_nonce(position: int, line: int, other_position: int, other_line: int) -> None:
    same = (position, line) == (other_position, other_line)
    assert (_nonce(position, line) == _nonce(other_position, other_line)) == same
    assert len(_nonce(position, line)) == 12


@pytest.mark.parametrize(
    "text", ["abcd-efgh", "ABCDEFGH", " abcd efgh ", "ＡＢＣＤ－ＥＦＧＨ", "ABCD\u2013EFGH", "ab_cd_ef_gh"]
)
def test_a_code_is_found_however_it_is_grouped_and_in_any_case(text: str) -> None:
    assert blind_index(KEY, text) == blind_index(KEY, "ABCD-EFGH")


@given(st.text("ABCDEFGHJKMNPQRSTVWXYZ0123456789", min_size=1), st.text("ABCDEFGHJKMNPQRSTVWXYZ0123456789", min_size=1))
def test_other_codes_and_other_keys_have_other_indexes(code: str, other: str) -> None:
    assert (blind_index(KEY, code) == blind_index(KEY, other)) == (code == other)
    assert blind_index(KEY, code) != blind_index(KEY[::-1], code)
