"""Faults that tests and scenarios script, as data.

- A fault says which requests it means (service, method, path) and what happens to them; the first that matches
  applies, in the order they were added.
- ``times`` counts the requests it hits, ``every`` lets it hit each n-th match only, ``seconds`` ends it by the
  sandbox's clock. With none of them it stays until it is removed.
- A *half-write* lets the request take effect and then loses or replaces its answer: the case that a write-ahead ledger
  is for.
"""

import enum
import itertools
import random
import re
from dataclasses import dataclass

import msgspec

from keystead_sandbox.clock import Clock
from keystead_sandbox.journal import Service

_LONGEST = 3.2e9  # seconds: a century


class Effect(enum.StrEnum):
    """What happens to a request."""

    ANSWER = "answer"  # an error in its place; the service never sees the request
    RESET = "reset"  # the connection drops; the service never sees the request
    HANG = "hang"  # no answer until the client gives up
    DELAY = "delay"  # late, and otherwise as usual
    HALF_WRITE = "half-write"  # takes effect, then an error is answered
    LOST_ANSWER = "lost-answer"  # takes effect, then the connection drops


class Fault(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One scripted fault; patterns are regular expressions, searched without regard to case."""

    effect: Effect = Effect.ANSWER
    service: Service | None = None
    method: str = ""
    path: str = ""
    host: str = ""
    times: int | None = None
    every: int = 1
    seconds: float | None = None
    status: int = 503
    code: str = "ServiceUnavailable"
    message: str = "The service is unavailable. (a scripted fault of the sandbox)"
    retry_after: float | None = None  # sandbox seconds; the header is in the client's
    delay: float = 0.0  # sandbox seconds, before anything else happens
    jitter: float = 0.0  # up to so many seconds more, drawn from a fixed seed

    def __post_init__(self) -> None:
        for pattern in (self.path, self.host):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        if self.every < 1:
            raise ValueError("every must be 1 or more")
        if self.times is not None and self.times < 1:
            raise ValueError("times must be 1 or more")
        if not 200 <= self.status <= 599:  # noqa: PLR2004 - HTTP's final answers
            raise ValueError("status must be 200 to 599")
        if not all(
            0 <= each <= _LONGEST for each in (self.delay, self.jitter, self.retry_after or 0, self.seconds or 0)
        ):
            raise ValueError(f"delay, jitter, retryAfter and seconds must be 0 to {_LONGEST:.0f} seconds")


@dataclass(slots=True)
class _Standing:
    number: int
    fault: Fault
    since: float
    seen: int = 0
    hits: int = 0


class Faults:
    """The faults in force, asked once per request."""

    def __init__(self, clock: Clock, seed: int = 0) -> None:
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 - latency, not secrets; a seed makes runs repeat
        self._standing: list[_Standing] = []
        self._numbers = itertools.count(1)

    def add(self, fault: Fault) -> int:
        """Put *fault* in force; returns the number to remove it by."""
        standing = _Standing(next(self._numbers), fault, self._clock.now())
        self._standing.append(standing)
        return standing.number

    def remove(self, number: int) -> bool:
        """Lift one fault; whether it was there."""
        before = len(self._standing)
        self._standing = [standing for standing in self._standing if standing.number != number]
        return len(self._standing) != before

    def clear(self) -> None:
        """Lift them all."""
        self._standing.clear()

    def standing(self) -> list[tuple[int, Fault, int]]:
        """Number, fault and hits so far of each fault that is still in force."""
        self._expire()
        return [(standing.number, standing.fault, standing.hits) for standing in self._standing]

    def match(self, service: Service, method: str, host: str, path: str) -> Fault | None:
        """The fault that hits this request, counted as a hit."""
        self._expire()
        for standing in self._standing:
            if not _means(standing.fault, service, method, host, path):
                continue
            standing.seen += 1
            if standing.seen % standing.fault.every == 0:
                standing.hits += 1
                return standing.fault
        return None

    def wait(self, fault: Fault) -> float:
        """How long *fault* delays this request, in sandbox seconds."""
        return fault.delay + self._random.random() * fault.jitter

    def _expire(self) -> None:
        now = self._clock.now()
        self._standing = [
            standing
            for standing in self._standing
            if (standing.fault.times is None or standing.hits < standing.fault.times)
            and (standing.fault.seconds is None or now < standing.since + standing.fault.seconds)
        ]


def _means(fault: Fault, service: Service, method: str, host: str, path: str) -> bool:
    return (
        fault.service in (None, service)
        and fault.method.upper() in ("", method.upper())
        and re.search(fault.path, path, re.IGNORECASE) is not None
        and re.search(fault.host, host, re.IGNORECASE) is not None
    )
