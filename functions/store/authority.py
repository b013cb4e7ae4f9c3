"""What campaigns say of their recoveries and reveals."""

from __future__ import annotations

from collections.abc import Iterable

from functions.domain.authority import RecoveryRules
from functions.store import keys, table
from functions.store.records import CAMPAIGN
from functions.store.table import BATCH_GET_MAX


def rules(campaigns: Iterable[str]) -> dict[str, RecoveryRules]:
    """By campaign; the default ones where it states none."""
    wanted = [keys.campaign(id) for id in dict.fromkeys(campaigns)]
    items = [
        item
        for at in range(0, len(wanted), BATCH_GET_MAX)
        for item in table.get_many(wanted[at : at + BATCH_GET_MAX]).values()
    ]
    return {each.id: each.recovery_rules or RecoveryRules() for each in map(CAMPAIGN.load, items)}
