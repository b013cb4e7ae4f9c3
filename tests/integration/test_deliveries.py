"""Statistics of SMS: exactly what a recount of all messages and attempts finds, however the stream comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from functions.domain.deliveries import DIMENSIONS, HOUR_S, counts
from functions.domain.message import Message
from functions.domain.times import rfc3339
from functions.edge import clock
from functions.store import deliveries, keys
from functions.store.records import MESSAGE
from functions.store.wire import read
from infra.local.carriers import NAMES
from tests.fared import recount
from tests.integration.kami import Json, Kami, granted, mobile, refused
from tests.integration.stream import record, recorded, relay

MESSAGES = 10


@pytest.fixture
def carriers(kami: Kami) -> Iterator[Any]:
    kami.cloud.carriers.reset()
    yield kami.cloud.carriers
    kami.cloud.drain()
    kami.cloud.carriers.reset()


def messages(kami: Kami) -> list[Message]:
    found = [item for (pk, _), item in kami.items().items() if pk.startswith("MESSAGE#")]
    return [MESSAGE.load({name: read(value) for name, value in item.items()}) for item in found]


def asked(kami: Kami, *by: str) -> list[Json]:
    """Of the hours around now: what was delayed has been hastened by moving the clock."""
    now = clock.now()
    span = f"since={rfc3339(now - HOUR_S)}&until={rfc3339(now + 12 * HOUR_S)}"
    grouping = f"&by={','.join(by)}" if by else ""
    data: list[Json] = granted(kami.operator.get(f"/v1/messages/statistics?{span}{grouping}"))["data"]
    return data


def test_they_equal_a_recount_after_a_random_run_with_repeats(kami: Kami, carriers: Any) -> None:
    for n, name in enumerate(NAMES):
        carriers.set(name, "plan", seed=n, failures_max=2, receipts="plan")
    batch = kami.batch(kami.campaign()["id"], MESSAGES)["id"]
    kami.activate(batch=batch)
    for code in kami.codes(kami.serials(batch)):
        granted(kami.merchant.redeem(code, account=mobile()), 201)
    kami.cloud.drain(twice=True, shuffle=6)
    assert len({message.status for message in messages(kami)}) > 1
    assert Counter(message.status.value for message in messages(kami)) == Counter(asked(kami)[0]["messages"])
    for by in ((), *((name,) for name in DIMENSIONS), ("provider", "reason"), DIMENSIONS):
        assert asked(kami, *by) == recount(messages(kami), by)


def test_a_version_counts_once_whatever_comes_with_it_again(
    kami: Kami, carriers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorded(monkeypatch) as tape:
        granted(kami.merchant.redeem(kami.voucher().code, account=mobile()), 201)
        kami.cloud.drain()
    before = asked(kami, *DIMENSIONS)
    writes = [each for each in tape.records() if each["dynamodb"]["NewImage"]["entity"] == {"S": "message"}]
    assert len(writes) >= 2
    assert relay(kami, [*writes[::-1], *writes]) == []
    for each in writes:
        assert relay(kami, [each]) == []
    assert asked(kami, *DIMENSIONS) == before == recount(messages(kami), DIMENSIONS)


def test_more_than_a_transaction_takes_is_moved_in_several_and_each_once(kami: Kami) -> None:
    now = clock.now() + 8 * 86_400
    new = [
        Message(
            f"msg_many{n}", "voucher.redeemed", "010000000003", "+8613900000000", "text", now + n * HOUR_S, version=1
        )
        for n in range(60)
    ]
    moves = [deliveries.Moved(m.id, 1, dict(counts(m))) for m in new]
    with kami.cloud.environment("relay"):
        deliveries.record(moves)
        deliveries.record(moves[::-1] + moves)
        cells = deliveries.between(now // HOUR_S, now // HOUR_S + 60)
    assert sum(n for _, counted in cells for n in counted.values()) == 60


def test_a_message_that_does_not_load_ends_among_the_failures(kami: Kami) -> None:
    item = {"pk": "MESSAGE#x", "sk": "MESSAGE", "entity": "message", "version": 1, "id": "x"}
    item["last"] = {"command": "message", "client": "c", "role": "r", "tenant": "t", "address": "a", "request": "r"}
    assert relay(kami, [record(None, item)]) == ["1"]


def test_what_is_too_much_is_refused(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    granted(kami.merchant.redeem(kami.voucher().code, account=mobile()), 201)
    kami.cloud.drain()
    with monkeypatch.context() as patch:
        patch.setattr("functions.notify.handler.ROWS_MAX", 0)
        refused(kami.operator.get("/v1/messages/statistics?by=hour"), 400, "invalid_request")
    monkeypatch.setattr(deliveries, "CELLS_MAX", 0)
    refused(kami.operator.get("/v1/messages/statistics"), 400, "invalid_request")


def test_pages_of_cells_are_read_to_their_end(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = asked(kami, *DIMENSIONS)
    monkeypatch.setattr(deliveries, "CELLS_PER_READ", 1)
    assert asked(kami, *DIMENSIONS) == whole


def test_counts_hold_no_number_and_marks_go_by_themselves(kami: Kami) -> None:
    own = {key: item for key, item in kami.items().items() if key[0].startswith("DELIVER")}
    assert own
    assert not any("+86" in str(key) for key in own)
    marks = [item for (pk, _), item in own.items() if pk.startswith(keys.DELIVERY_COUNTED)]
    assert marks and all(int(item["ttl_epoch_s"]["N"]) > clock.now() + 90 * 86_400 for item in marks)
