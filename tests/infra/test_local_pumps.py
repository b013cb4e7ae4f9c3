"""The queue's event source: batches, partial failures, redelivery and dead letters."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.cloud import Cloud
from infra.local.pumps import failed_ids
from tests.infra.local_functions.worker.handler import ANSWERS, SEEN
from tests.infra.local_small import QUEUE_ARN, allow, small


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    SEEN.clear()
    ANSWERS.clear()
    with Cloud.in_process(small()) as running:
        yield running


def send(cloud: Cloud, *bodies: str) -> None:
    for body in bodies:
        cloud.client("sqs").send_message(
            QueueUrl=cloud.stack.sources[0].queue_url,
            MessageBody=body,
            MessageAttributes={"kind": {"DataType": "String", "StringValue": "k"}},
        )


def bodies() -> list[list[str]]:
    return [[record["body"] for record in event["Records"]] for event in SEEN]


def left(cloud: Cloud, name: str) -> int:
    queue = cloud.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = cloud.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(count) for count in attributes.values())


def failing(*failed: str) -> Any:
    def answer(event: dict[str, Any]) -> Any:
        ids = [record["messageId"] for record in event["Records"] if record["body"] in failed]
        return {"batchItemFailures": [{"itemIdentifier": one} for one in ids]}

    return answer


def test_messages_come_in_batches_and_are_deleted(cloud: Cloud) -> None:
    send(cloud, *"abcdefg")
    cloud.drain()
    assert bodies() == [list("abcde"), list("fg")]
    assert (left(cloud, "Queue"), left(cloud, "DeadLetters")) == (0, 0)


def test_a_record_has_the_shape_of_sqs(cloud: Cloud) -> None:
    send(cloud, "a")
    cloud.drain()
    (record,) = SEEN[0]["Records"]
    assert record["attributes"].keys() >= {
        "ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp",
    }  # fmt: skip
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"] == {
        "kind": {"stringValue": "k", "stringListValues": [], "binaryListValues": [], "dataType": "String"}
    }
    assert record["eventSourceARN"] == "arn:aws:sqs:us-east-1:123456789012:Queue"
    assert (record["eventSource"], record["awsRegion"], record["body"]) == ("aws:sqs", "us-east-1", "a")
    assert record.keys() >= {"messageId", "receiptHandle", "md5OfBody"}


def test_only_the_messages_that_failed_come_again(cloud: Cloud) -> None:
    ANSWERS[:] = [failing("b"), failing()]
    send(cloud, *"abc")
    cloud.drain()
    assert bodies() == [list("abc"), ["b"]]
    assert SEEN[1]["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"


def test_a_message_that_always_fails_ends_among_the_dead_letters(cloud: Cloud) -> None:
    ANSWERS[:] = [failing("b")] * 9
    send(cloud, *"ab")
    cloud.drain()
    assert bodies() == [list("ab"), ["b"], ["b"]]
    assert (left(cloud, "Queue"), left(cloud, "DeadLetters")) == (0, 1)


def test_an_exception_fails_the_whole_batch(cloud: Cloud) -> None:
    ANSWERS[:] = [LookupError("once")]
    send(cloud, *"ab")
    cloud.drain()
    assert bodies() == [list("ab"), list("ab")]


def test_without_partial_failures_a_report_means_nothing() -> None:
    SEEN.clear()
    ANSWERS[:] = [failing("a")]
    with Cloud.in_process(small(Feed__FunctionResponseTypes=[])) as cloud:
        send(cloud, "a")
        cloud.drain()
        assert bodies() == [["a"]]
        assert left(cloud, "Queue") == 0


@pytest.mark.parametrize(
    ("report", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "1"}]}, {"1"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"1", "2"}),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, {"1", "2"}),
        ({"batchItemFailures": [{"itemIdentifier": "3"}]}, {"1", "2"}),
        ({"batchItemFailures": [{"wrong": "1"}]}, {"1", "2"}),
        ({"batchItemFailures": "1"}, {"1", "2"}),
        ("text", {"1", "2"}),
    ],
)
def test_a_report_that_makes_no_sense_fails_the_batch(report: Any, failed: set[str]) -> None:
    assert failed_ids(report, {"1", "2"}) == failed


def test_the_poller_acts_in_the_functions_role(cloud: Cloud) -> None:
    send(cloud, "a")
    cloud.drain()
    assert {request.action for request in cloud.calls["worker"]} == {
        "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes",
    }  # fmt: skip


@pytest.mark.parametrize("missing", ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"])
def test_without_a_grant_the_poller_is_denied(missing: str) -> None:
    granted = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"} - {missing}
    narrow = {"Statement": [allow(sorted(granted), QUEUE_ARN)]}
    with Cloud.in_process(small(Policy__PolicyDocument=narrow)) as cloud:
        send(cloud, "a")
        with pytest.raises(ClientError, match=missing):
            cloud.drain()


def test_a_batch_that_cannot_be_deleted_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    narrow = {"Statement": [allow(["sqs:ReceiveMessage", "sqs:GetQueueAttributes"], QUEUE_ARN)]}
    with Cloud.in_process(small(Policy__PolicyDocument=narrow)) as cloud:
        send(cloud, "a")
        stop = threading.Event()
        (pump,) = cloud.pumps()
        thread = threading.Thread(target=pump.run, args=(stop,))
        thread.start()
        until = time.monotonic() + 30
        said = ""
        while not said and time.monotonic() < until:
            time.sleep(0.05)
            said = capsys.readouterr().err
        stop.set()
        thread.join()
    assert "not authorized to perform: sqs:DeleteMessage" in said


def test_the_pump_runs_until_it_is_stopped_with_at_most_so_many_batches_at_work(cloud: Cloud) -> None:
    at_work: list[int] = []
    most: list[int] = []

    def slow(event: dict[str, Any]) -> None:
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(0.3)
        at_work.pop()

    ANSWERS[:] = [slow] * 20
    (pump,) = cloud.pumps()
    stop = threading.Event()
    thread = threading.Thread(target=pump.run, args=(stop,))
    send(cloud, *"abcdefghijklmnopqrst")
    thread.start()
    until = time.monotonic() + 30
    while left(cloud, "Queue") and time.monotonic() < until:
        time.sleep(0.05)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert max(most) == 2
    assert sorted(body for batch in bodies() for body in batch) == list("abcdefghijklmnopqrst")
