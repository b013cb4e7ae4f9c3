"""Dispenses (发卡): the next codes of a campaign to a buyer, each to one only."""

from __future__ import annotations

from functions.domain.actor import By
from functions.domain.campaign import Campaign
from functions.domain.draw import Draw
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import Voucher
from functions.store import draws, keys, table
from functions.store.codes import codes_of
from functions.store.draws import Taken
from functions.store.reach import Reach
from functions.store.records import CAMPAIGN

KIND = "dispense"


def dispense(id: str, campaign: str, quantity: int, channel: str | None, buyer: str | None, by: By, now: int) -> Taken:
    """Hand vouchers out of a campaign's stock, or of a channel's, or give back what a repeat got.

    Raises Refusal `not_found`, or as `source` and `draws.take`.
    """
    asked = fingerprint({"campaign": campaign, "quantity": quantity, "channel": channel, "buyer": buyer})
    wanted = Draw(id, KIND, campaign, quantity, asked, by, now, channel=source(channel, by), buyer=buyer)
    return draws.take(wanted, campaign_of(campaign, by), by, now)


def source(channel: str | None, by: By) -> str | None:
    """Whose stock a caller draws from: the operator's or a channel's; a tenant's clients, of its own channels only.

    Raises Refusal `invalid_request`, or as `Reach.channel`.
    """
    if channel is None:
        if by.is_tenant:
            raise Refusal("invalid_request", errors=[{"field": "channel", "detail": "name one of your channels"}])
        return None
    return Reach(by).channel(channel).id


def campaign_of(id: str, by: By) -> Campaign:
    """A campaign to be drawn from. Raises Refusal `not_found`, the same for one of the other world and for none."""
    campaign = table.read(CAMPAIGN, keys.campaign(id))
    if campaign is None or campaign.rules.sandbox != by.is_sandbox:
        raise Refusal("not_found", f"There is no campaign {id}.")
    return campaign


def find(id: str, by: By) -> Taken:
    """A dispense. Raises Refusal `not_found`, the same for another's, for one that took nothing, and for none."""
    done = draws.find(id)
    if done is None or done.draw.kind != KIND or (by.is_tenant and done.draw.by.tenant != by.tenant):
        raise Refusal("not_found")
    return done


def code_of(done: Taken, voucher: Voucher) -> str:
    """The code of a voucher that was drawn."""
    return dict(shown(done))[voucher.serial]


def shown(done: Taken) -> list[tuple[str, str]]:
    """Serial and code of what was drawn, as they were then: those of the generation that was drawn."""
    wanted: dict[int, dict[int, int]] = {}
    for voucher in done.vouchers:
        mark = voucher.drawn(done.draw.id)
        assert mark is not None, "it was drawn"
        wanted.setdefault(voucher.position // LOT_SIZE, {})[voucher.position % LOT_SIZE] = mark.generation
    found = {number: codes_of(done.lots[number], generations) for number, generations in wanted.items()}
    return [(v.serial, found[v.position // LOT_SIZE][v.position % LOT_SIZE]) for v in done.vouchers]
