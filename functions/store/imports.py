"""What is kept of imports: their items and those of their codes.

A module of its own, for functions that redeem must not pay for it at their start.
"""

from __future__ import annotations

from functions.domain.imported import Imported
from functions.store import keys
from functions.store.table import Entity

IMPORTED: Entity[Imported] = Entity(
    "imported",
    Imported,
    key=lambda i: keys.code(i.blind_index),
    index=lambda i: keys.imported(i.position),
)
