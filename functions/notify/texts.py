"""What the SMS say: one text an event and locale, with its signature block, never with a code or a whole number."""

from __future__ import annotations

from functions.domain.account import masked
from functions.domain.money import MINOR_DIGITS
from functions.domain.reminder import shown
from functions.domain.serials import serial_of
from functions.domain.voucher import Redemption, Standing, Voucher

REDEEMED, REVERSED, RECOVERED = "voucher.redeemed", "voucher.reversed", "voucher.recovered"
EXPIRING = "voucher.expiring"
CREDITED = "credited"
"""A reversal whose value is on the card that replaces the one it was taken from."""

TEXTS: dict[str, dict[str, str]] = {
    "zh-CN": {
        REDEEMED: "【Kami】卡号 {serial} 已为 {account} 核销 {amount}，卡内余额 {balance}。如非本人操作，请联系客服。",
        REVERSED: "【Kami】卡号 {serial} 为 {account} 的核销已撤销，{amount} 已退回卡内，卡内余额 {balance}。",
        CREDITED: "【Kami】卡号 {serial} 为 {account} 的核销已撤销，{amount} 已退回换发的新卡（卡号 {credited}），"
        "新卡余额 {balance}。",
        EXPIRING: "【Kami】您的卡（卡号 {serial}）将于北京时间 {ends} 到期，卡内余额 {balance}，请及时使用。",
    },
    "en": {
        REDEEMED: "【Kami】Card {serial} paid {amount} to {account}; {balance} is left. Not you? Contact support.",
        REVERSED: "【Kami】The use of card {serial} for {account} was reversed: {amount} is back, {balance} is left.",
        CREDITED: "【Kami】The use of card {serial} for {account} was reversed: {amount} is on card {credited}, "
        "which replaces it and has {balance} now.",
        EXPIRING: "【Kami】Your card {serial} with {balance} ends on {ends} (UTC+8). Use it before then.",
    },
}
"""Locale of the campaign → event → text."""
ACTIONS: dict[str, dict[str, str]] = {
    "zh-CN": {
        "reclaim": "【Kami】您的卡（卡号 {serial}）因{reason}已被收回，不能再使用。如有疑问，请凭购买凭证联系客服。",
        "void": "【Kami】您的卡（卡号 {serial}）因{reason}已被收回作废，不能再使用。如有疑问，请凭购买凭证联系客服。",
        "suspend": "【Kami】您的卡（卡号 {serial}）因{reason}暂停使用，卡内余额 {balance} 保留。"
        "恢复后将通知您，如有疑问，请联系客服。",
        "resume": "【Kami】您的卡（卡号 {serial}）已恢复使用，卡内余额 {balance}。",
        "reissue": "【Kami】您的卡（卡号 {serial}）因{reason}已作废，新卡（卡号 {successor}，余额 {balance}）已换发。"
        "请在卡包中查看并使用新卡。",
    },
    "en": {
        "reclaim": "【Kami】Your card {serial} was recalled ({reason}) and cannot be used any more. "
        "Contact support with your proof of purchase.",
        "void": "【Kami】Your card {serial} was recalled ({reason}) and is void. "
        "Contact support with your proof of purchase.",
        "suspend": "【Kami】Your card {serial} is suspended ({reason}); its {balance} stays on it. "
        "We will tell you when it works again. Questions? Contact support.",
        "resume": "【Kami】Your card {serial} works again; {balance} is on it.",
        "reissue": "【Kami】Your card {serial} is void ({reason}). Card {successor} replaces it, with {balance} on it: "
        "look into your wallet and use the new one.",
    },
}
"""Locale → action of a recovery → text: what became of the card, and what to do."""
WHY: dict[str, dict[str, str]] = {
    "zh-CN": {
        "stolen": "失窃",
        "lost": "遗失",
        "unsold": "未售出",
        "campaign_over": "活动结束",
        "printing_error": "印制有误",
        "customer_request": "客户申请",
        "other": "管理需要",
    },
    "en": {
        "stolen": "stolen",
        "lost": "lost",
        "unsold": "not sold",
        "campaign_over": "the campaign is over",
        "printing_error": "printing error",
        "customer_request": "on request",
        "other": "for administrative reasons",
    },
}
"""Locale → reason of a recovery, as part of its text."""


def text(event: str, locale: str, serial: str, redemption: Redemption, currency: str) -> str:
    """The text about a redemption or its reversal."""
    reversal = redemption.reversal if event == REVERSED else None
    after = redemption if reversal is None else reversal
    credited = reversal.credited if reversal is not None else None
    return TEXTS[locale][event if credited is None else CREDITED].format(
        serial=serial,
        credited=serial_of(credited) if credited is not None else "",
        account=masked(redemption.account_number),
        amount=money(redemption.amount_minor, currency, locale),
        balance=money(after.balance_minor, currency, locale),
    )


def recovered(locale: str, action: str, reason: str, voucher: Voucher) -> str:
    """The text about a card that a recovery came to; a new card's code is in its holder's wallet only."""
    reissue = voucher.reissue
    balance_minor = voucher.balance_minor if reissue is None else reissue.amount_minor
    return ACTIONS[locale][action].format(
        serial=voucher.serial,
        reason=WHY[locale].get(reason, WHY[locale]["other"]),
        balance=money(balance_minor, voucher.currency, locale),
        successor=serial_of(reissue.successor) if reissue is not None else "",
    )


def expiring(locale: str, at: Standing) -> str:
    """The text about a card that is about to end."""
    voucher = at.voucher
    assert at.valid_until is not None, "it ends"
    balance = money(voucher.balance_minor, voucher.currency, locale)
    return TEXTS[locale][EXPIRING].format(serial=voucher.serial, ends=shown(at.valid_until), balance=balance)


def money(amount_minor: int, currency: str, locale: str) -> str:
    """An amount as people of the locale write it: `50.00元`, `CNY 50.00`, `JPY 500`."""
    digits = MINOR_DIGITS[currency]
    whole, rest = divmod(amount_minor, 10**digits)
    number = f"{whole}.{rest:0{digits}d}" if digits else str(whole)
    return f"{number}元" if (currency, locale) == ("CNY", "zh-CN") else f"{currency} {number}"
