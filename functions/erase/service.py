"""Erase: take a person out of all that names them, page by page, until a pass finds nothing left.

What a page holds is counted before it is changed. A repeat of a page finds nothing to change in what was done, and a
write that another one precedes is decided anew on what that left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from functions.domain.actor import By
from functions.domain.erasure import END, Eraser, Erasure, Phase, customer, number
from functions.domain.errors import Refusal
from functions.domain.ids import derived, fingerprint, refuse_reuse
from functions.domain.message import Message
from functions.domain.recipient import Recipient
from functions.domain.voucher import Voucher
from functions.store import keys, persons, recipients, table
from functions.store.entities import VOUCHER
from functions.store.keys import Key
from functions.store.persons import ERASURE
from functions.store.recipients import RECIPIENT
from functions.store.records import MESSAGE
from functions.store.table import BATCH_GET_MAX, Entity

KIND = "erase"

T = TypeVar("T", Voucher, Message, Recipient)


class Todo(NamedTuple):
    """Things of a page that name the person, by their kind, and the place of the page's end.

    The rules for their SMS, which name nobody, are not counted.
    """

    vouchers: list[Voucher]
    messages: list[Message]
    recipients: list[Recipient]
    place: str

    @property
    def found(self) -> dict[str, int]:
        """How many of each kind."""
        return {"vouchers": len(self.vouchers), "messages": len(self.messages)}


def create(
    id: str, of_number: str | None, of_customer: str | None, tenant: str | None, reason: str, by: By, now: int
) -> Erasure:
    """Write the order, which brings a worker by way of the stream; it does not say whom it is about.

    Raises Refusal `idempotency_key_reused`.
    """
    if of_customer is not None:
        assert tenant is not None, "a customer is one of a tenant"
        person = customer(tenant, of_customer)
    else:
        assert of_number is not None, "it is a number or a customer"
        person = number(of_number)
    account = persons.account_of(person)
    asked = fingerprint({"account": account, "tenant": tenant, "reason": reason})
    wanted = Erasure(id, account, tenant, derived(person[-1]), reason, asked, by, now, began_at=now)

    def once(current: Erasure | None) -> Erasure | None:
        if current is None:
            return wanted
        refuse_reuse(current.fingerprint, asked, "erasure")
        return None

    return table.change(ERASURE, None, once, KIND, by)


def find(id: str) -> Erasure:
    """An erasure. Raises Refusal `not_found`."""
    erasure = table.read(ERASURE, keys.erasure(id))
    if erasure is None:
        raise Refusal("not_found", "There is no such erasure.")
    return erasure


def proceed(id: str, now: int, until: float) -> int | None:
    """Go on with an erasure; says after how many seconds there is more to do, None when it is completed."""
    erasure = find(id)
    while erasure.phase is not Phase.DONE:
        if now < erasure.rests_until:
            return erasure.rests_until - now
        if time.monotonic() > until:
            return 0
        erasure = _page(erasure, now)
    return None


def _page(erasure: Erasure, now: int) -> Erasure:
    """Do the page that comes next; where another worker is further by then, what it wrote stands."""
    eraser = Eraser(persons.secret(), erasure.account, erasure.tenant)
    todo = (_vouchers if erasure.phase is Phase.VOUCHERS else _messages)(erasure, eraser)

    def if_still_here(change: Callable[[Erasure], Erasure | None]) -> Callable[[Erasure | None], Erasure | None]:
        def decide(current: Erasure | None) -> Erasure | None:
            assert current is not None
            return change(current) if current.mark == erasure.mark else None

        return decide

    counted = if_still_here(lambda current: current.counting(todo.place, todo.found))
    erasure = table.change(ERASURE, erasure, counted, KIND, erasure.by)
    _erase(VOUCHER, todo.vouchers, eraser.voucher, erasure.by)
    _erase(MESSAGE, todo.messages, eraser.message, erasure.by)
    _erase(RECIPIENT, todo.recipients, eraser.recipient, erasure.by)
    past = if_still_here(lambda current: current.past(todo.place, now))
    return table.change(ERASURE, erasure, past, KIND, erasure.by)


def _erase(entity: Entity[T], things: Iterable[T], without: Callable[[T], T | None], by: By) -> None:
    def decide(current: T | None) -> T | None:
        assert current is not None, "no item ever goes away"
        return without(current)

    for thing in things:
        table.change(entity, thing, decide, KIND, by)


def _vouchers(erasure: Erasure, eraser: Eraser) -> Todo:
    """The next vouchers that lines lead to."""
    positions, place = persons.positions(erasure.account, erasure.after)
    items = table.get_many(keys.voucher(position) for position in positions)
    vouchers = [VOUCHER.load(item) for item in items.values()]
    return Todo([voucher for voucher in vouchers if eraser.voucher(voucher) is not None], [], [], place or END)


def _messages(erasure: Erasure, eraser: Eraser) -> Todo:
    """The next SMS to the number, and its rules; one that was erased has left its place in the index."""
    assert erasure.place is not None, "an erasure forgets it when it is completed"
    entries = table.query(keys.received_at(erasure.place), limit=BATCH_GET_MAX, after=erasure.after or None)
    items = table.get_many(Key(entry["pk"], entry["sk"]) for entry in entries)
    messages = [MESSAGE.load(item) for item in items.values()]
    place = entries[-1]["gsi1sk"] if len(entries) == BATCH_GET_MAX else END
    recipient = recipients.find(erasure.account)
    return Todo(
        [],
        [message for message in messages if eraser.message(message) is not None],
        [recipient] if recipient is not None and eraser.recipient(recipient) is not None else [],
        place,
    )
