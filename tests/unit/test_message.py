"""Messages: the table of statuses, the waits, whom to ask next, and never twice what may have been taken once."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.lot import Status as VoucherStatus
from functions.domain.message import (
    ATTEMPTS_MAX,
    IN_DOUBT,
    REASONS,
    TRANSITIONS,
    WAIT_MAX_S,
    Message,
    Outcome,
    Remedy,
    Status,
    message_id,
    wait_s,
)
from functions.domain.recovery import Action
from functions.domain.voucher import Redemption, Reversal, Voucher
from functions.notify.texts import REDEEMED, REVERSED, TEXTS, WHY, money, recovered, text
from functions.recover.models import Reason

PROVIDERS = ("north", "south", "west")
NEW = Message("msg_1", "voucher.redeemed", "010000000003", "+8613812345678", "text", 0)


def after(*reasons: str | None, traceable: bool = True) -> Message:
    """A message whose attempts ended like this."""
    message = NEW
    for turn, reason in enumerate(reasons):
        provider = message.provider(PROVIDERS)
        message = message.begun(provider, str(turn), turn, traceable=traceable).ended("t", Outcome(reason), turn + 1)
    return message


def test_every_status_has_its_row_and_what_is_over_goes_nowhere() -> None:
    assert set(TRANSITIONS) == set(Status)
    over = {status for status, next_ in TRANSITIONS.items() if not next_}
    assert over == {Status.SENT, Status.FAILED, Status.UNKNOWN, Status.SUPPRESSED}


@pytest.mark.parametrize("reason", [None, "number_invalid"])
def test_a_message_that_is_over_takes_no_attempt_and_no_outcome(reason: str | None) -> None:
    message = after(reason)
    assert message.is_over
    with pytest.raises(ValueError, match="cannot become"):
        message.begun("north", "turn", 9, traceable=True)
    with pytest.raises(ValueError, match="cannot become"):
        message.ended("t", Outcome(), 9)


@given(st.integers(0, 10_000), st.floats(0.001, 100), st.floats(0, 1, exclude_max=True))
def test_a_wait_lies_between_nothing_and_what_doubles_up_to_a_quarter_of_an_hour(n: int, base: float, j: float) -> None:
    wait, longest = wait_s(n, base, j), wait_s(n, base, 1)
    assert 0 <= wait <= longest <= WAIT_MAX_S
    assert longest == min(WAIT_MAX_S, base * 2 ** min(n, 64))
    assert wait_s(n + 1, base, j) >= wait


@pytest.mark.parametrize(
    ("reasons", "provider"),
    [
        ((), "north"),
        (("provider_down",), "south"),
        (("provider_down", "technical_fault"), "west"),
        (("provider_down", "technical_fault", "account_refused"), "north"),
        (("carrier_congested",), "north"),
        (("provider_down", "carrier_congested"), "south"),
        ((IN_DOUBT,), "north"),
        ((IN_DOUBT, "provider_down", "technical_fault"), "north"),
        (("provider_down", IN_DOUBT, "provider_down"), "south"),
    ],
)
def test_a_fault_goes_round_the_list_and_doubt_stays_where_it_arose(reasons: tuple[str], provider: str) -> None:
    assert after(*reasons).provider(PROVIDERS) == provider


def test_a_provider_that_is_no_longer_listed_is_followed_by_the_first() -> None:
    assert after("provider_down").provider(("south", "west")) == "south"


def test_attempts_have_references_of_their_own_but_doubt_is_cleared_under_the_same_one() -> None:
    message = after("provider_down", IN_DOUBT, "provider_down", None)
    assert [a.reference for a in message.attempts] == ["msg_1-1", "msg_1-2", "msg_1-2", "msg_1-2"]
    assert [a.outcome for a in message.attempts] == ["failed", "unknown", "failed", "sent"]
    assert message.status is Status.SENT


@pytest.mark.parametrize("reason", [reason for reason, remedy in REASONS.items() if remedy is Remedy.STOP])
def test_a_permanent_reason_stops_at_once(reason: str) -> None:
    assert after(reason).status is Status.FAILED
    assert after(IN_DOUBT, reason).status is Status.FAILED  # the provider knows the reference, and says no


@pytest.mark.parametrize("reason", [reason for reason, remedy in REASONS.items() if remedy is not Remedy.STOP])
def test_a_passing_reason_is_tried_again_until_the_last_attempt(reason: str) -> None:
    message = after(*[reason] * (ATTEMPTS_MAX - 1))
    assert (message.status, message.due_at) == (Status.QUEUED, ATTEMPTS_MAX - 1)
    over = message.begun("north", "last", 99, traceable=True).ended("t", Outcome(reason), 100)
    assert over.status is (Status.UNKNOWN if reason == IN_DOUBT else Status.FAILED)


def test_doubt_that_nothing_cleared_is_not_called_a_failure() -> None:
    assert after(IN_DOUBT, *["provider_down"] * (ATTEMPTS_MAX - 1)).status is Status.UNKNOWN


def test_what_a_provider_cannot_trace_is_never_sent_again() -> None:
    assert after("provider_down", "carrier_congested", traceable=False).status is Status.QUEUED
    assert after("provider_down", IN_DOUBT, traceable=False).status is Status.UNKNOWN


@given(st.lists(st.sampled_from([*REASONS, None]), max_size=ATTEMPTS_MAX))
def test_a_message_comes_to_an_end_and_asks_no_second_provider_after_doubt(reasons: list[str | None]) -> None:
    message = NEW
    for reason in reasons:
        if message.is_over:
            break
        message = message.begun(message.provider(PROVIDERS), "turn", 1, traceable=True).ended("t", Outcome(reason), 2)
    assert message.is_over or (message.status is Status.QUEUED and len(message.attempts) < ATTEMPTS_MAX)
    if message.doubt:
        since = message.attempts[message.attempts.index(message.doubt) :]
        assert {(a.provider, a.reference) for a in since} == {(message.doubt.provider, message.doubt.reference)}


def test_one_event_one_message() -> None:
    assert message_id("1.VOUCHER#1.2") == message_id("1.VOUCHER#1.2") != message_id("1.VOUCHER#1.3")


REVERSAL = Reversal("rev", 2, "client", "reason", "print", "request", balance_minor=8050)
REDEMPTION = Redemption(
    "red", 1, "client", "mobile", "+8613812345678", 5000, 3050, VoucherStatus.PARTLY_REDEEMED, "print", 1, 1, "request",
    reversal=REVERSAL,
)  # fmt: skip


@pytest.mark.parametrize("locale", TEXTS)
@pytest.mark.parametrize("event", [REDEEMED, REVERSED])
def test_a_text_is_signed_names_the_card_and_shows_no_whole_number(event: str, locale: str) -> None:
    said = text(event, locale, "010000000003", REDEMPTION, "CNY")
    assert said.startswith("【Kami】") and "010000000003" in said and "{" not in said
    assert "13812345678" not in said
    assert "+86138****5678" in said and "50.00" in said
    assert ("80.50" in said) == (event == REVERSED)
    assert ("30.50" in said) == (event == REDEEMED)


@pytest.mark.parametrize("locale", TEXTS)
@pytest.mark.parametrize("action", list(Action))
def test_a_recovery_is_told_with_its_reason_and_what_is_left(action: Action, locale: str) -> None:
    voucher = Voucher(1_000_000_000, "cmp_1", "bat_1", VoucherStatus.CLAIMED, 1, 3050, "CNY")
    texts = {reason: recovered(locale, action, reason, voucher) for reason in get_args(Reason)}
    for reason, said in texts.items():
        assert said.startswith("【Kami】") and voucher.serial in said and "{" not in said
        assert (WHY[locale][reason] in said) == (action is not Action.RESUME)
        assert ("30.50" in said) == (action not in (Action.VOID, Action.RECLAIM))
    assert recovered(locale, action, "a rule of a campaign's own", voucher) == texts["other"]


def test_money_is_written_as_its_currency_and_the_reader_write_it() -> None:
    assert money(5000, "CNY", "zh-CN") == "50.00元"
    assert money(5, "CNY", "en") == "CNY 0.05"
    assert money(500, "JPY", "zh-CN") == "JPY 500"
    assert money(1234, "KWD", "en") == "KWD 1.234"
