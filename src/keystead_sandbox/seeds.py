"""Seed files: what exists in the emulated Azure when it starts, in YAML.

A bad file is refused with its name, the place, what was given and the cure; nothing of it takes effect.
"""

from pathlib import Path
from typing import Annotated

import msgspec
import yaml
from msgspec import Meta

from keystead_sandbox.clock import Clock
from keystead_sandbox.journal import Journal
from keystead_sandbox.world import Rules, World

_ID = "^/subscriptions/[^/]+/resource[Gg]roups/[^/]+/providers/[^/]+/[^/]+/[^/]+$"
ArmId = Annotated[str, Meta(pattern=_ID)]


class _Part(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Unknown fields are refused: a typing mistake must not be silence."""


class TenantSeed(_Part):
    """A directory."""

    id: str
    name: str = "sandbox"


class SubscriptionSeed(_Part):
    """A subscription."""

    id: str
    tenant: str = ""


class GroupSeed(_Part):
    """A resource group."""

    id: Annotated[str, Meta(pattern="^/subscriptions/[^/]+/resource[Gg]roups/[^/]+$")]
    location: str = "westeurope"


class ApplicationSeed(_Part):
    """A service principal with a client secret."""

    client_id: str
    secret: str
    tenant: str = ""
    name: str = ""


class CredentialSeed(_Part):
    """A federated credential that was written long ago."""

    name: str
    issuer: str
    subject: str


class IdentitySeed(_Part):
    """A user-assigned identity."""

    id: ArmId
    client_id: str = ""
    location: str = "westeurope"
    credentials: list[CredentialSeed] = []


class VaultSeed(_Part):
    """A vault and its secrets."""

    id: ArmId
    location: str = "westeurope"
    secrets: dict[str, str] = {}


class AssignmentSeed(_Part):
    """A role; *principal* is a client id, an object id, or the id of an identity above."""

    principal: str
    role: str
    scope: str


class Seed(_Part):
    """A whole file."""

    rules: Rules = msgspec.field(default_factory=Rules)
    tenants: list[TenantSeed] = []
    subscriptions: list[SubscriptionSeed] = []
    resource_groups: list[GroupSeed] = []
    applications: list[ApplicationSeed] = []
    identities: list[IdentitySeed] = []
    vaults: list[VaultSeed] = []
    role_assignments: list[AssignmentSeed] = []


class BadSeed(ValueError):
    """A seed file that makes no sense; the text says where and what to do."""


def read_seed(path: Path) -> Seed:
    """The file's contents. BadSeed when it cannot be read or makes no sense."""
    try:
        loaded = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadSeed(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise BadSeed(f"{path}:{line}: is not YAML: {error.problem}. Correct the line.") from error
    try:
        return msgspec.convert(loaded or {}, Seed)
    except msgspec.ValidationError as error:
        raise BadSeed(f"{path}: {error}. Known parts: {', '.join(_parts())}.") from error


def _parts() -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(Seed)]


def plant(seed: Seed, clock: Clock, journal: Journal) -> World:
    """A world in which all of *seed* exists. BadSeed when parts do not fit together."""
    world = World(clock, journal, seed.rules)
    for tenant in seed.tenants:
        world.add_tenant(tenant.id, tenant.name)
    if not world.tenants:
        world.add_tenant()
    for subscription in seed.subscriptions:
        world.add_subscription(subscription.id, subscription.tenant)
    if not world.subscriptions:
        world.add_subscription()
    for group in seed.resource_groups:
        world.add_group(group.id.split("/")[4], group.location, group.id.split("/")[2])
    for application in seed.applications:
        world.add_application(
            application.name, secret=application.secret, client_id=application.client_id, tenant_id=application.tenant
        )
    for given in seed.identities:
        _plant_identity(world, given)
    for store in seed.vaults:
        parts = _placed(world, store.id)
        vault = world.add_vault(parts[8], parts[4], location=store.location, subscription_id=parts[2])
        for name, value in store.secrets.items():
            world.set_secret(vault, name, value)
    for assignment in seed.role_assignments:
        try:
            world.assign_role(_principal(world, assignment.principal), assignment.role, assignment.scope)
        except ValueError as error:
            raise BadSeed(f"roleAssignments: {error}") from error
    return world


def _plant_identity(world: World, given: IdentitySeed) -> None:
    parts = _placed(world, given.id)
    identity = world.add_identity(
        parts[8], parts[4], location=given.location, subscription_id=parts[2], client_id=given.client_id
    )
    for credential in given.credentials:
        world.add_credential(identity, credential.name, credential.issuer, credential.subject)


def _placed(world: World, resource_id: str) -> list[str]:
    parts = resource_id.split("/")
    if parts[2].lower() not in world.subscriptions:
        raise BadSeed(f"{resource_id}: its subscription is not in subscriptions; add it there")
    return parts


def _principal(world: World, given: str) -> str:
    identity = world.identity(given.replace("/resourceGroups/", "/resourcegroups/"))
    if identity is not None:
        return identity.principal_id
    application = world.applications.get(given.lower())
    if application is not None:
        return application.object_id
    if given.startswith("/"):
        raise BadSeed(f"roleAssignments: {given} is not in identities; add it there")
    return given
