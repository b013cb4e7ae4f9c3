"""`make invoke EVENT=events/….json`: one handler on one payload, in a local cloud that lives as long as the call."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

from infra.local.cloud import Cloud
from infra.local.gateway import FunctionError
from infra.local.template import TemplateError, synthesized


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def invoke(path: Path) -> str:
    """The function's result as JSON. What the file names in `${…}` is made first (samples.py).

    What handlers print goes to standard error, so that the result alone is on standard output.
    """
    with redirect_stdout(sys.stderr), Cloud.in_process(synthesized(say=_say)) as cloud:
        event = cloud.event(path)
        return json.dumps(cloud.invoke(cloud.function_of(event), event), indent=2, ensure_ascii=False)


def main() -> None:
    """Exits with 1 where the function failed or the payload is for none."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("usage: make invoke EVENT=events/<function>/<case>.json")
    try:
        print(invoke(Path(sys.argv[1])))
    except (FunctionError, TemplateError, KeyError, StopIteration) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
