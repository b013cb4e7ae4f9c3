"""The one table of routes: gateway, authorization, OpenAPI and documentation are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Key(StrEnum):
    """Whether a route takes an `Idempotency-Key`."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Scope(StrEnum):
    """What a token may be good for (OAuth 2.0 scope values)."""

    CAMPAIGNS = "campaigns"
    CHANNELS = "channels"
    GENERATE = "vouchers:generate"
    SECRETS = "secrets:read"
    DISTRIBUTE = "vouchers:distribute"
    EXTEND = "vouchers:extend"
    CLAIM = "vouchers:claim"
    VERIFY = "vouchers:verify"
    INSPECT = "vouchers:inspect"
    REDEEM = "vouchers:redeem"
    RECONCILIATIONS = "reconciliations"
    RECOVERIES = "recoveries"
    APPROVE = "recoveries:approve"
    MESSAGES = "messages"
    MESSAGES_SUPPORT = "messages:support"
    WEBHOOKS = "webhooks"
    MANAGE_MESSAGES = "messages:manage"
    ERASURES = "erasures"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: `scope` None means open to everyone.

    `success` are the statuses of its good answers, `query` the parameters it takes, and `errors` the keys of the
    problems it can answer beyond those that follow from the rest of the row. What a function answers as a model is JSON
    beside another `media_type`. With `raw_bytes_max` the body may be anything of that length, and the function gets it
    as it came. With `csv` the body may be a file of serial ranges, and these parameters say then what its JSON would,
    and `csv_headers` what no address may hold, for those are logged on the way; it may be longer than other bodies
    where the row says so. What is `versioned` is answered with its `ETag`, and changed only by who sends that as
    `If-Match`.
    """

    method: str
    path: str
    function: str
    operation: str
    scope: Scope | None
    summary: str
    zh: str
    idempotency_key: Key = Key.NONE
    success: tuple[int, ...] = (200,)
    query: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    media_type: str = "application/json"
    csv: tuple[str, ...] | None = None
    csv_headers: tuple[str, ...] = ()
    csv_bytes_max: int | None = None
    raw_bytes_max: int | None = None
    versioned: bool = False

    @property
    def key(self) -> str:
        """The gateway's route key, e.g. `POST /v1/redemptions`."""
        return f"{self.method} {self.path}"

    @property
    def is_watched(self) -> bool:
        """Whether its refusals are on record: who calls it shows a secret that could be guessed, or is a second person
        without whom something must not be done."""
        return "too_many_attempts" in self.errors or self.scope is Scope.APPROVE

    @property
    def takes_a_version(self) -> bool:
        """Whether it changes what its caller must have seen."""
        return self.versioned and self.method == "PUT"


_PAGED = ("limit", "cursor")
_REFUSED = ("voucher_not_redeemable", "voucher_expired", "already_redeemed")
_CODE = (*_REFUSED, "voucher_offered", "too_many_attempts")
_TRANSFER = ("transfer_not_valid", "transfer_over", "too_many_attempts")
_AMOUNT = ("amount_exceeds_balance", "amount_held", "partial_not_allowed", "redemption_limit_reached")
_ONE_TIME_CODE = ("one_time_code_required", "one_time_code_wrong", "too_many_attempts")
_HOLD_ENDED = ("hold_captured", "hold_released", "hold_expired")
_SELECTED = (
    "not_found", "unknown_serials", "empty_selection", "still_generating", "lot_busy", "recovery_in_progress",
)  # fmt: skip

ROUTES: tuple[Route, ...] = (
    # who asks
    Route(
        "POST", "/v1/tokens", "authorize", "create_token", None,
        "Get an access token (OAuth 2.0 client credentials)", "获取访问令牌",
        errors=("invalid_client", "unsupported_grant_type", "invalid_scope"),
    ),
    Route(
        "GET", "/.well-known/jwks.json", "authorize", "get_jwks", None,
        "Get the public keys that verify access tokens", "获取令牌验证公钥",
    ),
    # campaigns and stock
    Route(
        "POST", "/v1/campaigns", "generate", "create_campaign", Scope.CAMPAIGNS,
        "Create a campaign", "创建活动", Key.OPTIONAL, success=(201,),
        errors=("guessing_too_likely", "quantity_exceeded"),
    ),
    Route(
        "GET", "/v1/campaigns", "generate", "list_campaigns", Scope.CAMPAIGNS,
        "List campaigns, newest first", "活动列表", query=_PAGED,
    ),
    Route(
        "GET", "/v1/campaigns/{id}", "generate", "get_campaign", Scope.CAMPAIGNS,
        "Get a campaign", "查询活动",
    ),
    Route(
        "POST", "/v1/campaigns/{id}/reclaim-stops", "generate", "stop_reclaim", Scope.CAMPAIGNS,
        "Stop the reclaim that follows a campaign's end", "停止活动到期回收", errors=("reclaim_started",),
    ),
    Route(
        "POST", "/v1/campaigns/{id}/batches", "generate", "create_batch", Scope.GENERATE,
        "Generate a batch of vouchers", "生成一批卡密", Key.OPTIONAL, success=(201, 202),
        errors=("quantity_exceeded", "guessing_too_likely", "wrong_code_format"),
    ),
    Route(
        "GET", "/v1/batches/{id}", "generate", "get_batch", Scope.GENERATE,
        "Get a batch with its counts by status", "查询批次及各状态数量",
    ),
    Route(
        "GET", "/v1/batches/{id}/vouchers", "generate", "list_batch_vouchers", Scope.GENERATE,
        "List a batch's serials with their effective status", "批次内卡号及状态列表", query=("status", *_PAGED),
    ),
    Route(
        "POST", "/v1/reveals", "generate", "create_reveal", Scope.SECRETS,
        "Reveal the codes of up to 100 serials", "查看卡密（最多 100 个）", errors=("unknown_serials", *_ONE_TIME_CODE),
    ),
    Route(
        "POST", "/v1/imports", "generate", "create_import", Scope.GENERATE,
        "Import codes bought elsewhere: get a link to upload their file to", "导入外购卡密（获取上传链接）",
        Key.REQUIRED, success=(202,), errors=("not_found", "wrong_code_format"),
    ),
    Route(
        "POST", "/v1/imports/{id}/starts", "generate", "start_import", Scope.GENERATE,
        "Have the uploaded file imported", "开始导入已上传的文件", success=(202,), errors=("upload_missing",),
    ),
    Route(
        "GET", "/v1/imports/{id}", "generate", "get_import", Scope.GENERATE,
        "Get an import with its progress and the lines that were refused", "查询导入进度与被拒行", query=_PAGED,
    ),
    # channels and what goes to them
    Route(
        "POST", "/v1/channels", "distribute", "create_channel", Scope.CHANNELS,
        "Create a channel", "创建渠道", Key.OPTIONAL, success=(201,),
    ),
    Route(
        "GET", "/v1/channels", "distribute", "list_channels", Scope.DISTRIBUTE,
        "List channels, newest first", "渠道列表", query=_PAGED,
    ),
    Route(
        "GET", "/v1/channels/{id}", "distribute", "get_channel", Scope.DISTRIBUTE,
        "Get a channel", "查询渠道",
    ),
    Route(
        "GET", "/v1/channels/{id}/stock", "distribute", "get_stock", Scope.DISTRIBUTE,
        "Get what a channel holds: ranges, and counts by status", "查询渠道库存", query=_PAGED,
    ),
    Route(
        "POST", "/v1/distributions", "distribute", "create_distribution", Scope.DISTRIBUTE,
        "Hand vouchers out to a channel, move or return them", "分发、调拨或退回卡密", Key.OPTIONAL, success=(201, 202),
        errors=(*_SELECTED, "quantity_exceeded"), csv=("from", "to"),
    ),
    Route(
        "GET", "/v1/distributions/{id}", "distribute", "get_distribution", Scope.DISTRIBUTE,
        "Get a distribution and its progress", "查询分发进度",
    ),
    Route(
        "POST", "/v1/batches/{id}/exports", "generate", "create_export", Scope.SECRETS,
        "Export a batch's codes, encrypted to a recipient's key", "导出卡密（加密给接收方公钥）", Key.OPTIONAL,
        success=(202,), errors=("still_generating", "quantity_exceeded", "wrong_code_format", *_ONE_TIME_CODE),
    ),
    Route(
        "GET", "/v1/exports/{id}", "generate", "get_export", Scope.SECRETS,
        "Get an export with its progress and files", "查询导出进度与文件",
    ),
    Route(
        "POST", "/v1/exports/{id}/tickets", "generate", "create_ticket", Scope.SECRETS,
        "Get a one-time ticket for a file of an export", "获取一次性提取凭证", success=(201,),
        errors=("export_in_progress", "export_expired"),
    ),
    Route(
        "GET", "/v1/exports/{id}/files/{file}", "generate", "get_file", None,
        "Fetch a file of an export with a ticket", "凭证提取导出文件", success=(303,), query=("ticket",),
        errors=("ticket_not_valid",),
    ),
    Route(
        "POST", "/v1/activations", "distribute", "create_activation", Scope.DISTRIBUTE,
        "Activate a selection of vouchers", "激活卡密", Key.OPTIONAL, success=(201, 202),
        errors=_SELECTED, csv=("price_minor", "currency", "shop"),
    ),
    Route(
        "GET", "/v1/activations/{id}", "distribute", "get_activation", Scope.DISTRIBUTE,
        "Get an activation and its progress", "查询激活进度",
    ),
    Route(
        "POST", "/v1/extensions", "distribute", "create_extension", Scope.EXTEND,
        "Extend the validity of a selection of vouchers", "延长有效期", Key.OPTIONAL, success=(201, 202),
        errors=_SELECTED,
    ),
    Route(
        "GET", "/v1/extensions/{id}", "distribute", "get_extension", Scope.EXTEND,
        "Get an extension and its progress", "查询延期进度",
    ),
    # to buyers and customers
    Route(
        "POST", "/v1/dispenses", "distribute", "create_dispense", Scope.DISTRIBUTE,
        "Hand the next codes of a campaign to a buyer", "发卡：取下一批卡密", Key.REQUIRED, success=(201,),
        errors=("not_found", "quantity_exceeded"),
    ),
    Route(
        "GET", "/v1/dispenses/{id}", "distribute", "get_dispense", Scope.DISTRIBUTE,
        "Get a dispense, without its codes", "查询发卡记录（不含卡密）",
    ),
    Route(
        "POST", "/v1/claims", "distribute", "create_claim", Scope.CLAIM,
        "Claim a voucher for a customer, by its code or from a campaign's stock", "领取卡密", Key.REQUIRED,
        success=(201,),
        errors=(
            *_CODE, "not_found", "quantity_exceeded", "claim_limit_reached", "tier_not_allowed", "already_claimed",
        ),
    ),
    # customers and what they hold
    Route(
        "GET", "/v1/customers/{id}/vouchers", "distribute", "list_customer_vouchers", Scope.CLAIM,
        "List what a customer holds, nearest expiry first", "客户卡包（按到期时间排序）", query=("status", *_PAGED),
    ),
    Route(
        "POST", "/v1/transfers", "distribute", "create_transfer", Scope.CLAIM,
        "Offer a voucher to another customer, by a link's token", "转赠：生成一次性领取凭证", Key.REQUIRED,
        success=(201,),
        errors=(
            "not_found", *_REFUSED, "voucher_offered", "amount_held", "transfer_not_possible", "transfer_limit_reached",
        ),
    ),
    Route(
        "POST", "/v1/transfers/{id}/acceptances", "distribute", "create_acceptance", Scope.CLAIM,
        "Accept an offered voucher with its token", "接受转赠", Key.REQUIRED, success=(201,),
        errors=(*_TRANSFER, *_REFUSED),
    ),
    Route(
        "POST", "/v1/transfers/{id}/returns", "distribute", "create_return", Scope.CLAIM,
        "Withdraw or decline an offered voucher", "撤回或退回转赠", Key.REQUIRED, success=(201,), errors=_TRANSFER,
    ),
    # use
    Route(
        "POST", "/v1/verifications", "verify", "create_verification", Scope.VERIFY,
        "Check a code", "验证卡密", errors=_CODE,
    ),
    Route(
        "GET", "/v1/vouchers/{serial}", "verify", "get_voucher", Scope.INSPECT,
        "Look a voucher up by its serial", "按卡号查询",
    ),
    Route(
        "GET", "/v1/vouchers/{serial}/history", "verify", "get_history", Scope.INSPECT,
        "Get a voucher's history: who did what, when, from where", "查询卡密履历", query=_PAGED,
    ),
    Route(
        "GET", "/v1/vouchers/{serial}/qr", "verify", "get_qr", Scope.CLAIM,
        "Get the QR code that its holder shows at a till, a new one every 30 seconds", "持有人动态二维码",
        query=("customer",), errors=(*_REFUSED, "voucher_offered", "qr_used"),
        media_type="image/svg+xml",
    ),
    Route(
        "POST", "/v1/redemptions", "redeem", "create_redemption", Scope.REDEEM,
        "Redeem a code for an account", "核销卡密", Key.REQUIRED, success=(201,),
        errors=(*_CODE, *_AMOUNT),
    ),
    Route(
        "GET", "/v1/redemptions/{id}", "redeem", "get_redemption", Scope.REDEEM,
        "Get a redemption", "查询核销",
    ),
    Route(
        "POST", "/v1/redemptions/{id}/reversals", "redeem", "create_reversal", Scope.REDEEM,
        "Reverse a redemption", "撤销核销", Key.REQUIRED, success=(201,),
        errors=("already_reversed", "reversal_window_over", "reversal_not_possible"),
    ),
    Route(
        "POST", "/v1/holds", "redeem", "create_hold", Scope.REDEEM,
        "Hold a voucher, or an amount of it, for an order", "预留卡密或部分金额", Key.REQUIRED, success=(201,),
        errors=(*_CODE, *_AMOUNT, "hold_limit_reached"),
    ),
    Route(
        "GET", "/v1/holds/{id}", "redeem", "get_hold", Scope.REDEEM,
        "Get a hold", "查询预留",
    ),
    Route(
        "POST", "/v1/holds/{id}/captures", "redeem", "create_capture", Scope.REDEEM,
        "Redeem all or part of what is held", "核销预留金额", Key.REQUIRED, success=(201,),
        errors=(
            *_HOLD_ENDED, "amount_exceeds_hold", "voucher_not_redeemable", "voucher_offered", "partial_not_allowed",
            "redemption_limit_reached",
        ),
    ),
    Route(
        "POST", "/v1/holds/{id}/releases", "redeem", "create_release", Scope.REDEEM,
        "Release what is held", "释放预留", Key.REQUIRED, success=(201,), errors=_HOLD_ENDED,
    ),
    # recovery
    Route(
        "POST", "/v1/recoveries", "recover", "create_recovery", Scope.RECOVERIES,
        "Recover a selection of vouchers", "回收卡密", Key.OPTIONAL, success=(200, 202), query=("dry_run",),
        errors=(
            "not_found", "unknown_serials", "empty_selection", "still_generating", "recovery_not_allowed",
            "recovery_in_progress", *_ONE_TIME_CODE,
        ),
        csv=("action", "reason", "only", "note", "recovery", "channel"), csv_headers=("One-Time-Code",),
        csv_bytes_max=4_194_304,
    ),
    Route(
        "GET", "/v1/recoveries", "recover", "list_recoveries", Scope.RECOVERIES,
        "List recoveries, newest first", "回收列表", query=_PAGED,
    ),
    Route(
        "GET", "/v1/recoveries/statistics", "recover", "get_recovery_statistics", Scope.RECOVERIES,
        "Compare recoveries by the way that they were ordered, or by channel", "回收统计（按途径或渠道）",
        query=("since", "until", "by"),
    ),
    Route(
        "GET", "/v1/recoveries/{id}/report", "recover", "get_recovery_report", Scope.RECOVERIES,
        "Download what became of all that was selected, as CSV", "下载回收报告（CSV）", query=("cursor",),
        media_type="text/csv",
    ),
    Route(
        "GET", "/v1/recoveries/{id}", "recover", "get_recovery", Scope.RECOVERIES,
        "Get a recovery with what was skipped and why", "查询回收进度与明细", query=_PAGED,
    ),
    Route(
        "POST", "/v1/recoveries/{id}/approvals", "recover", "create_approval", Scope.APPROVE,
        "Approve or reject a recovery that needs a second person", "审批（同意或驳回）回收申请", Key.REQUIRED,
        success=(201,),
        errors=("own_request", "already_decided", "approval_expired", "request_changed"),
    ),
    # ledger
    Route(
        "GET", "/v1/vouchers/{serial}/ledger", "ledger", "get_ledger", Scope.INSPECT,
        "Get a voucher's ledger: each movement of value with the balance after it", "卡密账本：每笔金额变动与余额",
    ),
    Route(
        "POST", "/v1/reconciliations", "ledger", "create_reconciliation", Scope.RECONCILIATIONS,
        "Compare vouchers, redemptions, ledger, history and counts", "对账", Key.OPTIONAL, success=(202,),
        errors=("not_found", "unknown_serials", "empty_selection", "still_generating"),
    ),
    Route(
        "GET", "/v1/reconciliations", "ledger", "list_reconciliations", Scope.RECONCILIATIONS,
        "List reconciliations, newest first", "对账列表", query=_PAGED,
    ),
    Route(
        "GET", "/v1/reconciliations/{id}", "ledger", "get_reconciliation", Scope.RECONCILIATIONS,
        "Get a reconciliation with each difference", "查询对账结果与差异", query=_PAGED,
    ),
    # messages
    Route(
        "GET", "/v1/messages", "notify", "list_messages", Scope.MESSAGES,
        "List the SMS to a phone number, or about a voucher or a redemption, newest first",
        "短信列表（按手机号、卡号或核销）", query=("recipient", "voucher", "redemption", "customer", *_PAGED),
    ),
    Route(
        "GET", "/v1/messages/statistics", "notify", "get_message_statistics", Scope.MESSAGES_SUPPORT,
        "Get how SMS fared: counts, delivery rate and time to deliver", "短信统计（送达率与送达时长）",
        query=("since", "until", "by"),
    ),
    Route(
        "GET", "/v1/messages/{id}", "notify", "get_message", Scope.MESSAGES,
        "Get an SMS with its delivery attempts", "查询短信及发送记录", query=("customer",),
    ),
    Route(
        "POST", "/v1/messages/{id}/resends", "notify", "create_resend", Scope.MESSAGES,
        "Send the same SMS once more", "重发短信", Key.REQUIRED, success=(201,),
        errors=("resend_not_possible", "resend_limit_reached"),
    ),
    Route(
        "POST", "/v1/messages/{id}/complaints", "notify", "create_complaint", Scope.MESSAGES,
        "Say that an SMS did not arrive: a ticket with what is known of it", "投诉未收到短信", success=(201,),
    ),
    Route(
        "GET", "/v1/complaints", "notify", "list_complaints", Scope.MESSAGES_SUPPORT,
        "List complaints, newest first", "投诉列表", query=_PAGED,
    ),
    Route(
        "GET", "/v1/complaints/{id}", "notify", "get_complaint", Scope.MESSAGES,
        "Get a complaint with its diagnosis and outcome", "查询投诉", query=("customer",),
    ),
    Route(
        "POST", "/v1/complaints/{id}/outcomes", "notify", "create_outcome", Scope.MESSAGES_SUPPORT,
        "Say what a complaint came to", "记录投诉处理结果", Key.REQUIRED, success=(201,), errors=("complaint_closed",),
    ),
    Route(
        "POST", "/v1/recipients/lookups", "notify", "look_recipient_up", Scope.MESSAGES_SUPPORT,
        "Look up what keeps SMS to a phone number back, and what the number tells",
        "查询收件人规则（退订、免打扰、冻结）",
    ),
    Route(
        "PUT", "/v1/recipients", "notify", "put_recipient", Scope.MANAGE_MESSAGES,
        "Set what a recipient wants: opt-outs, quiet hours, zone; freeze them, or hold them for security",
        "设置收件人规则：退订、免打扰时段与时区、冻结、安全暂停",
    ),
    Route(
        "POST", "/v1/receipts/{provider}", "notify", "create_receipts", None,
        "Tell what became of SMS, as their provider", "短信服务商状态回执（凭服务商签名）", success=(200, 204),
        query=("reference", "token"), errors=("invalid_signature", "invalid_request"), raw_bytes_max=262_144,
    ),
    # webhooks
    Route(
        "POST", "/v1/webhooks", "webhooks", "create_webhook", Scope.WEBHOOKS,
        "Have events told to an address of yours, signed (Standard Webhooks)", "创建 webhook 端点（签名推送事件）",
        Key.REQUIRED, success=(201,), errors=("webhook_limit_reached",),
    ),
    Route(
        "GET", "/v1/webhooks", "webhooks", "list_webhooks", Scope.WEBHOOKS,
        "List your webhooks, newest first", "webhook 端点列表",
    ),
    Route(
        "GET", "/v1/webhooks/{id}", "webhooks", "get_webhook", Scope.WEBHOOKS,
        "Get a webhook and how it does", "查询 webhook 端点及其状态",
    ),
    Route(
        "DELETE", "/v1/webhooks/{id}", "webhooks", "delete_webhook", Scope.WEBHOOKS,
        "Delete a webhook", "删除 webhook 端点", success=(204,),
    ),
    Route(
        "POST", "/v1/webhooks/{id}/rotations", "webhooks", "create_rotation", Scope.WEBHOOKS,
        "Get a new secret, beside which the old one is good for a while", "轮换 webhook 密钥（新旧并行一段时间）",
        Key.REQUIRED, success=(201,),
    ),
    Route(
        "POST", "/v1/webhooks/{id}/tests", "webhooks", "create_test", Scope.WEBHOOKS,
        "Send a test to a webhook; success enables it again", "发送测试事件（成功则重新启用）",
        Key.REQUIRED, success=(201,),
    ),
    Route(
        "GET", "/v1/webhooks/{id}/deliveries", "webhooks", "list_deliveries", Scope.WEBHOOKS,
        "List what was sent to a webhook, with each attempt, newest first", "webhook 投递记录（含每次尝试）",
        query=_PAGED,
    ),
    Route(
        "POST", "/v1/webhooks/{id}/deliveries/{delivery}/replays", "webhooks", "create_replay", Scope.WEBHOOKS,
        "Send a delivery again, under the same webhook-id", "重新投递（webhook-id 不变）",
        Key.REQUIRED, success=(202,), errors=("webhook_disabled", "replay_limit_reached"),
    ),
    Route(
        "GET", "/v1/routes", "notify", "get_routes", Scope.MANAGE_MESSAGES,
        "Get which providers carry which messages", "查询短信路由", versioned=True,
    ),
    Route(
        "PUT", "/v1/routes", "notify", "put_routes", Scope.MANAGE_MESSAGES,
        "Set which providers carry which messages", "设置短信路由", versioned=True,
        errors=("precondition_required", "precondition_failed"),
    ),
    # persons
    Route(
        "POST", "/v1/erasures", "erase", "create_erasure", Scope.ERASURES,
        "Erase a person: their number or name gives way to an account's id", "删除个人信息（以账户标识替换）",
        Key.REQUIRED, success=(202,),
    ),
    Route(
        "GET", "/v1/erasures/{id}", "erase", "get_erasure", Scope.ERASURES,
        "Get an erasure and what it has found", "查询个人信息删除进度",
    ),
    # the record
    Route(
        "GET", "/v1/audit", "audit", "list_entries", Scope.AUDIT,
        "List what is on record, newest first: of a card, of a client, or of all", "审计记录（按卡号、操作者或时间）",
        query=("serial", "actor", "from", "to", *_PAGED),
    ),
    Route(
        "GET", "/v1/audit/checkpoints", "audit", "list_checkpoints", Scope.AUDIT,
        "List the record's signed checkpoints, newest first", "审计检查点列表", query=_PAGED,
    ),
    Route(
        "POST", "/v1/audit/exports", "audit", "create_audit_export", Scope.AUDIT,
        "Export the record, to be verified off-line", "导出审计记录（可离线验证）", Key.OPTIONAL, success=(202,),
    ),
    Route(
        "GET", "/v1/audit/exports/{id}", "audit", "get_audit_export", Scope.AUDIT,
        "Get an export of the record", "查询审计导出",
    ),
    Route(
        "GET", "/v1/audit/exports/{id}/file", "audit", "get_audit_export_file", Scope.AUDIT,
        "Fetch the file of an export of the record: a link that works for a minute", "下载审计导出文件",
        success=(303,), errors=("export_in_progress", "export_expired"),
    ),
    # about
    Route(
        "GET", "/v1/openapi.json", "console", "get_openapi", None,
        "Get this API as OpenAPI 3.1", "OpenAPI 3.1 文档", success=(200, 304),
    ),
    Route(
        "GET", "/docs", "console", "get_docs", None,
        "Read the API's documentation", "接口文档", success=(200, 304), media_type="text/html",
    ),
    Route(
        "GET", "/", "console", "get_home", None,
        "What this is and where to go", "首页", success=(200, 304), media_type="text/html",
    ),
)  # fmt: skip


def of(function: str) -> dict[str, Route]:
    """The routes of one function by gateway route key."""
    return {route.key: route for route in ROUTES if route.function == function}
