"""AWS clients with time-outs, and the write window that every attempt of a write must start in.

The fence of a recovery waits `WRITE_WINDOW_S` from the moment its veto is in the lot. It holds because a command
that reads a lot opens a window before the read, and no attempt of a write, first or repeated, is sent unless it
can end inside that window.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient
    from types_boto3_kms.client import KMSClient
    from types_boto3_s3.client import S3Client
    from types_boto3_secretsmanager.client import SecretsManagerClient
    from types_boto3_sqs.client import SQSClient

CONNECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 2.0
TRANSFER_TIMEOUT_S = 20.0
"""For S3, which may take its time over a large object."""
ATTEMPTS_MAX = 3
WRITE_WINDOW_S = 8.0
CLOCKS_APART_S = 4
FENCE_S = int(WRITE_WINDOW_S) + CLOCKS_APART_S
"""After so long no write starts or is repeated that relies on what was read before."""
CONNECTIONS_MAX = 32
USER_AGENT = "kami/0.1"
NEVER_REPEATED = ("pinpoint-sms-voice-v2",)
"""Services whose calls AWS does not recognise when they come again: the SDK sends each once."""
WRITES = ("PutItem", "UpdateItem", "TransactWriteItems")

_making = threading.Lock()
_latest_start: ContextVar[float | None] = ContextVar("latest_start", default=None)


class WriteWindowOver(Exception):  # noqa: N818 - nothing is wrong, it is late
    """A write was due after its window; it was not sent. The command may be tried again from its read on."""


@contextmanager
def write_window() -> Iterator[None]:
    """Open the window; to be entered before the read that the write depends on."""
    token = _latest_start.set(time.monotonic() + WRITE_WINDOW_S - CONNECT_TIMEOUT_S - READ_TIMEOUT_S)
    try:
        yield
    finally:
        _latest_start.reset(token)


def _refuse_late_write(**_: Any) -> None:
    latest_start = _latest_start.get()
    if latest_start is not None and time.monotonic() > latest_start:
        raise WriteWindowOver


@overload
def client(service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def client(service: Literal["kms"]) -> KMSClient: ...
@overload
def client(service: Literal["sqs"]) -> SQSClient: ...
@overload
def client(service: Literal["s3"]) -> S3Client: ...
@overload
def client(service: Literal["secretsmanager"]) -> SecretsManagerClient: ...
@overload
def client(service: Literal["pinpoint-sms-voice-v2"]) -> Any: ...
@overload
def client(service: Literal["events"]) -> Any: ...
def client(service: str) -> Any:
    """The process's one client of a service, made when it is first needed; threads may ask for it together."""
    with _making:
        return _client(service)


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


@cache
def _client(service: str) -> Any:
    attempts_max = 1 if service in NEVER_REPEATED else ATTEMPTS_MAX
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=TRANSFER_TIMEOUT_S if service == "s3" else READ_TIMEOUT_S,
        retries=cast("Any", {"mode": "standard", "total_max_attempts": attempts_max}),
        signature_version="s3v4" if service == "s3" else None,  # links to what KMS encrypts are signed by no other
        max_pool_connections=CONNECTIONS_MAX,
        parameter_validation=False,  # the types are checked here already; doing it again is a fifth of a call's CPU
        user_agent=USER_AGENT,  # botocore would put its own together anew for each call
    )
    made = _session().create_client(service, config=config)
    if service == "dynamodb":
        for operation in WRITES:
            made.meta.events.register_first(f"before-send.dynamodb.{operation}", _refuse_late_write)
    return made
