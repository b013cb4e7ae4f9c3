"""Persons: the key of their accounts' ids, and lines that lead from an account to the vouchers that have named it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from functions.domain.erasure import Erasure, Known, Named, Person, account_id
from functions.store import keys, table
from functions.store.aws import client
from functions.store.lots import WORKERS_MAX
from functions.store.table import BATCH_GET_MAX, Conflict, Entity

KNOWN: Entity[Known] = Entity("known", Known, key=lambda k: keys.known(k.account, k.position))
ERASURE: Entity[Erasure] = Entity("erasure", Erasure, key=lambda e: keys.erasure(e.id))
PERSON_SECRET_ARN = "PERSON_SECRET_ARN"
_CACHED_FOR_S = 300.0

_secret: tuple[float, bytes] | None = None


def secret() -> bytes:
    """The key of accounts' ids, the same for the whole deployment and for good."""
    global _secret
    if _secret is None or time.monotonic() > _secret[0]:
        reply = client("secretsmanager").get_secret_value(SecretId=os.environ[PERSON_SECRET_ARN])
        _secret = (time.monotonic() + _CACHED_FOR_S, reply["SecretString"].encode())
    return _secret[1]


def account_of(person: Person) -> str:
    """The id of a person's account."""
    return account_id(secret(), person)


def note(found: Iterable[Named]) -> None:
    """Write the lines that are not there yet."""
    lines = {Known(account_of(each.person), each.position, each.by, version=1) for each in found}
    if not lines:
        return

    def put(line: Known) -> None:
        try:
            table.put(KNOWN.item(line, "name", line.by), 0)
        except Conflict:
            return

    with ThreadPoolExecutor(WORKERS_MAX) as pool:
        list(pool.map(put, lines))


def positions(account: str, after: str) -> tuple[list[int], str | None]:
    """The next vouchers that have named the person of an account, and the place after them where there may be more."""
    items = table.query(keys.known_of(account), limit=BATCH_GET_MAX, after=after or None, index="")
    found = [KNOWN.load(item).position for item in items]
    return found, items[-1]["sk"] if len(items) == BATCH_GET_MAX else None
