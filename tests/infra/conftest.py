"""Both environments, synthesized once for all tests here (they run in one worker, see `pytestmark`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from infra.app import synthesize

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Template:
    """A synthesized template, and the few questions that tests ask it."""

    env: str
    text: str

    def of_type(self, kind: str) -> dict[str, Resource]:
        """The properties of all resources of a type, by logical id."""
        return {id: resource.get("Properties", {}) for id, resource in self.whole(kind)}

    def whole(self, kind: str) -> Iterator[tuple[str, Resource]]:
        """The resources of a type as they stand in the template."""
        resources = json.loads(self.text)["Resources"].items()
        found = [(id, resource) for id, resource in resources if resource["Type"] == kind]
        assert found, f"no {kind}: this test would prove nothing"
        return iter(found)

    def functions(self) -> dict[str, Resource]:
        """The functions by the name of their folder."""
        return {p["Handler"].split(".")[1]: p for p in self.of_type("AWS::Lambda::Function").values()}

    def statements(self, function: str) -> list[Resource]:
        """What a function's role allows; `Action` and `Resource` always as lists."""
        role = self.functions()[function]["Role"]["Fn::GetAtt"][0]
        policies = self.of_type("AWS::IAM::Policy").values()
        return [
            {**statement, "Action": listed(statement["Action"]), "Resource": listed(statement["Resource"])}
            for policy in policies
            if {"Ref": role} in policy["Roles"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]


def listed(value: Any) -> list[Any]:
    """CloudFormation writes a list of one as the one."""
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="session", params=["dev", "prod"])
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Template:
    env: str = request.param
    return Template(env, synthesize(env, False, tmp_path_factory.mktemp(env)).read_text())
