"""`python -m tests.benchmark [--only NAME]` measures; `--readme` puts the last figures into README.md.

Exits with 1 when a bound does not hold.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmark.harness import ROOT, Result

MEASUREMENTS = (
    "calls", "writes", "simulation", "race", "codes", "exports", "imports", "cold_start", "scale", "cpu", "recall",
    "recall_under_load", "ledger", "sms", "handover", "deliveries", "record", "restore", "hundred_million",
    "unreliable",
)  # fmt: skip
RESULTS = Path(__file__).parent / "results.json"
README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- benchmark -->\n).*?(<!-- /benchmark -->)", re.DOTALL)

console = Console(file=sys.stdout)
nowhere = Path(os.devnull).open("w")  # noqa: SIM115 - loggers keep it for as long as this process lives


def main() -> int:
    """Measure what is asked for and keep the figures."""
    parser = argparse.ArgumentParser(prog="tests.benchmark", description=__doc__)
    parser.add_argument("--only", choices=MEASUREMENTS, help="one measurement; the other figures stay as they are")
    parser.add_argument("--readme", action="store_true", help="write the figures' table into README.md")
    arguments = parser.parse_args()
    if arguments.readme:
        _write_readme()
        return 0
    results = [result for name in _chosen(arguments.only) for result in _measured(name)]
    _keep(results, forget_others=arguments.only is None)
    console.print(_table(results))
    return 0 if all(result.holds for result in results) else 1


def _chosen(only: str | None) -> tuple[str, ...]:
    return (only,) if only else MEASUREMENTS


def _measured(name: str) -> list[Result]:
    """The figures of one measurement; what handlers log meanwhile goes nowhere."""
    with console.status(f"Measuring {name}"), redirect_stdout(nowhere):
        results = list(importlib.import_module(f"tests.benchmark.{name}").measure())
    console.print(f"{name}: {len(results)} figures", highlight=False)
    return results


def _keep(results: list[Result], *, forget_others: bool) -> None:
    kept = {} if forget_others or not RESULTS.exists() else {result.name: result for result in _results()}
    kept |= {result.name: result for result in results}
    document = {"results": [result._asdict() for result in kept.values()]}
    RESULTS.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _results() -> list[Result]:
    return [Result(**result) for result in json.loads(RESULTS.read_text())["results"]]


def _row(result: Result) -> tuple[str, str, str, str, str]:
    holds = ("yes" if result.holds else "NO") if result.bound else ""
    return (
        result.name,
        f"{result.value:,g}" if result.value < 1e6 else f"{result.value:,.0f}",
        result.unit,
        result.bound or "",
        holds,
    )


def _table(results: list[Result]) -> Table:
    table = Table(*(field.capitalize() for field in Result._fields))
    for result in results:
        table.add_row(*_row(result), style=None if result.holds else "bold red")
    return table


def _write_readme() -> None:
    lines = ["| what | value | unit | bound | holds |", "|---|---:|---|---|---|"]
    lines += [f"| {' | '.join(_row(result))} |" for result in _results()]
    text, replaced = BLOCK.subn(lambda block: block[1] + "\n".join(lines) + "\n" + block[2], README.read_text())
    if replaced != 1:
        sys.exit(f"{README.name} does not hold one pair of <!-- benchmark --> and <!-- /benchmark -->")
    README.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
