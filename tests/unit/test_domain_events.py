"""Events from the images of a write; every type by its published schema."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.events import DATED, ENTITIES, EVENTS, TYPES, UnknownCommand, changed, counts, events, holdings
from functions.domain.lot import Segment, Status, rewritten
from functions.domain.serials import serial_of
from functions.domain.webhook import TOLD
from functions.edge import record
from functions.notify.models import ORDER, EventType, Told
from functions.webhooks import models as webhooks

FOLDER = Path(__file__).parents[2] / "events"
AT = 1_800_000_000
POSITION = 1_000_000_000
SERIAL = serial_of(POSITION)
NEXT = serial_of(POSITION + 1)
BY = {"client": "c", "role": "operator", "tenant": "operator", "address": "192.0.2.1", "request": "r"}
Item = dict[str, Any]


def item(entity: str, command: str, version: int = 1, /, **fields: Any) -> Item:
    """An image as the stream tells it."""
    return {
        "pk": f"{entity.upper().replace('_', '')}#1",
        "sk": entity.upper().replace("_", ""),
        "entity": entity,
        "version": version,
        "last": {"command": command, **BY},
        **fields,
    }


def schema(type: str) -> Item:
    read: Item = json.loads((FOLDER / "schemas" / f"{type}.v{TYPES[type]}.json").read_text())
    return read


def told(old: Item | None, new: Item) -> list[tuple[str, Item]]:
    """Type and data of what a write means, each held to its schema."""
    found = events(old, new, AT, 1)
    for event in found:
        jsonschema_rs.validate(schema(event.type), event.detail(), validate_formats=True)
    return [(event.type, event.data) for event in found]


def lot(command: str, segments: list[Item], version: int = 1, /, **more: Any) -> Item:
    part = ["bat_1", 0, 99, b"wrapped"]
    return item("lot", command, version, number=100_000, parts=[part], segments=segments, **more)


def voucher(command: str, status: str, version: int = 1, /, **more: Any) -> Item:
    fields: Item = {"position": POSITION, "status": status, "generation": 1, "balance_minor": 0, "currency": "CNY"}
    return item("voucher", command, version, **fields, **more)


SMS: Item = {"id": "msg_1", "event": "voucher.redeemed", "serial": "010000000003"}
OWNED: Item = {"redemption": "red-1", "client": "till-1", "tenant": "acme"}
ATTEMPT: Item = {"provider": "aws", "reference": "msg_1-1", "at": AT, "turn": "t"}
ABOUT: Item = {"id": "cmp_1", "message": "msg_1", "serial": "010000000003"}
COMPLAINT: Item = {**ABOUT, "diagnosis": ["undelivered", "phone_full", 1, "aws", "1", "X", AT, True], "created_at": AT}


def message(version: int = 1, /, **more: Any) -> Item:
    return item("message", "message", version, **SMS, recipient="+8613812345678", text="Card … 13812345678", **more)


def redemption(**more: Any) -> Item:
    number = {"account_type": "mobile", "account_number": "+8613812345678"}
    fields: Item = {"id": "red-1", "amount_minor": 5000, "balance_minor": 0, "status": "redeemed", "generation": 1}
    return {**fields, **number, **more}


def hold(id: str, **more: Any) -> Item:
    return {"id": id, "at": AT, "until": AT + 900, "client": "c", "amount_minor": 2_000, **more}


SOMEBODY = "acc_" + "a" * 24
WHOLE: list[Item] = [{"first": 0, "last": 99}]
ACTIVE: list[Item] = [{"first": 0, "last": 9}, {"first": 10, "last": 19, "status": "active"}, {"first": 20, "last": 99}]
HELD: list[Item] = [
    {"first": 0, "last": 9},
    {"first": 10, "last": 29, "status": "distributed", "channel": "chn_1"},
    {"first": 30, "last": 99},
]
VETO = ["rec_1", "void", "not_redeemed", 1]
CARD = {"serial": SERIAL, "lot": 100_000}
PERSON = "acc_n5xw2y4k3q7x2m5c4wz6n7pj"
BATCH: Item = {"id": "bat_1", "campaign": "cmp_1", "quantity": 100}
IMPORT: Item = {"id": "imp_1", "campaign": "cmp_1"}
EXPORT: Item = {"id": "exp_1", "batch": "bat_1", "quantity": 100}
USED = {
    "id": "red-1",
    "amount_minor": 5000,
    "currency": "CNY",
    "balance_minor": 0,
    "status": "redeemed",
    "account_type": "mobile",
    "generation": 1,
}

OFFER: Item = {"id": "trf_1", "at": AT - 9, "expires_at": AT, "giver": "+8613812345678", "sha256": b"wrapped"}

OVER: Item = {**OFFER, "id": "trf_0", "end": {"id": "end_0", "accepted": False}}
KEPT = {"hold": "hld-1", "amount_minor": 2_000, "currency": "CNY"}

MOVEMENT = ["redeemed", "red-1", 5_000, "1.VOUCHER#1.2", AT, None, False]
ACCOUNT: Item = {"position": POSITION, "generation": 1, "currency": "CNY"}
MOVED: Item = {**CARD, "generation": 1, "currency": "CNY", "redemption": "red-1", "amount_minor": 5_000,
               "cause": "1.VOUCHER#1.2"}  # fmt: skip

BY_THE_CLOCK = {"voucher.expiring"}
"""Not told from a write."""

CLIENT: Item = {"client_id": "support-1", "name": "Wang Fang", "role": "support", "tenant": "operator"}
KNOWN = {"id": "support-1", "role": "support", "tenant": "operator"}
RULES: Item = {"kind": "gift", "redemption": "single", "code_format": "digits20", "amount_minor": 9, "currency": "CNY"}
TICKET: Item = {"id": "tkt_1", "export": "exp_1", "sha256": b"wrapped"}

WEBHOOK: Item = {
    "id": "whk_1", "tenant": "acme", "url": "https://acme.example/+8613812345678",
    "types": ["message.ended", "voucher.redeemed"], "secrets": [[b"wrapped", "whk"]],
}  # fmt: skip
ENDPOINT: Item = {"id": "whk_1", "tenant": "acme"}
OFF: Item = {"disabled_at": AT, "disabled_for": "gone"}
CASES: dict[str, tuple[Item | None, Item, list[tuple[str, Item]]]] = {
    "a client created": (
        None, item("client", "create_client", **CLIENT, secrets=[[b"wrapped", None]]), [("client.created", KNOWN)],
    ),
    "a client's secret rotated": (
        item("client", "create_client", **CLIENT, secrets=[[b"wrapped", None]]),
        item("client", "rotate_client", 2, **CLIENT, secrets=[[b"wrapped", AT], [b"wrapped too", None]]),
        [("client.rotated", KNOWN)],
    ),
    "a client revoked": (
        item("client", "create_client", **CLIENT, secrets=[[b"wrapped", None]]),
        item("client", "revoke_client", 2, **CLIENT, secrets=[[b"wrapped", None]], revoked_at=AT),
        [("client.revoked", KNOWN)],
    ),
    "a client that is otherwise changed": (
        item("client", "create_client", **CLIENT, secrets=[[b"wrapped", None]]),
        item("client", "rename_client", 2, **CLIENT, secrets=[[b"wrapped", None]]), [],
    ),
    "a campaign created": (
        None, item("campaign", "create_campaign", id="cmp_1", name="春节", rules=RULES),
        [("campaign.created", {"id": "cmp_1", "kind": "gift", "redemption": "single", "code_format": "digits20",
                               "face_value": {"amount_minor": 9, "currency": "CNY"}})],
    ),
    "a campaign that has grown": (
        item("campaign", "create_campaign", id="cmp_1", rules=RULES),
        item("campaign", "create_batch", 2, id="cmp_1", rules=RULES, quantity=100), [],
    ),
    "a channel created": (
        None, item("channel", "create_channel", id="chn_1", kind="offline", name="Shop 12"),
        [("channel.created", {"id": "chn_1", "kind": "offline"})],
    ),
    "routes set": (
        None, item("routing", "change_routes", rows=[[[["north", 1, 0, None, 5], ["aws", 1, 0, 20, 5]], "list", []]]),
        [("routes.changed", {"version": 1, "providers": ["aws", "north"]})],
    ),
    "a recipient who has opted out, is frozen and has quiet hours": (
        item("recipient", "reply", account=SOMEBODY, opted_out=["notices", "reminders"]),
        item("recipient", "change_recipient", 2, account=SOMEBODY, opted_out=["reminders"], quiet=[0, 60],
             zone="Etc/UTC", frozen=[True, 1], held=[False, 1]),
        [("recipient.changed", {"account": SOMEBODY, "changed": ["opted_out", "quiet", "zone", "frozen", "held"],
                                "opted_out": ["reminders"], "frozen": True, "security_hold": False})],
    ),
    "a ticket issued": (
        None, item("ticket", "issue_ticket", **TICKET), [("ticket.issued", {"export": "exp_1", "ticket": "tkt_1"})],
    ),
    "a ticket used": (
        item("ticket", "issue_ticket", **TICKET), item("ticket", "use_ticket", 2, **TICKET, file="1", used_at=AT),
        [("ticket.used", {"export": "exp_1", "ticket": "tkt_1", "file": "1"})],
    ),
    "a batch ordered": (
        None, item("batch", "create_batch", status="in_progress", **BATCH), [("batch.requested", {"id": "bat_1"})],
    ),
    "a batch under way": (
        item("batch", "create_batch", status="in_progress", **BATCH),
        item("batch", "generate", 2, status="in_progress", **BATCH), [],
    ),
    "a batch completed": (
        item("batch", "generate", 2, status="in_progress", **BATCH),
        item("batch", "generate", 3, status="completed", **BATCH), [("batch.completed", BATCH)],
    ),
    "a distribution ordered": (
        None, item("command", "distribute", kind="distribute", id="dst_1"),
        [("distribution.requested", {"id": "dst_1"})],
    ),
    "part of a lot distributed": (
        lot("generate", WHOLE), lot("distribute", HELD, 2, commands=[["dst_1", 20, {}]]),
        [("lot.distributed", {"lot": 100_000, "command": "dst_1", "to": "chn_1", "ranges": [[10, 29]]})],
    ),
    "part of a lot moved to another channel": (
        lot("distribute", HELD, 2),
        lot("distribute", [HELD[0], {**HELD[1], "channel": "chn_2"}, HELD[2]], 3, commands=[["dst_2", 20, {}]]),
        [("lot.distributed", {"lot": 100_000, "command": "dst_2", "from": "chn_1", "to": "chn_2",
                              "ranges": [[10, 29]]})],
    ),
    "part of a lot returned": (
        lot("distribute", HELD, 3), lot("distribute", WHOLE, 4, commands=[["dst_3", 20, {}]]),
        [("lot.returned", {"lot": 100_000, "command": "dst_3", "from": "chn_1", "ranges": [[10, 29]]})],
    ),
    "a distribution that skipped all of a lot": (
        lot("distribute", HELD, 2), lot("distribute", HELD, 3, commands=[["dst_4", 0, {"held": 20}]]), [],
    ),
    "an activation ordered": (
        None, item("command", "activate", kind="activate", id="act_1"), [("activation.requested", {"id": "act_1"})],
    ),
    "an activation's progress": (
        item("command", "activate", kind="activate", id="act_1"),
        item("command", "activate", 2, kind="activate", id="act_1"), [],
    ),
    "a recovery's own range command": (None, item("command", "recall", kind="recall", id="rec_1.veto"), []),
    "a lot generated": (
        None, lot("generate", WHOLE), [("lot.generated", {"lot": 100_000, "batch": "bat_1", "ranges": [[0, 99]]})],
    ),
    "part of a lot activated": (
        lot("generate", WHOLE), lot("activate", ACTIVE, 2, commands=[["act_0", 1, {}], ["act_1", 10, {}]]),
        [("lot.activated", {"lot": 100_000, "command": "act_1", "ranges": [[10, 19]]})],
    ),
    "a lot activated as sold": (
        lot("generate", WHOLE),
        lot("activate", [{**WHOLE[0], "status": "active", "sold": True}], 2, commands=[["act_1", 100, {}]]),
        [("lot.activated", {"lot": 100_000, "command": "act_1", "sold": True, "ranges": [[0, 99]]})],
    ),
    "an activation that skipped all of a lot": (
        lot("activate", ACTIVE, 2), lot("activate", ACTIVE, 3, commands=[["act_2", 0, {"already_active": 10}]]), [],
    ),
    "an activation completed": (
        item("command", "activate", kind="activate", id="act_1", status="in_progress"),
        item("command", "activate", 2, kind="activate", id="act_1", status="completed", changed=10),
        [("activation.completed", {"id": "act_1", "activated": 10})],
    ),
    "a sale completed": (
        item("command", "activate", kind="activate", id="act_1", status="in_progress"),
        item("command", "activate", 2, kind="activate", id="act_1", status="completed", sale=[4_800, "CNY", "shop-12"]),
        [("activation.completed", {"id": "act_1", "activated": 0,
                                   "sale": {"amount_minor": 4_800, "currency": "CNY", "shop": "shop-12"}})],
    ),
    "an extension ordered": (
        None, item("command", "extend", kind="extend", id="ext_1"), [("extension.requested", {"id": "ext_1"})],
    ),
    "part of a lot extended": (
        lot("activate", ACTIVE, 2),
        lot("extend", [ACTIVE[0], {**ACTIVE[1], "valid_until": AT}, ACTIVE[2]], 3, commands=[["ext_1", 10, {}]]),
        [("lot.extended", {"lot": 100_000, "command": "ext_1", "ranges": [[10, 19]]})],
    ),
    "a voucher extended": (
        voucher("activate", "active", command="act_1", valid_until=AT - 1),
        voucher("extend", "active", 2, command="act_1", valid_until=AT, extensions=["ext_0", "ext_1"]),
        [("voucher.extended", {**CARD, "command": "ext_1", "valid_until": "2027-01-15T08:00:00Z"})],
    ),
    "a lot recalled": (
        lot("activate", ACTIVE, 2),
        lot("recall", [{**s, "vetoes": [VETO]} for s in ACTIVE], 3, commands=[["rec_1.veto", 100, {}]]),
        [("lot.recalled", {"lot": 100_000, "recovery": "rec_1", "action": "void", "scope": "not_redeemed",
                           "ranges": [[0, 99]]})],
    ),
    "a lot recalled, of which a channel holds a part": (
        lot("distribute", [{**s, "channel": "chn_1"} for s in ACTIVE], 2),
        lot("recall", [{**s, "channel": "chn_1", "vetoes": [VETO]} for s in ACTIVE], 3,
            commands=[["rec_1.veto", 100, {}]]),
        [("lot.recalled", {"lot": 100_000, "recovery": "rec_1", "action": "void", "scope": "not_redeemed",
                           "channels": {"chn_1": [[0, 99]]}, "ranges": [[0, 99]]})],
    ),
    "a lot reclaimed": (
        lot("recall", [{**s, "vetoes": [VETO]} for s in WHOLE], 3),
        lot("release", [{**s, "vetoes": [VETO], "generation": 2} for s in WHOLE], 4,
            commands=[["rec_1.release", 100, {}]]),
        [("lot.reclaimed", {"lot": 100_000, "recovery": "rec_1", "ranges": [[0, 99]]})],
    ),
    "a lot reclaimed, of which a channel held a part": (
        lot("recall", [{**s, "channel": "chn_1", "vetoes": [VETO]} for s in WHOLE], 3),
        lot("release", [{**s, "vetoes": [VETO], "generation": 2} for s in WHOLE], 4,
            commands=[["rec_1.release", 100, {}]]),
        [("lot.reclaimed", {"lot": 100_000, "recovery": "rec_1", "channels": {"chn_1": [[0, 99]]},
                            "ranges": [[0, 99]]})],
    ),
    "a voucher activated": (
        None, voucher("activate", "active", command="act_1"), [("voucher.activated", {**CARD, "command": "act_1"})],
    ),
    "a voucher redeemed": (
        None, voucher("redeem", "redeemed", redemptions={"red-1": redemption()}),
        [("voucher.redeemed", {**CARD, "redemption": USED})],
    ),
    "a voucher held": (
        voucher("redeem", "partly_redeemed", holds={"hld-0": hold("hld-0")}),
        voucher("hold", "partly_redeemed", 2, holds={"hld-0": hold("hld-0"), "hld-1": hold("hld-1")}),
        [("voucher.held", {**CARD, **KEPT, "expires_at": "2027-01-15T08:15:00Z"})],
    ),
    "a hold captured": (
        voucher("hold", "active", holds={"hld-1": hold("hld-1")}),
        voucher("capture", "redeemed", 2, holds={"hld-1": hold("hld-1", redemption="red-1")},
                redemptions={"red-1": redemption(hold="hld-1")}),
        [("voucher.redeemed", {**CARD, "redemption": USED, "hold": "hld-1"})],
    ),
    "a hold released": (
        voucher("hold", "active", 2, holds={"hld-0": hold("hld-0", release={"id": "r"}), "hld-1": hold("hld-1")}),
        voucher("release", "active", 3, holds={"hld-0": hold("hld-0", release={"id": "r"}),
                                               "hld-1": hold("hld-1", release={"id": "s"})}),
        [("voucher.released", {**CARD, **KEPT})],
    ),
    "a redemption reversed": (
        voucher("redeem", "redeemed", redemptions={"red-0": redemption(id="red-0"), "red-1": redemption()}),
        voucher("reverse", "active", 2, redemptions={"red-0": redemption(id="red-0"),
                                                     "red-1": redemption(reversal={"id": "rev-1"})}),
        [("voucher.reversed", {**CARD, "redemption": {**USED, "status": "active"}, "reversal": "rev-1"})],
    ),
    "a voucher offered": (
        voucher("return", "claimed", holder="+8613812345678", transfers={"trf_0": OVER}),
        voucher("offer", "claimed", 2, holder="+8613812345678",
                transfers={"trf_0": OVER, "trf_1": OFFER}),
        [("voucher.offered", {**CARD, "transfer": "trf_1", "expires_at": "2027-01-15T08:00:00Z"})],
    ),
    "an offer accepted": (
        voucher("offer", "claimed", 2, holder="+8613812345678", transfers={"trf_1": OFFER}),
        voucher("transfer", "claimed", 3, holder="+8613812345679",
                transfers={"trf_1": OFFER | {"end": {"id": "x", "accepted": True}}}),
        [("voucher.transferred", {**CARD, "transfer": "trf_1"})],
    ),
    "an offer returned": (
        voucher("offer", "claimed", 2, holder="+8613812345678", transfers={"trf_1": OFFER}),
        voucher("return", "claimed", 3, holder="+8613812345678",
                transfers={"trf_1": OFFER | {"end": {"id": "x", "accepted": False}}}),
        [("voucher.offer_returned", {**CARD, "transfer": "trf_1"})],
    ),
    "a voucher voided": (
        voucher("activate", "active", command="act_1"), voucher("recall", "void", 2, command="rec_1.veto"),
        [("voucher.voided", {**CARD, "recovery": "rec_1"})],
    ),
    "a voucher dispensed": (
        None, voucher("dispense", "active", draws=[["dsp_1", 1, AT, None, "f", "r", "active"]]),
        [("voucher.dispensed", {**CARD, "dispense": "dsp_1"})],
    ),
    "a voucher claimed": (
        None, voucher("claim", "claimed", holder="+8613812345678", draws=[["clm_1", 1, AT, None, "f", "r", "claimed"]]),
        [("voucher.claimed", {**CARD, "claim": "clm_1"})],
    ),
    "a reconciliation ordered": (
        None, item("reconciliation", "request_reconciliation", id="rcn_1"),
        [("reconciliation.requested", {"id": "rcn_1"})],
    ),
    "a reconciliation under way": (
        item("reconciliation", "request_reconciliation", id="rcn_1"),
        item("reconciliation", "reconcile", 2, id="rcn_1", checked=3), [],
    ),
    "a reconciliation completed": (
        item("reconciliation", "reconcile", 2, id="rcn_1", checked=3),
        item("reconciliation", "reconcile", 3, id="rcn_1", checked=3, completed_at=AT, differences={"line_missing": 2}),
        [("reconciliation.completed", {"id": "rcn_1", "checked": 3, "differences": 2})],
    ),
    "a redemption posted": (
        None, item("line", "post", **ACCOUNT, movement=MOVEMENT, number=1, balance_minor=0),
        [("ledger.posted", {**MOVED, "kind": "redeemed", "number": 1, "balance_minor": 0})],
    ),
    "a reversal posted": (
        None,
        item("line", "post", **ACCOUNT, movement=["reversed", *MOVEMENT[1:5], "rev-1", False], number=2,
             balance_minor=5_000),
        [("ledger.posted", {**MOVED, "kind": "reversed", "reversal": "rev-1", "number": 2, "balance_minor": 5_000})],
    ),
    "a redemption cancelled": (
        None, item("line", "post", **ACCOUNT, movement=MOVEMENT, number=1, balance_minor=0, posted=False), [],
    ),
    "a redemption disputed": (
        None, item("dispute", "dispute", **ACCOUNT, movement=MOVEMENT, balance_minor=0, reason="overdrawn"),
        [("ledger.disputed", {**MOVED, "kind": "redeemed", "reason": "overdrawn", "balance_minor": 0})],
    ),
    "stock supplied": (None, item("front", "supply", campaign="cmp_1", unopened=10), []),
    "stock that is low": (
        item("front", "open", campaign="cmp_1"), item("front", "open", 2, campaign="cmp_1", low=0),
        [("stock.low", {"campaign": "cmp_1", "left": 0})],
    ),
    "stock that is low still": (
        item("front", "open", 2, campaign="cmp_1", low=9), item("front", "open", 3, campaign="cmp_1", low=9), [],
    ),
    "two codes revealed": (
        None, item("reveal", "reveal", id="rvl_1", reason="print proof", serials=[SERIAL, serial_of(POSITION + 1)]),
        [("voucher.revealed", {**CARD, "reveal": "rvl_1", "reason": "print proof"}),
         ("voucher.revealed", {**CARD, "serial": serial_of(POSITION + 1), "reveal": "rvl_1", "reason": "print proof"})],
    ),
    "an export ordered": (None, item("export", "request_export", **EXPORT), [("export.requested", {"id": "exp_1"})]),
    "a file of an export written": (
        item("export", "export", 2, **EXPORT, files=[[POSITION, POSITION + 9_999, 1, "a", b"wrapped"]]),
        item("export", "export", 3, **EXPORT, files=[[POSITION, POSITION + 9_999, 1, "a", b"wrapped"],
                                                     [POSITION + 10_000, POSITION + 20_004, 1, "b", b"wrapped"]]),
        [("lot.exported", {"lot": 100_001, "export": "exp_1", "ranges": [[0, 9_999]]}),
         ("lot.exported", {"lot": 100_002, "export": "exp_1", "ranges": [[0, 4]]})],
    ),
    "an export completed": (
        item("export", "export", 3, **EXPORT, files=[[POSITION, POSITION + 99, 1, "a", b"wrapped"]]),
        item("export", "export", 4, **EXPORT, files=[[POSITION, POSITION + 99, 1, "a", b"wrapped"]], manifest=[1, "c"]),
        [("export.completed", {"id": "exp_1", "batch": "bat_1", "quantity": 100})],
    ),
    "an export of the record ordered": (None, item("audit_export", "request_export", id="aex_1"), []),
    "an export of the record written": (
        item("audit_export", "request_export", id="aex_1"),
        item("audit_export", "export", 2, id="aex_1", entries=7, size=900, completed_at=AT),
        [("record.exported", {"id": "aex_1", "entries": 7})],
    ),
    "an import ordered": (None, item("import", "request_import", **IMPORT), []),
    "an import started": (
        item("import", "request_import", **IMPORT), item("import", "start_import", 2, started_at=AT, **IMPORT),
        [("import.requested", {"id": "imp_1"})],
    ),
    "an import under way": (
        item("import", "start_import", 2, started_at=AT, **IMPORT),
        item("import", "import", 3, started_at=AT, accepted=10, refused={"invalid": 1}, **IMPORT), [],
    ),
    "an import completed": (
        item("import", "import", 3, started_at=AT, accepted=10, refused={"invalid": 1}, **IMPORT),
        item("import", "import", 4, started_at=AT, completed_at=AT, accepted=10,
             refused={"invalid": 1, "duplicate_in_file": 2}, **IMPORT),
        [("import.completed", {"id": "imp_1", "campaign": "cmp_1", "batch": "bat_1", "accepted": 10, "refused": 3})],
    ),
    "an import failed": (
        item("import", "start_import", 2, started_at=AT, **IMPORT),
        item("import", "import", 3, started_at=AT, completed_at=AT, fault=["not_utf_8", "", 7], **IMPORT),
        [("import.completed", {"id": "imp_1", "campaign": "cmp_1", "accepted": 0, "refused": 0,
                               "fault": "not_utf_8"})],
    ),
    "an import's batch": (
        None, item("batch", "import", status="completed", **BATCH), [("batch.completed", BATCH)],
    ),
    "a lot imported": (
        None, lot("import", WHOLE), [("lot.imported", {"lot": 100_000, "batch": "bat_1", "ranges": [[0, 99]]})],
    ),
    "a recovery ordered": (
        None, item("recovery", "request_recovery", id="rec_1", action="void", reason="stolen"),
        [("recovery.requested", {"id": "rec_1", "action": "void", "reason": "stolen"})],
    ),
    "an authenticator given": (
        None, item("enrolment", "enrol", client="operator-1", wrapped_secret=b"wrapped"),
        [("client.enrolled", {"id": "operator-1"})],
    ),
    "a one-time code used": (
        item("enrolment", "enrol", client="operator-1", wrapped_secret=b"wrapped"),
        item("enrolment", "step_up", 2, client="operator-1", wrapped_secret=b"wrapped", step=1, used_for="rec_1"), [],
    ),
    "an authenticator taken away": (
        item("enrolment", "step_up", 2, client="operator-1", wrapped_secret=b"wrapped", step=1, used_for="rec_1"),
        item("enrolment", "withdraw", 3, client="operator-1", step=1, used_for="rec_1"),
        [("client.withdrawn", {"id": "operator-1"})],
    ),
    "a reclaim announced": (
        item("campaign", "create_campaign", id="cmp_1", reclaim={"days": 1, "due_at": AT}),
        item("campaign", "announce_reclaim", 2, id="cmp_1", reclaim={"days": 1, "due_at": AT, "announced_at": AT - 9}),
        [("recovery.announced", {"campaign": "cmp_1", "due_at": "2027-01-15T08:00:00Z"})],
    ),
    "a reclaim stopped": (
        item("campaign", "announce_reclaim", 2, id="cmp_1", reclaim={"days": 1, "due_at": AT, "announced_at": AT - 9}),
        item("campaign", "stop_reclaim", 3, id="cmp_1",
             reclaim={"days": 1, "due_at": AT, "announced_at": AT - 9, "stopped_at": AT - 8}),
        [("recovery.stopped", {"campaign": "cmp_1", "due_at": "2027-01-15T08:00:00Z"})],
    ),
    "a recovery that needs a second person": (
        None, item("recovery", "request_recovery", id="rec_1", action="void", reason="stolen", phase="approval",
                   approval={"vouchers": 3, "value": {"CNY": 15_000}, "digest": "d", "expires_at": AT}),
        [("recovery.approval_requested", {"id": "rec_1", "action": "void", "reason": "stolen", "vouchers": 3,
                                          "expires_at": "2027-01-15T08:00:00Z"})],
    ),
    "a recovery approved": (
        item("recovery", "request_recovery", id="rec_1", action="void", phase="approval"),
        item("recovery", "decide", 2, id="rec_1", action="void"), [("recovery.approved", {"id": "rec_1"})],
    ),
    "a recovery rejected": (
        item("recovery", "request_recovery", id="rec_1", action="void", phase="approval"),
        item("recovery", "decide", 2, id="rec_1", action="void", phase="rejected"),
        [("recovery.rejected", {"id": "rec_1"})],
    ),
    "a recovery under way": (
        item("recovery", "decide", 2, id="rec_1", action="void"),
        item("recovery", "recover", 3, id="rec_1", action="void", phase="fence"), [],
    ),
    "a recovery completed": (
        item("recovery", "recover", 3, id="rec_1", action="void", phase="survey"),
        item("recovery", "recover", 4, id="rec_1", action="void", phase="done", selected=3, recovered=2),
        [("recovery.completed", {"id": "rec_1", "action": "void", "selected": 3, "recovered": 2})],
    ),
    "an erasure ordered": (
        None, item("erasure", "erase", id="ers_1", account="acc_1"), [("erasure.requested", {"id": "ers_1"})],
    ),
    "an erasure's progress": (
        item("erasure", "erase", id="ers_1", account=PERSON),
        item("erasure", "erase", 2, id="ers_1", account=PERSON, phase="messages"), [],
    ),
    "an erasure completed": (
        item("erasure", "erase", 3, id="ers_1", account=PERSON, phase="messages"),
        item("erasure", "erase", 4, id="ers_1", account=PERSON, phase="done", erased={"vouchers": 2}),
        [("erasure.completed", {"id": "ers_1", "account": PERSON, "erased": {"vouchers": 2}})],
    ),
    "a person taken out of a voucher": (
        voucher("redeem", "redeemed", redemptions={"red-1": redemption()}),
        voucher("erase", "redeemed", 2, redemptions={"red-1": redemption(account_number=PERSON)}),
        [("voucher.erased", CARD)],
    ),
    "a lot restored": (
        lot("activate", WHOLE, 2), lot("restore", [{**WHOLE[0], "vetoes": [VETO]}], 4),
        [("lot.restored", {"lot": 100_000, "ranges": [[0, 99]]})],
    ),
    "a voucher restored": (None, voucher("restore", "redeemed", 3), [("voucher.restored", CARD)]),
    "a lot suspended": (
        lot("activate", WHOLE, 2), lot("recall", [{**WHOLE[0], "vetoes": [["rec_1", "suspend", "all", 1]]}], 3,
                                       commands=[["rec_1.veto", 100, {}]]),
        [("lot.recalled", {"lot": 100_000, "recovery": "rec_1", "action": "suspend", "scope": "all",
                           "ranges": [[0, 99]]})],
    ),
    "a suspension taken over": (
        lot("recall", [{**WHOLE[0], "vetoes": [["rec_1", "suspend", "all", 1]]}], 3),
        lot("take_over", [{**WHOLE[0], "vetoes": [["rec_2", "suspend", "all", 1]]}], 4,
            commands=[["rec_2.veto", 100, {}]]),
        [("lot.resuming", {"lot": 100_000, "recovery": "rec_2", "lifts": "rec_1", "ranges": [[0, 99]]})],
    ),
    "one of two suspensions taken over": (
        lot("recall", [{"first": 0, "last": 99, "vetoes": [VETO, ["rec_1", "suspend", "all", 1]]}], 3),
        lot("take_over", [{"first": 0, "last": 9, "vetoes": [VETO, ["rec_1", "suspend", "all", 1]]},
                          {"first": 10, "last": 99, "vetoes": [VETO, ["rec_2", "suspend", "all", 1]]}], 4,
            commands=[["rec_2.veto", 90, {}]]),
        [("lot.resuming", {"lot": 100_000, "recovery": "rec_2", "lifts": "rec_1", "ranges": [[10, 99]]})],
    ),
    "a lot resumed": (
        lot("take_over", [{**WHOLE[0], "vetoes": [["rec_2", "suspend", "all", 1]]}], 4),
        lot("resume", WHOLE, 5, commands=[["rec_2.release", 100, {}]]),
        [("lot.resumed", {"lot": 100_000, "recovery": "rec_2", "ranges": [[0, 99]]})],
    ),
    "a single voucher suspended": (
        None, voucher("recall", "suspended", command="rec_1.veto", suspension=["active", ["rec_1"]]),
        [("voucher.suspended", {**CARD, "recovery": "rec_1"})],
    ),
    "a single voucher's suspension taken over": (
        voucher("recall", "suspended", suspension=["active", ["rec_1"]]),
        voucher("take_over", "suspended", 2, suspension=["active", ["rec_2"]]),
        [("voucher.resuming", {**CARD, "recovery": "rec_2", "lifts": "rec_1"})],
    ),
    "a single voucher that stays suspended by another recovery": (
        voucher("take_over", "suspended", 2, suspension=["active", ["rec_2", "rec_3"]]),
        voucher("resume", "suspended", 3, suspension=["active", ["rec_3"]]),
        [("voucher.resumed", {**CARD, "recovery": "rec_2"})],
    ),
    "a single voucher resumed": (
        voucher("take_over", "suspended", 2, suspension=["active", ["rec_2"]]), voucher("resume", "active", 3),
        [("voucher.resumed", {**CARD, "recovery": "rec_2"})],
    ),
    "a voucher reissued": (
        voucher("claim", "claimed", 2), voucher("reissue", "reissued", 3, reissue=["rec_1", POSITION + 1, 3_000]),
        [("voucher.reissued", {**CARD, "recovery": "rec_1", "successor": NEXT, "amount_minor": 3_000,
                               "currency": "CNY", "generation": 1})],
    ),
    "a voucher that replaces another": (
        None, voucher("reissue", "claimed", origin=["rec_1", POSITION + 1, 3_000, 1, []]),
        [("voucher.issued", {**CARD, "recovery": "rec_1", "predecessor": NEXT, "amount_minor": 3_000,
                             "currency": "CNY", "generation": 1})],
    ),
    "a reversal of what was replaced since": (
        voucher("reissue", "reissued", 3, reissue=["rec_1", POSITION + 1, 3_000], redemptions={"red-1": redemption()}),
        voucher("reverse", "reissued", 4, reissue=["rec_1", POSITION + 1, 3_000],
                redemptions={"red-1": redemption(reversal={"id": "rev-1", "credited": POSITION + 1})}),
        [("voucher.reversed", {**CARD, "redemption": {**USED, "status": "reissued"}, "reversal": "rev-1",
                               "credited": NEXT})],
    ),
    "its value on what replaces it": (
        voucher("reissue", "claimed", origin=["rec_1", POSITION + 1, 3_000, 1, []]),
        voucher("reverse", "claimed", 2, origin=["rec_1", POSITION + 1, 3_000, 1, [["red-1", 2_000]]]),
        [("voucher.credited", {**CARD, "redemption": "red-1", "predecessor": NEXT, "amount_minor": 2_000,
                               "currency": "CNY", "balance_minor": 0, "status": "claimed", "generation": 1})],
    ),
    "a message on its way": (None, message(1, status="sending", attempts=[ATTEMPT]), []),
    "a message that a provider took": (
        message(2, status="sending", attempts=[ATTEMPT]),
        message(3, status="sent", attempts=[{**ATTEMPT, "outcome": "sent"}]), [],
    ),
    "a message delivered": (
        message(3, status="sent", attempts=[ATTEMPT]), message(4, status="delivered", attempts=[ATTEMPT]),
        [("message.ended", {**SMS, "status": "delivered"})],
    ),
    "a message of a redemption to a tenant's customer": (
        message(3, status="sent", attempts=[ATTEMPT], **OWNED),
        message(4, status="delivered", attempts=[ATTEMPT], **OWNED),
        [("message.ended", {**SMS, **OWNED, "status": "delivered"})],
    ),
    "a message undelivered": (
        message(3, status="sent", attempts=[ATTEMPT]),
        message(4, status="undelivered", attempts=[{**ATTEMPT, "outcome": "undelivered", "reason": "phone_full"}]),
        [("message.ended", {**SMS, "status": "undelivered", "reason": "phone_full"})],
    ),
    "a message suppressed": (
        None, message(1, status="suppressed", reason="opted_out"),
        [("message.ended", {**SMS, "status": "suppressed", "reason": "opted_out"})],
    ),
    "a message resent": (
        None, message(1, resend_of="msg_0"), [("message.requested", {"id": "msg_1"})],
    ),
    "a message's receipt once more": (
        message(4, status="delivered", attempts=[ATTEMPT]), message(5, status="delivered", attempts=[ATTEMPT]), [],
    ),
    "a complaint": (
        None, item("complaint", "complain", **COMPLAINT),
        [("complaint.created", {**ABOUT, "status": "undelivered", "reason": "phone_full"})],
    ),
    "a complaint with its outcome": (
        item("complaint", "complain", **COMPLAINT),
        item("complaint", "close", 2, **COMPLAINT, outcome=["out_1", "arrived", AT, "c"]),
        [("complaint.closed", {**ABOUT, "outcome": "arrived"})],
    ),
    "a holder's voucher recovered": (
        None, item("recovered", "recover", position=POSITION, recovery="rec_1", action="void", reason="stolen"),
        [("voucher.recovered", {**CARD, "recovery": "rec_1", "action": "void", "reason": "stolen", "generation": 1})],
    ),
    "a webhook made": (
        None, item("webhook", "create", **WEBHOOK),
        [("webhook.created", {"id": "whk_1", "tenant": "acme", "events": ["message.ended", "voucher.redeemed"]})],
    ),
    "a webhook's secret rotated": (
        item("webhook", "create", **WEBHOOK),
        item("webhook", "rotate", 2, **{**WEBHOOK, "secrets": [[b"wrapped too", "rot"], [b"wrapped", "whk", AT]]}),
        [("webhook.rotated", ENDPOINT)],
    ),
    "a webhook disabled": (
        item("webhook", "create", **WEBHOOK), item("webhook", "disable", 2, **WEBHOOK, **OFF),
        [("webhook.disabled", {**ENDPOINT, "reason": "gone"})],
    ),
    "a webhook enabled": (
        item("webhook", "disable", 2, **WEBHOOK, **OFF), item("webhook", "enable", 3, **WEBHOOK),
        [("webhook.enabled", ENDPOINT)],
    ),
    "a webhook deleted while it was disabled": (
        item("webhook", "disable", 2, **WEBHOOK, **OFF),
        item("webhook", "delete", 3, **{**WEBHOOK, "url": "", "types": [], "secrets": []}, **OFF, deleted_at=AT),
        [("webhook.deleted", ENDPOINT)],
    ),
    "a message that is over and erased": (
        message(1, status="failed", reason="expired"),
        item("message", "erase", 2, **SMS, status="failed", reason="expired", recipient="acc_1"), [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CASES.values(), ids=CASES)
def test_a_write_tells_what_it_means_by_the_schema_of_its_type(
    old: Item | None, new: Item, expected: list[tuple[str, Item]]
) -> None:
    assert told(old, new) == expected
    assert told(old, new) == expected  # whoever reads it again


@pytest.mark.parametrize(("new", "marked"), [
    (lot("generate", WHOLE, rules={"campaign": "cmp_1", "sandbox": True}), True),
    (lot("generate", WHOLE, rules={"campaign": "cmp_1"}), False),
    (voucher("redeem", "redeemed", redemptions={"red-1": redemption()}, sandbox=True), True),
    (voucher("redeem", "redeemed", redemptions={"red-1": redemption()}), False),
    (item("batch", "create_batch", status="in_progress", sandbox=True, **BATCH), True),
])  # fmt: skip
def test_what_is_of_the_sandbox_is_told_as_such(new: Item, marked: bool) -> None:
    (event,) = events(None, new, AT, 1)
    jsonschema_rs.validate(schema(event.type), event.detail(), validate_formats=True)
    assert event.detail().get("sandbox", False) is marked
    assert ("sandbox" in event.detail()) is marked


def test_what_a_client_of_the_sandbox_orders_is_of_it() -> None:
    ordered = item("command", "activate", kind="activate", id="act_1")
    ordered["last"] = {**ordered["last"], "role": "partner", "tenant": "sandbox-acme"}
    (event,) = events(None, ordered, AT, 1)
    assert event.detail()["sandbox"] is True


def test_every_type_is_told_by_some_case_and_has_schema_and_example() -> None:
    assert {type for _, _, found in CASES.values() for type, _ in found} == set(TYPES) - BY_THE_CLOCK
    told = {**TYPES, **record.TYPES}
    assert {path.name for path in (FOLDER / "schemas").iterdir()} == {f"{t}.v{n}.json" for t, n in told.items()}
    assert {path.stem for path in (FOLDER / "bus").iterdir()} == set(TYPES)


@pytest.mark.parametrize("type", TYPES)
def test_the_example_of_each_type_is_valid(type: str) -> None:
    example = json.loads((FOLDER / "bus" / f"{type}.json").read_text())
    assert (example["source"], example["detail-type"]) == ("kami", type)
    jsonschema_rs.meta.validate(schema(type))
    jsonschema_rs.validate(schema(type), example["detail"], validate_formats=True)


@pytest.mark.parametrize("type", get_args(EventType))
def test_notify_understands_the_example_of_what_it_takes(type: str) -> None:
    example = (FOLDER / "bus" / f"{type}.json").read_text()
    order = ORDER.validate_python(json.loads(example)["detail"])
    assert isinstance(order, Told)
    assert (order.type, order.version) == (type, TYPES[type])


@pytest.mark.parametrize("type", get_args(webhooks.EventType))
def test_webhooks_understands_the_example_of_what_it_takes(type: str) -> None:
    example = (FOLDER / "bus" / f"{type}.json").read_text()
    order = webhooks.ORDER.validate_python(json.loads(example)["detail"])
    assert isinstance(order, webhooks.Told)
    assert set(TOLD[type]) & set(order.data)
    assert order.by.by()


@pytest.mark.parametrize(
    "type",
    [
        "batch.requested",
        "distribution.requested",
        "activation.requested",
        "extension.requested",
        "recovery.requested",
        "reconciliation.requested",
        "message.requested",
        "recovery.approved",
        "export.requested",
        "import.requested",
    ],
)
def test_what_becomes_a_job_names_its_work(type: str) -> None:
    assert schema(type)["properties"]["data"]["required"] == ["id"]


def test_an_id_names_the_write_and_counts_what_it_caused() -> None:
    one = events(None, CASES["a voucher redeemed"][1], AT, 7)
    assert [event.id for event in one] == ["7.VOUCHER#1.1"]
    two = events(None, CASES["two codes revealed"][1], AT, 7)
    assert [event.id for event in two] == ["7.REVEAL#1.1.1", "7.REVEAL#1.1.2"]


def test_what_is_entered_of_a_movement_is_told_under_the_incarnation_in_which_it_moved() -> None:
    line = {**CASES["a redemption posted"][1], "pk": "LEDGER#1", "sk": "LINE#1"}
    assert [event.id for event in events(None, line, AT, 7)] == ["1.LEDGER#1/LINE#1.1"]
    dispute = {**CASES["a redemption disputed"][1], "pk": "LEDGER#1", "sk": "DISPUTE#1"}
    assert [event.id for event in events(None, dispute, AT, 7)] == ["1.LEDGER#1/DISPUTE#1.1"]
    again = item("line", "restore", **ACCOUNT, movement=MOVEMENT, number=1, balance_minor=0)
    assert events(None, again, AT, 7) == []


def test_the_id_of_one_of_several_items_in_a_partition_names_its_sort_key_too() -> None:
    issued = {**item("ticket", "issue_ticket", **TICKET), "pk": "EXPORT#exp_1", "sk": "TICKET#tkt_1"}
    assert [event.id for event in events(None, issued, AT, 7)] == ["7.EXPORT#exp_1/TICKET#tkt_1.1"]
    front = {**CASES["stock that is low"][1], "pk": "POOL#cmp_1", "sk": "FRONT"}
    assert [event.id for event in events(None, front, AT, 7)] == ["7.POOL#cmp_1/FRONT.2"]


@pytest.mark.parametrize(("case", "expected"), [
    ("a client created", {"role": [None, "support"], "tenant": [None, "operator"]}),
    ("a client revoked", {"revoked_at": [None, "2027-01-15T08:00:00Z"]}),
    ("a client's secret rotated", {}),
    ("a ticket used", {"file": [None, "1"], "used_at": [None, "2027-01-15T08:00:00Z"]}),
    ("a batch completed", {"status": ["in_progress", "completed"]}),
    ("a lot generated", {"status": [None, "generated"], "generation": [None, 1]}),
    ("part of a lot activated", {"status": ["generated", "active"]}),
    ("part of a lot moved to another channel", {"channel": ["chn_1", "chn_2"]}),
    ("part of a lot extended", {"valid_until": [None, "2027-01-15T08:00:00Z"]}),
    ("a lot reclaimed", {"generation": [1, 2]}),
    ("a lot recalled", {"vetoes": [None, "void rec_1"]}),
    ("a voucher redeemed", {"status": [None, "redeemed"], "generation": [None, 1], "balance_minor": [None, 0]}),
    ("a redemption reversed", {"status": ["redeemed", "active"]}),
    ("an offer accepted", {}),
])  # fmt: skip
def test_what_a_write_changed_is_told_by_key_before_and_after(case: str, expected: Item) -> None:
    old, new, _ = CASES[case]
    assert [event.changes for event in events(old, new, AT, 1)] == [expected]


def test_where_the_vouchers_of_a_lot_were_of_several_kinds_all_are_told() -> None:
    again: list[Item] = [{**HELD[1], "first": 0, "channel": "chn_2"}, HELD[2]]
    (event,) = events(lot("distribute", HELD), lot("distribute", again, 2, commands=[["dst_1", 30, {}]]), AT, 1)
    assert event.data["ranges"] == [[0, 29]]
    assert event.changes == {
        "status": [["generated", "distributed"], "distributed"],
        "channel": [[None, "chn_1"], "chn_2"],
    }


def test_no_event_holds_an_account_number_or_a_key() -> None:
    for old, new, _ in CASES.values():
        text = json.dumps([event.detail() for event in events(old, new, AT, 1)])
        assert "13812345678" not in text and "Wang" not in text
        assert "wrapped" not in text


@pytest.mark.parametrize("entity", ["voucher", "lot"])
def test_an_unknown_command_of_a_known_entity_is_refused_rather_than_lost(entity: str) -> None:
    with pytest.raises(UnknownCommand, match=f"{entity}, conjure"):
        events(None, item(entity, "conjure"), AT, 1)


@pytest.mark.parametrize(
    "entity",
    [
        "history",
        "counts",
        "delivery_counts",
        "delivery_counted",
        "pointer",
        "pulse",
        "roster",
        "delivery",
        "report",
        "entry",
        "page",
        "chain",
        "counter",
        "guard",
        "stock",
        "expiry",
        "imported",
        "refusals",
        "account",
        "moved",
        "findings",
    ],
)
def test_what_relay_and_consumers_write_causes_no_event(entity: str) -> None:
    assert entity not in ENTITIES
    assert events(None, item(entity, "redeem"), AT, 1) == []


def test_a_channel_that_is_new_to_a_lot_is_told_and_one_that_was_there_is_not() -> None:
    other = [HELD[0], {**HELD[1], "last": 19}, {**HELD[1], "first": 20, "channel": "chn_2"}, HELD[2]]
    told = [(h.channel, h.lot, h.by.client) for h in holdings(lot("distribute", HELD), lot("distribute", other, 2))]
    assert told == [("chn_2", 100_000, "c")]
    assert [h.channel for h in holdings(None, lot("distribute", other))] == ["chn_1", "chn_2"]
    assert holdings(lot("distribute", other), lot("distribute", WHOLE, 2)) == []


def test_more_fields_than_this_version_knows_change_nothing() -> None:
    for old, new, expected in CASES.values():
        assert told(old, {**new, "colour": "red", "last": {**new["last"], "device": "d"}}) == expected


def test_counts_move_from_the_old_status_to_the_new() -> None:
    active, dated = voucher("activate", "active"), voucher("activate", "active", valid_until=AT)
    used = voucher("redeem", "redeemed", 2)
    assert counts(None, active) == {"active": 1}
    assert counts(active, used) == {"active": -1, "redeemed": 1}
    assert counts(used, voucher("redeem", "redeemed", 3)) == {}
    assert counts(None, dated) == {"active": 1, DATED: 1}
    assert counts(dated, used) == {"active": -1, "redeemed": 1, DATED: -1}
    assert {entity for entity, _ in EVENTS} == ENTITIES


def plain(segments: tuple[Segment, ...]) -> list[Item]:
    return [{"first": s.first, "last": s.last, "status": s.status.value} for s in segments]


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.sampled_from(list(Status))), max_size=12))
def test_the_changed_ranges_are_exactly_the_indexes_that_differ(writes: list[tuple[int, int, Status]]) -> None:
    def status_of(segments: tuple[Segment, ...]) -> list[Status]:
        return [s.status for s in segments for _ in range(len(s))]

    before: tuple[Segment, ...] = (Segment(0, 99),)
    for one, other, status in writes:
        first, last = sorted((one, other))
        after = rewritten(before, [(first, last)], lambda s, to=status: Segment(s.first, s.last, to))  # type: ignore[misc]
        ranges = changed(plain(before), plain(after))
        differing = {i for i, (a, b) in enumerate(zip(status_of(before), status_of(after), strict=True)) if a != b}
        assert [i for first, last in ranges for i in range(first, last + 1)] == sorted(differing)
        assert all(b[0] > a[1] + 1 for a, b in pairwise(ranges))
        before = after
