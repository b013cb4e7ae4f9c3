"""Kinds of message: how long one is of use, how urgent it is, and what the rules of recipients make of it.

A kind is named after its event, and a recovery's after its action too, as what it means to a holder differs so much.
"""

from __future__ import annotations

from typing import NamedTuple

HOUR_S = 3_600
REDEEMED, REVERSED = "voucher.redeemed", "voucher.reversed"
EXPIRING, RECOVERED = "voucher.expiring", "voucher.recovered"
CREDITED = f"{REVERSED}.credited"
"""A reversal whose value is on the card that replaces the one it was taken from."""
EXPIRING_MERGED = "voucher.expiring.merged"
"""Of several cards in one."""


class Kind(NamedTuple):
    """`use_by_s` after its event a message is of no use any more (None: its occasion says when).

    What is not `urgent` waits for the end of quiet hours and, where it `merges`, may become part of another message.
    Limits are counted by `limit_class`. No text of a kind holds a card's code unless it `may_hold_code`.
    """

    use_by_s: int | None
    urgent: bool
    merges: bool
    limit_class: str
    may_hold_code: bool = False


_NOTICE = Kind(72 * HOUR_S, urgent=False, merges=False, limit_class="notices")
_URGENT = _NOTICE._replace(urgent=True)
_REMINDER = Kind(None, urgent=False, merges=True, limit_class="reminders")
_RECEIPT = Kind(24 * HOUR_S, urgent=True, merges=False, limit_class="receipts")

KINDS: dict[str, Kind] = {
    REDEEMED: _RECEIPT,
    REVERSED: _RECEIPT,
    CREDITED: _RECEIPT,
    EXPIRING: _REMINDER,
    EXPIRING_MERGED: _REMINDER,
    f"{RECOVERED}.reclaim": _NOTICE,
    f"{RECOVERED}.void": _URGENT,
    f"{RECOVERED}.suspend": _URGENT,
    f"{RECOVERED}.resume": _NOTICE,
    f"{RECOVERED}.reissue": _URGENT,
}


def kind_of(event: str, action: str | None = None) -> str:
    """The kind of the message about an event: a key of `KINDS`."""
    return event if action is None else f"{event}.{action}"


def rules_of(kind: str) -> Kind:
    """The rules for a kind; a notice's for one that is not known here (any more)."""
    return KINDS.get(kind, _NOTICE)


def use_by(kind: str, at: int, ends: int | None) -> int | None:
    """From when on a message is of no use: some time after its event, or when what it is about ends."""
    lasts_s = KINDS[kind].use_by_s
    return at + lasts_s if lasts_s is not None else ends
