"""Key material and generated secrets: the same ones each time a cloud is built from a template.

moto makes new ones at every start. Data kept by DynamoDB Local over a restart would be lost with the key that wrapped
its batch keys, and tokens or cached public keys of one test's cloud would be strangers to the next one's.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from moto.kms.models import Key, kms_backends

from infra.local.template import ACCOUNT, PARTITION, REGION


class Material:
    """What moto made for a logical id the first time; in a file if it shall outlive the process (mode 0600)."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._kept: dict[str, dict[str, str]] = json.loads(path.read_text()) if path and path.exists() else {}

    def key(self, logical_id: str, key_id: str) -> str:
        """Gives the KMS key that moto just made as `key_id` its lasting id and material; returns that id."""
        keys = kms_backends[ACCOUNT][REGION].keys
        key = keys.pop(key_id)
        if logical_id not in self._kept:
            self._keep(logical_id, {"id": str(uuid.uuid5(uuid.NAMESPACE_OID, logical_id)), **_exported(key)})
        kept = self._kept[logical_id]
        key.id = kept["id"]
        key.arn = f"arn:{PARTITION}:kms:{REGION}:{ACCOUNT}:key/{key.id}"
        key.key_material = b64decode(kept["material"])
        if "private" in kept:
            signing: Any = key.private_key
            signing.private_key = load_pem_private_key(kept["private"].encode(), password=None)
        keys[key.id] = key
        return str(key.id)

    def secret(self, logical_id: str, generated: str) -> str:
        """The lasting value of a generated secret."""
        if logical_id not in self._kept:
            self._keep(logical_id, {"secret": generated})
        return self._kept[logical_id]["secret"]

    def _keep(self, logical_id: str, what: dict[str, str]) -> None:
        self._kept[logical_id] = what
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
            self._path.write_text(json.dumps(self._kept, indent=2))


def _exported(key: Key) -> dict[str, str]:
    kept = {"material": b64encode(key.key_material).decode()}
    if key.key_usage == "SIGN_VERIFY":
        signing: Any = key.private_key
        pem = signing.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        kept["private"] = pem.decode()
    return kept
