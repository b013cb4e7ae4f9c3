"""What vouchers were sold for."""

from __future__ import annotations

from typing import NamedTuple


class Sale(NamedTuple):
    """What one voucher of an activation was sold for, and where."""

    amount_minor: int
    currency: str
    shop: str
