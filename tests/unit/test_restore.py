"""What is re-applied to an item of a restored table, from the events of its later writes."""

from __future__ import annotations

from typing import Any

from functions.domain.lot import Lot, Part, Rules, Scope, Segment, Status, Veto
from functions.domain.recovery import Action, Phase
from functions.domain.restore import UNKNOWN, Told, lot_after, recovery, told, voucher_after
from functions.domain.selection import Span
from functions.domain.serials import LOT_SIZE, serial_of
from functions.domain.voucher import Hold, Redemption, Suspension, Transfer, Voucher

NUMBER = 100_000
POSITION = NUMBER * LOT_SIZE
AT = "2027-01-15T08:00:00Z"
AT_S = 1_800_000_000
BY = {"client": "c", "role": "operator", "tenant": "operator", "address": "192.0.2.1", "request": "r"}
RULES = Rules("cmp_1", "recharge", 5_000, "CNY", "balance", "crockford16")
LOT = Lot(NUMBER, RULES, (Part("bat_1", 0, 99, b"wrapped"),), (Segment(0, 99, Status.ACTIVE),), version=1)
CARD = Voucher(POSITION, "cmp_1", "bat_1", Status.ACTIVE, 1, 5_000, "CNY", version=1)


def of(key: str, type: str, version: int, changes: dict[str, Any] | None = None, **data: Any) -> Told:
    event = {"id": f"1.{key}.{version}", "type": type, "at": AT, "by": BY, "data": data, "changes": changes or {}}
    found = told(event)
    assert found is not None
    return found


def lot(type: str, version: int = 2, changes: dict[str, Any] | None = None, **data: Any) -> Told:
    return of(f"LOT#{NUMBER:07d}", type, version, changes, lot=NUMBER, ranges=[[0, 9]], **data)


def card(type: str, version: int = 2, changes: dict[str, Any] | None = None, **data: Any) -> Told:
    return of(f"VOUCHER#{POSITION:011d}", type, version, changes, serial=serial_of(POSITION), lot=NUMBER, **data)


def after(item: Voucher | None, *lost: Told) -> Voucher:
    return voucher_after(LOT, POSITION, item, lost)[0]


def test_what_was_sold_since_is_out_of_stock() -> None:
    stock = Lot(NUMBER, RULES, LOT.parts, (Segment(0, 99),), version=1)
    (sold, rest) = lot_after(stock, [lot("lot.activated", 2, {"status": ["generated", "active"]}, command="act_1",
                                         sold=True)])[0].segments  # fmt: skip
    assert (sold.status, sold.sold, rest.status, rest.sold) == (Status.ACTIVE, True, Status.GENERATED, False)


def test_of_two_suspensions_the_one_that_was_resumed_is_lifted_in_whatever_order_it_is_told() -> None:
    lost = [lot("lot.recalled", 2 + n, recovery=f"rec_{n}", action="suspend", scope="all") for n in range(2)]
    lost += [lot("lot.resuming", 4, recovery="go", lifts="rec_0"), lot("lot.resumed", 5, recovery="go")]
    found, types = lot_after(LOT, reversed(lost))
    assert found.segments[0].vetoes == (Veto("rec_1", "suspend", Scope.ALL, 1),)
    assert (found.version, len(types)) == (5, 4)
    assert [done.command for done in found.commands] == ["rec_0.veto", "rec_1.veto", "go.veto", "go.release"]
    assert lot_after(found, lost) == (found, [])


def test_so_it_is_of_a_single_card() -> None:
    status = {"status": ["active", "suspended"]}
    lost = [card("voucher.suspended", 2, status, recovery="rec_0"), card("voucher.suspended", 3, recovery="rec_1"),
            card("voucher.resuming", 4, recovery="go", lifts="rec_0"),
            card("voucher.resumed", 5, recovery="go")]  # fmt: skip
    assert after(CARD, *lost).suspension == Suspension(Status.ACTIVE, ("rec_1",))
    ended = after(CARD, *lost, card("voucher.voided", 6, {"status": ["suspended", "void"]}, recovery="rec_2"))
    assert (ended.status, ended.suspension, ended.command) == (Status.VOID, None, "rec_2.veto")


def test_a_reversal_gives_a_suspended_card_its_status_back_for_when_it_is_resumed() -> None:
    used = Redemption("red_1", AT_S, "c", "mobile", "n", 5_000, 0, Status.REDEEMED, "", 1, 1, "r")
    before = Voucher(POSITION, "cmp_1", "bat_1", Status.SUSPENDED, 1, 0, "CNY", {"red_1": used}, version=1,
                     suspension=Suspension(Status.PARTLY_REDEEMED, ("rec_1",)))  # fmt: skip
    found = after(before, card("voucher.reversed", 2, {"balance_minor": [0, 5_000]}, reversal="rev_1",
                               redemption={"id": "red_1"}))  # fmt: skip
    assert (found.balance_minor, found.suspension) == (5_000, Suspension(Status.ACTIVE, ("rec_1",)))
    assert found.redemptions["red_1"].reversal is not None


def test_with_a_new_generation_all_begins_anew_but_what_answers_repeats() -> None:
    offer = Transfer("trf_1", AT_S, AT_S + 9, "c", "giver", b"", "", "r")
    before = Voucher(POSITION, "cmp_1", "bat_1", Status.CLAIMED, 1, 3_000, "CNY", holder="h", tenant="t", qr_step=7,
                     transfers={"trf_1": offer}, version=1)  # fmt: skip
    said = {"generation": [1, 2], "status": ["claimed", "partly_redeemed"]}
    redemption = {"id": "red_1", "amount_minor": 2_000, "account_type": "mobile", "balance_minor": 3_000,
                  "status": "partly_redeemed", "generation": 2}  # fmt: skip
    found = after(before, card("voucher.redeemed", 2, said, redemption=redemption))
    assert (found.generation, found.balance_minor, found.holder, found.qr_step) == (2, 3_000, None, 0)
    assert found.redemptions["red_1"].generation == 2
    assert found.transfers == {"trf_1": offer}


def test_holds_and_offers_that_ended_since_have_ended() -> None:
    hold = Hold("hld_1", AT_S, AT_S + 9, "c", 100, 5_000, "", 1, "r")
    offer = Transfer("trf_1", AT_S, AT_S + 9, "c", "giver", b"", "", "r")
    before = Voucher(POSITION, "cmp_1", "bat_1", Status.CLAIMED, 1, 5_000, "CNY", holds={"hld_1": hold},
                     transfers={"trf_1": offer}, version=1)  # fmt: skip
    found = after(
        before, card("voucher.released", 2, hold="hld_1"), card("voucher.offer_returned", 3, transfer="trf_1")
    )
    assert found.open_holds(AT_S) == ()
    assert found.offer(AT_S) is None
    assert len(before.open_holds(AT_S)) == 1


def test_a_card_that_was_replaced_twice_since_is_known_by_both() -> None:
    before = Voucher(POSITION, "cmp_1", "bat_1", Status.CLAIMED, 1, 5_000, "CNY", holder="h", tenant="t", version=1)
    old = after(before, card("voucher.reissued", 2, {"status": ["claimed", "reissued"], "balance_minor": [5_000, 0]},
                             recovery="rec_1", successor=serial_of(POSITION + 1), amount_minor=5_000))  # fmt: skip
    position = POSITION
    for number in (1, 2):
        told_ = of(f"VOUCHER#{position + 1:011d}", "voucher.issued", 1, {"status": [None, "claimed"]}, lot=NUMBER,
                   serial=serial_of(position + 1), predecessor=serial_of(position), recovery="rec_1",
                   amount_minor=5_000)  # fmt: skip
        new, _ = voucher_after(LOT, position + 1, None, [told_], old)
        assert (new.holder, new.tenant, new.origin and new.origin.number) == ("h", "t", number)
        assert new.replaces(old) or number == 2
        old, position = new, position + 1


def test_a_recovery_shows_by_what_it_did() -> None:
    did = [lot("lot.recalled", 2, recovery="rec_1", action="suspend", scope="not_redeemed").event,
           card("voucher.suspended", 2, recovery="rec_1").event]  # fmt: skip
    going = recovery("rec_1", did, None)
    assert (going.action, going.scope, going.phase) == (Action.SUSPEND, Scope.NOT_REDEEMED, Phase.FENCE)
    assert (going.spans[0], going.lots, going.fingerprint) == (Span(POSITION, POSITION + 9), 1, UNKNOWN)
    done = recovery("rec_1", did, {"selected": 10, "recovered": 9})
    assert (done.phase, done.recovered, done.completed_at) == (Phase.DONE, 9, AT_S)
    resume = recovery("go", [card("voucher.resuming", 3, recovery="go", lifts="rec_1").event], None)
    assert (resume.action, resume.lifts, resume.phase) == (Action.RESUME, "rec_1", Phase.SURVEY)
