"""A hundred million vouchers generated, distributed, activated, extended and recalled over HTTP: jobs with progress."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep, time

from functions.domain.serials import LOT_SIZE
from functions.domain.times import rfc3339
from tests.benchmark.harness import Result, at_most
from tests.running import YEAR_S, Json, Running, up

QUANTITY = 100_000_000
LOTS = QUANTITY // LOT_SIZE
ANSWERED_MAX_S, DONE_MAX_S = 2, 600
"""At once, and within minutes, on an idle machine."""
POLL_S = 0.5


def measure() -> Iterator[Result]:
    """Each order once the one before is completed; what it came to must be right to the last voucher.

    On DynamoDB Local, for moto looks at its whole table at each query.
    """
    with TemporaryDirectory() as folder, up(Path(folder), "dynamodb-local") as kami:
        campaign = kami.done("POST", "/v1/campaigns", _campaign())["id"]
        shop = kami.done("POST", "/v1/channels", {"kind": "offline", "name": "Print house"})["id"]
        batch = yield from _ordered(kami, "generate", f"campaigns/{campaign}/batches", {"quantity": QUANTITY})
        selection = {"selection": {"batch": batch["id"]}}
        orders: dict[str, tuple[str, Json, str]] = {
            "distribute": ("distributions", {"to": shop}, "distributed"),
            "activate": ("activations", {}, "activated"),
            "extend": ("extensions", {"days": 30}, "extended"),
            "recall": ("recoveries", {"action": "void", "reason": "stolen"}, "recovered"),
        }
        for name, (route, terms, changed) in orders.items():
            done = yield from _ordered(kami, name, route, selection | terms)
            yield at_most(f"vouchers missed, {name} {QUANTITY:,}", QUANTITY - done[changed], 0, "")


def _campaign() -> Json:
    face_value = {"amount_minor": 5_000, "currency": "CNY"}
    rules = {"kind": "recharge", "redemption": "single", "valid_until": rfc3339(int(time()) + YEAR_S)}
    alone = {"roles": ["operator"], "actions": ["void"]}
    return {"name": "Recharge 50", "face_value": face_value, **rules, "recovery_rules": {"allow": [alone]}}


def _ordered(kami: Running, name: str, route: str, body: Json) -> Generator[Result, None, Json]:
    """The figures, and the order as it is once completed. Raises RuntimeError where its progress goes back."""
    began = perf_counter()
    reply = kami.ask("POST", f"/v1/{route}", body)
    answered_s = perf_counter() - began
    if reply.status_code != 202:
        raise RuntimeError(f"POST /v1/{route}: {reply.status_code} {reply.text}")
    until, seen = monotonic() + 2 * DONE_MAX_S, 0
    order: Json = reply.json()
    while order["status"] != "completed":
        if monotonic() > until:
            raise RuntimeError(f"{name} is not completed: {order}")
        sleep(POLL_S)
        order = kami.done("GET", reply.headers["location"])
        if not seen <= order["progress"]["lots_done"] <= LOTS:
            raise RuntimeError(f"{name} has gone back: {order}")
        seen = order["progress"]["lots_done"]
    yield at_most(f"time to answer: {name} {QUANTITY:,}", answered_s, ANSWERED_MAX_S, "s")
    yield at_most(f"time to complete: {name} {QUANTITY:,}", perf_counter() - began, DONE_MAX_S, "s")
    return order
