"""Endpoints of a tenant that are made and deleted at once: never more than it may have, and none is lost."""

from __future__ import annotations

from functools import partial

import pytest

from functions.domain.actor import By
from functions.domain.webhook import WEBHOOKS_MAX, Secret, Webhook
from functions.store import keys, table
from functions.store import webhooks as store
from tests.engine.engines import on_referee
from tests.engine.world import NOW, race

pytestmark = [on_referee, pytest.mark.usefixtures("world")]
WORKERS = 8
ROUNDS = 8


def endpoint(tenant: str, number: int) -> Webhook:
    by = By("c", "partner", tenant, "192.0.2.1", "r")
    return Webhook(
        f"whk_{number}", tenant, "https://acme.example/", ("voucher.redeemed",), (Secret(b""),), "f", by, NOW
    )


def add(webhook: Webhook) -> str:
    return "made" if store.add(webhook, WEBHOOKS_MAX, webhook.by) is not None else "too many"


def remove(webhook: Webhook) -> str:
    def ended(current: Webhook | None) -> Webhook:
        assert current is not None
        return current.deleted(NOW)

    store.remove(keys.webhook(webhook.tenant, webhook.id), ended, webhook.by)
    return "deleted"


def live(tenant: str) -> list[str]:
    return [webhook.id for webhook in store.of_tenant(tenant, 100) if webhook.deleted_at is None]


def test_eight_at_once_make_as_many_as_there_is_room_for_and_who_comes_twice_makes_one() -> None:
    for round in range(ROUNDS):
        tenant, room = f"tenant-{round}", 1 + round % (WORKERS - 1)
        for number in range(WEBHOOKS_MAX - room):
            add(endpoint(tenant, number))
        fresh = [partial(add, endpoint(tenant, 100 + number)) for number in range(WORKERS)]
        assert sorted(race(fresh)) == ["made"] * room + ["too many"] * (WORKERS - room)
        assert len(live(tenant)) == WEBHOOKS_MAX
        roster = table.read(store.ROSTER, keys.roster(tenant))
        assert roster is not None and sorted(roster.webhooks) == sorted(live(tenant))
        again = partial(add, endpoint(tenant, 0))
        assert race([again, again]) == ["made", "made"]
        assert len(live(tenant)) == WEBHOOKS_MAX


def test_what_is_deleted_meanwhile_makes_room_once() -> None:
    old = [endpoint("acme", number) for number in range(WEBHOOKS_MAX)]
    for webhook in old:
        add(webhook)
    for round in range(ROUNDS):
        fresh = [endpoint("acme", 1_000 * (round + 1) + number) for number in range(3)]
        race([*(partial(remove, webhook) for webhook in old[:2]), *(partial(add, webhook) for webhook in fresh)])
        left = live("acme")
        assert WEBHOOKS_MAX - 2 <= len(left) <= WEBHOOKS_MAX and not {old[0].id, old[1].id} & set(left)
        for webhook in fresh:
            add(webhook)
        assert len(live("acme")) == WEBHOOKS_MAX
        by_id = {webhook.id: webhook for webhook in (*old, *fresh)}
        old = [by_id[id] for id in live("acme")]
