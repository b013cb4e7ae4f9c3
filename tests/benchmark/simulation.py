"""The hottest partitions in the worst seconds: redemptions on a holiday of the month's rush, and a flash claim.

A sample of the requests goes through the real functions, with all that follows from them (relay, bus, SMS), on the
local cloud. What each partition took is raised from the sample's size to that of the worst second. A partition of
DynamoDB serves 1,000 write units and 3,000 read units a second
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html).
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from functions.domain.serials import LOT_SIZE, position_of, serial_of
from infra.local.cloud import Cloud
from infra.local.template import synthesized
from tests.benchmark.harness import Result, at_most, figure
from tests.benchmark.load import Load, loaded

WRITES_MAX, READS_MAX = 1_000, 3_000
REDEMPTIONS_A_YEAR = 500_000_000
RUSH_SHARE, RUSH_DAYS = 0.60, 11
"""From the 25th to the 5th customers use 60 % of a month's cards."""
HOLIDAY = 1.30
BUSIEST_HOUR = 0.12
"""Of a day's redemptions."""
LOTS_IN_USE = 20
"""So few, as if all customers had bought from the same consignments; the n-th one is used 1/n as much as the first."""
SAMPLE = 600
FLASH_CLAIMS, FLASH_S = 100_000, 60
FOLLOWED_AT_ONCE = 10
"""The stream is read after so many requests; relay adds up what it reads at once, and real batches are larger."""
HOTTEST = 5


class Asked(NamedTuple):
    """A POST by a role's demo client."""

    role: str
    route: str
    body: dict[str, Any]


def measure() -> Iterator[Result]:
    """Units a second of the hottest partition, which are printed by their keys."""
    rush = REDEMPTIONS_A_YEAR / 12 * RUSH_SHARE / RUSH_DAYS * HOLIDAY * BUSIEST_HOUR / 3_600
    rate = rush + 5 * math.sqrt(rush)  # arrivals scatter; so many come in the worst second of a year's busiest hours
    with Cloud.in_process(synthesized()) as cloud:
        redeemed, claimed = _load_of(cloud, _redemptions(cloud)), _load_of(cloud, _claims(cloud))
    yield figure("redemptions in the worst second of the month's rush on a holiday", rate, "1/s")
    yield from _hottest("the month's rush", redeemed, rate / SAMPLE)
    flash = FLASH_CLAIMS / FLASH_S
    yield figure("claims a second in a flash claim of 100,000 in a minute", flash, "1/s")
    yield from _hottest("the flash claim", claimed, flash / SAMPLE)


def _hottest(name: str, load: Load, scale: float) -> Iterator[Result]:
    for kind, units, bound in (("writes", load.writes, WRITES_MAX), ("reads", load.reads, READS_MAX)):
        hottest = sorted(((taken * scale, partition) for partition, taken in units.items()), reverse=True)
        for taken, partition in hottest[:HOTTEST]:
            print(f"{name}: {taken:8,.1f} {kind} a second of {partition}", file=sys.stderr)
        yield at_most(f"{kind} a second of the hottest partition, {name}", hottest[0][0], bound, "units")


def _load_of(cloud: Cloud, requests: list[Asked]) -> Load:
    """What the partitions take for the requests and for all that follows from them."""
    cloud.drain()
    with loaded() as load:
        for start in range(0, len(requests), FOLLOWED_AT_ONCE):
            for asked in requests[start : start + FOLLOWED_AT_ONCE]:
                _ask(cloud, *asked)
            cloud.drain()
    return load


def _redemptions(cloud: Cloud) -> list[Asked]:
    """Of vouchers of a few lots, of some more than of others."""
    chosen = random.Random(1)
    batch = _stock(cloud, LOTS_IN_USE * LOT_SIZE)
    first = position_of(batch["first_serial"])
    assert first is not None
    weights = [*accumulate(1 / n for n in range(1, LOTS_IN_USE + 1))]
    lots = chosen.choices(range(LOTS_IN_USE), cum_weights=weights, k=SAMPLE)
    serials = [serial_of(first + lot * LOT_SIZE + index) for index, lot in enumerate(lots)]
    codes = _codes(cloud, serials)
    return [Asked("merchant", "redemptions", _order(code, number)) for number, code in enumerate(codes)]


def _claims(cloud: Cloud) -> list[Asked]:
    """From the pool of one campaign, each by a customer of its own, who may have one, as the campaign has a limit."""
    batch = _stock(cloud, FLASH_CLAIMS, claims_per_customer=1, claims_max=FLASH_CLAIMS)
    customers = (f"+86139{number:08d}" for number in range(SAMPLE))
    return [Asked("operator", "claims", {"campaign": batch["campaign"], "customer": each}) for each in customers]


def _order(code: str, number: int) -> dict[str, Any]:
    account = {"type": "mobile", "number": f"+86138{number:08d}"}
    return {"code": code, "account": account, "store": "store-1", "terminal": f"till-{number % 50}"}


def _stock(cloud: Cloud, quantity: int, **rules: Any) -> dict[str, Any]:
    face_value = {"amount_minor": 5_000, "currency": "CNY"}
    campaign = {"name": "Rush", "kind": "recharge", "face_value": face_value, "redemption": "single", **rules}
    campaign = _ask(cloud, "operator", "campaigns", {"valid_until": "2099-12-31T00:00:00Z", **campaign})
    batch = _ask(cloud, "operator", f"campaigns/{campaign['id']}/batches", {"quantity": quantity})
    cloud.drain()
    _ask(cloud, "operator", "activations", {"selection": {"batch": batch["id"]}})
    return batch


def _codes(cloud: Cloud, serials: list[str]) -> list[str]:
    found: list[str] = []
    for start in range(0, len(serials), 100):
        body = {"serials": serials[start : start + 100], "reason": "benchmark"}
        found += (line["code"] for line in _ask(cloud, "operator", "reveals", body)["data"])
    return found


def _ask(cloud: Cloud, role: str, route: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"idempotency-key": f"{random.getrandbits(64):x}"}
    answer = cloud.request("POST", f"/v1/{route}", headers=headers, body=body, token=cloud.token(role))
    if answer.status not in (200, 201):
        raise RuntimeError(f"POST /v1/{route}: {answer.status} {answer.body.decode()}")
    document: dict[str, Any] = answer.json()
    return document
