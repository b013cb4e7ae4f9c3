"""How much a recovery is about, and whether its requester may do it alone by the rules of the campaigns concerned."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from functions.domain.authority import APPROVAL_S, Approval, Asked, Share, alone, approval, takes_code
from functions.domain.campaign import LOTS_PER_CALL_MAX
from functions.domain.lot import Lot
from functions.domain.recovery import Recovery, may_be_recovered
from functions.domain.serials import LOT_SIZE
from functions.store import authority, keys, selected, stepup, table
from functions.store.entities import LOT
from functions.store.lots import WORKERS_MAX, read_many
from functions.store.reach import Reach
from functions.store.records import BATCH
from functions.store.selected import Part
from functions.store.table import BATCH_GET_MAX
from functions.store.tally import pieces


class Judgement(NamedTuple):
    """What a requester needs: the approval of a second person, if any, and whether a one-time code."""

    approval: Approval | None
    one_time_code: bool


def judge(recovery: Recovery, serials: bool, one_time_code: str | None) -> Approval | None:
    """What a second person is to approve, None where the requester may do it alone.

    Raises Refusal as `judged`, and as `stepup.require` where a campaign asks for a one-time code.
    """
    needed = judged(recovery, serials)
    if needed.one_time_code:
        stepup.require(one_time_code, recovery.id, recovery.by, recovery.created_at)
    return needed.approval


def judged(recovery: Recovery, serials: bool) -> Judgement:
    """What the campaigns' rules ask for. Raises Refusal `recovery_not_allowed`."""
    asked = Asked(recovery.by.role, recovery.action.value, recovery.reason, serials)
    whole = _whole_batch(recovery)
    if whole is not None:
        rules = authority.rules([whole.campaign])
        if alone(rules[whole.campaign], asked, whole) and not takes_code(
            rules[whole.campaign], asked.action, whole.vouchers
        ):
            return Judgement(None, one_time_code=False)
    found = shares(recovery)
    rules = authority.rules(share.campaign for share in found)
    may = [alone(rules[share.campaign], asked, share) for share in found]
    code = any(takes_code(rules[share.campaign], asked.action, share.vouchers) for share in found)
    if all(may):
        return Judgement(None, code)
    return Judgement(approval(recovery.fingerprint, found, recovery.created_at + APPROVAL_S), code)


def _whole_batch(recovery: Recovery) -> Share | None:
    """The most that a recovery of one batch of many lots may come to, without reading them; None where it is none."""
    if recovery.lots <= LOTS_PER_CALL_MAX or len(recovery.spans) != 1:
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
