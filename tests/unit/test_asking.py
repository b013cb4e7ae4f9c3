"""Who sees a message, what may be sent once more, and what a complaint is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from functions.domain.actor import By
from functions.domain.asking import RESEND_AFTER_S, RESENDS_MAX, UNDER_WAY, USELESS, Viewer, diagnosed, linked, resent
from functions.domain.complaint import OUTCOMES, Complaint, Outcome
from functions.domain.errors import Refusal
from functions.domain.message import Attempt, Message, Status, TemplateCall
from functions.domain.reasons import REASONS
from functions.domain.templates import text_of

NUMBER = "+8613812345678"
PARAMS = (("serial", "010000000003"), ("account", "+86138****5678"), ("amount", "5.00元"), ("balance", "0.00元"))
CALL = TemplateCall("voucher.redeemed", "zh-CN", 1, PARAMS)
TAKEN = Attempt("aws", "msg_1-1", 100, "t", outcome=Status.SENT, provider_id="1", sent_at=101)
SENT = Message(
    "msg_1", "voucher.redeemed", "010000000003", NUMBER, text_of(CALL), 90, Status.SENT, (TAKEN,), version=3,
    template=CALL, use_by=1_000, country="CN", carrier="China Mobile", region="Beijing", client="till-1",
    tenant="shop-1",
)  # fmt: skip
LATER = 101 + RESEND_AFTER_S


def by(role: str, client: str = "c", tenant: str = "t") -> By:
    return By(client, role, tenant, "192.0.2.1", "r")


def ended(reason: str) -> Message:
    """A message that has ended for a reason."""
    ends = REASONS[reason].ends
    status = Status(ends) if ends != "held" else Status.FAILED
    return replace(SENT, status=status, reason=reason, ruled_at=200)


@pytest.mark.parametrize(
    ("viewer", "sees"),
    [
        (Viewer(by("operator")), True),
        (Viewer(by("support")), True),
        (Viewer(by("support"), NUMBER), True),
        (Viewer(by("support"), "+8613812345679"), False),
        (Viewer(by("merchant")), False),
        (Viewer(by("merchant", client="till-1")), True),
        (Viewer(by("merchant", client="till-1"), "+8613812345679"), False),
        (Viewer(by("partner", tenant="shop-1")), True),
        (Viewer(by("customer", tenant="shop-1")), False),
        (Viewer(by("customer", tenant="shop-1"), NUMBER), True),
        (Viewer(by("customer", tenant="shop-1"), "+8613812345679"), False),
        (Viewer(by("customer", client="till-1"), NUMBER), False),
    ],
)
def test_a_message_is_seen_by_those_whose_business_it_is(viewer: Viewer, sees: bool) -> None:
    assert viewer.sees(SENT) is sees


def test_what_is_nobodys_is_seen_by_staff_alone() -> None:
    message = replace(SENT, client=None, tenant=None)
    assert Viewer(by("support")).sees(message)
    assert not any(Viewer(by(role), NUMBER).sees(message) for role in ("partner", "merchant", "customer"))


def test_a_resend_is_a_new_message_with_the_same_text_and_its_own_use_by() -> None:
    again = resent(SENT, "msg_2", LATER)
    assert (again.id, again.text, again.resend_of, again.version) == ("msg_2", SENT.text, "msg_1", 1)
    assert (again.status, again.attempts, again.created_at, again.due_at) == (Status.QUEUED, (), LATER, LATER)
    assert again.use_by == LATER + 86_400
    assert (again.client, again.tenant, again.redemption) == (SENT.client, SENT.tenant, SENT.redemption)
    assert (again.country, again.carrier, again.region) == ("CN", "China Mobile", "Beijing")
    assert linked(SENT, "msg_2").resends == ("msg_2",)
    assert linked(SENT, "msg_2").version == 4


@pytest.mark.parametrize("reason", sorted(USELESS))
def test_what_comes_to_the_same_again_is_refused_with_what_is_to_be_done(reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        resent(ended(reason), "msg_2", LATER)
    said = REASONS[reason].told.next_step
    assert refused.value.key == "resend_not_possible"
    assert refused.value.detail.endswith(said.en)
    assert refused.value.extra == {"reason": reason, "next_step": {"zh": said.zh, "en": said.en}}


@pytest.mark.parametrize("reason", sorted(set(REASONS) - USELESS))
def test_for_any_other_reason_it_is_sent_again(reason: str) -> None:
    assert resent(ended(reason), "msg_2", LATER).status is Status.QUEUED


@pytest.mark.parametrize("withdrawn", [CALL._replace(version=99), CALL._replace(name="gone")])
def test_a_text_that_was_withdrawn_since_is_not_sent_again_and_may_be_complained_of(withdrawn: TemplateCall) -> None:
    message = replace(SENT, template=withdrawn)
    with pytest.raises(Refusal, match="resend_not_possible") as refused:
        resent(message, "msg_2", LATER)
    assert refused.value.extra["reason"] == "policy_changed"
    assert not diagnosed(message, LATER).may_resend


@pytest.mark.parametrize("status", sorted(UNDER_WAY))
def test_what_is_under_way_is_not_sent_again(status: Status) -> None:
    reason = "quiet_hours" if status is Status.HELD else None
    with pytest.raises(Refusal, match="resend_not_possible"):
        resent(replace(SENT, status=status, reason=reason), "msg_2", LATER)


def test_what_was_taken_a_moment_ago_is_not_sent_again_yet() -> None:
    with pytest.raises(Refusal, match="a moment ago"):
        resent(SENT, "msg_2", LATER - 1)
    assert resent(replace(SENT, status=Status.DELIVERED), "msg_2", 102).resend_of == "msg_1"


def test_a_message_is_resent_so_many_times() -> None:
    message = SENT
    for n in range(RESENDS_MAX):
        resent(message, f"msg_{n}", LATER)
        message = linked(message, f"msg_{n}")
    with pytest.raises(Refusal, match="resend_limit_reached"):
        resent(message, "msg_9", LATER)


def test_what_a_reminder_tells_may_be_over() -> None:
    card = replace(
        SENT, template=TemplateCall("voucher.expiring", "en", 1, (("serial", "1"), ("ends", "2"), ("balance", "3")))
    )
    assert resent(card, "msg_2", 999).use_by == 1_000
    with pytest.raises(Refusal, match="over"):
        resent(card, "msg_2", 1_000)


def test_a_message_of_no_template_cannot_be_made_again() -> None:
    with pytest.raises(Refusal, match="resend_not_possible"):
        resent(replace(SENT, template=None), "msg_2", LATER)


def test_who_was_erased_gets_nothing_again() -> None:
    with pytest.raises(Refusal, match="erased"):
        resent(replace(SENT, recipient="acc_aaaaaaaaaaaaaaaaaaaaaaaa"), "msg_2", LATER)


def test_a_complaint_is_told_where_the_message_stands() -> None:
    known = diagnosed(SENT, LATER)
    assert known == ("sent", None, 1, "aws", "1", None, 101, True)
    assert diagnosed(SENT, 101).may_resend is False
    assert diagnosed(replace(SENT, attempts=(), status=Status.QUEUED), 100) == (
        "queued", None, 0, None, None, None, 90, False,
    )  # fmt: skip
    refused = diagnosed(ended("opted_out"), LATER)
    assert (refused.reason, refused.told_at, refused.may_resend) == ("opted_out", 200, False)


def test_a_complaint_is_closed_once() -> None:
    ticket = Complaint("cmp_1", "msg_1", "010000000003", 0, diagnosed(SENT, LATER))
    closed = ticket.closed(Outcome("out_1", "arrived", 5, "c"))
    assert closed is not None and closed.outcome is not None and closed.outcome.outcome == "arrived"
    assert closed.closed(Outcome("out_1", "arrived", 9, "c")) is None
    with pytest.raises(Refusal, match="idempotency_key_reused"):
        closed.closed(Outcome("out_1", "resent", 9, "c"))
    with pytest.raises(Refusal, match="complaint_closed"):
        closed.closed(Outcome("out_2", "arrived", 9, "c"))


def test_every_outcome_is_said_in_both_languages() -> None:
    assert all(any(char >= "\u4e00" for char in words.zh) and words.en.isascii() for words in OUTCOMES.values())
