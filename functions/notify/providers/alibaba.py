"""Alibaba Cloud SMS (阿里云短信服务), API 2017-05-25 over HTTP, signed as ACS3-HMAC-SHA256.

https://help.aliyun.com/zh/sms/developer-reference/api-dysmsapi-2017-05-25-sendsms
https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature
https://help.aliyun.com/zh/sms/developer-reference/smsreport-2

It sends its own, approved copy of a template. `OutId` is our reference: receipts and `QuerySendDetails` give it back.
The account: `access_key_id`, `access_key_secret`, `sign_name`, `templates` (`voucher.redeemed.zh-CN@1` → template code)
and `receipts_token`, which the address for receipts carries because Alibaba signs none.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pydantic import Field, TypeAdapter

from functions.domain.message import ATTEMPT_S, Outcome, Status, TemplateCall
from functions.domain.reasons import IN_DOUBT, REFUSED
from functions.notify.providers import china
from functions.notify.providers.base import (
    NO_ACCOUNT,
    NO_TEMPLATE,
    Entry,
    Heard,
    Reply,
    ask,
    clock,
    each,
    faulty,
    nonce,
    prove,
    reason_in,
    said,
    same,
    settled,
    taken,
    template_of,
    told,
    undelivered,
)
from functions.store.accounts import account

NAME = "alibaba"
HOST = "dysmsapi.aliyuncs.com"
VERSION = "2017-05-25"
PAGE = 50
"""The longest page of a day's messages to one number; Alibaba lets no number have so many."""
CHINA_DIGITS = 11
CLOCKS_APART_S = 60

CODES: dict[str, str] = {
    "Throttling": "carrier_congested",
    "isp.SYSTEM_ERROR": "technical_fault",
    "isp.GATEWAY_ERROR": "no_reply",  # its own gateway to the carriers may have sent it
    "isp.UNKNOWN": "technical_fault",
    "isp.RAM_PERMISSION_DENY": "account_refused",
    "InternalError": "technical_fault",
    "ServiceUnavailable": "provider_down",
    "InvalidAccessKeyId": "account_refused",
    "SignatureDoesNotMatch": "account_refused",
    "SignatureNonceUsed": "technical_fault",
    "InvalidTimeStamp": "technical_fault",
    "Forbidden": "account_refused",
    "isv.OUT_OF_SERVICE": "account_refused",
    "isv.PRODUCT_UN_SUBSCRIPT": "account_refused",
    "isv.PRODUCT_UNSUBSCRIBE": "account_refused",
    "isv.ACCOUNT_NOT_EXISTS": "account_refused",
    "isv.ACCOUNT_ABNORMAL": "account_refused",
    "isv.AMOUNT_NOT_ENOUGH": "account_refused",
    "isv.DAY_LIMIT_CONTROL": "account_refused",
    "isv.MONTH_LIMIT_CONTROL": "account_refused",
    "isv.DENY_IP_RANGE": "account_refused",
    "isv.EXTEND_CODE_ERROR": "account_refused",
    "isv.SMS_SIGN_ILLEGAL": "account_refused",
    "isv.SMS_SIGNATURE_ILLEGAL": "account_refused",
    "isv.SMS_SIGNATURE_SCENE_ILLEGAL": "account_refused",
    "isv.SIGN_NAME_ILLEGAL": "account_refused",
    "isv.SIGN_STATE_ILLEGAL": "account_refused",
    "isv.SIGN_SOURCE_ILLEGAL": "account_refused",
    "isv.ONE_CODE_MULTIPLE_SIGN": "account_refused",
    "isv.CODE_EXCEED_LIMIT": "account_refused",
    "isv.CODE_ERROR": "account_refused",
    "isv.SMS_TEMPLATE_ILLEGAL": "account_refused",
    "isv.SMS_TEST_NUMBER_LIMIT": "account_refused",
    "isv.SMS_TEST_SIGN_TEMPLATE_LIMIT": "account_refused",
    "isv.TEMPLATE_MISSING_PARAMETERS": "content_refused",
    "isv.TEMPLATE_PARAMS_ILLEGAL": "content_refused",
    "isv.INVALID_JSON_PARAM": "content_refused",
    "isv.PARAM_LENGTH_LIMIT": "content_refused",
    "isv.PARAM_NOT_SUPPORT_URL": "content_refused",
    "isv.SMS_CONTENT_ILLEGAL": "content_refused",
    "isv.SMS_CONTENT_MISMATCH_TEMPLATE_TYPE": "content_refused",
    "isv.UNSUPPORTED_CONTENT": "content_refused",
    "isv.MOBILE_NUMBER_ILLEGAL": "number_invalid",
    "isv.DOMESTIC_NUMBER_NOT_SUPPORTED": "destination_not_served",
    "isv.NOT_SUPPORTED_COUNTRY": "destination_not_served",
    "isv.COUNTRY_RESTRICTED": "destination_not_served",
    "isv.BUSINESS_LIMIT_CONTROL": "over_limit",
    "isv.BLACK_KEY_CONTROL_LIMIT": "blocked",
    "isv.CUSTOMER_REFUSED": "opted_out",
}
"""https://help.aliyun.com/zh/sms/developer-reference/api-error-codes"""

RECEIPTS: dict[str, str] = {
    "MOBILE_NOT_ON_SERVICE": "not_reachable",
    "MOBILE_ACCOUNT_ABNORMAL": "not_reachable",
    "MOBLLE_TERMINAL_ERROR": "phone_full",  # spelled like this
    "MOBILE_SEND_LIMIT": "over_limit",
    "MOBILE_IN_BLACK": "blocked",
    "USER_REJECT": "opted_out",
    "INVALID_NUMBER": "number_invalid",
    "CONTENT_KEYWORD": "spam_filtered",
    "CONTENT_ERROR": "content_refused",
    "SIGNATURE_BLACKLIST": "account_refused",
    "PORT_NOT_REGISTERED": "account_refused",
    "PARAMS_ILLEGAL": "account_refused",
    "SP_NOT_BY_INTER_SMS": "destination_not_served",
    "NO_ROUTE": "destination_not_served",
    "IS_CLOSE": "provider_down",
    "SP_UNKNOWN_ERROR": "technical_fault",
    "REQUEST_SUCCESS": "no_receipt",  # it was handed on, and its carrier never said a word
    **CODES,
}
"""https://help.aliyun.com/zh/sms/developer-reference/delivery-receipt-error-codes"""

FAILED, DELIVERED = 2, 3
"""`SendStatus` of a detail; 1: its receipt is awaited."""


def signed(
    held: Mapping[str, Any], host: str, action: str, version: str, parameters: Mapping[str, str], at: int, once: str
) -> tuple[str, dict[str, str]]:
    """The query and the headers of a POST without a body."""
    query = "&".join(f"{_escaped(name)}={_escaped(parameters[name])}" for name in sorted(parameters))
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
        "x-acs-date": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": once,
        "x-acs-version": version,
    }
    names = ";".join(headers)
    canonical = "\n".join(
        ("POST", "/", query, *(f"{n}:{v}" for n, v in headers.items()), "", names, headers["x-acs-content-sha256"])
    )
    to_sign = "ACS3-HMAC-SHA256\n" + hashlib.sha256(canonical.encode()).hexdigest()
    signature = hmac.digest(str(held.get("access_key_secret", "")).encode(), to_sign.encode(), "sha256").hex()
    key_id = held.get("access_key_id", "")
    return query, {
        **headers,
        "authorization": f"ACS3-HMAC-SHA256 Credential={key_id},SignedHeaders={names},Signature={signature}",
    }


def _escaped(text: str) -> str:
    return quote(text, safe="-_.~")


def _call(action: str, parameters: Mapping[str, str]) -> Reply | Outcome:
    query, headers = signed(account(NAME), HOST, action, VERSION, parameters, clock(), nonce())
    return ask("POST", f"https://{HOST}/?{query}", {**headers, "accept": "application/json"})


class Report(Entry):
    """An entry of a receipt."""

    report_time: str = ""
    success: bool
    err_code: str = ""
    biz_id: str = Field(min_length=1)
    out_id: str = ""

    def told(self) -> Sequence[Heard]:
        reason = None if self.success else _reason(self.err_code)
        at = china.seconds(self.report_time) or clock()
        return told(NAME, reason, at, code=self.err_code, reference=self.out_id, provider_id=self.biz_id)


class Answered(Entry):
    """What a phone answered (上行短信, `SmsUp`)."""

    phone_number: str = Field(pattern="^[0-9]{7,15}$")
    content: str
    send_time: str = ""

    def told(self) -> Sequence[Heard]:
        return said(NAME, _e164(self.phone_number), self.content, china.seconds(self.send_time))


TOLD: TypeAdapter[Report | Answered] = TypeAdapter(Report | Answered)


class AlibabaCloud:
    """Sends approved templates with their parameters."""

    traceable = True
    echoes = True

    @property
    def acknowledgement(self) -> dict[str, Any]:
        """Without it the same receipts come again."""
        return {"code": 0, "msg": "OK"}

    def send(self, reference: str, to: str, text: str, template: TemplateCall | None) -> Outcome:
        """By template; one that Alibaba has no copy of is none of its business."""
        held = account(NAME)
        if not held.get("access_key_id"):
            return NO_ACCOUNT
        approved = template_of(held, template)
        if template is None or approved is None:
            return NO_TEMPLATE
        reply = _call(
            "SendSms",
            {
                "PhoneNumbers": _number(to),
                "SignName": str(held.get("sign_name", "")),
                "TemplateCode": approved,
                "TemplateParam": json.dumps(dict(template.params), ensure_ascii=False, separators=(",", ":")),
                "OutId": reference,
            },
        )
        if isinstance(reply, Outcome):
            return reply
        answer = reply.body or {}
        code = str(answer.get("Code", ""))
        if code == "OK":
            return taken(answer.get("BizId"))
        if reason := reason_in(CODES, code, unknown=""):
            return Outcome(reason, code=code)
        return faulty(reply, code) or Outcome(REFUSED if code else IN_DOUBT, code=code)

    def look_up(self, reference: str, to: str, text: str, since: int, now: int) -> Outcome | None:
        """Among the messages of that day to that number; around midnight among those of both days."""
        for day in sorted({_day(since - CLOCKS_APART_S), _day(since + ATTEMPT_S + CLOCKS_APART_S)}):
            outcome = _looked_up(reference, to, day)
            if outcome is not None:
                return outcome
        return settled(since, now)

    def receipts(self, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Sequence[Heard]:
        """Proved by the token in the address."""
        prove(same(query.get("token"), account(NAME).get("receipts_token")))
        return [receipt for entry in each(body, TOLD) for receipt in entry.told()]


def _looked_up(reference: str, to: str, day: str) -> Outcome | None:
    """What became of a reference that was sent on a day; None where that day has none."""
    asked = {"PhoneNumber": _number(to), "SendDate": day, "PageSize": str(PAGE), "CurrentPage": "1"}
    reply = _call("QuerySendDetails", asked)
    if isinstance(reply, Outcome) or faulty(reply) or (reply.body or {}).get("Code") != "OK":
        return Outcome(IN_DOUBT)
    answer = reply.body or {}
    details = answer.get("SmsSendDetailDTOs", {}).get("SmsSendDetailDTO", [])
    found = next((detail for detail in details if detail.get("OutId") == reference), None)
    if found is None:
        return Outcome(IN_DOUBT) if int(answer.get("TotalCount", 0)) > len(details) else None
    if found.get("SendStatus") == FAILED:
        code = str(found.get("ErrCode", ""))
        return undelivered(_reason(code), code)
    return taken(status=Status.DELIVERED if found.get("SendStatus") == DELIVERED else None)


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, china.TIME).strftime("%Y%m%d")


def _reason(code: str) -> str:
    """Never None: what was not a success was not delivered, whatever its code says."""
    return reason_in(RECEIPTS, code, unknown="") or china.reason(code) or REFUSED


def _number(to: str) -> str:
    """Of China without its country code; of elsewhere with it."""
    return to.removeprefix("+86") if to.startswith("+86") else to.removeprefix("+")


def _e164(number: str) -> str:
    """The other way round: a number of China has 11 digits, and begins with 1."""
    return f"+86{number}" if len(number) == CHINA_DIGITS and number.startswith("1") else f"+{number}"
