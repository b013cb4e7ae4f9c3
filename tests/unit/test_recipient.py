"""Recipients: quiet hours in any zone, words that come in any order, and what a reply asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.kinds import EXPIRING, KINDS, REDEEMED
from functions.domain.recipient import (
    AT_HOME,
    CLASSES,
    LIMITS,
    PUMPED,
    RECHECK_S,
    Limit,
    Quiet,
    Recipient,
    Ruling,
    Switch,
    block,
    opts_out,
    ruling,
)

NIGHT = Quiet(22 * 60, 8 * 60)
SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from([UTC, SHANGHAI, BERLIN, ZoneInfo("America/St_Johns"), ZoneInfo("Pacific/Chatham")])
MINUTES = st.integers(0, 1_439)
TIMES = st.integers(1_600_000_000, 1_900_000_000)


def at(text: str, zone: ZoneInfo = SHANGHAI) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        ("2026-11-22 21:59:59", None),
        ("2026-11-22 22:00:00", "2026-11-23 08:00:00"),
        ("2026-11-23 00:00:00", "2026-11-23 08:00:00"),
        ("2026-11-23 07:59:59", "2026-11-23 08:00:00"),
        ("2026-11-23 08:00:00", None),
        ("2026-12-31 23:30:00", "2027-01-01 08:00:00"),
    ],
)
def test_quiet_hours_over_midnight(now: str, ends: str | None) -> None:
    assert NIGHT.ends(at(now), SHANGHAI) == (at(ends) if ends else None)


def test_quiet_hours_are_those_of_where_one_is() -> None:
    now = at("2026-11-22 20:00:00", BERLIN)
    assert (NIGHT.ends(now, BERLIN), NIGHT.ends(now, SHANGHAI)) == (None, at("2026-11-23 08:00:00"))


def test_quiet_hours_end_by_the_clock_where_it_was_put_forward_or_back_in_the_night() -> None:
    spring, autumn = at("2026-03-28 23:00:00", BERLIN), at("2026-10-24 23:00:00", BERLIN)
    ends = [NIGHT.ends(now, BERLIN) for now in (spring, autumn)]
    assert ends == [spring + 8 * 3_600, autumn + 10 * 3_600]


@given(TIMES, MINUTES, MINUTES, ZONES)
def test_when_quiet_hours_end_they_are_over_and_until_then_they_are_not(
    now: int, begins: int, until: int, zone: ZoneInfo
) -> None:
    quiet = Quiet(begins, until)
    ends = quiet.ends(now, zone)
    if ends is None:
        return
    assert now < ends <= now + 25 * 3_600 + 1
    shown = datetime.fromtimestamp(ends, zone)
    just_before = datetime.fromtimestamp(ends, UTC) - timedelta(hours=1)
    changed = just_before.astimezone(zone).utcoffset() != shown.utcoffset()
    assert changed or shown.hour * 60 + shown.minute == until


@given(TIMES, MINUTES, ZONES)
def test_hours_that_end_when_they_begin_are_none(now: int, minute: int, zone: ZoneInfo) -> None:
    assert Quiet(minute, minute).ends(now, zone) is None


WORDS = [(True, 1_000), (False, 2_000), (True, 3_000), (False, 3_000), (False, 500)]


def test_words_about_an_account_come_to_the_same_in_any_order_with_repeats() -> None:
    ends = set()
    for order in permutations(WORDS):
        switch = Switch()
        for on, at_ms in (*order, *order):
            switch = switch.told(on, at_ms)
        ends.add(switch)
    assert ends == {Switch(True, 3_000)}


def test_freezing_and_holding_are_switches_of_their_own() -> None:
    recipient = Recipient("acc").with_switch("frozen", True, 1).with_switch("held", True, 2)
    recipient = recipient.with_switch("frozen", False, 3)
    assert (recipient.frozen.on, recipient.held.on) == (False, True)


def test_an_older_reply_changes_nothing() -> None:
    out = Recipient("acc").asked(CLASSES, 2_000)
    assert out.asked((), 1_000) == out
    assert out.asked((), 3_000).opted_out == ()


@pytest.mark.parametrize("text", ["STOP", " stop ", "Stop.", "stop all", "TD", "td!", "T", "退订", "【退订】", "拒收"])
def test_replies_that_opt_out(text: str) -> None:
    assert opts_out(text) is True


@pytest.mark.parametrize("text", ["START", "start", "Unstop", "订阅", "恢复订阅"])
def test_replies_that_opt_in(text: str) -> None:
    assert opts_out(text) is False


@pytest.mark.parametrize("text", ["", "thanks", "please don't stop", "退订怎么操作", "TDS", "1"])
def test_other_replies_ask_for_nothing(text: str) -> None:
    assert opts_out(text) is None


REMINDER, RECEIPT = KINDS[EXPIRING], KINDS[REDEEMED]
NOW = at("2026-11-22 23:00:00")
ENDS = at("2026-11-23 08:00:00")


@pytest.mark.parametrize(
    ("recipient", "reminder", "receipt"),
    [
        (None, Ruling("quiet_hours", ENDS), None),
        (Recipient("a"), Ruling("quiet_hours", ENDS), None),
        (Recipient("a", opted_out=("reminders",)), Ruling("opted_out"), None),
        (Recipient("a", opted_out=CLASSES), Ruling("opted_out"), Ruling("opted_out")),
        (Recipient("a", frozen=Switch(True)), *2 * (Ruling("account_frozen", NOW + RECHECK_S),)),
        (Recipient("a", frozen=Switch(True), held=Switch(True)), *2 * (Ruling("security_hold", NOW + RECHECK_S),)),
        (Recipient("a", opted_out=CLASSES, held=Switch(True)), Ruling("opted_out"), Ruling("opted_out")),
    ],
)
def test_what_the_rules_say_at_night(
    recipient: Recipient | None, reminder: Ruling | None, receipt: Ruling | None
) -> None:
    said = [ruling(recipient, kind, NOW, NIGHT, SHANGHAI) for kind in (REMINDER, RECEIPT)]
    assert said == [reminder, receipt]


def test_without_quiet_hours_nothing_waits_for_the_morning() -> None:
    assert ruling(Recipient("a"), REMINDER, NOW, None, SHANGHAI) is None


def test_every_class_has_a_limit_and_abroad_it_is_lower() -> None:
    assert set(LIMITS) == set(CLASSES) == {kind.limit_class for kind in KINDS.values()}
    assert PUMPED.sent_max < AT_HOME.sent_max


@given(TIMES, st.integers(1, 100_000))
def test_a_window_ends_when_the_next_one_begins(now: int, window_s: int) -> None:
    limit = Limit(1, window_s)
    assert limit.window(limit.ends(now)) == limit.window(now) + 1
    assert limit.window(limit.ends(now) - 1) == limit.window(now)


def test_numbers_of_one_block_are_one_destination() -> None:
    assert block("+37112340000") == block("+37112349999") != block("+37112350000")
