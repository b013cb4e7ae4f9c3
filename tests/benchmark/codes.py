"""Codes computed and formatted a second on one core, beside the npm generators in the same run."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from statistics import median
from textwrap import wrap

from functions.domain.codes import codes
from functions.domain.formats import DERIVED, LOT_SIZE, CodeFormat
from tests.benchmark.harness import PEERS, Result, at_least, figure, run

TIMES_FASTER_MIN = 2
TURNS = 9
ROUNDS_PER_TURN = 20


def measure() -> Iterator[Result]:
    """Each format against the faster peer at the same alphabet and pattern; the median of turns taken in turn."""
    for code_format in DERIVED:
        name = code_format.name
        turns = [(_ours(code_format), max(_theirs(code_format).values())) for _ in range(TURNS)]
        yield figure(f"{name} codes a second, Kami", median(ours for ours, _ in turns), "1/s")
        yield figure(f"{name} codes a second, the faster npm generator", median(theirs for _, theirs in turns), "1/s")
        ratio = median(ours / theirs for ours, theirs in turns)
        yield at_least(f"{name} codes a second, Kami to npm", ratio, TIMES_FASTER_MIN, "×")


def _ours(code_format: CodeFormat) -> float:
    """Whole lots, each with a key of its own, as an export writes them."""
    fewest_s = float("inf")
    for lot in code_format.lots[:ROUNDS_PER_TURN]:
        key = secrets.token_bytes(32)
        start = time.process_time()
        written = list(codes(key, code_format, lot, 1, 0, LOT_SIZE - 1))
        fewest_s = min(fewest_s, time.process_time() - start)
        assert len(written) == LOT_SIZE
    return LOT_SIZE / fewest_s


def _theirs(code_format: CodeFormat) -> dict[str, float]:
    pattern = "-".join(wrap("#" * code_format.length, code_format.group))
    arguments = (code_format.alphabet, pattern, str(LOT_SIZE), str(ROUNDS_PER_TURN))
    speeds: dict[str, float] = json.loads(run("node", PEERS / "npm_codes.mjs", *arguments))
    return speeds
