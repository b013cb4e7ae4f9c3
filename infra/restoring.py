"""What a restored table has lost, written again: everything by conditional writes, and a second time nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from pydantic import TypeAdapter

from functions.domain import ledger as accounts
from functions.domain.actor import By
from functions.domain.campaign import LotCounter
from functions.domain.draw import Draw, Place
from functions.domain.erasure import Eraser, Erasure
from functions.domain.events import Event
from functions.domain.formats import FORMATS
from functions.domain.ids import derived
from functions.domain.ledger import Kind
from functions.domain.record import Entry
from functions.domain.restore import (
    RECOVERED,
    UNKNOWN,
    Told,
    cause,
    counted,
    erased,
    line,
    lot_after,
    recovery,
    told,
    voucher_after,
)
from functions.domain.serials import LOT_SIZE, position_of
from functions.domain.times import epoch
from functions.edge import clock
from functions.ledger.models import Replaced
from functions.ledger.models import Told as Used
from functions.store import bus, draws, history, keys, ledger, persons, record, seals, selected, table
from functions.store.entities import LOT, VOUCHER
from functions.store.history import Line
from functions.store.keys import Key
from functions.store.records import COUNTER, RECOVERY
from functions.store.table import Conflict

COMMAND: Final = "restore"
WORKERS: Final = 8
LOST_LOTS, GOING_ON = "lots that are lost", "orders that go on"
"""What a run says of lots that the table lacks, and of orders that were under way."""
MOVES: Final = ("voucher.redeemed", "voucher.reversed", "voucher.reissued", "voucher.issued", "voucher.credited")
"""Types of the events that the ledger enters."""
ORDERS: Final = (
    "batch.requested", "export.requested", "import.requested", "distribution.requested", "activation.requested",
    "extension.requested", "recovery.requested", "recovery.approved", "erasure.requested", "reconciliation.requested",
)  # fmt: skip
"""Types of the events that bring a worker for an order."""
Json = dict[str, Any]
Move = Used | Replaced
_MOVE: Final[TypeAdapter[Move]] = TypeAdapter(Move)
Name = tuple[int, Kind, str]
"""Generation, kind and redemption or recovery of a movement."""


@dataclass(slots=True)
class Known:
    """What the record tells of a lot or of a voucher: its writes and its history by event, and what moved value.

    `posted` are the movements of which it was told that they were entered, with the number of their line.
    """

    writes: dict[str, Told] = field(default_factory=dict)
    lines: dict[str, Event] = field(default_factory=dict)
    moves: dict[str, Move] = field(default_factory=dict)
    posted: dict[Name, int] = field(default_factory=dict)


class Knowledge:
    """What the record tells, by what it is about."""

    def __init__(self, found: Iterable[Json], incarnation: int) -> None:
        self.lots: defaultdict[int, Known] = defaultdict(Known)
        self.vouchers: defaultdict[int, Known] = defaultdict(Known)
        self.draws: defaultdict[str, dict[int, Told]] = defaultdict(dict)
        self.recoveries: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        self.completed: dict[str, Json] = {}
        self.orders: dict[str, Json] = {}
        self.erased: set[str] = set()
        for event in found:
            written = cause(event)
            if written is not None and written.incarnation < incarnation:
                self._add(event)

    def _add(self, event: Json) -> None:
        write, of_history, account = told(event), line(event), erased(event)
        if write is not None:
            (self.lots if write.kind == "lot" else self.vouchers)[write.number].writes[event["id"]] = write
            if write.draw is not None:
                self.draws[write.draw][write.number] = write
        if of_history is not None and of_history.subject is not None:
            kind, number = of_history.subject
            (self.lots if kind == "lot" else self.vouchers)[number].lines[event["id"]] = of_history
        if account is not None:
            self.erased.add(account)
        if event["type"] in RECOVERED:
            self.recoveries[event["data"]["recovery"]][event["id"]] = event
        if event["type"] == "recovery.completed":
            self.completed[event["data"]["id"]] = event["data"]
        if event["type"] in ORDERS:
            self.orders[event["id"]] = event
        if event["type"] in MOVES and not event.get("sandbox", False):
            self._of(event).moves[event["id"]] = _MOVE.validate_python(event)
        if event["type"] == "ledger.posted":
            data = event["data"]
            self._of(event).posted[data["generation"], Kind(data["kind"]), data["redemption"]] = data["number"]

    def _of(self, event: Json) -> Known:
        position = position_of(event["data"]["serial"])
        assert position is not None, "what the record tells of is a voucher"
        return self.vouchers[position]


def put_record_back(entries: Iterable[Entry], by: By) -> Counter[str]:
    """Bring the record's chains and checkpoints up to what lies in its bucket. Raises ValueError, seals.Broken."""
    chains: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        chains[entry.chain].append(entry)
    count = sum(record.put_back(chain, of) for chain, of in sorted(chains.items()))
    return Counter({"entries of the record": count, "checkpoints": seals.put_back(by)})


def apply(found: Iterable[Json], incarnation: int, by: By) -> Counter[str]:
    """Re-apply events, lots before their vouchers; says what was lost, and how much of it."""
    known, done = Knowledge(found, incarnation), Counter[str]()
    issued = {position: _issued(of) for position, of in known.vouchers.items() if _issued(of)}
    first = [each for each in sorted(known.vouchers.items()) if each[0] not in issued]
    with ThreadPoolExecutor(WORKERS) as pool:
        for each in pool.map(partial(_lot, by), sorted(known.lots.items())):
            done += each
        for each in pool.map(partial(_voucher, by), first):
            done += each
    for position in _in_order(issued):
        done += _voucher(by, (position, known.vouchers[position]))
    for id, taken in sorted(known.draws.items()):
        done += _draw(id, taken)
    for id, did in sorted(known.recoveries.items()):
        done += _recovery(id, [*did.values()], known.completed.get(id))
    done[GOING_ON] = _go_on(known.orders)
    for account in sorted(known.erased):
        done += _erase_again(account, incarnation, by)
    return done


def _issued(known: Known) -> list[Told]:
    """When it came to replace other vouchers, which must be as they were by then."""
    return sorted((each for each in known.writes.values() if each.predecessor is not None), key=lambda t: t.place)


def _in_order(issued: Mapping[int, list[Told]]) -> list[int]:
    """Vouchers that replace others, each after those that it replaces; times tell no order within a second."""
    ordered: list[int] = []
    begun: set[int] = set()

    def add(position: int | None) -> None:
        if position is not None and position in issued and position not in begun:
            begun.add(position)
            for each in issued[position]:
                add(each.predecessor)
            ordered.append(position)

    for position in issued:
        add(position)
    return ordered


def _lot(by: By, of: tuple[int, Known]) -> Counter[str]:
    number, known = of
    lot = table.read(LOT, keys.lot(number))
    if lot is None:
        return _passed_over(number, by)
    history.record(Line(each, number, {}) for each in known.lines.values())
    after, types = lot_after(lot, known.writes.values())
    if after.version > lot.version:
        _put(LOT.item(after, COMMAND, by), lot.version)
    return Counter(types)


def _put(item: Json, seen: int) -> None:
    """Raises Conflict where somebody else wrote the item; what the SDK sent twice is known by what it says."""
    try:
        table.put(item, seen)
    except Conflict as conflict:
        if conflict.old is None or any(conflict.old[name] != item[name] for name in ("version", "last")):
            raise


def _passed_over(number: int, by: By) -> Counter[str]:
    """A lot that was generated later is not there any more; its number is not given a second time."""
    name = next(name for name, code_format in FORMATS.items() if number in code_format.lots)

    def beyond(counter: LotCounter | None) -> LotCounter | None:
        known = counter or LotCounter(name, FORMATS[name].lots.start)
        return replace(known, next_lot=number + 1) if known.next_lot <= number else None

    table.change(COUNTER, table.read(COUNTER, keys.lot_counter(name)), beyond, COMMAND, by)
    return Counter({LOST_LOTS: 1})


def _voucher(by: By, of: tuple[int, Known]) -> Counter[str]:
    """Its history first: with the line of a write that is not lost goes what relay had not counted by then."""
    position, known = of
    places = [position, *(each.predecessor for each in _issued(known) if each.predecessor is not None)]
    items = table.get_many([keys.lot(position // LOT_SIZE), *map(keys.voucher, places)])
    stored = items.get(keys.lot(position // LOT_SIZE))
    lot = LOT.load(stored) if stored is not None else None
    item, *before = (VOUCHER.load(items[key]) if (key := keys.voucher(place)) in items else None for place in places)
    if lot is None or lot.segment(position % LOT_SIZE) is None:
        return Counter({"vouchers of lots that are lost": 1})
    seen = item.version if item is not None else 0
    after, types = voucher_after(lot, position, item, known.writes.values(), before[-1] if before else None)
    history.record(_lines(position, known, seen))
    if after.version > seen:
        _put(VOUCHER.item(after, COMMAND, by), seen)
    return Counter(types) + _ledger(position, known)


def _lines(position: int, known: Known, seen: int) -> list[Line]:
    def counts(id: str) -> dict[str, int]:
        write = known.writes.get(id)
        return counted(write.event) if write is not None and write.version <= seen else {}

    return [Line(each, position // LOT_SIZE, counts(id)) for id, each in known.lines.items()]


def _ledger(position: int, known: Known) -> Counter[str]:
    """Enter what moved value: first, and silently, what was told to be posted, in the order in which it was."""
    every = [(each, movement) for each in known.moves.values() for movement in each.movements]
    names: dict[Name, tuple[Move, accounts.Movement]] = {(e.terms.generation, *m.name): (e, m) for e, m in every}
    silently = sorted(names.keys() & known.posted.keys(), key=lambda name: (name[0], known.posted[name]))
    others = sorted(names.keys() - known.posted.keys(), key=lambda name: names[name][1].at)
    done = Counter[str]()
    for name in (*silently, *others):
        event, movement = names[name]
        command, who = COMMAND if name in known.posted else "post", By(**event.by)
        terms = event.terms
        outcome = ledger.post(position, terms.generation, terms.currency, movement, who, clock.now(), command)
        done["lines of the ledger"] += len(outcome.lines)
        done["movements that wait in the ledger"] += outcome.account.awaited(movement.name) is not None
    return done


def _draw(id: str, taken: dict[int, Told]) -> Counter[str]:
    """The plan of a draw that was carried out, so that its repeat is answered and not drawn anew."""
    lot = table.read(LOT, keys.lot(min(taken) // LOT_SIZE))
    plan = table.read(draws.DRAW, keys.draw(id))
    if lot is None or (plan is not None and taken.keys() <= {place.position for place in plan.places}):
        return Counter()
    first = next(iter(taken.values()))
    kind = first.event["type"].removeprefix("voucher.").removesuffix("d")
    by = By(**first.event["by"])
    wanted = plan or Draw(id, kind, lot.rules.campaign, len(taken), UNKNOWN, by, first.at)
    places = tuple(Place(position, each.version - 1) for position, each in sorted(taken.items()))
    drawn = replace(wanted, places=places, at=first.at, version=wanted.version + 1)
    table.put(draws.DRAW.item(drawn, kind, by), wanted.version)
    return Counter({"draws": 1})


def _recovery(id: str, did: Sequence[Json], completed: Json | None) -> Counter[str]:
    """A recovery that was ordered since: it goes on where it had not completed, and can be lifted where it suspends."""
    if table.get(keys.recovery(id)) is not None:
        return Counter()
    found = recovery(id, did, completed)
    table.put(RECOVERY.item(selected.kept(found), COMMAND, found.by), 0)
    return Counter({"recoveries": 1})


def _go_on(orders: Mapping[str, Json]) -> int:
    """Tell of orders again that the table has and that are not finished: what was to be done next was in no table."""
    places = {id: Key(found.key, found.key.partition("#")[0]) for id in orders if (found := cause(orders[id]))}
    items = table.get_all(places.values())
    under_way = [_retold(orders[id]) for id, key in places.items() if key in items and not _is_over(items[key])]
    bus.publish(under_way)
    return len(under_way)


def _is_over(item: Json) -> bool:
    ended = item.get("completed_at") is not None or "manifest" in item
    return ended or item.get("status") == "completed" or item.get("phase") in ("done", "rejected", "approval")


def _retold(event: Json) -> Event:
    at, by = epoch(event["at"]), By(**event["by"])
    more = {"changes": event.get("changes", {}), "sandbox": event.get("sandbox", False)}
    return Event(event["id"], event["type"], at, by, None, event["data"], 0, **more)


def _erase_again(account: str, incarnation: int, by: By) -> Counter[str]:
    """Order the erasure of a person whom the restored table names again; a worker does it, as any other."""
    after: str | None = ""
    while after is not None:
        positions, after = persons.positions(account, after)
        for item in table.get_many(keys.voucher(position) for position in positions).values():
            voucher = VOUCHER.load(item)
            name = Eraser(persons.secret(), account, voucher.tenant).name_in(voucher)
            if name is not None:
                now, id = clock.now(), f"ers_{derived(account, str(incarnation))}"
                order = Erasure(
                    id, account, voucher.tenant, derived(name), "other", "", by, now, began_at=now, version=1
                )
                table.put_new([persons.ERASURE.item(order, "erase", by)], {}, persons.ERASURE.name)
                return Counter({"persons to be erased again": 1})
    return Counter()
