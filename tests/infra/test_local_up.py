"""`make up` as a person uses it: it comes up, tells where things are, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from functions.authorize.clients import ROLES
from infra.local.template import ROOT, synthesized

pytestmark = pytest.mark.xdist_group("up")
UP_AFTER_S = 60.0
SECOND_START_MAX_S = 10.0
"""Counted in CPU time, which other tests on this machine do not lengthen."""
DOWN_AFTER_S = 20.0


@contextmanager
def up(tmp_path: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    whereabouts = tmp_path / "local.json"
    log = (tmp_path / "up.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.local.up"],
        cwd=ROOT,
        env={**os.environ, "KAMI_PORT": "0", "KAMI_WHEREABOUTS": str(whereabouts), **environment},
        stdout=log,
        stderr=log,
    )
    try:
        yield process, whereabouts
    finally:
        process.kill()
        process.wait()
        log.close()


def ready(process: subprocess.Popen[bytes], whereabouts: Path) -> dict[str, Any]:
    until = time.monotonic() + UP_AFTER_S
    while process.poll() is None and time.monotonic() < until:
        if whereabouts.exists() and whereabouts.read_text().endswith("}\n"):
            known: dict[str, Any] = json.loads(whereabouts.read_text())
            try:
                urllib.request.urlopen(known["api_url"] + "/health", timeout=5).close()
            except OSError:
                continue
            return known
        time.sleep(0.05)
    raise AssertionError((whereabouts.parent / "up.log").read_text())


def token(known: dict[str, Any], role: str) -> str:
    client = known["clients"][role]
    form = f"grant_type=client_credentials&client_id={client['client_id']}&client_secret={client['client_secret']}"
    with urllib.request.urlopen(known["api_url"] + "/v1/tokens", form.encode(), timeout=30) as reply:
        answer: dict[str, str] = json.load(reply)
    return answer["access_token"]


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def cpu_s(pid: int) -> int:
    return int(subprocess.run(["ps", "-o", "cputimes=", "-p", str(pid)], capture_output=True, check=True).stdout)


def test_it_comes_up_within_ten_seconds_serves_and_leaves_nothing(tmp_path: Path) -> None:
    synthesized()
    with up(tmp_path) as (process, whereabouts):
        known = ready(process, whereabouts)
        assert cpu_s(process.pid) < SECOND_START_MAX_S
        assert whereabouts.stat().st_mode & 0o777 == 0o600
        assert set(known["clients"]) == set(ROLES)
        assert token(known, "operator")
        with pytest.raises(urllib.error.HTTPError, match="404") as unknown:
            urllib.request.urlopen(known["api_url"] + "/nothing", timeout=30)
        assert unknown.value.headers["content-type"] == "application/problem+json"
        unknown.value.close()
        instances = children(process.pid)
        assert instances
        process.send_signal(signal.SIGTERM)
        assert process.wait(DOWN_AFTER_S) == 0
        assert not whereabouts.exists()
        for pid in instances:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
    printed = (tmp_path / "up.log").read_text()
    for role, client in known["clients"].items():
        assert role in printed
        assert client["client_secret"] in printed
    assert "curl" in printed


def test_a_signal_while_it_starts_stops_it_cleanly(tmp_path: Path) -> None:
    with up(tmp_path) as (process, whereabouts):
        until = time.monotonic() + UP_AFTER_S
        while not (tmp_path / "up.log").read_text() and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(DOWN_AFTER_S) == 0
        assert not whereabouts.exists()
    assert "Traceback" not in (tmp_path / "up.log").read_text()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"ENGINE": "sqlite"}, "ENGINE=sqlite is not known; it is one of moto, dynamodb-local"),
        ({"KAMI_PORT": "eighty"}, "KAMI_PORT=eighty is not a port number"),
        ({"KAMI_PORT": "70000"}, "KAMI_PORT=70000 is not a port number"),
    ],
)
def test_wrong_settings_are_said_plainly(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    with up(tmp_path, **environment) as (process, _):
        assert process.wait(UP_AFTER_S) == 1
    assert (tmp_path / "up.log").read_text().strip() == said


def test_a_busy_port_is_said_plainly(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        with up(tmp_path, KAMI_PORT=port) as (process, _):
            assert process.wait(UP_AFTER_S) == 1
    said = (tmp_path / "up.log").read_text()
    assert f"Port {port} of 127.0.0.1 is busy" in said
    assert "KAMI_PORT" in said


def test_one_handler_is_run_on_one_event(tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(
        json.dumps(
            {
                "version": "2.0",
                "routeKey": "GET /v1/campaigns/{id}",
                "rawPath": "/v1/campaigns/none",
                "pathParameters": {"id": "none"},
                "headers": {"authorization": "Bearer ${token:operator}"},
                "requestContext": {"requestId": "r", "http": {"method": "GET", "sourceIp": "192.0.2.1"}},
                "isBase64Encoded": False,
            }
        )
    )
    command = [sys.executable, "-m", "infra.local.invoke", str(event)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statusCode"] == 404  # not 401: the token was good
    missing = subprocess.run([*command[:-1], "nothing.json"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert missing.returncode == 1
    assert "usage: make invoke" in missing.stderr
