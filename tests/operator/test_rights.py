"""The operator's shipped role is what it needs: a whole life asks for nothing that is refused, and leaves little unused.

What is asked is read from the embedded server's journal, request by request, as RBAC sees it.
"""

import re
from typing import Any

import pytest

from keystead.kube.permissions import OPERATOR, roles
from world import OPERATOR_NAME, World

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}
_PATH = re.compile(
    r"/api(?:s/(?P<group>[^/]+))?/v[^/]+(?:/namespaces/[^/]+(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?$"
)
_RARE = {("", "serviceaccounts", "get"), ("authorization.k8s.io", "subjectaccessreviews", "create")}
"""Asked only where an account changes hands between a plan and its write, and where a store fails."""


def _used(world: World) -> set[tuple[str, str, str]]:
    """Group, resource and verb of all that the operator asked."""
    found = set()
    for entry in world.entries("kube"):
        match = _PATH.match(entry.path)
        if entry.caller != OPERATOR_NAME or match is None:
            continue
        verb = _VERBS[entry.method]
        if verb == "get" and not match["name"]:
            verb = "watch" if "watch=" in entry.query else "list"
        if verb == "watch":  # from a server that streams what is there; from an older one it is listed first
            found.add((match["group"] or "", match["plural"], "list"))
        resource = match["plural"] + (f"/{match['sub']}" if match["sub"] else "")
        found.add((match["group"] or "", resource, verb))
        if entry.method == "PATCH" and entry.status == 201:
            found.add((match["group"] or "", resource, "create"))
    return found


def _shipped() -> set[tuple[str, str, str]]:
    return {
        (rule.group, resource, verb)
        for role in roles(("keystead",))
        if role.name == OPERATOR
        for rule in role.rules
        for resource in rule.resources
        for verb in rule.verbs
    }


async def _live(world: World) -> None:
    """Everything that an operator does: claims that come and go by themselves, a secret that waits, an end, a restart."""
    world.grant("team", world.identity("one"), world.identity("two"))
    for name in ("stays", "goes", "leaves"):
        world.namespace(name, labels={"team": "team"})
    _wait_for_a_secret(world, "stays")
    world.start()
    await world.until(lambda: world.ready("stays", "goes", "leaves"))
    world.delete("namespaces", "goes")
    world.namespace("leaves", labels={"team": "none"})
    await world.until(lambda: not world.trusted("goes") and not world.trusted("leaves"))
    await world.stop()
    world.delete("secretstores", "azure-store", "stays")
    world.start()
    await world.pass_time(120)
    await world.until(lambda: world.ready("stays"))


def _wait_for_a_secret(world: World, namespace: str) -> None:
    """An ExternalSecret whose store is not there yet, as External Secrets Operator leaves it."""
    world.put(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": "waits", "namespace": namespace},
            "spec": {"secretStoreRef": {"name": "azure-store"}, "data": []},
        }
    )
    found = world.object("externalsecrets", "waits", namespace)
    assert found is not None
    found["status"] = {"conditions": [{"type": "Ready", "status": "False", "reason": "SecretSyncedError"}]}


async def test_nothing_that_the_operator_needs_is_missing_and_nothing_is_spare() -> None:
    async with World() as world:
        await _live(world)
        used: set[Any] = _used(world)
        nudged = (world.object("externalsecrets", "waits", "stays") or {})["metadata"].get("annotations") or {}

    assert "keystead.dev/nudge" in nudged
    assert used - _shipped() == set()
    assert _shipped() - used == _RARE
