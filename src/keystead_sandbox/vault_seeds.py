"""Vaults in seed files: secrets, keys, certificates, access policies and the firewall, and how they are planted.

- A secret is its value, or a table of what it is; a key or certificate is made where the file brings none in PEM.
- A vault with access policies goes by them unless ``rbac`` says otherwise.
- A value and a private key are never part of a complaint.
"""

import datetime
import ipaddress
from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Literal

import msgspec
from cryptography import x509
from msgspec import Meta

from keystead_sandbox.keyvault import certificate_policies, certificates, keys, material, rules
from keystead_sandbox.keyvault import x509_making as making
from keystead_sandbox.resources import AccessPolicy, Vault, Version
from keystead_sandbox.world import World

VaultId = Annotated[
    str,
    Meta(
        pattern=r"(?i)^/subscriptions/[0-9a-z-]+/resourceGroups/[\w.()-]+"
        r"/providers/Microsoft.KeyVault/vaults/[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]\Z"
    ),
]
Moment = Annotated[datetime.datetime, Meta(tz=True)]


class _Part(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Unknown fields are refused: a typing mistake must not be silence."""


class _VersionSeed(_Part):
    """What secrets, keys and certificates have in common."""

    enabled: bool = True
    tags: dict[str, str] = {}

    def apply(self, version: Version) -> None:
        """Make *version* as the file says."""
        version.enabled, version.tags = self.enabled, dict(self.tags)


class SecretSeed(_VersionSeed, kw_only=True):
    """A secret that is more than its value."""

    value: str
    content_type: str = ""
    not_before: Moment | None = None
    expires: Moment | None = None

    def __repr__(self) -> str:
        return "SecretSeed(***)"


class KeySeed(_VersionSeed, kw_only=True):
    """A key: the one in PEM, or a new one."""

    pem: str = ""
    kty: Literal["RSA", "RSA-HSM", "EC", "EC-HSM"] = "RSA"
    size: Literal[2048, 3072, 4096] = 2048
    curve: Literal["P-256", "P-384", "P-521", "P-256K"] = "P-256"
    operations: tuple[Literal["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"], ...] | None = None
    not_before: Moment | None = None
    expires: Moment | None = None

    def __repr__(self) -> str:
        return f"KeySeed({self.kty})"


class CertificateSeed(_VersionSeed, kw_only=True):
    """A certificate: the one in PEM with its key and chain, or a new one that signs itself."""

    pem: str = ""
    subject: str = ""
    months: Annotated[int, Meta(ge=1, le=1200)] = 12
    content_type: Literal["application/x-pkcs12", "application/x-pem-file"] = "application/x-pkcs12"
    exportable: bool = True

    def __repr__(self) -> str:
        return f"CertificateSeed({self.subject})"


class AccessPolicySeed(_Part):
    """Permissions in a vault; *principal* as in a role assignment."""

    principal: str
    tenant: str = ""
    application: str = ""
    secrets: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()


class NetworkSeed(_Part):
    """The vault's firewall."""

    default_action: Literal["Allow", "Deny"] = "Deny"
    ip_rules: list[str] = []


class VaultSeed(_Part):
    """A vault and what is in it."""

    id: VaultId
    location: str = "westeurope"
    secrets: dict[str, str | SecretSeed] = {}
    keys: dict[str, KeySeed] = {}
    certificates: dict[str, CertificateSeed] = {}
    rbac: bool | None = None
    access_policies: list[AccessPolicySeed] = []
    public_network: Literal["Enabled", "Disabled"] = "Enabled"
    network: NetworkSeed | None = None
    retention_days: Annotated[int, Meta(ge=7, le=90)] = 90
    purge_protection: bool = False


def plant_vault(world: World, given: VaultSeed, principal: Callable[[str], str]) -> Vault:
    """Make the vault; *principal* finds the object id of whom a policy names."""
    parts = given.id.split("/")
    vault = world.add_vault(parts[8], parts[4], location=given.location, subscription_id=parts[2])
    vault.rbac = not given.access_policies if given.rbac is None else given.rbac
    vault.public_network = given.public_network
    vault.retention_days, vault.purge_protection = given.retention_days, given.purge_protection
    if given.network is not None:
        vault.settings["networkAcls"] = {
            "bypass": "AzureServices",
            "defaultAction": given.network.default_action,
            "ipRules": [{"value": each} for each in given.network.ip_rules],
            "virtualNetworkRules": [],
        }
    for policy in given.access_policies:
        lists = (
            tuple(each.lower() for each in permissions)
            for permissions in (policy.secrets, policy.keys, policy.certificates)
        )
        tenant = policy.tenant.lower() or vault.tenant_id
        vault.access_policies.append(AccessPolicy(principal(policy.principal), tenant, policy.application, *lists))
    plant_into(world, vault, given)
    return vault


def plant_into(world: World, vault: Vault, given: VaultSeed) -> None:
    """Put secrets, keys and certificates into a vault that is there."""
    for name, secret in given.secrets.items():
        _plant_secret(world, vault, name, secret)
    for name, key in given.keys.items():
        _plant_key(world, vault, name, key)
    for name, certificate in given.certificates.items():
        _plant_certificate(world, vault, name, certificate)


def vault_problems(place: str, given: VaultSeed, identities: Collection[str]) -> Iterator[tuple[str, str]]:
    """What in a vault makes no sense, and where; *identities* are the ids of those there are, in lower case."""
    for kind, names in (("secrets", given.secrets), ("keys", given.keys), ("certificates", given.certificates)):
        for name in names:
            if not rules.is_name(name):
                yield f"{place}.{kind}.{name}", "is no name: use 1 to 127 letters, digits and hyphens."
    for name in given.certificates:
        if {name.lower()} & {other.lower() for other in (*given.secrets, *given.keys)}:
            where = f"{place}.certificates.{name}"
            yield where, "a secret or a key has the same name, and so would the certificate's own. Rename one."
    for name, secret in given.secrets.items():
        if len((secret if isinstance(secret, str) else secret.value).encode("utf-8", "replace")) > rules.LONGEST_VALUE:
            yield f"{place}.secrets.{name}", f"the value is longer than {rules.LONGEST_VALUE} bytes. Shorten it."
    for name, key in given.keys.items():
        if key.pem and _fails(material.from_pem, key.pem.encode()):
            yield f"{place}.keys.{name}.pem", "is no private key in PEM that vaults take: RSA 2048, 3072, 4096 or EC."
    for name, certificate in given.certificates.items():
        if _fails(_read, certificate):
            where = f"{place}.certificates.{name}"
            yield where, "is no certificate with its private key in PEM, or has a subject that is none. Correct it."
    for number, policy in enumerate(given.access_policies):
        if policy.principal.startswith("/") and policy.principal.lower() not in identities:
            where = f"{place}.accessPolicies[{number}].principal"
            yield where, f"{policy.principal} is not in identities. Add it there."
    for number, rule in enumerate(given.network.ip_rules if given.network is not None else ()):
        if _fails(ipaddress.ip_network, rule, False):
            yield f"{place}.network.ipRules[{number}]", f"{rule} is no address or range. Write one, such as 10.0.0.0/8."


def _plant_secret(world: World, vault: Vault, name: str, given: str | SecretSeed) -> None:
    if isinstance(given, str):
        world.set_secret(vault, name, given)
        return
    made = world.set_secret(vault, name, given.value)
    made.content_type, made.not_before, made.expires = given.content_type, given.not_before, given.expires
    given.apply(made)


def _plant_key(world: World, vault: Vault, name: str, given: KeySeed) -> None:
    if given.pem:
        private = material.from_pem(given.pem.encode())
        kty = material.kty_of(material.loaded(private)) + ("-HSM" if given.kty.endswith("-HSM") else "")
    else:
        private, kty = material.make(given.kty, size=given.size, curve=given.curve), given.kty
    made = keys.add(world, vault, name, private, kty=kty, operations=given.operations)
    made.not_before, made.expires = given.not_before, given.expires
    given.apply(made)


def _plant_certificate(world: World, vault: Vault, name: str, given: CertificateSeed) -> None:
    now = world.clock.wall()
    seconds, about = int(now.timestamp()), _policy(given, name)
    if given.pem:
        private, chain = _read(given)
        key = material.loaded(private)
        described = certificate_policies.of_imported(x509.load_der_x509_certificate(chain[0]), key, given.content_type)
        policy = certificate_policies.completed(described, {}, seconds)
        policy["key_props"]["exportable"] = given.exportable
    else:
        policy = certificate_policies.completed(about, {}, seconds)
        private = material.make("RSA")
        chain = (making.self_signed(private, policy, now),)
    vault.policies[name.lower()] = policy
    held = certificates.begin(world, vault, name, private, rules.Change(given.tags, rules.Attributes(given.enabled)))
    certificates.finish(world, vault, name, held, chain)


def _policy(given: CertificateSeed, name: str) -> certificate_policies.Policy:
    return msgspec.convert(
        {
            "key_props": {"exportable": given.exportable},
            "secret_props": {"contentType": given.content_type},
            "x509_props": {"subject": given.subject or f"CN={name}", "validity_months": given.months},
            "issuer": {"name": certificate_policies.SELF},
        },
        certificate_policies.Policy,
    )


def _read(given: CertificateSeed) -> tuple[bytes, tuple[bytes, ...]]:
    """The key and the chain in the file; neither when there is none, once the subject is one."""
    if not given.pem:
        making.distinguished_name(given.subject)
        return b"", ()
    return making.read_pem(given.pem, None)


def _fails(attempt: Callable[..., object], *given: object) -> bool:
    try:
        attempt(*given)
    except (ValueError, LookupError):
        return True
    return False
