"""Compile the lock files, and tell whether they are current.

A lock records a digest of what it was compiled from, so that `make check` finds a stale one without a network.
Locks name no registry: hashes say which file is meant, the installer's own settings where to find it.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
LOCKS: Final = ROOT / "infra" / "locks"
RUNTIME: Final = LOCKS / "runtime.txt"
NUMBERS: Final = LOCKS / "numbers.txt"

# lock → what it is compiled from. The runtime's versions bind the developers' environment too.
SOURCES: Final[dict[str, tuple[str, ...]]] = {
    "bootstrap": ("--group", "pyproject.toml:bootstrap"),
    "runtime": ("pyproject.toml",),
    "dev": ("pyproject.toml", "--group", "dev", "--constraints", "infra/locks/runtime.txt"),
    "numbers": ("--group", "pyproject.toml:numbers"),
    "postgres": ("--group", "pyproject.toml:postgres", "--no-deps"),
}
COMPILE: Final = (
    *("uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate", "--quiet"),
)


def digest() -> str:
    """What decides the Python locks: the dependencies in pyproject.toml and how they are compiled."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    decides = [project["project"]["dependencies"], project["dependency-groups"], SOURCES, COMPILE]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def header() -> str:
    """The first line of each Python lock."""
    return f"# Made by `make lock` from pyproject.toml, sha256:{digest()}"


def write(upgrade: tuple[str, ...]) -> None:
    """Compile all locks; `upgrade` is passed on to uv (`--upgrade`, or `--upgrade-package NAME`)."""
    LOCKS.mkdir(exist_ok=True)
    for name, source in SOURCES.items():
        lock = LOCKS / f"{name}.txt"
        subprocess.run([*COMPILE, *upgrade, *source, "--output-file", lock], cwd=ROOT, check=True)
        lock.write_text(f"{header()}\n{lock.read_text()}")
    subprocess.run(["npm", "install", "--package-lock-only"], cwd=ROOT, check=True)


def faults() -> list[str]:
    """Why the locks cannot be trusted; empty when they can."""
    found = []
    for name in SOURCES:
        text = (LOCKS / f"{name}.txt").read_text()
        if not text.startswith(header()):
            found.append(f"infra/locks/{name}.txt is stale: run `make lock`")
        if unhashed := re.findall(r"^[\w\[\].-]+==\S+(?![^\n]*\\$)", text, re.MULTILINE):
            found.append(f"infra/locks/{name}.txt: no hash for {unhashed}")
        if "://" in text:
            found.append(f"infra/locks/{name}.txt names an address")
    wanted: dict[str, Any] = json.loads((ROOT / "package.json").read_text())
    locked: dict[str, Any] = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    for group in ("devDependencies", "optionalDependencies"):
        if locked[""].get(group) != wanted.get(group):
            found.append(f"package-lock.json is stale ({group}): run `make lock`")
    if any("resolved" in package or (path and "integrity" not in package) for path, package in locked.items()):
        found.append("package-lock.json names an address or lacks an integrity hash")
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit("\n".join(faults()) or 0)
    write(tuple(sys.argv[1:]))
