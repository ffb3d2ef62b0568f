"""The whole system in one process, on virtual time: sandbox below, the unmodified operator above, two HTTP seams between.

A test changes the world (namespaces, grants, faults) and then looks at it (objects, credentials, the journal).
"""

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any, Self, cast

import httpx2
import yaml
from azure.core.credentials import AccessToken
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from starlette.types import Receive, Scope, Send

import acting
import keystead_sandbox.kube
from azure_transport import ASGIAzureTransport
from keystead.kube.client import Api
from keystead.kube.crd import crds
from keystead.kube.informer import Patience
from keystead.kube.permissions import NAMESPACE, OPERATOR
from keystead.kube.rbac import manifests
from keystead.operator.app import Operator, Seams
from keystead.operator.clock import LoopClock
from keystead.operator.settings import Settings
from keystead_sandbox.azure import AzureApp
from keystead_sandbox.clock import ScaledClock, VirtualClock
from keystead_sandbox.journal import Entry, Journal
from keystead_sandbox.kube.admission import Writing
from keystead_sandbox.kube.app import Cluster
from keystead_sandbox.kube.auth import User
from keystead_sandbox.resources import AUDIENCE, Identity, Vault
from keystead_sandbox.world import World as AzureWorld
from transports import StreamingASGITransport

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ISSUER = "https://kubernetes.sandbox"
VAULT = "https://team-kv.vault.azure.net"
OPERATOR_NAME = f"system:serviceaccount:{NAMESPACE}:{OPERATOR}"
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


def subject(namespace: str, account: str = "keystead") -> str:
    """The account as tokens name it."""
    return f"system:serviceaccount:{namespace}:{account}"


class Killed(BaseException):
    """The process ends here."""


class Trap:
    """Counts the operator's writes to both worlds, and ends the operator at a chosen one, before or after it."""

    def __init__(self) -> None:
        self.writes = 0
        self.at: int | None = None
        self.after = False
        self.counts: Callable[[str], bool] = lambda _: True
        """Whether writes to this path are counted."""
        self.sprung: Callable[[], object] = lambda: None
        self.dead = False

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if self.dead:
            raise ConnectionRefusedError("the process is dead")
        path = scope["path"]
        leases = "/leases/" in path or path.endswith("/leases")
        if scope["method"] in _WRITES and not leases and self.counts(path):
            self.writes += 1
            if self.writes == self.at:
                self.dead = True
                if self.after:
                    await app(scope, receive, _nowhere)
                self.sprung()
                raise ConnectionResetError("the process died")
        await app(scope, receive, send)


def _through(trap: Trap, app: Any) -> Any:
    async def trapped(scope: Scope, receive: Receive, send: Send) -> None:
        await trap(app, scope, receive, send)

    return trapped


async def _nowhere(message: Any) -> None:
    """Nobody is left to read the answer."""


class StaticCredential:
    """Signs in as one application of the emulated directory."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        del scopes
        token = self._world.azure_app.authority.issue(self._world.application, "https://management.azure.com/")
        # The SDK compares with the wall's clock, which stands still beside virtual time.
        return AccessToken(token, int(time.time()) + 10**6)

    async def close(self) -> None:
        return


def custom_resources() -> list[dict[str, Any]]:
    """The definitions of our kinds, and stand-ins for ESO's."""
    stand_ins = next(iter(keystead_sandbox.kube.__path__)) + "/eso_crds.yaml"
    with open(stand_ins) as file:  # noqa: PTH123 - one small file
        return [*crds(), *yaml.safe_load_all(file)]


class World:
    """One cluster, one Azure, and operators that come and go.

    In a run on the real control plane (``--kube real``) it is a :class:`real_world.RealWorld`: the same words, the same
    operator, a real API server, and time that passes.
    """

    issuer = ISSUER
    grain = 0.0
    """Sandbox seconds by which an instant may be off; none in virtual time."""
    patience = Patience(first_retry=0.1, longest_retry=1.0)
    """Of the operators' watches."""
    cluster: Cluster
    users: dict[str, User]
    """By token; whoever else is put here may sign in too."""

    def __new__(cls, *given: Any, **settings: Any) -> Self:
        del given, settings
        from real_world import RealWorld, session  # which is made of this one

        # As a Path is a PosixPath where there are those.
        return cast("Self", super().__new__(cls if session() is None or issubclass(cls, RealWorld) else RealWorld))

    def __init__(self, **settings: Any) -> None:
        self.clock = self._make_clock()
        self.journal = Journal(self.clock)
        self.azure = AzureWorld(self.clock, self.journal)
        self.azure.add_tenant()
        self.azure.add_subscription()
        self.application = self.azure.add_application("operator", secret="unused")
        group = self.azure.add_group("identities")
        self.azure.assign_role(self.application.object_id, "Managed Identity Contributor", group.id)
        self.vault: Vault = self.azure.add_vault("team-kv")
        self.azure_app = AzureApp(self.azure, self._fetch)
        self.settings = self._make_settings(settings)
        self.operators: list[tuple[asyncio.Task[None], asyncio.Event, Trap]] = []
        self.built: list[Operator] = []
        self._make_cluster()

    def _make_clock(self) -> VirtualClock | ScaledClock:
        return VirtualClock(EPOCH)

    def _make_settings(self, given: dict[str, Any]) -> Settings:
        return Settings(lane_pace=4.0, lease_namespace=NAMESPACE, **given)

    def _make_cluster(self) -> None:
        self.users = {"operator": acting.operator()}
        self.cluster = Cluster(self.clock, self.journal, issuer=ISSUER, users=self.users)
        for item in (*custom_resources(), *manifests(), *acting.bindings()):
            self.put(item)

    async def _fetch(self, url: str) -> tuple[int, bytes]:
        import msgspec

        tokens = self.cluster.tokens
        body = tokens.jwks() if url.endswith("/openid/v1/jwks") else tokens.configuration()
        return 200, msgspec.json.encode(body)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for index in range(len(self.operators)):
            await self.stop(index)
        if kind is None:
            assert self.refused() == [], "the operator's roles lack a rule"

    def refused(self) -> list[Entry]:
        """What an operator asked of the API server and may not."""
        return [
            each
            for each in self.entries("kube")
            if each.code == "Forbidden" and each.caller == OPERATOR_NAME
            if each.detail.get("cause") != "NamespaceTerminating"  # new objects there are refused to everybody
        ]

    # Changing ----------------------------------------------------------------------------------------------------

    def put(self, item: dict[str, Any], *, manager: str = "people", sub: str = "") -> dict[str, Any]:
        """Apply an object as whoever writes such objects, who must have the right to; a status as an operator."""
        kind = self._kind(item["apiVersion"], item["kind"])
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        there = self.cluster.store.get(kind.storage, namespace, name) is not None
        verb = "patch" if there else "create"
        user = acting.operator() if sub else acting.permit(self.cluster, kind, verb, name, namespace)
        stored, _ = self.cluster.rest.apply(
            kind,
            namespace,
            name,
            item,
            manager=manager,
            force=True,
            sub=sub,
            dry=False,
            warnings=[],
            user=user,
        )
        return stored

    def create(self, item: dict[str, Any]) -> dict[str, Any]:
        """Make an object, in place of one that has its name, as whoever makes such objects, who must have the right to."""
        kind = self._kind(item["apiVersion"], item["kind"])
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if self.cluster.store.get(kind.storage, namespace, name) is not None:
            self.delete(kind.plural, name, namespace)
        user = acting.permit(self.cluster, kind, "create", name, namespace)
        made: dict[str, Any] = self.cluster.rest.create(kind, namespace, item, Writing("people", False, "Strict", user))
        return made

    def _kind(self, api_version: str, kind: str) -> Any:
        group, _, version = api_version.rpartition("/")
        return next(
            each
            for each in self.cluster.rest.kinds.values()
            if (each.group, each.version, each.kind) == (group, version, kind)
        )

    def namespace(
        self, name: str, *, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None
    ) -> str:
        """Make a namespace; returns its UID."""
        metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
        return str(self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})["metadata"]["uid"])

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        kind = next(kind for kind in self.cluster.rest.kinds.values() if kind.plural == plural)
        found = self.cluster.store.get(kind.key, namespace, name)
        assert found is not None, f"{plural} {namespace}/{name} is not there"
        acting.permit(self.cluster, kind, "delete", name, namespace)
        self.cluster.rest.remove(kind.key, found)

    def disown(self, plural: str, name: str, namespace: str) -> None:
        """Take an object's owners away, so that it outlives them."""
        (self.object(plural, name, namespace) or {})["metadata"].pop("ownerReferences", None)

    def identity(self, name: str, *, reads_vault: bool = True) -> Identity:
        identity = self.azure.add_identity(name)
        if reads_vault:
            self.azure.assign_role(identity.principal_id, "Key Vault Secrets User", self.vault.resource_id)
        return identity

    def grant(self, name: str = "team", *identities: Identity, **spec: Any) -> dict[str, Any]:
        """Apply a VaultGrant; anything of its spec can be given."""
        body = {
            "namespaces": {"selector": {"matchLabels": {"team": name}}},
            "vault": {"url": VAULT},
            "identities": [{"resourceId": each.resource_id} for each in identities],
            "approval": "Automatic",
            **spec,
        }
        return self.put(
            {"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultGrant", "metadata": {"name": name}, "spec": body}
        )

    def approve(
        self, of: str, *, grant: str = "team", by: str = "reviewer", decision: str = "Approved", **changed: Any
    ) -> None:
        uid = (self.object("namespaces", of) or {})["metadata"]["uid"]
        spec = {
            "grantName": grant,
            "namespace": of,
            "namespaceUID": uid,
            "vaultUrl": VAULT,
            "decision": decision,
            "by": by,
            "subject": f"system:serviceaccount:{of}:keystead",
            **changed,
        }
        name = f"{of}-{decision.lower()}-{by.replace(':', '-')}"
        self.create(
            {"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultApproval", "metadata": {"name": name}, "spec": spec}
        )

    def adopt(self, word: str | None, *, grant: str = "team") -> None:
        """An admin's word on adoption, beside whoever owns the grant; ``None`` takes it back."""
        metadata = {"name": grant, **({"annotations": {"keystead.dev/adopt": word}} if word is not None else {})}
        item = {"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultGrant", "metadata": metadata}
        self.put(item, manager="admin")

    # Operators ---------------------------------------------------------------------------------------------------

    def make(self, *, trap: Trap | None = None, instance: str = "") -> Operator:
        """One more operator, unmodified above the two HTTP seams; not started."""
        self.built.append(Operator(self.settings, self.seams(trap or Trap(), instance)))
        return self.built[-1]

    def seams(
        self, trap: Trap, instance: str = "", *, kubernetes: SingleConfig | None = None, credential: Any = None
    ) -> Seams:
        """The two HTTP seams and the clock; as the operator, or as somebody else."""
        azure = _through(trap, self.azure_app)
        config, transport = self._kubernetes(trap)
        return Seams(
            clock=self._operator_clock(),
            kubernetes=kubernetes or config,
            kubernetes_transport=transport,
            azure_transport=lambda: ASGIAzureTransport(azure),
            credential=credential or StaticCredential(self),
            instance=instance or f"operator-{len(self.operators)}",
            patience=self.patience,
        )

    def _operator_clock(self) -> LoopClock:
        return LoopClock(EPOCH)

    def _kubernetes(self, trap: Trap) -> tuple[SingleConfig, httpx2.AsyncBaseTransport]:
        """How an operator gets to the API server, and as whom."""
        return _config("operator"), StreamingASGITransport(_through(trap, self.cluster))

    def start(self, *, trap: Trap | None = None, instance: str = "") -> Operator:
        """Start one more operator."""
        trap = trap or Trap()
        operator = self.make(trap=trap, instance=instance)
        stop = asyncio.Event()
        task = asyncio.create_task(_quietly(operator.run(stop)), name=f"operator:{len(self.operators)}")
        trap.sprung = task.cancel
        self.operators.append((task, stop, trap))
        return operator

    def api(self) -> Api:
        """A client of the API server, with the operator's rights."""
        config, transport = self._kubernetes(Trap())
        return Api(config, transport=transport)

    async def stop(self, index: int = -1) -> None:
        """Stop an operator cleanly; one that was killed is only waited for."""
        task, stop, trap = self.operators[index]
        stop.set()
        if trap.dead:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until(self, condition: Callable[[], Any], *, seconds: float = 600.0) -> None:
        """Wait, in virtual time, until *condition* holds; says what stands when it never does."""
        deadline = self.clock.now() + seconds
        while not condition():
            assert self.clock.now() < deadline, f"not within {seconds} s: {self.story()}"
            await asyncio.sleep(0.25)

    async def settled(self, *, quiet: float = 60.0) -> None:
        """Wait until nobody has written anything for *quiet* seconds."""
        last = -1
        while last != len(self.journal.entries()):
            last = len(
                [entry for entry in self.journal.entries() if entry.method in _WRITES and "/leases" not in entry.path]
            )
            await self.pass_time(quiet)
            if last == len([e for e in self.journal.entries() if e.method in _WRITES and "/leases" not in e.path]):
                return

    # Looking -----------------------------------------------------------------------------------------------------

    def objects(self, plural: str, namespace: str = "") -> list[dict[str, Any]]:
        resource = next(kind.key for kind in reversed(self.cluster.rest.kinds.values()) if kind.plural == plural)
        return list(self.cluster.store.all(resource, namespace))

    def object(self, plural: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        return next((each for each in self.objects(plural, namespace) if each["metadata"]["name"] == name), None)

    def condition(self, plural: str, name: str, type_: str, namespace: str = "") -> tuple[str, str, str]:
        """Status, reason and message."""
        found = self.object(plural, name, namespace) or {}
        rows = (found.get("status") or {}).get("conditions") or []
        return next(
            ((row["status"], row["reason"], row["message"]) for row in rows if row["type"] == type_), ("", "", "")
        )

    def claim(self, namespace: str, type_: str = "Ready", *, name: str = "team") -> tuple[str, str, str]:
        return self.condition("vaultclaims", name, type_, namespace)

    def ready(self, *namespaces: str, name: str = "team") -> bool:
        return all(self.claim(each, name=name)[0] == "True" for each in namespaces)

    def credentials(self) -> dict[str, str]:
        """Subject to the identity that trusts it."""
        return {
            each.subject: identity.name
            for identity in self.azure.identities.values()
            for each in identity.credentials.values()
        }

    def trusted(self, namespace: str) -> bool:
        return f"system:serviceaccount:{namespace}:keystead" in self.credentials()

    def entries(self, service: str, method: str = "", path: str = "") -> list[Entry]:
        return [
            each
            for each in self.journal.entries()
            if each.service == service and method in ("", each.method) and path.lower() in each.path.lower()
        ]

    def azure_writes(self) -> list[Entry]:
        return [
            each
            for each in self.entries("arm", path="/federatedidentitycredentials/")
            if each.method in ("PUT", "DELETE")
        ]

    def writes(self) -> list[Entry]:
        """All that the operator has written anywhere, the lease left out."""
        return [
            each
            for each in self.journal.entries()
            if each.method in _WRITES
            and each.caller in (OPERATOR_NAME, self.application.client_id)
            and "/leases" not in each.path
        ]

    def story(self) -> str:
        claims = {
            f"{each['metadata']['namespace']}": self.claim(
                each["metadata"]["namespace"], name=each["metadata"]["name"]
            )[:3]
            for each in self.objects("vaultclaims")
        }
        return f"claims {claims}, credentials {self.credentials()}, last {[(e.service, e.method, e.path[-60:], e.status) for e in self.journal.entries()[-8:]]}"


async def one_goes(world: World, trap: Trap | None) -> None:
    """Of two namespaces that come to work, ``goes`` goes; an operator that its trap ends has one successor."""
    world.start(trap=trap)
    restarted = False

    def dead() -> bool:
        return trap is not None and trap.dead

    def revive() -> None:
        nonlocal restarted
        if dead() and not restarted:
            restarted = True
            world.start()

    def both() -> bool:
        revive()
        return world.ready("stays", "goes")

    await world.until(both)
    world.delete("namespaces", "goes")

    def gone() -> bool:
        revive()
        return not world.trusted("goes") and len(world.objects("federations")) == 1

    await world.until(gone)
    await world.pass_time(90)
    revive()
    await world.until(lambda: world.ready("stays"))


async def _quietly(running: Any) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _config(user: str) -> SingleConfig:
    config = KubeConfig.from_dict(
        {
            "current-context": "c",
            "clusters": [{"name": "k", "cluster": {"server": ISSUER}}],
            "users": [{"name": user, "user": {"token": user}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": user}}],
        }
    ).get()
    assert config is not None
    return config


__all__ = ["AUDIENCE", "EPOCH", "OPERATOR_NAME", "VAULT", "AsyncIterator", "Iterator", "Trap", "World", "subject"]
