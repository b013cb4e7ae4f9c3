"""A queue's function: `SEEN` holds the events that came, `ANSWERS` what to answer next."""

from __future__ import annotations

from typing import Any

SEEN: list[dict[str, Any]] = []
ANSWERS: list[Any] = []


def handle(event: dict[str, Any], context: Any) -> Any:
    SEEN.append(event)
    answer = ANSWERS.pop(0) if ANSWERS else None
    if isinstance(answer, Exception):
        raise answer
    return answer(event) if callable(answer) else answer
