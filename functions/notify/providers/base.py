"""What all providers have in common: their interface, one way to ask over HTTP, and how a receipt is made of theirs.

A provider that answers with a fault has not taken the message; one that does not answer may have.
"""

from __future__ import annotations

import hmac
import json
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeVar

import urllib3
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from functions.domain.account import E164
from functions.domain.errors import Refusal
from functions.domain.message import CODE_MAX, REFERENCE_LENGTH_MAX, Outcome, Receipt, Status, TemplateCall
from functions.domain.reasons import IN_DOUBT, NO_RECEIPT, REFUSED, TECHNICAL_FAULT
from functions.domain.recipient import Said

CALL_TIMEOUT = urllib3.Timeout(connect=1.0, read=2.0, total=3.0)
CALLS_S = 9.0
"""All calls of an attempt together (a look-up, around midnight two, and a sending) take no longer."""
ANSWER_BYTES_MAX = 262_144
ID_LENGTH_MAX = 128
SAID_MAX = 160
"""So much of a reply is looked at."""
SETTLED_S = 300
"""A provider that does not know a reference so long after it was asked to send has not taken it.

What was taken a moment ago may not be in a provider's list yet; so until then nobody can tell.
"""

NO_ACCOUNT = Outcome("account_refused", code="no account")
NO_TEMPLATE = Outcome("account_refused", code="no template")
"""Nobody has told what is needed to ask this provider; another one may do."""

Heard = Receipt | Said
"""What a provider tells by itself."""

M = TypeVar("M", bound=BaseModel)


class Provider(Protocol):
    """A way to send an SMS.

    `traceable`: it takes a reference only once, or can be asked about it. `echoes`: its receipts carry our reference;
    else only the id that it gave the message itself.
    """

    traceable: bool
    echoes: bool

    def send(self, reference: str, to: str, text: str, template: TemplateCall | None) -> Outcome:
        """Hand a message over."""

    def look_up(self, reference: str, to: str, text: str, since: int, now: int) -> Outcome | None:
        """What became of a reference that was to be sent at `since`; None where it was certainly not taken.

        In doubt where nobody can tell, or not yet.
        """

    def receipts(self, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Sequence[Heard]:
        """What a receipt tells, or a reply by SMS.

        Raises Refusal `invalid_signature` unless the provider's proof holds, and `invalid_request` where it holds and
        the body makes no sense.
        """

    @property
    def acknowledgement(self) -> dict[str, Any] | None:
        """What the provider wants to be answered; None: nothing but that it went well."""


class Reply(NamedTuple):
    """What came back: the status, and the body where it is a JSON object."""

    status: int
    body: dict[str, Any] | None


def ask(method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Reply | Outcome:
    """One request, never repeated and never redirected; an outcome where there is no answer to speak of.

    Each has a connection of its own: on one that was left open its end may have come unseen, and a message lost with
    it would be in doubt for nothing.
    """
    try:
        reply = _pool().request(
            method,
            url,
            body=body,
            headers={**headers, "Connection": "close"},
            timeout=CALL_TIMEOUT,
            preload_content=False,
        )
        try:
            content = reply.read(ANSWER_BYTES_MAX, decode_content=True)
        finally:
            reply.close()
    except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError):
        return Outcome("provider_down")
    except urllib3.exceptions.HTTPError as error:
        stranger = error.args and isinstance(error.args[0], ssl.SSLCertVerificationError)
        return Outcome("provider_down" if stranger else IN_DOUBT)
    return Reply(reply.status, _object(content))


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(retries=False)


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def faulty(reply: Reply, code: str | None = None) -> Outcome | None:
    """The outcome of an answer that is none of the provider's own: a fault on the way, or nonsense.

    A gateway that did not hear from those behind it (502, 504) does not know whether they took the message.
    """
    if reply.status >= 500:
        reason = {502: IN_DOUBT, 503: "provider_down", 504: IN_DOUBT}.get(reply.status, TECHNICAL_FAULT)
        return Outcome(reason, code=code or str(reply.status))
    if reply.body is None:
        return Outcome(IN_DOUBT if reply.status < 300 else REFUSED, code=str(reply.status))
    return None


def template_of(held: Mapping[str, Any], call: TemplateCall | None) -> str | None:
    """The provider's own name of its copy of a template, as the account's `templates` has it."""
    templates = held.get("templates")
    if call is None or not isinstance(templates, dict):
        return None
    approved = templates.get(f"{call.name}.{call.locale}@{call.version}")
    return str(approved) if approved else None


def taken(provider_id: object = None, status: Status | None = None) -> Outcome:
    """It is on its way, or has arrived; without an id where the provider gave none."""
    return Outcome(provider_id=str(provider_id)[:ID_LENGTH_MAX] if provider_id else None, status=status)


def undelivered(reason: str, code: str, provider_id: object = None) -> Outcome:
    """It was taken, and did not arrive; where its carrier is silent, nothing is known but that it was taken."""
    if reason == NO_RECEIPT:
        return taken(provider_id)
    id = str(provider_id)[:ID_LENGTH_MAX] if provider_id else None
    return Outcome(reason, id, code, Status.UNDELIVERED)


def told(
    provider: str,
    reason: str | None,
    at: int,
    *,
    code: str,
    reference: str | None = None,
    provider_id: str | None = None,
) -> list[Receipt]:
    """A receipt: it was delivered, or not for a reason.

    None where it only says that a carrier has said nothing, and where its reference is none of ours: an account may
    have other senders.
    """
    if reason == NO_RECEIPT or len(reference or "") > REFERENCE_LENGTH_MAX:
        return []
    status = Status.DELIVERED if reason is None else Status.UNDELIVERED
    id = provider_id[:ID_LENGTH_MAX] if provider_id else None
    return [Receipt(provider, status, at, reference or None, id, reason, code[:CODE_MAX])]


def said(provider: str, number: str, text: str, at: int | None) -> list[Said]:
    """A reply; none where its number is none that SMS go to, as a short number's."""
    return [Said(provider, number, text[:SAID_MAX], at or clock())] if E164.fullmatch(number) else []


def settled(since: int, now: int) -> Outcome | None:
    """What it means that a provider does not know a reference."""
    return None if now >= since + SETTLED_S else Outcome(IN_DOUBT)


class Entry(BaseModel):
    """One of what a provider tells: members that are not needed here may come and go."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def each(body: bytes, adapter: TypeAdapter[M]) -> list[M]:
    """The entries of a JSON list that are what they should be; one that is not must not hold up the others.

    An object is a list of one. Raises Refusal `invalid_request` where it is neither, or no entry makes sense.
    """
    try:
        entries = json.loads(body)
    except ValueError:
        raise Refusal("invalid_request", "The body is not JSON.") from None
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list):
        raise Refusal("invalid_request", "The body is no list.")
    found = []
    for entry in entries:
        try:
            found.append(adapter.validate_python(entry))
        except ValidationError:
            continue
    if entries and not found:
        raise Refusal("invalid_request", "No entry of the list makes sense.")
    return found


def prove(holds: bool) -> None:
    """Raise Refusal `invalid_signature` unless the proof holds."""
    if not holds:
        raise Refusal("invalid_signature", "Only the provider's own receipts are taken.")


def same(given: str | None, expected: object) -> bool:
    """Whether a secret is what it should be, in constant time; nothing is ever the same as no secret."""
    wanted = expected if isinstance(expected, str) else ""
    return bool(wanted) and hmac.compare_digest((given or "").encode(), wanted.encode())


def clock() -> int:
    """Seconds since 1970; what is signed says when it was, and providers compare that with their own clock."""
    return int(time.time())


def nonce() -> str:
    """32 hexadecimal digits that no request had before."""
    return secrets.token_hex(16)


def reason_in(table: Mapping[str, str], code: str, *, unknown: str = REFUSED) -> str:
    """The reason that a provider's code stands for; of a family of codes (`Throttling.User`) the nearest row counts."""
    while code:
        if code in table:
            return table[code]
        code = code.rpartition(".")[0]
    return unknown


Made = Callable[[str], Provider]
