"""The process under measurement: it serves a handler and does little else; requests come from outside of it.

`python -m tests.benchmark.driver kami|peer` serves Kami's handler as Lambda's runtime does (an event a line in, an
answer a line out), or the peer under its HTTP server. Each answer says how much CPU the process has used by then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from typing import IO, Any

DEADLINE_MS = 10_000
CPU_HEADER = "x-cpu-ms"
TABLE = "table"
"""An event may name the table that is to serve it."""


class Context:
    """As much of Lambda's context as handlers use."""

    def get_remaining_time_in_millis(self) -> int:
        """The function's whole time, for every event."""
        return DEADLINE_MS


def cpu_ms() -> float:
    """User and system time of this process so far."""
    return time.process_time() * 1_000


def kami(answers: IO[str]) -> None:
    """Answers lines `{"response", "wall_ms", "cpu_ms"}` until there are no more events."""
    from functions.redeem.handler import handle

    context = Context()
    for line in sys.stdin:
        start = time.perf_counter()
        event: dict[str, Any] = json.loads(line)
        os.environ["TABLE_NAME"] = event.pop(TABLE, os.environ["TABLE_NAME"])
        response = handle(event, context)
        wall_ms = (time.perf_counter() - start) * 1_000
        answers.write(json.dumps({"response": response, "wall_ms": wall_ms, "cpu_ms": cpu_ms()}) + "\n")


async def peer(answers: IO[str]) -> None:
    """Makes a voucher for each code of the first line, then answers with its port and serves until input ends."""
    import uvicorn

    from tests.benchmark.peers.fastapi_redeem import app, engine, prepare

    async def marked(scope: Any, receive: Any, send: Any) -> None:
        async def mark(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((CPU_HEADER.encode(), str(cpu_ms()).encode()))
            await send(message)

        await app(scope, receive, mark)

    await prepare(json.loads(sys.stdin.readline()))
    server = uvicorn.Server(uvicorn.Config(marked, port=0, http="httptools"))
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    answers.write(f"{server.servers[0].sockets[0].getsockname()[1]}\n")
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving
    await engine.dispose()


def main() -> None:
    """Serve what the command line names. Its own output goes where nobody reads it, as a log does."""
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if sys.argv[1] == "kami":
            kami(answers)
        else:
            import uvloop

            uvloop.run(peer(answers))


if __name__ == "__main__":
    main()
