"""Webhook endpoints, how they do, and what was sent to them; and their secrets, which KMS wraps."""

from __future__ import annotations

import os
import time

from functions.domain.webhook import SECRET_BYTES, Delivery, Pulse, Secret, Webhook
from functions.store import keys, table
from functions.store.aws import client
from functions.store.table import Entity

WEBHOOK_KEY_ARN = "WEBHOOK_KEY_ARN"
_CACHED_FOR_S = 300.0
_CACHED_MAX = 1_000

WEBHOOK: Entity[Webhook] = Entity("webhook", Webhook, key=lambda w: keys.webhook(w.tenant, w.id))
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
    return [WEBHOOK.load(item) for item in table.query(keys.webhooks_of(tenant), limit=limit, index="")]


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
