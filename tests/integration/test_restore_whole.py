"""The whole way back: a table as it was at some moment, and what the system itself has kept of all that came after."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from functions.audit import sealing
from functions.audit.handler import _sign
from functions.domain.serials import serial_of
from functions.edge import clock as edge_clock
from functions.store import record as entries
from functions.store import seals
from infra import restore, restoring
from infra.local.cloud import Cloud
from infra.local.gateway import Answer
from infra.local.template import synthesized
from tests.integration.conftest import Clock
from tests.integration.kami import NOBODY, Json, Kami, Voucher, claim, granted, mobile, refused, replayed, unique
from tests.integration.test_restore import INCARNATION, lines, put_back, snapshot, state
from tests.integration.test_seals import checkpoints, exported, objects, put_on_record, sealed_now


@pytest.fixture
def kami(every_line: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kami]:
    """A cloud for one test: what is sealed stays, whatever becomes of the table."""
    monkeypatch.setattr("functions.ledger.reconciling.LOOKS_AFTER_S", (0, 0, 0))
    with Cloud.in_process(synthesized()) as cloud:
        yield Kami(cloud)


GOOD_UNTIL = "2036-12-31T00:00:00Z"
STOCK = 8


class Shop:
    """Cards that are used in all ways, before the moment that is restored to and after it."""

    def __init__(self, kami: Kami) -> None:
        self.kami, self.auditor = kami, kami.client("auditor")
        self.batch = kami.batch(kami.campaign(redemption="balance")["id"], 31)["id"]
        serials = kami.serials(self.batch)
        self.cards = list(map(Voucher, serials, kami.codes(serials)))
        kami.activate(**self.range(0, 28))
        held = kami.campaign(redemption="balance")["id"]
        kami.batch(held, 3)
        order = {"campaign": held, "customer": "holder"}
        drawn = granted(kami.operator.post("/v1/claims", order, unique()), 201)
        self.held = Voucher(drawn["serial"], drawn["code"])
        self.stock = kami.campaign(claims_per_customer=1)["id"]
        kami.batch(self.stock, STOCK)
        toys = kami.batch(kami.campaign(sandbox=True)["id"], 1)["id"]
        kami.activate(batch=toys)
        self.trier = kami.client("merchant", sandbox=True)
        self.toy = Voucher(kami.serials(toys)[0], kami.codes(kami.serials(toys))[0])

    def range(self, first: int, last: int) -> Json:
        return {"first_serial": self.cards[first].serial, "last_serial": self.cards[last].serial}

    def single(self, *numbers: int) -> Json:
        return {"serials": [self.cards[number].serial for number in numbers]}

    def use(self, number: int, amount_minor: int | None = None, key: str | None = None) -> Json:
        amount: Json = {"amount_minor": amount_minor} if amount_minor else {}
        answer = self.kami.merchant.redeem(self.cards[number].code, key, f"+86138{number:08d}", **amount)
        return granted(answer, 201)

    def reverse(self, used: Json) -> None:
        granted(self.kami.merchant.reverse(used["id"]), 201)

    def hold(self, number: int, amount_minor: int) -> str:
        order = {"code": self.cards[number].code, "amount_minor": amount_minor, "minutes": 30}
        return str(granted(self.kami.merchant.post("/v1/holds", order, unique()), 201)["id"])

    def capture(self, hold: str) -> Answer:
        account = {"account": {"type": "mobile", "number": mobile()}}
        return self.kami.merchant.post(f"/v1/holds/{hold}/captures", account, unique())

    def draw(self, route: str, key: str, **order: Any) -> Answer:
        return self.kami.operator.post(f"/v1/{route}", {"campaign": self.stock, **order}, key)

    def recover(self, action: str, selection: Json | None = None, **order: Any) -> str:
        order |= {"action": action, "reason": "stolen"} | ({"selection": selection} if selection else {})
        return str(granted(self.kami.operator.post("/v1/recoveries", order, unique()), 202)["id"])

    def transfer(self, number: int, giver: str, receiver: str) -> str:
        order = {"serial": self.cards[number].serial, "customer": giver}
        offer = granted(self.kami.operator.post("/v1/transfers", order, unique()), 201)
        order = {"token": offer["token"], "customer": receiver}
        accepted = self.kami.operator.post(f"/v1/transfers/{offer['id']}/acceptances", order, unique())
        return str(granted(accepted, 201)["code"])

    def wallet(self, customer: str) -> list[str]:
        found = granted(self.kami.operator.get(f"/v1/customers/{customer}/vouchers"))["data"]
        return [card["serial"] for card in found]

    def seen(self, serials: Iterable[str]) -> dict[str, Json]:
        """All that can be asked of cards: what they are, and what the ledger says of them."""
        ledgers = (granted(self.kami.operator.get(f"/v1/vouchers/{serial}/ledger"))["accounts"] for serial in serials)
        return {serial: {**state(self.kami, serial), "ledger": of} for serial, of in zip(serials, ledgers, strict=True)}

    def history(self, serial: str) -> list[Json]:
        return list(granted(self.kami.operator.get(f"/v1/vouchers/{serial}/history?limit=100"))["data"])

    def differences(self) -> Counter[tuple[str, str | None, str | None]]:
        id = granted(self.kami.operator.post("/v1/reconciliations", {"all": True}, unique()), 202)["id"]
        self.kami.cloud.drain()
        found = granted(self.kami.operator.get(f"/v1/reconciliations/{id}?limit=100"))
        assert found["status"] == "completed"
        return Counter((d["kind"], d.get("serial"), d.get("about")) for d in found["differences"]["data"])


def run(kami: Kami, archived: Path) -> str:
    bucket = kami.cloud.stack.functions["audit"].environment["RECORD_BUCKET"]
    with kami.cloud.environment("relay"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECORD_BUCKET", bucket)
        (name,) = kami.cloud.stack.tables
        said = CliRunner().invoke(restore.app, [
            "--since", "2026-01-01T00:00:00Z", "--incarnation", str(INCARNATION), "--table", name,
            "--events", str(archived),
        ])  # fmt: skip
    assert said.exit_code == 0, (said.output, said.exception)
    return str(said.output)


def test_the_record_goes_on_from_what_was_sealed_and_forks_nowhere(
    kami: Kami, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was sealed last is in the bucket, its checkpoint is not; and both have gone on since what is restored."""
    auditor, environment = kami.client("auditor"), kami.cloud.stack.functions["audit"].environment
    put_on_record(kami, 20)
    sealed_now(kami)
    put_on_record(kami, 20)
    then = snapshot(kami)
    put_on_record(kami, 20)
    sealed_now(kami)
    put_on_record(kami, 20)
    with kami.cloud.environment("audit"), monkeypatch.context() as patch:
        patch.setattr(seals, "keep_checkpoint", raising(ConnectionError))
        with pytest.raises(ConnectionError):
            sealing.proceed(_sign, edge_clock.now(), float("inf"))
    lost = put_on_record(kami, 20)
    put_back(kami, then)
    monkeypatch.setitem(environment, "TABLE_INCARNATION", str(INCARNATION))
    put_on_record(kami, 3)
    with kami.cloud.environment("audit"):
        with pytest.raises(seals.Broken, match="the table was restored"):
            sealing.proceed(_sign, edge_clock.now(), float("inf"))
        for again in (False, True):
            done = restoring.put_record_back(restore.sealed(0), NOBODY)
            assert done == (Counter() if again else Counter({"entries of the record": 40, "checkpoints": 1}))
    put_on_record(kami, 3)
    sealed_now(kami)
    told, kept = checkpoints(auditor), objects(kami)
    assert [checkpoint["number"] for checkpoint in told] == list(range(1, len(told) + 1))
    assert [checkpoint["jws"] for checkpoint in told] == [
        kept[name].decode() for name in sorted(kept) if name.startswith("checkpoints/")
    ]
    on_record = Counter(json.loads(line)["event"]["id"] for line in lines(kami))
    exported(kami, auditor, tmp_path)
    assert on_record <= of_export(tmp_path)
    assert not on_record.keys() & set(lost)


def of_export(folder: Path) -> Counter[str]:
    """The ids of the events that a fetched export holds."""
    found = (folder / "export.jsonl").read_text().splitlines()
    return Counter(json.loads(line)["event"]["id"] for line in found if line.startswith('{"chain"'))


def raising(error: type[Exception]) -> Callable[..., None]:
    def call(*_: Any) -> None:
        raise error

    return call


def test_a_table_of_another_record_is_left_alone(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one would be that went on under the incarnation that it had."""
    monkeypatch.setattr(entries, "_any_chain", lambda: "1.03")
    then = snapshot(kami)
    put_on_record(kami, 2)
    sealed_now(kami)
    put_back(kami, then)
    put_on_record(kami, 3)
    untouched = kami.items()
    with kami.cloud.environment("audit"), pytest.raises(ValueError, match=r"chain 1\.03 is broken at entry"):
        restoring.put_record_back(restore.sealed(0), NOBODY)
    assert kami.items() == untouched
    put_back(kami, then)
    with kami.cloud.environment("audit"):
        restoring.put_record_back(restore.sealed(0), NOBODY)


def test_lots_of_a_batch_that_was_under_way_are_made_again_and_what_became_of_them_too(
    kami: Kami, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("functions.generate.batches.LOTS_PER_CALL_MAX", 0)
    asked = kami.operator.post(f"/v1/campaigns/{kami.campaign()['id']}/batches", {"quantity": 3})
    batch = granted(asked, 202)
    then = snapshot(kami)
    kami.cloud.drain()
    (serial,) = kami.serials(batch["id"], "limit=1")
    (code,) = kami.codes([serial])
    kami.activate(serials=[serial])
    granted(kami.merchant.redeem(code), 201)
    archived = tmp_path / "archived.jsonl"
    archived.write_text("".join(f"{line}\n" for line in lines(kami)))
    put_back(kami, then)
    raise_incarnation(kami, monkeypatch)
    assert "run this a second time" in run(kami, archived)
    kami.cloud.drain()
    assert "run this a second time" not in run(kami, archived)
    refused(kami.merchant.redeem(code), 409, "already_redeemed")


def raise_incarnation(kami: Kami, patch: pytest.MonkeyPatch) -> None:
    """As a deployment would."""
    for function in kami.cloud.stack.functions.values():
        if "TABLE_INCARNATION" in function.environment:
            patch.setitem(function.environment, "TABLE_INCARNATION", str(INCARNATION))


def assert_posted_once(kami: Kami, before: Iterable[str]) -> None:
    """No movement is told under two ids; and what was told before is entered without a word."""

    def posted(found: Iterable[str]) -> list[tuple[str, ...]]:
        events = [json.loads(line)["event"] for line in found if '"type":"ledger.posted"' in line]
        return [tuple(e["data"][name] for name in ("serial", "kind", "redemption")) for e in events]

    assert set(Counter(posted(lines(kami))).values()) == {1}
    entered = {named(item): item["last"]["M"]["command"]["S"] for item in kami.items().values() if is_line(item)}
    silently = {name for name, command in entered.items() if command == "restore"}
    assert silently
    assert silently <= set(posted(before)) <= entered.keys()


def is_line(item: Json) -> bool:
    """Whether it is a line of the ledger."""
    return bool(item.get("entity") == {"S": "line"})


def named(line: Json) -> tuple[str, ...]:
    """Serial, kind and redemption of a line of the ledger."""
    kind, redemption, *_ = (value.get("S") for value in line["movement"]["L"])
    return serial_of(int(line["position"]["N"])), kind, redemption


def test_the_whole_way_back(kami: Kami, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A life that all handlers write, on record as the system keeps it; the table as it was in the midst of it, and
    what was sealed since re-applied to it, with what was told after the last seal."""
    shop = Shop(kami)
    use, cards, recover = shop.use, shop.cards, shop.recover
    use(0)
    kept = shop.hold(1, 1_000)
    claim(kami, cards[2], "giver")
    first = granted(kami.merchant.redeem(shop.held.code, amount_minor=1_000), 201)
    before = use(7, 700)
    ranges, singly = recover("suspend", shop.range(4, 5)), recover("suspend", shop.single(6))
    two = recover("suspend", shop.range(22, 22)), recover("suspend", shop.range(22, 22))
    granted(shop.draw("claims", unique(), customer="zero"), 201)
    kami.cloud.drain()
    sealed_now(kami)
    use(8)
    kami.cloud.drain()
    under_way = recover("suspend", shop.single(27)), recover("void", shop.range(28, 28))
    use(9)  # of which nothing is told yet
    then = snapshot(kami)

    keys = [unique() for _ in range(3)]
    use(10, key=keys[0])
    parts = use(11, 200), use(11, 300)
    for used in (parts[1], before):
        shop.reverse(used)
    granted(shop.capture(kept), 201)
    granted(shop.capture(shop.hold(12, 5_000)), 201)
    received = shop.transfer(2, "giver", "receiver")
    claim(kami, cards[13], "newcomer")
    recover("void", shop.range(14, 15))
    recover("void", shop.single(16))
    recover("reclaim", shop.range(17, 18))
    later = recover("suspend", shop.range(19, 20)), recover("suspend", shop.single(21))
    kami.cloud.drain()
    for lifted in (ranges, singly, two[0]):
        recover("resume", recovery=lifted)
    recover("reissue", {"serials": [shop.held.serial]})
    kami.cloud.drain()
    (between,) = shop.wallet("holder")
    recover("reissue", {"serials": [between]})
    kami.cloud.drain()
    (successor,) = shop.wallet("holder")
    shop.reverse(first)
    granted(kami.merchant.redeem(kami.codes([successor])[0], amount_minor=500), 201)
    kami.activate(**shop.range(29, 30))
    use(29)
    granted(kami.operator.post("/v1/extensions", {"selection": shop.range(23, 24), "valid_until": GOOD_UNTIL}), 201)
    claimed = granted(shop.draw("claims", keys[1], customer="one"), 201)["serial"]
    dispensed = [each["serial"] for each in granted(shop.draw("dispenses", keys[2], quantity=2), 201)["data"]]
    granted(shop.trier.redeem(shop.toy.code), 201)
    sealed_now(kami)
    use(25)
    recover("void", shop.single(26))
    kami.cloud.drain()
    serials = [
        *(card.serial for card in cards),
        shop.held.serial,
        between,
        successor,
        claimed,
        *dispensed,
        shop.toy.serial,
    ]
    lived = [*(cards[n].serial for n in (1, 6, 9, 11, 17, 22)), shop.held.serial, successor]
    truth, told = shop.seen(serials), {serial: shop.history(serial) for serial in lived}
    on_record = lines(kami)
    sealed = {line for name, content in objects(kami).items() if name.startswith("entries/")
              for line in content.decode().splitlines()}  # fmt: skip
    archived = tmp_path / "archived.jsonl"
    unsealed = [json.loads(line)["event"] for line in on_record if line not in sealed]
    random.Random(1).shuffle(unsealed)
    archived.write_text("".join(json.dumps({"detail": event}) + "\n" for event in unsealed))
    put_back(kami, then)
    raise_incarnation(kami, monkeypatch)
    with kami.cloud.environment("audit"), pytest.raises(seals.Broken, match="the table was restored"):
        sealing.proceed(_sign, edge_clock.now(), float("inf"))

    said = run(kami, archived)
    assert "voucher.redeemed" in said
    kami.cloud.drain()
    assert shop.seen(serials) == truth
    for id in (*under_way, *later):
        assert granted(kami.operator.get(f"/v1/recoveries/{id}"))["status"] == "completed"
    for serial, lost in told.items():
        known = shop.history(serial)
        assert [line for line in known if line["event"] != "restored"] == lost
    assert shop.wallet("holder") == [successor]
    whole = kami.items()
    assert "nothing" in run(kami, archived)
    assert kami.items() == whole

    for number in (0, 8, 9, 10, 12, 25, 29):
        refused(kami.merchant.redeem(cards[number].code), 409, "already_redeemed")
    for number in (2, 14, 15, 16, 17, 18, 19, 20, 21, 22, 26, 27, 28):
        refused(kami.merchant.redeem(cards[number].code), 404, "voucher_not_redeemable")
    refused(kami.merchant.redeem(shop.held.code), 404, "voucher_not_redeemable")
    for id in later:
        recover("resume", recovery=id)
    kami.cloud.drain()
    for number in (19, 21):
        use(number)
    refused(shop.capture(kept), 409, "hold_captured")
    assert replayed(kami.merchant.redeem(cards[10].code, keys[0], f"+86138{10:08d}"))
    assert granted(shop.draw("claims", keys[1], customer="one"), 201)["serial"] == claimed
    again = granted(shop.draw("dispenses", keys[2], quantity=2), 201)["data"]
    assert sorted(each["serial"] for each in again) == sorted(dispensed)
    left = granted(shop.draw("dispenses", unique(), quantity=STOCK - 4), 201)["data"]
    assert not {each["serial"] for each in left} & {claimed, *dispensed}
    refused(shop.draw("dispenses", unique(), quantity=1), 409, "quantity_exceeded")
    for code in (cards[4].code, cards[6].code, received, cards[13].code, kami.codes([successor])[0]):
        granted(kami.merchant.redeem(code), 201)
    assert_posted_once(kami, on_record)
    shop.reverse(parts[0])
    kami.cloud.drain()
    assert shop.differences() == Counter()

    everything = Counter(json.loads(line)["event"]["id"] for line in lines(kami))
    assert {json.loads(line)["event"]["id"] for line in on_record} < everything.keys()
    done, verified = exported(kami, shop.auditor, tmp_path)
    assert (done["more"], verified.entries) == (False, done["entries"])
    assert everything <= of_export(tmp_path)
    assert set(of_export(tmp_path).values()) == {1}
