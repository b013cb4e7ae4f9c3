"""Patterns, and what rules of a bus put on queues."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from infra.local.bus import check_target, message
from infra.local.cloud import Cloud
from infra.local.patterns import matcher
from infra.local.pumps import SchedulePump
from infra.local.template import TemplateError
from tests.infra.local_functions.worker.handler import ANSWERS, SEEN
from tests.infra.local_small import QUEUE_ARN, Document, small

DEAD_LETTERS_ARN = {"Fn::GetAtt": ["DeadLetters", "Arn"]}
JOB: Document = {"InputTransformer": {"InputPathsMap": {"id": "$.detail.data.id"}, "InputTemplate": '{"id":<id>}'}}


def policy(queue: Document, rule: str = "Rule") -> Document:
    """What lets a rule send to a queue."""
    return {
        "Type": "AWS::SQS::QueuePolicy",
        "Properties": {
            "Queues": [{"Ref": "Queue"}],
            "PolicyDocument": {
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": ["sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"],
                        "Principal": {"Service": "events.amazonaws.com"},
                        "Resource": queue,
                        "Condition": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}},
                    }
                ]
            },
        },
    }


def with_bus(target: Document, pattern: Document | None = None, **changes: Any) -> Any:
    """The small template with a bus, one rule and one target."""
    return small(
        **{
            "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": "bus"}},
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "EventBusName": {"Ref": "Bus"},
                    "EventPattern": pattern or {"source": ["kami"], "detail-type": ["lot.made"]},
                    "State": "ENABLED",
                    "Targets": [{"Id": "T", "Arn": QUEUE_ARN, "DeadLetterConfig": {"Arn": DEAD_LETTERS_ARN}, **target}],
                },
            },
            "Sends": policy(QUEUE_ARN),
            "SendsDead": policy(DEAD_LETTERS_ARN),
            **changes,
        }
    )


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()
    ANSWERS.clear()


def publish(cloud: Cloud, kind: str, detail: Document, source: str = "kami") -> Any:
    entry = {"EventBusName": "bus", "Source": source, "DetailType": kind, "Detail": json.dumps(detail)}
    return cloud.client("events").put_events(Entries=[entry])


def bodies() -> list[Any]:
    return [json.loads(record["body"]) for event in SEEN for record in event["Records"]]


def dead(cloud: Cloud) -> list[Any]:
    sqs = cloud.client("sqs")
    url = sqs.get_queue_url(QueueName="DeadLetters")["QueueUrl"]
    found: list[Any] = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"]).get("Messages", [])
    return found


def test_a_rule_makes_a_job_of_an_event() -> None:
    with Cloud.in_process(with_bus(JOB)) as cloud:
        publish(cloud, "lot.made", {"id": "e1", "data": {"id": 'a "quoted" id 号'}})
        publish(cloud, "lot.lost", {"id": "e2", "data": {"id": "other"}})
        publish(cloud, "lot.made", {"id": "e3", "data": {"id": "foreign"}}, source="somebody")
        cloud.drain()
        assert bodies() == [{"id": 'a "quoted" id 号'}]


def test_a_rule_passes_the_detail_on() -> None:
    with Cloud.in_process(with_bus({"InputPath": "$.detail"})) as cloud:
        publish(cloud, "lot.made", {"id": "e1", "data": {"n": 1}})
        cloud.drain()
        assert bodies() == [{"id": "e1", "data": {"n": 1}}]


def test_without_input_the_whole_event_is_the_message() -> None:
    with Cloud.in_process(with_bus({})) as cloud:
        publish(cloud, "lot.made", {"id": "e1"})
        cloud.drain()
        (event,) = bodies()
        assert (event["version"], event["source"], event["detail-type"]) == ("0", "kami", "lot.made")
        assert event["detail"] == {"id": "e1"}
        assert event["time"].endswith("Z")
        assert event.keys() == {
            "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
        }  # fmt: skip


def test_what_cannot_be_delivered_is_a_dead_letter_with_the_whole_event() -> None:
    with Cloud.in_process(with_bus(JOB)) as cloud:
        publish(cloud, "lot.made", {"id": "e1", "data": {}})
        cloud.drain()
        assert bodies() == []
        (letter,) = dead(cloud)
        assert json.loads(letter["Body"])["detail"] == {"id": "e1", "data": {}}
        assert letter["MessageAttributes"]["RULE_ARN"]["StringValue"].endswith("rule/bus/Rule")


def test_a_rule_that_no_queue_policy_lets_in_is_refused() -> None:
    with (
        pytest.raises(TemplateError, match="no policy lets these send"),
        Cloud.in_process(with_bus(JOB, Sends=policy(DEAD_LETTERS_ARN))),
    ):
        pass


# Schedules


def with_schedule(expression: str = "rate(1 hour)", target: Document | None = None, **changes: Any) -> Any:
    """The small template with a rule that fires by the clock."""
    message = target if target is not None else {"Input": '{"do":"sweep"}'}
    return small(
        **{
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "Name": "hourly",
                    "ScheduleExpression": expression,
                    "State": "ENABLED",
                    "Targets": [
                        {"Id": "T", "Arn": QUEUE_ARN, "DeadLetterConfig": {"Arn": DEAD_LETTERS_ARN}, **message}
                    ],
                },
            },
            "Sends": policy(QUEUE_ARN),
            "SendsDead": policy(DEAD_LETTERS_ARN),
            **changes,
        }
    )


def test_a_schedule_sends_its_message_whenever_its_time_has_come() -> None:
    with Cloud.in_process(with_schedule()) as cloud:
        cloud.drain()
        assert bodies() == []
        assert (cloud.fire("hourly"), cloud.fire("none"), cloud.fire()) == (["hourly"], [], ["hourly"])
        cloud.drain()
        assert bodies() == [{"do": "sweep"}] * 2


def test_the_first_time_is_a_whole_period_after_the_start() -> None:
    with Cloud.in_process(with_schedule("rate(5 minutes)")) as cloud:
        (pump,) = (pump for pump in cloud.pumps() if isinstance(pump, SchedulePump))
        waits: list[float] = []

        class Stop(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                waits.append(timeout or 0)
                return len(waits) == 3

        pump.run(Stop())
        cloud.drain()
        assert (waits, len(bodies())) == ([300.0] * 3, 2)


def test_a_schedule_whose_queue_is_gone_leaves_a_dead_letter() -> None:
    with Cloud.in_process(with_schedule()) as cloud:
        sqs = cloud.client("sqs")
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName="Queue")["QueueUrl"])
        cloud.fire()
        (letter,) = dead(cloud)
        assert json.loads(letter["Body"])["source"] == "aws.events"


def test_a_schedule_that_is_disabled_never_fires() -> None:
    with Cloud.in_process(with_schedule(Rule__State="DISABLED")) as cloud:
        assert cloud.fire() == []


@pytest.mark.parametrize(
    ("expression", "changes"),
    [
        ("cron(0 * * * ? *)", {}),
        ("rate(1 hours)", {}),
        ("rate(2 hour)", {}),
        ("rate(0 hours)", {}),
        ("rate(1 fortnight)", {}),
        ("rate(1 hour)", {"target": {}}),
        ("rate(1 hour)", {"target": {"Input": "{}", "RoleArn": "r"}}),
        ("rate(1 hour)", {"target": {"Input": "{}", "Arn": "arn:aws:lambda:us-east-1:123456789012:function:f"}}),
        ("rate(1 hour)", {"Rule__EventPattern": {"source": ["kami"]}}),
    ],
)
def test_a_schedule_that_is_not_understood_is_refused(expression: str, changes: Document) -> None:
    with pytest.raises(TemplateError), Cloud.in_process(with_schedule(expression, **changes)):
        pass


@pytest.mark.parametrize(
    "target",
    [
        {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f"},
        {"Arn": "arn:aws:sqs:us-east-1:123456789012:q", "InputPath": "$.detail[0]"},
        {"Arn": "arn:aws:sqs:us-east-1:123456789012:q", "Input": "{}"},
        {
            "Arn": "arn:aws:sqs:us-east-1:123456789012:q",
            "InputTransformer": {"InputPathsMap": {"a": "$.a"}, "InputTemplate": '"in text <a>, "'},
        },
        {
            "Arn": "arn:aws:sqs:us-east-1:123456789012:q",
            "InputTransformer": {"InputPathsMap": {}, "InputTemplate": '{"a":<a>}'},
        },
    ],
)
def test_a_target_that_is_not_understood_is_refused(target: Document) -> None:
    if "in text" in str(target):
        target["InputTransformer"]["InputTemplate"] = '{"a": "in" <a>}'
    with pytest.raises(TemplateError):
        check_target({"Id": "T", **target})


def test_a_message_is_made_of_what_is_there() -> None:
    assert json.loads(message({"detail": {"data": {"id": None}}}, JOB)) == {"id": None}
    with pytest.raises(LookupError):
        message({"detail": {}}, JOB)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ({"a": ["x", "y"]}, [{"a": "x"}, {"a": ["z", "y"]}], [{"a": "z"}, {}, {"a": None}, "text"]),
        ({"a": {"b": [1]}}, [{"a": {"b": 1}}], [{"a": {"b": True}}, {"a": 1}, {"a": {"b": "1"}}]),
        ({"a": [None]}, [{"a": None}], [{}, {"a": ""}]),
        ({"a": ["x"], "b": [2]}, [{"a": "x", "b": 2}], [{"a": "x"}, {"a": "x", "b": 3}]),
        ({"a": [{"prefix": "vou"}]}, [{"a": "voucher"}], [{"a": "lot"}, {"a": 1}, {}]),
        ({"a": [{"suffix": ".made"}]}, [{"a": "lot.made"}], [{"a": "made.lot"}]),
        ({"a": [{"equals-ignore-case": "Lot"}]}, [{"a": "lOT"}], [{"a": "lots"}]),
        ({"a": [{"exists": True}]}, [{"a": None}, {"a": 0}], [{}]),
        ({"a": [{"exists": False}]}, [{}], [{"a": None}]),
        ({"a": [{"anything-but": ["x", "y"]}]}, [{"a": "z"}], [{"a": "x"}, {}]),
        ({"a": [{"numeric": [">", 0, "<=", 5]}]}, [{"a": 5}, {"a": 0.5}], [{"a": 0}, {"a": "3"}, {"a": True}, {}]),
    ],
)
def test_a_pattern_matches(pattern: Document, matching: list[Any], other: list[Any]) -> None:
    matches = matcher(pattern)
    assert [one for one in matching if not matches(one)] == []
    assert [one for one in other if matches(one)] == []


@pytest.mark.parametrize(
    "pattern", [{"a": [{"wildcard": "*"}]}, {"$or": [{"a": [1]}]}, {"a": []}, {"a": "x"}, {"a": [{"cidr": "10/8"}]}]
)
def test_an_unknown_pattern_is_refused(pattern: Document) -> None:
    with pytest.raises(TemplateError):
        matcher(pattern)


@pytest.mark.parametrize("seed", range(3))
def test_twice_and_shuffled_every_message_comes_twice_in_another_order(seed: int) -> None:
    with Cloud.in_process(with_bus(JOB)) as cloud:
        for number in range(12):
            publish(cloud, "lot.made", {"data": {"id": number}})
        cloud.drain(twice=True, shuffle=seed)
        ids = [body["id"] for body in bodies()]
        assert sorted(ids) == sorted([*range(12), *range(12)])
        assert ids != [*range(12), *range(12)]


def test_delayed_messages_come_at_once_unless_they_are_to_wait() -> None:
    with Cloud.in_process(small()) as cloud:
        url = cloud.stack.sources[0].queue_url
        cloud.client("sqs").send_message(QueueUrl=url, MessageBody='"late"', DelaySeconds=900)
        cloud.drain(delayed=False)
        assert bodies() == []
        cloud.drain()
        assert bodies() == ["late"]
