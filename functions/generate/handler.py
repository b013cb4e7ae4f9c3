"""generate: campaigns, batches, their vouchers and codes; the queue takes up what is too much for a call."""

from __future__ import annotations

from typing import Any

from functions.domain.authority import RecoveryRules
from functions.domain.campaign import Batch, Campaign, expected_hits_a_day, lots_of, quantity_max_of
from functions.domain.codefile import PROBLEMS
from functions.domain.export import MANIFEST, Export, Layout
from functions.domain.ids import fingerprint
from functions.domain.imports import LINK_S, Import, Refused
from functions.domain.lot import Rules
from functions.domain.reclaim import Reclaim, scheduled
from functions.domain.serials import serial_of
from functions.domain.times import rfc3339
from functions.domain.voucher import EFFECTIVE
from functions.edge import batch as queue
from functions.edge.http import App, Call, Event, Reply, Response, accepted, created, ok, refuse_fields, see_other
from functions.edge.models import MoneyAnswer, Progress
from functions.generate import batches, campaigns, exports, importing, imports, vouchers
from functions.generate.models import (
    BatchAnswer,
    BatchRequest,
    CampaignAnswer,
    CampaignList,
    CampaignRequest,
    ExportAnswer,
    ExportRequest,
    FaultAnswer,
    FileAnswer,
    FilesDone,
    ImportAnswer,
    ImportRequest,
    LinesDone,
    ReclaimAnswer,
    RecoveryRulesAnswer,
    RefusedLine,
    RefusedLines,
    Revealed,
    RevealList,
    RevealRequest,
    TicketAnswer,
    UploadAnswer,
    VoucherLine,
    VoucherList,
)
from functions.store import lists
from functions.store.records import CAMPAIGN

app = App("generate")


@app.route("POST /v1/campaigns")
def create_campaign(request: CampaignRequest, call: Call) -> Reply[CampaignAnswer]:
    id = call.derived_id("cmp")
    rules = Rules(
        campaign=id,
        kind=request.kind,
        amount_minor=request.face_value.amount_minor,
        currency=request.face_value.currency,
        redemption=request.redemption,
        code_format=request.code_format,
        valid_days_after_activation=request.valid_days_after_activation,
        reversal_days=request.reversal_days,
        locale=request.locale,
        code_prefix=request.code_prefix or "",
        code_group=request.code_group,
        wrong_codes_per_lot_and_hour=request.wrong_codes_per_lot_and_hour,
        sandbox=request.sandbox,
    )
    wanted = Campaign(
        id=id,
        name=request.name,
        rules=rules,
        valid_until=request.valid_until_s(),
        locale=request.locale,
        created_at=call.now,
        fingerprint=fingerprint(request.model_dump()),
        by=call.by,
        quantity_max=request.quantity_max or quantity_max_of(rules),
        claims_per_customer=request.claims_per_customer,
        claims_max=request.claims_max,
        tiers=tuple(request.tiers or ()),
        reminder_days=tuple(sorted(request.reminder_days or (), reverse=True)),
        low_stock=request.low_stock,
        recovery_rules=request.recovery_rules.rules() if request.recovery_rules is not None else None,
        reclaim=_reclaim_of(request),
    )
    campaign = campaigns.create(wanted)
    replayed = campaign.by.request != call.by.request
    return created(_campaign(campaign), replayed=replayed, location=f"/v1/campaigns/{id}")


@app.route("GET /v1/campaigns")
def list_campaigns(call: Call) -> Reply[CampaignList]:
    found, next_cursor = lists.page(CAMPAIGN, call.limit(), call.query.get("cursor"), call.by)
    return ok(CampaignList(data=[_campaign(campaign) for campaign in found], next_cursor=next_cursor))


@app.route("GET /v1/campaigns/{id}")
def get_campaign(call: Call) -> Reply[CampaignAnswer]:
    return ok(_campaign(campaigns.find(call.path["id"])))


@app.route("POST /v1/campaigns/{id}/reclaim-stops")
def stop_reclaim(call: Call) -> Reply[CampaignAnswer]:
    return ok(_campaign(campaigns.stop_reclaim(call.path["id"], call.by, call.now)))


@app.route("POST /v1/campaigns/{id}/batches")
def create_batch(request: BatchRequest, call: Call) -> Reply[BatchAnswer]:
    until = queue.call_deadline(call.remaining_s)
    batch = batches.create(call.derived_id("bat"), call.path["id"], request.quantity, call.by, call.now, until)
    replayed = batch.by.request != call.by.request
    done = batch.status == "completed"
    answer = _batch(batch, {"generated": batch.quantity} if done else None, batch.created_at)
    return (created if done else accepted)(answer, replayed=replayed, location=f"/v1/batches/{batch.id}")


@app.route("GET /v1/batches/{id}")
def get_batch(call: Call) -> Reply[BatchAnswer]:
    batch = batches.find(call.path["id"])
    return ok(_batch(batch, batches.counts(batch, call.now), call.now))


@app.route("GET /v1/batches/{id}/vouchers")
def list_batch_vouchers(call: Call) -> Reply[VoucherList]:
    status = call.query.get("status")
    if status is not None and status not in EFFECTIVE:
        refuse_fields([("query.status", f"one of {', '.join(EFFECTIVE)}")])
    batch = batches.find(call.path["id"])
    lines, next_cursor = vouchers.page(batch, status, call.limit(), call.query.get("cursor"), call.by, call.now)
    data = [VoucherLine(serial=serial, status=shown) for serial, shown in lines]
    return ok(VoucherList(data=data, next_cursor=next_cursor))


@app.route("POST /v1/reveals")
def create_reveal(request: RevealRequest, call: Call) -> Reply[RevealList]:
    id, shown = vouchers.reveal(
        call.derived_id("rvl"), request.serials, request.reason, call.by, call.now, request.one_time_code
    )
    return ok(RevealList(id=id, data=[Revealed(serial=serial, code=code) for serial, code in shown]))


@app.route("POST /v1/batches/{id}/exports")
def create_export(request: ExportRequest, call: Call) -> Reply[ExportAnswer]:
    layout = Layout(request.format)
    export = exports.create(
        call.derived_id("exp"),
        call.path["id"],
        request.recipient,
        layout,
        request.qr,
        call.by,
        call.now,
        request.one_time_code,
    )
    replayed = export.by.request != call.by.request
    return accepted(_export(export), replayed=replayed, location=f"/v1/exports/{export.id}")


@app.route("GET /v1/exports/{id}")
def get_export(call: Call) -> Reply[ExportAnswer]:
    return ok(_export(exports.find(call.path["id"])))


@app.route("POST /v1/exports/{id}/tickets")
def create_ticket(call: Call) -> Reply[TicketAnswer]:
    ticket, text = exports.issue(call.path["id"], call.by, call.now)
    answer = TicketAnswer(id=ticket.id, export=ticket.export, ticket=text, expires_at=rfc3339(ticket.expires_at))
    return created(answer, replayed=False)


@app.route("GET /v1/exports/{id}/files/{file}")
def get_file(call: Call) -> Reply[None]:
    """Redirects to a link that works for 60 s, and uses the ticket up. No token is needed."""
    ticket = call.query.get("ticket", "")
    return see_other(exports.fetch(call.path["id"], call.path["file"], ticket, call.by, call.now))


@app.route("POST /v1/imports")
def create_import(request: ImportRequest, call: Call) -> Reply[ImportAnswer]:
    import_ = imports.create(call.derived_id("imp"), request.campaign, request.size, call.by, call.now)
    replayed = import_.by.request != call.by.request
    upload = None
    if import_.status == "awaiting_upload":
        url, headers = imports.upload(import_)
        upload = UploadAnswer(url=url, headers=headers, expires_at=rfc3339(call.now + LINK_S))
    answer = _import(import_, [], None, upload)
    return accepted(answer, replayed=replayed, location=f"/v1/imports/{import_.id}")


@app.route("POST /v1/imports/{id}/starts")
def start_import(call: Call) -> Reply[ImportAnswer]:
    import_ = imports.start(call.path["id"], call.by, call.now)
    return accepted(_import(import_, [], None), replayed=False, location=f"/v1/imports/{import_.id}")


@app.route("GET /v1/imports/{id}")
def get_import(call: Call) -> Reply[ImportAnswer]:
    import_ = imports.find(call.path["id"])
    refused, next_cursor = imports.refused(import_, call.limit(), call.query.get("cursor"), call.by)
    return ok(_import(import_, refused, next_cursor))


def _campaign(campaign: Campaign) -> CampaignAnswer:
    rules = campaign.rules
    return CampaignAnswer(
        id=campaign.id,
        name=campaign.name,
        kind=rules.kind,
        face_value=MoneyAnswer(amount_minor=rules.amount_minor, currency=rules.currency),
        redemption=rules.redemption,
        valid_until=rfc3339(campaign.valid_until) if campaign.valid_until is not None else None,
        valid_days_after_activation=rules.valid_days_after_activation,
        code_format=rules.code_format,
        code_prefix=rules.code_prefix or None,
        code_group=rules.format.group,
        guess_odds=rules.format.odds,
        capacity=rules.format.capacity,
        quantity_max=campaign.planned,
        wrong_codes_per_lot_and_hour=rules.wrong_codes_per_lot_and_hour,
        expected_hits_a_day=expected_hits_a_day(rules, lots_of(campaign.planned)),
        locale=campaign.locale,
        reversal_days=rules.reversal_days,
        claims_per_customer=campaign.claims_per_customer,
        claims_max=campaign.claims_max,
        tiers=list(campaign.tiers) or None,
        reminder_days=list(campaign.reminder_days) or None,
        low_stock=campaign.low_stock,
        recovery_rules=_recovery_rules(campaign.recovery_rules or RecoveryRules()),
        reclaim=_reclaim(campaign.reclaim) if campaign.reclaim is not None else None,
        sandbox=rules.sandbox,
        created_at=rfc3339(campaign.created_at),
    )


def _reclaim_of(request: CampaignRequest) -> Reclaim | None:
    ends, days = request.valid_until_s(), request.reclaim_unactivated_after_days
    return scheduled(ends, days) if ends is not None and days is not None else None


def _reclaim(reclaim: Reclaim) -> ReclaimAnswer:
    times = {name: getattr(reclaim, name) for name in ("announced_at", "started_at", "stopped_at")}
    shown = {name: rfc3339(at) for name, at in times.items() if at is not None}
    begins = {"after_days": reclaim.days, "status": reclaim.status, "due_at": rfc3339(reclaim.begins_at)}
    return ReclaimAnswer.model_validate({**begins, **shown})


def _recovery_rules(rules: RecoveryRules) -> RecoveryRulesAnswer:
    shown = (
        {name: list(value) if isinstance(value, tuple) else value for name, value in each._asdict().items()}
        for each in rules.allowances
    )
    code = {"void_above": rules.void_code_above, "reveal_above": rules.reveal_code_above}
    taken = code if any(above is not None for above in code.values()) else None
    return RecoveryRulesAnswer.model_validate(
        {"one_time_code": taken, "allow": [each | {"reasons": each["reasons"] or None} for each in shown]}
    )


def _batch(batch: Batch, counts: dict[str, int] | None, as_of: int) -> BatchAnswer:
    return BatchAnswer.model_validate(
        {
            "id": batch.id,
            "campaign": batch.campaign,
            "quantity": batch.quantity,
            "first_serial": serial_of(batch.span.first),
            "last_serial": serial_of(batch.span.last),
            "status": batch.status,
            "progress": Progress(lots_done=batch.lots_done, lots=len(batch.span.lots)),
            "counts": counts,
            "as_of": rfc3339(as_of) if counts is not None else None,
            "created_at": rfc3339(batch.created_at),
        }
    )


def _export(export: Export) -> ExportAnswer:
    files = [
        FileAnswer(
            file=str(n),
            first_serial=serial_of(file.first),
            last_serial=serial_of(file.last),
            lines=file.last - file.first + 1,
            size=file.size,
            sha256=file.sha256,
        )
        for n, file in enumerate(export.files, 1)
    ]
    if export.manifest is not None:
        files.append(FileAnswer(file=MANIFEST, size=export.manifest.size, sha256=export.manifest.sha256))
    return ExportAnswer.model_validate(
        {
            "id": export.id,
            "batch": export.batch,
            "status": "in_progress" if export.manifest is None else "completed",
            "recipient": export.recipient,
            "format": export.layout.value,
            "qr": export.qr,
            "quantity": export.quantity,
            "progress": FilesDone(files_done=len(export.files), files=len(export.plan)),
            "files": files,
            "created_at": rfc3339(export.created_at),
            "completed_at": rfc3339(export.completed_at) if export.completed_at is not None else None,
            "expires_at": rfc3339(export.expires_at),
        }
    )


def _import(
    import_: Import, refused: list[Refused], next_cursor: str | None, upload: UploadAnswer | None = None
) -> ImportAnswer:
    lines = [
        RefusedLine(
            line=one.line,
            reason=one.reason.value,
            detail=PROBLEMS[one.problem] if one.problem is not None else None,
            first_line=one.first_line,
            serial=serial_of(one.position) if one.position is not None else None,
        )
        for one in refused
    ]
    counts = import_.refused
    return ImportAnswer.model_validate(
        {
            "id": import_.id,
            "campaign": import_.campaign,
            "size": import_.size,
            "status": import_.status,
            "upload": upload,
            "batch": import_.batch_id if import_.completed_at is not None and import_.accepted else None,
            "progress": LinesDone(lines_done=import_.read, lines=import_.lines),
            "accepted": import_.accepted,
            "refused": RefusedLines(count=sum(counts.values()), by_reason=counts, data=lines, next_cursor=next_cursor),
            "fault": FaultAnswer(**import_.fault._asdict()) if import_.fault is not None else None,
            "created_at": rfc3339(import_.created_at),
            "started_at": rfc3339(import_.started_at) if import_.started_at is not None else None,
            "completed_at": rfc3339(import_.completed_at) if import_.completed_at is not None else None,
        }
    )


WORK: dict[str, queue.Work] = {"exp": exports.proceed, "imp": importing.proceed}
"""By the prefix of the item that holds the work; what has another is a batch."""


def _proceed(id: str, now: int, until: float) -> int | None:
    return WORK.get(id.partition("_")[0], batches.proceed)(id, now, until)


def handle(event: Event, context: Any) -> Response:
    return queue.take(event, context, _proceed) if "Records" in event else app(event, context)
