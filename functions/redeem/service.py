"""Redeem a code for an account, and take a redemption back."""

from __future__ import annotations

from dataclasses import dataclass, replace

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.ids import derived, fingerprint, fingerprint_but_code, refuse_reuse, reused
from functions.domain.lot import Lot
from functions.domain.serials import LOT_SIZE, position_of, serial_of
from functions.domain.voucher import (
    DAY_S,
    REDEMPTIONS_PER_VOUCHER_MAX,
    Redemption,
    Reversal,
    Voucher,
    reclaimed,
    redeem,
    standing,
    with_credit,
    with_redemption,
    with_reversal,
    with_reversal_elsewhere,
)
from functions.store import guards, keys, table
from functions.store.aws import write_window
from functions.store.entities import LOT, VOUCHER
from functions.store.lookup import Sight, look
from functions.store.table import CONFLICTS_MAX


@dataclass(frozen=True, slots=True)
class Order:
    """What a client asks for; `customer_address` is set by trusted clients only."""

    code: str
    account_type: str
    account_number: str
    amount_minor: int | None
    store: str | None
    terminal: str | None
    device: str | None
    customer_address: str | None


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A redemption, the voucher it is of, and whether it had been made before this request."""

    redemption: Redemption
    voucher: Voucher
    replayed: bool


@dataclass(frozen=True, slots=True)
class Reversed:
    """A reversal, the redemption that it takes back, their voucher, and whether it was made before this request."""

    reversal: Reversal
    redemption: Redemption
    voucher: Voucher
    replayed: bool


def create(order: Order, key: str, by: By, now: int) -> Redeemed:
    """Redeem: one read, one conditional write.

    A repeat is recognised in the voucher's own item before anything else is looked at. Raises Refusal as the
    tables in `domain.voucher` say; wrong codes are counted.
    """
    guarded = guards.subjects(by.client, order.account_number, order.device, order.customer_address, by.address)
    with write_window():
        sight = look(order.code, by, guarded, now)
        id = derived_id(by, "POST /v1/redemptions", key, sight.position())
        voucher = sight.change(lambda item: _redeemed(sight, item, id, order, by), "redeem", by)
    redemption = voucher.redemptions[id]
    return Redeemed(redemption, voucher, replayed=redemption.request != by.request)


def derived_id(by: By, route: str, key: str, position: int) -> str:
    """The id of what a request makes of a voucher, whose serial it begins with."""
    serial = serial_of(position)
    return f"{serial}-{derived(by.client, route, key, serial)}"


def _redeemed(sight: Sight, item: Voucher | None, id: str, order: Order, by: By) -> Voucher | None:
    known = item.redemptions.get(id) if item is not None else None
    if known is not None and sight.is_right(known.code_version, known.bearer):
        refuse_reuse(known.fingerprint, fingerprint_but_code(order))
        return None
    sight.refuse_over_limit()
    at, lot = sight.standing(item), sight.lot
    if at is None or lot is None:
        raise Refusal("voucher_not_redeemable")
    if known is not None:  # it was made with a code that a reclaim has ended since; this one's id would be the same
        raise reused()
    single = lot.rules.redemption == "single"
    amount, balance, status = redeem(at, REDEMPTIONS_PER_VOUCHER_MAX, order.amount_minor, single)
    redemption = Redemption(
        id=id,
        at=sight.now,
        client=by.client,
        account_type=order.account_type,
        account_number=order.account_number,
        amount_minor=amount,
        balance_minor=balance,
        status=status,
        fingerprint=fingerprint_but_code(order),
        generation=at.voucher.generation,
        lot_version=lot.version,
        request=by.request,
        store=order.store,
        terminal=order.terminal,
        bearer=sight.bearer(at.voucher),
        handovers=at.voucher.handovers,
    )
    return sight.used(with_redemption(at.voucher, redemption))


def find(id: str, by: By) -> Redeemed:
    """A redemption of the caller's own, or any for the operator. Raises Refusal `not_found`."""
    voucher = table.read(VOUCHER, keys.voucher(position_in(id)))
    redemption = _visible(voucher, id, by)
    assert voucher is not None
    return Redeemed(redemption, voucher, replayed=False)


def position_in(id: str) -> int:
    """The position of the voucher that an id begins with. Raises Refusal `not_found`."""
    position = position_of(id.partition("-")[0])
    if position is None:
        raise Refusal("not_found")
    return position


def _visible(voucher: Voucher | None, id: str, by: By) -> Redemption:
    redemption = voucher.redemptions.get(id) if voucher is not None else None
    if redemption is None or (redemption.client != by.client and by.role != "operator"):
        raise Refusal("not_found")
    return redemption


def reverse(id: str, reason: str, key: str, by: By, now: int) -> Reversed:
    """Give back exactly what one redemption took, once, whatever vetoes stand by now.

    Of a voucher that was replaced the value goes to its successor, in one transaction.
    Not where a reclaim that is over spared the voucher only for being used: with its value back it would be in stock,
    as new, and not its holder's. By the client that redeemed, or the operator, within the campaign's window. Raises
    Refusal `not_found`, `already_reversed`, `reversal_window_over`, `reversal_not_possible`, `idempotency_key_reused`.
    """
    position = position_in(id)
    lot_key, voucher_key = keys.lot(position // LOT_SIZE), keys.voucher(position)
    reversal_id = derived(by.client, f"POST /v1/redemptions/{id}/reversals", key)
    asked = fingerprint({"reason": reason})
    for _ in range(CONFLICTS_MAX):
        with write_window():
            items = table.get_many([lot_key, voucher_key])
            if voucher_key not in items or lot_key not in items:
                raise Refusal("not_found")
            lot = LOT.load(items[lot_key])

            def reversed_(item: Voucher | None, lot: Lot = lot) -> Voucher | None:
                redemption = _visible(item, id, by)
                assert item is not None
                if redemption.reversal is not None:
                    if redemption.reversal.id != reversal_id:
                        raise Refusal("already_reversed", "Its value was given back once.")
                    refuse_reuse(redemption.reversal.fingerprint, asked)
                    return None
                if now >= redemption.at + lot.rules.reversal_days * DAY_S:
                    raise Refusal("reversal_window_over", f"{lot.rules.reversal_days} days after the redemption.")
                if redemption.generation != item.generation:
                    raise Refusal("reversal_not_possible")
                reversal = Reversal(reversal_id, now, by.client, reason, asked, by.request)
                if item.reissue is not None:
                    raise _Replaced(item, redemption, reversal)
                back, segment = with_reversal(item, redemption, reversal), lot.segment(position % LOT_SIZE)
                if segment is None or reclaimed(segment, back):
                    raise Refusal("reversal_not_possible")
                after = standing(lot, position % LOT_SIZE, back, now)
                assert after is not None
                return with_reversal(item, redemption, replace(reversal, status=after.status))

            try:
                voucher = table.change(VOUCHER, VOUCHER.load(items[voucher_key]), reversed_, "reverse", by)
                break
            except _Replaced as at:
                credited = _credited(at, by, now)
                if credited is not None:
                    voucher = credited
                    break
    else:
        raise Refusal("try_again", "Others are changing the same vouchers.", retry_after_s=1)
    redemption = voucher.redemptions[id]
    reversal = redemption.reversal
    assert reversal is not None
    return Reversed(reversal, redemption, voucher, replayed=reversal.request != by.request)


class _Replaced(Exception):  # noqa: N818 - it is another way to go
    """A redemption whose voucher was replaced since is to be reversed."""

    def __init__(self, item: Voucher, redemption: Redemption, reversal: Reversal) -> None:
        super().__init__("replaced")
        self.item, self.redemption, self.reversal = item, redemption, reversal


def _credited(at: _Replaced, by: By, now: int) -> Voucher | None:
    """The replaced voucher with the reversal, whose value the last of its successors has; None where one has moved.

    Raises Refusal `reversal_not_possible` where that one was reclaimed, or would be with that value on it.
    """
    lot, item = _successor(at.item)
    grown, segment = with_credit(item, at.redemption), lot.segment(item.position % LOT_SIZE)
    if segment is None or reclaimed(segment, grown):
        raise Refusal("reversal_not_possible")
    after = standing(lot, item.position % LOT_SIZE, grown, now)
    assert after is not None
    told = replace(at.reversal, balance_minor=grown.balance_minor, status=after.status, credited=item.position)
    old = with_reversal_elsewhere(at.item, at.redemption, told)
    pair = [(VOUCHER, replace(v, version=v.version + 1), v.version) for v in (old, grown)]
    return None if table.commit(pair, [], "", "reverse", by) else old


def _successor(item: Voucher) -> tuple[Lot, Voucher]:
    """The last that a voucher was replaced by, however often (`domain.reissue`), with its lot.

    Raises Refusal `reversal_not_possible` where one of them is another's by now: it was reclaimed and handed out again.
    """
    while True:
        assert item.reissue is not None
        position = item.reissue.successor
        lot_key, voucher_key = keys.lot(position // LOT_SIZE), keys.voucher(position)
        items = table.get_many([lot_key, voucher_key])
        before, item = item, VOUCHER.load(items[voucher_key])
        if not item.replaces(before):
            raise Refusal("reversal_not_possible")
        if item.reissue is None:
            return LOT.load(items[lot_key]), item
