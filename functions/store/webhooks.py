"""Webhook endpoints, how they do, and what was sent to them; and their secrets, which KMS wraps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.webhook import SECRET_BYTES, Delivery, Pulse, Roster, Secret, Webhook
from functions.store import keys, table
from functions.store.aws import client
from functions.store.keys import Key
from functions.store.table import CONFLICTS_MAX, Conflict, Entity

WEBHOOK_KEY_ARN = "WEBHOOK_KEY_ARN"
_CACHED_FOR_S = 300.0
_CACHED_MAX = 1_000

WEBHOOK: Entity[Webhook] = Entity("webhook", Webhook, key=lambda w: keys.webhook(w.tenant, w.id))
ROSTER: Entity[Roster] = Entity("roster", Roster, key=lambda r: keys.roster(r.tenant))
PULSE: Entity[Pulse] = Entity("pulse", Pulse, key=lambda p: keys.pulse(p.webhook))
DELIVERY: Entity[Delivery] = Entity(
    "delivery",
    Delivery,
    key=lambda d: keys.delivery(d.id),
    index=lambda d: keys.delivered(d.webhook, d.id, d.created_at),
)

_opened: dict[bytes, tuple[float, bytes]] = {}


def of_tenant(tenant: str, limit: int) -> list[Webhook]:
    """All endpoints of a tenant, consistently, those deleted a moment ago too."""
    found = table.query(keys.webhooks_of(tenant), limit=limit, after=keys.WEBHOOK, index="")
    return [WEBHOOK.load(item) for item in found]


def add(webhook: Webhook, most: int, by: By) -> Webhook | None:
    """The endpoint of that id: this one, if there was none. None where its tenant has so many already.

    Raises Refusal `try_again`.
    """
    for _ in range(CONFLICTS_MAX):
        items = table.get_many([webhook_place := WEBHOOK.key(webhook), place := keys.roster(webhook.tenant)])
        if webhook_place in items:
            return WEBHOOK.load(items[webhook_place])
        roster = ROSTER.load(items[place]) if place in items else Roster(webhook.tenant)
        if len(roster.webhooks) >= most:
            return None
        made = replace(webhook, version=1)
        after = replace(roster, webhooks=(*roster.webhooks, webhook.id), version=roster.version + 1)
        with suppress(Conflict):
            table.put_all([(ROSTER, after, roster.version), (WEBHOOK, made, 0)], "create", by)
            return made
    raise _busy()


def remove(key: Key, decide: Callable[[Webhook | None], Webhook], by: By) -> None:
    """Write an endpoint as it is decided that it ends, and take it out of its tenant's.

    Raises Refusal `try_again`, and whatever `decide` does.
    """
    for _ in range(CONFLICTS_MAX):
        webhook = table.read(WEBHOOK, key)
        ended = decide(webhook)
        assert webhook is not None
        roster = table.read(ROSTER, keys.roster(ended.tenant)) or Roster(ended.tenant)
        left = tuple(id for id in roster.webhooks if id != ended.id)
        after = replace(roster, webhooks=left, version=roster.version + 1)
        with suppress(Conflict):
            ended = replace(ended, version=webhook.version + 1)
            table.put_all([(ROSTER, after, roster.version), (WEBHOOK, ended, webhook.version)], "delete", by)
            return
    raise _busy()


def _busy() -> Refusal:
    return Refusal("try_again", "Others are changing the tenant's webhooks.", retry_after_s=1)


def new_secret(tenant: str, webhook: str) -> tuple[bytes, bytes]:
    """A fresh secret, in clear and wrapped."""
    reply = client("kms").generate_data_key(
        KeyId=os.environ[WEBHOOK_KEY_ARN], NumberOfBytes=SECRET_BYTES, EncryptionContext=_context(tenant, webhook)
    )
    return reply["Plaintext"], reply["CiphertextBlob"]


def opened(webhook: Webhook, secret: Secret) -> bytes:
    """A secret in clear; it is asked for again after five minutes."""
    expires, known = _opened.get(secret.wrapped, (0.0, b""))
    if time.monotonic() > expires:
        reply = client("kms").decrypt(
            CiphertextBlob=secret.wrapped,
            KeyId=os.environ[WEBHOOK_KEY_ARN],
            EncryptionContext=_context(webhook.tenant, webhook.id),
        )
        known = reply["Plaintext"]
        if len(_opened) >= _CACHED_MAX:
            _opened.clear()
        _opened[secret.wrapped] = time.monotonic() + _CACHED_FOR_S, known
    return known


def _context(tenant: str, webhook: str) -> dict[str, str]:
    return {"tenant": tenant, "webhook": webhook}
