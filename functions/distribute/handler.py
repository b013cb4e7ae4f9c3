"""distribute: activate ranges; the queue takes up what is too much for a call."""

from __future__ import annotations

from typing import Any

from functions.distribute import service
from functions.distribute.models import ActivationAnswer, ActivationRequest
from functions.domain.command import Command
from functions.edge import batch
from functions.edge.clock import rfc3339
from functions.edge.http import App, Call, Event, Reply, Response, accepted, created, ok
from functions.edge.models import Progress, Skipped

app = App("distribute")


@app.route("POST /v1/activations")
def create_activation(request: ActivationRequest, call: Call) -> Reply[ActivationAnswer]:
    until = batch.call_deadline(call.remaining_s)
    command = service.activate(call.derived_id("act"), request.selection.selection(), call.by, call.now, until)
    replayed = command.by.request != call.by.request
    reply = created if command.status == "completed" else accepted
    return reply(_answer(command), replayed=replayed, location=f"/v1/activations/{command.id}")


@app.route("GET /v1/activations/{id}")
def get_activation(call: Call) -> Reply[ActivationAnswer]:
    return ok(_answer(service.find(call.path["id"])))


def _answer(command: Command) -> ActivationAnswer:
    return ActivationAnswer.model_validate(
        {
            "id": command.id,
            "status": command.status,
            "activated": command.changed,
            "skipped": Skipped(count=sum(command.skipped.values()), by_reason=command.skipped),
            "progress": Progress(lots_done=command.lots_done, lots=command.lots),
            "created_at": rfc3339(command.created_at),
            "completed_at": rfc3339(command.completed_at) if command.completed_at is not None else None,
        }
    )


def handle(event: Event, context: Any) -> Response:
    return batch.take(event, context, service.proceed) if "Records" in event else app(event, context)
