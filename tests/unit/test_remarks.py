"""What is hidden in a remark, and what stays."""

from __future__ import annotations

import pytest

from functions.domain.codes import codes
from functions.domain.formats import FORMATS
from functions.domain.remarks import HIDDEN, without_secrets

CODE = "07ED-CM07-VHGX-MV74"


@pytest.mark.parametrize("secret", [
    "+8613812345678", "+86 138 1234 5678", "+1 415-555-2671", "13812345678", "138-1234-5678", "86 13812345678",
    CODE, CODE.lower(), CODE.replace("-", ""),
])  # fmt: skip
def test_phone_numbers_and_codes_are_hidden(secret: str) -> None:
    for text in ("{}", "for {}", "客户{}丢失", "{}.", "lost:{},{}"):
        assert without_secrets(text.format(secret, secret)) == text.format(HIDDEN, HIDDEN)


@pytest.mark.parametrize("text", [
    "Print proof 2026-11", "2026-11-22 08:00", "serial 010000000003", "order 20261122000017",
    "换发 010000000003", "1380013",
])  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("name", [name for name, each in FORMATS.items() if each.derived])
def test_a_code_of_each_format_is_hidden(name: str) -> None:
    code_format = FORMATS[name]
    for code in codes(b"k" * 32, code_format, code_format.lots.start, 1, 0, 2):
        assert without_secrets(f"lost {code}") == f"lost {HIDDEN}"
