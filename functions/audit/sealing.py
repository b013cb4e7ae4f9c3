"""Seals what is on record: plan, objects, signed checkpoint. Every step derives from the plan and bears repetition."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from functions.domain.actor import By
from functions.domain.record import Entry, Head
from functions.domain.seal import CHECKPOINT_TYPE, Checkpoint, Json, Sealed, Span, continued, planned, sealed
from functions.store import seals, table
from functions.store.seals import CHECKPOINT, Broken


class Key(NamedTuple):
    """Signs the record. `sign` makes a JWS of a type that says something; `opened` tells what one of a type says, and
    raises ValueError where it was not signed by this key."""

    sign: Callable[[str, Json], str]
    opened: Callable[[str, str], Json]


STEP_S = 20.0
"""A checkpoint is not begun where less time than this is left."""
BY = By("audit", "service", "operator", "clock", "seal")


def proceed(key: Key, now: int, until: float) -> bool:
    """Seal what is not sealed yet, checkpoint by checkpoint; says whether that is all. Raises Broken, ValueError."""
    while time.monotonic() < until - STEP_S:
        checkpoint = _next(now)
        if checkpoint is None:
            return True
        _seal(checkpoint, key)
    return False


def _next(now: int) -> Checkpoint | None:
    """The checkpoint to be sealed: what somebody has planned, or a new plan."""
    last = seals.last_checkpoint()
    if last is not None and last.jws is None:
        return last
    plan = planned(last, seals.heads(), now)
    if plan is None:
        return None

    def once(current: Checkpoint | None) -> Checkpoint | None:
        return plan if current is None else None

    return table.change(CHECKPOINT, None, once, "plan", BY)


def _seal(checkpoint: Checkpoint, key: Key) -> None:
    if checkpoint.jws is not None:  # somebody was faster than this one's plan
        return
    runs: list[Sealed] = []
    jws = seals.kept_checkpoint(checkpoint)
    if jws is None:
        for run, content in _runs(checkpoint, seals.entries):
            seals.keep_run(run, content)
            runs.append(run)
        jws = seals.keep_checkpoint(checkpoint, key.sign(CHECKPOINT_TYPE, checkpoint.said(runs)))
    there = key.opened(CHECKPOINT_TYPE, jws)
    if there != checkpoint.said(runs):
        checkpoint, runs = _taken_over(checkpoint, there)

    def decide(current: Checkpoint | None) -> Checkpoint | None:
        assert current is not None
        return replace(checkpoint, version=current.version).with_seal(runs, jws) if current.jws is None else None

    table.change(CHECKPOINT, checkpoint, decide, "seal", BY)


def _runs(checkpoint: Checkpoint, entries: Callable[[Span], list[Entry]]) -> Iterator[tuple[Sealed, bytes]]:
    for span in checkpoint.plan:
        yield sealed(span, checkpoint.before.get(span.chain, Head()), entries(span))


def _taken_over(checkpoint: Checkpoint, there: Json) -> tuple[Checkpoint, list[Sealed]]:
    """The checkpoint that the bucket has under this number, with its runs, in the place of what was planned.

    Whoever signed it has died since; or the table was restored or set back to before it, and what is sealed stays on
    record. Raises Broken, ValueError.
    """
    number = checkpoint.number
    before = seals.checkpoint_at(number - 1).chains if number > 1 else {}
    known = continued(checkpoint, before, there)
    runs = [run for run, _ in _runs(known, seals.kept_entries)]
    if known.said(runs) != there:
        raise Broken(f"{checkpoint.name} does not tell what lies beside it")
    return known, runs
