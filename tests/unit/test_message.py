"""Messages: the table of statuses, the waits, whom to ask next, and never twice what may have been taken once."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.delivery import WAIT_MAX_S, wait_s
from functions.domain.message import (
    ATTEMPT_S,
    ATTEMPTS_MAX,
    CODE_MAX,
    OVER,
    RANKS,
    TRANSITIONS,
    Message,
    Outcome,
    Receipt,
    Status,
    message_id,
    pause_s,
    with_receipt,
)
from functions.domain.reasons import IN_DOUBT, REASONS, Remedy
from functions.domain.routing import Offer, asked

OFFERS = tuple(map(Offer, ("north", "south", "west")))
NEW = Message("msg_1", "voucher.redeemed", "010000000003", "+8613812345678", "text", 0)
STOPPING = [reason for reason, row in REASONS.items() if row.remedy is Remedy.STOP]
PASSING = [reason for reason in REASONS if reason not in STOPPING]


def after(*reasons: str | None, traceable: bool = True, message: Message = NEW) -> Message:
    """A message whose attempts ended like this."""
    for turn, reason in enumerate(reasons):
        provider = asked(OFFERS, message)[0].provider
        message = message.begun(provider, str(turn), turn, traceable=traceable)
        message = message.ended(str(turn), Outcome(reason), turn, 1)
    return message


def receipt(
    status: Status, attempt: int = 1, reason: str | None = None, at: int = 5, provider: str = "north"
) -> Receipt:
    return Receipt(provider, status, at, f"msg_1-{attempt}", reason=reason)


# the table


def test_every_status_has_its_row_and_what_is_final_goes_nowhere() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert {status for status, next_ in TRANSITIONS.items() if not next_} == {Status.DELIVERED, Status.SUPPRESSED}
    assert Status.QUEUED not in OVER and Status.HELD not in OVER and Status.SENDING not in OVER
    assert all(TRANSITIONS[status] <= {*OVER, Status.QUEUED} for status in OVER)


@pytest.mark.parametrize("reason", [None, "number_invalid"])
def test_a_message_that_is_over_takes_no_attempt_and_no_second_reply(reason: str | None) -> None:
    message = after(reason)
    assert message.is_over
    with pytest.raises(ValueError, match="cannot become"):
        message.begun("north", "turn", 9, traceable=True)
    assert message.ended("another", Outcome(), 9) is message


@pytest.mark.parametrize("reason", [reason for reason, row in REASONS.items() if row.ends != "undelivered"])
def test_what_kami_decides_is_on_record_with_its_reason(reason: str) -> None:
    ruled = after("provider_down").ruled(reason, 8)
    assert (ruled.status, ruled.why, ruled.due_at) == (REASONS[reason].ends, reason, 0)


def test_what_is_given_up_in_doubt_is_not_called_a_failure() -> None:
    given_up = after(IN_DOUBT).ruled("erased", 8)
    assert (given_up.status, given_up.why) == (Status.UNKNOWN, "erased")


def test_what_was_written_before_reasons_were_kept_has_one_all_the_same() -> None:
    assert [replace(NEW, status=status).why for status in (Status.SUPPRESSED, Status.FAILED, Status.QUEUED)] == [
        "sandbox", "erased", None,
    ]  # fmt: skip


# waits


@given(st.integers(0, 10_000), st.floats(0.001, 100), st.floats(0, 1, exclude_max=True))
def test_a_wait_lies_between_nothing_and_what_doubles_up_to_a_quarter_of_an_hour(n: int, base: float, j: float) -> None:
    wait, longest = wait_s(n, base, j), wait_s(n, base, 1)
    assert 0 <= wait <= longest <= WAIT_MAX_S
    assert longest == min(WAIT_MAX_S, base * 2 ** min(n, 64))
    assert wait_s(n + 1, base, j) >= wait


@pytest.mark.parametrize("reason", REASONS)
def test_where_only_time_helps_the_wait_is_the_longest(reason: str) -> None:
    waits = REASONS[reason].remedy is Remedy.WAIT
    assert pause_s(reason, 0, 2, 0.5) == (WAIT_MAX_S if waits else 1)
    assert pause_s(None, 0, 2, 0.5) == 1


def test_a_wait_is_cut_to_the_last_moment_of_use_and_then_the_message_has_expired() -> None:
    code = replace(NEW, use_by=300)
    message = code.begun("north", "1", 100, traceable=True).ended("1", Outcome("provider_down"), 101, 900)
    assert (message.status, message.due_at) == (Status.QUEUED, 300 - ATTEMPT_S)
    message = message.begun("south", "2", 281, traceable=True).ended("2", Outcome("provider_down"), 282, 900)
    assert (message.status, message.why) == (Status.FAILED, "expired")
    assert message.attempts[-1].reason == "provider_down"


def test_what_was_undelivered_too_late_for_another_try_says_why_it_was() -> None:
    sent = replace(after(None), use_by=300)
    assert with_receipt(sent, receipt(Status.UNDELIVERED, reason="phone_full"), 270).status is Status.QUEUED
    late = with_receipt(sent, receipt(Status.UNDELIVERED, reason="phone_full"), 290)
    assert (late.status, late.why) == (Status.UNDELIVERED, "phone_full")


def test_doubt_is_cleared_after_its_use_too() -> None:
    message = replace(NEW, use_by=300).begun("north", "1", 290, traceable=True).ended("1", Outcome(IN_DOUBT), 295, 60)
    assert (message.status, message.due_at) == (Status.QUEUED, 355)
    never = message.begun("north", "2", 355, traceable=True).ended("2", Outcome("expired"), 356)
    assert (never.status, never.why) == (Status.FAILED, "expired")


# whom to ask


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
    assert asked(OFFERS, after(*reasons))[0].provider == provider


def test_a_provider_that_is_no_longer_listed_is_followed_by_the_first() -> None:
    assert asked(OFFERS[1:], after("provider_down"))[0].provider == "south"


def test_attempts_have_references_of_their_own_but_doubt_is_cleared_under_the_same_one() -> None:
    message = after("provider_down", IN_DOUBT, "provider_down", None)
    assert [a.reference for a in message.attempts] == ["msg_1-1", "msg_1-2", "msg_1-2", "msg_1-2"]
    assert [a.outcome for a in message.attempts] == ["failed", "unknown", "failed", "sent"]
    assert message.status is Status.SENT


def test_what_a_rule_kept_from_being_sent_again_is_in_doubt_no_more() -> None:
    message = after(IN_DOUBT, "account_frozen")
    assert (message.status, message.doubt) == (Status.QUEUED, None)
    assert after(None, message=message).attempts[-1].reference == "msg_1-3"


# what follows


@pytest.mark.parametrize("reason", STOPPING)
def test_a_permanent_reason_stops_at_once(reason: str) -> None:
    assert (after(reason).status, after(reason).why) == (Status.FAILED, reason)
    assert after(IN_DOUBT, reason).status is Status.FAILED  # the provider knows the reference, and says no


@pytest.mark.parametrize("reason", PASSING)
def test_a_passing_reason_is_tried_again_until_the_last_attempt(reason: str) -> None:
    message = after(*[reason] * (ATTEMPTS_MAX - 1))
    assert (message.status, message.due_at, message.why) == (Status.QUEUED, ATTEMPTS_MAX - 1, reason)
    over = message.begun("north", "last", 99, traceable=True).ended("last", Outcome(reason), 99, 1)
    assert over.status is (Status.UNKNOWN if reason == IN_DOUBT else Status.FAILED)
    assert over.why == reason


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
        message = after(reason, message=message)
    assert message.is_over or (message.status is Status.QUEUED and len(message.attempts) < ATTEMPTS_MAX)
    if message.doubt:
        since = message.attempts[message.attempts.index(message.doubt) :]
        assert {(a.provider, a.reference) for a in since} == {(message.doubt.provider, message.doubt.reference)}


def test_a_look_up_may_tell_what_a_receipt_would() -> None:
    doubt = after(IN_DOUBT).begun("north", "look", 3, traceable=True)
    found = doubt.ended("look", Outcome(None, "id-1", "DELIVRD", Status.DELIVERED), 4)
    assert (found.status, found.attempts[-1].provider_id, found.attempts[-1].code) == ("delivered", "id-1", "DELIVRD")
    full = doubt.ended("look", Outcome("phone_full", "id-1", "MBBLOCK", Status.UNDELIVERED), 4, 1)
    assert (full.status, full.doubt) == (Status.QUEUED, None)
    assert full.begun("north", "next", 9, traceable=True).attempts[-1].reference == "msg_1-3"


# receipts


def test_a_receipt_is_kept_with_its_attempt() -> None:
    told = receipt(Status.UNDELIVERED, reason="blocked")._replace(code="30007\n" + "x" * 99, provider_id="id-1")
    message = with_receipt(after(None), told, 9)
    (attempt,) = message.attempts
    assert (message.status, message.why, message.awaits_since) == (Status.UNDELIVERED, "blocked", None)
    assert (attempt.outcome, attempt.provider_id, attempt.receipt_at, attempt.sent_at) == ("undelivered", "id-1", 5, 0)
    assert attempt.code == ("30007" + "x" * 99)[:CODE_MAX]
    assert with_receipt(message, told, 99) is message


def test_a_receipt_of_another_provider_or_reference_is_of_no_attempt() -> None:
    for wrong in (
        receipt(Status.DELIVERED, provider="south"),
        receipt(Status.DELIVERED, attempt=2),
        Receipt("north", Status.DELIVERED, 5, provider_id="id-2"),
        Receipt("north", Status.DELIVERED, 5),
    ):
        with pytest.raises(LookupError):
            with_receipt(after(None), wrong, 9)


def test_a_provider_that_echoes_no_reference_is_known_by_its_own_id() -> None:
    sent = NEW.begun("north", "1", 0, traceable=True).ended("1", Outcome(provider_id="id-1"), 0)
    assert with_receipt(sent, Receipt("north", Status.DELIVERED, 5, provider_id="id-1"), 9).status is Status.DELIVERED


UNDELIVERED_AFTER_ANOTHER = with_receipt(
    after("carrier_congested", None), receipt(Status.UNDELIVERED, attempt=2, reason="blocked"), 9
)


@pytest.mark.parametrize(
    ("before", "told", "status"),
    [
        (after(None), receipt(Status.DELIVERED), Status.DELIVERED),
        (after(None), receipt(Status.UNDELIVERED, reason="carrier_congested"), Status.QUEUED),
        (after(None), receipt(Status.UNDELIVERED, reason="blocked"), Status.UNDELIVERED),
        (after(None), receipt(Status.SENT), Status.SENT),
        (after(IN_DOUBT), receipt(Status.SENT), Status.SENT),
        (after("provider_down"), receipt(Status.SENT), Status.SENT),  # a fault that had taken it all the same
        (after("refused"), receipt(Status.DELIVERED), Status.DELIVERED),
        (after(IN_DOUBT, traceable=False), receipt(Status.UNDELIVERED, reason="carrier_congested"), Status.QUEUED),
        (after(None).ruled("no_receipt", 8), receipt(Status.SENT), Status.UNKNOWN),
        (after(None).ruled("no_receipt", 8), receipt(Status.DELIVERED), Status.DELIVERED),
        (after(None).ruled("no_receipt", 8), receipt(Status.UNDELIVERED, reason="phone_full"), Status.UNDELIVERED),
        (after("provider_down").ruled("erased", 8), receipt(Status.DELIVERED), Status.DELIVERED),
        (after("provider_down").ruled("quiet_hours", 8), receipt(Status.DELIVERED), Status.DELIVERED),
        (after(IN_DOUBT).ruled("quiet_hours", 8), receipt(Status.UNDELIVERED, reason="phone_full"), Status.HELD),
        (after("provider_down", None), receipt(Status.DELIVERED), Status.DELIVERED),
        (after("provider_down", "provider_down"), receipt(Status.SENT), Status.SENT),
        (after("provider_down", None), receipt(Status.UNDELIVERED, reason="blocked"), Status.SENT),
        (UNDELIVERED_AFTER_ANOTHER, receipt(Status.SENT), Status.SENT),
        (UNDELIVERED_AFTER_ANOTHER, receipt(Status.UNDELIVERED, reason="phone_full"), Status.UNDELIVERED),
    ],
)
def test_what_a_receipt_makes_of_a_message(before: Message, told: Receipt, status: Status) -> None:
    assert with_receipt(before, told, 9).status is status


def test_a_receipt_that_overtakes_the_reply_keeps_its_word_and_the_reply_adds_the_id() -> None:
    open_ = NEW.begun("north", "1", 0, traceable=True)
    early = with_receipt(open_, receipt(Status.DELIVERED), 5).ended("1", Outcome(provider_id="id-1"), 6)
    late = with_receipt(open_.ended("1", Outcome(provider_id="id-1"), 6), receipt(Status.DELIVERED), 5)
    assert early == late
    assert (early.status, early.attempts[0].provider_id, early.attempts[0].sent_at) == (Status.DELIVERED, "id-1", 5)
    doubtful = with_receipt(open_, receipt(Status.SENT), 5).ended("1", Outcome(IN_DOUBT), 6)
    assert (doubtful.status, doubtful.doubt) == (Status.SENT, None)


def test_a_second_attempt_follows_an_undelivered_one_and_either_may_yet_arrive() -> None:
    again = with_receipt(after(None), receipt(Status.UNDELIVERED, reason="phone_full"), 9, 900)
    assert (again.status, again.due_at, again.why) == (Status.QUEUED, 909, "phone_full")
    twice = again.begun(asked(OFFERS, again)[0].provider, "2", 909, traceable=True).ended("2", Outcome(), 910)
    assert [a.reference for a in twice.attempts] == ["msg_1-1", "msg_1-2"]
    assert with_receipt(twice, receipt(Status.DELIVERED, 1), 950).status is Status.DELIVERED
    open_ = again.begun("north", "2", 909, traceable=True)
    told = with_receipt(open_, receipt(Status.DELIVERED, 1), 910)
    assert (told.status, told.ended("2", Outcome(), 911).status) == (Status.DELIVERED, Status.DELIVERED)


def test_what_stops_outweighs_what_does_not_and_a_receipt_outweighs_a_reply() -> None:
    stops, passes = (
        receipt(Status.UNDELIVERED, reason=reason, at=at) for reason, at in (("blocked", 9), ("phone_full", 3))
    )
    for one, other in ((stops, passes), (passes, stops)):
        message = with_receipt(with_receipt(after(None), one, 9), other, 9)
        assert (message.status, message.why) == (Status.UNDELIVERED, "blocked")
    confirmed = with_receipt(after(None), receipt(Status.SENT)._replace(code="ACCEPTD"), 9)
    assert (confirmed.attempts[0].receipt_at, confirmed.attempts[0].code) == (5, "ACCEPTD")


RECEIPTS = st.builds(
    receipt,
    st.sampled_from([Status.SENT, Status.DELIVERED, Status.UNDELIVERED]),
    attempt=st.integers(1, 3),
    reason=st.sampled_from(["blocked", "phone_full", "carrier_congested", "spam_filtered"]),
    at=st.integers(0, 9),
).map(lambda r: r if r.status is Status.UNDELIVERED else r._replace(reason=None))
REPLIES = st.sampled_from([Outcome(), Outcome(IN_DOUBT), Outcome("carrier_congested"), Outcome("carrier_congested")])


@given(
    st.lists(REPLIES.filter(lambda reply: reply.reason != IN_DOUBT and reply.reason), max_size=2),
    REPLIES,
    st.lists(RECEIPTS, max_size=6),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_receipts_in_any_order_with_repeats_and_before_the_reply_end_the_same_and_never_go_back(
    replies: list[Outcome], last: Outcome, receipts: list[Receipt], traceable: bool, random: Random
) -> None:
    start = after(*(reply.reason for reply in replies), traceable=traceable)
    start = start.begun("north", "open", 4, traceable=traceable)
    made = len(start.attempts)
    told: list[Receipt | Outcome] = [
        last, *(r._replace(reference=f"msg_1-{min(int((r.reference or '')[-1]), made)}") for r in receipts)
    ]  # fmt: skip

    def played(order: list[Receipt | Outcome]) -> Message:
        message = start
        for each in order:
            before = message
            message = message.ended("open", each, 9) if isinstance(each, Outcome) else with_receipt(message, each, 9)
            assert message.status is before.status or message.status in TRANSITIONS[before.status]
            for was, now in zip(before.attempts, message.attempts, strict=True):
                assert RANKS[was.outcome] <= RANKS[now.outcome]
        return message

    order = [*told, *random.choices(told, k=4)]
    random.shuffle(order)
    assert played(order) == played(told)


def test_one_event_one_message() -> None:
    assert message_id("1.VOUCHER#1.2") == message_id("1.VOUCHER#1.2") != message_id("1.VOUCHER#1.3")
