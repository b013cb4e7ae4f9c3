"""relay: history, counts and events follow from the stream once, however often and in whatever order it is read."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema_rs
import pytest

from functions.domain.erasure import Named
from functions.domain.events import TYPES, Event, Holding
from functions.domain.lot import SEGMENTS_PER_LOT_MAX
from functions.domain.serials import LOT_SIZE, position_of
from functions.relay import service
from functions.store import bus, history, table, wire
from functions.store.deliveries import Moved
from tests.integration.conftest import Log
from tests.integration.kami import Json, Kami, granted, listed, mobile, refused, unique
from tests.integration.stream import Tape, record, recorded, relay
from tests.unit.test_domain_events import FOLDER, schema

RELAYS_OWN = ("HISTORY#", "COUNTS#", "PERSON#", "DELIVERIES#", "DELIVERYCOUNTED#")


class Bus:
    """What the bus was given, and how often it is to refuse."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.calls: list[int] = []
        self.refuse_one_of = 0
        self.fail = 0

    def put_events(self, Entries: list[Json]) -> Json:  # noqa: N803 - botocore's name
        self.calls.append(len(Entries))
        if self.fail:
            self.fail -= 1
            raise ConnectionError
        results = []
        for n, entry in enumerate(Entries):
            if n == 0 and self.refuse_one_of:
                self.refuse_one_of -= 1
                results.append({"ErrorCode": "ThrottlingException", "ErrorMessage": ""})
            else:
                assert entry["Source"] == "kami"
                assert json.loads(entry["Detail"])["type"] == entry["DetailType"]
                self.events.append(json.loads(entry["Detail"]))
                results.append({"EventId": str(n)})
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

    @property
    def ids(self) -> Counter[str]:
        return Counter(event["id"] for event in self.events)


@pytest.fixture
def on_bus(monkeypatch: pytest.MonkeyPatch) -> Bus:
    taken = Bus()
    monkeypatch.setattr(bus, "client", lambda service: {"events": taken}[service])
    return taken


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tape]:
    with recorded(monkeypatch) as kept:
        yield kept


def life(kami: Kami) -> tuple[str, list[str]]:
    """A batch to which all happened that happens without a recovery; its id and serials."""
    batch = kami.batch(kami.campaign(redemption="balance", valid_until=None, valid_days_after_activation=30)["id"], 60)
    serials = kami.serials(batch["id"])
    kami.activate(first_serial=serials[0], last_serial=serials[9])
    kami.activate(serials=serials[10::2])  # too many segments: these get items of their own
    codes = kami.codes(serials[:6])
    granted(kami.merchant.redeem(codes[0]), 201)
    granted(kami.merchant.redeem(codes[1], amount_minor=1), 201)
    granted(kami.merchant.redeem(codes[1], amount_minor=2), 201)
    back = granted(kami.merchant.redeem(codes[2]), 201)
    granted(kami.merchant.reverse(back["id"]), 201)
    for end, body in (("releases", None), ("captures", {"account": {"type": "mobile", "number": mobile()}})):
        hold = granted(kami.merchant.post("/v1/holds", {"code": codes[5], "amount_minor": 5}, unique()), 201)["id"]
        granted(kami.merchant.post(f"/v1/holds/{hold}/{end}", body, unique()), 201)
    (dated,) = kami.codes([serials[10]])
    granted(kami.merchant.redeem(dated), 201)
    return batch["id"], serials


def own(kami: Kami) -> dict[tuple[str, str], Json]:
    """What relay wrote."""
    return {key: item for key, item in kami.items().items() if key[0].startswith(RELAYS_OWN)}


def recount(kami: Kami, lot: int) -> dict[str, int]:
    """The touched vouchers of a lot by stored status, from their items."""
    vouchers = [item for (pk, _), item in kami.items().items() if pk.startswith(f"VOUCHER#{lot:07d}")]
    found = Counter(item["status"]["S"] for item in vouchers)
    found["dated"] = sum("valid_until" in item for item in vouchers)
    return dict(+found)


def stored_counts(kami: Kami, lot: int) -> dict[str, int]:
    item = kami.items().get((f"COUNTS#{lot:07d}", "COUNTS"), {})
    return {name[2:]: int(value["N"]) for name, value in item.items() if name[:2] == "n_" and value["N"] != "0"}


def lines(kami: Kami, serial: str, query: str = "") -> list[Json]:
    data: list[Json] = granted(kami.operator.get(f"/v1/vouchers/{serial}/history{query}"))["data"]
    return data


def lot_of(serial: str) -> int:
    position = position_of(serial)
    assert position is not None
    return position // LOT_SIZE


def assert_settled(kami: Kami, on_bus: Bus, tape: Tape, batch: str, serials: list[str]) -> None:
    """All that follows is there, once."""
    found = [e for r in tape.records() for e in service.told(service.read(r["dynamodb"]), 1)]
    expected = [each for each in found if not isinstance(each, Holding | Named | Moved)]
    told = [each.event if isinstance(each, history.Line) else each for each in expected]
    assert set(on_bus.ids) == {event.id for event in told}
    kept = [item for (pk, _), item in own(kami).items() if pk.startswith("HISTORY#")]
    mine = [item["id"]["S"] for item in kept if item["id"]["S"] in on_bus.ids]
    assert sorted(mine) == sorted(event.id for event in told if event.subject)
    assert stored_counts(kami, lot_of(serials[0])) == recount(kami, lot_of(serials[0]))
    counted = granted(kami.operator.get(f"/v1/batches/{batch}"))["counts"]
    assert counted == Counter(kami.statuses(batch).values())


def test_every_event_of_a_scenario_is_valid_and_none_is_missing(kami: Kami, tape: Tape, on_bus: Bus) -> None:
    batch, serials = life(kami)
    assert relay(kami, tape.records()) == []
    assert_settled(kami, on_bus, tape, batch, serials)
    for event in on_bus.events:
        jsonschema_rs.validate(schema(event["type"]), event, validate_formats=True)
    of_recoveries = {"lot.recalled", "lot.reclaimed", "voucher.voided", "voucher.recovered",
                     "recovery.requested", "recovery.completed",
                     "recovery.announced", "recovery.stopped", "voucher.suspended", "voucher.resumed", "lot.resumed",
                     "lot.resuming", "voucher.resuming",
                     "lot.restored", "voucher.restored", "erasure.requested", "voucher.erased", "erasure.completed",
                     "recovery.approval_requested", "recovery.approved", "recovery.rejected",
                     "voucher.reissued", "voucher.issued", "voucher.credited"}  # fmt: skip
    of_exports = {
        "record.exported",
        "ticket.issued",
        "ticket.used",
        "export.requested",
        "lot.exported",
        "export.completed",
    }
    of_imports = {"import.requested", "lot.imported", "import.completed"}
    of_stock = {"distribution.requested", "lot.distributed", "lot.returned", "extension.requested", "lot.extended",
                "voucher.extended"}  # fmt: skip
    of_customers = {"voucher.dispensed", "voucher.claimed", "stock.low", "voucher.offered", "voucher.transferred",
                    "voucher.offer_returned", "voucher.expiring"}  # fmt: skip
    of_rights = {"client.created", "client.rotated", "client.revoked", "client.enrolled", "client.withdrawn",
                 "channel.created", "routes.changed"}  # fmt: skip
    of_ledger = {"ledger.posted", "ledger.disputed", "reconciliation.requested", "reconciliation.completed"}
    of_messages = {"message.requested", "message.ended", "complaint.created", "complaint.closed", "recipient.changed"}
    of_partners = {type for type in TYPES if type.startswith("webhook.")}
    elsewhere = of_rights | of_ledger | of_recoveries | of_exports | of_imports | of_stock | of_customers
    elsewhere |= of_messages | of_partners
    assert {event["type"] for event in on_bus.events} == set(TYPES) - elsewhere
    text = json.dumps(on_bus.events)
    assert "+86139" not in text
    assert max(on_bus.calls) <= bus.ENTRIES_MAX


def test_every_event_of_stock_on_its_way_is_valid_and_none_is_missing(kami: Kami, tape: Tape, on_bus: Bus) -> None:
    batch = kami.batch(kami.campaign()["id"], 100)["id"]
    serials = kami.serials(batch)
    shops = [kami.channel()["id"] for _ in range(2)]
    kami.activate(serials=serials[:: 100 // SEGMENTS_PER_LOT_MAX])
    assert relay(kami, tape.records()) == []
    orders = ({"to": shops[0]}, {"from": shops[0], "to": shops[1]}, {"from": shops[1]})
    for ends in orders:
        granted(kami.operator.post("/v1/distributions", {"selection": {"batch": batch}, **ends}), 201)
    granted(kami.operator.post("/v1/extensions", {"selection": {"batch": batch}, "days": 1}), 201)
    for _ in range(2):
        assert relay(kami, tape.records()) == []
    for event in on_bus.events:
        jsonschema_rs.validate(schema(event["type"]), event, validate_formats=True)
    assert {event["type"] for event in on_bus.events} >= {
        "distribution.requested", "lot.distributed", "lot.returned", "extension.requested", "lot.extended",
        "voucher.extended",
    }  # fmt: skip
    noted = [pk for pk, _ in kami.items() if pk.startswith("STOCK#")]
    assert sorted(noted) == sorted(f"STOCK#{shop}" for shop in shops)


def test_batches_twice_and_out_of_order_leave_one_line_and_exact_counts(kami: Kami, tape: Tape, on_bus: Bus) -> None:
    batch, serials = life(kami)
    records = tape.records()
    for seed in range(3):
        random.Random(seed).shuffle(records)
        for at in range(0, len(records), 7):
            assert relay(kami, records[at : at + 7]) == []
            assert relay(kami, [*records[at : at + 7], *records[at : at + 7]]) == []
        assert_settled(kami, on_bus, tape, batch, serials)
    assert min(on_bus.ids.values()) >= 6  # said again each time, under the same id


STEPS: dict[str, tuple[Any, str, bool]] = {
    "before the transaction": (table, "put_new", False),
    "after the transaction": (table, "put_new", True),
    "before the bus": (bus, "publish", False),
    "after the bus": (bus, "publish", True),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_between_any_two_steps_is_healed_by_the_redelivery(
    kami: Kami, tape: Tape, on_bus: Bus, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    batch, serials = life(kami)
    module, name, late = STEPS[step]
    real, crashes = getattr(module, name), iter([True, False, True])

    def crashing(*args: Any) -> Any:
        crash = next(crashes, False)
        if crash and not late:
            raise ConnectionError
        result = real(*args)
        if crash:
            raise ConnectionError
        return result

    monkeypatch.setattr(module, name, crashing)
    left = tape.records()
    reports = 0
    while failed := relay(kami, left):
        at = next(n for n, each in enumerate(left) if each["dynamodb"]["SequenceNumber"] == failed[0])
        left, reports = left[at:], reports + 1
    assert reports == 2
    assert_settled(kami, on_bus, tape, batch, serials)


def test_entries_that_the_bus_refuses_are_given_again(kami: Kami, tape: Tape, on_bus: Bus) -> None:
    batch, serials = life(kami)
    on_bus.refuse_one_of = 2
    assert relay(kami, tape.records()) == []
    assert_settled(kami, on_bus, tape, batch, serials)
    assert set(on_bus.ids.values()) == {1}


def test_a_bus_that_goes_on_refusing_fails_the_batch_until_it_takes_all(kami: Kami, tape: Tape, on_bus: Bus) -> None:
    batch, serials = life(kami)
    records = tape.records()
    on_bus.refuse_one_of = bus.ROUNDS_MAX
    assert relay(kami, records) == [records[0]["dynamodb"]["SequenceNumber"]]
    assert relay(kami, records) == []
    assert_settled(kami, on_bus, tape, batch, serials)


def poison(good: Json, sequence: int) -> dict[str, Json]:
    """Records that nobody can follow."""
    typed = json.loads(json.dumps(good["dynamodb"]["NewImage"]))
    base = {**good["dynamodb"], "SequenceNumber": str(sequence)}
    unknown = {**typed, "last": {"M": {**typed["last"]["M"], "command": {"S": "claim"}}}}
    return {
        "an unknown command": {"dynamodb": {**base, "NewImage": unknown}},
        "an unreadable image": {"dynamodb": {**base, "NewImage": {**typed, "version": {"N": "1.5"}}}},
        "a missing field": {"dynamodb": {**base, "NewImage": {n: v for n, v in typed.items() if n != "position"}}},
        "a deleted item": {"dynamodb": {n: v for n, v in base.items() if n != "NewImage"}},
    }


@pytest.mark.parametrize("kind", ["an unknown command", "an unreadable image", "a missing field", "a deleted item"])
def test_a_poison_record_is_reported_and_keeps_no_other_from_being_followed(
    kami: Kami, tape: Tape, on_bus: Bus, log: Log, kind: str
) -> None:
    batch, serials = life(kami)
    records = tape.records()
    model = next(r for r in records if "position" in r["dynamodb"]["NewImage"])
    bad = poison(model, 999_000)[kind]
    middle = len(records) // 2
    assert relay(kami, [*records[:middle], bad, *records[middle:]]) == ["999000"]
    assert relay(kami, [bad, *records[middle:]]) == ["999000"]
    assert_settled(kami, on_bus, tape, batch, serials)
    assert [line["level"] for line in log.lines if line["message"] == "record not understood"] == ["ERROR", "ERROR"]
    assert "+86139" not in log.text


def test_what_relay_writes_causes_nothing(kami: Kami, tape: Tape, on_bus: Bus) -> None:
    life(kami)
    relay(kami, tape.records())
    on_bus.events.clear()
    before = own(kami)
    written = [
        record(None, {name: wire.read(value) for name, value in item.items()}, n)
        for n, item in enumerate(before.values(), 1)
    ]
    assert relay(kami, written) == []
    assert on_bus.events == []
    assert own(kami) == before


def test_the_payload_in_events_is_followed_once(kami: Kami, on_bus: Bus) -> None:
    text = (FOLDER / "relay" / "stream.json").read_text()
    payload = json.loads(text.replace("0100000", "9100000").replace('"100000"', '"9100000"').replace(
        '"1000000000"', '"91000000000"'))  # fmt: skip  # a lot that no other test has
    assert relay(kami, payload["Records"]) == []
    assert [event["type"] for event in on_bus.events] == ["lot.generated", "lot.activated", "voucher.redeemed"]
    before = own(kami)
    assert stored_counts(kami, 9_100_000) == {"partly_redeemed": 1}
    assert relay(kami, payload["Records"]) == []
    assert own(kami) == before


# Through the stream itself


@pytest.mark.parametrize("action", ["void", "reclaim"])
def test_a_card_s_life_to_its_end_through_the_stream_read_twice_in_any_order(
    kami: Kami, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr("functions.recover.service.FENCE_S", 0)
    monkeypatch.setattr("functions.recover.service.IN_CALL_S", 0)
    published: list[Event] = []
    publish = bus.publish

    def noted(events: Iterable[Event]) -> None:
        every = list(events)
        publish(every)
        published.extend(every)

    monkeypatch.setattr(bus, "publish", noted)
    batch, serials = life(kami)
    kami.cloud.drain(twice=True, shuffle=1)
    order = {"selection": {"batch": batch}, "action": action, "reason": "stolen", "only": "not_redeemed"}
    recovery = granted(kami.operator.post("/v1/recoveries", order), 202)["id"]
    kami.cloud.drain(twice=True, shuffle=2)
    assert granted(kami.operator.get(f"/v1/recoveries/{recovery}"))["status"] == "completed"
    if action == "reclaim":  # and the whole range is sold again
        kami.activate(batch=batch)
        (code,) = kami.codes([serials[30]])
        granted(kami.merchant.redeem(code), 201)
        kami.cloud.drain(twice=True, shuffle=3)
    told = [line["event"] for line in lines(kami, serials[3])]
    assert told[:4] == ["generated", "activated", "revealed", "recalled"]
    assert told[4:] == (["reclaimed", "activated"] if action == "reclaim" else [])
    redeemed = [line["event"] for line in lines(kami, serials[0])]
    assert redeemed[:5] == ["generated", "activated", "revealed", "redeemed", "recalled"]
    assert stored_counts(kami, lot_of(serials[0])) == recount(kami, lot_of(serials[0]))
    counted = granted(kami.operator.get(f"/v1/batches/{batch}"))["counts"]
    assert counted == Counter(kami.statuses(batch).values())
    for event in published:
        jsonschema_rs.validate(schema(event.type), event.detail(), validate_formats=True)
    assert {event.type for event in published} >= {"lot.recalled", "recovery.requested", "recovery.completed"}
    assert ("lot.reclaimed" in {event.type for event in published}) == (action == "reclaim")


# History


def test_the_history_of_a_card_is_told_in_order_with_who_and_where(kami: Kami, tape: Tape, on_bus: Bus) -> None:
    kami.merchant.address = "198.51.100.7"
    batch, serials = life(kami)
    relay(kami, tape.records())
    told = lines(kami, serials[1])
    assert [line["event"] for line in told] == ["generated", "activated", "revealed", "redeemed", "redeemed"]
    assert [line["at"] for line in told] == sorted(line["at"] for line in told)
    generated, activated, revealed, redeemed, again = told
    assert generated["batch"] == batch
    assert activated["command"].startswith("act_")
    assert (revealed["reveal"][:4], revealed["reason"]) == ("rvl_", "test")
    assert (redeemed["amount_minor"], redeemed["balance_minor"], redeemed["currency"]) == (1, 4999, "CNY")
    assert (again["amount_minor"], again["balance_minor"], again["account_type"]) == (2, 4997, "mobile")
    assert (redeemed["actor"], redeemed["role"]) == (kami.merchant.client_id, "merchant")
    assert (redeemed["address"], generated["address"]) == ("198.51.100.7", "192.0.2.1")
    assert [line["event"] for line in lines(kami, serials[2])][-2:] == ["redeemed", "reversed"]
    assert [line["event"] for line in lines(kami, serials[11])] == ["generated"]
    assert [line["event"] for line in lines(kami, serials[-2])] == ["generated", "activated"]


def test_within_a_second_the_usual_course_of_a_card_decides(kami: Kami, tape: Tape, on_bus: Bus) -> None:
    _, serials = life(kami)
    records = tape.records(same_second=True)
    random.Random(7).shuffle(records)
    relay(kami, records)
    told = [line["event"] for line in lines(kami, serials[2])]
    assert told == ["generated", "activated", "revealed", "redeemed", "reversed"]


def test_a_long_history_is_paged_without_gap_or_repeat(
    kami: Kami, tape: Tape, on_bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, serials = life(kami)
    for serial in serials[20:30]:  # what the lot goes through elsewhere is none of the card's
        kami.activate(serials=[serial])
    relay(kami, tape.records())
    whole = lines(kami, serials[1], "?limit=100")
    assert len(whole) == 5
    monkeypatch.setattr(history, "LINES_PER_READ", 2)
    monkeypatch.setattr(history, "READS_PER_PAGE_MAX", 2)
    for limit in (1, 2, 3, 100):
        found: list[Json] = []
        cursor = ""
        for _ in range(50):
            page = granted(kami.operator.get(f"/v1/vouchers/{serials[1]}/history?limit={limit}{cursor}"))
            assert len(page["data"]) <= limit
            found += page["data"]
            if "next_cursor" not in page:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert found == whole


def test_a_history_is_for_those_who_may_inspect_and_of_what_exists(kami: Kami) -> None:
    voucher = kami.voucher()
    path = f"/v1/vouchers/{voucher.serial}/history"
    refused(kami.merchant.get(path), 403, "insufficient_scope")
    refused(kami.operator.get("/v1/vouchers/123/history"), 404, "not_found")
    refused(kami.operator.get(f"{path}?cursor=AAAA"), 400, "invalid_cursor")
    refused(kami.operator.get(f"{path}?limit=0"), 400, "invalid_request")
    granted(kami.client("auditor").get(path))


# Counts


def test_counts_of_a_whole_lot_come_from_its_counters_without_the_index(
    kami: Kami, tape: Tape, on_bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = kami.batch(kami.campaign()["id"], 3 * LOT_SIZE)
    kami.activate(batch=batch["id"])
    serials = kami.serials(batch["id"], "limit=3")
    for code in kami.codes(serials):
        granted(kami.merchant.redeem(code), 201)
    relay(kami, tape.records())
    monkeypatch.setattr(table, "query", lambda *_, **__: pytest.fail("the index was asked"))
    counts = granted(kami.operator.get(f"/v1/batches/{batch['id']}"))["counts"]
    assert counts == {"active": 3 * LOT_SIZE - 3, "redeemed": 3}


def test_too_many_mixed_lots_are_not_counted_at_all(
    kami: Kami, tape: Tape, on_bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, serials = life(kami)
    relay(kami, tape.records())
    assert len(serials) > SEGMENTS_PER_LOT_MAX
    monkeypatch.setattr("functions.store.tally.CLOSE_LOOKS_MAX", 0)
    assert "counts" not in granted(kami.operator.get(f"/v1/batches/{batch}"))
    assert listed(kami, f"/v1/batches/{batch}/vouchers?status=redeemed")
