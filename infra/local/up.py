"""`make up`: the whole of Kami on this machine, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rich.console import Console

from functions.authorize.clients import ROLES, find
from infra.local import carriers, engines, server
from infra.local.cloud import Cloud
from infra.local.material import Material
from infra.local.template import STATE, Template, TemplateError, synthesized

PORT_DEFAULT: Final = 8787
PORT_MAX: Final = 65_535
ENGINES: Final = ("moto", "dynamodb-local")
PUMP_STOP_S: Final = 5.0
WHEREABOUTS: Final = Path(os.environ.get("KAMI_WHEREABOUTS") or STATE / "local.json")
"""Where things are; it holds the demo clients' secrets, so only its owner may read it. (Tests put it elsewhere.)"""
KEPT: Final = WHEREABOUTS.parent / "dynamodb-local"
"""What `ENGINE=dynamodb-local` keeps over restarts: the table, the keys' material, the demo clients."""

FIRST_COMMAND: Final = """\
  curl -s {api_url}/v1/tokens -u '{client_id}:{client_secret}' -d grant_type=client_credentials"""

Credentials = dict[str, dict[str, str]]


class Stopped(BaseException):
    """SIGINT or SIGTERM came."""


def _stop(number: int, frame: FrameType | None) -> None:
    for heard in (signal.SIGINT, signal.SIGTERM):
        signal.signal(heard, signal.SIG_IGN)  # once is enough: nothing may interrupt the cleaning up
    raise Stopped


def _write(path: Path, content: Any) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2) + "\n")


def _clients(cloud: Cloud, kept: Path | None) -> Credentials:
    """One demo client per role: those of the last time if the table still has them, else new ones."""
    if kept and kept.exists():
        known: Credentials = json.loads(kept.read_text())
        with cloud.environment("authorize"):
            if set(known) == set(ROLES) and all(find(client["client_id"]) for client in known.values()):
                return known
    made = {}
    for role in sorted(ROLES):
        client_id, client_secret = cloud.demo_client(role)
        made[role] = {"client_id": client_id, "client_secret": client_secret}
    if kept:
        _write(kept, made)
    return made


@contextmanager
def _cloud(template: Template, engine: str, console: Console) -> Iterator[tuple[Cloud, Credentials]]:
    with ExitStack() as stack:
        endpoint = material = kept = None
        if engine == "dynamodb-local":
            console.print("Starting DynamoDB Local")
            endpoint = stack.enter_context(engines.dynamodb_local(KEPT))
            material, kept = Material(KEPT / "material.json"), KEPT / "clients.json"
        console.print("Creating the template's resources")
        cloud = stack.enter_context(Cloud.in_processes(template, dynamodb=endpoint, material=material))
        console.print("Creating a demo client per role")
        clients = _clients(cloud, kept)
        for name in carriers.NAMES:
            cloud.carriers.set(name, "none", receipts="prompt")
        stopping = threading.Event()
        pumps = [threading.Thread(target=pump.run, args=(stopping,), daemon=True) for pump in cloud.pumps()]
        for pump in pumps:
            pump.start()
            stack.callback(pump.join, PUMP_STOP_S)
        stack.callback(stopping.set)
        yield cloud, clients


def _announce(console: Console, whereabouts: dict[str, Any], seconds: float) -> None:
    console.print(f"\n[bold green]Kami is up[/] after {seconds:.1f} s. Ctrl-C stops it.\n")
    console.print(f"  API             {whereabouts['api_url']}")
    console.print(f"  Documentation   {whereabouts['api_url']}/docs")
    console.print(f"  AWS endpoint    {whereabouts['aws_endpoint_url']}   (for aws --endpoint-url)")
    if "dynamodb_endpoint_url" in whereabouts:
        console.print(f"  DynamoDB Local  {whereabouts['dynamodb_endpoint_url']}")
    console.print(f"  All of this     {WHEREABOUTS}\n  Logs            {STATE / 'logs'}\n")
    console.print("Demo clients (client_id and client_secret):")
    for role, client in whereabouts["clients"].items():
        console.print(f"  {role:<10} {client['client_id']}  {client['client_secret']}")
    console.print(
        f"\nSMS go to simulated carriers ({', '.join(carriers.NAMES)}); retries begin at {carriers.RETRY_BASE_S} s:"
    )
    console.print(f"  curl -s {whereabouts['api_url']}/local/phones/+8613812345678")
    console.print(
        f'  curl -s -X PUT {whereabouts["api_url"]}/local/carriers/north -d \'{{"fault": "down"}}\'', markup=False
    )
    console.print(f"  (faults: {', '.join(carriers.FAULTS)}; receipts: {', '.join(carriers.RECEIPTS)})")
    first = FIRST_COMMAND.format(api_url=whereabouts["api_url"], **whereabouts["clients"]["operator"])
    console.print("\nTry a token for the operator:")
    console.print(first, markup=False)


def run(port: int, engine: str, console: Console) -> None:
    """Brings everything up, serves until a signal, and takes everything down again."""
    started = time.monotonic()
    try:
        listener = server.bind(port)
    except OSError as error:
        raise SystemExit(
            f"Port {port} of 127.0.0.1 is busy ({error.strerror}): stop what uses it, or set KAMI_PORT"
        ) from None
    with listener:
        template = synthesized(say=console.print)
        with _cloud(template, engine, console) as (cloud, clients):
            whereabouts = {
                "api_url": f"http://127.0.0.1:{listener.getsockname()[1]}",
                "aws_endpoint_url": cloud.endpoints["AWS_ENDPOINT_URL"],
                "clients": clients,
                "outputs": cloud.stack.outputs,
            }
            if endpoint := cloud.endpoints.get("AWS_ENDPOINT_URL_DYNAMODB"):
                whereabouts["dynamodb_endpoint_url"] = endpoint
            _write(WHEREABOUTS, whereabouts)
            _announce(console, whereabouts, time.monotonic() - started)
            try:
                _serve(cloud, listener)
            finally:
                console.print("\nStopping")
                WHEREABOUTS.unlink(missing_ok=True)


def _serve(cloud: Cloud, listener: socket.socket) -> None:
    serving = server.server(cloud.gateway, cloud.own)
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while thread.is_alive():
            thread.join(1)
    finally:
        serving.should_exit = True
        thread.join()


def main() -> None:
    """Reads KAMI_PORT and ENGINE; exits with 1 and a sentence where it cannot start."""
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    port, engine = os.environ.get("KAMI_PORT") or str(PORT_DEFAULT), os.environ.get("ENGINE") or "moto"
    if engine not in ENGINES:
        sys.exit(f"ENGINE={engine} is not known; it is one of {', '.join(ENGINES)}")
    if not port.isdecimal() or int(port) > PORT_MAX:
        sys.exit(f"KAMI_PORT={port} is not a port number")
    try:
        run(int(port), engine, console)
    except Stopped:
        console.print("Stopped")
    except (TemplateError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
