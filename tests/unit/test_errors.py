"""The table of problems: every refusal has its row, and every row its use."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from functions.domain.errors import PROBLEMS, Refusal
from functions.domain.hold import ENDED
from functions.domain.voucher import REFUSALS
from functions.edge.problems import PROBLEM, problem
from functions.edge.routes import ROUTES

ROOT = Path(__file__).parents[2] / "functions"
MADE_BY_ARGUMENT = {"_oauth"}
"""Functions that hand their first argument on to Refusal."""


def keys_in_code() -> set[str]:
    """The keys that the functions' code refuses with, as it spells them."""
    found = {*REFUSALS.values(), *(key for key, _ in ENDED.values())}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
                continue
            first = node.args[0]
            if node.func.id in {"Refusal", *MADE_BY_ARGUMENT} and isinstance(first, ast.Constant):
                found.add(str(first.value))
    return found


def test_every_refusal_has_a_row_and_every_row_is_used() -> None:
    assert keys_in_code() == set(PROBLEMS)


def test_every_problem_that_a_route_names_has_a_row() -> None:
    assert {key for route in ROUTES for key in route.errors} <= set(PROBLEMS)


@pytest.mark.parametrize("key", PROBLEMS)
def test_a_row_has_a_stable_key_a_fitting_status_and_two_languages(key: str) -> None:
    row = PROBLEMS[key]
    assert re.fullmatch("[a-z]+(_[a-z]+)*", key)
    assert row.status in {400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422, 428, 429, 500, 503}
    assert row.en.isascii() and not row.en.endswith(".")
    assert re.search("[\u4e00-\u9fff]", row.zh)


@pytest.mark.parametrize("key", PROBLEMS)
@pytest.mark.parametrize(("language", "chinese"), [("", False), ("en", False), ("zh-CN,zh;q=0.9", True), (" ZH", True)])
def test_a_refusal_is_answered_as_a_problem_document(key: str, language: str, chinese: bool) -> None:
    response = problem(Refusal(key, "Said here.", retry_after_s=7), language)
    document = json.loads(response["body"])
    row = PROBLEMS[key]
    assert document == {
        "type": f"/docs#{key}",
        "title": row.zh if chinese else row.en,
        "status": row.status,
        "detail": "Said here.",
        "key": key,
    }
    assert response["statusCode"] == row.status
    assert response["headers"]["Content-Type"] == PROBLEM
    assert response["headers"]["Retry-After"] == "7"
    assert ("WWW-Authenticate" in response["headers"]) == (row.status == 401)


def test_what_else_a_refusal_says_stands_in_the_document() -> None:
    refusal = Refusal("invalid_request", errors=[{"field": "a", "detail": "b"}], extra={"balance_minor": 3})
    document = json.loads(problem(refusal)["body"])
    assert (document["errors"], document["balance_minor"]) == ([{"field": "a", "detail": "b"}], 3)


def test_an_alarm_is_for_the_log_only() -> None:
    assert "lot_breaker_open" not in problem(Refusal("voucher_not_redeemable", alarm="lot_breaker_open"))["body"]
