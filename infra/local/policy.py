"""IAM for the local cloud: a function may do what its own role in the template allows, and nothing else.

A hook on botocore maps each call to the actions, resources and condition keys that AWS would check, evaluates the
role's statements and raises the `AccessDeniedException` that AWS would answer, before the call leaves. Every checked
call is recorded, so that `unneeded_grants` can say which grants nothing has used.

Not modelled: resource policies other than a key's delegation to IAM, permission boundaries, organisation policies.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from fnmatch import translate
from functools import cache
from typing import Any, Final

import botocore.handlers
from botocore.exceptions import ClientError

from infra.local.template import ACCOUNT, PARTITION, REGION, TemplateError

type_of_arn: Final = re.compile(r"arn:aws[a-z-]*:")
UNCHECKED: Final = frozenset({"sts:GetCallerIdentity"})
"""Calls that AWS lets every principal make."""

LEADING_KEYS: Final = "dynamodb:LeadingKeys"
CONDITION_KEYS: Final = (
    LEADING_KEYS, "kms:EncryptionContext:*", "kms:EncryptionContextKeys", "kms:SigningAlgorithm", "kms:MessageType",
    "kms:ViaService",
)  # fmt: skip
"""What `requests_of` fills in (`ViaService` stays absent: calls are direct); a policy with other keys is refused."""


@cache
def _pattern(text: str, case: bool = True) -> re.Pattern[str]:
    """IAM's wildcards: `*` and `?`, nothing else is special."""
    return re.compile(translate(text.replace("[", "[[]")), 0 if case else re.IGNORECASE)


def _like(pattern: str, value: str) -> bool:
    return bool(_pattern(pattern).match(value))


OPERATORS: Final[dict[str, Callable[[str, str], bool]]] = {
    "StringEquals": lambda wanted, value: wanted == value,
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda wanted, value: wanted.lower() == value.lower(),
}
NEGATED: Final = {"StringNotEquals": "StringEquals", "StringNotLike": "StringLike", "ArnNotLike": "ArnLike"}


@dataclass(frozen=True, slots=True)
class Request:
    """One permission check: what AWS would ask IAM about a call."""

    action: str
    resource: str
    context: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator, key and its wanted values, e.g. `ForAllValues:StringLike dynamodb:LeadingKeys CLIENT#*`."""

    operator: str
    key: str
    wanted: tuple[str, ...]

    def __post_init__(self) -> None:
        base = self.operator.rpartition(":")[2].removesuffix("IfExists")
        qualifier = self.operator.rpartition(":")[0]
        if base not in {*OPERATORS, *NEGATED, "Null"} or qualifier not in {"", "ForAllValues", "ForAnyValue"}:
            raise TemplateError(f"policy condition operator {self.operator!r} is not known")
        if not any(_pattern(key, case=False).match(self.key) for key in CONDITION_KEYS):
            raise TemplateError(f"policy condition key {self.key!r} is not known")

    def holds(self, request: Request) -> bool:
        """IAM's rules for absent keys: false, but true for `ForAllValues:`, `…IfExists` and negated operators."""
        values = {key.lower(): found for key, found in request.context}.get(self.key.lower(), ())
        qualifier, _, operator = self.operator.rpartition(":")
        base = operator.removesuffix("IfExists")
        if base == "Null":
            return (not values) == (self.wanted == ("true",))
        if not values:
            return qualifier == "ForAllValues" or operator.endswith("IfExists") or base in NEGATED
        test = OPERATORS[NEGATED.get(base, base)]
        matches = (any(test(wanted, value) for wanted in self.wanted) != (base in NEGATED) for value in values)
        return all(matches) if qualifier == "ForAllValues" else any(matches)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a role's policies."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()

    def matches(self, request: Request) -> bool:
        """Whether this statement speaks about `request` (actions without regard to case, as in IAM)."""
        return (
            any(_pattern(action, case=False).match(request.action) for action in self.actions)
            and any(_like(resource, request.resource) for resource in self.resources)
            and all(condition.holds(request) for condition in self.conditions)
        )


@dataclass(frozen=True, slots=True)
class Role:
    """An execution role: its statements, already resolved."""

    arn: str
    statements: tuple[Statement, ...]

    def allows(self, request: Request) -> bool:
        """An explicit deny wins; what nothing allows is denied."""
        effects = {statement.effect for statement in self.statements if statement.matches(request)}
        return effects == {"Allow"}


def _many(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in values)


def statements(document: dict[str, Any]) -> Iterator[Statement]:
    """The statements of a resolved policy document; elements that are not evaluated here are refused."""
    listed = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    for body in listed:
        if unknown := set(body) - {"Sid", "Effect", "Action", "Resource", "Condition"}:
            raise TemplateError(f"policy element {sorted(unknown)} is not known: {body}")
        conditions = tuple(
            Condition(operator, key, _many(wanted))
            for operator, keys in body.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
        yield Statement(body["Effect"], _many(body["Action"]), _many(body["Resource"]), conditions)


# What a call needs: botocore's operation and parameters → requests.


@dataclass(frozen=True, slots=True)
class Names:
    """What must be known of the cloud's resources to check a call: how short names become ARNs."""

    partition_keys: dict[str, str] = field(default_factory=dict)
    """Partition key attribute by table or index: `table` or `table/index/name`."""
    aliases: dict[str, str] = field(default_factory=dict)
    """KMS alias or secret's name → ARN."""
    keys: frozenset[str] = frozenset()
    """ARNs of the KMS keys whose key policy leaves the decision to IAM; a role can use no others."""


def _arn(service: str, resource: str) -> str:
    return f"arn:{PARTITION}:{service}:{REGION}:{ACCOUNT}:{resource}"


def _context(values: dict[str, list[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((key, tuple(found)) for key, found in values.items() if found)


def _table_request(operation: str, table: str, items: list[dict[str, Any]], names: Names) -> Request:
    name = table.rpartition("/")[2] if type_of_arn.match(table) else table
    keys = [str(*item[names.partition_keys[name]].values()) for item in items]
    return Request(f"dynamodb:{operation}", _arn("dynamodb", f"table/{name}"), _context({LEADING_KEYS: keys}))


def _item(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    return [_table_request(operation, params["TableName"], [params.get("Key") or params["Item"]], names)]


def _batch(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    def items(part: Any) -> list[dict[str, Any]]:
        if operation == "BatchGetItem":
            return list(part["Keys"])
        return [write.get("Key") or write["Item"] for entry in part for write in entry.values()]

    return [_table_request(operation, table, items(part), names) for table, part in params["RequestItems"].items()]


def _transaction(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    """A transaction needs what its parts need: `Put` → PutItem, …, `ConditionCheck` → ConditionCheckItem."""
    return [
        request
        for item in params["TransactItems"]
        for verb, part in item.items()
        for request in _item(f"{verb}Item", part, names)
    ]


def _query(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    name = params["TableName"] + (f"/index/{params['IndexName']}" if "IndexName" in params else "")
    placeholders = params.get("ExpressionAttributeNames", {})
    leading = [
        str(*params["ExpressionAttributeValues"][value].values())
        for attribute, value in re.findall(r"([#\w]+)\s*=\s*(:\w+)", params.get("KeyConditionExpression", ""))
        if placeholders.get(attribute, attribute) == names.partition_keys[name]
    ]
    return [Request(f"dynamodb:{operation}", _arn("dynamodb", f"table/{name}"), _context({LEADING_KEYS: leading}))]


def _key(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    # moto's ciphertexts begin with the id of their key, as the service finds it in AWS's
    key = params.get("KeyId") or bytes(params["CiphertextBlob"][:36]).decode()
    key = names.aliases.get(key, key)
    arn = key if type_of_arn.match(key) else _arn("kms", f"key/{key}")
    encryption = params.get("EncryptionContext", {})
    context = {f"kms:EncryptionContext:{name}": [value] for name, value in encryption.items()}
    context["kms:EncryptionContextKeys"] = list(encryption)
    context |= {f"kms:{name}": [params[name]] for name in ("SigningAlgorithm", "MessageType") if name in params}
    return [Request(f"kms:{operation}", arn, _context(context))]


def _secret(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    name = params["SecretId"]
    return [Request(f"secretsmanager:{operation}", names.aliases.get(name, name))]


def _queue(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    name = params.get("QueueName") or params["QueueUrl"].rpartition("/")[2]
    return [Request(f"sqs:{operation.removesuffix('Batch')}", _arn("sqs", name))]


def _stream(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    # an iterator begins with its stream's ARN; DynamoDB Local puts a number before it
    parts = (params.get("StreamArn") or params["ShardIterator"]).split("|")
    return [Request(f"dynamodb:{operation}", next(part for part in parts if type_of_arn.match(part)))]


def _streams(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    return [Request(f"dynamodb:{operation}", _arn("dynamodb", f"table/{params['TableName']}/stream/*"))]


def _bus(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    buses = {entry.get("EventBusName", "default").rpartition("/")[2] for entry in params["Entries"]}
    return [Request(f"events:{operation}", _arn("events", f"event-bus/{bus}")) for bus in sorted(buses)]


def _object(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    return [Request(f"s3:{operation}", f"arn:{PARTITION}:s3:::{params['Bucket']}/{params['Key']}")]


def _read_object(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    return _object("GetObject", params, names)


def _bucket(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    return [Request("s3:ListBucket", f"arn:{PARTITION}:s3:::{params['Bucket']}")]


def _sms(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    return [Request(f"sms-voice:{operation}", params.get("OriginationIdentity") or _arn("sms-voice", "*"))]


def _anyone(operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    return []


Mapper = Callable[[str, dict[str, Any], Names], list[Request]]
CALLS: Final[dict[str, Mapper]] = {
    **dict.fromkeys(["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"], _item),
    **dict.fromkeys(["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem"], _batch),
    **dict.fromkeys(["dynamodb:TransactWriteItems", "dynamodb:TransactGetItems"], _transaction),
    **dict.fromkeys(["dynamodb:Query", "dynamodb:Scan"], _query),
    **dict.fromkeys(
        ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:GetPublicKey",
         "kms:Sign", "kms:Verify", "kms:DescribeKey", "kms:GenerateMac", "kms:VerifyMac"], _key),
    **dict.fromkeys(["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], _secret),
    **dict.fromkeys(
        ["sqs:SendMessage", "sqs:SendMessageBatch", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:DeleteMessageBatch",
         "sqs:ChangeMessageVisibility", "sqs:ChangeMessageVisibilityBatch", "sqs:GetQueueAttributes",
         "sqs:GetQueueUrl"], _queue),
    **dict.fromkeys(
        ["dynamodbstreams:DescribeStream", "dynamodbstreams:GetRecords", "dynamodbstreams:GetShardIterator"], _stream),
    "dynamodbstreams:ListStreams": _streams,
    "events:PutEvents": _bus,
    **dict.fromkeys(["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], _object),
    "s3:HeadObject": _read_object,
    "s3:ListObjectsV2": _bucket,
    "pinpoint-sms-voice-v2:SendTextMessage": _sms,
    "sts:GetCallerIdentity": _anyone,
}  # fmt: skip


def requests_of(service: str, operation: str, params: dict[str, Any], names: Names) -> list[Request]:
    """What AWS would check for a call. Raises `TemplateError` for an operation whose needs are not written down."""
    mapper = CALLS.get(f"{service}:{operation}")
    if mapper is None:
        raise TemplateError(f"the permissions of {service}:{operation} are not known to infra/local/policy.py")
    return mapper(operation, params, names)


# Enforcement


@dataclass(frozen=True, slots=True)
class Guard:
    """A role in force, the names to check it with, and where its calls are recorded."""

    role: Role
    names: Names
    record: Callable[[Request], None]

    def check(self, service: str, operation: str, params: dict[str, Any]) -> None:
        """Raises the `ClientError` with which AWS would refuse the call."""
        for request in requests_of(service, operation, params, self.names):
            known_key = service != "kms" or request.resource in self.names.keys
            if not (known_key and self.role.allows(request)):
                raise denial(self.role, request, operation)
            self.record(request)


def denial(role: Role, request: Request, operation: str) -> ClientError:
    """AWS's refusal, in its words."""
    message = (
        f"User: {role.arn} is not authorized to perform: {request.action} on resource: {request.resource} "
        f"because no identity-based policy allows the {request.action} action {dict(request.context) or ''}"
    )
    answer: Any = {
        "Error": {"Code": "AccessDeniedException", "Message": message.strip()},
        "ResponseMetadata": {"HTTPStatusCode": 400, "RetryAttempts": 0},
    }
    return ClientError(answer, operation)


_acting: ContextVar[Guard | None] = ContextVar("acting", default=None)
_everywhere: Guard | None = None


def _hook(params: dict[str, Any], model: Any, **_: Any) -> None:
    guard = _acting.get() or _everywhere
    if guard is not None:
        guard.check(model.service_model.service_name, model.name, params)


@cache
def install() -> None:
    """Hooks every botocore session made from now on in this process, and lets threads inherit the acting role."""
    botocore.handlers.BUILTIN_HANDLERS.append(("before-parameter-build", _hook))
    start = threading.Thread.start

    def start_in_context(self: threading.Thread) -> None:
        guard, run = _acting.get(), self.run

        def run_guarded() -> None:
            _acting.set(guard)
            run()

        if guard is not None:  # without this a pool inside a handler would act as nobody, unchecked
            self.run = run_guarded  # type: ignore[method-assign]
        start(self)

    threading.Thread.start = start_in_context  # type: ignore[method-assign]


def become(guard: Guard) -> None:
    """Puts `guard` in force for the whole process: what a function's own process does."""
    global _everywhere
    install()
    _everywhere = guard


@contextmanager
def acting_as(guard: Guard) -> Iterator[None]:
    """Puts `guard` in force for the calls of this thread and of the threads that it starts."""
    install()
    token = _acting.set(guard)
    try:
        yield
    finally:
        _acting.reset(token)


def single_grants(role: Role) -> Iterator[tuple[str, Role]]:
    """Each thing that the role allows, as text, with the role that lacks only it: an action, and, where a statement
    names several, a resource or a value of a condition.
    """
    for index, statement in enumerate(role.statements):
        if statement.effect == "Allow":
            for grant, less in _narrowed(statement):
                yield grant, Role(role.arn, (*role.statements[:index], less, *role.statements[index + 1 :]))


def _without(values: tuple[str, ...], value: str) -> tuple[str, ...]:
    return tuple(other for other in values if other != value)


def _narrowed(statement: Statement) -> Iterator[tuple[str, Statement]]:
    actions, resources = ", ".join(statement.actions), statement.resources
    for action in statement.actions:
        less = _without(statement.actions, action)
        yield f"{action} on {', '.join(resources)}", replace(statement, actions=less)
    for resource in resources if len(resources) > 1 else ():
        yield f"{actions} on {resource}", replace(statement, resources=_without(resources, resource))
    for number, condition in enumerate(statement.conditions):
        for value in condition.wanted if len(condition.wanted) > 1 else ():
            narrower = replace(condition, wanted=_without(condition.wanted, value))
            conditions = (*statement.conditions[:number], narrower, *statement.conditions[number + 1 :])
            yield f"{actions} where {condition.key} is {value}", replace(statement, conditions=conditions)


def unneeded_grants(role: Role, calls: Iterable[Request], but: tuple[str, ...] = ("logs:", "xray:")) -> list[str]:
    """The grants whose removal would have denied none of the recorded `calls` (`but`: services that need no call)."""
    seen = set(calls)
    return [
        grant
        for grant, without in single_grants(role)
        if not grant.startswith(but) and all(without.allows(request) for request in seen)
    ]
