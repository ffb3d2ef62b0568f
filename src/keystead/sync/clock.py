"""The engine's clock: instants of the wall, durations of the running loop."""

import asyncio
import datetime


class EngineClock:
    """Implements :class:`keystead.model.clock.Clock`."""

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)  # noqa: TID251 - this is the clock that everyone else takes

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
