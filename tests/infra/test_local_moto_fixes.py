"""moto without and with the fixes: each proof runs twice, in a process of its own, and must differ."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from infra.local.template import ROOT

HEAD = """
import json, sys, threading, time
import botocore.config, botocore.session
from moto import mock_aws
from moto.dynamodb import dynamodb_backends
if sys.argv[1] == "fixed":
    from infra.local import moto_fixes
    moto_fixes.apply()
mock = mock_aws()
mock.start()
client = botocore.session.get_session().create_client("dynamodb", region_name="us-east-1")
client.create_table(
    TableName="t", BillingMode="PAY_PER_REQUEST",
    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
)
backend = dynamodb_backends["123456789012"]["us-east-1"]
def key(pk): return {"pk": {"S": pk}}
def item(pk): return client.get_item(TableName="t", Key=key(pk)).get("Item")
def put(pk, **more): return {"Put": {"TableName": "t", "Item": key(pk), **more}}
FAILING = put("guard", ConditionExpression="attribute_exists(pk)")
"""

CONCURRENT_ADDS = """
sys.setswitchinterval(1e-6)
def add():
    for _ in range(50):
        client.update_item(TableName="t", Key=key("n"), UpdateExpression="ADD n :one",
                           ExpressionAttributeValues={":one": {"N": "1"}})
threads = [threading.Thread(target=add) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(int(item("n")["n"]["N"])))
"""

CANCELLED_TRANSACTION = """
read = backend.get_item
def and_another_caller_writes(table, key_of, *rest, **more):
    backend.get_item = read
    client.put_item(TableName="t", Item=key("of another caller"))
    return read(table, key_of, *rest, **more)
backend.get_item = and_another_caller_writes
try:
    client.transact_write_items(TransactItems=[put("mine"), FAILING])
except client.exceptions.TransactionCanceledException:
    pass
print(json.dumps([item("of another caller") is not None, item("mine") is not None]))
"""

TRANSACTION_COPIES = """
import copy
from moto.dynamodb.models.table import Table
copies = []
Table.__deepcopy__ = lambda self, memo: copies.append(1) or self
client.transact_write_items(TransactItems=[put(str(n)) for n in range(4)])
print(json.dumps(len(copies)))
"""

UNDO = """
client.put_item(TableName="t", Item={**key("changed"), "v": {"S": "before"}})
client.put_item(TableName="t", Item={**key("deleted"), "v": {"S": "before"}})
records = len(backend.tables["t"].stream_shard.items)
change = {"Update": {"TableName": "t", "Key": key("changed"), "UpdateExpression": "SET v = :v",
                     "ExpressionAttributeValues": {":v": {"S": "after"}}}}
try:
    client.transact_write_items(TransactItems=[
        change, {"Delete": {"TableName": "t", "Key": key("deleted")}}, put("new"), FAILING])
except client.exceptions.TransactionCanceledException as refused:
    reasons = [reason["Code"] for reason in refused.response["CancellationReasons"]]
print(json.dumps([item("changed")["v"]["S"], item("deleted")["v"]["S"], item("new"), reasons,
                  len(backend.tables["t"].stream_shard.items) - records]))
"""

SPELLINGS = """
from moto.core.serialize import AttributePicker
tries, original = [], AttributePicker.__call__
AttributePicker.__call__ = lambda self, context: tries.append(1) or original(self, context)
def cost(values):
    client.put_item(TableName="t", Item={**key(str(values)), **{f"v{n}": {"S": "v"} for n in range(values)}})
    tries.clear()
    item(str(values))
    return len(tries)
print(json.dumps(cost(11) - cost(1)))
"""

EVERY_KIND = """
value = {"M": {"s": {"S": "卡密"}, "n": {"N": "1"}, "b": {"B": b"\\x00\\xff"},
               "no": {"NULL": True}, "t": {"BOOL": False},
               "l": {"L": [{"B": b"\\x01"}, {"L": []}, {"M": {}}]}, "ns": {"NS": ["1"]}, "bs": {"BS": [b"\\x02"]}}}
client.put_item(TableName="t", Item={**key("all"), "value": value})
streams = botocore.session.get_session().create_client(
    "dynamodbstreams", region_name="us-east-1", config=botocore.config.Config(account_id_endpoint_mode="disabled"))
(stream,) = streams.list_streams()["Streams"]
arn = stream["StreamArn"]
(shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
start = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
(record,) = streams.get_records(ShardIterator=start["ShardIterator"])["Records"]
print(json.dumps([item("all")["value"] == value, record["dynamodb"]["NewImage"]["value"] == value]))
"""

COUNTED = """
from moto.sqs.models import Message
sqs = botocore.session.get_session().create_client("sqs", region_name="us-east-1")
queue = sqs.create_queue(QueueName="q")["QueueUrl"]
looks, original = [], Message.visible.fget
Message.visible = property(lambda self: looks.append(1) or original(self))
for n in range(20):
    sqs.send_message(QueueUrl=queue, MessageBody=str(n))
sent = len(looks)
bodies = [message["Body"] for _ in range(2)
          for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]]
print(json.dumps([sent, bodies == [str(n) for n in range(20)]]))
"""

KEPT = """
import http.client
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
host, port = server.get_host_and_port()
connection = http.client.HTTPConnection(host, port)
def ask(service, method, path, body=None, **headers):
    scope = f"Credential=me/20270101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    connection.request(method, path, body, {"Authorization": "AWS4-HMAC-SHA256 " + scope, **headers})
    reply = connection.getresponse()
    return [reply.status, reply.read().decode(), reply.will_close]
get = json.dumps({"TableName": "t", "Key": key("none")})
print(json.dumps([
    ask("dynamodb", "POST", "/", get, **{"X-Amz-Target": "DynamoDB_20120810.GetItem"}),
    ask("s3", "PUT", "/bucket")[::2], ask("s3", "PUT", "/bucket/key", "content")[::2], ask("s3", "HEAD", "/bucket/key"),
    ask("s3", "GET", "/bucket/key"), ask("s3", "GET", "/bucket/none")[::2], ask("s3", "DELETE", "/bucket/key"),
]))
"""

SORTED = """
from moto.dynamodb.models.dynamo_type import DynamoType
for n in range(20):
    client.put_item(TableName="t", Item=key(str(n)))
compared, original = [], DynamoType.__lt__
DynamoType.__lt__ = lambda self, other: compared.append(1) or original(self, other)
found = client.query(TableName="t", KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": "7"}})
print(json.dumps([found["Count"], len(compared) > 0]))
"""

QUERIES = """
def keys(*names): return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ["HASH", "RANGE"])]
client.create_table(
    TableName="r", BillingMode="PAY_PER_REQUEST", KeySchema=keys("pk", "sk"),
    AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "ipk", "isk")],
    GlobalSecondaryIndexes=[
        {"IndexName": "idx", "KeySchema": keys("ipk", "isk"), "Projection": {"ProjectionType": "KEYS_ONLY"}}],
)
for n in (3, 1, 4, 0, 2, 5):
    indexed = {"ipk": {"S": "odd" if n % 2 else "even"}, "isk": {"S": str(9 - n)}} if n else {"ipk": {"S": "even"}}
    client.put_item(TableName="r", Item={**key("ab"[n > 2]), "sk": {"S": str(n)}, **indexed})
def answers(pk, value, **more):
    pages = client.get_paginator("query").paginate(
        TableName="r", KeyConditionExpression=f"{pk} = :pk" + more.pop("also", ""), PaginationConfig={"PageSize": 1},
        ExpressionAttributeValues={":pk": {"S": value}, **more.pop("values", {})}, **more)
    return [item for page in pages for item in page["Items"]]
print(json.dumps([
    answers("pk", "a"), answers("pk", "b", ScanIndexForward=False), answers("pk", "none"),
    answers("pk", "b", also=" AND sk > :sk", values={":sk": {"S": "3"}}),
    answers("ipk", "even", IndexName="idx"), answers("ipk", "odd", IndexName="idx", ScanIndexForward=False),
    answers("ipk", "none", IndexName="idx"),
    answers("ipk", "odd", IndexName="idx", also=" AND isk < :isk", values={":isk": {"S": "8"}}),
]))
"""

ANSWERS = """
from botocore.exceptions import ClientError
large = {**key("large"), "v": {"S": "卡" * 140_000}}
full = {**key("full"), "b": {"B": b"\\x00"},
        "bs": {"BS": [b"\\x01"]}, "m": {"M": {"B": {"S": "text"}, "n": {"N": "1"}}}}
new = {"ConditionExpression": "attribute_not_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
only = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": "full"}}}
one = {"UpdateExpression": "ADD n :n", "ExpressionAttributeValues": {":n": {"N": "1"}}, "ReturnValues": "ALL_NEW"}
def answer(operation, **request):
    try:
        reply = getattr(client, operation)(**request)
    except ClientError as refused:
        reply = refused.response
    status = reply.pop("ResponseMetadata")["HTTPStatusCode"]
    return [status, json.loads(json.dumps(reply, default=list))]
print(json.dumps([
    answer("put_item", TableName="t", Item=full, **new, ReturnConsumedCapacity="TOTAL"),
    answer("put_item", TableName="t", Item=full, **new),
    answer("put_item", TableName="t", Item=large),
    answer("put_item", TableName="t", Item={"v": {"S": "no key"}}),
    answer("get_item", TableName="t", Key=key("full")),
    answer("get_item", TableName="t", Key=key("none")),
    answer("get_item", TableName="none", Key=key("full")),
    answer("update_item", TableName="t", Key=key("n"), **one),
    answer("query", TableName="t", **only),
    answer("scan", TableName="t", Limit=1),
    answer("batch_get_item", RequestItems={"t": {"Keys": [key("full"), key("none")]}}),
    answer("batch_write_item", RequestItems={"t": [{"DeleteRequest": {"Key": key("n")}}]}),
    answer("transact_write_items", TransactItems=[put("p"), {"Put": {"TableName": "t", "Item": full, **new}}]),
    answer("transact_get_items", TransactItems=[{"Get": {"TableName": "t", "Key": key("full")}}]),
    answer("delete_item", TableName="t", Key=key("full"), ReturnValues="ALL_OLD"),
]))
"""


def outcome(script: str, how: str) -> Any:
    done = subprocess.run([sys.executable, "-c", HEAD + script, how], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("script", "unfixed", "fixed"),
    [
        pytest.param(CANCELLED_TRANSACTION, [False, False], [True, False], id="others' writes survive a cancellation"),
        pytest.param(TRANSACTION_COPIES, 4, 0, id="a transaction copies no table"),
        pytest.param(SPELLINGS, 100, 0, id="an attribute value is spelled in one way"),
        pytest.param(COUNTED, [380, True], [0, True], id="sending counts nothing"),
        pytest.param(
            KEPT,
            [
                [200, "{}", True],
                [200, True],
                [200, True],
                [200, "", True],
                [200, "content", True],
                [404, True],
                [204, "", True],
            ],
            [
                [200, "{}", False],
                [200, False],
                [200, False],
                [200, "", False],
                [200, "content", False],
                [404, False],
                [204, "", False],
            ],
            id="a connection is kept",
        ),
        pytest.param(SORTED, [1, True], [1, False], id="a query sorts no other partition"),
    ],
)
def test_moto_needs_the_fix_and_the_fix_works(script: str, unfixed: Any, fixed: Any) -> None:
    assert outcome(script, "unfixed") == unfixed
    assert outcome(script, "fixed") == fixed


def test_concurrent_adds_are_all_counted() -> None:
    assert any(outcome(CONCURRENT_ADDS, "unfixed") < 400 for _ in range(5))
    assert outcome(CONCURRENT_ADDS, "fixed") == 400


def test_a_cancelled_transaction_leaves_items_and_stream_as_they_were() -> None:
    reasons = ["None", "None", "None", "ConditionalCheckFailed"]
    assert outcome(UNDO, "fixed") == ["before", "before", None, reasons, 0]


def test_values_of_every_kind_come_back_as_they_were() -> None:
    assert outcome(EVERY_KIND, "fixed") == [True, True]


def test_the_straight_way_answers_as_moto_does() -> None:
    answers = outcome(ANSWERS, "fixed")
    assert [status for status, _ in answers] == [
        200,
        400,
        400,
        400,
        200,
        200,
        400,
        200,
        200,
        200,
        200,
        200,
        400,
        200,
        200,
    ]
    assert answers == outcome(ANSWERS, "unfixed")


def test_a_query_finds_what_moto_finds() -> None:
    found = outcome(QUERIES, "fixed")
    assert [len(items) for items in found] == [3, 3, 0, 2, 2, 3, 0, 2]
    assert found == outcome(QUERIES, "unfixed")
