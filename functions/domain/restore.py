"""Restore (恢复): what the record knows and a table that was restored to an earlier moment does not.

An event's id names the item that was written and its version. So what is lost of an item are the events of a later
version than the item has now, whatever the clocks said; and a second run finds none. What is re-applied is what decides
over use: states, values, generations and vetoes, and of redemptions what keeps a repeat from being done again. Names
and numbers are not: the record never knew them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from functions.domain.lot import Lot, Scope, Segment, Status, Veto, rewritten
from functions.domain.recovery import freed
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import (
    SUSPEND,
    Drawn,
    Redemption,
    Reversal,
    Suspension,
    Transfer,
    TransferEnd,
    Voucher,
    own_end,
    untouched,
)

Json = dict[str, Any]
UNKNOWN = ""
"""Stands where the record holds no number or name."""
_CAUSE = re.compile(r"(\d+)\.(VOUCHER|LOT)#(\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True, order=True)
class Told:
    """An event about a write of a voucher (by position) or of a lot (by number), as the incarnation before told it."""

    kind: str
    number: int
    version: int
    event: Any

    @property
    def at(self) -> int:
        """When it was."""
        return _epoch(self.event["at"])


def told(event: Json, incarnation: int) -> Told | None:
    """An event of the record, if it is about a write of a voucher or a lot, of the table before it was restored."""
    cause = _CAUSE.fullmatch(str(event.get("id")))
    if cause is None or int(cause[1]) >= incarnation:
        return None
    return Told(cause[2].lower(), int(cause[3]), int(cause[4]), event)


def erased(event: Json, incarnation: int) -> str | None:
    """The account of a person who was erased from the table before it was restored."""
    if event.get("type") != "erasure.completed" or int(event["id"].partition(".")[0]) >= incarnation:
        return None
    return str(event["data"]["account"])


def lot_after(lot: Lot, lost: Iterable[Told]) -> tuple[Lot, list[str]]:
    """The lot with all that is lost of it, and of which types that was."""
    types: list[str] = []
    for each in sorted(lost, key=lambda t: t.version):
        if each.version <= lot.version:
            continue
        ranges = [(first, last) for first, last in each.event["data"].get("ranges", [])]
        segments = rewritten(lot.segments, ranges, partial(_segment, lot, each.event))
        types += [each.event["type"]] if segments != lot.segments else []
        lot = replace(lot, segments=segments, version=each.version)
    return lot, types


def _segment(lot: Lot, event: Json, segment: Segment) -> Segment:
    data = event["data"]
    match event["type"]:
        case "lot.recalled":
            veto = Veto(data["recovery"], data["action"], Scope(data["scope"]), segment.generation)
            return replace(segment, vetoes=(*segment.vetoes, veto))
        case "lot.reclaimed":
            return freed(lot, segment)
        case "lot.resumed":
            # the resume had taken the suspension over, of which no event tells: it is clear only where there is one
            suspended = [veto for veto in segment.vetoes if veto.action == SUSPEND]
            left = tuple(veto for veto in segment.vetoes if veto not in suspended)
            return replace(segment, vetoes=left) if len(suspended) == 1 else segment
        case "lot.activated" | "lot.distributed" | "lot.returned" | "lot.extended":
            return replace(segment, **_said(event, ("status", "channel", "valid_until")))
    return segment


def _said(event: Json, names: Iterable[str]) -> dict[str, Any]:
    """What an event says that values have become; nothing of what differed within its ranges."""
    values = {name: after for name, (_, after) in event.get("changes", {}).items() if name in names}
    said = {name: value for name, value in values.items() if not isinstance(value, list)}
    if "status" in said:
        said["status"] = Status(said["status"])
    if said.get("valid_until") is not None:
        said["valid_until"] = _epoch(said["valid_until"])
    return said


def voucher_after(lot: Lot, position: int, item: Voucher | None, lost: Iterable[Told]) -> tuple[Voucher, list[str]]:
    """The voucher with all that is lost of it, and of which types that was; `lot` is as it is after its own.

    Raises LookupError where the lot lacks the voucher, which then has no code that could be used.
    """
    segment = lot.segment(position % LOT_SIZE)
    if segment is None:
        raise LookupError("the lot was generated later")
    voucher = item or untouched(lot, segment, position % LOT_SIZE)
    types: list[str] = []
    for each in sorted(lost, key=lambda t: t.version):
        if each.version <= voucher.version:
            continue
        before = voucher
        said = _said(each.event, ("status", "generation", "balance_minor", "channel", "valid_until"))
        voucher = _with(replace(voucher, **said, version=each.version), before, each, segment)
        types.append(each.event["type"])
    return voucher, types


def _with(voucher: Voucher, before: Voucher, told: Told, segment: Segment) -> Voucher:
    """The voucher with what an event tells beyond the values it changed."""
    event, data, by = told.event, told.event["data"], told.event["by"]
    match event["type"]:
        case "voucher.redeemed":
            redemption = _redemption(voucher, told)
            return replace(voucher, redemptions={**voucher.redemptions, redemption.id: redemption})
        case "voucher.reversed":
            of = voucher.redemptions.get(data["redemption"]["id"])
            if of is not None:
                end = Reversal(data["reversal"], told.at, by["client"], UNKNOWN, UNKNOWN, by["request"],
                               voucher.balance_minor, voucher.status.value)  # fmt: skip
                return replace(voucher, redemptions={**voucher.redemptions, of.id: replace(of, reversal=end)})
        case "voucher.transferred":
            return _given(voucher, told)
        case "voucher.dispensed" | "voucher.claimed":
            id = data["claim"] if "claim" in data else data["dispense"]
            mark = Drawn(id, voucher.generation, told.at, voucher.valid_until or own_end(segment, voucher), UNKNOWN,
                         by["request"], voucher.status.value)  # fmt: skip
            return replace(voucher, draws=(*voucher.draws, mark))
        case "voucher.suspended":
            was = before.suspension.was if before.suspension is not None else before.status
            return replace(voucher, suspension=Suspension(was, (data["recovery"],)))
        case "voucher.resumed" if voucher.status is not Status.SUSPENDED:
            return replace(voucher, suspension=None)
    return voucher


def _redemption(voucher: Voucher, told: Told) -> Redemption:
    """So that a repeat is answered, and a reversal possible; its account is not known any more."""
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
        generation=voucher.generation,
        lot_version=0,
        request=by["request"],
        hold=told.event["data"].get("hold"),
        handovers=voucher.handovers,
    )


def _given(voucher: Voucher, told: Told) -> Voucher:
    """So that the giver's code stays dead, and the receiver's good."""
    id, by = told.event["data"]["transfer"], told.event["by"]
    end = TransferEnd(UNKNOWN, told.at, True, UNKNOWN, by["request"], voucher.handovers + 1)
    known = voucher.transfers.get(id)
    offer = known or Transfer(id, told.at, told.at, by["client"], UNKNOWN, b"", UNKNOWN, by["request"],
                              generation=voucher.generation)  # fmt: skip
    return replace(voucher, holder=None, tenant=None, transfers={**voucher.transfers, id: replace(offer, end=end)})


def _epoch(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp())
