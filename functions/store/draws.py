"""A draw, from the plan to the taking: exact whoever dies where, and however often it is repeated.

1. The draw's item is read. Where its vouchers remember it, it is done: the answer is what they remember. A read of
   several items may come between the puts of a transaction; where some remember it, all do in a moment.
2. A plan that was not carried out is gone on with, where all of it is still free. Where another had one of its vouchers
   it can never succeed and is replaced. Where something else has come between, such as a recall, whoever began it may
   still be in its write window: it is replaced once that is over (`FENCE_S`).
3. Otherwise free vouchers are looked for; too few after a complete and consistent look, and nothing is written.
4. The plan is written on the condition that the draw's item is as it was read, then all vouchers in one transaction,
   both within the write window that was opened before the lots were read. So each run of a plan has dated it first, and
   a recall and a draw exclude each other as a recall and a redemption do: its fence waits for the window.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from functions.domain.actor import By
from functions.domain.campaign import Campaign
from functions.domain.draw import Draw, Place, taken
from functions.domain.errors import Refusal
from functions.domain.ids import refuse_reuse
from functions.domain.lot import Lot
from functions.domain.pool import OPEN_LOTS, Front, drawable, is_free
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import Voucher
from functions.store import keys, limits, stock, table
from functions.store.aws import FENCE_S, write_window
from functions.store.entities import VOUCHER
from functions.store.limits import Limits
from functions.store.lots import read_many
from functions.store.pool import FRONT, Barred, Found, Search, note_low, open_more
from functions.store.table import CONFLICTS_MAX, Conflict, Entity

DRAW: Entity[Draw] = Entity("draw", Draw, key=lambda d: keys.draw(d.id))
STOCK_LOW = "stock_low"
"""The alarm in the log of who finds a campaign's stock below its mark."""
USED_UP = ("quantity_exceeded", "claim_limit_reached")
"""Refusals whose reason may be that the same draw, asked for twice at a time, was just carried out."""
Along = Callable[[tuple[Voucher, ...]], tuple[tuple[Voucher, ...], list[Voucher]]]
"""Given the vouchers that are taken: what they shall be, and others that change with them, read within the attempt."""
CHANNEL_LOTS_MAX = 10_000
"""In so many lots of a channel is looked for what is free."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A draw that is done, with its vouchers and their lots; `left` where it brought the stock below its mark."""

    draw: Draw
    vouchers: tuple[Voucher, ...]
    lots: dict[int, Lot]
    replayed: bool = False
    left: int | None = None

    @property
    def at(self) -> int:
        """When they were taken."""
        mark = self.vouchers[0].drawn(self.draw.id)
        assert mark is not None
        return mark.at


def take(
    wanted: Draw,
    campaign: Campaign,
    by: By,
    now: int,
    *,
    holder: str | None = None,
    bound: Limits | None = None,
    along: Along | None = None,
    barred: Barred | None = None,
) -> Taken:
    """Carry a draw out, for a `holder` if it is a claim, or give back what it came to before; `along` says what is
    written together with it, `barred` what it does not take.

    Raises Refusal `idempotency_key_reused`, `quantity_exceeded`, `claim_limit_reached`, `try_again`.
    """
    begun = time.monotonic()

    def clock() -> int:
        return now + int(time.monotonic() - begun)

    for attempt in range(CONFLICTS_MAX):
        if attempt:
            time.sleep(random.uniform(0, min(0.5, 0.01 * 2**attempt)))
        try:
            with write_window():
                done = _try(wanted, holder, campaign, by, clock, bound, along, barred)
        except Refusal as refusal:
            if refusal.key not in USED_UP or not _is_taken(wanted.id):
                raise
            done = None
        if done is not None:
            return done
    raise Refusal("try_again", "Others are drawing from the same stock.", retry_after_s=1)


def _is_taken(id: str) -> bool:
    """Whether another request for the same draw has carried it out."""
    draw = table.read(DRAW, keys.draw(id))
    return draw is not None and draw.is_taken(_items(draw))


def find(id: str) -> Taken | None:
    """A draw that is done, None where there is none."""
    draw = table.read(DRAW, keys.draw(id))
    return _done(draw, _items(draw)) if draw is not None else None


def _items(draw: Draw) -> dict[int, Voucher]:
    items = table.get_many(keys.voucher(place.position) for place in draw.places)
    return {voucher.position: voucher for voucher in map(VOUCHER.load, items.values())}


def _done(draw: Draw, items: dict[int, Voucher]) -> Taken | None:
    if not draw.is_done(items):
        return None
    vouchers = tuple(items[place.position] for place in draw.places)
    return Taken(draw, vouchers, read_many(v.position // LOT_SIZE for v in vouchers), replayed=True)


def _try(
    wanted: Draw,
    holder: str | None,
    campaign: Campaign,
    by: By,
    clock: Callable[[], int],
    bound: Limits | None,
    along: Along | None,
    barred: Barred | None,
) -> Taken | None:
    """One attempt; None where another came between."""
    now = clock()
    items = table.get_many([keys.draw(wanted.id), keys.front(campaign.id)])
    stored, front_item = items.get(keys.draw(wanted.id)), items.get(keys.front(campaign.id))
    front = FRONT.load(front_item) if front_item is not None else Front(campaign.id)
    known = DRAW.load(stored) if stored is not None else None
    search = Search(campaign.id, wanted.channel, now, wanted.quantity, barred)
    if known is not None:
        refuse_reuse(known.fingerprint, wanted.fingerprint)
        held = _items(known)
        if (done := _done(known, held)) is not None:
            return replace(done, replayed=known.by.request != by.request)
        if known.is_taken(held):
            return None
        if not known.is_dead(held) and not _resumed(known, held, search):
            if (wait_s := known.at + FENCE_S - now) > 0:
                raise Refusal("try_again", "An earlier attempt may not be over.", retry_after_s=wait_s)
            search = Search(campaign.id, wanted.channel, now, wanted.quantity, barred)
    if bound is not None:
        bound.refuse()
    if not search.found:
        grown = _searched(search, front, campaign.low_stock, by)
        if grown is None:
            return None
        front = grown
    seen = known.version if known is not None else 0
    places = tuple(Place(_position(each), each.item.version if each.item else 0) for each in search.found)
    plan = replace(known or wanted, places=places, at=clock(), version=seen + 1)
    try:
        table.put(DRAW.item(plan, plan.kind, by), seen)
    except Conflict:
        return None
    vouchers = tuple(taken(plan, each.lot, each.at, each.item, holder) for each in search.found)
    others: list[Voucher] = []
    if along is not None:
        vouchers, others = along(vouchers)
    writes: list[table.Write] = [(VOUCHER, v, v.version - 1) for v in (*vouchers, *others)]
    if not limits.commit(bound, writes, plan.kind, by):
        return None
    left = _settled(search, front, campaign, by)
    return Taken(plan, vouchers, search.lots, replayed=known is not None and known.by.request != by.request, left=left)


def _position(found: Found) -> int:
    return found.lot.number * LOT_SIZE + found.at


def _resumed(plan: Draw, items: dict[int, Voucher], search: Search) -> bool:
    """Whether all of a plan is still free; the search has found exactly that then."""
    search.read(list({place.position // LOT_SIZE for place in plan.places}))
    found: list[Found] = []
    for place in plan.places:
        lot = search.lots.get(place.position // LOT_SIZE)
        index = place.position % LOT_SIZE
        segment = lot.segment(index) if lot is not None else None
        item = items.get(place.position)
        if lot is None or segment is None or not is_free(lot, segment, item):
            return False
        if not drawable(lot, plan.channel, search.now) >> index & 1:
            return False
        found.append(Found(lot, index, item))
    search.found = found
    return True


def _searched(search: Search, front: Front, mark: int | None, by: By) -> Front | None:
    """The front as it is once enough was found; None where another moved it. Raises Refusal `quantity_exceeded`."""
    if search.channel is not None:
        search.look(stock.lots_of(search.channel, CHANNEL_LOTS_MAX))
    else:
        if len(front.lots) < OPEN_LOTS and not front.is_open:
            fuller = open_more(front, (), by)
            if fuller is None:
                return None
            front = fuller
        search.look(front.lots)
        while search.lacking and not front.is_open:
            grown = open_more(front, search.dry, by, 1 if search.barred is None else len(front.lots))
            if grown is None:
                search.remember(by)
                return None
            search.look(set(grown.lots) - set(front.lots))
            front = grown
    if search.lacking:
        search.remember(by)
        available, alarm = len(search.found), None
        if search.channel is None:
            if search.dry & set(front.lots):
                front = open_more(front, search.dry, by) or front
            is_low = front.version > 0 and front.low is None and mark is not None and available < mark
            is_low = is_low and search.barred is None  # what is barred is left all the same
            alarm = STOCK_LOW if is_low and note_low(front, available, by) else None
        detail = f"{available} vouchers can be had."
        raise Refusal("quantity_exceeded", detail, extra={"available": available}, alarm=alarm)
    return front


def _settled(search: Search, front: Front, campaign: Campaign, by: By) -> int | None:
    """Note what the next draw need not look at; how many are left where this draw brought them below the mark."""
    for each in search.found:
        search.learned[each.lot.number] = search.learned.get(each.lot.number, 0) | 1 << each.at
    search.remember(by)
    if search.channel is not None:
        return None
    if search.dry & set(front.lots):
        front = open_more(front, search.dry, by) or front
    mark = campaign.low_stock
    if mark is None or front.low is not None or front.unopened >= mark:
        return None
    left = front.unopened + search.left(front.lots)
    return left if left < mark and note_low(front, left, by) else None
