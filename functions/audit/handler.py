"""audit: what is told on the bus and at the edge is put on record, and read again."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from functions.audit import exports, sealing
from functions.audit.models import (
    TAKEN,
    Actor,
    AuditExportAnswer,
    AuditExportRequest,
    CheckpointAnswer,
    CheckpointList,
    EntriesRequest,
    EntryAnswer,
    EntryList,
    HeadAnswer,
    Numbers,
    Told,
)
from functions.domain.audit import KEPT_S, AuditExport
from functions.domain.record import Entry
from functions.domain.seal import Checkpoint
from functions.domain.serials import position_of
from functions.domain.times import epoch, rfc3339
from functions.edge import clock, record, tokens
from functions.edge.batch import RESERVE_S
from functions.edge.http import App, Call, Event, Reply, Response, accepted, of_query, ok, refuse_fields, see_other
from functions.edge.log import failed, logger
from functions.store import cursors, seals
from functions.store import record as entries
from functions.store.record import Wanted

app = App("audit")


@app.route("GET /v1/audit")
def list_entries(call: Call) -> Reply[EntryList]:
    found, next_cursor = entries.page(_wanted(call), call.limit(), call.query.get("cursor"), call.by.client)
    return ok(EntryList(data=[_answer(entry) for entry in found], next_cursor=next_cursor))


def _wanted(call: Call) -> Wanted:
    asked = of_query(EntriesRequest, call.query)
    if asked.serial is not None and asked.actor is not None:
        refuse_fields([("query.actor", "not together with a serial")])
    position = position_of(asked.serial) if asked.serial is not None else None
    if asked.serial is not None and position is None:
        refuse_fields([("query.serial", "no serial: its check digit does not fit")])
    times = {"since": asked.since, "to": asked.to}
    return Wanted(position, asked.actor, **{name: _at(time) for name, time in times.items() if time is not None})


def _at(time: str) -> int:
    return max(0, epoch(time))


def _answer(entry: Entry) -> EntryAnswer:
    event, by = entry.event, entry.event["by"]
    return EntryAnswer(
        id=event["id"],
        type=event["type"],
        at=event["at"],
        by=Actor(**by),
        data=event["data"],
        changes=event.get("changes", {}),
        chain=entry.chain,
        number=entry.number,
        prev=entry.prev,
        hash=entry.hash,
    )


@app.route("GET /v1/audit/checkpoints")
def list_checkpoints(call: Call) -> Reply[CheckpointList]:
    bound_to = (call.by.client, "checkpoints")
    after = call.query.get("cursor")
    place = int(cursors.unseal(after, *bound_to)) if after is not None else None
    limit = call.limit()
    found = seals.checkpoints(limit + 2, after=place, newest_first=True)
    sealed = [checkpoint for checkpoint in found if checkpoint.jws is not None]
    shown = sealed[:limit]
    next_cursor = cursors.seal(str(shown[-1].number), *bound_to) if len(sealed) > limit else None
    return ok(CheckpointList(data=[_checkpoint(checkpoint) for checkpoint in shown], next_cursor=next_cursor))


def _checkpoint(checkpoint: Checkpoint) -> CheckpointAnswer:
    chains = {name: HeadAnswer(number=head.number, hash=head.hash) for name, head in checkpoint.chains.items()}
    return CheckpointAnswer(
        number=checkpoint.number,
        at=rfc3339(checkpoint.at),
        entries=sum(head.number for head in chains.values()),
        chains=chains,
        jws=checkpoint.jws or "",
    )


@app.route("POST /v1/audit/exports")
def create_audit_export(request: AuditExportRequest, call: Call) -> Reply[AuditExportAnswer]:
    since, to = (_at(time) if time is not None else None for time in (request.since, request.to))
    export = exports.create(call.derived_id("aex"), since, to, call.by, call.now)
    if export.completed_at is None:
        record.send({"export": export.id})
    replayed = export.by.request != call.by.request
    return accepted(_export(export), replayed=replayed, location=f"/v1/audit/exports/{export.id}")


@app.route("GET /v1/audit/exports/{id}")
def get_audit_export(call: Call) -> Reply[AuditExportAnswer]:
    return ok(_export(exports.find(call.path["id"])))


@app.route("GET /v1/audit/exports/{id}/file")
def get_audit_export_file(call: Call) -> Reply[None]:
    link = exports.link(call.path["id"], call.now)
    record.note("record.fetched", call.by, {"export": call.path["id"]}, call.now)
    return see_other(link)


def _export(export: AuditExport) -> AuditExportAnswer:
    done = export.completed_at is not None
    numbers = export.checkpoints
    since, to, completed_at = (
        rfc3339(at) if at is not None else None for at in (export.since, export.to, export.completed_at)
    )
    return AuditExportAnswer(
        id=export.id,
        status="completed" if done else "in_progress",
        checkpoints=Numbers(first=numbers[0], last=numbers[1]) if numbers is not None else None,
        entries=export.entries if done else None,
        size=export.size if done else None,
        more=export.more if done else None,
        created_at=rfc3339(export.created_at),
        completed_at=completed_at,
        expires_at=rfc3339(export.created_at + KEPT_S),
        **{"from": since, "to": to},
    )


def handle(event: Event, context: Any) -> Response:
    return taken(event, context) if "Records" in event else app(event, context)


def taken(batch: Event, context: Any) -> Response:
    """Put the events of a batch of messages on record, those together that can be read, then see to what is ordered.

    What fails comes back.
    """
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - RESERVE_S
    events: dict[str, Any] = {}
    orders: dict[str, Any] = {}
    failures: list[str] = []
    for message in batch["Records"]:
        try:
            told = TAKEN.validate_json(message["body"])
            kept = events if isinstance(told, Told) else orders
            kept[message["messageId"]] = json.loads(message["body"])
        except Exception as error:  # one message must not take the others with it
            failed("message not understood", error)
            failures.append(message["messageId"])
    try:
        new = entries.append(events.values(), clock.now()) if events else 0
        logger.info("recorded", messages=len(events), new=new)
    except Exception as error:
        failed("messages not recorded", error)
        failures += events
    for id, order in orders.items():
        try:
            _see_to(order, until)
        except Exception as error:
            failed("order failed", error)
            failures.append(id)
    return {"batchItemFailures": [{"itemIdentifier": id} for id in failures]}


def _see_to(order: dict[str, Any], until: float) -> None:
    """Seal, and then write the file where one is ordered; what there was no time for is ordered again."""
    done = sealing.proceed(_sign, clock.now(), until)
    if done and "export" in order:
        exports.write(order["export"], _sign, clock.now())
    if not done:
        record.send(order)
    logger.info("sealed", done=done, export=order.get("export"))


def _sign(type: str, said: dict[str, Any]) -> str:
    return tokens.signed(os.environ[tokens.RECORD_KEY_ARN], type, said)
