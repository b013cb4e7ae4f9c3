"""Dispenses (发卡): the next codes of a campaign to a buyer, each to one only."""

from __future__ import annotations

from collections.abc import Sequence

from functions.distribute import channels
from functions.domain.actor import By
from functions.domain.campaign import Campaign
from functions.domain.codes import codes
from functions.domain.draw import Draw
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint
from functions.domain.lot import Lot
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import Voucher
from functions.store import draws, keys, table, vault
from functions.store.draws import Taken
from functions.store.entities import CAMPAIGN

KIND = "dispense"


def dispense(id: str, campaign: str, quantity: int, channel: str | None, buyer: str | None, by: By, now: int) -> Taken:
    """Hand vouchers out of a campaign's stock, or of a channel's, or give back what a repeat got.

    Raises Refusal `not_found`, or as `source` and `draws.take`.
    """
    asked = fingerprint({"campaign": campaign, "quantity": quantity, "channel": channel, "buyer": buyer})
    wanted = Draw(id, KIND, campaign, quantity, asked, by, now, channel=source(channel, by), buyer=buyer)
    return draws.take(wanted, campaign_of(campaign), by, now)


def source(channel: str | None, by: By) -> str | None:
    """Whose stock a caller draws from: the operator's or a channel's; a tenant's clients, of its own channels only.

    Raises Refusal `invalid_request`, or as `channels.find`.
    """
    if channel is None:
        if by.is_tenant:
            raise Refusal("invalid_request", errors=[{"field": "channel", "detail": "name one of your channels"}])
        return None
    return channels.find(channel, by).id


def campaign_of(id: str) -> Campaign:
    """A campaign. Raises Refusal `not_found`."""
    campaign = table.read(CAMPAIGN, keys.campaign(id))
    if campaign is None:
        raise Refusal("not_found", f"There is no campaign {id}.")
    return campaign


def find(id: str, by: By) -> Taken:
    """A dispense. Raises Refusal `not_found`, the same for another's, for one that took nothing, and for none."""
    done = draws.find(id)
    if done is None or done.draw.kind != KIND or (by.is_tenant and done.draw.by.tenant != by.tenant):
        raise Refusal("not_found")
    return done


def shown(done: Taken) -> list[tuple[str, str]]:
    """Serial and code of what was drawn, as they were then: those of the generation that was drawn."""
    return [(voucher.serial, code) for voucher, code in zip(done.vouchers, _codes(done), strict=True)]


def _codes(done: Taken) -> Sequence[str]:
    return [_code(done.lots[v.position // LOT_SIZE], v, done.draw.id) for v in done.vouchers]


def _code(lot: Lot, voucher: Voucher, draw: str) -> str:
    index, mark = voucher.position % LOT_SIZE, voucher.drawn(draw)
    part = lot.part(index)
    assert part is not None and mark is not None, "it was drawn"
    key = vault.unwrap(part.wrapped_key, part.batch)
    (code,) = codes(key, lot.rules.format, lot.number, mark.generation, index, index)
    return code
