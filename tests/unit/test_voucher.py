"""What may be done with a voucher: every row of the tables against rules written out a second time, by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.domain.actor import By
from functions.domain.errors import PROBLEMS, Refusal
from functions.domain.lot import Lot, Part, Rules, Scope, Segment, Status, Veto
from functions.domain.recovery import Action, Recovery, released
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import (
    REDEMPTIONS_PER_VOUCHER_MAX,
    REFUSALS,
    SPARED,
    STATUSES,
    VETO_STATUS,
    Redemption,
    Reversal,
    Standing,
    Suspension,
    Transfer,
    TransferEnd,
    Voucher,
    binding,
    redeem,
    standing,
    with_redemption,
    with_reversal,
)

NOW = 1_000
FACE_MINOR = 5_000
INDEX = 4
BY = By("c", "operator", "operator", "192.0.2.1", "r")
RULES = Rules("cmp_1", "recharge", FACE_MINOR, "CNY", "single", "crockford16")
TIMES = (None, NOW - 1, NOW, NOW + 1)


def lot_of(segment: Segment) -> Lot:
    return Lot(7, RULES, (Part("bat_1", 0, 9, b"k"),), (segment,))


def item_of(status: Status, generation: int = 1, valid_until: int | None = None) -> Voucher:
    balance = 0 if status is Status.REDEEMED else FACE_MINOR
    return Voucher(
        7 * LOT_SIZE + INDEX, "cmp_1", "bat_1", status, generation, balance, "CNY", valid_until=valid_until, version=3
    )


OFFER = Transfer("trf_1", NOW - 9, NOW + 1, "client", "giver", b"", "f", "r")
OVER = replace(OFFER, id="trf_0", end=TransferEnd("end_0", NOW - 1, accepted=False, fingerprint="f", request="r"))
OFFERS = [{t.id: t for t in transfers} for transfers in ([OFFER, OVER], [replace(OFFER, expires_at=NOW), OVER])]
"""One open and one returned; one over by time and one returned. Another generation has them from before."""

# The rules by hand, from the design's words and not from the code's tables.

SPARES = {
    "all": "redeemed void reissued",
    "not_redeemed": "redeemed void reissued partly_redeemed",
    "not_claimed": "redeemed void reissued partly_redeemed claimed",
    "not_activated": "redeemed void reissued partly_redeemed claimed active",
}


def is_bound(vetoes: tuple[Veto, ...], status: str, generation: int) -> str | None:
    """The action of the first veto that binds; a suspension only where nothing else does."""
    actions = [v.action for v in vetoes if status not in SPARES[v.scope].split() and not generation > v.generation]
    return next((action for action in actions if action != "suspend"), actions[0] if actions else None)


def before(item: Voucher) -> str:
    """Its status but for a suspension of its own."""
    return item.suspension.was if item.suspension else item.status


def oracle(segment: Segment, item: Voucher | None, now: int) -> tuple[str, str | None]:
    """(effective status, key of a stranger's refusal or None)."""
    ended = tuple(v for v in segment.vetoes if v.generation < segment.generation and v.action == "reclaim")
    if item is not None and is_bound(ended, before(item), item.generation):
        item = None  # reclaimed: its index starts anew
    if item is not None and item.status in ("generated", "distributed") and item.generation == segment.generation:
        item = replace(item, status=segment.status)
    if item is None:
        status, generation, until = str(segment.status), segment.generation, segment.valid_until
        granted = status == "active"
    else:
        status, generation = str(item.status), item.generation
        until = segment.valid_until if item.valid_until is None else item.valid_until
        own_grant = status in ("active", "claimed", "partly_redeemed", "redeemed")
        granted = own_grant or (segment.status == "active" and generation == segment.generation)
    if status in ("void", "reissued"):
        return status, "voucher_not_redeemable"
    if status == "redeemed":
        return "redeemed", "already_redeemed"
    action = is_bound(segment.vetoes, status if item is None else before(item), generation)
    if action or status == "suspended":
        shown = {"reclaim": "reclaimed", "void": "void", "suspend": "suspended"}[action or "suspend"]
        return shown, "voucher_not_redeemable"
    if not granted:
        return status, "voucher_not_redeemable"
    if until is not None and until <= now:
        return "expired", "voucher_expired"
    own = [t for t in item.transfers.values() if t.generation == generation] if item is not None else []
    if any(t.end is None and t.expires_at > now for t in own):
        return status, "voucher_offered"
    return status, None


def segments() -> list[Segment]:
    vetoes: list[tuple[Veto, ...]] = [()]
    vetoes += [(Veto("r1", "suspend", scope, generation),) for scope in Scope for generation in (1, 2)]
    vetoes += [(Veto("r1", "reclaim", Scope.NOT_CLAIMED, 1), Veto("r2", "void", scope, 2)) for scope in Scope]
    vetoes += [(Veto("r1", "suspend", Scope.ALL, 2), Veto("r2", "void", scope, 2)) for scope in Scope]
    statuses = (Status.GENERATED, Status.DISTRIBUTED, Status.ACTIVE)
    return [
        Segment(0, 9, status, generation, valid_until=until, vetoes=standing_vetoes)
        for status, generation, until, standing_vetoes in product(statuses, (1, 2), TIMES, vetoes)
    ]


def items() -> list[Voucher | None]:
    touched = [item_of(status, generation, until) for status, generation, until in product(Status, (1, 2), TIMES)]
    touched += [
        replace(item, status=Status.SUSPENDED, suspension=Suspension(item.status, ("r3",)))
        for item in touched
        if item.status not in (Status.SUSPENDED, Status.REDEEMED, Status.VOID, Status.REISSUED)
    ]
    return [None, *touched, *(replace(item, transfers=offers) for item in touched for offers in OFFERS)]


def test_every_state_stands_as_the_rules_say() -> None:
    cases = list(product(segments(), items()))
    assert len(cases) > 60_000
    for segment, item in cases:
        at = standing(lot_of(segment), INDEX, item, NOW)
        assert at is not None
        refusal = REFUSALS[at.reason] if at.reason is not None else None
        assert (at.status, refusal) == oracle(segment, item, NOW), (segment, item)
        assert at.redeemable == (refusal is None)


def test_every_state_is_reached_by_the_table_of_states() -> None:
    """So that the test above leaves no row out."""
    reached = {oracle(segment, item, NOW) for segment, item in product(segments(), items())}
    assert {refusal for _, refusal in reached} == {None, *REFUSALS.values()}
    assert {status for status, _ in reached} == {*map(str, Status), *VETO_STATUS.values(), "expired"}


def test_the_tables_have_a_row_for_every_status_and_scope() -> None:
    assert set(STATUSES) == set(Status)
    assert {str(scope): {str(s) for s in spared} for scope, spared in SPARED.items()} == {
        scope: set(text.split()) for scope, text in SPARES.items()
    }


def test_what_a_stranger_learns_is_one_of_four_answers() -> None:
    assert {key: PROBLEMS[key].status for key in REFUSALS.values()} == {
        "voucher_not_redeemable": 404,
        "already_redeemed": 409,
        "voucher_expired": 410,
        "voucher_offered": 409,
    }


def test_an_index_that_was_never_generated_stands_nowhere() -> None:
    assert standing(lot_of(Segment(0, 9)), 10, None, NOW) is None


def test_a_reclaimed_voucher_starts_anew_and_remembers_its_old_redemptions() -> None:
    """So that a repeat of an old order is still answered, and the next write still knows the item's version."""
    old = with_redemption(item_of(Status.ACTIVE), _redemption("old", 1_200, FACE_MINOR - 1_200))
    segment = Segment(0, 9, Status.ACTIVE, 2, vetoes=(Veto("r1", "reclaim", Scope.ALL, 1),))
    at = standing(lot_of(segment), INDEX, old, NOW)
    assert at is not None
    assert (at.voucher.generation, at.voucher.balance_minor, at.redeemable) == (2, FACE_MINOR, True)
    assert (at.voucher.redemptions, at.voucher.version) == (old.redemptions, old.version)


def test_what_a_reclaim_spared_keeps_the_end_of_its_generation() -> None:
    spared = replace(item_of(Status.PARTLY_REDEEMED), generation=1)
    for days, ends in ((30, NOW + 5), (None, NOW + 9)):
        old = Segment(0, 9, Status.ACTIVE, valid_until=NOW + 5, vetoes=(Veto("r1", "reclaim", Scope.NOT_CLAIMED, 1),))
        lot = lot_of(old)
        lot = replace(lot, rules=replace(lot.rules, valid_days_after_activation=days))
        freed = released(Recovery("r1", "", (), Action.RECLAIM, Scope.NOT_CLAIMED, "", None, 1, BY, NOW), lot, old)
        assert isinstance(freed, Segment)
        again = replace(lot, segments=(replace(freed, status=Status.ACTIVE, valid_until=NOW + 9),))
        at = standing(again, INDEX, spared, NOW)
        assert at is not None
        assert (at.voucher.generation, at.valid_until) == (1, ends)


def test_of_two_vetoes_resuming_one_leaves_the_other_binding() -> None:
    one, other = Veto("r1", "suspend", Scope.ALL, 1), Veto("r2", "void", Scope.NOT_CLAIMED, 1)
    assert binding((one, other), Status.ACTIVE, 1) == other
    assert binding((one, other), Status.CLAIMED, 1) == one
    assert binding((other,), Status.ACTIVE, 1) == other
    assert binding((other,), Status.CLAIMED, 1) is None


# Value


def _redemption(id: str, amount: int, balance: int, status: Status = Status.PARTLY_REDEEMED) -> Redemption:
    return Redemption(id, NOW, "till-1", "mobile", "+8613812345678", amount, balance, status, "f", 1, 1, "r")


def _reversal(id: str) -> Reversal:
    return Reversal(f"rev-{id}", NOW, "till-1", "wrong", "f", "r")


def at_of(voucher: Voucher) -> Standing:
    at = standing(lot_of(Segment(0, 9, Status.ACTIVE)), INDEX, voucher, NOW)
    assert at is not None
    return at


def refusal_of(at: Standing, amount_minor: int | None, single: bool) -> str | None:
    try:
        redeem(at, REDEMPTIONS_PER_VOUCHER_MAX, amount_minor, single)
    except Refusal as refusal:
        return refusal.key
    return None


@given(st.integers(1, 10**12), st.none() | st.integers(-2, 2) | st.integers(-(10**12), 10**12), st.booleans())
@example(5_000, 1, False)
@example(5_000, 1, True)
def test_a_redemption_takes_what_was_asked_or_is_refused(balance: int, beyond: int | None, single: bool) -> None:
    """Often the amount is the balance, or one unit more or less."""
    amount = None if beyond is None else max(1, balance + beyond)
    at = at_of(replace(item_of(Status.ACTIVE), balance_minor=balance))
    if amount is not None and amount > balance:
        assert refusal_of(at, amount, single) == "amount_exceeds_balance"
    elif amount is not None and amount < balance and single:
        assert refusal_of(at, amount, single) == "partial_not_allowed"
    else:
        taken, left, status = redeem(at, REDEMPTIONS_PER_VOUCHER_MAX, amount, single)
        assert taken == (amount or balance)
        assert taken + left == balance
        assert status is (Status.PARTLY_REDEEMED if left else Status.REDEEMED)


@pytest.mark.parametrize("status", Status)
def test_only_a_redeemable_voucher_gives_value(status: Status) -> None:
    at = standing(lot_of(Segment(0, 9)), INDEX, item_of(status), NOW)
    assert at is not None
    _, refused = oracle(Segment(0, 9), item_of(status), NOW)
    if refused is None:
        assert redeem(at, REDEMPTIONS_PER_VOUCHER_MAX, None, True)[0] == FACE_MINOR
    else:
        with pytest.raises(Refusal, match=refused):
            redeem(at, REDEMPTIONS_PER_VOUCHER_MAX, None, True)


def test_the_last_redemption_that_a_voucher_may_have_can_take_the_rest_and_then_none_follows() -> None:
    voucher = item_of(Status.ACTIVE)
    for number in range(REDEMPTIONS_PER_VOUCHER_MAX - 1):
        voucher = with_redemption(voucher, _redemption(f"r{number}", 1, FACE_MINOR - number - 1))
    taken, left, status = redeem(at_of(voucher), REDEMPTIONS_PER_VOUCHER_MAX, None, False)
    assert (taken, left, status) == (FACE_MINOR - REDEMPTIONS_PER_VOUCHER_MAX + 1, 0, Status.REDEEMED)
    full = with_redemption(voucher, _redemption("last", 1, voucher.balance_minor - 1))
    with pytest.raises(Refusal, match="redemption_limit_reached"):
        redeem(at_of(full), REDEMPTIONS_PER_VOUCHER_MAX, 1, False)


@given(st.lists(st.integers(1, 900), min_size=1, max_size=8), st.data())
def test_every_reversal_restores_exactly_what_its_redemption_took(amounts: list[int], data: st.DataObject) -> None:
    holder = data.draw(st.sampled_from([None, "customer-1"]))
    whole = replace(item_of(Status.ACTIVE if holder is None else Status.CLAIMED), holder=holder)
    voucher, ids = whole, []
    for number, amount in enumerate(amounts):
        if amount > voucher.balance_minor:
            break
        left = voucher.balance_minor - amount
        redemption = _redemption(f"r{number}", amount, left, Status.PARTLY_REDEEMED if left else Status.REDEEMED)
        voucher = with_redemption(voucher, redemption)
        ids.append(redemption.id)
    order = data.draw(st.permutations(ids))
    for done, id in enumerate(order, 1):
        before = voucher
        voucher = with_reversal(voucher, voucher.redemptions[id], _reversal(id))
        assert voucher.balance_minor == before.balance_minor + before.redemptions[id].amount_minor
        reversal = voucher.redemptions[id].reversal
        assert reversal is not None and reversal.balance_minor == voucher.balance_minor
        standing_still = sum(r.amount_minor for r in voucher.redemptions.values() if r.reversal is None)
        assert voucher.balance_minor + standing_still == FACE_MINOR
        expected = whole.status if done == len(order) else Status.PARTLY_REDEEMED
        assert voucher.status is expected
    assert voucher.balance_minor == FACE_MINOR


@pytest.mark.parametrize("status", [s for s in Status if STATUSES[s].vetoes])
def test_value_comes_back_to_a_vetoed_voucher_and_it_stays_vetoed(status: Status) -> None:
    used = with_redemption(item_of(Status.ACTIVE), _redemption("r1", 2_000, FACE_MINOR - 2_000))
    vetoed = replace(used, status=status)
    back = with_reversal(vetoed, vetoed.redemptions["r1"], _reversal("r1"))
    assert (back.balance_minor, back.status) == (FACE_MINOR, status)


def test_redemptions_of_an_older_generation_do_not_keep_a_voucher_partly_redeemed() -> None:
    old = replace(_redemption("old", 1_000, 4_000), generation=1)
    new = replace(_redemption("new", 700, FACE_MINOR - 700), generation=2)
    voucher = replace(item_of(Status.PARTLY_REDEEMED, generation=2), redemptions={"old": old, "new": new})
    back = with_reversal(replace(voucher, balance_minor=FACE_MINOR - 700), new, _reversal("new"))
    assert (back.status, back.balance_minor) == (Status.ACTIVE, FACE_MINOR)
