"""Which of our references a provider means by an id of its own, where its receipts carry nothing of ours."""

from __future__ import annotations

from contextlib import suppress

from functions.store import keys, table

KEPT_S = 7 * 24 * 3_600
"""Carriers give no receipt after 72 hours; clouds go on trying to hand one over for some time."""


def remember(provider: str, id: str, reference: str, now: int) -> None:
    """Note it; what was noted before stays."""
    noted = {**keys.sent(provider, id)._asdict(), "reference": reference, "ttl_epoch_s": now + KEPT_S}
    with suppress(table.Conflict):
        table.put(noted, 0)


def reference_of(provider: str, id: str) -> str | None:
    """The reference, or None where nobody has noted it (yet)."""
    item = table.get(keys.sent(provider, id))
    return item["reference"] if item is not None else None
