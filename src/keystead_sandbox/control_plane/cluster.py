"""Starts and stops a real control plane on loopback.

- Ready means that it was asked and answered: ``/readyz``, a ServiceAccount made by the controllers, aggregated roles.
- All that it keeps is thrown away at the end, so its processes are killed, not asked; they also end with us, however
  we end (on Linux).
- What one that was cut off has left is cleared away by the next.
- A port that somebody else takes between our look and the API server's is tried again with another.
- The issuer's documents may be read by anybody, as a real issuer's must be: Entra reads them without a token.
"""

import asyncio
import contextlib
import secrets
import signal
import socket
import ssl
import time
import typing
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from lightkube import AsyncClient, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import ServiceAccount
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding

from keystead_sandbox import kubeconfig
from keystead_sandbox.control_plane import flags
from keystead_sandbox.control_plane.assets import Assets
from keystead_sandbox.control_plane.leftovers import claimed
from keystead_sandbox.pki import Authority
from keystead_sandbox.processes import Part, PartFailed, Parts

ADMIN = "admin"
ADMINS = "system:masters"
ETCD = "ks-etcd-"
"""Prefix of the folders that etcd works in."""
_PORTS = 5  # tries to get a port of our own
_LOOK = 0.1  # wall seconds between two looks at what starts
_PATIENCE = 120.0  # wall seconds until everything must be ready, on a machine that does much else
_DISCOVERY = "system:service-account-issuer-discovery"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a token from the start."""

    name: str
    groups: tuple[str, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


@contextlib.asynccontextmanager
async def running(assets: Assets, folder: Path, users: Iterable[User] = ()) -> AsyncIterator["ControlPlane"]:
    """A control plane whose logs and keys lie in *folder*. PartFailed when it does not come up."""
    # etcd's own folder is a short one in the system's, where one that was cut off would stay for ever.
    with claimed(ETCD) as claim:
        plane = ControlPlane(
            assets, make_folder(folder, claim.folder), (User(ADMIN, (ADMINS,)), *users), noted=claim.note
        )
        try:
            await plane.start()
            yield plane
        finally:
            await plane.stop()


def make_folder(folder: Path, etcd: Path) -> flags.Files:
    """Have *folder* for logs and keys, closed to others where it is new; *etcd* is there already."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return flags.Files(folder.absolute(), etcd)


class ControlPlane:
    """One running control plane."""

    def __init__(
        self,
        assets: Assets,
        files: flags.Files,
        users: tuple[User, ...],
        *,
        noted: Callable[[int], None] = lambda _: None,
        free_port: Callable[[], int] | None = None,
    ) -> None:
        """*noted* is told of each process; *free_port* names a port that was free a moment ago."""
        self._assets = assets
        self._noted = noted
        self._free_port = free_port or _free_port
        self._files = files
        self._users = users
        self._authority = Authority("Keystead sandbox control plane")
        self._parts = Parts(files.folder, death=signal.SIGKILL)
        self._running: dict[str, Part] = {}
        self.port = 0

    @property
    def url(self) -> str:
        """The API server's address, which is the token issuer too."""
        return flags.address(self.port)

    @property
    def ca_pem(self) -> bytes:
        return self._authority.ca_pem

    @property
    def ca_file(self) -> Path:
        return self._files.ca

    @property
    def kubeconfig(self) -> Path:
        """Of the admin, with a context for each user that was there from the start."""
        return self._files.folder / "kubeconfig"

    def token(self, user: str = ADMIN) -> str:
        """The token of somebody who was there from the start. KeyError for anybody else."""
        return {each.name: each.token for each in self._users}[user]

    def pid(self, program: str) -> int:
        return self._running[program].process.pid

    def config(self, users: Mapping[str, Mapping[str, Any]], *, current: str) -> dict[str, Any]:
        """A kubeconfig of this cluster for *users*, by the sections of :mod:`keystead_sandbox.kubeconfig`."""
        return kubeconfig.document(kubeconfig.cluster_section(self.url, self.ca_pem), users, current=current)

    @property
    def authority(self) -> Authority:
        """By whose certificates the API server knows people."""
        return self._authority

    def certificate(self, user: str, groups: Iterable[str] = ()) -> dict[str, Any]:
        """A kubeconfig's section for anybody at all, known by a certificate of our authority."""
        return kubeconfig.certificate_section(*self._authority.issue_client(user, tuple(groups)))

    def client(self, user: str = ADMIN) -> AsyncClient:
        """A client as somebody who was there from the start."""
        return AsyncClient(config=KubeConfig.from_file(self.kubeconfig).get(user), trust_env=False)

    async def start(self) -> None:
        """Return when everything is ready."""
        self._write_keys()
        await self._run("etcd", *flags.etcd(self._files))
        await self._start_api_server()
        self._write_configs()
        await self._run("kube-controller-manager", *flags.kube_controller_manager(self._files))
        await self._until_controllers_work()

    async def stop(self) -> None:
        await self._parts.kill()
        self._running.clear()

    async def first_to_end(self) -> Part:
        """Wait until one of the programs ends; none should."""
        return await self._parts.first_to_end()

    def pause(self, program: str) -> None:
        """Let a program stand still, as one that hangs."""
        self._running[program].process.send_signal(signal.SIGSTOP)

    def resume(self, program: str) -> None:
        self._running[program].process.send_signal(signal.SIGCONT)

    async def kill(self, program: str) -> None:
        """End a program, as a power cut would; what it had written stays."""
        await self._parts.end(self._running[program])

    async def restart(self, program: str) -> None:
        """Kill a program and start it again; returns when the API server is ready."""
        await self.kill(program)
        await self.revive(program)

    async def revive(self, program: str) -> None:
        """Start a program that was killed, where it was; returns when the API server is ready."""
        commands = {
            "etcd": flags.etcd(self._files),
            "kube-apiserver": flags.kube_apiserver(self._files, self.port),
            "kube-controller-manager": flags.kube_controller_manager(self._files),
        }
        await self._run(program, *commands[program])
        await self.until_ready()

    async def until_ready(self) -> None:
        """Return when the API server says that it is ready. PartFailed when it ends, or takes too long."""
        if not await self._ready():
            raise PartFailed(f"kube-apiserver did not come back:\n{self._running['kube-apiserver'].last_words()}")

    async def _run(self, program: str, *arguments: str) -> None:
        # No environment: etcd would take any ETCD_* as a flag.
        path = self._assets.program(program)
        part = self._running[program] = await self._parts.start(program, path, *arguments, environment={})
        self._noted(part.process.pid)

    async def _start_api_server(self) -> None:
        for _ in range(_PORTS):
            self.port = self._free_port()
            await self._run("kube-apiserver", *flags.kube_apiserver(self._files, self.port))
            if await self._ready():
                return
            # Ended by itself: its port may have been taken in between, which its log alone would tell.
            await self._parts.end(self._running["kube-apiserver"])
        raise PartFailed(f"kube-apiserver does not stay up:\n{self._running['kube-apiserver'].last_words()}")

    async def _ready(self) -> bool:
        """Wait until the API server says so; False when it ends first. PartFailed when that takes too long."""
        part, trust = self._running["kube-apiserver"], ssl.create_default_context(cadata=self.ca_pem.decode())
        deadline = time.monotonic() + _PATIENCE
        async with aiohttp.ClientSession(trust_env=False) as session:
            while part.process.returncode is None:
                self._check(part, deadline)
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    timeout = aiohttp.ClientTimeout(total=5)
                    async with session.get(f"{self.url}/readyz", ssl=trust, timeout=timeout) as answer:
                        # Somebody else's server on this port would not have our certificate.
                        if answer.status == 200:  # noqa: PLR2004 - OK
                            return True
                await asyncio.sleep(_LOOK)
        return False

    async def _until_controllers_work(self) -> None:
        part, deadline = self._running["kube-controller-manager"], time.monotonic() + _PATIENCE
        admin = self.client()
        try:
            await admin.create(_readable_issuer())
            while not await _controlled(admin):
                if part.process.returncode is not None:
                    raise PartFailed(f"{part.name} ended with code {part.process.returncode}:\n{part.last_words()}")
                self._check(part, deadline)
                await asyncio.sleep(_LOOK)
        finally:
            await admin.close()

    def _check(self, waited_for: Part, deadline: float) -> None:
        etcd = self._running["etcd"]
        if etcd.process.returncode is not None:
            raise PartFailed(f"etcd ended with code {etcd.process.returncode}:\n{etcd.last_words()}")
        if time.monotonic() > deadline:
            raise PartFailed(f"{waited_for.name} was not ready after {_PATIENCE:.0f} s:\n{waited_for.last_words()}")

    def _write_keys(self) -> None:
        files = self._files
        certificate, key = self._authority.issue(flags.SERVER_NAMES)
        # RS256: the only algorithm that Entra takes for assertions of a workload.
        account_key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        rows = [f'{each.token},{each.name},{each.name},"{",".join(each.groups)}"\n' for each in self._users]
        for path, content in (
            (files.ca, self.ca_pem),
            (files.certificate, certificate),
            (files.key, key),
            (files.account_key, account_key),
            (files.tokens, "".join(rows).encode()),
        ):
            kubeconfig.write_private(path, content)

    def _write_configs(self) -> None:
        tokens = {each.name: kubeconfig.token_section(each.token) for each in self._users}
        kubeconfig.publish(self.kubeconfig, self.config(tokens, current=ADMIN))
        manager = "system:kube-controller-manager"
        kubeconfig.publish(self._files.controllers, self.config({manager: self.certificate(manager)}, current=manager))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _readable_issuer() -> ClusterRoleBinding:
    group = "rbac.authorization.k8s.io"
    binding = ClusterRoleBinding.from_dict(
        {
            "metadata": {"name": "keystead-sandbox-issuer-discovery"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": _DISCOVERY},
            "subjects": [{"apiGroup": group, "kind": "Group", "name": "system:unauthenticated"}],
        }
    )
    return typing.cast("ClusterRoleBinding", binding)


async def _controlled(admin: AsyncClient) -> bool:
    """What controllers make at the start is there."""
    try:
        await admin.get(ServiceAccount, "default", namespace="default")
        return bool((await admin.get(ClusterRole, "edit")).rules)
    except ApiError as error:
        if error.status.code == 404:  # noqa: PLR2004 - not there yet
            return False
        raise
