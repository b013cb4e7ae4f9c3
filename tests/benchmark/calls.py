"""What a redemption asks of AWS once its function is warm, and the capacity that DynamoDB Local says it consumes."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmark.harness import Result, at_most, figure
from tests.benchmark.meter import metered
from tests.benchmark.stage import Stage, staged

REDEMPTIONS = 50
BATCH = 1_000


def measure() -> Iterator[Result]:
    """The mean of redemptions by one merchant; the first one warms up."""
    with staged() as stage:
        first, *rest = stage.active(BATCH, 1 + REDEMPTIONS)
        _redeem(stage, first)
        with metered() as meter:
            for code in rest:
                _redeem(stage, code)
    reads, writes = meter.calls.pop("BatchGetItem", 0), meter.calls.pop("PutItem", 0)
    assert meter.conditional == writes, "a write without a condition"
    yield at_most("reads of a redemption (BatchGetItem)", reads / REDEMPTIONS, 1, "calls")
    yield at_most("writes of a redemption (PutItem, conditional)", writes / REDEMPTIONS, 1, "calls")
    yield at_most("other AWS calls of a redemption", meter.calls.total() / REDEMPTIONS, 0, "calls")
    yield figure("read capacity of a redemption", meter.read_units / REDEMPTIONS, "RCU")
    yield figure("write capacity of a redemption", meter.write_units / REDEMPTIONS, "WCU")


def _redeem(stage: Stage, code: str) -> None:
    answer = stage.ask("POST", "/v1/redemptions", stage.order(code), role="merchant")
    assert answer.status == 201, answer.body
