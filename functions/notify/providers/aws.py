"""AWS End User Messaging SMS. It knows no idempotency token and no look-up, so a call is never sent again.

https://docs.aws.amazon.com/pinpoint/latest/apireference_smsvoicev2/API_SendTextMessage.html

Its receipts do not come over HTTP: the configuration set's events go by SNS to notify's own queue (infra/sms.py). They
carry the call's `Context`, so even a message whose answer was lost is told of.
https://docs.aws.amazon.com/sms-voice/latest/userguide/configuration-sets-event-format.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, HTTPClientError
from pydantic import Field

from functions.domain.errors import Refusal
from functions.domain.message import Outcome, Receipt, TemplateCall
from functions.domain.reasons import IN_DOUBT, NO_RECEIPT, REFUSED, TECHNICAL_FAULT
from functions.domain.recipient import Said
from functions.notify.providers.base import Entry, Heard, said, told
from functions.store.aws import client

SMS_ORIGINATION_IDENTITY = "SMS_ORIGINATION_IDENTITY"
SMS_CONFIGURATION_SET = "SMS_CONFIGURATION_SET"
NAME = "aws"


class AwsEndUserMessaging:
    """Sends by the SDK, as the function's own role."""

    traceable = False
    echoes = True
    acknowledgement = None

    def send(self, reference: str, to: str, text: str, template: TemplateCall | None) -> Outcome:
        """As text: AWS keeps no templates."""
        chosen = {
            "OriginationIdentity": os.environ.get(SMS_ORIGINATION_IDENTITY),
            "ConfigurationSetName": os.environ.get(SMS_CONFIGURATION_SET),
        }
        try:
            reply = client("pinpoint-sms-voice-v2").send_text_message(
                DestinationPhoneNumber=to,
                MessageBody=text,
                MessageType="TRANSACTIONAL",
                Context={"reference": reference},
                **{name: value for name, value in chosen.items() if value},
            )
        except ClientError as error:
            return _refused(error)
        except (ConnectTimeoutError, EndpointConnectionError):
            return Outcome("provider_down")
        except HTTPClientError:
            return Outcome(IN_DOUBT)
        return Outcome(provider_id=reply["MessageId"])

    def look_up(self, reference: str, to: str, text: str, since: int, now: int) -> Outcome | None:
        """Nothing can be asked."""
        return Outcome(IN_DOUBT)

    def receipts(self, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Sequence[Heard]:
        """None over HTTP, whoever says it is AWS. Raises Refusal `not_found`."""
        raise Refusal("not_found", "AWS's receipts come by SNS and SQS.")


CODES: dict[str, str] = {
    "ThrottlingException": "carrier_congested",
    "ServiceQuotaExceededException": "account_refused",
    "AccessDeniedException": "account_refused",
    "ResourceNotFoundException": "account_refused",
    "ConflictException": "account_refused",
    "ValidationException": REFUSED,
    "InternalServerException": TECHNICAL_FAULT,
    # `Reason` of ConflictException and ValidationException, where it says more
    "DESTINATION_PHONE_NUMBER_OPTED_OUT": "opted_out",
    "DESTINATION_PHONE_NUMBER_BLOCKED_BY_PROTECT_NUMBER_OVERRIDE": "blocked",
    "DESTINATION_COUNTRY_BLOCKED_BY_PROTECT_CONFIGURATION": "destination_not_served",
    "DESTINATION_COUNTRY_BLOCKED": "destination_not_served",
    "COUNTRY_NOT_ENABLED": "destination_not_served",
    "CHANNEL_NOT_ENABLED": "destination_not_served",
    "INTERNATIONAL_SENDING_NOT_SUPPORTED": "destination_not_served",
    "INVALID_IDENTITY_FOR_DESTINATION_COUNTRY": "destination_not_served",
    "COUNTRY_CODE_MISMATCH": "destination_not_served",
    "SENDER_ID_NOT_REGISTERED": "account_refused",
    "SENDER_ID_NOT_SUPPORTED": "account_refused",
    "SENDER_ID_REQUIRES_REGISTRATION": "account_refused",
    "RESOURCE_NOT_ACCESSIBLE": "account_refused",
    "INVALID_ARN": "account_refused",
    "PRICE_OVER_THRESHOLD": "account_refused",
    "CANNOT_PARSE": "number_invalid",
    "MAXIMUM_SIZE_EXCEEDED": "content_refused",
}
"""AWS's error code, or the `Reason` in it → ours."""


def _refused(error: ClientError) -> Outcome:
    answer: Any = error.response
    code, why = answer["Error"]["Code"], answer.get("Reason", "")
    raw = f"{code}/{why}" if why else code
    if any(field["Name"] == "DestinationPhoneNumber" for field in answer.get("Fields", ())):
        return Outcome("number_invalid", code=raw)
    reason = CODES.get(why) or CODES.get(code)
    faulty = answer["ResponseMetadata"]["HTTPStatusCode"] >= 500
    return Outcome(reason or (TECHNICAL_FAULT if faulty else REFUSED), code=raw)


EVENTS: dict[str, str | None] = {
    "TEXT_DELIVERED": None,
    "TEXT_SUCCESSFUL": None,  # where carriers tell no more than that they took it, and this is final
    "TEXT_INVALID": "number_invalid",
    "TEXT_INVALID_MESSAGE": "content_refused",
    "TEXT_UNREACHABLE": "not_reachable",
    "TEXT_CARRIER_UNREACHABLE": "carrier_congested",
    "TEXT_BLOCKED": "blocked",
    "TEXT_CARRIER_BLOCKED": "spam_filtered",
    "TEXT_SPAM": "spam_filtered",
    "TEXT_TTL_EXPIRED": "expired",
    "TEXT_PROTECT_BLOCKED": "destination_not_served",
    "TEXT_UNKNOWN": REFUSED,
}
"""A final event → why it was not delivered; None: it was. Others (queued, pending) tell nothing new."""
SILENCE = "UNKNOWN"
"""The status that AWS gives by itself when no carrier has said anything for 72 hours."""


class Event(Entry):
    """What the configuration set tells of a message."""

    kind: str = Field(alias="eventType", pattern="^TEXT_[A-Z_]+$")
    is_final: bool = Field(default=True, alias="isFinal")
    at_ms: int = Field(alias="eventTimestamp")
    id: str = Field(alias="messageId", min_length=1)
    status: str = Field(default="", alias="messageStatus")
    context: dict[str, str] = Field(default_factory=dict)


def receipts(event: Event) -> list[Receipt]:
    """What an event tells: nothing where it is not the end of it, or not about a message of Kami's."""
    reference = event.context.get("reference")
    if event.kind not in EVENTS or not event.is_final or not reference:
        return []
    silent = event.kind == "TEXT_UNKNOWN" and event.status == SILENCE
    reason = NO_RECEIPT if silent else EVENTS[event.kind]
    return told(NAME, reason, event.at_ms // 1000, code=event.kind, reference=reference, provider_id=event.id)


class Answered(Entry):
    """What a phone answered: two-way SMS, told by the topic that the sending number has for it."""

    origin: str = Field(alias="originationNumber", max_length=16)
    text: str = Field(alias="messageBody")
    id: str = Field(alias="inboundMessageId", min_length=1)

    def told(self) -> list[Said]:
        """As of now: it has no time of its own."""
        return said(NAME, self.origin, self.text, None)
