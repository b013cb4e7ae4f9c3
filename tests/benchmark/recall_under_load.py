"""A million recalled on DynamoDB Local while tills redeem it: when the last of them got value out of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple

from tests.benchmark.harness import Result, at_most, figure
from tests.running import Running, up
from tests.tills import last_served_at, selling, until

QUANTITY = 1_000_000
CODES = 1_000
BREATH_S = 0.2
TRIES = 25
"""So many a till has sent when the recall is ordered; so many more it sends once that is answered."""
RECALLS = 3
SERVED_MAX_S = 1


class Recalled(NamedTuple):
    """What a recall came to: sales a second before it, seconds from its order on, and sales sent after its answer."""

    sold_per_s: float
    answered_s: float
    served_s: float
    late: int


def measure() -> Iterator[Result]:
    """From the order's first byte on, as its client sees it, who has looked at a forecast before.

    One recall goes before those that count, so that no process of the local cloud starts meanwhile.
    """
    with TemporaryDirectory() as folder, up(Path(folder), "dynamodb-local") as kami:
        _, *recalls = [_recalled(kami) for _ in range(1 + RECALLS)]
    sold_per_s, answered_s, served_s, late = (list(each) for each in zip(*recalls, strict=True))
    yield figure("redemptions a second while 1,000,000 are recalled on DynamoDB Local", median(sold_per_s), "1/s")
    yield figure("from such a recall's order to its answer", median(answered_s), "s")
    yield at_most("from such a recall's order to the last card served", median(served_s), SERVED_MAX_S, "s")
    yield at_most("recalled cards redeemed by what was sent after the recall's answer", sum(late), 0, "")


def _recalled(kami: Running) -> Recalled:
    batch = kami.active(QUANTITY)
    order = {"selection": {"batch": batch["id"]}, "action": "void", "reason": "stolen"}
    kami.done("POST", "/v1/recoveries?dry_run=true", order)
    with selling(kami, kami.codes(batch, CODES), BREATH_S) as tills:
        until(tills, TRIES)
        ordered_at = monotonic()
        recovery = kami.done("POST", "/v1/recoveries", order)
        answered_at = monotonic()
        until(tills, TRIES)
    kami.recovered(recovery["id"])
    tries = [each for till in tills for each in till.tries]
    sold = sum(each.done and each.answered_at < ordered_at for each in tries)
    return Recalled(
        sold / (ordered_at - min(each.sent_at for each in tries)),
        answered_at - ordered_at,
        last_served_at(tills) - ordered_at,
        sum(each.done and each.sent_at > answered_at for each in tries),
    )
