"""The stream's event source: batches in order, filters, partial failures, halving, retries, and what is set aside."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.cloud import Cloud
from infra.local.engines import dynamodb_local
from infra.local.streams import StreamPump
from infra.local.template import TemplateError
from tests.infra.local_functions.worker.handler import ANSWERS, SEEN
from tests.infra.local_small import RESOURCES, TABLE_ARN, Document, allow, small

STREAM_ARN = {"Fn::GetAtt": ["Table", "StreamArn"]}
OBJECTS = {"Fn::Join": ["", [{"Fn::GetAtt": ["Bucket", "Arn"]}, "/*"]]}
STREAMS = {"Fn::Join": ["", [TABLE_ARN, "/stream/*"]]}
GRANTS = [
    allow(["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"], STREAM_ARN),
    allow(["dynamodb:ListStreams"], STREAMS),
    allow(["s3:ListBucket"], {"Fn::GetAtt": ["Bucket", "Arn"]}),
    allow(["s3:PutObject"], OBJECTS),
    allow(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], {"Fn::GetAtt": ["Queue", "Arn"]}),
]
FEED: Document = {
    "EventSourceArn": STREAM_ARN,
    "FunctionName": {"Ref": "Worker"},
    "StartingPosition": "TRIM_HORIZON",
    "BatchSize": 4,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "BisectBatchOnFunctionError": True,
    "MaximumRetryAttempts": 2,
    "FilterCriteria": {"Filters": [{"Pattern": '{"dynamodb": {"NewImage": {"entity": {"S": ["lot"]}}}}'}]},
    "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["Bucket", "Arn"]}}},
}


def streaming(grants: list[Document] = GRANTS, **changes: Any) -> Any:
    """The small template with a stream; a change to None leaves a property of the mapping out."""
    feed = {name: value for name, value in {**FEED, **changes}.items() if value is not None}
    return small(
        Table__StreamSpecification={"StreamViewType": "NEW_AND_OLD_IMAGES"},
        Bucket={"Type": "AWS::S3::Bucket", "Properties": {}},
        Policy__PolicyDocument={"Statement": grants},
        StreamFeed={"Type": "AWS::Lambda::EventSourceMapping", "Properties": feed},
    )


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()
    ANSWERS.clear()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud.in_process(streaming()) as running:
        yield running


def put(cloud: Cloud, *names: str, entity: str = "lot", version: int = 1, **more: Any) -> None:
    for name in names:
        item = {"pk": {"S": name}, "sk": {"S": "x"}, "entity": {"S": entity}, "version": {"N": str(version)}, **more}
        cloud.client("dynamodb").put_item(TableName="Table", Item=item)


def names(event: dict[str, Any]) -> str:
    return "".join(record["dynamodb"]["Keys"]["pk"]["S"] for record in event["Records"])


def seen() -> list[str]:
    return [names(event) for event in SEEN]


def set_aside(cloud: Cloud) -> list[dict[str, Any]]:
    s3 = cloud.client("s3")
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="bucket").get("Contents", [])]
    return [json.loads(s3.get_object(Bucket="bucket", Key=key)["Body"].read()) for key in keys]


def failing(name: str) -> Any:
    def answer(event: dict[str, Any]) -> Any:
        failed = [r for r in event["Records"] if r["dynamodb"]["Keys"]["pk"]["S"] == name]
        return {"batchItemFailures": [{"itemIdentifier": r["dynamodb"]["SequenceNumber"]} for r in failed]}

    return answer


def raising(name: str) -> Any:
    def answer(event: dict[str, Any]) -> Any:
        if name in names(event):
            raise LookupError(name)

    return answer


def test_records_come_in_order_and_in_batches(cloud: Cloud) -> None:
    put(cloud, *"abcdef")
    cloud.drain()
    cloud.drain()
    assert seen() == ["abcd", "ef"]


def test_a_record_has_the_shape_of_dynamodb(cloud: Cloud) -> None:
    put(cloud, "a", secret={"B": b"\0\1"}, parts={"L": [{"M": {"key": {"B": b"\2"}}}]})
    put(cloud, "a", version=2, nothing={"M": {}})
    cloud.drain()
    first, second = SEEN[0]["Records"]
    assert (first["eventName"], second["eventName"]) == ("INSERT", "MODIFY")
    assert (first["eventSource"], first["awsRegion"]) == ("aws:dynamodb", "us-east-1")
    assert first["eventSourceARN"] == cloud.stack.streams[0].stream_arn
    assert first["eventID"] != second["eventID"]
    change = second["dynamodb"]
    assert change["Keys"] == {"pk": {"S": "a"}, "sk": {"S": "x"}}
    assert change["OldImage"]["secret"] == {"B": "AAE="}
    assert change["OldImage"]["parts"] == {"L": [{"M": {"key": {"B": "Ag=="}}}]}
    assert change["NewImage"]["nothing"] == {"M": {}}
    assert change["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert abs(change["ApproximateCreationDateTime"] - time.time()) < 60
    assert int(change["SequenceNumber"]) > int(first["dynamodb"]["SequenceNumber"])


def test_a_page_of_which_nothing_passes_the_filter_is_not_the_end(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.local.streams.READ_MAX", 2)
    put(cloud, *"abcd", entity="other")
    put(cloud, "e")
    cloud.drain()
    assert seen() == ["e"]


def test_the_filter_lets_only_causes_of_events_through(cloud: Cloud) -> None:
    put(cloud, "a")
    put(cloud, "b", entity="history")
    cloud.client("dynamodb").delete_item(TableName="Table", Key={"pk": {"S": "a"}, "sk": {"S": "x"}})
    cloud.drain()
    assert seen() == ["a"]


def test_a_put_that_changes_nothing_is_no_record(cloud: Cloud) -> None:
    put(cloud, "a", "a")
    cloud.drain()
    assert seen() == ["a"]


def test_a_batch_goes_on_from_its_first_failure(cloud: Cloud) -> None:
    ANSWERS[:] = [failing("b"), failing("-")]
    put(cloud, *"abcd")
    cloud.drain()
    assert seen() == ["abcd", "bcd"]
    assert set_aside(cloud) == []


def test_a_failure_at_the_head_is_tried_again_until_the_retries_are_used_up_and_then_all_of_it_is_set_aside(
    cloud: Cloud,
) -> None:
    ANSWERS[:] = [failing("a")] * 3
    put(cloud, *"abcdef")
    cloud.drain()
    assert seen() == ["abcd", "abcd", "abcd", "ef"]
    (record,) = set_aside(cloud)
    assert names(json.loads(record["payload"])) == "abcd"


def test_a_batch_that_raises_is_halved_until_the_culprit_is_alone_and_it_alone_is_set_aside(cloud: Cloud) -> None:
    ANSWERS[:] = [raising("c")] * 20
    put(cloud, *"abcdef")
    cloud.drain()
    assert seen() == ["abcd", "ab", "cd", "c", "c", "c", "d", "ef"]
    (record,) = set_aside(cloud)
    assert names(json.loads(record["payload"])) == "c"


def test_without_halving_all_of_a_batch_that_raises_is_set_aside() -> None:
    ANSWERS[:] = [raising("c")] * 20
    with Cloud.in_process(streaming(BisectBatchOnFunctionError=None)) as cloud:
        put(cloud, *"abcdef")
        cloud.drain()
        assert seen() == ["abcd", "abcd", "abcd", "ef"]


def test_what_is_set_aside_has_the_records_and_lambdas_shape(cloud: Cloud) -> None:
    ANSWERS[:] = [raising("a")] * 3
    put(cloud, "a")
    cloud.drain()
    (record,) = set_aside(cloud)
    assert json.loads(record["payload"]) == SEEN[-1]
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestContext"]["functionArn"].endswith(":function:Worker:$LATEST")
    batch = record["DDBStreamBatchInfo"]
    number = SEEN[-1]["Records"][0]["dynamodb"]["SequenceNumber"]
    assert (batch["startSequenceNumber"], batch["endSequenceNumber"], batch["batchSize"]) == (number, number, 1)
    assert batch["streamArn"] == cloud.stack.streams[0].stream_arn


def test_records_that_are_too_old_are_set_aside_untried(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    with Cloud.in_process(streaming(MaximumRecordAgeInSeconds=60)) as cloud:
        put(cloud, *"ab")
        monkeypatch.setattr("infra.local.streams.time.time", lambda: now + 120)
        cloud.drain()
        assert seen() == []
        (record,) = set_aside(cloud)
        assert record["requestContext"]["condition"] == "RecordAgeExceeded"


def test_without_partial_failures_a_report_means_nothing() -> None:
    ANSWERS[:] = [failing("a")]
    with Cloud.in_process(streaming(FunctionResponseTypes=None)) as cloud:
        put(cloud, "a")
        cloud.drain()
        assert seen() == ["a"]


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_and_twice_each_record_comes_twice_and_those_of_an_item_in_order(cloud: Cloud, seed: int) -> None:
    for version in range(4):
        put(cloud, *"abc", version=version)
    cloud.drain(twice=True, shuffle=seed)
    records = [record["dynamodb"] for event in SEEN for record in event["Records"]]
    assert len(records) == 24
    for name in "abc":
        versions = [int(r["NewImage"]["version"]["N"]) for r in records if r["Keys"]["pk"]["S"] == name]
        firsts = list(dict.fromkeys(versions))
        assert firsts == [0, 1, 2, 3]
        assert sorted(versions) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_lanes_keep_the_order_of_an_item() -> None:
    with Cloud.in_process(streaming(ParallelizationFactor=3, BatchSize=2)) as cloud:
        for version in range(5):
            put(cloud, *"abcd", version=version)
        cloud.drain()
        records = [record["dynamodb"] for event in SEEN for record in event["Records"]]
        for name in "abcd":
            versions = [int(r["NewImage"]["version"]["N"]) for r in records if r["Keys"]["pk"]["S"] == name]
            assert versions == [0, 1, 2, 3, 4]


def test_a_replay_begins_anew(cloud: Cloud) -> None:
    put(cloud, *"ab")
    cloud.drain()
    cloud.replay()
    cloud.drain()
    assert seen() == ["ab", "ab"]


def test_the_pump_runs_until_it_is_stopped_and_takes_up_a_change_at_once(cloud: Cloud) -> None:
    (pump,) = cloud.stream_pumps
    stop = threading.Event()
    thread = threading.Thread(target=pump.run, args=(stop,))
    thread.start()
    took = []
    for name in "abc":
        put(cloud, name)
        began = time.monotonic()
        while name not in "".join(seen()) and time.monotonic() < began + 20:
            time.sleep(0.01)
        took.append(time.monotonic() - began)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert seen() == ["a", "b", "c"]
    assert min(took) < 1


@pytest.mark.parametrize("missing", ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"])
def test_without_a_grant_the_poller_is_denied(missing: str) -> None:
    narrow = [
        {**statement, "Action": [action for action in statement["Action"] if action != f"dynamodb:{missing}"]}
        for statement in GRANTS
    ]
    with (
        Cloud.in_process(streaming([one for one in narrow if one["Action"]])) as cloud,
        pytest.raises(ClientError, match=f"dynamodb:{missing}"),
    ):
        cloud.drain()


def test_the_poller_acts_in_the_functions_role_and_needs_all_that_it_is_granted(cloud: Cloud) -> None:
    ANSWERS[:] = [raising("a")] * 3
    put(cloud, "a")
    cloud.drain()
    needed = {request.action for request in cloud.calls["worker"]}
    assert needed >= {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"}
    assert needed >= {"dynamodb:ListStreams", "s3:ListBucket", "s3:PutObject"}


def test_dynamodb_locals_stream_is_read_the_same() -> None:
    with dynamodb_local() as endpoint, Cloud.in_process(streaming(), dynamodb=endpoint) as cloud:
        put(cloud, "a", secret={"B": b"\0\1"}, nothing={"M": {}})
        put(cloud, "b", entity="history")
        put(cloud, "a", version=2)
        put(cloud, "a", version=2)
        cloud.drain()
        assert seen() == ["aa"]
        first, second = (record["dynamodb"] for record in SEEN[0]["Records"])
        assert first["NewImage"]["secret"] == {"B": "AAE="}
        assert first["NewImage"]["nothing"] == {"M": {}}
        assert second["OldImage"]["version"] == {"N": "1"}
        cloud.replay()
        cloud.drain(twice=True, shuffle=1)
        assert "".join(seen()) == "aa" * 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"StartingPosition": "LATEST"}, "TRIM_HORIZON"),
        ({"TumblingWindowInSeconds": 5}, "TumblingWindowInSeconds"),
        ({"FilterCriteria": {"Filters": [{"Pattern": '{"eventName": [{"wildcard": "I*"}]}'}]}}, "wildcard"),
        ({"DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["Queue", "Arn"]}}}}, "no bucket"),
        ({"EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]}}, "mean nothing"),
    ],
)
def test_what_is_not_understood_is_refused(changes: Document, said: str) -> None:
    with pytest.raises(TemplateError, match=said), Cloud.in_process(streaming(**changes)):
        pass


def test_the_two_ways_to_step_agree_on_nothing_to_do(cloud: Cloud) -> None:
    (pump,) = cloud.stream_pumps
    assert isinstance(pump, StreamPump)
    assert pump.step() is False
    assert pump.step(twice=True, shuffle=Random(1)) is False
    assert RESOURCES["Table"]["Properties"].get("StreamSpecification") is None
