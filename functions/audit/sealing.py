"""Seals what is on record: plan, objects, signed checkpoint. Every step derives from the plan and bears repetition."""

from __future__ import annotations

import time
from collections.abc import Callable

from functions.domain.actor import By
from functions.domain.record import Head
from functions.domain.seal import CHECKPOINT_TYPE, Checkpoint, Json, planned, said_in, sealed
from functions.store import seals, table
from functions.store.seals import CHECKPOINT, Broken

Sign = Callable[[str, Json], str]
"""Makes a JWS of a type that says something."""
STEP_S = 20.0
"""A checkpoint is not begun where less time than this is left."""
BY = By("audit", "service", "operator", "clock", "seal")


def proceed(sign: Sign, now: int, until: float) -> bool:
    """Seal what is not sealed yet, checkpoint by checkpoint; says whether that is all. Raises Broken, ValueError."""
    while time.monotonic() < until - STEP_S:
        checkpoint = _next(now)
        if checkpoint is None:
            return True
        _seal(checkpoint, sign)
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


def _seal(checkpoint: Checkpoint, sign: Sign) -> None:
    if checkpoint.jws is not None:  # somebody was faster than this one's plan
        return
    runs = []
    for span in checkpoint.plan:
        run, content = sealed(span, checkpoint.before.get(span.chain, Head()), seals.entries(span))
        seals.keep_run(run, content)
        runs.append(run)
    said = checkpoint.said(runs)
    jws = seals.keep_checkpoint(checkpoint, sign(CHECKPOINT_TYPE, said))
    if said_in(jws) != said:
        raise Broken(f"{checkpoint.name} says something else: the table was restored, and what it lost is not put back")

    def decide(current: Checkpoint | None) -> Checkpoint | None:
        assert current is not None
        return current.with_seal(runs, jws)

    table.change(CHECKPOINT, checkpoint, decide, "seal", BY)
