"""Cursors: only the caller whom one was given to comes back with it, and to the same list."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.domain.errors import Refusal
from functions.store import cursors

pytestmark = pytest.mark.usefixtures("secret")
once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
places = st.text(st.characters(codec="utf-8"), max_size=60)
bindings = st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=1, max_size=3)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Secrets Manager with one secret; what it was asked for."""
    asked: list[str] = []

    def get_secret_value(SecretId: str) -> dict[str, Any]:  # noqa: N803
        asked.append(SecretId)
        return {"SecretString": "the secret of cursors"}

    monkeypatch.setenv(cursors.CURSOR_SECRET_ARN, "arn:secret")
    monkeypatch.setattr(cursors, "client", lambda service: SimpleNamespace(get_secret_value=get_secret_value))
    monkeypatch.setattr(cursors, "_secret", None)
    return asked


def assert_refused(cursor: str, *bound_to: str) -> None:
    with pytest.raises(Refusal) as refused:
        cursors.unseal(cursor, *bound_to)
    assert refused.value.key == "invalid_cursor"


@once
@given(places, bindings)
def test_a_cursor_brings_its_caller_back_to_the_place(place: str, bound_to: list[str]) -> None:
    assert cursors.unseal(cursors.seal(place, *bound_to), *bound_to) == place


@once
@given(places, bindings, bindings)
def test_no_other_caller_list_or_filter_can_use_it(place: str, bound_to: list[str], other: list[str]) -> None:
    cursor = cursors.seal(place, *bound_to)
    if other != bound_to:
        assert_refused(cursor, *other)


def test_a_cursor_does_not_tell_its_place() -> None:
    place = "001763800000#msg_k3q7x2m5c4wz6n7pjh2d4r6t"
    cursor = cursors.seal(place, "caller")
    sealed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert not any(place[at : at + 4].encode() in sealed for at in range(len(place) - 3))
    other = cursors.seal(place, "another caller")
    assert cursor[24:] != other[24:], "each has a key stream of its own"


@once
@given(places, st.data())
def test_a_cursor_changed_in_any_byte_is_refused(place: str, data: st.DataObject) -> None:
    cursor = cursors.seal(place, "caller")
    raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    assert_refused(urlsafe_b64encode(changed).decode().rstrip("="), "caller")
    assert_refused(urlsafe_b64encode(raw[: data.draw(st.integers(0, len(raw) - 1))]).decode().rstrip("="), "caller")


@once
@given(st.text() | st.text("ABCabc019-_=", max_size=80))
def test_a_cursor_made_up_is_refused_and_is_never_an_error(text: str) -> None:
    assert_refused(text, "caller")


def test_an_overlong_cursor_is_refused_even_if_it_is_ours() -> None:
    assert_refused(cursors.seal("x" * cursors.CURSOR_LENGTH_MAX, "caller"), "caller")


def test_another_secret_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = cursors.seal("place", "caller")
    monkeypatch.setattr(cursors, "_secret", (float("inf"), b"another secret"))
    assert_refused(cursor, "caller")


def test_the_secret_is_asked_for_once_and_again_when_it_is_old(
    secret: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=lambda: 1_000.0)
    monkeypatch.setattr(cursors, "time", clock)
    cursor = cursors.seal("place", "caller")
    cursors.unseal(cursor, "caller")
    assert secret == ["arn:secret"]
    clock.monotonic = lambda: 1_000.0 + cursors._CACHED_FOR_S + 1
    cursors.unseal(cursor, "caller")
    assert secret == ["arn:secret"] * 2
