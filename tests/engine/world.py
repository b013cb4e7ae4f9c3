"""A small world to test in: a campaign, batches, codes, and looks into the table behind everybody's back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Barrier
from typing import Any, TypeVar
from unittest.mock import patch

from functions.distribute import service as distribute
from functions.domain.actor import By
from functions.domain.campaign import Batch, Campaign
from functions.domain.command import Command
from functions.domain.errors import Refusal
from functions.domain.lot import Lot, Rules
from functions.domain.selection import Selection, Span
from functions.domain.serials import serial_of
from functions.domain.voucher import Voucher
from functions.generate import batches, campaigns, vouchers
from functions.redeem import service as redeem
from functions.store import keys, table
from functions.store.entities import LOT, VOUCHER
from infra.local.cloud import Cloud
from infra.local.runtime import environment

NOW = 1_800_000_000
"""The time in every test of this folder."""
DAY_S = 86_400
OPERATOR = By("operator-1", "operator", "operator", "192.0.2.9", "request-0")
R = TypeVar("R")


def later(seconds: float = 600.0) -> float:
    """A deadline that no test reaches."""
    return time.monotonic() + seconds


def till(number: int, request: str = "") -> By:
    """A merchant's till, each a client of its own."""
    return By(f"till-{number}", "merchant", f"merchant-{number}", "192.0.2.1", request or f"request-{number}")


def order(code: str, amount_minor: int | None = None, number: str = "+8613812345678") -> redeem.Order:
    """An order for a mobile account."""
    return redeem.Order(code, "mobile", number, amount_minor, None, None, None, None)


def outcome(attempt: Callable[[], R]) -> R | str:
    """What came of it: the result, or the key of the refusal."""
    try:
        return attempt()
    except Refusal as refusal:
        return refusal.key


def race(attempts: Iterable[Callable[[], R]]) -> list[R | str]:
    """All at once, each in a thread of its own; their outcomes in order."""
    runners = list(attempts)
    together = Barrier(len(runners))

    def start(attempt: Callable[[], R]) -> R | str:
        together.wait()
        return outcome(attempt)

    with ThreadPoolExecutor(len(runners)) as pool:
        return list(pool.map(start, runners))


@contextmanager
def settled(cloud: Cloud) -> Iterator[None]:
    """The environment of all functions at once, so that one test may call the services of several."""
    variables: dict[str, str] = {}
    for function in cloud.stack.functions.values():
        variables |= environment(function, cloud.endpoints)
    with patch.dict(os.environ, variables):
        yield


class World:
    """What a test starts with."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._numbers = count(1)

    def campaign(
        self,
        *,
        redemption: str = "single",
        amount_minor: int = 5_000,
        code_format: str = "crockford16",
        quantity_max: int | None = None,
        **rules: Any,
    ) -> Campaign:
        """A campaign whose vouchers are valid for a year."""
        id = f"cmp_{next(self._numbers):024d}"
        made = Rules(id, "recharge", amount_minor, "CNY", redemption, code_format, **rules)
        valid_until = None if made.valid_days_after_activation else NOW + 365 * DAY_S
        wanted = Campaign(id, "Test", made, valid_until, "en", NOW, "f", OPERATOR, quantity_max=quantity_max)
        return campaigns.create(wanted)

    def batch(self, campaign: Campaign, quantity: int) -> Batch:
        """A batch, generated."""
        return batches.create(f"bat_{next(self._numbers):024d}", campaign.id, quantity, OPERATOR, NOW, later())

    def activate(self, selection: Selection) -> Command:
        """An activation, done."""
        return distribute.activate(f"act_{next(self._numbers):024d}", selection, OPERATOR, NOW, later())

    def active(self, quantity: int, **campaign: Any) -> list[str]:
        """The codes of a fresh batch whose vouchers can be redeemed."""
        batch = self.batch(self.campaign(**campaign), quantity)
        self.activate(Selection(batch=batch.id))
        return self.codes(batch.span)

    def codes(self, span: Span) -> list[str]:
        """The codes of a span."""
        found: list[str] = []
        for first in range(span.first, span.last + 1, 100):
            serials = [serial_of(position) for position in range(first, min(first + 100, span.last + 1))]
            _, shown = vouchers.reveal(f"rvl_{next(self._numbers):024d}", serials, "test", OPERATOR, NOW)
            found += (code for _, code in shown)
        return found

    def lot(self, number: int) -> Lot:
        """A lot as it lies in the table."""
        lot = table.read(LOT, keys.lot(number))
        assert lot is not None
        return lot

    def voucher(self, position: int) -> Voucher | None:
        """A voucher's item as it lies in the table."""
        return table.read(VOUCHER, keys.voucher(position))

    def items(self) -> dict[str, dict[str, Any]]:
        """All that the table holds, by partition key."""
        found: dict[str, dict[str, Any]] = {}
        pages = self.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table.table_name())
        for page in pages:
            found |= {item["pk"]["S"]: table._plain(item) for item in page["Items"]}
        return found

    def wipe(self, keep: str | None = None) -> None:
        """Empties the table, but for the kind of item that is to stay."""
        pages = self.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table.table_name())
        found = [{"pk": item["pk"], "sk": item["sk"]} for page in pages for item in page["Items"]]
        keys_left = [key for key in found if key["pk"]["S"].partition("#")[0] != keep]
        for start in range(0, len(keys_left), 25):
            deletes = [{"DeleteRequest": {"Key": key}} for key in keys_left[start : start + 25]]
            reply = self.cloud.client("dynamodb").batch_write_item(RequestItems={table.table_name(): deletes})
            assert not reply["UnprocessedItems"]
