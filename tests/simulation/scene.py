"""A small world with nobody in the operator's place, and a rogue that takes it: it does what a test says, through the same
wire as an operator, and the watchman takes it for one.

Left to itself it keeps every rule, so that one thing done otherwise breaks one rule.
"""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
from azure.core.rest import HttpRequest

from keystead.kube.permissions import LEASE, NAMESPACE
from keystead_sandbox.resources import AUDIENCE, Identity
from simulation import oracle
from simulation.judge import Judge
from simulation.loop import Process, VirtualLoop
from simulation.people import API, CLIENT
from simulation.replica import Replica
from simulation.stage import Member, Object, Place, Setup, Stage
from simulation.story import DEEDS, Event
from simulation.watchman import Watchman
from simulation.wire import AzureTransport, KubeTransport, Line

_MEMBERS = (Member("identity-0", 1), Member("identity-1", 0), Member("identity-2", 0, 1))
SETUP = Setup(1, 1, 2, _MEMBERS, 15.0, 60.0, 86400.0, (0.0,) * 4, 0.0)
_VERSION = "2024-11-30"
_ARM = "https://management.azure.com"
_SETTLED = 60.0  # seconds after which an operator must know what people did


def on_stage(play: Callable[[], Any]) -> None:
    """Run what *play* returns to its end, on a loop of its own."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(play())
    finally:
        loop.close()


class Scene:
    """One grant for the namespaces ``shop`` and ``till``, each with its claim and account, and all at rest."""

    def __init__(self, *, clusters: int = 1, foreign: int = 1, grows: bool = False) -> None:
        members = (Member("identity-0", foreign), *_MEMBERS[1:])
        self.stage = Stage(replace(SETUP, clusters=clusters, members=members, grows=grows))
        self.watchman, self.judge = Watchman(self.stage), Judge(self.stage)
        self.rogues = [Rogue(self.watchman, place, f"rogue-{place.letter}") for place in self.stage.places]
        self.place, self.rogue = self.stage.places[0], self.rogues[0]
        for place in self.stage.places:
            self._furnish(place)

    def _furnish(self, place: Place) -> None:
        grant = {
            "namespaces": {"names": ["shop", "till"]},
            "vault": {"url": "https://team-kv.vault.azure.net"},
            "identities": [each.name for each in _MEMBERS],
            "approval": "Automatic",
        }
        self.happens("write_grant", "g0", place=place.number, **grant)
        for name in ("shop", "till"):
            self.happens("make_namespace", name, place=place.number)
            self.happens("make_claim", name, place=place.number, grant="g0", name="g0")
            metadata = {"name": "keystead", "namespace": name}
            self.stage.put(place, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})

    async def serve(self, seconds: float = 60.0) -> None:
        """Let a real operator bring everything to rest, and end it: nobody corrects what comes after."""
        replica = Replica(self.stage, self.place, 1, self.watchman, self.watchman.replicas)
        replica.start()
        await asyncio.sleep(seconds)
        await replica.bury()
        assert self.watchman.breaks == []

    def happens(self, deed: str, on: str = "", *, place: int = 0, **given: Any) -> None:
        """Somebody does something, as in a story."""
        DEEDS[deed](self.stage, self.stage.places[place], Event(self.stage.now, deed, on, place, given=given))
        self.watchman.look()

    def identity(self, number: int = 0) -> Identity:
        return self.stage.identities[f"identity-{number}"]

    async def settle(self, seconds: float = _SETTLED) -> None:
        await asyncio.sleep(seconds)
        self.watchman.look()

    async def watch(self, seconds: float) -> None:
        """Let the judge look now and then, as a story does."""
        until = self.stage.now + seconds
        while self.stage.now < until:
            await asyncio.sleep(3.0)
            self.judge.look()
            self.watchman.look()


class Rogue:
    """In the place of one replica of one cluster."""

    def __init__(self, watchman: Watchman, place: Place, name: str, number: int = 0) -> None:
        self.stage, self.place, self.name = watchman.stage, place, name
        self.replica = Replica(self.stage, place, number, watchman, watchman.replicas)
        self.replica.process = Process(name)
        watchman.replicas[name] = self.replica
        chance = random.Random(name)  # noqa: S311 - so that it repeats
        line = Line(self.replica.process, watchman, chance, place.troubles)
        self._azure = AzureTransport(line, self.stage.app)
        self._kube = KubeTransport(line, place.cluster)
        self._user = f"replica-{number}"

    # What it may ask ---------------------------------------------------------------------------------------------

    async def azure(
        self, method: str, path: str, body: Any = None, *, who: Identity | None = None, host: str = _ARM
    ) -> Any:
        """The answer's status and body. AzureError when none comes."""
        version = "7.4" if who is not None else _VERSION
        token = self.stage.app.authority.issue(who or self.place.application, f"{host}/" if who is None else _VAULT)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        content = json.dumps(body) if body is not None else None
        request = HttpRequest(method, f"{host}{path}?api-version={version}", headers=headers, content=content)
        answer = await self._azure.send(request)
        return answer.status_code, answer.body()

    async def kube(self, method: str, path: str, body: Any = None, **query: str) -> Object:
        """The answer, as it is read."""
        kind = "application/json"
        if method == "PATCH":
            kind = "application/apply-patch+yaml" if "apiVersion" in body else "application/merge-patch+json"
            query = {"fieldManager": "keystead", **query}
        headers = {"authorization": f"Bearer {self._user}", "content-type": kind}
        content = json.dumps(body) if body is not None else None
        request = httpx2.Request(method, f"{self.place.issuer}{path}", params=query, headers=headers, content=content)
        answer = await self._kube.handle_async_request(request)
        found: Object = json.loads(await answer.aread())
        return found

    # What an operator does ---------------------------------------------------------------------------------------

    async def lead(self, seconds: int = 86400, holder: str = "") -> None:
        spec = {"holderIdentity": holder or self.name, "leaseDurationSeconds": seconds}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE}, "spec": spec}
        folder = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
        there = self.place.object("leases", LEASE, NAMESPACE)
        if there is None:
            await self.kube("POST", folder, lease)
        else:
            await self.kube("PUT", f"{folder}/{LEASE}", {**there, "spec": spec})

    async def look(self, identity: Identity) -> None:
        """List the identity's credentials."""
        await self.azure("GET", f"{identity.resource_id}/federatedIdentityCredentials")

    def entry(self, namespace: str, identity: Identity, *, name: str = "", held_as: str = "") -> Object:
        """What the ledger says of the claim in *namespace*; *held_as* is the name of what is taken over."""
        found = self.place.object("namespaces", namespace)
        uid = found["metadata"]["uid"] if found is not None else "gone"
        digest = oracle.name_of(self.place, uid, namespace, "keystead", identity, held_as)
        name = name or f"ks-{self.place.id}-{namespace}-keystead-{digest}"
        credential = {"name": held_as or name, **self.trust(namespace), "audience": AUDIENCE}
        spec = {
            "grantName": "g0",
            "namespace": namespace,
            "namespaceUID": uid,
            "claimName": "g0",
            "serviceAccountName": "keystead",
            "identityResourceId": identity.resource_id,
            "credential": credential,
            "adopted": bool(held_as),
        }
        return {"apiVersion": API, "kind": "Federation", "metadata": _metadata(name), "spec": spec}

    def trust(self, namespace: str) -> dict[str, str]:
        return {"issuer": self.place.issuer, "subject": f"system:serviceaccount:{namespace}:keystead"}

    async def record(self, entry: Object) -> str:
        """Write to the ledger; the name of the credential."""
        await self.kube("POST", f"/apis/{API}/federations", entry)
        return str(entry["spec"]["credential"]["name"])

    async def write(self, identity: Identity, name: str, namespace: str = "shop") -> int:
        trust = {**self.trust(namespace), "audiences": [AUDIENCE]}
        path = f"{identity.resource_id}/federatedIdentityCredentials/{name}"
        status, _ = await self.azure("PUT", path, {"properties": trust})
        return int(status)

    async def erase(self, identity: Identity, name: str) -> int:
        status, _ = await self.azure("DELETE", f"{identity.resource_id}/federatedIdentityCredentials/{name}")
        return int(status)

    async def serve(self, namespace: str = "shop", number: int = 0) -> str:
        """Look, record and write; the credential's name."""
        identity = self.stage.identities[f"identity-{number}"]
        await self.look(identity)
        name = await self.record(self.entry(namespace, identity))
        await self.write(identity, name, namespace)
        return name

    async def prove(self, identity: Identity, namespace: str = "shop") -> None:
        """One token exchange."""
        spec = {"audiences": [AUDIENCE], "expirationSeconds": 600}
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/keystead"
        answer = await self.kube("POST", f"{account}/token", review)
        form = {
            "grant_type": "client_credentials",
            "client_id": identity.client_id,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": answer["status"]["token"],
            "scope": "https://vault.azure.net/.default",
        }
        url = f"https://login.microsoftonline.com/{identity.tenant_id}/oauth2/v2.0/token"
        await self._azure.send(HttpRequest("POST", url, data=form))

    async def annotate(self, identity: Identity, namespace: str = "shop") -> None:
        metadata = {"name": "keystead", "annotations": {CLIENT: identity.client_id}}
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        await self.kube("PATCH", f"/api/v1/namespaces/{namespace}/serviceaccounts/keystead", body)

    async def withdraw(self, namespace: str = "shop") -> None:
        body = {"metadata": {"annotations": {CLIENT: None}}}
        await self.kube("PATCH", f"/api/v1/namespaces/{namespace}/serviceaccounts/keystead", body)

    async def finish(self, namespace: str = "shop", number: int = 0) -> str:
        """All that makes a claim work; the credential's name."""
        name, identity = await self.serve(namespace, number), self.stage.identities[f"identity-{number}"]
        await asyncio.sleep(20)
        await self.prove(identity, namespace)
        await self.prove(identity, namespace)
        await self.annotate(identity, namespace)
        return name

    async def forget(self, name: str) -> None:
        """Take our finalizer off a ledger entry."""
        await self.kube("PATCH", f"/apis/{API}/federations/{name}", {"metadata": {"finalizers": []}})


_VAULT = "https://vault.azure.net"


def event(namespace: str, note: str = "fine") -> Object:
    """As operators tell one."""
    about = {"apiVersion": API, "kind": "VaultClaim", "namespace": namespace, "name": "g0"}
    said = {"type": "Normal", "reason": "Told", "action": "Tell", "note": note, "regarding": about}
    who = {"reportingController": "keystead.dev/operator", "reportingInstance": "one"}
    head = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "told", "namespace": namespace}}
    return {**head, **said, **who, "eventTime": "2026-01-01T00:00:00.000000Z"}


def _metadata(name: str) -> Object:
    return {
        "name": name,
        "finalizers": ["keystead.dev/credential"],
        "labels": {"app.kubernetes.io/managed-by": "keystead"},
    }
