"""DynamoDB's typed values, both ways, for the types that items here are made of: no floats, no sets.

boto3's serializer would do, at the price of importing boto3 on each cold start and of a Decimal for every integer.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any


def write(value: Any) -> dict[str, Any]:
    """A value as DynamoDB takes it. Raises TypeError for what no item here may hold."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}
        case int():
            return {"N": str(value)}
        case bytes():
            return {"B": value}
        case list() | tuple():
            return {"L": [write(each) for each in value]}
        case dict():
            return {"M": {name: write(each) for name, each in value.items()}}
        case _:
            raise TypeError(f"no item holds a {type(value).__name__}")


def read(wire: Mapping[str, Any]) -> Any:
    """The value of what DynamoDB gave, or its stream, whose JSON has binaries in Base64."""
    ((kind, value),) = wire.items()
    return _READ[kind](value)


_READ: dict[str, Callable[[Any], Any]] = {
    "NULL": lambda _: None,
    "BOOL": bool,
    "S": str,
    "N": int,
    "B": lambda value: b64decode(value) if isinstance(value, str) else bytes(value),
    "L": lambda values: [read(each) for each in values],
    "M": lambda values: {name: read(each) for name, each in values.items()},
}
