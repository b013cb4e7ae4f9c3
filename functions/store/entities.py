"""The kinds of item that the table holds."""

from __future__ import annotations

from functions.domain.actor import Client
from functions.domain.campaign import Batch, Campaign, LotCounter
from functions.domain.channel import Channel
from functions.domain.command import Command, Reveal
from functions.domain.events import Event, Holding
from functions.domain.lot import Lot
from functions.domain.message import Message
from functions.domain.recovery import Recovered, Recovery, Report
from functions.domain.voucher import Voucher
from functions.domain.wallet import place
from functions.store import keys
from functions.store.table import Entity

CLIENT: Entity[Client] = Entity(
    "client",
    Client,
    key=lambda c: keys.client(c.client_id),
    index=lambda c: keys.in_list("client", c.client_id, c.created_at),
)
CAMPAIGN: Entity[Campaign] = Entity(
    "campaign",
    Campaign,
    key=lambda c: keys.campaign(c.id),
    index=lambda c: keys.in_list("campaign", c.id, c.created_at),
)
CHANNEL: Entity[Channel] = Entity(
    "channel",
    Channel,
    key=lambda c: keys.channel(c.id),
    index=lambda c: keys.in_list("channel", c.id, c.created_at),
)
STOCK: Entity[Holding] = Entity("stock", Holding, key=lambda h: keys.stock(h.channel, h.lot))
BATCH: Entity[Batch] = Entity("batch", Batch, key=lambda b: keys.batch(b.id))
COMMAND: Entity[Command] = Entity("command", Command, key=lambda c: keys.command(c.id))
REVEAL: Entity[Reveal] = Entity("reveal", Reveal, key=lambda r: keys.reveal(r.id))
COUNTER: Entity[LotCounter] = Entity("counter", LotCounter, key=lambda c: keys.lot_counter(c.code_format))
LOT: Entity[Lot] = Entity("lot", Lot, key=lambda lot: keys.lot(lot.number))


def _in_wallet(voucher: Voucher) -> keys.Key | None:
    found = place(voucher)
    return keys.held(*found, voucher.position) if found is not None else None


VOUCHER: Entity[Voucher] = Entity(
    "voucher",
    Voucher,
    key=lambda v: keys.voucher(v.position),
    index=lambda v: keys.touched(v.position),
    index2=_in_wallet,
)
RECOVERY: Entity[Recovery] = Entity(
    "recovery",
    Recovery,
    key=lambda r: keys.recovery(r.id),
    index=lambda r: keys.in_list("recovery", r.id, r.created_at),
)
REPORT: Entity[Report] = Entity("report", Report, key=lambda r: keys.report(r.recovery, r.lot))
RECOVERED: Entity[Recovered] = Entity("recovered", Recovered, key=lambda r: keys.recovered(r.recovery, r.position))


def _history(event: Event) -> keys.Key:
    assert event.subject is not None
    return keys.history(*event.subject, event.at, event.version, event.id)


HISTORY: Entity[Event] = Entity("history", Event, key=_history)
MESSAGE: Entity[Message] = Entity(
    "message",
    Message,
    key=lambda m: keys.message(m.id),
    index=lambda m: keys.received(m.recipient, m.id, m.created_at),
)
