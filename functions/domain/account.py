"""Account numbers: which are phone numbers, and how they are shown."""

from __future__ import annotations

import re

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
"""ITU-T E.164, as it is written with its plus sign."""
BROADBAND = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{3,63}")
"""A broadband account; no phone number looks like it."""


def masked(number: str) -> str:
    """An account number with its middle hidden: `+8613812345678` → `+86138****5678`."""
    shown = 4 if len(number) >= 10 else 1
    head = len(number) - 8 if len(number) >= 10 else 1
    return f"{number[:head]}****{number[-shown:]}"
