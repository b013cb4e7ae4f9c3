"""Reconciliation (对账): vouchers, their redemptions, ledger, history, record and counts say the same, card by card.

What is read item by item is never one moment's picture: a redemption that is under way is in its voucher already, and
not yet in the ledger. Therefore a difference is looked at again, some minutes apart, and named only if it is found each
time, the same. What one read shows in itself (`EXACT`) is named at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from functions.domain.actor import By
from functions.domain.events import DATED
from functions.domain.ledger import Account, Kind, Line, Name, moved
from functions.domain.lot import Lot, Status
from functions.domain.selection import Span
from functions.domain.serials import LOT_SIZE, serial_of
from functions.domain.voucher import DAY_S, STATUSES, Voucher, status_with

RECORDED_S = 150 * DAY_S
"""So far back the record is looked into; its copy in the table is kept longer than that."""
DIFFERENCES_PER_LOT_MAX = 500
"""So many are named; all are counted."""


class Meaning(NamedTuple):
    """A row of the table: what differs, in English and Chinese, and what to do."""

    en: str
    zh: str
    hint: str


KINDS: dict[str, Meaning] = {
    "voucher_missing": Meaning(
        "The voucher's item is gone, though the ledger knows of its use",
        "卡密记录缺失，但账本中有其使用记录",
        "Somebody deleted it past Kami. Its code works again: void the serial, then restore the item from the record.",
    ),
    "redemption_missing": Meaning(
        "The voucher does not know a redemption that the ledger has",
        "账本中的核销在卡密记录中不存在",
        "The card was set back. A second use moves no value; suspend the serial, and find out who wrote to the table.",
    ),
    "reversal_missing": Meaning(
        "The voucher does not know a reversal that the ledger has",
        "账本中的撤销在卡密记录中不存在",
        "The voucher was set back past Kami: suspend the serial, and find out who wrote to the table.",
    ),
    "reissue_missing": Meaning(
        "The voucher does not know a reissue that the ledger has",
        "账本中的换发在卡密记录中不存在",
        "The card was set back, with its value on another one: suspend the serial; find out who wrote to the table.",
    ),
    "line_missing": Meaning(
        "The ledger lacks a movement of the voucher's value",
        "账本缺少该卡密的金额变动记录",
        "Redrive what was set aside (relay, events, ledger), or replay the archive: the line then comes by itself.",
    ),
    "line_differs": Meaning(
        "The ledger has another amount or reversal than the voucher",
        "账本与卡密记录的金额或撤销不一致",
        "One of them was changed past Kami; the record says which.",
    ),
    "disputed": Meaning(
        "A movement is disputed and was not posted",
        "该笔变动有争议，尚未入账",
        "See the card's ledger and history; what to do is said at the alarm LedgerDisputed.",
    ),
    "account_differs": Meaning(
        "The account does not follow from its lines",
        "账户余额与其明细不一致",
        "An account or a line was changed, added or deleted past Kami; the record tells what was posted.",
    ),
    "balance_differs": Meaning(
        "The voucher's balance does not follow from its redemptions",
        "卡密余额与其核销记录不一致",
        "The item was changed past Kami: suspend the serial; what is posted is limited by the ledger.",
    ),
    "status_differs": Meaning(
        "The voucher's status does not fit its balance",
        "卡密状态与余额不符",
        "The item was changed past Kami: suspend the serial; what is posted is limited by the ledger.",
    ),
    "history_missing": Meaning(
        "The history lacks what the ledger has",
        "履历缺少账本中的变动",
        "A line of history was deleted past Kami; the record has the event.",
    ),
    "record_missing": Meaning(
        "The record lacks what the ledger has",
        "审计记录缺少账本中的变动",
        "Redrive what was set aside (events, audit). What was deleted past Kami is in the sealed record.",
    ),
    "counts_differ": Meaning(
        "The lot's counts are not those of its vouchers",
        "号段计数与卡密实际状态不一致",
        "Vouchers or the counts were changed past Kami; the vouchers' own differences tell which.",
    ),
    "writes_differ": Meaning(
        "Vouchers were written more or less often than the history knows",
        "卡密写入次数与履历不一致",
        "More: redrive what relay set aside. Less: an item was deleted or set back past Kami.",
    ),
}
EXACT = frozenset({"balance_differs", "status_differs"})
"""Kinds that one item shows by itself."""


class Difference(NamedTuple):
    """That two places disagree: about a voucher, by its place in the lot, or about the lot as a whole.

    `about` is the redemption, generation or count in question; `expected` is what the others say.
    """

    kind: str
    place: int | None
    about: str
    expected: str
    found: str

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it the same at the next look: counts may have moved on by then, with what was wrong in them."""
        if self.kind == "counts_differ":
            return self.kind, self.about, int(self.found) - int(self.expected)
        return tuple(self)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a reconciliation found in a lot at its latest look; `more` were found than are kept."""

    reconciliation: str
    lot: int
    look: int
    differences: tuple[Difference, ...] = ()
    more: int = 0
    unsettled: bool = False
    version: int = 0

    @property
    def is_open(self) -> bool:
        """Whether another look is needed."""
        return self.unsettled or any(difference.kind not in EXACT for difference in self.differences)

    @property
    def indexes(self) -> list[int]:
        """The vouchers in question."""
        return sorted({d.place for d in self.differences if d.place is not None})

    @property
    def is_about_lot(self) -> bool:
        """Whether the lot's counts are in question."""
        return self.unsettled or any(difference.place is None for difference in self.differences)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The order and its progress. At `look` 0 all lots are looked into, at the next ones those in question."""

    id: str
    fingerprint: str
    spans: tuple[Span, ...]
    lots: int
    by: By
    created_at: int
    look: int = 0
    look_at: int = 0
    lots_done: int = 0
    checked: int = 0
    differences: dict[str, int] = field(default_factory=dict)
    more: int = 0
    unsettled: int = 0
    completed_at: int | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Card:
    """What was read of a voucher: its item, its accounts by generation, and lines of them.

    `untold` are events of these lines that the history lacks, `unrecorded` those that the record lacks.
    """

    index: int
    voucher: Voucher | None
    accounts: Mapping[int, Account]
    lines: Mapping[tuple[int, Name], Line]
    untold: Collection[str] = ()
    unrecorded: Collection[str] = ()


class Sum(NamedTuple):
    """A lot's counts of touched vouchers, and how many writes of them the history knows."""

    by_status: Mapping[str, int]
    writes: int


class Expected(NamedTuple):
    """A line that a voucher should have."""

    generation: int
    name: Name
    amount_minor: int
    reversal: str | None = None


UNKNOWN: dict[Kind, str] = {Kind.REDEEMED: "redemption_missing", Kind.REVERSED: "reversal_missing"}
"""Kind of a line that its voucher knows nothing of → what that is called; else `reissue_missing`."""
RECEIVED = (Kind.ISSUED, Kind.CREDITED)
"""What a voucher has of another, which it forgets when it begins anew."""


def movements(voucher: Voucher) -> Iterator[Expected]:
    """The lines that a voucher should have: of its uses, of what it has from one that it replaces, and of what went to
    one that replaces it."""
    generation, origin, reissue = voucher.generation, voucher.origin, voucher.reissue
    for use in voucher.redemptions.values():
        yield Expected(use.generation, (Kind.REDEEMED, use.id), use.amount_minor)
        if use.reversal is not None:
            yield Expected(use.generation, (Kind.REVERSED, use.id), use.amount_minor, use.reversal.id)
            if use.reversal.credited is not None:
                yield Expected(use.generation, (Kind.PASSED_ON, use.id), use.amount_minor, use.reversal.id)
    if reissue is not None:
        yield Expected(generation, (Kind.REISSUED, reissue.recovery), reissue.amount_minor)
    if origin is not None:
        yield Expected(generation, (Kind.ISSUED, origin.recovery), origin.amount_minor)
        yield from (Expected(generation, (Kind.CREDITED, id), amount_minor) for id, amount_minor in origin.credits)


def of_card(lot: Lot, card: Card) -> list[Difference]:
    """What differs about a voucher. With only some of the lines it may say that the account differs, and not why."""
    found = [*_of_item(lot, card)]
    if not lot.rules.sandbox:  # what it moves is in no ledger
        found += [*_of_ledger(card), *_of_accounts(lot, card), *_of_history(card)]
    return found


def _of_item(lot: Lot, card: Card) -> Iterator[Difference]:
    voucher = card.voucher
    if voucher is None:
        lines = sum(account.lines for account in card.accounts.values())
        yield Difference("voucher_missing", card.index, "", f"an item, for {lines} lines", "none")
        return
    begun, balance = _begun_and_left(lot, voucher)
    if voucher.balance_minor != balance:
        yield Difference("balance_differs", card.index, "", str(balance), str(voucher.balance_minor))
    if STATUSES[voucher.status].vetoes:
        return
    used = voucher.status in (Status.PARTLY_REDEEMED, Status.REDEEMED)
    status = status_with(balance)
    if used if balance == begun else voucher.status is not status:
        expected = "unused" if balance == begun else status.value
        yield Difference("status_differs", card.index, "", expected, voucher.status.value)


def _begun_and_left(lot: Lot, voucher: Voucher) -> tuple[int, int]:
    """What was put on a voucher in its generation, and what should be left of that."""
    origin, reissue = voucher.origin, voucher.reissue
    begun = lot.rules.amount_minor
    if origin is not None:
        begun = origin.amount_minor + sum(amount_minor for _, amount_minor in origin.credits)
    uses = (use for use in voucher.redemptions.values() if use.generation == voucher.generation)
    gone = sum(use.amount_minor for use in uses if use.reversal is None or use.reversal.credited is not None)
    return begun, begun - gone - (reissue.amount_minor if reissue is not None else 0)


def _of_ledger(card: Card) -> Iterator[Difference]:
    if card.voucher is None:
        return
    known: set[tuple[int, Name]] = set()
    for generation, (kind, id), amount_minor, reversal in movements(card.voucher):
        known.add((generation, (kind, id)))
        line = card.lines.get((generation, (kind, id)))
        said = _said(amount_minor, reversal)
        if line is None:
            yield Difference("line_missing", card.index, id, f"{kind} {said}", "none")
        elif (line.movement.amount_minor, line.movement.reversal) != (amount_minor, reversal):
            has = _said(line.movement.amount_minor, line.movement.reversal)
            yield Difference("line_differs", card.index, id, f"{kind} {said}", f"{kind} {has}")
    for (generation, (kind, id)), line in card.lines.items():
        is_forgotten = kind in RECEIVED and generation < card.voucher.generation
        if (generation, (kind, id)) not in known and not is_forgotten:
            said = _said(line.movement.amount_minor, line.movement.reversal)
            yield Difference(UNKNOWN.get(kind, "reissue_missing"), card.index, id, f"{kind} {said}", "none")


def _said(amount_minor: int, reversal: str | None) -> str:
    return f"{amount_minor}" + (f" by {reversal}" if reversal is not None else "")


def _of_accounts(lot: Lot, card: Card) -> Iterator[Difference]:
    generations = {*card.accounts, *(generation for generation, _ in card.lines)}
    for generation in sorted(generations):
        account = card.accounts.get(generation)
        lines = [line for (of, _), line in card.lines.items() if of == generation]
        face_minor = lot.rules.amount_minor
        balance = face_minor + sum(moved(line.movement, face_minor) for line in lines if line.posted)
        expected = f"{balance} after {len(lines)} lines"
        if account is None:
            yield Difference("account_differs", card.index, str(generation), expected, "none")
            continue
        found = f"{account.balance_minor} after {account.lines} lines"
        if found != expected or account.opened_minor != face_minor:
            yield Difference("account_differs", card.index, str(generation), expected, found)
        for movement in account.waiting:
            if movement.disputed:
                said = f"{movement.kind} {_said(movement.amount_minor, movement.reversal)}"
                yield Difference("disputed", card.index, movement.redemption, said, f"{account.balance_minor}")


def _of_history(card: Card) -> Iterator[Difference]:
    for line in card.lines.values():
        for kind, missing in (("history_missing", card.untold), ("record_missing", card.unrecorded)):
            if line.movement.event in missing:
                yield Difference(kind, card.index, line.movement.redemption, line.movement.event, "none")


def of_counts(before: Sum, vouchers: Iterable[Voucher], after: Sum) -> list[Difference] | None:
    """What differs about a lot's counts, read before and after all its vouchers; None where they moved meanwhile.

    Each voucher's version counts its writes. If the history knows as many, nothing is under way, and the counts must
    be exact; else only that is said.
    """
    if before != after:
        return None
    every = list(vouchers)
    writes = sum(voucher.version for voucher in every)
    if writes != after.writes:
        return [Difference("writes_differ", None, "", str(writes), str(after.writes))]
    counted = Counter(voucher.status.value for voucher in every)
    counted[DATED] = sum(voucher.valid_until is not None for voucher in every)
    names = sorted({*counted, *after.by_status})
    pairs = ((name, counted.get(name, 0), after.by_status.get(name, 0)) for name in names)
    return [Difference("counts_differ", None, name, str(n), str(has)) for name, n, has in pairs if n != has]


def looked(before: Findings | None, now: Findings) -> Findings:
    """The findings after another look: what is exact, and what was found before as well."""
    if before is None:
        kept = list(now.differences)
    else:
        known = {difference.identity for difference in before.differences}
        kept = [d for d in now.differences if d.kind in EXACT or d.identity in known]
        kept += [d for d in before.differences if d.kind in EXACT and d not in kept]
        if now.unsettled:  # nothing can be said of the counts this time
            kept += [d for d in before.differences if d.place is None]
    cut = kept[:DIFFERENCES_PER_LOT_MAX]
    return replace(now, differences=tuple(cut), more=now.more + len(kept) - len(cut))


class Total(NamedTuple):
    """What is named by kind, how much more was found than is named, and how many lots' counts never came to rest."""

    differences: dict[str, int]
    more: int
    unsettled: int


def total(findings: Iterable[Findings]) -> Total:
    """What all lots come to."""
    by_kind, more, unsettled = Counter[str](), 0, 0
    for each in findings:
        by_kind.update(difference.kind for difference in named(each))
        more += each.more
        unsettled += each.unsettled
    return Total(dict(by_kind), more, unsettled)


def named(findings: Findings) -> list[Difference]:
    """What is left to be named after the last look: nothing about counts that never came to rest."""
    return [d for d in findings.differences if d.place is not None or not findings.unsettled]


def serial_in(lot: int, difference: Difference) -> str | None:
    """The serial that a difference is about, if it is about one."""
    return serial_of(lot * LOT_SIZE + difference.place) if difference.place is not None else None
