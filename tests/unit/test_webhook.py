"""Webhooks: signing, addresses, attempts, secrets, and endpoints in trouble."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.actor import By
from functions.domain.webhook import (
    ATTEMPTS_KEPT,
    ATTEMPTS_MAX,
    DAY_S,
    DISABLED_AFTER_S,
    GONE,
    LASTS_S,
    PROBE_MAX_S,
    REASONS,
    RETRY_AFTER_MAX_S,
    ROTATIONS_KEPT,
    SECRETS_MAX,
    STRIKES_MAX,
    Attempt,
    Delivery,
    Pulse,
    Secret,
    Status,
    Webhook,
    body_of,
    delivery_of,
    headers_of,
    retry_after_s,
    shown,
    signature,
    target_of,
)

NOW = 1_800_000_000
BY = By("c", "partner", "acme", "192.0.2.1", "r")
HOOK = Webhook("whk_1", "acme", "https://acme.example/kami", ("voucher.redeemed",), (Secret(b"1"),), "f", BY, NOW)
NEW = delivery_of(HOOK, "1.VOUCHER#1.1", "voucher.redeemed", "{}", NOW)


def failed(at: int, reason: str = "bad_status", status: int | None = 500) -> Attempt:
    return Attempt(at, 10, status, reason)


# Signing


def test_it_signs_as_the_published_example_of_standard_webhooks() -> None:
    secret = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    id, at, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(secret, id, at, body) == expected
    assert headers_of([secret], id, at, body) == {
        "webhook-id": id,
        "webhook-timestamp": "1614265330",
        "webhook-signature": expected,
    }
    assert shown(secret) == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_each_secret_that_is_good_signs() -> None:
    signed = headers_of([b"new", b"old"], "id", 1, b"{}")["webhook-signature"]
    assert signed.split(" ") == [signature(secret, "id", 1, b"{}") for secret in (b"new", b"old")]


@given(st.binary(min_size=1), st.binary(), st.text(alphabet="abc.", min_size=1))
def test_a_signature_is_over_id_time_and_body(secret: bytes, body: bytes, id: str) -> None:
    signed = signature(secret, id, 1, body)
    assert hmac.compare_digest(signed, signature(secret, id, 1, body))
    assert signed != signature(secret, id, 2, body)
    assert signed != signature(secret, id, 1, body + b" ")
    assert signed != signature(secret + b"!", id, 1, body)


def test_what_is_told_is_what_the_table_says_and_not_who_did_it() -> None:
    data = {"serial": "010000000003", "lot": 100_000, "redemption": {"id": "red_1"}, "hold": None, "by": "somebody"}
    told = json.loads(body_of("voucher.redeemed", "2026-11-22T08:00:00Z", data))
    assert told == {
        "type": "voucher.redeemed",
        "timestamp": "2026-11-22T08:00:00Z",
        "data": {"serial": "010000000003", "redemption": {"id": "red_1"}},
    }


# Addresses


@pytest.mark.parametrize("url", [
    "", "http://acme.example/", "ftp://acme.example/", "//acme.example/", "https://", "https:///kami", "javascript:1",
    "https://user@acme.example/", "https://user:secret@acme.example/", "https://acme.example/#part",
    "https://acme.example:80/", "https://acme.example:22/", "https://acme.example:0/", "https://acme.example:99999/",
    "https://acme.example:x/", "https://acme example/", "https://acme.example/\n",
    "https://acme.example\\@evil.example/", "https://ácme.example/", "https://[::1]/", "https://[fe80::1%25eth0]/",
    "https://-acme.example/", "https://a..b/", "https://acme.example./", "https://" + "a" * 64 + ".example/",
    "https://acme.example/" + "a" * 500, "https://a_b/",
])  # fmt: skip
def test_no_endpoint_is(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with it
        target_of(url)


@pytest.mark.parametrize(("url", "target"), [
    ("https://acme.example", (True, "acme.example", 443, "/")),
    ("https://ACME.example/Kami?a=1&b=%2F", (True, "acme.example", 443, "/Kami?a=1&b=%2F")),
    ("https://acme.example:8443/kami", (True, "acme.example", 8443, "/kami")),
    ("https://xn--fiq228c.example/", (True, "xn--fiq228c.example", 443, "/")),
    ("https://203.0.113.7/kami", (True, "203.0.113.7", 443, "/kami")),
])  # fmt: skip
def test_an_endpoint_is(url: str, target: tuple[bool, str, int, str]) -> None:
    assert target_of(url) == target


def test_for_development_an_endpoint_may_be_of_plain_http_on_any_port() -> None:
    assert target_of("http://127.0.0.1:8000/kami", local=True) == (False, "127.0.0.1", 8000, "/kami")
    with pytest.raises(ValueError, match="https"):
        target_of("ftp://127.0.0.1/", local=True)


# Deliveries


def test_the_same_event_comes_to_an_endpoint_under_the_same_id_and_to_another_under_another() -> None:
    assert delivery_of(HOOK, "1.VOUCHER#1.1", "voucher.redeemed", "{}", NOW + 9).id == NEW.id
    assert delivery_of(HOOK, "1.VOUCHER#1.2", "voucher.redeemed", "{}", NOW).id != NEW.id
    assert delivery_of(replace(HOOK, id="whk_2"), "1.VOUCHER#1.1", "voucher.redeemed", "{}", NOW).id != NEW.id


def test_a_good_answer_ends_it() -> None:
    done = NEW.attempted(Attempt(NOW, 10, 204), 0.5)
    assert (done.status, done.made, done.is_over) == (Status.DELIVERED, 1, True)


def test_a_failure_is_due_again_after_a_while_that_grows() -> None:
    delivery, waits = NEW, []
    for _ in range(6):
        delivery = delivery.attempted(failed(NOW), 0.999)
        waits.append(delivery.due_at - NOW)
    assert waits == [5, 10, 20, 40, 80, 160]
    assert delivery.status is Status.QUEUED


@pytest.mark.parametrize(
    ("status", "header", "waits_s"),
    [
        (429, "120", 120), (503, "0", 0), (503, "999999999", RETRY_AFTER_MAX_S),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", 0),
        (503, format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True), 90),
        (500, "120", None), (200, "120", None), (None, "120", None), (429, None, None),
        *((429, nonsense, None) for nonsense in ("", "-1", "1.5", "soon", "9" * 11, "Wed, 99 Foo 2015")),
    ],
)  # fmt: skip
def test_who_is_busy_may_say_for_how_long_within_bounds(status: int, header: str, waits_s: int | None) -> None:
    assert retry_after_s(status, header, NOW) == waits_s


def test_a_pause_that_was_asked_for_is_kept_and_no_shorter_than_our_own() -> None:
    busy = failed(NOW)._replace(retry_after_s=120)
    assert NEW.attempted(busy, 0.5).due_at == NOW + 120
    assert NEW.attempted(busy._replace(retry_after_s=1), 0.999).due_at == NEW.attempted(failed(NOW), 0.999).due_at
    pulse = Pulse("whk_1").struck(failed=True, now=NOW, wanted_s=120)
    assert (pulse.next_at, pulse.is_open) == (NOW + 120, False)


@given(st.lists(st.floats(0, 0.999), min_size=ATTEMPTS_MAX))
def test_it_is_given_up_after_three_days_at_the_latest(jitters: list[float]) -> None:
    delivery, now = NEW, NOW
    for jitter in jitters:
        delivery = delivery.attempted(failed(now), jitter)
        if delivery.is_over:
            break
        assert now <= delivery.due_at < NOW + LASTS_S
        now = delivery.due_at
    assert (delivery.status, delivery.reason) == (Status.FAILED, "bad_status")
    assert delivery.made <= ATTEMPTS_MAX


def test_where_the_endpoint_is_gone_it_is_given_up_at_once() -> None:
    assert NEW.attempted(failed(NOW, GONE, 410), 0.5).status is Status.FAILED


def test_a_replay_begins_anew_under_the_same_id_and_keeps_what_was() -> None:
    over = NEW.attempted(failed(NOW, GONE, 410), 0.5)
    again = over.replayed("rep_1", NOW + DAY_S)
    assert (again.id, again.status, again.reason, again.due_at) == (NEW.id, Status.QUEUED, None, NOW + DAY_S)
    assert again.attempts == over.attempts
    assert again.attempted(failed(NOW + DAY_S), 0.999).due_at == NOW + DAY_S + 5


def test_of_many_attempts_the_last_are_kept_and_all_counted() -> None:
    delivery = NEW
    for n in range(ATTEMPTS_KEPT + 5):
        delivery = delivery.replayed(str(n), NOW).attempted(failed(NOW + n), 0.5)
    assert (len(delivery.attempts), delivery.made) == (ATTEMPTS_KEPT, ATTEMPTS_KEPT + 5)
    assert delivery.attempts[-1].at == NOW + ATTEMPTS_KEPT + 4


def test_every_reason_is_explained() -> None:
    assert all(sentence.endswith(".") for sentence in REASONS.values())


# Secrets


def test_while_a_secret_is_rotated_both_sign_and_then_the_new_one_only() -> None:
    rotated = HOOK.rotated(b"2", "b", 60, NOW)
    assert [[s.wrapped for s in rotated.good(now)] for now in (NOW, NOW + 59, NOW + 60)] == [
        [b"2", b"1"],
        [b"2", b"1"],
        [b"2"],
    ]


def test_without_overlap_the_old_secret_ends_at_once() -> None:
    assert [s.wrapped for s in HOOK.rotated(b"2", "b", 0, NOW).secrets] == [b"2"]


def test_a_rotation_does_not_lengthen_what_another_has_ended() -> None:
    twice = HOOK.rotated(b"2", "b", 60, NOW).rotated(b"3", "c", DAY_S, NOW)
    assert [(s.wrapped, s.expires_at) for s in twice.secrets] == [(b"3", None), (b"2", NOW + DAY_S), (b"1", NOW + 60)]
    assert len(twice.rotated(b"4", "d", DAY_S, NOW).secrets) == SECRETS_MAX
    many = HOOK
    for n in range(ROTATIONS_KEPT + 1):
        many = many.rotated(b"2", str(n), 0, NOW)
    assert many.rotations == tuple(map(str, range(1, ROTATIONS_KEPT + 1)))


# Endpoints


def test_an_endpoint_wants_what_it_named_of_its_own_world_while_it_is_live() -> None:
    sandbox = replace(HOOK, tenant="sandbox-acme")
    assert HOOK.wants("voucher.redeemed", sandbox=False) and sandbox.wants("voucher.redeemed", sandbox=True)
    assert not HOOK.wants("voucher.redeemed", sandbox=True)
    assert not sandbox.wants("voucher.redeemed", sandbox=False)
    assert not HOOK.wants("voucher.reversed", sandbox=False)
    assert not HOOK.disabled("failing", NOW).wants("voucher.redeemed", sandbox=False)
    assert HOOK.disabled("failing", NOW).enabled() == HOOK


def test_of_a_deleted_endpoint_neither_address_nor_secret_is_left() -> None:
    deleted = HOOK.deleted(NOW)
    assert (deleted.url, deleted.secrets, deleted.types, deleted.is_live) == ("", (), (), False)
    assert deleted.ttl_epoch_s is not None


def test_after_some_strikes_an_endpoint_is_asked_once_in_a_while_only() -> None:
    pulse = Pulse("whk_1")
    for _ in range(STRIKES_MAX - 1):
        pulse = pulse.struck(failed=True, now=NOW)
    assert (pulse.is_open, pulse.next_at) == (False, 0)
    pulse = pulse.struck(failed=True, now=NOW)
    assert (pulse.is_open, pulse.next_at) == (True, NOW + 15)
    assert pulse.leased(NOW + 15).next_at == NOW + 30
    for _ in range(20):
        pulse = pulse.struck(failed=True, now=NOW)
    assert pulse.next_at == NOW + PROBE_MAX_S
    assert pulse.well() == replace(Pulse("whk_1"), version=pulse.version)


def test_slow_answers_are_strikes_but_do_not_disable() -> None:
    pulse = Pulse("whk_1")
    for day in range(10):
        pulse = pulse.struck(failed=False, now=NOW + day * DAY_S)
    assert pulse.is_open and not pulse.is_hopeless(NOW + 10 * DAY_S)


def test_who_has_failed_for_three_days_without_a_success_is_hopeless() -> None:
    pulse = Pulse("whk_1").struck(failed=True, now=NOW).struck(failed=True, now=NOW + DAY_S)
    assert not pulse.is_hopeless(NOW + DISABLED_AFTER_S - 1)
    assert pulse.is_hopeless(NOW + DISABLED_AFTER_S)
    assert not pulse.well().struck(failed=True, now=NOW + 2 * DAY_S).is_hopeless(NOW + DISABLED_AFTER_S)


def test_a_delivery_knows_whose_it_is() -> None:
    assert isinstance(NEW, Delivery)
    assert (NEW.tenant, NEW.webhook) == (HOOK.tenant, HOOK.id)
