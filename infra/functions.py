"""One Lambda function each, with its own role and log group, and the table of what each may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from aws_cdk import Acknowledgment, Aws, CfnElement, Duration, Stack, Validations
from aws_cdk import aws_events as eventbridge
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.store.keys import (
    ABOUT,
    ABOUT_CARD,
    ACCOUNTS,
    ACTOR,
    AWAITING,
    BATCH,
    BATCHES,
    CAMPAIGN,
    CHAIN,
    CHANNEL,
    CHECKPOINT,
    CLIENT,
    CODE,
    COMMAND,
    COMPLAINT,
    COUNTER,
    COUNTS,
    DELIVERED,
    DELIVERIES,
    DELIVERY,
    DELIVERY_COUNTED,
    DRAW,
    ENROLMENT,
    ENTRY,
    ERASURE,
    EXPIRING,
    EXPIRY,
    EXPORT,
    GUARD,
    HELD,
    HISTORY,
    HOLDER,
    IMPORT,
    IMPORTED,
    LEDGER,
    LIMIT,
    LOT,
    MESSAGE,
    MOVED,
    PERSON,
    POINTER,
    POOL,
    PROVIDER,
    PULSE,
    RATE,
    RECIPIENT,
    RECLAIMING,
    RECONCILIATION,
    RECORD_EXPORT,
    RECORDED,
    RECOVERED,
    RECOVERY,
    REFUSED,
    REVEAL,
    ROUTING,
    SENT,
    SHELF,
    SPENT,
    STATISTICS,
    STOCK,
    TENANT,
    VOUCHER,
    WEBHOOK,
)
from infra.bundle import Assets
from infra.data import Data
from infra.settings import Settings
from infra.sms import configuration_set


class Resource(StrEnum):
    """What a grant is for. A function's environment names what it was granted, and nothing else."""

    TABLE = "table"
    INDEX = "index"
    WALLETS = "index of wallets"
    ACTORS = "index of actors"
    DATA_KEY = "data key"
    SANDBOX_KEY = "sandbox key"
    AUTHENTICATOR_KEY = "authenticator key"
    WEBHOOK_KEY = "webhook key"
    SIGNING_KEYS = "signing keys"
    RECEIPT_KEY = "receipt key"
    CURSOR_SECRET = "cursor secret"
    JOBS = "jobs"
    MESSAGES = "messages"
    DELIVERIES = "deliveries"
    ENTRIES = "entries"
    RECORD = "the record's queue"
    RECORD_KEY = "the record's key"
    SEALED = "sealed objects"
    RECORD_EXPORTS = "exports of the record"
    STREAM = "stream"
    STREAMS = "the table's streams"
    BUS = "bus"
    FAILURES = "failures"
    FAILED = "failed records"
    EXPORTS = "exports"
    UPLOADS = "uploads"
    UPLOADED = "uploaded files"
    INDEX_SECRET = "secret of the blind index"
    PERSON_SECRET = "secret of accounts' ids"
    SMS = "SMS"
    SMS_ACCOUNTS = "accounts at SMS providers"


QUEUES: Final = (Resource.JOBS, Resource.MESSAGES, Resource.DELIVERIES, Resource.ENTRIES)
"""A function may have one of these queues as its own."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Actions on a resource; `prefixes` are those of the partition keys that they may touch (table and index)."""

    resource: Resource
    actions: tuple[str, ...]
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A function: how long it may take, when its slowest hundredth raises an alarm, what it may do.

    `knows_numbers`: it has the layer of number plans.
    """

    timeout_s: int
    slow_ms: int
    grants: tuple[Grant, ...] = ()
    knows_numbers: bool = False

    @property
    def queue(self) -> Resource | None:
        """Which queue feeds it, if any."""
        return next((grant.resource for grant in self.grants if grant.resource in QUEUES), None)


def _table(*actions: str, on: tuple[str, ...]) -> Grant:
    return Grant(Resource.TABLE, tuple(f"dynamodb:{action}" for action in actions), on)


_VERIFY_TOKENS: Final = Grant(Resource.SIGNING_KEYS, ("kms:GetPublicKey",))
_CHECK_ONE_TIME_CODES: Final = Grant(Resource.AUTHENTICATOR_KEY, ("kms:Decrypt",))
_OPEN_BATCH_KEYS: Final = (
    Grant(Resource.DATA_KEY, ("kms:Decrypt",)),
    Grant(Resource.SANDBOX_KEY, ("kms:Decrypt",)),
)
# Sending (work left over, another attempt) is the function's own; the rest is what Lambda's poller does in its name.
_TAKES_AND_SENDS: Final = ("sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
_JOBS: Final = Grant(Resource.JOBS, _TAKES_AND_SENDS)
_RECORDS: Final = Grant(Resource.RECORD, ("sqs:SendMessage",))

FUNCTIONS: Final[Mapping[str, Spec]] = {
    "authorize": Spec(
        timeout_s=10,
        slow_ms=2_000,
        grants=(
            _table("GetItem", on=(CLIENT,)),
            Grant(Resource.SIGNING_KEYS, ("kms:GetPublicKey", "kms:Sign")),
            Grant(Resource.RECEIPT_KEY, ("kms:GetPublicKey",)),
            Grant(Resource.RECORD_KEY, ("kms:GetPublicKey",)),
            _RECORDS,
        ),
    ),
    "generate": Spec(
        timeout_s=60,
        slow_ms=20_000,
        grants=(
            _table(
                "BatchGetItem",
                on=(BATCH, CAMPAIGN, CODE, COUNTER, COUNTS, EXPORT, IMPORT, LOT, VOUCHER),
            ),
            _table("GetItem", on=(BATCH, CAMPAIGN, ENROLMENT, EXPORT, IMPORT, LOT, POOL)),
            _table(
                "PutItem", on=(BATCH, CAMPAIGN, CODE, COUNTER, ENROLMENT, EXPORT, IMPORT, LOT, POOL, REFUSED, REVEAL)
            ),
            _table("Query", on=(REFUSED,)),
            _table("UpdateItem", on=(GUARD,)),
            Grant(Resource.EXPORTS, ("s3:GetObject", "s3:PutObject")),
            Grant(Resource.UPLOADED, ("s3:DeleteObject", "s3:GetObject", "s3:PutObject")),
            Grant(Resource.UPLOADS, ("s3:ListBucket",)),
            Grant(Resource.INDEX, ("dynamodb:Query",), ("CAMPAIGNS#", IMPORTED, "TOUCHED#")),
            Grant(Resource.INDEX_SECRET, ("secretsmanager:GetSecretValue",)),
            Grant(Resource.DATA_KEY, ("kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext")),
            Grant(Resource.SANDBOX_KEY, ("kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext")),
            _CHECK_ONE_TIME_CODES,
            Grant(Resource.CURSOR_SECRET, ("secretsmanager:GetSecretValue",)),
            _VERIFY_TOKENS,
            _RECORDS,
            _JOBS,
        ),
    ),
    "distribute": Spec(
        timeout_s=60,
        slow_ms=20_000,
        grants=(
            _table("BatchGetItem", on=(CHANNEL, CODE, COUNTS, DRAW, GUARD, LIMIT, LOT, POOL, SHELF, VOUCHER)),
            _table("GetItem", on=(BATCH, CAMPAIGN, CHANNEL, COMMAND, DRAW, LOT, POOL)),
            _table("PutItem", on=(CHANNEL, COMMAND, DRAW, LOT, POOL, SHELF, VOUCHER)),
            _table("Query", on=(STOCK,)),
            _table("UpdateItem", on=(GUARD, LIMIT)),
            Grant(Resource.RECEIPT_KEY, ("kms:Sign",)),
            *_OPEN_BATCH_KEYS,
            Grant(Resource.INDEX, ("dynamodb:Query",), ("CHANNELS#", IMPORTED, "TOUCHED#")),
            Grant(Resource.WALLETS, ("dynamodb:Query",), (HOLDER,)),
            Grant(Resource.PERSON_SECRET, ("secretsmanager:GetSecretValue",)),
            Grant(Resource.CURSOR_SECRET, ("secretsmanager:GetSecretValue",)),
            _VERIFY_TOKENS,
            _RECORDS,
            _JOBS,
        ),
    ),
    "verify": Spec(
        timeout_s=10,
        slow_ms=2_000,
        grants=(
            _table("BatchGetItem", on=(GUARD, LOT, VOUCHER)),
            _table("Query", on=(HISTORY,)),
            _table("UpdateItem", on=(GUARD,)),
            Grant(Resource.CURSOR_SECRET, ("secretsmanager:GetSecretValue",)),
            *_OPEN_BATCH_KEYS,
            _VERIFY_TOKENS,
            _RECORDS,
        ),
    ),
    "redeem": Spec(
        timeout_s=10,
        slow_ms=2_000,
        grants=(
            _table("BatchGetItem", on=(GUARD, LOT, VOUCHER)),
            _table("GetItem", on=(VOUCHER,)),
            _table("PutItem", on=(VOUCHER,)),
            _table("UpdateItem", on=(GUARD,)),
            *_OPEN_BATCH_KEYS,
            _VERIFY_TOKENS,
            _RECORDS,
        ),
    ),
    "recover": Spec(
        timeout_s=60,
        slow_ms=20_000,
        grants=(
            _table("BatchGetItem", on=(CAMPAIGN, COUNTS, DRAW, LOT, POOL, RECOVERY, SHELF, SPENT, VOUCHER)),
            _table("GetItem", on=(BATCH, CAMPAIGN, CHANNEL, COMMAND, ENROLMENT, LOT, POOL, RECOVERY)),
            _table("PutItem", on=(CAMPAIGN, COMMAND, DRAW, ENROLMENT, LOT)),
            _table("PutItem", on=(POOL, RECOVERED, RECOVERY, SHELF, SPENT, VOUCHER)),
            _table("Query", on=(STATISTICS,)),
            _table("UpdateItem", on=(GUARD, STATISTICS)),
            _CHECK_ONE_TIME_CODES,
            Grant(Resource.INDEX, ("dynamodb:Query",), (BATCHES, "RECOVERYS#", "TOUCHED#")),
            Grant(Resource.WALLETS, ("dynamodb:Query",), (RECLAIMING, TENANT)),
            Grant(Resource.CURSOR_SECRET, ("secretsmanager:GetSecretValue",)),
            _VERIFY_TOKENS,
            _RECORDS,
            _JOBS,
        ),
    ),
    "ledger": Spec(
        timeout_s=60,
        slow_ms=30_000,
        grants=(
            _table("BatchGetItem", on=(COUNTER, COUNTS, ENTRY, HISTORY, LEDGER, LOT, RECONCILIATION, VOUCHER)),
            _table("GetItem", on=(BATCH, LEDGER, LOT, RECONCILIATION)),
            _table("PutItem", on=(LEDGER, MOVED, RECONCILIATION)),
            _table("Query", on=(LEDGER, MOVED, RECONCILIATION)),
            Grant(Resource.INDEX, ("dynamodb:Query",), (ACCOUNTS, "RECONCILIATIONS#", "TOUCHED#")),
            Grant(Resource.CURSOR_SECRET, ("secretsmanager:GetSecretValue",)),
            _VERIFY_TOKENS,
            _RECORDS,
            _JOBS,
        ),
    ),
    "notify": Spec(
        timeout_s=60,
        slow_ms=30_000,
        knows_numbers=True,
        grants=(
            _table("BatchGetItem", on=(CAMPAIGN, COMPLAINT, LOT, MESSAGE, PROVIDER, ROUTING, VOUCHER)),
            _table("GetItem", on=(COMPLAINT, MESSAGE, POINTER, RECIPIENT, ROUTING)),
            _table("PutItem", on=(COMPLAINT, EXPIRY, MESSAGE, POINTER, PROVIDER, RECIPIENT, ROUTING)),
            _table("Query", on=(DELIVERIES,)),
            _table("UpdateItem", on=(LIMIT, RATE, SENT)),
            Grant(Resource.INDEX, ("dynamodb:Query",), ("COMPLAINTS#", EXPIRING, RECIPIENT)),
            Grant(Resource.WALLETS, ("dynamodb:Query",), (AWAITING, HELD)),
            Grant(Resource.ACTORS, ("dynamodb:Query",), (ABOUT_CARD,)),
            Grant(Resource.PERSON_SECRET, ("secretsmanager:GetSecretValue",)),
            Grant(Resource.BUS, ("events:PutEvents",)),
            Grant(Resource.SMS, ("sms-voice:SendTextMessage",)),
            Grant(Resource.SMS_ACCOUNTS, ("secretsmanager:GetSecretValue",)),
            Grant(Resource.CURSOR_SECRET, ("secretsmanager:GetSecretValue",)),
            _VERIFY_TOKENS,
            _RECORDS,
            Grant(Resource.MESSAGES, _TAKES_AND_SENDS),
        ),
    ),
    "webhooks": Spec(
        timeout_s=60,
        slow_ms=30_000,
        grants=(
            _table("BatchGetItem", on=(DELIVERY, LOT, PULSE, VOUCHER, WEBHOOK)),
            _table("GetItem", on=(CHANNEL, CLIENT, DELIVERY, PULSE, WEBHOOK)),
            _table("PutItem", on=(DELIVERY, PULSE, WEBHOOK)),
            _table("Query", on=(WEBHOOK,)),
            Grant(Resource.INDEX, ("dynamodb:Query",), (DELIVERED,)),
            Grant(Resource.WEBHOOK_KEY, ("kms:Decrypt", "kms:GenerateDataKey")),
            Grant(Resource.CURSOR_SECRET, ("secretsmanager:GetSecretValue",)),
            _VERIFY_TOKENS,
            _RECORDS,
            Grant(Resource.DELIVERIES, _TAKES_AND_SENDS),
        ),
    ),
    "relay": Spec(
        timeout_s=60,
        slow_ms=30_000,
        grants=(
            _table("PutItem", on=(DELIVERY_COUNTED, HISTORY, PERSON, STOCK)),
            _table("UpdateItem", on=(COUNTS, DELIVERIES)),
            Grant(Resource.PERSON_SECRET, ("secretsmanager:GetSecretValue",)),
            Grant(Resource.BUS, ("events:PutEvents",)),
            # Lambda's poller in the function's name.
            Grant(Resource.STREAM, ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")),
            Grant(Resource.STREAMS, ("dynamodb:ListStreams",)),
            Grant(Resource.FAILURES, ("s3:ListBucket",)),
            Grant(Resource.FAILED, ("s3:PutObject",)),
        ),
    ),
    "erase": Spec(
        timeout_s=60,
        slow_ms=20_000,
        grants=(
            _table("BatchGetItem", on=(MESSAGE, VOUCHER)),
            _table("GetItem", on=(ERASURE, RECIPIENT)),
            _table("PutItem", on=(ERASURE, MESSAGE, RECIPIENT, VOUCHER)),
            _table("Query", on=(PERSON,)),
            Grant(Resource.INDEX, ("dynamodb:Query",), (RECIPIENT,)),
            Grant(Resource.PERSON_SECRET, ("secretsmanager:GetSecretValue",)),
            _VERIFY_TOKENS,
            _RECORDS,
            _JOBS,
        ),
    ),
    "audit": Spec(
        timeout_s=60,
        slow_ms=30_000,
        grants=(
            _table("BatchGetItem", on=(CHAIN, ENTRY)),
            _table("GetItem", on=(CHAIN, CHECKPOINT, RECORD_EXPORT)),
            _table("PutItem", on=(CHAIN, CHECKPOINT, ENTRY, RECORD_EXPORT)),
            _table("Query", on=(CHAIN, CHECKPOINT)),
            Grant(Resource.RECORD_KEY, ("kms:Sign",)),
            Grant(Resource.SEALED, ("s3:GetObject", "s3:PutObject")),
            Grant(Resource.RECORD_EXPORTS, ("s3:GetObject", "s3:PutObject")),
            Grant(Resource.INDEX, ("dynamodb:Query",), (RECORDED,)),
            Grant(Resource.WALLETS, ("dynamodb:Query",), (ABOUT,)),
            Grant(Resource.ACTORS, ("dynamodb:Query",), (ACTOR,)),
            Grant(Resource.CURSOR_SECRET, ("secretsmanager:GetSecretValue",)),
            _VERIFY_TOKENS,
            _RECORDS,
            Grant(Resource.ENTRIES, ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")),
        ),
    ),
    "console": Spec(timeout_s=10, slow_ms=2_000),
}


class Function(Construct):
    """The function of one folder under `functions/`: arm64, Python 3.13, traced, logging to a group that expires."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        data: Data,
        assets: Assets,
        queue: sqs.IQueue | None,
        record: sqs.IQueue,
        bus: eventbridge.IEventBus,
        settings: Settings,
    ) -> None:
        super().__init__(scope, name.capitalize())
        self.spec = FUNCTIONS[name]
        self.log_group = logs.LogGroup(
            self, "Logs", retention=settings.log_retention, removal_policy=data.removal_policy
        )
        self.role = role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"What {name} may do; infra/functions.py lists it",
        )
        self.log_group.grant_write(role)
        means = {
            **_of_data(data, settings),
            **_of_queue(self.spec, queue),
            Resource.RECORD: Means((record.queue_arn,), {"RECORD_QUEUE_URL": record.queue_url}),
            **_of_bus(bus, settings),
            **_of_sms(data, settings),
        }
        for statement in _statements(self.spec.grants, means):
            role.add_to_policy(statement)
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"Kami: {name}",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"functions.{name}.handler.handle",
            code=assets.code,
            layers=[assets.layer, *([assets.numbers] if self.spec.knows_numbers else [])],
            memory_size=settings.memory_mb,
            timeout=Duration.seconds(self.spec.timeout_s),
            role=role,
            log_group=self.log_group,
            tracing=lambda_.Tracing.ACTIVE,
            environment={
                "POWERTOOLS_SERVICE_NAME": name,
                "PYDANTIC_DISABLE_PLUGINS": "__all__",  # looking for them walks all installed packages at each start
                "LOG_LEVEL": "INFO",
                **_environment(self.spec.grants, means),
            },
        )
        Validations.of(self).acknowledge(
            Acknowledgment(id="AwsSolutions-L1", reason="Python 3.13 is what the code is tested on and compiled for."),
            Acknowledgment(id="AwsSolutions-IAM5[Resource::*]", reason="X-Ray's write actions know no resources."),
            *(
                Acknowledgment(id=f"AwsSolutions-IAM5[Resource::{_as_nag_has_it(arn, data)}]", reason=WIDE[resource])
                for resource in sorted({grant.resource for grant in self.spec.grants} & set(WIDE))
                for arn in means[resource].arns
                if "*" in arn
            ),
        )


@dataclass(frozen=True, slots=True)
class Means:
    """What a resource is to a role and to a function: the ARNs of its grants, and what the environment tells of it."""

    arns: tuple[str, ...]
    tells: Mapping[str, str] = field(default_factory=dict)


WIDE: Final = {
    Resource.STREAMS: "Lambda lists the streams of this table, whose names are made when they are.",
    Resource.FAILED: "Lambda makes up the names of the objects.",
    Resource.EXPORTS: "An export's files are named after it.",
    Resource.UPLOADED: "An import's upload is named after it.",
    Resource.SEALED: "An object is named after the entries that it holds.",
    Resource.RECORD_EXPORTS: "An export's file is named after it.",
    Resource.SMS: "Whatever the account may send from, until settings.py names one.",
}
"""Why these grants end in a wildcard."""


def _as_nag_has_it(arn: str, data: Data) -> str:
    """cdk-nag writes references as `<Id.Arn>` and `<AWS::Name>`."""
    stack = Stack.of(data)
    for name in ("Partition", "Region", "AccountId"):
        arn = arn.replace(str(getattr(Aws, _UPPER[name])), f"<AWS::{name}>")
    for owner, own in (
        (data.table, data.table.table_arn),
        (data.failures, data.failures.bucket_arn),
        (data.exports, data.exports.bucket_arn),
        (data.uploads, data.uploads.bucket_arn),
        (data.record, data.record.bucket_arn),
    ):
        resource = owner.node.default_child
        assert isinstance(resource, CfnElement)
        arn = arn.replace(own, f"<{stack.get_logical_id(resource)}.Arn>")
    return arn


_UPPER: Final = {"Partition": "PARTITION", "Region": "REGION", "AccountId": "ACCOUNT_ID"}


def _of_data(data: Data, settings: Settings) -> dict[Resource, Means]:
    signing = tuple(key.key_arn for key in data.signing_keys)
    stream = data.table.table_stream_arn
    assert stream, "the table has a stream"
    return {
        Resource.TABLE: Means((data.table.table_arn,), {"TABLE_NAME": data.table.table_name}),
        Resource.ACTORS: Means(
            (f"{data.table.table_arn}/index/{data.actors}",),
            {"RECORD_KEPT_DAYS": str(settings.record_kept_days), "TABLE_INCARNATION": str(settings.incarnation)},
        ),
        Resource.INDEX: Means((f"{data.table.table_arn}/index/{data.index}",)),
        Resource.WALLETS: Means((f"{data.table.table_arn}/index/{data.wallets}",)),
        Resource.DATA_KEY: Means((data.data_key.key_arn,), {"DATA_KEY_ARN": data.data_key.key_arn}),
        Resource.AUTHENTICATOR_KEY: Means(
            (data.authenticator_key.key_arn,), {"AUTHENTICATOR_KEY_ARN": data.authenticator_key.key_arn}
        ),
        Resource.WEBHOOK_KEY: Means((data.webhook_key.key_arn,), {"WEBHOOK_KEY_ARN": data.webhook_key.key_arn}),
        Resource.SANDBOX_KEY: Means((data.sandbox_key.key_arn,), {"SANDBOX_KEY_ARN": data.sandbox_key.key_arn}),
        Resource.SIGNING_KEYS: Means(
            signing, {"SIGNING_KEY_ARNS": ",".join(signing), "ISSUER": f"kami-{settings.name}"}
        ),
        Resource.RECORD_KEY: Means((data.record_key.key_arn,), {"RECORD_KEY_ARN": data.record_key.key_arn}),
        Resource.SEALED: Means((data.record.arn_for_objects("*"),), {"RECORD_BUCKET": data.record.bucket_name}),
        Resource.RECORD_EXPORTS: Means(
            (data.exports.arn_for_objects("audit/*"),), {"EXPORTS_BUCKET": data.exports.bucket_name}
        ),
        Resource.RECEIPT_KEY: Means((data.receipt_key.key_arn,), {"RECEIPT_KEY_ARN": data.receipt_key.key_arn}),
        Resource.CURSOR_SECRET: Means(
            (data.cursor_secret.secret_arn,), {"CURSOR_SECRET_ARN": data.cursor_secret.secret_arn}
        ),
        Resource.STREAM: Means((stream,)),
        Resource.STREAMS: Means((f"{data.table.table_arn}/stream/*",)),
        Resource.FAILURES: Means((data.failures.bucket_arn,)),
        Resource.FAILED: Means((data.failures.arn_for_objects("*"),)),
        Resource.EXPORTS: Means((data.exports.arn_for_objects("exp_*"),), {"EXPORTS_BUCKET": data.exports.bucket_name}),
        Resource.UPLOADED: Means((data.uploads.arn_for_objects("*"),), {"UPLOADS_BUCKET": data.uploads.bucket_name}),
        Resource.UPLOADS: Means((data.uploads.bucket_arn,)),
        Resource.PERSON_SECRET: Means(
            (data.person_secret.secret_arn,), {"PERSON_SECRET_ARN": data.person_secret.secret_arn}
        ),
        Resource.INDEX_SECRET: Means(
            (data.index_secret.secret_arn,), {"INDEX_SECRET_ARN": data.index_secret.secret_arn}
        ),
    }


def _of_queue(spec: Spec, queue: sqs.IQueue | None) -> dict[Resource, Means]:
    if not (spec.queue and queue):
        return {}
    return {spec.queue: Means((queue.queue_arn,), {f"{spec.queue.name}_QUEUE_URL": queue.queue_url})}


def _of_bus(bus: eventbridge.IEventBus, settings: Settings) -> dict[Resource, Means]:
    tells = {"BUS_NAME": bus.event_bus_name, "TABLE_INCARNATION": str(settings.incarnation)}
    return {Resource.BUS: Means((bus.event_bus_arn,), tells)}


def _of_sms(data: Data, settings: Settings) -> dict[Resource, Means]:
    sms, accounts = settings.sms, data.accounts
    account = f"arn:{Aws.PARTITION}:sms-voice:{Aws.REGION}:{Aws.ACCOUNT_ID}"
    tells = {
        "SMS_PROVIDERS": ",".join(sms.providers),
        "SMS_ORIGINATION_IDENTITY": f"{account}:{sms.origination}" if sms.origination else "",
        "SMS_CONFIGURATION_SET": configuration_set(settings),
        "SMS_RECEIPTS_URL": sms.receipts_url,
        "SMS_RETRY_BASE_S": str(sms.retry_base_s),
        "SMS_RECEIPT_WITHIN_S": str(sms.receipt_within_h * 3600),
        "SMS_QUIET_HOURS": sms.quiet_hours,
        "SMS_HOME_COUNTRIES": ",".join(sms.home_countries),
        "SMS_RATE_PER_S": str(sms.rate_per_s) if sms.rate_per_s is not None else "",
        "SMS_BREAKER_OPEN_S": str(sms.breaker_open_s),
    }
    held = {f"SMS_ACCOUNT_{name.upper()}": secret.secret_arn for name, secret in accounts.items()}
    return {
        Resource.SMS: Means((f"{account}:{sms.origination or '*'}",), tells),
        Resource.SMS_ACCOUNTS: Means(tuple(secret.secret_arn for secret in accounts.values()), held),
    }


def _statements(grants: tuple[Grant, ...], means: Mapping[Resource, Means]) -> list[iam.PolicyStatement]:
    return [
        iam.PolicyStatement(
            actions=list(grant.actions),
            resources=list(means[grant.resource].arns),
            conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{p}*" for p in grant.prefixes]}}
            if grant.prefixes
            else None,
        )
        for grant in grants
        if means[grant.resource].arns  # of some kinds a deployment may have none
    ]


def _environment(grants: tuple[Grant, ...], means: Mapping[Resource, Means]) -> dict[str, str]:
    return {key: value for grant in grants for key, value in means[grant.resource].tells.items()}
