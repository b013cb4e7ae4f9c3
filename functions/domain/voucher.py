"""What may be done with a voucher: grants, vetoes, generations, value.

Redeemable = one grant, no veto, not expired, value left, not being given away. The tables below are the only place
where this is said; conditions, refusals and the documentation follow from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from functions.domain.errors import Refusal
from functions.domain.ids import derived
from functions.domain.lot import Lot, Scope, Segment, Status, Veto
from functions.domain.serials import LOT_SIZE, serial_of

REDEMPTIONS_PER_VOUCHER_MAX = 100
"""So many over all its generations, for its item keeps them; a voucher that has no more left stays in stock."""
DRAWS_PER_VOUCHER_MAX = 100
"""A voucher that was handed out and reclaimed so many times stays in stock."""
GENERATIONS_MAX = 1_000_000
"""No lot is ever reclaimed so often."""
DAY_S = 86_400
VALID_UNTIL_MAX = 4_102_444_800
"""2100-01-01: nothing is valid longer."""


class Meaning(NamedTuple):
    """What a stored status says: does it grant use, does it veto use, is the value gone."""

    grants: bool = False
    vetoes: bool = False
    spent: bool = False


STATUSES: dict[Status, Meaning] = {
    Status.GENERATED: Meaning(),
    Status.DISTRIBUTED: Meaning(),
    Status.ACTIVE: Meaning(grants=True),
    Status.CLAIMED: Meaning(grants=True),
    Status.PARTLY_REDEEMED: Meaning(grants=True),
    Status.REDEEMED: Meaning(grants=True, spent=True),
    Status.SUSPENDED: Meaning(vetoes=True),
    Status.VOID: Meaning(vetoes=True),
    Status.REISSUED: Meaning(vetoes=True),
}

UNSOLD = (Status.GENERATED, Status.DISTRIBUTED)
"""An item of such a status, left by a suspension that is over, is what its segment says."""
OVER = frozenset({Status.REDEEMED, Status.VOID, Status.REISSUED})
"""Nothing more can happen to these: they stay what they are, whatever comes over their range."""
SPARED: dict[Scope, frozenset[Status]] = {
    Scope.ALL: OVER,
    Scope.NOT_REDEEMED: OVER | {Status.PARTLY_REDEEMED},
    Scope.NOT_CLAIMED: OVER | {Status.CLAIMED, Status.PARTLY_REDEEMED},
    Scope.NOT_ACTIVATED: OVER | {Status.ACTIVE, Status.CLAIMED, Status.PARTLY_REDEEMED},
}
"""Whom a veto of each scope leaves alone."""

REFUSALS: dict[str, str] = {
    "vetoed": "voucher_not_redeemable",
    "redeemed": "already_redeemed",
    "recalled": "voucher_not_redeemable",
    "inactive": "voucher_not_redeemable",
    "expired": "voucher_expired",
    "offered": "voucher_offered",
}
"""Reason → key of the refusal. The order is the order of the answer: the first reason that holds is given."""

VETO_STATUS: dict[str, str] = {"reclaim": "reclaimed", "void": "void", "suspend": "suspended"}
"""Action of the veto that binds → effective status."""
SUSPEND = "suspend"
"""The action of a veto that may be lifted; where others bind too, it is one of those that counts."""

EFFECTIVE: tuple[str, ...] = tuple(dict.fromkeys([*(s.value for s in Status), *VETO_STATUS.values(), "expired"]))
"""Every status that a voucher may show."""


@dataclass(frozen=True, slots=True)
class Reversal:
    """The taking back of one redemption; there is at most one.

    `balance_minor` and `status` (the effective one) are the voucher's just after it, or those of its successor that
    was `credited` (a position).
    """

    id: str
    at: int
    client: str
    reason: str
    fingerprint: str
    request: str
    balance_minor: int = 0
    status: str = ""
    credited: int | None = None


@dataclass(frozen=True, slots=True)
class TransferEnd:
    """What an offer came to, accepted or returned; there is at most one.

    Where it was accepted, `handovers` counts the voucher's until then, this one included.
    """

    id: str
    at: int
    accepted: bool
    fingerprint: str
    request: str
    handovers: int = 0
    balance_minor: int = 0
    valid_until: int | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """The offer of a voucher to whoever has its token (转赠); `domain.transfer` says what may come of it.

    `sha256` is that of the token. `expires_at` ends it without a write, and so does a reclaim of its `generation`.
    """

    id: str
    at: int
    expires_at: int
    client: str
    giver: str
    sha256: bytes
    fingerprint: str
    request: str
    end: TransferEnd | None = None
    generation: int = 1


@dataclass(frozen=True, slots=True)
class Release:
    """The end of a hold without a use; there is at most one."""

    id: str
    at: int
    client: str
    request: str


@dataclass(frozen=True, slots=True)
class Hold:
    """An amount that is kept for one order (预留) until `until`, excluded; `domain.hold` says what may be done with it.

    It ends by time, by a capture, whose `redemption` takes all or part of it, or by a `release`. `available_minor` is
    the voucher's just after it was made; `bearer` is who showed its QR code, None where its code was given.
    """

    id: str
    at: int
    until: int
    client: str
    amount_minor: int
    available_minor: int
    fingerprint: str
    generation: int
    request: str
    redemption: str | None = None
    release: Release | None = None
    bearer: str | None = None
    handovers: int = 0

    @property
    def code_version(self) -> int:
        """The version of the code that it was made with."""
        return code_version(self.generation, self.handovers)


@dataclass(frozen=True, slots=True)
class Redemption:
    """One use of a voucher; `balance_minor` and `status` are the voucher's just after it.

    `hold` is the hold that it was captured from, if any; `bearer` is who showed its QR code, None where its code was
    given. `handovers` is how often the voucher had changed hands, which tells the code that it was used with.
    """

    id: str
    at: int
    client: str
    account_type: str
    account_number: str
    amount_minor: int
    balance_minor: int
    status: Status
    fingerprint: str
    generation: int
    lot_version: int
    request: str
    store: str | None = None
    terminal: str | None = None
    reversal: Reversal | None = None
    hold: str | None = None
    bearer: str | None = None
    handovers: int = 0

    @property
    def code_version(self) -> int:
        """The version of the code that it was made with."""
        return code_version(self.generation, self.handovers)


class Suspension(NamedTuple):
    """That a voucher is suspended by itself: what it was before, and the recoveries that would have it so."""

    was: Status
    recoveries: tuple[str, ...]


class Reissue(NamedTuple):
    """That a voucher was replaced by another, its `successor` (a position), which has what was left on it."""

    recovery: str
    successor: int
    amount_minor: int


class Origin(NamedTuple):
    """That a voucher replaces another, its `predecessor` (a position), of which it has so much.

    `credits` are what came back since of uses of those before it: redemption and amount. `number` counts the
    replacements from the first voucher on.
    """

    recovery: str
    predecessor: int
    amount_minor: int
    number: int = 1
    credits: tuple[tuple[str, int], ...] = ()


class Drawn(NamedTuple):
    """That an order of this id took a voucher of this generation, and what the voucher was then."""

    id: str
    generation: int
    at: int
    valid_until: int | None
    fingerprint: str
    request: str
    status: str


@dataclass(frozen=True, slots=True)
class Voucher:
    """A voucher that something happened to. `version` counts its writes; 0 means that it has no item yet.

    `draws` are the dispenses and claims that took it, kept through reclaims. `command` is the range command that gave
    it an item, where its lot could not be split any further; `extensions` are the last of those that gave it a later
    end of its own. `holder` is a customer of `tenant`, and `ends` is when it was going to end as it came to its holder,
    which only orders a wallet. `transfers` are all offers of it, the last of which may be open. `qr_step` is the last
    step of its QR code that was used. `sandbox` is its campaign's, so that all that is told of it says so.
    """

    position: int
    campaign: str
    batch: str
    status: Status
    generation: int
    balance_minor: int
    currency: str
    redemptions: dict[str, Redemption] = field(default_factory=dict)
    holder: str | None = None
    tenant: str | None = None
    ends: int | None = None
    channel: str | None = None
    valid_until: int | None = None
    command: str | None = None
    extensions: tuple[str, ...] = ()
    holds: dict[str, Hold] = field(default_factory=dict)
    draws: tuple[Drawn, ...] = ()
    transfers: dict[str, Transfer] = field(default_factory=dict)
    qr_step: int = 0
    sandbox: bool = False
    suspension: Suspension | None = None
    reissue: Reissue | None = None
    origin: Origin | None = None
    version: int = 0

    @property
    def serial(self) -> str:
        """The public number."""
        return serial_of(self.position)

    @property
    def unsuspended(self) -> Status:
        """Its status but for a suspension of its own, by which a veto of a range spares it or not."""
        return self.suspension.was if self.suspension is not None else self.status

    def drawn(self, id: str) -> Drawn | None:
        """What is known of an order that took it."""
        return next((draw for draw in self.draws if draw.id == id), None)

    @property
    def bearer(self) -> str | None:
        """Who holds it, for the key of its QR code."""
        return derived(self.tenant, self.holder) if self.tenant is not None and self.holder is not None else None

    @property
    def handovers(self) -> int:
        """How often it has gone from one holder to another, in its generation."""
        ours = (transfer.end for transfer in self.transfers.values() if transfer.generation == self.generation)
        return sum(end is not None and end.accepted for end in ours)

    @property
    def code_version(self) -> int:
        """Which of its codes is right: each generation has one of its own, and so has each holder after the first."""
        return code_version(self.generation, self.handovers)

    def replaces(self, other: Voucher) -> bool:
        """Whether it is the successor of another, and has not begun anew since."""
        origin, reissue = self.origin, other.reissue
        return origin is not None and reissue is not None and origin[:2] == (reissue.recovery, other.position)

    def offer(self, now: int) -> Transfer | None:
        """The offer of it that is open."""
        ours = (transfer for transfer in self.transfers.values() if transfer.generation == self.generation)
        return next((t for t in ours if t.end is None and now < t.expires_at), None)

    def open_holds(self, now: int) -> tuple[Hold, ...]:
        """The holds of its generation that have not ended; one that time has ended needs no write."""
        ours = (hold for hold in self.holds.values() if hold.generation == self.generation)
        return tuple(h for h in ours if h.redemption is None and h.release is None and now < h.until)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a voucher is right now: from its lot, its item if any, and the time."""

    voucher: Voucher
    segment: Segment
    status: str
    reason: str | None
    valid_until: int | None
    holds: tuple[Hold, ...]

    @property
    def redeemable(self) -> bool:
        """One grant, no veto, not expired, value left, not being given away."""
        return self.reason is None

    @property
    def available_minor(self) -> int:
        """What no open hold keeps. Never negative, though machines whose clocks differ may overlap in a hold's end."""
        return max(0, self.voucher.balance_minor - sum(hold.amount_minor for hold in self.holds))

    def refuse_unless_redeemable(self) -> None:
        """Raise the refusal that a stranger gets."""
        if self.reason is not None:
            raise Refusal(REFUSALS[self.reason])


def code_version(generation: int, handovers: int) -> int:
    """The number that stands for a generation and a holder in the derivation of codes (`domain.codes`)."""
    return generation + handovers * GENERATIONS_MAX


def binding(vetoes: tuple[Veto, ...], status: Status, generation: int) -> Veto | None:
    """The first veto that binds a voucher of this status and generation, a suspension only where no other does."""
    bound = [v for v in vetoes if generation <= v.generation and status not in SPARED[v.scope]]
    return min(bound, key=lambda veto: veto.action == SUSPEND, default=None)


def reclaimed(segment: Segment, item: Voucher) -> bool:
    """Whether an item is of a generation that a reclaim has ended, and was not spared by it."""
    ended = tuple(v for v in segment.vetoes if v.generation < segment.generation and v.action != SUSPEND)
    return binding(ended, item.unsuspended, item.generation) is not None


def untouched(lot: Lot, segment: Segment, index: int) -> Voucher:
    """The voucher as its segment says."""
    part = lot.part(index)
    assert part is not None, "every segment lies in a part"
    return Voucher(
        position=lot.number * LOT_SIZE + index,
        campaign=lot.rules.campaign,
        batch=part.batch,
        status=segment.status,
        generation=segment.generation,
        balance_minor=lot.rules.amount_minor,
        currency=lot.rules.currency,
        sandbox=lot.rules.sandbox,
    )


def begun_anew(fresh: Voucher, item: Voucher) -> Voucher:
    """The voucher of a new generation; what was is kept, so that repeats of old requests are still answered."""
    kept = {name: getattr(item, name) for name in ("redemptions", "holds", "transfers", "draws", "version")}
    return replace(fresh, **kept)


def standing(lot: Lot, index: int, item: Voucher | None, now: int) -> Standing | None:
    """Where the voucher stands, or None where nothing was generated at this index."""
    segment = lot.segment(index)
    if segment is None:
        return None
    fresh = untouched(lot, segment, index)
    if item is None:
        voucher = fresh
    elif reclaimed(segment, item):
        voucher = begun_anew(fresh, item)
    elif item.status in UNSOLD and item.generation == segment.generation:
        voucher = replace(item, status=segment.status)
    else:
        voucher = item
    own = own_end(segment, voucher)
    valid_until = own if own is not None else segment.valid_until
    veto = binding(segment.vetoes, voucher.unsuspended, voucher.generation)
    reason = _reason(voucher, segment, veto, valid_until, now)
    holds = voucher.open_holds(now)
    return Standing(voucher, segment, _effective(voucher, veto, reason), reason, valid_until, holds)


def own_end(segment: Segment, voucher: Voucher) -> int | None:
    """The end of validity that is not its segment's: the voucher's own, or that of the generation that it kept."""
    if voucher.valid_until is not None:
        return voucher.valid_until
    ended = (v.ends for v in segment.vetoes if v.generation == voucher.generation < segment.generation)
    return next((ends for ends in ended if ends is not None), None)


def _reason(voucher: Voucher, segment: Segment, veto: Veto | None, valid_until: int | None, now: int) -> str | None:
    meaning = STATUSES[voucher.status]
    granted = meaning.grants or (STATUSES[segment.status].grants and voucher.generation == segment.generation)
    holds = {
        "vetoed": meaning.vetoes,
        "redeemed": meaning.spent,
        "recalled": veto is not None,
        "inactive": not granted,
        "expired": valid_until is not None and now >= valid_until,
        "offered": voucher.offer(now) is not None,
    }
    return next((reason for reason in REFUSALS if holds[reason]), None)


def _effective(voucher: Voucher, veto: Veto | None, reason: str | None) -> str:
    if veto is not None and (reason == "recalled" or voucher.status is Status.SUSPENDED):
        return VETO_STATUS[veto.action]
    return "expired" if reason == "expired" else voucher.status.value


def fitting(at: Standing, redemption_limit: int, amount_minor: int | None, single: bool) -> int:
    """The amount that may be taken, or held to be taken later; `amount_minor` None means all that is left.

    An open hold also keeps its place among the redemptions that a voucher may have. Raises Refusal where the voucher
    or the amount does not allow it.
    """
    at.refuse_unless_redeemable()
    balance, available = at.voucher.balance_minor, at.available_minor
    amount = balance if amount_minor is None else amount_minor
    if amount > balance:
        raise Refusal("amount_exceeds_balance", f"{balance} minor units are left.", extra={"balance_minor": balance})
    if single and amount != balance:
        raise Refusal("partial_not_allowed", f"Redeem {balance} minor units, or leave amount_minor out.")
    if amount > available:
        said = f"{available} of {balance} minor units are not held for other orders."
        raise Refusal("amount_held", said, extra={"available_minor": available})
    if len(at.voucher.redemptions) + len(at.holds) >= redemption_limit:
        raise Refusal("redemption_limit_reached", f"It may be redeemed {redemption_limit} times.")
    return amount


def redeem(at: Standing, redemption_limit: int, amount_minor: int | None, single: bool) -> tuple[int, int, Status]:
    """What a redemption would take and leave: (amount, balance after, status after). Raises Refusal as `fitting`."""
    amount = fitting(at, redemption_limit, amount_minor, single)
    left = at.voucher.balance_minor - amount
    return amount, left, status_with(left)


def status_with(balance_minor: int) -> Status:
    """The status of a voucher that a redemption has left so much."""
    return Status.PARTLY_REDEEMED if balance_minor else Status.REDEEMED


def with_redemption(voucher: Voucher, redemption: Redemption) -> Voucher:
    """The voucher after a redemption."""
    return replace(
        voucher,
        status=redemption.status,
        balance_minor=redemption.balance_minor,
        redemptions={**voucher.redemptions, redemption.id: redemption},
    )


def with_reversal(voucher: Voucher, redemption: Redemption, reversal: Reversal) -> Voucher:
    """The voucher with the value of one redemption back, whatever vetoes stand or time has passed."""
    balance = voucher.balance_minor + redemption.amount_minor
    reversed_ = replace(redemption, reversal=replace(reversal, balance_minor=balance))
    return _restored(replace(voucher, redemptions={**voucher.redemptions, redemption.id: reversed_}), balance)


def with_credit(successor: Voucher, redemption: Redemption) -> Voucher:
    """The successor of a voucher with the value of one of that one's redemptions."""
    assert successor.origin is not None
    credits = (*successor.origin.credits, (redemption.id, redemption.amount_minor))
    credited = replace(successor, origin=successor.origin._replace(credits=credits))
    return _restored(credited, successor.balance_minor + redemption.amount_minor)


def with_reversal_elsewhere(voucher: Voucher, redemption: Redemption, reversal: Reversal) -> Voucher:
    """The replaced voucher with the reversal of one of its redemptions, whose value went to its successor."""
    return replace(voucher, redemptions={**voucher.redemptions, redemption.id: replace(redemption, reversal=reversal)})


def _restored(voucher: Voucher, balance: int) -> Voucher:
    """The voucher with more on it than it had."""
    unused = all(r.reversal is not None for r in voucher.redemptions.values() if r.generation == voucher.generation)
    unspent = Status.CLAIMED if voucher.holder else Status.ACTIVE
    standing = unspent if unused else Status.PARTLY_REDEEMED
    status, suspension = voucher.status, voucher.suspension
    if suspension is not None:
        suspension = suspension._replace(was=standing)
    elif not STATUSES[status].vetoes:
        status = standing
    return replace(voucher, status=status, suspension=suspension, balance_minor=balance)
