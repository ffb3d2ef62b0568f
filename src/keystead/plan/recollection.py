"""Pure: what the last plan of a grant said of claims at rest, so that the next need not find it out again.

- At rest is a claim for which nothing is planned and of which nothing failed, alone in its namespace, served by one ledger
  entry on an identity of the pool whose credential Azure shows, and whose proof is not due.
- It is recalled only while everything that its judgement was made of is as it was: the grant's own word, the claim, its
  namespace, the reviewers' words, the ledger entry, identity, exchange, account and store. Nothing else bears on it.
- A plan made with recollection and one made without are equal; a property test plays random worlds to hold us to it.
"""

import datetime
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from keystead.model.credentials import IdentityState
from keystead.model.ids import NamespaceUid
from keystead.model.records import (
    Approval,
    Claim,
    Cluster,
    Exchange,
    Federation,
    Grant,
    Namespace,
    NamespaceRule,
    ServiceAccount,
    Store,
)
from keystead.plan import policy
from keystead.plan.admission import Admission
from keystead.plan.granting import Progress
from keystead.plan.snapshot import Limits, Snapshot
from keystead.plan.steps import ClaimVerdict, FederationVerdict
from keystead.plan.validation import Member, Problem


class Basis(NamedTuple):
    """What the judgement on every claim of a grant rests on."""

    grant: Grant | None
    problems: tuple[Problem, ...]
    cluster: Cluster
    limits: Limits


class Seen(NamedTuple):
    """What the judgement on one claim was made of."""

    claim: Claim
    namespace: Namespace
    words: tuple[Approval, ...]
    federation: Federation
    state: IdentityState | None
    exchange: Exchange | None
    account: ServiceAccount | None
    store: Store | None
    sharing: tuple[str, ...]


class Rest(NamedTuple):
    """A claim at rest: what was seen of it, and what followed from that."""

    seen: Seen
    due: datetime.datetime
    """When its exchange has to be proven again."""
    admission: Admission
    progress: Progress
    verdict: ClaimVerdict
    entry: FederationVerdict


class Allowed(NamedTuple):
    """Which of these very namespaces a rule allows."""

    namespaces: Mapping[str, Namespace]
    rule: NamespaceRule
    names: tuple[str, ...]


@dataclass
class Recollection:
    """Of one grant; whoever plans it again and again keeps it."""

    basis: Basis | None = None
    rests: dict[str, Rest] | None = None
    """By claim."""
    allowed: Allowed | None = None


def allowed_names(
    recollection: Recollection, namespaces: Mapping[str, Namespace], rule: NamespaceRule
) -> tuple[str, ...]:
    """Names of the namespaces that *rule* allows, in order; looked through only when there are others than before."""
    known = recollection.allowed
    if known is None or known.namespaces is not namespaces or known.rule != rule:
        names = tuple(name for name in sorted(namespaces) if policy.judge(rule, namespaces[name]).allowed)
        known = recollection.allowed = Allowed(namespaces, rule, names)
    return known.names


def basis_of(snapshot: Snapshot, grant: Grant | None, problems: tuple[Problem, ...]) -> Basis:
    """Status is what we say, not what we go by."""
    bare = replace(grant, conditions=()) if grant is not None else None
    return Basis(bare, problems, snapshot.cluster, snapshot.limits)


class Sights:
    """What the judgement on each claim of one snapshot is made of, for those that can be at rest at all."""

    def __init__(self, snapshot: Snapshot, grant: Grant | None, pool: Collection[Member]) -> None:
        self._snapshot = snapshot
        self._pool = {member.identity for member in pool}
        self._store = grant.template.secret_store_name if grant is not None else ""
        self._crowd = Counter(claim.namespace for claim in snapshot.claims)
        self._entries: dict[str, Federation | None] = {}
        for each in snapshot.federations:
            if each.probe:
                continue
            key = each.claim_key
            self._entries[key] = each if key not in self._entries else None
        self._words: dict[tuple[str, NamespaceUid], list[Approval]] = defaultdict(list)
        for word in snapshot.approvals:
            self._words[word.namespace, word.namespace_uid].append(word)

    def of(self, key: str, claim: Claim) -> Seen | None:
        """``None`` for a claim that is not alone in its namespace, has not one ledger entry, on the pool, or met a failure."""
        snapshot, name = self._snapshot, claim.namespace
        federation, namespace = self._entries.get(key), snapshot.namespaces.get(name)
        if federation is None or namespace is None or federation.identity not in self._pool:
            return None  # outside the pool it waits for a place, and what others leave free bears on it
        if self._crowd[name] > 1 or name in snapshot.other_claims:
            return None
        if key in snapshot.failures:
            return None  # its step is left out until its time comes: nothing but the clock tells that it has
        account = (name, federation.service_account_name)
        return Seen(
            claim,
            namespace,
            tuple(self._words.get((name, namespace.uid), ())),
            federation,
            snapshot.identities.get(federation.identity),
            snapshot.exchanges.get(federation.name),
            snapshot.service_accounts.get(account),
            snapshot.stores.get((name, claim.secret_store_name or self._store)),
            snapshot.sharing.get(account, ()),
        )


def recall(
    recollection: Recollection, basis: Basis, sights: Sights, claims: dict[str, Claim], now: datetime.datetime
) -> Iterator[tuple[str, Rest]]:
    """Claims of which the same can be said again."""
    if recollection.basis != basis or not recollection.rests:
        return
    for key, rest in recollection.rests.items():
        claim = claims.get(key)
        if claim is not None and now < rest.due and sights.of(key, claim) == rest.seen:
            yield key, rest
