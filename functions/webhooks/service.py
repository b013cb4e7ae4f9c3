"""Events to the endpoints that they concern, each under one id, whatever comes twice, late, or breaks off in between.

An event becomes a delivery for each endpoint, if there is none yet, and each delivery an order of its own on the queue:
no endpoint waits for another. Attempt n is made by order n; order n is done with when attempt n + 1 is ordered, or
nothing follows. A request may be made twice where a worker dies before it has noted the answer: that is what the id is
for.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from functions.domain.actor import TENANTS, By, in_sandbox
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint, refuse_reuse
from functions.domain.serials import LOT_SIZE, position_of, serial_of
from functions.domain.voucher import standing
from functions.domain.webhook import (
    DISABLED,
    EXPIRED,
    GONE,
    MESSAGE_ENDED,
    OPERATOR,
    PLACES_MAX,
    REPLAYS_MAX,
    SLOW_MS,
    TEST,
    WEBHOOKS_MAX,
    Attempt,
    Delivery,
    Pulse,
    Secret,
    Webhook,
    body_of,
    delivery_of,
    headers_of,
    retry_after_s,
    shown,
    target_of,
    trial_of,
)
from functions.store import jobs, keys, lists, table
from functions.store.entities import LOT, VOUCHER
from functions.store.records import CHANNEL, CLIENT
from functions.store.webhooks import DELIVERY, PULSE, WEBHOOK, add, new_secret, of_tenant, opened, remove
from functions.webhooks import sending

WEBHOOK_LOOPBACK = "WEBHOOK_LOOPBACK"
"""Set in the local cloud alone: endpoints may be this machine's own, over plain HTTP."""
GRACE_S = 30
"""So long after attempt n + 1 was due it is taken for never ordered."""
SPREAD_S = 10
FAILING = "failing"
USER_AGENT = "Kami-Webhooks/1"
BY = By("webhooks", "system", "operator", "queue", "")


@dataclass(frozen=True, slots=True)
class Occasion:
    """An event, as the bus tells it."""

    id: str
    type: str
    at: str
    by: By
    data: dict[str, Any]
    sandbox: bool


class Done(NamedTuple):
    """What an order came to: the delivery, and whether its endpoint was disabled for it."""

    delivery: Delivery
    disabled: bool = False


# Endpoints


def _local() -> bool:
    return os.environ.get(WEBHOOK_LOOPBACK) == "allowed"


def create(id: str, url: str, types: list[str], by: By, now: int) -> tuple[Webhook, str | None, bool]:
    """An endpoint of the caller's tenant, its secret, and whether it was there: then without the secret.

    Raises Refusal `invalid_request`, `webhook_limit_reached`, `idempotency_key_reused`.
    """
    try:
        target_of(url, local=_local())
    except ValueError as wrong:
        raise Refusal("invalid_request", errors=[{"field": "url", "detail": str(wrong)}]) from None
    asked = fingerprint({"url": url, "events": sorted(types)})
    existing = of_tenant(by.tenant, PLACES_MAX)
    known = next((webhook for webhook in existing if webhook.id == id), None)
    if known is None:
        secret, wrapped = new_secret(by.tenant, id)
        made = Webhook(id, by.tenant, url, tuple(sorted(set(types))), (Secret(wrapped),), asked, by, now)
        known = add(made, WEBHOOKS_MAX, by) if len(existing) < PLACES_MAX else None
        if known is None:
            raise Refusal("webhook_limit_reached", f"At most {WEBHOOKS_MAX}; delete one that is not needed.")
        if known.secrets == made.secrets:
            return known, shown(secret), False
    refuse_reuse(known.fingerprint, asked)
    return _live(known), None, True


def all_of(by: By) -> list[Webhook]:
    """The endpoints of the caller's tenant, newest first."""
    found = [webhook for webhook in of_tenant(by.tenant, PLACES_MAX) if webhook.deleted_at is None]
    return sorted(found, key=lambda webhook: (-webhook.created_at, webhook.id))


def find(id: str, by: By) -> Webhook:
    """An endpoint of the caller's tenant. Raises Refusal `not_found`, the same for another's and for none."""
    return _live(table.read(WEBHOOK, keys.webhook(by.tenant, id)))


def _live(webhook: Webhook | None) -> Webhook:
    if webhook is None or webhook.deleted_at is not None:
        raise Refusal("not_found", "There is no such webhook.")
    return webhook


def pulse_of(webhook: Webhook) -> Pulse:
    """How an endpoint does."""
    return table.read(PULSE, keys.pulse(webhook.id)) or Pulse(webhook.id)


def delete(id: str, by: By, now: int) -> None:
    """End an endpoint. Raises Refusal `not_found`."""
    remove(keys.webhook(by.tenant, id), lambda current: _live(current).deleted(now), by)


def rotate(id: str, command: str, overlap_s: int, by: By, now: int) -> tuple[Webhook, str | None, bool]:
    """A new secret, beside which the old one is good for a while; a repeat is not told it.

    Raises Refusal `not_found`, `idempotency_key_reused`.
    """
    webhook, made_by = find(id, by), f"{command}#{overlap_s}"
    known = next((each for each in webhook.rotations if each.startswith(f"{command}#")), None)
    if known is not None:
        refuse_reuse(known, made_by)
        return webhook, None, True
    secret, wrapped = new_secret(by.tenant, id)

    def rotated(current: Webhook | None) -> Webhook | None:
        known = _live(current)
        return None if made_by in known.rotations else known.rotated(wrapped, made_by, overlap_s, now)

    after = table.change(WEBHOOK, webhook, rotated, "rotate", by)
    is_own = any(each.wrapped == wrapped for each in after.secrets)
    return after, shown(secret) if is_own else None, not is_own


def test(id: str, delivery_id: str, at: str, by: By, now: int) -> tuple[Delivery, bool]:
    """One request to an endpoint, now, and whether it was made before. A success enables an endpoint that was disabled.

    Raises Refusal `not_found`.
    """
    webhook = find(id, by)
    fresh = trial_of(webhook, delivery_id, body_of(TEST, at, {"webhook": id}), now)
    delivery = _made(fresh, "test", by)
    if delivery.made:
        return delivery, True
    delivery = _noted(delivery, _sent(webhook, delivery, now))
    if delivery.attempts[-1].reason is None:
        _change_pulse(pulse_of(webhook), lambda pulse: pulse.well() if pulse != pulse.well() else None)
        if webhook.disabled_at is not None:
            table.change(WEBHOOK, webhook, _enabled, "enable", by)
    return delivery, False


def _enabled(current: Webhook | None) -> Webhook | None:
    webhook = _live(current)
    return webhook.enabled() if webhook.disabled_at is not None else None


def deliveries(id: str, limit: int, cursor: str | None, by: By) -> tuple[list[Delivery], str | None]:
    """What was sent to an endpoint, newest first. Raises Refusal `not_found`, `invalid_cursor`."""
    return lists.page(DELIVERY, limit, cursor, by, *keys.delivered_to(find(id, by).id))


def replay(id: str, delivery_id: str, command: str, by: By, now: int) -> tuple[Delivery, bool]:
    """Send a delivery again, under its own id, and whether it was ordered before.

    Raises Refusal `not_found`, `webhook_disabled`, `replay_limit_reached`.
    """
    webhook = find(id, by)

    def again(current: Delivery | None) -> Delivery | None:
        if current is None or (current.webhook, current.tenant) != (id, by.tenant):
            raise Refusal("not_found", "There is no such delivery.")
        if command in current.replays:
            return None
        if not webhook.is_live:
            raise Refusal("webhook_disabled", "A test that succeeds enables it again.")
        if len(current.replays) == REPLAYS_MAX:
            raise Refusal("replay_limit_reached", f"At most {REPLAYS_MAX} times.")
        return current.replayed(command, now)

    before = table.read(DELIVERY, keys.delivery(delivery_id))
    after = table.change(DELIVERY, before, again, "replay", by)
    if not after.is_over and command == after.replays[-1]:
        jobs.send_delivery(after.id, after.made + 1, 0)
    return after, before is not None and command in before.replays


# Events


def tell(occasion: Occasion, now: int) -> int:
    """Make an event's deliveries and order them; says to how many endpoints it goes."""
    told = 0
    for tenant, data in sorted(_concerned(occasion, now).items()):
        for webhook in of_tenant(tenant, PLACES_MAX):
            if webhook.wants(occasion.type, occasion.sandbox):
                body = body_of(occasion.type, occasion.at, data)
                delivery = delivery_of(webhook, occasion.id, occasion.type, body, now)
                _made(delivery, "tell", BY)
                jobs.send_delivery(delivery.id, 1, 0)
                told += 1
    return told


def _made(delivery: Delivery, command: str, by: By) -> Delivery:
    """The delivery of that id: this one, if there was none."""
    return table.change(DELIVERY, None, lambda current: None if current else delivery, command, by)


def _concerned(occasion: Occasion, now: int) -> dict[str, dict[str, Any]]:
    """The tenants that an event concerns, and what each is told: whose client gave the command, and the operator; of a
    voucher also whose channel holds it, whose customer has it, and whose client made the redemption; of an SMS who may
    see it (`domain/asking.py`)."""
    data = occasion.data
    if "ranges" in data:
        told = _of_ranges(data)
    else:
        tenants = {OPERATOR, occasion.by.tenant if occasion.by.role in TENANTS else None}
        if occasion.type == MESSAGE_ENDED:
            tenants |= {data.get("tenant"), _tenant_of(data.get("client"))}
        elif "serial" in data:
            tenants |= _of_voucher(occasion, now)
        told = {tenant: data for tenant in tenants if tenant is not None}
    return {tenant: data for tenant, data in told.items() if in_sandbox(tenant) == occasion.sandbox}


def _tenant_of(client: str | None) -> str | None:
    """Of a partner's or a merchant's client; None of others."""
    known = table.read(CLIENT, keys.client(client)) if client is not None else None
    return known.tenant if known is not None and known.role in TENANTS else None


def _of_ranges(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """To each tenant the serials, first and last, that its channels hold of the ranges; to the operator all."""
    ranges = {OPERATOR: list(data["ranges"])}
    for id, held in data.get("channels", {}).items():
        channel = table.read(CHANNEL, keys.channel(id))
        if channel is not None and channel.tenant is not None:
            ranges.setdefault(channel.tenant, []).extend(held)
    lot = data["lot"] * LOT_SIZE
    serials = {tenant: [[serial_of(lot + end) for end in ends] for ends in own] for tenant, own in ranges.items()}
    return {tenant: {**data, "serials": own} for tenant, own in serials.items()}


def _of_voucher(occasion: Occasion, now: int) -> set[str | None]:
    """Raises LookupError where the table knows nothing of it."""
    position = position_of(str(occasion.data["serial"]))
    if position is None:
        raise LookupError("no serial")
    lot_key, voucher_key = keys.lot(position // LOT_SIZE), keys.voucher(position)
    items = table.get_many([lot_key, voucher_key])
    if lot_key not in items:
        raise LookupError("no such voucher")
    item = VOUCHER.load(items[voucher_key]) if voucher_key in items else None
    at = standing(LOT.load(items[lot_key]), position % LOT_SIZE, item, now)
    if at is None:
        raise LookupError("no such voucher")
    channel = table.read(CHANNEL, keys.channel(at.segment.channel)) if at.segment.channel is not None else None
    redemption = occasion.data.get("redemption", {}).get("id")
    used = item.redemptions.get(redemption) if item is not None and redemption is not None else None
    return {
        channel.tenant if channel is not None else None,
        item.tenant if item is not None else None,
        _tenant_of(used.client) if used is not None and used.client != occasion.by.client else None,
    }


# Attempts


def proceed(id: str, number: int, now: int) -> Done | None:
    """Carry out order `number` of a delivery; None where there is nothing to be done any more.

    Raises LookupError where it is not known.
    """
    delivery = table.read(DELIVERY, keys.delivery(id))
    if delivery is None:
        raise LookupError("no such delivery")
    if delivery.is_over or number < delivery.made:
        return None
    if number == delivery.made:  # was the next one ordered?
        late_at = delivery.due_at + GRACE_S
        jobs.send_delivery(id, number + (now >= late_at), max(late_at - now, 0))
        return Done(delivery)
    if number > delivery.made + 1:
        raise LookupError("the attempt before was never made")
    places = keys.webhook(delivery.tenant, delivery.webhook), keys.pulse(delivery.webhook)
    found = table.get_many(places)
    webhook = WEBHOOK.load(found[places[0]]) if places[0] in found else None
    pulse = PULSE.load(found[places[1]]) if places[1] in found else Pulse(delivery.webhook)
    if webhook is None or not webhook.is_live or now >= delivery.until:
        live = webhook is not None and webhook.is_live
        return Done(_given_up(delivery, number, EXPIRED if live else DISABLED))
    wait_until = max(delivery.due_at, pulse.next_at)
    if now < wait_until or (pulse.is_open and not _leased(pulse, now)):
        spread = random.uniform(0, SPREAD_S) if pulse.is_open or now < pulse.next_at else 0
        jobs.send_delivery(id, number, max(wait_until - now, 0) + round(spread))
        return Done(delivery)
    return _attempted(webhook, pulse, delivery, number, now)


def _leased(pulse: Pulse, now: int) -> bool:
    """Whether the one request that an endpoint in trouble gets is ours."""
    leased = pulse.leased(now)
    try:
        table.put(PULSE.item(replace(leased, version=pulse.version + 1), "lease", BY), pulse.version)
    except table.Conflict:
        return False
    return True


def _attempted(webhook: Webhook, pulse: Pulse, delivery: Delivery, number: int, now: int) -> Done:
    attempt = _sent(webhook, delivery, now)
    delivery = _noted(delivery, attempt)
    after = _felt(pulse, attempt)
    disabled = False
    if attempt.reason == GONE or (attempt.reason is not None and after.is_hopeless(attempt.at)):
        disabled = _disable(webhook, GONE if attempt.reason == GONE else FAILING, attempt.at)
    if not delivery.is_over:
        jobs.send_delivery(delivery.id, number + 1, max(delivery.due_at - attempt.at, 0))
    return Done(delivery, disabled)


def _sent(webhook: Webhook, delivery: Delivery, now: int) -> Attempt:
    """One request, signed with all that is good at the time."""
    body, secrets = delivery.body.encode(), [opened(webhook, secret) for secret in webhook.good(now)]
    headers = headers_of(secrets, delivery.id, now, body)
    headers |= {"content-type": "application/json", "user-agent": USER_AGENT}
    local = _local()
    began = time.monotonic()
    try:
        result = sending.post(target_of(webhook.url, local=local), headers, body, loopback=local)
    except ValueError:  # it was made under other rules
        result = sending.Result("address_refused")
    duration_ms, wanted = round((time.monotonic() - began) * 1000), result.retry_after
    return Attempt(now, duration_ms, result.status_code, result.reason, retry_after_s(result.status_code, wanted, now))


def _noted(delivery: Delivery, attempt: Attempt) -> Delivery:
    """The delivery with its attempt, unless another worker has noted its own in the meantime."""
    made, jitter = delivery.made, random.random()

    def noted(current: Delivery | None) -> Delivery | None:
        assert current is not None
        return current.attempted(attempt, jitter) if current.made == made and not current.is_over else None

    return table.change(DELIVERY, delivery, noted, "attempt", BY)


def _given_up(delivery: Delivery, number: int, reason: str) -> Delivery:
    def given_up(current: Delivery | None) -> Delivery | None:
        assert current is not None
        return None if current.is_over or current.made >= number else current.given_up(reason)

    return table.change(DELIVERY, delivery, given_up, "give_up", BY)


def _felt(pulse: Pulse, attempt: Attempt) -> Pulse:
    """How the endpoint does after an attempt; one that does well, and did, is not written down."""
    ended = attempt.at + attempt.duration_ms // 1000
    failed = attempt.reason is not None
    if failed or attempt.duration_ms > SLOW_MS:
        wanted_s = attempt.retry_after_s or 0
        return _change_pulse(pulse, lambda current: current.struck(failed=failed, now=ended, wanted_s=wanted_s))
    return _change_pulse(pulse, lambda current: current.well() if current != current.well() else None)


def _change_pulse(pulse: Pulse, decide: Callable[[Pulse], Pulse | None]) -> Pulse:
    known = pulse if pulse.version else None
    if known is None and decide(pulse) is None:
        return pulse
    return table.change(PULSE, known, lambda current: decide(current or pulse), "pulse", BY)


def _disable(webhook: Webhook, reason: str, now: int) -> bool:
    """Whether it was this that disabled it."""

    def disabled(current: Webhook | None) -> Webhook | None:
        assert current is not None
        return current.disabled(reason, now) if current.is_live else None

    after = table.change(WEBHOOK, webhook, disabled, "disable", BY)
    return after.version == webhook.version + 1 and after.disabled_at == now
