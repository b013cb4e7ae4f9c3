"""Restore (恢复): what the record knows and a table that was restored to an earlier moment does not.

An event's id names the item that was written and its version. So what is lost of an item are the events of a later
version than the item has now, whatever the clocks said; and a second run finds none. What is re-applied is what decides
over use: states, values, generations and vetoes, and of redemptions what keeps a repeat from being done again. Names
and numbers are not: the record never knew them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from functions.domain.actor import By
from functions.domain.events import DATED, SHOWN, WRITES, Event, Subject
from functions.domain.lot import COMMANDS_PER_LOT_MAX, Done, Lot, Scope, Segment, Status, Veto, rewritten
from functions.domain.recovery import Action, Phase, Recovery, freed
from functions.domain.selection import Span, lot_count
from functions.domain.serials import LOT_SIZE, position_of
from functions.domain.times import epoch
from functions.domain.voucher import (
    SUSPEND,
    Drawn,
    Hold,
    Origin,
    Redemption,
    Reissue,
    Release,
    Reversal,
    Suspension,
    Transfer,
    TransferEnd,
    Voucher,
    begun_anew,
    own_end,
    untouched,
    with_reversal,
)

Json = dict[str, Any]
UNKNOWN = ""
"""Stands where the record holds no number or name."""
_CAUSE = re.compile(r"(\d+)\.([^.]+)\.(\d+)(?:\.\d+)?")
_WRITTEN = re.compile(r"(VOUCHER|LOT)#(\d+)")
_TOLD_ELSEWHERE = frozenset({"voucher.expiring"})
"""Types about a voucher that are in nobody's history."""


class Cause(NamedTuple):
    """The write that an event's id names."""

    incarnation: int
    key: str
    version: int


def cause(event: Json) -> Cause | None:
    """The write that an event of the record was told from; None where it was told at the edge."""
    found = _CAUSE.fullmatch(str(event.get("id")))
    return Cause(int(found[1]), found[2], int(found[3])) if found is not None else None


@dataclass(frozen=True, slots=True)
class Told:
    """An event about a write of a voucher (by position) or of a lot (by number), as an incarnation before told it."""

    kind: str
    number: int
    version: int
    incarnation: int
    event: Json

    @property
    def place(self) -> tuple[int, int]:
        """Where it comes among the writes of its item."""
        return self.version, self.incarnation

    @property
    def at(self) -> int:
        """When it was."""
        return epoch(self.event["at"])

    @property
    def predecessor(self) -> int | None:
        """The position of the voucher that the written one was issued for."""
        return position_of(self.event["data"]["predecessor"]) if self.event["type"] == "voucher.issued" else None

    @property
    def draw(self) -> str | None:
        """The draw that took the voucher out of stock; a claim by code is none."""
        id: str | None = self.event["data"].get("claim") or self.event["data"].get("dispense")
        return id if id is not None and "-" not in id else None


def told(event: Json) -> Told | None:
    """An event of the record, if it is about a write of a voucher or a lot."""
    found = cause(event)
    written = _WRITTEN.fullmatch(found.key) if found is not None else None
    if found is None or written is None:
        return None
    return Told(written[1].lower(), int(written[2]), found.version, found.incarnation, event)


def line(event: Json) -> Event | None:
    """An event of the record as the history keeps it; None where it is in nobody's history."""
    found, (kind, _, _) = cause(event), event["type"].partition(".")
    if found is None or kind not in ("voucher", "lot") or event["type"] in _TOLD_ELSEWHERE:
        return None
    data = event["data"]
    number: int | None = position_of(data["serial"]) if kind == "voucher" else data["lot"]
    assert number is not None, "what the record tells of is a voucher"
    by = By(**event["by"])
    return Event(event["id"], event["type"], epoch(event["at"]), by, Subject(kind, number), data, found.version,
                 sandbox=event.get("sandbox", False))  # fmt: skip


def counted(event: Json) -> dict[str, int]:
    """How the write of a voucher moved the counts of its lot, from the event that tells it."""
    moved = Counter[str]()
    for status, by in zip(event.get("changes", {}).get("status", ()), (-1, 1), strict=False):
        moved[status] += by if status is not None else 0
    for end, by in zip(event.get("changes", {}).get("valid_until", ()), (-1, 1), strict=False):
        moved[DATED] += by if end is not None else 0
    return {name: by for name, by in moved.items() if by} | {WRITES: 1}


def erased(event: Json) -> str | None:
    """The account of a person who was erased."""
    return str(event["data"]["account"]) if event["type"] == "erasure.completed" else None


def lot_after(lot: Lot, lost: Iterable[Told]) -> tuple[Lot, list[str]]:
    """The lot with all that is lost of it, and of which types that was."""
    types: list[str] = []
    for each in sorted(lost, key=lambda t: t.place):
        if each.version <= lot.version:
            continue
        ranges = [(first, last) for first, last in each.event["data"].get("ranges", [])]
        segments = rewritten(lot.segments, ranges, partial(_segment, lot, each.event))
        types += [each.event["type"]] if segments != lot.segments else []
        lot = replace(_with_command(lot, each.event, ranges), segments=segments, version=each.version)
    return lot, types


_COMMANDS = {"lot.recalled": "veto", "lot.resuming": "veto", "lot.reclaimed": "release", "lot.resumed": "release"}
"""Type of an event → the name of its recovery's range command."""


def _with_command(lot: Lot, event: Json, ranges: Iterable[tuple[int, int]]) -> Lot:
    """So that a command that was under way does not come to this lot again."""
    data, name = event["data"], _COMMANDS.get(event["type"])
    command = f"{data['recovery']}.{name}" if name is not None else data.get("command")
    if command is None or lot.done(command) is not None:
        return lot
    done = Done(command, sum(last - first + 1 for first, last in ranges), {})
    return replace(lot, commands=(*lot.commands, done)[-COMMANDS_PER_LOT_MAX:])


def _segment(lot: Lot, event: Json, segment: Segment) -> Segment:
    data = event["data"]
    match event["type"]:
        case "lot.recalled":
            veto = Veto(data["recovery"], data["action"], Scope(data["scope"]), segment.generation)
            return replace(segment, vetoes=(*segment.vetoes, veto))
        case "lot.reclaimed":
            return freed(lot, segment)
        case "lot.resuming":
            return replace(segment, vetoes=tuple(_taken_over(veto, **data) for veto in segment.vetoes))
        case "lot.resumed":
            return replace(segment, vetoes=tuple(v for v in segment.vetoes if v.recovery != data["recovery"]))
        case "lot.activated":
            return replace(segment, **_said(event), sold=data.get("sold", False))
        case "lot.distributed" | "lot.returned" | "lot.extended":
            return replace(segment, **_said(event))
    return segment


def _taken_over(veto: Veto, recovery: str, lifts: str, **_: Any) -> Veto:
    return veto._replace(recovery=recovery) if (veto.action, veto.recovery) == (SUSPEND, lifts) else veto


def _said(event: Json) -> dict[str, Any]:
    """What an event says that values have become; nothing of what differed within its ranges."""
    values = {name: after for name, (_, after) in event.get("changes", {}).items()}
    said = {name: value for name, value in values.items() if not isinstance(value, list)}
    if "status" in said:
        said["status"] = Status(said["status"])
    if said.get("valid_until") is not None:
        said["valid_until"] = epoch(said["valid_until"])
    return said


def voucher_after(
    lot: Lot, position: int, item: Voucher | None, lost: Iterable[Told], predecessor: Voucher | None = None
) -> tuple[Voucher, list[str]]:
    """The voucher with all that is lost of it, and of which types that was; `lot` is as it is after its own.

    `predecessor` is the one that it was issued for, if any: who held that one holds this one.
    Raises LookupError where the lot lacks the voucher, which then has no code that could be used.
    """
    segment = lot.segment(position % LOT_SIZE)
    if segment is None:
        raise LookupError("the lot was generated later")
    fresh = untouched(lot, segment, position % LOT_SIZE)
    voucher = item or fresh
    types: list[str] = []
    for each in sorted(lost, key=lambda t: t.place):
        if each.version > voucher.version:
            changed = _with(_changed(voucher, fresh, each), voucher, each, segment, predecessor)
            voucher = replace(changed, version=each.version)
            types.append(each.event["type"])
    return voucher, types


def _changed(voucher: Voucher, fresh: Voucher, told: Told) -> Voucher:
    """The voucher with the values that an event says; with a new generation all that it does not say begins anew."""
    said = _said(told.event)
    if voucher.version and said.get("generation", voucher.generation) != voucher.generation:
        shown = {name: getattr(voucher, name) for name in SHOWN["voucher"]}
        voucher = replace(begun_anew(fresh, voucher), **shown)
    return replace(voucher, **said)


def _with(voucher: Voucher, before: Voucher, told: Told, segment: Segment, predecessor: Voucher | None) -> Voucher:
    """The voucher with what an event tells beyond the values it changed."""
    data, by = told.event["data"], told.event["by"]
    match told.event["type"]:
        case "voucher.redeemed":
            return _used(voucher, _redemption(voucher, told))
        case "voucher.reversed":
            return _reversed(voucher, before, told)
        case "voucher.held":
            until, amount = epoch(data["expires_at"]), data["amount_minor"]
            hold = Hold(data["hold"], told.at, until, by["client"], amount, voucher.balance_minor, UNKNOWN,
                        voucher.generation, by["request"], handovers=voucher.handovers)  # fmt: skip
            return replace(voucher, holds={**voucher.holds, hold.id: hold})
        case "voucher.released" if data["hold"] in voucher.holds:
            release = Release(UNKNOWN, told.at, by["client"], by["request"])
            hold = replace(voucher.holds[data["hold"]], release=release)
            return replace(voucher, holds={**voucher.holds, hold.id: hold})
        case "voucher.transferred":
            return _given(voucher, told)
        case "voucher.offer_returned" if data["transfer"] in voucher.transfers:
            offer = voucher.transfers[data["transfer"]]
            end = TransferEnd(UNKNOWN, told.at, False, UNKNOWN, by["request"])
            return replace(voucher, transfers={**voucher.transfers, offer.id: replace(offer, end=end)})
        case "voucher.dispensed" | "voucher.claimed":
            return _drawn(voucher, data["claim"] if "claim" in data else data["dispense"], told, segment)
        case "voucher.activated":
            return replace(voucher, command=data["command"])
        case "voucher.extended":
            return replace(voucher, extensions=(*voucher.extensions, data["command"]))
        case "voucher.reissued":
            successor = position_of(data["successor"])
            assert successor is not None
            return replace(voucher, suspension=None, reissue=Reissue(data["recovery"], successor, data["amount_minor"]))
        case "voucher.issued":
            return _issued(voucher, told, segment, predecessor)
        case "voucher.credited" if voucher.origin is not None:
            credits = (*voucher.origin.credits, (data["redemption"], data["amount_minor"]))
            return replace(voucher, origin=voucher.origin._replace(credits=credits))
    return _recalled(voucher, before, told)


def _recalled(voucher: Voucher, before: Voucher, told: Told) -> Voucher:
    """The same for a recovery that came to it by its own item."""
    data, known = told.event["data"], before.suspension or Suspension(before.status, ())
    match told.event["type"]:
        case "voucher.voided":
            return replace(voucher, suspension=None, command=f"{data['recovery']}.veto")
        case "voucher.suspended":
            recoveries = (*known.recoveries, data["recovery"])
            suspension = known._replace(recoveries=recoveries)
            return replace(voucher, suspension=suspension, command=f"{data['recovery']}.veto")
        case "voucher.resuming":
            recoveries = tuple(data["recovery"] if each == data["lifts"] else each for each in known.recoveries)
            return replace(voucher, suspension=known._replace(recoveries=recoveries))
        case "voucher.resumed":
            left = tuple(each for each in known.recoveries if each != data["recovery"])
            return replace(voucher, suspension=known._replace(recoveries=left) if left else None)
    return voucher


def _used(voucher: Voucher, redemption: Redemption) -> Voucher:
    """So that a repeat is answered, and what was held for it cannot be taken again."""
    used = replace(voucher, redemptions={**voucher.redemptions, redemption.id: redemption})
    hold = voucher.holds.get(redemption.hold or UNKNOWN)
    return replace(used, holds={**used.holds, hold.id: replace(hold, redemption=redemption.id)}) if hold else used


def _redemption(voucher: Voucher, told: Told) -> Redemption:
    """Its account is not known any more."""
    used, by = told.event["data"]["redemption"], told.event["by"]
    return Redemption(
        id=used["id"],
        at=told.at,
        client=by["client"],
        account_type=used["account_type"],
        account_number=UNKNOWN,
        amount_minor=used["amount_minor"],
        balance_minor=used["balance_minor"],
        status=Status(used["status"]),
        fingerprint=UNKNOWN,
        generation=used["generation"],
        lot_version=0,
        request=by["request"],
        hold=told.event["data"].get("hold"),
        handovers=voucher.handovers,
    )


def _reversed(voucher: Voucher, before: Voucher, told: Told) -> Voucher:
    data, by = told.event["data"], told.event["by"]
    of = voucher.redemptions.get(data["redemption"]["id"])
    if of is None:
        return voucher
    credited = position_of(data["credited"]) if "credited" in data else None
    end = Reversal(data["reversal"], told.at, by["client"], UNKNOWN, UNKNOWN, by["request"], voucher.balance_minor,
                   voucher.status.value, credited)  # fmt: skip
    suspension = with_reversal(before, of, end).suspension if credited is None else voucher.suspension
    redemptions = {**voucher.redemptions, of.id: replace(of, reversal=end)}
    return replace(voucher, redemptions=redemptions, suspension=suspension)


def _drawn(voucher: Voucher, draw: str, told: Told, segment: Segment) -> Voucher:
    """So that a repeat of the draw is answered with this voucher."""
    ends = voucher.valid_until or own_end(segment, voucher)
    mark = Drawn(draw, voucher.generation, told.at, ends, UNKNOWN, told.event["by"]["request"], voucher.status.value)
    return replace(voucher, draws=(*voucher.draws, mark))


def _issued(voucher: Voucher, told: Told, segment: Segment, predecessor: Voucher | None) -> Voucher:
    data, of = told.event["data"], told.predecessor
    assert of is not None
    number = predecessor.origin.number + 1 if predecessor is not None and predecessor.origin is not None else 1
    drawn = _drawn(voucher, f"{data['recovery']}.{of:011d}", told, segment)
    issued = replace(drawn, origin=Origin(data["recovery"], of, data["amount_minor"], number))
    if predecessor is None or predecessor.holder is None:
        return issued
    ends = voucher.valid_until if voucher.valid_until is not None else segment.valid_until
    return replace(issued, holder=predecessor.holder, tenant=predecessor.tenant, ends=ends)


def _given(voucher: Voucher, told: Told) -> Voucher:
    """So that the giver's code stays dead, and the receiver's good."""
    id, by = told.event["data"]["transfer"], told.event["by"]
    end = TransferEnd(UNKNOWN, told.at, True, UNKNOWN, by["request"], voucher.handovers + 1)
    known = voucher.transfers.get(id)
    offer = known or Transfer(id, told.at, told.at, by["client"], UNKNOWN, b"", UNKNOWN, by["request"],
                              generation=voucher.generation)  # fmt: skip
    return replace(voucher, holder=None, tenant=None, transfers={**voucher.transfers, id: replace(offer, end=end)})


RECOVERED: dict[str, Action | None] = {
    "lot.recalled": None,
    "voucher.suspended": Action.SUSPEND,
    "voucher.voided": Action.VOID,
    "lot.resuming": Action.RESUME,
    "voucher.resuming": Action.RESUME,
}
"""Type of an event of which a recovery is known → its action; None where the event says it."""


def recovery(id: str, did: Sequence[Json], completed: Json | None) -> Recovery:
    """A recovery as it shows by what it did, and by the data of the event that told of its end, if any."""
    events = sorted(did, key=lambda event: str(event["at"]))
    first, spans = events[0], _joined(span for event in events for span in _spans(event["data"]))
    data, at = first["data"], epoch(first["at"])
    action = RECOVERED[first["type"]] or Action(data["action"])
    going = Phase.SURVEY if action is Action.RESUME else Phase.FENCE
    return Recovery(
        id=id,
        fingerprint=UNKNOWN,
        spans=tuple(spans),
        action=action,
        scope=Scope(data.get("scope", Scope.ALL)),
        reason="other",
        note=None,
        lots=lot_count(spans),
        by=By(**first["by"]),
        created_at=at,
        one_by_one=first["type"].startswith("voucher.") and action is not Action.RESUME,
        phase=Phase.DONE if completed is not None else going,
        selected=completed["selected"] if completed is not None else 0,
        recovered=completed["recovered"] if completed is not None else 0,
        completed_at=at if completed is not None else None,
        lifts=data.get("lifts"),
        effective_at=at,
        version=1,
    )


def _joined(spans: Iterable[Span]) -> list[Span]:
    """As few spans of the same."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.first <= joined[-1].last + 1:
            joined[-1] = Span(joined[-1].first, max(joined[-1].last, span.last))
        else:
            joined.append(span)
    return joined


def _spans(data: Json) -> Iterator[Span]:
    if "serial" in data:
        position = position_of(data["serial"])
        assert position is not None, "what the record tells of is a voucher"
        yield Span(position, position)
    for first, last in data.get("ranges", []):
        yield Span(data["lot"] * LOT_SIZE + first, data["lot"] * LOT_SIZE + last)
