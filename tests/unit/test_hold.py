"""Holds: what is held is there to be captured, whatever others do meanwhile, and never more than there is."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.domain.errors import PROBLEMS, Refusal
from functions.domain.hold import (
    ENDED,
    HOLDS_PER_VOUCHER_MAX,
    KEPT_S,
    MINUTES_DEFAULT,
    MINUTES_MAX,
    State,
    capture,
    state,
    with_capture,
    with_hold,
    with_release,
)
from functions.domain.lot import Lot, Part, Rules, Scope, Segment, Status, Veto
from functions.domain.voucher import (
    DAY_S,
    REDEMPTIONS_PER_VOUCHER_MAX,
    Hold,
    Redemption,
    Release,
    Reversal,
    Standing,
    Voucher,
    fitting,
    redeem,
    standing,
    untouched,
    with_redemption,
    with_reversal,
)

NOW = 1_800_000_000
FACE_MINOR = 5_000
INDEX = 4
HELD_S = 900
RULES = Rules("cmp_1", "gift", FACE_MINOR, "CNY", "balance", "crockford16")
ACTIVE = Segment(0, 9, Status.ACTIVE, valid_until=NOW + DAY_S)


def lot_of(segment: Segment = ACTIVE) -> Lot:
    return Lot(100_000, RULES, (Part("bat_1", 0, 9, b"k"),), (segment,))


FRESH = untouched(lot_of(), ACTIVE, INDEX)


def at_of(voucher: Voucher | None, now: int = NOW, segment: Segment = ACTIVE) -> Standing:
    at = standing(lot_of(segment), INDEX, voucher, now)
    assert at is not None
    return at


def hold_of(id: str, amount: int, now: int = NOW, *, seconds: int = HELD_S, generation: int = 1) -> Hold:
    return Hold(id, now, now + seconds, "till-1", amount, 0, "f", generation, "r")


def redemption_of(id: str, taken: tuple[int, int, Status], now: int = NOW, hold: str | None = None) -> Redemption:
    amount, balance, status = taken
    number = ("mobile", "+8613812345678")
    return Redemption(id, now, "till-1", *number, amount, balance, status, "f", 1, 1, "r", hold=hold)


def held(amount: int, voucher: Voucher | None = None, id: str = "h1", now: int = NOW) -> Voucher:
    return with_hold(at_of(voucher, now), hold_of(id, amount, now))


def captured(voucher: Voucher, id: str, amount: int | None = None, now: int = NOW, *, single: bool = False) -> Voucher:
    hold = voucher.holds[id]
    taken = capture(at_of(voucher, now), hold, REDEMPTIONS_PER_VOUCHER_MAX, amount, single, now)
    return with_capture(voucher, hold, redemption_of(f"of-{id}", taken, now, id))


def released(voucher: Voucher, id: str, now: int = NOW) -> Voucher:
    return with_release(voucher, voucher.holds[id], Release("rel", now, "till-1", "r"))


# What is available


def test_what_is_held_is_not_available_until_its_second_comes() -> None:
    voucher = held(2_000)
    assert voucher.balance_minor == FACE_MINOR
    assert at_of(voucher, NOW + HELD_S - 1).available_minor == FACE_MINOR - 2_000
    assert at_of(voucher, NOW + HELD_S).available_minor == FACE_MINOR


@pytest.mark.parametrize("end", ["capture", "release"])
def test_what_is_captured_or_released_is_held_no_longer(end: str) -> None:
    voucher = held(2_000)
    after = captured(voucher, "h1", 500) if end == "capture" else released(voucher, "h1")
    assert at_of(after).available_minor == after.balance_minor == FACE_MINOR - (500 if end == "capture" else 0)


def test_a_hold_says_what_has_become_of_it() -> None:
    voucher = held(2_000)
    assert [state(voucher.holds["h1"], NOW + after) for after in (0, HELD_S - 1, HELD_S)] == [
        State.OPEN, State.OPEN, State.EXPIRED,
    ]  # fmt: skip
    later = NOW + 2 * HELD_S
    assert state(captured(voucher, "h1").holds["h1"], later) is State.CAPTURED
    assert state(released(voucher, "h1").holds["h1"], later) is State.RELEASED


def test_what_was_held_before_a_reclaim_keeps_nothing_of_what_came_after_and_is_remembered() -> None:
    segment = replace(ACTIVE, generation=2, vetoes=(Veto("rec_1", "reclaim", Scope.ALL, 1),))
    at = at_of(held(2_000), segment=segment)
    assert (at.voucher.generation, at.holds, at.available_minor) == (2, (), FACE_MINOR)
    assert set(at.voucher.holds) == {"h1"}


# What may be taken


@pytest.mark.parametrize(("amount", "key"), [
    (2_999, None), (3_000, None), (3_001, "amount_held"), (None, "amount_held"), (5_000, "amount_held"),
    (5_001, "amount_exceeds_balance"),
])  # fmt: skip
def test_a_redemption_and_another_hold_leave_alone_what_is_held(amount: int | None, key: str | None) -> None:
    at = at_of(held(2_000))
    if key is None:
        assert fitting(at, 100, amount, False) == amount
        assert redeem(at, 100, amount, False)[0] == amount
    else:
        with pytest.raises(Refusal, match=key) as refused:
            fitting(at, 100, amount, False)
        with pytest.raises(Refusal, match=key):
            redeem(at, 100, amount, False)
        told = {"amount_held": ("available_minor", 3_000), "amount_exceeds_balance": ("balance_minor", FACE_MINOR)}
        assert refused.value.extra == dict([told[key]])


def test_a_single_use_voucher_is_held_and_captured_whole() -> None:
    with pytest.raises(Refusal, match="partial_not_allowed"):
        fitting(at_of(None), 100, 4_999, True)
    assert fitting(at_of(None), 100, None, True) == FACE_MINOR
    voucher = held(FACE_MINOR)
    with pytest.raises(Refusal, match="partial_not_allowed"):
        captured(voucher, "h1", 4_999, single=True)
    assert captured(voucher, "h1", single=True).status is Status.REDEEMED


def test_a_capture_takes_what_is_held_or_less_and_never_more() -> None:
    voucher = held(2_000)
    with pytest.raises(Refusal, match="amount_exceeds_hold") as refused:
        captured(voucher, "h1", 2_001)
    assert refused.value.extra == {"held_minor": 2_000}
    assert captured(voucher, "h1").balance_minor == 3_000
    assert captured(voucher, "h1", 1).balance_minor == 4_999


@pytest.mark.parametrize("end", [State.CAPTURED, State.RELEASED, State.EXPIRED])
def test_a_hold_that_has_ended_is_not_captured(end: State) -> None:
    voucher, now = held(2_000), NOW
    if end is State.EXPIRED:
        now += HELD_S
    else:
        voucher = captured(voucher, "h1", 1) if end is State.CAPTURED else released(voucher, "h1")
    with pytest.raises(Refusal, match=ENDED[end][0]):
        captured(voucher, "h1", 1, now)
    assert PROBLEMS[ENDED[end][0]].status == (410 if end is State.EXPIRED else 409)


def test_an_open_hold_keeps_its_place_among_the_redemptions_that_a_voucher_may_have() -> None:
    voucher = held(100)
    with pytest.raises(Refusal, match="redemption_limit_reached"):
        redeem(at_of(voucher), 1, 10, False)
    with pytest.raises(Refusal, match="redemption_limit_reached"):
        fitting(at_of(voucher), 1, 10, False)
    assert capture(at_of(voucher), voucher.holds["h1"], 1, None, False, NOW)[0] == 100
    assert redeem(at_of(voucher, NOW + HELD_S), 1, 10, False)[0] == 10


# Vetoes and the end of validity


@pytest.mark.parametrize("action", ["void", "suspend", "reclaim"])
def test_a_veto_refuses_a_capture_as_it_refuses_a_redemption(action: str) -> None:
    vetoed = replace(ACTIVE, vetoes=(Veto("rec_1", action, Scope.ALL, 1),))
    voucher = held(2_000)
    with pytest.raises(Refusal, match="voucher_not_redeemable"):
        capture(at_of(voucher, segment=vetoed), voucher.holds["h1"], 100, None, False, NOW)


@pytest.mark.parametrize("status", [Status.VOID, Status.SUSPENDED, Status.REISSUED])
def test_so_does_one_on_the_voucher_itself(status: Status) -> None:
    voucher = replace(held(2_000), status=status)
    with pytest.raises(Refusal, match="voucher_not_redeemable"):
        captured(voucher, "h1")


def test_a_reclaim_that_is_over_refuses_it_too() -> None:
    segment = replace(ACTIVE, generation=2, vetoes=(Veto("rec_1", "reclaim", Scope.ALL, 1),))
    voucher = held(2_000)
    with pytest.raises(Refusal, match="voucher_not_redeemable"):
        capture(at_of(voucher, segment=segment), voucher.holds["h1"], 100, None, False, NOW)


def test_what_was_held_in_time_is_captured_after_the_end_of_validity() -> None:
    ends = replace(ACTIVE, valid_until=NOW + 60)
    voucher = held(2_000)
    at = at_of(voucher, NOW + 60, ends)
    assert at.reason == "expired"
    assert capture(at, voucher.holds["h1"], 100, None, False, NOW + 60)[0] == 2_000
    with pytest.raises(Refusal, match="voucher_expired"):
        fitting(at, 100, 1, False)


# How many


def test_ended_holds_make_room_a_day_after_their_time() -> None:
    voucher = held(1)
    for number in range(2, HOLDS_PER_VOUCHER_MAX + 1):
        voucher = released(held(1, voucher, f"h{number}"), f"h{number}")
    over = NOW + HELD_S + KEPT_S
    with pytest.raises(Refusal, match="hold_limit_reached"):
        held(1, voucher, "one too many", over - 1)
    assert set(held(1, voucher, "next", over).holds) == {"next"}


def test_a_hold_lasts_half_an_hour_at_most_and_is_known_for_longer_than_it_lasts() -> None:
    assert 1 <= MINUTES_DEFAULT <= MINUTES_MAX == 30
    assert KEPT_S >= DAY_S


# Any order of things


@dataclass
class Book:
    """What should be: a purse, and what is promised of it until when."""

    balance: int = FACE_MINOR
    promised: dict[str, tuple[int, int]] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    """Redemption → what it took, of those that were not reversed."""

    def free(self, now: int) -> int:
        return self.balance - sum(amount for amount, until in self.promised.values() if now < until)

    def allows(self, command: str, amount: int, which: str, now: int) -> bool:
        promised, until = self.promised.get(which, (0, 0))
        if command in ("hold", "redeem"):
            return amount <= self.free(now)
        return command == "reverse" or (now < until and (command == "release" or amount <= promised))

    def note(self, command: str, amount: int, which: str, id: str, now: int) -> None:
        if command == "hold":
            self.promised[id] = amount, now + HELD_S
        if command in ("capture", "release"):
            del self.promised[which]
        if command in ("redeem", "capture"):
            self.balance -= amount
            self.uses[id if command == "redeem" else f"of-{which}"] = amount
        if command == "reverse":
            self.balance += self.uses.pop(which)


amounts = st.integers(1, FACE_MINOR)
rounded = st.sampled_from([500, 1_250, 2_000, 3_000, FACE_MINOR])
"""So that what fits and what does not are both frequent."""
takes = st.sampled_from(["hold", "hold", "redeem", "capture", "capture", "release", "reverse"])
steps = st.lists(
    st.one_of(
        st.tuples(takes, rounded | amounts, st.integers(0, 9)),
        st.tuples(st.just("wait"), st.integers(1, HELD_S), st.just(0)),
    ),
    min_size=3,
    max_size=30,
)


def attempt(voucher: Voucher, command: str, amount: int, which: str, id: str, now: int) -> Voucher:
    """The voucher after a command. Raises Refusal."""
    at = at_of(voucher, now)
    if command == "hold":
        return with_hold(at, hold_of(id, fitting(at, 100, amount, False), now))
    if command == "redeem":
        return with_redemption(at.voucher, redemption_of(id, redeem(at, 100, amount, False), now))
    if command == "capture":
        return captured(voucher, which, amount, now)
    if command == "release":
        if state(voucher.holds[which], now) is not State.OPEN:
            raise Refusal(*ENDED[state(voucher.holds[which], now)])
        return released(voucher, which, now)
    return with_reversal(voucher, voucher.redemptions[which], Reversal(f"back-{id}", now, "c", "r", "f", "r"))


@settings(max_examples=100)
@given(steps)
def test_what_is_held_can_be_captured_whatever_comes_between(orders: list[tuple[str, int, int]]) -> None:
    """Every answer is that of a book with promises in it; so no capture in time ever finds too little."""
    voucher, book, now = FRESH, Book(), NOW
    for number, (command, amount, pick) in enumerate(orders):
        of_holds: Collection[str] = voucher.holds
        among = {"reverse": book.uses, "capture": of_holds, "release": of_holds}.get(command, [""])
        if command == "wait":
            now += amount
        if command == "wait" or not among:
            continue
        which, id = sorted(among)[pick % len(among)], f"{command}-{number}"
        if not book.allows(command, amount, which, now):
            with pytest.raises(Refusal):
                attempt(voucher, command, amount, which, id, now)
            continue
        voucher = attempt(voucher, command, amount, which, id, now)
        book.note(command, amount, which, id, now)
        assert (voucher.balance_minor, at_of(voucher, now).available_minor) == (book.balance, book.free(now))
        assert book.balance + sum(book.uses.values()) == FACE_MINOR
        for hold in voucher.holds.values():
            of_it = [r.amount_minor for r in voucher.redemptions.values() if r.hold == hold.id]
            assert sum(of_it) <= hold.amount_minor
            assert len(of_it) == (hold.redemption is not None)


def test_what_a_machine_with_a_fast_clock_promised_is_not_taken_by_one_with_a_slow_clock() -> None:
    """The first hold is over to the one, who lets a second in; to the other it has a second left."""
    voucher = held(3_000, held(3_000), "h2", NOW + HELD_S)
    with pytest.raises(Refusal, match="hold_expired"):
        captured(voucher, "h1", now=NOW + HELD_S - 1)
    assert captured(voucher, "h1", 2_000, NOW + HELD_S - 1).balance_minor == 3_000


@given(st.lists(st.tuples(st.sampled_from(["hold", "redeem", "capture"]), amounts, st.integers(-90, 90)), max_size=20))
def test_clocks_that_differ_break_a_promise_before_they_overdraw(orders: list[tuple[str, int, int]]) -> None:
    """Machines that are not agreed on whether a hold has ended: value is conserved, and nothing goes below zero."""
    voucher, now = FRESH, NOW
    for number, (command, amount, skew) in enumerate(orders):
        now += HELD_S // 4
        which = max(voucher.holds, default="", key=lambda id: voucher.holds[id].at)
        if command == "capture" and not which:
            continue
        with suppress(Refusal):
            voucher = attempt(voucher, command, amount, which, f"{command}-{number}", now + skew * 10)
        assert 0 <= at_of(voucher, now).available_minor <= voucher.balance_minor
        taken = sum(redemption.amount_minor for redemption in voucher.redemptions.values())
        assert voucher.balance_minor + taken == FACE_MINOR
