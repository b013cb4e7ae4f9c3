"""Receipts: what providers tell later of the SMS they took, brought to the message that each is about.

The route only checks the provider's proof and puts one order per receipt on the queue. The worker that carries it out
finds the attempt by our reference, or by what was noted of the provider's id. A receipt that overtakes the reply to its
own sending finds the attempt open, which is as good; or nothing noted yet: then it comes back, some times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.domain.errors import Refusal
from functions.domain.message import Message, Receipt, Status, attempt_of, with_receipt
from functions.notify import providers, service
from functions.notify.models import RECEIPT_TRIES_MAX
from functions.store import jobs, keys, sent, table
from functions.store.records import MESSAGE

TRY_AGAIN_S = 5
"""The first wait of a receipt that is too early; each further one is twice as long: 10 minutes in all."""
RECEIPTS_MAX = 1_000
"""Of one request."""
UNMATCHED, TOO_EARLY = "receipt_unmatched", "too early"


def take(provider: str, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
    """Have the receipts of a request carried out, and say what its sender wants to be answered.

    Raises Refusal `not_found`, `invalid_signature`, `invalid_request`.
    """
    if provider not in providers.known():
        raise Refusal("not_found", "There is no such provider.")
    of = providers.named(provider)
    told = of.receipts(headers, query, body)
    if len(told) > RECEIPTS_MAX:
        raise Refusal("invalid_request", f"At most {RECEIPTS_MAX} receipts.")
    jobs.send_orders([_order(receipt, 0) for receipt in told])
    return of.acknowledgement


def join(receipt: Receipt, tries: int, now: int) -> str:
    """Bring a receipt to its message; says what became of it: a status, or that there is no message for it (yet)."""
    reference = receipt.reference or sent.reference_of(receipt.provider, receipt.provider_id or "")
    if reference is None:
        if tries + 1 >= RECEIPT_TRIES_MAX:
            return UNMATCHED
        jobs.send_receipt(_order(receipt, tries + 1), TRY_AGAIN_S * 2**tries)
        return TOO_EARLY
    about = receipt._replace(reference=reference)
    message = table.read(MESSAGE, keys.message(reference.rpartition("-")[0]))
    if message is None or attempt_of(message, about) is None:
        return UNMATCHED
    message = table.change(
        MESSAGE, message, lambda current: _told(current or message, about, now), "receipt", service.BY
    )
    made = len(message.attempts)
    if message.status is Status.QUEUED and attempt_of(message, about) == made - 1:
        jobs.send_message(message.id, made + 1, delay_s=max(message.due_at - now, 0))
    return message.status.value


def _told(message: Message, receipt: Receipt, now: int) -> Message | None:
    after = with_receipt(message, receipt, now, service.pause(receipt.reason, len(message.attempts)))
    return after if after != message else None


def _order(receipt: Receipt, tries: int) -> dict[str, Any]:
    return {"receipt": {name: value for name, value in receipt._asdict().items() if value is not None}, "tries": tries}
