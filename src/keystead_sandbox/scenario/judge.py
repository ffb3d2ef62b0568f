"""Pure: what the scenario has come to, measured from outside, against what it expects.

A namespace counts as ready only when three witnesses agree: its claim says so, Azure holds a credential for its
account, and its Secret holds what the vault holds. The report's keys are an interface that others read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keystead_sandbox.scenario.cast import SERVICE_ACCOUNT, Cast, Fate
from keystead_sandbox.schedule import Slots, optimum

CREDENTIALS_PER_IDENTITY = 20


@dataclass
class Sighting:
    """The newest that was seen of each part of the world."""

    claims: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """By namespace: the VaultClaim's conditions, by type."""
    secrets: dict[str, bool] = field(default_factory=dict)
    """By namespace: whether the Secret holds the right values."""
    namespaces: set[str] = field(default_factory=set)
    credentials: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By identity: the subjects of the credentials that Azure holds."""
    writes: dict[str, list[float]] = field(default_factory=dict)
    """By identity: when each accepted credential PUT began, in sandbox seconds."""
    refused: dict[str, int] = field(default_factory=dict)
    """By identity: credential PUTs that Azure refused."""
    first_secret: float | None = None
    """Wall seconds from the command's start to the first Secret with the right values."""

    def federated(self, namespace: str) -> bool:
        subject = f"system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}"
        return any(subject in subjects for subjects in self.credentials.values())

    def condition(self, namespace: str, type_: str) -> tuple[str, str]:
        """Status and reason; empty when the claim does not carry it."""
        found = self.claims.get(namespace, {}).get(type_, {})
        return found.get("status", ""), found.get("reason", "")

    def fate(self, namespace: str) -> Fate | None:
        """What the witnesses say has become of a namespace; ``None`` while they do not agree."""
        has_secret = namespace in self.secrets
        federated = self.federated(namespace)
        if namespace not in self.namespaces:
            return None if federated else Fate.DELETED
        if self.condition(namespace, "Ready")[0] == "True" and federated and self.secrets.get(namespace):
            return Fate.READY
        if self.condition(namespace, "Approved") == ("False", "AwaitingReview") and not federated and not has_secret:
            return Fate.AWAITING_REVIEW
        if self.condition(namespace, "StoreReady") == ("False", "StoreConflict") and not has_secret:
            return Fate.BLOCKED
        return None


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long the slowest pool took, in sandbox seconds, and how long it had to."""

    pool: str = ""
    measured: float = 0.0
    optimum: float = 0.0

    @property
    def ratio(self) -> float:
        return self.measured / self.optimum if self.optimum else 1.0


def settled(cast: Cast, sighting: Sighting) -> bool:
    """All that the scenario expects has come true."""
    return all(sighting.fate(namespace) is fate for namespace, fate in cast.fates.items())


def unmet(cast: Cast, sighting: Sighting) -> list[str]:
    """One line for each namespace that is not what it should be."""
    return [
        f"{namespace}: expected {fate.value}, seen {_seen(sighting, namespace)}"
        for namespace, fate in cast.fates.items()
        if sighting.fate(namespace) is not fate
    ]


def _seen(sighting: Sighting, namespace: str) -> str:
    fate = sighting.fate(namespace)
    if fate is not None:
        return fate.value
    parts = [
        f"{type_}={status} ({reason})"
        for type_ in ("Approved", "Federated", "Verified", "StoreReady", "Ready")
        for status, reason in [sighting.condition(namespace, type_)]
        if status
    ]
    secret = {True: "right Secret", False: "wrong Secret", None: "no Secret"}[sighting.secrets.get(namespace)]
    credential = "credential in Azure" if sighting.federated(namespace) else "no credential in Azure"
    return ", ".join([*parts, secret, credential]) or "nothing"


def schedule(cast: Cast, sighting: Sighting, subscription: str) -> Schedule:
    """The pool that took longest, against the best that Azure's rates allow for the same writes."""
    schedules = []
    for project in cast.projects:
        starts = sorted(at for name in project.identities for at in sighting.writes.get(name, ()))
        if not starts:
            continue
        pool = [
            Slots(subscription, CREDENTIALS_PER_IDENTITY, sighting.refused.get(name, 0)) for name in project.identities
        ]
        schedules.append(Schedule(project.name, starts[-1] - starts[0], optimum(len(starts), pool)))
    return max(schedules, key=lambda each: each.measured, default=Schedule())


def report(
    cast: Cast,
    sighting: Sighting,
    *,
    subscription: str,
    total_seconds: float,
    peak_rss_bytes: int,
    cpu_seconds: float,
    clock_rate: float,
) -> dict[str, Any]:
    """The report as others read it."""
    fates = [sighting.fate(namespace) for namespace in cast.fates if namespace in sighting.namespaces]
    deleted = [namespace for namespace, fate in cast.fates.items() if fate is Fate.DELETED]
    plan = schedule(cast, sighting, subscription)
    return {
        "namespaces": {
            "expected": len(cast.fates) - len(deleted),
            "ready": fates.count(Fate.READY),
            "awaitingReview": fates.count(Fate.AWAITING_REVIEW),
            "blocked": fates.count(Fate.BLOCKED),
        },
        "secrets": {"expected": cast.count(Fate.READY), "correct": sum(sighting.secrets.values())},
        "identities": len(sighting.credentials),
        "credentials": sum(len(subjects) for subjects in sighting.credentials.values()),
        "revoked": {
            "expected": len(deleted),
            "gone": sum(1 for namespace in deleted if sighting.fate(namespace) is Fate.DELETED),
        },
        "seconds": {"firstSecret": _rounded(sighting.first_secret), "total": round(total_seconds, 2)},
        "schedule": {
            "measured": round(plan.measured, 2),
            "optimum": round(plan.optimum, 2),
            "ratio": round(plan.ratio, 3),
        },
        "operator": {"peakRssBytes": peak_rss_bytes, "cpuSeconds": round(cpu_seconds, 2)},
        "clockRate": clock_rate,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
