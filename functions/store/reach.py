"""What a caller may know of and act on: a channel's tenant never changes, so it is read once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from functions.domain.actor import By
from functions.domain.channel import Channel
from functions.domain.errors import Refusal
from functions.domain.lot import Lot
from functions.store import keys, table
from functions.store.records import CHANNEL


@dataclass(slots=True)
class Reach:
    """What a caller may act on: a tenant's clients on what its own channels hold, the operator's on everything."""

    by: By
    _read: dict[str, Channel | None] = field(default_factory=dict)

    def _channel(self, id: str) -> Channel | None:
        """A channel, read once: neither its tenant nor its world ever changes."""
        if id not in self._read:
            self._read[id] = table.read(CHANNEL, keys.channel(id))
        return self._read[id]

    def channel(self, id: str) -> Channel:
        """A channel within reach. Raises Refusal `not_found`, the same for another's and for none."""
        found = self._channel(id)
        if found is None or (self.by.is_tenant and found.tenant != self.by.tenant):
            raise Refusal("not_found", f"There is no channel {id}.")
        return found

    def only_channel(self) -> str | None:
        """The channel of a tenant that has no other, as the index knows."""
        if not self.by.is_tenant:
            return None
        found = table.query(keys.channels_of(self.by.tenant), limit=2, index="gsi2")
        return str(found[0]["gsi2sk"]) if len(found) == 1 else None

    def holds(self, channel: str | None) -> bool:
        """Whether what this channel holds is within reach."""
        if not self.by.is_tenant:
            return True
        found = self._channel(channel) if channel is not None else None
        return found is not None and found.tenant == self.by.tenant

    def may_go(self, lot: Lot, to: str | None) -> bool:
        """Whether a lot may go to a channel: those of the sandbox to its channels, and others to others."""
        found = self._channel(to) if to is not None else None
        return found is None or found.is_sandbox == lot.rules.sandbox

    def view(self, lot: Lot) -> Lot:
        """The lot with what is within reach."""
        if not self.by.is_tenant:
            return lot
        return replace(lot, segments=tuple(s for s in lot.segments if self.holds(s.channel)))
