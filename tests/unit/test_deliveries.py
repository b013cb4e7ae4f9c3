"""The counts of how SMS fare: what writes move comes to what a recount finds; percentiles to the second."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from functions.domain.deliveries import (
    EXACT_S,
    HOUR_S,
    REMEMBERED_S,
    Cell,
    Counts,
    Sum,
    counted_s,
    counts,
    grouped,
    moved,
)
from functions.domain.message import Attempt, Message, Outcome, Receipt, Status, TemplateCall, with_receipt
from functions.domain.reasons import IN_DOUBT

REDEEMED = "voucher.redeemed"
CALL = TemplateCall(REDEEMED, "en", 1, (("serial", "010000000003"),))
NEW = Message("msg_1", REDEEMED, "010000000003", "+8613812345678", "text", 0, template=CALL, version=1)
PROVIDERS = st.sampled_from(["north", "south"])
OUTCOMES = st.sampled_from([Outcome(provider_id="1"), Outcome("blocked"), Outcome("provider_down"), Outcome(IN_DOUBT)])
RECEIPTS = st.sampled_from([(Status.DELIVERED, None), (Status.UNDELIVERED, "phone_full"), (Status.SENT, None)])


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """The versions of a message, from attempts and receipts in any order."""
    versions = [NEW]
    for at in range(0, draw(st.integers(1, 6)) * HOUR_S, HOUR_S // 2):
        message = versions[-1]
        if message.status is Status.QUEUED:
            message = message.begun(draw(PROVIDERS), str(at), at, traceable=True)
        elif message.status is Status.SENDING:
            message = message.ended(message.attempts[-1].turn, draw(OUTCOMES), at)
        else:
            status, reason = draw(RECEIPTS)
            last = message.attempts[-1]
            message = with_receipt(message, Receipt(last.provider, status, at, last.reference, None, reason), at)
        versions.append(message)
    return versions


@given(st.lists(histories(), min_size=1, max_size=4), st.randoms())
def test_what_all_writes_move_in_any_order_is_what_a_recount_finds(lives: list[list[Message]], random: object) -> None:
    writes = [(old, new) for life in lives for old, new in zip([None, *life], life, strict=False)]
    random.shuffle(writes)  # type: ignore[attr-defined]
    total = Counts()
    for old, new in writes:
        total.update(moved(old, new))
    recount = Counts()
    for life in lives:
        recount.update(counts(life[-1]))
    assert {key: n for key, n in total.items() if n} == recount
    sums = grouped([(cell, {name: n}) for (cell, name), n in total.items()], ())
    assert sums[()].messages.total() == len(lives)
    assert sums[()].attempts.total() == sum(len(life[-1].attempts) for life in lives)


def test_a_message_counts_by_its_status_and_each_attempt_by_its_outcome() -> None:
    failed = Attempt("north", "msg_1-1", 10, "a", outcome=Status.FAILED, reason="provider_down")
    arrived = Attempt("south", "msg_1-2", HOUR_S, "b", outcome=Status.DELIVERED, sent_at=HOUR_S, receipt_at=HOUR_S + 4)
    message = Message(
        "msg_1", REDEEMED, "010000000003", "+86", "text", 0, Status.DELIVERED, (failed, arrived), template=CALL,
        carrier="China Mobile", region="Beijing",
    )  # fmt: skip
    where = ("China Mobile", "Beijing")
    first, second = Cell(0, "north", *where, "provider_down", REDEEMED), Cell(1, "south", *where, "", REDEEMED)
    assert counts(message) == {
        (Cell(0, "south", *where, "", REDEEMED), "m_delivered"): 1,
        (first, "a_failed"): 1,
        (second, "a_delivered"): 1,
        (second, "t_4"): 1,
    }
    assert moved(message, message) == {}


def test_a_message_of_no_template_counts_by_its_event() -> None:
    ((cell, name),) = counts(Message("msg_1", REDEEMED, "010000000003", "+86", "text", 0))
    assert (cell, name) == (Cell(0, "", "", "", "", REDEEMED), "m_queued")


@given(st.lists(st.integers(0, EXACT_S), min_size=1, max_size=30), st.sampled_from([1, 50, 95, 100]))
def test_a_percentile_is_the_time_of_its_nearest_rank_to_the_second(times: list[int], percent: int) -> None:
    total = Sum(times=Counter(map(counted_s, times)))
    assert total.percentile_s(percent) == sorted(times)[-(-len(times) * percent // 100) - 1]


@given(st.integers(EXACT_S + 1, REMEMBERED_S))
def test_what_took_long_is_counted_by_less_than_a_tenth_too_long(seconds: int) -> None:
    assert seconds <= counted_s(seconds) < seconds * 1.1


def test_a_cell_has_few_times_however_late_receipts_come_and_none_is_beyond_what_is_remembered() -> None:
    every = {counted_s(seconds) for seconds in range(2 * 86_400)}
    assert len(every) < 2_100
    assert counted_s(REMEMBERED_S + 1) == REMEMBERED_S


def test_the_rate_is_of_what_providers_took() -> None:
    nothing = Sum()
    assert nothing.delivery_rate is None
    assert nothing.percentile_s(50) is None
    assert nothing.is_empty
    nothing.add({"a_failed": 5, "m_failed": 5})
    assert nothing.delivery_rate is None
    nothing.add({"a_delivered": 2, "a_undelivered": 1, "a_sent": 1, "ttl_epoch_s": 7})
    assert nothing.delivery_rate == 0.5


def test_cells_are_summed_by_what_is_asked_and_what_has_left_one_is_not_shown() -> None:
    one, other = Cell(1, "north", "", "", "", REDEEMED), Cell(2, "north", "", "", "blocked", REDEEMED)
    parts = [(one, {"m_sent": 2}), (other, {"m_sent": 1}), (one, {"m_sent": -2}), (other, {"a_failed": 1})]
    assert list(grouped(parts, ("hour", "reason"))) == [(2, "blocked")]
    assert grouped(parts, ("provider",))["north",].messages == {"sent": 1}
    assert grouped([(one, {"m_sent": 1}), (one, {"m_sent": -1})], ()) == {}
