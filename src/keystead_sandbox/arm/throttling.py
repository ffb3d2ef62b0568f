"""How many requests there may be: the identities' provider's buckets, and Resource Manager's own.

A credential's operations draw from buckets of their own per identity, subscription and tenant: Entra's documentation
gives create-or-update, get, list and delete a rate each. Resource Manager's are those of a principal in a subscription
(or a tenant, where a request names no subscription), and fifteen times as much for all of a subscription together.
"""

import math
from collections.abc import Hashable

from keystead_sandbox.arm import errors
from keystead_sandbox.buckets import Limit
from keystead_sandbox.entra.tokens import Caller
from keystead_sandbox.resources import Identity
from keystead_sandbox.world import World

# Resource Manager's token buckets, of one principal in one subscription (Azure docs: request limits and throttling).
_REQUESTS = {"GET": ("reads", Limit(250, 25)), "HEAD": ("reads", Limit(250, 25)), "DELETE": ("deletes", Limit(200, 10))}
_WRITES = ("writes", Limit(200, 10))
_GLOBAL = 15  # times as much for all principals of a subscription together


def take_turn(world: World, identity: Identity, verb: str) -> None:
    """One token of each bucket that the verb (write, delete, get or list) draws from; 429 otherwise."""
    rules = world.rules
    capacity, refill, subscription, tenant = {
        "write": (rules.write_capacity, rules.write_refill, rules.subscription_writes, rules.tenant_writes),
        "delete": (rules.delete_capacity, rules.delete_refill, rules.subscription_deletes, rules.tenant_deletes),
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
    """Resource Manager's own buckets: the headers that tell what remains, or 429; no *subscription* is the tenant."""
    kind, limit = _REQUESTS.get(method, _WRITES)
    holder, name = ("subscription", subscription) if subscription else ("tenant", caller.tenant_id)
    keys: list[tuple[Hashable, Limit]] = [(("arm", kind, name, caller.object_id), limit)]
    if subscription:
        keys.append((("arm", kind, name), Limit(limit.capacity * _GLOBAL, limit.refill * _GLOBAL)))
    refused = world.buckets.take(keys)
    if refused is not None:
        seconds = _retry_after(world, refused.wait)
        raise errors.request_throttled(holder, kind.removesuffix("s"), name, caller.object_id, seconds)
    prefixes = (f"x-ms-ratelimit-remaining-{holder}-", f"x-ms-ratelimit-remaining-{holder}-global-")
    return {
        prefix + kind: str(int(world.buckets.level(key, size)))
        for prefix, (key, size) in zip(prefixes, keys, strict=False)
    }


def _retry_after(world: World, wait: float) -> int:
    """In the client's own seconds, rounded up; never an invitation to come back at once."""
    return max(1, math.ceil(world.clock.to_wall_seconds(wait) - 1e-6))
