"""Reminders: in the morning of its day, once, of what stands then; whatever breaks off, comes twice or comes late."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from moto.events.models import EventsBackend

from functions.domain.reminder import LATE_DAYS_MAX, due_at, due_day, named, shown
from functions.domain.times import rfc3339
from functions.domain.voucher import DAY_S
from functions.store import expiries, table
from tests.integration.conftest import Clock
from tests.integration.kami import Json, Kami, Voucher, claim, granted, mobile, unique

HOUR_S = 3_600
PARTS = 2
DAYS = 40
"""So far ahead what is claimed here ends."""


@dataclass
class Year:
    """Vouchers that end, holders with phones, and a clock."""

    kami: Kami
    clock: Clock
    events: list[Json] = field(default_factory=list)

    def voucher(self, *days: int, ends: int | None = None, holder: str | None = None, **changes: Any) -> Voucher:
        """A voucher that somebody claims now, whose campaign reminds so many days before."""
        end = rfc3339(ends if ends is not None else self.ends)
        campaign = {"valid_until": end, "reminder_days": list(days) or None, "redemption": "balance", **changes}
        return self.claim(self.kami.voucher(**campaign), holder or mobile())

    def claim(self, voucher: Voucher, holder: str) -> Voucher:
        claim(self.kami, voucher, holder)
        self.kami.cloud.drain()
        return voucher

    def send(self, *bodies: Json) -> None:
        (source,) = (s for s in self.kami.cloud.stack.sources if s.function == "notify")
        for body in bodies:
            self.kami.cloud.client("sqs").send_message(QueueUrl=source.queue_url, MessageBody=json.dumps(body))

    @property
    def ends(self) -> int:
        """Just before midnight in China, far enough ahead."""
        return (self.clock.now + 8 * HOUR_S) // DAY_S * DAY_S + (DAYS + 1) * DAY_S - 8 * HOUR_S - 1

    def go_to(self, ends: int, days: int, late_s: int = 0) -> None:
        """Ten o'clock so many days before an end."""
        self.clock.now = due_at(due_day(ends, days)) + late_s

    def hour(self) -> None:
        """What the schedule does, and all that follows."""
        assert self.kami.cloud.fire("kami-dev-reminders")
        self.kami.cloud.drain()

    def phone(self, number: str) -> list[str]:
        return [sms["text"] for sms in self.kami.cloud.carriers.phone(number)]

    def told(self, voucher: Voucher) -> list[int]:
        """By the bus: so many days before."""
        return [e["data"]["days"] for e in self.events if e["data"]["serial"] == voucher.serial]

    def expected(self, voucher: Voucher) -> dict[str, str]:
        """What is kept of its reminders: date and days → what became of them."""
        items = [item for (pk, _), item in self.kami.items().items() if pk == f"EXPIRY#{voucher.serial[:-1]}"]
        return {item["sk"]["S"]: item.get("outcome", {"S": "to come"})["S"] for item in items}


@pytest.fixture
def year(kami: Kami, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Year]:
    """At the next noon in China; a day has few parts, so that an hour's work is quickly done.

    Never before now: the stream would hold what is written for half a day old, and no longer hand it out.
    """
    made = Year(kami, clock)
    for module in ("functions.domain.reminder", "functions.notify.reminders"):
        monkeypatch.setattr(f"{module}.SHARDS", PARTS)
    clock.now += (4 * HOUR_S - clock.now) % DAY_S
    monkeypatch.setattr(
        "moto.dynamodb.models.table.utcnow", lambda: datetime.fromtimestamp(clock.now, UTC).replace(tzinfo=None)
    )
    put_events = EventsBackend.put_events

    def put(self: EventsBackend, events: list[Json]) -> Any:
        told = [json.loads(event["Detail"]) for event in events if event["DetailType"] == "voucher.expiring"]
        made.events += told
        return put_events(self, events)

    monkeypatch.setattr(EventsBackend, "put_events", put)
    yield made
    for item in kami.items().values():
        assert "gsi1pk" not in item or not item["pk"]["S"].startswith("EXPIRY#") or "outcome" not in item


def test_a_holder_is_told_each_time_once(year: Year) -> None:
    ends, number = year.ends, mobile()
    voucher = year.voucher(7, 1, holder=number)
    year.hour()
    assert (year.told(voucher), year.phone(number)) == ([], [])
    year.go_to(ends, 7, late_s=-1)
    year.hour()
    assert year.told(voucher) == []
    year.go_to(ends, 7)
    for _ in range(3):
        year.hour()
        year.clock.advance(HOUR_S)
    assert year.told(voucher) == [7]
    (text,) = year.phone(number)
    assert (
        text
        == f"【Kami】您的卡（卡号 {voucher.serial}）将于北京时间 {shown(ends)} 到期，卡内余额 50.00元，请及时使用。"
    )
    assert shown(ends).endswith("23:59")
    year.go_to(ends, 1)
    year.hour()
    year.hour()
    assert year.told(voucher) == [7, 1]
    assert len(year.phone(number)) == 2


def test_it_is_told_in_the_campaigns_language_with_what_is_left(year: Year) -> None:
    ends, number = year.ends, mobile()
    voucher = year.voucher(3, holder=number, locale="en")
    granted(year.kami.merchant.redeem(voucher.code, amount_minor=2_000), 201)
    year.go_to(ends, 3)
    year.hour()
    (text,) = year.phone(number)
    assert (
        text == f"【Kami】Your card {voucher.serial} with CNY 30.00 ends on {shown(ends)} (UTC+8). Use it before then."
    )


def test_a_holder_without_a_number_is_told_by_the_event_only(year: Year) -> None:
    ends = year.ends
    voucher = year.voucher(7, holder=unique("customer"))
    year.go_to(ends, 7)
    year.hour()
    assert year.told(voucher) == [7]
    (event,) = (e for e in year.events if e["data"]["serial"] == voucher.serial)
    assert (event["type"], event["at"], event["by"]["client"]) == (
        "voucher.expiring", rfc3339(year.clock.now), "notify",
    )  # fmt: skip
    assert event["data"] == {**event["data"], "valid_until": rfc3339(ends), "days": 7}


def test_a_campaign_that_wants_none_has_none(year: Year) -> None:
    voucher = year.voucher()
    assert year.expected(voucher) == {}


def test_what_lies_behind_when_a_voucher_is_claimed_is_not_told(year: Year) -> None:
    ends = year.ends
    year.go_to(ends, 5, late_s=HOUR_S)
    voucher = year.voucher(7, 5, 2, ends=ends)
    assert list(year.expected(voucher)) == [f"{named(due_day(ends, days))}#{days}" for days in (2, -1)]


def test_what_was_used_up_is_not_told(year: Year) -> None:
    """Nor what was recalled or suspended: test_reminder.py has all that a voucher may have come to."""
    ends = year.ends
    used, kept = (year.voucher(7) for _ in range(2))
    granted(year.kami.merchant.redeem(used.code), 201)
    year.go_to(ends, 7)
    year.hour()
    assert [year.told(voucher) for voucher in (used, kept)] == [[], [7]]
    assert set(year.expected(used).values()) == {"dropped", "to come"}


def test_the_new_holder_is_told_of_a_gift(year: Year) -> None:
    ends, giver, receiver = year.ends, mobile(), mobile()
    voucher = year.voucher(7, holder=giver)
    operator = year.kami.operator
    made = granted(operator.post("/v1/transfers", {"serial": voucher.serial, "customer": giver}, unique()), 201)
    body = {"token": made["token"], "customer": receiver}
    granted(operator.post(f"/v1/transfers/{made['id']}/acceptances", body, unique()), 201)
    year.go_to(ends, 7)
    year.hour()
    assert (len(year.phone(giver)), len(year.phone(receiver))) == (0, 1)


# Ends that are put off


def extend(year: Year, voucher: Voucher, days: int) -> None:
    body = {"selection": {"serials": [voucher.serial]}, "days": days}
    assert granted(year.kami.operator.post("/v1/extensions", body, unique()), 201)["extended"] == 1
    year.kami.cloud.drain()


def test_an_extension_of_the_range_moves_what_is_to_come(year: Year) -> None:
    ends, number = year.ends, mobile()
    voucher = year.voucher(7, holder=number)
    extend(year, voucher, 30)
    year.go_to(ends, 7)
    year.hour()
    assert (year.told(voucher), year.phone(number)) == ([], [])
    assert year.expected(voucher)[f"{named(due_day(ends, 7))}#7"] == "moved"
    year.go_to(ends + 30 * DAY_S, 7)
    year.hour()
    assert year.told(voucher) == [7]
    (text,) = year.phone(number)
    assert shown(ends + 30 * DAY_S) in text


def test_an_extension_after_the_last_reminder_brings_new_ones(year: Year) -> None:
    """Found the day after the old end: an extension of a range writes none of its vouchers."""
    ends, number = year.ends, mobile()
    voucher = year.voucher(1, holder=number)
    year.go_to(ends, 1)
    year.hour()
    extend(year, voucher, 30)
    year.go_to(ends, -1)
    year.hour()
    year.go_to(ends + 30 * DAY_S, 1)
    year.hour()
    assert year.told(voucher) == [1, 1]
    assert len(year.phone(number)) == 2


def test_an_extension_of_a_voucher_with_an_end_of_its_own_notes_new_ones_at_once(
    year: Year, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.store.ranges.SEGMENTS_PER_LOT_MAX", 2)
    ends = year.ends
    batch = year.kami.batch(year.kami.campaign(valid_until=rfc3339(ends), reminder_days=[7])["id"], 20)
    own = year.kami.serials(batch["id"])[::2][:6]
    year.kami.activate(serials=own)
    voucher = year.claim(Voucher(own[0], ""), mobile())
    extend(year, voucher, 30)
    assert f"{named(due_day(ends + 30 * DAY_S, 7))}#7" in year.expected(voucher)


# What breaks off, comes twice, or comes late


def test_missed_hours_and_days_are_made_up_for_and_what_is_too_late_is_not(year: Year) -> None:
    ends = year.ends
    one, other = year.voucher(7), year.voucher(9)
    year.go_to(ends, 7, late_s=LATE_DAYS_MAX * DAY_S)
    year.hour()
    assert year.told(one) == [7]
    assert year.told(other) == []


def test_whatever_comes_twice_and_in_any_order_is_told_once(year: Year) -> None:
    ends, numbers = year.ends, [mobile() for _ in range(5)]
    vouchers = [year.voucher(7, holder=number) for number in numbers]
    year.go_to(ends, 7)
    for seed in range(2):
        year.kami.cloud.fire("kami-dev-reminders")
        year.kami.cloud.fire("kami-dev-reminders")
        year.kami.cloud.drain(twice=True, shuffle=seed)
    assert [len(year.phone(number)) for number in numbers] == [1] * 5
    assert {e["id"] for e in year.events if e["data"]["days"] == 7} == {
        f"1.EXPIRY#{v.serial[:-1]}#{named(due_day(ends, 7))}#7.1" for v in vouchers
    }


@contextmanager
def breaking_off(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    """The function dies at its n-th write of what became of a reminder."""
    put, left = table.put, [after]

    def put_too(item: Json, seen: int) -> None:
        if item["entity"] == "expiry":
            left[0] -= 1
            if left[0] < 0:
                raise ConnectionError
        put(item, seen)

    with monkeypatch.context() as patch:
        patch.setattr(table, "put", put_too)
        yield


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_run_that_is_killed_is_gone_on_with(year: Year, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    ends, numbers = year.ends, [mobile() for _ in range(4)]
    vouchers = [year.voucher(7, holder=number) for number in numbers]
    year.go_to(ends, 7)
    with breaking_off(monkeypatch, after):
        year.hour()
    year.clock.advance(HOUR_S)
    year.hour()
    assert [len(year.phone(number)) for number in numbers] == [1] * 4
    assert all(set(year.expected(voucher).values()) == {"told", "to come"} for voucher in vouchers)


def test_a_run_that_could_not_publish_leaves_all_to_the_next(year: Year, monkeypatch: pytest.MonkeyPatch) -> None:
    ends, number = year.ends, mobile()
    voucher = year.voucher(7, holder=number)
    year.go_to(ends, 7)
    with monkeypatch.context() as patch:
        patch.setattr("functions.store.bus.publish", lambda events: (_ for _ in ()).throw(ConnectionError()))
        year.hour()
    assert year.told(voucher) == []
    year.hour()
    assert len(year.phone(number)) == 1


def test_a_day_is_gone_through_page_by_page(year: Year, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiries, "BATCH_GET_MAX", 2)
    ends = year.ends
    vouchers = [year.voucher(7, holder=unique("customer")) for _ in range(2 * PARTS + 5)]
    year.go_to(ends, 7)
    year.hour()
    assert [year.told(voucher) for voucher in vouchers] == [[7]] * len(vouchers)


def test_the_work_of_an_hour_does_not_grow_with_what_is_not_due(year: Year, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = list[str]()
    query = table.query

    def counted(partition: str, **rest: Any) -> Any:
        reads.append(partition)
        return query(partition, **rest)

    monkeypatch.setattr(table, "query", counted)
    for _ in range(3):
        year.voucher(7)
    reads.clear()
    year.hour()
    dates = {partition.split("#")[1] for partition in reads}
    assert len(reads) == PARTS * (LATE_DAYS_MAX + 1)
    assert len(dates) == LATE_DAYS_MAX + 1


def test_an_event_that_comes_again_later_brings_nothing_back(year: Year) -> None:
    ends, number = year.ends, mobile()
    voucher = year.voucher(7, holder=number)
    claimed_at = rfc3339(year.clock.now)
    year.go_to(ends, 7)
    year.hour()
    data = {"serial": voucher.serial}
    year.send({"id": "1.VOUCHER#x.1", "type": "voucher.claimed", "schema": 1, "at": claimed_at, "data": data})
    year.kami.cloud.drain()
    year.hour()
    assert len(year.phone(number)) == 1


def test_what_became_of_it_is_known_for_a_month_and_then_goes(year: Year) -> None:
    ends = year.ends
    voucher = year.voucher(7)
    items = [item for (pk, _), item in year.kami.items().items() if pk == f"EXPIRY#{voucher.serial[:-1]}"]
    assert {int(item["ttl_epoch_s"]["N"]) for item in items} == {
        due_at(due_day(ends, days)) + 30 * DAY_S for days in (7, -1)
    }
    assert "+86" not in str(items)


def test_campaigns_show_their_reminders(kami: Kami) -> None:
    made = kami.campaign(reminder_days=[1, 30, 7])
    assert made["reminder_days"] == [30, 7, 1]
    assert granted(kami.operator.get(f"/v1/campaigns/{made['id']}")) == made
    assert "reminder_days" not in kami.campaign()


def test_the_schedule_is_there_over_http(kami: Kami) -> None:
    answer = kami.cloud.own("POST", "/local/schedules/kami-dev-reminders", b"")
    assert answer is not None
    assert (answer.status, answer.json()) == (200, {"data": ["kami-dev-reminders"]})
    missing = kami.cloud.own("POST", "/local/schedules/none", b"")
    assert missing is not None
    assert missing.status == 404
    kami.cloud.drain()
