"""Imports: an order with a link to upload a file to, its start, and what has become of its lines."""

from __future__ import annotations

from dataclasses import replace

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint, refuse_reuse
from functions.domain.imports import Import, Refused
from functions.store import cursors, imports, keys, table
from functions.store.imports import IMPORT, REFUSALS
from functions.store.records import CAMPAIGN

PAGES_PER_READ = 4


def create(id: str, campaign: str, size: int, by: By, now: int) -> Import:
    """Write the order; nothing happens until its file is there and it is started.

    Raises Refusal `not_found`, `wrong_code_format`, `idempotency_key_reused`.
    """
    asked = fingerprint({"campaign": campaign, "size": size})
    import_key, campaign_key = keys.import_(id), keys.campaign(campaign)
    items = table.get_many([import_key, campaign_key])
    known = IMPORT.load(items[import_key]) if import_key in items else None
    if known is None and campaign_key not in items:
        raise Refusal("not_found", "There is no such campaign.")

    def once(current: Import | None) -> Import | None:
        if current is not None:
            refuse_reuse(current.fingerprint, asked, "import")
            return None
        if CAMPAIGN.load(items[campaign_key]).rules.format.derived:
            raise Refusal("wrong_code_format", "Create a campaign with the code_format imported.")
        return Import(id, campaign, size, asked, by, now)

    return table.change(IMPORT, known, once, "request_import", by)


def find(id: str) -> Import:
    """An import. Raises Refusal `not_found`."""
    import_ = table.read(IMPORT, keys.import_(id))
    if import_ is None:
        raise Refusal("not_found", "There is no such import.")
    return import_


def start(id: str, by: By, now: int) -> Import:
    """Have what was uploaded imported; once started, it stays so. Raises Refusal `not_found`, `upload_missing`."""
    known = find(id)
    if known.started_at is not None:
        return known
    upload = imports.uploaded(id)
    if upload is None:
        raise Refusal("upload_missing", "Put the file to the link first; order another import where it has expired.")
    if upload.size != known.size:
        raise Refusal("upload_missing", f"The file has {upload.size} bytes, not the {known.size} announced.")

    def once(current: Import | None) -> Import | None:
        assert current is not None
        return replace(current, started_at=now, etag=upload.etag) if current.started_at is None else None

    return table.change(IMPORT, known, once, "start_import", by)


def upload(import_: Import) -> tuple[str, dict[str, str]]:
    """Where its file goes, and with what headers."""
    return imports.upload_link(import_.id, import_.size), imports.upload_headers(import_.size)


def refused(import_: Import, limit: int, cursor: str | None, by: By) -> tuple[list[Refused], str | None]:
    """The lines that were refused, from the cursor on. Raises Refusal `invalid_cursor`."""
    bound_to = (by.client, "refused", import_.id)
    after = int(cursors.unseal(cursor, *bound_to)) if cursor is not None else 0
    found: list[Refused] = []
    place = keys.refused(import_.id, after).sk
    while len(found) <= limit:
        items = table.query(keys.refused_in(import_.id), limit=PAGES_PER_READ, after=place, index="")
        if not items:
            return found, None
        found += [one for item in items for one in REFUSALS.load(item).lines if one.line > after]
        place = items[-1]["sk"]
    return found[:limit], cursors.seal(str(found[limit - 1].line), *bound_to)
