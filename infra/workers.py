"""What feeds functions outside a call: queues of work, and the table's stream."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.domain.events import ENTITIES
from functions.edge.batch import THREADS_MAX
from functions.store.record import ENTRIES_PER_WRITE
from infra.data import Data
from infra.functions import FUNCTIONS, Function
from infra.settings import Settings


class Batch(NamedTuple):
    """How many messages a function takes at a time, and how long it waits for them to be so many."""

    size: int
    window: Duration | None = None


BATCHES: Final = {
    "Jobs": Batch(5),
    "Messages": Batch(THREADS_MAX),
    "Deliveries": Batch(4),  # each may take ten seconds, and all must be done within the function's time
    "Entries": Batch(ENTRIES_PER_WRITE, Duration.seconds(1)),
}
"""By what lies in the queue."""
RECEIVES_MAX: Final = 5
VISIBILITY_TIMEOUTS: Final = 6  # AWS's advice: six times the function's, for retries of a throttled invocation

STREAM_BATCH_SIZE: Final = 100
STREAM_LANES: Final = 4
"""Batches of one shard at work at a time; the changes of one item stay in order."""
STREAM_RETRIES_MAX: Final = 8
"""Of one batch, with growing pauses, before its records go to the bucket and the stream goes on."""
STREAM_AGE_MAX_S: Final = 12 * 3600
"""Half of what a stream keeps: what is older goes to the bucket while it can still be read."""


def dead_letters(scope: Construct, name: str) -> sqs.Queue:
    """A queue for what is set aside, kept as long as SQS can."""
    return sqs.Queue(
        scope,
        name,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=Duration.days(14),
    )


class Work(Construct):
    """The queue of one function, and its dead-letter queue. `kind` is what lies in it, a key of `BATCHES`."""

    def __init__(self, scope: Construct, name: str) -> None:
        queue = FUNCTIONS[name].queue
        assert queue, f"{name} has no queue"
        self.kind = queue.value.capitalize()
        super().__init__(scope, f"{name.capitalize()}{self.kind}")
        self.dead_letters = dead_letters(self, "DeadLetters")
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(4),
            visibility_timeout=Duration.seconds(VISIBILITY_TIMEOUTS * FUNCTIONS[name].timeout_s),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=RECEIVES_MAX),
        )

    def feed(self, function: Function, settings: Settings) -> None:
        """Have Lambda poll the queue: a job that fails comes back alone, and only so many run at a time."""
        lambda_.EventSourceMapping(
            self,
            "Feed",
            target=function.function,
            event_source_arn=self.queue.queue_arn,
            batch_size=BATCHES[self.kind].size,
            max_batching_window=BATCHES[self.kind].window,
            report_batch_item_failures=True,
            max_concurrency=settings.workers_max,
        )


class Stream(Construct):
    """Has Lambda read the table's stream for relay: in order per item, from the first change on.

    A batch is taken up to its first failure and goes on from there. One that raises is halved until the culprit is
    alone; when its retries are used up its records go to the bucket, whole (a queue would get only their numbers).
    """

    def __init__(self, scope: Construct, relay: Function, data: Data) -> None:
        super().__init__(scope, "Stream")
        # Level 1: level 2's destination grants reading and deleting in the bucket, to whoever runs the function.
        self.mapping = lambda_.CfnEventSourceMapping(
            self,
            "Feed",
            function_name=relay.function.function_name,
            event_source_arn=data.table.table_stream_arn,
            starting_position="TRIM_HORIZON",
            batch_size=STREAM_BATCH_SIZE,
            parallelization_factor=STREAM_LANES,
            function_response_types=["ReportBatchItemFailures"],
            bisect_batch_on_function_error=True,
            maximum_retry_attempts=STREAM_RETRIES_MAX,
            maximum_record_age_in_seconds=STREAM_AGE_MAX_S,
            filter_criteria=lambda_.CfnEventSourceMapping.FilterCriteriaProperty(
                filters=[lambda_.CfnEventSourceMapping.FilterProperty(pattern=json.dumps(PATTERN))]
            ),
            destination_config=lambda_.CfnEventSourceMapping.DestinationConfigProperty(
                on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(destination=data.failures.bucket_arn)
            ),
            metrics_config=lambda_.CfnEventSourceMapping.MetricsConfigProperty(metrics=["EventCount"]),
        )
        self.mapping.node.add_dependency(relay.role)


PATTERN: Final = {"dynamodb": {"NewImage": {"entity": {"S": sorted(ENTITIES)}}}}
