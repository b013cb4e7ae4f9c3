"""What a client has ordered alone: it counts for a day at least, whatever it was split into, and no more after that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from functions.domain.authority import PERIOD_S, SPENT_FOR_S, Allowance, Amount, Spent

NOW = 1_800_000_000
NOTHING = Spent("operator-1", "cmp_1", "void")
amounts = st.builds(Amount, st.integers(1, 10_000), st.integers(0, 10_000))
orders = st.lists(st.tuples(st.integers(0, 3 * SPENT_FOR_S), amounts), max_size=60).map(lambda all: sorted(all))


def spent_by(some: list[tuple[int, Amount]]) -> Spent:
    spent = NOTHING
    for after_s, much in some:
        spent = spent.plus(much, NOW + after_s)
    return spent


def total(some: list[Amount]) -> Amount:
    return Amount(sum(each.vouchers for each in some), sum(each.value_minor for each in some))


@given(orders, st.integers(0, 5 * SPENT_FOR_S))
def test_an_order_counts_for_a_day_at_least_and_an_hour_longer_at_most(
    some: list[tuple[int, Amount]], later_s: int
) -> None:
    until = max([after_s for after_s, _ in some], default=0) + later_s
    counting = spent_by(some).counting(NOW + until)
    surely = [much for after_s, much in some if until < after_s + SPENT_FOR_S]
    perhaps = [much for after_s, much in some if until < after_s + SPENT_FOR_S + PERIOD_S]
    assert total(surely).vouchers <= counting.vouchers <= total(perhaps).vouchers
    assert total(surely).value_minor <= counting.value_minor <= total(perhaps).value_minor


@given(orders)
def test_its_item_stays_small_and_expires_when_nothing_of_it_counts(some: list[tuple[int, Amount]]) -> None:
    spent = spent_by(some)
    assert len(spent.periods) <= SPENT_FOR_S // PERIOD_S + 1
    assert spent.counting(spent.ttl_epoch_s) == Amount()
    assert not some or spent.counting(spent.ttl_epoch_s - 1) != Amount()


def test_what_is_ordered_just_before_the_hour_counts_to_the_last_second_of_its_day() -> None:
    spent = NOTHING.plus(Amount(1, 5), NOW + PERIOD_S - 1)
    assert spent.counting(NOW + PERIOD_S + SPENT_FOR_S - 1) == Amount(1, 5)
    assert spent.counting(NOW + PERIOD_S + SPENT_FOR_S) == Amount()
    assert NOW % PERIOD_S == 0


def test_each_limit_holds_by_itself() -> None:
    rule = Allowance(("operator",), ("void",), vouchers_alone=2, value_minor_alone=100)
    assert rule.lets(Amount(2, 100))
    assert not rule.lets(Amount(3, 0))
    assert not rule.lets(Amount(0, 101))
    assert rule.is_limited
    assert not Allowance(("operator",), ("void",)).is_limited
