"""Which day a reminder is due, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from functions.domain.lot import Lot, Part, Rules, Scope, Segment, Status, Veto
from functions.domain.reminder import (
    AFTERWARDS,
    FROM_S,
    KEPT_S,
    LATE_DAYS_MAX,
    Outcome,
    ahead,
    day_named,
    due_at,
    due_day,
    due_days,
    expiry,
    named,
    outcome,
    shown,
)
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import DAY_S, VALID_UNTIL_MAX, Transfer, Voucher, standing

CHINA = timezone(timedelta(hours=8))
NOW = 1_800_000_000
POSITION = 100_000 * LOT_SIZE + 3
times = st.integers(DAY_S, VALID_UNTIL_MAX)


def local(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=CHINA).timestamp())


def test_a_reminder_goes_out_in_the_morning_of_its_day() -> None:
    ends = local(2026, 12, 31, 23, 59)
    day = due_day(ends, 7)
    assert named(day) == "20261224"
    assert due_at(day) == local(2026, 12, 24, 10)


def test_what_ends_at_midnight_ends_with_the_day_before() -> None:
    assert named(due_day(local(2027, 1, 1), 1)) == "20261230"
    assert named(due_day(local(2027, 1, 1) + 1, 1)) == "20261231"


def test_after_the_end_is_the_day_after() -> None:
    assert named(due_day(local(2026, 12, 31, 23, 59), AFTERWARDS)) == "20270101"


def test_a_day_is_due_from_ten_oclock_and_for_some_days_more() -> None:
    day = due_day(local(2026, 12, 24, 12), 0)
    assert day not in due_days(due_at(day) - 1)
    assert due_days(due_at(day))[0] == day
    assert day in due_days(due_at(day) + (LATE_DAYS_MAX + 1) * DAY_S - 1)
    assert day not in due_days(due_at(day) + (LATE_DAYS_MAX + 1) * DAY_S)


@given(times)
def test_days_and_dates_are_the_same(at: int) -> None:
    day = due_day(at, 0)
    assert day_named(named(day)) == day
    assert due_at(day) == day * DAY_S - 8 * 3_600 + FROM_S
    assert datetime.fromtimestamp(at - 1, CHINA).strftime("%Y%m%d") == named(day)
    assert shown(at) == datetime.fromtimestamp(at, CHINA).strftime("%Y-%m-%d %H:%M")


@given(times, st.lists(st.integers(1, 365), unique=True, max_size=3), times)
def test_what_is_ahead_is_due_later_before_the_end_and_kept_for_a_while(ends: int, days: list[int], since: int) -> None:
    coming = ahead(POSITION, ends, days, since)
    assert len(coming) <= len(days) + 1
    for each in coming:
        assert since < due_at(each.day)
        assert each.ttl_epoch_s == due_at(each.day) + KEPT_S
        assert each.day + each.days == due_day(ends, 0)
        assert (due_at(each.day) < ends) == (each.days != AFTERWARDS)
    if days and since < due_at(due_day(ends, max(days))):
        assert {each.days for each in coming} == {*days, AFTERWARDS}


def test_nothing_is_ahead_of_what_never_ends_or_nobody_wants_to_hear_of() -> None:
    assert ahead(POSITION, None, (7, 1), NOW) == []
    assert ahead(POSITION, NOW + 30 * DAY_S, (), NOW) == []


ENDS = NOW + 7 * DAY_S
RULES = Rules("cmp_1", "recharge", 5_000, "CNY", "balance", "crockford16")
OPEN = Transfer("trf_1", NOW - 9, NOW + 9, "client", "giver", b"", "f", "r")


def become(
    status: Status = Status.CLAIMED, *, holder: str | None = "h", ends: int = ENDS, days: int = 7, now: int = NOW,
    vetoes: tuple[Veto, ...] = (), transfers: dict[str, Transfer] | None = None,
) -> Outcome:  # fmt: skip
    """What becomes of a reminder that was noted while the voucher ended at `ENDS`."""
    lot = Lot(100_000, RULES, (Part("bat_1", 0, 9, b"k"),), (Segment(0, 9, valid_until=ends, vetoes=vetoes),))
    item = Voucher(POSITION, "cmp_1", "bat_1", status, 1, 1, "CNY", holder=holder, transfers=transfers or {}, version=1)
    return outcome(expiry(POSITION, due_day(ENDS, days), days), standing(lot, 3, item, now))


def test_a_holder_is_told_while_the_voucher_can_be_used() -> None:
    assert become() is Outcome.TOLD
    assert become(Status.PARTLY_REDEEMED) is Outcome.TOLD
    assert become(transfers={"trf_1": OPEN}) is Outcome.TOLD


def test_nobody_is_told_of_what_is_of_no_use_any_more() -> None:
    assert become(Status.REDEEMED) is Outcome.DROPPED
    assert become(Status.VOID) is Outcome.DROPPED
    assert become(holder=None) is Outcome.DROPPED
    for action in ("suspend", "void", "reclaim"):
        assert become(vetoes=(Veto("rec_1", action, Scope.ALL, 1),)) is Outcome.DROPPED
    assert become(now=ENDS) is Outcome.DROPPED
    assert outcome(expiry(POSITION, due_day(ENDS, 7), 7), None) is Outcome.DROPPED


def test_a_later_end_moves_a_reminder_and_the_same_day_does_not() -> None:
    day_begins = int(datetime.fromtimestamp(ENDS, CHINA).replace(hour=0, minute=0, second=1).timestamp())
    assert become(ends=day_begins + DAY_S) is Outcome.MOVED
    assert become(ends=day_begins + DAY_S - 2) is Outcome.TOLD


def test_the_day_after_its_end_a_voucher_is_looked_at_once_more() -> None:
    assert become(days=AFTERWARDS, now=ENDS + DAY_S) is Outcome.DROPPED
    assert become(days=AFTERWARDS, now=ENDS + DAY_S, ends=ENDS + 30 * DAY_S) is Outcome.MOVED
    assert datetime.fromtimestamp(NOW, UTC).year == 2027
