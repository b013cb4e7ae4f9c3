"""Work too long for a call: it goes on from the queue, in pieces, each message borne twice, one failure alone."""

from __future__ import annotations

import json
import math
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import pytest

from functions.domain.campaign import LOTS_PER_CALL_MAX
from functions.domain.serials import LOT_SIZE
from tests.integration.kami import Json, Kami, granted, refused, replayed, unique


@pytest.fixture
def short_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands on more than two lots are jobs, and recoveries wait for nothing."""
    monkeypatch.setattr("functions.recover.service.FENCE_S", 0)
    monkeypatch.setattr("functions.generate.batches.LOTS_PER_CALL_MAX", 2)
    monkeypatch.setattr("functions.distribute.service.LOTS_PER_CALL_MAX", 2)


@pytest.fixture
def little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run of a job has the time for one lot."""
    monkeypatch.setattr("functions.store.lots.CHUNK", 1)
    monkeypatch.setattr("functions.store.lots.time", SimpleNamespace(monotonic=cycle([-math.inf, math.inf]).__next__))


def generate(kami: Kami, lots: int, key: str | None = None) -> Json:
    """A batch that is generated as a job, which has not begun."""
    path = f"/v1/campaigns/{kami.campaign()['id']}/batches"
    return granted(kami.operator.post(path, {"quantity": lots * LOT_SIZE}, key), 202)


def activate(kami: Kami, batch: str) -> Json:
    """An activation as a job, which has not begun."""
    return granted(kami.operator.post("/v1/activations", {"selection": {"batch": batch}}), 202)


def read(kami: Kami, kind: str, id: str) -> Json:
    return granted(kami.operator.get(f"/v1/{kind}/{id}"))


def queued(kami: Kami, function: str) -> list[Json]:
    """The messages that wait for a function, taken out of its queue."""
    (source,) = [source for source in kami.cloud.stack.sources if source.function == function]
    reply = kami.cloud.client("sqs").receive_message(QueueUrl=source.queue_url, MaxNumberOfMessages=10)
    return [
        {"messageId": message["MessageId"], "body": message["Body"], "eventSourceARN": source.queue_arn}
        for message in reply.get("Messages", [])
    ]


def invoke(kami: Kami, function: str, *records: Json) -> list[str]:
    """Hands a function a batch of messages; returns the ids of those that failed."""
    result = kami.cloud.invoke(function, {"Records": list(records)})
    return [failure["itemIdentifier"] for failure in result["batchItemFailures"]]


def message(id: str) -> Json:
    return {"messageId": unique("message"), "body": json.dumps({"id": id})}


@pytest.mark.usefixtures("short_calls")
def test_a_batch_is_not_activated_while_it_is_being_generated(kami: Kami) -> None:
    batch = generate(kami, 3)
    answer = kami.operator.post("/v1/activations", {"selection": {"batch": batch["id"]}})
    refused(answer, 409, "still_generating")
    assert answer.header("retry-after")
    kami.cloud.drain()
    activate(kami, batch["id"])
    kami.cloud.drain()


@pytest.mark.usefixtures("short_calls")
def test_a_repeat_of_an_order_that_is_under_way_is_answered_the_same(kami: Kami) -> None:
    """Its item, once written, has brought a worker by way of the stream; the repeat need not send another."""
    key, path = unique(), f"/v1/campaigns/{kami.campaign()['id']}/batches"
    body = {"quantity": 3 * LOT_SIZE}
    first, second = (kami.operator.post(path, body, key) for _ in range(2))
    assert (replayed(first), replayed(second)) == (False, True)
    assert first.body == second.body
    kami.cloud.drain()
    assert read(kami, "batches", first.json()["id"])["status"] == "completed"


@pytest.mark.usefixtures("short_calls")
def test_a_message_delivered_twice_does_its_work_once(kami: Kami) -> None:
    batch = generate(kami, 3)
    order = message(batch["id"])
    assert invoke(kami, "generate", order, order) == []
    once = kami.items()
    assert invoke(kami, "generate", order) == []
    assert kami.items() == once
    activation = activate(kami, batch["id"])
    order = message(activation["id"])
    assert invoke(kami, "distribute", order, order) == []
    once = kami.items()
    assert invoke(kami, "distribute", order) == []
    assert kami.items() == once
    done = read(kami, "activations", activation["id"])
    assert (done["activated"], done["skipped"]["count"]) == (3 * LOT_SIZE, 0)


@pytest.mark.usefixtures("short_calls", "little_time")
def test_a_job_goes_on_where_its_time_was_over(kami: Kami) -> None:
    batch = generate(kami, 4)
    order = message(batch["id"])
    assert invoke(kami, "generate", order) == []
    halfway = read(kami, "batches", batch["id"])
    assert (halfway["status"], halfway["progress"]["lots_done"]) == ("in_progress", 1)
    assert len(queued(kami, "generate")) == 1
    invoke(kami, "generate", order)
    kami.cloud.drain()
    while read(kami, "batches", batch["id"])["status"] != "completed":
        assert invoke(kami, "generate", order) == []
    activation = activate(kami, batch["id"])
    kami.cloud.drain()
    done = read(kami, "activations", activation["id"])
    assert (done["status"], done["activated"]) == ("completed", 4 * LOT_SIZE)


@pytest.mark.usefixtures("short_calls")
@pytest.mark.parametrize("body", ["", "no json", "[]", "{}", '{"id": 1}', '{"id": "bat_none"}', '{"id": ["bat"]}'])
@pytest.mark.parametrize("function", ["generate", "distribute", "recover"])
def test_a_message_that_makes_no_sense_comes_back_alone(kami: Kami, function: str, body: str) -> None:
    batch = generate(kami, 3)
    kami.cloud.drain()
    if function == "recover":
        good = granted(kami.operator.post("/v1/recoveries", kami.recovery(batch=batch["id"])), 202)["id"]
    else:
        good = batch["id"] if function == "generate" else activate(kami, batch["id"])["id"]
    bad: dict[str, Any] = {"messageId": "bad", "body": body}
    assert invoke(kami, function, bad, message(good)) == ["bad"]
    if function == "distribute":
        assert read(kami, "activations", good)["status"] == "completed"
        queued(kami, "distribute")
    if function == "recover":
        assert {"id": good} in [json.loads(sent["body"]) for sent in queued(kami, "recover")]


@pytest.mark.parametrize("function", ["generate", "distribute", "recover"])
def test_a_message_that_always_fails_ends_among_the_dead_letters(kami: Kami, function: str) -> None:
    (source,) = [source for source in kami.cloud.stack.sources if source.function == function]
    sqs = kami.cloud.client("sqs")
    sent = sqs.send_message(QueueUrl=source.queue_url, MessageBody='{"id": "none"}')
    kami.cloud.drain()
    (dead,) = [url for arn, url in kami.cloud.stack.queues.items() if f"{function.capitalize()}JobsDeadLetters" in arn]
    (letter,) = sqs.receive_message(QueueUrl=dead)["Messages"]
    assert letter["MessageId"] == sent["MessageId"]


def test_a_command_on_more_lots_than_a_call_takes_is_done_by_the_queue(kami: Kami) -> None:
    lots = LOTS_PER_CALL_MAX + 1
    answer = kami.operator.post(f"/v1/campaigns/{kami.campaign()['id']}/batches", {"quantity": lots * LOT_SIZE})
    batch = granted(answer, 202)
    assert answer.header("location") == f"/v1/batches/{batch['id']}"
    assert (batch["status"], batch["progress"]) == ("in_progress", {"lots_done": 0, "lots": lots})
    kami.cloud.drain()
    batch = read(kami, "batches", batch["id"])
    assert (batch["status"], batch["progress"]) == ("completed", {"lots_done": lots, "lots": lots})
    answer = kami.operator.post("/v1/activations", {"selection": {"batch": batch["id"]}})
    activation = granted(answer, 202)
    assert answer.header("location") == f"/v1/activations/{activation['id']}"
    assert (activation["status"], activation["activated"]) == ("in_progress", 0)
    kami.cloud.drain()
    activation = read(kami, "activations", activation["id"])
    assert (activation["status"], activation["activated"]) == ("completed", lots * LOT_SIZE)
    assert activation["progress"] == {"lots_done": lots, "lots": lots}
    (code,) = kami.codes([batch["last_serial"]])
    granted(kami.merchant.redeem(code), 201)
