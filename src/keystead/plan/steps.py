"""The closed union of things a plan can ask for, in the order they must happen.

A *unit* is what an error stops: a claim (``namespace/name``), a Federation (its name) or a stray credential. Within a
unit the steps of a plan are carried out in order; the first one that has to wait for Azure ends the unit's turn, and
the next pass plans the rest from what is then true.
"""

import datetime
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from keystead.model.conditions import ConditionDraft
from keystead.model.credentials import Credential
from keystead.model.ids import IdentityId, NamespaceUid, VaultId
from keystead.model.reasons import Reason
from keystead.model.records import Federation


@dataclass(frozen=True, slots=True)
class CreateClaim:
    """Make the automatic claim of an allowed namespace."""

    unit: str
    namespace: str
    namespace_uid: NamespaceUid
    name: str
    grant_name: str


@dataclass(frozen=True, slots=True)
class DeleteClaim:
    """Remove an automatic claim whose namespace is no longer allowed, once nothing stands behind it."""

    unit: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class RecordFederation:
    """Write the ledger entry, before Azure is touched. ``federation.uid`` is empty: Kubernetes gives it."""

    unit: str
    federation: Federation


@dataclass(frozen=True, slots=True)
class WriteCredential:
    """Create the credential on the identity's lane; the namespace's UID is read live just before."""

    unit: str
    federation_name: str
    identity: IdentityId
    credential: Credential
    namespace: str
    namespace_uid: NamespaceUid
    not_before: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class EnsureServiceAccount:
    """Make the ServiceAccount, without annotations, so that a token can be asked for it."""

    unit: str
    namespace: str
    name: str
    claim_name: str
    claim_uid: str


@dataclass(frozen=True, slots=True)
class Verify:
    """Prove that the exchange works: a quorum of exchanges on fresh connections, then a list on the vault."""

    unit: str
    federation_name: str
    tenant_id: str
    client_id: str
    namespace: str
    service_account_name: str
    vault_url: str
    not_before: datetime.datetime
    credential: Credential
    """What Azure holds, to tell where a token differs from it."""


@dataclass(frozen=True, slots=True)
class AnnotateServiceAccount:
    """Point the ServiceAccount at the identity: only ever after a verified exchange."""

    unit: str
    namespace: str
    name: str
    client_id: str
    tenant_id: str
    claim_name: str
    claim_uid: str
    own: bool
    """The account is ours: labels and owner reference are applied too."""
    namespace_uid: NamespaceUid
    account_uid: str
    """The account that is meant, so that none of the same name in a recreated namespace is; empty: not seen yet."""
    force: bool = False
    """An admin said that what others wrote there may be taken over."""


@dataclass(frozen=True, slots=True)
class ApplyStore:
    """Apply the SecretStore, field by field; by force only where an admin said adopt."""

    unit: str
    namespace: str
    name: str
    vault_url: str
    service_account_name: str
    controller: str
    refresh_interval: int | str | None
    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]
    claim_name: str
    claim_uid: str
    own: bool
    force: bool = False
    drop: tuple[str, ...] = ()
    """Fields of ``spec.provider.azurekv`` that go with the same write."""
    token_role: bool = False
    """With a Role that lets External Secrets Operator mint tokens for the account."""


@dataclass(frozen=True, slots=True)
class NudgeStore:
    """Touch an existing store that fails, so that its engine looks again at once.

    Refused(TOKENS_FORBIDDEN) when External Secrets Operator may not mint tokens for *suspect*; empty: nobody asks.
    """

    unit: str
    namespace: str
    name: str
    suspect: str = ""


@dataclass(frozen=True, slots=True)
class NudgeExternalSecrets:
    """Touch the failing ExternalSecrets behind a store that works now."""

    unit: str
    namespace: str
    store_name: str


@dataclass(frozen=True, slots=True)
class BeginRevocation:
    """Delete the Federation object; its finalizer keeps it until Azure is clean. The intent thus survives a crash."""

    unit: str
    federation_name: str
    federation_uid: str
    cause: Reason


@dataclass(frozen=True, slots=True)
class WithdrawAnnotation:
    """Take our annotations off the ServiceAccount, so that ESO stops before Entra refuses."""

    unit: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class DeleteCredential:
    """Delete a credential that the ledger records, on the identity's lane, ahead of all writes."""

    unit: str
    federation_name: str
    identity: IdentityId
    credential: Credential
    not_before: datetime.datetime | None = None
    adopted: bool = False
    """Others know it too, and may have changed it since it was listed: it is looked at just before."""


@dataclass(frozen=True, slots=True)
class SweepCredential:
    """Delete a credential that is provably ours and that no ledger entry or allowed namespace stands behind."""

    unit: str
    identity: IdentityId
    credential: Credential


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A credential that stays in Azure although its ledger entry goes, and on whose word."""

    identity: IdentityId
    credential: Credential
    why: str
    by: str = ""
    """A person; empty: the grant says so."""


@dataclass(frozen=True, slots=True)
class ForgetFederation:
    """Azure has confirmed, or somebody has said not to wait for it: drop the finalizer, and with it the ledger entry."""

    unit: str
    federation_name: str
    federation_uid: str
    left_behind: LeftBehind | None = None


@dataclass(frozen=True, slots=True)
class CreateIdentity:
    """Make one more identity of a growing pool, tagged as this grant's; never over one that exists."""

    unit: str
    identity: IdentityId
    location: str
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AssignRole:
    """Give a new identity its role on the vault; *name* follows from the rest, so that twice is once."""

    unit: str
    identity: IdentityId
    principal_id: str
    vault: VaultId
    role: str
    """GUID of the role's definition."""
    name: str


Step: TypeAlias = (
    CreateClaim
    | DeleteClaim
    | RecordFederation
    | WriteCredential
    | EnsureServiceAccount
    | Verify
    | AnnotateServiceAccount
    | ApplyStore
    | NudgeStore
    | NudgeExternalSecrets
    | BeginRevocation
    | WithdrawAnnotation
    | DeleteCredential
    | SweepCredential
    | ForgetFederation
    | CreateIdentity
    | AssignRole
)

LaneStep: TypeAlias = WriteCredential | DeleteCredential | SweepCredential
"""Steps that a lane carries out, one at a time per identity."""
PoolStep: TypeAlias = CreateIdentity | AssignRole
"""Steps that make an identity; they wait for Azure too, and are no business of a lane's."""


@dataclass(frozen=True, slots=True)
class Held:
    """A step that the plan would take but for a brake, and the reason."""

    step: Step
    reason: Reason


class ClaimVerdict(NamedTuple):
    """What to tell the tenant about one claim. A tuple, since one is made for each of ten thousand claims."""

    claim_key: str
    claim_uid: str
    conditions: tuple[ConditionDraft, ...]
    subject: str = ""
    client_id: str = ""
    tenant_id: str = ""
    vault_url: str = ""
    federation_name: str = ""
    identity: str = ""


class FederationVerdict(NamedTuple):
    """What to record about one ledger entry. A tuple, as above."""

    name: str
    conditions: tuple[ConditionDraft, ...]
    verified_at: datetime.datetime | None = None
    last_exchange_code: str = ""
    last_exchange_at: datetime.datetime | None = None
    last_exchange_detail: str = ""
    retained: bool = False
    verified_vault: str = ""


@dataclass(frozen=True, slots=True)
class IdentityVerdict:
    """One row of ``status.identities``."""

    resource_id: str
    client_id: str
    principal_id: str
    tenant_id: str
    used: int
    foreign: int
    reserved: int
    room: int
    last_error: str = ""
    role_assigned: bool | None = None
    """``None``: not known."""
    proven_at: datetime.datetime | None = None
    """Of identities that the operator made."""


@dataclass(frozen=True, slots=True)
class GrantVerdict:
    """What to tell the admin about the grant."""

    conditions: tuple[ConditionDraft, ...]
    identities: tuple[IdentityVerdict, ...] = ()
    total: int = 0
    ready: int = 0
    awaiting_review: int = 0
    blocked: int = 0
    exhausted: int = 0
    """Claims that wait for a slot."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything to do and to say for one grant."""

    grant_name: str
    steps: tuple[Step, ...]
    held: tuple[Held, ...]
    claims: tuple[ClaimVerdict, ...]
    federations: tuple[FederationVerdict, ...]
    grant: GrantVerdict | None
    """``None`` when the grant is gone and nobody is left to tell."""
    look_again: datetime.datetime | None = None
    """When to look again although nothing changed."""
