"""The queue of work that takes longer than a call: a message only names the item that holds the work."""

from __future__ import annotations

import json
import os

from functions.store.aws import client

JOBS_QUEUE_URL = "JOBS_QUEUE_URL"


def send(id: str) -> None:
    """Have a worker of this function take up the work; to be sent after the item was written, and again on a retry."""
    client("sqs").send_message(QueueUrl=os.environ[JOBS_QUEUE_URL], MessageBody=json.dumps({"id": id}))
