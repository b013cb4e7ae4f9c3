"""Which partitions of the table and its indexes a piece of work reads and writes, in DynamoDB's own units.

A write takes a unit for each started KB of the item, twice that within a transaction; a consistent read one for each
started 4 KB, an eventually consistent one half of it
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html). An item in an index is
written there too, each time: an upper bound, for DynamoDB leaves out what did not change in the index.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from functions.store.aws import client

ID: Final = "benchmark-load"
READ_BYTES, WRITE_BYTES = 4_096, 1_024

Typed = Mapping[str, Any]
"""An item, or a value, as it is on the wire."""


class Load:
    """Units by partition; that of an index is named after it."""

    def __init__(self) -> None:
        self.reads: defaultdict[str, float] = defaultdict(float)
        self.writes: defaultdict[str, float] = defaultdict(float)

    def asked(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        """Before a call: keep what is asked."""
        context[ID] = params

    def answered(self, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        """After a call: add what it took."""
        params = context[ID]
        match model.name:
            case "GetItem":
                self._read(params["Key"], parsed.get("Item"), params)
            case "BatchGetItem":
                for table, asked in params["RequestItems"].items():
                    found = {_key(item): item for item in parsed.get("Responses", {}).get(table, [])}
                    for key in asked["Keys"]:
                        self._read(key, found.get(_key(key)), asked)
            case "Query":
                self._query(params, parsed)
            case "PutItem":
                self._write(params["Item"])
            case "UpdateItem":
                self._write(params["Key"])
            case "TransactWriteItems":
                for action in params["TransactItems"]:
                    (asked,) = action.values()
                    self._write(asked.get("Item") or asked["Key"], times=2)
            case other:
                raise NotImplementedError(other)

    def _read(self, key: Typed, item: Typed | None, asked: Mapping[str, Any]) -> None:
        units = max(1, math.ceil(_size(item or {}) / READ_BYTES))
        self.reads[key["pk"]["S"]] += units * (1 if asked.get("ConsistentRead") else 0.5)

    def _query(self, params: dict[str, Any], parsed: dict[str, Any]) -> None:
        index, partition = params.get("IndexName"), params["ExpressionAttributeValues"][":pk"]["S"]
        units = max(1, math.ceil(sum(map(_size, parsed["Items"])) / READ_BYTES))
        name = f"{index}: {partition}" if index else partition
        self.reads[name] += units * (1 if params.get("ConsistentRead") else 0.5)

    def _write(self, item: Typed, times: int = 1) -> None:
        units = max(1, math.ceil(_size(item) / WRITE_BYTES)) * times
        self.writes[item["pk"]["S"]] += units
        for name in item:
            if name.startswith("gsi") and name.endswith("pk"):
                self.writes[f"{name.removesuffix('pk')}: {item[name]['S']}"] += 1


@contextmanager
def loaded() -> Iterator[Load]:
    """Adds up while the block runs; its client must have been made before (a first call makes it)."""
    load, events = Load(), client("dynamodb").meta.events
    handlers = (("provide-client-params.dynamodb", load.asked), ("after-call.dynamodb", load.answered))
    for name, handler in handlers:
        events.register(name, handler, unique_id=f"{ID}-{name}")
    try:
        yield load
    finally:
        for name, handler in handlers:
            events.unregister(name, handler, unique_id=f"{ID}-{name}")


def _key(item: Typed) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _size(item: Typed) -> int:
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(typed: Typed) -> int:
    """Bytes of a value, by DynamoDB's rules for item sizes."""
    ((kind, value),) = typed.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return len(value) // 2 + 2
        case "B":
            return len(value)
        case "L":
            return 3 + sum(1 + _value_size(each) for each in value)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_size(each) for name, each in value.items())
        case _:
            return 1
