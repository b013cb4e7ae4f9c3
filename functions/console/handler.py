"""console: the API's description, its pages for people, and the answer to what is no route.

Without the rest of the edge on purpose: nobody's token is read here, and a page should not wait for its imports.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from functions.domain.errors import Refusal
from functions.edge.log import logger
from functions.edge.problems import problem
from functions.edge.routes import ROUTES

HERE = Path(__file__).parent
HTML = "text/html; charset=utf-8"
FILES = {
    "GET /": ("home.html", HTML),
    "GET /docs": ("docs.html", HTML),
    "GET /v1/openapi.json": ("openapi.json", "application/json"),
}
"""Route → file and content type. `python -m infra.openapi` makes the files."""
CACHED_FOR_S = 300


class Page(NamedTuple):
    """A file as it is answered."""

    body: str
    headers: dict[str, str]


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer a file, or a problem for the gateway's `$default`: a path or a method that no route has."""
    headers = event.get("headers") or {}
    if event["routeKey"] in FILES:
        response = _answer(_page(event["routeKey"]), headers.get("if-none-match", ""))
    else:
        response = _refuse(event["rawPath"], headers.get("accept-language", ""))
    request_id = event["requestContext"]["requestId"]
    response["headers"]["X-Request-Id"] = request_id
    logger.info(event["routeKey"], status=response["statusCode"], request_id=request_id)
    return response


@cache
def _page(route_key: str) -> Page:
    name, content_type = FILES[route_key]
    body = (HERE / name).read_text(encoding="utf-8")
    styles = [f"'sha256-{_digest(style)}'" for style in re.findall(r"<style>(.*?)</style>", body, re.DOTALL)]
    policy = {
        "default-src": "'none'",
        "style-src": " ".join(styles) or "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    headers = {
        "Content-Type": content_type,
        "ETag": f'"{_digest(body)}"',
        "Cache-Control": f"public, max-age={CACHED_FOR_S}",
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return Page(body, headers)


def _digest(text: str) -> str:
    return b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _answer(page: Page, known: str) -> dict[str, Any]:
    if page.headers["ETag"] in known or known.strip() == "*":
        kept = {name: page.headers[name] for name in ("ETag", "Cache-Control")}
        return {"statusCode": 304, "headers": kept, "body": ""}
    return {"statusCode": 200, "headers": dict(page.headers), "body": page.body}


def _refuse(path: str, language: str) -> dict[str, Any]:
    of_path = [route for route in ROUTES if _is_of(path, route.path)]
    literal = [route for route in of_path if route.path == path]  # the gateway prefers it, too
    allowed = [route.method for route in literal or of_path]
    if not allowed:
        return problem(Refusal("not_found", "See /docs for the routes."), language)
    response = problem(Refusal("method_not_allowed", f"Here: {', '.join(allowed)}."), language)
    response["headers"]["Allow"] = ", ".join(allowed)
    return response


def _is_of(path: str, template: str) -> bool:
    parts, wanted = path.split("/"), template.split("/")
    return len(parts) == len(wanted) and all(
        part == name or (name.startswith("{") and part != "") for part, name in zip(parts, wanted, strict=True)
    )
