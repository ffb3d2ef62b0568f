"""What people and the operator write into Kubernetes, decoded, and what stands around it.

Values are as given; whether they make sense is decided in ``plan`` so that every refusal names its field.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from keystead.model.conditions import Condition
from keystead.model.credentials import Credential
from keystead.model.growth import IdentityProof, Provisioning
from keystead.model.ids import IdentityId, NamespaceUid


class ClaimMode(StrEnum):
    """Who makes the claims of a grant."""

    AUTOMATIC = "Automatic"
    ON_REQUEST = "OnRequest"


class ApprovalMode(StrEnum):
    """Whether somebody else has to agree."""

    AUTOMATIC = "Automatic"
    REQUIRED = "Required"


class Revocation(StrEnum):
    """What happens to the credential when its reason to be is gone."""

    REVOKE = "Revoke"
    RETAIN = "Retain"


class Decision(StrEnum):
    """A reviewer's word."""

    APPROVED = "Approved"
    DENIED = "Denied"


@dataclass(frozen=True, slots=True)
class SelectorRequirement:
    """One entry of ``matchExpressions``."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """A Kubernetes label selector; empty matches everything, as Kubernetes has it."""

    match_labels: Mapping[str, str] = field(default_factory=dict)
    match_expressions: tuple[SelectorRequirement, ...] = ()


@dataclass(frozen=True, slots=True)
class NamespaceRule:
    """Which namespaces a grant allows: any one of the three suffices; none given allows nothing."""

    selector: LabelSelector | None = None
    names: tuple[str, ...] = ()
    rancher_projects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolMember:
    """An identity of the pool as the grant names it."""

    resource_id: str
    reserved_slots: int = 0


@dataclass(frozen=True, slots=True)
class Template:
    """What the objects in each namespace look like."""

    service_account_name: str = "keystead"
    secret_store_name: str = "azure-store"  # noqa: S105 - the name of a store, not a secret
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    store_refresh_interval: int | str | None = None
    store_controller: str = ""
    token_role: bool = False
    """A Role that lets External Secrets Operator, and nobody else, mint tokens for the account."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A VaultGrant as written."""

    name: str
    uid: str
    generation: int
    namespaces: NamespaceRule
    vault_url: str
    identities: tuple[PoolMember, ...]
    claims: ClaimMode
    approval: ApprovalMode
    template: Template = Template()
    max_claims_per_namespace: int = 1
    revocation: Revocation = Revocation.REVOKE
    observe_only: bool = False
    vault_resource_id: str = ""
    provisioning: Provisioning | None = None
    """How the pool grows; ``None``: it does not."""
    proofs: tuple[IdentityProof, ...] = ()
    """From status: which identities were proven, of those that the operator made."""
    confirmed_generation: int | None = None
    """From the annotation ``keystead.dev/confirm-revocations``."""
    adopt: str = ""
    """The annotation ``keystead.dev/adopt`` as written: what the operator may take over from others."""
    deleting: bool = False
    created_at: datetime.datetime | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace, alive or terminating."""

    name: str
    uid: NamespaceUid
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    terminating: bool = False
    terminating_since: datetime.datetime | None = None
    created_at: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A VaultClaim."""

    namespace: str
    name: str
    uid: str
    grant_name: str
    service_account_name: str = ""
    secret_store_name: str = ""
    requested_by: str = ""
    automatic: bool = False
    """Made by the operator itself (label ``keystead.dev/automatic``)."""
    generation: int = 1
    deleting: bool = False
    created_at: datetime.datetime | None = None
    conditions: tuple[Condition, ...] = ()
    federation_name: str = ""
    """From status: which Federation was last reported for this claim."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Approval:
    """A VaultApproval: a reviewer's word and all it is bound to."""

    name: str
    grant_name: str
    namespace: str
    namespace_uid: NamespaceUid
    subject: str
    vault_url: str
    decision: Decision
    by: str
    message: str = ""
    deleting: bool = False
    created_at: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """The last try to exchange a token: a code (``OK`` or what Azure answered) and when."""

    code: str
    at: datetime.datetime
    detail: str = ""
    vault: str = ""
    """The vault that was looked at; empty: nobody remembers."""

    @property
    def ok(self) -> bool:
        return self.code == "OK"


@dataclass(frozen=True, slots=True)
class Federation:
    """A ledger entry: this claim is served by this credential on this identity."""

    name: str
    """Also the name of the credential, unless it was adopted."""
    uid: str
    grant_name: str
    namespace: str
    namespace_uid: NamespaceUid
    claim_name: str
    service_account_name: str
    identity: IdentityId
    credential: Credential
    requested_by: str = ""
    approval_name: str = ""
    adopted: bool = False
    deleting: bool = False
    created_at: datetime.datetime | None = None
    conditions: tuple[Condition, ...] = ()
    verified_at: datetime.datetime | None = None
    verified_vault: str = ""
    """With which vault; empty where an older version has proven it."""
    last_exchange: Exchange | None = None
    abandoned: str = ""
    """Why its credential may stay in Azure although the entry has to go; counts only with a name."""
    abandoned_by: str = ""
    retained: bool = False
    """Its grant said Retain when last seen, which is what counts once the grant is gone."""

    @property
    def claim_key(self) -> str:
        return f"{self.namespace}/{self.claim_name}"

    @property
    def place(self) -> tuple[IdentityId, str]:
        """Where the credential is: other tools give equal names on many identities."""
        return self.identity, self.credential.name

    @property
    def probe(self) -> bool:
        """It serves no claim: the operator proves an identity with it, and takes it away again."""
        return not self.claim_name

    @property
    def unit(self) -> str:
        """Whose steps bring it about: its claim's, or its identity's while the pool grows."""
        return pool_unit(self.grant_name, self.identity) if self.probe else self.claim_key


def pool_unit(grant: str, identity: IdentityId) -> str:
    """The unit of all that is done to make one identity of a growing pool."""
    return f"{pool_units(grant)}{identity.name.lower()}"


def pool_units(grant: str) -> str:
    """What the units of one grant's growing pool begin with; claims and ledger entries have none like them."""
    return f"pool/{grant}/"


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A ServiceAccount that a claim uses."""

    namespace: str
    name: str
    uid: str
    client_id: str | None = None
    """Annotation ``azure.workload.identity/client-id``."""
    tenant_id: str | None = None
    """Annotation ``azure.workload.identity/tenant-id``."""
    ours: bool = False
    """We made it: label ``app.kubernetes.io/managed-by: keystead``."""
    annotation_managers: tuple[str, ...] = ()
    """Other field managers that own either of the two annotations."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What we have just written onto a ServiceAccount."""

    account_uid: str
    client_id: str
    tenant_id: str
    at: datetime.datetime

    def shows_on(self, account: ServiceAccount) -> bool:
        """Whether the account, seen so, carries what was written."""
        return (account.client_id, account.tenant_id) == (self.client_id, self.tenant_id)


@dataclass(frozen=True, slots=True)
class Store:
    """A SecretStore of ESO, as far as we judge it."""

    namespace: str
    name: str
    resource_version: str = ""
    vault_url: str = ""
    auth_type: str = ""
    service_account_name: str = ""
    tenant_id: str = ""
    has_secret_ref: bool = False
    """``authSecretRef`` is given: the credentials of a service principal."""
    controller: str = ""
    provider: str = ""
    """The provider's key, ``azurekv`` when it is ours to judge."""
    ready: bool | None = None
    ready_reason: str = ""
    ours: bool = False
    provider_managers: tuple[str, ...] = ()
    """Other field managers that own anything under ``spec.provider``."""
    eso_finalizers: int = 0
    """How many finalizers of External Secrets Operator it carries."""
    secret_client: str = ""
    """Name of the Secret that ``authSecretRef`` takes the client id from."""
    secret_tenant: str = ""
    """The same for the tenant."""
    new_sdk: bool = False
    """``useAzureSDK``: Ready is said before anything was tried."""
    outdated_manager: str = ""
    """Who wrote it in a version of External Secrets Operator's API that newer releases do not serve."""
    refresh_interval: int | str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    dressed: frozenset[str] = frozenset()
    """What we own beyond what is needed: ``label:NAME``, ``annotation:NAME``, ``refreshInterval``."""


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """An admission policy, as far as it concerns ours."""

    name: str
    expressions: tuple[str, ...] = ()
    """What it validates."""
    fails_open: bool = False


@dataclass(frozen=True, slots=True)
class GuardBinding:
    """What puts an admission policy in force."""

    name: str
    policy: str
    denies: bool = False
    narrowed: bool = False
    """It holds for some objects only."""


@dataclass(frozen=True, slots=True)
class Guards:
    """What is wrong with the admission guards; nothing where the texts are empty."""

    decisions: str = ""
    """With those on claims and approvals: who asks and who decides."""
    entries: str = ""
    """With the one on namespaces: who may bring them into a grant by a label or a Rancher project."""
    known: bool = False
    """The cluster was asked."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What identifies this cluster to Azure and to other clusters on the same pool."""

    id: str
    """Eight lower-case hex characters: SHA-256 of the UID of namespace ``kube-system``."""
    issuer: str
    """Exactly what the API server signs into tokens, trailing slash included."""
