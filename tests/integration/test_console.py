"""What console answers: the API's description, its pages, and what is no route."""

from __future__ import annotations

import json

import pytest

from functions.edge.routes import ROUTES
from infra.local.gateway import Answer
from tests.integration.kami import Kami, refused


def get(kami: Kami, path: str, **headers: str) -> Answer:
    return kami.cloud.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(("path", "content_type"), [
    ("/", "text/html; charset=utf-8"), ("/docs", "text/html; charset=utf-8"), ("/v1/openapi.json", "application/json"),
])  # fmt: skip
def test_a_page_is_answered_once_and_then_known_by_its_etag(kami: Kami, path: str, content_type: str) -> None:
    page = get(kami, path)
    assert (page.status, page.header("content-type")) == (200, content_type)
    assert page.header("x-request-id")
    tag = page.header("etag")
    assert tag
    again = get(kami, path, if_none_match=tag)
    assert (again.status, again.body) == (304, b"")
    assert get(kami, path, if_none_match='"another"').status == 200


def test_pages_load_nothing_from_elsewhere(kami: Kami) -> None:
    for path in ("/", "/docs"):
        page = get(kami, path)
        policy = page.header("content-security-policy")
        assert policy
        assert "default-src 'none'" in policy
        text = page.body.decode()
        assert "<script" not in text
        assert 'src="http' not in text
        assert "@import" not in text


def test_every_route_is_described(kami: Kami) -> None:
    described = json.loads(get(kami, "/v1/openapi.json").body)
    assert described["openapi"].startswith("3.1")
    found = {f"{method.upper()} {path}" for path, methods in described["paths"].items() for method in methods}
    assert found == {route.key for route in ROUTES}


@pytest.mark.parametrize("path", [
    "/nope", "/v1", "/v1/campaigns/", "/v1/campaigns/a/b", "/v2/campaigns", "//", "/v1/vouchers//", "/favicon.ico",
    "/v1/redemptions/a%2Fb/c", "/%00", "/" + "x" * 5_000,
])  # fmt: skip
def test_a_path_that_is_no_route_is_not_found(kami: Kami, path: str) -> None:
    refused(get(kami, path), 404, "not_found")


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "HEAD", "BREW"])
@pytest.mark.parametrize(("path", "allowed"), [
    ("/v1/campaigns", "POST, GET"), ("/v1/campaigns/cmp_1", "GET"), ("/v1/redemptions", "POST"), ("/docs", "GET"),
])  # fmt: skip
def test_another_method_is_refused_with_those_that_are_allowed(
    kami: Kami, method: str, path: str, allowed: str
) -> None:
    answer = kami.cloud.request(method, path)
    refused(answer, 405, "method_not_allowed")
    assert answer.header("allow") == allowed


@pytest.mark.parametrize(("language", "title", "content_language"), [
    ("zh-CN,zh;q=0.9,en;q=0.5", "资源不存在", "zh"),
    ("en", "There is no such thing here", "en"),
    ("", "There is no such thing here", "en"),
    ("\x00é", "There is no such thing here", "en"),
])  # fmt: skip
def test_problems_are_titled_in_the_callers_language(
    kami: Kami, language: str, title: str, content_language: str
) -> None:
    answer = get(kami, "/nope", accept_language=language)
    assert refused(answer, 404, "not_found")["title"] == title
    assert answer.header("content-language") == content_language
