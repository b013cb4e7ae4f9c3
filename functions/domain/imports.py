"""Imports (导入): a file of bought codes becomes a batch of its own, each code of it in stock once.

Only lines that are accepted take positions, one after the other in the order of the file. What makes that exact under
any crash, and with two workers at once, is that a decision on a line is final: stock never shrinks, so a code that is
there stays there. Lines are decided in order, and what is written together begins with the first line that is not
decided yet. Whoever comes late finds that line written, and nothing of his is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from functions.domain.actor import By
from functions.domain.campaign import Batch, Campaign, LotCounter, lots_of
from functions.domain.codefile import Layout, Line
from functions.domain.imported import Imported
from functions.domain.serials import LOT_SIZE

KEPT_S: Final = 86_400
"""The bucket deletes what is older (`infra/data.py`)."""
LINK_S: Final = 900
LINES_PER_CHECKPOINT: Final = 20_000
REFUSALS_PER_PAGE_MAX: Final = 2_000
"""About 100 KB of an item, which may have 400."""


class Reason(StrEnum):
    """Why a line was refused."""

    INVALID = "invalid"
    IN_FILE = "duplicate_in_file"
    IN_STOCK = "duplicate_in_stock"


class Refused(NamedTuple):
    """A line that was not taken: its problem (`codefile.PROBLEMS`), or the line or the position that has its code."""

    line: int
    reason: Reason
    problem: str | None = None
    first_line: int | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Refusals:
    """The lines refused between two checkpoints, in order; written once, together with the second."""

    id: str
    lines: tuple[Refused, ...]
    version: int = 0

    @property
    def last(self) -> int:
        """The last of them; there is at least one."""
        return self.lines[-1].line if self.lines else 0


class Fault(NamedTuple):
    """Why an import failed: a key, what it was, and the line that shows it."""

    key: str
    detail: str
    line: int | None = None


class Place(NamedTuple):
    """Positions from `first` on, at most `quantity` of which will be used, and the batch's key as KMS wrapped it."""

    first: int
    quantity: int
    wrapped_key: bytes


@dataclass(frozen=True, slots=True)
class Import:
    """The order and its progress: uploaded and started, read through and given a place, worked off line by line.

    `etag` is the upload's, which is read as it was or not at all. Lines up to `line` are decided, and what follows them
    begins at `offset`; `accepted` of them have taken positions.
    """

    id: str
    campaign: str
    size: int
    fingerprint: str
    by: By
    created_at: int
    started_at: int | None = None
    etag: str | None = None
    layout: Layout | None = None
    lines: int | None = None
    place: Place | None = None
    line: int = 0
    offset: int = 0
    read: int = 0
    accepted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    fault: Fault | None = None
    completed_at: int | None = None
    version: int = 0

    @property
    def status(self) -> str:
        """What is happening."""
        if self.completed_at is not None:
            return "completed" if self.fault is None else "failed"
        return "awaiting_upload" if self.started_at is None else "in_progress"

    @property
    def batch_id(self) -> str:
        """The batch that it becomes."""
        return f"bat_{self.id.partition('_')[2]}"

    @property
    def decided(self) -> bool:
        """Whether every line is."""
        return self.offset >= self.size

    def batch(self, now: int) -> Batch:
        """Its batch, completed; only where lines were accepted."""
        assert self.place is not None, "what was accepted has a place"
        return Batch(
            id=self.batch_id,
            campaign=self.campaign,
            quantity=self.accepted,
            first=self.place.first,
            wrapped_key=self.place.wrapped_key,
            status="completed",
            lots_done=lots_of(self.accepted),
            created_at=now,
            fingerprint=self.fingerprint,
            by=self.by,
            version=1,
        )


def left_over(import_: Import, campaign: Campaign, counter: LotCounter) -> tuple[Campaign, LotCounter]:
    """Campaign and counter once they have back what the import was given and did not use.

    Lot numbers come back only where nobody has taken one since; those that do not are never used.
    """
    place = import_.place
    if place is None:
        return campaign, counter
    taken, used = lots_of(place.quantity), lots_of(import_.accepted)
    quantity = campaign.quantity - place.quantity + import_.accepted
    campaign = replace(campaign, quantity=quantity, lots=campaign.lots - taken + used)
    if counter.next_lot == place.first // LOT_SIZE + taken:
        counter = replace(counter, next_lot=counter.next_lot - taken + used)
    return campaign, counter


@dataclass
class Ledger:
    """The lines of one stretch of a file as they are decided.

    `waiting` are codes by their blind index, each with the line that it stands in first and those that repeat it;
    `held` counts these lines.
    """

    accepted: int
    waiting: dict[str, list[Line]] = field(default_factory=dict)
    held: int = 0
    refused: list[Refused] = field(default_factory=list)

    def take(self, line: Line, blind_index: str) -> None:
        """A line that holds a code."""
        self.waiting.setdefault(blind_index, []).append(line)
        self.held += 1

    def refuse(self, line: Line) -> None:
        """A line that holds none."""
        self.refused.append(Refused(line.number, Reason.INVALID, line.problem))

    def written(self) -> None:
        """All that waited is in stock now."""
        for first, *others in self.waiting.values():
            self.accepted += 1
            self._repeated(first.number, others)
        self.waiting.clear()
        self.held = 0

    def known(self, batch: str, first: int, found: Mapping[str, Imported]) -> None:
        """Codes that are in stock already: the import's own from before, or of others.

        Raises ValueError where one of its own lies in another position than it would be given now.
        """
        for blind_index, there in found.items():
            line, *others = self.waiting.pop(blind_index)
            self.held -= 1 + len(others)
            if (there.batch, there.line) == (batch, line.number):
                if there.position != first + self.accepted:
                    raise ValueError(f"line {line.number} lies in position {there.position}")
                self.accepted += 1
                self._repeated(line.number, others)
            elif there.batch == batch:
                self._repeated(there.line, [line, *others])
            else:
                self.refused += [
                    Refused(each.number, Reason.IN_STOCK, position=there.position) for each in (line, *others)
                ]

    def _repeated(self, first_line: int, lines: list[Line]) -> None:
        self.refused += [Refused(line.number, Reason.IN_FILE, first_line=first_line) for line in lines]

    def applied(self, import_: Import, line: int, offset: int, read: int) -> tuple[Import, Refusals | None]:
        """The import with this stretch behind it, and the page of what was refused in it, if anything was."""
        assert not self.waiting, "lines that are not decided"
        counts = dict(import_.refused)
        for each in self.refused:
            counts[each.reason.value] = counts.get(each.reason.value, 0) + 1
        moved = replace(import_, line=line, offset=offset, read=read, accepted=self.accepted, refused=counts)
        page = Refusals(import_.id, tuple(sorted(self.refused)), version=1) if self.refused else None
        return moved, page
