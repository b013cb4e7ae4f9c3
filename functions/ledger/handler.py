"""ledger: enter what the events say about value; show what was entered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from functions.domain import ledger as domain
from functions.domain.actor import By
from functions.domain.ledger import Kind
from functions.domain.serials import serial_of
from functions.domain.times import rfc3339
from functions.edge import batch as queue
from functions.edge import clock
from functions.edge.http import App, Call, Event, Reply, Response, ok
from functions.edge.log import logger
from functions.ledger import service
from functions.ledger.models import ORDER, LedgerAnswer, Passed, Replaced, Told

app = App("ledger")
DISPUTED = "ledger_disputed"
"""What the log says where people must look; an alarm counts it."""


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


def take(body: str) -> None:
    """Carry out one order of the queue. Raises where it makes no sense; SQS then sets it aside."""
    order = ORDER.validate_json(body)
    if isinstance(order, Told | Replaced):
        for movement in _movements(order):
            _enter(order, movement)
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


KINDS = {"voucher.reissued": Kind.REISSUED, "voucher.issued": Kind.ISSUED, "voucher.credited": Kind.CREDITED}


def _movements(told: Told | Replaced) -> list[domain.Movement]:
    """What an event says about its card's value; a reversal of what was replaced since comes in and goes on."""
    at = int(datetime.fromisoformat(told.at).timestamp())
    if isinstance(told, Replaced):
        return [domain.Movement(KINDS[told.type], told.cause, told.data.amount_minor, told.id, at)]
    redemption, reversal = told.data.redemption, told.data.reversal
    kind = Kind.REDEEMED if reversal is None else Kind.REVERSED
    movement = domain.Movement(kind, redemption.id, redemption.amount_minor, told.id, at, reversal)
    return [movement] if told.data.credited is None else [movement, movement._replace(kind=Kind.PASSED_ON)]


def _enter(told: Told | Replaced, movement: domain.Movement) -> None:
    data = told.data
    terms = data if isinstance(data, Passed) else data.redemption
    by = By(**{name: told.by[name] for name in By._fields})
    outcome = service.enter(data.serial, terms.generation, terms.currency, movement, by, clock.now())
    logger.info(
        "movement",
        serial=data.serial,
        kind=movement.kind.value,
        redemption=movement.redemption,
        outcome=outcome,
        alarm=DISPUTED if outcome == service.DISPUTED else None,
    )


def handle(event: Event, context: Any) -> Response:
    return queue.each(event, take) if "Records" in event else app(event, context)
