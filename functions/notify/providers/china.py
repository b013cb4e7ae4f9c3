"""What China's carriers say in a receipt (回执), whichever cloud hands it on.

These are the states of CMPP, SGIP and SMGP, and the gateways' own codes.

Sources: CMPP 3.0 (China Mobile), table of `Stat`; the lists of receipts' codes that Tencent Cloud, Alibaba Cloud and
SUBMAIL publish. The same digits mean other things at other gateways; only what their lists agree on has a row.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Final

from functions.domain.reasons import REFUSED, TECHNICAL_FAULT

TIME: Final = timezone(timedelta(hours=8))
"""Of what China's clouds write without saying where: all of the country has one."""

STATES: Final[dict[str, str | None]] = {
    "DELIVRD": None,
    "DELIVERED": None,
    "EXPIRED": "not_reachable",  # the phone was off or out of reach for as long as the carrier kept it
    "UNDELIV": "not_reachable",
    "REJECTD": "spam_filtered",
    "REJECT": "spam_filtered",
    "DELETED": REFUSED,
    "UNKNOWN": REFUSED,
    "TIMEOUT": "carrier_congested",
    "NOROUTE": "destination_not_served",
    "NOROUTER": "destination_not_served",
    "ROUTEERR": TECHNICAL_FAULT,
    "BLACK": "blocked",
    "BLOCKED": "blocked",
    "MBBLACK": "blocked",
    "DBBLACK": "blocked",
    "HD:0001": "blocked",
    "KEYWORD": "spam_filtered",
    "ID:0076": "spam_filtered",
    "MK:0014": "spam_filtered",
    "MK:0115": "spam_filtered",
    "-106": "spam_filtered",
    "002": "not_reachable",
    "PHONEERR": "number_invalid",
    "MK:0000": "number_invalid",
    "MK:0001": "number_invalid",
    "MK:0075": "number_invalid",
    "CB:0001": "number_invalid",
    "CB:0053": "number_invalid",
    "DB:0101": "number_invalid",
    "DB:0102": "not_reachable",
    "MK:0005": "not_reachable",
    "MK:0010": "not_reachable",
    "MK:0013": "not_reachable",
    "MK:0023": "not_reachable",
    "MK:0011": "phone_full",
    "MK:1041": "over_limit",
    "DB:0142": "over_limit",
    "DB:0144": "blocked",
    "DB:0108": "account_refused",
    "IB:0008": "carrier_congested",
    "DB:9007": "carrier_congested",
    "MK:0002": TECHNICAL_FAULT,
    "DB:0122": TECHNICAL_FAULT,
    "DB:9001": TECHNICAL_FAULT,
}
"""A code → why it was not delivered; None: it was."""
FAMILIES: Final = {
    "MK": "not_reachable",  # the subscriber: no such number, suspended, switched off
    "MN": "not_reachable",
    "MI": "not_reachable",
    "LT": "not_reachable",
    "CA": TECHNICAL_FAULT,  # between gateways
    "DA": TECHNICAL_FAULT,
    "MA": TECHNICAL_FAULT,
    "IB": TECHNICAL_FAULT,
    "IC": TECHNICAL_FAULT,
}
"""What the letters before a colon stand for, where the number after it has no row."""


def reason(code: str) -> str | None:
    """Why it was not delivered; None: it was."""
    if code in STATES:
        return STATES[code]
    return FAMILIES.get(code.partition(":")[0], REFUSED) if ":" in code else REFUSED


def seconds(text: str) -> int | None:
    """A time as China's clouds write it: `2026-11-22 16:00:00`; None where it is not one, or before 1970."""
    try:
        at = int(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=TIME).timestamp())
    except ValueError:
        return None
    return at if at >= 0 else None
