"""What a measurement gives, and how the CPU of other processes is measured."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
PROCESS_TIMEOUT_S = 600


class Result(NamedTuple):
    """A figure; `bound` says what it must hold to, None where it only informs."""

    name: str
    value: float
    unit: str
    bound: str | None
    holds: bool


def at_most(name: str, value: float, bound: float, unit: str) -> Result:
    """A figure with an upper bound."""
    return Result(name, _rounded(value), unit, f"≤ {bound:,}", value <= bound)


def at_least(name: str, value: float, bound: float, unit: str) -> Result:
    """A figure with a lower bound."""
    return Result(name, _rounded(value), unit, f"≥ {bound:,}", value >= bound)


def figure(name: str, value: float, unit: str) -> Result:
    """A figure that informs."""
    return Result(name, _rounded(value), unit, None, True)


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.3g}")


def run(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints, run in the work tree's root. Raises CalledProcessError where it fails."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=PROCESS_TIMEOUT_S,
    ).stdout


def python(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """The same for this Python."""
    return run(sys.executable, *arguments, environment=environment)


def children_cpu_ms() -> float:
    """The CPU, user and system, of all processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1_000
