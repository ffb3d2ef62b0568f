"""Prometheus metrics. Counts of objects are computed when they are scraped, from the caches."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from keystead.model.conditions import ConditionType, Status, find
from keystead.model.credentials import IdentityState
from keystead.model.ids import IdentityId
from keystead.model.records import Claim, Federation
from keystead.plan.snapshot import Lane
from keystead.report.pools import Pools, new_histogram


class Watched(Protocol):
    """One kind that is watched."""

    path: str
    lists: int
    failures: int

    @property
    def objects(self) -> Sized: ...

    @property
    def left_out(self) -> int: ...


class Objects(Protocol):
    """What is counted."""

    @property
    def informers(self) -> Iterable[Watched]: ...

    def claims(self) -> tuple[Claim, ...]: ...

    def federations(self) -> tuple[Federation, ...]: ...


class Identities(Protocol):
    """What is known of Azure."""

    def all_states(self) -> Iterable[IdentityState]: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the counts come from, at scrape time."""

    objects: Objects
    inventory: Identities
    queue: Sized
    lanes: Callable[[], Mapping[IdentityId, Lane]]


class _Counts(Collector):
    """Counts of what stands and waits, at scrape time."""

    def __init__(self, sources: Callable[[], Sources | None]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[GaugeMetricFamily]:
        claims = GaugeMetricFamily(
            "keystead_claims", "VaultClaims by grant and reason of Ready.", labels=["grant", "reason"]
        )
        entries = GaugeMetricFamily("keystead_federations", "Ledger entries by identity.", labels=["identity"])
        exchanges = GaugeMetricFamily(
            "keystead_exchanges", "Ledger entries by the code of their last token exchange.", labels=["code"]
        )
        sources = self._sources()
        if sources is not None:
            objects = sources.objects
            ended = [each.last_exchange.code for each in objects.federations() if each.last_exchange is not None]
            for (code,), count in _tally((each,) for each in ended):
                exchanges.add_metric([code], count)
            yield from _azure(sources)
            yield from _watches(objects.informers)
            for (grant, reason), count in _tally((each.grant_name, _reason(each)) for each in objects.claims()):
                claims.add_metric([grant, reason], count)
            for (identity,), count in _tally((each.identity.name,) for each in objects.federations()):
                entries.add_metric([identity], count)
            yield _revocations(objects.federations())
        yield claims
        yield entries
        yield exchanges


def _revocations(entries: Iterable[Federation]) -> GaugeMetricFamily:
    """Trust that is being taken away, by its cause: what stays there is what Azure does not let go of."""
    going = GaugeMetricFamily("keystead_revocations", "Ledger entries being revoked, by cause.", labels=["cause"])
    causes = (find(each.conditions, ConditionType.REVOKING) for each in entries if each.deleting)
    for (cause,), count in _tally((each.reason if each is not None else "New",) for each in causes):
        going.add_metric([cause], count)
    return going


def _watches(informers: Iterable[Watched]) -> Iterator[GaugeMetricFamily]:
    """How the caches stand."""
    meanings: tuple[tuple[str, str, Callable[[Watched], int]], ...] = (
        ("keystead_cached_objects", "Objects in the cache of a kind.", lambda each: len(each.objects)),
        ("keystead_cache_readings", "How often a kind was read as a whole.", lambda each: each.lists),
        ("keystead_watch_failures", "Failures in a row of a kind's watch.", lambda each: each.failures),
        ("keystead_objects_left_out", "Objects of a kind that cannot be understood.", lambda each: each.left_out),
    )
    for name, meaning, value in meanings:
        family = GaugeMetricFamily(name, meaning, labels=["path"])
        for each in informers:
            family.add_metric([each.path], value(each))
        yield family


def _azure(sources: Sources) -> Iterator[GaugeMetricFamily]:
    """What identities hold, and what waits to be written to them."""
    held = GaugeMetricFamily(
        "keystead_identity_credentials", "Credentials on an identity, all owners.", labels=["identity"]
    )
    trouble = GaugeMetricFamily(
        "keystead_identity_trouble", "1 while an identity cannot be used.", labels=["identity", "reason"]
    )
    waiting = GaugeMetricFamily("keystead_lane_queued", "Writes that wait on an identity's lane.", labels=["identity"])
    wait = GaugeMetricFamily(
        "keystead_lane_wait_seconds", "Seconds until an identity takes another write.", labels=["identity"]
    )
    for state in sources.inventory.all_states():
        if state.known:
            held.add_metric([state.id.name], len(state.credentials))
        if state.problem is not None:
            trouble.add_metric([state.id.name, state.problem], 1)
    for identity, lane in sorted(sources.lanes().items()):
        waiting.add_metric([identity.name], lane.queued)
        wait.add_metric([identity.name], lane.writable_in.total_seconds())
    queue = GaugeMetricFamily("keystead_queue_depth", "Grants in line to be looked at.")
    queue.add_metric([], len(sources.queue))
    yield from (held, trouble, waiting, wait, queue)


class Metrics:
    """The catalogue."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._sources: Sources | None = None
        self.leader = Gauge("keystead_leader", "1 while this replica leads.", registry=self.registry)
        self.writes = Counter(
            "keystead_azure_writes",
            "Credential writes and deletes.",
            ["identity", "verb", "outcome"],
            registry=self.registry,
        )
        waited = new_histogram()
        self.pools = Pools(waited)
        self.registry.register(_Counts(lambda: self._sources))
        self.registry.register(self.pools)
        self.registry.register(waited)

    def observe(
        self, objects: Objects, *, inventory: Identities, queue: Sized, lanes: Callable[[], Mapping[IdentityId, Lane]]
    ) -> None:
        """Count these when scraped."""
        self._sources = Sources(objects, inventory, queue, lanes)

    def count_write(self, identity: IdentityId, verb: str, outcome: str) -> None:
        self.writes.labels(identity.name, verb, outcome).inc()

    def text(self) -> bytes:
        """What /metrics answers."""
        return generate_latest(self.registry)


def _reason(claim: Claim) -> str:
    ready = find(claim.conditions, ConditionType.READY)
    return (
        "Ready" if ready is not None and ready.status is Status.TRUE else (ready.reason if ready is not None else "New")
    )


def _tally(keys: Iterable[tuple[str, ...]]) -> list[tuple[tuple[str, ...], int]]:
    counts: dict[tuple[str, ...], int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return sorted(counts.items())
