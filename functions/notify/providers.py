"""Who carries the SMS, behind one small interface: AWS End User Messaging, and the local cloud's simulated carriers.

What they answer is brought down to `domain.reasons.REASONS`. A provider that answers with a fault has not taken the
message; one that does not answer may have.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import urllib3
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, HTTPClientError

from functions.domain.message import Outcome, TemplateCall
from functions.domain.reasons import IN_DOUBT, REFUSED, TECHNICAL_FAULT
from functions.store.aws import client

SMS_PROVIDERS = "SMS_PROVIDERS"
SMS_ORIGINATION_IDENTITY = "SMS_ORIGINATION_IDENTITY"
SIMULATED_CARRIER_URL = "SIMULATED_CARRIER_URL"
CALL_TIMEOUT = urllib3.Timeout(connect=1.0, read=2.0, total=3.0)
CALLS_S = 6.0
"""All calls of an attempt together (a look-up and a sending) take no longer."""


class Provider(Protocol):
    """A way to send an SMS.

    `traceable`: it takes a reference only once, or can be asked about it. `echoes`: its receipts name our reference.
    """

    traceable: bool
    echoes: bool

    def send(self, reference: str, to: str, text: str, template: TemplateCall | None) -> Outcome:
        """Hand a message over: its text, or for some the template and the parameters it was made from."""

    def look_up(self, reference: str, to: str, since: int) -> Outcome | None:
        """What became of a reference that was sent to a number at a time (epoch seconds) or later.

        None where it is not known there (or nothing can be asked).
        """


class AwsEndUserMessaging:
    """AWS End User Messaging SMS. It knows no idempotency token and no look-up, so a call is never sent again.

    https://docs.aws.amazon.com/pinpoint/latest/apireference_smsvoicev2/API_SendTextMessage.html
    """

    traceable = False
    echoes = True

    def send(self, reference: str, to: str, text: str, template: TemplateCall | None) -> Outcome:
        origin = os.environ.get(SMS_ORIGINATION_IDENTITY)
        try:
            reply = client("pinpoint-sms-voice-v2").send_text_message(
                DestinationPhoneNumber=to,
                MessageBody=text,
                MessageType="TRANSACTIONAL",
                Context={"reference": reference},
                **({"OriginationIdentity": origin} if origin else {}),
            )
        except ClientError as error:
            return Outcome(_aws_reason(error))
        except (ConnectTimeoutError, EndpointConnectionError):
            return Outcome("provider_down")
        except HTTPClientError:
            return Outcome(IN_DOUBT)
        return Outcome(provider_id=reply["MessageId"])

    def look_up(self, reference: str, to: str, since: int) -> Outcome | None:
        return None


AWS_REASONS: dict[str, str] = {
    # ThrottlingException and its like
    "ThrottlingException": "carrier_congested",
    "ServiceQuotaExceededException": "account_refused",
    "AccessDeniedException": "account_refused",
    "ResourceNotFoundException": "account_refused",
    "ConflictException": "account_refused",
    "ValidationException": "refused",
    # `Reason` of ConflictException and ValidationException, where it says more
    "DESTINATION_PHONE_NUMBER_OPTED_OUT": "opted_out",
    "DESTINATION_PHONE_NUMBER_BLOCKED_BY_PROTECT_NUMBER_OVERRIDE": "blocked",
    "DESTINATION_COUNTRY_BLOCKED_BY_PROTECT_CONFIGURATION": "destination_not_served",
    "DESTINATION_COUNTRY_BLOCKED": "destination_not_served",
    "COUNTRY_NOT_ENABLED": "destination_not_served",
    "INTERNATIONAL_SENDING_NOT_SUPPORTED": "destination_not_served",
    "INVALID_IDENTITY_FOR_DESTINATION_COUNTRY": "destination_not_served",
    "SENDER_ID_NOT_REGISTERED": "account_refused",
    "SENDER_ID_NOT_SUPPORTED": "account_refused",
    "SENDER_ID_REQUIRES_REGISTRATION": "account_refused",
    "PRICE_OVER_THRESHOLD": "account_refused",
    "CANNOT_PARSE": "number_invalid",
    "MAXIMUM_SIZE_EXCEEDED": "content_refused",
}
"""AWS's error code, or the `Reason` in it → ours."""


def _aws_reason(error: ClientError) -> str:
    answer: Any = error.response
    if any(field["Name"] == "DestinationPhoneNumber" for field in answer.get("Fields", ())):
        return "number_invalid"
    told = AWS_REASONS.get(answer.get("Reason", "")) or AWS_REASONS.get(answer["Error"]["Code"])
    return told or (TECHNICAL_FAULT if answer["ResponseMetadata"]["HTTPStatusCode"] >= 500 else REFUSED)


class SimulatedCarrier:
    """A carrier of the local cloud, over HTTP."""

    traceable = True
    echoes = True

    def __init__(self, name: str) -> None:
        self._url = f"{os.environ[SIMULATED_CARRIER_URL]}/{name}/messages"

    def send(self, reference: str, to: str, text: str, template: TemplateCall | None) -> Outcome:
        sender = os.environ.get(SMS_ORIGINATION_IDENTITY) or "Kami"
        return self._ask("POST", self._url, {"reference": reference, "to": to, "from": sender, "text": text})

    def look_up(self, reference: str, to: str, since: int) -> Outcome | None:
        outcome = self._ask("GET", f"{self._url}/{reference}", None)
        return None if outcome.reason == REFUSED else outcome

    def _ask(self, method: str, url: str, body: dict[str, str] | None) -> Outcome:
        try:
            # a connection each: what a carrier answers twice must not be read as the answer to the next message
            reply = _pool().request(method, url, json=body, headers={"Connection": "close"})
            answer = reply.json() if reply.status < 500 else {}
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError):
            return Outcome("provider_down")
        except (urllib3.exceptions.HTTPError, ValueError):
            return Outcome(IN_DOUBT)
        if reply.status == 200:
            return Outcome(provider_id=str(answer["id"]))
        return Outcome(_carrier_reason(reply.status, answer.get("error")))


def _carrier_reason(status: int, error: str | None) -> str:
    if status >= 500:
        return "provider_down"
    if status == 429:
        return "carrier_congested"
    return error if error in ("number_invalid", "blocked", "opted_out", "content_refused") else REFUSED


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(retries=False, timeout=CALL_TIMEOUT)


_KINDS: dict[str, Callable[[str], Provider]] = {"aws": lambda _: AwsEndUserMessaging(), "simulated": SimulatedCarrier}


def named(name: str) -> Provider:
    """A provider by its name: `aws`, `simulated:north`."""
    kind, _, carrier = name.partition(":")
    return _KINDS[kind](carrier)


def names() -> tuple[str, ...]:
    """The providers of this deployment, in order of preference."""
    return tuple(os.environ[SMS_PROVIDERS].split(","))
