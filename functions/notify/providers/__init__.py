"""Who carries the SMS, behind one small interface.

Each adapter brings its provider's codes down to `domain.reasons`; what it signs and asks is its own, over HTTP, for a
vendor's SDK would bring a megabyte and its own retries. Only AWS is asked by botocore, which is there already.
"""

from __future__ import annotations

import os

from functions.notify.providers.alibaba import AlibabaCloud
from functions.notify.providers.aws import AwsEndUserMessaging
from functions.notify.providers.base import CALLS_S, Made, Provider
from functions.notify.providers.simulated import SimulatedCarrier
from functions.notify.providers.tencent import TencentCloud
from functions.notify.providers.twilio import Twilio
from functions.store import accounts

__all__ = ["CALLS_S", "Provider", "SimulatedCarrier", "known", "named", "names"]

SMS_PROVIDERS = "SMS_PROVIDERS"

_KINDS: dict[str, Made] = {
    "aws": lambda _: AwsEndUserMessaging(),
    "alibaba": lambda _: AlibabaCloud(),
    "tencent": lambda _: TencentCloud(),
    "twilio": lambda _: Twilio(),
    "simulated": SimulatedCarrier,
}


def named(name: str) -> Provider:
    """A provider by its name: `aws`, `simulated:north`."""
    kind, _, carrier = name.partition(":")
    return _KINDS[kind](carrier)


def names() -> tuple[str, ...]:
    """The providers of this deployment, in order of preference."""
    return tuple(os.environ[SMS_PROVIDERS].split(","))


def known() -> frozenset[str]:
    """The providers that may be sent through, or may still have receipts to give."""
    return frozenset({*names(), *accounts.names()})
