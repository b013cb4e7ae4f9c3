"""The routes of messages: read as they stand, and replaced as a whole by whoever has seen them as they stand."""

from __future__ import annotations

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.routing import Routes, Row
from functions.notify import admission, providers
from functions.store import keys, table
from functions.store.routing import ROUTES


def find() -> Routes:
    """The routes, or while nobody has set any those of the settings."""
    return table.read(ROUTES, keys.routing()) or admission.default()


def change(rows: tuple[Row, ...], seen_version: int, by: By, now: int) -> Routes:
    """Set other routes. Raises Refusal `invalid_request`, `precondition_failed`."""
    known = providers.known()
    unknown = [
        {"field": f"rows.{number}.offers.{place}.provider", "detail": "this deployment has no such provider"}
        for number, row in enumerate(rows)
        for place, offer in enumerate(row.offers)
        if offer.provider not in known
    ]
    if unknown:
        raise Refusal("invalid_request", errors=unknown)

    def decide(current: Routes | None) -> Routes | None:
        version = current.version if current is not None else 0
        if current is not None and version == seen_version + 1 and current.rows == rows:
            return None
        if version != seen_version:
            raise Refusal("precondition_failed", f"They are at version {version} now.")
        return Routes(rows, changed_at=now)

    return table.change(ROUTES, table.read(ROUTES, keys.routing()), decide, "change_routes", by)
