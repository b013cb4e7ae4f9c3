"""Batch keys: made and unwrapped by KMS, kept in clear only in a small cache in memory that forgets."""

from __future__ import annotations

import os
import time
from collections import OrderedDict

from functions.domain.lot import Lot
from functions.store.aws import client

CACHED_KEYS_MAX = 256
CACHED_FOR_S = 300.0
DATA_KEY_ARN = "DATA_KEY_ARN"
SANDBOX_KEY_ARN = "SANDBOX_KEY_ARN"

_cache: OrderedDict[tuple[bytes, bool], tuple[float, bytes]] = OrderedDict()


def new_key(batch: str, *, sandbox: bool = False) -> bytes:
    """A fresh 256-bit key in its wrapped form, bound to the batch by its encryption context.

    The sandbox has a KMS key of its own, which opens no other batch.
    """
    reply = client("kms").generate_data_key_without_plaintext(
        KeyId=_wraps(sandbox), KeySpec="AES_256", EncryptionContext={"batch": batch}
    )
    return reply["CiphertextBlob"]


def _wraps(sandbox: bool) -> str:
    return os.environ[SANDBOX_KEY_ARN if sandbox else DATA_KEY_ARN]


def key_of(lot: Lot, index: int) -> bytes:
    """The key in clear of the batch that an index of a lot belongs to."""
    part = lot.part(index)
    assert part is not None, "every segment lies in a part"
    return unwrap(part.wrapped_key, part.batch, sandbox=lot.rules.sandbox)


def unwrap(wrapped_key: bytes, batch: str, *, sandbox: bool = False) -> bytes:
    """The key in clear. Cached by its wrapped form as just read, so a shredded batch is not served from memory."""
    now, name = time.monotonic(), (wrapped_key, sandbox)
    cached = _cache.get(name)
    if cached is not None and now < cached[0]:
        return cached[1]
    reply = client("kms").decrypt(CiphertextBlob=wrapped_key, KeyId=_wraps(sandbox), EncryptionContext={"batch": batch})
    key = reply["Plaintext"]
    _cache.pop(name, None)
    _cache[name] = (now + CACHED_FOR_S, key)
    if len(_cache) > CACHED_KEYS_MAX:
        _cache.popitem(last=False)
    return key
