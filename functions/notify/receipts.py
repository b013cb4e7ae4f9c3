"""Take receipts, join them to the attempts they are about, and give up waiting for those that do not come.

The route only checks the provider's proof, and puts one order per receipt on the queue; AWS's topic does so without it.
A receipt may come before its attempt is known by the name that it uses: then it comes back later, so many times. How
often one comes makes no difference. By the clock, every hour, the messages whose receipt is overdue are gone through a
page at a time, each page an order of its own on the queue.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.message import Message, Receipt, Status, attempt_of, with_receipt
from functions.domain.reasons import NO_RECEIPT
from functions.notify import providers
from functions.notify.service import pause
from functions.store import jobs, keys, table
from functions.store.records import MESSAGE, POINTER
from functions.store.table import BATCH_GET_MAX

SMS_RECEIPT_WITHIN_S = "SMS_RECEIPT_WITHIN_S"
UNMATCHED = "receipt_unmatched"
WAITS_S = (2, 10, 60, 300, 900)
"""So long a receipt waits before it looks for its attempt once more."""
RECEIPTS_MAX = 1_000
"""Of one request."""
BY = By("notify", "system", "operator", "receipt", "")


def take(provider: str, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
    """Have the receipts of a request noted, and say what its sender wants to be answered.

    Raises Refusal `not_found`, `invalid_signature`, `invalid_request`.
    """
    if provider not in providers.known():
        raise Refusal("not_found", "There is no such provider.")
    of = providers.named(provider)
    told = of.receipts(headers, query, body)
    if len(told) > RECEIPTS_MAX:
        raise Refusal("invalid_request", f"At most {RECEIPTS_MAX} receipts.")
    jobs.send_receipts(told)
    return of.acknowledgement


def receive(receipt: Receipt, tries: int, now: int) -> Message | None:
    """Note a receipt with its attempt, and see to the next attempt if one follows. None where it has none (yet)."""
    receipt = receipt._replace(reference=receipt.reference or _reference(receipt))
    message = table.read(MESSAGE, keys.message(message_of(receipt.reference))) if receipt.reference else None
    if message is None or attempt_of(message, receipt) is None:
        if tries < len(WAITS_S):
            jobs.send_receipt(receipt, tries + 1, WAITS_S[tries])
        return None
    wait_s = pause(receipt.reason, len(message.attempts))

    def told(current: Message | None) -> Message | None:
        assert current is not None, "no item ever goes away"
        after = with_receipt(current, receipt, now, wait_s)
        return None if after == current else after

    message = table.change(MESSAGE, message, told, "receipt", BY)
    last = message.attempts[-1]
    if message.status is Status.QUEUED and last.outcome is Status.UNDELIVERED:
        jobs.send_message(message.id, len(message.attempts) + 1, delay_s=max(message.due_at - now, 0))
    return message


def is_last(tries: int) -> bool:
    """Whether a receipt that found no attempt is not looked at again."""
    return tries >= len(WAITS_S)


def _reference(receipt: Receipt) -> str | None:
    """Our own name of what a provider tells of by its own."""
    if not receipt.provider_id:
        return None
    pointer = table.read(POINTER, keys.pointer(receipt.provider, receipt.provider_id))
    return pointer.reference if pointer is not None else None


def message_of(reference: str) -> str:
    """The id of the message that a reference of ours is of."""
    return reference.rpartition("-")[0]


def sweep() -> int:
    """Order the first page of each part of what awaits receipts; says how many."""
    parts = range(len(keys.awaiting_of()))
    for part in parts:
        jobs.send_awaiting(part, None)
    return len(parts)


def give_up(part: int, after: str | None, now: int) -> int:
    """Have done with a page of messages whose receipt is overdue, and order the next one, if there may be more.

    Says how many.
    """
    since = now - int(os.environ[SMS_RECEIPT_WITHIN_S])
    entries = table.query(
        keys.awaiting_of()[part],
        limit=BATCH_GET_MAX,
        after=after or keys.awaiting_until(since),
        newest_first=True,
        index="gsi2",
    )
    overdue = [keys.Key(entry["pk"], entry["sk"]) for entry in entries]
    given_up = sum(_given_up(MESSAGE.load(item), since, now) for item in table.get_many(overdue).values())
    if len(entries) == BATCH_GET_MAX:
        jobs.send_awaiting(part, entries[-1]["gsi2sk"])
    return given_up


def _given_up(message: Message, since: int, now: int) -> bool:
    done = False

    def ruled(current: Message | None) -> Message | None:
        nonlocal done
        assert current is not None, "no item ever goes away"
        done = current.awaits_since is not None and current.awaits_since <= since
        return current.ruled(NO_RECEIPT, now) if done else None

    table.change(MESSAGE, message, ruled, "no_receipt", BY)
    return done
