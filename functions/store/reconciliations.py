"""What a reconciliation reads of a lot, and what it keeps of what it finds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from functions.domain.ledger import Line, Name
from functions.domain.lot import Lot
from functions.domain.reconciliation import (
    RECORDED_S,
    Card,
    Difference,
    Findings,
    Reconciliation,
    Sum,
    movements,
    of_card,
    of_counts,
)
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import Voucher
from functions.store import history, keys, ledger, table
from functions.store.entities import LOT, VOUCHER
from functions.store.keys import Key
from functions.store.ledger import ACCOUNT, LINE
from functions.store.table import Entity, Item

RECONCILIATION: Entity[Reconciliation] = Entity(
    "reconciliation",
    Reconciliation,
    key=lambda r: keys.reconciliation(r.id),
    index=lambda r: keys.in_list("reconciliation", r.id, r.created_at),
)
FINDINGS: Entity[Findings] = Entity("findings", Findings, key=lambda f: keys.findings(f.reconciliation, f.lot))

CARDS_PER_STEP = 500
"""So many vouchers are held in memory at once, with their accounts and lines."""
LINES_PER_CARD_MAX = 1_000
FINDINGS_PER_READ = 20
FIRST = "LOT#"
"""Before the findings of all lots."""

Ranges = list[tuple[int, int]]


class Seen(NamedTuple):
    """What a look into a lot has found: how many vouchers it looked at, and whether the counts could be judged."""

    checked: int
    differences: list[Difference]
    settled: bool


def look(number: int, within: Ranges, now: int, *, counts: bool = False) -> Seen:
    """Compare what the table says of vouchers of a lot, and its `counts` too, as where all of it is looked into."""
    counts_key = keys.counts(number)
    lot = table.read(LOT, keys.lot(number))
    if lot is None:
        return Seen(0, [], settled=True)
    whole = counts or all(any(f <= s.first and s.last <= last for f, last in within) for s in lot.segments)
    before = table.get_many([counts_key])
    touched = _indexes(keys.touched_in(number))
    generations = _generations(number)
    every = touched if whole else {i for i in touched if _is_in(i, within)}
    wanted = sorted(every | {i for i in generations if _is_in(i, within)})
    differences: list[Difference] = []
    versions: list[Voucher] = []
    for at in range(0, len(wanted), CARDS_PER_STEP):
        some = wanted[at : at + CARDS_PER_STEP]
        vouchers = _vouchers(number, some)
        versions += vouchers.values()
        for card in _cards(lot, [i for i in some if _is_in(i, within)], vouchers, generations, now):
            if of_card(lot, card):
                differences += of_card(lot, _closer(lot, card, now))
    counted = of_counts(_sum(before, number), versions, _sum(table.get_many([counts_key]), number)) if whole else []
    return Seen(len(wanted), differences + (counted or []), settled=counted is not None)


def _is_in(index: int, within: Ranges) -> bool:
    return any(first <= index <= last for first, last in within)


def _indexes(partition: str) -> set[int]:
    return {int(entry["gsi1sk"][:4]) for entry in table.query(partition, limit=LOT_SIZE)}


def _generations(number: int) -> dict[int, set[int]]:
    """Index → the generations that have an account."""
    found: dict[int, set[int]] = {}
    after = None
    while entries := table.query(keys.accounts_in(number), limit=LOT_SIZE, after=after):
        for index, generation in (keys.in_accounts(entry["gsi1sk"]) for entry in entries):
            found.setdefault(index, set()).add(generation)
        after = entries[-1]["gsi1sk"]
    return found


def _sum(items: Mapping[Key, Item], number: int) -> Sum:
    return Sum(history.counted(items, number), history.writes(items, number))


def _vouchers(number: int, indexes: Iterable[int]) -> dict[int, Voucher]:
    items = table.get_all(keys.voucher(number * LOT_SIZE + index) for index in indexes)
    loaded = (VOUCHER.load(item) for item in items.values())
    return {voucher.position % LOT_SIZE: voucher for voucher in loaded}


def _cards(
    lot: Lot, indexes: list[int], vouchers: Mapping[int, Voucher], generations: Mapping[int, Collection[int]], now: int
) -> Iterator[Card]:
    """The vouchers with their accounts, and with the lines that should be there."""
    start = lot.number * LOT_SIZE
    lines: dict[int, dict[tuple[int, Name], Key]] = {}
    accounts: dict[int, dict[int, Key]] = {}
    for index in indexes:
        voucher = vouchers.get(index)
        wanted_lines = list(movements(voucher)) if voucher is not None else []
        lines[index] = {(of, name): keys.ledger_line(start + index, of, *name) for of, name, *_ in wanted_lines}
        every = {*generations.get(index, ()), *(expected.generation for expected in wanted_lines)}
        accounts[index] = {generation: keys.account(start + index, generation) for generation in every}
    wanted = [key for places in lines.values() for key in places.values()]
    items = table.get_all([*wanted, *(key for places in accounts.values() for key in places.values())])
    found = {
        index: {place: LINE.load(items[key]) for place, key in places.items() if key in items}
        for index, places in lines.items()
    }
    untold, unrecorded = _unknown([line for own in found.values() for line in own.values()], now)
    for index in indexes:
        own = {of: ACCOUNT.load(items[key]) for of, key in accounts[index].items() if key in items}
        if index in vouchers or own:
            yield Card(index, vouchers.get(index), own, found[index], untold, unrecorded)


def _closer(lot: Lot, card: Card, now: int) -> Card:
    """The same with all lines that there are."""
    accounts, every, _ = ledger.of_voucher(lot.number * LOT_SIZE + card.index, LINES_PER_CARD_MAX)
    lines = {(line.generation, line.movement.name): line for line in every}
    own = {account.generation: account for account in accounts}
    untold, unrecorded = _unknown(every, now)
    return replace(card, accounts=own, lines=lines, untold=untold, unrecorded=unrecorded)


def _unknown(lines: Sequence[Line], now: int) -> tuple[set[str], set[str]]:
    """The events of lines that the history lacks, and those that the record lacks."""
    told = {line.movement.event: _in_history(line) for line in lines}
    recent = {line.movement.event for line in lines if line.movement.at > now - RECORDED_S}
    recorded = {event: keys.entry(event) for event in recent}
    items = table.get_all(key for key in (*told.values(), *recorded.values()) if key is not None)
    return _without(told, items), _without(recorded, items)


def _without(places: Mapping[str, Key | None], items: Mapping[Key, Item]) -> set[str]:
    return {event for event, key in places.items() if key not in items}


def _in_history(line: Line) -> Key | None:
    """Where the history tells of a line's event, whose id says the version that its voucher had by it."""
    event = line.movement.event
    version = event.partition(f"{keys.voucher(line.position).pk}.")[2].partition(".")[0]
    return keys.history("voucher", line.position, line.movement.at, int(version), event) if version.isdigit() else None


def findings_of(id: str, after: int | None = None) -> Iterator[Findings]:
    """What a reconciliation found, lot by lot in order, after a lot if one is given."""
    place = keys.findings(id, after).sk if after is not None else FIRST
    while items := table.query(keys.findings_of(id), limit=FINDINGS_PER_READ, after=place, index=""):
        for item in items:
            if item["entity"] == FINDINGS.name:
                yield FINDINGS.load(item)
        place = items[-1]["sk"]
