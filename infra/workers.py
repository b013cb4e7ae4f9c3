"""Queues of work too long for a call, and the functions that they feed."""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.functions import FUNCTIONS, Function
from infra.settings import Settings

BATCH_SIZE: Final = 5
RECEIVES_MAX: Final = 5
VISIBILITY_TIMEOUTS: Final = 6  # AWS's advice: six times the function's, for retries of a throttled invocation


class Jobs(Construct):
    """The job queue of one function, and its dead-letter queue."""

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, f"{name.capitalize()}Jobs")
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
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
            batch_size=BATCH_SIZE,
            report_batch_item_failures=True,
            max_concurrency=settings.workers_max,
        )
