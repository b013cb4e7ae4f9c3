"""Asking of messages: lists, resends, complaints and their outcomes, each shown to those whose business it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from functions.domain.asking import RESEND_AFTER_S, RESENDS_MAX
from functions.domain.reasons import REASONS
from functions.notify import asking
from functions.notify.answers import NOT_FOR_CUSTOMERS
from functions.store import table
from infra.local.carriers import NAMES
from tests.integration.conftest import Clock
from tests.integration.kami import Caller, Json, Kami, claim, granted, mobile, refused, replayed, unique


@dataclass
class Shop:
    """A cloud with a till, and carriers that can be broken."""

    kami: Kami
    clock: Clock

    def told(self, number: str | None = None, error: str | None = None, till: Caller | None = None) -> Json:
        """The message of a redemption, as the operator sees it; refused by all carriers where an error is given."""
        number = number or mobile()
        redemption = granted((till or self.kami.merchant).redeem(self.kami.voucher().code, account=number), 201)["id"]
        for name in NAMES:
            self.kami.cloud.carriers.set(name, "refuse" if error is not None else "none", error=error or "blocked")
        self.kami.cloud.drain()
        for name in NAMES:
            self.kami.cloud.carriers.set(name, "none")
        (message,) = granted(self.kami.operator.get(f"/v1/messages?redemption={redemption}"))["data"]
        return {**message, "number": number}

    def phone(self, number: str) -> list[str]:
        return [sms["text"] for sms in self.kami.cloud.carriers.phone(number)]

    def message(self, id: str) -> Json:
        return granted(self.kami.operator.get(f"/v1/messages/{id}"))

    def later(self) -> None:
        """When what was taken may be resent."""
        self.kami.cloud.drain()
        self.clock.advance(RESEND_AFTER_S)


def ids(caller: Caller, target: str) -> list[str]:
    """Those of a list, all pages in one."""
    found, cursor = list[str](), ""
    for _ in range(20):
        page = granted(caller.get(target + cursor))
        found += [each["id"] for each in page["data"]]
        if "next_cursor" not in page:
            return found
        cursor = f"&cursor={page['next_cursor']}"
    raise AssertionError("the list does not end")


@pytest.fixture
def shop(kami: Kami, clock: Clock) -> Iterator[Shop]:
    kami.cloud.carriers.reset()
    yield Shop(kami, clock)
    kami.cloud.drain()


# lists


def test_messages_are_found_by_recipient_voucher_and_redemption(shop: Shop) -> None:
    kami, number = shop.kami, mobile()
    card = kami.voucher(redemption="balance")
    uses = [granted(kami.merchant.redeem(card.code, account=number, amount_minor=5), 201)["id"] for _ in range(3)]
    granted(kami.merchant.reverse(uses[0]), 201)
    granted(kami.merchant.redeem(kami.voucher().code, account=number), 201)
    kami.cloud.drain()

    def found(query: str) -> list[str | None]:
        return [message.get("redemption") for message in granted(kami.operator.get(f"/v1/messages?{query}"))["data"]]

    assert len(found(f"recipient={quote(number)}")) == 5
    assert sorted(map(str, found(f"voucher={card.serial}"))) == sorted([uses[0], *uses])
    assert found(f"redemption={uses[0]}") == [uses[0]] * 2
    assert found(f"redemption={uses[1]}") == [uses[1]]
    assert found(f"redemption={card.serial}-none") == []
    assert found("voucher=nonsense") == found("redemption=nonsense") == []
    assert found(f"voucher={card.serial}&customer={quote(mobile())}") == []
    for query in (f"recipient={quote(number)}", f"voucher={card.serial}", f"redemption={uses[0]}"):
        whole = granted(kami.operator.get(f"/v1/messages?{query}"))["data"]
        assert ids(kami.operator, f"/v1/messages?{query}&limit=1") == [message["id"] for message in whole]
    cursor = granted(kami.operator.get(f"/v1/messages?voucher={card.serial}&limit=1"))["next_cursor"]
    refused(kami.operator.get(f"/v1/messages?redemption={uses[0]}&cursor={cursor}"), 400, "invalid_cursor")


def test_a_list_costs_a_query_and_no_scan(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    message = shop.told()
    asked: list[tuple[str, str]] = []
    query = table.query

    def noted(partition: str, **named: object) -> list[table.Item]:
        asked.append((partition.partition("#")[0], str(named["index"])))
        return query(partition, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(table, "query", noted)
    granted(shop.kami.operator.get(f"/v1/messages?voucher={message['serial']}"))
    granted(shop.kami.operator.get(f"/v1/messages?recipient={quote(message['number'])}"))
    assert asked == [("SMSOF", "gsi3"), ("RECIPIENT", "gsi1")]


def test_a_tenant_sees_what_is_its_own_and_pages_that_are_short_lead_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    kami, number = shop.kami, mobile()
    other = kami.client("merchant")
    mine = shop.told(number)
    for _ in range(3):
        shop.clock.advance(1)
        shop.told(number, till=other)
    listed = f"/v1/messages?recipient={quote(number)}&limit=1"
    assert ids(kami.merchant, listed) == [mine["id"]]
    monkeypatch.setattr(asking, "READS_PER_PAGE_MAX", 1)
    assert granted(kami.client("merchant").get(listed)) == {"data": []}, "nor that others are there"
    refused(other.get(f"/v1/messages/{mine['id']}"), 404, "not_found")
    refused(other.post(f"/v1/messages/{mine['id']}/resends", {}, unique()), 404, "not_found")
    refused(other.post(f"/v1/messages/{mine['id']}/complaints", {}), 404, "not_found")


def test_a_customer_sees_the_messages_to_its_own_number(shop: Shop) -> None:
    kami, number = shop.kami, mobile()
    app, elsewhere = kami.client("customer"), kami.client("customer")
    card = claim(kami, kami.voucher(), number, app)
    granted(kami.merchant.redeem(card.code, account=number), 201)
    kami.cloud.drain()
    (message,) = granted(app.get(f"/v1/messages?recipient={quote(number)}"))["data"]
    path = f"/v1/messages/{message['id']}"
    shown = granted(app.get(f"{path}?customer={quote(number)}"))
    assert shown["for_customer"] == message["for_customer"]
    assert not shown.keys() & NOT_FOR_CUSTOMERS
    assert granted(app.get(f"/v1/messages?voucher={card.serial}&customer={quote(number)}"))["data"]
    assert refused(app.get(path), 400, "invalid_request")["errors"][0]["field"] == "customer"
    refused(app.get(f"/v1/messages?voucher={card.serial}"), 400, "invalid_request")
    refused(app.get(f"{path}?customer={quote(mobile())}"), 404, "not_found")
    refused(elsewhere.get(f"{path}?customer={quote(number)}"), 404, "not_found")
    assert granted(elsewhere.get(f"/v1/messages?recipient={quote(number)}"))["data"] == []
    refused(app.post(f"{path}/complaints", {}), 400, "invalid_request")
    ticket = granted(app.post(f"{path}/complaints", {"customer": number}), 201)
    assert not ticket["diagnosis"].keys() & NOT_FOR_CUSTOMERS
    granted(app.get(f"/v1/complaints/{ticket['id']}?customer={quote(number)}"))
    refused(app.get(f"/v1/complaints/{ticket['id']}?customer={quote(mobile())}"), 404, "not_found")
    refused(elsewhere.get(f"/v1/complaints/{ticket['id']}?customer={quote(number)}"), 404, "not_found")


# resends


def test_a_resend_is_another_message_with_the_same_words_linked_both_ways(shop: Shop) -> None:
    message, key = shop.told(), unique()
    shop.later()
    path = f"/v1/messages/{message['id']}/resends"
    first = shop.kami.operator.post(path, {}, key)
    again = granted(first, 201)
    assert first.header("location") == f"/v1/messages/{again['id']}"
    assert (again["resend_of"], again["text"], again["status"]) == (message["id"], message["text"], "queued")
    assert again["template"] == message["template"]
    shop.kami.cloud.drain(twice=True, shuffle=1)
    repeated = shop.kami.operator.post(path, {}, key)
    assert replayed(repeated) and not replayed(first)
    assert granted(repeated, 201)["id"] == again["id"]
    shop.kami.cloud.drain()
    assert shop.message(message["id"])["resends"] == [again["id"]]
    assert shop.message(again["id"])["status"] == "sent"
    assert shop.phone(message["number"]) == [message["text"]] * 2
    refused(shop.kami.operator.post(path, {"customer": mobile()}, unique()), 404, "not_found")


def test_a_resend_of_a_resend_counts_for_the_original_and_there_is_a_limit(shop: Shop) -> None:
    message = shop.told()
    last = message["id"]
    for _ in range(RESENDS_MAX):
        shop.later()
        last = granted(shop.kami.operator.post(f"/v1/messages/{last}/resends", {}, unique()), 201)["id"]
    shop.later()
    for id in (message["id"], last):
        problem = refused(
            shop.kami.operator.post(f"/v1/messages/{id}/resends", {}, unique()), 429, "resend_limit_reached"
        )
        assert problem["limit"] == "message"
    assert len(shop.message(message["id"])["resends"]) == RESENDS_MAX
    assert shop.message(last)["resend_of"] == message["id"]
    assert len(shop.phone(message["number"])) == 1 + RESENDS_MAX


def test_a_number_takes_so_many_resends_a_day(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "RESENDS_PER_RECIPIENT_MAX", 1)
    number = mobile()
    messages = [shop.told(number) for _ in range(2)]
    shop.later()
    one, other = (f"/v1/messages/{message['id']}/resends" for message in messages)
    key = unique()
    granted(shop.kami.operator.post(one, {}, key), 201)
    assert replayed(shop.kami.operator.post(one, {}, key))
    problem = refused(shop.kami.operator.post(other, {}, unique()), 429, "resend_limit_reached")
    assert problem["limit"] == "recipient"
    assert shop.message(messages[1]["id"])["resends"] == []
    shop.clock.advance(86_400)
    granted(shop.kami.operator.post(other, {}, unique()), 201)


@pytest.mark.parametrize("reason", ["number_invalid", "landline", "content_refused"])
def test_a_resend_that_cannot_help_is_refused_with_the_next_step(shop: Shop, reason: str) -> None:
    message = shop.told(error=reason)
    assert (message["status"], message["reason"]) == ("failed", reason)
    answer = shop.kami.operator.post(f"/v1/messages/{message['id']}/resends", {}, unique())
    problem = refused(answer, 409, "resend_not_possible")
    assert problem["next_step"] == REASONS[reason].told.next_step._asdict()
    shop.kami.cloud.drain()
    assert shop.phone(message["number"]) == []


def test_what_no_carrier_took_arrives_by_its_resend(shop: Shop) -> None:
    message = shop.told(error="blocked")
    granted(shop.kami.operator.post(f"/v1/messages/{message['id']}/resends", {}, unique()), 201)
    shop.kami.cloud.drain()
    assert shop.phone(message["number"]) == [message["text"]]


def test_two_resends_at_once_are_both_linked(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    message, commit, others = shop.told(error="blocked"), table.commit, list[str]()
    path = f"/v1/messages/{message['id']}/resends"

    def overtaken(*args: object) -> set[int]:
        if not others:
            others.append("")
            others[0] = granted(shop.kami.operator.post(path, {}, unique()), 201)["id"]
        return commit(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(table, "commit", overtaken)
    mine = granted(shop.kami.operator.post(path, {}, unique()), 201)["id"]
    assert shop.message(message["id"])["resends"] == [others[0], mine]


# complaints


def test_a_complaint_is_a_ticket_with_what_is_known_and_has_one_outcome(shop: Shop) -> None:
    kami, message = shop.kami, shop.told(error="blocked")
    support = kami.client("support")
    path = f"/v1/messages/{message['id']}/complaints"
    first = support.post(path, {})
    ticket = granted(first, 201)
    assert first.header("location") == f"/v1/complaints/{ticket['id']}"
    assert (ticket["status"], ticket["message"], ticket["serial"]) == ("open", message["id"], message["serial"])
    known, told = ticket["diagnosis"], REASONS["blocked"].told
    assert (known["status"], known["reason"], known["attempts"]) == ("failed", "blocked", 1)
    assert known["provider"].startswith("simulated:")
    assert known["may_resend"] is True
    assert [known[name] for name in ("for_customer", "for_support", "next_step")] == [w._asdict() for w in told]
    again = support.post(path, {"customer": message["number"]})
    assert replayed(again)
    assert granted(again, 201) == ticket
    key, outcomes = unique(), f"/v1/complaints/{ticket['id']}/outcomes"
    closed = granted(support.post(outcomes, {"outcome": "recipient_side"}, key), 201)
    assert (closed["status"], closed["outcome"]["outcome"]) == ("closed", "recipient_side")
    assert closed["outcome"]["what"].keys() == {"zh", "en"}
    repeated = support.post(outcomes, {"outcome": "recipient_side"}, key)
    assert replayed(repeated)
    assert granted(repeated, 201) == closed
    refused(support.post(outcomes, {"outcome": "arrived"}, key), 422, "idempotency_key_reused")
    refused(support.post(outcomes, {"outcome": "arrived"}, unique()), 409, "complaint_closed")
    assert granted(support.get(f"/v1/complaints/{ticket['id']}")) == closed
    refused(kami.merchant.get("/v1/complaints"), 403, "insufficient_scope")
    refused(kami.merchant.post(outcomes, {"outcome": "arrived"}, unique()), 403, "insufficient_scope")
    refused(support.get("/v1/complaints/cmp_none"), 404, "not_found")
    refused(support.post("/v1/complaints/cmp_none/outcomes", {"outcome": "arrived"}, unique()), 404, "not_found")


def test_complaints_are_listed_newest_first(shop: Shop) -> None:
    made = []
    for _ in range(3):
        shop.clock.advance(1)
        made.append(granted(shop.kami.operator.post(f"/v1/messages/{shop.told()['id']}/complaints", {}), 201)["id"])
    listed = ids(shop.kami.operator, "/v1/complaints?limit=2")
    assert [id for id in listed if id in made] == made[::-1]
