"""Cold start of verify and redeem: the CPU of their imports and clients, beside a handler that imports everything.

Each start is a fresh interpreter that reads compiled byte code, measured from its start to its end. The handlers and
the peer take turns, so that whatever else the machine does meets them alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from infra.local.template import synthesized
from tests.benchmark.harness import Result, at_most, children_cpu_ms, figure, python

RATIO_MAX = 0.55
TURNS = 15
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
    """Medians of the turns; the first one warms the file cache."""
    starts = {name: (HANDLER.format(name=name), _deployed(name)) for name in ("verify", "redeem")}
    starts["peer"] = (PEER, {})
    turns = [{name: _cpu_ms(*start) for name, start in starts.items()} for _ in range(1 + TURNS)][1:]
    yield figure("cold start of everything imported, CPU", median(turn["peer"] for turn in turns), "ms")
    for name in ("verify", "redeem"):
        yield figure(f"cold start of {name}, CPU", median(turn[name] for turn in turns), "ms")
        ratio = median(turn[name] / turn["peer"] for turn in turns)
        yield at_most(f"cold start of {name} to everything imported", ratio, RATIO_MAX, "×")


def _deployed(name: str) -> dict[str, str]:
    """The function's environment in the template; what it only refers to there is of no concern here."""
    functions = synthesized().of_type("AWS::Lambda::Function")
    (found,) = (f.properties for f in functions if f.properties["Handler"] == f"functions.{name}.handler.handle")
    return {key: value for key, value in found["Environment"]["Variables"].items() if isinstance(value, str)}


def _cpu_ms(code: str, variables: dict[str, str]) -> float:
    before = children_cpu_ms()
    python("-c", code, environment=ENVIRONMENT | variables)
    return children_cpu_ms() - before
