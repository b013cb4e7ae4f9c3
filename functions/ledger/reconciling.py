"""Reconcile: look into every lot, look again at what differs, and name what still does.

Lots are looked into in order, and each that differs keeps its findings in an item of its own. Every step may be run
twice, by two workers at once, or break off: items move on by conditions, and the next message goes on from what stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import count

from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.formats import FORMATS
from functions.domain.ids import derived, fingerprint, refuse_reuse
from functions.domain.reconciliation import Difference, Findings, Reconciliation, looked, named, total
from functions.domain.selection import Part, Selection, Span, by_lot, lot_count
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import DAY_S
from functions.store import cursors, keys, ledger, lists, lots, ranges, reconciliations, table
from functions.store.reconciliations import FINDINGS, RECONCILIATION
from functions.store.records import COUNTER

LOOKS_AFTER_S = (60, 300, 900)
"""After the first look, what differs is looked at again so many times, so long after the look before."""
LOTS_PER_CHUNK = 16
SPANS_MAX = 5_000
"""So many an item holds; what moved in more pieces is reconciled by several."""
BY = By("ledger", "system", "operator", "schedule", "")
Line = tuple[int, Difference]
"""A lot, and what differs there."""


def create(id: str, selection: Selection | None, by: By, now: int) -> Reconciliation:
    """Order the reconciliation of a selection, or of all there is.

    The order's item brings a worker by way of the stream. Raises Refusal as `ranges.resolve` and `ranges.known`,
    `idempotency_key_reused`.
    """
    if selection is None:
        spans = everything()
    else:
        spans = ranges.resolve(selection)
        ranges.known(spans)
    asked = fingerprint(asdict(selection) if selection is not None else {"all": True})
    return _ordered(Reconciliation(id, asked, tuple(spans), lot_count(spans), by, now))


def _ordered(wanted: Reconciliation) -> Reconciliation:
    def once(current: Reconciliation | None) -> Reconciliation | None:
        if current is None:
            return wanted
        refuse_reuse(current.fingerprint, wanted.fingerprint, "reconciliation")
        return None

    return table.change(RECONCILIATION, None, once, "request_reconciliation", wanted.by)


def everything() -> list[Span]:
    """All lots that were ever taken by a batch or an import."""
    found = table.get_many(keys.lot_counter(name) for name in FORMATS)
    counters = {counter.code_format: counter for counter in map(COUNTER.load, found.values())}
    taken = [(FORMATS[name].lots.start, counter.next_lot) for name, counter in counters.items()]
    return [Span(first * LOT_SIZE, end * LOT_SIZE - 1) for first, end in sorted(taken) if first < end]


def sweep_moved(now: int) -> list[str]:
    """Order the reconciliation of what moved yesterday and today; says which."""
    days = [ledger.date_of(now - DAY_S), ledger.date_of(now)]
    numbers = sorted({number for day in days for number in ledger.moved_on(day)})
    spans: list[Span] = []
    for number in numbers:
        span = Span(number * LOT_SIZE, number * LOT_SIZE + LOT_SIZE - 1)
        if spans and spans[-1].last + 1 == span.first:
            span = Span(spans.pop().first, span.last)
        spans.append(span)
    return _swept("moved", days[1], spans, now)


def sweep_everything(now: int) -> list[str]:
    """Order the reconciliation of all there is; says which."""
    return _swept("everything", ledger.date_of(now), everything(), now)


def _swept(what: str, date: str, spans: list[Span], now: int) -> list[str]:
    """One order a day and what it is about: a sweep that comes twice finds it there."""
    ordered: list[str] = []
    for number, at in zip(count(1), range(0, len(spans), SPANS_MAX), strict=False):
        some = spans[at : at + SPANS_MAX]
        id, asked = f"rcn_{derived(what, date, str(number))}", fingerprint({"sweep": what, "date": date})
        ordered.append(_ordered(Reconciliation(id, asked, tuple(some), lot_count(some), BY, now)).id)
    return ordered


def find(id: str) -> Reconciliation:
    """A reconciliation. Raises Refusal `not_found`."""
    found = table.read(RECONCILIATION, keys.reconciliation(id))
    if found is None:
        raise Refusal("not_found", "There is no such reconciliation.")
    return found


def page(limit: int, cursor: str | None, by: By) -> tuple[list[Reconciliation], str | None]:
    """The reconciliations, newest first. Raises Refusal `invalid_cursor`."""
    return lists.page(RECONCILIATION, limit, cursor, by)


def proceed(id: str, now: int, until: float) -> int | None:
    """Go on with a reconciliation; says after how many seconds there is more to do, None when it is completed."""
    job = find(id)
    if job.completed_at is None and now >= job.look_at:
        job = _survey(job, now, until) if job.look == 0 else _look_again(job, now, until)
    return None if job.completed_at is not None else max(job.look_at - now, 0)


def _survey(job: Reconciliation, now: int, until: float) -> Reconciliation:
    todo = list(by_lot(list(job.spans)))[job.lots_done :]
    mine = job  # another runner may be further than this one; what it did does not count for these lots
    for checked in lots.in_chunks(todo, partial(_look, job, now), until, LOTS_PER_CHUNK):
        mine = replace(mine, lots_done=mine.lots_done + len(checked), checked=mine.checked + sum(checked))
        job = _saved(mine)
    return _next_look(job, now) if job.lots_done == job.lots and job.look == 0 else job


def _look(job: Reconciliation, at: int, part: Part) -> int:
    """Look into a lot for the first time; says how many vouchers were looked at."""
    number, within = part
    seen = reconciliations.look(number, within, at)
    _keep(looked(None, Findings(job.id, number, 0, tuple(seen.differences), unsettled=not seen.settled)))
    return seen.checked


def _look_again(job: Reconciliation, now: int, until: float) -> Reconciliation:
    todo = [each for each in reconciliations.findings_of(job.id) if each.is_open and each.look < job.look]
    done = 0
    for chunk in lots.in_chunks(todo, partial(_look_closer, job, now), until, LOTS_PER_CHUNK):
        done += len(chunk)
    return _next_look(job, now) if done == len(todo) else job


def _look_closer(job: Reconciliation, at: int, before: Findings) -> None:
    seen = reconciliations.look(before.lot, [(i, i) for i in before.indexes], at, counts=before.is_about_lot)
    now = Findings(job.id, before.lot, job.look, tuple(seen.differences), before.more, not seen.settled)
    _keep(looked(before, now))


def _keep(found: Findings) -> None:
    """Keep what a look has found, where there is or was anything; of two at the same look the first stands."""

    def further(current: Findings | None) -> Findings | None:
        if current is None:
            return found
        return found if current.look < found.look else None

    known = table.read(FINDINGS, keys.findings(found.reconciliation, found.lot))
    if known is not None or found.differences or found.unsettled:
        table.change(FINDINGS, known, further, "reconcile", BY)


def _next_look(job: Reconciliation, now: int) -> Reconciliation:
    """Have what differs looked at again, or name it."""
    found = list(reconciliations.findings_of(job.id))
    if job.look < len(LOOKS_AFTER_S) and any(each.is_open for each in found):
        return _saved(replace(job, look=job.look + 1, look_at=now + LOOKS_AFTER_S[job.look]))
    return _saved(replace(job, **total(found)._asdict(), completed_at=now))


def _saved(job: Reconciliation) -> Reconciliation:
    """Write progress; where another runner is further already, what it wrote stands."""

    def further(current: Reconciliation | None) -> Reconciliation | None:
        assert current is not None
        return job if _place(current) < _place(job) else None

    return table.change(RECONCILIATION, find(job.id), further, "reconcile", job.by)


def _place(job: Reconciliation) -> tuple[bool, int, int]:
    return job.completed_at is not None, job.look, job.lots_done


def differences(job: Reconciliation, limit: int, cursor: str | None, by: By) -> tuple[list[Line], str | None]:
    """What is named, lot by lot, from the cursor on: nothing before the last look. Raises Refusal `invalid_cursor`."""
    bound_to = (by.client, "differences", job.id)
    lot, skip = (int(n) for n in cursors.unseal(cursor, *bound_to).split(".")) if cursor is not None else (-1, 0)
    if job.completed_at is None:
        return [], None
    lines: list[Line] = []
    for at, line in _lines(reconciliations.findings_of(job.id, lot - 1 if lot > 0 else None), lot, skip):
        if len(lines) == limit:
            return lines, cursors.seal(at, *bound_to)
        lines.append(line)
    return lines, None


def _lines(found: Iterable[Findings], lot: int, skip: int) -> Iterator[tuple[str, Line]]:
    """What is named with its place, from the `skip`-th of a lot on."""
    for findings in found:
        for n, difference in enumerate(named(findings)):
            if findings.lot > lot or n >= skip:
                yield f"{findings.lot}.{n}", (findings.lot, difference)
