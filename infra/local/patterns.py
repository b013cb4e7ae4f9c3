"""Event patterns, as rules of a bus and filters of event sources have them: the part of the language that is used.

Source: AWS's "Creating Amazon EventBridge event patterns". What is not known here is refused when it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from infra.local.template import TemplateError

Matcher = Callable[[Any], bool]
"""Whether a value matches; `ABSENT` where the event has none."""

ABSENT: Final = object()


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _equal(wanted: Any, value: Any) -> bool:
    """JSON's equality: `true` is not 1."""
    return bool(wanted == value and isinstance(wanted, bool) == isinstance(value, bool))


def _numeric(tests: list[Any]) -> Matcher:
    operators: dict[str, Callable[[float, float], bool]] = {
        "=": lambda value, bound: value == bound,
        "<": lambda value, bound: value < bound,
        "<=": lambda value, bound: value <= bound,
        ">": lambda value, bound: value > bound,
        ">=": lambda value, bound: value >= bound,
    }
    pairs = [(operators[operator], bound) for operator, bound in zip(tests[::2], tests[1::2], strict=True)]
    return lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and all(test(value, bound) for test, bound in pairs)
    )


def _anything_but(unwanted: Any) -> Matcher:
    if isinstance(unwanted, dict):
        raise TemplateError(f"pattern: anything-but {unwanted} is not known to the local cloud")
    return lambda value: value is not ABSENT and not any(_equal(one, value) for one in _many(unwanted))


OPERATORS: Final[dict[str, Callable[[Any], Matcher]]] = {
    "prefix": lambda start: lambda value: isinstance(value, str) and value.startswith(start),
    "suffix": lambda end: lambda value: isinstance(value, str) and value.endswith(end),
    "equals-ignore-case": lambda text: lambda value: isinstance(value, str) and value.lower() == text.lower(),
    "exists": lambda wanted: lambda value: (value is not ABSENT) is wanted,
    "anything-but": _anything_but,
    "numeric": _numeric,
}


def _leaf(wanted: Any) -> Matcher:
    if not isinstance(wanted, dict):
        return lambda value: _equal(wanted, value)
    ((operator, operand),) = wanted.items()
    if operator not in OPERATORS:
        raise TemplateError(f"pattern operator {operator!r} is not known to the local cloud")
    return OPERATORS[operator](operand)


def matcher(pattern: dict[str, Any]) -> Matcher:
    """What tells whether an event matches. Raises `TemplateError` for what is not known here."""
    parts: dict[str, Matcher] = {}
    for name, wanted in pattern.items():
        if name.startswith("$"):
            raise TemplateError(f"pattern operator {name!r} is not known to the local cloud")
        if isinstance(wanted, dict):
            parts[name] = matcher(wanted)
        elif isinstance(wanted, list) and wanted:
            parts[name] = _any_of([_leaf(one) for one in wanted])
        else:
            raise TemplateError(f"pattern: {name!r} must be an object or a list that is not empty")

    def matches(event: Any) -> bool:
        fields = event if isinstance(event, dict) else {}
        return all(part(fields.get(name, ABSENT)) for name, part in parts.items())

    return matches


def _any_of(leaves: list[Matcher]) -> Matcher:
    """A list in the event matches if one of its values does."""

    def matches(value: Any) -> bool:
        values = value if isinstance(value, list) and value else [value]
        return any(leaf(one) for leaf in leaves for one in values)

    return matches
