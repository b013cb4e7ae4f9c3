"""The reclaim after a campaign's end: what may follow what, whoever asks late."""

from __future__ import annotations

from functions.domain.reclaim import NOTICE_MIN_S, NOTICE_S, scheduled

ENDS = 1_800_000_000


def test_what_is_stopped_is_neither_announced_nor_begun() -> None:
    """A job that was sent before the stop finds that out from the campaign's item."""
    fresh = scheduled(ENDS, 30)
    announced = fresh.announced(fresh.due_at - NOTICE_S)
    assert announced is not None
    for reclaim in (fresh, announced):
        stopped = reclaim.stopped(ENDS)
        assert stopped is not None
        assert (stopped.next_at, stopped.stopped(ENDS + 1)) == (None, None)
        assert stopped.announced(stopped.due_at) is None
        assert stopped.started(stopped.due_at + 2 * NOTICE_MIN_S) is None
