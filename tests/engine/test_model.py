"""Random commands over HTTP against a dictionary: same answers, value conserved, counts equal.

The model knows vouchers one by one. That the real ones lie in segments of lots, that some get items of their own, and
that a lot full of segments writes items instead, shows in two of its rules only: why an activation skips a voucher.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from functions.domain.formats import CROCKFORD
from functions.domain.serials import LOT_SIZE, position_of
from functions.edge import clock
from functions.edge.clock import rfc3339
from functions.store import ranges
from functions.store.guards import LIMITS, Limit
from infra.local.gateway import Answer
from tests.engine.engines import on_moto
from tests.engine.world import DAY_S, NOW, World

pytestmark = on_moto

SEGMENTS_MAX = 2
"""Few, so that lots are full soon."""
TOKEN_S = 600
FORM = "application/x-www-form-urlencoded"
ACCOUNTS = ("+8613800000001", "+8613800000002")
WRONG_MAX = 2
"""Few wrong codes are allowed, so that guards are met."""
Json = dict[str, Any]
Segment = tuple[str, int | None]
"""Status and end of validity."""

pick = st.integers(0, 1_000)
keys = st.sampled_from(["fresh", "fresh", "fresh", "fresh", "key-1", "key-2"])
tills = st.sampled_from(["merchant", "partner"])


@dataclass
class Redemption:
    role: str
    key: str
    amount: int
    at: int
    asked: Json
    answer: Json
    reversal: tuple[str, str, str, Json] | None = None
    """Role, key, reason and answer."""


@dataclass
class Item:
    """A voucher that something happened to."""

    status: str
    balance: int
    until: int | None = None
    redemptions: dict[tuple[str, str], Redemption] = field(default_factory=dict)


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
    codes: dict[str, str] = field(default_factory=dict)
    answered: dict[tuple[str, str], tuple[Json, Json]] = field(default_factory=dict)
    """(route, key) → what was asked and answered."""
    wrong: Counter[tuple[str, str, int]] = field(default_factory=Counter)

    def status(self, serial: str) -> str:
        item, (segment_status, segment_until) = self.items.get(serial), self.segments[serial]
        if item is not None and item.status == "redeemed":
            return "redeemed"
        if segment_status != "active" and item is None:
            return "generated"
        until = item.until if item is not None and item.until is not None else segment_until
        if until is not None and self.now >= until:
            return "expired"
        return item.status if item is not None else "active"

    def balance(self, serial: str) -> int:
        return self.items[serial].balance if serial in self.items else self.campaign_of[serial].amount

    def refusal(self, serial: str) -> str | None:
        refusals = {"redeemed": "already_redeemed", "generated": "voucher_not_redeemable", "expired": "voucher_expired"}
        return refusals.get(self.status(serial))

    def lot(self, serial: str) -> list[str]:
        """The serials of its lot, in order."""
        number = place(serial) // LOT_SIZE
        return sorted(s for s in self.segments if place(s) // LOT_SIZE == number)

    def activate(self, serials: list[str]) -> tuple[int, Counter[str]]:
        """How many become active, and why the others do not."""
        skipped: Counter[str] = Counter()
        wanted: dict[str, Segment] = {}
        for serial in serials:
            status, until = self.segments[serial]
            days = self.campaign_of[serial].days
            if status == "active":
                skipped["already_active"] += 1
            elif until is not None and until <= self.now:
                skipped["expired"] += 1
            else:
                wanted[serial] = "active", until if days is None else self.now + days * DAY_S
        before, after = (
            runs([segments[s] for s in self.lot(serials[0])]) for segments in (self.segments, self.segments | wanted)
        )
        if after <= max(SEGMENTS_MAX, before):
            self.segments |= wanted
            return len(wanted), skipped
        for serial, (_, until) in wanted.items():  # the lot is full: one by one
            if serial in self.items:
                skipped[self.items[serial].status] += 1
            else:
                self.items[serial] = Item("active", self.campaign_of[serial].amount, until)
        return len(serials) - sum(skipped.values()), skipped


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
    @rule(at=pick)
    def repeat_an_order(self, at: int) -> None:
        (target, key), (body, document) = list(self.model.answered.items())[at % len(self.model.answered)]
        assert_replayed(self.post(target, body, key=key), document)

    @precondition(lambda self: self.redemptions())
    @rule(at=pick, code_in_lower_case=st.booleans())
    def repeat_a_redemption(self, at: int, code_in_lower_case: bool) -> None:
        """Whatever became of the voucher since, and of the redemption."""
        made = self.redemptions()
        serial, redemption = made[at % len(made)]
        code = self.model.codes[serial]
        body = {"code": code.lower() if code_in_lower_case else code, **redemption.asked}
        assert_replayed(self.post("/v1/redemptions", body, redemption.role, redemption.key), redemption.answer)

    # Commands

    @initialize(
        amount=st.sampled_from([500, 5_000]), days=st.sampled_from([None, 2]), how=st.sampled_from(["lot", "serials"])
    )
    def begin(self, amount: int, days: int | None, how: str) -> None:
        """A campaign of each kind with some active vouchers."""
        for number in (0, 1):
            self.create_campaign(amount, bool(number), days, "fresh")
            self.create_batch(number, 4, "fresh")
            self.activate(how, 4 * number, 4 * number + 3, "fresh")

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
        revealed = self.post("/v1/reveals", {"serials": serials, "reason": "model"}).json()["data"]
        self.model.batches[document["id"]] = serials
        for line in revealed:
            self.model.segments[line["serial"]] = "generated", campaign.until
            self.model.campaign_of[line["serial"]] = campaign
            self.model.codes[line["serial"]] = line["code"]
        return document

    @precondition(lambda self: self.model.segments)
    @rule(how=st.sampled_from(["serials", "range", "lot", "batch"]), one=pick, other=pick, key=keys)
    def activate(self, how: str, one: int, other: int, key: str) -> None:
        lot = self.model.lot(self.serial(one))
        first, last = sorted((one % len(lot), other % len(lot)))
        if how == "serials":
            serials = lot[first : last + 1 : 2]
            selection: Json = {"serials": serials[::-1]}
        elif how == "range":
            serials = lot[first : last + 1]
            selection = {"first_serial": lot[first], "last_serial": lot[last]}
        elif how == "lot":
            serials = lot
            selection = {"lot": place(lot[0]) // LOT_SIZE}
        else:
            batch = next(id for id, held in self.model.batches.items() if lot[first] in held)
            serials = self.model.batches[batch]
            selection = {"batch": batch}

        def effect(answer: Answer) -> Json:
            document = assert_done(answer)
            activated, skipped = self.model.activate(serials)
            assert (document["status"], document["activated"]) == ("completed", activated)
            assert document["skipped"] == {"count": sum(skipped.values()), "by_reason": dict(skipped)}
            return document

        self.order("/v1/activations", {"selection": selection}, key, effect)

    @precondition(lambda self: self.model.segments)
    @rule(
        at=pick,
        which=st.sampled_from(["usable", "usable", "usable", "touched", "any"]),
        amount=st.sampled_from([None, 1, 200, 200, 500, 6_000]),
        role=tills,
        key=keys,
        account=st.sampled_from(ACCOUNTS),
        right=st.sampled_from([True, True, True, False]),
    )
    def redeem(self, at: int, which: str, amount: int | None, role: str, key: str, account: str, right: bool) -> None:
        serial, key = self.serial(at, which), self.unless_fresh(key)
        code = self.model.codes[serial] if right else forged(self.model.codes[serial])
        asked: Json = {"account": {"type": "mobile", "number": account}}
        if amount is not None:
            asked["amount_minor"] = amount
        answer = self.post("/v1/redemptions", {"code": code, **asked}, role, key)
        item = self.model.items.get(serial)
        known = item.redemptions.get((role, key)) if item is not None and right else None
        if known is not None:
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
        elif refusal is not None:
            self.model.wrong[guard] += refusal == "voucher_not_redeemable"
            assert_refused(answer, {"v": 404, "a": 409}[refusal[0]] if refusal != "voucher_expired" else 410, refusal)
        elif amount is not None and amount > balance:
            assert_refused(answer, 409, "amount_exceeds_balance")
        elif amount is not None and amount < balance and single:
            assert_refused(answer, 409, "partial_not_allowed")
        else:
            taken = balance if amount is None else amount
            item = self.model.items.setdefault(serial, Item("active", balance))
            item.balance -= taken
            item.status = "partly_redeemed" if item.balance else "redeemed"
            document = assert_done(answer)
            assert (document["serial"], document["amount_minor"]) == (serial, taken)
            assert (document["balance_minor"], document["voucher_status"]) == (item.balance, item.status)
            item.redemptions[role, key] = Redemption(role, key, taken, self.model.now, asked, document)

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
        else:
            document = assert_done(answer)
            item.balance += redemption.amount
            redemption.reversal = role, key, reason, document
            unused = all(r.reversal is not None for r in item.redemptions.values())
            item.status = "active" if unused else "partly_redeemed"
            assert (document["amount_minor"], document["balance_minor"]) == (redemption.amount, item.balance)
            assert document["voucher_status"] == self.model.status(serial)

    @precondition(lambda self: self.redemptions())
    @rule(seconds=st.sampled_from([1, 900, DAY_S, 2 * DAY_S]))
    def wait(self, seconds: int) -> None:
        self.model.now += seconds

    # Questions

    @precondition(lambda self: self.model.segments)
    @rule(at=pick, role=st.sampled_from(["merchant", "operator"]))
    def verify(self, at: int, role: str) -> None:
        serial = self.serial(at)
        answer = self.post("/v1/verifications", {"code": self.model.codes[serial]}, role)
        refusal = self.model.refusal(serial)
        if refusal is None or role == "operator":
            document = assert_done(answer, 200)
            assert (document["serial"], document["status"]) == (serial, self.model.status(serial))
            assert document["balance_minor"] == self.model.balance(serial)
            assert document["redeemable"] == (refusal is None)
        else:
            assert_refused(answer, {"voucher_not_redeemable": 404, "voucher_expired": 410}.get(refusal, 409), refusal)

    @precondition(lambda self: self.redemptions())
    @rule(at=pick, role=st.sampled_from(["merchant", "partner", "operator"]))
    def look_at_redemption(self, at: int, role: str) -> None:
        made = self.redemptions()
        _, redemption = made[at % len(made)]
        answer = self.get(f"/v1/redemptions/{redemption.answer['id']}", role)
        if role in ("operator", redemption.role):
            status = "completed" if redemption.reversal is None else "reversed"
            assert assert_done(answer, 200) == redemption.answer | {"status": status}
        else:
            assert_refused(answer, 404, "not_found")

    @precondition(lambda self: self.model.batches)
    @rule(
        at=pick, status=st.sampled_from([None, "generated", "active", "partly_redeemed", "redeemed", "expired", "void"])
    )
    def list_batch(self, at: int, status: str | None) -> None:
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

    @precondition(lambda self: self.model.batches)
    @rule(at=pick)
    def count_batch(self, at: int) -> None:
        id, serials = list(self.model.batches.items())[at % len(self.model.batches)]
        self.world.cloud.drain()  # counts follow from the stream
        document = assert_done(self.get(f"/v1/batches/{id}"), 200)
        assert document["counts"] == dict(Counter(self.model.status(serial) for serial in serials))

    def teardown(self) -> None:
        """In the end all is as the model has it, and no value was made or lost."""
        self.world.cloud.drain()  # what the stream still holds would be counted in the next example
        for serial, campaign in self.model.campaign_of.items():
            document = assert_done(self.get(f"/v1/vouchers/{serial}"), 200)
            assert (document["status"], document["balance_minor"]) == (
                self.model.status(serial),
                self.model.balance(serial),
            )
            item = self.model.items.get(serial, Item("", 0))
            assert document["redemptions"] == [r.answer["id"] for r in item.redemptions.values()]
            taken = sum(r.amount for r in item.redemptions.values() if r.reversal is None)
            assert document["balance_minor"] + taken == campaign.amount


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
            max_examples=16,
            stateful_step_count=60,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
