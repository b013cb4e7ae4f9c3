"""The command line for API clients in the local cloud, found by what `make up` wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

from infra.local.cloud import Cloud
from infra.local.template import synthesized

PROGRAM = """
import sys, pathlib
from infra import clients
clients.WHEREABOUTS = pathlib.Path(sys.argv.pop(1))
clients.main()
"""


def run(whereabouts: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, str(whereabouts), "--local", *arguments]
    environment = {**os.environ, "AWS_PROFILE": "somebody", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_without_a_local_cloud_it_says_how_to_start_one(tmp_path: Path) -> None:
    done = run(tmp_path / "local.json", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "make up" in done.stderr


def test_a_client_created_there_gets_a_token_there(tmp_path: Path) -> None:
    whereabouts = tmp_path / "local.json"
    with Cloud.in_processes(synthesized()) as cloud:
        whereabouts.write_text(json.dumps({"aws_endpoint_url": cloud.endpoints["AWS_ENDPOINT_URL"]}))
        done = run(whereabouts, "create", "--role", "merchant", "--name", "Shop 12", "--json")
        assert done.returncode == 0, done.stderr
        client = json.loads(done.stdout)
        form = {"grant_type": "client_credentials", **{n: client[n] for n in ("client_id", "client_secret")}}
        headers = {"content-type": "application/x-www-form-urlencoded"}
        assert cloud.request("POST", "/v1/tokens", headers=headers, body=urlencode(form)).status == 200
        assert client["client_id"] in run(whereabouts, "list").stdout
