"""Erasure of a person (个人信息删除, PIPL article 47): numbers and names give way to an account's id, all else stays.

An account's id is a keyed hash of a number, or of a customer of a tenant, and tells nothing to who has not the key. So
cards, ledger and record, which know a person by ids only, stay whole and add up; and a repeat names the same account.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from functions.domain.account import E164, masked
from functions.domain.actor import By
from functions.domain.message import Message
from functions.domain.recipient import Recipient
from functions.domain.voucher import Hold, Redemption, Transfer, Voucher

PLACES: dict[str, str] = {
    "voucher": "accounts of redemptions, holder, givers: by the lines that relay notes; fingerprints and bearers, which"
    " could be tried out, with them",
    "message": "recipient, and the masked number in its text and what it was made from: by the index of its recipient",
    "recipient": "quiet hours and zone: by the account's id; what they opted out of stays, or they would get it again",
    "erasure": "the hash of the number as the index has it: gone when the erasure is completed",
}
"""Entity → what of a person its items hold, and how it is found."""
NOBODY = frozenset({
    "account", "audit_export", "batch", "campaign", "channel", "checkpoint", "client", "command", "complaint",
    "counter", "delivery", "dispute", "draw", "enrolment", "expiry", "export", "findings", "front", "history", "import",
    "imported", "known", "line", "lines", "lot", "merging", "moved", "pointer", "provider", "pulse", "reconciliation",
    "recovered", "recovery", "refusals", "report", "reveal", "roster", "routing", "shelf", "spans", "spent", "stock",
    "supply", "ticket", "webhook",
})  # fmt: skip
"""Entities whose items hold nothing of a customer, or ids only; a draw's buyer is an order, which looks like no number.
Neither do the counts of limits (by the account's id), and those of guards and resends (by hash) and of SMS sent (by the
account's id, or by the block of numbers) expire within hours or days."""

SETTLE_S = 15
"""What was under way when it began has been written by then (8 s), and noted unless relay is behind: one more pass
finds it. Where `StreamAge` rings, an erasure is to be repeated afterwards."""
AT_HOME = re.compile(r"(?:86)?(1[3-9][0-9]{9})")
"""A mobile number of China as it is written there."""
_ACCOUNT = re.compile(r"acc_[a-z2-7]{24}")
_BYTES = 15

Person = tuple[str, ...]
"""`("number", …)` or `("customer", tenant, …)`."""


def number(value: str) -> Person:
    """Who has a mobile number or a broadband account."""
    return "number", value


def customer(tenant: str, value: str) -> Person:
    """A customer as a tenant names it; a phone number is the same person everywhere, with and without its prefix."""
    at_home = AT_HOME.fullmatch(value)
    if at_home is not None:
        return number(f"+86{at_home[1]}")
    return number(value) if E164.fullmatch(value) else ("customer", tenant, value)


def account_id(secret: bytes, person: Person) -> str:
    """What stands for a person: HMAC-SHA-256, truncated to 120 bits."""
    packed = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (part.encode() for part in person))
    digest = hmac.digest(secret, b"kami/account/v1|" + packed, "sha256")
    return f"acc_{b32encode(digest[:_BYTES]).decode().lower()}"


def is_account(value: str) -> bool:
    """Whether a person has been erased here."""
    return _ACCOUNT.fullmatch(value) is not None


class Named(NamedTuple):
    """That a voucher has come to name a person."""

    person: Person
    position: int
    by: By


@dataclass(frozen=True, slots=True)
class Known:
    """A line that leads from an account to a voucher that names, or named, its person."""

    account: str
    position: int
    by: By
    version: int = 0


def named(old: dict[str, Any] | None, new: dict[str, Any]) -> list[Named]:
    """Whom a write of a voucher brought into it, from its two images."""
    by = By(**{name: new["last"][name] for name in By._fields})
    return [Named(person, new["position"], by) for person in sorted(_people(new) - (_people(old) if old else set()))]


def holders(
    old: dict[str, Any] | None, new: dict[str, Any], account_of: Callable[[Person], str]
) -> dict[str, list[str | None]]:
    """Whose a voucher was and whose it is, where a write changed that: by accounts' ids, for a name may be a number."""
    if (old or {}).get("holder") == new.get("holder"):
        return {}
    before, after = (_account_of_holder(image, account_of) for image in (old or {}, new))
    return {"holder": [before, after]} if before != after else {}


def _account_of_holder(image: dict[str, Any], account_of: Callable[[Person], str]) -> str | None:
    tenant, holder = image.get("tenant"), image.get("holder")
    if tenant is None or holder is None or is_account(holder):
        return holder
    return account_of(customer(tenant, holder))


def _people(image: dict[str, Any]) -> set[Person]:
    tenant, holder = image.get("tenant"), image.get("holder")
    accounts = {redemption["account_number"] for redemption in image.get("redemptions", {}).values()}
    found = {number(value) for value in accounts}
    if tenant is not None and holder is not None:
        found.add(customer(tenant, holder))
    return {person for person in found if person[-1] and not is_account(person[-1])}


class Phase(StrEnum):
    """Where an erasure looks next."""

    VOUCHERS = "vouchers"
    MESSAGES = "messages"
    DONE = "done"


_ORDER = list(Phase)
END = "~"
"""After every place of a list."""


class Mark(NamedTuple):
    """How far an erasure has come: in which pass, where, and after which place of its list."""

    passes: int
    phase: int
    place: str


START = Mark(0, 0, "")


@dataclass(frozen=True, slots=True)
class Erasure:
    """The order and its progress. It never holds whom it is about, but for the place of messages in their index.

    `tenant` is whose customer it is. What a page holds is `counted` before it is changed, so that whoever goes on
    after a crash counts nothing twice and leaves nothing out. `found` is the number in this pass, which began at
    `began_at`; the next step is not taken before `rests_until`.
    """

    id: str
    account: str
    tenant: str | None
    place: str | None
    reason: str
    fingerprint: str
    by: By
    created_at: int
    began_at: int
    phase: Phase = Phase.VOUCHERS
    after: str = ""
    passes: int = 0
    counted: Mark = START
    found: int = 0
    erased: dict[str, int] = field(default_factory=dict)
    rests_until: int = 0
    completed_at: int | None = None
    version: int = 0

    @property
    def mark(self) -> Mark:
        """How far it has come."""
        return Mark(self.passes, _ORDER.index(self.phase), self.after)

    def counting(self, place: str, found: dict[str, int]) -> Erasure | None:
        """The erasure with what is about to be changed up to a place; None where nothing is, or it is counted."""
        upto = Mark(self.passes, _ORDER.index(self.phase), place)
        if self.counted >= upto or not any(found.values()):
            return None
        erased = {kind: self.erased.get(kind, 0) + found.get(kind, 0) for kind in {**self.erased, **found}}
        return replace(self, counted=upto, found=self.found + sum(found.values()), erased=erased)

    def past(self, place: str, now: int) -> Erasure:
        """The erasure once all up to a place is changed; it is over with a pass that found nothing, some time after."""
        if place != END:
            return replace(self, after=place)
        if self.phase is Phase.VOUCHERS:
            return replace(self, phase=Phase.MESSAGES, after="")
        if self.found == 0 and self.began_at >= self.created_at + SETTLE_S:
            return replace(self, phase=Phase.DONE, after="", place=None, completed_at=now)
        rests_until = max(now, self.created_at) + SETTLE_S
        return replace(self, phase=Phase.VOUCHERS, after="", passes=self.passes + 1, found=0, began_at=rests_until,
                       rests_until=rests_until)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Eraser:
    """What takes one person out of things; each method gives the thing without, or None where the person is not in it.

    `secret` makes accounts' ids; a giver is one of `tenant`, for an offer does not say whose customer made it.
    """

    secret: bytes
    account: str
    tenant: str | None

    def _is(self, person: Person) -> bool:
        return account_id(self.secret, person) == self.account

    def _is_customer(self, tenant: str | None, value: str | None) -> bool:
        return value is not None and self._is(customer(tenant or "", value))

    def voucher(self, voucher: Voucher) -> Voucher | None:
        """Numbers, and with them what could be tried out: fingerprints of orders that named a customer, and bearers.

        A repeat of such an order is answered without them, as they keep apart only what has one key.
        """
        gone = self._is_customer(voucher.tenant, voucher.holder)
        stays = None if gone else voucher.bearer
        after = replace(
            voucher,
            holder=self.account if gone else voucher.holder,
            redemptions={id: self._redemption(_of(each, stays)) for id, each in voucher.redemptions.items()},
            holds={id: replace(_of(each, stays), fingerprint="") for id, each in voucher.holds.items()},
            transfers={id: self._transfer(each) for id, each in voucher.transfers.items()},
        )
        return None if after == voucher else after

    def name_in(self, voucher: Voucher) -> str | None:
        """The number or name by which a voucher names the person."""
        if self._is_customer(voucher.tenant, voucher.holder):
            return voucher.holder
        numbers = (redemption.account_number for redemption in voucher.redemptions.values())
        givers = (offer.giver for offer in voucher.transfers.values() if self._is_customer(self.tenant, offer.giver))
        return next((value for value in numbers if self._is(number(value))), None) or next(givers, None)

    def _redemption(self, redemption: Redemption) -> Redemption:
        if not self._is(number(redemption.account_number)):
            return redemption
        return replace(redemption, account_number=self.account, fingerprint="")

    def _transfer(self, transfer: Transfer) -> Transfer:
        gone = self._is_customer(self.tenant, transfer.giver)
        end = replace(transfer.end, fingerprint="") if transfer.end is not None else None
        return replace(transfer, giver=self.account if gone else transfer.giver, fingerprint="", end=end)

    def message(self, message: Message) -> Message | None:
        """An SMS; what is still to be sent of it is not sent any more."""
        if not self._is(number(message.recipient)):
            return None
        hidden = masked(message.recipient)
        template = message.template
        if template is not None:
            params = tuple((name, value.replace(hidden, self.account)) for name, value in template.params)
            template = template._replace(params=params)
        text = message.text.replace(hidden, self.account)
        return replace(message, recipient=self.account, text=text, template=template)

    def recipient(self, recipient: Recipient) -> Recipient | None:
        """The rules of the person; those that keep SMS from them stay."""
        after = replace(recipient, quiet=None, zone=None)
        return None if recipient.account != self.account or after == recipient else after


T = TypeVar("T", Redemption, Hold)


def _of(thing: T, bearer: str | None) -> T:
    """A redemption or a hold, without its bearer unless that is who holds the voucher and stays."""
    return thing if thing.bearer is None or thing.bearer == bearer else replace(thing, bearer=None)
