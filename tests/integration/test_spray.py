"""Ten thousand guesses through one client: none is right, and none is in the way of an honest customer."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from functions.domain.serials import LOT_SIZE
from functions.store import table
from functions.store.keys import Key
from functions.store.table import Item
from tests.integration.conftest import Clock, Log
from tests.integration.kami import Caller, Kami, Voucher, code_of, granted, mistyped, mobile, position, refused, unique


class Memory:
    """The table in memory, for as much of it as a wrong code touches: ten thousand guesses are too many for moto."""

    def __init__(self, kami: Kami) -> None:
        self._items: dict[Key, Item] = {Key(*key): table._plain(item) for key, item in kami.items().items()}

    def get_many(self, wanted: Iterable[Key]) -> dict[Key, Item]:
        return {key: self._items[key] for key in wanted if key in self._items}

    def add_below(self, key: Key, limit: int, ttl_epoch_s: int) -> bool:
        counter = self._items.setdefault(key, {"count": 0})
        counted = bool(counter["count"] < limit)
        counter["count"] += counted
        return counted


def spray(client: Caller, vouchers: list[Voucher], guesses: int, seed: int) -> dict[int, int]:
    """Guesses of every kind, for ever new accounts and from ever new devices; how often each status was answered."""
    dice = random.Random(seed)
    seen: dict[int, int] = {}
    for _ in range(guesses):
        target = dice.choice(vouchers)
        code = dice.choice([
            code_of(position(target), dice.getrandbits(43)),
            code_of(position(target), dice.getrandbits(43)),
            code_of(dice.randrange(100_000, 10_000_000) * LOT_SIZE, dice.getrandbits(43)),
            str(dice.getrandbits(60)),
        ])  # fmt: skip
        account, device = f"+86139{dice.randrange(10**8):08d}", f"device-{dice.getrandbits(40)}"
        answer = client.redeem(code, account=account, device=device) if dice.random() < 0.5 else client.verify(code)
        seen[answer.status] = seen.get(answer.status, 0) + 1
    return seen


def test_a_spray_through_one_client_locks_no_honest_customer_out(
    kami: Kami, clock: Clock, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000 guesses within one window: the lot's breaker opens and says so; right codes go through all the same."""
    partner = kami.client("partner")
    batch = kami.batch(kami.campaign()["id"], 100)
    kami.activate(batch=batch["id"])
    serials = kami.serials(batch["id"])
    stock = list(map(Voucher, serials, kami.codes(serials)))
    elsewhere = [kami.voucher() for _ in range(2)]
    memory = Memory(kami)
    monkeypatch.setattr("functions.store.lookup.get_many", memory.get_many)
    monkeypatch.setattr("functions.store.guards.add_below", memory.add_below)

    assert spray(partner, stock, 10_000, seed=1) == {404: 10_000}

    alarms = [line["alarm"] for line in log.lines if line.get("alarm")]
    assert set(alarms) == {"lot_breaker_open"}
    honest = mobile()
    for voucher in stock[:10]:
        granted(partner.verify(voucher.code))
        granted(partner.redeem(voucher.code, device=unique("device")), 201)
    refused(partner.redeem(mistyped(elsewhere[0].code), account=honest), 404, "voucher_not_redeemable")
    granted(partner.redeem(elsewhere[0].code, account=honest), 201)
    granted(kami.merchant.redeem(elsewhere[1].code), 201)
