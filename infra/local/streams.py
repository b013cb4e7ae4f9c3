"""Event sources, imitated: Lambda's poller for a table's stream.

Records that pass the filters wait in lanes by their item's key, so changes of one item stay in order and several
batches of a shard can be at work. A batch is done up to its first failure, halved when the function raises, and tried
again until its retries are used up or its records too old; then it goes to the bucket and the lane goes on.
Source: AWS's "Using AWS Lambda with Amazon DynamoDB".
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
import uuid
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from infra.local import moto_fixes
from infra.local.gateway import FunctionError, IntegrationTimeoutError, ThrottledError
from infra.local.patterns import matcher
from infra.local.pumps import INVOKE_MAX_S, POLL_S, ActingAs, failed_ids
from infra.local.resources import StreamSource
from infra.local.template import REGION

READ_MAX: Final = 1000
"""GetRecords gives at most so many."""
WAITING_MAX: Final = 2000
"""Nothing more is read while so many records wait in the lanes."""
PAUSE_S: Final = 0.1
PAUSE_MAX_S: Final = 10.0
"""Pauses between tries double from the first to the second; Lambda's go on to a minute."""

Json = dict[str, Any]
Invoke = Callable[[str, Json, float], Any]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as the function gets it, and where it lies."""

    shard: str
    key: str
    body: Json

    @property
    def number(self) -> str:
        """Its sequence number."""
        return str(self.body["dynamodb"]["SequenceNumber"])

    @property
    def created_at(self) -> float:
        return float(self.body["dynamodb"]["ApproximateCreationDateTime"])


def to_json(attribute: Json) -> Json:
    """An attribute's value as it stands in Lambda's JSON: binary as Base64."""
    if not attribute:
        return {"M": {}}  # DynamoDB Local loses the type of an empty map
    ((kind, value),) = attribute.items()
    match kind:
        case "M":
            return {kind: {name: to_json(part) for name, part in value.items()}}
        case "L":
            return {kind: [to_json(part) for part in value]}
        case "B":
            return {kind: base64.b64encode(value).decode()}
        case "BS":
            return {kind: [base64.b64encode(part).decode() for part in value]}
    return {kind: value}


def _change(found: Json) -> Json:
    """The `dynamodb` member of a record."""
    images = {
        name: {key: to_json(value) for key, value in image.items()} if isinstance(image, dict) else image
        for name, image in found.items()
    }
    return images | {"ApproximateCreationDateTime": int(found["ApproximateCreationDateTime"].timestamp())}


def to_record(source: StreamSource, shard: str, found: Json) -> Record:
    """A record of GetRecords."""
    body = {
        "eventID": found["eventID"],
        "eventName": found["eventName"],
        "eventVersion": found.get("eventVersion", "1.1"),
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": _change(found["dynamodb"]),
        "eventSourceARN": source.stream_arn,
    }
    return Record(shard, json.dumps(body["dynamodb"]["Keys"], sort_keys=True), body)


@dataclass(slots=True)
class Batch:
    """Consecutive records of a lane, and how often they were tried in vain."""

    records: list[Record]
    tries: int = 0
    invokes: int = 0


class Shards:
    """Reads a stream's shards, parents before their children, each from its beginning."""

    def __init__(self, client: Any, source: StreamSource, acting: ActingAs) -> None:
        self._client, self._source, self._acting = client, source, acting
        self.rewind()
        with acting():  # AWS checks this when the mapping is made
            client.list_streams(TableName=source.table)

    def rewind(self) -> None:
        """Begin anew, as a new event source mapping would."""
        self._open: list[Json] = []
        self._iterators: dict[str, str] = {}
        self._last: dict[str, str] = {}
        self._ended: set[str] = set()
        self._read_to: int | None = None

    def read(self) -> list[Record]:
        """What came since the last time, in order; moto, in whose process this runs, is not asked where nothing did."""
        written = moto_fixes.changes(self._source.table)
        if written is not None and written == self._read_to:
            return []
        before = dict(self._last)
        found = self._next()
        if self._last == before:
            self._read_to = written
        return found

    def _next(self) -> list[Record]:
        with self._acting():
            if not self._open:
                self._open = self._described()
            for shard in self._open:
                if found := self._read(shard["ShardId"]):
                    return found
        return []

    def _described(self) -> list[Json]:
        """The shards that are to be read now."""
        described = self._client.describe_stream(StreamArn=self._source.stream_arn)["StreamDescription"]
        left = [shard for shard in described["Shards"] if shard["ShardId"] not in self._ended]
        waiting = {shard["ShardId"] for shard in left}
        return [shard for shard in left if shard.get("ParentShardId") not in waiting]

    def _read(self, id: str) -> list[Record]:
        """An iterator is used once: where it fails, the next one begins after what was read last."""
        iterator = self._iterators.pop(id, None) or self._iterator(id)
        reply = self._client.get_records(ShardIterator=iterator, Limit=READ_MAX)
        records = reply["Records"]
        if records:
            self._last[id] = records[-1]["dynamodb"]["SequenceNumber"]
        if "NextShardIterator" in reply:
            self._iterators[id] = reply["NextShardIterator"]
        else:
            self._ended.add(id)
            self._open = []
        # moto tells of a put that changed nothing; DynamoDB does not
        changes = (one for one in records if one["dynamodb"].get("OldImage") != one["dynamodb"].get("NewImage"))
        return [to_record(self._source, id, one) for one in changes]

    def _iterator(self, id: str) -> str:
        since: Json = {"ShardIteratorType": "TRIM_HORIZON"}
        if id in self._last:
            since = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": self._last[id]}
        reply = self._client.get_shard_iterator(StreamArn=self._source.stream_arn, ShardId=id, **since)
        return str(reply["ShardIterator"])


class StreamPump:
    """Moves one stream's records into its function."""

    def __init__(
        self, source: StreamSource, streams: Any, s3: Any, acting: ActingAs, invoke: Invoke, function_arn: str
    ) -> None:
        self.source, self._s3, self._acting, self._invoke = source, s3, acting, invoke
        self._function_arn = function_arn
        self._filters = [matcher(pattern) for pattern in source.filters]
        self._shards = Shards(streams, source, acting)
        self._lanes: list[deque[Record]] = [deque() for _ in range(source.lanes)]
        self._stop = threading.Event()
        self._waits = False
        if source.failures:
            with acting():  # AWS checks this too
                s3.list_objects_v2(Bucket=source.failures, MaxKeys=1)

    def rewind(self) -> None:
        """Read the stream from its beginning again, as after a restore of the mapping."""
        self._shards.rewind()

    def step(self, *, twice: bool = False, shuffle: Random | None = None) -> bool:
        """One batch, until it is done or set aside, without pauses; False if there was nothing to do.

        `twice`: the first reply to each batch is lost. `shuffle`: lanes take turns at random, and records of different
        items change places, as DynamoDB may have them.
        """
        self._collect(shuffle)
        waiting = [lane for lane in self._lanes if lane]
        if not waiting:
            return False
        lane = shuffle.choice(waiting) if shuffle else waiting[0]
        size = shuffle.randint(1, self.source.batch_size) if shuffle else self.source.batch_size
        self._work(_take(lane, size), twice=twice)
        return True

    def run(self, stop: threading.Event) -> None:
        """Polls until `stop`, with one batch of each lane at work at a time."""
        self._stop, self._waits = stop, True
        busy: dict[int, Future[None]] = {}
        with ThreadPoolExecutor(self.source.lanes, thread_name_prefix="stream") as threads:
            while not stop.is_set():
                try:
                    self._collect()
                except Exception as error:  # a missing grant, say: nothing else would show it
                    print(f"The stream of {self.source.table}: {error}", file=sys.stderr)
                    stop.wait(PAUSE_MAX_S)
                for number, lane in enumerate(self._lanes):
                    if lane and (number not in busy or busy[number].done()):
                        busy[number] = threads.submit(self._work_aloud, _take(lane, self.source.batch_size))
                stop.wait(POLL_S)

    def _work_aloud(self, records: list[Record]) -> None:
        try:
            self._work(records)
        except Exception as error:
            print(f"The stream of {self.source.function}: {error}", file=sys.stderr)

    def _collect(self, shuffle: Random | None = None) -> None:
        """Reads what the filters pass into the lanes."""
        if sum(map(len, self._lanes)) >= WAITING_MAX:
            return
        found: list[Record] = []
        while not found and (page := self._shards.read()):  # a page of nothing that passes is not the stream's end
            found = [one for one in page if not self._filters or any(f(one.body) for f in self._filters)]
        for record in shuffled(found, shuffle) if shuffle else found:
            self._lanes[zlib.crc32(record.key.encode()) % len(self._lanes)].append(record)

    def _work(self, records: list[Record], *, twice: bool = False) -> None:
        """Until every record is done or set aside, or the pump stops."""
        left = deque([Batch(records)])
        while left and not self._stop.is_set():
            batch = left.popleft()
            old, batch.records = self._by_age(batch.records)
            if old:
                self._set_aside(Batch(old, invokes=batch.invokes), "RecordAgeExceeded")
            if batch.records:
                left.extendleft(reversed(self._try(batch, twice=twice)))

    def _try(self, batch: Batch, *, twice: bool) -> list[Batch]:
        """One try, and what is left of the batch."""
        try:
            done, raised = self._invoked(batch, twice=twice), False
        except (ThrottledError, IntegrationTimeoutError):
            self._pause(batch)
            return [batch]
        except FunctionError:
            done, raised = 0, True
        if done == len(batch.records):
            return []
        if done:
            return [Batch(batch.records[done:], invokes=batch.invokes)]
        if raised and self.source.bisect and len(batch.records) > 1:  # halving is not counted as a retry
            middle = len(batch.records) // 2
            return [Batch(half, batch.tries, batch.invokes) for half in _halves(batch.records, middle)]
        if self.source.retries_max is not None and batch.tries >= self.source.retries_max:
            self._set_aside(batch, "RetryAttemptsExhausted")
            return []
        batch.tries += 1
        self._pause(batch)
        return [batch]

    def _invoked(self, batch: Batch, *, twice: bool) -> int:
        """How many of the records, from the first on, the function says are done."""
        event = {"Records": [record.body for record in batch.records]}
        if twice:
            with suppress(FunctionError):
                self._invoke(self.source.function, event, INVOKE_MAX_S)
        batch.invokes += 1
        result = self._invoke(self.source.function, event, INVOKE_MAX_S)
        if not self.source.partial_failures:
            return len(batch.records)
        numbers = [record.number for record in batch.records]
        failed = failed_ids(result, set(numbers))
        return next((place for place, number in enumerate(numbers) if number in failed), len(numbers))

    def _pause(self, batch: Batch) -> None:
        if self._waits:
            self._stop.wait(min(PAUSE_MAX_S, PAUSE_S * 2**batch.tries))

    def _by_age(self, records: list[Record]) -> tuple[list[Record], list[Record]]:
        if self.source.age_max_s is None:
            return [], records
        since = time.time() - self.source.age_max_s
        fresh = next((place for place, one in enumerate(records) if one.created_at >= since), len(records))
        return records[:fresh], records[fresh:]

    def _set_aside(self, batch: Batch, condition: str) -> None:
        if self.source.failures is None:
            return
        now = datetime.now(UTC)
        name = f"{now:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
        key = f"aws/lambda/{self.source.id}/{batch.records[0].shard}/{now:%Y/%m/%d}/{name}"
        body = json.dumps(self._invocation_record(batch, condition, now))
        with self._acting():
            self._s3.put_object(Bucket=self.source.failures, Key=key, Body=body.encode())

    def _invocation_record(self, batch: Batch, condition: str, now: datetime) -> Json:
        """What Lambda writes to a bucket; the payload is the event itself, as text."""
        first, last = batch.records[0], batch.records[-1]
        return {
            "requestContext": {
                "requestId": str(uuid.uuid4()),
                "functionArn": f"{self._function_arn}:$LATEST",
                "condition": condition,
                "approximateInvokeCount": batch.invokes,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
            "DDBStreamBatchInfo": {
                "shardId": first.shard,
                "startSequenceNumber": first.number,
                "endSequenceNumber": last.number,
                "approximateArrivalOfFirstRecord": _iso(first.created_at),
                "approximateArrivalOfLastRecord": _iso(last.created_at),
                "batchSize": len(batch.records),
                "streamArn": self.source.stream_arn,
            },
            "payload": json.dumps({"Records": [record.body for record in batch.records]}),
        }


def _iso(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _halves(records: list[Record], middle: int) -> tuple[list[Record], list[Record]]:
    return records[:middle], records[middle:]


def _take(lane: deque[Record], size: int) -> list[Record]:
    """The next records of a lane, all of one shard."""
    taken = [lane.popleft()]
    while lane and len(taken) < size and lane[0].shard == taken[0].shard:
        taken.append(lane.popleft())
    return taken


def shuffled(records: Iterable[Record], random: Random) -> list[Record]:
    """The records in another order, in which those of one item keep theirs."""
    by_key: dict[str, deque[Record]] = defaultdict(deque)
    for record in records:
        by_key[record.key].append(record)
    order = [key for key, waiting in by_key.items() for _ in waiting]
    random.shuffle(order)
    return [by_key[key].popleft() for key in order]
