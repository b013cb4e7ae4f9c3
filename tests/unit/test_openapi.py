"""The API's description: current, valid, complete, and true to itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import jsonschema_rs
import pytest
import schemathesis
from pydantic import BaseModel

from functions.domain.errors import PROBLEMS
from functions.edge.models import Answer, Request
from functions.edge.routes import ROUTES, Scope
from infra import openapi

DOCUMENT = openapi.document()
OPERATIONS = {
    f"{method.upper()} {path}": described
    for path, methods in DOCUMENT["paths"].items()
    for method, described in methods.items()
}
UNANSWERED = {"method_not_allowed"}
"""Keys of no route: the gateway's `$default` answers them."""


def values(thing: Any) -> Iterator[Any]:
    """Everything in a JSON value, itself included."""
    yield thing
    children = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list) else ()
    for child in children:
        yield from values(child)


def answered(described: dict[str, Any]) -> Iterator[str]:
    """The keys of the problems that an operation may answer."""
    for status, response in described["responses"].items():
        if status >= "400":
            shared = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
            problem = shared["content"].get("application/problem+json")
            yield from problem["schema"]["allOf"][1]["properties"]["key"]["enum"] if problem else ()


def test_what_is_committed_is_what_would_be_made() -> None:
    openapi.main("--check")


def test_a_stale_or_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(openapi, "CONSOLE", tmp_path)
    openapi.main()
    openapi.main("--check")
    (tmp_path / "docs.html").write_text("old")
    (tmp_path / "home.html").unlink()
    with pytest.raises(SystemExit, match=r"docs\.html is stale.*\n.*home\.html is stale"):
        openapi.main("--check")


def test_it_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    document = deepcopy(DOCUMENT)
    flow = document["components"]["securitySchemes"]["client_credentials"]["flows"]["clientCredentials"]
    # Relative, as the text of the specification allows it; its schema does not.
    flow["tokenUrl"] = "https://kami.invalid" + flow["tokenUrl"]
    schemathesis.openapi.from_dict(document).validate()


def test_every_route_is_there_with_its_scope() -> None:
    assert list(OPERATIONS) == sorted(OPERATIONS, key=list(OPERATIONS).index)
    assert set(OPERATIONS) == {route.key for route in ROUTES}
    for route in ROUTES:
        scopes = {scope for way in OPERATIONS[route.key]["security"] for granted in way.values() for scope in granted}
        assert scopes == ({route.scope} if route.scope else set())
    flows = DOCUMENT["components"]["securitySchemes"]["client_credentials"]["flows"]
    assert set(flows["clientCredentials"]["scopes"]) == {route.scope for route in ROUTES if route.scope}
    assert set(openapi.SCOPES) <= set(Scope)


def test_every_problem_is_answered_by_some_route() -> None:
    found = {key for described in OPERATIONS.values() for key in answered(described)}
    assert found == set(PROBLEMS) - UNANSWERED


def test_a_response_tells_only_keys_of_its_status() -> None:
    for name, response in DOCUMENT["components"]["responses"].items():
        status = int(name[:3])
        problem = response["content"].get("application/problem+json")
        for key in problem["schema"]["allOf"][1]["properties"]["key"]["enum"] if problem else ():
            assert PROBLEMS[key].status == status


def test_nothing_shared_is_unused() -> None:
    used = {value["$ref"] for value in values(DOCUMENT) if isinstance(value, dict) and "$ref" in value}
    shared = {f"#/components/{kind}/{name}" for kind in ("schemas", "responses", "headers")
              for name in DOCUMENT["components"][kind]}  # fmt: skip
    assert used == shared


def test_examples_are_valid() -> None:
    found = [v for v in values(DOCUMENT["paths"]) if isinstance(v, dict) and {"schema", "example"} <= set(v)]
    assert len(found) > len(ROUTES)
    for content in found:
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        jsonschema_rs.validate(schema, content["example"], validate_formats=True)


def test_what_is_absent_in_an_answer_is_not_null() -> None:
    class Thing(Answer):
        always: int
        given: Literal["x"] = "x"
        sometimes: str | None = None

    schema = openapi._generated("serialization", [Thing])["Thing"]
    assert schema["required"] == ["always", "given"]
    assert schema["properties"]["sometimes"] == {"type": "string"}


def test_two_models_of_one_name_are_refused() -> None:
    def twin(base: type[BaseModel], kind: type) -> type[BaseModel]:
        return type("Twin", (base,), {"__annotations__": {"member": kind}, "__module__": kind.__name__})

    route = ROUTES[0]
    for every in (
        [openapi.Operation(route, answer=twin(Answer, int)), openapi.Operation(route, answer=twin(Answer, str))],
        [openapi.Operation(route, request=twin(Request, int), answer=twin(Answer, str))],
    ):
        with pytest.raises(ValueError, match="two models of one name"):
            openapi._schemas(every)


def test_the_page_describes_every_route_and_problem_under_its_own_anchor() -> None:
    page = openapi.files()["docs.html"]
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(PROBLEMS) | {route.operation for route in ROUTES} <= set(ids)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    for problem in PROBLEMS.values():
        assert problem.zh in page


def test_the_pages_need_nothing_from_elsewhere() -> None:
    files = openapi.files()
    for page in (files["docs.html"], files["home.html"]):
        assert not re.search(r"<script|<iframe|<img|url\(|@import|\bstyle=|\son\w+=|(src|href)=\"(https?:)?//", page)
