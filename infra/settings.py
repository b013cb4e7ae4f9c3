"""The environments, as data: all that differs between `dev` and `prod`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aws_cdk.aws_logs import RetentionDays


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
    queue_depth: int
    queue_age_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One environment. `keep`: table, keys, secret and logs outlive the stack, and the table refuses deletion.

    `signing_keys` are published in the JWKS; the first one signs. To rotate: append a name and deploy; when caches of
    the JWKS have turned over, move it to the front and deploy; when the last old token has expired, drop the old name
    and deploy. Nobody's token breaks on the way.
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
            alarms=Thresholds(
                errors=5,
                throttles=5,
                server_faults=5,
                wrong_codes=1000,
                wrong_secrets=100,
                queue_depth=1000,
                queue_age_s=900,
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
            alarms=Thresholds(
                errors=1,
                throttles=1,
                server_faults=1,
                wrong_codes=500,
                wrong_secrets=50,
                queue_depth=5000,
                queue_age_s=600,
            ),
        ),
    )
}
