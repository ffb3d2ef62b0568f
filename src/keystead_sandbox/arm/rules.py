"""Which writes make sense, who may make them, and how many credentials there may be.

:func:`admit` is Resource Manager's own order: the role, then locks, then registration; a provider's checks come after.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from keystead_sandbox import expressions
from keystead_sandbox.arm import errors
from keystead_sandbox.entra.tokens import Caller
from keystead_sandbox.governance import covers
from keystead_sandbox.resources import Identity, ResourceGroup, Trust
from keystead_sandbox.world import World

APPLICATION = "797f4846-ba00-4fd7-ba43-dac1f8f63013"  # Resource Manager's own, which a token may be for too
IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
CREDENTIALS = f"{IDENTITIES}/federatedIdentityCredentials"
VAULTS = "Microsoft.KeyVault/vaults"
GROUPS = "Microsoft.Resources/subscriptions/resourceGroups"
IDENTITY_VERSIONS = frozenset(
    {
        "2018-11-30",
        "2021-09-30-preview",
        "2022-01-31-preview",
        "2023-01-31",
        "2023-07-31-preview",
        "2024-11-30",
        "2025-01-31-preview",
        "2025-05-31-preview",
        "2026-04-30",
        "2026-05-31",
    }
)
FLEXIBLE_VERSIONS = frozenset({"2025-01-31-preview", "2025-05-31-preview"})
"""Those with ``claimsMatchingExpression``; the stable versions of 2026 have it no more."""
CREDENTIAL_VERSIONS = IDENTITY_VERSIONS - {"2018-11-30", "2021-09-30-preview"}
"""Of the REST specification's folders; the first with credentials is 2022-01-31-preview."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,119}")
_IDENTITY_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}")
_LONGEST = 600  # characters of issuer, subject, audience
_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(-[a-z]+)?", re.IGNORECASE)
_NO_CREDENTIALS = frozenset({"malaysiasouth", "newzealandnorth"})  # Entra docs, as of 2026; the list shrinks
_SUBSCRIPTION = 2  # where its id stands in a path
_MOST_TAGS = 50
_LONGEST_TAG = 512
ISOLATION_VERSIONS = frozenset(version for version in IDENTITY_VERSIONS if version >= "2024-11-30")
RESTRICTION_VERSIONS = frozenset({"2026-04-30", "2026-05-31"})
"""Those that know ``isolationScope``, and ``assignmentRestrictions``."""


def check_version(version: str, kind: str) -> None:
    """Unknown versions are refused, as by Azure."""
    known = CREDENTIAL_VERSIONS if kind == CREDENTIALS else IDENTITY_VERSIONS
    if version not in known:
        raise errors.bad_version(version, kind.removeprefix("Microsoft.ManagedIdentity/"), known)


def check_form(version: str) -> None:
    """What is not about identities takes any version that looks like one."""
    if not _FORM.fullmatch(version):
        raise errors.odd_version(version)


def group(world: World, subscription: str, name: str) -> ResourceGroup:
    """The resource group, or 404; one whose deletion is through is forgotten on the way."""
    key = f"/subscriptions/{subscription}/resourcegroups/{name}".lower()
    found = world.groups.get(key)
    if found is not None and found.gone_at is not None and found.gone_at <= world.clock.now():
        del world.groups[key]
        found = None
    if found is None:
        raise errors.no_group(name)
    return found


def open_group(world: World, subscription: str, name: str) -> ResourceGroup:
    """The resource group, to put something into: 409 when it is being deleted."""
    found = group(world, subscription, name)
    if found.gone_at is not None:
        raise errors.group_going(found.name)
    return found


def check_region(identity: Identity) -> None:
    """405 where federated credentials are not offered."""
    if identity.location in _NO_CREDENTIALS:
        raise errors.region_unsupported()


def authorise(
    world: World, caller: Caller, action: str, scope: str, attributes: Mapping[str, str] | None = None
) -> None:
    """403 unless a role at this scope or above allows the action."""
    if not world.may(caller.object_id, action, scope, attributes=attributes):
        raise errors.forbidden(caller.app_id, caller.object_id, action, scope)


def admit(world: World, caller: Caller, action: str, scope: str, attributes: Mapping[str, str] | None = None) -> None:
    """What Resource Manager asks before any provider: the role, the locks, and whether the provider is registered."""
    authorise(world, caller, action, scope, attributes)
    verb = action.rpartition("/")[2].lower()
    if verb == "read":
        return
    check_locks(world, "delete" if verb == "delete" else "write", scope)
    check_registered(world, scope, action.partition("/")[0])


def check_locks(world: World, operation: str, scope: str, *, below: bool = False) -> None:
    """409 where a lock stands at the scope or above it; for what takes everything inside along, *below* it too."""
    levels = ("CanNotDelete", "ReadOnly") if operation == "delete" else ("ReadOnly",)
    found = [
        lock.scope
        for lock in world.locks.values()
        if lock.level in levels and (covers(lock.scope, scope) or (below and covers(scope, lock.scope)))
    ]
    if found:
        raise errors.locked(scope, operation, found)


def check_registered(world: World, scope: str, namespace: str) -> None:
    """409 where the subscription has not registered the provider."""
    parts = scope.split("/")
    if len(parts) > _SUBSCRIPTION and (parts[_SUBSCRIPTION].lower(), namespace.lower()) in world.unregistered:
        raise errors.not_registered(namespace)


def check_policies(world: World, kind: str, scope: str, body: Mapping[str, Any]) -> None:
    """403 where a policy denies a resource of this body at this scope, by the fields that policies name."""
    properties = body.get("properties")
    fields: dict[str, Any] = {"type": kind, "name": scope.rpartition("/")[2], "location": body.get("location")}
    if isinstance(fields["location"], str):
        fields["location"] = fields["location"].replace(" ", "")
    if isinstance(properties, dict):
        fields.update({f"{kind}/{name}": value for name, value in properties.items()})
    fields = {name.lower(): value for name, value in fields.items()}
    bare = kind in (CREDENTIALS, GROUPS)  # without a location, or without what Azure Policy indexes
    denying = [
        policy
        for policy in world.policies.values()
        if not (bare and policy.definition.indexed) and policy.denies(scope, fields)
    ]
    if not denying:
        return
    named = [
        {
            "policyAssignment": {"name": policy.display_name, "id": policy.id},
            "policyDefinition": {"name": policy.definition.name, "id": policy.definition.id},
        }
        for policy in denying
    ]
    info = [
        {
            "type": "PolicyViolation",
            "info": {
                "policyDefinitionDisplayName": policy.definition.name,
                "policyDefinitionId": policy.definition.id,
                "policyDefinitionEffect": "deny",
                "policyAssignmentDisplayName": policy.display_name,
                "policyAssignmentId": policy.id,
                "policyAssignmentScope": policy.scope,
            },
        }
        for policy in denying
    ]
    raise errors.disallowed(scope.rpartition("/")[2], msgspec.json.encode(named).decode(), info)


def tags_of(body: Mapping[str, Any]) -> dict[str, str] | None:
    """The tags of a body, None when it has none to say. Limits are those of "Use tags": 50, of 512 and 256 characters."""
    tags = body.get("tags")
    if tags is None:
        return None
    if not isinstance(tags, dict) or any(not isinstance(value, str) for value in tags.values()):
        raise errors.bad_tags("Tags are names with text values.")
    if len(tags) > _MOST_TAGS or any(len(n) > _LONGEST_TAG or len(v) > _LONGEST_TAG // 2 for n, v in tags.items()):
        raise errors.bad_tags(
            f"At most {_MOST_TAGS} tags, names of {_LONGEST_TAG} and values of half as many characters."
        )
    return dict(tags)


def check_identity_name(name: str) -> None:
    """Letters, digits, hyphens, underscores; 3 to 128."""
    if not _IDENTITY_NAME.fullmatch(name):
        raise errors.bad_request(f"The resource name '{name}' is not valid.")


def identity_properties(body: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The settings of an identity that *version* knows. 400 for values that they do not have."""
    properties = body.get("properties")
    given = properties if isinstance(properties, dict) else {}
    found: dict[str, Any] = {}
    if version in ISOLATION_VERSIONS and given.get("isolationScope") is not None:
        if given["isolationScope"] not in ("None", "Regional"):
            raise errors.bad_request("The value of 'isolationScope' must be 'None' or 'Regional'.")
        found["isolationScope"] = given["isolationScope"]
    if version in RESTRICTION_VERSIONS and given.get("assignmentRestrictions") is not None:
        restrictions = given["assignmentRestrictions"]
        providers = restrictions.get("providers") if isinstance(restrictions, dict) else None
        if not isinstance(providers, list) or not all(isinstance(each, str) for each in providers):
            raise errors.bad_request("The value of 'assignmentRestrictions' must have a list of 'providers'.")
        found["assignmentRestrictions"] = {"providers": providers}
    return found


def trust_of(name: str, body: Any, version: str) -> Trust:
    """What a credential of this body trusts, if it makes sense."""
    if not _NAME.fullmatch(name):
        raise errors.bad_request(f"Federated Identity Credential name '{name}' is invalid.")
    properties = body.get("properties") if isinstance(body, dict) else None
    if not isinstance(properties, dict) or not properties:
        raise errors.bad_request("Federated Identity Credential from HTTP body has empty properties")
    expression = _expression(properties) if version in FLEXIBLE_VERSIONS else ""
    issuer, subject, audiences = (properties.get(each) for each in ("issuer", "subject", "audiences"))
    if expression and subject:
        raise errors.bad_request("Federated Identity Credential must specify 'subject' or 'claimsMatchingExpression'.")
    if not issuer or not (subject or expression) or not audiences:
        raise errors.bad_request(
            "The request format was unexpected. Federated Identity Credential must specify 'issuer', 'subject' and "
            "'audience'."
        )
    if not isinstance(audiences, list) or len(audiences) != 1:
        raise errors.bad_request("Federated identity credentials must have exactly one audience.")
    # White space at the ends is taken as it is, as in Azure: it is found out at the exchange.
    for value in (issuer, subject or "", audiences[0]):
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise errors.bad_request(f"Issuer, subject and audience must be texts of at most {_LONGEST} characters.")
    return Trust(str(issuer), str(subject or ""), str(audiences[0]), expression)


def _expression(properties: dict[str, Any]) -> str:
    given = properties.get("claimsMatchingExpression")
    if given is None:
        return ""
    value = given.get("value") if isinstance(given, dict) else None
    if not isinstance(value, str) or given.get("languageVersion") != 1:
        raise errors.bad_request("'claimsMatchingExpression' must have a 'value' and the 'languageVersion' 1.")
    try:
        expressions.parse(value)
    except ValueError as error:
        raise errors.bad_request(f"The value of 'claimsMatchingExpression' is not valid: {error}.") from None
    return value


def check_place(world: World, identity: Identity, name: str, trust: Trust) -> None:
    """Twenty at most, and issuer and subject once on an identity."""
    wanted = (trust.issuer, trust.subject, trust.expression)
    for key, held in identity.credentials.items():
        if key != name.lower() and (held.issuer, held.subject, held.expression) == wanted:
            raise errors.taken()
    if name.lower() not in identity.credentials and len(identity.credentials) >= world.rules.credential_limit:
        raise errors.too_many()
