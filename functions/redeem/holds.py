"""Hold a voucher, or an amount of it, for an order; capture what is held, or release it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from functions.domain import hold as rules
from functions.domain.actor import By
from functions.domain.errors import Refusal
from functions.domain.ids import derived, fingerprint, fingerprint_but_code, refuse_reuse, reused
from functions.domain.serials import LOT_SIZE
from functions.domain.voucher import (
    REDEMPTIONS_PER_VOUCHER_MAX,
    Hold,
    Redemption,
    Release,
    Voucher,
    fitting,
    standing,
)
from functions.redeem.service import Redeemed, derived_id, position_in
from functions.store import guards, keys, table
from functions.store.aws import write_window
from functions.store.entities import LOT, VOUCHER
from functions.store.lookup import Sight, look

PREFIX = "hld_"


@dataclass(frozen=True, slots=True)
class Order:
    """What a client wants held; `customer_address` is set by trusted clients only."""

    code: str
    amount_minor: int | None
    minutes: int
    account_number: str | None
    device: str | None
    customer_address: str | None


@dataclass(frozen=True, slots=True)
class Capture:
    """What a client wants of what is held."""

    account_type: str
    account_number: str
    amount_minor: int | None
    store: str | None
    terminal: str | None


@dataclass(frozen=True, slots=True)
class Held:
    """A hold, the voucher it is of, and whether it had been made before this request."""

    hold: Hold
    voucher: Voucher
    replayed: bool


@dataclass(frozen=True, slots=True)
class Released:
    """A release, what it released, their voucher, and whether it had been made before this request."""

    release: Release
    hold: Hold
    voucher: Voucher
    replayed: bool


def create(order: Order, key: str, by: By, now: int) -> Held:
    """Hold: one read, one conditional write.

    A repeat is recognised in the voucher's own item before anything else is looked at, for a day after the hold's time
    at least. Raises Refusal as a redemption does, and `hold_limit_reached`; wrong codes are counted.
    """
    guarded = guards.subjects(by.client, order.account_number, order.device, order.customer_address, by.address)
    with write_window():
        sight = look(order.code, by, guarded, now)
        id = PREFIX + derived_id(by, "POST /v1/holds", key, sight.position())
        voucher = sight.change(lambda item: _held(sight, item, id, order, by), "hold", by)
    hold = voucher.holds[id]
    return Held(hold, voucher, replayed=hold.request != by.request)


def _held(sight: Sight, item: Voucher | None, id: str, order: Order, by: By) -> Voucher | None:
    known = item.holds.get(id) if item is not None else None
    if known is not None and sight.is_right(known.code_version, known.bearer):
        refuse_reuse(known.fingerprint, fingerprint_but_code(order))
        return None
    sight.refuse_over_limit()
    at, lot = sight.standing(item), sight.lot
    if at is None or lot is None:
        raise Refusal("voucher_not_redeemable")
    if known is not None or any(used.hold == id for used in at.voucher.redemptions.values()):
        # of a code that a reclaim has ended since, or captured so long ago that only its redemption is left
        raise reused()
    single = lot.rules.redemption == "single"
    amount = fitting(at, REDEMPTIONS_PER_VOUCHER_MAX, order.amount_minor, single)
    hold = Hold(
        id=id,
        at=sight.now,
        until=sight.now + order.minutes * 60,
        client=by.client,
        amount_minor=amount,
        available_minor=at.available_minor - amount,
        fingerprint=fingerprint_but_code(order),
        generation=at.voucher.generation,
        handovers=at.voucher.handovers,
        request=by.request,
        bearer=sight.bearer(at.voucher),
    )
    return sight.used(rules.with_hold(at, hold))


def find(id: str, by: By) -> Held:
    """A hold of the caller's own, or any for the operator. Raises Refusal `not_found`."""
    voucher = table.read(VOUCHER, keys.voucher(_position(id)))
    hold = _visible(voucher, id, by)
    assert voucher is not None
    return Held(hold, voucher, replayed=False)


def _position(id: str) -> int:
    if not id.startswith(PREFIX):
        raise Refusal("not_found")
    return position_in(id.removeprefix(PREFIX))


def _visible(voucher: Voucher | None, id: str, by: By) -> Hold:
    hold = voucher.holds.get(id) if voucher is not None else None
    if hold is None or (hold.client != by.client and by.role != "operator"):
        raise Refusal("not_found")
    return hold


def capture(id: str, order: Capture, key: str, by: By, now: int) -> Redeemed:
    """Redeem all or part of what is held, once; what it leaves is free again. One read, one conditional write.

    By the client that holds, or the operator. The lot is read within the write window, as for a redemption, so that
    the fence of a recovery holds here too. Raises Refusal `not_found`, `idempotency_key_reused`, and as
    `domain.hold.capture`.
    """
    position = _position(id)
    lot_key, voucher_key = keys.lot(position // LOT_SIZE), keys.voucher(position)
    redemption_id = derived_id(by, f"POST /v1/holds/{id}/captures", key, position)
    asked = fingerprint(asdict(order))
    with write_window():
        items = table.get_many([lot_key, voucher_key])
        if voucher_key not in items or lot_key not in items:
            raise Refusal("not_found")
        lot = LOT.load(items[lot_key])

        def captured(item: Voucher | None) -> Voucher | None:
            known = item.redemptions.get(redemption_id) if item is not None else None
            if known is not None:
                refuse_reuse(known.fingerprint, asked)
                return None
            hold = _visible(item, id, by)
            at = standing(lot, position % LOT_SIZE, item, now)
            assert at is not None, "only what was generated is held"
            single = lot.rules.redemption == "single"
            amount, balance, status = rules.capture(
                at, hold, REDEMPTIONS_PER_VOUCHER_MAX, order.amount_minor, single, now
            )
            redemption = Redemption(
                id=redemption_id,
                at=now,
                client=by.client,
                account_type=order.account_type,
                account_number=order.account_number,
                amount_minor=amount,
                balance_minor=balance,
                status=status,
                fingerprint=asked,
                generation=at.voucher.generation,
                handovers=at.voucher.handovers,
                lot_version=lot.version,
                request=by.request,
                store=order.store,
                terminal=order.terminal,
                hold=id,
            )
            return rules.with_capture(at.voucher, hold, redemption)

        voucher = table.change(VOUCHER, VOUCHER.load(items[voucher_key]), captured, "capture", by)
    redemption = voucher.redemptions[redemption_id]
    return Redeemed(redemption, voucher, replayed=redemption.request != by.request)


def release(id: str, key: str, by: By, now: int) -> Released:
    """Free what is held, whatever has become of the voucher. One read, one conditional write.

    By the client that holds, or the operator. Raises Refusal `not_found`, `hold_captured`, `hold_released`,
    `hold_expired`.
    """
    release = Release(derived(by.client, f"POST /v1/holds/{id}/releases", key), now, by.client, by.request)

    def released(item: Voucher | None) -> Voucher | None:
        hold = _visible(item, id, by)
        assert item is not None
        if hold.release is not None and hold.release.id == release.id:
            return None
        rules.refuse_unless_open(hold, now)
        return rules.with_release(item, hold, release)

    voucher = table.change(VOUCHER, table.read(VOUCHER, keys.voucher(_position(id))), released, "release", by)
    hold = voucher.holds[id]
    assert hold.release is not None
    return Released(hold.release, hold, voucher, replayed=hold.release.request != by.request)
