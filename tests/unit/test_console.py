"""console by itself: what a browser is allowed, which methods a path knows, and how little is imported for it."""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from functions.console.handler import FILES, handle
from functions.edge.routes import ROUTES


def asked(route_key: str, path: str = "/", **headers: str) -> dict[str, Any]:
    event = {
        "routeKey": route_key,
        "rawPath": path,
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "requestContext": {"requestId": "request-1"},
    }
    response = handle(event, None)
    assert response["headers"]["X-Request-Id"] == "request-1"
    return response


def test_every_route_of_console_has_its_file() -> None:
    assert set(FILES) == {route.key for route in ROUTES if route.function == "console"}


@pytest.mark.parametrize("route_key", ["GET /", "GET /docs"])
def test_a_page_may_use_its_own_style_and_nothing_else(route_key: str) -> None:
    response = asked(route_key)
    (style,) = re.findall(r"<style>(.*?)</style>", response["body"], re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = response["headers"]["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_one_answer_does_not_leak_into_the_next() -> None:
    asked("GET /docs")["headers"]["X-Request-Id"] = "changed"
    assert asked("GET /docs")["headers"]["X-Request-Id"] == "request-1"


@pytest.mark.parametrize("known", ["{tag}", "W/{tag}", '"other", {tag}', "*"])
def test_a_known_page_is_not_sent_again(known: str) -> None:
    tag = asked("GET /docs")["headers"]["ETag"]
    response = asked("GET /docs", if_none_match=known.format(tag=tag))
    assert (response["statusCode"], response["body"], response["headers"]["ETag"]) == (304, "", tag)


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
def test_another_method_is_answered_with_the_routes_own(path: str) -> None:
    response = asked("$default", re.sub(r"{.*?}", "some-id", path))
    assert response["statusCode"] == 405
    assert response["headers"]["Allow"] == ", ".join(route.method for route in ROUTES if route.path == path)


def test_answering_a_page_imports_neither_aws_nor_models() -> None:
    heavy = {"botocore.session", "boto3", "pydantic", "cryptography"}
    program = f"import sys, functions.console.handler; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
