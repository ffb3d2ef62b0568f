"""What exists in the emulated Azure: tenants, identities, credentials, vaults, roles, and the rules they live by.

Data alone, which :mod:`keystead_sandbox.world` keeps. Nothing here prints a secret: values and client secrets are left
out of every repr.
"""

import datetime
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from keystead_sandbox.clouds import Cloud

AUDIENCE = "api://AzureADTokenExchange"


_MOST = 1e12  # of anything that a rule counts or measures
_RATES = ("_refill", "_writes", "_gets", "_lists", "_deletes", "_factor", "page_size", "burst")


class Rules(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How strict and how slow this Azure is; sandbox seconds, except the life of a token.

    Request rates are those of Entra's "workload identity federation considerations". Bucket capacities are not
    documented: what is here is inferred, and docs/fidelity.md says so.
    """

    propagation: float = 15.0  # from a credential's write until an exchange finds it
    negative_cache: float = 90.0  # from the refusal that made the entry
    positive_cache: float = 60.0  # exchanges that still succeed after a delete
    write_hold: float = 1.3  # a credential write keeps its identity to itself this long
    credential_limit: int = 20
    write_capacity: float = 2.0
    write_refill: float = 0.25
    get_capacity: float = 4.0
    get_refill: float = 0.5
    list_capacity: float = 2.0
    list_refill: float = 0.25
    delete_capacity: float = 2.0
    delete_refill: float = 0.25
    subscription_writes: float = 2.0
    subscription_gets: float = 10.0
    subscription_lists: float = 5.0
    subscription_deletes: float = 2.0
    tenant_writes: float = 10.0
    tenant_gets: float = 30.0
    tenant_lists: float = 15.0
    tenant_deletes: float = 10.0
    burst: float = 2.0  # capacity of a subscription's or tenant's bucket, in seconds of its rate
    identity_visible: float = 10.0  # until the directory knows the principal of an identity made over the API
    role_delay: float = 60.0  # until a role given or taken over the API has its effect; Azure promises ten minutes
    group_delete: float = 15.0  # from a group's DELETE until it is gone
    assignment_limit: int = 4000  # role assignments in a subscription
    vault_capacity: float = 4000.0  # transactions of one vault
    vault_refill: float = 400.0
    vault_set_capacity: float = 300.0  # writes of secrets in one vault
    vault_set_refill: float = 30.0
    vault_create_capacity: float = 20.0  # keys and certificates made in one vault
    vault_create_refill: float = 2.0
    vault_region_factor: float = 5.0  # a subscription's vaults in one region, in transactions of one vault
    page_size: int = 100
    combined_refusals: bool = False  # 70021 in place of 700211, 700212 and 700213, as Entra answered until 2023
    token_lifetime: float = 86400.0  # wall seconds

    def __post_init__(self) -> None:
        for field_name, name in zip(self.__struct_fields__, self.__struct_encode_fields__, strict=True):
            value = getattr(self, field_name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            # Written so that not-a-number fails too.
            if not 0 <= value <= _MOST:
                raise ValueError(f"{name}: must be from 0 to {_MOST:.0f}")
            if value == 0 and field_name.endswith(_RATES):
                raise ValueError(f"{name}: must be above 0, or nothing would ever pass")


@dataclass(slots=True)
class Tenant:
    """A directory."""

    id: str
    name: str
    #: The one cloud that the tenant is in; in all of them when empty (see :mod:`keystead_sandbox.clouds`).
    cloud: str = ""
    #: Names that it may be asked for by, beside its id, in lower case.
    domains: tuple[str, ...] = ()
    #: Whether federated credentials may be used at all, and of which issuers (of any when None).
    federation: bool = True
    allowed_issuers: tuple[str, ...] | None = None

    def is_in(self, cloud: Cloud) -> bool:
        """Whether *cloud* knows this tenant."""
        return self.cloud in ("", cloud.name)


@dataclass(slots=True)
class Subscription:
    """A subscription of one tenant."""

    id: str
    tenant_id: str
    name: str = "Keystead sandbox"


@dataclass(slots=True)
class ResourceGroup:
    """A resource group; ``id`` keeps the case it was made with."""

    subscription_id: str
    name: str
    location: str
    tags: dict[str, str] = field(default_factory=dict)
    #: When a deletion under way will be through (sandbox seconds).
    gone_at: float | None = None

    @property
    def id(self) -> str:
        return f"/subscriptions/{self.subscription_id}/resourceGroups/{self.name}"


@dataclass(slots=True)
class Application:
    """A service principal that signs in with a client secret, or with the key of a certificate."""

    client_id: str
    object_id: str
    tenant_id: str
    secret: str = field(repr=False)
    name: str = ""
    #: Certificates in PEM, without keys.
    certificates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """A federated identity credential, and when it was last written (sandbox seconds)."""

    name: str
    issuer: str
    subject: str
    audience: str
    written_at: float
    #: A flexible credential's, in place of the subject.
    expression: str = ""

    @property
    def trust(self) -> "Trust":
        """What it trusts, whatever it is called."""
        return Trust(self.issuer, self.subject, self.audience, self.expression)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose tokens a credential accepts."""

    issuer: str
    subject: str
    audience: str
    expression: str = ""


@dataclass(slots=True)
class Identity:
    """A user-assigned identity; ``resource_id`` as ARM answers it, credentials by lower-cased name."""

    resource_id: str
    name: str
    location: str
    client_id: str
    principal_id: str
    tenant_id: str
    created_at: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    credentials: dict[str, Credential] = field(default_factory=dict)
    deleted: list[tuple[Credential, float]] = field(default_factory=list)
    #: Whether the metadata service of the sandbox's one machine gives tokens for it.
    attached: bool = True
    #: Extra properties of an identity body that the service echoes (``isolationScope``, ``assignmentRestrictions``).
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def subscription_id(self) -> str:
        return self.resource_id.split("/")[2]

    @property
    def resource_group(self) -> str:
        return self.resource_id.split("/")[4]


@dataclass(slots=True, kw_only=True)
class Version:
    """What the versions of secrets, keys and certificates have in common."""

    version: str
    created: datetime.datetime
    updated: datetime.datetime
    enabled: bool = True
    tags: dict[str, str] = field(default_factory=dict)
    not_before: datetime.datetime | None = None
    expires: datetime.datetime | None = None


@dataclass(slots=True, kw_only=True)
class SecretVersion(Version):
    """One version of a secret."""

    value: str = field(repr=False)
    content_type: str = ""
    #: Whether it holds the certificate of the same name.
    managed: bool = False


@dataclass(slots=True, kw_only=True)
class KeyVersion(Version):
    """One version of a key; ``private`` is PKCS #8 in DER, also for a key said to be in an HSM."""

    private: bytes = field(repr=False)
    kty: str
    operations: tuple[str, ...]
    exportable: bool = False
    #: The body of a release policy, as the client gave it.
    release_policy: dict[str, Any] = field(default_factory=dict)
    #: Whether it is that of the certificate of the same name.
    managed: bool = False


@dataclass(slots=True, kw_only=True)
class CertificateVersion(Version):
    """One version of a certificate: chain in DER, its own first; none while a signature is waited for."""

    chain: tuple[bytes, ...] = ()


V = TypeVar("V", bound=Version)


@dataclass(slots=True)
class Deleted(Generic[V]):
    """The versions of what is soft-deleted, until it is recovered or purged."""

    versions: list[V]
    deleted: datetime.datetime


@dataclass(slots=True)
class Pending:
    """The last creation of a certificate's version, done or not."""

    version: str
    issuer: str
    request: bytes
    request_id: str
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What one principal may do in a vault that goes by access policies; permissions in lower case."""

    object_id: str
    tenant_id: str
    application_id: str = ""
    secrets: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()


@dataclass(slots=True)
class Vault:
    """A vault, under Azure RBAC or access policies; what it holds by lower-cased name, newest version last."""

    name: str
    resource_id: str
    tenant_id: str
    location: str
    secrets: dict[str, list[SecretVersion]] = field(default_factory=dict)
    deleted: dict[str, Deleted[SecretVersion]] = field(default_factory=dict)
    #: A name as it was first written, by its kind (``secrets``, ``keys``, ``certificates``) and itself in lower case.
    spelling: dict[tuple[str, str], str] = field(default_factory=dict)
    rbac: bool = True
    access_policies: list[AccessPolicy] = field(default_factory=list)
    public_network: str = "Enabled"
    tags: dict[str, str] = field(default_factory=dict)
    sku: str = "standard"
    retention_days: int = 90
    purge_protection: bool = False
    #: When the vault itself was deleted; it is then in ``World.deleted_vaults`` and no longer reached.
    deleted_on: datetime.datetime | None = None
    #: Settings that Resource Manager echoes: ``enabledFor…``, ``networkAcls``; the vault's firewall reads the last.
    settings: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, list[KeyVersion]] = field(default_factory=dict)
    deleted_keys: dict[str, Deleted[KeyVersion]] = field(default_factory=dict)
    #: Rotation policies by a key's lower-cased name, as they are answered.
    rotation: dict[str, dict[str, Any]] = field(default_factory=dict)
    certificates: dict[str, list[CertificateVersion]] = field(default_factory=dict)
    deleted_certificates: dict[str, Deleted[CertificateVersion]] = field(default_factory=dict)
    #: Policies and creations by a certificate's lower-cased name; policies as they are answered.
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    contacts: list[dict[str, str]] = field(default_factory=list)
    #: Certificate issuers by lower-cased name, as they are answered.
    issuers: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class RoleAssignment:
    """A role given to a principal over a scope; kept after its deletion while that takes effect."""

    id: str
    scope: str
    role_definition_id: str
    principal_id: str
    created_at: float
    principal_type: str = "ServicePrincipal"
    deleted_at: float | None = None
    condition: str = ""
    condition_version: str = ""
    description: str = ""
    delegated_identity: str = ""
    created_by: str = ""
    created_on: datetime.datetime | None = None
    updated_on: datetime.datetime | None = None


@dataclass(slots=True)
class Directory:
    """What Entra's replicas remember of exchanges; :mod:`keystead_sandbox.entra.state` says how."""

    #: Client id and credential of exchanges that succeeded.
    used: set[tuple[str, Credential]] = field(default_factory=set)
    #: By client id, issuer and subject: what a refused exchange was shown, and until when that stands.
    refused: dict[tuple[str, str, str], tuple[tuple[Credential, ...], float]] = field(default_factory=dict)
