"""What moto 5.2.5 needs to be trusted by more than one thread (pinned exactly; tests/infra/test_local_moto_fixes.py).

1. Its backends are plain objects without locks: 400 concurrent ADDs gave 358. One lock goes round both of its doors,
   the in-process stubber and the WSGI application.
2. `transact_write_items` deep-copies every table it names once per action and, when cancelled, puts the copy in the
   place: slow, and writes of others acknowledged in between vanish. Here the items it names are undone instead.
3. Rules of a bus know neither `InputPath` nor dead-letter queues: bus.py delivers in their stead.
4. Each poll of a stream leaves an iterator behind for good: only the last ones are kept.
5. Its answers try every way to spell every kind of every attribute value, which was a half of all that the local cloud
   did. The values are in DynamoDB's JSON already.
6. Sending a message, and receiving one, counts all the messages of the queue several times over, and asks what time it
   is for each of them: 10 ms where a thousand wait.
7. Most of a call of DynamoDB went into reading it, and writing its answer, by way of the service's model; here it goes
   straight to moto's handler. An item was measured anew for each of its attributes; here it is once, if it may be too
   large.
8. All methods of a service were listed for each call, to find the one; so were all services, and the attributes of a
   queue were spelt anew for each message.
9. Its server closed the connection after each call, and waited 10 ms for what might still come.
10. A query sorted all items of the table, to look through them for those of one partition: with 5,000 items, 100 ms.
"""

from __future__ import annotations

import base64
import copy
import functools
import json
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from io import BytesIO
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from moto import backends
from moto.core import responses
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.exceptions import JsonRESTError
from moto.core.model import StructureShape
from moto.core.serialize import BaseJSONSerializer
from moto.core.utils import unix_time_millis
from moto.dynamodb import models
from moto.dynamodb.exceptions import ItemSizeTooLarge
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler
from moto.dynamodbstreams.models import DynamoDBStreamsBackend
from moto.events.models import Rule
from moto.kms import models as kms
from moto.kms.utils import generate_private_key
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler
from moto.sqs import models as queues
from moto.sqs.models import Message, Queue, SQSBackend, sqs_backends

from infra.local import bus
from infra.local.template import ACCOUNT, REGION

ITERATORS_MAX: Final = 100
ITEM_BYTES_MAX: Final = 405_000
"""moto's own limit."""
BYTES_PER_CHARACTER_MAX: Final = 4
TABLES_HOST: Final = f"dynamodb.{REGION}.amazonaws.com"
TABLES: Final = "DynamoDB_20120810."
"""How the header that names an operation begins."""
STRAIGHT: Final = {
    "GetItem": "get_item", "PutItem": "put_item", "UpdateItem": "update_item", "DeleteItem": "delete_item",
    "BatchGetItem": "batch_get_item", "BatchWriteItem": "batch_write_item", "Query": "query", "Scan": "scan",
    "TransactGetItems": "transact_get_items", "TransactWriteItems": "transact_write_items",
}  # fmt: skip
"""DynamoDB's operations on items, by moto's methods; the others are rare."""
SLOW: Final = (
    (responses, "method_names_from_class"), (responses, "camelcase_to_underscores"),
    (queues, "camelcase_to_underscores"),
)  # fmt: skip
"""Functions of nothing but their arguments."""
LOCK: Final = threading.RLock()


def _locked(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def one_at_a_time(*args: Any, **kwargs: Any) -> Any:
        with LOCK:
            return original(*args, **kwargs)

    return one_at_a_time


def _snapshot(table: Table, action: dict[str, Any]) -> Callable[[], None]:
    """Remembers the one item that `action` may write, and returns what puts it back."""
    key = action.get("Key") or action["Item"]
    hash_key = DynamoType(key[table.hash_key_attr])
    range_key = DynamoType(key[table.range_key_attr]) if table.range_key_attr else None
    held = table.items.get(hash_key)
    before = copy.deepcopy(held if range_key is None or held is None else held.get(range_key))

    def undo() -> None:
        place, name = (table.items, hash_key) if range_key is None else (table.items[hash_key], range_key)
        if before is None:
            place.pop(name, None)
        else:
            place[name] = before
        if range_key is not None and not table.items[hash_key]:
            del table.items[hash_key]

    return undo


def _transact_write_items(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def with_item_level_undo(self: models.DynamoDBBackend, transact_items: list[dict[str, Any]]) -> Any:
        actions = [action for item in transact_items for action in item.values() if action["TableName"] in self.tables]
        tables = {action["TableName"]: self.tables[action["TableName"]] for action in actions}
        undo = [_snapshot(tables[action["TableName"]], action) for action in actions]
        shards = [table.stream_shard for table in tables.values() if table.stream_shard]
        lengths = [len(shard.items) for shard in shards]
        try:
            return original(self, transact_items)
        except Exception:
            for put_back in reversed(undo):
                put_back()
            for shard, length in zip(shards, lengths, strict=True):
                del shard.items[length:]
            raise

    return with_item_level_undo


def _deepcopy_but_tables(value: Any) -> Any:
    """moto's own undo puts back what this returned: a table stands for itself, its items are undone above."""
    return value if isinstance(value, Table) else copy.deepcopy(value)


def _private_key(original: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda key_spec: None if key_spec == "SYMMETRIC_DEFAULT" else original(key_spec)


def _get_records(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def and_forget(self: DynamoDBStreamsBackend, iterator_arn: str, limit: int) -> Any:
        for stale in list(self.shard_iterators)[:-ITERATORS_MAX]:
            del self.shard_iterators[stale]
        return original(self, iterator_arn, limit)

    return and_forget


def _structure(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def but_for_values(self: BaseJSONSerializer, serialized: Any, value: Any, shape: StructureShape, key: str) -> None:
        if shape.name == "AttributeValue" and isinstance(value, dict):
            self._default_serialize(serialized, _on_the_wire(value), shape, key)
        else:
            original(self, serialized, value, shape, key)

    return but_for_values


def _on_the_wire(value: Any) -> Any:
    match value:
        case dict():
            return {name: _on_the_wire(part) for name, part in value.items()}
        case list():
            return [_on_the_wire(part) for part in value]
        case bytes():
            return base64.b64encode(value).decode()
    return value


def _send_message(original: Callable[..., Message]) -> Callable[..., Message]:
    @functools.wraps(original)
    def without_counting(self: SQSBackend, queue_name: str, *args: Any, **kwargs: Any) -> Message:
        queue = self.get_queue(queue_name)
        with LOCK:
            waiting, queue._messages = queue._messages, []  # what is not there need not be counted
            try:
                return original(self, queue_name, *args, **kwargs)
            finally:
                queue._messages = [*waiting, *queue._messages]

    return without_counting


def _process_request(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def straight(self: BotocoreStubber, request: Any) -> Any:
        target = request.headers.get("X-Amz-Target", "")
        operation = _straight(target.decode() if isinstance(target, bytes) else target)
        if operation is None or urlsplit(request.url).netloc != TABLES_HOST:
            return original(self, request)
        return _answered(operation, request.body)

    return straight


def _application(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def straight(self: DomainDispatcherApplication, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        operation = _straight(environ.get("HTTP_X_AMZ_TARGET", ""))
        if operation is None:
            return list(original(self, environ, start_response))  # it must be complete before the lock opens
        status, headers, body = _answered(operation, environ["wsgi.input"].read())
        start_response(
            f"{status} {HTTPStatus(status).phrase}", [("content-type", "application/x-amz-json-1.0"), *headers.items()]
        )
        return [body.encode()]

    return straight


def _run_wsgi(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def and_stay(self: MotoRequestHandler) -> None:
        if "Transfer-Encoding" in self.headers or "Expect" in self.headers:
            original(self)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers = "", []

        def start_response(as_status: str, as_headers: list[tuple[str, str]], _: Any = None) -> Any:
            nonlocal status, headers
            status, headers = as_status, as_headers

        content = b"".join(self.server.app({**self.make_environ(), "wsgi.input": BytesIO(body)}, start_response))
        self.send_response(int(status.partition(" ")[0]))
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    return and_stay


def _straight(target: str) -> str | None:
    """moto's method for an operation on items."""
    return STRAIGHT.get(target.removeprefix(TABLES)) if target.startswith(TABLES) else None


def _answered(operation: str, request: bytes) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of an operation on items, as moto would answer it."""
    handler, headers = DynamoHandler(), {"x-amzn-requestid": str(uuid4())}
    handler.current_account, handler.region = ACCOUNT, REGION
    handler.body = json.loads(request, object_hook=_read)
    try:
        result = getattr(handler, operation)().result
    except JsonRESTError as refusal:
        return int(refusal.code or 400), {**dict(refusal.get_headers()), **headers}, str(refusal.description)
    return 200, headers, json.dumps(_on_the_wire(result))


def _read(value: dict[str, Any]) -> dict[str, Any]:
    """Bytes from what stands for them in JSON."""
    match value:
        case {"B": str(encoded)} if len(value) == 1:
            return {"B": base64.b64decode(encoded)}
        case {"BS": [*encoded]} if len(value) == 1:
            return {"BS": [base64.b64decode(one) for one in encoded]}
    return value


def _item(self: Item, hash_key: DynamoType, range_key: DynamoType | None, attrs: dict[str, Any]) -> None:
    self.hash_key, self.range_key = hash_key, range_key
    self.attrs = LimitedSizeDict()
    for key, value in attrs.items():
        dict.__setitem__(self.attrs, key, DynamoType(value))
    if len(repr(attrs)) * BYTES_PER_CHARACTER_MAX > ITEM_BYTES_MAX and self.size() > ITEM_BYTES_MAX:
        raise ItemSizeTooLarge


def _query(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def of_its_partition(self: Table, *args: Any, **kwargs: Any) -> Any:
        found = _in_partition(self, kwargs["hash_key_conditions"])
        with LOCK:
            self.__dict__["all_items"] = lambda: found  # moto sorts those of the partition once more
            try:
                return original(self, *args, **kwargs)
            finally:
                del self.__dict__["all_items"]

    return of_its_partition


def _in_partition(table: Table, conditions: list[tuple[str, DynamoType]]) -> list[Item]:
    """The items whose attributes are equal to these: the partition key's, of the table or of an index."""
    if [name for name, _ in conditions] == [table.hash_key_attr]:
        found: Any = table.items.get(conditions[0][1], {})
        return list(found.values()) if table.range_key_attr else [found] if found else []
    parts: list[Any] = list(table.items.values())
    items = (item for part in parts for item in (part.values() if table.range_key_attr else [part]))
    values = [(name, value.type, value.value) for name, value in conditions]
    return [
        item
        for item in items
        if all((held := item.attrs.get(name)) and (held.type, held.value) == (kind, v) for name, kind, v in values)
    ]


def _there(queue: Queue) -> list[Message]:
    now_ms = unix_time_millis()
    return [one for one in queue._messages if one.visible_at < now_ms >= one.delayed_until]


def due(queue_url: str) -> bool:
    """Whether a queue has anything to receive: a hundredth of what it takes to receive nothing."""
    with LOCK:
        return bool(_there(sqs_backends[ACCOUNT][REGION].queues[queue_url.rpartition("/")[2]]))


def changes(table: str) -> int | None:
    """How many records the stream of a table holds; None for a table that is not moto's."""
    with LOCK:
        found = models.dynamodb_backends[ACCOUNT][REGION].tables.get(table)
        return len(found.stream_shard.items) if found and found.stream_shard else None


def _is_kept(self: SQSBackend, queue_name: str, message: Message) -> bool:
    kept_s: Any = self.get_queue(queue_name).message_retention_period  # type: ignore[attr-defined]
    sent_ms: Any = message.sent_timestamp
    return bool(sent_ms / 1000 + kept_s > time.time())


@functools.cache
def apply() -> None:
    """Patches moto in this process, once."""
    BotocoreStubber.process_request = _locked(  # type: ignore[method-assign]
        _process_request(BotocoreStubber.process_request)
    )
    DomainDispatcherApplication.__call__ = _locked(  # type: ignore[method-assign]
        _application(DomainDispatcherApplication.__call__)
    )
    MotoRequestHandler.run_wsgi = _run_wsgi(MotoRequestHandler.run_wsgi)  # type: ignore[method-assign]
    MotoRequestHandler.protocol_version = "HTTP/1.1"
    MotoRequestHandler.wbufsize = -1
    backend = models.DynamoDBBackend
    backend.transact_write_items = _transact_write_items(backend.transact_write_items)  # type: ignore[method-assign]
    Rule.send_to_targets = bus.send_to_targets  # type: ignore[method-assign, assignment]
    streams = DynamoDBStreamsBackend
    streams.get_records = _get_records(streams.get_records)  # type: ignore[method-assign]
    BaseJSONSerializer._serialize_type_structure = _structure(  # type: ignore[method-assign]
        BaseJSONSerializer._serialize_type_structure
    )
    Item.__init__ = _item  # type: ignore[method-assign]
    Table.query = _query(Table.query)  # type: ignore[method-assign]
    for module, name in SLOW:
        setattr(module, name, functools.cache(getattr(module, name)))
    services = frozenset(backends.list_of_moto_modules())
    setattr(backends, "list_of_moto_modules", lambda: services)  # noqa: B010 (not to be assigned to)
    SQSBackend.send_message = _send_message(SQSBackend.send_message)  # type: ignore[method-assign]
    Queue.messages = property(_there)  # type: ignore[method-assign, assignment]
    SQSBackend.is_message_valid_based_on_retention_period = _is_kept  # type: ignore[method-assign]
    setattr(kms, "generate_private_key", _private_key(generate_private_key))  # noqa: B010 (not exported by name)
    setattr(models, "copy", SimpleNamespace(deepcopy=_deepcopy_but_tables))  # noqa: B010
