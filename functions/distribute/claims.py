"""Claims (领取): a voucher becomes a customer's, by its code or out of a campaign's stock.

An id names the order, and where it is by code the voucher too: the same key with another code is another claim.
"""

from __future__ import annotations

from dataclasses import dataclass

from functions.distribute.dispenses import campaign_of, code_of, source
from functions.domain.actor import By
from functions.domain.campaign import Campaign
from functions.domain.draw import Draw, claimed
from functions.domain.erasure import customer
from functions.domain.errors import Refusal
from functions.domain.ids import derived, fingerprint, refuse_reuse, reused
from functions.domain.serials import serial_of
from functions.domain.voucher import Drawn, Voucher
from functions.store import draws, guards, keys, limits, persons, table
from functions.store.aws import write_window
from functions.store.draws import Taken
from functions.store.entities import VOUCHER
from functions.store.limits import Limits
from functions.store.lookup import Sight, look
from functions.store.table import CONFLICTS_MAX

KIND = "claim"


@dataclass(frozen=True, slots=True)
class Order:
    """Who claims what: the voucher of a `code`, or one of a `campaign`, out of a `channel`'s stock where one is named.

    `customer_address` is set by trusted clients only.
    """

    customer: str
    code: str | None = None
    campaign: str | None = None
    channel: str | None = None
    tier: str | None = None
    device: str | None = None
    customer_address: str | None = None

    def fingerprint(self, by: By) -> str:
        """What tells two orders under one idempotency key apart: all but the code.

        The customer is in it by their account's id: what a number can be tried out on would have to be erased.
        """
        asked = {name: getattr(self, name) for name in self.__slots__ if name not in ("code", "customer")}
        return fingerprint({**asked, "account": persons.account_of(customer(by.tenant, self.customer))})


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim; `code` where the customer has it from nowhere else, `drawn` where it came out of stock."""

    voucher: Voucher
    mark: Drawn
    customer: str
    code: str | None = None
    drawn: Taken | None = None
    replayed: bool = False


def claim(order: Order, key: str, by: By, now: int) -> Claimed:
    """Give a customer a voucher, or give back what a repeat got.

    Raises Refusal `claim_limit_reached`, `tier_not_allowed`, `idempotency_key_reused`; by code also `already_claimed`
    and what `domain.voucher` says of one that cannot be redeemed, and wrong codes are counted; out of stock
    `not_found`, `quantity_exceeded`, or as `dispenses.source`.
    """
    return _by_code(order, key, by, now) if order.code is not None else _out_of_stock(order, key, by, now)


def _out_of_stock(order: Order, key: str, by: By, now: int) -> Claimed:
    assert order.campaign is not None
    campaign = campaign_of(order.campaign, by)
    _refuse_tier(campaign, order.tier)
    id = f"clm_{derived(by.client, 'POST /v1/claims', key)}"
    wanted = Draw(id, KIND, campaign.id, 1, order.fingerprint(by), by, now, channel=source(order.channel, by))
    bound = Limits(campaign, by.tenant, order.customer)
    done = draws.take(wanted, campaign, by, now, holder=order.customer, bound=bound)
    (voucher,) = done.vouchers
    mark = voucher.drawn(id)
    assert mark is not None
    return Claimed(voucher, mark, order.customer, code_of(done, voucher), done, done.replayed)


def _by_code(order: Order, key: str, by: By, now: int) -> Claimed:
    """One read, and one transaction of the voucher and the counts that bound it."""
    assert order.code is not None
    guarded = guards.subjects(by.client, order.customer, order.device, order.customer_address, by.address)
    with write_window():
        sight = look(order.code, by, guarded, now)
        serial = serial_of(sight.position())
        id = f"clm_{serial}-{derived(by.client, 'POST /v1/claims', key, serial)}"
        with sight.counting():
            voucher, mark = _taken(sight, order, id, by)
    return Claimed(voucher, mark, order.customer, replayed=mark.request != by.request)


def _taken(sight: Sight, order: Order, id: str, by: By) -> tuple[Voucher, Drawn]:
    item, position = sight.item, sight.position()
    for _ in range(CONFLICTS_MAX):
        known = item.drawn(id) if item is not None else None
        if item is not None and known is not None and sight.is_right(known.generation):
            refuse_reuse(known.fingerprint, order.fingerprint(by))
            return item, known
        sight.refuse_over_limit()
        at = sight.standing(item)
        if at is None:
            raise Refusal("voucher_not_redeemable")
        if known is not None:  # with a code that a reclaim has ended since; this claim's id would be the same
            raise reused()
        at.refuse_unless_redeemable()
        if at.voucher.holder is not None:
            raise Refusal("already_claimed", "It belongs to a customer.")
        campaign = campaign_of(at.voucher.campaign, by)
        _refuse_tier(campaign, order.tier)
        bound = Limits(campaign, by.tenant, order.customer)
        voucher = claimed(at, id, order.customer, order.fingerprint(by), sight.now, by)
        try:
            bound.refuse()
            if limits.commit(bound, [(VOUCHER, voucher, voucher.version - 1)], KIND, by):
                return voucher, voucher.draws[-1]
            item = _item(position)
        except Refusal as refusal:  # what has counted may be this very claim, sent twice at a time
            item = _item(position) if refusal.key == "claim_limit_reached" else None
            if item is None or item.drawn(id) is None:
                raise
    raise Refusal("try_again", "Others are changing the same voucher.", retry_after_s=1)


def _item(position: int) -> Voucher | None:
    key = keys.voucher(position)
    stored = table.get_many([key]).get(key)
    return VOUCHER.load(stored) if stored is not None else None


def _refuse_tier(campaign: Campaign, tier: str | None) -> None:
    if campaign.tiers and tier not in campaign.tiers:
        raise Refusal("tier_not_allowed", f"It is for the tiers {', '.join(campaign.tiers)}.")
