"""Pure: which grants have to be looked at when an object changed.

Both what the object was and what it is count: a namespace that loses its label concerns the grant it leaves.
"""

from collections.abc import Callable
from typing import Any

from keystead.model.ids import IdentityId, resource_key
from keystead.model.records import (
    Approval,
    Claim,
    Federation,
    Grant,
    GuardBinding,
    GuardPolicy,
    Namespace,
    ServiceAccount,
    Store,
)
from keystead.observe.ports import Caches
from keystead.plan import policy
from keystead.plan.provisioning import may_make


def grants_of(changed: Any, caches: Caches) -> set[str]:
    """Names of grants that the object bears on, as it was or as it is."""
    match changed:
        case Grant():
            return {changed.name, *(other.name for other in caches.grants() if _may_share(changed, other))}
        case Approval():
            return {changed.grant_name}
        case Claim():  # of several for one account, those that wait are of other grants too
            return {changed.grant_name} | _served(caches, changed.namespace)
        case Federation():
            waiting = _named_by(caches, changed.identity) if changed.deleting else set()
            return {changed.grant_name} | _served(caches, changed.namespace) | waiting
        case Namespace():
            allowed = {each.name for each in caches.grants() if policy.judge(each.namespaces, changed).allowed}
            return allowed | _served(caches, changed.name)
        case ServiceAccount() | Store():
            return _served(caches, changed.namespace)
        case GuardPolicy() | GuardBinding():
            return {each.name for each in caches.grants()}
    return set()


def _may_share(one: Grant, other: Grant) -> bool:
    """Some identity may stand in both: named, or made by the growing pool of one and named by the other."""
    named = [{resource_key(each.resource_id) for each in grant.identities} for grant in (one, other)]
    if not named[0].isdisjoint(named[1]):
        return True
    return any(may_make(one, each) for each in named[1]) or any(may_make(other, each) for each in named[0])


def _served(caches: Caches, namespace: str) -> set[str]:
    """Grants that have a claim or a ledger entry in this namespace."""
    claims = {each.grant_name for each in caches.claims_in(namespace)}
    return claims | {each.grant_name for each in caches.federations_in(namespace)}


def _named_by(caches: Caches, identity: IdentityId) -> set[str]:
    """Grants whose pool the identity is in by name: what leaves it makes room for them."""
    return {
        each.name
        for each in caches.grants()
        if any(resource_key(member.resource_id) == identity.key for member in each.identities)
    }


def watcher(caches: Callable[[], Caches], requeue: Callable[[str], None]) -> Callable[[Any, Any], None]:
    """A handler for all informers: old and new state both count."""

    def changed(old: Any, new: Any) -> None:
        for state in (old, new):
            if state is not None:
                for name in grants_of(state, caches()):
                    requeue(name)

    return changed
