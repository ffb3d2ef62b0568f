"""The small world with a pool that grows: Azure's resource group, roles that work late, and a grant that remembers.

Carrying out enforces what growth may never do, so that a plan that does it fails where it does.
"""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from keystead.model.credentials import IdentityState
from keystead.model.growth import (
    PROBE_ACCOUNT,
    SECRETS_USER,
    FoundIdentity,
    IdentityProof,
    Look,
    Provisioning,
    RoleHolders,
)
from keystead.model.ids import IdentityId, NamespaceUid
from keystead.model.reasons import Reason
from keystead.model.records import ClaimMode, Exchange, Federation, Grant, Namespace
from keystead.plan.provisioning import Growing, growing
from keystead.plan.snapshot import Limits, Snapshot
from keystead.plan.steps import AssignRole, CreateIdentity, DeleteCredential, Plan, Verify, WriteCredential
from plan.worlds import CLUSTER, NOW, SECOND, TENANT, World, a_grant

HOME = "keystead-system"
GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg-pool"
VAULT_ID = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv-shop"
ROLE_WORKS_AFTER = datetime.timedelta(minutes=5)


def provisioning(**fields: object) -> Provisioning:
    given = Provisioning(GROUP, "westeurope", "ks", max_identities=3, headroom=5)
    return replace(given, **fields)  # type: ignore[arg-type]  # names and values are the caller's, checked at run time


def a_growing_grant(*, identities: Iterable[str] = (), pool: Provisioning | None = None, **fields: Any) -> Grant:
    return a_grant(
        identities=identities,
        vault_resource_id=VAULT_ID,
        provisioning=pool or provisioning(),
        claims=ClaimMode.ON_REQUEST,
        **fields,
    )


@dataclass
class GrowingWorld(World):
    """As the world, with Azure growing."""

    grant: Grant | None = field(default_factory=a_growing_grant)
    limits: Limits = field(default_factory=lambda: Limits(own_namespace=HOME))
    made: Look[tuple[FoundIdentity, ...]] = field(default_factory=lambda: Look((), NOW))
    roles: Look[RoleHolders] = field(default_factory=lambda: Look(RoleHolders(), NOW))
    given: dict[str, datetime.datetime] = field(default_factory=dict)
    """By principal: when it was given the role."""
    shown: set[str] = field(default_factory=set)
    """Principals that were seen to read the vault."""
    creations: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.namespaces[HOME] = Namespace(HOME, NamespaceUid("home"))

    # what a test does

    def claims_in(self, count: int, first: int = 0) -> None:
        """So many namespaces with a claim each."""
        for number in range(first, first + count):
            self.namespace(f"shop-{number:03}")
            self.claim(f"shop-{number:03}")

    def add(self, name: str, *, principal: str = "", tags: dict[str, str] | None = None) -> FoundIdentity:
        """An identity of the group, whosever."""
        identity = self.growing.group.identity(name)
        principal = principal or f"principal-{self.uid()}"
        found = FoundIdentity(identity, f"client-{name}", principal, TENANT, tags or {})
        self.made = replace(self.made, value=(*self.made.value, found))
        self.identities[identity] = IdentityState(identity, f"client-{name}", principal, TENANT, (), self.now)
        return found

    def lose(self, identity: IdentityId) -> None:
        """Somebody deletes it in Azure."""
        self.made = replace(self.made, value=tuple(each for each in self.made.value if each.id != identity))
        self.identities[identity] = IdentityState(identity, problem=Reason.IDENTITY_NOT_FOUND)

    def untag(self, identity: IdentityId) -> None:
        """Somebody takes its tags away."""
        value = tuple(replace(each, tags={}) if each.id == identity else each for each in self.made.value)
        self.made = replace(self.made, value=value)

    def take_role(self, principal: str) -> None:
        self.given.pop(principal, None)
        self.shown.discard(principal)
        held = {who: roles for who, roles in self.roles.value.held.items() if who != principal}
        self.roles = replace(self.roles, value=replace(self.roles.value, held=held))

    # what a test sees

    @property
    def growing(self) -> Growing:
        assert self.grant is not None
        found = growing(self.grant, CLUSTER)
        assert found is not None
        return found

    def ours(self) -> list[FoundIdentity]:
        return sorted((each for each in self.made.value if self.growing.owns(each)), key=lambda each: each.id.key)

    def probes(self) -> list[Federation]:
        return [each for each in self.federations.values() if each.probe]

    def snapshot(self) -> Snapshot:
        return replace(super().snapshot(), made=self.made, roles=self.roles)

    # what Keystead does

    def report(self, plan: Plan) -> None:
        super().report(plan)
        if self.grant is None or plan.grant is None:
            return
        rows = [each for each in plan.grant.identities if each.principal_id]
        proofs = tuple(IdentityProof(each.resource_id, each.principal_id, each.proven_at) for each in rows)
        self.grant = replace(self.grant, proofs=proofs)

    def _CreateIdentity(self, step: CreateIdentity) -> None:  # noqa: N802 - named for its step
        assert step.identity not in {each.id for each in self.made.value}, "never over one that exists"
        assert len(self.ours()) < self.growing.most
        self.creations += 1
        self.add(step.identity.name, tags=dict(step.tags))

    def _AssignRole(self, step: AssignRole) -> None:  # noqa: N802 - named for its step
        assert step.principal_id in {each.principal_id for each in self.ours()}, "only to identities of ours"
        assert step.role == SECRETS_USER
        self.given.setdefault(step.principal_id, self.now)
        held = {**self.roles.value.held, step.principal_id: frozenset({step.role})}
        self.roles = replace(self.roles, value=replace(self.roles.value, held=held))

    def _WriteCredential(self, step: WriteCredential) -> None:  # noqa: N802 - named for its step
        ours = {each.id: each.principal_id for each in self.ours()}
        if step.identity in ours and not step.credential.subject.endswith(f":{PROBE_ACCOUNT}"):
            assert ours[step.identity] in self.shown, "no claim sits on an identity that was not proven"
        super()._WriteCredential(step)
        self.exchanges.pop(step.federation_name, None)

    def _DeleteCredential(self, step: DeleteCredential) -> None:  # noqa: N802 - named for its step
        super()._DeleteCredential(step)
        self.exchanges.pop(step.federation_name, None)

    def _Verify(self, step: Verify) -> None:  # noqa: N802 - named for its step
        federation = self.federations[step.federation_name]
        principal = self.identities[federation.identity].principal_id
        since = self.given.get(principal)
        ours = federation.identity in {each.id for each in self.ours()}
        if ours and (since is None or self.now < since + ROLE_WORKS_AFTER):
            self.exchanges[step.federation_name] = Exchange("ForbiddenByRbac", self.now)
            return
        self.shown.add(principal)
        super()._Verify(step)


__all__ = ["GROUP", "HOME", "SECOND", "VAULT_ID", "GrowingWorld", "a_growing_grant", "provisioning"]
