"""Campaigns: created once, looked up."""

from __future__ import annotations

from functions.domain.campaign import Campaign
from functions.domain.errors import Refusal
from functions.store import keys, table
from functions.store.entities import CAMPAIGN


def create(campaign: Campaign) -> Campaign:
    """Write the campaign, or give back what an earlier request made. Raises Refusal `idempotency_key_reused`."""

    def once(current: Campaign | None) -> Campaign | None:
        if current is None:
            return campaign
        if current.fingerprint != campaign.fingerprint:
            raise Refusal("idempotency_key_reused", "Use a new key for a new campaign.")
        return None

    return table.change(CAMPAIGN, None, once, "create_campaign", campaign.by)


def find(id: str) -> Campaign:
    """A campaign. Raises Refusal `not_found`."""
    campaign = table.read(CAMPAIGN, keys.campaign(id))
    if campaign is None:
        raise Refusal("not_found", "There is no such campaign.")
    return campaign
