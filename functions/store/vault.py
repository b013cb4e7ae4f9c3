"""Batch keys: made and unwrapped by KMS, kept in clear only in a small cache in memory that forgets."""

from __future__ import annotations

import os
import time
from collections import OrderedDict

from functions.store.aws import client

CACHED_KEYS_MAX = 256
CACHED_FOR_S = 300.0
DATA_KEY_ARN = "DATA_KEY_ARN"

_cache: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()


def new_key(batch: str) -> bytes:
    """A fresh 256-bit key in its wrapped form, bound to the batch by its encryption context."""
    reply = client("kms").generate_data_key_without_plaintext(
        KeyId=os.environ[DATA_KEY_ARN], KeySpec="AES_256", EncryptionContext={"batch": batch}
    )
    return reply["CiphertextBlob"]


def unwrap(wrapped_key: bytes, batch: str) -> bytes:
    """The key in clear. Cached by its wrapped form as just read, so a shredded batch is not served from memory."""
    now = time.monotonic()
    cached = _cache.get(wrapped_key)
    if cached is not None and now < cached[0]:
        return cached[1]
    reply = client("kms").decrypt(
        CiphertextBlob=wrapped_key, KeyId=os.environ[DATA_KEY_ARN], EncryptionContext={"batch": batch}
    )
    key = reply["Plaintext"]
    _cache.pop(wrapped_key, None)
    _cache[wrapped_key] = (now + CACHED_FOR_S, key)
    if len(_cache) > CACHED_KEYS_MAX:
        _cache.popitem(last=False)
    return key
