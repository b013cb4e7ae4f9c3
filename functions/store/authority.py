"""What campaigns say of their recoveries and reveals, and how much clients have ordered alone by it."""

from __future__ import annotations

from collections.abc import Iterable

from functions.domain.authority import RecoveryRules, Spent
from functions.store import keys, table
from functions.store.records import CAMPAIGN
from functions.store.table import Entity

SPENT: Entity[Spent] = Entity("spent", Spent, key=lambda s: keys.spent(s.client, s.campaign, s.action))


def rules(campaigns: Iterable[str]) -> dict[str, RecoveryRules]:
    """By campaign; the default ones where it states none."""
    found = table.get_all(map(keys.campaign, campaigns))
    return {each.id: each.recovery_rules or RecoveryRules() for each in map(CAMPAIGN.load, found.values())}


def spent(client: str, action: str, campaigns: Iterable[str]) -> dict[str, Spent]:
    """By campaign; of version 0 where the client has ordered nothing alone."""
    wanted = {campaign: keys.spent(client, campaign, action) for campaign in campaigns}
    found = table.get_all(wanted.values())
    return {
        campaign: SPENT.load(found[key]) if key in found else Spent(client, campaign, action)
        for campaign, key in wanted.items()
    }
