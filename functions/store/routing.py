"""What all workers share about the providers of SMS: the routes, each one's breaker, and how many a second it is given.

A worker takes a provider's tokens for a second in blocks, so that the limit holds whoever takes them and a message
costs a call only now and then. What of a block is not used within its second is lost.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from functions.domain.health import Health
from functions.domain.routing import Routes
from functions.store import keys, table
from functions.store.table import Entity

ROUTES: Entity[Routes] = Entity("routing", Routes, key=lambda _: keys.routing())
HEALTH: Entity[Health] = Entity("provider", Health, key=lambda health: keys.provider(health.provider))
BLOCKS = 10
"""A block is such a part of a second's tokens."""
KEPT_S = 3_600


class Block(NamedTuple):
    """What is left of the tokens that were taken for a second; `more` may be had."""

    second: int
    left: int
    more: bool


class Tokens:
    """One worker's tokens; its threads share them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, Block] = {}

    def take(self, provider: str, rate_per_s: int | None, second: int) -> bool:
        """Take one for this second; says whether there was one."""
        if rate_per_s is None:
            return True
        with self._lock:
            block = self._held.get(provider)
            if block is None or block.second != second:
                block = Block(second, 0, more=True)
            if not block.left and block.more:
                wanted = max(1, rate_per_s // BLOCKS)
                left = table.add_up_to(keys.rate(provider, second), wanted, rate_per_s, second + KEPT_S)
                block = Block(second, left, more=left == wanted)
            self._held[provider] = block._replace(left=max(block.left - 1, 0))
            return block.left > 0
