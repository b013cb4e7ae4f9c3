"""Webhooks: whom of a tenant's systems an event is told to, what it is told, and what becomes of it.

As Standard Webhooks has it (https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md): an id
that stays the same however often it is sent, the time of sending, and a signature over id, time and body for each
secret that is good at the time. What was not answered with a 2xx is sent again, for days; an endpoint that fails all
the while is disabled. An endpoint that fails, or is slow, is left alone for a while, so that it keeps nobody waiting.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from functions.domain.actor import By, in_sandbox
from functions.domain.delivery import wait_s
from functions.domain.ids import derived

DAY_S = 86_400
OPERATOR = "operator"
"""The tenant of the operator's own staff: every live event concerns it."""
TEST, MESSAGE_ENDED = "webhook.test", "message.ended"
TOLD: dict[str, tuple[str, ...]] = {
    "voucher.redeemed": ("serial", "redemption", "hold"),
    "voucher.reversed": ("serial", "redemption", "reversal", "credited"),
    "voucher.recovered": ("serial", "recovery", "action", "reason"),
    "voucher.suspended": ("serial", "recovery"),
    "voucher.resumed": ("serial", "recovery"),
    "voucher.voided": ("serial", "recovery"),
    "lot.recalled": ("recovery", "action", "scope", "serials"),
    "lot.resumed": ("recovery", "serials"),
    "lot.reclaimed": ("recovery", "serials"),
    "recovery.completed": ("id", "action", "selected", "recovered"),
    MESSAGE_ENDED: ("id", "serial", "event", "redemption", "status", "reason"),
}
"""Type of event → what of its data an endpoint is told. Never who gave the command: that may be another tenant's."""

WEBHOOKS_MAX = 20
"""A tenant has so many."""
PLACES_MAX = 100
"""And so many with those that it has deleted a moment ago."""
SECRET_BYTES = 32
SECRET = "whsec_"
SECRETS_MAX = 3
ROTATIONS_KEPT = 20
OVERLAP_MAX_S = 7 * DAY_S
URL_LENGTH_MAX = 500
PORTS = (443, 8443)

BASE_S = 5.0
LONGEST_S = 8 * 3_600
LASTS_S = 3 * DAY_S
"""What was not taken for so long is given up."""
ATTEMPTS_MAX = 40
"""Of one round; the waits grow so that three days take about thirty."""
ATTEMPTS_KEPT = 60
BUSY = (429, 503)
"""Answers whose `Retry-After` is waited for."""
RETRY_AFTER_MAX_S = 3_600
"""But for no longer."""
REPLAYS_MAX = 20
KEPT_S = 40 * DAY_S
"""A delivery is known for so long: longer than events can come again (the bus's archive keeps them for 30 days)."""
TOMBSTONE_S = DAY_S

SLOW_MS = 3_000
"""An answer that takes longer counts as a strike against its endpoint, good as it may be."""
STRIKES_MAX = 3
"""After so many in a row an endpoint gets one request at a time, and pauses in between."""
PROBE_BASE_S = 15
PROBE_MAX_S = 900
DISABLED_AFTER_S = 3 * DAY_S
"""An endpoint that has failed for so long without a single success is disabled."""


class Status(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    FAILED = "failed"


GONE, DISABLED, EXPIRED = "gone", "endpoint_disabled", "expired"
REASONS: dict[str, str] = {
    "bad_status": "It was answered, but not with a 2xx.",
    "redirected": "It was answered with a redirect, which is never followed.",
    GONE: "It was answered 410: the endpoint wants no more, and is disabled.",
    "timed_out": "It was not answered in time.",
    "not_connected": "No connection came about, or it broke.",
    "not_resolved": "The name has no address.",
    "address_refused": "The name has an address that is not public.",
    "certificate": "The certificate is not good for the name.",
    "nonsense": "What came back is not HTTP.",
    DISABLED: "The endpoint was disabled or deleted.",
    EXPIRED: "It was not taken for three days.",
}
"""Why an attempt, or a delivery, came to nothing."""


class Secret(NamedTuple):
    """A secret, wrapped by KMS; it signs until `expires_at`."""

    wrapped: bytes
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """An endpoint of a tenant, and which types of events it is told. The newest secret comes first; `rotations` are the
    commands that made those after the first, the last ones of them."""

    id: str
    tenant: str
    url: str
    types: tuple[str, ...]
    secrets: tuple[Secret, ...]
    fingerprint: str
    by: By
    created_at: int
    rotations: tuple[str, ...] = ()
    disabled_at: int | None = None
    disabled_for: str | None = None
    deleted_at: int | None = None
    ttl_epoch_s: int | None = None
    version: int = 0

    @property
    def is_live(self) -> bool:
        """Whether anything is sent to it."""
        return self.disabled_at is None and self.deleted_at is None

    def wants(self, type: str, sandbox: bool) -> bool:
        """Whether it is told an event of its tenant's: one of a type that it named, and of its own world."""
        return self.is_live and type in self.types and in_sandbox(self.tenant) == sandbox

    def good(self, now: int) -> list[Secret]:
        """The secrets to sign with."""
        return [secret for secret in self.secrets if secret.expires_at is None or now < secret.expires_at]

    def rotated(self, wrapped: bytes, command: str, overlap_s: int, now: int) -> Webhook:
        """With a new secret; those before it are good for `overlap_s` more at most."""
        ends = now + overlap_s
        old = [s._replace(expires_at=min(ends, s.expires_at or ends)) for s in self.good(now)]
        kept = [s for s in old if s.expires_at is not None and s.expires_at > now][: SECRETS_MAX - 1]
        rotations = (*self.rotations, command)[-ROTATIONS_KEPT:]
        return replace(self, secrets=(Secret(wrapped), *kept), rotations=rotations)

    def disabled(self, reason: str, now: int) -> Webhook:
        """Nothing is sent to it any more, until a test succeeds."""
        return replace(self, disabled_at=now, disabled_for=reason)

    def enabled(self) -> Webhook:
        """Events are sent to it again, those from now on."""
        return replace(self, disabled_at=None, disabled_for=None)

    def deleted(self, now: int) -> Webhook:
        """Nothing is left of it but that it was there."""
        return replace(self, url="", types=(), secrets=(), deleted_at=now, ttl_epoch_s=now + TOMBSTONE_S)


@dataclass(frozen=True, slots=True)
class Pulse:
    """How an endpoint does: how many strikes in a row, failing since when, and from when on it may be asked again."""

    webhook: str
    strikes: int = 0
    failing_since: int | None = None
    next_at: int = 0
    version: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it is asked once in a while only."""
        return self.strikes >= STRIKES_MAX

    def leased(self, now: int) -> Pulse:
        """With its next request taken: nobody else makes one until this one must have ended, and its pause."""
        return replace(self, next_at=now + self._pause_s)

    def struck(self, *, failed: bool, now: int, wanted_s: int = 0) -> Pulse:
        """After a failure, or a success that took too long; it may have asked for a pause."""
        after = replace(self, strikes=self.strikes + 1, failing_since=(self.failing_since or now) if failed else None)
        pause_s = max(after._pause_s if after.is_open else 0, wanted_s)
        return replace(after, next_at=now + pause_s if pause_s else 0)

    def well(self) -> Pulse:
        """After a success."""
        return replace(self, strikes=0, failing_since=None, next_at=0)

    def is_hopeless(self, now: int) -> bool:
        """Whether it has failed for so long that it is disabled."""
        return self.failing_since is not None and now >= self.failing_since + DISABLED_AFTER_S

    @property
    def _pause_s(self) -> int:
        return min(PROBE_MAX_S, PROBE_BASE_S << min(max(self.strikes - STRIKES_MAX, 0), 10))


class Attempt(NamedTuple):
    """One request: `status_code` where there was an answer, `reason` where it was not a good one; and how long it asked
    to be left alone."""

    at: int
    duration_ms: int
    status_code: int | None = None
    reason: str | None = None
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event to one endpoint; `id` is its `webhook-id`. `made` attempts were made, the last ones of which are kept.

    Each replay begins a new round of attempts, which lasts until `until`.
    """

    id: str
    webhook: str
    tenant: str
    type: str
    body: str
    created_at: int
    until: int
    ttl_epoch_s: int
    status: Status = Status.QUEUED
    reason: str | None = None
    due_at: int = 0
    attempts: tuple[Attempt, ...] = ()
    made: int = 0
    round_began: int = 0
    replays: tuple[str, ...] = ()
    version: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more is tried."""
        return self.status is not Status.QUEUED

    def attempted(self, attempt: Attempt, jitter: float) -> Delivery:
        """The delivery with one more attempt; where that failed and another may help, it is due after a while."""
        after = replace(self, attempts=(*self.attempts, attempt)[-ATTEMPTS_KEPT:], made=self.made + 1, reason=None)
        if attempt.reason is None:
            return replace(after, status=Status.DELIVERED)
        of_round = after.made - self.round_began
        wanted = attempt.at + max(round(wait_s(of_round - 1, BASE_S, jitter, LONGEST_S)), attempt.retry_after_s or 0)
        if attempt.reason == GONE or wanted >= self.until or of_round >= ATTEMPTS_MAX:
            return replace(after, status=Status.FAILED, reason=attempt.reason)
        return replace(after, due_at=wanted)

    def given_up(self, reason: str) -> Delivery:
        """The delivery, of which nothing came."""
        return replace(self, status=Status.FAILED, reason=reason)

    def replayed(self, replay: str, now: int) -> Delivery:
        """The delivery in a new round, due at once."""
        return replace(
            self,
            status=Status.QUEUED,
            reason=None,
            due_at=now,
            until=now + LASTS_S,
            ttl_epoch_s=now + KEPT_S,
            round_began=self.made,
            replays=(*self.replays, replay),
        )


@dataclass(frozen=True, slots=True)
class Roster:
    """The endpoints that a tenant has: each is added and taken out in the write that makes and deletes it."""

    tenant: str
    webhooks: tuple[str, ...] = ()
    version: int = 0


def retry_after_s(status_code: int | None, value: str | None, now: int) -> int | None:
    """How long an answer asks to be left alone, by seconds or by a date (RFC 9110, 10.2.3), within bounds.

    None where it does not, or not in a way that makes sense.
    """
    if status_code not in BUSY or value is None:
        return None
    if re.fullmatch("[0-9]{1,10}", value):
        wanted = int(value)
    else:
        try:
            wanted = int(parsedate_to_datetime(value).timestamp()) - now
        except (ValueError, OverflowError):
            return None
    return min(max(wanted, 0), RETRY_AFTER_MAX_S)


def delivery_of(webhook: Webhook, event: str, type: str, body: str, now: int) -> Delivery:
    """The delivery of an event to an endpoint: the same event comes under the same id, however often it is told."""
    id = f"whd_{derived(event, webhook.id)}"
    return Delivery(id, webhook.id, webhook.tenant, type, body, now, now + LASTS_S, now + KEPT_S, due_at=now)


def trial_of(webhook: Webhook, id: str, body: str, now: int) -> Delivery:
    """A delivery that is tried once."""
    return Delivery(id, webhook.id, webhook.tenant, TEST, body, now, now, now + KEPT_S, due_at=now)


def body_of(type: str, at: str, data: Mapping[str, Any]) -> str:
    """What is sent: the type, when it happened (RFC 3339), and what of the data is for others."""
    told = {name: data[name] for name in TOLD.get(type, tuple(data)) if data.get(name) is not None}
    return json.dumps({"type": type, "timestamp": at, "data": told}, ensure_ascii=False, separators=(",", ":"))


def signature(secret: bytes, id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 of id, timestamp (epoch seconds) and body, in base64."""
    digest = hmac.digest(secret, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{b64encode(digest).decode()}"


def headers_of(secrets: Iterable[bytes], id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks, with a signature for each secret."""
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, id, timestamp, body) for secret in secrets),
    }


def shown(secret: bytes) -> str:
    """A secret as its owner gets it."""
    return SECRET + b64encode(secret).decode()


_URL = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
"""Printable ASCII without a backslash, in which readers of addresses differ."""
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)*{_LABEL}")
"""In lower case, as `urlsplit` tells it."""


class Target(NamedTuple):
    """Where a webhook goes: `name` is as it stands in the address; nothing is resolved yet."""

    secure: bool
    name: str
    port: int
    path: str


def target_of(url: str, *, local: bool = False) -> Target:
    """The parts of an address. Raises ValueError, which says what is wrong with it.

    HTTPS, on the ports of it, to a name or an IPv4 address, without credentials or fragment. `local` is for
    development: plain HTTP and any port, too.
    """
    if len(url) > URL_LENGTH_MAX or not _URL.fullmatch(url):
        raise ValueError(f"at most {URL_LENGTH_MAX} printable ASCII characters")
    parts = urlsplit(url)
    if parts.scheme != "https" and not (local and parts.scheme == "http"):
        raise ValueError("it must begin with https://")
    if "@" in parts.netloc or "#" in url:
        raise ValueError("no credentials and no fragment")
    name, secure = parts.hostname or "", parts.scheme == "https"
    if not _NAME.fullmatch(name):
        raise ValueError("it names no host")
    port = parts.port if parts.port is not None else 443 if secure else 80
    if port not in PORTS and not local:
        raise ValueError(f"the port must be one of {', '.join(map(str, PORTS))}")
    return Target(secure, name, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
