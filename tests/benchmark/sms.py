"""How soon after a redemption's answer a carrier has its SMS, on a local cloud that has nothing else to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import monotonic, sleep, time

from tests.benchmark.harness import Result, at_most, figure
from tests.running import Running, mobile, up

REDEMPTIONS = 200
WARM_UP = 10
PAUSE_S = 0.25
P95_MAX_S = 2
ARRIVED_AFTER_MAX_S = 60


def measure() -> Iterator[Result]:
    """From when the till has its 201 to when the carrier says that it got the SMS; both by this machine's clock.

    A redemption every quarter of a second, whatever becomes of those before.
    """
    with TemporaryDirectory() as folder, up(Path(folder)) as kami:
        count = WARM_UP + REDEMPTIONS
        codes = kami.codes(kami.active(count), count)
        answered = [_redeemed(kami, code, number) for number, (_, code) in enumerate(codes)]
        _all_arrived(kami, count)
        arrived = [[_epoch_s(sms["at"]) for sms in kami.phone(mobile(number))] for number in range(count)]
    waits = [min(at) - since for since, at in zip(answered, arrived, strict=True) if at][WARM_UP:]
    cuts = quantiles(waits, n=20, method="inclusive")
    yield figure("an SMS with its carrier after its redemption's answer, median", cuts[9], "s")
    yield at_most("an SMS with its carrier after its redemption's answer, p95", cuts[18], P95_MAX_S, "s")
    yield at_most("redemptions without one SMS each", sum(len(at) != 1 for at in arrived), 0, "")


def _redeemed(kami: Running, code: str, number: int) -> float:
    sleep(PAUSE_S)
    reply = kami.redeem(code, mobile(number))
    at = time()
    if reply.status_code != HTTPStatus.CREATED:
        raise RuntimeError(f"not redeemed: {reply.text}")
    return at


def _all_arrived(kami: Running, count: int) -> None:
    until = monotonic() + ARRIVED_AFTER_MAX_S
    while kami.sms() < count and monotonic() < until:
        sleep(PAUSE_S)


def _epoch_s(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
