"""Lists of a kind of item, newest first: the next of each shard, merged."""

from __future__ import annotations

from typing import TypeVar

from functions.domain.actor import By
from functions.store import cursors, keys, table
from functions.store.table import Entity

T = TypeVar("T")


def page(entity: Entity[T], limit: int, cursor: str | None, by: By) -> tuple[list[T], str | None]:
    """The next `limit` things and the cursor of what follows. Raises Refusal `invalid_cursor`."""
    bound_to = (by.client, entity.name)
    after = cursors.unseal(cursor, *bound_to) if cursor is not None else None
    entries = [
        entry
        for shard in range(keys.LIST_SHARDS)
        for entry in table.query(keys.list_shard(entity.name, shard), limit=limit + 1, after=after, newest_first=True)
    ]
    entries.sort(key=lambda entry: str(entry["gsi1sk"]), reverse=True)
    shown, more = entries[:limit], len(entries) > limit
    items = table.get_many(keys.Key(entry["pk"], entry["sk"]) for entry in shown)
    things = [entity.load(items[keys.Key(entry["pk"], entry["sk"])]) for entry in shown]
    return things, cursors.seal(shown[-1]["gsi1sk"], *bound_to) if more else None
