"""Bodies of verifications and of a voucher looked up by its serial."""

from __future__ import annotations

from pydantic import Field

from functions.domain.codes import CODE_LENGTH_MAX
from functions.edge.models import Address, Answer, Reference, Request


class VerificationRequest(Request):
    """A code to be checked; `device` and `customer_address` keep one guesser's limit from being another's."""

    code: str = Field(max_length=CODE_LENGTH_MAX, examples=["07EG-22BY-TX8B-7S7R"])
    device: Reference | None = None
    customer_address: Address | None = None


class FaceValue(Answer):
    """Minor units (fen, cents) of an ISO 4217 currency."""

    amount_minor: int
    currency: str


class VoucherAnswer(Answer):
    """A voucher as it stands now. `reason` says why it is not redeemable, to those entitled to know."""

    serial: str
    status: str
    redeemable: bool
    reason: str | None = None
    kind: str
    campaign: str
    face_value: FaceValue
    balance_minor: int
    valid_until: str | None = None


class VoucherDetails(VoucherAnswer):
    """What staff sees beyond it."""

    batch: str
    generation: int
    channel: str | None = None
    redemptions: list[str]
