"""Have what was set aside tried again, once its cause is mended. Everything here bears being done twice.

QUEUE is a function with a queue (generate, distribute, recover, erase, notify, webhooks, ledger, audit): its dead
letters go back to it. `events`: what the rules could not deliver is put on the bus again. `relay`: the records in the
failure bucket are given to relay again; an object that succeeds is deleted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

import botocore.session
import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra import clients
from infra.clients import ENV_DEFAULT

RECEIVE_MAX: Final = 10
MESSAGES_MAX: Final = 100_000
INVOKE_TIMEOUT_S: Final = 120
DEAD_LETTERS: Final = {
    "generate": "GenerateDeadLettersArn",
    "distribute": "DistributeDeadLettersArn",
    "recover": "RecoverDeadLettersArn",
    "erase": "EraseDeadLettersArn",
    "notify": "NotifyDeadLettersArn",
    "webhooks": "WebhooksDeadLettersArn",
    "audit": "AuditDeadLettersArn",
    "ledger": "LedgerDeadLettersArn",
}
"""By function: the stack's output that names its dead-letter queue."""
BY_THE_CLOCK: Final = "aws.events"
UNDELIVERED: Final = "UndeliveredArn"
BUS: Final = "BusName"
FAILURES: Final = "FailuresBucket"
RELAY: Final = "RelayName"

Outputs = Mapping[str, str]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _aws(service: str) -> Any:
    # a path of the bucket's own is what both AWS and the local cloud understand; a replay is never sent twice unasked
    config = Config(read_timeout=INVOKE_TIMEOUT_S, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return botocore.session.get_session().create_client(service, config=config)


def _messages(sqs: Any, arn: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The messages of a queue with its URL; each is to be deleted by whoever is done with it."""
    url = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    for _ in range(MESSAGES_MAX // RECEIVE_MAX):
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=RECEIVE_MAX).get("Messages", [])
        if not found:
            return
        for message in found:
            yield url, message


def back_to_the_queue(outputs: Outputs, name: str, *, local: bool) -> str:
    """Dead letters of a function, back to where they came from."""
    sqs, arn = _aws("sqs"), outputs[DEAD_LETTERS[name]]
    if not local:
        task = sqs.start_message_move_task(SourceArn=arn)["TaskHandle"]
        return f"SQS is moving them; `aws sqs list-message-move-tasks --source-arn {arn}` tells how far. Task: {task}"
    dead_letters = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    (source,) = sqs.list_dead_letter_source_queues(QueueUrl=dead_letters)["queueUrls"]
    moved = 0
    for url, message in _messages(sqs, arn):
        sqs.send_message(QueueUrl=source, MessageBody=message["Body"])
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        moved += 1
    return f"{moved} moved"


def onto_the_bus(outputs: Outputs) -> str:
    """Events that some rule could not deliver; the rules that could bear their repeat."""
    sqs, events, published, left = _aws("sqs"), _aws("events"), 0, 0
    for url, message in _messages(sqs, outputs[UNDELIVERED]):
        event = json.loads(message["Body"])
        if event["source"] == BY_THE_CLOCK:  # the next one has made up for it
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            continue
        entry = {
            "EventBusName": outputs[BUS],
            "Source": event["source"],
            "DetailType": event["detail-type"],
            "Detail": json.dumps(event["detail"], ensure_ascii=False),
        }
        if events.put_events(Entries=[entry])["FailedEntryCount"]:
            left += 1
            continue
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        published += 1
    return f"{published} published again, {left} refused"


def through_relay(outputs: Outputs) -> str:
    """The records in the failure bucket, oldest object first. What fails again stays."""
    s3, function, bucket = _aws("s3"), _aws("lambda"), outputs[FAILURES]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="aws/lambda/")
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    done, left = 0, []
    for key in sorted(keys, key=lambda one: one.rpartition("/")[2]):
        record = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        reply = function.invoke(FunctionName=outputs[RELAY], Payload=record["payload"].encode())
        result = json.loads(reply["Payload"].read() or "null")
        if "FunctionError" in reply or (result or {}).get("batchItemFailures"):
            left.append(key)
            continue
        s3.delete_object(Bucket=bucket, Key=key)
        done += 1
    return "\n".join([f"{done} replayed, {len(left)} failed again", *left])


def redrive(queue: str, outputs: Outputs, *, local: bool) -> str:
    """Does it, and says what was done."""
    special: dict[str, Callable[[Outputs], str]] = {"events": onto_the_bus, "relay": through_relay}
    return special[queue](outputs) if queue in special else back_to_the_queue(outputs, queue, local=local)


def _known(queue: str) -> str:
    known = [*DEAD_LETTERS, "events", "relay"]
    if queue not in known:
        raise typer.BadParameter(f"It is one of {', '.join(known)}.")
    return queue


@app.command(help=__doc__)
def main(
    queue: Annotated[str, typer.Argument(metavar="QUEUE", callback=_known, show_default=False)],
    env: Annotated[str, typer.Option(help="Its stack is kami-ENV.")] = ENV_DEFAULT,
    local: Annotated[bool, typer.Option("--local", help="The local cloud that `make up` started.")] = False,
) -> None:
    outputs = clients.enter_local_cloud()["outputs"] if local else clients.outputs_of(f"kami-{env}")
    print(redrive(queue, outputs, local=local))


if __name__ == "__main__":
    try:
        app(prog_name="infra.redrive")
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"AWS: {error}") from None
