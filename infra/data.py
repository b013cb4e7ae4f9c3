"""What is kept: the table, the keys, the secrets, exports, uploads, and what the stream's reader could not digest."""

from __future__ import annotations

from typing import Final

from aws_cdk import Acknowledgment, Aws, Duration, RemovalPolicy, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from functions.domain import imports
from functions.domain.export import KEPT_S
from infra.settings import Settings

FAILURES_KEPT: Final = Duration.days(90)
EXPORTS_KEPT: Final = Duration.seconds(KEPT_S)
UPLOADS_KEPT: Final = Duration.seconds(imports.KEPT_S)


class Data(Construct):
    """One table, encrypted under a key that only DynamoDB may use for this account; the keys of codes and tokens."""

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, "Data")
        self.removal_policy = RemovalPolicy.RETAIN if settings.keep else RemovalPolicy.DESTROY
        self.table_key = self._symmetric_key("TableKey", "Encrypts Kami's table")
        self.table_key.add_to_resource_policy(_through("dynamodb"))
        self.data_key = self._symmetric_key("DataKey", "Wraps the keys from which each batch's codes are computed")
        self.sandbox_key = self._symmetric_key("SandboxKey", "Wraps the keys of batches of the sandbox, and no others")
        self.webhook_key = self._symmetric_key("WebhookKey", "Wraps the secrets that webhooks are signed with")
        self.authenticator_key = self._symmetric_key("AuthenticatorKey", "Wraps the secrets of clients' authenticators")
        self.signing_keys = [
            self._signing_key(f"SigningKey{name}", "Signs Kami's access tokens (ES256)")
            for name in settings.signing_keys
        ]
        self.receipt_key = self._signing_key("ReceiptKey", "Signs the receipts of claims (ES256)")
        self.record_key = self._signing_key("RecordKey", "Signs the record's checkpoints and exports (ES256)")
        self.table = self._table(settings)
        self.index, self.wallets, self.actors = "gsi1", "gsi2", "gsi3"
        self.cursor_secret = self._secret(
            "CursorSecret",
            "Authenticates the cursors of Kami's lists",
            "It opens nothing: it keeps callers from making up cursors. A rotation would break the lists being paged "
            "at that moment, so an operator does it when there is cause.",
        )
        # Stream records that relay failed on, whole, until somebody has them replayed.
        self.failures = self._bucket(
            "Failures", FAILURES_KEPT, "Only Lambda writes to it and only `make redrive` reads it; CloudTrail has both."
        )
        self.exports_key = self._symmetric_key("ExportsKey", "Encrypts what Kami exports, once more")
        self.exports_key.add_to_resource_policy(_through("s3"))
        # Files of codes, encrypted to their recipients before they get here; a week later they are gone.
        self.exports = self._bucket(
            "Exports",
            EXPORTS_KEPT,
            "Each file is fetched with a ticket that records who used it when, and CloudTrail has the rest.",
            self.exports_key,
        )
        self.index_secret = self._secret(
            "IndexSecret",
            "Finds imported codes that are in stock already, by a keyed hash",
            "Under another key no code in stock would be found again, and each could be imported and sold twice. It "
            "never changes.",
        )
        self.person_secret = self._secret(
            "PersonSecret",
            "Makes the ids that stand for persons, by a keyed hash",
            "Under another key nobody's vouchers would be found to erase them. It never changes.",
        )
        self.uploads_key = self._symmetric_key("UploadsKey", "Encrypts files of codes until they are imported")
        self.uploads_key.add_to_resource_policy(_through("s3"))
        # Files of bought codes, in clear but for this encryption; deleted once imported, at the latest in a day.
        self.uploads = self._bucket(
            "Uploads",
            UPLOADS_KEPT,
            "Each file is put once over a link whose order is on record, and CloudTrail has the rest.",
            self.uploads_key,
        )

        self.accounts = {name: self._account(name) for name in settings.sms.accounts}
        self.record = self._record(settings)

    def _record(self, settings: Settings) -> s3.Bucket:
        """What is sealed of the record: nobody overwrites or deletes it before its time, in `prod` not even the owner.

        Under S3's own key: nothing in it is secret, and with a key of ours it could be lost before its time.
        """
        kept = Duration.days(settings.record_kept_days)
        retention = s3.ObjectLockRetention
        bucket = s3.Bucket(
            self,
            "Record",
            encryption=s3.BucketEncryption.S3_MANAGED,
            object_lock_enabled=True,
            object_lock_default_retention=retention.compliance(kept) if settings.keep else retention.governance(kept),
            versioned=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            lifecycle_rules=[s3.LifecycleRule(expiration=kept, noncurrent_version_expiration=Duration.days(1))],
            removal_policy=self.removal_policy,
        )
        reason = "It is written by audit alone and each object's digest is signed; CloudTrail has who reads it."
        Validations.of(bucket).acknowledge(Acknowledgment(id="AwsSolutions-S1", reason=reason))
        return bucket

    def _table(self, settings: Settings) -> dynamodb.Table:
        table = dynamodb.Table(
            self,
            "Table",
            partition_key=_string("pk"),
            sort_key=_string("sk"),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self.table_key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="ttl_epoch_s",
            stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
            deletion_protection=settings.keep,
            removal_policy=self.removal_policy,
        )
        table.add_global_secondary_index(
            index_name="gsi1",
            partition_key=_string("gsi1pk"),
            sort_key=_string("gsi1sk"),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            non_key_attributes=["generation", "status", "valid_until"],
        )
        for index in ("gsi2", "gsi3"):
            table.add_global_secondary_index(
                index_name=index,
                partition_key=_string(f"{index}pk"),
                sort_key=_string(f"{index}sk"),
                projection_type=dynamodb.ProjectionType.KEYS_ONLY,
            )
        return table

    def _symmetric_key(self, name: str, description: str) -> kms.Key:
        return kms.Key(
            self, name, description=description, enable_key_rotation=True, removal_policy=self.removal_policy
        )

    def _signing_key(self, name: str, description: str) -> kms.Key:
        return kms.Key(
            self,
            name,
            description=description,
            key_spec=kms.KeySpec.ECC_NIST_P256,
            key_usage=kms.KeyUsage.SIGN_VERIFY,
            pending_window=Duration.days(30),
            removal_policy=self.removal_policy,
        )

    def _bucket(self, name: str, kept: Duration, no_access_log: str, key: kms.Key | None = None) -> s3.Bucket:
        """A bucket over TLS only, whose objects expire; with `key` they are encrypted under it, else under S3's own."""
        bucket = s3.Bucket(
            self,
            name,
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            bucket_key_enabled=True if key else None,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            lifecycle_rules=[
                s3.LifecycleRule(expiration=kept, abort_incomplete_multipart_upload_after=Duration.days(1))
            ],
            removal_policy=self.removal_policy,
        )
        Validations.of(bucket).acknowledge(Acknowledgment(id="AwsSolutions-S1", reason=no_access_log))
        return bucket

    def _account(self, provider: str) -> secretsmanager.Secret:
        """The operator's account at an SMS provider: a JSON object, with but the token of its receipts' address."""
        secret = secretsmanager.Secret(
            self,
            f"{provider.capitalize()}Account",
            description=f"The account at {provider}, which sends SMS",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template="{}",
                generate_string_key="receipts_token",
                password_length=64,
                exclude_punctuation=True,
            ),
            removal_policy=self.removal_policy,
        )
        reason = f"Its keys are made at {provider}, where the operator rotates them."
        Validations.of(secret).acknowledge(Acknowledgment(id="AwsSolutions-SMG4", reason=reason))
        return secret

    def _secret(self, name: str, description: str, unrotated: str) -> secretsmanager.Secret:
        """64 random letters and digits, and why nobody rotates them."""
        secret = secretsmanager.Secret(
            self,
            name,
            description=description,
            generate_secret_string=secretsmanager.SecretStringGenerator(password_length=64, exclude_punctuation=True),
            removal_policy=self.removal_policy,
        )
        Validations.of(secret).acknowledge(Acknowledgment(id="AwsSolutions-SMG4", reason=unrotated))
        return secret


def _string(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)


def _through(service: str) -> iam.PolicyStatement:
    """Whoever may use what the service keeps in this account may have it use the key: no role needs a grant of its own.

    The same statement as in the key that AWS manages for the service.
    """
    return iam.PolicyStatement(
        sid={"dynamodb": "ThroughDynamoDB", "s3": "ThroughS3"}[service],
        principals=[iam.AnyPrincipal()],
        actions=[
            "kms:CreateGrant",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:Encrypt",
            "kms:GenerateDataKey*",
            "kms:ReEncrypt*",
        ],
        resources=["*"],
        conditions={
            "StringEquals": {
                "kms:CallerAccount": Aws.ACCOUNT_ID,
                "kms:ViaService": f"{service}.{Aws.REGION}.amazonaws.com",
            }
        },
    )
