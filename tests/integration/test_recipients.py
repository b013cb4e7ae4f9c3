"""The rules of recipients, each through the front door: what is kept back or not sent says why, and nothing is lost."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from functions.domain import recipient as rules
from functions.domain.message import message_id
from functions.domain.recipient import CLASSES, MERGE_WINDOW_S, RECHECK_S, Limit
from functions.domain.templates import TEMPLATES
from functions.domain.times import rfc3339
from functions.domain.voucher import DAY_S
from functions.notify import recipients
from functions.notify.providers import simulated
from functions.store import keys
from infra.local.gateway import Answer
from tests.integration.conftest import Clock, Log
from tests.integration.kami import Caller, Json, Kami, Voucher, claim, erased, granted, mobile, refused, unique
from tests.integration.test_notify import Notify, told

HOUR_S = 3_600


@pytest.fixture
def notify(kami: Kami, clock: Clock) -> Notify:
    """With nothing on its queue."""
    kami.cloud.carriers.reset()
    notify = Notify(kami, clock)
    notify.orders()
    return notify


def put(notify: Notify, number: str, **rules: Any) -> Json:
    return granted(notify.kami.operator.put("/v1/recipients", {"number": number, **rules}))


def looked_up(notify: Notify, number: str) -> Json:
    return granted(notify.kami.client("support").post("/v1/recipients/lookups", {"number": number}))


def redeemed(notify: Notify, number: str) -> Json:
    """What becomes of the SMS about a redemption for a number."""
    _, _, event = notify.redeem(account=number)
    assert notify.deliver(event, event) == []
    return granted(notify.kami.operator.get(f"/v1/messages/{message_id(event['id'])}"))


def used(notify: Notify, number: str) -> Voucher:
    """A card that was last used for a number."""
    voucher = notify.kami.voucher(redemption="balance")
    notify.redeem(voucher, account=number, amount_minor=1)
    return voucher


def resumed(notify: Notify, voucher: Voucher) -> Json:
    """The event of a recovery that is told, but not urgently."""
    event = told("voucher.recovered", voucher.serial)
    return event | {"data": event["data"] | {"action": "resume"}}


def reply(notify: Notify, number: str, text: str, at: int) -> Answer:
    """An SMS that a phone answers, as its carrier hands it on."""
    carriers = notify.cloud.carriers
    body = json.dumps([{"from": number, "text": text, "at": at}]).encode()
    headers = {"content-type": "application/json", "x-carrier-signature": simulated.signature(carriers.secret, body)}
    return notify.cloud.request("POST", "/v1/receipts/simulated:north", headers=headers, body=body)


def on_the_bus(notify: Notify, type: str, account: str, at: int) -> None:
    """What another system tells of an account."""
    by = {"client": "risk", "role": "operator", "tenant": "operator", "address": "192.0.2.1", "request": "r"}
    detail = {
        "id": unique("risk"),
        "type": type,
        "schema": 1,
        "at": rfc3339(at),
        "by": by,
        "data": {"account": account},
    }
    bus = notify.cloud.stack.functions["notify"].environment["BUS_NAME"]
    entry = {"EventBusName": bus, "Source": "kami", "DetailType": type, "Detail": json.dumps(detail)}
    assert notify.cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def by_the_clock(notify: Notify) -> None:
    """What the schedule does, and the orders that are due by then."""
    assert notify.cloud.fire("kami-dev-held")
    notify.settle(times=2)


def story(notify: Notify, message: Json) -> list[str]:
    told = granted(notify.kami.operator.get(f"/v1/messages/{message['id']}"))
    return [line["what"]["en"] for line in told["story"]]


def around(now: int, before_h: int, after_h: int) -> Json:
    """Quiet hours that a moment lies in."""
    begins, ends = (datetime.fromtimestamp(now + h * HOUR_S, UTC).strftime("%H:%M") for h in (-before_h, after_h))
    return {"quiet_hours": {"begins": begins, "ends": ends}, "zone": "Etc/UTC"}


# the routes


def test_nothing_is_known_of_most_recipients_but_what_their_number_tells(notify: Notify) -> None:
    before = notify.kami.items()
    told = looked_up(notify, "+86 138 1234 5678")
    account = told.pop("account")
    assert account.startswith("acc_")
    assert told == {
        "number": "+86138****5678", "opted_out": [], "zone": "Asia/Shanghai", "frozen": False, "security_hold": False,
        "country": "CN", "carrier": "China Mobile", "region": "Jiangsu",
    }  # fmt: skip
    assert looked_up(notify, "13812345678")["account"] == account
    new = {key for key in notify.kami.items() if key not in before and not key[0].startswith("CLIENT#")}
    assert new <= {key for key in new if key[0].startswith(("HISTORY#", "CHAIN#", "ENTRY#"))}


def test_what_is_put_replaces_what_they_want_and_leaves_what_is_imposed_on_them(notify: Notify) -> None:
    number = mobile()
    put(notify, number, opted_out=["reminders"], zone="Europe/Berlin", security_hold=True)
    notify.clock.advance(1)
    told = put(notify, number, quiet_hours={"begins": "21:30", "ends": "07:00"})
    assert (told["opted_out"], told["zone"], told["security_hold"]) == ([], "Asia/Shanghai", True)
    assert looked_up(notify, number) == told
    assert told["quiet_hours"] == {"begins": "21:30", "ends": "07:00"}
    items = [item for (pk, _), item in notify.kami.items().items() if pk == f"RECIPIENT#{told['account']}"]
    assert number not in json.dumps(items, default=str)


def test_a_zone_that_there_is_not_and_a_number_that_is_none_are_named(notify: Notify) -> None:
    answer = notify.kami.operator.put("/v1/recipients", {"number": mobile(), "zone": "Mars/Olympus"})
    assert refused(answer, 400, "invalid_request")["errors"][0]["field"] == "zone"
    answer = notify.kami.operator.put("/v1/recipients", {"number": "1-1-1-1"})
    assert refused(answer, 400, "invalid_request")["errors"][0]["field"] == "number"


# opting out


def test_who_opted_out_of_a_class_gets_none_of_it_and_each_message_says_so(notify: Notify) -> None:
    number = mobile()
    put(notify, number, opted_out=["receipts"])
    message = redeemed(notify, number)
    assert (message["status"], message["reason"], message["attempts"]) == ("suppressed", "opted_out", [])
    assert message["for_customer"]["zh"].startswith("您已退订")
    notify.clock.advance(1)
    voucher = used(notify, number)
    assert notify.deliver(resumed(notify, voucher)) == []
    assert len(notify.phone(number)) == 1  # of another class
    put(notify, number, opted_out=[])
    assert redeemed(notify, number)["status"] == "sent"


@pytest.mark.parametrize("word", ["STOP", "td", "退订"])
def test_a_reply_opts_out_of_all_and_another_one_in_again(notify: Notify, log: Log, word: str) -> None:
    number, now = mobile(), notify.clock.now
    assert reply(notify, number, word, now).status == 204
    (waiting,) = notify.queue._messages
    assert number[1:] not in waiting.body
    notify.settle(times=2)
    assert looked_up(notify, number)["opted_out"] == ["notices", "receipts", "reminders"]
    assert redeemed(notify, number)["reason"] == "opted_out"
    reply(notify, number, "Start!", now + 1)
    notify.settle()
    reply(notify, number, word, now)  # which was late
    reply(notify, number, "who is this?", now + 2)
    notify.settle()
    assert redeemed(notify, number)["status"] == "sent"
    assert number[1:] not in log.text


def test_a_reply_without_the_carriers_proof_opts_nobody_out(notify: Notify) -> None:
    number, body = mobile(), json.dumps([{"from": mobile(), "text": "STOP", "at": 1}])
    headers = {"content-type": "application/json", "x-carrier-signature": "0" * 64}
    answer = notify.cloud.request("POST", "/v1/receipts/simulated:north", headers=headers, body=body)
    refused(answer, 401, "invalid_signature")
    assert looked_up(notify, number)["opted_out"] == []


def test_a_reply_by_way_of_aws_opts_out(notify: Notify) -> None:
    number = mobile()
    order = {"originationNumber": number, "messageBody": "STOP", "inboundMessageId": "i", "messageKeyword": "KAMI"}
    assert notify.deliver(order) == []
    notify.settle()
    assert looked_up(notify, number)["opted_out"] == ["notices", "receipts", "reminders"]


# accounts that are frozen or held


@pytest.mark.parametrize(
    ("on", "off", "reason"),
    [("account.frozen", "account.unfrozen", "account_frozen"), ("account.held", "account.released", "security_hold")],
)
def test_an_accounts_sms_wait_until_it_is_free_again(notify: Notify, on: str, off: str, reason: str) -> None:
    number, now = mobile(), notify.clock.now
    account = looked_up(notify, number)["account"]
    on_the_bus(notify, on, account, now)
    notify.settle(times=2)
    message = redeemed(notify, number)
    assert (message["status"], message["reason"]) == ("held", reason)
    assert message["held_until"] == rfc3339(now + RECHECK_S)
    notify.clock.advance(RECHECK_S)
    by_the_clock(notify)
    assert notify.message(number)["held_until"] == rfc3339(now + 2 * RECHECK_S)
    on_the_bus(notify, off, account, now + 2)
    on_the_bus(notify, on, account, now + 1)  # late
    notify.settle(times=2)
    assert notify.deliver({"message": message["id"], "attempt": 1}) == []
    assert notify.phone(number) == []  # its time has not come
    notify.clock.advance(RECHECK_S)
    by_the_clock(notify)
    by_the_clock(notify)
    assert (notify.message(number)["status"], len(notify.phone(number))) == ("sent", 1)
    lines = story(notify, message)
    assert [line for line in lines if "frozen" in line or "security hold" in line] == lines[1:2]


def test_what_is_in_doubt_is_not_sent_again_while_it_may_not_be(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated.SimulatedCarrier, "look_up", lambda *_: None)  # it was never taken
    notify.faults(north="lose_reply")
    _, number, event = notify.redeem()
    assert notify.deliver(event) == []
    put(notify, number, frozen=True)
    notify.faults()
    notify.settle(times=2)
    message = notify.message(number)
    assert (message["status"], message["reason"], notify.asked("north")) == ("held", "account_frozen", 1)
    assert [attempt.get("reason") for attempt in message["attempts"]] == ["no_reply", "account_frozen"]
    put(notify, number, frozen=False)
    notify.clock.advance(RECHECK_S)
    by_the_clock(notify)
    assert (notify.message(number)["status"], notify.asked("north")) == ("sent", 2)


def test_staff_freeze_and_hold_too(notify: Notify) -> None:
    number = mobile()
    put(notify, number, frozen=True)
    assert redeemed(notify, number)["reason"] == "account_frozen"
    put(notify, number, security_hold=True)
    assert redeemed(notify, number)["reason"] == "security_hold"


def test_what_staff_say_stands_after_what_was_told_before_whatever_its_time(notify: Notify) -> None:
    number = mobile()
    account = looked_up(notify, number)["account"]
    for on in (True, False, True, False):
        said = put(notify, number, frozen=on, security_hold=on)
        assert (said["frozen"], said["security_hold"]) == (on, on)
    on_the_bus(notify, "account.frozen", account, notify.clock.now + 2)  # of a clock that is ahead
    notify.deliver({"opted_out": True, "account": account, "at_ms": (notify.clock.now + 2) * 1000})
    notify.settle(times=2)
    before = looked_up(notify, number)
    assert (before["frozen"], before["opted_out"]) == (True, list(CLASSES))
    after = put(notify, number, frozen=False)
    assert (after["frozen"], after["opted_out"]) == (False, [])
    on_the_bus(notify, "account.frozen", account, notify.clock.now + 2)  # once more
    notify.settle(times=2)
    assert looked_up(notify, number)["frozen"] is False


def test_what_is_held_longer_than_it_is_of_use_has_failed_for_that(notify: Notify) -> None:
    number = mobile()
    put(notify, number, frozen=True)
    message = redeemed(notify, number)
    notify.clock.advance(DAY_S - 60)
    by_the_clock(notify)
    assert notify.message(number)["held_until"] == message["use_by"]
    notify.clock.advance(60)
    by_the_clock(notify)
    assert (notify.message(number)["status"], notify.message(number)["reason"]) == ("failed", "expired")
    assert notify.phone(number) == []


def test_what_was_withdrawn_while_it_was_held_is_not_sent_any_more(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = mobile()
    put(notify, number, frozen=True)
    message = redeemed(notify, number)
    monkeypatch.delitem(TEMPLATES, ("voucher.redeemed", "zh-CN"))
    notify.clock.advance(RECHECK_S)
    by_the_clock(notify)
    after = notify.message(number)
    assert (after["id"], after["status"], after["reason"]) == (message["id"], "suppressed", "policy_changed")


# quiet hours


def test_what_is_not_urgent_waits_for_the_end_of_quiet_hours_and_what_is_does_not(notify: Notify) -> None:
    number, now = mobile(), notify.clock.now
    voucher = used(notify, number)
    put(notify, number, **around(now, 1, 2))
    assert notify.deliver(resumed(notify, voucher)) == []
    message = notify.message(number)
    assert (message["status"], message["reason"]) == ("held", "quiet_hours")
    assert message["held_until"] == rfc3339(now + 2 * HOUR_S)
    assert redeemed(notify, number)["status"] == "sent"
    for _ in range(7):
        notify.clock.advance(RECHECK_S)
        assert notify.cloud.fire("kami-dev-held")
        for body, _ in notify.orders():  # the sweep, and its pages
            assert notify.deliver(body) == []
    delays = [delay for body, delay in notify.orders() if message["id"] in body]
    assert delays == [RECHECK_S]
    notify.clock.advance(RECHECK_S - 1)
    assert notify.deliver({"message": message["id"], "attempt": 1}) == []
    assert len(notify.phone(number)) == 1
    notify.clock.advance(1)
    order = {"message": message["id"], "attempt": 1}
    assert notify.deliver(order, order) == []
    notify.settle()
    assert len(notify.phone(number)) == 2
    assert "It is quiet time where the recipient is, so the SMS is held." in story(notify, message)


def test_everybody_has_the_deployments_quiet_hours_where_their_number_is_of(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(notify.cloud.stack.functions["notify"].environment, recipients.SMS_QUIET_HOURS, "22:00-08:00")
    notify.clock.now = notify.clock.now // DAY_S * DAY_S + 15 * HOUR_S  # 23:00 in China, 15:00 in London
    china, britain = mobile(), "+447400123456"
    for number in (china, britain):
        assert notify.deliver(resumed(notify, used(notify, number))) == []
    assert notify.messages(china)[0]["held_until"] == rfc3339(notify.clock.now + 9 * HOUR_S)
    assert notify.messages(britain)[0]["status"] == "sent"
    put(notify, mobile(), quiet_hours={"begins": "00:00", "ends": "00:00"})
    awake = mobile()
    put(notify, awake, quiet_hours={"begins": "00:00", "ends": "00:00"})
    assert notify.deliver(resumed(notify, used(notify, awake))) == []
    assert notify.messages(awake)[0]["status"] == "sent"


# what becomes one


def expiring(notify: Notify, number: str, days: int = 0, by: Caller | None = None, seconds: int | None = None) -> Json:
    """The event that a card is about to end, held by who has a number."""
    ends = rfc3339(notify.clock.now // DAY_S * DAY_S + days * DAY_S if seconds is None else notify.clock.now + seconds)
    voucher = claim(notify.kami, notify.kami.voucher(valid_until=ends, redemption="balance"), number, by)
    return told("voucher.expiring", voucher.serial)


def test_reminders_to_one_recipient_become_one_sms_and_each_names_it(notify: Notify) -> None:
    number = mobile()
    events = [expiring(notify, number, days) for days in (5, 3, 9)]
    for event in events:
        notify.deliver(event, event)
    found = notify.messages(number)
    (first,) = [m for m in found if m["status"] == "queued"]
    gone = [m for m in found if m["status"] != "queued"]
    assert [(m["status"], m["reason"], m["merged_into"]) for m in gone] == 2 * [("suppressed", "merged", first["id"])]
    assert notify.phone(number) == []
    assert max(notify.settle(times=2)) == MERGE_WINDOW_S
    (text,) = notify.phone(number)
    assert text.startswith(f"【Kami】您有 3 张卡即将到期，最早的一张（卡号 {events[1]['data']['serial']}）")
    notify.deliver(*events)
    notify.settle()
    assert len(notify.phone(number)) == 1
    assert len([line for line in story(notify, first) if "went into this one" in line]) == 2
    assert any(first["id"] in line for line in story(notify, gone[0]))


def test_no_tenant_reads_in_its_own_message_of_a_card_of_anothers(notify: Notify) -> None:
    number, shops = mobile(), [notify.kami.client("customer") for _ in range(2)]
    events = [expiring(notify, number, days, shop) for days, shop in zip((5, 3), shops, strict=True)]
    notify.deliver(*events)
    notify.settle()
    for event, shop in zip(events, shops, strict=True):
        (message,) = granted(shop.get(f"/v1/messages?recipient={quote(number)}"))["data"]
        assert event["data"]["serial"] in message["text"]
    assert len(notify.phone(number)) == 2


def test_what_comes_after_the_window_is_an_sms_of_its_own(notify: Notify) -> None:
    number = mobile()
    one, other = (expiring(notify, number, days) for days in (5, 3))
    notify.deliver(one)
    notify.settle()
    notify.deliver(other)
    notify.settle()
    assert [text.count("张卡") for text in notify.phone(number)] == [0, 0]


def test_reminders_of_a_night_are_one_sms_in_the_morning(notify: Notify) -> None:
    number = mobile()
    put(notify, number, **around(notify.clock.now, 1, 2))
    events = [expiring(notify, number, days) for days in (5, 3)]
    notify.deliver(events[0])
    notify.clock.advance(HOUR_S)
    notify.deliver(events[1])
    statuses = sorted((m["status"], m["reason"]) for m in notify.messages(number))
    assert statuses == [("held", "quiet_hours"), ("suppressed", "merged")]
    notify.clock.advance(HOUR_S)
    by_the_clock(notify)
    (text,) = notify.phone(number)
    assert text.startswith("【Kami】您有 2 张卡")


def test_a_card_that_ends_in_the_night_takes_no_other_reminder_along(notify: Notify) -> None:
    number = mobile()
    put(notify, number, **around(notify.clock.now, 1, 10))
    for seconds in (5 * DAY_S, 2 * HOUR_S, 3 * DAY_S):
        assert notify.deliver(expiring(notify, number, seconds=seconds)) == []
    notify.clock.advance(10 * HOUR_S)
    by_the_clock(notify)
    assert Counter(m["status"] for m in notify.messages(number)) == {"sent": 1, "suppressed": 1, "failed": 1}
    (text,) = notify.phone(number)
    assert text.startswith("【Kami】您有 2 张卡")


def test_a_card_that_ends_within_the_window_is_not_kept_waiting_for_others(notify: Notify) -> None:
    number = mobile()
    assert notify.deliver(expiring(notify, number, seconds=MERGE_WINDOW_S - 1)) == []
    assert len(notify.phone(number)) == 1


# limits


def test_one_recipient_gets_so_many_of_a_class_in_a_window_and_the_rest_later(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rules.LIMITS, "receipts", Limit(2, HOUR_S))
    number = mobile()
    messages = [redeemed(notify, number) for _ in range(3)]
    assert [(m["status"], m.get("reason")) for m in messages[2:]] == [("held", "over_limit")]
    assert messages[2]["held_until"] == rfc3339(notify.clock.now + HOUR_S)
    assert len(notify.phone(number)) == 2
    assert redeemed(notify, mobile())["status"] == "sent"
    notify.clock.advance(HOUR_S)
    by_the_clock(notify)
    assert len(notify.phone(number)) == 3


def test_a_block_of_numbers_abroad_gets_so_many_in_a_window(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipients, "PUMPED", Limit(2, HOUR_S))
    pumped = [f"+3712922{n:04d}" for n in range(4)]
    messages = [redeemed(notify, number) for number in pumped]
    assert [m["status"] for m in messages] == ["sent", "sent", "held", "held"]
    assert {m.get("reason") for m in messages[2:]} == {"over_limit"}
    assert redeemed(notify, "+37129330000")["status"] == "sent"
    assert [redeemed(notify, mobile())["status"] for _ in range(3)] == 3 * ["sent"]  # at home


# numbers


@pytest.mark.parametrize(("number", "reason"), [("+15550001111", "number_invalid"), ("+4930123456", "landline")])
def test_numbers_that_take_no_sms_are_known_beforehand(notify: Notify, number: str, reason: str) -> None:
    assert looked_up(notify, number)["number_fault"] == reason


def test_a_message_says_what_its_number_tells(notify: Notify) -> None:
    message = redeemed(notify, "+8613812345678")
    assert [message[name] for name in ("country", "carrier", "region")] == ["CN", "China Mobile", "Jiangsu"]


# erasure


def test_who_is_erased_leaves_no_habits_and_stays_opted_out(notify: Notify) -> None:
    number = mobile()
    told = put(notify, number, opted_out=["reminders"], **around(notify.clock.now, 1, 1))
    redeemed(notify, number)
    assert erased(notify.kami, number=number)["account"] == told["account"]
    item = notify.kami.items()[keys.recipient(told["account"])]
    assert item["opted_out"]["L"] == [{"S": "reminders"}]
    assert not {"quiet", "zone"} & item.keys()
