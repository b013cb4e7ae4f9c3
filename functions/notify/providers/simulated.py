"""A carrier of the local cloud, over HTTP: it takes a reference only once, and can be asked about it."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping, Sequence

from pydantic import Field, TypeAdapter

from functions.domain.message import Outcome, TemplateCall
from functions.domain.reasons import IN_DOUBT, REASONS, REFUSED
from functions.notify.providers.aws import SMS_ORIGINATION_IDENTITY
from functions.notify.providers.base import Entry, Heard, Reply, ask, each, prove, said, same, taken, told

SIMULATED_CARRIER_URL = "SIMULATED_CARRIER_URL"
SIMULATED_CARRIER_SECRET = "SIMULATED_CARRIER_SECRET"
SIGNATURE = "x-carrier-signature"
DELIVERED = "DELIVRD"


def signature(secret: str, body: bytes) -> str:
    """What a carrier signs a receipt with."""
    return hmac.digest(secret.encode(), body, "sha256").hex()


class Report(Entry):
    """An entry of a receipt; `code` is the reason why it was not delivered, and empty where it was."""

    reference: str = Field(min_length=1)
    id: str = Field(min_length=1, max_length=64)
    code: str = ""
    at: int

    def told(self, provider: str) -> Sequence[Heard]:
        reason, code = (_reason(self.code), self.code) if self.code else (None, DELIVERED)
        return told(provider, reason, self.at, code=code, reference=self.reference, provider_id=self.id)


class Answered(Entry):
    """What a phone answered."""

    number: str = Field(alias="from", max_length=16)
    text: str
    at: int

    def told(self, provider: str) -> Sequence[Heard]:
        return said(provider, self.number, self.text, self.at)


TOLD: TypeAdapter[Report | Answered] = TypeAdapter(Report | Answered)


class SimulatedCarrier:
    """One of them."""

    traceable = True
    echoes = True
    acknowledgement = None

    def __init__(self, name: str) -> None:
        self._name = name

    def send(self, reference: str, to: str, text: str, template: TemplateCall | None) -> Outcome:
        """As text."""
        sender = os.environ.get(SMS_ORIGINATION_IDENTITY) or "Kami"
        message = {"reference": reference, "to": to, "from": sender, "text": text}
        return self._ask("POST", "", json.dumps(message).encode())

    def look_up(self, reference: str, to: str, text: str, since: int, now: int) -> Outcome | None:
        """At once, and for certain."""
        outcome = self._ask("GET", f"/{reference}", None)
        return None if outcome.reason == REFUSED else outcome

    def receipts(self, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Sequence[Heard]:
        """Proved by the signature over the body."""
        secret = os.environ.get(SIMULATED_CARRIER_SECRET, "")
        prove(bool(secret) and same(headers.get(SIGNATURE), signature(secret, body)))
        return [receipt for entry in each(body, TOLD) for receipt in entry.told(f"simulated:{self._name}")]

    def _ask(self, method: str, path: str, body: bytes | None) -> Outcome:
        url = f"{os.environ[SIMULATED_CARRIER_URL]}/{self._name}/messages{path}"
        reply = ask(method, url, {"content-type": "application/json"} if body is not None else {}, body)
        return reply if isinstance(reply, Outcome) else _outcome(reply)


def _outcome(reply: Reply) -> Outcome:
    if reply.status >= 500:
        return Outcome("provider_down", code=str(reply.status))
    if reply.status == 429:
        return Outcome("carrier_congested", code=str(reply.status))
    if reply.status != 200:
        error = str((reply.body or {}).get("error"))
        return Outcome(_reason(error), code=error)
    return taken(reply.body["id"]) if reply.body and "id" in reply.body else Outcome(IN_DOUBT)


def _reason(code: str) -> str:
    """A carrier of ours says it in our own words."""
    return code if code in REASONS else REFUSED
