"""Counts what this process asks of AWS, through botocore's events; the product knows nothing of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from functions.store.aws import client

WRITES: Final = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"}
READS: Final = {"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"}
ID: Final = "benchmark-meter"


class Meter:
    """Calls by operation, writes that are conditional, items written, capacity consumed."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.conditional = 0
        self.items_written = 0
        self.read_units = 0.0
        self.write_units = 0.0

    def asked(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        """Before a call: count it, and have DynamoDB say what it consumes."""
        name = model.name
        self.calls[name] += 1
        if name in WRITES | READS:
            params["ReturnConsumedCapacity"] = "TOTAL"
        if name in WRITES:
            self.conditional += "ConditionExpression" in params
            batch = params.get("RequestItems", {"": params.get("TransactItems", [params])})
            self.items_written += sum(map(len, batch.values()))

    def answered(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        """After a call: add what it consumed."""
        consumed = parsed.get("ConsumedCapacity", [])
        units = sum(one["CapacityUnits"] for one in (consumed if isinstance(consumed, list) else [consumed]))
        if model.name in READS:
            self.read_units += units
        else:
            self.write_units += units


@contextmanager
def metered() -> Iterator[Meter]:
    """Counts while the block runs; its clients must have been made before (a first call makes them)."""
    meter = Meter()
    handlers = (("provide-client-params", meter.asked), ("after-call", meter.answered))
    hooks = [(client(service).meta.events, f"{event}.{service}", handler)
             for service in ("dynamodb", "kms") for event, handler in handlers]  # fmt: skip
    for events, name, handler in hooks:
        events.register(name, handler, unique_id=f"{ID}-{name}")
    try:
        yield meter
    finally:
        for events, name, handler in hooks:
            events.unregister(name, handler, unique_id=f"{ID}-{name}")
