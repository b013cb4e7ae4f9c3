"""A function may do what its role allows: evaluation, what calls need, enforcement, and the record."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local import policy
from infra.local.cloud import Cloud
from infra.local.gateway import FunctionError
from infra.local.policy import LEADING_KEYS, Names, Request, Role, requests_of, single_grants, unneeded_grants
from infra.local.template import TemplateError
from tests.infra.local_small import ONLY_USERS, TABLE_ARN, allow, small

TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/Table"
ALLOW_READ = {"Effect": "Allow", "Action": "dynamodb:Get*", "Resource": TABLE}


def role(*bodies: dict[str, Any]) -> Role:
    return Role("arn:aws:iam::123456789012:role/r", tuple(policy.statements({"Statement": list(bodies)})))


def read(*keys: str) -> Request:
    return Request("dynamodb:GetItem", TABLE, ((LEADING_KEYS, keys),) if keys else ())


def conditional(**condition: Any) -> dict[str, Any]:
    named = {name.replace("__", ":"): {LEADING_KEYS: wanted} for name, wanted in condition.items()}
    return {**ALLOW_READ, "Condition": named}


@pytest.mark.parametrize(
    ("statements", "request_", "allowed"),
    [
        ([], read(), False),
        ([ALLOW_READ], read(), True),
        ([{**ALLOW_READ, "Action": "DYNAMODB:getitem"}], read(), True),
        ([{**ALLOW_READ, "Action": ["dynamodb:PutItem", "dynamodb:Query"]}], read(), False),
        ([{**ALLOW_READ, "Resource": TABLE + "/index/*"}], read(), False),
        ([{**ALLOW_READ, "Resource": "arn:aws:dynamodb:*:*:table/T?ble"}], read(), True),
        ([{**ALLOW_READ, "Resource": "arn:aws:dynamodb:*:*:table/[T]able"}], read(), False),
        ([ALLOW_READ, {**ALLOW_READ, "Effect": "Deny"}], read(), False),
        ([conditional(StringEquals="A")], read("A"), True),
        ([conditional(StringEquals=["B", "A"])], read("A"), True),
        ([conditional(StringEquals="A")], read("a"), False),
        ([conditional(StringEquals="A")], read(), False),
        ([conditional(StringEqualsIfExists="A")], read(), True),
        ([conditional(StringNotEquals="A")], read("A"), False),
        ([conditional(StringNotEquals="A")], read("B"), True),
        ([conditional(StringNotLike="A*")], read(), True),
        ([conditional(ForAllValues__StringLike=["A*", "B*"])], read("A1", "B1"), True),
        ([conditional(ForAllValues__StringLike="A*")], read("A1", "B1"), False),
        ([conditional(ForAllValues__StringLike="A*")], read(), True),
        ([conditional(ForAnyValue__StringLike="A*")], read("A1", "B1"), True),
        ([conditional(ForAnyValue__StringLike="A*")], read(), False),
        ([conditional(Null="true")], read(), True),
        ([conditional(Null="true")], read("A"), False),
        ([conditional(Null=False)], read("A"), True),
        ([conditional(Null=False)], read(), False),
    ],
)
def test_statements_are_evaluated_as_iam_does(
    statements: list[dict[str, Any]], request_: Request, allowed: bool
) -> None:
    assert role(*statements).allows(request_) is allowed


@pytest.mark.parametrize(
    "body",
    [
        {**ALLOW_READ, "Condition": {"DateLessThan": {LEADING_KEYS: "x"}}},
        {**ALLOW_READ, "Condition": {"ForEveryValue:StringLike": {LEADING_KEYS: "x"}}},
        {**ALLOW_READ, "Condition": {"StringEquals": {"aws:PrincipalTag/team": "x"}}},
        {"Effect": "Allow", "NotAction": "dynamodb:*", "Resource": "*"},
    ],
)
def test_what_is_not_evaluated_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(TemplateError, match="not known"):
        role(body)


NAMES = Names({"Table": "pk", "Table/index/gsi1": "gsi1pk"}, {"alias/k": "arn:aws:kms:us-east-1:123456789012:key/1"})
A, B = {"pk": {"S": "A"}, "sk": {"S": "s"}}, {"pk": {"S": "B"}, "sk": {"S": "s"}}
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:Queue"
NEEDS: list[tuple[str, dict[str, Any], list[Request]]] = [
    ("dynamodb:GetItem", {"TableName": "Table", "Key": A}, [read("A")]),
    ("dynamodb:GetItem", {"TableName": TABLE, "Key": A}, [read("A")]),
    (
        "dynamodb:BatchGetItem",
        {"RequestItems": {"Table": {"Keys": [A, B]}}},
        [Request("dynamodb:BatchGetItem", TABLE, ((LEADING_KEYS, ("A", "B")),))],
    ),
    (
        "dynamodb:BatchWriteItem",
        {"RequestItems": {"Table": [{"PutRequest": {"Item": A}}, {"DeleteRequest": {"Key": B}}]}},
        [Request("dynamodb:BatchWriteItem", TABLE, ((LEADING_KEYS, ("A", "B")),))],
    ),
    (
        "dynamodb:TransactWriteItems",
        {
            "TransactItems": [
                {"Put": {"TableName": "Table", "Item": A}},
                {"Update": {"TableName": "Table", "Key": B}},
                {"Delete": {"TableName": "Table", "Key": B}},
                {"ConditionCheck": {"TableName": "Table", "Key": A}},
            ]
        },
        [
            Request(f"dynamodb:{action}", TABLE, ((LEADING_KEYS, (key,)),))
            for action, key in (
                ("PutItem", "A"), ("UpdateItem", "B"), ("DeleteItem", "B"), ("ConditionCheckItem", "A"),
            )
        ],
    ),
    (
        "dynamodb:Query",
        {
            "TableName": "Table",
            "IndexName": "gsi1",
            "KeyConditionExpression": "#p = :p AND gsi1sk > :s",
            "ExpressionAttributeNames": {"#p": "gsi1pk"},
            "ExpressionAttributeValues": {":p": {"S": "L"}, ":s": {"S": "x"}},
        },
        [Request("dynamodb:Query", TABLE + "/index/gsi1", ((LEADING_KEYS, ("L",)),))],
    ),
    ("dynamodb:Scan", {"TableName": "Table"}, [Request("dynamodb:Scan", TABLE)]),
    (
        "kms:Decrypt",
        {"CiphertextBlob": b"1" * 36 + b"rest", "EncryptionContext": {"batch": "b"}},
        [
            Request(
                "kms:Decrypt",
                "arn:aws:kms:us-east-1:123456789012:key/" + "1" * 36,
                (("kms:EncryptionContext:batch", ("b",)), ("kms:EncryptionContextKeys", ("batch",))),
            )
        ],
    ),
    (
        "kms:Sign",
        {"KeyId": "alias/k", "SigningAlgorithm": "ECDSA_SHA_256"},
        [Request("kms:Sign", KEY, (("kms:SigningAlgorithm", ("ECDSA_SHA_256",)),))],
    ),
    ("sqs:SendMessageBatch", {"QueueUrl": "http://x/1/Queue"}, [Request("sqs:SendMessage", QUEUE)]),
    ("sts:GetCallerIdentity", {}, []),
]  # fmt: skip


@pytest.mark.parametrize(("call", "params", "needed"), NEEDS, ids=[call for call, _, _ in NEEDS])
def test_what_a_call_needs(call: str, params: dict[str, Any], needed: list[Request]) -> None:
    service, operation = call.split(":")
    assert requests_of(service, operation, params, NAMES) == needed


def test_a_call_whose_needs_are_not_written_down_is_refused() -> None:
    with pytest.raises(TemplateError, match="dynamodb:ExecuteStatement are not known"):
        requests_of("dynamodb", "ExecuteStatement", {}, NAMES)


def event(pk: str, do: str = "read") -> dict[str, Any]:
    return {"do": do, "key": {"pk": {"S": pk}, "sk": {"S": "x"}}}


@pytest.mark.parametrize("do", ["read", "read in thread"])
@pytest.mark.parametrize("kind", ["in_process", "in_processes"])
def test_a_handler_is_held_to_its_role_also_in_its_threads(kind: str, do: str) -> None:
    with getattr(Cloud, kind)(small()) as cloud:
        assert cloud.invoke("echo", event("USER#1", do)) is None
        with pytest.raises(FunctionError, match=r"AccessDenied.*not authorized to perform: dynamodb:GetItem"):
            cloud.invoke("echo", event("ADMIN#1", do))
        (passed,) = cloud.calls["echo"]
        assert passed.action == "dynamodb:GetItem"
        assert passed.context == ((LEADING_KEYS, ("USER#1",)),)


def test_a_refused_call_never_leaves() -> None:
    with Cloud.in_process(small()) as cloud:
        dynamodb = cloud.client("dynamodb")
        sent: list[Any] = []

        def note(**more: Any) -> None:
            sent.append(more)

        dynamodb.meta.events.register("before-send", note)
        with cloud._acting("echo")(), pytest.raises(ClientError) as refused:
            dynamodb.delete_item(TableName="Table", Key=event("USER#1")["key"])
        assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
        assert not sent
        dynamodb.delete_item(TableName="Table", Key=event("USER#1")["key"])
        assert sent
        dynamodb.meta.events.unregister("before-send", note)


def test_a_grant_that_nothing_used_is_found_and_one_that_was_used_is_needed() -> None:
    with Cloud.in_process(small()) as cloud:
        cloud.invoke("echo", event("USER#1"))
        used, granted = cloud.calls["echo"], cloud.stack.functions["echo"].role
        assert unneeded_grants(granted, used) == [
            f"dynamodb:PutItem on {TABLE}",
            *(f"sqs:{action} on {QUEUE}" for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")),
        ]
        for grant, without in single_grants(granted):
            denies = not all(without.allows(request) for request in used)
            assert denies is grant.startswith("dynamodb:GetItem")


def test_a_grant_given_twice_is_not_needed_twice() -> None:
    twice = {"Statement": [allow(["dynamodb:GetItem"], TABLE_ARN, Condition=ONLY_USERS)] * 2}
    with Cloud.in_process(small(Policy__PolicyDocument=twice, Feed__Enabled=False)) as cloud:
        cloud.invoke("echo", event("USER#1"))
        assert len(unneeded_grants(cloud.stack.functions["echo"].role, cloud.calls["echo"])) == 2
