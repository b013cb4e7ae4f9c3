"""The table of reasons: whole, in both languages, and in words that those who read them may see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from functions.domain.message import OVER, Status
from functions.domain.reasons import REASONS, STANDING, Remedy, Told, markdown, told

ASKED_FOR = (
    "technical_fault", "provider_down", "carrier_congested", "number_invalid", "landline", "not_reachable",
    "phone_full", "blocked", "spam_filtered", "account_frozen", "security_hold", "quiet_hours", "opted_out", "merged",
    "over_limit", "policy_changed", "content_refused", "no_receipt",
)  # fmt: skip
README = Path(__file__).parents[2] / "functions" / "README.md"
ROWS: dict[str, Told] = {**{key: row.told for key, row in REASONS.items()}, **STANDING}


def test_every_reason_asked_for_has_a_row() -> None:
    assert set(ASKED_FOR) <= set(REASONS)


@pytest.mark.parametrize("key", ROWS)
def test_every_sentence_is_there_in_both_languages(key: str) -> None:
    for words in ROWS[key]:
        assert re.search("[\u4e00-\u9fff]", words.zh) and words.zh.endswith("。")
        assert re.fullmatch("[ -~]+", words.en) and words.en.endswith(".")
        assert not re.search("  |TODO|[{}]", words.zh + words.en)


def test_no_two_reasons_are_told_in_the_same_words() -> None:
    for audience in ("customer", "support"):
        said = [getattr(row, audience) for row in ROWS.values()]
        assert len(set(said)) == len(said)


def test_a_customer_reads_nothing_of_our_own_affairs() -> None:
    for row in ROWS.values():
        assert not re.search("provider|服务商", row.customer.en + row.customer.zh.replace("短信服务商", ""))


def test_what_waits_is_held_or_tried_again_and_what_stops_is_not() -> None:
    for row in REASONS.values():
        if row.ends == "held":
            assert row.remedy is Remedy.WAIT
        if row.ends == "suppressed":
            assert row.remedy is Remedy.STOP
        assert Status(row.ends) in {*OVER, Status.HELD}


def test_every_status_has_something_to_be_said() -> None:
    needs_reason = {Status.FAILED, Status.UNDELIVERED, Status.UNKNOWN, Status.SUPPRESSED}
    assert set(STANDING) == set(Status) - needs_reason
    assert told("sent", None) is STANDING["sent"]
    assert told("failed", "blocked") is REASONS["blocked"].told


def test_what_is_tried_again_by_itself_is_not_said_to_have_failed() -> None:
    for key, row in REASONS.items():
        said = told("queued", key)
        assert said.next_step is STANDING["queued"].next_step
        assert said.customer is (row.told if row.remedy is Remedy.WAIT else STANDING["queued"]).customer


def test_what_was_given_up_is_not_said_to_come_later() -> None:
    for key, row in REASONS.items():
        if row.ends == "held":
            assert told("held", key) is row.told
            assert told("failed", key) is told("undelivered", key) is REASONS["expired"].told


def test_the_readme_holds_the_reasons_as_the_table_says_them() -> None:
    block = README.read_text(encoding="utf-8").split("<!-- reasons -->\n")[1].split("\n<!-- /reasons -->")[0]
    assert block == markdown(), "write the output of `python -m functions.domain.reasons` between the markers"
