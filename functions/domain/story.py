"""What happened to a message, told line by line: when, by whom, what, and what follows from it.

A provider's time may lie before ours; what it tells of an attempt stands after the attempt all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from functions.domain.message import Attempt, Message, Status
from functions.domain.reasons import IN_DOUBT, REASONS, Remedy, Words, told

KAMI = "kami"


class Line(NamedTuple):
    """One thing that happened, or is due, at a time (epoch seconds), `by` Kami or a provider."""

    at: int
    by: str
    what: Words
    next_step: Words | None = None


HANDED = Words("已提交给服务商。", "It was handed to the provider.")
ASKED = Words(
    "就同一编号再次询问服务商；确认其未受理过才会再发。",
    "The provider was asked about the same reference; it is sent again only where it was never taken.",
)
TAKEN = Words("服务商已受理。", "The provider took it.")
DELIVERED = Words("运营商回执：已送达手机。", "The receipt says that it reached the phone.")
LOOKED_UP = Words("服务商查询结果：已送达手机。", "The provider, when asked, says that it reached the phone.")
WRITTEN = Words("短信已生成。", "The message was written.")
DUE = Words("下一次尝试的时间。", "The next attempt is due.")
AWAITED = Words("等待送达回执。", "Its receipt is awaited.")
REPLY_AWAITED = Words("等待服务商答复。", "Its reply is awaited.")
ASKED_NEXT = Words(
    "稍后按同一编号向该服务商查询，不会重复发送。",
    "The provider is asked about the same reference later; nobody gets it twice.",
)
UNTRACEABLE = Words(
    "该服务商既不能查询，也不识别重复请求，因此不再自动发送。",
    "This provider can neither be asked nor recognise a repeat, so it is not sent again by itself.",
)
MERGED_HERE = Words("另一条短信并入了本条。", "Another message went into this one.")
HELD_UNTIL = Words("暂缓发送到期后自动发送。", "It goes out when that is over.")
FOLLOWS: dict[Remedy, Words] = {
    Remedy.RETRY: Words("稍后由同一服务商重试。", "It is tried again at the same provider."),
    Remedy.OTHER_PROVIDER: Words("改由其他服务商发送。", "Another provider is asked."),
    Remedy.WAIT: Words("等待一段时间后重试。", "It is tried again after a while."),
    Remedy.STOP: Words("不再重试。", "It is not tried again."),
}
"""What follows from an attempt that was not the last one."""


def story(message: Message) -> list[Line]:
    """What happened to a message, in order."""
    lines = [Line(message.created_at, KAMI, WRITTEN)]
    for place, attempt in enumerate(message.attempts):
        lines += _attempt(message, place, attempt)
    lines += [Line(at, KAMI, _coded(MERGED_HERE, id)) for id, at in message.merged]
    is_held = message.status is Status.HELD
    holds = message.holds[:-1] if is_held else message.holds
    lines += [Line(hold.at, KAMI, REASONS[hold.reason].told.support, HELD_UNTIL) for hold in holds]
    why = message.why
    if message.reason is not None:
        row = REASONS[message.reason].told
        lines.append(Line(message.ruled_at, KAMI, _coded(row.support, message.merged_into), row.next_step))
        if is_held:
            lines.append(Line(message.due_at, KAMI, DUE))
    elif message.is_over and why is not None:
        lines[-1] = lines[-1]._replace(next_step=_last(message, why))
    elif message.status is Status.QUEUED and message.attempts:
        lines.append(Line(message.due_at, KAMI, DUE))
    return sorted(lines, key=lambda line: line.at)


def _attempt(message: Message, place: int, attempt: Attempt) -> Iterator[Line]:
    again = any(before.reference == attempt.reference for before in message.attempts[:place])
    yield Line(attempt.at, KAMI, ASKED if again else HANDED, REPLY_AWAITED if _is(attempt, Status.SENDING) else None)
    if attempt.sent_at is not None:
        awaited = AWAITED if _is(attempt, Status.SENT) else None
        yield Line(max(attempt.sent_at, attempt.at), attempt.provider, _coded(TAKEN, attempt.provider_id), awaited)
    told_at = max(attempt.receipt_at or attempt.sent_at or 0, attempt.at)
    if _is(attempt, Status.DELIVERED):
        what = DELIVERED if attempt.receipt_at is not None else LOOKED_UP
        yield Line(told_at, attempt.provider, _coded(what, attempt.code))
    elif attempt.reason is not None:
        by = KAMI if attempt.is_barred and attempt.code is None else attempt.provider
        what = _coded(REASONS[attempt.reason].told.support, attempt.code)
        yield Line(told_at, by, what, _follows(attempt, again=again))


def _follows(attempt: Attempt, *, again: bool) -> Words:
    remedy = REASONS[attempt.reason or IN_DOUBT].remedy
    goes_on = again and _is(attempt, Status.FAILED) and remedy is not Remedy.STOP and not attempt.is_barred
    if _is(attempt, Status.UNKNOWN) or goes_on:
        return ASKED_NEXT if attempt.traceable else UNTRACEABLE
    return FOLLOWS[remedy]


def _last(message: Message, why: str) -> Words:
    untraceable = why == IN_DOUBT and not message.attempts[-1].traceable
    return UNTRACEABLE if untraceable else told(message.status, why).next_step


def _is(attempt: Attempt, status: Status) -> bool:
    return attempt.outcome is status


def _coded(words: Words, code: str | None) -> Words:
    """A sentence with the provider's own word for it."""
    if code is None:
        return words
    return Words(f"{words.zh.removesuffix('。')}（{code}）。", f"{words.en.removesuffix('.')} ({code}).")
