"""Seeds of what governs resources: custom roles, locks, policies, access policies, providers that are not registered.

Each part says what is wrong with it, by its place and with a cure, before anything is made of it.
"""

import uuid
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keystead_sandbox import conditions
from keystead_sandbox.governance import BUILT_IN, Lock, PolicyAssignment, PolicyDefinition
from keystead_sandbox.roles import Role, role_named
from keystead_sandbox.world import World

_PROVIDER = "providers/Microsoft.Authorization"
_CREDENTIALS = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials"
_ISSUERS = "Allowed issuers of federated credentials"
_NAMESPACE = uuid.UUID("0f3ad0f5-6a31-4d54-9a8e-5f1a2f5c1d77")  # any fixed one: a role's id follows from its name
Scope = Annotated[str, Meta(pattern=r"(?i)^/subscriptions/[0-9a-z-]+(/.+)?\Z")]
Guid = Annotated[str, Meta(pattern=r"(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]


class _Part(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Unknown fields are refused: a typing mistake must not be silence."""


class CustomRoleSeed(_Part):
    """A custom role, which role assignments may name."""

    name: Annotated[str, Meta(min_length=1, max_length=512)]
    assignable_scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)]
    id: Guid | Literal[""] = ""
    description: str = ""
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()
    tenant: str = ""


class LockSeed(_Part):
    """A management lock."""

    scope: Scope
    level: Literal["CanNotDelete", "ReadOnly"]
    name: str = "lock"
    notes: str = ""


class PolicySeed(_Part):
    """A policy that denies: other issuers than these, these types, other locations than these."""

    scope: Scope
    name: Annotated[str, Meta(pattern=r"^[\w.-]{1,64}\Z")]
    allowed_issuers: tuple[str, ...] | None = None
    denied_types: tuple[str, ...] | None = None
    allowed_locations: tuple[str, ...] | None = None


class UnregisteredSeed(_Part):
    """A provider that a subscription has not registered."""

    subscription: str
    namespace: Literal["Microsoft.ManagedIdentity", "Microsoft.KeyVault"]


def role_problems(roles: Sequence[CustomRoleSeed], tenants: set[str]) -> Iterator[tuple[str, str]]:
    """Names that are taken, and tenants that are not there."""
    seen: set[str] = set()
    for number, role in enumerate(roles):
        place = f"$.customRoles[{number}]"
        if role_named(role.name) is not None or role.name.lower() in seen:
            yield f"{place}.name", f"a role {role.name!r} is there already. Give it another name."
        if role.tenant and role.tenant.lower() not in tenants:
            yield f"{place}.tenant", f"{role.tenant} is not in tenants. Add it there, or leave the field out."
        seen.add(role.name.lower())


def policy_problems(policies: Sequence[PolicySeed]) -> Iterator[tuple[str, str]]:
    """Policies that say nothing, or more than one thing."""
    for number, policy in enumerate(policies):
        if (
            sum(each is not None for each in (policy.allowed_issuers, policy.denied_types, policy.allowed_locations))
            != 1
        ):
            yield (
                f"$.policies[{number}]",
                "says one of allowedIssuers, deniedTypes, allowedLocations. Split it, or add it.",
            )


def condition_problem(condition: str) -> str:
    """What is wrong with a role assignment's condition; nothing when it can be read."""
    try:
        conditions.parse(condition)
    except ValueError as error:
        return f"is not a condition that can be read: {error}. Correct it, or leave it out."
    return ""


def plant_role(world: World, given: CustomRoleSeed) -> None:
    role = Role(
        (given.id or str(uuid.uuid5(_NAMESPACE, given.name))).lower(),
        given.name,
        given.description,
        given.actions,
        given.not_actions,
        given.data_actions,
        given.not_data_actions,
        tenant_id=given.tenant.lower() or next(iter(world.tenants)),
        assignable_scopes=given.assignable_scopes,
    )
    world.custom_roles[role.id] = role


def plant_lock(world: World, given: LockSeed) -> None:
    lock = Lock(f"{given.scope}/{_PROVIDER}/locks/{given.name}", given.scope, given.level, given.notes)
    world.locks[lock.id.lower()] = lock


def plant_policy(world: World, given: PolicySeed) -> None:
    """The built-in definition for it, or one of the subscription for issuers, which Azure has no plain one for."""
    if given.allowed_issuers is not None:
        definition = _issuers(world, given.scope)
        parameters = {"allowedIssuers": list(given.allowed_issuers)}
    elif given.denied_types is not None:
        definition = _named("Not allowed resource types")
        parameters = {"listOfResourceTypesNotAllowed": list(given.denied_types)}
    else:
        definition = _named("Allowed locations")
        parameters = {"listOfAllowedLocations": list(given.allowed_locations or ())}
    policy = PolicyAssignment(
        id=f"{given.scope}/{_PROVIDER}/policyAssignments/{given.name}",
        scope=given.scope,
        definition=definition,
        display_name=given.name,
        parameters=parameters,
        properties={
            "displayName": given.name,
            "parameters": {name: {"value": value} for name, value in parameters.items()},
        },
    )
    world.policies[policy.id.lower()] = policy


def _named(name: str) -> PolicyDefinition:
    return next(each for each in BUILT_IN.values() if each.name == name)


def _issuers(world: World, scope: str) -> PolicyDefinition:
    subscription = "/".join(scope.split("/")[:3])
    definition = PolicyDefinition(
        id=f"{subscription}/{_PROVIDER}/policyDefinitions/allowed-issuers",
        name=_ISSUERS,
        rule={
            "if": {
                "allOf": [
                    {"field": "type", "equals": _CREDENTIALS},
                    {"field": f"{_CREDENTIALS}/issuer", "notIn": "[parameters('allowedIssuers')]"},
                ]
            },
            "then": {"effect": "deny"},
        },
        defaults={"allowedIssuers": []},
        properties={"displayName": _ISSUERS, "mode": "All", "parameters": {"allowedIssuers": {"type": "Array"}}},
    )
    return world.policy_definitions.setdefault(definition.id.lower(), definition)
