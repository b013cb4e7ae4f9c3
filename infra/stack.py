"""Kami in one stack; wiring only."""

from __future__ import annotations

from aws_cdk import CfnOutput, DefaultStackSynthesizer, Stack
from constructs import Construct

from infra.alarms import Alarms
from infra.api import Api
from infra.bundle import Assets
from infra.data import Data
from infra.events import Events
from infra.functions import FUNCTIONS, Function
from infra.settings import Settings
from infra.sms import SmsEvents, configuration_set
from infra.workers import Stream, Work


class Kami(Stack):
    """One environment. It knows no account and no region, so it synthesizes without credentials."""

    def __init__(self, scope: Construct, settings: Settings, *, bundle: bool) -> None:
        super().__init__(
            scope,
            f"kami-{settings.name}",
            description="Kami: the life of a card secret",
            termination_protection=settings.keep,
            synthesizer=DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
            tags={"application": "kami", "environment": settings.name},
        )
        assets = Assets(self, bundle=bundle, byte_code_required=settings.keep)
        data = Data(self, settings)
        events = Events(self, f"kami-{settings.name}")
        queues = {name: Work(self, name) for name, spec in FUNCTIONS.items() if spec.queue}
        functions = {
            name: Function(
                self,
                name,
                data=data,
                assets=assets,
                queue=queues[name].queue if name in queues else None,
                record=queues["audit"].queue,
                bus=events.bus,
                settings=settings,
            )
            for name in FUNCTIONS
        }
        for name, work in queues.items():
            work.feed(functions[name], settings)
        stream = Stream(self, functions["relay"], data)
        events.connect(queues)
        if configuration_set(settings):
            work = queues["notify"]
            SmsEvents(self, settings, queue=work.queue, dead_letters=work.dead_letters)
        api = Api(self, functions, data=data, settings=settings)
        alarms = Alarms(
            self,
            functions=functions,
            queues=queues,
            stream=stream,
            events=events,
            api=api,
            data=data,
            settings=settings,
        )
        CfnOutput(self, "ApiUrl", value=api.http.api_endpoint)
        CfnOutput(self, "TableName", value=data.table.table_name)
        CfnOutput(self, "AuthenticatorKeyArn", value=data.authenticator_key.key_arn)
        CfnOutput(self, "PersonSecretArn", value=data.person_secret.secret_arn)
        CfnOutput(self, "BusName", value=events.bus.event_bus_name)
        CfnOutput(self, "RelayName", value=functions["relay"].function.function_name)
        CfnOutput(self, "RecordBucket", value=data.record.bucket_name)
        CfnOutput(self, "FailuresBucket", value=data.failures.bucket_name)
        CfnOutput(self, "UndeliveredArn", value=events.undelivered.queue_arn)
        for name, work in queues.items():
            CfnOutput(self, f"{name.capitalize()}DeadLettersArn", value=work.dead_letters.queue_arn)
        CfnOutput(self, "AlarmTopicArn", value=alarms.topic.topic_arn)
