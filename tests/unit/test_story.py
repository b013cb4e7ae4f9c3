"""The story of a message: each attempt and receipt has its lines, in order, in both languages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from functions.domain.message import Message, Outcome, Receipt, Status, with_receipt
from functions.domain.reasons import IN_DOUBT, REASONS, Words, told
from functions.domain.story import (
    ASKED,
    ASKED_NEXT,
    AWAITED,
    DELIVERED,
    DUE,
    FOLLOWS,
    HANDED,
    LOOKED_UP,
    REPLY_AWAITED,
    TAKEN,
    UNTRACEABLE,
    WRITTEN,
    Line,
    story,
)

NEW = Message("msg_1", "voucher.redeemed", "010000000003", "+8613812345678", "text", 100)


def sent(message: Message, provider: str, at: int, outcome: Outcome | None, *, traceable: bool = True) -> Message:
    message = message.begun(provider, str(at), at, traceable=traceable)
    return message.ended(str(at), outcome, at + 1, 60) if outcome is not None else message


def coded(words: Words, code: str) -> Words:
    return Words(words.zh.removesuffix("。") + f"（{code}）。", words.en.removesuffix(".") + f" ({code}).")


def test_from_a_provider_that_was_down_to_the_phone() -> None:
    message = sent(NEW, "north", 101, Outcome("provider_down", code="503"))
    down = REASONS["provider_down"].told.support
    begun = [
        Line(100, "kami", WRITTEN),
        Line(101, "kami", HANDED),
        Line(101, "north", coded(down, "503"), next_step=FOLLOWS[REASONS["provider_down"].remedy]),
    ]
    assert story(message) == [*begun, Line(162, "kami", DUE)]
    message = sent(message, "south", 162, Outcome(provider_id="s-1"))
    taken = Line(163, "south", coded(TAKEN, "s-1"), AWAITED)
    assert story(message) == [*begun, Line(162, "kami", HANDED), taken]
    message = with_receipt(message, Receipt("south", Status.DELIVERED, 170, "msg_1-2", code="DELIVRD"), 171)
    arrived = [taken._replace(next_step=None), Line(170, "south", coded(DELIVERED, "DELIVRD"))]
    assert story(message) == [*begun, Line(162, "kami", HANDED), *arrived]


def test_what_is_under_way_says_so() -> None:
    assert story(sent(NEW, "north", 101, None))[-1] == Line(101, "kami", HANDED, REPLY_AWAITED)
    assert story(NEW) == [Line(100, "kami", WRITTEN)]


def test_doubt_stays_with_its_provider_until_it_is_cleared() -> None:
    message = sent(sent(NEW, "north", 101, Outcome(IN_DOUBT)), "north", 162, Outcome("provider_down"))
    lines = story(message)
    assert [line.next_step for line in lines if line.by == "north"] == [ASKED_NEXT, ASKED_NEXT]
    assert [line.what for line in lines if line.by == "kami"] == [WRITTEN, HANDED, ASKED, DUE]
    found = sent(message, "north", 223, Outcome(None, "n-1", "OK", Status.DELIVERED))
    assert story(found)[-1] == Line(224, "north", coded(LOOKED_UP, "OK"))


def test_a_provider_that_can_tell_nothing_is_named_as_the_cause() -> None:
    message = sent(NEW, "aws", 101, Outcome(IN_DOUBT), traceable=False)
    assert message.status is Status.UNKNOWN
    assert story(message)[-1] == Line(101, "aws", REASONS[IN_DOUBT].told.support, UNTRACEABLE)


def test_what_ends_it_says_what_to_do_and_kamis_own_reasons_are_kamis() -> None:
    taken = sent(NEW, "north", 101, Outcome())
    blocked = Receipt("north", Status.UNDELIVERED, 105, "msg_1-1", reason="blocked")
    assert story(with_receipt(taken, blocked, 106))[-1].next_step == REASONS["blocked"].told.next_step
    unheard = taken.ruled("no_receipt", 9000)
    told = REASONS["no_receipt"].told
    assert story(unheard)[-1] == Line(9000, "kami", told.support, told.next_step)


def test_a_providers_clock_that_is_behind_does_not_turn_the_story_round() -> None:
    taken = sent(NEW, "north", 101, Outcome())
    early = with_receipt(taken, Receipt("north", Status.DELIVERED, 50, "msg_1-1"), 103)
    assert [(line.at, line.what) for line in story(early)] == [
        (100, WRITTEN), (101, HANDED), (101, TAKEN), (101, DELIVERED),
    ]  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from([None, *REASONS]), st.booleans()), max_size=5),
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from([None, *REASONS]), st.integers(0, 999)), max_size=4),
    st.sampled_from([None, "expired", "erased", "quiet_hours"]),
)
def test_whatever_happens_there_is_something_to_say_in_order(
    replies: list[tuple[str | None, bool]], receipts: list[tuple[int, str | None, int]], rule: str | None
) -> None:
    message = NEW
    for at, (reason, traceable) in enumerate(replies, 101):
        if message.is_over:
            break
        message = sent(message, "north", at, Outcome(reason), traceable=traceable)
    if rule is not None and not message.is_over:
        message = message.ruled(rule, 500)
    for attempt, reason, at in receipts:
        if attempt <= len(message.attempts):
            status = Status.DELIVERED if reason is None else Status.UNDELIVERED
            made = message.attempts[attempt - 1]
            message = with_receipt(message, Receipt("north", status, at, made.reference, reason=reason), 600)
    lines = story(message)
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert len(lines) > len(message.attempts)
    assert told(message.status, message.why).next_step.zh
