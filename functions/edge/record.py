"""What belongs on record though it writes nothing: refused codes and scopes, tokens issued and refused.

It goes straight to the record's queue, in the shape of an event. Nothing is answered that could not be put there.
"""

from __future__ import annotations

import json
import os
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.times import rfc3339
from functions.store.aws import client

RECORD_QUEUE_URL = "RECORD_QUEUE_URL"
TYPES: dict[str, int] = {"request.refused": 1, "token.issued": 1, "token.refused": 1, "record.fetched": 1}
"""Every type with the version of its schema (`events/schemas/`); these are on no bus."""


def note(type: str, by: By, data: dict[str, str], now: int) -> None:
    """Have a call recorded; its id is the request's, so a call that is sent twice is recorded once.

    Raises Refusal `try_again` where it could not be sent.
    """
    entry = {
        "id": f"edge.{by.request}",
        "type": type,
        "schema": TYPES[type],
        "at": rfc3339(now),
        "by": by._asdict(),
        "data": data,
    }
    send(entry)


def send(message: dict[str, Any]) -> None:
    """Put a message on the record's queue: an entry, or an order. Raises Refusal `try_again` where it does not go."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    try:
        client("sqs").send_message(QueueUrl=os.environ[RECORD_QUEUE_URL], MessageBody=body)
    except (BotoCoreError, ClientError) as error:
        raise Refusal("try_again", "What belongs on record could not be sent there.", retry_after_s=1) from error
