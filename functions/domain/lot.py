"""A lot (号段): up to 10,000 consecutive vouchers as one item, an interval map of segments.

Positions are lot number × 10,000 + index; inside a lot everything speaks of indexes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from functions.domain.formats import FORMATS, LOT_SIZE, CodeFormat

SEGMENTS_PER_LOT_MAX = 24
"""A lot should stay near 4 KB, for its size is read capacity on every redemption."""
SEGMENTS_HELD_MAX = 96
"""So far distributions may cut it: packs of a hundred to as many shops make an item of 10 KB. Two more units of read
capacity at each redemption cost less than a write for every card, as items of their own would."""
PARTS_PER_LOT_MAX = 4
"""So many small batches share a lot; each brings its own wrapped key (about 200 bytes)."""
WRONG_CODES_PER_LOT_AND_HOUR_MAX = 1_000
"""So many forged codes a lot may meet in an hour before its breaker opens; a campaign may set less."""
COMMANDS_PER_LOT_MAX = 8
"""So many last commands a lot remembers; an older one is forgotten only once it is known to have finished."""


class Status(StrEnum):
    """What is stored of a voucher: the first three by its segment, all others and `active` by its own item."""

    GENERATED = "generated"
    DISTRIBUTED = "distributed"
    ACTIVE = "active"
    CLAIMED = "claimed"
    PARTLY_REDEEMED = "partly_redeemed"
    REDEEMED = "redeemed"
    SUSPENDED = "suspended"
    VOID = "void"
    REISSUED = "reissued"


class Scope(StrEnum):
    """Whom a veto binds among the vouchers of its segment."""

    ALL = "all"
    NOT_ACTIVATED = "not_activated"
    NOT_CLAIMED = "not_claimed"
    NOT_REDEEMED = "not_redeemed"


class Veto(NamedTuple):
    """A recovery's word on a segment.

    It binds what is of its `generation` or older: a reclaim raises the segment's generation, so that the range is
    free again while the touched vouchers that its scope did not spare stay dead. Those that it spared expire at `ends`,
    where the new generation's validity is another one.
    """

    recovery: str
    action: str
    scope: Scope
    generation: int
    ends: int | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """Vouchers `first..last` (indexes, both included) that share everything. What was `sold` leaves stock by that."""

    first: int
    last: int
    status: Status = Status.GENERATED
    generation: int = 1
    channel: str | None = None
    valid_until: int | None = None
    vetoes: tuple[Veto, ...] = ()
    sold: bool = False

    def __len__(self) -> int:
        return self.last - self.first + 1

    def continues(self, other: Segment) -> bool:
        """Whether `other` follows directly and is alike in all but its place."""
        return self.last + 1 == other.first and replace(other, first=self.first) == replace(self, last=other.last)


class Part(NamedTuple):
    """The share of one batch in a lot, with the batch's key as KMS wrapped it."""

    batch: str
    first: int
    last: int
    wrapped_key: bytes


class Done(NamedTuple):
    """A command that has been done on a lot, and what it did there."""

    command: str
    changed: int
    skipped: dict[str, int]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a campaign fixes for its vouchers; copied to each lot, so that a redemption reads no campaign.

    Vouchers of the `sandbox` are for trying things out: only its clients may use them, and they move no value.
    """

    campaign: str
    kind: str
    amount_minor: int
    currency: str
    redemption: str
    code_format: str
    valid_days_after_activation: int | None = None
    reversal_days: int = 30
    locale: str = "zh-CN"
    code_prefix: str = ""
    code_group: int | None = None
    wrong_codes_per_lot_and_hour: int = WRONG_CODES_PER_LOT_AND_HOUR_MAX
    sandbox: bool = False

    @property
    def format(self) -> CodeFormat:
        """How its codes are written."""
        return FORMATS[self.code_format].styled(self.code_prefix, self.code_group)


@dataclass(frozen=True, slots=True)
class Lot:
    """One item. `version` counts its writes and is what every write is conditional on."""

    number: int
    rules: Rules
    parts: tuple[Part, ...]
    segments: tuple[Segment, ...]
    commands: tuple[Done, ...] = ()
    version: int = 0

    def segment(self, index: int) -> Segment | None:
        """The segment that holds an index, or None where nothing was generated there."""
        return next((s for s in self.segments if s.first <= index <= s.last), None)

    def part(self, index: int) -> Part | None:
        """The batch share that holds an index."""
        return next((p for p in self.parts if p.first <= index <= p.last), None)

    def done(self, command: str) -> Done | None:
        """What a command did here, where the lot remembers it."""
        return next((d for d in self.commands if d.command == command), None)

    def with_part(self, part: Part, segment: Segment) -> Lot:
        """The lot with the share of one more batch; shares may arrive in any order but never overlap."""
        clash = any(p.first <= part.last and part.first <= p.last for p in self.parts)
        if clash or not 0 <= part.first <= part.last < LOT_SIZE or len(self.parts) >= PARTS_PER_LOT_MAX:
            raise ValueError(f"part {part.first}..{part.last} does not fit lot {self.number}")
        parts = tuple(sorted((*self.parts, part), key=lambda p: p.first))
        segments = tuple(sorted((*self.segments, segment), key=lambda s: s.first))
        return replace(self, parts=parts, segments=merged(segments))


def merged(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The same vouchers in as few segments as possible."""
    result: list[Segment] = []
    for segment in segments:
        if result and result[-1].continues(segment):
            result[-1] = replace(result[-1], last=segment.last)
        else:
            result.append(segment)
    return tuple(result)


def rewritten(
    segments: tuple[Segment, ...], ranges: Sequence[tuple[int, int]], change: Callable[[Segment], Segment]
) -> tuple[Segment, ...]:
    """The segments with `change` applied to exactly the indexes of `ranges`, which are sorted and disjoint."""
    result: list[Segment] = []
    at = 0
    for segment in segments:
        start = segment.first
        while at < len(ranges) and ranges[at][0] <= segment.last:
            low, high = max(ranges[at][0], start), min(ranges[at][1], segment.last)
            if low <= high:
                if start < low:
                    result.append(replace(segment, first=start, last=low - 1))
                result.append(change(replace(segment, first=low, last=high)))
                start = high + 1
            if ranges[at][1] > segment.last:
                break
            at += 1
        if start <= segment.last:
            result.append(replace(segment, first=start))
    return merged(tuple(result))
