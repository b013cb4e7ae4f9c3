"""One-time codes for what campaigns guard: each step once, wrong ones counted, and never needed for what is small."""

from __future__ import annotations

import json
import re
from base64 import b32decode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from functions.domain.stepup import STEP_S, code_at, step_of
from functions.store.guards import LIMITS
from infra import clients
from infra.local.gateway import Answer
from infra.local.samples import RECIPIENT
from tests.integration.conftest import Clock, Log
from tests.integration.kami import Caller, Json, Kami, granted, refused, replayed, unique

GUARDED: Json = {"one_time_code": {"void_above": 1, "reveal_above": 1}}
Ask = Callable[..., Answer]


@pytest.fixture
def serials(kami: Kami, clock: Clock) -> list[str]:
    """Of a campaign that asks for a code from two on."""
    return kami.serials(kami.batch(kami.campaign(recovery_rules=GUARDED)["id"], 4)["id"])


@pytest.fixture
def engineer(kami: Kami, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command of `make clients`."""
    for name in ("AUTHENTICATOR_KEY_ARN", "TABLE_NAME"):
        monkeypatch.setenv(name, kami.cloud.stack.functions["recover"].environment[name])
    monkeypatch.setattr(clients, "_aws", kami.cloud.client)

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["infra.clients", *arguments])
        with kami.cloud.environment("recover"), pytest.raises(SystemExit) as exited:
            clients.main()
        assert not exited.value.code, exited.value.code
        return capsys.readouterr().out

    return run


@pytest.fixture
def staff(kami: Kami) -> Caller:
    return kami.client("operator")


@pytest.fixture
def secret(engineer: Callable[..., str], staff: Caller) -> bytes:
    """What the caller's authenticator knows."""
    return enrolled(engineer, staff)


def enrolled(engineer: Callable[..., str], staff: Caller) -> bytes:
    told = json.loads(engineer("enrol", staff.client_id, "--json"))
    text = parse_qs(urlsplit(told["otpauth"]).query)["secret"][0]
    return b32decode(text + "=" * (-len(text) % 8))


def void(staff: Caller, serials: list[str], code: str | None = None, key: str | None = None) -> Answer:
    return staff.post("/v1/recoveries", order(serials, code), key or unique())


def order(serials: list[str], code: str | None) -> Json:
    body: dict[str, Any] = {"selection": {"serials": serials}, "action": "void", "reason": "stolen"}
    return body if code is None else {**body, "one_time_code": code}


def reveal(staff: Caller, serials: list[str], code: str | None = None, key: str | None = None) -> Answer:
    body = {"serials": serials, "reason": "test"}
    return staff.post("/v1/reveals", body if code is None else {**body, "one_time_code": code})


def void_by_file(staff: Caller, serials: list[str], code: str | None = None, key: str | None = None) -> Answer:
    headers = {"content-type": "text/csv"} | ({} if code is None else {"one-time-code": code})
    return staff.post("/v1/recoveries?action=void&reason=stolen", "\n".join(serials), key or unique(), **headers)


ASK: dict[str, Ask] = {"void": void, "void by file": void_by_file, "reveal": reveal}
ways = pytest.mark.parametrize("way", ASK)


@ways
def test_what_is_small_takes_no_code_and_what_is_not_takes_one(
    staff: Caller, serials: list[str], secret: bytes, clock: Clock, way: str
) -> None:
    ask = ASK[way]
    assert ask(staff, serials[:1]).status < 300
    refused(ask(staff, serials[1:]), 403, "one_time_code_required")
    assert ask(staff, serials[1:], code_at(secret, clock.now // STEP_S)).status < 300


@ways
def test_without_an_authenticator_nothing_guarded_is_done(
    kami: Kami, serials: list[str], clock: Clock, way: str
) -> None:
    stranger = kami.client("operator")
    before = kami.items()
    for code in (None, "000000"):
        refused(ASK[way](stranger, serials, code), 403, "one_time_code_required")
    assert kami.items() == before


def test_an_export_is_a_reveal_of_its_whole_batch(kami: Kami, staff: Caller, secret: bytes, clock: Clock) -> None:
    """Whoever may not read two codes without an authenticator does not get a file of them either."""
    small, large = (kami.batch(kami.campaign(recovery_rules=GUARDED)["id"], quantity)["id"] for quantity in (1, 2))
    key, code = unique(), code_at(secret, clock.now // STEP_S)

    def export(batch: str, code: str | None = None) -> Answer:
        body = {"recipient": RECIPIENT} if code is None else {"recipient": RECIPIENT, "one_time_code": code}
        return staff.post(f"/v1/batches/{batch}/exports", body, key)

    granted(export(small), 202)
    for wrong in (None, "000000" if code != "000000" else "000001"):
        refused(export(large, wrong), 403, "one_time_code_wrong" if wrong else "one_time_code_required")
    made = granted(export(large, code), 202)
    repeat = export(large)
    assert (replayed(repeat), repeat.json()["id"]) == (True, made["id"])


@ways
def test_a_code_is_good_once_whatever_for(
    staff: Caller, serials: list[str], secret: bytes, clock: Clock, way: str
) -> None:
    code = code_at(secret, clock.now // STEP_S)
    granted(reveal(staff, serials, code))
    refused(ASK[way](staff, serials, code), 403, "one_time_code_wrong")
    refused(ASK[way](staff, serials, code_at(secret, clock.now // STEP_S - 1)), 403, "one_time_code_wrong")
    clock.advance(STEP_S)
    assert ASK[way](staff, serials, code_at(secret, clock.now // STEP_S)).status < 300


@pytest.mark.parametrize("way", ["void", "void by file"])
def test_a_repeat_of_what_was_done_needs_no_further_code(
    staff: Caller, serials: list[str], secret: bytes, clock: Clock, way: str
) -> None:
    code, key = code_at(secret, clock.now // STEP_S), unique()
    first = granted(ASK[way](staff, serials, code, key), 202)
    for again in (code, "000000", None):
        repeat = ASK[way](staff, serials, again, key)
        assert replayed(repeat)
        assert repeat.json()["id"] == first["id"]


def test_wrong_codes_are_counted_and_then_even_the_right_one_is_refused(
    staff: Caller, serials: list[str], secret: bytes, clock: Clock
) -> None:
    limit, step = LIMITS["one_time_code"], clock.now // STEP_S
    wrong = next(f"{n:06d}" for n in range(9) if f"{n:06d}" not in [code_at(secret, step + d) for d in (-1, 0, 1)])
    for n in range(limit.wrong_max):
        refused(list(ASK.values())[n % len(ASK)](staff, serials, wrong), 403, "one_time_code_wrong")
    for ask in ASK.values():
        answer = ask(staff, serials, code_at(secret, step))
        refused(answer, 429, "too_many_attempts")
        assert answer.header("retry-after")
    clock.advance(limit.window_s)
    assert void(staff, serials, code_at(secret, clock.now // STEP_S)).status == 202


def test_of_many_at_a_time_no_more_are_looked_at_than_one_after_the_other(
    staff: Caller, serials: list[str], secret: bytes, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All the others come while the first is being looked at."""
    limit, step = LIMITS["one_time_code"], clock.now // STEP_S
    wrong = next(f"{n:06d}" for n in range(9) if f"{n:06d}" not in [code_at(secret, step + d) for d in (-1, 0, 1)])
    looked: list[str] = []

    def looking(own: bytes, code: str, now: int) -> int | None:
        looked.append(code)
        if len(looked) == 1:
            for _ in range(limit.wrong_max):
                reveal(staff, serials, wrong)
        return step_of(own, code, now)

    monkeypatch.setattr("functions.store.stepup.step_of", looking)
    reveal(staff, serials, wrong)
    assert len(looked) == limit.wrong_max


def test_right_codes_are_not_counted(staff: Caller, serials: list[str], secret: bytes, clock: Clock) -> None:
    for _ in range(LIMITS["one_time_code"].wrong_max + 2):
        granted(reveal(staff, serials, code_at(secret, clock.now // STEP_S)))
        clock.advance(STEP_S)


def test_a_new_authenticator_ends_the_old_one_and_a_withdrawn_one_is_gone(
    engineer: Callable[..., str], staff: Caller, serials: list[str], secret: bytes, clock: Clock
) -> None:
    fresh = enrolled(engineer, staff)
    step = clock.now // STEP_S
    refused(reveal(staff, serials, code_at(secret, step)), 403, "one_time_code_wrong")
    granted(reveal(staff, serials, code_at(fresh, step)))
    assert "no authenticator" in engineer("withdraw", staff.client_id)
    refused(reveal(staff, serials, code_at(fresh, step + 1)), 403, "one_time_code_required")


def test_the_secret_is_kept_wrapped_only(kami: Kami, staff: Caller, secret: bytes) -> None:
    (item,) = (item for key, item in kami.items().items() if key[0] == f"ENROLMENT#{staff.client_id}")
    assert secret not in bytes(item["wrapped_secret"]["B"])
    assert set(item) == {"pk", "sk", "entity", "version", "last", "client", "wrapped_secret"}


def test_a_campaign_shows_what_takes_a_code(kami: Kami) -> None:
    shown = kami.campaign(recovery_rules=GUARDED)["recovery_rules"]
    assert shown["one_time_code"] == GUARDED["one_time_code"]
    assert shown["allow"] == kami.campaign()["recovery_rules"]["allow"]
    assert "one_time_code" not in kami.campaign()["recovery_rules"]


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12345a", "１２３４５６"])
def test_what_is_no_code_is_bad_input(staff: Caller, serials: list[str], code: str) -> None:
    for ask in ASK.values():
        refused(ask(staff, serials, code), 400, "invalid_request")


def test_a_files_code_is_taken_from_its_header_only_and_nobody_keeps_it(
    kami: Kami, staff: Caller, serials: list[str], secret: bytes, clock: Clock, log: Log
) -> None:
    code, text = code_at(secret, clock.now // STEP_S), "\n".join(serials)
    target, file = "/v1/recoveries?action=void&reason=stolen", {"content-type": "text/csv"}
    refused(staff.post(f"{target}&one_time_code={code}", text, **file), 400, "invalid_request")
    header = {"one-time-code": code}
    refused(staff.post("/v1/recoveries", order(serials, None), **header), 400, "invalid_request")
    document = refused(staff.post(target, text, **file, **{"one-time-code": f"{code}0"}), 400, "invalid_request")
    assert [error["field"] for error in document["errors"]] == ["header.One-Time-Code"]
    granted(staff.post(target, text, **file, **header), 202)
    whole = re.compile(rf"(?<!\w){code}(?!\w)")
    assert log.lines
    assert not whole.search(log.text)
    kami.cloud.drain(delayed=False)
    assert not [key for key, item in kami.items().items() if whole.search(str(item))]
