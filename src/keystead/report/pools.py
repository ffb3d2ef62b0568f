"""Metrics of pools: who holds which slots, how long they last, and how long namespaces wait for their vault.

- What a grant's plan says is kept until its next plan, and dropped with the grant.
- Days left are the free slots over the pace of the last week. No growth, no forecast.
- From namespace to Verified counts from when Keystead could have begun: the namespace's making, or the claim's where
  that came much later, or the reviewer's word.
"""

import datetime
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from keystead.model.conditions import Status
from keystead.model.records import Claim, Federation
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import GrantVerdict, Plan

_WEEK = datetime.timedelta(days=7)
_SOON = datetime.timedelta(minutes=10)
"""A claim made so soon after its namespace was made for it; later, somebody has let the namespace in."""
BUCKETS = (5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800, 3600, 14400)
"""Seconds."""


def new_histogram() -> Histogram:
    """The time from namespace to proof; registered by whoever owns the registry."""
    return Histogram(
        "keystead_time_to_verified_seconds",
        "Seconds from a namespace (or a later claim or approval) to its first proven exchange.",
        ["grant"],
        buckets=BUCKETS,
        registry=None,
    )


class Pools(Collector):
    """Learns of each plan; tells when scraped."""

    def __init__(self, waited: Histogram) -> None:
        self._waited = waited
        self._grants: dict[str, tuple[GrantVerdict, float]] = {}
        self._counted: set[str] = set()

    def planned(self, seen: Snapshot, plan: Plan) -> None:
        """What a pass has found."""
        if plan.grant is None:
            self._grants.pop(plan.grant_name, None)
        else:
            self._grants[plan.grant_name] = (plan.grant, growth(seen.federations, seen.now))
        entries = {each.name: each for each in seen.federations}
        claims: dict[str, Claim] = {}
        for verdict in plan.federations:
            entry = entries.get(verdict.name)
            if entry is None or not entry.uid or verdict.verified_at is None:
                continue
            if entry.verified_at is not None:
                self._counted.discard(entry.uid)
            elif entry.uid not in self._counted:
                self._counted.add(entry.uid)
                claims = claims or {each.key: each for each in seen.claims}
                waited = lag(seen, entry, claims.get(entry.claim_key), verdict.verified_at)
                self._waited.labels(plan.grant_name).observe(waited)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        slots = GaugeMetricFamily(
            "keystead_identity_slots",
            "Slots of an identity: ours, foreign, reserved (beyond foreign ones) and free.",
            labels=["grant", "identity", "state"],
        )
        free = GaugeMetricFamily("keystead_pool_slots_free", "Free slots of a grant's pool.", labels=["grant"])
        missing = GaugeMetricFamily(
            "keystead_pool_slots_missing", "Claims of a grant that wait for a slot.", labels=["grant"]
        )
        days = GaugeMetricFamily(
            "keystead_pool_days_left",
            "Days until the pool is full at the pace of the last week; absent without growth.",
            labels=["grant"],
        )
        conditions = GaugeMetricFamily(
            "keystead_grant_condition",
            "1 while a condition of a grant is not True, by its reason.",
            labels=["grant", "type", "reason"],
        )
        for grant, (verdict, pace) in sorted(self._grants.items()):
            room = sum(each.room for each in verdict.identities)
            free.add_metric([grant], room)
            missing.add_metric([grant], verdict.exhausted)
            if pace > 0:
                days.add_metric([grant], room / pace)
            for each in verdict.identities:
                for state, count in _slots(each.used, each.foreign, each.reserved, each.room).items():
                    slots.add_metric([grant, each.resource_id.rpartition("/")[2], state], count)
            for condition in verdict.conditions:
                if condition.status is not Status.TRUE:
                    conditions.add_metric([grant, condition.type, condition.reason], 1)
        yield from (slots, free, missing, days, conditions)


def _slots(ours: int, foreign: int, reserved: int, room: int) -> Mapping[str, int]:
    return {"ours": ours, "foreign": foreign, "reserved": max(0, reserved - foreign), "free": room}


def growth(entries: Iterable[Federation], now: datetime.datetime) -> float:
    """Pure: ledger entries a day over the last week, those that ended since left out."""
    begun = sum(
        1 for each in entries if not each.deleting and each.created_at is not None and now - each.created_at < _WEEK
    )
    return begun / _WEEK.days


def lag(seen: Snapshot, entry: Federation, claim: Claim | None, verified_at: datetime.datetime) -> float:
    """Pure: seconds that people waited for Keystead and Azure, and for nobody else."""
    namespace = seen.namespaces.get(entry.namespace)
    word = next((each for each in seen.approvals if each.name == entry.approval_name), None)
    made = namespace.created_at if namespace is not None else None
    asked = claim.created_at if claim is not None else None
    if made is not None and asked is not None and asked - made < _SOON:
        asked = made
    start = max((each for each in (asked, word.created_at if word is not None else None) if each), default=verified_at)
    return max(0.0, (verified_at - start).total_seconds())
