"""SIGTERM and SIGINT: the first asks for an orderly end, the second ends the process at once."""

import asyncio
import signal

import structlog

log = structlog.get_logger("keystead.process")
_ASKING = (signal.SIGTERM, signal.SIGINT)


def stop_on_signals() -> asyncio.Event:
    """An event that the first signal sets. The system's own way with signals is back from then on."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        log.info("stopping: what was begun is brought to its end; a second signal ends it at once", signal=number.name)
        stop.set()
        for each in _ASKING:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for number in _ASKING:
        loop.add_signal_handler(number, asked, number)
    return stop
