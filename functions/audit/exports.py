"""Exports of the record: sealed objects, joined, with what is needed to verify them off-line."""

from __future__ import annotations

import io
from dataclasses import replace

from functions.audit.sealing import Sign
from functions.domain.actor import By
from functions.domain.audit import KEPT_S, AuditExport
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint, refuse_reuse
from functions.domain.record import DAY_S
from functions.domain.seal import (
    EXPORT_ENTRIES_MAX,
    EXPORT_TYPE,
    Checkpoint,
    closing,
    in_order,
    manifest,
    said_of,
    trail_of,
)
from functions.store import exports, keys, record, seals, table
from functions.store.seals import EXPORT, JSON_LINES

CHECKPOINTS_PER_READ = 100
ABOUT = ("entries", "first", "last", "more")
"""What is written about the file: whoever finds it there already goes by it."""


def create(id: str, since: int | None, to: int | None, by: By, now: int) -> AuditExport:
    """Write the order. Raises Refusal `idempotency_key_reused`."""
    asked = fingerprint({"from": since, "to": to})

    def once(current: AuditExport | None) -> AuditExport | None:
        if current is None:
            return AuditExport(id, since, to, asked, by, now)
        refuse_reuse(current.fingerprint, asked, "export")
        return None

    return table.change(EXPORT, table.read(EXPORT, keys.record_export(id)), once, "request_export", by)


def find(id: str) -> AuditExport:
    """An export of the record. Raises Refusal `not_found`."""
    export = table.read(EXPORT, keys.record_export(id))
    if export is None:
        raise Refusal("not_found", "There is no such export.")
    return export


def link(id: str, now: int) -> str:
    """Where its file is to be had for a minute. Raises Refusal `not_found`, `export_in_progress`, `export_expired`."""
    export = find(id)
    if export.completed_at is None:
        raise Refusal("export_in_progress", "Wait until the export's status is completed.", retry_after_s=5)
    if now >= export.created_at + KEPT_S:
        raise Refusal("export_expired", f"Exports are kept for {KEPT_S // 86_400} days; order another.")
    return exports.link(_name(export), f"{export.id}.jsonl")


def write(id: str, sign: Sign, now: int) -> AuditExport:
    """Write the file of an export whose time is sealed, unless it is there; the repeat of a repeat changes nothing."""
    export = find(id)
    if export.completed_at is not None:
        return export
    chosen, more = _chosen(export, now)
    runs = in_order(chosen)
    file, trail = io.BytesIO(), []
    for content in seals.runs(runs):
        file.write(content)
        trail.append(trail_of(content))
    marks = b"".join(trail)
    told = manifest(runs, chosen, marks)
    file.write(closing(chosen, marks, told, sign(EXPORT_TYPE, said_of(export.id, now, told))))
    entries = sum(run.last - run.first + 1 for run in runs)
    numbers = (chosen[0].number, chosen[-1].number) if chosen else (0, 0)
    about = {name: str(n) for name, n in zip(ABOUT, (entries, *numbers, int(more)), strict=True)}
    there = exports.put_once(_name(export), file, file.tell(), about, media_type=JSON_LINES)
    entries, first, last, beyond = (int(there.about[name]) for name in ABOUT)

    def decide(current: AuditExport | None) -> AuditExport | None:
        assert current is not None
        if current.completed_at is not None:
            return None
        within = (first, last) if last else None
        return replace(
            current, checkpoints=within, entries=entries, size=there.size, more=bool(beyond), completed_at=now
        )

    return table.change(EXPORT, export, decide, "export", export.by)


def _name(export: AuditExport) -> str:
    return f"audit/{export.id}.jsonl"


def _chosen(export: AuditExport, now: int) -> tuple[list[Checkpoint], bool]:
    """The checkpoints of its time that fit into one file, and whether there are more.

    Their objects are deleted once their time is over; a checkpoint's item stays.
    """
    first = _first_since(max(export.since or 0, now - record.kept_s() + DAY_S))
    chosen: list[Checkpoint] = []
    entries = 0
    while page := seals.checkpoints(CHECKPOINTS_PER_READ, after=first - 1 + len(chosen)):
        for checkpoint in page:
            if checkpoint.jws is None or (export.to is not None and checkpoint.at >= export.to):
                return chosen, False
            entries += sum(run.last - run.first + 1 for run in checkpoint.sealed)
            if chosen and entries > EXPORT_ENTRIES_MAX:
                return chosen, True
            chosen.append(checkpoint)
    return chosen, False


def _first_since(since: int) -> int:
    """The number of the first checkpoint of a time or later, by halving."""
    last = seals.last_checkpoint()
    low, high = 1, last.number + 1 if last is not None else 1
    while low < high:
        middle = (low + high) // 2
        if seals.checkpoint_at(middle).at < since:
            low = middle + 1
        else:
            high = middle
    return low
