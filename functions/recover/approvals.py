"""A second person's word on a recovery: one conditional write decides, and what is approved begins at once."""

from __future__ import annotations

from dataclasses import replace

from functions.domain.actor import By
from functions.domain.authority import Decision, decided, has_grown
from functions.domain.authority import approval as to_approve
from functions.domain.errors import Refusal
from functions.domain.ids import fingerprint
from functions.domain.recovery import STEPS, Phase, Recovery
from functions.recover import judging, service
from functions.store import table
from functions.store.records import RECOVERY


def decide(id: str, recovery_id: str, digest: str, approved: bool, by: By, now: int, until: float) -> Recovery:
    """The recovery with the decision, begun where it is approved and small; a refusal says which one it is about.

    What has grown since the approver saw it is asked for anew. Raises Refusal `not_found`, and as
    `domain.authority.decided`.
    """
    recovery = service.find(recovery_id)
    asked = fingerprint({"digest": digest, "approved": approved})
    wanted = Decision(id, approved, by, now, asked)
    try:
        if _decided(recovery, wanted, digest) is None:
            return recovery
        if approved:
            _refuse_growth(recovery)
        recovery = table.change(RECOVERY, recovery, lambda current: _decided(current, wanted, digest), "decide", by)
    except Refusal as refusal:
        refusal.about["recovery"] = recovery.id
        raise
    return service.start(recovery, now, until) if approved else recovery


def _decided(current: Recovery | None, wanted: Decision, digest: str) -> Recovery | None:
    assert current is not None
    if current.approval is None:
        raise Refusal("already_decided", "It needs no approval.")
    approval = decided(current.approval, current.by, wanted, digest)
    if approval is None:
        return None
    return replace(current, approval=approval, phase=STEPS[current.action][0] if wanted.approved else Phase.REJECTED)


def _refuse_growth(recovery: Recovery) -> None:
    """Raise Refusal `request_changed` where more would be recovered by now, having it asked for as it is now."""
    before = recovery.approval
    assert before is not None
    fresh = to_approve(recovery.fingerprint, judging.shares(recovery), before.expires_at)
    if not has_grown(before, fresh):
        return

    def asked_anew(current: Recovery | None) -> Recovery | None:
        assert current is not None
        return replace(current, approval=fresh) if current.approval == before else None

    table.change(RECOVERY, recovery, asked_anew, "ask_again", recovery.by)
    raise Refusal("request_changed", "More would be recovered by now than you have seen.")
