"""Draws: vouchers handed out of stock, to a buyer (dispense 发卡) or to a customer who holds them from then on
(claim 领取).

A draw's item is its plan, written before a voucher is touched. It is carried out in one transaction of conditional
puts, at the versions that were read; a voucher's item never goes away and its version only grows. So a plan one of
whose vouchers moved can never succeed for anyone, and may be replaced; and each voucher remembers the draws that took
it, so that a repeat, whenever it comes, finds what it got.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from functions.domain.actor import By
from functions.domain.lot import Lot, Status
from functions.domain.voucher import DAY_S, Drawn, Standing, Voucher, standing
from functions.domain.wallet import held

QUANTITY_MAX = 100
"""What DynamoDB writes in one transaction."""


class Place(NamedTuple):
    """A voucher of a plan, and the version that its item was read at; 0 where it had none."""

    position: int
    version: int


@dataclass(frozen=True, slots=True)
class Draw:
    """An order and its plan. `at` is when the plan was last begun; `created_at` when the order first came.

    `channel` is whose stock is drawn from, None for what nobody holds; `buyer` a client's own reference of an order.
    Whom a claim is for is not in it: it may stay a plan, which no voucher leads to when the person is erased.
    """

    id: str
    kind: str
    campaign: str
    quantity: int
    fingerprint: str
    by: By
    created_at: int
    places: tuple[Place, ...] = ()
    at: int = 0
    channel: str | None = None
    buyer: str | None = None
    version: int = 0

    def is_done(self, items: Mapping[int, Voucher]) -> bool:
        """Whether its vouchers were taken, by their items."""
        return bool(self.places) and all(
            (item := items.get(p.position)) is not None and item.drawn(self.id) is not None for p in self.places
        )

    def is_taken(self, items: Mapping[int, Voucher]) -> bool:
        """Whether any of its vouchers was taken: then all are, though a read of several items may not show it yet."""
        return any(item.drawn(self.id) is not None for item in items.values())

    def is_dead(self, items: Mapping[int, Voucher]) -> bool:
        """Whether its plan can never be carried out: another had one of its vouchers."""
        versions = {position: item.version for position, item in items.items()}
        return any(versions.get(place.position, 0) != place.version for place in self.places)


def taken(draw: Draw, lot: Lot, index: int, item: Voucher | None, holder: str | None = None) -> Voucher:
    """A free voucher as it is once the draw has it: in use from now on, valid as the campaign says, of its holder."""
    at = standing(lot, index, item, draw.at)
    assert at is not None, "only what was generated is drawn"
    fresh = at.voucher
    days = lot.rules.valid_days_after_activation
    valid_until = None if days is None else draw.at + days * DAY_S
    ends = valid_until if valid_until is not None else at.segment.valid_until
    status = Status.ACTIVE if holder is None else Status.CLAIMED
    mark = Drawn(draw.id, fresh.generation, draw.at, ends, draw.fingerprint, draw.by.request, status.value)
    return replace(
        fresh,
        status=status,
        holder=holder,
        tenant=None if holder is None else draw.by.tenant,
        ends=None if holder is None else ends,
        valid_until=valid_until,
        draws=(*fresh.draws, mark),
        version=fresh.version + 1,
    )


def claimed(at: Standing, id: str, customer: str, fingerprint: str, now: int, by: By) -> Voucher:
    """A voucher in use that has become a customer's; its validity stays what its activation made it."""
    before = at.voucher
    status = Status.PARTLY_REDEEMED if before.status is Status.PARTLY_REDEEMED else Status.CLAIMED
    mark = Drawn(id, before.generation, now, at.valid_until, fingerprint, by.request, status.value)
    voucher = held(at, customer, by.tenant)
    return replace(voucher, status=status, draws=(*before.draws, mark), version=before.version + 1)
