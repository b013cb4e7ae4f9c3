"""Range commands: the sum of what was done lot by lot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from functions.domain.actor import By
from functions.domain.command import Command
from functions.domain.lot import Done
from functions.domain.selection import Span

BY = By("client", "operator", "operator", "192.0.2.1", "request")
reasons = st.dictionaries(st.sampled_from(["recalled", "expired", "unknown"]), st.integers(1, 10_000))
dones = st.builds(Done, st.just("act_1"), st.integers(0, 10_000), reasons)


@given(st.lists(dones, min_size=1, max_size=12), st.integers(1, 12))
def test_a_command_adds_up_whatever_the_chunks(done: list[Done], chunk: int) -> None:
    command = Command("act_1", "activate", "f", (Span(0, 9),), len(done), BY, 1)
    for start in range(0, len(done), chunk):
        assert (command.status, command.completed_at) == ("in_progress", None)
        command = command.after(done[start : start + chunk], now=7)
    assert (command.status, command.completed_at, command.lots_done) == ("completed", 7, len(done))
    assert command.changed == sum(d.changed for d in done)
    assert sum(command.skipped.values()) == sum(sum(d.skipped.values()) for d in done)
    assert set(command.skipped) == {reason for d in done for reason in d.skipped}
