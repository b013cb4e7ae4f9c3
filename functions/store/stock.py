"""Which lots a channel holds vouchers of.

A line says that a channel has held some of a lot, and is never taken away: what is held by now is said by the lot. So
relay may write a line late or twice, and whoever reads lines sees each lot as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from functions.domain.channel import held_by
from functions.domain.events import Holding
from functions.domain.lot import Lot
from functions.store import keys, table
from functions.store.lots import read_many
from functions.store.table import Conflict, Entity

STOCK: Entity[Holding] = Entity("stock", Holding, key=lambda h: keys.stock(h.channel, h.lot))
LINES_PER_READ = 1_000


def note(holdings: Iterable[Holding]) -> None:
    """Write the lines that are not there yet."""
    for holding in dict.fromkeys(holdings):
        try:
            table.put(STOCK.item(holding, "hold", holding.by), 0)
        except Conflict:
            continue


def lots_of(channel: str, limit: int, after: int | None = None) -> list[int]:
    """The next numbers of lots that a channel has held vouchers of, ascending."""
    place = keys.stock(channel, after).sk if after is not None else None
    items = table.query(keys.stock_of(channel), limit=limit, after=place, index="")
    return [STOCK.load(item).lot for item in items]


def held(channel: str, numbers: Iterable[int]) -> list[Lot]:
    """Those of the lots in which a channel holds something now."""
    found = read_many(numbers)
    return [lot for _, lot in sorted(found.items()) if held_by(channel, lot)]
