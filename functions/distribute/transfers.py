"""Give a voucher to another customer: offered by its holder, then accepted by whoever has the token, or returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.ids import derived, fingerprint, refuse_reuse
from functions.domain.lot import Lot
from functions.domain.serials import LOT_SIZE, position_of
from functions.domain.transfer import (
    ends,
    handed_over,
    hashed,
    is_token,
    refuse_unless_open,
    token_of,
    with_end,
    with_offer,
)
from functions.domain.voucher import Transfer, TransferEnd, Voucher, code_version, standing
from functions.domain.wallet import is_in
from functions.store import guards, keys, table, vault
from functions.store.aws import write_window
from functions.store.codes import codes_of
from functions.store.entities import LOT, VOUCHER
from functions.store.guards import Subject
from functions.store.keys import Key
from functions.store.table import Item

PREFIX = "trf_"


@dataclass(frozen=True, slots=True)
class Offered:
    """An offer with its token, of the voucher with this serial."""

    transfer: Transfer
    serial: str
    token: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """An offer and what it came to; `code` where it was accepted."""

    transfer: Transfer
    end: TransferEnd
    voucher: Voucher
    code: str | None
    replayed: bool


class _Wrong(Exception):  # noqa: N818 - it is an outcome
    """Neither the offer's token nor its giver."""


def offer(serial: str, customer: str, key: str, by: By, now: int) -> Offered:
    """Offer a voucher that a customer of the caller's tenant holds; a repeat gets the same token.

    Raises Refusal `not_found` where the customer holds no such voucher, `idempotency_key_reused`, or as `with_offer`.
    """
    position = position_of(serial)
    if position is None:
        raise Refusal("not_found", "The serial is mistyped: its check digit does not fit.")
    id = f"{PREFIX}{serial}-{derived(by.client, 'POST /v1/transfers', key, serial)}"
    asked = fingerprint({"customer": customer})
    with write_window():
        lot, known, _ = _read(position, [], now)

        def offered(item: Voucher | None) -> Voucher | None:
            before = item.transfers.get(id) if item is not None else None
            if before is not None:
                refuse_reuse(before.fingerprint, asked)
                return None
            at = standing(lot, position % LOT_SIZE, item, now) if lot is not None else None
            if at is None or not is_in(at, customer, by.tenant):
                raise Refusal("not_found", "The customer holds no such voucher.")
            sha256 = hashed(token_of(_key(lot, position), id))
            assert lot is not None
            generation = at.voucher.generation
            offer = Transfer(
                id, now, ends(at, now), by.client, customer, sha256, asked, by.request, generation=generation
            )
            return with_offer(at, offer, lot)

        voucher = table.change(VOUCHER, known, offered, "offer", by)
    transfer = voucher.transfers[id]
    return Offered(transfer, serial, token_of(_key(lot, position), id), replayed=transfer.request != by.request)


def accept(id: str, token: str, customer: str, key: str, by: By, now: int) -> Ended:
    """Give the voucher to the customer, if this is the token; only one acceptance of an offer ever succeeds.

    Raises Refusal `transfer_not_valid`, one and the same for all that is wrong, `transfer_over`, `invalid_request`
    where the giver accepts, `too_many_attempts`, `idempotency_key_reused`, or as a redemption would be refused.
    """
    guarded = guards.subjects(by.client, customer, None, None, by.address)
    ending = derived(by.client, f"POST /v1/transfers/{id}/acceptances", key)
    asked = fingerprint({"customer": customer})

    def accepted(lot: Lot, voucher: Voucher, transfer: Transfer) -> Voucher:
        if customer == transfer.giver:
            raise Refusal("invalid_request", errors=[{"field": "customer", "detail": "is the giver"}])
        end = TransferEnd(ending, now, accepted=True, fingerprint=asked, request=by.request)
        at = standing(lot, voucher.position % LOT_SIZE, with_end(voucher, transfer, end), now)
        if at is None or at.voucher.generation != transfer.generation or not is_in(at, transfer.giver, by.tenant):
            raise Refusal("voucher_not_redeemable")
        after = at.voucher
        end = replace(end, handovers=after.handovers, balance_minor=after.balance_minor, valid_until=at.valid_until)
        return with_end(handed_over(at, customer, by.tenant), transfer, end)

    def may(transfer: Transfer) -> bool:
        return is_token(transfer, token)

    return _ended(id, ending, asked, may, accepted, guarded, "transfer", by, now)


def give_back(id: str, customer: str | None, token: str | None, key: str, by: By, now: int) -> Ended:
    """End an offer, the voucher staying with its giver: asked by the giver, or by whoever has the token.

    Raises Refusal `transfer_not_valid`, `transfer_over`, `too_many_attempts`, `idempotency_key_reused`.
    """
    guarded = guards.subjects(by.client, customer, None, None, by.address)
    ending = derived(by.client, f"POST /v1/transfers/{id}/returns", key)
    asked = fingerprint({"customer": customer})

    def returned(lot: Lot, voucher: Voucher, transfer: Transfer) -> Voucher:
        return with_end(
            voucher, transfer, TransferEnd(ending, now, accepted=False, fingerprint=asked, request=by.request)
        )

    def may(transfer: Transfer) -> bool:
        return is_token(transfer, token) if token is not None else transfer.giver == customer

    return _ended(id, ending, asked, may, returned, guarded, "return", by, now)


def _ended(
    id: str,
    ending: str,
    asked: str,
    may: Callable[[Transfer], bool],
    end: Callable[[Lot, Voucher, Transfer], Voucher],
    guarded: list[Subject],
    command: str,
    by: By,
    now: int,
) -> Ended:
    """End an offer in one conditional write; a repeat of what ended it is told the same, whatever has come since."""
    position = position_of(id.removeprefix(PREFIX).partition("-")[0])
    if position is None or not id.startswith(PREFIX):
        raise Refusal("transfer_not_valid")
    with write_window():
        lot, known, counters = _read(position, guarded, now)

        def decided(item: Voucher | None) -> Voucher | None:
            transfer = item.transfers.get(id) if item is not None else None
            if lot is None or item is None or transfer is None:
                raise Refusal("transfer_not_valid")
            right = may(transfer)
            if right and transfer.end is not None and transfer.end.id == ending:
                refuse_reuse(transfer.end.fingerprint, asked)
                return None
            if item.tenant != by.tenant:
                raise Refusal("transfer_not_valid")
            guards.refuse_over_limit(guarded, None, counters, now)
            if not right:
                raise _Wrong
            refuse_unless_open(transfer, now)
            return end(lot, item, transfer)

        try:
            voucher = table.change(VOUCHER, known, decided, command, by)
        except _Wrong:
            guards.count_wrong(guarded, now)
            raise Refusal("transfer_not_valid") from None
    transfer = voucher.transfers[id]
    assert lot is not None and transfer.end is not None, "it has just been ended, or had been"
    code = _code(lot, voucher.position, transfer, transfer.end) if transfer.end.accepted else None
    return Ended(transfer, transfer.end, voucher, code, replayed=transfer.end.request != by.request)


def _read(position: int, guarded: list[Subject], now: int) -> tuple[Lot | None, Voucher | None, Mapping[Key, Item]]:
    lot_key, voucher_key = keys.lot(position // LOT_SIZE), keys.voucher(position)
    items = table.get_many([lot_key, voucher_key, *(subject.key(now) for subject in guarded)])
    lot, voucher = items.get(lot_key), items.get(voucher_key)
    return LOT.load(lot) if lot else None, VOUCHER.load(voucher) if voucher else None, items


def _key(lot: Lot | None, position: int) -> bytes:
    assert lot is not None, "a voucher lies in a lot"
    return vault.key_of(lot, position % LOT_SIZE)


def _code(lot: Lot, position: int, transfer: Transfer, end: TransferEnd) -> str:
    """The code that the receiver of a transfer got, which a later transfer has ended again."""
    index = position % LOT_SIZE
    return codes_of(lot, {index: code_version(transfer.generation, end.handovers)})[index]
