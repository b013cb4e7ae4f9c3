"""Two recoveries of a million cards over HTTP, from beginning to end, while several clients redeem all the time.

What each client was told is kept; in the end the report, its file, the counts, the phones and the cards themselves
must tell the same of every card.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from time import monotonic, sleep, time
from typing import Final

import httpx
import pytest

from functions.domain.serials import position_of, serial_of
from functions.domain.times import rfc3339
from tests.running import YEAR_S, Json, Running, up
from tests.tills import ROLES, WAIT_MAX_S, fresh_mobile, last_served_at, redeemed, selling, until

CARDS: Final = 1_000_000
SOLD: Final = 300_000
"""So many of the promotion's cards were activated."""
FACE_MINOR: Final = 3_000
BEFORE: Final = 3
"""So many cards each till has redeemed when the recovery is ordered; so many more it tries once that is answered."""
RECALL_PER_ACTIVATION_MAX: Final = 4.0
"""Both write each lot once, the recall while the tills are at work. (`make benchmark` measures the seconds.)"""
CODES: Final = 300
HOLDERS: Final = 3
POLL_S: Final = 0.5
ALONE_MAX: Final = 100_000
"""More of the promotion's cards nobody may reclaim alone."""
BOX: Final = 20
"""So many sold cards are missing for a while."""


@pytest.fixture(scope="module")
def kami(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with up(tmp_path_factory.mktemp("kami")) as running:
        yield running


def promotion(kami: Running, name: str, kind: str, **rules: Json) -> Json:
    """A fresh campaign of cards of CNY 30.00."""
    return kami.done(
        "POST",
        "/v1/campaigns",
        {
            "name": name,
            "kind": kind,
            "face_value": {"amount_minor": FACE_MINOR, "currency": "CNY"},
            "redemption": "single",
            "valid_until": rfc3339(int(time()) + YEAR_S),
            **rules,
        },
    )


def span(batch: Json, first: int, size: int) -> Json:
    """A selection of so many cards of a batch, from the `first`-th on."""
    start = position_of(batch["first_serial"])
    assert start is not None
    return {"first_serial": serial_of(start + first), "last_serial": serial_of(start + first + size - 1)}


def codes(kami: Running, batch: Json, first: int, size: int, number: int) -> list[tuple[str, str]]:
    """(serial, code) of so many cards, spread evenly over a part of a batch."""
    part = {"first_serial": span(batch, first, size)["first_serial"], "quantity": size}
    return kami.codes(part, number)


def skipped(kami: Running, id: str) -> dict[str, str]:
    """Serial → reason of all that a recovery left as it is, page by page."""
    found: dict[str, str] = {}
    target = f"/v1/recoveries/{id}?limit=100"
    cursor = ""
    while True:
        lines = kami.done("GET", target + cursor)["skipped"]
        found |= {line["serial"]: line["reason"] for line in lines["data"]}
        if "next_cursor" not in lines:
            return found
        cursor = f"&cursor={lines['next_cursor']}"


def outcomes(kami: Running, id: str, batch: Json) -> Counter[tuple[str, str]]:
    """How many cards of a batch had which outcome for which reason, by the report's file; it names each card once."""
    reply = kami.ask("GET", f"/v1/recoveries/{id}/report")
    assert (reply.status_code, reply.headers["content-type"].partition(";")[0]) == (200, "text/csv"), reply.text
    found: Counter[tuple[str, str]] = Counter()
    following = position_of(batch["first_serial"])
    for line in csv.DictReader(io.StringIO(reply.text)):
        first, last = position_of(line["first_serial"]), position_of(line["last_serial"])
        assert first is not None and last is not None
        assert first == following and last - first + 1 == int(line["quantity"])
        following = last + 1
        found[line["outcome"], line["reason"]] += int(line["quantity"])
    assert following == (position_of(batch["last_serial"]) or 0) + 1
    return found


def counts(kami: Running, batch: Json, wanted: Json) -> Json:
    """A batch's counts; they follow the cards by a moment, so they are waited for."""
    deadline = monotonic() + WAIT_MAX_S
    while (found := kami.done("GET", f"/v1/batches/{batch['id']}")["counts"]) != wanted and monotonic() < deadline:
        sleep(POLL_S)
    return dict(found)


def test_after_a_promotion_unactivated_cards_are_reclaimed_and_handed_out_again(kami: Running) -> None:
    stops = {"roles": ["operator"], "actions": ["suspend", "resume"]}
    ends = {"roles": ["operator"], "actions": ["reclaim"], "vouchers_alone": ALONE_MAX}
    campaign = promotion(kami, "Summer data", "data", recovery_rules={"allow": [stops, ends]})
    batch = kami.done("POST", f"/v1/campaigns/{campaign['id']}/batches", {"quantity": CARDS})
    shop, app = (
        kami.done("POST", "/v1/channels", {"kind": kind, "name": name})["id"]
        for kind, name in (("offline", "Shops"), ("online", "App"))
    )
    whole = {"selection": {"batch": batch["id"]}}
    unsold = span(batch, SOLD, CARDS - SOLD)
    assert kami.done("POST", "/v1/distributions", {**whole, "to": shop})["distributed"] == CARDS
    assert kami.done("POST", "/v1/activations", {"selection": span(batch, 0, SOLD)})["activated"] == SOLD
    old = codes(kami, batch, SOLD, CARDS - SOLD, len(ROLES) * BEFORE)
    order = {**whole, "action": "reclaim", "only": "not_activated", "reason": "campaign_over"}

    box = span(batch, SOLD - BOX, BOX)
    ((_, missing),) = codes(kami, batch, SOLD - BOX, BOX, 1)

    with selling(kami, codes(kami, batch, 0, SOLD, CODES)) as tills:
        until(tills, BEFORE)
        lost = {"selection": box, "action": "suspend", "reason": "lost", "channel": shop}
        suspension = kami.done("POST", "/v1/recoveries", lost)["id"]
        assert kami.redeem(missing, fresh_mobile()).json()["key"] == "voucher_not_redeemable"
        seen = kami.done("POST", "/v1/recoveries?dry_run=true", order)
        assert (seen["selected"], seen["recovered"], seen["needs_approval"]) == (CARDS, CARDS - SOLD, True)
        recovery = kami.done("POST", "/v1/recoveries", order)
        assert (recovery["status"], recovery["approval"]["vouchers"]) == ("awaiting_approval", CARDS - SOLD)
        decision = {"digest": recovery["approval"]["digest"], "decision": "approve"}
        kami.done("POST", f"/v1/recoveries/{recovery['id']}/approvals", decision, role="approver")
        report = kami.recovered(recovery["id"])
        assert kami.recovered(suspension)["recovered"] == BOX
        found = {"action": "resume", "reason": "lost", "recovery": suspension, "channel": shop}
        assert kami.recovered(kami.done("POST", "/v1/recoveries", found)["id"])["recovered"] == BOX
        assert kami.redeem(missing, fresh_mobile()).status_code == httpx.codes.CREATED
        given = kami.done("POST", "/v1/distributions", {"selection": unsold, "to": app})
        assert given["distributed"] == CARDS - SOLD
        assert kami.done("POST", "/v1/activations", {"selection": unsold})["activated"] == CARDS - SOLD
        until(tills, BEFORE)

    tried = [each for till in tills for each in till.tries]
    assert {each.status for each in tried} == {httpx.codes.CREATED}
    assert (report["selected"], report["recovered"]) == (CARDS, CARDS - SOLD)
    assert sum(report["skipped"]["by_reason"].values()) == report["skipped"]["count"] == SOLD
    assert outcomes(kami, recovery["id"], batch) == {
        ("recovered", ""): CARDS - SOLD,
        **{("skipped", reason): number for reason, number in report["skipped"]["by_reason"].items()},
    }
    (value,) = report["value"]
    assert (value["selected_minor"], value["recovered_minor"]) == (CARDS * FACE_MINOR, (CARDS - SOLD) * FACE_MINOR)
    assert value["skipped_minor"] + value["redeemed_minor"] == SOLD * FACE_MINOR
    assert value["redeemed_minor"] == value["redeemed"] * FACE_MINOR

    new = codes(kami, batch, SOLD, CARDS - SOLD, len(old))
    assert [serial for serial, _ in new] == [serial for serial, _ in old]
    late = [kami.redeem(code, fresh_mobile()) for _, code in old]
    fresh = [kami.redeem(code, fresh_mobile()) for _, code in new]
    assert {reply.json()["key"] for reply in late} == {"voucher_not_redeemable"}
    assert {reply.status_code for reply in fresh} == {httpx.codes.CREATED}

    spent = len(redeemed(tills)) + len(fresh) + 1
    wanted = {"active": CARDS - spent, "redeemed": spent}
    assert counts(kami, batch, wanted) == wanted
    assert kami.set_aside() == dict.fromkeys(kami.set_aside(), 0)


def test_a_stolen_consignment_is_recalled_at_once_while_thieves_redeem_it(
    kami: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = promotion(kami, "Recharge", "recharge")
    batch = kami.done("POST", f"/v1/campaigns/{campaign['id']}/batches", {"quantity": CARDS})
    whole = {"selection": {"batch": batch["id"]}}
    activation_at = monotonic()
    kami.done("POST", "/v1/activations", whole)
    activation_s = monotonic() - activation_at
    *cards, bought, given, kept = codes(kami, batch, 0, CARDS, CODES)
    phones = [fresh_mobile() for _ in range(HOLDERS)]
    for (_, code), phone in zip((bought, given, kept), phones, strict=True):
        kami.done("POST", "/v1/claims", {"code": code, "customer": phone})
    order = {**whole, "action": "void", "reason": "stolen"}
    kami.done("POST", "/v1/recoveries?dry_run=true", order)

    with selling(kami, cards) as tills:
        until(tills, BEFORE)
        ordered_at = monotonic()
        recovery = kami.done("POST", "/v1/recoveries", order)
        answered_at = monotonic()
        until(tills, BEFORE)
    report = kami.recovered(recovery["id"])

    with capsys.disabled():
        print(f"\nOf {CARDS:,} cards the last is served {last_served_at(tills) - ordered_at:.2f} s after the order")
    assert answered_at - ordered_at < RECALL_PER_ACTIVATION_MAX * activation_s
    tried = [each for till in tills for each in till.tries]
    after = [each for each in tried if each.sent_at > answered_at]
    assert len(after) >= len(tills)
    assert {(each.status, each.key) for each in after} == {(404, "voucher_not_redeemable")}

    stolen = redeemed(tills)
    assert len(stolen) >= len(tills) * BEFORE
    assert (report["selected"], report["recovered"]) == (CARDS, CARDS - len(stolen))
    assert report["skipped"]["by_reason"] == {"redeemed": len(stolen)}
    assert skipped(kami, recovery["id"]) == dict.fromkeys(stolen, "redeemed")
    assert outcomes(kami, recovery["id"], batch) == {
        ("recovered", ""): CARDS - len(stolen),
        ("skipped", "redeemed"): len(stolen),
    }
    (value,) = report["value"]
    assert value == {
        "currency": "CNY",
        "selected_minor": CARDS * FACE_MINOR,
        "recovered_minor": (CARDS - len(stolen)) * FACE_MINOR,
        "skipped_minor": 0,
        "redeemed_minor": len(stolen) * FACE_MINOR,
        "redeemed": len(stolen),
    }
    wanted = {"redeemed": len(stolen), "void": CARDS - len(stolen)}
    assert counts(kami, batch, wanted) == wanted
    for (serial, _), phone in zip((bought, given, kept), phones, strict=True):
        (sms,) = told(kami, phone)
        assert serial in sms["text"]
        assert kami.done("GET", f"/v1/vouchers/{serial}")["status"] == "void"
    assert kami.set_aside() == dict.fromkeys(kami.set_aside(), 0)


def told(kami: Running, phone: str) -> list[Json]:
    """What a phone received, as soon as there is anything."""
    deadline = monotonic() + WAIT_MAX_S
    while not (received := kami.phone(phone)) and monotonic() < deadline:
        sleep(POLL_S)
    return received
