"""Sees the world from outside: watches on the Kubernetes API, and the emulated Azure's own journal and state.

- Secret values are compared at once and forgotten; only whether they are right is kept.
- Nothing here asks the operator anything.
"""

import asyncio
import base64
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx2
from lightkube import AsyncClient
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.resources.core_v1 import Namespace as NamespaceResource
from lightkube.resources.core_v1 import Secret as SecretResource

from keystead_sandbox.scenario.cast import CONFIG_KEY, SECRET, SECRET_KEY, Cast
from keystead_sandbox.scenario.judge import Sighting

Claims = create_namespaced_resource("keystead.dev", "v1alpha1", "VaultClaim", "vaultclaims")
Grants = create_global_resource("keystead.dev", "v1alpha1", "VaultGrant", "vaultgrants")
Approvals = create_global_resource("keystead.dev", "v1alpha1", "VaultApproval", "vaultapprovals")
Events = create_namespaced_resource("events.k8s.io", "v1", "Event", "events")
ExternalSecrets = create_namespaced_resource("external-secrets.io", "v1", "ExternalSecret", "externalsecrets")
SecretStores = create_namespaced_resource("external-secrets.io", "v1", "SecretStore", "secretstores")

_CREDENTIALS = "/federatedidentitycredentials/"
_EVERY = 0.2  # wall seconds between two looks at the journal


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the event log."""

    seconds: float
    """Wall seconds since the command started."""
    where: str
    reason: str
    message: str
    warning: bool


@dataclass
class Witness:
    """Keeps a :class:`Sighting` up to date, and wakes whoever waits for a change."""

    cast: Cast
    kubernetes: AsyncClient
    azure: aiohttp.ClientSession
    azure_url: str
    started: float
    """``time.monotonic()`` when the command started."""
    sighting: Sighting = field(default_factory=Sighting)
    happenings: deque[Happening] = field(default_factory=lambda: deque(maxlen=200))
    claims: dict[str, Any] = field(default_factory=dict)
    """By namespace: the VaultClaim as last seen."""
    deletes: dict[str, int] = field(default_factory=dict)
    """By identity: accepted credential DELETEs."""
    departed: set[str] = field(default_factory=set)
    """Namespaces that were there and are gone."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _since: int = 0

    def elapsed(self) -> float:
        """Wall seconds since the command started."""
        return time.monotonic() - self.started

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; asked anew whenever something was seen."""
        while not condition():
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Watch everything until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_namespaces())
            tasks.create_task(self._watch_claims())
            tasks.create_task(self._watch_secrets())
            tasks.create_task(self._watch_events())
            tasks.create_task(self._follow_azure())

    async def _watch(self, resource: Any, **how: Any) -> AsyncIterator[tuple[str, Any]]:
        while True:
            with contextlib.suppress(ConnectionError, httpx2.TransportError):
                async for operation, thing in self.kubernetes.watch(resource, **how):
                    yield operation, thing
                    self._wake()
            await asyncio.sleep(_EVERY)

    async def _watch_namespaces(self) -> None:
        async for operation, namespace in self._watch(NamespaceResource):
            name = namespace.metadata.name
            if name not in self.cast.fates:
                continue
            if operation == "DELETED":
                self.sighting.namespaces.discard(name)
                self.departed.add(name)
            else:
                self.sighting.namespaces.add(name)

    async def _watch_claims(self) -> None:
        async for operation, claim in self._watch(Claims, namespace="*"):
            namespace = claim.metadata.namespace
            if operation == "DELETED":
                self.claims.pop(namespace, None)
                self.sighting.claims.pop(namespace, None)
                continue
            self.claims[namespace] = claim
            conditions = (claim.get("status") or {}).get("conditions") or []
            self.sighting.claims[namespace] = {condition["type"]: condition for condition in conditions}

    async def _watch_secrets(self) -> None:
        async for operation, secret in self._watch(SecretResource, namespace="*"):
            namespace = secret.metadata.namespace
            if secret.metadata.name != SECRET or namespace not in self.cast.fates:
                continue
            if operation == "DELETED":
                self.sighting.secrets.pop(namespace, None)
                continue
            self.sighting.secrets[namespace] = self._is_right(namespace, secret.data or {})
            if self.sighting.first_secret is None and self.sighting.secrets[namespace]:
                self.sighting.first_secret = self.elapsed()

    def _is_right(self, namespace: str, data: dict[str, str]) -> bool:
        values = self.cast.project_of(namespace).values
        wanted = {SECRET_KEY: values[SECRET_KEY], **json.loads(values[CONFIG_KEY])}
        return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()} == wanted

    async def _watch_events(self) -> None:
        async for operation, event in self._watch(Events, namespace="*"):
            if operation == "DELETED":
                continue
            regarding = event.get("regarding") or {}
            where = "/".join(part for part in (regarding.get("namespace"), regarding.get("name")) if part)
            self.happenings.append(
                Happening(
                    self.elapsed(),
                    f"{regarding.get('kind', '')} {where}",
                    event.get("reason") or "",
                    event.get("note") or "",
                    event.get("type") == "Warning",
                )
            )

    async def _follow_azure(self) -> None:
        while True:
            entries = await self._get(f"/journal?since={self._since}")
            for entry in entries:
                self._since = max(self._since, int(entry["seq"]))
                self._note(entry)
            state = await self._get("/state")
            self.sighting.credentials = {
                identity["name"]: tuple(credential["subject"] for credential in identity["credentials"])
                for identity in state["identities"]
            }
            if entries:
                self._wake()
            await asyncio.sleep(_EVERY)

    async def _get(self, path: str) -> Any:
        async with self.azure.get(self.azure_url + path) as response:
            response.raise_for_status()
            return await response.json()

    def _note(self, entry: dict[str, Any]) -> None:
        path = str(entry["path"]).lower()
        if entry["service"] != "arm" or _CREDENTIALS not in path:
            return
        identity = path.split("/userassignedidentities/", 1)[1].split("/", 1)[0]
        accepted = int(entry["status"]) in (200, 201)
        if entry["method"] == "PUT" and accepted:
            self.sighting.writes.setdefault(identity, []).append(float(entry["at"]))
        elif entry["method"] == "PUT":
            self.sighting.refused[identity] = self.sighting.refused.get(identity, 0) + 1
        elif entry["method"] == "DELETE" and accepted:
            self.deletes[identity] = self.deletes.get(identity, 0) + 1
