"""Why a message did not arrive, or not yet: what may help, what it comes to, and what people are told.

One row a reason, whoever found it: a provider (its own codes are brought down to these beside its adapter), or Kami
itself. A provider's reason ends a message as `failed` where it would not take the SMS, and as `undelivered` where a
receipt tells it; `ends` is what becomes of a message where nobody but Kami has decided.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

IN_DOUBT = "no_reply"
"""The one reason that leaves open whether an SMS is on its way."""
NO_RECEIPT, EXPIRED, ERASED, SANDBOX = "no_receipt", "expired", "erased", "sandbox"
MERGED = "merged"
NO_ROUTE = "destination_not_served"
REFUSED, TECHNICAL_FAULT = "refused", "technical_fault"
"""Of a code that has no row in its provider's table: a refusal, and a fault of the provider's own."""


class Remedy(StrEnum):
    """What may help after an attempt that failed. `wait`: only time does, and haste is no use."""

    RETRY = "retry"
    OTHER_PROVIDER = "other_provider"
    STOP = "stop"
    WAIT = "wait"


class Words(NamedTuple):
    """A sentence in both languages."""

    zh: str
    en: str


class Told(NamedTuple):
    """What a customer is told, what support is told, and what is to be done next."""

    customer: Words
    support: Words
    next_step: Words


class Reason(NamedTuple):
    """A row of the table."""

    remedy: Remedy
    ends: Literal["held", "failed", "undelivered", "unknown", "suppressed"]
    told: Told


def _told(customer: tuple[str, str], support: tuple[str, str], next_step: tuple[str, str]) -> Told:
    return Told(Words(*customer), Words(*support), Words(*next_step))


REASONS: dict[str, Reason] = {
    # what a provider or its carriers answer
    TECHNICAL_FAULT: Reason(
        Remedy.OTHER_PROVIDER,
        "failed",
        _told(
            ("短信服务出现技术故障，本条短信未能发出。", "A technical fault kept this SMS from being sent."),
            (
                "服务商返回了内部错误，未受理该短信。",
                "The provider answered with a fault of its own and did not take the SMS.",
            ),
            (
                "查看所示服务商的原始代码；故障排除后可重发。",
                "See the provider's own code; resend once the fault is over.",
            ),
        ),
    ),
    "provider_down": Reason(
        Remedy.OTHER_PROVIDER,
        "failed",
        _told(
            ("短信服务商暂时不可用，本条短信未能发出。", "The SMS service was unavailable, so this SMS was not sent."),
            ("无法连接服务商，或服务商自称不可用。", "The provider could not be reached, or said that it is down."),
            (
                "确认服务商恢复后重发；若多条短信如此，请上报。",
                "Resend when the provider is back; report it if many are hit.",
            ),
        ),
    ),
    "carrier_congested": Reason(
        Remedy.RETRY,
        "failed",
        _told(
            ("短信通道繁忙，本条短信未能及时发出。", "The network was too busy to send this SMS in time."),
            (
                "服务商或运营商限流，要求稍后再试。",
                "The provider or carrier is throttling and asks to come back later.",
            ),
            (
                "稍后重发；若持续发生，请提高该服务商的速率配额。",
                "Resend later; if it goes on, have the provider's rate raised.",
            ),
        ),
    ),
    "number_invalid": Reason(
        Remedy.STOP,
        "failed",
        _told(
            (
                "该手机号无效（空号或格式有误），请核对并更新手机号。",
                "This phone number is not valid. Please check and update it.",
            ),
            ("该号码为空号、停机销号或格式有误。", "The number does not exist, is out of service, or is malformed."),
            ("与客户核对手机号，更新后重发。", "Check the number with the customer, correct it, and resend."),
        ),
    ),
    "landline": Reason(
        Remedy.STOP,
        "failed",
        _told(
            (
                "该号码是固定电话，收不到短信，请改用手机号。",
                "This is a landline and takes no SMS. Please give a mobile number.",
            ),
            ("该号码为固定电话或不支持短信的号码。", "The number is a landline, or one that takes no SMS."),
            ("请客户提供手机号，更新后重发。", "Ask the customer for a mobile number, and resend to it."),
        ),
    ),
    "not_reachable": Reason(
        Remedy.WAIT,
        "undelivered",
        _told(
            (
                "手机关机、停机或不在服务区，短信未能送达。请开机并检查信号后再试。",
                "Your phone was off or out of coverage. Switch it on, check the signal, and ask again.",
            ),
            (
                "运营商未能联系到该手机（关机、停机或无信号）。",
                "The carrier could not reach the phone: off, suspended or no signal.",
            ),
            (
                "请客户确认手机可正常收短信，再重发。",
                "Have the customer make sure that the phone receives SMS, then resend.",
            ),
        ),
    ),
    "phone_full": Reason(
        Remedy.WAIT,
        "undelivered",
        _told(
            (
                "手机短信存储已满，短信未能送达。请删除部分短信后再试。",
                "Your phone's SMS storage is full. Delete some and ask again.",
            ),
            ("接收手机的短信存储已满。", "The phone has no room for another SMS."),
            ("请客户清理短信后重发。", "Ask the customer to delete some messages, then resend."),
        ),
    ),
    "blocked": Reason(
        Remedy.STOP,
        "failed",
        _told(
            (
                "您的手机或运营商已拦截本号码的短信。请解除拦截后再试。",
                "Your phone or carrier blocks SMS from us. Lift the block and ask again.",
            ),
            (
                "接收方（手机、运营商或黑名单）拦截了该发送号码。",
                "The recipient, by phone, carrier or blocklist, blocks this sender.",
            ),
            (
                "请客户在手机或运营商处解除拦截，再重发。",
                "Ask the customer to lift the block at the phone or carrier, then resend.",
            ),
        ),
    ),
    "spam_filtered": Reason(
        Remedy.STOP,
        "failed",
        _told(
            (
                "短信被运营商当作垃圾短信拦截，我们正在处理。",
                "Your carrier took this SMS for spam. We are looking into it.",
            ),
            (
                "运营商或服务商的垃圾短信过滤拦截了该短信。",
                "A spam filter of the carrier or the provider stopped the SMS.",
            ),
            (
                "把模板与服务商代码交给服务商申请加白，再重发。",
                "Give the provider its code and the template to have it allowed, then resend.",
            ),
        ),
    ),
    "content_refused": Reason(
        Remedy.STOP,
        "failed",
        _told(
            (
                "本条短信的内容未通过审核，未能发出。您的卡券不受影响。",
                "This SMS's content was not accepted, so it was not sent. Your card is not affected.",
            ),
            (
                "服务商拒绝了签名、模板或内容（未报备、含敏感词或过长）。",
                "The provider refused the signature, template or content: not registered, forbidden or too long.",
            ),
            ("核对模板报备情况，修正后重发。", "Check that the template is registered, correct it, and resend."),
        ),
    ),
    "account_refused": Reason(
        Remedy.OTHER_PROVIDER,
        "failed",
        _told(
            ("短信服务暂时异常，本条短信未能发出。", "The SMS service had a problem, so this SMS was not sent."),
            (
                "我方在该服务商的账户被拒：权限、余额、限额或发送号码。",
                "The provider refused our own account: rights, balance, spending limit or sender.",
            ),
            (
                "请运维检查该服务商账户，处理后重发。",
                "Have operations check the account at this provider, then resend.",
            ),
        ),
    ),
    NO_ROUTE: Reason(
        Remedy.OTHER_PROVIDER,
        "failed",
        _told(
            ("我们的短信暂时无法发送到您所在的国家或地区。", "We cannot send SMS to your country or region yet."),
            ("该服务商不向此国家、地区或运营商发送。", "This provider does not serve that country, region or carrier."),
            (
                "请客户提供其他号码，或为该地区配置服务商。",
                "Ask for another number, or route the region to a provider that serves it.",
            ),
        ),
    ),
    REFUSED: Reason(
        Remedy.STOP,
        "failed",
        _told(
            ("运营商拒收了本条短信，如需帮助请联系客服。", "The carrier refused this SMS. Support can help you."),
            (
                "服务商拒绝了该短信，其代码尚未归类。",
                "The provider refused it with a code that has no reason of ours yet.",
            ),
            (
                "向服务商查询所示原始代码的含义，再决定是否重发。",
                "Ask the provider what the code shown means before you resend.",
            ),
        ),
    ),
    IN_DOUBT: Reason(
        Remedy.RETRY,
        "unknown",
        _told(
            (
                "短信可能已发出，但未得到确认。若未收到，请联系客服重发。",
                "The SMS may have been sent; we have no confirmation. If it did not arrive, ask support to resend it.",
            ),
            (
                "服务商收到请求后没有答复，无法查实是否受理；为免重复，不再自动发送。",
                "The provider gave no reply, and whether it took the SMS cannot be found out; it is not sent again, "
                "so that nobody gets it twice.",
            ),
            ("询问客户是否收到；未收到则重发。", "Ask the customer whether it arrived; if not, resend."),
        ),
    ),
    NO_RECEIPT: Reason(
        Remedy.STOP,
        "unknown",
        _told(
            (
                "短信已交给运营商，但未得到送达回执。若未收到，请联系客服重发。",
                "The SMS was handed over; its delivery was never confirmed. If it did not come, ask for it again.",
            ),
            ("服务商已受理，但在期限内没有送达回执。", "The provider took it, but sent no receipt within the limit."),
            (
                "询问客户是否收到；未收到则重发，并查看该服务商的回执是否正常。",
                "Ask the customer whether it arrived; if not, resend. See if this provider's receipts come at all.",
            ),
        ),
    ),
    # what Kami decides
    "account_frozen": Reason(
        Remedy.WAIT,
        "held",
        _told(
            (
                "您的账户已冻结，短信暂缓发送；解冻后将继续发送。",
                "Your account is frozen; the SMS waits until it is released.",
            ),
            ("收件人账户处于冻结状态，短信暂缓发送。", "The recipient's account is frozen, so the SMS is held."),
            (
                "按冻结原因处理；解冻后自动发送。",
                "See why the account is frozen; the SMS goes out when it is released.",
            ),
        ),
    ),
    "security_hold": Reason(
        Remedy.WAIT,
        "held",
        _told(
            (
                "出于安全考虑，短信暂缓发送，请联系客服核实身份。",
                "The SMS is held for your security. Please contact support.",
            ),
            ("该收件人被安全暂停，短信暂缓发送。", "The recipient is under a security hold, so the SMS is held."),
            (
                "由安全人员核实后解除暂停，短信随即发送。",
                "Have security lift the hold once it is cleared; the SMS then goes out.",
            ),
        ),
    ),
    "quiet_hours": Reason(
        Remedy.WAIT,
        "held",
        _told(
            ("现为免打扰时段，短信将在时段结束后发送。", "It is your quiet time; the SMS comes when it is over."),
            (
                "收件人当地处于免打扰时段，短信暂缓发送。",
                "It is quiet time where the recipient is, so the SMS is held.",
            ),
            ("无需处理；时段结束后自动发送。", "Nothing to do: it goes out when quiet time ends."),
        ),
    ),
    "opted_out": Reason(
        Remedy.STOP,
        "suppressed",
        _told(
            (
                "您已退订此类短信，因此未发送。如需恢复，请重新订阅。",
                "You opted out of these SMS. Opt in again to get them.",
            ),
            ("收件人已退订（在 Kami 或服务商处）。", "The recipient has opted out, here or at the provider."),
            ("仅在客户本人要求时恢复订阅，再重发。", "Only if the customer asks for it: opt in again, then resend."),
        ),
    ),
    MERGED: Reason(
        Remedy.STOP,
        "suppressed",
        _told(
            ("此内容已合并到另一条短信中发送。", "This was told in another SMS, together with other news."),
            ("该短信并入了发给同一收件人的另一条短信。", "It went into another SMS to the same recipient."),
            ("查看所并入的短信。", "Look at the message that it went into."),
        ),
    ),
    "over_limit": Reason(
        Remedy.WAIT,
        "held",
        _told(
            ("短时间内发送的短信过多，本条稍后发送。", "Too many SMS in a short time; this one comes later."),
            (
                "达到该收件人或号段的发送上限（Kami 或运营商）。",
                "A limit for this recipient or destination is reached, ours or the carrier's.",
            ),
            (
                "核实是否为异常流量；窗口过后自动发送。",
                "See whether the traffic is genuine; it goes out when the window is over.",
            ),
        ),
    ),
    "policy_changed": Reason(
        Remedy.STOP,
        "suppressed",
        _told(
            (
                "此类短信已停止发送。您的卡券不受影响。",
                "We do not send this kind of SMS any more. Your card is not affected.",
            ),
            (
                "模板或发送政策已变更，该短信不再允许发送。",
                "The template or the rules for it changed; it may not be sent any more.",
            ),
            ("如仍需通知客户，请使用现行模板。", "If the customer must be told, use the template now in force."),
        ),
    ),
    EXPIRED: Reason(
        Remedy.STOP,
        "failed",
        _told(
            (
                "短信未能在有效时间内发出，现已无需发送。",
                "The SMS could not be sent while it was of use, so it was given up.",
            ),
            ("在该短信的有效时限前未能发出，已放弃。", "It could not be sent before its use-by time and was given up."),
            ("查看各次尝试的原因；仍有必要时重发。", "See why the attempts failed; resend only if it still matters."),
        ),
    ),
    ERASED: Reason(
        Remedy.STOP,
        "failed",
        _told(
            (
                "您的个人信息已按要求删除，因此未再发送。",
                "Your personal data was erased as you asked, so nothing more was sent.",
            ),
            ("收件人的个人信息已删除，号码不再可知。", "The recipient was erased; the number is not known any more."),
            ("无需处理，也无法重发。", "Nothing to do, and nothing to resend."),
        ),
    ),
    SANDBOX: Reason(
        Remedy.STOP,
        "suppressed",
        _told(
            ("这是测试短信，不会真正发送。", "This is a test message; it is not really sent."),
            (
                "沙箱活动的短信只作记录，不交给任何服务商。",
                "Messages of the sandbox are recorded, and given to no provider.",
            ),
            ("无需处理。", "Nothing to do."),
        ),
    ),
}
"""Key → row; in what a customer reads there is never a word about anybody's account with a provider."""

STANDING: dict[str, Told] = {
    "queued": _told(
        ("短信正在等待发送。", "The SMS is waiting to be sent."),
        ("排队中，等待下一次尝试。", "It is queued for its next attempt."),
        ("无需处理；系统会自动发送。", "Nothing to do: it is sent by itself."),
    ),
    "held": _told(
        ("短信暂缓发送，稍后会自动发送。", "The SMS is held for now and goes out by itself later."),
        ("短信按规则暂缓发送。", "A rule holds the SMS back."),
        ("查看暂缓的原因。", "See the reason why it is held."),
    ),
    "sending": _told(
        ("短信正在发送。", "The SMS is being sent."),
        ("已交给服务商，等待其答复。", "It is being handed to a provider, whose reply is awaited."),
        ("稍后再查。", "Look again in a moment."),
    ),
    "sent": _told(
        ("短信已发出，正在等待运营商的送达回执。", "The SMS was sent; its delivery is not confirmed yet."),
        ("服务商已受理，等待送达回执。", "The provider has taken it; its receipt is awaited."),
        ("若客户数分钟后仍未收到，可重发。", "If it has not arrived in some minutes, it can be resent."),
    ),
    "delivered": _told(
        (
            "短信已送达您的手机。若未看到，请检查垃圾短信或拦截记录。",
            "The SMS reached your phone. If you do not see it, look among spam and blocked messages.",
        ),
        ("运营商回执确认已送达手机。", "The carrier's receipt says that it reached the phone."),
        ("请客户查看垃圾短信与拦截记录。", "Ask the customer to look among spam and blocked messages."),
    ),
}
"""Status of a message that nothing is wrong with → what is said of it."""


def markdown() -> str:
    """The table for people: what helps, what becomes of a message where Kami decides, and what its customer reads."""
    rows = [
        f"| `{key}` | `{row.remedy}` | `{row.ends}` | {row.told.customer.zh} {row.told.customer.en} |"
        for key, row in REASONS.items()
    ]
    return "\n".join(["| reason | remedy | ends as | a customer is told |", "| --- | --- | --- | --- |", *rows])


def told(status: str, reason: str | None) -> Told:
    """What is said of a message in this status, for this reason if it has one.

    One that is queued is tried again by itself: its recipient may help where only time does. One that was to go out
    later by its reason, and is over, was given up.
    """
    if reason is None:
        return STANDING[status]
    row = REASONS[reason]
    if status == "queued":
        standing = STANDING[status]
        return row.told._replace(next_step=standing.next_step) if row.remedy is Remedy.WAIT else standing
    return REASONS[EXPIRED].told if row.ends == "held" != status else row.told


if __name__ == "__main__":
    print(markdown())
