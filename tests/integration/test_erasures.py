"""Erasure: a person is taken out of all that names them, and everything else adds up as before."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends

from functions.domain.account import masked
from functions.domain.erasure import NOBODY, PLACES, SETTLE_S
from functions.domain.ids import derived, fingerprint
from functions.domain.message import Status
from functions.notify import service as notify
from functions.store import keys, table
from functions.store.records import MESSAGE
from infra.local.template import ACCOUNT, REGION
from tests.integration.conftest import Clock
from tests.integration.kami import (
    Json,
    Kami,
    Voucher,
    claim,
    erased,
    granted,
    mobile,
    refused,
    replayed,
    unique,
)

ERASED = "acc_" + "a" * 24


def hashes(number: str, tenant: str = "operator") -> list[str]:
    """What anybody can compute of a number, and compare with what is kept."""
    orders = [{"customer": number}, {"customer": number, "tenant": tenant}]
    digests = [hashlib.sha256(number.encode()).hexdigest()]
    return [derived(number), derived(tenant, number), *map(fingerprint, orders), *digests]


def everywhere(kami: Kami) -> str:
    """All that is kept: every item, every object of a bucket, every message of a queue."""
    items = json.dumps(
        list(kami.items("GUARD#").values()), ensure_ascii=False, default=lambda raw: b64encode(raw).decode()
    )
    objects = [key.value for bucket in s3_backends[ACCOUNT]["aws"].buckets.values() for key in bucket.keys.values()]
    queues = sqs_backends[ACCOUNT][REGION].queues.values()
    messages = [message.body for queue in queues for message in queue._messages]
    return "\n".join([items, *map(str, objects), *map(str, messages)])


def traces(kami: Kami, number: str, tenant: str = "operator") -> list[str]:
    """What of a person is left."""
    kept = everywhere(kami)
    return [form for form in (number, number.lstrip("+"), *hashes(number, tenant)) if form in kept]


@dataclass(frozen=True)
class Life:
    """A person who did all that one can do here, with a card of each kind of use."""

    number: str
    used: Voucher
    held: Voucher
    given: Voucher
    redemption: Json
    key: str


def life(kami: Kami, number: str | None = None) -> Life:
    number = number or mobile()
    used, key = kami.voucher(redemption="balance"), unique()
    redemption = granted(kami.merchant.redeem(used.code, key, number, amount_minor=1_000), 201)
    other = granted(kami.merchant.redeem(used.code, account=mobile(), amount_minor=500), 201)
    granted(kami.merchant.reverse(other["id"]), 201)
    held = claim(kami, kami.voucher(redemption="balance", reminder_days=[3]), number)
    shown = kami.operator.get(f"/v1/vouchers/{held.serial}/qr?customer={quote(number)}", accept="application/json")
    granted(kami.merchant.redeem(granted(shown)["payload"], account=number, amount_minor=100), 201)
    hold = {"code": held.code, "amount_minor": 10, "account": {"type": "mobile", "number": number}}
    granted(kami.merchant.post("/v1/holds", hold, unique()), 201)
    given = claim(kami, kami.voucher(), number)
    offer = granted(kami.operator.post("/v1/transfers", {"serial": given.serial, "customer": number}, unique()), 201)
    body = {"token": offer["token"], "customer": mobile()}
    granted(kami.operator.post(f"/v1/transfers/{offer['id']}/acceptances", body, unique()), 201)
    campaign = kami.campaign(claims_per_customer=1)["id"]
    kami.batch(campaign, 2)
    granted(kami.operator.post("/v1/claims", {"customer": number, "campaign": campaign}, unique()), 201)
    kami.cloud.drain()
    return Life(number, used, held, given, redemption, key)


def test_a_number_is_nowhere_left_and_all_else_is_as_it_was(kami: Kami) -> None:
    person = life(kami)
    cards = [person.used, person.held, person.given]
    seen = [granted(kami.operator.get(f"/v1/vouchers/{card.serial}")) for card in cards]
    before = [len(granted(kami.operator.get(f"/v1/vouchers/{card.serial}/history"))["data"]) for card in cards]
    assert len(traces(kami, person.number)) > 3
    messages = granted(kami.operator.get(f"/v1/messages?recipient={quote(person.number)}"))["data"]
    assert messages
    done = erased(kami, number=person.number)
    assert done["erased"] == {"vouchers": 4, "messages": len(messages)}
    assert traces(kami, person.number) == []
    assert kami.items()[keys.erasure(done["id"])]["place"] == {"NULL": True}
    assert [granted(kami.operator.get(f"/v1/vouchers/{card.serial}")) for card in cards] == seen
    after = [granted(kami.operator.get(f"/v1/vouchers/{card.serial}/history"))["data"] for card in cards]
    assert [len(lines) for lines in after] == [lines + 1 for lines in before]
    assert {lines[-1]["event"] for lines in after} == {"erased"}
    assert granted(kami.operator.get(f"/v1/messages?recipient={quote(person.number)}"))["data"] == []
    (message, *_) = [granted(kami.operator.get(f"/v1/messages/{each['id']}")) for each in messages]
    assert masked(person.number) not in message["text"]
    assert done["account"] in message["text"]
    shown = granted(kami.merchant.get(f"/v1/redemptions/{person.redemption['id']}"))
    assert shown["account"]["number"].startswith("acc_")
    assert {**shown, "account": 0, "status": 0} == {**person.redemption, "account": 0, "status": 0}
    assert granted(kami.operator.get(f"/v1/customers/{quote(person.number)}/vouchers"))["data"] == []
    assert len(granted(kami.operator.get(f"/v1/customers/{done['account']}/vouchers"))["data"]) == 2


def test_a_repeat_finds_nothing_left_and_names_the_same_account(kami: Kami) -> None:
    person = life(kami)
    first, again = (erased(kami, number=person.number) for _ in range(2))
    assert again["erased"] == {"vouchers": 0, "messages": 0}
    assert again["account"] == first["account"]
    order, key = {"number": person.number, "reason": "other"}, unique()
    made = kami.operator.post("/v1/erasures", order, key)
    same = kami.operator.post("/v1/erasures", order, key)
    assert (replayed(made), replayed(same)) == (False, True)
    refused(kami.operator.post("/v1/erasures", {**order, "number": mobile()}, key), 422, "idempotency_key_reused")
    erased(kami, number=person.number)


def test_what_was_asked_before_is_answered_as_before_and_moves_nothing(kami: Kami) -> None:
    person = life(kami)
    erased(kami, number=person.number)
    again = kami.merchant.redeem(person.used.code, person.key, person.number, amount_minor=1_000)
    assert replayed(again)
    assert granted(again, 201)["id"] == person.redemption["id"]
    assert traces(kami, person.number) == []


def test_a_limit_holds_for_who_was_erased(kami: Kami) -> None:
    number, campaign = mobile(), kami.campaign(claims_per_customer=1)["id"]
    kami.batch(campaign, 2)
    order = {"customer": number, "campaign": campaign}
    granted(kami.operator.post("/v1/claims", order, unique()), 201)
    kami.cloud.drain()
    erased(kami, number=number)
    refused(kami.operator.post("/v1/claims", order, unique()), 409, "claim_limit_reached")


def test_a_customer_is_one_of_a_tenant_and_another_tenants_namesake_stays(kami: Kami) -> None:
    name, partner = unique("member"), kami.client("partner", tenant="acme")
    own = claim(kami, kami.voucher(), name)
    others = claim(kami, kami.voucher(), name, partner)
    kami.cloud.drain()
    assert erased(kami, customer=name, tenant="acme")["erased"]["vouchers"] == 1
    assert granted(partner.get(f"/v1/customers/{name}/vouchers"))["data"] == []
    (kept,) = granted(kami.operator.get(f"/v1/customers/{name}/vouchers"))["data"]
    assert kept["serial"] == own.serial != others.serial
    erased(kami, customer=name)
    assert traces(kami, name) == traces(kami, name, "acme") == []


def test_a_phone_number_is_one_person_whoever_names_it(kami: Kami) -> None:
    number, partner = mobile(), kami.client("partner", tenant="acme")
    for by in (kami.operator, partner):
        claim(kami, kami.voucher(), number, by)
    kami.cloud.drain()
    assert erased(kami, customer=number, tenant="acme")["erased"]["vouchers"] == 2
    assert traces(kami, number) == traces(kami, number, "acme") == []


@pytest.mark.parametrize("prefix", ["", "86"])
def test_a_customer_who_is_known_by_a_number_without_its_plus_sign_is_that_person(kami: Kami, prefix: str) -> None:
    number = f"139{mobile()[-8:]}"
    claim(kami, kami.voucher(), prefix + number)
    kami.cloud.drain()
    assert erased(kami, number=f"+86{number}")["erased"]["vouchers"] == 1
    assert traces(kami, prefix + number) == []


def test_a_broadband_account_is_erased_and_others_on_the_card_stay(kami: Kami) -> None:
    card, own, other = kami.voucher(redemption="balance"), unique("gz.home-0042"), unique("gz.home-0043")
    for name in (own, other):
        body = {"code": card.code, "account": {"type": "broadband", "number": name}, "amount_minor": 1}
        granted(kami.merchant.post("/v1/redemptions", body, unique()), 201)
    kami.cloud.drain()
    assert erased(kami, number=own)["erased"] == {"vouchers": 1, "messages": 0}
    assert traces(kami, own) == []
    assert other in everywhere(kami)


def test_what_is_written_while_it_goes_on_is_found_by_a_later_pass(kami: Kami, clock: Clock) -> None:
    number, first, second = mobile(), kami.voucher(), kami.voucher()
    granted(kami.merchant.redeem(first.code, account=number), 201)
    kami.cloud.drain()
    order = {"number": number, "reason": "other"}
    id = granted(kami.operator.post("/v1/erasures", order, unique()), 202)["id"]
    kami.cloud.drain(delayed=False)
    granted(kami.merchant.redeem(second.code, account=number), 201)
    kami.cloud.drain(delayed=False)
    for passes in range(3):
        assert granted(kami.operator.get(f"/v1/erasures/{id}"))["status"] == "in_progress", passes
        clock.advance(SETTLE_S)
        kami.cloud.hasten()
        kami.cloud.drain(delayed=False)
        if passes == 1:
            break
    done = granted(kami.operator.get(f"/v1/erasures/{id}"))
    assert (done["status"], done["erased"]["vouchers"]) == ("completed", 2)
    assert traces(kami, number) == []


def test_a_plan_that_came_to_nothing_names_nobody(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    """No voucher leads to it: of a claim that broke off, and of a card that a reissue left as it was."""
    number, campaign = mobile(), kami.campaign()["id"]
    kami.batch(campaign, 2)

    def broken(*_: Any) -> bool:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr("functions.store.limits.commit", broken)
        order = {"customer": number, "campaign": campaign}
        refused(kami.operator.post("/v1/claims", order, unique()), 500, "internal_error")
    used = claim(kami, kami.voucher(), number)
    granted(kami.merchant.redeem(used.code, account=number), 201)
    granted(kami.operator.post("/v1/recoveries", kami.recovery("reissue", serials=[used.serial])), 202)
    kami.cloud.drain()
    erased(kami, number=number)
    assert traces(kami, number) == []


def test_a_remark_and_the_reference_of_a_buyer_are_no_place_for_a_number(kami: Kami) -> None:
    number, card = mobile(), kami.voucher(redemption="balance")
    used = granted(kami.merchant.redeem(card.code, amount_minor=1), 201)
    granted(kami.merchant.reverse(used["id"], reason=f"for {number}"), 201)
    granted(kami.operator.post("/v1/reveals", {"serials": [card.serial], "reason": f"{number} asked"}))
    recovery = {**kami.recovery("suspend", serials=[card.serial]), "note": f"call {number}"}
    granted(kami.operator.post("/v1/recoveries", recovery), 202)
    for buyer in (number, number[1:], number[3:]):
        body = {"campaign": kami.campaign()["id"], "quantity": 1, "buyer": buyer}
        refused(kami.operator.post("/v1/dispenses", body, unique()), 400, "invalid_request")
    kami.cloud.drain()
    assert traces(kami, number) == []
    assert number[3:] not in everywhere(kami)


# SMS


def test_an_sms_that_waits_for_another_attempt_is_not_sent_any_more(kami: Kami, clock: Clock) -> None:
    number, card = mobile(), kami.voucher()
    for carrier in ("north", "south"):
        kami.cloud.carriers.set(carrier, "down")
    granted(kami.merchant.redeem(card.code, account=number), 201)
    kami.cloud.drain(delayed=False)
    (message,) = granted(kami.operator.get(f"/v1/messages?recipient={quote(number)}"))["data"]
    assert message["status"] == "queued"
    erased(kami, number=number)
    kami.cloud.carriers.reset()
    clock.advance(900)
    kami.cloud.drain()
    after = granted(kami.operator.get(f"/v1/messages/{message['id']}"))
    assert (after["status"], after["reason"]) == ("failed", "erased")
    assert len(after["attempts"]) == len(message["attempts"])
    assert kami.cloud.carriers.phone(number) == []


def test_an_event_that_comes_after_it_is_told_to_nobody(kami: Kami) -> None:
    person = life(kami)
    erased(kami, number=person.number)
    granted(kami.merchant.reverse(person.redemption["id"]), 201)
    sent = len(kami.cloud.carriers.phone(person.number))
    kami.cloud.drain()
    assert len(kami.cloud.carriers.phone(person.number)) == sent
    told = [item for (pk, _), item in kami.items().items() if pk.startswith("MESSAGE#")]
    assert len([item for item in told if person.redemption["serial"] == item["serial"]["S"]]) == 3  # of others too
    assert not [
        item for item in told if item["event"]["S"] == "voucher.reversed" and masked(person.number) in str(item)
    ]


def test_an_attempt_that_is_under_way_does_not_bring_the_number_back(
    kami: Kami, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, card, asked = mobile(), kami.voucher(), notify._asked

    def erased_meanwhile(*args: Any) -> Any:
        outcome = asked(*args)
        monkeypatch.setattr(notify, "_asked", asked)
        changed = table.change(MESSAGE, args[0], lambda m: m and replace(m, recipient=ERASED), "erase", notify.BY)
        assert changed.status is Status.SENDING
        return outcome

    monkeypatch.setattr(notify, "_asked", erased_meanwhile)
    granted(kami.merchant.redeem(card.code, account=number), 201)
    kami.cloud.drain()
    assert len(kami.cloud.carriers.phone(number)) == 1
    (message,) = [item for (pk, _), item in kami.items().items() if pk.startswith("MESSAGE#")
                  and item["serial"]["S"] == card.serial]  # fmt: skip
    assert (message["recipient"]["S"], message["status"]["S"]) == (ERASED, "sent")


# Whoever is killed


def test_a_crash_before_any_write_changes_neither_the_end_nor_the_counts(
    kami: Kami, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, crashes, left = table.put, 0, 0

    def dying(item: Any, seen_version: int) -> None:
        nonlocal left, crashes
        left -= item["last"]["command"] == "erase"
        dies = left == 0 and item["last"]["command"] == "erase"
        crashes += dies
        if dies:
            raise ConnectionError
        put(item, seen_version)

    monkeypatch.setattr(table, "put", dying)
    number = mobile()
    for nth in range(2, 20):  # the first is the order's own
        granted(kami.merchant.redeem(kami.voucher().code, account=number), 201)
        kami.cloud.drain()
        before, left = crashes, nth
        assert erased(kami, number=number)["erased"] == {"vouchers": 1, "messages": 1}
        if crashes == before:
            break
    assert crashes >= 8
    assert traces(kami, number) == []


# What the table of places says


def test_every_kind_of_item_is_in_the_table_of_places() -> None:
    from tests.engine.test_table import KINDS

    assert set(KINDS) <= set(PLACES) | NOBODY
    assert not set(PLACES) & NOBODY
