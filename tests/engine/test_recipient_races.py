"""Limits and merging on the engine that is trusted with races: never more than allowed, one SMS of many reminders."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from functions.domain.kinds import EXPIRING
from functions.domain.message import Message, Status, TemplateCall
from functions.domain.recipient import MERGE_WINDOW_S, Limit
from functions.domain.serials import serial_of
from functions.notify import recipients, service
from functions.store import jobs, keys, table
from functions.store import recipients as store
from functions.store.records import MESSAGE
from tests.engine.engines import on_referee
from tests.engine.world import NOW, World, race

pytestmark = [on_referee, pytest.mark.usefixtures("world")]
WORKERS = 8
ROUNDS = 12
HOUR = 3_600


@pytest.fixture
def orders(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would lie on the queue."""
    made: list[Any] = []
    monkeypatch.setattr(jobs, "send_message", lambda *order, **more: made.append(order))
    return made


def count_of(subject: str) -> int:
    return int((table.get(keys.sent(subject, NOW // HOUR)) or {"count": 0})["count"])


def test_eight_workers_at_once_never_count_past_a_limit_nor_stop_short_of_it() -> None:
    for number in range(ROUNDS):
        limit = Limit(1 + number % WORKERS, HOUR)
        subject = f"acc_{number}#receipts"
        reached = race([partial(store.counted, [(subject, limit)], NOW) for _ in range(WORKERS)])
        assert (reached.count(None), count_of(subject)) == (limit.sent_max, limit.sent_max)


def test_what_the_second_limit_refuses_the_first_does_not_count() -> None:
    own, block = Limit(100, HOUR), Limit(3, HOUR)
    for number in range(ROUNDS):
        attempts = [
            partial(store.counted, [(f"acc_{number}-{each % 2}", own), (f"+371{number}", block)], NOW)
            for each in range(WORKERS)
        ]
        assert race(attempts).count(None) == block.sent_max
        assert sum(count_of(f"acc_{number}-{each}") for each in range(2)) == block.sent_max


def test_words_about_an_account_at_once_come_to_the_latest() -> None:
    for number in range(ROUNDS):
        account = f"acc_{number:024d}"
        words = [("account.frozen", 1), ("account.unfrozen", 2), ("account.frozen", 3), ("account.unfrozen", 4)]
        race([partial(recipients.account_told, account, *word) for word in words])
        race([partial(recipients.opted, account, out, at) for out, at in ((True, 1), (False, 2), (True, 3))])
        found = store.find(account)
        assert found is not None
        assert (found.frozen, len(found.opted_out)) == ((False, 4), 3)


def reminder(recipient: str, number: int) -> Message:
    call = TemplateCall(EXPIRING, "zh-CN", 1, (("serial", serial_of(number)),))
    id, ends = f"msg_{recipient[1:]}-{number}", NOW + (WORKERS - number) * 86_400
    return Message(
        id, EXPIRING, serial_of(number), recipient, "text", NOW, due_at=NOW, use_by=ends, template=call, country="CN"
    )


def tell(message: Message) -> Message:
    """As `service.tell` does, up to where a provider would be asked."""
    return service._put_off(recipients.gathered(message, NOW) or message, 1, NOW)


def test_reminders_at_once_go_into_one_that_counts_them_all(orders: list[Any]) -> None:
    for number in range(ROUNDS):
        recipient = f"+861380000{number:04d}"
        made = [reminder(recipient, each) for each in range(WORKERS // 2)]
        race([partial(tell, message) for message in (*made, *made)])
        kept = [table.read(MESSAGE, keys.message(message.id)) for message in made]
        (lead,) = [message for message in kept if message is not None and message.status is Status.QUEUED]
        gone = [message for message in kept if message is not None and message.status is Status.SUPPRESSED]
        assert {message.merged_into for message in gone} == {lead.id}
        assert {id for id, _ in lead.merged} == {message.id for message in gone}
        assert len(gone) == len(made) - 1
        assert (f"您有 {len(made)} 张卡" in lead.text, lead.due_at) == (True, NOW + MERGE_WINDOW_S)
        assert {order[0] for order in orders} == {lead.id}
        orders.clear()


def test_a_reminder_that_is_being_sent_takes_no_other_in(orders: list[Any]) -> None:
    recipient = "+8613800009999"
    lead = tell(reminder(recipient, 0))
    begun = replace(lead.begun("simulated:north", "t", NOW, traceable=True), version=lead.version + 1)
    table.put(MESSAGE.item(begun, "test", service.BY), lead.version)
    other = tell(reminder(recipient, 1))
    assert (other.status, other.merged_into) == (Status.QUEUED, None)
