"""The real clock. Under a test's event loop its patience runs on the loop's time, as everything on that loop does."""

import asyncio
import datetime


class LoopClock:
    """Monotonic time and sleeps of the running loop, instants of the wall (or of an epoch plus the loop's time)."""

    def __init__(self, epoch: datetime.datetime | None = None) -> None:
        self._epoch = epoch

    def now(self) -> datetime.datetime:
        if self._epoch is None:
            return datetime.datetime.now(datetime.UTC)  # noqa: TID251 - this is the clock that everyone else takes
        return self._epoch + datetime.timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
