"""What goes wrong at any write of a recovery's order or of its workers: it completes, once, and all of it adds up.

Each case is run once undisturbed. Then it is run again for each of its writes and each fault; what failed comes again
twice, in any order, and must leave the same lots, vouchers and report. In the end the stream is read, twice and in any
order too: each lot has one line in its history and each holder one SMS.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from random import Random
from time import time
from typing import Any, NamedTuple

import pytest
from moto.sqs.models import sqs_backends

from functions.domain.selection import Selection
from functions.domain.serials import LOT_SIZE, serial_of
from functions.edge import clock
from functions.recover import service as recover
from functions.redeem import service as redeem
from functions.store import keys, table
from functions.store.aws import ATTEMPTS_MAX
from functions.store.records import RECOVERED, REPORT
from infra.local.template import ACCOUNT, REGION
from tests.engine.engines import on_referee
from tests.engine.recovering import adds_up
from tests.engine.wire import (
    Crash,
    Fault,
    Match,
    Wire,
    crash_after,
    is_write,
    reply_lost,
)
from tests.engine.world import NOW, World, order, till

pytestmark = on_referee

DELIVERIES_MAX = 200
ORDER = ""
"""Stands among the messages for the client's request."""


class Case(NamedTuple):
    """What is ordered, of a range or of single serials, and what comes of it."""

    action: str
    single: bool
    recovered: int
    lot_lines: dict[str, int]


CASES = {
    "reclaim": Case("reclaim", False, LOT_SIZE, {"lot.recalled": 1, "lot.reclaimed": 1}),
    "void": Case("void", False, LOT_SIZE, {"lot.recalled": 1}),
    "void-serials": Case("void", True, 2, {}),
}


class Plan(NamedTuple):
    """A fault at one of the calls that match."""

    fault: Fault
    on: Match
    times: int


PLANS = {
    "crash": Plan(crash_after, is_write, 1),
    "reply-lost": Plan(reply_lost, is_write, 1),
    "no-reply": Plan(reply_lost, is_write, ATTEMPTS_MAX),
}
TRIED = [("reclaim", "crash"), ("reclaim", "reply-lost"), ("void", "no-reply"), ("void-serials", "crash")]
"""A crash after a read leaves what one after the write before it leaves; a void goes the way of a reclaim as far as the
report."""


@dataclass
class Sold:
    """A batch over two lots, with three cards in use: the first and the last have holders, the second is redeemed."""

    first: int
    number: str

    @property
    def used(self) -> tuple[int, int, int]:
        return self.first + LOT_SIZE - 2, self.first + LOT_SIZE - 1, self.first + LOT_SIZE

    @property
    def lots(self) -> tuple[int, int]:
        return self.first // LOT_SIZE, self.first // LOT_SIZE + 1


class Desk:
    """A client who orders recoveries, and the queue that their workers are fed from."""

    def __init__(self, world: World, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.wire, self.now = world, wire, NOW
        self._numbers = count()
        monkeypatch.setattr(clock, "now", lambda: self.now)
        world.cloud.request("GET", "/v1/recoveries", token=world.cloud.token("operator"))
        (source,) = [source for source in world.cloud.stack.sources if source.function == "recover"]
        self._queue = sqs_backends[ACCOUNT][REGION].queues[source.queue_url.rpartition("/")[2]]

    def sold(self) -> Sold:
        batch = self.world.batch(self.world.campaign(redemption="balance"), LOT_SIZE + 1)
        self.world.activate(Selection(batch=batch.id))
        sold = Sold(batch.first, f"+86138{next(self._numbers):08d}")
        serials = [serial_of(position) for position in sold.used]
        codes = self.world.codes(batch.span._replace(first=sold.used[0]))
        assert len(codes) == len(serials)
        for till_number, (code, amount_minor) in enumerate(zip(codes, (1_000, 5_000, 2_000), strict=True)):
            redeem.create(order(code, amount_minor, sold.number), "key", till(till_number), NOW)
        return sold

    def ordered(self, case: Case, sold: Sold) -> str | None:
        """The recovery's id, or nothing where the client is to ask again."""
        serials = [serial_of(position) for position in sold.used]
        ends = {"first_serial": serial_of(sold.first), "last_serial": serials[-1]}
        body = {"selection": {"serials": serials} if case.single else ends, "action": case.action, "reason": "stolen"}
        answer = self.world.cloud.request(
            "POST",
            "/v1/recoveries",
            headers={"idempotency-key": sold.number},
            body=body,
            token=self.world.cloud.token("operator"),
        )
        assert answer.status == 202 or (answer.status, answer.json()["key"]) == (503, "try_again")
        return str(answer.json()["id"]) if answer.status == 202 else None

    def delivered(self, id: str) -> bool:
        """Whether a worker took the message."""
        record = {"messageId": "m", "body": json.dumps({"id": id})}
        result = self.world.cloud.invoke("recover", {"Records": [record]})
        return not result["batchItemFailures"]

    def sent(self) -> list[tuple[int, str]]:
        """What the workers have put on the queue, taken out: when it is due, and which recovery it names."""
        waiting = list(self._queue._messages)
        self._queue._messages.clear()
        return [(self.now + round(max(m.delayed_until / 1000 - time(), 0)), json.loads(m.body)["id"]) for m in waiting]

    def begun(self) -> str | None:
        """The recovery whose order reached the table, whether or not anybody was told."""
        puts = [call.key.partition("#")[2] for call in self.wire.writes() if call.key.startswith("RECOVERY#")]
        with self.wire.untouched():
            return puts[0] if puts and table.get(keys.recovery(puts[0])) else None

    def run(self, case: Case, sold: Sold, plan: Plan | None = None, at: int = 1) -> str:
        """Orders a recovery and carries it to its end; returns its id.

        Once the fault has struck, whatever failed comes again twice, and all that waits comes in any order.
        """
        chance, id, self.now = Random(at), "", NOW
        self.wire.calls.clear()
        waiting = [(NOW, ORDER)]
        with ExitStack() as planted:
            if plan is not None:
                planted.enter_context(self.wire.planted(plan.fault, plan.on, at=at, times=plan.times))
            for _ in range(DELIVERIES_MAX):
                if not waiting:
                    break
                due, what = waiting.pop(chance.randrange(len(waiting)))
                self.now, done = max(self.now, due), False
                try:
                    if what == ORDER:
                        id = self.ordered(case, sold) or ""
                    done = bool(id) if what == ORDER else self.delivered(what)
                except Crash:
                    planted.close()
                if not done:
                    waiting += [(self.now, what)] * 2
                if what == ORDER and (known := self.begun()):
                    waiting.append((self.now, known))  # by way of the stream
                waiting += self.sent()
        assert not waiting
        assert id
        return id

    def left(self, sold: Sold, id: str) -> Any:
        """All that a recovery leaves in the table, but for its id and the times."""
        recovery = recover.find(id)
        lots = [self.world.lot(number) for number in sold.lots]
        reports = [table.read(REPORT, keys.report(id, number)) for number in sold.lots]
        vouchers = [self.world.voucher(position) for position in sold.used]
        told = [table.read(RECOVERED, keys.recovered(id, position)) for position in sold.used]
        return (
            (recovery.phase, recovery.selected, recovery.recovered, recovery.skipped, recovery.version),
            [
                [(s.first, s.last, s.status, s.generation, len(s.vetoes)) for s in lot.segments]
                + [(d.command.partition(".")[2], d.changed, d.skipped) for d in lot.commands[1:]]
                + [lot.version]
                for lot in lots
            ],
            [(r.selected, r.recovered, r.skipped, r.version) if r else None for r in reports],
            [(v.status, v.balance_minor, v.version) if v else None for v in vouchers],
            [t.version if t else None for t in told],
        )

    def history(self) -> dict[str, Counter[str]]:
        """The types of all lines of history, by partition."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        pages = self.world.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table.table_name())
        for item in (item for page in pages for item in page["Items"]):
            if item["pk"]["S"].startswith(keys.HISTORY):
                found[item["pk"]["S"]][item["type"]["S"]] += 1
        return found


@pytest.fixture
def desk(world: World, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(world, wire, monkeypatch)


@pytest.mark.parametrize(("case", "plan"), TRIED)
def test_a_recovery_completes_once_whatever_goes_wrong_at_any_write(desk: Desk, case: str, plan: str) -> None:
    wanted, planned = CASES[case], PLANS[plan]
    sold = desk.sold()
    id = desk.run(wanted, sold)
    places = sum(planned.on(call) for call in desk.wire.calls)
    expected = desk.left(sold, id)
    assert expected[0][1:4] == (wanted.recovered + 1, wanted.recovered, {"redeemed": 1})
    assert expected[4] == [1, None, 1]
    assert places > 10
    done = [(sold, id)]
    for place in range(1, places + 1):
        sold = desk.sold()
        id = desk.run(wanted, sold, planned, place)
        adds_up(recover.find(id))
        assert desk.left(sold, id) == expected, f"{plan} at {place}"
        done.append((sold, id))
    desk.world.cloud.drain()
    history = desk.history()
    for sold, _ in done:
        assert_told_once(desk, wanted, sold, history)


def assert_told_once(desk: Desk, case: Case, sold: Sold, history: dict[str, Counter[str]]) -> None:
    """Nothing follows from a recovery twice."""
    for number in sold.lots:
        told = history[keys.history_of("lot", number)]
        assert told == {"lot.generated": 1, "lot.activated": 1, **case.lot_lines}
    for place, position in enumerate(sold.used):
        ended = {} if place == 1 else {"voucher.recovered": 1, **({"voucher.voided": 1} if case.single else {})}
        told = history[keys.history_of("voucher", position)]
        assert told == {"voucher.revealed": 1, "voucher.redeemed": 1, **ended}
    texts = [sms["text"] for sms in desk.world.cloud.carriers.phone(sold.number)]
    assert sum("收回" in text for text in texts) == 2
