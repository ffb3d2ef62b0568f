"""Identifiers, parsed once at the edge and trusted inside.

Rules:
- An ARM id is compared without regard to case: clients send ``resourceGroups``, the service answers ``resourcegroups``.
- Issuer, subject and audience are compared exactly, as Entra does: case and trailing slash matter.
- A vault URL is ``https://NAME.SUFFIX`` with one of the known suffixes and nothing behind it.
"""

import re
from dataclasses import dataclass, field
from typing import ClassVar, NewType, Self

NamespaceUid = NewType("NamespaceUid", str)
ClusterId = NewType("ClusterId", str)
"""First eight characters of a readable, stable cluster name derived from the UID of namespace ``kube-system``."""

_IDENTITY_ID = re.compile(
    r"^/subscriptions/(?P<subscription>[0-9a-f-]{36})"
    r"/resourcegroups/(?P<group>[^/]{1,90})"
    r"/providers/microsoft\.managedidentity/userassignedidentities/(?P<name>[a-z0-9][a-z0-9_-]{2,127})\Z"
)

_GROUP_ID = re.compile(r"^/subscriptions/[0-9a-f-]{36}/resourcegroups/[\w().-]{0,89}[\w()-]\Z")
_VAULT_ID = re.compile(
    r"^/subscriptions/[0-9a-f-]{36}/resourcegroups/[^/]{1,90}/providers/microsoft\.keyvault/vaults/[a-z][a-z0-9-]{1,22}[a-z0-9]\Z"
)

VAULT_SUFFIXES = ("vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net")
_VAULT_URL = re.compile(
    r"^https://(?P<name>[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9])\.(?P<suffix>"
    + "|".join(re.escape(suffix) for suffix in VAULT_SUFFIXES)
    + r")/?\Z"
)


def resource_key(resource_id: str) -> str:
    """How ids are told apart as people write them, parsed or not: Resource Manager goes by no case."""
    return resource_id.strip().rstrip("/").lower()


@dataclass(frozen=True, slots=True, order=True)
class _ArmId:
    """An ARM id; equal when the ids differ only in case."""

    _pattern: ClassVar[re.Pattern[str]]
    _expected: ClassVar[str]
    """What it is the id of, and what that looks like."""

    key: str
    """Lower-cased id: what is compared, sorted and hashed."""
    text: str = field(compare=False)
    """The id as it was first written, for people and for URLs."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, with what is allowed, when *text* is not such an id."""
        plain = text.strip().rstrip("/")
        key = plain.lower()
        if cls._pattern.match(key) is None:
            raise ValueError(f"is not the id of {cls._expected}")
        return cls(key, plain)

    @property
    def subscription(self) -> str:
        return self.key.split("/")[2]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, order=True)
class IdentityId(_ArmId):
    """ARM id of a user-assigned managed identity; equal when the ids differ only in case."""

    _pattern = _IDENTITY_ID
    _expected = (
        "a user-assigned managed identity: expected /subscriptions/UUID/resourceGroups/GROUP"
        "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME"
    )

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def resource_group(self) -> str:
        return self.text.split("/")[4]

    @property
    def name(self) -> str:
        return self.text.rsplit("/", 1)[1]


@dataclass(frozen=True, slots=True, order=True)
class GroupId(_ArmId):
    """ARM id of a resource group; equal when the ids differ only in case."""

    _pattern = _GROUP_ID
    _expected = "a resource group: expected /subscriptions/UUID/resourceGroups/GROUP"

    @property
    def name(self) -> str:
        return self.text.rsplit("/", 1)[1]

    def identity(self, name: str) -> IdentityId:
        """The id of the identity of this name in the group."""
        return IdentityId.parse(f"{self.text}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}")


@dataclass(frozen=True, slots=True, order=True)
class VaultId(_ArmId):
    """ARM id of a Key Vault; equal when the ids differ only in case."""

    _pattern = _VAULT_ID
    _expected = "a vault: expected /subscriptions/UUID/resourceGroups/GROUP/providers/Microsoft.KeyVault/vaults/NAME"

    @property
    def name(self) -> str:
        return self.key.rsplit("/", 1)[1]


@dataclass(frozen=True, slots=True)
class VaultUrl:
    """Address of a Key Vault without a trailing slash."""

    name: str
    suffix: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, with what is allowed, when *text* is not the address of a vault."""
        match = _VAULT_URL.match(text)
        if match is None:
            raise ValueError(f"is not the address of a vault: expected https://NAME.{{{','.join(VAULT_SUFFIXES)}}}")
        return cls(match["name"].lower(), match["suffix"])

    @property
    def scope(self) -> str:
        """The OAuth scope whose token this vault accepts."""
        return f"https://{self.suffix}/.default"

    def __str__(self) -> str:
        return f"https://{self.name}.{self.suffix}"


def service_account_subject(namespace: str, service_account: str) -> str:
    """The ``sub`` claim that Kubernetes puts into a token of this ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{service_account}"
