"""ledger: enter what the events say about value, show what was entered; reconcile it with all else."""

from __future__ import annotations

from functools import partial
from typing import Any

from functions.domain import ledger as domain
from functions.domain.actor import By
from functions.domain.ledger import Kind
from functions.domain.reconciliation import KINDS, Difference, Reconciliation, serial_in
from functions.domain.serials import serial_of
from functions.domain.times import rfc3339
from functions.edge import batch as queue
from functions.edge import clock
from functions.edge.http import App, Call, Event, Reply, Response, accepted, ok
from functions.edge.log import logger
from functions.edge.models import Progress
from functions.ledger import reconciling, service
from functions.ledger.models import (
    ORDER,
    Job,
    LedgerAnswer,
    ReconciliationAnswer,
    ReconciliationList,
    ReconciliationRequest,
    ReconciliationSummary,
    Replaced,
    Sweep,
    Told,
)
from functions.store import jobs

app = App("ledger")
DISPUTED, DIFFERS = "ledger_disputed", "reconciliation_differs"
"""What the log says where people must look; alarms count it."""


@app.route("GET /v1/vouchers/{serial}/ledger")
def get_ledger(call: Call) -> Reply[LedgerAnswer]:
    card = service.find(call.path["serial"])
    accounts = [_account(account, card) for account in card.accounts]
    return ok(LedgerAnswer.model_validate({"serial": serial_of(card.position), "accounts": accounts}))


def _account(account: domain.Account, card: service.Card) -> dict[str, Any]:
    lines = sorted((each for each in card.lines if each.generation == account.generation), key=lambda e: e.number)
    disputes = [each for each in card.disputes if each.generation == account.generation]
    return {
        "generation": account.generation,
        "currency": account.currency,
        "opened_minor": account.opened_minor,
        "balance_minor": account.balance_minor,
        "lines": [
            {
                **_movement(each.movement),
                "number": each.number,
                "reversal": each.movement.reversal,
                "balance_minor": each.balance_minor,
                "posted": each.posted,
            }
            for each in lines
        ],
        "waiting": [{**_movement(each), "disputed": each.disputed} for each in account.waiting],
        "disputes": [
            {**_movement(each.movement), "balance_minor": each.balance_minor, "reason": each.reason.value}
            for each in disputes
        ],
    }


def _movement(movement: domain.Movement) -> dict[str, Any]:
    return {
        "kind": movement.kind.value,
        "redemption": movement.redemption,
        "amount_minor": movement.amount_minor,
        "at": rfc3339(movement.at),
    }


@app.route("POST /v1/reconciliations")
def create_reconciliation(request: ReconciliationRequest, call: Call) -> Reply[ReconciliationSummary]:
    selection = request.selection.selection() if request.selection is not None else None
    made = reconciling.create(call.derived_id("rcn"), selection, call.by, call.now)
    answer = ReconciliationSummary.model_validate(_summary(made))
    return accepted(answer, replayed=made.by.request != call.by.request, location=f"/v1/reconciliations/{made.id}")


@app.route("GET /v1/reconciliations")
def list_reconciliations(call: Call) -> Reply[ReconciliationList]:
    found, next_cursor = reconciling.page(call.limit(), call.query.get("cursor"), call.by)
    return ok(ReconciliationList.model_validate({"data": [_summary(r) for r in found], "next_cursor": next_cursor}))


@app.route("GET /v1/reconciliations/{id}")
def get_reconciliation(call: Call) -> Reply[ReconciliationAnswer]:
    found = reconciling.find(call.path["id"])
    lines, next_cursor = reconciling.differences(found, call.limit(), call.query.get("cursor"), call.by)
    chinese = call.headers.get("accept-language", "").strip().lower().startswith("zh")
    differences = {
        "count": sum(found.differences.values()) + found.more,
        "by_kind": found.differences,
        "more": found.more,
        "data": [_difference(lot, difference, chinese=chinese) for lot, difference in lines],
        "next_cursor": next_cursor,
    }
    return ok(ReconciliationAnswer.model_validate({**_summary(found), "differences": differences}))


def _summary(found: Reconciliation) -> dict[str, Any]:
    done = found.completed_at
    return {
        "id": found.id,
        "status": "completed" if done is not None else "in_progress",
        "progress": Progress(lots_done=found.lots_done, lots=found.lots),
        "looks": found.look + (found.lots_done == found.lots),
        "checked": found.checked,
        "unsettled": found.unsettled,
        "found": sum(found.differences.values()) + found.more,
        "created_at": rfc3339(found.created_at),
        "completed_at": rfc3339(done) if done is not None else None,
    }


def _difference(lot: int, difference: Difference, *, chinese: bool) -> dict[str, Any]:
    meaning = KINDS[difference.kind]
    return {
        "serial": serial_in(lot, difference),
        "lot": lot,
        "kind": difference.kind,
        "title": meaning.zh if chinese else meaning.en,
        "about": difference.about or None,
        "expected": difference.expected,
        "found": difference.found,
        "hint": meaning.hint,
    }


def take(body: str, until: float) -> None:
    """Carry out one order of the queue. Raises where it makes no sense; SQS then sets it aside."""
    order = ORDER.validate_json(body)
    if isinstance(order, Told | Replaced):
        for movement in order.movements:
            _enter(order, movement)
        return
    if isinstance(order, Job):
        _go_on(order.id, until)
        return
    if isinstance(order, Sweep):
        sweep = reconciling.sweep_moved if order.sweep == "moved" else reconciling.sweep_everything
        logger.info("reconciliations", sweep=order.sweep, ordered=sweep(clock.now()))
        return
    late = order.late
    disputed = service.dispute(late.serial, late.generation, (Kind(late.kind), late.redemption))
    logger.info(
        "movement that was late",
        serial=late.serial,
        kind=late.kind,
        redemption=late.redemption,
        alarm=DISPUTED if disputed else None,
    )


def _go_on(id: str, until: float) -> None:
    more_in_s = reconciling.proceed(id, clock.now(), until)
    if more_in_s is not None:
        jobs.send(id, more_in_s)
        logger.info("reconciliation", id=id, done=False)
        return
    found = reconciling.find(id).differences
    logger.info("reconciliation", id=id, done=True, differences=found, alarm=DIFFERS if found else None)


def _enter(told: Told | Replaced, movement: domain.Movement) -> None:
    serial, terms = told.data.serial, told.terms
    by = By(**{name: told.by[name] for name in By._fields})
    outcome = service.enter(serial, terms.generation, terms.currency, movement, by, clock.now())
    logger.info(
        "movement",
        serial=serial,
        kind=movement.kind.value,
        redemption=movement.redemption,
        outcome=outcome,
        alarm=DISPUTED if outcome == service.DISPUTED else None,
    )


def handle(event: Event, context: Any) -> Response:
    if "Records" in event:
        return queue.each(event, partial(take, until=queue.deadline(context)))
    return app(event, context)
