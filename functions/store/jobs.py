"""The queues that functions feed themselves: a message only names the item that holds the work."""

from __future__ import annotations

import json
import os
from typing import Any

from functions.store.aws import client

JOBS_QUEUE_URL = "JOBS_QUEUE_URL"
MESSAGES_QUEUE_URL = "MESSAGES_QUEUE_URL"

DELAY_MAX_S = 900
IN_CALL_S = 25
"""So long a call may still be at its work itself; a worker waits before it takes over what is younger."""


def send(id: str, delay_s: int = 0) -> None:
    """Have a worker of this function go on with work after a while (at most 15 minutes, which is SQS's limit)."""
    client("sqs").send_message(
        QueueUrl=os.environ[JOBS_QUEUE_URL],
        MessageBody=json.dumps({"id": id}),
        DelaySeconds=min(delay_s, DELAY_MAX_S),
    )


def send_order(order: dict[str, Any], delay_s: int) -> None:
    """Have a worker of this function carry out an order in so many seconds, 15 minutes at most."""
    client("sqs").send_message(
        QueueUrl=os.environ[JOBS_QUEUE_URL], MessageBody=json.dumps(order), DelaySeconds=min(delay_s, DELAY_MAX_S)
    )


def send_reminders(date: str, shard: int, after: str | None) -> None:
    """Have a page of a day's reminders sent."""
    body = {"date": date, "shard": shard} | ({"after": after} if after is not None else {})
    client("sqs").send_message(QueueUrl=os.environ[MESSAGES_QUEUE_URL], MessageBody=json.dumps(body))


def send_again(body: str, delay_s: int) -> None:
    """Have the same order about an SMS carried out again in so many seconds."""
    client("sqs").send_message(QueueUrl=os.environ[MESSAGES_QUEUE_URL], MessageBody=body, DelaySeconds=delay_s)


def send_message(id: str, attempt: int, delay_s: int) -> None:
    """Have an attempt at an SMS made in so many seconds."""
    client("sqs").send_message(
        QueueUrl=os.environ[MESSAGES_QUEUE_URL],
        MessageBody=json.dumps({"message": id, "attempt": attempt}),
        DelaySeconds=min(delay_s, DELAY_MAX_S),
    )
