"""The environments, as data: all that differs between `dev` and `prod`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aws_cdk.aws_logs import RetentionDays

RECORD_KEPT_DAYS_MIN: Final = 180
"""What the law asks of logs (网络安全法, article 21: six months)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """What the gateway lets through before it answers 429, for all callers together."""

    requests_per_s: int
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When people are woken; counts are per five minutes. infra/README.md says what each alarm means."""

    errors: int
    throttles: int
    server_faults: int
    wrong_codes: int
    wrong_secrets: int
    receipts_forged: int
    queue_depth: int
    queue_age_s: int
    stream_age_s: int
    receipts_unmatched: int


ACCOUNTS: Final = ("alibaba", "tencent", "twilio")
"""Providers that know the operator by an account of their own; AWS knows the function's role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sms:
    """Who sends the SMS, in order of preference, as whom, and how long a second attempt waits at least about.

    What no receipt has come for in `receipt_within_h` hours is `unknown`. Until routes are set, each provider is given
    `rate_per_s` SMS a second (None: as many as there are). One that fails too often is left alone for `breaker_open_s`.
    `origination` is a resource of AWS End User Messaging in this account: `pool/…`, `phone-number/…` or
    `sender-id/NAME/COUNTRY`; empty lets AWS choose among all of them. `accounts` are the other providers that may be
    used, each with a secret to be filled in (infra/README.md). `receipts_url` is where they reach this deployment:
    `https://…/v1/receipts`.
    """

    providers: tuple[str, ...] = ("aws",)
    accounts: tuple[str, ...] = ()
    receipts_url: str = ""
    origination: str = ""
    retry_base_s: int = 2
    rate_per_s: int | None = None
    breaker_open_s: int = 30
    receipt_within_h: int = 72

    def __post_init__(self) -> None:
        if unknown := set(self.accounts) - set(ACCOUNTS):
            raise ValueError(f"accounts: {sorted(unknown)} are not known")
        if lacking := set(self.providers) - {"aws", *self.accounts}:
            raise ValueError(f"providers: {sorted(lacking)} have no account")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One environment. `keep`: table, keys, secret and logs outlive the stack, and the table refuses deletion.

    `incarnation` is part of every event's id. Raise it when the table is restored: versions begin anew from the moment
    it was restored to, and an event of the second life must not be taken for a repeat of the first.

    `signing_keys` are published in the JWKS; the first one signs. To rotate: append a name and deploy; when caches of
    the JWKS have turned over, move it to the front and deploy; when the last old token has expired, drop the old name
    and deploy. Nobody's token breaks on the way.

    The record is kept for `record_kept_days`, in the table as in its bucket; fewer than 180 are refused.
    """

    name: str
    keep: bool
    log_retention: RetentionDays
    memory_mb: int
    requests: Throttle
    token_requests: Throttle
    workers_max: int
    signing_keys: tuple[str, ...]
    alarms: Thresholds
    incarnation: int = 1
    record_kept_days: int = RECORD_KEPT_DAYS_MIN
    sms: Sms = Sms()

    def __post_init__(self) -> None:
        if self.record_kept_days < RECORD_KEPT_DAYS_MIN:
            raise ValueError(f"{self.name}: the record is kept for {RECORD_KEPT_DAYS_MIN} days at least")


ENVIRONMENTS: Final = {
    settings.name: settings
    for settings in (
        Settings(
            name="dev",
            keep=False,
            log_retention=RetentionDays.ONE_MONTH,
            memory_mb=1024,
            requests=Throttle(requests_per_s=500, burst=1000),
            token_requests=Throttle(requests_per_s=20, burst=50),
            workers_max=2,
            signing_keys=("First",),
            sms=Sms(accounts=ACCOUNTS),
            alarms=Thresholds(
                errors=5,
                throttles=5,
                server_faults=5,
                wrong_codes=1000,
                wrong_secrets=100,
                receipts_forged=100,
                queue_depth=1000,
                queue_age_s=900,
                stream_age_s=300,
                receipts_unmatched=100,
            ),
        ),
        Settings(
            name="prod",
            keep=True,
            log_retention=RetentionDays.ONE_YEAR,
            memory_mb=1769,  # one whole vCPU: cold starts and code generation are bound by it
            requests=Throttle(requests_per_s=2000, burst=4000),
            token_requests=Throttle(requests_per_s=20, burst=50),
            workers_max=10,
            signing_keys=("First",),
            record_kept_days=3 * 365,
            alarms=Thresholds(
                errors=1,
                throttles=1,
                server_faults=1,
                wrong_codes=500,
                wrong_secrets=50,
                receipts_forged=20,
                queue_depth=5000,
                queue_age_s=600,
                stream_age_s=60,
                receipts_unmatched=50,
            ),
        ),
    )
}
