"""The one question the rules are asked: the world as seen in one look, at one ``now``, for one grant."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from keystead.model.credentials import Credential, IdentityState
from keystead.model.growth import FoundIdentity, Look, RoleHolders
from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason
from keystead.model.records import (
    Approval,
    Claim,
    Cluster,
    Exchange,
    Federation,
    Grant,
    Guards,
    Namespace,
    ServiceAccount,
    Store,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that rules depend on; durations as the operator was given them."""

    lane_pace: datetime.timedelta = datetime.timedelta(seconds=4)
    subscription_pace: datetime.timedelta = datetime.timedelta(seconds=0.5)
    tenant_pace: datetime.timedelta = datetime.timedelta(seconds=0.1)
    horizon: datetime.timedelta | None = None
    """Claims are given a place when their turn is no further off; ``None``: at once, as who wants to see it all needs."""
    propagation_wait: datetime.timedelta = datetime.timedelta(seconds=20)
    heartbeat: datetime.timedelta = datetime.timedelta(hours=24)
    finalizer_wait: datetime.timedelta = datetime.timedelta(seconds=30)
    recreate_delay: datetime.timedelta = datetime.timedelta(minutes=1)
    """How long a deleted automatic claim stays away the first time; doubles up to an hour."""
    service_account_names: frozenset[str] = frozenset({"keystead"})
    mass_revocation_count: int = 5
    mass_revocation_share: float = 0.2
    sweep_limit: int = 5
    observe_only: bool = False
    require_guards: bool = False
    """Nothing new is granted while the admission guards are not in force."""
    own_namespace: str = ""
    """Where the operator lives; its probe account is there."""


@dataclass(frozen=True, slots=True)
class Lane:
    """How soon one identity could take another write, and what already waits there."""

    writable_in: datetime.timedelta = datetime.timedelta(0)
    queued: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """What stopped a step the last time it was carried out, remembered until it succeeds or the object changes."""

    unit: str
    step: str
    """Name of the step's class."""
    reason: Reason
    message: str
    at: datetime.datetime
    retry_at: datetime.datetime | None
    """When it may be tried again; ``None``: not before something it depends on changes."""


_NOT_LISTED: Look[tuple[FoundIdentity, ...]] = Look(())
_NOT_READ = Look(RoleHolders())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one pass over one grant may look at. Built by ``observe``, complete and frozen."""

    now: datetime.datetime
    cluster: Cluster
    grant_name: str
    grant: Grant | None
    """``None``: deleted; its Federations remain to be revoked."""
    other_grants: tuple[Grant, ...] = ()
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    """Every namespace of the cluster by name."""
    claims: tuple[Claim, ...] = ()
    """Claims on this grant, in any namespace."""
    other_claims: Mapping[str, tuple[Claim, ...]] = field(default_factory=dict)
    """By namespace: claims on other grants in the namespaces that this grant serves."""
    approvals: tuple[Approval, ...] = ()
    guards: Guards = field(default_factory=Guards)
    """How the admission guards stand."""
    federations: tuple[Federation, ...] = ()
    """Ledger entries of this grant, those being revoked included."""
    other_federations: tuple[Federation, ...] = ()
    """Ledger entries of other grants on identities of this pool, or for subjects of this grant's claims."""
    service_accounts: Mapping[tuple[str, str], ServiceAccount] = field(default_factory=dict)
    stores: Mapping[tuple[str, str], Store] = field(default_factory=dict)
    sharing: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """By namespace and account: the stores that use it, where there are several."""
    waiting_finalizers: Mapping[str, int] = field(default_factory=dict)
    """By terminating namespace: SecretStores there that still carry a finalizer of ESO's."""
    identities: Mapping[IdentityId, IdentityState] = field(default_factory=dict)
    lanes: Mapping[IdentityId, Lane] = field(default_factory=dict)
    in_flight: frozenset[tuple[IdentityId, str]] = frozenset()
    """Identity and name of credentials that a lane is writing or deleting at this moment, or may have written."""
    exchanges: Mapping[str, Exchange] = field(default_factory=dict)
    """By Federation: the newest result of a verification, also before status shows it."""
    failures: Mapping[str, Failure] = field(default_factory=dict)
    """By unit: what stopped it last."""
    claim_deletions: Mapping[str, tuple[int, datetime.datetime]] = field(default_factory=dict)
    """By namespace: how often its automatic claim was deleted by somebody, and when last."""
    orphan_sightings: Mapping[tuple[IdentityId, Credential], int] = field(default_factory=dict)
    """Orphans seen by earlier lists: how many separate lists showed each."""
    made: Look[tuple[FoundIdentity, ...]] = _NOT_LISTED
    """The identities of the resource group in which the pool grows, whosever they are."""
    roles: Look[RoleHolders] = _NOT_READ
    """Who has which roles on the grant's vault."""
    limits: Limits = Limits()
