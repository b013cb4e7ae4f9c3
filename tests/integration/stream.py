"""The table's stream without a stream: every write that goes through the store, as records for relay."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from functions.store import table, wire
from functions.store.table import Item
from tests.integration.kami import Json, Kami

AT = 1_800_000_000


def image(item: Item) -> Json:
    """An item as a stream record has it: JSON, binaries in Base64."""
    typed = {name: wire.write(value) for name, value in item.items()}
    parsed: Json = json.loads(json.dumps(typed, default=lambda raw: b64encode(raw).decode()))
    return parsed


def record(old: Item | None, new: Item | None, sequence: int = 1, at: float = AT) -> Json:
    """One record of a DynamoDB stream as Lambda passes it on."""
    shown = new or old or {}
    images = {"OldImage": image(old) if old else None, "NewImage": image(new) if new else None}
    return {
        "eventID": f"{sequence:032x}",
        "eventName": "REMOVE" if new is None else "MODIFY" if old else "INSERT",
        "eventSource": "aws:dynamodb",
        "eventVersion": "1.1",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": at,
            "Keys": image({name: shown[name] for name in ("pk", "sk") if name in shown}),
            "SequenceNumber": str(sequence),
            "SizeBytes": 100,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **{name: typed for name, typed in images.items() if typed is not None},
        },
    }


class Tape:
    """The writes of versioned items while it runs, by key and version; each becomes a record, a second apart."""

    def __init__(self) -> None:
        self.images: dict[tuple[str, int], Item] = {}
        self.order: list[tuple[str, int]] = []

    def keep(self, item: Item) -> None:
        name = item["pk"], item["version"]
        self.images[name] = item
        self.order.append(name)

    def records(self, *, same_second: bool = False) -> list[Json]:
        return [
            record(self.images.get((pk, version - 1)), self.images[pk, version], n, AT + (0 if same_second else n))
            for n, (pk, version) in enumerate(self.order, 1)
        ]


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tape]:
    """Everything that is written in this process from here on."""
    tape, put, put_all = Tape(), table.put, table.put_all

    def put_too(item: Item, seen_version: int) -> None:
        put(item, seen_version)
        tape.keep(item)

    def put_all_too(writes: list[table.Write], command: str, by: Any) -> None:
        put_all(writes, command, by)
        for entity, thing, _ in writes:
            tape.keep(entity.item(thing, command, by))

    with monkeypatch.context() as patch:
        patch.setattr(table, "put", put_too)
        patch.setattr(table, "put_all", put_all_too)
        yield tape


def relay(kami: Kami, records: Iterable[Json]) -> list[str]:
    """Hands relay a batch; returns the sequence numbers that it reports."""
    answer = kami.cloud.invoke("relay", {"Records": list(records)})
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
