"""Pure: who holds the slots of a grant's identities, and which of others' credentials the grant could take over.

- Ours is what a ledger entry of any grant records; *left behind* is what has our name and no ledger entry.
- Adoptable is somebody else's credential that trusts exactly what we would: this cluster's issuer, the audience of the
  exchange, and an account of an allowed name in a living namespace that the grant allows.
- Everything else is foreign: counted, and left alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential
from keystead.model.ids import IdentityId, service_account_subject
from keystead.model.records import ClaimMode, Grant, Namespace
from keystead.plan import naming, policy
from keystead.plan.holdings import Holdings
from keystead.plan.snapshot import Snapshot

_SUBJECT_PARTS = 4


@dataclass(frozen=True, slots=True)
class Adoptable:
    """A credential of somebody else's that would serve one of the grant's accounts."""

    identity: IdentityId
    credential: Credential
    namespace: str
    service_account: str
    claim: str
    """The claim that it would serve, ``namespace/name``; empty while nobody has asked."""


@dataclass(frozen=True, slots=True)
class Count:
    """The slots of one identity."""

    identity: IdentityId
    ours: int
    left_behind: int
    adoptable: int
    foreign: int


@dataclass(frozen=True, slots=True)
class Census:
    """All identities of a grant that were read."""

    adoptable: tuple[Adoptable, ...] = ()
    counts: tuple[Count, ...] = ()

    @property
    def foreign(self) -> int:
        return sum(each.foreign for each in self.counts)


def take_census(snapshot: Snapshot) -> Census:
    """Of the identities that the grant names; of none when the grant is gone."""
    grant = snapshot.grant
    if grant is None:
        return Census()
    ledger = Holdings(snapshot).ledger
    found: list[Adoptable] = []
    counts: list[Count] = []
    for identity in sorted(_pool(grant)):
        state = snapshot.identities.get(identity)
        if state is None or not state.known:
            continue
        others = [each for each in state.credentials if (identity.key, each.name.lower()) not in ledger]
        left = [each for each in others if naming.is_ours(each.name, snapshot.cluster)]
        fitting = list(_adoptable(snapshot, grant, identity, (each for each in others if each not in left)))
        found += fitting
        ours = len(state.credentials) - len(others)
        counts.append(Count(identity, ours, len(left), len(fitting), len(others) - len(left) - len(fitting)))
    return Census(tuple(found), tuple(counts))


def _pool(grant: Grant) -> set[IdentityId]:
    found = set()
    for member in grant.identities:
        try:
            found.add(IdentityId.parse(member.resource_id))
        except ValueError:
            continue  # the grant's Valid condition names the field
    return found


def _adoptable(
    snapshot: Snapshot, grant: Grant, identity: IdentityId, credentials: Iterable[Credential]
) -> Iterable[Adoptable]:
    for held in sorted(credentials):
        parts = held.subject.split(":")
        if len(parts) != _SUBJECT_PARTS or service_account_subject(parts[2], parts[3]) != held.subject:
            continue
        if held.issuer != snapshot.cluster.issuer or held.audience != EXCHANGE_AUDIENCE:
            continue
        namespace, account = snapshot.namespaces.get(parts[2]), parts[3]
        if namespace is None or not _allowed(snapshot, grant, namespace, account):
            continue
        yield Adoptable(identity, held, namespace.name, account, _claim(snapshot, grant, namespace, account))


def _allowed(snapshot: Snapshot, grant: Grant, namespace: Namespace, account: str) -> bool:
    if namespace.terminating or account not in snapshot.limits.service_account_names:
        return False
    return policy.judge(grant.namespaces, namespace).allowed


def _claim(snapshot: Snapshot, grant: Grant, namespace: Namespace, account: str) -> str:
    default = grant.template.service_account_name
    mine = [each for each in snapshot.claims if each.namespace == namespace.name and not each.deleting]
    for claim in sorted(mine, key=lambda each: each.key):
        if (claim.service_account_name or default) == account:
            return claim.key
    if not mine and grant.claims is ClaimMode.AUTOMATIC and account == default:
        return f"{namespace.name}/{grant.name}"
    return ""
