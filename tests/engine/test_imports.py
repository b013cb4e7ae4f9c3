"""Imports: each bought code once in stock, whoever is killed when, and read back by those who hand it out."""

from __future__ import annotations

import pytest

from functions.domain.errors import Refusal
from functions.domain.imported import Imported, Safe, blind_index
from functions.domain.lot import Lot, Part, Rules, Segment
from functions.domain.serials import LOT_SIZE
from functions.store import table, vault
from functions.store.codes import codes_of
from functions.store.entities import LOT
from functions.store.imports import IMPORTED
from tests.engine.world import OPERATOR, World

INDEX_KEY = bytes(32)
FIRST = 9_000_000


# Codes of stock


def kept_lot(*parts: tuple[str, int, int], without: int = -1) -> Lot:
    """A lot of imported codes, `CODE-<index>`; of one the item is missing."""
    keys = {batch: vault.new_key(batch) for batch, _, _ in parts}
    rules = Rules("cmp_1", "stock", 1, "CNY", "single", "imported")
    shares = tuple(Part(batch, first, last, keys[batch]) for batch, first, last in parts)
    segments = tuple(Segment(first, last) for _, first, last in parts)
    lot = Lot(FIRST, rules, shares, segments, version=1)
    table.put(LOT.item(lot, "import", OPERATOR), 0)
    for batch, first, last in parts:
        safe = Safe(vault.unwrap(keys[batch], batch))
        for index in range(first, last + 1):
            if index != without:
                position, code = FIRST * LOT_SIZE + index, f"CODE-{index}"
                ciphertext = safe.seal(code, position, index + 1)
                one = Imported(blind_index(INDEX_KEY, code), position, batch, index + 1, ciphertext, version=1)
                table.put(IMPORTED.item(one, "import", OPERATOR), 0)
    return lot


@pytest.mark.usefixtures("world")
def test_imported_codes_are_read_back_by_place_whatever_the_generation() -> None:
    lot = kept_lot(("bat_1", 0, 120), ("bat_2", 121, 130))
    for wanted in ([0], [5, 99, 100, 120, 121, 130], [], [*range(100)], [*range(130, 30, -1)]):
        assert codes_of(lot, dict.fromkeys(wanted, 7)) == {index: f"CODE-{index}" for index in wanted}


def test_derived_codes_are_those_of_their_generations(world: World) -> None:
    batch = world.batch(world.campaign(), 5)
    lot = world.lot(batch.span.lots[0])
    first = codes_of(lot, {0: 1, 3: 1, 4: 2})
    assert [first[0], first[3]] == [code for n, code in enumerate(world.codes(batch.span)) if n in (0, 3)]
    assert first[4] != codes_of(lot, {4: 1})[4]


@pytest.mark.usefixtures("world")
def test_a_code_that_the_index_does_not_know_of_yet_is_not_taken_for_another() -> None:
    lot = kept_lot(("bat_1", 0, 3), without=2)
    assert codes_of(lot, {1: 1}) == {1: "CODE-1"}
    with pytest.raises(Refusal, match="try_again"):
        codes_of(lot, {1: 1, 2: 1})
