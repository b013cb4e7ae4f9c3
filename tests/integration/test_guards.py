"""Guards against guessing: what strangers learn, which is nothing, and who is slowed down, which is the guesser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from functions.domain.lot import Segment, Status
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import untouched
from functions.store import keys, table
from functions.store.entities import LOT, VOUCHER
from functions.store.guards import LIMITS
from infra.local.gateway import Answer
from tests.integration.conftest import Clock, Log
from tests.integration.kami import (
    NOBODY,
    Kami,
    Voucher,
    code_of,
    granted,
    mistyped,
    mobile,
    position,
    refused,
    unique,
    vetoed,
    visible,
)

WRONG = "0000-0000-0000-0000"


# What a stranger learns


def with_status(status: Status) -> Callable[[Kami], str]:
    """A voucher whose own item says so."""

    def plant(kami: Kami) -> str:
        voucher = kami.voucher()
        number, index = divmod(position(voucher), LOT_SIZE)
        with kami.cloud.environment("redeem"):
            lot = table.read(LOT, keys.lot(number))
            assert lot is not None
            segment = lot.segment(index)
            assert segment is not None
            wanted = replace(untouched(lot, segment, index), status=status)
            table.change(VOUCHER, None, lambda _: wanted, "plant", NOBODY)
        return voucher.code

    return plant


def with_segment(change: Callable[[Segment], Segment]) -> Callable[[Kami], str]:
    """A voucher whose lot says so."""

    def plant(kami: Kami) -> str:
        batch = kami.batch(kami.campaign()["id"], 1)
        kami.activate(batch=batch["id"])
        (code,) = kami.codes([batch["first_serial"]])
        kami.rewrite(batch["first_serial"], change)
        return code

    return plant


def not_in_this_lot(kami: Kami) -> str:
    return code_of(position(kami.voucher()) // LOT_SIZE * LOT_SIZE + LOT_SIZE - 1, 12345)


UNUSABLE: dict[str, Callable[[Kami], str]] = {
    "empty": lambda _: "",
    "a word": lambda _: "hello",
    "too short": lambda kami: kami.voucher().code[:-1],
    "too long": lambda kami: kami.voucher().code + "0",
    "no symbols of a code": lambda _: "UUUU-UUUU-UUUU-UUUU",
    "NUL": lambda kami: kami.voucher().code + "\x00",
    "emoji": lambda _: "💳" * 16,
    "right to left": lambda kami: "\u202e" + kami.voucher().code,
    "combining": lambda kami: kami.voucher().code + "\u0301",
    "other digits": lambda _: "٠" * 20,
    "mistyped": lambda kami: mistyped(kami.voucher().code),
    "of a lot that is not there": lambda _: code_of(9_999_999 * LOT_SIZE, 1),
    "of a lot that cannot be": lambda _: code_of(0, 1),
    "of a place that is not there": not_in_this_lot,
    "of another format": lambda kami: f"{position(kami.voucher()) % 10**9:09d}{'1' * 11}",
    "forged": lambda kami: code_of(position(kami.voucher()), 1),
    "forged in another format": lambda kami: kami.voucher(code_format="digits20").code[:-1] + "x",
    "forged for an operator": lambda kami: mistyped(kami.voucher(code_format="mobile18").code),
    "without its prefix": lambda kami: kami.voucher(code_prefix="GZ26").code.partition("-")[2],
    "with another's prefix": lambda kami: "GZ27" + kami.voucher(code_prefix="GZ26").code[4:],
    "with a prefix too many": lambda kami: "GZ26-" + kami.voucher().code,
    "forged for digits": lambda kami: mistyped(kami.voucher(code_format="digits20").code),
    "not active": lambda kami: kami.voucher(active=False).code,
    "void": with_status(Status.VOID),
    "suspended": with_status(Status.SUSPENDED),
    "reissued": with_status(Status.REISSUED),
    "recalled": with_segment(vetoed("reclaim")),
    "voided with its range": with_segment(vetoed("void")),
    "suspended with its range": with_segment(vetoed("suspend")),
    "of an older generation": with_segment(lambda segment: replace(segment, generation=segment.generation + 1)),
}
"""Codes that a stranger must not learn more about, by what is the matter with them."""


@pytest.fixture(scope="module")
def unusable(kami: Kami) -> dict[str, str]:
    return {matter: made(kami) for matter, made in UNUSABLE.items()}


def test_every_unusable_code_is_refused_with_the_same_bytes(kami: Kami, unusable: dict[str, str]) -> None:
    before = kami.items("GUARD#")
    for ask in (kami.merchant.verify, kami.merchant.redeem):
        answers = {matter: ask(code) for matter, code in unusable.items()}
        for answer in answers.values():
            refused(answer, 404, "voucher_not_redeemable")
        first, *others = {matter: visible(answer) for matter, answer in answers.items()}.items()
        for other in others:
            assert other[1] == first[1], other[0]
    assert kami.items("GUARD#") == before


@pytest.mark.parametrize("matter", UNUSABLE)
def test_every_unusable_code_counts_the_same(kami: Kami, unusable: dict[str, str], clock: Clock, matter: str) -> None:
    """Else a thief could tell, by how often they may ask, a copied code that is not active yet from a wrong one."""
    account, code = mobile(), unusable[matter]
    for _ in range(LIMITS["account"].wrong_max):
        refused(kami.merchant.redeem(code, account=account), 404, "voucher_not_redeemable")
    refused(kami.merchant.redeem(code, account=account), 429, "too_many_attempts")


# Who is slowed down


def retry_after(answer: Answer) -> int:
    refused(answer, 429, "too_many_attempts")
    value = answer.header("retry-after")
    assert value
    return int(value)


def test_past_the_limit_a_right_code_is_refused_as_a_wrong_one_is(kami: Kami, clock: Clock) -> None:
    account, voucher = mobile(), kami.voucher()
    for _ in range(LIMITS["account"].wrong_max):
        refused(kami.merchant.redeem(WRONG, account=account), 404, "voucher_not_redeemable")
    before = kami.items()
    right, wrong, unknown = (
        kami.merchant.redeem(code, account=account) for code in (voucher.code, WRONG, mistyped(voucher.code))
    )
    assert visible(right) == visible(wrong) == visible(unknown)
    assert retry_after(right) == LIMITS["account"].window_s
    assert kami.items() == before


def test_the_window_passes(kami: Kami, clock: Clock) -> None:
    account, voucher, window_s = mobile(), kami.voucher(), LIMITS["account"].window_s
    for _ in range(LIMITS["account"].wrong_max):
        kami.merchant.redeem(WRONG, account=account)
    clock.advance(100)
    assert retry_after(kami.merchant.redeem(voucher.code, account=account)) == window_s - 100
    clock.advance(window_s - 101)
    assert retry_after(kami.merchant.redeem(voucher.code, account=account)) == 1
    clock.advance(1)
    granted(kami.merchant.redeem(voucher.code, account=account), 201)


def test_one_account_being_guessed_at_slows_no_other_and_no_other_client(kami: Kami, clock: Clock) -> None:
    account, device = mobile(), unique("device")
    for _ in range(LIMITS["account"].wrong_max + 1):
        kami.merchant.redeem(WRONG, account=account)
    refused(kami.merchant.redeem(kami.voucher().code, account=account), 429, "too_many_attempts")
    granted(kami.merchant.redeem(kami.voucher().code), 201)
    granted(kami.merchant.redeem(kami.voucher().code, device=device), 201)
    granted(kami.client("merchant").redeem(kami.voucher().code, account=account), 201)
    granted(kami.merchant.verify(kami.voucher().code))


@pytest.mark.parametrize("kind", ["redeem", "verify"])
def test_a_device_is_limited_over_all_accounts(kami: Kami, clock: Clock, kind: str) -> None:
    device = unique("device")
    ask: Callable[..., Answer] = getattr(kami.merchant, kind)
    for _ in range(LIMITS["device"].wrong_max):
        refused(ask(WRONG, device=device), 404, "voucher_not_redeemable")
    assert retry_after(ask(kami.voucher().code, device=device)) == LIMITS["device"].window_s
    refused(kami.merchant.redeem(kami.voucher().code, device=device), 429, "too_many_attempts")
    assert ask(kami.voucher().code, device=unique("device")).status in (200, 201)


def test_an_address_is_limited_where_a_trusted_client_states_it(kami: Kami, clock: Clock) -> None:
    gateways = [kami.client("partner", trusted=True) for _ in range(2)]
    limit = LIMITS["address"]
    for number in range(limit.wrong_max):
        answer = gateways[number % 2].verify(WRONG, customer_address="198.51.100.7")
        refused(answer, 404, "voucher_not_redeemable")
    for gateway in gateways:
        assert retry_after(gateway.verify(kami.voucher().code, customer_address="198.51.100.7")) == limit.window_s
        granted(gateway.verify(kami.voucher().code, customer_address="198.51.100.8"))
        granted(gateway.verify(kami.voucher().code))
    granted(kami.merchant.verify(kami.voucher().code))


@pytest.mark.parametrize("kind", ["redeem", "verify"])
def test_a_client_that_is_not_trusted_may_not_state_an_address(kami: Kami, kind: str) -> None:
    before = kami.items()
    ask: Callable[..., Answer] = getattr(kami.merchant, kind)
    document = refused(ask(kami.voucher().code, customer_address="198.51.100.7"), 400, "invalid_request")
    assert [error["field"] for error in document["errors"]] == ["customer_address"]
    assert {key for key in kami.items() if key[0].startswith(("GUARD#", "VOUCHER#"))} == {
        key for key in before if key[0].startswith(("GUARD#", "VOUCHER#"))
    }


def test_a_customer_is_known_by_the_address_of_the_request(kami: Kami, clock: Clock) -> None:
    guesser, other = kami.client("customer"), kami.client("customer")
    guesser.address = other.address = "203.0.113.9"
    for _ in range(LIMITS["address"].wrong_max):
        refused(guesser.verify(WRONG), 404, "voucher_not_redeemable")
    refused(other.verify(kami.voucher().code), 429, "too_many_attempts")
    other.address = "203.0.113.10"
    granted(other.verify(kami.voucher().code))


def test_a_caller_that_names_nobody_is_limited_at_its_own_address(kami: Kami, clock: Clock) -> None:
    till = kami.client("merchant")
    limit = LIMITS["till"]

    def ask(code: str) -> Answer:
        return till.post("/v1/verifications", {"code": code})

    for _ in range(limit.wrong_max):
        refused(ask(WRONG), 404, "voucher_not_redeemable")
    assert retry_after(ask(kami.voucher().code)) == limit.window_s
    granted(till.verify(kami.voucher().code))
    till.address = "192.0.2.99"
    granted(ask(kami.voucher().code))


def test_a_repeat_of_what_was_done_is_answered_even_past_the_limit(kami: Kami, clock: Clock) -> None:
    voucher, account, key = kami.voucher(), mobile(), unique()
    first = kami.merchant.redeem(voucher.code, key, account)
    for _ in range(LIMITS["account"].wrong_max):
        kami.merchant.redeem(WRONG, account=account)
    refused(kami.merchant.redeem(voucher.code, unique(), account), 429, "too_many_attempts")
    repeat = kami.merchant.redeem(voucher.code, key, account)
    assert (repeat.status, repeat.body) == (201, first.body)


def test_counters_vanish_by_themselves_and_name_nobody(kami: Kami, clock: Clock) -> None:
    account, device = mobile(), unique("device")
    before = kami.items()
    kami.merchant.redeem(WRONG, account=account, device=device)
    made = [item for key, item in kami.items().items() if key not in before]
    assert len(made) == 2
    for item in made:
        assert int(item["ttl_epoch_s"]["N"]) > clock.now
        assert account[1:] not in str(item)
        assert device not in str(item)


# A lot under attack


def test_the_breaker_of_a_lot_opens_after_its_limit_and_closes_with_its_window(
    kami: Kami, clock: Clock, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "lot", LIMITS["lot"]._replace(wrong_max=3))
    batch = kami.batch(kami.campaign()["id"], 10)
    kami.activate(batch=batch["id"])
    serials = kami.serials(batch["id"])
    first, second, third = map(Voucher, serials[:3], kami.codes(serials[:3]))

    def alarms() -> int:
        return sum(line.get("alarm") == "lot_breaker_open" for line in log.lines)

    for _ in range(3):
        kami.merchant.redeem(mistyped(first.code))
    assert alarms() == 0
    guesser = mobile()
    refused(kami.merchant.redeem(mistyped(first.code), account=guesser), 404, "voucher_not_redeemable")
    assert alarms() == 1
    refused(kami.merchant.redeem(mistyped(second.code), account=guesser), 429, "too_many_attempts")
    granted(kami.merchant.redeem(first.code), 201)
    elsewhere = kami.batch(kami.campaign()["id"], 1)
    kami.activate(batch=elsewhere["id"])
    (right,) = kami.codes([elsewhere["first_serial"]])
    granted(kami.merchant.redeem(right, account=guesser), 201)
    clock.advance(LIMITS["lot"].window_s)
    refused(kami.merchant.redeem(mistyped(third.code), account=guesser), 404, "voucher_not_redeemable")
    granted(kami.merchant.redeem(second.code, account=guesser), 201)
    assert alarms() == 1


def test_a_campaign_may_have_breakers_that_open_earlier(kami: Kami, clock: Clock, log: Log) -> None:
    voucher = kami.voucher(wrong_codes_per_lot_and_hour=10)
    for opened in [*[False] * 10, True]:
        kami.merchant.redeem(mistyped(voucher.code))
        assert bool([line for line in log.lines if line.get("alarm") == "lot_breaker_open"]) is opened
    granted(kami.merchant.redeem(voucher.code), 201)


def test_right_codes_that_are_not_active_open_no_breaker(
    kami: Kami, clock: Clock, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shop that sells before it activates must not look like an attack."""
    monkeypatch.setitem(LIMITS, "lot", LIMITS["lot"]._replace(wrong_max=3))
    for _ in range(5):
        refused(kami.merchant.redeem(kami.voucher(active=False).code), 404, "voucher_not_redeemable")
    assert not [line for line in log.lines if line.get("alarm")]
