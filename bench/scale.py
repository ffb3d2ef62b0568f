"""What a large cluster costs: the plan of a grant with ten thousand claims, and an operator over ten thousand namespaces.

``--claims N`` (default 10000), ``--repeat R`` (default 7), ``--output DIR`` (default docs/benchmarks); ``--plan`` measures
the plan alone and writes nothing. Each state of the world is planned R times on a fresh snapshot; the table gives the
median and the best, in milliseconds. The operator starts on a cluster where all is done, on virtual time, and its
processor time is told apart from the services'; its memory is that of a process of its own, in real time.
"""

import argparse
import dataclasses
import datetime
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keystead.model.conditions import Condition, ConditionType, Status
from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential, IdentityState
from keystead.model.ids import IdentityId, NamespaceUid, service_account_subject
from keystead.model.reasons import Reason
from keystead.model.records import (
    ApprovalMode,
    Claim,
    ClaimMode,
    Cluster,
    Exchange,
    Federation,
    Grant,
    LabelSelector,
    Namespace,
    NamespaceRule,
    PoolMember,
    ServiceAccount,
    Store,
)
from keystead.operator.collector import uncollected
from keystead.plan.naming import credential_name
from keystead.plan.planner import make_plan
from keystead.plan.recollection import Recollection
from keystead.plan.snapshot import Limits, Snapshot

ROOT = Path(__file__).parents[1]
sys.path[1:1] = [str(ROOT / "tests"), str(ROOT / "bench" / "virtual")]  # the simulation's loop and wire; the cluster
from resident import weigh  # noqa: E402 - from where the line above says
from settled import Size  # noqa: E402 - as above
from steady import HOUR, Steady, watch  # noqa: E402 - as above

BAR = 150.0  # milliseconds
NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
CLUSTER = Cluster("0a1b2c3d", "https://oidc.example.test/cluster-a/")
VAULT = "https://kv-bench.vault.azure.net"
GROUP = "/subscriptions/11111111-2222-4333-8444-555555555555/resourceGroups/pool"
_SLOTS = 17  # used on each identity


def _identity(number: int) -> IdentityId:
    return IdentityId.parse(f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/identity-{number:03}")


class Scale:
    """A grant over namespaces of which the first *served* already have all they need."""

    def __init__(self, claims: int, served: int) -> None:
        self.identities = [_identity(number) for number in range(claims // _SLOTS + 1)]
        names = [f"namespace-{number:05}" for number in range(claims)]
        self.namespaces = {name: Namespace(name, NamespaceUid(f"uid-{name}"), {"team": "shop"}) for name in names}
        self.claims = tuple(self._claim(name) for name in names)
        self.federations = tuple(
            self._federation(name, self.identities[number % len(self.identities)])
            for number, name in enumerate(names[:served])
        )
        self.exchanges = {each.name: Exchange("OK", NOW) for each in self.federations}

    def _claim(self, namespace: str) -> Claim:
        since = NOW - datetime.timedelta(hours=2)
        told = (Reason.ACCEPTED, Reason.STORE_READY, Reason.READY)
        done = tuple(
            Condition(type_, Status.TRUE, reason, "", since, 1)
            for type_, reason in zip(("Accepted", "StoreReady", "Ready"), told, strict=True)
        )
        return Claim(namespace, "shop", f"claim-{namespace}", "shop", automatic=True, created_at=since, conditions=done)

    def _federation(self, namespace: str, identity: IdentityId) -> Federation:
        uid, subject = NamespaceUid(f"uid-{namespace}"), service_account_subject(namespace, "keystead")
        name = credential_name(CLUSTER, uid, namespace, "keystead", identity)
        since = NOW - datetime.timedelta(hours=2)
        return Federation(
            name=name,
            uid=f"federation-{namespace}",
            grant_name="shop",
            namespace=namespace,
            namespace_uid=uid,
            claim_name="shop",
            service_account_name="keystead",
            identity=identity,
            credential=Credential(name, CLUSTER.issuer, subject, EXCHANGE_AUDIENCE),
            conditions=(Condition(ConditionType.FEDERATED, Status.TRUE, Reason.FEDERATED, "", since, 1),),
            verified_at=since + datetime.timedelta(minutes=1),
        )

    def snapshot(self) -> Snapshot:
        """Made anew, so that nothing is remembered from one plan to the next."""
        held: dict[IdentityId, list[Credential]] = {each: [] for each in self.identities}
        for each in self.federations:
            held[each.identity].append(each.credential)
        states = {
            each: IdentityState(
                each, f"client-{each.name}", f"principal-{each.name}", "tenant", tuple(sorted(has)), NOW
            )
            for each, has in held.items()
        }
        served = {each.namespace: states[each.identity].client_id for each in self.federations}
        return Snapshot(
            now=NOW,
            cluster=CLUSTER,
            grant_name="shop",
            grant=self._grant(),
            namespaces=self.namespaces,
            claims=self.claims,
            federations=self.federations,
            identities=states,
            exchanges=self.exchanges,
            service_accounts={
                (name, "keystead"): ServiceAccount(name, "keystead", f"account-{name}", client, "tenant", ours=True)
                for name, client in served.items()
            },
            stores={(name, "azure-store"): self._store(name) for name in served},
            orphan_sightings={(each.identity, each.credential): 1 for each in self.federations},
        )

    def _grant(self) -> Grant:
        return Grant(
            name="shop",
            uid="grant-shop",
            generation=1,
            namespaces=NamespaceRule(selector=LabelSelector({"team": "shop"})),
            vault_url=VAULT,
            identities=tuple(PoolMember(each.text) for each in self.identities),
            claims=ClaimMode.AUTOMATIC,
            approval=ApprovalMode.AUTOMATIC,
        )

    def _store(self, namespace: str) -> Store:
        return Store(
            namespace,
            "azure-store",
            vault_url=VAULT,
            auth_type="WorkloadIdentity",
            service_account_name="keystead",
            provider="azurekv",
            ready=True,
            ours=True,
        )


def _measure(scale: Scale, repeat: int, *, again: bool = False, near: bool = False) -> dict[str, float]:
    """*again*: after an earlier plan that is recollected; *near*: as the operator plans, no further than it places."""
    limits = dataclasses.replace(Limits(), horizon=datetime.timedelta(seconds=2) if near else None)
    recollection = Recollection()
    if again:
        make_plan(dataclasses.replace(scale.snapshot(), limits=limits), recollection)
    taken, steps = [], 0
    for _ in range(repeat):
        snapshot = dataclasses.replace(scale.snapshot(), limits=limits)
        gc.collect()
        with uncollected():  # as in the operator
            began = time.process_time()
            steps = len(make_plan(snapshot, recollection if again else Recollection()).steps)
            taken.append((time.process_time() - began) * 1000)
    return {"median": statistics.median(taken), "best": min(taken), "steps": steps}


def _plans(count: int, repeat: int) -> dict[str, dict[str, float]]:
    states: dict[str, tuple[Callable[[], Scale], dict[str, bool]]] = {
        "all served, planned before": (lambda: Scale(count, count), {"again": True}),
        "all served, for the first time": (lambda: Scale(count, count), {}),
        "half served, half waiting, as the operator plans": (
            lambda: Scale(count, count // 2),
            {"again": True, "near": True},
        ),
        "nothing placed yet, as the operator plans": (lambda: Scale(count, 0), {"near": True}),
        "half served, the other half's whole way": (lambda: Scale(count, count // 2), {}),
        "nothing placed yet, everybody's whole way": (lambda: Scale(count, 0), {}),
    }
    return {name: _measure(make(), repeat, **how) for name, (make, how) in states.items()}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rows = _plans(options.claims, options.repeat)
    text = _plan_section(rows, options.claims, options.repeat)
    print(text, flush=True)
    if options.plan:
        return
    size = Size()
    steady = watch(size)
    weight = weigh(size)
    found = {
        "load": load,
        "claims": options.claims,
        "bar": BAR,
        "plan": rows,
        "size": dataclasses.asdict(size),
        "steady": dataclasses.asdict(steady),
        "process": weight,
    }
    page = _page(text, steady, weight, size, load)
    print(page)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "scale.md").write_text(page)
    (options.output / "scale.json").write_text(json.dumps(found, indent=1) + "\n")


def _plan_section(rows: dict[str, dict[str, float]], count: int, repeat: int) -> str:
    lines = [
        f"## Planning a grant with {count:,} claims",
        "",
        (
            f"Processor time of `make_plan` alone, {repeat} times on fresh snapshots, over {count // _SLOTS + 1} "
            f"identities; the bar is {BAR:.0f} ms. The operator recollects what it said of claims at rest, and gives "
            "places no more than two seconds ahead of their turns; `keystead plan` shows everybody's whole way."
        ),
        "",
        "| state of the world | steps planned | median, ms | best, ms |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['steps']:.0f} | {row['median']:.0f} | {row['best']:.0f} |" for name, row in rows.items()
    ]
    return "\n".join(lines) + "\n"


def _page(plans: str, steady: Steady, weight: dict[str, Any], size: Size, load: float) -> str:
    rate = min(15.0, 5.0 * size.subscriptions)
    bound = size.identities / rate
    figures = (
        ("first plan of the first grant, s of virtual time", f"{steady.first_plan:.1f}", "≤ 20"),
        ("all grants planned, s of virtual time", f"{steady.all_plans:.1f}", f"≤ {1.05 * bound + 10:.0f}"),
        ("share of a core in an hour at rest", f"{steady.hour_processor / HOUR:.2%}", "≤ 1 %"),
        ("memory when all is planned, MB", f"{weight['resident']:.0f}", "≤ 250"),
        ("its peak, MB", f"{weight['peak']:.0f}", ""),
        ("processor time until all is planned, s", f"{weight['processor']:.1f}", ""),
    )
    lines = [
        "<!-- written by `make bench`; do not edit by hand -->",
        "",
        "# A large cluster, measured",
        "",
        (
            f"`make bench ONLY=scale`. Python {platform.python_version()}, {len(os.sched_getaffinity(0))} cores, load "
            f"{load:.1f} when it began."
        ),
        "",
        f"## {size.namespaces:,} namespaces, {size.identities} identities, {size.grants} grants",
        "",
        (
            "An operator starts where all is done, on virtual time; the hour at rest begins a quarter of an hour after the "
            f"last plan. Azure allows {rate:.0f} lists a second over these {size.subscriptions} subscriptions, so that all "
            f"identities are read in {bound:.0f} s at the earliest. Processor time is the operator's own, told apart from "
            "that of the services beside it. Memory is that of a process of its own, interpreter and imports included."
        ),
        "",
        "| | measured | bar |",
        "|---|---|---|",
        *(f"| {name} | {value} | {bar} |" for name, value, bar in figures),
        "",
        (
            f"What the operator asks in that hour, in which {steady.passes} passes were made; each claim is proven once "
            "in 24 h, two exchanges and a look at the vault each time:"
        ),
        "",
        "| request | in an hour |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in steady.requests.items()),
        "",
        plans,
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
