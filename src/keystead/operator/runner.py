"""Runs one replica as a process: signals, health port, exit codes.

The first SIGTERM or SIGINT asks for an orderly end: writes in flight finish, status is told, the lease is released. The
second ends the process at once.
"""

import structlog

from keystead.kube.signals import stop_on_signals
from keystead.model.errors import KeysteadError, Refused
from keystead.model.reasons import Reason
from keystead.operator.app import Operator
from keystead.operator.collector import keep_what_stands
from keystead.operator.health import serve_health
from keystead.operator.settings import Settings

log = structlog.get_logger("keystead.operator")


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises errors of :mod:`keystead.model.errors` when it cannot start."""
    stop = stop_on_signals()
    operator = Operator(settings, on_synced=keep_what_stands)
    health = None
    if settings.health_port:
        try:
            health = await serve_health(operator, settings.health_address, settings.health_port)
        except OSError as error:
            where = f"{settings.health_address}:{settings.health_port}"
            text = (
                f"KEYSTEAD_HEALTH_PORT: {where} cannot be served ({error.strerror}); give a free port, or 0 for none."
            )
            raise Refused(Reason.SETTING_INVALID, text) from error
    try:
        await operator.run(stop)
    except* KeysteadError as group:
        raise group.exceptions[0] from None
    finally:
        if health is not None:
            health.close()
    log.info("stopped")
