"""Both SMS providers fail by a plan while redemptions come over HTTP: each one's SMS arrives once, nothing is lost.

`make benchmark` does the same with 10,000.
"""

from __future__ import annotations

from pathlib import Path

from infra.local.carriers import RETRY_BASE_S
from tests.benchmark.unreliable import told_of_all
from tests.running import up

REDEMPTIONS = 100


def test_every_redemption_gets_one_sms_while_both_providers_fail(tmp_path: Path) -> None:
    with up(tmp_path) as kami:
        assert f"retries begin at {RETRY_BASE_S} s" in kami.log.read_text()
        account = told_of_all(kami, REDEMPTIONS, untouched=100)
    assert len(account.attempts) == REDEMPTIONS
    assert sum(account.attempts) > REDEMPTIONS  # the plan was in force
    wrong = account.lost, account.doubled, account.unsent, account.set_aside, account.miscounted
    assert wrong == (0, 0, 0, 0, 0), account
