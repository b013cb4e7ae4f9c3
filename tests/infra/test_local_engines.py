"""DynamoDB Local: it starts, serves the template's table to handlers, and never outlives who started it."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from infra.local import engines
from infra.local.cloud import Cloud
from infra.local.material import Material
from infra.local.template import ROOT, Template
from tests.infra.local_small import RESOURCES, small

STARTER = """
import sys, time
from infra.local.engines import dynamodb_local
with dynamodb_local() as endpoint:
    print(endpoint, flush=True)
    time.sleep(60)
"""
GONE_AFTER_S = 10.0
KEY = {"pk": {"S": "USER#1"}, "sk": {"S": "x"}}


def answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=1).close()
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
    return True


def test_handlers_use_the_engine_in_their_role() -> None:
    with engines.dynamodb_local() as endpoint:
        table = engines.create_table(endpoint, small())
        assert engines.create_table(endpoint, small()) == table == "Table"
        for kind in (Cloud.in_process, Cloud.in_processes):
            with kind(small(), dynamodb=endpoint) as cloud:
                engines.client(endpoint).put_item(TableName=table, Item=KEY)
                assert cloud.invoke("echo", {"do": "read", "key": KEY}) == KEY
                assert len(cloud.calls["echo"]) == 1
                engines.client(endpoint).delete_item(TableName=table, Key=KEY)
                assert cloud.invoke("echo", {"do": "read", "key": KEY}) is None
    assert not answers(endpoint)


def test_a_table_that_was_kept_gets_the_indexes_that_came_since() -> None:
    with engines.dynamodb_local() as endpoint:
        dynamodb = engines.client(endpoint)
        table = engines.create_table(endpoint, small())
        dynamodb.put_item(TableName=table, Item={**KEY, "gsi2pk": {"S": "a"}, "gsi2sk": {"S": "b"}})
        engines.create_table(endpoint, with_another_index())
        entry = {":pk": {"S": "a"}}
        found = dynamodb.query(
            TableName=table, IndexName="gsi2", KeyConditionExpression="gsi2pk = :pk", ExpressionAttributeValues=entry
        )
        assert found["Count"] == 1


def with_another_index() -> Template:
    properties = RESOURCES["Table"]["Properties"]
    names = {"HASH": "gsi2pk", "RANGE": "gsi2sk"}
    schema = [{"AttributeName": name, "KeyType": kind} for kind, name in names.items()]
    index = {"IndexName": "gsi2", "KeySchema": schema, "Projection": {"ProjectionType": "KEYS_ONLY"}}
    attributes = [{"AttributeName": name, "AttributeType": "S"} for name in names.values()]
    return small(
        Table__GlobalSecondaryIndexes=[*properties["GlobalSecondaryIndexes"], index],
        Table__AttributeDefinitions=[*properties["AttributeDefinitions"], *attributes],
    )


def test_data_and_keys_survive_a_restart(tmp_path: Path) -> None:
    ciphertext = b""
    for attempt in range(2):
        material = Material(tmp_path / "material.json")
        with engines.dynamodb_local(tmp_path) as endpoint, Cloud._backends(small(), endpoint, material) as cloud:
            dynamodb, kms = cloud.client("dynamodb"), cloud.client("kms")
            if attempt == 0:
                dynamodb.put_item(TableName="Table", Item=KEY)
                ciphertext = kms.encrypt(KeyId="alias/small", Plaintext=b"x")["CiphertextBlob"]
            assert dynamodb.get_item(TableName="Table", Key=KEY)["Item"] == KEY
            assert kms.decrypt(CiphertextBlob=ciphertext)["Plaintext"] == b"x"
    assert (tmp_path / "material.json").stat().st_mode & 0o777 == 0o600


def test_the_engine_goes_with_its_parent_even_if_that_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTER], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    with parent.stdout as stdout:
        endpoint = stdout.readline().decode().strip()
        assert answers(endpoint)
        parent.kill()
        parent.wait()
    until = time.monotonic() + GONE_AFTER_S
    while answers(endpoint) and time.monotonic() < until:
        time.sleep(0.1)
    assert not answers(endpoint)


def test_a_missing_engine_is_said_plainly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engines, "HOME", tmp_path)
    with pytest.raises(RuntimeError, match="DynamoDB Local is not in"), engines.dynamodb_local():
        pass
