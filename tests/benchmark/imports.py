"""A file of bought codes imported: the write calls, extrapolated to a million lines, and the memory.

`python -m tests.benchmark.imports ID` is the process under measurement: it reads a file of a million lines through, and
does the job of an import that was started.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

from tests.benchmark.exports import memory_mb_max
from tests.benchmark.harness import Result, at_most, figure, python
from tests.benchmark.meter import WRITES, metered
from tests.benchmark.stage import Stage, staged

LINES: Final = 1_000_000
SIZES: Final = (20_000, 40_000)
MEMORY_MB_MAX: Final = 200
CALLS_MAX: Final = 10_100
DEADLINE_S: Final = 600.0


def measure() -> Iterator[Result]:
    """Two sizes, each in a process of its own: what a line more costs is their difference."""
    with staged() as stage:
        campaign = stage.campaign(code_format="imported")
        small, large = (_imported(stage, campaign, lines) for lines in SIZES)
    a_line = (large["calls"] - small["calls"]) / (SIZES[1] - SIZES[0])
    yield at_most(f"write calls to import {SIZES[1]:,}", large["calls"], CALLS_MAX * SIZES[1] // LINES + 5, "calls")
    calls = round(large["calls"] + a_line * (LINES - SIZES[1]))
    yield at_most(f"write calls to import {LINES:,}, by what a line costs", calls, CALLS_MAX, "calls")
    yield figure("CPU of an import of 1,000 lines", large["cpu_ms"] / SIZES[1] * 1_000, "ms")
    yield at_most("memory of an import", max(small["memory_mb"], large["memory_mb"]), MEMORY_MB_MAX, "MB")


def _imported(stage: Stage, campaign: str, lines: int) -> dict[str, Any]:
    content = b"".join(_file(lines, f"{lines:X}"))
    id = stage.ask("POST", "/v1/imports", {"campaign": campaign, "size": len(content)}).json()["id"]
    bucket = stage.cloud.stack.functions["generate"].environment["UPLOADS_BUCKET"]
    stage.cloud.client("s3").put_object(Bucket=bucket, Key=id, Body=content)
    assert stage.ask("POST", f"/v1/imports/{id}/starts").status == 202
    environment = stage.environment("generate")
    done: dict[str, Any] = json.loads(python("-m", "tests.benchmark.imports", id, environment=environment))
    assert done["accepted"] == lines
    return done


def _file(lines: int, prefix: str) -> Iterator[bytes]:
    """A header and so many codes, a thousand lines at a time."""
    yield b"code,reference\r\n"
    for start in range(0, lines, 1_000):
        numbers = range(start, min(start + 1_000, lines))
        yield "".join(f"{prefix}-{n:08d}-7QX2-M5C4,{n:012d}\r\n" for n in numbers).encode()


def job(id: str) -> dict[str, Any]:
    """The most memory that the process ever had, with all that it imports."""
    from functions.domain import codefile
    from functions.generate import importing, imports
    from functions.store.aws import client

    import_module("functions.generate.handler")  # what Lambda has loaded by then
    _ = client("dynamodb"), client("kms"), client("s3"), client("secretsmanager")  # belongs to the cold start
    assert codefile.survey(codefile.split(_file(LINES, "X"))).codes == LINES
    start = time.process_time()
    with metered() as meter:
        assert importing.proceed(id, int(time.time()), time.monotonic() + DEADLINE_S) is None
    cpu_ms = (time.process_time() - start) * 1_000
    calls = sum(meter.calls[name] for name in WRITES)
    return {"calls": calls, "cpu_ms": cpu_ms, "memory_mb": memory_mb_max(), "accepted": imports.find(id).accepted}


if __name__ == "__main__":
    print(json.dumps(job(sys.argv[1])))
