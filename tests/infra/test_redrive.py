"""What was set aside is tried again: dead letters, events that no rule could deliver, records that relay failed on."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import botocore.session
import pytest
from typer.testing import CliRunner

from infra import clients, redrive
from infra.local import server
from infra.local.cloud import Cloud
from infra.local.template import synthesized

pytestmark = pytest.mark.xdist_group("redrive")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud as `make up` has it: behind a port, and known by a file."""
    place = tmp_path_factory.mktemp("local") / "local.json"
    with server.bind(0) as listener, Cloud.in_processes(synthesized()) as running:
        serving = server.server(running.gateway, running.own)
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
        thread.start()
        place.write_text(
            json.dumps(
                {
                    "api_url": f"http://127.0.0.1:{listener.getsockname()[1]}",
                    "aws_endpoint_url": running.endpoints["AWS_ENDPOINT_URL"],
                    "outputs": running.stack.outputs,
                }
            )
        )
        with patch.object(clients, "WHEREABOUTS", Path(place)):
            yield running
        serving.should_exit = True
        thread.join()


def redriven(queue: str) -> str:
    with patch.dict(os.environ):
        done = CliRunner().invoke(redrive.app, [queue, "--local"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def url(cloud: Cloud, arn: str) -> str:
    return cloud.stack.queues[arn]


def taken(cloud: Cloud, arn: str) -> list[str]:
    """The messages of a queue, which is empty then."""
    sqs, queue = cloud.client("sqs"), url(cloud, arn)
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return sorted(message["Body"] for message in messages)


def source(cloud: Cloud, function: str) -> str:
    return next(one.queue_arn for one in cloud.stack.sources if one.function == function)


@pytest.mark.parametrize("name", redrive.DEAD_LETTERS)
def test_dead_letters_go_back_to_their_queue(cloud: Cloud, name: str) -> None:
    letters = cloud.stack.outputs[redrive.DEAD_LETTERS[name]]
    for body in ('{"id": "1"}', '{"id": "2"}'):
        cloud.client("sqs").send_message(QueueUrl=url(cloud, letters), MessageBody=body)
    assert "2 moved" in redriven(name)
    assert taken(cloud, letters) == []
    assert taken(cloud, source(cloud, name)) == ['{"id": "1"}', '{"id": "2"}']


def test_undelivered_events_go_onto_the_bus_again(cloud: Cloud) -> None:
    letters = cloud.stack.outputs[redrive.UNDELIVERED]
    event = {"source": "kami", "detail-type": "batch.requested", "detail": {"id": "e", "data": {"id": "batch-1"}}}
    cloud.client("sqs").send_message(QueueUrl=url(cloud, letters), MessageBody=json.dumps(event))
    assert "1 published again, 0 refused" in redriven("events")
    assert taken(cloud, letters) == []
    assert taken(cloud, source(cloud, "generate")) == ['{"id":"batch-1"}']


def test_what_came_by_the_clock_and_was_not_delivered_is_let_go(cloud: Cloud) -> None:
    letters = cloud.stack.outputs[redrive.UNDELIVERED]
    event = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
    cloud.client("sqs").send_message(QueueUrl=url(cloud, letters), MessageBody=json.dumps(event))
    assert "0 published again, 0 refused" in redriven("events")
    assert taken(cloud, letters) == []


def put(cloud: Cloud, name: str, records: list[Any]) -> None:
    payload = json.dumps({"Records": records})
    key = f"aws/lambda/id/shard/2026/11/21/{name}"
    bucket = cloud.stack.outputs[redrive.FAILURES]
    cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps({"payload": payload}).encode())


def kept(cloud: Cloud) -> list[str]:
    found = cloud.client("s3").list_objects_v2(Bucket=cloud.stack.outputs[redrive.FAILURES]).get("Contents", [])
    return [one["Key"].rpartition("/")[2] for one in found]


def test_relay_gets_its_records_again_and_what_fails_again_stays(cloud: Cloud) -> None:
    put(cloud, "2026-11-21T10.00.00-a", [])
    put(cloud, "2026-11-21T11.00.00-b", [{"dynamodb": {"SequenceNumber": "7", "NewImage": {"entity": {"S": "lot"}}}}])
    said = redriven("relay")
    assert "1 replayed, 1 failed again" in said
    assert kept(cloud) == ["2026-11-21T11.00.00-b"]


def test_an_unknown_queue_is_refused_with_the_names() -> None:
    done = CliRunner().invoke(redrive.app, ["mail"])
    assert done.exit_code == 2
    assert "generate, distribute, recover" in done.output


def test_every_function_with_a_queue_can_be_redriven(cloud: Cloud) -> None:
    others = {redrive.UNDELIVERED, redrive.BUS, redrive.FAILURES, redrive.RELAY}

    assert {one.function for one in cloud.stack.sources} == set(redrive.DEAD_LETTERS)
    assert {*redrive.DEAD_LETTERS.values(), *others} <= cloud.stack.outputs.keys()


def test_in_aws_sqs_itself_moves_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []

    class Sqs:
        def start_message_move_task(self, **arguments: str) -> dict[str, str]:
            asked.append(arguments)
            return {"TaskHandle": "task"}

    monkeypatch.setattr(redrive, "_aws", lambda service: Sqs())
    said = redrive.redrive("notify", {"NotifyDeadLettersArn": "arn:q"}, local=False)
    assert asked == [{"SourceArn": "arn:q"}]
    assert "task" in said
    model = botocore.session.get_session().get_service_model("sqs").operation_model("StartMessageMoveTask")
    assert model.input_shape and "SourceArn" in model.input_shape.members
