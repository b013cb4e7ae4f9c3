"""Campaigns: created once, looked up."""

from __future__ import annotations

from dataclasses import replace

from functions.domain.actor import By
from functions.domain.campaign import Campaign, refuse_unsafe
from functions.domain.errors import Refusal
from functions.domain.ids import refuse_reuse
from functions.store import keys, table
from functions.store.records import CAMPAIGN


def create(campaign: Campaign) -> Campaign:
    """Write the campaign, or give back what an earlier request made, even if its validity is over by now.

    Raises Refusal `invalid_request` where a new one would be over already, `quantity_exceeded` and
    `guessing_too_likely` where it is planned too large, `idempotency_key_reused`.
    """
    over = campaign.valid_until is not None and campaign.valid_until <= campaign.created_at

    def once(current: Campaign | None) -> Campaign | None:
        if current is None:
            if over:
                raise Refusal("invalid_request", errors=[{"field": "valid_until", "detail": "lies in the past"}])
            refuse_unsafe(campaign.rules, campaign.planned)
            return campaign
        refuse_reuse(current.fingerprint, campaign.fingerprint, "campaign")
        return None

    known = table.read(CAMPAIGN, keys.campaign(campaign.id)) if over else None
    return table.change(CAMPAIGN, known, once, "create_campaign", campaign.by)


def stop_reclaim(id: str, by: By, now: int) -> Campaign:
    """Leave with a campaign's holders what was to be reclaimed; a repeat changes nothing.

    Raises Refusal `not_found`, also where nothing is in store, `reclaim_started`.
    """

    def stopped(current: Campaign | None) -> Campaign | None:
        assert current is not None
        if current.reclaim is None:
            raise Refusal("not_found", "This campaign has no reclaim in store.")
        reclaim = current.reclaim.stopped(now)
        return None if reclaim is None else replace(current, reclaim=reclaim)

    return table.change(CAMPAIGN, find(id), stopped, "stop_reclaim", by)


def find(id: str) -> Campaign:
    """A campaign. Raises Refusal `not_found`."""
    campaign = table.read(CAMPAIGN, keys.campaign(id))
    if campaign is None:
        raise Refusal("not_found", "There is no such campaign.")
    return campaign
