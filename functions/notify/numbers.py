"""What a phone number tells by itself, as Google's libphonenumber has it: whether it takes SMS, and where it belongs.

Its data are 23 MB, in a layer of notify's own, and are imported with the first number. Who carries a number is who was
given its block: a number that was taken along to another carrier (携号转网) still tells the first one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from functions.domain.account import E164

HOME = "CN"
"""Where a number without a country code is taken to be of."""
ZONE = "Asia/Shanghai"
"""Of numbers that tell none."""
LENGTH_MAX = 32
NUMBERS_CACHED_MAX = 1_000


class Number(NamedTuple):
    """`fault` is why it takes no SMS: `number_invalid` or `landline`. `region` is a province or state, in English."""

    fault: str | None
    country: str | None = None
    carrier: str | None = None
    region: str | None = None
    zone: str = ZONE


@lru_cache(NUMBERS_CACHED_MAX)
def known(number: str) -> Number:
    """What is known of a number (E.164); one that is not written as its plan has it is not valid."""
    import phonenumbers
    from phonenumbers import PhoneNumberFormat, PhoneNumberType, carrier, geocoder, timezone

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return Number("number_invalid")
    country = phonenumbers.region_code_for_number(parsed)
    written = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    if written != number or not phonenumbers.is_valid_number(parsed):
        return Number("number_invalid", country)
    takes_sms = phonenumbers.number_type(parsed) in (
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.PERSONAL_NUMBER,
        PhoneNumberType.VOIP,
    )
    place = geocoder.description_for_number(parsed, "en")
    zones = [zone for zone in timezone.time_zones_for_number(parsed) if zone != timezone.UNKNOWN_TIMEZONE]
    return Number(
        None if takes_sms else "landline",
        country,
        carrier.name_for_number(parsed, "en") or None,
        place.rpartition(", ")[2] if place and place != geocoder.country_name_for_number(parsed, "en") else None,
        zones[0] if zones else ZONE,
    )


def normalised(text: str) -> str | None:
    """A number as people write it, in E.164; None where it is none."""
    import phonenumbers

    try:
        parsed = phonenumbers.parse(text[:LENGTH_MAX], HOME)
    except phonenumbers.NumberParseException:
        return None
    number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return number if len(text) <= LENGTH_MAX and E164.fullmatch(number) else None


def zone(name: str) -> ZoneInfo | None:
    """A time zone of the IANA database; None where it has none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
