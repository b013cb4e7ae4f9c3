"""Bodies of verifications and of a voucher looked up by its serial."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from functions.domain.codes import CODE_LENGTH_MAX
from functions.domain.voucher import REFUSALS
from functions.edge.models import Address, Answer, Currency, Minor, Reference, Request, Serial, Time, VoucherStatus


class VerificationRequest(Request):
    """A code to be checked; `device` and `customer_address` keep one guesser's limit from being another's."""

    code: str = Field(max_length=CODE_LENGTH_MAX, examples=["07ED-CM07-VHGX-MV74"])
    device: Reference | None = None
    customer_address: Address | None = None


class FaceValue(Answer):
    """Minor units (fen, cents) of an ISO 4217 currency."""

    amount_minor: Minor
    currency: Currency


class VoucherAnswer(Answer):
    """A voucher as it stands now. `reason` says why it is not redeemable, to those entitled to know."""

    serial: Serial
    status: VoucherStatus
    redeemable: bool = Field(examples=[True])
    reason: str | None = Field(default=None, json_schema_extra={"enum": [*REFUSALS, None]})
    kind: str = Field(examples=["recharge"])
    campaign: str = Field(examples=["cmp_n5xw2y4k3q7x2m5c4wz6n7pj"])
    face_value: FaceValue
    balance_minor: Minor
    available_minor: int = Field(description="What no hold keeps for another order.", examples=[5000])
    valid_until: Time | None = Field(default=None, examples=["2027-12-31T23:59:59Z"])
    sandbox: bool = Field(description="It is for trying things out, and moves no value.", examples=[False])


class VoucherDetails(VoucherAnswer):
    """What staff sees beyond it."""

    batch: str = Field(examples=["bat_c4wz6n7pjh2d4r6tn5xw2y4k"])
    generation: int = Field(description="Raised when its range was reclaimed.", examples=[1])
    channel: str | None = None
    redemptions: list[str] = Field(examples=[[]])
    holds: list[str] = Field(description="Those that keep some of it now.", examples=[[]])


class QrAnswer(Answer):
    """What the QR code says, for apps that draw it themselves."""

    payload: str = Field(examples=["KQ1.010000000003.59841600.QDZ5OUMHJM4RYLSH"])
    seconds_left: int = Field(description="Until the next one.", examples=[17])
    expires_at: Time = Field(description="Until then tills accept it, once.", examples=["2026-11-21T08:01:00Z"])


class HistoryLine(Answer):
    """Something that happened to a voucher, alone or with its lot, and who did it from where.

    `at` is told to the second. Amounts are as they were just after it.
    """

    event: Literal[
        "generated",
        "imported",
        "exported",
        "distributed",
        "returned",
        "activated",
        "extended",
        "revealed",
        "dispensed",
        "claimed",
        "offered",
        "transferred",
        "offer_returned",
        "held",
        "released",
        "redeemed",
        "reversed",
        "recalled",
        "suspended",
        "resuming",
        "resumed",
        "reissued",
        "issued",
        "credited",
        "voided",
        "recovered",
        "reclaimed",
        "erased",
        "restored",
    ] = Field(examples=["redeemed"])
    at: Time
    actor: str = Field(description="The API client.", examples=["merchant-9f86d081884c7d65"])
    role: str = Field(examples=["merchant"])
    tenant: str = Field(examples=["merchant-9f86d081884c7d65"])
    address: str = Field(description="Where the request came from.", examples=["192.0.2.1"])
    request: str = Field(description="Its `X-Request-Id`.", examples=["JKJaXmPLvHcESHA="])
    batch: str | None = None
    command: str | None = Field(default=None, description="The distribution, activation or extension.")
    source: str | None = Field(default=None, alias="from", description="The channel that held it.")
    to: str | None = Field(default=None, description="The channel that it went to.")
    sold: bool | None = Field(default=None, description="That it left stock by its activation.")
    valid_until: Time | None = Field(default=None, examples=["2028-12-31T23:59:59Z"])
    reveal: str | None = None
    dispense: str | None = None
    claim: str | None = None
    transfer: str | None = None
    export: str | None = None
    hold: str | None = Field(default=None, description="Of a capture too.")
    successor: Serial | None = Field(default=None, description="The card that replaces this one.")
    predecessor: Serial | None = Field(default=None, description="The card that this one replaces.")
    credited: Serial | None = Field(default=None, description="The card that has the value of a reversal.")
    expires_at: Time | None = Field(default=None, description="Of a hold, or of an offer as a gift.")
    redemption: str | None = Field(default=None, examples=["010000000003-2y4kc4wz6n7pjh2d4r6tn5xw"])
    reversal: str | None = None
    account_type: str | None = Field(default=None, examples=["mobile"])
    amount_minor: Minor | None = None
    balance_minor: Minor | None = Field(default=None, examples=[0])
    currency: Currency | None = None
    recovery: str | None = None
    lifts: str | None = Field(default=None, description="The recovery whose suspension a resume is about to lift.")
    action: str | None = None
    scope: str | None = None
    reason: str | None = None


class History(Answer):
    """A page of a voucher's history, oldest first; it may be short while `next_cursor` is there."""

    data: list[HistoryLine]
    next_cursor: str | None = None
