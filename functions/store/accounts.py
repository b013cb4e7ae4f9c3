"""The operator's accounts at those who carry SMS: one secret each, a JSON object that the operator fills in."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from functions.store.aws import client

SMS_ACCOUNT = "SMS_ACCOUNT_"
"""With the provider's name in capitals: the ARN of its secret."""
_CACHED_FOR_S = 300.0

_known: dict[str, tuple[float, dict[str, Any]]] = {}


def names() -> tuple[str, ...]:
    """The providers that this deployment keeps an account for."""
    return tuple(name.removeprefix(SMS_ACCOUNT).lower() for name in sorted(os.environ) if name.startswith(SMS_ACCOUNT))


def account(provider: str) -> dict[str, Any]:
    """What is on record about the account at a provider, at most five minutes old.

    Empty where there is no account, and where its secret is no JSON object.
    """
    arn = os.environ.get(SMS_ACCOUNT + provider.upper())
    if arn is None:
        return {}
    expires, held = _known.get(arn, (0.0, {}))
    if time.monotonic() > expires:
        held = _object(client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])
        _known[arn] = (time.monotonic() + _CACHED_FOR_S, held)
    return held


def _object(secret: str) -> dict[str, Any]:
    try:
        found = json.loads(secret)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
