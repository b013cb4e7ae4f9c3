"""One line of log a request: who asked for what and what came of it; never a code, key, token or phone number."""

from __future__ import annotations

import traceback

from aws_lambda_powertools import Logger

logger = Logger()


def failed(what: str, error: BaseException) -> None:
    """Log a bug: its type and where it happened, without its message, which may quote what it choked on."""
    frames = traceback.extract_tb(error.__traceback__)
    logger.error(
        what,
        error_type=type(error).__qualname__,
        caused_by=type(error.__cause__ or error.__context__).__qualname__,
        where=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )
