"""What goes wrong on the way to the table: every writing command takes effect once and answers rightly all the same.

Each command is run once undisturbed. Then it is run again for each of its writes and each fault, and must leave the
same table and give the same answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ReadTimeoutError

from functions.authorize import clients
from functions.domain.actor import By
from functions.domain.serials import serial_of
from functions.store import ranges
from functions.store.aws import ATTEMPTS_MAX
from infra.local.cloud import Cloud
from infra.local.gateway import Answer
from tests.engine.wire import Call, Fault, Send, Wire, failed_after, is_write, reply_lost, throttled, unreachable
from tests.engine.world import NOW, World

FAULTS: dict[str, Fault] = {
    "throttled": throttled,
    "unreachable": unreachable,
    "reply-lost": reply_lost,
    "failed-after": failed_after,
}
COMMITTED = {"reply-lost", "failed-after"}
"""The faults after which the write is there."""
ENGINEER = By("engineer", "engineer", "operator", "command-line", "request")
FORGED = "07ED-CM00-0000-0000"


@dataclass
class Setting:
    """What a command works on, and what came over the wire for it."""

    world: World
    wire: Wire
    request_ids: set[str] = field(default_factory=set)

    def post(self, path: str, body: Any, *, role: str = "operator", key: str | None = "key") -> Answer:
        """A request, its id remembered: it is the one thing that differs between a request and its repeat."""
        headers = {"idempotency-key": key} if key is not None else {}
        answer = self.world.cloud.request(
            "POST", path, headers=headers, body=body, token=self.world.cloud.token(role), address="192.0.2.7"
        )
        request_id = answer.header("x-request-id")
        assert request_id is not None
        self.request_ids.add(request_id)
        return answer

    def table(self) -> Any:
        """The whole table, without what is random or differs between a request and its repeat."""
        return {pk: self._comparable(item) for pk, item in self.world.items().items() if not pk.startswith("REVEAL#")}

    def _comparable(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._comparable(v) for name, v in value.items()}
        if isinstance(value, list):
            return [self._comparable(v) for v in value]
        return "…" if isinstance(value, bytes) or value in self.request_ids else value


Prepare = Callable[[Setting], Any]
Ask = Callable[[Setting, Any], Answer]


def _campaign(setting: Setting, _: Any) -> Answer:
    face_value = {"amount_minor": 5000, "currency": "CNY"}
    body = {"name": "n", "kind": "recharge", "face_value": face_value, "redemption": "single"}
    return setting.post("/v1/campaigns", body | {"valid_days_after_activation": 30})


def _batch(setting: Setting, campaign: str) -> Answer:
    return setting.post(f"/v1/campaigns/{campaign}/batches", {"quantity": 10_001})


def _activation(setting: Setting, batch: str) -> Answer:
    return setting.post("/v1/activations", {"selection": {"batch": batch}})


def _spilling_activation(setting: Setting, serials: list[str]) -> Answer:
    return setting.post("/v1/activations", {"selection": {"serials": serials}})


def _redemption(setting: Setting, code: str) -> Answer:
    body = {"code": code, "account": {"type": "mobile", "number": "+8613812345678"}}
    return setting.post("/v1/redemptions", body, role="merchant")


def _reversal(setting: Setting, redemption: str) -> Answer:
    return setting.post(f"/v1/redemptions/{redemption}/reversals", {"reason": "wrong number"}, role="merchant")


def _hold(setting: Setting, code: str) -> Answer:
    return setting.post("/v1/holds", {"code": code}, role="merchant")


def _held(setting: Setting) -> str:
    (code,) = setting.world.active(1)
    id: str = _hold(setting, code).json()["id"]
    return id


def _capture(setting: Setting, hold: str) -> Answer:
    body = {"account": {"type": "mobile", "number": "+8613812345678"}}
    return setting.post(f"/v1/holds/{hold}/captures", body, role="merchant")


def _release(setting: Setting, hold: str) -> Answer:
    return setting.post(f"/v1/holds/{hold}/releases", None, role="merchant")


def _redeemed(setting: Setting) -> str:
    (code,) = setting.world.active(1)
    id: str = _redemption(setting, code).json()["id"]
    return id


def _scattered(setting: Setting) -> list[str]:
    """Serials whose activation splits a lot into more segments than it may have, so that vouchers are written."""
    batch = setting.world.batch(setting.world.campaign(), 10)
    return [serial_of(batch.first + index) for index in (1, 4, 8)]


COMMANDS: dict[str, tuple[Prepare, Ask]] = {
    "campaign": (lambda setting: None, _campaign),
    "batch": (lambda setting: setting.world.campaign().id, _batch),
    "activation": (lambda setting: setting.world.batch(setting.world.campaign(), 10_001).id, _activation),
    "spilling-activation": (_scattered, _spilling_activation),
    "redemption": (lambda setting: setting.world.active(1)[0], _redemption),
    "reversal": (_redeemed, _reversal),
    "hold": (lambda setting: setting.world.active(1)[0], _hold),
    "capture": (_held, _capture),
    "release": (_held, _release),
}


class Target(NamedTuple):
    """One of a command's writes: the `nth` of this operation on this key."""

    operation: str
    key: str
    nth: int

    def matches(self, call: Call) -> bool:
        return is_write(call) and (call.operation, call.key) == (self.operation, self.key)


@dataclass(frozen=True)
class Undisturbed:
    """What a command does where nothing goes wrong."""

    body: Any
    table: Any
    writes: list[Target]


@pytest.fixture(scope="module")
def known(cloud: Cloud) -> dict[str, Undisturbed]:
    """What was seen of each command on this engine."""
    return {}


@pytest.fixture
def setting(world: World, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Setting:
    monkeypatch.setattr(ranges, "SEGMENTS_PER_LOT_MAX", 5)
    for role in ("operator", "merchant", "partner"):
        world.cloud.token(role)
    return Setting(world, wire)


def fresh(setting: Setting, prepare: Prepare) -> Any:
    """The same place to start from each time."""
    setting.world = World(setting.world.cloud)
    setting.world.wipe()
    prepared = prepare(setting)
    setting.wire.calls.clear()
    return prepared


def undisturbed(setting: Setting, command: str, known: dict[str, Undisturbed]) -> Undisturbed:
    if command not in known:
        prepare, ask = COMMANDS[command]
        answer = ask(setting, fresh(setting, prepare))
        assert answer.status == 201
        seen: Counter[tuple[str, str]] = Counter()
        writes = []
        for call in setting.wire.writes():
            seen[call.operation, call.key] += 1
            writes.append(Target(call.operation, call.key, seen[call.operation, call.key]))
        known[command] = Undisturbed(answer.json(), setting.table(), writes)
    return known[command]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_sdk_tries_a_write_again_and_it_takes_effect_once(
    setting: Setting, known: dict[str, Undisturbed], command: str, fault: str
) -> None:
    expected = undisturbed(setting, command, known)
    prepare, ask = COMMANDS[command]
    for write in expected.writes:
        prepared = fresh(setting, prepare)
        with setting.wire.planted(FAULTS[fault], write.matches, at=write.nth):
            answer = ask(setting, prepared)
        assert (answer.status, answer.header("idempotency-replayed")) == (201, None)
        assert answer.json() == expected.body
        assert setting.table() == expected.table


@pytest.mark.parametrize("fault", ["throttled", "reply-lost"])
@pytest.mark.parametrize("command", COMMANDS)
def test_where_the_sdk_gives_up_the_clients_repeat_ends_the_work(
    setting: Setting, known: dict[str, Undisturbed], command: str, fault: str
) -> None:
    expected = undisturbed(setting, command, known)
    prepare, ask = COMMANDS[command]
    for write in expected.writes:
        prepared = fresh(setting, prepare)
        with setting.wire.planted(FAULTS[fault], write.matches, at=write.nth, times=ATTEMPTS_MAX):
            failed = ask(setting, prepared)
        assert (failed.status, failed.json()["key"]) == (503, "try_again")
        answer = ask(setting, prepared)
        begun = write is not expected.writes[0] or fault in COMMITTED
        assert (answer.status, answer.header("idempotency-replayed")) == (201, "true" if begun else None)
        assert answer.json() == expected.body
        assert setting.table() == expected.table


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reveal_is_recorded_once_before_anything_is_shown(setting: Setting, fault: str) -> None:
    serials = [serial_of(setting.world.batch(setting.world.campaign(), 1).first)]
    with setting.wire.planted(FAULTS[fault], is_write):
        answer = setting.post("/v1/reveals", {"serials": serials, "reason": "proof"}, key=None)
    assert answer.status == 200
    records = [item for pk, item in setting.world.items().items() if pk.startswith("REVEAL#")]
    assert [(r["id"], r["version"], r["serials"]) for r in records] == [(answer.json()["id"], 1, serials)]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_code_is_shown_where_the_reveal_could_not_be_recorded(setting: Setting, fault: str) -> None:
    serials = [serial_of(setting.world.batch(setting.world.campaign(), 1).first)]
    with setting.wire.planted(FAULTS[fault], is_write, times=ATTEMPTS_MAX):
        answer = setting.post("/v1/reveals", {"serials": serials, "reason": "proof"}, key=None)
    assert (answer.status, answer.json()["key"]) == (503, "try_again")
    assert "code" not in answer.json()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_code_counts_once_for_each_who_is_guarded(setting: Setting, fault: str) -> None:
    setting.world.batch(setting.world.campaign(), 1)
    for write in (1, 2):
        for pk in [pk for pk in setting.world.items() if pk.startswith("GUARD#")]:
            key = {"pk": {"S": pk}, "sk": {"S": "GUARD"}}
            setting.world.cloud.client("dynamodb").delete_item(TableName=setting.world.cloud.stack.tables[0], Key=key)
        with setting.wire.planted(FAULTS[fault], is_write, at=write):
            answer = _redemption(setting, FORGED)
        assert (answer.status, answer.json()["key"]) == (404, "voucher_not_redeemable")
        counts = {pk.split("#")[1]: item["count"] for pk, item in setting.world.items().items() if "GUARD#" in pk}
        assert counts == {"account": 1, "lot": 1}


@pytest.fixture
def known_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same client id and secrets each time."""
    numbers = iter(range(1_000))
    made = SimpleNamespace(token_hex=lambda n: "ab" * n, token_urlsafe=lambda n: f"secret-{next(numbers)}")
    monkeypatch.setattr(clients, "secrets", made)


@pytest.mark.usefixtures("known_secrets")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_client_is_created_rotated_and_revoked_once(setting: Setting, fault: str) -> None:
    with setting.wire.planted(FAULTS[fault], is_write):
        made, first = clients.create("Till", "merchant", NOW, by=ENGINEER)
    assert clients.find(made.client_id) == made
    assert made.version == 1
    with setting.wire.planted(FAULTS[fault], is_write):
        made, second = clients.rotate(made.client_id, NOW, 60, ENGINEER)
    assert clients.find(made.client_id) == made
    assert made.version == 2
    assert [made.accepts(secret, NOW + 59) for secret in (first, second, "secret-2")] == [True, True, False]
    assert [made.accepts(secret, NOW + 60) for secret in (first, second)] == [False, True]
    with setting.wire.planted(FAULTS[fault], is_write):
        made = clients.revoke(made.client_id, NOW, ENGINEER)
    assert clients.find(made.client_id) == made
    assert (made.version, made.accepts(second, NOW)) == (3, False)


def test_another_writes_between_a_lost_reply_and_its_repeat(setting: Setting) -> None:
    """The repeat finds the item changed by another; its own redemption is in it all the same."""
    (code,) = setting.world.active(1, redemption="balance", amount_minor=5_000)

    def redeem(amount_minor: int, role: str) -> Answer:
        body = {"code": code, "account": {"type": "mobile", "number": "+8613812345678"}, "amount_minor": amount_minor}
        return setting.post("/v1/redemptions", body, role=role)

    def overtaken(call: Call, send: Send) -> AWSResponse:
        send()
        assert redeem(700, "partner").status == 201
        raise ReadTimeoutError(endpoint_url=call.url)

    with setting.wire.planted(overtaken, is_write):
        answer = redeem(2_000, "merchant")
    assert (answer.status, answer.json()["balance_minor"]) == (201, 3_000)
    (item,) = (item for pk, item in setting.world.items().items() if pk.startswith("VOUCHER#"))
    assert (item["version"], item["balance_minor"], len(item["redemptions"])) == (2, 2_300, 2)
