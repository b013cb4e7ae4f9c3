"""One QR code at two tills at once: each step is good once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from functions.domain import wallet
from functions.domain.codes import parse
from functions.domain.lot import Status
from functions.domain.serials import LOT_SIZE, serial_of
from functions.domain.voucher import standing
from functions.redeem import holds
from functions.redeem import service as redeem
from functions.store import table
from functions.store.entities import VOUCHER
from functions.verify import service as verify
from tests.engine.engines import on_referee
from tests.engine.world import NOW, OPERATOR, World, order, race, till

pytestmark = on_referee

ROUNDS = 60
FACE_MINOR = 5_000
CUSTOMER = "member-1024"


def claimed(world: World, code: str) -> str:
    """What the voucher's QR code says once somebody holds it."""
    candidate = parse(code)
    assert candidate is not None
    at = standing(world.lot(candidate.position // LOT_SIZE), candidate.position % LOT_SIZE, None, NOW)
    assert at is not None
    held = replace(wallet.held(at, CUSTOMER, OPERATOR.tenant), status=Status.CLAIMED)
    table.change(VOUCHER, None, lambda _: held, "claim", OPERATOR)
    return verify.qr(serial_of(candidate.position), CUSTOMER, OPERATOR, NOW)


def test_two_tills_scan_one_code_and_one_of_them_gets_something(world: World) -> None:
    """Redemptions and holds alike, each of an amount that would fit twice, and for an account of its own."""
    tally: Counter[str] = Counter()
    for number, code in enumerate(world.active(ROUNDS, redemption="balance", amount_minor=FACE_MINOR)):
        payload, account = claimed(world, code), f"+861380000{number:04d}"
        takes: list[Callable[[], Any]] = [
            partial(redeem.create, order(payload, 100, account), "key", till(1), NOW),
            partial(holds.create, holds.Order(payload, 100, 15, account, None, None), "key", till(2), NOW)
            if number % 2
            else partial(redeem.create, order(payload, 100, account), "key", till(2), NOW),
        ]
        random.Random(number).shuffle(takes)
        outcomes = race(takes)
        assert outcomes.count("voucher_not_redeemable") == 1
        candidate = parse(code)
        assert candidate is not None
        voucher = world.voucher(candidate.position)
        assert voucher is not None
        assert (voucher.version, len(voucher.redemptions) + len(voucher.holds)) == (2, 1)
        tally["held" if voucher.holds else "redeemed"] += 1
    assert tally.total() == ROUNDS
    assert tally["redeemed"] >= ROUNDS // 2


def test_a_scan_sent_sixteen_times_at_once_is_one_redemption(world: World) -> None:
    for code in world.active(ROUNDS // 20, redemption="balance", amount_minor=FACE_MINOR):
        payload = claimed(world, code)
        callers = [till(1, f"request-{n}") for n in range(16)]
        outcomes = race(partial(redeem.create, order(payload, 100), "key", by, NOW) for by in callers)
        done = [o for o in outcomes if isinstance(o, redeem.Redeemed)]
        assert len(done) == 16
        assert sum(not o.replayed for o in done) == 1
        assert len({o.redemption for o in done}) == 1
