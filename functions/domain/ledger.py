"""The ledger (账本): each movement of value is a line with the balance that it leaves, and value leaves only after it.

A voucher of one generation has one account. It is opened at the face value and never goes below nothing, whatever its
voucher's item says by then: of a card that was used and set back to unused, the second use finds nothing left here.

Movements come in any order, any number of times. One whose turn has not come **waits** in its account: a redemption
that exceeds the balance, since a reversal may still be on its way, and a reversal whose redemption is not there yet.
What has waited for long is **disputed**; it goes on waiting, and is entered should the missing movement come after all.
A redemption that cannot be entered and its reversal cancel each other: both get a line, and no value moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

WAITING_MAX = 100
"""As many as a voucher may have redemptions."""


class Kind(StrEnum):
    """What a movement does: a redemption takes value, its reversal gives it back.

    Where a voucher is replaced, what was left is `reissued` to its successor, which is `issued` with as much and loses
    what it has beyond that. A reversal of the old one's redemption is `passed_on`, and `credited` to the successor.
    """

    REDEEMED = "redeemed"
    REVERSED = "reversed"
    REISSUED = "reissued"
    ISSUED = "issued"
    PASSED_ON = "passed_on"
    CREDITED = "credited"


Name = tuple[Kind, str]
"""Kind and redemption, or recovery: there is at most one movement of a name."""
COUNTERPARTS = {Kind.REDEEMED: Kind.REVERSED, Kind.REVERSED: Kind.REDEEMED}


class Reason(StrEnum):
    """Why a movement is disputed."""

    OVERDRAWN = "overdrawn"
    UNKNOWN_REDEMPTION = "unknown_redemption"
    TOLD_DIFFERENTLY = "told_differently"


class Movement(NamedTuple):
    """What an event says about value. A redemption's id names at most one movement of each kind.

    `event` and `at` are the event's; `reversal` is the id of a reversal.
    """

    kind: Kind
    redemption: str
    amount_minor: int
    event: str
    at: int
    reversal: str | None = None
    disputed: bool = False

    @property
    def name(self) -> Name:
        """What a line of it is found by."""
        return self.kind, self.redemption

    @property
    def counterpart(self) -> Name:
        """The name of the reversal of a redemption, and the other way round; else its own."""
        return COUNTERPARTS.get(self.kind, self.kind), self.redemption

    @property
    def told(self) -> tuple[Kind, str, int, int, str | None]:
        """What it says, however often it is told: not which event it was, whose id begins with the incarnation."""
        return self.kind, self.redemption, self.amount_minor, self.at, self.reversal


@dataclass(frozen=True, slots=True)
class Account:
    """The value of a voucher in one generation. `lines` counts what was entered, `waiting` is what was not yet."""

    position: int
    generation: int
    currency: str
    opened_minor: int
    balance_minor: int
    lines: int = 0
    waiting: tuple[Movement, ...] = ()
    version: int = 0

    def awaited(self, name: Name) -> Movement | None:
        """The movement of this name that waits."""
        return next((movement for movement in self.waiting if movement.name == name), None)


@dataclass(frozen=True, slots=True)
class Line:
    """A movement that was entered as the `number`-th of its account, with the balance after it; written once.

    Where it is not `posted`, it was cancelled together with its counterpart and moved nothing.
    """

    position: int
    generation: int
    number: int
    movement: Movement
    currency: str
    balance_minor: int
    posted: bool = True
    version: int = 0


@dataclass(frozen=True, slots=True)
class Dispute:
    """That a movement was not entered, why, and what the balance was then; written once."""

    position: int
    generation: int
    movement: Movement
    currency: str
    balance_minor: int
    reason: Reason
    version: int = 0


class Entered(NamedTuple):
    """What became of a movement: its account afterwards, the lines that are new, and its dispute, if any."""

    account: Account
    lines: tuple[Line, ...] = ()
    dispute: Dispute | None = None


class TooManyWaiting(Exception):  # noqa: N818 - somebody must look
    """An account in which nothing has its turn any more."""


def entered(account: Account, movement: Movement, known: Mapping[Name, Line]) -> Entered:
    """Enter a movement, and whatever has its turn by that. `known` are the lines of its redemption that are there.

    What is there already, or waits already, changes nothing; if it says something else, or a reversal another amount
    than its redemption, it is disputed. Raises TooManyWaiting.
    """
    before, other = (_known(account, name, known) for name in (movement.name, movement.counterpart))
    if before is not None and before.told == movement.told:
        return Entered(account)
    if before is not None or (other is not None and other.amount_minor != movement.amount_minor):
        return Entered(account, dispute=_dispute(account, movement, Reason.TOLD_DIFFERENTLY))
    if len(account.waiting) >= WAITING_MAX:
        raise TooManyWaiting
    posted = {redemption for (kind, redemption), line in known.items() if kind is Kind.REDEEMED and line.posted}
    grown, lines = _in_turn(replace(account, waiting=(*account.waiting, movement)), posted)
    return Entered(grown, lines)


def _known(account: Account, name: Name, known: Mapping[Name, Line]) -> Movement | None:
    line = known.get(name)
    return line.movement if line is not None else account.awaited(name)


def _in_turn(account: Account, posted: set[str]) -> tuple[Account, tuple[Line, ...]]:
    """Enter what waits and has its turn, until nothing has; `posted` are redemptions that may be reversed."""
    lines: list[Line] = []
    while True:
        due = next((m for m in account.waiting if _change(account, m, posted) is not None), None)
        if due is not None:
            change = _change(account, due, posted)
            assert change is not None
            if due.kind is Kind.REDEEMED:
                posted.add(due.redemption)
            account, line = _with_line(account, due, change)
            lines.append(line)
        elif (pair := _cancelled(account)) is not None:
            for movement in pair:
                account, line = _with_line(account, movement, None)
                lines.append(line)
        else:
            return account, tuple(lines)


def _change(account: Account, movement: Movement, posted: Iterable[str]) -> int | None:
    """How the balance changes by a movement whose turn it is."""
    change = moved(movement, account.opened_minor)
    is_due = movement.redemption in posted if movement.kind is Kind.REVERSED else account.balance_minor + change >= 0
    return change if is_due else None


def moved(movement: Movement, opened_minor: int) -> int:
    """By how much a movement changes the balance of an account that was opened with so much."""
    if movement.kind in (Kind.REVERSED, Kind.CREDITED):
        return movement.amount_minor
    return movement.amount_minor - opened_minor if movement.kind is Kind.ISSUED else -movement.amount_minor


def _cancelled(account: Account) -> tuple[Movement, Movement] | None:
    """A redemption that cannot be entered, with its reversal."""
    for redemption in account.waiting:
        if redemption.kind is Kind.REDEEMED:
            reversal = account.awaited((Kind.REVERSED, redemption.redemption))
            if reversal is not None:
                return redemption, reversal
    return None


def _with_line(account: Account, movement: Movement, change: int | None) -> tuple[Account, Line]:
    grown = replace(
        account,
        balance_minor=account.balance_minor + (change or 0),
        lines=account.lines + 1,
        waiting=tuple(other for other in account.waiting if other.name != movement.name),
    )
    line = Line(
        position=account.position,
        generation=account.generation,
        number=grown.lines,
        movement=movement._replace(disputed=False),
        currency=account.currency,
        balance_minor=grown.balance_minor,
        posted=change is not None,
    )
    return grown, line


def disputed(account: Account, name: Name) -> Entered:
    """Dispute a movement that still waits; what was entered, or is disputed already, changes nothing."""
    movement = account.awaited(name)
    if movement is None or movement.disputed:
        return Entered(account)
    reason = Reason.UNKNOWN_REDEMPTION if movement.kind is Kind.REVERSED else Reason.OVERDRAWN
    marked = tuple(m._replace(disputed=True) if m.name == name else m for m in account.waiting)
    return Entered(replace(account, waiting=marked), dispute=_dispute(account, movement, reason))


def _dispute(account: Account, movement: Movement, reason: Reason) -> Dispute:
    place = account.position, account.generation
    return Dispute(*place, movement, account.currency, account.balance_minor, reason)
