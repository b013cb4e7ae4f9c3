"""What the payloads in events/ name in `${…}`: made through the API when a payload asks for it.

`${token:<role>}` is an access token of that role's demo client, `${basic:<role>}` its credentials for HTTP Basic. The
other names are those of `MAKERS`; within one payload they belong together: `${code}` is the code of `${serial}`.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from functions.domain.campaign import LOTS_PER_CALL_MAX
from functions.domain.serials import LOT_SIZE
from infra.local.carriers import NAMES

if TYPE_CHECKING:
    from infra.local.cloud import Cloud

Json = dict[str, Any]
SMALL: Final = 10
CUSTOMER: Final = "customer-1001"
RECIPIENT: Final = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
"""A public key; nobody here has its other half."""
BOUGHT: Final = b"code,reference\r\nSAMPLE-0001,a\r\nSAMPLE-0002,b\r\nSAMPLE-0001,c\r\n,d\r\n"
"""A file of bought codes, two lines of which are refused."""
LARGE: Final = (LOTS_PER_CALL_MAX + 1) * LOT_SIZE
"""So many vouchers are generated and activated as a job."""


class Samples:
    """The things of one payload, each made when it is first named."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._made: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """The value of a name. Raises `KeyError` where there is no such name."""
        kind, _, role = name.partition(":")
        if kind == "token":
            return self._cloud.token(role)
        if kind == "basic":
            return b64encode(":".join(self._cloud.demo_client(role)).encode()).decode()
        if name not in self._made:
            self._made[name] = MAKERS[name](self)
        return self._made[name]

    def post(self, path: str, body: Json | None, role: str = "operator", key: str | None = None) -> Json:
        """What a request makes."""
        headers = {"idempotency-key": key or "sample"} if role == "merchant" or key else {}
        answer = self._cloud.request("POST", path, headers=headers, body=body, token=self._cloud.token(role))
        if answer.status >= 400:
            raise RuntimeError(f"POST {path}: {answer.status} {answer.body.decode()}")
        made: Json = answer.json()
        return made

    def upload(self, import_id: str, content: bytes) -> None:
        """Put the file of an import."""
        bucket = self._cloud.stack.functions["generate"].environment["UPLOADS_BUCKET"]
        self._cloud.client("s3").put_object(Bucket=bucket, Key=import_id, Body=content)

    def drain(self) -> None:
        """Have all jobs done."""
        self._cloud.drain()


def _receipts_token(samples: Samples) -> str:
    arn = samples._cloud.stack.functions["notify"].environment["SMS_ACCOUNT_ALIBABA"]
    secret = samples._cloud.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    return str(json.loads(secret)["receipts_token"])


def inbox(cloud: Cloud, name: str) -> str:
    """An address here that takes webhooks."""
    url = cloud.stack.functions["notify"].environment["SIMULATED_CARRIER_URL"]
    return f"{url.removesuffix('carriers')}webhooks/{name}"


def _webhook(samples: Samples) -> str:
    body = {"url": inbox(samples._cloud, "sample"), "events": ["voucher.redeemed", "message.ended"]}
    return str(samples.post("/v1/webhooks", body, key=str(uuid.uuid4()))["id"])


def _delivery(samples: Samples) -> str:
    return str(samples.post(f"/v1/webhooks/{samples('webhook')}/tests", None, key=str(uuid.uuid4()))["id"])


def _replayed_delivery(samples: Samples) -> str:
    id = _delivery(samples)
    samples.post(f"/v1/webhooks/{samples('webhook')}/deliveries/{id}/replays", None, key=str(uuid.uuid4()))
    return id


def _campaign(samples: Samples) -> str:
    face_value = {"amount_minor": 5000, "currency": "CNY"}
    body = {"name": "Sample", "kind": "gift", "face_value": face_value, "redemption": "balance"}
    return str(samples.post("/v1/campaigns", {**body, "valid_days_after_activation": 365})["id"])


def _ending_campaign(samples: Samples) -> str:
    face_value = {"amount_minor": 5000, "currency": "CNY"}
    body = {"name": "Sample", "kind": "gift", "face_value": face_value, "redemption": "balance"}
    ends = {"valid_until": "2099-12-31T16:00:00Z", "reclaim_unactivated_after_days": 30}
    return str(samples.post("/v1/campaigns", {**body, **ends})["id"])


def _batch(quantity: int, samples: Samples) -> str:
    return str(samples.post(f"/v1/campaigns/{samples('campaign')}/batches", {"quantity": quantity})["id"])


def _serial(batch: str, samples: Samples) -> str:
    answer = samples._cloud.request(
        "GET", f"/v1/batches/{samples(batch)}/vouchers?limit=1", token=samples("token:operator")
    )
    return str(answer.json()["data"][0]["serial"])


def _activation(batch: str, samples: Samples) -> str:
    return str(samples.post("/v1/activations", {"selection": {"batch": samples(batch)}})["id"])


def _channel(samples: Samples) -> str:
    return str(samples.post("/v1/channels", {"kind": "offline", "name": "Sample", "region": "Shanghai"})["id"])


def _distribution(samples: Samples) -> str:
    order = {"selection": {"batch": samples("inactive_batch")}, "to": samples("channel")}
    return str(samples.post("/v1/distributions", order)["id"])


def _stocked_campaign(samples: Samples) -> str:
    samples("batch")
    return samples("campaign")


def _dispense(samples: Samples) -> str:
    order = {"campaign": samples("stocked_campaign"), "quantity": 2}
    return str(samples.post("/v1/dispenses", order, key=f"dispense-{order['campaign']}")["id"])


def _dispensed_code(samples: Samples) -> str:
    order = {"campaign": samples("stocked_campaign"), "quantity": 1}
    return str(samples.post("/v1/dispenses", order, key=f"code-{order['campaign']}")["data"][0]["code"])


def _extension(samples: Samples) -> str:
    order = {"selection": {"batch": samples("inactive_batch")}, "days": 30}
    return str(samples.post("/v1/extensions", order)["id"])


def _code(serial: str, samples: Samples) -> str:
    return str(samples.post("/v1/reveals", {"serials": [samples(serial)], "reason": "sample"})["data"][0]["code"])


def _active_code(samples: Samples) -> str:
    samples("activation")
    return _code("serial", samples)


def _redemption(samples: Samples) -> str:
    order = {"code": samples("code"), "account": {"type": "mobile", "number": "+8613812345678"}}
    return str(samples.post("/v1/redemptions", order, role="merchant")["id"])


def _entered_redemption(samples: Samples) -> str:
    samples("redemption")
    samples.drain()
    return samples("redemption")


def _reconciliation(samples: Samples) -> str:
    return str(samples.post("/v1/reconciliations", {"selection": {"batch": samples("batch")}})["id"])


def _claimed_serial(samples: Samples) -> str:
    samples.post("/v1/claims", {"code": samples("code"), "customer": CUSTOMER}, key="sample")
    return samples("serial")


def _offer(samples: Samples) -> Json:
    """Asked for again it is the same."""
    return samples.post("/v1/transfers", {"serial": samples("claimed_serial"), "customer": CUSTOMER}, key="sample")


def _transfer(samples: Samples) -> str:
    return str(_offer(samples)["id"])


def _transfer_token(samples: Samples) -> str:
    return str(_offer(samples)["token"])


def _hold(samples: Samples) -> str:
    order = {"code": samples("code"), "amount_minor": 2000}
    return str(samples.post("/v1/holds", order, role="merchant")["id"])


def _recovery(samples: Samples) -> str:
    selection = {"batch": samples("inactive_batch")}
    return str(samples.post("/v1/recoveries", {"selection": selection, "action": "void", "reason": "stolen"})["id"])


def _erasure(samples: Samples) -> str:
    body = {"number": "+8613812345699", "reason": "request_of_the_person"}
    return str(samples.post("/v1/erasures", body, key="sample")["id"])


def _awaiting_recovery(samples: Samples) -> str:
    face_value = {"amount_minor": 5000, "currency": "CNY"}
    body = {"name": "Sample", "kind": "gift", "face_value": face_value, "redemption": "single"}
    rules = {"allow": [{"roles": ["operator"], "actions": ["void"], "vouchers_alone": SMALL - 1}]}
    campaign = samples.post("/v1/campaigns", {**body, "valid_days_after_activation": 365, "recovery_rules": rules})
    batch = samples.post(f"/v1/campaigns/{campaign['id']}/batches", {"quantity": SMALL})
    order = {"selection": {"batch": batch["id"]}, "action": "void", "reason": "stolen"}
    return str(samples.post("/v1/recoveries", order)["id"])


def _digest(samples: Samples) -> str:
    path = f"/v1/recoveries/{samples('awaiting_recovery')}"
    answer = samples._cloud.request("GET", path, token=samples("token:approver"))
    return str(answer.json()["approval"]["digest"])


def _export(batch: str, samples: Samples) -> str:
    return str(samples.post(f"/v1/batches/{samples(batch)}/exports", {"recipient": RECIPIENT})["id"])


def _done_export(samples: Samples) -> str:
    export = _export("batch", samples)
    samples.drain()
    return export


def _ticket(samples: Samples) -> str:
    return str(samples.post(f"/v1/exports/{samples('export')}/tickets", None)["ticket"])


def _import_campaign(samples: Samples) -> str:
    face_value = {"amount_minor": 5000, "currency": "CNY"}
    body = {"name": "Bought", "kind": "stock", "face_value": face_value, "redemption": "single"}
    return str(
        samples.post("/v1/campaigns", {**body, "valid_days_after_activation": 365, "code_format": "imported"})["id"]
    )


def _new_import(samples: Samples) -> str:
    order = {"campaign": samples("import_campaign"), "size": len(BOUGHT)}
    return str(samples.post("/v1/imports", order, key=str(uuid.uuid4()))["id"])


def _uploaded_import(samples: Samples) -> str:
    id = _new_import(samples)
    samples.upload(id, BOUGHT)
    return id


def _started_import(samples: Samples) -> str:
    id = _uploaded_import(samples)
    samples.post(f"/v1/imports/{id}/starts", None)
    return id


def _import(samples: Samples) -> str:
    id = _started_import(samples)
    samples.drain()
    return id


def _message(samples: Samples) -> str:
    redemption = samples("redemption")
    samples.drain()
    answer = samples._cloud.request("GET", f"/v1/messages?redemption={redemption}", token=samples("token:support"))
    return str(answer.json()["data"][0]["id"])


def _unsent_message(samples: Samples) -> str:
    """One that both carriers refused."""
    carriers = samples._cloud.carriers
    for name in NAMES:
        carriers.set(name, "refuse", error="blocked")
    message = _message(samples)
    carriers.reset()
    return message


def _complaint(samples: Samples) -> str:
    return str(samples.post(f"/v1/messages/{samples('message')}/complaints", {})["id"])


def _record(samples: Samples) -> str:
    """With what a job leaves to be done."""
    id = str(samples.post("/v1/audit/exports", {})["id"])
    samples.drain()
    return id


def _open_record(samples: Samples) -> str:
    return str(samples.post("/v1/audit/exports", {})["id"])


def _large_batch(samples: Samples) -> str:
    return _batch(LARGE, samples)


def _large_activation(samples: Samples) -> str:
    samples("large_batch")
    samples.drain()
    return _activation("large_batch", samples)


MAKERS: Final[dict[str, Callable[[Samples], str]]] = {
    "receipts_token": _receipts_token,
    "campaign": _campaign,
    "ending_campaign": _ending_campaign,
    "batch": partial(_batch, SMALL),
    "serial": partial(_serial, "batch"),
    "activation": partial(_activation, "batch"),
    "code": _active_code,
    "redemption": _redemption,
    "entered_redemption": _entered_redemption,
    "hold": _hold,
    "inactive_batch": partial(_batch, SMALL),
    "inactive_serial": partial(_serial, "inactive_batch"),
    "inactive_code": partial(_code, "inactive_serial"),
    "channel": _channel,
    "distribution": _distribution,
    "extension": _extension,
    "stocked_campaign": _stocked_campaign,
    "dispense": _dispense,
    "dispensed_code": _dispensed_code,
    "claimed_serial": _claimed_serial,
    "transfer": _transfer,
    "transfer_token": _transfer_token,
    "recovery": _recovery,
    "reconciliation": _reconciliation,
    "erasure": _erasure,
    "awaiting_recovery": _awaiting_recovery,
    "digest": _digest,
    "export": _done_export,
    "open_export": partial(_export, "batch"),
    "ticket": _ticket,
    "import_campaign": _import_campaign,
    "new_import": _new_import,
    "uploaded_import": _uploaded_import,
    "started_import": _started_import,
    "import": _import,
    "message": _message,
    "unsent_message": _unsent_message,
    "complaint": _complaint,
    "inbox": lambda samples: inbox(samples._cloud, "sample"),
    "webhook": _webhook,
    "delivery": _delivery,
    "replayed_delivery": _replayed_delivery,
    "record": _record,
    "open_record": _open_record,
    "large_batch": _large_batch,
    "large_activation": _large_activation,
}
"""Name → how it is made. What is large is under way: its jobs wait in the queues."""
