"""The rules of recipients: what they want, what is imposed on them, how much they are sent, and what becomes one SMS.

A message is judged before each attempt, unless one in doubt is to be cleared up. What is held has an end, by which an
index finds it: by the clock, every quarter of an hour, what is due until the next time gets its order, delayed to the
second. What merges waits a moment, or for the end of quiet hours, and becomes one with what comes for the same
recipient meanwhile: both are written together, on the condition that the one they go into has not begun.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from typing import Any

from functions.domain.actor import By
from functions.domain.erasure import is_account
from functions.domain.erasure import number as person
from functions.domain.errors import Refusal
from functions.domain.kinds import rules_of
from functions.domain.message import Message, Status
from functions.domain.recipient import (
    AT_HOME,
    CLASSES,
    LIMITS,
    MERGE_WINDOW_S,
    MERGED_MAX,
    PUMPED,
    RECHECK_S,
    Quiet,
    Recipient,
    Ruling,
    Said,
    block,
    opts_out,
    ruling,
)
from functions.domain.templates import may_be_sent, merged_text
from functions.notify import numbers
from functions.store import jobs, keys, persons, recipients, table
from functions.store.recipients import MERGING, RECIPIENT, Merging
from functions.store.records import MESSAGE
from functions.store.table import BATCH_GET_MAX, CONFLICTS_MAX, Conflict

SMS_QUIET_HOURS = "SMS_QUIET_HOURS"
SMS_HOME_COUNTRIES = "SMS_HOME_COUNTRIES"
BY = By("notify", "system", "operator", "queue", "")
AHEAD_S = RECHECK_S + 60
"""So far ahead what is held gets its order: until the clock comes again, and a little longer."""
DAY_S = 86_400


def find(number: str) -> Recipient:
    """What is known of who has a number."""
    account = persons.account_of(person(number))
    return recipients.find(account) or Recipient(account)


def change(number: str, decide: Callable[[Recipient], Recipient], by: By) -> Recipient:
    """Change what is known of who has a number."""
    return _changed(persons.account_of(person(number)), decide, "change_recipient", by)


def _changed(account: str, decide: Callable[[Recipient], Recipient], command: str, by: By) -> Recipient:
    def once(current: Recipient | None) -> Recipient | None:
        before = current or Recipient(account)
        after = decide(before)
        return None if current is not None and after == before else after

    return table.change(RECIPIENT, recipients.find(account), once, command, by)


def account_told(account: str, type: str, at_ms: int) -> Recipient:
    """Note that an account was frozen or held for security, or is free again."""
    name, on = {
        "account.frozen": ("frozen", True),
        "account.unfrozen": ("frozen", False),
        "account.held": ("held", True),
        "account.released": ("held", False),
    }[type]
    return _changed(account, lambda current: current.with_switch(name, on, at_ms), type, BY)


def replies(said: list[Said]) -> list[dict[str, Any]]:
    """The orders that replies come to: by the account, so that no number lies on a queue; others ask for nothing."""
    wanted = [(each, opts_out(each.text)) for each in said]
    return [
        {"opted_out": out, "account": persons.account_of(person(each.number)), "at_ms": each.at * 1000}
        for each, out in wanted
        if out is not None and (numbers.normalised(each.number) == each.number)
    ]


def opted(account: str, out: bool, at_ms: int) -> Recipient:
    """Note that somebody wants no SMS any more, or wants them again."""
    classes = CLASSES if out else ()
    return _changed(account, lambda current: current.asked(classes, at_ms), "reply", BY)


# before an attempt


def judged(message: Message, now: int, *, counts: bool) -> Ruling | None:
    """Why a message may not go out now; None where it may. One that may for the first time is counted.

    Unless it was counted by the same order, which came back.
    """
    if message.doubt or not message.is_of_use(now) or is_account(message.recipient):
        return None
    if message.template is not None and not may_be_sent(message.template):
        return Ruling("policy_changed")
    fault = None if message.attempts else numbers.known(message.recipient).fault
    if fault is not None:
        return Ruling(fault)
    account = persons.account_of(person(message.recipient))
    held = _ruling(message, account, now)
    if held is not None or message.attempts or not counts:
        return held
    kind, home = rules_of(message.kind), os.environ.get(SMS_HOME_COUNTRIES, "").split(",")
    limits = [
        (f"{account}#{kind.limit_class}", LIMITS[kind.limit_class]),
        (block(message.recipient), AT_HOME if message.country in home else PUMPED),
    ]
    reached = recipients.counted(limits, now)
    return Ruling("over_limit", reached.ends(now)) if reached is not None else None


def _ruling(message: Message, account: str, now: int) -> Ruling | None:
    recipient, kind = recipients.find(account), rules_of(message.kind)
    quiet = recipient.quiet if recipient is not None and recipient.quiet is not None else default_quiet()
    if kind.urgent or quiet is None:
        return ruling(recipient, kind, now, None, UTC)
    own = recipient.zone if recipient is not None else None
    zone = numbers.zone(own or numbers.known(message.recipient).zone) or numbers.zone(numbers.ZONE)
    return ruling(recipient, kind, now, quiet, zone or UTC)


def default_quiet() -> Quiet | None:
    """The deployment's quiet hours: `22:00-08:00`."""
    text = os.environ.get(SMS_QUIET_HOURS, "")
    if not text:
        return None
    begins, ends = (minutes(part) for part in text.split("-"))
    return Quiet(begins, ends)


def minutes(text: str) -> int:
    """`22:00` as minutes of the day."""
    hours, _, rest = text.partition(":")
    return int(hours) * 60 + int(rest)


def applied(message: Message, found: Ruling, now: int) -> Message:
    """A message as a rule leaves it: held until a time, or done with."""
    if found.until is None:
        return message.ruled(found.reason, now)
    until = found.until if message.use_by is None else min(found.until, message.use_by)
    return message.held(found.reason, now, max(until, now + 1))


# what is held


def sweep() -> int:
    """Order the first page of each part of what is held; says how many."""
    parts = range(len(keys.held_back_of()))
    for part in parts:
        jobs.send_held(part, None)
    return len(parts)


def release(part: int, after: str | None, now: int) -> int:
    """Give a page of what is held its orders, and order the next one, if there may be more; says how many."""
    until = keys.held_back_until(now + AHEAD_S)
    found = table.query(keys.held_back_of()[part], limit=BATCH_GET_MAX, after=after, index="gsi2")
    entries = [entry for entry in found if entry["gsi2sk"] < until]
    messages = table.get_many(keys.Key(entry["pk"], entry["sk"]) for entry in entries).values()
    held = [message for message in map(MESSAGE.load, messages) if message.status is Status.HELD]
    for message in held:
        jobs.send_message(message.id, len(message.attempts) + 1, delay_s=max(message.due_at - now, 0))
    if len(entries) == BATCH_GET_MAX:
        jobs.send_held(part, entries[-1]["gsi2sk"])
    return len(held)


# what becomes one


def gathered(message: Message, now: int) -> Message | None:
    """A new message, written down after others to its recipient: gone into one of them, or there for others to go into.

    None where it goes its own way at once. Raises Refusal `try_again` where others come for the same recipient.
    """
    account = persons.account_of(person(message.recipient))
    if numbers.known(message.recipient).fault is not None:
        return None
    found = _ruling(message, account, now)
    if found is not None and found.until is None:
        return None
    for _ in range(CONFLICTS_MAX):
        try:
            return _gone(message, account, now) or _leading(message, account, found, now)
        except Conflict:
            if (written := table.read(MESSAGE, keys.message(message.id))) is not None:
                return written
    raise Refusal("try_again", "Others come for the same recipient.", retry_after_s=1)


def _leading(message: Message, account: str, found: Ruling | None, now: int) -> Message:
    """The message, as others to its recipient go into it for a while. Raises Conflict where another one leads."""
    before = table.read(MERGING, keys.merging(account))
    if before is not None and now < before.until and _into_which(before, message, now) is not None:
        raise Conflict(None)
    until = now + MERGE_WINDOW_S
    led = applied(message, found, now) if found is not None else replace(message, due_at=until)
    seen = before.version if before is not None else 0
    until = max(until, led.due_at)
    leads = Merging(account, message.id, until, until + DAY_S, version=seen + 1)
    led = replace(led, version=1)
    table.put_all([(MERGING, leads, seen), (MESSAGE, led, 0)], "merge", BY)
    return led


def _gone(message: Message, account: str, now: int) -> Message | None:
    """The message, told by another one; None where none takes it. Raises Conflict where that one has moved."""
    lead = table.read(MERGING, keys.merging(account))
    into = _into_which(lead, message, now) if lead is not None and now < lead.until else None
    return _into(into, message, now) if into is not None else None


def _into_which(lead: Merging, message: Message, now: int) -> Message | None:
    into = table.read(MESSAGE, keys.message(lead.message))
    return into if into is not None and _takes(into, message, now) else None


def _takes(into: Message, message: Message, now: int) -> bool:
    """Whether a message can still take another one in."""
    waits = into.status in (Status.QUEUED, Status.HELD) and not into.attempts and into.is_of_use(now)
    ours, own = into.template, message.template
    alike = ours is not None and own is not None and ours.locale == own.locale and into.recipient == message.recipient
    alike = alike and into.tenant == message.tenant  # who sees one text is not to read in it of another tenant's cards
    return waits and alike and rules_of(into.kind).merges and len(into.merged) < MERGED_MAX


def _into(into: Message, message: Message, now: int) -> Message:
    """Both as they are written together. Raises Conflict where the other one has moved."""
    gone = replace(message.merged_in(into.id, now), version=1)
    count = len(into.merged) + 2
    first = min(into, message, key=lambda each: (each.use_by or now, each.id))
    assert into.template is not None and first.template is not None and first.use_by is not None
    serial = dict(first.template.params)["serial"]
    text, call, segments = merged_text(into.template.locale, count, serial, first.use_by, into.recipient)
    taken = replace(
        into,
        text=text,
        template=call,
        segments=segments,
        use_by=first.use_by,
        merged=(*into.merged, (message.id, now)),
        version=into.version + 1,
    )
    table.put_all([(MESSAGE, gone, 0), (MESSAGE, taken, into.version)], "message", BY)
    return gone
