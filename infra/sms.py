"""What AWS End User Messaging tells of SMS: its events go by SNS to notify's own queue, without a request over HTTP.

The queue takes only this topic's messages, and the topic only what the configuration set tells; so there is no
signature to check, no address to be found out, and SQS keeps what comes while notify is away. What SNS cannot deliver
joins notify's dead letters, from which it goes the way that it would have gone.
"""

from __future__ import annotations

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_smsvoice as smsvoice
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.notify.providers.aws import EVENTS
from infra.settings import Settings


def configuration_set(settings: Settings) -> str:
    """The name under which notify sends, so that AWS tells what becomes of it; empty where AWS sends nothing."""
    return f"kami-{settings.name}" if "aws" in settings.sms.providers else ""


class SmsEvents(Construct):
    """Configuration set, topic, and the subscription of notify's queue."""

    def __init__(self, scope: Construct, settings: Settings, *, queue: sqs.IQueue, dead_letters: sqs.IQueue) -> None:
        super().__init__(scope, "SmsEvents")
        name = configuration_set(settings)
        topic = sns.Topic(self, "Topic", enforce_ssl=True)
        source = f"arn:{Aws.PARTITION}:sms-voice:{Aws.REGION}:{Aws.ACCOUNT_ID}:configuration-set/{name}"
        permitted = topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("sms-voice.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={
                    "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                    "ArnLike": {"aws:SourceArn": source},
                },
            )
        )
        topic.add_subscription(
            subscriptions.SqsSubscription(queue, raw_message_delivery=True, dead_letter_queue=dead_letters)
        )
        told = smsvoice.CfnConfigurationSet(
            self,
            "Set",
            configuration_set_name=name,
            event_destinations=[
                smsvoice.CfnConfigurationSet.EventDestinationProperty(
                    event_destination_name="receipts",
                    enabled=True,
                    matching_event_types=sorted(EVENTS),
                    sns_destination=smsvoice.CfnConfigurationSet.SnsDestinationProperty(topic_arn=topic.topic_arn),
                )
            ],
        )
        if permitted.policy_dependable is not None:
            told.node.add_dependency(permitted.policy_dependable)
