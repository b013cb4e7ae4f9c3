"""What happened (领域事件): told from the two images of one write of an item, and from nothing else.

`EVENTS` says which rule tells what, `TYPES` which version of its schema each type is at (`events/schemas/`). An event's
id names the write that caused it, so whoever reads the same write again tells the same event under the same id.

A voucher or a lot that was written by an unknown command raises: a new command that nobody gave a rule must end among
the failures, where it can be replayed, and not as a gap in somebody's history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from functions.domain.actor import By
from functions.domain.sale import Sale
from functions.domain.selection import Span
from functions.domain.serials import LOT_SIZE, position_of, serial_of
from functions.domain.times import rfc3339

Item = dict[str, Any]
"""An image: an item as it was written, `entity`, `version` and `last` included."""
Data = dict[str, Any]
Ranges = list[list[int]]
"""[first, last] of each, both included."""
Changes = dict[str, list[Any]]
"""Key → [before, after]; null where there was no item, or it had no such value of its own."""

TYPES: dict[str, int] = {
    "client.created": 1,
    "client.rotated": 1,
    "client.revoked": 1,
    "client.enrolled": 1,
    "client.withdrawn": 1,
    "campaign.created": 1,
    "channel.created": 1,
    "routes.changed": 1,
    "ticket.issued": 1,
    "ticket.used": 1,
    "record.exported": 1,
    "batch.requested": 1,
    "batch.completed": 1,
    "distribution.requested": 1,
    "activation.requested": 1,
    "extension.requested": 1,
    "recovery.announced": 1,
    "recovery.stopped": 1,
    "recovery.approval_requested": 1,
    "recovery.approved": 1,
    "recovery.rejected": 1,
    "recovery.requested": 1,
    "reconciliation.requested": 1,
    "erasure.requested": 1,
    "export.requested": 1,
    "import.requested": 1,
    "lot.generated": 1,
    "lot.imported": 1,
    "lot.exported": 1,
    "lot.returned": 1,
    "lot.distributed": 1,
    "lot.activated": 1,
    "voucher.activated": 1,
    "lot.extended": 1,
    "voucher.extended": 1,
    "voucher.expiring": 1,
    "voucher.revealed": 1,
    "voucher.dispensed": 1,
    "voucher.claimed": 1,
    "voucher.offered": 1,
    "voucher.transferred": 1,
    "voucher.offer_returned": 1,
    "voucher.held": 1,
    "voucher.released": 1,
    "voucher.redeemed": 1,
    "voucher.reversed": 1,
    "voucher.credited": 1,
    "voucher.reissued": 1,
    "voucher.issued": 1,
    "ledger.posted": 1,
    "ledger.disputed": 1,
    "lot.recalled": 1,
    "voucher.suspended": 1,
    "voucher.voided": 1,
    "lot.resuming": 1,
    "voucher.resuming": 1,
    "lot.resumed": 1,
    "voucher.resumed": 1,
    "voucher.recovered": 1,
    "lot.reclaimed": 1,
    "voucher.erased": 1,
    "lot.restored": 1,
    "voucher.restored": 1,
    "activation.completed": 1,
    "recovery.completed": 1,
    "reconciliation.completed": 1,
    "export.completed": 1,
    "import.completed": 1,
    "erasure.completed": 1,
    "stock.low": 1,
    "message.requested": 1,
    "message.ended": 1,
    "complaint.created": 1,
    "complaint.closed": 1,
    "recipient.changed": 1,
    "webhook.created": 1,
    "webhook.rotated": 1,
    "webhook.disabled": 1,
    "webhook.enabled": 1,
    "webhook.deleted": 1,
}
"""Every type with the version of its schema, in the order of a card's life, which is how a tie within a second is
broken when the histories of a lot and of a voucher are merged."""

DATED = "dated"
"""Beside the statuses: how many touched vouchers have an end of validity of their own."""


WRITES = "writes"
"""Beside the counts: how many writes of a lot's vouchers were counted, so that what is not yet counted shows."""


class Subject(NamedTuple):
    """Whose history an event belongs to: a voucher's by position, or a lot's by number."""

    kind: Literal["voucher", "lot"]
    number: int


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `at` is when the write was done (epoch seconds), `version` that of the item it made.

    `changes` are the shown keys of the item whose values the write changed, each before and after.
    `sandbox`: it is about nothing but vouchers of the sandbox, and nothing of value may follow from it.
    """

    id: str
    type: str
    at: int
    by: By
    subject: Subject | None
    data: Data
    version: int
    changes: Changes = field(default_factory=dict)
    sandbox: bool = False

    def detail(self) -> dict[str, Any]:
        """The event as the bus carries it."""
        told = {
            "id": self.id,
            "type": self.type,
            "schema": TYPES[self.type],
            "at": rfc3339(self.at),
            "by": self.by._asdict(),
            "data": self.data,
            **({"sandbox": True} if self.sandbox else {}),
        }
        return told | ({"changes": self.changes} if self.changes else {})


@dataclass(frozen=True, slots=True)
class Holding:
    """That a channel has come to hold vouchers of a lot; what it holds by now, the lot says."""

    channel: str
    lot: int
    by: By
    version: int = 0


class UnknownCommand(Exception):  # noqa: N818 - it may be right, and this code too old for it
    """An item that causes events was written by a command that has no rule here."""


def events(old: Item | None, new: Item, at: int, incarnation: int) -> list[Event]:
    """What one write means; nothing for the entities that cause no events. Raises UnknownCommand."""
    entity = new.get("entity")
    if entity not in ENTITIES:
        return []
    last = new["last"]
    command = last["command"]
    rule = EVENTS.get((entity, command)) or EVENTS.get((entity, ANY))
    if rule is None:
        raise UnknownCommand(f"{entity}, {command}")
    by, version = By(**{name: last[name] for name in By._fields}), new["version"]
    cause = f"{_told_under(new, incarnation)}.{_key(new)}.{version}"
    found = list(rule(old or {}, new))
    sandbox = by.is_sandbox or bool(new.get("rules", new).get("sandbox", False))
    ids = [cause] if len(found) == 1 else [f"{cause}.{n}" for n in range(1, len(found) + 1)]
    seen = changes(old, new)
    return [
        Event(id, type, at, by, subject, data, version, seen, sandbox)
        for id, (type, subject, data) in zip(ids, found, strict=True)
    ]


def _told_under(item: Item, incarnation: int) -> int | str:
    """The incarnation that a write is told under: what is entered of a movement, under that of the movement's event.

    So what a restored ledger has to enter a second time is told as it was the first time, and moves no value twice.
    """
    return item["movement"][3].partition(".")[0] if item["entity"] in ("line", "dispute") else incarnation


def _key(item: Item) -> str:
    """The partition key of an item that is alone in its partition, else both."""
    pk, sk = item["pk"], item.get("sk")
    return pk if sk is None or pk.startswith(f"{sk}#") else f"{pk}/{sk}"


def changes(old: Item | None, new: Item) -> Changes:
    """What a write changed of what is shown of its entity, each key before and after.

    Of a lot it is what its segments say about the vouchers whose segments changed; a list where they differ among each
    other.
    """
    before, after = old or {}, new
    if new["entity"] == "lot":
        ranges = changed(before.get("segments", []), new["segments"])
        before, after = (_said(item.get("segments", []), ranges) for item in (before, new))
    shown = {key: [_told(key, item.get(key)) for item in (before, after)] for key in SHOWN.get(new["entity"], ())}
    return {key: values for key, values in shown.items() if values[0] != values[1]}


def _said(segments: Sequence[Item], ranges: Sequence[Sequence[int]]) -> Item:
    """What segments say within ranges."""
    within = [s for s in segments if any(s["first"] <= last and first <= s["last"] for first, last in ranges)]
    said: Item = {}
    for key in SHOWN["lot"]:
        values = list(dict.fromkeys(_said_by(segment, key) for segment in within))
        said[key] = values[0] if len(values) == 1 else [_told(key, value) for value in values] or None
    return said


def _said_by(segment: Item, key: str) -> Any:
    """What a segment says of a key; of its vetoes what is to be done and by which recoveries."""
    if key == "vetoes":
        return ", ".join(f"{action} {recovery}" for recovery, action, *_ in segment.get(key, ())) or None
    return segment.get(key, _SEGMENT[key])


def _told(key: str, value: Any) -> Any:
    return rfc3339(value) if key.endswith(("_at", "_until")) and isinstance(value, int) else value


def counts(old: Item | None, new: Item) -> dict[str, int]:
    """How a write of a voucher moves the counts of its lot's touched vouchers: by stored status, and `DATED`."""
    moved: dict[str, int] = {}
    for image, by in ((old, -1), (new, 1)):
        if image is None:
            continue
        moved[image["status"]] = moved.get(image["status"], 0) + by
        if image.get("valid_until") is not None:
            moved[DATED] = moved.get(DATED, 0) + by
    return {name: by for name, by in moved.items() if by}


def writes(old: Item | None, new: Item) -> int:
    """How many writes a write stands for: one, but for a restore, which does at once what was lost."""
    before: int = (old or {}).get("version", 0)
    after: int = new["version"]
    return after - before


def holdings(old: Item | None, new: Item) -> list[Holding]:
    """The channels that a write of a lot brought into it."""
    before = {segment.get("channel") for segment in (old or {}).get("segments", [])}
    after = {segment.get("channel") for segment in new["segments"]}
    by = By(**{name: new["last"][name] for name in By._fields})
    return [Holding(channel, new["number"], by, version=1) for channel in sorted(after - before - {None})]


def changed(old: Sequence[Item], new: Sequence[Item]) -> Ranges:
    """The ranges `[first, last]` whose segments two states of a lot do not have in common."""
    ranges: Ranges = []
    for segment in new:
        at = segment["first"]
        alike = [s for s in old if _terms(s) == _terms(segment) and s["last"] >= at and s["first"] <= segment["last"]]
        for kept in alike:
            _add(ranges, at, kept["first"] - 1)
            at = kept["last"] + 1
        _add(ranges, at, segment["last"])
    return ranges


def _terms(segment: Item) -> Item:
    return {name: value for name, value in segment.items() if name not in ("first", "last")}


def _add(ranges: Ranges, first: int, last: int) -> None:
    if first > last:
        return
    if ranges and ranges[-1][1] + 1 == first:
        ranges[-1][1] = last
    else:
        ranges.append([first, last])


# The rules: each gives (type, subject, data); `old` is empty where there was no item.

Told = Iterator[tuple[str, Subject | None, Data]]


def _client(old: Item, new: Item) -> Told:
    """Never its name, which is for people and may be that of one, nor anything of its secrets."""
    if not old:
        type = "client.created"
    elif new.get("revoked_at") is not None and old.get("revoked_at") is None:
        type = "client.revoked"
    elif new["secrets"] != old["secrets"]:
        type = "client.rotated"
    else:
        return
    yield type, None, {"id": new["client_id"], "role": new["role"], "tenant": new["tenant"]}


def _enrolment(old: Item, new: Item) -> Told:
    """That a client got an authenticator, or has none any more; the use of a code is told by what it was used for."""
    before, after = old.get("wrapped_secret"), new.get("wrapped_secret")
    if before != after:
        yield "client.withdrawn" if after is None else "client.enrolled", None, {"id": new["client"]}


def _campaign(old: Item, new: Item) -> Told:
    if not old:
        rules = new["rules"]
        face_value = {name: rules[name] for name in ("amount_minor", "currency")}
        terms = {name: rules[name] for name in ("kind", "redemption", "code_format")}
        yield "campaign.created", None, {"id": new["id"], **terms, "face_value": face_value}
    before, after = old.get("reclaim") or {}, new.get("reclaim") or {}
    for name, type in (("announced_at", "recovery.announced"), ("stopped_at", "recovery.stopped")):
        if after.get(name) is not None and before.get(name) is None:
            yield type, None, {"campaign": new["id"], "due_at": rfc3339(after["due_at"])}


def _channel(old: Item, new: Item) -> Told:
    if not old:
        yield "channel.created", None, {"id": new["id"], "kind": new["kind"]}


def _routing(old: Item, new: Item) -> Told:
    providers = {offer[0] for row in new["rows"] for offer in row[0]}
    yield "routes.changed", None, {"version": new["version"], "providers": sorted(providers)}


def _ticket(old: Item, new: Item) -> Told:
    data = {"export": new["export"], "ticket": new["id"]}
    if not old:
        yield "ticket.issued", None, data
    elif new.get("used_at") is not None and old.get("used_at") is None:
        yield "ticket.used", None, {**data, "file": new["file"]}


def _batch(old: Item, new: Item) -> Told:
    if not old and new["status"] != "completed":
        yield "batch.requested", None, {"id": new["id"]}
    if new["status"] == "completed" and old.get("status") != "completed":
        yield "batch.completed", None, {name: new[name] for name in ("id", "campaign", "quantity")}


def _command(old: Item, new: Item) -> Told:
    if not old and new["kind"] in ORDERED:
        yield ORDERED[new["kind"]], None, {"id": new["id"]}
    if new["kind"] == "activate" and new.get("status") == "completed" and old.get("status") != "completed":
        sale = {"sale": dict(zip(Sale._fields, new["sale"], strict=True))} if "sale" in new else {}
        yield "activation.completed", None, {"id": new["id"], "activated": new.get("changed", 0), **sale}


def _recovery(old: Item, new: Item) -> Told:
    before, phase = old.get("phase"), new.get("phase")
    if phase == "approval":
        asked = new["approval"]
        said = {"id": new["id"], "action": new["action"], "reason": new["reason"], "vouchers": asked["vouchers"]}
        yield "recovery.approval_requested", None, {**said, "expires_at": rfc3339(asked["expires_at"])}
    elif not old:
        yield "recovery.requested", None, {name: new[name] for name in ("id", "action", "reason")}
    elif before == "approval":
        yield "recovery.rejected" if phase == "rejected" else "recovery.approved", None, {"id": new["id"]}
    if phase == "done" and before != "done":
        done = {"selected": new.get("selected", 0), "recovered": new.get("recovered", 0)}
        yield "recovery.completed", None, {"id": new["id"], "action": new["action"], **done}


def _taken_up(old: Item, new: Item) -> Told:
    """A recovery that a restored table had lost goes on, unless it is known to have completed."""
    if new["phase"] != "done":
        yield "recovery.requested", None, {"id": new["id"]}


def _reconciliation(old: Item, new: Item) -> Told:
    if not old:
        yield "reconciliation.requested", None, {"id": new["id"]}
    if "completed_at" in new and "completed_at" not in old:
        found = {"checked": new.get("checked", 0), "differences": sum(new.get("differences", {}).values())}
        yield "reconciliation.completed", None, {"id": new["id"], **found}


def _export(old: Item, new: Item) -> Told:
    """A file that is new tells that the codes of its lots have left the house."""
    if not old:
        yield "export.requested", None, {"id": new["id"]}
    for first, last, *_ in new.get("files", [])[len(old.get("files", [])) :]:
        span = Span(first, last)
        for lot in span.lots:
            data = {"lot": lot, "export": new["id"], "ranges": [list(span.within(lot))]}
            yield "lot.exported", Subject("lot", lot), data
    if "manifest" in new and "manifest" not in old:
        yield "export.completed", None, {name: new[name] for name in ("id", "batch", "quantity")}


def _audit_export(old: Item, new: Item) -> Told:
    if "completed_at" in new and "completed_at" not in old:
        yield "record.exported", None, {"id": new["id"], "entries": new.get("entries", 0)}


def _import(old: Item, new: Item) -> Told:
    """It is asked for once its file is there; of the lines that were refused only the number is told."""
    if "started_at" in new and "started_at" not in old:
        yield "import.requested", None, {"id": new["id"]}
    if "completed_at" in new and "completed_at" not in old:
        accepted, fault = new.get("accepted", 0), new.get("fault")
        batch = {"batch": f"bat_{new['id'].partition('_')[2]}"} if accepted else {}
        failed = {"fault": fault[0]} if fault is not None else {}
        done = {"accepted": accepted, "refused": sum(new.get("refused", {}).values())}
        yield "import.completed", None, {"id": new["id"], "campaign": new["campaign"], **batch, **done, **failed}


def _erasure(old: Item, new: Item) -> Told:
    if not old:
        yield "erasure.requested", None, {"id": new["id"]}
    if new.get("phase") == "done" and old.get("phase") != "done":
        yield "erasure.completed", None, {"id": new["id"], "account": new["account"], "erased": new.get("erased", {})}


def _lot(type: str, more: Callable[[Item, Item, Ranges], Data]) -> Callable[[Item, Item], Told]:
    """A rule for lots, which is given the ranges that the write changed; a command that changed no segment (it skipped
    all, or touched single vouchers) tells nothing."""

    def rule(old: Item, new: Item) -> Told:
        ranges = changed(old.get("segments", []), new["segments"])
        if ranges:
            data = {"lot": new["number"], **more(old, new, ranges), "ranges": ranges}
            yield type, Subject("lot", new["number"]), data

    return rule


def _handed_out(old: Item, new: Item) -> Told:
    """A distribution, or a return where nobody holds the vouchers afterwards."""
    ranges = changed(old.get("segments", []), new["segments"])
    if not ranges:
        return
    ((first, _), *_) = ranges
    source, to = (next((s.get("channel") for s in item["segments"] if s["first"] <= first <= s["last"]), None)
                  for item in (old, new))  # fmt: skip
    ends = {name: channel for name, channel in (("from", source), ("to", to)) if channel is not None}
    data = {"lot": new["number"], "command": _last_command(new), **ends, "ranges": ranges}
    yield "lot.returned" if to is None else "lot.distributed", Subject("lot", new["number"]), data


def _share(old: Item, new: Item, _: Ranges) -> Data:
    (part,) = [part for part in new["parts"] if part not in old.get("parts", [])]
    return {"batch": part[0]}


def _last_command(item: Item) -> str:
    return str(item["commands"][-1][0])


def _order(item_command: str) -> str:
    """The recovery that a range command works for: `<recovery>.veto`, `<recovery>.release`."""
    return item_command.partition(".")[0]


def _activated(_: Item, new: Item, ranges: Ranges) -> Data:
    """What is sold by it leaves stock."""
    sold = any(s.get("sold", False) and s["first"] <= last and first <= s["last"]
               for s in new["segments"] for first, last in ranges)  # fmt: skip
    return {"command": _last_command(new), **({"sold": True} if sold else {})}


def _taken_over(old: Item, new: Item, _: Ranges) -> Data:
    """A resume, and the suspension that it lifts: whose veto a segment has under another name than before."""
    recovery = _order(_last_command(new))
    pairs = ((before, after) for after in new["segments"] for before in old["segments"] if _overlap(before, after))
    lifts = next(
        earlier[0]
        for before, after in pairs
        for earlier, later in zip(before.get("vetoes", []), after.get("vetoes", []), strict=True)
        if earlier != later
    )
    return {"recovery": recovery, "lifts": lifts}


def _overlap(one: Item, other: Item) -> bool:
    return bool(one["first"] <= other["last"] and other["first"] <= one["last"])


def _veto(old: Item, new: Item, ranges: Ranges) -> Data:
    recovery = _order(_last_command(new))
    _, action, scope, *_ = next(v for s in new["segments"] for v in s.get("vetoes", []) if v[0] == recovery)
    return {"recovery": recovery, "action": action, "scope": scope, **_held_by(old, ranges)}


def _lifted(old: Item, new: Item, ranges: Ranges) -> Data:
    return {"recovery": _order(_last_command(new)), **_held_by(old, ranges)}


def _held_by(old: Item, ranges: Ranges) -> Data:
    """Which channels held what of the ranges that a write changed; what is reclaimed they hold no more."""
    held: dict[str, Ranges] = {}
    for first, last in ranges:
        for segment in old["segments"]:
            if segment.get("channel") is not None and segment["first"] <= last and first <= segment["last"]:
                own = held.setdefault(segment["channel"], [])
                _add(own, max(first, segment["first"]), min(last, segment["last"]))
    return {"channels": held} if held else {}


def _voucher(type: str, more: Callable[[Item, Item], Data]) -> Callable[[Item, Item], Told]:
    def rule(old: Item, new: Item) -> Told:
        yield type, *_card(new["position"], more(old, new))

    return rule


def _card(position: int, more: Data) -> tuple[Subject, Data]:
    return Subject("voucher", position), {"serial": serial_of(position), "lot": position // LOT_SIZE, **more}


def _redemption(new: Item, redemption: Item) -> Data:
    """Never the account's number: who needs it reads the voucher."""
    now = {name: new[name] for name in ("currency", "balance_minor", "status")}
    return {**{name: redemption[name] for name in ("id", "amount_minor", "account_type", "generation")}, **now}


def _redeemed(old: Item, new: Item) -> Data:
    (fresh,) = [r for id, r in new["redemptions"].items() if id not in old.get("redemptions", {})]
    captured = {"hold": fresh["hold"]} if "hold" in fresh else {}
    return {"redemption": _redemption(new, fresh), **captured}


def _held(old: Item, new: Item) -> Data:
    (fresh,) = [hold for id, hold in new["holds"].items() if id not in old.get("holds", {})]
    return {**_hold(new, fresh), "expires_at": rfc3339(fresh["until"])}


def _released(old: Item, new: Item) -> Data:
    before = old.get("holds", {})
    (ended,) = [h for id, h in new["holds"].items() if "release" in h and "release" not in before.get(id, {})]
    return _hold(new, ended)


def _hold(new: Item, hold: Item) -> Data:
    return {"hold": hold["id"], "amount_minor": hold["amount_minor"], "currency": new["currency"]}


def _reversed(old: Item, new: Item) -> Data:
    before = old.get("redemptions", {})
    (back,) = [
        r
        for id, r in new["redemptions"].items()
        if r.get("reversal") is not None and before.get(id, {}).get("reversal") is None
    ]
    credited = back["reversal"].get("credited")
    elsewhere = {"credited": serial_of(credited)} if credited is not None else {}
    return {"redemption": _redemption(new, back), "reversal": back["reversal"]["id"], **elsewhere}


def _given_back(old: Item, new: Item) -> Told:
    """A reversal, and its value on the card that replaces the one it was taken from."""
    before, after = (len(item.get("origin", _NO_ORIGIN)[4]) for item in (old, new))
    if after > before:
        _, predecessor, *_, credits = new["origin"]
        redemption, amount_minor = credits[-1]
        now = {name: new[name] for name in ("currency", "balance_minor", "status", "generation")}
        data = {"redemption": redemption, "predecessor": serial_of(predecessor), "amount_minor": amount_minor, **now}
        yield "voucher.credited", *_card(new["position"], data)
    else:
        yield from _voucher("voucher.reversed", _reversed)(old, new)


_NO_ORIGIN: tuple[Any, ...] = ("", 0, 0, 0, ())


def _reissued(old: Item, new: Item) -> Told:
    """Of one transaction the two cards: the one that ended, and the one that has what was left on it."""
    terms = {"currency": new["currency"], "generation": new["generation"]}
    if "reissue" in new:
        recovery, successor, amount_minor = new["reissue"]
        data = {"recovery": recovery, "successor": serial_of(successor), "amount_minor": amount_minor, **terms}
        yield "voucher.reissued", *_card(new["position"], data)
    else:
        recovery, predecessor, amount_minor, *_ = new["origin"]
        data = {"recovery": recovery, "predecessor": serial_of(predecessor), "amount_minor": amount_minor, **terms}
        yield "voucher.issued", *_card(new["position"], data)


def _extended(old: Item, new: Item) -> Data:
    return {"command": new["extensions"][-1], "valid_until": rfc3339(new["valid_until"])}


def _drawn(by: str) -> Callable[[Item, Item], Data]:
    """The dispense or the claim that took a voucher."""
    return lambda _, new: {by: new["draws"][-1][0]}


def _front(old: Item, new: Item) -> Told:
    if new.get("low") is not None and old.get("low") is None:
        yield "stock.low", None, {"campaign": new["campaign"], "left": new["low"]}


def _offered(old: Item, new: Item) -> Data:
    """Never who gives or gets it: a customer's name may be a phone number."""
    before = old.get("transfers", {})
    (offer,) = [offer for id, offer in new["transfers"].items() if id not in before]
    return {"transfer": offer["id"], "expires_at": rfc3339(offer["expires_at"])}


def _offer_ended(old: Item, new: Item) -> Data:
    before = old["transfers"]
    (offer,) = [o for id, o in new["transfers"].items() if o.get("end") is not None and before[id].get("end") is None]
    return {"transfer": offer["id"]}


def _posted(old: Item, new: Item) -> Told:
    """What was cancelled before it was entered moves nothing, and nobody is told."""
    if new.get("posted", True):
        yield "ledger.posted", None, {**_movement(new), "number": new["number"]}


def _disputed(old: Item, new: Item) -> Told:
    yield "ledger.disputed", None, {**_movement(new), "reason": new["reason"]}


def _movement(new: Item) -> Data:
    kind, redemption, amount_minor, cause, _, reversal, _ = new["movement"]
    card = _card(new["position"], {})[1]
    reversed_ = {"reversal": reversal} if reversal is not None else {}
    moved = {"kind": kind, "redemption": redemption, "amount_minor": amount_minor, "cause": cause, **reversed_}
    return {**card, **moved, **{name: new[name] for name in ("generation", "currency", "balance_minor")}}


def _reveal(old: Item, new: Item) -> Told:
    for serial in new["serials"]:
        position = position_of(serial)
        if position is None:
            raise ValueError("a reveal of what is no serial")
        yield "voucher.revealed", *_card(position, {"reveal": new["id"], "reason": new["reason"]})


def _recalled(old: Item, new: Item) -> Told:
    """A single voucher that a recovery ended or suspended, where a range command would have cut its lot."""
    type = "voucher.suspended" if new["status"] == "suspended" else "voucher.voided"
    yield type, *_card(new["position"], {"recovery": _order(new["command"])})


def _resumed(old: Item, new: Item) -> Data:
    left = new["suspension"][1] if "suspension" in new else []
    (recovery,) = [each for each in old["suspension"][1] if each not in left]
    return {"recovery": recovery}


def _resuming(old: Item, new: Item) -> Data:
    (lifts,) = {*old["suspension"][1]} - {*new["suspension"][1]}
    (recovery,) = {*new["suspension"][1]} - {*old["suspension"][1]}
    return {"recovery": recovery, "lifts": lifts}


def _webhook(old: Item, new: Item) -> Told:
    """Never its address, which may hold a secret of its owner's, nor anything of ours."""
    data = {"id": new["id"], "tenant": new["tenant"]}
    was, now = (item.get("disabled_at") is not None for item in (old, new))
    if not old:
        yield "webhook.created", None, {**data, "events": sorted(new["types"])}
    elif new.get("deleted_at") is not None:
        yield "webhook.deleted", None, data
    elif now and not was:
        yield "webhook.disabled", None, {**data, "reason": new["disabled_for"]}
    elif was and not now:
        yield "webhook.enabled", None, data
    elif new["secrets"] != old["secrets"]:
        yield "webhook.rotated", None, data


def _nothing(old: Item, new: Item) -> Told:
    """A write that was told before the table was restored."""
    yield from ()


def _recovered(old: Item, new: Item) -> Told:
    what = {name: new[name] for name in ("recovery", "action", "reason")}
    yield "voucher.recovered", *_card(new["position"], {**what, "generation": new.get("generation", 1)})


ENDS = ("delivered", "undelivered", "failed", "unknown", "suppressed")
"""What a message may have come to; later word may still change it, and is told then."""


def _message(old: Item, new: Item) -> Told:
    """What became of an SMS: never its text, nor whom it was for. A resend is also a job."""
    if not old and "resend_of" in new:
        yield "message.requested", None, {"id": new["id"]}
    status = new.get("status")
    if status in ENDS and status != old.get("status"):
        last = (new.get("attempts") or [{}])[-1]
        reason = None if status == "delivered" else new.get("reason") or last.get("reason")
        said = ("id", "serial", "event", "redemption", "client", "tenant")
        data: Data = {name: new[name] for name in said if name in new}
        yield "message.ended", None, data | {"status": status} | ({"reason": reason} if reason is not None else {})


def _recipient(old: Item, new: Item) -> Told:
    """That somebody's rules for SMS are others: by the account's id, and their hours and zone only by name."""
    changed = [name for name in ("opted_out", "quiet", "zone", "frozen", "held") if old.get(name) != new.get(name)]
    frozen, held = (bool(new.get(name, (False,))[0]) for name in ("frozen", "held"))
    said = {"opted_out": sorted(new.get("opted_out", ())), "frozen": frozen, "security_hold": held}
    yield "recipient.changed", None, {"account": new["account"], "changed": changed, **said}


def _complaint(old: Item, new: Item) -> Told:
    about = {"id": new["id"], "message": new["message"], "serial": new["serial"]}
    if not old:
        status, reason, *_ = new["diagnosis"]
        yield "complaint.created", None, {**about, "status": status, **({"reason": reason} if reason else {})}
    if "outcome" in new and "outcome" not in old:
        yield "complaint.closed", None, {**about, "outcome": new["outcome"][1]}


ANY = "*"
ORDERED = {
    "distribute": "distribution.requested",
    "activate": "activation.requested",
    "extend": "extension.requested",
}
"""Kind of a range command that a client orders → the event that brings a worker for it."""
EVENTS: dict[tuple[str, str], Callable[[Item, Item], Told]] = {
    ("client", ANY): _client,
    ("enrolment", ANY): _enrolment,
    ("campaign", ANY): _campaign,
    ("channel", ANY): _channel,
    ("routing", ANY): _routing,
    ("ticket", ANY): _ticket,
    ("batch", ANY): _batch,
    ("command", ANY): _command,
    ("recovery", "restore"): _taken_up,
    ("recovery", ANY): _recovery,
    ("lot", "generate"): _lot("lot.generated", _share),
    ("lot", "import"): _lot("lot.imported", _share),
    ("lot", "distribute"): _handed_out,
    ("lot", "activate"): _lot("lot.activated", _activated),
    ("lot", "extend"): _lot("lot.extended", lambda _, new, __: {"command": _last_command(new)}),
    ("lot", "recall"): _lot("lot.recalled", _veto),
    ("lot", "take_over"): _lot("lot.resuming", _taken_over),
    ("lot", "resume"): _lot("lot.resumed", _lifted),
    ("lot", "release"): _lot("lot.reclaimed", _lifted),
    ("voucher", "activate"): _voucher("voucher.activated", lambda _, new: {"command": new["command"]}),
    ("voucher", "extend"): _voucher("voucher.extended", _extended),
    ("voucher", "hold"): _voucher("voucher.held", _held),
    ("voucher", "capture"): _voucher("voucher.redeemed", _redeemed),
    ("voucher", "release"): _voucher("voucher.released", _released),
    ("voucher", "redeem"): _voucher("voucher.redeemed", _redeemed),
    ("voucher", "reverse"): _given_back,
    ("voucher", "offer"): _voucher("voucher.offered", _offered),
    ("voucher", "transfer"): _voucher("voucher.transferred", _offer_ended),
    ("voucher", "return"): _voucher("voucher.offer_returned", _offer_ended),
    ("voucher", "recall"): _recalled,
    ("voucher", "take_over"): _voucher("voucher.resuming", _resuming),
    ("voucher", "reissue"): _reissued,
    ("voucher", "resume"): _voucher("voucher.resumed", _resumed),
    ("voucher", "dispense"): _voucher("voucher.dispensed", _drawn("dispense")),
    ("voucher", "claim"): _voucher("voucher.claimed", _drawn("claim")),
    ("reconciliation", ANY): _reconciliation,
    ("voucher", "erase"): _voucher("voucher.erased", lambda _, new: {}),
    ("lot", "restore"): _lot("lot.restored", lambda *_: {}),
    ("voucher", "restore"): _voucher("voucher.restored", lambda _, new: {}),
    ("line", "restore"): _nothing,
    ("line", ANY): _posted,
    ("dispute", ANY): _disputed,
    ("front", ANY): _front,
    ("reveal", ANY): _reveal,
    ("recovered", ANY): _recovered,
    ("export", ANY): _export,
    ("import", ANY): _import,
    ("audit_export", ANY): _audit_export,
    ("erasure", ANY): _erasure,
    ("message", ANY): _message,
    ("complaint", ANY): _complaint,
    ("recipient", ANY): _recipient,
    ("webhook", ANY): _webhook,
}
"""(entity, command) → the rule that tells what its writes mean. Of lots and vouchers every command has one."""

ENTITIES = frozenset(entity for entity, _ in EVENTS)
"""Whose writes cause events: the stream's filter. What relay writes itself is of none of these."""

SHOWN: dict[str, tuple[str, ...]] = {
    "client": ("role", "tenant", "trusted", "revoked_at"),
    "campaign": ("valid_until", "quantity_max", "claims_per_customer", "claims_max", "low_stock", "recovery_rules"),
    "channel": ("kind", "region", "tenant"),
    "batch": ("status",),
    "command": ("status", "changed"),
    "recovery": ("phase", "recovered"),
    "export": ("completed_at",),
    "import": ("accepted", "completed_at"),
    "ticket": ("file", "used_at"),
    "message": ("status",),
    "lot": ("status", "generation", "channel", "valid_until", "vetoes"),
    "voucher": ("status", "generation", "balance_minor", "channel", "valid_until"),
}
"""Entity → the keys that its events show before and after. Never one that holds a secret, a number or a name."""
_SEGMENT: Item = {"status": "generated", "generation": 1, "channel": None, "valid_until": None}
"""What a segment says that does not say it: what its dataclass has by default is not stored."""
