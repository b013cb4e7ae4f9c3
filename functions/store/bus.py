"""The event bus: everything that others follow."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterable, Iterator
from typing import Any

from functions.domain.events import Event
from functions.store.aws import client

BUS_NAME = "BUS_NAME"
SOURCE = "kami"
ENTRIES_MAX = 10
BYTES_MAX = 256 * 1024
ROUNDS_MAX = 4
"""Entries that the bus did not take are given to it again so many times."""


class NotPublished(Exception):  # noqa: N818 - the bus says so, and it is tried again
    """The bus did not take some entries."""


def publish(events: Iterable[Event]) -> None:
    """Put events on the bus, in as few calls as it allows. Raises NotPublished where it does not take all of them."""
    for chunk in _chunks(events):
        left = chunk
        for attempt in range(ROUNDS_MAX):
            reply = client("events").put_events(Entries=left)
            if reply["FailedEntryCount"] == 0:
                break
            left = [sent for sent, result in zip(left, reply["Entries"], strict=True) if "ErrorCode" in result]
            time.sleep(random.uniform(0, 0.05 * 2**attempt))
        else:
            raise NotPublished(f"{len(left)} of {len(chunk)} entries")


def _chunks(events: Iterable[Event]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    size = 0
    for event in events:
        detail = json.dumps(event.detail(), ensure_ascii=False, separators=(",", ":"))
        entry = {"EventBusName": os.environ[BUS_NAME], "Source": SOURCE, "DetailType": event.type, "Detail": detail}
        own = len(SOURCE) + len(event.type) + len(detail.encode())  # as AWS counts it
        if chunk and (len(chunk) == ENTRIES_MAX or size + own > BYTES_MAX):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += own
    if chunk:
        yield chunk
