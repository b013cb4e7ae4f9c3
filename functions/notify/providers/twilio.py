"""Twilio's Programmable Messaging, API 2010-04-01.

https://www.twilio.com/docs/messaging/api/message-resource
https://www.twilio.com/docs/usage/security#validating-requests
https://www.twilio.com/docs/api/errors

It takes a message as often as it is asked to. What was not answered is looked for among the messages to that number
since then, by its exact words; two messages of the same words are one there, so that one in doubt is rather taken for
sent than sent twice. The reference stands in the address for receipts.
The account: `account_sid`, `auth_token` (which signs receipts), `key_sid` and `key_secret` (an API key to ask with;
without them the token does), and `from` (a number) or `messaging_service_sid`.
"""

from __future__ import annotations

import hmac
import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import urllib3

from functions.domain.errors import Refusal
from functions.domain.message import Outcome, Status, TemplateCall
from functions.domain.reasons import IN_DOUBT, REFUSED
from functions.notify.providers.base import (
    NO_ACCOUNT,
    Heard,
    Reply,
    ask,
    clock,
    faulty,
    prove,
    said,
    same,
    settled,
    taken,
    told,
    undelivered,
)
from functions.store.accounts import account

NAME = "twilio"
API = "https://api.twilio.com/2010-04-01/Accounts"
SMS_RECEIPTS_URL = "SMS_RECEIPTS_URL"
PAGE = 100
"""So many messages to one number are looked through, which an answer has room for; where there are more, one that is
not among them may be there all the same."""
CLOCKS_APART_S = 5
FIELDS_MAX = 64

CODES: dict[str, str] = {
    # refused at once
    "20003": "account_refused",
    "20005": "account_refused",
    "20404": "account_refused",
    "20429": "carrier_congested",
    "20500": "technical_fault",
    "20503": "provider_down",
    "10001": "account_refused",
    "14107": "carrier_congested",
    "21211": "number_invalid",
    "21214": "number_invalid",
    "21217": "number_invalid",
    "21262": "number_invalid",
    "21263": "number_invalid",
    "21264": "number_invalid",
    "21265": "number_invalid",
    "21266": "number_invalid",  # to the number it is from
    "21408": "destination_not_served",
    "21601": "account_refused",
    "21602": "content_refused",
    "21603": "account_refused",
    "21604": "number_invalid",
    "21605": "content_refused",
    "21606": "account_refused",
    "21607": "account_refused",
    "21608": "account_refused",
    "21610": "opted_out",
    "21611": "carrier_congested",
    "21612": "destination_not_served",
    "21614": "landline",
    "21617": "content_refused",
    "21619": "content_refused",
    "21635": "landline",
    "21654": "account_refused",
    "21655": "content_refused",
    "21656": "content_refused",
    "21659": "account_refused",
    "21660": "account_refused",
    "21661": "account_refused",
    "21701": "account_refused",
    "21703": "account_refused",
    "21704": "account_refused",
    "21705": "account_refused",
    "21712": "account_refused",
    "21730": "provider_down",
    "63038": "account_refused",
    # told by a receipt
    "30001": "carrier_congested",
    "30002": "account_refused",
    "30003": "not_reachable",
    "30004": "blocked",
    "30005": "number_invalid",
    "30006": "landline",
    "30007": "spam_filtered",
    "30008": "technical_fault",
    "30009": "technical_fault",
    "30010": "account_refused",
    "30017": "carrier_congested",
    "30018": "destination_not_served",
    "30019": "content_refused",
    "30020": "technical_fault",
    "30021": "technical_fault",
    "30022": "carrier_congested",
    "30023": "account_refused",
    "30024": "account_refused",
    "30027": "account_refused",
    "30032": "account_refused",
    "30034": "account_refused",
    "30035": "account_refused",
    "30036": "expired",
    "30038": "spam_filtered",
    "30039": "spam_filtered",
    "30040": "account_refused",
    "30041": "content_refused",
    "30044": "content_refused",
    "30410": "no_receipt",  # its carrier did not answer; Twilio itself does not try again, for it may have arrived
    "30440": "account_refused",
    "30450": "spam_filtered",
    "30451": "over_limit",
    "30452": "carrier_congested",
    "30453": "spam_filtered",
    "30454": "spam_filtered",
    "30500": "technical_fault",
    "30883": "content_refused",
    "30884": "spam_filtered",
    "30885": "spam_filtered",
}
"""https://www.twilio.com/docs/api/errors"""

DELIVERED = frozenset({"delivered", "read"})
UNDELIVERED = frozenset({"undelivered", "failed", "canceled"})
"""The statuses that are the end of a message; the others tell nothing new."""


def signature(token: str, url: str, fields: Mapping[str, list[str]]) -> str:
    """What Twilio signs a request with: the address as it was given to Twilio, and each field with its values."""
    said = "".join(name + value for name in sorted(fields) for value in sorted(set(fields[name])))
    return b64encode(hmac.digest(token.encode(), (url + said).encode(), "sha1")).decode()


def _address(reference: str | None) -> str | None:
    """Where a message's receipts go to, or replies; the same text each time, for it is part of what is signed."""
    base = os.environ.get(SMS_RECEIPTS_URL)
    query = f"?reference={quote(reference, safe='')}" if reference is not None else ""
    return f"{base}/{NAME}{query}" if base else None


def _call(method: str, held: Mapping[str, Any], query: str, body: bytes | None) -> Reply | Outcome:
    user, password = (
        (held["key_sid"], held.get("key_secret", ""))
        if held.get("key_sid")
        else (held["account_sid"], held.get("auth_token", ""))
    )
    headers = urllib3.make_headers(basic_auth=f"{user}:{password}")
    if body is not None:
        headers["content-type"] = "application/x-www-form-urlencoded"
    return ask(method, f"{API}/{held['account_sid']}/Messages.json{query}", headers, body)


class Twilio:
    """Sends text."""

    traceable = True
    echoes = True
    acknowledgement = None

    def send(self, reference: str, to: str, text: str, template: TemplateCall | None) -> Outcome:
        """As text."""
        held = account(NAME)
        if not held.get("account_sid"):
            return NO_ACCOUNT
        sender = "MessagingServiceSid" if held.get("messaging_service_sid") else "From"
        form = {"To": to, sender: held.get("messaging_service_sid") or held.get("from", ""), "Body": text}
        if address := _address(reference):
            form["StatusCallback"] = address
        reply = _call("POST", held, "", urlencode(form).encode())
        if isinstance(reply, Outcome):
            return reply
        answer = reply.body or {}
        if reply.status in (200, 201) and answer.get("sid"):
            return taken(answer["sid"])
        code = str(answer.get("code") or reply.status)
        if code in CODES:
            return Outcome(CODES[code], code=code)
        return faulty(reply, code) or Outcome("carrier_congested" if reply.status == 429 else REFUSED, code=code)

    def look_up(self, reference: str, to: str, text: str, since: int, now: int) -> Outcome | None:
        """Among the messages to that number since then, by its words; what still waits there has no `DateSent`."""
        held = account(NAME)
        if not held.get("account_sid"):
            return Outcome(IN_DOUBT)
        reply = _call("GET", held, "?" + urlencode({"To": to, "PageSize": PAGE}), None)
        if (
            isinstance(reply, Outcome)
            or reply.status != 200
            or not isinstance((reply.body or {}).get("messages"), list)
        ):
            return Outcome(IN_DOUBT)
        answer = reply.body or {}
        found = [m for m in answer["messages"] if m.get("body") == text and _made_at(m) >= since - CLOCKS_APART_S]
        if not found:
            return Outcome(IN_DOUBT) if answer.get("next_page_uri") else settled(since, now)
        message = min(found, key=_made_at)
        code = str(message.get("error_code") or "")
        if message.get("status") in UNDELIVERED:
            return undelivered(CODES.get(code, REFUSED), code, message.get("sid"))
        return taken(message.get("sid"), Status.DELIVERED if message.get("status") in DELIVERED else None)

    def receipts(self, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Sequence[Heard]:
        """Proved by the signature over the address and all fields. Replies come to the address without a reference."""
        reference, token = query.get("reference"), account(NAME).get("auth_token")
        try:
            fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
        except ValueError:
            fields = {}
        address = _address(reference)
        prove(bool(token and address and fields))
        prove(same(headers.get("x-twilio-signature"), signature(str(token), str(address), fields)))
        if reference is None:
            sender, text = (fields.get(name, [""])[0] for name in ("From", "Body"))
            return said(NAME, sender, text, clock())
        status, id, code = (fields.get(name, [""])[0] for name in ("MessageStatus", "MessageSid", "ErrorCode"))
        if not id:
            raise Refusal("invalid_request", "It names no message.")
        if status not in DELIVERED | UNDELIVERED:
            return []
        reason = None if status in DELIVERED else CODES.get(code, REFUSED)
        return told(NAME, reason, clock(), code=code or status, reference=reference, provider_id=id)


def _made_at(message: Mapping[str, Any]) -> int:
    try:
        return int(parsedate_to_datetime(str(message.get("date_created"))).timestamp())
    except (TypeError, ValueError):
        return 0
