"""A million recalled on DynamoDB Local while tills redeem it: when the last of them got value out of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from tests.benchmark.harness import Result, at_most, figure
from tests.running import up
from tests.tills import refused_for_good_at, selling, until

QUANTITY = 1_000_000
CODES = 1_000
BREATH_S = 0.2
TRIES = 25
"""So many a till has sent when the recall is ordered; so many more it sends once that is answered."""
EFFECTIVE_MAX_S = 1


def measure() -> Iterator[Result]:
    """From the order's first byte on, as its client sees it, who has looked at a forecast before."""
    with TemporaryDirectory() as folder, up(Path(folder), "dynamodb-local") as kami:
        batch = kami.active(QUANTITY)
        order = {"selection": {"batch": batch["id"]}, "action": "void", "reason": "stolen"}
        kami.done("POST", "/v1/recoveries?dry_run=true", order)
        with selling(kami, kami.codes(batch, CODES), BREATH_S) as tills:
            until(tills, TRIES)
            ordered_at = monotonic()
            kami.done("POST", "/v1/recoveries", order)
            answered_at = monotonic()
            until(tills, TRIES)
    tries = [each for till in tills for each in till.tries]
    before_s = ordered_at - min(each.sent_at for each in tries)
    sold = sum(each.done and each.answered_at < ordered_at for each in tries)
    late = sum(each.done and each.sent_at > answered_at for each in tries)
    yield figure("redemptions a second while 1,000,000 are recalled on DynamoDB Local", sold / before_s, "1/s")
    yield figure("from such a recall's order to its answer", answered_at - ordered_at, "s")
    effective_s = refused_for_good_at(tills) - ordered_at
    yield at_most("from such a recall's order until no till is served any more", effective_s, EFFECTIVE_MAX_S, "s")
    yield at_most("recalled cards redeemed by what was sent after the recall's answer", late, 0, "")
