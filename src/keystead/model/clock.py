"""The clock that the imperative layers are given; rules take ``now`` as a value instead."""

import datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from, so that tests and the simulation can drive it."""

    def now(self) -> datetime.datetime:
        """The present instant, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back; for pacing and leases."""

    async def sleep(self, seconds: float) -> None:
        """Wait *seconds*; zero or less yields once."""
