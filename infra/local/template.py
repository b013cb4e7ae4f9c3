"""The synthesized CloudFormation template: fetched once per change of its sources, and its references resolved.

Synthesis takes 6 to 18 s, so a template is kept under `.kami/templates/` by a hash of everything that can change it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
STATE: Final = ROOT / ".kami"
"""Everything the local cloud writes; ignored by git."""

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
PARTITION: Final = "aws"

SYNTHESIS_TIMEOUT_S: Final = 300
TEMPLATES_KEPT: Final = 8
SOURCES: Final = (
    "infra/*.py", "functions/edge/routes.py", "functions/edge/batch.py", "functions/store/keys.py",
    "functions/store/record.py", "functions/domain/events.py", "functions/domain/webhook.py",
    "functions/domain/recipient.py", "functions/domain/export.py", "functions/domain/imports.py",
    "functions/notify/providers/aws.py", "pyproject.toml", "cdk.json",
    "infra/locks/*.txt",
)  # fmt: skip
"""What can change the template. Handlers' code is not among it: it is only an asset, which runs from the work tree."""

SYNTHESIZE: Final = """
import sys
from pathlib import Path
from infra.app import synthesize
synthesize(sys.argv[1], bundle=False, outdir=Path(sys.argv[2]))
"""


class TemplateError(Exception):
    """The template holds something that the local cloud does not know: better refused here than ignored."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as the template has it, properties unresolved."""

    logical_id: str
    type: str
    properties: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)


class Template:
    """A parsed template whose conditions are evaluated; resources of a false condition are not there."""

    SECTIONS: Final = {
        "AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Mappings", "Conditions", "Rules",
        "Resources", "Outputs",
    }  # fmt: skip
    ATTRIBUTES: Final = {
        "Type", "Properties", "DependsOn", "Condition", "Metadata", "DeletionPolicy", "UpdateReplacePolicy",
    }  # fmt: skip

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        if unknown := set(document) - self.SECTIONS:
            raise TemplateError(f"template: unknown section {sorted(unknown)}")
        self.resources: dict[str, Resource] = {}
        for logical_id, body in document.get("Resources", {}).items():
            if unknown := set(body) - self.ATTRIBUTES:
                raise TemplateError(f"{logical_id} ({body['Type']}): unknown resource attribute {sorted(unknown)}")
            if "Condition" in body and not self.holds(body["Condition"]):
                continue
            self.resources[logical_id] = Resource(
                logical_id, body["Type"], body.get("Properties", {}), body.get("Metadata", {})
            )

    def of_type(self, kind: str) -> list[Resource]:
        """All resources of a type, in the template's order."""
        return [resource for resource in self.resources.values() if resource.type == kind]

    def parameter(self, name: str) -> Any:
        """The default of a parameter; the local cloud passes no other values."""
        parameter = self.document.get("Parameters", {}).get(name)
        if parameter is None or "Default" not in parameter:
            raise TemplateError(f"nothing in the template is called {name!r}, or it is a parameter without default")
        return parameter["Default"]

    def holds(self, name: str) -> bool:
        """Whether a named condition is true."""
        if name not in self.document.get("Conditions", {}):
            raise TemplateError(f"condition {name!r} is not in the template")
        return self._truth(self.document["Conditions"][name])

    def _truth(self, condition: dict[str, Any]) -> bool:
        (operator, operands), *_ = condition.items()
        match operator:
            case "Condition":
                return self.holds(operands)
            case "Fn::Equals":
                left, right = (self.resolve(operand) for operand in operands)
                return bool(left == right)
            case "Fn::Not":
                return not self._truth(operands[0])
            case "Fn::And":
                return all(self._truth(operand) for operand in operands)
            case "Fn::Or":
                return any(self._truth(operand) for operand in operands)
        raise TemplateError(f"condition function {operator} is not known")

    def resolve(self, value: Any, attribute: Callable[[str, str], Any] | None = None) -> Any:
        """`value` without references; `attribute(logical_id, name)` tells resources', `Ref` being a name too."""
        if isinstance(value, list):
            items = [self.resolve(item, attribute) for item in value]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, operand),) = value.items()
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(function, operand, attribute)
        pairs = {key: self.resolve(item, attribute) for key, item in value.items()}
        return {key: item for key, item in pairs.items() if item is not NO_VALUE}

    def _call(self, function: str, operand: Any, attribute: Callable[[str, str], Any] | None) -> Any:
        def inner(part: Any) -> Any:
            return self.resolve(part, attribute)

        match function:
            case "Ref":
                return self._reference(operand, "Ref", attribute)
            case "Fn::GetAtt":
                logical_id, name = operand.split(".", 1) if isinstance(operand, str) else operand
                return self._reference(logical_id, name, attribute)
            case "Fn::Join":
                return str(operand[0]).join(inner(operand[1]))
            case "Fn::Select":
                return inner(operand[1])[int(inner(operand[0]))]
            case "Fn::Split":
                return inner(operand[1]).split(operand[0])
            case "Fn::If":
                return inner(operand[1] if self.holds(operand[0]) else operand[2])
            case "Fn::Sub":
                text, names = operand if isinstance(operand, list) else (operand, {})
                return self._substitute(text, {key: inner(part) for key, part in names.items()}, attribute)
        raise TemplateError(f"intrinsic function {function} is not known")

    def _substitute(self, text: str, names: dict[str, Any], attribute: Callable[[str, str], Any] | None) -> str:
        def one(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in names:
                return str(names[name])
            target, _, part = name.partition(".")
            return str(self._reference(target, part or "Ref", attribute))

        return re.sub(r"\$\{([^}]+)\}", one, text)

    def _reference(self, target: str, name: str, attribute: Callable[[str, str], Any] | None) -> Any:
        if target in PSEUDO:
            return PSEUDO[target]
        if target in self.resources:
            if attribute is None:
                raise TemplateError(f"{target} is a resource and cannot be referred to here")
            return attribute(target, name)
        return self.parameter(target)


NO_VALUE: Final = object()
PSEUDO: Final[dict[str, Any]] = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": PARTITION,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "Kami",
    "AWS::StackId": f"arn:{PARTITION}:cloudformation:{REGION}:{ACCOUNT}:stack/Kami/local",
    "AWS::NoValue": NO_VALUE,
    "AWS::NotificationARNs": [],
}


def sources_hash(environment: str) -> str:
    """A name for everything that the template of `environment` is made from."""
    digest = hashlib.sha256(f"{environment} {sys.version_info[:2]} {SYNTHESIZE}".encode())
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(f"\n{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def synthesized(environment: str = "dev", say: Callable[[str], None] = lambda line: None) -> Template:
    """The CDK app's template, from the cache or synthesized in a process of its own (jsii needs Node).

    One process at a time synthesizes: parallel test workers wait for the first one's result.
    """
    folder = STATE / "templates"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{environment}-{sources_hash(environment)}.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            say("Synthesizing the CDK app (once per change of it)")
            _synthesize(environment, path)
    return Template(json.loads(path.read_text()))


def _synthesize(environment: str, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as outdir:
        command = [sys.executable, "-c", SYNTHESIZE, environment, outdir]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SYNTHESIS_TIMEOUT_S)
        if done.returncode:
            raise TemplateError(f"the CDK app does not synthesize:\n{done.stdout}{done.stderr}")
        templates = sorted(Path(outdir).rglob("*.template.json"))
        if len(templates) != 1:
            raise TemplateError(f"expected one stack, the CDK app made {[template.name for template in templates]}")
        templates[0].replace(path)
    stale = sorted(path.parent.glob("*.json"), key=lambda one: one.stat().st_mtime)[:-TEMPLATES_KEPT]
    for one in stale:
        with suppress(FileNotFoundError):
            one.unlink()
