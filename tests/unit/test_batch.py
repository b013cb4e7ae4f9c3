"""A worker's batch in threads: what is slow, fails or is about the same thing holds up nothing else."""

from __future__ import annotations

from contextvars import ContextVar
from threading import Barrier, get_ident
from typing import Any

from functions.edge import batch

WAIT_S = 10


def event(*bodies: str) -> dict[str, Any]:
    return {"Records": [{"messageId": str(place), "body": body} for place, body in enumerate(bodies)]}


def test_lanes_go_side_by_side_and_each_in_its_order() -> None:
    together, done = Barrier(3), list[tuple[str, int]]()

    def work(body: str) -> None:
        if body.endswith("1"):
            together.wait(WAIT_S)  # all lanes must have begun, or it breaks
        done.append((body, get_ident()))

    assert batch.together(event("a1", "b1", "a2", "c1", "a3"), work, lambda body: body[0]) == {"batchItemFailures": []}
    assert [body for body, _ in done if body[0] == "a"] == ["a1", "a2", "a3"]
    assert len({thread for body, thread in done if body[0] == "a"}) == 1
    assert len(done) == 5


def test_what_fails_comes_back_alone() -> None:
    def work(body: str) -> None:
        if body == "poison":
            raise ValueError(body)

    failed = batch.together(event("good", "poison", "good", "poison"), work, lambda body: "one lane")
    assert failed == {"batchItemFailures": [{"itemIdentifier": "1"}, {"itemIdentifier": "3"}]}


def test_threads_have_the_context_of_the_call_and_there_are_not_too_many() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")
    seen, threads = [], set()

    def work(body: str) -> None:
        seen.append(variable.get())
        threads.add(get_ident())

    variable.set("the call's")
    batch.together(event(*map(str, range(50))), work, lambda body: body)
    assert (set(seen), len(seen)) == ({"the call's"}, 50)
    assert len(threads) <= batch.THREADS_MAX
