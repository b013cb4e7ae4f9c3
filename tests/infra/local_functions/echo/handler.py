"""A function that does what its event says: how the tests look at the runtime from inside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.session

Event = dict[str, Any]


def _client(service: str) -> Any:
    return botocore.session.get_session().create_client(service)


def _read(event: Event) -> Any:
    return _client("dynamodb").get_item(TableName=os.environ["TABLE_NAME"], Key=event["key"]).get("Item")


def _read_in_thread(event: Event) -> Any:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(_read, event).result()


def _fail(event: Event) -> Any:
    raise LookupError(event["message"])


def _sleep(event: Event) -> Any:
    time.sleep(event["seconds"])
    return os.getpid()


def _context(context: Any) -> Any:
    return {
        "remaining_ms": context.get_remaining_time_in_millis(),
        "arn": context.invoked_function_arn,
        "request": context.aws_request_id,
        "memory": context.memory_limit_in_mb,
        "name": context.function_name,
    }


DO: dict[str, Callable[[Event], Any]] = {
    "read": _read,
    "read in thread": _read_in_thread,
    "fail": _fail,
    "sleep": _sleep,
    "exit": lambda event: os._exit(event["code"]),
    "large": lambda event: "x" * event["bytes"],
    "environment": lambda event: dict(os.environ),
    "return": lambda event: event["value"],
    "object": lambda event: object(),
}


def handle(event: Event, context: Any) -> Any:
    if "do" not in event:
        return event
    print("doing", event["do"])
    return _context(context) if event["do"] == "context" else DO[event["do"]](event)
