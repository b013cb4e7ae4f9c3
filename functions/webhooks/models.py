"""What comes from the queue, and bodies of webhooks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from functions.domain.actor import By
from functions.domain.webhook import OVERLAP_MAX_S, REASONS, TEST, TOLD, URL_LENGTH_MAX
from functions.edge.models import RFC_3339, Answer, Request, Time

Id = Annotated[str, Field(min_length=1, max_length=200)]
EventType = Literal[
    "voucher.redeemed",
    "voucher.reversed",
    "voucher.recovered",
    "voucher.suspended",
    "voucher.resumed",
    "voucher.voided",
    "lot.recalled",
    "lot.resumed",
    "lot.reclaimed",
    "recovery.completed",
    "message.ended",
]


class Taken(BaseModel):
    """What another part of Kami wrote: members that are not needed here may come and go."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class Actor(Taken):
    """Who gave the command."""

    client: str
    role: str
    tenant: str
    address: str
    request: str

    def by(self) -> By:
        """The same, for the domain."""
        return By(**self.model_dump())


class Told(Taken):
    """A domain event, as its rule hands it on (`events/schemas/`)."""

    id: Id
    type: EventType
    version: Literal[1] = Field(alias="schema")
    at: Annotated[str, StringConstraints(pattern=RFC_3339)]
    by: Actor
    data: dict[str, Any]
    sandbox: bool = False


class Due(Taken):
    """The next attempt of a delivery."""

    delivery: Id
    attempt: int = Field(ge=1)


Order = Told | Due
ORDER: TypeAdapter[Order] = TypeAdapter(Order)
"""The body of a message on the queue of webhooks."""


class WebhookRequest(Request):
    """An endpoint: an HTTPS address, and which types of events it is to be told."""

    url: str = Field(min_length=1, max_length=URL_LENGTH_MAX, examples=["https://partner.example.com/kami"])
    events: list[EventType] = Field(
        min_length=1, max_length=len(TOLD), examples=[["voucher.redeemed", "voucher.reversed"]]
    )


class RotationRequest(Request):
    """How long the secret so far is good beside the new one."""

    overlap_s: int = Field(
        default=86_400, ge=0, le=OVERLAP_MAX_S, description="Both sign for so long.", examples=[86_400]
    )


class WebhookAnswer(Answer):
    """An endpoint. `secrets` is how many sign at present; the secret itself is told once, when it is made.

    `disabled` after three days without a success, or because it answered 410; a test that succeeds enables it again.
    """

    id: str = Field(examples=["whk_n5xw2y4k3q7x2m5c4wz6n7pj"])
    url: str = Field(examples=["https://partner.example.com/kami"])
    events: list[EventType]
    status: Literal["enabled", "disabled"] = Field(examples=["enabled"])
    disabled_at: Time | None = None
    disabled_for: Literal["failing", "gone"] | None = None
    failing_since: Time | None = None
    secrets: int = Field(examples=[1])
    created_at: Time


class WebhookSecret(WebhookAnswer):
    """An endpoint with its new secret, which is told this once only: a repeat of the order does not have it."""

    secret: str | None = Field(default=None, examples=["whsec_" + "A" * 43 + "="])


class WebhookList(Answer):
    """All endpoints of the caller's tenant."""

    data: list[WebhookAnswer]


class DeliveryAttempt(Answer):
    """One request, `duration_ms` long; without `reason` all was well. `retry_after_s` is how long its answer asked to
    be left alone, an hour at most."""

    at: Time
    duration_ms: int = Field(examples=[87])
    status_code: int | None = Field(default=None, examples=[204])
    reason: str | None = Field(default=None, json_schema_extra={"enum": list(REASONS)})
    retry_after_s: int | None = None


class DeliveryAnswer(Answer):
    """An event on its way to an endpoint; its id is the `webhook-id`, the same in every attempt and replay."""

    id: str = Field(examples=["whd_n5xw2y4k3q7x2m5c4wz6n7pj"])
    webhook: str = Field(examples=["whk_n5xw2y4k3q7x2m5c4wz6n7pj"])
    type: EventType | Literal["webhook.test"] = Field(examples=[TEST])
    status: Literal["queued", "delivered", "failed"] = Field(examples=["delivered"])
    reason: str | None = Field(default=None, json_schema_extra={"enum": list(REASONS)})
    attempts: list[DeliveryAttempt]
    attempts_made: int = Field(description="All of them; the last 60 are shown.", examples=[1])
    replays: int = Field(examples=[0])
    next_attempt_at: Time | None = None
    created_at: Time


class DeliveryList(Answer):
    """A page of deliveries."""

    data: list[DeliveryAnswer]
    next_cursor: str | None = None
