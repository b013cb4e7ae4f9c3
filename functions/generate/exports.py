"""Exports: an order, a job that writes a file at a time, and tickets that let each file be fetched once."""

from __future__ import annotations

import hmac
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from functions.domain.actor import By, hashed
from functions.domain.authority import takes_code
from functions.domain.campaign import Batch
from functions.domain.errors import Refusal
from functions.domain.export import (
    KEPT_S,
    MANIFEST,
    QR_QUANTITY_MAX,
    TICKET_S,
    Export,
    File,
    Layout,
    Manifest,
    Ticket,
)
from functions.domain.formats import LOT_SIZE, format_of
from functions.domain.ids import fingerprint, refuse_reuse
from functions.domain.lot import Lot
from functions.domain.selection import Span
from functions.generate import files
from functions.generate.files import Source
from functions.store import authority, keys, lots, stepup, table, vault
from functions.store.exports import EXPORT, TICKET, link, put_once
from functions.store.records import BATCH
from functions.store.tally import touched_in

STEP_S = 15
QR_STEP_S = 35
"""A step is not begun where less time than this is left; it writes one file."""
SECRET_BYTES = 32
TICKET_LENGTH_MAX = 128


def create(
    id: str, batch: str, recipient: str, layout: Layout, qr: bool, by: By, now: int, one_time_code: str | None = None
) -> Export:
    """Write the order, which brings a worker by way of the stream.

    Raises Refusal `not_found`, `wrong_code_format`, `still_generating`, `quantity_exceeded`, `idempotency_key_reused`,
    and as `stepup.require`: an export reveals all the codes of its batch.
    """
    asked = fingerprint({"recipient": recipient, "format": layout.value, "qr": qr})
    export_key, batch_key = keys.export(id), keys.batch(batch)
    items = table.get_many([export_key, batch_key])
    known = EXPORT.load(items[export_key]) if export_key in items else None
    if known is None and batch_key not in items:
        raise Refusal("not_found", "There is no such batch.")
    wanted = known
    if wanted is None:
        of = _exportable(BATCH.load(items[batch_key]), qr=qr)
        if takes_code(authority.rules([of.campaign])[of.campaign], "reveal", of.quantity):
            stepup.require(one_time_code, id, by, now)
        wanted = Export(id, of.id, recipient, layout, qr, of.first, of.quantity, asked, by, now, sandbox=of.sandbox)

    def once(current: Export | None) -> Export | None:
        if current is None:
            return wanted
        refuse_reuse(current.fingerprint, asked, "export")
        return None

    return table.change(EXPORT, known, once, "request_export", by)


def _exportable(of: Batch, *, qr: bool) -> Batch:
    """Raises Refusal `wrong_code_format`, `still_generating`, `quantity_exceeded`."""
    code_format = format_of(of.first // LOT_SIZE)
    if code_format is None or not code_format.derived:
        raise Refusal("wrong_code_format", "An imported batch is not exported; its codes came as a file.")
    if of.status != "completed":
        raise Refusal("still_generating", "Wait until the batch's status is completed.", retry_after_s=5)
    if qr and of.quantity > QR_QUANTITY_MAX:
        detail = f"With QR images an export holds at most {QR_QUANTITY_MAX} vouchers."
        raise Refusal("quantity_exceeded", detail, extra={"available": QR_QUANTITY_MAX})
    return of


def find(id: str) -> Export:
    """An export. Raises Refusal `not_found`."""
    export = table.read(EXPORT, keys.export(id))
    if export is None:
        raise Refusal("not_found", "There is no such export.")
    return export


def proceed(id: str, now: int, until: float) -> int | None:
    """Go on with an export, file by file; says after how many seconds there is more to do, None when it is done."""
    export = find(id)
    while export.manifest is None:
        if time.monotonic() > until - (QR_STEP_S if export.qr else STEP_S):
            return 0
        n, plan = len(export.files), export.plan
        decide = _with_file(export, n, plan[n], now) if n < len(plan) else _with_manifest(export, now)
        export = table.change(EXPORT, export, decide, "export", export.by)
    return None


Decide = Callable[[Export | None], Export | None]


def _with_file(export: Export, n: int, span: Span, now: int) -> Decide:
    """The nth file (from 0) is put into the bucket; what lies there then is what the export is to know of it."""
    sources = _sources(export, span)
    made = files.encrypted(files.pieces(export, span, sources, now), export.recipient)
    seal = files.sealed(made.of_plaintext, export.id, n + 1, sources[0].batch_key)
    about = {"sha256": made.sha256, "seal": b64encode(seal).decode()}
    there = put_once(f"{export.id}/{n + 1}", made.body, made.size, about)
    file = File(span.first, span.last, there.size, there.about["sha256"], b64decode(there.about["seal"]))

    def decide(current: Export | None) -> Export | None:
        assert current is not None
        return current.with_file(n, file)

    return decide


def _with_manifest(export: Export, now: int) -> Decide:
    (source, *_) = _sources(export, Span(export.first, export.first))
    made = files.encrypted([files.manifest(export, source.batch_key)], export.recipient)
    there = put_once(f"{export.id}/{MANIFEST}", made.body, made.size, {"sha256": made.sha256})

    def decide(current: Export | None) -> Export | None:
        assert current is not None
        return current.completed(Manifest(there.size, there.about["sha256"]), now)

    return decide


def _sources(export: Export, span: Span) -> list[Source]:
    """The lots of a span, in order, read before anything is written."""
    found = lots.read_many(span.lots)
    return [_source(export.batch, found[number]) for number in span.lots]


def _source(batch: str, lot: Lot) -> Source:
    (part,) = [part for part in lot.parts if part.batch == batch]
    reclaimed = any(segment.generation > 1 for segment in lot.segments)
    return Source(lot, vault.key_of(lot, part.first), touched_in(lot) if reclaimed else {})


def issue(export_id: str, by: By, now: int) -> tuple[Ticket, str]:
    """A ticket, and its text, which is told only now.

    Raises Refusal `not_found`, `export_in_progress`, `export_expired`.
    """
    export = find(export_id)
    if export.manifest is None:
        raise Refusal("export_in_progress", "Wait until the export's status is completed.", retry_after_s=5)
    if now >= export.expires_at:
        raise Refusal("export_expired", f"Exports are kept for {KEPT_S // 86_400} days; order another.")
    secret = secrets.token_urlsafe(SECRET_BYTES)
    id = f"tkt_{secrets.token_hex(12)}"
    ticket = Ticket(id, export.id, hashed(secret), by, now, min(now + TICKET_S, export.expires_at))
    ticket = table.change(TICKET, None, partial(_if_new, ticket), "issue_ticket", by)
    return ticket, f"{id}.{secret}"


def _if_new(ticket: Ticket, current: Ticket | None) -> Ticket | None:
    return ticket if current is None else None


def fetch(export_id: str, file: str, text: str, by: By, now: int) -> str:
    """A link to a file of an export, which uses the ticket up. It is recorded before it is given.

    Raises Refusal `ticket_not_valid`, the same whatever is wrong with it, and `not_found`, which leaves it unused.
    """
    id, _, secret = text.partition(".")
    if not text.isascii() or len(text) > TICKET_LENGTH_MAX:
        raise Refusal("ticket_not_valid")
    ticket_key, export_key = keys.ticket(export_id, id), keys.export(export_id)
    items = table.get_many([ticket_key, export_key])
    known = TICKET.load(items[ticket_key]) if ticket_key in items else None
    if known is None or not hmac.compare_digest(known.sha256, hashed(secret)) or now >= known.expires_at:
        raise Refusal("ticket_not_valid")
    export = EXPORT.load(items[export_key])
    name = export.name(file)
    if name is None:
        raise Refusal("not_found", "The export has no such file; the ticket can still be used.")

    def used(current: Ticket | None) -> Ticket | None:
        assert current is not None
        if current.used_by == by.request:
            return None
        if current.used_by is not None:
            raise Refusal("ticket_not_valid")
        return replace(current, file=file, used_at=now, used_by=by.request)

    table.change(TICKET, known, used, "use_ticket", by)
    return link(f"{export.id}/{file}", f"{export.id}.{name}")
