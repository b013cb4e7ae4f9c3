"""recover: order a recovery, follow it; the queue brings its next steps."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

from functions.domain.authority import Approval
from functions.domain.errors import Refusal
from functions.domain.lot import Scope
from functions.domain.recovery import Action, Order, Recovery, Via
from functions.domain.times import rfc3339
from functions.edge import batch
from functions.edge.http import (
    CSV,
    App,
    Call,
    Event,
    File,
    Reply,
    Response,
    accepted,
    created,
    of_query,
    ok,
    refuse_fields,
)
from functions.edge.models import Progress
from functions.recover import approvals, forecasts, reclaims, reports, service
from functions.recover.forecasts import Forecast
from functions.recover.models import (
    ApprovalMade,
    ApprovalRequest,
    FileHeaders,
    ForecastAnswer,
    RecoveryAnswer,
    RecoveryList,
    RecoveryRequest,
    RecoverySummary,
    SkippedSerial,
    SkippedSerials,
    StatisticsAnswer,
    StatisticsQuery,
    Terms,
    WayAnswer,
)
from functions.store import lists, statistics
from functions.store.records import RECOVERY

app = App("recover")
DAYS_DEFAULT = 30
VIA = {"partner": Via.PARTNER, "support": Via.SUPPORT}


@app.route("POST /v1/recoveries")
def create_recovery(request: RecoveryRequest | File, call: Call) -> Reply[ForecastAnswer | RecoverySummary]:
    """With `dry_run` nothing is written, and what it would come to is answered (200).

    A file (CSV) names serials or ranges of them, one a line, up to 100,000; each is answered in the report. What its
    JSON would say, parameters say; a one-time code goes in the header `One-Time-Code`, for addresses are logged.
    """
    file = request.content if isinstance(request, File) else None
    said = {name: value for name, value in call.query.items() if name != "dry_run"}
    terms = of_query(Terms, said) if isinstance(request, File) else request
    one_time_code = (call.of_headers(FileHeaders) if isinstance(request, File) else request).one_time_code
    selection = request.selection if isinstance(request, RecoveryRequest) else None
    order = Order(
        selection.selection() if selection is not None else None,
        Action(terms.action),
        Scope(terms.only) if terms.only is not None else Scope.ALL,
        terms.reason,
        terms.note,
        terms.recovery,
        VIA.get(call.by.role, Via.OPERATOR if file is None else Via.SHOP_FILE),
        hashlib.sha256(file).hexdigest() if file is not None else None,
        terms.channel,
    )
    until = batch.call_deadline(call.remaining_s)
    if _is_dry_run(call):
        return ok(_forecast(forecasts.foresee(order, call.by, call.now, until, file), call.now))
    recovery = service.create(call.derived_id("rec"), order, call.by, call.now, until, file, one_time_code)
    replayed = recovery.by.request != call.by.request
    answer = RecoverySummary.model_validate(_summary(recovery, call.now))
    return accepted(answer, replayed=replayed, location=f"/v1/recoveries/{recovery.id}")


def _is_dry_run(call: Call) -> bool:
    asked = call.query.get("dry_run", "false")
    if asked not in ("true", "false"):
        refuse_fields([("query.dry_run", "true or false")])
    return asked == "true"


def _forecast(forecast: Forecast, now: int) -> ForecastAnswer:
    recovery = forecast.recovery
    counts = {"count": sum(recovery.skipped.values()), "by_reason": recovery.skipped}
    shown = _summary(recovery, now)
    return ForecastAnswer.model_validate(
        {
            **{
                name: shown[name]
                for name in ("action", "reason", "recovery", "only", "channel", "selected", "recovered", "value")
            },
            "skipped": counts,
            "told": forecast.told,
            "exact": forecast.exact,
            "needs_approval": forecast.judgement.approval is not None,
            "needs_one_time_code": forecast.judgement.one_time_code,
            "as_of": rfc3339(now),
        }
    )


@app.route("GET /v1/recoveries")
def list_recoveries(call: Call) -> Reply[RecoveryList]:
    found, next_cursor = lists.page(RECOVERY, call.limit(), call.query.get("cursor"), call.by)
    found = [recovery for recovery in found if not call.by.is_tenant or recovery.by.tenant == call.by.tenant]
    return ok(RecoveryList.model_validate({"data": [_summary(r, call.now) for r in found], "next_cursor": next_cursor}))


@app.route("GET /v1/recoveries/{id}")
def get_recovery(call: Call) -> Reply[RecoveryAnswer]:
    recovery = service.find(call.path["id"], call.by)
    lines, next_cursor = reports.skipped(recovery, call.limit(), call.query.get("cursor"), call.by)
    skipped = SkippedSerials(
        count=sum(recovery.skipped.values()),
        by_reason=recovery.skipped,
        data=[SkippedSerial(serial=serial, reason=reason) for serial, reason in lines],
        next_cursor=next_cursor,
    )
    return ok(RecoveryAnswer.model_validate({**_summary(recovery, call.now), "skipped": skipped}))


@app.route("GET /v1/recoveries/{id}/report")
def get_report(call: Call) -> Reply[str]:
    """Neighbours that are alike share a line. The header `Link` names the next page, where there is one."""
    recovery = service.find(call.path["id"], call.by)
    text, following = reports.page(recovery, call.query.get("cursor"), call.by)
    link = {"Link": f'</v1/recoveries/{recovery.id}/report?cursor={following}>; rel="next"'} if following else {}
    name = {"Content-Disposition": f'attachment; filename="{recovery.id}.csv"'}
    return ok(text, **{"Content-Type": f"{CSV}; charset=utf-8", **name, **link})


@app.route("GET /v1/recoveries/statistics")
def get_statistics(call: Call) -> Reply[StatisticsAnswer]:
    if call.by.is_tenant:
        raise Refusal("insufficient_scope", "They compare what all have ordered.")
    asked = of_query(StatisticsQuery, call.query)
    since, until = _days(asked, call.now)
    found = statistics.between(since, until, by_channel=asked.by == "channel")
    rows = sorted(found.items(), key=lambda each: each[0] or "")
    ways = [WayAnswer.model_validate({asked.by: name, **_went(sum)}) for name, sum in rows]
    return ok(StatisticsAnswer(since=since.isoformat(), until=until.isoformat(), data=ways))


def _went(sum: statistics.Sum) -> dict[str, float]:
    return {
        "recoveries": sum.recoveries,
        "selected": sum.selected,
        "recovered": sum.recovered,
        "success": round(sum.recovered / sum.selected, 4) if sum.selected else 0.0,
        "mean_seconds": round(sum.seconds / sum.recoveries, 3),
        "mean_seconds_until_effective": round(sum.seconds_until_effective / sum.recoveries, 3),
    }


def _days(asked: StatisticsQuery, now: int) -> tuple[date, date]:
    """Raises Refusal `invalid_request`."""
    try:
        until = date.fromisoformat(asked.until) if asked.until else datetime.fromtimestamp(now, UTC).date()
        since = date.fromisoformat(asked.since) if asked.since else until - timedelta(days=DAYS_DEFAULT - 1)
    except (ValueError, OverflowError):
        refuse_fields([("query.since", "days like 2026-11-30")])
    if not 0 <= (until - since).days < statistics.DAYS_MAX:
        refuse_fields([("query.since", f"a day before `until`, at most {statistics.DAYS_MAX} days in all")])
    return since, until


@app.route("POST /v1/recoveries/{id}/approvals")
def create_approval(request: ApprovalRequest, call: Call) -> Reply[ApprovalMade]:
    id, until = call.derived_id("apv"), batch.call_deadline(call.remaining_s)
    approved = request.decision == "approve"
    recovery = approvals.decide(id, call.path["id"], request.digest, approved, call.by, call.now, until)
    assert recovery.approval is not None
    assert recovery.approval.decision is not None
    replayed = recovery.approval.decision.by.request != call.by.request
    made = {"id": id, "recovery": recovery.id, **_approval(recovery.approval)}
    return created(ApprovalMade.model_validate(made), replayed=replayed, location=f"/v1/recoveries/{recovery.id}")


def _approval(approval: Approval) -> dict[str, Any]:
    said = approval.decision
    made = {
        "vouchers": approval.vouchers,
        "value": [{"amount_minor": much, "currency": currency} for currency, much in sorted(approval.value.items())],
        "digest": approval.digest,
        "expires_at": rfc3339(approval.expires_at),
    }
    if said is None:
        return made
    decision = "approve" if said.approved else "reject"
    return {**made, "decision": decision, "decided_by": said.by.client, "decided_at": rfc3339(said.at)}


def _summary(recovery: Recovery, now: int) -> dict[str, Any]:
    done = recovery.completed_at
    return {
        "id": recovery.id,
        "status": recovery.status(now),
        "phase": recovery.phase.value,
        "action": recovery.action.value,
        "reason": recovery.reason,
        "recovery": recovery.lifts,
        "via": recovery.via.value,
        "channel": recovery.channel,
        "requested_by": recovery.by.client,
        "only": recovery.scope.value if recovery.scope is not Scope.ALL else None,
        "note": recovery.note,
        "selected": recovery.selected,
        "recovered": recovery.recovered,
        "value": [
            {
                "currency": currency,
                "selected_minor": value.recovered_minor + value.skipped_minor + value.redeemed_minor,
                **value._asdict(),
            }
            for currency, value in sorted(recovery.values.items())
        ],
        "progress": Progress(lots_done=recovery.lots_done, lots=recovery.lots),
        "approval": _approval(recovery.approval) if recovery.approval is not None else None,
        "created_at": rfc3339(recovery.created_at),
        "effective_at": rfc3339(recovery.effective_at) if recovery.effective_at is not None else None,
        "completed_at": rfc3339(done) if done is not None else None,
    }


WORK: dict[str, batch.Work] = {"cmp": reclaims.proceed, reclaims.SWEEP: reclaims.sweep}
"""By the prefix of the item that holds the work; what has another is a recovery."""


def _proceed(id: str, now: int, until: float) -> int | None:
    return WORK.get(id.partition("_")[0], service.proceed)(id, now, until)


def handle(event: Event, context: Any) -> Response:
    return batch.take(event, context, _proceed) if "Records" in event else app(event, context)
