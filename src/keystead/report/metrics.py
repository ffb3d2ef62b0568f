"""Prometheus metrics. Counts of objects are computed when they are scraped, from the caches."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from keystead.model.conditions import ConditionType, Status, find
from keystead.model.ids import IdentityId
from keystead.model.records import Claim, Federation


class Objects(Protocol):
    """What is counted."""

    def claims(self) -> tuple[Claim, ...]: ...

    def federations(self) -> tuple[Federation, ...]: ...


class _Counts(Collector):
    """Claims by state and ledger entries by identity, at scrape time."""

    def __init__(self, objects: Callable[[], Objects | None]) -> None:
        self._objects = objects

    def collect(self) -> Iterator[GaugeMetricFamily]:
        claims = GaugeMetricFamily(
            "keystead_claims", "VaultClaims by grant and reason of Ready.", labels=["grant", "reason"]
        )
        entries = GaugeMetricFamily("keystead_federations", "Ledger entries by identity.", labels=["identity"])
        objects = self._objects()
        if objects is not None:
            for (grant, reason), count in _tally((each.grant_name, _reason(each)) for each in objects.claims()):
                claims.add_metric([grant, reason], count)
            for (identity,), count in _tally((each.identity.name,) for each in objects.federations()):
                entries.add_metric([identity], count)
        yield claims
        yield entries


class Metrics:
    """The catalogue."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._objects: Objects | None = None
        self.leader = Gauge("keystead_leader", "1 while this replica leads.", registry=self.registry)
        self.writes = Counter(
            "keystead_azure_writes",
            "Credential writes and deletes.",
            ["identity", "verb", "outcome"],
            registry=self.registry,
        )
        self.registry.register(_Counts(lambda: self._objects))

    def observe(self, objects: Objects) -> None:
        """Count these when scraped."""
        self._objects = objects

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
