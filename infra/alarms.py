"""What wakes people, and the page they then look at. infra/README.md says what each alarm means and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.api import Api
from infra.data import Data
from infra.events import Events
from infra.functions import Function
from infra.settings import Settings
from infra.workers import Stream, Work

PERIOD: Final = Duration.minutes(5)


@dataclass(frozen=True, slots=True)
class Signal:
    """Lines of some functions' logs that are counted: the log has it already, and metrics would cost cold starts."""

    name: str
    functions: tuple[str, ...]
    pattern: str


GUESSING: Final = (
    Signal(
        "WrongCodes",
        ("distribute", "verify", "redeem"),
        '{ $.key = "voucher_not_redeemable" || $.key = "too_many_attempts" }',
    ),
    Signal("LotBreakerOpen", ("distribute", "verify", "redeem"), '{ $.alarm = "lot_breaker_open" }'),
    Signal("WrongSecrets", ("authorize",), '{ $.key = "invalid_client" }'),
)
RECEIPTS_FORGED: Final = Signal("ReceiptsForged", ("notify",), '{ $.key = "invalid_signature" }')
RECEIPTS_UNMATCHED: Final = Signal("ReceiptsUnmatched", ("notify",), '{ $.alarm = "receipt_unmatched" }')
PROVIDER_DOWN: Final = Signal("ProviderDown", ("notify",), '{ $.alarm = "provider_down" }')
WEBHOOK_DISABLED: Final = Signal("WebhookDisabled", ("webhooks",), '{ $.alarm = "webhook_disabled" }')
STOCK_LOW: Final = Signal("StockLow", ("distribute",), '{ $.alarm = "stock_low" }')


def receipts_of(provider: str, name: str, status: str) -> Signal:
    """Its receipts that tell this, each once: one that looks for its attempt again is logged again."""
    pattern = f'{{ $.provider = "{provider}" && $.told = "{status}" && $.tries = 0 }}'
    return Signal(name, ("notify",), pattern)


LEDGER_DISPUTED: Final = Signal("LedgerDisputed", ("ledger",), '{ $.alarm = "ledger_disputed" }')
RECONCILIATION_DIFFERS: Final = Signal("ReconciliationDiffers", ("ledger",), '{ $.alarm = "reconciliation_differs" }')


class Alarms(Construct):
    """Alarms that report to one topic, and a dashboard. Subscribe people to the topic after the first deployment."""

    def __init__(
        self,
        scope: Construct,
        *,
        functions: Mapping[str, Function],
        queues: Mapping[str, Work],
        stream: Stream,
        events: Events,
        api: Api,
        data: Data,
        settings: Settings,
    ) -> None:
        super().__init__(scope, "Alarms")
        self.topic = sns.Topic(self, "Topic", display_name=f"Kami {settings.name}", enforce_ssl=True)
        self.topic.add_to_resource_policy(_from_alarms(self.topic))
        limits = settings.alarms
        for name, function in functions.items():
            self._of_function(name, function, settings)
        for name, work in queues.items():
            self._of_queues(name, work, settings)
        self._of_stream(functions["relay"], stream, settings)
        self._alarm("EventsUndelivered", _waiting(events.undelivered), 1)
        self._alarm("ApiServerFaults", api.http.metric_server_error(period=PERIOD), limits.server_faults)
        guessing = {signal.name: self._counted(signal, functions, settings) for signal in GUESSING}
        self._alarm("WrongCodes", guessing["WrongCodes"], limits.wrong_codes)
        self._alarm("LotBreakerOpen", guessing["LotBreakerOpen"], 1)
        self._alarm("WrongSecrets", guessing["WrongSecrets"], limits.wrong_secrets)
        self._alarm("LedgerDisputed", self._counted(LEDGER_DISPUTED, functions, settings), 1)
        self._alarm("ReconciliationDiffers", self._counted(RECONCILIATION_DIFFERS, functions, settings), 1)
        forged = self._counted(RECEIPTS_FORGED, functions, settings)
        self._alarm("ReceiptsForged", forged, limits.receipts_forged)
        unmatched = self._counted(RECEIPTS_UNMATCHED, functions, settings)
        self._alarm("ReceiptsUnmatched", unmatched, limits.receipts_unmatched)
        self._alarm("ProviderDown", self._counted(PROVIDER_DOWN, functions, settings), 1)
        for provider in settings.sms.providers:
            self._of_provider(provider, functions, settings)
        self._alarm("WebhookDisabled", self._counted(WEBHOOK_DISABLED, functions, settings), 1)
        self._alarm("StockLow", self._counted(STOCK_LOW, functions, settings), 1)
        rows: list[list[cloudwatch.IWidget]] = [
            _requests(api),
            _functions(functions),
            [
                _graph(
                    "Capacity consumed",
                    data.table.metric_consumed_read_capacity_units(),
                    data.table.metric_consumed_write_capacity_units(),
                ),
                _graph("Stream, age of what is read, ms", functions["relay"].function.metric("IteratorAge")),
                _graph("Stream records", *(_of_mapping(stream, name) for name in COUNTED)),
            ],
            _queues(queues, events),
            [_graph("Guessing", *guessing.values())],
        ]
        cloudwatch.Dashboard(self, "Dashboard", dashboard_name=f"kami-{settings.name}", widgets=rows)

    def _of_function(self, name: str, function: Function, settings: Settings) -> None:
        subject, of = name.capitalize(), function.function
        self._alarm(f"{subject}Errors", of.metric_errors(period=PERIOD), settings.alarms.errors)
        self._alarm(f"{subject}Throttles", of.metric_throttles(period=PERIOD), settings.alarms.throttles)
        self._alarm(
            f"{subject}Slow", of.metric_duration(period=PERIOD, statistic="p99"), function.spec.slow_ms, periods=3
        )

    def _of_queues(self, name: str, work: Work, settings: Settings) -> None:
        subject, limits = f"{name.capitalize()}{work.kind}", settings.alarms
        age = work.queue.metric_approximate_age_of_oldest_message(period=PERIOD, statistic="Maximum")
        self._alarm(f"{subject}Depth", _waiting(work.queue), limits.queue_depth)
        self._alarm(f"{subject}Age", age, limits.queue_age_s)
        self._alarm(f"{subject}Dead", _waiting(work.dead_letters), 1)

    def _of_stream(self, relay: Function, stream: Stream, settings: Settings) -> None:
        age = relay.function.metric("IteratorAge", period=PERIOD, statistic="Maximum")
        self._alarm("StreamAge", age, settings.alarms.stream_age_s * 1000)
        self._alarm("StreamSetAside", _of_mapping(stream, "OnFailureDestinationDeliveredEventCount"), 1)
        self._alarm("StreamDropped", _of_mapping(stream, "DroppedEventCount"), 1)

    def _of_provider(self, provider: str, functions: Mapping[str, Function], settings: Settings) -> None:
        """The share of its receipts by which an SMS was not delivered, for a quarter of an hour on end."""
        name = "".join(part.capitalize() for part in re.split(r"\W+", provider))
        told = {
            status: self._counted(receipts_of(provider, f"{name}{status.capitalize()}", status), functions, settings)
            for status in ("delivered", "undelivered")
        }
        limits, lost, every = settings.alarms, "FILL(undelivered, 0)", "(FILL(delivered, 0) + FILL(undelivered, 0))"
        share = cloudwatch.MathExpression(
            expression=f"IF({every} >= {limits.undelivered_of}, 100 * {lost} / {every}, 0)",
            using_metrics=told,
            label=f"{provider}: undelivered, per cent",
            period=PERIOD,
        )
        self._alarm(f"{name}DeliveryFalling", share, limits.undelivered_percent, periods=3)

    def _counted(self, signal: Signal, functions: Mapping[str, Function], settings: Settings) -> cloudwatch.Metric:
        namespace = f"Kami/{settings.name}"
        for name in signal.functions:
            logs.MetricFilter(
                self,
                f"{name.capitalize()}{signal.name}Count",
                log_group=functions[name].log_group,
                filter_pattern=logs.FilterPattern.literal(signal.pattern),
                metric_namespace=namespace,
                metric_name=signal.name,
                metric_value="1",
            )
        return cloudwatch.Metric(namespace=namespace, metric_name=signal.name, statistic="Sum", period=PERIOD)

    def _alarm(self, name: str, metric: cloudwatch.IMetric, threshold: int, *, periods: int = 1) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=f"{name}: see infra/README.md",
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))


def _requests(api: Api) -> list[cloudwatch.IWidget]:
    return [
        _graph("Requests", api.http.metric_count(), api.http.metric_client_error()),
        _graph("Latency, ms", *(api.http.metric_latency(statistic=s) for s in ("p50", "p99"))),
        _graph("Server faults", api.http.metric_server_error()),
    ]


def _functions(functions: Mapping[str, Function]) -> list[cloudwatch.IWidget]:
    every = [function.function for function in functions.values()]
    return [
        _graph("Errors", *(of.metric_errors() for of in every)),
        _graph("Duration p99, ms", *(of.metric_duration(statistic="p99") for of in every)),
        _graph("Throttles", *(of.metric_throttles() for of in every)),
    ]


def _queues(queues: Mapping[str, Work], events: Events) -> list[cloudwatch.IWidget]:
    of = list(queues.values())
    return [
        _graph("Waiting", *(work.queue.metric_approximate_number_of_messages_visible() for work in of)),
        _graph("Oldest waiting, s", *(work.queue.metric_approximate_age_of_oldest_message() for work in of)),
        _graph("Dead", *map(_waiting, [*(work.dead_letters for work in of), events.undelivered])),
    ]


COUNTED: Final = (
    "PolledEventCount",
    "FilteredOutEventCount",
    "InvokedEventCount",
    "FailedInvokeEventCount",
    "OnFailureDestinationDeliveredEventCount",
    "DroppedEventCount",
)
"""What Lambda counts of a mapping that has it count (`metrics_config`)."""


def _of_mapping(stream: Stream, metric: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/Lambda",
        metric_name=metric,
        dimensions_map={"EventSourceMappingUUID": stream.mapping.attr_id},
        statistic="Sum",
        period=PERIOD,
    )


def _waiting(queue: sqs.Queue) -> cloudwatch.Metric:
    return queue.metric_approximate_number_of_messages_visible(period=PERIOD, statistic="Maximum")


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=8)


def _from_alarms(topic: sns.Topic) -> iam.PolicyStatement:
    """A topic with a policy of its own loses the default one, which let the account's alarms in."""
    return iam.PolicyStatement(
        sid="FromAlarms",
        principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
        actions=["sns:Publish"],
        resources=[topic.topic_arn],
        conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
    )
