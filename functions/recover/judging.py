"""How much a recovery is about, and whether its requester may do it alone by the rules of the campaigns concerned.

What is done alone counts for a day: the counts are written with the order, each if it is as it was read.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from functions.domain.authority import APPROVAL_S, Approval, Asked, Share, Spent, allowance, approval, takes_code
from functions.domain.lot import Lot
from functions.domain.recovery import Recovery, may_be_recovered
from functions.domain.selection import Part
from functions.domain.serials import LOT_SIZE
from functions.store import authority, keys, selected, stepup, table
from functions.store.entities import LOT
from functions.store.lots import WORKERS_MAX, read_many
from functions.store.reach import Reach
from functions.store.records import BATCH
from functions.store.table import BATCH_GET_MAX, Write
from functions.store.tally import pieces

COUNTED_MAX = 50
"""Where the rules of more campaigns limit what is done alone, a second person approves it: an order and its counts are
one transaction."""
LOTS_LOOKED_AT_MAX = 8
"""A batch of more lots counts as a whole where all of it may be done alone: to read them would give thieves time."""


class Judgement(NamedTuple):
    """What a requester needs: the approval of a second person, if any, and whether a one-time code.

    `spent` is to be written with the order: what the requester has ordered alone then.
    """

    approval: Approval | None
    one_time_code: bool
    spent: tuple[Write, ...] = ()


def judge(recovery: Recovery, serials: bool, one_time_code: str | None) -> Judgement:
    """The judgement, once a one-time code is used up where it takes one.

    Raises Refusal as `judged` and as `stepup.require`.
    """
    needed = judged(recovery, serials)
    if needed.one_time_code:
        stepup.require(one_time_code, recovery.id, recovery.by, recovery.created_at)
    return needed


def judged(recovery: Recovery, serials: bool) -> Judgement:
    """What the campaigns' rules ask for, by what the requester has ordered alone so far.

    Raises Refusal `recovery_not_allowed`.
    """
    asked = Asked(recovery.by.role, recovery.action.value, recovery.reason, serials)
    whole = _whole_batch(recovery)
    if whole is not None:
        needed = _judged(recovery, asked, [whole])
        if needed.approval is None and not needed.one_time_code:
            return needed
    return _judged(recovery, asked, shares(recovery))


def _judged(recovery: Recovery, asked: Asked, found: list[Share]) -> Judgement:
    rules = authority.rules(share.campaign for share in found)
    code = any(takes_code(rules[share.campaign], asked.action, share.vouchers) for share in found)
    allowances = [(share, allowance(rules[share.campaign], asked, share.campaign)) for share in found]
    limited = [(share, rule) for share, rule in allowances if rule.is_limited and share.vouchers]
    now = recovery.created_at
    spent = authority.spent(recovery.by.client, asked.action, (share.campaign for share, _ in limited))
    alone = all(rule.lets(spent[share.campaign].counting(now).plus(share.amount)) for share, rule in limited)
    if alone and len(limited) <= COUNTED_MAX:
        return Judgement(None, code, tuple(_counted(spent[share.campaign], share, now) for share, _ in limited))
    return Judgement(approval(recovery.fingerprint, found, now + APPROVAL_S), code)


def _counted(spent: Spent, share: Share, now: int) -> Write:
    return authority.SPENT, replace(spent.plus(share.amount, now), version=spent.version + 1), spent.version


def _whole_batch(recovery: Recovery) -> Share | None:
    """The most that a recovery of one large batch may come to, without reading its lots; None where it is none."""
    if recovery.lots <= LOTS_LOOKED_AT_MAX or len(recovery.spans) != 1:
        return None
    (span,) = recovery.spans
    number, index = divmod(span.first, LOT_SIZE)
    lot = table.read(LOT, keys.lot(number))
    part = lot.part(index) if lot is not None else None
    batch = table.read(BATCH, keys.batch(part.batch)) if part is not None else None
    if lot is None or batch is None or batch.span != span:
        return None
    return Share(lot.rules.campaign, lot.rules.currency, span.size, span.size * lot.rules.amount_minor)


def shares(recovery: Recovery) -> list[Share]:
    """What the recovery comes to at most, campaign by campaign: every lot of it is read."""
    parts, reach = list(selected.lots_of(recovery)), Reach(recovery.by)
    chunks = (parts[at : at + BATCH_GET_MAX] for at in range(0, len(parts), BATCH_GET_MAX))
    total: dict[str, Share] = {}
    with ThreadPoolExecutor(WORKERS_MAX) as pool:
        for share in (share for some in pool.map(partial(_shares, recovery, reach), chunks) for share in some):
            known = total.get(share.campaign)
            if known is not None:
                vouchers, value_minor = known.vouchers + share.vouchers, known.value_minor + share.value_minor
                share = share._replace(vouchers=vouchers, value_minor=value_minor)
            total[share.campaign] = share
    return [total[campaign] for campaign in sorted(total)]


def _shares(recovery: Recovery, reach: Reach, parts: Iterable[Part]) -> list[Share]:
    ranges = dict(parts)
    found = (_share(recovery, reach.view(lot), ranges[number]) for number, lot in read_many(ranges).items())
    return [share for share in found if share is not None]


def _share(recovery: Recovery, lot: Lot, ranges: list[tuple[int, int]]) -> Share | None:
    """None where nothing of the lot is selected that the requester may know of."""
    selected = [(segment, high - low + 1) for segment, low, high in pieces(lot, ranges)]
    vouchers = sum(size for segment, size in selected if may_be_recovered(recovery, lot, segment))
    terms = lot.rules
    return Share(terms.campaign, terms.currency, vouchers, vouchers * terms.amount_minor) if selected else None
