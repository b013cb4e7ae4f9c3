"""Every refusal Kami can give: one table from its stable key to status and title."""

from __future__ import annotations

from typing import Any, NamedTuple


class Problem(NamedTuple):
    """A row of the table: HTTP status, the title in English and Chinese, and what to do next unless said better."""

    status: int
    en: str
    zh: str
    hint: str = ""


PROBLEMS: dict[str, Problem] = {
    # the request itself
    "invalid_request": Problem(400, "The request is not valid", "请求无效", "See errors for each field that is wrong."),
    "malformed_json": Problem(400, "The body is not valid JSON", "请求体不是有效的 JSON"),
    "invalid_cursor": Problem(400, "The cursor is not valid", "游标无效"),
    "idempotency_key_required": Problem(400, "An Idempotency-Key header is required", "缺少 Idempotency-Key 请求头"),
    "idempotency_key_invalid": Problem(400, "The Idempotency-Key is not valid", "Idempotency-Key 无效"),
    "unsupported_grant_type": Problem(400, "The grant type is not supported", "不支持的授权类型"),
    "invalid_scope": Problem(400, "The scope is not granted to this client", "该客户端没有所请求的权限"),
    "body_too_large": Problem(413, "The body is too large", "请求体过大"),
    "unsupported_media_type": Problem(415, "The content type is not supported", "不支持的内容类型"),
    "idempotency_key_reused": Problem(422, "This Idempotency-Key had another body", "Idempotency-Key 已用于另一请求"),
    "precondition_required": Problem(
        428,
        "An If-Match header is required",
        "缺少 If-Match 请求头",
        "Get what you would change, and send its ETag as If-Match.",
    ),
    "precondition_failed": Problem(412, "It has changed since", "内容已被修改，请重新获取"),
    # who asks
    "invalid_client": Problem(401, "The client is unknown or its secret is wrong", "客户端不存在或密钥错误"),
    "unauthorized": Problem(401, "A valid access token is required", "需要有效的访问令牌"),
    "invalid_signature": Problem(401, "It does not prove that it is the provider's", "签名或凭证无效"),
    "insufficient_scope": Problem(403, "The token does not have the scope for this", "令牌权限不足"),
    "not_found": Problem(
        404,
        "There is no such thing here",
        "资源不存在",
        "Check the address; what exists but is not yours is not found either.",
    ),
    "method_not_allowed": Problem(405, "This method is not allowed here", "不允许使用该方法"),
    # vouchers
    "voucher_not_redeemable": Problem(
        404,
        "This code cannot be redeemed",
        "该卡密不可用",
        "Check the code for typing errors. If it is right, ask where it was bought.",
    ),
    "voucher_expired": Problem(
        410, "This voucher has expired", "该卡密已过期", "Its validity is over; ask where it was bought."
    ),
    "already_redeemed": Problem(
        409,
        "This voucher has been redeemed",
        "该卡密已被使用",
        "Nothing is left on it. To see your own earlier order again, repeat it with its own Idempotency-Key.",
    ),
    "voucher_offered": Problem(
        409,
        "This voucher is being given away",
        "该卡密正在转赠中",
        "Its holder offers it to another customer; a return of that transfer makes it usable again.",
    ),
    "transfer_not_valid": Problem(
        404,
        "This transfer cannot be used",
        "转赠链接无效",
        "Check the link. A transfer is its giver's, and that of whoever has its token.",
    ),
    "transfer_not_possible": Problem(
        409,
        "This voucher cannot be given away",
        "该卡密不可转赠",
        "Its code was made elsewhere and cannot be replaced, so its giver could still use it.",
    ),
    "transfer_over": Problem(409, "This transfer is over", "该转赠已结束"),
    "transfer_limit_reached": Problem(409, "It was given away too many times", "该卡密已达转赠次数上限"),
    "amount_held": Problem(409, "Some of its value is held for another order", "卡内部分金额已被预留"),
    "amount_exceeds_hold": Problem(409, "The amount exceeds what is held", "金额超过预留金额"),
    "hold_captured": Problem(409, "This hold has been captured", "该预留已被核销"),
    "hold_released": Problem(409, "This hold has been released", "该预留已被释放"),
    "hold_expired": Problem(410, "This hold has expired", "该预留已过期"),
    "hold_limit_reached": Problem(409, "It was held too many times", "该卡密已达预留次数上限"),
    "qr_used": Problem(409, "This QR code has been used", "该二维码已使用"),
    "already_reversed": Problem(409, "This redemption has been reversed", "该核销已被撤销"),
    "amount_exceeds_balance": Problem(409, "The amount exceeds the voucher's balance", "金额超过卡内余额"),
    "partial_not_allowed": Problem(409, "This voucher can only be used in full", "该卡密只能一次性使用"),
    "redemption_limit_reached": Problem(409, "It was redeemed too many times", "该卡密已达核销次数上限"),
    "reversal_window_over": Problem(409, "The time to reverse this redemption is over", "已超过可撤销期限"),
    "reversal_not_possible": Problem(
        409,
        "The voucher was reclaimed since",
        "该卡密已被回收，无法撤销",
        "What is given back would be in stock, and not its holder's.",
    ),
    "too_many_attempts": Problem(429, "Too many wrong codes", "错误次数过多，请稍后再试"),
    # stock
    "quantity_exceeded": Problem(409, "The quantity exceeds what can be provided", "数量超出可用范围"),
    "claim_limit_reached": Problem(409, "No more can be claimed", "已达领取上限"),
    "already_claimed": Problem(409, "This voucher has been claimed", "该卡密已被领取"),
    "tier_not_allowed": Problem(403, "This campaign is not for this member tier", "会员等级不符合活动要求"),
    "guessing_too_likely": Problem(422, "The codes would be too likely to be guessed", "卡密被猜中的可能性过高"),
    "wrong_code_format": Problem(
        409,
        "The code format does not allow this",
        "该卡密格式不支持此操作",
        "Codes are either computed by Kami or imported; what was imported can be neither generated nor exported.",
    ),
    "unknown_serials": Problem(422, "Some serials do not exist", "部分卡号不存在"),
    "empty_selection": Problem(422, "The selection holds no voucher", "所选范围内没有卡密"),
    "still_generating": Problem(409, "The batch is still being generated", "批次仍在生成中"),
    "recovery_in_progress": Problem(409, "These vouchers are being recovered", "卡密正在回收中"),
    "recovery_not_allowed": Problem(
        403,
        "The campaign's rules do not allow this recovery",
        "活动规则不允许此回收操作",
        "A campaign's recovery_rules say which roles may take which actions for which reasons.",
    ),
    "one_time_code_required": Problem(403, "This takes a one-time code", "此操作需要动态验证码"),
    "one_time_code_wrong": Problem(403, "The one-time code is wrong or was used", "动态验证码错误或已使用"),
    "reclaim_started": Problem(409, "The reclaim has begun", "到期回收已开始"),
    "own_request": Problem(403, "The requester cannot approve it", "申请人不能审批自己的申请"),
    "already_decided": Problem(409, "This was decided before", "该申请已有审批结果"),
    "approval_expired": Problem(409, "The time to approve it is over", "审批已过期"),
    "request_changed": Problem(
        409, "It is not what you have seen any more", "申请内容已变化", "Get the recovery again, and decide anew."
    ),
    "lot_busy": Problem(409, "Other commands on these vouchers have not finished", "其他操作尚未完成，请稍后再试"),
    # messages
    "resend_not_possible": Problem(409, "Sending it once more would not help", "重发无法解决问题"),
    "resend_limit_reached": Problem(429, "It was resent too many times", "已达重发次数上限"),
    "complaint_closed": Problem(409, "This complaint has its outcome", "该投诉已有处理结果"),
    # imports
    "upload_missing": Problem(409, "The file has not been uploaded", "文件尚未上传"),
    # exports
    "export_in_progress": Problem(409, "The export is not completed yet", "导出尚未完成"),
    "export_expired": Problem(410, "The export has expired", "导出文件已过期"),
    "ticket_not_valid": Problem(
        404,
        "This ticket cannot be used",
        "提取凭证无效",
        "A ticket is good for one file of its export, once and for 15 minutes; ask for another.",
    ),
    # webhooks
    "webhook_limit_reached": Problem(409, "There are as many webhooks as there may be", "webhook 端点数量已达上限"),
    "webhook_disabled": Problem(409, "The webhook is disabled", "webhook 端点已停用"),
    "replay_limit_reached": Problem(409, "It was sent again too many times", "重新投递次数已达上限"),
    # the service
    "try_again": Problem(503, "The service is busy", "系统繁忙，请稍后再试"),
    "internal_error": Problem(
        500, "Something went wrong on our side", "系统错误", "Nothing more can be said here; give us the X-Request-Id."
    ),
}


class Refusal(Exception):  # noqa: N818 - it is no error of ours
    """A command that is refused: `key` names the row of `PROBLEMS`.

    `detail` is for people and must never hold a code, key, secret, token or whole phone number;
    `errors` lists what is wrong field by field; `extra` are further members of the problem document;
    `retry_after_s` becomes the header `Retry-After`; `alarm` is for the log only, and `about` for the record only: what
    was refused, by ids that are no secret.
    """

    def __init__(
        self,
        key: str,
        detail: str = "",
        *,
        errors: list[dict[str, Any]] | None = None,
        extra: dict[str, Any] | None = None,
        retry_after_s: int | None = None,
        alarm: str | None = None,
        about: dict[str, str] | None = None,
    ) -> None:
        super().__init__(key, detail)
        self.key = key
        self.detail = detail
        self.errors = errors
        self.extra = extra or {}
        self.retry_after_s = retry_after_s
        self.alarm = alarm
        self.about = about or {}

    @property
    def problem(self) -> Problem:
        """The row of the table."""
        return PROBLEMS[self.key]
