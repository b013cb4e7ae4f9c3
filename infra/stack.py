"""Kami in one stack; wiring only."""

from __future__ import annotations

from aws_cdk import CfnOutput, DefaultStackSynthesizer, Stack
from constructs import Construct

from infra.alarms import Alarms
from infra.api import Api
from infra.bundle import Assets
from infra.data import Data
from infra.functions import FUNCTIONS, Function
from infra.settings import Settings
from infra.workers import Jobs


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
        jobs = {name: Jobs(self, name) for name, spec in FUNCTIONS.items() if spec.takes_jobs}
        functions = {
            name: Function(
                self,
                name,
                data=data,
                assets=assets,
                jobs=jobs[name].queue if name in jobs else None,
                settings=settings,
            )
            for name in FUNCTIONS
        }
        for name, queues in jobs.items():
            queues.feed(functions[name], settings)
        api = Api(self, functions, data=data, settings=settings)
        alarms = Alarms(self, functions=functions, jobs=jobs, api=api, data=data, settings=settings)
        CfnOutput(self, "ApiUrl", value=api.http.api_endpoint)
        CfnOutput(self, "TableName", value=data.table.table_name)
        CfnOutput(self, "AlarmTopicArn", value=alarms.topic.topic_arn)
