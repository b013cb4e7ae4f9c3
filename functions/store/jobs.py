"""The queues that functions feed themselves: a message only names the item that holds the work."""

from __future__ import annotations

import json
import os
from typing import Any

from functions.domain.message import Receipt
from functions.store.aws import client

JOBS_QUEUE_URL = "JOBS_QUEUE_URL"
MESSAGES_QUEUE_URL = "MESSAGES_QUEUE_URL"
DELIVERIES_QUEUE_URL = "DELIVERIES_QUEUE_URL"

DELAY_MAX_S = 900
BATCH_MAX = 10
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


def send_message(id: str, attempt: int, delay_s: int, waits: int = 0) -> None:
    """Have an attempt at an SMS made in so many seconds; its order has waited so often for leave to make it."""
    body = {"message": id, "attempt": attempt} | ({"waits": waits} if waits else {})
    client("sqs").send_message(
        QueueUrl=os.environ[MESSAGES_QUEUE_URL],
        MessageBody=json.dumps(body),
        DelaySeconds=min(delay_s, DELAY_MAX_S),
    )


def send_delivery(id: str, attempt: int, delay_s: int) -> None:
    """Have an attempt of a webhook's delivery made in so many seconds."""
    client("sqs").send_message(
        QueueUrl=os.environ[DELIVERIES_QUEUE_URL],
        MessageBody=json.dumps({"delivery": id, "attempt": attempt}),
        DelaySeconds=min(delay_s, DELAY_MAX_S),
    )


def send_receipt(receipt: Receipt, tries: int, delay_s: int) -> None:
    """Have a provider's receipt noted, in so many seconds, by who has tried so often."""
    client("sqs").send_message(
        QueueUrl=os.environ[MESSAGES_QUEUE_URL],
        MessageBody=json.dumps(_receipt(receipt, tries)),
        DelaySeconds=min(delay_s, DELAY_MAX_S),
    )


def send_receipts(receipts: list[Receipt]) -> None:
    """Have any number of receipts noted, each on its own, as soon as can be.

    Raises RuntimeError where SQS does not take them all; those that it took are noted all the same.
    """
    for start in range(0, len(receipts), BATCH_MAX):
        entries: list[Any] = [
            {"Id": str(place), "MessageBody": json.dumps(_receipt(receipt, 0))}
            for place, receipt in enumerate(receipts[start : start + BATCH_MAX])
        ]
        reply = client("sqs").send_message_batch(QueueUrl=os.environ[MESSAGES_QUEUE_URL], Entries=entries)
        if failed := reply.get("Failed"):
            raise RuntimeError(f"{len(failed)} receipts were not taken: {failed[0]['Code']}")


def _receipt(receipt: Receipt, tries: int) -> dict[str, Any]:
    return {"receipt": {name: value for name, value in receipt._asdict().items() if value is not None}, "tries": tries}


def send_replies(orders: list[dict[str, Any]]) -> None:
    """Have noted what people asked for by SMS; an order names them by the account's id."""
    for order in orders:
        client("sqs").send_message(QueueUrl=os.environ[MESSAGES_QUEUE_URL], MessageBody=json.dumps(order))


def send_held(part: int, after: str | None) -> None:
    """Have a page of the messages that a rule holds given their orders, as far as they are due."""
    body = {"held": part} | ({"after": after} if after is not None else {})
    client("sqs").send_message(QueueUrl=os.environ[MESSAGES_QUEUE_URL], MessageBody=json.dumps(body))


def send_awaiting(part: int, after: str | None) -> None:
    """Have a page of the messages whose receipt is overdue given up."""
    body = {"awaiting": part} | ({"after": after} if after is not None else {})
    client("sqs").send_message(QueueUrl=os.environ[MESSAGES_QUEUE_URL], MessageBody=json.dumps(body))
