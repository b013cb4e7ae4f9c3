"""The template says what the design says: least privilege, nothing lost, nothing open."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest
from aws_cdk import App

from functions.domain.errors import PROBLEMS
from functions.domain.events import ENTITIES
from functions.edge.routes import ROUTES
from functions.ledger import handler as ledger
from functions.notify import admission, receipts
from functions.store import accounts, draws
from functions.webhooks import handler as webhooks
from infra.alarms import (
    GUESSING,
    LEDGER_DISPUTED,
    PROVIDER_DOWN,
    RECEIPTS_FORGED,
    RECEIPTS_UNMATCHED,
    RECONCILIATION_DIFFERS,
    STOCK_LOW,
    WEBHOOK_DISABLED,
    receipts_of,
)
from infra.functions import FUNCTIONS
from infra.lock import ROOT
from infra.settings import ENVIRONMENTS, Settings, Sms
from infra.stack import Kami
from tests.infra.conftest import Template, listed

pytestmark = pytest.mark.xdist_group("synthesis")

WITHIN: Final = (
    ["dynamodb:ListStreams"], ["s3:PutObject"], ["s3:GetObject", "s3:PutObject"],
    ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], ["sms-voice:SendTextMessage"],
)  # fmt: skip
"""What is allowed on everything within one of our resources, or within the account's SMS."""
XRAY: Final = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]


def test_each_function_has_its_own_role_and_log_group(template: Template) -> None:
    functions = template.functions().values()

    assert len({f["Role"]["Fn::GetAtt"][0] for f in functions}) == len(FUNCTIONS)
    assert len({f["LoggingConfig"]["LogGroup"]["Ref"] for f in functions}) == len(FUNCTIONS)
    assert all(group["RetentionInDays"] for group in template.of_type("AWS::Logs::LogGroup").values())


def test_each_function_is_arm64_on_python_3_13_and_names_a_handler_that_exists(template: Template) -> None:
    for name, function in template.functions().items():
        assert (function["Architectures"], function["Runtime"]) == (["arm64"], "python3.13")
        assert function["TracingConfig"] == {"Mode": "Active"}
        assert "def handle(" in (ROOT / "functions" / name / "handler.py").read_text()


def test_only_tracing_is_allowed_on_every_resource(template: Template) -> None:
    for name in FUNCTIONS:
        for statement in template.statements(name):
            assert statement["Effect"] == "Allow"
            wide = [arn for arn in statement["Resource"] if "*" in json.dumps(arn)]
            assert not wide or statement["Action"] in (XRAY, *WITHIN)
            assert "*" not in wide or statement["Action"] == XRAY
            assert "*" not in "".join(statement["Action"])


def test_no_function_may_delete_anything_of_the_table(template: Template) -> None:
    actions = {
        action for name in FUNCTIONS for statement in template.statements(name) for action in statement["Action"]
    }

    assert "dynamodb:PutItem" in actions
    assert {action for action in actions if "Delete" in action} == {"sqs:DeleteMessage", "s3:DeleteObject"}
    assert not [action for action in actions if action.startswith(("dynamodb:BatchWrite", "dynamodb:PartiQL"))]


def test_the_table_is_reached_by_key_prefix_only(template: Template) -> None:
    for name in FUNCTIONS:
        for statement in template.statements(name):
            if statement["Action"][0].startswith("dynamodb:") and "stream" not in str(statement["Resource"]).lower():
                prefixes = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
                assert all(prefix.endswith("#*") for prefix in listed(prefixes))


def test_verifying_changes_nothing_but_guards(template: Template) -> None:
    writes = [
        statement
        for statement in template.statements("verify")
        if any(re.match("dynamodb:(?!.*Get|Query)", action) for action in statement["Action"])
    ]

    assert [statement["Action"] for statement in writes] == [["dynamodb:UpdateItem"]]
    assert writes[0]["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] == ["GUARD#*"]


def test_the_console_may_do_nothing_but_log_and_trace(template: Template) -> None:
    actions = {action for statement in template.statements("console") for action in statement["Action"]}

    assert actions == {"logs:CreateLogStream", "logs:PutLogEvents", *XRAY}


def test_only_authorize_signs_tokens_only_distribute_receipts_and_only_audit_the_record(template: Template) -> None:
    signers = {
        name: {key["Fn::GetAtt"][0] for key in statement["Resource"]}
        for name in FUNCTIONS
        for statement in template.statements(name)
        if "kms:Sign" in statement["Action"]
    }

    assert set(signers) == {"authorize", "distribute", "audit"}
    for name, variable in (("distribute", "RECEIPT_KEY_ARN"), ("audit", "RECORD_KEY_ARN")):
        assert signers[name] == {template.functions()[name]["Environment"]["Variables"][variable]["Fn::GetAtt"][0]}
        assert not signers[name] & signers["authorize"]


def test_the_table_key_is_opened_by_dynamodb_for_this_account_and_by_no_role(template: Template) -> None:
    table = next(iter(template.of_type("AWS::DynamoDB::Table").values()))
    key = table["SSESpecification"]["KMSMasterKeyId"]["Fn::GetAtt"][0]
    policy = template.of_type("AWS::KMS::Key")[key]["KeyPolicy"]["Statement"]
    open_to_all = [statement for statement in policy if statement["Principal"] == {"AWS": "*"}]

    assert len(open_to_all) == 1
    assert set(open_to_all[0]["Condition"]["StringEquals"]) == {"kms:CallerAccount", "kms:ViaService"}
    assert not [name for name in FUNCTIONS if key in json.dumps(template.statements(name))]


def test_a_function_is_told_of_what_it_may_use_and_of_nothing_else(template: Template) -> None:
    for name, function in template.functions().items():
        environment = function["Environment"]["Variables"]
        named = {json.dumps(value) for value in environment.values() if isinstance(value, dict)}
        granted = json.dumps(template.statements(name))

        assert environment["POWERTOOLS_SERVICE_NAME"] == name
        for value in named:
            resource = json.loads(value)
            logical_id = resource.get("Ref") or resource["Fn::GetAtt"][0]
            assert logical_id in granted


def test_whoever_refuses_callers_can_put_it_on_record(template: Template) -> None:
    for name in {route.function for route in ROUTES if route.scope is not None or route.operation == "create_token"}:
        assert "RECORD_QUEUE_URL" in template.functions()[name]["Environment"]["Variables"], name


def test_the_table_is_encrypted_recoverable_and_expires_by_its_own_attribute(template: Template) -> None:
    (table,) = template.of_type("AWS::DynamoDB::Table").values()

    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"]["SSEType"] == "KMS"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl_epoch_s", "Enabled": True}
    index, wallets, actors = table["GlobalSecondaryIndexes"]
    assert index["Projection"] == {
        "NonKeyAttributes": ["generation", "status", "valid_until"],
        "ProjectionType": "INCLUDE",
    }
    assert wallets["Projection"] == actors["Projection"] == {"ProjectionType": "KEYS_ONLY"}


def test_production_keeps_what_cannot_be_made_again(template: Template) -> None:
    kinds = ("AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::SecretsManager::Secret", "AWS::Logs::LogGroup")
    policies = {resource["DeletionPolicy"] for kind in kinds for _, resource in template.whole(kind)}
    (table,) = template.of_type("AWS::DynamoDB::Table").values()

    assert policies == ({"Retain"} if template.env == "prod" else {"Delete"})
    assert table["DeletionProtectionEnabled"] is (template.env == "prod")


def test_each_route_reaches_its_function_and_all_else_the_console(template: Template) -> None:
    integrations = template.of_type("AWS::ApiGatewayV2::Integration")
    functions = template.of_type("AWS::Lambda::Function")
    reached = {}
    for route in template.of_type("AWS::ApiGatewayV2::Route").values():
        integration = integrations[route["Target"]["Fn::Join"][1][1]["Ref"]]
        assert integration["PayloadFormatVersion"] == "2.0"
        assert integration["TimeoutInMillis"] < 30_000
        handler = functions[integration["IntegrationUri"]["Fn::GetAtt"][0]]["Handler"]
        reached[route["RouteKey"]] = handler.split(".")[1]

    assert reached == {route.key: route.function for route in ROUTES} | {"$default": "console"}


def test_the_gateway_may_call_a_function_for_each_of_its_routes_of_this_api_only(template: Template) -> None:
    (api,) = template.of_type("AWS::ApiGatewayV2::Api")
    functions, allowed = template.of_type("AWS::Lambda::Function"), defaultdict[str, list[str]](list)
    for permission in template.of_type("AWS::Lambda::Permission").values():
        *_, of_api, tail = permission["SourceArn"]["Fn::Join"][1]
        assert (permission["Principal"], of_api) == ("apigateway.amazonaws.com", {"Ref": api})
        name = functions[permission["FunctionName"]["Fn::GetAtt"][0]]["Handler"].split(".")[1]
        allowed[name].append(tail)

    for key, name in [*((route.key, route.function) for route in ROUTES), ("$default", "console")]:
        source = f"/$default/{key.replace(' ', '')}"
        assert any(fnmatchcase(source, pattern) for pattern in allowed[name]), f"{key}: {allowed[name]}"


def test_tokens_are_throttled_lower_than_the_rest(template: Template) -> None:
    (stage,) = template.of_type("AWS::ApiGatewayV2::Stage").values()
    tokens = stage["RouteSettings"]["POST /v1/tokens"]

    for limit in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
        assert 0 < tokens[limit] < stage["DefaultRouteSettings"][limit]


def test_the_access_log_holds_nothing_that_a_caller_wrote(template: Template) -> None:
    (stage,) = template.of_type("AWS::ApiGatewayV2::Stage").values()
    logged = json.loads(stage["AccessLogSettings"]["Format"]).values()

    assert "$context.routeKey" in logged
    assert not [field for field in logged if "header" in field or "uery" in field or field == "$context.path"]


def test_each_job_queue_dead_letters_and_feeds_its_function_a_few_at_a_time(template: Template) -> None:
    queues, functions = template.of_type("AWS::SQS::Queue"), template.of_type("AWS::Lambda::Function")
    mappings = template.of_type("AWS::Lambda::EventSourceMapping").values()
    fed = 0

    for mapping in mappings:
        if mapping["EventSourceArn"]["Fn::GetAtt"][0] not in queues:
            continue  # the stream's, below
        fed += 1
        queue = queues[mapping["EventSourceArn"]["Fn::GetAtt"][0]]
        dead_letters = queues[queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]]
        assert queue["RedrivePolicy"]["maxReceiveCount"] >= 3
        assert dead_letters["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
        assert queue["VisibilityTimeout"] >= 6 * functions[mapping["FunctionName"]["Ref"]]["Timeout"]
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["ScalingConfig"]["MaximumConcurrency"] >= 2
    assert fed == 8
    assert len(queues) == 2 * fed + 1, "a queue and its dead letters each, and what the rules could not deliver"
    assert all(queue["SqsManagedSseEnabled"] for queue in queues.values())


def test_relay_reads_the_stream_in_order_and_loses_nothing(template: Template) -> None:
    (mapping,) = (m for m in template.of_type("AWS::Lambda::EventSourceMapping").values() if "StartingPosition" in m)
    (bucket,) = (id for id in template.of_type("AWS::S3::Bucket") if "Failures" in id)
    (table,) = template.of_type("AWS::DynamoDB::Table").values()
    (pattern,) = (json.loads(one["Pattern"]) for one in mapping["FilterCriteria"]["Filters"])
    entities = set(pattern["dynamodb"]["NewImage"]["entity"]["S"])

    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["MaximumRetryAttempts"] >= 3
    assert 3600 <= mapping["MaximumRecordAgeInSeconds"] < 24 * 3600
    assert mapping["DestinationConfig"] == {"OnFailure": {"Destination": {"Fn::GetAtt": [bucket, "Arn"]}}}
    assert entities == ENTITIES
    assert not entities & {"history", "counts", "stock"}, "what comes of events must not cause them"


def test_relay_may_read_the_stream_and_write_nothing_but_what_follows(template: Template) -> None:
    allowed = {
        action: statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys")
        for statement in template.statements("relay")
        for action in statement["Action"]
    }

    assert allowed["dynamodb:PutItem"] == ["DELIVERYCOUNTED#*", "HISTORY#*", "PERSON#*", "STOCK#*"]
    assert allowed["dynamodb:UpdateItem"] == ["COUNTS#*", "DELIVERIES#*"]
    assert {"dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream"} <= allowed.keys()
    assert "dynamodb:GetItem" not in allowed
    publishers = [n for n in FUNCTIONS if any("events:PutEvents" in s["Action"] for s in template.statements(n))]
    assert sorted(publishers) == ["notify", "relay"]


def test_what_is_set_aside_is_private_encrypted_and_expires(template: Template) -> None:
    _, bucket = private(template, "Failures")

    assert bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] > 14


def test_what_is_exported_is_private_encrypted_by_a_key_of_its_own_and_gone_in_a_week(template: Template) -> None:
    _, bucket = private(template, "Exports")
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    key = rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]["Fn::GetAtt"][0]
    (through,) = (
        statement["Condition"]["StringEquals"]["kms:ViaService"]
        for statement in template.of_type("AWS::KMS::Key")[key]["KeyPolicy"]["Statement"]
        if statement.get("Sid") == "ThroughS3"
    )

    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert "ExportsKey" in key
    assert through["Fn::Join"][1][0] == "s3."
    assert bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] == 7
    assert on_bucket(template, "Exports") == {"s3:GetObject", "s3:PutObject"}


def test_what_is_uploaded_is_private_encrypted_by_a_key_of_its_own_and_gone_in_a_day(template: Template) -> None:
    _, bucket = private(template, "Uploads")
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert "UploadsKey" in rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]["Fn::GetAtt"][0]
    assert bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] == 1
    assert on_bucket(template, "Uploads") == {"s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"}


def on_bucket(template: Template, name: str) -> set[str]:
    """What generate may do with a bucket and its objects."""
    return {
        action
        for statement in template.statements("generate")
        if name in json.dumps(statement["Resource"])
        for action in statement["Action"]
        if action.startswith("s3:")
    }


def private(template: Template, name: str) -> tuple[str, dict[str, Any]]:
    """A bucket's id and properties, once it is known to be closed to all but encrypted connections of ours."""
    ((id, bucket),) = ((id, b) for id, b in template.of_type("AWS::S3::Bucket").items() if name in id)
    (policy,) = (p for p in template.of_type("AWS::S3::BucketPolicy").values() if p["Bucket"] == {"Ref": id})

    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["BucketEncryption"]
    assert policy["PolicyDocument"]["Statement"][0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    return id, bucket


BY_THE_CLOCK: Final = {
    "reminders": ("rate(1 hour)", "NotifyMessages", 3_600),
    "receipts": ("rate(1 hour)", "NotifyMessages", 3_600),
    "held": ("rate(15 minutes)", "NotifyMessages", 900),
    "reclaims": ("rate(1 hour)", "RecoverJobs", 3_600),
    "moved": ("rate(1 day)", "LedgerJobs", 86_400),
    "everything": ("rate(7 days)", "LedgerJobs", 86_400),
    "record": ("rate(5 minutes)", "AuditEntries", 300),
}


def test_by_the_clock_reminders_receipts_reclaims_reconciliations_and_seals_are_ordered(template: Template) -> None:
    rules = [rule for rule in template.of_type("AWS::Events::Rule").values() if "ScheduleExpression" in rule]
    found = {}
    for rule in rules:
        (target,) = rule["Targets"]
        queue = target["Arn"]["Fn::GetAtt"][0]
        assert rule["State"] == "ENABLED"
        assert "EventBusName" not in rule, "a bus of one's own knows no schedules"
        assert "Undelivered" in target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
        (sweep,) = json.loads(target["Input"]).values()
        assert BY_THE_CLOCK[sweep][1] in queue
        age = target["RetryPolicy"]["MaximumEventAgeInSeconds"]
        found[sweep] = (rule["ScheduleExpression"], BY_THE_CLOCK[sweep][1], age)

    assert found == BY_THE_CLOCK


def test_what_is_sealed_of_the_record_is_locked_and_private(template: Template) -> None:
    _, bucket = private(template, "Record")
    retention = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    days = ENVIRONMENTS[template.env].record_kept_days

    assert bucket["ObjectLockEnabled"] is True
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert retention == {"Days": days, "Mode": "COMPLIANCE" if template.env == "prod" else "GOVERNANCE"}
    assert bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] == days >= 180
    actions = {action for s in template.statements("audit") if "Record" in json.dumps(s["Resource"])
               for action in s["Action"] if action.startswith("s3:")}  # fmt: skip
    assert actions == {"s3:GetObject", "s3:PutObject"}


def test_the_record_is_kept_for_half_a_year_at_least() -> None:
    with pytest.raises(ValueError, match="180 days at least"):
        replace(ENVIRONMENTS["dev"], record_kept_days=179)


def test_each_rule_feeds_one_queue_with_jobs_or_events_and_has_dead_letters(template: Template) -> None:
    queues = template.of_type("AWS::SQS::Queue")
    fed = defaultdict[str, list[str]](list)
    for rule in template.of_type("AWS::Events::Rule").values():
        if "ScheduleExpression" in rule:
            continue
        (target,) = rule["Targets"]
        queue = target["Arn"]["Fn::GetAtt"][0]
        assert rule["EventPattern"]["source"] == ["kami"]
        assert target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0] in queues
        whole = target.get("InputPath") == "$.detail"
        jobs = all(kind.endswith((".requested", ".approved")) for kind in rule["EventPattern"].get("detail-type", [""]))
        assert whole != jobs
        assert whole or target["InputTransformer"] == {
            "InputPathsMap": {"detail-data-id": "$.detail.data.id"},
            "InputTemplate": '{"id":<detail-data-id>}',
        }
        for kind in rule["EventPattern"].get("detail-type", ("all",)):
            fed[kind].append(re.findall("[A-Z][a-z]+", queue)[0])

    assert {kind: " ".join(sorted(names)) for kind, names in fed.items()} == {
        "all": "Audit",
        "batch.requested": "Generate",
        "export.requested": "Generate",
        "import.requested": "Generate",
        "distribution.requested": "Distribute",
        "activation.requested": "Distribute",
        "extension.requested": "Distribute",
        "recovery.requested": "Recover",
        "reconciliation.requested": "Ledger",
        "message.requested": "Notify",
        "erasure.requested": "Erase",
        "recovery.approved": "Recover",
        "voucher.redeemed": "Ledger Notify Webhooks",
        "voucher.reversed": "Ledger Notify Webhooks",
        "voucher.recovered": "Notify Webhooks",
        "recovery.completed": "Webhooks",
        "message.ended": "Webhooks",
        **dict.fromkeys(("voucher.suspended", "voucher.resumed", "voucher.voided"), "Webhooks"),
        **dict.fromkeys(("lot.recalled", "lot.resumed", "lot.reclaimed"), "Webhooks"),
        "voucher.expiring": "Notify",
        "account.frozen": "Notify",
        "account.unfrozen": "Notify",
        "account.held": "Notify",
        "account.released": "Notify",
        "voucher.claimed": "Notify",
        "voucher.extended": "Notify",
        "voucher.issued": "Ledger Notify",
        "voucher.reissued": "Ledger",
        "voucher.credited": "Ledger",
    }


def test_the_bus_keeps_what_went_over_it(template: Template) -> None:
    (archive,) = template.of_type("AWS::Events::Archive").values()
    (bus,) = template.of_type("AWS::Events::EventBus")

    assert archive["SourceArn"] == {"Fn::GetAtt": [bus, "Arn"]}
    assert archive["RetentionDays"] >= 14


def test_the_stream_is_watched(template: Template) -> None:
    alarms = template.of_type("AWS::CloudWatch::Alarm").values()
    ((mapping, _),) = (
        one for one in template.of_type("AWS::Lambda::EventSourceMapping").items() if "StartingPosition" in one[1]
    )
    counted = {
        alarm["MetricName"]
        for alarm in alarms
        if alarm.get("Dimensions") == [{"Name": "EventSourceMappingUUID", "Value": {"Fn::GetAtt": [mapping, "Id"]}}]
    }

    assert "IteratorAge" in {alarm.get("MetricName") for alarm in alarms}
    assert counted == {"OnFailureDestinationDeliveredEventCount", "DroppedEventCount"}
    assert template.of_type("AWS::Lambda::EventSourceMapping")[mapping]["MetricsConfig"] == {"Metrics": ["EventCount"]}


def test_each_queue_and_function_is_watched(template: Template) -> None:
    watched = {
        (
            dimension["Value"]["Fn::GetAtt"][0] if "Fn::GetAtt" in dimension["Value"] else dimension["Value"]["Ref"],
            metric,
        )
        for alarm in template.of_type("AWS::CloudWatch::Alarm").values()
        for metric in [alarm.get("MetricName")]
        for dimension in alarm.get("Dimensions", [])
    }
    metrics = {alarm.get("MetricName") for alarm in template.of_type("AWS::CloudWatch::Alarm").values()}

    assert {"5xx", *(signal.name for signal in GUESSING)} <= metrics

    for function in template.of_type("AWS::Lambda::Function"):
        assert {(function, metric) for metric in ("Errors", "Throttles", "Duration")} <= watched
    for id, queue in template.of_type("AWS::SQS::Queue").items():
        assert (id, "ApproximateNumberOfMessagesVisible") in watched
        assert "RedrivePolicy" not in queue or (id, "ApproximateAgeOfOldestMessage") in watched


def test_each_alarm_reports_to_the_topic_and_is_explained(template: Template) -> None:
    explained = (ROOT / "infra" / "README.md").read_text()
    (topic,) = (id for id in template.of_type("AWS::SNS::Topic") if id.startswith("Alarms"))

    for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
        name = alarm["AlarmDescription"].split(":")[0]
        function = next((f.capitalize() for f in FUNCTIONS if name.startswith(f.capitalize())), "")
        assert alarm["AlarmActions"] == [{"Ref": topic}]
        assert f"`…{name.removeprefix(function)}`" in explained or f"`{name}`" in explained


def test_low_stock_is_counted_by_the_word_that_is_logged() -> None:
    assert f'"{draws.STOCK_LOW}"' in STOCK_LOW.pattern


def test_a_falling_delivery_rate_is_told_of_each_provider_by_the_words_that_are_logged(template: Template) -> None:
    limits = ENVIRONMENTS[template.env].alarms
    (alarm,) = (a for a in template.of_type("AWS::CloudWatch::Alarm").values() if "MetricName" not in a)
    signal = receipts_of("aws", "AwsDelivered", "delivered")

    assert alarm["AlarmDescription"].startswith("AwsDeliveryFalling:")
    assert (alarm["Threshold"], alarm["EvaluationPeriods"]) == (limits.undelivered_percent, 3)
    share, *counted = alarm["Metrics"]
    assert f">= {limits.undelivered_of}, " in share["Expression"]
    assert {each["MetricStat"]["Metric"]["MetricName"] for each in counted} == {"AwsDelivered", "AwsUndelivered"}
    few, many = limits.undelivered_of - 1, 3 * limits.undelivered_of
    given = [(many, 0), (0, few), (0, few + 1), (many, limits.undelivered_of)]
    assert [_worth(share["Expression"], *each) for each in given] == [0, 0, 100, 25]
    source = (ROOT / "functions" / "notify" / "handler.py").read_text()
    words = re.findall(r"\$\.(\w+)", signal.pattern)
    assert words == ["provider", "told", "tries"]
    assert all(f"{word}=receipt.{word}" in source or f"{word}={word}" in source or f"{word}=receipt.status" in source
               for word in words)  # fmt: skip


def _worth(expression: str, delivered: int, undelivered: int) -> float:
    """What CloudWatch makes of these counts."""
    functions = {"FILL": lambda count, value: count, "IF": lambda holds, then, other: then if holds else other}
    return float(eval(expression, {**functions, "delivered": delivered, "undelivered": undelivered}))


def test_a_provider_that_is_down_is_counted_by_the_word_that_is_logged() -> None:
    assert f'"{admission.PROVIDER_DOWN}"' in PROVIDER_DOWN.pattern


def test_receipts_without_an_attempt_are_counted_by_the_word_that_is_logged() -> None:
    assert f'"{receipts.UNMATCHED}"' in RECEIPTS_UNMATCHED.pattern


def test_disputes_and_differences_are_counted_by_the_words_that_are_logged() -> None:
    assert f'"{ledger.DISPUTED}"' in LEDGER_DISPUTED.pattern
    assert f'"{ledger.DIFFERS}"' in RECONCILIATION_DIFFERS.pattern


def test_bad_receipts_are_counted_by_the_words_that_are_logged() -> None:
    forged, unmatched = (signal.pattern for signal in (RECEIPTS_FORGED, RECEIPTS_UNMATCHED))

    assert '"invalid_signature"' in forged and "invalid_signature" in PROBLEMS
    assert f'"{receipts.UNMATCHED}"' in unmatched


def test_what_aws_tells_of_sms_goes_from_its_configuration_set_to_notifys_queue_and_from_nobody_else(
    template: Template,
) -> None:
    (topic,) = (id for id in template.of_type("AWS::SNS::Topic") if id.startswith("SmsEvents"))
    ((_, told),) = template.of_type("AWS::SMSVOICE::ConfigurationSet").items()
    (destination,) = told["EventDestinations"]
    (subscription,) = template.of_type("AWS::SNS::Subscription").values()
    (policy,) = (p for p in template.of_type("AWS::SNS::TopicPolicy").values() if p["Topics"] == [{"Ref": topic}])
    deny, allow = policy["PolicyDocument"]["Statement"]
    environment = template.functions()["notify"]["Environment"]["Variables"]

    assert destination["SnsDestination"] == {"TopicArn": {"Ref": topic}} and destination["Enabled"]
    assert environment["SMS_CONFIGURATION_SET"] == told["ConfigurationSetName"] == f"kami-{template.env}"
    assert (subscription["TopicArn"], subscription["RawMessageDelivery"]) == ({"Ref": topic}, True)
    assert subscription["Endpoint"]["Fn::GetAtt"][0].startswith("NotifyMessagesQueue")
    assert subscription["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0].startswith("NotifyMessagesDead")
    assert (deny["Effect"], allow["Principal"]) == ("Deny", {"Service": "sms-voice.amazonaws.com"})
    assert json.dumps(allow["Condition"]["ArnLike"]).endswith(f':configuration-set/kami-{template.env}"]]}}}}')
    assert allow["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_each_account_is_a_secret_that_notify_alone_reads(template: Template) -> None:
    wanted = ENVIRONMENTS[template.env].sms.accounts
    secrets = template.of_type("AWS::SecretsManager::Secret")
    held = {id: secret for id, secret in secrets.items() if "Account" in id}
    environment = template.functions()["notify"]["Environment"]["Variables"]

    assert len(held) == len(wanted)
    assert all(s["GenerateSecretString"]["GenerateStringKey"] == "receipts_token" for s in held.values())
    told = {name for name in environment if name.startswith(accounts.SMS_ACCOUNT)}
    assert told == {accounts.SMS_ACCOUNT + name.upper() for name in wanted}
    for id in held:
        readers = [name for name in FUNCTIONS if id in json.dumps(template.statements(name))]
        assert readers == ["notify"]


def test_webhooks_alone_opens_their_secrets_and_counts_those_that_are_disabled(template: Template) -> None:
    told = template.functions()["webhooks"]["Environment"]["Variables"]
    key = told["WEBHOOK_KEY_ARN"]["Fn::GetAtt"][0]

    assert [name for name in FUNCTIONS if key in json.dumps(template.statements(name))] == ["webhooks"]
    assert "WEBHOOK_LOOPBACK" not in told, "in the cloud no request goes to where it came from"
    assert f'"{webhooks.DISABLED}"' in WEBHOOK_DISABLED.pattern


def test_a_provider_without_an_account_is_refused() -> None:
    with pytest.raises(ValueError, match="twilio"):
        Sms(providers=("aws", "twilio"))
    with pytest.raises(ValueError, match="nobody"):
        Sms(accounts=("nobody",))


def test_guessing_is_counted_by_the_words_that_are_logged() -> None:
    source = (ROOT / "functions" / "edge" / "http.py").read_text() + (ROOT / "functions/store/lookup.py").read_text()
    counted = {word for signal in GUESSING for word in re.findall(r'\$\.key = "(\w+)"', signal.pattern)}
    alarms = {word for signal in GUESSING for word in re.findall(r'\$\.alarm = "(\w+)"', signal.pattern)}

    assert counted and counted <= set(PROBLEMS)
    assert alarms and all(f'"{word}"' in source for word in alarms)
    assert "key=key," in source and "alarm=alarm," in source


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_synthesis_is_deterministic(env: str, tmp_path: Path) -> None:
    first, second = (_synthesize(tmp_path / again, ENVIRONMENTS[env]).text for again in ("first", "second"))

    assert first == second


def test_a_new_signing_key_is_published_before_it_signs_and_leaves_the_old_one_alone(tmp_path: Path) -> None:
    before, added, switched = (
        _synthesize(tmp_path / "-".join(names), replace(ENVIRONMENTS["dev"], signing_keys=names))
        for names in (("First",), ("First", "Second"), ("Second", "First"))
    )

    assert set(before.of_type("AWS::KMS::Key")) < set(added.of_type("AWS::KMS::Key"))
    assert set(added.of_type("AWS::KMS::Key")) == set(switched.of_type("AWS::KMS::Key"))
    assert _signing_keys(switched) == _signing_keys(added)[::-1]


def _signing_keys(template: Template) -> list[str]:
    arns = template.functions()["authorize"]["Environment"]["Variables"]["SIGNING_KEY_ARNS"]
    return [arn["Fn::GetAtt"][0] for arn in arns["Fn::Join"][1][::2]]


def _synthesize(folder: Path, settings: Settings) -> Template:
    app = App(outdir=str(folder), analytics_reporting=False)
    Kami(app, settings, bundle=False)
    app.synth()
    return Template(settings.name, (folder / f"kami-{settings.name}.template.json").read_text())
