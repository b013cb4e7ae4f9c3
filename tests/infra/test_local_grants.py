"""Every grant in the stack is needed: without it, one of the calls made here would have been denied.

The functions run as processes, because in one process they share caches, and one function's key serves another.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import requests

from functions.domain.lot import COMMANDS_PER_LOT_MAX, SEGMENTS_PER_LOT_MAX
from functions.domain.reclaim import NOTICE_MIN_S, Reclaim
from functions.domain.stepup import STEP_S, code_at
from functions.edge import clock
from functions.store import keys, stepup, table
from functions.store.records import CAMPAIGN
from functions.store.wire import write
from infra.local.carriers import NAMES
from infra.local.cloud import Cloud
from infra.local.samples import LARGE, RECIPIENT, inbox
from infra.local.template import synthesized
from tests.integration.kami import NOBODY, Caller, Kami, claim, granted, mobile, refused, reminded, unique

pytestmark = pytest.mark.xdist_group("grants")
QUEUE = "sqs:SendMessage on arn:aws:sqs:us-east-1:123456789012:"
NOT_HERE = (
    "sms-voice:SendTextMessage on ",  # to simulated carriers here; integration/test_providers.py has this call
    # for ids that only Tencent gives: integration/test_receipts.py
    "dynamodb:PutItem where dynamodb:LeadingKeys is POINTER#",
    *(QUEUE + jobs for jobs in ("GenerateJobs", "DistributeJobs", "RecoverJobs")),  # after 50 s of work: test_jobs.py
)


def forged(code: str) -> str:
    """The same voucher's place, but not its secret."""
    return code[:-1] + ("0" if code[-1] != "0" else "1")


def use_everything(kami: Kami) -> None:
    """Each function's whole repertoire, once."""
    granted(kami.cloud.request("GET", "/.well-known/jwks.json"))
    single, balance = kami.voucher(), kami.voucher(redemption="balance")
    granted(kami.merchant.verify(single.code))
    refused(kami.merchant.verify(forged(single.code)), 404, "voucher_not_redeemable")  # and counted
    redemption = granted(kami.merchant.redeem(balance.code, amount_minor=2000), 201)
    granted(kami.merchant.get(f"/v1/redemptions/{redemption['id']}"))
    granted(kami.merchant.reverse(redemption["id"]), 201)
    refused(kami.merchant.redeem(forged(single.code)), 404, "voucher_not_redeemable")
    granted(kami.operator.get(f"/v1/vouchers/{single.serial}"))
    campaign = kami.campaign()
    granted(kami.operator.get(f"/v1/campaigns/{campaign['id']}"))
    granted(kami.operator.get("/v1/campaigns?limit=1"))
    large = kami.operator.post(f"/v1/campaigns/{campaign['id']}/batches", {"quantity": LARGE}).json()
    kami.cloud.drain()
    granted(kami.operator.get(f"/v1/batches/{large['id']}"))
    kami.serials(large["id"])
    activation = kami.operator.post("/v1/activations", {"selection": {"batch": large["id"]}}).json()
    kami.cloud.drain()
    assert granted(kami.operator.get(f"/v1/activations/{activation['id']}"))["status"] == "completed"
    split_a_lot(kami, campaign["id"])
    export_a_batch(kami, campaign["id"])
    import_codes(kami)


def import_codes(kami: Kami) -> None:
    """Twice the same, so that the second time all lines are refused; then a code is shown."""
    campaign = kami.campaign(code_format="imported")["id"]
    done, again = (kami.imported(campaign, b"code\nA-1\nA-2\n") for _ in range(2))
    assert (done["accepted"], again["refused"]["by_reason"]) == (2, {"duplicate_in_stock": 2})
    assert kami.codes(kami.serials(done["batch"])) == ["A-1", "A-2"]
    granted(kami.operator.post("/v1/dispenses", {"campaign": campaign, "quantity": 1}, unique()), 201)


def split_a_lot(kami: Kami, campaign: str) -> None:
    """More commands than a lot remembers, then more segments than it may have: vouchers get items of their own."""
    batch = kami.batch(campaign, 100)["id"]
    serials = kami.serials(batch)
    for serial in serials[: COMMANDS_PER_LOT_MAX + 1]:
        kami.activate(serials=[serial])
    kami.activate(serials=serials[-2 * SEGMENTS_PER_LOT_MAX :: 2])
    kami.cloud.drain()
    counts = granted(kami.operator.get(f"/v1/batches/{batch}"))["counts"]
    assert counts["active"] == COMMANDS_PER_LOT_MAX + 1 + SEGMENTS_PER_LOT_MAX


def export_a_batch(kami: Kami, campaign: str) -> None:
    """The second job finds the first file there already, as if it had not heard of it."""
    batch = kami.batch(campaign, 1)["id"]
    order = kami.operator.post(f"/v1/batches/{batch}/exports", {"recipient": RECIPIENT})
    export = granted(order, 202)["id"]
    bucket = kami.cloud.stack.functions["generate"].environment["EXPORTS_BUCKET"]
    about = {"sha256": "", "seal": ""}
    kami.cloud.client("s3").put_object(Bucket=bucket, Key=f"{export}/manifest", Body=b"", Metadata=about)
    kami.cloud.drain()
    ticket = granted(kami.operator.post(f"/v1/exports/{export}/tickets", None), 201)["ticket"]
    answer = kami.cloud.request("GET", f"/v1/exports/{export}/files/1?ticket={ticket}")
    assert answer.status == 303
    link = str(answer.header("location"))
    assert requests.get(link, timeout=10).content.startswith(b"age-encryption.org/v1")


def use_channels(kami: Kami) -> None:
    """Stock of several kinds, some of it touched, on its way to channels and back."""
    shops = [kami.channel()["id"] for _ in range(2)]
    batch = kami.batch(kami.campaign()["id"], 10)["id"]
    kami.distribute(to=shops[0], batch=batch)
    serials = kami.serials(batch)
    kami.activate(serials=serials[:2])
    granted(kami.merchant.redeem(kami.codes(serials[:1])[0]), 201)
    kami.cloud.drain()
    assert kami.stock(shops[0])["counts"] == {"redeemed": 1, "active": 1, "distributed": 8}
    moved = kami.distribute(source=shops[0], to=shops[1], serials=serials[4:])
    granted(kami.operator.get(f"/v1/distributions/{moved['id']}"))
    granted(kami.operator.post("/v1/distributions", {"batch": batch, "quantity": 1, "from": shops[1]}), 201)
    granted(kami.operator.get(f"/v1/channels/{shops[0]}"))
    granted(kami.operator.get("/v1/channels?limit=1"))
    extend_single_vouchers(kami)
    dispense_and_reclaim(kami)
    give_a_voucher(kami)


def dispense_and_reclaim(kami: Kami) -> None:
    """Stock is drawn, and what a reclaim sets free is supplied again."""
    campaign = kami.campaign(claims_per_customer=1)["id"]
    kami.batch(campaign, 2)
    order = {"campaign": campaign, "quantity": 1}
    made = granted(kami.operator.post("/v1/dispenses", order, unique()), 201)
    granted(kami.operator.get(f"/v1/dispenses/{made['id']}"))
    claim = {"code": made["data"][0]["code"], "customer": unique("customer")}
    granted(kami.operator.post("/v1/claims", claim, unique()), 201)
    granted(kami.operator.post("/v1/recoveries", kami.recovery("reclaim", serials=[made["data"][0]["serial"]])), 202)
    kami.cloud.drain()
    claimed = granted(
        kami.operator.post("/v1/claims", {"campaign": campaign, "customer": unique("customer")}, unique()), 201
    )
    granted(kami.operator.post("/v1/recoveries", kami.recovery("reissue", serials=[claimed["serial"]])), 202)
    kami.cloud.drain()
    partner = kami.client("partner")
    card = kami.serials(kami.batch(campaign, 1)["id"])
    kami.distribute(to=kami.channel(kind="partner", tenant=partner.tenant)["id"], serials=card)
    granted(partner.post("/v1/recoveries", {**kami.recovery(serials=card), "reason": "stolen"}), 202)


def extend_single_vouchers(kami: Kami) -> None:
    """More scattered than a lot takes: activated with ends of their own, which are then extended."""
    batch = kami.batch(kami.campaign()["id"], 100)["id"]
    kami.activate(serials=kami.serials(batch)[:: 100 // SEGMENTS_PER_LOT_MAX])
    kami.cloud.drain()
    extension = granted(kami.operator.post("/v1/extensions", {"selection": {"batch": batch}, "days": 1}), 201)
    assert extension["extended"] == 100
    granted(kami.operator.get(f"/v1/extensions/{extension['id']}"))


def give_a_voucher(kami: Kami) -> None:
    """The first who tries to accept it guesses wrong."""
    order = {"serial": claim(kami, kami.voucher(), "giver").serial, "customer": "giver"}
    made = granted(kami.operator.post("/v1/transfers", order, unique()), 201)
    path, receiver = f"/v1/transfers/{made['id']}/acceptances", {"customer": "receiver"}
    refused(kami.operator.post(path, {**receiver, "token": "x"}, unique()), 404, "transfer_not_valid")
    granted(kami.operator.post(path, {**receiver, "token": made["token"]}, unique()), 201)
    assert len(granted(kami.operator.get("/v1/customers/receiver/vouchers"))["data"]) == 1


def erase_somebody(kami: Kami) -> None:
    """Who claimed, used and was told."""
    number, campaign = mobile(), kami.campaign(claims_per_customer=1)["id"]
    kami.batch(campaign, 1)
    granted(kami.operator.post("/v1/claims", {"customer": number, "campaign": campaign}, unique()), 201)
    granted(kami.operator.put("/v1/recipients", {"number": number, "zone": "Europe/Berlin"}))
    granted(kami.merchant.redeem(kami.voucher().code, account=number), 201)
    kami.cloud.drain()
    order = {"number": number, "reason": "other"}
    id = granted(kami.operator.post("/v1/erasures", order, unique()), 202)["id"]
    kami.cloud.drain(delayed=False)
    assert granted(kami.operator.get(f"/v1/erasures/{id}"))["erased"] == {"vouchers": 2, "messages": 1}


def use_the_sandbox(kami: Kami) -> None:
    """Its codes are computed and checked with a key of its own, by each function that does so."""
    till, app = kami.client("merchant", sandbox=True), kami.client("customer", sandbox=True)
    card = kami.voucher(sandbox=True)
    granted(till.verify(card.code))
    granted(till.redeem(card.code), 201)
    campaign = kami.campaign(sandbox=True)["id"]
    kami.batch(campaign, 1)
    granted(app.post("/v1/claims", {"customer": "customer", "campaign": campaign}, unique()), 201)


def use_the_rest(kami: Kami) -> None:
    """What follows from the stream, and recoveries of what was touched and what was not."""
    used = kami.voucher()
    number = mobile()
    redemption = granted(kami.merchant.redeem(used.code, account=number), 201)
    for carrier in ("north", "south"):
        kami.cloud.carriers.set(carrier, "down")
    kami.cloud.drain(delayed=False)
    kami.cloud.carriers.reset()
    granted(kami.merchant.reverse(redemption["id"]), 201)
    kami.cloud.drain()
    sent = granted(kami.operator.get(f"/v1/messages?recipient=%2B{number[1:]}&limit=1"))["data"]
    granted(kami.operator.get(f"/v1/messages/{sent[0]['id']}"))
    ask_about_messages(kami)
    granted(kami.operator.get(f"/v1/vouchers/{used.serial}/history?limit=1"))
    granted(kami.operator.get(f"/v1/vouchers/{used.serial}/ledger"))
    overdraw(kami, used.serial)
    batch = kami.batch(kami.campaign()["id"], 100)["id"]
    kami.activate(batch=batch)
    serials = kami.serials(batch)
    code = kami.codes(serials[:1])[0]
    granted(kami.merchant.redeem(code), 201)
    held = kami.voucher(redemption="balance")
    granted(kami.merchant.redeem(held.code, amount_minor=100), 201)
    for selection in (
        {"serials": [held.serial]},
        {"batch": batch},
        {"serials": serials[1:2]},
        {"serials": [used.serial]},
    ):
        order = {"selection": selection, "action": "void", "reason": "stolen"}
        kami.operator.post("/v1/recoveries", order, unique())
        kami.cloud.drain()
    granted(kami.operator.get("/v1/recoveries?limit=1"))
    granted(kami.operator.get("/v1/recoveries/statistics"))
    poison = {**keys.voucher(0)._asdict(), "entity": "voucher", "version": 1, "last": {"command": "none"}}
    item = {name: write(value) for name, value in poison.items()}
    kami.cloud.client("dynamodb").put_item(TableName=kami.cloud.stack.tables[0], Item=item)
    kami.cloud.drain()


def ask_about_messages(kami: Kami) -> None:
    """One that no carrier took: lists, a complaint with its outcome, a resend, and statistics."""
    voucher = kami.voucher()
    granted(kami.merchant.redeem(voucher.code, account=mobile()), 201)
    for name in NAMES:
        kami.cloud.carriers.set(name, "refuse", error="blocked")
    kami.cloud.drain()
    kami.cloud.carriers.reset()
    (message,) = granted(kami.operator.get(f"/v1/messages?voucher={voucher.serial}"))["data"]
    path = f"/v1/messages/{message['id']}"
    complaint = granted(kami.operator.post(f"{path}/complaints", {}), 201)["id"]
    granted(kami.operator.post(f"/v1/complaints/{complaint}/outcomes", {"outcome": "resent"}, unique()), 201)
    granted(kami.operator.get("/v1/complaints?limit=1"))
    granted(kami.operator.post(f"{path}/resends", {}, unique()), 201)
    kami.cloud.drain()
    assert granted(kami.operator.get("/v1/messages/statistics"))["data"]


def use_authority(kami: Kami) -> None:
    """One-time codes, right and wrong; forecasts; a second person; and a reclaim that was announced two days ago."""
    staff, approver = kami.client("operator"), kami.client("approver")
    key = kami.cloud.stack.functions["recover"].environment[stepup.AUTHENTICATOR_KEY_ARN]
    with kami.cloud.environment("authorize"), pytest.MonkeyPatch.context() as patch:
        patch.setenv(stepup.AUTHENTICATOR_KEY_ARN, key)
        secret = stepup.enrol(staff.client_id, NOBODY)
    batch = kami.batch(kami.campaign(recovery_rules={"one_time_code": {"void_above": 0, "reveal_above": 0}})["id"], 1)
    reveal, void = {"serials": [batch["first_serial"]], "reason": "test"}, kami.recovery(batch=batch["id"])
    for path, body, apart in (("/v1/reveals", reveal, 0), ("/v1/recoveries", void, 1)):
        refused(staff.post(path, {**body, "one_time_code": "000000"}), 403, "one_time_code_wrong")
        code = code_at(secret, clock.now() // STEP_S + apart)
        assert staff.post(path, {**body, "one_time_code": code}).status < 300
    granted(staff.post("/v1/recoveries?dry_run=true", void))
    awaiting = kami.awaiting_approval()
    decision = {"digest": awaiting["approval"]["digest"], "decision": "approve"}
    granted(approver.post(f"/v1/recoveries/{awaiting['id']}/approvals", decision, unique()), 201)
    id = kami.campaign(reclaim_unactivated_after_days=0)["id"]
    kami.batch(id, 1)
    with kami.cloud.environment("generate"):
        campaign = table.read(CAMPAIGN, keys.campaign(id))
        assert campaign is not None
        due = Reclaim(0, clock.now(), announced_at=clock.now() - 2 * NOTICE_MIN_S)
        table.change(CAMPAIGN, campaign, lambda _: replace(campaign, reclaim=due), "announce_reclaim", NOBODY)
    kami.cloud.fire()
    kami.cloud.drain(delayed=False)
    assert granted(kami.operator.get(f"/v1/campaigns/{id}"))["reclaim"]["status"] == "started"


def use_the_record(kami: Kami) -> None:
    """A refusal of each function's, and all ways to find them."""
    lists = ("campaigns", "channels", "recoveries", "complaints", "audit", "erasures/x", "vouchers/010000000003/ledger")
    for path in map("/v1/".__add__, lists):
        refused(kami.merchant.get(path), 403, "insufficient_scope")
    refused(kami.client("support").get("/v1/webhooks"), 403, "insufficient_scope")
    kami.cloud.drain()
    for query in ("limit=1", f"serial={kami.voucher().serial}", f"actor={kami.merchant.client_id}&limit=1"):
        granted(kami.operator.get(f"/v1/audit?{query}"))
    granted(kami.operator.get("/v1/audit/checkpoints?limit=1"))
    export = granted(kami.operator.post("/v1/audit/exports", {"from": "2026-01-01T00:00:00Z"}), 202)["id"]
    kami.cloud.drain()
    link = kami.operator.get(f"/v1/audit/exports/{export}/file").header("location")
    assert requests.get(str(link), timeout=10).content


def give_receipts(kami: Kami) -> None:
    """By carriers, and by providers that show what is in their secret, or do not; one of them names but its own id."""
    for provider in ("alibaba", "tencent", "twilio"):
        body = json.dumps([{"report_status": "SUCCESS", "sid": unique()}])
        refused(kami.cloud.request("POST", f"/v1/receipts/{provider}", body=body), 401, "invalid_signature")
    heard = {"receipt": {"provider": "tencent", "status": "delivered", "at": 0, "provider_id": unique()}, "tries": 5}
    (source,) = (source for source in kami.cloud.stack.sources if source.function == "notify")
    kami.cloud.client("sqs").send_message(QueueUrl=source.queue_url, MessageBody=json.dumps(heard))
    kami.cloud.carriers.set("north", "none", receipts="prompt")
    granted(kami.merchant.redeem(kami.voucher().code, account=mobile()), 201)
    kami.cloud.drain()
    kami.cloud.carriers.reset()


def hold_sms_back(kami: Kami) -> None:
    """Of somebody whose account is frozen."""
    number = mobile()
    granted(kami.operator.put("/v1/recipients", {"number": number, "frozen": True}))
    granted(kami.merchant.redeem(kami.voucher().code, account=number), 201)
    kami.cloud.drain()
    kami.cloud.fire("kami-dev-held")
    kami.cloud.drain()


def use_webhooks(kami: Kami) -> None:
    """A partner's endpoint, through all that may become of it."""
    partner = kami.client("partner")
    endpoint = {"url": inbox(kami.cloud, "partner"), "events": ["voucher.redeemed"]}
    id = granted(partner.post("/v1/webhooks", endpoint, unique()), 201)["id"]
    granted(partner.post(f"/v1/webhooks/{id}/rotations", {}, unique()), 201)
    made = granted(partner.post(f"/v1/webhooks/{id}/tests", None, unique()), 201)
    again = partner.post(f"/v1/webhooks/{id}/deliveries/{made['id']}/replays", None, unique())
    assert granted(again, 202)["status"] == "queued"
    campaign = kami.batch(kami.campaign()["id"], 1)
    kami.distribute(to=kami.channel(kind="partner", tenant=partner.tenant)["id"], batch=campaign["id"])
    kami.activate(batch=campaign["id"])
    granted(kami.merchant.redeem(kami.codes(kami.serials(campaign["id"]))[0]), 201)
    kami.cloud.drain(delayed=False)
    assert len(granted(partner.get(f"/v1/webhooks/{id}/deliveries?limit=1"))["data"]) == 1
    granted(partner.get(f"/v1/webhooks/{id}"))
    told = [each["type"] for each in kami.cloud.carriers.inbox("partner")]
    assert told == ["webhook.test", "webhook.test", "voucher.redeemed"]
    strained(kami, partner)


def strained(kami: Kami, partner: Caller) -> None:
    """An endpoint that nobody answers for, and one that is gone."""
    for name, gone in (("nobody", False), ("gone", True)):
        endpoint = {"url": f"http://127.0.0.1:9/{name}", "events": ["voucher.redeemed"]}
        id = granted(partner.post("/v1/webhooks", endpoint, unique()), 201)["id"]
        made = granted(partner.post(f"/v1/webhooks/{id}/tests", None, unique()), 201)
        granted(partner.post(f"/v1/webhooks/{id}/deliveries/{made['id']}/replays", None, unique()), 202)
        if gone:
            assert partner.delete(f"/v1/webhooks/{id}").status == 204
        kami.cloud.drain(delayed=False)
        if not gone:
            assert partner.delete(f"/v1/webhooks/{id}").status == 204
            kami.cloud.drain()


def limit_a_provider(kami: Kami) -> None:
    """So many SMS a second; they are counted."""
    granted(kami.operator.get("/v1/routes"))
    offers = [{"provider": "simulated:north", "rate_per_s": 100}, {"provider": "simulated:south"}]
    granted(kami.operator.put("/v1/routes", {"rows": [{"offers": offers}]}))
    granted(kami.merchant.redeem(kami.voucher().code, account=mobile()), 201)
    kami.cloud.drain()


def reconcile(kami: Kami) -> None:
    """By order and by the clock, while there are few lots and nothing differs, which would be looked at for minutes."""
    used = kami.voucher()
    granted(kami.merchant.redeem(used.code), 201)
    kami.cloud.drain()
    batch = kami.batch(kami.campaign()["id"], 1)["id"]
    for what in ({"all": True}, {"selection": {"batch": batch}}, {"selection": {"serials": [used.serial]}}):
        reconciliation = granted(kami.operator.post("/v1/reconciliations", what), 202)["id"]
    for name in ("reconciliationofmoved", "reconciliationofall"):
        kami.cloud.fire(f"kami-dev-{name}")
    kami.cloud.drain()
    assert granted(kami.operator.get(f"/v1/reconciliations/{reconciliation}"))["status"] == "completed"
    granted(kami.operator.get("/v1/reconciliations?limit=1"))


def overdraw(kami: Kami, serial: str) -> None:
    """A redemption of a generation that was never given out."""
    by = {"client": "c", "role": "merchant", "tenant": "t", "address": "192.0.2.1", "request": "r"}
    redemption = {"id": "none", "amount_minor": 1, "currency": "CNY", "generation": 2}
    told = {"id": "e", "type": "voucher.redeemed", "schema": 1, "at": "2026-11-21T08:00:00Z", "by": by}
    body = json.dumps({**told, "data": {"serial": serial, "redemption": redemption}})
    (source,) = (source for source in kami.cloud.stack.sources if source.function == "ledger")
    kami.cloud.client("sqs").send_message(QueueUrl=source.queue_url, MessageBody=body)
    kami.cloud.drain()
    accounts = granted(kami.operator.get(f"/v1/vouchers/{serial}/ledger"))["accounts"]
    assert [len(account["disputes"]) for account in accounts] == [0, 1]


def test_no_function_has_a_grant_that_it_does_not_need() -> None:
    with Cloud.in_processes(synthesized()) as cloud:
        kami = Kami(cloud)
        reconcile(kami)
        use_everything(kami)
        give_receipts(kami)
        hold_sms_back(kami)
        use_webhooks(kami)
        limit_a_provider(kami)
        use_channels(kami)
        use_the_sandbox(kami)
        erase_somebody(kami)
        number = mobile()
        reminded(kami, number)
        assert len(cloud.carriers.phone(number)) == 1
        use_authority(kami)
        use_the_rest(kami)
        use_the_record(kami)
        unneeded = {grant for grants in cloud.unneeded_grants().values() for grant in grants}
        assert {grant for grant in unneeded if not grant.startswith(NOT_HERE)} == set()
