"""Events of events.k8s.io/v1, told once: what is said again is counted up in the object that said it first.

Rules:
- An Event's name follows from what it says about which object, so that a restarted process finds the one it made
  before. The API server lets nothing of an Event change but its series, so that is all that is ever patched.
- A series is written at its second occurrence, then at most once a minute; what was counted meanwhile is told with the
  next, or by :meth:`Recorder.flush`.
- Whoever repeats itself about one object beyond all measure is not heard any more for a while: twenty-five different
  things at once, then one in five minutes.

Source: Kubernetes API reference, Event v1 events.k8s.io (series, note, immutability).
"""

import datetime
import hashlib
from dataclasses import dataclass, field
from typing import Any

import structlog

from keystead.kube.client import Api
from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError, Refused

log = structlog.get_logger("keystead.events")
_REMEMBERED = 4096  # series, and objects spoken about
_NOTE_LIMIT = 1024  # characters that Kubernetes allows
_EVERY = 60.0  # seconds between two writes of one series
_BURST, _REFILL = 25, 300.0  # different Events about one object at once; seconds to one more
_HOUR = 3600.0  # seconds that the API server keeps Events by default


@dataclass(frozen=True, slots=True)
class Said:
    """One thing said about one object."""

    api_version: str
    kind: str
    namespace: str
    """Empty for cluster-scoped objects, whose Events live in ``default``."""
    name: str
    uid: str
    reason: str
    action: str
    note: str
    warning: bool = False

    @property
    def folder(self) -> str:
        """Where its Event lives."""
        return f"/apis/events.k8s.io/v1/namespaces/{self.namespace or 'default'}/events"

    @property
    def event_name(self) -> str:
        """The same for the same thing said about the same object."""
        said = "\n".join((self.kind, self.namespace, self.name, self.uid, self.reason, self.note))
        stem = self.name[:200].rstrip(".-")
        return f"{stem}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"


@dataclass(slots=True)
class _Series:
    """How often something was said, and how often the API server knows of."""

    folder: str
    count: int
    told: int
    written: float
    last: datetime.datetime


@dataclass(slots=True)
class _Allowance:
    """How many more Events about one object."""

    left: float = _BURST
    at: float = field(default=0.0)


class Recorder:
    """Writes Events in the name of one controller."""

    def __init__(self, api: Api, clock: Clock, *, controller: str, instance: str, manager: str) -> None:
        self._api = api
        self._clock = clock
        self._controller = controller
        self._instance = instance
        self._manager = manager
        self._series: dict[str, _Series] = {}
        self._allowances: dict[str, _Allowance] = {}

    async def say(self, said: Said) -> None:
        """Make the Event, or count it up. Raises errors of :mod:`keystead.model.errors`."""
        name, now, moment = said.event_name, self._clock.monotonic(), self._clock.now()
        series = self._series.get(name)
        if series is None or now - series.written > _HOUR:
            if not self._may_speak(said.uid or said.name, now):
                log.info("event not written: too many about one object", object=said.name, reason=said.reason)
                return
            await self._begin(said, name, moment)
            return
        series.count += 1
        series.last = moment
        if series.told == 1 or now - series.written >= _EVERY:
            await self._count_up(said, name, series)

    async def flush(self) -> None:
        """Tell the counts that were not told yet; what cannot be told is let go."""
        for name, series in list(self._series.items()):
            if series.count > series.told:
                try:
                    await self._patch(series, name)
                except KeysteadError as error:
                    log.info("event not counted up", event=name, error=str(error))
                    return

    async def _begin(self, said: Said, name: str, moment: datetime.datetime) -> None:
        series = _Series(said.folder, 1, 1, self._clock.monotonic(), moment)
        try:
            await self._api.post(said.folder, self._object(said, name, moment))
        except Refused as error:
            if error.code != "AlreadyExists":
                raise
            found = await self._api.get(f"{said.folder}/{name}") or {}
            told = int((found.get("series") or {}).get("count") or 1)
            series.count, series.told = told + 1, told
            await self._patch(series, name)
        self._remember(name, series)

    async def _count_up(self, said: Said, name: str, series: _Series) -> None:
        if not await self._patch(series, name):
            await self._begin(said, name, series.last)  # it has run out on the server: said anew

    async def _patch(self, series: _Series, name: str) -> bool:
        """False when the Event is not there any more."""
        body = {"series": {"count": series.count, "lastObservedTime": precise(series.last)}}
        if await self._api.merge(f"{series.folder}/{name}", body, manager=self._manager) is None:
            return False
        series.told, series.written = series.count, self._clock.monotonic()
        return True

    def _may_speak(self, about: str, now: float) -> bool:
        allowance = self._allowances.pop(about, None) or _Allowance(at=now)
        allowance.left = min(float(_BURST), allowance.left + (now - allowance.at) / _REFILL)
        allowance.at = now
        self._allowances[about] = allowance
        if len(self._allowances) > _REMEMBERED:
            self._allowances.pop(next(iter(self._allowances)))
        if allowance.left < 1:
            return False
        allowance.left -= 1
        return True

    def _remember(self, name: str, series: _Series) -> None:
        self._series.pop(name, None)
        self._series[name] = series
        if len(self._series) > _REMEMBERED:
            self._series.pop(next(iter(self._series)))

    def _object(self, said: Said, name: str, moment: datetime.datetime) -> dict[str, Any]:
        regarding = {"apiVersion": said.api_version, "kind": said.kind, "name": said.name, "uid": said.uid}
        if said.namespace:
            regarding["namespace"] = said.namespace
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": said.namespace or "default"},
            "eventTime": precise(moment),
            "type": "Warning" if said.warning else "Normal",
            "reason": said.reason,
            "action": said.action,
            "note": said.note[:_NOTE_LIMIT],
            "regarding": regarding,
            "reportingController": self._controller,
            "reportingInstance": self._instance,
        }


def precise(moment: datetime.datetime) -> str:
    """Pure: as Kubernetes writes instants that order matters for, to the microsecond."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
