"""Bodies of campaigns, batches, reveals, exports and imports."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from functions.domain.authority import DEFAULTS, Allowance, RecoveryRules
from functions.domain.campaign import BATCH_QUANTITY_MAX, WRONG_CODES_PER_LOT_AND_HOUR_MIN
from functions.domain.codefile import FAULTS, FILE_BYTES_MAX
from functions.domain.formats import FORMATS, LOT_NUMBER_MAX, LOT_SIZE
from functions.domain.lot import WRONG_CODES_PER_LOT_AND_HOUR_MAX
from functions.domain.money import AMOUNT_MINOR_MAX
from functions.domain.reclaim import DAYS_MAX as RECLAIM_DAYS_MAX
from functions.domain.reminder import REMINDER_DAYS_MAX, REMINDERS_MAX
from functions.edge.models import (
    Answer,
    Money,
    MoneyAnswer,
    OneTimeCode,
    Progress,
    Reference,
    Remark,
    Request,
    Serial,
    SerialText,
    Text,
    Time,
    TimeText,
    VoucherStatus,
    end_of_validity,
    exactly_one,
)
from functions.generate.files import is_recipient

REVEALED_MAX = 100
DAYS_MAX = 3_650
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
GROUP_MAX = 10
CLAIMS_MAX = 1_000_000_000
TIERS_MAX = 20
RULES_MAX = 20
PREFIX = r"^[A-HJKMNP-TV-Z][0-9A-HJKMNP-TV-Z]{0,7}$"
"""Of Crockford's symbols, so that it is forgiven like the rest of a code; a letter first, so that no digits are it."""


Kind = Literal["recharge", "data", "coupon", "gift", "stock"]
Redemption = Literal["single", "balance"]
RecoveryRole = Literal["operator", "approver", "partner", "support"]
RecoveryAction = Literal["reclaim", "void", "suspend", "resume", "reissue"]
RecoveryReason = Literal["stolen", "lost", "unsold", "campaign_over", "printing_error", "customer_request", "other"]


class AllowanceRequest(Request):
    """These roles may take these actions for these reasons: up to so much alone, beyond it once another approves.

    What a client has ordered alone of an action counts for a day, however many orders it was.
    """

    roles: list[RecoveryRole] = Field(min_length=1, max_length=4, examples=[["operator"]])
    actions: list[RecoveryAction] = Field(min_length=1, max_length=5, examples=[["reclaim", "void"]])
    reasons: list[RecoveryReason] | None = Field(
        default=None, min_length=1, max_length=7, description="Any where it is absent.", examples=[["stolen", "lost"]]
    )
    vouchers_alone: int | None = Field(
        default=None, ge=0, le=CLAIMS_MAX, description="Without limit where it is absent.", examples=[10_000]
    )
    value_minor_alone: int | None = Field(
        default=None, ge=0, le=AMOUNT_MINOR_MAX, description="In the currency of the campaign.", examples=[50_000_000]
    )
    serials_only: bool = Field(default=False, description="Single serials; no ranges, lots or batches.")

    def allowance(self) -> Allowance:
        """The same, for the domain."""
        return Allowance(
            tuple(self.roles),
            tuple(self.actions),
            tuple(self.reasons or ()),
            self.vouchers_alone,
            self.value_minor_alone,
            self.serials_only,
        )


class CodeRulesRequest(Request):
    """Above so many, a caller also gives a one-time code of its authenticator (RFC 6238); never where it is absent."""

    void_above: int | None = Field(default=None, ge=0, le=CLAIMS_MAX, description="Vouchers voided.", examples=[1_000])
    reveal_above: int | None = Field(
        default=None, ge=0, le=CLAIMS_MAX, description="Codes revealed or exported.", examples=[10]
    )


class RecoveryRulesRequest(Request):
    """Who may recover vouchers of the campaign: the first rule that fits a recovery decides; none fits, it is refused.

    `allow` stands in place of the default rules.
    """

    allow: list[AllowanceRequest] | None = Field(default=None, max_length=RULES_MAX)
    one_time_code: CodeRulesRequest | None = None

    def rules(self) -> RecoveryRules:
        """The same, for the domain."""
        allowances = DEFAULTS if self.allow is None else tuple(each.allowance() for each in self.allow)
        code = self.one_time_code or CodeRulesRequest()
        return RecoveryRules(allowances, code.void_above, code.reveal_above)


class CampaignRequest(Request):
    """The rules of a kind of voucher; give `valid_until` or `valid_days_after_activation`."""

    model_config = exactly_one(("valid_until",), ("valid_days_after_activation",))

    name: Text = Field(examples=["Recharge card CNY 50"])
    kind: Kind
    face_value: Money
    redemption: Redemption = Field(description="Used once and whole, or bit by bit.")
    valid_until: TimeText | None = Field(default=None, description="RFC 3339.", examples=["2027-12-31T23:59:59Z"])
    valid_days_after_activation: int | None = Field(default=None, ge=1, le=DAYS_MAX)
    code_format: str = Field(default="crockford16", json_schema_extra={"enum": list(FORMATS)})
    code_prefix: Annotated[str, StringConstraints(pattern=PREFIX)] | None = Field(
        default=None,
        description="Before each code, and part of it; for formats with letters only.",
        examples=["GZ26"],
    )
    code_group: int | None = Field(
        default=None, ge=0, le=GROUP_MAX, description="Symbols from hyphen to hyphen; 0: no hyphens."
    )
    wrong_codes_per_lot_and_hour: int = Field(
        default=WRONG_CODES_PER_LOT_AND_HOUR_MAX,
        ge=WRONG_CODES_PER_LOT_AND_HOUR_MIN,
        le=WRONG_CODES_PER_LOT_AND_HOUR_MAX,
        description="So many forged codes at a lot of 10,000, and its breaker opens.",
    )
    quantity_max: int | None = Field(
        default=None,
        ge=1,
        le=(LOT_NUMBER_MAX + 1) * LOT_SIZE,
        description="The planned size: so many vouchers may be generated in all.",
        examples=[10_000_000],
    )
    locale: Literal["zh-CN", "en"] = "zh-CN"
    reversal_days: int = Field(default=30, ge=0, le=DAYS_MAX, description="So long may a redemption be reversed.")
    claims_per_customer: int | None = Field(
        default=None, ge=1, le=CLAIMS_MAX, description="So many may a customer claim; any number where it is absent."
    )
    claims_max: int | None = Field(default=None, ge=1, le=CLAIMS_MAX, description="So many may be claimed in all.")
    tiers: list[Reference] | None = Field(
        default=None,
        min_length=1,
        max_length=TIERS_MAX,
        description="The member tiers whose customers may claim; all where it is absent.",
        examples=[["gold", "platinum"]],
    )
    low_stock: int | None = Field(
        default=None, ge=1, le=CLAIMS_MAX, description="An alarm is raised when fewer are left to be drawn."
    )

    reminder_days: list[Annotated[int, Field(ge=1, le=REMINDER_DAYS_MAX)]] | None = Field(
        default=None,
        min_length=1,
        max_length=REMINDERS_MAX,
        description="So many days before the end of a voucher, in the morning, its holder is told; each once.",
        examples=[[7, 1]],
    )
    recovery_rules: RecoveryRulesRequest | None = None
    reclaim_unactivated_after_days: int | None = Field(
        default=None,
        ge=0,
        le=RECLAIM_DAYS_MAX,
        description="So many days after `valid_until` what is not activated is reclaimed; announced a week before.",
        examples=[30],
    )
    sandbox: bool = Field(
        default=False,
        description="For trying things out: only clients of the sandbox can use its vouchers, no SMS leaves, no value.",
    )

    @field_validator("sandbox")
    @classmethod
    def _made_here(cls, sandbox: bool, others: ValidationInfo) -> bool:
        code_format = FORMATS.get(others.data.get("code_format", ""))
        if sandbox and code_format is not None and not code_format.derived:
            raise ValueError("bought codes have a value elsewhere")
        return sandbox

    @field_validator("reminder_days")
    @classmethod
    def _different(cls, reminder_days: list[int] | None) -> list[int] | None:
        if reminder_days is not None and len(set(reminder_days)) < len(reminder_days):
            raise ValueError("the same number of days twice")
        return reminder_days

    @field_validator("code_format")
    @classmethod
    def _existing(cls, code_format: str) -> str:
        if code_format not in FORMATS:
            raise ValueError(f"choose one of {', '.join(FORMATS)}")
        return code_format

    @field_validator("code_prefix")
    @classmethod
    def _fitting(cls, code_prefix: str | None, others: ValidationInfo) -> str | None:
        code_format = FORMATS.get(others.data.get("code_format", ""))
        if code_prefix is not None and code_format is not None and len(code_prefix) > code_format.prefix_max:
            raise ValueError(f"{code_format.name} takes none")
        return code_prefix

    @field_validator("code_group")
    @classmethod
    def _groupable(cls, code_group: int | None, others: ValidationInfo) -> int | None:
        code_format = FORMATS.get(others.data.get("code_format", ""))
        if code_group is not None and code_format is not None and not code_format.derived:
            raise ValueError(f"{code_format.name} takes none")
        return code_group

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.valid_until is None) == (self.valid_days_after_activation is None):
            raise ValueError("give exactly one of valid_until and valid_days_after_activation")
        if self.valid_until is not None:
            self.valid_until_s()
        elif self.reclaim_unactivated_after_days is not None:
            raise ValueError("reclaim_unactivated_after_days counts from valid_until")
        return self

    def valid_until_s(self) -> int | None:
        """The end of validity in epoch seconds."""
        return end_of_validity(self.valid_until) if self.valid_until is not None else None


class AllowanceAnswer(Answer):
    """What these roles may do, and how much of it alone."""

    roles: list[str] = Field(examples=[["operator"]])
    actions: list[str] = Field(examples=[["reclaim", "void"]])
    reasons: list[str] | None = Field(default=None, examples=[["stolen", "lost"]])
    vouchers_alone: int | None = Field(default=None, examples=[10_000])
    value_minor_alone: int | None = Field(default=None, examples=[50_000_000])
    serials_only: bool = Field(examples=[False])


class CodeRulesAnswer(Answer):
    """Above so many, a one-time code is taken."""

    void_above: int | None = Field(default=None, examples=[1_000])
    reveal_above: int | None = Field(default=None, examples=[10])


class RecoveryRulesAnswer(Answer):
    """Who may recover vouchers of the campaign; the first rule that fits decides."""

    allow: list[AllowanceAnswer]
    one_time_code: CodeRulesAnswer | None = None


class ReclaimAnswer(Answer):
    """What is reclaimed after the campaign's end, unless it is stopped: what is not activated."""

    after_days: int = Field(examples=[30])
    status: Literal["scheduled", "announced", "started", "stopped"]
    due_at: Time
    announced_at: Time | None = None
    started_at: Time | None = None
    stopped_at: Time | None = None


class CampaignAnswer(Answer):
    """A campaign. `guess_odds` are the odds that one guess at a voucher's code is right.

    `capacity` is how many vouchers its format can address, for all campaigns together. `expected_hits_a_day` is how
    many guesses a day would be right if each lot of a campaign of `quantity_max` vouchers were under attack around the
    clock: `guess_odds` × lots × `wrong_codes_per_lot_and_hour` × 24.
    """

    id: str = Field(examples=["cmp_n5xw2y4k3q7x2m5c4wz6n7pj"])
    name: str = Field(examples=["Recharge card CNY 50"])
    kind: Kind
    face_value: MoneyAnswer
    redemption: Redemption
    valid_until: Time | None = Field(default=None, examples=["2027-12-31T23:59:59Z"])
    valid_days_after_activation: int | None = None
    code_format: str = Field(json_schema_extra={"enum": list(FORMATS)})
    code_prefix: str | None = None
    code_group: int = Field(examples=[4])
    guess_odds: float = Field(examples=[1.1368683772161603e-13])
    capacity: int = Field(examples=[89_000_000_000])
    quantity_max: int = Field(examples=[10_000_000])
    wrong_codes_per_lot_and_hour: int = Field(examples=[1_000])
    expected_hits_a_day: float = Field(examples=[2.7284841053187848e-06])
    locale: Literal["zh-CN", "en"]
    reversal_days: int = Field(examples=[30])
    claims_per_customer: int | None = None
    claims_max: int | None = None
    tiers: list[str] | None = None
    reminder_days: list[int] | None = Field(default=None, examples=[[7, 1]])
    low_stock: int | None = None
    recovery_rules: RecoveryRulesAnswer
    reclaim: ReclaimAnswer | None = None
    sandbox: bool = Field(examples=[False])
    created_at: Time


class CampaignList(Answer):
    """A page of campaigns."""

    data: list[CampaignAnswer]
    next_cursor: str | None = None


class BatchRequest(Request):
    """How many vouchers."""

    quantity: int = Field(ge=1, le=BATCH_QUANTITY_MAX, examples=[10_000])


class BatchAnswer(Answer):
    """A batch. `counts` by status are exact as of `as_of`, save that the last second's redemptions may be missing.

    They are absent while it is generated, and where too many of its lots are neither all alike nor untouched.
    """

    id: str = Field(examples=["bat_c4wz6n7pjh2d4r6tn5xw2y4k"])
    campaign: str = Field(examples=["cmp_n5xw2y4k3q7x2m5c4wz6n7pj"])
    quantity: int = Field(examples=[10_000])
    first_serial: Serial
    last_serial: Serial = Field(examples=["010000099999"])
    status: Literal["in_progress", "completed"] = Field(examples=["completed"])
    progress: Progress
    counts: dict[str, int] | None = Field(default=None, examples=[{"generated": 10_000}])
    as_of: Time | None = Field(default=None, examples=["2026-11-21T08:00:00Z"])
    created_at: Time


class VoucherLine(Answer):
    """A serial and its effective status."""

    serial: Serial
    status: VoucherStatus


class VoucherList(Answer):
    """A page of a batch; it may be short while `next_cursor` is there."""

    data: list[VoucherLine]
    next_cursor: str | None = None


class RevealRequest(Request):
    """Whose codes, and why; the reason is recorded with who asked."""

    serials: list[SerialText] = Field(min_length=1, max_length=REVEALED_MAX)
    reason: Remark = Field(examples=["Print proof 2026-11"])
    one_time_code: OneTimeCode | None = None


class Revealed(Answer):
    """A serial and its code."""

    serial: Serial
    code: str = Field(examples=["07ED-CM07-VHGX-MV74"])


class RevealList(Answer):
    """The codes, in the order asked for; the reveal is on record under `id`."""

    id: str = Field(examples=["rvl_7pjh2d4r6tn5xw2y4kc4wz6n"])
    data: list[Revealed]


class ExportRequest(Request):
    """Whose key the codes are encrypted to, and how they are written."""

    recipient: Annotated[str, StringConstraints(pattern=r"^age1[02-9ac-hj-np-z]{58}$")] = Field(
        description="An age X25519 public key, as `age-keygen` prints it.", examples=[RECIPIENT]
    )
    format: Literal["csv", "jsonl"] = Field(default="csv", description="CSV with a header, or JSON Lines.")
    qr: bool = Field(default=False, description="Each line with its code's QR image, a PNG as a `data:` URI.")
    one_time_code: OneTimeCode | None = None

    @field_validator("recipient")
    @classmethod
    def _checked(cls, recipient: str) -> str:
        if not is_recipient(recipient):
            raise ValueError("no age public key: its checksum is wrong")
        return recipient


class FileAnswer(Answer):
    """A file of an export, encrypted; `size` in bytes, `sha256` of the file as it is fetched."""

    file: str = Field(examples=["1"])
    first_serial: Serial | None = None
    last_serial: Serial | None = Field(default=None, examples=["010000099999"])
    lines: int | None = Field(default=None, description="Vouchers in it.", examples=[10_000])
    size: int = Field(examples=[330_283])
    sha256: str = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])


class FilesDone(Answer):
    """How far an export is, in files of up to 100 lots."""

    files_done: int = Field(examples=[1])
    files: int = Field(examples=[1])


class ExportAnswer(Answer):
    """An export. `files` grows while it is `in_progress`; the last one is the `manifest`.

    The files can be fetched until `expires_at`, each with a ticket.
    """

    id: str = Field(examples=["exp_z6n7pjh2d4r6tn5xw2y4kc4w"])
    batch: str = Field(examples=["bat_c4wz6n7pjh2d4r6tn5xw2y4k"])
    status: Literal["in_progress", "completed"] = Field(examples=["completed"])
    recipient: str = Field(examples=[RECIPIENT])
    format: Literal["csv", "jsonl"]
    qr: bool = Field(examples=[False])
    quantity: int = Field(examples=[10_000])
    progress: FilesDone
    files: list[FileAnswer]
    created_at: Time
    completed_at: Time | None = None
    expires_at: Time = Field(examples=["2026-11-28T08:00:00Z"])


class TicketAnswer(Answer):
    """A ticket for one file of the export, once; its text, `ticket`, is told only now.

    `GET /v1/exports/{id}/files/{file}?ticket=…` takes no other credentials.
    """

    id: str = Field(examples=["tkt_0c55ad015a3bf4f1b2b0b822"])
    export: str = Field(examples=["exp_z6n7pjh2d4r6tn5xw2y4kc4w"])
    ticket: str = Field(examples=["tkt_0c55ad015a3bf4f1b2b0b822.Jx6QmR3l0c0Z9d2sV5bq8wT1uYk7nE4hA-fG_oLpKiM"])
    expires_at: Time = Field(examples=["2026-11-21T08:15:00Z"])


class ImportRequest(Request):
    """Which campaign the codes are for, of the `code_format` `imported`, and how large their file is."""

    campaign: str = Field(max_length=64, examples=["cmp_n5xw2y4k3q7x2m5c4wz6n7pj"])
    size: int = Field(
        ge=1, le=FILE_BYTES_MAX, description="The file's size in bytes; the upload must have it.", examples=[23_000_009]
    )


class UploadAnswer(Answer):
    """Where the file goes, once, until `expires_at`: send it as the body, with these headers."""

    method: Literal["PUT"] = "PUT"
    url: str = Field(examples=["https://uploads.s3.amazonaws.com/imp_q7x2m5c4wz6n7pjh2d4r6tn5?X-Amz-Signature=…"])
    headers: dict[str, str] = Field(
        examples=[{"Content-Type": "text/csv", "Content-Length": "23000009", "If-None-Match": "*"}]
    )
    expires_at: Time = Field(examples=["2026-11-21T08:15:00Z"])


class LinesDone(Answer):
    """How far an import is, in lines that are not blank; `lines` once the file was read through."""

    lines_done: int = Field(examples=[20_000])
    lines: int | None = Field(default=None, examples=[1_000_000])


class RefusedLine(Answer):
    """A line that was not taken: what is wrong with it, or which line or serial has its code."""

    line: int = Field(description="As an editor counts.", examples=[17])
    reason: Literal["invalid", "duplicate_in_file", "duplicate_in_stock"] = Field(examples=["duplicate_in_stock"])
    detail: str | None = None
    first_line: int | None = Field(default=None, description="The line of the same file that has the code.")
    serial: Serial | None = Field(default=None, description="The voucher in stock that has the code.")


class RefusedLines(Answer):
    """The lines that were not taken so far, counted by reason and one by one."""

    count: int = Field(examples=[1])
    by_reason: dict[str, int] = Field(examples=[{"duplicate_in_stock": 1}])
    data: list[RefusedLine]
    next_cursor: str | None = None


class FaultAnswer(Answer):
    """Why an import failed. Only after `upload_gone` has it a batch, of what had been taken by then."""

    key: str = Field(json_schema_extra={"enum": [*FAULTS, "upload_gone", "quantity_exceeded"]}, examples=["not_utf_8"])
    detail: str = Field(examples=["The file is not UTF-8 text from this line on."])
    line: int | None = Field(default=None, examples=[17])


class ImportAnswer(Answer):
    """An import. `upload` is given while it is `awaiting_upload`, to who ordered it; `batch` once it is completed.

    `lines_done` = `accepted` + `refused.count`.
    """

    id: str = Field(examples=["imp_q7x2m5c4wz6n7pjh2d4r6tn5"])
    campaign: str = Field(examples=["cmp_n5xw2y4k3q7x2m5c4wz6n7pj"])
    size: int = Field(examples=[23_000_009])
    status: Literal["awaiting_upload", "in_progress", "completed", "failed"] = Field(examples=["awaiting_upload"])
    upload: UploadAnswer | None = None
    batch: str | None = Field(default=None, examples=["bat_q7x2m5c4wz6n7pjh2d4r6tn5"])
    progress: LinesDone
    accepted: int = Field(examples=[19_999])
    refused: RefusedLines
    fault: FaultAnswer | None = None
    created_at: Time
    started_at: Time | None = None
    completed_at: Time | None = None
