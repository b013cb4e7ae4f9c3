"""The HTTP API: one route of the gateway for each row of the table of routes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from aws_cdk import Acknowledgment, Duration, Validations
from aws_cdk import aws_apigatewayv2 as gateway
from aws_cdk import aws_logs as logs
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from functions.edge.routes import ROUTES
from infra.data import Data
from infra.functions import Function
from infra.settings import Settings, Throttle

INTEGRATION_TIMEOUT: Final = Duration.seconds(29)  # an HTTP API waits 30 s at most
DEFAULT: Final = "console"
"""The function that answers what is no route."""
TOKEN_ROUTE: Final = "POST /v1/tokens"

# No query string, header or body: they hold codes, tokens and phone numbers.
ACCESS_LOG: Final = {
    "request_id": "$context.requestId",
    "at": "$context.requestTimeEpoch",
    "address": "$context.identity.sourceIp",
    "route": "$context.routeKey",
    "protocol": "$context.protocol",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "latency_ms": "$context.responseLatency",
    "integration_latency_ms": "$context.integrationLatency",
    "integration_error": "$context.integrationErrorMessage",
    "error": "$context.error.message",
}


class Api(Construct):
    """Routes to functions, an access log, and throttles: a low one where secrets could be guessed.

    No authorizer: the functions check tokens themselves (`functions/edge/tokens.py`), because a gateway's refusal
    cannot be a problem document and its cache would carry an "allow" from one route to another.
    """

    def __init__(self, scope: Construct, functions: Mapping[str, Function], *, data: Data, settings: Settings) -> None:
        super().__init__(scope, "Api")
        integrations = {
            name: HttpLambdaIntegration(
                f"{name.capitalize()}Integration",
                function.function,
                timeout=INTEGRATION_TIMEOUT,
                # One permission a function, but `$default` is covered by none that names a method and a path.
                scope_permission_to_route=name == DEFAULT,
            )
            for name, function in functions.items()
        }
        self.http = gateway.HttpApi(
            self,
            "Http",
            api_name=f"kami-{settings.name}",
            description="Kami: generate, activate, verify, redeem",
            create_default_stage=False,
            default_integration=integrations[DEFAULT],
        )
        routes = {
            route.key: self.http.add_routes(
                path=route.path,
                methods=[gateway.HttpMethod[route.method]],
                integration=integrations[route.function],
            )
            for route in ROUTES
        }
        self.stage = self._stage(data, settings)
        self.stage.node.add_dependency(*routes[TOKEN_ROUTE])
        Validations.of(self.http).acknowledge(
            Acknowledgment(
                id="AwsSolutions-APIG4",
                reason="Each function verifies token and scope by the table of routes, and denies by default.",
            )
        )

    def _stage(self, data: Data, settings: Settings) -> gateway.CfnStage:
        log_group = logs.LogGroup(
            self, "AccessLog", retention=settings.log_retention, removal_policy=data.removal_policy
        )
        return gateway.CfnStage(
            self,
            "Stage",
            api_id=self.http.api_id,
            stage_name="$default",
            auto_deploy=True,
            access_log_settings=gateway.CfnStage.AccessLogSettingsProperty(
                destination_arn=log_group.log_group_arn, format=json.dumps(ACCESS_LOG)
            ),
            default_route_settings=_route_settings(settings.requests),
            # Keyed by route, so each route here must exist before the stage does; only plain JSON keeps the casing.
            route_settings={
                TOKEN_ROUTE: {
                    "ThrottlingBurstLimit": settings.token_requests.burst,
                    "ThrottlingRateLimit": settings.token_requests.requests_per_s,
                }
            },
        )


def _route_settings(throttle: Throttle) -> gateway.CfnStage.RouteSettingsProperty:
    return gateway.CfnStage.RouteSettingsProperty(
        throttling_burst_limit=throttle.burst, throttling_rate_limit=throttle.requests_per_s
    )
