"""The SMS carriers of the local cloud, the phones they reach, and the switches that break them.

One `Carriers` is the whole network. Functions reach it over HTTP on a loopback port of its own; the local gateway
serves the same paths for people: `PUT /local/carriers/{name}` and `GET /local/phones/{number}`.
"""

from __future__ import annotations

import heapq
import hmac
import itertools
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

PREFIX: Final = "/local/"
NAMES: Final = ("north", "south")
FAULTS: Final = ("none", "down", "slow", "refuse", "lose_reply", "answer_twice", "plan")
PLANNED: Final = ("down", "lose_reply")
RECEIPTS: Final = ("none", "prompt", "early", "repeated", "out_of_order", "plan")
"""What a carrier tells of what it took: nothing; once, after a while; before its own reply; several times; that it was
delivered, and only then that it had not been; or, of each message by its own plan, one of these."""
RECEIPT_AFTER_S: Final = 1.0
RECEIPT_TRIES_MAX: Final = 5
"""A receipt that nobody takes is given again so many times in all."""
REPEATS: Final = 3
NOT_YET: Final = "not_reachable"
SIGNATURE: Final = "x-carrier-signature"
SLOW_S: Final = 4.0
"""Longer than notify waits for an answer."""
BODY_MAX_BYTES: Final = 64 * 1024
REQUEST_TIMEOUT_S: Final = 30.0
RETRY_BASE_S: Final = "0.25"
BREAKER_OPEN_S: Final = "2"
POLL_S: Final = 0.05
INBOX_MAX: Final = 1_000

Json = dict[str, Any]


def overlay(url: str, secret: str) -> dict[str, dict[str, str]]:
    """By function: what its environment has in place of the template's. The only such deviation."""
    return {
        "notify": {
            "SMS_PROVIDERS": ",".join(f"simulated:{name}" for name in NAMES),
            "SIMULATED_CARRIER_URL": url,
            "SIMULATED_CARRIER_SECRET": secret,
            "SMS_RETRY_BASE_S": RETRY_BASE_S,
            "SMS_QUIET_HOURS": "",
            "SMS_BREAKER_OPEN_S": BREAKER_OPEN_S,
        },
        "webhooks": {"WEBHOOK_LOOPBACK": "allowed"},
    }


class Told(NamedTuple):
    """A receipt on its way: when it is given (monotonic), to be told apart from others of that moment, how often it was
    tried, by whom, and what it says."""

    due: float
    number: int
    tries: int
    carrier: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What a carrier answers: `times` 0 is a connection that closes without an answer."""

    status: int
    body: Json
    times: int = 1
    after_s: float = 0.0
    early: tuple[Told, ...] = ()
    """Receipts that are given before this."""


Receiver = Callable[[str, dict[str, str], bytes], int]
"""Takes a receipt: provider, headers and body; says the status that it was answered with."""


@dataclass(slots=True)
class Carrier:
    """One carrier: what it took, by reference, and what is wrong with it."""

    name: str
    fault: str = "none"
    error: str = "blocked"
    after_s: float = SLOW_S
    seed: int = 0
    failures_max: int = 1
    receipts: str = "none"
    receipt_after_s: float = RECEIPT_AFTER_S
    receipt_code: str = ""
    """Why it is not delivered, in Kami's own words; empty: it is."""
    taken: dict[str, str] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    """How often it was asked to send, by reference."""
    messages: dict[str, str] = field(default_factory=dict)
    """Which message it was asked to send under a reference; a sender may ask for one under several."""
    told: dict[str, list[str]] = field(default_factory=dict)
    """The codes that it tells, or has told, of what it took, in order and by reference; empty for delivered."""
    _met: Counter[str] = field(default_factory=Counter)

    def now_wrong(self, reference: str) -> str:
        """The fault that this request meets, a sending or a look-up. A plan is each message's own, up to a limit."""
        if self.fault != "plan":
            return self.fault
        if reference not in self.messages:
            return "none"
        message = self.messages[reference]
        random = Random(f"{self.seed} {self.name} {message}")
        faults = [random.choice(PLANNED) for _ in range(random.randint(0, self.failures_max))]
        self._met[message] += 1
        return faults[self._met[message] - 1] if self._met[message] <= len(faults) else "none"

    def receipts_of(self, reference: str) -> tuple[str, list[str]]:
        """How it tells of a message, and the codes that it tells, in order; empty for delivered."""
        how = self.receipts
        if how == "plan":
            how = Random(f"{self.seed} {self.name} receipts {self.messages[reference]}").choice(RECEIPTS[:-1])
        codes = {"none": [], "repeated": [self.receipt_code] * REPEATS, "out_of_order": ["", NOT_YET]}
        return how, codes.get(how, [self.receipt_code])


class Carriers:
    """All carriers and phones."""

    def __init__(self) -> None:
        self.secret = secrets.token_hex(16)
        """What receipts are signed with."""
        self.receiver: Receiver | None = None
        self._numbers = itertools.count()
        self._told: list[Told] = []
        self._lock = threading.Lock()
        self._all = {name: Carrier(name) for name in NAMES}
        self._phones: dict[str, list[Json]] = {}
        self._inboxes: dict[str, list[Json]] = {}

    def set(self, name: str, fault: str, **more: Any) -> None:
        """Breaks or mends a carrier. `more`: `error` (refuse), `after_s` (slow), `seed` and `failures_max` (plan);
        `receipts`, `receipt_after_s` and `receipt_code` of what it takes from now on.

        Raises `ValueError` for what is not known.
        """
        if name not in self._all or fault not in FAULTS or set(more) - SWITCHES.keys():
            raise ValueError(f"carriers are {', '.join(NAMES)}; faults are {', '.join(FAULTS)}")
        if more.get("receipts", "none") not in RECEIPTS:
            raise ValueError(f"receipts are {', '.join(RECEIPTS)}")
        changes = {key: SWITCHES[key](value) for key, value in more.items()}
        with self._lock:
            carrier = self._all[name]
            carrier.fault = fault
            for key, value in changes.items():
                setattr(carrier, key, value)

    def phone(self, number: str) -> list[Json]:
        """What a phone received: `{from, text, at}`, oldest first."""
        with self._lock:
            return list(self._phones.get(number, ()))

    def inbox(self, name: str) -> list[Json]:
        """The last webhooks that came to an address here, oldest first."""
        with self._lock:
            return list(self._inboxes.get(name, ()))

    @property
    def received(self) -> dict[str, int]:
        """How many SMS each phone received."""
        with self._lock:
            return {number: len(messages) for number, messages in self._phones.items()}

    def carrier(self, name: str) -> Carrier:
        """A carrier, to look at."""
        return self._all[name]

    def reset(self) -> None:
        """Mends everything and empties the phones."""
        with self._lock:
            self._all = {name: Carrier(name) for name in NAMES}
            self._phones, self._inboxes = {}, {}
            self._told = []

    def deliver(self, until: float | None = None) -> int:
        """Gives the receipts that are due until a moment of the monotonic clock, or all; says how many."""
        due: list[Told] = []
        with self._lock:
            while self._told and (until is None or self._told[0].due <= until):
                due.append(heapq.heappop(self._told))
        for told in due:
            self._give(told)
        return len(due)

    def _give(self, told: Told) -> None:
        if self.receiver is None:
            return
        signature = hmac.digest(self.secret.encode(), told.body, "sha256").hex()
        headers = {"content-type": "application/json", SIGNATURE: signature}
        status = self.receiver(f"simulated:{told.carrier}", headers, told.body)
        if status >= 300 and told.tries + 1 < RECEIPT_TRIES_MAX:
            with self._lock:
                heapq.heappush(self._told, told._replace(due=told.due + RECEIPT_AFTER_S, tries=told.tries + 1))

    def _receipts(self, carrier: Carrier, reference: str, how: str, codes: list[str]) -> tuple[Told, ...]:
        """Those that are given at once; the others are noted."""
        at, due = int(time.time()), time.monotonic() + carrier.receipt_after_s
        entries = [
            {"reference": reference, "id": carrier.taken[reference], "code": code, "at": at - place}
            for place, code in enumerate(codes)
        ]
        told = tuple(Told(due, next(self._numbers), 0, carrier.name, json.dumps([entry]).encode()) for entry in entries)
        if how == "early":
            return told
        for one in told:
            heapq.heappush(self._told, one)
        return ()

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        """The answer to a request for a path under `/local/`."""
        parts = [unquote(part) for part in path.removeprefix(PREFIX).split("/")]
        try:
            sent = json.loads(body) if body else {}
            match method, parts:
                case "GET", ["phones", number]:
                    return Reply(200, {"data": self.phone(number if number.startswith("+") else f"+{number.strip()}")})
                case "GET", ["webhooks", name]:
                    return Reply(200, {"data": self.inbox(name)})
                case "POST", ["webhooks", name]:
                    with self._lock:
                        inbox = self._inboxes.setdefault(name, [])
                        inbox.append(sent)
                        del inbox[:-INBOX_MAX]
                    return Reply(200, {})
                case "GET", ["carriers"]:
                    return Reply(200, {"data": [self._state(name) for name in NAMES]})
                case "GET", ["carriers", name, "taken"] if name in NAMES:
                    return Reply(200, {"data": self._taken(name)})
                case "PUT", ["carriers", name]:
                    self.set(name, **sent)
                    return Reply(200, self._state(name))
                case "POST", ["carriers", name, "messages"] if name in NAMES:
                    return self._send(name, sent["reference"], sent["to"], sent["from"], sent["text"])
                case "GET", ["carriers", name, "messages", reference] if name in NAMES:
                    return self._look_up(name, reference)
        except (ValueError, TypeError, KeyError) as error:
            return Reply(400, {"error": "invalid_request", "detail": str(error)})
        return Reply(404, {"error": "not_found"})

    def _state(self, name: str) -> Json:
        with self._lock:
            carrier = self._all[name]
            due = sum(told.carrier == name for told in self._told)
            state = {"name": name, "fault": carrier.fault, "messages": len(carrier.taken), "receipts_due": due}
            return {**state, "receipts": carrier.receipts, "receipt_code": carrier.receipt_code}

    def _taken(self, name: str) -> list[Json]:
        with self._lock:
            carrier = self._all[name]
            return [{"reference": each, "id": id, "told": carrier.told[each]} for each, id in carrier.taken.items()]

    def _send(self, name: str, reference: str, to: str, sender: str, text: str) -> Reply:
        with self._lock:
            carrier = self._all[name]
            carrier.asked[reference] += 1
            carrier.messages[reference] = f"{to} {text}"
            fault = carrier.now_wrong(reference)
            if fault == "down":
                return Reply(503, {"error": "down"})
            if fault == "refuse":
                return Reply(400, {"error": carrier.error})
            early: tuple[Told, ...] = ()
            if reference not in carrier.taken:
                carrier.taken[reference] = f"{name}-{len(carrier.taken) + 1}"
                how, codes = carrier.receipts_of(reference)
                carrier.told[reference] = codes
                if "" in codes or not codes:  # else it is said not to arrive, and does not
                    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                    self._phones.setdefault(to, []).append({"from": sender, "text": text, "at": at})
                early = self._receipts(carrier, reference, how, codes)
            answer = {"id": carrier.taken[reference]}
        if fault == "slow":
            return Reply(200, answer, after_s=carrier.after_s, early=early)
        return Reply(200, answer, times={"lose_reply": 0, "answer_twice": 2}.get(fault, 1), early=early)

    def _look_up(self, name: str, reference: str) -> Reply:
        with self._lock:
            carrier = self._all[name]
            id, fault = carrier.taken.get(reference), carrier.now_wrong(reference)
        if fault == "down":
            return Reply(503, {"error": "down"})
        planned = carrier.fault == "plan" and fault == "lose_reply"  # as a switch it is about sendings only
        how: Json = {"after_s": carrier.after_s if fault == "slow" else 0.0, "times": 0 if planned else 1}
        return Reply(200, {"id": id}, **how) if id else Reply(404, {"error": "not_found"}, **how)


SWITCHES: Final[dict[str, Callable[[Any], Any]]] = {
    "error": str,
    "after_s": float,
    "seed": int,
    "failures_max": int,
    "receipts": str,
    "receipt_after_s": float,
    "receipt_code": str,
}


class ReceiptPump:
    """Gives receipts when they are due."""

    def __init__(self, carriers: Carriers) -> None:
        self._carriers = carriers

    def run(self, stop: threading.Event) -> None:
        """Until `stop`."""
        while not stop.wait(POLL_S):
            self._carriers.deliver(time.monotonic())


class _Handler(BaseHTTPRequestHandler):
    carriers: Carriers
    timeout = REQUEST_TIMEOUT_S

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_GET  # noqa: N815

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(min(length, BODY_MAX_BYTES))
        reply = self.carriers.answer(self.command, self.path.partition("?")[0], body)
        for told in reply.early:
            self.carriers._give(told)
        time.sleep(reply.after_s)
        content = json.dumps(reply.body, ensure_ascii=False).encode()
        for _ in range(reply.times):
            self.send_response(reply.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *values: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    """A slow answer need not be waited for when the cloud goes."""
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that did not wait for its answer


@contextmanager
def serving(carriers: Carriers) -> Iterator[str]:
    """Serves on a free loopback port; gives the URL that functions know the carriers by."""
    handler = type("Handler", (_Handler,), {"carriers": carriers})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{PREFIX}carriers"
        finally:
            server.shutdown()
            thread.join()
