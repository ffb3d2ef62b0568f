"""The scenario as a guest in somebody else's cluster: may it come in, what will it make, and all of that out again.

- It comes in only where nothing of Keystead is, no name it uses is taken, and its host may do everything.
- All that it makes has a name that was free, so all of these names are its own to delete.
- External Secrets' definitions are used where they are, and are not touched.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from keystead_sandbox.access import KubernetesRefused
from keystead_sandbox.kube_api import KubeApi, path_of
from keystead_sandbox.scenario.cast import HOME, Cast

_OLDEST = (1, 30)
"""Kubernetes' first version with ValidatingAdmissionPolicy and selectable fields of custom resources by default."""
_PATIENCE = 180.0  # wall seconds for namespaces to end
_LOOK = 0.5
_GROUP, _ESO = "keystead.dev", "external-secrets.io"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_NAMESPACES = "/api/v1/namespaces"


class NotWelcome(RuntimeError):
    """The cluster is not fit for the scenario; the text says why, and nothing was changed."""


async def check(admin: KubeApi, cast: Cast, wanted: Sequence[Mapping[str, Any]]) -> None:
    """NotWelcome when the cluster cannot be used; *wanted* is what would be made beside the cast's namespaces."""
    version = await admin.get("/version")
    found = tuple(int("".join(filter(str.isdigit, version[part])) or 0) for part in ("major", "minor"))
    if found < _OLDEST:
        raise NotWelcome(f"it is Kubernetes {version['gitVersion']}; {_OLDEST[0]}.{_OLDEST[1]} or newer is needed")
    if not await _may_do_everything(admin):
        raise NotWelcome("your account there may not do everything: the scenario makes roles and definitions")
    definitions = (await admin.get(_CRDS))["items"]
    if any(each["spec"]["group"] == _GROUP for each in definitions):
        raise NotWelcome(
            "Keystead is installed there, and a second operator would act on its grants"
            f" (or a sandbox was cut off: then delete namespace {HOME} and the definitions of {_GROUP})"
        )
    taken = [name for name in (HOME, *cast.fates) if await admin.get(f"{_NAMESPACES}/{name}") is not None]
    if taken:
        raise NotWelcome(f"namespaces that the scenario would make are there already: {', '.join(taken)}")
    for item in wanted:
        name = item["metadata"]["name"]
        if "namespace" not in item["metadata"] and await admin.get(f"{path_of(item)}/{name}") is not None:
            raise NotWelcome(f"{item['kind']} {name}, which the scenario would make, is there already")


async def without_what_is_there(admin: KubeApi, definitions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of *definitions* (CRDs) those whose kind the cluster does not know yet. NotWelcome for an ESO without ``v1``."""
    there = {each["metadata"]["name"]: each for each in (await admin.get(_CRDS))["items"]}
    for name, each in there.items():
        served = {version["name"] for version in each["spec"]["versions"] if version["served"]}
        if name == f"externalsecrets.{_ESO}" and "v1" not in served:
            raise NotWelcome(f"its External Secrets serves no {_ESO}/v1: update it to 0.17 or newer")
    return [each for each in definitions if each["metadata"]["name"] not in there]


def announcement(cast: Cast, wanted: Sequence[Mapping[str, Any]]) -> str:
    """What will be made, in one sentence."""
    kinds: dict[str, list[str]] = {}
    for item in wanted:
        kinds.setdefault(item["kind"], []).append(item["metadata"]["name"])
    names = [*cast.fates]
    made = [f"{len(names)} namespaces from {names[0]} to {names[-1]}"]
    made += [f"{kind} {', '.join(sorted(set(found)))}" for kind, found in kinds.items()]
    return f"makes, and takes away at its end: {'; '.join(made)}"


async def issuer_documents(admin: KubeApi) -> dict[str, Any]:
    """What the cluster publishes about its tokens, by URL: Entra's emulation may not reach the issuer itself."""
    configuration = await admin.get("/.well-known/openid-configuration")
    keys = await admin.get("/openid/v1/jwks")
    if configuration is None or keys is None:
        raise NotWelcome("it publishes no token issuer, so its tokens can be trusted by nobody")
    discovery = f"{configuration['issuer'].removesuffix('/')}/.well-known/openid-configuration"
    return {discovery: configuration, configuration["jwks_uri"]: keys}


async def leave(admin: KubeApi, cast: Cast, made: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> None:
    """Take everything out again; says what would not go."""
    namespaces = [HOME, *cast.fates]
    steps: list[Awaitable[None]] = [_release_ledger(admin)]
    steps += [admin.delete(f"{_NAMESPACES}/{name}") for name in namespaces]
    # Definitions last: with them go all objects of their kinds.
    cluster = [item for item in made if "namespace" not in item["metadata"] and item["kind"] != "Namespace"]
    steps += [admin.delete(f"{path_of(item)}/{item['metadata']['name']}") for item in reversed(cluster)]
    for step in steps:
        try:
            await step
        except KubernetesRefused as error:
            say(f"not taken away: {error}")
    left = await _until_gone(admin, namespaces)
    if left:
        say(f"still going after {_PATIENCE:.0f} s: namespaces {', '.join(left)}")


async def _release_ledger(admin: KubeApi) -> None:
    """The operator is gone, and with the emulated Azure all that the ledger's finalizers stood for."""
    path = f"/apis/{_GROUP}/v1alpha1/federations"
    # The guard on the ledger lets go of nothing but in one's own name.
    released = {"metadata": {"finalizers": [], "annotations": {f"{_GROUP}/abandoned-by": await _who(admin)}}}
    for item in (await admin.get(path) or {}).get("items", ()):
        await admin.merge(f"{path}/{item['metadata']['name']}", released)


async def _who(admin: KubeApi) -> str:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await admin.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    return str(answer["status"]["userInfo"]["username"])


async def _until_gone(admin: KubeApi, names: Sequence[str]) -> list[str]:
    deadline, left = time.monotonic() + _PATIENCE, list(names)
    while left and time.monotonic() < deadline:
        there = {each["metadata"]["name"] for each in (await admin.get(_NAMESPACES))["items"]}
        left = [name for name in left if name in there]
        await asyncio.sleep(_LOOK if left else 0)
    return left


async def _may_do_everything(admin: KubeApi) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"group": "*", "resource": "*", "verb": "*"}},
    }
    answer = await admin.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    return bool(answer["status"]["allowed"])
