"""Remarks (备注): what people write for people, without what must not be kept: phone numbers and codes."""

from __future__ import annotations

import re

from functions.domain.codes import parse

HIDDEN = "****"
PHONE = re.compile(
    r"(?<![0-9])(?:\+[1-9][0-9]{0,2}(?:[ -]?[0-9]){6,12}|(?:86[ -]?)?1[3-9][0-9](?:[ -]?[0-9]{4}){2})(?![0-9])"
)
"""A number in the manner of E.164, or a mobile number of China as it is written at home."""
_CODE = re.compile(r"\b(?:\w{4}(?:-\w{2,4}){3,}|[0-9](?:[ -]?[0-9]){17,19}|\w{16,})\b", re.ASCII)


def without_secrets(text: str) -> str:
    """A remark in which each phone number and each code is hidden; serials stay.

    It goes into a record that nobody can alter for years, so what would have to be erased must not get there.
    """
    shown = PHONE.sub(HIDDEN, text)
    return _CODE.sub(lambda found: HIDDEN if parse(found[0]) is not None else found[0], shown)
