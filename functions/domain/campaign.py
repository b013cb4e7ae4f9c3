"""Campaigns (活动) and batches (批次): the rules of a kind of voucher and the orders of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, NoReturn

from functions.domain.actor import By
from functions.domain.authority import RecoveryRules
from functions.domain.errors import Refusal
from functions.domain.formats import LOT_SIZE
from functions.domain.lot import PARTS_PER_LOT_MAX, Lot, Part, Rules, Segment
from functions.domain.reclaim import Reclaim
from functions.domain.selection import Span

BATCH_QUANTITY_MAX = 100_000_000
QUANTITY_MAX_DEFAULT = 1_000_000_000
"""The planned size of a campaign that states none, unless its codes would be too likely to be guessed then."""
EXPECTED_HITS_A_DAY_MAX = 0.01
"""The floor: one right guess in a hundred days of an attack at full strength.

That attack forges codes at every lot of the campaign around the clock, as many as a breaker takes before it opens, and
each breaker raises its alarm every hour. At the floor it costs ten million requests a day in `mobile18`, a billion in
all for one voucher, so that nobody gains by it and nobody overlooks it. A tenth of the floor would refuse a million
cards of 18 digits, which operators do order; at ten times the floor a fortnight's attack would pay one voucher.
What a breaker lets through once it is open, one guess a subject and window, the arithmetic leaves to the alarm.
"""
WRONG_CODES_PER_LOT_AND_HOUR_MIN = 10
"""Fewer and the mistyping of honest customers would open breakers."""
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
    """A kind of voucher. `valid_until` (epoch seconds) or `rules.valid_days_after_activation` ends its vouchers.

    `quantity_max` is how many it may have; `quantity` and `lots` are what its batches have taken. So many may be
    claimed by each customer (`claims_per_customer`) and in all (`claims_max`), by members of these `tiers` only, if any
    are named. An alarm is raised when fewer than `low_stock` are left to be drawn. Holders are told so many days before
    their vouchers end (`reminder_days`). `recovery_rules` say who may recover what; without them the defaults do.
    `reclaim` is what is taken back after its end.
    """

    id: str
    name: str
    rules: Rules
    valid_until: int | None
    locale: str
    created_at: int
    fingerprint: str
    by: By
    open_lot: OpenLot | None = None
    quantity_max: int | None = None
    quantity: int = 0
    lots: int = 0
    claims_per_customer: int | None = None
    claims_max: int | None = None
    tiers: tuple[str, ...] = ()
    low_stock: int | None = None
    reminder_days: tuple[int, ...] = ()
    recovery_rules: RecoveryRules | None = None
    reclaim: Reclaim | None = None
    version: int = 0

    @property
    def planned(self) -> int:
        """How many vouchers it may have."""
        return self.quantity_max if self.quantity_max is not None else quantity_max_of(self.rules)


@dataclass(frozen=True, slots=True)
class Batch:
    """`quantity` consecutive positions from `first`; they lie in consecutive lots. `sandbox` is its campaign's."""

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
    sandbox: bool = False
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


class Allocation(NamedTuple):
    """Where a new batch goes: `fresh_lots` lots are taken from the format's counter; `campaign` is as it is then."""

    first: int
    fresh_lots: int
    campaign: Campaign


def expected_hits_a_day(rules: Rules, lots: int) -> float:
    """Right guesses a day at so many lots: odds × lots × the forged codes that their breakers let through a day."""
    return rules.format.odds * lots * rules.wrong_codes_per_lot_and_hour * 24


def quantity_max_of(rules: Rules) -> int:
    """The planned size of a campaign that states none: as the format and the floor allow, and at least one voucher."""
    return max(1, min(QUANTITY_MAX_DEFAULT, rules.format.capacity, _safe_lots(rules) * LOT_SIZE))


def _safe_lots(rules: Rules) -> int:
    hits = expected_hits_a_day(rules, 1)
    return int(EXPECTED_HITS_A_DAY_MAX / hits) if hits else len(rules.format.lots)


def lots_of(quantity: int) -> int:
    """How many lots so many vouchers fill."""
    return -(-quantity // LOT_SIZE)


def refuse_unsafe(rules: Rules, quantity_max: int) -> None:
    """Whether a campaign may be planned as large.

    Raises Refusal `quantity_exceeded` beyond what its format can address, `guessing_too_likely` above the floor.
    """
    capacity = rules.format.capacity
    if quantity_max > capacity:
        _refuse_quantity(f"The code format {rules.code_format} can address {capacity:,} vouchers in all.", capacity)
    refuse_likely(rules, lots_of(quantity_max))


def refuse_likely(rules: Rules, lots: int) -> None:
    """Raise Refusal `guessing_too_likely`, with the arithmetic, where so many lots are above the floor."""
    hits = expected_hits_a_day(rules, lots)
    if hits <= EXPECTED_HITS_A_DAY_MAX:
        return
    odds, wrong = rules.format.odds, rules.wrong_codes_per_lot_and_hour
    arithmetic = f"{odds:.2g} a guess × {lots:,} lots × {wrong:,} wrong codes a lot and hour × 24 hours"
    cures = ["choose a format with better odds"]
    if safe_lots := _safe_lots(rules):
        cures.append(f"plan for at most {safe_lots * LOT_SIZE:,} vouchers")
    if (safe_wrong := int(wrong * EXPECTED_HITS_A_DAY_MAX / hits)) >= WRONG_CODES_PER_LOT_AND_HOUR_MIN:
        cures.append(f"let at most {safe_wrong} wrong codes a lot and hour through")
    detail = (
        f"{rules.code_format}: {arithmetic} = {hits:.2g} expected hits a day;"
        f" at most {EXPECTED_HITS_A_DAY_MAX} are allowed. To pass, {', or '.join(cures)}."
    )
    raise Refusal("guessing_too_likely", detail, extra={"expected_hits_a_day": hits})


def allocate(campaign: Campaign, quantity: int, next_lot: int) -> Allocation:
    """Place a batch: a small one into the campaign's open lot where it fits, else from a fresh lot on.

    Raises Refusal `quantity_exceeded` where the campaign may not have or the code format cannot address so many,
    `guessing_too_likely` where many small batches have spread the campaign over too many lots.
    """
    shared = campaign.open_lot
    if quantity < LOT_SIZE and shared is not None and shared.takes(quantity):
        open_lot = OpenLot(shared.number, shared.next_index + quantity, shared.parts + 1)
        grown = replace(_grown(campaign, quantity), open_lot=open_lot)
        return Allocation(shared.number * LOT_SIZE + shared.next_index, 0, grown)
    place = allocate_fresh(campaign, quantity, next_lot)
    shared = OpenLot(next_lot, quantity, 1) if quantity < LOT_SIZE else shared
    return place._replace(campaign=replace(place.campaign, open_lot=shared))


def allocate_fresh(campaign: Campaign, quantity: int, next_lot: int) -> Allocation:
    """The same for what shares no lot with others."""
    grown = _grown(campaign, quantity)
    numbers, fresh = campaign.rules.format.lots, lots_of(quantity)
    if next_lot + fresh > numbers.stop:
        left = (numbers.stop - next_lot) * LOT_SIZE
        _refuse_quantity(f"The code format {campaign.rules.code_format} can address {left:,} more vouchers.", left)
    refuse_likely(campaign.rules, campaign.lots + fresh)
    return Allocation(next_lot * LOT_SIZE, fresh, replace(grown, lots=campaign.lots + fresh))


def _grown(campaign: Campaign, quantity: int) -> Campaign:
    left = campaign.planned - campaign.quantity
    if quantity > left:
        _refuse_quantity(f"The campaign may have {left:,} more vouchers (quantity_max {campaign.planned:,}).", left)
    return replace(campaign, quantity=campaign.quantity + quantity, version=campaign.version + 1)


def _refuse_quantity(detail: str, available: int) -> NoReturn:
    raise Refusal("quantity_exceeded", detail, extra={"available": available})


def with_batch(lot: Lot | None, number: int, batch: Batch, campaign: Campaign) -> Lot:
    """The lot with the batch's share in it; `lot` is None where it does not exist yet."""
    first, last = batch.span.within(number)
    part = Part(batch.id, first, last, batch.wrapped_key)
    base = lot or Lot(number, campaign.rules, parts=(), segments=())
    return base.with_part(part, Segment(first, last, valid_until=campaign.valid_until))
