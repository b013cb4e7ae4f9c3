"""A million codes exported: the CPU beside that of computing the codes alone, the memory, and the writes.

`python -m tests.benchmark.exports ID` is the process under measurement: it does the job of an export that was ordered.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, Final

from functions.domain.codes import codes
from functions.domain.formats import FORMATS, LOT_SIZE
from tests.benchmark.harness import Result, at_most, figure, python
from tests.benchmark.stage import staged

QUANTITY: Final = 1_000_000
RECIPIENT: Final = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
TURNS: Final = 3
TIMES_MAX: Final = 4
MEMORY_MB_MAX: Final = 200
WRITES_MAX: Final = 110
DEADLINE_S: Final = 600.0


def measure() -> Iterator[Result]:
    """Each turn is an export of the same batch in a process of its own; medians, and the most memory of all."""
    with staged() as stage:
        batch = stage.batch(stage.campaign(), QUANTITY)
        turns: list[dict[str, Any]] = []
        for _ in range(TURNS):
            order = stage.ask("POST", f"/v1/batches/{batch['id']}/exports", {"recipient": RECIPIENT}).json()
            environment = stage.environment("generate")
            turns.append(json.loads(python("-m", "tests.benchmark.exports", order["id"], environment=environment)))
    for_codes, for_all = (median(turn[name] for turn in turns) for name in ("codes_cpu_ms", "export_cpu_ms"))
    ratio = median(turn["export_cpu_ms"] / turn["codes_cpu_ms"] for turn in turns)
    yield figure(f"CPU to compute {QUANTITY:,} codes", for_codes, "ms")
    yield figure("CPU to export them encrypted", for_all, "ms")
    yield at_most("CPU of an export to that of its codes", ratio, TIMES_MAX, "×")
    yield at_most("memory of an export", max(turn["memory_mb"] for turn in turns), MEMORY_MB_MAX, "MB")
    yield at_most(f"writes to export {QUANTITY:,}", max(turn["writes"] for turn in turns), WRITES_MAX, "items")


def job(id: str) -> dict[str, Any]:
    """The codes alone, then the whole job; the most memory that the process ever had, with all that it imports."""
    from functions.generate import exports
    from functions.store.aws import client

    import_module("functions.generate.handler")  # what Lambda has loaded by then
    code_format = FORMATS["crockford16"]
    _ = client("dynamodb"), client("kms"), client("s3")  # making them belongs to the cold start
    start = time.process_time()
    for lot in code_format.lots[: QUANTITY // LOT_SIZE]:
        assert len(list(codes(bytes(32), code_format, lot, 1, 0, LOT_SIZE - 1))) == LOT_SIZE
    middle = time.process_time()
    assert exports.proceed(id, int(time.time()), time.monotonic() + DEADLINE_S) is None
    end = time.process_time()
    return {
        "codes_cpu_ms": (middle - start) * 1_000,
        "export_cpu_ms": (end - middle) * 1_000,
        "memory_mb": memory_mb_max(),
        "writes": exports.find(id).version,
    }


def memory_mb_max() -> float:
    """The most that this process ever had in memory; `getrusage` would count what its parent had when it was born."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1_024


if __name__ == "__main__":
    print(json.dumps(job(sys.argv[1])))
