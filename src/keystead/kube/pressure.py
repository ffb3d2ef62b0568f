"""What the API server asks of us when it is busy: priority and fairness, obeyed per priority level.

Rules:
- Every answer names the priority level that its request was counted to; a request of the same kind will be counted to
  the same one.
- 429 with Retry-After holds all requests of that level for so long; others go on. Those held come back spread out.
- Nobody is held for longer than two minutes, whatever a header says.

Source: Kubernetes documentation, "API Priority and Fairness" (diagnostics: the X-Kubernetes-PF headers).
"""

import random
from collections.abc import Mapping

LEVEL = "X-Kubernetes-PF-PriorityLevel-UID"
_LONGEST = 120.0  # seconds
_SPREAD = 0.25  # of what was asked, at most, on top
_GRAIN = 1e-3  # seconds: a wait below the clock's own grain need not move it
_READS = ("GET", "HEAD")

Route = tuple[str, str]
"""Reading or writing, and the resource: what decides the priority level of our own requests."""


class Pressure:
    """What is held, and until when (monotonic seconds)."""

    def __init__(self) -> None:
        self._levels: dict[Route, str] = {}
        self._until: dict[str, float] = {}

    def wait(self, route: Route, now: float) -> float:
        """Seconds to wait before such a request; 0 when it may go."""
        left = self._until.get(self._level(route), now) - now
        return left + random.uniform(0, _SPREAD * min(left, 4.0)) if left > _GRAIN else 0.0  # noqa: S311 - spreads load

    def learn(self, route: Route, headers: Mapping[str, str]) -> None:
        """An answer came: it tells the level."""
        level = headers.get(LEVEL, "")
        if level:
            self._levels[route] = level

    def hold(self, route: Route, seconds: float, now: float) -> None:
        """The server asked such requests to stay away for so long."""
        level = self._level(route)
        self._until[level] = max(self._until.get(level, now), now + min(seconds, _LONGEST))

    def _level(self, route: Route) -> str:
        return self._levels.get(route, "/".join(route))


def route_of(method: str, path: str) -> Route:
    """Pure: namespace and name left out, the subresource kept."""
    parts = [part for part in path.split("/") if part]
    rest = parts[3:] if parts[:1] == ["apis"] else parts[2:]
    head = parts[: len(parts) - len(rest)]
    if len(rest) > 2 and rest[0] == "namespaces":  # noqa: PLR2004 - namespaces, its name, and then something in it
        rest = rest[2:]
    return ("read" if method in _READS else "write"), "/".join((*head, *rest[:1], *rest[2:]))


def seconds_asked(headers: Mapping[str, str]) -> float | None:
    """Pure: Retry-After, which the API server gives in seconds; ``None`` when there is none."""
    value = headers.get("Retry-After", "")
    return min(float(value), _LONGEST) if value.isascii() and value.isdigit() else None
