"""API clients of a deployment, for engineers who hold AWS credentials.

A secret is printed once, when it is made, and kept nowhere but hashed.

Credentials, region and endpoint are AWS's own: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and so on.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Final

import botocore.session
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from functions.authorize import clients
from functions.domain import stepup
from functions.domain.actor import ROLES, By, Client
from functions.domain.errors import Refusal
from functions.domain.times import rfc3339
from functions.edge import clock
from functions.store.stepup import AUTHENTICATOR_KEY_ARN
from functions.store.table import TABLE_NAME
from infra.local.template import REGION, STATE

WHEREABOUTS: Final = STATE / "local.json"
ENV_DEFAULT: Final = "dev"
TABLE_OUTPUT: Final = "TableName"
"""The stack's output that names its table."""
KEY_OUTPUT: Final = "AuthenticatorKeyArn"
"""That which names the key of authenticators."""
ISSUER: Final = "Kami"
UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
OLD_VALID_FOR_DAYS_MAX: Final = 30

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Json = dict[str, Any]


def _known_role(role: str) -> str:
    if role not in ROLES:
        raise typer.BadParameter(f"It is one of {', '.join(ROLES)}.")
    return role


@dataclass(frozen=True, slots=True)
class Deployment:
    """Which table is meant; it is looked for only when a command needs it, so that every `--help` is answered."""

    env: str | None
    table: str | None
    local: bool

    def enter(self) -> None:
        """Set the environment that the store reads."""
        if self.local:
            enter_local_cloud()
        os.environ[TABLE_NAME] = self.table or self._found_table()

    def _found_table(self) -> str:
        if self.local:
            (only,) = _aws("dynamodb").list_tables()["TableNames"]
            return str(only)
        if self.env is None and TABLE_NAME in os.environ:
            return os.environ[TABLE_NAME]
        return _table_of(f"kami-{self.env or ENV_DEFAULT}")

    def enter_key(self) -> None:
        """Set the key that wraps what authenticators know."""
        if AUTHENTICATOR_KEY_ARN not in os.environ or self.local or self.env is not None:
            outputs = _local_outputs() if self.local else outputs_of(f"kami-{self.env or ENV_DEFAULT}")
            os.environ[AUTHENTICATOR_KEY_ARN] = outputs[KEY_OUTPUT]

    def engineer(self) -> By:
        """Who is recorded to act: the AWS identity, or this machine's user in the local cloud."""
        name = f"{getpass.getuser()}@local" if self.local else _aws("sts").get_caller_identity()["Arn"]
        return clients.by_engineer(name)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ClientId = Annotated[str, typer.Argument(metavar="ID", help="The client_id.", show_default=False)]


@app.callback()
def options(
    context: typer.Context,
    env: Annotated[
        str | None, typer.Option(help=f"Its stack is kami-ENV; by default ${TABLE_NAME} counts, or else {ENV_DEFAULT}.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="The table itself, without asking a stack.")] = None,
    local: Annotated[bool, typer.Option("--local", help="The local cloud that `make up` started.")] = False,
) -> None:
    context.obj = Deployment(env, table, local)


def _entered(context: typer.Context) -> Deployment:
    deployment: Deployment = context.obj
    deployment.enter()
    return deployment


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="For people: whose it is.", show_default=False)],
    role: Annotated[str, typer.Option(help=", ".join(ROLES), callback=_known_role, show_default=False)],
    tenant: Annotated[
        str | None, typer.Option(help="Whose data it sees; by default the operator's, or one of its own.")
    ] = None,
    trusted: Annotated[bool, typer.Option("--trusted", help="It may state its customers' addresses.")] = False,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="It uses vouchers of sandbox campaigns, and no others.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create a client and print its secret."""
    by = _entered(context).engineer()
    made = clients.create(name, role, clock.now(), tenant, trusted=trusted, sandbox=sandbox, by=by)
    _print_secret(*made, as_json=as_json)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the clients, newest first; tab-separated where the output is not a terminal."""
    _entered(context)
    rows = [_row(client) for client in clients.every()]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    elif sys.stdout.isatty():
        table = Table(*_row(Client("", "", "operator", "", (), 0)))
        for row in rows:
            table.add_row(*map(_shown, row.values()), style="dim" if row["revoked_at"] else None)
        Console().print(table)
    else:
        for row in rows:
            print(*map(_shown, row.values()), sep="\t")


@app.command()
def rotate(
    context: typer.Context,
    client_id: ClientId,
    old_valid_for: Annotated[
        str, typer.Option(metavar="TIME", help="So long is the secret before still accepted: 24h, 90m, 0s.")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Give a client a new secret and print it; the one before is accepted for a while, older ones no more."""
    old_valid_for_s, by = _seconds(old_valid_for), _entered(context).engineer()
    _print_secret(*clients.rotate(client_id, clock.now(), old_valid_for_s, by), as_json=as_json)


@app.command()
def revoke(context: typer.Context, client_id: ClientId, as_json: AsJson = False) -> None:
    """Refuse a client new tokens, for good; those it has die within 15 minutes."""
    row = _row(clients.revoke(client_id, clock.now(), _entered(context).engineer()))
    print(
        json.dumps(row, ensure_ascii=False, indent=2)
        if as_json
        else f"{client_id} is revoked since {row['revoked_at']}"
    )


@app.command()
def enrol(context: typer.Context, client_id: ClientId, as_json: AsJson = False) -> None:
    """Give a client a new authenticator (RFC 6238) in place of any it had, and print what its app takes."""
    deployment = _entered(context)
    deployment.enter_key()
    client, secret = clients.enrol(client_id, deployment.engineer())
    shown = stepup.uri(secret, client.client_id, ISSUER)
    print(json.dumps({**_row(client), "otpauth": shown}, ensure_ascii=False, indent=2) if as_json else shown)


@app.command()
def withdraw(context: typer.Context, client_id: ClientId) -> None:
    """Take a client's authenticator away."""
    clients.withdraw(client_id, _entered(context).engineer())
    print(f"{client_id} has no authenticator any more")


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,7})([smhd])", text)
    seconds = int(match[1]) * UNITS_S[match[2]] if match else -1
    if not 0 <= seconds <= OLD_VALID_FOR_DAYS_MAX * UNITS_S["d"]:
        raise typer.BadParameter(f"{text} is no time like 24h, 90m or 0s, of at most {OLD_VALID_FOR_DAYS_MAX}d.")
    return seconds


def _row(client: Client) -> Json:
    """What is shown of a client: all but its secrets."""
    ends = [secret.expires_at for secret in client.secrets if secret.expires_at is not None]
    return {
        "client_id": client.client_id,
        "name": client.name,
        "role": client.role,
        "tenant": client.tenant,
        "sandbox": client.is_sandbox,
        "trusted": client.trusted,
        "created_at": rfc3339(client.created_at),
        "old_secret_until": rfc3339(max(ends)) if ends else None,
        "revoked_at": rfc3339(client.revoked_at) if client.revoked_at is not None else None,
    }


def _shown(value: object) -> str:
    return {True: "yes", False: "", None: ""}[value] if isinstance(value, bool | None) else str(value)


def _print_secret(client: Client, secret: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**_row(client), "client_secret": secret}, ensure_ascii=False, indent=2))
        return
    print(f"client_id      {client.client_id}\nclient_secret  {secret}")
    if sys.stdout.isatty():
        print("Keep it now: it is not shown again.", file=sys.stderr)


def _aws(service: str) -> Any:
    return botocore.session.get_session().create_client(service)


def _table_of(stack: str) -> str:
    outputs = outputs_of(stack)
    if TABLE_OUTPUT not in outputs:
        raise SystemExit(f"The stack {stack} has no output {TABLE_OUTPUT}: name the table with --table.")
    return str(outputs[TABLE_OUTPUT])


def outputs_of(stack: str) -> dict[str, str]:
    """What a stack tells about itself."""
    (described,) = _aws("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def _local_outputs() -> dict[str, str]:
    outputs: dict[str, str] = json.loads(WHEREABOUTS.read_text())["outputs"]
    return outputs


def enter_local_cloud() -> Json:
    """Has all calls go to the local cloud; gives what `make up` wrote about it."""
    if not WHEREABOUTS.exists():
        raise SystemExit("The local cloud is not running: start it with `make up`.")
    told: Json = json.loads(WHEREABOUTS.read_text())
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    endpoints = {
        "AWS_ENDPOINT_URL": "aws_endpoint_url",
        "AWS_ENDPOINT_URL_DYNAMODB": "dynamodb_endpoint_url",
        "AWS_ENDPOINT_URL_LAMBDA": "api_url",
    }
    os.environ |= {name: told[place] for name, place in endpoints.items() if place in told}
    os.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": REGION}
    return told


def main() -> None:
    """Run a command; what is refused is a sentence and exit code 1."""
    try:
        app(prog_name="infra.clients")
    except Refusal as refusal:
        raise SystemExit(refusal.detail or refusal.problem.en) from None
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"AWS: {error}") from None


if __name__ == "__main__":
    main()
