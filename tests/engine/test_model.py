"""Random commands over HTTP against a dictionary: same answers, value conserved, counts, reports and histories equal.

The model knows vouchers one by one. That the real ones lie in segments of lots, that some get items of their own, and
that a lot full of segments writes items instead, shows only in why an activation or a recovery skips a voucher.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from functions.domain.formats import CROCKFORD
from functions.domain.hold import MINUTES_DEFAULT
from functions.domain.serials import LOT_SIZE, position_of
from functions.domain.times import rfc3339
from functions.edge import clock
from functions.store import ranges
from functions.store.aws import FENCE_S
from functions.store.guards import LIMITS, Limit
from infra.local.gateway import Answer
from tests.engine.engines import on_moto
from tests.engine.world import DAY_S, NOW, World

pytestmark = on_moto

SEGMENTS_MAX = 3
"""Few, so that lots are full soon."""
TOKEN_S = 600
FORM = "application/x-www-form-urlencoded"
ACCOUNTS = ("+8613800000001", "+8613800000002")
WRONG_MAX = 2
"""Few wrong codes are allowed, so that guards are met."""
STEPS_MAX = 20
HELD_S = MINUTES_DEFAULT * 60
HISTORIES_MAX = 3
"""So many cards' histories are read in the end of an example."""
Json = dict[str, Any]
OVER = frozenset({"redeemed", "void"})
SPARED: dict[str | None, frozenset[str]] = {
    None: OVER,
    "not_redeemed": OVER | {"partly_redeemed"},
    "not_claimed": OVER | {"partly_redeemed", "claimed"},
    "not_activated": OVER | {"partly_redeemed", "claimed", "active"},
}
"""By `only`: the statuses of vouchers in use that a recovery leaves alone."""
SHOWN = [None, "generated", "active", "partly_redeemed", "redeemed", "expired", "void", "reclaimed"]
OF_LOT = {"generated", "recalled", "reclaimed"}
OF_VOUCHER = {"held", "released", "redeemed", "reversed", "voided"}
"""Kinds of history lines by the item whose writes they tell of; within a second only those of one item are in order."""


class Veto(NamedTuple):
    """A recovery's word on a voucher; it holds for what is of its generation or older."""

    recovery: str
    action: str
    only: str | None
    generation: int
    ends: int | None = None


class Segment(NamedTuple):
    """What a voucher has in common with its neighbours."""

    status: str
    until: int | None
    generation: int = 1
    vetoes: tuple[Veto, ...] = ()

    @property
    def standing(self) -> tuple[Veto, ...]:
        return tuple(veto for veto in self.vetoes if veto.generation >= self.generation)


def bound(vetoes: tuple[Veto, ...], status: str, generation: int) -> Veto | None:
    return next((v for v in vetoes if generation <= v.generation and status not in SPARED[v.only]), None)


pick = st.integers(0, 1_000)
keys = st.sampled_from(["fresh", "fresh", "fresh", "fresh", "key-1", "key-2"])
tills = st.sampled_from(["merchant", "partner"])


@dataclass
class Redemption:
    role: str
    key: str
    amount: int
    at: int
    generation: int
    asked: Json
    answer: Json
    reversal: tuple[str, str, str, Json] | None = None
    """Role, key, reason and answer."""
    target: str = "/v1/redemptions"


@dataclass
class Hold:
    role: str
    amount: int
    until: int
    generation: int
    asked: Json
    answer: Json
    ended: str = ""
    release: tuple[str, str, Json] | None = None
    """Role, key and answer."""

    def state(self, now: int) -> str:
        return self.ended or ("open" if now < self.until else "expired")


@dataclass
class Item:
    """A voucher that something happened to."""

    status: str
    balance: int
    until: int | None = None
    generation: int = 1
    redemptions: dict[tuple[str, str], Redemption] = field(default_factory=dict)
    holds: dict[tuple[str, str], Hold] = field(default_factory=dict)
    captured: set[tuple[str, str]] = field(default_factory=set)
    """What was captured from, known for longer than holds are."""
    voided_by: str = ""

    @property
    def in_use(self) -> bool:
        return any(r.reversal is None for r in self.redemptions.values() if r.generation == self.generation)


@dataclass
class Recovery:
    """An order that is under way."""

    id: str
    action: str
    only: str | None
    serials: list[str]


@dataclass
class Campaign:
    id: str
    single: bool
    amount: int
    days: int | None
    until: int | None
    reversal_days: int


@dataclass
class Model:
    """What should be."""

    now: int = NOW
    campaigns: list[Campaign] = field(default_factory=list)
    batches: dict[str, list[str]] = field(default_factory=dict)
    campaign_of: dict[str, Campaign] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    codes: dict[tuple[str, int], str] = field(default_factory=dict)
    """(serial, generation) → code, of those that were revealed."""
    answered: dict[tuple[str, str], tuple[Json, Json]] = field(default_factory=dict)
    """(route, key) → what was asked and answered."""
    wrong: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    ordered: dict[str, tuple[Json, str]] = field(default_factory=dict)
    """Key → what was to be recovered, and the recovery."""
    under_way: list[Recovery] = field(default_factory=list)
    reports: dict[str, Json] = field(default_factory=dict)
    """Recovery → what it came to."""
    told: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Serial → the kinds of lines of its history."""

    def live(self, serial: str) -> Item | None:
        """The voucher's own state, unless it was reclaimed since: then it has begun anew."""
        item, segment = self.items.get(serial), self.segments[serial]
        ended = tuple(veto for veto in segment.vetoes if veto.generation < segment.generation)
        return None if item is None or bound(ended, item.status, item.generation) else item

    def would_be_in_stock(self, serial: str, redemption: Redemption) -> bool:
        """Whether a reclaim has spared the voucher only for a use that is to be given back."""
        item, segment = self.items[serial], self.segments[serial]
        ended = tuple(veto for veto in segment.vetoes if veto.generation < segment.generation)
        others = [r for r in item.redemptions.values() if r is not redemption and r.generation == item.generation]
        unused = all(other.reversal is not None for other in others)
        status = "void" if item.status == "void" else "active" if unused else "partly_redeemed"
        return bound(ended, status, item.generation) is not None

    def generation(self, serial: str) -> int:
        return (self.live(serial) or self.segments[serial]).generation

    def code(self, serial: str) -> str:
        return self.codes[serial, self.generation(serial)]

    def anew(self, serial: str, status: str, until: int | None) -> Item:
        """A voucher's state as it begins; the redemptions of older generations stay on record."""
        before = self.items.get(serial) or Item("", 0)
        amount, generation = self.campaign_of[serial].amount, self.segments[serial].generation
        kept = dict(before.redemptions), dict(before.holds), set(before.captured)
        return Item(status, amount, until, generation, *kept)

    def status(self, serial: str) -> str:
        item, segment = self.live(serial), self.segments[serial]
        status, generation = (item or segment).status, (item or segment).generation
        if status in OVER:
            return status
        if veto := bound(segment.vetoes, status, generation):
            return {"void": "void", "reclaim": "reclaimed"}[veto.action]
        if status == "generated":
            return status
        until = item.until if item is not None and item.until is not None else segment.until
        return "expired" if until is not None and self.now >= until else status

    def balance(self, serial: str) -> int:
        item = self.live(serial)
        return item.balance if item is not None else self.campaign_of[serial].amount

    def open_holds(self, serial: str) -> list[Hold]:
        item = self.live(serial)
        ours = [] if item is None else [h for h in item.holds.values() if h.generation == item.generation]
        return [hold for hold in ours if hold.state(self.now) == "open"]

    def available(self, serial: str) -> int:
        return self.balance(serial) - sum(hold.amount for hold in self.open_holds(serial))

    def refusal(self, serial: str) -> str | None:
        refusals = {"redeemed": "already_redeemed", "expired": "voucher_expired"}
        refusals |= dict.fromkeys(("generated", "void", "reclaimed"), "voucher_not_redeemable")
        return refusals.get(self.status(serial))

    def lot(self, serial: str) -> list[str]:
        """The serials of its lot, in order."""
        number = place(serial) // LOT_SIZE
        return sorted(s for s in self.segments if place(s) // LOT_SIZE == number)

    def is_being_reclaimed(self, serials: list[str]) -> bool:
        vetoes = (bound(s.vetoes, s.status, s.generation) for s in map(self.segments.__getitem__, serials))
        return any(veto is not None and veto.action == "reclaim" for veto in vetoes)

    def fits(self, changed: dict[str, Segment], serial: str) -> bool:
        """Whether a lot with these changes is in few enough pieces, or in no more than it was."""
        lot = self.lot(serial)
        before, after = (runs([segments[s] for s in lot]) for segments in (self.segments, self.segments | changed))
        return after <= max(SEGMENTS_MAX, before)

    def note(self, kind: str, serials: Iterable[str]) -> None:
        for serial in serials:
            self.told[serial].append(kind)

    def activate(self, serials: list[str]) -> tuple[int, Counter[str]]:
        """How many become active, and why the others do not."""
        skipped: Counter[str] = Counter()
        wanted: dict[str, Segment] = {}
        for serial in serials:
            segment = self.segments[serial]
            days = self.campaign_of[serial].days
            if segment.standing:
                skipped["recalled"] += 1
            elif segment.status == "active":
                skipped["already_active"] += 1
            elif segment.until is not None and segment.until <= self.now:
                skipped["expired"] += 1
            else:
                until = segment.until if days is None else self.now + days * DAY_S
                wanted[serial] = segment._replace(status="active", until=until)
        if self.fits(wanted, serials[0]):
            self.segments |= wanted
            self.note("activated", wanted)
            return len(wanted), skipped
        for serial, segment in wanted.items():  # the lot is full: one by one
            item = self.live(serial)
            if item is not None:
                skipped[item.status] += 1
            else:
                self.items[serial] = self.anew(serial, "active", segment.until)
                self.note("activated", [serial])
        return len(serials) - sum(skipped.values()), skipped

    def hindrance(self, recovery: Recovery, serial: str) -> str | None:
        """Why a recovery cannot say its word on a voucher that was never used."""
        segment = self.segments[serial]
        for veto in segment.standing:
            void = recovery.action == veto.action == "void"
            if not (void and SPARED[veto.only] > SPARED[recovery.only]):
                return "already_recovered"
        return "activated" if recovery.only == "not_activated" and segment.status == "active" else None

    def order(self, recovery: Recovery, *, singly: bool) -> None:
        """From here on the codes of what it reaches are refused."""
        self.under_way.append(recovery)
        wanted: dict[str, Segment] = {}
        for serial in recovery.serials:
            if self.hindrance(recovery, serial) is None:
                segment = self.segments[serial]
                veto = Veto(recovery.id, recovery.action, recovery.only, segment.generation)
                wanted[serial] = segment._replace(vetoes=(*segment.vetoes, veto))
        if not singly and self.fits(wanted, recovery.serials[0]):
            self.segments |= wanted
            self.note("recalled", wanted)
        elif recovery.action == "void":
            for serial in wanted:
                self._void(recovery, serial)

    def _void(self, recovery: Recovery, serial: str) -> None:
        segment, item = self.segments[serial], self.live(serial)
        status, generation = (item or segment).status, (item or segment).generation
        if bound(segment.standing, status, generation) or status in SPARED[recovery.only]:
            return
        if item is None:
            self.items[serial] = item = self.anew(serial, "void", segment.until)
        item.status, item.voided_by = "void", recovery.id
        self.note("voided", [serial])

    def complete(self) -> list[str]:
        """Ends all recoveries that are under way; returns the serials that have new codes."""
        for recovery in self.under_way:
            reasons = {serial: self._reason(recovery, serial) for serial in recovery.serials}
            skipped = {serial: reason for serial, reason in reasons.items() if reason is not None}
            self.reports[recovery.id] = {
                "selected": len(reasons),
                "recovered": len(reasons) - len(skipped),
                "by_reason": dict(Counter(skipped.values())),
                "data": [{"serial": serial, "reason": skipped[serial]} for serial in sorted(skipped)],
            }
            for serial in reasons.keys() - skipped.keys():
                item = self.live(serial)
                if item is not None and item.in_use:
                    self.note("recovered", [serial])
        freed = [s for r in self.under_way if r.action == "reclaim" for s in r.serials if self._release(r.id, s)]
        self.under_way = []
        return freed

    def _reason(self, recovery: Recovery, serial: str) -> str | None:
        """Why a voucher is not among what was recovered."""
        segment, item = self.segments[serial], self.live(serial)
        own = next((n for n, veto in enumerate(segment.vetoes) if veto.recovery == recovery.id), None)
        earlier = tuple(veto for veto in segment.vetoes[:own] if veto.generation >= segment.generation)
        unused = None if own is not None else self.hindrance(recovery, serial) or "lot_fragmented"
        if earlier:
            unused = "already_recovered"
        if item is None:
            return unused
        if item.voided_by == recovery.id:
            return None
        if item.status in SPARED[recovery.only]:
            return item.status
        if bound(earlier, item.status, item.generation):
            return "already_recovered"
        return None if own is not None else item.status if unused == "already_recovered" else unused

    def _release(self, recovery: str, serial: str) -> bool:
        segment = self.segments[serial]
        if not any(veto.recovery == recovery for veto in segment.standing):
            return False
        until, vetoes, spared = segment.until, segment.vetoes, self.live(serial)
        if self.campaign_of[serial].days is not None:
            until = None
            vetoes = tuple(v._replace(ends=segment.until) if v.generation == segment.generation else v for v in vetoes)
            if spared is not None and spared.until is None and spared.generation == segment.generation:
                spared.until = segment.until
        newest = {(v.only, v.ends and v.generation): v for v in sorted(vetoes, key=lambda veto: veto.generation)}
        self.segments[serial] = Segment("generated", until, segment.generation + 1, tuple(newest.values()))
        self.note("reclaimed", [serial])
        return True


def place(serial: str) -> int:
    position = position_of(serial)
    assert position is not None
    return position


def runs(segments: list[Segment]) -> int:
    """How many stretches of alike neighbours."""
    return sum(one != other for one, other in zip(segments, [None, *segments], strict=False))


def forged(code: str) -> str:
    """Another code of the same voucher."""
    return code[:-1] + CROCKFORD[(CROCKFORD.index(code[-1]) + 1) % len(CROCKFORD)]


class Machine(RuleBasedStateMachine):
    """Commands against the model."""

    _examples = count()

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.world, self.model = world, Model()
        self.example = next(self._examples)
        self.numbers = count()
        self.tokens: dict[str, tuple[int, str]] = {}
        world.wipe(keep="CLIENT")
        world.cloud.carriers.reset()
        monkeypatch.setattr(clock, "now", lambda: self.model.now)

    # How it asks

    def token(self, role: str) -> str:
        issued, token = self.tokens.get(role, (-TOKEN_S, ""))
        if self.model.now - issued >= TOKEN_S:
            id, secret = self.world.cloud.demo_client(role)
            form = urlencode({"grant_type": "client_credentials", "client_id": id, "client_secret": secret})
            answer = self.world.cloud.request("POST", "/v1/tokens", headers={"content-type": FORM}, body=form)
            token = answer.json()["access_token"]
            self.tokens[role] = self.model.now, token
        return token

    def get(self, target: str, role: str = "operator") -> Answer:
        return self.world.cloud.request("GET", target, token=self.token(role))

    def post(self, target: str, body: Json, role: str = "operator", key: str = "") -> Answer:
        headers = {"idempotency-key": f"{self.example}-{key}"} if key else {}
        return self.world.cloud.request("POST", target, headers=headers, body=body, token=self.token(role))

    def unless_fresh(self, key: str) -> str:
        """The key, or one that was never used."""
        return f"fresh-{next(self.numbers)}" if key == "fresh" else key

    def order(self, target: str, body: Json, key: str, effect: Callable[[Answer], Json]) -> None:
        """An order under a key: a repeat is answered as before, and another body is refused."""
        key = self.unless_fresh(key)
        answer = self.post(target, body, key=key)
        known = self.model.answered.get((target, key))
        if known is None:
            if document := effect(answer):
                self.model.answered[target, key] = body, document
        elif known[0] == body:
            assert_replayed(answer, known[1])
        else:
            assert_refused(answer, 422, "idempotency_key_reused")

    def serial(self, at: int, which: str = "any") -> str:
        serials = list(self.model.segments)
        usable = [serial for serial in serials if self.model.refusal(serial) is None]
        wanted = {"usable": usable, "touched": list(self.model.items)}.get(which)
        chosen = wanted or serials
        return chosen[at % len(chosen)]

    @precondition(lambda self: self.model.answered)
    @rule(at=pick, order=st.booleans(), code_in_lower_case=st.booleans())
    def repeat(self, at: int, order: bool, code_in_lower_case: bool) -> None:
        """An order or a redemption; whatever became of the voucher since, and of the redemption."""
        made = self.redemptions()
        if order or not made:
            (target, key), (body, document) = list(self.model.answered.items())[at % len(self.model.answered)]
            assert_replayed(self.post(target, body, key=key), document)
            return
        serial, redemption = made[at % len(made)]
        code = self.model.codes[serial, redemption.generation]
        body = redemption.asked
        if redemption.target == "/v1/redemptions":
            body = {"code": code.lower() if code_in_lower_case else code, **body}
        assert_replayed(self.post(redemption.target, body, redemption.role, redemption.key), redemption.answer)

    # Commands

    @initialize(
        amount=st.sampled_from([500, 5_000]), days=st.sampled_from([None, 2]), how=st.sampled_from(["lot", "serials"])
    )
    def begin(self, amount: int, days: int | None, how: str) -> None:
        """A campaign of each kind with some active vouchers, of which some are in use or held."""
        for number in (0, 1):
            self.create_campaign(amount, bool(number), days if number else None, "fresh")
            self.create_batch(number, 5, "fresh")
            self.activate(how, 5 * number, 5 * number + 4, "fresh")
        for at, taken in ((0, 200), (1, None), (2, 200), (6, None)):
            self.redeem(at, "usable", taken, "merchant", "fresh", ACCOUNTS[0], "right")
        for at, kept in ((0, 200), (1, None), (4, None)):
            self.hold(at, "usable", kept, "merchant", "fresh", ACCOUNTS[0], True)

    @rule(amount=st.sampled_from([1, 500, 5_000]), single=st.booleans(), days=st.sampled_from([None, 2]), key=keys)
    def create_campaign(self, amount: int, single: bool, days: int | None, key: str) -> None:
        reversal_days = 1 if single else 30
        end = {"valid_until": rfc3339(NOW + 4 * DAY_S)} if days is None else {"valid_days_after_activation": days}
        body = {
            "name": "n",
            "kind": "gift",
            "face_value": {"amount_minor": amount, "currency": "CNY"},
            "redemption": "single" if single else "balance",
            "reversal_days": reversal_days,
            **end,
        }

        def effect(answer: Answer) -> Json:
            until = NOW + 4 * DAY_S if days is None else None
            if until is not None and until <= self.model.now:
                assert_refused(answer, 400, "invalid_request")
                return {}
            document = assert_done(answer)
            self.model.campaigns.append(Campaign(document["id"], single, amount, days, until, reversal_days))
            return document

        self.order("/v1/campaigns", body, key, effect)

    @precondition(lambda self: self.model.campaigns)
    @rule(at=pick, quantity=st.integers(1, 5), key=keys)
    def create_batch(self, at: int, quantity: int, key: str) -> None:
        campaign = self.model.campaigns[at % len(self.model.campaigns)]
        self.order(
            f"/v1/campaigns/{campaign.id}/batches",
            {"quantity": quantity},
            key,
            partial(self._created_batch, campaign, quantity),
        )

    def _created_batch(self, campaign: Campaign, quantity: int, answer: Answer) -> Json:
        document = assert_done(answer)
        assert document["counts"] == {"generated": quantity}
        serials = [line["serial"] for line in self.listed(document["id"], None)]
        assert (serials[0], serials[-1], len(serials)) == (document["first_serial"], document["last_serial"], quantity)
        assert not set(serials) & set(self.model.segments)
        self.model.batches[document["id"]] = serials
        self.model.segments |= dict.fromkeys(serials, Segment("generated", campaign.until))
        self.model.campaign_of |= dict.fromkeys(serials, campaign)
        self.model.note("generated", serials)
        self._reveal(serials)
        return document

    def code(self, serial: str) -> str:
        """The code that is good for the voucher now."""
        return self.model.code(serial)

    def _reveal(self, serials: list[str]) -> None:
        """Learns the codes of fresh vouchers, or of those that have begun anew."""
        self.model.note("revealed", serials)
        for line in self.post("/v1/reveals", {"serials": serials, "reason": "model"}).json()["data"]:
            name = line["serial"], self.model.generation(line["serial"])
            assert line["code"] == self.model.codes.get(name, line["code"])
            assert name in self.model.codes or line["code"] not in self.model.codes.values()
            self.model.codes[name] = line["code"]

    @precondition(lambda self: self.model.segments)
    @rule(how=st.sampled_from(["serials", "range", "lot", "batch"]), one=pick, other=pick, key=keys)
    def activate(self, how: str, one: int, other: int, key: str) -> None:
        serials, selection = self._selected(how, one, other)

        def effect(answer: Answer) -> Json:
            if self.model.is_being_reclaimed(serials):
                assert_refused(answer, 409, "recovery_in_progress")
                return {}
            document = assert_done(answer)
            activated, skipped = self.model.activate(serials)
            assert (document["status"], document["activated"]) == ("completed", activated)
            assert document["skipped"] == {"count": sum(skipped.values()), "by_reason": dict(skipped)}
            return document

        self.order("/v1/activations", {"selection": selection}, key, effect)

    def _selected(self, how: str, one: int, other: int) -> tuple[list[str], Json]:
        lot = self.model.lot(self.serial(one))
        first, last = sorted((one % len(lot), other % len(lot)))
        if how == "serials":
            serials = lot[first : last + 1 : 2]
            return serials, {"serials": serials[::-1]}
        if how == "range":
            return lot[first : last + 1], {"first_serial": lot[first], "last_serial": lot[last]}
        if how == "lot":
            return lot, {"lot": place(lot[0]) // LOT_SIZE}
        batch = next(id for id, held in self.model.batches.items() if lot[first] in held)
        return self.model.batches[batch], {"batch": batch}

    @precondition(lambda self: self.model.segments)
    @rule(
        how=st.sampled_from(["serials", "serials", "range", "range", "lot", "batch"]),
        one=pick,
        other=pick,
        action=st.sampled_from(["reclaim", "void"]),
        only=st.sampled_from(list(SPARED)),
        key=keys,
        at_once=st.booleans(),
    )
    def recover(self, how: str, one: int, other: int, action: str, only: str | None, key: str, at_once: bool) -> None:
        serials, selection = self._selected(how, one, other)
        body = {"selection": selection, "action": action, "reason": "stolen"} | ({"only": only} if only else {})
        key = self.unless_fresh(key)
        answer = self.post("/v1/recoveries", body, key=key)
        known = self.model.ordered.get(key)
        if known is not None and known[0] != body:
            assert_refused(answer, 422, "idempotency_key_reused")
            return
        assert (answer.status, answer.header("idempotency-replayed")) == (202, "true" if known else None), answer.body
        document = answer.json()
        if known is not None:
            assert document["id"] == known[1]
            return
        assert (document["status"], document["recovered"]) == ("in_progress", 0)
        self.model.ordered[key] = body, document["id"]
        recovery = Recovery(document["id"], action, only, serials)
        self.model.order(recovery, singly=how == "serials" and action == "void")
        if at_once:
            self.settle()

    def settle(self) -> None:
        """Lets the queue bring all that is left to do; the clock moves past the fence where that waits for it."""
        for _ in range(STEPS_MAX):
            self.world.cloud.drain(delayed=False)
            if not self.world.cloud.hasten():
                break
            self.model.now += FENCE_S
        reports = [recovery.id for recovery in self.model.under_way]
        if freed := self.model.complete():
            self._reveal(freed)
            self.world.cloud.drain(delayed=False)
        for id in reports:
            self._look_at_recovery(id)

    def _look_at_recovery(self, id: str) -> None:
        document = assert_done(self.get(f"/v1/recoveries/{id}?limit=100"), 200)
        if id not in self.model.reports:
            assert (document["status"], document["recovered"], document["skipped"]["count"]) == ("in_progress", 0, 0)
            return
        expected, skipped = self.model.reports[id], document["skipped"]
        assert document["status"] == "completed"
        assert {name: document[name] for name in ("selected", "recovered")} == {
            name: expected[name] for name in ("selected", "recovered")
        }
        assert {name: skipped[name] for name in ("by_reason", "data")} == {
            name: expected[name] for name in ("by_reason", "data")
        }
        assert skipped["count"] == len(expected["data"])

    @precondition(lambda self: self.model.segments)
    @rule(
        at=pick,
        which=st.sampled_from(["usable", "usable", "usable", "touched", "any"]),
        amount=st.sampled_from([None, 1, 200, 200, 500, 6_000]),
        role=tills,
        key=keys,
        account=st.sampled_from(ACCOUNTS),
        kind=st.sampled_from(["right", "right", "right", "right", "old", "old", "forged"]),
    )
    def redeem(self, at: int, which: str, amount: int | None, role: str, key: str, account: str, kind: str) -> None:
        serial, key = self.serial(at, which), self.unless_fresh(key)
        code = self.code(serial)
        generation = self.model.generation(serial)
        if kind == "old":
            generation = min(g for s, g in self.model.codes if s == serial)
        right = generation == self.model.generation(serial) and kind != "forged"
        code = forged(code) if kind == "forged" else self.model.codes[serial, generation]
        asked: Json = {"account": {"type": "mobile", "number": account}}
        if amount is not None:
            asked["amount_minor"] = amount
        answer = self.post("/v1/redemptions", {"code": code, **asked}, role, key)
        item = self.model.items.get(serial)
        known = item.redemptions.get((role, key)) if item is not None else None
        if known is not None and kind != "forged" and generation == known.generation:
            if known.asked == asked:
                assert_replayed(answer, known.answer)
            else:
                assert_refused(answer, 422, "idempotency_key_reused")
            return
        guard = role, account, self.model.now // LIMITS["account"].window_s
        refusal = self.model.refusal(serial) if right else "voucher_not_redeemable"
        balance, single = self.model.balance(serial), self.model.campaign_of[serial].single
        if self.model.wrong[guard] >= WRONG_MAX:
            assert_refused(answer, 429, "too_many_attempts")
        elif known is not None and right:
            assert_refused(answer, 422, "idempotency_key_reused")
        elif refusal is not None:
            self.model.wrong[guard] += refusal == "voucher_not_redeemable"
            assert_refused(answer, {"v": 404, "a": 409}[refusal[0]] if refusal != "voucher_expired" else 410, refusal)
        elif amount is not None and amount > balance:
            assert_refused(answer, 409, "amount_exceeds_balance")
        elif amount is not None and amount < balance and single:
            assert_refused(answer, 409, "partial_not_allowed")
        elif (balance if amount is None else amount) > self.model.available(serial):
            assert_refused(answer, 409, "amount_held")
        else:
            taken = balance if amount is None else amount
            item = self.model.live(serial) or self.model.anew(serial, "active", None)
            self.model.items[serial] = item
            self.model.note("redeemed", [serial])
            item.balance -= taken
            item.status = "partly_redeemed" if item.balance else "redeemed"
            document = assert_done(answer)
            assert (document["serial"], document["amount_minor"]) == (serial, taken)
            assert (document["balance_minor"], document["voucher_status"]) == (item.balance, item.status)
            item.redemptions[role, key] = Redemption(role, key, taken, self.model.now, item.generation, asked, document)

    @precondition(lambda self: self.model.segments)
    @rule(at=pick, amount=st.sampled_from([None, 1, 200]), role=tills, account=st.sampled_from(ACCOUNTS))
    def spend(self, at: int, amount: int | None, role: str, account: str) -> None:
        """A redemption as most are."""
        self.redeem(at, "usable", amount, role, "fresh", account, "right")

    @precondition(lambda self: self.model.segments)
    @rule(
        at=pick,
        which=st.sampled_from(["usable", "usable", "usable", "touched", "any"]),
        amount=st.sampled_from([None, 200, 200, 500, 6_000]),
        role=tills,
        key=keys,
        account=st.sampled_from(ACCOUNTS),
        right=st.sampled_from([True, True, True, True, False]),
    )
    def hold(self, at: int, which: str, amount: int | None, role: str, key: str, account: str, right: bool) -> None:
        serial, key = self.serial(at, which), self.unless_fresh(key)
        code = self.code(serial) if right else forged(self.code(serial))
        asked: Json = {"account": {"type": "mobile", "number": account}}
        if amount is not None:
            asked["amount_minor"] = amount
        answer = self.post("/v1/holds", {"code": code, **asked}, role, key)
        item, generation = self.model.items.get(serial) or Item("", 0), self.model.generation(serial)
        known = item.holds.get((role, key))
        if known is not None and right and generation == known.generation:
            if known.asked == asked:
                assert_replayed(answer, known.answer)
            else:
                assert_refused(answer, 422, "idempotency_key_reused")
            return
        guard = role, account, self.model.now // LIMITS["account"].window_s
        refusal = self.model.refusal(serial) if right else "voucher_not_redeemable"
        balance, single = self.model.balance(serial), self.model.campaign_of[serial].single
        wanted = balance if amount is None else amount
        if self.model.wrong[guard] >= WRONG_MAX:
            assert_refused(answer, 429, "too_many_attempts")
        elif right and (known is not None or (role, key) in item.captured):
            assert_refused(answer, 422, "idempotency_key_reused")
        elif refusal is not None:
            self.model.wrong[guard] += refusal == "voucher_not_redeemable"
            assert_refused(answer, {"v": 404, "a": 409}[refusal[0]] if refusal != "voucher_expired" else 410, refusal)
        elif wanted > balance:
            assert_refused(answer, 409, "amount_exceeds_balance")
        elif wanted < balance and single:
            assert_refused(answer, 409, "partial_not_allowed")
        elif wanted > self.model.available(serial):
            assert_refused(answer, 409, "amount_held")
        else:
            left = self.model.available(serial) - wanted
            self.model.items[serial] = item = self.model.live(serial) or self.model.anew(serial, "active", None)
            self.model.note("held", [serial])
            document = assert_done(answer)
            assert (document["serial"], document["amount_minor"]) == (serial, wanted)
            assert (document["status"], document["available_minor"]) == ("open", left)
            until = self.model.now + HELD_S
            item.holds = {name: h for name, h in item.holds.items() if self.model.now < h.until + DAY_S}
            item.holds[role, key] = Hold(role, wanted, until, generation, asked, document)

    def holds(self) -> list[tuple[str, tuple[str, str], Hold]]:
        return [(serial, name, h) for serial, item in self.model.items.items() for name, h in item.holds.items()]

    @precondition(lambda self: self.holds())
    @rule(
        at=pick,
        amount=st.sampled_from([None, None, 1, 200, 6_000]),
        role=st.sampled_from(["own", "own", "own", "merchant", "operator"]),
        key=keys,
        account=st.sampled_from(ACCOUNTS),
    )
    def capture(self, at: int, amount: int | None, role: str, key: str, account: str) -> None:
        made = self.holds()
        serial, name, hold = made[-1 - at % len(made)]
        role, key, item = hold.role if role == "own" else role, self.unless_fresh(key), self.model.items[serial]
        asked: Json = {"account": {"type": "mobile", "number": account}}
        if amount is not None:
            asked["amount_minor"] = amount
        target = f"/v1/holds/{hold.answer['id']}/captures"
        answer = self.post(target, asked, role, key)
        known = item.redemptions.get((role, target + key))
        status, single = self.model.status(serial), self.model.campaign_of[serial].single
        if known is not None:
            if known.asked == asked:
                assert_replayed(answer, known.answer)
            else:
                assert_refused(answer, 422, "idempotency_key_reused")
        elif role not in ("operator", hold.role):
            assert_refused(answer, 404, "not_found")
        elif (state := hold.state(self.model.now)) != "open":
            assert_refused(answer, 410 if state == "expired" else 409, f"hold_{state}")
        elif self.model.generation(serial) != hold.generation or status in ("void", "reclaimed"):
            assert_refused(answer, 404, "voucher_not_redeemable")
        elif amount is not None and amount > hold.amount:
            assert_refused(answer, 409, "amount_exceeds_hold")
        elif amount is not None and amount < hold.amount and single:
            assert_refused(answer, 409, "partial_not_allowed")
        else:
            taken = hold.amount if amount is None else amount
            item.balance -= taken
            item.status = "partly_redeemed" if item.balance else "redeemed"
            hold.ended = "captured"
            item.captured.add(name)
            self.model.note("redeemed", [serial])
            document = assert_done(answer)
            assert (document["amount_minor"], document["hold"]) == (taken, hold.answer["id"])
            assert (document["balance_minor"], document["voucher_status"]) == (item.balance, item.status)
            redemption = Redemption(role, key, taken, self.model.now, item.generation, asked, document, target=target)
            item.redemptions[role, target + key] = redemption

    @precondition(lambda self: self.holds())
    @rule(at=pick, role=st.sampled_from(["own", "own", "merchant", "operator"]), key=keys)
    def release(self, at: int, role: str, key: str) -> None:
        made = self.holds()
        serial, _, hold = made[-1 - at % len(made)]
        role, key = hold.role if role == "own" else role, self.unless_fresh(key)
        answer = self.post(f"/v1/holds/{hold.answer['id']}/releases", {}, role, key)
        if role not in ("operator", hold.role):
            assert_refused(answer, 404, "not_found")
        elif hold.release is not None and hold.release[:2] == (role, key):
            assert_replayed(answer, hold.release[2])
        elif (state := hold.state(self.model.now)) != "open":
            assert_refused(answer, 410 if state == "expired" else 409, f"hold_{state}")
        else:
            document = assert_done(answer)
            assert (document["hold"], document["amount_minor"]) == (hold.answer["id"], hold.amount)
            hold.ended, hold.release = "released", (role, key, document)
            self.model.note("released", [serial])

    def redemptions(self) -> list[tuple[str, Redemption]]:
        return [(serial, r) for serial, item in self.model.items.items() for r in item.redemptions.values()]

    @precondition(lambda self: self.redemptions())
    @rule(
        at=pick,
        role=st.sampled_from(["merchant", "partner", "operator"]),
        key=keys,
        reason=st.sampled_from(["wrong number", "customer left"]),
    )
    def reverse(self, at: int, role: str, key: str, reason: str) -> None:
        made = self.redemptions()
        serial, redemption = made[at % len(made)]
        item = self.model.items[serial]
        id, key = redemption.answer["id"], self.unless_fresh(key)
        answer = self.post(f"/v1/redemptions/{id}/reversals", {"reason": reason}, role, key)
        if role not in ("operator", redemption.role):
            assert_refused(answer, 404, "not_found")
        elif redemption.reversal is not None:
            before_role, before_key, before_reason, document = redemption.reversal
            if (before_role, before_key) != (role, key):
                assert_refused(answer, 409, "already_reversed")
            elif before_reason != reason:
                assert_refused(answer, 422, "idempotency_key_reused")
            else:
                assert_replayed(answer, document | {"voucher_status": self.model.status(serial)})
        elif self.model.now >= redemption.at + self.model.campaign_of[serial].reversal_days * DAY_S:
            assert_refused(answer, 409, "reversal_window_over")
        elif redemption.generation != item.generation or self.model.would_be_in_stock(serial, redemption):
            assert_refused(answer, 409, "reversal_not_possible")
        else:
            document = assert_done(answer)
            item.balance += redemption.amount
            redemption.reversal = role, key, reason, document
            if item.status != "void":
                item.status = "partly_redeemed" if item.in_use else "active"
            self.model.note("reversed", [serial])
            assert (document["amount_minor"], document["balance_minor"]) == (redemption.amount, item.balance)
            assert document["voucher_status"] == self.model.status(serial)

    @precondition(lambda self: self.redemptions())
    @rule(seconds=st.sampled_from([1, 900, DAY_S, 2 * DAY_S]))
    def wait(self, seconds: int) -> None:
        self.model.now += seconds

    # Questions

    @precondition(lambda self: self.model.segments)
    @rule(
        question=st.sampled_from(["verify", "redemption", "recovery", "list", "count"]),
        at=pick,
        role=st.sampled_from(["merchant", "partner", "operator"]),
        status=st.sampled_from(SHOWN),
    )
    def ask(self, question: str, at: int, role: str, status: str | None) -> None:
        """One rule for all, so that commands are more frequent than questions."""
        if question == "verify":
            self._verify(at, role)
        elif question == "list":
            self._list_batch(at, status)
        elif question == "count":
            self._count_batch(at)
        elif question == "redemption" and self.redemptions():
            self._look_at_redemption(at, role)
        elif question == "recovery" and self.model.ordered:
            ids = [id for _, id in self.model.ordered.values()]
            self._look_at_recovery(ids[at % len(ids)])

    def _verify(self, at: int, role: str) -> None:
        serial = self.serial(at)
        answer = self.post("/v1/verifications", {"code": self.code(serial)}, role)
        refusal = self.model.refusal(serial)
        if refusal is None or role == "operator":
            document = assert_done(answer, 200)
            assert (document["serial"], document["status"]) == (serial, self.model.status(serial))
            assert document["balance_minor"] == self.model.balance(serial)
            assert document["available_minor"] == self.model.available(serial)
            assert document["redeemable"] == (refusal is None)
        else:
            assert_refused(answer, {"voucher_not_redeemable": 404, "voucher_expired": 410}.get(refusal, 409), refusal)

    def _look_at_redemption(self, at: int, role: str) -> None:
        made = self.redemptions()
        _, redemption = made[at % len(made)]
        answer = self.get(f"/v1/redemptions/{redemption.answer['id']}", role)
        if role in ("operator", redemption.role):
            status = "completed" if redemption.reversal is None else "reversed"
            assert assert_done(answer, 200) == redemption.answer | {"status": status}
        else:
            assert_refused(answer, 404, "not_found")

    def _list_batch(self, at: int, status: str | None) -> None:
        id, serials = list(self.model.batches.items())[at % len(self.model.batches)]
        lines = [{"serial": serial, "status": self.model.status(serial)} for serial in serials]
        assert self.listed(id, status) == [line for line in lines if status in (None, line["status"])]

    def listed(self, batch: str, status: str | None) -> list[Json]:
        """All pages, of three lines each."""
        lines: list[Json] = []
        query = {"limit": "3"} | ({"status": status} if status else {})
        while True:
            document = assert_done(self.get(f"/v1/batches/{batch}/vouchers?{urlencode(query)}"), 200)
            lines += document["data"]
            if "next_cursor" not in document:
                return lines
            query["cursor"] = document["next_cursor"]

    def _count_batch(self, at: int) -> None:
        id, serials = list(self.model.batches.items())[at % len(self.model.batches)]
        self.settle()  # counts follow from the stream
        document = assert_done(self.get(f"/v1/batches/{id}"), 200)
        assert document["counts"] == dict(Counter(self.model.status(serial) for serial in serials))

    def teardown(self) -> None:
        """In the end all is as the model has it, and no value was made or lost."""
        self.settle()  # what the stream still holds would be counted in the next example
        for serial, campaign in self.model.campaign_of.items():
            document = assert_done(self.get(f"/v1/vouchers/{serial}"), 200)
            assert (document["status"], document["balance_minor"], document["generation"]) == (
                self.model.status(serial),
                self.model.balance(serial),
                self.model.generation(serial),
            )
            item = self.model.items.get(serial, Item("", 0))
            assert document["holds"] == [hold.answer["id"] for hold in self.model.open_holds(serial)]
            assert document["redemptions"] == [r.answer["id"] for r in item.redemptions.values()]
            uses = [r for r in item.redemptions.values() if r.generation == document["generation"]]
            taken = sum(r.amount for r in uses if r.reversal is None)
            assert document["balance_minor"] + taken == campaign.amount
        busiest = sorted(self.model.told, key=lambda serial: len(self.model.told[serial]))[-HISTORIES_MAX:]
        for serial in busiest:
            data = assert_done(self.get(f"/v1/vouchers/{serial}/history?limit=100"), 200)["data"]
            kinds, expected = [line["event"] for line in data], self.model.told[serial]
            assert Counter(kinds) == Counter(expected)
            for lane in (OF_LOT, OF_VOUCHER):
                assert [kind for kind in kinds if kind in lane] == [kind for kind in expected if kind in lane]
        messages = sum(len(self.world.cloud.carriers.phone(account)) for account in ACCOUNTS)
        heard = Counter(kind for told in self.model.told.values() for kind in told)
        assert messages == heard["redeemed"] + heard["reversed"] + heard["recovered"]


def assert_done(answer: Answer, status: int = 201) -> Json:
    assert (answer.status, answer.header("idempotency-replayed")) == (status, None), answer.body
    document: Json = answer.json()
    return document


def assert_replayed(answer: Answer, document: Json) -> None:
    assert (answer.status, answer.header("idempotency-replayed")) == (201, "true"), answer.body
    assert answer.json() == document


def assert_refused(answer: Answer, status: int, key: str) -> None:
    assert (answer.status, answer.json()["key"]) == (status, key), answer.body


def test_any_commands_in_any_order_answer_as_the_model_says(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "SEGMENTS_PER_LOT_MAX", SEGMENTS_MAX)
    monkeypatch.setitem(LIMITS, "account", Limit(WRONG_MAX, 900))
    machine: Any = partial(Machine, world, monkeypatch)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10,
            stateful_step_count=60,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
