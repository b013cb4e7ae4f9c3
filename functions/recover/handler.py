"""recover: order a recovery, follow it; the queue brings its next steps."""

from __future__ import annotations

from typing import Any

from functions.domain.lot import Scope
from functions.domain.recovery import Action, Order, Phase, Recovery, Via
from functions.domain.times import rfc3339
from functions.edge import batch
from functions.edge.http import App, Call, Event, Reply, Response, accepted, ok
from functions.edge.models import Progress
from functions.recover import service
from functions.recover.models import (
    RecoveryAnswer,
    RecoveryList,
    RecoveryRequest,
    RecoverySummary,
    SkippedSerial,
    SkippedSerials,
)
from functions.store import lists
from functions.store.records import RECOVERY

app = App("recover")
VIA = {"partner": Via.PARTNER, "support": Via.SUPPORT}


@app.route("POST /v1/recoveries")
def create_recovery(request: RecoveryRequest, call: Call) -> Reply[RecoverySummary]:
    recovery = service.create(
        call.derived_id("rec"),
        Order(
            request.selection.selection() if request.selection is not None else None,
            Action(request.action),
            Scope(request.only) if request.only is not None else Scope.ALL,
            request.reason,
            request.note,
            request.recovery,
            VIA.get(call.by.role, Via.OPERATOR),
        ),
        call.by,
        call.now,
        batch.call_deadline(call.remaining_s),
    )
    replayed = recovery.by.request != call.by.request
    answer = RecoverySummary.model_validate(_summary(recovery))
    return accepted(answer, replayed=replayed, location=f"/v1/recoveries/{recovery.id}")


@app.route("GET /v1/recoveries")
def list_recoveries(call: Call) -> Reply[RecoveryList]:
    found, next_cursor = lists.page(RECOVERY, call.limit(), call.query.get("cursor"), call.by)
    return ok(RecoveryList.model_validate({"data": [_summary(r) for r in found], "next_cursor": next_cursor}))


@app.route("GET /v1/recoveries/{id}")
def get_recovery(call: Call) -> Reply[RecoveryAnswer]:
    recovery = service.find(call.path["id"])
    lines, next_cursor = service.skipped(recovery, call.limit(), call.query.get("cursor"), call.by)
    skipped = SkippedSerials(
        count=sum(recovery.skipped.values()),
        by_reason=recovery.skipped,
        data=[SkippedSerial(serial=serial, reason=reason) for serial, reason in lines],
        next_cursor=next_cursor,
    )
    return ok(RecoveryAnswer.model_validate({**_summary(recovery), "skipped": skipped}))


def _summary(recovery: Recovery) -> dict[str, Any]:
    done = recovery.completed_at
    return {
        "id": recovery.id,
        "status": "completed" if recovery.phase is Phase.DONE else "in_progress",
        "phase": recovery.phase.value,
        "action": recovery.action.value,
        "reason": recovery.reason,
        "recovery": recovery.lifts,
        "via": recovery.via.value,
        "only": recovery.scope.value if recovery.scope is not Scope.ALL else None,
        "note": recovery.note,
        "selected": recovery.selected,
        "recovered": recovery.recovered,
        "progress": Progress(lots_done=recovery.lots_done, lots=recovery.lots),
        "created_at": rfc3339(recovery.created_at),
        "effective_at": rfc3339(recovery.effective_at) if recovery.effective_at is not None else None,
        "completed_at": rfc3339(done) if done is not None else None,
    }


def handle(event: Event, context: Any) -> Response:
    return batch.take(event, context, service.proceed) if "Records" in event else app(event, context)
