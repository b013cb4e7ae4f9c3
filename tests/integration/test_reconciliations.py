"""Reconciliations: an untouched table gives no difference, whatever is under way; what somebody changed is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions.domain.events import WRITES
from functions.domain.ledger import Kind
from functions.domain.reconciliation import KINDS
from functions.domain.serials import LOT_SIZE, position_of
from functions.edge import clock
from functions.ledger import reconciling
from functions.store import keys, ledger
from functions.store.keys import Key
from tests.integration.conftest import Log
from tests.integration.kami import Json, Kami, Voucher, granted, pages, refused, unique
from tests.integration.test_jobs import invoke, message, queued


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "LOOKS_AFTER_S", (0, 0, 0))
    monkeypatch.setattr("functions.recover.service.FENCE_S", 0)
    monkeypatch.setattr(ledger, "_noted", {})


class Shop:
    """A lot of its own, of cards to which all has happened that happens without anybody's meddling."""

    def __init__(self, kami: Kami) -> None:
        self.kami, self.kept = kami, dict[Key, Json]()
        batch = kami.batch(kami.campaign(redemption="balance")["id"], 40)["id"]
        serials = kami.serials(batch)
        sale = {"price": {"amount_minor": 5_000, "currency": "CNY"}, "shop": "shop-1"}
        sold = {"selection": {"first_serial": serials[0], "last_serial": serials[29]}, "sale": sale}
        granted(kami.operator.post("/v1/activations", sold), 201)
        self.cards = [Voucher(*each) for each in zip(serials[:20], kami.codes(serials[:20]), strict=True)]
        self.lot = position_of(serials[0]) // LOT_SIZE  # type: ignore[operator]
        self.whole = self.use(0)
        self.part = self.use(1, 2_000)
        granted(kami.merchant.reverse(self.use(2, 1_000)), 201)
        self.use(2, 4_000)
        granted(kami.merchant.reverse(self.use(3)), 201)
        hold = granted(kami.merchant.post("/v1/holds", {"code": self.cards[4].code, "amount_minor": 10}, unique()), 201)
        account = {"account": {"type": "mobile", "number": "+8613812345678"}}
        granted(kami.merchant.post(f"/v1/holds/{hold['id']}/captures", account, unique()), 201)
        granted(kami.operator.post("/v1/claims", {"code": self.cards[5].code, "customer": "c"}, unique()), 201)
        self.use(6, 500)
        self.recover("reclaim", *serials[6:8])
        self.recover("void", serials[8], serials[1])
        kami.activate(serials=[serials[6]])
        granted(kami.merchant.redeem(kami.codes([serials[6]])[0], amount_minor=700), 201)
        passed_on = self.use(9, 1_000)
        new = self.replaced(9)
        granted(kami.merchant.reverse(passed_on), 201)
        granted(kami.merchant.redeem(kami.codes([new])[0], amount_minor=500), 201)
        again = self.replaced(19)
        self.recover("reclaim", again)
        kami.activate(serials=[again])
        granted(kami.merchant.redeem(kami.codes([again])[0], amount_minor=300), 201)
        kami.cloud.drain()

    def recover(self, action: str, *serials: str) -> None:
        granted(self.kami.operator.post("/v1/recoveries", self.kami.recovery(action, serials=list(serials))), 202)
        self.kami.cloud.drain()

    def replaced(self, number: int) -> str:
        """The serial of what a card's holder has in its place."""
        holder = unique("holder")
        order = {"code": self.cards[number].code, "customer": holder}
        granted(self.kami.operator.post("/v1/claims", order, unique()), 201)
        self.kami.cloud.drain()
        self.recover("reissue", self.cards[number].serial)
        (held,) = granted(self.kami.operator.get(f"/v1/customers/{holder}/vouchers"))["data"]
        return str(held["serial"])

    def use(self, number: int, amount_minor: int | None = None) -> str:
        amount: dict[str, Any] = {"amount_minor": amount_minor} if amount_minor else {}
        return str(granted(self.kami.merchant.redeem(self.cards[number].code, **amount), 201)["id"])

    def position(self, number: int) -> int:
        position = position_of(self.cards[number].serial)
        assert position is not None
        return position

    def item(self, key: Key) -> Json:
        return self.kami.items()[key]

    def put(self, item: Json) -> None:
        """Past all of Kami, as somebody with rights to the table could."""
        self.keep(Key(item["pk"]["S"], item["sk"]["S"]))
        self.kami.cloud.client("dynamodb").put_item(TableName=self.kami.cloud.stack.tables[0], Item=item)
        self.forget_stream()

    def delete(self, key: Key) -> None:
        self.keep(key)
        item = {name: {"S": value} for name, value in key._asdict().items()}
        self.kami.cloud.client("dynamodb").delete_item(TableName=self.kami.cloud.stack.tables[0], Key=item)
        self.forget_stream()

    def keep(self, key: Key) -> None:
        if key not in self.kept:
            self.kept[key] = self.item(key)

    def mend(self) -> None:
        """Put back what was tampered with."""
        for item in list(self.kept.values()):
            self.put(item)
        self.kept.clear()

    def forget_stream(self) -> None:
        """Relay hears nothing of it: what it would make of it is none of this."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("functions.relay.service.told", lambda *_: [])
            for pump in self.kami.cloud.stream_pumps:
                while pump.step():
                    pass

    def order(self, **body: Any) -> str:
        asked = body or {"selection": {"lot": self.lot}}
        return str(granted(self.kami.operator.post("/v1/reconciliations", asked, unique()), 202)["id"])

    def read(self, id: str, query: str = "?limit=100") -> Json:
        return granted(self.kami.operator.get(f"/v1/reconciliations/{id}{query}"))

    def reconciled(self, **body: Any) -> Json:
        id = self.order(**body)
        self.kami.cloud.drain()
        found = self.read(id)
        assert found["status"] == "completed"
        return found

    def differences(self, **body: Any) -> set[tuple[str, str | None, str | None]]:
        found = self.reconciled(**body)
        named = {(d["kind"], d.get("serial"), d.get("about")) for d in found["differences"]["data"]}
        assert sum(found["differences"]["by_kind"].values()) == found["found"] == len(found["differences"]["data"])
        return named


@pytest.fixture(scope="module")
def module_shop(kami: Kami) -> Iterator[Shop]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("functions.recover.service.FENCE_S", 0)
        yield Shop(kami)


@pytest.fixture
def shop(module_shop: Shop) -> Iterator[Shop]:
    """The shop, and afterwards what was tampered with mended."""
    yield module_shop
    module_shop.mend()


def test_an_untouched_table_gives_no_difference(shop: Shop) -> None:
    found = shop.reconciled()
    assert (found["differences"]["data"], found["unsettled"]) == ([], 0)
    assert found["checked"] == 12
    assert (found["progress"], found["looks"]) == ({"lots_done": 1, "lots": 1}, 1)
    everything = shop.reconciled(all=True)
    assert everything["found"] == 0
    assert everything["progress"]["lots"] >= 1


Tamper = Callable[[Shop], None]


def set_back(shop: Shop) -> None:
    item = shop.item(keys.voucher(shop.position(0)))
    shop.put({**item, "status": {"S": "active"}, "balance_minor": {"N": "5000"}, "redemptions": {"M": {}}})


def set_back_in_part(shop: Shop) -> None:
    item = shop.item(keys.voucher(shop.position(0)))
    shop.put({**item, "status": {"S": "active"}, "balance_minor": {"N": "5000"}})


def reversal_undone(shop: Shop) -> None:
    item = json.loads(json.dumps(shop.item(keys.voucher(shop.position(3)))))
    for redemption in item["redemptions"]["M"].values():
        del redemption["M"]["reversal"]
    shop.put({**item, "status": {"S": "redeemed"}, "balance_minor": {"N": "0"}})


def reissue_undone(shop: Shop) -> None:
    item = {**shop.item(keys.voucher(shop.position(9))), "status": {"S": "partly_redeemed"}}
    del item["reissue"]
    shop.put({**item, "balance_minor": {"N": "4000"}})


def voucher_deleted(shop: Shop) -> None:
    shop.delete(keys.voucher(shop.position(0)))


def line(shop: Shop) -> Key:
    return keys.ledger_line(shop.position(0), 1, Kind.REDEEMED, shop.whole)


def line_deleted(shop: Shop) -> None:
    shop.delete(line(shop))


def line_changed(shop: Shop) -> None:
    item = json.loads(json.dumps(shop.item(line(shop))))
    item["movement"]["L"][2] = {"N": "1"}
    shop.put(item)


def account_changed(shop: Shop) -> None:
    shop.put({**shop.item(keys.account(shop.position(0), 1)), "balance_minor": {"N": "5000"}})


def account_deleted(shop: Shop) -> None:
    shop.delete(keys.account(shop.position(0), 1))


def counter_changed(shop: Shop) -> None:
    item = shop.item(keys.counts(shop.lot))
    shop.put({**item, "n_redeemed": {"N": str(int(item["n_redeemed"]["N"]) + 1)}})


def writes_changed(shop: Shop) -> None:
    item = shop.item(keys.counts(shop.lot))
    shop.put({**item, WRITES: {"N": str(int(item[WRITES]["N"]) + 1)}})


def history_deleted(shop: Shop) -> None:
    partition = keys.history_of("voucher", shop.position(0))
    told = {key: item["type"]["S"] for key, item in shop.kami.items().items() if key[0] == partition}
    shop.delete(Key(*next(key for key, type in told.items() if type == "voucher.redeemed")))


def entry_deleted(shop: Shop) -> None:
    shop.delete(keys.entry(shop.item(line(shop))["movement"]["L"][3]["S"]))


TAMPERINGS: dict[str, tuple[Tamper, set[tuple[str, int | None]]]] = {
    "a used card set back to unused": (
        set_back, {("redemption_missing", 0), ("counts_differ", None)},
    ),
    "a used card set back without its redemptions taken out": (
        set_back_in_part, {("balance_differs", 0), ("status_differs", 0), ("counts_differ", None)},
    ),
    "a reversal undone": (reversal_undone, {("reversal_missing", 3), ("counts_differ", None)}),
    "a reissue undone": (reissue_undone, {("reissue_missing", 9), ("counts_differ", None)}),
    "a voucher deleted": (voucher_deleted, {("voucher_missing", 0), ("writes_differ", None)}),
    "a line deleted": (line_deleted, {("line_missing", 0), ("account_differs", 0)}),
    "a line changed": (line_changed, {("line_differs", 0), ("account_differs", 0)}),
    "an account changed": (account_changed, {("account_differs", 0)}),
    "an account deleted": (account_deleted, {("account_differs", 0)}),
    "a counter changed": (counter_changed, {("counts_differ", None)}),
    "the count of writes changed": (writes_changed, {("writes_differ", None)}),
    "a line of history deleted": (history_deleted, {("history_missing", 0)}),
    "an entry of the record deleted": (entry_deleted, {("record_missing", 0)}),
}  # fmt: skip


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_what_was_tampered_with_is_named(shop: Shop, log: Log, tampering: str) -> None:
    tamper, expected = TAMPERINGS[tampering]
    tamper(shop)
    found = {(kind, serial) for kind, serial, _ in shop.differences()}
    assert found == {(kind, shop.cards[n].serial if n is not None else None) for kind, n in expected}
    assert "reconciliation_differs" in [entry.get("alarm") for entry in log.lines]


def test_single_cards_are_reconciled_without_their_lot_s_counts(shop: Shop) -> None:
    set_back(shop)
    serials = {"serials": [shop.cards[0].serial, shop.cards[1].serial]}
    found = {(kind, serial) for kind, serial, _ in shop.differences(selection=serials)}
    assert found == {("redemption_missing", shop.cards[0].serial)}


def test_every_kind_of_difference_is_met_here_and_explained() -> None:
    assert {kind for _, expected in TAMPERINGS.values() for kind, _ in expected} == set(KINDS) - {"disputed"}
    assert all(len({meaning.en, meaning.zh, meaning.hint, ""}) == 4 for meaning in KINDS.values())


# While redemptions go on


def looks(shop: Shop, id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Each look of a reconciliation; whoever follows this has something happen between two of them."""
    monkeypatch.setattr(reconciling, "LOOKS_AFTER_S", (300, 300, 300))
    now, look = clock.now(), 0
    while True:
        with shop.kami.cloud.environment("ledger"):
            wait_s = reconciling.proceed(id, now, float("inf"))
        if wait_s is None:
            return
        now, look = now + wait_s, look + 1
        yield look


def in_question(shop: Shop, id: str) -> int:
    """How many differences the latest look has left."""
    items = shop.kami.items()
    findings = [item for (pk, sk), item in items.items() if pk == keys.findings_of(id) and sk.startswith("LOT#")]
    return sum(len(item.get("differences", {"L": []})["L"]) for item in findings)


def test_what_is_under_way_is_looked_at_again_and_not_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look comes between a redemption and its line; by the next one it is there."""
    granted(shop.kami.merchant.reverse(shop.use(10)), 201)
    shop.use(11)
    id = shop.order()
    for look in looks(shop, id, monkeypatch):
        assert (in_question(shop, id) > 0) == (look == 1)
        shop.kami.cloud.drain(delayed=False)
    found = shop.read(id)
    assert (found["status"], found["found"], found["unsettled"], found["looks"]) == ("completed", 0, 0, 2)


def test_where_something_else_is_under_way_at_every_look_nothing_is_named(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.use(12)
    id = shop.order()
    for look in looks(shop, id, monkeypatch):
        shop.kami.cloud.drain(delayed=False)
        shop.use(12 + look, 1)
    found = shop.read(id)
    assert (found["status"], found["differences"]["data"]) == ("completed", [])
    shop.kami.cloud.drain()


def test_what_was_tampered_with_is_named_while_other_cards_are_used(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    line_deleted(shop)
    id = shop.order()
    for look in looks(shop, id, monkeypatch):
        shop.kami.cloud.drain(delayed=False)
        shop.use(15 + look, 1)
    named = {(d["kind"], d.get("serial")) for d in shop.read(id)["differences"]["data"]}
    assert named == {("line_missing", shop.cards[0].serial), ("account_differs", shop.cards[0].serial)}
    shop.kami.cloud.drain()


def test_work_goes_on_where_its_time_was_over_or_its_message_came_twice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    line_deleted(shop)
    once = shop.reconciled()
    id = shop.order()
    with monkeypatch.context() as patch:
        patch.setattr("functions.ledger.handler.queue.deadline", lambda _: 0.0)
        assert invoke(shop.kami, "ledger", message(id)) == []
    assert shop.read(id)["progress"]["lots_done"] == 0
    assert invoke(shop.kami, "ledger", message(id), message(id), message(id)) == []
    shop.kami.cloud.drain(twice=True, shuffle=5)
    found = shop.read(id)
    assert found["differences"]["data"] == once["differences"]["data"]
    assert (found["checked"], found["looks"]) == (once["checked"], once["looks"])


def test_the_next_look_waits_its_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "LOOKS_AFTER_S", (60, 300, 900))
    line_deleted(shop)
    id, now = shop.order(), clock.now()
    with shop.kami.cloud.environment("ledger"):
        waits = []
        for _ in range(4):
            wait = reconciling.proceed(id, now, float("inf"))
            assert reconciling.proceed(id, now, float("inf")) == wait, "a message that comes early changes nothing"
            waits.append(wait)
            now += wait or 0
    assert waits == [60, 300, 900, None]
    queued(shop.kami, "ledger")


# Orders


def test_what_moved_is_reconciled_every_day_and_everything_every_week(shop: Shop) -> None:
    shop.use(18, 1)
    shop.kami.cloud.drain()
    known = {line["id"] for line in granted(shop.kami.operator.get("/v1/reconciliations?limit=100"))["data"]}
    for name in ("kami-dev-reconciliationofmoved", "kami-dev-reconciliationofall"):
        for _ in range(2):
            assert shop.kami.cloud.fire(name) == [name]
    shop.kami.cloud.drain()
    listed = granted(shop.kami.operator.get("/v1/reconciliations?limit=100"))["data"]
    made = [line for line in listed if line["id"] not in known]
    assert [(line["status"], line["found"]) for line in made] == [("completed", 0)] * 2
    assert min(line["progress"]["lots"] for line in made) == 1, "what moved, and nothing else"


def test_a_reconciliation_is_for_operators_and_auditors_and_of_what_exists(shop: Shop) -> None:
    kami, body = shop.kami, {"selection": {"lot": shop.lot}}
    for role in ("merchant", "partner", "support"):
        refused(kami.client(role).post("/v1/reconciliations", body), 403, "insufficient_scope")
    auditor = kami.client("auditor")
    first, again = (auditor.post("/v1/reconciliations", body, "key") for _ in range(2))
    assert granted(first, 202)["id"] == granted(again, 202)["id"]
    assert again.header("idempotency-replayed") == "true"
    refused(auditor.post("/v1/reconciliations", {"all": True}, "key"), 422, "idempotency_key_reused")
    for wrong in ({}, {"all": False}, {"all": True, **body}):
        refused(auditor.post("/v1/reconciliations", wrong), 400, "invalid_request")
    refused(auditor.post("/v1/reconciliations", {"selection": {"batch": "bat_none"}}), 404, "not_found")
    refused(auditor.get("/v1/reconciliations/rcn_none"), 404, "not_found")
    kami.cloud.drain()


def test_differences_are_paged_and_told_in_the_language_asked_for(shop: Shop) -> None:
    set_back_in_part(shop)
    line_deleted(shop)
    id = shop.reconciled()["id"]
    whole = shop.read(id)["differences"]["data"]
    assert len(whole) == 6
    cursor, found = "", list[Json]()
    while len(found) < len(whole):
        page = shop.read(id, f"?limit=2{cursor}")["differences"]
        found += page["data"]
        cursor = f"&cursor={page['next_cursor']}" if "next_cursor" in page else "&limit=0"
    assert found == whole
    answer = granted(shop.kami.operator.get(f"/v1/reconciliations/{id}", **{"accept-language": "zh-CN"}))
    assert {line["title"] for line in answer["differences"]["data"]} == {KINDS[d["kind"]].zh for d in whole}
    assert pages(shop.kami, "/v1/reconciliations?limit=1")


def test_what_is_disputed_is_named(shop: Shop) -> None:
    set_back(shop)
    again = shop.use(0)
    shop.kami.cloud.drain()
    found = shop.differences()
    assert ("disputed", shop.cards[0].serial, again) in found
    assert ("redemption_missing", shop.cards[0].serial, shop.whole) in found
