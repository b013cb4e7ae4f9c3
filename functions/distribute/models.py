"""Bodies of channels, and of orders about ranges: distributions, activations, extensions."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from functions.domain.campaign import BATCH_QUANTITY_MAX
from functions.domain.codes import CODE_LENGTH_MAX
from functions.domain.draw import QUANTITY_MAX
from functions.domain.money import AMOUNT_MINOR_MAX
from functions.domain.remarks import PHONE
from functions.domain.selection import Selection
from functions.domain.wallet import STATUSES
from functions.edge.http import of_query
from functions.edge.models import (
    Address,
    Answer,
    Currency,
    Minor,
    Money,
    MoneyAnswer,
    Progress,
    Reference,
    Request,
    SelectionRequest,
    Serial,
    SerialText,
    Skipped,
    Text,
    Time,
    TimeText,
    VoucherStatus,
    end_of_validity,
    exactly_one,
)

DAYS_MAX = 3_650

CUSTOMER = re.compile(r"[\x21-\x7e]{1,64}")
"""How clients may name a customer of theirs."""

Kind = Literal["offline", "online", "partner"]
Status = Literal["in_progress", "completed"]
ChannelId = Annotated[
    str, StringConstraints(min_length=1, max_length=64), Field(examples=["chn_x2m5c4wz6n7pjh2d4r6tk3q7"])
]


class ChannelRequest(Request):
    """Who sells or hands out vouchers. Clients of `tenant` may act on what the channel holds."""

    kind: Kind
    name: Text = Field(examples=["Shop 12, Nanjing Road 南京路店"])
    region: Text | None = Field(default=None, examples=["Shanghai"])
    tenant: Reference | None = Field(
        default=None, description="As the partner's clients have it: by default the id of its client."
    )


class ChannelAnswer(Answer):
    """A channel."""

    id: str = Field(examples=["chn_x2m5c4wz6n7pjh2d4r6tk3q7"])
    kind: Kind
    name: str = Field(examples=["Shop 12, Nanjing Road 南京路店"])
    region: str | None = Field(default=None, examples=["Shanghai"])
    tenant: str | None = None
    created_at: Time


class ChannelList(Answer):
    """A page of channels; it may be short while `next_cursor` is there."""

    data: list[ChannelAnswer]
    next_cursor: str | None = None


class HeldRange(Answer):
    """Serials that a channel holds, alike in status and validity."""

    first_serial: Serial
    last_serial: Serial = Field(examples=["010000099999"])
    quantity: int = Field(examples=[10_000])
    status: VoucherStatus = Field(examples=["distributed"])
    valid_until: Time | None = Field(default=None, examples=["2027-12-31T23:59:59Z"])


class StockAnswer(Answer):
    """What a channel holds, as its ranges say; what was done to single cards shows in `counts` only.

    A page is about `limit` lots of up to 10,000 vouchers. `counts` by status are of all pages and come with the first,
    unless the stock is too large or too scattered to be counted within a call. What was moved within the last second
    may be missing.
    """

    channel: ChannelId
    counts: dict[str, int] | None = Field(default=None, examples=[{"distributed": 10_000}])
    as_of: Time
    data: list[HeldRange]
    next_cursor: str | None = None


class DistributionRequest(Request):
    """Which vouchers go to which channel: a `selection`, or the first `quantity` of a `batch` that can be had.

    `to` alone takes what nobody holds; `from` and `to` move what a channel holds; `from` alone takes it back to stock.
    """

    model_config = exactly_one(("selection",), ("batch", "quantity"))

    selection: SelectionRequest | None = Field(
        default=None, examples=[{"first_serial": "010000000003", "last_serial": "010000099999"}]
    )
    batch: str | None = Field(default=None, max_length=64)
    quantity: int | None = Field(default=None, ge=1, le=BATCH_QUANTITY_MAX)
    to: ChannelId | None = Field(default=None, examples=["chn_x2m5c4wz6n7pjh2d4r6tk3q7"])
    source: ChannelId | None = Field(default=None, alias="from")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        picked = self.batch is not None and self.quantity is not None
        if (self.selection is None) != picked or (self.batch is None) != (self.quantity is None):
            raise ValueError("name exactly one of selection, batch with quantity")
        if self.to == self.source:
            raise ValueError("name from, or to, or two different channels")
        return self

    def chosen(self) -> Selection:
        """The selection, or the batch to pick from."""
        return self.selection.selection() if self.selection is not None else Selection(batch=self.batch)


class Ends(Request):
    """What the parameters of a file to be distributed say."""

    to: ChannelId | None = None
    source: ChannelId | None = Field(default=None, alias="from")

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.to == self.source:
            raise ValueError("name from, or to, or two different channels")
        return self


def channels_of_file(query: dict[str, str]) -> Ends:
    """Where the vouchers of a file go. Raises Refusal `invalid_request`."""
    return of_query(Ends, query)


class LineAnswer(Answer):
    """What came of a line of a file; blank lines and a header have none."""

    line: int = Field(description="As an editor numbers it.", examples=[2])
    status: Literal["done", "partly_done", "skipped", "refused", "in_progress"] = Field(
        description="`in_progress`: send the file again with its Idempotency-Key later.", examples=["skipped"]
    )
    detail: str | None = Field(default=None, description="Why, with how many of each.", examples=["held: 1"])


Lines = Annotated[list[LineAnswer] | None, Field(description="Where the order came as a file.")]


class DistributionAnswer(Answer):
    """A distribution; `distributed` and `skipped` grow while it is `in_progress`."""

    id: str = Field(examples=["dst_k3q7x2m5c4wz6n7pjh2d4r6t"])
    status: Status = Field(examples=["completed"])
    to: ChannelId | None = None
    source: ChannelId | None = Field(default=None, serialization_alias="from")
    quantity: int | None = Field(default=None, description="As asked for.")
    distributed: int = Field(examples=[9998])
    skipped: Skipped
    progress: Progress
    lines: Lines = None
    created_at: Time
    completed_at: Time | None = None


class ExtensionRequest(Request):
    """Which vouchers are valid for longer: all until `valid_until`, or each `days` longer than it would be.

    None becomes valid for less.
    """

    model_config = exactly_one(("valid_until",), ("days",))

    selection: SelectionRequest
    valid_until: TimeText | None = Field(default=None, description="RFC 3339.", examples=["2028-12-31T23:59:59Z"])
    days: int | None = Field(default=None, ge=1, le=DAYS_MAX)

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.valid_until is None) == (self.days is None):
            raise ValueError("give exactly one of valid_until and days")
        if self.valid_until is not None:
            end_of_validity(self.valid_until)
        return self


class ExtensionAnswer(Answer):
    """An extension; `extended` and `skipped` grow while it is `in_progress`."""

    id: str = Field(examples=["ext_k3q7x2m5c4wz6n7pjh2d4r6t"])
    status: Status = Field(examples=["completed"])
    valid_until: Time | None = Field(default=None, examples=["2028-12-31T23:59:59Z"])
    days: int | None = None
    extended: int = Field(examples=[9998])
    skipped: Skipped
    progress: Progress
    created_at: Time
    completed_at: Time | None = None


class SaleRequest(Request):
    """What one voucher was sold for, and where."""

    price: Money
    shop: Reference = Field(examples=["shop-12"])


class SaleAnswer(Answer):
    """The same."""

    price: MoneyAnswer
    shop: str = Field(examples=["shop-12"])


class ActivationRequest(Request):
    """Which vouchers become usable, and as what they were sold."""

    selection: SelectionRequest
    sale: SaleRequest | None = None


class ActivationAnswer(Answer):
    """An activation; `activated` and `skipped` grow while it is `in_progress`."""

    id: str = Field(examples=["act_k3q7x2m5c4wz6n7pjh2d4r6t"])
    status: Status = Field(examples=["completed"])
    sale: SaleAnswer | None = None
    activated: int = Field(examples=[9998])
    skipped: Skipped
    progress: Progress
    lines: Lines = None
    created_at: Time
    completed_at: Time | None = None


class DispenseRequest(Request):
    """How many codes of a campaign a buyer gets: of what nobody holds, or of what a `channel` holds.

    A partner's clients name one of their own channels.
    """

    campaign: str = Field(max_length=64, examples=["cmp_n5xw2y4k3q7x2m5c4wz6n7pj"])
    quantity: int = Field(ge=1, le=QUANTITY_MAX, examples=[2])
    buyer: Reference | None = Field(default=None, examples=["order-2026-1121-0001"])
    channel: ChannelId | None = None

    @field_validator("buyer")
    @classmethod
    def _an_order(cls, buyer: str | None) -> str | None:
        if buyer is not None and PHONE.fullmatch(buyer):
            raise ValueError("the number of an order, not of a phone")
        return buyer


class Dispensed(Answer):
    """A serial and its code; the code is told by the request that took it, and by its repeats."""

    serial: Serial
    code: str | None = Field(default=None, examples=["07ED-CM07-VHGX-MV74"])


class DispenseAnswer(Answer):
    """What a buyer got; its vouchers are in use from `created_at` on."""

    id: str = Field(examples=["dsp_k3q7x2m5c4wz6n7pjh2d4r6t"])
    campaign: str = Field(examples=["cmp_n5xw2y4k3q7x2m5c4wz6n7pj"])
    quantity: int = Field(examples=[1])
    buyer: str | None = Field(default=None, examples=["order-2026-1121-0001"])
    channel: ChannelId | None = None
    data: list[Dispensed]
    created_at: Time


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(AMOUNT_MINOR_MAX)):
        raise ValueError("no whole number")
    return int(text)


class SoldFor(Request):
    """What the parameters of a file of sold vouchers say."""

    price_minor: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=AMOUNT_MINOR_MAX)]
    currency: str
    shop: Reference


def sale_of_file(query: dict[str, str]) -> SaleRequest | None:
    """What the vouchers of a file were sold for, if anything. Raises Refusal `invalid_request`."""
    if not query:
        return None
    sold = of_query(SoldFor, query)
    price = of_query(Money, {"amount_minor": sold.price_minor, "currency": sold.currency})
    return SaleRequest(price=price, shop=sold.shop)


Customer = Annotated[
    str,
    StringConstraints(pattern=f"^{CUSTOMER.pattern}$"),
    Field(description="A customer as you name it: a member number, or a phone number like +8613812345678.",
          examples=["customer-1001"]),
]  # fmt: skip


Token = Annotated[
    str, StringConstraints(min_length=1, max_length=64), Field(examples=["Jx6QmR3l0c0Z9d2sV5bq8wT1uYk7nE4h"])
]


class ClaimRequest(Request):
    """Who claims what: the voucher of a `code`, or one of a `campaign`.

    Out of stock a partner's clients name one of their own channels, which holds some.
    """

    model_config = exactly_one(("code",), ("campaign",))

    customer: Customer
    code: Annotated[str, StringConstraints(max_length=CODE_LENGTH_MAX)] | None = Field(
        default=None, examples=["07ED-CM07-VHGX-MV74"]
    )
    campaign: str | None = Field(default=None, max_length=64)
    channel: ChannelId | None = None
    tier: Reference | None = Field(default=None, description="The customer's member tier.", examples=["gold"])
    device: Reference | None = None
    customer_address: Address | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.code is None) == (self.campaign is None):
            raise ValueError("give exactly one of code and campaign")
        if self.code is not None and self.channel is not None:
            raise ValueError("a channel goes with a campaign")
        return self


class ClaimAnswer(Answer):
    """A claim; `status` and `valid_until` are the voucher's just after it. The `code` comes with what was in stock.

    `receipt` is a JWS (ES256, `typ` `kami-claim+jws`) of `claim`, `serial`, `customer` and `at` (epoch seconds); its
    key is in `/.well-known/jwks.json`. A repeat's receipt says the same, under a signature of its own.
    """

    id: str = Field(examples=["clm_7pjh2d4r6tn5xw2y4kc4wz6n"])
    serial: Serial
    code: str | None = Field(default=None, examples=["07ED-CM07-VHGX-MV74"])
    customer: str = Field(examples=["customer-1001"])
    status: VoucherStatus = Field(examples=["claimed"])
    valid_until: Time | None = Field(default=None, examples=["2027-12-31T23:59:59Z"])
    receipt: str = Field(examples=["eyJhbGciOiJFUzI1NiJ9.…"])
    created_at: Time


class OfferAnswer(Answer):
    """An offer of the voucher to another customer that is open; meanwhile it cannot be used."""

    id: str = Field(examples=["trf_010000000003-7pjh2d4r6tn5xw2y4kc4wz6n"])
    expires_at: Time


class HeldVoucher(Answer):
    """A voucher in a customer's wallet."""

    serial: Serial
    campaign: str = Field(examples=["cmp_n5xw2y4k3q7x2m5c4wz6n7pj"])
    status: str = Field(json_schema_extra={"enum": [*STATUSES]}, examples=["claimed"])
    redeemable: bool = Field(examples=[True])
    face_value: MoneyAnswer
    balance_minor: Minor
    currency: Currency
    valid_until: Time | None = Field(default=None, examples=["2027-12-31T23:59:59Z"])
    transfer: OfferAnswer | None = None


class WalletAnswer(Answer):
    """A page of what a customer holds, nearest end of validity first; it may be short while `next_cursor` is there.

    Without `status` it shows what has not ended; what was claimed within the last second may be missing.
    """

    data: list[HeldVoucher]
    next_cursor: str | None = None


class TransferRequest(Request):
    """Which voucher its holder gives away."""

    serial: SerialText
    customer: Customer


class TransferAnswer(Answer):
    """An offer. Whoever has its `token` may accept it, once; put it into a link for the receiver only.

    The token is told to whoever made the offer, here and in the answer to a repeat, and is kept nowhere. Until the
    offer is accepted, returned or over, the voucher cannot be used.
    """

    id: str = Field(examples=["trf_010000000003-7pjh2d4r6tn5xw2y4kc4wz6n"])
    serial: Serial
    token: str = Field(examples=["Jx6QmR3l0c0Z9d2sV5bq8wT1uYk7nE4h"])
    created_at: Time
    expires_at: Time


class AcceptanceRequest(Request):
    """With the token of an offer, who it goes to."""

    token: Token
    customer: Customer


class AcceptanceAnswer(Answer):
    """A voucher that has changed hands, as it did. Its `code` is a new one; the giver's is a wrong code now."""

    transfer: str = Field(examples=["trf_010000000003-7pjh2d4r6tn5xw2y4kc4wz6n"])
    serial: Serial
    code: str = Field(examples=["07ED-CM07-VHGX-MV74"])
    balance_minor: Minor
    currency: Currency
    valid_until: Time | None = Field(default=None, examples=["2027-12-31T23:59:59Z"])
    created_at: Time


class ReturnRequest(Request):
    """Who ends an offer: its giver, named as `customer`, or whoever has its `token`."""

    model_config = exactly_one(("customer",), ("token",))

    customer: Customer | None = Field(default=None, examples=["customer-1001"])
    token: Token | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.customer is None) == (self.token is None):
            raise ValueError("give exactly one of customer and token")
        return self


class ReturnAnswer(Answer):
    """An offer that has ended without a receiver; the voucher is its giver's as before."""

    transfer: str = Field(examples=["trf_010000000003-7pjh2d4r6tn5xw2y4kc4wz6n"])
    serial: Serial
    created_at: Time
