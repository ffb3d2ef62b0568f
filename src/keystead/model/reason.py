"""The names of reasons: one word each, for conditions, Events, metric labels and errors. They are never renamed.

What each means to people stands in :mod:`keystead.model.reasons`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a reason is for the object that carries it."""

    OK = "ok"
    WAITING = "waiting"
    """On its way; nobody has to do anything, or a person is asked to decide."""
    BLOCKED = "blocked"
    """Somebody has to change something."""
    TROUBLE = "trouble"
    """Something around us fails; retried by itself."""


class Reason(StrEnum):
    """Why a condition is as it is, or why a step could not be carried out."""

    # all is well
    READY = "Ready"
    ACCEPTED = "Accepted"
    APPROVED = "Approved"
    APPROVAL_NOT_REQUIRED = "ApprovalNotRequired"
    FEDERATED = "Federated"
    VERIFIED = "Verified"
    STORE_APPLIED = "StoreApplied"
    STORE_READY = "StoreReady"
    STORE_UNTESTED = "StoreUntested"
    STORES_SHARE_ACCOUNT = "StoresShareAccount"
    STORE_MANIFEST_OUTDATED = "StoreManifestOutdated"
    VALID = "Valid"
    POOL_READY = "PoolReady"
    CAPACITY_AVAILABLE = "CapacityAvailable"
    GUARDS_IN_FORCE = "GuardsInForce"
    # on its way
    AWAITING_REVIEW = "AwaitingReview"
    AWAITING_WRITE = "AwaitingWrite"
    AWAITING_PROPAGATION = "AwaitingPropagation"
    AWAITING_VERIFICATION = "AwaitingVerification"
    AWAITING_LIST = "AwaitingList"
    AWAITING_FINALIZERS = "AwaitingFinalizers"
    AWAITING_REVOCATION = "AwaitingRevocation"
    REVOKING = "Revoking"
    OBSERVE_ONLY = "ObserveOnly"
    POOL_GROWING = "PoolGrowing"
    PROBE_ENDED = "ProbeEnded"
    # somebody has to change something
    GRANT_NOT_FOUND = "GrantNotFound"
    GRANT_INVALID = "GrantInvalid"
    GRANT_DELETED = "GrantDeleted"
    NOT_ALLOWED = "NotAllowed"
    RANCHER_PROJECT_DISAGREES = "RancherProjectDisagrees"
    SERVICE_ACCOUNT_NAME_NOT_ALLOWED = "ServiceAccountNameNotAllowed"
    TOO_MANY_CLAIMS = "TooManyClaims"
    SUBJECT_TAKEN = "SubjectTaken"
    DENIED = "Denied"
    APPROVER_IS_REQUESTER = "ApproverIsRequester"
    REQUESTER_UNKNOWN = "RequesterUnknown"
    POOL_EXHAUSTED = "PoolExhausted"
    TUPLE_TAKEN = "TupleTaken"
    STORE_CONFLICT = "StoreConflict"
    STORE_NOT_READY = "StoreNotReady"
    STORE_USES_NODE_IDENTITY = "StoreUsesNodeIdentity"
    TENANT_TWICE = "TenantTwice"
    CLIENT_TWICE = "ClientTwice"
    TOKENS_FORBIDDEN = "TokensForbidden"
    SERVICE_ACCOUNT_CONFLICT = "ServiceAccountConflict"
    IDENTITY_NOT_FOUND = "IdentityNotFound"
    IDENTITY_SHARED = "IdentityShared"
    TENANTS_DISAGREE = "TenantsDisagree"
    AWAITING_CONFIRMATION = "AwaitingConfirmation"
    AZURE_FORBIDDEN = "AzureForbidden"
    AZURE_LOCKED = "AzureLocked"
    AZURE_POLICY = "AzurePolicy"
    REGION_UNSUPPORTED = "RegionUnsupported"
    PROVIDER_NOT_REGISTERED = "ProviderNotRegistered"
    SUBSCRIPTION_DISABLED = "SubscriptionDisabled"
    SUBSCRIPTION_NOT_FOUND = "SubscriptionNotFound"
    AZURE_REFUSED = "AzureRefused"
    SUBJECT_MISMATCH = "SubjectMismatch"
    ISSUER_MISMATCH = "IssuerMismatch"
    AUDIENCE_MISMATCH = "AudienceMismatch"
    CASE_MISMATCH = "CaseMismatch"
    ISSUER_UNREACHABLE = "IssuerUnreachable"
    CLIENT_UNKNOWN = "ClientUnknown"
    TENANT_UNKNOWN = "TenantUnknown"
    VAULT_FORBIDDEN = "VaultForbidden"
    VAULT_UNREACHABLE = "VaultUnreachable"
    VAULT_CLOSED = "VaultClosed"
    EXCHANGE_REFUSED = "ExchangeRefused"
    GUARDS_ABSENT = "GuardsAbsent"
    ADOPTION_INVALID = "AdoptionInvalid"
    GROWTH_FORBIDDEN = "GrowthForbidden"
    ROLE_FORBIDDEN = "RoleForbidden"
    VAULT_NOT_FOUND = "VaultNotFound"
    ROLE_MISSING = "RoleMissing"
    GROUP_NOT_FOUND = "ResourceGroupNotFound"
    AZURE_QUOTA = "AzureQuota"
    SETTING_INVALID = "SettingInvalid"
    # causes of a revocation
    NAMESPACE_DELETED = "NamespaceDeleted"
    NAMESPACE_RECREATED = "NamespaceRecreated"
    CLAIM_DELETED = "ClaimDeleted"
    CLAIM_CHANGED = "ClaimChanged"
    APPROVAL_WITHDRAWN = "ApprovalWithdrawn"
    FEDERATION_DELETED = "FederationDeleted"
    IDENTITY_REMOVED = "IdentityRemoved"
    CREDENTIAL_REPLACED = "CredentialReplaced"
    # something around us fails
    CONCURRENT_WRITE = "ConcurrentWrite"
    AZURE_THROTTLED = "AzureThrottled"
    AZURE_UNAVAILABLE = "AzureUnavailable"
    AZURE_SIGN_IN_FAILED = "AzureSignInFailed"
    IDENTITY_FULL = "IdentityFull"
    IDENTITY_NAME_TAKEN = "IdentityNameTaken"
    PRINCIPAL_UNKNOWN = "PrincipalUnknown"
    KUBERNETES_UNAVAILABLE = "KubernetesUnavailable"
    KUBERNETES_FORBIDDEN = "KubernetesForbidden"
    KUBERNETES_CONFLICT = "KubernetesConflict"
    KUBERNETES_REFUSED = "KubernetesRefused"
    LEASE_LOST = "LeaseLost"
    INTERNAL_ERROR = "InternalError"


REASONS: dict[str, Reason] = {str(reason): reason for reason in Reason}
"""By the word, as conditions and codes carry it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a reason means to people."""

    severity: Severity
    heals: bool
    """It goes away without anybody doing anything."""
    tenant: str
    admin: str
