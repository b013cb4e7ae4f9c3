"""Event sources, imitated: Lambda's poller for an SQS queue. moto's own would call Docker, so it is never asked to.

The poller acts in the function's role, as in AWS. Messages that failed stay invisible until their time is over; the
queue moves them to its dead-letter queue after `maxReceiveCount` receives.
"""

from __future__ import annotations

import base64
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from random import Random
from typing import Any, Final

from infra.local import bus, moto_fixes
from infra.local.gateway import FunctionError, IntegrationTimeoutError, ThrottledError
from infra.local.resources import QueueSource, Schedule
from infra.local.template import REGION

POLL_S: Final = 0.1
"""Between polls of an empty queue. The polls are short: a long one would hold moto's lock."""
RECEIVE_MAX: Final = 10
"""SQS gives at most so many messages at once; a larger batch is collected from several receives."""
INVOKE_MAX_S: Final = 900.0
SHUFFLED_BATCHES: Final = 4
"""So many batches' messages are mixed."""

Message = dict[str, Any]
ActingAs = Callable[[], AbstractContextManager[None]]


def to_event(source: QueueSource, messages: list[Message]) -> dict[str, Any]:
    """The payload of an SQS event source."""
    return {"Records": [_record(source, message) for message in messages]}


def _record(source: QueueSource, message: Message) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: _message_attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": source.queue_arn,
        "awsRegion": REGION,
    }


def _message_attribute(value: dict[str, Any]) -> dict[str, Any]:
    shaped: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        shaped["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        shaped["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return shaped


def failed_ids(result: Any, sent: set[str]) -> set[str]:
    """Which messages a result of `ReportBatchItemFailures` gives back: all of them if the report makes no sense.

    Lambda's rules: null, `{}` or an empty list are success; a missing, empty or unknown identifier fails the batch.
    """
    if not result:
        return set()
    try:
        failures = result.get("batchItemFailures") or []
        failed = {failure["itemIdentifier"] for failure in failures}
    except (AttributeError, KeyError, TypeError):
        return sent
    return failed if failed <= sent else sent


class SchedulePump:
    """Sends a schedule's messages when their time has come; the first one a whole period after the start, as AWS does.

    A time that was slept through is not made up for.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def step(self) -> None:
        """Its time has come."""
        with moto_fixes.LOCK:
            for target in self.schedule.targets:
                bus.fire(self.schedule.name, target)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`."""
        while not stop.wait(self.schedule.every_s):
            self.step()


class Pump:
    """Moves one queue's messages into its function, a batch at a time."""

    def __init__(
        self, source: QueueSource, sqs: Any, acting: ActingAs, invoke: Callable[[str, dict[str, Any], float], Any]
    ) -> None:
        self.source, self._sqs, self._acting, self._invoke = source, sqs, acting, invoke
        with acting():  # AWS checks this when the mapping is made
            sqs.get_queue_attributes(QueueUrl=source.queue_url, AttributeNames=["VisibilityTimeout"])

    def step(self, *, twice: bool = False, shuffle: Random | None = None) -> list[Message] | None:
        """One batch, and which of its messages failed and will come again; None if there was nothing to do.

        `twice`: every message is handled twice, as if the first time had not been noted. `shuffle`: many messages are
        received, and come in any order and in batches of any size; the second time in others.
        """
        if not (twice or shuffle):
            messages = self._receive(window_s=0.0)
            return self._process(messages) if messages else None
        random = shuffle or Random(0)
        messages = [message for _ in range(SHUFFLED_BATCHES) for message in self._receive(window_s=0.0)]
        if not messages:
            return None
        if twice:
            for batch in self._batches(messages, random):
                with suppress(FunctionError):
                    self._invoke(self.source.function, to_event(self.source, batch), INVOKE_MAX_S)
        return [failed for batch in self._batches(messages, random) for failed in self._process(batch)]

    def _batches(self, messages: list[Message], random: Random) -> Iterator[list[Message]]:
        order = random.sample(messages, len(messages))
        while order:
            size = random.randint(1, self.source.batch_size)
            yield order[:size]
            order = order[size:]

    def run(self, stop: threading.Event) -> None:
        """Polls until `stop`, with up to `MaximumConcurrency` batches at work at a time."""
        slots = threading.Semaphore(self.source.concurrency_max)

        def settled(batch: Future[list[Message]]) -> None:
            slots.release()
            if error := batch.exception():  # a missing grant, say: nothing else would show it
                print(f"The queue of {self.source.function}: {error}", file=sys.stderr)

        with ThreadPoolExecutor(self.source.concurrency_max, thread_name_prefix="pump") as threads:
            while not stop.is_set():
                if not slots.acquire(timeout=POLL_S):
                    continue
                if messages := self._receive(self.source.batch_window_s):
                    threads.submit(self._process, messages).add_done_callback(settled)
                else:
                    slots.release()
                    stop.wait(POLL_S)

    def _process(self, messages: list[Message]) -> list[Message]:
        sent = {message["MessageId"] for message in messages}
        try:
            result = self._invoke(self.source.function, to_event(self.source, messages), INVOKE_MAX_S)
        except (FunctionError, ThrottledError, IntegrationTimeoutError):
            return messages
        failed = failed_ids(result, sent) if self.source.partial_failures else set()
        self._delete([message for message in messages if message["MessageId"] not in failed])
        return [message for message in messages if message["MessageId"] in failed]

    def _receive(self, window_s: float) -> list[Message]:
        messages: list[Message] = []
        until = time.monotonic() + window_s
        while len(messages) < self.source.batch_size:
            received = self._received(self.source.batch_size - len(messages))
            messages += received
            if not received and (not messages or time.monotonic() >= until):
                break
            if not received:
                time.sleep(min(POLL_S, max(0.0, until - time.monotonic())))
        return messages

    def _received(self, most: int) -> list[Message]:
        if not moto_fixes.due(self.source.queue_url):
            return []
        with self._acting():
            reply = self._sqs.receive_message(
                QueueUrl=self.source.queue_url,
                MaxNumberOfMessages=min(RECEIVE_MAX, most),
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
                WaitTimeSeconds=0,
            )
        received: list[Message] = reply.get("Messages", [])
        return received

    def _delete(self, messages: list[Message]) -> None:
        for start in range(0, len(messages), RECEIVE_MAX):
            entries = [
                {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                for index, message in enumerate(messages[start : start + RECEIVE_MAX])
            ]
            with self._acting():
                self._sqs.delete_message_batch(QueueUrl=self.source.queue_url, Entries=entries)
