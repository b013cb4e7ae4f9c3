"""Replace vouchers that somebody holds, one by one: the old one and its successor in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable

from functions.domain.campaign import Campaign
from functions.domain.draw import Draw
from functions.domain.errors import Refusal
from functions.domain.recovery import Recovery
from functions.domain.reissue import kept, replaced
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import Voucher, standing
from functions.store import draws, keys, table
from functions.store.entities import LOT, VOUCHER
from functions.store.pool import Barred
from functions.store.records import CAMPAIGN

KIND = "reissue"
Holds = Callable[[str | None], bool]


def replace_all(
    recovery: Recovery, items: dict[int, Voucher], holds: Holds, barred: Barred, now: int, until: float
) -> dict[int, str] | None:
    """Replace those of a lot's vouchers that are held; says why others are kept. None where time was too short.

    One that this recovery has replaced is neither replaced again nor kept: a run that broke off is gone on with.
    None is replaced by one that the recovery is about itself (`barred`).
    """
    found: dict[int, str] = {}
    for index, voucher in sorted(items.items()):
        if _is_done(recovery, voucher):
            continue
        if time.monotonic() > until:
            return None
        reason = _replaced(recovery, voucher, holds, barred, now)
        if reason is not None:
            found[index] = reason
    return found


def _is_done(recovery: Recovery, voucher: Voucher) -> bool:
    return voucher.reissue is not None and voucher.reissue.recovery == recovery.id


class _Kept(Exception):  # noqa: N818 - it is an outcome
    def __init__(self, reason: str | None) -> None:
        super().__init__(reason)
        self.reason = reason


def _replaced(recovery: Recovery, voucher: Voucher, holds: Holds, barred: Barred, now: int) -> str | None:
    """None once it is replaced, or why it is kept."""
    if voucher.holder is None:
        return kept_now(recovery, voucher.position, holds, now)[0] or "not_held"
    id = f"{recovery.id}.{voucher.position:011d}"
    wanted = Draw(id, KIND, voucher.campaign, 1, recovery.fingerprint, recovery.by, now)

    def along(taken: tuple[Voucher, ...]) -> tuple[tuple[Voucher, ...], list[Voucher]]:
        (fresh,) = taken
        reason, old, valid_until = kept_now(recovery, voucher.position, holds, now)
        if _is_done(recovery, old):  # by another runner
            raise _Kept(None)
        if reason is not None:
            raise _Kept(reason)
        ended, successor = replaced(recovery, old, valid_until, fresh)
        return (successor,), [ended]

    try:
        draws.take(wanted, _campaign(voucher.campaign), recovery.by, now, along=along, barred=barred)
    except _Kept as outcome:
        return outcome.reason
    except Refusal as refusal:
        if refusal.key != "quantity_exceeded":
            raise
        return kept_now(recovery, voucher.position, holds, now)[0] or "out_of_stock"
    return None


def kept_now(recovery: Recovery, position: int, holds: Holds, now: int) -> tuple[str | None, Voucher, int | None]:
    """Why a voucher is kept as it stands, if it is; the voucher, and its end of validity."""
    lot_key, voucher_key = keys.lot(position // LOT_SIZE), keys.voucher(position)
    items = table.get_many([lot_key, voucher_key])
    lot, item = LOT.load(items[lot_key]), VOUCHER.load(items[voucher_key])
    at = standing(lot, position % LOT_SIZE, item, now)
    assert at is not None, "only what was generated is touched"
    reason = kept(recovery, lot, position % LOT_SIZE, item, now) if holds(at.segment.channel) else "unknown"
    return reason, at.voucher, at.valid_until


def _campaign(id: str) -> Campaign:
    campaign = table.read(CAMPAIGN, keys.campaign(id))
    if campaign is None:
        raise LookupError("a voucher of no campaign")
    return campaign
