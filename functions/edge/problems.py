"""Problem documents (RFC 9457), apart from the rest of the edge: console answers them without its imports."""

from __future__ import annotations

import json
from typing import Any

from functions.domain.errors import PROBLEMS, Refusal

PROBLEM = "application/problem+json"
CHALLENGES = {"invalid_client": "Basic", "invalid_signature": "Signature"}
"""How one may prove who one is, where it is not by a token."""


def problem(refusal: Refusal, language: str = "") -> dict[str, Any]:
    """The response of a refusal, in Chinese where the caller prefers it (`language` is its Accept-Language)."""
    row = PROBLEMS[refusal.key]
    chinese = language.strip().lower().startswith("zh")
    document: dict[str, Any] = {
        "type": f"/docs#{refusal.key}",
        "title": row.zh if chinese else row.en,
        "status": row.status,
        "detail": refusal.detail or row.hint,
        "key": refusal.key,
        **refusal.extra,
    }
    if refusal.errors is not None:
        document["errors"] = refusal.errors
    headers = {"Content-Type": PROBLEM, "Cache-Control": "no-store", "Content-Language": "zh" if chinese else "en"}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    if row.status == 401:
        headers["WWW-Authenticate"] = CHALLENGES.get(refusal.key, "Bearer")
    return {"statusCode": row.status, "headers": headers, "body": json.dumps(document, ensure_ascii=False)}
