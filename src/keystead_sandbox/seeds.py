"""Seed files: what exists in the emulated Azure when it starts, in YAML.

- A bad file is refused with its name, the line, the field, what is wrong and the cure; nothing of it takes effect.
- What the file leaves out is made: a tenant, a subscription, the groups of identities and vaults.
- A secret's value is never part of a complaint.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from msgspec import Meta

from keystead_sandbox.clock import Clock
from keystead_sandbox.faults import Fault
from keystead_sandbox.journal import Journal
from keystead_sandbox.resources import Rules
from keystead_sandbox.roles import ROLES, role_named
from keystead_sandbox.seed_governance import (
    CustomRoleSeed,
    LockSeed,
    PolicySeed,
    UnregisteredSeed,
    condition_problem,
    plant_lock,
    plant_policy,
    plant_role,
    policy_problems,
    role_problems,
)
from keystead_sandbox.vault_seeds import VaultSeed, plant_vault, vault_problems
from keystead_sandbox.world import World

DEFAULT_GROUP = "sandbox"  # made where a seed names none
_GROUP = r"(?i)^/subscriptions/[0-9a-z-]+/resourceGroups/[\w.()-]+"
GroupId = Annotated[str, Meta(pattern=rf"{_GROUP}\Z")]
IdentityId = Annotated[
    str,
    Meta(
        pattern=f"{_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/[a-zA-Z0-9][a-zA-Z0-9_-]{{2,127}}\\Z"
    ),
]


class _Part(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Unknown fields are refused: a typing mistake must not be silence."""


class TenantSeed(_Part):
    """A directory."""

    id: str
    name: str = "sandbox"
    cloud: Literal["", "AzureCloud", "AzureChinaCloud", "AzureUSGovernment"] = ""
    domains: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+\Z")], ...] = ()
    federation: bool = True
    allowed_issuers: tuple[str, ...] | None = None


class SubscriptionSeed(_Part):
    """A subscription."""

    id: str
    tenant: str = ""


class GroupSeed(_Part):
    """A resource group."""

    id: GroupId
    location: str = "westeurope"


class ApplicationSeed(_Part):
    """A service principal with a client secret, certificates (PEM, without their keys), or both."""

    client_id: str
    secret: str = ""
    certificates: tuple[str, ...] = ()
    tenant: str = ""
    name: str = ""


class CredentialSeed(_Part):
    """A federated credential that was written long ago."""

    name: str
    issuer: str
    subject: str


class IdentitySeed(_Part):
    """A user-assigned identity."""

    id: IdentityId
    client_id: str = ""
    location: str = "westeurope"
    attached: bool = True
    credentials: list[CredentialSeed] = []


class AssignmentSeed(_Part):
    """A role; *principal* is a client id, an object id, or the id of an identity above."""

    principal: str
    role: str
    scope: str
    condition: str = ""


class Seed(_Part):
    """A whole file."""

    rules: Rules = msgspec.field(default_factory=Rules)
    tenants: list[TenantSeed] = []
    subscriptions: list[SubscriptionSeed] = []
    resource_groups: list[GroupSeed] = []
    applications: list[ApplicationSeed] = []
    identities: list[IdentitySeed] = []
    vaults: list[VaultSeed] = []
    custom_roles: list[CustomRoleSeed] = []
    role_assignments: list[AssignmentSeed] = []
    locks: list[LockSeed] = []
    policies: list[PolicySeed] = []
    unregistered_providers: list[UnregisteredSeed] = []
    faults: list[Fault] = []


class BadSeed(ValueError):
    """A seed that makes no sense; *place* is the field, such as ``$.identities[0].id``."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.place = place
        self.problem = problem


def read_seed(path: Path) -> Seed:
    """The file's contents, checked. BadSeed, with file and line, when it cannot be read or makes no sense."""
    try:
        text = path.read_text()
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        loaded = yaml.safe_load(text)
    except OSError as error:
        raise BadSeed("", f"{path}: cannot be read: {error.strerror}. Name a YAML file.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise BadSeed("", f"{path}:{line}: is not YAML: {error.problem}. Correct the line.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadSeed("", f"{path}: is not text in YAML. Name a YAML file.") from error
    except (ValueError, RecursionError, OverflowError) as error:  # the loader's own: a date that is none, too deep
        raise BadSeed("", f"{path}: holds what YAML cannot mean: {error}. Correct or remove it.") from error
    try:
        seed = msgspec.convert({} if loaded is None else loaded, Seed)
        check(seed)
    except (RecursionError, OverflowError) as error:
        raise BadSeed("", f"{path}: is too deep, or contains itself. Write it out plainly.") from error
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `")
        place = place.removesuffix("`")
        unknown = re.search("unknown field `(.+?)`", problem)
        where = _located(path, node, f"{place or '$'}.{unknown[1]}" if unknown else place)
        raise BadSeed("", f"{where}: {_explained(problem, place)}") from error
    except BadSeed as error:
        raise BadSeed("", f"{_located(path, node, error.place)}: {error.problem}") from error
    return seed


def check(seed: Seed) -> None:
    """Whether the parts fit together. BadSeed when they do not."""
    for place, problem in _problems(seed):
        raise BadSeed(place, problem)


def plant(seed: Seed, clock: Clock, journal: Journal) -> World:
    """A world in which all of *seed* exists. BadSeed when parts do not fit together."""
    check(seed)
    world = World(clock, journal, seed.rules)
    for tenant in seed.tenants:
        made = world.add_tenant(tenant.id, tenant.name, tenant.cloud)
        made.federation, made.allowed_issuers = tenant.federation, tenant.allowed_issuers
        made.domains = tuple(domain.lower() for domain in tenant.domains)
    if not world.tenants:
        world.add_tenant()
    for subscription in seed.subscriptions:
        world.add_subscription(subscription.id, subscription.tenant)
    if not world.subscriptions:
        world.add_subscription()
    for group in seed.resource_groups:
        world.add_group(group.id.split("/")[4], group.location, group.id.split("/")[2])
    for application in seed.applications:
        added = world.add_application(
            application.name, secret=application.secret, client_id=application.client_id, tenant_id=application.tenant
        )
        added.certificates = application.certificates
    if not seed.resource_groups:
        world.add_group(DEFAULT_GROUP)
    for identity in seed.identities:
        _plant_identity(world, identity)
    for vault in seed.vaults:
        plant_vault(world, vault, functools.partial(_principal, world))
    _govern(world, seed)
    for fault in seed.faults:
        world.faults.add(fault)
    return world


def _govern(world: World, seed: Seed) -> None:
    for role in seed.custom_roles:
        plant_role(world, role)
    for assignment in seed.role_assignments:
        made = world.assign_role(_principal(world, assignment.principal), assignment.role, assignment.scope)
        if assignment.condition:
            made.condition, made.condition_version = assignment.condition, "2.0"
    for lock in seed.locks:
        plant_lock(world, lock)
    for policy in seed.policies:
        plant_policy(world, policy)
    for missing in seed.unregistered_providers:
        world.unregistered.add((missing.subscription.lower(), missing.namespace.lower()))


def _plant_identity(world: World, given: IdentitySeed) -> None:
    parts = given.id.split("/")
    identity = world.add_identity(
        parts[8], parts[4], location=given.location, subscription_id=parts[2], client_id=given.client_id
    )
    identity.attached = given.attached
    for credential in given.credentials:
        world.add_credential(identity, credential.name, credential.issuer, credential.subject)


def _principal(world: World, given: str) -> str:
    identity = world.identity(given) or world.identities_by_client.get(given.lower())
    application = world.applications.get(given.lower())
    if identity is not None:
        return identity.principal_id
    return application.object_id if application is not None else given


def _problems(seed: Seed) -> Iterator[tuple[str, str]]:
    """Where parts name others that are not there, or the same twice."""
    tenants = {tenant.id.lower() for tenant in seed.tenants}
    subscriptions = {subscription.id.lower() for subscription in seed.subscriptions}
    for part, given in (
        ("subscriptions", [subscription.tenant for subscription in seed.subscriptions]),
        ("applications", [application.tenant for application in seed.applications]),
    ):
        for number, tenant in enumerate(given):
            if tenant and tenant.lower() not in tenants:
                yield f"$.{part}[{number}].tenant", f"{tenant} is not in tenants. Add it there, or leave the field out."
    for number, application in enumerate(seed.applications):
        place = f"$.applications[{number}]"
        if not application.secret and not application.certificates:
            yield place, "the application has no way to sign in. Give it a secret, or certificates."
        for which, pem in enumerate(application.certificates):
            if not _is_certificate(pem):
                yield (
                    f"{place}.certificates[{which}]",
                    "is no RSA certificate in PEM. Give the certificate, not its key.",
                )
    placed: dict[str, Sequence[GroupSeed | IdentitySeed | VaultSeed]] = {
        "resourceGroups": seed.resource_groups,
        "identities": seed.identities,
        "vaults": seed.vaults,
    }
    for part, things in placed.items():
        seen: set[str] = set()
        for number, thing in enumerate(things):
            place = f"$.{part}[{number}].id"
            if thing.id.split("/")[2].lower() not in subscriptions:
                yield place, f"the subscription of {thing.id} is not in subscriptions. Add it there."
            if thing.id.lower() in seen:
                yield place, f"{thing.id} is there twice. Remove one."
            seen.add(thing.id.lower())
    yield from role_problems(seed.custom_roles, tenants)
    for number, vault in enumerate(seed.vaults):
        yield from vault_problems(f"$.vaults[{number}]", vault, {each.id.lower() for each in seed.identities})
    yield from _assignment_problems(seed)
    yield from policy_problems(seed.policies)
    for number, missing in enumerate(seed.unregistered_providers):
        if missing.subscription.lower() not in subscriptions:
            place = f"$.unregisteredProviders[{number}].subscription"
            yield place, f"{missing.subscription} is not in subscriptions. Add it there."


def _assignment_problems(seed: Seed) -> Iterator[tuple[str, str]]:
    known = {identity.id.lower() for identity in seed.identities}
    custom = {name.lower() for role in seed.custom_roles for name in (role.name, role.id) if name}
    for number, assignment in enumerate(seed.role_assignments):
        place = f"$.roleAssignments[{number}]"
        if assignment.principal.startswith("/") and assignment.principal.lower() not in known:
            yield f"{place}.principal", f"{assignment.principal} is not in identities. Add it there."
        if role_named(assignment.role) is None and assignment.role.lower() not in custom:
            roles = ", ".join([*(role.name for role in ROLES), *(role.name for role in seed.custom_roles)])
            yield f"{place}.role", f"{assignment.role!r} is not a role that the sandbox knows. Use one of: {roles}."
        problem = condition_problem(assignment.condition) if assignment.condition else ""
        if problem:
            yield f"{place}.condition", problem


def _explained(problem: str, place: str) -> str:
    """A complaint of the decoder, and what may stand there instead."""
    part = re.match(r"\$\.(\w+)", place)
    name = part[1] if part else ""
    if "matching regex" in problem:
        return f"is not {_IDS.get(name, _SCOPE if place.endswith('cope') or 'copes' in place else _TEXT)}"
    return f"{problem}. Known fields: {', '.join(_names(_KINDS.get(name, Seed)))}."


def _is_certificate(pem: str) -> bool:
    try:
        return isinstance(x509.load_pem_x509_certificate(pem.encode()).public_key(), RSAPublicKey)
    except ValueError:
        return False


def _names(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _located(path: Path, node: yaml.Node | None, place: str) -> str:
    """``FILE:LINE: FIELD``; the line of the deepest node on the way to *place* that the file has."""
    line = node.start_mark.line if node is not None else 0
    for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", place):
        below = _below(node, key, index)
        if below is None:
            break
        line, node = below
    return f"{path}:{line + 1}: {place.removeprefix('$.')}" if place not in ("", "$") else f"{path}:{line + 1}"


def _below(node: yaml.Node | None, key: str, index: str) -> tuple[int, yaml.Node] | None:
    """The node under a key or at an index, and the line where it, or its key, stands."""
    if key and isinstance(node, yaml.MappingNode):
        found = next(((name, value) for name, value in node.value if name.value == key), None)
        return (found[0].start_mark.line, found[1]) if found is not None else None
    if index and isinstance(node, yaml.SequenceNode) and int(index) < len(node.value):
        item = node.value[int(index)]
        return item.start_mark.line, item
    return None


_IDS = {
    "tenants": "a domain, such as contoso.onmicrosoft.com",
    "faults": "a percentile from 0 to 100, as text",
    "resourceGroups": "the id of a resource group: /subscriptions/GUID/resourceGroups/NAME",
    "identities": "the id of an identity: "
    "/subscriptions/GUID/resourceGroups/NAME/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME",
    "vaults": "the id of a vault: /subscriptions/GUID/resourceGroups/NAME/providers/Microsoft.KeyVault/vaults/NAME, "
    "3 to 24 letters, digits and hyphens",
}
_SCOPE = "a scope: /subscriptions/GUID, and what is below it"
_TEXT = "what may stand there: an id is a GUID, a name has 1 to 64 letters, digits, dots, hyphens and underscores"
_KINDS: dict[str, type[msgspec.Struct]] = {
    "rules": Rules,
    "tenants": TenantSeed,
    "subscriptions": SubscriptionSeed,
    "resourceGroups": GroupSeed,
    "applications": ApplicationSeed,
    "identities": IdentitySeed,
    "vaults": VaultSeed,
    "customRoles": CustomRoleSeed,
    "roleAssignments": AssignmentSeed,
    "locks": LockSeed,
    "policies": PolicySeed,
    "unregisteredProviders": UnregisteredSeed,
    "faults": Fault,
}
