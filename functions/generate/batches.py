"""Batches: a million vouchers are a hundred lots, each written once."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from functools import partial

from functions.domain.actor import By
from functions.domain.campaign import LOTS_PER_CALL_MAX, Batch, Campaign, LotCounter, allocate, with_batch
from functions.domain.errors import Refusal
from functions.domain.formats import FORMATS
from functions.domain.ids import fingerprint, refuse_reuse
from functions.domain.lot import Lot
from functions.store import jobs, keys, lots, pool, table, tally, vault
from functions.store.entities import LOT
from functions.store.records import BATCH, CAMPAIGN, COUNTER
from functions.store.table import CONFLICTS_MAX, Conflict


def create(id: str, campaign: str, quantity: int, by: By, now: int, until: float) -> Batch:
    """Allocate and write the lots within the call, or as a job where they are more than `LOTS_PER_CALL_MAX`.

    Raises Refusal `not_found`, `wrong_code_format`, `quantity_exceeded`, `guessing_too_likely`,
    `idempotency_key_reused`.
    """
    batch = _allocated(id, campaign, quantity, by, now)
    if batch.status != "completed" and len(batch.span.lots) <= LOTS_PER_CALL_MAX:
        batch = _filled(batch, until, checkpoint=False)
    return batch


def proceed(id: str, now: int, until: float) -> int | None:
    """Go on with a batch; says after how many seconds there is more to do, None when it is done."""
    batch = find(id)
    if batch.status == "completed":
        return None
    if len(batch.span.lots) <= LOTS_PER_CALL_MAX and (wait_s := batch.created_at + jobs.IN_CALL_S - now) > 0:
        return wait_s
    return None if _filled(batch, until, checkpoint=True).status == "completed" else 0


def find(id: str) -> Batch:
    """A batch. Raises Refusal `not_found`."""
    batch = table.read(BATCH, keys.batch(id))
    if batch is None:
        raise Refusal("not_found", "There is no such batch.")
    return batch


def _allocated(id: str, campaign_id: str, quantity: int, by: By, now: int) -> Batch:
    """The batch with its place: batch, campaign and counter move in one transaction or not at all."""
    asked = fingerprint({"quantity": quantity})
    wrapped_key: bytes | None = None
    campaign_key, batch_key = keys.campaign(campaign_id), keys.batch(id)
    counter_keys = {name: keys.lot_counter(name) for name in FORMATS}
    for _ in range(CONFLICTS_MAX):
        items = table.get_many([campaign_key, batch_key, *counter_keys.values()])
        if batch_key in items:
            batch = BATCH.load(items[batch_key])
            refuse_reuse(batch.fingerprint, asked, "batch")
            return batch
        if campaign_key not in items:
            raise Refusal("not_found", "There is no such campaign.")
        campaign = CAMPAIGN.load(items[campaign_key])
        if not campaign.rules.format.derived:
            raise Refusal("wrong_code_format", "Its vouchers come by imports (POST /v1/imports).")
        name = campaign.rules.code_format
        item = items.get(counter_keys[name])
        counter = COUNTER.load(item) if item is not None else LotCounter(name, FORMATS[name].lots.start)
        place = allocate(campaign, quantity, counter.next_lot)
        wrapped_key = wrapped_key or vault.new_key(id, sandbox=campaign.rules.sandbox)
        batch = Batch(id, campaign_id, quantity, place.first, wrapped_key, "in_progress", 0, now, asked, by,
                      sandbox=campaign.rules.sandbox, version=1)  # fmt: skip
        writes: list[table.Write] = [(BATCH, batch, 0), (CAMPAIGN, place.campaign, campaign.version)]
        if place.fresh_lots:
            moved = replace(counter, next_lot=counter.next_lot + place.fresh_lots, version=counter.version + 1)
            writes.append((COUNTER, moved, counter.version))
        try:
            table.put_all(writes, "create_batch", by)
        except Conflict:
            time.sleep(random.uniform(0, 0.05))
            continue
        return batch
    raise Refusal("try_again", "Others are allocating vouchers.", retry_after_s=1)


def _filled(batch: Batch, until: float, *, checkpoint: bool) -> Batch:
    """Write the lots that are left; a lot that holds the batch already is not written again."""
    campaign = table.read(CAMPAIGN, keys.campaign(batch.campaign))
    assert campaign is not None
    todo = batch.span.lots[batch.lots_done :]
    mine = batch  # another runner may be further than this one; what it did does not count for these lots
    for done in lots.in_chunks(todo, partial(_put_lot, batch, campaign), until):
        lots_done = mine.lots_done + len(done)
        mine = replace(
            mine, lots_done=lots_done, status="completed" if lots_done == len(batch.span.lots) else "in_progress"
        )
        if mine.status == "completed":
            pool.supply(batch.campaign, [batch.span], batch.id, batch.by)
        if checkpoint or mine.status == "completed":
            batch = table.change(BATCH, batch, partial(_further, mine), "generate", batch.by)
    return batch


def _further(mine: Batch, current: Batch | None) -> Batch | None:
    assert current is not None
    return mine if current.lots_done < mine.lots_done else None


def _put_lot(batch: Batch, campaign: Campaign, number: int) -> None:
    def with_share(lot: Lot | None) -> Lot | None:
        if lot is not None and any(part.batch == batch.id for part in lot.parts):
            return None
        return with_batch(lot, number, batch, campaign)

    table.change(LOT, None, with_share, "generate", batch.by)


def counts(batch: Batch, now: int) -> dict[str, int] | None:
    """Vouchers by effective status, as `tally.counts`; None as well for a batch that is unfinished."""
    if batch.status != "completed":
        return None
    return tally.counts(batch.span.lots, lambda lot: [batch.span.within(lot.number)], now)
