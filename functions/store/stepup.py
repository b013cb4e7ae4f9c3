"""Clients' authenticators, and the codes that they give: each step is used once, and wrong codes are counted."""

from __future__ import annotations

import os

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.stepup import SECRET_BYTES, Enrolment, step_of
from functions.store import guards, keys, table
from functions.store.aws import client
from functions.store.table import Entity

AUTHENTICATOR_KEY_ARN = "AUTHENTICATOR_KEY_ARN"
ENROLMENT: Entity[Enrolment] = Entity("enrolment", Enrolment, key=lambda e: keys.enrolment(e.client))


def enrol(client_id: str, by: By) -> bytes:
    """A fresh secret of a client, which is kept wrapped only; one that it had before is no good any more."""
    reply = client("kms").generate_data_key(
        KeyId=os.environ[AUTHENTICATOR_KEY_ARN], NumberOfBytes=SECRET_BYTES, EncryptionContext=_context(client_id)
    )
    _keep(client_id, reply["CiphertextBlob"], "enrol", by)
    return reply["Plaintext"]


def withdraw(client_id: str, by: By) -> None:
    """The client has no authenticator any more."""
    _keep(client_id, None, "withdraw", by)


def _keep(client_id: str, wrapped: bytes | None, command: str, by: By) -> None:
    def kept(current: Enrolment | None) -> Enrolment | None:
        before = current or Enrolment(client_id, None)
        if current is not None and before.wrapped_secret == wrapped:
            return None
        return Enrolment(client_id, wrapped, before.step, before.used_for, before.version)

    table.change(ENROLMENT, table.read(ENROLMENT, keys.enrolment(client_id)), kept, command, by)


def require(code: str | None, id: str, by: By, now: int) -> None:
    """Use the code up for what has this id; the same code for the same thing is good again, for a reply may be lost.

    It is counted as wrong until it has turned out to be right: of many at a time no more are looked at than of as many
    one after the other. Raises Refusal `one_time_code_required`, `one_time_code_wrong`, `too_many_attempts`.
    """
    if code is None:
        raise Refusal("one_time_code_required", "Give one_time_code, or with a file the header One-Time-Code.")
    enrolment = table.read(ENROLMENT, keys.enrolment(by.client))
    if enrolment is None or enrolment.wrapped_secret is None:
        raise Refusal("one_time_code_required", "This client has no authenticator; have it enrolled.")
    subject = guards.Subject("one_time_code", by.client)
    guards.count_wrong([subject], now)
    step = step_of(_unwrapped(enrolment.wrapped_secret, by.client), code, now)
    if step is None:
        raise _wrong()

    def used(current: Enrolment | None) -> Enrolment | None:
        assert current is not None
        if current.wrapped_secret != enrolment.wrapped_secret:
            raise _wrong()
        try:
            return current.used(step, id)
        except ValueError:
            raise _wrong() from None

    table.change(ENROLMENT, enrolment, used, "step_up", by)
    guards.forgive(subject, now)


def _wrong() -> Refusal:
    return Refusal("one_time_code_wrong", "It is wrong, or it was used before: wait for the next one.")


def _unwrapped(wrapped: bytes, client_id: str) -> bytes:
    reply = client("kms").decrypt(
        CiphertextBlob=wrapped, KeyId=os.environ[AUTHENTICATOR_KEY_ARN], EncryptionContext=_context(client_id)
    )
    return reply["Plaintext"]


def _context(client_id: str) -> dict[str, str]:
    return {"client": client_id}
