"""The documentation of the rules is what the tables say."""

from __future__ import annotations

from pathlib import Path

from functions.domain.rules import REASONS, markdown
from functions.domain.voucher import REFUSALS

README = Path(__file__).parents[2] / "functions" / "README.md"


def test_the_readme_holds_the_rules_as_the_tables_say_them() -> None:
    block = README.read_text(encoding="utf-8").split("<!-- rules -->\n")[1].split("\n<!-- /rules -->")[0]
    assert block == markdown(), "write the output of `python -m functions.domain.rules` between the markers"


def test_every_reason_is_explained() -> None:
    assert set(REASONS) == set(REFUSALS)
