"""relay: the table's stream, turned into history, counts and events."""

from __future__ import annotations

import os
from typing import Any

from functions.edge.log import failed
from functions.relay import service

TABLE_INCARNATION = "TABLE_INCARNATION"
RECORDS_PER_STEP = 25
"""So many records share their calls to AWS, and are done again together if one of these fails."""


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a batch of one shard; what is answered is the first record that failed, from which Lambda goes on.

    A record that cannot be understood does not keep those after it waiting: once its retries are used up, Lambda gives
    up the whole rest of its batch, which by then must be done. Where AWS fails, nothing after it is tried.
    """
    incarnation = int(os.environ[TABLE_INCARNATION])
    failures: list[str] = []
    records = event["Records"]
    for at in range(0, len(records), RECORDS_PER_STEP):
        step = records[at : at + RECORDS_PER_STEP]
        found: list[service.Told] = []
        for record in step:
            try:
                found += service.told(service.read(record["dynamodb"]), incarnation)
            except Exception as error:  # one record must not take the others with it
                failed("record not understood", error)
                failures.append(record["dynamodb"]["SequenceNumber"])
        try:
            service.follow(found)
        except Exception as error:  # Lambda brings all of this step again
            failed("record not followed", error)
            failures.append(step[0]["dynamodb"]["SequenceNumber"])
            break
    first = min(failures, key=int, default=None)
    return {"batchItemFailures": [{"itemIdentifier": first}] if first is not None else []}
