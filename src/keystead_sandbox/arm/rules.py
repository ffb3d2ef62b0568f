"""Which credential writes make sense, who may make them, and how many there may be."""

import math
import re
from collections.abc import Hashable, Mapping
from typing import Any

from keystead_sandbox import expressions
from keystead_sandbox.arm import errors
from keystead_sandbox.buckets import Limit
from keystead_sandbox.entra.tokens import Caller
from keystead_sandbox.resources import Identity, ResourceGroup, Trust
from keystead_sandbox.world import World

APPLICATION = "797f4846-ba00-4fd7-ba43-dac1f8f63013"  # Resource Manager's own, which a token may be for too
IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
CREDENTIALS = f"{IDENTITIES}/federatedIdentityCredentials"
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

_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_-]{2,119}$")
_IDENTITY_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}$")
_LONGEST = 600  # characters of issuer, subject, audience
_FORM = re.compile(r"^\d{4}-\d{2}-\d{2}(-preview)?$")
_NO_CREDENTIALS = frozenset({"malaysiasouth", "newzealandnorth"})  # Entra docs, as of 2026; the list shrinks
_LARGEST_PAGE = 1000
_NUMBER = re.compile(r"[0-9]{1,9}")
# Resource Manager's token buckets, of one principal in one subscription (Azure docs: request limits and throttling).
_REQUESTS = {"GET": ("reads", Limit(250, 25)), "DELETE": ("deletes", Limit(200, 10))}
_WRITES = ("writes", Limit(200, 10))
_GLOBAL = 15  # times as much for all principals of a subscription together


def check_version(version: str, kind: str) -> None:
    """Unknown versions are refused, as by Azure."""
    known = CREDENTIAL_VERSIONS if kind == CREDENTIALS else IDENTITY_VERSIONS
    if version not in known:
        raise errors.bad_version(version, kind.removeprefix("Microsoft.ManagedIdentity/"), known)


def check_form(version: str) -> None:
    """What is not about identities takes any version that looks like one."""
    if not version:
        raise errors.bad_version(version, "", ())
    if not _FORM.fullmatch(version):
        raise errors.Refusal(400, "InvalidApiVersionParameter", f"The api-version '{version}' is invalid.")


def group(world: World, subscription: str, name: str) -> ResourceGroup:
    """The resource group, or 404."""
    found = world.groups.get(f"/subscriptions/{subscription}/resourcegroups/{name}".lower())
    if found is None:
        raise errors.no_group(name)
    return found


def check_region(identity: Identity) -> None:
    """405 where federated credentials are not offered."""
    if identity.location in _NO_CREDENTIALS:
        raise errors.region_unsupported()


def page(query: Mapping[str, str], size: int) -> tuple[int, int]:
    """Page size and start of a list request; the token's name is spelled in two ways by clients."""
    token = query.get("$skiptoken") or query.get("$skipToken") or "0"
    top = query.get("$top") or str(size)
    # Few digits, and ASCII's: int() takes those of every script, and refuses thousands of them.
    if not (_NUMBER.fullmatch(token) and _NUMBER.fullmatch(top) and 1 <= int(top) <= _LARGEST_PAGE):
        raise errors.bad_request("The value of $top or $skiptoken is not valid.")
    return int(top), int(token)


def authorise(world: World, caller: Caller, action: str, scope: str) -> None:
    """403 unless a role at this scope or above allows the action."""
    if not world.may(caller.object_id, action, scope):
        raise errors.forbidden(caller.app_id, caller.object_id, action, scope)


def check_identity_name(name: str) -> None:
    """Letters, digits, hyphens, underscores; 3 to 128."""
    if not _IDENTITY_NAME.fullmatch(name):
        raise errors.bad_request(f"The resource name '{name}' is not valid.")


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


def take_turn(world: World, identity: Identity, verb: str) -> None:
    """One token of each bucket that the verb (write, get or list) draws from; 429 otherwise."""
    rules = world.rules
    capacity, refill, subscription, tenant = {
        "write": (rules.write_capacity, rules.write_refill, rules.subscription_writes, rules.tenant_writes),
        "get": (rules.get_capacity, rules.get_refill, rules.subscription_gets, rules.tenant_gets),
        "list": (rules.list_capacity, rules.list_refill, rules.subscription_lists, rules.tenant_lists),
    }[verb]
    wanted: list[tuple[Hashable, Limit]] = [
        ((verb, identity.resource_id.lower()), Limit(capacity, refill)),
        ((verb, identity.subscription_id), Limit(subscription * rules.burst, subscription)),
        ((verb, identity.tenant_id), Limit(tenant * rules.burst, tenant)),
    ]
    refused = world.buckets.take(wanted)
    if refused is not None:
        raise errors.throttled(identity.resource_id, _retry_after(world, refused.wait))


def take_request(world: World, subscription: str, caller: Caller, method: str) -> dict[str, str]:
    """Resource Manager's own buckets: the headers that tell what remains, or 429."""
    kind, limit = _REQUESTS.get(method, _WRITES)
    shared = Limit(limit.capacity * _GLOBAL, limit.refill * _GLOBAL)
    own_key, shared_key = ("arm", kind, subscription, caller.object_id), ("arm", kind, subscription)
    refused = world.buckets.take([(own_key, limit), (shared_key, shared)])
    if refused is not None:
        seconds = _retry_after(world, refused.wait)
        raise errors.request_throttled(kind.removesuffix("s"), subscription, caller.object_id, seconds)
    name = f"x-ms-ratelimit-remaining-subscription-{{}}{kind}"
    return {
        name.format(""): str(int(world.buckets.level(own_key, limit))),
        name.format("global-"): str(int(world.buckets.level(shared_key, shared))),
    }


def _retry_after(world: World, wait: float) -> int:
    """In the client's own seconds, rounded up; never an invitation to come back at once."""
    return max(1, math.ceil(world.clock.to_wall_seconds(wait) - 1e-6))
