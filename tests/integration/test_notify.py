"""notify: one SMS for one event, whatever comes twice, late or never; and the record of what became of it."""

from __future__ import annotations

import json
import random
import re
import sys
import threading
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
import urllib3
from botocore.client import BaseClient
from moto.sqs.models import sqs_backends

from functions.domain.delivery import WAIT_MAX_S
from functions.domain.health import FAILURES_MIN, PROBES
from functions.domain.kinds import KINDS
from functions.domain.message import ATTEMPT_S, ATTEMPTS_MAX, Message, message_id
from functions.domain.story import UNTRACEABLE
from functions.domain.times import rfc3339
from functions.edge import clock as edge_clock
from functions.notify import admission, handler, receipts, service
from functions.notify.admission import PROVIDER_DOWN, Worker
from functions.notify.providers import SimulatedCarrier, base
from functions.notify.service import TOO_EARLY_MAX_S, TOO_EARLY_S
from functions.store import jobs, recipients, table
from infra.local.carriers import NAMES, Carriers
from infra.local.cloud import Cloud
from infra.local.template import ACCOUNT, REGION
from tests.integration.conftest import Clock, Log
from tests.integration.kami import Json, Kami, Voucher, claim, granted, mobile, refused, settle, unique, vetoed

REDEEMED, REVERSED, RECOVERED = "voucher.redeemed", "voucher.reversed", "voucher.recovered"
READ_TIMEOUT_S = 0.3
OPEN_S = 30
BLOCKED_S = 10
ROUNDS_MAX = 200
PLACES_MAX = 500


@dataclass
class Notify:
    """The function with its queue, its carriers and a clock that jumps to when the next order is due."""

    kami: Kami
    clock: Clock
    bodies: list[str] = field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        return self.kami.cloud

    @property
    def carriers(self) -> Carriers:
        return self.cloud.carriers

    def faults(self, **faults: str) -> None:
        """Breaks the carriers named, and mends the others."""
        for name in NAMES:
            self.carriers.set(name, faults.get(name, "none"))

    def phone(self, number: str) -> list[str]:
        """The texts that a phone received."""
        return [sms["text"] for sms in self.carriers.phone(number)]

    def asked(self, name: str) -> int:
        """How often a carrier was asked to send."""
        return self.carriers.carrier(name).asked.total()

    @property
    def queue(self) -> Any:
        (source,) = [source for source in self.cloud.stack.sources if source.function == "notify"]
        return sqs_backends[ACCOUNT][REGION].queues[source.queue_url.rpartition("/")[2]]

    def deliver(self, *bodies: Any) -> list[int]:
        """Hands the function a batch; returns the places of those that failed."""
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        self.bodies += texts
        records = [{"messageId": str(place), "body": body} for place, body in enumerate(texts)]
        result = self.cloud.invoke("notify", {"Records": records})
        return [int(failure["itemIdentifier"]) for failure in result["batchItemFailures"]]

    def orders(self) -> list[tuple[str, int]]:
        """What lies on the queue, taken out: body and delay."""
        waiting = list(self.queue._messages)
        self.queue._messages.clear()
        return [(m.body, round(max(m.delayed_until - m.sent_timestamp, 0) / 1000)) for m in waiting]

    def settle(self, times: int = 1) -> list[int]:
        """Delivers what is on the queue when it is due, each so many times, until nothing is left; the delays."""
        delays: list[int] = []
        for _ in range(ROUNDS_MAX):
            if not (waiting := self.orders()):
                return delays
            for body, delay_s in sorted(waiting, key=lambda order: order[1]):
                delays.append(delay_s)
                self.clock.advance(delay_s)
                for _ in range(times):
                    assert self.deliver(body) == []
        raise AssertionError("it does not end")

    def redeem(self, voucher: Voucher | None = None, **order: Any) -> tuple[Json, str, Json]:
        """A redemption with its recipient and its event."""
        voucher = voucher or self.kami.voucher(redemption="balance")
        number = order.pop("account", None) or mobile()
        redemption = granted(self.kami.merchant.redeem(voucher.code, account=number, **order), 201)
        return redemption, number, told(REDEEMED, voucher.serial, redemption["id"])

    def messages(self, number: str) -> list[Json]:
        """What is on record about a recipient, newest first."""
        data: list[Json] = granted(self.kami.operator.get(f"/v1/messages?recipient=%2B{number[1:]}"))["data"]
        return data

    def message(self, number: str) -> Json:
        (only,) = self.messages(number)
        return only


def told(type: str, serial: str, redemption: str | None = None, **changes: Any) -> Json:
    """An event as notify's rule hands it on."""
    data: Json = {"serial": serial, "lot": int(serial[:7])}
    if redemption is not None:
        data["redemption"] = {"id": redemption, "amount_minor": 1, "currency": "CNY", "account_type": "mobile"}
    if type == RECOVERED:
        data |= {"recovery": "rec_1", "action": "void", "reason": "stolen"}
    by = {"client": "c", "role": "merchant", "tenant": "t", "address": "192.0.2.1", "request": "r"}
    at = rfc3339(edge_clock.now())
    return {"id": unique("1.VOUCHER#.1"), "type": type, "schema": 1, "at": at, "by": by, "data": data} | changes


def begun(event: Json) -> Json:
    """The message of an event, as its first attempt is under way."""
    return {"id": message_id(event["id"]), "attempts": [{"provider": "simulated:north"}]}


def receipt(message: Json, status: str, reason: str | None = None, attempt: int = 1, **changes: Any) -> Json:
    """A provider's receipt as an order of notify's queue."""
    made = message["attempts"][attempt - 1]
    told = {"provider": made["provider"], "status": status, "at": 1_700_000_000, "code": status.upper()}
    told |= {"reference": f"{message['id']}-{attempt}"} | ({"reason": reason} if reason else {}) | changes
    return {"receipt": {name: value for name, value in told.items() if value is not None}}


def outcomes(message: Json) -> list[tuple[str, str, str | None]]:
    return [(a["provider"].removeprefix("simulated:"), a["outcome"], a.get("reason")) for a in message["attempts"]]


@pytest.fixture
def notify(kami: Kami, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Notify:
    monkeypatch.setattr(base, "CALL_TIMEOUT", urllib3.Timeout(connect=1, read=READ_TIMEOUT_S))
    kami.cloud.carriers.reset()
    monkeypatch.setitem(kami.cloud.stack.functions["notify"].environment, "SMS_RETRY_BASE_S", "2")
    monkeypatch.setitem(kami.cloud.stack.functions["notify"].environment, "SMS_BREAKER_OPEN_S", str(OPEN_S))
    monkeypatch.setattr(service, "WORKER", Worker())
    forget(kami)
    return Notify(kami, clock)


def forget(kami: Kami) -> None:
    """Routes and breakers are as on the first day, for each test's clock begins at the same time."""
    (name,) = kami.cloud.stack.tables
    for pk, sk in kami.items():
        if pk.startswith(("PROVIDER#", "ROUTING#", "RATE#")):
            key = {"pk": {"S": pk}, "sk": {"S": sk}}
            kami.cloud.client("dynamodb").delete_item(TableName=name, Key=key)


# one event, one message


def test_a_redemption_is_told_to_the_number_it_was_for(notify: Notify) -> None:
    redemption, number, event = notify.redeem(amount_minor=2000)
    assert notify.deliver(event) == []
    (text,) = notify.phone(number)
    assert text == (
        f"【Kami】卡号 {redemption['serial']} 已为 {number[:6]}****{number[-4:]} 核销 20.00元，卡内余额 30.00元。"
        "如非本人操作，请联系客服。"
    )
    message = notify.message(number)
    told = granted(notify.kami.operator.get(f"/v1/messages/{message['id']}"))
    assert told == message | {"story": told["story"]}
    assert [(line["by"], line["what"]["en"][:17]) for line in told["story"]] == [
        ("kami", "The message was w"), ("kami", "It was handed to "), ("simulated:north", "The provider took"),
    ]  # fmt: skip
    assert message["template"] == {"name": REDEEMED, "locale": "zh-CN", "version": 1}
    assert (message["segments"], message["for_customer"]["zh"][:6]) == (1 + (len(text) > 70), "短信已发出，")
    assert (message["status"], message["event"], message["serial"]) == ("sent", REDEEMED, redemption["serial"])
    assert (message["recipient"], message["text"]) == (f"{number[:6]}****{number[-4:]}", text)
    assert outcomes(message) == [("north", "sent", None)]
    assert notify.orders() == []


def test_a_text_is_in_the_campaigns_language(notify: Notify) -> None:
    voucher = notify.kami.voucher(locale="en", redemption="balance")
    _, number, event = notify.redeem(voucher)
    notify.deliver(event)
    assert notify.phone(number)[0].startswith(f"【Kami】Card {voucher.serial} paid CNY 50.00 to {number[:6]}*")


def test_every_event_delivered_twice_and_in_the_wrong_order_is_one_sms(notify: Notify) -> None:
    voucher = notify.kami.voucher(redemption="balance")
    first, number, redeemed = notify.redeem(voucher, amount_minor=2000)
    granted(notify.kami.merchant.reverse(first["id"]), 201)
    second, _, again = notify.redeem(voucher, amount_minor=1000, account=number)
    reversed_ = told(REVERSED, voucher.serial, first["id"], reversal="r")
    recovered = told(RECOVERED, voucher.serial)
    events = [recovered, again, reversed_, redeemed]
    assert notify.deliver(*events, *events) == []
    assert notify.deliver(*reversed(events)) == []
    assert notify.settle() == []
    assert len(notify.phone(number)) == len(set(notify.phone(number))) == 4
    texts = {message["event"]: message["text"] for message in notify.messages(number)}
    assert "已撤销，20.00元 已退回卡内，卡内余额 50.00元" in texts[REVERSED]
    assert "已被收回" in texts[RECOVERED]
    assert second["balance_minor"] == 4000 and any("卡内余额 40.00元" in text for text in notify.phone(number))


def test_nobody_is_told_where_no_mobile_number_is_known(notify: Notify) -> None:
    voucher = notify.kami.voucher(redemption="balance")
    body = {"code": voucher.code, "account": {"type": "broadband", "number": "line-1"}, "amount_minor": 1}
    redemption = granted(notify.kami.merchant.post("/v1/redemptions", body, unique()), 201)
    before = notify.kami.items()
    assert notify.deliver(told(REDEEMED, voucher.serial, redemption["id"]), told(RECOVERED, voucher.serial)) == []
    assert notify.kami.items() == before
    notify.clock.advance(1)
    _, number, _ = notify.redeem(voucher)  # the card's last user has a mobile number
    assert notify.deliver(told(RECOVERED, voucher.serial)) == []
    assert [message["event"] for message in notify.messages(number)] == [RECOVERED]


def test_who_has_a_reclaimed_card_by_now_is_not_told_of_its_recall(notify: Notify) -> None:
    """The event comes late: the card was handed out again meanwhile. Who had used it is known all the same."""
    kami, voucher = notify.kami, notify.kami.voucher(redemption="balance")
    _, user, _ = notify.redeem(voucher, amount_minor=1_000)
    granted(kami.operator.post("/v1/recoveries", kami.recovery("reclaim", serials=[voucher.serial])), 202)
    settle(kami)
    kami.activate(serials=[voucher.serial])
    holder = mobile()
    claim(kami, Voucher(voucher.serial, ""), holder)
    late = told(RECOVERED, voucher.serial)
    late["data"] |= {"action": "reclaim", "generation": 1}
    before = len(notify.phone(user))
    assert notify.deliver(late) == []
    assert (len(notify.phone(user)) - before, notify.phone(holder)) == (1, [])


def test_that_a_card_works_again_is_not_told_before_it_does(notify: Notify) -> None:
    kami, voucher = notify.kami, notify.kami.voucher(redemption="balance", locale="en")
    _, number, _ = notify.redeem(voucher, amount_minor=1_000)
    kami.rewrite(voucher.serial, vetoed("suspend"))
    event = told(RECOVERED, voucher.serial, at=rfc3339(notify.clock.now))
    event["data"] |= {"action": "resume"}
    body = json.dumps(event)
    for _ in range(2):
        assert notify.deliver(body) == []
        ((body, delay),) = notify.orders()
        assert (delay, notify.phone(number)) == (TOO_EARLY_S, [])
    late = json.dumps({**event, "at": rfc3339(notify.clock.now - TOO_EARLY_MAX_S), "id": unique("1.VOUCHER#.1")})
    assert notify.deliver(late) == []
    assert (notify.orders(), notify.phone(number)) == ([], [])
    kami.rewrite(voucher.serial, lambda segment: replace(segment, vetoes=()))
    assert notify.deliver(body, body) == []
    (text,) = notify.phone(number)
    assert text == f"【Kami】Your card {voucher.serial} works again; CNY 40.00 is on it."


def test_a_repeat_that_comes_while_the_first_is_being_sent_leaves_it_alone(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, number, event = notify.redeem()
    inside: list[list[int]] = []
    send = SimulatedCarrier.send

    def sending(self: SimulatedCarrier, *args: Any) -> Any:
        if not inside:
            inside.append(notify.deliver(event))
        return send(self, *args)

    monkeypatch.setattr(SimulatedCarrier, "send", sending)
    assert notify.deliver(event) == []
    assert inside == [[]]
    assert notify.settle(times=2) == [ATTEMPT_S]
    assert outcomes(notify.message(number)) == [("north", "sent", None)]
    assert len(notify.phone(number)) == 1


def test_an_order_that_was_never_put_is_put_by_a_repeat_of_the_one_before_when_it_is_late(notify: Notify) -> None:
    _, _, event = notify.redeem()
    notify.faults(north="down")
    assert notify.deliver(event) == []
    ((_, delay_s),) = notify.orders()  # lost
    assert notify.deliver(event) == []
    ((body, again_s),) = notify.orders()
    assert (json.loads(body)["attempt"], again_s) == (1, delay_s + ATTEMPT_S)
    notify.clock.advance(again_s)
    assert notify.deliver(body) == []
    assert [json.loads(body)["attempt"] for body, _ in notify.orders()] == [2]


def test_an_sms_follows_from_a_redemption_by_itself(notify: Notify) -> None:
    voucher, number = notify.kami.voucher(), mobile()
    redemption = granted(notify.kami.merchant.redeem(voucher.code, account=number), 201)
    notify.cloud.drain()
    granted(notify.kami.merchant.reverse(redemption["id"]), 201)
    notify.cloud.drain()
    assert sorted(message["event"] for message in notify.messages(number)) == [REDEEMED, REVERSED]
    assert len(notify.phone(number)) == 2


# faults of providers


def test_a_provider_that_is_down_is_stood_in_for_by_the_other(notify: Notify) -> None:
    notify.faults(north="down")
    _, number, event = notify.redeem()
    notify.deliver(event)
    assert notify.message(number)["status"] == "queued"
    assert 0 <= notify.settle(times=2)[0] <= 4
    message = notify.message(number)
    assert (message["status"], outcomes(message)) == (
        "sent", [("north", "failed", "provider_down"), ("south", "sent", None)],
    )  # fmt: skip
    assert len(notify.phone(number)) == 1


def test_both_down_it_waits_ever_longer_and_arrives_once_when_one_is_back(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    notify.faults(north="down", south="down")
    _, number, event = notify.redeem()
    notify.deliver(event)
    delays = []
    for _ in range(6):
        ((body, delay),) = notify.orders()
        delays.append(delay)
        notify.clock.advance(delay)
        notify.deliver(body)
    assert delays == [4, 8, 16, 32, 64, 128]
    notify.faults()
    notify.settle(times=2)
    message = notify.message(number)
    assert [provider for provider, *_ in outcomes(message)] == ["north", "south"] * 4
    assert (message["status"], len(notify.phone(number))) == ("sent", 1)


def test_after_the_last_attempt_it_has_failed_and_nothing_is_left_to_do(notify: Notify) -> None:
    notify.faults(north="down", south="down")
    _, number, event = notify.redeem()
    notify.deliver(event)
    assert len(notify.settle(times=2)) < 3 * ATTEMPTS_MAX  # repeats do not multiply
    message = notify.message(number)
    assert (message["status"], len(message["attempts"])) == ("failed", ATTEMPTS_MAX)
    notify.faults()
    assert notify.deliver(event) == []
    assert notify.phone(number) == []


@pytest.mark.parametrize("fault", ["lose_reply", "slow"])
def test_a_reply_that_is_lost_is_looked_up_and_not_sent_again(notify: Notify, fault: str) -> None:
    notify.faults(north=fault)
    _, number, event = notify.redeem()
    notify.deliver(event, event)
    assert outcomes(notify.message(number)) == [("north", "unknown", "no_reply")]
    if fault == "slow":
        notify.faults()
    notify.settle(times=2)
    message = notify.message(number)
    assert (message["status"], outcomes(message)) == (
        "sent", [("north", "unknown", "no_reply"), ("north", "sent", None)],
    )  # fmt: skip
    assert len(notify.phone(number)) == 1
    assert notify.asked("south") == 0


def test_a_lost_reply_and_then_a_provider_that_is_down_is_not_entrusted_to_another(notify: Notify) -> None:
    notify.faults(north="lose_reply")
    _, number, event = notify.redeem()
    notify.deliver(event)
    notify.faults(north="down")
    for body, delay in notify.orders():
        notify.clock.advance(delay)
        notify.deliver(body)
    notify.faults()
    notify.settle(times=2)
    assert notify.message(number)["status"] == "sent"
    assert len(notify.phone(number)) == 1
    assert notify.asked("south") == 0


def test_two_answers_to_one_message_are_not_taken_for_the_answer_to_the_next(notify: Notify) -> None:
    notify.faults(north="answer_twice")
    sent = [notify.redeem() for _ in range(3)]
    assert notify.deliver(*(event for _, _, event in sent)) == []
    for _, number, _ in sent:
        assert len(notify.phone(number)) == 1
        assert outcomes(notify.message(number)) == [("north", "sent", None)]
    ids = [item["attempts"]["L"][0]["M"]["provider_id"]["S"] for (pk, _), item in notify.kami.items().items()
           if pk.startswith("MESSAGE#") and item["serial"]["S"] in {r["serial"] for r, *_ in sent}]  # fmt: skip
    assert len(set(ids)) == 3


def test_what_could_not_be_sent_while_it_was_of_use_has_expired(notify: Notify) -> None:
    notify.faults(north="down", south="down")
    _, number, event = notify.redeem()
    notify.deliver(event)
    ((body, _),) = notify.orders()
    assert notify.message(number)["reason"] == "provider_down"
    notify.clock.advance(KINDS[REDEEMED].use_by_s or 0)
    notify.faults()
    assert notify.deliver(body) == []
    message = notify.message(number)
    assert (message["status"], message["reason"], len(message["attempts"])) == ("failed", "expired", 1)
    assert (notify.phone(number), notify.orders()) == ([], [])


def test_an_event_that_comes_late_is_of_use_no_longer_than_one_that_comes_at_once(notify: Notify) -> None:
    """As from the dead letters, from which it is given back days later."""
    use_by_s = KINDS[REDEEMED].use_by_s or 0
    (_, fresh, in_time), (_, late, too_late) = notify.redeem(), notify.redeem()
    notify.clock.advance(use_by_s - 1)
    assert notify.deliver(in_time) == []
    notify.clock.advance(1)
    assert notify.deliver(too_late, too_late) == []
    assert notify.message(fresh)["status"] == "sent"
    message = notify.message(late)
    assert (message["status"], message["reason"], message["attempts"]) == ("failed", "expired", [])
    assert (message["use_by"], notify.phone(late)) == (rfc3339(notify.clock.now), [])


def test_doubt_that_outlasts_its_use_is_looked_up_and_not_sent(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedCarrier, "look_up", lambda *_: None)  # it was never taken
    notify.faults(north="lose_reply")
    _, number, event = notify.redeem()
    notify.deliver(event)
    notify.clock.advance(KINDS[REDEEMED].use_by_s or 0)
    notify.settle()
    message = notify.message(number)
    assert (message["status"], message["reason"], notify.asked("north")) == ("failed", "expired", 1)


# receipts


def test_a_receipt_tells_what_became_of_an_sms_once_however_often_it_comes(notify: Notify) -> None:
    _, number, event = notify.redeem()
    notify.deliver(event)
    sent = notify.message(number)
    delivered = receipt(sent, "delivered")
    assert notify.deliver(delivered, delivered, receipt(sent, "sent"), receipt(sent, "undelivered", "phone_full")) == []
    message = granted(notify.kami.operator.get(f"/v1/messages/{sent['id']}"))
    (attempt,) = message["attempts"]
    assert (message["status"], attempt["outcome"], attempt["code"]) == ("delivered", "delivered", "DELIVERED")
    assert (attempt["receipt_at"], attempt["provider_id"][:6]) == ("2023-11-14T22:13:20Z", "north-")
    assert message["story"][-1]["what"]["en"] == "The receipt says that it reached the phone (DELIVERED)."
    assert (len(notify.phone(number)), notify.orders()) == (1, [])
    version = notify.kami.items()[f"MESSAGE#{sent['id']}", "MESSAGE"]["version"]
    notify.deliver(delivered)
    assert notify.kami.items()[f"MESSAGE#{sent['id']}", "MESSAGE"]["version"] == version


def test_a_receipt_that_overtakes_the_reply_stands(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> None:
    _, number, event = notify.redeem()
    send = SimulatedCarrier.send

    def sending(self: SimulatedCarrier, *args: Any) -> Any:
        outcome = send(self, *args)
        assert notify.deliver(receipt(begun(event), "delivered")) == []
        return outcome

    monkeypatch.setattr(SimulatedCarrier, "send", sending)
    assert notify.deliver(event) == []
    message = notify.message(number)
    assert (message["status"], message["attempts"][0]["provider_id"][:6]) == ("delivered", "north-")
    assert (len(notify.phone(number)), notify.orders()) == (1, [])


def test_what_was_not_delivered_is_tried_again_where_that_may_help(notify: Notify) -> None:
    _, number, event = notify.redeem()
    notify.deliver(event)
    full = receipt(notify.message(number), "undelivered", "phone_full")
    assert notify.deliver(full, full) == []
    assert (notify.message(number)["status"], notify.message(number)["reason"]) == ("queued", "phone_full")
    assert WAIT_MAX_S in notify.settle(times=2)
    message = notify.message(number)
    assert outcomes(message) == [("north", "undelivered", "phone_full"), ("north", "sent", None)]
    assert (message["status"], len(notify.phone(number))) == ("sent", 2)
    notify.deliver(receipt(message, "undelivered", "blocked", attempt=2), full)
    assert (notify.message(number)["status"], notify.message(number)["reason"]) == ("undelivered", "blocked")
    assert notify.orders() == []


@pytest.mark.parametrize("place", range(1, 7))
def test_a_crash_while_a_receipt_is_noted_loses_nothing(
    notify: Notify, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, number, event = notify.redeem()
    notify.deliver(event)
    full = receipt(notify.message(number), "undelivered", "phone_full")
    with monkeypatch.context() as planted:
        crash_at_call(place, planted)
        with pytest.raises(Crash):
            notify.deliver(full)
    assert notify.deliver(full) == []
    notify.settle(times=2)
    assert outcomes(notify.message(number)) == [("north", "undelivered", "phone_full"), ("north", "sent", None)]


def test_a_receipt_that_finds_no_attempt_comes_back_a_while_and_is_then_logged(notify: Notify, log: Log) -> None:
    _, number, event = notify.redeem()
    notify.deliver(event)
    sent = notify.message(number)
    for stray in (
        receipt(sent, "delivered", reference="msg_none-1"),
        receipt(sent, "delivered", reference="none"),
        receipt(sent, "delivered", provider="simulated:south"),
        receipt(sent, "delivered", reference=None, provider_id="none"),
    ):
        assert notify.deliver(stray) == []
        assert notify.settle() == list(receipts.WAITS_S)
        line = json.loads(log.text.splitlines()[-1])
        assert (line["message"], line["alarm"]) == ("receipt", "receipt_unmatched")
    assert notify.message(number) == sent


def test_a_provider_that_does_not_echo_our_reference_is_understood_too(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimulatedCarrier, "echoes", False)
    _, number, event = notify.redeem()
    early: list[Json] = []
    send = SimulatedCarrier.send

    def sending(self: SimulatedCarrier, *args: Any) -> Any:
        outcome = send(self, *args)
        early.append(receipt(begun(event), "delivered", reference=None, provider_id=outcome.provider_id))
        assert notify.deliver(*early) == []
        return outcome

    monkeypatch.setattr(SimulatedCarrier, "send", sending)
    assert notify.deliver(event) == []
    assert notify.message(number)["status"] == "sent"
    assert notify.settle() == [receipts.WAITS_S[0]]
    assert notify.message(number)["status"] == "delivered"


def test_the_id_of_a_provider_that_does_not_echo_is_noted_before_the_outcome_is(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = unique("sid")
    monkeypatch.setattr(SimulatedCarrier, "echoes", False)
    monkeypatch.setattr(SimulatedCarrier, "send", lambda *_: base.taken(id))
    _, number, event = notify.redeem()

    def gone(*_: Any) -> None:
        raise Crash

    with monkeypatch.context() as planted:
        planted.setattr(service, "_ended", gone)
        with pytest.raises(Crash):
            notify.deliver(event)
    assert notify.deliver(receipt(begun(event), "delivered", reference=None, provider_id=id)) == []
    assert notify.message(number)["status"] == "delivered"


def test_what_no_receipt_comes_for_in_time_is_unknown_until_one_does(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "BATCH_GET_MAX", 1)
    within_s = int(notify.cloud.stack.functions["notify"].environment["SMS_RECEIPT_WITHIN_S"])
    assert within_s == 72 * 3600
    sent = [notify.redeem() for _ in range(6)]
    assert notify.deliver(*(event for _, _, event in sent)) == []
    numbers = [number for _, number, _ in sent]
    notify.deliver(receipt(notify.message(numbers[0]), "delivered"))
    notify.clock.advance(within_s - 1)
    assert notify.cloud.fire("kami-dev-receipts")
    notify.settle(times=2)
    assert {notify.message(number)["status"] for number in numbers[1:]} == {"sent"}
    notify.clock.advance(1)
    assert notify.cloud.fire("kami-dev-receipts")
    notify.settle()
    messages = [notify.message(number) for number in numbers]
    assert [message["status"] for message in messages] == ["delivered", *["unknown"] * 5]
    assert {message.get("reason") for message in messages[1:]} == {"no_receipt"}
    items = notify.kami.items()
    assert not any("gsi2pk" in items[f"MESSAGE#{message['id']}", "MESSAGE"] for message in messages)
    _, number, event = notify.redeem()
    notify.deliver(event)
    for index_is_behind in (messages[0], notify.message(number)):
        place = {"pk": f"MESSAGE#{index_is_behind['id']}", "sk": "MESSAGE", "gsi2sk": "0"}
        with monkeypatch.context() as stale:
            stale.setattr(table, "query", lambda *_, after, place=place, **__: [] if after == "0" else [place])
            assert notify.deliver({"awaiting": 0}) == []
        notify.settle()
    assert (notify.message(numbers[0])["status"], notify.message(number)["status"]) == ("delivered", "sent")
    notify.deliver(receipt(messages[1], "sent"), receipt(messages[2], "delivered"))
    assert notify.message(numbers[1])["status"] == "unknown"
    assert notify.message(numbers[2])["status"] == "delivered"


# crashes


class Crash(BaseException):
    """The instance is gone."""


WIRE: list[tuple[Any, str]] = [(BaseClient, "_make_api_call"), (urllib3.PoolManager, "request")]
"""All that the worker asks of anybody: AWS, and the carriers."""
NOTIFY = Path(service.__file__).parent
LINES = frozenset(map(str, (*NOTIFY.glob("*.py"), NOTIFY / "providers/base.py", Path(recipients.__file__))))
"""Where each line is a place to crash at; what is beneath them asks AWS once."""

LEFT_OPEN: list[urllib3.BaseHTTPResponse] = []
"""Answers that nobody may have come to close."""

Plant = Callable[[int, pytest.MonkeyPatch], None]


def crash_at_call(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plants a crash before or after a call to the outside; places are counted through."""
    passed = 0

    @contextmanager
    def passing() -> Iterator[None]:
        pass_by()
        yield
        pass_by()

    def pass_by() -> None:
        nonlocal passed
        passed += 1
        if passed >= place:  # and what is gone does nothing more
            raise Crash

    around_calls(passing, monkeypatch)


def crash_at_line(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plants a crash at a line of the worker's; they are counted through as they are reached for the first time."""
    passed: set[tuple[str, int]] = set()

    def at(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            passed.add((frame.f_code.co_filename, frame.f_lineno))
            pass_by()
        return at

    def pass_by() -> None:
        if len(passed) >= place:
            raise Crash

    @contextmanager
    def traced() -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(lambda frame, *_: at if frame.f_code.co_filename in LINES else None)
        try:
            yield
        finally:
            sys.settrace(before)

    @contextmanager
    def untraced() -> Iterator[None]:
        """Nothing in there is the worker's, and there is much of it."""
        pass_by()
        before = sys.gettrace()
        sys.settrace(None)
        yield
        sys.settrace(before)

    def take(body: str, original: Callable[[str], None] = handler.take) -> None:
        with traced():
            original(body)

    monkeypatch.setattr(handler, "take", take)
    around_calls(untraced, monkeypatch)


def around_calls(guard: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has each call to the outside made within a context."""

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with guard():
                result = original(*args, **kwargs)
                if isinstance(result, urllib3.BaseHTTPResponse):
                    LEFT_OPEN.append(result)
                return result

        return call

    for owner, name in WIRE:
        monkeypatch.setattr(owner, name, guarded(getattr(owner, name)))


PLANS: dict[str, dict[str, str]] = {
    "well": {}, "limited": {}, "down": {"north": "down"}, "lost": {"north": "lose_reply"},
}  # fmt: skip


@pytest.mark.parametrize("plan", PLANS)
def test_a_crash_before_or_after_any_call_leaves_one_sms(
    notify: Notify, plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes = crashed_everywhere(notify, plan, crash_at_call, monkeypatch)
    assert crashes >= {"well": 8, "limited": 10, "down": 18, "lost": 18}[plan]


def test_a_crash_at_any_line_leaves_one_sms(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> None:
    assert crashed_everywhere(notify, "lost", crash_at_line, monkeypatch) >= 200


def crashed_everywhere(notify: Notify, plan: str, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> int:
    """Crashes at one place after the other, each time with an SMS of its own; says at how many."""
    if plan == "limited":
        route(notify, {"offers": [offer("north", rate_per_s=1)]})
    for crashes, place in enumerate(range(1, PLACES_MAX)):
        _, number, event = notify.redeem()
        notify.faults(**PLANS[plan])
        with monkeypatch.context() as planted:
            plant(place, planted)
            crashed = run_until_crash(notify, event)
        monkeypatch.setattr(service, "WORKER", Worker())
        notify.clock.advance(ATTEMPT_S)
        if crashed is not None:
            if plan == "down":
                notify.faults()  # else what was in its hands at the crash would stay unknown
            assert notify.deliver(crashed) == []
        notify.settle(times=2)
        assert len(notify.phone(number)) == 1, f"place {place}"
        assert notify.message(number)["status"] == "sent", f"place {place}"
        if crashed is None:
            return crashes
    raise AssertionError("it does not end")


def test_a_crash_never_has_sent_again_what_a_provider_cannot_trace(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimulatedCarrier, "traceable", False)
    ends = Counter[tuple[str, int]]()
    for place in range(1, PLACES_MAX):
        _, number, event = notify.redeem()
        before = notify.asked("north")
        with monkeypatch.context() as planted:
            crash_at_call(place, planted)
            crashed = run_until_crash(notify, event)
        monkeypatch.setattr(service, "WORKER", Worker())
        notify.clock.advance(ATTEMPT_S)
        notify.deliver(crashed or event)
        notify.settle(times=2)
        ends[notify.message(number)["status"], notify.asked("north") - before] += 1
        if crashed is None:
            break
    assert ends.keys() == {("sent", 1), ("unknown", 0), ("unknown", 1)}


def run_until_crash(notify: Notify, event: Json) -> Any:
    """Delivers the event and what follows; the body at which it crashed, which SQS delivers again, or None."""
    waiting: list[Any] = [event]
    while waiting:
        body = waiting.pop(0)
        try:
            assert notify.deliver(body) == []
        except Crash:
            while LEFT_OPEN:  # the system does so for who is gone
                LEFT_OPEN.pop().close()
            return body
        for next_, delay in notify.orders():
            notify.clock.advance(delay)
            waiting.append(next_)
    return None


def test_a_worker_that_stood_still_does_not_send_any_more(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> None:
    _, number, event = notify.redeem()
    late = iter([0.0, 0.0, float(ATTEMPT_S)])
    with monkeypatch.context() as patched:
        patched.setattr(service, "time", SimpleNamespace(monotonic=late.__next__))
        assert notify.deliver(event) == [0]
    assert notify.asked("north") == 0
    notify.clock.advance(ATTEMPT_S)
    assert notify.deliver(event) == []
    notify.settle()
    assert outcomes(notify.message(number)) == [("north", "unknown", "no_reply"), ("north", "sent", None)]


def test_what_a_provider_cannot_trace_is_unknown_after_a_crash_and_never_sent_again(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimulatedCarrier, "traceable", False)
    _, number, event = notify.redeem()
    notify.faults(north="lose_reply")
    notify.deliver(event)
    message = notify.message(number)
    assert (message["status"], notify.orders()) == ("unknown", [])
    story = granted(notify.kami.operator.get(f"/v1/messages/{message['id']}"))["story"]
    assert story[-1]["next_step"] == UNTRACEABLE._asdict()
    assert notify.deliver(event) == []
    assert len(notify.phone(number)) == 1


# whom to ask


def offer(carrier: str, **terms: int) -> Json:
    return {"provider": f"simulated:{carrier}", **terms}


def route(notify: Notify, *rows: Json) -> None:
    tag = granted(notify.kami.operator.get("/v1/routes"))["version"]
    granted(notify.kami.operator.put("/v1/routes", {"rows": rows}, f'"{tag}"'))


def breaker(notify: Notify, carrier: str) -> Json:
    item = notify.kami.items().get((f"PROVIDER#simulated:{carrier}", "PROVIDER"), {})
    return {name: next(iter(value.values())) for name, value in item.items()}


def test_routes_are_replaced_by_who_has_seen_them(notify: Notify) -> None:
    operator = notify.kami.operator
    first = operator.get("/v1/routes")
    assert (first.header("etag"), granted(first)["version"]) == ('"0"', 0)
    assert [each["provider"] for each in first.json()["rows"][0]["offers"]] == ["simulated:north", "simulated:south"]
    body = {"rows": [{"offers": [offer("south", rate_per_s=5), offer("north")], "by": "price",
                      "when": {"countries": ["CN"], "kinds": [REDEEMED]}}, {"offers": [offer("north")]}]}  # fmt: skip
    refused(operator.put("/v1/routes", body, None), 428, "precondition_required")
    refused(operator.put("/v1/routes", body, '"1"'), 412, "precondition_failed")
    for tag in ("0", "*", 'W/"0"', '"x"', ""):
        refused(operator.put("/v1/routes", body, tag), 400, "invalid_request")
    for _ in range(2):
        answer = operator.put("/v1/routes", body)
        assert (answer.header("etag"), granted(answer)["version"]) == ('"1"', 1)
    refused(operator.put("/v1/routes", {"rows": body["rows"][1:]}), 412, "precondition_failed")
    read = granted(operator.get("/v1/routes"))
    assert read == answer.json()
    assert read["rows"][0]["offers"][0] == {
        "provider": "simulated:south", "weight": 1, "price_micros": 0, "rate_per_s": 5, "in_flight_max": 5,
    }  # fmt: skip
    assert read["rows"][0]["when"] == {"countries": ["CN"], "carriers": [], "regions": [], "kinds": [REDEEMED]}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"offers": [{"provider": "simulated:east"}]}, "rows.0.offers.0.provider"),
        ({"offers": [{"provider": "nobody"}]}, "rows.0.offers.0.provider"),
        ({"offers": []}, "rows.0.offers"),
        ({"offers": [offer("north"), offer("north")]}, "rows.0"),
        ({"offers": [offer("north", rate_per_s=0)]}, "rows.0.offers.0.rate_per_s"),
        ({"offers": [offer("north", in_flight_max=11)]}, "rows.0.offers.0.in_flight_max"),
        ({"offers": [offer("north")], "when": {"kinds": ["voucher.lost"]}}, "rows.0.when.kinds.0"),
        ({"offers": [offer("north")], "when": {"countries": ["cn"]}}, "rows.0.when.countries.0"),
        ({"offers": [offer("north")], "by": "luck"}, "rows.0.by"),
    ],
)
def test_routes_that_make_no_sense_are_named(notify: Notify, row: Json, field: str) -> None:
    problem = refused(notify.kami.operator.put("/v1/routes", {"rows": [row]}), 400, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [field]


def test_a_message_goes_where_the_first_row_that_fits_it_says(notify: Notify) -> None:
    route(notify, {"offers": [offer("south")], "when": {"kinds": [REDEEMED]}}, {"offers": [offer("north")]})
    redemption, number, redeemed = notify.redeem()
    granted(notify.kami.merchant.reverse(redemption["id"]), 201)
    assert notify.deliver(redeemed, told(REVERSED, redemption["serial"], redemption["id"], reversal="r")) == []
    asked = {message["event"]: outcomes(message) for message in notify.messages(number)}
    assert asked == {REDEEMED: [("south", "sent", None)], REVERSED: [("north", "sent", None)]}


@pytest.mark.parametrize("kind", [REDEEMED, REVERSED])
def test_what_another_worker_has_begun_is_neither_sent_nor_given_up_for_want_of_a_route(
    notify: Notify, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    _, number, event = notify.redeem()
    route(notify, {"offers": [offer("north")], "when": {"kinds": [kind]}})

    def overtaken(message: Message, now: int, *, counts: bool) -> None:
        service._change(message, lambda current: service._begun(current, 1, "another", now, "simulated:north"))

    monkeypatch.setattr("functions.notify.recipients.judged", overtaken)
    assert notify.deliver(event) == []
    assert (notify.message(number)["status"], notify.asked("north")) == ("sending", 0)
    assert [delay_s for _, delay_s in notify.orders()] == ([ATTEMPT_S] if kind == REDEEMED else [])


def test_a_provider_that_fails_too_often_is_left_alone_and_comes_back_when_it_is_well(
    notify: Notify, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = notify.kami.cloud.stack.functions["notify"].environment
    monkeypatch.setitem(waits, "SMS_RETRY_BASE_S", "0")  # all of them together could outlast the breaker
    for _ in range(FAILURES_MIN):
        notify.deliver(notify.redeem()[2])
    before = notify.asked("north")
    notify.clock.advance(1)
    notify.faults(north="down")
    events = [notify.redeem() for _ in range(FAILURES_MIN + 2)]
    for _, _, event in events:
        assert notify.deliver(event) == []
    assert (notify.asked("north") - before, notify.asked("south")) == (FAILURES_MIN, 2)
    assert breaker(notify, "north")["state"] == "open"
    told = [line["provider"] for line in log.lines if line.get("alarm") == PROVIDER_DOWN]
    assert told == ["simulated:north"]
    notify.faults()
    notify.settle(times=2)
    assert notify.asked("north") - before == FAILURES_MIN
    assert {len(notify.phone(number)) for _, number, _ in events} == {1}
    notify.clock.advance(OPEN_S)
    for probe in range(1, PROBES + 1):
        assert breaker(notify, "north")["state"] == ("open" if probe == 1 else "half_open")
        _, _, event = notify.redeem()
        notify.deliver(event)
        assert notify.asked("north") - before == FAILURES_MIN + probe
    closed = breaker(notify, "north")
    assert "state" not in closed
    _, _, event = notify.redeem()
    notify.deliver(event)
    assert notify.asked("north") - before == FAILURES_MIN + PROBES + 1
    assert breaker(notify, "north") == closed  # a success is not worth a write


def test_where_all_are_left_alone_a_message_waits_and_uses_up_no_attempt(notify: Notify) -> None:
    notify.faults(north="down", south="down")
    events = [notify.redeem() for _ in range(FAILURES_MIN + 1)]
    for _, _, event in events[:-1]:
        assert notify.deliver(event) == []
    for body, _ in notify.orders():
        assert notify.deliver(body) == []
    assert {breaker(notify, name)["state"] for name in NAMES} == {"open"}
    notify.orders()
    _, number, event = events[-1]
    assert notify.deliver(event) == []
    ((body, delay),) = notify.orders()
    assert json.loads(body) == {"message": message_id(event["id"]), "attempt": 1, "waits": 1}
    assert OPEN_S <= delay <= OPEN_S * 1.25
    assert (notify.message(number)["status"], notify.message(number)["attempts"]) == ("queued", [])
    notify.faults()
    notify.clock.advance(delay)
    assert notify.deliver(body) == []
    assert outcomes(notify.message(number)) == [("north", "sent", None)]
    assert len(notify.phone(number)) == 1


def test_more_than_a_provider_takes_a_second_comes_back_and_uses_up_no_attempt(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "time", SimpleNamespace(monotonic=lambda: 0.0))  # however long five of them take
    route(notify, {"offers": [offer("north", rate_per_s=2), offer("south")]})
    events = [notify.redeem() for _ in range(5)]
    assert notify.deliver(*(event for _, _, event in events)) == []
    messages = [notify.message(number) for _, number, _ in events]
    assert sorted(message["status"] for message in messages) == ["queued"] * 3 + ["sent"] * 2
    assert sum(len(message["attempts"]) for message in messages) == 2
    assert all(1 <= delay <= 2 for delay in notify.settle())
    assert [len(notify.phone(number)) for _, number, _ in events] == [1] * 5
    assert (notify.asked("north"), notify.asked("south")) == (5, 0)
    counted = [int(item["count"]["N"]) for (pk, _), item in notify.kami.items().items() if pk.startswith("RATE#")]
    assert sum(counted) == 5 and max(counted) == 2


def test_a_slow_provider_holds_up_nothing_but_itself(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "ROOM_WAIT_S", 0.01)
    narrow = {"offers": [offer("north", in_flight_max=1)], "when": {"kinds": [REDEEMED]}}
    route(notify, narrow, {"offers": [offer("south")]})
    events = [notify.redeem() for _ in range(5)]
    redemption, _, _ = events[0]
    granted(notify.kami.merchant.reverse(redemption["id"]), 201)
    others_done = threading.Semaphore(0)
    send, send_message = SimulatedCarrier.send, jobs.send_message

    def sending(self: SimulatedCarrier, *args: Any) -> Any:
        if self._name == "north":
            assert all(others_done.acquire(timeout=BLOCKED_S) for _ in range(5))
            return send(self, *args)
        outcome = send(self, *args)
        others_done.release()
        return outcome

    def going_back(*args: Any, **kwargs: Any) -> None:
        send_message(*args, **kwargs)
        others_done.release()

    reversed_ = told(REVERSED, redemption["serial"], redemption["id"], reversal="r")
    with monkeypatch.context() as planted:
        planted.setattr(SimulatedCarrier, "send", sending)
        planted.setattr(jobs, "send_message", going_back)
        assert notify.deliver(*(event for _, _, event in events), reversed_) == []
    made = [notify.messages(number) for _, number, _ in events]
    assert {len(messages) for messages in made} == {1, 2} and notify.asked("north") == 1
    assert sum(len(message["attempts"]) for messages in made for message in messages) == 2
    assert {message["status"] for messages in made for message in messages} == {"queued", "sent"}
    notify.settle()
    assert sum(len(notify.phone(number)) for _, number, _ in events) == 6


# bad input


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"schema": 0},
        {"schema": "1"},
        {"type": "voucher.revealed"},
        {"id": ""},
        {"data": {}},
        {"data": {"serial": "010000000003"}},
        {"data": {"serial": "010000000004", "redemption": {"id": "r"}}},
        {"data": {"serial": "999999999995", "redemption": {"id": "r"}}},
        {"data": {"serial": 1, "redemption": {"id": "r"}}},
    ],
)
def test_an_event_that_makes_no_sense_comes_back_alone(notify: Notify, change: Json) -> None:
    _, number, good = notify.redeem()
    assert notify.deliver(good | {"id": unique()} | change, good) == [0]
    assert len(notify.phone(number)) == 1


@pytest.mark.parametrize(
    "body",
    [
        "", "no json", "[]", "{}", "null", '{"message": "msg"}', '{"message": "msg_none", "attempt": 1}',
        '{"message": "msg", "attempt": "1"}', '{"message": "msg", "attempt": 0}', '{"attempt": 1}', '{"awaiting": 4}',
        '{"receipt": {}}', '{"receipt": {"provider": "aws", "status": "delivered", "at": 1}}',
        '{"receipt": {"provider": "aws", "status": "undelivered", "at": 1, "reference": "r"}}',
        '{"receipt": {"provider": "aws", "status": "undelivered", "at": 1, "reference": "r", "reason": "none"}}',
        '{"receipt": {"provider": "aws", "status": "delivered", "at": 1, "reference": "r", "reason": "blocked"}}',
        '{"receipt": {"provider": "aws", "status": "queued", "at": 1, "reference": "r"}}',
    ],
)  # fmt: skip
def test_a_body_that_makes_no_sense_comes_back_alone(notify: Notify, body: str) -> None:
    _, number, good = notify.redeem()
    assert notify.deliver(body, good, body) == [0, 2]
    assert len(notify.phone(number)) == 1


def test_an_attempt_that_runs_ahead_of_its_message_comes_back(notify: Notify) -> None:
    _, number, event = notify.redeem()
    notify.faults(north="down")
    notify.deliver(event)
    id = notify.message(number)["id"]
    assert notify.deliver({"message": id, "attempt": 3}) == [0]
    assert len(notify.message(number)["attempts"]) == 1


# asking


def test_messages_to_a_number_are_listed_newest_first_page_by_page(notify: Notify) -> None:
    voucher, number = notify.kami.voucher(redemption="balance"), mobile()
    expected = []
    for _ in range(5):
        notify.clock.advance(1)
        redemption, _, event = notify.redeem(voucher, account=number, amount_minor=1)
        notify.deliver(event)
        expected.append(redemption["balance_minor"])
    other, _, event = notify.redeem()
    notify.deliver(event)
    target, cursor, found = f"/v1/messages?recipient=%2B{number[1:]}&limit=2", "", []
    while True:
        page = granted(notify.kami.operator.get(target + cursor))
        found.append(page["data"])
        if "next_cursor" not in page:
            break
        assert number[1:].encode() not in urlsafe_b64decode(page["next_cursor"] + "==")
        cursor = f"&cursor={page['next_cursor']}"
    assert [len(page) for page in found] == [2, 2, 1]
    balances = [round(100 * float(re.findall(r"[\d.]+(?=元)", m["text"])[1])) for page in found for m in page]
    assert balances == expected[::-1]
    another = f"/v1/messages?recipient=%2B{mobile()[1:]}&limit=2"
    refused(notify.kami.operator.get(another + cursor), 400, "invalid_cursor")
    assert other["serial"] != voucher.serial


def test_a_plus_sign_that_was_not_escaped_is_understood(notify: Notify) -> None:
    _, number, event = notify.redeem()
    notify.deliver(event)
    for written in (number, f"%20{number[1:]}", f"%2B{number[1:]}"):
        assert len(granted(notify.kami.operator.get(f"/v1/messages?recipient={written}"))["data"]) == 1


@pytest.mark.parametrize("query", ["", "?recipient=", "?recipient=13812345678", "?recipient=%2B86abc", "?limit=1"])
def test_a_recipient_is_required_and_must_be_a_phone_number(notify: Notify, query: str) -> None:
    problem = refused(notify.kami.operator.get(f"/v1/messages{query}"), 400, "invalid_request")
    assert problem["errors"][0]["field"] == "query.recipient"


def test_messages_take_their_scope_and_an_unknown_one_is_not_found(notify: Notify) -> None:
    auditor = notify.kami.client("auditor")
    refused(auditor.get("/v1/messages?recipient=%2B8613812345678"), 403, "insufficient_scope")
    refused(auditor.get("/v1/messages/msg_none"), 403, "insufficient_scope")
    refused(notify.kami.operator.get("/v1/messages/msg_none"), 404, "not_found")
    assert notify.messages(mobile()) == []


def test_no_phone_number_is_in_a_log_line_or_a_queue_message(notify: Notify, log: Log) -> None:
    notify.faults(north="lose_reply", south="down")
    _, number, event = notify.redeem()
    notify.deliver(event, told(REVERSED, event["data"]["serial"], "none"), "no json")
    notify.messages(number)
    notify.settle(times=2)
    assert notify.message(number)["status"] == "sent"
    assert any(json.loads(line).get("message") == "message" for line in log.text.splitlines())
    written = log.text + "".join(notify.bodies)
    assert number[1:] not in written and number[3:] not in written
