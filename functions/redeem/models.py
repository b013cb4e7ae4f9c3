"""Bodies of redemptions and reversals."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from functions.domain.account import BROADBAND, E164
from functions.domain.codes import CODE_LENGTH_MAX
from functions.domain.hold import MINUTES_DEFAULT, MINUTES_MAX, State
from functions.domain.money import AMOUNT_MINOR_MAX
from functions.edge.models import (
    Address,
    Answer,
    Currency,
    Minor,
    Reference,
    Remark,
    Request,
    Serial,
    Time,
    VoucherStatus,
)

NATIONAL: dict[str, re.Pattern[str]] = {"+86": re.compile(r"\+861[3-9][0-9]{9}")}
"""Country code → its mobile numbers, where they are told apart from others by their first digits."""
REDEMPTION_EXAMPLE = "010000000003-2y4kc4wz6n7pjh2d4r6tn5xw"
HOLD_EXAMPLE = "hld_010000000003-7pjh2d4r6tn5xw2y4kc4wz6n"


class Account(Request):
    """Whom value goes to. A mobile number is E.164; a broadband account is 4 to 64 letters, digits or `@._-`."""

    type: Literal["mobile", "broadband"]
    number: Annotated[
        str,
        StringConstraints(min_length=4, max_length=64),
        Field(json_schema_extra={"pattern": f"^({E164.pattern}|{BROADBAND.pattern})$"}, examples=["+8613812345678"]),
    ]

    @model_validator(mode="after")
    def _plausible(self) -> Self:
        if self.type == "broadband":
            good = BROADBAND.fullmatch(self.number)
        else:
            national = next((p for code, p in NATIONAL.items() if self.number.startswith(code)), E164)
            good = national.fullmatch(self.number)
        if not good:
            raise ValueError(f"no {self.type} number; a mobile number is written like +8613812345678")
        return self


class RedemptionRequest(Request):
    """A code to be used for an account; without `amount_minor`, all that is left of it."""

    code: str = Field(max_length=CODE_LENGTH_MAX, examples=["07ED-CM07-VHGX-MV74"])
    account: Account
    amount_minor: int | None = Field(default=None, ge=1, le=AMOUNT_MINOR_MAX)
    store: Reference | None = None
    terminal: Reference | None = None
    device: Reference | None = None
    customer_address: Address | None = None


class HoldRequest(Request):
    """A code to be kept for an order; without `amount_minor`, all that is left of it."""

    code: str = Field(max_length=CODE_LENGTH_MAX, examples=["07ED-CM07-VHGX-MV74"])
    amount_minor: int | None = Field(default=None, ge=1, le=AMOUNT_MINOR_MAX)
    minutes: int = Field(default=MINUTES_DEFAULT, ge=1, le=MINUTES_MAX)
    account: Account | None = Field(default=None, description="Who asks; wrong codes are counted for it.")
    device: Reference | None = None
    customer_address: Address | None = None


class CaptureRequest(Request):
    """Whom what is held goes to; without `amount_minor` all of it, and what is not taken is free again."""

    account: Account
    amount_minor: int | None = Field(default=None, ge=1, le=AMOUNT_MINOR_MAX)
    store: Reference | None = None
    terminal: Reference | None = None


class ReversalRequest(Request):
    """Why a redemption is taken back."""

    reason: Remark = Field(examples=["Wrong number"])


class MaskedAccount(Answer):
    """The account, its number only in part."""

    type: Literal["mobile", "broadband"]
    number: str = Field(examples=["+86138****5678"])


class RedemptionAnswer(Answer):
    """A redemption. `balance_minor` and `voucher_status` are as they were just after it."""

    id: str = Field(examples=[REDEMPTION_EXAMPLE])
    serial: Serial
    account: MaskedAccount
    amount_minor: Minor
    currency: Currency
    balance_minor: Minor = Field(examples=[0])
    status: Literal["completed", "reversed"]
    voucher_status: VoucherStatus = Field(examples=["redeemed"])
    created_at: Time
    store: str | None = None
    terminal: str | None = None
    hold: str | None = Field(default=None, description="What it was captured from.")


class HoldAnswer(Answer):
    """A hold. `available_minor` is what was left for others just after it was made."""

    id: str = Field(examples=[HOLD_EXAMPLE])
    serial: Serial
    status: State
    amount_minor: Minor
    currency: Currency
    available_minor: Minor = Field(examples=[0])
    created_at: Time
    expires_at: Time = Field(description="From then on it keeps nothing.", examples=["2026-11-21T08:15:00Z"])
    redemption: str | None = Field(default=None, description="What captured it.")


class ReleaseAnswer(Answer):
    """A release: what was held is free again."""

    id: str = Field(examples=["4wz6n7pjh2d4r6tn5xw2y4kc"])
    hold: str = Field(examples=[HOLD_EXAMPLE])
    amount_minor: Minor
    currency: Currency
    created_at: Time


class ReversalAnswer(Answer):
    """A reversal. `balance_minor` and `voucher_status` are as they were just after it.

    Where the voucher was replaced by another since, they are that one's, which was `credited`.
    """

    id: str = Field(examples=["6tn5xw2y4kc4wz6n7pjh2d4r"])
    redemption: str = Field(examples=[REDEMPTION_EXAMPLE])
    amount_minor: Minor
    currency: Currency
    balance_minor: Minor
    voucher_status: VoucherStatus
    credited: Serial | None = None
    created_at: Time
