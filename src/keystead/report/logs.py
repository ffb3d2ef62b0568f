"""Structured logs: JSON lines, or text when a person watches a terminal.

Tokens and secret values live in ``Secret``, which prints as stars. Redaction is the second fence: whatever looks like a
token, in a text of somebody else's that reached a log line, is cut out of it.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from keystead.model.secret import Secret

# RFC 7519: three base64url parts; RFC 6749 and Azure's forms: the parameters that carry a secret.
_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?")
_NAMES = "client_secret|client_assertion|access_token|assertion|bearer"
_PARAMETER = re.compile(rf"\b((?:{_NAMES})\b[\"']?[=:\s]\s*[\"']?)[^\s&\"',}}]+", re.IGNORECASE)
_STARS = "***"


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: no token and no secret leaves in any value of a log line."""
    for key, value in event.items():
        event[key] = _redacted(value)
    return event


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return _PARAMETER.sub(rf"\1{_STARS}", _TOKEN.sub(_STARS, value))
        case Secret():
            return _STARS
        case dict():
            return {key: _redacted(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(each) for each in value]
        case BaseException():
            return _redacted(str(value))
    return value


def configure(level: str) -> None:
    """To standard error, from *level* (debug, info, warning, error) upwards."""
    console = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # The libraries below log requests with their addresses; what is worth knowing is logged by us.
    logging.getLogger("azure").setLevel(logging.ERROR)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
