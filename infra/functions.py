"""One Lambda function each, with its own role and log group, and the table of what each may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aws_cdk import Acknowledgment, Duration, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.store.keys import BATCH, CAMPAIGN, CLIENT, COMMAND, COUNTER, GUARD, LOT, REVEAL, VOUCHER
from infra.bundle import Assets
from infra.data import Data
from infra.settings import Settings


class Resource(StrEnum):
    """What a grant is for. A function's environment names what it was granted, and nothing else."""

    TABLE = "table"
    INDEX = "index"
    DATA_KEY = "data key"
    SIGNING_KEYS = "signing keys"
    CURSOR_SECRET = "cursor secret"
    JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class Grant:
    """Actions on a resource; `prefixes` are those of the partition keys that they may touch (table and index)."""

    resource: Resource
    actions: tuple[str, ...]
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A function: how long it may take, when its slowest hundredth raises an alarm, what it may do."""

    timeout_s: int
    slow_ms: int
    grants: tuple[Grant, ...] = ()

    @property
    def takes_jobs(self) -> bool:
        return any(grant.resource is Resource.JOBS for grant in self.grants)


def _table(*actions: str, on: tuple[str, ...]) -> Grant:
    return Grant(Resource.TABLE, tuple(f"dynamodb:{action}" for action in actions), on)


_VERIFY_TOKENS: Final = Grant(Resource.SIGNING_KEYS, ("kms:GetPublicKey",))
_OPEN_BATCH_KEYS: Final = Grant(Resource.DATA_KEY, ("kms:Decrypt",))
# Sending is the function's own; the rest is what Lambda's poller does in its name.
_JOBS: Final = Grant(
    Resource.JOBS, ("sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
)

FUNCTIONS: Final[Mapping[str, Spec]] = {
    "authorize": Spec(
        timeout_s=10,
        slow_ms=2_000,
        grants=(
            _table("GetItem", on=(CLIENT,)),
            Grant(Resource.SIGNING_KEYS, ("kms:GetPublicKey", "kms:Sign")),
        ),
    ),
    "generate": Spec(
        timeout_s=60,
        slow_ms=20_000,
        grants=(
            _table("BatchGetItem", on=(BATCH, CAMPAIGN, COUNTER, LOT, VOUCHER)),
            _table("GetItem", on=(BATCH, CAMPAIGN, LOT)),
            _table("PutItem", on=(BATCH, CAMPAIGN, COUNTER, LOT, REVEAL)),
            Grant(Resource.INDEX, ("dynamodb:Query",), ("CAMPAIGNS#", "TOUCHED#")),
            Grant(Resource.DATA_KEY, ("kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext")),
            Grant(Resource.CURSOR_SECRET, ("secretsmanager:GetSecretValue",)),
            _VERIFY_TOKENS,
            _JOBS,
        ),
    ),
    "distribute": Spec(
        timeout_s=60,
        slow_ms=20_000,
        grants=(
            _table("BatchGetItem", on=(COMMAND, LOT)),
            _table("GetItem", on=(BATCH, COMMAND, LOT)),
            _table("PutItem", on=(COMMAND, LOT, VOUCHER)),
            _VERIFY_TOKENS,
            _JOBS,
        ),
    ),
    "verify": Spec(
        timeout_s=10,
        slow_ms=2_000,
        grants=(
            _table("BatchGetItem", on=(GUARD, LOT, VOUCHER)),
            _table("UpdateItem", on=(GUARD,)),
            _OPEN_BATCH_KEYS,
            _VERIFY_TOKENS,
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
            _OPEN_BATCH_KEYS,
            _VERIFY_TOKENS,
        ),
    ),
    "console": Spec(timeout_s=10, slow_ms=2_000),
}


class Function(Construct):
    """The function of one folder under `functions/`: arm64, Python 3.13, traced, logging to a group that expires."""

    def __init__(
        self, scope: Construct, name: str, *, data: Data, assets: Assets, jobs: sqs.IQueue | None, settings: Settings
    ) -> None:
        super().__init__(scope, name.capitalize())
        self.spec = FUNCTIONS[name]
        self.log_group = logs.LogGroup(
            self, "Logs", retention=settings.log_retention, removal_policy=data.removal_policy
        )
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"What {name} may do; infra/functions.py lists it",
        )
        self.log_group.grant_write(role)
        for statement in _statements(self.spec.grants, data, jobs):
            role.add_to_policy(statement)
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"Kami: {name}",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"functions.{name}.handler.handle",
            code=assets.code,
            layers=[assets.layer],
            memory_size=settings.memory_mb,
            timeout=Duration.seconds(self.spec.timeout_s),
            role=role,
            log_group=self.log_group,
            tracing=lambda_.Tracing.ACTIVE,
            environment={
                "POWERTOOLS_SERVICE_NAME": name,
                "PYDANTIC_DISABLE_PLUGINS": "__all__",  # looking for them walks all installed packages at each start
                "LOG_LEVEL": "INFO",
                **_environment(self.spec.grants, data, jobs, settings),
            },
        )
        Validations.of(self).acknowledge(
            Acknowledgment(id="AwsSolutions-L1", reason="Python 3.13 is what the code is tested on and compiled for."),
            Acknowledgment(id="AwsSolutions-IAM5[Resource::*]", reason="X-Ray's write actions know no resources."),
        )


def _statements(grants: tuple[Grant, ...], data: Data, jobs: sqs.IQueue | None) -> list[iam.PolicyStatement]:
    arns = {
        Resource.TABLE: [data.table.table_arn],
        Resource.INDEX: [f"{data.table.table_arn}/index/{data.index}"],
        Resource.DATA_KEY: [data.data_key.key_arn],
        Resource.SIGNING_KEYS: [key.key_arn for key in data.signing_keys],
        Resource.CURSOR_SECRET: [data.cursor_secret.secret_arn],
        Resource.JOBS: [jobs.queue_arn] if jobs else [],
    }
    return [
        iam.PolicyStatement(
            actions=list(grant.actions),
            resources=arns[grant.resource],
            conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{p}*" for p in grant.prefixes]}}
            if grant.prefixes
            else None,
        )
        for grant in grants
    ]


def _environment(grants: tuple[Grant, ...], data: Data, jobs: sqs.IQueue | None, settings: Settings) -> dict[str, str]:
    tells: dict[Resource, dict[str, str]] = {
        Resource.TABLE: {"TABLE_NAME": data.table.table_name},
        Resource.DATA_KEY: {"DATA_KEY_ARN": data.data_key.key_arn},
        Resource.SIGNING_KEYS: {
            "SIGNING_KEY_ARNS": ",".join(key.key_arn for key in data.signing_keys),
            "ISSUER": f"kami-{settings.name}",
        },
        Resource.CURSOR_SECRET: {"CURSOR_SECRET_ARN": data.cursor_secret.secret_arn},
        Resource.JOBS: {"JOBS_QUEUE_URL": jobs.queue_url} if jobs else {},
    }
    return {key: value for grant in grants for key, value in tells.get(grant.resource, {}).items()}
