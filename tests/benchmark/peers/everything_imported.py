"""Peer of the cold start: a redemption endpoint made of everything that a Lambda tutorial imports.

It works (one code, one conditional update, idempotency, a validating resolver, traces), but is here for its imports:
boto3's resource, Tracer, Metrics, the resolver with validation, parser models, the idempotency table and Fernet.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler.exceptions import BadRequestError, NotFoundError
from aws_lambda_powertools.event_handler.openapi.params import Header
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.serialization.pydantic import PydanticSerializer
from aws_lambda_powertools.utilities.parser import BaseModel
from aws_lambda_powertools.utilities.typing import LambdaContext
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError
from cryptography.fernet import Fernet
from pydantic import Field

logger, metrics, tracer = Logger(), Metrics(), Tracer()
app = APIGatewayHttpResolver(enable_validation=True)
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
kms = boto3.client("kms")
fernet = Fernet(Fernet.generate_key())
persistence = DynamoDBPersistenceLayer(table_name=os.environ["TABLE_NAME"], key_attr="pk")
config = IdempotencyConfig(event_key_jmespath="key")


class Account(BaseModel):
    type: str
    number: str = Field(min_length=4, max_length=64)


class RedemptionRequest(BaseModel):
    code: str = Field(max_length=64)
    account: Account
    amount_minor: int | None = Field(default=None, ge=1)


class Order(BaseModel):
    key: str
    request: RedemptionRequest


class Redemption(BaseModel):
    id: str
    serial: str
    account: str
    status: str


@app.post("/v1/redemptions")
@tracer.capture_method
def create_redemption(
    request: RedemptionRequest, idempotency_key: Annotated[str, Header(alias="Idempotency-Key", max_length=255)]
) -> Redemption:
    metrics.add_metric(name="Redemptions", unit=MetricUnit.Count, value=1)
    redemption: Redemption = redeem(order=Order(key=idempotency_key, request=request))
    return redemption


@idempotent_function(  # type: ignore[untyped-decorator]
    data_keyword_argument="order",
    persistence_store=persistence,
    config=config,
    output_serializer=PydanticSerializer(model=Redemption),
)
def redeem(order: Order) -> Redemption:
    serial, _, secret = order.request.code.partition("-")
    item: dict[str, Any] = table.get_item(Key={"pk": serial, "sk": "voucher"}, ConsistentRead=True).get("Item", {})
    if not item or fernet.decrypt(item["secret"].value).decode() != secret:
        raise NotFoundError("voucher_not_redeemable")
    try:
        table.update_item(
            Key={"pk": serial, "sk": "voucher"},
            UpdateExpression="SET #status = :redeemed, account = :account",
            ConditionExpression=Attr("status").eq("active"),
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":redeemed": "redeemed", ":account": order.request.account.number},
        )
    except ClientError as error:
        raise BadRequestError("already_redeemed") from error
    return Redemption(id=order.key, serial=serial, account=order.request.account.number, status="completed")


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP)
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return app.resolve(event, context)
