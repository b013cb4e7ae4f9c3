"""How much a recovery is about, and whether its requester may do it alone by the rules of the campaigns concerned."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from functions.domain.authority import APPROVAL_S, Approval, Asked, RecoveryRules, Share, alone, approval
from functions.domain.lot import Lot
from functions.domain.recovery import Recovery, may_be_recovered
from functions.store import keys, selected, table
from functions.store.lots import WORKERS_MAX, read_many
from functions.store.reach import Reach
from functions.store.records import CAMPAIGN
from functions.store.selected import Part
from functions.store.table import BATCH_GET_MAX


def judge(recovery: Recovery, serials: bool) -> Approval | None:
    """What a second person is to approve, None where the requester may do it alone.

    Raises Refusal `recovery_not_allowed`.
    """
    found = shares(recovery)
    rules = _rules(share.campaign for share in found)
    asked = Asked(recovery.by.role, recovery.action.value, recovery.reason, serials)
    may = [alone(rules[share.campaign], asked, share) for share in found]
    if all(may):
        return None
    return approval(recovery.fingerprint, found, recovery.created_at + APPROVAL_S)


def _rules(campaigns: Iterable[str]) -> dict[str, RecoveryRules]:
    wanted = [keys.campaign(id) for id in campaigns]
    items = [
        item
        for at in range(0, len(wanted), BATCH_GET_MAX)
        for item in table.get_many(wanted[at : at + BATCH_GET_MAX]).values()
    ]
    found = [CAMPAIGN.load(item) for item in items]
    return {campaign.id: campaign.recovery_rules or RecoveryRules() for campaign in found}


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
    return [_share(recovery, reach.view(lot), ranges[number]) for number, lot in read_many(ranges).items()]


def _share(recovery: Recovery, lot: Lot, ranges: list[tuple[int, int]]) -> Share:
    rules, vouchers = lot.rules, 0
    for segment in lot.segments:
        inside = sum(max(0, min(last, segment.last) - max(first, segment.first) + 1) for first, last in ranges)
        if inside and may_be_recovered(recovery, lot, segment):
            vouchers += inside
    return Share(rules.campaign, rules.currency, vouchers, vouchers * rules.amount_minor)
