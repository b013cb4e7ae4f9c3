"""The bus of domain events, its archive, the table of which event goes to whose queue, and what comes by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aws_cdk import Acknowledgment, Duration, Stack, Validations
from aws_cdk import aws_events as eventbridge
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from functions.domain.recipient import RECHECK_S
from functions.domain.webhook import TOLD
from infra.workers import Work, dead_letters

SOURCE: Final = "kami"
ARCHIVE_KEPT: Final = Duration.days(30)
RETRIED_FOR: Final = Duration.hours(24)

_JOB: Final = eventbridge.RuleTargetInput.from_object({"id": eventbridge.EventField.from_path("$.detail.data.id")})
"""A job only names the item that holds the work."""
_NOT_OF_THE_SANDBOX: Final = {"sandbox": [{"exists": False}]}
_EVENT: Final = eventbridge.RuleTargetInput.from_event_path("$.detail")


@dataclass(frozen=True, slots=True)
class Rule:
    """Events of these types, or of all where none is named, go to the queue of a function, as this message.

    `live`: but for those of the sandbox.
    """

    name: str
    types: tuple[str, ...]
    function: str
    message: eventbridge.RuleTargetInput
    live: bool = False


_VALUE: Final = ("voucher.redeemed", "voucher.reversed", "voucher.reissued", "voucher.issued", "voucher.credited")
RULES: Final = (
    Rule("BatchRequested", ("batch.requested",), "generate", _JOB),
    Rule("ExportRequested", ("export.requested",), "generate", _JOB),
    Rule("ImportRequested", ("import.requested",), "generate", _JOB),
    Rule("RangeOrdered", ("distribution.requested", "activation.requested", "extension.requested"), "distribute", _JOB),
    Rule("RecoveryRequested", ("recovery.requested", "recovery.approved"), "recover", _JOB),
    Rule("ErasureRequested", ("erasure.requested",), "erase", _JOB),
    Rule(
        "HolderConcerned",
        ("voucher.redeemed", "voucher.reversed", "voucher.recovered", "voucher.expiring"),
        "notify",
        _EVENT,
    ),
    Rule(
        "AccountConcerned",
        ("account.frozen", "account.unfrozen", "account.held", "account.released"),
        "notify",
        _EVENT,
    ),
    Rule("MessageRequested", ("message.requested",), "notify", _JOB),
    Rule("PartnersConcerned", tuple(TOLD), "webhooks", _EVENT),
    Rule("ReconciliationRequested", ("reconciliation.requested",), "ledger", _JOB),
    Rule("ValueMoved", _VALUE, "ledger", _EVENT, live=True),
    Rule("EndBecameKnown", ("voucher.claimed", "voucher.extended", "voucher.issued"), "notify", _EVENT),
    Rule("Recorded", (), "audit", _EVENT),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """As often as this a message goes to the queue of a function, whatever has become of the last one."""

    name: str
    every: Duration
    function: str
    message: Mapping[str, str]


SCHEDULES: Final = (
    Schedule("Reminders", Duration.hours(1), "notify", {"sweep": "reminders"}),
    Schedule("Receipts", Duration.hours(1), "notify", {"sweep": "receipts"}),
    Schedule("Held", Duration.seconds(RECHECK_S), "notify", {"sweep": "held"}),
    Schedule("Seals", Duration.minutes(5), "audit", {"seal": "record"}),
    Schedule("Reclaims", Duration.hours(1), "recover", {"id": "reclaims"}),
    Schedule("ReconciliationOfMoved", Duration.days(1), "ledger", {"sweep": "moved"}),
    Schedule("ReconciliationOfAll", Duration.days(7), "ledger", {"sweep": "everything"}),
)


class Events(Construct):
    """The bus. What a rule cannot deliver in a day goes to one dead-letter queue, whole, to be put on the bus again."""

    def __init__(self, scope: Construct, stack_name: str) -> None:
        super().__init__(scope, "Events")
        self.bus = eventbridge.EventBus(self, "Bus", event_bus_name=stack_name)
        self.bus.archive("Archive", event_pattern=eventbridge.EventPattern(source=[SOURCE]), retention=ARCHIVE_KEPT)
        self.undelivered = dead_letters(self, "Undelivered")
        Validations.of(self.undelivered).acknowledge(
            Acknowledgment(id="AwsSolutions-SQS3", reason="It is a dead-letter queue: that of the rules' targets.")
        )

    def connect(self, queues: Mapping[str, Work]) -> None:
        """Make the rules, and the schedules, which are rules of the account's own bus."""
        for schedule in SCHEDULES:
            eventbridge.Rule(
                self,
                schedule.name,
                rule_name=f"{Stack.of(self).stack_name}-{schedule.name.lower()}",
                description=f"{schedule.name}, by the clock, to {schedule.function}",
                schedule=eventbridge.Schedule.rate(schedule.every),
                targets=[
                    targets.SqsQueue(
                        queues[schedule.function].queue,
                        message=eventbridge.RuleTargetInput.from_object(dict(schedule.message)),
                        dead_letter_queue=self.undelivered,
                        max_event_age=min(schedule.every, RETRIED_FOR, key=lambda age: age.to_seconds()),
                        retry_attempts=185,
                    )
                ],
            )
        for rule in RULES:
            eventbridge.Rule(
                self,
                rule.name,
                event_bus=self.bus,
                description=f"{', '.join(rule.types) or 'All'} to {rule.function}",
                event_pattern=eventbridge.EventPattern(
                    source=[SOURCE],
                    detail_type=list(rule.types) or None,
                    detail=_NOT_OF_THE_SANDBOX if rule.live else None,
                ),
                targets=[
                    targets.SqsQueue(
                        queues[rule.function].queue,
                        message=rule.message,
                        dead_letter_queue=self.undelivered,
                        max_event_age=RETRIED_FOR,
                        retry_attempts=185,
                    )
                ],
            )
