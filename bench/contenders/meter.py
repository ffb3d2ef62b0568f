"""What every contender reports, as lines of JSON: after its imports, when all is there, after the burst.

CPU is the process's own, system time included; memory is what is resident, and the most that ever was.
"""

import json
import resource
import time
import urllib.request
from pathlib import Path

_PAGE = resource.getpagesize()


class Meter:
    """Counts what has arrived. *server* is the address; *objects* how many there are, *burst* how many will change."""

    def __init__(self, server: str, objects: int, burst: int) -> None:
        self.server = server
        self._objects = objects
        self._burst = burst
        self._seen: set[object] = set()
        self._synced = False
        self.is_done = False
        self._tell("idle")
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def arrived(self, key: object) -> None:
        """One object was handed to the contender's user, for the first time or again."""
        self._seen.add(key)
        if not self._synced and len(self._seen) == self._objects:
            self._synced = True
            self._lap("synced")
            self._seen.clear()
            urllib.request.urlopen(f"{self.server}/burst", b"").read()  # noqa: S310 - our own server
            self._began, self._cpu = time.perf_counter(), time.process_time()
        elif self._synced and not self.is_done and len(self._seen) == self._burst:
            self.is_done = True
            self._lap("burst")

    def _lap(self, what: str) -> None:
        self._tell(what, wall=time.perf_counter() - self._began, cpu=time.process_time() - self._cpu)

    def _tell(self, what: str, **times: float) -> None:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"what": what, "rss": resident / 1e6, "peak": peak / 1e6, **times}), flush=True)
