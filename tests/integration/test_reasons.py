"""Each row of the table of reasons, brought about through the front door, and what is told of it there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from functions.domain import recipient as rules
from functions.domain.kinds import KINDS
from functions.domain.message import message_id
from functions.domain.reasons import REASONS
from functions.domain.recipient import Limit
from functions.domain.templates import TEMPLATES
from infra.local.carriers import NAMES
from tests.integration import test_notify
from tests.integration.kami import Json, erased, granted, mobile
from tests.integration.test_notify import REDEEMED, REVERSED, Notify, offer, route, told
from tests.integration.test_recipients import around, expiring, looked_up, on_the_bus, put, reply, resumed, used

notify = test_notify.notify
Way = Callable[[Notify, pytest.MonkeyPatch], str]
"""Has a message end, or wait, for a reason; gives its id."""
ATTEMPTS = 3


def sent(notify: Notify, number: str | None = None) -> str:
    """The message of a redemption, with all that follows from it."""
    _, _, event = notify.redeem(account=number or mobile())
    assert notify.deliver(event) == []
    for _ in range(2 * ATTEMPTS):
        notify.settle()
        if not notify.carriers.deliver():
            break
    return message_id(event["id"])


def fault(name: str, error: str, notify: Notify, monkeypatch: pytest.MonkeyPatch) -> str:
    """Something is wrong with all carriers: with `refuse` an error that they answer."""
    monkeypatch.setattr("functions.domain.message.ATTEMPTS_MAX", ATTEMPTS)
    for carrier in NAMES:
        notify.carriers.set(carrier, name, error=error)
    return sent(notify)


def undelivered(code: str, notify: Notify, monkeypatch: pytest.MonkeyPatch) -> str:
    """The receipts of all carriers say so."""
    monkeypatch.setattr("functions.domain.message.ATTEMPTS_MAX", ATTEMPTS)
    for carrier in NAMES:
        notify.carriers.set(carrier, "none", receipts="prompt", receipt_code=code)
    return sent(notify)


def number(given: str, notify: Notify, _: pytest.MonkeyPatch) -> str:
    return sent(notify, given)


def no_route(notify: Notify, _: pytest.MonkeyPatch) -> str:
    route(notify, {"offers": [offer("south")], "when": {"kinds": [REVERSED]}})
    return sent(notify)


def in_doubt(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> str:
    """The reply is lost, and afterwards nobody can be asked."""
    monkeypatch.setattr("functions.domain.message.ATTEMPTS_MAX", ATTEMPTS)
    _, _, event = notify.redeem()
    notify.faults(north="lose_reply")
    assert notify.deliver(event) == []
    notify.faults(north="down")
    notify.settle()
    return message_id(event["id"])


def no_receipt(notify: Notify, _: pytest.MonkeyPatch) -> str:
    id = sent(notify)
    notify.clock.advance(int(notify.cloud.stack.functions["notify"].environment["SMS_RECEIPT_WITHIN_S"]))
    assert notify.cloud.fire("kami-dev-receipts")
    notify.settle()
    return id


def account(event: str, notify: Notify, _: pytest.MonkeyPatch) -> str:
    """What another system tells of whom it is for."""
    whose = mobile()
    on_the_bus(notify, event, looked_up(notify, whose)["account"], notify.clock.now)
    notify.settle()
    return sent(notify, whose)


def quiet_hours(notify: Notify, _: pytest.MonkeyPatch) -> str:
    whose = mobile()
    put(notify, whose, **around(notify.clock.now, 1, 2))
    event = resumed(notify, used(notify, whose))
    assert notify.deliver(event) == []
    return message_id(event["id"])


def opted_out(notify: Notify, _: pytest.MonkeyPatch) -> str:
    whose = mobile()
    assert reply(notify, whose, "退订", notify.clock.now).status == 204
    notify.settle()
    return sent(notify, whose)


def merged(notify: Notify, _: pytest.MonkeyPatch) -> str:
    whose = mobile()
    one, other = (expiring(notify, whose, days) for days in (5, 3))
    for event in (one, other):
        assert notify.deliver(event) == []
    notify.settle()
    return message_id(other["id"])


def over_limit(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(rules.LIMITS, "receipts", Limit(1, 3_600))
    whose = mobile()
    sent(notify, whose)
    return sent(notify, whose)


def policy_changed(notify: Notify, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its template is withdrawn before it went out."""
    whose = mobile()
    put(notify, whose, frozen=True)
    id = sent(notify, whose)
    put(notify, whose, frozen=False)
    monkeypatch.delitem(TEMPLATES, (REDEEMED, "zh-CN"))
    return later(notify, id)


def expired(notify: Notify, _: pytest.MonkeyPatch) -> str:
    whose = mobile()
    put(notify, whose, frozen=True)
    return later(notify, sent(notify, whose), KINDS[REDEEMED].use_by_s or 0)


def later(notify: Notify, id: str, seconds: int = rules.RECHECK_S) -> str:
    """What is held is looked at again."""
    notify.clock.advance(seconds)
    assert notify.deliver({"message": id, "attempt": 1}) == []
    return id


def erasure(notify: Notify, _: pytest.MonkeyPatch) -> str:
    """Whom it is for is erased while it is held."""
    whose = mobile()
    put(notify, whose, frozen=True)
    id = sent(notify, whose)
    erased(notify.kami, number=whose)
    return later(notify, id)


def sandbox(notify: Notify, _: pytest.MonkeyPatch) -> str:
    till, card = notify.kami.client("merchant", sandbox=True), notify.kami.voucher(sandbox=True)
    redemption = granted(till.redeem(card.code), 201)["id"]
    event = told(REDEEMED, card.serial, redemption)
    assert notify.deliver(event) == []
    return message_id(event["id"])


WAYS: dict[str, tuple[str, int, int, Way]] = {
    # first, as an erasure waits for all that happened before to be followed up
    "erased": ("failed", 0, 0, erasure),
    "technical_fault": ("failed", ATTEMPTS, 0, partial(fault, "refuse", "technical_fault")),
    "provider_down": ("failed", ATTEMPTS, 0, partial(fault, "down", "")),
    "carrier_congested": ("failed", ATTEMPTS, 0, partial(fault, "refuse", "carrier_congested")),
    "number_invalid": ("failed", 0, 0, partial(number, "+15550001111")),
    "landline": ("failed", 0, 0, partial(number, "+4930123456")),
    "not_reachable": ("undelivered", ATTEMPTS, 0, partial(undelivered, "not_reachable")),
    "phone_full": ("undelivered", ATTEMPTS, 0, partial(undelivered, "phone_full")),
    "blocked": ("failed", 1, 0, partial(fault, "refuse", "blocked")),
    "spam_filtered": ("undelivered", 1, 0, partial(undelivered, "spam_filtered")),
    "content_refused": ("failed", 1, 0, partial(fault, "refuse", "content_refused")),
    "account_refused": ("failed", ATTEMPTS, 0, partial(fault, "refuse", "account_refused")),
    "destination_not_served": ("failed", 0, 0, no_route),
    "refused": ("failed", 1, 0, partial(fault, "refuse", "E4711")),
    "no_reply": ("unknown", ATTEMPTS, 1, in_doubt),
    "no_receipt": ("unknown", 1, 1, no_receipt),
    "account_frozen": ("held", 0, 0, partial(account, "account.frozen")),
    "security_hold": ("held", 0, 0, partial(account, "account.held")),
    "quiet_hours": ("held", 0, 0, quiet_hours),
    "opted_out": ("suppressed", 0, 0, opted_out),
    "merged": ("suppressed", 0, 1, merged),
    "over_limit": ("held", 0, 1, over_limit),
    "policy_changed": ("suppressed", 0, 0, policy_changed),
    "expired": ("failed", 0, 0, expired),
    "sandbox": ("suppressed", 0, 0, sandbox),
}
"""Reason → the status that a message has for it, how often a provider was asked, and how many SMS came."""


def test_every_reason_has_its_way() -> None:
    assert set(WAYS) == set(REASONS)


@pytest.mark.parametrize("reason", WAYS)
def test_a_message_says_why(notify: Notify, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    status, attempts, came, way = WAYS[reason]
    id = way(notify, monkeypatch)
    message: Json = granted(notify.kami.operator.get(f"/v1/messages/{id}"))
    assert (message["status"], message["reason"], len(message["attempts"])) == (status, reason, attempts)
    words = REASONS[reason].told
    said = [message[name] for name in ("for_customer", "for_support", "next_step")]
    assert said == [each._asdict() for each in words]
    last = message["story"][-1]
    assert any(line["what"]["zh"].startswith(words.support.zh.removesuffix("。")) for line in message["story"])
    assert message["status"] == "held" or last["next_step"] == words.next_step._asdict()
    assert sum(notify.carriers.received.values()) == came
