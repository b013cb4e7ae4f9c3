"""Rotating QR codes: made for one voucher, one holder and one step, and for nothing else."""

from __future__ import annotations

import hashlib
import hmac
import struct
from base64 import b32encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain import codes, qr
from functions.domain.codes import CODE_LENGTH_MAX
from functions.domain.formats import FORMATS, LOT_SIZE
from functions.domain.lot import Status
from functions.domain.qr import SCHEME, STEP_S, Payload, is_right, is_timely, parse, seconds_left, step_of, written
from functions.domain.serials import serial_of
from functions.domain.voucher import Voucher

KEY = bytes(range(32))
NOW = 1_800_000_007
POSITION = 1_000_000_004
BEARER = "2y4kc4wz6n7pjh2d4r6tn5xw"
ALPHANUMERIC = set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
"""ISO/IEC 18004, table 5."""
positions = st.sampled_from(list(FORMATS.values())).flatmap(
    lambda f: st.integers(f.lots.start * LOT_SIZE, f.lots.stop * LOT_SIZE - 1)
)


def shown(step: int = step_of(NOW), generation: int = 1, bearer: str = BEARER, position: int = POSITION) -> str:
    return written(KEY, position, generation, bearer, step)


def test_it_is_the_truncated_hmac_of_the_step_as_rfc_6238_has_it() -> None:
    """By hand: the counter is 8 bytes, big-endian (RFC 4226 §5.2), the time in steps of 30 s (RFC 6238 §4.2)."""
    key = hmac.new(KEY, f"kami/qr/v1|{serial_of(POSITION)}|1|{BEARER}".encode(), hashlib.sha256).digest()
    mac = hmac.new(key, struct.pack(">Q", NOW // 30), hashlib.sha256).digest()
    assert shown() == f"KQ1.{serial_of(POSITION)}.{NOW // 30}.{b32encode(mac[:10]).decode()}"


@given(positions, st.integers(0, 10**10), st.integers(1, 10**7), st.text())
def test_what_is_written_is_read_and_right(position: int, step: int, generation: int, bearer: str) -> None:
    text = written(KEY, position, generation, bearer, step)
    payload = parse(text)
    assert payload is not None
    assert payload == parse(f" {text}\n")
    assert (payload.position, payload.step, len(payload.mac) * 5) == (position, step, 80)
    assert is_right(payload, KEY, generation, bearer)
    assert len(text) <= CODE_LENGTH_MAX
    assert set(text) <= ALPHANUMERIC
    assert codes.parse(text) is None, "no code of any format looks like it"


@pytest.mark.parametrize("other", [
    shown(step_of(NOW) + 1), shown(step_of(NOW) - 1), shown(generation=2), shown(bearer="another"),
    shown(position=POSITION + 1),
])  # fmt: skip
def test_a_mac_is_good_for_nothing_else(other: str) -> None:
    payload, stolen = parse(shown()), parse(other)
    assert payload is not None and stolen is not None
    assert payload.mac != stolen.mac
    assert not is_right(payload._replace(mac=stolen.mac), KEY, 1, BEARER)
    assert not is_right(payload, bytes(32), 1, BEARER)


@given(st.integers(0, len(shown()) - 1), st.characters(codec="utf-8"))
def test_no_single_character_may_be_another(at: int, symbol: str) -> None:
    text = shown()
    changed = text[:at] + symbol + text[at + 1 :]
    payload = parse(changed)
    assert changed == text or payload is None or not is_right(payload, KEY, 1, BEARER)


@pytest.mark.parametrize("text", [
    "", SCHEME, "KQ1...", shown()[:-1], shown() + "A", shown().lower(), shown().replace("KQ1", "KQ2"),
    shown().replace(".", "-"), shown().replace(f".{step_of(NOW)}.", f".0{step_of(NOW)}."), f"x{shown()}",
    shown().replace(f".{step_of(NOW)}.", f".-{step_of(NOW)}."), f"KQ1.{'9' * 12}.1.{'A' * 16}",
    "KQ1.٠١٠٠٠٠٠٠٠٠٠٣.1.AAAAAAAAAAAAAAAA", f"KQ1.010000000003.{'9' * 12}.AAAAAAAAAAAAAAAA", "07ED-CM07-VHGX-MV74",
])  # fmt: skip
def test_what_is_no_qr_code_is_none(text: str) -> None:
    assert parse(text) is None


def test_the_current_step_and_the_previous_one_are_taken_each_once() -> None:
    current = step_of(NOW)
    taken = [step for step in range(current - 3, current + 3) if is_timely(Payload(0, step, ""), NOW, 0)]
    assert taken == [current - 1, current]
    assert not is_timely(Payload(0, current, ""), NOW, current)
    assert not is_timely(Payload(0, current - 1, ""), NOW, current)
    assert is_timely(Payload(0, current, ""), NOW, current - 1)


@given(st.integers(STEP_S, 2**33))
def test_a_code_lives_for_what_is_left_of_its_step_and_the_next(now: int) -> None:
    payload, ends = Payload(0, step_of(now), ""), now + seconds_left(now) + STEP_S
    assert 1 <= seconds_left(now) <= STEP_S
    assert step_of(now + seconds_left(now)) == step_of(now) + 1
    assert is_timely(payload, ends - 1, 0)
    assert not is_timely(payload, ends, 0)
    assert ends == (step_of(now) + qr.STEPS_ACCEPTED) * STEP_S


def test_a_bearer_is_a_customer_of_a_tenant() -> None:
    def bearer(tenant: str | None, holder: str | None) -> str | None:
        return Voucher(POSITION, "c", "b", Status.CLAIMED, 1, 1, "CNY", holder=holder, tenant=tenant).bearer

    assert bearer(None, None) is bearer(None, "a") is bearer("t", None) is None
    assert len({bearer("t", "a"), bearer("t", "b"), bearer("u", "a"), bearer("ta", ""), bearer("", "ta")}) == 5
