"""What is named after several looks, and when counts can be judged."""

from __future__ import annotations

from dataclasses import replace

from functions.domain.events import DATED
from functions.domain.lot import Status
from functions.domain.reconciliation import (
    DIFFERENCES_PER_LOT_MAX,
    Difference,
    Findings,
    Sum,
    looked,
    named,
    of_counts,
    total,
)
from functions.domain.voucher import Voucher

LINE = Difference("line_missing", 3, "red-1", "redeemed 5000", "none")
OTHER = Difference("line_missing", 4, "red-2", "redeemed 5000", "none")
EXACT = Difference("balance_differs", 3, "", "0", "5000")


def card(place: int, status: Status, version: int, valid_until: int | None = None) -> Voucher:
    return Voucher(place, "cmp", "bat", status, 1, 0, "CNY", valid_until=valid_until, version=version)


def found(*differences: Difference, look: int = 0, unsettled: bool = False) -> Findings:
    return Findings("rcn_1", 7, look, differences, unsettled=unsettled)


def counts(active: int, redeemed: int) -> Difference:
    return Difference("counts_differ", None, "active", str(active), str(redeemed))


def test_only_what_every_look_finds_is_named() -> None:
    first = looked(None, found(LINE, OTHER))
    assert first.is_open
    second = looked(first, found(LINE, look=1))
    assert second.differences == (LINE,)
    assert looked(second, found(OTHER, look=2)).differences == ()
    assert not looked(second, found(look=2)).is_open


def test_what_one_item_shows_by_itself_is_named_at_once_and_stays() -> None:
    first = looked(None, found(EXACT))
    assert not first.is_open
    assert looked(looked(None, found(EXACT, LINE)), found(look=1)).differences == (EXACT,)


def test_a_count_that_is_off_by_the_same_is_the_same_however_far_it_has_moved() -> None:
    first = looked(None, found(counts(10, 11)))
    assert looked(first, found(counts(20, 21), look=1)).differences == (counts(20, 21),)
    assert looked(first, found(counts(20, 22), look=1)).differences == ()


def test_counts_that_never_come_to_rest_are_not_judged() -> None:
    first = looked(None, found(counts(10, 11), LINE))
    moving = looked(first, found(LINE, look=1, unsettled=True))
    assert counts(10, 11) in moving.differences, "the next look may confirm it"
    assert named(moving) == [LINE]
    assert total([moving]) == ({"line_missing": 1}, 0, 1)


def test_more_differences_than_are_kept_are_counted() -> None:
    many = [replace_place(n) for n in range(DIFFERENCES_PER_LOT_MAX + 3)]
    kept = looked(None, found(*many))
    assert (len(kept.differences), kept.more) == (DIFFERENCES_PER_LOT_MAX, 3)
    assert total([kept, replace(kept, lot=8)]).more == 6


def replace_place(place: int) -> Difference:
    return LINE._replace(place=place)


VOUCHERS = [card(1, Status.REDEEMED, 2), card(2, Status.ACTIVE, 1, valid_until=9)]
RIGHT = Sum({"redeemed": 1, "active": 1, DATED: 1}, 3)


def test_counts_are_judged_only_where_nothing_is_under_way() -> None:
    assert of_counts(RIGHT, VOUCHERS, RIGHT) == []
    assert of_counts(RIGHT, VOUCHERS, RIGHT._replace(writes=4)) is None
    late = Sum({"active": 2, DATED: 1}, 2)
    (difference,) = of_counts(late, VOUCHERS, late) or []
    assert (difference.kind, difference.expected, difference.found) == ("writes_differ", "3", "2")


def test_a_wrong_count_is_named_by_its_name() -> None:
    wrong = RIGHT._replace(by_status={"redeemed": 2, DATED: 1, "void": 1})
    found = of_counts(wrong, VOUCHERS, wrong)
    assert found is not None
    assert [(d.about, d.expected, d.found) for d in found] == [
        ("active", "1", "0"), ("redeemed", "1", "2"), ("void", "0", "1"),
    ]  # fmt: skip
