"""Builds the snapshot of one grant: caches, inventory, lanes and board, joined at one ``now``."""

import dataclasses
import datetime
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from keystead.model.clock import Clock
from keystead.model.growth import FoundIdentity, Look, RoleHolders
from keystead.model.ids import IdentityId, NamespaceUid
from keystead.model.records import (
    Annotation,
    Claim,
    Cluster,
    Exchange,
    Federation,
    Grant,
    Namespace,
    ServiceAccount,
    Store,
    pool_units,
)
from keystead.observe.inventory import Inventory
from keystead.observe.looks import PoolLooks
from keystead.observe.ports import Caches
from keystead.plan import policy
from keystead.plan.provisioning import growing, vault_id
from keystead.plan.snapshot import Failure, Lane, Limits, Snapshot
from keystead.plan.sweep import sweep_unit

FORGOTTEN = datetime.timedelta(hours=3)
"""A claim that nobody has deleted for so long comes back as soon as one that never was."""
_LATE = datetime.timedelta(seconds=60)
"""A cache that shows something else for so long need not be late: somebody may have changed what was written."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the hands remember; the same mappings, always current."""

    failures: Mapping[str, Failure]
    exchanges: Mapping[str, Exchange]
    recorded: dict[str, Federation]
    annotated: dict[tuple[str, str], Annotation]
    lanes: Callable[[], Mapping[IdentityId, Lane]]
    in_flight: Callable[[], frozenset[tuple[IdentityId, str]]]


@dataclass(frozen=True, slots=True)
class Azure:
    """What is seen of Azure, each part with a rhythm of its own."""

    inventory: Inventory
    pools: PoolLooks


class Observer:
    """The eyes."""

    def __init__(
        self, caches: Caches, azure: Azure, memory: Memory, clock: Clock, cluster: Cluster, limits: Limits
    ) -> None:
        self._caches = caches
        self._inventory = azure.inventory
        self._groups = azure.pools.groups
        self._roles = azure.pools.roles
        self._memory = memory
        self._clock = clock
        self._cluster = cluster
        self._limits = limits
        self._deletions: dict[tuple[str, NamespaceUid], tuple[int, datetime.datetime]] = {}

    def claim_deleted(self, claim: Claim) -> None:
        """An automatic claim went although its namespace stayed and is still allowed: somebody deleted it.

        Each kind is watched for itself, so the namespace may be ahead (made anew already) or behind (its end not seen
        yet): a claim older than the namespace was another's, and what is counted is the namespace's by its UID.
        """
        namespace = self._caches.namespaces().get(claim.namespace)
        if not claim.automatic or namespace is None or namespace.terminating:
            return
        if claim.created_at and namespace.created_at and claim.created_at < namespace.created_at:
            return
        grant = next((each for each in self._caches.grants() if each.name == claim.grant_name), None)
        if grant is None or not policy.judge(grant.namespaces, namespace).allowed:
            return  # the operator's own doing
        key = (claim.grant_name, namespace.uid)
        count, last = self._deletions.get(key, (0, self._clock.now()))
        if self._clock.now() - last > FORGOTTEN:
            count = 0
        self._deletions[key] = (count + 1, self._clock.now())

    def account_changed(self, old: ServiceAccount | None, new: ServiceAccount | None) -> None:
        """Once the cache has shown what we wrote onto an account, what it shows later counts again."""
        if new is not None:
            self._as_annotated(new)
        elif old is not None:
            self._memory.annotated.pop((old.namespace, old.name), None)

    def snapshot(self, name: str) -> Snapshot | None:
        """``None`` when there is no such grant, and nothing that it left behind."""
        grants = {grant.name: grant for grant in self._caches.grants()}
        recorded = self._recorded()
        mine = _ledger(self._caches.federations_of(name), (each for each in recorded if each.grant_name == name))
        claims = tuple(self._caches.claims_of(name))
        grant = grants.get(name)
        if grant is None and not mine:
            return None
        grows = growing(grant, self._cluster) if grant is not None else None
        vault = vault_id(grant) if grant is not None else None
        made: Look[tuple[FoundIdentity, ...]] = self._groups.view(grows.group, name) if grows is not None else Look(())
        found = [each for each in made.value if grows is not None and grows.owns(each)]
        ours = {each.id for each in found}
        for each in found:
            self._inventory.anew(each.id, each.principal_id)
        identities = sorted({*_pool(grant), *ours, *(each.identity for each in mine)})
        subjects = {each.namespace for each in claims}
        namespaces = self._caches.namespaces()
        near = self._near(identities, subjects, recorded)
        self._vouch(near, identities)
        return Snapshot(
            now=self._clock.now(),
            cluster=self._cluster,
            grant_name=name,
            grant=grant,
            other_grants=tuple(grants[each] for each in sorted(grants) if each != name),
            namespaces=namespaces,
            claims=claims,
            other_claims=self._other_claims(name, subjects),
            approvals=tuple(each for each in self._caches.approvals() if each.grant_name == name),
            guards=self._caches.guards(),
            federations=mine,
            other_federations=tuple(each for each in near if each.grant_name != name),
            service_accounts=self._accounts(claims, mine, grant),
            stores=self._stores(claims, grant),
            sharing=self._sharing(claims),
            waiting_finalizers=self._finalizers(mine, namespaces),
            identities=self._inventory.states(identities, name),
            lanes=self._memory.lanes(),
            in_flight=self._memory.in_flight(),
            exchanges=self._exchanges(mine),
            failures=self._failures(name, claims, mine, identities),
            claim_deletions=self._deletions_from(name, namespaces),
            orphan_sightings=self._inventory.sightings(identities),
            made=made,
            roles=self._roles.view(vault, name) if vault is not None else Look(RoleHolders()),
            limits=self._limits,
        )

    def _exchanges(self, federations: Iterable[Federation]) -> dict[str, Exchange]:
        known = self._memory.exchanges
        return {each.name: known[each.name] for each in federations if each.name in known}

    def _deletions_from(
        self, grant: str, namespaces: Mapping[str, Namespace]
    ) -> dict[str, tuple[int, datetime.datetime]]:
        if not self._deletions:
            return {}
        names = {each.uid: each.name for each in namespaces.values()}
        for key in [key for key in self._deletions if key[1] not in names]:
            del self._deletions[key]
        return {names[uid]: count for (owner, uid), count in self._deletions.items() if owner == grant}

    def next_list(self, seen: Snapshot) -> float | None:
        """Seconds until something of Azure that the snapshot shows should be read again."""
        grows = growing(seen.grant, self._cluster) if seen.grant is not None else None
        vault = vault_id(seen.grant) if seen.grant is not None else None
        due = (
            self._inventory.next_due(seen.identities),
            self._groups.next_due([grows.group] if grows is not None else []),
            self._roles.next_due([vault] if vault is not None else []),
        )
        return min((each for each in due if each is not None), default=None)

    def _recorded(self) -> tuple[Federation, ...]:
        """What we have just written and the cache does not show yet."""
        recorded = self._memory.recorded
        for name, each in list(recorded.items()):
            if any(shown.name == name for shown in self._caches.federations_in(each.namespace)):
                del recorded[name]
        return tuple(recorded.values())

    def _near(
        self, identities: Iterable[IdentityId], namespaces: Iterable[str], recorded: Iterable[Federation]
    ) -> tuple[Federation, ...]:
        """Ledger entries of whatever grant that are on these identities or in these namespaces."""
        on, within = set(identities), set(namespaces)
        return _ledger(
            (each for identity in on for each in self._caches.federations_on(identity)),
            (each for place in within for each in self._caches.federations_in(place)),
            (each for each in recorded if each.identity in on or each.namespace in within),
        )

    def _vouch(self, federations: Iterable[Federation], identities: Iterable[IdentityId]) -> None:
        names: dict[IdentityId, list[str]] = {identity: [] for identity in identities}
        for each in federations:
            if each.identity in names:
                names[each.identity].append(each.credential.name)
        for identity, held in names.items():
            self._inventory.vouched(identity, held)

    def _other_claims(self, name: str, namespaces: set[str]) -> dict[str, tuple[Claim, ...]]:
        found = {
            namespace: tuple(each for each in self._caches.claims_in(namespace) if each.grant_name != name)
            for namespace in namespaces
        }
        return {namespace: claims for namespace, claims in found.items() if claims}

    def _accounts(
        self, claims: Iterable[Claim], federations: Iterable[Federation], grant: Grant | None
    ) -> dict[tuple[str, str], ServiceAccount]:
        default = grant.template.service_account_name if grant is not None else ""
        places = {(each.namespace, each.service_account_name or default) for each in claims}
        places |= {(each.namespace, each.service_account_name) for each in federations}
        found = {place: self._caches.service_account(*place) for place in places}
        return {place: self._as_annotated(account) for place, account in found.items() if account is not None}

    def _as_annotated(self, account: ServiceAccount) -> ServiceAccount:
        """With what we have just written onto this very account, and the cache does not show yet."""
        place = account.namespace, account.name
        written = self._memory.annotated.get(place)
        if written is None:
            return account
        late = abs(self._clock.now() - written.at) < _LATE  # the clock may have been set back
        if not late or written.account_uid != account.uid or written.shows_on(account):
            del self._memory.annotated[place]
            return account
        return dataclasses.replace(account, client_id=written.client_id, tenant_id=written.tenant_id)

    def _stores(self, claims: Iterable[Claim], grant: Grant | None) -> dict[tuple[str, str], Store]:
        default = grant.template.secret_store_name if grant is not None else ""
        places = {(each.namespace, each.secret_store_name or default) for each in claims}
        found = {place: self._caches.store(*place) for place in places}
        return {place: store for place, store in found.items() if store is not None}

    def _sharing(self, claims: Iterable[Claim]) -> dict[tuple[str, str], tuple[str, ...]]:
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for namespace in {each.namespace for each in claims}:
            stores = self._caches.stores_in(namespace)
            for store in stores if len(stores) > 1 else ():
                if store.service_account_name:
                    found[namespace, store.service_account_name].append(store.name)
        return {place: tuple(sorted(names)) for place, names in found.items() if len(names) > 1}

    def _finalizers(self, federations: Iterable[Federation], namespaces: Mapping[str, Namespace]) -> dict[str, int]:
        found = {each.namespace: namespaces.get(each.namespace) for each in federations}
        places = [place for place, each in found.items() if each is not None and each.terminating]
        return {place: count for place in places if (count := self._caches.stores_with_finalizers(place))}

    def _failures(
        self,
        grant: str,
        claims: Iterable[Claim],
        federations: Iterable[Federation],
        identities: Iterable[IdentityId],
    ) -> dict[str, Failure]:
        """Of what stands, and of what could not be: automatic claims, the sweep of orphans, identities of the pool."""
        if not self._memory.failures:
            return {}
        units = {*(each.key for each in claims), *(each.name for each in federations)}
        units |= {each.unit for each in federations}
        begun = (pool_units(grant), *(sweep_unit(each) for each in identities))
        return {
            unit: failure
            for unit, failure in self._memory.failures.items()
            if unit in units or unit.rpartition("/")[2] == grant or unit.startswith(begun)
        }


def _ledger(*parts: Iterable[Federation]) -> tuple[Federation, ...]:
    """All of them once, by name."""
    found = {each.name: each for part in parts for each in part}
    return tuple(found[name] for name in sorted(found))


def _pool(grant: Grant | None) -> set[IdentityId]:
    found = set()
    for member in grant.identities if grant is not None else ():
        try:
            found.add(IdentityId.parse(member.resource_id))
        except ValueError:
            continue  # the grant's Valid condition names the field
    return found
