"""Tencent Cloud SMS (腾讯云短信), API 2021-01-11 over HTTP, signed as TC3-HMAC-SHA256.

https://cloud.tencent.com/document/api/382/55981 (SendSms)
https://cloud.tencent.com/document/api/382/55980 (PullSmsSendStatusByPhoneNumber)
https://cloud.tencent.com/document/api/382/52071 (the signature)
https://cloud.tencent.com/document/product/382/5807 (receipts)

It sends its own, approved copy of a template. `SessionContext` is our reference. Receipts do not carry it, only the
`SerialNo` that Tencent gave the message; the look-up does, but knows only of messages whose receipt has come: that it
does not find one proves nothing, so one in doubt is never sent again through Tencent.
The account: `secret_id`, `secret_key`, `sdk_app_id`, `sign_name`, `region`, `templates` (`voucher.redeemed.zh-CN@1` →
template id) and `receipts_token`, which the address for receipts carries because Tencent signs none.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import Field, TypeAdapter

from functions.domain.message import Outcome, Status, TemplateCall
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
    prove,
    reason_in,
    said,
    same,
    taken,
    template_of,
    told,
    undelivered,
)
from functions.store.accounts import account

NAME = "tencent"
HOST = "sms.tencentcloudapi.com"
VERSION = "2021-01-11"
REGION = "ap-guangzhou"
CONTENT_TYPE = "application/json; charset=utf-8"
PAGE = 100
CLOCKS_APART_S = 60

CODES: dict[str, str] = {
    "RequestLimitExceeded": "carrier_congested",
    "LimitExceeded.GlobalSmsSendingRateLimit": "carrier_congested",
    "LimitExceeded.DeliveryFrequencyLimit": "over_limit",
    "LimitExceeded.PhoneNumberDailyLimit": "over_limit",
    "LimitExceeded.PhoneNumberOneHourLimit": "over_limit",
    "LimitExceeded.PhoneNumberThirtySecondLimit": "over_limit",
    "LimitExceeded.PhoneNumberSameContentDailyLimit": "over_limit",
    "LimitExceeded.AppCountryOrRegionInBlacklist": "destination_not_served",
    "LimitExceeded": "account_refused",
    "FailedOperation.PhoneNumberInBlacklist": "opted_out",
    "FailedOperation.ContainSensitiveWord": "content_refused",
    "FailedOperation.TemplateParamSetNotMatchApprovedTemplate": "content_refused",
    "FailedOperation.MarketingSendTimeConstraint": "quiet_hours",
    "FailedOperation.SignatureIncorrectOrUnapproved": "account_refused",
    "FailedOperation.TemplateIncorrectOrUnapproved": "account_refused",
    "FailedOperation.TemplateUnapprovedOrNotExist": "account_refused",
    "FailedOperation.InsufficientBalanceInSmsPackage": "account_refused",
    "FailedOperation.FailResolvePacket": "technical_fault",
    "FailedOperation.JsonParseFail": "technical_fault",
    "InternalError.Timeout": "no_reply",  # it may have been sent
    "InternalError.SendAndRecvFail": "no_reply",
    "InternalError": "technical_fault",
    "InvalidParameterValue.IncorrectPhoneNumber": "number_invalid",
    "InvalidParameterValue.ContentLengthLimit": "content_refused",
    "InvalidParameterValue.ProhibitedUseUrlInTemplateParameter": "content_refused",
    "InvalidParameterValue.TemplateParameterFormatError": "content_refused",
    "InvalidParameterValue.TemplateParameterLengthLimit": "content_refused",
    "InvalidParameterValue.SdkAppIdNotExist": "account_refused",
    "UnauthorizedOperation": "account_refused",
    "AuthFailure": "account_refused",
    "IpInBlacklist": "account_refused",
    "IpNotInWhitelist": "account_refused",
    "ResourceInsufficient": "account_refused",
    "ServiceUnavailable": "provider_down",
    "UnsupportedOperation.UnsupportedRegion": "destination_not_served",
    "UnsupportedOperation.ChineseMainlandTemplateToGlobalPhone": "destination_not_served",
    "UnsupportedOperation.GlobalTemplateToChineseMainlandPhone": "destination_not_served",
    "UnsupportedOperation.ContainDomesticAndInternationalPhoneNumber": "destination_not_served",
}
"""https://cloud.tencent.com/document/api/382/59177; a family's row stands for those of it that have none."""


def signed(held: Mapping[str, Any], host: str, service: str, action: str, body: bytes, at: int) -> dict[str, str]:
    """The headers of a POST of JSON."""
    headers = {"content-type": CONTENT_TYPE, "host": host, "x-tc-action": action.lower()}
    names = ";".join(headers)
    canonical = "\n".join(
        ("POST", "/", "", *(f"{n}:{v}" for n, v in headers.items()), "", names, hashlib.sha256(body).hexdigest())
    )
    date = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
    scope = f"{date}/{service}/tc3_request"
    to_sign = f"TC3-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"TC3{held.get('secret_key', '')}".encode()
    for part in (date, service, "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    credential = f"{held.get('secret_id', '')}/{scope}"
    return {
        "content-type": CONTENT_TYPE,
        "host": host,
        "x-tc-action": action,
        "x-tc-timestamp": str(at),
        "authorization": f"TC3-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}",
    }


def _call(action: str, parameters: Mapping[str, Any]) -> Reply | Outcome:
    held, body = account(NAME), json.dumps(parameters, ensure_ascii=False).encode()
    headers = signed(held, HOST, "sms", action, body, clock())
    headers |= {"x-tc-version": VERSION, "x-tc-region": str(held.get("region") or REGION)}
    return ask("POST", f"https://{HOST}/", headers, body)


class Report(Entry):
    """An entry of a receipt."""

    report_status: str
    errmsg: str = ""
    user_receive_time: str = ""
    sid: str = Field(min_length=1)

    def told(self) -> Sequence[Heard]:
        reason = None if self.report_status == "SUCCESS" else china.reason(self.errmsg) or REFUSED
        at = china.seconds(self.user_receive_time) or clock()
        return told(NAME, reason, at, code=self.errmsg, provider_id=self.sid)


class Answered(Entry):
    """What a phone answered (短信回复)."""

    nationcode: str = Field(pattern="^[0-9]{1,3}$")
    mobile: str = Field(pattern="^[0-9]{4,14}$")
    text: str
    time: int | None = None

    def told(self) -> Sequence[Heard]:
        return said(NAME, f"+{self.nationcode}{self.mobile}", self.text, self.time)


TOLD: TypeAdapter[Report | Answered] = TypeAdapter(Report | Answered)


class TencentCloud:
    """Sends approved templates with their parameters."""

    traceable = True
    echoes = False

    @property
    def acknowledgement(self) -> dict[str, Any]:
        """Without it the same receipts come again."""
        return {"result": 0, "errmsg": "OK"}

    def send(self, reference: str, to: str, text: str, template: TemplateCall | None) -> Outcome:
        """By template; one that Tencent has no copy of is none of its business."""
        held = account(NAME)
        if not held.get("secret_id"):
            return NO_ACCOUNT
        approved = template_of(held, template)
        if template is None or approved is None:
            return NO_TEMPLATE
        reply = _call(
            "SendSms",
            {
                "PhoneNumberSet": [to],
                "SmsSdkAppId": str(held.get("sdk_app_id", "")),
                "SignName": str(held.get("sign_name", "")),
                "TemplateId": approved,
                "TemplateParamSet": [value for _, value in template.params],
                "SessionContext": reference,
            },
        )
        answer, outcome = _answer(reply)
        if outcome is not None:
            return outcome
        (status, *_) = answer.get("SendStatusSet") or [{}]
        code = str(status.get("Code", ""))
        if code == "Ok":
            return taken(status.get("SerialNo"))
        return Outcome(reason_in(CODES, code) if code else IN_DOUBT, code=code)

    def look_up(self, reference: str, to: str, text: str, since: int, now: int) -> Outcome | None:
        """Never None: what is not found may have been taken all the same."""
        asked = {
            "PhoneNumber": to,
            "SmsSdkAppId": str(account(NAME).get("sdk_app_id", "")),
            "BeginTime": since - CLOCKS_APART_S,
            "EndTime": now,
            "Offset": 0,
            "Limit": PAGE,
        }
        answer, outcome = _answer(_call("PullSmsSendStatusByPhoneNumber", asked))
        found = (s for s in answer.get("PullSmsSendStatusSet") or () if s.get("SessionContext") == reference)
        status = next(found, None)
        if outcome is not None or status is None:
            return Outcome(IN_DOUBT)
        if status.get("ReportStatus") == "SUCCESS":
            return taken(status.get("SerialNo"), Status.DELIVERED)
        code = str(status.get("Description", ""))
        return undelivered(china.reason(code) or REFUSED, code, status.get("SerialNo"))

    def receipts(self, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Sequence[Heard]:
        """Proved by the token in the address."""
        prove(same(query.get("token"), account(NAME).get("receipts_token")))
        return [receipt for entry in each(body, TOLD) for receipt in entry.told()]


def _answer(reply: Reply | Outcome) -> tuple[dict[str, Any], Outcome | None]:
    """What is in `Response`, or what it comes to that there is none: Tencent answers 200 to what it refuses."""
    if isinstance(reply, Outcome):
        return {}, reply
    if (known := faulty(reply)) is not None:
        return {}, known
    answer = (reply.body or {}).get("Response")
    if not isinstance(answer, dict):
        return {}, Outcome(IN_DOUBT)
    if error := answer.get("Error"):
        code = str(error.get("Code", ""))
        return answer, Outcome(reason_in(CODES, code), code=code)
    return answer, None
