"""Both SMS carriers fail in every way while redemptions come over HTTP: one SMS each, and all messages tell the truth.

`make benchmark` does the same with 10,000.
"""

from __future__ import annotations

from pathlib import Path

from infra.local.carriers import RETRY_BASE_S
from tests.benchmark.unreliable import told_of_all
from tests.running import up

REDEMPTIONS = 120


def test_every_redemption_gets_one_sms_and_the_truth_while_both_carriers_fail(tmp_path: Path) -> None:
    with up(tmp_path) as kami:
        assert f"retries begin at {RETRY_BASE_S} s" in kami.log.read_text()
        account = told_of_all(kami, REDEMPTIONS, untouched=100)
    assert len(account.attempts) == REDEMPTIONS
    assert account.reasons.keys() >= {
        "provider_down", "no_reply", "account_refused", "technical_fault", "number_invalid", "blocked"
    }  # all that was to go wrong did  # fmt: skip
    wrong = account.lost, account.doubled, account.untrue, account.set_aside, account.miscounted
    assert wrong == (0, 0, 0, 0, 0), account
