"""The ledger: whatever the order and however often it is told, value is conserved and nothing is overdrawn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.domain.ledger import (
    WAITING_MAX,
    Account,
    Dispute,
    Kind,
    Line,
    Movement,
    Name,
    Reason,
    TooManyWaiting,
    disputed,
    entered,
)

FACE = 5_000
OPENED = Account(7, 1, "CNY", FACE, FACE)


def taken(id: str, amount_minor: int = FACE, at: int = 1) -> Movement:
    return Movement(Kind.REDEEMED, id, amount_minor, f"1.VOUCHER#7.{at}", at)


def given_back(id: str, amount_minor: int = FACE, at: int = 2, reversal: str = "rev") -> Movement:
    return Movement(Kind.REVERSED, id, amount_minor, f"1.VOUCHER#7.{at}", at, reversal)


@dataclass
class Book:
    """An account with its lines and disputes, as the table would hold them."""

    account: Account = OPENED
    lines: dict[Name, Line] = field(default_factory=dict)
    disputes: list[Dispute] = field(default_factory=list)

    def take(self, *movements: Movement) -> Book:
        for movement in movements:
            known = {n: self.lines[n] for n in (movement.name, movement.counterpart) if n in self.lines}
            self.account, lines, dispute = entered(self.account, movement, known)
            assert not {line.movement.name for line in lines} & self.lines.keys(), "a line is written once"
            self.lines |= {line.movement.name: line for line in lines}
            self.disputes += [dispute] if dispute is not None else []
            self.adds_up()
        return self

    def adds_up(self) -> None:
        """The lines, one after the other, lead from the opening to the balance, and none is below nothing."""
        balance = self.account.opened_minor
        for number, line in enumerate(sorted(self.lines.values(), key=lambda line: line.number), 1):
            sign = -1 if line.movement.kind is Kind.REDEEMED else 1
            balance += sign * line.movement.amount_minor if line.posted else 0
            assert (line.number, line.balance_minor) == (number, balance)
            assert 0 <= balance <= self.account.opened_minor
        assert (self.account.lines, self.account.balance_minor) == (len(self.lines), balance)

    @property
    def posted(self) -> set[Name]:
        return {name for name, line in self.lines.items() if line.posted}


@st.composite
def histories(draw: st.DrawFn) -> list[Movement]:
    """What a voucher can go through: uses within its balance, some of them given back."""
    balance, open_, told = FACE, list[Movement](), list[Movement]()
    for at in range(draw(st.integers(1, 9))):
        gives_back = draw(st.booleans())
        if open_ and gives_back:
            back = open_.pop(draw(st.integers(0, len(open_) - 1)))
            told.append(given_back(back.redemption, back.amount_minor, at, f"rev-{at}"))
            balance += back.amount_minor
        elif balance:
            open_.append(taken(f"red-{at}", draw(st.integers(1, balance)), at))
            told.append(open_[-1])
            balance -= open_[-1].amount_minor
    return told


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(st.data())
def test_in_any_order_and_told_again_a_history_leaves_what_it_leaves(data: st.DataObject) -> None:
    history = data.draw(histories())
    told = data.draw(st.permutations([*history, *data.draw(st.lists(st.sampled_from(history), max_size=5))]))
    book = Book().take(*told)
    taken_minor = {m.redemption: m.amount_minor for m in history if m.kind is Kind.REDEEMED}
    kept = [id for id in taken_minor if (Kind.REVERSED, id) not in {m.name for m in history}]
    assert (book.account.waiting, book.disputes) == ((), [])
    assert book.lines.keys() == {movement.name for movement in history}
    assert book.account.balance_minor == FACE - sum(taken_minor[id] for id in kept)
    assert book.posted >= {(Kind.REDEEMED, id) for id in kept}
    assert all((movement.name in book.posted) == (movement.counterpart in book.posted) for movement in history
               if movement.redemption not in kept)  # fmt: skip
    assert Book().take(*history).posted == {movement.name for movement in history}, "in order all is posted"


def test_a_second_use_of_a_used_card_waits_and_is_then_disputed() -> None:
    book = Book().take(taken("one"), taken("two", at=9))
    assert (book.posted, book.account.balance_minor) == ({(Kind.REDEEMED, "one")}, 0)
    marked, lines, dispute = disputed(book.account, (Kind.REDEEMED, "two"))
    assert lines == ()
    assert dispute is not None
    assert (dispute.reason, dispute.balance_minor, dispute.movement.redemption) == (Reason.OVERDRAWN, 0, "two")
    assert disputed(marked, (Kind.REDEEMED, "two")) == (marked, (), None)
    assert disputed(marked, (Kind.REDEEMED, "one")) == (marked, (), None)


def test_a_disputed_use_is_posted_should_the_reversal_come_after_all() -> None:
    book = Book().take(taken("one"), taken("two", at=3))
    book.account = disputed(book.account, (Kind.REDEEMED, "two")).account
    book.take(given_back("one"))
    assert book.posted == {(Kind.REDEEMED, "one"), (Kind.REVERSED, "one"), (Kind.REDEEMED, "two")}
    assert (book.account.balance_minor, book.account.waiting) == (0, ())
    assert not any(line.movement.disputed for line in book.lines.values())


def test_the_reversal_of_a_use_that_was_not_posted_gives_nothing_back() -> None:
    """Else a used card that was set back to unused could be used twice and given back once."""
    book = Book().take(taken("one"), taken("two", at=9))
    book.account = disputed(book.account, (Kind.REDEEMED, "two")).account
    book.take(given_back("two", at=10), taken("two", at=9), given_back("two", at=10))
    assert (book.posted, book.account.balance_minor, book.account.waiting) == ({(Kind.REDEEMED, "one")}, 0, ())
    assert len(book.lines) == 3
    book.take(taken("three", at=11))
    assert book.account.awaited((Kind.REDEEMED, "three")) is not None


def test_a_reversal_waits_for_its_redemption() -> None:
    book = Book().take(given_back("one"))
    assert (book.lines, book.account.balance_minor) == ({}, FACE)
    dispute = disputed(book.account, (Kind.REVERSED, "one")).dispute
    assert dispute is not None
    assert dispute.reason is Reason.UNKNOWN_REDEMPTION
    assert book.take(taken("one")).posted == {(Kind.REDEEMED, "one"), (Kind.REVERSED, "one")}


@pytest.mark.parametrize(
    "told",
    [taken("one", 1), taken("one", at=99), given_back("one", 1), given_back("one", FACE + 1)],
    ids=["another amount", "another time", "less given back", "more given back"],
)
def test_what_is_told_differently_is_disputed_and_moves_nothing(told: Movement) -> None:
    before = Book().take(taken("one"))
    after = Book().take(taken("one"), told)
    assert (after.account, after.lines) == (before.account, before.lines)
    assert [dispute.reason for dispute in after.disputes] == [Reason.TOLD_DIFFERENTLY]


def test_a_second_reversal_of_a_redemption_is_disputed() -> None:
    book = Book().take(taken("one"), given_back("one"), taken("two", at=3), given_back("one", at=4, reversal="other"))
    assert [dispute.reason for dispute in book.disputes] == [Reason.TOLD_DIFFERENTLY]
    assert book.account.balance_minor == 0


def test_the_same_told_under_another_event_is_the_same() -> None:
    book = Book().take(taken("one"), taken("one")._replace(event="2.VOUCHER#7.1"))
    assert (len(book.lines), book.disputes) == (1, [])


def test_an_account_in_which_nothing_has_its_turn_takes_no_more() -> None:
    book = Book(replace(OPENED, opened_minor=0, balance_minor=0))
    book.take(*(taken(f"red-{n}", at=n) for n in range(WAITING_MAX)))
    with pytest.raises(TooManyWaiting):
        book.take(taken("one too many"))
    assert book.take(taken("red-1", at=1)).disputes == []


def passed(kind: Kind, id: str, amount_minor: int, at: int = 3) -> Movement:
    return Movement(kind, id, amount_minor, f"1.VOUCHER#7.{at}", at)


OLD = (
    taken("r1", 2_000), passed(Kind.REISSUED, "rec_1", 3_000), given_back("r1", 2_000),
    passed(Kind.PASSED_ON, "r1", 2_000),
)  # fmt: skip
NEW = (
    passed(Kind.ISSUED, "rec_1", 3_000), taken("a", 3_000), passed(Kind.CREDITED, "r1", 2_000), taken("b", 2_000),
)  # fmt: skip


@pytest.mark.parametrize("movements", [OLD, NEW])
def test_what_goes_from_a_card_to_its_successor_ends_at_nothing_in_any_order(movements: tuple[Movement, ...]) -> None:
    for order in permutations(movements):
        account, lines = OPENED, dict[Name, Line]()
        for movement in (*order, *order):
            known = {n: lines[n] for n in (movement.name, movement.counterpart) if n in lines}
            account, found, dispute = entered(account, movement, known)
            lines |= {line.movement.name: line for line in found}
            assert dispute is None
            assert account.balance_minor >= 0
        assert (account.balance_minor, account.waiting, len(lines)) == (0, (), len(movements))


def test_neither_of_two_cards_is_used_for_more_than_it_has() -> None:
    old, _, _ = entered(entered(OPENED, OLD[1], {}).account, taken("again", 2_001), {})
    new, _, _ = entered(entered(OPENED, NEW[0], {}).account, taken("again", 3_001), {})
    assert [[m.redemption for m in account.waiting] for account in (old, new)] == [["again"], ["again"]]
    assert disputed(new, (Kind.REDEEMED, "again")).dispute is not None
