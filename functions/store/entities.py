"""The kinds of item that a redemption reads; whatever else the table holds is in `records` and beside its own store.

They are apart because functions that redeem and verify must not pay for all the others at their start.
"""

from __future__ import annotations

from functions.domain.lot import Lot
from functions.domain.voucher import Voucher
from functions.domain.wallet import place
from functions.store import keys
from functions.store.table import Entity

LOT: Entity[Lot] = Entity("lot", Lot, key=lambda lot: keys.lot(lot.number))


def _in_wallet(voucher: Voucher) -> keys.Key | None:
    found = place(voucher)
    return keys.held(*found, voucher.position) if found is not None else None


VOUCHER: Entity[Voucher] = Entity(
    "voucher",
    Voucher,
    key=lambda v: keys.voucher(v.position),
    index=lambda v: keys.touched(v.position),
    index2=_in_wallet,
)
