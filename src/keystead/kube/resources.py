"""Our kinds as msgspec structs: the one source of the CRDs, of the API reference and of decoding.

A field without a default is required. A description that names a fact of Azure or Kubernetes says whose it is.
"""

import datetime
import enum
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

GROUP = "keystead.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/revoke"
AUTOMATIC_LABEL = f"{GROUP}/automatic"
CONFIRM_ANNOTATION = f"{GROUP}/confirm-revocations"
ADOPT_ANNOTATION = f"{GROUP}/adopt"
ABANDON_ANNOTATION = f"{GROUP}/abandon"
"""On a Federation that goes: why its credential may be left behind in Azure."""
ABANDONED_BY_ANNOTATION = f"{GROUP}/abandoned-by"
"""Who said so."""

Instant: TypeAlias = Annotated[datetime.datetime, Meta(tz=True)]


class ClaimMode(enum.Enum):
    """Who makes the claims."""

    AUTOMATIC = "Automatic"
    ON_REQUEST = "OnRequest"


class ApprovalMode(enum.Enum):
    """Whether somebody else has to agree."""

    AUTOMATIC = "Automatic"
    REQUIRED = "Required"


class RevocationMode(enum.Enum):
    """What happens to the credential at the end."""

    REVOKE = "Revoke"
    RETAIN = "Retain"


class Word(enum.Enum):
    """A reviewer's decision."""

    APPROVED = "Approved"
    DENIED = "Denied"


class _Part(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Base of everything below: camelCase on the wire."""


class SelectorRequirement(_Part):
    """One expression of a label selector."""

    key: Annotated[str, Meta(description="Label key.", min_length=1)]
    operator: Annotated[str, Meta(description="In, NotIn, Exists or DoesNotExist.")]
    values: Annotated[list[str], Meta(description="Values for In and NotIn.")] = []


class Selector(_Part):
    """A label selector; empty matches every namespace."""

    match_labels: Annotated[dict[str, str], Meta(description="Labels that must have these values.")] = {}
    match_expressions: Annotated[list[SelectorRequirement], Meta(description="Expressions that must all hold.")] = []


class Namespaces(_Part):
    """Which namespaces are allowed: any one of the three suffices; none given makes the grant invalid."""

    selector: Annotated[
        Selector | None,
        Meta(description="Label selector; whoever may label a namespace can enter. {} is every namespace."),
    ] = None
    names: Annotated[list[str], Meta(description="Exact names; a pull request that adds one is the peer review.")] = []
    rancher_projects: Annotated[
        list[str],
        Meta(description="Rancher projects, c-xxxxx:p-xxxxx or p-xxxxx, by annotation field.cattle.io/projectId."),
    ] = []


class Vault(_Part):
    """The Key Vault."""

    url: Annotated[
        str,
        Meta(
            description="Address of the vault, https://NAME.vault.azure.net (sovereign suffixes too).", max_length=200
        ),
    ]
    resource_id: Annotated[str, Meta(description="ARM id of the vault; for growing the pool and checking roles.")] = ""


class Identity(_Part):
    """An existing user-assigned managed identity."""

    resource_id: Annotated[
        str, Meta(description="ARM id of the identity; it stands in one grant only.", max_length=600)
    ]
    reserved_slots: Annotated[
        int, Meta(description="Slots left to other tools, of the 20 that Azure allows.", ge=0, le=20)
    ] = 0


class ProvisioningSpec(_Part):
    """How the pool grows: the operator makes identities ahead of need, and deletes none."""

    resource_group_id: Annotated[
        str, Meta(description="ARM id of the resource group in which identities are made.", max_length=300)
    ]
    location: Annotated[str, Meta(description="Azure region of the identities.", min_length=2, max_length=62)]
    name_prefix: Annotated[
        str,
        Meta(description="What their names begin with; a hash and a number follow.", min_length=1, max_length=100),
    ]
    max_identities: Annotated[
        int, Meta(description="How many the operator may make; lowering it deletes none.", ge=1, le=200)
    ]
    headroom: Annotated[
        int, Meta(description="Free slots that are kept ahead of need; a new identity brings 20.", ge=0, le=4000)
    ] = 5
    role_definition_id: Annotated[
        str,
        Meta(
            description="Role that they are given on the vault: GUID or ARM id. The default is Key Vault Secrets User.",
            max_length=300,
        ),
    ] = "4633458b-17de-408a-b874-0445c86b69e6"


class TemplateSpec(_Part):
    """What the objects in each namespace look like."""

    service_account_name: Annotated[
        str, Meta(description="Name of the ServiceAccount.", min_length=1, max_length=253)
    ] = "keystead"
    secret_store_name: Annotated[str, Meta(description="Name of the SecretStore.", min_length=1, max_length=253)] = (
        "azure-store"  # noqa: S105 - the name of a store, not a secret
    )
    labels: Annotated[dict[str, str], Meta(description="Labels for the SecretStore.")] = {}
    annotations: Annotated[dict[str, str], Meta(description="Annotations for the SecretStore.")] = {}
    store_refresh_interval: Annotated[
        int | str | None,
        Meta(description="spec.refreshInterval of the SecretStore: seconds, or a Go duration from ESO 2.8 on."),
    ] = None
    store_controller: Annotated[
        str,
        Meta(
            description="spec.controller of the SecretStore; 'keystead' hands it to the built-in engine, empty to ESO."
        ),
    ] = ""
    token_role: Annotated[
        bool,
        Meta(
            description="Make a Role in each namespace that lets External Secrets Operator mint tokens for the account; "
            "the operator needs the rights that `keystead rbac --token-roles` adds."
        ),
    ] = False


class VaultGrantSpec(_Part):
    """What an admin grants."""

    namespaces: Annotated[Namespaces, Meta(description="Which namespaces are allowed.")]
    vault: Annotated[Vault, Meta(description="The vault they may read.")]
    approval: Annotated[
        ApprovalMode, Meta(description="Required waits for a VaultApproval. No default: who writes a grant decides.")
    ]
    identities: Annotated[
        list[Identity],
        Meta(description="The pool; the order only breaks ties. May be empty with spec.provisioning.", max_length=200),
    ] = []
    provisioning: Annotated[
        ProvisioningSpec | None, Meta(description="How the pool grows; it does not when this is left out.")
    ] = None
    claims: Annotated[
        ClaimMode,
        Meta(description="Automatic makes a claim for each allowed namespace; OnRequest leaves that to tenants."),
    ] = ClaimMode.AUTOMATIC
    template: Annotated[TemplateSpec, Meta(description="What the objects in each namespace look like.")] = (
        msgspec.field(default_factory=TemplateSpec)
    )
    max_claims_per_namespace: Annotated[
        int, Meta(description="How many claims a namespace may have, over all grants.", ge=1, le=100)
    ] = 1
    revocation: Annotated[
        RevocationMode, Meta(description="Revoke deletes the credential at the end; Retain leaves it in Azure.")
    ] = RevocationMode.REVOKE
    observe_only: Annotated[bool, Meta(description="Plan and report, write nothing.")] = False


class ConditionStatus(_Part):
    """A condition, as Kubernetes has them."""

    type: Annotated[str, Meta(description="What it is about.", max_length=316)]
    status: Annotated[str, Meta(description="True, False or Unknown.")]
    reason: Annotated[str, Meta(description="One word of the catalogue of reasons.", max_length=1024)]
    message: Annotated[str, Meta(description="What happens next, and what the reader can do.", max_length=32768)]
    last_transition_time: Annotated[Instant, Meta(description="When the status last changed.")]
    observed_generation: Annotated[int | None, Meta(description="Generation of the spec that was judged.")] = None


class IdentityStatus(_Part):
    """How one identity of the pool stands."""

    resource_id: Annotated[str, Meta(description="ARM id.")]
    client_id: Annotated[str, Meta(description="Client id, for the annotation.")] = ""
    principal_id: Annotated[str, Meta(description="Object id, for role assignments.")] = ""
    tenant_id: Annotated[str, Meta(description="Tenant.")] = ""
    capacity: Annotated[int, Meta(description="Credentials that Azure allows.")] = 20
    used: Annotated[int, Meta(description="Credentials of ours.")] = 0
    foreign: Annotated[int, Meta(description="Credentials of others.")] = 0
    reserved: Annotated[int, Meta(description="Slots reserved for others.")] = 0
    room: Annotated[int, Meta(description="Free slots.")] = 0
    last_error: Annotated[str, Meta(description="Why it cannot be used, if so.")] = ""
    role_assigned: Annotated[str, Meta(description="Whether it has the vault's role: True, False or Unknown.")] = (
        "Unknown"
    )
    proven_at: Annotated[
        Instant | None, Meta(description="When an identity that the operator made was proven to read the vault.")
    ] = None


class ClaimCounts(_Part):
    """How the claims of a grant stand."""

    total: Annotated[int, Meta(description="All claims.")] = 0
    ready: Annotated[int, Meta(description="Working.")] = 0
    awaiting_review: Annotated[int, Meta(description="Waiting for a reviewer.")] = 0
    blocked: Annotated[int, Meta(description="Somebody has to change something.")] = 0


class VaultGrantStatus(_Part):
    """How a grant stands."""

    conditions: Annotated[
        list[ConditionStatus],
        Meta(
            description="Ready, Valid, PoolReady, CapacityAvailable, IssuerTrusted, FourEyesEnforced; AdoptionValid where one is said."
        ),
    ] = []
    identities: Annotated[list[IdentityStatus], Meta(description="The pool, identity by identity.")] = []
    claims: Annotated[ClaimCounts | None, Meta(description="Counts of claims.")] = None


class VaultClaimSpec(_Part):
    """What a tenant asks for."""

    grant_name: Annotated[str, Meta(description="The VaultGrant; immutable.", min_length=1, max_length=253)]
    service_account_name: Annotated[
        str,
        Meta(description="ServiceAccount, from the grant's template when empty; immutable once bound.", max_length=253),
    ] = ""
    secret_store_name: Annotated[
        str,
        Meta(description="SecretStore, from the grant's template when empty; immutable once bound.", max_length=253),
    ] = ""
    requested_by: Annotated[str, Meta(description="Who asks; empty on automatic claims.", max_length=1024)] = ""


class VaultClaimStatus(_Part):
    """How a claim stands."""

    conditions: Annotated[
        list[ConditionStatus], Meta(description="Accepted, Approved, Federated, Verified, StoreReady, Ready.")
    ] = []
    subject: Annotated[str, Meta(description="The account as tokens name it.")] = ""
    client_id: Annotated[str, Meta(description="Client id of the identity.")] = ""
    tenant_id: Annotated[str, Meta(description="Tenant of the identity.")] = ""
    vault_url: Annotated[str, Meta(description="The vault.")] = ""
    identity: Annotated[str, Meta(description="Name of the identity.")] = ""
    federation_name: Annotated[str, Meta(description="The ledger entry.")] = ""


class VaultApprovalSpec(_Part):
    """A reviewer's word, and all it is bound to. It counts only while everything it names is still true."""

    grant_name: Annotated[str, Meta(description="The VaultGrant.", min_length=1, max_length=253)]
    namespace: Annotated[str, Meta(description="The namespace.", min_length=1, max_length=63)]
    namespace_uid: Annotated[
        str, msgspec.Meta(description="UID of the namespace: a recreated one is a new request.", min_length=1)
    ] = msgspec.field(name="namespaceUID")
    subject: Annotated[str, Meta(description="The account, system:serviceaccount:NAMESPACE:NAME.", min_length=1)]
    vault_url: Annotated[str, Meta(description="The vault.", min_length=1)]
    decision: Annotated[Word, Meta(description="Approved or Denied; a denial wins.")]
    by: Annotated[str, Meta(description="Who decided; must not be the requester.", min_length=1)]
    message: Annotated[str, Meta(description="Why.", max_length=4096)] = ""


class CredentialSpec(_Part):
    """The federated identity credential."""

    name: Annotated[str, Meta(description="Its name in Azure.")]
    issuer: Annotated[str, Meta(description="The cluster's token issuer, to the letter.")]
    subject: Annotated[str, Meta(description="The account, to the letter.")]
    audience: Annotated[str, Meta(description="The audience.")]


class FederationSpec(_Part):
    """A ledger entry: this claim is served by this credential on this identity."""

    grant_name: Annotated[str, Meta(description="The VaultGrant.")]
    namespace: Annotated[str, Meta(description="The namespace.")]
    namespace_uid: Annotated[str, Meta(description="Its UID.")] = msgspec.field(name="namespaceUID")
    claim_name: Annotated[str, Meta(description="The VaultClaim.")]
    service_account_name: Annotated[str, Meta(description="The ServiceAccount.")]
    identity_resource_id: Annotated[str, Meta(description="ARM id of the identity; sticky.")]
    credential: Annotated[CredentialSpec, Meta(description="The credential.")]
    requested_by: Annotated[str, Meta(description="Who asked.")] = ""
    approval_name: Annotated[str, Meta(description="The VaultApproval it rests on.")] = ""
    adopted: Annotated[bool, Meta(description="The credential was made by somebody else and taken over.")] = False


class ExchangeStatus(_Part):
    """The last token exchange."""

    code: Annotated[str, Meta(description="OK, or what Azure answered.")]
    at: Annotated[Instant, Meta(description="When.")]
    detail: Annotated[str, Meta(description="Where the token and the credential differ.")] = ""


class FederationStatus(_Part):
    """How a ledger entry stands."""

    conditions: Annotated[list[ConditionStatus], Meta(description="Federated, Verified, Revoking.")] = []
    verified_at: Annotated[Instant | None, Meta(description="When the exchange was last proven.")] = None
    verified_vault: Annotated[str, Meta(description="The vault that it was proven with.")] = ""
    last_exchange: Annotated[ExchangeStatus | None, Meta(description="The last try.")] = None
    retained: Annotated[
        bool, Meta(description="Retain: the credential stays at the end, the grant's own included.")
    ] = False


class ObjectMeta(Struct, rename="camel", kw_only=True):
    """As much of an object's metadata as we read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 1
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: Instant | None = None
    deletion_timestamp: Instant | None = None
    finalizers: list[str] | None = None


class ManagedFields(Struct, rename="camel", kw_only=True):
    """What one field manager owns; the fields stay text until somebody asks."""

    manager: str = ""
    api_version: str = ""
    fields_v1: msgspec.Raw = msgspec.Raw()


class OwnedMeta(ObjectMeta):
    """Metadata of an object on which others' ownership matters."""

    managed_fields: list[ManagedFields] | None = None


class Typed(Struct, rename="camel", kw_only=True):
    """Metadata of an object of ours; the spec and status follow in the subclasses."""

    metadata: ObjectMeta


class VaultGrant(Typed):
    """VaultGrant."""

    spec: VaultGrantSpec
    status: VaultGrantStatus = msgspec.field(default_factory=VaultGrantStatus)


class VaultClaim(Typed):
    """VaultClaim."""

    spec: VaultClaimSpec
    status: VaultClaimStatus = msgspec.field(default_factory=VaultClaimStatus)


class VaultApproval(Typed):
    """VaultApproval."""

    spec: VaultApprovalSpec


class Federation(Typed):
    """Federation."""

    spec: FederationSpec
    status: FederationStatus = msgspec.field(default_factory=FederationStatus)
