"""Builds the local cloud from the template: resources in moto, and records of what gateway, pumps and runtime imitate.

`KNOWN` is the list of what is understood; whatever is not in it is an error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from botocore.exceptions import ClientError

from infra.local import bus, patterns
from infra.local.material import Material
from infra.local.policy import Names, Role, statements
from infra.local.template import ACCOUNT, PARTITION, REGION, Resource, Template, TemplateError

INDEX_TIMEOUT_S: Final = 60.0
Clients = Callable[[str], Any]
"""Gives the botocore client of a service that sees this cloud with all rights."""


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function: what its instances are started with."""

    name: str
    logical_id: str
    arn: str
    handler: str
    role: Role
    environment: dict[str, str]
    timeout_s: int
    memory_mb: int
    reserved_concurrency: int | None


@dataclass(frozen=True, slots=True)
class Route:
    """A route key of the HTTP API and the function behind it; `permitted`: API Gateway may invoke it for this route."""

    key: str
    function: str
    timeout_s: float
    permitted: bool = True


@dataclass(frozen=True, slots=True)
class QueueSource:
    """An event source mapping from a queue to a function."""

    queue_arn: str
    queue_url: str
    function: str
    batch_size: int
    batch_window_s: int
    concurrency_max: int
    partial_failures: bool


@dataclass(frozen=True, slots=True)
class StreamSource:
    """An event source mapping from a table's stream to a function. `retries_max` None: until the records are old."""

    id: str
    stream_arn: str
    table: str
    function: str
    batch_size: int
    batch_window_s: int
    lanes: int
    filters: tuple[dict[str, Any], ...]
    partial_failures: bool
    bisect: bool
    retries_max: int | None
    age_max_s: int | None
    failures: str | None
    """The bucket for what failed for good."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A rule that sends its targets the same message, again and again."""

    name: str
    every_s: int
    targets: tuple[dict[str, Any], ...]


@dataclass(slots=True)
class Stack:
    """What was built."""

    functions: dict[str, Function] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    sources: list[QueueSource] = field(default_factory=list)
    streams: list[StreamSource] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    buses: list[str] = field(default_factory=list)
    buckets: dict[str, str] = field(default_factory=dict)
    """Name by ARN."""
    outputs: dict[str, str] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    tables: list[str] = field(default_factory=list)
    queues: dict[str, str] = field(default_factory=dict)
    """Queue URL by ARN, dead-letter queues too."""


HANDLED: Final = "handled"
Properties = dict[str, "str | Properties"]

_NAME_ONLY: Final = "nothing but a name or a note"
_AT_REST: Final = "encryption at rest changes nothing that a caller sees"
_NO_TIME: Final = "the local cloud does not live long enough for it"
_ONE_CODE: Final = "handlers run from the work tree, with the interpreter and the packages of this environment"
_NO_ALARM: Final = "there are no metrics here that could cross it"
_NO_THROTTLE: Final = "one developer is not throttled; a 503 comes from the functions' instances only"


def _type(handled: str, **others: str | Properties) -> Properties:
    """The properties of a type: those that are handled, and the others each with the reason why not."""
    return {**dict.fromkeys(handled.split(), HANDLED), "Description": _NAME_ONLY, "Tags": _NAME_ONLY, **others}


KNOWN: Final[dict[str, Properties | str]] = {
    "AWS::DynamoDB::Table": _type(
        "TableName KeySchema AttributeDefinitions BillingMode GlobalSecondaryIndexes StreamSpecification"
        " TimeToLiveSpecification",
        PointInTimeRecoverySpecification=_NO_TIME,
        DeletionProtectionEnabled=_NO_TIME,
        SSESpecification=_AT_REST,
    ),
    "AWS::KMS::Key": _type(
        "KeySpec KeyUsage KeyPolicy",
        EnableKeyRotation=_NO_TIME,
        RotationPeriodInDays=_NO_TIME,
        PendingWindowInDays=_NO_TIME,
    ),
    "AWS::KMS::Alias": _type("AliasName TargetKeyId"),
    "AWS::SecretsManager::Secret": _type("Name GenerateSecretString"),
    "AWS::SQS::Queue": _type(
        "QueueName DelaySeconds MaximumMessageSize MessageRetentionPeriod RedrivePolicy VisibilityTimeout",
        ReceiveMessageWaitTimeSeconds="the pump polls as it likes, as Lambda's does",
        SqsManagedSseEnabled=_AT_REST,
        RedriveAllowPolicy="it only limits who may name the queue as dead-letter queue",
    ),
    "AWS::SQS::QueuePolicy": _type("Queues PolicyDocument"),
    "AWS::IAM::Role": _type("AssumeRolePolicyDocument Policies RoleName ManagedPolicyArns"),
    "AWS::IAM::Policy": _type("PolicyDocument Roles", PolicyName=_NAME_ONLY),
    "AWS::Lambda::Function": _type(
        "FunctionName Handler Role Timeout MemorySize ReservedConcurrentExecutions",
        Environment={"Variables": HANDLED},
        Code=_ONE_CODE,
        Layers=_ONE_CODE,
        Runtime=_ONE_CODE,
        Architectures=_ONE_CODE,
        PackageType=_ONE_CODE,
        LoggingConfig="the local log is .kami/logs/<function>.log whatever its format",
        TracingConfig="there is no X-Ray here",
        RecursiveLoop="the queues' max receive count stops loops here",
    ),
    "AWS::Lambda::LayerVersion": _ONE_CODE,
    "AWS::Lambda::Permission": _type(
        "Action FunctionName Principal SourceArn", SourceAccount="there is one account here"
    ),
    "AWS::Lambda::EventSourceMapping": _type(
        "EventSourceArn FunctionName BatchSize Enabled FunctionResponseTypes MaximumBatchingWindowInSeconds"
        " StartingPosition ParallelizationFactor BisectBatchOnFunctionError MaximumRetryAttempts"
        " MaximumRecordAgeInSeconds",
        FilterCriteria={"Filters": HANDLED},
        DestinationConfig={"OnFailure": {"Destination": HANDLED}},
        ScalingConfig={"MaximumConcurrency": HANDLED},
        MetricsConfig="there are no metrics here",
    ),
    "AWS::Events::EventBus": _type("Name", KmsKeyIdentifier=_AT_REST),
    "AWS::Events::Archive": "what was published can be read in the functions' logs",
    "AWS::Events::Rule": _type("Name EventBusName EventPattern ScheduleExpression State Targets"),
    "AWS::S3::Bucket": _type(
        "BucketName",
        BucketEncryption=_AT_REST,
        LifecycleConfiguration=_NO_TIME,
        ObjectLockEnabled=HANDLED,
        ObjectLockConfiguration=HANDLED,
        VersioningConfiguration=HANDLED,
        PublicAccessBlockConfiguration="nobody else can reach it here",
    ),
    "AWS::S3::BucketPolicy": _type("Bucket PolicyDocument"),
    "AWS::Logs::LogGroup": _type(
        "LogGroupName",
        RetentionInDays=_NO_TIME,
        DeletionProtectionEnabled=_NO_TIME,
        KmsKeyId=_AT_REST,
        LogGroupClass=_NAME_ONLY,
    ),
    "AWS::Logs::MetricFilter": _NO_ALARM,
    "AWS::ApiGatewayV2::Api": _type(
        "ProtocolType", Name=_NAME_ONLY, DisableExecuteApiEndpoint="the local gateway is the only way in"
    ),
    "AWS::ApiGatewayV2::Integration": _type(
        "ApiId IntegrationType IntegrationUri PayloadFormatVersion TimeoutInMillis",
        IntegrationMethod="Lambda integrations are always POST",
    ),
    "AWS::ApiGatewayV2::Route": _type("ApiId RouteKey Target AuthorizationType", OperationName=_NAME_ONLY),
    "AWS::ApiGatewayV2::Stage": _type(
        "ApiId StageName",
        AutoDeploy="routes are served as soon as they are read",
        AccessLogSettings="the functions' logs name every request",
        DefaultRouteSettings=_NO_THROTTLE,
        RouteSettings=_NO_THROTTLE,
    ),
    "AWS::CloudWatch::Alarm": _NO_ALARM,
    "AWS::CloudWatch::Dashboard": _NO_ALARM,
    "AWS::SNS::Topic": _type("TopicName", DisplayName=_NAME_ONLY),
    "AWS::SNS::TopicPolicy": _type("Topics PolicyDocument"),
    "AWS::SNS::Subscription": _type("TopicArn Protocol Endpoint RawMessageDelivery RedrivePolicy"),
    "AWS::SMSVOICE::ConfigurationSet": _type("ConfigurationSetName EventDestinations"),
    "AWS::CDK::Metadata": _NAME_ONLY,
}
"""By type: property → `handled`, or why nothing is done about it here; nested where only some of its parts are known.
A reason in place of the properties: nothing that a handler can see comes from this type."""

LOGS: Final = "service-role/AWSLambdaBasicExecutionRole"
"""The one managed policy that is known: it grants logs only, which a handler's own calls never touch."""


def check(resource: Resource) -> None:
    """Raises `TemplateError` for a type or property that is not in `KNOWN`."""
    known = KNOWN.get(resource.type)
    if known is None:
        raise TemplateError(f"{resource.logical_id}: resource type {resource.type} is not known to the local cloud")
    if isinstance(known, dict):
        _check(resource, "", resource.properties, known)


def _check(resource: Resource, path: str, properties: dict[str, Any], known: Properties) -> None:
    for name, value in properties.items():
        if name not in known:
            place = f"{resource.logical_id} ({resource.type})"
            raise TemplateError(f"{place}: property {path}{name} is not known to the local cloud")
        deeper = known[name]
        if isinstance(deeper, dict):
            _check(resource, f"{path}{name}.", value, deeper)


@dataclass(frozen=True, slots=True)
class Made:
    """A resource's `Ref` and the attributes that `Fn::GetAtt` may ask for."""

    ref: str
    attributes: dict[str, str] = field(default_factory=dict)


def arn(service: str, resource: str, region: str = REGION) -> str:
    """An ARN of the local account."""
    return f"arn:{PARTITION}:{service}:{region}:{ACCOUNT}:{resource}"


def handled(resource: Resource) -> dict[str, Any]:
    """Those of its properties that are acted on; the others may refer to what is not made here."""
    known = KNOWN[resource.type]
    if isinstance(known, str):
        return {}
    return {k: v for k, v in resource.properties.items() if known[k] == HANDLED or isinstance(known[k], dict)}


def make_table(dynamodb: Any, logical_id: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Creates a table, unless it is there already (DynamoDB Local keeps its tables), and returns its definition."""
    passed = ("KeySchema", "AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "StreamSpecification")
    request = {name: properties[name] for name in passed if name in properties}
    request["TableName"] = properties.get("TableName", logical_id)
    if stream := request.get("StreamSpecification"):
        request["StreamSpecification"] = {"StreamEnabled": True, **stream}
    try:
        dynamodb.create_table(**request)
    except dynamodb.exceptions.ResourceInUseException:
        with suppress(dynamodb.exceptions.ResourceInUseException, ClientError):  # it has its stream already
            if stream:
                name = request["TableName"]
                dynamodb.update_table(TableName=name, StreamSpecification=request["StreamSpecification"])
        _add_indexes(dynamodb, request)
        return request
    if time_to_live := properties.get("TimeToLiveSpecification"):
        dynamodb.update_time_to_live(TableName=request["TableName"], TimeToLiveSpecification=time_to_live)
    return request


def _add_indexes(dynamodb: Any, request: dict[str, Any]) -> None:
    """Gives a table that was kept the indexes that came since, as a deployment would."""
    name = request["TableName"]

    def by_status() -> dict[str, str]:
        there = dynamodb.describe_table(TableName=name)["Table"].get("GlobalSecondaryIndexes", [])
        return {index["IndexName"]: index["IndexStatus"] for index in there}

    known = by_status()
    for index in request.get("GlobalSecondaryIndexes", []):
        if index["IndexName"] in known:
            continue
        updates = [{"Create": index}]
        definitions = request["AttributeDefinitions"]
        dynamodb.update_table(TableName=name, AttributeDefinitions=definitions, GlobalSecondaryIndexUpdates=updates)
        until = time.monotonic() + INDEX_TIMEOUT_S
        while by_status()[index["IndexName"]] != "ACTIVE":
            if time.monotonic() > until:
                raise RuntimeError(f"the table's new index {index['IndexName']} is not filled yet; start again later")
            time.sleep(0.1)


class Builder:
    """Makes each resource when it is first referred to, so the template's order does not matter."""

    def __init__(self, template: Template, clients: Clients, material: Material) -> None:
        self.template, self.clients, self.material = template, clients, material
        self.stack = Stack()
        self._made: dict[str, Made] = {}
        self._making: list[str] = []
        self._aliases: dict[str, str] = {}
        self._partition_keys: dict[str, str] = {}
        self._delegating: set[str] = set()
        self._streams: dict[str, str] = {}
        self._roles: dict[str, Role] = {}
        self._permissions: list[tuple[str, str]] = []
        self._may_send: set[tuple[str, str]] = set()
        self._sends: set[tuple[str, str]] = set()

    def build(self) -> Stack:
        """Checks everything, then makes everything."""
        for resource in self.template.resources.values():
            check(resource)
        for logical_id in self.template.resources:
            self.made(logical_id)
        self._routes()
        if refused := self._sends - self._may_send:
            raise TemplateError(f"no policy lets these send to these queues or topics: {sorted(refused)}")
        self.stack.outputs = {
            name: str(self.template.resolve(output["Value"], self._attribute))
            for name, output in self.template.document.get("Outputs", {}).items()
        }
        self.stack.names = Names(self._partition_keys, self._aliases, frozenset(self._delegating))
        return self.stack

    def made(self, logical_id: str) -> Made:
        """The resource, made now if it was not yet."""
        if logical_id not in self._made:
            if logical_id in self._making:
                raise TemplateError(f"circular reference: {' → '.join([*self._making, logical_id])}")
            self._making.append(logical_id)
            resource = self.template.resources[logical_id]
            make = MAKERS.get(resource.type, Builder._nothing)
            self._made[logical_id] = make(self, logical_id, self.resolved(logical_id))
            self._making.pop()
        return self._made[logical_id]

    def resolved(self, logical_id: str) -> dict[str, Any]:
        """The handled properties of a resource with their references resolved."""
        properties: dict[str, Any] = self.template.resolve(
            handled(self.template.resources[logical_id]), self._attribute
        )
        return properties

    def _attribute(self, logical_id: str, name: str) -> str:
        made = self.made(logical_id)
        if name == "Ref":
            return made.ref
        if name not in made.attributes:
            kind = self.template.resources[logical_id].type
            raise TemplateError(f"{logical_id} ({kind}): attribute {name} is not known to the local cloud")
        return made.attributes[name]

    def _nothing(self, logical_id: str, properties: dict[str, Any]) -> Made:
        return Made(logical_id, {"Arn": arn("local", logical_id)})

    def _table(self, logical_id: str, properties: dict[str, Any]) -> Made:
        request = make_table(self.clients("dynamodb"), logical_id, properties)
        name = request["TableName"]
        self.stack.tables.append(name)
        self._partition_keys[name] = request["KeySchema"][0]["AttributeName"]
        for index in request.get("GlobalSecondaryIndexes", []):
            self._partition_keys[f"{name}/index/{index['IndexName']}"] = index["KeySchema"][0]["AttributeName"]
        attributes = {"Arn": arn("dynamodb", f"table/{name}")}
        if "StreamSpecification" in request:
            stream = self.clients("dynamodb").describe_table(TableName=name)["Table"]["LatestStreamArn"]
            self._streams[stream] = name
            attributes["StreamArn"] = stream
        return Made(name, attributes)

    def _key(self, logical_id: str, properties: dict[str, Any]) -> Made:
        passed = {name: properties[name] for name in ("KeySpec", "KeyUsage") if name in properties}
        key_id = self.clients("kms").create_key(Policy=json.dumps(properties["KeyPolicy"]), **passed)
        made = self.material.key(logical_id, key_id["KeyMetadata"]["KeyId"])
        key_arn = arn("kms", f"key/{made}")
        if any(_delegates(statement) for statement in properties["KeyPolicy"]["Statement"]):
            self._delegating.add(key_arn)
        return Made(made, {"Arn": key_arn, "KeyId": made})

    def _alias(self, logical_id: str, properties: dict[str, Any]) -> Made:
        target = properties["TargetKeyId"].rpartition("/")[2]
        self.clients("kms").create_alias(AliasName=properties["AliasName"], TargetKeyId=target)
        self._aliases[properties["AliasName"]] = arn("kms", f"key/{target}")
        return Made(properties["AliasName"])

    def _secret(self, logical_id: str, properties: dict[str, Any]) -> Made:
        name = properties.get("Name", logical_id)
        client = self.clients("secretsmanager")
        wanted = properties["GenerateSecretString"]
        shape, member = wanted.pop("SecretStringTemplate", None), wanted.pop("GenerateStringKey", None)
        generated = client.get_random_password(**wanted)["RandomPassword"]
        if shape is not None:
            generated = json.dumps({**json.loads(shape), member: generated})
        tags = [{"Key": "_custom_id_", "Value": "local0"}]  # moto's way to fix the random end of the ARN
        value = self.material.secret(logical_id, generated)
        secret_arn = client.create_secret(Name=name, SecretString=value, Tags=tags)["ARN"]
        self._aliases[name] = secret_arn
        return Made(secret_arn, {"Id": secret_arn})

    def _queue(self, logical_id: str, properties: dict[str, Any]) -> Made:
        name = properties.pop("QueueName", logical_id)
        attributes = {k: json.dumps(v) if isinstance(v, dict) else str(v) for k, v in properties.items()}
        url = self.clients("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.stack.queues[arn("sqs", name)] = url
        return Made(url, {"Arn": arn("sqs", name), "QueueName": name, "QueueUrl": url})

    def _queue_policy(self, logical_id: str, properties: dict[str, Any]) -> Made:
        for statement in properties["PolicyDocument"]["Statement"]:
            match statement:
                case {"Effect": "Deny", "Condition": condition} if condition == INSECURE:
                    pass
                case {
                    "Effect": "Allow",
                    "Action": "sqs:SendMessage" | ["sqs:SendMessage", *_],
                    "Principal": {"Service": "events.amazonaws.com" | "sns.amazonaws.com"},
                    "Condition": {"ArnEquals": {"aws:SourceArn": rule}, **others},
                    "Resource": queue,
                } if not others:
                    self._may_send.add((rule, queue))
                case _:
                    known = "only `deny without TLS`, a rule's and a topic's are known"
                    raise TemplateError(f"{logical_id}: of queue policies, {known}: {statement}")
        return Made(logical_id)

    def _topic(self, logical_id: str, properties: dict[str, Any]) -> Made:
        name = properties.get("TopicName", logical_id)
        topic = self.clients("sns").create_topic(Name=name)["TopicArn"]
        return Made(topic, {"TopicArn": topic, "TopicName": name})

    def _topic_policy(self, logical_id: str, properties: dict[str, Any]) -> Made:
        for statement in properties["PolicyDocument"]["Statement"]:
            match statement:
                case {"Effect": "Deny", "Condition": condition} if condition == INSECURE:
                    pass
                case {"Effect": "Allow", "Action": "sns:Publish", "Principal": {"Service": "cloudwatch.amazonaws.com"}}:
                    pass  # there are no alarms here
                case {
                    "Effect": "Allow",
                    "Action": "sns:Publish",
                    "Principal": {"Service": "sms-voice.amazonaws.com"},
                    "Condition": {
                        "StringEquals": {"aws:SourceAccount": account},
                        "ArnLike": {"aws:SourceArn": source},
                    },
                    "Resource": topic,
                } if account == ACCOUNT:
                    self._may_send.add((source, topic))
                case _:
                    raise TemplateError(f"{logical_id}: this statement of a topic's policy is not known: {statement}")
        return Made(logical_id)

    def _subscription(self, logical_id: str, properties: dict[str, Any]) -> Made:
        topic, queue = properties["TopicArn"], properties["Endpoint"]
        if properties["Protocol"] != "sqs" or not properties.get("RawMessageDelivery"):
            raise TemplateError(f"{logical_id}: only queues that get what was published as it is are known")
        for each in [queue, *properties.get("RedrivePolicy", {}).values()]:
            self._sends.add((topic, each))
        made = self.clients("sns").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"}
        )
        return Made(made["SubscriptionArn"])

    def _configuration_set(self, logical_id: str, properties: dict[str, Any]) -> Made:
        """moto has no SMS that could cause events; what is checked is that its topics would take them."""
        name = properties["ConfigurationSetName"]
        for destination in properties["EventDestinations"]:
            if set(destination) - {"Enabled", "EventDestinationName", "MatchingEventTypes", "SnsDestination"}:
                raise TemplateError(f"{logical_id}: only topics are known as destinations of SMS events")
            self._sends.add((arn("sms-voice", f"configuration-set/{name}"), destination["SnsDestination"]["TopicArn"]))
        return Made(name)

    def _bucket_policy(self, logical_id: str, properties: dict[str, Any]) -> Made:
        for statement in properties["PolicyDocument"]["Statement"]:
            if statement["Effect"] != "Deny" or statement.get("Condition") != INSECURE:
                raise TemplateError(f"{logical_id}: of bucket policies, only `deny without TLS` is known: {statement}")
        return Made(logical_id)

    def _bucket(self, logical_id: str, properties: dict[str, Any]) -> Made:
        name = properties.get("BucketName", logical_id.lower())
        s3, locked = self.clients("s3"), properties.get("ObjectLockEnabled", False)
        s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
        if "VersioningConfiguration" in properties:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=properties["VersioningConfiguration"])
        if lock := properties.get("ObjectLockConfiguration"):
            s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=lock)
        bucket_arn = f"arn:{PARTITION}:s3:::{name}"
        self.stack.buckets[bucket_arn] = name
        return Made(name, {"Arn": bucket_arn})

    def _bus(self, logical_id: str, properties: dict[str, Any]) -> Made:
        name = properties["Name"]
        self.clients("events").create_event_bus(Name=name)
        self.stack.buses.append(name)
        return Made(name, {"Arn": arn("events", f"event-bus/{name}"), "Name": name})

    def _rule(self, logical_id: str, properties: dict[str, Any]) -> Made:
        if "ScheduleExpression" in properties:
            return self._schedule(logical_id, properties)
        name, on = properties.get("Name", logical_id), properties["EventBusName"]
        made = Made(f"{on}|{name}", {"Arn": arn("events", f"rule/{on}/{name}")})
        pattern = properties["EventPattern"]
        patterns.matcher(pattern)  # says what it does not know
        events = self.clients("events")
        events.put_rule(
            Name=name, EventBusName=on, EventPattern=json.dumps(pattern), State=properties.get("State", "ENABLED")
        )
        for target in properties["Targets"]:
            bus.check_target(target)
            for queue in [target["Arn"], *target.get("DeadLetterConfig", {}).values()]:
                self._sends.add((made.attributes["Arn"], queue))
        events.put_targets(Rule=name, EventBusName=on, Targets=properties["Targets"])
        return made

    def _schedule(self, logical_id: str, properties: dict[str, Any]) -> Made:
        """Only the account's own bus has schedules."""
        if {"EventBusName", "EventPattern"} & set(properties):
            raise TemplateError(f"{logical_id}: a rule with a schedule and a bus or a pattern of its own is not known")
        name, targets = properties.get("Name", logical_id), properties["Targets"]
        made = Made(name, {"Arn": arn("events", f"rule/{name}")})
        for target in targets:
            every_s = bus.check_schedule(properties["ScheduleExpression"], target)
            for queue in [target["Arn"], *target.get("DeadLetterConfig", {}).values()]:
                self._sends.add((made.attributes["Arn"], queue))
        if properties.get("State", "ENABLED") == "ENABLED":
            self.stack.schedules.append(Schedule(name, every_s, tuple(targets)))
        return made

    def _role(self, logical_id: str, properties: dict[str, Any]) -> Made:
        name = properties.get("RoleName", logical_id)
        return Made(name, {"Arn": arn("iam", f"role/{name}", region="")})

    def _function(self, logical_id: str, properties: dict[str, Any]) -> Made:
        name = properties.get("FunctionName", logical_id)
        made = Made(name, {"Arn": arn("lambda", f"function:{name}")})
        function = Function(
            name=properties["Handler"].split(".")[-3],
            logical_id=logical_id,
            arn=made.attributes["Arn"],
            handler=properties["Handler"],
            role=self._execution_role(self.template.resources[logical_id].properties["Role"]),
            environment=properties.get("Environment", {}).get("Variables", {}),
            timeout_s=properties.get("Timeout", 3),
            memory_mb=properties.get("MemorySize", 128),
            reserved_concurrency=properties.get("ReservedConcurrentExecutions"),
        )
        if function.name in self.stack.functions:
            raise TemplateError(f"two functions have the handler {function.handler}")
        self.stack.functions[function.name] = function
        return made

    def _execution_role(self, reference: Any) -> Role:
        """The role that a function's `Role` property refers to, with inline and attached policies."""
        match reference:
            case {"Fn::GetAtt": [str(logical_id), "Arn"]}:
                pass
            case _:
                raise TemplateError(f"a function's role must be a role of the template, not {reference}")
        if logical_id not in self._roles:
            properties = self.resolved(logical_id)
            trusted = properties["AssumeRolePolicyDocument"]["Statement"]
            if not any(statement.get("Principal") == {"Service": "lambda.amazonaws.com"} for statement in trusted):
                raise TemplateError(f"{logical_id}: Lambda may not assume this role")
            if others := [one for one in properties.get("ManagedPolicyArns", []) if not one.endswith(LOGS)]:
                raise TemplateError(f"{logical_id}: managed policies are not known: {others}")
            documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
            for policy in self.template.of_type("AWS::IAM::Policy"):
                if {"Ref": logical_id} in policy.properties["Roles"]:
                    documents.append(self.resolved(policy.logical_id)["PolicyDocument"])
            granted = tuple(statement for document in documents for statement in statements(document))
            self._roles[logical_id] = Role(self.made(logical_id).attributes["Arn"], granted)
        return self._roles[logical_id]

    def _permission(self, logical_id: str, properties: dict[str, Any]) -> Made:
        if (properties["Action"], properties["Principal"]) == ("lambda:InvokeFunction", "apigateway.amazonaws.com"):
            self._permissions.append((self.function_of(properties["FunctionName"]).name, properties["SourceArn"]))
            return Made(logical_id)
        raise TemplateError(f"{logical_id}: only API Gateway's permission to invoke is known")

    def _source(self, logical_id: str, properties: dict[str, Any]) -> Made:
        queue_arn = properties["EventSourceArn"]
        function = self.function_of(properties["FunctionName"])
        if queue_arn in self._streams:
            return self._stream_source(logical_id, properties, function)
        if others := set(properties) - OF_QUEUES:
            raise TemplateError(f"{logical_id}: {sorted(others)} mean nothing where the source is a queue")
        if queue_arn not in self.stack.queues:
            raise TemplateError(f"{logical_id}: event source {queue_arn} is no queue or stream of this template")
        if properties.get("Enabled", True):
            self.stack.sources.append(
                QueueSource(
                    queue_arn=queue_arn,
                    queue_url=self.stack.queues[queue_arn],
                    function=function.name,
                    batch_size=properties.get("BatchSize", 10),
                    batch_window_s=properties.get("MaximumBatchingWindowInSeconds", 0),
                    concurrency_max=properties.get("ScalingConfig", {}).get("MaximumConcurrency", 5),
                    partial_failures=properties.get("FunctionResponseTypes") == ["ReportBatchItemFailures"],
                )
            )
        return Made(logical_id, {"Id": logical_id})

    def _stream_source(self, logical_id: str, properties: dict[str, Any], function: Function) -> Made:
        if properties["StartingPosition"] != "TRIM_HORIZON":
            raise TemplateError(f"{logical_id}: only TRIM_HORIZON is known as starting position")
        filters = [json.loads(one["Pattern"]) for one in properties.get("FilterCriteria", {}).get("Filters", [])]
        destination = properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if destination and destination not in self.stack.buckets:
            raise TemplateError(f"{logical_id}: {destination} is no bucket of this template")
        retries, age_s = properties.get("MaximumRetryAttempts", -1), properties.get("MaximumRecordAgeInSeconds", -1)
        source = StreamSource(
            id=logical_id,
            stream_arn=properties["EventSourceArn"],
            table=self._streams[properties["EventSourceArn"]],
            function=function.name,
            batch_size=properties.get("BatchSize", 100),
            batch_window_s=properties.get("MaximumBatchingWindowInSeconds", 0),
            lanes=properties.get("ParallelizationFactor", 1),
            filters=tuple(filters),
            partial_failures=properties.get("FunctionResponseTypes") == ["ReportBatchItemFailures"],
            bisect=properties.get("BisectBatchOnFunctionError", False),
            retries_max=None if retries < 0 else retries,
            age_max_s=None if age_s < 0 else age_s,
            failures=self.stack.buckets.get(destination),
        )
        for one in source.filters:
            patterns.matcher(one)
        if properties.get("Enabled", True):
            self.stack.streams.append(source)
        return Made(logical_id, {"Id": logical_id})

    def function_of(self, name_or_arn: str) -> Function:
        """The function that a name or ARN means."""
        name = name_or_arn.rpartition(":")[2]
        for function in self.stack.functions.values():
            if function.arn.endswith(f":{name}"):
                return function
        raise TemplateError(f"no function of the template is called {name_or_arn}")

    def _api(self, logical_id: str, properties: dict[str, Any]) -> Made:
        if properties["ProtocolType"] != "HTTP":
            raise TemplateError(f"{logical_id}: only HTTP APIs are known")
        return Made(logical_id, {"ApiId": logical_id, "ApiEndpoint": "http://127.0.0.1"})

    def _integration(self, logical_id: str, properties: dict[str, Any]) -> Made:
        if (properties["IntegrationType"], properties["PayloadFormatVersion"]) != ("AWS_PROXY", "2.0"):
            raise TemplateError(f"{logical_id}: only Lambda proxy integrations of payload format 2.0 are known")
        return Made(logical_id)

    def _stage(self, logical_id: str, properties: dict[str, Any]) -> Made:
        if properties["StageName"] != "$default":
            raise TemplateError(f"{logical_id}: only the stage $default is known")
        return Made("$default")

    def _routes(self) -> None:
        """Ties routes to functions; where no permission covers a route, API Gateway will answer 500 in its stead."""
        for route in self.template.of_type("AWS::ApiGatewayV2::Route"):
            properties = self.resolved(route.logical_id)
            if properties.get("AuthorizationType", "NONE") != "NONE":
                raise TemplateError(f"{route.logical_id}: gateway authorizers are not known")
            integration = self.resolved(properties["Target"].removeprefix("integrations/"))
            uri = integration["IntegrationUri"]
            function = self.function_of(uri.removesuffix("/invocations"))
            key = properties["RouteKey"]
            source = arn("execute-api", f"{properties['ApiId']}/$default/{key.replace(' ', '')}")
            allowed = [pattern for name, pattern in self._permissions if name == function.name]
            permitted = any(fnmatchcase(source, pattern) for pattern in allowed)
            timeout_s = integration.get("TimeoutInMillis", 30_000) / 1000
            self.stack.routes.append(Route(key, function.name, timeout_s, permitted))


OF_QUEUES: Final = {
    "EventSourceArn", "FunctionName", "BatchSize", "Enabled", "FunctionResponseTypes",
    "MaximumBatchingWindowInSeconds", "ScalingConfig",
}  # fmt: skip
INSECURE: Final = {"Bool": {"aws:SecureTransport": "false"}}


def _delegates(statement: dict[str, Any]) -> bool:
    """Whether a key policy's statement leaves all decisions to the account's IAM policies."""
    root = {"AWS": f"arn:{PARTITION}:iam::{ACCOUNT}:root"}
    return (statement["Effect"], statement["Action"], statement["Principal"]) == ("Allow", "kms:*", root)


MAKERS: Final[dict[str, Callable[[Builder, str, dict[str, Any]], Made]]] = {
    "AWS::DynamoDB::Table": Builder._table,
    "AWS::KMS::Key": Builder._key,
    "AWS::KMS::Alias": Builder._alias,
    "AWS::SecretsManager::Secret": Builder._secret,
    "AWS::SQS::Queue": Builder._queue,
    "AWS::SQS::QueuePolicy": Builder._queue_policy,
    "AWS::SNS::Topic": Builder._topic,
    "AWS::SNS::TopicPolicy": Builder._topic_policy,
    "AWS::SNS::Subscription": Builder._subscription,
    "AWS::SMSVOICE::ConfigurationSet": Builder._configuration_set,
    "AWS::Events::EventBus": Builder._bus,
    "AWS::Events::Rule": Builder._rule,
    "AWS::S3::Bucket": Builder._bucket,
    "AWS::S3::BucketPolicy": Builder._bucket_policy,
    "AWS::IAM::Role": Builder._role,
    "AWS::Lambda::Function": Builder._function,
    "AWS::Lambda::Permission": Builder._permission,
    "AWS::Lambda::EventSourceMapping": Builder._source,
    "AWS::ApiGatewayV2::Api": Builder._api,
    "AWS::ApiGatewayV2::Integration": Builder._integration,
    "AWS::ApiGatewayV2::Stage": Builder._stage,
}
"""Types not named here need nothing but an id (policies and routes are read when functions and the API are made)."""
