"""What is known of recipients, how much each was sent, and which messages others of theirs go into."""

from __future__ import annotations

from dataclasses import dataclass

from functions.domain.recipient import Limit, Recipient
from functions.store import keys, table
from functions.store.keys import Key
from functions.store.table import Entity

RECIPIENT: Entity[Recipient] = Entity("recipient", Recipient, key=lambda r: keys.recipient(r.account))


@dataclass(frozen=True, slots=True)
class Merging:
    """That messages to a recipient go into `message` until a time."""

    account: str
    message: str
    until: int
    ttl_epoch_s: int
    version: int = 0


MERGING: Entity[Merging] = Entity("merging", Merging, key=lambda m: keys.merging(m.account))


def find(account: str) -> Recipient | None:
    """The recipient of an account; None where nothing is known of them."""
    return table.read(RECIPIENT, keys.recipient(account))


def counted(limits: list[tuple[str, Limit]], now: int) -> Limit | None:
    """Count one SMS against each limit, or against none; gives the first that is reached.

    A crash in between may leave one counted that was not sent, never one sent that was not counted.
    """
    done: list[Key] = []
    for subject, limit in limits:
        key = keys.sent(subject, limit.window(now))
        if not table.add_below(key, limit.sent_max, limit.ends(now) + limit.window_s):
            for each in done:
                table.take_back(each)
            return limit
        done.append(key)
    return None
