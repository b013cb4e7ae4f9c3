"""The codes of vouchers, for those who may have them: computed, or where they were imported, found and decrypted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from functions.domain.codes import codes
from functions.domain.errors import Refusal
from functions.domain.imported import Imported, Safe
from functions.domain.lot import Lot
from functions.domain.serials import LOT_SIZE
from functions.store import keys, table, vault
from functions.store.imports import IMPORTED
from functions.store.keys import Key
from functions.store.lots import WORKERS_MAX

CODES_MAX = table.BATCH_GET_MAX


def codes_of(lot: Lot, versions: Mapping[int, int]) -> dict[int, str]:
    """Index → code, of vouchers of a lot whose code versions (`Voucher.code_version`) are given by index; at most 100.

    An imported code has no versions: it stays the same. Raises Refusal `try_again` where the index does not know
    of an imported code yet.
    """
    if len(versions) > CODES_MAX:
        raise ValueError(f"{len(versions)} codes at once")
    if not lot.rules.format.derived:
        return _imported(lot, versions)
    return {index: _derived(lot, index, version) for index, version in versions.items()}


def _derived(lot: Lot, index: int, version: int) -> str:
    (code,) = codes(vault.key_of(lot, index), lot.rules.format, lot.number, version, index, index)
    return code


def _imported(lot: Lot, indexes: Iterable[int]) -> dict[int, str]:
    start = lot.number * LOT_SIZE
    found = _kept(start + index for index in indexes)
    safes = {part.batch: Safe(vault.key_of(lot, part.first)) for part in lot.parts}
    return {index: safes[found[start + index].batch].unseal(found[start + index]) for index in indexes}


def _kept(positions: Iterable[int]) -> dict[int, Imported]:
    """By position; their places do not change, so the index can be late but never wrong."""
    wanted = {keys.imported(position): position for position in positions}
    with ThreadPoolExecutor(WORKERS_MAX) as pool:
        pages = pool.map(_listed, sorted({key.pk for key in wanted}))
        places = [key for page in pages for place, key in page.items() if place in wanted]
    kept = [IMPORTED.load(item) for item in table.get_many(places).values()]
    if len(kept) < len(wanted):
        raise Refusal("try_again", "These vouchers were imported a moment ago.", retry_after_s=1)
    return {one.position: one for one in kept}


def _listed(partition: str) -> dict[Key, Key]:
    entries = table.query(partition, limit=keys.IMPORTED_IN_A_PARTITION)
    return {Key(entry["gsi1pk"], entry["gsi1sk"]): Key(entry["pk"], entry["sk"]) for entry in entries}
