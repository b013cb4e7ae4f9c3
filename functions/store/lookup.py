"""What one read shows of a code, or of a QR code: its lot, its voucher's item if any, and the guards of who asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from functions.domain import qr
from functions.domain.actor import By
from functions.domain.codes import Candidate, is_right, parse
from functions.domain.errors import Refusal
from functions.domain.lot import Lot
from functions.domain.serials import LOT_SIZE, serial_of
from functions.domain.voucher import Standing, Voucher, standing
from functions.store import guards, keys, vault
from functions.store.entities import LOT, VOUCHER
from functions.store.guards import Subject
from functions.store.keys import Key
from functions.store.table import Item, change, get_many


@dataclass(frozen=True)
class Sight:
    """The outcome of `look`; everything it tells is decided in memory."""

    candidate: Candidate | qr.Payload | None
    lot: Lot | None
    item: Voucher | None
    guarded: list[Subject]
    counters: Mapping[Key, Item]
    now: int

    @property
    def breaker(self) -> Subject | None:
        """The counter of forged codes on the lot."""
        if self.lot is None:
            return None
        return guards.lot_subject(self.lot.number, self.lot.rules.wrong_codes_per_lot_and_hour)

    def is_right(self, version: int, bearer: str | None = None) -> bool:
        """Whether the code is the one of its voucher in a version (`Voucher.code_version`), or a QR code of its
        bearer's, whenever made."""
        candidate, lot = self.candidate, self.lot
        index = candidate.position % LOT_SIZE if candidate is not None else 0
        if candidate is None or lot is None or lot.part(index) is None:
            return False
        if isinstance(candidate, qr.Payload):
            right = qr.is_right(candidate, vault.key_of(lot, index), version, bearer or "")
            return right and bearer is not None
        if (lot.rules.code_format, lot.rules.code_prefix) != (candidate.format.name, candidate.prefix):
            return False
        return is_right(candidate, vault.key_of(lot, index), version)

    def standing(self, item: Voucher | None) -> Standing | None:
        """Where the voucher stands with this item, or None where the code is not that of any voucher.

        The same for a QR code whose time is over, or whose step was used.
        """
        at = self._named(item)
        if at is None or not isinstance(self.candidate, qr.Payload):
            return at
        return at if qr.is_timely(self.candidate, self.now, at.voucher.qr_step) else None

    def _named(self, item: Voucher | None) -> Standing | None:
        if self.candidate is None or self.lot is None:
            return None
        at = standing(self.lot, self.candidate.position % LOT_SIZE, item, self.now)
        return at if at is not None and self.is_right(at.voucher.code_version, at.voucher.bearer) else None

    def bearer(self, voucher: Voucher) -> str | None:
        """Who shows the voucher: its bearer, or None where not a QR code but its code is given."""
        return voucher.bearer if isinstance(self.candidate, qr.Payload) else None

    def used(self, voucher: Voucher) -> Voucher:
        """The voucher with the step of the QR code used up, so that it is good for nothing more."""
        return replace(voucher, qr_step=self.candidate.step) if isinstance(self.candidate, qr.Payload) else voucher

    def refuse_over_limit(self) -> None:
        """Raise Refusal `too_many_attempts` where who asks has given too many wrong codes."""
        guards.refuse_over_limit(self.guarded, self.breaker, self.counters, self.now)

    def position(self) -> int:
        """The position that the code names. Raises Refusal, and counts a wrong code, where it names none."""
        if self.candidate is None:
            self.refuse_over_limit()
            raise self.wrong()
        return self.candidate.position

    def change(self, decide: Callable[[Voucher | None], Voucher | None], command: str, by: By) -> Voucher:
        """Change the voucher that the code names, in one conditional write (`table.change`).

        Raises what `decide` refuses; a code that cannot be used is counted as a wrong one.
        """
        with self.counting():
            return change(VOUCHER, self.item, decide, command, by)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Within the block the refusal of a code that cannot be used is counted as that of a wrong one."""
        try:
            yield
        except Refusal as refusal:
            told = self.wrong() if refusal.key == "voucher_not_redeemable" else refusal
            told.about |= self.about
            raise told from None

    @property
    def about(self) -> dict[str, str]:
        """The serial that the code names, right or wrong, if it is one of a lot that is there."""
        if self.candidate is None or self.lot is None or self.lot.part(self.candidate.position % LOT_SIZE) is None:
            return {}
        return {"serial": serial_of(self.candidate.position)}

    def wrong(self) -> Refusal:
        """Count a code that a stranger must not learn more about, and give the refusal, the same for every reason."""
        try:
            guards.count_wrong(self.guarded, self.now)
        except Refusal as over:
            return over
        forged = self.breaker is not None and self._named(self.item) is None
        opened = self.breaker is not None and forged and guards.count_forged(self.breaker, self.now)
        return Refusal("voucher_not_redeemable", alarm="lot_breaker_open" if opened else None)


def look(code: str, by: By, guarded: list[Subject], now: int) -> Sight:
    """Read all that a code may need, in one consistent read.

    A lot of the sandbox is not there for clients that are not of it, nor any other for those that are.
    """
    candidate = qr.parse(code) or parse(code)
    wanted = [subject.key(now) for subject in guarded]
    if candidate is None:
        return Sight(None, None, None, guarded, get_many(wanted), now)
    number = candidate.position // LOT_SIZE
    lot_key, voucher_key = keys.lot(number), keys.voucher(candidate.position)
    items = get_many([lot_key, voucher_key, guards.lot_subject(number).key(now), *wanted])
    lot = LOT.load(items[lot_key]) if lot_key in items else None
    if lot is None or lot.rules.sandbox != by.is_sandbox:
        return Sight(candidate, None, None, guarded, items, now)
    item = VOUCHER.load(items[voucher_key]) if voucher_key in items else None
    return Sight(candidate, lot, item, guarded, items, now)
