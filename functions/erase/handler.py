"""erase: order the erasure of a person, follow it; the queue brings its next steps."""

from __future__ import annotations

from typing import Any

from functions.domain.erasure import Erasure, Phase
from functions.domain.times import rfc3339
from functions.edge import batch
from functions.edge.http import App, Call, Event, Reply, Response, accepted, ok
from functions.erase import service
from functions.erase.models import Erased, ErasureAnswer, ErasureRequest

app = App("erase")


@app.route("POST /v1/erasures")
def create_erasure(request: ErasureRequest, call: Call) -> Reply[ErasureAnswer]:
    tenant = (request.tenant or call.by.tenant) if request.customer is not None else None
    id = call.derived_id("ers")
    erasure = service.create(id, request.number, request.customer, tenant, request.reason, call.by, call.now)
    replayed = erasure.by.request != call.by.request
    return accepted(_answer(erasure), replayed=replayed, location=f"/v1/erasures/{erasure.id}")


@app.route("GET /v1/erasures/{id}")
def get_erasure(call: Call) -> Reply[ErasureAnswer]:
    return ok(_answer(service.find(call.path["id"])))


def _answer(erasure: Erasure) -> ErasureAnswer:
    done = erasure.completed_at
    return ErasureAnswer.model_validate(
        {
            "id": erasure.id,
            "account": erasure.account,
            "status": "completed" if erasure.phase is Phase.DONE else "in_progress",
            "reason": erasure.reason,
            "erased": Erased(**{kind: erasure.erased.get(kind, 0) for kind in Erased.model_fields}),
            "created_at": rfc3339(erasure.created_at),
            "completed_at": rfc3339(done) if done is not None else None,
        }
    )


def handle(event: Event, context: Any) -> Response:
    return batch.take(event, context, service.proceed) if "Records" in event else app(event, context)
