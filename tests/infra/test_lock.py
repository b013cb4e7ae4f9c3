"""A lock that no longer fits what it was made from is found, without a network."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from infra import lock


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("pyproject.toml", "package.json", "package-lock.json"):
        shutil.copy(lock.ROOT / name, tmp_path)
    shutil.copytree(lock.LOCKS, tmp_path / "locks")
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    monkeypatch.setattr(lock, "LOCKS", tmp_path / "locks")
    return tmp_path


def test_the_committed_locks_are_current(copy: Path) -> None:
    assert lock.faults() == []


def test_a_new_dependency_makes_every_python_lock_stale(copy: Path) -> None:
    project = copy / "pyproject.toml"
    project.write_text(project.read_text().replace('"rich",', '"rich",\n    "humanize",'))

    assert len(lock.faults()) == len(lock.SOURCES)


def test_a_new_node_package_makes_its_lock_stale(copy: Path) -> None:
    package = json.loads((copy / "package.json").read_text())
    package["devDependencies"]["left-pad"] = "1.3.0"
    (copy / "package.json").write_text(json.dumps(package))

    assert "package-lock.json is stale (devDependencies): run `make lock`" in lock.faults()


@pytest.mark.parametrize("line", ["left-pad==1.0\n", "# from https://registry.example\n"])
def test_a_lock_without_hashes_or_with_an_address_is_refused(copy: Path, line: str) -> None:
    runtime = copy / "locks" / "runtime.txt"
    runtime.write_text(runtime.read_text() + line)

    assert len(lock.faults()) == 1


def test_the_layers_hold_what_the_functions_import() -> None:
    locks = lock.RUNTIME.read_text() + lock.NUMBERS.read_text()
    declared = set(re.findall(r"^([\w-]+)==", locks, re.MULTILINE))
    provided = {
        package
        for package, distributions in packages_distributions().items()
        if declared & {name.replace("_", "-").lower() for name in distributions}
    }
    imported = {
        name for path in (lock.ROOT / "functions").rglob("*.py") for name in _imports(ast.parse(path.read_text()))
    }

    assert "botocore" in imported
    assert imported - sys.stdlib_module_names - {"functions"} <= provided


def test_only_notify_imports_the_number_plans() -> None:
    folder = lock.ROOT / "functions"
    imports = {path: set(_imports(ast.parse(path.read_text()))) for path in folder.rglob("*.py")}
    importers = {str(path.relative_to(folder)) for path, names in imports.items() if "phonenumbers" in names}
    at_the_top = [node for node in ast.parse((folder / "notify/numbers.py").read_text()).body
                  if isinstance(node, ast.Import | ast.ImportFrom) and "phonenumbers" in ast.unparse(node)]  # fmt: skip
    assert (importers, at_the_top) == ({"notify/numbers.py"}, [])


def _imports(tree: ast.Module) -> Iterator[str]:
    """Top-level packages that are imported when the module runs, which those for type checkers are not."""
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
