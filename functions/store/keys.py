"""Every key string of the table, and nothing else spells one."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from functions.domain.ids import derived

CLIENT, CAMPAIGN, BATCH, COMMAND, COUNTER = "CLIENT#", "CAMPAIGN#", "BATCH#", "COMMAND#", "COUNTER#"
LOT, VOUCHER, GUARD, REVEAL = "LOT#", "VOUCHER#", "GUARD#", "REVEAL#"
RECOVERY, RECOVERED, STATISTICS = "RECOVERY#", "RECOVERED#", "STATISTICS#"
HISTORY, COUNTS, MESSAGE = "HISTORY#", "COUNTS#", "MESSAGE#"
AWAITING, POINTER = "AWAITING#", "POINTER#"
RECIPIENT, SENT, HELD = "RECIPIENT#", "SENT#", "HELD#"
ABOUT_CARD, COMPLAINT = "SMSOF#", "COMPLAINT#"
DELIVERIES, DELIVERY_COUNTED = "DELIVERIES#", "DELIVERYCOUNTED#"
ROUTING, PROVIDER, RATE = "ROUTING#", "PROVIDER#", "RATE#"
EXPORT = "EXPORT#"
BATCHES, RECLAIMING = "BATCHES#", "RECLAIMING#"
CHANNEL, STOCK, TENANT = "CHANNEL#", "STOCK#", "TENANT#"
CODE, IMPORTED = "CODE#", "IMPORTED#"
IMPORT, REFUSED = "IMPORT#", "REFUSED#"
HOLDER = "HOLDER#"
EXPIRY, EXPIRING = "EXPIRY#", "EXPIRING#"
ENTRY, CHAIN = "ENTRY#", "CHAIN#"
CHECKPOINT, RECORD_EXPORT = "CHECKPOINT#", "RECORDEXPORT#"
RECORDED, ABOUT, ACTOR = "RECORDED#", "ABOUT#", "ACTOR#"

ERASURE, PERSON = "ERASURE#", "PERSON#"
WEBHOOK, PULSE = "WEBHOOK#", "PULSE#"
DELIVERY, DELIVERED = "DELIVERY#", "DELIVERED#"
LEDGER, ACCOUNTS, MOVED = "LEDGER#", "ACCOUNTS#", "MOVED#"
RECONCILIATION = "RECONCILIATION#"
ENROLMENT, SPENT = "ENROLMENT#", "SPENT#"
POOL, SHELF, DRAW, LIMIT = "POOL#", "SHELF#", "DRAW#", "LIMIT#"

IMPORTED_IN_A_PARTITION = 100
"""So many imported codes, by position: an import writes one after the other, and its speed must not be that of one
index partition."""
RECORD_LANES = 8
"""So many index partitions share the record's entries, and those of one client."""
LIST_SHARDS = 4
"""A list is spread over so many index partitions; a reader merges them."""


class Key(NamedTuple):
    """A primary key."""

    pk: str
    sk: str


def _own(prefix: str, id: str) -> Key:
    return Key(prefix + id, prefix[:-1])


def client(id: str) -> Key:
    """An API client."""
    return _own(CLIENT, id)


def enrolment(client_id: str) -> Key:
    """The authenticator of a client."""
    return _own(ENROLMENT, client_id)


def spent(client_id: str, campaign_id: str, action: str) -> Key:
    """How much a client has ordered alone of an action in a campaign."""
    return _own(SPENT, f"{client_id}#{campaign_id}#{action}")


def campaign(id: str) -> Key:
    """A campaign."""
    return _own(CAMPAIGN, id)


def batch(id: str) -> Key:
    """A batch."""
    return _own(BATCH, id)


def batch_of(campaign_id: str, id: str, first: int) -> Key:
    """Where a batch stands among those of its campaign (index `gsi1`)."""
    return Key(batches_of(campaign_id), f"{first:011d}#{id}")


def batches_of(campaign_id: str) -> str:
    """The index partition of a campaign's batches."""
    return BATCHES + campaign_id


def batch_id(pk: str) -> str:
    """Of which batch a primary key is."""
    return pk.removeprefix(BATCH)


def reclaiming(campaign_id: str, at: int) -> Key:
    """Where a campaign stands among those that have a reclaim in store, by when there is something to do (`gsi2`)."""
    return Key(reclaiming_of()[sum(campaign_id.encode()) % LIST_SHARDS], f"{at:012d}#{campaign_id}")


def reclaiming_of() -> list[str]:
    """The index partitions of those campaigns."""
    return [f"{RECLAIMING}{shard}" for shard in range(LIST_SHARDS)]


def reclaiming_until(now: int) -> str:
    """What comes after all that is due by now, in such a partition."""
    return f"{now:012d}$"


def in_reclaiming(sk: str) -> str:
    """The campaign that a place in such a partition tells."""
    return sk.partition("#")[2]


def command(id: str) -> Key:
    """A range command with its progress."""
    return _own(COMMAND, id)


def channel(id: str) -> Key:
    """A channel."""
    return _own(CHANNEL, id)


def channel_of(tenant: str, id: str) -> Key:
    """Where a channel stands among those of its tenant (index `gsi2`)."""
    return Key(channels_of(tenant), id)


def channels_of(tenant: str) -> str:
    """The index partition of a tenant's channels."""
    return TENANT + tenant


def stock(channel_id: str, lot_number: int) -> Key:
    """That a channel has held vouchers of a lot."""
    return Key(stock_of(channel_id), f"{lot_number:07d}")


def stock_of(channel_id: str) -> str:
    """The partition of the lots that a channel has held vouchers of."""
    return STOCK + channel_id


def lot_counter(code_format: str) -> Key:
    """The next free lot number of a code format."""
    return _own(COUNTER, code_format)


def lot(number: int) -> Key:
    """A lot."""
    return _own(LOT, f"{number:07d}")


def voucher(position: int) -> Key:
    """A touched voucher; on purpose not in its lot's partition."""
    return _own(VOUCHER, f"{position:011d}")


def reveal(id: str) -> Key:
    """The record of codes revealed."""
    return _own(REVEAL, id)


def recovery(id: str) -> Key:
    """A recovery."""
    return _own(RECOVERY, id)


def report(recovery_id: str, lot_number: int) -> Key:
    """What a recovery came to in one lot."""
    return Key(RECOVERY + recovery_id, f"LOT#{lot_number:07d}")


def recovered(recovery_id: str, position: int) -> Key:
    """A held voucher that a recovery ended."""
    return _own(RECOVERED, f"{recovery_id}#{position:011d}")


def selected(recovery_id: str, fingerprint: str, number: int) -> Key:
    """A part of what a recovery selects."""
    return Key(RECOVERY + recovery_id, f"SPANS#{fingerprint}#{number:04d}")


def file_lines(recovery_id: str, fingerprint: str, number: int) -> Key:
    """Some lines of a recovery's file."""
    return Key(RECOVERY + recovery_id, f"LINES#{fingerprint}#{number:04d}")


def counted(recovery_id: str) -> Key:
    """That a recovery is counted among the statistics."""
    return Key(RECOVERY + recovery_id, "COUNTED")


def statistic(day: date, via: str, channel: str | None) -> Key:
    """The sum of the recoveries of one way that concern one channel, or none, and completed on a day."""
    return Key(statistics_of(day), f"{day:%d}#{via}#{channel or ''}")


def statistics_of(day: date) -> str:
    """The partition of a month's sums."""
    return f"{STATISTICS}{day:%Y%m}"


def in_statistics(sk: str) -> tuple[int, str, str | None]:
    """The day of the month, the way and the channel, if any, that a place in such a partition tells."""
    day, via, channel = sk.split("#")
    return int(day), via, channel or None


def export(id: str) -> Key:
    """An export."""
    return _own(EXPORT, id)


def ticket(export_id: str, id: str) -> Key:
    """A ticket for a file of an export."""
    return Key(EXPORT + export_id, f"TICKET#{id}")


def import_(id: str) -> Key:
    """An import."""
    return _own(IMPORT, id)


def refused(import_id: str, line: int) -> Key:
    """Lines of an import that were refused, up to this one."""
    return Key(refused_in(import_id), f"{line:09d}")


def refused_in(import_id: str) -> str:
    """The partition of the lines of an import that were refused."""
    return REFUSED + import_id


def code(blind_index: str) -> Key:
    """An imported code, by the keyed hash of it."""
    return _own(CODE, blind_index)


def imported(position: int) -> Key:
    """Where an imported code stands among those of its neighbourhood (index `gsi1`)."""
    partition, place = divmod(position, IMPORTED_IN_A_PARTITION)
    return Key(f"{IMPORTED}{partition:09d}", f"{place:02d}")


def guard(kind: str, subject: str, window: int) -> Key:
    """The wrong codes of one subject in one window; the subject (an account, an address) only as a hash."""
    return _own(GUARD, f"{kind}#{derived(subject)}#{window}")


def in_list(entity: str, id: str, created_at: int) -> Key:
    """Where an item stands in the list of its kind: oldest first within a shard (index `gsi1`)."""
    return Key(list_of(entity)[sum(id.encode()) % LIST_SHARDS], f"{created_at:012d}#{id}")


def list_of(entity: str) -> list[str]:
    """The index partitions of the list of a kind of item."""
    return [f"{entity.upper()}S#{shard}" for shard in range(LIST_SHARDS)]


def touched(position: int) -> Key:
    """Where a touched voucher stands among those of its lot (index `gsi1`)."""
    lot_number, index = divmod(position, 10_000)
    return Key(touched_in(lot_number), f"{index:04d}")


def touched_in(lot_number: int) -> str:
    """The index partition of a lot's touched vouchers."""
    return f"TOUCHED#{lot_number:07d}"


def held(tenant: str, holder: str, used_up: bool, ends: int | None, position: int) -> Key:
    """Where a voucher stands in its holder's wallet: nearest end first, what has none last (index `gsi2`)."""
    return Key(held_by(tenant, holder, used_up=used_up), f"{_NEVER if ends is None else ends:012d}#{position:011d}")


def held_by(tenant: str, holder: str, *, used_up: bool) -> str:
    """The index partition of a customer's vouchers; the customer, who is one of a tenant, only as a hash."""
    return f"{HOLDER}{derived(tenant, holder)}#{'USED' if used_up else 'OPEN'}"


def expiry(position: int, date: str, days: int) -> Key:
    """A reminder of the end of a voucher, due on a date."""
    return Key(f"{EXPIRY}{position:011d}", f"{date}#{days}")


def expiring(date: str, shard: int, position: int, days: int) -> Key:
    """Where a reminder that is still to be sent stands among those of its date (index `gsi1`)."""
    return Key(expiring_on(date, shard), f"{position:011d}#{days}")


def expiring_on(date: str, shard: int) -> str:
    """One index partition of a date's reminders."""
    return f"{EXPIRING}{date}#{shard:02d}"


def in_expiring(sk: str) -> tuple[int, int]:
    """The position and the days that a place in such a partition tells."""
    position, _, days = sk.partition("#")
    return int(position), int(days)


_NEVER = 10**12 - 1


def history(kind: str, number: int, at: int, version: int, event: str) -> Key:
    """A line in the history of a voucher (by position) or of a lot (by number); in the order of what happened."""
    return Key(history_of(kind, number), f"{at:012d}#{version:08d}#{event}")


def history_of(kind: str, number: int) -> str:
    """The partition of a voucher's or a lot's history."""
    return f"{HISTORY}{kind.upper()}#{number:0{_DIGITS[kind]}d}"


_DIGITS = {"voucher": 11, "lot": 7}


def front(campaign_id: str) -> Key:
    """The open lots of a campaign's pool."""
    return Key(POOL + campaign_id, "FRONT")


def supply(campaign_id: str, number: int) -> Key:
    """One of the supplies of a campaign's pool, in the order in which they are opened."""
    return Key(POOL + campaign_id, f"SUPPLY#{number:08d}")


def shelf(lot_number: int, quarter: int) -> Key:
    """What is known to be taken of a quarter of a lot."""
    return _own(SHELF, f"{lot_number:07d}#{quarter}")


def draw(id: str) -> Key:
    """A dispense or a claim from a pool."""
    return _own(DRAW, id)


def claims_of(campaign_id: str, tenant: str, account: str) -> Key:
    """How much a customer of a tenant has claimed of a campaign; the customer only by the account's id."""
    return _own(LIMIT, f"{campaign_id}#{derived(tenant, account)}")


def claims_share(campaign_id: str, share: int) -> Key:
    """How much of one share of what may be claimed of a campaign is used."""
    return _own(LIMIT, f"{campaign_id}#{share}")


def ledger_of(position: int) -> str:
    """The partition of a voucher's accounts, their lines and disputes."""
    return f"{LEDGER}{position:011d}"


def account(position: int, generation: int) -> Key:
    """The account of a voucher in one generation."""
    return Key(ledger_of(position), f"ACCOUNT#{generation:07d}")


def ledger_line(position: int, generation: int, kind: str, redemption: str) -> Key:
    """A line of an account, by what it enters."""
    return Key(ledger_of(position), f"LINE#{generation:07d}#{redemption}#{kind}")


def dispute(position: int, generation: int, kind: str, redemption: str, at: int, reason: str) -> Key:
    """That a movement, told at a time, is disputed."""
    return Key(ledger_of(position), f"DISPUTE#{generation:07d}#{redemption}#{kind}#{at:012d}#{reason}")


def account_in_lot(position: int, generation: int) -> Key:
    """Where an account stands among those of its lot (index `gsi1`)."""
    lot_number, index = divmod(position, 10_000)
    return Key(accounts_in(lot_number), f"{index:04d}#{generation:07d}")


def accounts_in(lot_number: int) -> str:
    """The index partition of the accounts of a lot."""
    return f"{ACCOUNTS}{lot_number:07d}"


def in_accounts(sk: str) -> tuple[int, int]:
    """The index and the generation that a place in such a partition tells."""
    index, _, generation = sk.partition("#")
    return int(index), int(generation)


def moved(date: str, lot_number: int) -> Key:
    """That value of a lot's vouchers moved on a date."""
    return Key(moved_on(date), f"{lot_number:07d}")


def moved_on(date: str) -> str:
    """The partition of the lots of which value moved on a date."""
    return MOVED + date


def reconciliation(id: str) -> Key:
    """A reconciliation."""
    return _own(RECONCILIATION, id)


def findings(reconciliation_id: str, lot_number: int) -> Key:
    """What a reconciliation found in one lot."""
    return Key(findings_of(reconciliation_id), f"LOT#{lot_number:07d}")


def findings_of(reconciliation_id: str) -> str:
    """The partition of a reconciliation and its findings."""
    return RECONCILIATION + reconciliation_id


def counts(lot_number: int) -> Key:
    """How many vouchers of a lot have items of their own, by stored status."""
    return _own(COUNTS, f"{lot_number:07d}")


def erasure(id: str) -> Key:
    """An erasure."""
    return _own(ERASURE, id)


def known(account: str, position: int) -> Key:
    """That a voucher has named the person of an account."""
    return Key(known_of(account), f"{position:011d}")


def known_of(account: str) -> str:
    """The partition of the vouchers that have named the person of an account."""
    return PERSON + account


def message(id: str) -> Key:
    """A message with its attempts."""
    return _own(MESSAGE, id)


def awaiting(id: str, since: int) -> Key:
    """Where a message stands among those whose receipt is awaited, by since when (index `gsi2`)."""
    return Key(awaiting_of()[sum(id.encode()) % LIST_SHARDS], f"{since:012d}#{id}")


def awaiting_of() -> list[str]:
    """The index partitions of those messages."""
    return [f"{AWAITING}{shard}" for shard in range(LIST_SHARDS)]


def awaiting_until(since: int) -> str:
    """What comes after all that has been awaited since then or longer, in such a partition."""
    return f"{since:012d}$"


def pointer(provider: str, provider_id: str) -> Key:
    """Our reference of what a provider tells of by an id of its own."""
    return _own(POINTER, f"{provider}#{provider_id}")


def held_back(id: str, until: int) -> Key:
    """Where a message stands among those that a rule holds, by until when (index `gsi2`)."""
    return Key(held_back_of()[sum(id.encode()) % LIST_SHARDS], f"{until:012d}#{id}")


def held_back_of() -> list[str]:
    """The index partitions of those messages."""
    return [f"{HELD}{shard}" for shard in range(LIST_SHARDS)]


def held_back_until(until: int) -> str:
    """What comes after all that is held until then or less long, in such a partition."""
    return f"{until:012d}$"


def recipient(account: str) -> Key:
    """What is known of a recipient, by the account's id."""
    return _own(RECIPIENT, account)


def merging(account: str) -> Key:
    """Which message others to a recipient go into."""
    return Key(RECIPIENT + account, "MERGING")


def sent(subject: str, window: int) -> Key:
    """How many SMS went to one recipient (by the account's id) or one block of numbers in a window."""
    return _own(SENT, f"{subject}#{window}")


def routing() -> Key:
    """The routes of messages."""
    return _own(ROUTING, "ALL")


def provider(name: str) -> Key:
    """How a provider of SMS is doing."""
    return _own(PROVIDER, name)


def rate(provider: str, second: int) -> Key:
    """How many SMS may have been handed to a provider within a second."""
    return _own(RATE, f"{provider}#{second:012d}")


def received(number: str, id: str, created_at: int) -> Key:
    """Where a message stands among those of its recipient, oldest first (index `gsi1`)."""
    return Key(received_by(number), f"{created_at:012d}#{id}")


def received_by(number: str) -> str:
    """The index partition of a recipient's messages; the number only as a hash."""
    return received_at(derived(number))


def received_at(place: str) -> str:
    """The same by that hash."""
    return RECIPIENT + place


def told_of(position: int, id: str, created_at: int) -> Key:
    """Where a message stands among those about a voucher, oldest first (index `gsi3`)."""
    return Key(told_of_card(position), f"{created_at:012d}#{id}")


def told_of_card(position: int) -> str:
    """The index partition of the messages about a voucher."""
    return f"{ABOUT_CARD}{position:011d}"


def complaint(id: str) -> Key:
    """A complaint."""
    return _own(COMPLAINT, id)


def resends_to(number: str, day: int) -> Key:
    """How many messages were resent to a number on a day (since the epoch); the number only as a hash."""
    return _own(LIMIT, f"resends#{derived(number)}#{day}")


def deliveries(hour: int, said: tuple[str, ...], shard: int) -> Key:
    """One shard of the deliveries' counts of an hour (since the epoch) for what is said of them."""
    place = "#".join((deliveries_since(hour), *(each.replace("#", " ") for each in said)))
    return Key(deliveries_on(hour // 24, shard), place)


def deliveries_on(day: int, shard: int) -> str:
    """The partition of one shard of a day's counts (days since the epoch)."""
    return f"{DELIVERIES}{day:06d}#{shard:02d}"


def deliveries_since(hour: int) -> str:
    """What comes before all counts of an hour (since the epoch) and after it, in such a partition."""
    return f"{hour:08d}"


def in_deliveries(sk: str) -> tuple[int, list[str]]:
    """The hour and what is said, as a place in such a partition tells them."""
    hour, *said = sk.split("#")
    return int(hour), said


def delivery_counted(message: str, version: int) -> Key:
    """That what a version of a message moved is counted."""
    return Key(DELIVERY_COUNTED + message, f"{version:08d}")


def webhook(tenant: str, id: str) -> Key:
    """An endpoint of a tenant."""
    return Key(webhooks_of(tenant), WEBHOOK + id)


def webhooks_of(tenant: str) -> str:
    """The partition of a tenant's endpoints."""
    return WEBHOOK + tenant


def roster(tenant: str) -> Key:
    """Which endpoints a tenant has, before them in their partition."""
    return Key(webhooks_of(tenant), "ROSTER")


def pulse(webhook_id: str) -> Key:
    """How an endpoint does."""
    return _own(PULSE, webhook_id)


def delivery(id: str) -> Key:
    """An event to an endpoint."""
    return _own(DELIVERY, id)


def delivered(webhook_id: str, id: str, created_at: int) -> Key:
    """Where a delivery stands among those to its endpoint, oldest first within a shard (index `gsi1`)."""
    return Key(delivered_to(webhook_id)[sum(id.encode()) % LIST_SHARDS], f"{created_at:012d}#{id}")


def delivered_to(webhook_id: str) -> list[str]:
    """The index partitions of the deliveries to an endpoint."""
    return [f"{DELIVERED}{webhook_id}#{shard}" for shard in range(LIST_SHARDS)]


def entry(id: str) -> Key:
    """An entry of the record, by the id of its event: it is there once."""
    return _own(ENTRY, id)


def chain(name: str) -> Key:
    """The head of a chain of the record."""
    return Key(chain_of(name), "HEAD")


def page(name: str, last: int) -> Key:
    """The ids of the entries that one write appended to a chain, up to this number."""
    return Key(chain_of(name), f"{last:012d}")


def chain_of(name: str) -> str:
    """The partition of a chain's pages."""
    return CHAIN + name


def in_record(at: int, chain_name: str, number: int) -> str:
    """Where an entry stands among others, by the time of what happened (sort key of each index)."""
    return f"{at:012d}#{chain_name}#{number:012d}"


def checkpoint(number: int) -> Key:
    """A checkpoint of the record."""
    return Key(CHECKPOINTS, f"{number:010d}")


CHECKPOINTS = CHECKPOINT + "ALL"
"""The partition of all checkpoints."""


def record_export(id: str) -> Key:
    """An export of the record."""
    return _own(RECORD_EXPORT, id)


def recorded_in(lane: int) -> str:
    """One of the index partitions of all entries, by time (index `gsi1`)."""
    return f"{RECORDED}{lane}"


def recorded_about(kind: str, number: int) -> str:
    """The index partition of the entries about a voucher or a lot (index `gsi2`)."""
    return f"{ABOUT}{kind.upper()}#{number:0{_DIGITS[kind]}d}"


def recorded_by(client_id: str, lane: int) -> str:
    """One index partition of the entries of what a client did (index `gsi3`)."""
    return f"{ACTOR}{client_id}#{lane}"
