"""A small template by hand, with one of each resource: the local cloud's tests need no synthesis."""

from __future__ import annotations

import copy
from typing import Any

from infra.local.template import Template

Document = dict[str, Any]


def function(name: str, **properties: Any) -> Document:
    """A Lambda function whose handler lies in tests/infra/local_functions."""
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"S3Bucket": {"Fn::Sub": "assets-${AWS::AccountId}"}, "S3Key": "code.zip"},
            "Handler": f"tests.infra.local_functions.{name}.handler.handle",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Runtime": "python3.13",
            "Timeout": 2,
            "Environment": {"Variables": {"TABLE_NAME": {"Ref": "Table"}, "KEY": {"Fn::GetAtt": ["Key", "Arn"]}}},
            **properties,
        },
    }


def route(key: str) -> Document:
    """A route of the API to the function `echo`."""
    return {
        "Type": "AWS::ApiGatewayV2::Route",
        "Properties": {
            "ApiId": {"Ref": "Api"},
            "RouteKey": key,
            "Target": {"Fn::Join": ["", ["integrations/", {"Ref": "Integration"}]]},
        },
    }


def allow(actions: list[str], resource: Any, **more: Any) -> Document:
    """A statement of the one role."""
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}


TABLE_ARN = {"Fn::GetAtt": ["Table", "Arn"]}
QUEUE_ARN = {"Fn::GetAtt": ["Queue", "Arn"]}
KEY_POLICY = {
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "kms:*",
            "Resource": "*",
            "Principal": {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}},
        }
    ]
}
LAMBDA = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
ONLY_USERS = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["USER#*"]}}

RESOURCES: Document = {
    "Table": {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "gsi1pk", "gsi1sk")
            ],
            "KeySchema": [
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": "gsi1",
                    "KeySchema": [
                        {"AttributeName": "gsi1pk", "KeyType": "HASH"},
                        {"AttributeName": "gsi1sk", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
            "TimeToLiveSpecification": {"AttributeName": "ttl_epoch_s", "Enabled": True},
        },
    },
    "Key": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": KEY_POLICY}},
    "SigningKey": {
        "Type": "AWS::KMS::Key",
        "Properties": {"KeyPolicy": KEY_POLICY, "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"},
    },
    "Alias": {
        "Type": "AWS::KMS::Alias",
        "Properties": {"AliasName": "alias/small", "TargetKeyId": {"Fn::GetAtt": ["Key", "Arn"]}},
    },
    "Secret": {
        "Type": "AWS::SecretsManager::Secret",
        "Properties": {"GenerateSecretString": {"PasswordLength": 64, "ExcludePunctuation": True}},
    },
    "DeadLetters": {"Type": "AWS::SQS::Queue", "Properties": {}},
    "Queue": {
        "Type": "AWS::SQS::Queue",
        "Properties": {
            "VisibilityTimeout": 60,
            "RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}, "maxReceiveCount": 3},
        },
    },
    "Role": {
        "Type": "AWS::IAM::Role",
        "Properties": {"AssumeRolePolicyDocument": {"Statement": [LAMBDA]}},
    },
    "Policy": {
        "Type": "AWS::IAM::Policy",
        "Properties": {
            "PolicyName": "Policy",
            "Roles": [{"Ref": "Role"}],
            "PolicyDocument": {
                "Statement": [
                    allow(["logs:PutLogEvents"], "*"),
                    allow(["dynamodb:GetItem", "dynamodb:PutItem"], TABLE_ARN, Condition=ONLY_USERS),
                    allow(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], QUEUE_ARN),
                ]
            },
        },
    },
    "Echo": function("echo"),
    "Worker": function("worker"),
    "Feed": {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {
            "EventSourceArn": QUEUE_ARN,
            "FunctionName": {"Ref": "Worker"},
            "BatchSize": 5,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": 2},
        },
    },
    "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": "small", "ProtocolType": "HTTP"}},
    "Integration": {
        "Type": "AWS::ApiGatewayV2::Integration",
        "Properties": {
            "ApiId": {"Ref": "Api"},
            "IntegrationType": "AWS_PROXY",
            "IntegrationUri": {"Fn::GetAtt": ["Echo", "Arn"]},
            "PayloadFormatVersion": "2.0",
            "TimeoutInMillis": 1000,
        },
    },
    "Route": route("POST /things/{id}"),
    "Permission": {
        "Type": "AWS::Lambda::Permission",
        "Properties": {
            "Action": "lambda:InvokeFunction",
            "FunctionName": {"Fn::GetAtt": ["Echo", "Arn"]},
            "Principal": "apigateway.amazonaws.com",
            "SourceArn": {"Fn::Sub": "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*/*/*"},
        },
    },
}


def small(**changes: Any) -> Template:
    """The template, with resources added, replaced, or changed in single properties (`Name__Property=value`)."""
    resources = copy.deepcopy(RESOURCES)
    for name, value in changes.items():
        logical_id, _, prop = name.partition("__")
        if prop:
            resources[logical_id]["Properties"][prop] = value
        else:
            resources[name] = value
    return Template({"Resources": resources})
