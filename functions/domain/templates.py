"""What the SMS say: versioned templates in Chinese and English, their parameters by type, and how many segments.

A text is a template's, signed, with its parameters put in. What was sent once can be made again from its `TemplateCall`
for as long as the version stays here: to change a text, append a version, and leave the old ones as they are. No type
of parameter lets a card's code or a whole account number through.

Segments follow 3GPP TS 23.038 (alphabets) and TS 23.040 (§9.2.3.24.1, concatenation): 160 septets, or 70 UCS-2 units;
of several parts each holds 153, or 67. China's carriers count 70 and 67 for any text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any, NamedTuple

from functions.domain.account import E164, masked
from functions.domain.kinds import CREDITED, EXPIRING, EXPIRING_MERGED, RECOVERED, REDEEMED, REVERSED, kind_of
from functions.domain.message import TemplateCall
from functions.domain.money import MINOR_DIGITS
from functions.domain.reminder import shown
from functions.domain.serials import position_of, serial_of
from functions.domain.voucher import Redemption, Standing, Voucher

SIGNATURE = "【Kami】"
"""Who writes, as China's rules for SMS want it: in front, in these brackets."""
TEXT_MAX = 500
"""China's carriers take no longer text; it comes to 8 segments."""
REISSUE = "reissue"

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


class Money(NamedTuple):
    """An amount, to be shown as people of a locale write it."""

    amount_minor: int
    currency: str


class Template(NamedTuple):
    """A version of a template: its text, without the signature."""

    version: int
    text: str

    @property
    def params(self) -> list[str]:
        """The parameters it names, in order."""
        return [name for _, name, _, _ in Formatter().parse(self.text) if name is not None]


class Rendered(NamedTuple):
    """A text as it is sent, what it was made from, and how many segments it takes."""

    text: str
    call: TemplateCall
    segments: int


class Segments(NamedTuple):
    """How a text is sent: `units` of its alphabet in so many `parts`."""

    alphabet: str
    units: int
    parts: int


TEMPLATES: dict[tuple[str, str], tuple[Template, ...]] = {
    (REDEEMED, "zh-CN"): (
        Template(1, "卡号 {serial} 已为 {account} 核销 {amount}，卡内余额 {balance}。如非本人操作，请联系客服。"),
    ),
    (REDEEMED, "en"): (
        Template(1, "Card {serial} paid {amount} to {account}; {balance} is left. Not you? Contact support."),
    ),
    (REVERSED, "zh-CN"): (
        Template(1, "卡号 {serial} 为 {account} 的核销已撤销，{amount} 已退回卡内，卡内余额 {balance}。"),
    ),
    (REVERSED, "en"): (
        Template(1, "The use of card {serial} for {account} was reversed: {amount} is back, {balance} is left."),
    ),
    (CREDITED, "zh-CN"): (
        Template(
            1,
            "卡号 {serial} 为 {account} 的核销已撤销，{amount} 已退回换发的新卡（卡号 {credited}），"
            "新卡余额 {balance}。",
        ),
    ),
    (CREDITED, "en"): (
        Template(
            1,
            "The use of card {serial} for {account} was reversed: {amount} is on card {credited}, "
            "which replaces it and has {balance} now.",
        ),
    ),
    (EXPIRING, "zh-CN"): (
        Template(1, "您的卡（卡号 {serial}）将于北京时间 {ends} 到期，卡内余额 {balance}，请及时使用。"),
    ),
    (EXPIRING, "en"): (Template(1, "Your card {serial} with {balance} ends on {ends} (UTC+8). Use it before then."),),
    (EXPIRING_MERGED, "zh-CN"): (
        Template(
            1,
            "您有 {count} 张卡即将到期，最早的一张（卡号 {serial}）将于北京时间 {ends} 到期，"
            "请在卡包中查看并及时使用。",
        ),
    ),
    (EXPIRING_MERGED, "en"): (
        Template(
            1,
            "{count} of your cards end soon, the first, {serial}, on {ends} (UTC+8). "
            "Look into your wallet and use them before then.",
        ),
    ),
    (kind_of(RECOVERED, "reclaim"), "zh-CN"): (
        Template(1, "您的卡（卡号 {serial}）因{reason}已被收回，不能再使用。如有疑问，请凭购买凭证联系客服。"),
    ),
    (kind_of(RECOVERED, "reclaim"), "en"): (
        Template(
            1,
            "Your card {serial} was recalled ({reason}) and cannot be used any more. "
            "Contact support with your proof of purchase.",
        ),
    ),
    (kind_of(RECOVERED, "void"), "zh-CN"): (
        Template(1, "您的卡（卡号 {serial}）因{reason}已被收回作废，不能再使用。如有疑问，请凭购买凭证联系客服。"),
    ),
    (kind_of(RECOVERED, "void"), "en"): (
        Template(
            1, "Your card {serial} was recalled ({reason}) and is void. Contact support with your proof of purchase."
        ),
    ),
    (kind_of(RECOVERED, "suspend"), "zh-CN"): (
        Template(
            1,
            "您的卡（卡号 {serial}）因{reason}暂停使用，卡内余额 {balance} 保留。"
            "恢复后将通知您，如有疑问，请联系客服。",
        ),
    ),
    (kind_of(RECOVERED, "suspend"), "en"): (
        Template(
            1,
            "Your card {serial} is suspended ({reason}); its {balance} stays on it. "
            "We will tell you when it works again. Questions? Contact support.",
        ),
    ),
    (kind_of(RECOVERED, "resume"), "zh-CN"): (Template(1, "您的卡（卡号 {serial}）已恢复使用，卡内余额 {balance}。"),),
    (kind_of(RECOVERED, "resume"), "en"): (Template(1, "Your card {serial} works again; {balance} is on it."),),
    (kind_of(RECOVERED, REISSUE), "zh-CN"): (
        Template(
            1,
            "您的卡（卡号 {serial}）因{reason}已作废，新卡（卡号 {successor}，余额 {balance}）已换发。"
            "请在卡包中查看并使用新卡。",
        ),
    ),
    (kind_of(RECOVERED, REISSUE), "en"): (
        Template(
            1,
            "Your card {serial} is void ({reason}). Card {successor} replaces it, with {balance} on it: "
            "look into your wallet and use the new one.",
        ),
    ),
}
"""(Kind, locale of the campaign) → versions, the last of which is in force."""


def rendered(kind: str, locale: str, values: Mapping[str, Any], recipient: str) -> Rendered:
    """The text of a kind in its version in force, from values of which its template names some.

    Raises ValueError where one is missing or not of its parameter's type, and where the text is too long.
    """
    template = TEMPLATES[kind, locale][-1]
    if missing := set(template.params) - values.keys():
        raise ValueError(f"{kind} lacks {', '.join(sorted(missing))}")
    params = tuple((name, PARAMS[name](values[name], locale)) for name in template.params)
    call = TemplateCall(kind, locale, template.version, params)
    text = text_of(call)
    if len(text) > TEXT_MAX:
        raise ValueError(f"{kind} comes to {len(text)} characters")
    return Rendered(text, call, segments(text, recipient).parts)


def merged_text(locale: str, count: int, serial: str, ends: int, recipient: str) -> Rendered:
    """The text that tells of the ends of so many cards, the first of which it names."""
    return rendered(EXPIRING_MERGED, locale, {"count": count, "serial": serial, "ends": ends}, recipient)


def text_of(call: TemplateCall) -> str:
    """The text of a template that was called once, whichever version was in force then. Raises LookupError."""
    for template in TEMPLATES.get((call.name, call.locale), ()):
        if template.version == call.version:
            return SIGNATURE + template.text.format(**dict(call.params))
    raise LookupError("no such version")


def may_be_sent(call: TemplateCall) -> bool:
    """Whether a text that was made may still go out: not where its kind, or this version of it, was withdrawn since."""
    return any(template.version == call.version for template in TEMPLATES.get((call.name, call.locale), ()))


def of_redemption(event: str, serial: str, redemption: Redemption, currency: str) -> dict[str, Any]:
    """The values for what is told of a redemption or its reversal; `credited` where its value went to another card."""
    reversal = redemption.reversal if event == REVERSED else None
    after = redemption if reversal is None else reversal
    values = {
        "serial": serial,
        "account": redemption.account_number,
        "amount": Money(redemption.amount_minor, currency),
        "balance": Money(after.balance_minor, currency),
    }
    credited = reversal.credited if reversal is not None else None
    return values if credited is None else {**values, "credited": serial_of(credited)}


def of_recovery(reason: str, voucher: Voucher) -> dict[str, Any]:
    """The values for what is told of a recovery; a new card's code is in its holder's wallet only."""
    values = {"serial": voucher.serial, "reason": reason, "balance": Money(voucher.balance_minor, voucher.currency)}
    if (reissue := voucher.reissue) is not None:
        balance = Money(reissue.amount_minor, voucher.currency)
        values |= {"successor": serial_of(reissue.successor), "balance": balance}
    return values


def of_end(at: Standing) -> dict[str, Any]:
    """The values for what is told of a card that is about to end."""
    balance = Money(at.voucher.balance_minor, at.voucher.currency)
    return {"serial": at.voucher.serial, "ends": at.valid_until, "balance": balance}


def money(amount_minor: int, currency: str, locale: str) -> str:
    """An amount as people of the locale write it: `50.00元`, `CNY 50.00`, `JPY 500`."""
    digits = MINOR_DIGITS[currency]
    whole, rest = divmod(amount_minor, 10**digits)
    number = f"{whole}.{rest:0{digits}d}" if digits else str(whole)
    return f"{number}元" if (currency, locale) == ("CNY", "zh-CN") else f"{currency} {number}"


def segments(text: str, recipient: str) -> Segments:
    """How a text goes to a number (E.164)."""
    units = None if recipient.startswith(_CHINA) else _septets(text)
    if units is not None:
        return Segments("GSM 03.38", sum(units), _parts(units, 160, 153))
    wide = [len(char.encode("utf-16-be")) // 2 for char in text]
    return Segments("UCS-2", sum(wide), _parts(wide, 70, 67))


def _parts(units: list[int], alone: int, each: int) -> int:
    """In how many parts characters of so many units go: none of them is split."""
    if sum(units) <= alone:
        return 1
    parts, left = 1, each
    for unit in units:
        if unit > left:
            parts, left = parts + 1, each
        left -= unit
    return parts


def _septets(text: str) -> list[int] | None:
    """How many septets each character takes; None where one is not in the alphabet."""
    units = [1 if char in _BASIC else 2 if char in _EXTENDED else 0 for char in text]
    return units if all(units) else None


_CHINA = "+86"
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The default alphabet (TS 23.038 §6.2.1); the escape is no character of a text."""
_EXTENDED = frozenset("\f^{}\\[~]|€")
"""Its extension table: an escape and a septet each."""


def _serial(value: Any, locale: str) -> str:
    if not isinstance(value, str) or position_of(value) is None:
        raise ValueError("no serial")
    return value


def _money(value: Any, locale: str) -> str:
    if not isinstance(value, Money):
        raise ValueError("no amount")
    return money(value.amount_minor, value.currency, locale)


def _account(value: Any, locale: str) -> str:
    if not isinstance(value, str) or not E164.fullmatch(value):
        raise ValueError("no phone number")
    return masked(value)


def _count(value: Any, locale: str) -> str:
    if not isinstance(value, int) or value < 1:
        raise ValueError("no count")
    return str(value)


def _day(value: Any, locale: str) -> str:
    if not isinstance(value, int):
        raise ValueError("no time")
    return shown(value)


def _reason(value: Any, locale: str) -> str:
    return WHY[locale].get(value, WHY[locale]["other"])


PARAMS: dict[str, Callable[[Any, str], str]] = {
    "serial": _serial,
    "successor": _serial,
    "credited": _serial,
    "account": _account,
    "amount": _money,
    "balance": _money,
    "count": _count,
    "ends": _day,
    "reason": _reason,
}
"""What a template may name → how a value of its type is written in a locale, which raises ValueError for any other."""
