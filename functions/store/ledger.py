"""The ledger's items: accounts, their lines, disputes, and which lots moved on which day.

An account and the lines that it enters are written in one transaction: the account on its version, each line if it is
not there. A module of its own, for functions that redeem must not pay for it at their start.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.ledger import Account, Dispute, Entered, Line, Movement, Name, disputed, entered
from functions.domain.lot import Lot
from functions.domain.serials import LOT_SIZE
from functions.domain.times import rfc3339
from functions.domain.voucher import DAY_S
from functions.store import keys, table
from functions.store.entities import LOT
from functions.store.table import CONFLICTS_MAX, Conflict, Entity, Item, Write

ACCOUNT: Entity[Account] = Entity(
    "account",
    Account,
    key=lambda a: keys.account(a.position, a.generation),
    index=lambda a: keys.account_in_lot(a.position, a.generation),
)
LINE: Entity[Line] = Entity(
    "line", Line, key=lambda line: keys.ledger_line(line.position, line.generation, *line.movement.name)
)
DISPUTE: Entity[Dispute] = Entity(
    "dispute",
    Dispute,
    key=lambda d: keys.dispute(d.position, d.generation, *d.movement.name, d.movement.at, d.reason),
)
T = TypeVar("T", bound=Any)
MOVED_KEPT_S = 40 * DAY_S
LINES_PER_READ = 1_000
_NOTED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Moved:
    """That value of a lot's vouchers moved on a date."""

    date: str
    lot: int
    ttl_epoch_s: int
    version: int = 0


MOVED: Entity[Moved] = Entity("moved", Moved, key=lambda m: keys.moved(m.date, m.lot))
Decision = tuple[Account, Entered]
"""An account as it was read (or is opened), and what becomes of it."""
_noted: dict[tuple[str, int], None] = {}
"""What this process knows to be noted."""


def post(
    position: int, generation: int, currency: str, movement: Movement, by: By, now: int, command: str = "post"
) -> Entered:
    """Enter a movement, and say what became of it; by `restore` it is not told again that it was.

    Raises LookupError where there is no such lot, Refusal `try_again`, TooManyWaiting.
    """
    _note_moved(position // LOT_SIZE, now, by)
    lot_key = keys.lot(position // LOT_SIZE)
    account_key = keys.account(position, generation)
    line_keys = {name: keys.ledger_line(position, generation, *name) for name in (movement.name, movement.counterpart)}

    def decide() -> Decision:
        """The account is read before its lines, so that what it has entered is seen: a line that came in between fails
        the write on the account's version. One read of all is not one moment's picture."""
        items = table.get_many([account_key, lot_key])
        items |= table.get_many(line_keys.values())
        if lot_key not in items:
            raise LookupError("no such lot")
        if account_key in items:
            account = ACCOUNT.load(items[account_key])
        else:
            opened_minor = face_value(LOT.load(items[lot_key]), position, generation)
            account = Account(position, generation, currency, opened_minor, opened_minor)
        known = {name: LINE.load(items[key]) for name, key in line_keys.items() if key in items}
        return account, entered(account, movement, known)

    return _written(decide, command, by)


def face_value(lot: Lot, position: int, generation: int) -> int:
    """What an account is opened with: nothing, where the lot has not given out that generation."""
    segment = lot.segment(position % LOT_SIZE)
    return lot.rules.amount_minor if segment is not None and generation <= segment.generation else 0


def dispute(position: int, generation: int, name: Name, by: By) -> Entered:
    """Dispute a movement unless it was entered. Raises LookupError where there is no such account."""

    def decide() -> Decision:
        account = table.read(ACCOUNT, keys.account(position, generation))
        if account is None:
            raise LookupError("no such account")
        return account, disputed(account, name)

    return _written(decide, "dispute", by)


def _written(decide: Callable[[], Decision], command: str, by: By) -> Entered:
    """Write what was decided; where another came first, decide anew on what it left."""
    for _ in range(CONFLICTS_MAX):
        before, outcome = decide()
        after, lines, dispute = outcome
        if after is before:
            if dispute is not None:
                with suppress(Conflict):  # it is known
                    table.put(DISPUTE.item(replace(dispute, version=1), command, by), 0)
            return outcome
        after = replace(after, version=before.version + 1)
        writes: list[Write] = [(ACCOUNT, after, before.version)]
        writes += ((LINE, replace(line, version=1), 0) for line in lines)
        if dispute is not None:
            writes.append((DISPUTE, replace(dispute, version=1), 0))
        if not table.commit(writes, [], "", command, by):
            return outcome
    raise Refusal("try_again", "Others are at the same account.", retry_after_s=1)


def of_voucher(position: int, items_max: int) -> tuple[tuple[Account, ...], tuple[Line, ...], tuple[Dispute, ...]]:
    """Accounts, lines and disputes of a voucher, up to so many together."""
    items = table.query(keys.ledger_of(position), limit=items_max, index="")
    return _of(ACCOUNT, items), _of(LINE, items), _of(DISPUTE, items)


def _of(kind: Entity[T], items: list[Item]) -> tuple[T, ...]:
    return tuple(kind.load(item) for item in items if item["entity"] == kind.name)


def _note_moved(lot: int, now: int, by: By) -> None:
    """Note that value of a lot moves today, before it does; a process does so once for each lot and day."""
    moved = Moved(date_of(now), lot, now + MOVED_KEPT_S, version=1)
    if (moved.date, lot) in _noted:
        return
    with suppress(Conflict):
        table.put(MOVED.item(moved, "post", by), 0)
    if len(_noted) >= _NOTED_MAX:
        _noted.clear()
    _noted[moved.date, lot] = None


def date_of(at: int) -> str:
    """The date (UTC) by which lots are noted."""
    return rfc3339(at)[:10]


def moved_on(date: str) -> list[int]:
    """The lots of which value moved on a date, ascending."""
    numbers: list[int] = []
    place = None
    while items := table.query(keys.moved_on(date), limit=LINES_PER_READ, after=place, index=""):
        numbers += (MOVED.load(item).lot for item in items)
        place = items[-1]["sk"]
    return numbers
