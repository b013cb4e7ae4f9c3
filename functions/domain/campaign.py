"""Campaigns (活动) and batches (批次): the rules of a kind of voucher and the orders of it."""

from __future__ import annotations

from dataclasses import dataclass

from functions.domain.actor import By
from functions.domain.codes import FORMATS
from functions.domain.errors import Refusal
from functions.domain.lot import PARTS_PER_LOT_MAX, Lot, Part, Rules, Segment
from functions.domain.selection import Span
from functions.domain.serials import LOT_SIZE

BATCH_QUANTITY_MAX = 100_000_000
LOTS_PER_CALL_MAX = 200
"""A command on more lots than this becomes a job (202)."""


@dataclass(frozen=True, slots=True)
class OpenLot:
    """The lot that a campaign's small batches share at present."""

    number: int
    next_index: int
    parts: int

    def takes(self, quantity: int) -> bool:
        """Whether one more batch of this size fits."""
        return self.parts < PARTS_PER_LOT_MAX and self.next_index + quantity <= LOT_SIZE


@dataclass(frozen=True, slots=True)
class Campaign:
    """A kind of voucher. `valid_until` (epoch seconds) or `rules.valid_days_after_activation` ends its vouchers."""

    id: str
    name: str
    rules: Rules
    valid_until: int | None
    locale: str
    created_at: int
    fingerprint: str
    by: By
    open_lot: OpenLot | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """`quantity` consecutive positions from `first`; they lie in consecutive lots."""

    id: str
    campaign: str
    quantity: int
    first: int
    wrapped_key: bytes
    status: str
    lots_done: int
    created_at: int
    fingerprint: str
    by: By
    version: int = 0

    @property
    def span(self) -> Span:
        """Where its vouchers lie."""
        return Span(self.first, self.first + self.quantity - 1)


@dataclass(frozen=True, slots=True)
class LotCounter:
    """The next lot number of a code format that no batch has taken."""

    code_format: str
    next_lot: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class Allocation:
    """Where a new batch goes: `fresh_lots` lots are taken from the format's counter, which stood at `next_lot`."""

    first: int
    fresh_lots: int
    open_lot: OpenLot | None


def allocate(campaign: Campaign, quantity: int, next_lot: int) -> Allocation:
    """Place a batch: a small one into the campaign's open lot where it fits, else from a fresh lot on.

    Raises Refusal `quantity_exceeded` where the code format cannot address so many.
    """
    shared = campaign.open_lot
    if quantity < LOT_SIZE and shared is not None and shared.takes(quantity):
        grown = OpenLot(shared.number, shared.next_index + quantity, shared.parts + 1)
        return Allocation(shared.number * LOT_SIZE + shared.next_index, 0, grown)
    lots = FORMATS[campaign.rules.code_format].lots
    fresh = -(-quantity // LOT_SIZE)
    if next_lot + fresh > lots.stop:
        left = (lots.stop - next_lot) * LOT_SIZE
        detail = f"The code format {campaign.rules.code_format} can address {left} more vouchers."
        raise Refusal("quantity_exceeded", detail, extra={"available": left})
    open_lot = OpenLot(next_lot, quantity, 1) if quantity < LOT_SIZE else shared
    return Allocation(next_lot * LOT_SIZE, fresh, open_lot)


def with_batch(lot: Lot | None, number: int, batch: Batch, campaign: Campaign) -> Lot:
    """The lot with the batch's share in it; `lot` is None where it does not exist yet."""
    first, last = batch.span.within(number)
    part = Part(batch.id, first, last, batch.wrapped_key)
    base = lot or Lot(number, campaign.rules, parts=(), segments=())
    return base.with_part(part, Segment(first, last, valid_until=campaign.valid_until))
