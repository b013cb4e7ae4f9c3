"""One-time codes: the vectors of RFC 6238, another implementation, and which steps are good."""

from __future__ import annotations

from base64 import b32decode
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.stepup import SECRET_BYTES, STEP_S, Enrolment, code_at, step_of, uri

SECRET = b"12345678901234567890"
VECTORS = {
    59: "94287082",
    1_111_111_109: "07081804",
    1_111_111_111: "14050471",
    1_234_567_890: "89005924",
    2_000_000_000: "69279037",
    20_000_000_000: "65353130",
}
"""RFC 6238, appendix B, SHA-1; of eight digits, of which six are the last."""


@pytest.mark.parametrize(("at", "code"), VECTORS.items())
def test_the_vectors_of_the_rfc(at: int, code: str) -> None:
    assert code_at(SECRET, at // STEP_S) == code[-6:]


@given(secret=st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES), at=st.integers(0, 10**11))
def test_another_implementation_agrees(secret: bytes, at: int) -> None:
    assert TOTP(secret, 6, SHA1(), STEP_S).generate(at).decode() == code_at(secret, at // STEP_S)


@pytest.mark.parametrize(("apart", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_is_good_in_its_step_and_beside_it(apart: int, good: bool) -> None:
    now = 1_800_000_015
    step = now // STEP_S + apart
    assert step_of(SECRET, code_at(SECRET, step), now) == (step if good else None)


def test_a_step_is_good_once_and_again_for_the_same_thing() -> None:
    fresh = Enrolment("c", b"w")
    used = fresh.used(5, "rec_1")
    assert used == Enrolment("c", b"w", 5, "rec_1")
    assert used is not None
    assert used.used(5, "rec_1") is None
    for step, id in ((5, "rec_2"), (4, "rec_1"), (4, "rec_2")):
        with pytest.raises(ValueError, match="once"):
            used.used(step, id)
    assert used.used(6, "rec_1") == Enrolment("c", b"w", 6, "rec_1")


def test_an_app_is_told_issuer_client_and_secret() -> None:
    told = urlsplit(uri(SECRET, "operator-1", "Kami"))
    assert (told.scheme, told.netloc, told.path) == ("otpauth", "totp", "/Kami%3Aoperator-1")
    asked = parse_qs(told.query)
    assert asked["issuer"] == ["Kami"]
    assert b32decode(asked["secret"][0] + "=" * (-len(asked["secret"][0]) % 8)) == SECRET
