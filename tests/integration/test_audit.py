"""What is put on record, who may read it, and what is never in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.domain.actor import ROLES
from functions.edge import record
from functions.store import table
from tests.integration.kami import FORM, Caller, Json, Kami, claim, erased, granted, mistyped, mobile, refused, unique


@pytest.fixture(scope="module")
def auditor(kami: Kami) -> Caller:
    return kami.client("auditor")


def entries(auditor: Caller, query: str = "") -> list[Json]:
    """All entries that a query finds, newest first."""
    auditor.cloud.drain()
    found: list[Json] = []
    cursor = ""
    for _ in range(50):
        page = granted(auditor.get(f"/v1/audit?limit=100{query}{cursor}"))
        found += page["data"]
        if "next_cursor" not in page:
            return found
        cursor = f"&cursor={page['next_cursor']}"
    raise AssertionError("the list does not end")


def types(found: list[Json]) -> list[str]:
    return sorted(entry["type"] for entry in found)


def waiting(kami: Kami) -> list[Json]:
    """What lies in the record's queue."""
    (source,) = (source for source in kami.cloud.stack.sources if source.function == "audit")
    reply = kami.cloud.client("sqs").receive_message(QueueUrl=source.queue_url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in reply.get("Messages", [])]


def test_what_happens_to_a_card_is_on_record_with_its_lot_s_entries(kami: Kami, auditor: Caller) -> None:
    batch = kami.batch(kami.campaign()["id"], 2)
    kami.activate(batch=batch["id"])
    mine, other = kami.serials(batch["id"])
    code, _ = kami.codes([mine, other])
    redemption = granted(kami.merchant.redeem(code), 201)
    granted(kami.merchant.reverse(redemption["id"]), 201)
    found = entries(auditor, f"&serial={mine}")
    assert types(found) == [
        "ledger.posted", "ledger.posted",
        "lot.activated", "lot.generated", "voucher.redeemed", "voucher.revealed", "voucher.reversed",
    ]  # fmt: skip
    (redeemed,) = (entry for entry in found if entry["type"] == "voucher.redeemed")
    assert redeemed["by"]["client"] == kami.merchant.client_id
    assert redeemed["changes"]["status"] == [None, "redeemed"]
    (back,) = (entry for entry in found if entry["type"] == "voucher.reversed")
    assert back["changes"] == {
        "status": ["redeemed", "active"],
        "balance_minor": [0, 5000],
    }
    assert types(entries(auditor, f"&serial={other}")) == ["lot.activated", "lot.generated", "voucher.revealed"]


def test_every_entry_names_the_one_before_it_in_its_chain(kami: Kami, auditor: Caller) -> None:
    found = {(entry["chain"], entry["number"]): entry for entry in entries(auditor)}
    firsts = 0
    for (chain, number), entry in found.items():
        firsts += number == 1
        before = found[chain, number - 1]["hash"] if number > 1 else "0" * 64
        assert entry["prev"] == before
    assert firsts


def test_an_event_that_comes_again_in_any_order_is_on_record_once(kami: Kami, auditor: Caller) -> None:
    voucher = kami.voucher()
    granted(kami.merchant.redeem(voucher.code), 201)
    before = entries(auditor)
    kami.cloud.replay()
    kami.cloud.drain(twice=True, shuffle=1)
    assert [e for e in entries(auditor) if e["type"] != "token.issued"] == [
        e for e in before if e["type"] != "token.issued"
    ]


def test_refusals_of_codes_and_scopes_are_on_record_with_the_card_that_was_named(kami: Kami, auditor: Caller) -> None:
    till, voucher, idle = kami.client("merchant"), kami.voucher(), kami.voucher(active=False)
    refused(till.verify(mistyped(voucher.code)), 404, "voucher_not_redeemable")
    refused(till.verify("77ZZ-GUES-SED0-C0DE"), 404, "voucher_not_redeemable")
    refused(till.redeem(idle.code), 404, "voucher_not_redeemable")
    granted(till.redeem(voucher.code), 201)
    refused(till.redeem(voucher.code), 409, "already_redeemed")
    refused(till.post("/v1/reveals", {"serials": [voucher.serial], "reason": "x"}), 403, "insufficient_scope")
    granted(till.verify(kami.voucher().code))
    found = [(e["data"]["route"], e["data"]["key"], e["data"].get("serial"))
             for e in entries(auditor, f"&actor={till.client_id}") if e["type"] == "request.refused"]  # fmt: skip
    assert sorted(map(str, found)) == sorted(map(str, [
        ("POST /v1/verifications", "voucher_not_redeemable", voucher.serial),
        ("POST /v1/verifications", "voucher_not_redeemable", None),
        ("POST /v1/redemptions", "voucher_not_redeemable", idle.serial),
        ("POST /v1/redemptions", "already_redeemed", voucher.serial),
        ("POST /v1/reveals", "insufficient_scope", None),
    ]))  # fmt: skip
    assert ("already_redeemed") in {e["data"].get("key") for e in entries(auditor, f"&serial={voucher.serial}")}


def test_whose_a_card_was_and_whose_it_is_is_on_record_by_accounts(kami: Kami, auditor: Caller) -> None:
    giver, receiver = mobile(), mobile()
    card = claim(kami, kami.voucher(), giver)
    offer = granted(kami.operator.post("/v1/transfers", {"serial": card.serial, "customer": giver}, unique()), 201)
    body = {"token": offer["token"], "customer": receiver}
    granted(kami.operator.post(f"/v1/transfers/{offer['id']}/acceptances", body, unique()), 201)
    found = {entry["type"]: entry["changes"] for entry in entries(auditor, f"&serial={card.serial}")}
    before, after = found["voucher.transferred"]["holder"]
    assert found["voucher.claimed"]["holder"] == [None, before]
    assert before.startswith("acc_") and after.startswith("acc_") and before != after
    assert "holder" not in found["voucher.offered"]
    accounts = {erased(kami, number=number)["account"] for number in (giver, receiver)}
    assert accounts == {before, after}
    (gone,) = [e for e in entries(auditor, f"&serial={card.serial}") if e["type"] == "voucher.erased"][:1]
    assert "holder" not in gone["changes"], "the same person, under another name"


def test_a_second_person_s_refusals_are_on_record(kami: Kami, auditor: Caller) -> None:
    approver, batch = kami.client("approver"), kami.batch(kami.campaign()["id"], 1)["id"]
    made = granted(kami.operator.post("/v1/recoveries", kami.recovery("void", batch=batch)), 202)
    body = {"digest": "x" * 32, "decision": "approve"}
    refused(approver.post(f"/v1/recoveries/{made['id']}/approvals", body, unique()), 409, "already_decided")
    (entry,) = [e for e in entries(auditor, f"&actor={approver.client_id}") if e["type"] == "request.refused"]
    said = {"route": "POST /v1/recoveries/{id}/approvals", "key": "already_decided", "recovery": made["id"]}
    assert entry["data"] == said


def test_sign_ins_are_on_record_and_who_is_unknown_is_not_named(kami: Kami, auditor: Caller) -> None:
    caller = kami.client("support")
    granted(caller.sign_in())
    granted(caller.sign_in(scope="messages"))
    refused(caller.sign_in(scope="campaigns"), 400, "invalid_scope")
    number = mobile()
    refused(Caller(kami.cloud, caller.client_id, "wrong").sign_in(), 401, "invalid_client")
    refused(Caller(kami.cloud, number, "wrong").sign_in(), 401, "invalid_client")
    form = f"grant_type=client_credentials&client_id={number}&client_secret=x"
    refused(kami.cloud.request("POST", "/v1/tokens", headers={"content-type": FORM}, body=form), 401, "invalid_client")
    found = [(e["type"], e["data"]) for e in entries(auditor, f"&actor={caller.client_id}")]
    assert sorted(map(str, found)) == sorted(map(str, [
        ("token.issued", {"scope": " ".join(ROLES["support"])}),
        ("token.issued", {"scope": "messages"}),
        ("token.refused", {"key": "invalid_scope"}),
        ("token.refused", {"key": "invalid_client"}),
    ]))  # fmt: skip
    unknown = [e for e in entries(auditor) if e["type"] == "token.refused" and not e["by"]["client"]]
    assert len(unknown) == 2
    assert number[1:] not in json.dumps(entries(auditor))


def test_rights_campaigns_and_channels_are_on_record(kami: Kami, auditor: Caller) -> None:
    campaign, channel = kami.campaign()["id"], kami.channel()["id"]
    found = {entry["data"].get("id"): entry["type"] for entry in entries(auditor) if "id" in entry["data"]}
    assert found[campaign] == "campaign.created"
    assert found[channel] == "channel.created"
    rule = {"roles": ["support"], "actions": ["suspend"], "vouchers_alone": 3}
    strict = kami.campaign(recovery_rules={"allow": [rule], "one_time_code": {"void_above": 7}})["id"]
    (made,) = [e for e in entries(auditor) if e["data"].get("id") == strict]
    before, rules = made["changes"]["recovery_rules"]
    assert (before, rules["void_code_above"], "support" in json.dumps(rules)) == (None, 7, True)
    assert found[auditor.client_id] == "client.created"


def test_calls_without_a_token_are_not_on_record(kami: Kami) -> None:
    kami.cloud.drain()
    refused(kami.cloud.request("GET", "/v1/audit"), 401, "unauthorized")
    refused(kami.cloud.request("POST", "/v1/verifications", body={"code": "x"}, token="x.y.z"), 401, "unauthorized")
    assert waiting(kami) == []


def test_a_redemption_s_own_path_tells_the_record_nothing(kami: Kami) -> None:
    voucher = kami.voucher()
    assert kami.merchant.token
    kami.cloud.drain()
    granted(kami.merchant.redeem(voucher.code), 201)
    granted(kami.merchant.verify(kami.voucher().code))
    assert waiting(kami) == []


def test_what_cannot_be_put_on_record_is_not_answered(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    till, voucher = kami.client("merchant"), kami.voucher()
    assert till.token
    monkeypatch.setattr(record, "client", _broken)
    refused(till.verify(mistyped(voucher.code)), 503, "try_again")
    refused(till.get("/v1/audit"), 503, "try_again")
    refused(till.sign_in(), 503, "try_again")
    granted(till.verify(voucher.code))


def _broken(service: str) -> Any:
    from botocore.exceptions import EndpointConnectionError

    raise EndpointConnectionError(endpoint_url=service)


def test_only_auditors_and_operators_read_the_record(kami: Kami, auditor: Caller) -> None:
    granted(kami.operator.get("/v1/audit"))
    granted(auditor.get("/v1/audit"))
    for role in ("approver", "partner", "merchant", "support", "customer"):
        refused(kami.client(role).get("/v1/audit"), 403, "insufficient_scope")


@pytest.mark.parametrize("query", [
    "serial=010000000004", "serial=x", "from=yesterday", "from=2026-13-01T00:00:00Z", "to=2026-01-01", "actor=",
    "actor=a&serial=010000000003", "cursor=x", "limit=0",
])  # fmt: skip
def test_a_query_that_means_nothing_is_refused(auditor: Caller, query: str) -> None:
    assert auditor.get(f"/v1/audit?{query}").status == 400


def test_a_page_may_be_followed_by_its_cursor_by_who_got_it_only(kami: Kami, auditor: Caller) -> None:
    everything = entries(auditor)
    assert len(everything) > 5
    page = granted(auditor.get("/v1/audit?limit=2"))
    again = granted(auditor.get(f"/v1/audit?limit=2&cursor={page['next_cursor']}"))
    assert page["data"] + again["data"] == everything[:4]
    refused(kami.operator.get(f"/v1/audit?cursor={page['next_cursor']}"), 400, "invalid_cursor")
    refused(auditor.get(f"/v1/audit?actor=x&cursor={page['next_cursor']}"), 400, "invalid_cursor")


def test_a_message_that_is_no_event_fails_alone(kami: Kami, auditor: Caller) -> None:
    good = {"id": unique("9.X#"), "type": "batch.requested", "schema": 1, "at": "2026-11-22T06:00:00Z",
            "by": dict.fromkeys(("client", "role", "tenant", "address", "request"), "x"), "data": {}}  # fmt: skip
    wrong: list[Json] = [{"at": "soon"}, {"at": 5}, {"by": {}}]
    bodies = ["no json", "[]", *(json.dumps({**good, **each}) for each in wrong), json.dumps(good)]
    batch = {"Records": [{"messageId": str(n), "body": body} for n, body in enumerate(bodies)]}
    failed = kami.cloud.invoke("audit", batch)["batchItemFailures"]
    assert [failure["itemIdentifier"] for failure in failed] == ["0", "1", "2", "3", "4"]
    assert good["id"] in {entry["id"] for entry in entries(auditor, "&actor=x")}


def test_where_the_table_fails_every_message_comes_again(kami: Kami, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ConnectionError

    good = {"id": unique("9.X#"), "type": "batch.requested", "schema": 1, "at": "2026-11-22T06:00:00Z",
            "by": dict.fromkeys(("client", "role", "tenant", "address", "request"), "x"), "data": {}}  # fmt: skip
    batch = {"Records": [{"messageId": "a", "body": json.dumps(good)}, {"messageId": "b", "body": "no json"}]}
    with monkeypatch.context() as patch:
        patch.setattr(table, "put_together", broken)
        failed = kami.cloud.invoke("audit", batch)["batchItemFailures"]
    assert sorted(failure["itemIdentifier"] for failure in failed) == ["a", "b"]
