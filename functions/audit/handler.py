"""audit: what is told on the bus and at the edge is put on record, and read again."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from functions.audit.models import Actor, Changes, EntriesRequest, EntryAnswer, EntryList, Told
from functions.domain.record import Entry
from functions.domain.serials import position_of
from functions.edge import clock
from functions.edge.http import App, Call, Event, Reply, Response, of_query, ok, refuse_fields
from functions.edge.log import failed, logger
from functions.store import record
from functions.store.record import Wanted

app = App("audit")


@app.route("GET /v1/audit")
def list_entries(call: Call) -> Reply[EntryList]:
    found, next_cursor = record.page(_wanted(call), call.limit(), call.query.get("cursor"), call.by.client)
    return ok(EntryList(data=[_answer(entry) for entry in found], next_cursor=next_cursor))


def _wanted(call: Call) -> Wanted:
    asked = of_query(EntriesRequest, call.query)
    if asked.serial is not None and asked.actor is not None:
        refuse_fields([("query.actor", "not together with a serial")])
    position = position_of(asked.serial) if asked.serial is not None else None
    if asked.serial is not None and position is None:
        refuse_fields([("query.serial", "no serial: its check digit does not fit")])
    return Wanted(position, asked.actor, _at(asked.since, 0), _at(asked.to, record.END_OF_TIME))


def _at(time: str | None, otherwise: int) -> int:
    return max(0, int(datetime.fromisoformat(time).timestamp())) if time is not None else otherwise


def _answer(entry: Entry) -> EntryAnswer:
    event, by = entry.event, entry.event["by"]
    return EntryAnswer(
        id=event["id"],
        type=event["type"],
        at=event["at"],
        by=Actor(**by),
        data=event["data"],
        changes={key: Changes(before=before, after=after) for key, (before, after) in event.get("changes", {}).items()},
        chain=entry.chain,
        number=entry.number,
        prev=entry.prev,
        hash=entry.hash,
    )


def handle(event: Event, context: Any) -> Response:
    return taken(event) if "Records" in event else app(event, context)


def taken(batch: Event) -> Response:
    """Put the events of a batch of messages on record, those together that can be read; what fails comes back."""
    found: dict[str, Any] = {}
    failures: list[str] = []
    for message in batch["Records"]:
        try:
            Told.model_validate_json(message["body"])
            found[message["messageId"]] = json.loads(message["body"])
        except Exception as error:  # one message must not take the others with it
            failed("message not understood", error)
            failures.append(message["messageId"])
    try:
        new = record.append(found.values(), clock.now())
        logger.info("recorded", messages=len(found), new=new)
    except Exception as error:
        failed("messages not recorded", error)
        failures += found
    return {"batchItemFailures": [{"itemIdentifier": id} for id in failures]}
