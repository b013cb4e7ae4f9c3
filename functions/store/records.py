"""The kinds of item that orders, jobs and messages are kept in."""

from __future__ import annotations

from functions.domain.actor import Client
from functions.domain.campaign import Batch, Campaign, LotCounter
from functions.domain.channel import Channel
from functions.domain.command import Command, Reveal
from functions.domain.complaint import Complaint
from functions.domain.message import Message, Pointer, Status
from functions.domain.recovery import Lines, Recovered, Recovery, Report, Spans
from functions.domain.serials import position_of
from functions.store import keys
from functions.store.table import Entity

CLIENT: Entity[Client] = Entity(
    "client",
    Client,
    key=lambda c: keys.client(c.client_id),
    index=lambda c: keys.in_list("client", c.client_id, c.created_at),
)


def _in_store(campaign: Campaign) -> keys.Key | None:
    at = campaign.reclaim.next_at if campaign.reclaim is not None else None
    return keys.reclaiming(campaign.id, at) if at is not None else None


CAMPAIGN: Entity[Campaign] = Entity(
    "campaign",
    Campaign,
    key=lambda c: keys.campaign(c.id),
    index=lambda c: keys.in_list("campaign", c.id, c.created_at),
    index2=_in_store,
)
CHANNEL: Entity[Channel] = Entity(
    "channel",
    Channel,
    key=lambda c: keys.channel(c.id),
    index=lambda c: keys.in_list("channel", c.id, c.created_at),
    index2=lambda c: keys.channel_of(c.tenant, c.id) if c.tenant is not None else None,
)
BATCH: Entity[Batch] = Entity(
    "batch",
    Batch,
    key=lambda b: keys.batch(b.id),
    index=lambda b: keys.batch_of(b.campaign, b.id, b.first),
)
COMMAND: Entity[Command] = Entity("command", Command, key=lambda c: keys.command(c.id))
REVEAL: Entity[Reveal] = Entity("reveal", Reveal, key=lambda r: keys.reveal(r.id))
COUNTER: Entity[LotCounter] = Entity("counter", LotCounter, key=lambda c: keys.lot_counter(c.code_format))
RECOVERY: Entity[Recovery] = Entity(
    "recovery",
    Recovery,
    key=lambda r: keys.recovery(r.id),
    index=lambda r: keys.in_list("recovery", r.id, r.created_at),
)
REPORT: Entity[Report] = Entity("report", Report, key=lambda r: keys.report(r.recovery, r.lot))
RECOVERED: Entity[Recovered] = Entity("recovered", Recovered, key=lambda r: keys.recovered(r.recovery, r.position))
SPANS: Entity[Spans] = Entity("spans", Spans, key=lambda s: keys.selected(s.recovery, s.fingerprint, s.number))
LINES: Entity[Lines] = Entity("lines", Lines, key=lambda e: keys.file_lines(e.recovery, e.fingerprint, e.number))


def _awaits(message: Message) -> keys.Key | None:
    since = message.awaits_since
    return keys.awaiting(message.id, since) if since is not None else None


def _waits(message: Message) -> keys.Key | None:
    """For its receipt, or for a rule to let it go."""
    if message.status is Status.HELD:
        return keys.held_back(message.id, message.due_at)
    return _awaits(message)


def _about(message: Message) -> keys.Key | None:
    position = position_of(message.serial)
    return keys.told_of(position, message.id, message.created_at) if position is not None else None


MESSAGE: Entity[Message] = Entity(
    "message",
    Message,
    key=lambda m: keys.message(m.id),
    index=lambda m: keys.received(m.recipient, m.id, m.created_at),
    index2=_waits,
    index3=_about,
)
COMPLAINT: Entity[Complaint] = Entity(
    "complaint",
    Complaint,
    key=lambda c: keys.complaint(c.id),
    index=lambda c: keys.in_list("complaint", c.id, c.created_at),
)
POINTER: Entity[Pointer] = Entity("pointer", Pointer, key=lambda p: keys.pointer(p.provider, p.provider_id))
