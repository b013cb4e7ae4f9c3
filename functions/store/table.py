"""The table: consistent reads, and writes that are conditional on the version that was read."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar, cast

from pydantic import TypeAdapter

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.store import wire
from functions.store.aws import client
from functions.store.keys import Key

READ_ROUNDS_MAX = 4
"""Keys that DynamoDB leaves unprocessed are asked for again so many times; then the answer is 503."""
CONFLICTS_MAX = 24
"""A write that meets another one decides anew on what the other left, so many times; then the answer is 503."""
BATCH_GET_MAX = 100
PASSING = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
"""Why a transaction may be cancelled that succeeds a moment later."""
TABLE_NAME = "TABLE_NAME"

Item = dict[str, Any]
T = TypeVar("T", bound=Any)


@dataclass(frozen=True)
class Entity(Generic[T]):
    """A kind of item: its key, its places in `gsi1` to `gsi3` if any, and the dataclass it is read into."""

    name: str
    type: type[T]
    key: Callable[[T], Key]
    index: Callable[[T], Key | None] | None = None
    index2: Callable[[T], Key | None] | None = None
    index3: Callable[[T], Key | None] | None = None

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self.type)

    def load(self, item: Item) -> T:
        """The dataclass of an item."""
        return self._adapter.validate_python(item)

    def item(self, thing: T, command: str, by: By) -> Item:
        """The item of a dataclass at the version that it is written as."""
        stored: Item = self._adapter.dump_python(thing, exclude_defaults=True)
        stored |= {**self.key(thing)._asdict(), "entity": self.name, "version": thing.version}
        stored["last"] = {"command": command, **by._asdict()}
        for name, place_of in (("gsi1", self.index), ("gsi2", self.index2), ("gsi3", self.index3)):
            place = place_of(thing) if place_of is not None else None
            if place is not None:
                stored[f"{name}pk"], stored[f"{name}sk"] = place
        return stored


class Conflict(Exception):  # noqa: N818 - the field's word for it
    """The item was not at the version that was read; `old` is what it is now."""

    def __init__(self, old: Item | None) -> None:
        super().__init__("version conflict")
        self.old = old


def table_name() -> str:
    """The table of this deployment."""
    return os.environ[TABLE_NAME]


def _wire(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: wire.write(value) for name, value in item.items()}


def _plain(typed: Mapping[str, Any]) -> Item:
    return {name: wire.read(value) for name, value in typed.items()}


def get(key: Key) -> Item | None:
    """One item, consistently."""
    reply = client("dynamodb").get_item(TableName=table_name(), Key=_wire(key._asdict()), ConsistentRead=True)
    return _plain(reply["Item"]) if "Item" in reply else None


def get_many(wanted: Iterable[Key]) -> dict[Key, Item]:
    """Up to 100 items in one consistent read; an absent key is absent from the answer.

    Raises Refusal `try_again` where DynamoDB leaves keys unprocessed: unknown is never taken as absent.
    """
    table = table_name()
    left: list[Any] = [_wire(key._asdict()) for key in dict.fromkeys(wanted)]
    if len(left) > BATCH_GET_MAX:
        raise ValueError(f"{len(left)} keys in one read")
    found: dict[Key, Item] = {}
    if not left:
        return found
    for attempt in range(READ_ROUNDS_MAX):
        reply = client("dynamodb").batch_get_item(RequestItems={table: {"Keys": left, "ConsistentRead": True}})
        responses: dict[str, Any] = reply["Responses"]
        unprocessed: dict[str, Any] = reply.get("UnprocessedKeys", {})
        for typed in responses.get(table, []):
            item = _plain(typed)
            found[Key(item["pk"], item["sk"])] = item
        left = unprocessed.get(table, {}).get("Keys", [])
        if not left:
            return found
        time.sleep(random.uniform(0, 0.05 * 2**attempt))
    raise Refusal("try_again", "Not everything could be read.", retry_after_s=1)


def get_all(wanted: Iterable[Key]) -> dict[Key, Item]:
    """Any number of items, a hundred in a read. Raises as `get_many`."""
    every = list(dict.fromkeys(wanted))
    found: dict[Key, Item] = {}
    for at in range(0, len(every), BATCH_GET_MAX):
        found |= get_many(every[at : at + BATCH_GET_MAX])
    return found


def read(entity: Entity[T], key: Key) -> T | None:
    """One thing, consistently."""
    item = get(key)
    return entity.load(item) if item is not None else None


def put(item: Item, seen_version: int) -> None:
    """Write an item if it still is at the version seen (0: if there is none). Raises Conflict."""
    dynamodb = client("dynamodb")
    try:
        dynamodb.put_item(
            TableName=table_name(),
            Item=_wire(item),
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **_unchanged(seen_version),
        )
    except dynamodb.exceptions.ConditionalCheckFailedException as refused:
        old: Any = refused.response.get("Item")
        raise Conflict(_plain(old) if old else None) from None


def _unchanged(seen_version: int) -> dict[str, Any]:
    if seen_version == 0:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {
        "ConditionExpression": "#version = :seen",
        "ExpressionAttributeNames": {"#version": "version"},
        "ExpressionAttributeValues": {":seen": {"N": str(seen_version)}},
    }


def change(entity: Entity[T], current: T | None, decide: Callable[[T | None], T | None], command: str, by: By) -> T:
    """Decide on what was read and write the outcome; where another write came first, decide anew on what it left.

    `decide` gives the new state, None to leave all as it is, or raises Refusal; it must recognise its own work, for
    a reply may be lost after the write was done and the SDK then sends it again.

    Returns what stands afterwards. Raises Refusal `try_again` after `CONFLICTS_MAX` conflicts.
    """
    for _ in range(CONFLICTS_MAX):
        wanted = decide(current)
        if wanted is None:
            assert current is not None
            return current
        seen = current.version if current is not None else 0
        wanted = replace(wanted, version=seen + 1)
        try:
            put(entity.item(wanted, command, by), seen)
        except Conflict as conflict:
            current = entity.load(conflict.old) if conflict.old is not None else None
        else:
            return wanted
    raise Refusal("try_again", "Others are changing the same thing.", retry_after_s=1)


Write = tuple[Entity[Any], Any, int]
"""An entity, the thing as it shall be at its new version, and the version seen."""


def put_all(writes: list[Write], command: str, by: By) -> None:
    """Write several things in one transaction, each conditional on its seen version.

    Only for rules that truly span items. Raises Conflict(None) where any of them moved.
    """
    dynamodb = client("dynamodb")
    table = table_name()
    actions: list[Any] = [
        {"Put": {"TableName": table, "Item": _wire(entity.item(thing, command, by)), **_unchanged(seen)}}
        for entity, thing, seen in writes
    ]
    try:
        dynamodb.transact_write_items(TransactItems=actions)
    except dynamodb.exceptions.TransactionCanceledException:
        raise Conflict(None) from None


class Bounded(NamedTuple):
    """A sum that one is added to unless it stands at its limit (which is 1 or more); some are gone after a time."""

    key: Key
    limit: int
    ttl_epoch_s: int | None = None


def commit(writes: list[Write], bounded: Sequence[Bounded], entity: str, command: str, by: By) -> set[int]:
    """Write several things, each conditional on its seen version, and count on sums (items of `entity`), or nothing.

    Says whose condition failed, if any, by its place among the writes and then the sums. At most 100 together. A lone
    thing is put without a transaction. Raises Refusal `try_again` where others are at the same items for too long.
    """
    if len(writes) == 1 and not bounded:
        ((kind, thing, seen),) = writes
        try:
            put(kind.item(thing, command, by), seen)
        except Conflict:
            return {0}
        return set()
    table = table_name()
    actions: list[Any] = [
        *({"Put": {"TableName": table, "Item": _wire(kind.item(thing, command, by)), **_unchanged(seen)}}
          for kind, thing, seen in writes),
        *({"Update": {"TableName": table, **_one_more(each, entity)}} for each in bounded),
    ]  # fmt: skip
    return set(_transact(actions, "Others are at the same vouchers."))


def _one_more(sum: Bounded, entity: str) -> dict[str, Any]:
    expires, ttl = ("", {}) if sum.ttl_epoch_s is None else (", ttl_epoch_s = :ttl", {":ttl": sum.ttl_epoch_s})
    return {
        "Key": _wire(sum.key._asdict()),
        "UpdateExpression": f"SET entity = :entity{expires} ADD #used :one",
        "ConditionExpression": "attribute_not_exists(#used) OR #used < :limit",
        "ExpressionAttributeNames": {"#used": "used"},
        "ExpressionAttributeValues": _wire({":entity": entity, ":one": 1, ":limit": sum.limit, **ttl}),
    }


def put_new(
    items: list[Item], sums: Mapping[Key, Mapping[str, int]], entity: str, tries: int = CONFLICTS_MAX
) -> dict[int, Item]:
    """Write items that must not be there yet and add to sums (items of an entity), all in one transaction.

    Gives those that are there already, by the number of their item; if any is, nothing was written. At most 100 items
    and sums together, each named once. Raises Refusal `try_again` where it met others at the same ones in all tries.
    """
    table = table_name()
    told = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    actions: list[Any] = [
        *({"Put": {"TableName": table, "Item": _wire(item), **_unchanged(0), **told}} for item in items),
        *({"Update": {"TableName": table, **_addition(key, added, entity)}} for key, added in sums.items()),
    ]
    return _transact(actions, "Others are writing the same.", tries)


def put_together(items: list[tuple[Item, int]]) -> set[int]:
    """Write items, each if it still is at the version seen (0: if there is none), all in one transaction.

    Says whose condition failed, by place; then nothing was written. At most 100 items. Raises Refusal `try_again` where
    others are at the same ones for too long.
    """
    table = table_name()
    actions = [{"Put": {"TableName": table, "Item": _wire(item), **_unchanged(seen)}} for item, seen in items]
    return set(_transact(actions, "Others are writing the same."))


def _transact(actions: list[Any], busy: str, tries: int = CONFLICTS_MAX) -> dict[int, Item]:
    """Which conditions of a transaction failed, with the item that is there where that was asked for.

    It is tried again where it met another: of that one's items some may be written already and others not yet.
    """
    dynamodb = client("dynamodb")
    for attempt in range(tries):
        try:
            dynamodb.transact_write_items(TransactItems=actions)
        except dynamodb.exceptions.TransactionCanceledException as refused:
            reasons: Any = refused.response.get("CancellationReasons", [])
            codes = [reason.get("Code") for reason in reasons]
            if "ConditionalCheckFailed" in codes and PASSING.isdisjoint(codes):
                failed = [n for n, code in enumerate(codes) if code == "ConditionalCheckFailed"]
                return {n: _plain(reasons[n].get("Item", {})) for n in failed}
            if not PASSING & set(codes):
                raise
            time.sleep(random.uniform(0, min(0.5, 0.02 * 2**attempt)))
        else:
            return {}
    raise Refusal("try_again", busy, retry_after_s=1)


def _addition(key: Key, added: Mapping[str, int], entity: str) -> dict[str, Any]:
    names = {f"#{n}": name for n, name in enumerate(added)}
    values = {f":{n}": value for n, value in enumerate(added.values())}
    return {
        "Key": _wire(key._asdict()),
        "UpdateExpression": f"SET entity = :entity ADD {', '.join(f'#{n} :{n}' for n in range(len(added)))}",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": _wire({":entity": entity, **values}),
    }


def query(
    partition: str, *, limit: int, after: str | None = None, newest_first: bool = False, index: str = "gsi1"
) -> list[Item]:
    """Up to `limit` entries of one partition of an index (its keys and what it projects), from `after` (excluded) on.

    With `index` empty: items of the table itself, consistently.
    """
    values = {":pk": partition}
    condition = f"{index}pk = :pk"
    if after is not None:
        values[":after"] = after
        condition += f" AND {index}sk {'<' if newest_first else '>'} :after"
    entries: list[Item] = []
    start: dict[str, Any] = {"IndexName": index} if index else {"ConsistentRead": True}
    while len(entries) < limit:
        reply = client("dynamodb").query(
            TableName=table_name(),
            KeyConditionExpression=condition,
            ExpressionAttributeValues=_wire(values),
            ScanIndexForward=not newest_first,
            Limit=limit - len(entries),
            **start,
        )
        entries += (_plain(typed) for typed in reply["Items"])
        if "LastEvaluatedKey" not in reply:
            break
        start["ExclusiveStartKey"] = reply["LastEvaluatedKey"]
    return entries


def add_below(key: Key, limit: int, ttl_epoch_s: int) -> bool:
    """Count one more on a transient counter unless it stands at `limit`; says whether it was counted."""
    return add_up_to(key, 1, limit, ttl_epoch_s) == 1


def add_up_to(key: Key, wanted: int, limit: int, ttl_epoch_s: int) -> int:
    """Count so many more on a transient counter, or as many as it lacks of `limit`; says how many were counted.

    The counter keeps a mark of the call that raised it last, so that a call whose reply was lost, and which the SDK
    sends again, counts once. None are counted where others are at the same counter for too long.
    """
    dynamodb = client("dynamodb")
    mark, amount = f"{random.getrandbits(64):016x}", min(wanted, limit)
    for _ in range(CONFLICTS_MAX):
        try:
            dynamodb.update_item(
                TableName=table_name(),
                Key=_wire(key._asdict()),
                UpdateExpression="ADD #count :amount SET #mark = :mark, ttl_epoch_s = :ttl",
                ConditionExpression="attribute_not_exists(#count) OR (#count <= :room AND #mark <> :mark)",
                ExpressionAttributeNames={"#count": "count", "#mark": "mark"},
                ExpressionAttributeValues=_wire(
                    {":amount": amount, ":mark": mark, ":ttl": ttl_epoch_s, ":room": limit - amount}
                ),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except dynamodb.exceptions.ConditionalCheckFailedException as refused:
            old = _plain(cast("Any", refused.response).get("Item", {}))
            if old.get("mark") == mark:
                return amount
            if old.get("count", limit) >= limit:
                return 0
            amount = min(amount, limit - old["count"])
        else:
            return amount
    return 0


def take_back(key: Key) -> None:
    """Count one less on a transient counter that was raised; where the SDK sends it again, it may be two."""
    dynamodb = client("dynamodb")
    with suppress(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.update_item(
            TableName=table_name(),
            Key=_wire(key._asdict()),
            UpdateExpression="ADD #count :less",
            ConditionExpression="#count > :none",
            ExpressionAttributeNames={"#count": "count"},
            ExpressionAttributeValues=_wire({":less": -1, ":none": 0}),
        )
