"""Cold start of verify and redeem: the CPU of their imports and clients, beside a handler that imports everything.

Each start is a fresh interpreter that reads compiled byte code, measured from its start to its end. The handlers and
the peer take turns, and each one's least CPU counts: whatever else the machine does can only add to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmark.harness import Result, at_most, children_cpu_ms, figure, python

RATIO_MAX = 0.55
TURNS = 12
ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "POWERTOOLS_SERVICE_NAME": "benchmark",
    "POWERTOOLS_METRICS_NAMESPACE": "Kami",
    "TABLE_NAME": "none",
    "PYTHONDONTWRITEBYTECODE": "",
}
PEER = "import tests.benchmark.peers.everything_imported"
HANDLER = """
import functions.{name}.handler
from functions.store.aws import client
client("dynamodb"), client("kms")
"""
"""The peer makes its clients (a DynamoDB resource, KMS) at import; Kami's are made at the first request."""


def measure() -> Iterator[Result]:
    """The least CPU of each, and the ratios."""
    starts = {name: HANDLER.format(name=name) for name in ("verify", "redeem")} | {"peer": PEER}
    taken: dict[str, list[float]] = {name: [] for name in starts}
    for _ in range(TURNS):
        for name, code in starts.items():
            taken[name].append(_cpu_ms(code))
    least = {name: min(each) for name, each in taken.items()}
    yield figure("cold start of everything imported, CPU", least["peer"], "ms")
    for name in ("verify", "redeem"):
        yield figure(f"cold start of {name}, CPU", least[name], "ms")
        yield at_most(f"cold start of {name} to everything imported", least[name] / least["peer"], RATIO_MAX, "×")


def _cpu_ms(code: str) -> float:
    before = children_cpu_ms()
    python("-c", code, environment=ENVIRONMENT)
    return children_cpu_ms() - before
