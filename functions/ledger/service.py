"""Enter what the events say about value, once, whatever comes twice, late or in another order."""

from __future__ import annotations

from dataclasses import dataclass

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.ledger import Account, Dispute, Line, Movement, Name
from functions.domain.serials import LOT_SIZE, position_of
from functions.store import jobs, keys, ledger, table
from functions.store.entities import LOT

PATIENCE_S = 600
"""So long a movement waits for the one that gives it its turn, before people are called."""
ITEMS_SHOWN_MAX = 1_000
ENTERED, WAITING, DISPUTED = "entered", "waiting", "disputed"
BY = By("ledger", "system", "operator", "queue", "")


@dataclass(frozen=True, slots=True)
class Card:
    """All that the ledger knows of a voucher: accounts by generation, lines as they were entered, disputes."""

    position: int
    accounts: tuple[Account, ...]
    lines: tuple[Line, ...]
    disputes: tuple[Dispute, ...]


def enter(serial: str, generation: int, currency: str, movement: Movement, by: By, now: int) -> str:
    """Enter a movement, or have it looked at again in `PATIENCE_S`.

    Says what became of it: `ENTERED` (now or before), `WAITING` or `DISPUTED`. Raises LookupError where the table knows
    nothing of the voucher, and as `ledger.post`.
    """
    outcome = ledger.post(_position(serial), generation, currency, movement, by, now)
    waiting = outcome.account.awaited(movement.name)
    if outcome.dispute is not None or (waiting is not None and waiting.disputed):
        return DISPUTED
    if waiting is None:
        return ENTERED
    late = {"serial": serial, "generation": generation, "kind": movement.kind, "redemption": movement.redemption}
    jobs.send_order({"late": late}, PATIENCE_S)
    return WAITING


def dispute(serial: str, generation: int, name: Name) -> bool:
    """Dispute a movement that is late; says whether it stands disputed now. Raises LookupError as `enter`."""
    return ledger.dispute(_position(serial), generation, name, BY).account.awaited(name) is not None


def _position(serial: str) -> int:
    position = position_of(serial)
    if position is None:
        raise LookupError("no serial")
    return position


def find(serial: str) -> Card:
    """What the ledger knows of a voucher. Raises Refusal `not_found`."""
    position = position_of(serial)
    lot = table.read(LOT, keys.lot(position // LOT_SIZE)) if position is not None else None
    if position is None or lot is None or lot.segment(position % LOT_SIZE) is None:
        raise Refusal("not_found", "There is no such voucher.")
    accounts, lines, disputes = ledger.of_voucher(position, ITEMS_SHOWN_MAX)
    return Card(position, accounts, lines, disputes)
