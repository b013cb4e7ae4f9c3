"""The job of an import: it reads the upload through, writes each code once, and makes a batch of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeVar

from functions.domain import codefile
from functions.domain.campaign import Batch, Campaign, LotCounter, allocate_fresh, with_batch
from functions.domain.codefile import Raw, Unreadable
from functions.domain.errors import Refusal
from functions.domain.formats import FORMATS
from functions.domain.formats import IMPORTED as FORMAT
from functions.domain.imported import Imported, Safe, blind_index
from functions.domain.imports import (
    LINES_PER_CHECKPOINT,
    REFUSALS_PER_PAGE_MAX,
    Fault,
    Import,
    Ledger,
    Place,
    left_over,
)
from functions.generate.imports import find
from functions.store import imports, keys, lots, pool, table, vault
from functions.store.entities import LOT
from functions.store.imports import IMPORT, IMPORTED, REFUSALS, Upload, UploadGone
from functions.store.records import BATCH, CAMPAIGN, COUNTER
from functions.store.table import CONFLICTS_MAX, Conflict, Entity, Write

CODES_PER_WRITE = 100
"""What DynamoDB takes in one transaction."""
LOTS_PER_WRITE = 50
SURVEY_S = 25
"""Reading a file of the largest size through takes less; it is not begun where less time is left."""
CLOSE_S = 10

T = TypeVar("T", Campaign, LotCounter)


def proceed(id: str, now: int, until: float) -> int | None:
    """Go on with an import; says after how many seconds there is more to do, None when it is done."""
    import_ = find(id)
    while import_.status == "in_progress":
        step, needed_s = _next_step(import_)
        if time.monotonic() > until - needed_s:
            return 0
        with suppress(Conflict):  # another worker has done the step; what it left stands
            try:
                step(import_, now, until)
            except UploadGone:
                _give_up(import_, now)
        import_ = find(id)
    return None


Step = Callable[[Import, int, float], None]
"""One step of an import. Raises Conflict where another worker was faster, UploadGone."""


def _next_step(import_: Import) -> tuple[Step, int]:
    """What is to be done, and how many seconds must be left for it."""
    if import_.layout is None:
        return _survey, SURVEY_S
    return (_close, CLOSE_S) if import_.decided or import_.fault is not None else (_write, 0)


def _survey(import_: Import, now: int, until: float) -> None:
    """Read the file through, and take the place that its codes may need."""
    try:
        survey = codefile.survey(_raws(import_))
    except Unreadable as unreadable:
        return _fail(import_, Fault(unreadable.fault, codefile.FAULTS[unreadable.fault], unreadable.line), now)
    if survey.codes == 0:
        return _save(import_, [], replace(import_, layout=survey.layout, lines=survey.lines))
    wrapped_key = vault.new_key(import_.batch_id)
    for _ in range(CONFLICTS_MAX):
        campaign, counter = _stock(import_)
        try:
            given = allocate_fresh(campaign, survey.codes, counter.next_lot)
        except Refusal as refused:
            return _fail(import_, Fault(refused.key, refused.detail), now)
        place = Place(given.first, survey.codes, wrapped_key)
        moved = replace(counter, next_lot=counter.next_lot + given.fresh_lots)
        with _unless_moved(import_):
            stock = [*_changed(campaign, given.campaign, CAMPAIGN), *_changed(counter, moved, COUNTER)]
            return _save(import_, stock, replace(import_, layout=survey.layout, lines=survey.lines, place=place))
    raise Refusal("try_again", "Others are allocating vouchers.", retry_after_s=1)


def _write(import_: Import, now: int, until: float) -> None:
    """Decide on the lines up to the next checkpoint, and write the codes among them."""
    assert import_.layout is not None
    index_key, writer = imports.index_key(), _Writer(import_)
    ledger, raw, read = writer.ledger, None, import_.read
    for raw in _until_gone(_raws(import_)):
        line = codefile.read(raw, import_.layout)
        if line is not None:
            read += 1
            if line.problem is None:
                ledger.take(line, blind_index(index_key, line.code))
            else:
                ledger.refuse(line)
        if ledger.held >= CODES_PER_WRITE:
            writer.put()
            if time.monotonic() > until:
                break
        enough = raw.number - import_.line >= LINES_PER_CHECKPOINT and (ledger.refused or not ledger.waiting)
        if enough or len(ledger.refused) >= REFUSALS_PER_PAGE_MAX:
            break
    while ledger.waiting:
        writer.put()
    assert raw is not None, "a file that is not decided has lines left"
    moved, page = ledger.applied(import_, raw.number, raw.end, read)
    _save(import_, [(REFUSALS, page, 0)] if page is not None else [], moved)


class _Writer:
    """Writes the codes that wait in a ledger, with the positions that they have if all of them are accepted."""

    def __init__(self, import_: Import) -> None:
        self.ledger = Ledger(import_.accepted)
        self._import = import_
        self._safe: Safe | None = None

    def put(self) -> None:
        """All that waits in one transaction; where some of it is in stock already, only that is decided."""
        import_, ledger = self._import, self.ledger
        assert import_.place is not None, "where there are codes there is a place"
        if self._safe is None:
            self._safe = Safe(vault.unwrap(import_.place.wrapped_key, import_.batch_id))
        made: list[Imported] = []
        for position, (index, (line, *_)) in enumerate(ledger.waiting.items(), import_.place.first + ledger.accepted):
            ciphertext = self._safe.seal(line.code, position, line.number)
            made.append(Imported(index, position, import_.batch_id, line.number, ciphertext, line.reference, version=1))
        there = table.put_new([IMPORTED.item(one, "import", import_.by) for one in made], {}, IMPORTED.name)
        if there:
            found = [IMPORTED.load(item) for _, item in sorted(there.items())]
            ledger.known(import_.batch_id, import_.place.first, {one.blind_index: one for one in found})
        else:
            ledger.written()


def _close(import_: Import, now: int, until: float) -> None:
    """Make the batch and its lots, have them drawn from, give back what was not used, delete the upload."""
    batch = import_.batch(now) if import_.accepted else None
    if batch is not None:
        _put_lots(batch, _stock(import_)[0])
        pool.supply(batch.campaign, [batch.span], batch.id, batch.by)
    imports.forget(import_.id)
    for _ in range(CONFLICTS_MAX):
        campaign, counter = _stock(import_)
        freed, moved = left_over(import_, campaign, counter)
        stock = [*_changed(campaign, freed, CAMPAIGN), *_changed(counter, moved, COUNTER)]
        made: list[Write] = [(BATCH, batch, 0)] if batch is not None else []
        with _unless_moved(import_):
            return _save(import_, [*made, *stock], replace(import_, completed_at=now))
    raise Refusal("try_again", "Others are allocating vouchers.", retry_after_s=1)


def _put_lots(batch: Batch, campaign: Campaign) -> None:
    numbers = batch.span.lots
    for at in range(0, len(numbers), LOTS_PER_WRITE):
        some = numbers[at : at + LOTS_PER_WRITE]
        for _ in range(CONFLICTS_MAX):
            there = lots.read_many(some)
            made = [with_batch(None, number, batch, campaign) for number in some if number not in there]
            if not made:
                break
            with suppress(Conflict):
                table.put_all([(LOT, replace(lot, version=1), 0) for lot in made], "import", batch.by)


def _fail(import_: Import, fault: Fault, now: int) -> None:
    """End an import that has changed nothing."""
    imports.forget(import_.id)
    _save(import_, [], replace(import_, fault=fault, completed_at=now))


def _give_up(import_: Import, now: int) -> None:
    """The file is gone: what was taken of it is closed as a batch, and the next import of it adds the rest."""
    fault = Fault("upload_gone", "The upload was deleted before it was read to its end; import the file again.")
    if import_.place is None:
        _fail(import_, fault, now)
    else:
        _save(import_, [], replace(import_, fault=fault, accepted=import_.accepted + _uncounted(import_)))


def _uncounted(import_: Import) -> int:
    """Codes that were written after the last checkpoint: they lie in the positions that follow."""
    assert import_.place is not None
    start = at = import_.place.first + import_.accepted
    while True:
        partition = keys.imported(at).pk
        listed = {entry["gsi1sk"] for entry in table.query(partition, limit=keys.IMPORTED_IN_A_PARTITION)}
        while keys.imported(at).pk == partition and keys.imported(at).sk in listed:
            at += 1
        if keys.imported(at).pk == partition:
            return at - start


def _raws(import_: Import) -> Iterator[Raw]:
    """The lines that are not decided yet."""
    assert import_.etag is not None
    upload = Upload(import_.size, import_.etag)
    return codefile.split(imports.pieces(import_.id, upload, import_.offset), import_.line, import_.offset)


def _until_gone(raws: Iterator[Raw]) -> Iterator[Raw]:
    """The lines that were still to be had; raises UploadGone only where none was.

    So what was just written is counted here, and not by the index, which may not know of it yet.
    """
    raw = None
    try:
        for raw in raws:
            yield raw
    except UploadGone:
        if raw is None:
            raise


def _stock(import_: Import) -> tuple[Campaign, LotCounter]:
    campaign_key, counter_key = keys.campaign(import_.campaign), keys.lot_counter(FORMAT)
    items = table.get_many([campaign_key, counter_key])
    item = items.get(counter_key)
    counter = COUNTER.load(item) if item is not None else LotCounter(FORMAT, FORMATS[FORMAT].lots.start)
    return CAMPAIGN.load(items[campaign_key]), counter


def _changed(before: T, after: T, entity: Entity[T]) -> list[Write]:
    """The write of a thing, if it is another one now."""
    if replace(after, version=before.version) == before:
        return []
    return [(entity, replace(after, version=before.version + 1), before.version)]


def _save(import_: Import, others: list[Write], moved: Import) -> None:
    """The import's next state, together with what belongs to it. Raises Conflict."""
    writes: list[Write] = [(IMPORT, replace(moved, version=import_.version + 1), import_.version), *others]
    table.put_all(writes, "import", import_.by)


@contextmanager
def _unless_moved(import_: Import) -> Iterator[None]:
    """Lets a conflict pass that was about stock; raises it where the import itself has moved."""
    try:
        yield
    except Conflict:
        if find(import_.id).version != import_.version:
            raise
        time.sleep(random.uniform(0, 0.05))
