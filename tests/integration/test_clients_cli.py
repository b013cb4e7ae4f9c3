"""The command line for API clients, from its arguments to the token that a client gets or does not get."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions.domain.voucher import DAY_S
from infra import clients
from tests.integration.conftest import Clock, Log
from tests.integration.kami import Caller, Kami, granted, refused

Run = Callable[..., str]
STACK = "kami-dev"


@pytest.fixture
def run(kami: Kami, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command as an engineer would who holds AWS credentials; returns what it printed."""

    def command(*arguments: str) -> str:
        return _run(arguments, monkeypatch, capsys)

    with kami.cloud.environment("authorize"):
        monkeypatch.setattr(clients, "_aws", kami.cloud.client)
        yield command


def _run(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["infra.clients", *arguments])
    with pytest.raises(SystemExit) as exited:
        clients.main()
    printed = capsys.readouterr()
    if exited.value.code:
        raise AssertionError(f"{exited.value.code} {printed.err}")
    return printed.out


def created(run: Run, *more: str) -> dict[str, Any]:
    client: dict[str, Any] = json.loads(run("create", "--role", "merchant", "--name", "Shop 12", "--json", *more))
    return client


def caller(kami: Kami, client: dict[str, Any]) -> Caller:
    return Caller(kami.cloud, client["client_id"], client["client_secret"])


def test_a_client_that_was_created_gets_a_token(kami: Kami, run: Run) -> None:
    client = created(run)
    token = granted(caller(kami, client).sign_in())
    assert token["scope"] == "vouchers:verify vouchers:redeem messages webhooks"
    assert (client["tenant"], client["trusted"]) == (client["client_id"], False)


def test_tenant_and_trust_are_as_told(run: Run) -> None:
    client = created(run, "--tenant", "shops", "--trusted")
    assert (client["tenant"], client["trusted"]) == ("shops", True)


def test_a_client_of_the_sandbox_has_a_tenant_there(run: Run) -> None:
    client = created(run, "--tenant", "shops", "--sandbox")
    assert (client["tenant"], client["sandbox"]) == ("sandbox-shops", True)
    assert created(run, "--tenant", "shops")["sandbox"] is False


def test_a_secret_is_printed_once_and_nowhere_else(kami: Kami, run: Run, log: Log) -> None:
    first, second = run("create", "--role", "operator", "--name", "Ops 运营").splitlines()
    assert first.split()[0] == "client_id"
    secret = second.split()[1]
    assert second == f"client_secret  {secret}"
    assert secret not in run("list")
    assert secret not in run("list", "--json")
    assert secret not in str(kami.items())
    assert secret not in log.text


def test_the_engineers_identity_is_on_record(kami: Kami, run: Run) -> None:
    client = created(run)
    identity = kami.cloud.client("sts").get_caller_identity()["Arn"]
    run("revoke", client["client_id"])
    (item,) = (item for item in kami.items().values() if item.get("client_id") == {"S": client["client_id"]})
    last = item["last"]["M"]
    assert (last["command"]["S"], last["client"]["S"]) == ("revoke_client", identity)


def test_an_old_secret_is_accepted_as_long_as_told(kami: Kami, run: Run, clock: Clock) -> None:
    first = created(run)
    second = json.loads(run("rotate", first["client_id"], "--old-valid-for", "90m", "--json"))
    third_party = caller(kami, first), caller(kami, second)
    for each in third_party:
        granted(each.sign_in())
    clock.advance(90 * 60)
    refused(third_party[0].sign_in(), 401, "invalid_client")
    granted(third_party[1].sign_in())


def test_an_old_secret_can_end_at_once(kami: Kami, run: Run) -> None:
    first = created(run)
    second = json.loads(run("rotate", first["client_id"], "--old-valid-for", "0s", "--json"))
    refused(caller(kami, first).sign_in(), 401, "invalid_client")
    granted(caller(kami, second).sign_in())


def test_a_revoked_client_gets_no_token_and_no_secret(kami: Kami, run: Run) -> None:
    client = created(run)
    assert run("revoke", client["client_id"]).startswith(f"{client['client_id']} is revoked since 20")
    refused(caller(kami, client).sign_in(), 401, "invalid_client")
    with pytest.raises(AssertionError, match="is revoked; create another one"):
        run("rotate", client["client_id"])


def test_the_list_has_every_client_newest_first(run: Run, clock: Clock) -> None:
    clock.advance(DAY_S)  # past all that other tests made
    older = created(run)
    clock.advance(1)
    newer = created(run)
    rows = json.loads(run("list", "--json"))
    assert [row["client_id"] for row in rows[:2]] == [newer["client_id"], older["client_id"]]
    assert rows[0] == {name: value for name, value in newer.items() if name != "client_secret"}
    assert run("list").splitlines()[0].split("\t")[:3] == [newer["client_id"], "Shop 12", "merchant"]


@pytest.mark.parametrize(("arguments", "told"), [
    (("create", "--role", "king", "--name", "x"), "one of operator, approver"),
    (("create", "--role", "merchant"), "--name"),
    (("rotate", "merchant-1", "--old-valid-for", "soon"), "like 24h, 90m or 0s"),
    (("rotate", "merchant-1", "--old-valid-for", "31d"), "at most 30d"),
    (("rotate", "merchant-1"), "There is no client merchant-1"),
    (("revoke", "m" * 3_000), "There is no client"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_in_a_sentence(run: Run, arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(AssertionError) as failed:
        run(*arguments)
    assert told in " ".join(str(failed.value).replace("│", "").split())


def test_help_needs_no_deployment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TABLE_NAME")
    assert "--role" in run("create", "--help")


def test_the_table_is_that_of_the_environments_stack(kami: Kami, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = kami.cloud.stack.tables
    monkeypatch.delenv("TABLE_NAME")
    with pytest.raises(AssertionError, match=f"AWS: .*{STACK}"):
        run("list")
    outputs = {"TableName": {"Value": table}}
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}, "Outputs": outputs}
    kami.cloud.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(template))
    assert created(run)["client_id"] in run("list")
    with pytest.raises(AssertionError, match="kami-prod"):
        run("--env", "prod", "list")
    assert run("--env", "prod", "--table", table, "list") == run("list")
