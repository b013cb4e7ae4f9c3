"""Campaigns: created once, listed, looked up."""

from __future__ import annotations

from functions.domain.actor import By
from functions.domain.campaign import Campaign
from functions.domain.errors import Refusal
from functions.store import cursors, keys, table
from functions.store.entities import CAMPAIGN


def create(campaign: Campaign) -> Campaign:
    """Write the campaign, or give back what an earlier request made, even if its validity is over by now.

    Raises Refusal `invalid_request` where a new one would be over already, `idempotency_key_reused`.
    """
    over = campaign.valid_until is not None and campaign.valid_until <= campaign.created_at

    def once(current: Campaign | None) -> Campaign | None:
        if current is None:
            if over:
                raise Refusal("invalid_request", errors=[{"field": "valid_until", "detail": "lies in the past"}])
            return campaign
        if current.fingerprint != campaign.fingerprint:
            raise Refusal("idempotency_key_reused", "Use a new key for a new campaign.")
        return None

    known = table.read(CAMPAIGN, keys.campaign(campaign.id)) if over else None
    return table.change(CAMPAIGN, known, once, "create_campaign", campaign.by)


def find(id: str) -> Campaign:
    """A campaign. Raises Refusal `not_found`."""
    campaign = table.read(CAMPAIGN, keys.campaign(id))
    if campaign is None:
        raise Refusal("not_found", "There is no such campaign.")
    return campaign


def page(limit: int, cursor: str | None, by: By) -> tuple[list[Campaign], str | None]:
    """Newest first: the next of each shard of the list, merged. Raises Refusal `invalid_cursor`."""
    after = cursors.unseal(cursor, by.client, "campaigns") if cursor is not None else None
    entries = [
        entry
        for shard in range(keys.LIST_SHARDS)
        for entry in table.query(keys.list_shard("campaign", shard), limit=limit + 1, after=after, newest_first=True)
    ]
    entries.sort(key=lambda entry: str(entry["gsi1sk"]), reverse=True)
    shown, more = entries[:limit], len(entries) > limit
    items = table.get_many(keys.Key(entry["pk"], entry["sk"]) for entry in shown)
    campaigns = [CAMPAIGN.load(items[keys.Key(entry["pk"], entry["sk"])]) for entry in shown]
    return campaigns, cursors.seal(shown[-1]["gsi1sk"], by.client, "campaigns") if more else None
