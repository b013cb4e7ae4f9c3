"""How much may be claimed of a campaign: by one customer, and in all. Both hold under a race.

A customer's count is one item. What may be claimed in all is dealt out once and for all to `SHARES` items that are
counted for themselves, so that a flash claim of 1,667 a second writes none of them more than about a hundred times a
second. Their limits sum up to the campaign's, so no more can be claimed; a claim tries another share where one is used
up, and is refused only where all of them are, so no less can be claimed either. Counts only grow, and a claim's are in
the transaction that takes its voucher.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from functions.domain.actor import By
from functions.domain.campaign import Campaign
from functions.domain.erasure import customer
from functions.domain.errors import Refusal
from functions.store import keys, persons, table
from functions.store.keys import Key
from functions.store.table import Bounded, Write

SHARES = 16
ENTITY = "limit"
TRIES_MAX = 2 * SHARES


@dataclass(frozen=True, slots=True)
class Limits:
    """What a campaign allows a customer of a tenant."""

    campaign: Campaign
    tenant: str
    customer: str

    @property
    def own(self) -> Bounded | None:
        """The customer's count; it is of the account, so that an erasure need not find it, and does not undo it."""
        limit = self.campaign.claims_per_customer
        if limit is None:
            return None
        account = persons.account_of(customer(self.tenant, self.customer))
        return Bounded(keys.claims_of(self.campaign.id, self.tenant, account), limit)

    @property
    def shares(self) -> list[Bounded]:
        """The shares of what may be claimed in all; none where there is no such limit."""
        total = self.campaign.claims_max or 0
        sizes = [total // SHARES + (share < total % SHARES) for share in range(SHARES)]
        return [Bounded(keys.claims_share(self.campaign.id, n), size) for n, size in enumerate(sizes) if size]

    def refuse(self) -> None:
        """Raise Refusal `claim_limit_reached` where it is reached by now, so that nothing need be planned."""
        shares = self.shares
        some = random.choice(shares) if shares else None
        wanted = [each for each in (self.own, some) if each is not None]
        full = _full(wanted)
        if self.own in full:
            raise _of_customer(self.campaign)
        if some in full and len(_full(shares)) == len(shares):
            raise _of_campaign(self.campaign)


def commit(limits: Limits | None, writes: list[Write], command: str, by: By) -> bool:
    """Write things in one transaction with the counts that bound them; says whether none of the things had moved.

    Raises Refusal `claim_limit_reached`, or as `table.commit`.
    """
    if limits is None:
        return not table.commit(writes, [], ENTITY, command, by)
    open_shares = limits.shares
    for _ in range(TRIES_MAX):
        share = [random.choice(open_shares)] if open_shares else []
        own = [limits.own] if limits.own is not None else []
        failed = table.commit(writes, [*own, *share], ENTITY, command, by)
        if not failed:
            return True
        if any(n < len(writes) for n in failed):
            return False
        if own and len(writes) in failed:
            raise _of_customer(limits.campaign)
        full = _full(limits.shares)
        open_shares = [each for each in limits.shares if each not in full]
        if not open_shares:
            raise _of_campaign(limits.campaign)
    raise Refusal("try_again", "Others are claiming the same.", retry_after_s=1)


def _full(sums: list[Bounded]) -> set[Bounded]:
    items = table.get_many(each.key for each in sums)
    return {each for each in sums if _used(items, each.key) >= each.limit}


def _used(items: dict[Key, table.Item], key: Key) -> int:
    return int(items.get(key, {}).get("used", 0))


def _of_customer(campaign: Campaign) -> Refusal:
    detail = f"Each customer may claim {campaign.claims_per_customer} of this campaign."
    return Refusal("claim_limit_reached", detail, extra={"limit": "claims_per_customer"})


def _of_campaign(campaign: Campaign) -> Refusal:
    return Refusal("claim_limit_reached", f"{campaign.claims_max} could be claimed.", extra={"limit": "claims_max"})
