"""What exists in the emulated Azure: tenants, identities, credentials, vaults, roles, and the rules they live by.

Data alone, which :mod:`keystead_sandbox.world` keeps. Nothing here prints a secret: values and client secrets are left
out of every repr.
"""

import datetime
from dataclasses import dataclass, field

import msgspec

from keystead_sandbox.clouds import Cloud
from keystead_sandbox.roles import Role, role_named

AUDIENCE = "api://AzureADTokenExchange"


_MOST = 3.2e9  # a century in seconds
_ABOVE_ZERO = frozenset(
    {"write_refill", "get_refill", "list_refill", "vault_refill", "page_size"}
    | {f"{holder}_{verb}" for holder in ("subscription", "tenant") for verb in ("writes", "gets", "lists")}
)


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
    subscription_writes: float = 2.0
    subscription_gets: float = 10.0
    subscription_lists: float = 5.0
    tenant_writes: float = 10.0
    tenant_gets: float = 30.0
    tenant_lists: float = 15.0
    burst: float = 2.0  # capacity of a subscription's or tenant's bucket, in seconds of its rate
    identity_visible: float = 0.0  # until the directory knows a new identity's principal
    role_delay: float = 0.0
    vault_capacity: float = 4000.0  # transactions of one vault
    vault_refill: float = 400.0
    page_size: int = 100
    combined_refusals: bool = False  # 70021 in place of 700211, 700212 and 700213, as Entra answered until 2023
    token_lifetime: float = 86400.0  # wall seconds

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not 0 <= value <= _MOST:
                raise ValueError(f"{name} must be 0 to {_MOST:.0f}")
            if name in _ABOVE_ZERO and value == 0:
                raise ValueError(f"{name} must be above 0: a bucket that never fills says nothing of when to come back")


@dataclass(slots=True)
class Tenant:
    """A directory."""

    id: str
    name: str
    #: The one cloud that the tenant is in; in all of them when empty (see :mod:`keystead_sandbox.clouds`).
    cloud: str = ""
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
    #: Extra properties of an identity body that the service echoes (``isolationScope``).
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def subscription_id(self) -> str:
        return self.resource_id.split("/")[2]

    @property
    def resource_group(self) -> str:
        return self.resource_id.split("/")[4]


@dataclass(slots=True)
class SecretVersion:
    """One version of a secret."""

    version: str
    value: str = field(repr=False)
    created: datetime.datetime
    updated: datetime.datetime
    enabled: bool = True
    content_type: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    not_before: datetime.datetime | None = None
    expires: datetime.datetime | None = None


@dataclass(slots=True)
class DeletedSecret:
    """A soft-deleted secret's versions, until it is recovered or purged."""

    versions: list[SecretVersion]
    deleted: datetime.datetime


@dataclass(slots=True)
class Vault:
    """A vault under Azure RBAC; secrets by lower-cased name, newest version last."""

    name: str
    resource_id: str
    tenant_id: str
    location: str
    secrets: dict[str, list[SecretVersion]] = field(default_factory=dict)
    deleted: dict[str, DeletedSecret] = field(default_factory=dict)
    #: A secret's name as it was first written, by its lower-cased name.
    spelling: dict[str, str] = field(default_factory=dict)


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

    @property
    def role(self) -> Role | None:
        return role_named(self.role_definition_id)


@dataclass(slots=True)
class Directory:
    """What Entra's replicas remember of exchanges; :mod:`keystead_sandbox.entra.state` says how."""

    #: Client id and credential of exchanges that succeeded.
    used: set[tuple[str, Credential]] = field(default_factory=set)
    #: By client id, issuer and subject: what a refused exchange was shown, and until when that stands.
    refused: dict[tuple[str, str, str], tuple[tuple[Credential, ...], float]] = field(default_factory=dict)
