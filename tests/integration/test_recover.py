"""Recoveries over the API: whom they reach, from when on, what they report, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from functions.domain.lot import SEGMENTS_PER_LOT_MAX, Lot, Status
from functions.domain.recovery import Recovery
from functions.domain.selection import RANGE_MAX, SERIALS_MAX
from functions.domain.serials import LOT_SIZE, position_of, serial_of
from functions.domain.voucher import DAY_S, Voucher, standing
from functions.recover import reports
from functions.store import keys, statistics, table
from functions.store.aws import FENCE_S
from functions.store.entities import LOT, VOUCHER
from functions.store.jobs import IN_CALL_S
from infra.local.gateway import Answer
from tests.integration.conftest import Clock
from tests.integration.kami import NOBODY, TOLD, Caller, Json, Kami, granted, mobile, refused, replayed, unique

STEPS_MAX = 20
PLACES = ("generated", "active", "partly redeemed", "redeemed", "reversed", "claimed")
"""What became of the first vouchers of a stock, one of each."""
SPARED: dict[str | None, dict[int, str]] = {
    None: {3: "redeemed"},
    "not_redeemed": {2: "partly_redeemed", 3: "redeemed"},
    "not_claimed": {2: "partly_redeemed", 3: "redeemed", 5: "claimed"},
    "not_activated": {1: "activated", 2: "partly_redeemed", 3: "redeemed", 4: "active", 5: "claimed"},
}
"""By `only`: the places that a recovery leaves as they are, and the reason that it gives."""
BEFORE = ["generated", "active", "partly_redeemed", "redeemed", "active", "claimed"]
"""The statuses of the places."""


class Stock:
    """Six vouchers of one batch, each of another kind; a second batch lies behind them in the same lot."""

    def __init__(self, kami: Kami) -> None:
        campaign = kami.campaign(redemption="balance")["id"]
        self.kami = kami
        self.batch, self.behind = (kami.batch(campaign, quantity)["id"] for quantity in (len(PLACES), 2))
        self.serials = kami.serials(self.batch)
        self.neighbours = kami.serials(self.behind)
        kami.activate(first_serial=self.serials[1], last_serial=self.serials[5])
        self.codes = kami.codes(self.serials)
        self.holder = mobile()
        self.redemptions = [
            granted(kami.merchant.redeem(self.codes[place], account=self.holder, amount_minor=amount_minor), 201)["id"]
            for place, amount_minor in ((2, 2_000), (3, 5_000), (4, 1_000))
        ]
        granted(kami.merchant.reverse(self.redemptions[2]), 201)
        self.claim(5)

    @property
    def lot(self) -> int:
        return int(self.serials[0][:7])

    def claim(self, place: int) -> None:
        """Gives a voucher a holder, as a claim will."""

        def claimed(lot: Lot | None) -> Voucher:
            at = standing(lot, place, None, 0) if lot is not None else None
            assert at is not None
            return replace(at.voucher, status=Status.CLAIMED, holder=self.holder, command="act_claim")

        with self.kami.cloud.environment("redeem"):
            lot = table.read(LOT, keys.lot(self.lot))
            table.change(VOUCHER, None, lambda _: claimed(lot), "activate", NOBODY)

    def statuses(self) -> list[str]:
        return list(self.kami.statuses(self.batch).values())


SELECTIONS: dict[str, Callable[[Stock], Json]] = {
    "serials": lambda stock: {"serials": stock.serials[::-1]},
    "range": lambda stock: {"first_serial": stock.serials[0], "last_serial": stock.serials[-1]},
    "lot": lambda stock: {"lot": stock.lot},
    "batch": lambda stock: {"batch": stock.batch},
}


@pytest.fixture
def stock(kami: Kami, clock: Clock) -> Stock:
    return Stock(kami)


def order(kami: Kami, selection: Json, action: str = "void", **more: str) -> Json:
    """A recovery that was accepted."""
    body = {"selection": selection, "action": action, "reason": "stolen", **more}
    return granted(kami.operator.post("/v1/recoveries", body), 202)


def read(kami: Kami, id: str, query: str = "?limit=100") -> Json:
    return granted(kami.operator.get(f"/v1/recoveries/{id}{query}"))


def steps(kami: Kami, clock: Clock) -> Iterator[None]:
    """What the queue brings, moving the clock on where all that is left to do has to wait."""
    for _ in range(STEPS_MAX):
        kami.cloud.drain(delayed=False)
        yield
        if not kami.cloud.hasten():
            return
        clock.advance(FENCE_S)
    raise AssertionError("it does not end")


def completed(kami: Kami, clock: Clock, id: str) -> Json:
    """The recovery when all is done, its report added up."""
    for _ in steps(kami, clock):
        pass
    recovery = read(kami, id)
    skipped = recovery["skipped"]
    assert (recovery["status"], recovery["phase"]) == ("completed", "done")
    assert recovery["completed_at"] >= recovery["created_at"]
    assert recovery["selected"] == recovery["recovered"] + skipped["count"]
    assert skipped["count"] == sum(skipped["by_reason"].values())
    if "next_cursor" not in skipped:
        assert Counter(line["reason"] for line in skipped["data"]) == skipped["by_reason"]
    return recovery


def told(kami: Kami, holder: str) -> list[str]:
    """The serials of which a phone heard that they are gone."""
    texts = [sms["text"] for sms in kami.cloud.carriers.phone(holder)]
    return sorted(text.partition("卡号 ")[2][:12] for text in texts if "收回" in text)


CASES = [
    (kind, action, only)
    for action in ("void", "reclaim")
    for kind in SELECTIONS
    for only in SPARED
    if only is None or kind in ("serials", "batch")
]


@pytest.mark.parametrize(("kind", "action", "only"), CASES)
def test_a_recovery_reaches_what_was_selected_and_spares_what_has_gone_further(
    stock: Stock, clock: Clock, kind: str, action: str, only: str | None
) -> None:
    kami, spared = stock.kami, SPARED[only]
    reached = [place for place in range(len(PLACES)) if place not in spared]
    recovery = order(kami, SELECTIONS[kind](stock), action, **({"only": only} if only else {}))
    assert (recovery["status"], recovery["phase"], recovery["recovered"]) == ("in_progress", "fence", 0)
    assert (recovery["action"], recovery["reason"], recovery.get("only")) == (action, "stolen", only)
    vetoed = "void" if action == "void" else "reclaimed"
    at_once = [vetoed if place in reached else BEFORE[place] for place in range(len(PLACES))]
    assert stock.statuses() == at_once
    for place in reached:
        refused(kami.merchant.redeem(stock.codes[place], amount_minor=1), 404, "voucher_not_redeemable")
        refused(kami.merchant.verify(stock.codes[place]), 404, "voucher_not_redeemable")
    for place in set(spared) & {1, 2, 4, 5}:
        granted(kami.merchant.verify(stock.codes[place]))

    recovery = completed(kami, clock, recovery["id"])
    others = len(stock.neighbours) if kind == "lot" else 0
    assert recovery["selected"] == len(PLACES) + others
    assert {line["serial"]: line["reason"] for line in recovery["skipped"]["data"]} == {
        stock.serials[place]: reason for place, reason in spared.items()
    }
    assert recovery["progress"] == {"lots_done": 1, "lots": 1}
    ended = "void" if action == "void" else "generated"
    assert stock.statuses() == [ended if place in reached else BEFORE[place] for place in range(len(PLACES))]
    assert set(kami.statuses(stock.behind).values()) == {ended if others else "generated"}
    assert told(kami, stock.holder) == [stock.serials[place] for place in (2, 5) if place in reached]


@pytest.mark.parametrize("kind", ["serials", "range", "batch"])
def test_a_reclaimed_range_is_handed_out_again_under_new_codes(stock: Stock, clock: Clock, kind: str) -> None:
    kami = stock.kami
    recovery = order(kami, SELECTIONS[kind](stock), "reclaim", only="not_claimed")["id"]
    completed(kami, clock, recovery)
    again = kami.activate(batch=stock.batch)
    assert (again["activated"], again["skipped"]["count"]) == (6, 0)
    codes = kami.codes(stock.serials)
    assert [old == new for old, new in zip(stock.codes, codes, strict=True)] == [False, False, True, True, False, True]
    for place in (0, 1, 4):
        refused(kami.merchant.redeem(stock.codes[place]), 404, "voucher_not_redeemable")
        redeemed = granted(kami.merchant.redeem(codes[place]), 201)
        assert (redeemed["amount_minor"], redeemed["balance_minor"]) == (5_000, 0)
    refused(kami.merchant.redeem(codes[3]), 409, "already_redeemed")
    assert granted(kami.merchant.redeem(codes[2]), 201)["amount_minor"] == 3_000
    assert granted(kami.merchant.redeem(codes[5]), 201)["amount_minor"] == 5_000
    voucher = granted(kami.operator.get(f"/v1/vouchers/{stock.serials[0]}"))
    assert voucher["generation"] == 2


def test_what_was_used_before_it_was_reclaimed_begins_anew_and_repeats_are_still_answered(
    stock: Stock, clock: Clock
) -> None:
    kami, key, account = stock.kami, unique(), mobile()
    first = kami.merchant.redeem(stock.codes[2], key, account, amount_minor=1_000)
    completed(kami, clock, order(kami, {"serials": [stock.serials[2]]}, "reclaim")["id"])
    kami.activate(serials=[stock.serials[2]])
    (code,) = kami.codes([stock.serials[2]])
    assert granted(kami.merchant.redeem(code, amount_minor=4_000), 201)["balance_minor"] == 1_000
    repeat = kami.merchant.redeem(stock.codes[2], key, account, amount_minor=1_000)
    assert replayed(repeat)
    assert repeat.body == first.body
    refused(kami.merchant.reverse(first.json()["id"]), 409, "reversal_not_possible")


@pytest.mark.parametrize("kind", SELECTIONS)
def test_nothing_of_a_range_is_activated_while_it_is_being_reclaimed(stock: Stock, clock: Clock, kind: str) -> None:
    kami, body = stock.kami, {"selection": SELECTIONS[kind](stock)}
    recovery = order(kami, {"batch": stock.batch}, "reclaim")["id"]
    phases = []
    for _ in steps(kami, clock):
        phases.append(read(kami, recovery)["phase"])
        if phases[-1] != "done":
            answer = kami.operator.post("/v1/activations", body)
            refused(answer, 409, "recovery_in_progress")
            assert answer.header("retry-after")
    assert list(dict.fromkeys(phases)) == ["fence", "done"]
    granted(kami.operator.post("/v1/activations", body), 201)


def test_what_is_not_being_reclaimed_is_activated_meanwhile(stock: Stock) -> None:
    order(stock.kami, {"batch": stock.batch}, "reclaim")
    assert stock.kami.activate(batch=stock.behind)["activated"] == 2


def test_what_is_void_is_skipped_by_an_activation(stock: Stock, clock: Clock) -> None:
    recovery = order(stock.kami, {"batch": stock.batch})["id"]
    for _ in range(2):
        activation = stock.kami.activate(batch=stock.batch)
        assert (activation["activated"], activation["skipped"]["by_reason"]) == (0, {"recalled": 6})
        completed(stock.kami, clock, recovery)


def test_the_report_waits_for_the_fence(stock: Stock, clock: Clock) -> None:
    """Not a second before may it say what was redeemed."""
    kami = stock.kami
    recovery = order(kami, {"batch": stock.batch})["id"]
    kami.cloud.drain(delayed=False)
    kami.cloud.hasten()
    clock.advance(FENCE_S - 1)
    kami.cloud.drain(delayed=False)
    early = read(kami, recovery)
    assert (early["phase"], early["selected"], early["skipped"]["count"]) == ("fence", 0, 0)
    assert early["progress"] == {"lots_done": 0, "lots": 1}
    assert "completed_at" not in early
    kami.cloud.hasten()
    clock.advance(1)
    kami.cloud.drain(delayed=False)
    assert read(kami, recovery)["status"] == "completed"


def test_progress_shows_lot_by_lot(kami: Kami, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.store.lots.CHUNK", 1)
    batch = kami.batch(kami.campaign()["id"], 2 * LOT_SIZE + 1)
    recovery = order(kami, {"batch": batch["id"]})
    assert recovery["progress"] == {"lots_done": 0, "lots": 3}
    seen: list[tuple[int, int]] = []
    change = table.change

    def watched(*args: Any, **kwargs: Any) -> Any:
        result = change(*args, **kwargs)
        if isinstance(result, Recovery):
            seen.append((result.lots_done, result.recovered))
        return result

    monkeypatch.setattr(table, "change", watched)
    done = completed(kami, clock, recovery["id"])
    assert [pair for pair in seen if pair[0]] == [(1, LOT_SIZE), (2, 2 * LOT_SIZE), (3, 2 * LOT_SIZE + 1)]
    assert (done["recovered"], done["progress"]) == (2 * LOT_SIZE + 1, {"lots_done": 3, "lots": 3})
    counts = granted(kami.operator.get(f"/v1/batches/{batch['id']}"))["counts"]
    assert counts == {"void": 2 * LOT_SIZE + 1}


def test_a_lot_cut_into_too_many_pieces_is_voided_voucher_by_voucher(kami: Kami, clock: Clock) -> None:
    batch = kami.batch(kami.campaign()["id"], 2 * SEGMENTS_PER_LOT_MAX + 2)
    kami.activate(batch=batch["id"])
    serials = kami.serials(batch["id"])
    odd, even = serials[1::2], serials[::2]
    done = completed(kami, clock, order(kami, {"serials": odd})["id"])
    assert (done["recovered"], done["skipped"]["count"]) == (len(odd), 0)
    assert [s for s, status in kami.statuses(batch["id"]).items() if status == "void"] == odd
    half = completed(kami, clock, order(kami, {"serials": even}, "reclaim")["id"])
    assert (half["recovered"], half["skipped"]["by_reason"]) == (0, {"lot_fragmented": len(even)})
    (code,) = kami.codes(even[:1])
    granted(kami.merchant.redeem(code), 201)
    kami.cloud.drain(delayed=False)
    counts = granted(kami.operator.get(f"/v1/batches/{batch['id']}"))["counts"]
    assert counts == {"void": len(odd), "active": len(even) - 1, "redeemed": 1}


# What is recovered already, or in part


@pytest.mark.parametrize("second", ["void", "reclaim"])
@pytest.mark.parametrize("first", ["void", "reclaim"])
def test_what_is_being_recovered_is_skipped_by_another_recovery(
    stock: Stock, clock: Clock, first: str, second: str
) -> None:
    one = order(stock.kami, {"batch": stock.batch}, first)["id"]
    other = order(stock.kami, {"batch": stock.batch}, second)["id"]
    one, other = (completed(stock.kami, clock, id) for id in (one, other))
    assert (one["recovered"], one["skipped"]["by_reason"]) == (5, {"redeemed": 1})
    assert (other["recovered"], other["skipped"]["by_reason"]) == (0, {"already_recovered": 5, "redeemed": 1})


def test_a_recovery_of_what_is_recovered_changes_nothing_but_its_own_record(stock: Stock, clock: Clock) -> None:
    kami, own = stock.kami, ("RECOVERY#", "COMMAND#", "LOT#", "STATISTICS#", *TOLD)
    completed(kami, clock, order(kami, {"batch": stock.batch})["id"])
    before, statuses = kami.items(*own), stock.statuses()
    done = completed(kami, clock, order(kami, {"serials": stock.serials})["id"])
    assert done["recovered"] == 0
    assert (kami.items(*own), stock.statuses()) == (before, statuses)


# What may be lifted again


@pytest.mark.parametrize("kind", SELECTIONS)
def test_a_suspension_stops_cards_until_it_is_resumed_and_their_holder_is_told_of_both(
    stock: Stock, clock: Clock, kind: str
) -> None:
    kami = stock.kami
    stop = order(kami, SELECTIONS[kind](stock), "suspend")
    suspended = ["redeemed" if place == 3 else "suspended" for place in range(len(PLACES))]
    assert stock.statuses() == suspended
    refused(kami.merchant.redeem(stock.codes[1]), 404, "voucher_not_redeemable")
    body = {"action": "resume", "reason": "other", "recovery": stop["id"]}
    answer = kami.operator.post("/v1/recoveries", body)
    refused(answer, 409, "recovery_in_progress")
    assert answer.header("retry-after")
    stop = completed(kami, clock, stop["id"])
    assert [line["reason"] for line in stop["skipped"]["data"]] == ["redeemed"]
    go = granted(kami.operator.post("/v1/recoveries", body), 202)
    go = completed(kami, clock, go["id"])
    assert (go["recovery"], go["selected"], go["recovered"]) == (stop["id"], stop["selected"], stop["recovered"])
    assert stop["effective_at"] <= stop["completed_at"] <= go["effective_at"] == go["completed_at"]
    kami.cloud.drain(delayed=False)
    assert stock.statuses() == BEFORE
    counts = granted(kami.operator.get(f"/v1/batches/{stock.batch}"))["counts"]
    assert counts == Counter(BEFORE)
    texts = [sms["text"] for sms in kami.cloud.carriers.phone(stock.holder)]
    for said in ("因失窃暂停使用", "已恢复使用"):
        assert sorted(t.partition("卡号 ")[2][:12] for t in texts if said in t) == [stock.serials[2], stock.serials[5]]
    history = granted(kami.operator.get(f"/v1/vouchers/{stock.serials[2]}/history"))["data"]
    stopped = "suspended" if kind == "serials" else "recalled"
    told = Counter(line["event"] for line in history)
    assert (told[stopped], told["recovered"], told["resumed"]) == (1, 2, 1)
    assert granted(kami.merchant.redeem(stock.codes[2]), 201)["amount_minor"] == 3_000


@pytest.mark.parametrize("kind", ["serials", "batch"])
def test_who_holds_a_card_under_two_suspensions_is_told_when_it_works_again(
    stock: Stock, clock: Clock, kind: str
) -> None:
    kami = stock.kami
    stops = [order(kami, SELECTIONS[kind](stock), "suspend")["id"] for _ in range(2)]
    for stop in stops:
        completed(kami, clock, stop)
    for stop, told_of in zip(stops, ([], [stock.serials[2], stock.serials[5]]), strict=True):
        body = {"action": "resume", "reason": "other", "recovery": stop}
        assert granted(kami.operator.post("/v1/recoveries?dry_run=true", body))["told"] == len(told_of)
        go = completed(kami, clock, granted(kami.operator.post("/v1/recoveries", body), 202)["id"])
        assert go["recovered"] == 5
        kami.cloud.drain(delayed=False)
        texts = [sms["text"] for sms in kami.cloud.carriers.phone(stock.holder) if "已恢复使用" in sms["text"]]
        assert sorted(text.partition("卡号 ")[2][:12] for text in texts) == told_of


def test_what_a_resume_must_name_and_may_not(stock: Stock) -> None:
    kami = stock.kami
    for change in (
        {"action": "resume"}, {"action": "void", "recovery": "rec_1"}, {"action": "suspend", "selection": None},
        {"action": "resume", "recovery": "rec_1", "only": "not_claimed"},
    ):  # fmt: skip
        body = {**kami.recovery(batch=stock.batch), **change}
        body = {name: value for name, value in body.items() if value is not None}
        refused(kami.operator.post("/v1/recoveries", body), 400, "invalid_request")
    body = {"action": "resume", "reason": "other", "recovery": "rec_none"}
    refused(kami.operator.post("/v1/recoveries", body), 404, "not_found")


# The order


def test_an_order_repeated_under_its_key_is_answered_again_and_does_nothing(stock: Stock, clock: Clock) -> None:
    kami, key = stock.kami, unique()
    body = {**kami.recovery(batch=stock.batch), "note": "盒子丢了"}
    first = kami.operator.post("/v1/recoveries", body, key)
    before = kami.items()
    second = kami.operator.post("/v1/recoveries", body, key)
    assert [(answer.status, replayed(answer)) for answer in (first, second)] == [(202, False), (202, True)]
    assert second.body == first.body
    assert first.header("location") == f"/v1/recoveries/{first.json()['id']}"
    assert first.json()["note"] == "盒子丢了"
    for change in (
        {"selection": {"serials": stock.serials[:1]}}, {"action": "suspend"}, {"action": "reclaim"}, {"reason": "lost"},
        {"only": "not_claimed"}, {"note": "another"},
    ):  # fmt: skip
        refused(kami.operator.post("/v1/recoveries", {**body, **change}, key), 422, "idempotency_key_reused")
    assert kami.items() == before
    completed(kami, clock, first.json()["id"])
    late = kami.operator.post("/v1/recoveries", body, key)
    assert (late.status, replayed(late), late.json()["status"]) == (202, True, "completed")


def test_another_key_and_another_clients_key_are_other_recoveries(stock: Stock) -> None:
    kami, key, body = stock.kami, unique(), stock.kami.recovery(batch=stock.batch)
    answers = [
        kami.operator.post("/v1/recoveries", body, key),
        kami.operator.post("/v1/recoveries", body, unique()),
        kami.client("operator").post("/v1/recoveries", body, key),
        kami.operator.post("/v1/recoveries", body),
    ]
    assert len({granted(answer, 202)["id"] for answer in answers}) == 4


def test_a_serial_named_twice_is_recovered_once(stock: Stock, clock: Clock) -> None:
    serials = [stock.serials[1], stock.serials[0], stock.serials[1]]
    done = completed(stock.kami, clock, order(stock.kami, {"serials": serials})["id"])
    assert (done["selected"], done["recovered"]) == (2, 2)


@pytest.mark.parametrize("role", ["merchant", "auditor", "customer"])
def test_recoveries_take_their_scope(stock: Stock, role: str) -> None:
    kami, caller = stock.kami, stock.kami.client(role)
    known = order(kami, {"batch": stock.behind})["id"]
    before = kami.items("RECOVERY#", "COMMAND#", "LOT#")
    for answer in (
        caller.post("/v1/recoveries", kami.recovery(batch=stock.batch)),
        caller.get("/v1/recoveries"),
        caller.get(f"/v1/recoveries/{known}"),
        caller.get(f"/v1/recoveries/{known}/report"),
        caller.get("/v1/recoveries/statistics"),
    ):
        refused(answer, 403, "insufficient_scope")
    assert kami.items("RECOVERY#", "COMMAND#", "LOT#") == before


def test_a_partner_recovers_its_own_and_sees_its_own(kami: Kami, clock: Clock) -> None:
    partner, other = kami.client("partner"), kami.client("partner")
    batch = kami.batch(kami.campaign()["id"], 3)["id"]
    serials = kami.serials(batch)
    channel = kami.channel(kind="partner", tenant=partner.tenant)["id"]
    granted(kami.operator.post("/v1/distributions", {"selection": {"serials": serials[:2]}, "to": channel}), 201)
    body = {**kami.recovery(serials=serials[:1]), "reason": "stolen"}
    refused(partner.post("/v1/recoveries", kami.recovery(serials=serials[:1])), 403, "recovery_not_allowed")
    refused(other.post("/v1/recoveries", body), 422, "unknown_serials")
    refused(partner.post("/v1/recoveries", kami.recovery(serials=serials)), 422, "unknown_serials")
    refused(partner.post("/v1/recoveries", kami.recovery(batch=batch)), 404, "not_found")
    made = granted(partner.post("/v1/recoveries", body), 202)
    assert made["via"] == "partner"
    done = completed(kami, clock, made["id"])
    assert done["recovered"] == 1
    path = f"/v1/recoveries/{made['id']}"
    assert granted(partner.get(path + "?limit=100")) == done
    assert [each["id"] for each in granted(partner.get("/v1/recoveries?limit=100"))["data"]] == [made["id"]]
    for each in (path, f"{path}/report"):
        refused(other.get(each), 404, "not_found")
    assert granted(other.get("/v1/recoveries"))["data"] == []
    resume = {"action": "resume", "reason": "stolen", "recovery": made["id"]}
    refused(other.post("/v1/recoveries", resume), 404, "not_found")
    refused(partner.get("/v1/recoveries/statistics"), 403, "insufficient_scope")


def test_a_recovery_names_the_shop_or_partner_it_concerns(kami: Kami, clock: Clock) -> None:
    partner, other = kami.client("partner"), kami.client("partner")
    serials = kami.serials(kami.batch(kami.campaign()["id"], 6)["id"])
    own, shop = kami.channel(kind="partner", tenant=partner.tenant)["id"], kami.channel()["id"]
    foreign = kami.channel(kind="partner", tenant=other.tenant)["id"]
    kami.distribute(to=own, serials=serials[:4])

    def asked(caller: Caller, number: int, target: str = "", key: str | None = None, **said: str) -> Answer:
        body = {**kami.recovery(serials=serials[number : number + 1]), "reason": "stolen", **said}
        return caller.post(f"/v1/recoveries{target}", body, key or unique())

    before = kami.items()
    for target in ("", "?dry_run=true"):
        refused(asked(kami.operator, 5, target, channel="chn_x"), 404, "not_found")
        refused(asked(partner, 0, target, channel=shop), 404, "not_found")
        refused(asked(partner, 0, target, channel=foreign), 404, "not_found")
        refused(asked(partner, 0, target, channel=""), 400, "invalid_request")
    assert kami.items() == before

    assert "channel" not in granted(asked(kami.operator, 5), 202)
    assert granted(asked(kami.operator, 4, "?dry_run=true", channel=shop))["channel"] == shop
    made, key = granted(asked(kami.operator, 4, channel=shop), 202), unique()
    assert made["channel"] == shop
    assert granted(asked(partner, 0, "?dry_run=true"))["channel"] == own
    first = asked(partner, 0, key=key)
    assert granted(first, 202)["channel"] == own
    second = kami.channel(kind="partner", tenant=partner.tenant)["id"]
    assert replayed(asked(partner, 0, key=key))
    assert "channel" not in granted(asked(partner, 1), 202)
    assert granted(asked(partner, 2, channel=second), 202)["channel"] == second
    refused(asked(partner, 0, key=key, channel=own), 422, "idempotency_key_reused")

    completed(kami, clock, made["id"])
    assert report(kami, made["id"]) == [[serials[4], serials[4], "1", "recovered", "", shop]]
    listed = granted(partner.get("/v1/recoveries?limit=100"))["data"]
    assert {each.get("channel") for each in listed} == {second, None, own}


def test_a_shop_sends_a_file_and_is_told_line_by_line(stock: Stock, clock: Clock) -> None:
    kami, serials = stock.kami, stock.serials
    text = "卡号\r\n" + "\r\n".join([serials[0], f"{serials[2]},{serials[3]}", "ABCD-EFGH", serials[0]])

    def send(query: str, content: str, key: str | None = None) -> Answer:
        headers = {"content-type": "text/csv"}
        return kami.operator.post(f"/v1/recoveries{query}", content, key or unique(), **headers)

    shop = kami.channel()["id"]
    key, query = unique(), f"?action=suspend&reason=stolen&note=box%2012&channel={shop}"
    refused(send("?action=suspend&reason=stolen&channel=chn_x", text), 404, "not_found")
    first = send(query, text, key)
    made = granted(first, 202)
    assert (made["via"], made["action"], made["note"], made["channel"]) == ("shop_file", "suspend", "box 12", shop)
    again = send(query, text, key)
    assert (replayed(again), again.body) == (True, first.body)
    refused(send(query, serials[1], key), 422, "idempotency_key_reused")
    completed(kami, clock, made["id"])
    answer = kami.operator.get(f"/v1/recoveries/{made['id']}/report")
    assert answer.body.decode().split("\r\n") == [
        "line,first_serial,last_serial,quantity,outcome,detail,channel",
        f"2,{serials[0]},{serials[0]},1,recovered,,{shop}",
        f"3,{serials[2]},{serials[3]},2,partly_recovered,redeemed: 1,{shop}",
        f"4,,,,refused,no such serial,{shop}",
        f"5,,,,refused,repeats serials of line 2,{shop}",
        "",
    ]
    for wrong in ("", "?action=void", "?action=resume&reason=lost", "?action=void&reason=lost&selection=1"):
        refused(send(wrong, serials[0]), 400, "invalid_request")
    granted(send("?action=suspend&reason=lost", f"{serials[0]}\n{'x' * 70_000}"), 202)
    refused(send("?action=suspend&reason=lost", "1\n" * 100_001), 400, "invalid_request")
    refused(send("?action=suspend&reason=lost", "1" * 4_194_305), 413, "body_too_large")
    refused(send("?action=suspend&reason=lost", "serial\nnothing"), 422, "empty_selection")


def test_a_card_is_reissued_and_its_holder_told_of_the_new_one(kami: Kami, clock: Clock) -> None:
    campaign = kami.campaign(redemption="balance")["id"]
    kami.batch(campaign, 2)
    holder = mobile()
    claimed = granted(kami.operator.post("/v1/claims", {"campaign": campaign, "customer": holder}, unique()), 201)
    serial, code = claimed["serial"], claimed["code"]
    used = granted(kami.merchant.redeem(code, account=holder, amount_minor=2_000), 201)["id"]
    made = granted(kami.operator.post("/v1/recoveries", kami.recovery("reissue", serials=[serial])), 202)
    done = completed(kami, clock, made["id"])
    assert (done["recovered"], done["value"][0]["recovered_minor"]) == (1, 3_000)
    (held,) = granted(kami.operator.get(f"/v1/customers/{quote(holder)}/vouchers"))["data"]
    new = held["serial"]
    assert (new != serial, held["balance_minor"]) == (True, 3_000)
    refused(kami.merchant.redeem(code, amount_minor=1), 404, "voucher_not_redeemable")
    back = granted(kami.merchant.reverse(used), 201)
    assert (back["credited"], back["balance_minor"], back["voucher_status"]) == (new, 5_000, "claimed")
    (fresh,) = kami.codes([new])
    assert granted(kami.merchant.redeem(fresh), 201)["amount_minor"] == 5_000
    kami.cloud.drain(delayed=False)
    texts = [sms["text"] for sms in kami.cloud.carriers.phone(holder) if "已换发" in sms["text"]]
    assert len(texts) == 1
    assert serial in texts[0] and new in texts[0] and "30.00元" in texts[0] and code not in texts[0]
    (reversed_,) = [sms["text"] for sms in kami.cloud.carriers.phone(holder) if "已撤销" in sms["text"]]
    assert f"20.00元 已退回换发的新卡（卡号 {new}），新卡余额 50.00元" in reversed_
    for card, events in ((serial, ("reissued", "recovered")), (new, ("issued", "credited"))):
        lines = granted(kami.operator.get(f"/v1/vouchers/{card}/history"))["data"]
        assert set(events) <= {line["event"] for line in lines}


# Following it


def test_what_was_skipped_is_paged_without_gap_or_repeat(kami: Kami, clock: Clock) -> None:
    """Over the border of two lots, and only as far as the caller who was given the cursor."""
    batch = kami.batch(kami.campaign()["id"], LOT_SIZE + 5)
    last = position_of(batch["last_serial"])
    assert last is not None
    serials = [serial_of(position) for position in range(last - 9, last + 1)]
    kami.activate(serials=serials)
    codes = kami.codes(serials)
    for code in codes[1::2]:
        granted(kami.merchant.redeem(code), 201)
    skipped = {serial: "redeemed" if place % 2 else "activated" for place, serial in enumerate(serials)}
    done = completed(kami, clock, order(kami, {"batch": batch["id"]}, only="not_activated")["id"])
    assert (done["selected"], done["skipped"]["count"]) == (LOT_SIZE + 5, 10)
    assert {line["serial"]: line["reason"] for line in done["skipped"]["data"]} == skipped
    for limit in (1, 3, 10):
        found: list[Json] = []
        cursor = ""
        while len(found) < 20:
            page = read(kami, done["id"], f"?limit={limit}{cursor}")["skipped"]
            assert page["count"] == 10
            assert 1 <= len(page["data"]) <= limit
            found += page["data"]
            if "next_cursor" not in page:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert [(line["serial"], line["reason"]) for line in found] == list(skipped.items())
    cursor = read(kami, done["id"], "?limit=1")["skipped"]["next_cursor"]
    other = completed(kami, clock, order(kami, {"serials": serials})["id"])["id"]
    target = f"/v1/recoveries/{done['id']}?limit=1&cursor="
    refused(kami.client("operator").get(target + cursor), 400, "invalid_cursor")
    refused(kami.operator.get(f"/v1/recoveries/{other}?limit=1&cursor={cursor}"), 400, "invalid_cursor")
    refused(kami.operator.get(f"/v1/recoveries?limit=1&cursor={cursor}"), 400, "invalid_cursor")
    of_the_list = granted(kami.operator.get("/v1/recoveries?limit=1"))["next_cursor"]
    for bad in (of_the_list, "", "x", cursor[:-2], cursor.swapcase()):
        refused(kami.operator.get(target + bad), 400, "invalid_cursor")


def test_recoveries_are_listed_newest_first(stock: Stock, clock: Clock) -> None:
    kami = stock.kami
    clock.advance(DAY_S)  # the other tests' are older
    made = []
    for _ in range(4):
        clock.advance(1)
        made.append(order(kami, {"batch": stock.batch}))
    first = granted(kami.operator.get("/v1/recoveries?limit=2"))
    second = granted(kami.operator.get(f"/v1/recoveries?limit=2&cursor={first['next_cursor']}"))
    assert [*first["data"], *second["data"]] == made[::-1]


def test_an_unknown_recovery_is_not_found(kami: Kami) -> None:
    refused(kami.operator.get("/v1/recoveries/rec_none"), 404, "not_found")


# What it came to


def report(kami: Kami, id: str) -> list[list[str]]:
    """All lines of a report but its header, page by page."""
    lines, target = [], f"/v1/recoveries/{id}/report"
    while True:
        answer = kami.operator.get(target)
        assert (answer.status, answer.header("content-type")) == (200, "text/csv; charset=utf-8")
        lines += answer.body.decode().split("\r\n")[:-1]
        link = answer.header("link")
        if link is None:
            break
        target = link[1:].partition(">")[0]
    assert lines[0] == "first_serial,last_serial,quantity,outcome,reason,channel"
    return [line.split(",") for line in lines[1:]]


@pytest.mark.parametrize("action", ["void", "suspend", "reclaim"])
def test_the_report_adds_up_in_cards_and_in_value(stock: Stock, clock: Clock, action: str) -> None:
    kami, serials = stock.kami, stock.serials
    id = order(kami, {"batch": stock.batch}, action, only="not_claimed")["id"]
    early = report(kami, id)
    assert early == [[serials[0], serials[-1], str(len(serials)), "in_progress", "", ""]]
    done = completed(kami, clock, id)
    (value,) = done["value"]
    assert value == {
        "currency": "CNY", "selected_minor": 6 * 5_000, "recovered_minor": 3 * 5_000, "skipped_minor": 3_000 + 5_000,
        "redeemed_minor": 2_000 + 5_000, "redeemed": 2,
    }  # fmt: skip
    assert report(kami, id) == [
        [serials[0], serials[1], "2", "recovered", "", ""],
        [serials[2], serials[2], "1", "skipped", "partly_redeemed", ""],
        [serials[3], serials[3], "1", "skipped", "redeemed", ""],
        [serials[4], serials[4], "1", "recovered", "", ""],
        [serials[5], serials[5], "1", "skipped", "claimed", ""],
    ]


def test_a_report_comes_in_pages_without_gap_or_repeat(
    kami: Kami, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = kami.batch(kami.campaign()["id"], LOT_SIZE + 5)
    last = position_of(batch["last_serial"])
    assert last is not None
    serials = [serial_of(position) for position in range(last - 9, last + 1)]
    kami.activate(serials=serials)
    for code in kami.codes(serials)[1::2]:
        granted(kami.merchant.redeem(code), 201)
    id = order(kami, {"batch": batch["id"]})["id"]
    completed(kami, clock, id)
    whole = report(kami, id)
    assert len(whole) == 10
    assert sum(int(line[2]) for line in whole) == LOT_SIZE + 5
    for lines, lots in ((3, 100), (10_000, 1), (1, 1)):
        monkeypatch.setattr(reports, "LINES_PER_PAGE", lines)
        monkeypatch.setattr(reports, "LOTS_PER_PAGE_MAX", lots)
        paged = report(kami, id)
        assert sum(int(line[2]) for line in paged) == LOT_SIZE + 5
        assert [line for line in paged if line[3] == "skipped"] == [line for line in whole if line[3] == "skipped"]
    cursor = kami.operator.get(f"/v1/recoveries/{id}/report").header("link")
    assert cursor is not None
    path = cursor[1:].partition(">")[0]
    refused(kami.client("operator").get(path), 400, "invalid_cursor")
    refused(kami.operator.get(path[:-2]), 400, "invalid_cursor")


def test_statistics_compare_the_ways_that_recoveries_came_by(stock: Stock, clock: Clock) -> None:
    kami, target = stock.kami, "/v1/recoveries/statistics"
    zero = {"recoveries": 0, "selected": 0, "recovered": 0}
    before = next((w for w in granted(kami.operator.get(target))["data"] if w["via"] == "operator"), zero)
    order(kami, {"batch": stock.batch})
    first = order(kami, {"serials": stock.serials[:2]}, "suspend")["id"]
    for _ in range(2):
        completed(kami, clock, first)
    found = granted(kami.operator.get(target))
    (way,) = [each for each in found["data"] if each["via"] == "operator"]
    assert {name: way[name] - n for name, n in before.items() if name in zero} == {
        "recoveries": 2, "selected": 8, "recovered": 5,
    }  # fmt: skip
    assert 0 < way["success"] == round(way["recovered"] / way["selected"], 4) < 1
    assert mean("mean_seconds", before, way) >= FENCE_S > mean("mean_seconds_until_effective", before, way)
    assert all("channel" not in each for each in found["data"])
    day = found["until"]
    today = granted(kami.operator.get(f"{target}?since={day}&until={day}"))["data"]
    assert sum(each["recoveries"] for each in today) >= 2
    for days in ("since=2026-01-01&until=2026-02-28", "since=9999-12-01&until=9999-12-31", "until=0001-12-31"):
        assert granted(kami.operator.get(f"{target}?{days}"))["data"] == []
    wrong = ("since=2026-13-01", "until=x", "since=2026-02-01&until=2026-01-01", "since=2020-01-01", "from=1", "by=day")
    for query in wrong:
        refused(kami.operator.get(f"{target}?{query}"), 400, "invalid_request")


def test_statistics_compare_channels_too(stock: Stock, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    kami, target = stock.kami, "/v1/recoveries/statistics?by=channel"
    shops = [kami.channel()["id"] for _ in range(2)]
    first, *_ = (
        order(kami, {"serials": stock.serials[at : at + 2]}, "suspend", channel=shop)["id"]
        for at, shop in ((0, shops[0]), (2, shops[0]), (4, shops[1]))
    )
    completed(kami, clock, first)
    found = granted(kami.operator.get(target))["data"]
    rows = [each for each in found if each.get("channel") in shops]
    assert {(each["channel"], each["recoveries"], each["selected"], each["recovered"]) for each in rows} == {
        (shops[0], 2, 4, 3), (shops[1], 1, 2, 2),
    }  # fmt: skip
    assert [each["success"] for each in sorted(rows, key=lambda each: float(each["recoveries"]))] == [1.0, 0.75]
    ways = granted(kami.operator.get("/v1/recoveries/statistics"))["data"]
    assert sum(each["recoveries"] for each in ways) == sum(each["recoveries"] for each in found)
    assert all("via" not in each for each in found)
    monkeypatch.setattr(statistics, "SUMS_MAX", 1)
    refused(kami.operator.get(target), 400, "invalid_request")


def mean(name: str, before: Json, after: Json) -> float:
    """Of the recoveries between two readings: those of other tests have their clocks."""
    total = after[name] * after["recoveries"] - before.get(name, 0) * before["recoveries"]
    return float(total / (after["recoveries"] - before["recoveries"]))


# Bad input


@pytest.fixture
def nothing_changes(stock: Stock) -> Iterator[None]:
    before = stock.kami.items()
    yield
    assert stock.kami.items() == before


def beyond(serial: str, by: int = 1) -> str:
    position = position_of(serial)
    assert position is not None
    return serial_of(position + by)


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("action", ["void", "reclaim"])
def test_a_selection_of_what_does_not_exist_names_it(stock: Stock, action: str) -> None:
    kami, last = stock.kami, stock.neighbours[-1]
    mistyped = last[:-1] + str((int(last[-1]) + 1) % 10)
    cases: list[tuple[Json, list[str]]] = [
        ({"serials": [stock.serials[0], "nonsense", mistyped]}, ["nonsense", mistyped]),
        ({"serials": [last, beyond(last), beyond(last, 2)]}, [beyond(last)]),
        ({"serials": [beyond(last, 9 * LOT_SIZE)]}, [beyond(last, 9 * LOT_SIZE)]),
        ({"first_serial": stock.serials[0], "last_serial": beyond(last, 5)}, [beyond(last)]),
        ({"first_serial": stock.serials[0], "last_serial": mistyped}, [mistyped]),
        ({"first_serial": "", "last_serial": "x" * 40}, ["", "x" * 40]),
    ]
    for selection, named in cases:
        answer = kami.operator.post("/v1/recoveries", kami.recovery(action, **selection))
        document = refused(answer, 422, "unknown_serials")
        assert [error["value"] for error in document["errors"]] == named


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("kind", ["never generated", "mistyped", "scattered"])
def test_a_thousand_unknown_serials_are_each_named(stock: Stock, kind: str) -> None:
    start = position_of(stock.neighbours[-1])
    assert start is not None
    apart = {"never generated": 2, "mistyped": 1, "scattered": 3 * LOT_SIZE}[kind]
    serials = [serial_of(start + 10 * LOT_SIZE + apart * n) for n in range(SERIALS_MAX)]
    if kind == "mistyped":
        serials = [serial[:-1] + str((int(serial[-1]) + 1) % 10) for serial in serials]
    answer = stock.kami.operator.post("/v1/recoveries", stock.kami.recovery(serials=serials))
    document = refused(answer, 422, "unknown_serials")
    assert [error["value"] for error in document["errors"]] == serials


@pytest.mark.usefixtures("nothing_changes")
def test_a_range_over_lots_that_do_not_exist_is_refused_at_its_end(stock: Stock) -> None:
    end = beyond(stock.neighbours[-1], 300 * LOT_SIZE)
    answer = stock.kami.operator.post(
        "/v1/recoveries", stock.kami.recovery(first_serial=stock.serials[0], last_serial=end)
    )
    assert [error["value"] for error in refused(answer, 422, "unknown_serials")["errors"]] == [end]


@pytest.mark.usefixtures("nothing_changes")
def test_a_selection_that_means_nothing_is_refused(stock: Stock) -> None:
    kami, first, last = stock.kami, stock.serials[0], stock.serials[-1]
    cases: list[tuple[Json, int, str]] = [
        ({"first_serial": last, "last_serial": first}, 422, "empty_selection"),
        ({"first_serial": first, "last_serial": beyond(first, RANGE_MAX)}, 400, "invalid_request"),
        ({"serials": []}, 400, "invalid_request"),
        ({"serials": [first] * (SERIALS_MAX + 1)}, 400, "invalid_request"),
        ({"serials": [first], "only": "not_claimed"}, 400, "invalid_request"),
        ({"lot": 9_999_999}, 404, "not_found"),
        ({"batch": "bat_none"}, 404, "not_found"),
    ]
    for selection, status, key in cases:
        refused(kami.operator.post("/v1/recoveries", kami.recovery(**selection)), status, key)


def test_a_batch_that_is_still_being_generated_is_not_recovered(
    kami: Kami, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.generate.batches.LOTS_PER_CALL_MAX", 0)
    path = f"/v1/campaigns/{kami.campaign()['id']}/batches"
    batch = granted(kami.operator.post(path, {"quantity": 2}), 202)["id"]
    before = kami.items()
    answer = kami.operator.post("/v1/recoveries", kami.recovery(batch=batch))
    refused(answer, 409, "still_generating")
    assert answer.header("retry-after")
    assert kami.items() == before
    clock.advance(IN_CALL_S)
    for _ in steps(kami, clock):
        pass
    order(kami, {"batch": batch})
