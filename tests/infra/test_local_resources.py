"""Building from the template: what comes out, and that nothing is ignored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.local.cloud import Cloud
from infra.local.resources import KNOWN, check
from infra.local.template import Template, TemplateError, synthesized
from tests.infra.local_small import KEY_POLICY, QUEUE_ARN, function, route, small


def test_the_resources_of_the_template_are_there() -> None:
    with Cloud.in_process(small()) as cloud:
        table = cloud.client("dynamodb").describe_table(TableName="Table")["Table"]
        assert table["GlobalSecondaryIndexes"][0]["IndexName"] == "gsi1"
        ttl = cloud.client("dynamodb").describe_time_to_live(TableName="Table")["TimeToLiveDescription"]
        assert ttl["AttributeName"] == "ttl_epoch_s"
        alias = cloud.client("kms").describe_key(KeyId="alias/small")["KeyMetadata"]
        assert alias["Arn"] == cloud.stack.functions["echo"].environment["KEY"]
        (secret,) = cloud.client("secretsmanager").list_secrets()["SecretList"]
        assert len(cloud.client("secretsmanager").get_secret_value(SecretId=secret["ARN"])["SecretString"]) == 64
        queue = cloud.stack.sources[0].queue_url
        attributes = cloud.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] == 3
        assert cloud.stack.functions["echo"].timeout_s == 2
        assert [route.key for route in cloud.stack.routes] == ["POST /things/{id}"]


def test_ids_and_key_material_are_the_same_in_the_next_cloud() -> None:
    ciphertexts: list[bytes] = []
    environments: list[dict[str, str]] = []
    for _ in range(2):
        with Cloud.in_process(small()) as cloud:
            kms = cloud.client("kms")
            for earlier in ciphertexts:
                assert kms.decrypt(CiphertextBlob=earlier)["Plaintext"] == b"x"
            ciphertexts.append(kms.encrypt(KeyId="alias/small", Plaintext=b"x")["CiphertextBlob"])
            environments.append(cloud.stack.functions["echo"].environment)
    assert environments[0] == environments[1]


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_stack_is_known_to_the_last_property(environment: str) -> None:
    template = synthesized(environment)
    assert template.resources
    for resource in template.resources.values():
        check(resource)
    with Cloud.in_process(template) as cloud:
        assert set(cloud.stack.functions) >= {"authorize", "generate", "distribute", "verify", "redeem", "console"}


TOPIC: Any = {"Type": "AWS::SNS::Topic", "Properties": {}}
SMS_EVENTS: Any = {
    "Type": "AWS::SMSVOICE::ConfigurationSet",
    "Properties": {
        "ConfigurationSetName": "small",
        "EventDestinations": [{"Enabled": True, "SnsDestination": {"TopicArn": {"Ref": "Topic"}}}],
    },
}


def subscription(**changes: Any) -> Any:
    properties = {"TopicArn": {"Ref": "Topic"}, "Protocol": "sqs", "Endpoint": QUEUE_ARN, "RawMessageDelivery": True}
    return {"Type": "AWS::SNS::Subscription", "Properties": {**properties, **changes}}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"Tree": {"Type": "AWS::QLDB::Ledger", "Properties": {}}}, "Tree: resource type AWS::QLDB::Ledger is not known"),
    ({"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"WebsiteConfiguration": {}}}}, "WebsiteConfiguration"),
    ({"Table__ImportSourceSpecification": {}}, r"Table \(AWS::DynamoDB::Table\): property ImportSourceSpecification"),
    ({"Echo__Environment": {"Variables": {}, "Secrets": {}}}, r"Echo .*: property Environment.Secrets is not known"),
    ({"Echo__Role": "arn:aws:iam::123456789012:role/other"}, "role of the template"),
    ({"Role__AssumeRolePolicyDocument": {"Statement": []}}, "Role: Lambda may not assume this role"),
    ({"Role__ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"]}, "managed policies are not known"),
    ({"Feed__EventSourceArn": {"Fn::GetAtt": ["Table", "Arn"]}}, "Feed: event source .* is no queue or stream"),
    ({"Api__ProtocolType": "WEBSOCKET"}, "only HTTP APIs"),
    ({"Integration__PayloadFormatVersion": "1.0"}, "payload format 2.0"),
    ({"Route__AuthorizationType": "JWT"}, "gateway authorizers are not known"),
    ({"Permission__Principal": "s3.amazonaws.com"}, "only API Gateway's permission"),
    ({"Twin": function("echo")}, "two functions have the handler"),
    ({"Echo__Handler": {"Fn::GetAtt": ["Table", "Size"]}}, "attribute Size is not known"),
    (
        {
            "QueuePolicy": {
                "Type": "AWS::SQS::QueuePolicy",
                "Properties": {
                    "Queues": [],
                    "PolicyDocument": {"Statement": [{"Effect": "Allow", "Resource": QUEUE_ARN}]},
                },
            }
        },
        "only `deny without TLS`, a rule's and a topic's are known",
    ),
    ({"Topic": TOPIC, "Feed2": subscription(Protocol="https")}, "only queues that get what was published as it is"),
    ({"Topic": TOPIC, "Feed2": subscription(RawMessageDelivery=False)}, "only queues that get what was published as"),
    ({"Topic": TOPIC, "Feed2": subscription()}, "no policy lets these send"),
    ({"Topic": TOPIC, "Set": SMS_EVENTS}, "no policy lets these send"),
    (
        {
            "Topic": TOPIC,
            "TopicPolicy": {
                "Type": "AWS::SNS::TopicPolicy",
                "Properties": {"Topics": [], "PolicyDocument": {"Statement": [{"Effect": "Allow", "Principal": "*"}]}},
            },
        },
        "this statement of a topic's policy is not known",
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_the_local_cloud_does_not_know_is_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TemplateError, match=message), Cloud.in_process(small(**changes)):
        pass


def test_resources_that_refer_to_each_other_in_a_circle_are_refused() -> None:
    changed = small(Echo__Environment={"Variables": {"X": {"Ref": "Echo"}}})
    with pytest.raises(TemplateError, match="circular reference: Echo → Echo"), Cloud.in_process(changed):
        pass


def test_a_route_without_permission_to_invoke_answers_500_as_in_aws() -> None:
    """`$default` is invoked as `api/stage/$default`, which `*/*/*` does not cover."""
    with Cloud.in_process(small(Fallback=route("$default"))) as cloud:
        assert cloud.request("POST", "/things/1", body={"statusCode": 200}).status == 200
        assert cloud.request("GET", "/elsewhere").status == 500


def test_a_key_whose_policy_does_not_trust_iam_opens_for_no_role() -> None:
    narrow = {"Statement": [{**KEY_POLICY["Statement"][0], "Action": "kms:Describe*"}]}
    with Cloud.in_process(small(Key__KeyPolicy=narrow)) as cloud:
        assert len(cloud.stack.names.keys) == 1


def test_every_reason_to_do_nothing_is_written_down() -> None:
    def reasons(known: Any) -> list[str]:
        return [known] if isinstance(known, str) else [reason for part in known.values() for reason in reasons(part)]

    assert all(reason for properties in KNOWN.values() for reason in reasons(properties))


def test_a_resource_of_a_false_condition_is_not_made() -> None:
    document = small().document
    document["Conditions"] = {"Never": {"Fn::Equals": ["a", "b"]}}
    document["Resources"]["Alias"]["Condition"] = "Never"
    with Cloud.in_process(Template(document)) as cloud:
        aliases = cloud.client("kms").list_aliases()["Aliases"]
        assert "alias/small" not in {alias["AliasName"] for alias in aliases}


def test_a_payload_names_its_function() -> None:
    with Cloud.in_process(small()) as cloud:
        assert cloud.function_of({"routeKey": "POST /things/{id}"}) == "echo"
        assert (
            cloud.function_of({"Records": [{"eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:Que"}]}) == "worker"
        )
