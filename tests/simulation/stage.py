"""Where a story plays: one Azure, one or two clusters that share its identities, and the replicas of each operator.

Whoever changes something here goes around the operator, as people and other tools do: with the roles that we ship, as the
replicas act as the operator's account.
"""

import asyncio
import copy
import datetime
import functools
import itertools
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml
from azure.core.credentials import AccessToken
from joserfc.jwk import RSAKey
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from starlette.types import Message

import acting
import keystead_sandbox.kube
from keystead.kube.crd import crds
from keystead.kube.rbac import manifests
from keystead_sandbox.azure import AzureApp
from keystead_sandbox.clock import VirtualClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.kube.admission import Writing
from keystead_sandbox.kube.app import Cluster
from keystead_sandbox.kube.errors import ApiError
from keystead_sandbox.resources import Application, Identity
from keystead_sandbox.world import World
from simulation.loop import outside
from simulation.secrecy import PLANTED
from simulation.wire import Trouble

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
VAULTS = ("team-kv", "other-kv")
_STALE = 15.0  # seconds: what an operator may not know yet of what people did
_ANYWHERE = "*"  # no namespace can be called so
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """An identity as the story begins."""

    name: str
    foreign: int
    subscription: int = 0


@dataclass(frozen=True, slots=True)
class Setup:
    """What stands before the first event."""

    seed: int
    clusters: int
    replicas: int
    members: tuple[Member, ...]
    lease: float
    drift: float
    heartbeat: float
    skews: tuple[float, ...]
    """Of each replica of each cluster: seconds that its clock is off."""
    lag: float
    subscriptions: int = 2
    grows: bool = False
    """Operators may make identities and give roles."""


@dataclass(frozen=True, slots=True)
class Theirs:
    """A credential of others, and the identity that it was written to: one that is made anew has another client."""

    client_id: str
    issuer: str
    subject: str


@dataclass
class Place:
    """One cluster and what goes with it."""

    number: int
    cluster: Cluster
    journal: Journal
    application: Application
    issuer: str
    troubles: list[Trouble] = field(default_factory=list)
    specs: dict[str, Object] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: float("-inf")))
    """When people last changed a namespace or what is in it, or a grant, which is anywhere."""
    calm_from: float = 0.0
    """Until then something fails, or waits by back-off for having failed."""
    clear_from: float = 0.0
    """Until then an operator may see the cluster as it was: its API server, its watches or itself have not kept up."""
    deleted_claims: set[str] = field(default_factory=set)
    adopted: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """By identity and name, both in lower case: issuer and subject of what the operator took over and has not given up."""
    retained: set[str] = field(default_factory=set)
    """Grants that have ever said that credentials stay."""
    said: set[str] = field(default_factory=set)
    """What admins have ever said may be taken over."""

    @property
    def letter(self) -> str:
        return "ab"[self.number]

    @functools.cached_property
    def id(self) -> str:
        """As credentials carry it: eight characters of SHA-256 over the UID of kube-system."""
        import hashlib

        return hashlib.sha256(self.cluster.cluster_id.encode()).hexdigest()[:8]

    def objects(self, plural: str, namespace: str = "") -> list[Object]:
        kinds = reversed(self.cluster.rest.kinds.values())
        return list(self.cluster.store.all(next(each.storage for each in kinds if each.plural == plural), namespace))

    def object(self, plural: str, name: str, namespace: str = "") -> Object | None:
        return next((each for each in self.objects(plural, namespace) if each["metadata"]["name"] == name), None)


class Stage:
    """Everything but the operators."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.chance = random.Random(f"stage/{setup.seed}")  # noqa: S311 - a seed makes it repeat
        self.clock = VirtualClock(EPOCH)
        self.journal = Journal(self.clock)
        self.azure = World(self.clock, self.journal)
        self.azure.add_tenant()
        for _ in range(setup.subscriptions):
            self.azure.add_subscription()
        self.foreigner = self._application("terraform")
        self.vaults = [self.azure.add_vault(name) for name in VAULTS]
        for vault in self.vaults:
            self.azure.set_secret(vault, "one", PLANTED)
        self.app = AzureApp(self.azure, self._fetch, _key(0))
        self.places = [self._place(number) for number in range(setup.clusters)]
        self.identities: dict[str, Identity] = {}
        for member in setup.members:
            self.add_identity(member.name, member.subscription)
            for number in range(member.foreign):
                self.azure.add_credential(
                    self.identities[member.name], f"theirs-{number:02}", "https://other", f"s{number}"
                )
        self.foreign_since: dict[str, float] = defaultdict(lambda: float("-inf"))
        """By identity: when somebody other than an operator last wrote there."""
        self.theirs: dict[tuple[str, str], Theirs] = {}
        """By identity and name, both in lower case: what others have written, and must find as they left it."""
        self._asked = Counter[tuple[str, str]]()
        """By the same: how many requests of others are under way, of which nobody knows which comes last."""
        for identity in self.identities.values():
            for held in identity.credentials.values():
                self._know_theirs(identity.resource_id, held.name)
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.counts: dict[str, int] = defaultdict(int)

    @property
    def now(self) -> float:
        return self.clock.now()

    def _application(self, name: str) -> Application:
        application = self.azure.add_application(name, secret=PLANTED)
        for subscription in self.azure.subscriptions:
            group = self.azure.add_group("identities", subscription_id=subscription)
            self.azure.assign_role(application.object_id, "Managed Identity Contributor", group.id)
        return application

    def _place(self, number: int) -> Place:
        issuer = f"https://kubernetes-{'ab'[number]}.sandbox"
        users = {f"replica-{each}": acting.operator() for each in range(self.setup.replicas)}
        journal = Journal(self.clock)
        seed = f"{self.setup.seed}/{number}"
        cluster = Cluster(self.clock, journal, issuer=issuer, users=users, seed=seed, key=_key(1 + number))
        application = self._application(f"operator-{number}")
        for vault in self.vaults if self.setup.grows else ():
            self.azure.assign_role(application.object_id, "Role Based Access Control Administrator", vault.resource_id)
        place = Place(number, cluster, journal, application, issuer)
        for item in (*_definitions(), *manifests(), *acting.bindings()):
            self.put(place, copy.deepcopy(item))
        return place

    async def _fetch(self, url: str) -> tuple[int, bytes]:
        tokens = next(place.cluster.tokens for place in self.places if url.startswith(place.issuer))
        return 200, msgspec.json.encode(tokens.jwks() if url.endswith("/jwks") else tokens.configuration())

    # Azure -------------------------------------------------------------------------------------------------------

    def add_identity(self, name: str, subscription: int = 0) -> None:
        identity = self.azure.add_identity(name, subscription_id=list(self.azure.subscriptions)[subscription])
        self.identities[name] = identity
        for vault in self.vaults:
            self.azure.assign_role(identity.principal_id, "Key Vault Secrets User", vault.resource_id)

    def remember(self, work: Any) -> None:
        """Let something go on beside, in no process."""
        task = asyncio.get_running_loop().create_task(work, context=outside())
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def ask_azure(self, method: str, path: str, body: Any = None) -> int:
        """A request of a tool that is not ours; it tries again a few times, as such tools do."""
        lane, _, name = path.partition("/federatedIdentityCredentials/")
        key = (lane.lower(), name.lower())
        self.theirs.pop(key, None)  # while it is under way, and when nobody knows how it ended
        self._asked[key] += 1
        try:
            for attempt in itertools.count():
                status = await self._ask_once(method, path, msgspec.json.encode(body) if body is not None else b"")
                if status in (200, 201) and method == "PUT" and self._asked[key] == 1:
                    self._know_theirs(lane, name)
                if status < 400 or status not in (409, 429) or attempt > 3:
                    return status
                await self.clock.sleep(2.0 + 4.0 * self.chance.random())
        finally:
            self._asked[key] -= 1
        return 0

    def _know_theirs(self, lane: str, name: str) -> None:
        identity = self.azure.identity(lane)
        held = identity.credentials.get(name.lower()) if identity is not None else None
        if identity is not None and held is not None:
            self.theirs[lane.lower(), name.lower()] = Theirs(identity.client_id, held.issuer, held.subject)

    async def _ask_once(self, method: str, path: str, body: bytes) -> int:
        token = self.app.authority.issue(self.foreigner, "https://management.azure.com/")
        status = 0

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)

        host = b"management.azure.com"
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"api-version=2024-11-30",
            "root_path": "",
            "headers": [(b"host", host), (b"authorization", f"Bearer {token}".encode())],
            "state": {},
        }
        try:
            async with asyncio.timeout(60):
                await self.app(scope, receive, send)
        except OSError:
            return 0
        return status

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Clusters ----------------------------------------------------------------------------------------------------

    def put(self, place: Place, item: Object, *, manager: str = "people") -> Object | None:
        """Apply an object as whoever writes such objects, who has the right to; what makes no sense does not happen."""
        group, _, version = item["apiVersion"].rpartition("/")
        kind = next(
            each
            for each in place.cluster.rest.kinds.values()
            if (each.group, each.version, each.kind) == (group, version, item["kind"])
        )
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        there = place.cluster.store.get(kind.storage, namespace, name) is not None
        user = acting.permit(place.cluster, kind, "patch" if there else "create", name, namespace)
        try:
            stored, _ = place.cluster.rest.apply(
                kind,
                namespace,
                name,
                item,
                manager=manager,
                force=True,
                sub="",
                dry=False,
                warnings=[],
                user=user,
            )
        except ApiError:
            return None
        return stored

    def edit(self, place: Place, plural: str, item: Object) -> None:
        """Replace an object, as ``kubectl edit`` does."""
        kind = next(each for each in reversed(place.cluster.rest.kinds.values()) if each.plural == plural)
        metadata = item["metadata"]
        current = place.cluster.store.get(kind.storage, metadata.get("namespace", ""), metadata["name"])
        if current is not None:
            user = acting.permit(place.cluster, kind, "update", metadata["name"], metadata.get("namespace", ""))
            place.cluster.rest.update(kind, current, item, Writing("people", False, "Ignore", user))

    def delete(self, place: Place, plural: str, name: str, namespace: str = "") -> bool:
        kind = next(each for each in reversed(place.cluster.rest.kinds.values()) if each.plural == plural)
        found = place.cluster.store.get(kind.storage, namespace, name)
        if found is not None:
            acting.permit(place.cluster, kind, "delete", name, namespace)
            place.cluster.rest.remove(kind.storage, found)
        return found is not None

    def touch(self, place: Place, namespace: str = "") -> None:
        """People have changed something here."""
        place.changed[namespace or _ANYWHERE] = self.now

    def is_known(self, place: Place, namespace: str) -> bool:
        """What concerns a namespace has not changed for so long, and was so plain to see, that an operator must know it."""
        changed = max(place.changed[namespace], place.changed[_ANYWHERE])
        return self.now - changed > _STALE and self.now > place.clear_from

    def disturb(self, place: Place | None, seconds: float, *, blinds: bool = False) -> None:
        """Something fails for so long: what waits by back-off meanwhile may wait twice as long again.

        Where it *blinds*, it is in the way of looks at the cluster, and not only of writes.
        """
        until = self.now + seconds * 3 + 45
        for each in self.places if place is None else [place]:
            each.calm_from = max(each.calm_from, until)
            if blinds:
                each.clear_from = max(each.clear_from, until)


class Credential:
    """Signs in as one cluster's application."""

    def __init__(self, stage: Stage, application: Application) -> None:
        self._stage = stage
        self._application = application

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        del scopes
        token = self._stage.app.authority.issue(self._application, "https://management.azure.com/")
        return AccessToken(token, 2**40)  # the SDK compares with the wall's clock, which is not virtual

    async def close(self) -> None:
        return


def kube_config(user: str, server: str) -> SingleConfig:
    """For a replica; certificates are not read, since nothing is connected to."""
    config = KubeConfig.from_dict(
        {
            "current-context": "c",
            "clusters": [{"name": "k", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
            "users": [{"name": user, "user": {"token": user}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": user}}],
        }
    ).get()
    assert config is not None
    return config


@functools.cache
def _key(number: int) -> RSAKey:
    del number
    return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)


@functools.cache
def _definitions() -> list[Object]:
    stand_ins = Path(next(iter(keystead_sandbox.kube.__path__))) / "eso_crds.yaml"
    return [*crds(), *yaml.safe_load_all(stand_ins.read_text())]
