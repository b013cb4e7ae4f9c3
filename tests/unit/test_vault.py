"""Batch keys: unwrapped by KMS once, kept for a while, and not more of them than a limit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from functions.store import vault


class Kms:
    """Unwraps by taking `wrapped-` off, for the batch that a key was made for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def decrypt(self, CiphertextBlob: bytes, KeyId: str, EncryptionContext: dict[str, str]) -> dict[str, Any]:  # noqa: N803
        self.asked.append(CiphertextBlob)
        assert (KeyId, EncryptionContext) == ("arn:key", {"batch": "bat_1"})
        return {"Plaintext": CiphertextBlob.removeprefix(b"wrapped-")}


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Kms:
    made = Kms()
    monkeypatch.setenv(vault.DATA_KEY_ARN, "arn:key")
    monkeypatch.setattr(vault, "client", lambda service: made)
    monkeypatch.setattr(vault, "_cache", type(vault._cache)())
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    stopped = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(vault, "time", SimpleNamespace(monotonic=lambda: stopped.now))
    return stopped


def test_a_key_is_unwrapped_once_while_it_is_kept(kms: Kms, clock: SimpleNamespace) -> None:
    assert [vault.unwrap(b"wrapped-one", "bat_1") for _ in range(3)] == [b"one"] * 3
    clock.now += vault.CACHED_FOR_S - 1
    assert vault.unwrap(b"wrapped-one", "bat_1") == b"one"
    assert kms.asked == [b"wrapped-one"]


def test_a_key_is_forgotten_in_time(kms: Kms, clock: SimpleNamespace) -> None:
    vault.unwrap(b"wrapped-one", "bat_1")
    clock.now += vault.CACHED_FOR_S
    vault.unwrap(b"wrapped-one", "bat_1")
    assert kms.asked == [b"wrapped-one"] * 2


def test_another_wrapped_form_is_another_key(kms: Kms, clock: SimpleNamespace) -> None:
    """So that a key shredded or replaced in the table is not served from memory."""
    assert vault.unwrap(b"wrapped-one", "bat_1") == b"one"
    assert vault.unwrap(b"wrapped-two", "bat_1") == b"two"
    assert kms.asked == [b"wrapped-one", b"wrapped-two"]


def test_no_more_keys_are_kept_than_the_limit(kms: Kms, clock: SimpleNamespace) -> None:
    for number in range(vault.CACHED_KEYS_MAX + 5):
        vault.unwrap(b"wrapped-%d" % number, "bat_1")
    assert len(vault._cache) == vault.CACHED_KEYS_MAX
    asked = len(kms.asked)
    vault.unwrap(b"wrapped-%d" % vault.CACHED_KEYS_MAX, "bat_1")
    assert len(kms.asked) == asked
    vault.unwrap(b"wrapped-0", "bat_1")
    assert len(kms.asked) == asked + 1
