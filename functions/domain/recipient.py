"""Recipients (收件人): what one has asked for, and what keeps an SMS to them back; limits, and what a reply asks for.

A recipient is known by the account's id (`domain/erasure.py`), never by number. What comes about one comes late,
repeatedly and in any order: each switch keeps the time of the word that set it, and an older word changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple

from functions.domain.kinds import KINDS, Kind

CLASSES: Final = tuple(sorted({kind.limit_class for kind in KINDS.values()}))
"""What one may opt out of."""
HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S
DAY_MIN: Final = 24 * 60
RECHECK_S: Final = 900
"""What an account or a security hold keeps back is looked at again so often."""
MERGE_WINDOW_S: Final = 300
"""What merges waits so long for others of its recipient."""
MERGED_MAX: Final = 50
"""So many go into one."""


class Switch(NamedTuple):
    """Something that is on or off by a word of a time (epoch milliseconds); of two words of one time it is on."""

    on: bool = False
    at_ms: int = 0

    def told(self, on: bool, at_ms: int) -> Switch:
        """The switch after a word about it."""
        return max(self, Switch(on, at_ms), key=lambda word: (word.at_ms, word.on))

    def turned(self, on: bool | None, at_ms: int) -> Switch:
        """The switch as who sees it has it now (None: as it is); what was told before is older, whatever its time."""
        return self if on is None else self.told(on, at_ms if on is self.on else max(at_ms, self.at_ms + 1))


_OFF = Switch()


class Quiet(NamedTuple):
    """Quiet hours: minutes of the day, `until` excluded; over midnight where they end before they begin."""

    from_min: int
    until_min: int

    def ends(self, now: int, zone: tzinfo) -> int | None:
        """When the quiet hours that a moment lies in are over (epoch seconds); None where it lies in none.

        A time that clocks skip or repeat is taken as they show it first.
        """
        here = datetime.fromtimestamp(now, zone)
        minute = here.hour * 60 + here.minute
        if not (minute - self.from_min) % DAY_MIN < (self.until_min - self.from_min) % DAY_MIN:
            return None
        day = here.date() + timedelta(days=1 if minute >= self.until_min else 0)
        end = datetime.combine(day, time(self.until_min // 60, self.until_min % 60), zone)
        return max(int(end.astimezone(UTC).timestamp()), now + 1)


class Limit(NamedTuple):
    """So many SMS in a window of so many seconds (windows start at multiples of their length)."""

    sent_max: int
    window_s: int

    def window(self, now: int) -> int:
        """The number of the window that a moment lies in."""
        return now // self.window_s

    def ends(self, now: int) -> int:
        """When that window is over."""
        return (self.window(now) + 1) * self.window_s


LIMITS: Final[dict[str, Limit]] = {
    "receipts": Limit(60, HOUR_S),
    "notices": Limit(60, DAY_S),
    "reminders": Limit(20, DAY_S),
}
"""Class of a kind → what one recipient is sent of it at most."""
BLOCK_DIGITS: Final = 4
"""Numbers that differ in the last so many digits are one destination: who pumps SMS rents such blocks."""
PUMPED: Final = Limit(200, HOUR_S)
AT_HOME: Final = Limit(20_000, HOUR_S)
"""What one block abroad, and at home, is sent at most; at home it is twice for each of its numbers in an hour."""


def block(number: str) -> str:
    """The destination prefix that a number (E.164) is counted with."""
    return number[:-BLOCK_DIGITS]


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom SMS go to, as the rules know them. `quiet` and `zone` are their own; None: the deployment's, the number's.

    `opted` is the last word about what they have `opted_out` of.
    """

    account: str
    opted_out: tuple[str, ...] = ()
    opted_at_ms: int = 0
    quiet: Quiet | None = None
    zone: str | None = None
    frozen: Switch = _OFF
    held: Switch = _OFF
    version: int = 0

    def asked(self, opted_out: Iterable[str], at_ms: int) -> Recipient:
        """The recipient after they have said what they want no SMS of; an older word than the last changes nothing."""
        if at_ms < self.opted_at_ms:
            return self
        return replace(self, opted_out=tuple(sorted(opted_out)), opted_at_ms=at_ms)

    def with_switch(self, name: str, on: bool, at_ms: int) -> Recipient:
        """The recipient after a word about `frozen` or `held`."""
        if name == "frozen":
            return replace(self, frozen=self.frozen.told(on, at_ms))
        return replace(self, held=self.held.told(on, at_ms))


class Ruling(NamedTuple):
    """Why an SMS does not go out now, and until when (None: for good, or until that is looked at again)."""

    reason: str
    until: int | None = None


def ruling(recipient: Recipient | None, kind: Kind, now: int, quiet: Quiet | None, zone: tzinfo) -> Ruling | None:
    """What a recipient's own rules say to an SMS of a kind now; `quiet` and `zone` are what counts for them.

    What they asked for stands before what was imposed on them: an SMS that they do not want is not kept for later.
    """
    if recipient is not None:
        if kind.limit_class in recipient.opted_out:
            return Ruling("opted_out")
        for is_on, reason in ((recipient.held.on, "security_hold"), (recipient.frozen.on, "account_frozen")):
            if is_on:
                return Ruling(reason, now + RECHECK_S)
    ends = quiet.ends(now, zone) if quiet is not None and not kind.urgent else None
    return Ruling("quiet_hours", ends) if ends is not None else None


WORDS: Final[dict[str, bool]] = {
    **dict.fromkeys(("STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"), True),
    **dict.fromkeys(("TD", "T", "退订", "拒收", "取消订阅"), True),
    **dict.fromkeys(("START", "UNSTOP", "SUBSCRIBE", "订阅", "恢复订阅"), False),
}
"""What a reply says, in capitals → whether it opts out: the words of Twilio and AWS, and what is usual in China."""
_AROUND: Final = re.compile(r"^[\W_]+|[\W_]+$")


def opts_out(text: str) -> bool | None:
    """Whether a reply opts out of all SMS (True) or in again (False); None: it is about something else."""
    return WORDS.get(" ".join(_AROUND.sub("", text).upper().split()))


class Said(NamedTuple):
    """What somebody answered by SMS, and when (epoch seconds)."""

    provider: str
    number: str
    text: str
    at: int
