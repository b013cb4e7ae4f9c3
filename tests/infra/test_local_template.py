"""The template: references, conditions, and what is refused."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from infra.local import template as module
from infra.local.template import ROOT, Template, TemplateError, sources_hash

DOCUMENT: dict[str, Any] = {
    "Parameters": {"Stage": {"Type": "String", "Default": "dev"}, "Bare": {"Type": "String"}},
    "Conditions": {
        "IsDev": {"Fn::Equals": [{"Ref": "Stage"}, "dev"]},
        "IsProd": {"Fn::Not": [{"Condition": "IsDev"}]},
        "Both": {"Fn::And": [{"Condition": "IsDev"}, {"Condition": "IsProd"}]},
        "Either": {"Fn::Or": [{"Condition": "IsDev"}, {"Condition": "IsProd"}]},
    },
    "Resources": {
        "Kept": {"Type": "A::B::C", "Condition": "IsDev"},
        "Dropped": {"Type": "A::B::C", "Condition": "IsProd"},
    },
}


def attribute(logical_id: str, name: str) -> str:
    return f"<{logical_id}.{name}>"


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ({"Ref": "Stage"}, "dev"),
        ({"Ref": "Kept"}, "<Kept.Ref>"),
        ({"Ref": "AWS::Region"}, "us-east-1"),
        ({"Fn::GetAtt": ["Kept", "Arn"]}, "<Kept.Arn>"),
        ({"Fn::GetAtt": "Kept.Arn"}, "<Kept.Arn>"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Stage"}]]}, "a-dev"),
        ({"Fn::Select": ["1", {"Fn::Split": ["/", "a/b/c"]}]}, "b"),
        ({"Fn::Sub": "${Stage}:${Kept}:${Kept.Arn}"}, "dev:<Kept.Ref>:<Kept.Arn>"),
        ({"Fn::Sub": "${!Stage}:${AWS::AccountId}"}, "${Stage}:123456789012"),
        ({"Fn::Sub": ["${x}/${Stage}", {"x": {"Ref": "Kept"}}]}, "<Kept.Ref>/dev"),
        ({"Fn::If": ["IsDev", 1, 2]}, 1),
        ({"Fn::If": ["Both", 1, 2]}, 2),
        ({"Fn::If": ["Either", 1, 2]}, 1),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
    ],
)  # fmt: skip
def test_references_are_resolved(value: Any, resolved: Any) -> None:
    assert Template(DOCUMENT).resolve(value, attribute) == resolved


@pytest.mark.parametrize(
    "value",
    [
        {"Fn::Cidr": []},
        {"Fn::ImportValue": "x"},
        {"Ref": "Nothing"},
        {"Ref": "Bare"},
        {"Ref": "Dropped"},
        {"Fn::If": ["Unknown", 1, 2]},
    ],
)
def test_what_is_not_known_is_refused(value: Any) -> None:
    with pytest.raises(TemplateError):
        Template(DOCUMENT).resolve(value, attribute)


def test_resources_of_a_false_condition_are_not_there() -> None:
    assert list(Template(DOCUMENT).resources) == ["Kept"]


def test_unknown_sections_and_attributes_are_refused() -> None:
    with pytest.raises(TemplateError, match="Transform"):
        Template({"Transform": "AWS::Serverless", "Resources": {}})
    with pytest.raises(TemplateError, match=r"Kept \(A::B::C\).*CreationPolicy"):
        Template({"Resources": {"Kept": {"Type": "A::B::C", "CreationPolicy": {}}}})


def test_what_the_app_takes_from_the_functions_is_among_the_sources() -> None:
    taken, seen, left = set[Path](), set[Path](), [ROOT / "infra" / "app.py"]
    while left:
        seen.add(path := left.pop())
        for line in ast.walk(ast.parse(path.read_text())):
            if isinstance(line, ast.ImportFrom) and line.module is not None:
                own = [line.module, *(f"{line.module}.{alias.name}" for alias in line.names)]
                found = {file for each in own if (file := ROOT / f"{each.replace('.', '/')}.py").exists()}
                taken |= {file for file in found if file.is_relative_to(ROOT / "functions")}
                left += [file for file in found - taken - seen if file.is_relative_to(ROOT / "infra")]
    assert len(taken) >= 8
    assert taken <= {path for pattern in module.SOURCES for path in ROOT.glob(pattern)}


def test_the_cache_follows_the_sources_and_not_the_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sources_hash("dev")
    assert before == sources_hash("dev") != sources_hash("prod")
    named = {path for pattern in module.SOURCES for path in ROOT.glob(pattern)}
    assert {ROOT / "infra/stack.py", ROOT / "functions/edge/routes.py", ROOT / "functions/store/keys.py"} <= named
    assert not any(path.name == "handler.py" for path in named)
    monkeypatch.setattr(module, "SOURCES", (*module.SOURCES, "README.md", "Makefile"))
    assert sources_hash("dev") != before
