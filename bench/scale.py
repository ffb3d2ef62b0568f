"""How long one pass of pure rules takes over a grant with ten thousand claims, and what it is made of.

``--claims N`` (default 10000), ``--repeat R`` (default 7), ``--output DIR`` (default docs/benchmarks). Each state of the
world is planned R times on a fresh snapshot; the table gives the median and the best, in milliseconds.
"""

import argparse
import datetime
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

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
from keystead.plan.naming import credential_name
from keystead.plan.planner import make_plan
from keystead.plan.snapshot import Snapshot

ROOT = Path(__file__).parents[1]
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
            f"store-{namespace}",
            vault_url=VAULT,
            auth_type="WorkloadIdentity",
            service_account_name="keystead",
            provider="azurekv",
            ready=True,
            ours=True,
        )


def _measure(scale: Scale, repeat: int) -> dict[str, float]:
    taken, steps = [], 0
    for _ in range(repeat):
        snapshot = scale.snapshot()
        gc.collect()
        began = time.process_time()
        steps = len(make_plan(snapshot).steps)
        taken.append((time.process_time() - began) * 1000)
    return {"median": statistics.median(taken), "best": min(taken), "steps": steps}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks")
    options = parser.parse_args()
    count = options.claims
    states: dict[str, Callable[[], Scale]] = {
        "all served, nothing to do": lambda: Scale(count, count),
        "half served, half to place": lambda: Scale(count, count // 2),
        "nothing placed yet": lambda: Scale(count, 0),
    }
    rows = {name: _measure(make(), options.repeat) for name, make in states.items()}
    lines = [
        f"# Planning a grant with {count} claims",
        "",
        (
            f"Processor time of `make_plan` alone, {options.repeat} times on fresh snapshots, over "
            f"{count // _SLOTS + 1} identities; the bar is {BAR:.0f} ms. Python {platform.python_version()}, "
            f"{len(os.sched_getaffinity(0))} cores. `python bench/scale.py`"
        ),
        "",
        "| state of the world | steps planned | median, ms | best, ms |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['steps']:.0f} | {row['median']:.0f} | {row['best']:.0f} |" for name, row in rows.items()
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "scale.md").write_text(text)
    (options.output / "scale.json").write_text(json.dumps({"claims": count, "bar": BAR, "plan": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
