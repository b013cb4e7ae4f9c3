"""Transfers (转赠): a holder offers a voucher to whoever has the offer's token; it goes over once, or stays.

An offer lies in its voucher's own item, so the one conditional write of that item excludes two acceptances, a return
and a redemption from one another. While it is open the voucher cannot be redeemed, so that what is accepted is what was
offered. With the acceptance the voucher gets another code (`Voucher.code_version`), so that what the giver knows of it
is a wrong code from then on.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import replace

from functions.domain.errors import Refusal
from functions.domain.lot import Lot
from functions.domain.voucher import DAY_S, Standing, Transfer, TransferEnd, Voucher
from functions.domain.wallet import held

OPEN_S = 3 * DAY_S
"""So long an offer is open, unless its voucher ends before."""
TRANSFERS_PER_VOUCHER_MAX = 10
"""All are remembered, so that no repeat of an old request opens an offer again."""
_TOKEN_BYTES = 24


def token_of(batch_key: bytes, id: str) -> str:
    """An offer's token: 192 bits that only who has the batch's key can compute, so that a repeat can be told it again.

    HMAC-SHA-256, truncated; the prefix keeps it apart from all else that the key is used for.
    """
    digest = hmac.digest(batch_key, b"kami/transfer/v1|" + id.encode(), "sha256")
    return urlsafe_b64encode(digest[:_TOKEN_BYTES]).decode()


def hashed(token: str) -> bytes:
    """What is kept of a token; it has 192 random bits and needs no salt."""
    return hashlib.sha256(token.encode()).digest()


def is_token(transfer: Transfer, token: str) -> bool:
    """Whether this is the offer's token, in constant time."""
    return hmac.compare_digest(hashed(token), transfer.sha256)


def ends(at: Standing, now: int) -> int:
    """When an offer that is made now ends by itself."""
    return now + OPEN_S if at.valid_until is None else min(now + OPEN_S, at.valid_until)


def with_offer(at: Standing, transfer: Transfer, lot: Lot) -> Voucher:
    """The voucher, offered. Raises Refusal as a redemption would, `transfer_not_possible`, `transfer_limit_reached`."""
    at.refuse_unless_redeemable()
    if at.holds:
        raise Refusal("amount_held", "Wait until the holds have ended.", extra={"available_minor": at.available_minor})
    if not lot.rules.format.derived:
        raise Refusal("transfer_not_possible")
    if len(at.voucher.transfers) >= TRANSFERS_PER_VOUCHER_MAX:
        raise Refusal("transfer_limit_reached", f"It was offered {TRANSFERS_PER_VOUCHER_MAX} times.")
    return replace(at.voucher, transfers={**at.voucher.transfers, transfer.id: transfer})


def refuse_unless_open(transfer: Transfer, now: int) -> None:
    """Raise Refusal `transfer_over`, which says how it ended."""
    if transfer.end is not None:
        raise Refusal("transfer_over", "It was accepted." if transfer.end.accepted else "It was returned.")
    if now >= transfer.expires_at:
        raise Refusal("transfer_over", "Its time was over before anybody accepted it.")


def with_end(voucher: Voucher, transfer: Transfer, end: TransferEnd) -> Voucher:
    """The voucher with an offer ended; where it was returned, that is all."""
    return replace(voucher, transfers={**voucher.transfers, transfer.id: replace(transfer, end=end)})


def handed_over(at: Standing, receiver: str, tenant: str) -> Voucher:
    """The voucher as the receiver's, `at` being where it stands with the offer accepted.

    Raises Refusal where it cannot be redeemed any more, as a redemption would.
    """
    at.refuse_unless_redeemable()
    return held(at, receiver, tenant)
