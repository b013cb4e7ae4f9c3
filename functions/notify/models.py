"""What comes from the queue, and bodies of messages."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    field_validator,
    model_validator,
)

from functions.domain.account import E164
from functions.domain.complaint import OUTCOMES
from functions.domain.kinds import KINDS
from functions.domain.message import ATTEMPTS_MAX
from functions.domain.reasons import REASONS
from functions.domain.reminder import SHARDS
from functions.domain.routing import IN_FLIGHT_MAX, Offer, Routes, Row, When
from functions.domain.times import rfc3339
from functions.edge.batch import THREADS_MAX
from functions.edge.models import RFC_3339, Answer, Request, Serial, Text, Time, TimeText
from functions.notify.providers import aws
from functions.store.keys import LIST_SHARDS

Id = Annotated[str, Field(min_length=1, max_length=200)]
EventType = Literal["voucher.redeemed", "voucher.reversed", "voucher.recovered", "voucher.expiring"]


class Taken(BaseModel):
    """What another part of Kami wrote: members that are not needed here may come and go."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class RedemptionOf(Taken):
    """Which redemption an event is about."""

    id: Id


class Data(Taken):
    """What is needed of an event's data; all else is read from the table."""

    serial: Id
    redemption: RedemptionOf | None = None
    action: Literal["reclaim", "void", "suspend", "resume", "reissue"] | None = None
    reason: str | None = Field(default=None, max_length=40)
    generation: int | None = None


class Told(Taken):
    """A domain event, as its rule hands it on (`events/schemas/`)."""

    id: Id
    type: EventType
    version: Literal[1] = Field(alias="schema")
    at: Annotated[str, StringConstraints(pattern=RFC_3339)]
    data: Data

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.data.redemption is None) != (self.type in ("voucher.recovered", "voucher.expiring")):
            raise ValueError("the redemption is missing, or too much")
        if (self.data.action is not None and self.data.reason is not None) != (self.type == "voucher.recovered"):
            raise ValueError("a recovery's action and reason are missing, or too much")
        return self


class Due(Taken):
    """The next attempt at a message, whose order has waited so often for leave to make it."""

    message: Id
    attempt: int = Field(ge=1, le=ATTEMPTS_MAX)
    waits: int = Field(default=0, ge=0)


class Requested(Taken):
    """A message that was ordered by itself: a resend."""

    model_config = ConfigDict(extra="forbid")

    id: Id


class End(Taken):
    """A domain event of a voucher whose end became known."""

    type: Literal["voucher.claimed", "voucher.extended", "voucher.issued"]
    version: Literal[1] = Field(alias="schema")
    at: Annotated[str, StringConstraints(pattern=RFC_3339)]
    data: Data


class Sweep(Taken):
    """What comes by the clock."""

    sweep: Literal["reminders", "receipts", "held"]


class Page(Taken):
    """The next page of a day's reminders."""

    date: Annotated[str, StringConstraints(pattern="^[0-9]{8}$")]
    shard: int = Field(ge=0, lt=SHARDS)
    after: str | None = Field(default=None, max_length=100)


class ReceiptTold(Taken):
    """What a provider told of an SMS: by our reference, or by its own id."""

    provider: str = Field(min_length=1, max_length=40)
    status: Literal["sent", "delivered", "undelivered"]
    at: int = Field(ge=0)
    reference: str | None = Field(default=None, min_length=1, max_length=64)
    provider_id: str | None = Field(default=None, min_length=1, max_length=200)
    reason: str | None = None
    code: str | None = Field(default=None, max_length=200)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.reference is None and self.provider_id is None:
            raise ValueError("it names nothing")
        if (self.reason is not None) != (self.status == "undelivered") or self.reason not in (None, *REASONS):
            raise ValueError("a reason is missing, too much, or none of ours")
        return self


class Received(Taken):
    """A receipt, which has looked for its attempt so often."""

    receipt: ReceiptTold
    tries: int = Field(default=0, ge=0)


class Awaiting(Taken):
    """The next page of the messages whose receipt is overdue."""

    awaiting: int = Field(ge=0, lt=LIST_SHARDS)
    after: str | None = Field(default=None, max_length=100)


class HeldBack(Taken):
    """The next page of the messages that a rule holds."""

    held: int = Field(ge=0, lt=LIST_SHARDS)
    after: str | None = Field(default=None, max_length=100)


Account = Annotated[str, StringConstraints(pattern="^acc_[a-z2-7]{24}$")]


class AccountOf(Taken):
    """Whom an event is about."""

    account: Account


class AccountTold(Taken):
    """That an account was frozen or held for security, or is free again."""

    type: Literal["account.frozen", "account.unfrozen", "account.held", "account.released"]
    version: Literal[1] = Field(alias="schema")
    at: Annotated[str, StringConstraints(pattern=RFC_3339)]
    data: AccountOf


class Replied(Taken):
    """What somebody asked for by SMS."""

    account: Account
    opted_out: bool
    at_ms: int = Field(ge=0)


Order = (
    Told
    | End
    | Due
    | Requested
    | Sweep
    | Page
    | Received
    | Awaiting
    | HeldBack
    | AccountTold
    | Replied
    | aws.Event
    | aws.Answered
)
ORDER: TypeAdapter[Order] = TypeAdapter(Order)
"""The body of a message on notify's queue."""


class Sentence(Answer):
    """In both languages."""

    zh: str = Field(examples=["短信已发出，正在等待运营商的送达回执。"])
    en: str = Field(examples=["The SMS was sent; its delivery is not confirmed yet."])


class AttemptAnswer(Answer):
    """One try at one provider; `unknown`: the provider gave no answer.

    `code` is the provider's own. It has had the SMS since `sent_at`; `receipt_at` is the time of the receipt that tells
    the outcome.
    """

    provider: str = Field(examples=["aws"])
    provider_id: str | None = Field(default=None, examples=["0f5c1d0e-3a0b-4c55-9d3b-6a1c5c1f4a01"])
    at: Time
    sent_at: Time | None = None
    receipt_at: Time | None = None
    code: str | None = Field(default=None, examples=["DELIVRD"])
    outcome: Literal["sending", "sent", "delivered", "undelivered", "failed", "unknown"] = Field(examples=["sent"])
    reason: str | None = Field(default=None, json_schema_extra={"enum": list(REASONS)})


class TemplateAnswer(Answer):
    """What a text was made from."""

    name: str = Field(examples=["voucher.redeemed"])
    locale: str = Field(examples=["zh-CN"])
    version: int = Field(examples=[1])


class StoryLine(Answer):
    """What happened, or is due, at a time, `by` Kami or a provider; and what follows from it."""

    at: Time
    by: str = Field(examples=["aws"])
    what: Sentence
    next_step: Sentence | None = None


MessageStatus = Literal[
    "queued", "held", "sending", "sent", "delivered", "undelivered", "failed", "unknown", "suppressed"
]


class MessageAnswer(Answer):
    """An SMS, with what to say of it to its recipient and to support, and what to do next.

    It is `sent` when a provider has taken it, `delivered` or `undelivered` as its receipt tells, `failed` where none
    took it, and `unknown` where that cannot be found out any more. A rule keeps it back for a while (`held`) or for
    good (`suppressed`), as one that was `merged_into` another. From `use_by` on it is not sent any more. `country`,
    `carrier` (who was given the number first) and `region` are what its number tells.
    A customer's client is told what is for customers.
    """

    id: str = Field(examples=["msg_n5xw2y4k3q7x2m5c4wz6n7pj"])
    status: MessageStatus = Field(examples=["sent"])
    reason: str | None = Field(default=None, json_schema_extra={"enum": list(REASONS)})
    for_customer: Sentence
    for_support: Sentence | None = None
    next_step: Sentence | None = None
    event: EventType
    serial: Serial
    redemption: str | None = Field(default=None, examples=["010000000003-2y4kc4wz6n7pjh2d4r6tn5xw"])
    recipient: str = Field(examples=["+86138****5678"])
    text: str = Field(examples=["【Kami】卡号 010000000003 已为 +86138****5678 核销 50.00元，卡内余额 0.00元。"])
    template: TemplateAnswer | None = None
    segments: int = Field(examples=[1])
    attempts: list[AttemptAnswer] | None = None
    sandbox: bool = Field(examples=[False])
    created_at: Time
    use_by: Time | None = None
    held_until: Time | None = None
    merged_into: str | None = Field(default=None, examples=["msg_k3q7x2m5c4wz6n7pjh2d4r6t"])
    country: str | None = Field(default=None, examples=["CN"])
    carrier: str | None = Field(default=None, examples=["China Mobile"])
    region: str | None = Field(default=None, examples=["Jiangsu"])
    resend_of: str | None = Field(default=None, examples=["msg_n5xw2y4k3q7x2m5c4wz6n7pj"])
    resends: list[str] = Field(examples=[["msg_2y4kc4wz6n7pjh2d4r6tn5xw"]])


class MessageStory(MessageAnswer):
    """An SMS with all that happened to it."""

    story: list[StoryLine] | None = None


class MessageList(Answer):
    """A page of messages; it may be short while `next_cursor` is there."""

    data: list[MessageAnswer]
    next_cursor: str | None = None


Number = Annotated[
    str, StringConstraints(pattern=f"^{E164.pattern.strip('^$')}$"),
    Field(description="The recipient's number; a customer's client must say it.", examples=["+8613812345678"]),
]  # fmt: skip


class OfRecipient(Request):
    """For which recipient a client asks."""

    customer: Number | None = None


class DiagnosisAnswer(Answer):
    """What is known of the message, as it was when somebody complained."""

    status: MessageStatus = Field(examples=["undelivered"])
    reason: str | None = Field(default=None, json_schema_extra={"enum": list(REASONS)})
    attempts: int | None = Field(default=None, examples=[1])
    provider: str | None = Field(default=None, examples=["aws"])
    provider_id: str | None = Field(default=None, examples=["0f5c1d0e-3a0b-4c55-9d3b-6a1c5c1f4a01"])
    code: str | None = Field(default=None, description="The provider's own.", examples=["UNDELIV"])
    told_at: Time
    may_resend: bool = Field(examples=[True])
    for_customer: Sentence
    for_support: Sentence | None = None
    next_step: Sentence | None = None


OutcomeName = Annotated[str, Field(json_schema_extra={"enum": list(OUTCOMES)}, examples=["recipient_side"])]


class OutcomeAnswer(Answer):
    """What people found."""

    outcome: OutcomeName
    what: Sentence
    at: Time


class ComplaintAnswer(Answer):
    """A ticket: "I did not get it". There is one a message."""

    id: str = Field(examples=["cmp_n5xw2y4k3q7x2m5c4wz6n7pj"])
    status: Literal["open", "closed"] = Field(examples=["open"])
    message: str = Field(examples=["msg_n5xw2y4k3q7x2m5c4wz6n7pj"])
    serial: Serial
    created_at: Time
    diagnosis: DiagnosisAnswer
    outcome: OutcomeAnswer | None = None


class ComplaintList(Answer):
    """A page of complaints."""

    data: list[ComplaintAnswer]
    next_cursor: str | None = None


class OutcomeRequest(Request):
    """What a complaint came to."""

    outcome: OutcomeName

    @field_validator("outcome")
    @classmethod
    def _known(cls, outcome: str) -> str:
        if outcome not in OUTCOMES:
            raise ValueError(f"one of {', '.join(OUTCOMES)}")
        return outcome


class StatisticsQuery(Request):
    """Of which hours: from that of `since` up to that of `until`; by default the last 24 hours, this one included."""

    since: TimeText | None = None
    until: TimeText | None = None
    by: str | None = Field(default=None, max_length=100)


class Fared(Answer):
    """How SMS fared. `delivery_rate` is the share that was delivered of what providers took, as far as is known.

    Half of the deliveries (p50), or 95 of 100 (p95), took no longer than so many seconds, from the attempt to what its
    receipt says: exactly up to ten minutes, up to a day to the end of a minute, and above to that of an hour.
    """

    hour: Time | None = Field(default=None, description="In which it began; of attempts the hour in which they were.")
    provider: str | None = Field(default=None, examples=["aws"])
    carrier: str | None = Field(default=None, examples=["China Mobile"])
    region: str | None = Field(default=None, examples=["Guangdong"])
    reason: str | None = Field(default=None, examples=[""])
    template: str | None = Field(default=None, examples=["voucher.redeemed"])
    messages: dict[str, int] = Field(description="By status.", examples=[{"delivered": 98, "sent": 2}])
    attempts: dict[str, int] = Field(description="By outcome.", examples=[{"delivered": 98, "sent": 2}])
    delivery_rate: float | None = Field(default=None, examples=[0.98])
    p50_s: int | None = Field(default=None, examples=[3])
    p95_s: int | None = Field(default=None, examples=[13])


class DeliveriesAnswer(Answer):
    """Counts by what was asked for; an empty value says that nothing is known of it, or that there was none."""

    since: Time
    until: Time
    data: list[Fared]


PhoneText = Annotated[
    str,
    StringConstraints(min_length=5, max_length=32, pattern=r"^[+0-9() .-]+$"),
    Field(description="A phone number; without a country code it is one of China.", examples=["+8613812345678"]),
]
Minute = Annotated[str, StringConstraints(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
LimitClass = Literal["notices", "receipts", "reminders"]


class QuietHours(Request):
    """A time of the day, over midnight where it ends before it begins; none where both are the same."""

    begins: Minute = Field(examples=["22:00"])
    ends: Minute = Field(examples=["08:00"])


class LookupRequest(Request):
    """Whose rules to tell."""

    number: PhoneText


class RecipientRequest(Request):
    """What a recipient wants, as a whole: what is left out is as it is for all. `frozen` and `security_hold`, which are
    not for them to say, stay as they are where they are left out."""

    number: PhoneText
    opted_out: list[LimitClass] = Field(
        default=[], max_length=3, description="The classes of SMS not wanted.", examples=[["reminders"]]
    )
    quiet_hours: QuietHours | None = None
    zone: Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_+/-]{1,64}$")] | None = Field(
        default=None, description="A time zone of the IANA database.", examples=["Asia/Shanghai"]
    )
    frozen: bool | None = None
    security_hold: bool | None = None


class QuietAnswer(Answer):
    """A time of the day in `zone`."""

    begins: str = Field(examples=["22:00"])
    ends: str = Field(examples=["08:00"])


class RecipientAnswer(Answer):
    """What is known of a recipient, and of their number: why it takes no SMS, its country, first carrier and region.

    Quiet hours and zone are those that count for them, whether they are their own or everybody's.
    """

    account: str = Field(examples=["acc_n5xw2y4k3q7x2m5c4wz6n7pj"])
    number: str = Field(examples=["+86138****5678"])
    opted_out: list[str] = Field(examples=[["reminders"]])
    quiet_hours: QuietAnswer | None = None
    zone: str = Field(examples=["Asia/Shanghai"])
    frozen: bool = Field(examples=[False])
    security_hold: bool = Field(examples=[False])
    number_fault: Literal["number_invalid", "landline"] | None = None
    country: str | None = Field(default=None, examples=["CN"])
    carrier: str | None = Field(default=None, examples=["China Mobile"])
    region: str | None = Field(default=None, examples=["Jiangsu"])


class ReceiptsTaken(Answer):
    """What a provider wants to read; without it, it would give the same receipts again."""

    code: Literal[0] | None = Field(default=None, description="Alibaba Cloud")
    msg: str | None = Field(default=None, description="Alibaba Cloud", examples=["OK"])
    result: Literal[0] | None = Field(default=None, description="Tencent Cloud")
    errmsg: str | None = Field(default=None, description="Tencent Cloud", examples=["OK"])


ProviderName = Annotated[str, StringConstraints(max_length=40, pattern="^[a-z]+(:[a-z]+)?$"), Field(examples=["aws"])]
Weight = Annotated[
    int, Field(ge=0, le=1_000, description="Its share among the offers, by `weight`; 0 comes last.", examples=[1])
]
Price = Annotated[
    int, Field(ge=0, le=10**9, description="Of one SMS, in millionths of your currency.", examples=[45_000])
]
Rate = Annotated[
    int, Field(ge=1, le=10_000, description="So many a second at most, of all workers together.", examples=[20])
]
InFlight = Annotated[
    int, Field(ge=1, le=THREADS_MAX, description="So many calls at most that one worker has under way.", examples=[5])
]
Country = Annotated[str, StringConstraints(pattern="^[A-Z]{2}$"), Field(description="ISO 3166-1.", examples=["CN"])]
Carrier = Annotated[Text, Field(description="As numbers tell it, in English.", examples=["China Mobile"])]
Region = Annotated[Text, Field(description="A province or state, in English.", examples=["Guangdong"])]


def _kind(name: str) -> str:
    if name not in KINDS:
        raise ValueError("there is no such kind of message")
    return name


MessageKind = Annotated[str, AfterValidator(_kind), Field(json_schema_extra={"enum": list(KINDS)})]
AskedBy = Annotated[
    Literal["list", "price", "weight"],
    Field(description="As listed, the cheapest first, or by weight.", examples=["list"]),
]


class RouteOffer(Request):
    """A provider, and on what terms it is asked."""

    provider: ProviderName
    weight: Weight = 1
    price_micros: Price = 0
    rate_per_s: Rate | None = None
    in_flight_max: InFlight = IN_FLIGHT_MAX


class RouteWhen(Request):
    """What a row is for; what is left out fits every message."""

    countries: list[Country] = Field(default_factory=list, max_length=250)
    carriers: list[Carrier] = Field(default_factory=list, max_length=50)
    regions: list[Region] = Field(default_factory=list, max_length=50)
    kinds: list[MessageKind] = Field(default_factory=list, max_length=50)


class RouteRow(Request):
    """Who may carry the messages that a row is for, and in which order they are asked."""

    offers: Annotated[list[RouteOffer], Field(min_length=1, max_length=10)]
    by: AskedBy = "list"
    when: RouteWhen = RouteWhen()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({offer.provider for offer in self.offers}) < len(self.offers):
            raise ValueError("a provider is named twice")
        return self

    def row(self) -> Row:
        """As the domain has it."""
        offers = tuple(Offer(**offer.model_dump()) for offer in self.offers)
        return Row(offers, self.by, When(*(tuple(wanted) for wanted in self.when.model_dump().values())))


class RoutesRequest(Request):
    """All routes; the first row that fits a message counts."""

    rows: Annotated[list[RouteRow], Field(min_length=1, max_length=50)]


class RouteOfferAnswer(Answer):
    """A provider, and on what terms it is asked."""

    provider: ProviderName
    weight: Weight
    price_micros: Price
    rate_per_s: Rate | None = None
    in_flight_max: InFlight


class RouteWhenAnswer(Answer):
    """What a row is for; what is left out fits every message."""

    countries: list[Country]
    carriers: list[Carrier]
    regions: list[Region]
    kinds: list[MessageKind]


class RouteRowAnswer(Answer):
    """Who may carry the messages that a row is for, and in which order they are asked."""

    offers: list[RouteOfferAnswer]
    by: AskedBy
    when: RouteWhenAnswer


class RoutesAnswer(Answer):
    """All routes. Version 0, which nobody has set, is what the deployment's settings say."""

    version: int = Field(ge=0, examples=[3])
    changed_at: Time | None = None
    rows: list[RouteRowAnswer]

    @classmethod
    def of(cls, routes: Routes) -> Self:
        """As the domain has it."""
        rows = [
            {
                "offers": [offer._asdict() for offer in row.offers],
                "by": row.by,
                "when": {name: list(wanted) for name, wanted in row.when._asdict().items()},
            }
            for row in routes.rows
        ]
        changed_at = rfc3339(routes.changed_at) if routes.version else None
        return cls.model_validate({"version": routes.version, "changed_at": changed_at, "rows": rows})
