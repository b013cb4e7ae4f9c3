"""What is asked of messages: lists by whom and what they are about, resends, and complaints."""

from __future__ import annotations

from typing import NamedTuple

from functions.domain import asking
from functions.domain.actor import By
from functions.domain.asking import RESENDS_PER_RECIPIENT_MAX, Viewer
from functions.domain.complaint import Complaint, Outcome
from functions.domain.errors import Refusal
from functions.domain.ids import derived
from functions.domain.message import Message
from functions.domain.serials import position_of
from functions.notify import service
from functions.store import cursors, keys, table
from functions.store.keys import Key
from functions.store.records import COMPLAINT, MESSAGE
from functions.store.table import BATCH_GET_MAX, CONFLICTS_MAX, Bounded, Write

READS_PER_PAGE_MAX = 5
"""So many times a page looks for more messages, a hundred at a time where some may be none of the caller's business:
only where hundreds are is it short, which tells that there are others."""
DAY_S = 86_400
LIMIT = "limit"


class Wanted(NamedTuple):
    """Which messages: of one place of an index, and there of one redemption, if one is named."""

    place: str
    partition: str
    redemption: str | None = None


def to_recipient(number: str) -> Wanted:
    """Those to a phone number."""
    return Wanted("gsi1", keys.received_by(number))


def about_voucher(serial: str) -> Wanted | None:
    """Those about a voucher; None where there can be none."""
    position = position_of(serial)
    return Wanted("gsi3", keys.told_of_card(position)) if position is not None else None


def about_redemption(id: str) -> Wanted | None:
    """Those about a redemption, whose id begins with its voucher's serial; None where there can be none."""
    of_card = about_voucher(id.partition("-")[0])
    return of_card and of_card._replace(redemption=id)


def page(wanted: Wanted, limit: int, cursor: str | None, viewer: Viewer) -> tuple[list[Message], str | None]:
    """The next messages that the caller may see, newest first, and the cursor of what follows.

    Raises Refusal `invalid_cursor`.
    """
    bound_to = (viewer.by.client, "messages", *(each or "" for each in wanted), viewer.customer or "")
    after = cursors.unseal(cursor, *bound_to) if cursor is not None else None
    size = BATCH_GET_MAX if viewer.is_limited else min(limit + 1, BATCH_GET_MAX)
    shown: list[Message] = []
    for _ in range(READS_PER_PAGE_MAX):
        entries = table.query(wanted.partition, limit=size, after=after, newest_first=True, index=wanted.place)
        items = table.get_many(Key(entry["pk"], entry["sk"]) for entry in entries)
        for entry in entries:
            message = MESSAGE.load(items[Key(entry["pk"], entry["sk"])])
            if viewer.sees(message) and wanted.redemption in (None, message.redemption):
                if len(shown) == limit:
                    assert after is not None
                    return shown, cursors.seal(after, *bound_to)
                shown.append(message)
            after = entry[f"{wanted.place}sk"]
        if len(entries) < size:
            return shown, None
    assert after is not None
    return shown, cursors.seal(after, *bound_to)


def find(id: str, viewer: Viewer) -> Message:
    """A message of the caller's. Raises Refusal `not_found`."""
    message = service.find(id)
    if not viewer.sees(message):
        raise Refusal("not_found", "There is no such message.")
    return message


def resend(id: str, of: str, viewer: Viewer, now: int) -> tuple[Message, bool]:
    """Send a message once more, as another one, whose id this call has; says too whether it was there already.

    Both are written together, each with a link to the other, and with them the recipient's count. The stream brings a
    worker for the new one. Raises Refusal `not_found`, `resend_not_possible`, `resend_limit_reached`, `try_again`.
    """
    for _ in range(CONFLICTS_MAX):
        asked, made = find(of, viewer), table.read(MESSAGE, keys.message(id))
        original = service.find(asked.resend_of) if asked.resend_of is not None else asked
        if made is not None:
            return made, True
        message = asking.resent(original, id, now)
        linked = asking.linked(original, id)
        day = now // DAY_S
        sum = Bounded(keys.resends_to(original.recipient, day), RESENDS_PER_RECIPIENT_MAX, (day + 2) * DAY_S)
        writes: list[Write] = [(MESSAGE, each, each.version - 1) for each in (message, linked)]
        failed = table.commit(writes, [sum], LIMIT, "resend", viewer.by)
        if not failed:
            return message, False
        if failed == {len(writes)}:
            detail = f"{RESENDS_PER_RECIPIENT_MAX} messages a day are resent to one number."
            raise Refusal("resend_limit_reached", detail, extra={"limit": "recipient"})
    raise Refusal("try_again", "Others are changing the same message.", retry_after_s=1)


def complain(of: str, viewer: Viewer, now: int) -> tuple[Complaint, bool]:
    """The ticket of a message, and whether it was there already. Raises Refusal `not_found`."""
    message = find(of, viewer)
    id = f"cmp_{derived('complaint', message.id)}"
    wanted = Complaint(id, message.id, message.serial, now, asking.diagnosed(message, now))
    replayed = False

    def once(current: Complaint | None) -> Complaint | None:
        nonlocal replayed
        replayed = current is not None
        return wanted if current is None else None

    return table.change(COMPLAINT, None, once, "complain", viewer.by), replayed


def complaint(id: str, viewer: Viewer) -> Complaint:
    """A ticket of a message of the caller's. Raises Refusal `not_found`."""
    found = _complaint(id)
    find(found.message, viewer)
    return found


def close(id: str, outcome: Outcome, by: By) -> tuple[Complaint, bool]:
    """The ticket with its outcome, and whether this call had given it before.

    Raises Refusal `not_found`, `complaint_closed`, `idempotency_key_reused`.
    """
    replayed = False

    def decide(current: Complaint | None) -> Complaint | None:
        nonlocal replayed
        assert current is not None, "no item ever goes away"
        after = current.closed(outcome)
        replayed = after is None
        return after

    return table.change(COMPLAINT, _complaint(id), decide, "close", by), replayed


def _complaint(id: str) -> Complaint:
    found = table.read(COMPLAINT, keys.complaint(id))
    if found is None:
        raise Refusal("not_found", "There is no such complaint.")
    return found
