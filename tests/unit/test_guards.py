"""The arithmetic of the guards; that they count is tested on the engines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.errors import Refusal
from functions.store.guards import LIMITS, Subject, is_open, lot_subject, refuse_over_limit, subjects
from functions.store.keys import Key
from functions.store.table import Item

NOW = 1_800_000_000
ACCOUNT = Subject("account", "till +8613812345678")


def counters(now: int = NOW, **counts: int) -> dict[Key, Item]:
    known = {"account": ACCOUNT, "lot": lot_subject(7)}
    return {known[kind].key(now): {"count": count} for kind, count in counts.items()}


def test_a_client_as_a_whole_is_never_a_subject() -> None:
    """Else a spray through a partner would lock that partner's honest customers out."""
    one = subjects("partner", "+8613812345678", "device-1", "198.51.100.1", "192.0.2.1")
    other = subjects("partner", "+8613812345679", "device-2", "198.51.100.2", "192.0.2.1")
    assert [s.kind for s in one] == ["account", "device", "address"]
    assert not set(one) & set(other)


def test_without_account_device_or_address_the_till_itself_is_the_subject() -> None:
    (one,) = subjects("shop", None, None, None, "192.0.2.1")
    (other,) = subjects("shop", None, None, None, "192.0.2.2")
    assert one.kind == other.kind == "till"
    assert one != other


def test_an_account_is_guarded_for_each_client_by_itself() -> None:
    (one,), (other,) = (subjects(client, "+8613812345678", None, None, "192.0.2.1") for client in ("a", "b"))
    assert one.key(NOW) != other.key(NOW)


def test_a_guards_key_does_not_show_whom_it_guards() -> None:
    assert "13812345678" not in "".join(ACCOUNT.key(NOW))


@given(st.integers(0, 2 * LIMITS["account"].wrong_max))
def test_a_subject_may_be_wrong_as_often_as_its_limit_says(count: int) -> None:
    if count < LIMITS["account"].wrong_max:
        refuse_over_limit([ACCOUNT], None, counters(account=count), NOW)
    else:
        with pytest.raises(Refusal, match="too_many_attempts"):
            refuse_over_limit([ACCOUNT], None, counters(account=count), NOW)


@given(st.integers(NOW, NOW + 10_000))
def test_a_refused_subject_is_told_when_its_window_ends_and_may_go_on_then(now: int) -> None:
    full = counters(now, account=LIMITS["account"].wrong_max)
    with pytest.raises(Refusal) as refused:
        refuse_over_limit([ACCOUNT], None, full, now)
    wait_s = refused.value.retry_after_s
    assert wait_s is not None
    assert 1 <= wait_s <= LIMITS["account"].window_s
    refuse_over_limit([ACCOUNT], None, full, now + wait_s)
    with pytest.raises(Refusal):
        refuse_over_limit([ACCOUNT], None, full, now + wait_s - 1)


def test_while_forged_codes_pour_in_on_a_lot_one_wrong_guess_is_enough() -> None:
    breaker = lot_subject(7)
    almost = counters(lot=LIMITS["lot"].wrong_max - 1, account=1)
    assert not is_open(breaker, almost, NOW)
    refuse_over_limit([ACCOUNT], breaker, almost, NOW)
    full = counters(lot=LIMITS["lot"].wrong_max, account=1)
    assert is_open(breaker, full, NOW)
    with pytest.raises(Refusal, match="too_many_attempts"):
        refuse_over_limit([ACCOUNT], breaker, full, NOW)
    refuse_over_limit([Subject("account", "an honest customer")], breaker, full, NOW)


def test_a_campaign_may_have_its_lots_breakers_open_earlier_but_not_later() -> None:
    early, late = lot_subject(7, 10), lot_subject(7, 10 * LIMITS["lot"].wrong_max)
    assert early.key(NOW) == late.key(NOW) == lot_subject(7).key(NOW)
    assert [is_open(early, counters(lot=count), NOW) for count in (9, 10)] == [False, True]
    full = LIMITS["lot"].wrong_max
    assert [is_open(late, counters(lot=count), NOW) for count in (full - 1, full)] == [False, True]
