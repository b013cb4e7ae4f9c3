"""Lists of a kind of item, newest first: the next of each partition, merged."""

from __future__ import annotations

from typing import TypeVar

from functions.domain.actor import By
from functions.store import cursors, keys, table
from functions.store.table import Entity

T = TypeVar("T")


def page(entity: Entity[T], limit: int, cursor: str | None, by: By, *within: str) -> tuple[list[T], str | None]:
    """The next `limit` things of a kind, or of those in the index partitions `within`, and the cursor of what follows.

    Raises Refusal `invalid_cursor`.
    """
    bound_to = (by.client, entity.name, *within)
    after = cursors.unseal(cursor, *bound_to) if cursor is not None else None
    entries = [
        entry
        for partition in within or keys.list_of(entity.name)
        for entry in table.query(partition, limit=limit + 1, after=after, newest_first=True)
    ]
    entries.sort(key=lambda entry: str(entry["gsi1sk"]), reverse=True)
    shown, more = entries[:limit], len(entries) > limit
    wanted = [keys.Key(entry["pk"], entry["sk"]) for entry in shown]
    items = table.get_many(wanted)
    things = [entity.load(items[key]) for key in wanted if key in items]  # what has expired leaves the index later
    return things, cursors.seal(shown[-1]["gsi1sk"], *bound_to) if more else None
