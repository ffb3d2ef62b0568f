"""Faults that tests, scenarios and seed files script, as data: one small language.

A fault is *which requests*, *when*, *how late* and *what then*.

- Which: ``service``, ``method``, ``path``, ``host``; of those that fit, ``skip`` passes the first n, ``every`` leaves each
  n-th, ``probability`` draws from what is left, ``times`` ends the fault after so many hits.
- When: a window opens ``after`` seconds from the moment the fault was put in force, is open for ``seconds``, and opens
  again every ``period``; all by the sandbox's clock. Requests outside the window are not counted.
- How late: ``latency`` is a distribution (:data:`Latency`), drawn for each hit before anything else happens.
- What then: ``effect``. Delays of all faults that hit add up; of the other effects the first applies, in the order in
  which the faults were added.
- A *half-write* lets the request take effect and then loses or replaces its answer: the case that a write-ahead ledger
  is for. *truncate* sends half of the answer that there was and drops the connection.
- Every fault draws from its own ``seed``, so that a run repeats whatever other faults there are.
- The proxy is hit by faults that name it, and by no other.
"""

import enum
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from keystead_sandbox.clock import Clock
from keystead_sandbox.journal import Service
from keystead_sandbox.latency import Latency

_LONGEST = 3.2e9  # seconds: a century


class Effect(enum.StrEnum):
    """What happens to a request."""

    ANSWER = "answer"  # an error in its place; the service never sees the request
    RESET = "reset"  # the connection drops; the service never sees the request
    HANG = "hang"  # no answer until the client gives up
    DELAY = "delay"  # late, and otherwise as usual but for the headers that the fault overrides
    HALF_WRITE = "half-write"  # takes effect, then an error is answered
    LOST_ANSWER = "lost-answer"  # takes effect, then the connection drops
    TRUNCATE = "truncate"  # takes effect, half of the answer is sent, then the connection drops
    CUT = "cut"  # the proxy alone: the tunnel opens, and drops when it has been open for the latency


_OF_THE_PROXY = (Effect.ANSWER, Effect.RESET, Effect.HANG, Effect.DELAY, Effect.CUT)
_Whole = Annotated[int, Meta(ge=1)]
_Seconds = Annotated[float, Meta(ge=0, le=1e9)]


class Fault(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One scripted fault; patterns are regular expressions, searched without regard to case."""

    effect: Effect = Effect.ANSWER
    service: Service | None = None
    method: str = ""
    path: str = ""
    host: str = ""
    skip: Annotated[int, Meta(ge=0)] = 0
    every: _Whole = 1
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    times: _Whole | None = None
    after: _Seconds = 0.0
    seconds: _Seconds | None = None
    period: _Seconds | None = None
    status: Annotated[int, Meta(ge=200, le=599)] = 503
    code: str = "ServiceUnavailable"
    message: str = "The service is unavailable. (a scripted fault of the sandbox)"
    body: str | None = None  # in place of the service's own shape of an error
    headers: Mapping[str, str | None] = {}  # set in the answer; null takes one out
    retry_after: _Seconds | None = None  # sandbox seconds; the header is in the client's
    latency: Latency | None = None
    delay: _Seconds = 0.0  # sandbox seconds; short for a constant latency
    jitter: _Seconds = 0.0  # up to so many seconds more; short for a uniform one
    seed: int = 0

    def __post_init__(self) -> None:
        for name, pattern in (("path", self.path), ("host", self.host)):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{name}: {pattern!r} is not a regular expression: {error}") from None
        if self.period is not None and (self.seconds is None or not self.seconds <= self.period or self.period == 0):
            raise ValueError("period: a window that opens again needs seconds, and to be at least as long as them")
        if self.service == "proxy" and self.effect not in _OF_THE_PROXY:
            raise ValueError(f"effect: the proxy knows {', '.join(_OF_THE_PROXY)} only")
        if self.effect is Effect.CUT and self.service != "proxy":
            raise ValueError("effect: only the proxy's tunnels are cut; name service: proxy")
        for name, value in self.headers.items():
            if _HEADER.fullmatch(name) is None or (value is not None and not _VALUE.fullmatch(value)):
                raise ValueError(f"headers: {name!r} is no header that can be sent")


_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Hit:
    """What happens to one request: a fault that applies, if any, and how long the request waits first."""

    fault: Fault | None
    wait: float
    headers: Mapping[str, str | None]
    delayed: bool

    @property
    def effect(self) -> str:
        """The effect's name for the journal; empty for none."""
        if self.fault is not None:
            return str(self.fault.effect)
        return str(Effect.DELAY) if self.delayed else ""


NO_HIT = Hit(None, 0.0, {}, delayed=False)


@dataclass(slots=True)
class _Standing:
    number: int
    fault: Fault
    since: float
    random: random.Random
    seen: int = 0
    hits: int = 0

    def takes(self, now: float) -> bool:
        """Whether a request that fits is hit; it is counted."""
        if not self._open(now):
            return False
        self.seen += 1
        counted = self.seen - self.fault.skip
        if counted < 1 or counted % self.fault.every or self.random.random() >= self.fault.probability:
            return False
        self.hits += 1
        return True

    def wait(self) -> float:
        """How long this hit waits, in sandbox seconds."""
        fault = self.fault
        drawn = fault.latency.draw(self.random) if fault.latency is not None else 0.0
        return drawn + fault.delay + (self.random.random() * fault.jitter if fault.jitter else 0.0)

    def over(self, now: float) -> bool:
        """Whether it can hit nothing any more."""
        fault = self.fault
        if fault.times is not None and self.hits >= fault.times:
            return True
        ends = fault.seconds is not None and fault.period is None
        return ends and now >= self.since + fault.after + (fault.seconds or 0.0)

    def _open(self, now: float) -> bool:
        fault, passed = self.fault, now - self.since - self.fault.after
        if passed < 0:
            return False
        return fault.seconds is None or (passed % fault.period if fault.period else passed) < fault.seconds


class Faults:
    """The faults in force, asked once per request."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._standing: list[_Standing] = []
        self._last = 0

    def add(self, fault: Fault) -> int:
        """Put *fault* in force; returns the number to remove it by."""
        self._last += 1
        drawing = random.Random(fault.seed)  # noqa: S311 - latency, not secrets; a seed makes runs repeat
        self._standing.append(_Standing(self._last, fault, self._clock.now(), drawing))
        return self._last

    def remove(self, number: int) -> bool:
        """Lift one fault; whether it was there."""
        before = len(self._standing)
        self._standing = [standing for standing in self._standing if standing.number != number]
        return len(self._standing) != before

    def clear(self) -> None:
        """Lift them all."""
        self._standing.clear()

    def number_after(self, other: "Faults") -> None:
        """Never give a number that *other* has given."""
        self._last = max(self._last, other._last)  # noqa: SLF001 - of its own kind

    def standing(self) -> list[tuple[int, Fault, int]]:
        """Number, fault and hits so far of each fault that is still in force."""
        self._expire()
        return [(standing.number, standing.fault, standing.hits) for standing in self._standing]

    def match(self, service: Service, method: str, host: str, path: str) -> Hit:
        """What hits this request, counted as a hit."""
        if not self._standing:
            return NO_HIT
        self._expire()
        now, wait, delayed = self._clock.now(), 0.0, False
        headers: dict[str, str | None] = {}
        for standing in self._standing:
            if not _means(standing.fault, service, method, host, path) or not standing.takes(now):
                continue
            # What cuts a tunnel waits within it.
            wait += standing.wait()
            headers |= standing.fault.headers
            if standing.fault.effect is not Effect.DELAY:
                return Hit(standing.fault, wait, headers, delayed=delayed)
            delayed = True
        return Hit(None, wait, headers, delayed=delayed) if delayed else NO_HIT

    def _expire(self) -> None:
        now = self._clock.now()
        self._standing = [standing for standing in self._standing if not standing.over(now)]


def _means(fault: Fault, service: Service, method: str, host: str, path: str) -> bool:
    return (
        (fault.service == service if fault.service is not None else service != "proxy")
        and fault.method.upper() in ("", method.upper())
        and re.search(fault.path, path, re.IGNORECASE) is not None
        and re.search(fault.host, host, re.IGNORECASE) is not None
    )
