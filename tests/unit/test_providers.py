"""Each provider's exchanges in events/providers/, to the letter: what is sent and signed, and what answers mean."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import botocore.session
import pytest
import urllib3
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError
from botocore.stub import Stubber

from functions.domain.errors import Refusal
from functions.domain.health import Health
from functions.domain.message import CODE_MAX, REFERENCE_LENGTH_MAX, Outcome, Receipt, Status, TemplateCall
from functions.domain.reasons import IN_DOUBT, NO_RECEIPT, REASONS, REFUSED
from functions.domain.recipient import Said
from functions.domain.routing import by_default
from functions.notify import admission, providers
from functions.notify.admission import Seen, Worker
from functions.notify.models import ORDER, Received
from functions.notify.providers import alibaba, aws, base, china, simulated, tencent, twilio

ROOT: Final = Path(__file__).parents[2]
EXCHANGES: Final = ROOT / "events" / "providers"
RECEIPTS_URL: Final = "https://api.example.com/v1/receipts"
CARRIERS_URL: Final = "http://127.0.0.1:8788/local/carriers"
NAMED: Final = {"simulated": "simulated:north"}

Json = dict[str, Any]


def cases(
    member: str, *, among: tuple[str, ...] = ("alibaba", "tencent", "twilio", "simulated")
) -> pytest.MarkDecorator:
    """The exchanges that have a member, by provider and case."""
    found = [path for name in among for path in sorted((EXCHANGES / name).glob("*.json"))]
    wanted = [path for path in found if member in json.loads(path.read_text())]
    assert wanted
    return pytest.mark.parametrize("path", wanted, ids=lambda path: f"{path.parent.name}/{path.stem}")


class Wire:
    """In place of the network: takes the one request, and answers as it was recorded."""

    def __init__(self, response: Json) -> None:
        self.response = response
        self.taken: list[Json] = []

    def request(self, method: str, url: str, *, body: bytes | None, headers: dict[str, str], **how: Any) -> Any:
        assert how == {"timeout": base.CALL_TIMEOUT, "preload_content": False}
        sent: Json = {"method": method, "url": url, "headers": dict(headers)}
        self.taken.append(sent | ({"body": body.decode()} if body is not None else {}))
        match self.response:
            case {"error": "time-out"}:
                raise urllib3.exceptions.ReadTimeoutError(None, url, "read")  # type: ignore[arg-type]
            case {"error": "not connected"}:
                raise urllib3.exceptions.NewConnectionError(None, "refused")  # type: ignore[arg-type]
        return self

    @property
    def status(self) -> int:
        return int(self.response["status"])

    def read(self, most: int, *, decode_content: bool) -> bytes:
        assert decode_content and most == base.ANSWER_BYTES_MAX
        text: str = self.response.get("text") or json.dumps(self.response["body"], ensure_ascii=False)
        return text.encode()

    def close(self) -> None:
        pass


def prepare(monkeypatch: pytest.MonkeyPatch, exchange: Json) -> Wire:
    """The clock, the nonce, the account and the network as they were."""
    wire = Wire(exchange.get("response", {}))
    monkeypatch.setattr(base, "_pool", lambda: wire)
    for module in (alibaba, tencent, twilio):
        monkeypatch.setattr(module, "clock", lambda: exchange["clock"])
        monkeypatch.setattr(module, "account", lambda _: exchange["account"])
    monkeypatch.setattr(alibaba, "nonce", lambda: exchange["nonce"])
    monkeypatch.setenv(twilio.SMS_RECEIPTS_URL, RECEIPTS_URL)
    monkeypatch.setenv(simulated.SIMULATED_CARRIER_URL, CARRIERS_URL)
    monkeypatch.setenv(simulated.SIMULATED_CARRIER_SECRET, exchange.get("account", {}).get("secret", ""))
    monkeypatch.delenv(aws.SMS_ORIGINATION_IDENTITY, raising=False)
    return wire


def provider_of(path: Path) -> providers.Provider:
    return providers.named(NAMED.get(path.parent.name, path.parent.name))


def template_of(call: Json) -> TemplateCall:
    name, locale, version, params = (call[member] for member in ("name", "locale", "version", "params"))
    return TemplateCall(name, locale, version, tuple((param, value) for param, value in params))


def outcome_of(exchange: Json) -> Outcome | None:
    if exchange["outcome"] is None:
        return None
    status = exchange["outcome"].get("status")
    told = {name: exchange["outcome"].get(name) for name in ("reason", "provider_id", "code")}
    return Outcome(**told, status=Status(status) if status else None)


def without_nothing(outcome: Outcome | None) -> Outcome | None:
    """An empty code says no more than none."""
    return outcome and outcome._replace(code=outcome.code or None)


@cases("send")
def test_a_sending_is_what_was_recorded_and_so_is_what_comes_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = json.loads(path.read_text())
    wire, call = prepare(monkeypatch, exchange), exchange["send"]
    template = template_of(call["template"])
    outcome = provider_of(path).send(call["reference"], call["to"], call["text"], template)
    assert wire.taken == [exchange["request"]]
    assert without_nothing(outcome) == outcome_of(exchange)
    assert outcome.reason is None or outcome.reason in REASONS


@cases("look_up")
def test_a_look_up_is_what_was_recorded_and_so_is_what_comes_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = json.loads(path.read_text())
    wire, call = prepare(monkeypatch, exchange), exchange["look_up"]
    outcome = provider_of(path).look_up(call["reference"], call["to"], call["text"], call["since"], call["now"])
    assert wire.taken == [exchange["request"]]
    assert without_nothing(outcome) == outcome_of(exchange)


@pytest.mark.parametrize(
    ("clock", "days"),
    [
        ("2026-11-22T23:58:00+08:00", ["20261122"]),
        ("2026-11-22T23:59:55+08:00", ["20261122", "20261123"]),
        ("2026-11-23T00:00:30+08:00", ["20261122", "20261123"]),
    ],
)
def test_what_was_sent_at_midnight_is_looked_for_on_both_days(
    clock: str, days: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    since, asked = int(datetime.fromisoformat(clock).timestamp()), list[str]()

    def answer(_: str, parameters: dict[str, str]) -> base.Reply:
        asked.append(parameters["SendDate"])
        return base.Reply(200, {"Code": "OK", "TotalCount": 0, "SmsSendDetailDTOs": {"SmsSendDetailDTO": []}})

    monkeypatch.setattr(alibaba, "_call", answer)
    look_up = providers.named("alibaba").look_up
    assert look_up("msg_1-1", "+8613812345678", "text", since, since + base.SETTLED_S) is None
    assert asked == days
    assert look_up("msg_1-1", "+8613812345678", "text", since, since + 1) == Outcome(IN_DOUBT)


@cases("receipt")
def test_a_receipt_tells_what_was_recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = json.loads(path.read_text())
    prepare(monkeypatch, exchange)
    told = provider_of(path).receipts(
        exchange["receipt"]["headers"], exchange["receipt"]["query"], exchange["receipt"]["body"].encode()
    )
    receipts = [Receipt(**{**one, "status": Status(one["status"])}) for one in exchange["receipts"]]
    assert list(told) == [*receipts, *(Said(**one) for one in exchange.get("said", ()))]


@pytest.mark.parametrize("number", ["10690000", "+1069", "Kami", ""])
def test_a_reply_from_what_is_no_phone_is_none(number: str) -> None:
    assert base.said("p", number, "STOP", 1) == []


def test_a_reply_by_way_of_aws_is_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "clock", lambda: 7)
    told = {"originationNumber": "+14155552671", "messageBody": "STOP", "inboundMessageId": "i", "messageKeyword": "K"}
    assert aws.Answered.model_validate(told).told() == [Said("aws", "+14155552671", "STOP", 7)]


FORGERIES: Final = ("body", "proof", "no proof", "no secret", "reference")


@pytest.mark.parametrize("how", FORGERIES)
@cases("receipt")
def test_a_receipt_without_the_providers_proof_is_refused(
    path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = json.loads(path.read_text())
    name, receipt = path.parent.name, exchange["receipt"]
    in_the_address = name in ("alibaba", "tencent")
    if how == "body":
        if in_the_address:  # it proves who knows the address, and nothing about the body
            return
        receipt["body"] += "&To=%2B1" if name == "twilio" else " "
    elif how == "proof":
        for place in ("headers", "query"):
            receipt[place] = {n: "x" + v if n != "content-type" else v for n, v in receipt[place].items()}
    elif how == "no proof":
        kept = {"content-type": receipt["headers"]["content-type"]}
        receipt |= {"headers": kept, "query": {n: v for n, v in receipt["query"].items() if n != "token"}}
    elif how == "no secret":
        exchange["account"] = {}
        if in_the_address:
            receipt["query"]["token"] = ""
        elif name == "simulated":
            receipt["headers"][simulated.SIGNATURE] = simulated.signature("", receipt["body"].encode())
        else:
            told = parse_qs(receipt["body"], keep_blank_values=True)
            address = f"{RECEIPTS_URL}/twilio" + "".join(f"?reference={v}" for v in receipt["query"].values())
            receipt["headers"]["x-twilio-signature"] = twilio.signature("None", address, told)
    elif name == "twilio":
        receipt["query"] = {"reference": "msg_another-1"}
    else:
        return
    prepare(monkeypatch, exchange)
    with pytest.raises(Refusal) as refused:
        provider_of(path).receipts(receipt["headers"], receipt["query"], receipt["body"].encode())
    assert refused.value.key == "invalid_signature"


@pytest.mark.parametrize("name", ["alibaba", "tencent", "simulated"])
@pytest.mark.parametrize("body", [b"", b"{}", b"[", b'[{"nonsense": 1}]', b"[1]", b"null", b"\xff"])
def test_a_proved_receipt_that_makes_no_sense_is_refused(
    name: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = json.loads((EXCHANGES / name / "receipt.json").read_text())
    prepare(monkeypatch, exchange)
    headers = {simulated.SIGNATURE: simulated.signature("not-a-secret-3", body)}
    with pytest.raises(Refusal) as refused:
        providers.named(NAMED.get(name, name)).receipts(headers, exchange["receipt"]["query"], body)
    assert refused.value.key == "invalid_request"


# AWS, by botocore


@cases("send", among=("aws",))
def test_aws_is_asked_as_recorded_and_so_is_what_comes_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = json.loads(path.read_text())
    call, response = exchange["send"], exchange["response"]
    session = botocore.session.Session()
    session.set_credentials("key", "secret")
    sms = session.create_client("pinpoint-sms-voice-v2", region_name="eu-west-1")
    monkeypatch.setattr(aws, "client", lambda _: sms)
    for name, value in exchange["account"].items():
        monkeypatch.setenv(name, value)
    with Stubber(sms) as stub:
        expected = exchange["request"]["parameters"]
        if "error" in response:
            errors: dict[str, Exception] = {
                "time-out": ReadTimeoutError(endpoint_url="https://aws"),
                "hung up": ConnectionClosedError(endpoint_url="https://aws"),
                "not connected": ConnectTimeoutError(endpoint_url="https://aws"),
            }
            stub.deactivate()
            _fail(sms, errors[response["error"]])
        elif "body" in response:
            stub.add_response("send_text_message", response["body"], expected)
        else:
            stub.add_client_error(
                "send_text_message",
                response["code"],
                http_status_code=response["status"],
                modeled_fields=response["members"],
                expected_params=expected,
            )
        outcome = providers.named("aws").send(call["reference"], call["to"], call["text"], None)
        stub.assert_no_pending_responses()
    assert outcome == outcome_of(exchange)


def _fail(sms: Any, error: Exception) -> None:
    def fail(**_: Any) -> None:
        raise error

    sms.meta.events.register("before-send.pinpoint-sms-voice-v2.SendTextMessage", fail)


@cases("event", among=("aws",))
def test_an_event_of_aws_tells_what_was_recorded(path: Path) -> None:
    exchange = json.loads(path.read_text())
    told = aws.receipts(aws.Event.model_validate(exchange["event"]))
    assert told == [Receipt(**{**one, "status": Status(one["status"])}) for one in exchange["receipts"]]


def test_aws_has_no_look_up_and_no_receipts_over_http() -> None:
    provider = providers.named("aws")
    assert (provider.traceable, provider.look_up("r", "+1", "t", 0, 10**9)) == (False, Outcome(IN_DOUBT))
    with pytest.raises(Refusal) as refused:
        provider.receipts({}, {}, b"[]")
    assert refused.value.key == "not_found"


# the signatures that the providers publish themselves


def test_acs3_is_signed_as_alibaba_shows_it() -> None:
    """https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature, its fixed parameters."""
    query, headers = alibaba.signed(
        {"access_key_id": "YourAccessKeyId", "access_key_secret": "YourAccessKeySecret"},
        "ecs.cn-shanghai.aliyuncs.com",
        "RunInstances",
        "2014-05-26",
        {"RegionId": "cn-shanghai", "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"},
        1698315752,
        "3156853299f313e23d1673dc12e1703d",
    )
    assert query == "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai"
    assert headers["x-acs-date"] == "2023-10-26T10:22:32Z"
    assert headers["authorization"] == (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,"
        "SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,"
        "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


def test_what_is_signed_for_alibaba_is_escaped_as_rfc_3986_has_it() -> None:
    query, _ = alibaba.signed({}, "h", "A", "V", {"b": "x y*+/~é", "a": "1"}, 0, "n")
    assert query == "a=1&b=x%20y%2A%2B%2F~%C3%A9"


def test_tc3_is_signed_as_tencent_shows_it() -> None:
    """https://cloud.tencent.com/document/api/213/30654; the keys of the example are printed as asterisks, and are."""
    body = b'{"Limit": 1, "Filters": [{"Values": ["\\u672a\\u547d\\u540d"], "Name": "instance-name"}]}'
    assert hashlib.sha256(body).hexdigest() == "35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064"
    held = {"secret_id": "AKID" + "*" * 32, "secret_key": "*" * 32}
    headers = tencent.signed(held, "cvm.tencentcloudapi.com", "cvm", "DescribeInstances", body, 1551113065)
    assert headers["authorization"] == (
        f"TC3-HMAC-SHA256 Credential=AKID{'*' * 32}/2019-02-25/cvm/tc3_request, "
        "SignedHeaders=content-type;host;x-tc-action, "
        "Signature=10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f"
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"CallSid": "CA1234567890ABCDE", "Caller": "+14158675309", "Digits": "1234", "From": "+14158675309",
             "To": "+18005551212"},
            "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        ),
        ({"Sid": "CA123", "SidAccount": "AC123", "Digits": ["5678", "1234", "1234"]}, "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
    ],
)  # fmt: skip
def test_a_receipt_of_twilio_is_signed_as_twilio_shows_it(fields: Json, expected: str) -> None:
    """https://www.twilio.com/docs/usage/security and the tests of its own libraries."""
    listed = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    assert twilio.signature("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", listed) == expected


def test_twilio_is_asked_with_an_api_key_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = json.loads((EXCHANGES / "twilio" / "send.json").read_text())
    exchange["account"] |= {"key_sid": "SK1", "key_secret": "s", "messaging_service_sid": "MG1"}
    wire, call = prepare(monkeypatch, exchange), exchange["send"]
    assert providers.named("twilio").send(call["reference"], call["to"], call["text"], None).reason is None
    (sent,) = wire.taken
    assert b64decode(sent["headers"]["authorization"].removeprefix("Basic ")) == b"SK1:s"
    assert "MessagingServiceSid=MG1" in sent["body"] and "From=" not in sent["body"]


# the tables


def test_every_code_of_every_provider_has_a_reason_of_ours() -> None:
    tables: list[dict[str, Any]] = [aws.CODES, aws.EVENTS, alibaba.CODES, alibaba.RECEIPTS, tencent.CODES]
    tables += [twilio.CODES, china.STATES, china.FAMILIES]
    assert {reason for table in tables for reason in table.values()} <= {*REASONS, None}


def test_every_reason_of_aws_that_sending_can_meet_has_a_row_or_is_nothing_we_do() -> None:
    model: Any = botocore.session.get_session().get_service_model("pinpoint-sms-voice-v2")
    errors: Json = {shape.name: shape for shape in model.operation_model("SendTextMessage").error_shapes}
    assert set(errors) <= set(aws.CODES)
    known = {name for shape in errors.values() if "Reason" in shape.members for name in shape.members["Reason"].enum}
    assert set(aws.CODES) - set(errors) <= known
    events = {name for name in model.shape_for("EventTypeList").member.enum if name.startswith("TEXT_")}
    assert events - set(aws.EVENTS) == {"TEXT_ALL", "TEXT_SENT", "TEXT_PENDING", "TEXT_QUEUED"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("RequestLimitExceeded.IPLimitExceeded", "carrier_congested"),
        ("LimitExceeded.AppDailyLimit", "account_refused"),
        ("LimitExceeded.PhoneNumberDailyLimit", "over_limit"),
        ("AuthFailure.MFAFailure", "account_refused"),
        ("InvalidParameterValue.New", REFUSED),
        ("", REFUSED),
    ],
)
def test_of_a_family_of_codes_the_nearest_row_counts(code: str, reason: str) -> None:
    assert base.reason_in(tencent.CODES, code) == reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [("DELIVRD", None), ("MK:0001", "number_invalid"), ("MK:9999", "not_reachable"), ("XX:1", REFUSED), ("", REFUSED),
     ("HIGRISK", REFUSED), ("IB:0064", "technical_fault")],
)  # fmt: skip
def test_what_carriers_of_china_say(code: str, reason: str | None) -> None:
    assert china.reason(code) == reason


def test_a_carriers_silence_is_no_receipt_and_a_long_code_is_cut() -> None:
    assert base.told("p", NO_RECEIPT, 0, code="x") == []
    (receipt,) = base.told("p", REFUSED, 0, code="x" * 1_000, provider_id="y" * 1_000)
    assert (len(receipt.code or ""), len(receipt.provider_id or "")) == (CODE_MAX, base.ID_LENGTH_MAX)


def test_a_receipt_of_another_sender_or_of_no_time_is_no_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alibaba, "account", lambda _: {"receipts_token": "t"})
    monkeypatch.setattr(alibaba, "clock", lambda: 7)
    report = {"success": True, "biz_id": "b", "report_time": "1970-01-01 00:00:00"}
    another = json.dumps([report | {"out_id": "z" * (REFERENCE_LENGTH_MAX + 1)}]).encode()
    assert providers.named("alibaba").receipts({}, {"token": "t"}, another) == []
    ours = json.dumps([report | {"out_id": "z" * REFERENCE_LENGTH_MAX}]).encode()
    (receipt,) = providers.named("alibaba").receipts({}, {"token": "t"}, ours)
    assert isinstance(receipt, Receipt) and receipt.at == 7
    told = {name: value for name, value in receipt._asdict().items() if value is not None}
    assert isinstance(ORDER.validate_json(json.dumps({"receipt": told})), Received)


def test_a_template_that_one_provider_has_no_copy_of_says_nothing_about_its_health(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted = list[str]()

    def note(provider: str, *_: object) -> Health:
        noted.append(provider)
        return Health(provider)

    monkeypatch.setattr(admission, "_change", note)
    seen = Seen(by_default(["p"], None), {"p": Health("p")})
    for outcome in (base.NO_TEMPLATE, base.NO_ACCOUNT):
        Worker().note("p", outcome, 0.0, seen, "turn", 0)
    assert noted == ["p"]


@pytest.mark.parametrize("name", ["alibaba", "tencent", "twilio"])
def test_without_an_account_or_an_approved_template_nothing_is_asked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = json.loads((EXCHANGES / name / "send.json").read_text())
    call, held = exchange["send"], exchange["account"]
    other = template_of({**call["template"], "version": 2})
    for account, template, code in (
        ({}, other, "no account"),
        (held, other, "no template"),
        (held, None, "no template"),
    ):
        wire = prepare(monkeypatch, {**exchange, "account": account})
        outcome = providers.named(name).send(call["reference"], call["to"], call["text"], template)
        if name == "twilio" and account:
            assert outcome.reason is None  # it sends text
        else:
            assert (outcome, wire.taken) == (Outcome("account_refused", code=code), [])
