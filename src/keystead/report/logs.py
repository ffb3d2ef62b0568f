"""Structured logs: JSON lines, or text when a person watches a terminal."""

import logging
import sys

import structlog


def configure(level: str) -> None:
    """To standard error, from *level* (debug, info, warning, error) upwards."""
    console = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # The libraries below log requests with their addresses; what is worth knowing is logged by us.
    logging.getLogger("azure").setLevel(logging.ERROR)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
