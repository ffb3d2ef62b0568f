"""What a CRD needs to know of our kinds beyond their fields: names, printer columns, rules of immutability."""

from msgspec import Struct

from keystead.kube.resources import (
    API_VERSION,
    FederationSpec,
    FederationStatus,
    VaultApprovalSpec,
    VaultClaimSpec,
    VaultClaimStatus,
    VaultGrantSpec,
    VaultGrantStatus,
)


class Kind(Struct, frozen=True, kw_only=True):
    """What a CRD needs to know of a kind beyond its fields."""

    kind: str
    plural: str
    short: str
    namespaced: bool
    description: str
    spec: type[Struct]
    status: type[Struct] | None
    columns: tuple[tuple[str, str, str], ...]
    """Title, type, JSON path."""
    rules: tuple[tuple[str, str], ...] = ()
    """CEL rules on the whole object, with the message of a refusal."""
    spec_rules: tuple[tuple[str, str], ...] = ()
    """CEL rules on the spec."""

    @property
    def path(self) -> str:
        """Where the API server serves it."""
        return f"/apis/{API_VERSION}/{self.plural}"


def _status(type_: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


_AGE = ("Age", "date", ".metadata.creationTimestamp")
_ONCE_BOUND = "!has(oldSelf.status) || !has(oldSelf.status.federationName) || oldSelf.status.federationName == '' || "

VAULT_GRANT = Kind(
    kind="VaultGrant",
    plural="vaultgrants",
    short="vg",
    namespaced=False,
    spec=VaultGrantSpec,
    status=VaultGrantStatus,
    description="An admin's word: these namespaces may read that vault, through this pool of identities.",
    columns=(
        ("Vault", "string", ".spec.vault.url"),
        ("Approval", "string", ".spec.approval"),
        ("Claims", "integer", ".status.claims.total"),
        ("Working", "integer", ".status.claims.ready"),
        ("Review", "integer", ".status.claims.awaitingReview"),
        ("Blocked", "integer", ".status.claims.blocked"),
        ("Ready", "string", _status("Ready")),
        ("Reason", "string", _status("Ready", "reason")),
        _AGE,
    ),
)
VAULT_CLAIM = Kind(
    kind="VaultClaim",
    plural="vaultclaims",
    short="vc",
    namespaced=True,
    spec=VaultClaimSpec,
    status=VaultClaimStatus,
    description="A tenant's request for a vault, and the tenant's view of it.",
    columns=(
        ("Grant", "string", ".spec.grantName"),
        ("Identity", "string", ".status.identity"),
        ("Verified", "string", _status("Verified")),
        ("Store", "string", _status("StoreReady")),
        ("Ready", "string", _status("Ready")),
        ("Reason", "string", _status("Ready", "reason")),
        _AGE,
    ),
    rules=(
        (
            _ONCE_BOUND + "self.spec.serviceAccountName == oldSelf.spec.serviceAccountName",
            "spec.serviceAccountName cannot change once the claim is bound; delete the claim and make another",
        ),
        (
            _ONCE_BOUND + "self.spec.secretStoreName == oldSelf.spec.secretStoreName",
            "spec.secretStoreName cannot change once the claim is bound; delete the claim and make another",
        ),
    ),
    spec_rules=(
        ("self.grantName == oldSelf.grantName", "spec.grantName cannot change; delete the claim and make another"),
        ("self.requestedBy == oldSelf.requestedBy", "spec.requestedBy cannot change"),
    ),
)
VAULT_APPROVAL = Kind(
    kind="VaultApproval",
    plural="vaultapprovals",
    short="va",
    namespaced=False,
    spec=VaultApprovalSpec,
    status=None,
    description="A reviewer's word on one claim. It cannot change; deleting it withdraws the word.",
    columns=(
        ("Grant", "string", ".spec.grantName"),
        ("Namespace", "string", ".spec.namespace"),
        ("Decision", "string", ".spec.decision"),
        ("By", "string", ".spec.by"),
        _AGE,
    ),
    spec_rules=(("self == oldSelf", "an approval cannot change; delete it and decide anew"),),
)
FEDERATION = Kind(
    kind="Federation",
    plural="federations",
    short="fed",
    namespaced=False,
    spec=FederationSpec,
    status=FederationStatus,
    description="The ledger: outlives its namespace until Azure is clean. Nobody but the operator writes it.",
    columns=(
        ("Namespace", "string", ".spec.namespace"),
        ("Grant", "string", ".spec.grantName"),
        ("Federated", "string", _status("Federated")),
        ("Verified", "string", _status("Verified")),
        ("Revoking", "string", _status("Revoking", "reason")),
        _AGE,
    ),
    spec_rules=(("self == oldSelf", "a ledger entry cannot change"),),
)
KINDS = (VAULT_GRANT, VAULT_CLAIM, VAULT_APPROVAL, FEDERATION)
