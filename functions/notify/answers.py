"""How statistics and complaints are asked for and shown."""

from __future__ import annotations

from typing import Any

from functions.domain import deliveries
from functions.domain.actor import By
from functions.domain.complaint import OUTCOMES, Complaint
from functions.domain.deliveries import HOUR_S
from functions.domain.reasons import told
from functions.domain.times import epoch, rfc3339
from functions.edge.http import Call, of_query, refuse_fields
from functions.notify.models import StatisticsQuery
from functions.store.deliveries import HOURS_MAX

NOT_FOR_CUSTOMERS = frozenset({
    "for_support", "next_step", "attempts", "story", "provider", "provider_id", "code",
})  # fmt: skip
"""What is between the operator's staff, its partners and the providers."""


def for_(by: By, shown: dict[str, Any]) -> dict[str, Any]:
    """What of a message or a diagnosis is shown to this caller."""
    if by.role != "customer":
        return shown
    return {name: value for name, value in shown.items() if name not in NOT_FOR_CUSTOMERS}


def hours(call: Call) -> tuple[int, int, tuple[str, ...]]:
    """The hours since the epoch, and the dimensions. Raises Refusal `invalid_request`."""
    asked = of_query(StatisticsQuery, call.query)
    by = tuple(asked.by.split(",")) if asked.by is not None else ()
    if set(by) - set(deliveries.DIMENSIONS) or len(set(by)) < len(by):
        refuse_fields([("query.by", f"some of {','.join(deliveries.DIMENSIONS)}, each once")])
    try:
        ends = epoch(asked.until) if asked.until else call.now + HOUR_S
        until = ends // HOUR_S
        since = epoch(asked.since) // HOUR_S if asked.since else until - 24
    except (ValueError, OverflowError):
        refuse_fields([("query.since", "no date and time")])
    if not 0 < until - since <= HOURS_MAX or since < 0 or until > call.now // HOUR_S + HOURS_MAX:
        refuse_fields([("query.since", f"an hour before `until`, by at most {HOURS_MAX} hours, and none far ahead")])
    return since, until, by


def fared(group: dict[str, Any], sum: deliveries.Sum) -> dict[str, Any]:
    """A row of statistics."""
    hour = {"hour": of_hour(group["hour"])} if "hour" in group else {}
    return {
        **group,
        **hour,
        "messages": {status: n for status, n in sorted(sum.messages.items()) if n},
        "attempts": {outcome: n for outcome, n in sorted(sum.attempts.items()) if n},
        "delivery_rate": sum.delivery_rate,
        "p50_s": sum.percentile_s(50),
        "p95_s": sum.percentile_s(95),
    }


def of_hour(hour: int) -> str:
    """When an hour since the epoch began."""
    return rfc3339(hour * HOUR_S)


def ticket(complaint: Complaint, by: By) -> dict[str, Any]:
    """A complaint, with what is said of its diagnosis."""
    diagnosis, outcome = complaint.diagnosis, complaint.outcome
    said = told(diagnosis.status, diagnosis.reason)
    known = {
        **diagnosis._asdict(),
        "told_at": rfc3339(diagnosis.told_at),
        "for_customer": said.customer._asdict(),
        "for_support": said.support._asdict(),
        "next_step": said.next_step._asdict(),
    }
    return {
        "id": complaint.id,
        "status": "closed" if outcome is not None else "open",
        "message": complaint.message,
        "serial": complaint.serial,
        "created_at": rfc3339(complaint.created_at),
        "diagnosis": for_(by, known),
        "outcome": outcome
        and {"outcome": outcome.outcome, "what": OUTCOMES[outcome.outcome]._asdict(), "at": rfc3339(outcome.at)},
    }
